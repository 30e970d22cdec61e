//! What can be read of a segment by whoever counts on its payload.
//!
//! A [`Payload`] is a counted reference; a [`Publication`] is a word that was seen in one of the
//! segment's cells, with that reference. So reading bytes needs no unsafe code above this file.

use std::mem::MaybeUninit;
use std::ops::Range;
use std::sync::Arc;

use super::block::{Composite, Piece, Run};
use super::copy::copy_slice;
use super::link::Protected;
use super::memory::Memory;
use super::segment::{Cells, Segment};
use super::sync::table::{Fault, fault};
use super::sync::unwinding;
use super::word::Word;

/// A counted reference to a segment's payload (I6).
#[derive(Debug)]
pub(crate) struct Payload {
    segment: *mut Segment,
    memory: Arc<Memory>,
}

// SAFETY: a reference may be moved and used from any thread, like an `Arc`.
unsafe impl Send for Payload {}
// SAFETY: as above.
unsafe impl Sync for Payload {}

impl Payload {
    /// A reference more.
    pub(crate) fn of(segment: Protected<'_, Segment>, memory: &Arc<Memory>) -> Self {
        if !fault(Fault::UncountedReference) {
            segment.take_payload();
        }
        Self { segment: segment.address(), memory: Arc::clone(memory) }
    }

    /// The segment.
    #[inline]
    pub(crate) fn segment(&self) -> &Segment {
        // SAFETY: the reference keeps it.
        unsafe { &*self.segment }
    }

    /// The publications in its first cells, which are full.
    #[inline]
    pub(crate) fn seen(&self, cells: usize) -> Seen<'_> {
        let segment = self.segment();
        Seen { segment, cells: segment.cells(cells) }
    }
}

impl Drop for Payload {
    fn drop(&mut self) {
        if unwinding() {
            return;
        }
        // SAFETY: the reference is given up once, here.
        unsafe { self.memory.drop_payload(self.segment) }
    }
}

/// Publications that were seen: those in the first cells of a segment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen<'a> {
    segment: &'a Segment,
    cells: Cells<'a>,
}

impl<'a> Seen<'a> {
    /// The publication in a cell, which starts at `start`, in bytes from the segment's base.
    #[inline]
    pub(crate) fn publication(&self, index: usize, start: u32) -> Option<Publication<'a>> {
        let word = self.cells.word(index)?;
        debug_assert!(word.is_published() && word.end() >= start);
        Some(Publication { segment: self.segment, word, start })
    }

    /// Goes on from the cell `index`, behind a publication of one run, through those whose bytes are a
    /// part of that run, and which end at `limit` or before. Returns the first cell after them, and where
    /// they end.
    #[inline]
    fn follow(&self, before: &Publication<'_>, mut index: usize, limit: u32) -> (usize, u32) {
        let (run, start, mut end) = (before.word, before.start, before.end());
        while let Some(word) = self.cells.word(index)
            && (word.goes_on(run, end - start) || word.end() == end)
            && word.end() <= limit
        {
            (index, end) = (index + 1, word.end());
        }
        (index, end)
    }

    /// The run of the publication at `place`, from there on, if it is plain, with what lies behind it in its
    /// block, which is not looked for beyond `enough` bytes. Moves the place behind it.
    #[inline]
    pub(crate) fn run(&self, place: &mut Place, enough: usize) -> Option<Run<'a>> {
        let first = self.publication(place.index, place.start)?;
        let single = first.single_run()?;
        let skip = place.skip;
        let limit = (place.start + skip).saturating_add(u32::try_from(enough).unwrap_or(u32::MAX));
        let (index, end) = self.follow(&first, place.index + 1, limit);
        *place = Place { index, start: end, skip: 0 };
        Some(single.lengthened((end - first.end()) as usize).skip(skip as usize))
    }

    /// Copies what stands from `place` on to the front of `target`, as far as it was seen and there is room.
    /// Moves the place behind it, and returns how many bytes there are.
    #[inline]
    pub(crate) fn copy(&self, place: &mut Place, target: &mut [MaybeUninit<u8>]) -> usize {
        let mut filled = 0;
        while filled < target.len() {
            if place.skip == 0 {
                filled += self.copy_plain(place, &mut target[filled..]);
            }
            let target = &mut target[filled..];
            match self.publication(place.index, place.start) {
                Some(publication) if !target.is_empty() => filled += publication.copy_part(place, target),
                _ => break,
            }
        }
        filled
    }

    /// As [`copy`](Self::copy), up to what is composite or does not fit as a whole.
    #[inline]
    fn copy_plain(&self, place: &mut Place, target: &mut [MaybeUninit<u8>]) -> usize {
        let (mut index, mut start, mut filled) = (place.index, place.start, 0);
        let limit = start.saturating_add(u32::try_from(target.len()).unwrap_or(u32::MAX));
        while let Some(run) = self.publication(index, start)
            && run.is_plain()
            && run.end() <= limit
        {
            // What lies behind it in its block comes with it: a long copy is a fast one.
            let (next, end) = self.follow(&run, index + 1, limit);
            let len = (end - start) as usize;
            if len > 0 {
                copy_slice(run.bytes(len), &mut target[filled..filled + len]);
            }
            (index, start, filled) = (next, end, filled + len);
        }
        *place = Place { index, start, skip: 0 };
        filled
    }
}

