//! Statuses, what goes with them, and the boundary that no panic passes.

use std::borrow::Cow;
use std::ffi::c_char;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::buffer::{AppendError, AttachError, BuildError, CursorError, SealError};
use crate::resync::{HandshakeError, ParseReplicationIdError};
use crate::rewrite::Mismatch;

/// Room for the text in an error, its terminating zero included, in bytes.
pub const REPLCORE_MESSAGE_BYTES: usize = 256;

/// How a call went. Statuses may be added; their numbers stay.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[must_use]
pub enum replcore_status {
    /// It was done.
    Ok = 0,
    /// Nothing to read yet: wait for the descriptor or the callback. Not an error.
    Again = 1,
    /// Everything was read, and nothing can follow. `last`: where the stream ended.
    Ended = 2,
    /// The cursor was too slow and lost its place. `given`: where it stood; `last`: the end of the stream.
    Evicted = 3,
    /// The offset cannot be attached. `given`: it; `first`, `last`: what can be.
    NotRetained = 4,
    /// As many cursors as allowed are attached. `last`: how many that is.
    TooManyCursors = 5,
    /// The writer's term is sealed. `given`: its term; `last`: the term up to which all are sealed.
    Fenced = 6,
    /// The frame is too long. `given`: its bytes; `last`: the limit.
    FrameTooLarge = 7,
    /// The stream would pass its last offset. `given`: the frame's bytes; `first`: where it would have started; `last`: the last offset.
    OffsetsExhausted = 8,
    /// A number is out of its bounds. `given`: it; `first`, `last`: the bounds.
    OutOfBounds = 9,
    /// A command of a replica cannot be obeyed. The message is the line to answer with, without dash and line end.
    Handshake = 10,
    /// Text that is not a replication ID.
    Malformed = 11,
    /// An outcome that is not one of the command.
    Mismatch = 12,
    /// A pointer is null that may not be.
    Null = 20,
    /// The handle is in use: by another thread, or by the call that this one came out of.
    Busy = 21,
    /// A frame is being staged where none may be, or none is where one has to be.
    FrameState = 22,
    /// The operating system refused. `given`: its `errno`.
    System = 23,
    /// A defect of this library. The handles of the call are not usable any more, and are not freed.
    Panicked = 24,
}

impl replcore_status {
    /// What it means in general.
    fn text(self) -> &'static str {
        match self {
            Self::Ok => "success\0",
            Self::Again => "nothing to read yet\0",
            Self::Ended => "the stream has ended\0",
            Self::Evicted => "the cursor was evicted\0",
            Self::NotRetained => "the offset is not retained\0",
            Self::TooManyCursors => "too many cursors\0",
            Self::Fenced => "the writer's term is fenced\0",
            Self::FrameTooLarge => "the frame is too large\0",
            Self::OffsetsExhausted => "the offsets are exhausted\0",
            Self::OutOfBounds => "a number is out of its bounds\0",
            Self::Handshake => "a replica's command cannot be obeyed\0",
            Self::Malformed => "not a replication ID\0",
            Self::Mismatch => "the outcome is not one of the command\0",
            Self::Null => "a pointer is null\0",
            Self::Busy => "the handle is in use\0",
            Self::FrameState => "a frame is being staged, or none is\0",
            Self::System => "the operating system refused\0",
            Self::Panicked => "a defect of replcore\0",
        }
    }

    fn from_number(number: i32) -> Option<Self> {
        const ALL: [replcore_status; 18] = [
            replcore_status::Ok,
            replcore_status::Again,
            replcore_status::Ended,
            replcore_status::Evicted,
            replcore_status::NotRetained,
            replcore_status::TooManyCursors,
            replcore_status::Fenced,
            replcore_status::FrameTooLarge,
            replcore_status::OffsetsExhausted,
            replcore_status::OutOfBounds,
            replcore_status::Handshake,
            replcore_status::Malformed,
            replcore_status::Mismatch,
            replcore_status::Null,
            replcore_status::Busy,
            replcore_status::FrameState,
            replcore_status::System,
            replcore_status::Panicked,
        ];
        ALL.into_iter().find(|status| *status as i32 == number)
    }
}

/// What a status means in general, as English text. Never null, for no number; it lives as long as the process.
#[unsafe(no_mangle)]
pub extern "C" fn replcore_strerror(status: i32) -> *const c_char {
    replcore_status::from_number(status).map_or("no such status\0", replcore_status::text).as_ptr().cast()
}

/// What went wrong, with its numbers. The caller's memory; it needs no initialisation, and holds nothing that would have
/// to be freed. After success only `status` is written.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct replcore_error {
    /// The same as was returned.
    pub status: replcore_status,
    /// What was given or asked for: see the status. Else 0.
    pub given: u64,
    /// The least that would do.
    pub first: u64,
    /// The most that would do.
    pub last: u64,
    /// The error in a line of English, zero-terminated, cut if it is long.
    pub message: [c_char; REPLCORE_MESSAGE_BYTES],
}

/// A failure on its way out.
#[derive(Debug)]
pub(super) struct Failure {
    status: replcore_status,
    given: u64,
    first: u64,
    last: u64,
    text: Cow<'static, str>,
}

pub(super) type Outcome<T = ()> = Result<T, Failure>;

impl Failure {
    pub(super) fn new(status: replcore_status, text: impl Into<Cow<'static, str>>) -> Self {
        Self { status, given: 0, first: 0, last: 0, text: text.into() }
    }

    pub(super) fn null(name: &str) -> Self {
        Self::new(replcore_status::Null, format!("{name} is null"))
    }

