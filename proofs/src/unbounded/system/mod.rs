//! The steps of the system: what the buffer does, one atomic access a step.
//!
//! Each kind of actor has a file. There are any number of each, and a step of any of them comes next. A
//! thread of the product is a writer, a cursor and as many trimmers as it calls trim; what is called inside
//! an append may happen beside it here, which is more, not less. A guard that the proof does not need is
//! not here.

pub mod cursor;
pub mod release;
pub mod trimmer;
pub mod writer;

use super::state::*;
use super::step::Step;
use super::term::{Bool, Int, Kind, Var, pick, pick_truth};

/// A segment, in clauses and updates.
pub const S: Var = Var { name: "s", kind: Kind::Segment };
/// Another.
pub const S2: Var = Var { name: "s2", kind: Kind::Segment };
/// A cell.
pub const I: Var = Var { name: "i", kind: Kind::Cell };
/// Another.
pub const I2: Var = Var { name: "i2", kind: Kind::Cell };
/// An entry of a table.
pub const E: Var = Var { name: "e", kind: Kind::Entry };
/// A writer.
pub const W: Var = Var { name: "w", kind: Kind::Writer };
/// Another.
pub const W2: Var = Var { name: "w2", kind: Kind::Writer };
/// A cursor.
pub const C: Var = Var { name: "c", kind: Kind::Cursor };
/// Another.
pub const C2: Var = Var { name: "c2", kind: Kind::Cursor };
/// A trimmer.
pub const T: Var = Var { name: "t", kind: Kind::Trimmer };
/// Another.
pub const T2: Var = Var { name: "t2", kind: Kind::Trimmer };

/// All steps.
#[must_use]
pub fn steps() -> Vec<Step> {
    let mut steps = writer::steps();
    steps.extend(cursor::steps());
    steps.extend(trimmer::steps());
    steps.extend(release::steps());
    steps
}

/// A variable as a term.
#[must_use]
pub fn v(variable: Var) -> Int {
    variable.into()
}

/// Where the publication before a cell ends: at the segment's base before the first.
pub fn end_before(segment: impl Into<Int>, cell: impl Into<Int>) -> Int {
    let (segment, cell) = (segment.into(), cell.into());
    pick(cell.clone().is(0), base(&segment), end(&segment, cell - 1))
}

/// Whether the publication before a cell closes the segment.
pub fn closes_before(segment: impl Into<Int>, cell: impl Into<Int>) -> Bool {
    let (segment, cell) = (segment.into(), cell.into());
    !cell.clone().is(0) & closes(&segment, cell - 1)
}

/// The entry of the term that the publication before a cell seals.
pub fn seals_before(segment: impl Into<Int>, cell: impl Into<Int>) -> Int {
    let (segment, cell) = (segment.into(), cell.into());
    pick(cell.clone().is(0), NONE, seals(&segment, cell - 1))
}

/// Whether the publication before a cell owes a wake-up.
pub fn owes_before(segment: impl Into<Int>, cell: impl Into<Int>) -> Bool {
    let (segment, cell) = (segment.into(), cell.into());
    pick_truth(cell.clone().is(0), opens_owing(&segment), owes(&segment, cell - 1))
}

/// Whether a segment is closed at a cell, if the word before it ends there and closes or not.
pub fn closed(segment: impl Into<Int>, cell: impl Into<Int>, end: impl Into<Int>, closes: Bool) -> Bool {
    let segment = segment.into();
    cell.into().at_least(cells()) | (end.into() - base(&segment)).at_least(limit(&segment)) | closes
}

/// Whether a segment is closed at a cell.
pub fn closed_at(segment: impl Into<Int>, cell: impl Into<Int>) -> Bool {
    let (segment, cell) = (segment.into(), cell.into());
    closed(&segment, &cell, end_before(&segment, &cell), closes_before(&segment, &cell))
}

/// Whether a segment was linked to its successor.
pub fn linked(segment: impl Into<Int>) -> Bool {
    let segment = segment.into();
    Int::from(0).at_most(&segment) & segment.below(newest())
}

/// What linking a segment's successor does: it opens where the segment ends.
pub fn link(step: Step, segment: &Int, at: &Int, sealing: Int, owing: Bool) -> Step {
    let next = segment.clone() + 1;
    let sealed_now = pick(sealing.clone().at_least(0), number(segment, sealing), sealed(segment));
    step.when("the link is empty", segment.clone().is(newest()))
        .set(newest(), newest() + 1)
        .set(base(&next), at.clone())
        .set(sealed(&next), sealed_now)
        .set(opens_owing(&next), owing)
}

/// What moving the tail from a segment to its successor does.
pub fn move_tail(step: Step, from: &Int) -> Step {
    step.set(tail(), pick(tail().is(from), from.clone() + 1, tail()))
}
