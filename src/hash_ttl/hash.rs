//! One hash.
//!
//! # Promise
//!
//! Each field is stored once, with its value and its deadline. Nothing depends on the clock: a dead field is
//! stored like any other, and who does not want to see it asks with a [`Moment`]. What is due is found
//! without looking at what is not, and as soon as it is due.
//!
//! # Forms
//!
//! Few short fields are in the [compact form](super::compact), everything else in a [table](super::table). A
//! hash that outgrows the compact form does not go back to it.
//!
//! # Order
//!
//! The compact form keeps the order of insertion. In a table a new field is the last, and a removal moves the
//! last one into the gap: always to a lower index, so that a walk from the end to the start meets every field
//! that is there all the time.
//!
//! # Memory
//!
//! A hash in its compact form takes 40 bytes and its records: 2 bytes a field beside name and value, 10 with
//! a deadline. In a table it is 17 to 24 bytes, and 16 more with a deadline. [`Hash::heap_bytes`] counts what
//! is allocated, with the reserve of arrays that grow.
//!
//! # Limits
//!
//! A hash has at most [`HASH_MAX_FIELDS`] fields; names and values may be as long as memory allows.
//! [`Hash::try_insert`] refuses one field more with [`HashFull`] and changes nothing. The limit is above 200
//! GB of the shortest fields, so [`Hash::insert`] spares callers the error and leaves such a hash as it is.
//! Whoever runs commands asks [`commands::room`](super::commands::room) first.

use bytes::Bytes;

use super::compact::{self, Compact};
use super::table::Table;
use super::{Field, Moment};

/// The most fields that a hash keeps in its compact form; with more it becomes a table.
///
/// A linear search of this many short fields costs about as much as hashing one of them and two
/// cache misses, and the compact form needs neither index nor stored hashes.
pub const HASH_COMPACT_MAX_FIELDS: usize = 128;

/// The longest field or value, in bytes, that the compact form of a hash holds.
pub const HASH_COMPACT_MAX_ITEM_BYTES: usize = 64;

/// The most fields of a hash.
pub const HASH_MAX_FIELDS: usize = u32::MAX as usize - 1024;

/// A hash has [`HASH_MAX_FIELDS`] fields already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the hash has as many fields as a hash can have")]
pub struct HashFull;

/// Fields, their values and deadlines, each field once. Nothing in it depends on the clock: a dead field is
/// stored like any other, and who does not want to see it asks with a [`Moment`].
///
/// The compact form keeps the order of insertion. The table loses it when a field is removed.
#[derive(Clone, Default)]
pub struct Hash {
    repr: Repr,
}

#[derive(Clone)]
enum Repr {
    Compact(Compact),
    Table(Box<Table>),
}

impl Default for Repr {
    fn default() -> Self {
        Repr::Compact(Compact::default())
    }
}

/// The most fields that Valkey keeps in a listpack, with its default configuration.
const LISTPACK_MAX_FIELDS: usize = 512;

impl Hash {
    /// An empty hash.
    pub fn new() -> Self {
        Hash::default()
    }

    /// An empty hash that is a table from the start.
    #[cfg(feature = "server")]
    pub(crate) fn in_table() -> Self {
        Hash { repr: Repr::Table(Box::default()) }
    }

    /// How many fields are stored, dead ones included.
    pub fn len(&self) -> usize {
        match &self.repr {
            Repr::Compact(compact) => compact.len(),
            Repr::Table(table) => table.len(),
        }
    }

    /// Whether no field is stored.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the hash is in its compact form, which is scanned in one step.
    pub fn is_compact(&self) -> bool {
        matches!(self.repr, Repr::Compact(_))
    }

    /// How many fields have a deadline; O(1).
    pub fn deadline_count(&self) -> usize {
        match &self.repr {
            Repr::Compact(compact) => compact.deadline_count(),
            Repr::Table(table) => table.deadline_count(),
        }
    }

    /// Whether a field has a deadline; O(1).
    pub fn is_volatile(&self) -> bool {
        self.deadline_count() > 0
    }

