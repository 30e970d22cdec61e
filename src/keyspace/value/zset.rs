//! Sorted sets.
//!
//! A large one has a map from members to scores and an order-statistics tree of both: [`indexset`]'s
//! two-level B-tree, in which a rank and the member of a rank are found in logarithmic time, and whose leaves
//! are plain arrays, so that a range is read at the speed of memory. It is checked here against a naive
//! model.
//!
//! A small one is its members in order, [packed](super::packed): a member and its score are one record.

use std::cmp::Ordering;
use std::ops::Range;

use bytes::Bytes;
use indexmap::IndexMap;
use indexset::BTreeSet;
use smallvec::SmallVec;

use super::super::Hasher;
use super::packed::{Packed, Records};
use crate::hash_ttl::Item;

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

/// What a member of a table takes beside its bytes: its place in the order, a handle, the score, the hash and
/// the place in the index.
const TABLE_MEMBER_BYTES: usize =
    size_of::<Ranked>() + size_of::<Bytes>() + size_of::<f64>() + 3 * size_of::<usize>();

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
    Compact(Compact),
    Table(Box<Table>),
}

/// Members and scores, ascending.
///
/// A record is how many bytes the score takes, the score, and the member. A score that is a whole number of up
/// to 32 bits takes 1, 2 or 4 bytes, another one 8.
#[derive(Clone, Debug, Default)]
struct Compact {
    members: Packed,
}

/// Where a member is, and its score.
struct Found {
    rank: usize,
    places: Range<usize>,
    score: f64,
}

/// Enough for any record of a [`Compact`].
const RECORD_BYTES: usize = 1 + size_of::<f64>() + ZSET_COMPACT_MAX_MEMBER_BYTES;

/// The member and the score of a record.
fn of_record(record: &[u8]) -> (&[u8], f64) {
    let (score_bytes, rest) =
        record.split_first().map_or((0, record), |(len, rest)| (usize::from(*len), rest));
    let (score, member) = rest.split_at_checked(score_bytes).unwrap_or((&[], rest));
    let score = match *score {
        [a] => i8::from_le_bytes([a]).into(),
        [a, b] => i16::from_le_bytes([a, b]).into(),
        [a, b, c, d] => i32::from_le_bytes([a, b, c, d]).into(),
        // It is written by `record`, so these are 8.
        _ => score.try_into().map_or(0.0, f64::from_le_bytes),
    };
    (member, score)
}

/// The record of a member and a score, which is not `-0`.
fn record(member: &[u8], score: f64) -> SmallVec<[u8; RECORD_BYTES]> {
    let mut record = SmallVec::new();
    let mut begin = |score: &[u8]| {
        record.push(score.len() as u8);
        record.extend_from_slice(score);
    };
    // Saturates if it does not fit, and then is another number.
    let whole = score as i32;
    match (i8::try_from(whole), i16::try_from(whole)) {
        _ if f64::from(whole) != score => begin(&score.to_le_bytes()),
        (Ok(byte), _) => begin(&byte.to_le_bytes()),
        (_, Ok(short)) => begin(&short.to_le_bytes()),
        _ => begin(&whole.to_le_bytes()),
    }
    record.extend_from_slice(member);
    record
}

/// The order of members.
fn order((a_member, a_score): (&[u8], f64), (b_member, b_score): (&[u8], f64)) -> Ordering {
    // Scores are never NaN; `-0` and `0` are equal.
    let by_score = a_score.partial_cmp(&b_score).unwrap_or(Ordering::Equal);
    by_score.then_with(|| a_member.cmp(b_member))
}

impl Compact {
    fn iter(&self) -> impl DoubleEndedIterator<Item = (&[u8], f64)> {
        self.members.iter().map(of_record)
    }

    fn range(&self, ranks: Range<usize>) -> impl DoubleEndedIterator<Item = (&[u8], f64)> {
        let places = self.members.place_of(ranks.start)..self.members.place_of(ranks.end);
        self.members.records(places, ranks.len()).map(of_record)
    }

