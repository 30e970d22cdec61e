//! The two laws of the replication stream, and the museum of forms that break them.
//!
//! * **Clock-free**: whatever a replica's clock shows, however it jumps, and however late a frame is read,
//!   applying the stream gives the same state.
//! * **Prefix-closed**: a snapshot taken between any two frames, and the rest of the stream, give the same
//!   state.
//!
//! State is everything that is stored, deadlines and expired leftovers included; replicas are compared with
//! the primary after every step of a random history of commands in several databases, transactions, active
//! expiry and snapshots, in which deadlines pass at every possible moment. The bytes are real: the unit's
//! frame goes through the replication buffer and is parsed again. `PROPTEST_CASES` sets the number of
//! histories.
//!
//! Two more laws stand on these: the shipped keyspace does to hashes whose fields expire what an independent
//! reference does (`laws/lockstep.rs`), and a replica that is promoted loses nothing and revives nothing
//! (`laws/promotion.rs`).
//!
//! # Museum
//!
//! [`KEYS`] and [`FIELDS`] put forms back in which servers have propagated, or would if nobody had thought of
//! it, one at a time; the laws have to notice each, those of fields on the shipped keyspace and on the
//! reference. [`PROMOTIONS`] are promotions gone wrong. Each row says what breaks;
//! `cargo test --test rewrite_laws museum -- --nocapture` shows the smallest history that was found.
//!
//! | form | where |
//! |---|---|
//! | relative times (`EX`, `PX`, `SETEX`, `EXPIRE`, `RESTORE`, `GETEX`, `HEXPIRE`, `HSETEX EX`) | what replicas got before Redis 7.0 made them absolute |
//! | `INCRBYFLOAT` verbatim | Redis before it sent the result: the sum depends on the machine's `long double` |
//! | `INCRBYFLOAT` as a `SET` without `KEEPTTL` | Redis before 6.0: the replica loses the deadline |
//! | `HSETEX KEEPTTL` judged by the replica's clock; the same over an expired leftover | Valkey 9.0.0, valkey-io/valkey#3036: cases A and B |
//! | `HINCRBYFLOAT` as a plain `HSET`; `HINCRBY` and `HSETNX` verbatim over an expired leftover | Valkey 9.0.0, fixed with valkey-io/valkey#3060 |
//! | `HEXPIRE`, `HPERSIST`, `HDEL`, `HGETDEL` with the client's list over expired leftovers | Valkey 9.1.2, valkey-io/valkey#4732 |
//! | `HSETEX` without its key, when the key is called like a condition | Valkey 9.1.2 |
//! | the others | what the rules of the stream are there for |
#![cfg(all(feature = "server", not(replcore_loom)))]
#![allow(missing_docs)]

mod laws;

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};
use replcore::rewrite::hash::Leftovers;

use laws::keyspace::Leader;
use laws::museum::Exhibit;
use laws::promotion::promotions;
use laws::stream::{Stream, check};
use laws::{History, Law, Step, commands, fields, histories, keyspace, lockstep, plain_histories, promotion};

/// Histories by default: a few seconds each in a debug build.
const DEFAULT_CASES: u32 = 400;
const MAX_STEPS: usize = 40;
/// Histories in which an exhibit has to be caught. They are the same in every run.
const EXHIBIT_CASES: u32 = 4000;
const EXHIBIT_MAX_STEPS: usize = 12;
/// Histories in which a command has to have had an effect.
const COMMAND_CASES: usize = 1500;

fn cases(default: u32) -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(default)
}

fn config(cases: u32) -> Config {
    Config { cases, failure_persistence: None, max_shrink_iters: 20_000, ..Config::default() }
}

fn on_keyspace(history: &History, exhibit: Option<Exhibit>) -> Law {
    let mut stream = Stream::new();
    stream.loses_select = exhibit == Some(Exhibit::SelectLost);
    check(Leader::new(exhibit), stream, history)
}

fn on_reference(history: &History, leftovers: Leftovers, exhibit: Option<Exhibit>) -> Law {
    check(fields::Server::primary(leftovers, exhibit), Stream::new(), history)
}

/// Runs a property and fails with the smallest history that breaks it.
fn hold<S: Strategy>(histories: S, law: impl Fn(&S::Value) -> Law) {
    let mut runner = TestRunner::new(config(cases(DEFAULT_CASES)));
    let property = |history: S::Value| law(&history).map_err(TestCaseError::fail);
    if let Err(TestError::Fail(reason, history)) = runner.run(&histories, property) {
        panic!("{reason}\n  after{history:?}");
    }
}

#[test]
fn the_stream_of_the_keyspace_is_clock_free_and_prefix_closed() {
    let few = commands::few_at_a_time().prop_flat_map(|commands| histories(commands, MAX_STEPS));
    let of_all = histories(commands::any(), MAX_STEPS);
    hold(prop_oneof![3 => few, 1 => of_all], |history| on_keyspace(history, None));
}

