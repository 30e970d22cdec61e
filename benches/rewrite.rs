//! What it costs to say what a command did, in one run with the way one would do it by hand.
//!
//! `cargo bench --bench rewrite` prints for every command nanoseconds (median of the rounds, least to
//! most), allocations and bytes allocated, each per command:
//!
//! * *rewrite*: from argv and outcome to a unit's effects;
//! * *encoded*: the same, and the frame into a sink that only counts;
//! * *published*: the same, and the frame into the replication buffer.
//!
//! The peer is what a server does without this module: it makes the argument list to propagate (a
//! `Vec` that it owns), encodes it into a fresh `BytesMut` of the right size, and appends that. It is spared
//! the decision and the formatting of numbers, for its list is a copy of a finished one, and it writes no
//! `SELECT`; so the ratios favour it. Above 1 the product is better, below 1 it is worse, and that is marked.
//!
//! `--quick` and `--test` run all of it once with very little to do; so does `cargo test --benches`.
#![allow(missing_docs)]

#[path = "../tests/support/allocations.rs"]
mod allocations;

use std::hint::black_box;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use replcore::buffer::{ReplicationBuffer, Writer};
use replcore::resp::{encode_command, encoded_len};
use replcore::rewrite::frame::{self, FrameSink};
use replcore::rewrite::generic::{self, ExpireOutcome};
use replcore::rewrite::hash::{self, DeadlineBefore, HSetExOutcome};
use replcore::rewrite::set::{self, SpopOutcome};
use replcore::rewrite::string::{self, SetOutcome};
use replcore::rewrite::{Argv, DeletionVerb, Effects, Propagation};

#[global_allocator]
static ALLOCATOR: allocations::Counting = allocations::Counting;

/// Rounds of each load; the median of so many is reported.
const ROUNDS: usize = 9;
/// Units of a round.
const UNITS: usize = 200_000;
const DEADLINE_MS: u64 = 1_790_000_000_000;
const VERB: DeletionVerb = DeletionVerb::Unlink;
/// `DEADLINE_MS`, as the peer's finished lists have it.
const PXAT: &str = "1790000000000";

/// One unit: what clients sent, what came of it, and what is sent on.
struct Load {
    name: &'static str,
    argv: Vec<Argv>,
    rewrite: for<'c> fn(&'c [Argv], &mut Effects<'c>),
    /// The commands that the peer propagates, the `MULTI` and `EXEC` around them included.
    finished: Vec<Argv>,
}

fn argv(command: &str) -> Argv {
    command.split(' ').map(|arg| Bytes::copy_from_slice(arg.as_bytes())).collect()
}

/// Adds what a command propagates. Outcomes are those of the commands.
fn push<'c>(effects: &mut Effects<'c>, argv: &'c [Bytes], rewritten: replcore::rewrite::Rewritten) {
    effects.push(0, argv, rewritten.expect("the outcome is one of the command"));
}

