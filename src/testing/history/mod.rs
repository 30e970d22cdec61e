//! What many threads were told by a log, judged when all is over.
//!
//! # How
//!
//! Threads use the log, any log, and each writes down for itself what it did, what it was told and when: the
//! appends, the seals, the bytes and frames that were read, and how far the log reached when somebody looked.
//! The lists go into a [`History`]. [`History::judge`] puts the appends in the order of the offsets that they
//! were told, replays them in that order on the [reference](crate::buffer::reference), and holds everything
//! else against it.
//!
//! Nothing is assumed of the log: not that it is lock-free, not that it has cursors. What is not recorded is
//! not judged.
//!
//! | judged | by |
//! |---|---|
//! | I1 gapless | the offsets told leave neither gap nor overlap, from the base offset on |
//! | I2 prefix | who looked saw the end of a frame, never less than he had seen before; who read to the end has all of it |
//! | I3 one order | every reader has a contiguous piece of one stream, and frames as they were published |
//! | I4 linearizable | each writer's appends stand in program order; an append that had returned stands before one that began later, is seen by who looks later, and nothing is seen before it was begun |
//! | I5 integrity | the bytes between the offsets told are those appended, conditional parts exactly where the context changes |
//! | I10 fence | nothing of a sealed term stands behind its seal, and a seal keeps its place in real time |
//!
//! # Time
//!
//! A time is anything that is ordered: an [`Instant`](std::time::Instant), or a tick of a shared counter. A
//! counter that all threads touch orders them, and may hide a missing ordering of the log; a clock does not.
//!
//! # Example
//!
//! ```
//! use replcore::buffer::ReplicationBuffer;
//! use replcore::testing::history::{Load, Read, record};
//!
//! let buffer = ReplicationBuffer::builder().base_offset(1000).build()?;
//! let append = |_, frame: &bytes::Bytes| buffer.append(frame).expect("there is room");
//! let mut history = record(1000, Load { writers: 3, appends: 100 }, append, || buffer.end_offset());
//!
//! let mut read = Read { reader: 0, from: 1000, bytes: Vec::new(), frames: Some(Vec::new()), to_end: true };
//! let mut cursor = buffer.attach(1000)?;
//! while cursor.refresh()? > 0 {
//!     while let Some((range, bytes)) = cursor.next_frame() {
//!         read.bytes.extend_from_slice(&bytes);
//!         read.frames.get_or_insert_default().push(range);
//!     }
//! }
//! history.reads.push(read);
//! history.judge()?;
//!
//! // The judge is not blind.
//! history.reads[0].bytes[1234] ^= 1;
//! let violation = history.judge().unwrap_err();
//! assert!(violation.to_string().starts_with("I5 integrity: reader 0 has "), "{violation}");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod judge;
mod record;
#[cfg(test)]
mod tests;
mod violation;

use std::ops::Range;

pub use self::record::{Load, record};
pub use self::violation::{Place, SealPlace, Violation};
use super::publication::Publication;

/// An append that returned with offsets. One that was refused published nothing and is not in a history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Append<T> {
    /// Who appended.
    pub writer: u64,
    /// Its place in the writer's program order: the numbers of a writer's appends grow.
    pub number: u64,
    /// The term it was published in, if the writer knows.
    pub term: Option<u64>,
    /// What the writer was told. Empty for a publication without bytes, whose place is known by its times
    /// alone: it must not change the context.
    pub range: Range<u64>,
    /// What it appended.
    pub publication: Publication,
    /// A time before the call.
    pub started: T,
    /// A time after it.
    pub returned: T,
}

/// A seal that was granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seal<T> {
    /// The term that it ends.
    pub term: u64,
    /// Where the stream stood, as the caller was told.
    pub offset: u64,
    /// A time before the call.
    pub started: T,
    /// A time after it.
    pub returned: T,
}

/// What a reader read in one piece.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Read {
    /// Who read.
    pub reader: u64,
    /// The offset of its first byte.
    pub from: u64,
    /// The bytes.
    pub bytes: Vec<u8>,
    /// The frames that it was shown, if it was; all of those from `from` to the end of the bytes.
    pub frames: Option<Vec<Range<u64>>>,
    /// It went on until everything appended was read.
    pub to_end: bool,
}

/// How far the log reached for somebody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look<T> {
    /// Who looked. The looks of a reader are in a history in the order in which it took them.
    pub reader: u64,
    /// The end of what it could have read.
    pub end: u64,
    /// A time before it looked.
    pub started: T,
    /// A time after.
    pub returned: T,
}

/// All that was written down. The order within the lists does not matter, but for the looks of a reader.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History<T> {
    /// Where the stream begins.
    pub base_offset: u64,
    /// What was appended.
    pub appends: Vec<Append<T>>,
    /// What was sealed.
    pub seals: Vec<Seal<T>>,
    /// What was read.
    pub reads: Vec<Read>,
    /// How far the log reached.
    pub looks: Vec<Look<T>>,
}

impl<T: Copy + Ord> History<T> {
    /// A history in which nothing happened yet, of a stream that begins at `base_offset`.
    #[must_use]
    pub fn new(base_offset: u64) -> Self {
        Self { base_offset, appends: Vec::new(), seals: Vec::new(), reads: Vec::new(), looks: Vec::new() }
    }

    /// Finds the first fault.
    ///
    /// # Errors
    /// What is wrong, by the name of the invariant, with both sides.
    pub fn judge(&self) -> Result<(), Violation> {
        judge::judge(self)
    }
}
