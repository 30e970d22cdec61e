//! One shard: the tables of every database for the keys that hash to it.
//!
//! Everything that changes a table goes through this file, because a change has seven companions
//! that must never be forgotten: the index of deadlines, the index of hashes whose fields have some, the
//! pre-images of the active snapshots, the version of the entry, the watchers of the key, those who wait for
//! it, and the bytes that are in use.
//!
//! # Removal
//!
//! `swap_remove` fills the hole with the last entry, so a removal moves at most one other entry, and
//! always to a lower index. [`super::scan`] and [`super::snapshot`] walk from the end towards the
//! start and rest on that.

use std::collections::BTreeSet;
use std::hash::BuildHasher;
use std::sync::Arc;

use bytes::Bytes;
use indexmap::IndexMap;
use indexmap::map::RawEntryApiV1 as _;

use super::blocking::Waiters;
use super::events::{EventClass, Events};
use super::expiry_cycle::NextDatabases;
use super::memory::{Access, FrequencyRule, UsedBytes, size_class};
use super::snapshot::ShardSnapshot;
use super::value::Value;
use super::watch::Registry;
use super::{Hasher, KeyspaceStats};
use crate::hash_ttl::{DeadlineIndex, Slot};

/// A table with room for more entries than this gives memory back when most of it is unused.
const SHRINK_MIN_ENTRIES: usize = 1024;

/// A key's value and what is known about it.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub value: Value,
    /// Milliseconds since the Unix epoch; `None` lives until deleted.
    pub deadline_ms: Option<u64>,
    /// The shard's modification count when the entry was last modified, or moved past a walk.
    pub version: u64,
    /// Changed by reading, which is no modification.
    pub access: Access,
    /// The place in the index of hashes whose fields have deadlines, while one has.
    pub volatile: Option<Slot>,
}

/// What an entry takes beside its key's bytes and what its value points to: itself, its hash and its places in
/// the index, which are used by 7/16 to 7/8.
const ENTRY_BYTES: usize = size_of::<Bytes>() + size_of::<Entry>() + size_of::<u64>() + PLACE_BYTES * 3 / 2;

/// A number and a byte of its hash.
const PLACE_BYTES: usize = size_of::<usize>() + 1;

/// What a deadline takes in the index of deadlines: its place in a node of 11, of which those that were filled
/// in ascending order hold 6, and its share of the nodes above.
const DEADLINE_BYTES: usize = size_of::<Due>() * 11 / 6 + size_of::<usize>();

/// What a hash takes in the index of hashes whose fields have deadlines.
const VOLATILE_BYTES: usize = DeadlineIndex::<Bytes>::THING_BYTES;

impl Entry {
    /// About how much memory the entry of a key of `key_len` bytes takes, the key included; O(1).
    pub fn bytes(&self, key_len: usize) -> u64 {
        let deadline_bytes = if self.deadline_ms.is_some() { DEADLINE_BYTES } else { 0 };
        let volatile_bytes = if self.volatile.is_some() { VOLATILE_BYTES } else { 0 };
        (ENTRY_BYTES + size_class(key_len) + deadline_bytes + volatile_bytes + self.value.heap_bytes()) as u64
    }

    /// Whether the deadline has passed: Valkey's "now is later than the deadline".
    pub fn is_expired(&self, now_ms: u64) -> bool {
        self.deadline_ms.is_some_and(|deadline_ms| now_ms > deadline_ms)
    }
}

/// The keys of one database in one shard.
#[derive(Debug, Default)]
pub(super) struct Table {
    pub map: IndexMap<Bytes, Entry, Hasher>,
    /// Every key with a deadline, the earliest first.
    pub deadlines: BTreeSet<Due>,
    /// Every key whose hash has a field with a deadline, by the first moment at which one of them may be due.
    pub volatile: DeadlineIndex<Bytes>,
    /// What the entries take: the sum of [`Entry::bytes`].
    pub bytes: u64,
}

/// A key's place in the index of deadlines: the key is the one with this hash and deadline.
///
/// Two keys that have both in common, one pair in 2^64, share a place; it is there as long as one of them is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Due {
    pub deadline_ms: u64,
    /// The table's hash of the key.
    hash: u64,
}

impl Due {
    /// A place in the index, to look from.
    pub fn at(deadline_ms: u64, hash: u64) -> Due {
        Due { deadline_ms, hash }
    }
}

impl Table {
    fn due(&self, deadline_ms: u64, key: &[u8]) -> Due {
        Due { deadline_ms, hash: self.map.hasher().hash_one(key) }
    }

