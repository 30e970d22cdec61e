//! When active expiry runs, and how much of a processor it may take.
//!
//! # Pace
//!
//! `hz` times a second a *slow* cycle runs, for at most (23 + 2e) % of its period, e being
//! `active-expire-effort`. It finds whatever is due, so usually it ends long before. If it runs out of time,
//! *fast* cycles of at most 0.75 + 0.25e milliseconds follow until the next slow one or until nothing is due,
//! each after a pause at least as long as itself. These are Valkey's figures; but where periods are short,
//! fast cycles are at most a quarter of what the slow one leaves. So what becomes due is gone from storage
//! within one period, as long as what becomes due in a period can be reclaimed in the time for it; the time
//! is at most
//!
//! | effort | nothing left over | behind |
//! |---|---|---|
//! | 1 | 25 % of one processor | 63 % |
//! | 10 | 43 % | 72 % |
//!
//! (less from about 200 `hz` on, because pauses are whole milliseconds), which reclaims 0.8 million fields a
//! second of one hash of a million, and 1.4 million of 100 000 hashes of ten (effort 1, measured on one
//! machine). Fields that expire faster than that for long accumulate, hidden, and `INFO` tells when that was
//! not enough: `expired_time_cap_reached_count` counts the cycles that had to leave something
//! (`expire_cycles_completed` those that did not), and `expire_lag_ms` is how overdue the last one found it:
//! never less than the truth, and more while cycles never catch up, as it is counted from when they last did.
//!
//! # Threads
//!
//! A cycle runs on a thread for blocking work, one at a time: it is too long for a thread that serves
//! sockets, and commands run beside it, because it holds one shard's lock at a time and briefly: see
//! [`Keyspace::expire_cycle`](crate::keyspace::Keyspace::expire_cycle). `expire_longest_hold_us` is how long
//! it was at worst, the time included that the thread may have been waiting for a processor.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::config::{Config, MAX_HZ, MIN_HZ};
use super::pause::Level;
use super::state::{Shared, unix_ms};
use crate::keyspace::ExpireReport;

/// Whether cycles run.
#[derive(Debug, Default)]
pub(super) struct ActiveExpiry {
    is_off: AtomicBool,
    /// Held by a cycle, which takes the keyspace's locks.
    cycle: Mutex<()>,
}

impl ActiveExpiry {
    /// From now on no cycle begins, or cycles begin again.
    pub fn set(&self, is_on: bool) {
        // Relaxed: read under the lock of `cycle`, which whoever wants to be sure takes after this.
        self.is_off.store(!is_on, Ordering::Relaxed);
    }

    /// Waits for the end of the cycle that is running, so that nothing is reclaimed after an answer that says
    /// so. Not under a lock of the keyspace.
    pub fn wait_for_cycle(&self) {
        drop(self.cycle.lock());
    }
}

/// The pace that a configuration asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Pace {
    period: Duration,
    slow: Duration,
    fast: Duration,
}

impl Pace {
    fn of(config: &Config) -> Pace {
        // Small numbers; an embedder may have set others than the table of parameters accepts.
        let hz = config.hz.clamp(MIN_HZ, MAX_HZ) as u32;
        let effort = config.active_expire_effort.clamp(1, 10) as u32;
        let period = Duration::from_secs(1) / hz;
        let slow = period * (23 + 2 * effort) / 100;
        let fast = Duration::from_micros(250) * (3 + effort);
        Pace {
            period,
            slow,
            // Two of them with their pauses always fit, so that who is behind is not slower for a higher
            // `hz`.
            fast: fast.min((period - slow) / 4),
        }
    }
}

/// Runs the cycles (never returns by itself).
pub(super) async fn run(shared: &Arc<Shared>) {
    loop {
        let pace = Pace::of(&shared.config.load());
        let next = Instant::now() + pace.period;
        let mut is_behind = cycle(shared, pace.slow).await;
        // With time for the pause and the cycle.
        while is_behind && Instant::now() + 2 * pace.fast <= next {
            tokio::time::sleep(pace.fast).await;
            is_behind = cycle(shared, pace.fast).await;
        }
        tokio::time::sleep_until(next).await;
    }
}

/// Runs one cycle; returns whether it has left something that was due.
async fn cycle(shared: &Arc<Shared>, budget: Duration) -> bool {
    let cycle = Arc::clone(shared);
    let report = tokio::task::spawn_blocking(move || {
        let expiry = &cycle.active_expiry;
        let running = expiry.cycle.lock();
        if expiry.is_off.load(Ordering::Relaxed) || cycle.paused() > Level::Nothing {
            return None;
        }
        let started = Instant::now();
        let report = cycle.keyspace.expire_cycle(unix_ms(), budget, &mut |effects| {
            // A failure has broken the history already; there is nothing to do about it here.
            let _ = cycle.publish(effects);
        });
        drop(running);
        Some((report, started.elapsed()))
    });
    match report.await {
        Ok(Some((report, took))) => {
            note(shared, &report, took);
            report.out_of_time
        }
        Ok(None) => false,
        Err(error) => {
            tracing::error!(%error, "an expiry cycle failed");
            false
        }
    }
}

fn note(shared: &Shared, report: &ExpireReport, took: Duration) {
    let stats = &shared.stats;
    // A cycle is bounded by seconds.
    stats.expire_cycles_us.add(took.as_micros() as u64);
    let kind =
        if report.out_of_time { &stats.expire_cycles_over_budget } else { &stats.expire_cycles_completed };
    kind.add(1);
    stats.expire_longest_hold_us.raise_to(report.longest_hold.as_micros() as u64);
    stats.expire_lag_ms.set(report.lag_ms);
    let percent = |part: u64, whole: u64| 100.0 * part as f64 / whole.max(1) as f64;
    stats.stale_keys_percent.add(percent(report.keys, report.keys_with_deadline));
    stats.stale_hashes_percent.add(percent(report.hashes, report.volatile_hashes));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pace_is_valkeys() {
        let pace =
            |hz, active_expire_effort| Pace::of(&Config { hz, active_expire_effort, ..Config::default() });
        let micros = |pace: Pace| [pace.period, pace.slow, pace.fast].map(|time| time.as_micros());
        assert_eq!(micros(pace(10, 1)), [100_000, 25_000, 1_000]);
        assert_eq!(micros(pace(10, 10)), [100_000, 43_000, 3_250]);
        assert_eq!(micros(pace(500, 1)), [2_000, 500, 375]);
        assert_eq!(micros(pace(1, 10)), [1_000_000, 430_000, 3_250]);
    }

    #[test]
    fn fast_cycles_fit_into_every_period() {
        for hz in [MIN_HZ, 10, 50, 100, 200, MAX_HZ] {
            for active_expire_effort in 1..=10 {
                let pace = Pace::of(&Config { hz, active_expire_effort, ..Config::default() });
                assert!(
                    pace.slow + 4 * pace.fast <= pace.period,
                    "hz {hz}, {active_expire_effort}: {pace:?}"
                );
                assert!(!pace.fast.is_zero());
            }
        }
    }
}
