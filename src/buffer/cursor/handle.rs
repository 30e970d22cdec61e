//! The cursor itself: its window, how it is extended, and how it moves.

use std::collections::VecDeque;
use std::fmt;
use std::mem::MaybeUninit;

use crate::buffer::config::LAST_TERM;
use crate::buffer::cursor_slot::CursorSlot;
use crate::buffer::error::{AttachError, CursorError};
use crate::buffer::link::Protected;
use crate::buffer::log::Log;
use crate::buffer::payload::{Payload, Place, Publication, Seen};
use crate::buffer::stats::Counters;
use crate::buffer::sync::table::{Fault, fault, ord};
use crate::buffer::sync::{Arc, fence, unwinding};

/// Segments that a cursor holds at most.
#[cfg(not(any(replcore_loom, replcore_fuzz)))]
const WINDOW_SEGMENTS: usize = 16;
#[cfg(any(replcore_loom, replcore_fuzz))]
const WINDOW_SEGMENTS: usize = 2;

/// Visible bytes beyond which a window takes no further segment, so that what a cursor holds after
/// its eviction is bounded by this and one segment.
const WINDOW_BYTES: u64 = 4 << 20;

/// A segment of the window, and how many of its publications the cursor has seen.
#[derive(Debug)]
pub(super) struct View {
    pub(super) payload: Payload,
    pub(super) visible: usize,
}

impl View {
    #[inline]
    pub(super) fn seen(&self) -> Seen<'_> {
        self.payload.seen(self.visible)
    }

    /// Where what the cursor has seen of it ends.
    fn end(&self) -> u64 {
        let segment = self.payload.segment();
        segment.base() + u64::from(segment.word_before(self.visible).end())
    }
}

/// A reader of the stream. `Send`; drop it to let go of what it keeps.
///
/// As a [`Buf`](bytes::Buf) it holds the bytes that the last [`refresh`](Self::refresh) or
/// [`readable`](Self::readable) made visible; `write_vectored` sends them from where they are. Many small
/// frames of several writers are many small pieces: `copy_to_slice` makes them one, in a single pass.
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
    pub(super) log: Arc<Log>,
    slot: *const CursorSlot,
    /// The ordinal in the slot: the first segment of the window.
    pub(super) ordinal: u64,
    pub(super) window: VecDeque<View>,
    /// In the first segment of the window.
    pub(super) place: Place,
    pub(super) offset: u64,
    pub(super) visible_end: u64,
}

// SAFETY: the slot lives as long as the log, and only its cursor owns it, wherever it is moved.
unsafe impl Send for Cursor {}
// SAFETY: `&self` reads only memory that nobody changes, and atomics.
unsafe impl Sync for Cursor {}

impl Cursor {
    pub(crate) fn attach(log: &Arc<Log>, offset: Option<u64>) -> Result<Self, AttachError> {
        let slot = log.slots.reserve()?;
        let registered = Self::register(log, slot, offset);
        let (payload, offset) = registered.inspect_err(|_| slot.release(&log.domain))?;
        let (ordinal, base) = (payload.segment().ordinal(), payload.segment().base());
        let mut cursor = Self {
            log: Arc::clone(log),
            slot,
            ordinal,
            window: VecDeque::from([View { payload, visible: 0 }]),
            place: Place::default(),
            offset: base,
            visible_end: base,
        };
        Counters::more(&log.memory.counters.cursors, 1);
        // The segment holds the offset, so a look at it alone is enough to stand there.
        cursor.look();
        cursor.stand_at(offset);
        Ok(cursor)
    }

