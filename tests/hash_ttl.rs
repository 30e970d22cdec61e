//! `Hash` and `DeadlineIndex` do what an obvious reference does: both are driven by the same random
//! operations and have to agree after each of them, whatever the clock does.
//!
//! `PROPTEST_CASES` sets the number of sequences; 20 000 of them are more than a million operations on each.
#![cfg(not(replcore_loom))]
#![allow(missing_docs)]

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError};
use replcore::hash_ttl::{DeadlineIndex, HASH_COMPACT_MAX_FIELDS, Hash, Moment, Slot};

/// Sequences by default: a few seconds in a debug build.
const DEFAULT_CASES: u32 = 300;
const MAX_OPS: usize = 120;
/// How often a bound that is not exact may have to be looked at: once for each level of the wheel, and once
/// for what is not sorted.
const LOOKS_MAX: usize = 13;

/// Dead records that may have to be passed.
const MOVED_MAX: usize = 4096;

type Checked<T = ()> = Result<T, TestCaseError>;

fn config() -> Config {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    Config { cases: cases.unwrap_or(DEFAULT_CASES), failure_persistence: None, ..Config::default() }
}

/// A moment, seen from now.
#[derive(Clone, Copy, Debug)]
enum Time {
    At(u64),
    Ahead(u64),
    Back(u64),
}

impl Time {
    fn from(self, now_ms: u64) -> u64 {
        match self {
            Time::At(ms) => ms,
            Time::Ahead(ms) => now_ms.saturating_add(ms),
            Time::Back(ms) => now_ms.saturating_sub(ms),
        }
    }
}

fn span() -> impl Strategy<Value = u64> {
    prop_oneof![4 => 0u64..4, 4 => 0u64..300, 3 => 0u64..100_000, 1 => (0u32..64).prop_map(|bits| 1 << bits)]
}

fn time() -> impl Strategy<Value = Time> {
    let extremes = vec![0, 1, 63, 64, i64::MAX as u64, i64::MAX as u64 + 1, u64::MAX - 1, u64::MAX];
    prop_oneof![
        12 => span().prop_map(Time::Ahead),
        5 => span().prop_map(Time::Back),
        1 => prop::sample::select(extremes).prop_map(Time::At),
        1 => any::<u64>().prop_map(Time::At),
    ]
}

/// Clocks that mostly go on.
fn clock() -> impl Strategy<Value = Time> {
    prop_oneof![8 => span().prop_map(Time::Ahead), 2 => span().prop_map(Time::Back), 1 => time()]
}

fn steps() -> impl Strategy<Value = usize> {
    prop_oneof![1 => Just(0), 3 => 1usize..4, 3 => 4usize..100, 3 => Just(usize::MAX)]
}

#[derive(Clone, Debug)]
enum Op {
    Insert {
        name: u16,
        value_len: usize,
        deadline: Option<Time>,
    },
    /// Fields with consecutive numbers, deadlines as far from each other as `apart`.
    InsertMany {
        from: u16,
        count: u16,
        deadline: Option<Time>,
        apart: u64,
    },
    SetDeadline {
        name: u16,
        deadline: Option<Time>,
    },
    Remove {
        name: u16,
    },
    RemoveMany {
        from: u16,
        count: u16,
    },
    Clock(Time),
    Reclaim {
        steps: usize,
    },
    /// Keeps a copy: it has to stay as it is while the original changes.
    Keep,
    /// Goes on with the copy.
    Return,
    Walk {
        count: usize,
    },
}

const NAMES: u16 = 1200;

