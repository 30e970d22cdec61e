//! Sets.

use bytes::Bytes;
use indexmap::IndexSet;

use super::super::Hasher;
use super::super::number::{decimal, parse_i64};

/// The most members of a set of integers that is kept as sorted integers.
pub const SET_INTEGERS_MAX_MEMBERS: usize = 512;

/// The most members that a set keeps in its compact form; with more it becomes a table.
pub const SET_COMPACT_MAX_MEMBERS: usize = 128;

/// The longest member, in bytes, that the compact form of a set holds.
pub const SET_COMPACT_MAX_MEMBER_BYTES: usize = 64;

/// How many times as many members as remain have to be taken for the rest to be stored anew.
const REBUILD_FACTOR: usize = 5;

/// Members, each once.
///
/// There are three forms, chosen as Valkey chooses them with its default configuration, so that
/// `OBJECT ENCODING` can answer what a client expects: sorted integers, a short list in order of insertion, a
/// table in no order. A set goes from the first to the others as it grows. It goes back only where Valkey
/// builds a new set: when most members are taken at once.
#[derive(Clone, Debug, Default)]
pub struct Set {
    repr: Repr,
    /// Bytes of all members, as they are written.
    payload_bytes: usize,
}

/// What a member takes beside its bytes: a handle, and in a table the hash and the place in the index.
const COMPACT_MEMBER_BYTES: usize = size_of::<Bytes>();
const TABLE_MEMBER_BYTES: usize = COMPACT_MEMBER_BYTES + 3 * size_of::<usize>();

/// The form of a set, named as `OBJECT ENCODING` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetEncoding {
    /// Sorted integers.
    Intset,
    /// A short list.
    Listpack,
    /// A table.
    Hashtable,
}

impl SetEncoding {
    /// The name that `OBJECT ENCODING` answers.
    pub fn name(self) -> &'static str {
        match self {
            SetEncoding::Intset => "intset",
            SetEncoding::Listpack => "listpack",
            SetEncoding::Hashtable => "hashtable",
        }
    }
}

#[derive(Clone, Debug)]
enum Repr {
    /// Ascending.
    Integers(Vec<i64>),
    Compact(Vec<Bytes>),
    Table(IndexSet<Bytes, Hasher>),
}

impl Default for Repr {
    fn default() -> Self {
        Repr::Integers(Vec::new())
    }
}

impl Set {
    /// An empty set.
    pub fn new() -> Self {
        Set::default()
    }

    /// An empty set in the form of a short list, which becomes one of integers only by
    /// [`shrink_to_integers`](Self::shrink_to_integers).
    pub(in super::super) fn compact() -> Self {
        Set { repr: Repr::Compact(Vec::new()), payload_bytes: 0 }
    }

    /// Chooses the form for about `count` members that are about to be added, `first` before all others: a
    /// set that will be a table is not built as something else first.
    pub(in super::super) fn expect(&mut self, first: &[u8], count: usize) {
        match &mut self.repr {
            Repr::Integers(members) if members.is_empty() => {
                if parse_i64(first).is_some() && count <= SET_INTEGERS_MAX_MEMBERS {
                    return;
                }
                self.repr = if count <= SET_COMPACT_MAX_MEMBERS {
                    Repr::Compact(Vec::with_capacity(count))
                } else {
                    Repr::Table(IndexSet::with_capacity_and_hasher(count, Hasher::default()))
                };
            }
            Repr::Integers(_) if count > SET_INTEGERS_MAX_MEMBERS => _ = self.make_table(),
            Repr::Compact(_) if count > SET_COMPACT_MAX_MEMBERS => _ = self.make_table(),
            _ => {}
        }
    }

    /// How many members there are.
    pub fn len(&self) -> usize {
        match &self.repr {
            Repr::Integers(members) => members.len(),
            Repr::Compact(members) => members.len(),
            Repr::Table(members) => members.len(),
        }
    }

