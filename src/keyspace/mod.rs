//! The embedded store: a sharded keyspace that says what it did.
//!
//! # Promise
//!
//! * A *unit* (one command, or all commands of an `EXEC`) is atomic and isolated: no other unit sees
//!   half of it.
//! * What a unit propagates is published **while the locks of its keys are held**. So for every key
//!   the order in the replication stream is the order of execution, although units on different
//!   shards run and publish at the same time.
//! * A [`Snapshot`] is the whole keyspace at one point of the stream, taken without a fork and
//!   without stopping the world for longer than it takes to visit every shard once.
//! * Nothing here reads the clock to decide what a command does: `now_ms` is a parameter and is
//!   frozen for a whole unit.
//!
//! # Structure
//!
//! | file | subject |
//! |---|---|
//! | `shard` | tables of one shard; the only place that changes them |
//! | `unit` | locks, expiry on access, effects of one unit |
//! | [`command`] | what a command is; each family's file has its own table |
//! | [`batch`] | a transaction in one pass, with other things between its commands |
//! | [`blocking`] | commands that wait for a key |
//! | [`events`] | keyspace events, messages |
//! | `value` | what a key holds, one file per type |
//! | [`memory`], `eviction` | what the data takes, how much may stay, and what goes |
//! | `strings`, `bits`, `lcs`, `counters`, `dump`, `generic`, `expire`, `hashes`, `hash_expiry`, `lists`, `sets`, `zsets`, `zstores`, `sort`, `object`, `pubsub`, `scan` | the commands |
//! | `expiry_cycle` | reclaiming keys and fields that nobody asks for |
//! | [`snapshot`] | copy-on-write snapshots |
//! | [`draft`] | other contents, put in place in one step |
//! | [`watch`] | optimistic locking |
//! | `glob`, `number`, `long_double` | Valkey's patterns and numbers |
//!
//! # Locking
//!
//! A key belongs to the shard that its hash names, whatever its database, so a command that moves a
//! key between databases needs one lock. A unit locks the shards of all its keys in ascending order,
//! a command on the whole keyspace locks all: no cycle of waiting can form. `SCAN` on its own takes
//! one shard at a time. No lock is held across an `.await`; nothing under a lock blocks.
//!
//! A unit that makes something for which somebody [waits](blocking) also locks the shards of those whom
//! it will serve.
//!
//! # Publishing
//!
//! `publish` cannot fail as far as the keyspace is concerned: the change has been made, and readers
//! on the same shard will see it as soon as the lock is released. A primary must never keep a change
//! that is not in its stream, so **a server whose append fails** (fenced by a newer term, a frame
//! beyond the buffer's limit) **has to break with its history**: remember the failure inside
//! `publish`, answer an error instead of the replies, and either stop being a primary or begin a new
//! replication ID, so that every replica comes back for a full copy.
//! [`rewrite::frame::max_len`](crate::rewrite::frame::max_len) bounds a frame before it is written.
//!
//! # Expiry
//!
//! A key whose deadline has passed is absent for every reader. On a primary the first access deletes
//! it and propagates the deletion ahead of the command's own effect; [`Keyspace::expire_cycle`]
//! reclaims those that nobody asks for, and the fields of hashes whose deadlines have passed. See
//! [`ExpiryPolicy`] for the other roles: a keyspace in a replica's role runs no cycle. Once it is promoted,
//! the first cycles find everything that became due before, also what came with a deadline in the past.

pub mod batch;
mod bits;
pub mod blocking;
pub mod command;
mod counters;
pub mod draft;
mod dump;
mod error;
pub mod events;
mod eviction;
mod expire;
mod expiry_cycle;
mod generic;
pub(crate) mod glob;
mod hash_expiry;
mod hashes;
mod lcs;
mod lists;
mod long_double;
pub mod memory;
mod multi_pop;
mod number;
mod object;
mod pubsub;
mod reign;
mod scan;
mod sets;
mod shard;
pub mod snapshot;
mod sort;
mod strings;
mod unit;
mod value;
pub mod watch;
mod zsets;
mod zstores;

use std::convert::Infallible;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};
use tokio::runtime::{Handle, RuntimeFlavor};

