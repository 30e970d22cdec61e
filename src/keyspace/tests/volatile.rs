//! Hashes whose fields expire, while everything happens that can happen to a key.
//!
//! Random histories of one keyspace and a replica of it: field commands, commands that replace, move, copy or
//! drop whole keys and databases, eviction, active expiry with any budget, a clock that jumps, and up to
//! three snapshots that are walked meanwhile. After every step:
//!
//! * a shard's index of hashes with deadlines names exactly those hashes, each by the moment that its hash
//!   reports, and that moment is no later than any deadline in it. Only active expiry puts a hash behind
//!   others that are due;
//! * the memory in use is what a recount gives;
//! * the replica, whatever its clock shows, stores what the primary stores.
//!
//! After an active expiry with enough time nothing dead is stored. A snapshot yields the state of its cut,
//! deadlines included.
//!
//! `REPLCORE_TEST_OPERATIONS` sets the number of steps.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{TestError, TestRunner};

use super::super::memory::{EvictionPolicy, MemoryLimits};
use super::super::shard::Table;
use super::memory::assert_totals;
use super::snapshots::{State, assert_nothing_is_left, collected, state_of};
use super::*;
use crate::hash_ttl::Slot;

/// Steps by default: a few seconds in a debug build.
const DEFAULT_OPERATIONS: u32 = 12_000;
const MAX_STEPS: u32 = 300;
const MAX_SHRINK_ITERS: u32 = 3000;
const DATABASES: u16 = 3;
const START_MS: u64 = 1_700_000_000_000;
/// No snapshot is walked faster than this: it meets many changes.
const SNAPSHOT_STEP_KEYS: usize = 2;
/// More fields than a hash keeps in its compact form.
const MANY_FIELDS: usize = HASH_COMPACT_MAX_FIELDS + 20;

#[derive(Clone, Debug)]
enum Step {
    /// One unit: a command, or the commands of an `EXEC`.
    Unit(u16, Vec<String>),
    /// `RESTORE` of what `DUMP` answers, both in the database.
    Restore {
        db: u16,
        from: String,
        to: String,
    },
    /// The clock moves, forward or back.
    Clock(i64),
    /// Active expiry, with all the time it needs or with almost none.
    Cycle {
        unlimited: bool,
    },
    /// The limit of memory is this share of what is in use, in percent, until there is room.
    Evict(EvictionPolicy, u64),
    Cut,
    Next(usize),
    Drop(usize),
}

fn key() -> impl Strategy<Value = String> + Clone {
    prop_oneof![9 => (0u8..5).prop_map(|n| format!("h{n}")), 1 => Just("s".to_owned()), 1 => Just("l".to_owned())]
}

/// Milliseconds from now: soon, later, or so late that it is not met.
fn span_ms() -> impl Strategy<Value = u64> + Clone {
    prop_oneof![6 => 1u64..40, 3 => 40u64..9000, 1 => 3_600_000u64..40_000_000_000]
}

/// Absolute, past or to come.
fn time_ms() -> impl Strategy<Value = u64> + Clone {
    prop_oneof![
        4 => (0u64..6000).prop_map(|ms| START_MS - 2000 + ms),
        1 => 0u64..10,
        1 => span_ms().prop_map(|ms| START_MS + ms),
    ]
}

/// A field, or a number of different ones.
fn fields(most: usize) -> impl Strategy<Value = Vec<String>> + Clone {
    prop::collection::vec((0u8..6).prop_map(|n| format!("f{n}")), 1..=most)
}

fn many() -> impl Iterator<Item = String> {
    (0..MANY_FIELDS).map(|n| format!("f{n}"))
}

fn named(fields: &[String]) -> String {
    format!("FIELDS {} {}", fields.len(), fields.join(" "))
}

fn with_values(fields: &[String], value: u8) -> String {
    let pairs: Vec<String> = fields.iter().map(|field| format!("{field} {value}")).collect();
    format!("FIELDS {} {}", fields.len(), pairs.join(" "))
}