#[test]
fn the_stream_of_fields_is_clock_free_and_prefix_closed() {
    hold(histories(fields::any(), MAX_STEPS), |history| on_keyspace(history, None));
}

#[test]
fn the_keyspace_does_to_fields_what_the_reference_does() {
    hold(histories(fields::any_or_reading(), MAX_STEPS), lockstep::check);
}

#[test]
fn a_promotion_loses_nothing_and_revives_nothing() {
    let fields_only = promotions(fields::any(), MAX_STEPS / 2);
    let of_all = promotions(commands::any(), MAX_STEPS / 2);
    hold(prop_oneof![3 => fields_only, 1 => of_all], |promotion| promotion::check(promotion, None));
}

#[test]
fn the_stream_of_the_reference_is_clock_free_and_prefix_closed() {
    for leftovers in [Leftovers::Kept, Leftovers::Reclaimed] {
        hold(histories(fields::any(), MAX_STEPS), |history| on_reference(history, leftovers, None));
    }
}

fn deterministic() -> TestRng {
    TestRng::deterministic_rng(RngAlgorithm::ChaCha)
}

#[test]
fn every_command_that_writes_is_among_the_random_ones_and_has_had_an_effect() {
    let writing = replcore::keyspace::commands().filter(|spec| spec.is_write());
    let mut idle = Vec::new();
    for spec in writing {
        let Some(command) = commands::named(spec.name) else {
            panic!("{}: laws/commands.rs has no template", spec.name);
        };
        let mut runner = TestRunner::new_with_rng(config(1), deterministic());
        let before = plain_histories(commands::preparing(), MAX_STEPS);
        let sample = (before, plain_histories(command, 2));
        let effective = (0..COMMAND_CASES).any(|_| {
            let Ok(tree) = sample.new_tree(&mut runner) else { return false };
            let (mut history, own) = proptest::strategy::ValueTree::current(&tree);
            history.steps.extend(own.steps);
            matches!(history.steps.last().map(|last| &last.step), Some(Step::Unit(_)))
                && keyspace::propagated_by_last(&history) > 0
        });
        if !effective {
            idle.push(spec.name);
        }
    }
    assert!(idle.is_empty(), "no history made these propagate anything: {idle:?}");
}

