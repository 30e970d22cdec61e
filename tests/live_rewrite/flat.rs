//! Positions and HyperLogLogs: values without a clock.

use std::sync::OnceLock;

use bytes::Bytes;
use rand::RngExt as _;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use replcore::resp::Reply;
use replcore::rewrite::geo::{self, GeoAddOutcome, GeoStoreOutcome};
use replcore::rewrite::{DeletionVerb, Propagation, hyperloglog};

use crate::lab::{Judged, Lab, Seen, Step};
use crate::support::client::{Argv, argv};
use crate::support::stored;
use crate::support::{Program, Scratch, Server};

pub const ROWS: &[&str] = &[
    "refused",
    "GEOADD",
    "GEOADD, nothing changed",
    "a store of cells",
    "a store of cells, destination deleted",
    "a store of cells, no destination",
    "a store of distances",
    "a store of distances, destination deleted",
    "a store of distances, no destination",
    "a store by polygon",
    "PFADD",
    "PFADD, nothing changed",
    "PFMERGE",
    "PFCOUNT, written down",
    "PFCOUNT, up to date",
    "PFCOUNT of several keys",
];

/// Places, longitude and latitude.
const PLACES: [(&str, &str); 8] = [
    ("13.361389", "38.115556"),
    ("15.087269", "37.502669"),
    ("15", "37"),
    ("-71.5", "-33"),
    ("-180", "85"),
    ("179.5", "-85.05"),
    ("0", "0"),
    ("15.0001", "37.0001"),
];

const MEMBERS: [&str; 6] = ["a", "b", "c", "NX", "CH", "STOREDIST"];

/// The scores of the places, by a Valkey that nobody listens to.
fn scores() -> &'static [u64; PLACES.len()] {
    static SCORES: OnceLock<[u64; PLACES.len()]> = OnceLock::new();
    SCORES.get_or_init(|| {
        let scratch = Scratch::new("rewrite-scores");
        let server = Server::start(Program::Valkey, "the Valkey that calculates", &scratch);
        let mut client = server.client();
        PLACES.map(|(longitude, latitude)| {
            client.call(argv!["GEOADD", "g", longitude, latitude, "m"]);
            number(&client.call(argv!["ZSCORE", "g", "m"])) as u64
        })
    })
}

fn number(reply: &Reply) -> f64 {
    let text = stored::text(reply);
    String::from_utf8_lossy(&text).parse().unwrap_or_else(|_| panic!("{text:?} is no number"))
}

/// A command of this file.
fn step(argv: Argv) -> Step {
    let name = argv[0].to_ascii_uppercase();
    if name.starts_with(b"PF") {
        let stale = argv!["GETRANGE", &argv[1], "15", "15"];
        return Step { before: vec![stale.clone()], after: Vec::new(), judge: judge_count, argv };
    }
    let key = if name == b"GEOADD" { argv[1].clone() } else { destination(&argv) };
    let members = argv!["ZRANGE", key, "0", "-1", "WITHSCORES"];
    let judge = if name == b"GEOADD" { judge_add } else { judge_store };
    Step { before: vec![members.clone()], after: vec![members], judge, argv }
}

fn destination(argv: &[Bytes]) -> Bytes {
    if argv[0].eq_ignore_ascii_case(b"GEOSEARCHSTORE") {
        argv[1].clone()
    } else {
        argv[argv.len() - 1].clone()
    }
}

fn refused(seen: &Seen) -> Option<Judged> {
    matches!(seen.reply, Reply::Error(_)).then(|| Judged::new("refused", Ok(Propagation::Nothing)))
}

fn judge_count(seen: &Seen) -> Judged {
    let stale = stored::text(&seen.before[0]).first().is_some_and(|byte| byte & 0x80 != 0);
    match &seen.argv[0].to_ascii_uppercase()[..] {
        b"PFADD" => {
            let changed = seen.reply == Reply::Integer(1);
            let row = if changed { "PFADD" } else { "PFADD, nothing changed" };
            Judged::new(row, hyperloglog::pfadd(&seen.argv, changed))
        }
        b"PFMERGE" => Judged::new("PFMERGE", hyperloglog::pfmerge(&seen.argv)),
        _ => {
            let cached = stale && seen.argv.len() == 2;
            let row = match (seen.argv.len(), cached) {
                (2, true) => "PFCOUNT, written down",
                (2, false) => "PFCOUNT, up to date",
                _ => "PFCOUNT of several keys",
            };
            Judged::new(row, hyperloglog::pfcount(&seen.argv, cached))
        }
    }
}

fn judge_add(seen: &Seen) -> Judged {
    if let Some(refused) = refused(seen) {
        return refused;
    }
    if seen.before == seen.after {
        return Judged::new("GEOADD, nothing changed", geo::geoadd(&seen.argv, GeoAddOutcome::Unchanged));
    }
    let first = seen.argv.iter().position(|arg| PLACES.iter().any(|(longitude, _)| arg == longitude));
    let score = |position: &[Bytes]| {
        let place = PLACES.iter().position(|(lon, lat)| position[0] == lon && position[1] == lat);
        scores()[place.expect("one of the places")]
    };
    let scores: Vec<u64> = seen.argv[first.expect("a position")..].chunks_exact(3).map(score).collect();
    Judged::new("GEOADD", geo::geoadd(&seen.argv, GeoAddOutcome::Changed { scores: &scores }))
}

