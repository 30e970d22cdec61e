//! Typed protection: a pointer that was loaded under a pin carries the pin's lifetime.
//!
//! # Promise
//! [`Protected`] is a reference that is valid as long as its pin, to an object that can still be
//! found: neither it nor what its own links lead to was retired when the pin began. So following
//! links under a pin is safe code. What is unsafe stands where an object is linked or unlinked.
//!
//! # Contract
//! Whatever a [`Link`] ever holds is null, or an object that
//! 1. came from `Box::into_raw` and is valid until it is released;
//! 2. was stamped with the era of its making before it was linked;
//! 3. is retired, once, only when no [`Root`] leads to it any more, and neither does a link of any object
//!    that a root still leads to.
//!
//! Kin: `Shared<'g, T>` of `crossbeam-epoch`, `safe_load` of `haphazard`.

use std::ops::Deref;
use std::ptr;
use std::sync::atomic::Ordering;

use super::reclaim::{Pin, Stale};
use super::sync::AtomicPtr;

/// A shared pointer in an object that is itself reclaimed: followed from a [`Protected`] one.
#[derive(Debug)]
pub(crate) struct Link<T>(AtomicPtr<T>);

/// A shared pointer that is always there: where every search begins.
#[derive(Debug)]
pub(crate) struct Root<T>(Link<T>);

/// An object that stays as long as the pin.
#[derive(Debug)]
pub(crate) struct Protected<'p, T> {
    target: &'p T,
    pin: &'p Pin<'p>,
}

/// An object that nothing leads to any more. It has to be retired.
#[derive(Debug)]
#[must_use]
pub(crate) struct Unlinked<T>(*mut T);

impl<T> Link<T> {
    /// A link to nothing.
    pub(crate) fn null() -> Self {
        Self(AtomicPtr::new(ptr::null_mut()))
    }

    /// Whether it leads anywhere.
    pub(crate) fn is_null(&self, order: Ordering) -> bool {
        self.address(order).is_null()
    }

    /// Where it leads, by address. Not to be followed.
    pub(crate) fn address(&self, order: Ordering) -> *mut T {
        self.0.load(order)
    }

    /// Links `target`, if nothing is linked; otherwise gives it back.
    pub(crate) fn set(&self, target: Box<T>, success: Ordering, failure: Ordering) -> Result<(), Box<T>> {
        let target = Box::into_raw(target);
        match self.0.compare_exchange(ptr::null_mut(), target, success, failure) {
            Ok(_) => Ok(()),
            // SAFETY: it was not linked, so it is still the caller's.
            Err(_) => Err(unsafe { Box::from_raw(target) }),
        }
    }

    /// # Safety
    /// The object that this link is a part of can be found under `pin`.
    #[track_caller]
    unsafe fn load<'p>(&self, pin: &'p Pin<'_>, order: Ordering) -> Result<Option<Protected<'p, T>>, Stale> {
        let target = self.0.load(order);
        pin.validate()?;
        // SAFETY: what it leads to was not retired when the pin began (3), and the era says that the
        // pin holds for it.
        Ok(unsafe { target.as_ref() }.map(|target| Protected { target, pin }))
    }
}

impl<T> Root<T> {
    /// A root that leads to `target`, or nowhere.
    pub(crate) fn new(target: Option<Box<T>>) -> Self {
        Self(Link(AtomicPtr::new(target.map_or(ptr::null_mut(), Box::into_raw))))
    }

    /// A root that leads where `other` does; while both are private.
    pub(crate) fn beside(other: &Self) -> Self {
        Self(Link(AtomicPtr::new(other.address(Ordering::Relaxed))))
    }

    /// Where it leads, by address. Not to be followed.
    pub(crate) fn address(&self, order: Ordering) -> *mut T {
        self.0.address(order)
    }

