//! Blocks and records: the memory in which a writer finishes a frame before anyone sees it.
//!
//! # Promise
//! A record is written by one writer while it is private and never again once it is published; its
//! bytes stay where they are as long as any segment or cursor can reach it (I5, I6).
//!
//! # Layout
//! A *block* belongs to one writer at a time. It has room for payload bytes, filled from the
//! front, and for records, one for each publication. The payload of consecutive small frames is
//! therefore contiguous and leaves in one iovec, while the records stand apart. Large values are
//! not copied: a record may list `Bytes` beside its staged bytes.
//!
//! # Lifetime
//! A block counts its published records. The count is biased: it starts at [`BIAS`], the writer
//! publishes without touching it, and corrects it once when it leaves the block; a released record
//! takes one off. Whoever brings it to zero owns the block and puts it back into the pool.

use std::mem::MaybeUninit;
use std::ops::Range;
use std::ptr::{self, NonNull};
use std::slice;
use std::sync::atomic::{AtomicUsize as StdAtomicUsize, Ordering};

use bytes::Bytes;

use super::sync::table::{Fault, fault, ord};
use super::sync::{AtomicBool, AtomicU64, Canary, UnsafeCell, fence};

/// The context that no frame has: whatever asks for a context differs from it.
pub(crate) const NO_CONTEXT: u64 = u64::MAX;

/// More than the records of any block.
const BIAS: u64 = 1 << 32;

/// What the stream has come to after a record: all that the next one depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Prior {
    /// The offset at which the next frame starts (I1).
    pub(crate) end: u64,
    /// Frames published so far.
    pub(crate) frames: u64,
    /// The context, or [`NO_CONTEXT`].
    pub(crate) context: u64,
    /// The highest term sealed so far (I10).
    pub(crate) sealed_term: u64,
    /// A wake-up that its publisher may not have delivered yet (I9 under I8).
    pub(crate) owes_wake: bool,
}

/// A part of a record's bytes.
#[derive(Debug, Clone)]
pub(crate) enum Piece {
    /// In the record's block.
    Staged(Range<u32>),
    /// Handed in by the caller.
    Shared(Bytes),
}

/// A record with more than one run of staged bytes, or more than one frame.
#[derive(Debug, Clone)]
pub(crate) struct Composite {
    pub(crate) pieces: Vec<Piece>,
    /// Where each frame ends, relative to the record's start, if it holds several.
    pub(crate) frame_ends: Vec<u64>,
}

/// A publication: one frame, a batch of frames, or a marker without bytes.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) start: u64,
    pub(crate) after: Prior,
    /// The bytes, if they are one run of staged ones.
    pub(crate) staged: Range<u32>,
    pub(crate) composite: Option<Box<Composite>>,
}

impl Record {
    const fn blank() -> Self {
        let after = Prior { end: 0, frames: 0, context: NO_CONTEXT, sealed_term: 0, owes_wake: false };
        Self { start: 0, after, staged: 0..0, composite: None }
    }

    pub(crate) fn len(&self) -> u64 {
        self.after.end - self.start
    }

    fn piece_count(&self) -> usize {
        self.composite.as_ref().map_or(1, |composite| composite.pieces.len())
    }
}

/// A record's place in its block.
#[derive(Debug)]
pub(crate) struct Slot {
    block: *const Block,
    record: UnsafeCell<Record>,
    /// The publisher has a wake-up still to deliver.
    owes_wake: AtomicBool,
}

/// A writer's staging memory.
#[derive(Debug)]
pub(crate) struct Block {
    bytes: NonNull<MaybeUninit<u8>>,
    capacity: u32,
    /// Places for records, made when first used: most blocks are full of bytes long before.
    slots: Box<[UnsafeCell<MaybeUninit<Slot>>]>,
    /// How many of them are made. Only the writer, and whoever owns the block, looks.
    made: StdAtomicUsize,
    references: AtomicU64,
    canary: Canary,
}

// SAFETY: payload is written by the one writer that owns the block, in ranges no published record
// covers, and read in published ranges; slots are guarded the same way; the rest is atomic.
unsafe impl Send for Block {}
// SAFETY: as above.
unsafe impl Sync for Block {}

impl Block {
    /// A block on the heap, owned by the caller as its writer.
    pub(crate) fn allocate(capacity: u32, records: usize) -> *mut Self {
        let bytes: Box<[MaybeUninit<u8>]> = Box::new_uninit_slice(capacity as usize);
        let bytes = NonNull::from(Box::leak(bytes)).cast();
        let slots = (0..records).map(|_| UnsafeCell::new(MaybeUninit::uninit())).collect();
        Box::into_raw(Box::new(Self {
            bytes,
            capacity,
            slots,
            made: StdAtomicUsize::new(0),
            references: AtomicU64::new(BIAS),
            canary: Canary::new(),
        }))
    }

