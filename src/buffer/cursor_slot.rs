//! Cursor slots: what trimming, limits and wake-ups know of each cursor.
//!
//! # Promise
//! A slot says from which segment on its cursor may still read. Anyone may revoke that with one
//! exchange, and its cursor notices before it follows a link. Nobody waits for a cursor.
//!
//! Slots form a list that only grows, up to the most cursors there ever were at once; a slot is
//! used again after its cursor is gone. The word that claims it carries a generation, so that an
//! evictor which looked at one cursor cannot hit the next.
//!
//! # Wake-ups (I9)
//! A cursor that waits (1) leaves its waker here, (2) marks the empty cell it waits at, (3) makes
//! sure by a read-modify-write of its slot that it was not evicted. The writer that fills a marked
//! cell wakes the cursors; an evictor wakes the one it evicts. Both happen after (1), seen through
//! the very word that they exchange, so no wake-up is lost and no sequentially consistent access
//! is needed.
//!
//! A waker is not taken out to be used: a thread that stopped with it in hand would leave the
//! cursor asleep for ever. It stays, counted, until the cursor replaces it.

use std::mem::ManuallyDrop;
use std::ops::ControlFlow;
use std::ptr;
use std::task::Waker;

use super::config::CursorLimits;
use super::error::AttachError;
use super::link::Root;
use super::reclaim::Domain;
use super::sync::table::{Fault, fault, ord};
use super::sync::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Canary, fence, free, unwinding};

const ORDINAL_BITS: u32 = 48;
const ORDINAL_MASK: u64 = (1 << ORDINAL_BITS) - 1;
/// Cursors of one slot that are told apart.
const GENERATIONS: u64 = 1 << (u64::BITS - ORDINAL_BITS);
/// Ordinals that are no positions.
const FREE: u64 = ORDINAL_MASK;
const EVICTED: u64 = ORDINAL_MASK - 1;
const RESERVED: u64 = ORDINAL_MASK - 2;
/// Segments are numbered below this: 2^48 segments are 8.9 years of a million a second, or
/// 16 EiB at the default size.
const POSITIONS: u64 = RESERVED;

fn word(generation: u64, ordinal: u64) -> u64 {
    (generation << ORDINAL_BITS) | ordinal
}

/// A cursor's place in the list.
#[derive(Debug)]
pub(crate) struct CursorSlot {
    /// Generation and ordinal, or one of the marks.
    word: AtomicU64,
    /// The offset up to which the cursor has read, for limits and for people.
    read: AtomicU64,
    /// When the soft limit was first found exceeded, in ms of the monotonic clock, plus one, and below that
    /// the generation that exceeded it: who looks may come late, and the slot have its next cursor. 0 if it
    /// is kept to.
    soft_clock: AtomicU64,
    /// The cursor is between looking and being woken.
    waiting: AtomicBool,
    ticket: Root<Ticket>,
    next: *mut CursorSlot,
}

/// A waker, counted.
#[derive(Debug)]
pub(crate) struct Ticket {
    /// Dropped with the last reference, apart from the ticket's memory.
    waker: ManuallyDrop<Waker>,
    references: AtomicUsize,
    birth: u64,
    canary: Canary,
}

/// Gives up a reference to a ticket.
///
/// # Safety
/// The caller owns the reference.
unsafe fn drop_ticket(ticket: *mut Ticket) {
    // SAFETY: the caller's reference keeps it until here; the last one frees it.
    unsafe {
        if (*ticket).references.fetch_sub(1, ord::REF_DROP()) == 1 {
            fence(ord::REF_LAST());
            (*ticket).canary.kill();
            ManuallyDrop::drop(&mut (*ticket).waker);
            free(ticket);
        }
    }
}

/// The list of slots.
#[derive(Debug)]
pub(crate) struct CursorSlots {
    first: AtomicPtr<CursorSlot>,
    count: AtomicUsize,
    limit: usize,
}

impl CursorSlots {
    pub(crate) fn new(limit: usize) -> Self {
        Self { first: AtomicPtr::new(ptr::null_mut()), count: AtomicUsize::new(0), limit }
    }

    fn iter(&self) -> impl Iterator<Item = &CursorSlot> {
        let mut next = self.first.load(ord::SLOTS_LOAD());
        std::iter::from_fn(move || {
            // SAFETY: slots are freed with the list.
            let slot = unsafe { next.as_ref() }?;
            next = slot.next;
            Some(slot)
        })
    }

