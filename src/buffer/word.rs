//! A publication, in one word.
//!
//! # Promise
//! All that the next writer has to know of a publication stands in its word or in the tables of its
//! segment, never in a block: a writer keeps the cells of its segment alive, not the payload.
//!
//! # Layout
//! ```text
//!   63            32 31       25 24             9 8         3  2     1  0
//!  ┌────────────────┬───────────┬────────────────┬───────────┬────┬──────┐
//!  │ end            │ block     │ place          │ context   │owes│ kind │
//!  └────────────────┴───────────┴────────────────┴───────────┴────┴──────┘
//! ```
//! * *end*: where the publication ends, in bytes from the segment's base. It starts where the one in
//!   the cell before it ends (I1).
//! * *block*: which of the segment's blocks holds the bytes; *place*: where in that block they start.
//! * *context*: which entry of the segment's table of numbers is the context after it.
//! * *owes*: a cursor waited for this cell, and its wake-up may not have been delivered yet (I9). The
//!   same bit in a cell without a publication says that a cursor waits for it.
//! * *kind*: none (the cell is empty), plain (the bytes are one frame in one run; none of them: a
//!   marker), composite (the place is that of a header), closing (no bytes, and the segment takes no
//!   more; *block* is then the entry of the term that it seals, 0 if it seals none).

/// Blocks that a word can name.
pub(crate) const MAX_BLOCKS: usize = 1 << BLOCK_BITS;
/// Bytes of a block in which frames are staged: every place in it fits into a word.
pub(crate) const MAX_PLACES: usize = 1 << PLACE_BITS;
/// Numbers that a word can name, [`OPENING`] and [`UNKNOWN`] apart.
pub(crate) const MAX_NUMBERS: usize = (1 << NUMBER_BITS) - 2;
/// The context with which the segment opens.
pub(crate) const OPENING: u8 = 0;
/// No context is in force.
pub(crate) const UNKNOWN: u8 = (1 << NUMBER_BITS) - 1;

const NUMBER_BITS: u32 = 6;
const PLACE_BITS: u32 = 16;
const BLOCK_BITS: u32 = 7;
const OWES: u64 = 1 << 2;
const NUMBER_SHIFT: u32 = 3;
const PLACE_SHIFT: u32 = NUMBER_SHIFT + NUMBER_BITS;
const BLOCK_SHIFT: u32 = PLACE_SHIFT + PLACE_BITS;
const END_SHIFT: u32 = BLOCK_SHIFT + BLOCK_BITS;
const KIND_MASK: u64 = 0b11;
const PLAIN: u64 = 1;
const COMPOSITE: u64 = 2;
const CLOSING: u64 = 3;

const _: () = assert!(END_SHIFT == 32, "the end takes the upper half");

/// Where the bytes of a publication are: a block of the segment, and a place in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct At {
    pub(crate) block: u8,
    pub(crate) place: u16,
}

/// What a cell holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Word(pub(crate) u64);

impl Word {
    /// Nothing is published, and nobody waits.
    pub(crate) const EMPTY: Self = Self(0);
    /// Nothing is published, and a cursor waits.
    pub(crate) const AWAITED: Self = Self(OWES);

    /// What stands before the first cell of a segment: an end at its base.
    #[inline]
    pub(crate) fn opening(owes_wake: bool) -> Self {
        Self(PLAIN).owing(owes_wake)
    }

    #[inline]
    fn new(kind: u64, end: u32, at: At, context: u8) -> Self {
        Self(
            u64::from(end) << END_SHIFT
                | u64::from(at.block) << BLOCK_SHIFT
                | u64::from(at.place) << PLACE_SHIFT
                | u64::from(context) << NUMBER_SHIFT
                | kind,
        )
    }

    /// One frame in one run of bytes; or a marker, if it ends where it starts.
    #[inline]
    pub(crate) fn plain(end: u32, at: At, context: u8) -> Self {
        Self::new(PLAIN, end, at, context)
    }

    /// A publication whose header stands at its place.
    pub(crate) fn composite(end: u32, at: At, context: u8) -> Self {
        Self::new(COMPOSITE, end, at, context)
    }

    /// The last publication of a segment; it seals the term in entry `sealed_term`, if there is one.
    pub(crate) fn closing(end: u32, sealed_term: Option<u8>, context: u8) -> Self {
        Self::new(CLOSING, end, At { block: sealed_term.unwrap_or(0), place: 0 }, context)
    }