fn field_command() -> impl Strategy<Value = String> + Clone {
    let condition = select(vec!["", "", "", "NX ", "XX ", "GT ", "LT "]);
    let exists = select(vec!["", "", "", "FNX ", "FXX ", "NX ", "XX "]);
    let expiry = prop_oneof![
        6 => span_ms().prop_map(|ms| format!("PX {ms} ")),
        2 => time_ms().prop_map(|ms| format!("PXAT {ms} ")),
        1 => (1u64..9).prop_map(|s| format!("EX {s} ")),
    ];
    let kept = prop_oneof![3 => expiry.clone(), 1 => Just(String::new()), 2 => Just("KEEPTTL ".to_owned())];
    let got = prop_oneof![3 => expiry, 1 => Just(String::new()), 2 => Just("PERSIST ".to_owned())];
    let value = any::<u8>();
    prop_oneof![
        12 => (key(), exists, kept, fields(3), value)
            .prop_map(|(k, c, e, f, v)| format!("HSETEX {k} {c}{e}{}", with_values(&f, v))),
        4 => (key(), span_ms(), condition.clone(), fields(3))
            .prop_map(|(k, ms, c, f)| format!("HPEXPIRE {k} {ms} {c}{}", named(&f))),
        2 => (key(), time_ms(), condition, fields(2))
            .prop_map(|(k, ms, c, f)| format!("HPEXPIREAT {k} {ms} {c}{}", named(&f))),
        3 => (key(), fields(3)).prop_map(|(k, f)| format!("HPERSIST {k} {}", named(&f))),
        3 => (key(), got, fields(2)).prop_map(|(k, e, f)| format!("HGETEX {k} {e}{}", named(&f))),
        2 => (key(), fields(3)).prop_map(|(k, f)| format!("HGETDEL {k} {}", named(&f))),
        4 => (key(), fields(3)).prop_map(|(k, f)| format!("HDEL {k} {}", f.join(" "))),
        4 => (key(), fields(1), value).prop_map(|(k, f, v)| format!("HSET {k} {} {v}", f[0])),
        1 => (key(), fields(1), value).prop_map(|(k, f, v)| format!("HSET {k} {} {}", f[0], "v".repeat(usize::from(v)))),
        1 => (key(), fields(1), value).prop_map(|(k, f, v)| format!("HSETNX {k} {} {v}", f[0])),
        2 => (key(), fields(1)).prop_map(|(k, f)| format!("HINCRBY {k} {} 3", f[0])),
        1 => (key(), fields(1)).prop_map(|(k, f)| format!("HINCRBYFLOAT {k} {} 0.5", f[0])),
        1 => key().prop_map(|k| format!("HGETALL {k}")),
    ]
}

/// A hash with many fields, with one deadline, several, or none.
fn filling_command() -> impl Strategy<Value = String> + Clone {
    let all = || many().collect::<Vec<_>>();
    prop_oneof![
        (key(), span_ms()).prop_map(move |(k, ms)| format!("HSETEX {k} PX {ms} {}", with_values(&all(), 1))),
        (key(), span_ms()).prop_map(move |(k, ms)| format!("HPEXPIRE {k} {ms} {}", named(&all()))),
        key().prop_map(move |k| format!("HDEL {k} {}", many().collect::<Vec<_>>().join(" "))),
    ]
}

