//! Segments: fixed arrays of cells, linked forward. The stream is what stands in the cells.
//!
//! # Promise
//! Cells fill from left to right, each once. So a segment's publications are a prefix of its cells, a
//! reader that goes from left to right sees exactly the published prefix (I2), and no watermark is
//! kept: the cells are the watermark.
//!
//! ```text
//!   header ── base, context, sealed term, ... as the first publication finds them
//!   cells  │ word │ word │ word │ empty or awaited │ empty │ ...        one word a publication
//!   blocks │ block │ block │ ...       what the words' bytes lie in, each counted once
//!   numbers│ 7 │ 3 │ ...               contexts, and the term of a seal: what is too long for a word
//!   next   ──▶ the successor, once the segment is closed
//! ```
//!
//! # Rules
//! * A cell is *empty*, *awaited* (a cursor waits for it; see [`park`](Segment::park)), or *full*: it
//!   holds a publication ([`Word`]). Each publisher has seen the cell before its own full, so who
//!   sees a full cell (Acquire) sees all before it full, and may search for the end by halving.
//! * Whether a segment is *closed* depends on published words alone: its cells are all full, or they
//!   hold `limit_bytes`, or the last one is closing. Every thread comes to the same answer. A seal is
//!   a closing word, so the sealed term of an open segment stands in its header.
//! * A successor is linked only to a closed segment, and its header is computed from the last word
//!   and the tables, so every thread that tries to link makes the same header (but for a wake-up that was
//!   paid meanwhile, which costs one too many, and a limit that was changed), and the losers throw theirs
//!   away. Nobody waits.
//! * Whoever sees the link sees all of the segment's words: look at the link *before* scanning the
//!   cells, and the scan is complete if there was one.
//! * An entry of a table is taken by one addition, filled, and named by a word after that: the
//!   publication hands it over. Where a table is full, who finds it so publishes a closing word.
//!
//! # Two lifetimes
//! *Payload*: the blocks of the table and the composites. The chain and the cursors that read here
//! count on it ([`payload`](Segment::drop_payload)). *Cells*: all the rest. The payload counts on
//! them, and each writer that stands here. So a writer that idles keeps an array of cells and its own
//! block, whatever else was in the segment (I8, I11).
//!
//! A registrant may stop between taking an entry of the blocks and filling it, and go on when the
//! payload is gone. So it fills by an exchange (null to block), and who releases the payload first
//! takes all entries that are left, then swaps a tombstone into each that was taken before: a
//! registrant finds the table full, or the tombstone, or its block is found and given back.

use std::ptr;

use super::block::{Block, Composite, Run};
use super::link::Link;
use super::sync::table::{Fault, fault, ord};
use super::sync::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Canary, UnsafeCell, fence};
use super::word::{At, OPENING, UNKNOWN, Word};

/// The context that no frame has: whatever asks for a context differs from it.
pub(crate) const NO_CONTEXT: u64 = u64::MAX;

/// Whether a checker runs this, which can show what does not happen otherwise.
const IS_EXPLORED: bool = cfg!(any(replcore_loom, replcore_fuzz));

/// In the table of blocks: the payload was released. No block has this address.
fn tombstone() -> *mut Block {
    ptr::without_provenance_mut(1)
}

/// What is fixed when a segment is made: the stream as its first publication finds it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Header {
    /// Position in the chain; 0 is the first ever.
    pub(crate) ordinal: u64,
    /// The offset at which it starts.
    pub(crate) base: u64,
    /// Publications before it.
    pub(crate) publications: u64,
    /// The context, or [`NO_CONTEXT`].
    pub(crate) context: u64,
    /// The highest term sealed so far (I10).
    pub(crate) sealed_term: u64,
    /// A wake-up that a publisher before it may not have delivered yet (I9 under I8).
    pub(crate) owes_wake: bool,
    /// It is closed when it holds this many bytes.
    pub(crate) limit_bytes: u32,
    /// The era in which it was made.
    pub(crate) birth: u64,
}

/// How large segments are made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) cells: usize,
    pub(crate) blocks: usize,
    pub(crate) numbers: usize,
}

