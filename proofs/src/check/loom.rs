//! loom as the explorer.

use std::time::Duration;

use ::loom::model::Builder;

pub use ::loom::future::block_on;
pub use replcore_checkers::model::provide_eras;
pub use replcore_checkers::{stall, trace};

/// Steps an execution may have.
const MAX_BRANCHES: usize = 100_000;

/// An exploration within so many preemptions, if they are bounded, and this time.
pub fn exploration(preemptions: Option<usize>, limit: Duration) -> Builder {
    let mut loom = Builder::new();
    loom.preemption_bound = preemptions;
    loom.max_branches = MAX_BRANCHES;
    loom.max_duration = Some(limit);
    loom.max_permutations = None;
    loom.checkpoint_file = None;
    loom
}

/// Threads of the explorer.
pub mod thread {
    pub use ::loom::thread::{JoinHandle, spawn};
}

/// Atomics of the explorer, for programs that are about the explorer itself.
pub mod atomic {
    use std::sync::atomic::Ordering;

    use ::loom::sync::atomic::AtomicUsize;

    pub use ::loom::sync::atomic::fence;

    /// A word with a shadow word, as the buffer's shim makes them.
    #[derive(Debug)]
    pub struct Word {
        inner: AtomicUsize,
        shadow: AtomicUsize,
    }

    impl Word {
        /// A word that holds 0.
        pub fn new() -> Self {
            Self { inner: AtomicUsize::new(0), shadow: AtomicUsize::new(0) }
        }

        /// Reads it.
        pub fn load(&self, order: Ordering) -> usize {
            self.shadow.fetch_add(0, Ordering::Relaxed);
            self.inner.load(order)
        }

        /// Writes it.
        pub fn store(&self, value: usize, order: Ordering) {
            self.shadow.fetch_add(0, Ordering::Relaxed);
            self.inner.store(value, order);
        }
    }

    impl Default for Word {
        fn default() -> Self {
            Self::new()
        }
    }
}