    /// Whether something is published.
    #[inline]
    pub(crate) fn is_published(self) -> bool {
        self.0 & KIND_MASK != 0
    }

    /// Whether its bytes are described by a header.
    #[inline]
    pub(crate) fn is_composite(self) -> bool {
        self.0 & KIND_MASK == COMPOSITE
    }

    /// Whether its segment takes no more, whatever there is room for.
    #[inline]
    pub(crate) fn closes(self) -> bool {
        self.0 & KIND_MASK == CLOSING
    }

    /// The entry of the term that it seals.
    pub(crate) fn sealed_term(self) -> Option<u8> {
        Some(self.at().block).filter(|number| self.closes() && *number != 0)
    }

    /// Where it ends, in bytes from the segment's base.
    #[inline]
    pub(crate) fn end(self) -> u32 {
        (self.0 >> END_SHIFT) as u32
    }

    /// Where its bytes, or its header, are.
    #[inline]
    pub(crate) fn at(self) -> At {
        let block = (self.0 >> BLOCK_SHIFT) as u8 & (MAX_BLOCKS - 1) as u8;
        At { block, place: (self.0 >> PLACE_SHIFT) as u16 }
    }

    /// Whether it is plain, as `run` is, and its bytes start so many behind the start of those of `run`
    /// in the same block.
    #[inline]
    pub(crate) fn goes_on(self, run: Self, bytes: u32) -> bool {
        const SAME: u64 = ((MAX_BLOCKS as u64 - 1) << BLOCK_SHIFT) | KIND_MASK;
        (self.0 ^ run.0) & SAME == 0 && u32::from(self.at().place) == u32::from(run.at().place) + bytes
    }

    /// The entry of the context after it.
    #[inline]
    pub(crate) fn context(self) -> u8 {
        (self.0 >> NUMBER_SHIFT) as u8 & UNKNOWN
    }

    /// Whether a wake-up may still be owed for it, or for one before it.
    #[inline]
    pub(crate) fn owes_wake(self) -> bool {
        self.0 & OWES != 0
    }

    /// The same, owing a wake-up or not.
    #[inline]
    pub(crate) fn owing(self, owes_wake: bool) -> Self {
        Self(self.0 & !OWES | if owes_wake { OWES } else { 0 })
    }
}

#[cfg(all(test, not(any(replcore_loom, replcore_fuzz))))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_goes_into_a_word_comes_out(
            end: u32, block in 0..MAX_BLOCKS as u8, place: u16, context in 0..=UNKNOWN, owes: bool,
        ) {
            let at = At { block, place };
            for (word, composite) in [(Word::plain(end, at, context), false), (Word::composite(end, at, context), true)] {
                let word = word.owing(owes);
                prop_assert!(word.is_published() && !word.closes() && word.sealed_term().is_none());
                prop_assert_eq!(word.is_composite(), composite);
                prop_assert_eq!((word.end(), word.at(), word.context(), word.owes_wake()), (end, at, context, owes));
            }
            let sealed = Some(context).filter(|number| *number != 0);
            let closing = Word::closing(end, sealed, context).owing(owes);
            prop_assert!(closing.is_published() && closing.closes() && !closing.is_composite());
            prop_assert_eq!((closing.end(), closing.sealed_term()), (end, sealed));
            prop_assert_eq!((closing.context(), closing.owes_wake()), (context, owes));
        }
    }

    #[test]
    fn a_run_goes_on_in_its_block_alone() {
        let run = Word::plain(5, At { block: 3, place: 65_500 }, 7);
        let next = |block, place| Word::plain(20, At { block, place }, 0);
        assert!(next(3, 65_530).goes_on(run, 30) && next(3, 65_530).owing(true).goes_on(run, 30));
        assert!(!next(3, 65_529).goes_on(run, 30) && !next(4, 65_530).goes_on(run, 30));
        // The block is full, and the next begins.
        assert!(!next(4, 0).goes_on(run, 36) && !next(3, 0).goes_on(run, 36));
        assert!(!Word::composite(20, At { block: 3, place: 65_530 }, 0).goes_on(run, 30));
    }

    #[test]
    fn an_empty_cell_is_no_publication() {
        assert!(!Word::EMPTY.is_published() && !Word::AWAITED.is_published());
        assert!(Word::AWAITED.owes_wake() && !Word::EMPTY.owes_wake());
        assert!(Word::opening(true).owes_wake() && Word::opening(false).is_published());
        assert_eq!(Word::opening(false).end(), 0);
    }
}
