//! Snapshots of a keyspace that keeps changing.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::super::snapshot::BATCH_KEYS;
use super::*;

pub(super) type State = BTreeMap<(u16, Bytes), (String, Option<u64>)>;

fn value_text(value: &Value) -> String {
    match value {
        Value::String(bytes) => format!("{bytes:?}"),
        Value::Hash(hash) => {
            let mut pairs: Vec<_> = hash.iter().map(|f| format!("{f:?}")).collect();
            pairs.sort();
            pairs.join(" ")
        }
        other => format!("{other:?}"),
    }
}

/// The whole state, straight from the tables.
pub(super) fn state_of(keyspace: &Keyspace) -> State {
    let mut state = State::new();
    for number in 0..keyspace.options.shards {
        let shard = keyspace.lock_shard(number);
        for (db, table) in (0..).zip(shard.tables()) {
            for (key, entry) in &table.map {
                state.insert((db, key.clone()), (value_text(&entry.value), entry.deadline_ms));
            }
        }
    }
    state
}

/// The collected entries; fails if a key was yielded twice or the databases are not in order.
pub(super) fn collected(entries: &[SnapshotEntry]) -> State {
    assert!(entries.is_sorted_by_key(|entry| entry.db), "databases ascend");
    let mut state = State::new();
    for SnapshotEntry { db, key, value, deadline_ms } in entries {
        let previous = state.insert((*db, key.clone()), (value_text(value), *deadline_ms));
        assert_eq!(previous, None, "{db}:{key:?} came twice");
    }
    state
}

pub(super) fn assert_nothing_is_left(keyspace: &Keyspace) {
    for number in 0..keyspace.options.shards {
        assert!(keyspace.lock_shard(number).snapshots.is_empty());
    }
}

#[test]
fn the_mark_is_set_while_nothing_runs_and_sizes_are_those_of_the_cut() {
    let mut server = Server::new();
    server.run_all(&["mset a 1 b 2", "expire a 10", "swapdb 0 2", "set c 3"]);
    let keyspace = Arc::clone(&server.keyspace);
    let (all_locked, snapshot) =
        server.keyspace.cut(|| (0..keyspace.options.shards).all(|n| keyspace.shards[n].try_lock().is_none()));
    assert!(all_locked);
    server.run("flushall");
    assert_eq!(snapshot.db_sizes(), [(0, 1, 0), (2, 2, 1)]);
    assert_eq!(collected(&snapshot.flatten().collect::<Vec<_>>()).len(), 3);
    assert_nothing_is_left(&server.keyspace);
}

#[test]
fn an_empty_keyspace_has_an_empty_snapshot() {
    let server = Server::new();
    let ((), mut snapshot) = server.keyspace.cut(|| ());
    assert_eq!((snapshot.next_batch(), snapshot.db_sizes()), (None, vec![]));
}

#[test]
fn no_lock_hold_visits_more_than_a_batch() {
    let mut server = Server::with_shards(1);
    for n in 0..3 * BATCH_KEYS {
        server.run(&format!("set k{n} v"));
    }
    let ((), mut snapshot) = server.keyspace.cut(|| ());
    for n in 0..2 * BATCH_KEYS {
        server.run(&format!("set k{n} w"));
    }
    server.run("flushall");
    let batches: Vec<_> = std::iter::from_fn(|| snapshot.next_batch()).collect();
    assert!(batches.iter().all(|batch| (1..=BATCH_KEYS).contains(&batch.len())));
    assert_eq!(batches.iter().map(Vec::len).sum::<usize>(), 3 * BATCH_KEYS);
    assert!(batches.iter().flatten().all(|entry| entry.value == Value::String(Bytes::from("v"))));
}

#[test]
fn a_table_that_empties_gives_memory_back_and_disturbs_no_walk() {
    const KEYS: usize = 5000;
    let mut server = Server::with_shards(1);
    for n in 0..KEYS {
        server.run(&format!("set k{n} v"));
    }
    let capacity = |server: &Server| server.keyspace.lock_shard(0).table(0).map.capacity();
    let full = capacity(&server);
    let before = state_of(&server.keyspace);
    let ((), mut snapshot) = server.keyspace.cut(|| ());
    let mut entries = snapshot.next_batch().expect("keys");
    for n in 0..KEYS - 10 {
        server.run(&format!("del k{n}"));
    }
    assert!(capacity(&server) < full / 4);
    entries.extend(snapshot.flatten());
    assert_eq!(collected(&entries), before);
}

