//! One unit while it runs: its locks, its clock, its effects.

use bytes::Bytes;
use parking_lot::MutexGuard;
use smallvec::SmallVec;

use super::blocking;
use super::command::{Plan, Resolved, Shards};
use super::events::EventClass;
use super::memory::{self, StringForm, seconds};
use super::reign::Reign;
use super::shard::{Entry, FlushedTable, Shard};
use super::value::{Collection, Value};
use super::watch::WatchedKey;
use super::{Call, CommandError, CommandSpec, ExpiryPolicy, Keyspace};
use crate::hash_ttl::Moment;
use crate::resp::Reply;
use crate::rewrite::{DeletionVerb, Effects, Rewritten};

/// A flushed table with at least this many keys is freed by a thread of its own: freeing it takes
/// longer than a client should wait (about 10 ms at 100 ns per key).
const LAZY_FREE_MIN_KEYS: usize = 100_000;

/// What a command answers.
pub(super) type CommandResult = Result<Reply, CommandError>;

/// The locks, clock and effects of the unit that is being executed.
pub(super) struct Unit<'k, 'c> {
    pub keyspace: &'k Keyspace,
    /// Locked shards, ascending.
    locked: Locked<'k>,
    pub policy: ExpiryPolicy,
    /// Whether commands that write are refused, and nothing is published.
    pub read_only: bool,
    /// Whether those are served who wait for what it makes.
    pub serves_waiters: bool,
    pub now_ms: u64,
    /// The database of the running call.
    pub db: u16,
    pub effects: Effects<'c>,
    garbage: Vec<FlushedTable>,
    /// Whether a lookup counts as an access to the key; not for a client that asked for that
    /// (`CLIENT NO-TOUCH`).
    pub notes_access: bool,
    /// Whether the command may wait, rather than answer that there is nothing.
    pub may_wait: bool,
    /// What the command that has just run asks to wait for.
    pub wait: Option<Wait<'c>>,
}

/// Locked shards and their numbers, ascending.
type Locked<'k> = SmallVec<[(usize, MutexGuard<'k, Shard>); 4]>;

/// What a command asks to wait for: see [`super::blocking`].
pub(super) struct Wait<'c> {
    pub keys: &'c [Bytes],
    pub type_name: &'static str,
    /// `None` waits for ever.
    pub timeout_ms: Option<u64>,
}

impl<'k, 'c> Unit<'k, 'c> {
    /// Locks `shards` in ascending order.
    pub fn lock(keyspace: &'k Keyspace, policy: ExpiryPolicy, now_ms: u64, mut shards: Shards) -> Self {
        shards.sort_unstable();
        shards.dedup();
        let now_s = seconds(now_ms);
        let lock = |number| {
            let mut shard = keyspace.lock_shard(number);
            shard.now_s = now_s;
            (number, shard)
        };
        let locked = shards.into_iter().map(lock).collect();
        Unit::new(keyspace, policy, now_ms, locked)
    }

    fn new(keyspace: &'k Keyspace, policy: ExpiryPolicy, now_ms: u64, locked: Locked<'k>) -> Self {
        let reign = keyspace.reign.under_lock();
        Unit {
            keyspace,
            locked,
            policy: reign.limit(policy),
            read_only: reign == Reign::Followed && policy != ExpiryPolicy::Ignore,
            serves_waiters: reign != Reign::Followed && policy == ExpiryPolicy::Reclaim,
            now_ms,
            db: 0,
            effects: Effects::new(),
            garbage: Vec::new(),
            notes_access: memory::notes_access(),
            may_wait: false,
            wait: None,
        }
    }