    /// The key at a place in the index of deadlines, and its entry.
    pub fn at_due(&self, due: &Due) -> Option<(&Bytes, &Entry)> {
        // The table asks for every key whose hash has the few bits in common by which it looks.
        let is_due = |key: &Bytes| {
            self.map.hasher().hash_one(key) == due.hash
                && self.map.get(key).is_some_and(|entry| entry.deadline_ms == Some(due.deadline_ms))
        };
        self.map.raw_entry_v1().from_hash(due.hash, is_due)
    }

    /// Moves `key` in the index of deadlines, after its entry was changed or removed.
    fn reindex(&mut self, key: &[u8], old_ms: Option<u64>, new_ms: Option<u64>) {
        if old_ms == new_ms {
            return;
        }
        if let Some(old_ms) = old_ms {
            let due = self.due(old_ms, key);
            if self.at_due(&due).is_none() {
                let removed = self.deadlines.remove(&due);
                debug_assert!(removed, "every deadline is indexed");
            }
        }
        if let Some(new_ms) = new_ms {
            self.deadlines.insert(self.due(new_ms, key));
        }
    }
}

/// The first moment at which a field may be due.
fn earliest_ms(value: &Value) -> Option<u64> {
    match value {
        Value::Hash(hash) => hash.earliest_ms(),
        _ => None,
    }
}

/// Keeps the place of a hash in the index of hashes whose fields have deadlines; `before_ms` is by which it
/// is there.
///
/// A change that does not concern the earliest moment leaves the place as it is: a hash that is written to
/// all the time would never come to the front of those that are due.
fn track(volatile: &mut DeadlineIndex<Bytes>, key: &Bytes, entry: &mut Entry, before_ms: Option<u64>) {
    let earliest_ms = earliest_ms(&entry.value);
    match (entry.volatile, earliest_ms) {
        (Some(_), Some(_)) if earliest_ms == before_ms => {}
        (Some(slot), Some(earliest_ms)) => volatile.set(slot, earliest_ms),
        (None, Some(earliest_ms)) => entry.volatile = Some(volatile.insert(earliest_ms, key.clone())),
        (Some(slot), None) => {
            volatile.remove(slot);
            entry.volatile = None;
        }
        (None, None) => {}
    }
}

/// One shard; its owner keeps it behind a lock.
#[derive(Debug)]
pub(super) struct Shard {
    tables: Vec<Table>,
    /// Counts modifications; an entry with a higher version than a cut was modified after it.
    version: u64,
    pub snapshots: Vec<ShardSnapshot>,
    pub watchers: Registry,
    pub waiters: Waiters,
    pub stats: KeyspaceStats,
    events: Arc<Events>,
    /// The clock of accesses: the second of the unit that holds the lock.
    pub now_s: u32,
    /// Where the expiry cycle goes on.
    pub expiry: NextDatabases,
    /// What the entries of all databases take.
    used: UsedBytes,
}

impl Shard {
    pub fn new(databases: u16, events: Arc<Events>, waiters: Waiters) -> Shard {
        Shard {
            tables: (0..databases).map(|_| Table::default()).collect(),
            version: 0,
            snapshots: Vec::new(),
            watchers: Registry::default(),
            waiters,
            stats: KeyspaceStats::default(),
            events,
            now_s: 0,
            expiry: NextDatabases::default(),
            used: UsedBytes::default(),
        }
    }

    /// Keys in `db` and how many of them have a deadline; the database exists.
    pub fn key_count(&self, db: u16) -> (u64, u64) {
        let table = self.table(db);
        (table.map.len() as u64, table.deadlines.len() as u64)
    }

    /// Hashes in `db` with a field that has a deadline; the database exists.
    pub fn volatile_hash_count(&self, db: u16) -> u64 {
        self.table(db).volatile.len() as u64
    }

    /// What the entries take, to be read without the lock.
    pub fn used(&self) -> &UsedBytes {
        &self.used
    }

    /// What the entries of a database take has changed.
    fn account(&mut self, db: u16, added: u64, removed: u64) {
        let table = &mut self.tables[usize::from(db)];
        table.bytes = table.bytes + added - removed;
        self.used.set(self.used.get() + added - removed);
    }

    /// The entry at `index` is used now.
    pub fn note_access(&mut self, db: u16, index: usize, rule: Option<FrequencyRule>) {
        let now_s = self.now_s;
        if let Some((_, entry)) = self.tables[usize::from(db)].map.get_index_mut(index) {
            entry.access.note(now_s, rule);
        }
    }

    /// What is known about the accesses to `key`, to be set.
    pub fn access_mut(&mut self, db: u16, key: &[u8]) -> Option<&mut Access> {
        Some(&mut self.tables[usize::from(db)].map.get_mut(key)?.access)
    }

    /// Tells subscribers what happened to `key`, if they want to know: see [`super::events`].
    pub fn notify(&self, db: u16, class: EventClass, name: &'static str, key: &[u8]) {
        self.events.notify(db, class, name, key);
    }

