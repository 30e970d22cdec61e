//! Many executions: programs from a generator, choices from a strategy, until something is found.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand::rngs::SmallRng;
use replcore::buffer::model::weak::{self, Choice, Coverage, Driver, Ended, Failure, Step, explore};

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

/// Counts of a campaign.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// Executions.
    pub executions: u64,
    /// Executions that took too many steps.
    pub cut_off: u64,
    /// Accesses of atomics.
    pub steps: u64,
    /// Operations of programs.
    pub operations: u64,
    /// Pairs of places.
    pub covered: Coverage,
}

/// How a campaign ended.
#[derive(Debug)]
pub struct Outcome {
    /// Counts.
    pub counts: Counts,
    /// What was found first.
    pub finding: Option<Finding>,
    /// The strategy had nothing left to try.
    pub exhausted: bool,
}

/// What the campaign and the executions share: the program to run and its history.
#[derive(Debug, Default)]
struct Stage {
    program: Mutex<Option<Arc<Program>>>,
    history: Shared,
}

impl Stage {
    fn program(&self) -> Option<Arc<Program>> {
        self.program.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn take_history(&self) -> History {
        std::mem::take(&mut self.history.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Runs executions until a limit is reached or something is found. `watch` is told now and then how things stand.
pub fn campaign(
    strategy: Box<dyn Strategy>,
    size: Size,
    seed: u64,
    limits: Limits,
    watch: impl FnMut(&Counts) + 'static,
) -> Outcome {
    let stage = Arc::new(Stage::default());
    let driver = Campaign {
        strategy,
        size,
        programs: SmallRng::seed_from_u64(seed),
        limits,
        began: Instant::now(),
        stage: Arc::clone(&stage),
        counts: Counts::default(),
        finding: None,
        exhausted: false,
        watch: Box::new(watch),
    };
    let driver = explore(driver, move || {
        weak::step_limit(STEP_LIMIT);
        let Some(program) = stage.program() else { return };
        run(&program, &stage.history);
        let judged = judge(&program, &stage.history.lock().unwrap_or_else(PoisonError::into_inner));
        if let Err(broken) = judged {
            weak::fail(broken);
        }
    });
    Outcome { counts: driver.counts, finding: driver.finding, exhausted: driver.exhausted }
}

struct Campaign {
    strategy: Box<dyn Strategy>,
    size: Size,
    programs: SmallRng,
    limits: Limits,
    began: Instant,
    stage: Arc<Stage>,
    counts: Counts,
    finding: Option<Finding>,
    exhausted: bool,
    watch: Box<dyn FnMut(&Counts)>,
}

impl Campaign {
    fn is_over(&self) -> bool {
        let Limits { executions, duration } = self.limits;
        self.finding.is_some()
            || executions.is_some_and(|most| self.counts.executions >= most)
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
            self.exhausted = true;
            return false;
        };
        self.counts.operations += next.len() as u64;
        self.stage.program.lock().unwrap_or_else(PoisonError::into_inner).replace(next);
        self.stage.take_history();
        true
    }

    fn choose(&mut self, choice: Choice<'_>) -> usize {
        self.strategy.choose(&choice)
    }

    fn end(&mut self, ended: Ended<'_>) {
        let Some(program) = self.stage.program() else { return };
        self.counts.executions += 1;
        self.counts.cut_off += u64::from(ended.cut_off);
        self.counts.steps += ended.steps as u64;
        self.counts.covered = ended.covered;
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
        (self.watch)(&self.counts);
    }
}
