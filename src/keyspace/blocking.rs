//! Commands that wait for a key (`BLPOP` and its like).
//!
//! # Promise
//!
//! * Those who wait for a key are served in the order in which they began to wait, each with its own
//!   command, as soon as the key holds a value of the type it waits for.
//! * What comes into being while somebody waits for it is offered to those who wait **before** any later
//!   unit can see it: they are served under the locks of the unit that made it. Inside that unit (an
//!   `EXEC`) its own commands come first, as in Valkey.
//! * Every value goes to exactly one taker. A waiter that gives up, for whatever reason, either leaves
//!   before it is served and has taken nothing, or has its reply. One that others end is passed over from
//!   that moment on, however long it takes to leave.
//! * In the stream the unit that made the key comes first, then one unit per waiter served.
//!
//! # How
//!
//! A handler that finds nothing says so with `Unit::block`. The unit, which holds the locks of all keys
//! of the command, enrols a `Waiter` in the `Waiters` of each key's shard: nothing can slip between
//! the look and the enrolment. `Shard::insert`, through which every key comes into being, marks a key
//! that has waiters as *ready*. At the end of a unit, after its effects are published, each ready key's
//! waiters are served in their order: the same handler runs again on the waiter's own arguments, as a unit
//! of its own. What that makes ready (`BLMOVE` pushes) is served in the next round.
//!
//! To serve a waiter its own keys have to be locked, and the unit that pushes may not have them: the
//! destination of a `BLMOVE`, the other keys of a `BLPOP`. So after locking, and before it does anything,
//! a unit that writes asks `missing_shards` who waits for its keys, for what those make, and so on; if that
//! leads to a shard that is not locked, it releases all and locks the union, in ascending order as always.
//! Each time round the set grows, so that ends. When nobody waits in the locked shards it costs a look at an
//! empty table per shard.
//!
//! A replica's keyspace serves nobody: what it applies was served on the primary.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use indexmap::IndexMap;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::command::{Resolved, Shards};
use super::long_double::LongDouble;
use super::unit::{Unit, Wait, owned};
use super::{Call, CommandError, CommandSpec, Hasher, Keyspace};
use crate::resp::Reply;
use crate::rewrite::Effects;

/// The timeout of a blocking command, in seconds, as milliseconds; `None` waits for ever.
pub(super) fn timeout_ms(seconds: &[u8], now_ms: u64) -> Result<Option<u64>, CommandError> {
    let seconds = LongDouble::parse(seconds).ok_or(CommandError::TimeoutNotFloat)?;
    let ms = seconds.thousandfold().ok_or(CommandError::TimeoutOutOfRange)?;
    let ms = u64::try_from(ms).map_err(|_| CommandError::TimeoutNegative)?;
    if ms > (i64::MAX as u64).saturating_sub(now_ms) {
        return Err(CommandError::TimeoutOutOfRange);
    }
    Ok((ms > 0).then_some(ms))
}

/// What became of a command that may wait.
#[derive(Debug)]
pub enum Executed {
    /// It is done.
    Done(Reply),
    /// It waits.
    Waiting(Waiting),
}

/// The end of a wait.
#[derive(Clone, Debug, PartialEq)]
pub struct Served {
    /// What to answer.
    pub reply: Reply,
    /// How long the command ran when it was served; `None` if it was not.
    pub took: Option<Duration>,
}

/// A command that waits. Dropping it ends the wait.
#[derive(Debug)]
pub struct Waiting {
    place: Place,
    timeout: Option<Duration>,
    end: oneshot::Receiver<Served>,
}

impl Waiting {
    /// How long the client is willing to wait; `None` is for ever. Counting is the caller's part.
    pub fn timeout(&self) -> Option<Duration> {
        self.timeout
    }

    /// The command.
    pub fn argv(&self) -> &[Bytes] {
        &self.place.waiter.call.argv
    }

    /// From where others can end the wait.
    pub fn place(&self) -> Place {
        self.place.clone()
    }

    /// The end of the wait, if it has come.
    pub fn try_end(&mut self) -> Option<Served> {
        self.end.try_recv().ok()
    }

    /// The end of the wait. Cancelling this loses nothing.
    pub async fn end(&mut self) -> Served {
        match (&mut self.end).await {
            Ok(served) => served,
            // The sender goes only with the waiter, which is held here, and by being used.
            Err(_) => Served { reply: Reply::NullArray, took: None },
        }
    }

