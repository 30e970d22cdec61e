//! Streams: entries, groups, consumers and what is pending are read with XINFO before and after a command.

use bytes::Bytes;
use rand::RngExt as _;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use replcore::resp::Reply;
use replcore::rewrite::Propagation;
use replcore::rewrite::stream::{
    self, ClaimOutcome, Delivered, GroupRead, Met, Pending, StreamId, XAddOutcome, XGroupOutcome,
};

use crate::lab::{Judged, Lab, Seen, Step};
use crate::support::client::{Argv, argv};
use crate::support::stored::{self, Group, Stream, id_of, items};

pub const ROWS: &[&str] = &[
    "refused",
    "XADD, an ID of the client's",
    "XADD, an ID of the primary's",
    "XADD, about as many",
    "XADD, from about there on",
    "XADD NOMKSTREAM, no stream",
    "XTRIM, nothing removed",
    "XTRIM, exactly",
    "XTRIM, about",
    "XREADGROUP, nothing",
    "XREADGROUP, new entries",
    "XREADGROUP NOACK, new entries",
    "XREADGROUP NOACK, a new consumer alone",
    "XREADGROUP, a new consumer alone",
    "XREADGROUP, pending entries again",
    "XCLAIM, nothing",
    "XCLAIM, claimed",
    "XCLAIM, deleted entries dropped",
    "XCLAIM, a new consumer alone",
    "XCLAIM, the group moved alone",
    "XAUTOCLAIM, nothing",
    "XAUTOCLAIM, claimed",
    "XAUTOCLAIM, deleted entries dropped",
    "XAUTOCLAIM, a new consumer alone",
    "XACK",
    "XACK, none",
    "XDEL",
    "XDEL, none",
    "XSETID",
    "XGROUP, done",
    "XGROUP, already so",
];

/// The keys of a command.
fn keys(argv: &[Bytes]) -> std::ops::Range<usize> {
    match &argv[0].to_ascii_uppercase()[..] {
        b"XGROUP" => 2..3,
        b"XREADGROUP" => {
            let first =
                argv.iter().position(|arg| arg.eq_ignore_ascii_case(b"STREAMS")).expect("streams") + 1;
            first..first + (argv.len() - first) / 2
        }
        _ => 1..2,
    }
}

/// A command of this file.
fn step(argv: Argv) -> Step {
    let infos: Vec<Argv> =
        argv[keys(&argv)].iter().map(|key| argv!["XINFO", "STREAM", key, "FULL", "COUNT", "0"]).collect();
    Step { before: infos.clone(), after: infos, judge, argv }
}

