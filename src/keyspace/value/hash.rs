//! Hashes.

use bytes::Bytes;
use indexmap::IndexMap;

use super::super::Hasher;

/// The most fields that a hash keeps in its compact form; with more it becomes a table.
///
/// A linear search of this many short fields costs about as much as hashing one of them and two
/// cache misses, and the compact form needs neither index nor stored hashes.
pub const HASH_COMPACT_MAX_FIELDS: usize = 128;

/// The longest field or value, in bytes, that the compact form of a hash holds.
pub const HASH_COMPACT_MAX_ITEM_BYTES: usize = 64;

/// Fields and their values, each field once.
///
/// The compact form keeps the order of insertion. The table loses it when a field is removed.
#[derive(Clone, Debug)]
pub struct Hash {
    repr: Repr,
}

#[derive(Clone, Debug)]
enum Repr {
    Compact(Vec<(Bytes, Bytes)>),
    Table(IndexMap<Bytes, Bytes, Hasher>),
}

impl Default for Hash {
    fn default() -> Self {
        Hash { repr: Repr::Compact(Vec::new()) }
    }
}

impl Hash {
    /// An empty hash.
    pub fn new() -> Self {
        Hash::default()
    }

    /// How many fields there are.
    pub fn len(&self) -> usize {
        match &self.repr {
            Repr::Compact(pairs) => pairs.len(),
            Repr::Table(table) => table.len(),
        }
    }

    /// Whether there is no field.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the hash is in its compact form, which is scanned in one step.
    pub fn is_compact(&self) -> bool {
        matches!(self.repr, Repr::Compact(_))
    }

    /// The value of `field`.
    pub fn get(&self, field: &[u8]) -> Option<&Bytes> {
        match &self.repr {
            Repr::Compact(pairs) => pairs.iter().find(|(f, _)| f == field).map(|(_, v)| v),
            Repr::Table(table) => table.get(field),
        }
    }

    /// The pair at `index` of the current order; O(1).
    pub fn get_index(&self, index: usize) -> Option<(&Bytes, &Bytes)> {
        match &self.repr {
            Repr::Compact(pairs) => pairs.get(index).map(|(f, v)| (f, v)),
            Repr::Table(table) => table.get_index(index),
        }
    }

    /// Sets `field` and returns its old value.
    pub fn insert(&mut self, field: Bytes, value: Bytes) -> Option<Bytes> {
        if let Repr::Compact(pairs) = &mut self.repr {
            let fits = field.len().max(value.len()) <= HASH_COMPACT_MAX_ITEM_BYTES;
            match pairs.iter().position(|(f, _)| *f == field) {
                Some(index) if fits => return Some(std::mem::replace(&mut pairs[index].1, value)),
                None if fits && pairs.len() < HASH_COMPACT_MAX_FIELDS => {
                    pairs.push((field, value));
                    return None;
                }
                _ => self.repr = Repr::Table(std::mem::take(pairs).into_iter().collect()),
            }
        }
        match &mut self.repr {
            Repr::Table(table) => table.insert(field, value),
            // The compact form has returned or has become a table.
            Repr::Compact(_) => None,
        }
    }

    /// Removes `field` and returns its value.
    pub fn remove(&mut self, field: &[u8]) -> Option<Bytes> {
        match &mut self.repr {
            Repr::Compact(pairs) => {
                let index = pairs.iter().position(|(f, _)| f == field)?;
                Some(pairs.remove(index).1)
            }
            Repr::Table(table) => table.swap_remove(field),
        }
    }

    /// The pairs, in the current order.
    pub fn iter(&self) -> impl Iterator<Item = (&Bytes, &Bytes)> + '_ {
        let (pairs, table) = match &self.repr {
            Repr::Compact(pairs) => (Some(pairs), None),
            Repr::Table(table) => (None, Some(table)),
        };
        let pairs = pairs.into_iter().flatten().map(|(f, v)| (f, v));
        pairs.chain(table.into_iter().flatten())
    }
}

impl PartialEq for Hash {
    /// Equal contents; the order and the form do not matter.
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().all(|(f, v)| other.get(f) == Some(v))
    }
}
