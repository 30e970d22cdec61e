//! The replication buffer: one totally ordered byte stream, appended to by any number of threads
//! and read by any number of cursors.
//!
//! # Promise
//! | | |
//! |---|---|
//! | I1 gapless | the first frame starts at the base offset; every frame starts where its predecessor ends |
//! | I2 prefix | if a frame is visible to anyone, so is every frame before it, complete |
//! | I3 one order | every cursor reads a contiguous piece of the same stream |
//! | I4 linearizable | appends take effect in an order that respects real time; per writer it is program order |
//! | I5 integrity | the bytes at `[start, end)` are the bytes appended |
//! | I6 memory | no use after free, no double free, no leak: everything is freed exactly once, after its last user |
//! | I7 retention | an offset in `[first, end]` can be attached; trimming never cuts below the backlog size; outside it the answer is "full resync" |
//! | I8 stall tolerance | a thread that stops for ever, at any of its steps, keeps no other from finishing, hides no published frame, and pins a bounded amount of memory |
//! | I9 wake-up | a waiting cursor is woken by the first append after it looked |
//! | I10 fence | after the seal of term t no frame of a term ≤ t is published; an append either precedes the seal or reports it |
//! | I11 bound | retained payload never exceeds backlog, limits of live cursors, and a constant per writer and cursor; a publication takes about 10 bytes beside its payload |
//!
//! The names stand where each is kept, where it is asserted, and in the model that proves it
//! (`proofs/`).
//!
//! # How
//! A log that reserves bytes and fills them in place hides everything behind one stalled writer.
//! Here a frame is *finished privately, then published with one compare-and-swap*. Before the
//! exchange nothing is shared; after it nothing is owed.
//!
//! * A **frame** is one or more commands that may not be torn apart. A **publication** is a frame, a
//!   batch of frames, or a marker without bytes.
//! * A **segment** is a fixed array of cells, filled from left to right, linked forward. A publication
//!   is one 64-bit **word** in a cell: where it ends, in which of the segment's blocks its bytes lie and
//!   where, which context it leaves, whether it owes a wake-up. It starts where the word before it ends,
//!   so offsets are gapless; and readers need no watermark, because the cells are one.
//! * A **block** is a writer's staging memory: small frames of one writer are contiguous bytes.
//! * A writer **stands** in a segment: it counts on the cells there, so an append that stays takes no pin,
//!   stores no hint and touches one shared line. Readers count on the payload.
//! * A **cursor** reads frames where they were staged, as a [`bytes::Buf`].
//! * A **seal** fences a term: no frame of that term, or an older one, is published after it. The seal of the
//!   last term ends the stream. When no buffer and no writer is left, that is published for the cursors that
//!   are.
//!
//! Read on in this order: `word`, `block`, `segment` (cells, tables, two lifetimes), `writer` (staging, the
//! race for a cell), `cursor`; then `log` (the chain, trimming), `cursor_slot` (limits, wake-ups), `link` and
//! `reclaim` (pins that are types; epochs that a stalled thread cannot hold back), `memory` (what is
//! used again), `copies` (made once for all cursors), `sync` (the shim that lets checkers run this very
//! code). Each imports only from what stands below it:
//!
//! ```text
//! mod ─▶ cursor, writer ─▶ log ─▶ index, cursor_slot ─▶ payload, memory ─▶ segment ─▶ block, word, link ─▶ reclaim ─▶ sync
//! ```
//!
//! # Many writers
//! A table of a segment that is full ends the segment early, so an append always comes to an end as long as
//! the tables are not smaller than the number of threads that append at the same time: each takes one entry
//! of a table before it publishes, and keeps it for its next try.
//!
//! # What is trusted
//! `crossbeam-epoch`'s guarantee, `bytes`' reference counts and `arc-swap` are not modelled; the
//! last is used only where an era begins, and for copies that cursors share.

mod block;
mod config;
mod copies;
mod copy;
mod cursor;
mod cursor_slot;
mod error;
mod index;
mod link;
mod log;
mod memory;
mod payload;
mod pool;
mod reclaim;
pub mod reference;
mod segment;
mod stats;
pub(crate) mod sync;
#[cfg(all(test, not(any(replcore_loom, replcore_fuzz))))]
mod tests;
mod word;
mod writer;

use std::fmt;
use std::ops::Range;
use std::sync::atomic::Ordering;

