//! Does a log do what the sequential reference does?
//!
//! # How
//!
//! [`Refinement::check`] has a log and the [reference](crate::buffer::reference) do the same random
//! operations, one thread, and compares after each: appends of whole frames and batches, cursors that attach
//! anywhere and read in portions or frame by frame, seals, backlogs that change. What has to agree: the
//! offsets told (I1), what every cursor shows, byte by byte and frame by frame (I2, I3, I5), which offsets
//! can be attached (I7), what is fenced (I10). A sequence that tells them apart is made as short as can be.
//!
//! What threads do to each other is the subject of [`history`](crate::testing::history).
//!
//! # A log of one's own
//!
//! ```
//! use std::ops::Range;
//!
//! use replcore::testing::buffer::{Refinement, ReplicationLog, Shape};
//! use replcore::testing::publication::Publication;
//!
//! /// All in one piece of memory, and the frames' ends.
//! #[derive(Default)]
//! struct Plain {
//!     bytes: Vec<u8>,
//!     ends: Vec<u64>,
//!     skips_frames: bool,
//! }
//!
//! impl ReplicationLog for Plain {
//!     type Cursor = u64;
//!
//!     fn append(&mut self, _: u64, publication: &Publication) -> Option<Range<u64>> {
//!         let start = self.bytes.len() as u64;
//!         publication.frames().iter().for_each(|frame| self.bytes.extend(&frame.before));
//!         let end = self.bytes.len() as u64;
//!         self.ends.extend((end > start).then_some(end));
//!         Some(start..end)
//!     }
//!     fn attach(&mut self, offset: u64) -> Option<u64> {
//!         (offset <= self.end_offset()).then_some(offset)
//!     }
//!     fn read(&mut self, cursor: &mut u64, most: usize) -> Vec<u8> {
//!         let rest = &self.bytes[*cursor as usize..];
//!         let read = rest[..most.min(rest.len())].to_vec();
//!         *cursor += read.len() as u64;
//!         read
//!     }
//!     fn read_frame(&mut self, cursor: &mut u64) -> Option<(Range<u64>, Vec<u8>)> {
//!         let next = self.ends.partition_point(|end| end <= cursor) + usize::from(self.skips_frames);
//!         let (end, from) = (*self.ends.get(next)?, *cursor);
//!         *cursor = end;
//!         let start = if next == 0 { 0 } else { self.ends[next - 1] };
//!         Some((start..end, self.bytes[from as usize..end as usize].to_vec()))
//!     }
//!     fn first_offset(&self) -> u64 {
//!         0
//!     }
//!     fn end_offset(&self) -> u64 {
//!         self.bytes.len() as u64
//!     }
//! }
//!
//! let refinement = Refinement::new(Shape::default()).seals(false).sequences(100);
//! refinement.check(|_, _| Plain::default())?;
//!
//! let wrong = refinement.check(|_, _| Plain { skips_frames: true, ..Plain::default() }).unwrap_err();
//! assert!(wrong.to_string().contains("prefix") || wrong.to_string().contains("I3 one order"), "{wrong}");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Piece by piece
//!
//! A test that knows more of its log drives it by itself and asks the [`Model`]: this crate's
//! `tests/buffer_refinement.rs` does, for limits, evictions, wake-ups and memory.

mod driver;
mod model;
mod recipe;
mod shipped;
#[cfg(test)]
mod tests;

use std::ops::Range;

pub use self::driver::{LogCounterexample, Operation, Refinement};
pub use self::model::{Difference, Model};
pub use self::recipe::{Element, Payloads, Shape, elements};
pub use self::shipped::Shipped;
use super::publication::Publication;

/// A log, as one thread drives it.
pub trait ReplicationLog {
    /// What reads.
    type Cursor;

    /// Appends as a writer of `term`. Returns the offsets, or nothing if the term is fenced.
    fn append(&mut self, term: u64, publication: &Publication) -> Option<Range<u64>>;

    /// A cursor whose next byte is the one behind the first `offset` ones, if that is retained.
    fn attach(&mut self, offset: u64) -> Option<Self::Cursor>;

    /// Reads at most so many bytes, and at least one if there is one.
    fn read(&mut self, cursor: &mut Self::Cursor, most: usize) -> Vec<u8>;

    /// Reads the frame in which the cursor stands: its bounds, and its bytes from the cursor on. A log that
    /// knows no frames has [`Refinement::frames`] switched off.
    fn read_frame(&mut self, cursor: &mut Self::Cursor) -> Option<(Range<u64>, Vec<u8>)> {
        let _ = cursor;
        None
    }

    /// Seals a term. Returns where the stream stood, or nothing if that or a later term is sealed. A log
    /// without terms has [`Refinement::seals`] switched off.
    fn seal(&mut self, term: u64) -> Option<u64> {
        let _ = term;
        None
    }

    /// So many bytes behind the end have to stay attachable from now on. A log that keeps everything has
    /// nothing to do.
    fn set_backlog_bytes(&mut self, bytes: u64) {
        let _ = bytes;
    }

    /// The first offset that can be attached.
    fn first_offset(&self) -> u64;

    /// The end of the stream.
    fn end_offset(&self) -> u64;
}
