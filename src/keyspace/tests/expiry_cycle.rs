//! The expiry cycle: keys and fields that nobody asks for.

use super::*;
use crate::keyspace::expiry_cycle::{KEY_STEPS, TURN_STEPS};

const NO_TIME: Duration = Duration::ZERO;
const ALL_TIME: Duration = Duration::from_secs(60);

/// How many keys a visit takes if nothing else is due.
const VISIT_KEYS: usize = EXPIRE_VISIT_STEPS / KEY_STEPS;

impl Server {
    fn shard_of_all(&self) -> MutexGuard<'_, Shard> {
        assert_eq!(self.keyspace.options().shards, 1);
        self.keyspace.lock_shard(0)
    }

    /// Stores a hash of these fields, whatever their deadlines, as a loader does.
    fn load_hash(&self, db: u16, key: &str, fields: impl IntoIterator<Item = (String, Option<u64>)>) {
        let mut hash = Hash::new();
        for (name, deadline_ms) in fields {
            hash.insert(name.as_bytes(), b"value", deadline_ms);
        }
        let mut shard = self.keyspace.lock_shard(self.keyspace.shard_of(key.as_bytes()));
        shard.insert(db, key.as_bytes(), Value::Hash(Arc::new(hash)), None);
    }

    fn load_due(&self, db: u16, key: &str, count: usize) {
        self.load_hash(db, key, (0..count).map(|n| (format!("{key}{n}"), Some(1500))));
    }

    /// How many fields of a hash are stored, dead or not; 0 without the hash.
    fn stored(&self, db: u16, key: &str) -> usize {
        let shard = self.keyspace.lock_shard(self.keyspace.shard_of(key.as_bytes()));
        match shard.get(db, key.as_bytes()).map(|entry| &entry.value) {
            Some(Value::Hash(hash)) => hash.len(),
            _ => 0,
        }
    }

    /// The bytes in use as they are counted, and as they are summed up from the entries.
    fn used_and_summed(&self) -> (u64, u64) {
        let sum = |number| {
            let shard = self.keyspace.lock_shard(number);
            let of_table =
                |table: &shard::Table| table.map.iter().map(|(k, entry)| entry.bytes(k.len())).sum::<u64>();
            shard.tables().iter().map(of_table).sum::<u64>()
        };
        (self.keyspace.used_bytes(), (0..self.keyspace.options().shards).map(sum).sum())
    }
}

fn without_times(report: ExpireReport) -> ExpireReport {
    assert!(report.longest_hold > Duration::ZERO);
    ExpireReport { longest_hold: Duration::ZERO, ..report }
}

#[test]
fn the_cycle_reclaims_the_keys_that_are_due_and_nothing_else() {
    let mut server = Server::new();
    for n in 0..3 * VISIT_KEYS {
        server.run(&format!("set due{n} v pxat {}", 1500 + n % 7));
        server.run(&format!("set later{n} v pxat 9000"));
        server.run(&format!("set never{n} v"));
    }
    server.take_published();
    server.now_ms = 2000;
    let report = server.expire_cycle(ALL_TIME);
    let due = 3 * VISIT_KEYS as u64;
    let expected =
        ExpireReport { keys: due, lag_ms: 500, keys_with_deadline: 2 * due, ..ExpireReport::default() };
    assert_eq!(without_times(report), expected);
    assert_eq!(server.published.len(), 3 * VISIT_KEYS);
    assert!(server.published.iter().all(|unit| unit.starts_with("UNLINK due") && !unit.contains(';')));
    assert_eq!(server.keyspace.key_count(0), (2 * due, due));
    let nothing = ExpireReport { keys_with_deadline: due, ..ExpireReport::default() };
    assert_eq!(server.expire_cycle(ALL_TIME), nothing);
}

