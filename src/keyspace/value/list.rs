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
/// the elements on the shorter side.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct List {
    elements: VecDeque<Bytes>,
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

    /// Adds an element at the tail.
    pub fn push_back(&mut self, element: Bytes) {
        self.elements.push_back(element);
    }

    /// Adds an element at one end.
    pub fn push(&mut self, end: ListEnd, element: Bytes) {
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
        self.shrink();
        popped
    }

    /// Takes up to `count` elements away from one end, the outermost first.
    pub fn pop_several(&mut self, end: ListEnd, count: usize) -> Vec<Bytes> {
        let count = count.min(self.len());
        let popped = match end {
            ListEnd::Head => self.elements.drain(..count).collect(),
            ListEnd::Tail => self.elements.drain(self.elements.len() - count..).rev().collect(),
        };
        self.shrink();
        popped
    }

    /// The element at `index`, counted from the head.
    pub fn get(&self, index: usize) -> Option<&Bytes> {
        self.elements.get(index)
    }

    /// Replaces the element at `index`; returns whether there was one.
    pub fn set(&mut self, index: usize, element: Bytes) -> bool {
        self.elements.get_mut(index).map(|place| *place = element).is_some()
    }

    /// Inserts an element so that it stands at `index`, which is at most the length.
    pub fn insert(&mut self, index: usize, element: Bytes) {
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
        self.shrink();
        count - left
    }

    /// Removes everything outside of `kept`, which lies within the list.
    pub fn trim(&mut self, kept: Range<usize>) {
        self.elements.truncate(kept.end);
        self.elements.drain(..kept.start.min(self.elements.len()));
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
        let (len, capacity) = (self.elements.len(), self.elements.capacity());
        if capacity > SHRINK_MIN_ELEMENTS && len < capacity / 8 {
            self.elements.shrink_to(capacity / 4);
        }
    }
}
