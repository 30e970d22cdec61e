//! The shipped buffer, as the driver takes it.

use std::ops::Range;

use bytes::Buf;

use super::ReplicationLog;
use crate::buffer::{Cursor, CursorLimits, ReplicationBuffer};
use crate::testing::publication::Publication;

/// A [`ReplicationBuffer`] of segments and blocks so small that a few frames cross them.
#[derive(Debug)]
pub struct Shipped(pub ReplicationBuffer);

impl Shipped {
    /// An empty one.
    ///
    /// # Panics
    /// If the base offset is beyond what a buffer takes.
    #[must_use]
    pub fn new(base_offset: u64, backlog_bytes: u64) -> Self {
        let builder = ReplicationBuffer::builder().base_offset(base_offset).backlog_bytes(backlog_bytes);
        let builder = builder.block_bytes(64).segment_frames(2).segment_bytes(60);
        Self(builder.cursor_limits(CursorLimits::UNLIMITED).build().expect("these are within the bounds"))
    }
}

impl ReplicationLog for Shipped {
    type Cursor = Cursor;

    fn append(&mut self, term: u64, publication: &Publication) -> Option<Range<u64>> {
        let mut writer = self.0.writer_of_term(term);
        let mut frame = writer.frame();
        publication.stage(&mut frame);
        frame.publish().ok()
    }

    fn attach(&mut self, offset: u64) -> Option<Cursor> {
        self.0.attach(offset).ok()
    }

    fn read(&mut self, cursor: &mut Cursor, most: usize) -> Vec<u8> {
        let visible = cursor.refresh().unwrap_or(0);
        cursor.copy_to_bytes(most.min(visible)).to_vec()
    }

    fn read_frame(&mut self, cursor: &mut Cursor) -> Option<(Range<u64>, Vec<u8>)> {
        cursor.refresh().ok()?;
        cursor.next_frame().map(|(range, bytes)| (range, bytes.to_vec()))
    }

    fn seal(&mut self, term: u64) -> Option<u64> {
        self.0.seal(term).ok()
    }

    fn set_backlog_bytes(&mut self, bytes: u64) {
        self.0.set_backlog_bytes(bytes);
    }

    fn first_offset(&self) -> u64 {
        self.0.first_offset()
    }

    fn end_offset(&self) -> u64 {
        self.0.end_offset()
    }
}