fn any_op() -> impl Strategy<Value = Op> {
    let name = || prop_oneof![3 => 0u16..12, 2 => 0..NAMES];
    let deadline = || prop::option::weighted(0.7, time());
    let value_len = prop_oneof![6 => 0usize..20, 2 => 20usize..70, 1 => 250usize..260, 1 => 260usize..3000];
    prop_oneof![
        10 => (name(), value_len, deadline())
            .prop_map(|(name, value_len, deadline)| Op::Insert { name, value_len, deadline }),
        2 => (0..NAMES, 1u16..300, deadline(), span())
            .prop_map(|(from, count, deadline, apart)| Op::InsertMany { from, count, deadline, apart }),
        5 => (name(), deadline()).prop_map(|(name, deadline)| Op::SetDeadline { name, deadline }),
        5 => name().prop_map(|name| Op::Remove { name }),
        2 => (0..NAMES, 1u16..400).prop_map(|(from, count)| Op::RemoveMany { from, count }),
        6 => clock().prop_map(Op::Clock),
        8 => steps().prop_map(|steps| Op::Reclaim { steps }),
        1 => Just(Op::Keep),
        1 => Just(Op::Return),
        4 => (1usize..200).prop_map(|count| Op::Walk { count }),
    ]
}

/// Names of different lengths; a few are long.
fn name(number: u16) -> Vec<u8> {
    let mut name = format!("field:{number}").into_bytes();
    match number % 16 {
        3 => name.resize(70, b'.'),
        5 if number < 100 => name.resize(400, b'.'),
        7 => name.insert(0, 0xff),
        _ => {}
    }
    name
}

type Stored = BTreeMap<Vec<u8>, (Vec<u8>, Option<u64>)>;

/// A walk from the end to the start, as `HSCAN` does.
#[derive(Clone)]
struct Walk {
    index: usize,
    /// Those that were there from the beginning and have not been met.
    missing: BTreeSet<Vec<u8>>,
}

#[derive(Clone, Default)]
struct Machine {
    hash: Hash,
    stored: Stored,
    now_ms: u64,
    walk: Option<Walk>,
    kept: Option<(Hash, Stored)>,
    written: u32,
    /// The most bytes of names and values, and the most fields, that there were.
    peak_bytes: usize,
    peak_fields: usize,
}

impl Machine {
    fn insert(&mut self, number: u16, value_len: usize, deadline_ms: Option<u64>) -> Checked {
        let name = name(number);
        self.written += 1;
        let value: Vec<u8> = self.written.to_le_bytes().into_iter().cycle().take(value_len).collect();
        let old = self.stored.insert(name.clone(), (value.clone(), deadline_ms)).map(|(_, old_ms)| old_ms);
        prop_assert_eq!(self.hash.insert(&name, &value, deadline_ms), old);
        Ok(())
    }

    fn remove(&mut self, number: u16) -> Checked {
        let name = name(number);
        let old = self.stored.remove(&name).map(|(_, old_ms)| old_ms);
        prop_assert_eq!(self.hash.remove(&name), old);
        self.walk.iter_mut().for_each(|walk| _ = walk.missing.remove(&name));
        Ok(())
    }

    fn due(&self) -> usize {
        let deadlines = self.stored.values().filter_map(|(_, deadline_ms)| *deadline_ms);
        deadlines.filter(|&deadline_ms| deadline_ms < self.now_ms).count()
    }

    fn reclaim(&mut self, steps: usize) -> Checked {
        let (due, fields, deadlines) = (self.due(), self.hash.len(), self.hash.deadline_count());
        let (mut left, mut reclaimed) = (steps, Vec::new());
        self.hash.reclaim(self.now_ms, &mut left, &mut reclaimed);
        prop_assert!(left <= steps);
        prop_assert!(steps - left >= reclaimed.len());
        // Some are moved, and what was overwritten is passed.
        prop_assert!(left == 0 || steps - left <= deadlines + 4 * fields + MOVED_MAX, "each is sorted once");
        for name in &reclaimed {
            let Some((_, Some(deadline_ms))) = self.stored.remove(&name[..]) else {
                return Err(TestCaseError::fail(format!("{name:?} was not there, or without deadline")));
            };
            prop_assert!(deadline_ms < self.now_ms, "{:?} is not due", name);
            self.walk.iter_mut().for_each(|walk| _ = walk.missing.remove(&name[..]));
        }
        if left > 0 {
            prop_assert_eq!(reclaimed.len(), due, "all that is due");
        }
        Ok(())
    }

