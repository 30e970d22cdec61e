//! The state of the system: functions of segments, cells, writers, cursors and trimmers.
//!
//! What is called a ghost is in no memory: it is there so that something can be said.

use super::term::{Bool, Int, Kind, Node, Sort};
use std::rc::Rc;

/// A function of the state.
#[derive(Debug)]
pub struct Function {
    /// Its name, in SMT-LIB as well.
    pub name: &'static str,
    /// What it is a function of.
    pub kinds: &'static [Kind],
    /// What its values are.
    pub sort: Sort,
    /// What they stand for, if that is something that can be counted.
    pub gives: Option<Kind>,
    /// Its value at the beginning, everywhere.
    pub initial: i64,
    /// Fixed for ever, and nothing is known of it at the beginning.
    pub is_constant: bool,
}

macro_rules! sort_of {
    (int) => {
        Int
    };
    (flag) => {
        Bool
    };
    (constant) => {
        Int
    };
}

macro_rules! sort_name {
    (int) => {
        Sort::Int
    };
    (flag) => {
        Sort::Bool
    };
    (constant) => {
        Sort::Int
    };
}

macro_rules! gives {
    () => {
        None
    };
    ($kind:ident) => {
        Some(Kind::$kind)
    };
}

macro_rules! is_constant {
    (constant) => {
        true
    };
    ($other:ident) => {
        false
    };
}

