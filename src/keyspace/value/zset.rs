//! Sorted sets.
//!
//! A large one has a map from members to scores and an order-statistics tree of both: [`indexset`]'s
//! two-level B-tree, in which a rank and the member of a rank are found in logarithmic time, and whose leaves
//! are plain arrays, so that a range is read at the speed of memory. It is checked here against a naive
//! model.

use std::cmp::Ordering;
use std::ops::Range;

use bytes::Bytes;
use indexmap::IndexMap;
use indexset::BTreeSet;

use super::super::Hasher;

/// The most members that a sorted set keeps in its compact form.
pub const ZSET_COMPACT_MAX_MEMBERS: usize = 128;

/// The longest member, in bytes, that the compact form of a sorted set holds.
pub const ZSET_COMPACT_MAX_MEMBER_BYTES: usize = 64;

/// Members with their scores, each member once; ordered by score, then by the member's bytes. No score is
/// NaN.
///
/// As in Valkey, the compact form does not tell `-0` from `0`, and there is no way back to it.
#[derive(Clone, Debug, Default)]
pub struct ZSet {
    repr: Repr,
    /// Bytes of all members.
    payload_bytes: usize,
}

/// What a member takes beside its bytes: its place in the order, and in a table a handle, the score, the hash
/// and the place in the index.
const COMPACT_MEMBER_BYTES: usize = size_of::<Ranked>();
const TABLE_MEMBER_BYTES: usize =
    COMPACT_MEMBER_BYTES + size_of::<Bytes>() + size_of::<f64>() + 3 * size_of::<usize>();

/// The form of a sorted set, named as `OBJECT ENCODING` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ZSetEncoding {
    /// A short list.
    Listpack,
    /// A table and a tree.
    Skiplist,
}

impl ZSetEncoding {
    /// The name that `OBJECT ENCODING` answers.
    pub fn name(self) -> &'static str {
        match self {
            ZSetEncoding::Listpack => "listpack",
            ZSetEncoding::Skiplist => "skiplist",
        }
    }
}

#[derive(Clone, Debug)]
enum Repr {
    /// Ascending.
    Compact(Vec<Ranked>),
    Table(Box<Table>),
}

#[derive(Clone, Debug)]
struct Table {
    scores: IndexMap<Bytes, f64, Hasher>,
    ranks: BTreeSet<Ranked>,
}

impl Default for Table {
    fn default() -> Self {
        Table { scores: IndexMap::default(), ranks: BTreeSet::new() }
    }
}

/// A member in its order.
#[derive(Clone, Debug)]
struct Ranked {
    score: f64,
    member: Bytes,
}

impl Ord for Ranked {
    fn cmp(&self, other: &Self) -> Ordering {
        // Scores are never NaN; `-0` and `0` are equal.
        let by_score = self.score.partial_cmp(&other.score).unwrap_or(Ordering::Equal);
        by_score.then_with(|| self.member.cmp(&other.member))
    }
}

impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Ranked {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Ranked {}

/// Which scores are meant.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScoreRange {
    /// The least score.
    pub min: f64,
    /// Whether the least score itself is left out.
    pub min_excluded: bool,
    /// The greatest score.
    pub max: f64,
    /// Whether the greatest score itself is left out.
    pub max_excluded: bool,
}

impl ScoreRange {
    /// Whether `score` is not too low.
    fn starts_before(&self, score: f64) -> bool {
        if self.min_excluded { score > self.min } else { score >= self.min }
    }

    /// Whether `score` is not too high.
    fn ends_after(&self, score: f64) -> bool {
        if self.max_excluded { score < self.max } else { score <= self.max }
    }
}

/// One end of a [`LexRange`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LexBound {
    /// Below every member.
    Lowest,
    /// This member, which belongs to the range.
    Included(Bytes),
    /// This member, which does not belong to the range.
    Excluded(Bytes),
    /// Above every member.
    Highest,
}

/// Which members are meant, by their bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LexRange {
    /// Where it begins.
    pub min: LexBound,
    /// Where it ends.
    pub max: LexBound,
}

