//! Cursors: attached, polled, read from where the bytes are, moved.

use std::ffi::{c_int, c_void};
use std::io::IoSlice;
use std::mem::transmute;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Buf as _;

use super::buffer::replcore_buffer;
use super::error::{Failure, Outcome, guard, replcore_error, replcore_status};
use super::handle::{Exclusive, borrow, bytes_mut, filled, free_exclusive, give, place, put};
use super::notify::{Callback, Notify, Signal};
use super::{iovec, replcore_release_fn};
use crate::buffer::{Cursor, CursorError};

pub use super::notify::replcore_wake_fn;

/// A reader of the stream. Used by one thread at a time.
pub struct replcore_cursor(Exclusive<State>);

struct State {
    cursor: Cursor,
    notify: Notify,
    waker: Waker,
    /// The descriptor is readable for certain: it was raised here, and nobody else lowers it.
    raised: bool,
}

impl State {
    fn new(cursor: Cursor) -> Self {
        Self { cursor, notify: Notify::default(), waker: Waker::noop().clone(), raised: false }
    }

    /// Wakes this from now on. Who is woken by the one before may still be, once.
    fn renew(&mut self, notify: Notify) {
        self.waker = Arc::new(notify.clone()).into();
        self.notify = notify;
    }

    fn raise(&mut self) {
        if let Some(signal) = &self.notify.signal
            && !self.raised
        {
            signal.raise();
            self.raised = true;
        }
    }

    fn look(&mut self) -> Poll<Result<(), CursorError>> {
        self.cursor.poll_readable(&mut Context::from_waker(&self.waker))
    }

    /// How the descriptor and the waker stand after each step is in the module's picture.
    fn poll(&mut self) -> Outcome<usize> {
        let mut seen = self.look();
        if seen.is_pending()
            && let Some(signal) = self.notify.signal.clone()
        {
            signal.lower();
            self.raised = false;
            seen = self.look();
        }
        match seen {
            Poll::Pending => Err(Failure::new(replcore_status::Again, "nothing to read yet")),
            Poll::Ready(ready) => {
                self.raise();
                ready?;
                Ok(self.cursor.remaining())
            }
        }
    }
}

/// Enters a cursor for one call.
///
/// # Safety
/// Rule 3.
unsafe fn with_cursor(
    cursor: *mut replcore_cursor,
    error: *mut replcore_error,
    act: impl FnOnce(&mut State) -> Outcome,
) -> replcore_status {
    guard(error, || {
        // SAFETY: the caller's contract.
        let mut entered = unsafe { borrow(cursor, "cursor") }?.0.enter()?;
        act(&mut entered)
    })
}

/// Attaches a cursor whose next byte is the one after the first `offset` bytes of the stream: what `replcore_psync` says.
///
/// `cursor`: receives the handle, to be freed by `replcore_cursor_free`. It may outlive the buffer's.
/// Fails with NOT_RETAINED, which says what could be attached, and TOO_MANY_CURSORS.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn replcore_cursor_attach(
    buffer: *mut replcore_buffer,
    offset: u64,
    cursor: *mut *mut replcore_cursor,
    error: *mut replcore_error,
) -> replcore_status {
    guard(error, || {
        let place = place(cursor, "cursor")?;
        // SAFETY: rule 3.
        let attached = unsafe { borrow(buffer, "buffer") }?.0.attach(offset)?;
        // SAFETY: rule 1.
        unsafe { put(place, give(replcore_cursor(Exclusive::new(State::new(attached))))) };
        Ok(())
    })
}

/// Attaches a cursor that reads what is appended from now on: see `replcore_cursor_attach`. Fails with TOO_MANY_CURSORS.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn replcore_cursor_attach_at_end(
    buffer: *mut replcore_buffer,
    cursor: *mut *mut replcore_cursor,
    error: *mut replcore_error,
) -> replcore_status {
    guard(error, || {
        let place = place(cursor, "cursor")?;
        // SAFETY: rule 3.
        let attached = unsafe { borrow(buffer, "buffer") }?.0.attach_at_end()?;
        // SAFETY: rule 1.
        unsafe { put(place, give(replcore_cursor(Exclusive::new(State::new(attached))))) };
        Ok(())
    })
}

/// Frees a cursor, and what it kept. `cursor`: may be null. Fails with BUSY, and frees nothing then.
///
/// Its descriptor is taken out of every epoll set before: it may be closed a little later than this, by a thread that was just raising it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn replcore_cursor_free(cursor: *mut replcore_cursor) -> replcore_status {
    // SAFETY: rule 3.
    guard(std::ptr::null_mut(), || unsafe { free_exclusive(cursor, |cursor| &cursor.0) })
}

/// Gives the cursor's descriptor, and makes it at the first call. It is readable unless the last `replcore_cursor_poll` said
/// AGAIN and nothing has happened since.
///
/// `descriptor`: receives it. It belongs to the cursor: it is waited for by poll(2) and its kind, and neither read, written nor closed.
/// Fails with SYSTEM.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn replcore_cursor_descriptor(
    cursor: *mut replcore_cursor,
    descriptor: *mut c_int,
    error: *mut replcore_error,
) -> replcore_status {
    let give_descriptor = |state: &mut State| {
        let place = place(descriptor, "descriptor")?;
        let signal = match &state.notify.signal {
            Some(signal) => Arc::clone(signal),
            None => {
                let signal = Arc::new(Signal::new()?);
                let notify = Notify { signal: Some(Arc::clone(&signal)), ..state.notify.clone() };
                state.renew(notify);
                state.raise();
                signal
            }
        };
        // SAFETY: rule 1.
        unsafe { put(place, signal.descriptor()) };
        Ok(())
    };
    // SAFETY: rule 3.
    unsafe { with_cursor(cursor, error, give_descriptor) }
}

