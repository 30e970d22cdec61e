//! Eviction: keys that go when the data takes more than `maxmemory`.
//!
//! # Promise
//!
//! * Every eviction is a unit of its own: the deletion is published while the lock of the key's shard is
//!   held, as any command's effect is, and so a replica loses the key at the same place of the stream.
//! * No more than one shard is locked at a time, and one thread evicts at a time: threads that come together
//!   do not evict twice as much as is needed.
//! * One command evicts for a bounded time. What is then still too much is left to the next, and the command
//!   runs.
//!
//! # Which keys
//!
//! As in Valkey a few keys are drawn at random, and the best of them, together with the best that were seen
//! before and are still there, is evicted. Shards take turns. Keys are spread evenly over the shards,
//! whatever their names, so a draw within one shard is as good as one among all; where a shard has too few
//! keys the next ones help out. `volatile-ttl` draws nothing: the index of deadlines knows each shard's
//! nearest.
//!
//! A candidate that was used since it was drawn, or whose deadline was moved, is no candidate any more.

use std::time::{Duration, Instant};

use bytes::Bytes;
use rand::RngExt as _;

use super::events::EventClass;
use super::memory::{EvictionPolicy, FrequencyRule, MemoryLimits, seconds};
use super::shard::{Due, Entry, Shard, Table};
use super::{Effects, Keyspace, Reign};

/// The most candidates that are remembered.
const CANDIDATES_MAX: usize = 16;

/// How often a key is drawn in search of one with a deadline, before the index of deadlines is asked. The
/// draw from the index is less even: it prefers the key that comes after a long time without deadlines.
const DRAWS_MAX: usize = 32;

/// Whether there is room for a command that needs memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// The data is within its limit.
    Enough,
    /// It is not, and the time was up before it was; there are more keys that can go.
    Later,
    /// It is not, and there is nothing that may be evicted.
    None,
}

/// A key that might be evicted.
#[derive(Debug)]
struct Candidate {
    /// The higher, the sooner it goes.
    rank: u64,
    shard: usize,
    db: u16,
    key: Bytes,
}

/// What is remembered between evictions. Behind a lock that is taken before a shard's, never under one.
#[derive(Debug, Default)]
pub(super) struct Evictor {
    /// The shard at which the next draw begins.
    next_shard: usize,
    /// The lowest rank first.
    candidates: Vec<Candidate>,
    /// Under which limits they were ranked.
    limits: MemoryLimits,
}

/// How long one command may evict: Valkey's scale from 0 to 100, of which 99 is about two minutes.
fn time_limit(tenacity: u32) -> Duration {
    match tenacity {
        0..=10 => Duration::from_micros(50 * u64::from(tenacity)),
        11..=99 => Duration::from_secs_f64(500e-6 * 1.15_f64.powi(tenacity as i32 - 10)),
        _ => Duration::MAX,
    }
}

/// How a policy compares keys, at one moment.
#[derive(Clone, Copy)]
struct Ranking {
    policy: EvictionPolicy,
    now_s: u32,
    rule: FrequencyRule,
}

impl Ranking {
    /// The rank of an entry; none if it is not to be evicted at all.
    fn rank(&self, entry: &Entry) -> Option<u64> {
        use EvictionPolicy::*;
        let deadline_ms = entry.deadline_ms;
        if self.policy.is_volatile() && deadline_ms.is_none() {
            return None;
        }
        Some(match self.policy {
            NoEviction => return None,
            AllKeysRandom | VolatileRandom => 0,
            AllKeysLru | VolatileLru => entry.access.idle_s(self.now_s).into(),
            AllKeysLfu | VolatileLfu => u64::from(u8::MAX - entry.access.frequency(self.now_s, self.rule)),
            VolatileTtl => u64::MAX - deadline_ms?,
        })
    }
}

impl Keyspace {
    /// Whether the data takes more than `maxmemory` allows. Without a limit, one relaxed load.
    #[inline]
    pub fn is_over_memory_limit(&self) -> bool {
        let max_bytes = self.memory.max_bytes();
        max_bytes > 0 && self.used_bytes() > max_bytes
    }

