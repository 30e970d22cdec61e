//! What all tasks of one server share.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use rand::Rng as _;
use tokio::sync::{Notify, watch};

use super::clients::Clients;
use super::commandlog::CommandLog;
use super::config::{Config, OutputLimit};
use super::expiry::ActiveExpiry;
use super::monitor::Monitors;
use super::pubsub::PubSub;
use super::replication::Replication;
use super::stats::Stats;
use crate::buffer::{CursorLimits, ReplicationBuffer};
use crate::keyspace::events::EventSink;
use crate::keyspace::{Keyspace, Options, Room};
use crate::rewrite::DeletionVerb;

/// How far a server has come towards its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    Running,
    /// No new connections, clients are closed, replicas take what is left of the stream.
    Draining,
}

/// The shared state of a server.
pub(super) struct Shared {
    pub config: ArcSwap<Config>,
    /// Serialises changes of `config`; readers never take it.
    pub config_change: Mutex<()>,
    pub keyspace: Arc<Keyspace>,
    pub replication: Replication,
    pub clients: Arc<Clients>,
    pub pubsub: Arc<PubSub>,
    pub monitors: Monitors,
    pub stats: Stats,
    pub command_log: CommandLog,
    pub phase: watch::Sender<Phase>,
    pub active_expiry: ActiveExpiry,
    /// A command has run although memory is short, because its time for evictions was up.
    pub more_to_evict: Notify,
    pub blocked_clients: AtomicUsize,
    /// The address the listener got.
    pub port: u16,
    /// 40 hexadecimal digits that name this run.
    pub run_id: String,
    started: Instant,
    pub started_unix_s: u64,
}

impl Shared {
    pub fn new(config: Config, buffer: ReplicationBuffer, port: u16) -> Self {
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
            replication: Replication::new(buffer, random_id()),
            clients: Arc::default(),
            pubsub,
            monitors: Monitors::new(&config),
            stats: Stats::default(),
            command_log: CommandLog::default(),
            phase: watch::Sender::new(Phase::Running),
            active_expiry: ActiveExpiry::default(),
            more_to_evict: Notify::new(),
            blocked_clients: AtomicUsize::new(0),
            port,
            run_id: random_id().to_string(),
            started: Instant::now(),
            started_unix_s: unix_ms() / 1000,
            config: ArcSwap::from_pointee(config),
            config_change: Mutex::new(()),
        }
    }

    /// Milliseconds since the server began: the clock of replication, idle times and lags.
    pub fn mono_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    pub fn is_running(&self) -> bool {
        *self.phase.borrow() == Phase::Running
    }

    /// Begins the end: no new connections, clients close, replicas drain.
    pub fn shut_down(&self) {
        self.phase.send_replace(Phase::Draining);
    }

    /// Resolves when the server begins to end.
    pub async fn draining(&self) {
        let mut phase = self.phase.subscribe();
        // The sender lives as long as `self`, so waiting cannot fail.
        let _ = phase.wait_for(|phase| *phase != Phase::Running).await;
    }

    /// Replaces the configuration and hands on what the buffer has to know.
    pub fn apply_config(&self, config: Config) {
        self.replication.buffer.set_backlog_bytes(config.backlog_bytes);
        self.replication.buffer.set_cursor_limits(cursor_limits(&config));
        self.pubsub.configure(&config);
        self.monitors.configure(&config);
        self.keyspace.set_event_classes(config.notifications.wanted());
        self.keyspace.set_memory_limits(config.memory);
        self.config.store(Arc::new(config));
        self.more_to_evict.notify_one();
    }

    /// Evicts keys if the data takes more than `maxmemory`, for as long as one command may, and has the rest done beside
    /// the commands.
    pub fn make_room(&self) -> Room {
        if !self.keyspace.is_over_memory_limit() {
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

/// The limits of a replica's cursor from `client-output-buffer-limit replica`; zero means none in both, and the buffer
/// raises a hard limit below the backlog to it.
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