use self::batch::Reach;
use self::blocking::{Executed, Waiters};
use self::command::Plan;
pub use self::command::{CommandSpec, Flag, commands, lookup, unknown_command};
pub use self::draft::{Draft, DraftError};
pub use self::error::CommandError;
use self::events::{EventSink, Events};
use self::eviction::Evictor;
pub use self::eviction::Room;
pub use self::expiry_cycle::{EXPIRE_VISIT_STEPS, ExpireReport};
use self::memory::{Memory, MemoryLimits, UsedBytes};
pub use self::reign::Reign;
use self::shard::Shard;
pub use self::snapshot::{Snapshot, SnapshotEntry};
use self::unit::Unit;
pub use self::value::{
    HASH_COMPACT_MAX_FIELDS, HASH_COMPACT_MAX_ITEM_BYTES, Hash, LexBound, LexRange, List, ListEnd,
    SET_COMPACT_MAX_MEMBER_BYTES, SET_COMPACT_MAX_MEMBERS, SET_INTEGERS_MAX_MEMBERS, ScoreRange, Set,
    SetEncoding, Value, ZSET_COMPACT_MAX_MEMBER_BYTES, ZSET_COMPACT_MAX_MEMBERS, ZSet, ZSetEncoding,
};
pub use self::watch::WatchSet;
pub use crate::hash_ttl::ExpiryPolicy;
use crate::resp::Reply;
use crate::rewrite::{DeletionVerb, Effects, Wrap};

/// The hasher of tables: fast, and seeded per process against chosen collisions.
type Hasher = foldhash::fast::RandomState;

/// The limits and choices of a keyspace.
#[derive(Clone, Debug)]
pub struct Options {
    /// How many shards; at least 1. More shards let more commands run at once; commands on the
    /// whole keyspace lock them all.
    pub shards: usize,
    /// How many databases; at least 1. Valkey's `databases`.
    pub databases: u16,
    /// How deletions of expired keys are spelled in the stream.
    pub deletion_verb: DeletionVerb,
    /// The longest string that a command may build, in bytes. Valkey's `proto-max-bulk-len`.
    pub max_string_bytes: usize,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            shards: 64,
            databases: 16,
            deletion_verb: DeletionVerb::default(),
            max_string_bytes: 512 << 20,
        }
    }
}

/// One data command of a unit.
#[derive(Clone, Debug)]
pub struct Call {
    /// The database it runs in.
    pub db: u16,
    /// The command as the client sent it, the name first.
    pub argv: Vec<Bytes>,
}

/// Counters since the start of the process, or since they were reset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyspaceStats {
    /// Keys deleted because their deadline had passed, on access or by the cycle.
    pub expired_keys: u64,
    /// Fields of hashes reclaimed because their deadline had passed: by the cycle, by a command that
    /// overwrote them, or by one that set a deadline already past.
    pub expired_fields: u64,
    /// Keys evicted because memory was short.
    pub evicted_keys: u64,
    /// Lookups by reading commands that found their key.
    pub keyspace_hits: u64,
    /// Lookups by reading commands that did not.
    pub keyspace_misses: u64,
}

impl KeyspaceStats {
    fn plus(self, other: Self) -> Self {
        KeyspaceStats {
            expired_keys: self.expired_keys + other.expired_keys,
            expired_fields: self.expired_fields + other.expired_fields,
            evicted_keys: self.evicted_keys + other.evicted_keys,
            keyspace_hits: self.keyspace_hits + other.keyspace_hits,
            keyspace_misses: self.keyspace_misses + other.keyspace_misses,
        }
    }
}

/// A sharded keyspace. Share it as `Arc<Keyspace>`.
#[derive(Debug)]
pub struct Keyspace {
    options: Options,
    shards: Box<[Mutex<Shard>]>,
    /// Places keys in shards; independent of the tables' hashers, so that the keys of a shard are
    /// spread evenly in its tables.
    placement: foldhash::quality::RandomState,
    next_snapshot_id: AtomicU64,
    /// The shard at which the next expiry cycle starts.
    expire_from: AtomicUsize,
    events: Arc<Events>,
    memory: Memory,
    evictor: Mutex<Evictor>,
    /// What the entries of each shard take.
    used: Box<[UsedBytes]>,
    /// Numbers those who wait, in their order, and what becomes ready for them.
    waiting: Arc<AtomicU64>,
    reign: reign::SharedReign,
}