/// What is put back, how it is called, and the commands among which it is to be caught.
struct Row(Exhibit, &'static str, &'static [&'static str]);

const KEYS: &[Row] = &[
    Row(Exhibit::SetRelative, "SET with EX and PX as sent", &["SET {s} {v} EX {ex}", "SET {s} {v} PX {px}"]),
    Row(Exhibit::SetexVerbatim, "SETEX and PSETEX as sent", &["SETEX {s} {ex} {v}", "PSETEX {s} {px} {v}"]),
    Row(Exhibit::GetexVerbatim, "GETEX as sent", &["SET {s} {v}", "GETEX {s} EX {ex}"]),
    Row(
        Exhibit::ExpireRelative,
        "EXPIRE and PEXPIRE as sent",
        &["SET {s} {v}", "EXPIRE {s} {ex}", "PEXPIRE {s} {px}"],
    ),
    Row(Exhibit::RestoreRelative, "RESTORE with a relative time", &["RESTORE {s} {px} {payload}"]),
    Row(
        Exhibit::SetPastVerbatim,
        "SET with a time already past as sent",
        &["SET {s} {v}", "SET {s} {v} EXAT {exat}"],
    ),
    Row(Exhibit::IncrbyfloatVerbatim, "INCRBYFLOAT as sent", &["INCRBYFLOAT {s} {float}"]),
    Row(
        Exhibit::IncrbyfloatWithoutKeepttl,
        "INCRBYFLOAT as a SET that drops the deadline",
        &["SET {s} 10 EX {ex}", "INCRBYFLOAT {s} {float}"],
    ),
    Row(Exhibit::SpopVerbatim, "SPOP as sent", &["SADD {t} {m} {m} {m}", "SPOP {t}", "SPOP {t} {count}"]),
    Row(
        Exhibit::LazyExpirySilent,
        "no deletion of a key that was found expired",
        &["SET {s} {v} {time}", "GET {s}"],
    ),
    Row(Exhibit::ActiveExpirySilent, "no deletion of a key that was reclaimed", &["SET {s} {v} {time}"]),
    Row(Exhibit::SelectLost, "no SELECT", &["SET {s} {v}"]),
];

/// Two fields with a deadline, which may be past by the next command, or none.
const STORED: [&str; 2] = ["HSETEX h1 {time} FIELDS 2 {f} 7 {f} 7", "HSET h1 {f} 7"];

const FIELDS: &[Row] = &[
    Row(
        Exhibit::KeepttlVerbatim,
        "HSETEX KEEPTTL judged by the replica's clock (case A)",
        &[STORED[0], "HSETEX h1 KEEPTTL FIELDS 1 {f} {v}"],
    ),
    Row(
        Exhibit::KeepttlOverLeftover,
        "HSETEX KEEPTTL over an expired leftover (case B)",
        &[STORED[0], "HSETEX h1 KEEPTTL FIELDS 1 {f} {v}"],
    ),
    Row(
        Exhibit::HexpireFullList,
        "HEXPIRE of the client's list",
        &[STORED[0], STORED[1], "HEXPIRE h1 {ex} FIELDS 2 {f} {f}"],
    ),
    Row(Exhibit::HexpireRelative, "HEXPIRE as sent", &[STORED[1], "HEXPIRE h1 {ex} FIELDS 1 {f}"]),
    Row(
        Exhibit::HpersistFullList,
        "HPERSIST of the client's list",
        &[STORED[0], "HPERSIST h1 FIELDS 2 {f} {f}"],
    ),
    Row(Exhibit::HdelFullList, "HDEL of the client's list", &[STORED[0], STORED[1], "HDEL h1 {f} {f}"]),
    Row(
        Exhibit::HgetdelFullList,
        "HGETDEL of the client's list",
        &[STORED[0], STORED[1], "HGETDEL h1 FIELDS 2 {f} {f}"],
    ),
    Row(
        Exhibit::HincrbyVerbatim,
        "HINCRBY as sent, over an expired leftover",
        &[STORED[0], "HINCRBY h1 {f} {n}"],
    ),
    Row(
        Exhibit::HincrbyfloatPlainHset,
        "HINCRBYFLOAT as a plain HSET, which drops the deadline",
        &[STORED[0], "HINCRBYFLOAT h1 {f} {float}"],
    ),
    Row(
        Exhibit::HsetnxVerbatim,
        "HSETNX as sent, over an expired leftover",
        &[STORED[0], "HSETNX h1 {f} {v}"],
    ),
    Row(Exhibit::HsetexRelative, "HSETEX with EX as sent", &["HSETEX h1 EX {ex} FIELDS 1 {f} {v}"]),
    Row(
        Exhibit::HsetexPastVerbatim,
        "HSETEX with a time already past as sent",
        &[STORED[1], "HSETEX h1 PXAT {pxat} FIELDS 1 {f} {v}"],
    ),
    Row(
        Exhibit::ConditionDroppedByName,
        "HSETEX without its key, which is called fnx",
        &["HSETEX {hk} FNX EX {ex} FIELDS 1 {f} {v}"],
    ),
    Row(Exhibit::FieldReclaimSilent, "no deletion of fields that were reclaimed", &STORED),
];

/// Has the laws look for a history that breaks them; with the form put back there has to be one, without it
/// none.
fn visit(row: &Row, law: impl Fn(&History, Option<Exhibit>) -> Law) {
    let Row(exhibit, name, forms) = row;
    let histories = || {
        let plain = plain_histories(commands::any_of(forms), EXHIBIT_MAX_STEPS);
        let mixed = histories(commands::any_of(forms), EXHIBIT_MAX_STEPS);
        if *exhibit == Exhibit::SelectLost { mixed.boxed() } else { plain.boxed() }
    };
    let caught = |exhibit: Option<Exhibit>, cases: u32| {
        let mut runner = TestRunner::new_with_rng(config(cases), deterministic());
        runner.run(&histories(), |history| law(&history, exhibit).map_err(TestCaseError::fail))
    };
    match caught(Some(*exhibit), EXHIBIT_CASES) {
        Err(TestError::Fail(reason, history)) => println!("{name}: caught\n  after{history:?}\n  {reason}\n"),
        other => panic!("{name}: not caught ({other:?})"),
    }
    if let Err(error) = caught(None, 100) {
        panic!("{name} is not there, and yet: {error}");
    }
}

#[test]
fn museum_of_keys() {
    for row in KEYS {
        visit(row, on_keyspace);
    }
}

#[test]
fn museum_of_hash_fields() {
    for row in FIELDS {
        visit(row, on_keyspace);
        visit(row, |history, exhibit| on_reference(history, Leftovers::Kept, exhibit));
    }
}

/// Ways to promote a replica that are wrong.
const PROMOTIONS: &[(Exhibit, &str)] = &[
    (Exhibit::PromotedNeverReclaims, "active expiry that does not know of the promotion"),
    (Exhibit::PromotedDropsSilently, "dead fields dropped at the promotion, and nothing sent"),
    (Exhibit::PromotedRevives, "dead fields that lose their deadlines at the promotion"),
    (Exhibit::PromotedStillIgnores, "commands that go on taking dead fields for live ones"),
];

#[test]
fn museum_of_promotions() {
    let promotions = promotions(commands::any_of(&STORED), EXHIBIT_MAX_STEPS / 2);
    for (exhibit, name) in PROMOTIONS {
        let mut runner = TestRunner::new_with_rng(config(EXHIBIT_CASES), deterministic());
        let wrong = |promotion| promotion::check(&promotion, Some(*exhibit)).map_err(TestCaseError::fail);
        match runner.run(&promotions, wrong) {
            Err(TestError::Fail(reason, promotion)) => {
                println!("{name}: caught\n  after{promotion:?}\n  {reason}\n");
            }
            other => panic!("{name}: not caught ({other:?})"),
        }
    }
}