    /// Locks what `calls` need, `plan` being theirs, and what those need who wait for their keys.
    pub fn lock_for(
        keyspace: &'k Keyspace,
        policy: ExpiryPolicy,
        now_ms: u64,
        calls: &[Call],
        plan: &mut Plan,
    ) -> Self {
        loop {
            let mut unit = Unit::lock(keyspace, policy, now_ms, plan.shards.clone());
            if !unit.serves_waiters {
                return unit;
            }
            let missing = blocking::missing_shards(&mut unit, calls, &plan.specs);
            if missing.is_empty() {
                return unit;
            }
            // All locks are released before more are taken, so that they are always taken in order.
            drop(unit);
            plan.shards.extend(missing);
        }
    }

    /// A unit that follows `outer`, under its locks, which it has to [give back](Self::give_back).
    pub fn within(outer: &mut Unit<'k, '_>) -> Self {
        Unit::new(outer.keyspace, outer.policy, outer.now_ms, std::mem::take(&mut outer.locked))
    }

    /// Ends a unit [within](Self::within) another.
    pub fn give_back(self, outer: &mut Unit<'k, '_>) {
        outer.locked = self.locked;
        outer.garbage.extend(self.garbage);
    }

    /// Ends a unit [within](Self::within) another, which does as its own what this one did.
    pub fn merge_into(self, outer: &mut Unit<'k, '_>) {
        outer.locked = self.locked;
        outer.garbage.extend(self.garbage);
        outer.effects.absorb(self.effects);
    }

    /// Whether every shard is locked.
    pub fn locks_all(&self) -> bool {
        self.locked.len() == self.keyspace.options.shards
    }

    /// A shard by its number, if it is locked.
    pub fn locked_shard(&self, number: usize) -> Option<&Shard> {
        let position = self.locked.binary_search_by_key(&number, |(number, _)| *number).ok()?;
        Some(&self.locked[position].1)
    }

    /// Runs the calls in order, `plan` being theirs.
    pub fn run(&mut self, calls: &'c [Call], plan: Plan) -> Vec<Reply> {
        let reply = |(call, spec): (&'c Call, Resolved)| {
            let result = spec.and_then(|spec| self.run_one(&call.argv, call.db, spec));
            result.unwrap_or_else(|error| Reply::Error(error.to_string()))
        };
        calls.iter().zip(plan.specs).map(reply).collect()
    }

    /// Runs one call in the database `db`; its keys are locked.
    pub fn run_one(&mut self, argv: &'c [Bytes], db: u16, spec: &CommandSpec) -> CommandResult {
        if db >= self.keyspace.options.databases {
            return Err(CommandError::DbOutOfRange);
        }
        if self.read_only && spec.is_write() {
            return Err(CommandError::ReadOnly);
        }
        self.db = db;
        (spec.handler)(self, argv)
    }

