//! Units straight into the replication buffer: a [`StagedFrame`] receives the pieces of a frame.
//!
//! Databases are the stream's contexts, so the buffer leaves a `SELECT` out where the frame before
//! has the same database.
//!
//! ```
//! use bytes::Bytes;
//! use replcore::buffer::ReplicationBuffer;
//! use replcore::rewrite::{Effects, Propagation, frame};
//!
//! let stream = ReplicationBuffer::builder().build()?;
//! let argv = ["INCR", "k"].map(Bytes::from);
//! let mut effects = Effects::new();
//! effects.push(0, &argv, Propagation::Verbatim);
//! let mut lengths = Vec::new();
//! for _ in 0..2 {
//!     let range = stream.append_with(|staged| frame::write(&effects, staged))?;
//!     lengths.push(range.end - range.start);
//! }
//! assert_eq!(lengths, [23 + 21, 21]); // `SELECT 0` goes ahead of the first one only
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use bytes::Bytes;

use super::frame::FrameSink;
use crate::buffer::StagedFrame;

impl FrameSink for StagedFrame<'_> {
    fn put_slice(&mut self, bytes: &[u8]) {
        StagedFrame::put_slice(self, bytes);
    }

    fn put_bytes(&mut self, bytes: &Bytes) {
        StagedFrame::put_bytes(self, bytes.clone());
    }

    fn select(&mut self, db: u16, select: &[u8]) {
        self.select_context(u64::from(db), select);
    }

    fn set_context(&mut self, db: u16) {
        StagedFrame::set_context(self, Some(u64::from(db)));
    }
}
