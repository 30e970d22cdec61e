//! Pointers from C: checked, borrowed for the length of a call, and freed.
//!
//! The unsafe functions here have one contract, rule 1 of the module: *null, or valid as its type says, for the length
//! of the call*. A caller answers with "rule 1" where the pointer is handed on as it came, and by "rule 3" where it is a handle.

use std::cell::UnsafeCell;
use std::ffi::c_void;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, Ordering};

use super::error::{Failure, Outcome, replcore_status};
use super::iovec;

/// Borrows what a pointer points to.
///
/// # Safety
/// Rule 1, and nobody writes to it during the call.
pub(super) unsafe fn borrow<'a, T>(pointer: *const T, name: &str) -> Outcome<&'a T> {
    // SAFETY: the caller's contract.
    unsafe { pointer.as_ref() }.ok_or_else(|| Failure::null(name))
}

/// Borrows what a pointer points to, alone.
///
/// # Safety
/// Rule 1, and nobody else uses it during the call.
pub(super) unsafe fn borrow_mut<'a, T>(pointer: *mut T, name: &str) -> Outcome<&'a mut T> {
    // SAFETY: the caller's contract.
    unsafe { pointer.as_mut() }.ok_or_else(|| Failure::null(name))
}

/// Borrows an array; null if it has no elements.
///
/// # Safety
/// Rule 1, for `len` elements that nobody writes to during the call.
pub(super) unsafe fn slice<'a, T>(data: *const T, len: usize, name: &str) -> Outcome<&'a [T]> {
    if len == 0 {
        return Ok(&[]);
    }
    if data.is_null() {
        return Err(Failure::null(name));
    }
    check_len::<T>(len, name)?;
    // SAFETY: not null, not longer than any object can be, and valid by the caller's contract.
    Ok(unsafe { std::slice::from_raw_parts(data, len) })
}

/// Borrows an array to be written, after filling it with `value`; null if it has no elements.
///
/// # Safety
/// Rule 1, for `len` elements, initialised or not, that nobody else uses during the call.
pub(super) unsafe fn filled<'a, T: Copy>(
    data: *mut T,
    len: usize,
    value: T,
    name: &str,
) -> Outcome<&'a mut [T]> {
    if len == 0 {
        return Ok(&mut []);
    }
    if data.is_null() {
        return Err(Failure::null(name));
    }
    check_len::<T>(len, name)?;
    // SAFETY: not null, not longer than any object can be, valid by the caller's contract, and initialised here.
    unsafe {
        (0..len).for_each(|index| data.add(index).write(value));
        Ok(std::slice::from_raw_parts_mut(data, len))
    }
}

/// Borrows memory for bytes that are about to be written, all of them; null if there are none.
///
/// # Safety
/// Rule 1, for `len` bytes that nobody else uses during the call.
pub(super) unsafe fn bytes_mut<'a>(data: *mut c_void, len: usize, name: &str) -> Outcome<&'a mut [u8]> {
    if len == 0 {
        return Ok(&mut []);
    }
    if data.is_null() {
        return Err(Failure::null(name));
    }
    check_len::<u8>(len, name)?;
    // SAFETY: not null, not longer than any object can be, valid by the caller's contract. Memory from outside of Rust has some
    // value, and every value is a byte's; none is read.
    Ok(unsafe { std::slice::from_raw_parts_mut(data.cast(), len) })
}

fn check_len<T>(len: usize, name: &str) -> Outcome {
    let most = isize::MAX as usize / size_of::<T>().max(1);
    if len > most {
        return Err(Failure::out_of_bounds(&format!("the length of {name}"), len as u64, 0, most as u64));
    }
    Ok(())
}

/// Borrows bytes; null if there are none.
///
/// # Safety
/// As for [`slice`].
pub(super) unsafe fn bytes<'a>(data: *const c_void, len: usize, name: &str) -> Outcome<&'a [u8]> {
    // SAFETY: the caller's contract.
    unsafe { slice(data.cast::<u8>(), len, name) }
}

