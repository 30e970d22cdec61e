//! The shim between the buffer and the memory it runs on: real atomics in a normal build, loom's
//! in a model build (`--cfg replcore_loom`), and in a fuzzing build (`--cfg replcore_fuzz`) the ones
//! of `weak`, which keep a history of stores.
//!
//! It rewrites no ordering: what is proven is what ships. It adds three things in a model build (of which
//! a fuzzing build, that has no reduction, needs the last two):
//!
//! * every atomic carries a *shadow word* that is touched, Relaxed, before each access, so that
//!   loom's partial-order reduction sees each pair of accesses (tokio-rs/loom#166, #392);
//! * [`epoch`] is an adversary that frees at the first moment the contract of epochs allows;
//! * freed memory goes to a quarantine and its [`Canary`] dies, so a late access is a reported
//!   race instead of undefined behaviour, and a forgotten one a reported leak.
//!
//! What stands beside the buffer takes its lock and its `arc-swap` from here too (`swap`). With `--cfg crossbeam_loom`
//! beside `--cfg replcore_loom`, [`epoch`] is the real collector on loom's atomics (`crossbeam`).

#[cfg(replcore_loom)]
pub mod model;
#[cfg(not(replcore_fuzz))]
mod plain;
#[cfg(not(any(replcore_loom, replcore_fuzz)))]
mod real;
#[cfg(replcore_loom)]
pub mod stall;
#[cfg(any(replcore_loom, replcore_fuzz))]
mod swap;
pub mod table;
#[cfg(replcore_loom)]
pub mod trace;
#[cfg(replcore_fuzz)]
pub mod weak;

#[cfg(replcore_loom)]
pub(crate) use model::*;
#[cfg(not(replcore_fuzz))]
pub(crate) use plain::{Countdown, Signal};
#[cfg(not(any(replcore_loom, replcore_fuzz)))]
pub(crate) use real::*;
#[cfg(any(replcore_loom, replcore_fuzz))]
pub(crate) use swap::ArcSwap;
#[cfg(replcore_fuzz)]
pub(crate) use weak::*;

#[cfg(all(any(replcore_loom, replcore_fuzz), not(crossbeam_loom)))]
mod adversary;
#[cfg(all(replcore_loom, crossbeam_loom))]
mod crossbeam;
/// Epoch reclamation: `crossbeam-epoch`, or the adversary in a model build that does not ask for the real one.
pub(crate) mod epoch {
    #[cfg(all(any(replcore_loom, replcore_fuzz), not(crossbeam_loom)))]
    pub(crate) use super::adversary::{Collector, Guard, Participation, pin_known, pin_new};
    #[cfg(all(replcore_loom, crossbeam_loom))]
    pub(crate) use super::crossbeam::{Participation, pin_known, pin_new};
    #[cfg(not(any(replcore_loom, replcore_fuzz)))]
    pub(crate) use super::real::{Participation, pin_known, pin_new};
    #[cfg(any(crossbeam_loom, not(any(replcore_loom, replcore_fuzz))))]
    pub(crate) use crossbeam_epoch::{Collector, Guard};
}
