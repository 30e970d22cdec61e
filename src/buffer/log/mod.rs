//! The chain of segments and what moves along it: tail, backlog, head, index.
//!
//! # Promise
//! `head ≤ backlog ≤ tail` at all times. What stands from `head` on is in memory; an offset at or
//! after `backlog` can be attached (I7). Every step is finished by whoever comes next if the
//! thread that began it stops (I8).
//!
//! # Trimming
//! 1. The backlog pointer moves forward as long as `backlog_bytes` stay behind the last segment's
//!    base. The *floor* is its ordinal, raised after it.
//! 2. A fence, then a scan of all cursors' slots: each tells the ordinal it may still read.
//! 3. The head moves up to the least of floor and slots, and each segment it leaves is retired.
//!
//! A cursor that attaches does it the other way round: it writes its slot, passes a fence, and
//! looks at the floor. Either the scan of step 2 sees the slot or the cursor sees the floor (store
//! buffering, both sides fenced), so no segment goes that an attached cursor may read.
//!
//! A cursor does not hold the chain behind it, only the segments that it reads at the moment, each
//! by a reference. So evicting one is writing its slot, whatever its thread is doing: the chain it
//! pinned goes at once, and what it borrows goes when it lets go.
//!
//! The index by offset is in `index`, counted references and pools in `reference`.

mod index;
mod reference;

use std::ops::ControlFlow;
use std::ptr;

pub(crate) use self::reference::{Pools, SegmentRef, SendPtr};

use self::index::{INDEX_STRIDE, Index, free_index};
use self::reference::drop_reference;
use super::block::{NO_CONTEXT, Prior};
use super::config::{CursorLimits, Settings};
use super::cursor_slot::{CursorSlot, CursorSlots};
use super::pool::Pool;
use super::reclaim::{Domain, Pin, Stale};
use super::segment::{Frontier, Header, Segment};
use super::stats::Counters;
use super::sync::table::{Fault, fault, ord};
use super::sync::{AtomicPtr, AtomicU64, fence, monotonic_ms, unwinding};

/// All that the handles of one buffer share.
#[derive(Debug)]
pub(crate) struct Log {
    head: AtomicPtr<Segment>,
    backlog: AtomicPtr<Segment>,
    /// A hint: at or before the segment in which the next record goes.
    tail: AtomicPtr<Segment>,
    /// Ordinal below which nothing can be attached any more.
    floor: AtomicU64,
    index: AtomicPtr<Index>,
    backlog_bytes: AtomicU64,
    pub(crate) limits: super::config::SharedLimits,
    pub(crate) slots: CursorSlots,
    pub(crate) domain: Domain,
    pub(crate) settings: Settings,
    /// The term of writers made from now on.
    pub(crate) term: AtomicU64,
    pub(crate) pools: std::sync::Arc<Pools>,
}

// SAFETY: the raw pointers are shared under the rules of `reclaim` and of reference counts.
unsafe impl Send for Log {}
// SAFETY: as above.
unsafe impl Sync for Log {}

impl Log {
    pub(crate) fn new(settings: Settings) -> Self {
        let pools = std::sync::Arc::new(Pools {
            blocks: Pool::new(settings.pooled_blocks),
            segments: Pool::new(settings.pooled_segments),
            stages: Pool::new(settings.pooled_writers),
            counters: Counters::default(),
        });
        let domain = Domain::new(settings.max_unreclaimed_bytes);
        let opening = Prior {
            end: settings.base_offset,
            frames: 0,
            context: NO_CONTEXT,
            sealed_term: 0,
            owes_wake: false,
        };
        let header =
            Header { ordinal: 0, opening, limit_bytes: settings.segment_bytes, birth: domain.birth() };
        let first = Segment::allocate(settings.segment_frames, header);
        Counters::more(&pools.counters.segments_live, 1);
        Self {
            head: AtomicPtr::new(first),
            backlog: AtomicPtr::new(first),
            tail: AtomicPtr::new(first),
            floor: AtomicU64::new(0),
            index: AtomicPtr::new(ptr::null_mut()),
            backlog_bytes: AtomicU64::new(settings.backlog_bytes),
            limits: super::config::SharedLimits::new(settings.cursor_limits),
            slots: CursorSlots::new(settings.max_cursors),
            term: AtomicU64::new(1),
            domain,
            settings,
            pools,
        }
    }

