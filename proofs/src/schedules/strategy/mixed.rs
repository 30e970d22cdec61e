//! Several strategies by turns: each finds what another one takes long for.

use std::sync::Arc;

use replcore_checkers::weak::{Choice, Ended};

use super::{Guided, Pct, Random, Strategy};
use crate::schedules::program::Program;

/// Random, PCT and guided, one execution each.
#[derive(Debug)]
pub struct Mixed {
    random: Random,
    pct: Pct,
    guided: Guided,
    turn: usize,
}

impl Mixed {
    /// From a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { random: Random::new(seed), pct: Pct::new(seed), guided: Guided::new(seed), turn: 0 }
    }

    fn now(&mut self) -> &mut dyn Strategy {
        match self.turn % 3 {
            0 => &mut self.random,
            1 => &mut self.pct,
            _ => &mut self.guided,
        }
    }
}

impl Strategy for Mixed {
    fn begin(&mut self, fresh: &mut dyn FnMut() -> Arc<Program>) -> Option<Arc<Program>> {
        self.turn += 1;
        self.now().begin(fresh)
    }

    fn choose(&mut self, choice: &Choice<'_>) -> usize {
        self.now().choose(choice)
    }

    fn end(&mut self, program: &Arc<Program>, ended: &Ended<'_>) {
        // What another one has shown for the first time is worth changing too.
        self.guided.end(program, ended);
        if self.turn % 3 == 1 {
            self.pct.end(program, ended);
        }
    }
}
