//! Lists.

use std::collections::VecDeque;
use std::iter::FusedIterator;
use std::ops::Range;

use bytes::Bytes;

use super::packed::{Packed, record_bytes};

/// One of the two ends of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListEnd {
    /// `LEFT`: the head, where index 0 is.
    Head,
    /// `RIGHT`: the tail.
    Tail,
}

/// Elements in order, with both ends at hand.
///
/// They are packed into *chunks* of up to 8 KiB, a larger element into one of its own: what
/// Valkey calls a quicklist of listpacks. Both ends are reached in constant time, an index by passing over the
/// chunks before it and half a chunk at the most. A change moves the bytes behind it in its chunk. The first
/// change after a snapshot was cut copies the list once, as with every collection.
#[derive(Clone, Debug, Default)]
pub struct List {
    /// None is empty.
    chunks: VecDeque<Packed>,
    len: usize,
    /// Bytes of all elements.
    payload_bytes: usize,
    /// What the chunks have allocated.
    chunk_bytes: usize,
    /// Valkey would have it in several parts.
    is_quicklist: bool,
}

/// The most bytes of a chunk, unless it has only one element: what Valkey's default of
/// `list-max-listpack-size` allows.
const CHUNK_MAX_BYTES: usize = 8192;

/// Two neighbours become one if together they have at most as many bytes: not so many that the next element
/// parts them again.
const MERGE_MAX_BYTES: usize = CHUNK_MAX_BYTES / 2;

/// The most bytes that Valkey keeps in one listpack, with its default configuration.
const LISTPACK_MAX_BYTES: usize = 8192;

/// What a listpack takes beside its elements, and beside the bytes of a short one.
const LISTPACK_HEADER_BYTES: usize = 7;
const LISTPACK_ELEMENT_BYTES: usize = 2;

/// Where an element is: its chunk, its place there and its index there.
#[derive(Clone, Copy)]
struct Spot {
    chunk: usize,
    place: usize,
    index: usize,
}

impl PartialEq for List {
    /// Equal elements.
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len && self.iter().eq(other.iter())
    }
}

impl List {
    /// An empty list.
    pub fn new() -> Self {
        List::default()
    }

    /// How many elements there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How much memory is allocated for the contents; O(1).
    pub fn heap_bytes(&self) -> usize {
        self.chunk_bytes + self.chunks.capacity() * size_of::<Packed>()
    }