    pub(super) fn out_of_bounds(name: &str, given: u64, first: u64, last: u64) -> Self {
        let text = format!("{name} is {given}, but has to be between {first} and {last}");
        Self::new(replcore_status::OutOfBounds, text).with(given, first, last)
    }

    fn with(self, given: u64, first: u64, last: u64) -> Self {
        Self { given, first, last, ..self }
    }

    fn detail(&self) -> replcore_error {
        let Self { status, given, first, last, .. } = *self;
        let mut error = replcore_error { status, given, first, last, message: [0; REPLCORE_MESSAGE_BYTES] };
        copy_text(&self.text, &mut error.message);
        error
    }
}

/// Copies text, zero-terminated and cut if it is too long, and returns its length.
pub(super) fn copy_text(text: &str, target: &mut [c_char]) -> usize {
    let Some(room) = target.len().checked_sub(1) else { return 0 };
    let mut len = text.len().min(room);
    while !text.is_char_boundary(len) {
        len -= 1;
    }
    for (target, byte) in target.iter_mut().zip(text.as_bytes()[..len].iter().chain(&[0])) {
        *target = byte.cast_signed();
    }
    len
}

/// Runs what a function does, and tells the caller how it went. Nothing unwinds out of it.
pub(super) fn guard(error: *mut replcore_error, act: impl FnOnce() -> Outcome) -> replcore_status {
    // Unwind safety: what a panic left unfinished is not used again. A handle that was entered stays busy.
    let outcome = catch_unwind(AssertUnwindSafe(act)).unwrap_or_else(|payload| {
        let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let text = text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_default();
        // What a panic carries may panic when it is dropped.
        std::mem::forget(payload);
        Err(Failure::new(replcore_status::Panicked, text))
    });
    if error.is_null() {
        return outcome.map_or_else(|failure| failure.status, |()| replcore_status::Ok);
    }
    // SAFETY: rule 1: not null, so an error of the caller's. What is there may be uninitialised, so it is written, not borrowed.
    unsafe {
        match outcome {
            Ok(()) => (&raw mut (*error).status).write(replcore_status::Ok),
            Err(failure) => error.write(failure.detail()),
        }
        (*error).status
    }
}

impl From<BuildError> for Failure {
    fn from(error: BuildError) -> Self {
        match error {
            BuildError::OutOfBounds { given, least, most, .. } => {
                Failure::new(replcore_status::OutOfBounds, error.to_string()).with(given, least, most)
            }
        }
    }
}

impl From<AppendError> for Failure {
    fn from(error: AppendError) -> Self {
        let text = error.to_string();
        match error {
            AppendError::Fenced { term, sealed_term } => {
                Failure::new(replcore_status::Fenced, text).with(term, 0, sealed_term)
            }
            AppendError::FrameTooLarge { bytes, limit_bytes } => {
                Failure::new(replcore_status::FrameTooLarge, text).with(bytes, 0, limit_bytes)
            }
            AppendError::OffsetsExhausted { offset, bytes, max_offset } => {
                Failure::new(replcore_status::OffsetsExhausted, text).with(bytes, offset, max_offset)
            }
        }
    }
}

impl From<SealError> for Failure {
    fn from(error: SealError) -> Self {
        match error {
            SealError::AlreadySealed { term, sealed_term } => {
                Failure::new(replcore_status::Fenced, error.to_string()).with(term, 0, sealed_term)
            }
        }
    }
}

impl From<AttachError> for Failure {
    fn from(error: AttachError) -> Self {
        let text = error.to_string();
        match error {
            AttachError::OffsetNotRetained { requested, first, end } => {
                Failure::new(replcore_status::NotRetained, text).with(requested, first, end)
            }
            AttachError::TooManyCursors { limit } => {
                Failure::new(replcore_status::TooManyCursors, text).with(0, 0, limit as u64)
            }
        }
    }
}

impl From<CursorError> for Failure {
    fn from(error: CursorError) -> Self {
        let text = error.to_string();
        match error {
            CursorError::Evicted { offset, lag_bytes } => {
                Failure::new(replcore_status::Evicted, text).with(offset, 0, offset.saturating_add(lag_bytes))
            }
            CursorError::Ended { offset } => Failure::new(replcore_status::Ended, text).with(0, 0, offset),
        }
    }
}

impl From<HandshakeError> for Failure {
    fn from(error: HandshakeError) -> Self {
        Failure::new(replcore_status::Handshake, error.to_string())
    }
}

impl From<ParseReplicationIdError> for Failure {
    fn from(error: ParseReplicationIdError) -> Self {
        Failure::new(replcore_status::Malformed, error.to_string())
    }
}

impl From<Mismatch> for Failure {
    fn from(error: Mismatch) -> Self {
        Failure::new(replcore_status::Mismatch, error.to_string())
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        let errno = error.raw_os_error().map_or(0, i32::unsigned_abs);
        Failure::new(replcore_status::System, error.to_string()).with(errno.into(), 0, 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_a_status_with_its_text() {
        let mut error = replcore_error {
            status: replcore_status::Ok,
            given: 1,
            first: 2,
            last: 3,
            message: [1; REPLCORE_MESSAGE_BYTES],
        };
        let status = guard(&raw mut error, || panic!("on purpose: {}", 7));
        assert_eq!((status, error.status), (replcore_status::Panicked, replcore_status::Panicked));
        let text: Vec<u8> =
            error.message.iter().take_while(|c| **c != 0).map(|c| c.cast_unsigned()).collect();
        assert_eq!(text, b"on purpose: 7");
        assert_eq!(guard(std::ptr::null_mut(), || panic!("nobody listens")), replcore_status::Panicked);
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        let mut target = [1; 4];
        assert_eq!(copy_text("abé", &mut target), 2);
        assert_eq!(target, [97, 98, 0, 1]);
    }
}