impl LexRange {
    fn starts_before(&self, member: &Bytes) -> bool {
        match &self.min {
            LexBound::Lowest => true,
            LexBound::Included(min) => member >= min,
            LexBound::Excluded(min) => member > min,
            LexBound::Highest => false,
        }
    }

    fn ends_after(&self, member: &Bytes) -> bool {
        match &self.max {
            LexBound::Lowest => false,
            LexBound::Included(max) => member <= max,
            LexBound::Excluded(max) => member < max,
            LexBound::Highest => true,
        }
    }
}

impl Default for Repr {
    fn default() -> Self {
        Repr::Compact(Vec::new())
    }
}

impl ZSet {
    /// An empty sorted set.
    pub fn new() -> Self {
        ZSet::default()
    }

    /// Chooses the form for about `count` members of at most `longest_bytes` that are about to be added.
    pub(in super::super) fn expect(&mut self, count: usize, longest_bytes: usize) {
        if count > ZSET_COMPACT_MAX_MEMBERS || longest_bytes > ZSET_COMPACT_MAX_MEMBER_BYTES {
            self.make_table();
        }
    }

    /// How many members there are.
    pub fn len(&self) -> usize {
        match &self.repr {
            Repr::Compact(members) => members.len(),
            Repr::Table(table) => table.scores.len(),
        }
    }

    /// Whether there is no member.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The form it is in.
    pub fn encoding(&self) -> ZSetEncoding {
        match self.repr {
            Repr::Compact(_) => ZSetEncoding::Listpack,
            Repr::Table(_) => ZSetEncoding::Skiplist,
        }
    }

    /// About how much memory the contents take.
    pub fn heap_bytes(&self) -> usize {
        let member_bytes = if self.is_compact() { COMPACT_MEMBER_BYTES } else { TABLE_MEMBER_BYTES };
        self.payload_bytes + self.len() * member_bytes
    }

    /// Whether the sorted set is in its compact form, which is scanned in one step.
    pub fn is_compact(&self) -> bool {
        self.encoding() == ZSetEncoding::Listpack
    }

    /// The score of `member`.
    pub fn score(&self, member: &[u8]) -> Option<f64> {
        match &self.repr {
            Repr::Compact(members) => Some(find(members, member)?.1.score),
            Repr::Table(table) => table.scores.get(member).copied(),
        }
    }

    /// Sets the score of `member` and returns its old one. The score must not be NaN.
    pub fn insert(&mut self, member: Bytes, score: f64) -> Option<f64> {
        self.insert_with(&member, score, || member.clone())
    }

    /// Sets the score of a copy of `member`, in memory of its own, and returns its old one. The score must
    /// not be NaN.
    pub fn insert_copy(&mut self, member: &[u8], score: f64) -> Option<f64> {
        self.insert_with(member, score, || Bytes::copy_from_slice(member))
    }

    /// Sets the score of `member`; `stored` is what is kept of it if it is new.
    fn insert_with(&mut self, member: &[u8], score: f64, stored: impl FnOnce() -> Bytes) -> Option<f64> {
        let old = self.insert_in_form(member, score, stored);
        self.payload_bytes += if old.is_none() { member.len() } else { 0 };
        old
    }

    fn insert_in_form(&mut self, member: &[u8], score: f64, stored: impl FnOnce() -> Bytes) -> Option<f64> {
        debug_assert!(!score.is_nan());
        if let Repr::Compact(members) = &mut self.repr {
            let fits =
                members.len() < ZSET_COMPACT_MAX_MEMBERS && member.len() <= ZSET_COMPACT_MAX_MEMBER_BYTES;
            // Adding 0 makes -0 to 0.
            let score = score + 0.0;
            if let Some((at, present)) = find(members, member) {
                let old = present.score;
                if old != score {
                    let Ranked { member, .. } = members.remove(at);
                    insert_sorted(members, Ranked { score, member });
                }
                return Some(old);
            }
            if fits {
                insert_sorted(members, Ranked { score, member: stored() });
                return None;
            }
        }
        let Table { scores, ranks } = self.make_table();
        if let Some((_, key, present)) = scores.get_full_mut(member) {
            let old = *present;
            // An equal score is not stored: `-0` stays when `0` is set.
            if old != score {
                *present = score;
                let member = key.clone();
                let removed = ranks.take(&Ranked { score: old, member: member.clone() });
                debug_assert!(removed.is_some(), "every member has a rank");
                ranks.insert(Ranked { score, member });
            }
            return Some(old);
        }
        let member = stored();
        scores.insert(member.clone(), score);
        ranks.insert(Ranked { score, member });
        None
    }

