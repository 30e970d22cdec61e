//! Other contents for a keyspace, put in its place in one step.
//!
//! # Promise
//!
//! A [`Draft`] is filled while the keyspace goes on as it is; nobody sees it. [`Draft::put_in_place`] exchanges
//! all contents while every lock is held, for a moment that does not depend on the number of keys:
//!
//! * no unit sees something of both;
//! * a [`Snapshot`](super::Snapshot) that is being read goes on with the contents of its cut;
//! * who watches a key that existed, or exists now, is told ([`watch`](super::watch)); who waits for a key
//!   that is there now is served ([`blocking`](super::blocking));
//! * nothing is propagated and no event is told: whoever puts other contents in place continues another
//!   stream, and says so while the locks are held.
//!
//! What is given up, the old contents or a draft that was dropped, is freed by a thread of its own if it is
//! large.
//!
//! # How
//!
//! A draft has the shards of its keyspace, and its keys have their places by the same hash: so an exchange is
//! one of tables. Entries keep the versions that they got in the draft; the shard goes on from the higher of
//! both counters, so that they are owed to every later snapshot. Earlier ones walk on in the tables which they
//! are handed.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use super::blocking::Waiters;
use super::dump::value_of;
use super::events::Events;
use super::memory::seconds;
use super::shard::Shard;
use super::unit::{Unit, free};
use super::{ExpiryPolicy, Keyspace};
use crate::rdb::{Entry, Value};
use crate::rewrite::Effects;

/// Why a key is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DraftError {
    /// The keyspace has no such database.
    #[error("database {db} does not exist, there are {databases}")]
    Database {
        /// The database.
        db: u16,
        /// How many there are.
        databases: u16,
    },
    /// The key is there already.
    #[error("the key comes twice")]
    DuplicateKey,
    /// The value names a member or a field twice, or has no elements.
    #[error("the value is one that no server has: empty, or with a repeated member or field")]
    Value,
}

/// Contents that are to become those of a keyspace: see the [module](self).
pub struct Draft {
    keyspace: Arc<Keyspace>,
    shards: Box<[Shard]>,
    keys: u64,
}

impl fmt::Debug for Draft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Draft").field("keys", &self.keys).finish_non_exhaustive()
    }
}

impl Keyspace {
    /// Begins other contents for this keyspace.
    pub fn draft(self: &Arc<Self>) -> Draft {
        let events = Arc::new(Events::new(None));
        let shard = |_| {
            let waiters = Waiters::new(Arc::clone(&self.waiting));
            Shard::new(self.options.databases, Arc::clone(&events), waiters)
        };
        Draft { keyspace: Arc::clone(self), shards: (0..self.options.shards).map(shard).collect(), keys: 0 }
    }

    /// Removes everything from all databases in one step, and propagates nothing: an empty [`Draft`] is put
    /// in place. `settled` is called while every lock is held.
    pub fn clear(self: &Arc<Self>, now_ms: u64, settled: &mut dyn FnMut()) {
        // Where nothing is, nobody is served: the policy and what is published do not matter.
        self.draft().put_in_place(ExpiryPolicy::Hide, now_ms, &mut |_| {}, settled);
    }
}

impl Draft {
    /// Adds a key as a snapshot has it. Its deadline is not judged.
    ///
    /// # Errors
    /// [`DraftError`]; the draft is as it was, but for a key that was there before: its value may be that of
    /// either.
    pub fn insert(&mut self, db: u16, entry: Entry<Value>, now_ms: u64) -> Result<(), DraftError> {
        let databases = self.keyspace.options.databases;
        if db >= databases {
            return Err(DraftError::Database { db, databases });
        }
        let Entry { key, value, deadline_ms, idle_s, frequency } = entry;
        let value = value_of(value).map_err(|_| DraftError::Value)?;
        let now_s = seconds(now_ms);
        let shard = &mut self.shards[self.keyspace.shard_of(&key)];
        let (before, _) = shard.key_count(db);
        shard.now_s = now_s;
        shard.insert(db, &key, value, deadline_ms);
        if shard.key_count(db).0 == before {
            return Err(DraftError::DuplicateKey);
        }
        self.keys += 1;
        if (idle_s.is_some() || frequency.is_some())
            && let Some(access) = shard.access_mut(db, &key)
        {
            if let Some(idle_s) = idle_s {
                access.set_idle_s(now_s, idle_s);
            }
            if let Some(frequency) = frequency {
                access.set_frequency(now_s, frequency);
            }
        }
        Ok(())
    }

    /// How many keys it has.
    pub fn len(&self) -> u64 {
        self.keys
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.keys == 0
    }

    /// About how many bytes its keys and values take: see [`memory`](super::memory).
    pub fn used_bytes(&self) -> u64 {
        self.shards.iter().map(|shard| shard.used().get()).sum()
    }

    /// The first bytes of a key, as an error shows them.
    pub(crate) fn shown_key(key: &Bytes) -> String {
        const SHOWN_KEY_BYTES: usize = 64;
        let shown = &key[..key.len().min(SHOWN_KEY_BYTES)];
        let rest = if shown.len() < key.len() { "…" } else { "" };
        format!("{}{rest}", shown.escape_ascii())
    }

    /// Makes it the contents of its keyspace. `settled` is called once while every lock is held: what it
    /// changes (the stream that is continued, the role) changes together with the data for every unit.
    ///
    /// Under [`ExpiryPolicy::Reclaim`], as on a primary, those who wait for what is there now are served
    /// after that, under the same locks, and what that publishes comes to `publish`. A replica serves nobody.
    pub fn put_in_place(
        mut self,
        policy: ExpiryPolicy,
        now_ms: u64,
        publish: &mut dyn FnMut(&Effects<'_>),
        settled: &mut dyn FnMut(),
    ) {
        let keyspace = Arc::clone(&self.keyspace);
        let all = (0..keyspace.options.shards).collect();
        let mut unit = Unit::lock(&keyspace, policy, now_ms, all);
        let mut replaced = Vec::new();
        for (shard, new) in unit.shards().zip(&mut self.shards) {
            replaced.extend(shard.replace(new, now_ms));
        }
        replaced.into_iter().for_each(|table| unit.discard(table));
        unit.finish(publish, Some(settled));
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        let keys: u64 = self.shards.iter().flat_map(Shard::tables).map(|table| table.map.len() as u64).sum();
        free(usize::try_from(keys).unwrap_or(usize::MAX), std::mem::take(&mut self.shards));
    }
}
