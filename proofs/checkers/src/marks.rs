//! Marks on bytes whose races loom judges.

use std::ops::Range;

use loom::cell::UnsafeCell;

use crate::trace::{self, Birth};

/// Up to so many bytes there is a cell for each.
const BYTES_ONE_BY_ONE: usize = 4096;
/// Beyond that, so many bytes share one.
const BYTES_A_CELL: usize = 64;

/// Who has read and written which bytes of some raw memory: to be told of each access, just before it is
/// done. Two that are not ordered, one of them a write, are a reported race. Making it counts as writing all
/// of them.
///
/// Each byte is a cell that loom tracks, but of more than 4096 bytes each 64 share one: there, accesses of
/// different bytes of one 64 may be reported although they do not meet, and none that do are missed.
#[derive(Debug)]
pub struct Marks {
    cells: Vec<UnsafeCell<()>>,
    bytes: usize,
    bytes_a_cell: usize,
    birth: Birth,
}

// SAFETY: loom runs all threads of a model on one thread of the system, and judges their accesses.
unsafe impl Send for Marks {}
// SAFETY: as above.
unsafe impl Sync for Marks {}

impl Marks {
    /// Marks on so many bytes.
    #[track_caller]
    pub fn new(bytes: usize) -> Self {
        let bytes_a_cell = if bytes <= BYTES_ONE_BY_ONE { 1 } else { BYTES_A_CELL };
        let cells = (0..bytes.div_ceil(bytes_a_cell)).map(|_| UnsafeCell::new(())).collect();
        Self { cells, bytes, bytes_a_cell, birth: Birth::now() }
    }

    fn covered(&self, range: Range<usize>) -> &[UnsafeCell<()>] {
        assert!(range.end <= self.bytes, "{range:?} is not within {} bytes", self.bytes);
        if range.is_empty() || crate::sync::unwinding() {
            return &[];
        }
        &self.cells[range.start / self.bytes_a_cell..range.end.div_ceil(self.bytes_a_cell)]
    }

    /// The bytes are about to be written.
    #[track_caller]
    pub fn write(&self, range: Range<usize>) {
        let cells = self.covered(range);
        if !cells.is_empty() {
            trace::cell(self, self.birth, true);
        }
        for cell in cells {
            cell.with_mut(|_| ());
        }
    }

    /// The bytes are about to be read.
    #[track_caller]
    pub fn read(&self, range: Range<usize>) {
        let cells = self.covered(range);
        if !cells.is_empty() {
            trace::cell(self, self.birth, false);
        }
        for cell in cells {
            cell.with(|_| ());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::Marks;

    /// Two threads write these bytes of so many, without order.
    fn write_both(bytes: usize, one: std::ops::Range<usize>, other: std::ops::Range<usize>) {
        loom::model(move || {
            let marks = Arc::new(Marks::new(bytes));
            let writer = {
                let (marks, one) = (Arc::clone(&marks), one.clone());
                loom::thread::spawn(move || marks.write(one))
            };
            marks.write(other.clone());
            writer.join().expect("no panic");
        });
    }

    #[test]
    fn bytes_beside_each_other_do_not_meet() {
        write_both(8, 0..4, 4..8);
        write_both(2 * 4096, 0..64, 64..256);
        write_both(8, 3..3, 0..8);
    }

    #[test]
    #[should_panic(expected = "Concurrent write accesses")]
    fn a_byte_that_two_write_is_a_race() {
        write_both(8, 0..5, 4..8);
    }

    #[test]
    #[should_panic(expected = "Concurrent write accesses")]
    fn so_it_is_among_many() {
        write_both(2 * 4096, 0..65, 64..256);
    }
}
