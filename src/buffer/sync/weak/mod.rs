//! The shim of a fuzzing build (`--cfg replcore_fuzz`): atomics with weak memory, scheduled by a
//! sequence of choices.
//!
//! # Promise
//! The shipped code runs as it is, its orderings as its sites name them. What a load returns and
//! which thread goes on is chosen by a [`Driver`], so an execution is the list of those choices: it
//! can be drawn at random, enumerated, mutated, saved and run again. An execution breaks at the first
//! failed assertion, data race, use of freed memory, leak or deadlock, and keeps a trace of its steps.
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
//! `cell` (the types that the shipped code sees).
//!
//! All threads of an execution are coroutines on one thread of the system, so the state is a
//! thread-local, and several executions can run on several threads of the system.

mod atomic;
mod cell;
mod engine;
mod execution;
mod memory;
mod trace;
mod view;
mod waiting;

pub(crate) use self::atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, fence};
pub(crate) use self::cell::{Arc, Canary, Countdown, Signal, UnsafeCell, free};
pub(crate) use self::engine::spin;
pub(super) use self::trace::note_row;
pub(crate) use self::waiting::Mutex;

/// What the adversary of `epoch` needs of a backend: words that are there from the start, for they
/// reach other threads through a list that no model sees, and the name of the calling thread.
pub(super) mod adversary_needs {
    pub(in crate::buffer::sync) use super::atomic::AtomicUsize;

    /// Threads of an execution, at most.
    pub(in crate::buffer::sync) const PARTICIPANTS: usize = super::memory::MAX_THREADS;

    pub(in crate::buffer::sync) type ThreadId = usize;

    pub(in crate::buffer::sync) fn current_thread() -> ThreadId {
        super::execution::current_thread()
    }

    /// What the collector does, for the trace.
    pub(in crate::buffer::sync) mod trace {
        pub(in crate::buffer::sync) use super::super::trace::{Action, Names, step};
    }

    /// A word that no one is too early for.
    pub(in crate::buffer::sync) fn word() -> AtomicUsize {
        AtomicUsize::ageless(0)
    }
}

/// What a fuzzer can do: run executions, choose in them, and look at what they did.
pub mod control {
    pub use super::engine::{JoinHandle, explore, spawn};
    pub use super::execution::{Choice, Driver, Ended, Failure, fail, set_clock_ms, stamp, step_limit};
    pub use super::memory::MAX_THREADS;
    pub use super::trace::{Access, Action, Pair, Pointee, Site, Stamp, Step, Thing};

    /// The atomics of the model, for programs whose outcomes are known.
    pub mod atomic {
        pub use crate::buffer::sync::weak::atomic::{AtomicUsize, fence};
    }
    pub use super::cell::{Arc, UnsafeCell};
    pub use super::waiting::block_on;
}

/// The clock of the execution.
pub(crate) fn monotonic_ms() -> u64 {
    execution::clock_ms()
}

/// Whether a failed execution is being taken down: destructors leave everything alone then.
pub(crate) fn unwinding() -> bool {
    std::thread::panicking()
}