#[test]
fn the_cycle_reclaims_the_fields_that_are_due_and_nothing_else() {
    let mut server = Server::with_shards(1);
    let fields = [("a", Some(1999)), ("b", Some(2000)), ("c", None), ("d", Some(1998))];
    server.load_hash(0, "h", fields.map(|(name, deadline_ms)| (name.to_owned(), deadline_ms)));
    server.now_ms = 2000;
    let report = server.expire_cycle(ALL_TIME);
    let expected =
        ExpireReport { fields: 2, hashes: 1, lag_ms: 2, volatile_hashes: 1, ..ExpireReport::default() };
    assert_eq!(without_times(report), expected);
    assert_eq!(
        server.take_published(),
        "HDEL h a d",
        "a field lives through the millisecond of its deadline"
    );
    assert_eq!(server.keyspace.stats().expired_fields, 2);
    assert_eq!(server.keyspace.stats().expired_keys, 0);

    server.now_ms = 2001;
    server.expire_cycle(ALL_TIME);
    assert_eq!(server.take_published(), "HDEL h b");
    assert_eq!((server.stored(0, "h"), server.keyspace.volatile_hash_count(0)), (1, 0));
}

#[test]
fn a_hash_that_is_emptied_goes_in_the_unit_that_empties_it() {
    let mut server = Server::with_shards(1);
    server.load_due(2, "h", 3);
    server.now_ms = 2000;
    server.expire_cycle(ALL_TIME);
    let published = server.take_published();
    assert!(published.starts_with("{2:HDEL h h") && published.ends_with("; 2:UNLINK h}"), "{published}");
    assert_eq!(server.keyspace.key_count(2), (0, 0));
    assert_eq!(server.keyspace.stats().expired_keys, 0, "its own deadline has not passed: it has none");
    assert_eq!(server.keyspace.used_bytes(), 0);
}

#[test]
fn many_due_fields_go_in_batches_that_name_each_once() {
    let mut server = Server::with_shards(1);
    let count = 10 * EXPIRE_VISIT_STEPS;
    server.load_due(0, "h", count);
    server.now_ms = 2000;
    let report = server.expire_cycle(ALL_TIME);
    assert_eq!((report.fields, report.hashes), (count as u64, 1));
    let mut named: Vec<String> = Vec::new();
    for (n, unit) in server.published.iter().enumerate() {
        let is_last = n + 1 == server.published.len();
        assert_eq!(unit.ends_with("; UNLINK h}"), is_last, "{unit}");
        let batch = unit.trim_matches(['{', '}']).trim_end_matches("; UNLINK h");
        let names: Vec<_> = batch.strip_prefix("HDEL h ").expect("an HDEL").split(' ').collect();
        assert!(names.len() <= TURN_STEPS, "{}", names.len());
        named.extend(names.into_iter().map(str::to_owned));
    }
    named.sort_unstable();
    named.dedup();
    assert_eq!(named.len(), count);
}

#[test]
fn a_cycle_without_time_makes_one_visit_and_the_next_goes_on() {
    let mut server = Server::with_shards(1);
    for n in 0..2 * VISIT_KEYS {
        server.run(&format!("set k{n} v pxat 1001"));
    }
    server.now_ms = 2000;
    let report = server.expire_cycle(NO_TIME);
    assert_eq!((report.keys, report.out_of_time), (VISIT_KEYS as u64, true));
    let report = server.expire_cycle(NO_TIME);
    assert_eq!((report.keys, report.out_of_time), (VISIT_KEYS as u64, false));

    server.load_due(0, "h", 2 * EXPIRE_VISIT_STEPS);
    let mut cycles = 0;
    while server.expire_cycle(NO_TIME).out_of_time {
        cycles += 1;
        assert!(cycles < 10, "every cycle reclaims some");
    }
    assert_eq!(server.stored(0, "h"), 0);
}

