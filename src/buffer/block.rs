//! Blocks: the memory in which a writer finishes a frame before anyone sees it.
//!
//! # Promise
//! Bytes are written by one writer while they are private, and never again once they are published;
//! they stay where they are as long as a segment or a cursor can reach them (I5, I6).
//!
//! # Layout
//! A block has room for bytes and nothing else. A writer fills it from the front, so small frames
//! that it appended one after the other are contiguous and leave in one piece. A frame that is long
//! beside a block takes a block of its own.
//!
//! A publication of several pieces or frames, or with bytes that the caller shares, is described by
//! a [`Composite`]. Its address stands in the block like bytes of a frame (unaligned); readers find
//! it there. The composite belongs to its segment, which drops it once, when its payload goes.
//!
//! # Lifetime
//! A block counts its users: its writer, and each segment in whose table it stands.

use std::mem::MaybeUninit;
use std::ops::Range;
use std::ptr::{self, NonNull};
use std::slice;

use bytes::Bytes;

use super::copy::copy;
use super::sync::table::ord;
use super::sync::{AtomicUsize, Canary, Marks, fence, unwinding};

/// Bytes that a composite takes in its block, beside those staged there.
pub(crate) const COMPOSITE_BYTES: usize = size_of::<*mut Composite>();

/// A part of a composite's bytes.
#[derive(Debug)]
pub(crate) enum Piece {
    /// In the composite's block.
    Staged(Range<u32>),
    /// Handed in by the caller.
    Shared(Bytes),
}

impl Piece {
    fn len(&self) -> u64 {
        match self {
            Self::Staged(range) => u64::from(range.end - range.start),
            Self::Shared(bytes) => bytes.len() as u64,
        }
    }
}

/// A publication of several pieces, or of several frames.
#[derive(Debug)]
pub(crate) struct Composite {
    pub(crate) pieces: Vec<Piece>,
    /// Where each ends, relative to the publication's start.
    piece_ends: Vec<u64>,
    /// Where each frame ends, relative to the publication's start, if there are several.
    pub(crate) frame_ends: Vec<u64>,
    canary: Canary,
}

impl Composite {
    /// On the heap, private to the caller.
    pub(crate) fn new(pieces: Vec<Piece>, frame_ends: Vec<u64>) -> Box<Self> {
        let ends = pieces.iter().scan(0, |end, piece| {
            *end += piece.len();
            Some(*end)
        });
        Box::new(Self { piece_ends: ends.collect(), pieces, frame_ends, canary: Canary::new() })
    }

    /// The piece that holds its byte `at`, and which byte of it that is.
    pub(crate) fn piece_at(&self, at: u64) -> (usize, u64) {
        self.canary.check();
        let index = self.piece_ends.partition_point(|end| *end <= at);
        let start = if index == 0 { 0 } else { self.piece_ends[index - 1] };
        (index, at - start)
    }

    /// The bounds, relative to the publication, of the frame that holds its byte `at`.
    pub(crate) fn frame_at(&self, at: u64, len: u64) -> Range<u64> {
        self.canary.check();
        let index = self.frame_ends.partition_point(|end| *end <= at);
        let start = if index == 0 { 0 } else { self.frame_ends[index - 1] };
        start..self.frame_ends.get(index).copied().unwrap_or(len)
    }
}

impl Drop for Composite {
    fn drop(&mut self) {
        if !unwinding() {
            self.canary.kill();
        }
    }
}

/// Memory for frames.
#[derive(Debug)]
pub(crate) struct Block {
    bytes: NonNull<MaybeUninit<u8>>,
    capacity: u32,
    references: AtomicUsize,
    marks: Marks,
    canary: Canary,
}

// SAFETY: bytes are written by the one writer that owns the block, in ranges that nothing published
// covers, and read in published ranges; the rest is atomic.
unsafe impl Send for Block {}
// SAFETY: as above.
unsafe impl Sync for Block {}

impl Block {
    /// A block on the heap, with one reference, the caller's.
    pub(crate) fn allocate(capacity: u32) -> *mut Self {
        let bytes: Box<[MaybeUninit<u8>]> = Box::new_uninit_slice(capacity as usize);
        Box::into_raw(Box::new(Self {
            bytes: NonNull::from(Box::leak(bytes)).cast(),
            capacity,
            references: AtomicUsize::new(1),
            marks: Marks::new(capacity as usize),
            canary: Canary::new(),
        }))
    }

    /// Makes a spare block as good as new. Only its owner can (`&mut`).
    pub(crate) fn reset(&mut self) {
        self.references = AtomicUsize::new(1);
        self.canary = Canary::new();
    }

    /// Bytes it has room for.
    pub(crate) fn capacity(&self) -> usize {
        self.capacity as usize
    }

