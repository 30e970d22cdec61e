//! A writer's place in the stream, and the race for a cell.
//!
//! # Promise
//! An append that wins at once, in the segment in which the writer stands, is one exchange on one
//! shared line: no load, no other store, no pin. A lost exchange says what stands in the cell, which is
//! all that the next try needs. A writer that stops anywhere in here delays nobody (I8).
//!
//! # Algorithm
//! ```text
//! loop
//!   if the segment is closed at the frontier: make sure of a successor, stand there    (pin, rarely)
//!   word = what is offered after the word before the frontier                          private
//!   exchange cells[index]: empty -> word            published: done
//!     found a publication: it is the word before the next cell                          lost
//!     found awaited:       exchange awaited -> word that owes a wake-up
//! ```
//! The remembered frontier may be old. That costs lost exchanges and nothing else, for only the cell
//! right behind a full one is ever tried, and a cell is filled once. The second loss in a row looks for
//! the end by halving.
//!
//! A writer counts on the *cells* of its segment. So between its look and its exchange the segment may
//! be closed, trimmed, and its payload released; the cell it tries is full then.

use std::ops::Range;
use std::ptr;

use crate::buffer::block::Block;
use crate::buffer::error::AppendError;
use crate::buffer::log::Log;
use crate::buffer::memory::Memory;
use crate::buffer::segment::{Frontier, Segment, Unregistered};
use crate::buffer::sync::table::{Fault, fault};
use crate::buffer::word::{At, Word};

/// Where a writer stands.
#[derive(Debug)]
pub(super) struct Seat {
    /// Its segment, by a reference to the cells; null before it first stands somewhere.
    segment: *mut Segment,
    /// The end of the stream when it looked last.
    frontier: Frontier,
    /// Of the segment: where it starts, and the term sealed before it.
    base: u64,
    sealed_term: u64,
    /// How far the stream may go, in bytes from the base.
    last: u64,
    /// Entries of the segment's tables that this writer knows: of its block, of a context, and of a
    /// term. A block that stands in the table stays, so its address is that of no other.
    block: (*const Block, u8),
    context: Option<(u64, u8)>,
    term: Option<(u64, u8)>,
    /// Lost races not yet added to the shared counter.
    retries: u64,
}

// SAFETY: a seat counts on its segment's cells, wherever it is moved.
unsafe impl Send for Seat {}

/// Why there is no word to publish.
#[derive(Debug)]
pub(super) enum NoWord {
    /// A table of the segment is full.
    Full,
    /// The segment is closed: look again.
    Closed,
    /// The append ends without a publication.
    Ended(Result<Range<u64>, AppendError>),
}

impl From<Unregistered> for NoWord {
    fn from(unregistered: Unregistered) -> Self {
        match unregistered {
            Unregistered::Full => Self::Full,
            Unregistered::Released => Self::Closed,
        }
    }
}

/// A publication, and whether its wake-up is owed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Published {
    pub(super) range: Range<u64>,
    pub(super) owes_wake: bool,
}

/// How an exchange ended.
enum Tried {
    Published { owes_wake: bool },
    Lost,
}

impl Seat {
    pub(super) const fn nowhere() -> Self {
        Self {
            segment: ptr::null_mut(),
            frontier: Frontier { index: 0, before: Word::EMPTY },
            base: 0,
            sealed_term: 0,
            last: 0,
            block: (ptr::null(), 0),
            context: None,
            term: None,
            retries: 0,
        }
    }

    /// Whether it stands nowhere yet.
    #[inline]
    pub(super) fn is_nowhere(&self) -> bool {
        self.segment.is_null()
    }

    #[inline]
    fn segment(&self) -> &Segment {
        debug_assert!(!self.is_nowhere());
        // SAFETY: the seat has a reference to the cells; what else it uses is the table of blocks,
        // which is part of them.
        unsafe { &*self.segment }
    }

