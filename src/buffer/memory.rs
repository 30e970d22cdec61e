//! The memory that goes from use to use: segments and blocks, what gives them out and what takes them
//! back after their last user (I6).
//!
//! # Promise
//! Whatever was handed out comes back once. Retired memory is handed out again while it is still warm:
//! a pool gives back first what is at its front, and a retirement is flushed at once. What the pools
//! keep is bounded by number and, for long frames, by bytes.
//!
//! # Remainders
//! A writer that goes, and whose place is not kept for the next one, leaves a block that its segment needs
//! for the few bytes in it. What is left of the block is kept for a writer to come, until the segment lets
//! go: so waves of writers take the memory of one wave (I11).
//!
//! # Size classes
//! A frame that is long beside a block takes a block of its own. Those are made in classes, four to a
//! doubling from half a block on, so at most a fifth of one is unused, and a spare one of the same
//! class will do. What is longer than [`MAX_POOLED_FRAME_BYTES`] is made to measure and not kept.

use std::mem::MaybeUninit;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::block::Block;
use super::config::Settings;
use super::copy::copy_slice;
use super::pool::{Pool, discard};
use super::segment::{Header, Segment, Shape};
use super::stats::Counters;
use super::sync::table::{Fault, fault};
use super::sync::unwinding;

/// The longest frame whose block is kept for another.
pub(crate) const MAX_POOLED_FRAME_BYTES: usize = 16 << 20;

/// Spare blocks of one size class.
#[cfg(not(any(replcore_loom, replcore_fuzz)))]
const POOLED_IN_CLASS: usize = 32;
#[cfg(any(replcore_loom, replcore_fuzz))]
const POOLED_IN_CLASS: usize = 1;

/// Remainders kept for each writer that is.
const REMAINDERS_A_WRITER: usize = 16;
/// Remainders that are looked at when a segment is linked.
const SWEPT_REMAINDERS: usize = 8;

/// Spare and live memory of one buffer.
#[derive(Debug)]
pub(crate) struct Memory {
    blocks: Pool<Block>,
    remainders: Pool<Remainder>,
    /// How many there are, about: none costs no look.
    remainders_kept: AtomicUsize,
    segments: Pool<Segment>,
    classes: Classes,
    shape: Shape,
    block_bytes: u32,
    pub(crate) counters: Counters,
}

impl Memory {
    pub(crate) fn new(settings: &Settings) -> Arc<Self> {
        Arc::new(Self {
            blocks: Pool::new(settings.pooled_blocks),
            remainders: Pool::new(settings.pooled_writers.saturating_mul(REMAINDERS_A_WRITER)),
            remainders_kept: AtomicUsize::new(0),
            segments: Pool::new(settings.pooled_segments),
            classes: Classes::new(settings.block_bytes, settings.pooled_frame_bytes),
            shape: Shape {
                cells: settings.segment_frames,
                blocks: settings.segment_blocks,
                numbers: settings.segment_contexts,
            },
            // `build` checked that it fits.
            block_bytes: settings.block_bytes as u32,
            counters: Counters::default(),
        })
    }

    /// A segment for the chain.
    pub(crate) fn segment(&self, header: Header) -> Box<Segment> {
        Counters::more(&self.counters.segments_live, 1);
        match self.segments.take() {
            Some(mut spare) => {
                spare.reset(header);
                spare
            }
            None => Segment::allocate(self.shape, header),
        }
    }

    /// A block for a writer to stage in, with one reference.
    pub(crate) fn block(&self) -> *mut Block {
        Counters::more(&self.counters.blocks_live, 1);
        reused(self.blocks.take()).unwrap_or_else(|| Block::allocate(self.block_bytes))
    }

    /// What another writer left of a block, with its reference, and how many bytes of it are taken.
    pub(crate) fn remainder(&self) -> Option<(*mut Block, usize)> {
        if self.remainders_kept.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let remainder = self.remainders.take()?;
        self.remainders_kept.fetch_sub(1, Ordering::Relaxed);
        Some((remainder.block, remainder.used))
    }