#[test]
fn dropping_a_snapshot_releases_what_it_kept() {
    let mut server = Server::new();
    server.run("hset h f v");
    let ((), snapshot) = server.keyspace.cut(|| ());
    server.run("hset h f w");
    drop(snapshot);
    assert_nothing_is_left(&server.keyspace);
    let mut shard = server.keyspace.lock_shard(server.keyspace.shard_of(b"h"));
    let unshared = shard.update(0, b"h", |value| match value {
        Value::Hash(hash) => Arc::get_mut(hash).is_some(),
        _ => false,
    });
    assert_eq!(unshared, Some(true));
}

#[derive(Clone, Debug)]
enum Step {
    Run(String),
    Cut,
    Next(usize),
    Drop(usize),
    Clock(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let key = || 0u8..24;
    let command = prop_oneof![
        4 => (key(), any::<u8>()).prop_map(|(k, v)| format!("set k{k} {v}")),
        2 => (key(), any::<u8>()).prop_map(|(k, v)| format!("append k{k} {v}")),
        3 => (key(), 0u8..4, any::<u8>()).prop_map(|(k, f, v)| format!("hset h{k} f{f} {v}")),
        2 => (key(), 0u8..4).prop_map(|(k, f)| format!("hdel h{k} f{f}")),
        3 => (key(), 0u8..4, 1u64..9000).prop_map(|(k, f, ms)| format!("hsetex h{k} px {ms} fields 1 f{f} v")),
        1 => (key(), 0u8..4, 1u64..9000).prop_map(|(k, f, ms)| format!("hpexpire h{k} {ms} fields 1 f{f}")),
        1 => (key(), 0u8..4).prop_map(|(k, f)| format!("hpersist h{k} fields 1 f{f}")),
        5 => (key(), any::<bool>()).prop_map(|(k, h)| format!("del {}{k}", if h { 'h' } else { 'k' })),
        2 => (key(), 1u64..60).prop_map(|(k, s)| format!("expire k{k} {s}")),
        1 => key().prop_map(|k| format!("persist k{k}")),
        2 => (key(), key()).prop_map(|(a, b)| format!("rename k{a} k{b}")),
        1 => (key(), key(), 0u16..4).prop_map(|(a, b, db)| format!("copy h{a} h{b} db {db} replace")),
        1 => (key(), 0u16..4).prop_map(|(k, db)| format!("move k{k} {db}")),
        1 => (0u16..4, 0u16..4).prop_map(|(a, b)| format!("swapdb {a} {b}")),
        1 => Just("flushdb".to_owned()),
        1 => Just("flushall".to_owned()),
    ];
    prop_oneof![
        20 => command.prop_map(Step::Run),
        3 => Just(Step::Cut),
        6 => (0usize..3).prop_map(Step::Next),
        1 => (0usize..3).prop_map(Step::Drop),
        1 => (1u64..20_000).prop_map(Step::Clock),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Whatever happens between the batches of however many snapshots, each yields the state at its
    /// cut, deadlines of keys and fields included, every key once.
    #[test]
    fn a_snapshot_is_the_state_at_its_cut(steps in prop::collection::vec(step(), 1..150)) {
        let mut server = Server::with_shards(2);
        for n in 0..24 {
            server.run(&format!("set k{n} {n}"));
            server.run(&format!("hset h{n} f{n} {n}"));
        }
        let mut active: Vec<(State, Snapshot, Vec<SnapshotEntry>)> = Vec::new();
        for (n, step) in steps.into_iter().enumerate() {
            match step {
                Step::Run(command) => {
                    // Mostly one database, so that it grows and shrinks.
                    server.db = if n % 5 == 0 { 1 } else { 0 };
                    server.run(&command);
                }
                Step::Cut if active.len() < 3 => {
                    let ((), snapshot) = server.keyspace.cut(|| ());
                    active.push((state_of(&server.keyspace), snapshot, Vec::new()));
                }
                Step::Cut => {}
                Step::Next(which) => if let Some((_, snapshot, entries)) = active.get_mut(which) {
                    entries.extend(snapshot.next_limited(3).unwrap_or_default());
                },
                Step::Drop(which) => if which < active.len() {
                    active.remove(which);
                },
                Step::Clock(ms) => {
                    server.now_ms += ms;
                    server.expire_cycle(Duration::from_secs(60));
                }
            }
        }
        for (state, mut snapshot, mut entries) in active {
            while let Some(batch) = snapshot.next_limited(5) {
                entries.extend(batch);
            }
            prop_assert_eq!(collected(&entries), state);
        }
        assert_nothing_is_left(&server.keyspace);
    }
}
