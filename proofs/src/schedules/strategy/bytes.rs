//! Bytes as the schedule: what a byte-level fuzzer drives.

use std::sync::Arc;

use replcore::buffer::model::weak::Choice;

use super::{MAX_STALE_READS_IN_A_ROW, Strategy};
use crate::schedules::program::Program;

/// Each choice takes a byte; when there are no more, the plain way is taken, so that a shorter input is
/// a simpler execution.
#[derive(Debug)]
pub struct Bytes {
    program: Option<Arc<Program>>,
    bytes: std::vec::IntoIter<u8>,
    stale_in_a_row: u32,
}

impl Bytes {
    /// `program`, scheduled by `bytes`.
    #[must_use]
    pub fn new(program: Arc<Program>, bytes: Vec<u8>) -> Self {
        Self { program: Some(program), bytes: bytes.into_iter(), stale_in_a_row: 0 }
    }
}

impl Strategy for Bytes {
    fn begin(&mut self, _: &mut dyn FnMut() -> Arc<Program>) -> Option<Arc<Program>> {
        self.program.take()
    }

    fn choose(&mut self, choice: &Choice<'_>) -> usize {
        let Some(byte) = self.bytes.next() else { return 0 };
        // Small bytes and large ones are plain: half of all inputs stay where they are.
        let way = usize::from(byte & 0x7f) * usize::from(byte < 0x80) % choice.options();
        if matches!(choice, Choice::Read { .. }) {
            self.stale_in_a_row = if way == 0 { 0 } else { self.stale_in_a_row + 1 };
            if self.stale_in_a_row > MAX_STALE_READS_IN_A_ROW {
                self.stale_in_a_row = 0;
                return 0;
            }
        }
        way
    }
}
