//! A pool of spare memory: a fixed number of places, each empty or holding one object.
//!
//! Putting and taking are one exchange on one place, so nobody waits for anybody, no shared object
//! is dereferenced and no place can be confused with an earlier one (no ABA).

use std::ptr;

use super::sync::table::ord;
use super::sync::{AtomicPtr, free, unwinding};

/// Spare objects, each made by `Box`.
#[derive(Debug)]
pub(crate) struct Pool<T: 'static> {
    places: Box<[AtomicPtr<T>]>,
}

// SAFETY: a place hands an object from one thread to another, whole.
unsafe impl<T: Send> Send for Pool<T> {}
// SAFETY: as above; places are only exchanged.
unsafe impl<T: Send> Sync for Pool<T> {}

impl<T: 'static> Pool<T> {
    pub(crate) fn new(places: usize) -> Self {
        Self { places: (0..places).map(|_| AtomicPtr::new(ptr::null_mut())).collect() }
    }

    /// An object that nobody uses, if there is one.
    pub(crate) fn take(&self) -> Option<*mut T> {
        self.places.iter().find_map(|place| {
            if place.load(ord::POOL_LOOK()).is_null() {
                return None;
            }
            let object = place.swap(ptr::null_mut(), ord::POOL_TAKE());
            (!object.is_null()).then_some(object)
        })
    }

    /// Keeps an object that nobody uses any more, or, if the pool is full, gives it back.
    ///
    /// # Safety
    /// `object` came from `Box::into_raw` and has no other user.
    pub(crate) unsafe fn put(&self, object: *mut T) -> Result<(), *mut T> {
        let empty = |place: &&AtomicPtr<T>| {
            place.load(ord::POOL_LOOK()).is_null()
                && place.compare_exchange(ptr::null_mut(), object, ord::POOL_PUT(), ord::POOL_LOOK()).is_ok()
        };
        self.places.iter().find(empty).map(|_| ()).ok_or(object)
    }

    /// As [`put`](Self::put), and frees what finds no place.
    ///
    /// # Safety
    /// As there.
    pub(crate) unsafe fn put_or_free(&self, object: *mut T) {
        // SAFETY: the caller's promise.
        if let Err(object) = unsafe { self.put(object) } {
            // SAFETY: the caller's promise.
            unsafe { free(object) }
        }
    }

    /// How many spare objects there are, about.
    pub(crate) fn len(&self) -> usize {
        self.places.iter().filter(|place| !place.load(ord::POOL_LOOK()).is_null()).count()
    }
}

impl<T: 'static> Drop for Pool<T> {
    fn drop(&mut self) {
        if unwinding() {
            return;
        }
        while let Some(object) = self.take() {
            // SAFETY: it came from `Box::into_raw`, and taking it made it ours.
            unsafe { free(object) }
        }
    }
}
