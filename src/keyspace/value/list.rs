//! Lists.

use std::collections::VecDeque;
use std::ops::Range;

use bytes::Bytes;

/// A list with room for more elements than this gives memory back when most of it is unused.
const SHRINK_MIN_ELEMENTS: usize = 64;

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
/// Both ends and every index are reached in constant time. Inserting and removing in the middle moves
/// the elements on the shorter side. The first change after a snapshot was cut copies the list once, as with
/// every collection.
#[derive(Clone, Debug, Default)]
pub struct List {
    elements: VecDeque<Bytes>,
    /// Bytes of all elements.
    payload_bytes: usize,
    /// Valkey would have it in several parts.
    is_quicklist: bool,
}

/// What an element takes beside its bytes: a handle.
const ELEMENT_BYTES: usize = size_of::<Bytes>();

/// The most bytes that Valkey keeps in one listpack, with its default configuration.
const LISTPACK_MAX_BYTES: usize = 8192;

/// What a listpack takes beside its elements, and beside the bytes of a short one.
const LISTPACK_HEADER_BYTES: usize = 7;
const LISTPACK_ELEMENT_BYTES: usize = 2;

impl PartialEq for List {
    /// Equal elements.
    fn eq(&self, other: &Self) -> bool {
        self.elements == other.elements
    }
}

impl List {
    /// An empty list.
    pub fn new() -> Self {
        List::default()
    }

    /// How many elements there are.
    pub fn len(&self) -> usize {
        self.elements.len()
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.elements.is_empty()
    }

    /// About how much memory the contents take.
    pub fn heap_bytes(&self) -> usize {
        self.payload_bytes + self.len() * ELEMENT_BYTES
    }

    /// The form in which Valkey would have it, about: how many bytes of a listpack an element takes is known
    /// only roughly.
    pub fn encoding(&self) -> &'static str {
        if self.is_quicklist { "quicklist" } else { "listpack" }
    }

    /// The bytes of a listpack with these elements.
    fn listpack_bytes(&self) -> usize {
        LISTPACK_HEADER_BYTES + self.payload_bytes + self.len() * LISTPACK_ELEMENT_BYTES
    }

    /// An element of `len` bytes is about to be added.
    fn grow(&mut self, len: usize) {
        self.is_quicklist |= self.listpack_bytes() + len > LISTPACK_MAX_BYTES;
        self.payload_bytes += len;
    }

    /// Adds an element at the tail.
    pub fn push_back(&mut self, element: Bytes) {
        self.grow(element.len());
        self.elements.push_back(element);
    }

    /// Adds an element at one end.
    pub fn push(&mut self, end: ListEnd, element: Bytes) {
        self.grow(element.len());
        match end {
            ListEnd::Head => self.elements.push_front(element),
            ListEnd::Tail => self.elements.push_back(element),
        }
    }

    /// Takes the element at one end away.
    pub fn pop(&mut self, end: ListEnd) -> Option<Bytes> {
        let popped = match end {
            ListEnd::Head => self.elements.pop_front(),
            ListEnd::Tail => self.elements.pop_back(),
        };
        self.payload_bytes -= popped.as_ref().map_or(0, Bytes::len);
        self.shrink();
        popped
    }

    /// Takes up to `count` elements away from one end, the outermost first.
    pub fn pop_several(&mut self, end: ListEnd, count: usize) -> Vec<Bytes> {
        let count = count.min(self.len());
        let popped: Vec<Bytes> = match end {
            ListEnd::Head => self.elements.drain(..count).collect(),
            ListEnd::Tail => self.elements.drain(self.elements.len() - count..).rev().collect(),
        };
        self.payload_bytes -= popped.iter().map(Bytes::len).sum::<usize>();
        self.shrink();
        popped
    }

    /// The element at `index`, counted from the head.
    pub fn get(&self, index: usize) -> Option<&Bytes> {
        self.elements.get(index)
    }

    /// Replaces the element at `index`; returns whether there was one.
    pub fn set(&mut self, index: usize, element: Bytes) -> bool {
        let Some(place) = self.elements.get_mut(index) else { return false };
        let len = element.len();
        let replaced = std::mem::replace(place, element);
        self.payload_bytes -= replaced.len();
        self.grow(len);
        true
    }

    /// Inserts an element so that it stands at `index`, which is at most the length.
    pub fn insert(&mut self, index: usize, element: Bytes) {
        self.grow(element.len());
        self.elements.insert(index.min(self.elements.len()), element);
    }

    /// Removes up to `count` elements equal to `element`, those nearest to `end` first; returns how many.
    pub fn remove_equal(&mut self, end: ListEnd, count: usize, element: &[u8]) -> usize {
        let mut left = count;
        // Decided from the given end; `retain` only walks from the head.
        let mut is_removed = |candidate: &Bytes| {
            let removed = left > 0 && candidate == element;
            left -= usize::from(removed);
            removed
        };
        match end {
            ListEnd::Head => self.elements.retain(|candidate| !is_removed(candidate)),
            ListEnd::Tail => {
                let removed: Vec<bool> = self.elements.iter().rev().map(is_removed).collect();
                let mut removed = removed.into_iter().rev();
                self.elements.retain(|_| !removed.next().unwrap_or_default());
            }
        }
        let removed = count - left;
        self.payload_bytes -= removed * element.len();
        self.shrink();
        removed
    }

    /// Removes everything outside of `kept`, which lies within the list.
    pub fn trim(&mut self, kept: Range<usize>) {
        let end = kept.end.min(self.elements.len());
        let removed = self.elements.drain(end..).map(|element| element.len()).sum::<usize>();
        self.payload_bytes -= removed;
        let start = kept.start.min(self.elements.len());
        let removed = self.elements.drain(..start).map(|element| element.len()).sum::<usize>();
        self.payload_bytes -= removed;
        self.shrink();
    }

    /// The elements from head to tail.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Bytes> + ExactSizeIterator {
        self.elements.iter()
    }

    /// The elements of a range that lies within the list.
    pub fn range(&self, range: Range<usize>) -> impl DoubleEndedIterator<Item = &Bytes> + ExactSizeIterator {
        self.elements.range(range)
    }

    /// A queue that was long once must not keep its memory for ever. Halving at an eighth leaves room to
    /// grow again, so the cost per element stays constant.
    fn shrink(&mut self) {
        // Valkey goes back when one listpack would be half full.
        self.is_quicklist &= self.listpack_bytes() > LISTPACK_MAX_BYTES / 2;
        let (len, capacity) = (self.elements.len(), self.elements.capacity());
        if capacity > SHRINK_MIN_ELEMENTS && len < capacity / 8 {
            self.elements.shrink_to(capacity / 4);
        }
    }
}
