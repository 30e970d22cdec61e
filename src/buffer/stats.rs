//! Numbers for people: what the buffer holds and has done.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counters that are not derived from the stream itself. They order nothing and no decision rests
/// on them, so they are plain Relaxed atomics, invisible to the models.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) segments_live: AtomicU64,
    pub(crate) blocks_live: AtomicU64,
    /// Attached, evicted ones too.
    pub(crate) cursors: AtomicU64,
    pub(crate) evictions: AtomicU64,
    pub(crate) publish_retries: AtomicU64,
}

impl Counters {
    pub(crate) fn more(counter: &AtomicU64, n: u64) {
        counter.fetch_add(n, Ordering::Relaxed);
    }

    pub(crate) fn less(counter: &AtomicU64, n: u64) {
        counter.fetch_sub(n, Ordering::Relaxed);
    }

    /// Adds lost races that a writer counted for itself.
    pub(crate) fn add_retries(&self, retries: &mut u64) {
        if *retries > 0 {
            Self::more(&self.publish_retries, std::mem::take(retries));
        }
    }

    pub(crate) fn get(counter: &AtomicU64) -> u64 {
        counter.load(Ordering::Relaxed)
    }
}

/// A look at a buffer. Each number is right for some moment of the call, not all for the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BufferStats {
    /// The first offset that can be attached.
    pub first_offset: u64,
    /// Bytes published since the base offset, plus that offset.
    pub end_offset: u64,
    /// Publications so far: each is a frame, a batch of them, or a marker without bytes (a change of context,
    /// a seal, an early end of a segment).
    pub publications: u64,
    /// Bytes in memory, for the backlog or for cursors.
    pub retained_bytes: u64,
    /// Segments in the chain, being read, waiting for release, or of which an idle writer keeps the cells.
    pub segments_live: u64,
    /// Spare segments.
    pub segments_pooled: u64,
    /// Blocks with a writer, or with published bytes of a segment in memory.
    pub blocks_live: u64,
    /// Spare blocks.
    pub blocks_pooled: u64,
    /// Objects retired and not yet released.
    pub retired: u64,
    /// Their bytes.
    pub retired_bytes: u64,
    /// Eras begun because a stalled thread held back more than `max_unreclaimed_bytes`.
    pub eras_begun: u64,
    /// Cursors attached and not evicted.
    pub cursors: u64,
    /// Cursors evicted by a limit.
    pub evictions: u64,
    /// Publications that lost a race for a cell and were tried again. A writer adds its own when
    /// it leaves a segment or goes.
    pub publish_retries: u64,
    /// The highest term sealed.
    pub sealed_term: u64,
}