#[test]
fn cycles_without_time_come_to_every_shard() {
    let mut server = Server::with_shards(8);
    for n in 0..64 {
        server.load_due(0, &format!("h{n}"), EXPIRE_VISIT_STEPS);
    }
    server.now_ms = 2000;
    let shards: std::collections::HashSet<usize> =
        (0..64).map(|n| server.keyspace.shard_of(format!("h{n}").as_bytes())).collect();
    for _ in 0..shards.len() {
        assert!(server.expire_cycle(NO_TIME).out_of_time);
    }
    for number in shards {
        let expired = server.keyspace.lock_shard(number).stats.expired_fields;
        assert!(expired > 0, "shard {number} has been left out");
    }
}

#[test]
fn a_huge_hash_delays_no_other_hash_by_more_than_a_turn() {
    let mut server = Server::with_shards(1);
    // The earliest deadlines of all are in the huge one.
    server.load_hash(0, "huge", (0..200_000).map(|n| (format!("f{n}"), Some(1100))));
    for n in 0..5 {
        server.load_due(0, &format!("small{n}"), 3);
    }
    server.now_ms = 2000;
    server.expire_cycle(NO_TIME);
    assert_eq!((0..5).map(|n| server.stored(0, &format!("small{n}"))).sum::<usize>(), 0);
    assert!(server.stored(0, "huge") > 0);
    let report = server.expire_cycle(NO_TIME);
    assert_eq!((report.out_of_time, report.lag_ms), (true, 900), "the lag is that of the fields left");
}

#[test]
fn keys_and_fields_share_a_visit() {
    let mut server = Server::with_shards(1);
    for n in 0..10 * VISIT_KEYS {
        server.run(&format!("set k{n} v pxat 1001"));
    }
    server.load_due(0, "h", 10 * EXPIRE_VISIT_STEPS);
    server.now_ms = 2000;
    let report = server.expire_cycle(NO_TIME);
    assert_eq!(report.keys, VISIT_KEYS as u64 / 2);
    let fields = EXPIRE_VISIT_STEPS as u64 / 2;
    assert!((fields - 8..=fields).contains(&report.fields), "{report:?}");
}

#[test]
fn databases_take_turns() {
    let mut server = Server::with_shards(1);
    for db in [1, 3] {
        server.db = db;
        for n in 0..2 * VISIT_KEYS {
            server.run(&format!("set k{n} v pxat 1001"));
        }
        server.load_due(db, "h", 4 * EXPIRE_VISIT_STEPS);
    }
    server.now_ms = 2000;
    server.expire_cycle(NO_TIME);
    assert_eq!(server.keyspace.key_count(1), server.keyspace.key_count(3));
    assert_eq!(server.stored(1, "h"), server.stored(3, "h"));
    assert!(server.expire_cycle(ALL_TIME).fields > 0);
    assert_eq!((server.keyspace.key_count(1), server.keyspace.key_count(3)), ((0, 0), (0, 0)));
}

#[test]
fn a_hash_that_is_written_to_all_the_time_has_its_turn_as_the_others() {
    let mut server = Server::with_shards(1);
    server.load_due(0, "written", 20 * EXPIRE_VISIT_STEPS);
    server.load_due(0, "left alone", 20 * EXPIRE_VISIT_STEPS);
    server.now_ms = 2000;
    for n in 0..10 {
        server.run(&format!("hset written other{n} 1"));
        assert!(server.expire_cycle(NO_TIME).out_of_time);
        server.run(&format!("hset written more{n} 1"));
    }
    let left = server.stored(0, "written") as i64 - 20 - server.stored(0, "left alone") as i64;
    // A turn more, and one whose steps went into moving records.
    assert!(
        left.unsigned_abs() <= 2 * TURN_STEPS as u64,
        "one had {left} fields less reclaimed than the other"
    );
}

