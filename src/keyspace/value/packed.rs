//! Short byte strings one after the other in one piece of memory, to be walked from both ends.
//!
//! # Layout
//!
//! A record is a length, the bytes, and how long both together are, written so that it can be read backwards:
//!
//! ```text
//! length         bytes …      back: 7 bits a byte, the highest last; the byte that is read last has no
//! 1, 2 or 9 B                 highest bit
//! ```
//!
//! It is what a listpack does with a string: 2 bytes beside one of up to 63, 3 or 4 beside one of up to 4095.
//!
//! Memory is allocated as it is needed, without reserve. The allocator's size classes are the reserve: within
//! one, growing costs no copy.

use std::ops::Range;

use super::super::memory::size_class;

/// Lengths below this are one byte.
const SHORT_LEN: usize = 1 << 6;
/// Lengths below this are two bytes, marked by the highest bit.
const MIDDLE_LEN: usize = 1 << 12;
const MIDDLE_MARK: u8 = 0x80;
/// Eight bytes with the length follow.
const LONG_MARK: u8 = 0xFF;

const BACK_BITS: usize = 7;
const BACK_MORE: u8 = 1 << BACK_BITS;

/// Memory that is unused is given back if it is more than what is used and this.
const SPARE_MAX_BYTES: usize = 64;

/// Byte strings in order. See the module.
///
/// A *place* is where a record begins: between 0 and [`end`](Self::end), which is no record's.
#[derive(Clone, Debug, Default)]
pub(super) struct Packed {
    bytes: Vec<u8>,
    len: usize,
}

/// What a record of `len` bytes takes.
pub(super) fn record_bytes(len: usize) -> usize {
    let front = front_bytes(len) + len;
    front + back_bytes(front)
}

fn front_bytes(len: usize) -> usize {
    match len {
        0..SHORT_LEN => 1,
        SHORT_LEN..MIDDLE_LEN => 2,
        _ => 1 + size_of::<u64>(),
    }
}

/// How many bytes the way back over `front` bytes takes.
fn back_bytes(front: usize) -> usize {
    let bits = (usize::BITS - front.leading_zeros()) as usize;
    bits.div_ceil(BACK_BITS).max(1)
}

impl Packed {
    /// How many records there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// The place behind the last record: how many bytes are in use.
    pub fn end(&self) -> usize {
        self.bytes.len()
    }

    /// What is allocated.
    pub fn heap_bytes(&self) -> usize {
        size_class(self.bytes.capacity())
    }

    /// The bytes at a place and the place behind them; `None` at the end.
    pub fn next(&self, place: usize) -> Option<(&[u8], usize)> {
        let rest = self.bytes.get(place..)?;
        let (len, front) = match *rest.first()? {
            LONG_MARK => {
                let len = u64::from_le_bytes(rest.get(1..9)?.try_into().ok()?);
                (usize::try_from(len).ok()?, 9)
            }
            first if first & MIDDLE_MARK != 0 => {
                (usize::from(first & !MIDDLE_MARK) << 8 | usize::from(*rest.get(1)?), 2)
            }
            first => (first.into(), 1),
        };
        let front_end = front + len;
        Some((rest.get(front..front_end)?, place + front_end + back_bytes(front_end)))
    }

    /// The bytes before a place and their place; `None` at the start.
    pub fn previous(&self, place: usize) -> Option<(&[u8], usize)> {
        let (mut front, mut shift, mut at) = (0_usize, 0, place);
        loop {
            at = at.checked_sub(1)?;
            let byte = *self.bytes.get(at)?;
            front |= usize::from(byte & !BACK_MORE) << shift;
            shift += BACK_BITS;
            if byte & BACK_MORE == 0 {
                break;
            }
        }
        let start = at.checked_sub(front)?;
        Some((self.next(start)?.0, start))
    }

    /// Where the record at `index` begins, found from the nearer end; the end if there is none.
    pub fn place_of(&self, index: usize) -> usize {
        let step = |walked: Option<usize>| walked.unwrap_or(self.end());
        if index <= self.len / 2 {
            (0..index).fold(0, |place, _| step(self.next(place).map(|(_, next)| next)))
        } else {
            (index..self.len)
                .fold(self.end(), |place, _| step(self.previous(place).map(|(_, before)| before)))
        }
    }

    /// Puts a record at a place.
    pub fn insert(&mut self, place: usize, item: &[u8]) {
        self.replace(place..place, item);
        self.len += 1;
    }

    /// Puts a record behind all others.
    pub fn push(&mut self, item: &[u8]) {
        self.bytes.reserve_exact(record_bytes(item.len()));
        write_record(&mut self.bytes, item);
        self.len += 1;
    }

    /// Puts another record in the place of one.
    pub fn set(&mut self, place: usize, item: &[u8]) {
        if let Some((_, next)) = self.next(place) {
            self.replace(place..next, item);
        }
    }

