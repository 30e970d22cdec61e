//! Writers, and frames staged in private.
//!
//! In Rust a staged frame borrows its writer. Here both are one handle, which knows whether a frame is being staged: a
//! function that needs the other state says so.

use std::ffi::c_void;

use bytes::Bytes;

use super::buffer::replcore_buffer;
use super::error::{Failure, Outcome, guard, replcore_error, replcore_status};
use super::handle::{Entered, Exclusive, args, borrow, bytes, free_exclusive, give, place, put};
use super::{iovec, replcore_range, replcore_release_fn};
use crate::buffer::{StagedFrame, Writer};

/// Appends frames of one term to a buffer. Used by one thread at a time.
pub struct replcore_writer(Exclusive<State>);

impl replcore_writer {
    pub(super) fn enter(&self) -> Outcome<Entered<'_, State>> {
        self.0.enter()
    }
}

/// A writer, and the frame that it stages.
pub(super) struct State {
    /// Borrows `writer`, and is gone before it.
    frame: Option<StagedFrame<'static>>,
    /// A box of our own, held as a pointer so that to move this moves no borrow of it.
    writer: *mut Writer,
}

// SAFETY: a `Writer` is sent where its user goes, and so is the frame, which is nothing but its exclusive borrow. `Exclusive`
// lets one thread at a time at them.
unsafe impl Send for State {}

impl State {
    fn new(writer: Writer) -> Self {
        Self { frame: None, writer: give(writer) }
    }

    /// The writer, while no frame is staged.
    pub(super) fn writer(&mut self) -> Outcome<&mut Writer> {
        if self.frame.is_some() {
            return Err(Failure::new(replcore_status::FrameState, "a frame is being staged"));
        }
        // SAFETY: the box of this state, alive until it is dropped; no frame borrows it.
        Ok(unsafe { &mut *self.writer })
    }

    fn begin(&mut self) -> Outcome {
        self.writer()?;
        // SAFETY: as in `writer`; the borrow ends with the frame, which is gone before the box, and until then nobody else
        // borrows the writer.
        self.frame = Some(unsafe { &mut *self.writer }.frame());
        Ok(())
    }

    fn frame(&mut self) -> Outcome<&mut StagedFrame<'static>> {
        self.frame.as_mut().ok_or_else(no_frame)
    }
}

impl Drop for State {
    fn drop(&mut self) {
        self.frame = None;
        // SAFETY: made by `new`, freed here alone; the frame that borrowed it is gone.
        drop(unsafe { Box::from_raw(self.writer) });
    }
}

fn no_frame() -> Failure {
    Failure::new(replcore_status::FrameState, "no frame is being staged")
}

/// Enters a writer for one call.
///
/// # Safety
/// Rule 3.
unsafe fn with_writer(
    writer: *mut replcore_writer,
    error: *mut replcore_error,
    act: impl FnOnce(&mut State) -> Outcome,
) -> replcore_status {
    guard(error, || {
        // SAFETY: the caller's contract.
        let mut entered = unsafe { borrow(writer, "writer") }?.enter()?;
        act(&mut entered)
    })
}

/// Makes a writer of the buffer's current term.
///
/// `writer`: receives the handle, to be freed by `replcore_writer_free`. It may outlive the buffer's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn replcore_writer_new(
    buffer: *mut replcore_buffer,
    writer: *mut *mut replcore_writer,
    error: *mut replcore_error,
) -> replcore_status {
    guard(error, || {
        let place = place(writer, "writer")?;
        // SAFETY: rule 3.
        let made = unsafe { borrow(buffer, "buffer") }?.0.writer();
        // SAFETY: rule 1.
        unsafe { put(place, give(replcore_writer(Exclusive::new(State::new(made))))) };
        Ok(())
    })
}

/// Makes a writer of the given term: as `replcore_writer_new`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn replcore_writer_new_of_term(
    buffer: *mut replcore_buffer,
    term: u64,
    writer: *mut *mut replcore_writer,
    error: *mut replcore_error,
) -> replcore_status {
    guard(error, || {
        let place = place(writer, "writer")?;
        // SAFETY: rule 3.
        let made = unsafe { borrow(buffer, "buffer") }?.0.writer_of_term(term);
        // SAFETY: rule 1.
        unsafe { put(place, give(replcore_writer(Exclusive::new(State::new(made))))) };
        Ok(())
    })
}

/// Frees a writer; a frame that it stages is not published. `writer`: may be null. Fails with BUSY, and frees nothing then.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn replcore_writer_free(writer: *mut replcore_writer) -> replcore_status {
    // SAFETY: rule 3.
    guard(std::ptr::null_mut(), || unsafe { free_exclusive(writer, |writer| &writer.0) })
}

/// Appends bytes, copied, as one frame: see `replcore_buffer_append`. Fails with FRAME_STATE too, if a frame is being staged.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn replcore_writer_append(
    writer: *mut replcore_writer,
    data: *const c_void,
    len: usize,
    range: *mut replcore_range,
    error: *mut replcore_error,
) -> replcore_status {
    let append = |state: &mut State| {
        // SAFETY: rule 1.
        let data = unsafe { bytes(data, len, "data") }?;
        let appended = state.writer()?.append(data)?;
        // SAFETY: rule 1.
        unsafe { put(range, appended.into()) };
        Ok(())
    };
    // SAFETY: rule 3.
    unsafe { with_writer(writer, error, append) }
}