macro_rules! state {
    ($($(#[$doc:meta])* $sort:ident $name:ident($($kind:ident),*) $(-> $gives:ident)? = $initial:expr;)*) => {
        #[allow(non_camel_case_types)]
        #[derive(Clone, Copy)]
        enum Number { $($name,)* }

        /// All functions of the state.
        pub static FUNCTIONS: &[Function] = &[$(Function {
            name: stringify!($name),
            kinds: &[$(Kind::$kind),*],
            sort: sort_name!($sort),
            gives: gives!($($gives)?),
            initial: $initial as i64,
            is_constant: is_constant!($sort),
        }),*];

        $(state!(@accessor $(#[$doc])* $sort $name ($($kind),*));)*
    };
    (@accessor $(#[$doc:meta])* $sort:ident $name:ident ()) => {
        $(#[$doc])*
        #[must_use]
        pub fn $name() -> sort_of!($sort) {
            <sort_of!($sort)>::get(Number::$name as usize, Vec::new())
        }
    };
    (@accessor $(#[$doc:meta])* $sort:ident $name:ident ($a:ident)) => {
        $(#[$doc])*
        pub fn $name(a: impl Into<Int>) -> sort_of!($sort) {
            <sort_of!($sort)>::get(Number::$name as usize, vec![a.into()])
        }
    };
    (@accessor $(#[$doc:meta])* $sort:ident $name:ident ($a:ident, $b:ident)) => {
        $(#[$doc])*
        pub fn $name(a: impl Into<Int>, b: impl Into<Int>) -> sort_of!($sort) {
            <sort_of!($sort)>::get(Number::$name as usize, vec![a.into(), b.into()])
        }
    };
}

impl Int {
    fn get(function: usize, arguments: Vec<Int>) -> Self {
        Self(Rc::new(Node::Get(function, arguments.into_iter().map(|argument| argument.0).collect())))
    }
}

impl Bool {
    fn get(function: usize, arguments: Vec<Int>) -> Self {
        Self(Rc::new(Node::Get(function, arguments.into_iter().map(|argument| argument.0).collect())))
    }
}

/// No segment, no entry, no cell; for a slot, that nobody may read by it.
pub const NONE: i64 = -1;
/// For a slot: its cursor was evicted.
pub const EVICTED: i64 = -2;
/// In a table of blocks: the payload was released.
pub const TOMBSTONE: i64 = -1;

state! {
    /// Cells of a segment.
    constant cells() = 2;
    /// Entries of a segment's table of blocks.
    constant blocks() = 2;
    /// A segment is closed when it holds this many bytes.
    constant limit(Segment) = 3;
    /// Bytes behind the end that stay attachable.
    constant backlog_bytes() = 2;

    // --- A segment: its cells ---------------------------------------------------------------------
    /// Something is published in the cell.
    flag full(Segment, Cell) = 0;
    /// A cursor waits for the cell, while it is not full.
    flag awaited(Segment, Cell) = 0;
    /// Where the publication ends.
    int end(Segment, Cell) = 0;
    /// It is closing.
    flag closes(Segment, Cell) = 0;
    /// The entry of the term that it seals.
    int seals(Segment, Cell) = NONE;
    /// The entry of its block.
    int entry(Segment, Cell) = NONE;
    /// It owes a wake-up.
    flag owes(Segment, Cell) = 0;
    /// Ghost: where it starts.
    int start(Segment, Cell) = 0;
    /// Ghost: the term of its writer.
    int term(Segment, Cell) = 0;
    /// Ghost: its writer.
    int writer(Segment, Cell) = NONE;
    /// Ghost: it was published so many publications ago.
    int moment(Segment, Cell) = 0;
    /// Ghost: what it owes is passed on to the next segment, not paid.
    flag passes(Segment, Cell) = 0;
    /// Ghost: how many cells are full.
    int count(Segment) = 0;
    /// Ghost: publications so far.
    int now() = 0;

    // --- A segment: its header and tables -----------------------------------------------------------
    /// Where it starts.
    int base(Segment) = 0;
    /// The highest term sealed before it.
    int sealed(Segment) = 0;
    /// A wake-up is owed from before it.
    flag opens_owing(Segment) = 0;
    /// The table of numbers; here, terms to be sealed.
    int number(Segment, Entry) = 0;
    /// How many entries of that were taken.
    int numbers_taken(Segment) = 0;
    /// The table of blocks: 0, a block, or the tombstone.
    int block(Segment, Entry) = 0;
    /// How many entries of that were taken.
    int blocks_taken(Segment) = 0;

    // --- A segment: its lifetimes ---------------------------------------------------------------------
    /// It was retired.
    flag retired(Segment) = 0;
    /// Ghost: the trimmer that moved the head past it.
    int retirer(Segment) = NONE;
    /// The chain's reference to its payload is there.
    flag chain(Segment) = 1;
    /// The last reference to its payload was given up.
    flag payload_gone(Segment) = 0;
    /// How many entries of the table of blocks have to be emptied then.
    int to_empty(Segment) = 0;
    /// How many were.
    int emptied(Segment) = 0;
    /// The last reference to its cells was given up: it is freed, or used again.
    flag gone(Segment) = 0;

    // --- The chain --------------------------------------------------------------------------------------
    /// The newest segment; each before it is linked to the next.
    int newest() -> Segment = 0;
    /// Where the search for the end begins.
    int tail() -> Segment = 0;
    /// The first segment that can be attached to.
    int backlog() -> Segment = 0;
    /// The first segment that is there.
    int head() -> Segment = 0;
    /// The ordinal below which nothing can be attached.
    int floor() = 0;

    // --- Writers --------------------------------------------------------------------------------------------
    /// Where the writer's program is.
    int w_at(Writer) = 0;
    /// The segment in which it stands.
    int w_segment(Writer) -> Segment = NONE;
    /// The cell that it tries next.
    int w_index(Writer) -> Cell = 0;
    /// The word before that: its end,
    int w_end(Writer) = 0;
    /// whether it closes,
    flag w_closes(Writer) = 0;
    /// the entry of the term that it seals,
    int w_seals(Writer) = NONE;
    /// and whether it owes a wake-up.
    flag w_owes(Writer) = 0;
    /// The term sealed before the segment.
    int w_sealed(Writer) = 0;
    /// The term of the append.
    int w_term(Writer) = 0;
    /// The word that it offers: where it ends,
    int o_end(Writer) = 0;
    /// whether it closes,
    flag o_closes(Writer) = 0;
    /// the entry of the term that it seals,
    int o_seals(Writer) = NONE;
    /// the entry of its block.
    int o_entry(Writer) = NONE;
    /// The entry of its block that it knows of.
    int w_block(Writer) = NONE;
    /// The entry of a number that it took.
    int w_number(Writer) = NONE;
    /// The term that stands there, if it was stored.
    int w_numbered(Writer) = NONE;
    /// The segment at which its search is.
    int w_walk(Writer) -> Segment = NONE;
    /// It is pinned.
    flag w_pinned(Writer) = 0;
    /// Ghost: the head when it pinned.
    int w_head(Writer) = 0;
    /// Its pin keeps the segment from being released.
    flag w_blocks(Writer, Segment) = 0;
    /// It counts on the segment's cells.
    flag w_holds(Writer, Segment) = 0;
    /// It owes this cursor a wake-up, and has not come to it yet.
    flag w_must(Writer, Cursor) = 0;

    // --- Cursors ----------------------------------------------------------------------------------------------
    /// Where the cursor's program is.
    int c_at(Cursor) = 0;
    /// Its slot: the first segment that it may read, or that it may not.
    int slot(Cursor) = NONE;
    /// Its slot is in the list.
    flag listed(Cursor) = 0;
    /// What it asked for.
    int c_asked(Cursor) = 0;
    /// The segment at which its search is.
    int c_walk(Cursor) -> Segment = NONE;
    /// The first segment of its window,
    int c_front(Cursor) -> Segment = 0;
    /// the last,
    int c_segment(Cursor) -> Segment = 0;
    /// and how many publications of that it has seen.
    int c_seen(Cursor) -> Cell = 0;
    /// Ghost: where what it has seen ends.
    int c_end(Cursor) = 0;
    /// It saw that there is a next segment.
    flag c_next(Cursor) = 0;
    /// A cell that it saw not to be full, after that.
    int c_bar(Cursor) = NONE;
    /// The word before the cell at which it waits owes a wake-up.
    flag c_owes(Cursor) = 0;
    /// It is pinned.
    flag c_pinned(Cursor) = 0;
    /// Ghost: the head when it pinned.
    int c_head(Cursor) = 0;
    /// Its pin keeps the segment from being released.
    flag c_blocks(Cursor, Segment) = 0;
    /// It counts on the segment's payload.
    flag holds(Cursor, Segment) = 0;
    /// It waits, says its slot.
    flag waiting(Cursor) = 0;
    /// It was woken since it left its waker.
    flag woken(Cursor) = 0;
    /// Who evicted it has not woken it yet.
    flag to_be_told(Cursor) = 0;

    // --- Trimming -----------------------------------------------------------------------------------------------
    /// Where the call is.
    int t_at(Trimmer) = 0;
    /// The backlog pointer as it saw it.
    int t_backlog(Trimmer) -> Segment = NONE;
    /// The segment at which its search for the last is.
    int t_walk(Trimmer) -> Segment = NONE;
    /// How far the head may go.
    int t_least(Trimmer) = 0;
    /// The head as it saw it.
    int t_from(Trimmer) -> Segment = NONE;
    /// It has not looked at this cursor's slot yet.
    flag t_must(Trimmer, Cursor) = 0;
    /// It is pinned.
    flag t_pinned(Trimmer) = 0;
    /// Ghost: the head when it pinned.
    int t_head(Trimmer) = 0;
    /// Its pin keeps the segment from being released.
    flag t_blocks(Trimmer, Segment) = 0;
}