    /// Whether there is no member.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The form it is in.
    pub fn encoding(&self) -> SetEncoding {
        match self.repr {
            Repr::Integers(_) => SetEncoding::Intset,
            Repr::Compact(_) => SetEncoding::Listpack,
            Repr::Table(_) => SetEncoding::Hashtable,
        }
    }

    /// About how much memory the contents take.
    pub fn heap_bytes(&self) -> usize {
        match &self.repr {
            Repr::Integers(members) => members.len() * size_of::<i64>(),
            Repr::Compact(members) => self.payload_bytes + members.len() * COMPACT_MEMBER_BYTES,
            Repr::Table(members) => self.payload_bytes + members.len() * TABLE_MEMBER_BYTES,
        }
    }

    /// Whether the set is in one of its small forms, which are scanned in one step.
    pub fn is_compact(&self) -> bool {
        self.encoding() != SetEncoding::Hashtable
    }

    /// Whether `member` is in it.
    pub fn contains(&self, member: &[u8]) -> bool {
        match &self.repr {
            Repr::Integers(members) => {
                parse_i64(member).is_some_and(|member| members.binary_search(&member).is_ok())
            }
            Repr::Compact(members) => members.iter().any(|present| present == member),
            Repr::Table(members) => members.contains(member),
        }
    }

    /// Adds a member; returns whether it is new.
    pub fn insert(&mut self, member: Bytes) -> bool {
        self.insert_with(&member, || member.clone())
    }

    /// Adds a copy of `member`, in memory of its own; returns whether it is new.
    pub fn insert_copy(&mut self, member: &[u8]) -> bool {
        self.insert_with(member, || Bytes::copy_from_slice(member))
    }

    /// Adds `member`; `stored` is what is kept of it if it is new and no integer.
    fn insert_with(&mut self, member: &[u8], stored: impl FnOnce() -> Bytes) -> bool {
        let is_new = self.insert_in_form(member, stored);
        self.payload_bytes += if is_new { member.len() } else { 0 };
        is_new
    }

    fn insert_in_form(&mut self, member: &[u8], stored: impl FnOnce() -> Bytes) -> bool {
        match &mut self.repr {
            Repr::Integers(members) => {
                if let Some(integer) = parse_i64(member) {
                    let Err(at) = members.binary_search(&integer) else { return false };
                    members.insert(at, integer);
                    if members.len() > SET_INTEGERS_MAX_MEMBERS {
                        self.make_table();
                    }
                    return true;
                }
                if members.len() < SET_COMPACT_MAX_MEMBERS && member.len() <= SET_COMPACT_MAX_MEMBER_BYTES {
                    let mut compact: Vec<Bytes> = members.iter().map(|&member| decimal(member)).collect();
                    compact.push(stored());
                    self.repr = Repr::Compact(compact);
                } else {
                    self.make_table().insert(stored());
                }
                true
            }
            Repr::Compact(members) => {
                if members.iter().any(|present| present == member) {
                    return false;
                }
                if members.len() < SET_COMPACT_MAX_MEMBERS && member.len() <= SET_COMPACT_MAX_MEMBER_BYTES {
                    members.push(stored());
                } else {
                    self.make_table().insert(stored());
                }
                true
            }
            Repr::Table(members) => !members.contains(member) && members.insert(stored()),
        }
    }

    fn make_table(&mut self) -> &mut IndexSet<Bytes, Hasher> {
        if self.is_compact() {
            self.repr = Repr::Table(self.iter().collect());
        }
        match &mut self.repr {
            Repr::Table(members) => members,
            // It has just become one.
            Repr::Integers(_) | Repr::Compact(_) => unreachable!("a table"),
        }
    }

    /// Removes a member; returns whether it was in the set.
    pub fn remove(&mut self, member: &[u8]) -> bool {
        let removed = match &mut self.repr {
            Repr::Integers(members) => {
                let found = parse_i64(member).and_then(|member| members.binary_search(&member).ok());
                found.map(|at| members.remove(at)).is_some()
            }
            Repr::Compact(members) => {
                let found = members.iter().position(|present| present == member);
                found.map(|at| members.remove(at)).is_some()
            }
            Repr::Table(members) => {
                let removed = members.swap_remove(member);
                shrink(members);
                removed
            }
        };
        self.payload_bytes -= if removed { member.len() } else { 0 };
        removed
    }