    pub fn version(&self) -> u64 {
        self.version
    }

    pub fn table(&self, db: u16) -> &Table {
        &self.tables[usize::from(db)]
    }

    pub fn tables(&self) -> &[Table] {
        &self.tables
    }

    /// The key of a hash that has a due field, or may have one: see [`DeadlineIndex::first_due`].
    pub fn first_due_hash(&mut self, db: u16, now_ms: u64, steps: &mut usize) -> Option<Bytes> {
        let (_, key) = self.tables[usize::from(db)].volatile.first_due(now_ms, steps)?;
        Some(key.clone())
    }

    /// Moves the hash under `key`, which still has due fields, behind the others of its database that have
    /// some.
    pub fn defer_hash(&mut self, db: u16, key: &[u8]) {
        let table = &mut self.tables[usize::from(db)];
        let Some(entry) = table.map.get(key) else { return };
        if let (Some(slot), Some(earliest_ms)) = (entry.volatile, earliest_ms(&entry.value)) {
            table.volatile.set(slot, earliest_ms);
        }
    }

    pub fn get(&self, db: u16, key: &[u8]) -> Option<&Entry> {
        self.table(db).map.get(key)
    }

    /// Creates or overwrites `key`; of a key that comes into being, subscribers are told. The key is copied:
    /// a stored key must not pin the buffer that a client's command came in.
    pub fn insert(&mut self, db: u16, key: &[u8], value: Value, deadline_ms: Option<u64>) {
        self.version += 1;
        let access = Access::new(self.now_s);
        let mut entry = Entry { value, deadline_ms, version: self.version, access, volatile: None };
        let mut removed = 0;
        let added;
        let table = &mut self.tables[usize::from(db)];
        if let Some((index, stored, old)) = table.map.get_full_mut(key) {
            for snapshot in &mut self.snapshots {
                snapshot.before_change(db, index, stored, old);
            }
            removed = old.bytes(key.len());
            // A lookup has come before, so the time is right; and the key is used as often as it was.
            entry.access = old.access.rewritten();
            entry.volatile = old.volatile;
            track(&mut table.volatile, stored, &mut entry, earliest_ms(&old.value));
            added = entry.bytes(key.len());
            let old_ms = std::mem::replace(old, entry).deadline_ms;
            table.reindex(key, old_ms, deadline_ms);
        } else {
            let stored = Bytes::copy_from_slice(key);
            table.reindex(key, None, deadline_ms);
            track(&mut table.volatile, &stored, &mut entry, None);
            added = entry.bytes(key.len());
            table.map.insert(stored, entry);
            self.events.notify(db, EventClass::New, "new", key);
        }
        self.account(db, added, removed);
        self.watchers.touch(db, key, true);
        self.waiters.note(db, key);
    }

    /// Changes the value of `key` in place; `None` if there is no such key.
    ///
    /// Contents that a snapshot shares are copied by `change` itself (`Arc::make_mut`).
    pub fn update<R>(&mut self, db: u16, key: &[u8], change: impl FnOnce(&mut Value) -> R) -> Option<R> {
        self.update_if(db, key, |value| (change(value), true))
    }

    /// [`update`](Self::update) by what says whether it changed anything; if not, watchers are not told.
    pub fn update_if<R>(
        &mut self,
        db: u16,
        key: &[u8],
        change: impl FnOnce(&mut Value) -> (R, bool),
    ) -> Option<R> {
        let table = &mut self.tables[usize::from(db)];
        let (index, stored, entry) = table.map.get_full_mut(key)?;
        for snapshot in &mut self.snapshots {
            snapshot.before_change(db, index, stored, entry);
        }
        self.version += 1;
        entry.version = self.version;
        let removed = entry.bytes(key.len());
        let before_ms = earliest_ms(&entry.value);
        let (result, changed) = change(&mut entry.value);
        track(&mut table.volatile, stored, entry, before_ms);
        let added = entry.bytes(key.len());
        self.account(db, added, removed);
        if changed {
            self.watchers.touch(db, key, true);
        }
        Some(result)
    }

    /// Sets or removes the deadline of `key`; returns whether the key exists.
    pub fn set_deadline(&mut self, db: u16, key: &[u8], deadline_ms: Option<u64>) -> bool {
        let table = &mut self.tables[usize::from(db)];
        let Some((index, stored, entry)) = table.map.get_full_mut(key) else { return false };
        for snapshot in &mut self.snapshots {
            snapshot.before_change(db, index, stored, entry);
        }
        self.version += 1;
        entry.version = self.version;
        let removed = entry.bytes(key.len());
        let old_ms = std::mem::replace(&mut entry.deadline_ms, deadline_ms);
        let added = entry.bytes(key.len());
        table.reindex(key, old_ms, deadline_ms);
        self.account(db, added, removed);
        self.watchers.touch(db, key, true);
        true
    }

