//! Choices guided by what was seen: an execution that showed a new pair of places is kept, and changed.
//!
//! Pairs are of two kinds: a store and a load that read it (reads-from), and two accesses of one location
//! by two threads, one right after the other. Where memory is weak, the first kind says more than any
//! count of covered lines: all lines are soon covered, and the failure is in who reads from whom.

use std::sync::Arc;

use rand::RngExt;
use replcore_checkers::weak::{Choice, Ended};

use super::{Random, Strategy};
use crate::schedules::program::Program;

/// Executions kept; beyond it a random one goes.
const KEPT: usize = 512;

/// An execution worth changing.
#[derive(Clone, Debug)]
struct Seed {
    program: Arc<Program>,
    choices: Arc<[u8]>,
}

/// Coverage-guided choices.
#[derive(Debug)]
pub struct Guided {
    random: Random,
    seeds: Vec<Seed>,
    /// The choices to make before going on at random.
    plan: Vec<u8>,
    at: usize,
}

impl Guided {
    /// From a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { random: Random::new(seed), seeds: Vec::new(), plan: Vec::new(), at: 0 }
    }

    /// A kept execution, changed: some choices made otherwise, or cut off, or its program run by another.
    fn change(&mut self) -> Option<Arc<Program>> {
        let count = self.seeds.len();
        let rng = self.random.rng();
        if count == 0 || rng.random_range(0..4) == 0 {
            return None;
        }
        let seed = self.seeds[rng.random_range(0..count)].clone();
        self.plan = seed.choices.to_vec();
        let length = self.plan.len().max(1);
        match rng.random_range(0..4) {
            0 => self.plan.truncate(rng.random_range(0..length)),
            1 => {
                // Another execution's choices from somewhere on.
                let other = &self.seeds[rng.random_range(0..count)].choices;
                self.plan.truncate(rng.random_range(0..length));
                self.plan.extend(other.iter().skip(rng.random_range(0..other.len().max(1))));
            }
            _ => {
                for _ in 0..rng.random_range(1..8) {
                    if let Some(choice) = self.plan.get_mut(rng.random_range(0..length)) {
                        *choice = if *choice == 0 { rng.random_range(1..4) } else { 0 };
                    }
                }
            }
        }
        Some(seed.program)
    }
}

impl Strategy for Guided {
    fn begin(&mut self, fresh: &mut dyn FnMut() -> Arc<Program>) -> Option<Arc<Program>> {
        self.random.refresh();
        self.plan.clear();
        self.at = 0;
        Some(self.change().unwrap_or_else(fresh))
    }

    fn choose(&mut self, choice: &Choice<'_>) -> usize {
        let planned = self.plan.get(self.at).copied();
        self.at += 1;
        match planned {
            Some(way) => usize::from(way),
            None => self.random.pick(choice),
        }
    }

    fn end(&mut self, program: &Arc<Program>, ended: &Ended<'_>) {
        if ended.cut_off || ended.fresh.is_empty() {
            return;
        }
        let seed = Seed { program: Arc::clone(program), choices: ended.choices.into() };
        if self.seeds.len() < KEPT {
            self.seeds.push(seed);
        } else {
            let at = self.random.rng().random_range(0..KEPT);
            self.seeds[at] = seed;
        }
    }
}
