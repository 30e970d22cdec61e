//! Acknowledgements that many links report and many clients wait for.
//!
//! # Promise
//! A waiter is told as soon as enough replicas have its offset; it neither polls nor misses the report that
//! was the last it needed.
//!
//! # Algorithm
//! The table and the wakers of those who wait lie under one lock. A waiter counts and leaves its waker in one
//! hold of it, so every report comes either before, and is counted, or after, and finds the waker. Wakers are
//! called when the lock is free again. Whoever is woken counts anew: a change wakes all, for it is for them
//! to say what they wait for.
//!
//! No clock and no runtime: [`Reached`] is a future like any other, and a timeout is its owner's.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::PoisonError;
use std::task::{Context, Poll, Waker};

use super::{AckTable, ReplicaKey};
use crate::buffer::sync::Mutex;
use crate::buffer::sync::table::{Fault, fault};

/// An [`AckTable`] that threads share, and the clients that wait for it (`WAIT`).
///
/// ```
/// use replcore::resync::SharedAcks;
/// use std::{pin::pin, task::{Context, Poll, Waker}};
/// let acks = SharedAcks::default();
/// acks.insert(7, 0);
/// acks.set_online(7, 1_000);
/// let mut reached = pin!(acks.reached(120, 1));
/// let mut context = Context::from_waker(Waker::noop());
/// assert_eq!(reached.as_mut().poll(&mut context), Poll::Pending);
/// acks.acknowledge(7, 120, None, 500, 2_000);
/// assert_eq!(reached.poll(&mut context), Poll::Ready(1));
/// # use std::future::Future;
/// ```
#[derive(Debug)]
pub struct SharedAcks(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    table: AckTable,
    /// By the waiter's number.
    waiting: BTreeMap<u64, Waker>,
    next_waiter: u64,
}

impl Default for SharedAcks {
    fn default() -> Self {
        SharedAcks(Mutex::new(State::default()))
    }
}

impl SharedAcks {
    /// The lock is held for a few steps, of which none waits or runs a waker's code.
    fn with<R>(&self, act: impl FnOnce(&mut State) -> R) -> R {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes the table, and wakes those who wait if `act` says that they may have what they wait for.
    fn change(&self, act: impl FnOnce(&mut AckTable) -> bool) -> bool {
        let (changed, woken) = self.with(|state| {
            let changed = act(&mut state.table);
            (changed, if changed { std::mem::take(&mut state.waiting) } else { BTreeMap::new() })
        });
        woken.into_values().for_each(Waker::wake);
        changed
    }

    /// Adds a replica that is not online yet: [`AckTable::insert`].
    pub fn insert(&self, key: ReplicaKey, now_ms: u64) {
        self.with(|state| state.table.insert(key, now_ms));
    }

    /// Forgets a replica: [`AckTable::remove`]. Nobody is woken, for nobody waits for fewer.
    pub fn remove(&self, key: ReplicaKey) {
        self.with(|state| state.table.remove(key));
    }

    /// The replica receives the stream from now on: [`AckTable::set_online`]. It may have acknowledged what
    /// others wait for.
    pub fn set_online(&self, key: ReplicaKey, now_ms: u64) {
        self.change(|table| {
            table.set_online(key, now_ms);
            true
        });
    }

    /// Records a report: [`AckTable::acknowledge`]. Returns whether the acknowledged offset rose.
    pub fn acknowledge(
        &self,
        key: ReplicaKey,
        applied: u64,
        fsynced: Option<u64>,
        end_offset: u64,
        now_ms: u64,
    ) -> bool {
        self.change(|table| table.acknowledge(key, applied, fsynced, end_offset, now_ms))
    }

    /// Looks at the table. Nothing changes meanwhile, so it should not be long.
    pub fn look<R>(&self, look: impl FnOnce(&AckTable) -> R) -> R {
        self.with(|state| look(&state.table))
    }

    /// Online replicas that have applied at least `offset` bytes.
    pub fn count_acked(&self, offset: u64) -> usize {
        self.look(|table| table.count_acked(offset))
    }

    /// Clients that wait.
    pub fn waiting(&self) -> usize {
        self.with(|state| state.waiting.len())
    }

    /// Waits until `wanted` online replicas have applied `offset` bytes, and gives their number.
    pub fn reached(&self, offset: u64, wanted: usize) -> Reached<'_> {
        Reached { acks: self, offset, wanted, waiter: None }
    }
}

/// Waits for acknowledgements: [`SharedAcks::reached`]. Dropped, it waits no more.
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct Reached<'a> {
    acks: &'a SharedAcks,
    offset: u64,
    wanted: usize,
    /// Its number, once it has had to wait.
    waiter: Option<u64>,
}

impl Future for Reached<'_> {
    type Output = usize;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<usize> {
        let this = self.get_mut();
        // Made, and dropped if it is left over, outside the lock: a waker may be anything.
        let waker = context.waker().clone();
        if fault(Fault::CountThenSleep) && this.acks.count_acked(this.offset) < this.wanted {
            drop(this.acks.with(|state| state.leave(&mut this.waiter, waker)));
            return Poll::Pending;
        }
        let (outcome, left_over) = this.acks.with(|state| match state.table.count_acked(this.offset) {
            count if count >= this.wanted => (Poll::Ready(count), Some(waker)),
            _ => (Poll::Pending, state.leave(&mut this.waiter, waker)),
        });
        drop(left_over);
        outcome
    }
}

impl State {
    /// Leaves the waker of this waiter, which gets a number if it has none. Returns the one it had left.
    fn leave(&mut self, waiter: &mut Option<u64>, waker: Waker) -> Option<Waker> {
        let number = *waiter.get_or_insert_with(|| {
            self.next_waiter += 1;
            self.next_waiter
        });
        self.waiting.insert(number, waker)
    }
}

impl Drop for Reached<'_> {
    fn drop(&mut self) {
        if let Some(waiter) = self.waiter {
            // Dropped behind the lock: a waker may be anything.
            let waker = self.acks.with(|state| state.waiting.remove(&waiter));
            drop(waker);
        }
    }
}
