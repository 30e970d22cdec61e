//! Segments: fixed arrays of cells, linked forward. The stream is what stands in the cells.
//!
//! # Promise
//! Cells fill from left to right, each once. So a segment's published records are a prefix of its
//! cells, a reader that goes from left to right sees exactly the published prefix (I2), and no
//! watermark is kept: the cells are the watermark.
//!
//! # Rules
//! * A cell is *empty* (null), *awaited* (a cursor waits for it; see `park`), or holds a record.
//! * Whether a segment is *closed* depends on published records alone: when all cells are full, or
//!   the records so far hold at least `limit_bytes`. Every thread comes to the same answer.
//! * A successor is linked only to a closed segment, and its header is computed from the last
//!   record, so every thread that tries to link makes the same header (but for a wake-up that was
//!   paid meanwhile, which costs one too many), and the losers throw theirs away. Nobody waits for the winner.
//! * Whoever sees the link sees all of the segment's records: look at the link *before* scanning
//!   the cells, and the scan is complete if there was one.
//! * The hint says how many cells are surely full. It may go back; it costs time, never truth.

use std::ptr;

use super::block::{Prior, Slot};
use super::sync::table::{Fault, fault, ord};
use super::sync::{AtomicPtr, AtomicUsize, Canary, UnsafeCell, fence, spin};

/// The mark of an awaited cell: no record has this address.
fn awaited() -> *mut Slot {
    ptr::without_provenance_mut(1)
}

fn is_record(cell: *mut Slot) -> bool {
    cell.addr() > 1
}

/// What is fixed when a segment is made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Header {
    /// Position in the chain; 0 is the first ever.
    pub(crate) ordinal: u64,
    /// The stream as the first record finds it; its `end` is the segment's base offset.
    pub(crate) opening: Prior,
    /// A segment that holds this many bytes is closed.
    pub(crate) limit_bytes: u64,
    /// The era in which it was made.
    pub(crate) birth: u64,
}

/// A piece of the stream's chain.
#[derive(Debug)]
pub(crate) struct Segment {
    header: UnsafeCell<Header>,
    cells: Box<[AtomicPtr<Slot>]>,
    hint: AtomicUsize,
    next: AtomicPtr<Segment>,
    /// One for the chain, one for each cursor that reads here.
    references: AtomicUsize,
    canary: Canary,
}

// SAFETY: the header is written while the segment is private; the rest is atomic, and what the
// cells point to is shared under the rules of `block`.
unsafe impl Send for Segment {}
// SAFETY: as above.
unsafe impl Sync for Segment {}

/// Where a writer would publish next.
#[derive(Debug)]
pub(crate) struct Frontier {
    pub(crate) index: usize,
    pub(crate) prior: Prior,
}

/// How an attempt to publish ended.
#[derive(Debug)]
pub(crate) enum Attempt {
    /// Published.
    Done,
    /// The cell is empty, but awaited (or not awaited) against the caller's belief: say so in the
    /// record, which owes a wake-up if it is, and try again.
    Empty {
        /// Somebody waits for this cell.
        awaited: bool,
    },
    /// Another record was published here: look for the next cell.
    Lost,
}

/// How an attempt to wait ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Parked {
    /// The writer that fills the cell will know.
    Waiting,
    /// The cell is full already.
    Ready,
}

impl Segment {
    /// A segment on the heap, private to the caller.
    pub(crate) fn allocate(cells: usize, header: Header) -> *mut Self {
        Box::into_raw(Box::new(Self {
            header: UnsafeCell::new(header),
            cells: (0..cells).map(|_| AtomicPtr::new(ptr::null_mut())).collect(),
            hint: AtomicUsize::new(0),
            next: AtomicPtr::new(ptr::null_mut()),
            references: AtomicUsize::new(1),
            canary: Canary::new(),
        }))
    }

    /// Makes a spare segment as good as new. Only its owner can (`&mut`).
    pub(crate) fn reset(&mut self, header: Header) {
        self.header = UnsafeCell::new(header);
        for cell in &mut self.cells {
            *cell = AtomicPtr::new(ptr::null_mut());
        }
        self.hint = AtomicUsize::new(0);
        self.next = AtomicPtr::new(ptr::null_mut());
        self.references = AtomicUsize::new(1);
        self.canary = Canary::new();
    }

    pub(crate) fn header(&self) -> Header {
        self.canary.check();
        // SAFETY: written while private, constant since.
        self.header.with(|header| unsafe { *header })
    }

    pub(crate) fn base(&self) -> u64 {
        self.header().opening.end
    }