pub use self::config::{
    Builder, CursorLimits, DEFAULT_BACKLOG_BYTES, DEFAULT_BLOCK_BYTES, DEFAULT_MAX_CURSORS,
    DEFAULT_MAX_FRAME_BYTES, DEFAULT_MAX_UNRECLAIMED_BYTES, DEFAULT_POOLED_FRAME_BYTES,
    DEFAULT_SEGMENT_BLOCKS, DEFAULT_SEGMENT_BYTES, DEFAULT_SEGMENT_CONTEXTS, DEFAULT_SEGMENT_FRAMES,
    LAST_TERM, MAX_FRAME_BYTES, MAX_OFFSET,
};
pub use self::cursor::{Cursor, FrameView};
pub use self::error::{AppendError, AttachError, BuildError, CursorError, SealError};
pub use self::stats::BufferStats;
pub use self::writer::{StagedFrame, Writer};

use self::log::Log;
use self::stats::Counters;
use self::sync::Arc;
use self::sync::table::ord;
use self::writer::Desks;

/// The tables of orderings and faults, and what else of the buffer is for the proofs alone.
#[cfg(any(replcore_loom, replcore_fuzz))]
pub mod model {
    #[cfg(replcore_fuzz)]
    pub use super::sync::table::run_time::restore;
    pub use super::sync::table::run_time::{fault, inject, weaken};
    pub use super::sync::table::{Access, FAULTS, Fault, ORDERINGS, Row};

    /// Evicts every cursor, over a limit or not.
    pub fn evict_all(buffer: &super::ReplicationBuffer) {
        buffer.log.evict_all();
    }
}

/// A replication stream in memory. Cloning gives another handle on the same stream.
///
/// The stream ends when the last handle, [`Writer`]s included, is dropped, or when [`LAST_TERM`] is
/// [sealed](Self::seal): cursors read what there is, and learn that it was all ([`CursorError::Ended`]).
///
/// ```
/// use bytes::Buf;
/// use replcore::buffer::ReplicationBuffer;
///
/// let buffer = ReplicationBuffer::builder().build()?;
/// let mut replica = buffer.attach_at_end()?;
/// std::thread::scope(|scope| {
///     for _ in 0..4 {
///         scope.spawn(|| buffer.writer().append(b"*1\r\n$4\r\nPING\r\n"));
///     }
/// });
/// assert_eq!(replica.refresh()?, 4 * 14);
/// assert!(replica.chunk().starts_with(b"*1\r\n"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct ReplicationBuffer {
    log: Arc<Log>,
    desks: Arc<Desks>,
}

impl Builder {
    /// Makes the buffer.
    ///
    /// # Errors
    /// [`BuildError`] names the setting that is out of its bounds.
    pub fn build(self) -> Result<ReplicationBuffer, BuildError> {
        let settings = self.settings()?;
        let writers = settings.pooled_writers;
        let log = Arc::new(Log::new(settings));
        let desks = Arc::new(Desks::new(writers, &log));
        Ok(ReplicationBuffer { log, desks })
    }
}

impl ReplicationBuffer {
    /// Begins to build a buffer with the default settings.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// A writer of the current term.
    #[must_use]
    pub fn writer(&self) -> Writer {
        self.writer_of_term(self.term())
    }

    /// A writer of the given term.
    #[must_use]
    pub fn writer_of_term(&self, term: u64) -> Writer {
        Writer::new(&self.log, &self.desks, term)
    }

    /// The term of writers made by [`writer`](Self::writer). It starts at 1.
    #[must_use]
    pub fn term(&self) -> u64 {
        self.log.term.load(ord::FIELD_LOAD())
    }

    /// Makes `term` the current one, unless a later one is.
    pub fn begin_term(&self, term: u64) {
        self.log.term.fetch_max(term, ord::COUNTER());
    }

    /// Appends `bytes`, copied, as one frame of the current term, with a writer from a pool.
    /// Returns its offsets.
    ///
    /// # Errors
    /// See [`AppendError`]. Nothing is appended then.
    pub fn append(&self, bytes: &[u8]) -> Result<Range<u64>, AppendError> {
        writer::with_lent(&self.log, &self.desks, |mut frame| {
            frame.put_slice(bytes);
            frame.publish()
        })
    }

