//! Given choices, and plain ones after them.

use std::sync::Arc;

use replcore_checkers::weak::Choice;

use super::Strategy;
use crate::schedules::program::Program;

/// One execution, as it was.
#[derive(Debug)]
pub struct Replay {
    program: Option<Arc<Program>>,
    choices: std::vec::IntoIter<u8>,
}

impl Replay {
    /// `program` with these choices.
    #[must_use]
    pub fn new(program: Arc<Program>, choices: Vec<u8>) -> Self {
        Self { program: Some(program), choices: choices.into_iter() }
    }
}

impl Strategy for Replay {
    fn begin(&mut self, _: &mut dyn FnMut() -> Arc<Program>) -> Option<Arc<Program>> {
        self.program.take()
    }

    fn choose(&mut self, _: &Choice<'_>) -> usize {
        self.choices.next().map_or(0, usize::from)
    }
}