    /// Payload bytes it has room for.
    pub(crate) fn capacity(&self) -> usize {
        self.capacity as usize
    }

    pub(crate) fn records(&self) -> usize {
        self.slots.len()
    }

    /// # Safety
    /// The caller is the block's writer; no published record covers `at..at + bytes.len()`, and
    /// that is within the capacity.
    pub(crate) unsafe fn write(&self, at: usize, bytes: &[u8]) {
        debug_assert!(at + bytes.len() <= self.capacity());
        // SAFETY: the caller's promise: in bounds, and nobody else touches these bytes.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), self.bytes.as_ptr().add(at).cast(), bytes.len()) }
    }

    /// # Safety
    /// The range was written, and is not written again as long as the slice lives.
    pub(crate) unsafe fn read(&self, range: Range<u32>) -> &[u8] {
        debug_assert!(range.end <= self.capacity);
        // SAFETY: the caller's promise: initialised, in bounds, unchanged.
        unsafe { slice::from_raw_parts(self.bytes.as_ptr().add(range.start as usize).cast(), range.len()) }
    }

    /// The place of the writer's `index`-th record, made if it was not.
    ///
    /// # Safety
    /// The caller is the block's writer, and has asked for those before.
    pub(crate) unsafe fn slot(block: *mut Self, index: usize) -> *mut Slot {
        // SAFETY: the caller's promise.
        let this = unsafe { &*block };
        let fresh = index >= this.made.load(Ordering::Relaxed);
        this.slots[index].with_mut(|place| {
            if fresh {
                let slot = Slot {
                    block,
                    record: UnsafeCell::new(Record::blank()),
                    owes_wake: AtomicBool::new(false),
                };
                // SAFETY: nobody but the writer knows the place before it is made.
                unsafe { (*place).write(slot) };
                this.made.store(index + 1, Ordering::Relaxed);
            }
            place.cast()
        })
    }

    /// Takes `n` references off; true if the caller now owns the block.
    fn take_off(&self, n: u64) -> bool {
        if self.references.fetch_sub(n, ord::REF_DROP()) != n {
            return false;
        }
        fence(ord::REF_LAST());
        true
    }

    /// The writer leaves, having published `published` records; true if the caller now owns it.
    pub(crate) fn leave(&self, published: u64) -> bool {
        self.take_off(BIAS - published)
    }

    /// So many records are released; true if the caller now owns the block.
    pub(crate) fn release(&self, records: u64) -> bool {
        !fault(Fault::LeakRecord) && self.take_off(records)
    }

    /// Makes a block that the caller owns ready for its next writer.
    pub(crate) fn reset(&mut self) {
        self.references = AtomicU64::new(BIAS);
        self.canary = Canary::new();
    }

    /// Marks the block as given up, in a model build.
    pub(crate) fn kill(&self) {
        self.canary.kill();
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        let bytes = ptr::slice_from_raw_parts_mut(self.bytes.as_ptr(), self.capacity());
        // In a model blocks are dropped after their execution, when loom's cells cannot be used; a
        // released slot owns nothing that would leak.
        #[cfg(not(any(replcore_loom, replcore_fuzz)))]
        for slot in &mut self.slots[..*self.made.get_mut()] {
            // SAFETY: it was made, and the block is its last user.
            slot.with_mut(|place| unsafe { (*place).assume_init_drop() });
        }
        // SAFETY: `allocate` leaked exactly this box.
        drop(unsafe { Box::from_raw(bytes) });
    }
}

/// Published bytes that are contiguous in memory.
#[derive(Clone, Debug)]
pub(crate) enum Run<'a> {
    /// In a block, in a range that published records cover.
    Staged { block: &'a Block, range: Range<u32> },
    /// A caller's.
    Shared(&'a [u8]),
}

impl<'a> Run<'a> {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Staged { range, .. } => range.len(),
            Self::Shared(bytes) => bytes.len(),
        }
    }

    pub(crate) fn bytes(&self) -> &'a [u8] {
        match self {
            // SAFETY: the range of a published record was written before its publication and
            // belongs to it until the record is released, after this borrow.
            Self::Staged { block, range } => unsafe { block.read(range.clone()) },
            Self::Shared(bytes) => bytes,
        }
    }

    /// Without its first `n` bytes.
    pub(crate) fn skip(self, n: usize) -> Self {
        match self {
            Self::Staged { block, range } => Self::Staged { block, range: range.start + n as u32..range.end },
            Self::Shared(bytes) => Self::Shared(&bytes[n..]),
        }
    }

    /// Takes in a run that lies right behind this one in the same block; `false` if it does not.
    pub(crate) fn join(&mut self, next: &Self) -> bool {
        match (self, next) {
            (Self::Staged { block, range }, Self::Staged { block: other, range: next })
                if ptr::eq(*block, *other) && range.end == next.start =>
            {
                range.end = next.end;
                true
            }
            _ => false,
        }
    }
}