    /// Stands where the stream ends now.
    #[cold]
    #[inline(never)]
    fn stand(&mut self, log: &Log) {
        let (segment, frontier) = log.domain.pinned(|pin| {
            let (segment, frontier) = log.frontier(pin)?;
            if !fault(Fault::UncountedSeat) {
                segment.take_cells();
            }
            Ok((segment.address(), frontier))
        });
        self.leave(&log.memory);
        (self.segment, self.frontier) = (segment, frontier);
        let header = self.segment().header();
        self.base = header.base;
        self.last = log.settings.max_offset - header.base;
        if !fault(Fault::StaleFence) {
            self.sealed_term = header.sealed_term;
        }
        (self.block, self.context, self.term) = ((ptr::null(), 0), None, None);
    }

    /// Leaves the segment.
    pub(super) fn leave(&mut self, memory: &Memory) {
        let segment = std::mem::replace(&mut self.segment, ptr::null_mut());
        if !segment.is_null() && !fault(Fault::UncountedSeat) {
            // SAFETY: the seat's reference, given up once.
            unsafe { memory.drop_cells(segment) }
        }
        memory.counters.add_retries(&mut self.retries);
    }

    /// Stands somewhere, and has looked where the stream ends.
    pub(super) fn stand_or_look(&mut self, log: &Log) {
        if self.is_nowhere() { self.stand(log) } else { self.look() }
    }

    /// The end of the segment as it is now, not as remembered.
    pub(super) fn look(&mut self) {
        let index = self.segment().filled_from(self.frontier.index);
        if index != self.frontier.index {
            self.frontier = Frontier { index, before: self.segment().word_before(index) };
        }
    }

    /// Offers words until one is published, or there is none to publish.
    #[inline(always)]
    pub(super) fn race(
        &mut self,
        log: &Log,
        mut offer: impl FnMut(&mut Self) -> Result<Word, NoWord>,
    ) -> Result<Published, Result<Range<u64>, AppendError>> {
        let mut lost = false;
        loop {
            if self.segment().is_closed_at(&self.frontier) {
                self.turn(log);
                lost = false;
                continue;
            }
            let word = match offer(self) {
                Ok(word) => word,
                Err(NoWord::Full) => {
                    self.close();
                    continue;
                }
                Err(NoWord::Closed) => {
                    self.look();
                    continue;
                }
                Err(NoWord::Ended(result)) => return Err(result),
            };
            let start = self.frontier.before.end();
            if fault(Fault::WakeEarly) {
                log.slots.wake_all(&log.domain);
            }
            match self.exchange(word) {
                Tried::Published { owes_wake } => {
                    let range = self.base + u64::from(start)..self.base + u64::from(word.end());
                    return Ok(Published { range, owes_wake });
                }
                Tried::Lost if lost => self.look(),
                Tried::Lost => lost = true,
            }
        }
    }

    /// Tries to publish `word` at the frontier, and moves it on behind what stands there then.
    #[inline(always)]
    fn exchange(&mut self, word: Word) -> Tried {
        let Frontier { index, before } = self.frontier;
        let mut word = word;
        if before.owes_wake() && !fault(Fault::ForgetOwed) {
            word = word.owing(true);
        }
        let mut tried = self.segment().publish(index, word);
        if tried == Err(Word::AWAITED) {
            word = word.owing(true);
            tried = self.segment().publish_awaited(index, word);
        }
        let now = tried.map_or_else(|found| found, |()| word);
        let stale = tried.is_err() && fault(Fault::StaleStart);
        self.frontier = Frontier { index: index + 1, before: if stale { before } else { now } };
        if fault(Fault::HintAsWell) {
            self.expect_composite();
        }
        match tried {
            Ok(()) => Tried::Published { owes_wake: word.owes_wake() },
            Err(_) => {
                self.retries += 1;
                Tried::Lost
            }
        }
    }

    /// The wake-up that the publication just made owed is delivered.
    pub(super) fn settle(&mut self) {
        let Frontier { index, before } = self.frontier;
        self.segment().settle(index - 1, before);
        self.frontier.before = before.owing(false);
    }

