//! The shipped buffer passes, and each way to answer wrong is told by its name.

use std::ops::Range;

use super::{Refinement, ReplicationLog, Shape, Shipped};
use crate::buffer::Cursor;
use crate::testing::publication::{Part, Publication};

const SHAPE: Shape = Shape { batches: true, contexts: true };

#[test]
fn the_shipped_buffer_refines_the_reference() {
    for base_offset in [0, 12_345] {
        let refinement = Refinement::new(SHAPE).base_offset(base_offset).sequences(300);
        refinement.check(Shipped::new).unwrap_or_else(|found| panic!("{found}"));
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    AppendsTwice,
    EndIsLate,
    FlipsByte,
    HidesTheLast,
    ReadsTooFar,
    JoinsFrames,
    ForgetsContexts,
    KeepsTooLittle,
    FirstGoesBack,
    RefusesTheEnd,
    SealsElsewhere,
    NeverFenced,
}

/// The shipped buffer, and a fault in what it answers.
struct Faulty {
    shipped: Shipped,
    fault: Fault,
    base_offset: u64,
    appended: u64,
}

impl Faulty {
    fn is(&self, fault: Fault) -> bool {
        self.fault == fault
    }
}

impl ReplicationLog for Faulty {
    type Cursor = Cursor;

    fn append(&mut self, term: u64, publication: &Publication) -> Option<Range<u64>> {
        self.appended += 1;
        let mut publication = publication.clone();
        if self.is(Fault::JoinsFrames) {
            publication.parts.retain(|part| *part != Part::EndFrame);
        }
        if self.is(Fault::ForgetsContexts) {
            publication.parts.insert(0, Part::SetContext(None));
        }
        if self.is(Fault::AppendsTwice) && self.appended == 5 {
            self.shipped.append(term, &publication);
        }
        let term = if self.is(Fault::NeverFenced) { u64::MAX } else { term };
        self.shipped.append(term, &publication)
    }

    fn attach(&mut self, offset: u64) -> Option<Cursor> {
        let refused = self.is(Fault::RefusesTheEnd) && offset == self.shipped.end_offset();
        if refused { None } else { self.shipped.attach(offset) }
    }

    fn read(&mut self, cursor: &mut Cursor, most: usize) -> Vec<u8> {
        let mut bytes = self.shipped.read(cursor, most);
        match (self.fault, bytes.last_mut()) {
            (Fault::FlipsByte, Some(last)) if *last == b'7' => *last = b'8',
            (Fault::HidesTheLast, Some(_)) => bytes.clear(),
            (Fault::ReadsTooFar, Some(_)) if cursor.lag_bytes() == 0 => bytes.push(0),
            _ => {}
        }
        bytes
    }

    fn read_frame(&mut self, cursor: &mut Cursor) -> Option<(Range<u64>, Vec<u8>)> {
        self.shipped.read_frame(cursor)
    }

    fn seal(&mut self, term: u64) -> Option<u64> {
        let late = u64::from(self.is(Fault::SealsElsewhere));
        self.shipped.seal(term).map(|offset| offset + late)
    }

    fn set_backlog_bytes(&mut self, bytes: u64) {
        self.shipped.set_backlog_bytes(bytes / if self.is(Fault::KeepsTooLittle) { 3 } else { 1 });
    }

    fn first_offset(&self) -> u64 {
        let first = self.shipped.first_offset();
        let back = u64::from(self.is(Fault::FirstGoesBack) && self.appended % 2 == 1);
        if first > self.base_offset { first - back } else { first }
    }

    fn end_offset(&self) -> u64 {
        let end = self.shipped.end_offset();
        if self.is(Fault::EndIsLate) { end.saturating_sub(1).max(self.base_offset) } else { end }
    }
}

#[test]
fn each_fault_is_told_by_the_name_of_what_it_breaks() {
    let faults = [
        (Fault::AppendsTwice, "I1 gapless"),
        (Fault::EndIsLate, "I1 gapless"),
        (Fault::FlipsByte, "I5 integrity"),
        (Fault::HidesTheLast, "I2 prefix: nothing"),
        (Fault::ReadsTooFar, "I2 prefix: bytes"),
        (Fault::JoinsFrames, "I3 one order"),
        (Fault::ForgetsContexts, "I1 gapless"),
        (Fault::KeepsTooLittle, "I7 retention"),
        (Fault::FirstGoesBack, "I7 retention"),
        (Fault::RefusesTheEnd, "I7 retention"),
        (Fault::SealsElsewhere, "I10 fence: the seal"),
        (Fault::NeverFenced, "I10 fence"),
    ];
    for (fault, name) in faults {
        let new = |base_offset, backlog_bytes| {
            let shipped = Shipped::new(base_offset, backlog_bytes);
            Faulty { shipped, fault, base_offset, appended: 0 }
        };
        let found = Refinement::new(SHAPE).check(new).map_err(|found| found.to_string());
        let found = found.expect_err(&format!("{fault:?} went unnoticed"));
        assert!(found.contains(name), "{fault:?} should break {name}: {found}");
    }
}
