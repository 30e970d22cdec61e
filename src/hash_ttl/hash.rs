//! One hash.

use std::collections::BTreeSet;
use std::ops::Deref;

use bytes::Bytes;
use indexmap::IndexMap;

use super::Moment;

/// Seeded per process against chosen collisions.
type Hasher = foldhash::fast::RandomState;

/// A field's name or value where the hash keeps it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Item<'a>(&'a Bytes);

impl Item<'_> {
    /// The bytes in memory that does not depend on the hash: shared with it if they are many, copied if they are few.
    pub fn to_bytes(self) -> Bytes {
        self.0.clone()
    }
}

impl Deref for Item<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.0
    }
}

impl std::fmt::Debug for Item<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "b\"{}\"", self.escape_ascii())
    }
}

/// A field that is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// Its name.
    pub name: Item<'a>,
    /// Its value.
    pub value: Item<'a>,
    /// When it ceases to exist, in milliseconds since the Unix epoch.
    pub deadline_ms: Option<u64>,
}

/// The most fields that a hash keeps in its compact form; with more it becomes a table.
///
/// A linear search of this many short fields costs about as much as hashing one of them and two
/// cache misses, and the compact form needs neither index nor stored hashes.
pub const HASH_COMPACT_MAX_FIELDS: usize = 128;

/// The longest field or value, in bytes, that the compact form of a hash holds.
pub const HASH_COMPACT_MAX_ITEM_BYTES: usize = 64;

/// Fields, their values and deadlines, each field once. Nothing in it depends on the clock: a dead field is stored like any other,
/// and who does not want to see it asks with a [`Moment`].
///
/// The compact form keeps the order of insertion. The table loses it when a field is removed.
#[derive(Clone, Debug, Default)]
pub struct Hash {
    repr: Repr,
    /// Every deadline, the earliest first.
    deadlines: BTreeSet<(u64, Bytes)>,
    /// Bytes of all fields and values.
    payload_bytes: usize,
    /// It once had more fields, or a longer item, than Valkey keeps in a listpack, or a deadline.
    has_outgrown_listpack: bool,
}

#[derive(Clone, Debug)]
struct Stored {
    value: Bytes,
    deadline_ms: Option<u64>,
}

#[derive(Clone, Debug)]
enum Repr {
    Compact(Vec<(Bytes, Stored)>),
    Table(IndexMap<Bytes, Stored, Hasher>),
}

impl Default for Repr {
    fn default() -> Self {
        Repr::Compact(Vec::new())
    }
}

/// The most fields that Valkey keeps in a listpack, with its default configuration.
const LISTPACK_MAX_FIELDS: usize = 512;

/// What a field takes beside its bytes and its value's: two handles, and in a table the hash and the place in the index.
const COMPACT_FIELD_BYTES: usize = size_of::<(Bytes, Stored)>();
const TABLE_FIELD_BYTES: usize = COMPACT_FIELD_BYTES + 3 * size_of::<usize>();
const DEADLINE_BYTES: usize = size_of::<(u64, Bytes)>() + size_of::<usize>();

fn field<'a>((name, stored): (&'a Bytes, &'a Stored)) -> Field<'a> {
    Field { name: Item(name), value: Item(&stored.value), deadline_ms: stored.deadline_ms }
}

impl Hash {
    /// An empty hash.
    pub fn new() -> Self {
        Hash::default()
    }

    /// How many fields are stored, dead ones included.
    pub fn len(&self) -> usize {
        match &self.repr {
            Repr::Compact(pairs) => pairs.len(),
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
        self.deadlines.len()
    }

    /// Whether a field has a deadline; O(1).
    pub fn is_volatile(&self) -> bool {
        !self.deadlines.is_empty()
    }

    /// No field is due at or before this moment, in milliseconds since the Unix epoch; `None` if no field has a deadline. O(1).
    ///
    /// It may be earlier than the earliest deadline; then [`reclaim`](Self::reclaim) at a later moment moves it on.
    pub fn earliest_ms(&self) -> Option<u64> {
        self.deadlines.first().map(|(deadline_ms, _)| *deadline_ms)
    }

    /// The field `name` as it is stored, dead or not.
    pub fn stored(&self, name: &[u8]) -> Option<Field<'_>> {
        match &self.repr {
            Repr::Compact(pairs) => pairs.iter().find(|(f, _)| f == name).map(|(f, s)| field((f, s))),
            Repr::Table(table) => table.get_key_value(name).map(field),
        }
    }

