//! What can be configured: one set of values, one table of names.
//!
//! [`Config`] is what a server starts with; `CONFIG GET` and `CONFIG SET` read and change the same
//! values while it runs, through the same table (`parameters`). A running server holds them in an
//! `arc-swap`: a command reads one consistent set and never waits for a change.

pub use super::commandlog::CommandLogLimit;
use super::notifications::Notifications;
use super::parameters;
pub use crate::keyspace::memory::{EvictionPolicy, MemoryLimits};

/// Smallest accepted `repl-backlog-size`, in bytes. Smaller settings are raised to it, as in Valkey.
pub const MIN_BACKLOG_BYTES: u64 = 16 * 1024;

/// Smallest accepted `lua-memory-limit`, in bytes: an interpreter takes a quarter of it.
pub(super) const MIN_LUA_MEMORY_BYTES: u64 = 1 << 20;

/// Least and greatest `hz`. Other settings become the nearer one, as in Valkey.
pub(super) const MIN_HZ: u64 = 1;
pub(super) const MAX_HZ: u64 = 500;

/// A bound on what may wait to be sent to one connection (`client-output-buffer-limit`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutputLimit {
    /// Disconnect at once beyond this; 0 means no limit.
    pub hard_bytes: u64,
    /// Disconnect when more than this waits for longer than `soft_s`; 0 means no limit.
    pub soft_bytes: u64,
    /// Seconds for which `soft_bytes` may be exceeded.
    pub soft_s: u64,
}

/// What a replica gets that cannot hold the deadlines of hash fields: one that did not announce Valkey 9.0.0
/// or later. It matters only while there are such deadlines. Not Valkey's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FieldDeadlinesPolicy {
    /// `refuse`: an error instead of a snapshot, and the end of its link before the first command that needs
    /// them.
    #[default]
    Refuse,
    /// `strip`: the snapshot without the deadlines, and the stream as it is. The replica keeps such fields
    /// until the primary has reclaimed them, dead ones too, and **answers the commands that it does not know
    /// with errors to nobody**: of `HSETEX` it misses the values, and of a transaction with such a command
    /// **everything**.
    Strip,
}

impl FieldDeadlinesPolicy {
    /// All of them.
    pub const ALL: [FieldDeadlinesPolicy; 2] = [FieldDeadlinesPolicy::Refuse, FieldDeadlinesPolicy::Strip];

    /// Its name in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            FieldDeadlinesPolicy::Refuse => "refuse",
            FieldDeadlinesPolicy::Strip => "strip",
        }
    }
}

/// When data is saved by itself: once so many changes have come and so many seconds have passed since the last
/// save.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SavePoint {
    /// Seconds since the last save.
    pub seconds: u64,
    /// Commands in the stream since the last save. Valkey counts the keys that they changed.
    pub changes: u64,
}

/// Valkey's save points.
const DEFAULT_SAVE_POINTS: [SavePoint; 3] = [
    SavePoint { seconds: 3600, changes: 1 },
    SavePoint { seconds: 300, changes: 100 },
    SavePoint { seconds: 60, changes: 10_000 },
];

/// What becomes of what the data cannot hold: streams, values of modules, function libraries in a snapshot;
/// commands that are not known, or that fail, in a primary's stream. Not Valkey's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum UnsupportedDataPolicy {
    /// `refuse`: the snapshot is not loaded; a replica takes nothing more from that primary, and keeps what it
    /// has.
    #[default]
    Refuse,
    /// `skip`: it is left out, and the log says so. A replica then **differs from its primary**.
    Skip,
}

impl UnsupportedDataPolicy {
    /// All of them.
    pub const ALL: [UnsupportedDataPolicy; 2] = [UnsupportedDataPolicy::Refuse, UnsupportedDataPolicy::Skip];

    /// Its name in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            UnsupportedDataPolicy::Refuse => "refuse",
            UnsupportedDataPolicy::Skip => "skip",
        }
    }
}

/// What becomes of a replica's data when a full copy comes (`repl-diskless-load`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum LoadPolicy {
    /// `swapdb`: it is kept, and read, until the copy is whole. Takes memory for both.
    #[default]
    Swap,
    /// `flush-before-load`: it is dropped first.
    Flush,
}

impl LoadPolicy {
    /// All of them.
    pub const ALL: [LoadPolicy; 2] = [LoadPolicy::Swap, LoadPolicy::Flush];

    /// Its name in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            LoadPolicy::Swap => "swapdb",
            LoadPolicy::Flush => "flush-before-load",
        }
    }
}