impl Keyspace {
    /// An empty keyspace. Zero shards or databases mean one.
    pub fn new(options: Options) -> Keyspace {
        Keyspace::with_events(options, None)
    }

    /// An empty keyspace that hands its [events] to `sink`, once
    /// [`set_event_classes`](Self::set_event_classes) asks for some.
    pub fn with_events(options: Options, sink: Option<Arc<dyn EventSink>>) -> Keyspace {
        let options =
            Options { shards: options.shards.max(1), databases: options.databases.max(1), ..options };
        let events = Arc::new(Events::new(sink));
        // A ticket of 0 would be before the first.
        let waiting = Arc::new(AtomicU64::new(1));
        let waiters = || Waiters::new(Arc::clone(&waiting));
        let shard = |_| Shard::new(options.databases, Arc::clone(&events), waiters());
        let shards: Vec<Shard> = (0..options.shards).map(shard).collect();
        Keyspace {
            used: shards.iter().map(|shard| shard.used().clone()).collect(),
            memory: Memory::default(),
            evictor: Mutex::default(),
            shards: shards.into_iter().map(Mutex::new).collect(),
            options,
            placement: foldhash::quality::RandomState::default(),
            next_snapshot_id: AtomicU64::new(0),
            expire_from: AtomicUsize::new(0),
            events,
            waiting,
            reign: reign::SharedReign::default(),
        }
    }

    /// From now on, events of these classes are handed to the sink: the sum of
    /// [`EventClass`](events::EventClass) values.
    pub fn set_event_classes(&self, classes: u32) {
        self.events.set_classes(classes);
    }

    /// About how many bytes the keys and values take: see [`memory`].
    pub fn used_bytes(&self) -> u64 {
        self.used.iter().map(UsedBytes::get).sum()
    }

    /// From now on the data is kept within these limits: see [`memory`].
    pub fn set_memory_limits(&self, limits: MemoryLimits) {
        // The evictor sees by itself that its candidates are those of other limits: its lock is not taken
        // here, where a transaction may hold those of shards.
        self.memory.set_limits(limits);
    }