fn judge_store(seen: &Seen) -> Judged {
    if let Some(refused) = refused(seen) {
        return refused;
    }
    let members: Vec<(Bytes, f64)> = stored::items(&seen.after[0])
        .chunks_exact(2)
        .map(|pair| (stored::text(&pair[0]), number(&pair[1])))
        .collect();
    let existed = !stored::items(&seen.before[0]).is_empty();
    let says = |word: &str| seen.argv.iter().any(|arg| arg.eq_ignore_ascii_case(word.as_bytes()));
    let outcome = match (&members[..], existed) {
        ([], false) => GeoStoreOutcome::Unchanged,
        ([], true) => GeoStoreOutcome::Deleted,
        (members, _) => GeoStoreOutcome::Stored(members),
    };
    let row = match (outcome, says("STOREDIST")) {
        _ if says("BYPOLYGON") => "a store by polygon",
        (GeoStoreOutcome::Stored(_), false) => "a store of cells",
        (GeoStoreOutcome::Deleted, false) => "a store of cells, destination deleted",
        (GeoStoreOutcome::Unchanged, false) => "a store of cells, no destination",
        (GeoStoreOutcome::Stored(_), true) => "a store of distances",
        (GeoStoreOutcome::Deleted, true) => "a store of distances, destination deleted",
        (GeoStoreOutcome::Unchanged, true) => "a store of distances, no destination",
    };
    Judged::new(row, geo::geostore(&seen.argv, outcome, DeletionVerb::Unlink))
        .but_valkey(Propagation::verbatim_if(outcome != GeoStoreOutcome::Unchanged))
}

pub fn scripted(lab: &mut Lab) {
    for words in [
        "geoadd g0 13.361389 38.115556 a 15.087269 37.502669 b",
        "geoadd g0 13.361389 38.115556 a",
        "geoadd g0 nx 15 37 a 0 0 c",
        "geoadd g0 XX ch 15 37 a 0 0 d",
        "geosearchstore d0 g0 FROMLONLAT 15 37 BYRADIUS 500 km ASC COUNT 1 ANY",
        "geosearchstore d0 g0 FROMLONLAT 15 37 BYRADIUS 500 km STOREDIST",
        "geosearchstore d0 g0 FROMLONLAT 90 80 BYBOX 1 1 m STOREDIST",
        "geosearchstore d0 g0 FROMLONLAT 90 80 BYBOX 1 1 m STOREDIST",
        "geosearchstore d0 g0 FROMLONLAT 90 80 BYBOX 1 1 m",
        "geosearchstore d0 g0 BYPOLYGON 3 0 0 40 0 40 80",
        "geosearchstore d0 g0 FROMLONLAT 90 80 BYBOX 1 1 m",
        "georadius g0 15 37 500 km STORE d0",
        "georadius g0 15 37 500 km STOREDIST d0",
        "georadiusbymember g0 a 500 km DESC STORE d1",
        "georadiusbymember g0 nobody 500 km STORE d1",
        "pfadd p0 a b c",
        "pfadd p0 a",
        "pfcount p0",
        "pfcount p0",
        "pfcount p0 p1",
        "pfcount p1",
        "pfmerge p1 p0 p2",
        "pfcount p1",
    ] {
        lab.one(step(words.split(' ').map(|word| Bytes::from(word.to_owned())).collect()));
    }
}

pub fn random(rng: &mut StdRng) -> Step {
    let pick = |rng: &mut StdRng, of: &[&'static str]| *of.choose(rng).expect("not empty");
    let member = |rng: &mut StdRng| pick(rng, &MEMBERS);
    let argv = match rng.random_range(0..8) {
        0 | 1 => {
            let mut geoadd = argv!["geoadd", pick(rng, &["g0", "g1"])];
            if rng.random_ratio(1, 3) {
                geoadd.extend(argv![pick(rng, &["nx", "XX", "ch"])]);
            }
            // Each member once: one that is moved and moved back has changed, and does not look so.
            let mut members = MEMBERS.to_vec();
            for _ in 0..rng.random_range(1..4) {
                let (longitude, latitude) = PLACES.choose(rng).expect("not empty");
                let member = members.swap_remove(rng.random_range(0..members.len()));
                geoadd.extend(argv![*longitude, *latitude, member]);
            }
            geoadd
        }
        2 => {
            let shape: &[&str] = match rng.random_range(0..3) {
                0 => &["BYRADIUS", "1", "m"],
                1 => &["BYRADIUS", "9000", "km"],
                _ => &["BYBOX", "300", "4000", "km"],
            };
            let (destination, source) = (pick(rng, &["d0", "d1"]), pick(rng, &["g0", "g1", "nobody"]));
            let mut store = argv!["geosearchstore", destination, source];
            match rng.random_range(0..2) {
                0 => store.extend(argv!["FROMMEMBER", member(rng)]),
                _ => store.extend(argv!["FROMLONLAT", "15", "37.1"]),
            }
            shape.iter().for_each(|word| store.extend(argv![*word]));
            if rng.random_ratio(1, 2) {
                store.extend(argv!["storedist"]);
            }
            store
        }
        3 => {
            let mut store = match rng.random_range(0..2) {
                0 => argv!["georadius", pick(rng, &["g0", "g1", "nobody"]), "15", "37.1"],
                _ => argv!["georadiusbymember", pick(rng, &["g0", "g1"]), member(rng)],
            };
            store.extend(argv![pick(rng, &["1", "500", "9000"]), "km", pick(rng, &["store", "STOREDIST"])]);
            store.extend(argv![pick(rng, &["d0", "d1"])]);
            store
        }
        4 | 5 => {
            let mut pfadd = argv!["pfadd", pick(rng, &["p0", "p1", "p2"])];
            (0..rng.random_range(0..4)).for_each(|_| pfadd.extend(argv![rng.random_range(0..400)]));
            pfadd
        }
        6 => argv!["pfcount", pick(rng, &["p0", "p1", "p2", "nobody"])],
        _ => argv!["pfmerge", pick(rng, &["p0", "p1"]), pick(rng, &["p1", "p2"]), "p0"],
    };
    step(argv)
}
