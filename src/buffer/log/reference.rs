//! Counted references to segments, and what happens to their memory after the last (I6).

use std::ptr;

use crate::buffer::block::Block;
use crate::buffer::pool::Pool;
use crate::buffer::segment::Segment;
use crate::buffer::stats::Counters;
use crate::buffer::sync::table::{Fault, fault};
use crate::buffer::sync::unwinding;
use crate::buffer::writer::Stage;

/// The memory that goes from use to use.
#[derive(Debug)]
pub(crate) struct Pools {
    pub(crate) blocks: Pool<Block>,
    pub(crate) segments: Pool<Segment>,
    /// Writers' stages for callers of `ReplicationBuffer::append`, who keep none.
    pub(crate) stages: Pool<Stage>,
    pub(crate) counters: Counters,
}

/// A counted reference to a segment (I6).
#[derive(Debug)]
pub(crate) struct SegmentRef {
    segment: *mut Segment,
    pools: std::sync::Arc<Pools>,
}

// SAFETY: a reference may be moved and used from any thread, like an `Arc`.
unsafe impl Send for SegmentRef {}
// SAFETY: as above.
unsafe impl Sync for SegmentRef {}

impl SegmentRef {
    /// # Safety
    /// The segment is protected by a pin, or referenced otherwise, during the call.
    pub(super) unsafe fn new(segment: *mut Segment, pools: &std::sync::Arc<Pools>) -> Self {
        if !fault(Fault::UncountedReference) {
            // SAFETY: the caller's promise.
            unsafe { (*segment).take_reference() };
        }
        Self { segment, pools: std::sync::Arc::clone(pools) }
    }
}

impl std::ops::Deref for SegmentRef {
    type Target = Segment;

    fn deref(&self) -> &Segment {
        // SAFETY: the reference keeps it.
        unsafe { &*self.segment }
    }
}

impl Drop for SegmentRef {
    fn drop(&mut self) {
        if unwinding() {
            return;
        }
        // SAFETY: the reference is given up once, here.
        unsafe { drop_reference(self.segment, &self.pools) }
    }
}

/// Gives up a reference to a segment, and the segment if it was the last.
///
/// # Safety
/// The caller owns the reference.
pub(super) unsafe fn drop_reference(segment: *mut Segment, pools: &Pools) {
    // SAFETY: the caller's reference keeps it until here.
    if unsafe { (*segment).drop_reference() } {
        // SAFETY: it was the last one, and the chain's was dropped after all pins were gone.
        unsafe { pools.release_segment(segment) }
    }
}

impl Pools {
    /// Gives back a segment's records, then the segment.
    ///
    /// # Safety
    /// Nobody else uses the segment.
    unsafe fn release_segment(&self, segment: *mut Segment) {
        // SAFETY: the caller's promise.
        let segment_ref = unsafe { &*segment };
        // Neighbours are often of one block: one step for all of them.
        let (mut block, mut records) = (ptr::null_mut(), 0);
        for index in 0..segment_ref.capacity() {
            let Some(record) = segment_ref.record(index) else { break };
            // SAFETY: the segment held it, and goes.
            let of = unsafe { record.release() };
            if of != block {
                // SAFETY: these records were released just now.
                unsafe { self.release_records(block, records) };
                (block, records) = (of, 0);
            }
            records += 1;
        }
        // SAFETY: as above.
        unsafe { self.release_records(block, records) };
        segment_ref.kill();
        Counters::less(&self.counters.segments_live, 1);
        // SAFETY: no one else uses it.
        unsafe { self.segments.put_or_free(segment) }
    }

    /// Takes so many released records off their block, if there is one.
    ///
    /// # Safety
    /// They were released, and are not counted off twice.
    unsafe fn release_records(&self, block: *mut Block, records: u64) {
        // SAFETY: the records' own references keep the block until here.
        if unsafe { block.as_ref() }.is_some_and(|block| block.release(records)) {
            // SAFETY: no record is left in it: it is ours.
            unsafe { self.release_block(block) };
        }
    }

    /// Gives back a block.
    ///
    /// # Safety
    /// The caller owns it, and no published record is in it.
    pub(crate) unsafe fn release_block(&self, block: *mut Block) {
        Counters::less(&self.counters.blocks_live, 1);
        // SAFETY: the caller's promise.
        unsafe {
            (*block).kill();
            self.blocks.put_or_free(block);
        }
    }
}

/// A pointer that a release takes to whichever thread runs it.
pub(crate) struct SendPtr<T>(pub(crate) *mut T);

// SAFETY: what it points to is `Send`, and its release has it alone.
unsafe impl<T> Send for SendPtr<T> {}

impl<T> SendPtr<T> {
    /// The whole value, so that a closure captures it and not the bare pointer.
    pub(crate) fn get(self) -> *mut T {
        self.0
    }
}