    /// A slot for a new cursor, which no one looks at yet.
    pub(crate) fn reserve(&self) -> Result<&CursorSlot, AttachError> {
        for slot in self.iter() {
            let seen = slot.word.load(ord::SLOT_LOAD());
            if seen & ORDINAL_MASK == FREE {
                let generation = (seen >> ORDINAL_BITS).wrapping_add(1);
                let reserved = word(generation, RESERVED);
                if slot.word.compare_exchange(seen, reserved, ord::SLOT_CLAIM(), ord::SLOT_LOAD()).is_ok() {
                    return Ok(slot);
                }
            }
        }
        if self.count.fetch_add(1, ord::COUNTER()) >= self.limit {
            self.count.fetch_sub(1, ord::COUNTER());
            return Err(AttachError::TooManyCursors { limit: self.limit });
        }
        let slot = Box::into_raw(Box::new(CursorSlot {
            word: AtomicU64::new(RESERVED),
            read: AtomicU64::new(0),
            soft_clock: AtomicU64::new(0),
            waiting: AtomicBool::new(false),
            ticket: Root::new(None),
            next: ptr::null_mut(),
        }));
        let mut first = self.first.load(ord::SLOTS_LOAD());
        loop {
            // SAFETY: not in the list yet.
            unsafe { (*slot).next = first };
            match self.first.compare_exchange(first, slot, ord::SLOTS_PUSH(), ord::SLOTS_LOAD()) {
                // SAFETY: slots are freed with the list.
                Ok(_) => return Ok(unsafe { &*slot }),
                Err(seen) => first = seen,
            }
        }
    }

    /// Calls `visit` with each cursor that may read, and the ordinal from which it may.
    pub(crate) fn for_each_live(&self, mut visit: impl FnMut(&CursorSlot, u64) -> ControlFlow<()>) {
        for slot in self.iter() {
            if let Some(ordinal) = slot.position()
                && visit(slot, ordinal).is_break()
            {
                return;
            }
        }
    }

    /// Wakes every cursor that waits: an evicted one too, for its evictor may have stopped before
    /// it did (I8).
    pub(crate) fn wake_all(&self, domain: &Domain) {
        if fault(Fault::ForgetWake) {
            return;
        }
        for slot in self.iter() {
            slot.wake(domain, false);
        }
    }

    /// The cursors that may read.
    pub(crate) fn live(&self) -> usize {
        self.iter().filter(|slot| slot.position().is_some()).count()
    }

    /// The least offset read by a cursor that may read.
    pub(crate) fn least_read(&self) -> Option<u64> {
        self.iter()
            .filter(|slot| slot.position().is_some())
            .map(|slot| slot.read.load(ord::FIELD_LOAD()))
            .min()
    }
}

impl Drop for CursorSlots {
    fn drop(&mut self) {
        if unwinding() {
            return;
        }
        let mut next = self.first.load(ord::SLOTS_LOAD());
        while !next.is_null() {
            // SAFETY: no cursor is left; the list is ours.
            unsafe {
                let slot = next;
                next = (*slot).next;
                let ticket = (*slot).ticket.address(ord::WAKER_LOAD());
                if !ticket.is_null() {
                    drop_ticket(ticket);
                }
                free(slot);
            }
        }
    }
}

impl CursorSlot {
    /// The ordinal from which the cursor may read, unless it is evicted or there is none.
    fn position(&self) -> Option<u64> {
        let ordinal = self.word.load(ord::SLOT_LOAD()) & ORDINAL_MASK;
        (ordinal < POSITIONS).then_some(ordinal)
    }

    fn generation(&self) -> u64 {
        self.word.load(ord::FIELD_LOAD()) >> ORDINAL_BITS
    }

    /// The reserved slot's owner may read from segment `ordinal`, offset `read`, on.
    pub(crate) fn register(&self, ordinal: u64, read: u64) {
        self.read.store(read, ord::FIELD_STORE());
        self.waiting.store(false, ord::FIELD_STORE());
        // Only the owner writes a reserved slot. Release: the two fields above.
        self.word.store(word(self.generation(), ordinal), ord::SLOT_RELEASE_STORE());
    }

    /// Takes a registration back.
    pub(crate) fn withdraw(&self) {
        self.word.store(word(self.generation(), RESERVED), ord::SLOT_RELEASE_STORE());
    }

    /// The cursor is done.
    pub(crate) fn release(&self, domain: &Domain) {
        self.awake();
        let early = fault(Fault::FreeSlotEarly);
        if early {
            self.free();
        }
        self.set_waker(None, domain);
        if !early {
            self.free();
        }
    }

    /// Another cursor may have it.
    fn free(&self) {
        self.word.store(word(self.generation(), FREE), ord::SLOT_RELEASE_STORE());
    }

    /// Whether the cursor may not read any more.
    pub(crate) fn is_evicted(&self) -> bool {
        self.word.load(ord::SLOT_LOAD()) & ORDINAL_MASK == EVICTED
    }

    /// The cursor has left the segments before `to`; false if it was evicted.
    pub(crate) fn hop(&self, from: u64, to: u64) -> bool {
        let generation = self.generation();
        let (from, to) = (word(generation, from), word(generation, to));
        self.word.compare_exchange(from, to, ord::SLOT_HOP(), ord::SLOT_LOAD()).is_ok()
    }