    /// Publishes the effects, calls `settled`, serves those who wait for what the unit made, then releases
    /// the locks, then frees what was flushed.
    pub fn finish(mut self, publish: &mut dyn FnMut(&Effects<'_>), settled: Option<&mut dyn FnMut()>) {
        if !self.effects.is_empty() && !self.read_only {
            publish(&self.effects);
        }
        if let Some(settled) = settled {
            settled();
        }
        self.serve_waiters(publish);
        let Unit { locked, garbage, .. } = self;
        drop(locked);
        free(garbage.iter().map(|table| table.map.len()).sum(), garbage);
    }

    pub fn verb(&self) -> DeletionVerb {
        self.keyspace.options.deletion_verb
    }

    /// Locked shards, ascending; all of them for a command on the whole keyspace.
    pub fn shards(&mut self) -> impl DoubleEndedIterator<Item = &mut Shard> {
        self.locked.iter_mut().map(|(_, shard)| &mut **shard)
    }

    /// A shard by its number.
    pub fn shard(&mut self, number: usize) -> &mut Shard {
        let position = self.locked.binary_search_by_key(&number, |(number, _)| *number);
        // Invariant: a `Plan` names the shard of every key position that the table of
        // commands declares, and handlers touch no other keys.
        let position = position.expect("the shards of a unit's keys are locked");
        &mut self.locked[position].1
    }

    /// The shard of `key`.
    pub fn home(&mut self, key: &[u8]) -> &mut Shard {
        self.shard(self.keyspace.shard_of(key))
    }

    /// The shard of `key` and its index there, unless it is absent or has expired; an expired key is
    /// treated as the policy says.
    fn locate(&mut self, db: u16, key: &[u8]) -> Option<(usize, usize)> {
        let (policy, now_ms, verb) = (self.policy, self.now_ms, self.verb());
        let number = self.keyspace.shard_of(key);
        let shard = self.shard(number);
        let (index, _, entry) = shard.table(db).map.get_full(key)?;
        if policy == ExpiryPolicy::Ignore || !entry.is_expired(now_ms) {
            return Some((number, index));
        }
        if policy == ExpiryPolicy::Reclaim
            && let Some((key, _)) = shard.remove(db, key)
        {
            shard.stats.expired_keys += 1;
            shard.notify(db, EventClass::Expired, "expired", &key);
            self.effects.push_command(db, verb.command(&key));
        }
        None
    }

    /// Notes that a key that was located is used now.
    fn note_access(&mut self, number: usize, db: u16, index: usize) {
        if self.notes_access {
            let rule = self.keyspace.memory.frequency_rule();
            self.shard(number).note_access(db, index, rule);
        }
    }

    /// The entry of `key` in `db`, for a command that writes.
    pub fn find_in(&mut self, db: u16, key: &[u8]) -> Option<&Entry> {
        let (number, index) = self.locate(db, key)?;
        self.note_access(number, db, index);
        Some(self.shard(number).table(db).map.get_index(index)?.1)
    }

    /// The entry of `key`, for a command that writes.
    pub fn find(&mut self, key: &[u8]) -> Option<&Entry> {
        self.find_in(self.db, key)
    }

    /// The entry of `key`, for a command that reads: counts a hit or a miss, and tells of a miss.
    pub fn read(&mut self, key: &[u8]) -> Option<&Entry> {
        let (number, index) = self.locate_for_reading(key, true)?;
        let db = self.db;
        self.note_access(number, db, index);
        Some(self.shard(number).table(db).map.get_index(index)?.1)
    }

    /// [`read`](Self::read) for a command that only asks about the key and does not use it.
    pub fn read_untouched(&mut self, key: &[u8]) -> Option<&Entry> {
        let (number, index) = self.locate_for_reading(key, true)?;
        let db = self.db;
        Some(self.shard(number).table(db).map.get_index(index)?.1)
    }

    /// [`read_untouched`](Self::read_untouched) that tells nobody of a miss.
    pub fn read_unnoticed(&mut self, key: &[u8]) -> Option<&Entry> {
        let (number, index) = self.locate_for_reading(key, false)?;
        let db = self.db;
        Some(self.shard(number).table(db).map.get_index(index)?.1)
    }

    fn locate_for_reading(&mut self, key: &[u8], notifies: bool) -> Option<(usize, usize)> {
        let db = self.db;
        let Some((number, index)) = self.locate(db, key) else {
            self.home(key).stats.keyspace_misses += 1;
            if notifies {
                self.notify_in(db, EventClass::Miss, "keymiss", key);
            }
            return None;
        };
        self.shard(number).stats.keyspace_hits += 1;
        Some((number, index))
    }

    /// Sets what is known about the accesses to a key that has just been stored (`RESTORE … IDLETIME`,
    /// `FREQ`).
    pub fn restore_access(&mut self, key: &[u8], idle_s: Option<u64>, frequency: Option<u8>) {
        let (db, now_s) = (self.db, self.now_s());
        let Some(access) = self.home(key).access_mut(db, key) else { return };
        if let Some(idle_s) = idle_s {
            access.set_idle_s(now_s, idle_s);
        }
        if let Some(frequency) = frequency {
            access.set_frequency(now_s, frequency);
        }
    }

    /// Sets how the string came to be that has just been stored or changed.
    pub fn set_string_form(&mut self, key: &[u8], form: StringForm) {
        let db = self.db;
        if let Some(access) = self.home(key).access_mut(db, key) {
            access.form = form;
        }
    }

    /// The clock of accesses.
    pub fn now_s(&self) -> u32 {
        seconds(self.now_ms)
    }

    /// The string under `key`, for a command that writes.
    pub fn find_string(&mut self, key: &[u8]) -> Result<Option<&Bytes>, CommandError> {
        self.find(key).map(as_string).transpose()
    }

    /// The string under `key`, for a command that reads.
    pub fn read_string(&mut self, key: &[u8]) -> Result<Option<&Bytes>, CommandError> {
        self.read(key).map(as_string).transpose()
    }

    /// The collection under `key`, for a command that writes.
    pub fn find_as<C: Collection>(&mut self, key: &[u8]) -> Result<Option<&C>, CommandError> {
        self.find(key).map(as_collection).transpose()
    }

    /// The collection under `key`, for a command that reads.
    pub fn read_as<C: Collection>(&mut self, key: &[u8]) -> Result<Option<&C>, CommandError> {
        self.read(key).map(as_collection).transpose()
    }

    /// Changes the collection under `key` in place. It is created if it is absent and removed if it is
    /// empty afterwards. Counts as a modification in any case, so call it only to modify.
    ///
    /// The caller has checked the type with [`find_as`](Self::find_as): another type is replaced.
    pub fn edit<C: Collection, R>(&mut self, key: &[u8], change: impl FnOnce(&mut C) -> R) -> R {
        self.edit_if(key, |collection| (change(collection), true))
    }

    /// [`edit`](Self::edit) by what may turn out to change nothing: `change` says besides whether it did. If
    /// not, nobody who watches the key is told; what it costs is the same.
    pub fn edit_if<C: Collection, R>(&mut self, key: &[u8], change: impl FnOnce(&mut C) -> (R, bool)) -> R {
        let db = self.db;
        let shard = self.home(key);
        let mut change = Some(change);
        let updated = shard.update_if(db, key, |value| {
            let Some(collection) = C::of_mut(value) else { return (None, false) };
            let Some(change) = change.take() else { return (None, false) };
            let (result, changed) = change(collection);
            (Some((result, collection.has_no_elements())), changed)
        });
        match (updated.flatten(), change) {
            (Some((result, is_empty)), _) => {
                if is_empty {
                    shard.remove(db, key);
                }
                result
            }
            (None, Some(change)) => {
                let mut collection = C::default();
                let (result, _) = change(&mut collection);
                if !collection.has_no_elements() {
                    shard.insert(db, key, collection.into_value(), None);
                }
                result
            }
            // `change` is taken only where its result is returned.
            (None, None) => unreachable!("a change has a result"),
        }
    }

    /// The deadline of a key that has just been found.
    pub fn deadline_ms(&mut self, key: &[u8]) -> Option<u64> {
        let db = self.db;
        self.home(key).get(db, key)?.deadline_ms
    }

    /// Creates or overwrites `key` with a string. The bytes are copied: see [`owned`].
    pub fn store_string(&mut self, key: &[u8], value: &[u8], deadline_ms: Option<u64>) {
        let db = self.db;
        self.home(key).insert(db, key, Value::String(owned(value)), deadline_ms);
    }

    /// Removes `key`; returns whether it existed.
    pub fn remove(&mut self, key: &[u8]) -> bool {
        let db = self.db;
        self.home(key).remove(db, key).is_some()
    }

    /// Removes `key` because its deadline, which a command has just set, is past; returns whether it existed.
    pub fn expire(&mut self, key: &[u8]) -> bool {
        let existed = self.remove(key);
        if existed {
            self.home(key).stats.expired_keys += 1;
            self.notify(EventClass::Expired, "expired", key);
        }
        existed
    }

    /// Sets or removes the deadline of a key that exists.
    pub fn set_deadline(&mut self, key: &[u8], deadline_ms: Option<u64>) {
        let db = self.db;
        self.home(key).set_deadline(db, key, deadline_ms);
    }

    /// Who asks, and when.
    pub fn moment(&self) -> Moment {
        Moment { policy: self.policy, now_ms: self.now_ms }
    }

    /// Whether a deadline that a command is about to set has passed already, so that the key is to be
    /// deleted instead. Only a primary judges that.
    pub fn is_past(&self, deadline_ms: u64) -> bool {
        self.moment().is_past(deadline_ms)
    }

    /// Adds what the running call propagates.
    ///
    /// An outcome that does not belong to the command would be an error of the command's handler. It stops a
    /// debug build; otherwise the unit says that its effects are incomplete, and its publisher breaks with
    /// the history.
    pub fn propagate(&mut self, argv: &'c [Bytes], propagation: impl Into<Rewritten>) {
        self.propagate_in(self.db, argv, propagation);
    }

    /// [`propagate`](Self::propagate) in another database.
    pub fn propagate_in(&mut self, db: u16, argv: &'c [Bytes], propagation: impl Into<Rewritten>) {
        let rewritten = propagation.into();
        debug_assert_eq!(rewritten.as_ref().err(), None, "a handler's outcome belongs to its command");
        self.effects.push_rewritten(db, argv, rewritten);
    }

    /// Tells subscribers what happened to `key`, if they want to know: see [`super::events`].
    pub fn notify(&mut self, class: EventClass, name: &'static str, key: &[u8]) {
        self.notify_in(self.db, class, name, key);
    }

    /// [`notify`](Self::notify) for a key of another database.
    pub fn notify_in(&mut self, db: u16, class: EventClass, name: &'static str, key: &[u8]) {
        self.keyspace.events.notify(db, class, name, key);
    }

    /// Answers for a command that found nothing in `keys` and is to wait until one of them holds a value
    /// of the type `type_name`, at most `timeout_ms` (`None`: for ever), and then to run again. Where it may
    /// not wait, in an `EXEC`, it answers `at_once`.
    pub fn block(
        &mut self,
        keys: &'c [Bytes],
        type_name: &'static str,
        timeout_ms: Option<u64>,
        at_once: Reply,
    ) -> CommandResult {
        if self.may_wait {
            self.wait = Some(Wait { keys, type_name, timeout_ms });
        }
        Ok(at_once)
    }

    /// Keeps a flushed table until the locks are released.
    pub fn discard(&mut self, table: FlushedTable) {
        self.garbage.push(table);
    }

    /// Whether a key that was alive when it was watched has expired.
    pub fn has_expired_since(&mut self, watched: &WatchedKey) -> bool {
        let now_ms = self.now_ms;
        let entry = self.home(&watched.key).get(watched.db, &watched.key);
        !watched.was_expired.get() && entry.is_some_and(|entry| entry.is_expired(now_ms))
    }
}

/// Drops what holds so many keys: beside this thread if there are many.
pub(super) fn free(keys: usize, garbage: impl Send + 'static) {
    if keys >= LAZY_FREE_MIN_KEYS {
        // If no thread can be had, the closure is dropped here and frees them.
        let _ = std::thread::Builder::new().name("lazy-free".into()).spawn(move || drop(garbage));
    }
}

fn as_string(entry: &Entry) -> Result<&Bytes, CommandError> {
    match &entry.value {
        Value::String(bytes) => Ok(bytes),
        _ => Err(CommandError::WrongType),
    }
}

fn as_collection<C: Collection>(entry: &Entry) -> Result<&C, CommandError> {
    C::of(&entry.value).ok_or(CommandError::WrongType)
}

/// A copy in memory of its own: arguments are slices of the buffer that the connection read into,
/// and a short value must not keep that buffer alive.
pub(super) fn owned(bytes: &[u8]) -> Bytes {
    Bytes::copy_from_slice(bytes)
}
