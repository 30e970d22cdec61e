//! Sets.

use bytes::Bytes;
use indexmap::IndexSet;

use super::super::Hasher;

/// Members, each once, in no order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Set {
    members: IndexSet<Bytes, Hasher>,
}

impl Set {
    /// An empty set.
    pub fn new() -> Self {
        Set::default()
    }

    /// How many members there are.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether there is no member.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Whether `member` is in it.
    pub fn contains(&self, member: &[u8]) -> bool {
        self.members.contains(member)
    }

    /// Adds a member; returns whether it is new.
    pub fn insert(&mut self, member: Bytes) -> bool {
        self.members.insert(member)
    }

    /// The members.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Bytes> {
        self.members.iter()
    }
}
