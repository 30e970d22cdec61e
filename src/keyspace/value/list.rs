//! Lists.

use std::collections::VecDeque;

use bytes::Bytes;

/// Elements in order, with both ends at hand.
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

    /// The elements from head to tail.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Bytes> + ExactSizeIterator {
        self.elements.iter()
    }
}