/// The configuration of a server. Names and defaults are Valkey's unless said otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Address to listen on (`bind`). Default 127.0.0.1.
    pub bind: String,
    /// Port to listen on (`port`); 0 lets the system choose. Default 6379.
    pub port: u16,
    /// Worker threads (`threads`); 0 means one per CPU. Used by the program, not by the embedded server,
    /// which runs on its caller's runtime.
    pub threads: usize,
    /// Shards of the keyspace (`shards`). Default 64.
    pub shards: usize,
    /// Databases (`databases`). Default 16.
    pub databases: u16,
    /// Password of the default user (`requirepass`); empty means none.
    pub requirepass: String,
    /// Greatest number of clients (`maxclients`).
    pub maxclients: u64,
    /// Close clients that are idle for this long (`timeout`), in seconds; 0 means never.
    pub timeout_s: u64,
    /// TCP keepalive (`tcp-keepalive`), in seconds; 0 means off.
    pub tcp_keepalive_s: u64,
    /// Longest argument (`proto-max-bulk-len`).
    pub max_bulk_bytes: u64,
    /// Most bytes a client may queue in a transaction (`client-query-buffer-limit`).
    pub query_buffer_bytes: u64,
    /// Output limit of ordinary clients.
    pub normal_output: OutputLimit,
    /// Output limit of replicas: how much of the stream one may pin.
    pub replica_output: OutputLimit,
    /// Which keyspace events are published (`notify-keyspace-events`). Default none.
    pub notifications: Notifications,
    /// Output limit of subscribers.
    pub pubsub_output: OutputLimit,
    /// Stream bytes kept for partial resyncs (`repl-backlog-size`). Default 10 MiB.
    pub backlog_bytes: u64,
    /// Seconds between pings in the stream (`repl-ping-replica-period`).
    pub repl_ping_period_s: u64,
    /// Seconds after which a silent replica is dropped (`repl-timeout`).
    pub repl_timeout_s: u64,
    /// What a replica gets that cannot hold field deadlines (`repl-field-deadlines-policy`). Default refuse.
    pub field_deadlines_policy: FieldDeadlinesPolicy,
    /// Whether replicas that can are sent the snapshot as it is made (`repl-diskless-sync`); otherwise it is
    /// spooled to a temporary file first, so that its length can be announced.
    pub diskless_sync: bool,
    /// The primary to follow from the start (`replicaof`), host and port; none by default. `REPLICAOF` changes
    /// it.
    pub replicaof: Option<(String, u16)>,
    /// What the primary is told to let this server in (`primaryauth`); empty means none.
    pub primary_auth: String,
    /// The user of that password (`primaryuser`); empty means the default user.
    pub primary_user: String,
    /// Where this server says that it is (`replica-announce-ip`); empty means where its connection comes from.
    pub replica_announce_ip: String,
    /// The port that it says it listens on (`replica-announce-port`); 0 means the one it does.
    pub replica_announce_port: u16,
    /// What Sentinel prefers when it promotes (`replica-priority`): the least, but never 0. Default 100.
    pub replica_priority: u64,
    /// Whether a replica without a link to its primary answers reads (`replica-serve-stale-data`).
    pub replica_serve_stale_data: bool,
    /// What becomes of the data when a full copy comes (`repl-diskless-load`). Default swapdb.
    pub diskless_load: LoadPolicy,
    /// What becomes of what the data cannot hold, in a snapshot or in a primary's stream
    /// (`unsupported-data-policy`). Default refuse.
    pub unsupported_data_policy: UnsupportedDataPolicy,
    /// Writes need this many good replicas (`min-replicas-to-write`); 0 means none.
    pub min_replicas_to_write: u64,
    /// A replica is good when it reported within this time (`min-replicas-max-lag`), in seconds.
    pub min_replicas_max_lag_s: u64,
    /// Commands that take long, in microseconds (`slowlog-log-slower-than`, `slowlog-max-len`).
    pub slow_log: CommandLogLimit,
    /// Commands that are large, in bytes (`commandlog-request-larger-than`,
    /// `commandlog-large-request-max-len`).
    pub large_request_log: CommandLogLimit,
    /// Commands with large replies, in bytes (`commandlog-reply-larger-than`,
    /// `commandlog-large-reply-max-len`).
    pub large_reply_log: CommandLogLimit,
    /// How much memory the data may take, and what goes when it takes more (`maxmemory`, `maxmemory-policy`,
    /// `maxmemory-samples`, `maxmemory-eviction-tenacity`, `lfu-log-factor`, `lfu-decay-time`).
    pub memory: MemoryLimits,
    /// Milliseconds that a script may run until others are told `BUSY` (`busy-reply-threshold`); 0 lets them wait.
    pub busy_reply_threshold_ms: u64,
    /// Most bytes that the interpreter of scripts may take, its garbage included (`lua-memory-limit`). Default 256
    /// MiB. Not Valkey's.
    pub lua_memory_bytes: u64,
    /// Active expiry cycles per second (`hz`), 1 to 500. Default 10.
    pub hz: u64,
    /// How much time active expiry may take (`active-expire-effort`), 1 to 10: each of the `hz` cycles 25 %
    /// of its period, and 2 % more for each step of effort above 1; one that makes up for what those left, 1
    /// ms and 0.25 ms more for each step. Default 1.
    pub active_expire_effort: u64,
    /// Directory of the snapshot (`dir`), which has to exist. Default empty: nothing is written or loaded.
    pub dir: String,
    /// Name of the snapshot in it (`dbfilename`). Default `dump.rdb`.
    pub dbfilename: String,
    /// When data is saved by itself (`save`), and therefore at the end as well. `None` is Valkey's default if
    /// there is a `dir`. See [`save_points`](Self::save_points).
    pub save: Option<Vec<SavePoint>>,
    /// Whether writes are refused while the last save has failed and there are save points
    /// (`stop-writes-on-bgsave-error`). Default yes.
    pub stop_writes_on_save_error: bool,
    /// Time that replicas have at shutdown to take what is left of the stream (`shutdown-timeout`), in
    /// seconds.
    pub shutdown_timeout_s: u64,
}