/// A piece of the stream's chain.
#[derive(Debug)]
pub(crate) struct Segment {
    header: UnsafeCell<Header>,
    cells: Box<[AtomicU64]>,
    blocks: Box<[AtomicPtr<Block>]>,
    /// How many entries of `blocks`, and of `numbers`, were taken; more than there are when full.
    blocks_taken: AtomicUsize,
    numbers: Box<[AtomicU64]>,
    numbers_taken: AtomicUsize,
    /// There is a composite among the publications, or somebody tried to make one.
    has_composites: AtomicBool,
    next: Link<Segment>,
    /// References to the payload: the chain's, and one for each cursor that reads here.
    payload: AtomicUsize,
    /// References to the cells: the payload's, and one for each writer that stands here.
    users: AtomicUsize,
    payload_canary: Canary,
    canary: Canary,
}

// SAFETY: the header is written while the segment is private; the rest is atomic, and what the
// tables lead to is shared under the rules above.
unsafe impl Send for Segment {}
// SAFETY: as above.
unsafe impl Sync for Segment {}

/// A place in the stream: the first cell of a segment that was not full when looked at, and the
/// word before it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frontier {
    pub(crate) index: usize,
    pub(crate) before: Word,
}

/// How an attempt to wait ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Parked {
    /// The writer that fills the cell will know.
    Waiting,
    /// The cell is full already.
    Ready,
}

/// Why nothing was registered.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unregistered {
    /// The table is full.
    Full,
    /// The segment is closed, and its payload released.
    Released,
}

/// The first cells of a segment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cells<'a>(&'a [AtomicU64]);

impl Cells<'_> {
    /// What a cell holds, if it is one of them.
    #[inline]
    #[track_caller]
    pub(crate) fn word(&self, index: usize) -> Option<Word> {
        self.0.get(index).map(|cell| Word(cell.load(ord::CELL_LOAD())))
    }
}

impl Segment {
    /// A segment private to the caller, who has the chain's reference to the payload.
    pub(crate) fn allocate(shape: Shape, header: Header) -> Box<Self> {
        Box::new(Self {
            header: UnsafeCell::new(header),
            cells: (0..shape.cells).map(|_| AtomicU64::new(Word::EMPTY.0)).collect(),
            blocks: (0..shape.blocks).map(|_| AtomicPtr::new(ptr::null_mut())).collect(),
            blocks_taken: AtomicUsize::new(0),
            numbers: (0..shape.numbers).map(|_| AtomicU64::new(0)).collect(),
            numbers_taken: AtomicUsize::new(0),
            has_composites: AtomicBool::new(false),
            next: Link::null(),
            payload: AtomicUsize::new(1),
            users: AtomicUsize::new(1),
            payload_canary: Canary::new(),
            canary: Canary::new(),
        })
    }

    /// Makes a spare segment as good as new. Only its owner can (`&mut`).
    pub(crate) fn reset(&mut self, header: Header) {
        self.header = UnsafeCell::new(header);
        self.canary = Canary::new();
        // A few long frames fill a segment, and leave most of its cells untouched: behind the full ones one
        // may be awaited, and the others are empty.
        let used = (self.filled_from(0) + 1).min(self.cells.len());
        self.cells[..used].fill_with(|| AtomicU64::new(Word::EMPTY.0));
        self.blocks.fill_with(|| AtomicPtr::new(ptr::null_mut()));
        self.blocks_taken = AtomicUsize::new(0);
        self.numbers.fill_with(|| AtomicU64::new(0));
        self.numbers_taken = AtomicUsize::new(0);
        self.has_composites = AtomicBool::new(false);
        self.next = Link::null();
        self.payload = AtomicUsize::new(1);
        self.users = AtomicUsize::new(1);
        self.payload_canary = Canary::new();
    }

    /// What was fixed when it was made.
    pub(crate) fn header(&self) -> Header {
        self.canary.check();
        // SAFETY: written while private, constant since.
        self.header.with(|header| unsafe { *header })
    }

    pub(crate) fn base(&self) -> u64 {
        self.canary.check();
        // SAFETY: as above.
        self.header.with(|header| unsafe { (*header).base })
    }

    pub(crate) fn ordinal(&self) -> u64 {
        self.canary.check();
        // SAFETY: as above.
        self.header.with(|header| unsafe { (*header).ordinal })
    }

    fn limit_bytes(&self) -> u32 {
        // SAFETY: as above.
        self.header.with(|header| unsafe { (*header).limit_bytes })
    }

