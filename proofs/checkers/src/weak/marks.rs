//! Marks on bytes whose races the engine judges.

use std::cell::RefCell;
use std::ops::Range;
use std::panic::Location as Place;

use super::cell::Accesses;
use super::execution::try_with;

/// Who has read and written which bytes of some raw memory: to be told of each access, just before it is
/// done. Two that are not ordered, one of them a write, end the execution. Making it counts as writing all of
/// them.
///
/// Exact to the byte, however many there are: neighbours that were accessed alike share their books.
#[derive(Debug)]
pub struct Marks(RefCell<Vec<Span>>);

/// Bytes from where the span before ends, accessed alike.
#[derive(Clone, Debug)]
struct Span {
    end: usize,
    accesses: Accesses,
}

// SAFETY: the books are kept by one thread of the system, for all threads of an execution are one.
unsafe impl Sync for Marks {}

impl Marks {
    /// Marks on so many bytes.
    #[track_caller]
    pub fn new(bytes: usize) -> Self {
        Self(RefCell::new(vec![Span { end: bytes, accesses: Accesses::made_at(Place::caller()) }]))
    }

    /// The bytes are about to be written.
    #[track_caller]
    pub fn write(&self, range: Range<usize>) {
        self.access(range, true, Place::caller());
    }

    /// The bytes are about to be read.
    #[track_caller]
    pub fn read(&self, range: Range<usize>) {
        self.access(range, false, Place::caller());
    }

    fn access(&self, range: Range<usize>, writes: bool, place: &'static Place<'static>) {
        let mut spans = self.0.borrow_mut();
        let bytes = spans.last().map_or(0, |last| last.end);
        assert!(range.end <= bytes, "{range:?} is not within {bytes} bytes");
        if range.is_empty() || super::unwinding() {
            return;
        }
        let first = boundary(&mut spans, range.start);
        let beyond = boundary(&mut spans, range.end);
        let within = first..beyond;
        let race = try_with(|state| {
            spans[within.clone()].iter_mut().find_map(|span| span.accesses.note(state, writes, place))
        });
        if writes {
            // All of them were written here and now.
            spans.drain(first..beyond - 1);
        }
        drop(spans);
        if let Some(race) = race.flatten() {
            race.report();
        }
    }
}

/// Makes a span begin at this byte, and returns its number.
fn boundary(spans: &mut Vec<Span>, byte: usize) -> usize {
    let at = spans.partition_point(|span| span.end <= byte);
    let begins = if at == 0 { 0 } else { spans[at - 1].end };
    if begins == byte || at == spans.len() {
        return at;
    }
    let before = Span { end: byte, accesses: spans[at].accesses.clone() };
    spans.insert(at, before);
    at + 1
}