impl Slot {
    /// Begins a record of one run of staged bytes, or of none, while it is private. Its place in the
    /// stream is not set yet.
    ///
    /// # Safety
    /// As [`write`](Self::write).
    pub(crate) unsafe fn write_run(&self, staged: Range<u32>) {
        self.record.with_mut(|place| {
            // SAFETY: private.
            let record = unsafe { &mut *place };
            record.staged = staged;
            record.composite = None;
        });
    }

    /// Writes the record while it is private.
    ///
    /// # Safety
    /// The slot is not published, and the caller is its block's writer.
    pub(crate) unsafe fn write(&self, record: Record) {
        self.owes_wake.store(record.after.owes_wake, ord::OWES_STORE());
        // SAFETY: private.
        self.record.with_mut(|place| unsafe { *place = record });
    }

    /// Changes the record while it is private.
    ///
    /// # Safety
    /// As [`write`](Self::write).
    pub(crate) unsafe fn update(&self, change: impl FnOnce(&mut Record)) {
        self.record.with_mut(|place| {
            // SAFETY: private.
            let record = unsafe { &mut *place };
            change(record);
            self.owes_wake.store(record.after.owes_wake, ord::OWES_STORE());
        });
    }

    fn with<R>(&self, read: impl FnOnce(&Record) -> R) -> R {
        // SAFETY: a block is freed after all of its slots' users (I6).
        unsafe { &*self.block }.canary.check();
        // SAFETY: a published record is never written (I5).
        self.record.with(|record| read(unsafe { &*record }))
    }

    /// What the stream has come to with this record.
    pub(crate) fn after(&self) -> Prior {
        let mut prior = self.with(|record| record.after);
        prior.owes_wake = prior.owes_wake && self.owes_wake.load(ord::OWES_LOAD());
        prior
    }

    pub(crate) fn start(&self) -> u64 {
        self.with(|record| record.start)
    }

    pub(crate) fn len(&self) -> u64 {
        self.with(Record::len)
    }

    /// The wake-up that this publication owed has been delivered.
    pub(crate) fn woke(&self) {
        self.owes_wake.store(false, ord::OWES_STORE());
    }

    /// The bounds, relative to the record, of the frame that holds its byte `at`.
    pub(crate) fn frame_at(&self, at: u64) -> Range<u64> {
        self.with(|record| {
            let ends = record.composite.as_ref().map_or(&[][..], |composite| &composite.frame_ends);
            let index = ends.partition_point(|end| *end <= at);
            let start = if index == 0 { 0 } else { ends[index - 1] };
            start..ends.get(index).copied().unwrap_or_else(|| record.len())
        })
    }

    pub(crate) fn piece_count(&self) -> usize {
        self.with(Record::piece_count)
    }

    /// The record's `index`-th run of bytes. It lives as long as the record's segment.
    pub(crate) fn run(&self, index: usize) -> Run<'_> {
        let staged = self.with(|record| match &record.composite {
            None => Ok(record.staged.clone()),
            Some(composite) => match &composite.pieces[index] {
                Piece::Staged(range) => Ok(range.clone()),
                Piece::Shared(bytes) => Err(ptr::from_ref::<[u8]>(bytes)),
            },
        });
        match staged {
            // SAFETY: the record's reference keeps the block as long as the segment.
            Ok(range) => Run::Staged { block: unsafe { &*self.block }, range },
            // SAFETY: `Bytes` does not move its bytes, and the record that owns them stays.
            Err(shared) => Run::Shared(unsafe { &*shared }),
        }
    }

    /// Lets go of what the record holds beside its block; returns the block, which still counts it.
    ///
    /// # Safety
    /// The record was published, no one reads it any more, and it is released once.
    pub(crate) unsafe fn release(&self) -> *mut Block {
        // SAFETY: the caller's promise.
        self.record.with_mut(|record| unsafe { (*record).composite = None });
        self.block.cast_mut()
    }
}