    /// Removes `key` and returns what was stored under it.
    pub fn remove(&mut self, db: u16, key: &[u8]) -> Option<(Bytes, Entry)> {
        let table = &mut self.tables[usize::from(db)];
        let (index, stored, entry) = table.map.get_full(key)?;
        for snapshot in &mut self.snapshots {
            snapshot.before_change(db, index, stored, entry);
        }
        let last = table.map.len() - 1;
        let moves_past_a_walk = self.snapshots.iter().any(|snapshot| snapshot.passes(db, last, index));
        if moves_past_a_walk && let Some((moved, entry)) = table.map.get_index_mut(last) {
            // A walk that has visited this entry would meet it again at its new index. Modified
            // entries are skipped, so the move counts as a modification; a walk that has not
            // visited it keeps the pre-image, as before any modification.
            for snapshot in &mut self.snapshots {
                snapshot.before_change(db, last, moved, entry);
            }
            self.version += 1;
            entry.version = self.version;
        }
        let (stored, mut entry) = table.map.swap_remove_index(index)?;
        if table.map.capacity() > SHRINK_MIN_ENTRIES && table.map.len() < table.map.capacity() / 8 {
            // The order stays as it is: walks and cursors are not concerned.
            table.map.shrink_to(table.map.len() * 2);
        }
        table.reindex(key, entry.deadline_ms, None);
        let removed = entry.bytes(key.len());
        if let Some(slot) = entry.volatile.take() {
            table.volatile.remove(slot);
        }
        self.account(db, 0, removed);
        self.watchers.touch(db, key, false);
        Some((stored, entry))
    }

    /// Empties a database and returns its table, to be dropped after the lock is released; `None` if
    /// there was nothing in it.
    pub fn flush(&mut self, db: u16) -> Option<FlushedTable> {
        let table = &mut self.tables[usize::from(db)];
        if table.map.is_empty() {
            return None;
        }
        let table = Arc::new(std::mem::take(table));
        self.used.set(self.used.get() - table.bytes);
        self.watchers.touch_flushed(db, |key| table.map.contains_key(key));
        for snapshot in &mut self.snapshots {
            snapshot.flushed(db, &table);
        }
        Some(table)
    }

    /// Takes the tables of `new`, a shard of the same databases that nobody else sees, and leaves its own
    /// there, empty. Returns those that had keys, to be dropped after the lock is released. Watchers, those who
    /// wait and snapshots are told; subscribers are not.
    pub fn replace(&mut self, new: &mut Shard, now_ms: u64) -> Vec<FlushedTable> {
        // Entries keep their versions: none may be higher than the counter, by which the next cut goes.
        self.version = self.version.max(new.version);
        self.used.set(new.used.get());
        let mut replaced = Vec::new();
        for (db, new) in (0..).zip(&mut new.tables) {
            let index = usize::from(db);
            let old = Arc::new(std::mem::replace(&mut self.tables[index], std::mem::take(new)));
            // An empty one too: a walk that has come to none of its entries must not go on in the new table.
            for snapshot in &mut self.snapshots {
                snapshot.flushed(db, &old);
            }
            let find = |table: &Table, key: &[u8]| Some(table.map.get(key)?.is_expired(now_ms));
            let table = &self.tables[index];
            self.watchers.touch_replaced(db, |key| find(&old, key), |key| find(table, key));
            if !old.map.is_empty() {
                replaced.push(old);
            }
        }
        new.used.set(0);
        let Shard { tables, waiters, .. } = self;
        let databases = 0..u16::try_from(tables.len()).unwrap_or(u16::MAX);
        waiters.note_replaced(databases, |db, key| tables[usize::from(db)].map.contains_key(key));
        replaced
    }

    /// Exchanges the contents of two databases.
    pub fn swap(&mut self, a: u16, b: u16, now_ms: u64) {
        if a == b {
            return;
        }
        self.tables.swap(usize::from(a), usize::from(b));
        for snapshot in &mut self.snapshots {
            snapshot.swapped(a, b);
        }
        let Shard { tables, watchers, waiters, .. } = self;
        waiters.note_replaced([a, b], |db, key| tables[usize::from(db)].map.contains_key(key));
        for (db, before) in [(a, b), (b, a)] {
            let find = |db: u16, key: &[u8]| {
                let entry = tables[usize::from(db)].map.get(key)?;
                Some(entry.is_expired(now_ms))
            };
            watchers.touch_replaced(db, |key| find(before, key), |key| find(db, key));
        }
    }
}

/// A table that a flush took out of its shard; snapshots may still be walking it.
pub(super) type FlushedTable = Arc<Table>;
