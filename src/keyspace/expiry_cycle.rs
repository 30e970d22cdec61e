//! Active expiry: reclaiming what is dead although nobody asks for it.
//!
//! # Promise
//!
//! * A cycle finds the keys and fields whose deadline is before its moment without looking at those that are
//!   alive. What it leaves for want of time, it says, and the next goes on there.
//! * Every reclaim is published **in the critical section that makes it**: a key as its deletion, the fields
//!   of a hash as `HDEL` with the hash's own deletion behind it if nothing is left, as one unit. So a replica
//!   never has to judge a deadline.
//! * Only a primary runs it. Whatever a keyspace took in while it was a replica, with deadlines however long
//!   past, is in the indexes and found by the first cycles after the promotion.
//! * Those who watch a key see the reclaim of a field as a modification, as in Valkey. Events are Valkey's:
//!   `expired`; `hexpired`, of the class of expiries on this path, and `del`.
//!
//! # Fairness
//!
//! The unit of account is a *step*: about what it costs to reclaim one field. Four levels share a cycle, and
//! each waits only for a bounded number of steps of the others:
//!
//! | among | rule |
//! |---|---|
//! | shards | they are *visited* in turn, at most [`EXPIRE_VISIT_STEPS`] a visit; the next cycle begins where the last one stopped |
//! | keys and fields | within a visit they take turns of at most [`TURN_STEPS`], as long as both have something due |
//! | databases | each turn begins with the one after that which used up the last turn |
//! | hashes | one that still has due fields at the end of a turn goes [behind](super::shard::Shard::defer_hash) all others that have some; commands that change it do not move it |
//!
//! # Locks
//!
//! A visit holds the lock of one shard. When it ends, the lock is handed to a thread that waits for it, if
//! there is one, before the cycle may come back. Names of fields, keys and whole values that went are freed
//! after that. A visit takes about 0.1 ms in a release build (0.5 µs a step in a hash of a million fields,
//! where each is a few misses of the cache, 0.2 µs in small ones), with these exceptions, which any command
//! that changes the same thing has too: a hash that a snapshot shares is copied whole on its first change,
//! and a table, of keys or of fields, that has become mostly empty is moved into a smaller one.
//!
//! # Cost
//!
//! O(shards × databases) for a cycle that finds nothing; amortised O(1) for each field and O(log n) for each
//! key reclaimed.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::MutexGuard;

use super::events::EventClass;
use super::shard::{Entry, Shard};
use super::value::Value;
use super::{Keyspace, Reign};
use crate::rewrite::{DeletionVerb, Effects, hash};

/// The most steps that the expiry cycle takes while it holds a shard's lock.
pub const EXPIRE_VISIT_STEPS: usize = 192;

/// The most steps that keys, or fields, take before it is the others' turn.
pub(super) const TURN_STEPS: usize = 48;

/// What a key costs: to take it out, and to publish it as a unit of its own.
pub(super) const KEY_STEPS: usize = 4;

/// What a hash costs beside its fields: to find it, and to publish its unit.
const HASH_STEPS: usize = 4;

/// What an expiry cycle did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExpireReport {
    /// Keys reclaimed because their own deadline had passed.
    pub keys: u64,
    /// Fields reclaimed.
    pub fields: u64,
    /// Hashes that lost their last due field.
    pub hashes: u64,
    /// Whether the budget ran out while something was due, or might have been.
    pub out_of_time: bool,
    /// How long the longest overdue of what the cycle reclaimed, or had to leave, had been due, in
    /// milliseconds.
    pub lag_ms: u64,
    /// The longest time for which the cycle held a lock.
    pub longest_hold: Duration,
    /// Keys that had a deadline, in the shards to which the cycle came.
    pub keys_with_deadline: u64,
    /// Hashes that had fields with a deadline, in the shards to which the cycle came.
    pub volatile_hashes: u64,
}

/// The databases of a shard with which the next turns begin.
#[derive(Debug, Default)]
pub(super) struct NextDatabases {
    keys: u16,
    fields: u16,
}