#[test]
fn an_exec_sees_the_fields_of_before_or_after_a_batch() {
    let mut server = Server::with_shards(1);
    server.load_due(0, "h", 10);
    server.load_hash(0, "h2", [("live".to_owned(), None), ("dead".to_owned(), Some(1500))]);
    server.now_ms = 2000;
    assert_eq!(server.run_all(&["hlen h", "hlen h"]).iter().map(text).collect::<Vec<_>>(), [":10", ":10"]);
    let mut touched = WatchSet::new();
    let mut untouched = WatchSet::new();
    server.keyspace.watch(&mut touched, 0, &argv("h2"), 2000);
    server.keyspace.watch(&mut untouched, 0, &argv("h3"), 2000);
    server.expire_cycle(ALL_TIME);
    let calls = [server.call("hlen h2")];
    let mut ignore = |_: &Effects<'_>| {};
    assert_eq!(server.keyspace.execute_watched(&touched, &calls, 2000, &mut ignore), None);
    let replies = server.keyspace.execute_watched(&untouched, &calls, 2000, &mut ignore);
    assert_eq!(replies, Some(vec![Reply::Integer(1)]));
}

#[test]
fn a_cycle_that_finds_nothing_due_touches_nobody_who_watches() {
    let mut server = Server::with_shards(1);
    server.load_hash(0, "h", (0..300).map(|n| (format!("f{n}"), Some(5000 + n))));
    server.now_ms = 2000;
    let mut watching = WatchSet::new();
    server.keyspace.watch(&mut watching, 0, &argv("h"), 2000);
    server.expire_cycle(ALL_TIME);
    assert!(!watching.is_touched());

    // Nor if the hash has to be looked into to know: the bound of a removed deadline is rounded.
    server.now_ms = 1000;
    let early = [("early".to_owned(), Some(1500))];
    server.load_hash(0, "h", early.into_iter().chain((0..300).map(|n| (format!("f{n}"), Some(5000 + n)))));
    server.run("hdel h early");
    let looked_at_ms = 4500;
    let bound_ms = server.shard_of_all().table(0).volatile.earliest_ms();
    assert!(bound_ms < Some(looked_at_ms), "with an exact bound, {bound_ms:?}, nothing is tested here");
    server.take_published();
    server.now_ms = looked_at_ms;
    let mut watching = WatchSet::new();
    server.keyspace.watch(&mut watching, 0, &argv("h"), looked_at_ms);
    server.expire_cycle(ALL_TIME);
    assert!(server.shard_of_all().table(0).volatile.earliest_ms() > bound_ms);
    assert!(!watching.is_touched());
    assert_eq!(server.take_published(), "");
}

#[test]
fn a_snapshot_has_what_was_reclaimed_after_its_cut() {
    let mut server = Server::with_shards(2);
    for n in 0..20 {
        server.load_due(n % 4, &format!("h{n}"), 200);
        server.load_hash(n % 4, &format!("half{n}"), [("a".to_owned(), Some(1500)), ("b".to_owned(), None)]);
    }
    server.now_ms = 2000;
    let (_, mut snapshot) = server.keyspace.cut(|| ());
    let mut seen = std::collections::BTreeMap::new();
    let mut take = |batch: Vec<SnapshotEntry>| {
        for entry in batch {
            let Value::Hash(hash) = entry.value else { panic!("only hashes are stored") };
            let before = seen.insert((entry.db, entry.key), (hash.len(), hash.deadline_count()));
            assert_eq!(before, None, "a key comes once");
        }
    };
    while let Some(batch) = snapshot.next_limited(3) {
        take(batch);
        server.expire_cycle(NO_TIME);
    }
    assert_eq!(seen.len(), 40);
    for ((_, key), found) in &seen {
        assert_eq!(*found, if key.starts_with(b"half") { (2, 1) } else { (200, 200) }, "{key:?}");
    }
    server.expire_cycle(ALL_TIME);
    assert_eq!(server.keyspace.stats().expired_fields, 20 * 200 + 20);
}

