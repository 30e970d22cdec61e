//! Clients that are paused: by `CLIENT PAUSE` for a time, or while a shutdown waits for replicas or a failover
//! for one.
//!
//! # Promise
//!
//! While writes are paused no client changes the data or the stream: a command that may is put off, its
//! client is shown as blocked, and it runs when the pause is over, as if it had just arrived. Nobody's
//! connection is closed. Active expiry and evictions rest as well. (A read that meets an expired key still
//! deletes it, unlike in Valkey.)
//!
//! Without a pause a command pays one relaxed load.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;

/// What is paused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    #[default]
    Nothing,
    /// What may change data or publish.
    Writes,
    Everything,
}

impl Level {
    /// As `INFO` names it.
    pub fn name(self) -> &'static str {
        match self {
            Level::Nothing => "none",
            Level::Writes => "write",
            Level::Everything => "all",
        }
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct State {
    /// `CLIENT PAUSE`, and until when.
    clients: Level,
    until_ms: u64,
    shutdown: bool,
    failover: bool,
}

impl State {
    fn level(&self, now_ms: u64) -> Level {
        let shutdown = if self.shutdown || self.failover { Level::Writes } else { Level::Nothing };
        let clients = if now_ms < self.until_ms { self.clients } else { Level::Nothing };
        clients.max(shutdown)
    }
}

/// Whether and until when clients are paused.
#[derive(Debug, Default)]
pub(super) struct Pause {
    /// Whether `state` may say so; relaxed, for who is told that there is a pause comes after it.
    is_set: AtomicBool,
    state: Mutex<State>,
    /// Sent whenever `state` changes.
    changed: watch::Sender<()>,
}

impl Pause {
    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.state.lock();
        change(&mut state);
        self.is_set
            .store(state.shutdown || state.failover || state.clients > Level::Nothing, Ordering::Relaxed);
        drop(state);
        self.changed.send_replace(());
    }

    /// `CLIENT PAUSE`: from now on, until then. What is paused already stays so at least as long.
    pub fn clients(&self, level: Level, now_ms: u64, until_ms: u64) {
        self.change(|state| {
            if now_ms >= state.until_ms {
                state.clients = Level::Nothing;
            }
            state.clients = state.clients.max(level);
            state.until_ms = state.until_ms.max(until_ms);
        });
    }

    /// `CLIENT UNPAUSE`.
    pub fn unpause_clients(&self) {
        self.change(|state| (state.clients, state.until_ms) = (Level::Nothing, 0));
    }

    /// A shutdown waits, or does not.
    pub fn shutdown(&self, waits: bool) {
        self.change(|state| state.shutdown = waits);
    }

    /// A failover is going on, or not.
    pub fn failover(&self, goes_on: bool) {
        self.change(|state| state.failover = goes_on);
    }

    /// What is paused.
    #[inline]
    pub fn level(&self, now_ms: impl FnOnce() -> u64) -> Level {
        if self.is_set.load(Ordering::Relaxed) { self.level_now(now_ms()) } else { Level::Nothing }
    }

    fn level_now(&self, now_ms: u64) -> Level {
        let mut state = self.state.lock();
        let level = state.level(now_ms);
        if level == Level::Nothing {
            // Its time is over: who waits for that has a clock of its own.
            *state = State::default();
            self.is_set.store(false, Ordering::Relaxed);
        }
        level
    }

    /// What is paused, by what, and for how many milliseconds, as `INFO` shows it.
    pub fn describe(&self, now_ms: u64) -> (&'static str, Level, u64) {
        let state = *self.state.lock();
        let level = state.level(now_ms);
        match level {
            Level::Nothing => ("none", level, 0),
            _ if state.shutdown => ("shutdown_in_progress", level, i64::MAX as u64),
            _ if state.failover => ("failover_in_progress", level, i64::MAX as u64),
            _ => ("client_pause", level, state.until_ms - now_ms),
        }
    }

    /// Resolves when less than `level` is paused.
    pub async fn below(&self, level: Level, now_ms: impl Fn() -> u64) {
        let mut changed = self.changed.subscribe();
        loop {
            let (paused, left_ms) = {
                changed.mark_unchanged();
                let (state, now_ms) = (*self.state.lock(), now_ms());
                (state.level(now_ms), state.until_ms.checked_sub(now_ms).filter(|left_ms| *left_ms > 0))
            };
            if paused < level {
                return;
            }
            let end = async {
                match left_ms {
                    Some(left_ms) => tokio::time::sleep(Duration::from_millis(left_ms)).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                // The sender lives as long as `self`, so waiting cannot fail.
                _ = changed.changed() => {}
                () = end => {}
            }
        }
    }
}
