//! The index: segments by offset.
//!
//! Every [`INDEX_STRIDE`]th segment is listed in an immutable array, replaced as it grows. Entries
//! of segments long gone stay in it until the next replacement, and are told by their ordinal.

use std::ptr;

use super::{Log, SendPtr};
use crate::buffer::reclaim::{Pin, Stale};
use crate::buffer::segment::Segment;
use crate::buffer::sync::table::{Fault, fault, ord};
use crate::buffer::sync::{Canary, free};

/// One index entry for so many segments.
#[cfg(not(any(replcore_loom, replcore_fuzz)))]
pub(super) const INDEX_STRIDE: u64 = 64;
#[cfg(any(replcore_loom, replcore_fuzz))]
pub(super) const INDEX_STRIDE: u64 = 2;

/// Segments by offset, oldest first.
#[derive(Debug)]
pub(super) struct Index {
    entries: Vec<Entry>,
    birth: u64,
    canary: Canary,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    base: u64,
    ordinal: u64,
    segment: *mut Segment,
}

impl Log {
    /// The last indexed segment at or before `offset` that is not older than `oldest`, which the
    /// pin protects.
    pub(super) fn indexed<'p>(
        &self,
        offset: u64,
        oldest: u64,
        pin: &'p Pin<'_>,
    ) -> Result<Option<&'p Segment>, Stale> {
        let index = pin.protect(|| self.index.load(ord::INDEX_LOAD()))?;
        // SAFETY: protected by the pin.
        let Some(index) = (unsafe { index.as_ref() }) else { return Ok(None) };
        index.canary.check();
        let entry = index.entries.partition_point(|entry| entry.base <= offset);
        let entry = entry.checked_sub(1).map(|at| index.entries[at]);
        // SAFETY: a segment as young as one that is in the chain under this pin is retired only
        // after the pin, and the entry became visible after the segment was linked.
        Ok(entry
            .filter(|entry| entry.ordinal >= oldest || fault(Fault::IndexUnlooked))
            .map(|entry| unsafe { &*entry.segment }))
    }

    /// Lists a segment just linked. If this thread stops here, one entry is missing.
    pub(super) fn add_to_index(&self, segment: &Segment, pin: &Pin<'_>) -> Result<(), Stale> {
        let head = self.head(pin)?.ordinal();
        let old = pin.protect(|| self.index.load(ord::INDEX_LOAD()))?;
        // SAFETY: protected by the pin.
        let kept = unsafe { old.as_ref() }.map_or(&[][..], |index| &index.entries);
        let mut entries: Vec<_> = kept.iter().filter(|entry| entry.ordinal >= head).copied().collect();
        let entry = Entry {
            base: segment.base(),
            ordinal: segment.ordinal(),
            segment: ptr::from_ref(segment).cast_mut(),
        };
        let at = entries.partition_point(|known| known.ordinal < entry.ordinal);
        entries.insert(at, entry);
        let fresh =
            Box::into_raw(Box::new(Index { entries, birth: self.domain.birth(), canary: Canary::new() }));
        match self.index.compare_exchange(old, fresh, ord::INDEX_SWAP(), ord::INDEX_LOAD()) {
            Ok(_) if old.is_null() => {}
            // SAFETY: the exchange unlinked it.
            Ok(_) => unsafe {
                let bytes = size_of_val(kept) as u64;
                let (birth, old) = ((*old).birth, SendPtr(old));
                pin.retire(birth, bytes, move || free_index(old.get()));
            },
            // SAFETY: never shared. Another thread indexed its segment meanwhile; the entry that
            // is missing now only makes some walks longer.
            Err(_) => unsafe { free_index(fresh) },
        }
        Ok(())
    }
}

/// # Safety
/// Nobody uses the index any more.
pub(super) unsafe fn free_index(index: *mut Index) {
    // SAFETY: the caller's promise.
    unsafe {
        (*index).canary.kill();
        free(index);
    }
}
