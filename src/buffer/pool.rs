//! A pool of spare memory: a fixed number of places, each empty or holding one object.
//!
//! Putting and taking are one exchange on one place, so nobody waits for anybody, no shared object
//! is dereferenced and no place can be confused with an earlier one (no ABA).

use std::ptr;

use super::sync::table::ord;
use super::sync::{AtomicPtr, free, unwinding};

/// Spare objects.
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
    pub(crate) fn take(&self) -> Option<Box<T>> {
        self.places.iter().find_map(|place| {
            if place.load(ord::POOL_LOOK()).is_null() {
                return None;
            }
            let object = place.swap(ptr::null_mut(), ord::POOL_TAKE());
            // SAFETY: `put` made it of a box, and taking it made it ours.
            (!object.is_null()).then(|| unsafe { Box::from_raw(object) })
        })
    }

    /// Keeps an object that nobody uses any more, or, if the pool is full, gives it back.
    pub(crate) fn put(&self, object: Box<T>) -> Result<(), Box<T>> {
        let object = Box::into_raw(object);
        let empty = |place: &&AtomicPtr<T>| {
            place.load(ord::POOL_LOOK()).is_null()
                && place.compare_exchange(ptr::null_mut(), object, ord::POOL_PUT(), ord::POOL_LOOK()).is_ok()
        };
        match self.places.iter().find(empty) {
            Some(_) => Ok(()),
            // SAFETY: it found no place, and is still ours.
            None => Err(unsafe { Box::from_raw(object) }),
        }
    }

    /// As [`put`](Self::put), and frees what finds no place.
    pub(crate) fn put_or_free(&self, object: Box<T>) {
        if let Err(object) = self.put(object) {
            discard(object);
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
            discard(object);
        }
    }
}

/// Frees an object; in a model build, when the execution is over.
pub(crate) fn discard<T: 'static>(object: Box<T>) {
    // SAFETY: the box was the only user.
    unsafe { free(Box::into_raw(object)) }
}