    fn replace(&mut self, places: Range<usize>, item: &[u8]) {
        let (old_len, added, behind) = (self.bytes.len(), record_bytes(item.len()), places.end);
        let kept_behind = old_len - behind;
        if added > places.len() {
            self.bytes.reserve_exact(added - places.len());
        }
        // The record is written at the end, and brought to its place by turning what lies between.
        write_record(&mut self.bytes, item);
        self.bytes[behind..].rotate_left(kept_behind);
        self.bytes.drain(places);
        self.give_back();
    }

    /// Removes the `count` records between two places.
    pub fn remove(&mut self, places: Range<usize>, count: usize) {
        self.bytes.drain(places);
        self.len -= count;
        self.give_back();
    }

    /// Takes the records from a place on, of which there are `count`.
    pub fn split_off(&mut self, place: usize, count: usize) -> Packed {
        let bytes = self.bytes[place..].to_vec();
        self.bytes.truncate(place);
        self.bytes.shrink_to_fit();
        self.len -= count;
        Packed { bytes, len: count }
    }

    /// Puts all records of another behind its own.
    pub fn append(&mut self, other: &Packed) {
        self.bytes.reserve_exact(other.bytes.len());
        self.bytes.extend_from_slice(&other.bytes);
        self.len += other.len;
    }

    /// Keeps the records for which `keep` holds, which is asked in order.
    pub fn retain(&mut self, mut keep: impl FnMut(&[u8]) -> bool) {
        let (mut place, mut kept_end, mut kept) = (0, 0, 0);
        while let Some((item, next)) = self.next(place) {
            if keep(item) {
                self.bytes.copy_within(place..next, kept_end);
                kept_end += next - place;
                kept += 1;
            }
            place = next;
        }
        self.bytes.truncate(kept_end);
        self.len = kept;
        self.give_back();
    }

    /// The records in order.
    pub fn iter(&self) -> Records<'_> {
        self.records(0..self.end(), self.len)
    }

    /// The `count` records between two places.
    pub fn records(&self, places: Range<usize>, count: usize) -> Records<'_> {
        Records { packed: self, places, left: count }
    }

    fn give_back(&mut self) {
        if self.bytes.capacity() > 2 * self.bytes.len() + SPARE_MAX_BYTES {
            self.bytes.shrink_to_fit();
        }
    }
}

/// Records in order, with their places.
#[derive(Clone, Debug)]
pub(super) struct Records<'a> {
    packed: &'a Packed,
    /// Of the first that is left, and behind the last.
    places: Range<usize>,
    left: usize,
}

impl<'a> Records<'a> {
    /// The place of the next record.
    pub fn place(&self) -> usize {
        self.places.start
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        self.left = self.left.checked_sub(1)?;
        let (item, next) = self.packed.next(self.places.start)?;
        self.places.start = next;
        Some(item)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl DoubleEndedIterator for Records<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let (item, place) = self.packed.previous(self.places.end)?;
        self.places.end = place;
        Some(item)
    }
}

fn write_record(to: &mut Vec<u8>, item: &[u8]) {
    let len = item.len();
    match front_bytes(len) {
        1 => to.push(len as u8),
        2 => to.extend_from_slice(&[MIDDLE_MARK | (len >> 8) as u8, len as u8]),
        _ => {
            to.push(LONG_MARK);
            to.extend_from_slice(&(len as u64).to_le_bytes());
        }
    }
    to.extend_from_slice(item);
    let front = front_bytes(len) + len;
    let bytes = back_bytes(front);
    for index in 0..bytes {
        let part = (front >> (BACK_BITS * (bytes - 1 - index))) as u8 & !BACK_MORE;
        to.push(if index == 0 { part } else { part | BACK_MORE });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LENGTHS: [usize; 14] =
        [0, 1, 62, 63, 64, 125, 126, 127, 128, 4094, 4095, 4096, 16_384, (1 << 21) + 7];

    #[test]
    fn records_of_every_length_are_walked_both_ways() {
        let mut packed = Packed::default();
        let items: Vec<Vec<u8>> = LENGTHS.iter().map(|&len| vec![0xFF; len]).collect();
        items.iter().for_each(|item| packed.push(item));
        assert_eq!(packed.iter().collect::<Vec<_>>(), items);
        assert_eq!(packed.end(), LENGTHS.iter().map(|&len| record_bytes(len)).sum::<usize>());
        let mut place = packed.end();
        for item in items.iter().rev() {
            let (found, before) = packed.previous(place).unwrap();
            assert_eq!(found, item);
            place = before;
        }
        assert_eq!((place, packed.previous(place)), (0, None));
        for (index, item) in items.iter().enumerate() {
            assert_eq!(packed.next(packed.place_of(index)).unwrap().0, item);
        }
    }

    #[test]
    fn a_record_is_replaced_by_a_shorter_and_a_longer_one() {
        for (old, new) in LENGTHS.iter().flat_map(|&old| LENGTHS.map(|new| (old, new))) {
            let mut packed = Packed::default();
            packed.push(b"before");
            packed.push(&vec![1; old]);
            packed.push(b"behind");
            packed.set(packed.place_of(1), &vec![2; new]);
            assert_eq!(packed.iter().collect::<Vec<_>>(), [&b"before"[..], &vec![2; new], b"behind"]);
        }
    }
}