    fn get_rank(&self, rank: usize) -> Option<(&[u8], f64)> {
        let (record, _) = self.members.next(self.members.place_of(rank))?;
        Some(of_record(record))
    }

    fn find(&self, member: &[u8]) -> Option<Found> {
        let (mut records, mut rank) = (self.members.iter(), 0);
        loop {
            let start = records.place();
            let (present, score) = of_record(records.next()?);
            if present == member {
                return Some(Found { rank, places: start..records.place(), score });
            }
            rank += 1;
        }
    }

    /// Inserts a member that is not in it.
    fn insert(&mut self, member: &[u8], score: f64) {
        let place = {
            let mut records: Records<'_> = self.members.iter();
            let mut place = records.place();
            while let Some(present) = records.next()
                && order(of_record(present), (member, score)).is_lt()
            {
                place = records.place();
            }
            place
        };
        self.members.insert(place, &record(member, score));
    }

    fn remove(&mut self, places: Range<usize>) {
        self.members.remove(places, 1);
    }

    fn remove_ranks(&mut self, ranks: Range<usize>) -> Vec<(Bytes, f64)> {
        let owned = |(member, score)| (Bytes::copy_from_slice(member), score);
        let removed = self.range(ranks.clone()).map(owned).collect();
        let places = self.members.place_of(ranks.start)..self.members.place_of(ranks.end);
        self.members.remove(places, ranks.len());
        removed
    }
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
        order((&self.member, self.score), (&other.member, other.score))
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
    fn starts_before(&self, member: &[u8]) -> bool {
        match &self.min {
            LexBound::Lowest => true,
            LexBound::Included(min) => member >= &min[..],
            LexBound::Excluded(min) => member > &min[..],
            LexBound::Highest => false,
        }
    }

    fn ends_after(&self, member: &[u8]) -> bool {
        match &self.max {
            LexBound::Lowest => false,
            LexBound::Included(max) => member <= &max[..],
            LexBound::Excluded(max) => member < &max[..],
            LexBound::Highest => true,
        }
    }
}

impl Default for Repr {
    fn default() -> Self {
        Repr::Compact(Compact::default())
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
            Repr::Compact(compact) => compact.members.len(),
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
        match &self.repr {
            Repr::Compact(compact) => compact.members.heap_bytes(),
            Repr::Table(table) => self.payload_bytes + table.scores.len() * TABLE_MEMBER_BYTES,
        }
    }

    /// Whether the sorted set is in its compact form, which is scanned in one step.
    pub fn is_compact(&self) -> bool {
        self.encoding() == ZSetEncoding::Listpack
    }

