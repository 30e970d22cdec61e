//! The module by itself: no socket, no server, no clock.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rustix::time::{ClockId, clock_gettime};

use crate::Plan;
use crate::allocations;
use crate::hashes::{self, Fields, Mapped};
use crate::indexes::{self, Heap, Numbered, Order, Things, Tree, Wheel};
use crate::report::{Column, Report};
use crate::rounds::in_turn;

/// When everything begins.
const NOW_MS: u64 = 1_790_000_000_000;
const SECOND_MS: u64 = 1_000;
const HOUR_MS: u64 = 3_600 * SECOND_MS;
const DAY_MS: u64 = 24 * HOUR_MS;

/// So many things or fields at least make one round, in as many instances as it takes.
const ROUND_THINGS: usize = 100_000;
/// So many of them are there at the same time, so that one step over all of them is long enough for a clock.
const GROUP_THINGS: usize = 1_000;
/// At most so many of the things of one instance are moved or removed.
const MOST_CHANGES: usize = 100_000;
/// From so many on there are two rounds.
const MANY: usize = 1_000_000;
/// One thing in so many is due when it is reclaimed (all with the same deadline are due at once).
const DUE_SHARE: usize = 10;

/// How long this thread has had a core: what else the machine does does not count.
fn core_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// How deadlines lie.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Deadlines {
    /// Uniformly over a day.
    Spread,
    /// All within a second, an hour ahead.
    Clustered,
    /// All in the same millisecond, an hour ahead.
    Equal,
    /// Each later than the one before, and a move is to the end: sessions of half an hour.
    Sessions,
}

