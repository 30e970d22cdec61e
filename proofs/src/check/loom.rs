//! loom as the explorer.

pub use ::loom::future::block_on;
pub use replcore::buffer::model::{provide_eras, stall, trace};

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
