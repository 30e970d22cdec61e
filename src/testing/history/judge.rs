//! The judge: puts a history in order and holds everybody against it.
//!
//! The appends are sorted by the offsets that they were told. If those tile the stream (I1), there is one
//! order that all of them claim; the rest is whether that order respects program order and real time (I4),
//! and whether everything that was read and seen is what this order makes on the reference (I2, I3, I5). All
//! of it is one sort and a few sweeps.

use std::collections::HashMap;
use std::ops::Range;

use super::violation::{Place, SealPlace, Violation};
use super::{Append, History, Look, Read, Seal};
use crate::buffer::reference::ReferenceBuffer;

type Judged = Result<(), Violation>;

fn place<T>(append: &Append<T>) -> Place {
    Place { writer: append.writer, number: append.number, range: append.range.clone() }
}

fn seal_place<T>(seal: &Seal<T>) -> SealPlace {
    SealPlace { term: seal.term, offset: seal.offset }
}

pub(super) fn judge<T: Copy + Ord>(history: &History<T>) -> Judged {
    let mut appends: Vec<_> = history.appends.iter().collect();
    // Without bytes, an append stands before what starts at its offset; several of them, in the order of
    // their times.
    appends.sort_by_key(|append| (append.range.start, append.range.end, append.started));
    offsets(history.base_offset, &appends)?;
    program_order(&appends)?;
    real_time(&appends)?;
    let stream = Stream::replay(history.base_offset, &appends)?;
    seals(&history.seals, &appends)?;
    for (number, read) in history.reads.iter().enumerate() {
        stream.has(read, history.reads.iter().skip(number + 1).chain(&history.reads[..number]))?;
    }
    looks(&history.looks, &stream)
}

/// I1: what the writers were told leaves neither gap nor overlap.
fn offsets<T>(base_offset: u64, appends: &[&Append<T>]) -> Judged {
    let (mut expected, mut before) = (base_offset, None);
    for &append in appends {
        if append.range.start != expected || append.range.end < append.range.start {
            return Err(Violation::Gap { before: before.map(place), append: place(append), expected });
        }
        (expected, before) = (append.range.end, Some(append));
    }
    Ok(())
}

/// I4: each writer's appends stand in its program order.
fn program_order<T>(appends: &[&Append<T>]) -> Judged {
    let mut last: HashMap<u64, &Append<T>> = HashMap::new();
    for &append in appends {
        if let Some(first) = last.insert(append.writer, append)
            && first.number >= append.number
        {
            return Err(Violation::ProgramOrder { first: place(first), second: place(append) });
        }
    }
    Ok(())
}

/// I4: what had returned before another was begun stands before it.
fn real_time<T: Copy + Ord>(appends: &[&Append<T>]) -> Judged {
    let mut earliest: Option<&Append<T>> = None;
    for &append in appends.iter().rev() {
        if let Some(second) = earliest
            && second.returned < append.started
        {
            return Err(Violation::RealTime { first: place(append), second: place(second) });
        }
        if earliest.is_none_or(|second| append.returned < second.returned) {
            earliest = Some(append);
        }
    }
    Ok(())
}

/// I10: a seal stands between two appends, in its place in real time, and nothing of its term behind it.
fn seals<T: Copy + Ord>(seals: &[Seal<T>], appends: &[&Append<T>]) -> Judged {
    let mut by_term: Vec<_> = seals.iter().collect();
    by_term.sort_by_key(|seal| seal.term);
    if let Some([earlier, later]) = by_term
        .array_windows()
        .find(|[earlier, later]| earlier.term == later.term || earlier.offset > later.offset)
    {
        return Err(Violation::SealsOutOfOrder { earlier: seal_place(earlier), later: seal_place(later) });
    }
    for seal in seals {
        for &append in appends {
            let before = append.range.end <= seal.offset;
            // One without bytes, at the very offset, may stand on either side.
            let after = append.range.start >= seal.offset;
            let sides = || (seal_place(seal), place(append));
            if !before && !after {
                let (seal, append) = sides();
                return Err(Violation::SealWithin { seal, append });
            }
            if !before && append.returned < seal.started {
                let (seal, append) = sides();
                return Err(Violation::SealTooEarly { seal, append });
            }
            if !after && append.started > seal.returned {
                let (seal, append) = sides();
                return Err(Violation::SealTooLate { seal, append });
            }
            if let Some(term) = append.term.filter(|term| !before && *term <= seal.term) {
                let (seal, append) = sides();
                return Err(Violation::BehindSeal { append, term, seal });
            }
        }
    }
    Ok(())
}

/// What the appends make on the reference, in their order.
struct Stream<'h, T> {
    base_offset: u64,
    bytes: Vec<u8>,
    frames: Vec<Range<u64>>,
    appends: &'h [&'h Append<T>],
}