    /// No field is due at or before this moment, in milliseconds since the Unix epoch; `None` if no field has
    /// a deadline. O(1).
    ///
    /// It may be earlier than the earliest deadline; then [`reclaim`](Self::reclaim) at a later moment moves
    /// it on.
    pub fn earliest_ms(&self) -> Option<u64> {
        match &self.repr {
            Repr::Compact(compact) => compact.earliest_ms(),
            Repr::Table(table) => table.earliest_ms(),
        }
    }

    /// The field `name` as it is stored, dead or not.
    #[inline]
    pub fn stored(&self, name: &[u8]) -> Option<Field<'_>> {
        match &self.repr {
            Repr::Compact(compact) => compact.get(name),
            Repr::Table(table) => table.get(name),
        }
    }

    /// The field `name`, unless it is dead.
    #[inline]
    pub fn get(&self, name: &[u8], moment: Moment) -> Option<Field<'_>> {
        self.stored(name).filter(|field| !moment.hides(field.deadline_ms))
    }

    /// The field at `index` of the current order, dead or not; O(1) in a table, and a walk over the fields
    /// before it in the compact form.
    pub fn get_index(&self, index: usize) -> Option<Field<'_>> {
        match &self.repr {
            Repr::Compact(compact) => compact.get_index(index),
            Repr::Table(table) => table.get_index(index),
        }
    }

    /// The form in which Valkey would have it.
    pub fn encoding(&self) -> &'static str {
        let has_outgrown_listpack = match &self.repr {
            Repr::Compact(compact) => compact.has_outgrown_listpack,
            Repr::Table(table) => table.has_outgrown_listpack,
        };
        if has_outgrown_listpack { "hashtable" } else { "listpack" }
    }

    /// How much memory is allocated for the contents; O(1).
    pub fn heap_bytes(&self) -> usize {
        match &self.repr {
            Repr::Compact(compact) => compact.heap_bytes(),
            Repr::Table(table) => table.heap_bytes(),
        }
    }

    /// Stores `value` under `name` with this deadline or none, whatever was there. Returns the deadline that
    /// the old one had, if the field was stored. The bytes are copied.
    ///
    /// A hash with [`HASH_MAX_FIELDS`] fields is left as it is, if the field is new:
    /// [`try_insert`](Self::try_insert) tells.
    pub fn insert(&mut self, name: &[u8], value: &[u8], deadline_ms: Option<u64>) -> Option<Option<u64>> {
        self.try_insert(name, value, deadline_ms).unwrap_or(None)
    }

    /// Does what [`insert`](Self::insert) does, or fails with [`HashFull`] and changes nothing.
    pub fn try_insert(
        &mut self,
        name: &[u8],
        value: &[u8],
        deadline_ms: Option<u64>,
    ) -> Result<Option<Option<u64>>, HashFull> {
        self.insert_within(name, value, deadline_ms, HASH_MAX_FIELDS)
    }

    fn insert_within(
        &mut self,
        name: &[u8],
        value: &[u8],
        deadline_ms: Option<u64>,
        max_fields: usize,
    ) -> Result<Option<Option<u64>>, HashFull> {
        let old = match &mut self.repr {
            Repr::Compact(compact) if compact.has_room_for(name, value) => {
                compact.insert(name, value, deadline_ms)
            }
            _ => self.make_table().insert(name, value, deadline_ms, max_fields)?,
        };
        let outgrows = deadline_ms.is_some() || !compact::fits(name, value);
        self.note_outgrown(outgrows || self.len() > LISTPACK_MAX_FIELDS);
        Ok(old)
    }

    fn make_table(&mut self) -> &mut Table {
        if let Repr::Compact(compact) = &self.repr {
            let mut table = Box::<Table>::default();
            table.has_outgrown_listpack = compact.has_outgrown_listpack;
            for field in compact.iter() {
                // There are few.
                _ = table.insert(&field.name, &field.value, field.deadline_ms, HASH_COMPACT_MAX_FIELDS);
            }
            self.repr = Repr::Table(table);
        }
        match &mut self.repr {
            Repr::Table(table) => table,
            // It has just become one.
            Repr::Compact(_) => unreachable!("a table"),
        }
    }

    /// Remembers whether it once had more fields, or a longer item, than Valkey keeps in a listpack, or a
    /// deadline.
    fn note_outgrown(&mut self, now: bool) {
        match &mut self.repr {
            Repr::Compact(compact) => compact.has_outgrown_listpack |= now,
            Repr::Table(table) => table.has_outgrown_listpack |= now,
        }
    }

    /// Gives the field `name` a deadline or takes it away. Returns the one that it had, if the field is
    /// stored.
    pub fn set_deadline(&mut self, name: &[u8], deadline_ms: Option<u64>) -> Option<Option<u64>> {
        let old_ms = match &mut self.repr {
            Repr::Compact(compact) => compact.set_deadline(name, deadline_ms),
            Repr::Table(table) => table.set_deadline(name, deadline_ms),
        }?;
        self.note_outgrown(deadline_ms.is_some());
        Some(old_ms)
    }

    /// Removes the field `name`. Returns the deadline that it had, if it was stored.
    pub fn remove(&mut self, name: &[u8]) -> Option<Option<u64>> {
        match &mut self.repr {
            Repr::Compact(compact) => compact.remove(name),
            Repr::Table(table) => table.remove(name),
        }
    }

    /// Removes fields whose deadline is before `now_ms` and appends their names to `reclaimed`, in at most
    /// `steps` steps of work, which it counts down: one a field that is removed, sorted or moved to close a
    /// gap in memory, which goes on to its end once it has begun. Steps that are left mean that nothing more
    /// is due.
    ///
    /// Only a primary does this, and it publishes the names
    /// ([`rewrite::hash::reclaim`](crate::rewrite::hash::reclaim)): a replica never judges.
    pub fn reclaim(&mut self, now_ms: u64, steps: &mut usize, reclaimed: &mut Vec<Bytes>) {
        match &mut self.repr {
            Repr::Compact(compact) => compact.reclaim(now_ms, steps, reclaimed),
            Repr::Table(table) => table.reclaim(now_ms, steps, reclaimed),
        }
    }

    /// The fields that are stored, dead or not, in the current order.
    pub fn iter(&self) -> impl Iterator<Item = Field<'_>> + '_ {
        let (compact, table) = match &self.repr {
            Repr::Compact(compact) => (Some(compact), None),
            Repr::Table(table) => (None, Some(table)),
        };
        let compact = compact.into_iter().flat_map(Compact::iter);
        compact.chain(table.into_iter().flat_map(|table| table.iter()))
    }

    /// The fields that are not dead, in the current order.
    pub fn alive(&self, moment: Moment) -> impl Iterator<Item = Field<'_>> + '_ {
        self.iter().filter(move |field| !moment.hides(field.deadline_ms))
    }
}

impl std::fmt::Debug for Hash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

impl PartialEq for Hash {
    /// Equal contents; the order and the form do not matter.
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().all(|field| other.stored(&field.name) == Some(field))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_hash_refuses_a_new_field_and_takes_a_new_value() {
        let mut hash = Hash::new();
        for number in 0..200u32 {
            assert_eq!(hash.insert_within(&number.to_le_bytes(), b"v", None, 200), Ok(None));
        }
        let (before, before_bytes) = (hash.clone(), hash.heap_bytes());
        let long = [b'x'; 1000];
        assert_eq!(hash.insert_within(&long, &long, Some(1), 200), Err(HashFull));
        assert_eq!((hash.heap_bytes(), hash.encoding()), (before_bytes, "listpack"));
        assert_eq!(hash, before);
        assert_eq!(hash.insert_within(&7u32.to_le_bytes(), &long, Some(1), 200), Ok(Some(None)));
    }

    #[test]
    fn a_hash_itself_is_small() {
        assert_eq!(size_of::<Hash>(), 40);
    }
}
