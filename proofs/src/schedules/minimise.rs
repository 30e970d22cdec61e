//! Makes a finding small: fewer threads and operations first, then fewer choices that are not plain.

use std::sync::Arc;
use std::time::{Duration, Instant};

use replcore_checkers::weak::{Choice, Ended};

use super::campaign::{Board, Finding, Limits, campaign};
use super::generate::Size;
use super::program::Program;
use super::strategy::{Pct, Random, Replay, Strategy};

/// Schedules tried for a smaller program, by each strategy.
const SCHEDULES: u64 = 300;

/// The smallest finding of the same kind that is found in `time`.
#[must_use]
pub fn minimise(finding: Finding, time: Duration) -> Finding {
    let mut minimiser = Minimiser { until: Instant::now() + time, best: finding };
    while minimiser.fewer_operations() {}
    minimiser.simpler_settings();
    while minimiser.fewer_choices() {}
    minimiser.best
}

/// What broke, without the numbers: the invariant, or the whole message if it names none.
fn kind(finding: &Finding) -> &str {
    let message = &finding.failure.message;
    message.split(':').next().filter(|_| message.starts_with('I')).unwrap_or(message)
}

struct Minimiser {
    until: Instant,
    best: Finding,
}

impl Minimiser {
    fn is_over(&self) -> bool {
        Instant::now() >= self.until
    }

    /// Runs the executions of `strategy`; true if one of them breaks in the same way.
    fn try_with(&mut self, strategy: Box<dyn Strategy>, executions: u64) -> bool {
        let limits = Limits { executions: Some(executions), duration: None };
        let size = Size { threads: 2, operations: 1 };
        let found = campaign(strategy, size, 0, limits, &Arc::new(Board::default())).finding;
        let same = found.filter(|found| kind(found) == kind(&self.best));
        let better = same.is_some();
        self.best = same.unwrap_or_else(|| self.best.clone());
        better
    }

    fn try_choices(&mut self, choices: Vec<u8>) -> bool {
        let program = Arc::clone(&self.best.program);
        self.try_with(Box::new(Replay::new(program, choices)), 1)
    }

    /// A smaller program under the same choices, and then under others.
    fn try_program(&mut self, program: Program) -> bool {
        let program = Arc::new(program);
        let same = Replay::new(Arc::clone(&program), self.best.choices.clone());
        let fixed = |strategy: Box<dyn Strategy>| Box::new(Fixed { program: Arc::clone(&program), strategy });
        let strategies = [fixed(Box::new(Random::new(1))), fixed(Box::new(Pct::new(1)))];
        self.try_with(Box::new(same), 1)
            || strategies.into_iter().any(|strategy| self.try_with(strategy, SCHEDULES))
    }

    /// Drops threads, then runs of operations, then single ones; true if something went.
    fn fewer_operations(&mut self) -> bool {
        let before = self.best.program.len();
        for thread in (0..self.best.program.threads.len()).rev() {
            let mut smaller = (*self.best.program).clone();
            if smaller.threads.len() > 1 && !self.is_over() {
                smaller.threads.remove(thread);
                self.try_program(smaller);
            }
        }
        for thread in (0..self.best.program.threads.len()).rev() {
            let mut width = self.best.program.threads[thread].len();
            while width > 0 {
                let mut end = self.best.program.threads[thread].len();
                while end > 0 && !self.is_over() {
                    let from = end.saturating_sub(width);
                    let mut smaller = (*self.best.program).clone();
                    smaller.threads[thread].drain(from..end);
                    self.try_program(smaller);
                    end = from;
                }
                width /= 2;
            }
        }
        self.best.program.len() < before
    }

    fn simpler_settings(&mut self) {
        let plainer: [fn(&mut Program); 5] = [
            |program| program.settings.eras = false,
            |program| program.settings.pooled = 0,
            |program| program.settings.base_offset = 0,
            |program| program.settings.segment_bytes = 1 << 20,
            |program| program.settings.segment_blocks = 4,
        ];
        for change in plainer {
            let mut program = (*self.best.program).clone();
            change(&mut program);
            if program != *self.best.program && !self.is_over() {
                self.try_program(program);
            }
        }
    }

    /// Makes choices plain, many at once, then one at a time; true if there are fewer others after.
    fn fewer_choices(&mut self) -> bool {
        let count = |choices: &[u8]| choices.iter().filter(|choice| **choice != 0).count();
        let before = count(&self.best.choices);
        let mut width = before;
        while width > 0 {
            let mut from = 0;
            while !self.is_over() {
                let other: Vec<_> =
                    (0..self.best.choices.len()).filter(|at| self.best.choices[*at] != 0).collect();
                if from >= other.len() {
                    break;
                }
                let mut choices = self.best.choices.clone();
                for at in &other[from..(from + width).min(other.len())] {
                    choices[*at] = 0;
                }
                let plainer = self.best.clone();
                let fewer = self.try_choices(choices) && count(&self.best.choices) < other.len();
                if !fewer {
                    self.best = plainer;
                    from += width;
                }
            }
            width /= 2;
        }
        let last = self.best.choices.iter().rposition(|choice| *choice != 0).map_or(0, |at| at + 1);
        self.best.choices.truncate(last);
        count(&self.best.choices) < before
    }
}

/// A strategy whose programs are all the same one.
struct Fixed {
    program: Arc<Program>,
    strategy: Box<dyn Strategy>,
}

impl Strategy for Fixed {
    fn begin(&mut self, _: &mut dyn FnMut() -> Arc<Program>) -> Option<Arc<Program>> {
        let program = &self.program;
        self.strategy.begin(&mut || Arc::clone(program))
    }

    fn choose(&mut self, choice: &Choice<'_>) -> usize {
        self.strategy.choose(choice)
    }

    fn end(&mut self, program: &Arc<Program>, ended: &Ended<'_>) {
        self.strategy.end(program, ended);
    }
}