    /// Ends the wait because its time is over, unless it has just been served; what there is to answer
    /// in either case.
    pub fn time_out(&mut self) -> Served {
        self.place.end(Reply::NullArray);
        self.try_end().unwrap_or(Served { reply: Reply::NullArray, took: None })
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.place.end(Reply::NullArray);
    }
}

/// Where a command waits.
#[derive(Clone)]
pub struct Place {
    keyspace: Arc<Keyspace>,
    waiter: Arc<Waiter>,
}

impl Place {
    /// [`end`](Self::end) by a unit that has locked every shard.
    pub(super) fn end_within(&self, unit: &mut Unit<'_, '_>, reply: Reply) -> bool {
        debug_assert!(unit.locks_all(), "the shards of its keys are locked");
        if self.waiter.has_ended() || !unit.locks_all() {
            return false;
        }
        for key in &self.waiter.keys {
            unit.home(key).waiters.remove(key, &self.waiter);
        }
        self.waiter.finish(Served { reply, took: None });
        true
    }

    /// Ends the wait with `reply`; false if it had ended already.
    pub fn end(&self, reply: Reply) -> bool {
        if self.waiter.has_ended() {
            return false;
        }
        let mut shards: Shards = self.waiter.keys.iter().map(|key| self.keyspace.shard_of(key)).collect();
        shards.sort_unstable();
        shards.dedup();
        let mut locked: Vec<_> =
            shards.iter().map(|&number| (number, self.keyspace.lock_shard(number))).collect();
        // Whoever serves it holds the same locks: from here on it is served, or it is not.
        if self.waiter.has_ended() {
            return false;
        }
        for key in &self.waiter.keys {
            let number = self.keyspace.shard_of(key);
            if let Some((_, shard)) = locked.iter_mut().find(|(locked, _)| *locked == number) {
                shard.waiters.remove(key, &self.waiter);
            }
        }
        self.waiter.finish(Served { reply, took: None });
        true
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Place").field("waiter", &self.waiter).finish_non_exhaustive()
    }
}

/// A command that waits, as the keyspace sees it.
#[derive(Debug)]
pub(super) struct Waiter {
    /// Ascends in the order of enrolment.
    ticket: u64,
    call: Call,
    spec: &'static CommandSpec,
    /// What it waits for; each key once.
    keys: Vec<Bytes>,
    reach: Arc<Reach>,
    type_name: &'static str,
    /// Set from elsewhere: it is not to be served any more.
    gone: Arc<AtomicBool>,
    /// Taken by whoever ends the wait, under the locks of the keys.
    end: Mutex<Option<oneshot::Sender<Served>>>,
}

impl Waiter {
    fn has_ended(&self) -> bool {
        self.end.lock().is_none()
    }

    fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }

    fn finish(&self, served: Served) {
        if let Some(end) = self.end.lock().take() {
            // Nobody to receive it: the client has gone in this moment, as it may with any reply.
            let _ = end.send(served);
        }
    }
}

/// What it takes to serve a waiter, the same for many who wait. Its size does not grow with the number of
/// keys that are waited for: each of these keys refers to it.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Reach {
    /// The shards of all keys that the command may touch, ascending.
    shards: Shards,
    /// The keys among them that the command may make: those that it touches and does not wait for. What it
    /// waits for it only takes from (a `BLMOVE` onto its own source makes the key by which it was reached).
    makes: Vec<Bytes>,
}

/// Who waits for one key.
#[derive(Debug, Default)]
struct Queue {
    /// By database and ticket, which is the order of service.
    waiters: BTreeMap<(u16, u64), Arc<Waiter>>,
    /// What it takes to serve them, and how many of them it serves: few, however many wait.
    reaches: HashMap<Arc<Reach>, usize, Hasher>,
}

impl Queue {
    fn add(&mut self, waiter: &Arc<Waiter>) {
        self.waiters.insert((waiter.call.db, waiter.ticket), Arc::clone(waiter));
        *self.reaches.entry(Arc::clone(&waiter.reach)).or_default() += 1;
    }

