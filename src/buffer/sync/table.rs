//! Every memory ordering of the buffer, by name, with its reason and its pair; and every
//! structural fault that a proof can switch on to see itself fail.
//!
//! In a normal build a row is a constant and a fault is `false`. In a model build both are looked
//! up at run time, so one binary can weaken each row and inject each fault in turn.

use std::sync::atomic::Ordering;

macro_rules! orderings {
    ($($(#[doc = $doc:literal])* $name:ident = $ordering:ident ($kind:ident) $(, $excuse:literal)?;)*) => {
        #[allow(non_camel_case_types, clippy::upper_case_acronyms, dead_code)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(usize)]
        enum Id { $($name),* }

        /// One function a row: the ordering at the sites that name it.
        #[allow(non_snake_case)]
        pub(crate) mod ord {
            use super::*;
            $(
                $(#[doc = $doc])*
                #[cfg(not(any(replcore_loom, replcore_fuzz)))]
                #[inline(always)]
                pub(crate) const fn $name() -> Ordering { Ordering::$ordering }
                $(#[doc = $doc])*
                #[cfg(any(replcore_loom, replcore_fuzz))]
                pub(crate) fn $name() -> Ordering { run_time::ordering(Id::$name as usize) }
            )*
        }

        /// The table of named orderings, as data for the proofs.
        #[cfg(any(replcore_loom, replcore_fuzz))]
        pub static ORDERINGS: &[Row] = &[$(Row {
            name: stringify!($name),
            ordering: Ordering::$ordering,
            kind: Access::$kind,
            reason: concat!($($doc),*),
            excuse: excuse_in(&[$($excuse)?]),
        }),*];
    };
}

orderings! {
    /// Fills an empty cell. Release: the frame's bytes, the entries that the word names, and the cells
    /// before, for CELL_LOAD.
    CELL_PUBLISH = Release (Rmw);
    /// Fills an awaited cell. Release: as CELL_PUBLISH. Acquire: the parked cursor's registration
    /// (PARK), so that the wake-up finds its waker.
    CELL_PUBLISH_AWAITED = AcqRel (Rmw);
    /// The publisher of a word takes its debt off. Release: as CELL_PUBLISH, for a store heads no
    /// release sequence but its own.
    CELL_SETTLE = Release (Store);
    /// A cell read by writers and cursors, a lost exchange included. Pairs with the three before: the
    /// publication is complete, and so is every one before it.
    CELL_LOAD = Acquire (Load);
    /// A cursor marks the empty cell it waits at. Release: its waker, for CELL_PUBLISH. It acquires
    /// nothing: another cursor's mark hands on, as a release sequence, what that released.
    PARK = Release (Rmw);
    /// Fills an entry of the table of blocks. Release: the reference counted before, for BLOCK_RELEASE.
    BLOCK_FILL = Release (Rmw);
    /// Takes an entry out when the payload goes. Acquire: the reference behind it, which is given up next.
    BLOCK_RELEASE = Acquire (Rmw);
    /// Reads an entry that a word names; what filled it came before the word (CELL_LOAD).
    BLOCK_LOAD = Relaxed (Load);
    /// Fills an entry of the table of numbers, before any word names it.
    NUMBER_STORE = Relaxed (Store);
    /// Reads an entry: one that a word names came before the word (CELL_LOAD); one that another writer found
    /// before it published a word that names it, likewise (coherence).
    NUMBER_LOAD = Relaxed (Load);
    /// Links a new segment. Release: its header, and every cell of the segment before it. It reads
    /// null, which nobody released.
    NEXT_LINK = Release (Rmw);
    /// Pairs with NEXT_LINK: whoever sees the link sees the header and the cells before it.
    NEXT_LOAD = Acquire (Load);
    /// Moves the tail. Release: the header of the segment it points at, for TAIL_LOAD.
    TAIL_MOVE = Release (Rmw);
    /// Pairs with TAIL_MOVE.
    TAIL_LOAD = Acquire (Load);
    /// Moves the head past an unlinked segment. TRIM_FENCE before it releases the header of the next,
    /// which stands at or before the backlog's segment seen before that fence.
    HEAD_MOVE = Relaxed (Rmw);
    /// Pairs with TRIM_FENCE by HEAD_MOVE: the header.
    HEAD_LOAD = Acquire (Load);
    /// Moves the start of the backlog. Release: the header behind it, for BACKLOG_LOAD.
    BACKLOG_MOVE = Release (Rmw);
    /// Pairs with BACKLOG_MOVE.
    BACKLOG_LOAD = Acquire (Load);
    /// Raises the floor. Release: the backlog pointer moved before it, so that a cursor which this
    /// turns away finds the new one at its next look. The race with a cursor is TRIM_FENCE's.
    FLOOR_RAISE = Release (Rmw);
    /// Reads the floor. Acquire: the backlog pointer, so that the trim of a cursor which this turns
    /// away goes as far as the one whose scan met its slot. The race with a trim is ATTACH_FENCE's.
    FLOOR_LOAD = Acquire (Load);
    /// Between raising the floor and scanning the cursors' slots; pairs with ATTACH_FENCE (store
    /// buffering): either the scan sees the new cursor or the new cursor sees the floor.
    TRIM_FENCE = SeqCst (Fence);
    /// Between a new cursor's slot and its look at the floor; pairs with TRIM_FENCE.
    ATTACH_FENCE = SeqCst (Fence);
    /// Between a cursor's leaving a segment and its look at the floor; pairs with TRIM_FENCE: either
    /// the scan sees that it left, or the cursor sees that it held the head back, and trims.
    HOP_FENCE = SeqCst (Fence);
    /// A cursor claims a free slot. Acquire: the former owner's release of it (SLOT_RELEASE_STORE).
    SLOT_CLAIM = Acquire (Rmw), "SLOT_LOAD before the exchange has acquired the store that the exchange finds again, unless the slot went \
        round all 65,536 generations in between: then the word is the same and the store another. No model walks that far: \
        claimer: load word = (g, free) | others: claim and release it 65,536 times | claimer: exchange (g, free) succeeds, \
        and has to see what the last of them did.";
    /// A cursor moves its slot to a later segment. Orders nothing: what the cursor still holds
    /// below, it holds by reference counts; that it failed tells of an eviction.
    SLOT_HOP = Relaxed (Rmw);
    /// Evicts. Acquire: the waker of a cursor that confirmed its slot before (SLOT_CONFIRM).
    SLOT_EVICT = Acquire (Rmw);
    /// A waiting cursor makes sure that it is not evicted. Release: its waker, for SLOT_EVICT.
    SLOT_CONFIRM = Release (Rmw);
    /// A slot read by a scan. Acquire: the cursor's fields, from SLOT_RELEASE_STORE.
    SLOT_LOAD = Acquire (Load);
    /// The owner registers, withdraws or gives back its slot. Release: the fields beside it.
    SLOT_RELEASE_STORE = Release (Store);
    /// A new slot joins the list. Release: the slot's fields, for SLOTS_LOAD.
    SLOTS_PUSH = Release (Rmw);
    /// Pairs with SLOTS_PUSH.
    SLOTS_LOAD = Acquire (Load);
    /// A reference more, taken where one is known to exist: orders nothing.
    REF_TAKE = Relaxed (Rmw);
    /// A reference less. Release: this user's accesses happen before the object is freed.
    REF_DROP = Release (Rmw);
    /// After the last reference is gone, before freeing. Acquire: all other users' REF_DROP.
    REF_LAST = Acquire (Fence);
    /// Swaps a new waker in. Release: the waker, for WAKER_LOAD. The old one is the caller's own, for
    /// only the owner of a slot swaps, and leaves none behind.
    WAKER_SWAP = Release (Rmw);
    /// Pairs with WAKER_SWAP.
    WAKER_LOAD = Acquire (Load);
    /// A field of one's own that others only look at (a cursor's progress, its wish to be woken), or
    /// a setting. It orders nothing: what must be seen in time is handed over by the word beside it.
    FIELD_STORE = Relaxed (Store);
    /// Reads such a field.
    FIELD_LOAD = Relaxed (Load);
    /// The era, read to pin in it and to validate a loaded pointer; pairs with ERA_ROTATE.
    ERA_LOAD = Acquire (Load);
    /// Read by a retirer, as a read-modify-write: either it sees the rotation, or the rotation
    /// sees (and passes on) its unlinking.
    ERA_RETIRE = AcqRel (Rmw);
    /// Begins an era. Release: the list of eras, for ERA_LOAD and ERA_RETIRE. The unlinkings before
    /// it are passed on by ERA_RETIRE's release sequence, which any read-modify-write continues, so
    /// it acquires nothing.
    ERA_ROTATE = Release (Rmw), "It hands over one thing, the list of eras, and loom does not see that list (arc-swap orders it by \
        itself): writer: list := [1, 2] (arc-swap); current := 2 (Relaxed) | reader: current = 2; list = [1]. The outcome \
        that the Release forbids is a reader that spins until the list shows; no checker here can see it.";
    /// Puts memory into a pool. Release: the last use of it.
    POOL_PUT = Release (Rmw);
    /// Takes memory from a pool; pairs with POOL_PUT.
    POOL_TAKE = Acquire (Rmw);
    /// Looks whether a pool's place is taken; the exchange that follows does the ordering.
    POOL_LOOK = Relaxed (Load);
    /// Installs a new index. Release: its entries, for INDEX_LOAD. The old one's were acquired by
    /// INDEX_LOAD before, and it is pinned: the exchange finds that very index.
    INDEX_SWAP = Release (Rmw);
    /// Pairs with INDEX_SWAP.
    INDEX_LOAD = Acquire (Load);
    /// Numbers for people and settings that take effect some time: they order nothing.
    COUNTER = Relaxed (Rmw);
}

/// The excuse of a row, if it has one.
#[cfg(any(replcore_loom, replcore_fuzz))]
const fn excuse_in(given: &[&'static str]) -> Option<&'static str> {
    match given {
        [] => None,
        [excuse, ..] => Some(excuse),
    }
}

macro_rules! faults {
    ($($(#[doc = $doc:literal])* $name:ident;)*) => {
        /// A step that the concurrent code could have got wrong; off unless a proof asks.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[allow(missing_docs)]
        #[allow(dead_code, reason = "some stand in the proofs, around the code that ships")]
        #[repr(usize)]
        pub enum Fault { $($(#[doc = $doc])* $name),* }

        /// The table of structural faults, as data for the proofs.
        #[cfg(any(replcore_loom, replcore_fuzz))]
        pub static FAULTS: &[(Fault, &str, &str)] = &[$((Fault::$name, stringify!($name), concat!($($doc),*))),*];
    };
}

faults! {
    /// Retire: give a segment back without waiting for the pinned threads.
    FreeAtOnce;
    /// Retire: retire a segment before it is unlinked.
    RetireBeforeUnlink;
    /// Wake-up: park without telling the writers.
    ParkSilently;
    /// Wake-up: do not look again after registering the waker.
    SkipSecondLook;
    /// Wake-up: publish without waking.
    ForgetWake;
    /// Wake-up: do not take over what a stalled predecessor owes.
    ForgetOwed;
    /// Hop: scan a segment's cells before looking for its successor.
    ScanBeforeNext;
    /// Hop: do not look for an eviction before following the link.
    HopUnlooked;
    /// Trim: do not look at the cursors.
    TrimUnlooked;
    /// Attach: do not look at the floor after registering.
    AttachUnlooked;
    /// Trim: cut one segment too many.
    TrimTooFar;
    /// Publish: go on from a lost race with the word before it.
    StaleStart;
    /// Publish: decide the conditional part once, before the race.
    StaleContext;
    /// Publish: store something that is shared as well.
    HintAsWell;
    /// Publish: keep the sealed term of the segment left behind.
    StaleFence;
    /// Eras: do not validate the era after loading a pointer.
    EraUnlooked;
    /// Eras: retire to the current era alone.
    RetireInOneEra;
    /// Wake-up: do not take over what is owed in the segment before.
    ForgetOwedByHeader;
    /// Reference counts: forget to give a block back with the payload.
    LeakBlock;
    /// Reference counts: forget to drop a composite with the payload.
    LeakComposite;
    /// Publish: forget a composite that was offered and not published.
    LeakRefused;
    /// Tables: fill an entry whatever stands in it.
    FillBySwap;
    /// Tables: leave the blocks in the table when they are given back.
    ReleaseByLoad;
    /// Reference counts: a writer stands on cells that it does not count.
    UncountedSeat;
    /// Reference counts: hand out a reference that is not counted.
    UncountedReference;
    /// Retire: unlink a segment and forget it.
    ForgetRetire;
    /// Retire: retire a segment twice.
    RetireTwice;
    /// Link: forget the segment that lost the race for a link.
    LeakLoser;
    /// Trim: look for the last segment before the successor of the backlog's.
    LastBeforeNext;
    /// Trim: leave the floor where it was.
    FloorUnraised;
    /// Trim: do not trim when a segment is full.
    TurnOverUntrimmed;
    /// Trim: do not look, when a cursor goes, whether it held anything.
    LeaveUntrimmed;
    /// Attach: look at the floor before registering.
    FloorBeforeSlot;
    /// Index: follow an entry whose segment was trimmed.
    IndexUnlooked;
    /// Cursor: keep the slot when the cursor goes.
    KeepSlot;
    /// Cursor: give the slot back before its waker is out of it.
    FreeSlotEarly;
    /// Evict: do not wake the one that is evicted.
    EvictSilently;
    /// Wake-up: do not look for an eviction after registering the waker.
    ConfirmUnlooked;
    /// Wake-up: wake before publishing.
    WakeEarly;
    /// Wake-up: wait at the end of a full segment, in which no cell is left.
    ParkAtFull;
    /// Publish: stage the next frame over the bytes just published.
    ReuseBytes;
    /// Shared copies: take one of any stretch for the one that is wanted.
    CopyOfAnyStretch;
    /// End: let the last handle go without a word.
    EndSilently;
    /// Resync: read the history before what is retained. Not in the buffer: in who uses it.
    HistoryBeforeRange;
    /// History: shift it by a load and a store.
    ShiftInTwoSteps;
    /// `WAIT`: count, let the lock go, and only then leave the waker.
    CountThenSleep;
}

/// Whether `fault` is switched on: never, outside a model build.
#[cfg(not(any(replcore_loom, replcore_fuzz)))]
#[inline(always)]
pub(crate) const fn fault(_fault: Fault) -> bool {
    false
}

#[cfg(any(replcore_loom, replcore_fuzz))]
pub(crate) use run_time::fault;

/// What kind of access a row governs: it decides which orderings are weaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg(any(replcore_loom, replcore_fuzz))]
pub enum Access {
    /// A load.
    Load,
    /// A store.
    Store,
    /// A read-modify-write.
    Rmw,
    /// A fence.
    Fence,
}

/// A named ordering.
#[derive(Clone, Copy, Debug)]
#[cfg(any(replcore_loom, replcore_fuzz))]
pub struct Row {
    /// Its name at the sites that use it.
    pub name: &'static str,
    /// The ordering that ships.
    pub ordering: Ordering,
    /// What it orders.
    pub kind: Access,
    /// Why, and what it pairs with.
    pub reason: &'static str,
    /// Why no model can see a weaker one, if so: a litmus argument.
    pub excuse: Option<&'static str>,
}

/// The run-time side of the two tables.
#[cfg(any(replcore_loom, replcore_fuzz))]
pub mod run_time {
    use super::{FAULTS, Fault, ORDERINGS};
    use std::sync::atomic::{AtomicUsize, Ordering};

    static WEAKENED: AtomicUsize = AtomicUsize::new(usize::MAX);
    static WEAKER: AtomicUsize = AtomicUsize::new(0);
    static FAULT: AtomicUsize = AtomicUsize::new(usize::MAX);
    const ALL: [Ordering; 5] =
        [Ordering::Relaxed, Ordering::Acquire, Ordering::Release, Ordering::AcqRel, Ordering::SeqCst];

    pub(crate) fn ordering(row: usize) -> Ordering {
        replcore_checkers::name_next(ORDERINGS[row].name);
        if WEAKENED.load(Ordering::Relaxed) == row {
            return ALL[WEAKER.load(Ordering::Relaxed)];
        }
        ORDERINGS[row].ordering
    }

    /// Weakens the row of that name for the whole process; `false` if there is none.
    pub fn weaken(name: &str, weaker: Ordering) -> bool {
        let Some(row) = ORDERINGS.iter().position(|row| row.name == name) else { return false };
        WEAKER.store(ALL.iter().position(|o| *o == weaker).unwrap_or(0), Ordering::Relaxed);
        WEAKENED.store(row, Ordering::Relaxed);
        true
    }

    /// Whether `fault` is switched on.
    pub fn fault(fault: Fault) -> bool {
        FAULT.load(Ordering::Relaxed) == fault as usize
    }

    /// Switches the fault of that name on for the whole process; `false` if there is none.
    pub fn inject(name: &str) -> bool {
        let Some((fault, _, _)) = FAULTS.iter().find(|(_, n, _)| *n == name) else { return false };
        FAULT.store(*fault as usize, Ordering::Relaxed);
        true
    }

    /// Takes the weaker ordering and the fault back.
    #[cfg(replcore_fuzz)]
    pub fn restore() {
        WEAKENED.store(usize::MAX, Ordering::Relaxed);
        FAULT.store(usize::MAX, Ordering::Relaxed);
    }
}