    /// The score of `member`.
    pub fn score(&self, member: &[u8]) -> Option<f64> {
        match &self.repr {
            Repr::Compact(compact) => Some(compact.find(member)?.score),
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
        if let Repr::Compact(compact) = &mut self.repr {
            let fits = compact.members.len() < ZSET_COMPACT_MAX_MEMBERS
                && member.len() <= ZSET_COMPACT_MAX_MEMBER_BYTES;
            // Adding 0 makes -0 to 0.
            let score = score + 0.0;
            if let Some(present) = compact.find(member) {
                if present.score != score {
                    compact.remove(present.places);
                    compact.insert(member, score);
                }
                return Some(present.score);
            }
            if fits {
                compact.insert(member, score);
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
        if let Repr::Compact(compact) = &self.repr {
            let ranked = |(member, score)| Ranked { score, member: Bytes::copy_from_slice(member) };
            let ranks: BTreeSet<Ranked> = compact.iter().map(ranked).collect();
            let scores = ranks.iter().map(|ranked| (ranked.member.clone(), ranked.score)).collect();
            self.repr = Repr::Table(Box::new(Table { scores, ranks }));
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
            Repr::Compact(compact) => {
                let Found { places, score, .. } = compact.find(member)?;
                compact.remove(places);
                score
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
            Repr::Compact(compact) => compact.remove_ranks(ranks),
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
            Repr::Compact(compact) => Some(compact.find(member)?.rank),
            Repr::Table(table) => {
                let (_, member, &score) = table.scores.get_full(member)?;
                Some(table.ranks.rank(&Ranked { score, member: member.clone() }))
            }
        }
    }

    /// The member of a rank and its score.
    pub fn get_rank(&self, rank: usize) -> Option<(Item<'_>, f64)> {
        match &self.repr {
            Repr::Compact(compact) => compact.get_rank(rank).map(packed),
            Repr::Table(table) => table.ranks.get_index(rank).map(own),
        }
    }

    /// The member at `index` of an order that changes little when members come and go, and its score; O(1) in a
    /// table.
    /// What a scan walks: a removal moves only the last member, unless the form is compact.
    pub fn get_index(&self, index: usize) -> Option<(Item<'_>, f64)> {
        match &self.repr {
            Repr::Compact(compact) => compact.get_rank(index).map(packed),
            Repr::Table(table) => {
                table.scores.get_index(index).map(|(member, &score)| (Item::own(member), score))
            }
        }
    }

    /// The members and their scores, ascending.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (Item<'_>, f64)> {
        self.range(0..self.len())
    }

    /// The members of these ranks and their scores, ascending.
    pub fn range(&self, ranks: Range<usize>) -> impl DoubleEndedIterator<Item = (Item<'_>, f64)> {
        let ranks = ranks.start.min(self.len())..ranks.end.min(self.len());
        let (compact, table) = match &self.repr {
            _ if ranks.is_empty() => (None, None),
            Repr::Compact(compact) => (Some(compact.range(ranks).map(packed)), None),
            Repr::Table(table) => (None, Some(table.ranks.range_idx(ranks).map(own))),
        };
        compact.into_iter().flatten().chain(table.into_iter().flatten())
    }

    /// The ranks of the members with a score in `range`.
    pub fn ranks_of_scores(&self, range: &ScoreRange) -> Range<usize> {
        let start = self.partition_point(|_, score| !range.starts_before(score));
        let end = self.partition_point(|_, score| range.ends_after(score));
        start..end.max(start)
    }

    /// The ranks of the members in `range`, which makes sense if all have the same score. If they have not,
    /// it is a run of members in the range, possibly none, and which run depends on the form.
    pub fn ranks_of_members(&self, range: &LexRange) -> Range<usize> {
        let ends = [0, self.len().saturating_sub(1)].map(|rank| self.get_rank(rank));
        if let [Some((first, _)), Some((last, _))] = ends
            && !(range.ends_after(&first) && range.starts_before(&last))
        {
            return 0..0;
        }
        let (start, end) = match &self.repr {
            Repr::Compact(compact) => {
                let start = compact.iter().position(|(member, _)| range.starts_before(member));
                let start = start.unwrap_or(compact.members.len());
                let run = compact.iter().skip(start).take_while(|(member, _)| range.ends_after(member));
                (start, start + run.count())
            }
            Repr::Table(_) => (
                self.partition_point(|member, _| !range.starts_before(member)),
                self.partition_point(|member, _| range.ends_after(member)),
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
    fn partition_point(&self, precedes: impl Fn(&[u8], f64) -> bool) -> usize {
        match &self.repr {
            Repr::Compact(compact) => {
                compact.iter().take_while(|&(member, score)| precedes(member, score)).count()
            }
            Repr::Table(table) => {
                let (mut low, mut high) = (0, table.scores.len());
                while low < high {
                    let middle = low + (high - low) / 2;
                    if table.ranks.get_index(middle).is_some_and(|it| precedes(&it.member, it.score)) {
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

fn packed((member, score): (&[u8], f64)) -> (Item<'_>, f64) {
    (Item::packed(member), score)
}

fn own(ranked: &Ranked) -> (Item<'_>, f64) {
    (Item::own(&ranked.member), ranked.score)
}

impl PartialEq for ZSet {
    /// Equal members with equal scores; the form does not matter.
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().eq(other.iter())
    }
}
