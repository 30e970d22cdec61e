//! Writers: frames finished in private, then published by one compare-and-swap.
//!
//! # Promise
//! Staging touches no shared memory. [`StagedFrame::publish`] makes the whole frame visible at
//! once, or nothing of it. A writer that stops for ever, at any step, delays nobody (I8).
//!
//! # Algorithm
//! ```text
//! stage the bytes in the writer's own block
//! loop
//!   (segment, i) = first empty cell, from the tail on
//!   prior = what the stream has come to with cell i - 1     always published
//!   refuse if the writer's term is sealed, or the offsets end
//!   record.start = prior.end; take the conditional part if prior.context differs
//!   if cells[i].compare_exchange(null, record) succeeds: done
//!   else another writer published: it made progress; start over
//! ```
//! All that depends on the order of the stream is decided inside the loop, while the record is
//! private: offset, conditional part, fence, and whether a wake-up is owed.
//!
//! A cell for which a cursor waits is marked. The writer that fills it owes a wake-up and says so
//! in its record before it publishes; the next writer that finds the debt unpaid takes it over, so
//! a writer stopped between publishing and waking does not leave a cursor asleep.
//!
//! Staging is in `stage`, the loop in `publish`, the face of a frame in `frame`.

mod frame;
mod publish;
mod stage;

pub use frame::StagedFrame;
pub(crate) use stage::Stage;

use std::fmt;
use std::mem::ManuallyDrop;
use std::ops::Range;

use bytes::Bytes;

use self::publish::Kind;
use super::error::{AppendError, SealError};
use super::log::Log;
use super::sync::table::ord;
use super::sync::{Arc, unwinding};

/// Appends frames to a buffer. One per thread or task; `Send`, cheap to make.
///
/// A writer belongs to a *term*; once that is [sealed](super::ReplicationBuffer::seal), it appends
/// nothing more (I10).
///
/// A writer that goes leaves the rest of its block to the next one: many short-lived writers, one
/// after the other, take no more memory than one.
pub struct Writer {
    log: Arc<Log>,
    /// Given back when the writer is dropped.
    stage: ManuallyDrop<Box<Stage>>,
    term: u64,
}

impl Writer {
    pub(crate) fn new(log: &Arc<Log>, term: u64) -> Self {
        Self { log: Arc::clone(log), stage: ManuallyDrop::default(), term }
    }

    /// The term it writes in.
    pub fn term(&self) -> u64 {
        self.term
    }

    /// Begins a frame, staged in private.
    pub fn frame(&mut self) -> StagedFrame<'_> {
        self.stage.discard();
        if self.stage.block.is_null() {
            **self.stage = *self.log.take_stage();
        }
        StagedFrame { stage: &mut self.stage, log: &self.log, term: self.term }
    }

    /// Appends `bytes`, copied, as one frame. Returns its offsets.
    ///
    /// # Errors
    /// See [`AppendError`]. Nothing is appended then.
    pub fn append(&mut self, bytes: &[u8]) -> Result<Range<u64>, AppendError> {
        let mut frame = self.frame();
        frame.put_slice(bytes);
        frame.publish()
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
        self.log.put_stage(unsafe { ManuallyDrop::take(&mut self.stage) });
    }
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").field("term", &self.term).finish_non_exhaustive()
    }
}

impl Log {
    /// A stage for a writer: one from the pool, with what is left of its block, or a new one.
    fn take_stage(&self) -> Box<Stage> {
        match self.pools.stages.take() {
            // SAFETY: taking it from the pool made it ours alone.
            Some(spare) => unsafe { Box::from_raw(spare) },
            None => Box::default(),
        }
    }

    /// Takes a stage back. Its block is left to the next writer, so that writers which come and go
    /// do not each pin a block for the few bytes they appended (I11).
    fn put_stage(&self, mut stage: Box<Stage>) {
        stage.discard();
        if stage.block.is_null() {
            return;
        }
        // SAFETY: just made by `Box::into_raw`, and ours.
        if let Err(stage) = unsafe { self.pools.stages.put(Box::into_raw(stage)) } {
            // SAFETY: it found no place, and is still ours.
            unsafe { Box::from_raw(stage) }.leave_block(&self.pools);
        }
    }

    /// Lends a writer of the current term for one publication.
    pub(crate) fn with_pooled<R>(&self, publish: impl FnOnce(StagedFrame<'_>) -> R) -> R {
        let mut lent = Lent { stage: ManuallyDrop::new(self.take_stage()), log: self };
        let term = self.term.load(ord::FIELD_LOAD());
        publish(StagedFrame { stage: &mut lent.stage, log: self, term })
    }

    /// Publishes the seal of `term`; returns its offset.
    pub(crate) fn seal(&self, term: u64) -> Result<u64, SealError> {
        let mut lent = Lent { stage: ManuallyDrop::new(self.take_stage()), log: self };
        let sealed = lent.stage.publish(self, Kind::Seal { term });
        drop(lent);
        match sealed {
            Ok(range) => Ok(range.start),
            Err(AppendError::Fenced { term, sealed_term }) => {
                Err(SealError::AlreadySealed { term, sealed_term })
            }
            // A seal has no bytes: no limit of length or offsets applies to it.
            Err(_) => Err(SealError::AlreadySealed { term, sealed_term: term }),
        }
    }
}

/// A stage on loan. It goes back even if the caller's code panics: its block counts on it.
struct Lent<'l> {
    /// Given back when the loan ends.
    stage: ManuallyDrop<Box<Stage>>,
    log: &'l Log,
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        if unwinding() {
            return;
        }
        // SAFETY: taken once, here.
        self.log.put_stage(unsafe { ManuallyDrop::take(&mut self.stage) });
    }
}
