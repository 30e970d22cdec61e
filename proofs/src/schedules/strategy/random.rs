//! Choices at random.

use std::sync::Arc;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use replcore_checkers::weak::Choice;

use super::{MAX_STALE_READS_IN_A_ROW, Strategy};
use crate::schedules::program::Program;

/// Each execution has its own restlessness and its own staleness, so that both calm and wild ones occur.
#[derive(Debug)]
pub struct Random {
    rng: SmallRng,
    /// How often the thread is left, and how often an old store is read, each out of 64.
    leaves: u32,
    stale: u32,
    stale_in_a_row: u32,
}

impl Random {
    /// From a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut random = Self { rng: SmallRng::seed_from_u64(seed), leaves: 0, stale: 0, stale_in_a_row: 0 };
        random.refresh();
        random
    }

    /// Another temper.
    pub(super) fn refresh(&mut self) {
        self.leaves = [2, 8, 24, 48][self.rng.random_range(0..4)];
        self.stale = [0, 1, 8, 32][self.rng.random_range(0..4)];
        self.stale_in_a_row = 0;
    }

    pub(super) fn rng(&mut self) -> &mut SmallRng {
        &mut self.rng
    }

    pub(super) fn pick(&mut self, choice: &Choice<'_>) -> usize {
        match choice {
            Choice::Thread { candidates, stays: true, .. } => {
                if self.rng.random_range(0..64) >= self.leaves {
                    return 0;
                }
                self.rng.random_range(1..candidates.len())
            }
            Choice::Thread { candidates, .. } => self.rng.random_range(0..candidates.len()),
            Choice::Read { options } => {
                let stale = self.stale_in_a_row < MAX_STALE_READS_IN_A_ROW
                    && self.rng.random_range(0..64) < self.stale;
                self.stale_in_a_row = if stale { self.stale_in_a_row + 1 } else { 0 };
                if stale { self.rng.random_range(1..*options) } else { 0 }
            }
        }
    }
}

impl Strategy for Random {
    fn begin(&mut self, fresh: &mut dyn FnMut() -> Arc<Program>) -> Option<Arc<Program>> {
        self.refresh();
        Some(fresh())
    }

    fn choose(&mut self, choice: &Choice<'_>) -> usize {
        self.pick(choice)
    }
}