/// Borrows the arguments of a command.
///
/// # Safety
/// As for [`slice`], for the array and for what each of its elements points to.
pub(super) unsafe fn args<'a>(argv: *const iovec, argc: usize) -> Outcome<Vec<&'a [u8]>> {
    // SAFETY: the caller's contract.
    let argv: &[iovec] = unsafe { slice(argv, argc, "argv") }?;
    // SAFETY: the caller's contract.
    argv.iter().map(|arg| unsafe { bytes(arg.iov_base, arg.iov_len, "an argument") }).collect()
}

/// Writes a result, if it is wanted.
///
/// # Safety
/// Rule 1.
pub(super) unsafe fn put<T>(result: *mut T, value: T) {
    if !result.is_null() {
        // SAFETY: not null, and valid by the caller's contract. What is there may be uninitialised, and is plain data.
        unsafe { result.write(value) };
    }
}

/// A place for a result that has to be there.
pub(super) fn place<T>(result: *mut T, name: &str) -> Outcome<*mut T> {
    if result.is_null() { Err(Failure::null(name)) } else { Ok(result) }
}

/// Hands a handle to the caller.
pub(super) fn give<T>(handle: T) -> *mut T {
    Box::into_raw(Box::new(handle))
}

/// Frees a handle that no call is in.
///
/// # Safety
/// Rule 3: null, or a handle that [`give`] made, not freed, and not used any more.
pub(super) unsafe fn free<T>(handle: *mut T) {
    if !handle.is_null() {
        // SAFETY: the caller's contract: it is the box's own pointer, and this its last use.
        drop(unsafe { Box::from_raw(handle) });
    }
}

/// What one thread uses at a time: a second one is refused, so that misuse is not undefined behaviour.
pub(super) struct Exclusive<T> {
    busy: AtomicBool,
    inner: UnsafeCell<T>,
}

// SAFETY: `enter` lets one thread at a time at `inner`, and hands it over by Acquire and Release.
unsafe impl<T: Send> Sync for Exclusive<T> {}

impl<T> Exclusive<T> {
    pub(super) fn new(inner: T) -> Self {
        Self { busy: AtomicBool::new(false), inner: UnsafeCell::new(inner) }
    }

    /// Enters, if nobody is in. A panic inside leaves it shut.
    pub(super) fn enter(&self) -> Outcome<Entered<'_, T>> {
        // Acquire: pairs with the store of who leaves, whose changes are seen here.
        if self.busy.swap(true, Ordering::Acquire) {
            return Err(Failure::new(replcore_status::Busy, "the handle is in use"));
        }
        Ok(Entered(self))
    }
}

/// The right to use what is inside.
pub(super) struct Entered<'a, T>(&'a Exclusive<T>);

impl<T> Deref for Entered<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: this is the one who entered.
        unsafe { &*self.0.inner.get() }
    }
}

impl<T> DerefMut for Entered<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: this is the one who entered, and `&mut self` its only borrow.
        unsafe { &mut *self.0.inner.get() }
    }
}

impl<T> Drop for Entered<'_, T> {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // Release: pairs with the swap of who enters next.
            self.0.busy.store(false, Ordering::Release);
        }
    }
}

/// Frees a handle whose inside is [`Exclusive`], unless somebody is in it.
///
/// # Safety
/// Rule 3: null, or a handle that [`give`] made, not freed, and not used after this.
pub(super) unsafe fn free_exclusive<T, I>(handle: *mut T, inside: impl Fn(&T) -> &Exclusive<I>) -> Outcome {
    // SAFETY: the caller's contract.
    if let Some(entered) = unsafe { handle.as_ref() } {
        std::mem::forget(inside(entered).enter()?);
        // SAFETY: the caller's contract; nobody is in it but this.
        unsafe { free(handle) };
    }
    Ok(())
}