    /// The segment the tail points at; at or before the frontier.
    pub(crate) fn tail<'p>(&self, pin: &'p Pin<'_>) -> Result<&'p Segment, Stale> {
        let tail = pin.protect(|| self.tail.load(ord::TAIL_LOAD()))?;
        // SAFETY: protected by the pin; the tail is never null and never behind the head.
        Ok(unsafe { &*tail })
    }

    /// The successor of `segment`, if there is one; moves the tail along.
    pub(crate) fn next<'p>(&self, segment: &Segment, pin: &'p Pin<'_>) -> Result<Option<&'p Segment>, Stale> {
        let next = pin.protect(|| segment.next())?;
        // SAFETY: protected by the pin: it comes after a segment that the pin protects or that a
        // reference and a live slot keep in the chain.
        let next = unsafe { next.as_ref() };
        if let Some(next) = next {
            self.move_tail(segment, next);
        }
        Ok(next)
    }

    fn move_tail(&self, from: &Segment, to: &Segment) {
        let (from, to) = (ptr::from_ref(from).cast_mut(), ptr::from_ref(to).cast_mut());
        // If it fails, somebody moved it here or further.
        let _ = self.tail.compare_exchange(from, to, ord::TAIL_MOVE(), ord::TAIL_LOAD());
    }

