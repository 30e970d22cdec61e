//! A consistent copy of the whole keyspace while it keeps changing, without a fork.
//!
//! # Promise
//!
//! [`Keyspace::cut`](super::Keyspace::cut) holds all locks for a moment that does not depend on the
//! number of keys. The [`Snapshot`] it returns then yields every key that existed at the cut exactly
//! once, with the value and deadline of the cut, while commands go on. No lock hold of the snapshot
//! visits more than [`BATCH_KEYS`] keys.
//!
//! # Algorithm
//!
//! Per shard and database the snapshot has a *walk*: an index `next`, at first the length of the
//! table, that goes down to 0. Every modification gives its entry a new *version* from the shard's
//! counter; the snapshot remembers the counter at the cut. An entry is **owed** if its version is at
//! most the cut's and its index is below `next`.
//!
//! * The walk visits index `next - 1`, yields the entry there if it is owed, passes over it otherwise
//!   (or if the table has shrunk and there is none), and decrements `next`.
//! * Before an owed entry is modified or removed, its pre-image is queued for the snapshot. A
//!   pre-image is O(1): values are shared, not copied. The modification raises the version (or takes
//!   the entry away), so the walk does not yield it again.
//! * A removal moves the table's last entry to a lower index. If it was at or above `next` and lands
//!   below, it has been dealt with and must not be owed again: the move raises its version. For other
//!   snapshots that still owe it, that is a modification like any other.
//! * New entries have versions above the cut's, and so are never owed.
//! * A flush hands the whole old table to the snapshot, whose walk goes on in it, without locks.
//! * Swapping two databases exchanges their walks; a walk remembers the number its database had at the cut.
//!
//! **Why exactly once.** At the cut every entry is owed and none has been yielded or queued. Each
//! step above that takes an entry out of the owed yields or queues it once, none makes an entry owed
//! that was not, and when `next` is 0 none is owed.
//!
//! # Cost
//!
//! The queue of pre-images grows with the keys that are modified before the walk has come to them; it
//! holds references, so its memory is that of the values which the keyspace has meanwhile replaced.
//! A hash that is modified while a snapshot shares it is copied once, whole, at that moment. Dropping
//! the snapshot gives everything back.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use super::Keyspace;
use super::shard::{Entry, FlushedTable, Shard, Table};
use super::value::Value;

/// The most keys that a snapshot visits while it holds a shard's lock.
pub const BATCH_KEYS: usize = 256;

/// One key as of the cut.
#[derive(Clone, Debug, PartialEq)]
pub struct SnapshotEntry {
    /// The database.
    pub db: u16,
    /// The key.
    pub key: Bytes,
    /// Its value, shared with the keyspace.
    pub value: Value,
    /// When it expires, in milliseconds since the Unix epoch.
    pub deadline_ms: Option<u64>,
}

/// A snapshot's part in one shard.
#[derive(Debug)]
pub(super) struct ShardSnapshot {
    id: u64,
    /// The shard's version at the cut.
    cut_version: u64,
    /// By the database's present number.
    walks: Vec<Walk>,
}

#[derive(Debug)]
struct Walk {
    /// The database's number at the cut.
    db: u16,
    /// Entries below this index are still to be visited.
    next: usize,
    pre_images: VecDeque<SnapshotEntry>,
    /// The table as it was when it was flushed.
    flushed: Option<FlushedTable>,
}

impl Walk {
    fn owes(&self, cut_version: u64, index: usize, entry: &Entry) -> bool {
        index < self.next && entry.version <= cut_version
    }

    /// Visits at most `budget` entries of `table`.
    fn visit(&mut self, cut_version: u64, table: &Table, budget: usize, out: &mut Vec<SnapshotEntry>) {
        for _ in 0..budget.min(self.next) {
            let index = self.next - 1;
            if let Some((key, entry)) = table.map.get_index(index)
                && self.owes(cut_version, index, entry)
            {
                out.push(image(self.db, key, entry));
            }
            self.next = index;
        }
    }
}

fn image(db: u16, key: &Bytes, entry: &Entry) -> SnapshotEntry {
    SnapshotEntry { db, key: key.clone(), value: entry.value.clone(), deadline_ms: entry.deadline_ms }
}

impl ShardSnapshot {
    fn new(id: u64, shard: &Shard) -> ShardSnapshot {
        let walk = |(db, table): (u16, &Table)| Walk {
            db,
            next: table.map.len(),
            pre_images: VecDeque::new(),
            flushed: None,
        };
        let walks = (0..).zip(shard.tables()).map(walk).collect();
        ShardSnapshot { id, cut_version: shard.version(), walks }
    }

    /// An entry is about to be modified or removed.
    pub fn before_change(&mut self, db: u16, index: usize, key: &Bytes, entry: &Entry) {
        let walk = &mut self.walks[usize::from(db)];
        if walk.flushed.is_none() && walk.owes(self.cut_version, index, entry) {
            walk.pre_images.push_back(image(walk.db, key, entry));
        }
    }

    /// Whether an entry that moves from index `from` to `to` would be visited a second time.
    pub fn passes(&self, db: u16, from: usize, to: usize) -> bool {
        let walk = &self.walks[usize::from(db)];
        walk.flushed.is_none() && from >= walk.next && to < walk.next
    }

    /// The table was taken out of the shard.
    pub fn flushed(&mut self, db: u16, table: &FlushedTable) {
        let walk = &mut self.walks[usize::from(db)];
        if walk.flushed.is_none() && walk.next > 0 {
            walk.flushed = Some(Arc::clone(table));
        }
    }

