//! What the memory of `replcore` is when a checker explores it, and what the proofs can ask of the checkers.
//!
//! The library names its atomics, cells, locks and its collector in one place, the shim `buffer::sync`. In a
//! normal build they are the standard library's and `crossbeam-epoch`'s, and this crate is empty. With
//! `--cfg replcore_loom` they are loom's (`model`), with `--cfg replcore_fuzz` those of an engine that keeps
//! a history of stores (`weak`). Both add what a proof needs and no ordering:
//!
//! * under loom, every atomic carries a *shadow word* that is touched, Relaxed, before each access, so that
//!   loom's partial-order reduction sees each pair of accesses (tokio-rs/loom#166, #392); the engine has no
//!   reduction;
//! * `sync::epoch` is an adversary that frees at the first moment the contract of epochs allows; with `--cfg
//!   crossbeam_loom` beside `--cfg replcore_loom` it is the real collector on loom's atomics;
//! * freed memory goes to a quarantine and its `Canary` dies, so a late access is a reported race instead
//!   of undefined behaviour, and a forgotten one a reported leak.
//!
//! It knows nothing of the library: the name of the ordering that an access uses is given to it
//! (`name_next`).

#[cfg(all(any(replcore_loom, replcore_fuzz), not(crossbeam_loom)))]
mod adversary;
#[cfg(replcore_loom)]
pub mod count;
#[cfg(all(replcore_loom, crossbeam_loom))]
mod crossbeam;
#[cfg(replcore_loom)]
mod marks;
#[cfg(replcore_loom)]
pub mod model;
#[cfg(replcore_loom)]
pub mod stall;
#[cfg(any(replcore_loom, replcore_fuzz))]
mod swap;
#[cfg(replcore_loom)]
pub mod trace;
#[cfg(replcore_fuzz)]
pub mod weak;

#[cfg(replcore_loom)]
pub use self::trace::name_next;
#[cfg(replcore_fuzz)]
pub use self::weak::trace::name_next;

/// The types that the library's shim hands on, under the names and with the methods of a normal build.
#[cfg(any(replcore_loom, replcore_fuzz))]
pub mod sync {
    #[cfg(replcore_loom)]
    pub use crate::marks::Marks;
    #[cfg(replcore_loom)]
    pub use crate::model::{
        Arc, AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Canary, Mutex, UnsafeCell, fence, free,
        monotonic_ms, unwinding,
    };
    pub use crate::swap::ArcSwap;
    #[cfg(replcore_fuzz)]
    pub use crate::weak::atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, fence};
    #[cfg(replcore_fuzz)]
    pub use crate::weak::cell::{Arc, Canary, Countdown, Signal, UnsafeCell, free};
    #[cfg(replcore_fuzz)]
    pub use crate::weak::marks::Marks;
    #[cfg(replcore_fuzz)]
    pub use crate::weak::waiting::{Mutex, MutexGuard};
    #[cfg(replcore_fuzz)]
    pub use crate::weak::{monotonic_ms, unwinding};

    /// Epoch reclamation: the adversary, or the real collector on loom's atomics.
    pub mod epoch {
        #[cfg(not(crossbeam_loom))]
        pub use crate::adversary::{Collector, Guard, Participation, pin_known, pin_new};
        #[cfg(all(replcore_loom, crossbeam_loom))]
        pub use crate::crossbeam::{Collector, Guard, Participation, pin_known, pin_new};
    }
}
