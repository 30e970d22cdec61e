//! Sorted sets.

use bytes::Bytes;
use indexmap::IndexMap;

use super::super::Hasher;

/// Members with their scores, each member once; ordered by score, then by the member's bytes. No score is NaN.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ZSet {
    scores: IndexMap<Bytes, f64, Hasher>,
}

impl ZSet {
    /// An empty sorted set.
    pub fn new() -> Self {
        ZSet::default()
    }

    /// How many members there are.
    pub fn len(&self) -> usize {
        self.scores.len()
    }

    /// Whether there is no member.
    pub fn is_empty(&self) -> bool {
        self.scores.is_empty()
    }

    /// Sets the score of `member` and returns its old one.
    pub fn insert(&mut self, member: Bytes, score: f64) -> Option<f64> {
        self.scores.insert(member, score)
    }

    /// The members and their scores.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&Bytes, f64)> {
        self.scores.iter().map(|(member, score)| (member, *score))
    }
}