    /// Loads it; the target stays as long as the pin.
    #[track_caller]
    pub(crate) fn load<'p>(
        &self,
        pin: &'p Pin<'_>,
        order: Ordering,
    ) -> Result<Option<Protected<'p, T>>, Stale> {
        // SAFETY: a root is no part of anything that is reclaimed.
        unsafe { self.0.load(pin, order) }
    }

    /// Moves it from one object to another; false if it is elsewhere.
    #[track_caller]
    pub(crate) fn advance(
        &self,
        from: Protected<'_, T>,
        to: Protected<'_, T>,
        success: Ordering,
        failure: Ordering,
    ) -> bool {
        self.0.0.compare_exchange(from.address(), to.address(), success, failure).is_ok()
    }

    /// Replaces `from`, which it has to lead to alone, by `to`; gives `to` back if it leads elsewhere.
    #[track_caller]
    pub(crate) fn replace(
        &self,
        from: Option<Protected<'_, T>>,
        to: Box<T>,
        success: Ordering,
        failure: Ordering,
    ) -> Result<Option<Unlinked<T>>, Box<T>> {
        let (from, to) = (from.map_or(ptr::null_mut(), |from| from.address()), Box::into_raw(to));
        match self.0.0.compare_exchange(from, to, success, failure) {
            Ok(_) => Ok((!from.is_null()).then_some(Unlinked(from))),
            // SAFETY: it was not linked, so it is still the caller's.
            Err(_) => Err(unsafe { Box::from_raw(to) }),
        }
    }

    /// Leads to `to` alone from now on; returns what it led to alone before.
    #[track_caller]
    pub(crate) fn swap(&self, to: Option<Box<T>>, order: Ordering) -> Option<Unlinked<T>> {
        let old = self.0.0.swap(to.map_or(ptr::null_mut(), Box::into_raw), order);
        (!old.is_null()).then_some(Unlinked(old))
    }
}

impl<T> Clone for Protected<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Protected<'_, T> {}

impl<T> Deref for Protected<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.target
    }
}

impl<'p, T> Protected<'p, T> {
    /// # Safety
    /// The object can be found under `pin`: it was not unlinked when the pin began.
    pub(crate) unsafe fn assume(target: &'p T, pin: &'p Pin<'_>) -> Self {
        Self { target, pin }
    }

    /// The object, as long as the pin.
    pub(crate) fn get(self) -> &'p T {
        self.target
    }

    /// The pin that protects it.
    pub(crate) fn pin(self) -> &'p Pin<'p> {
        self.pin
    }

    pub(crate) fn address(self) -> *mut T {
        ptr::from_ref(self.target).cast_mut()
    }

    /// Follows one of its links.
    #[track_caller]
    pub(crate) fn follow<U>(
        self,
        link: impl for<'t> FnOnce(&'t T) -> &'t Link<U>,
        order: Ordering,
    ) -> Result<Option<Protected<'p, U>>, Stale> {
        // SAFETY: the link is a part of an object that can be found under the pin.
        unsafe { link(self.target).load(self.pin, order) }
    }

    /// Retires it: `release` gets it when no pin can reach it any more.
    ///
    /// # Safety
    /// Point 3 of the contract: nothing leads to it any more, and this is the only retirement.
    pub(crate) unsafe fn retire<F>(self, birth: u64, bytes: u64, release: F)
    where
        F: FnOnce(*mut T) + Send + 'static,
        T: Send + 'static,
    {
        Unlinked(self.address()).retire(self.pin, birth, bytes, release);
    }
}

impl<T: Send + 'static> Unlinked<T> {
    /// What it is. Nobody releases it before it is retired.
    pub(crate) fn get(&self) -> &T {
        // SAFETY: it is released after its retirement, which takes `self`.
        unsafe { &*self.0 }
    }

    /// Retires it: `release` gets it when no pin can reach it any more.
    pub(crate) fn retire<F>(self, pin: &Pin<'_>, birth: u64, bytes: u64, release: F)
    where
        F: FnOnce(*mut T) + Send + 'static,
    {
        let target = SendPtr(self.0);
        // SAFETY: it was made by `Box::into_raw` in era `birth` (1, 2), nothing leads to it any more,
        // and it is retired once, for `self` is gone (3).
        unsafe { pin.retire(birth, bytes, move || release(target.get())) }
    }
}

/// A pointer that a release takes to whichever thread runs it.
struct SendPtr<T>(*mut T);

// SAFETY: what it points to is `Send`, and its release has it alone.
unsafe impl<T: Send> Send for SendPtr<T> {}

impl<T> SendPtr<T> {
    /// The whole value, so that a closure captures it and not the bare pointer.
    fn get(self) -> *mut T {
        self.0
    }
}
