//! Strategies: who makes the choices of an execution.
//!
//! A schedule is a sequence of bounded choices, and nothing else. At each of them the first way is the
//! plain one (stay on the thread, read the newest store), so a sequence of zeros is the sequential
//! execution, and a failure is explained by the choices that are not zero.

mod bytes;
mod exhaustive;
mod guided;
mod mixed;
mod pct;
mod random;
mod replay;

pub use bytes::{Bytes, RandomBytes, decode};
pub use exhaustive::{Bounds, Exhaustive};
pub use guided::Guided;
pub use mixed::Mixed;
pub use pct::Pct;
pub use random::Random;
pub use replay::Replay;

use std::sync::Arc;

use replcore_checkers::weak::{Choice, Ended};

use super::program::Program;

/// Stale reads in a row after which the newest store is read: a loop that waits for a store has to see
/// it some time, as on every machine.
pub const MAX_STALE_READS_IN_A_ROW: u32 = 8;

/// Makes the choices.
pub trait Strategy: 'static {
    /// An execution begins. `fresh` makes a new program; the strategy takes one, or one that it knows.
    /// `None`: it has nothing left to try.
    fn begin(&mut self, fresh: &mut dyn FnMut() -> Arc<Program>) -> Option<Arc<Program>>;

    /// Chooses a way.
    fn choose(&mut self, choice: &Choice<'_>) -> usize;

    /// The execution of `program` is over.
    fn end(&mut self, program: &Arc<Program>, ended: &Ended<'_>) {
        let _ = (program, ended);
    }

    /// Programs of which every execution within the strategy's bounds was run.
    fn exhausted(&self) -> u64 {
        0
    }
}
