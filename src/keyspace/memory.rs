//! What the data takes, when it was last used, and how much of it may stay.
//!
//! # What counts
//!
//! Every entry has a size: its key, its value and what the tables keep beside them. It follows what is
//! allocated: each piece of memory counts with its size class, collections with what they have in
//! reserve, and tables with what they take on average, for how full one is does not belong to an entry. It is
//! known in O(1), and each shard keeps the sum of its entries wherever an entry changes.
//! [`Keyspace::used_bytes`](super::Keyspace::used_bytes) adds the shards up. A value that two keys share
//! (`COPY`, until one of them changes) counts for both.
//!
//! `maxmemory` bounds this sum and nothing else. The replication buffer has bounds of its own, the backlog
//! and the limits of the cursors, and is not taken from the data: an eviction is written into the stream, and
//! a limit that counted the stream would evict because it evicted. Valkey leaves out what replicas retain,
//! for the same reason, and counts the backlog, which it allocates with the first replica.
//!
//! # Access
//!
//! An entry knows the second of its last access, and a logarithmic counter of accesses that ages with time,
//! which is kept up only under a policy that asks for it. Both are Valkey's. An access is no modification: it
//! changes no version, is in no snapshot and in no stream.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use arc_swap::ArcSwap;
use crossbeam_utils::CachePadded;

/// The counter of a new entry: it has not been used often, and must not be the first to go.
const NEW_FREQUENCY: u8 = 5;

/// Which keys make room when memory is short, named as `maxmemory-policy` names them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EvictionPolicy {
    /// None: commands that need memory are refused.
    #[default]
    NoEviction,
    /// The least recently used of all keys.
    AllKeysLru,
    /// The least frequently used of all keys.
    AllKeysLfu,
    /// Any key.
    AllKeysRandom,
    /// The least recently used of the keys with a deadline.
    VolatileLru,
    /// The least frequently used of the keys with a deadline.
    VolatileLfu,
    /// Any key with a deadline.
    VolatileRandom,
    /// The key with the nearest deadline.
    VolatileTtl,
}

impl EvictionPolicy {
    /// All of them, in the order in which Valkey lists them.
    pub const ALL: [EvictionPolicy; 8] = [
        EvictionPolicy::VolatileLru,
        EvictionPolicy::VolatileLfu,
        EvictionPolicy::VolatileRandom,
        EvictionPolicy::VolatileTtl,
        EvictionPolicy::AllKeysLru,
        EvictionPolicy::AllKeysLfu,
        EvictionPolicy::AllKeysRandom,
        EvictionPolicy::NoEviction,
    ];

    /// Valkey's name.
    pub fn name(self) -> &'static str {
        match self {
            EvictionPolicy::NoEviction => "noeviction",
            EvictionPolicy::AllKeysLru => "allkeys-lru",
            EvictionPolicy::AllKeysLfu => "allkeys-lfu",
            EvictionPolicy::AllKeysRandom => "allkeys-random",
            EvictionPolicy::VolatileLru => "volatile-lru",
            EvictionPolicy::VolatileLfu => "volatile-lfu",
            EvictionPolicy::VolatileRandom => "volatile-random",
            EvictionPolicy::VolatileTtl => "volatile-ttl",
        }
    }

    /// Whether only keys with a deadline are evicted.
    pub fn is_volatile(self) -> bool {
        use EvictionPolicy::{VolatileLfu, VolatileLru, VolatileRandom, VolatileTtl};
        matches!(self, VolatileLru | VolatileLfu | VolatileRandom | VolatileTtl)
    }

    /// Whether it needs the frequency of accesses.
    pub fn needs_frequency(self) -> bool {
        matches!(self, EvictionPolicy::AllKeysLfu | EvictionPolicy::VolatileLfu)
    }
}

