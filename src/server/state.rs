//! What all tasks of one server share.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use rand::Rng as _;
use tokio::sync::{Notify, watch};

use super::clients::Clients;
use super::commandlog::CommandLog;
use super::config::{Config, OutputLimit};
use super::expiry::ActiveExpiry;
use super::monitor::Monitors;
use super::pause::{Level, Pause};
use super::persistence::Persistence;
use super::pubsub::PubSub;
use super::replication::{Replication, Stream};
use super::scripting::Scripting;
use super::stats::Stats;
use crate::buffer::CursorLimits;
use crate::keyspace::events::EventSink;
use crate::keyspace::{Keyspace, Options, Room};
use crate::rewrite::DeletionVerb;

/// How far a server has come towards its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Running,
    /// Writes are paused until the replicas have acknowledged everything, or until then; it may be aborted.
    Stopping {
        until_ms: u64,
        ending: Ending,
    },
    /// The data is being saved; if that fails, it goes on as if nothing had been, unless the end is forced.
    Saving {
        until_ms: u64,
        ending: Ending,
    },
    /// No new connections, clients are closed, replicas take what is left of the stream, until then.
    Draining {
        until_ms: u64,
    },
}

/// What belongs to an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ending {
    /// The data is saved.
    pub saves: bool,
    /// Whether it ends also if that fails.
    pub forced: bool,
}

impl Phase {
    /// What follows when the replicas are not waited for, or not any more.
    fn after_replicas(until_ms: u64, ending: Ending) -> Phase {
        if ending.saves { Phase::Saving { until_ms, ending } } else { Phase::Draining { until_ms } }
    }
}

/// Time for connections to end, however long the replicas have been waited for.
const DRAIN_MIN_MS: u64 = 1_000;
/// How often is looked whether the replicas have everything.
const STOPPING_TICK: Duration = Duration::from_millis(50);

/// The shared state of a server.
pub(super) struct Shared {
    pub config: ArcSwap<Config>,
    /// Serialises changes of `config`; readers never take it.
    pub config_change: Mutex<()>,
    pub keyspace: Arc<Keyspace>,
    pub replication: Replication,
    pub persistence: Persistence,
    pub clients: Arc<Clients>,
    pub pubsub: Arc<PubSub>,
    pub monitors: Monitors,
    pub stats: Stats,
    pub command_log: CommandLog,
    pub phase: watch::Sender<Phase>,
    pub pause: Pause,
    pub active_expiry: ActiveExpiry,
    pub scripting: Scripting,
    /// A command has run although memory is short, because its time for evictions was up.
    pub more_to_evict: Notify,
    pub blocked_clients: AtomicUsize,
    /// The address the listener got.
    pub port: u16,
    /// 40 hexadecimal digits that name this run.
    pub run_id: String,
    started: Instant,
}

impl Shared {
    pub fn new(config: Config, stream: Arc<Stream>, port: u16) -> Self {
        let pubsub = Arc::new(PubSub::new(&config));
        let options = Options {
            shards: config.shards,
            databases: config.databases,
            deletion_verb: DeletionVerb::Unlink,
            max_string_bytes: usize::try_from(config.max_bulk_bytes).unwrap_or(usize::MAX),
        };
        let sink: Arc<dyn EventSink> = Arc::clone(&pubsub) as _;
        let keyspace = Arc::new(Keyspace::with_events(options, Some(sink)));
        keyspace.set_event_classes(config.notifications.wanted());
        keyspace.set_memory_limits(config.memory);
        Shared {
            keyspace,
            replication: Replication::new(stream),
            persistence: Persistence::default(),
            clients: Arc::default(),
            pubsub,
            monitors: Monitors::new(&config),
            stats: Stats::default(),
            command_log: CommandLog::default(),
            phase: watch::Sender::new(Phase::Running),
            pause: Pause::default(),
            active_expiry: ActiveExpiry::default(),
            scripting: Scripting::default(),
            more_to_evict: Notify::new(),
            blocked_clients: AtomicUsize::new(0),
            port,
            run_id: random_id().to_string(),
            started: Instant::now(),
            config: ArcSwap::from_pointee(config),
            config_change: Mutex::new(()),
        }
    }