    /// Stages and publishes a frame of the current term with a writer from a pool.
    ///
    /// # Errors
    /// See [`AppendError`]. Nothing is appended then.
    pub fn append_with(&self, stage: impl FnOnce(&mut StagedFrame<'_>)) -> Result<Range<u64>, AppendError> {
        writer::with_lent(&self.log, &self.desks, |mut frame| {
            stage(&mut frame);
            frame.publish()
        })
    }

    /// A cursor whose next byte is the one after the first `offset` bytes of the stream: what a
    /// replica asks for by `PSYNC <id> <offset + 1>`.
    ///
    /// # Errors
    /// [`AttachError::OffsetNotRetained`] outside of first to end, both included (I7).
    pub fn attach(&self, offset: u64) -> Result<Cursor, AttachError> {
        Cursor::attach(&self.log, Some(offset))
    }

    /// A cursor that reads what is appended from now on.
    ///
    /// # Errors
    /// [`AttachError::TooManyCursors`].
    pub fn attach_at_end(&self) -> Result<Cursor, AttachError> {
        Cursor::attach(&self.log, None)
    }

    /// The first offset that can be attached.
    #[must_use]
    pub fn first_offset(&self) -> u64 {
        self.log.first()
    }

    /// The end of the stream: the base offset plus all bytes published.
    #[must_use]
    pub fn end_offset(&self) -> u64 {
        self.log.end().offset
    }

    /// So many bytes behind the end stay attachable.
    #[must_use]
    pub fn backlog_bytes(&self) -> u64 {
        self.log.backlog_bytes()
    }

    /// Changes the backlog size, at once. A larger backlog fills as the stream goes on.
    pub fn set_backlog_bytes(&self, bytes: u64) {
        self.log.set_backlog_bytes(bytes);
    }

    /// When a cursor that lags is evicted.
    #[must_use]
    pub fn cursor_limits(&self) -> CursorLimits {
        self.log.limits.load()
    }

    /// Changes the limits; cursors that are over them go when next looked at.
    pub fn set_cursor_limits(&self, limits: CursorLimits) {
        self.log.limits.store(limits);
    }

    /// Evicts the cursors that are over a limit and frees what they pinned. Returns how many.
    ///
    /// Appends do this whenever a segment is full; a timer has to do it for the soft limit of a
    /// stream that pauses. It also releases what was trimmed last, which waits for the next trim otherwise.
    pub fn enforce_limits(&self) -> usize {
        let evicted = self.log.enforce(sync::monotonic_ms());
        if evicted > 0 {
            self.log.trim();
        } else {
            self.log.domain.pump_if_waiting();
        }
        evicted
    }

    /// Seals `term`: no frame of that term, or an older one, is published after (I10). Returns the
    /// offset at which the stream stood then. The seal of [`LAST_TERM`] ends the stream.
    ///
    /// # Errors
    /// [`SealError::AlreadySealed`].
    pub fn seal(&self, term: u64) -> Result<u64, SealError> {
        writer::seal(&self.log, &self.desks, term)
    }

    /// The least offset that an attached cursor has read up to, if there is one.
    #[must_use]
    pub fn slowest_cursor_offset(&self) -> Option<u64> {
        self.log.slots.least_read()
    }

    /// A look at the buffer's numbers.
    #[must_use]
    pub fn stats(&self) -> BufferStats {
        let log = &*self.log;
        let (end, counters, totals) = (log.end(), &log.memory.counters, log.domain.totals());
        let (segments_pooled, blocks_pooled) = log.memory.pooled();
        BufferStats {
            first_offset: log.first(),
            end_offset: end.offset,
            publications: end.publications,
            retained_bytes: log.retained(),
            segments_live: Counters::get(&counters.segments_live),
            segments_pooled,
            blocks_live: Counters::get(&counters.blocks_live),
            blocks_pooled,
            retired: totals.waiting.load(Ordering::Relaxed),
            retired_bytes: totals.waiting_bytes.load(Ordering::Relaxed),
            eras_begun: totals.eras.load(Ordering::Relaxed),
            cursors: log.slots.live() as u64,
            evictions: Counters::get(&counters.evictions),
            publish_retries: Counters::get(&counters.publish_retries),
            sealed_term: end.sealed_term,
        }
    }
}

impl fmt::Debug for ReplicationBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (first, end) = (self.log.first(), self.log.end());
        f.debug_struct("ReplicationBuffer")
            .field("offsets", &(first..end.offset))
            .field("sealed_term", &end.sealed_term)
            .field("cursors", &self.log.slots.live())
            .finish_non_exhaustive()
    }
}

// Handles go wherever their users do.
const _: () = {
    const fn goes_anywhere<T: Send + Sync + Unpin + 'static>() {}
    const fn is_sent<T: Send + Unpin + 'static>() {}
    goes_anywhere::<ReplicationBuffer>();
    goes_anywhere::<Cursor>();
    is_sent::<Writer>();
};