    fn walk(&mut self, count: usize) -> Checked {
        if self.hash.is_compact() {
            return Ok(());
        }
        let mut walk = self.walk.take().unwrap_or_else(|| Walk {
            index: self.hash.len(),
            missing: self.stored.keys().cloned().collect(),
        });
        let from = walk.index.min(self.hash.len());
        walk.index = from.saturating_sub(count);
        for field in (walk.index..from).rev().filter_map(|index| self.hash.get_index(index)) {
            walk.missing.remove(&field.name[..]);
        }
        if walk.index == 0 {
            prop_assert!(walk.missing.is_empty(), "not met: {:?}", walk.missing);
        } else {
            self.walk = Some(walk);
        }
        Ok(())
    }

    fn apply(&mut self, op: &Op) -> Checked {
        match *op {
            Op::Insert { name, value_len, deadline } => {
                let deadline_ms = deadline.map(|time| time.from(self.now_ms));
                self.insert(name, value_len, deadline_ms)?;
            }
            Op::InsertMany { from, count, deadline, apart } => {
                let first_ms = deadline.map(|time| time.from(self.now_ms));
                for n in 0..count {
                    let later = apart.wrapping_mul(u64::from(n * 7 % count));
                    self.insert((from + n) % NAMES, 8, first_ms.map(|ms| ms.wrapping_add(later)))?;
                }
            }
            Op::SetDeadline { name: number, deadline } => {
                let (name, deadline_ms) = (name(number), deadline.map(|time| time.from(self.now_ms)));
                let stored = self.stored.get_mut(&name);
                let old = stored.map(|(_, stored_ms)| std::mem::replace(stored_ms, deadline_ms));
                prop_assert_eq!(self.hash.set_deadline(&name, deadline_ms), old);
            }
            Op::Remove { name } => self.remove(name)?,
            Op::RemoveMany { from, count } => {
                for n in 0..count {
                    self.remove((from + n) % NAMES)?;
                }
            }
            Op::Clock(time) => self.now_ms = time.from(self.now_ms),
            Op::Reclaim { steps } => self.reclaim(steps)?,
            Op::Keep => self.kept = Some((self.hash.clone(), self.stored.clone())),
            Op::Return => {
                if let Some((hash, stored)) = self.kept.take() {
                    check_contents(&self.hash, &self.stored)?;
                    (self.hash, self.stored) = (hash, stored);
                    // What was there in between may be missing.
                    self.walk = None;
                    check_contents(&self.hash, &self.stored)?;
                }
            }
            Op::Walk { count } => self.walk(count)?,
        }
        self.check()
    }

    /// What can be checked after each operation.
    fn check(&mut self) -> Checked {
        prop_assert_eq!(self.hash.len(), self.stored.len());
        let deadlines = self.stored.values().filter_map(|(_, deadline_ms)| *deadline_ms);
        prop_assert_eq!(self.hash.deadline_count(), deadlines.clone().count());
        let (bound_ms, earliest_ms) = (self.hash.earliest_ms(), deadlines.min());
        prop_assert_eq!(bound_ms.is_some(), earliest_ms.is_some());
        prop_assert!(bound_ms <= earliest_ms, "{:?} is no lower bound of {:?}", bound_ms, earliest_ms);
        prop_assert!(!self.hash.is_compact() || bound_ms == earliest_ms, "the compact form knows it");
        let payload_bytes = self.stored.iter().map(|(name, (value, _))| name.len() + value.len()).sum();
        self.peak_bytes = self.peak_bytes.max(payload_bytes);
        self.peak_fields = self.peak_fields.max(self.stored.len());
        prop_assert!(self.hash.heap_bytes() >= payload_bytes);
        let most = 4096 + 3 * self.peak_bytes + 150 * self.peak_fields;
        prop_assert!(self.hash.heap_bytes() <= most, "{} > {most}", self.hash.heap_bytes());
        Ok(())
    }