    fn make_table(&mut self) -> &mut Table {
        if let Repr::Compact(members) = &mut self.repr {
            let members = std::mem::take(members);
            let scores = members.iter().map(|ranked| (ranked.member.clone(), ranked.score)).collect();
            self.repr = Repr::Table(Box::new(Table { scores, ranks: members.into_iter().collect() }));
        }
        match &mut self.repr {
            Repr::Table(table) => table,
            // It has just become one.
            Repr::Compact(_) => unreachable!("a table"),
        }
    }

    /// Removes `member` and returns its score.
    pub fn remove(&mut self, member: &[u8]) -> Option<f64> {
        let score = match &mut self.repr {
            Repr::Compact(members) => {
                let (at, _) = find(members, member)?;
                members.remove(at).score
            }
            Repr::Table(table) => {
                let (member, score) = table.scores.swap_remove_entry(member)?;
                let removed = table.ranks.remove(&Ranked { score, member });
                debug_assert!(removed, "every member has a rank");
                table.shrink();
                score
            }
        };
        self.payload_bytes -= member.len();
        Some(score)
    }

    /// Removes the members of these ranks and returns them with their scores, ascending.
    pub fn remove_ranks(&mut self, ranks: Range<usize>) -> Vec<(Bytes, f64)> {
        let ranks = ranks.start.min(self.len())..ranks.end.min(self.len());
        let removed: Vec<(Bytes, f64)> = match &mut self.repr {
            _ if ranks.is_empty() => Vec::new(),
            Repr::Compact(members) => members.drain(ranks).map(|it| (it.member, it.score)).collect(),
            Repr::Table(table) => {
                // The last first: so a leaf's array is moved least.
                let mut removed: Vec<(Bytes, f64)> = ranks
                    .rev()
                    .map(|rank| {
                        let Ranked { score, member } = table.ranks.pop_index(rank);
                        table.scores.swap_remove(&member);
                        (member, score)
                    })
                    .collect();
                table.shrink();
                removed.reverse();
                removed
            }
        };
        self.payload_bytes -= removed.iter().map(|(member, _)| member.len()).sum::<usize>();
        removed
    }

    /// How many members come before `member`, which must be in the set.
    pub fn rank(&self, member: &[u8]) -> Option<usize> {
        match &self.repr {
            Repr::Compact(members) => Some(find(members, member)?.0),
            Repr::Table(table) => {
                let (_, member, &score) = table.scores.get_full(member)?;
                Some(table.ranks.rank(&Ranked { score, member: member.clone() }))
            }
        }
    }

    /// The member of a rank and its score.
    pub fn get_rank(&self, rank: usize) -> Option<(&Bytes, f64)> {
        let ranked = match &self.repr {
            Repr::Compact(members) => members.get(rank),
            Repr::Table(table) => table.ranks.get_index(rank),
        };
        ranked.map(|ranked| (&ranked.member, ranked.score))
    }

    /// The member at `index` of an order that changes little when members come and go, and its score; O(1).
    /// What a scan walks: a removal moves only the last member, unless the form is compact.
    pub fn get_index(&self, index: usize) -> Option<(&Bytes, f64)> {
        match &self.repr {
            Repr::Compact(members) => members.get(index).map(|ranked| (&ranked.member, ranked.score)),
            Repr::Table(table) => table.scores.get_index(index).map(|(member, &score)| (member, score)),
        }
    }

