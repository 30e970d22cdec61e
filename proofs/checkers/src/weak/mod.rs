//! The checker of a fuzzing build (`--cfg replcore_fuzz`): atomics with weak memory, scheduled by a
//! sequence of choices.
//!
//! # Promise
//! The shipped code runs as it is, its orderings as its sites name them. What a load returns and
//! which thread goes on is chosen by a [`Driver`], so an execution is the list of those choices: it
//! can be drawn at random, enumerated, mutated, saved and run again. An execution breaks at the first
//! failed assertion, data race, use of freed memory, leak or deadlock, and is run once more, to
//! record its steps.
//!
//! # Memory
//! An operational model of C++20's release/acquire, with views. Each *location* keeps its newest
//! stores as *messages*: time stamp, value, and what the store releases. A thread *knows*, for each
//! location, the least time stamp it may still read (its view), and what happened before (a vector
//! clock). It carries three such: what holds now, what an acquire fence would add, and what its last
//! release fence gives to later relaxed stores.
//!
//! * A **load** reads any message that is not older than the view; its knowledge is added at once
//!   (acquire) or kept for a fence.
//! * A **store** appends a message, with all the thread knows (release) or with what its last release
//!   fence knew.
//! * A **read-modify-write** reads the newest message and hands on what that one released (release
//!   sequences, continued by any thread's). A compare-exchange succeeds on the newest message alone; it
//!   may fail by reading any permitted message of another value.
//! * A **`SeqCst` fence** exchanges views with one global view. That orders what is read, and is no
//!   happens-before by itself.
//! * Starting and joining a thread, waking one and unlocking a lock hand on knowledge.
//! * Making an atomic is a write without ordering: whoever touches it has to be after it. So a pointer
//!   that is published without Release shows as a race. Overwriting an atomic makes a new location.
//! * [`UnsafeCell`] reports accesses that are not ordered (vector clocks).
//!
//! # Limits
//! The modification order of a location is the order of execution, and no load reads a store that comes
//! later in it: no load buffering, and of two stores without order the later one stays the newest. A
//! location keeps its [`KEPT_MESSAGES`](memory::KEPT_MESSAGES) newest stores. `SeqCst` accesses are
//! as `AcqRel` (the buffer has none). So every behaviour shown is one that C++20 allows, and not every
//! one that it allows is shown.
//!
//! # Layers
//! `view` (what a thread knows), `memory` (locations and messages, no threads of control), `execution`
//! (the state of one execution and its choices), `trace` (its
//! steps), `engine` (threads, by shuttle), `waiting` (locks and futures), `atomic` and
//! `cell` (the types that the shipped code sees), `marks` (races on raw bytes).
//!
//! All threads of an execution are coroutines on one thread of the system, so the state is a
//! thread-local, and several executions can run on several threads of the system.

pub(crate) mod atomic;
pub(crate) mod cell;
pub(crate) mod engine;
mod execution;
pub(crate) mod marks;
mod memory;
pub(crate) mod trace;
mod view;
pub(crate) mod waiting;

pub use self::cell::{Arc, UnsafeCell};
pub use self::engine::{JoinHandle, explore, spawn};
pub use self::execution::{Choice, Driver, Ended, Failure, fail, set_clock_ms, stamp, step_limit};
pub use self::memory::MAX_THREADS;
pub use self::trace::{Access, Action, Pair, Pointee, Site, Stamp, Step, Thing};
pub use self::waiting::block_on;

/// The atomics, for programs whose outcomes are known.
pub mod atomics {
    pub use super::atomic::{AtomicUsize, fence};
}

/// What the adversary of `epoch` needs of a backend: words that are there from the start, for they
/// reach other threads through a list that no model sees, and the name of the calling thread.
pub(crate) mod adversary_needs {
    pub(crate) use super::atomic::AtomicUsize;

    /// Threads of an execution, at most.
    pub(crate) const PARTICIPANTS: usize = super::memory::MAX_THREADS;

    pub(crate) type ThreadId = usize;

    pub(crate) fn current_thread() -> ThreadId {
        super::execution::current_thread()
    }

    /// What the collector does, for the trace.
    pub(crate) mod trace {
        pub(crate) use super::super::trace::{Action, Names, step};
    }

    /// A word that no one is too early for.
    pub(crate) fn word() -> AtomicUsize {
        AtomicUsize::ageless(0)
    }
}

/// The clock of the execution.
pub fn monotonic_ms() -> u64 {
    execution::clock_ms()
}

/// Whether a failed execution is being taken down: destructors leave everything alone then.
pub fn unwinding() -> bool {
    std::thread::panicking()
}
