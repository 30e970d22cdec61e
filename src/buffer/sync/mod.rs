//! The shim between the buffer and the memory it runs on: real atomics in a normal build, loom's
//! in a model build (`--cfg replcore_loom`).
//!
//! It rewrites no ordering: what is proven is what ships. It adds three things in a model build:
//!
//! * every atomic carries a *shadow word* that is touched, Relaxed, before each access, so that
//!   loom's partial-order reduction sees each pair of accesses (tokio-rs/loom#166, #392);
//! * [`epoch`] is an adversary that frees at the first moment the contract of epochs allows;
//! * freed memory goes to a quarantine and its [`Canary`] dies, so a late access is a reported
//!   race instead of undefined behaviour, and a forgotten one a reported leak.

#[cfg(replcore_loom)]
pub mod model;
#[cfg(not(replcore_loom))]
mod real;
#[cfg(replcore_loom)]
pub mod stall;
pub mod table;
#[cfg(replcore_loom)]
pub mod trace;

#[cfg(replcore_loom)]
pub(crate) use model::*;
#[cfg(not(replcore_loom))]
pub(crate) use real::*;

#[cfg(replcore_loom)]
mod adversary;
/// Epoch reclamation: `crossbeam-epoch`, or the adversary in a model build.
pub(crate) mod epoch {
    #[cfg(replcore_loom)]
    pub(crate) use super::adversary::{Collector, Guard, Participation, pin_known, pin_new};
    #[cfg(not(replcore_loom))]
    pub(crate) use super::real::{Participation, pin_known, pin_new};
    #[cfg(not(replcore_loom))]
    pub(crate) use crossbeam_epoch::{Collector, Guard};
}