/// How much memory the data may take, and what happens beyond.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryLimits {
    /// Bytes that all entries together may take; 0 for any number. Valkey's `maxmemory`.
    pub max_bytes: u64,
    /// Which keys are evicted.
    pub policy: EvictionPolicy,
    /// How many keys are looked at to find one to evict. Valkey's `maxmemory-samples`.
    pub samples: usize,
    /// How long one command may evict, from 0 to 100. Valkey's `maxmemory-eviction-tenacity`.
    pub tenacity: u32,
    /// How slowly the counter of accesses grows. Valkey's `lfu-log-factor`.
    pub lfu_log_factor: u32,
    /// Minutes after which the counter of an unused entry is one less; 0 for never. Valkey's
    /// `lfu-decay-time`.
    pub lfu_decay_min: u32,
}

impl Default for MemoryLimits {
    fn default() -> Self {
        MemoryLimits {
            max_bytes: 0,
            policy: EvictionPolicy::NoEviction,
            samples: 5,
            tenacity: 10,
            lfu_log_factor: 10,
            lfu_decay_min: 1,
        }
    }
}

/// The bytes of one shard, to be read without its lock. Relaxed: it is a number to compare, and orders
/// nothing.
#[derive(Clone, Debug, Default)]
pub(super) struct UsedBytes(Arc<CachePadded<AtomicU64>>);

impl UsedBytes {
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub fn set(&self, bytes: u64) {
        self.0.store(bytes, Ordering::Relaxed);
    }
}

/// How much an allocator sets aside for a piece of `bytes` bytes: steps of 16 bytes, and from 128 on four steps
/// to each doubling, as jemalloc has them, which the program uses.
pub(super) const fn size_class(bytes: usize) -> usize {
    const STEP: usize = 16;
    const STEPS_TO_DOUBLE: u32 = 4;
    if bytes <= STEP * 8 {
        return bytes.next_multiple_of(STEP);
    }
    let step = (1 << (bytes - 1).ilog2()) / STEPS_TO_DOUBLE as usize;
    match bytes.checked_next_multiple_of(step) {
        Some(class) => class,
        None => bytes,
    }
}

/// The limits in force, and what commands look at of them without more than a relaxed load.
#[derive(Debug, Default)]
pub(super) struct Memory {
    limits: ArcSwap<MemoryLimits>,
    max_bytes: AtomicU64,
    tracks_frequency: AtomicBool,
    lfu_log_factor: AtomicU32,
    lfu_decay_min: AtomicU32,
}

impl Memory {
    pub fn limits(&self) -> MemoryLimits {
        **self.limits.load()
    }

    pub fn set_limits(&self, limits: MemoryLimits) {
        self.lfu_log_factor.store(limits.lfu_log_factor, Ordering::Relaxed);
        self.lfu_decay_min.store(limits.lfu_decay_min, Ordering::Relaxed);
        self.tracks_frequency.store(limits.policy.needs_frequency(), Ordering::Relaxed);
        self.max_bytes.store(limits.max_bytes, Ordering::Relaxed);
        self.limits.store(Arc::new(limits));
    }

    pub fn max_bytes(&self) -> u64 {
        self.max_bytes.load(Ordering::Relaxed)
    }

    /// How accesses are counted, if they are.
    pub fn frequency_rule(&self) -> Option<FrequencyRule> {
        self.tracks_frequency.load(Ordering::Relaxed).then(|| FrequencyRule {
            log_factor: self.lfu_log_factor.load(Ordering::Relaxed),
            decay_min: self.lfu_decay_min.load(Ordering::Relaxed),
        })
    }
}

/// How the counter of accesses grows and ages.
#[derive(Clone, Copy, Debug)]
pub(super) struct FrequencyRule {
    pub log_factor: u32,
    pub decay_min: u32,
}

/// When and how often an entry was used, and by what kind of command it was written: what is known about an
/// entry that is no part of its value, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Access {
    /// Seconds since the Unix epoch.
    at_s: u32,
    /// The minute, modulo 2^16, up to which the counter has been aged.
    aged_at_min: u16,
    frequency: u8,
    /// Of a string.
    pub form: StringForm,
}