    /// The options it was made with.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Executes one unit atomically with the clock at `now_ms` (milliseconds since the Unix epoch).
    ///
    /// There is one reply per call, in order. A call that fails answers its error and the others run
    /// all the same, as in Valkey's `EXEC`. If the unit has effects, `publish` gets them once, before
    /// any lock is released (a `SCAN` on its own: once per shard that it visits and changes).
    pub fn execute(&self, calls: &[Call], now_ms: u64, publish: &mut dyn FnMut(&Effects<'_>)) -> Vec<Reply> {
        self.execute_under(ExpiryPolicy::Reclaim, calls, now_ms, publish)
    }

    /// [`execute`](Self::execute) that calls `settled` once, after everything has been published and before
    /// any lock is released: for every key, what it records is in the order of execution. A `SCAN` on its own
    /// takes one lock after the other, and there it is called at the end.
    pub fn execute_observed(
        &self,
        calls: &[Call],
        now_ms: u64,
        publish: &mut dyn FnMut(&Effects<'_>),
        settled: &mut dyn FnMut(),
    ) -> Vec<Reply> {
        self.run_alone(ExpiryPolicy::Reclaim, calls, now_ms, publish, Some(settled))
    }

    /// [`execute`](Self::execute) under another expiry policy than a primary's.
    pub fn execute_under(
        &self,
        policy: ExpiryPolicy,
        calls: &[Call],
        now_ms: u64,
        publish: &mut dyn FnMut(&Effects<'_>),
    ) -> Vec<Reply> {
        self.run_alone(policy, calls, now_ms, publish, None)
    }

    /// [`execute_observed`](Self::execute_observed) of one command that may wait: if it finds nothing, it is
    /// not answered but enrolled, and whoever makes one of its keys serves it, unless `gone` has been set by
    /// then. See [`blocking`].
    ///
    /// In the other ways to execute, a command that would have to wait answers at once that there is nothing.
    /// What a unit publishes for those whom it served comes to its own `publish`, a unit each, after its own.
    pub fn execute_or_wait(
        self: &Arc<Self>,
        call: &Call,
        now_ms: u64,
        publish: &mut dyn FnMut(&Effects<'_>),
        settled: Option<&mut dyn FnMut()>,
        gone: &Arc<AtomicBool>,
    ) -> Executed {
        let calls = std::slice::from_ref(call);
        let mut plan = Plan::new(self, calls);
        let answers = |replies: Vec<Reply>| replies.into_iter().next().unwrap_or(Reply::Null);
        let Some(spec) = plan.only().filter(|spec| spec.may_wait()) else {
            let replies = self.run_alone(ExpiryPolicy::Reclaim, calls, now_ms, publish, settled);
            return Executed::Done(answers(replies));
        };
        let mut unit = Unit::lock_for(self, ExpiryPolicy::Reclaim, now_ms, calls, &mut plan);
        unit.may_wait = true;
        let replies = unit.run(calls, plan);
        let executed = match unit.wait.take() {
            Some(wait) => Executed::Waiting(unit.enrol(self, call, spec, &wait, gone)),
            None => Executed::Done(answers(replies)),
        };
        unit.finish(publish, settled);
        executed
    }

    /// Applies one unit of another server's stream: [`execute_observed`](Self::execute_observed) under
    /// [`ExpiryPolicy::Ignore`], whatever the [reign](Reign).
    pub fn apply(
        &self,
        calls: &[Call],
        now_ms: u64,
        publish: &mut dyn FnMut(&Effects<'_>),
        settled: &mut dyn FnMut(),
    ) -> Vec<Reply> {
        self.run_alone(ExpiryPolicy::Ignore, calls, now_ms, publish, Some(settled))
    }

    fn run_alone(
        &self,
        policy: ExpiryPolicy,
        calls: &[Call],
        now_ms: u64,
        publish: &mut dyn FnMut(&Effects<'_>),
        settled: Option<&mut dyn FnMut()>,
    ) -> Vec<Reply> {
        let mut plan = Plan::new(self, calls);
        if let [call] = calls
            && plan.sweeps()
        {
            let reply = scan::sweep(self, policy, call, now_ms, publish);
            if let Some(settled) = settled {
                settled();
            }
            return vec![reply];
        }
        let mut unit = Unit::lock_for(self, policy, now_ms, calls, &mut plan);
        if plan.deletes_unrelated_keys() {
            unit.effects.wrap = Wrap::Never;
        }
        let replies = unit.run(calls, plan);
        unit.finish(publish, settled);
        replies
    }

    /// `EXEC`: like [`execute`](Self::execute), but runs nothing and returns `None` if a watched key
    /// was modified or has expired since it was watched. It is the way for every `EXEC`, also with
    /// an empty set: a `SCAN` or `RANDOMKEY` alone in an `EXEC` is one atomic unit, on its own it is
    /// not. The set is left as it is; the caller [unwatches](Self::unwatch) after `EXEC` in either case.
    pub fn execute_watched(
        &self,
        watch: &WatchSet,
        calls: &[Call],
        now_ms: u64,
        publish: &mut dyn FnMut(&Effects<'_>),
    ) -> Option<Vec<Reply>> {
        self.execute_batch(watch, calls, Reach::Commands, now_ms, publish, |batch| {
            calls.iter().enumerate().map(|(index, call)| batch.run(index, call.db)).collect()
        })
        .ok()
    }

    /// `WATCH`: from now on a modification of one of `keys` marks `set`.
    pub fn watch(&self, set: &mut WatchSet, db: u16, keys: &[Bytes], now_ms: u64) {
        if db >= self.options.databases {
            return;
        }
        for key in keys {
            let key = Bytes::copy_from_slice(key);
            if !set.note(db, &key) {
                continue;
            }
            let mut shard = self.lock_shard(self.shard_of(&key));
            let is_expired = shard.get(db, &key).is_some_and(|entry| entry.is_expired(now_ms));
            let was_expired = watch::WasExpired::new(is_expired);
            shard.watchers.add(&key, set.watcher(db, was_expired.clone()));
            set.keys.push(watch::WatchedKey { db, key, was_expired });
        }
    }

    /// `UNWATCH`: empties `set`.
    pub fn unwatch(&self, set: &mut WatchSet) {
        for watched in &set.keys {
            self.lock_shard(self.shard_of(&watched.key)).watchers.remove(watched.db, &watched.key, set);
        }
        set.clear();
    }

    /// Takes the cut of a snapshot: locks all shards, calls `mark` once while no unit is running
    /// (it appends the marker to the stream and returns its offset), and registers a copy-on-write
    /// snapshot. Costs O(shards × databases), whatever the number of keys.
    pub fn cut<T>(self: &Arc<Self>, mark: impl FnOnce() -> T) -> (T, Snapshot) {
        let Ok(cut) = self.try_cut(|_| Ok::<T, Infallible>(mark()));
        cut
    }

    /// [`cut`](Self::cut) whose `mark` is told how many hashes have a field with a deadline, and may refuse.
    /// Then nothing is registered.
    ///
    /// # Errors
    /// `mark`'s.
    pub fn try_cut<T, E>(
        self: &Arc<Self>,
        mark: impl FnOnce(usize) -> Result<T, E>,
    ) -> Result<(T, Snapshot), E> {
        // Relaxed: only uniqueness matters.
        let id = self.next_snapshot_id.fetch_add(1, Ordering::Relaxed);
        let mut shards: Vec<_> = (0..self.options.shards).map(|number| self.lock_shard(number)).collect();
        let tables = shards.iter().flat_map(|shard| shard.tables());
        let marked = mark(tables.map(|table| table.volatile.len()).sum())?;
        let snapshot = Snapshot::register(Arc::clone(self), id, shards.iter_mut().map(|shard| &mut **shard));
        Ok((marked, snapshot))
    }

    /// Keys in `db` and how many of them have a deadline, expired ones that are still stored
    /// included. Shards are counted one after the other.
    pub fn key_count(&self, db: u16) -> (u64, u64) {
        if db >= self.options.databases {
            return (0, 0);
        }
        let counts = (0..self.options.shards).map(|number| self.lock_shard(number).key_count(db));
        counts.fold((0, 0), |(keys, volatile), (more, more_volatile)| (keys + more, volatile + more_volatile))
    }

    /// Keys that somebody waits for. Shards are counted one after the other.
    pub fn waiting_keys(&self) -> usize {
        (0..self.options.shards).map(|number| self.lock_shard(number).waiters.len()).sum()
    }

    /// Keys in `db` that are hashes with a field that has a deadline. Shards are counted one after the other.
    pub fn volatile_hash_count(&self, db: u16) -> u64 {
        if db >= self.options.databases {
            return 0;
        }
        (0..self.options.shards).map(|number| self.lock_shard(number).volatile_hash_count(db)).sum()
    }

    /// Counters since the start, or since they were [reset](Self::reset_stats).
    pub fn stats(&self) -> KeyspaceStats {
        let stats = (0..self.options.shards).map(|number| self.lock_shard(number).stats);
        stats.fold(KeyspaceStats::default(), KeyspaceStats::plus)
    }

    /// Sets all counters to zero, one shard after the other.
    pub fn reset_stats(&self) {
        for number in 0..self.options.shards {
            self.lock_shard(number).stats = KeyspaceStats::default();
        }
    }

    fn shard_of(&self, key: &[u8]) -> usize {
        let hash = u128::from(self.placement.hash_one(key));
        // Scales the hash to the number of shards; less than it, so it fits.
        ((hash * self.options.shards as u128) >> 64) as usize
    }

    fn lock_shard(&self, number: usize) -> MutexGuard<'_, Shard> {
        let shard = &self.shards[number];
        shard.try_lock_for(LOCK_PATIENCE).unwrap_or_else(|| beside_the_runtime(|| shard.lock()))
    }
}

/// Who waits longer than this for a lock leaves its thread's other tasks to another thread: a script may hold
/// the lock for as long as it likes.
const LOCK_PATIENCE: Duration = Duration::from_millis(10);

/// Runs `wait` so that the runtime's other tasks move to another thread meanwhile, where the runtime can do that.
fn beside_the_runtime<T>(wait: impl FnOnce() -> T) -> T {
    let multi_threaded =
        || Handle::try_current().is_ok_and(|it| it.runtime_flavor() == RuntimeFlavor::MultiThread);
    if multi_threaded() { tokio::task::block_in_place(wait) } else { wait() }
}

#[cfg(test)]
mod tests;
