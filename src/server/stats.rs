//! Counters of a running server, as `INFO stats` shows them.
//!
//! All are monotonic and independent of each other, so every access is Relaxed; connections add
//! once a batch, not once a command, to keep the shared lines cool.

use std::sync::atomic::{AtomicU64, Ordering};

/// A counter that only grows (until `CONFIG RESETSTAT`).
#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// For what is not a sum but the most there was; one thread at a time.
    pub fn raise_to(&self, n: u64) {
        self.set(self.get().max(n));
    }

    pub fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }
}

/// A running average in which the newest sample weighs 5 %. Written by one thread at a time.
#[derive(Debug, Default)]
pub(super) struct Average(AtomicU64);

impl Average {
    pub fn add(&self, sample: f64) {
        self.0.store((self.get() * 0.95 + sample * 0.05).to_bits(), Ordering::Relaxed);
    }

    pub fn get(&self) -> f64 {
        f64::from_bits(self.0.load(Ordering::Relaxed))
    }

    pub fn clear(&self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

/// What happened since the start or the last `CONFIG RESETSTAT`.
#[derive(Debug, Default)]
pub(super) struct Stats {
    pub connections: Counter,
    pub connections_rejected: Counter,
    pub commands: Counter,
    pub error_replies: Counter,
    pub protocol_errors: Counter,
    pub net_input_bytes: Counter,
    pub net_output_bytes: Counter,
    pub net_repl_output_bytes: Counter,
    pub reads: Counter,
    pub writes: Counter,
    pub output_limit_disconnections: Counter,
    pub query_limit_disconnections: Counter,
    pub sync_full: Counter,
    pub sync_partial_ok: Counter,
    pub sync_partial_err: Counter,
    pub replicas_evicted: Counter,
    pub replicas_refused: Counter,
    pub replicas_timed_out: Counter,
    pub history_breaks: Counter,
    /// Expiry cycles that left nothing that was due.
    pub expire_cycles_completed: Counter,
    pub expire_cycles_over_budget: Counter,
    /// Time spent in expiry cycles, in microseconds.
    pub expire_cycles_us: Counter,
    /// Percentage of the keys with a deadline that a cycle finds due.
    pub stale_keys_percent: Average,
    /// Percentage of the hashes with deadlines of fields in which a cycle finds a due field.
    pub stale_hashes_percent: Average,
    /// How overdue the last cycle found things, in milliseconds, a gauge.
    pub expire_lag_ms: Counter,
    /// The longest time for which an expiry cycle held a lock, in microseconds.
    pub expire_longest_hold_us: Counter,
    /// Commands per second over the last sample, a gauge.
    pub ops_per_second: Counter,
}

impl Stats {
    pub fn reset(&self) {
        let Stats {
            connections,
            connections_rejected,
            commands,
            error_replies,
            protocol_errors,
            net_input_bytes,
            net_output_bytes,
            net_repl_output_bytes,
            reads,
            writes,
            output_limit_disconnections,
            query_limit_disconnections,
            sync_full,
            sync_partial_ok,
            sync_partial_err,
            replicas_evicted,
            replicas_refused,
            replicas_timed_out,
            history_breaks,
            expire_cycles_completed,
            expire_cycles_over_budget,
            expire_cycles_us,
            expire_longest_hold_us,
            stale_keys_percent,
            stale_hashes_percent,
            expire_lag_ms: _,
            ops_per_second: _,
        } = self;
        stale_keys_percent.clear();
        stale_hashes_percent.clear();
        for counter in [
            connections,
            connections_rejected,
            commands,
            error_replies,
            protocol_errors,
            net_input_bytes,
            net_output_bytes,
            net_repl_output_bytes,
            reads,
            writes,
            output_limit_disconnections,
            query_limit_disconnections,
            sync_full,
            sync_partial_ok,
            sync_partial_err,
            replicas_evicted,
            replicas_refused,
            replicas_timed_out,
            history_breaks,
            expire_cycles_completed,
            expire_cycles_over_budget,
            expire_cycles_us,
            expire_longest_hold_us,
        ] {
            counter.set(0);
        }
    }
}