    fn remove(&mut self, waiter: &Waiter) {
        if self.waiters.remove(&(waiter.call.db, waiter.ticket)).is_none() {
            return;
        }
        if let Some(count) = self.reaches.get_mut(&waiter.reach) {
            *count -= 1;
            if *count == 0 {
                self.reaches.remove(&waiter.reach);
            }
        }
    }

    fn awaits(&self, db: u16) -> bool {
        self.waiters.range((db, 0)..=(db, u64::MAX)).next().is_some()
    }
}

/// Who waits for the keys of one shard.
#[derive(Debug)]
pub(super) struct Waiters {
    by_key: HashMap<Bytes, Queue, Hasher>,
    /// Keys with waiters that came into being, each with its place in the order in which they did.
    ready: IndexMap<(u16, Bytes), u64, Hasher>,
    /// Shared by all shards: numbers tickets, and keys that become ready.
    counter: Arc<AtomicU64>,
}

impl Waiters {
    pub fn new(counter: Arc<AtomicU64>) -> Waiters {
        Waiters { by_key: HashMap::default(), ready: IndexMap::default(), counter }
    }

    fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }

    /// How many keys somebody waits for.
    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    fn add(&mut self, key: &Bytes, waiter: &Arc<Waiter>) {
        self.by_key.entry(key.clone()).or_default().add(waiter);
    }

    fn remove(&mut self, key: &Bytes, waiter: &Waiter) {
        if let Some(queue) = self.by_key.get_mut(key) {
            queue.remove(waiter);
            if queue.waiters.is_empty() {
                self.by_key.remove(key);
            }
        }
    }

    /// What it takes to serve those who wait for `key`, in whatever database.
    fn reaches_of(&self, key: &[u8]) -> impl Iterator<Item = &Reach> {
        self.by_key.get(key).into_iter().flat_map(|queue| queue.reaches.keys()).map(|reach| &**reach)
    }

    /// The first who waits for a value of this type, of those with a later ticket than `after`.
    fn next(&self, db: u16, key: &[u8], type_name: &str, after: u64) -> Option<Arc<Waiter>> {
        let later = (db, after.saturating_add(1))..=(db, u64::MAX);
        let mut candidates = self.by_key.get(key)?.waiters.range(later).map(|(_, waiter)| waiter);
        candidates.find(|waiter| waiter.type_name == type_name && !waiter.is_gone()).cloned()
    }

    /// `key` came into being.
    pub fn note(&mut self, db: u16, key: &[u8]) {
        if !self.by_key.is_empty() && self.by_key.get(key).is_some_and(|queue| queue.awaits(db)) {
            self.mark(db, Bytes::copy_from_slice(key));
        }
    }

    /// Databases got other contents; `exists` tells what is there now.
    pub fn note_replaced(
        &mut self,
        dbs: impl IntoIterator<Item = u16> + Clone,
        exists: impl Fn(u16, &[u8]) -> bool,
    ) {
        let mut came = Vec::new();
        for (key, queue) in &self.by_key {
            let there = dbs.clone().into_iter().filter(|&db| queue.awaits(db) && exists(db, key));
            came.extend(there.map(|db| (db, key.clone())));
        }
        came.into_iter().for_each(|(db, key)| self.mark(db, key));
    }

    fn mark(&mut self, db: u16, key: Bytes) {
        let counter = &self.counter;
        // Relaxed: keys of one unit are marked by one thread, one after the other.
        self.ready.entry((db, key)).or_insert_with(|| counter.fetch_add(1, Ordering::Relaxed));
    }
}

/// The shards that a unit of these calls has not locked and may need, to serve those who wait for what
/// it may make; empty if it has all.
pub(super) fn missing_shards(unit: &mut Unit<'_, '_>, calls: &[Call], specs: &[Resolved]) -> Shards {
    let mut missing = Shards::new();
    if unit.locks_all() || unit.shards().all(|shard| shard.waiters.is_empty()) {
        return missing;
    }
    let keyspace = unit.keyspace;
    let writes = calls.iter().zip(specs).filter_map(|(call, spec)| {
        let spec = spec.as_ref().ok().filter(|spec| spec.is_write())?;
        Some(spec.keys(&call.argv))
    });
    let mut open: Vec<Bytes> = writes.flatten().cloned().collect();
    let mut seen: HashSet<Bytes, Hasher> = open.iter().cloned().collect();
    while let Some(key) = open.pop() {
        let number = keyspace.shard_of(&key);
        let Some(shard) = unit.locked_shard(number) else {
            missing.push(number);
            continue;
        };
        for reach in shard.waiters.reaches_of(&key) {
            for &number in &reach.shards {
                if unit.locked_shard(number).is_none() && !missing.contains(&number) {
                    missing.push(number);
                }
            }
            for made in &reach.makes {
                if seen.insert(made.clone()) {
                    open.push(made.clone());
                }
            }
        }
    }
    missing
}