    /// Leaves a closed segment for the one in which the stream goes on.
    #[cold]
    #[inline(never)]
    fn turn(&mut self, log: &Log) {
        log.link_successor(self.segment(), &self.frontier);
        self.stand(log);
    }

    /// Closes the segment: one of its tables is full. What is owed for the cell goes on to the
    /// successor.
    #[cold]
    #[inline(never)]
    fn close(&mut self) {
        let before = self.frontier.before;
        self.exchange(Word::closing(before.end(), None, before.context()));
    }

    // --- What can be offered ------------------------------------------------------------------

    /// Refuses a writer whose term is sealed (I10). A seal closes its segment, so the term is the one
    /// sealed before the segment.
    #[inline]
    pub(super) fn within_term(&self, term: u64) -> Result<(), NoWord> {
        if term > self.sealed_term {
            return Ok(());
        }
        Err(NoWord::Ended(Err(AppendError::Fenced { term, sealed_term: self.sealed_term })))
    }

    /// Where a publication of so many bytes ends, in bytes from the segment's base.
    #[inline]
    pub(super) fn end_of(&self, bytes: u64) -> Result<u32, NoWord> {
        let end = u64::from(self.frontier.before.end()) + bytes;
        if end <= self.last {
            // It fits: an open segment holds less than its limit, and `build` saw to the sum.
            return Ok(end as u32);
        }
        let (offset, max_offset) = (self.offset(), self.base + self.last);
        Err(NoWord::Ended(Err(AppendError::OffsetsExhausted { offset, bytes, max_offset })))
    }

    /// The entry of a block, made if the one looked for last was another.
    #[inline]
    pub(super) fn entry_of(&mut self, block: &Block) -> Result<u8, NoWord> {
        let (known, entry) = self.block;
        if ptr::eq(known, block) { Ok(entry) } else { self.register(block) }
    }

    #[cold]
    #[inline(never)]
    fn register(&mut self, block: &Block) -> Result<u8, NoWord> {
        let entry = self.segment().register_block(block)?;
        self.block = (block, entry);
        Ok(entry)
    }

    /// The entry of a context that is to be in force, made if there is none.
    pub(super) fn entry_of_context(&mut self, context: u64) -> Result<u8, NoWord> {
        let before = self.frontier.before;
        if self.segment().context_after(before) == context {
            return Ok(before.context());
        }
        if let Some((known, entry)) = self.context
            && known == context
        {
            return Ok(entry);
        }
        let entry = self.segment().register_context(context).ok_or(NoWord::Full)?;
        self.context = Some((context, entry));
        Ok(entry)
    }

    /// The entry of a term that is to be sealed, made if there is none.
    pub(super) fn entry_of_term(&mut self, term: u64) -> Result<u8, NoWord> {
        if let Some((known, entry)) = self.term
            && known == term
        {
            return Ok(entry);
        }
        let entry = self.segment().register_number(term).ok_or(NoWord::Full)?;
        self.term = Some((term, entry));
        Ok(entry)
    }

    /// The context in force at the frontier.
    pub(super) fn context(&self) -> u64 {
        self.segment().context_after(self.frontier.before)
    }

    /// The entry of the context in force at the frontier.
    #[inline]
    pub(super) fn context_entry(&self) -> u8 {
        self.frontier.before.context()
    }

    /// The end of the stream at the frontier.
    pub(super) fn offset(&self) -> u64 {
        self.base + u64::from(self.frontier.before.end())
    }

    /// The end of the stream at the frontier, in bytes from the segment's base.
    pub(super) fn end(&self) -> u32 {
        self.frontier.before.end()
    }

    /// A composite may be published in this segment from now on.
    pub(super) fn expect_composite(&self) {
        self.segment().expect_composites();
    }
}

/// Where the bytes of a publication are.
pub(super) fn at(block: u8, place: usize) -> At {
    // A place in a block fits: `build` checked its size.
    At { block, place: place as u16 }
}