    /// The form in which Valkey would have it, about: how many bytes of a listpack an element takes is known
    /// only roughly.
    pub fn encoding(&self) -> &'static str {
        if self.is_quicklist { "quicklist" } else { "listpack" }
    }

    /// The bytes of a listpack with these elements.
    fn listpack_bytes(&self) -> usize {
        LISTPACK_HEADER_BYTES + self.payload_bytes + self.len * LISTPACK_ELEMENT_BYTES
    }

    /// An element of `len` bytes is about to be added.
    fn grow(&mut self, len: usize) {
        self.is_quicklist |= self.listpack_bytes() + len > LISTPACK_MAX_BYTES;
        self.payload_bytes += len;
    }

    /// Elements have gone.
    fn shrink(&mut self) {
        // Valkey goes back when one listpack would be half full.
        self.is_quicklist &= self.listpack_bytes() > LISTPACK_MAX_BYTES / 2;
        if self.chunks.capacity() > 4 * self.chunks.len() + 1 {
            self.chunks.shrink_to(2 * self.chunks.len());
        }
    }

    /// Changes a chunk.
    fn change<R>(&mut self, chunk: usize, change: impl FnOnce(&mut Packed) -> R) -> Option<R> {
        let chunk = self.chunks.get_mut(chunk)?;
        self.chunk_bytes -= chunk.heap_bytes();
        let result = change(chunk);
        self.chunk_bytes += chunk.heap_bytes();
        Some(result)
    }

    /// Puts a chunk before the one that is at `index`.
    fn insert_chunk(&mut self, index: usize, chunk: Packed) {
        if self.chunks.is_empty() {
            // Most lists are short and have no other.
            self.chunks.reserve_exact(1);
        }
        self.chunk_bytes += chunk.heap_bytes();
        self.chunks.insert(index, chunk);
    }

    /// Removes a chunk if it is empty, or unites it with a neighbour if both are small.
    fn tidy(&mut self, index: usize) {
        let end_of = |index: usize| self.chunks.get(index).map(Packed::end);
        let Some(end) = end_of(index) else { return };
        if end == 0 {
            self.take_chunk(index);
            return;
        }
        let fits = |neighbour: usize| end_of(neighbour).is_some_and(|other| end + other <= MERGE_MAX_BYTES);
        let first = if fits(index + 1) {
            index
        } else if index > 0 && fits(index - 1) {
            index - 1
        } else {
            return;
        };
        if let Some(second) = self.take_chunk(first + 1) {
            self.change(first, |chunk| chunk.append(&second));
        }
    }

    fn take_chunk(&mut self, index: usize) -> Option<Packed> {
        let chunk = self.chunks.remove(index)?;
        self.chunk_bytes -= chunk.heap_bytes();
        Some(chunk)
    }

    /// Adds a copy of an element at the tail.
    pub fn push_back(&mut self, element: &[u8]) {
        self.push(ListEnd::Tail, element);
    }

    /// Adds a copy of an element at one end.
    pub fn push(&mut self, end: ListEnd, element: &[u8]) {
        self.grow(element.len());
        self.len += 1;
        let (outermost, beyond) = match end {
            ListEnd::Head => (0, 0),
            ListEnd::Tail => (self.chunks.len().saturating_sub(1), self.chunks.len()),
        };
        if !self.has_room(outermost, element.len()) {
            self.insert_chunk(beyond, Packed::default());
        }
        let outermost = if end == ListEnd::Head { 0 } else { self.chunks.len() - 1 };
        self.change(outermost, |chunk| match end {
            ListEnd::Head => chunk.insert(0, element),
            ListEnd::Tail => chunk.push(element),
        });
    }

    /// Whether an element of `len` bytes may be added to a chunk.
    fn has_room(&self, chunk: usize, len: usize) -> bool {
        self.chunks.get(chunk).is_some_and(|chunk| chunk.end() + record_bytes(len) <= CHUNK_MAX_BYTES)
    }

    /// Takes the element at one end away.
    pub fn pop(&mut self, end: ListEnd) -> Option<Bytes> {
        self.pop_several(end, 1).pop()
    }

    /// Takes up to `count` elements away from one end, the outermost first.
    pub fn pop_several(&mut self, end: ListEnd, count: usize) -> Vec<Bytes> {
        let count = count.min(self.len);
        let popped: Vec<Bytes> = match end {
            ListEnd::Head => self.range(0..count).map(Bytes::copy_from_slice).collect(),
            ListEnd::Tail => {
                self.range(self.len - count..self.len).rev().map(Bytes::copy_from_slice).collect()
            }
        };
        match end {
            ListEnd::Head => self.trim(count..self.len),
            ListEnd::Tail => self.trim(0..self.len - count),
        }
        popped
    }

    /// Where the element at `index` is; the end of the last chunk if there is none.
    fn spot(&self, index: usize) -> Spot {
        let mut spot =
            if index < self.len / 2 { self.chunk_from_head(index) } else { self.chunk_from_tail(index) };
        spot.place = self.chunks.get(spot.chunk).map_or(0, |chunk| chunk.place_of(spot.index));
        spot
    }

    fn chunk_from_head(&self, index: usize) -> Spot {
        let mut left = index;
        for (number, chunk) in self.chunks.iter().enumerate() {
            if left < chunk.len() {
                return Spot { chunk: number, place: 0, index: left };
            }
            left -= chunk.len();
        }
        self.end_spot()
    }

    fn chunk_from_tail(&self, index: usize) -> Spot {
        // Elements that come before the chunk which is looked at.
        let mut before = self.len;
        for (number, chunk) in self.chunks.iter().enumerate().rev() {
            before -= chunk.len();
            if index >= before {
                return Spot { chunk: number, place: 0, index: (index - before).min(chunk.len()) };
            }
        }
        self.end_spot()
    }

    fn end_spot(&self) -> Spot {
        let chunk = self.chunks.len().saturating_sub(1);
        Spot { chunk, place: 0, index: self.chunks.back().map_or(0, Packed::len) }
    }

    /// The element at `index`, counted from the head.
    pub fn get(&self, index: usize) -> Option<&[u8]> {
        let spot = (index < self.len).then(|| self.spot(index))?;
        self.chunks.get(spot.chunk)?.next(spot.place).map(|(element, _)| element)
    }

    /// Replaces the element at `index` by a copy of another; returns whether there was one.
    pub fn set(&mut self, index: usize, element: &[u8]) -> bool {
        let Some(replaced_len) = self.get(index).map(<[u8]>::len) else { return false };
        self.payload_bytes -= replaced_len;
        self.len -= 1;
        self.grow(element.len());
        self.len += 1;
        let Spot { chunk, place, index } = self.spot(index);
        let is_alone = self.chunks.get(chunk).is_some_and(|chunk| chunk.len() == 1);
        if element.len() <= replaced_len || is_alone || self.has_room(chunk, element.len()) {
            self.change(chunk, |chunk| chunk.set(place, element));
        } else {
            self.change(chunk, |chunk| {
                let next = chunk.next(place).map_or(place, |(_, next)| next);
                chunk.remove(place..next, 1);
            });
            self.insert_at(Spot { chunk, place, index }, element);
        }
        true
    }

    /// Inserts a copy of an element so that it stands at `index`, which is at most the length.
    pub fn insert(&mut self, index: usize, element: &[u8]) {
        if index >= self.len {
            return self.push(ListEnd::Tail, element);
        }
        self.grow(element.len());
        let spot = self.spot(index);
        self.insert_at(spot, element);
        self.len += 1;
    }

    /// Puts an element at a spot, in its chunk if there is room, else between the two parts of it.
    fn insert_at(&mut self, Spot { chunk, place, index }: Spot, element: &[u8]) {
        if self.has_room(chunk, element.len()) || self.chunks.is_empty() {
            if self.chunks.is_empty() {
                self.insert_chunk(0, Packed::default());
            }
            self.change(chunk, |chunk| chunk.insert(place, element));
            return;
        }
        let behind = self.change(chunk, |chunk| chunk.split_off(place, chunk.len() - index));
        self.insert_chunk(chunk + 1, behind.unwrap_or_default());
        if self.has_room(chunk, element.len()) {
            self.change(chunk, |chunk| chunk.push(element));
        } else {
            let mut own = Packed::default();
            own.push(element);
            self.insert_chunk(chunk + 1, own);
            self.tidy(chunk + 2);
        }
        self.tidy(chunk + 1);
        self.tidy(chunk);
    }

    /// Removes up to `count` elements equal to `element`, those nearest to `end` first; returns how many.
    pub fn remove_equal(&mut self, end: ListEnd, count: usize, element: &[u8]) -> usize {
        let mut left = count;
        let mut number = if end == ListEnd::Head { 0 } else { self.chunks.len() };
        while left > 0 {
            if end == ListEnd::Tail {
                let Some(before) = number.checked_sub(1) else { break };
                number = before;
            }
            let Some(chunk) = self.chunks.get(number) else { break };
            let matches = chunk.iter().filter(|candidate| *candidate == element).count();
            let removed = matches.min(left);
            left -= removed;
            // Those that stay come first, or last.
            let stay = if end == ListEnd::Tail { matches - removed } else { 0 };
            if removed > 0 {
                let mut met = 0;
                self.change(number, |chunk| {
                    chunk.retain(|candidate| {
                        let is_match = candidate == element;
                        met += usize::from(is_match);
                        !(is_match && met > stay && met <= stay + removed)
                    });
                });
            }
            number += usize::from(end == ListEnd::Head);
        }
        let removed = count - left;
        self.len -= removed;
        self.payload_bytes -= removed * element.len();
        if removed > 0 {
            (0..self.chunks.len()).rev().for_each(|chunk| self.tidy(chunk));
            self.shrink();
        }
        removed
    }

    /// Removes everything outside of `kept`, which lies within the list.
    pub fn trim(&mut self, kept: Range<usize>) {
        let end = kept.end.min(self.len);
        let start = kept.start.min(end);
        let outside = self.range(0..start).chain(self.range(end..self.len));
        self.payload_bytes -= outside.map(<[u8]>::len).sum::<usize>();
        self.drop_tail(self.len - end);
        self.drop_head(start);
        self.shrink();
    }

    fn drop_tail(&mut self, mut count: usize) {
        self.len -= count;
        while let Some(last) = self.chunks.len().checked_sub(1)
            && count > 0
        {
            let len = self.chunks[last].len();
            if count >= len {
                self.take_chunk(last);
                count -= len;
            } else {
                self.change(last, |chunk| chunk.remove(chunk.place_of(len - count)..chunk.end(), count));
                count = 0;
            }
        }
    }

    fn drop_head(&mut self, mut count: usize) {
        self.len -= count;
        while let Some(first) = self.chunks.front()
            && count > 0
        {
            let len = first.len();
            if count >= len {
                self.take_chunk(0);
                count -= len;
            } else {
                self.change(0, |chunk| chunk.remove(0..chunk.place_of(count), count));
                count = 0;
            }
        }
    }

    /// The elements from head to tail.
    pub fn iter(&self) -> Elements<'_> {
        self.range(0..self.len)
    }

    /// The elements of a range that lies within the list.
    pub fn range(&self, range: Range<usize>) -> Elements<'_> {
        let (end, start) = (range.end.min(self.len), range.start.min(self.len));
        let (front, back) = (self.spot(start), self.spot(end));
        let left = end.saturating_sub(start);
        Elements { list: self, front: (front.chunk, front.place), back: (back.chunk, back.place), left }
    }
}

