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
#[derive(Clone, Debug, Default)]
pub struct Hash {
    repr: Repr,
    /// Bytes of all fields and values.
    payload_bytes: usize,
    /// It once had more fields, or a longer item, than Valkey keeps in a listpack.
    has_outgrown_listpack: bool,
}

#[derive(Clone, Debug)]
enum Repr {
    Compact(Vec<(Bytes, Bytes)>),
    Table(IndexMap<Bytes, Bytes, Hasher>),
}

impl Default for Repr {
    fn default() -> Self {
        Repr::Compact(Vec::new())
    }
}

/// The most fields that Valkey keeps in a listpack, with its default configuration.
const LISTPACK_MAX_FIELDS: usize = 512;

/// What a field takes beside its bytes and its value's: two handles, and in a table the hash and the place in the index.
const COMPACT_FIELD_BYTES: usize = 2 * size_of::<Bytes>();
const TABLE_FIELD_BYTES: usize = COMPACT_FIELD_BYTES + 3 * size_of::<usize>();

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

    /// The form in which Valkey would have it.
    pub fn encoding(&self) -> &'static str {
        if self.has_outgrown_listpack { "hashtable" } else { "listpack" }
    }

    /// About how much memory the contents take.
    pub fn heap_bytes(&self) -> usize {
        let field_bytes = if self.is_compact() { COMPACT_FIELD_BYTES } else { TABLE_FIELD_BYTES };
        self.payload_bytes + self.len() * field_bytes
    }

    /// Sets `field` and returns its old value.
    pub fn insert(&mut self, field: Bytes, value: Bytes) -> Option<Bytes> {
        let (field_len, value_len) = (field.len(), value.len());
        let old = self.insert_item(field, value);
        self.payload_bytes += value_len;
        match &old {
            Some(old) => self.payload_bytes -= old.len(),
            None => self.payload_bytes += field_len,
        }
        self.has_outgrown_listpack |=
            field_len.max(value_len) > HASH_COMPACT_MAX_ITEM_BYTES || self.len() > LISTPACK_MAX_FIELDS;
        old
    }

    fn insert_item(&mut self, field: Bytes, value: Bytes) -> Option<Bytes> {
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
        let removed = match &mut self.repr {
            Repr::Compact(pairs) => {
                let index = pairs.iter().position(|(f, _)| f == field)?;
                pairs.remove(index).1
            }
            Repr::Table(table) => table.swap_remove(field)?,
        };
        self.payload_bytes -= field.len() + removed.len();
        Some(removed)
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
