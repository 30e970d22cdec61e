//! The chain of segments and what moves along it: tail, backlog, head, index.
//!
//! # Promise
//! `head ≤ backlog ≤ tail` at all times. What stands from `head` on is in memory; an offset at or
//! after `backlog` can be attached (I7). Every step is finished by whoever comes next if the
//! thread that began it stops (I8).
//!
//! ```text
//!    kept for slow cursors       backlog_bytes           here is appended
//!   ┌─────────┐  ┌─────────┐    ┌─────────┐  ┌─────────┐  ┌─────────┐
//!   │ segment │─▶│ segment │─▶  │ segment │─▶│ segment │─▶│ segment │─▶ null
//!   └─────────┘  └─────────┘    └─────────┘  └─────────┘  └─────────┘
//!    ▲ head                      ▲ backlog, floor          ▲ tail (or a few before it)
//! ```
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

use std::ops::ControlFlow;
use std::sync::Arc;

use super::config::{CursorLimits, Settings, SharedLimits};
use super::copies::Copies;
use super::cursor_slot::{CursorSlot, CursorSlots};
use super::index::{INDEX_STRIDE, Index};
use super::link::{Protected, Root};
use super::memory::Memory;
use super::reclaim::{Domain, Pin, Stale};
use super::segment::{Frontier, Header, NO_CONTEXT, Segment};
use super::stats::Counters;
use super::sync::table::{Fault, fault, ord};
use super::sync::{AtomicU64, fence, monotonic_ms, unwinding};

/// The least that a segment holds because of a small backlog: it takes some kilobytes itself.
const LEAST_GRAIN_BYTES: u64 = 64 << 10;

/// All that the handles of one buffer share.
#[derive(Debug)]
pub(crate) struct Log {
    head: Root<Segment>,
    backlog: Root<Segment>,
    /// A hint: at or before the segment in which the next publication goes.
    tail: Root<Segment>,
    /// Ordinal below which nothing can be attached any more.
    floor: AtomicU64,
    index: Index,
    backlog_bytes: AtomicU64,
    pub(crate) limits: SharedLimits,
    pub(crate) slots: CursorSlots,
    pub(crate) domain: Domain,
    pub(crate) settings: Settings,
    /// The term of writers made from now on.
    pub(crate) term: AtomicU64,
    pub(crate) memory: Arc<Memory>,
    pub(crate) copies: Copies,
}

/// Where the stream ended when looked at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct End {
    /// The offset behind the last byte.
    pub(crate) offset: u64,
    /// Publications so far.
    pub(crate) publications: u64,
    /// The highest term sealed so far.
    pub(crate) sealed_term: u64,
}

impl Log {
    pub(crate) fn new(settings: Settings) -> Self {
        let memory = Memory::new(&settings);
        let domain = Domain::new(settings.max_unreclaimed_bytes);
        let header = Header {
            ordinal: 0,
            base: settings.base_offset,
            publications: 0,
            context: NO_CONTEXT,
            sealed_term: 0,
            owes_wake: false,
            limit_bytes: limit_bytes(&settings, settings.backlog_bytes),
            birth: domain.birth(),
        };
        let head = Root::new(Some(memory.segment(header)));
        Self {
            backlog: Root::beside(&head),
            tail: Root::beside(&head),
            head,
            floor: AtomicU64::new(0),
            index: Index::new(),
            backlog_bytes: AtomicU64::new(settings.backlog_bytes),
            limits: SharedLimits::new(settings.cursor_limits),
            slots: CursorSlots::new(settings.max_cursors),
            term: AtomicU64::new(1),
            domain,
            copies: Copies::new(settings.shared_copies, settings.shared_copy_bytes),
            settings,
            memory,
        }
    }

    // --- Along the chain ----------------------------------------------------------------------

    // No root is ever null, so each of these finds something, or its pin is stale.

    fn tail<'p>(&self, pin: &'p Pin<'_>) -> Result<Protected<'p, Segment>, Stale> {
        self.tail.load(pin, ord::TAIL_LOAD())?.ok_or(Stale)
    }

    fn backlog<'p>(&self, pin: &'p Pin<'_>) -> Result<Protected<'p, Segment>, Stale> {
        self.backlog.load(pin, ord::BACKLOG_LOAD())?.ok_or(Stale)
    }

