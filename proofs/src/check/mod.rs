//! What a model needs of its explorer, and nothing that says which one it is.
//!
//! A model's body spawns threads, waits for futures and, where it has shared state of its own,
//! locks and atomics. It takes them from here, so the same body runs under whichever explorer the
//! program was built for. The buffer takes its atomics from its own shim, in the same build.
//!
//! The threads of a model are a [`Crew`], so that each of them can be stopped (`crew`).

mod crew;

pub use self::crew::{Crew, Gives, PROBE, Pass, members, set_pass, stops};

/// Threads of the explorer.
pub mod thread {
    pub use loom::thread::{JoinHandle, spawn};
}

/// Locks of the explorer, for models that have shared state beside the buffer.
pub mod sync {
    pub use loom::sync::{Condvar, Mutex};
}

pub use loom::future::block_on;

/// Atomics of the explorer, for programs that are about the explorer itself.
pub mod atomic {
    use std::sync::atomic::Ordering;

    use loom::sync::atomic::AtomicUsize;

    pub use loom::sync::atomic::fence;

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
}
