//! Cursors: zero-copy readers of the stream.
//!
//! # Promise
//! A cursor reads a contiguous piece of the stream, from where it was attached (I3), byte for byte
//! as appended (I5), without copying and without delaying anyone. What it holds is bounded: the
//! segments of its *window*, at most [`WINDOW_SEGMENTS`] and one beyond [`WINDOW_BYTES`], each by a reference. The chain beyond is
//! kept for it by its slot, and that can be revoked.
//!
//! # Algorithm
//! [`refresh`](Cursor::refresh) looks how far the published prefix reaches into the window, and
//! extends the window. To follow a link it pins, looks whether it is evicted, and takes a
//! reference: not evicted under the pin means that the chain from its slot on was not yet retired
//! when the pin began. The link is looked at before the cells, so a segment that has a successor
//! has been seen whole.
//!
//! The frame-wise view is in `frames`, waiting in `wait`.
//!
//! Between refreshes the cursor is a plain [`Buf`] over memory that nobody changes. No pin, lock or
//! guard is held across I/O or `.await`.

mod frames;
mod wait;

pub use frames::FrameView;

use std::collections::VecDeque;
use std::fmt;

use bytes::Buf;

use super::block::Run;
use super::cursor_slot::CursorSlot;
use super::error::{AttachError, CursorError};
use super::log::{Log, SegmentRef};
use super::sync::table::{Fault, fault, ord};
use super::sync::{Arc, fence, unwinding};

/// Segments that a cursor holds at most.
#[cfg(not(any(replcore_loom, replcore_fuzz)))]
const WINDOW_SEGMENTS: usize = 16;
#[cfg(any(replcore_loom, replcore_fuzz))]
const WINDOW_SEGMENTS: usize = 2;

/// Visible bytes beyond which a window takes no further segment, so that what a cursor holds after
/// its eviction is bounded by this and one segment.
const WINDOW_BYTES: u64 = 4 << 20;

/// A segment of the window, and how many of its records the cursor has seen published.
#[derive(Debug)]
struct View {
    segment: SegmentRef,
    visible: usize,
}

/// A reader of the stream. `Send`; drop it to let go of what it keeps.
///
/// As a [`Buf`] it holds the bytes that the last [`refresh`](Self::refresh) or
/// [`readable`](Self::readable) made visible; `write_vectored` sends them from where they are.
///
/// ```
/// # use replcore::buffer::ReplicationBuffer;
/// # use bytes::Buf;
/// let buffer = ReplicationBuffer::builder().build()?;
/// let mut cursor = buffer.attach(0)?;
/// buffer.append(b"frame")?;
/// assert_eq!(cursor.refresh()?, 5);
/// assert_eq!(cursor.chunk(), b"frame");
/// cursor.advance(5);
/// assert_eq!(cursor.offset(), 5);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Cursor {
    log: Arc<Log>,
    slot: *const CursorSlot,
    /// The ordinal in the slot: the first segment of the window.
    ordinal: u64,
    window: VecDeque<View>,
    /// The record at which it stands, in the window's first segment, and the bytes of it consumed.
    record: usize,
    skip: u64,
    offset: u64,
    visible_end: u64,
}

// SAFETY: the slot lives as long as the log, and only its cursor owns it, wherever it is moved.
unsafe impl Send for Cursor {}
// SAFETY: `&self` reads only memory that nobody changes, and atomics.
unsafe impl Sync for Cursor {}

impl Cursor {
    pub(crate) fn attach(log: &Arc<Log>, offset: Option<u64>) -> Result<Self, AttachError> {
        let slot = log.slots.reserve()?;
        let attached = Self::register(log, slot, offset);
        let (segment, offset) = attached.inspect_err(|_| slot.release(log))?;
        let mut cursor = Self {
            log: Arc::clone(log),
            slot,
            ordinal: segment.ordinal(),
            offset: segment.base(),
            visible_end: segment.base(),
            window: VecDeque::from([View { segment, visible: 0 }]),
            record: 0,
            skip: 0,
        };
        // The segment holds the offset, so this shows it; an eviction meanwhile is reported by the
        // next refresh.
        let _ = cursor.refresh();
        cursor.skip_to(offset);
        Ok(cursor)
    }