    /// A look at the slot that an eviction cannot miss; false if it came before.
    pub(crate) fn confirm(&self, ordinal: u64) -> bool {
        let same = word(self.generation(), ordinal);
        self.word.compare_exchange(same, same, ord::SLOT_CONFIRM(), ord::SLOT_LOAD()).is_ok()
    }

    /// How far the cursor has read.
    pub(crate) fn set_read(&self, offset: u64) {
        self.read.store(offset, ord::FIELD_STORE());
    }

    /// The cursor's eviction, if it is over a limit: a word that only fits this cursor, here.
    pub(crate) fn over_limit(&self, limits: &CursorLimits, end: u64, now_ms: u64) -> Option<u64> {
        let seen = self.word.load(ord::SLOT_LOAD());
        if seen & ORDINAL_MASK >= POSITIONS {
            return None;
        }
        let lag = end.saturating_sub(self.read.load(ord::FIELD_LOAD()));
        if limits.hard_bytes != 0 && lag > limits.hard_bytes {
            return Some(seen);
        }
        if limits.soft_bytes == 0 || lag <= limits.soft_bytes {
            self.soft_clock.store(0, ord::FIELD_STORE());
            return None;
        }
        let generation = seen >> ORDINAL_BITS;
        let clock = self.soft_clock.load(ord::FIELD_LOAD());
        if clock == 0 || clock % GENERATIONS != generation {
            self.soft_clock.store((now_ms + 1) * GENERATIONS + generation, ord::FIELD_STORE());
            return None;
        }
        let since_ms = clock / GENERATIONS - 1;
        now_ms.checked_sub(since_ms).is_some_and(|for_ms| for_ms >= limits.soft_ms).then_some(seen)
    }

    /// Revokes the cursor that `seen` describes; false if that is not how things stand.
    pub(crate) fn evict(&self, seen: u64) -> bool {
        let evicted = word(seen >> ORDINAL_BITS, EVICTED);
        self.word.compare_exchange(seen, evicted, ord::SLOT_EVICT(), ord::SLOT_LOAD()).is_ok()
    }

    /// The word that describes whichever cursor has the slot.
    #[cfg(any(replcore_loom, replcore_fuzz))]
    pub(crate) fn seen(&self) -> u64 {
        self.word.load(ord::SLOT_LOAD())
    }

    /// Leaves a waker; the cursor waits from here on.
    pub(crate) fn await_with(&self, waker: &Waker, domain: &Domain) {
        let ticket = self.ticket.address(ord::WAKER_LOAD());
        // SAFETY: only the owner of the slot replaces its ticket, and that is the caller.
        if unsafe { ticket.as_ref() }.is_none_or(|ticket| !ticket.waker.will_wake(waker)) {
            self.set_waker(Some(waker), domain);
        }
        // Whoever waits has read everything.
        self.soft_clock.store(0, ord::FIELD_STORE());
        self.waiting.store(true, ord::FIELD_STORE());
    }

    /// The cursor does not wait any more.
    pub(crate) fn awake(&self) {
        self.waiting.store(false, ord::FIELD_STORE());
    }

    fn set_waker(&self, waker: Option<&Waker>, domain: &Domain) {
        if waker.is_none() && self.ticket.address(ord::WAKER_LOAD()).is_null() {
            return;
        }
        let fresh = waker.map(|waker| {
            Box::new(Ticket {
                waker: ManuallyDrop::new(waker.clone()),
                references: AtomicUsize::new(1),
                birth: domain.birth(),
                canary: Canary::new(),
            })
        });
        let pin = domain.pin();
        if let Some(old) = self.ticket.swap(fresh, ord::WAKER_SWAP()) {
            let birth = old.get().birth;
            // SAFETY: the slot's reference, given up once.
            old.retire(&pin, birth, size_of::<Ticket>() as u64, |ticket| unsafe { drop_ticket(ticket) });
        }
    }

    /// Wakes the cursor, if it waits or `surely`.
    pub(crate) fn wake(&self, domain: &Domain, surely: bool) {
        if !surely && !self.waiting.load(ord::FIELD_LOAD()) {
            return;
        }
        let ticket = domain.pinned(|pin| {
            let ticket = self.ticket.load(pin, ord::WAKER_LOAD())?;
            Ok(ticket.map(|ticket| {
                ticket.canary.check();
                ticket.references.fetch_add(1, ord::REF_TAKE());
                ticket.address()
            }))
        });
        // Outside the pin: a waker is a user's code.
        if let Some(ticket) = ticket {
            // SAFETY: the reference taken above, given up here.
            unsafe {
                (*ticket).waker.wake_by_ref();
                drop_ticket(ticket);
            }
        }
    }
}