    /// The members and their scores, ascending.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&Bytes, f64)> {
        self.range(0..self.len())
    }

    /// The members of these ranks and their scores, ascending.
    pub fn range(&self, ranks: Range<usize>) -> impl DoubleEndedIterator<Item = (&Bytes, f64)> {
        let ranks = ranks.start.min(self.len())..ranks.end.min(self.len());
        let (compact, table) = match &self.repr {
            _ if ranks.is_empty() => (None, None),
            Repr::Compact(members) => (Some(members[ranks].iter()), None),
            Repr::Table(table) => (None, Some(table.ranks.range_idx(ranks))),
        };
        let ranked = compact.into_iter().flatten().chain(table.into_iter().flatten());
        ranked.map(|ranked| (&ranked.member, ranked.score))
    }

    /// The ranks of the members with a score in `range`.
    pub fn ranks_of_scores(&self, range: &ScoreRange) -> Range<usize> {
        let start = self.partition_point(|ranked| !range.starts_before(ranked.score));
        let end = self.partition_point(|ranked| range.ends_after(ranked.score));
        start..end.max(start)
    }

    /// The ranks of the members in `range`, which makes sense if all have the same score. If they have not,
    /// it is a run of members in the range, possibly none, and which run depends on the form.
    pub fn ranks_of_members(&self, range: &LexRange) -> Range<usize> {
        let ends = [0, self.len().saturating_sub(1)].map(|rank| self.get_rank(rank));
        if let [Some((first, _)), Some((last, _))] = ends
            && !(range.ends_after(first) && range.starts_before(last))
        {
            return 0..0;
        }
        let (start, end) = match &self.repr {
            Repr::Compact(members) => {
                let start = members.iter().position(|ranked| range.starts_before(&ranked.member));
                let start = start.unwrap_or(members.len());
                let run = members[start..].iter().take_while(|ranked| range.ends_after(&ranked.member));
                (start, start + run.count())
            }
            Repr::Table(_) => (
                self.partition_point(|ranked| !range.starts_before(&ranked.member)),
                self.partition_point(|ranked| range.ends_after(&ranked.member)),
            ),
        };
        start..end.max(start)
    }

    /// Whether all members have one score, so that their order is that of their bytes.
    pub fn has_one_score(&self) -> bool {
        let score = |rank| self.get_rank(rank).map(|(_, score)| score);
        self.is_empty() || score(0) == score(self.len() - 1)
    }

    /// How many members, from the first, `precedes` holds for: all that it holds for come first.
    fn partition_point(&self, precedes: impl Fn(&Ranked) -> bool) -> usize {
        match &self.repr {
            Repr::Compact(members) => members.partition_point(precedes),
            Repr::Table(table) => {
                let (mut low, mut high) = (0, table.scores.len());
                while low < high {
                    let middle = low + (high - low) / 2;
                    if table.ranks.get_index(middle).is_some_and(&precedes) {
                        low = middle + 1;
                    } else {
                        high = middle;
                    }
                }
                low
            }
        }
    }
}

impl Table {
    /// Gives memory back when most of it is unused; the order stays as it is.
    fn shrink(&mut self) {
        /// A table with room for fewer is left alone.
        const MIN_CAPACITY: usize = 1024;
        if self.scores.capacity() > MIN_CAPACITY && self.scores.len() < self.scores.capacity() / 8 {
            self.scores.shrink_to(self.scores.len() * 2);
            // The tree keeps leaves with few members as they are; a new one has full leaves.
            self.ranks = std::mem::take(&mut self.ranks).into_iter().collect();
        }
    }
}

fn find<'a>(members: &'a [Ranked], member: &[u8]) -> Option<(usize, &'a Ranked)> {
    members.iter().enumerate().find(|(_, ranked)| ranked.member == member)
}

fn insert_sorted(members: &mut Vec<Ranked>, ranked: Ranked) {
    let at = members.partition_point(|present| *present < ranked);
    members.insert(at, ranked);
}

impl PartialEq for ZSet {
    /// Equal members with equal scores; the form does not matter.
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().eq(other.iter())
    }
}
