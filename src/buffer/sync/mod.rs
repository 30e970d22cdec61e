//! The shim between the buffer and the memory it runs on: real atomics in a normal build, a checker's in a
//! build that explores (`--cfg replcore_loom`, `--cfg replcore_fuzz`). Those come from `replcore-checkers`
//! (`proofs/checkers`), on which the library depends in such a build alone.
//!
//! It rewrites no ordering: what is proven is what ships. What stands beside the buffer takes its lock and
//! its `arc-swap` from here too.
//!
//! `real` and `plain` are the shim of a normal build, `table` names every ordering and every fault.

#[cfg(not(replcore_fuzz))]
mod plain;
#[cfg(not(any(replcore_loom, replcore_fuzz)))]
mod real;
pub mod table;

// loom trusts what `plain` hands on; the engine of a fuzzing build judges it, and has its own.
#[cfg(not(replcore_fuzz))]
pub(crate) use plain::{Countdown, Signal};
#[cfg(not(any(replcore_loom, replcore_fuzz)))]
pub(crate) use real::*;
#[cfg(any(replcore_loom, replcore_fuzz))]
pub(crate) use replcore_checkers::sync::*;

/// Epoch reclamation: `crossbeam-epoch`, or what a checker has in its place.
#[cfg(not(any(replcore_loom, replcore_fuzz)))]
pub(crate) mod epoch {
    pub(crate) use super::real::{Participation, pin_known, pin_new};
    pub(crate) use crossbeam_epoch::{Collector, Guard};
}
