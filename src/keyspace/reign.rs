//! Who decides what becomes of the data.
//!
//! # Promise
//! A unit runs under one [`Reign`] from its first look at the data to its last effect. Once a change has been
//! made, nothing that began under the reign before is still running, and nothing of it is published later.
//!
//! # Algorithm
//! The reign is written while every shard is locked and read while at least one is: the locks order the two,
//! and the number itself needs no ordering. Who asks to reclaim what has expired as a primary does
//! ([`ExpiryPolicy::Reclaim`]) gets what the reign allows; who applies a stream or a snapshot
//! ([`ExpiryPolicy::Ignore`]) judges nothing and may change the data under any reign.

use std::convert::Infallible;
use std::sync::atomic::{AtomicU8, Ordering};

use super::{ExpiryPolicy, Keyspace};

/// Who decides what becomes of the data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reign {
    /// Clients write, and what has expired is reclaimed: a primary.
    #[default]
    Own,
    /// As [`Own`](Self::Own), but what has expired is hidden and stays: a primary that is about to hand over.
    HandingOver,
    /// The data follows another server: clients only read, what has expired is hidden and stays.
    Followed,
}

/// The reign, for units to read.
#[derive(Debug, Default)]
pub(super) struct SharedReign(AtomicU8);

impl SharedReign {
    /// The reign of who holds the lock of a shard.
    pub fn under_lock(&self) -> Reign {
        // Relaxed: ordered by the locks of the shards.
        match self.0.load(Ordering::Relaxed) {
            0 => Reign::Own,
            1 => Reign::HandingOver,
            _ => Reign::Followed,
        }
    }
}

impl Reign {
    /// How a unit treats what has expired, if a primary's would do so by `policy`.
    pub(super) fn limit(self, policy: ExpiryPolicy) -> ExpiryPolicy {
        match (self, policy) {
            (Reign::HandingOver | Reign::Followed, ExpiryPolicy::Reclaim) => ExpiryPolicy::Hide,
            _ => policy,
        }
    }
}

impl Keyspace {
    /// Changes the reign while no unit is running, and runs `meanwhile` under the same locks: what it does
    /// lies between the last unit before and the first after. It must not use the keyspace.
    pub fn change_reign<T>(&self, reign: Reign, meanwhile: impl FnOnce() -> T) -> T {
        let Ok(result) = self.try_change_reign(reign, || Ok::<T, Infallible>(meanwhile()));
        result
    }

    /// [`change_reign`](Self::change_reign) that leaves the reign as it is if `meanwhile` fails.
    ///
    /// # Errors
    /// `meanwhile`'s.
    pub fn try_change_reign<T, E>(
        &self,
        reign: Reign,
        meanwhile: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        let locked: Vec<_> = (0..self.options.shards).map(|number| self.lock_shard(number)).collect();
        let result = meanwhile();
        if result.is_ok() {
            // Relaxed: ordered by the locks of the shards.
            self.reign.0.store(reign as u8, Ordering::Relaxed);
        }
        drop(locked);
        result
    }

    /// The reign as of now, which may change at any time.
    pub fn reign(&self) -> Reign {
        self.reign.under_lock()
    }
}
