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

use std::fmt;
use std::mem::ManuallyDrop;
use std::ops::Range;
use std::ptr;

use bytes::{Buf, Bytes};

use super::block::{Block, Composite, NO_CONTEXT, Piece, Prior, Record};
use super::error::{AppendError, SealError};
use super::log::{Log, Pools};
use super::reclaim::{Pin, Stale};
use super::segment::{Attempt, Segment};
use super::stats::Counters;
use super::sync::table::{Fault, fault, ord};
use super::sync::{Arc, unwinding};

/// A part that is published only if the predecessor's context differs.
#[derive(Debug)]
struct Conditional {
    context: u64,
    /// How many staged pieces stand before it.
    at_piece: usize,
    /// How many frames of the publication end before it.
    at_frame: usize,
}

/// A writer's private state: its block and the frame it is staging.
#[derive(Debug)]
pub(crate) struct Stage {
    block: *mut Block,
    /// Payload bytes of the block that are taken by published frames.
    used: usize,
    /// Records of the block that are published.
    published: usize,
    /// Lost races not yet added to the shared counter.
    retries: u64,
    /// The pieces of the frame being staged; staged ranges are relative to `used`.
    pieces: Vec<Piece>,
    frame_ends: Vec<u64>,
    /// Staged bytes in the block, and bytes altogether.
    staged: usize,
    len: u64,
    conditional: Option<Conditional>,
    conditional_bytes: Vec<u8>,
    /// The context after the staged bytes, once something has set it.
    context: Option<u64>,
    /// The next bytes may not join the piece before them.
    split: bool,
}

// SAFETY: a stage owns its block as the block's only writer, wherever it is moved.
unsafe impl Send for Stage {}

impl Default for Stage {
    fn default() -> Self {
        Self {
            block: ptr::null_mut(),
            used: 0,
            published: 0,
            retries: 0,
            pieces: Vec::new(),
            frame_ends: Vec::new(),
            staged: 0,
            len: 0,
            conditional: None,
            conditional_bytes: Vec::new(),
            context: None,
            split: false,
        }
    }
}

impl Stage {
    fn block(&self) -> Option<&Block> {
        // SAFETY: the stage owns its block as its writer.
        unsafe { self.block.as_ref() }
    }

    /// Forgets what is staged.
    fn discard(&mut self) {
        self.pieces.clear();
        self.frame_ends.clear();
        self.conditional_bytes.clear();
        (self.staged, self.len, self.conditional, self.context, self.split) = (0, 0, None, None, false);
    }

    /// Leaves the block to its published records. To be called before a stage is dropped.
    pub(crate) fn leave_block(&mut self, pools: &Pools) {
        let block = std::mem::replace(&mut self.block, ptr::null_mut());
        // SAFETY: the stage owned it as its writer until here.
        if let Some(left) = unsafe { block.as_ref() }
            && left.leave(self.published as u64)
        {
            // SAFETY: no record is left in it: it is ours.
            unsafe { pools.release_block(block) };
        }
        Counters::more(&pools.counters.publish_retries, std::mem::take(&mut self.retries));
        (self.used, self.published) = (0, 0);
    }

    /// Takes a fresh block and carries over what is staged: moved if it is short, otherwise made
    /// a shared piece of its own.
    fn change_block(&mut self, log: &Log) {
        let settings = &log.settings;
        let fresh = match log.pools.blocks.take() {
            Some(spare) => {
                // SAFETY: taking it from the pool made it ours alone.
                unsafe { (*spare).reset() };
                spare
            }
            // `build` checked that the size fits.
            None => Block::allocate(settings.block_bytes as u32, settings.block_records),
        };
        Counters::more(&log.pools.counters.blocks_live, 1);
        if let Some(old) = self.block()
            && self.staged > 0
        {
            let from = self.used as u32;
            // SAFETY: these bytes were staged, and are not written while the slice lives.
            let staged = unsafe { old.read(from..from + self.staged as u32) };
            if self.staged <= old.capacity() / 4 {
                // SAFETY: the fresh block is ours and empty.
                unsafe { (*fresh).write(0, staged) };
            } else {
                let shared = Bytes::copy_from_slice(staged);
                for piece in &mut self.pieces {
                    if let Piece::Staged(range) = piece {
                        *piece = Piece::Shared(shared.slice(range.start as usize..range.end as usize));
                    }
                }
                self.staged = 0;
            }
        }
        self.leave_block(&log.pools);
        self.block = fresh;
    }