/// What is to be freed without the lock.
#[derive(Default)]
struct Garbage {
    names: Vec<Bytes>,
    entries: Vec<(Bytes, Entry)>,
}

impl Keyspace {
    /// Reclaims due keys and fields for about `budget`; only a primary does this. Each key and each batch of
    /// a hash's fields is published as a unit of its own. At most [`EXPIRE_VISIT_STEPS`] steps are taken
    /// under one lock, and at least one such visit is made, whatever the budget. The next cycle goes on with
    /// the shard at which this one stopped.
    pub fn expire_cycle(
        &self,
        now_ms: u64,
        budget: Duration,
        publish: &mut dyn FnMut(&Effects<'_>),
    ) -> ExpireReport {
        let started = Instant::now();
        let shards = self.options.shards;
        let (mut report, mut garbage) = (ExpireReport::default(), Garbage::default());
        // Relaxed: a hint about where to start, nothing more.
        let mut number = self.expire_from.load(Ordering::Relaxed);
        let (mut visits, mut drained) = (0, 0);
        while drained < shards {
            let mut shard = self.lock_shard(number);
            if self.reign.under_lock() != Reign::Own {
                break;
            }
            let locked = Instant::now();
            if visits < shards {
                report.count(&shard);
            }
            let verb = self.options.deletion_verb;
            let mut visit = Visit {
                shard: &mut shard,
                verb,
                now_ms,
                publish,
                report: &mut report,
                garbage: &mut garbage,
            };
            let has_more = visit.run();
            visits += 1;
            number = (number + 1) % shards;
            if garbage.is_empty() && !has_more {
                drained += 1;
                continue;
            }
            report.longest_hold = report.longest_hold.max(locked.elapsed());
            MutexGuard::unlock_fair(shard);
            garbage.free();
            drained = if has_more { 0 } else { drained + 1 };
            if started.elapsed() >= budget {
                self.expire_from.store(number, Ordering::Relaxed);
                if let Some(due_ms) = self.earliest_due_ms(now_ms) {
                    report.out_of_time = true;
                    report.note_lag(due_ms, now_ms);
                }
                break;
            }
        }
        report
    }

    /// The earliest moment at which something became due, or may have become due.
    fn earliest_due_ms(&self, now_ms: u64) -> Option<u64> {
        let of_shard = |number| {
            let shard = self.lock_shard(number);
            let of_table = |table: &super::shard::Table| {
                let key_ms = table.deadlines.first().map(|due| due.deadline_ms);
                key_ms.into_iter().chain(table.volatile.earliest_ms()).min()
            };
            shard.tables().iter().filter_map(of_table).min()
        };
        (0..self.options.shards).filter_map(of_shard).min().filter(|due_ms| now_ms > *due_ms)
    }
}

impl ExpireReport {
    /// A shard to which the cycle comes for the first time.
    fn count(&mut self, shard: &Shard) {
        for table in shard.tables() {
            self.keys_with_deadline += table.deadlines.len() as u64;
            self.volatile_hashes += table.volatile.len() as u64;
        }
    }

    fn note_lag(&mut self, due_ms: u64, now_ms: u64) {
        self.lag_ms = self.lag_ms.max(now_ms.saturating_sub(due_ms));
    }
}

impl Garbage {
    fn is_empty(&self) -> bool {
        self.names.is_empty() && self.entries.is_empty()
    }

    fn free(&mut self) {
        self.names.clear();
        self.entries.clear();
    }
}

/// One shard, under its lock.
struct Visit<'v, 'p> {
    shard: &'v mut Shard,
    verb: DeletionVerb,
    now_ms: u64,
    publish: &'v mut (dyn FnMut(&Effects<'_>) + 'p),
    report: &'v mut ExpireReport,
    garbage: &'v mut Garbage,
}

