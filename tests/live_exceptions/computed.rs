//! Results that another server computes otherwise: orders that rest on chance or on the form of a value, and
//! arithmetic.

use bytes::Bytes;
use replcore::resp::Reply;
use replcore::rewrite::DeletionVerb;
use replcore::rewrite::geo::{self, GeoStoreOutcome};

use crate::stage::{Exception, Ours, words};
use crate::support::client::{Argv, argv};
use crate::support::feed::Wire;
use crate::support::stored;
use crate::support::stream::Recorder;
use crate::support::{Program, Scratch, Server};

#[track_caller]
fn embedded(setup: &[&str], command: &str) {
    let command = words(command);
    Exception { setup, expired: None, chance: None, command, replica: Program::Valkey, ours: Ours::Embedded }
        .show();
}

#[test]
fn elements_of_equal_weight_are_sorted_by_chance() {
    let mut sadd = "SADD s".to_owned();
    (0..600).for_each(|member| sadd.push_str(&format!(" m{member}")));
    embedded(&[&sadd], "SORT s BY w_* ALPHA STORE d");
    embedded(&[&sadd], "SORT s BY w_* ALPHA LIMIT 0 5 STORE d");
}

#[test]
fn sort_reads_a_dead_field_on_valkeys_replica() {
    Exception {
        setup: &["HSET h_1 other 1", "HSETEX h_1 PX 1 FIELDS 1 f v", "RPUSH l 1"],
        expired: Some(("h_1", "f")),
        chance: None,
        command: words("SORT l BY nosort GET h_*->f STORE d"),
        replica: Program::Valkey,
        ours: Ours::Embedded,
    }
    .show();
}

/// A sorted set that was large is a skiplist; a replica that starts with a snapshot of it has a listpack.
fn shrunk(members: &str) -> [String; 3] {
    let (mut zadd, mut zrem) = ("ZADD k".to_owned(), "ZREM k".to_owned());
    for extra in 0..200 {
        zadd.push_str(&format!(" 9 x{extra}"));
        zrem.push_str(&format!(" x{extra}"));
    }
    [zadd, format!("ZADD k {members}"), zrem]
}

/// A skiplist looks from above: unless the node of `z` is among the highest, it passes over it and finds `n`.
/// A listpack is read in order, meets `z`, which is beyond the range, and finds nothing.
#[test]
fn a_range_of_bytes_over_several_scores_depends_on_the_form_of_the_set() {
    let before: Vec<String> = (0..60).map(|n| format!("2 a{n}")).collect();
    let setup = shrunk(&format!("0 a 1 z {} 3 n", before.join(" ")));
    for command in ["ZREMRANGEBYLEX k [m [o", "ZRANGESTORE d k [m [o BYLEX"] {
        Exception {
            setup: &setup.each_ref().map(String::as_str),
            expired: None,
            chance: Some(("ZLEXCOUNT k [m [o", 1)),
            command: words(command),
            replica: Program::Valkey,
            ours: Ours::Embedded,
        }
        .show();
    }
}

#[test]
fn a_negative_offset_depends_on_the_form_of_the_set() {
    let setup = shrunk("1 a 2 b 3 c");
    embedded(&setup.each_ref().map(String::as_str), "ZRANGESTORE d k 0 9 BYSCORE LIMIT -1 1");
}

/// What differs here is the C library or the processor, and one machine has one of each. So this shows where
/// the numbers come from: what Valkey propagates has none, and what is propagated here has the primary's.
#[test]
fn sums_and_distances_leave_as_numbers() {
    let scratch = Scratch::new("exception-numbers");
    let valkey = Server::start(Program::Valkey, "the Valkey primary", &scratch);
    let ours = Server::start(Program::Replcore, "the embedded primary", &scratch);
    let sources = ["ZADD a 0.1 m", "ZADD b 0.2 m", "ZADD c 0.3 m"];
    for command in ["ZUNIONSTORE d 3 a b c", "ZUNIONSTORE d 2 a b WEIGHTS 0.1 0.7"] {
        for (primary, is_ours) in [(&valkey, false), (&ours, true)] {
            let mut client = primary.client();
            client.call(argv!["FLUSHALL"]);
            sources.iter().for_each(|source| drop(client.call(words(source))));
            let mut recorder = Recorder::attach(primary.address());
            client.call(words(command));
            let sent = recorder.take();
            let score = stored::text(&client.call(argv!["ZSCORE", "d", "m"]));
            match is_ours {
                false => assert_eq!(sent, [words(command)]),
                true => assert_eq!(sent, [argv!["ZADD", "d", score, "m"]]),
            }
        }
    }
    let mut client = valkey.client();
    client.call(words("GEOADD g 13.361389 38.115556 Palermo 15.087269 37.502669 Catania"));
    client.call(words("ZADD e 1 old"));
    for (command, destination) in [
        ("GEOSEARCHSTORE d g FROMLONLAT 15 37 BYRADIUS 200 km STOREDIST", "d"),
        ("GEORADIUS g 15 37 200 km STOREDIST e", "e"),
    ] {
        let mut recorder = Recorder::attach(valkey.address());
        let command = words(command);
        client.call(command.clone());
        assert_eq!(recorder.take(), std::slice::from_ref(&command));
        let found = client.call(argv!["ZRANGE", destination, "0", "-1", "WITHSCORES"]);
        let number =
            |reply: &Reply| String::from_utf8_lossy(&stored::text(reply)).parse::<f64>().expect("a score");
        let members: Vec<(Bytes, f64)> = stored::items(&found)
            .chunks_exact(2)
            .map(|pair| (stored::text(&pair[0]), number(&pair[1])))
            .collect();
        let outcome = geo::geostore(&command, GeoStoreOutcome::Stored(&members), DeletionVerb::Unlink);
        let mut wire = Wire::default();
        wire.propagation(&command, outcome.expect("an outcome of it"));
        let expected: Vec<Argv> = vec![
            argv!["MULTI"],
            argv!["UNLINK", destination],
            argv!["ZADD", destination, members[0].1, &members[0].0, members[1].1, &members[1].0],
            argv!["EXEC"],
        ];
        assert_eq!(wire.commands(), expected);
        // A Valkey that applies them stores the very same numbers.
        for command in wire.commands() {
            client.call(command);
        }
        assert_eq!(client.call(argv!["ZRANGE", destination, "0", "-1", "WITHSCORES"]), found);
    }
}