#[test]
fn what_is_reclaimed_is_no_longer_counted_as_used() {
    let mut server = Server::with_shards(2);
    for n in 0..20 {
        server.load_due(n % 4, &format!("h{n}"), 150);
        server.load_hash(n % 4, &format!("half{n}"), [("a".to_owned(), Some(1500)), ("b".to_owned(), None)]);
        server.run(&format!("set k{n} v pxat 1500"));
    }
    server.now_ms = 2000;
    loop {
        let report = server.expire_cycle(NO_TIME);
        let (used, summed) = server.used_and_summed();
        assert_eq!(used, summed);
        if !report.out_of_time {
            break;
        }
    }
    for n in 0..20 {
        server.db = n % 4;
        server.run(&format!("del half{n}"));
    }
    assert_eq!(server.keyspace.used_bytes(), 0);
}

#[test]
fn the_events_are_those_of_valkey() {
    let mut recorder = Recorder::new();
    recorder.server.load_hash(0, "h", [("a".to_owned(), Some(1500)), ("b".to_owned(), None)]);
    recorder.server.load_due(0, "gone", 2);
    recorder.server.run("set k v pxat 1500");
    recorder.events.0.lock().clear();
    recorder.server.now_ms = 2000;
    recorder.server.expire_cycle(ALL_TIME);
    let mut told = std::mem::take(&mut *recorder.events.0.lock());
    let of_gone: Vec<_> = told.iter().filter(|event| event.ends_with("gone")).collect();
    assert_eq!(of_gone, ["hexpired gone", "del gone"]);
    told.sort_unstable();
    assert_eq!(told, ["del gone", "expired k", "hexpired gone", "hexpired h"]);

    // On this path `hexpired` is of the class of expiries.
    recorder.server.load_due(0, "h", 1);
    recorder.server.keyspace.set_event_classes(events::EventClass::Hash as u32);
    recorder.events.0.lock().clear();
    recorder.server.expire_cycle(ALL_TIME);
    assert_eq!(*recorder.events.0.lock(), Vec::<String>::new());
}

#[test]
fn after_a_promotion_everything_dead_goes_and_nothing_comes_back() {
    let mut server = Server::with_shards(2);
    let apply = |server: &Server, words: &str| {
        let call = [server.call(words)];
        server.keyspace.execute_under(ExpiryPolicy::Ignore, &call, 50_000, &mut |_| {});
    };
    // The stream of a primary whose clock is behind, or which has not come to reclaiming: deadlines are past
    // already.
    server.load_hash(
        0,
        "h",
        [("dead".to_owned(), Some(1000)), ("live".to_owned(), Some(90_000)), ("for ever".to_owned(), None)],
    );
    server.load_due(1, "gone", 3);
    apply(&server, "set dead v pxat 1000");
    apply(&server, "set live v pxat 90000");
    assert_eq!((server.stored(0, "h"), server.stored(1, "gone")), (3, 3));
    let read = |server: &Server, words: &str| {
        let mut published = Vec::new();
        let mut publish = |effects: &Effects<'_>| published.push(unit_text(effects));
        let replies =
            server.keyspace.execute_under(ExpiryPolicy::Hide, &[server.call(words)], 50_000, &mut publish);
        assert_eq!(published, Vec::<String>::new(), "a replica deletes nothing");
        text(&replies[0])
    };
    assert_eq!(read(&server, "hget h dead"), "nil");
    assert_eq!(read(&server, "hget h live"), "value");
    assert_eq!(read(&server, "get dead"), "nil");
    assert_eq!((server.stored(0, "h"), server.stored(1, "gone")), (3, 3), "hidden is stored");

    server.now_ms = 50_000;
    server.expire_cycle(ALL_TIME);
    server.published.sort_unstable();
    let published = server.take_published();
    assert!(published.starts_with("HDEL h dead || UNLINK dead || {1:HDEL gone "), "{published}");
    assert_eq!(server.stored(0, "h"), 2);
    assert_eq!(text(&server.run("hget h live")), "value");
    assert_eq!(text(&server.run("get live")), "v");
    assert_eq!(text(&server.run("get dead")), "nil");
    assert_eq!(server.take_published(), "", "all of it had gone before");
}