/// Appends several parts, copied, as one frame: see `replcore_writer_append`. `parts`: `count` of them, null if that is 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn replcore_writer_append_parts(
    writer: *mut replcore_writer,
    parts: *const iovec,
    count: usize,
    range: *mut replcore_range,
    error: *mut replcore_error,
) -> replcore_status {
    let append = |state: &mut State| {
        // SAFETY: rule 1.
        let parts = unsafe { args(parts, count) }?;
        let appended = state.writer()?.append_parts(&parts)?;
        // SAFETY: rule 1.
        unsafe { put(range, appended.into()) };
        Ok(())
    };
    // SAFETY: rule 3.
    unsafe { with_writer(writer, error, append) }
}

/// Begins to stage a frame, in private. It ends with `replcore_frame_publish` or `replcore_frame_abort`. Fails with FRAME_STATE if
/// one is being staged.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn replcore_frame_begin(
    writer: *mut replcore_writer,
    error: *mut replcore_error,
) -> replcore_status {
    // SAFETY: rule 3.
    unsafe { with_writer(writer, error, State::begin) }
}

/// Adds bytes, copied. A frame that becomes too long is refused by `replcore_frame_publish`, not here.
///
/// `data`: `len` bytes, null if that is 0. Fails with FRAME_STATE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn replcore_frame_put(
    writer: *mut replcore_writer,
    data: *const c_void,
    len: usize,
    error: *mut replcore_error,
) -> replcore_status {
    let put = |state: &mut State| {
        // SAFETY: rule 1.
        state.frame()?.put_slice(unsafe { bytes(data, len, "data") }?);
        Ok(())
    };
    // SAFETY: rule 3.
    unsafe { with_writer(writer, error, put) }
}

/// Memory of the caller's in the stream.
struct Lent {
    data: *const u8,
    len: usize,
    release: replcore_release_fn,
    context: *mut c_void,
}

// SAFETY: the caller of `replcore_frame_put_shared` promises that the bytes do not change, and that `release` may be called from
// any thread.
unsafe impl Send for Lent {}
// SAFETY: as above.
unsafe impl Sync for Lent {}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: `replcore_frame_put_shared` checked pointer and length; the bytes stay until `release`.
        unsafe { std::slice::from_raw_parts(self.data, self.len) }
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(release) = self.release {
            // SAFETY: the caller's function with the caller's context, called once.
            unsafe { release(self.context) };
        }
    }
}

/// Adds bytes, not copied: for long ones.
///
/// `data`: `len` bytes, null if that is 0, which stay and do not change until `release` is called with `context`: when
/// the frame was trimmed and every cursor has passed it, or when it is not published. `release`: may be null, for bytes that stay for
/// ever. If this call fails, it is not called.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn replcore_frame_put_shared(
    writer: *mut replcore_writer,
    data: *const c_void,
    len: usize,
    release: replcore_release_fn,
    context: *mut c_void,
    error: *mut replcore_error,
) -> replcore_status {
    let put = |state: &mut State| {
        let frame = state.frame()?;
        // SAFETY: rule 1.
        let data = unsafe { bytes(data, len, "data") }?;
        let lent = Lent { data: data.as_ptr(), len: data.len(), release, context };
        frame.put_bytes(Bytes::from_owner(lent));
        Ok(())
    };
    // SAFETY: rule 3.
    unsafe { with_writer(writer, error, put) }
}

/// From here on the stream's context is `context` (a database, say). If it is another one where this place comes to stand in the
/// stream, `data` is published here (a SELECT, say), else left out; which of both, is decided at publication.
///
/// `data`: `len` bytes, null if that is 0. Fails with FRAME_STATE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn replcore_frame_select(
    writer: *mut replcore_writer,
    context: u64,
    data: *const c_void,
    len: usize,
    error: *mut replcore_error,
) -> replcore_status {
    let select = |state: &mut State| {
        // SAFETY: rule 1.
        state.frame()?.select_context(context, unsafe { bytes(data, len, "data") }?);
        Ok(())
    };
    // SAFETY: rule 3.
    unsafe { with_writer(writer, error, select) }
}

/// From here on the stream's context is unknown: the next `replcore_frame_select` publishes its bytes. A snapshot is followed by
/// that, for a replica that took one has selected nothing. Fails with FRAME_STATE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn replcore_frame_forget_context(
    writer: *mut replcore_writer,
    error: *mut replcore_error,
) -> replcore_status {
    let forget = |state: &mut State| {
        state.frame()?.set_context(None);
        Ok(())
    };
    // SAFETY: rule 3.
    unsafe { with_writer(writer, error, forget) }
}

/// Ends a frame of a batch: what is added next belongs to the next frame, and all are published at once. Fails with FRAME_STATE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn replcore_frame_next(
    writer: *mut replcore_writer,
    error: *mut replcore_error,
) -> replcore_status {
    let next = |state: &mut State| {
        state.frame()?.end_frame();
        Ok(())
    };
    // SAFETY: rule 3.
    unsafe { with_writer(writer, error, next) }
}

/// Publishes what is staged, all at once. The frame is gone after it, published or not.
///
/// `range`: receives its offsets, may be null.
/// Fails with FENCED, FRAME_TOO_LARGE, OFFSETS_EXHAUSTED, FRAME_STATE; nothing is published then.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn replcore_frame_publish(
    writer: *mut replcore_writer,
    range: *mut replcore_range,
    error: *mut replcore_error,
) -> replcore_status {
    let publish = |state: &mut State| {
        let published = state.frame.take().ok_or_else(no_frame)?.publish()?;
        // SAFETY: rule 1.
        unsafe { put(range, published.into()) };
        Ok(())
    };
    // SAFETY: rule 3.
    unsafe { with_writer(writer, error, publish) }
}

/// Drops what is staged. Fails with FRAME_STATE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn replcore_frame_abort(
    writer: *mut replcore_writer,
    error: *mut replcore_error,
) -> replcore_status {
    // SAFETY: rule 3.
    unsafe { with_writer(writer, error, |state| state.frame.take().map(drop).ok_or_else(no_frame)) }
}