    fn put_slice(&mut self, bytes: &[u8], log: &Log) {
        if bytes.len() > log.settings.block_bytes / 2 {
            return self.put_bytes(Bytes::copy_from_slice(bytes));
        }
        if bytes.is_empty() {
            return;
        }
        if self.block().is_none_or(|block| self.used + self.staged + bytes.len() > block.capacity()) {
            self.change_block(log);
        }
        let Some(block) = self.block() else { return };
        // SAFETY: the stage is the block's writer; published records end before `used`, and there
        // is room.
        unsafe { block.write(self.used + self.staged, bytes) };
        let (start, end) = (self.staged as u32, (self.staged + bytes.len()) as u32);
        match self.pieces.last_mut() {
            Some(Piece::Staged(range)) if !self.split && range.end == start => range.end = end,
            _ => self.pieces.push(Piece::Staged(start..end)),
        }
        self.split = false;
        self.staged += bytes.len();
        self.len += bytes.len() as u64;
    }

    fn put_bytes(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            self.len += bytes.len() as u64;
            self.pieces.push(Piece::Shared(bytes));
        }
    }

    fn select_context(&mut self, context: u64, bytes: &[u8], log: &Log) {
        match self.context.replace(context) {
            None => {
                self.conditional = Some(Conditional {
                    context,
                    at_piece: self.pieces.len(),
                    at_frame: self.frame_ends.len(),
                });
                self.conditional_bytes.extend_from_slice(bytes);
                self.split = true;
            }
            Some(known) if known == context && context != NO_CONTEXT => {}
            Some(_) => self.put_slice(bytes, log),
        }
    }

    /// The staged bytes as one run, if they are: the common case, which allocates nothing.
    fn single_run(&self) -> Option<Range<u32>> {
        let mut run = 0..0;
        for piece in &self.pieces {
            match piece {
                Piece::Staged(range) if range.start == run.end => run.end = range.end,
                _ => return None,
            }
        }
        (self.frame_ends.len() < 2).then_some(run)
    }

    /// A staged range as it lies in the block.
    fn in_block(&self, range: Range<u32>) -> Range<u32> {
        let base = self.used as u32;
        base + range.start..base + range.end
    }

    /// The record of what is staged, with or without the conditional part.
    fn record(&self, with_conditional: bool) -> Record {
        let after = Prior { end: 0, frames: 0, context: NO_CONTEXT, sealed_term: 0, owes_wake: false };
        let record = Record { start: 0, after, staged: 0..0, composite: None };
        if !with_conditional && let Some(run) = self.single_run() {
            return Record { staged: self.in_block(run), ..record };
        }
        let mut pieces: Vec<Piece> = self
            .pieces
            .iter()
            .map(|piece| match piece {
                Piece::Staged(range) => Piece::Staged(self.in_block(range.clone())),
                Piece::Shared(bytes) => Piece::Shared(bytes.clone()),
            })
            .collect();
        let mut frame_ends = self.frame_ends.clone();
        if with_conditional && let Some(conditional) = &self.conditional {
            let bytes = Bytes::copy_from_slice(&self.conditional_bytes);
            for end in &mut frame_ends[conditional.at_frame..] {
                *end += bytes.len() as u64;
            }
            pieces.insert(conditional.at_piece, Piece::Shared(bytes));
        }
        Record { composite: Some(Box::new(Composite { pieces, frame_ends })), ..record }
    }

    /// Makes sure of a block with room for one more record.
    fn ready_block(&mut self, log: &Log) {
        if self.block().is_none_or(|block| self.published == block.records()) {
            self.change_block(log);
        }
    }

    /// Publishes what is staged: as a frame or a batch of a writer of `term`, or as the seal of
    /// `term`.
    fn publish(&mut self, log: &Log, kind: Kind) -> Result<Range<u64>, AppendError> {
        let conditional = self.conditional.as_ref().map_or(0, |_| self.conditional_bytes.len() as u64);
        let limit_bytes = log.settings.max_frame_bytes;
        let bytes = self.len.saturating_add(conditional);
        if bytes > limit_bytes {
            self.discard();
            return Err(AppendError::FrameTooLarge { bytes, limit_bytes });
        }
        self.ready_block(log);
        // SAFETY: just made ready; the stage owns it as its writer.
        let slot = unsafe { Block::slot(self.block, self.published) };
        // The loop below may run many times; it builds a variant only when that changes.
        let mut with_conditional = false;
        match self.single_run() {
            // SAFETY: the slot is this writer's, and not published.
            Some(run) => unsafe { (*slot).write_run(self.in_block(run)) },
            // SAFETY: as above.
            None => unsafe { (*slot).write(self.record(false)) },
        }
        let mut turned = None;
        let mut first_prior = None;
        let mut retries = 0;
        let result = log.domain.pinned(|pin| {
            let mut segment = log.tail(pin)?;
            let mut awaited = false;
            loop {
                let frontier = segment.frontier();
                if segment.is_closed_at(&frontier) {
                    segment = self.successor(log, segment, pin, &mut turned)?;
                    continue;
                }
                let now = frontier.prior;
                let first = *first_prior.get_or_insert(now);
                let after = match self.decide(&now, &first, kind, log) {
                    Ok(decided) => decided,
                    Err(error) => return Ok(Ended::Unpublished(Err(error))),
                };
                if after.says_nothing_after(&now) {
                    return Ok(Ended::Unpublished(Ok(now.end..now.end)));
                }
                if after.takes_conditional != with_conditional {
                    with_conditional = after.takes_conditional;
                    // SAFETY: the slot is this writer's, and not published.
                    unsafe { (*slot).write(self.record(with_conditional)) };
                }
                let start = if fault(Fault::StaleStart) { first.end } else { now.end };
                let end = start + after.bytes;
                let owed = now.owes_wake && !fault(Fault::ForgetOwed);
                let after = Prior { end, owes_wake: awaited || owed, ..after.prior };
                // SAFETY: as above.
                unsafe {
                    (*slot).update(|record| {
                        (record.start, record.after) = (start, after);
                    });
                }
                match segment.publish(frontier.index, slot, awaited) {
                    Attempt::Done => return Ok(Ended::Published(start..end, after.owes_wake)),
                    Attempt::Empty { awaited: is_awaited } => awaited = is_awaited,
                    Attempt::Lost => {
                        retries += 1;
                        awaited = false;
                    }
                }
            }
        });
        self.retries += retries;
        let (range, owes_wake) = match result {
            Ended::Published(range, owes_wake) => (range, owes_wake),
            Ended::Unpublished(outcome) => {
                // SAFETY: the slot is this writer's, and not published. What it shares goes now, not
                // with the next publication.
                unsafe { (*slot).write_run(0..0) };
                self.discard();
                // Nothing is published, but it linked a segment: nobody else keeps house for that.
                turned.into_iter().for_each(|ordinal| log.turn_over(ordinal));
                return outcome;
            }
        };
        self.used += self.staged;
        self.published += 1;
        self.discard();
        if owes_wake {
            log.wake_all();
            // SAFETY: this stage has not left its block, so the slot is there.
            unsafe { (*slot).woke() };
        }
        if let Some(ordinal) = turned {
            log.turn_over(ordinal);
        }
        Ok(range)
    }

    fn successor<'p>(
        &self,
        log: &Log,
        segment: &'p Segment,
        pin: &'p Pin<'_>,
        turned: &mut Option<u64>,
    ) -> Result<&'p Segment, Stale> {
        // Looked at again with the link in view: what is closed stays closed.
        let frontier = segment.frontier();
        log.successor(segment, &frontier, pin, turned)
    }

    /// What the record is to be, if it follows `now`.
    fn decide(&self, now: &Prior, first: &Prior, kind: Kind, log: &Log) -> Result<Decided, AppendError> {
        let sealed = if fault(Fault::StaleFence) { first.sealed_term } else { now.sealed_term };
        let sealed_term = match kind {
            Kind::Frame { term } | Kind::Seal { term } if term <= sealed => {
                return Err(AppendError::Fenced { term, sealed_term: sealed });
            }
            Kind::Frame { .. } => now.sealed_term,
            Kind::Seal { term } => term,
        };
        let before = if fault(Fault::StaleContext) { first.context } else { now.context };
        let conditional = self
            .conditional
            .as_ref()
            .filter(|conditional| before == NO_CONTEXT || conditional.context != before);
        let bytes = self.len + conditional.map_or(0, |_| self.conditional_bytes.len() as u64);
        let max_offset = log.settings.max_offset;
        if max_offset - now.end < bytes {
            return Err(AppendError::OffsetsExhausted { offset: now.end, bytes, max_offset });
        }
        let frames = match self.frame_ends.len() {
            0 => u64::from(bytes > 0),
            // A conditional part behind the last frame is one of its own.
            ends => ends as u64 + u64::from(conditional.is_some_and(|part| part.at_frame == ends)),
        };
        let prior = Prior {
            end: now.end + bytes,
            frames: now.frames + frames,
            context: self.context.unwrap_or(now.context),
            sealed_term,
            owes_wake: false,
        };
        Ok(Decided { prior, bytes, takes_conditional: conditional.is_some() })
    }
}