    /// The successor of a segment that is closed at `frontier`. If this thread linked it, `turned`
    /// says its ordinal, stale or not: it has the housekeeping to do once it has let the pin go.
    pub(crate) fn successor<'p>(
        &self,
        segment: &Segment,
        frontier: &Frontier,
        pin: &'p Pin<'_>,
        turned: &mut Option<u64>,
    ) -> Result<&'p Segment, Stale> {
        if let Some(next) = self.next(segment, pin)? {
            return Ok(next);
        }
        let header = Header {
            ordinal: segment.ordinal() + 1,
            opening: frontier.prior,
            limit_bytes: self.settings.segment_bytes,
            birth: self.domain.birth(),
        };
        let fresh = self.new_segment(header);
        match segment.link(fresh) {
            Ok(()) => *turned = Some(header.ordinal),
            Err(_winner) if fault(Fault::LeakLoser) => {}
            // SAFETY: it was never shared.
            Err(_winner) => unsafe { drop_reference(fresh, &self.pools) },
        }
        // A link is never taken back, so there is one.
        self.next(segment, pin)?.ok_or(Stale)
    }

    fn new_segment(&self, header: Header) -> *mut Segment {
        Counters::more(&self.pools.counters.segments_live, 1);
        match self.pools.segments.take() {
            Some(spare) => {
                // SAFETY: taking it from the pool made it ours alone.
                unsafe { (*spare).reset(header) };
                spare
            }
            None => Segment::allocate(self.settings.segment_frames, header),
        }
    }

    /// The segment and the place in it where the stream ended when looked at.
    pub(crate) fn frontier<'p>(&self, pin: &'p Pin<'_>) -> Result<(&'p Segment, Frontier), Stale> {
        let mut segment = self.tail(pin)?;
        loop {
            let frontier = segment.frontier();
            if !segment.is_closed_at(&frontier) {
                return Ok((segment, frontier));
            }
            match self.next(segment, pin)? {
                Some(next) => segment = next,
                None => return Ok((segment, frontier)),
            }
        }
    }

    /// The stream as the next record would find it.
    pub(crate) fn end(&self) -> Prior {
        self.domain.pinned(|pin| Ok(self.frontier(pin)?.1.prior))
    }

    /// The first offset that can be attached.
    pub(crate) fn first(&self) -> u64 {
        self.domain.pinned(|pin| Ok(self.backlog(pin)?.base()))
    }

    fn backlog<'p>(&self, pin: &'p Pin<'_>) -> Result<&'p Segment, Stale> {
        let backlog = pin.protect(|| self.backlog.load(ord::BACKLOG_LOAD()))?;
        // SAFETY: protected by the pin; the head never passes it.
        Ok(unsafe { &*backlog })
    }

    fn head<'p>(&self, pin: &'p Pin<'_>) -> Result<&'p Segment, Stale> {
        let head = pin.protect(|| self.head.load(ord::HEAD_LOAD()))?;
        // SAFETY: protected by the pin.
        Ok(unsafe { &*head })
    }

    pub(crate) fn backlog_bytes(&self) -> u64 {
        self.backlog_bytes.load(ord::FIELD_LOAD())
    }

    pub(crate) fn set_backlog_bytes(&self, bytes: u64) {
        self.backlog_bytes.store(bytes, ord::FIELD_STORE());
        self.trim();
    }

    /// The floor as a new cursor has to see it.
    pub(crate) fn floor(&self) -> u64 {
        self.floor.load(ord::FLOOR_LOAD())
    }

    /// The last segment whose base is at or before `offset`, which lies between first and end.
    pub(crate) fn find<'p>(&self, offset: u64, pin: &'p Pin<'_>) -> Result<Option<&'p Segment>, Stale> {
        let backlog = self.backlog(pin)?;
        if offset < backlog.base() {
            return Ok(None);
        }
        let mut segment = self.indexed(offset, backlog.ordinal(), pin)?.unwrap_or(backlog);
        while let Some(next) = self.next(segment, pin)? {
            if next.base() > offset {
                break;
            }
            segment = next;
        }
        Ok(Some(segment))
    }

    /// What the thread that linked `ordinal` does after its own publication.
    pub(crate) fn turn_over(&self, ordinal: u64) {
        if ordinal.is_multiple_of(INDEX_STRIDE) {
            self.domain.pinned(|pin| {
                let (segment, _) = self.frontier(pin)?;
                // Normally the one just linked; any is a good entry.
                self.add_to_index(segment, pin)
            });
        }
        if !fault(Fault::TurnOverUntrimmed) {
            self.trim();
        }
        if self.enforce(monotonic_ms()) > 0 {
            self.trim();
        }
    }

    /// Evicts the cursors that are over a limit. Returns how many.
    pub(crate) fn enforce(&self, now_ms: u64) -> usize {
        let limits: CursorLimits = self.limits.load();
        if limits.is_unlimited() {
            return 0;
        }
        let end = self.end().end;
        let limits = limits.at_least(end.saturating_sub(self.first()));
        let mut evicted = 0;
        self.slots.for_each_live(|slot, _| {
            if let Some(seen) = slot.over_limit(&limits, end, now_ms) {
                evicted += usize::from(self.evict(slot, seen));
            }
            ControlFlow::Continue(())
        });
        evicted
    }

    /// Evicts the cursor that `seen` describes, and tells it; false if that is not how things stand.
    fn evict(&self, slot: &CursorSlot, seen: u64) -> bool {
        if !slot.evict(seen) {
            return false;
        }
        Counters::more(&self.pools.counters.evictions, 1);
        if !fault(Fault::EvictSilently) {
            slot.wake(self, true);
        }
        true
    }

    /// Evicts every cursor, over a limit or not.
    #[cfg(any(replcore_loom, replcore_fuzz))]
    pub(crate) fn evict_all(&self) {
        self.slots.for_each_live(|slot, _| {
            self.evict(slot, slot.seen());
            ControlFlow::Continue(())
        });
    }

    /// Forgets what neither the backlog nor a cursor needs (I7, I11).
    pub(crate) fn trim(&self) {
        let backlog = self.domain.pinned(|pin| self.advance_backlog(pin));
        fence(ord::TRIM_FENCE());
        let mut least = backlog;
        if !fault(Fault::TrimUnlooked) {
            self.slots.for_each_live(|_, ordinal| {
                least = least.min(ordinal);
                ControlFlow::Continue(())
            });
        }
        if fault(Fault::TrimTooFar) {
            least += 1;
        }
        while self.domain.pinned(|pin| self.advance_head(least, pin)) {}
    }

    /// Moves the backlog pointer and the floor; returns the ordinal up to which the head may go.
    fn advance_backlog(&self, pin: &Pin<'_>) -> Result<u64, Stale> {
        let keep = self.backlog_bytes();
        loop {
            let backlog = self.backlog(pin)?;
            let ordinal = backlog.ordinal();
            if !fault(Fault::FloorUnraised) {
                self.floor.fetch_max(ordinal, ord::FLOOR_RAISE());
            }
            let tail = self.tail(pin)?;
            if ptr::eq(backlog, tail) {
                return Ok(ordinal);
            }
            let Some(next) = self.next(backlog, pin)? else { return Ok(ordinal) };
            if tail.base() - next.base() < keep {
                return Ok(ordinal);
            }
            let (from, to) = (ptr::from_ref(backlog).cast_mut(), ptr::from_ref(next).cast_mut());
            let _ = self.backlog.compare_exchange(from, to, ord::BACKLOG_MOVE(), ord::BACKLOG_LOAD());
        }
    }

    /// Moves the head on by one segment if it stands before `least`; false when there.
    fn advance_head(&self, least: u64, pin: &Pin<'_>) -> Result<bool, Stale> {
        let head = self.head(pin)?;
        if head.ordinal() >= least {
            return Ok(false);
        }
        let Some(next) = self.next(head, pin)? else { return Ok(false) };
        let (from, to) = (ptr::from_ref(head).cast_mut(), ptr::from_ref(next).cast_mut());
        if fault(Fault::RetireBeforeUnlink) {
            self.retire_segment(from, pin);
            let moved = self.head.compare_exchange(from, to, ord::HEAD_MOVE(), ord::HEAD_LOAD());
            return Ok(moved.is_ok());
        }
        if self.head.compare_exchange(from, to, ord::HEAD_MOVE(), ord::HEAD_LOAD()).is_ok()
            && !fault(Fault::ForgetRetire)
        {
            self.retire_segment(from, pin);
            if fault(Fault::RetireTwice) {
                self.retire_segment(from, pin);
            }
        }
        Ok(true)
    }

    fn retire_segment(&self, segment: *mut Segment, pin: &Pin<'_>) {
        // SAFETY: protected by the pin.
        let (header, footprint) = unsafe { ((*segment).header(), (*segment).footprint()) };
        // SAFETY: as above; its successor is there, for the head has moved to it.
        let end = unsafe { (*segment).next().as_ref() }.map_or(header.opening.end, Segment::base);
        let bytes = footprint + (end - header.opening.end);
        let (pools, segment) = (std::sync::Arc::clone(&self.pools), SendPtr(segment));
        // SAFETY: the head has left it, so neither head, backlog nor tail leads to it, and no
        // index entry is followed to a segment before the head.
        unsafe { pin.retire(header.birth, bytes, move || drop_reference(segment.get(), &pools)) }
    }

    /// A counted reference to a segment that the pin protects.
    pub(crate) fn reference(&self, segment: &Segment, _pin: &Pin<'_>) -> SegmentRef {
        // SAFETY: the pin protects it.
        unsafe { SegmentRef::new(ptr::from_ref(segment).cast_mut(), &self.pools) }
    }

    /// Bytes from the head on: what is in memory for the backlog or for cursors.
    pub(crate) fn retained(&self) -> u64 {
        self.domain.pinned(|pin| {
            let head = self.head(pin)?.base();
            Ok(self.frontier(pin)?.1.prior.end - head)
        })
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        if unwinding() {
            return;
        }
        self.domain.drain();
        while let Some(stage) = self.pools.stages.take() {
            // SAFETY: taking it from the pool made it ours alone.
            unsafe { Box::from_raw(stage) }.leave_block(&self.pools);
        }
        let mut segment = self.head.load(ord::HEAD_LOAD());
        while !segment.is_null() {
            // SAFETY: no handle is left, so the chain is ours. One step at a time: no recursion.
            unsafe {
                let next = (*segment).next();
                drop_reference(segment, &self.pools);
                segment = next;
            }
        }
        let index = self.index.load(ord::INDEX_LOAD());
        if !index.is_null() {
            // SAFETY: as above.
            unsafe { free_index(index) }
        }
    }
}