/// Where a reader stands among the publications of a segment.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Place {
    /// The publication.
    pub(crate) index: usize,
    /// Where that starts, in bytes from the segment's base.
    pub(crate) start: u32,
    /// Bytes of it that were read.
    pub(crate) skip: u32,
}

impl Place {
    /// Behind the publication that stands here.
    #[inline]
    pub(crate) fn after(self, publication: &Publication<'_>) -> Self {
        Self { index: self.index + 1, start: publication.end(), skip: 0 }
    }
}

/// A publication that was seen, and stays.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Publication<'a> {
    segment: &'a Segment,
    word: Word,
    start: u32,
}

impl<'a> Publication<'a> {
    /// Bytes in it.
    #[inline]
    pub(crate) fn len(&self) -> u32 {
        self.word.end() - self.start
    }

    /// Where it ends, in bytes from the segment's base.
    #[inline]
    pub(crate) fn end(&self) -> u32 {
        self.word.end()
    }

    /// Whether its bytes, if it has any, are one run in a block.
    #[inline]
    fn is_plain(&self) -> bool {
        !self.word.is_composite()
    }

    /// So many bytes from its first on, which lie in one run.
    #[inline]
    fn bytes(&self, len: usize) -> &'a [u8] {
        let place = usize::from(self.word.at().place);
        // SAFETY: a `Payload` lent the segment, the word was in a cell, and so were those whose bytes follow.
        unsafe { self.segment.block_of(self.word).read(place..place + len) }
    }

    /// Copies its bytes from the place on, as far as `target` has room, and moves the place.
    #[cold]
    fn copy_part(&self, place: &mut Place, target: &mut [MaybeUninit<u8>]) -> usize {
        let ((mut index, mut skip), mut filled) = (self.run_at(place.skip), 0);
        while filled < target.len()
            && let Some(run) = self.run(index)
        {
            let part = (run.len() - skip).min(target.len() - filled);
            copy_slice(&run.bytes()[skip..skip + part], &mut target[filled..filled + part]);
            (index, skip, filled) = (index + 1, 0, filled + part);
        }
        place.skip += filled as u32;
        if place.skip == self.len() {
            *place = place.after(self);
        }
        filled
    }

    /// Its bytes, if they are one run in a block: not those of a composite, and not a marker's.
    #[inline]
    pub(crate) fn single_run(&self) -> Option<Run<'a>> {
        let len = self.len() as usize;
        // SAFETY: a `Payload` lent the segment, and the word was in a cell.
        (len > 0 && self.is_plain()).then(|| unsafe { self.segment.run(self.word, len) })
    }

    fn composite(&self) -> Option<&'a Composite> {
        // SAFETY: as above.
        self.word.is_composite().then(|| unsafe { self.segment.composite(self.word) })
    }

    /// The `index`-th run of its bytes.
    pub(crate) fn run(&self, index: usize) -> Option<Run<'a>> {
        let Some(composite) = self.composite() else {
            return if index == 0 { self.single_run() } else { None };
        };
        Some(match composite.pieces.get(index)? {
            Piece::Shared(bytes) => Run::Shared(bytes),
            Piece::Staged(range) => {
                // SAFETY: as above.
                let block = unsafe { self.segment.block_of(self.word) };
                Run::Staged { block, range: range.start as usize..range.end as usize }
            }
        })
    }

    /// The run that holds its byte `at`, and which byte of it that is.
    pub(crate) fn run_at(&self, at: u32) -> (usize, usize) {
        let (index, within) =
            self.composite().map_or((0, u64::from(at)), |composite| composite.piece_at(u64::from(at)));
        (index, within as usize)
    }

    /// The bounds, in bytes from the segment's base, of the frame that holds its byte `at`.
    pub(crate) fn frame_at(&self, at: u32) -> Range<u32> {
        let len = u64::from(self.len());
        let within = self.composite().map_or(0..len, |composite| composite.frame_at(u64::from(at), len));
        self.start + within.start as u32..self.start + within.end as u32
    }
}
