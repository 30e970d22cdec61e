//! The face of a frame being staged.

use std::fmt;
use std::ops::Range;

use bytes::{Buf, Bytes};

use super::desk::Desk;
use crate::buffer::error::AppendError;
use crate::buffer::log::Log;
use crate::buffer::segment::NO_CONTEXT;

/// A frame, or a batch of frames, being staged. Dropping it publishes nothing.
///
/// ```
/// # use replcore::buffer::ReplicationBuffer;
/// let buffer = ReplicationBuffer::builder().build()?;
/// let mut writer = buffer.writer();
/// let mut frame = writer.frame();
/// frame.select_context(0, b"SELECT 0\r\n");
/// frame.put_slice(b"SET k v\r\n");
/// assert_eq!(frame.publish()?, 0..19);
/// let mut frame = writer.frame();
/// frame.select_context(0, b"SELECT 0\r\n"); // the predecessor's context is 0: left out
/// frame.put_slice(b"SET k w\r\n");
/// assert_eq!(frame.publish()?, 19..28);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct StagedFrame<'w> {
    desk: &'w mut Desk,
    log: &'w Log,
    term: u64,
}

impl<'w> StagedFrame<'w> {
    pub(super) fn begin(desk: &'w mut Desk, log: &'w Log, term: u64) -> Self {
        desk.begin();
        Self { desk, log, term }
    }

    /// Adds bytes, copied.
    pub fn put_slice(&mut self, bytes: &[u8]) {
        if self.within_limit(bytes.len()) {
            self.desk.stage.put_slice(bytes, self.log);
        }
    }

    /// Adds bytes, not copied. The memory they hold on to stays until the frame is trimmed.
    pub fn put_bytes(&mut self, bytes: Bytes) {
        if self.within_limit(bytes.len()) {
            self.desk.stage.put_bytes(bytes);
        }
    }

    /// Adds what is left in `buf`, copied, and consumes it.
    pub fn put(&mut self, mut buf: impl Buf) {
        while buf.has_remaining() {
            let chunk = buf.chunk();
            let len = chunk.len();
            self.put_slice(chunk);
            buf.advance(len);
        }
    }

    /// From here on the context is `context`. If it is another one where this place comes to stand
    /// in the stream, `bytes` are published here (for instance a `SELECT`).
    ///
    /// # Panics
    /// Never; `u64::MAX` is a context like any other here, except that it is never in force.
    pub fn select_context(&mut self, context: u64, bytes: &[u8]) {
        // Of the same context once more nothing is staged.
        if self.desk.stage.sets(context) || self.within_limit(bytes.len()) {
            self.desk.stage.select_context(context, bytes, self.log);
        } else {
            self.desk.stage.context = Some(context);
        }
    }

    /// From here on the context is `context`, or unknown, so that the next
    /// [`select_context`](Self::select_context) publishes its bytes whatever it asks for.
    pub fn set_context(&mut self, context: Option<u64>) {
        self.desk.stage.context = Some(context.unwrap_or(NO_CONTEXT));
    }

    /// Ends a frame of a batch; what is added next belongs to the next frame. A frame without
    /// bytes is none, and what [`select_context`](Self::select_context) may publish counts as none: it
    /// belongs to the frame behind it.
    pub fn end_frame(&mut self) {
        let stage = &mut self.desk.stage;
        // A conditional part, which may be left out, belongs to what is added behind it; nothing may be.
        if stage.len > stage.frame_ends.last().copied().unwrap_or(0) {
            stage.frame_ends.push(stage.len);
        }
    }

    /// Bytes staged so far, a conditional part apart.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.desk.stage.len
    }

    /// Whether no bytes are staged.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.desk.stage.len == 0
    }

    /// Publishes all of it at once, and returns its offsets. Without bytes it is a marker, which
    /// changes the context and which readers do not see; one that changes nothing takes no place.
    ///
    /// # Errors
    /// See [`AppendError`]. Nothing is published then.
    pub fn publish(mut self) -> Result<Range<u64>, AppendError> {
        if !self.desk.stage.frame_ends.is_empty() {
            self.end_frame();
        }
        self.desk.publish(self.term, self.log)
    }

    /// Whether so many bytes more keep to the limit; if not they are counted, not kept.
    fn within_limit(&mut self, more: usize) -> bool {
        let stage = &mut self.desk.stage;
        let within = stage.len.saturating_add(more as u64) <= self.log.settings.max_frame_bytes;
        if !within {
            stage.len = stage.len.saturating_add(more as u64);
        }
        within
    }
}

impl Drop for StagedFrame<'_> {
    fn drop(&mut self) {
        self.desk.end();
    }
}

impl fmt::Debug for StagedFrame<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StagedFrame").field("len", &self.desk.stage.len).finish_non_exhaustive()
    }
}