    fn head<'p>(&self, pin: &'p Pin<'_>) -> Result<Protected<'p, Segment>, Stale> {
        self.head.load(pin, ord::HEAD_LOAD())?.ok_or(Stale)
    }

    /// The successor of `segment`, if there is one; moves the tail along.
    pub(crate) fn next<'p>(
        &self,
        segment: Protected<'p, Segment>,
    ) -> Result<Option<Protected<'p, Segment>>, Stale> {
        let next = segment.follow(Segment::next, ord::NEXT_LOAD())?;
        if let Some(next) = next {
            // If it fails, somebody moved it here or further.
            self.tail.advance(segment, next, ord::TAIL_MOVE(), ord::TAIL_LOAD());
        }
        Ok(next)
    }

    /// Makes sure that a segment which is closed at `frontier` has a successor. Whoever links one does
    /// the housekeeping that comes with it, here and now.
    pub(crate) fn link_successor(&self, segment: &Segment, frontier: &Frontier) {
        if segment.has_next() {
            return;
        }
        let header = segment.header_after(frontier, self.limit_bytes(), self.domain.birth());
        let fresh = self.memory.segment(header);
        match segment.next().set(fresh, ord::NEXT_LINK(), ord::NEXT_LOAD()) {
            Ok(()) => {
                self.keep_house(header.ordinal);
                self.memory.sweep_remainders();
            }
            Err(fresh) if fault(Fault::LeakLoser) => drop(Box::into_raw(fresh)),
            Err(fresh) => self.memory.take_back(fresh),
        }
    }

    /// The segment and the place in it where the stream ended when looked at. The segment is open,
    /// or had no successor yet.
    pub(crate) fn frontier<'p>(&self, pin: &'p Pin<'_>) -> Result<(Protected<'p, Segment>, Frontier), Stale> {
        let last = self.last(pin)?;
        Ok((last, last.frontier()))
    }

    /// The last segment.
    fn last<'p>(&self, pin: &'p Pin<'_>) -> Result<Protected<'p, Segment>, Stale> {
        let mut segment = self.tail(pin)?;
        while let Some(next) = self.next(segment)? {
            segment = next;
        }
        Ok(segment)
    }

    /// Where the stream ends.
    pub(crate) fn end(&self) -> End {
        self.domain.pinned(|pin| {
            let (segment, frontier) = self.frontier(pin)?;
            let Header { base, publications, .. } = segment.header();
            Ok(End {
                offset: base + u64::from(frontier.before.end()),
                publications: publications + frontier.index as u64,
                sealed_term: segment.sealed_term_after(frontier.before),
            })
        })
    }

    /// The last segment, looked for too early by a fault.
    fn last_if<'p>(&self, early: bool, pin: &'p Pin<'_>) -> Result<Option<Protected<'p, Segment>>, Stale> {
        if early { self.last(pin).map(Some) } else { Ok(None) }
    }

    /// The first offset that can be attached.
    pub(crate) fn first(&self) -> u64 {
        self.domain.pinned(|pin| Ok(self.backlog(pin)?.base()))
    }

    /// Bytes from the head on: what is in memory for the backlog or for cursors.
    pub(crate) fn retained(&self) -> u64 {
        let head = self.domain.pinned(|pin| Ok(self.head(pin)?.base()));
        self.end().offset - head
    }

    /// The last segment whose base is at or before `offset`, which lies between first and end.
    pub(crate) fn find<'p>(
        &self,
        offset: u64,
        pin: &'p Pin<'_>,
    ) -> Result<Option<Protected<'p, Segment>>, Stale> {
        let backlog = self.backlog(pin)?;
        if offset < backlog.base() {
            return Ok(None);
        }
        let mut segment = self.index.find(offset, backlog)?.unwrap_or(backlog);
        while let Some(next) = self.next(segment)? {
            if next.base() > offset {
                break;
            }
            segment = next;
        }
        Ok(Some(segment))
    }

    // --- Trimming -----------------------------------------------------------------------------

    pub(crate) fn backlog_bytes(&self) -> u64 {
        self.backlog_bytes.load(ord::FIELD_LOAD())
    }

    pub(crate) fn set_backlog_bytes(&self, bytes: u64) {
        self.backlog_bytes.store(bytes, ord::FIELD_STORE());
        self.trim();
    }

    /// What a segment that is made now may hold.
    fn limit_bytes(&self) -> u32 {
        limit_bytes(&self.settings, self.backlog_bytes())
    }

    /// The floor as a new cursor has to see it.
    pub(crate) fn floor(&self) -> u64 {
        self.floor.load(ord::FLOOR_LOAD())
    }

    /// What comes with a segment that was just linked.
    fn keep_house(&self, ordinal: u64) {
        if ordinal.is_multiple_of(INDEX_STRIDE) {
            self.domain.pinned(|pin| {
                let (segment, _) = self.frontier(pin)?;
                // Normally the one just linked; any is a good entry.
                self.index.add(segment, self.head(pin)?.ordinal(), &self.domain)
            });
        }
        if !fault(Fault::TurnOverUntrimmed) {
            self.trim();
        }
        if self.enforce(monotonic_ms()) > 0 {
            self.trim();
        }
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
            let early = self.last_if(fault(Fault::LastBeforeNext), pin)?;
            let Some(next) = self.next(backlog)? else { return Ok(ordinal) };
            // After the successor was seen: the last segment is that one, or comes after it.
            let last = early.map_or_else(|| self.last(pin), Ok)?;
            // One without bytes (seals, markers) keeps nothing.
            if next.base() != backlog.base() && last.base().wrapping_sub(next.base()) < keep {
                return Ok(ordinal);
            }
            self.backlog.advance(backlog, next, ord::BACKLOG_MOVE(), ord::BACKLOG_LOAD());
        }
    }

    /// Moves the head on by one segment if it stands before `least`; false when there.
    fn advance_head(&self, least: u64, pin: &Pin<'_>) -> Result<bool, Stale> {
        let head = self.head(pin)?;
        if head.ordinal() >= least {
            return Ok(false);
        }
        let Some(next) = self.next(head)? else { return Ok(false) };
        if fault(Fault::RetireBeforeUnlink) {
            self.retire(head, next.base());
        }
        if self.head.advance(head, next, ord::HEAD_MOVE(), ord::HEAD_LOAD()) {
            if !fault(Fault::ForgetRetire) && !fault(Fault::RetireBeforeUnlink) {
                self.retire(head, next.base());
            }
            if fault(Fault::RetireTwice) {
                self.retire(head, next.base());
            }
        }
        Ok(true)
    }

    /// Retires a segment that the head has just left, and which ends at `end`.
    fn retire(&self, segment: Protected<'_, Segment>, end: u64) {
        let Header { base, birth, .. } = segment.header();
        let (bytes, memory) = (segment.footprint() + (end - base), Arc::clone(&self.memory));
        // SAFETY: the head has left it, so neither head, backlog nor tail leads to it, and no
        // index entry is followed to a segment before the head. The chain's reference goes with it.
        unsafe { segment.retire(birth, bytes, move |segment| memory.drop_payload(segment)) }
    }

    // --- Limits -------------------------------------------------------------------------------

    /// Evicts the cursors that are over a limit. Returns how many.
    pub(crate) fn enforce(&self, now_ms: u64) -> usize {
        let limits: CursorLimits = self.limits.load();
        if limits.is_unlimited() {
            return 0;
        }
        let end = self.end().offset;
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
        Counters::more(&self.memory.counters.evictions, 1);
        if !fault(Fault::EvictSilently) {
            slot.wake(&self.domain, true);
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
}

/// What a segment may hold beside a backlog of so many bytes, so that the grain of trimming suits it.
fn limit_bytes(settings: &Settings, backlog_bytes: u64) -> u32 {
    // `build` checked that the setting fits.
    settings.segment_bytes.min((backlog_bytes / 8).max(LEAST_GRAIN_BYTES)) as u32
}

impl Drop for Log {
    fn drop(&mut self) {
        if unwinding() {
            return;
        }
        self.domain.drain();
        let mut segment = self.head.address(ord::HEAD_LOAD());
        while !segment.is_null() {
            // SAFETY: no handle is left, so the chain is ours. One step at a time: no recursion.
            unsafe {
                let next = (*segment).next().address(ord::NEXT_LOAD());
                self.memory.drop_payload(segment);
                segment = next;
            }
        }
    }
}