impl Deadlines {
    const ALL: [(&'static str, Deadlines); 4] = [
        ("spread over a day", Deadlines::Spread),
        ("within a second", Deadlines::Clustered),
        ("all equal", Deadlines::Equal),
        ("sessions, ascending", Deadlines::Sessions),
    ];

    /// The `number`th deadline that is given out.
    fn next(self, number: usize, rng: &mut StdRng) -> u64 {
        NOW_MS
            + match self {
                Deadlines::Spread => 1 + rng.random_range(0..DAY_MS),
                Deadlines::Clustered => HOUR_MS + rng.random_range(0..SECOND_MS),
                Deadlines::Equal => HOUR_MS,
                Deadlines::Sessions => HOUR_MS / 2 + number as u64 / 10,
            }
    }
}

/// What happens to `len` things, chosen before the clock runs.
struct Script {
    deadlines_ms: Vec<u64>,
    /// Moves: a thing and its new deadline.
    moves: Vec<(u32, u64)>,
    /// When one in `DUE_SHARE` of them is due.
    due_at_ms: u64,
    due: usize,
    /// Things that are not due then, in the order in which they are removed.
    rest: Vec<u32>,
}

impl Script {
    fn new(deadlines: Deadlines, len: usize) -> Script {
        let mut rng = StdRng::seed_from_u64(len as u64);
        let deadlines_ms: Vec<u64> = (0..len).map(|number| deadlines.next(number, &mut rng)).collect();
        let mut order: Vec<u32> = (0..len as u32).collect();
        order.shuffle(&mut rng);
        let mut last_ms = deadlines_ms.clone();
        let mut moves = Vec::new();
        // Half of them are moved, in any order.
        for (number, thing) in order.iter().take((len / 2).min(MOST_CHANGES)).enumerate() {
            let mut deadline_ms = deadlines.next(len + number, &mut rng);
            if matches!(deadlines, Deadlines::Equal | Deadlines::Clustered) {
                deadline_ms += SECOND_MS;
            }
            moves.push((*thing, deadline_ms));
            last_ms[*thing as usize] = deadline_ms;
        }
        let mut ascending = last_ms.clone();
        ascending.sort_unstable();
        let due_at_ms = ascending[len / DUE_SHARE] + 1;
        order.shuffle(&mut rng);
        order.retain(|thing| last_ms[*thing as usize] >= due_at_ms);
        let due = len - order.len();
        order.truncate(MOST_CHANGES);
        Script { deadlines_ms, moves, due_at_ms, due, rest: order }
    }
}

const STEPS: [Column; 4] = [
    Column::less("insert, ns"),
    Column::less("new deadline, ns"),
    Column::less("reclaim a due one, ns"),
    Column::less("remove, ns"),
];

/// Takes groups of instances through a script, step by step; nanoseconds of each step, per thing.
fn steps<T>(
    script: &Script,
    new: impl Fn() -> T,
    insert: impl Fn(&mut T),
    moves: impl Fn(&mut T),
    reclaim: impl Fn(&mut T) -> usize,
    remove: impl Fn(&mut T),
) -> [f64; 4] {
    let len = script.deadlines_ms.len();
    let group = (GROUP_THINGS / len).max(1);
    let groups = (ROUND_THINGS / (len * group)).max(1);
    let mut total_ns = [0.0; 4];
    for _ in 0..groups {
        let mut instances: Vec<T> = (0..group).map(|_| new()).collect();
        let mut timed = |step: usize, run: &mut dyn FnMut(&mut T)| {
            let begun = core_time();
            instances.iter_mut().for_each(run);
            total_ns[step] += (core_time() - begun).as_nanos() as f64;
        };
        timed(0, &mut |instance| insert(instance));
        timed(1, &mut |instance| moves(instance));
        let mut reclaimed = 0;
        timed(2, &mut |instance| reclaimed += reclaim(instance));
        assert_eq!(reclaimed, script.due * group, "what is due is reclaimed, and nothing else");
        timed(3, &mut |instance| remove(instance));
    }
    let of_each = [len, script.moves.len(), script.due, script.rest.len()];
    std::array::from_fn(|step| total_ns[step] / (of_each[step] * group * groups).max(1) as f64)
}

fn index_steps<I: Things>(script: &Script) -> [f64; 4] {
    steps(
        script,
        || (I::new(NOW_MS), Vec::new()),
        |(index, _)| script.deadlines_ms.iter().for_each(|deadline_ms| index.push(*deadline_ms)),
        |(index, _)| script.moves.iter().for_each(|(thing, deadline_ms)| index.set(*thing, *deadline_ms)),
        |(index, reclaimed)| {
            index.reclaim(script.due_at_ms, reclaimed);
            reclaimed.len()
        },
        |(index, _)| script.rest.iter().for_each(|thing| index.remove(*thing)),
    )
}

/// Names and values of the lengths that sessions and profiles have.
fn item(prefix: &str, number: usize) -> String {
    format!("{prefix}{number:08}")
}

pub fn name_of(number: usize) -> String {
    item("field", number)
}

pub fn value_of(number: usize) -> String {
    item("value", number)
}

fn hash_steps<F: Fields>(script: &Script, names: &[String], value: &[u8]) -> [f64; 4] {
    let name = |thing: &u32| names[*thing as usize].as_bytes();
    steps(
        script,
        || F::new(NOW_MS),
        |hash| {
            for (name, deadline_ms) in names.iter().zip(&script.deadlines_ms) {
                hash.insert(name.as_bytes(), value, Some(*deadline_ms));
            }
        },
        |hash| script.moves.iter().for_each(|(thing, ms)| hash.set_deadline(name(thing), Some(*ms))),
        |hash| {
            let before = hash.len();
            black_box(hash.reclaim(script.due_at_ms));
            before - hash.len()
        },
        |hash| script.rest.iter().for_each(|thing| hash.remove(name(thing))),
    )
}

fn rounds_of(plan: &Plan, len: usize) -> usize {
    if len < MANY { plan.rounds } else { plan.rounds.min(2) }
}

/// The bare index of deadlines.
pub fn index(plan: &Plan, report: &mut Report) {
    type Run = fn(&Script) -> [f64; 4];
    let peers: [(&str, Run); 4] = [
        (indexes::Product::NAME, index_steps::<indexes::Product>),
        (Tree::<u32>::NAME, index_steps::<Numbered<Tree<u32>>>),
        (Heap::<u32>::NAME, index_steps::<Numbered<Heap<u32>>>),
        (Wheel::<u32>::NAME, index_steps::<Numbered<Wheel<u32>>>),
    ];
    for len in plan.sizes() {
        for (lie, deadlines) in Deadlines::ALL {
            let script = Script::new(deadlines, len);
            let measured = in_turn(&peers, rounds_of(plan, len), |(_, run)| run(&script));
            let title = format!("index of {len}, deadlines {lie}, {} due", script.due);
            report.table(&title, &STEPS, &peers.map(|(name, _)| name), &measured);
        }
    }
}

type Name = Arc<[u8]>;

/// The whole hash.
pub fn hash(plan: &Plan, report: &mut Report) {
    type Run = fn(&Script, &[String], &[u8]) -> [f64; 4];
    let peers: [(&str, Run); 4] = [
        (hashes::Product::NAME, hash_steps::<hashes::Product>),
        (Tree::<Name>::NAME, hash_steps::<Mapped<Tree<Name>>>),
        (Heap::<Name>::NAME, hash_steps::<Mapped<Heap<Name>>>),
        (Wheel::<Name>::NAME, hash_steps::<Mapped<Wheel<Name>>>),
    ];
    for len in plan.sizes() {
        let names: Vec<String> = (0..len).map(name_of).collect();
        let value = value_of(0);
        for (lie, deadlines) in Deadlines::ALL {
            // A second that everything shares is to an index much like a millisecond that everything shares.
            if deadlines == Deadlines::Clustered {
                continue;
            }
            let script = Script::new(deadlines, len);
            let run = |(_, run): &(&str, Run)| run(&script, &names, value.as_bytes());
            let measured = in_turn(&peers, rounds_of(plan, len), run);
            let title = format!("hash of {len}, deadlines {lie}, {} due", script.due);
            report.table(&title, &STEPS, &peers.map(|(name, _)| name), &measured);
        }
    }
}

const READS: [Column; 4] = [
    Column::less("live, ns"),
    Column::less("dead, ns"),
    Column::less("none beside some, ns"),
    Column::less("none at all, ns"),
];

/// Reads of fields, each found by its name.
fn reads<F: Fields>(len: usize, gets: usize) -> [f64; 4] {
    const LATER_MS: u64 = NOW_MS + HOUR_MS;
    let mut rng = StdRng::seed_from_u64(len as u64);
    let names: Vec<String> = (0..len).map(name_of).collect();
    let value = value_of(0);
    let (mut mixed, mut plain) = (F::new(NOW_MS), F::new(NOW_MS));
    let mut groups: [Vec<&str>; 3] = Default::default();
    for (number, name) in names.iter().enumerate() {
        let group = number % groups.len();
        let deadline_ms = [Some(LATER_MS + DAY_MS), Some(LATER_MS - 1), None][group];
        mixed.insert(name.as_bytes(), value.as_bytes(), deadline_ms);
        plain.insert(name.as_bytes(), value.as_bytes(), None);
        groups[group].push(name);
    }
    let mut read = |hash: &F, names: &[&str]| {
        let asked: Vec<&str> = (0..gets).map(|_| names[rng.random_range(0..names.len())]).collect();
        let begun = core_time();
        for name in &asked {
            black_box(hash.get(black_box(name.as_bytes()), LATER_MS));
        }
        (core_time() - begun).as_nanos() as f64 / gets as f64
    };
    [read(&mixed, &groups[0]), read(&mixed, &groups[1]), read(&mixed, &groups[2]), read(&plain, &groups[2])]
}

/// What it costs a read to hide what is dead. All peers read from the same `HashMap`: one stands for them.
pub fn read(plan: &Plan, report: &mut Report) {
    type Run = fn(usize, usize) -> [f64; 4];
    let peers: [(&str, Run); 2] =
        [(hashes::Product::NAME, reads::<hashes::Product>), ("HashMap", reads::<Mapped<Tree<Name>>>)];
    for len in plan.sizes() {
        let gets = (ROUND_THINGS * 2).min(plan.most_things);
        let measured = in_turn(&peers, rounds_of(plan, len), |(_, run)| run(len, gets));
        let title = format!("read of a field by its name, hash of {len}");
        report.table(&title, &READS, &peers.map(|(name, _)| name), &measured);
    }
}

const LATENESS: [Column; 3] = [
    Column::less("latest, ms after it could go"),
    Column::less("longest reclaim, us"),
    Column::less("all reclaims, ms"),
];

/// Things over ten minutes, reclaimed each millisecond of them: how long one stays that could have gone, in
/// milliseconds of the pretended clock, and the time that reclaiming takes of the real one.
fn late<I: Things>(len: usize) -> [f64; 3] {
    const SPAN_MS: u64 = HOUR_MS / 6;
    let mut rng = StdRng::seed_from_u64(len as u64);
    let deadlines_ms: Vec<u64> = (0..len).map(|_| NOW_MS + rng.random_range(0..SPAN_MS)).collect();
    let sweep = |each: &mut dyn FnMut(&mut I, u64, &mut Vec<u32>)| {
        let mut index = I::new(NOW_MS);
        deadlines_ms.iter().for_each(|deadline_ms| index.push(*deadline_ms));
        let mut reclaimed = Vec::with_capacity(len);
        let begun = core_time();
        (NOW_MS + 1..=NOW_MS + SPAN_MS).for_each(|now_ms| each(&mut index, now_ms, &mut reclaimed));
        let elapsed = core_time() - begun;
        assert_eq!(reclaimed.len(), len, "everything was due");
        elapsed
    };
    let all = sweep(&mut |index, now_ms, reclaimed| index.reclaim(now_ms, reclaimed));
    // Looking at the clock takes longer than most reclaims: that is a pass of its own.
    let (mut longest, mut latest_ms) = (Duration::ZERO, 0);
    sweep(&mut |index, now_ms, reclaimed| {
        let (before, called) = (reclaimed.len(), core_time());
        index.reclaim(now_ms, reclaimed);
        longest = longest.max(core_time() - called);
        for thing in &reclaimed[before..] {
            latest_ms = latest_ms.max(now_ms - deadlines_ms[*thing as usize] - 1);
        }
    });
    [latest_ms as f64, longest.as_secs_f64() * 1e6, all.as_secs_f64() * 1e3]
}

/// How late a due thing goes.
pub fn lateness(plan: &Plan, report: &mut Report) {
    type Run = fn(usize) -> [f64; 3];
    let peers: [(&str, Run); 4] = [
        (indexes::Product::NAME, late::<indexes::Product>),
        (Tree::<u32>::NAME, late::<Numbered<Tree<u32>>>),
        (Heap::<u32>::NAME, late::<Numbered<Heap<u32>>>),
        (Wheel::<u32>::NAME, late::<Numbered<Wheel<u32>>>),
    ];
    for len in [1_000, 1_000_000].map(|len: usize| len.min(plan.most_things)) {
        let measured = in_turn(&peers, rounds_of(plan, len), |(_, run)| run(len));
        let title = format!("{len} things due in ten minutes, a reclaim each millisecond");
        report.table(&title, &LATENESS, &peers.map(|(name, _)| name), &measured);
    }
}

const MEMORY: [Column; 3] = [
    Column::less("no deadline, bytes"),
    Column::less("a deadline each, bytes"),
    Column::less("each moved once, bytes"),
];

/// Bytes that a field of 13 bytes and a value of 13 take, all told.
fn memory_of<F: Fields>(len: usize) -> [f64; 3] {
    let names: Vec<String> = (0..len).map(name_of).collect();
    let value = value_of(0);
    let instances = (GROUP_THINGS / len).max(1);
    let fill = |moves: usize, has_deadline: bool| {
        let mut rng = StdRng::seed_from_u64(len as u64);
        let mut deadline_ms = || has_deadline.then(|| NOW_MS + 1 + rng.random_range(0..DAY_MS));
        let mut hashes = Vec::with_capacity(instances);
        let kept_bytes = allocations::kept(|| {
            for _ in 0..instances {
                let mut hash = F::new(NOW_MS);
                for name in &names {
                    hash.insert(name.as_bytes(), value.as_bytes(), deadline_ms());
                }
                for name in names.iter().cycle().take(moves * len) {
                    hash.set_deadline(name.as_bytes(), deadline_ms());
                }
                hashes.push(hash);
            }
        });
        kept_bytes as f64 / (instances * len) as f64
    };
    let (plain, volatile, moved) = (fill(0, false), fill(0, true), fill(1, true));
    [plain, volatile, moved]
}

/// Memory of a field, all that a hash allocates divided by its fields.
pub fn memory(plan: &Plan, report: &mut Report) {
    type Run = fn(usize) -> [f64; 3];
    let peers: [(&str, Run); 4] = [
        (hashes::Product::NAME, memory_of::<hashes::Product>),
        (Tree::<Name>::NAME, memory_of::<Mapped<Tree<Name>>>),
        (Heap::<Name>::NAME, memory_of::<Mapped<Heap<Name>>>),
        (Wheel::<Name>::NAME, memory_of::<Mapped<Wheel<Name>>>),
    ];
    for len in plan.sizes() {
        let measured = in_turn(&peers, 1, |(_, run)| run(len));
        let title = format!("memory of a field, hash of {len}, as asked of the allocator");
        report.table(&title, &MEMORY, &peers.map(|(name, _)| name), &measured);
    }
}