    /// # Safety
    /// 1. The caller is the block's writer.
    /// 2. Nothing published covers `at..at + bytes.len()`, and that is within the capacity.
    #[inline]
    pub(crate) unsafe fn write(&self, at: usize, bytes: &[u8]) {
        debug_assert!(at + bytes.len() <= self.capacity());
        self.marks.write(at..at + bytes.len());
        // SAFETY: in bounds, and nobody else touches these bytes (2).
        unsafe { copy(bytes.as_ptr(), self.bytes.as_ptr().add(at).cast(), bytes.len()) }
    }

    /// # Safety
    /// The range was written, and is not written again as long as the slice lives.
    #[inline]
    pub(crate) unsafe fn read(&self, range: Range<usize>) -> &[u8] {
        debug_assert!(range.start <= range.end && range.end <= self.capacity());
        self.canary.check();
        self.marks.read(range.clone());
        // SAFETY: the caller's promise: initialised, in bounds, unchanged.
        unsafe { slice::from_raw_parts(self.bytes.as_ptr().add(range.start).cast(), range.len()) }
    }

    /// Memory to write to.
    ///
    /// # Safety
    /// As for [`write`](Self::write), and as long as the slice lives.
    #[expect(clippy::mut_from_ref, reason = "a block is written in parts, by its one writer")]
    pub(crate) unsafe fn spare(&self, range: Range<usize>) -> &mut [MaybeUninit<u8>] {
        debug_assert!(range.start <= range.end && range.end <= self.capacity());
        self.marks.write(range.clone());
        // SAFETY: in bounds, and nobody else touches these bytes.
        unsafe { slice::from_raw_parts_mut(self.bytes.as_ptr().add(range.start), range.len()) }
    }

    /// Leaves the address of a composite at `at`.
    ///
    /// # Safety
    /// As for [`write`](Self::write) of [`COMPOSITE_BYTES`] bytes.
    pub(crate) unsafe fn write_composite(&self, at: usize, composite: *mut Composite) {
        debug_assert!(at + COMPOSITE_BYTES <= self.capacity());
        self.marks.write(at..at + COMPOSITE_BYTES);
        // SAFETY: in bounds, and nobody else touches these bytes.
        unsafe { self.bytes.as_ptr().add(at).cast::<*mut Composite>().write_unaligned(composite) }
    }

    /// The address of a composite left at `at`.
    ///
    /// # Safety
    /// It was left there, and nothing was written over it.
    pub(crate) unsafe fn composite(&self, at: usize) -> *mut Composite {
        self.canary.check();
        self.marks.read(at..at + COMPOSITE_BYTES);
        // SAFETY: the caller's promise.
        unsafe { self.bytes.as_ptr().add(at).cast::<*mut Composite>().read_unaligned() }
    }

    /// A reference more. The caller has one that stays meanwhile.
    pub(crate) fn take_reference(&self) {
        self.canary.check();
        self.references.fetch_add(1, ord::REF_TAKE());
    }

    /// Whether somebody beside the caller, who has a reference, may have one.
    pub(crate) fn is_shared(&self) -> bool {
        self.canary.check();
        self.references.load(ord::COUNTER()) > 1
    }

    /// A reference less; true if it was the last, and the block is the caller's.
    pub(crate) fn drop_reference(&self) -> bool {
        self.canary.check();
        if self.references.fetch_sub(1, ord::REF_DROP()) != 1 {
            return false;
        }
        fence(ord::REF_LAST());
        self.canary.kill();
        true
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        let bytes = ptr::slice_from_raw_parts_mut(self.bytes.as_ptr(), self.capacity());
        // SAFETY: `allocate` leaked exactly this box.
        drop(unsafe { Box::from_raw(bytes) });
    }
}

/// Published bytes that are contiguous in memory.
#[derive(Clone, Debug)]
pub(crate) enum Run<'a> {
    /// In a block, in a range that publications cover.
    Staged {
        /// The block.
        block: &'a Block,
        /// Where in it.
        range: Range<usize>,
    },
    /// A caller's.
    Shared(&'a [u8]),
}

impl<'a> Run<'a> {
    #[inline]
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Staged { range, .. } => range.len(),
            Self::Shared(bytes) => bytes.len(),
        }
    }

    #[inline]
    pub(crate) fn bytes(&self) -> &'a [u8] {
        match self {
            // SAFETY: a published range was written before its publication, and stays as it is until
            // the segment's payload is released, after this borrow.
            Self::Staged { block, range } => unsafe { block.read(range.clone()) },
            Self::Shared(bytes) => bytes,
        }
    }

    /// Without its first `n` bytes.
    #[inline]
    pub(crate) fn skip(self, n: usize) -> Self {
        match self {
            Self::Staged { block, range } => Self::Staged { block, range: range.start + n..range.end },
            Self::Shared(bytes) => Self::Shared(&bytes[n..]),
        }
    }

    /// With the `n` bytes that lie right behind it in its block, which are published too.
    #[inline]
    pub(crate) fn lengthened(self, n: usize) -> Self {
        match self {
            Self::Staged { block, range } => Self::Staged { block, range: range.start..range.end + n },
            Self::Shared(_) => self,
        }
    }

    /// Takes in a run that lies right behind this one in the same block; `false` if it does not.
    #[inline]
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
