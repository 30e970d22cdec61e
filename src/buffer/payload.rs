//! What can be read of a segment by whoever counts on its payload.
//!
//! A [`Payload`] is a counted reference; a [`Publication`] is a word that was seen in one of the
//! segment's cells, with that reference. So reading bytes needs no unsafe code above this file.

use std::ops::Range;
use std::sync::Arc;

use super::block::{Composite, Piece, Run};
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
    /// part of that run, and at most `room` more. Returns the first cell after them, and where they
    /// end, in bytes from the segment's base.
    #[inline]
    pub(crate) fn follow(&self, before: &Publication<'_>, mut index: usize, room: usize) -> (usize, u32) {
        let (run, start, mut end) = (before.word, before.start, before.end());
        let limit = end.saturating_add(u32::try_from(room).unwrap_or(u32::MAX));
        while let Some(word) = self.cells.word(index) {
            let goes_on = word.goes_on(run, end - start) || word.end() == end;
            if !goes_on || word.end() > limit {
                break;
            }
            (index, end) = (index + 1, word.end());
        }
        (index, end)
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

    /// Its bytes, if they are one run in a block: not those of a composite, and not a marker's.
    #[inline]
    pub(crate) fn single_run(&self) -> Option<Run<'a>> {
        let len = self.len() as usize;
        // SAFETY: a `Payload` lent the segment, and the word was in a cell.
        (len > 0 && !self.word.is_composite()).then(|| unsafe { self.segment.run(self.word, len) })
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

    /// Its runs, one after the other.
    pub(crate) fn runs(self) -> impl Iterator<Item = Run<'a>> {
        (0..).map_while(move |index| self.run(index))
    }

    /// The bounds, in bytes from the segment's base, of the frame that holds its byte `at`.
    pub(crate) fn frame_at(&self, at: u32) -> Range<u32> {
        let len = u64::from(self.len());
        let within = self.composite().map_or(0..len, |composite| composite.frame_at(u64::from(at), len));
        self.start + within.start as u32..self.start + within.end as u32
    }
}