    /// Who looks whenever the bound has passed finds the earliest field after a few looks, and in the
    /// millisecond after its deadline.
    fn check_exactness(&self) -> Checked {
        let mut hash = self.hash.clone();
        let deadlines = self.stored.values().filter_map(|(_, deadline_ms)| *deadline_ms);
        let Some(earliest_ms) = deadlines.min().filter(|&ms| ms < u64::MAX) else { return Ok(()) };
        let mut reclaimed = Vec::new();
        for _ in 0..LOOKS_MAX {
            let bound_ms = hash.earliest_ms().expect("a field has a deadline");
            hash.reclaim(bound_ms + 1, &mut usize::MAX.clone(), &mut reclaimed);
            if !reclaimed.is_empty() {
                prop_assert_eq!(bound_ms, earliest_ms);
                return Ok(());
            }
        }
        Err(TestCaseError::fail(format!("{:?} is still before {earliest_ms}", hash.earliest_ms())))
    }
}

fn check_contents(hash: &Hash, stored: &Stored) -> Checked {
    let found: Stored =
        hash.iter().map(|field| (field.name.to_vec(), (field.value.to_vec(), field.deadline_ms))).collect();
    prop_assert_eq!(&found, stored);
    prop_assert_eq!(hash.iter().count(), stored.len(), "each once");
    for (index, field) in hash.iter().enumerate() {
        prop_assert_eq!(hash.get_index(index), Some(field));
        prop_assert_eq!(hash.stored(&field.name), Some(field));
        prop_assert_eq!(field.value.to_bytes(), Bytes::copy_from_slice(&field.value));
    }
    prop_assert_eq!(hash.get_index(stored.len()), None);
    prop_assert_eq!(hash.stored(b"never stored"), None);
    Ok(())
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_hash_does_what_a_map_does_whatever_the_clock_does(
        start_ms in prop::sample::select(vec![0, 1, 1_750_000_000_000, i64::MAX as u64, u64::MAX]),
        ops in prop::collection::vec(any_op(), 1..MAX_OPS),
    ) {
        let mut machine = Machine { now_ms: start_ms, ..Machine::default() };
        for op in &ops {
            machine.apply(op)?;
        }
        check_contents(&machine.hash, &machine.stored)?;
        if let Some((hash, stored)) = &machine.kept {
            check_contents(hash, stored)?;
        }
        machine.check_exactness()?;
        for moment in [Moment::primary(machine.now_ms), Moment::reader(machine.now_ms), Moment::STORED] {
            let alive = machine.stored.values().filter(|(_, deadline_ms)| !moment.hides(*deadline_ms));
            prop_assert_eq!(machine.hash.alive(moment).count(), alive.count());
        }
        while machine.walk.is_some() {
            machine.walk(50)?;
        }
        machine.now_ms = u64::MAX;
        // A step at a time comes to the same end.
        for _ in 0..2 * machine.hash.deadline_count() {
            machine.reclaim(1)?;
        }
        prop_assert_eq!(machine.due(), 0);
    }
}

#[derive(Clone, Debug)]
enum IndexOp {
    Insert(Time),
    InsertMany {
        count: u16,
        first: Time,
        apart: u64,
    },
    Set {
        at: prop::sample::Index,
        deadline: Time,
    },
    Remove(prop::sample::Index),
    Clock(Time),
    /// Removes what is due.
    Take {
        steps: usize,
    },
    /// Gives what is due a later deadline.
    Postpone {
        steps: usize,
        by: u64,
    },
}

fn any_index_op() -> impl Strategy<Value = IndexOp> {
    let at = any::<prop::sample::Index>;
    prop_oneof![
        8 => time().prop_map(IndexOp::Insert),
        1 => (1u16..300, time(), span()).prop_map(|(count, first, apart)| IndexOp::InsertMany { count, first, apart }),
        6 => (at(), time()).prop_map(|(at, deadline)| IndexOp::Set { at, deadline }),
        5 => at().prop_map(IndexOp::Remove),
        6 => clock().prop_map(IndexOp::Clock),
        6 => steps().prop_map(|steps| IndexOp::Take { steps }),
        2 => (steps(), 1u64..1000).prop_map(|(steps, by)| IndexOp::Postpone { steps, by }),
    ]
}

