//! Probabilistic concurrency testing: threads have priorities, which change at a few random steps.
//!
//! A failure that needs `d` such changes, and otherwise only the order of threads, is found in one
//! execution with a probability of at least `1 / (n * k^d)` for `n` threads and `k` steps (Burckhardt
//! and others, 2010), which no uniform choice promises.

use std::sync::Arc;

use rand::rngs::SmallRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use replcore_checkers::weak::{Choice, Ended, MAX_THREADS};

use super::{MAX_STALE_READS_IN_A_ROW, Strategy};
use crate::schedules::program::Program;

/// Changes of an execution, at most.
const MAX_CHANGES: usize = 6;
/// One read of so many may be stale.
const READS_A_STALE_ONE: u32 = 24;

/// PCT.
#[derive(Debug)]
pub struct Pct {
    rng: SmallRng,
    /// By thread; the greatest runs.
    priorities: [i32; MAX_THREADS],
    changes: Vec<usize>,
    /// Given to the thread that is put last, and then lowered.
    lowest: i32,
    step: usize,
    /// Steps of the longest execution so far.
    longest: usize,
    stale_in_a_row: u32,
}

impl Pct {
    /// From a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            rng: SmallRng::seed_from_u64(seed),
            priorities: [0; MAX_THREADS],
            changes: Vec::new(),
            lowest: 0,
            step: 0,
            longest: 200,
            stale_in_a_row: 0,
        }
    }

    fn put_last(&mut self, thread: usize) {
        self.lowest -= 1;
        self.priorities[thread] = self.lowest;
    }
}

impl Strategy for Pct {
    fn begin(&mut self, fresh: &mut dyn FnMut() -> Arc<Program>) -> Option<Arc<Program>> {
        self.priorities = std::array::from_fn(|thread| thread as i32);
        self.priorities.shuffle(&mut self.rng);
        let changes = self.rng.random_range(0..=MAX_CHANGES);
        self.changes = (0..changes).map(|_| self.rng.random_range(0..self.longest)).collect();
        (self.lowest, self.step, self.stale_in_a_row) = (0, 0, 0);
        Some(fresh())
    }

    fn choose(&mut self, choice: &Choice<'_>) -> usize {
        match choice {
            Choice::Thread { candidates, stays, yields } => {
                self.step += 1;
                if *stays && self.changes.contains(&self.step) {
                    self.put_last(candidates[0]);
                }
                if *yields && let Some(waits) = candidates.last() {
                    // Who waits in a loop would wait for ever for one of lower priority.
                    self.put_last(*waits);
                }
                (0..candidates.len()).max_by_key(|index| self.priorities[candidates[*index]]).unwrap_or(0)
            }
            Choice::Read { options } => {
                let stale = self.stale_in_a_row < MAX_STALE_READS_IN_A_ROW
                    && self.rng.random_range(0..READS_A_STALE_ONE) == 0;
                self.stale_in_a_row = if stale { self.stale_in_a_row + 1 } else { 0 };
                if stale { self.rng.random_range(1..*options) } else { 0 }
            }
        }
    }

    fn end(&mut self, _: &Arc<Program>, _: &Ended<'_>) {
        self.longest = self.longest.max(self.step);
    }
}