/// Elements of a list, in order; made by [`List::range`].
#[derive(Clone, Debug)]
pub struct Elements<'a> {
    list: &'a List,
    /// The chunk of the first element that is left, and its place there; or the end of the chunk before it.
    front: (usize, usize),
    /// Behind the last element that is left: the same, or the start of the chunk behind it.
    back: (usize, usize),
    left: usize,
}

impl<'a> Iterator for Elements<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        self.left = self.left.checked_sub(1)?;
        loop {
            let (chunk, place) = self.front;
            if let Some((element, next)) = self.list.chunks.get(chunk)?.next(place) {
                self.front.1 = next;
                return Some(element);
            }
            self.front = (chunk + 1, 0);
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl DoubleEndedIterator for Elements<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        loop {
            let (chunk, place) = self.back;
            if let Some((element, before)) = self.list.chunks.get(chunk)?.previous(place) {
                self.back.1 = before;
                return Some(element);
            }
            let chunk = chunk.checked_sub(1)?;
            self.back = (chunk, self.list.chunks.get(chunk)?.end());
        }
    }
}

impl ExactSizeIterator for Elements<'_> {}
impl FusedIterator for Elements<'_> {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Push(ListEnd, usize),
        Insert(usize, usize),
        Set(usize, usize),
        Pop(ListEnd, usize),
        RemoveEqual(ListEnd, usize, usize),
        Trim(usize, usize),
    }

    /// Few different elements, some of which fill a chunk or more.
    fn element(kind: usize) -> Vec<u8> {
        const LENGTHS: [usize; 6] = [0, 1, 70, 2_000, 4_090, 9_000];
        vec![kind as u8; LENGTHS[kind % LENGTHS.len()]]
    }

    fn step() -> impl Strategy<Value = Step> {
        let end = || prop::sample::select(vec![ListEnd::Head, ListEnd::Tail]);
        let (kind, index) = (0usize..6, 0usize..40);
        prop_oneof![
            6 => (end(), kind.clone()).prop_map(|(end, kind)| Step::Push(end, kind)),
            6 => (index.clone(), kind.clone()).prop_map(|(index, kind)| Step::Insert(index, kind)),
            3 => (index.clone(), kind.clone()).prop_map(|(index, kind)| Step::Set(index, kind)),
            2 => (end(), 0usize..4).prop_map(|(end, count)| Step::Pop(end, count)),
            1 => (end(), 0usize..5, kind).prop_map(|(end, count, kind)| Step::RemoveEqual(end, count, kind)),
            1 => (0usize..3, index).prop_map(|(start, len)| Step::Trim(start, start + 2 * len)),
        ]
    }

    /// Does it to both; the naive one is moved around as a whole.
    fn run(step: &Step, list: &mut List, naive: &mut Vec<Vec<u8>>) {
        let turn = |naive: &mut Vec<Vec<u8>>, end| {
            if end == ListEnd::Tail {
                naive.reverse()
            }
        };
        match *step {
            Step::Push(end, kind) => {
                list.push(end, &element(kind));
                naive.insert(if end == ListEnd::Head { 0 } else { naive.len() }, element(kind));
            }
            Step::Insert(index, kind) => {
                let index = index.min(naive.len());
                list.insert(index, &element(kind));
                naive.insert(index, element(kind));
            }
            Step::Set(index, kind) => {
                assert_eq!(list.set(index, &element(kind)), index < naive.len());
                naive.get_mut(index).into_iter().for_each(|place| *place = element(kind));
            }
            Step::Pop(end, count) => {
                turn(naive, end);
                let popped: Vec<_> = naive.drain(..count.min(naive.len())).collect();
                assert_eq!(list.pop_several(end, count), popped);
                turn(naive, end);
            }
            Step::RemoveEqual(end, count, kind) => {
                turn(naive, end);
                let (before, mut left) = (naive.len(), count);
                naive.retain(|it| {
                    let removed = left > 0 && *it == element(kind);
                    left -= usize::from(removed);
                    !removed
                });
                turn(naive, end);
                assert_eq!(list.remove_equal(end, count, &element(kind)), before - naive.len());
            }
            Step::Trim(start, end) => {
                let (start, end) = (start.min(naive.len()), end.min(naive.len()));
                list.trim(start..end);
                naive.truncate(end);
                naive.drain(..start);
            }
        }
    }

    fn check(list: &List, naive: &[Vec<u8>]) {
        assert_eq!(list.len(), naive.len());
        assert_eq!(list.iter().collect::<Vec<_>>(), naive);
        assert!(list.iter().rev().eq(naive.iter().rev()));
        for index in 0..naive.len() + 1 {
            assert_eq!(list.get(index), naive.get(index).map(Vec::as_slice));
        }
        let (third, half) = (naive.len() / 3, naive.len() / 2);
        assert_eq!(list.range(third..half).collect::<Vec<_>>(), naive[third..half]);
        let mut both = list.range(third..naive.len());
        assert_eq!(both.next_back(), naive[third..].last().map(Vec::as_slice));
        assert_eq!(both.collect::<Vec<_>>(), naive[third..].split_last().map_or(&[][..], |(_, rest)| rest));
        assert_eq!(list.payload_bytes, naive.iter().map(Vec::len).sum::<usize>());
        assert_eq!(list.chunk_bytes, list.chunks.iter().map(Packed::heap_bytes).sum::<usize>());
        let is_sound =
            |chunk: &Packed| chunk.len() == 1 || (chunk.len() > 1 && chunk.end() <= CHUNK_MAX_BYTES);
        assert!(list.chunks.iter().all(is_sound), "a chunk is empty or too large");
        // Neighbours are united, except where a growing end is.
        let total: usize = list.chunks.iter().map(Packed::end).sum();
        assert!(list.chunks.len() <= 4 + total / (MERGE_MAX_BYTES / 4), "{} chunks", list.chunks.len());
    }

    proptest! {
        #[test]
        fn a_list_is_what_a_vector_is(steps in prop::collection::vec(step(), 0..120)) {
            let (mut list, mut naive) = (List::new(), Vec::new());
            for step in steps {
                run(&step, &mut list, &mut naive);
                check(&list, &naive);
            }
        }
    }
}