    /// Gives up a writer's reference to a block of which `used` bytes are taken.
    ///
    /// # Safety
    /// The caller is the block's writer and owns the reference, and the block is this memory's.
    pub(crate) unsafe fn leave_block(&self, block: *mut Block, used: usize) {
        // SAFETY: the caller's reference keeps it until here.
        let is_worth_keeping = unsafe { (*block).is_shared() && used <= (*block).capacity() / 4 * 3 };
        if is_worth_keeping {
            // Before it can be taken, so that the count is never below what there is.
            self.remainders_kept.fetch_add(1, Ordering::Relaxed);
            if self.remainders.put(Box::new(Remainder { block, used })).is_ok() {
                return;
            }
            self.remainders_kept.fetch_sub(1, Ordering::Relaxed);
        }
        // SAFETY: the caller's promise, and it was not kept.
        unsafe { self.drop_block(block) }
    }

    /// Lets go of remainders whose blocks nobody else needs any more: of a few of them, for it is a writer's
    /// time.
    pub(crate) fn sweep_remainders(&self) {
        let mut looked_at = [const { None }; SWEPT_REMAINDERS];
        looked_at.fill_with(|| self.remainder());
        for (block, used) in looked_at.into_iter().flatten() {
            // SAFETY: the remainder's reference, and right to write, came with it.
            unsafe { self.leave_block(block, used) }
        }
    }

    /// A block for one frame of that many bytes, with one reference.
    pub(crate) fn block_of(&self, bytes: usize) -> *mut Block {
        Counters::more(&self.counters.blocks_live, 1);
        let (class, capacity) = self.classes.of(bytes);
        if capacity == self.block_bytes {
            return reused(self.blocks.take()).unwrap_or_else(|| Block::allocate(capacity));
        }
        reused(class.and_then(|class| self.classes.take(class, capacity)))
            .unwrap_or_else(|| Block::allocate(capacity))
    }

    /// Gives up a reference to a block.
    ///
    /// # Safety
    /// The caller owns it, and the block is this memory's.
    pub(crate) unsafe fn drop_block(&self, block: *mut Block) {
        // SAFETY: the caller's reference keeps it until here.
        if !unsafe { (*block).drop_reference() } {
            return;
        }
        Counters::less(&self.counters.blocks_live, 1);
        // SAFETY: it was the last: it is ours, and came from `Block::allocate`.
        let block = unsafe { Box::from_raw(block) };
        if block.capacity() == self.block_bytes as usize {
            self.blocks.put_or_free(block);
        } else {
            self.classes.put(block);
        }
    }

    /// Gives up a reference to a segment's payload.
    ///
    /// # Safety
    /// The caller owns it, and the segment is this memory's.
    pub(crate) unsafe fn drop_payload(&self, segment: *mut Segment) {
        // SAFETY: the caller's reference keeps it until here.
        let held = unsafe { &*segment };
        if !held.drop_payload() {
            return;
        }
        // SAFETY: it was the last one, and the table's references are given up with it.
        unsafe {
            held.release_payload(
                |composite| {
                    if fault(Fault::LeakComposite) {
                        std::mem::forget(composite);
                    } else {
                        drop(composite);
                    }
                },
                |block| self.drop_block(block),
            );
            // The payload's own.
            self.drop_cells(segment);
        }
    }

    /// Gives up a reference to a segment's cells.
    ///
    /// # Safety
    /// As for [`drop_payload`](Self::drop_payload).
    pub(crate) unsafe fn drop_cells(&self, segment: *mut Segment) {
        // SAFETY: the caller's reference keeps it until here.
        if unsafe { (*segment).drop_cells() } {
            Counters::less(&self.counters.segments_live, 1);
            // SAFETY: it was the last: it is ours, and came from a box.
            self.segments.put_or_free(unsafe { Box::from_raw(segment) });
        }
    }

    /// Takes back a segment that was never linked.
    pub(crate) fn take_back(&self, segment: Box<Segment>) {
        // SAFETY: it has one reference, the chain's, which it never came to.
        unsafe { self.drop_payload(Box::into_raw(segment)) }
    }

    /// How many spare segments, and spare blocks, there are, about.
    pub(crate) fn pooled(&self) -> (u64, u64) {
        (self.segments.len() as u64, (self.blocks.len() + self.classes.len()) as u64)
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        if unwinding() {
            return;
        }
        while let Some((block, _)) = self.remainder() {
            // SAFETY: the remainder's reference came with it.
            unsafe { self.drop_block(block) }
        }
    }
}

/// What a writer left of a block: the writer's reference, and the right to write behind what is taken.
#[derive(Debug)]
struct Remainder {
    block: *mut Block,
    used: usize,
}

// SAFETY: a block's writer may be any thread, one at a time.
unsafe impl Send for Remainder {}