impl<'h, T: Copy + Ord> Stream<'h, T> {
    /// I5: each takes as many bytes as it has.
    fn replay(base_offset: u64, appends: &'h [&'h Append<T>]) -> Result<Self, Violation> {
        let mut reference = ReferenceBuffer::new(base_offset, u64::MAX);
        for append in appends {
            let start = reference.end();
            // The terms are judged by the seals: here nothing is sealed, and nothing refused.
            let replayed = reference.append(u64::MAX, &append.publication.frames()).unwrap_or(start..start);
            if replayed != append.range {
                let expected = replayed.end - replayed.start;
                return Err(Violation::OtherLength { append: place(append), expected });
            }
        }
        let bytes = reference.bytes(base_offset, reference.end()).unwrap_or_default().to_vec();
        Ok(Self { base_offset, bytes, frames: reference.frames().to_vec(), appends })
    }

    fn end(&self) -> u64 {
        self.base_offset + self.bytes.len() as u64
    }

    /// The append that the byte behind `offset` is of; of no byte, the last one.
    fn append_at(&self, offset: u64) -> Place {
        let at = self.appends.partition_point(|append| append.range.end <= offset);
        self.appends
            .get(at)
            .or(self.appends.last())
            .map_or(Place { writer: 0, number: 0, range: self.base_offset..self.base_offset }, |append| {
                place(append)
            })
    }

    /// I2, I3, I5: what was read is a piece of the stream.
    fn has<'r>(&self, read: &'r Read, others: impl Iterator<Item = &'r Read>) -> Judged {
        let (reader, from, to) = (read.reader, read.from, read.from.saturating_add(read.bytes.len() as u64));
        if read.to_end && to != self.end() {
            return Err(Violation::Incomplete { reader, read: to, end: self.end() });
        }
        if from < self.base_offset || to > self.end() {
            let stream = self.base_offset..self.end();
            return Err(Violation::OutsideStream { reader, from, to, stream });
        }
        let at = (from - self.base_offset) as usize;
        let expected = &self.bytes[at..at + read.bytes.len()];
        if let Some(at) = read.bytes.iter().zip(expected).position(|(byte, expected)| byte != expected) {
            return Err(self.differs(read, read.from + at as u64, expected[at], others));
        }
        match &read.frames {
            Some(frames) => self.shows(read.reader, from..to, frames),
            None => Ok(()),
        }
    }

    /// I3 if another reader has something else there, I5 if not.
    fn differs<'r>(
        &self,
        read: &Read,
        offset: u64,
        expected: u8,
        mut others: impl Iterator<Item = &'r Read>,
    ) -> Violation {
        let byte_of = |read: &Read| {
            offset.checked_sub(read.from).and_then(|at| read.bytes.get(usize::try_from(at).ok()?).copied())
        };
        let (reader, append) = (read.reader, self.append_at(offset));
        let byte = byte_of(read).unwrap_or(expected);
        let other =
            others.find_map(|other| Some((other.reader, byte_of(other)?)).filter(|(_, b)| *b != byte));
        match other {
            Some((other, other_byte)) => {
                Violation::ReadersDiffer { offset, reader, byte, other, other_byte, append }
            }
            None => Violation::OtherByte { reader, offset, byte, expected, append },
        }
    }

    /// I3: frames are bounded as they were published.
    fn shows(&self, reader: u64, piece: Range<u64>, frames: &[Range<u64>]) -> Judged {
        let first = self.frames.partition_point(|frame| frame.start < piece.start);
        let last = self.frames.partition_point(|frame| frame.end <= piece.end);
        let published = self.frames.get(first..last).unwrap_or_default();
        let differs = (0..published.len().max(frames.len())).find(|at| published.get(*at) != frames.get(*at));
        match differs {
            Some(at) => {
                let (read, published) = (frames.get(at).cloned(), published.get(at).cloned());
                Err(Violation::OtherFrame { reader, read, published })
            }
            None => Ok(()),
        }
    }
}

/// I2, I4: who looked saw whole frames, all that had returned, and nothing that was not begun.
fn looks<T: Copy + Ord>(looks: &[Look<T>], stream: &Stream<'_, T>) -> Judged {
    // Of all that had returned by a time, what stands last; of all begun from a time on, what stands first.
    let mut returned: Vec<_> = stream.appends.to_vec();
    returned.sort_by_key(|append| append.returned);
    let furthest = running(&returned, |append, best| append.range.end > best.range.end);
    let mut begun: Vec<_> =
        stream.appends.iter().copied().filter(|append| !append.range.is_empty()).collect();
    begun.sort_by_key(|append| std::cmp::Reverse(append.started));
    let nearest = running(&begun, |append, best| append.range.end < best.range.end);

    let mut seen: HashMap<u64, u64> = HashMap::new();
    for look in looks {
        let &Look { reader, end, started, .. } = look;
        if let Some(before) = seen.insert(reader, end)
            && before > end
        {
            return Err(Violation::Shrank { reader, before, end });
        }
        if end < stream.base_offset || end > stream.end() {
            let stream = stream.base_offset..stream.end();
            return Err(Violation::OutsideStream { reader, from: end, to: end, stream });
        }
        let frame = stream.frames.partition_point(|frame| frame.end <= end);
        if let Some(frame) = stream.frames.get(frame).filter(|frame| frame.start < end) {
            let append = stream.append_at(frame.start);
            return Err(Violation::HalfFrame { reader, end, frame: frame.clone(), append });
        }
        let had_returned = returned.partition_point(|append| append.returned < started);
        if let Some(append) = had_returned.checked_sub(1).map(|last| furthest[last])
            && append.range.end > end
        {
            return Err(Violation::Hidden { append: place(append), reader, end });
        }
        let not_begun = begun.partition_point(|append| append.started > look.returned);
        if let Some(append) = not_begun.checked_sub(1).map(|last| nearest[last])
            && append.range.end <= end
        {
            return Err(Violation::FromTheFuture { append: place(append), reader, end });
        }
    }
    Ok(())
}

/// The best so far, at each place.
fn running<'h, T>(
    appends: &[&'h Append<T>],
    better: impl Fn(&Append<T>, &Append<T>) -> bool,
) -> Vec<&'h Append<T>> {
    let mut best: Option<&Append<T>> = None;
    let pick = |append: &&'h Append<T>| {
        let chosen = best.filter(|best| !better(append, best)).unwrap_or(append);
        best = Some(chosen);
        chosen
    };
    appends.iter().map(pick).collect()
}
