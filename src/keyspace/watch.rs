//! `WATCH`: which keys a connection wants to see unmodified until its `EXEC`.
//!
//! Each shard keeps a registry from a watched key to the connections that watch it. A modification
//! of the key marks them; `EXEC` looks at its mark while it holds the locks of every watched key, so
//! no modification can slip between the look and the execution.
//!
//! Valkey's rules for keys with a deadline: a key that was alive at `WATCH` and whose deadline has
//! passed at `EXEC` counts as modified, deleted or not. A key that had already expired at `WATCH` is
//! as good as absent: its deletion changes nothing, writing to it does.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use bytes::Bytes;

use super::Hasher;

/// What one connection watches. The connection keeps it between commands and passes it to
/// [`Keyspace::watch`](super::Keyspace::watch), [`execute_watched`](super::Keyspace::execute_watched)
/// and [`unwatch`](super::Keyspace::unwatch). One that is dropped without `unwatch` stops counting at
/// once; its places in the registries are cleared when their keys are next modified or watched.
#[derive(Debug, Default)]
pub struct WatchSet {
    touched: Arc<AtomicBool>,
    pub(super) keys: Vec<WatchedKey>,
    /// The same keys, to be found: a search through the list would make many keys quadratic.
    index: HashSet<(u16, Bytes), Hasher>,
}

#[derive(Debug)]
pub(super) struct WatchedKey {
    pub db: u16,
    pub key: Bytes,
    pub was_expired: WasExpired,
}

/// What is known about a watched key, shared by the connection and the registry; both look at it under the
/// lock of the key's shard.
#[derive(Clone, Debug)]
pub(super) struct WasExpired(Arc<AtomicBool>);

impl WasExpired {
    pub fn new(was_expired: bool) -> WasExpired {
        WasExpired(Arc::new(AtomicBool::new(was_expired)))
    }

    /// Whether the key is there, expired, and has been so, or absent, since it was watched.
    pub fn get(&self) -> bool {
        // Relaxed, here and below: the lock orders.
        self.0.load(Ordering::Relaxed)
    }

    fn set(&self, was_expired: bool) {
        self.0.store(was_expired, Ordering::Relaxed);
    }
}

impl WatchSet {
    /// A set that watches nothing.
    pub fn new() -> Self {
        WatchSet::default()
    }

    /// Whether nothing is watched.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// How many keys are watched.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether a watched key has been modified so far. Final only under the locks of the keys,
    /// which is where `execute_watched` asks.
    pub fn is_touched(&self) -> bool {
        // Relaxed: marks are set under the key's shard lock, and the deciding look happens under
        // the same lock, which orders them.
        self.touched.load(Ordering::Relaxed)
    }

    /// Notes a key to be watched; false if it is already.
    pub(super) fn note(&mut self, db: u16, key: &Bytes) -> bool {
        self.index.insert((db, key.clone()))
    }

    pub(super) fn watcher(&self, db: u16, was_expired: WasExpired) -> Watcher {
        Watcher { db, touched: Arc::downgrade(&self.touched), was_expired }
    }

    pub(super) fn clear(&mut self) {
        *self = WatchSet::default();
    }
}

/// A connection's place in a registry.
#[derive(Debug)]
pub(super) struct Watcher {
    db: u16,
    touched: Weak<AtomicBool>,
    was_expired: WasExpired,
}

impl Watcher {
    fn mark(&self) {
        if let Some(touched) = self.touched.upgrade() {
            // Relaxed: see `WatchSet::is_touched`.
            touched.store(true, Ordering::Relaxed);
        }
    }

    /// The key was modified and exists afterwards or not; returns whether to go on watching.
    fn see(&mut self, exists: bool) -> bool {
        if self.was_expired.get() && !exists {
            // Absent before, absent now; but from here on it can come into being.
            self.was_expired.set(false);
            return true;
        }
        self.mark();
        false
    }
}

/// The watched keys of one shard, in whatever database.
#[derive(Debug, Default)]
pub(super) struct Registry {
    keys: HashMap<Bytes, Vec<Watcher>, Hasher>,
}

impl Registry {
    pub fn add(&mut self, key: &Bytes, watcher: Watcher) {
        let watchers = self.keys.entry(key.clone()).or_default();
        watchers.retain(|watcher| watcher.touched.strong_count() > 0);
        watchers.push(watcher);
    }

    /// Forgets a connection's watch of `key`.
    pub fn remove(&mut self, db: u16, key: &[u8], set: &WatchSet) {
        let set = Arc::as_ptr(&set.touched);
        self.retain(key, |watcher| watcher.db != db || watcher.touched.as_ptr() != set);
    }

    /// A key was modified; `exists` tells whether it is there afterwards.
    pub fn touch(&mut self, db: u16, key: &[u8], exists: bool) {
        if !self.keys.is_empty() {
            self.retain(key, |watcher| watcher.db != db || watcher.see(exists));
        }
    }

    fn retain(&mut self, key: &[u8], mut stays: impl FnMut(&mut Watcher) -> bool) {
        let Some(watchers) = self.keys.get_mut(key) else { return };
        watchers.retain_mut(|watcher| watcher.touched.strong_count() > 0 && stays(watcher));
        if watchers.is_empty() {
            self.keys.remove(key);
        }
    }

    /// A database was emptied; `existed` tells whether a key was in it.
    pub fn touch_flushed(&mut self, db: u16, existed: impl Fn(&[u8]) -> bool) {
        self.keys.retain(|key, watchers| {
            if existed(key) {
                watchers.retain_mut(|watcher| watcher.db != db || watcher.see(false));
            }
            !watchers.is_empty()
        });
    }

    /// A database got other contents; `before` and `after` tell whether a key is there (`Some`) and
    /// has expired. An expired key is as good as absent.
    pub fn touch_replaced(
        &mut self,
        db: u16,
        before: impl Fn(&[u8]) -> Option<bool>,
        after: impl Fn(&[u8]) -> Option<bool>,
    ) {
        self.keys.retain(|key, watchers| {
            let (before, after) = (before(key), after(key));
            if before.is_none() && after.is_none() {
                return true;
            }
            watchers.retain_mut(|watcher| {
                let was_absent = before.is_none() || watcher.was_expired.get();
                if watcher.db == db && was_absent && after != Some(false) {
                    watcher.was_expired.set(after.is_some());
                    return true;
                }
                watcher.db != db || watcher.see(true)
            });
            !watchers.is_empty()
        });
    }
}