    /// The field `name`, unless it is dead.
    pub fn get(&self, name: &[u8], moment: Moment) -> Option<Field<'_>> {
        self.stored(name).filter(|field| !moment.hides(field.deadline_ms))
    }

    /// The field at `index` of the current order, dead or not; O(1).
    pub fn get_index(&self, index: usize) -> Option<Field<'_>> {
        match &self.repr {
            Repr::Compact(pairs) => pairs.get(index).map(|(f, s)| field((f, s))),
            Repr::Table(table) => table.get_index(index).map(field),
        }
    }

    /// The form in which Valkey would have it.
    pub fn encoding(&self) -> &'static str {
        if self.has_outgrown_listpack { "hashtable" } else { "listpack" }
    }

    /// About how much memory the contents take; O(1).
    pub fn heap_bytes(&self) -> usize {
        let field_bytes = if self.is_compact() { COMPACT_FIELD_BYTES } else { TABLE_FIELD_BYTES };
        self.payload_bytes + self.len() * field_bytes + self.deadlines.len() * DEADLINE_BYTES
    }

    /// Stores `value` under `name` with this deadline or none, whatever was there. Returns the deadline that the old one had, if
    /// the field was stored. The bytes are copied.
    pub fn insert(&mut self, name: &[u8], value: &[u8], deadline_ms: Option<u64>) -> Option<Option<u64>> {
        let stored = Stored { value: Bytes::copy_from_slice(value), deadline_ms };
        let old = self.insert_item(Bytes::copy_from_slice(name), stored);
        self.payload_bytes += value.len();
        match &old {
            Some(old) => self.payload_bytes -= old.value.len(),
            None => self.payload_bytes += name.len(),
        }
        let old = old.map(|old| old.deadline_ms);
        self.reindex(name, old.flatten(), deadline_ms);
        self.has_outgrown_listpack |= deadline_ms.is_some()
            || name.len().max(value.len()) > HASH_COMPACT_MAX_ITEM_BYTES
            || self.len() > LISTPACK_MAX_FIELDS;
        old
    }

    fn reindex(&mut self, name: &[u8], old_ms: Option<u64>, new_ms: Option<u64>) {
        if old_ms == new_ms {
            return;
        }
        let name = Bytes::copy_from_slice(name);
        if let Some(old_ms) = old_ms {
            self.deadlines.remove(&(old_ms, name.clone()));
        }
        if let Some(new_ms) = new_ms {
            self.deadlines.insert((new_ms, name));
        }
    }

    fn insert_item(&mut self, name: Bytes, stored: Stored) -> Option<Stored> {
        if let Repr::Compact(pairs) = &mut self.repr {
            let fits = name.len().max(stored.value.len()) <= HASH_COMPACT_MAX_ITEM_BYTES;
            match pairs.iter().position(|(f, _)| *f == name) {
                Some(index) if fits => return Some(std::mem::replace(&mut pairs[index].1, stored)),
                None if fits && pairs.len() < HASH_COMPACT_MAX_FIELDS => {
                    pairs.push((name, stored));
                    return None;
                }
                _ => self.repr = Repr::Table(std::mem::take(pairs).into_iter().collect()),
            }
        }
        match &mut self.repr {
            Repr::Table(table) => table.insert(name, stored),
            // The compact form has returned or has become a table.
            Repr::Compact(_) => None,
        }
    }

    /// Gives the field `name` a deadline or takes it away. Returns the one that it had, if the field is stored.
    pub fn set_deadline(&mut self, name: &[u8], deadline_ms: Option<u64>) -> Option<Option<u64>> {
        let stored = match &mut self.repr {
            Repr::Compact(pairs) => &mut pairs.iter_mut().find(|(f, _)| f == name)?.1,
            Repr::Table(table) => table.get_mut(name)?,
        };
        let old_ms = std::mem::replace(&mut stored.deadline_ms, deadline_ms);
        self.reindex(name, old_ms, deadline_ms);
        self.has_outgrown_listpack |= deadline_ms.is_some();
        Some(old_ms)
    }

    /// Removes the field `name`. Returns the deadline that it had, if it was stored.
    pub fn remove(&mut self, name: &[u8]) -> Option<Option<u64>> {
        let removed = match &mut self.repr {
            Repr::Compact(pairs) => {
                let index = pairs.iter().position(|(f, _)| f == name)?;
                pairs.remove(index).1
            }
            Repr::Table(table) => table.swap_remove(name)?,
        };
        self.payload_bytes -= name.len() + removed.value.len();
        self.reindex(name, removed.deadline_ms, None);
        Some(removed.deadline_ms)
    }

    /// Removes fields whose deadline is before `now_ms` and appends their names to `reclaimed`, in at most `steps` steps of work,
    /// which it counts down: one a field that is removed or sorted. Steps that are left mean that nothing more is due.
    pub fn reclaim(&mut self, now_ms: u64, steps: &mut usize, reclaimed: &mut Vec<Bytes>) {
        while *steps > 0 {
            let Some((deadline_ms, name)) = self.deadlines.first() else { return };
            if now_ms <= *deadline_ms {
                return;
            }
            let name = name.clone();
            self.remove(&name);
            reclaimed.push(name);
            *steps -= 1;
        }
    }

    /// The fields that are stored, dead or not, in the current order.
    pub fn iter(&self) -> impl Iterator<Item = Field<'_>> + '_ {
        let (pairs, table) = match &self.repr {
            Repr::Compact(pairs) => (Some(pairs), None),
            Repr::Table(table) => (None, Some(table)),
        };
        let pairs = pairs.into_iter().flatten().map(|(f, s)| (f, s));
        pairs.chain(table.into_iter().flatten()).map(field)
    }

    /// The fields that are not dead, in the current order.
    pub fn alive(&self, moment: Moment) -> impl Iterator<Item = Field<'_>> + '_ {
        self.iter().filter(move |field| !moment.hides(field.deadline_ms))
    }
}

impl PartialEq for Hash {
    /// Equal contents; the order and the form do not matter.
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().all(|field| other.stored(&field.name) == Some(field))
    }
}