#[derive(Default)]
struct IndexMachine {
    index: DeadlineIndex<u32>,
    stored: BTreeMap<Slot, (u64, u32)>,
    now_ms: u64,
    inserted: u32,
}

impl IndexMachine {
    fn insert(&mut self, deadline_ms: u64) -> Checked {
        self.inserted += 1;
        let slot = self.index.insert(deadline_ms, self.inserted);
        prop_assert_eq!(self.stored.insert(slot, (deadline_ms, self.inserted)), None, "a place of its own");
        Ok(())
    }

    fn slot(&self, at: prop::sample::Index) -> Option<Slot> {
        (!self.stored.is_empty())
            .then(|| *self.stored.keys().nth(at.index(self.stored.len())).expect("within"))
    }

    /// Does something with each thing that is due, as far as the steps go.
    fn each_due(&mut self, steps: usize, mut act: impl FnMut(&mut Self, Slot)) -> Checked {
        let due = self.stored.values().filter(|(deadline_ms, _)| *deadline_ms < self.now_ms).count();
        let (mut left, mut found) = (steps, 0);
        while let Some((slot, &thing)) = self.index.first_due(self.now_ms, &mut left) {
            let stored = self.stored.get(&slot);
            prop_assert_eq!(stored.map(|(_, thing)| *thing), Some(thing));
            prop_assert!(stored.is_some_and(|(deadline_ms, _)| *deadline_ms < self.now_ms), "due");
            act(self, slot);
            found += 1;
        }
        prop_assert!(steps - left <= 2 * found + self.stored.len(), "each is sorted once");
        if left > 0 {
            prop_assert_eq!(found, due, "all that is due");
        }
        Ok(())
    }