    /// Finds the segment, and registers such that it stays.
    fn register(
        log: &Log,
        slot: &CursorSlot,
        requested: Option<u64>,
    ) -> Result<(SegmentRef, u64), AttachError> {
        loop {
            let end = log.end().end;
            let offset = requested.unwrap_or(end);
            let found = log.domain.pinned(|pin| {
                let Some(segment) = (if offset > end { None } else { log.find(offset, pin)? }) else {
                    return Ok(None);
                };
                let early = fault(Fault::FloorBeforeSlot).then(|| log.floor());
                slot.register(segment.ordinal(), offset);
                fence(ord::ATTACH_FENCE());
                let floor = early.unwrap_or_else(|| log.floor());
                if floor > segment.ordinal() && !fault(Fault::AttachUnlooked) {
                    slot.withdraw();
                    return Ok(Some(None));
                }
                Ok(Some(Some(log.reference(segment, pin))))
            });
            match found {
                Some(Some(segment)) => return Ok((segment, offset)),
                // Trimmed between finding and registering: look again. A trim may have seen the slot
                // meanwhile and stopped at it.
                Some(None) => log.trim(),
                // The end moved on, and all that there was is trimmed: ask for the new end.
                None if requested.is_none() => {}
                None => {
                    let (first, end) = (log.first(), log.end().end);
                    return Err(AttachError::OffsetNotRetained { requested: offset, first, end });
                }
            }
        }
    }

    fn slot(&self) -> &CursorSlot {
        // SAFETY: slots live as long as the log.
        unsafe { &*self.slot }
    }

    /// The offset of the next byte to read: so many bytes of the stream stand before it.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Bytes published and not yet read.
    #[must_use]
    pub fn lag_bytes(&self) -> u64 {
        self.log.end().end.saturating_sub(self.offset)
    }

    #[cfg(test)]
    pub(crate) fn slot_is_evicted(&self) -> bool {
        self.slot().is_evicted()
    }

    fn evicted(&self) -> CursorError {
        CursorError::Evicted { offset: self.offset, lag_bytes: self.lag_bytes() }
    }

    /// Makes what is published visible, as far as the window reaches. Returns the visible bytes.
    ///
    /// # Errors
    /// [`CursorError::Evicted`]; bytes that are visible already stay so.
    pub fn refresh(&mut self) -> Result<usize, CursorError> {
        if self.slot().is_evicted() {
            return Err(self.evicted());
        }
        // A window of markers alone shows nothing: what stands behind it may.
        while self.extend()? && self.remaining() == 0 {}
        Ok(self.remaining())
    }

    /// Looks at the window and extends it; says whether there is more than it has room for.
    fn extend(&mut self) -> Result<bool, CursorError> {
        let mut beyond = false;
        while let Some(last) = self.window.back_mut() {
            let scan = |last: &mut View| last.visible += last.segment.published_from(last.visible);
            if fault(Fault::ScanBeforeNext) {
                scan(last);
            }
            // Before the cells: whoever sees the link sees all of the segment's records.
            let has_next = !last.segment.next().is_null();
            if !fault(Fault::ScanBeforeNext) {
                scan(last);
            }
            self.visible_end = last.segment.prior(last.visible).end;
            let full = self.window.len() >= WINDOW_SEGMENTS || self.visible_end - self.offset >= WINDOW_BYTES;
            beyond = has_next && full;
            if !has_next || beyond {
                break;
            }
            let next = self.follow();
            let Some(segment) = next else {
                // What became visible stays so: the cursor must not be left standing at a marker.
                self.settle();
                return Err(self.evicted());
            };
            self.window.push_back(View { segment, visible: 0 });
        }
        self.settle();
        Ok(beyond)
    }

    /// The segment after the window, or nothing if the cursor is evicted.
    fn follow(&self) -> Option<SegmentRef> {
        let last = self.window.back()?;
        self.log.domain.pinned(|pin| {
            if self.slot().is_evicted() && !fault(Fault::HopUnlooked) {
                return Ok(None);
            }
            let next = self.log.next(&last.segment, pin)?;
            Ok(next.map(|next| self.log.reference(next, pin)))
        })
    }