fn reused(spare: Option<Box<Block>>) -> Option<*mut Block> {
    spare.map(|mut spare| {
        spare.reset();
        Box::into_raw(spare)
    })
}

/// Spare blocks of long frames, by size.
#[derive(Debug)]
struct Classes {
    /// The longest that are of no class.
    base_bytes: usize,
    pools: Vec<Pool<Block>>,
    /// What they may hold altogether, and hold.
    limit_bytes: u64,
    bytes: AtomicU64,
}

impl Classes {
    fn new(block_bytes: usize, limit_bytes: u64) -> Self {
        let base_bytes = block_bytes / 2;
        let mut classes = Self { base_bytes, pools: Vec::new(), limit_bytes, bytes: AtomicU64::new(0) };
        let most = MAX_POOLED_FRAME_BYTES.min(usize::try_from(limit_bytes).unwrap_or(usize::MAX));
        while classes.capacity(classes.pools.len()) <= most {
            classes.pools.push(Pool::new(POOLED_IN_CLASS));
        }
        classes
    }

    /// Bytes of a block of that class.
    fn capacity(&self, class: usize) -> usize {
        let (doubling, quarter) = (class / 4, class % 4 + 1);
        (self.base_bytes << doubling) / 4 * (4 + quarter)
    }

    /// The class for so many bytes, and how large its blocks are; no class for what is not kept.
    fn of(&self, bytes: usize) -> (Option<usize>, u32) {
        let class = (0..self.pools.len()).find(|class| self.capacity(*class) >= bytes);
        let capacity = class.map_or(bytes, |class| self.capacity(class));
        (class, u32::try_from(capacity).unwrap_or(u32::MAX))
    }

    fn take(&self, class: usize, capacity: u32) -> Option<Box<Block>> {
        let spare = self.pools[class].take()?;
        self.bytes.fetch_sub(u64::from(capacity), Ordering::Relaxed);
        Some(spare)
    }

    fn put(&self, block: Box<Block>) {
        let capacity = block.capacity();
        let bytes = capacity as u64;
        let class = (0..self.pools.len()).find(|class| self.capacity(*class) == capacity);
        let Some(class) = class else { return discard(block) };
        // Before it can be taken, so that the count is never below what there is.
        let kept = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        let refused =
            if kept + bytes <= self.limit_bytes { self.pools[class].put(block).err() } else { Some(block) };
        if let Some(block) = refused {
            self.bytes.fetch_sub(bytes, Ordering::Relaxed);
            discard(block);
        }
    }

    fn len(&self) -> usize {
        self.pools.iter().map(Pool::len).sum()
    }
}

/// Bytes in a block of their own, as an owner for `Bytes`.
#[derive(Debug)]
pub(crate) struct OwnBlock {
    block: *mut Block,
    len: usize,
    memory: Arc<Memory>,
}

// SAFETY: a reference may be moved and used from any thread, like an `Arc`.
unsafe impl Send for OwnBlock {}

impl OwnBlock {
    /// `bytes`, copied.
    pub(crate) fn copy_of(bytes: &[u8], memory: &Arc<Memory>) -> Self {
        Self::new(bytes.len(), memory, |spare| {
            copy_slice(bytes, spare);
            bytes.len()
        })
    }

    /// So many bytes, which `fill` writes from the first on; it says how many it has written.
    ///
    /// # Panics
    /// If it has not written all.
    pub(crate) fn new(
        len: usize,
        memory: &Arc<Memory>,
        fill: impl FnOnce(&mut [MaybeUninit<u8>]) -> usize,
    ) -> Self {
        let own = Self { block: memory.block_of(len), len, memory: Arc::clone(memory) };
        assert!(own.block().capacity() >= len, "a block of its own has room for its frame");
        // SAFETY: just taken, and long enough.
        let filled = fill(unsafe { own.block().spare(0..len) });
        assert_eq!(filled, len, "every byte is written before it is read");
        own
    }

    /// The block; the bytes are its first.
    pub(crate) fn block(&self) -> &Block {
        // SAFETY: the reference keeps it.
        unsafe { &*self.block }
    }
}

impl AsRef<[u8]> for OwnBlock {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: written by `new`, and never again.
        unsafe { (*self.block).read(0..self.len) }
    }
}

impl Drop for OwnBlock {
    fn drop(&mut self) {
        if unwinding() {
            return;
        }
        // SAFETY: the reference is given up once, here.
        unsafe { self.memory.drop_block(self.block) }
    }
}