    pub(crate) fn ordinal(&self) -> u64 {
        self.header().ordinal
    }

    pub(crate) fn capacity(&self) -> usize {
        self.cells.len()
    }

    /// Memory it takes, records and payload apart.
    pub(crate) fn footprint(&self) -> u64 {
        (size_of::<Self>() + self.cells.len() * size_of::<AtomicPtr<Slot>>()) as u64
    }

    /// The record in a cell, if there is one.
    pub(crate) fn record(&self, index: usize) -> Option<&Slot> {
        self.canary.check();
        let cell = self.cells.get(index)?.load(ord::CELL_LOAD());
        // SAFETY: a published record lives as long as its segment.
        is_record(cell).then(|| unsafe { &*cell })
    }

    /// How many records stand from `from` on without a gap.
    pub(crate) fn published_from(&self, from: usize) -> usize {
        (from..self.cells.len()).take_while(|index| self.record(*index).is_some()).count()
    }

    /// The first cell that was not full when looked at, and the stream as a record there finds it.
    pub(crate) fn frontier(&self) -> Frontier {
        let mut index = self.hint.load(ord::HINT_LOAD());
        index += self.published_from(index);
        while fault(Fault::WaitForHint) && self.hint.load(ord::HINT_LOAD()) < index {
            spin();
        }
        Frontier { index, prior: self.prior(index) }
    }

    /// The stream as a record in cell `index` finds it; all cells before are full.
    pub(crate) fn prior(&self, index: usize) -> Prior {
        match index {
            0 => self.header().opening,
            // I2: who found cell `index` by the hint or by a scan has seen its predecessor.
            _ => self.record(index - 1).expect("I2: the predecessor is published").after(),
        }
    }

    /// Whether no record can be published at `frontier`, for the segment has enough.
    pub(crate) fn is_closed_at(&self, frontier: &Frontier) -> bool {
        let header = self.header();
        frontier.index == self.cells.len()
            || (frontier.index > 0 && frontier.prior.end - header.opening.end >= header.limit_bytes)
    }

    /// Tries to publish: the linearisation point of an append (I4).
    pub(crate) fn publish(&self, index: usize, record: *mut Slot, awaits: bool) -> Attempt {
        let expected = if awaits { awaited() } else { ptr::null_mut() };
        match self.cells[index].compare_exchange(expected, record, ord::CELL_PUBLISH(), ord::CELL_LOAD()) {
            Ok(_) => {
                let ahead = usize::from(fault(Fault::HintAhead) && index + 2 <= self.cells.len());
                self.hint.store(index + 1 + ahead, ord::HINT_STORE());
                Attempt::Done
            }
            Err(cell) if is_record(cell) => Attempt::Lost,
            Err(cell) => Attempt::Empty { awaited: !cell.is_null() },
        }
    }

    /// Marks an empty cell as awaited. A read-modify-write even if it is already: each cursor
    /// that waits must hand its waker to the writer that fills the cell.
    pub(crate) fn park(&self, index: usize) -> Parked {
        let mut expected = ptr::null_mut();
        loop {
            match self.cells[index].compare_exchange(expected, awaited(), ord::PARK(), ord::CELL_LOAD()) {
                Ok(_) => return Parked::Waiting,
                Err(cell) if is_record(cell) => return Parked::Ready,
                Err(cell) => expected = cell,
            }
        }
    }

    /// The successor, or null.
    pub(crate) fn next(&self) -> *mut Self {
        self.canary.check();
        self.next.load(ord::NEXT_LOAD())
    }

    /// Links a successor, unless there is one: then that is returned as the error.
    pub(crate) fn link(&self, successor: *mut Self) -> Result<(), *mut Self> {
        self.next.compare_exchange(ptr::null_mut(), successor, ord::NEXT_LINK(), ord::NEXT_LOAD()).map(|_| ())
    }

    /// A reference more. The caller knows of one that stays meanwhile.
    pub(crate) fn take_reference(&self) {
        self.canary.check();
        self.references.fetch_add(1, ord::REF_TAKE());
    }

    /// A reference less; true if it was the last, and the segment is the caller's.
    pub(crate) fn drop_reference(&self) -> bool {
        self.canary.check();
        if self.references.fetch_sub(1, ord::REF_DROP()) != 1 {
            return false;
        }
        fence(ord::REF_LAST());
        true
    }

    /// Says whether the segment is alive, in a model build.
    pub(crate) fn kill(&self) {
        self.canary.kill();
    }
}
