//! Copies of the stream that cursors share: small pieces of several writers, made contiguous once for all
//! replicas.
//!
//! # Promise
//! A copy holds the bytes of the stream at its offsets (I5), whatever becomes of what it was made of: an
//! offset never means other bytes. Nobody waits for a copy that somebody else makes; who finds none makes one
//! (I8). What is kept is bounded by number and length (I11).
//!
//! # Algorithm
//! Offsets are cut into *stretches* of one length. A copy begins where its cursor stood and ends, at the
//! latest, with the stretch, so cursors that began anywhere come to copy the same stretches. Each place keeps
//! the last copy of one stretch in so many, until as many cursors as there are have had it; one that is still
//! being read lives longer. So where all follow the end of the stream, no copy is kept. There, where a
//! stretch is not complete, the first replica to be woken copies what is new, and the others find it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use super::sync::ArcSwap;
use super::sync::table::{Fault, fault};

/// Where copies are left for others.
#[derive(Debug)]
pub(crate) struct Copies {
    places: Box<[ArcSwap<Copy>]>,
    stretch_bytes: u64,
}

#[derive(Debug, Default)]
struct Copy {
    start: u64,
    bytes: Bytes,
    /// How often it was taken. It orders nothing, and no decision but when to let go rests on it.
    taken: AtomicU64,
}

impl Copies {
    /// Places for so many copies, each of at most so many bytes, and at least one.
    pub(crate) fn new(places: usize, stretch_bytes: usize) -> Self {
        let nothing = || ArcSwap::from_pointee(Copy::default());
        Self { places: (0..places).map(|_| nothing()).collect(), stretch_bytes: stretch_bytes as u64 }
    }

    /// The stretch that `offset` is in, and how many bytes of it stand behind that.
    fn stretch(&self, offset: u64) -> (u64, u64) {
        (offset / self.stretch_bytes, self.stretch_bytes - offset % self.stretch_bytes)
    }

    /// How many bytes stand between `offset` and the end of its stretch.
    pub(crate) fn room(&self, offset: u64) -> u64 {
        self.stretch(offset).1
    }

    fn place(&self, offset: u64) -> Option<&ArcSwap<Copy>> {
        let places = self.places.len() as u64;
        (places > 0).then(|| &self.places[(self.stretch(offset).0 % places) as usize])
    }

    /// The bytes from `offset` on that somebody has copied; `cursors` in all may want them.
    pub(crate) fn find(&self, offset: u64, cursors: u64) -> Option<Bytes> {
        let place = self.place(offset)?;
        let copy = place.load_full();
        let skipped = match offset.checked_sub(copy.start) {
            // What was copied of another stretch that has the same place.
            Some(_) if fault(Fault::CopyOfAnyStretch) => offset % self.stretch_bytes,
            skipped => skipped?,
        };
        if skipped >= copy.bytes.len() as u64 {
            return None;
        }
        if copy.taken.fetch_add(1, Ordering::Relaxed) + 1 >= cursors {
            place.store(Arc::default());
        }
        Some(copy.bytes.slice(skipped as usize..))
    }

    /// Leaves a copy of the bytes from `start` on, which one cursor has, for the others.
    pub(crate) fn keep(&self, start: u64, bytes: &Bytes, cursors: u64) {
        if let Some(place) = self.place(start).filter(|_| cursors > 1) {
            place.store(Arc::new(Copy { start, bytes: bytes.clone(), taken: AtomicU64::new(1) }));
        }
    }
}