fn judge(seen: &Seen) -> Judged {
    let argv = &seen.argv[..];
    if matches!(seen.reply, Reply::Error(_)) {
        return Judged::new("refused", Ok(Propagation::Nothing));
    }
    let number = || match seen.reply {
        Reply::Integer(number) => u64::try_from(number).expect("a count is not negative"),
        _ => panic!("{argv:?} answers a number"),
    };
    let one_of = |rows: [&'static str; 2]| if number() > 0 { rows[0] } else { rows[1] };
    match &argv[0].to_ascii_uppercase()[..] {
        b"XADD" => xadd(seen),
        b"XTRIM" => xtrim(seen, number()),
        b"XREADGROUP" => xreadgroup(seen),
        b"XCLAIM" | b"XAUTOCLAIM" => xclaim(seen),
        b"XACK" => Judged::new(one_of(["XACK", "XACK, none"]), stream::xack(argv, number())),
        b"XDEL" => Judged::new(one_of(["XDEL", "XDEL, none"]), stream::xdel(argv, number())),
        b"XSETID" => Judged::new("XSETID", stream::xsetid(argv)),
        _ => xgroup(seen),
    }
}

fn read(infos: &[Reply], nth: usize) -> Option<Stream> {
    Stream::read(&infos[nth])
}

fn says(argv: &[Bytes], word: &str) -> bool {
    argv.iter().any(|arg| arg.eq_ignore_ascii_case(word.as_bytes()))
}

fn xadd(seen: &Seen) -> Judged {
    let argv = &seen.argv;
    if seen.reply == Reply::Null {
        return Judged::new("XADD NOMKSTREAM, no stream", stream::xadd(argv, XAddOutcome::NotAdded));
    }
    let extent = read(&seen.after, 0).expect("a stream with an entry").extent();
    let row = match says(argv, "~") {
        true if says(argv, "MAXLEN") => "XADD, about as many",
        true => "XADD, from about there on",
        false if argv.iter().any(|arg| arg.ends_with(b"*")) => "XADD, an ID of the primary's",
        false => "XADD, an ID of the client's",
    };
    Judged::new(row, stream::xadd(argv, XAddOutcome::Added { id: id_of(&seen.reply), extent }))
}

fn xtrim(seen: &Seen, removed: u64) -> Judged {
    let Some(after) = read(&seen.after, 0) else {
        return Judged::new("XTRIM, nothing removed", Ok(Propagation::Nothing));
    };
    let row = match (removed, says(&seen.argv, "~")) {
        (0, _) => "XTRIM, nothing removed",
        (_, false) => "XTRIM, exactly",
        (_, true) => "XTRIM, about",
    };
    Judged::new(row, stream::xtrim(&seen.argv, removed, after.extent()))
}

fn group(infos: &[Reply], nth: usize, name: &Bytes) -> Group {
    let stream = read(infos, nth).expect("a stream with a group");
    stream.groups.get(name).expect("a group that was not refused").clone()
}

fn xreadgroup(seen: &Seen) -> Judged {
    let argv = &seen.argv;
    let at = argv.iter().position(|arg| arg.eq_ignore_ascii_case(b"GROUP")).expect("a group");
    let (name, consumer, no_ack) = (&argv[at + 1], &argv[at + 2], says(argv, "NOACK"));
    let keys = keys(argv);
    let (mut ids, mut pending): (Vec<Vec<StreamId>>, Vec<Vec<Pending>>) = Default::default();
    let (before, after): (Vec<Group>, Vec<Group>) =
        (0..keys.len()).map(|nth| (group(&seen.before, nth, name), group(&seen.after, nth, name))).unzip();
    for (nth, at) in keys.clone().enumerate() {
        let answer = items(&seen.reply).iter().find(|answer| stored::text(&items(answer)[0]) == argv[at]);
        let entries = answer.map_or(&[][..], |answer| items(&items(answer)[1]));
        // An entry that was deleted from the stream is answered without its fields.
        let alive = entries
            .iter()
            .filter(|entry| items(entry)[1] != Reply::Null && items(entry)[1] != Reply::NullArray);
        ids.push(alive.map(|entry| id_of(&items(entry)[0])).collect());
        let pending_now = |id: &StreamId| after[nth].pending.get(id).map(|(_, pending)| *pending);
        pending.push(ids[nth].iter().filter_map(pending_now).collect());
    }
    let is_new = |nth: usize| &argv[keys.end + nth][..] == b">";
    let mut reads = Vec::new();
    for (nth, key) in keys.clone().enumerate() {
        let delivered = match (is_new(nth), &ids[nth][..]) {
            (_, []) => Delivered::Nothing,
            (true, ids) => {
                let delivered_ms = pending[nth].first().map_or(0, |pending| pending.delivered_ms);
                Delivered::New { ids, delivered_ms }
            }
            (false, _) => Delivered::Again(&pending[nth]),
        };
        let consumer_created = !before[nth].consumers.contains(consumer);
        assert!(after[nth].consumers.contains(consumer), "a reader is known");
        reads.push(GroupRead { key, consumer_created, delivered, group: after[nth].position });
    }
    let delivered = |test: fn(&Delivered<'_>) -> bool| reads.iter().any(|read| test(&read.delivered));
    let created = reads.iter().any(|read| read.consumer_created);
    let row = match no_ack {
        _ if delivered(|it| matches!(it, Delivered::Again(_))) => "XREADGROUP, pending entries again",
        true if delivered(|it| matches!(it, Delivered::New { .. })) => "XREADGROUP NOACK, new entries",
        false if delivered(|it| matches!(it, Delivered::New { .. })) => "XREADGROUP, new entries",
        true if created => "XREADGROUP NOACK, a new consumer alone",
        false if created => "XREADGROUP, a new consumer alone",
        _ => "XREADGROUP, nothing",
    };
    let ours = stream::xreadgroup(argv, &reads);
    // Valkey says nothing of what is delivered again, and of new consumers only if it delivers without a
    // claim.
    for read in &mut reads {
        read.consumer_created &= no_ack;
        if matches!(read.delivered, Delivered::Again(_)) {
            read.delivered = Delivered::Nothing;
        }
    }
    let valkeys = stream::xreadgroup(argv, &reads).expect("an outcome of it");
    Judged::new(row, ours).but_valkey(valkeys)
}

fn xclaim(seen: &Seen) -> Judged {
    let argv = &seen.argv;
    let (name, consumer) = (&argv[2], &argv[3]);
    let auto = argv[0].eq_ignore_ascii_case(b"XAUTOCLAIM");
    let (before, after) = (group(&seen.before, 0, name), group(&seen.after, 0, name));
    let answered = if auto { &items(&seen.reply)[1] } else { &seen.reply };
    let id = |entry: &Reply| if let Reply::Array(entry) = entry { id_of(&entry[0]) } else { id_of(entry) };
    let claimed: Vec<StreamId> = items(answered).iter().map(id).collect();
    let dropped = |id: &StreamId| before.pending.contains_key(id) && !after.pending.contains_key(id);
    // In the order they were met: as named, or as they were pending.
    let met: Vec<StreamId> = if auto {
        before.pending.keys().copied().collect()
    } else {
        argv[5..]
            .iter()
            .take_while(|arg| arg.contains(&b'-'))
            .map(|id| id_of(&Reply::Bulk(id.clone())))
            .collect()
    };
    let mut entries: Vec<Met<'_>> = Vec::new();
    let mut any_dropped = false;
    for id in met {
        if claimed.contains(&id) {
            entries.push(Met::Claimed(after.pending[&id].1));
        } else if dropped(&id) {
            any_dropped = true;
            let (owner, pending) = &before.pending[&id];
            entries.push(Met::Dropped { pending: *pending, owner });
        }
    }
    let consumer_created = !before.consumers.contains(consumer) && after.consumers.contains(consumer);
    let group_moved = before.position.last_id != after.position.last_id;
    let row = match (auto, entries.is_empty()) {
        (false, false) if any_dropped => "XCLAIM, deleted entries dropped",
        (true, false) if any_dropped => "XAUTOCLAIM, deleted entries dropped",
        (false, false) => "XCLAIM, claimed",
        (true, false) => "XAUTOCLAIM, claimed",
        (false, true) if group_moved => "XCLAIM, the group moved alone",
        (false, true) if consumer_created => "XCLAIM, a new consumer alone",
        (true, true) if consumer_created => "XAUTOCLAIM, a new consumer alone",
        (false, true) => "XCLAIM, nothing",
        (true, true) => "XAUTOCLAIM, nothing",
    };
    let outcome = ClaimOutcome { entries: &entries, consumer_created, group_moved, group: after.position };
    let valkeys = stream::xclaim(argv, ClaimOutcome { consumer_created: false, ..outcome });
    Judged::new(row, stream::xclaim(argv, outcome)).but_valkey(valkeys.expect("an outcome of it"))
}

fn xgroup(seen: &Seen) -> Judged {
    let argv = &seen.argv;
    let already = match &argv[1].to_ascii_uppercase()[..] {
        b"CREATECONSUMER" | b"DESTROY" => seen.reply == Reply::Integer(0),
        b"DELCONSUMER" => !group(&seen.before, 0, &argv[3]).consumers.contains(&argv[4]),
        _ => false,
    };
    let (row, outcome) = match already {
        true => ("XGROUP, already so", XGroupOutcome::AlreadySo),
        false => ("XGROUP, done", XGroupOutcome::Done),
    };
    Judged::new(row, stream::xgroup(argv, outcome))
}

pub fn scripted(lab: &mut Lab) {
    for words in [
        "xadd none NOMKSTREAM * a 1",
        "xgroup create s0 g 0 MKSTREAM",
        "xgroup create s0 g 0",
        "xgroup create s1 g $ MKSTREAM",
        "xadd s0 5-* a 1",
        "xadd s0 5-1 a 1",
        "xadd s0 NOMKSTREAM 5-* a 1",
        "xadd s0 MAXLEN 100 5-* a 1",
        "xgroup createconsumer s0 g c1",
        "xgroup createconsumer s0 g c1",
        "xreadgroup group g c1 COUNT 2 STREAMS s0 >",
        "xreadgroup group g c2 STREAMS s0 s1 > >",
        "xreadgroup group g c2 STREAMS s0 s1 > >",
        "xreadgroup group g c1 STREAMS s0 0",
        "xreadgroup group g n1 STREAMS s0 0",
        "xreadgroup group g n2 NOACK STREAMS s0 >",
        "xadd s0 5-* a 1",
        "xreadgroup NOACK group g n3 STREAMS s0 >",
        "xclaim s0 g c2 0 5-0 5-1 9-9",
        "xclaim s0 g n4 1000000 5-0",
        "xclaim s0 g c2 1000000 5-0",
        "xclaim s0 g c2 1000000 5-0 LASTID 6-0",
        "xclaim s0 g c1 0 5-0 5-4 IDLE 5000 RETRYCOUNT 7 FORCE JUSTID",
        "xclaim s0 g c1 0 5-0 TIME 12345 LASTID 7-0",
        "xdel s0 5-0 9-9",
        "xdel s0 9-9",
        "xreadgroup group g c1 STREAMS s0 0",
        "xclaim s0 g n5 0 5-0 5-1",
        "xautoclaim s0 g c2 0 0 COUNT 10",
        "xautoclaim s0 g n6 1000000 0",
        "xautoclaim s0 g c2 1000000 0",
        "xdel s0 5-1",
        "xautoclaim s0 g n7 0 0 JUSTID",
        "xack s0 g 5-2 9-9",
        "xack s0 g 9-9",
        "xsetid s0 9-0",
        "xsetid s0 9-5 ENTRIESADDED 50 MAXDELETEDID 5-1",
        "xgroup setid s0 g $",
        "xgroup setid s0 g 0 ENTRIESREAD 1",
        "xreadgroup group g c1 COUNT 1 STREAMS s0 >",
        "xgroup delconsumer s0 g c1",
        "xgroup delconsumer s0 g c1",
        "xtrim s0 MAXLEN 1",
        "xtrim s0 MAXLEN 1",
        "xtrim s0 MINID ~ 99-0",
        "xadd s1 MINID ~ 99-0 7-* a 1",
        "xgroup destroy s0 g",
        "xgroup destroy s0 g",
        "xtrim s0 MAXLEN 0",
        "xadd s0 MAXLEN 0 99-* a 1",
    ] {
        lab.one(step(words.split(' ').map(|word| Bytes::from(word.to_owned())).collect()));
    }
    // Trimmed node by node, in the middle.
    for trim in
        ["xtrim s2 MAXLEN ~ 7", "xtrim s2 MINID ~ 5-12 LIMIT 100", "xadd s2 MAXLEN ~ 6 LIMIT 100 5-* a 1"]
    {
        for _ in 0..14 {
            lab.one(step(argv!["xadd", "s2", "5-*", "f", "v"]));
        }
        lab.one(step(trim.split(' ').map(|word| Bytes::from(word.to_owned())).collect()));
    }
}

pub fn random(rng: &mut StdRng) -> Step {
    let pick = |rng: &mut StdRng, of: &[&'static str]| *of.choose(rng).expect("not empty");
    let id = |rng: &mut StdRng| format!("5-{}", rng.random_range(0..60));
    let ids = |rng: &mut StdRng| {
        let mut ids: Vec<u32> = (0..rng.random_range(1..5)).map(|_| rng.random_range(0..60)).collect();
        ids.dedup();
        ids.sort_unstable();
        ids.dedup();
        ids.into_iter().map(|seq| Bytes::from(format!("5-{seq}"))).collect::<Argv>()
    };
    let key = pick(rng, &["r0", "r1"]);
    let group = pick(rng, &["g", "h"]);
    let consumer = match rng.random_range(0..6) {
        0 => format!("new{}", rng.random_range(0..1_000_000)),
        _ => pick(rng, &["c1", "c2", "c3"]).to_owned(),
    };
    let trim = |rng: &mut StdRng| match rng.random_range(0..6) {
        0 => argv!["MAXLEN", "~", rng.random_range(5..20)],
        1 | 2 => argv!["maxlen", "=", rng.random_range(5..30)],
        3 => argv!["MAXLEN", "~", rng.random_range(5..20), "LIMIT", "6"],
        4 => argv!["minid", id(rng)],
        _ => argv!["MAXLEN", rng.random_range(10..30)],
    };
    let argv = match rng.random_range(0..22) {
        // In a stream of its own: Valkey names the first ID of the first node, which is that of the first
        // entry only if none was deleted from the middle of a node.
        20 => argv!["xadd", "m", "MINID", "~", id(rng), "5-*", "f", "v"],
        21 => argv!["xtrim", "m", "MINID", "~", id(rng), "LIMIT", "1000"],
        0..=5 => {
            let options = match rng.random_range(0..4) {
                0 => argv!["NOMKSTREAM"],
                1 => trim(rng),
                _ => Vec::new(),
            };
            [argv!["xadd", key], options, argv![pick(rng, &["5-*", "5-*", "5-7"]), "f", "v"]].concat()
        }
        6 if rng.random_ratio(1, 2) => {
            argv!["xadd", "m", "MAXLEN", "~", rng.random_range(1..30), "5-*", "f", "v"]
        }
        6 => [argv!["xtrim", key], trim(rng)].concat(),
        7 => argv!["xgroup", "create", key, group, pick(rng, &["0", "$"]), "MKSTREAM"],
        8 => match rng.random_range(0..6) {
            0 => argv!["xgroup", "destroy", key, group],
            1 => argv!["XGROUP", "delconsumer", key, group, consumer],
            2 => argv!["xgroup", "createconsumer", key, group, consumer],
            _ => argv!["xgroup", "setid", key, group, id(rng)],
        },
        9..=12 => {
            let mut read = argv!["xreadgroup", "group", group, consumer];
            if rng.random_ratio(1, 4) {
                read.extend(argv!["NOACK"]);
            }
            if rng.random_ratio(1, 2) {
                read.extend(argv!["COUNT", "3"]);
            }
            let from = |rng: &mut StdRng| pick(rng, &[">", ">", "0"]);
            match rng.random_range(0..3) {
                0 => read.extend(argv!["STREAMS", "r0", "r1", from(rng), from(rng)]),
                _ => read.extend(argv!["STREAMS", key, from(rng)]),
            }
            read
        }
        13 => [argv!["xack", key, group], ids(rng)].concat(),
        14 => [argv!["xdel", key], ids(rng)].concat(),
        15..=17 => {
            let options = match rng.random_range(0..7) {
                0 => argv!["JUSTID"],
                1 => argv!["FORCE"],
                2 => argv!["IDLE", "500"],
                3 => argv!["RETRYCOUNT", "3"],
                4 => argv!["LASTID", id(rng)],
                _ => Vec::new(),
            };
            let idle = pick(rng, &["0", "0", "10000000"]);
            [argv!["xclaim", key, group, consumer, idle], ids(rng), options].concat()
        }
        _ => {
            let options = match rng.random_range(0..3) {
                0 => argv!["JUSTID"],
                1 => argv!["COUNT", "2"],
                _ => Vec::new(),
            };
            let idle = pick(rng, &["0", "0", "10000000"]);
            [argv!["xautoclaim", key, group, consumer, idle, "0"], options].concat()
        }
    };
    step(argv)
}
