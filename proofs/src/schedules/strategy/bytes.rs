//! Bytes as the schedule: what a byte-level fuzzer drives.

use std::sync::Arc;

use rand::rngs::SmallRng;
use rand::{Rng, RngExt, SeedableRng};
use replcore_checkers::weak::Choice;

use super::{MAX_STALE_READS_IN_A_ROW, Strategy};
use crate::schedules::generate::{ByteSource, Size, program};
use crate::schedules::program::Program;

/// Bytes of a random input, at most.
const MAX_INPUT_BYTES: usize = 2048;

/// A program, and the bytes that are left to schedule it.
#[must_use]
pub fn decode(bytes: &[u8], size: Size) -> (Program, Vec<u8>) {
    let mut source = ByteSource::new(bytes);
    let program = program(&mut source, size);
    (program, source.rest().to_vec())
}

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

/// Random inputs of a byte-level fuzzer, to see what it sees.
#[derive(Debug)]
pub struct RandomBytes {
    rng: SmallRng,
    size: Size,
    input: Option<Bytes>,
}

impl RandomBytes {
    /// From a seed.
    #[must_use]
    pub fn new(seed: u64, size: Size) -> Self {
        Self { rng: SmallRng::seed_from_u64(seed), size, input: None }
    }
}

impl Strategy for RandomBytes {
    fn begin(&mut self, fresh: &mut dyn FnMut() -> Arc<Program>) -> Option<Arc<Program>> {
        let mut bytes = vec![0; self.rng.random_range(1..MAX_INPUT_BYTES)];
        self.rng.fill_bytes(&mut bytes);
        let (program, rest) = decode(&bytes, self.size);
        let mut input = Bytes::new(Arc::new(program), rest);
        let program = input.begin(fresh);
        self.input = Some(input);
        program
    }

    fn choose(&mut self, choice: &Choice<'_>) -> usize {
        self.input.as_mut().map_or(0, |input| input.choose(choice))
    }
}
