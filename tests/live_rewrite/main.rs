//! `rewrite` against a real Valkey 9.1.2: hashes, streams, positions and HyperLogLogs, and scripts over all
//! of them.
//!
//! Valkey executes hundreds of commands, drawn at random and by hand. What each did is derived from its reply
//! and from what is stored before and after it, read in the same `EXEC` or script; `rewrite` is told, and
//! says what to propagate; and that is compared with what this Valkey propagated: equal, but for the listed
//! exceptions, where Valkey's own form is compared with what the exception says it is. At the end a real
//! replica that was fed with what `rewrite` said holds what the Valkey that executed holds, expired fields
//! and pending entries included.
//!
//! Every row of the tables in `rewrite` is counted, and a row that no command exercised fails the test.
#![cfg(feature = "server")]

mod flat;
mod hash;
mod lab;
mod stream;
#[path = "../support/mod.rs"]
mod support;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use lab::{Lab, Mode, Step};
use support::{note, seed};

/// Commands of one family in one run.
const COMMANDS: usize = 700;
/// Commands of one unit, at most.
const UNIT_MAX: usize = 4;

/// Runs what `scripted` and `random` give, alone and several in a unit, and compares what is left.
fn run(name: &str, mode: Mode, rows: &[&str], scripted: fn(&mut Lab), random: impl Fn(&mut StdRng) -> Step) {
    let seed = seed();
    note!("{name}, {mode:?}: REPLCORE_TEST_SEED={seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let mut lab = Lab::new(name, mode);
    scripted(&mut lab);
    let mut left = COMMANDS;
    while left > 0 {
        let len = if rng.random_ratio(1, 4) { rng.random_range(2..=UNIT_MAX) } else { 1 };
        let steps = (0..len).map(|_| random(&mut rng)).collect();
        lab.run(rng.random_ratio(1, 4), steps);
        left = left.saturating_sub(len);
    }
    lab.finish(rows);
}

#[test]
fn hashes_are_propagated_as_valkey_does_while_nothing_is_reclaimed() {
    run("hashes", Mode::Still, &hash::rows(Mode::Still), hash::scripted, hash::random);
}

#[test]
fn hashes_are_propagated_as_valkey_does_while_fields_are_reclaimed() {
    run("hashes", Mode::Reclaiming, &hash::rows(Mode::Reclaiming), hash::scripted, hash::random);
}

#[test]
fn streams_are_propagated_as_valkey_does() {
    run("streams", Mode::Reclaiming, stream::ROWS, stream::scripted, stream::random);
}

#[test]
fn positions_and_hyperloglogs_are_propagated_as_valkey_does() {
    run("positions", Mode::Reclaiming, flat::ROWS, flat::scripted, flat::random);
}

#[test]
fn a_script_is_one_unit_and_stops_at_its_error() {
    lab::scripts();
}