    /// Finds the segment, and registers such that it stays.
    fn register(log: &Log, slot: &CursorSlot, requested: Option<u64>) -> Result<(Payload, u64), AttachError> {
        loop {
            let end = log.end().offset;
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
                Ok(Some(Some(Payload::of(segment, &log.memory))))
            });
            match found {
                Some(Some(payload)) => return Ok((payload, offset)),
                // Trimmed between finding and registering: look again. A trim may have seen the slot
                // meanwhile and stopped at it.
                Some(None) => log.trim(),
                // The end moved on, and all that there was is trimmed: ask for the new end.
                None if requested.is_none() => {}
                None => {
                    let (first, end) = (log.first(), log.end().offset);
                    return Err(AttachError::OffsetNotRetained { requested: offset, first, end });
                }
            }
        }
    }

    pub(super) fn slot(&self) -> &CursorSlot {
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
        self.log.end().offset.saturating_sub(self.offset)
    }

    #[cfg(test)]
    pub(crate) fn slot_is_evicted(&self) -> bool {
        self.slot().is_evicted()
    }

    pub(super) fn evicted(&self) -> CursorError {
        CursorError::Evicted { offset: self.offset, lag_bytes: self.lag_bytes() }
    }

    /// Whether nothing can follow what the cursor has seen.
    fn sees_the_end(&self) -> bool {
        self.window.back().is_some_and(|last| {
            let segment = last.payload.segment();
            segment.sealed_term_after(segment.word_before(last.visible)) == LAST_TERM
        })
    }

    /// Makes what is published visible, as far as the window reaches. Returns the visible bytes.
    ///
    /// # Errors
    /// [`CursorError::Evicted`]; bytes that are visible already stay so. [`CursorError::Ended`] when all is
    /// read and nothing can follow.
    pub fn refresh(&mut self) -> Result<usize, CursorError> {
        if self.slot().is_evicted() {
            return Err(self.evicted());
        }
        // A window of markers alone shows nothing: what stands behind it may.
        while self.extend()? && self.visible() == 0 {}
        let visible = self.visible();
        if visible == 0 && self.sees_the_end() {
            return Err(CursorError::Ended { offset: self.offset });
        }
        Ok(visible)
    }

    /// Bytes that are visible and not yet read.
    #[inline]
    pub(super) fn visible(&self) -> usize {
        usize::try_from(self.visible_end - self.offset).unwrap_or(usize::MAX)
    }

    /// Looks at the last segment of the window; says whether it has a successor.
    fn look(&mut self) -> bool {
        let Some(last) = self.window.back_mut() else { return false };
        let segment = last.payload.segment();
        if fault(Fault::ScanBeforeNext) {
            last.visible = segment.filled_from(last.visible);
        }
        // Before the cells: whoever sees the link sees all of the segment's publications.
        let has_next = segment.has_next();
        if !fault(Fault::ScanBeforeNext) {
            last.visible = segment.filled_from(last.visible);
        }
        self.visible_end = last.end();
        has_next
    }

    /// Looks at the window and extends it; says whether there is more than it has room for.
    fn extend(&mut self) -> Result<bool, CursorError> {
        let mut beyond = false;
        while self.look() {
            beyond = self.window.len() >= WINDOW_SEGMENTS || self.visible_end - self.offset >= WINDOW_BYTES;
            if beyond {
                break;
            }
            let Some(payload) = self.follow() else {
                // What became visible stays so: the cursor must not be left standing at a marker.
                self.settle();
                return Err(self.evicted());
            };
            self.window.push_back(View { payload, visible: 0 });
        }
        self.settle();
        Ok(beyond)
    }

    /// The segment after the window, or nothing if the cursor is evicted.
    fn follow(&self) -> Option<Payload> {
        let last = self.window.back()?.payload.segment();
        self.log.domain.pinned(|pin| {
            if self.slot().is_evicted() && !fault(Fault::HopUnlooked) {
                return Ok(None);
            }
            // SAFETY: not evicted under the pin: the chain from the slot's segment on, which is at or
            // before this one, was not retired when the pin began. The reference keeps this one itself.
            let last = unsafe { Protected::assume(last, pin) };
            let next = self.log.next(last)?;
            Ok(next.map(|next| Payload::of(next, &self.log.memory)))
        })
    }

    /// The publication at which the cursor stands, if that is visible.
    #[inline]
    pub(super) fn publication(&self) -> Option<Publication<'_>> {
        let first = self.window.front()?;
        let Place { index, start, .. } = self.place;
        first.seen().publication(index, start)
    }

    /// Leaves publications that are read, and segments whose publications are.
    pub(super) fn settle(&mut self) {
        loop {
            while let Some(publication) = self.publication() {
                if publication.len() > self.place.skip {
                    return;
                }
                self.place = self.place.after(&publication);
            }
            if !self.leave_segment() {
                return;
            }
        }
    }

    /// Leaves the first segment, of which nothing is left to read, for the second; false if there is none.
    #[cold]
    fn leave_segment(&mut self) -> bool {
        let Some(second) = self.window.get(1) else { return false };
        let ordinal = second.payload.segment().ordinal();
        // If it fails, the cursor was evicted: the next refresh says so.
        let _ = self.slot().hop(self.ordinal, ordinal);
        self.window.pop_front();
        self.trim_if_it_held();
        self.ordinal = ordinal;
        self.place = Place::default();
        true
    }

    /// Having left the segment at its ordinal: if the cursor kept it beyond the backlog, it goes
    /// now, not at the next append.
    fn trim_if_it_held(&self) {
        fence(ord::HOP_FENCE());
        if self.ordinal < self.log.floor() && !fault(Fault::LeaveUntrimmed) {
            self.log.trim();
        }
    }

    /// Stands at `offset`, which the first segment holds. If it was trimmed and evicted meanwhile, less may
    /// be visible; the next refresh says so.
    fn stand_at(&mut self, offset: u64) {
        let Some(first) = self.window.front() else { return };
        let segment = first.payload.segment();
        let within = (offset.min(self.visible_end) - segment.base()) as u32;
        let index = segment.cell_behind(within, 0, first.visible);
        let start = segment.word_before(index).end();
        self.place = Place { index, start, skip: within - start };
        self.offset = segment.base() + u64::from(within);
        self.slot().set_read(self.offset);
    }

    /// Passes `n` visible bytes.
    pub(super) fn pass(&mut self, n: usize) {
        debug_assert!(n <= self.visible());
        self.offset += n as u64;
        self.slot().set_read(self.offset);
        while self.window.front().is_some_and(|first| self.offset >= first.end()) && self.leave_segment() {}
        if let Some(first) = self.window.front() {
            let segment = first.payload.segment();
            let within = (self.offset - segment.base()) as u32;
            let index = segment.cell_behind(within, self.place.index, first.visible);
            let start = segment.word_before(index).end();
            self.place = Place { index, start, skip: within - start };
        }
    }

    /// Fills `target` with visible bytes, and passes them. Returns how many: all there is room for, if so
    /// many are visible.
    #[inline]
    pub(super) fn fill(&mut self, target: &mut [MaybeUninit<u8>]) -> usize {
        debug_assert!(target.len() <= self.visible());
        self.offset += target.len() as u64;
        self.slot().set_read(self.offset);
        let mut filled = 0;
        while filled < target.len() {
            let Some(first) = self.window.front() else { return filled };
            filled += first.seen().copy(&mut self.place, &mut target[filled..]);
            if self.place.index == first.visible && !self.leave_segment() {
                return filled;
            }
        }
        self.settle();
        filled
    }
}

impl Drop for Cursor {
    fn drop(&mut self) {
        if unwinding() {
            return;
        }
        self.window.clear();
        Counters::less(&self.log.memory.counters.cursors, 1);
        if !fault(Fault::KeepSlot) {
            self.slot().release(&self.log.domain);
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