impl Visit<'_, '_> {
    /// Returns whether something may be due still.
    fn run(&mut self) -> bool {
        let mut steps = EXPIRE_VISIT_STEPS;
        let (mut keys_due, mut fields_due) = (true, true);
        while steps > 0 && (keys_due || fields_due) {
            if keys_due {
                let from = self.shard.expiry.keys;
                let used_up_by = self.turn(from, &mut steps, Self::reclaim_keys);
                keys_due = used_up_by.is_some();
                self.shard.expiry.keys = used_up_by.map_or(from, |db| db + 1);
            }
            if fields_due && steps > 0 {
                let from = self.shard.expiry.fields;
                let used_up_by = self.turn(from, &mut steps, Self::reclaim_fields);
                fields_due = used_up_by.is_some();
                self.shard.expiry.fields = used_up_by.map_or(from, |db| db + 1);
            }
        }
        keys_due || fields_due
    }

    /// One turn of keys or of fields, beginning with the database `from`. Returns the database that used it
    /// up; none if nothing is due any more.
    fn turn(
        &mut self,
        from: u16,
        steps: &mut usize,
        reclaim: impl Fn(&mut Self, u16, &mut usize),
    ) -> Option<u16> {
        let given = TURN_STEPS.min(*steps);
        let mut left = given;
        // As many as there are databases, whose number is a `u16`.
        let databases = self.shard.tables().len() as u16;
        let used_up_by = (from..databases).chain(0..from.min(databases)).find(|&db| {
            reclaim(self, db, &mut left);
            left == 0
        });
        *steps -= given - left;
        used_up_by
    }

    fn reclaim_keys(&mut self, db: u16, steps: &mut usize) {
        while *steps > 0 {
            let table = self.shard.table(db);
            let Some(due) = table.deadlines.first() else { return };
            if self.now_ms <= due.deadline_ms {
                return;
            }
            // Every place is that of a key.
            let Some((key, _)) = table.at_due(due) else { return };
            self.report.note_lag(due.deadline_ms, self.now_ms);
            let key = key.clone();
            self.garbage.entries.extend(self.shard.remove(db, &key));
            self.report.keys += 1;
            self.shard.stats.expired_keys += 1;
            self.shard.notify(db, EventClass::Expired, "expired", &key);
            (self.publish)(&Effects::single(db, self.verb.command(&key)));
            *steps = steps.saturating_sub(KEY_STEPS);
        }
    }

    fn reclaim_fields(&mut self, db: u16, steps: &mut usize) {
        while *steps > 0 {
            let Some(key) = self.shard.first_due_hash(db, self.now_ms, steps) else { return };
            if self.reclaim_from(db, &key, steps).is_break() {
                self.shard.defer_hash(db, &key);
                return;
            }
            *steps = steps.saturating_sub(HASH_STEPS);
        }
    }

    /// Reclaims due fields of one hash; breaks if the steps did not suffice.
    fn reclaim_from(&mut self, db: u16, key: &Bytes, steps: &mut usize) -> ControlFlow<()> {
        let Visit { now_ms, garbage, .. } = self;
        let first = garbage.names.len();
        let reclaimed = self.shard.update_if(db, key, |value| {
            let Value::Hash(hash) = value else { return (None, false) };
            let hash = Arc::make_mut(hash);
            let due_ms = hash.earliest_ms();
            hash.reclaim(*now_ms, steps, &mut garbage.names);
            (Some((due_ms, hash.is_empty())), garbage.names.len() > first)
        });
        let (due_ms, is_emptied) = reclaimed.flatten().unwrap_or_default();
        let names = &garbage.names[first..];
        let is_done = *steps > 0 || is_emptied;
        if !names.is_empty() {
            if is_emptied {
                garbage.entries.extend(self.shard.remove(db, key));
            }
            if let Some(due_ms) = due_ms {
                self.report.note_lag(due_ms, *now_ms);
            }
            self.report.fields += names.len() as u64;
            self.report.hashes += u64::from(is_done);
            self.shard.stats.expired_fields += names.len() as u64;
            self.shard.notify(db, EventClass::Expired, "hexpired", key);
            if is_emptied {
                self.shard.notify(db, EventClass::Generic, "del", key);
            }
            let mut effects = Effects::new();
            effects.push(db, &[], hash::reclaim(key, names, is_emptied, self.verb));
            (self.publish)(&effects);
        }
        if is_done { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }
}