fn loads() -> Vec<Load> {
    let load = |name, sent: &[&str], rewrite, finished: &[&str]| Load {
        name,
        argv: sent.iter().map(|command| argv(command)).collect(),
        rewrite,
        finished: finished.iter().map(|command| argv(command)).collect(),
    };
    let pxat = |head: &str| format!("{head} {PXAT}");
    let kib = format!("SET user:1000 {}", "x".repeat(1024));
    let incrs: Vec<String> = (0..10).map(|n| format!("INCR counter:{n}")).collect();
    let incrs: Vec<&str> = incrs.iter().map(String::as_str).collect();
    let transaction = [&["MULTI"][..], &incrs, &["EXEC"]].concat();
    vec![
        load("verbatim: SET", &["SET user:1000 some-value"], set_plain, &["SET user:1000 some-value"]),
        load("verbatim: SET of 1 KiB", &[&kib], set_plain, &[&kib]),
        load(
            "verbatim: HSET of 3",
            &["HSET user:1000 name Ada born 1815 city London"],
            |sent, effects| push(effects, &sent[0], hash::hset(&sent[0])),
            &["HSET user:1000 name Ada born 1815 city London"],
        ),
        load(
            "SET EX",
            &["SET user:1000 some-value EX 100"],
            |sent, effects| {
                let stored = SetOutcome::Stored { deadline_ms: Some(DEADLINE_MS) };
                push(effects, &sent[0], string::set(&sent[0], stored, VERB));
            },
            &[&pxat("SET user:1000 some-value PXAT")],
        ),
        load(
            "INCRBYFLOAT",
            &["INCRBYFLOAT user:1000 0.1"],
            |sent, effects| {
                let result = Bytes::from_static(b"10.6");
                push(effects, &sent[0], string::incrbyfloat(&sent[0], &result));
            },
            &["SET user:1000 10.6 KEEPTTL"],
        ),
        load(
            "EXPIRE",
            &["EXPIRE user:1000 100"],
            |sent, effects| {
                push(
                    effects,
                    &sent[0],
                    generic::expire(&sent[0], ExpireOutcome::Deadline(DEADLINE_MS), VERB),
                );
            },
            &[&pxat("PEXPIREAT user:1000")],
        ),
        load(
            "HINCRBY, field with a deadline",
            &["HINCRBY user:1000 visits 1"],
            |sent, effects| {
                push(effects, &sent[0], hash::hincrby(&sent[0], 42, DeadlineBefore::Live(DEADLINE_MS)));
            },
            &[&format!("HSETEX user:1000 PXAT {PXAT} FIELDS 1 visits 42")],
        ),
        load(
            "HSETEX EX",
            &["HSETEX user:1000 FNX EX 100 FIELDS 2 name Ada born 1815"],
            |sent, effects| {
                let stored = HSetExOutcome::Stored { deadline_ms: Some(DEADLINE_MS) };
                push(effects, &sent[0], hash::hsetex(&sent[0], stored));
            },
            &[&format!("HSETEX user:1000 PXAT {PXAT} FIELDS 2 name Ada born 1815")],
        ),
        load(
            "SPOP of 3",
            &["SPOP online 3"],
            |sent, effects| {
                let members = ["user:1", "user:2", "user:3"].map(Bytes::from);
                push(effects, &sent[0], set::spop(&sent[0], SpopOutcome::Popped(members.to_vec()), VERB));
            },
            &["SREM online user:1 user:2 user:3"],
        ),
        load(
            "two: HSETEX KEEPTTL, a dead field",
            &["HSETEX user:1000 KEEPTTL FIELDS 1 name Ada"],
            |sent, effects| {
                let kept = HSetExOutcome::Kept { deadlines_ms: &[None], dead: &[5] };
                push(effects, &sent[0], hash::hsetex(&sent[0], kept));
            },
            &["MULTI", "HDEL user:1000 name", "HSET user:1000 name Ada", "EXEC"],
        ),
        load(
            "two: SET on an expired key",
            &["SET user:1000 some-value"],
            |sent, effects| {
                effects.push_command(0, VERB.command(&sent[0][1]));
                set_plain(sent, effects);
            },
            &["MULTI", "UNLINK user:1000", "SET user:1000 some-value", "EXEC"],
        ),
        load(
            "ten: EXEC of INCRs",
            &incrs,
            |sent, effects| sent.iter().for_each(|argv| effects.push(0, argv, Propagation::Verbatim)),
            &transaction,
        ),
    ]
}

fn set_plain<'c>(sent: &'c [Argv], effects: &mut Effects<'c>) {
    let stored = SetOutcome::Stored { deadline_ms: None };
    push(effects, &sent[0], string::set(&sent[0], stored, VERB));
}

/// Counts bytes, keeps none.
#[derive(Default)]
struct Counted(u64);

impl FrameSink for Counted {
    fn put_slice(&mut self, bytes: &[u8]) {
        self.0 += black_box(bytes).len() as u64;
    }
    fn put_bytes(&mut self, bytes: &Bytes) {
        self.0 += black_box(bytes).len() as u64;
    }
    fn select(&mut self, _: u16, select: &[u8]) {
        self.0 += black_box(select).len() as u64;
    }
    fn set_context(&mut self, db: u16) {
        black_box(db);
    }
}

/// How far a unit is taken.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Rewrite,
    Encoded,
    Published,
}

