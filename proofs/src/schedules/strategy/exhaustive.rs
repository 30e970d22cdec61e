//! Every execution within bounds, depth first.

use std::sync::Arc;

use replcore_checkers::weak::Choice;

use super::Strategy;
use crate::schedules::program::Program;

/// How far to go from the sequential execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Times that a thread is left although it could go on.
    pub preemptions: usize,
    /// Loads that do not read the newest store, and compare-exchanges that fail although they need not.
    pub stale_reads: usize,
}

impl Bounds {
    /// Everything there is.
    pub const NONE: Self = Self { preemptions: usize::MAX, stale_reads: usize::MAX };
}

#[derive(Clone, Copy, Debug)]
struct Branch {
    chosen: usize,
    options: usize,
}

/// Depth-first search over all choices.
#[derive(Debug)]
pub struct Exhaustive {
    bounds: Bounds,
    path: Vec<Branch>,
    depth: usize,
    left: Bounds,
    program: Option<Arc<Program>>,
    /// Programs of which every execution within the bounds was run, and how many there are to be.
    exhausted: u64,
    programs: u64,
}

impl Exhaustive {
    /// A search within `bounds`, of so many programs.
    #[must_use]
    pub fn new(bounds: Bounds, programs: u64) -> Self {
        Self { bounds, path: Vec::new(), depth: 0, left: bounds, program: None, exhausted: 0, programs }
    }

    /// Begins an execution that was not run yet; false if there is none.
    pub fn advance(&mut self) -> bool {
        (self.depth, self.left) = (0, self.bounds);
        while let Some(last) = self.path.last_mut() {
            if last.chosen + 1 < last.options {
                last.chosen += 1;
                return true;
            }
            self.path.pop();
        }
        false
    }

    /// Makes the choice that comes next on the path, or the plain one where the path ends.
    pub fn follow(&mut self, choice: &Choice<'_>) -> usize {
        let budget = match choice {
            Choice::Thread { stays: false, .. } => None,
            Choice::Thread { .. } => Some(&mut self.left.preemptions),
            Choice::Read { .. } => Some(&mut self.left.stale_reads),
        };
        if self.depth == self.path.len() {
            let spent = budget.as_ref().is_some_and(|left| **left == 0);
            self.path.push(Branch { chosen: 0, options: if spent { 1 } else { choice.options() } });
        }
        let chosen = self.path[self.depth].chosen;
        self.depth += 1;
        if chosen > 0
            && let Some(left) = budget
        {
            *left -= 1;
        }
        chosen
    }
}

impl Strategy for Exhaustive {
    fn begin(&mut self, fresh: &mut dyn FnMut() -> Arc<Program>) -> Option<Arc<Program>> {
        if self.program.is_none() || !self.advance() {
            self.exhausted += u64::from(self.program.is_some());
            if self.exhausted == self.programs {
                return None;
            }
            self.program = Some(fresh());
            (self.depth, self.left) = (0, self.bounds);
        }
        self.program.clone()
    }

    fn choose(&mut self, choice: &Choice<'_>) -> usize {
        self.follow(choice)
    }

    fn exhausted(&self) -> u64 {
        self.exhausted
    }
}