/// What is published.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Frame { term: u64 },
    Seal { term: u64 },
}

/// A record as it has to be after a given predecessor.
#[derive(Debug)]
struct Decided {
    prior: Prior,
    bytes: u64,
    takes_conditional: bool,
}

impl Decided {
    /// Whether the stream would be the same without it: no bytes, and neither context nor seal
    /// changes. Such a marker is not published, for nothing ever would trim it.
    fn says_nothing_after(&self, now: &Prior) -> bool {
        self.bytes == 0 && self.prior.context == now.context && self.prior.sealed_term == now.sealed_term
    }
}

/// How an attempt to publish what is staged ended.
#[derive(Debug)]
enum Ended {
    /// At these offsets; true if a wake-up is owed.
    Published(Range<u64>, bool),
    /// It was refused, or there was nothing to say.
    Unpublished(Result<Range<u64>, AppendError>),
}

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
    stage: &'w mut Stage,
    log: &'w Log,
    term: u64,
}

impl StagedFrame<'_> {
    /// Adds bytes, copied.
    pub fn put_slice(&mut self, bytes: &[u8]) {
        if self.within_limit(bytes.len()) {
            self.stage.put_slice(bytes, self.log);
        }
    }

    /// Adds bytes, not copied. The memory they hold on to stays until the frame is trimmed.
    pub fn put_bytes(&mut self, bytes: Bytes) {
        if self.within_limit(bytes.len()) {
            self.stage.put_bytes(bytes);
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
        self.stage.select_context(context, bytes, self.log);
    }

    /// From here on the context is `context`, or unknown, so that the next
    /// [`select_context`](Self::select_context) publishes its bytes whatever it asks for.
    pub fn set_context(&mut self, context: Option<u64>) {
        self.stage.context = Some(context.unwrap_or(NO_CONTEXT));
    }

    /// Ends a frame of a batch; what is added next belongs to the next frame. A frame without
    /// bytes is none.
    pub fn end_frame(&mut self) {
        let stage = &mut self.stage;
        // A conditional part counts as bytes, although it may be left out: it never stands alone.
        if stage.len > stage.frame_ends.last().copied().unwrap_or(0) {
            stage.frame_ends.push(stage.len);
        }
    }

    /// Bytes staged so far, a conditional part apart.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.stage.len
    }

    /// Whether no bytes are staged.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.stage.len == 0
    }

    /// Publishes all of it at once, and returns its offsets. Without bytes it is a marker, which
    /// changes the context and which readers do not see; one that changes nothing takes no place.
    ///
    /// # Errors
    /// See [`AppendError`]. Nothing is published then.
    pub fn publish(mut self) -> Result<Range<u64>, AppendError> {
        if !self.stage.frame_ends.is_empty() {
            self.end_frame();
        }
        self.stage.publish(self.log, Kind::Frame { term: self.term })
    }

    /// Whether so many bytes more keep to the limit; if not they are counted, not kept.
    fn within_limit(&mut self, more: usize) -> bool {
        let stage = &mut self.stage;
        let within = stage.len.saturating_add(more as u64) <= self.log.settings.max_frame_bytes;
        if !within {
            stage.len = stage.len.saturating_add(more as u64);
        }
        within
    }
}

impl Drop for StagedFrame<'_> {
    fn drop(&mut self) {
        self.stage.discard();
    }
}

impl fmt::Debug for StagedFrame<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StagedFrame").field("len", &self.stage.len).finish_non_exhaustive()
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