impl Stage {
    const ALL: [(&'static str, Stage); 3] =
        [("rewrite", Stage::Rewrite), ("encoded", Stage::Encoded), ("published", Stage::Published)];

    fn product(self, load: &Load, writer: &mut Writer) {
        let sent = black_box(&load.argv);
        let mut effects = Effects::new();
        (load.rewrite)(sent, &mut effects);
        match self {
            Stage::Rewrite => drop(black_box(effects)),
            Stage::Encoded => {
                let mut sink = Counted::default();
                frame::write(&effects, &mut sink);
                black_box(sink.0);
            }
            Stage::Published => {
                let mut staged = writer.frame();
                frame::write(&effects, &mut staged);
                staged.publish().expect("the stream takes it");
            }
        }
    }

    fn peer(self, load: &Load, writer: &mut Writer) {
        let finished = black_box(&load.finished);
        if self == Stage::Rewrite {
            finished.iter().for_each(|argv| drop(black_box(argv.clone())));
            return;
        }
        let encoded_bytes = finished.iter().map(|argv| encoded_len(argv)).sum();
        let mut encoded = BytesMut::with_capacity(encoded_bytes);
        for argv in finished {
            let argv = black_box(argv.clone());
            encode_command(&argv, &mut encoded);
        }
        if self == Stage::Encoded {
            black_box(encoded.len());
        } else {
            writer.append(&encoded).expect("the stream takes it");
        }
    }
}

/// What one round measured, per unit.
#[derive(Clone, Copy, Default)]
struct Measured {
    ns: f64,
    allocations: f64,
    bytes: f64,
}

fn round(units: usize, mut unit: impl FnMut()) -> Measured {
    // The first ones find the memory that all later ones reuse.
    (0..units / 20 + 1).for_each(|_| unit());
    let begun = Instant::now();
    let (allocations, bytes) = allocations::during(|| (0..units).for_each(|_| unit()));
    let per_unit = |total: f64| total / units as f64;
    Measured {
        ns: per_unit(begun.elapsed().as_nanos() as f64),
        allocations: per_unit(allocations as f64),
        bytes: per_unit(bytes as f64),
    }
}

/// Runs product and peer in turn; returns what each measured, the fastest round first.
fn in_turn(load: &Load, stage: Stage, rounds: usize, units: usize) -> [Vec<Measured>; 2] {
    let stream = ReplicationBuffer::builder().build().expect("the defaults are valid");
    let mut writer = stream.writer();
    let mut measured = [Vec::new(), Vec::new()];
    for number in 0..rounds {
        for turn in 0..2 {
            let which = (number + turn) % 2;
            measured[which].push(round(units, || match which {
                0 => stage.product(load, &mut writer),
                _ => stage.peer(load, &mut writer),
            }));
        }
    }
    for rounds in &mut measured {
        rounds.sort_by(|a, b| a.ns.total_cmp(&b.ns));
    }
    measured
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |wanted: &str| arguments.iter().any(|argument| argument == wanted);
    // Cargo passes `--bench` to a benchmark, and nothing to a test.
    let quick = has("--quick") || has("--test") || !has("--bench");
    let (rounds, units) = if quick { (1, UNITS / 100) } else { (ROUNDS, UNITS) };
    let begun = Instant::now();
    println!(
        "{rounds} rounds of {units} units; median (least to most) of the rounds, by hand in the second line"
    );
    for load in loads() {
        println!("\n{}", load.name);
        println!("  {:<12}{:>32}{:>14}{:>14}{:>10}", "", "ns", "allocations", "bytes", "ratio");
        let is_verbatim = load.name.starts_with("verbatim");
        for (name, stage) in Stage::ALL {
            let [product, peer] = in_turn(&load, stage, rounds, units);
            let line = |name: &str, rounds: &[Measured]| {
                let (median, least, most) =
                    (rounds[rounds.len() / 2], rounds[0].ns, rounds[rounds.len() - 1].ns);
                let spread = format!("{:.1} ({least:.1} to {most:.1})", median.ns);
                let text =
                    format!("  {name:<12}{spread:>32}{:>14.2}{:>14.1}", median.allocations, median.bytes);
                (median, text)
            };
            let (ours, text) = line(name, &product);
            let (theirs, by_hand) = line("", &peer);
            let ratio = theirs.ns / ours.ns;
            let verdict = if ratio < 1.0 { "  <- the product loses" } else { "" };
            println!("{text}{:>9}x{ratio:.2}{verdict}\n{by_hand}", "");
            if is_verbatim && stage != Stage::Published {
                assert_eq!(ours.allocations, 0.0, "what goes out verbatim allocates nothing");
            }
        }
    }
    println!("\n{:.0} s in all", begun.elapsed().as_secs_f64());
}