    /// Evicts keys until the data is within `maxmemory`, for as long as one command may; only a primary does
    /// this. Each eviction is published as a unit of its own.
    pub fn make_room(&self, now_ms: u64, publish: &mut dyn FnMut(&Effects<'_>)) -> Room {
        if !self.is_over_memory_limit() || self.reign() != Reign::Own {
            return Room::Enough;
        }
        let limits = self.memory.limits();
        if limits.policy == EvictionPolicy::NoEviction {
            return Room::None;
        }
        let started = Instant::now();
        let allowed = time_limit(limits.tenacity);
        let evictor = match started.checked_add(allowed) {
            Some(until) => self.evictor.try_lock_until(until),
            None => Some(self.evictor.lock()),
        };
        // Another thread has been making room all the time.
        let Some(mut evictor) = evictor else { return Room::Later };
        evictor.adopt(limits);
        let rule = FrequencyRule { log_factor: limits.lfu_log_factor, decay_min: limits.lfu_decay_min };
        let ranking = Ranking { policy: limits.policy, now_s: seconds(now_ms), rule };
        while self.used_bytes() > limits.max_bytes {
            if !evictor.evict_one(self, &limits, ranking, publish) {
                return Room::None;
            }
            if started.elapsed() > allowed {
                return if self.is_over_memory_limit() { Room::Later } else { Room::Enough };
            }
        }
        Room::Enough
    }

    /// Removes `key` if it is still there and as good to evict as `rank` says; publishes its deletion under
    /// the lock.
    fn evict(
        &self,
        Candidate { rank, shard, db, key }: &Candidate,
        ranking: Ranking,
        publish: &mut dyn FnMut(&Effects<'_>),
    ) -> bool {
        let mut shard = self.lock_shard(*shard);
        if self.reign.under_lock() != Reign::Own {
            return false;
        }
        let present = shard.get(*db, key).and_then(|entry| ranking.rank(entry));
        if present.is_none_or(|present| present < *rank) {
            return false;
        }
        let removed = shard.remove(*db, key);
        shard.stats.evicted_keys += 1;
        shard.notify(*db, EventClass::Evicted, "evicted", key);
        publish(&Effects::single(*db, self.options.deletion_verb.command(key)));
        drop(shard);
        // Freed without the lock.
        drop(removed);
        true
    }
}

impl Evictor {
    /// Forgets the candidates that were ranked under other limits.
    fn adopt(&mut self, limits: MemoryLimits) {
        if self.limits != limits {
            self.candidates.clear();
            self.limits = limits;
        }
    }

    /// Evicts a key; false if there is none that may be evicted.
    fn evict_one(
        &mut self,
        keyspace: &Keyspace,
        limits: &MemoryLimits,
        ranking: Ranking,
        publish: &mut dyn FnMut(&Effects<'_>),
    ) -> bool {
        loop {
            if keyspace.reign() != Reign::Own || !self.draw(keyspace, limits.samples, ranking) {
                return false;
            }
            while let Some(candidate) = self.candidates.pop() {
                if keyspace.evict(&candidate, ranking, publish) {
                    return true;
                }
            }
        }
    }

    /// Looks at about `samples` keys that may be evicted, and keeps the best; false if there is none.
    fn draw(&mut self, keyspace: &Keyspace, samples: usize, ranking: Ranking) -> bool {
        let (mut wanted, mut found) = (samples.max(1), false);
        for _ in 0..keyspace.options.shards {
            let number = self.next_shard % keyspace.options.shards;
            self.next_shard = number + 1;
            let shard = keyspace.lock_shard(number);
            let drawn = draw_from(&shard, wanted, ranking, &mut |db, key, entry| {
                let Some(rank) = ranking.rank(entry) else { return };
                found = true;
                self.consider(rank, number, db, key);
            });
            wanted = wanted.saturating_sub(drawn);
            if wanted == 0 {
                break;
            }
        }
        found
    }

    /// Takes a key among the candidates, if it is better than one of them or there is room.
    fn consider(&mut self, rank: u64, shard: usize, db: u16, key: &Bytes) {
        // A key that was drawn before is ranked anew.
        self.candidates.retain(|known| known.db != db || known.key != key);
        let at = self.candidates.partition_point(|known| known.rank <= rank);
        if self.candidates.len() == CANDIDATES_MAX {
            if at == 0 {
                return;
            }
            self.candidates.remove(0);
            self.candidates.insert(at - 1, Candidate { rank, shard, db, key: key.clone() });
        } else {
            self.candidates.insert(at, Candidate { rank, shard, db, key: key.clone() });
        }
    }
}

/// Shows at most `samples` keys of a shard that may be evicted; returns how many were looked at.
fn draw_from(
    shard: &Shard,
    samples: usize,
    ranking: Ranking,
    show: &mut dyn FnMut(u16, &Bytes, &Entry),
) -> usize {
    let tables = || (0..).zip(shard.tables());
    if ranking.policy == EvictionPolicy::VolatileTtl {
        let mut drawn = 0;
        for (db, table) in tables() {
            for due in table.deadlines.iter().take(samples) {
                if let Some((key, entry)) = table.at_due(due) {
                    show(db, key, entry);
                    drawn += 1;
                }
            }
        }
        return drawn;
    }
    let volatile = ranking.policy.is_volatile();
    let keys = |table: &Table| if volatile { table.deadlines.len() } else { table.map.len() };
    let total: usize = tables().map(|(_, table)| keys(table)).sum();
    let drawn = samples.min(total);
    let mut rng = rand::rng();
    for _ in 0..drawn {
        // A database is drawn as often as it has keys.
        let mut index = rng.random_range(0..total);
        for (db, table) in tables() {
            if index < keys(table) {
                let key = if volatile { draw_volatile(table) } else { table.map.get_index(index) };
                if let Some((key, entry)) = key {
                    show(db, key, entry);
                }
                break;
            }
            index -= keys(table);
        }
    }
    drawn
}

/// A key with a deadline, of a table that has one.
fn draw_volatile(table: &Table) -> Option<(&Bytes, &Entry)> {
    let mut rng = rand::rng();
    for _ in 0..DRAWS_MAX {
        let (key, entry) = table.map.get_index(rng.random_range(0..table.map.len()))?;
        if entry.deadline_ms.is_some() {
            return Some((key, entry));
        }
    }
    let (first, last) = (table.deadlines.first()?, table.deadlines.last()?);
    let from = Due::at(rng.random_range(first.deadline_ms..=last.deadline_ms), rng.random());
    let due = table.deadlines.range(from..).next().unwrap_or(first);
    table.at_due(due)
}