/// How a string came to be, which decides in Valkey how it is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum StringForm {
    /// It was stored as a whole: a number is kept as a number.
    #[default]
    Stored,
    /// It is text, whatever it looks like (`INCRBYFLOAT`).
    Text,
    /// It was changed in place (`APPEND`, `SETRANGE`, `SETBIT`): a buffer of its own.
    Built,
}

thread_local! {
    /// Whether this thread runs for a client whose lookups do not count.
    static UNTOUCHED: Cell<bool> = const { Cell::new(false) };
}

/// Runs `work` so that its lookups are no accesses to the keys, as a client can ask for (`CLIENT NO-TOUCH`);
/// `TOUCH` is one all the same.
pub fn untouched<T>(work: impl FnOnce() -> T) -> T {
    struct Restore(bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            UNTOUCHED.set(self.0);
        }
    }
    // Also if `work` panics.
    let _restore = Restore(UNTOUCHED.replace(true));
    work()
}

/// Whether lookups count as accesses now.
pub(super) fn notes_access() -> bool {
    !UNTOUCHED.get()
}

/// The clock of accesses; enough until 2106.
pub(super) fn seconds(now_ms: u64) -> u32 {
    u32::try_from(now_ms / 1000).unwrap_or(u32::MAX)
}

impl Access {
    /// Of an entry that has just been created.
    pub fn new(now_s: u32) -> Access {
        Access {
            at_s: now_s,
            aged_at_min: minute(now_s),
            frequency: NEW_FREQUENCY,
            form: StringForm::default(),
        }
    }

    /// Of the same key with another value.
    pub fn rewritten(self) -> Access {
        Access { form: StringForm::default(), ..self }
    }

    /// It is used now.
    pub fn note(&mut self, now_s: u32, rule: Option<FrequencyRule>) {
        self.at_s = now_s;
        if let Some(rule) = rule {
            let aged = self.frequency(now_s, rule);
            self.frequency = grown(aged, rule.log_factor);
            self.aged_at_min = minute(now_s);
        }
    }

    /// Seconds since the last access.
    pub fn idle_s(self, now_s: u32) -> u32 {
        now_s.saturating_sub(self.at_s)
    }

    /// The counter, aged to now.
    pub fn frequency(self, now_s: u32, rule: FrequencyRule) -> u8 {
        let elapsed_min = u32::from(minute(now_s).wrapping_sub(self.aged_at_min));
        let steps = elapsed_min.checked_div(rule.decay_min).unwrap_or(0);
        self.frequency.saturating_sub(u8::try_from(steps).unwrap_or(u8::MAX))
    }

    /// As if it had been used last so long ago (`RESTORE … IDLETIME`).
    pub fn set_idle_s(&mut self, now_s: u32, idle_s: u64) {
        self.at_s = now_s.saturating_sub(u32::try_from(idle_s).unwrap_or(u32::MAX));
    }

    /// As if it had been used so often (`RESTORE … FREQ`).
    pub fn set_frequency(&mut self, now_s: u32, frequency: u8) {
        self.frequency = frequency;
        self.aged_at_min = minute(now_s);
    }
}

/// The minute, modulo 2^16: about 45 days.
fn minute(now_s: u32) -> u16 {
    // The wrap is meant.
    (now_s / 60) as u16
}

/// The counter after one more access: the higher it is, the less likely it grows.
fn grown(frequency: u8, log_factor: u32) -> u8 {
    let above_new = f64::from(frequency.saturating_sub(NEW_FREQUENCY));
    let chance = 1.0 / (above_new * f64::from(log_factor) + 1.0);
    frequency.saturating_add(u8::from(rand::random::<f64>() < chance))
}

#[cfg(test)]
mod tests {
    use super::size_class;

    #[test]
    fn pieces_are_rounded_up_to_classes() {
        let classes = [0, 1, 16, 17, 100, 128, 129, 160, 161, 513, 641, 4097].map(size_class);
        assert_eq!(classes, [0, 16, 16, 32, 112, 128, 160, 160, 192, 640, 768, 5120]);
        assert_eq!(size_class(usize::MAX), usize::MAX);
    }
}