impl Unit<'_, '_> {
    /// Enrols a command that has just asked to wait. Its keys are locked.
    pub(super) fn enrol(
        &mut self,
        keyspace: &Arc<Keyspace>,
        call: &Call,
        spec: &'static CommandSpec,
        wait: &Wait<'_>,
        gone: &Arc<AtomicBool>,
    ) -> Waiting {
        let (sender, end) = oneshot::channel();
        let mut seen = HashSet::<&Bytes, Hasher>::default();
        let keys: Vec<Bytes> =
            wait.keys.iter().filter(|key| seen.insert(key)).map(|key| owned(key)).collect();
        let touched = || spec.keys(&call.argv);
        let mut shards: Shards = touched().map(|key| keyspace.shard_of(key)).collect();
        shards.sort_unstable();
        shards.dedup();
        shards.shrink_to_fit();
        let makes = touched().filter(|key| !seen.contains(key)).map(|key| owned(key)).collect();
        let waiter = Arc::new(Waiter {
            // Relaxed: the order matters per key, and the key's lock is held.
            ticket: keyspace.waiting.fetch_add(1, Ordering::Relaxed),
            call: Call { db: call.db, argv: call.argv.iter().map(|arg| owned(arg)).collect() },
            spec,
            keys,
            reach: Arc::new(Reach { shards, makes }),
            type_name: wait.type_name,
            gone: Arc::clone(gone),
            end: Mutex::new(Some(sender)),
        });
        for key in &waiter.keys {
            self.home(key).waiters.add(key, &waiter);
        }
        let place = Place { keyspace: Arc::clone(keyspace), waiter };
        Waiting { place, timeout: wait.timeout_ms.map(Duration::from_millis), end }
    }

    /// Serves those who wait for what the unit made, and for what serving them made.
    pub(super) fn serve_waiters(&mut self, publish: &mut dyn FnMut(&Effects<'_>)) {
        loop {
            let made = self.shards().filter(|shard| !shard.waiters.ready.is_empty());
            let mut ready: Vec<((u16, Bytes), u64)> =
                made.flat_map(|shard| std::mem::take(&mut shard.waiters.ready)).collect();
            if ready.is_empty() || !self.serves_waiters {
                return;
            }
            ready.sort_unstable_by_key(|(_, order)| *order);
            for ((db, key), _) in ready {
                self.serve_key(db, &key, publish);
            }
        }
    }

    fn serve_key(&mut self, db: u16, key: &Bytes, publish: &mut dyn FnMut(&Effects<'_>)) {
        let (now_ms, mut after) = (self.now_ms, 0);
        loop {
            let shard = self.home(key);
            let Some(entry) = shard.get(db, key).filter(|entry| !entry.is_expired(now_ms)) else { return };
            let type_name = entry.value.type_name();
            let Some(waiter) = shard.waiters.next(db, key, type_name, after) else { return };
            after = waiter.ticket;
            self.serve(&waiter, publish);
        }
    }

    /// Runs a waiter's command as a unit of its own. One that asks to wait again keeps its place.
    fn serve(&mut self, waiter: &Waiter, publish: &mut dyn FnMut(&Effects<'_>)) {
        let started = Instant::now();
        let mut unit = Unit::within(self);
        unit.db = waiter.call.db;
        unit.may_wait = true;
        let reply = (waiter.spec.handler)(&mut unit, &waiter.call.argv);
        let served = Served {
            reply: reply.unwrap_or_else(|error| Reply::Error(error.to_string())),
            took: Some(started.elapsed()),
        };
        let waits_again = unit.wait.take().is_some();
        if !unit.effects.is_empty() {
            publish(&unit.effects);
        }
        unit.give_back(self);
        if waits_again {
            return;
        }
        for key in &waiter.keys {
            self.home(key).waiters.remove(key, waiter);
        }
        waiter.finish(served);
    }
}
