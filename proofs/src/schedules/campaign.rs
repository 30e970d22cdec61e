//! Many executions: programs from a generator, choices from a strategy, until something is found.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand::rngs::SmallRng;
use replcore_checkers::weak::{self, Choice, Driver, Ended, Failure, Pair, Step, explore};
use serde::Serialize;

use super::execute::{History, Shared, run};
use super::generate::{Size, program};
use super::judge::judge;
use super::program::Program;
use super::strategy::Strategy;

/// Steps after which an execution is given up: far more than any needs.
const STEP_LIMIT: usize = 1_000_000;

/// When to stop.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limits {
    /// Executions, at most.
    pub executions: Option<u64>,
    /// Time, at most.
    pub duration: Option<Duration>,
}

/// What broke, and all that it takes to see it again.
#[derive(Clone, Debug)]
pub struct Finding {
    /// What was run.
    pub program: Arc<Program>,
    /// The choices.
    pub choices: Vec<u8>,
    /// What broke.
    pub failure: Failure,
    /// The steps.
    pub trace: Vec<Step>,
    /// The calls that were done.
    pub history: History,
}

/// Counts of campaigns.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Counts {
    /// Executions.
    pub executions: u64,
    /// Executions that took too many steps.
    pub cut_off: u64,
    /// Accesses of atomics.
    pub steps: u64,
    /// Operations of programs.
    pub operations: u64,
    /// Pairs of a store and a load that read it.
    pub reads_from: usize,
    /// Pairs of accesses by two threads, one right after the other.
    pub interleavings: usize,
}

/// What campaigns that run at the same time share: what they have seen, and when to stop.
#[derive(Debug, Default)]
pub struct Board {
    counts: Mutex<Counts>,
    pairs: Mutex<HashSet<Pair>>,
    stop: AtomicBool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Board {
    /// How things stand.
    #[must_use]
    pub fn counts(&self) -> Counts {
        *lock(&self.counts)
    }

    /// Whether the campaigns are over.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Ends the campaigns.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    fn note(&self, ended: &Ended<'_>, operations: usize) {
        let mut fresh = (0, 0);
        if !ended.fresh.is_empty() {
            let mut pairs = lock(&self.pairs);
            for pair in ended.fresh {
                let new = usize::from(pairs.insert(*pair));
                match pair {
                    Pair::ReadsFrom { .. } => fresh.0 += new,
                    Pair::Interleaving { .. } => fresh.1 += new,
                }
            }
        }
        let mut counts = lock(&self.counts);
        counts.executions += 1;
        counts.cut_off += u64::from(ended.cut_off);
        counts.steps += ended.steps as u64;
        counts.operations += operations as u64;
        counts.reads_from += fresh.0;
        counts.interleavings += fresh.1;
    }
}

/// How a campaign ended.
#[derive(Debug)]
pub struct Outcome {
    /// What was found first.
    pub finding: Option<Finding>,
    /// The strategy had nothing left to try.
    pub complete: bool,
    /// Programs of which every execution within the strategy's bounds was run.
    pub exhausted: u64,
}

/// What the campaign and its executions share: the program to run and its history.
#[derive(Debug, Default)]
struct Stage {
    program: Mutex<Option<Arc<Program>>>,
    history: Shared,
}

impl Stage {
    fn program(&self) -> Option<Arc<Program>> {
        lock(&self.program).clone()
    }

    fn take_history(&self) -> History {
        std::mem::take(&mut lock(&self.history))
    }
}

/// Runs executions until a limit is reached, something is found, or the board says stop.
pub fn campaign(
    strategy: Box<dyn Strategy>,
    size: Size,
    seed: u64,
    limits: Limits,
    board: &Arc<Board>,
) -> Outcome {
    let stage = Arc::new(Stage::default());
    let driver = Campaign {
        strategy,
        size,
        programs: SmallRng::seed_from_u64(seed),
        limits,
        began: Instant::now(),
        executions: 0,
        stage: Arc::clone(&stage),
        board: Arc::clone(board),
        finding: None,
        complete: false,
    };
    let driver = explore(driver, move || {
        weak::step_limit(STEP_LIMIT);
        let Some(program) = stage.program() else { return };
        run(&program, &stage.history);
        let judged = judge(&program, &lock(&stage.history));
        if let Err(broken) = judged {
            weak::fail(broken);
        }
    });
    Outcome { finding: driver.finding, complete: driver.complete, exhausted: driver.strategy.exhausted() }
}

struct Campaign {
    strategy: Box<dyn Strategy>,
    size: Size,
    programs: SmallRng,
    limits: Limits,
    began: Instant,
    executions: u64,
    stage: Arc<Stage>,
    board: Arc<Board>,
    finding: Option<Finding>,
    complete: bool,
}

impl Campaign {
    fn is_over(&self) -> bool {
        let Limits { executions, duration } = self.limits;
        self.finding.is_some()
            || self.board.is_stopped()
            || executions.is_some_and(|most| self.executions >= most)
            || duration.is_some_and(|most| self.began.elapsed() >= most)
    }
}

impl Driver for Campaign {
    fn begin(&mut self) -> bool {
        if self.is_over() {
            return false;
        }
        let Self { strategy, programs, size, .. } = self;
        let Some(next) = strategy.begin(&mut || Arc::new(program(programs, *size))) else {
            self.complete = true;
            return false;
        };
        lock(&self.stage.program).replace(next);
        self.stage.take_history();
        true
    }

    fn choose(&mut self, choice: Choice<'_>) -> usize {
        self.strategy.choose(&choice)
    }

    fn again(&mut self) -> bool {
        self.stage.take_history();
        true
    }

    fn end(&mut self, ended: Ended<'_>) {
        let Some(program) = self.stage.program() else { return };
        self.executions += 1;
        self.board.note(&ended, program.len());
        self.strategy.end(&program, &ended);
        if let Some(failure) = ended.failure {
            self.finding = Some(Finding {
                program,
                choices: ended.choices.to_vec(),
                failure: failure.clone(),
                trace: ended.trace.to_vec(),
                history: self.stage.take_history(),
            });
        }
    }
}
