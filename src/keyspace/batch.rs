//! A transaction's commands in one pass, with whatever its host does between them.
//!
//! # Promise
//!
//! The data commands of a [`Batch`] are one unit: the locks of all of them are held from before the look at
//! the watched keys until their effects are published. The host runs them [one by one](Batch::run), in its
//! own order, and may do other things between two of them; nothing of another unit comes between.
//!
//! # What the host may do meanwhile
//!
//! Everything that takes no lock of the keyspace. What does is in [`Overview`], which is implemented by the
//! keyspace itself and by a batch that [locks all of it](Reach::Everything): so the same command finds the
//! data outside a transaction and inside one, where it sees what the commands before it did.

use bytes::Bytes;

use super::blocking::Place;
use super::command::{Plan, Resolved};
use super::unit::Unit;
use super::{Call, CommandSpec, ExpiryPolicy, Keyspace, KeyspaceStats, WatchSet};
use crate::resp::Reply;
use crate::rewrite::Effects;

/// What a batch locks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// What its commands may touch.
    Commands,
    /// Every shard, for an [`Overview`] between the commands.
    Everything,
}

/// The keyspace as a whole, looked at from outside or from within a transaction.
pub trait Overview {
    /// See [`Keyspace::key_count`].
    fn key_count(&mut self, db: u16) -> (u64, u64);
    /// See [`Keyspace::volatile_hash_count`].
    fn volatile_hash_count(&mut self, db: u16) -> u64;
    /// See [`Keyspace::waiting_keys`].
    fn waiting_keys(&mut self) -> usize;
    /// See [`Keyspace::stats`].
    fn stats(&mut self) -> KeyspaceStats;
    /// See [`Keyspace::reset_stats`].
    fn reset_stats(&mut self);
    /// See [`Place::end`].
    fn end_wait(&mut self, place: &Place, reply: Reply) -> bool;
}

impl Overview for &Keyspace {
    fn key_count(&mut self, db: u16) -> (u64, u64) {
        Keyspace::key_count(self, db)
    }

    fn volatile_hash_count(&mut self, db: u16) -> u64 {
        Keyspace::volatile_hash_count(self, db)
    }

    fn waiting_keys(&mut self) -> usize {
        Keyspace::waiting_keys(self)
    }

    fn stats(&mut self) -> KeyspaceStats {
        Keyspace::stats(self)
    }

    fn reset_stats(&mut self) {
        Keyspace::reset_stats(self);
    }

    fn end_wait(&mut self, place: &Place, reply: Reply) -> bool {
        place.end(reply)
    }
}

/// A transaction that is running.
pub struct Batch<'k, 'c> {
    unit: Unit<'k, 'c>,
    calls: &'c [Call],
    specs: Vec<Resolved>,
}

impl Batch<'_, '_> {
    /// Runs the data command `index` in the database `db`, which the commands before it have chosen. Without
    /// such a command there is nothing to answer.
    pub fn run(&mut self, index: usize, db: u16) -> Reply {
        let (Some(call), Some(spec)) = (self.calls.get(index), self.specs.get(index)) else {
            return Reply::Null;
        };
        let result = match spec {
            Ok(spec) => self.unit.run_one(&call.argv, db, spec),
            Err(error) => return Reply::Error(error.to_string()),
        };
        result.unwrap_or_else(|error| Reply::Error(error.to_string()))
    }

    /// Runs a data command that was not known when the batch began, in the database `db`: a script's. The batch
    /// [has locked everything](Reach::Everything), for nobody knows what the command touches; otherwise there
    /// is nothing to answer.
    pub fn call(&mut self, argv: &[Bytes], db: u16, spec: &'static CommandSpec) -> Reply {
        debug_assert!(self.unit.locks_all(), "the shards of its keys are locked");
        if !self.unit.locks_all() {
            return Reply::Null;
        }
        let mut unit = Unit::within(&mut self.unit);
        unit.notes_access = self.unit.notes_access;
        let result = unit.run_one(argv, db, spec);
        unit.merge_into(&mut self.unit);
        result.unwrap_or_else(|error| Reply::Error(error.to_string()))
    }

    /// The clock of the batch: milliseconds since the Unix epoch.
    pub fn now_ms(&self) -> u64 {
        self.unit.now_ms
    }

    /// Whether lookups count as accesses to the keys from now on (`CLIENT NO-TOUCH`).
    pub fn note_accesses(&mut self, yes: bool) {
        self.unit.notes_access = yes;
    }
}

/// Counts what is locked: everything, if it was made for that.
impl Overview for Batch<'_, '_> {
    fn key_count(&mut self, db: u16) -> (u64, u64) {
        if db >= self.unit.keyspace.options.databases {
            return (0, 0);
        }
        let sum = |(keys, volatile), (more, more_volatile)| (keys + more, volatile + more_volatile);
        self.unit.shards().map(|shard| shard.key_count(db)).fold((0, 0), sum)
    }

    fn volatile_hash_count(&mut self, db: u16) -> u64 {
        if db >= self.unit.keyspace.options.databases {
            return 0;
        }
        self.unit.shards().map(|shard| shard.volatile_hash_count(db)).sum()
    }

    fn waiting_keys(&mut self) -> usize {
        self.unit.shards().map(|shard| shard.waiters.len()).sum()
    }

    fn stats(&mut self) -> KeyspaceStats {
        self.unit.shards().map(|shard| shard.stats).fold(KeyspaceStats::default(), KeyspaceStats::plus)
    }

    fn reset_stats(&mut self) {
        self.unit.shards().for_each(|shard| shard.stats = KeyspaceStats::default());
    }

    fn end_wait(&mut self, place: &Place, reply: Reply) -> bool {
        place.end_within(&mut self.unit, reply)
    }
}

/// Why a transaction did not run. Nothing of it did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotRun {
    /// A watched key was modified or has expired since it was watched.
    Watched,
    /// It has commands that write, and the data [follows](super::Reign::Followed) another server.
    ReadOnly,
}

impl Keyspace {
    /// `EXEC`, with other things between the data commands: locks what `calls` need, looks whether it may
    /// run (see [`NotRun`]), and lets `body` run the commands. Then the effects of all that ran are published as one unit, and the
    /// locks are released.
    ///
    /// `body` must not use the keyspace other than through the batch. The databases of `calls` count for
    /// nothing here: they are said when a command is run.
    pub fn execute_batch<R>(
        &self,
        watch: &WatchSet,
        calls: &[Call],
        reach: Reach,
        now_ms: u64,
        publish: &mut dyn FnMut(&Effects<'_>),
        body: impl FnOnce(&mut Batch<'_, '_>) -> R,
    ) -> Result<R, NotRun> {
        let mut plan = Plan::new(self, calls);
        match reach {
            Reach::Everything => plan.shards = (0..self.options.shards).collect(),
            Reach::Commands => {
                plan.shards.extend(watch.keys.iter().map(|watched| self.shard_of(&watched.key)))
            }
        }
        let mut unit = Unit::lock_for(self, ExpiryPolicy::Reclaim, now_ms, calls, &mut plan);
        if watch.is_touched() || watch.keys.iter().any(|watched| unit.has_expired_since(watched)) {
            return Err(NotRun::Watched);
        }
        let writes = |spec: &Resolved| spec.as_ref().is_ok_and(|spec| spec.is_write());
        if unit.read_only && plan.specs.iter().any(writes) {
            return Err(NotRun::ReadOnly);
        }
        let mut batch = Batch { unit, calls, specs: plan.specs.into_vec() };
        let result = body(&mut batch);
        batch.unit.finish(publish, None);
        Ok(result)
    }
}
