//! The index: segments by offset.
//!
//! Every [`INDEX_STRIDE`]th segment is listed in an immutable array, replaced as it grows. Entries
//! of segments long gone stay in it until the next replacement, and are told by their ordinal.

use super::link::{Protected, Root};
use super::pool::discard;
use super::reclaim::{Domain, Pin, Stale};
use super::segment::Segment;
use super::sync::Canary;
use super::sync::table::{Fault, fault, ord};
use super::sync::unwinding;

/// One entry for so many segments: a walk from an entry passes that many at most.
#[cfg(not(any(replcore_loom, replcore_fuzz)))]
pub(crate) const INDEX_STRIDE: u64 = 16;
#[cfg(any(replcore_loom, replcore_fuzz))]
pub(crate) const INDEX_STRIDE: u64 = 2;

/// Segments by offset.
#[derive(Debug)]
pub(crate) struct Index(Root<Entries>);

#[derive(Debug)]
struct Entries {
    /// Oldest first.
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

// SAFETY: a segment is shared between threads; an entry is a pointer to one.
unsafe impl Send for Entries {}
// SAFETY: as above.
unsafe impl Sync for Entries {}

impl Index {
    pub(crate) fn new() -> Self {
        Self(Root::new(None))
    }

    /// The last segment listed at or before `offset` that is not older than `oldest`, which stands in
    /// the chain.
    pub(crate) fn find<'p>(
        &self,
        offset: u64,
        oldest: Protected<'p, Segment>,
    ) -> Result<Option<Protected<'p, Segment>>, Stale> {
        let pin = oldest.pin();
        let Some(index) = self.0.load(pin, ord::INDEX_LOAD())? else { return Ok(None) };
        index.canary.check();
        let entry = index.entries.partition_point(|entry| entry.base <= offset);
        let entry = entry.checked_sub(1).map(|at| index.entries[at]);
        let oldest = oldest.ordinal();
        let entry = entry.filter(|entry| entry.ordinal >= oldest || fault(Fault::IndexUnlooked));
        // SAFETY: a segment as young as one that is in the chain under this pin is in the chain itself,
        // and the entry became visible after the segment was linked.
        Ok(entry.map(|entry| unsafe { Protected::assume(&*entry.segment, pin) }))
    }

    /// Lists a segment just linked, and drops what is older than `head`. If this thread stops here, one
    /// entry is missing.
    pub(crate) fn add(
        &self,
        segment: Protected<'_, Segment>,
        head: u64,
        domain: &Domain,
    ) -> Result<(), Stale> {
        let pin: &Pin<'_> = segment.pin();
        let old = self.0.load(pin, ord::INDEX_LOAD())?;
        let kept = old.map_or(&[][..], |old| &old.get().entries);
        let first = kept.partition_point(|entry| entry.ordinal < head);
        let mut entries = Vec::with_capacity(kept.len() - first + 1);
        entries.extend_from_slice(&kept[first..]);
        let (base, ordinal) = (segment.base(), segment.ordinal());
        let at = entries.partition_point(|known| known.ordinal < ordinal);
        entries.insert(at, Entry { base, ordinal, segment: segment.address() });
        let fresh = Box::new(Entries { entries, birth: domain.birth(), canary: Canary::new() });
        match self.0.replace(old, fresh, ord::INDEX_SWAP(), ord::INDEX_LOAD()) {
            Ok(None) => {}
            Ok(Some(old)) => {
                let (birth, bytes) = (old.get().birth, size_of_val(kept) as u64);
                // SAFETY: made by a box, and ours alone now.
                old.retire(pin, birth, bytes, |entries| release(unsafe { Box::from_raw(entries) }));
            }
            // Another thread listed its segment meanwhile; the entry that is missing now only makes
            // some walks longer.
            Err(fresh) => release(fresh),
        }
        Ok(())
    }
}

fn release(entries: Box<Entries>) {
    entries.canary.kill();
    discard(entries);
}

impl Drop for Index {
    fn drop(&mut self) {
        if unwinding() {
            return;
        }
        let entries = self.0.address(ord::INDEX_LOAD());
        if !entries.is_null() {
            // SAFETY: made by a box; no handle is left, so it is ours.
            release(unsafe { Box::from_raw(entries) });
        }
    }
}
