//! The C interface (feature `capi`): the buffer, resynchronisation and a part of the effects, for servers that
//! are not written in Rust.
//!
//! # Promise
//! Everything that the Rust face promises, I1 to I11 of [`buffer`](crate::buffer) first, holds across this one:
//! it converts arguments, and decides nothing. Beyond that:
//!
//! * **No call ends the process.** A panic becomes [`Panicked`](replcore_status::Panicked). A null pointer where
//!   none may be, a number out of its bounds, a handle that is in use elsewhere become a status.
//! * **No lost wake-up.** After [`Again`](replcore_status::Again) the descriptor becomes readable, and the callback
//!   is called, as soon as there is something to read, the stream has ended, or the cursor was evicted.
//! * **Nothing is hidden.** What went wrong is in the status, and with its numbers in the [`replcore_error`] that the
//!   caller handed in: no state of a thread, no global. (`arc-swap` keeps a node of 192 bytes for each thread that there
//!   was at the same time, and uses it again.)
//!
//! # Rules for pointers
//! They hold for every function; each function says what differs.
//!
//! 1. A pointer is null, or points to as many properly aligned values of its type as the function says. They are
//!    only used during the call, and belong to the caller.
//! 2. Where null is allowed, it says so: a place for a result that is not wanted, no bytes of length 0, and every
//!    `error`. Elsewhere null gives [`Null`](replcore_status::Null) and nothing is done.
//! 3. A handle (`replcore_buffer`, `_writer`, `_cursor`, `_acks`, `_unit`) comes from the function that makes it, and
//!    belongs to the caller until `_free` returns [`Ok`](replcore_status::Ok). To free null does nothing. To use a
//!    handle that was freed, or one of another type, is what no check here can find.
//! 4. A result is written only on success, unless it says otherwise.
//!
//! # Threads
//! A buffer and acknowledgements are used by any number of threads at the same time. A writer, a cursor and a unit are
//! used by one thread at a time, whichever; a second one is told [`Busy`](replcore_status::Busy), and so is a callback
//! that comes back to the handle whose call it runs in. Plain structures are the caller's to protect. Handles may be freed in any order: a cursor
//! reads on when the buffer is gone, and learns that the stream ended.
//!
//! # How a wake-up by descriptor works
//! The descriptor (an eventfd on Linux, a pipe elsewhere) is *raised*, that is readable, unless the last
//! [`replcore_cursor_poll`] said [`Again`](replcore_status::Again). So it works level-triggered and edge-triggered, and may be asked for at
//! any time:
//!
//! ```text
//! poll:  look ─ something, ended, evicted ───────────────▶ raise, say so
//!          │ nothing; the waker is left (I9)
//!          ▼
//!        lower ─▶ look again ─ something, ended, evicted ─▶ raise, say so
//!                   │ nothing; the waker is left
//!                   ▼
//!                 Again
//! ```
//!
//! A wake-up that came before *lower* was lost by it, but what it told of is seen by the second look; one that comes
//! later raises the descriptor. Only `poll` lowers it; nobody but it reads the descriptor.
//!
//! # What is left out, and why
//! * Of `rewrite`, the families whose outcome is more than a few numbers (streams, stores, geo, lists, sets, sorted sets, hashes): their
//!   outcomes are nested enumerations of borrowed slices, of which each would be a structure with an order of bytes and rules of life
//!   of its own. A unit takes finished commands ([`replcore_unit_push`]), so a server that rewrites those by itself loses nothing.
//! * `Reached`, the future behind `WAIT`: a server in C has its own list of blocked clients.
//!   [`replcore_acks_acknowledge`] says when one of them may go on.
//! * `resync::Link`, the states of a connection, and `SharedHistory`: a structure and a lock of the caller's do it.
//! * Frames one by one: a cursor sends bytes.
//!
//! # Parts
//! | file | subject |
//! |---|---|
//! | `error` | statuses, details, the boundary that no panic passes |
//! | `handle` | pointers: checked, borrowed, freed |
//! | `buffer`, `writer`, `cursor`, `notify` | the stream |
//! | `resync`, `acks` | `PSYNC`, `REPLCONF`, acknowledgements |
//! | `unit` | effects |
//!
//! The header is `include/replcore.h`, which `cbindgen` makes of these files. `cargo cinstall` (`cargo-c`) installs header, static and
//! dynamic library, and a description for `pkg-config`; by hand: `cargo rustc --release --lib --crate-type staticlib
//! --no-default-features --features capi`. `examples/primary.c` is a primary for a real Valkey replica.

// C's names.
#![allow(non_camel_case_types)]
// The contract of every function is the rules for pointers above.
#![allow(clippy::missing_safety_doc)]

mod acks;
mod buffer;
mod cursor;
mod error;
mod handle;
mod notify;
mod resync;
mod unit;
mod writer;

use std::ffi::{c_char, c_void};

pub use self::acks::*;
pub use self::buffer::*;
pub use self::cursor::*;
pub use self::error::{REPLCORE_MESSAGE_BYTES, replcore_error, replcore_status, replcore_strerror};
pub use self::resync::*;
pub use self::unit::*;
pub use self::writer::*;

/// The version of this interface. It changes when a program compiled against an older header would break.
pub const REPLCORE_ABI: u32 = 1;

/// The `REPLCORE_ABI` that the library was built with: compare it with the header's.
#[unsafe(no_mangle)]
pub extern "C" fn replcore_abi() -> u32 {
    REPLCORE_ABI
}

/// The version of the library, as "0.1.0". Never null; it lives as long as the process.
#[unsafe(no_mangle)]
pub extern "C" fn replcore_version() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}

/// POSIX's `struct iovec`, whose fields and order these are.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct iovec {
    /// Null only beside a length of 0.
    pub iov_base: *mut c_void,
    /// In bytes.
    pub iov_len: usize,
}

/// Offsets of the stream: it stands at `start` before the first byte of what was appended, and at `end` behind the last.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct replcore_range {
    /// The first offset.
    pub start: u64,
    /// The offset behind it.
    pub end: u64,
}

impl From<std::ops::Range<u64>> for replcore_range {
    fn from(range: std::ops::Range<u64>) -> Self {
        Self { start: range.start, end: range.end }
    }
}

/// Told that memory, or a context, is not used any more. Called exactly once, from whichever thread lets go of it last;
/// it must not block, nor call this library with a handle that is in use.
pub type replcore_release_fn = Option<unsafe extern "C" fn(context: *mut c_void)>;
