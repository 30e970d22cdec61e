//! The face of a writer, and what is done with one on loan.

use std::fmt;
use std::mem::ManuallyDrop;
use std::ops::Range;

use bytes::Bytes;

use super::desk::{Desk, Desks};
use super::frame::StagedFrame;
use crate::buffer::error::{AppendError, SealError};
use crate::buffer::log::Log;
use crate::buffer::sync::table::ord;
use crate::buffer::sync::{Arc, unwinding};

/// Appends frames to a buffer. One per thread or task; `Send`, cheap to make.
///
/// A writer belongs to a *term*; once that is [sealed](super::super::ReplicationBuffer::seal), it appends
/// nothing more (I10).
///
/// A writer that goes leaves the rest of its block to the next one: many short-lived writers, one
/// after the other, take no more memory than one. A writer that idles keeps that block and the cells of
/// the segment it appended to last, whatever else was in it.
pub struct Writer {
    log: Arc<Log>,
    desks: Arc<Desks>,
    /// Given back when the writer is dropped.
    desk: ManuallyDrop<Box<Desk>>,
    term: u64,
}

impl Writer {
    pub(crate) fn new(log: &Arc<Log>, desks: &Arc<Desks>, term: u64) -> Self {
        let desk = ManuallyDrop::new(desks.take());
        Self { log: Arc::clone(log), desks: Arc::clone(desks), desk, term }
    }

    /// The term it writes in.
    pub fn term(&self) -> u64 {
        self.term
    }

    /// Begins a frame, staged in private.
    pub fn frame(&mut self) -> StagedFrame<'_> {
        StagedFrame::begin(&mut self.desk, &self.log, self.term)
    }

    /// Appends `bytes`, copied, as one frame. Returns its offsets.
    ///
    /// # Errors
    /// See [`AppendError`]. Nothing is appended then.
    #[inline]
    pub fn append(&mut self, bytes: &[u8]) -> Result<Range<u64>, AppendError> {
        self.desk.append(bytes, self.term, &self.log)
    }

    /// Appends several parts, copied, as one frame. Returns its offsets.
    ///
    /// # Errors
    /// See [`AppendError`]. Nothing is appended then.
    pub fn append_parts(&mut self, parts: &[&[u8]]) -> Result<Range<u64>, AppendError> {
        let mut frame = self.frame();
        for part in parts {
            frame.put_slice(part);
        }
        frame.publish()
    }

    /// Appends `bytes`, not copied, as one frame. Returns its offsets. The memory that `bytes`
    /// holds on to stays until the frame is trimmed.
    ///
    /// # Errors
    /// See [`AppendError`]. Nothing is appended then.
    pub fn append_bytes(&mut self, bytes: Bytes) -> Result<Range<u64>, AppendError> {
        let mut frame = self.frame();
        frame.put_bytes(bytes);
        frame.publish()
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if unwinding() {
            return;
        }
        // SAFETY: taken once, here.
        self.desks.put(unsafe { ManuallyDrop::take(&mut self.desk) });
    }
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").field("term", &self.term).finish_non_exhaustive()
    }
}

/// Lends a writer of the current term for one frame.
pub(crate) fn with_lent<R>(log: &Log, desks: &Desks, stage: impl FnOnce(StagedFrame<'_>) -> R) -> R {
    let mut lent = desks.lend();
    stage(StagedFrame::begin(&mut lent.desk, log, log.term.load(ord::FIELD_LOAD())))
}

/// Publishes the seal of `term`; returns its offset.
pub(crate) fn seal(log: &Log, desks: &Desks, term: u64) -> Result<u64, SealError> {
    desks.lend().desk.seal(term, log).map_err(|error| match error {
        AppendError::Fenced { term, sealed_term } => SealError::AlreadySealed { term, sealed_term },
        // A seal has no bytes: no limit of length or offsets applies to it.
        _ => SealError::AlreadySealed { term, sealed_term: term },
    })
}