impl Default for Config {
    fn default() -> Self {
        let unlimited = OutputLimit { hard_bytes: 0, soft_bytes: 0, soft_s: 0 };
        let large = CommandLogLimit { threshold: Some(1 << 20), max_len: 128 };
        Config {
            slow_log: CommandLogLimit { threshold: Some(10_000), max_len: 128 },
            large_request_log: large,
            large_reply_log: large,
            bind: "127.0.0.1".to_owned(),
            port: 6379,
            threads: 0,
            shards: 64,
            databases: 16,
            requirepass: String::new(),
            maxclients: 10_000,
            timeout_s: 0,
            tcp_keepalive_s: 300,
            max_bulk_bytes: 512 << 20,
            query_buffer_bytes: 1 << 30,
            notifications: Notifications::default(),
            normal_output: unlimited,
            replica_output: OutputLimit { hard_bytes: 256 << 20, soft_bytes: 64 << 20, soft_s: 60 },
            pubsub_output: OutputLimit { hard_bytes: 32 << 20, soft_bytes: 8 << 20, soft_s: 60 },
            backlog_bytes: 10 << 20,
            repl_ping_period_s: 10,
            repl_timeout_s: 60,
            field_deadlines_policy: FieldDeadlinesPolicy::Refuse,
            diskless_sync: true,
            replicaof: None,
            primary_auth: String::new(),
            primary_user: String::new(),
            replica_announce_ip: String::new(),
            replica_announce_port: 0,
            replica_priority: 100,
            replica_serve_stale_data: true,
            diskless_load: LoadPolicy::Swap,
            unsupported_data_policy: UnsupportedDataPolicy::Refuse,
            min_replicas_to_write: 0,
            min_replicas_max_lag_s: 10,
            memory: MemoryLimits::default(),
            busy_reply_threshold_ms: 5_000,
            lua_memory_bytes: 256 << 20,
            hz: 10,
            active_expire_effort: 1,
            shutdown_timeout_s: 10,
            dir: String::new(),
            dbfilename: "dump.rdb".to_owned(),
            save: None,
            stop_writes_on_save_error: true,
        }
    }
}

impl Config {
    /// Sets a parameter by the name that `CONFIG SET` uses, also those that a running server cannot change.
    ///
    /// # Errors
    /// [`ConfigError`] for an unknown name or a value that does not fit.
    ///
    /// ```
    /// # use replcore::server::Config;
    /// let mut config = Config::default();
    /// config.set("repl-backlog-size", "64mb")?;
    /// assert_eq!(config.backlog_bytes, 64 << 20);
    /// # Ok::<(), replcore::server::ConfigError>(())
    /// ```
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), ConfigError> {
        let parameter =
            parameters::find(name).ok_or_else(|| ConfigError::Unknown { name: name.to_owned() })?;
        parameter.set(self, value)
    }

    /// When data is saved by itself; never without a directory.
    pub fn save_points(&self) -> &[SavePoint] {
        match &self.save {
            _ if self.dir.is_empty() => &[],
            Some(points) => points,
            None => &DEFAULT_SAVE_POINTS,
        }
    }
}

/// A parameter that cannot be set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// No such parameter.
    #[error("unknown parameter '{name}'")]
    Unknown {
        /// The name given.
        name: String,
    },
    /// The value does not fit.
    #[error("{name}: {reason}")]
    Value {
        /// The parameter.
        name: &'static str,
        /// Why not, as Valkey words it.
        reason: String,
    },
}