    /// Two databases have exchanged their tables.
    pub fn swapped(&mut self, a: u16, b: u16) {
        self.walks.swap(usize::from(a), usize::from(b));
    }

    fn walk_of(&mut self, db: u16) -> Option<(u16, &mut Walk)> {
        (0..).zip(&mut self.walks).find(|(_, walk)| walk.db == db)
    }
}

/// Iterates the keyspace as of a cut. Dropping it releases its pre-images.
#[derive(Debug)]
pub struct Snapshot {
    keyspace: Arc<Keyspace>,
    id: u64,
    /// `(database, shard)` pairs that had keys at the cut, the next one last.
    pending: Vec<(u16, usize)>,
    /// Keys and keys with a deadline, by database.
    sizes: Vec<(u64, u64)>,
    /// A flushed table that is being walked without a lock.
    flushed: Option<(u64, Walk)>,
}

impl Snapshot {
    /// Registers a snapshot; `shards` are all shards, locked.
    pub(super) fn register<'a>(
        keyspace: Arc<Keyspace>,
        id: u64,
        shards: impl Iterator<Item = &'a mut Shard>,
    ) -> Snapshot {
        let databases = keyspace.options().databases;
        let mut sizes = vec![(0, 0); usize::from(databases)];
        let mut pending = Vec::new();
        for (number, shard) in shards.enumerate() {
            for (db, table) in (0..databases).zip(shard.tables()) {
                if !table.map.is_empty() {
                    pending.push((db, number));
                }
                let (keys, with_deadline) = &mut sizes[usize::from(db)];
                *keys += table.map.len() as u64;
                *with_deadline += table.deadlines.len() as u64;
            }
            let part = ShardSnapshot::new(id, shard);
            shard.snapshots.push(part);
        }
        pending.sort_unstable_by(|a, b| b.cmp(a));
        Snapshot { keyspace, id, pending, sizes, flushed: None }
    }

    /// Keys, and keys with a deadline, of every database that had keys at the cut:
    /// `(db, keys, with_deadline)`.
    pub fn db_sizes(&self) -> Vec<(u16, u64, u64)> {
        let sizes = (0..).zip(&self.sizes).map(|(db, &(keys, with_deadline))| (db, keys, with_deadline));
        sizes.filter(|&(_, keys, _)| keys > 0).collect()
    }

    /// The next keys, at least one, databases ascending; `None` when all have been yielded.
    pub fn next_batch(&mut self) -> Option<Vec<SnapshotEntry>> {
        self.next_limited(BATCH_KEYS)
    }

    /// [`next_batch`](Self::next_batch) with another limit.
    pub(super) fn next_limited(&mut self, limit: usize) -> Option<Vec<SnapshotEntry>> {
        let mut batch = Vec::new();
        while batch.is_empty() {
            let &(db, number) = self.pending.last()?;
            let done = match &mut self.flushed {
                Some((cut_version, walk)) => Self::visit_flushed(*cut_version, walk, limit, &mut batch),
                None => self.visit_shard(db, number, limit, &mut batch),
            };
            if done {
                self.flushed = None;
                self.pending.pop();
            }
        }
        Some(batch)
    }

    /// Yields from one database of one shard under its lock; returns whether nothing is left there.
    fn visit_shard(&mut self, db: u16, number: usize, limit: usize, batch: &mut Vec<SnapshotEntry>) -> bool {
        let mut shard = self.keyspace.lock_shard(number);
        let shard = &mut *shard;
        let Some(position) = shard.snapshots.iter().position(|part| part.id == self.id) else { return true };
        let mut part = shard.snapshots.swap_remove(position);
        let cut_version = part.cut_version;
        let Some((present_db, walk)) = part.walk_of(db) else {
            shard.snapshots.push(part);
            return true;
        };
        let queued = walk.pre_images.len().min(limit);
        batch.extend(walk.pre_images.drain(..queued));
        let mut done = false;
        if walk.flushed.is_some() {
            // From here on nobody else changes this walk: take it along.
            let taken = Walk {
                db,
                next: std::mem::take(&mut walk.next),
                pre_images: std::mem::take(&mut walk.pre_images),
                flushed: walk.flushed.take(),
            };
            self.flushed = Some((cut_version, taken));
        } else {
            walk.visit(cut_version, shard.table(present_db), limit - queued, batch);
            done = walk.next == 0 && walk.pre_images.is_empty();
        }
        shard.snapshots.push(part);
        done
    }

    /// Yields from a flushed table, without a lock; returns whether nothing is left there.
    fn visit_flushed(
        cut_version: u64,
        walk: &mut Walk,
        limit: usize,
        batch: &mut Vec<SnapshotEntry>,
    ) -> bool {
        let queued = walk.pre_images.len().min(limit);
        batch.extend(walk.pre_images.drain(..queued));
        if let Some(table) = walk.flushed.clone() {
            walk.visit(cut_version, &table, limit - queued, batch);
        }
        walk.next == 0 && walk.pre_images.is_empty()
    }
}

impl Iterator for Snapshot {
    type Item = Vec<SnapshotEntry>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_batch()
    }
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        for number in 0..self.keyspace.options().shards {
            let mut shard = self.keyspace.lock_shard(number);
            let position = shard.snapshots.iter().position(|part| part.id == self.id);
            let part = position.map(|position| shard.snapshots.swap_remove(position));
            drop(shard);
            // Its pre-images are freed without the lock.
            drop(part);
        }
    }
}