fn key_command() -> impl Strategy<Value = String> + Clone {
    let db = 0..DATABASES;
    prop_oneof![
        3 => key().prop_map(|k| format!("SET {k} v")),
        1 => (key(), span_ms()).prop_map(|(k, ms)| format!("SET {k} v PX {ms}")),
        1 => Just("RPUSH l 3 1 2".to_owned()),
        4 => (key(), key()).prop_map(|(a, b)| format!("DEL {a} {b}")),
        4 => (key(), key()).prop_map(|(a, b)| format!("RENAME {a} {b}")),
        3 => (key(), db.clone()).prop_map(|(k, db)| format!("MOVE {k} {db}")),
        6 => (key(), key(), db.clone()).prop_map(|(a, b, db)| format!("COPY {a} {b} DB {db} REPLACE")),
        2 => (key(), key()).prop_map(|(a, b)| format!("SORT {a} BY nosort STORE {b}")),
        3 => (key(), span_ms()).prop_map(|(k, ms)| format!("PEXPIRE {k} {ms}")),
        1 => key().prop_map(|k| format!("PEXPIREAT {k} 1")),
        1 => key().prop_map(|k| format!("PERSIST {k}")),
        2 => (db.clone(), db).prop_map(|(a, b)| format!("SWAPDB {a} {b}")),
        1 => Just("FLUSHDB".to_owned()),
        1 => Just("FLUSHALL".to_owned()),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let command = prop_oneof![16 => field_command(), 1 => filling_command(), 8 => key_command()];
    let db = || prop_oneof![3 => Just(0), 1 => 0..DATABASES];
    let policies: Vec<_> =
        EvictionPolicy::ALL.into_iter().filter(|policy| *policy != EvictionPolicy::NoEviction).collect();
    prop_oneof![
        40 => (db(), command.clone()).prop_map(|(db, command)| Step::Unit(db, vec![command])),
        4 => (db(), prop::collection::vec(command, 2..4)).prop_map(|(db, commands)| Step::Unit(db, commands)),
        2 => (db(), key(), key()).prop_map(|(db, from, to)| Step::Restore { db, from, to }),
        9 => (0i64..30).prop_map(Step::Clock),
        2 => prop_oneof![-50..0i64, 1000..9000i64, 3_000_000..40_000_000i64].prop_map(Step::Clock),
        4 => any::<bool>().prop_map(|unlimited| Step::Cycle { unlimited }),
        1 => (select(policies), 30u64..100).prop_map(|(policy, percent)| Step::Evict(policy, percent)),
        2 => Just(Step::Cut),
        6 => (0usize..3).prop_map(Step::Next),
        1 => (0usize..3).prop_map(Step::Drop),
    ]
}

/// A hash's slot and key, as the index has them.
type Places = BTreeSet<(Slot, Bytes)>;

/// The hashes of a table that have deadlines, by the moment that each reports.
fn volatile_hashes(table: &Table) -> BTreeMap<u64, Places> {
    let mut by_moment: BTreeMap<u64, Places> = BTreeMap::new();
    for (key, entry) in &table.map {
        let (earliest_ms, reported_ms) = match &entry.value {
            Value::Hash(hash) => {
                assert!(!hash.is_empty(), "{key:?} is stored without a field");
                let deadlines = || hash.iter().filter_map(|field| field.deadline_ms);
                assert_eq!(hash.deadline_count(), deadlines().count(), "the deadlines of {key:?}");
                (deadlines().min(), hash.earliest_ms())
            }
            _ => (None, None),
        };
        assert_eq!(entry.volatile.is_some(), earliest_ms.is_some(), "{key:?} has a place in the index");
        assert_eq!(reported_ms.is_some(), earliest_ms.is_some(), "{key:?} reports a moment");
        if let (Some(slot), Some(earliest_ms), Some(reported_ms)) = (entry.volatile, earliest_ms, reported_ms)
        {
            assert!(reported_ms <= earliest_ms, "{key:?} reports {reported_ms}, is due at {earliest_ms}");
            by_moment.entry(reported_ms).or_default().insert((slot, key.clone()));
        }
    }
    by_moment
}

/// What a copy of the index gives out as time goes by is what the hashes report: nothing too early, and
/// nothing too late, but for hashes that a cycle has put behind the others that were due at `cycled_ms` at
/// the latest.
fn assert_indexed(keyspace: &Keyspace, cycled_ms: u64) {
    for number in 0..keyspace.options.shards {
        let shard = keyspace.lock_shard(number);
        for table in shard.tables() {
            let hashes = volatile_hashes(table);
            assert_eq!(table.volatile.len(), hashes.values().map(BTreeSet::len).sum::<usize>());
            let moments = hashes.keys().copied().chain(cycled_ms.checked_sub(1)).collect::<BTreeSet<u64>>();
            let mut index = table.volatile.clone();
            let (mut due, mut reported) = (Places::new(), Places::new());
            let mut take_due = |now_ms, due: &mut Places| {
                while let Some((slot, key)) = index.first_due(now_ms, &mut usize::MAX.clone()) {
                    let (stored, _) = table.map.get_key_value(key).expect("an indexed key is stored");
                    assert_eq!(stored.as_ptr(), key.as_ptr(), "{key:?} is in memory once");
                    due.insert((slot, key.clone()));
                    index.remove(slot);
                }
            };
            for moment_ms in moments {
                take_due(moment_ms, &mut due);
                assert!(due.is_subset(&reported), "before {moment_ms} {due:?} are due, not {reported:?}");
                reported.extend(hashes.get(&moment_ms).into_iter().flatten().cloned());
                take_due(moment_ms + 1, &mut due);
                assert!(due.is_subset(&reported), "after {moment_ms} {due:?} are due, not {reported:?}");
                if moment_ms + 1 >= cycled_ms {
                    assert_eq!(due, reported, "due after {moment_ms}");
                }
            }
            assert_eq!((index.len(), index.earliest_ms()), (0, None));
        }
    }
}

/// Nothing that is stored has a deadline before `now_ms`.
fn assert_nothing_is_dead(keyspace: &Keyspace, now_ms: u64) {
    for number in 0..keyspace.options.shards {
        let shard = keyspace.lock_shard(number);
        for (key, entry) in shard.tables().iter().flat_map(|table| &table.map) {
            assert!(!entry.is_expired(now_ms), "{key:?} is dead and stored");
            if let Value::Hash(hash) = &entry.value {
                let dead = hash.iter().find(|field| field.deadline_ms.is_some_and(|ms| ms < now_ms));
                assert_eq!(dead, None, "dead and stored in {key:?}");
            }
        }
    }
}

/// Both store the same.
fn assert_same_contents(replica: &Keyspace, primary: &Keyspace) {
    let count = |keyspace: &Keyspace| (0..DATABASES).map(|db| keyspace.key_count(db)).collect::<Vec<_>>();
    assert_eq!(count(replica), count(primary), "keys, and keys with a deadline");
    for number in 0..primary.options.shards {
        let shard = primary.lock_shard(number);
        for (db, table) in (0..).zip(shard.tables()) {
            for (key, entry) in &table.map {
                let home = replica.lock_shard(replica.shard_of(key));
                let copy = home.get(db, key).map(|copy| (&copy.value, copy.deadline_ms));
                assert_eq!(copy, Some((&entry.value, entry.deadline_ms)), "{db}:{key:?} on the replica");
            }
        }
    }
}

struct World {
    primary: Arc<Keyspace>,
    replica: Arc<Keyspace>,
    now_ms: u64,
    /// The latest moment of an active expiry.
    cycled_ms: u64,
    /// States at cuts, their snapshots, and what these have yielded.
    snapshots: Vec<(State, Snapshot, Vec<SnapshotEntry>)>,
}

/// The replica applies a unit with a clock of its own.
fn replicate(replica: &Keyspace, effects: &Effects<'_>, now_ms: u64) {
    let call = |op: &crate::rewrite::Op<'_>| Call { db: op.db, argv: op.argv.to_vec() };
    let calls: Vec<Call> = effects.ops.iter().map(call).collect();
    for reply in replica.execute_under(ExpiryPolicy::Ignore, &calls, now_ms, &mut |_| {}) {
        assert!(!matches!(reply, Reply::Error(_)), "{reply:?} to {}", unit_text(effects));
    }
}

impl World {
    fn new() -> World {
        let keyspace = |shards| {
            let options = Options { shards, databases: DATABASES, ..Options::default() };
            Arc::new(Keyspace::new(options))
        };
        World {
            primary: keyspace(2),
            replica: keyspace(1),
            now_ms: START_MS,
            cycled_ms: 0,
            snapshots: Vec::new(),
        }
    }

    fn run(&self, calls: &[Call]) -> Vec<Reply> {
        self.primary.execute(calls, self.now_ms, &mut |effects| {
            replicate(&self.replica, effects, self.now_ms.wrapping_mul(7) % (2 * START_MS));
        })
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Unit(db, commands) => {
                let call = |words: &String| Call { db: *db, argv: argv(words) };
                self.run(&commands.iter().map(call).collect::<Vec<_>>());
            }
            Step::Restore { db, from, to } => {
                let dump = Call { db: *db, argv: argv(&format!("DUMP {from}")) };
                if let Some(Reply::Bulk(payload)) = self.run(&[dump]).pop() {
                    let mut restore = argv(&format!("RESTORE {to} 0 payload REPLACE"));
                    restore[3] = payload;
                    self.run(&[Call { db: *db, argv: restore }]);
                }
            }
            Step::Clock(ms) => self.now_ms = self.now_ms.saturating_add_signed(*ms),
            Step::Cycle { unlimited } => {
                let budget = if *unlimited { Duration::MAX } else { Duration::ZERO };
                let mut publish = |effects: &Effects<'_>| replicate(&self.replica, effects, 0);
                self.primary.expire_cycle(self.now_ms, budget, &mut publish);
                self.cycled_ms = self.cycled_ms.max(self.now_ms);
                // After the clock was set back, what was put behind waits for its moment.
                if *unlimited && self.now_ms == self.cycled_ms {
                    assert_nothing_is_dead(&self.primary, self.now_ms);
                }
            }
            Step::Evict(policy, percent) => {
                let max_bytes = self.primary.used_bytes() * percent / 100;
                let limits =
                    |max_bytes| MemoryLimits { max_bytes, policy: *policy, ..MemoryLimits::default() };
                self.primary.set_memory_limits(limits(max_bytes.max(1)));
                self.primary.make_room(self.now_ms, &mut |effects| replicate(&self.replica, effects, 0));
                self.primary.set_memory_limits(limits(0));
            }
            Step::Cut if self.snapshots.len() < 3 => {
                let ((), snapshot) = self.primary.cut(|| ());
                self.snapshots.push((state_of(&self.primary), snapshot, Vec::new()));
            }
            Step::Cut => {}
            Step::Next(which) => {
                if let Some((_, snapshot, entries)) = self.snapshots.get_mut(*which) {
                    entries.extend(snapshot.next_limited(SNAPSHOT_STEP_KEYS).unwrap_or_default());
                }
            }
            Step::Drop(which) => {
                if *which < self.snapshots.len() {
                    self.snapshots.remove(*which);
                }
            }
        }
    }

    fn check(&self) {
        assert_indexed(&self.primary, self.cycled_ms);
        assert_indexed(&self.replica, 0);
        assert_totals(&self.primary);
        assert_same_contents(&self.replica, &self.primary);
    }

    /// Walks the snapshots to their ends, then lets everything expire.
    fn end(mut self) {
        for (state, mut snapshot, mut entries) in self.snapshots.drain(..) {
            entries.extend(snapshot.by_ref().flatten());
            assert_eq!(collected(&entries), state, "a snapshot is the state of its cut");
        }
        assert_nothing_is_left(&self.primary);
        self.now_ms = START_MS * 2;
        self.take(&Step::Cycle { unlimited: true });
        self.check();
        self.take(&Step::Unit(0, vec!["FLUSHALL".to_owned()]));
        self.check();
    }
}

fn operations() -> u32 {
    let set = std::env::var("REPLCORE_TEST_OPERATIONS").ok();
    set.and_then(|operations| operations.parse().ok()).unwrap_or(DEFAULT_OPERATIONS)
}

#[test]
fn the_index_of_volatile_hashes_is_exact_whatever_happens_to_their_keys() {
    let taken = Cell::new(0);
    // A history has half of the most steps on average.
    let cases = (2 * operations()).div_ceil(MAX_STEPS);
    let config = ProptestConfig {
        cases,
        failure_persistence: None,
        max_shrink_iters: MAX_SHRINK_ITERS,
        ..ProptestConfig::default()
    };
    let result =
        TestRunner::new(config).run(&prop::collection::vec(step(), 1..MAX_STEPS as usize), |history| {
            let mut world = World::new();
            for step in &history {
                world.take(step);
                world.check();
            }
            world.end();
            taken.set(taken.get() + history.len());
            Ok(())
        });
    if let Err(TestError::Fail(reason, history)) = result {
        panic!("{reason}\n  after {history:#?}");
    }
    println!("{} steps", taken.get());
}