    /// Leaves records that are consumed, and segments whose records are.
    fn settle(&mut self) {
        while let Some(first) = self.window.front() {
            if self.record < first.visible {
                let Some(record) = first.segment.record(self.record) else { return };
                if record.len() > self.skip {
                    return;
                }
                self.record += 1;
                self.skip = 0;
            } else if let Some(second) = self.window.get(1) {
                let ordinal = second.segment.ordinal();
                // If it fails, the cursor was evicted: the next refresh says so.
                let _ = self.slot().hop(self.ordinal, ordinal);
                self.window.pop_front();
                self.trim_if_it_held();
                (self.ordinal, self.record) = (ordinal, 0);
            } else {
                return;
            }
        }
    }

    /// Having left the segment at its ordinal: if the cursor kept it beyond the backlog, it goes
    /// now, not at the next append.
    fn trim_if_it_held(&self) {
        fence(ord::HOP_FENCE());
        if self.ordinal < self.log.floor() && !fault(Fault::LeaveUntrimmed) {
            self.log.trim();
        }
    }

    /// Moves to `offset`, which is in the window, at or after the present one.
    fn skip_to(&mut self, offset: u64) {
        // If it was evicted meanwhile, less may be visible; the next refresh says so.
        self.consume(offset.min(self.visible_end).saturating_sub(self.offset));
    }

    fn consume(&mut self, mut n: u64) {
        debug_assert!(n <= self.visible_end - self.offset);
        self.offset += n;
        self.slot().set_read(self.offset);
        while n > 0 {
            let Some(first) = self.window.front() else { return };
            let Some(record) =
                (self.record < first.visible).then(|| first.segment.record(self.record)).flatten()
            else {
                return;
            };
            let step = n.min(record.len() - self.skip);
            self.skip += step;
            n -= step;
            self.settle();
        }
    }

    /// The runs of bytes from the cursor to the end of what is visible, record by record.
    fn pieces(&self) -> impl Iterator<Item = Run<'_>> {
        let mut skip = usize::try_from(self.skip).unwrap_or(usize::MAX);
        let mut from = self.record;
        self.window
            .iter()
            .flat_map(move |view| {
                let from = std::mem::take(&mut from);
                (from..view.visible).filter_map(|index| view.segment.record(index))
            })
            .flat_map(|record| (0..record.piece_count()).map(move |index| record.run(index)))
            .filter_map(move |run| {
                let skipped = skip.min(run.len());
                skip -= skipped;
                (skipped < run.len()).then(|| run.skip(skipped))
            })
    }

    /// As [`pieces`](Self::pieces), neighbours in memory joined.
    fn runs(&self) -> impl Iterator<Item = &[u8]> {
        let mut pieces = self.pieces().peekable();
        std::iter::from_fn(move || {
            let mut run = pieces.next()?;
            while pieces.next_if(|next| run.join(next)).is_some() {}
            Some(run.bytes())
        })
    }
}

impl Buf for Cursor {
    fn remaining(&self) -> usize {
        usize::try_from(self.visible_end - self.offset).unwrap_or(usize::MAX)
    }

    fn chunk(&self) -> &[u8] {
        self.runs().next().unwrap_or_default()
    }

    fn chunks_vectored<'a>(&'a self, dst: &mut [std::io::IoSlice<'a>]) -> usize {
        dst.iter_mut().zip(self.runs()).map(|(slot, run)| *slot = std::io::IoSlice::new(run)).count()
    }

    /// # Panics
    /// If `n` is more than [`remaining`](Buf::remaining), as `Buf` demands.
    fn advance(&mut self, n: usize) {
        assert!(n <= self.remaining(), "cannot advance {n} bytes: {} are visible", self.remaining());
        self.consume(n as u64);
    }
}

impl Drop for Cursor {
    fn drop(&mut self) {
        if unwinding() {
            return;
        }
        self.window.clear();
        if !fault(Fault::KeepSlot) {
            self.slot().release(&self.log);
        }
        self.trim_if_it_held();
    }
}

impl fmt::Debug for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cursor")
            .field("offset", &self.offset)
            .field("visible_end", &self.visible_end)
            .finish_non_exhaustive()
    }
}