/// Sets what is called when `replcore_cursor_poll` said AGAIN and something has happened since: at least once then, and possibly
/// without a reason. It takes the place of the callback before, and applies from the next poll on.
///
/// `wake`: null for none. `context`: handed to both functions, may be null. `release`: called when neither will be called any more, at
/// any time after the cursor was freed or has another callback, and before the last handle of the stream is freed; may be null. If this
/// call fails, it is not called.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn replcore_cursor_set_wake(
    cursor: *mut replcore_cursor,
    wake: replcore_wake_fn,
    release: replcore_release_fn,
    context: *mut c_void,
    error: *mut replcore_error,
) -> replcore_status {
    let set_wake = |state: &mut State| {
        let callback = Some(Arc::new(Callback { wake, release, context }));
        state.renew(Notify { callback, ..state.notify.clone() });
        Ok(())
    };
    // SAFETY: rule 3.
    unsafe { with_cursor(cursor, error, set_wake) }
}

/// Makes what is published visible to the cursor.
///
/// `readable`: receives how many bytes it can read now, at least 1; may be null.
/// Fails with AGAIN if there is nothing yet, and leaves the wake-up; with ENDED; with EVICTED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn replcore_cursor_poll(
    cursor: *mut replcore_cursor,
    readable: *mut usize,
    error: *mut replcore_error,
) -> replcore_status {
    let poll = |state: &mut State| {
        let visible = state.poll()?;
        // SAFETY: rule 1.
        unsafe { put(readable, visible) };
        Ok(())
    };
    // SAFETY: rule 3.
    unsafe { with_cursor(cursor, error, poll) }
}

/// Says where the bytes are that the last `replcore_cursor_poll` made visible, for writev(2): nothing is copied. They stay
/// until the next call with this cursor that polls, advances, copies or frees.
///
/// `vectors`: `count` of them (not all need be initialised), null if that is 0. `used`: receives how many were filled.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn replcore_cursor_vectors(
    cursor: *mut replcore_cursor,
    vectors: *mut iovec,
    count: usize,
    used: *mut usize,
    error: *mut replcore_error,
) -> replcore_status {
    let vectors = |state: &mut State| {
        let place = place(used, "used")?;
        let empty = iovec { iov_base: [0_u8; 0].as_ptr().cast_mut().cast(), iov_len: 0 };
        // SAFETY: rule 1.
        let vectors: &mut [iovec] = unsafe { filled(vectors, count, empty, "vectors") }?;
        // SAFETY: std promises that an `IoSlice` has the ABI of an iovec, and each was just made an empty slice. The slices written are those of
        // this borrow of the cursor; how long the caller may use them is in the documentation.
        let slices = unsafe { transmute::<&mut [iovec], &mut [IoSlice<'_>]>(vectors) };
        let filled = state.cursor.chunks_vectored(slices);
        // SAFETY: rule 1.
        unsafe { put(place, filled) };
        Ok(())
    };
    // SAFETY: rule 3.
    unsafe { with_cursor(cursor, error, vectors) }
}

/// Passes `len` visible bytes: what was sent. Fails with OUT_OF_BOUNDS beyond what is visible, and passes nothing then.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn replcore_cursor_advance(
    cursor: *mut replcore_cursor,
    len: usize,
    error: *mut replcore_error,
) -> replcore_status {
    let advance = |state: &mut State| {
        let visible = state.cursor.remaining();
        if len > visible {
            return Err(Failure::out_of_bounds("the length to pass", len as u64, 0, visible as u64));
        }
        state.cursor.advance(len);
        Ok(())
    };
    // SAFETY: rule 3.
    unsafe { with_cursor(cursor, error, advance) }
}

/// Copies visible bytes, and passes them: better than vectors for many short frames.
///
/// `target`: room for `room` bytes, null if that is 0. `copied`: receives how many were copied: all that are visible, or as many as
/// there is room for.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn replcore_cursor_copy(
    cursor: *mut replcore_cursor,
    target: *mut c_void,
    room: usize,
    copied: *mut usize,
    error: *mut replcore_error,
) -> replcore_status {
    let copy = |state: &mut State| {
        let place = place(copied, "copied")?;
        let len = room.min(state.cursor.remaining());
        // SAFETY: rule 1.
        let target = unsafe { bytes_mut(target, len, "target") }?;
        state.cursor.copy_to_slice(target);
        // SAFETY: rule 1.
        unsafe { put(place, len) };
        Ok(())
    };
    // SAFETY: rule 3.
    unsafe { with_cursor(cursor, error, copy) }
}

/// Where the cursor stands: so many bytes of the stream are before its next one. `offset`: receives it. `lag_bytes`: receives how many
/// bytes are published and not read, visible or not. Either may be null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn replcore_cursor_position(
    cursor: *mut replcore_cursor,
    offset: *mut u64,
    lag_bytes: *mut u64,
    error: *mut replcore_error,
) -> replcore_status {
    let position = |state: &mut State| {
        // SAFETY: rule 1.
        unsafe {
            put(offset, state.cursor.offset());
            put(lag_bytes, state.cursor.lag_bytes());
        }
        Ok(())
    };
    // SAFETY: rule 3.
    unsafe { with_cursor(cursor, error, position) }
}
