//! The self-test: small programs whose outcomes are known, each run in every execution there is (those
//! of four threads: with two preemptions, and every read).
//!
//! The memory model has to show exactly what is listed: a missing outcome means that it would miss
//! failures, one too many that it would invent them. Nothing else is run before this has passed.

mod programs;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use replcore_checkers::weak::{Choice, Driver, Ended, explore};

use self::programs::ALL;
use super::strategy::{Bounds, Exhaustive};

/// A program and what it can come to.
#[derive(Clone, Copy)]
struct Litmus {
    name: &'static str,
    outcomes: &'static [&'static str],
    /// One execution; it returns what it came to.
    body: fn() -> String,
    /// Preemptions, for the programs with four threads.
    preemptions: usize,
}

/// What one program showed.
#[derive(Debug)]
pub struct Shown {
    /// The program.
    pub name: &'static str,
    /// Executions, all there are.
    pub executions: u64,
    /// What it has to come to.
    pub expected: BTreeSet<String>,
    /// What it came to.
    pub seen: BTreeSet<String>,
}

impl Shown {
    /// Whether that is exactly what it has to.
    #[must_use]
    pub fn is_right(&self) -> bool {
        self.expected == self.seen
    }
}

/// Runs every program in every execution.
#[must_use]
pub fn self_test() -> Vec<Shown> {
    ALL.iter().map(run).collect()
}

/// An outcome that is no value: the execution was ended by a reported race.
const RACE: &str = "race";

struct Every {
    search: Exhaustive,
    executions: u64,
    outcomes: Arc<Mutex<BTreeSet<String>>>,
}

impl Driver for Every {
    fn begin(&mut self) -> bool {
        self.executions == 0 || self.search.advance()
    }

    fn choose(&mut self, choice: Choice<'_>) -> usize {
        self.search.follow(&choice)
    }

    fn end(&mut self, ended: Ended<'_>) {
        self.executions += 1;
        if let Some(failure) = ended.failure {
            let outcome = if failure.message.contains("a data race") { RACE } else { &failure.message };
            add(&self.outcomes, outcome.to_owned());
        }
    }
}

fn add(outcomes: &Mutex<BTreeSet<String>>, outcome: String) {
    outcomes.lock().unwrap_or_else(PoisonError::into_inner).insert(outcome);
}

fn run(litmus: &Litmus) -> Shown {
    let outcomes = Arc::default();
    let search = Exhaustive::new(Bounds { preemptions: litmus.preemptions, ..Bounds::NONE }, 1);
    let every = Every { search, executions: 0, outcomes: Arc::clone(&outcomes) };
    let body = litmus.body;
    let into = Arc::clone(&outcomes);
    let every = explore(every, move || add(&into, body()));
    let seen = std::mem::take(&mut *outcomes.lock().unwrap_or_else(PoisonError::into_inner));
    let expected = litmus.outcomes.iter().map(ToString::to_string).collect();
    Shown { name: litmus.name, executions: every.executions, expected, seen }
}