    fn apply(&mut self, op: &IndexOp) -> Checked {
        match *op {
            IndexOp::Insert(deadline) => self.insert(deadline.from(self.now_ms))?,
            IndexOp::InsertMany { count, first, apart } => {
                for n in 0..u64::from(count) {
                    self.insert(first.from(self.now_ms).wrapping_add(apart.wrapping_mul(n)))?;
                }
            }
            IndexOp::Set { at, deadline } => {
                if let Some(slot) = self.slot(at) {
                    let deadline_ms = deadline.from(self.now_ms);
                    self.index.set(slot, deadline_ms);
                    self.stored.entry(slot).and_modify(|stored| stored.0 = deadline_ms);
                }
            }
            IndexOp::Remove(at) => {
                if let Some(slot) = self.slot(at) {
                    let stored = self.stored.remove(&slot).map(|(_, thing)| thing);
                    prop_assert_eq!(self.index.remove(slot), stored);
                    prop_assert_eq!(self.index.remove(slot), None);
                }
            }
            IndexOp::Clock(time) => self.now_ms = time.from(self.now_ms),
            IndexOp::Take { steps } => self.each_due(steps, |machine, slot| {
                machine.index.remove(slot);
                machine.stored.remove(&slot);
            })?,
            IndexOp::Postpone { steps, by } => self.each_due(steps, |machine, slot| {
                let later_ms = machine.now_ms.saturating_add(by);
                machine.index.set(slot, later_ms);
                machine.stored.entry(slot).and_modify(|stored| stored.0 = later_ms);
            })?,
        }
        prop_assert_eq!(self.index.len(), self.stored.len());
        let (bound_ms, earliest_ms) =
            (self.index.earliest_ms(), self.stored.values().map(|stored| stored.0).min());
        prop_assert_eq!(bound_ms.is_some(), earliest_ms.is_some());
        prop_assert!(bound_ms <= earliest_ms, "{:?} is no lower bound of {:?}", bound_ms, earliest_ms);
        Ok(())
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn an_index_finds_what_is_due_whatever_the_clock_does(
        start_ms in prop::sample::select(vec![0, 1, 1_750_000_000_000, i64::MAX as u64, u64::MAX]),
        ops in prop::collection::vec(any_index_op(), 1..MAX_OPS),
    ) {
        let mut machine = IndexMachine { now_ms: start_ms, ..IndexMachine::default() };
        for op in &ops {
            machine.apply(op)?;
        }
        let mut index = machine.index.clone();
        if let Some(earliest_ms) = machine.stored.values().map(|stored| stored.0).min().filter(|&ms| ms < u64::MAX) {
            let mut looks = 0;
            loop {
                let bound_ms = index.earliest_ms().expect("there are things");
                if index.first_due(bound_ms + 1, &mut usize::MAX.clone()).is_some() {
                    prop_assert_eq!(bound_ms, earliest_ms);
                    break;
                }
                looks += 1;
                prop_assert!(looks < LOOKS_MAX, "{:?} is still before {}", index.earliest_ms(), earliest_ms);
            }
        }
    }
}

#[test]
fn a_due_thing_that_is_set_goes_behind_the_others() {
    let mut index = DeadlineIndex::new();
    for number in 0..10u64 {
        index.insert(100 + number, number);
    }
    for _ in 0..3 {
        let mut met = BTreeSet::new();
        for _ in 0..10 {
            let (slot, &number) = index.first_due(500, &mut usize::MAX.clone()).expect("all are due");
            met.insert(number);
            index.set(slot, 100);
        }
        assert_eq!(met.len(), 10, "each in turn");
    }
}

/// A million fields whose deadlines have not come cost nothing to whoever looks for those that have.
#[test]
fn what_is_due_is_found_without_a_step_for_what_is_not() {
    const NOW_MS: u64 = 1_750_000_000_000;
    let mut hash = Hash::new();
    let insert = |hash: &mut Hash, number: u64, deadline_ms| {
        hash.insert(&number.to_be_bytes(), b"v", Some(deadline_ms))
    };
    // Looked at once, so that it knows the clock.
    insert(&mut hash, 0, NOW_MS - 1);
    for number in 1..HASH_COMPACT_MAX_FIELDS as u64 + 2 {
        insert(&mut hash, number, NOW_MS + 60_000);
    }
    hash.reclaim(NOW_MS, &mut usize::MAX.clone(), &mut Vec::new());
    for number in 1000..100_000 {
        insert(&mut hash, number, NOW_MS + 3_600_000 + number * 7919 % 3_600_000);
    }
    for number in 200_000..200_010 {
        insert(&mut hash, number, NOW_MS + 5);
    }
    let (mut steps, mut reclaimed) = (100, Vec::new());
    hash.reclaim(NOW_MS + 5, &mut steps, &mut reclaimed);
    assert_eq!((steps, reclaimed.len()), (100, 0), "a deadline has not passed while it is now");
    hash.reclaim(NOW_MS + 6, &mut steps, &mut reclaimed);
    assert_eq!((steps, reclaimed.len()), (90, 10), "a step for each of them, a millisecond later");
}

/// A jump of the clock over everything never costs more than the steps that are given.
#[test]
fn a_jump_of_the_clock_is_paid_for_step_by_step() {
    let mut hash = Hash::new();
    for number in 0..10_000u64 {
        hash.insert(&number.to_be_bytes(), b"v", Some(1_000_000 + number * 997));
    }
    let mut now_ms = 1_000_000;
    for jump_ms in [3_000_000, 9_000_000, u64::MAX / 2] {
        now_ms += jump_ms;
        let due = hash.iter().filter(|field| field.deadline_ms.is_some_and(|ms| ms < now_ms)).count();
        let (mut total, mut calls) = (0, 0);
        loop {
            let (mut steps, mut reclaimed) = (64, Vec::new());
            hash.reclaim(now_ms, &mut steps, &mut reclaimed);
            assert!(reclaimed.len() <= 64);
            (total, calls) = (total + reclaimed.len(), calls + 1);
            if steps > 0 {
                break;
            }
        }
        assert_eq!(total, due);
        assert!(calls <= 2 * 10_000 / 64 + 2);
    }
    assert!(hash.is_empty());
}
