//! The stream frame by frame.

use std::fmt;
use std::ops::Range;

use bytes::{Bytes, BytesMut};

use super::handle::Cursor;

impl Cursor {
    /// The rest of the frame at which the cursor stands, if one is visible.
    #[must_use]
    pub fn peek_frame(&self) -> Option<FrameView<'_>> {
        let base = self.window.front()?.payload.segment().base();
        let frame = self.publication()?.frame_at(self.place.skip);
        Some(FrameView { cursor: self, range: base + u64::from(frame.start)..base + u64::from(frame.end) })
    }

    /// Reads the rest of the frame at which the cursor stands, copied, with the offsets of the
    /// whole frame. `None` if nothing is visible.
    pub fn next_frame(&mut self) -> Option<(Range<u64>, Bytes)> {
        let frame = self.peek_frame()?;
        let (range, bytes) = (frame.range(), frame.to_bytes());
        self.pass(bytes.len());
        Some((range, bytes))
    }
}

/// A frame as a cursor sees it, from the cursor's offset to the frame's end.
pub struct FrameView<'c> {
    cursor: &'c Cursor,
    range: Range<u64>,
}

impl<'c> FrameView<'c> {
    /// The offsets of the whole frame.
    #[must_use]
    pub fn range(&self) -> Range<u64> {
        self.range.clone()
    }

    /// Bytes from the cursor to the frame's end.
    #[must_use]
    pub fn len(&self) -> usize {
        usize::try_from(self.range.end - self.cursor.offset).unwrap_or(usize::MAX)
    }

    /// Never: a frame has bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Those bytes, run by run, not copied.
    pub fn chunks(&self) -> impl Iterator<Item = &'c [u8]> {
        let mut left = self.len();
        self.cursor.pieces(left).map_while(move |piece| {
            let taken = left.min(piece.len());
            left -= taken;
            (taken > 0).then(|| &piece.bytes()[..taken])
        })
    }

    /// Those bytes, copied.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        let mut bytes = BytesMut::with_capacity(self.len());
        self.chunks().for_each(|chunk| bytes.extend_from_slice(chunk));
        bytes.freeze()
    }
}

impl fmt::Debug for FrameView<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FrameView").field("range", &self.range).finish_non_exhaustive()
    }
}
