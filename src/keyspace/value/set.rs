//! Sets.

use std::ops::Range;

use bytes::Bytes;

use super::super::number::{decimal, parse_i64};
use super::packed::{Packed, Records};
use crate::hash_ttl::Hash;

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
///
/// The list is packed, and the table is that of a [`Hash`](crate::hash_ttl::Hash) whose values are empty:
/// members are copied into either.
#[derive(Clone, Debug, Default)]
pub struct Set {
    repr: Repr,
}

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
    Compact(Packed),
    Table(Hash),
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
        Set { repr: Repr::Compact(Packed::default()) }
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
                    Repr::Compact(Packed::default())
                } else {
                    Repr::Table(Hash::in_table())
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

    /// How much memory is allocated for the contents; O(1).
    pub fn heap_bytes(&self) -> usize {
        match &self.repr {
            Repr::Integers(members) => members.capacity() * size_of::<i64>(),
            Repr::Compact(members) => members.heap_bytes(),
            Repr::Table(members) => members.heap_bytes(),
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
            Repr::Table(members) => members.stored(member).is_some(),
        }
    }

    /// Adds a copy of `member`; returns whether it is new.
    pub fn insert(&mut self, member: &[u8]) -> bool {
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
                    let mut compact = Packed::default();
                    members.iter().for_each(|&member| compact.push(&decimal(member)));
                    compact.push(member);
                    self.repr = Repr::Compact(compact);
                } else {
                    add(self.make_table(), member);
                }
                true
            }
            Repr::Compact(members) => {
                if members.iter().any(|present| present == member) {
                    return false;
                }
                if members.len() < SET_COMPACT_MAX_MEMBERS && member.len() <= SET_COMPACT_MAX_MEMBER_BYTES {
                    members.push(member);
                } else {
                    add(self.make_table(), member);
                }
                true
            }
            Repr::Table(members) => add(members, member),
        }
    }

    fn make_table(&mut self) -> &mut Hash {
        if self.is_compact() {
            let mut table = Hash::in_table();
            self.iter().for_each(|member| _ = add(&mut table, &member));
            self.repr = Repr::Table(table);
        }
        match &mut self.repr {
            Repr::Table(members) => members,
            // It has just become one.
            Repr::Integers(_) | Repr::Compact(_) => unreachable!("a table"),
        }
    }

    /// Removes a member; returns whether it was in the set.
    pub fn remove(&mut self, member: &[u8]) -> bool {
        match &mut self.repr {
            Repr::Integers(members) => {
                let found = parse_i64(member).and_then(|member| members.binary_search(&member).ok());
                found.map(|at| members.remove(at)).is_some()
            }
            Repr::Compact(members) => {
                let mut records = members.iter();
                loop {
                    let start = records.place();
                    let Some(present) = records.next() else { return false };
                    if present == member {
                        let places = start..records.place();
                        members.remove(places, 1);
                        return true;
                    }
                }
            }
            Repr::Table(members) => members.remove(member).is_some(),
        }
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
        let mut taken: Vec<Bytes> = match &mut self.repr {
            Repr::Integers(members) => indices.into_iter().map(|at| decimal(members.remove(at))).collect(),
            Repr::Compact(members) => indices.into_iter().filter_map(|at| take_packed(members, at)).collect(),
            Repr::Table(members) => {
                let taken = indices.into_iter().filter_map(|at| take_from_table(members, at)).collect();
                if rebuilds {
                    let mut rest = Set::compact();
                    members.iter().for_each(|field| _ = rest.insert(&field.name));
                    *self = rest;
                }
                taken
            }
        };
        taken.reverse();
        taken
    }

    /// Makes it a set of integers, if it is small enough and all its members are integers.
    pub(in super::super) fn shrink_to_integers(&mut self) {
        let members = match &self.repr {
            Repr::Integers(_) => return,
            _ if self.len() > SET_INTEGERS_MAX_MEMBERS => return,
            Repr::Compact(members) => members.iter().map(parse_i64).collect(),
            Repr::Table(members) => members.iter().map(|field| parse_i64(&field.name)).collect(),
        };
        let integers: Option<Vec<i64>> = members;
        if let Some(mut integers) = integers {
            integers.sort_unstable();
            self.repr = Repr::Integers(integers);
        }
    }

    /// The member at `index` of the current order; O(1), and a walk of a short list.
    pub fn get_index(&self, index: usize) -> Option<Bytes> {
        match &self.repr {
            Repr::Integers(members) => members.get(index).map(|&member| decimal(member)),
            Repr::Compact(members) => {
                let (member, _) = members.next(members.place_of(index))?;
                Some(Bytes::copy_from_slice(member))
            }
            Repr::Table(members) => Some(members.get_index(index)?.name.to_bytes()),
        }
    }

    /// The members, in the current order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Bytes> + '_ {
        match &self.repr {
            Repr::Integers(members) => Iter::Integers(members.iter()),
            Repr::Compact(members) => Iter::Compact(members.iter()),
            Repr::Table(members) => Iter::Table(members, 0..members.len()),
        }
    }
}

/// Adds a member to a table; returns whether it is new.
fn add(table: &mut Hash, member: &[u8]) -> bool {
    table.insert(member, b"", None).is_none()
}

fn take_packed(members: &mut Packed, at: usize) -> Option<Bytes> {
    let place = members.place_of(at);
    let (member, next) = members.next(place)?;
    let taken = Bytes::copy_from_slice(member);
    members.remove(place..next, 1);
    Some(taken)
}

fn take_from_table(members: &mut Hash, at: usize) -> Option<Bytes> {
    let taken = members.get_index(at)?.name.to_bytes();
    members.remove(&taken);
    Some(taken)
}

enum Iter<'a> {
    Integers(std::slice::Iter<'a, i64>),
    Compact(Records<'a>),
    Table(&'a Hash, Range<usize>),
}

impl Iterator for Iter<'_> {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        match self {
            Iter::Integers(members) => members.next().map(|&member| decimal(member)),
            Iter::Compact(members) => members.next().map(Bytes::copy_from_slice),
            Iter::Table(members, left) => Some(members.get_index(left.next()?)?.name.to_bytes()),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        match self {
            Iter::Integers(members) => members.size_hint(),
            Iter::Compact(members) => members.size_hint(),
            Iter::Table(_, left) => left.size_hint(),
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