    /// Memory it takes, payload apart.
    pub(crate) fn footprint(&self) -> u64 {
        let tables = size_of_val(&*self.cells) + size_of_val(&*self.blocks) + size_of_val(&*self.numbers);
        (size_of::<Self>() + tables) as u64
    }

    // --- Cells --------------------------------------------------------------------------------

    /// How many cells there are.
    #[inline]
    pub(crate) fn capacity(&self) -> usize {
        self.cells.len()
    }

    /// What a cell holds. There is none behind the last: nothing is published there.
    #[inline]
    #[track_caller]
    pub(crate) fn word(&self, index: usize) -> Word {
        self.canary.check();
        self.cells.get(index).map_or(Word::EMPTY, |cell| Word(cell.load(ord::CELL_LOAD())))
    }

    /// The first cells, so many.
    #[inline]
    pub(crate) fn cells(&self, cells: usize) -> Cells<'_> {
        self.canary.check();
        Cells(&self.cells[..cells])
    }

    /// The word before a cell; before the first, one that ends at the base.
    #[inline]
    pub(crate) fn word_before(&self, index: usize) -> Word {
        match index {
            0 => self.opening(),
            _ => self.word(index - 1),
        }
    }

    fn opening(&self) -> Word {
        Word::opening(self.header().owes_wake && !fault(Fault::ForgetOwedByHeader))
    }

    /// The first cell at or after `from`, which is known to be the first cell or to stand behind a
    /// full one, that is not full.
    pub(crate) fn filled_from(&self, from: usize) -> usize {
        // In steps that double, then by halving: full cells are a prefix.
        let (mut full, mut step) = (from, 1);
        while self.word(full + step - 1).is_published() {
            full += step;
            step *= 2;
        }
        while step > 1 {
            step /= 2;
            if self.word(full + step - 1).is_published() {
                full += step;
            }
        }
        full
    }

    /// The first cell that was not full when looked at.
    pub(crate) fn frontier(&self) -> Frontier {
        let index = self.filled_from(0);
        Frontier { index, before: self.word_before(index) }
    }

    /// The first cell from `from` on whose publication ends behind `end`, among the first `filled`, which
    /// are full; near ones are found sooner.
    pub(crate) fn cell_behind(&self, end: u32, from: usize, filled: usize) -> usize {
        let (mut from, mut step) = (from, 1);
        while from + step <= filled && self.word(from + step - 1).end() <= end {
            from += step;
            step *= 2;
        }
        let mut to = filled.min(from + step - 1);
        while from < to {
            let middle = from.midpoint(to);
            if self.word(middle).end() <= end {
                from = middle + 1;
            } else {
                to = middle;
            }
        }
        from
    }

    /// Whether nothing can be published at `frontier`, for the segment has enough.
    #[inline]
    pub(crate) fn is_closed_at(&self, frontier: &Frontier) -> bool {
        frontier.index >= self.cells.len()
            || frontier.before.end() >= self.limit_bytes()
            || frontier.before.closes()
    }

    /// Tries to publish: the linearisation point of an append (I4). If it fails, it says what the
    /// cell holds.
    #[inline]
    #[track_caller]
    pub(crate) fn publish(&self, index: usize, word: Word) -> Result<(), Word> {
        self.canary.check();
        let cell = &self.cells[index];
        cell.compare_exchange(Word::EMPTY.0, word.0, ord::CELL_PUBLISH(), ord::CELL_LOAD())
            .map_or_else(|found| Err(Word(found)), |_| Ok(()))
    }

    /// Tries to publish in a cell that a cursor waits for. The word owes its wake-up.
    #[track_caller]
    pub(crate) fn publish_awaited(&self, index: usize, word: Word) -> Result<(), Word> {
        let cell = &self.cells[index];
        cell.compare_exchange(Word::AWAITED.0, word.0, ord::CELL_PUBLISH_AWAITED(), ord::CELL_LOAD())
            .map_or_else(|found| Err(Word(found)), |_| Ok(()))
    }

    /// The wake-up that `word`, published here by the caller, owed is delivered.
    pub(crate) fn settle(&self, index: usize, word: Word) {
        // A plain store: nobody but its publisher changes a full cell.
        self.cells[index].store(word.owing(false).0, ord::CELL_SETTLE());
    }

    /// Marks an empty cell as awaited. A read-modify-write even if it is already: each cursor
    /// that waits must hand its waker to the writer that fills the cell.
    pub(crate) fn park(&self, index: usize) -> Parked {
        let mut expected = Word::EMPTY;
        loop {
            let cell = &self.cells[index];
            match cell.compare_exchange(expected.0, Word::AWAITED.0, ord::PARK(), ord::CELL_LOAD()) {
                Ok(_) => return Parked::Waiting,
                Err(found) if Word(found).is_published() => return Parked::Ready,
                Err(found) => expected = Word(found),
            }
        }
    }

    // --- Tables -------------------------------------------------------------------------------

    /// Enters a block, whose reference count the caller holds one of; returns its entry.
    pub(crate) fn register_block(&self, block: &Block) -> Result<u8, Unregistered> {
        let taken = self.blocks_taken.fetch_add(1, ord::COUNTER());
        let Some(entry) = self.blocks.get(taken) else { return Err(Unregistered::Full) };
        block.take_reference();
        let address = ptr::from_ref(block).cast_mut();
        if fault(Fault::FillBySwap) {
            entry.swap(address, ord::BLOCK_FILL());
            return Ok(taken as u8);
        }
        match entry.compare_exchange(ptr::null_mut(), address, ord::BLOCK_FILL(), ord::FIELD_LOAD()) {
            Ok(_) => Ok(taken as u8),
            Err(_) => {
                // The caller's own reference is there yet: this was not the last.
                block.drop_reference();
                Err(Unregistered::Released)
            }
        }
    }

    /// The block of that entry, which a word names that the caller has seen.
    ///
    /// # Safety
    /// The caller has a reference to the payload.
    #[inline]
    unsafe fn block(&self, entry: u8) -> &Block {
        self.payload_canary.check();
        let block = self.blocks[usize::from(entry)].load(ord::BLOCK_LOAD());
        // What a weakened ordering shows, and no compiler can leave out there: without it an explorer
        // crashes.
        assert!(!IS_EXPLORED || block.addr() > 1, "I2: a word names a block that is not there");
        // SAFETY: filled before the word was published; the payload keeps it.
        unsafe { &*block }
    }

    /// The entry of a context that has to be in the table; `None` if the table is full.
    pub(crate) fn register_context(&self, context: u64) -> Option<u8> {
        if context == NO_CONTEXT {
            return Some(UNKNOWN);
        }
        if context == self.header().context {
            return Some(OPENING);
        }
        // Empty entries are 0, so a context stands there plus one; that of a seal may be taken for a
        // context of the same number, for an entry stays what it is.
        let taken = self.numbers_taken.load(ord::FIELD_LOAD()).min(self.numbers.len());
        let known = self.numbers[..taken].iter().position(|n| n.load(ord::NUMBER_LOAD()) == context + 1);
        known.map(|known| known as u8 + 1).or_else(|| self.register_number(context + 1))
    }

    /// Enters a number, not 0; `None` if the table is full.
    pub(crate) fn register_number(&self, number: u64) -> Option<u8> {
        let taken = self.numbers_taken.fetch_add(1, ord::COUNTER());
        self.numbers.get(taken)?.store(number, ord::NUMBER_STORE());
        Some(taken as u8 + 1)
    }

    fn number(&self, entry: u8) -> u64 {
        self.numbers[usize::from(entry) - 1].load(ord::NUMBER_LOAD())
    }

    /// The context after a word.
    pub(crate) fn context_after(&self, word: Word) -> u64 {
        match word.context() {
            OPENING => self.header().context,
            UNKNOWN => NO_CONTEXT,
            entry => self.number(entry) - 1,
        }
    }

    /// The highest term sealed so far, where a word is the last.
    pub(crate) fn sealed_term_after(&self, word: Word) -> u64 {
        word.sealed_term().map_or_else(|| self.header().sealed_term, |entry| self.number(entry))
    }

    /// A composite may be published here from now on.
    pub(crate) fn expect_composites(&self) {
        self.has_composites.store(true, ord::FIELD_STORE());
    }

    // --- Payload ------------------------------------------------------------------------------

    /// The composite of a word.
    ///
    /// # Safety
    /// The caller has a reference to the payload, and has seen the word in one of the cells.
    pub(crate) unsafe fn composite(&self, word: Word) -> &Composite {
        let At { block, place } = word.at();
        // SAFETY: the caller's promise; it was left there before the word was published, and stays as
        // long as the payload.
        unsafe { &*self.block(block).composite(usize::from(place)) }
    }

    /// The run of a plain word's bytes, `len` of them.
    ///
    /// # Safety
    /// As for [`composite`](Self::composite).
    #[inline]
    pub(crate) unsafe fn run(&self, word: Word, len: usize) -> Run<'_> {
        let At { block, place } = word.at();
        let start = usize::from(place);
        // SAFETY: the caller's promise.
        Run::Staged { block: unsafe { self.block(block) }, range: start..start + len }
    }

    /// The block in which a word's composite, or its bytes, lie.
    ///
    /// # Safety
    /// As for [`composite`](Self::composite).
    pub(crate) unsafe fn block_of(&self, word: Word) -> &Block {
        // SAFETY: the caller's promise.
        unsafe { self.block(word.at().block) }
    }

    /// A reference to the payload more. The caller knows of one that stays meanwhile.
    pub(crate) fn take_payload(&self) {
        self.payload_canary.check();
        self.payload.fetch_add(1, ord::REF_TAKE());
    }

    /// A reference to the payload less; true if it was the last.
    pub(crate) fn drop_payload(&self) -> bool {
        self.payload_canary.check();
        drop_one(&self.payload)
    }

    /// Releases the payload: hands each composite and each block to the caller, who owns the one and
    /// a reference of the other.
    ///
    /// # Safety
    /// The caller dropped the last reference to the payload, and calls this once.
    pub(crate) unsafe fn release_payload(
        &self,
        mut composite: impl FnMut(Box<Composite>),
        mut block: impl FnMut(*mut Block),
    ) {
        if self.has_composites.load(ord::FIELD_LOAD()) {
            let words = (0..self.capacity()).map(|index| self.word(index));
            for word in words.take_while(|word| word.is_published()).filter(|word| word.is_composite()) {
                let At { block, place } = word.at();
                // SAFETY: it was left there by `Box::into_raw`; nobody reads it any more.
                composite(unsafe { Box::from_raw(self.block(block).composite(usize::from(place))) });
            }
        }
        self.payload_canary.kill();
        let taken = self.blocks_taken.fetch_add(self.blocks.len(), ord::COUNTER()).min(self.blocks.len());
        for entry in &self.blocks[..taken] {
            let found = if fault(Fault::ReleaseByLoad) {
                entry.load(ord::BLOCK_RELEASE())
            } else {
                entry.swap(tombstone(), ord::BLOCK_RELEASE())
            };
            if !found.is_null() && !fault(Fault::LeakBlock) {
                block(found);
            }
        }
    }

    /// A reference to the cells more. The caller knows of one that stays meanwhile.
    pub(crate) fn take_cells(&self) {
        self.canary.check();
        self.users.fetch_add(1, ord::REF_TAKE());
    }

    /// A reference to the cells less; true if it was the last, and the segment is the caller's.
    pub(crate) fn drop_cells(&self) -> bool {
        self.canary.check();
        if !drop_one(&self.users) {
            return false;
        }
        self.canary.kill();
        true
    }

    // --- The chain ----------------------------------------------------------------------------

    /// The link to the successor.
    pub(crate) fn next(&self) -> &Link<Self> {
        self.canary.check();
        &self.next
    }

    /// Whether there is a successor.
    #[track_caller]
    pub(crate) fn has_next(&self) -> bool {
        !self.next().is_null(ord::NEXT_LOAD())
    }

    /// The header of the successor of a segment that is closed at `frontier`.
    pub(crate) fn header_after(&self, frontier: &Frontier, limit_bytes: u32, birth: u64) -> Header {
        let Header { ordinal, base, publications, .. } = self.header();
        let Frontier { index, before } = *frontier;
        Header {
            ordinal: ordinal + 1,
            base: base + u64::from(before.end()),
            publications: publications + index as u64,
            context: self.context_after(before),
            sealed_term: self.sealed_term_after(before),
            owes_wake: before.owes_wake(),
            limit_bytes,
            birth,
        }
    }
}

fn drop_one(references: &AtomicUsize) -> bool {
    if references.fetch_sub(1, ord::REF_DROP()) != 1 {
        return false;
    }
    fence(ord::REF_LAST());
    true
}