    /// Removes the members at `indices`, which are different and below the length, and returns them in the
    /// order they had.
    ///
    /// When hardly any members remain of a table, they are stored anew, in the form that fits them.
    pub(in super::super) fn take(&mut self, mut indices: Vec<usize>) -> Vec<Bytes> {
        // From the end: a removal moves only what is behind it, or the last one into its place.
        indices.sort_unstable_by(|a, b| b.cmp(a));
        let remaining = self.len() - indices.len();
        let rebuilds = remaining * REBUILD_FACTOR <= indices.len();
        let payload_before = self.payload_bytes;
        let mut taken: Vec<Bytes> = match &mut self.repr {
            Repr::Integers(members) => indices.into_iter().map(|at| decimal(members.remove(at))).collect(),
            Repr::Compact(members) => indices.into_iter().map(|at| members.remove(at)).collect(),
            Repr::Table(members) => {
                let taken = indices.into_iter().filter_map(|at| members.swap_remove_index(at)).collect();
                if rebuilds {
                    let mut rest = Set::compact();
                    std::mem::take(members).into_iter().for_each(|member| {
                        rest.insert(member);
                    });
                    *self = rest;
                } else {
                    shrink(members);
                }
                taken
            }
        };
        self.payload_bytes = payload_before - taken.iter().map(Bytes::len).sum::<usize>();
        taken.reverse();
        taken
    }

    /// Makes it a set of integers, if it is small enough and all its members are integers.
    pub(in super::super) fn shrink_to_integers(&mut self) {
        let members = match &self.repr {
            Repr::Integers(_) => return,
            _ if self.len() > SET_INTEGERS_MAX_MEMBERS => return,
            Repr::Compact(members) => members.iter().map(|member| parse_i64(member)).collect(),
            Repr::Table(members) => members.iter().map(|member| parse_i64(member)).collect(),
        };
        let integers: Option<Vec<i64>> = members;
        if let Some(mut integers) = integers {
            integers.sort_unstable();
            self.repr = Repr::Integers(integers);
        }
    }

    /// The member at `index` of the current order; O(1).
    pub fn get_index(&self, index: usize) -> Option<Bytes> {
        match &self.repr {
            Repr::Integers(members) => members.get(index).map(|&member| decimal(member)),
            Repr::Compact(members) => members.get(index).cloned(),
            Repr::Table(members) => members.get_index(index).cloned(),
        }
    }

    /// The members, in the current order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Bytes> + '_ {
        match &self.repr {
            Repr::Integers(members) => Iter::Integers(members.iter()),
            Repr::Compact(members) => Iter::Compact(members.iter()),
            Repr::Table(members) => Iter::Table(members.iter()),
        }
    }
}

/// Gives memory back when most of it is unused; the order stays as it is.
fn shrink(members: &mut IndexSet<Bytes, Hasher>) {
    /// A table with room for fewer is left alone.
    const MIN_CAPACITY: usize = 1024;
    if members.capacity() > MIN_CAPACITY && members.len() < members.capacity() / 8 {
        members.shrink_to(members.len() * 2);
    }
}

enum Iter<'a> {
    Integers(std::slice::Iter<'a, i64>),
    Compact(std::slice::Iter<'a, Bytes>),
    Table(indexmap::set::Iter<'a, Bytes>),
}

impl Iterator for Iter<'_> {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        match self {
            Iter::Integers(members) => members.next().map(|&member| decimal(member)),
            Iter::Compact(members) => members.next().cloned(),
            Iter::Table(members) => members.next().cloned(),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        match self {
            Iter::Integers(members) => members.size_hint(),
            Iter::Compact(members) => members.size_hint(),
            Iter::Table(members) => members.size_hint(),
        }
    }
}

impl ExactSizeIterator for Iter<'_> {}

impl PartialEq for Set {
    /// Equal members; the order and the form do not matter.
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().all(|member| other.contains(&member))
    }
}
