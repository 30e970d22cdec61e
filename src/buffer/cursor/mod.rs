//! Cursors: zero-copy readers of the stream.
//!
//! # Promise
//! A cursor reads a contiguous piece of the stream, from where it was attached (I3), byte for byte
//! as appended (I5), without copying and without delaying anyone. What it holds is bounded: the segments of
//! its *window*, at most 16 and one beyond 4 MiB of payload, each by a reference. The chain beyond is kept
//! for it by its slot, and that can be revoked.
//!
//! # Algorithm
//! [`refresh`](Cursor::refresh) looks how far the published prefix reaches into the window, and
//! extends the window. To follow a link it pins, looks whether it is evicted, and takes a
//! reference: not evicted under the pin means that the chain from its slot on was not yet retired
//! when the pin began. The link is looked at before the cells, so a segment that has a successor
//! has been seen whole.
//!
//! Between refreshes the cursor is a plain [`Buf`](bytes::Buf) over memory that nobody changes. No pin, lock
//! or guard is held across I/O or `.await`.
//!
//! Small frames of several writers are small pieces. [`next_copy`](Cursor::next_copy) makes them one, once
//! for all cursors ([`copies`](super::copies)).
//!
//! The window stands in [`handle`], reading in [`read`], the frame-wise view in [`frames`], waiting in
//! [`wait`].

mod frames;
mod handle;
mod read;
mod wait;

pub use frames::FrameView;
pub use handle::Cursor;
