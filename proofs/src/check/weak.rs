//! The weak-memory engine of the schedule fuzzer as the explorer: the second opinion on every model.
//!
//! It stops no thread for good, so of a model's two kinds of run it has the ordinary one alone.

pub use replcore_checkers::weak::block_on;

/// Threads of the explorer.
pub mod thread {
    use replcore_checkers::weak;

    /// A thread that was started.
    #[derive(Debug)]
    pub struct JoinHandle<T>(weak::JoinHandle<T>);

    /// Starts a thread.
    #[track_caller]
    pub fn spawn<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
        JoinHandle(weak::spawn(run))
    }

    impl<T> JoinHandle<T> {
        /// Waits for the thread.
        ///
        /// # Errors
        /// Never: a panic in it has ended the execution.
        #[track_caller]
        pub fn join(self) -> std::thread::Result<T> {
            Ok(self.0.join())
        }
    }
}

/// Atomics of the explorer, for programs that are about the explorer itself.
pub mod atomic {
    use std::sync::atomic::Ordering;

    use replcore_checkers::weak::atomics::AtomicUsize;

    pub use replcore_checkers::weak::atomics::fence;

    /// A word. The engine has no reduction to be shown what it would miss.
    #[derive(Debug)]
    pub struct Word(AtomicUsize);

    impl Word {
        /// A word that holds 0.
        #[track_caller]
        pub fn new() -> Self {
            Self(AtomicUsize::new(0))
        }

        /// Reads it.
        #[track_caller]
        pub fn load(&self, order: Ordering) -> usize {
            self.0.load(order)
        }

        /// Writes it.
        #[track_caller]
        pub fn store(&self, value: usize, order: Ordering) {
            self.0.store(value, order);
        }
    }

    impl Default for Word {
        fn default() -> Self {
            Self::new()
        }
    }
}

/// Makes what so many eras to come need: here, each makes its own when it begins.
pub fn provide_eras(_: usize) {}

/// Nobody is stopped.
pub mod stall {
    /// The member that is to stop: none.
    pub fn aimed() -> Option<usize> {
        None
    }

    /// Whether it stands: there is none.
    pub fn reached() -> bool {
        false
    }

    /// A place for it to stand.
    pub fn prepare() {}

    /// A member begins.
    pub fn enter(_: usize) {}

    /// A member has finished.
    pub fn leave(_: usize) {}

    /// Waits until it stands.
    pub fn settle() {}

    /// Lets it go.
    pub fn release() {}
}

/// The engine's trace numbers the threads in the order in which they start.
pub mod trace {
    /// A member's name.
    pub fn name_thread(_: &'static str) {}
}