    /// Milliseconds since the server began: the clock of replication, idle times and lags.
    pub fn mono_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Whether clients are served.
    pub fn is_running(&self) -> bool {
        !matches!(*self.phase.borrow(), Phase::Draining { .. })
    }

    /// How it ends if nobody says otherwise: data is saved if that is done by itself as well.
    pub fn usual_ending(&self) -> Ending {
        Ending { saves: !self.config.load().save_points().is_empty(), forced: false }
    }

    /// Whether nothing is to come into the stream any more but what is executed already.
    pub fn has_settled(&self) -> bool {
        matches!(*self.phase.borrow(), Phase::Saving { .. } | Phase::Draining { .. })
    }

    /// Begins to end. Waits for replicas that lag, if `waits`, for at most `shutdown-timeout`; returns
    /// whether there is something to wait for, which may be a save. If it has been waiting already, one that
    /// does not wait ends that. What is not loaded yet is not saved.
    pub fn stop(&self, waits: bool, ending: Ending) -> bool {
        // First, so that what the replicas are to have is settled.
        self.pause.shutdown(true);
        let timeout_ms = self.config.load().shutdown_timeout_s.saturating_mul(1000);
        let now_ms = self.mono_ms();
        let waits = waits && timeout_ms > 0 && !self.replication.all_have_everything();
        let ending = Ending { saves: ending.saves && !self.persistence.loading.is_active(), ..ending };
        let mut is_waiting = false;
        self.phase.send_modify(|phase| {
            let until_ms = now_ms.saturating_add(timeout_ms);
            *phase = match *phase {
                Phase::Running | Phase::Stopping { .. } if !waits => Phase::after_replicas(until_ms, ending),
                Phase::Running => Phase::Stopping { until_ms, ending },
                other => other,
            };
            is_waiting = matches!(phase, Phase::Stopping { .. } | Phase::Saving { .. });
        });
        is_waiting
    }

    /// Ends at once a wait for replicas that has begun, or begins to end.
    pub fn stop_or_insist(&self) {
        let (waits, ending) = match *self.phase.borrow() {
            Phase::Stopping { ending, .. } => (false, ending),
            _ => (true, self.usual_ending()),
        };
        self.stop(waits, ending);
    }

    /// The data was saved, or not: ends, or goes on.
    pub fn end_saving(&self, well: bool) {
        let now_ms = self.mono_ms();
        let mut goes_on = false;
        self.phase.send_if_modified(|phase| {
            let Phase::Saving { until_ms, ending } = *phase else { return false };
            goes_on = !well && !ending.forced;
            *phase = if goes_on {
                Phase::Running
            } else {
                Phase::Draining { until_ms: until_ms.max(now_ms.saturating_add(DRAIN_MIN_MS)) }
            };
            true
        });
        if goes_on {
            tracing::error!("the data cannot be saved, so the server does not end");
            self.pause.shutdown(false);
        }
    }

    /// `SHUTDOWN ABORT`: goes on as if nothing had been; false if no shutdown waits.
    pub fn abort_stop(&self) -> bool {
        let aborted = self.phase.send_if_modified(|phase| {
            let waits = matches!(phase, Phase::Stopping { .. });
            if waits {
                *phase = Phase::Running;
            }
            waits
        });
        if aborted {
            self.pause.shutdown(false);
        }
        aborted
    }

    /// For how many milliseconds more replicas are waited for, if they are.
    pub fn stopping_ms(&self) -> Option<u64> {
        match *self.phase.borrow() {
            Phase::Stopping { until_ms, .. } => Some(until_ms.saturating_sub(self.mono_ms())),
            _ => None,
        }
    }

