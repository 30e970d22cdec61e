//! Synchronisation that is trusted and not modelled: where an era begins or ends, beside `arc-swap`.
//! A fuzzing build, which judges races, has types of the same names that hand on what happened.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Counts down; whoever is last is after all the others.
#[derive(Debug)]
pub(crate) struct Countdown(AtomicU64);

impl Countdown {
    pub(crate) fn new(n: u64) -> Self {
        Self(AtomicU64::new(n))
    }

    /// One less; true for the last.
    pub(crate) fn is_last(&self) -> bool {
        self.0.fetch_sub(1, Ordering::AcqRel) == 1
    }
}

/// Is raised once; whoever sees that is after it.
#[derive(Debug, Default)]
pub(crate) struct Signal(AtomicBool);

impl Signal {
    pub(crate) fn raise(&self) {
        self.0.store(true, Ordering::Release);
    }

    pub(crate) fn is_raised(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}
