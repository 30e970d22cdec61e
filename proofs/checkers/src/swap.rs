//! An `arc-swap` of a model build: what it holds is the real one's, and each of its steps is a step of the
//! explorer, so that it is met in every order. Its own orderings are trusted; a load gives the newest value.

use std::sync::Arc;
use std::sync::atomic::Ordering::{self, AcqRel, Acquire};

use crate::sync::AtomicUsize;

/// As `arc_swap::ArcSwap`.
#[derive(Debug)]
pub struct ArcSwap<T> {
    inner: arc_swap::ArcSwap<T>,
    /// Never changes its value. All of its accesses are exchanges, so whoever comes later is after those
    /// before.
    turn: AtomicUsize,
}

impl<T> ArcSwap<T> {
    /// Makes one that holds `value`.
    pub fn from_pointee(value: T) -> Self {
        Self { inner: arc_swap::ArcSwap::from_pointee(value), turn: AtomicUsize::new(0) }
    }

    #[track_caller]
    fn step(&self, order: Ordering) {
        self.turn.fetch_add(0, order);
    }

    /// What it holds.
    #[track_caller]
    pub fn load_full(&self) -> Arc<T> {
        self.step(Acquire);
        self.inner.load_full()
    }

    /// Puts another in its place.
    #[track_caller]
    pub fn store(&self, value: Arc<T>) {
        self.step(AcqRel);
        self.inner.store(value);
    }

    /// As the real one: a load, the caller's change, and an exchange, until nobody came in between.
    #[track_caller]
    pub fn rcu<R: Into<Arc<T>>>(&self, mut change: impl FnMut(&Arc<T>) -> R) -> Arc<T> {
        let mut current = self.load_full();
        loop {
            let changed = change(&current).into();
            self.step(AcqRel);
            let found = arc_swap::Guard::into_inner(self.inner.compare_and_swap(&current, changed));
            if Arc::ptr_eq(&found, &current) {
                return found;
            }
            current = found;
        }
    }
}