    /// Ends waits for replicas when these have everything or the time is over. Never returns.
    pub async fn watch_stopping(&self) {
        let mut phase = self.phase.subscribe();
        loop {
            // The sender lives as long as `self`, so waiting cannot fail.
            let _ = phase.wait_for(|phase| matches!(phase, Phase::Stopping { .. })).await;
            tokio::time::sleep(STOPPING_TICK).await;
            let now_ms = self.mono_ms();
            let has_everything = self.replication.all_have_everything();
            self.phase.send_if_modified(|phase| match *phase {
                Phase::Stopping { until_ms, ending } if has_everything || now_ms >= until_ms => {
                    let until_ms = until_ms.max(now_ms.saturating_add(DRAIN_MIN_MS));
                    *phase = Phase::after_replicas(until_ms, ending);
                    true
                }
                _ => false,
            });
        }
    }

    /// Resolves when the server ends.
    pub async fn draining(&self) {
        self.draining_until_ms().await;
    }

    /// Resolves when the server ends; returns until when connections may last.
    pub async fn draining_until_ms(&self) -> u64 {
        let mut phase = self.phase.subscribe();
        loop {
            if let Phase::Draining { until_ms } = *phase.borrow_and_update() {
                return until_ms;
            }
            // The sender lives as long as `self`, so waiting cannot fail.
            let _ = phase.changed().await;
        }
    }

    /// Resolves when a shutdown that waits is aborted; never if it is not.
    pub async fn stop_aborted(&self) {
        let mut phase = self.phase.subscribe();
        // The sender lives as long as `self`, so waiting cannot fail.
        let _ = phase.wait_for(|phase| *phase == Phase::Running).await;
    }

    /// Until when `level` is not paused.
    pub async fn resumed(&self, level: Level) {
        self.pause.below(level, || self.mono_ms()).await;
    }

    /// What is paused.
    pub fn paused(&self) -> Level {
        self.pause.level(|| self.mono_ms())
    }

    /// Replaces the configuration and hands on what the buffer has to know.
    pub fn apply_config(&self, config: Config) {
        let stream = self.replication.stream();
        stream.buffer.set_backlog_bytes(config.backlog_bytes);
        stream.buffer.set_cursor_limits(cursor_limits(&config));
        drop(stream);
        self.pubsub.configure(&config);
        self.monitors.configure(&config);
        self.keyspace.set_event_classes(config.notifications.wanted());
        self.keyspace.set_memory_limits(config.memory);
        self.config.store(Arc::new(config));
        self.more_to_evict.notify_one();
    }

    /// Evicts keys if the data takes more than `maxmemory`, for as long as one command may, and has the rest
    /// done beside the commands.
    pub fn make_room(&self) -> Room {
        if !self.keyspace.is_over_memory_limit() || self.paused() > Level::Nothing {
            return Room::Enough;
        }
        let room = self.keyspace.make_room(unix_ms(), &mut |effects| {
            // A failure has broken the history already, and the key is gone in either case.
            let _ = self.publish(effects);
        });
        if room == Room::Later {
            self.more_to_evict.notify_one();
        }
        room
    }
}

/// The limits of a replica's cursor from `client-output-buffer-limit replica`; zero means none in both, and
/// the buffer raises a hard limit below the backlog to it.
pub(super) fn cursor_limits(config: &Config) -> CursorLimits {
    let OutputLimit { hard_bytes, soft_bytes, soft_s } = config.replica_output;
    CursorLimits { hard_bytes, soft_bytes, soft_ms: soft_s.saturating_mul(1000) }
}

/// A new replication ID.
pub(super) fn random_id() -> crate::resync::ReplicationId {
    let mut bits = [0; 20];
    rand::rng().fill_bytes(&mut bits);
    crate::resync::ReplicationId::from_random(bits)
}

/// Milliseconds since the Unix epoch: the clock of deadlines.
pub(super) fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
