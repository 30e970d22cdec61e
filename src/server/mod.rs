//! A server on real sockets, primary or replica.
//!
//! # Promise
//!
//! Real clients speak to it and real Valkey and Redis replicas follow it: every write is in the
//! stream in the order in which it was applied, a replica that comes back continues where it was if
//! the backlog still has the place, and one that cannot gets a consistent snapshot while writes go
//! on. No client and no replica, however slow, rude or absent, stops another or grows memory without
//! a bound.
//!
//! # Shape
//!
//! ```text
//! accept ─► connection (one task per client)
//!             read → resp → dispatch ─┬─ server commands (`commands`)
//!                                     └─ keyspace ─ effects ─► propagation ─► buffer
//!           replication::link (the task of a connection that sent PSYNC)
//!             buffer ─ cursor ─► socket          socket ─ REPLCONF ACK ─► acknowledgements
//!           cron: expiry, pings, soft limits, GETACK
//! ```
//!
//! | file | subject |
//! |---|---|
//! | `config`, `parameters` | what can be configured, and `CONFIG`'s table |
//! | `state`, `clients`, `stats` | what all tasks share |
//! | `connection`, `session` | one client: its input and output; what it has set up |
//! | `dispatch`, `transaction`, `commands` | lookup and checks; `EXEC`; the server's own commands |
//! | `propagation` | effects to frames |
//! | `outbox` | what others have for a client |
//! | `pubsub`, `notifications` | subscriptions, messages, keyspace events |
//! | `monitor` | `MONITOR` |
//! | `replication` | the replicas, `WAIT`, resynchronisation, the primary that is followed, failover |
//! | `persistence` | the snapshot on disk: saving, the end, the start |
//! | `loading` | a snapshot becomes data |
//! | `scripting` | `EVAL` and its like: Lua |
//! | `pause` | clients that are paused |
//! | `cron`, `expiry` | what happens by time; active expiry |
//!
//! # Locks
//!
//! Commands run on the runtime's threads. The keyspace's shard locks are held for one unit and never
//! across an await; everything else that is shared is either swapped whole (configuration, history),
//! an independent counter, or behind a lock that is taken rarely (registries). Messages are delivered under
//! shard locks: the order is shard, then registry (shared), then outbox, and nothing waits under any of them.
//!
//! # Differences from Valkey, on purpose
//!
//! * A client that watches by `MONITOR` is bounded by `pubsub`'s output limit if `normal` has none.
//! * `SUBSCRIBE` with several channels in a transaction: the array of `EXEC` holds the first confirmation,
//!   and the others follow it. Valkey puts all of them into the array, which is then longer than it says.
//! * The stream exists from the start, not from the first replica on: `master_repl_offset` counts
//!   every write, and a restart of the first replica needs no full resync.
//! * Full resyncs take no fork and wait for no other (`repl-diskless-sync-delay` does not exist): each
//!   takes a cut of its own, and is served from a copy-on-write snapshot.
//! * A replica that is still loading its snapshot is shown as `send_bulk`, not as `online`.
//! * `REPLICAOF` in a transaction changes the role when all of it has run; `FAILOVER` is no command of one.
//! * `MONITOR` does not show what a replica applies, and `CLIENT LIST` not its link to the primary.
//! * While clients are paused, a read that meets an expired key deletes it, and says so in the stream.
//! * What is said of saving in `persistence`.
//! * `SHUTDOWN NOW` ends a shutdown that waits for replicas; Valkey goes on waiting.
//! * `CLIENT LIST` shows `obl` as 0 and `rbp` as `rbs`: what waits to be sent is `omem`.
//! * `DEBUG SLEEP` puts the calling connection to sleep, not the server; inside a transaction, which goes on
//!   only when it is over, those wait as well who need a key of it.

mod clients;
mod commandlog;
mod commands;
mod config;
mod connection;
mod cron;
mod dispatch;
mod expiry;
mod glob;
// The replica role uses the rest of it.
#[allow(dead_code)]
mod loading;
mod monitor;
mod notifications;
mod outbox;
mod parameters;
mod pause;
mod persistence;
mod propagation;
mod pubsub;
mod replication;
mod scripting;
mod session;
mod state;
mod stats;
mod transaction;

#[cfg(test)]
mod tests;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

pub use self::config::{
    CommandLogLimit, Config, ConfigError, EvictionPolicy, FieldDeadlinesPolicy, LoadPolicy,
    MIN_BACKLOG_BYTES, MemoryLimits, OutputLimit, SavePoint, UnsupportedDataPolicy,
};
pub use self::notifications::Notifications;
pub use self::persistence::LoadFailed;

use self::persistence::SavedAt;
use self::replication::Stream;
use self::state::{Shared, random_id};
use crate::buffer::{BuildError, ReplicationBuffer};
use crate::resync::History;

/// Connections that may wait to be accepted.
const LISTEN_BACKLOG: i32 = 511;
/// How long accepting pauses when the system has no more descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A server that could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// The configuration has an address that is none, or none that can be listened on.
    #[error("cannot listen on {bind}:{port}: {source}")]
    Listen {
        /// The address.
        bind: String,
        /// The port.
        port: u16,
        /// Why not.
        source: io::Error,
    },
    /// There is no such directory, or what is saved there is no snapshot.
    #[error(transparent)]
    Saved(#[from] LoadFailed),
    /// The replication buffer cannot be built from the configuration.
    #[error("cannot build the replication buffer: {0}")]
    Buffer(#[from] BuildError),
}

/// A primary, bound to its address.
///
/// ```
/// use replcore::server::{Config, Server};
///
/// # tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap().block_on(async {
/// let config = Config { port: 0, ..Config::default() };
/// let server = Server::bind(config).await?;
/// let addr = server.local_addr();
/// let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
/// let running = tokio::spawn(server.run(async { drop(stopped.await) }));
/// // Clients and replicas can connect to `addr` now.
/// stop.send(()).unwrap();
/// running.await.unwrap()?;
/// # let _ = addr;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
pub struct Server {
    shared: Arc<Shared>,
    listener: TcpListener,
    addr: SocketAddr,
}

impl Server {
    /// Binds the configured address. If there is saved data, the stream goes on where that was cut; it is
    /// loaded by [`run`](Self::run). Must be called inside a tokio runtime with I/O and time enabled.
    ///
    /// # Errors
    /// [`BindError`] when the address cannot be listened on, the directory is not there or has something else
    /// in place of saved data, or the buffer cannot be built.
    pub async fn bind(config: Config) -> Result<Server, BindError> {
        let saved = persistence::saved_stream(&config)?;
        let failed = |source| BindError::Listen { bind: config.bind.clone(), port: config.port, source };
        let (listener, addr) = listen(&config).await.map_err(failed)?;
        let (history, offset) = match saved {
            None => (History::new(random_id()), 0),
            // A replica goes on as its primary's.
            Some(SavedAt { replid, offset, .. }) if config.replicaof.is_some() => {
                (History::new(replid), offset)
            }
            // As after a promotion: replicas of the saved history continue up to there, what comes is another.
            Some(SavedAt { replid, offset, .. }) => {
                (History::new(replid).shifted(random_id(), offset), offset)
            }
        };
        let stream = Stream::new(&config, history, offset)?;
        let shared = Arc::new(Shared::new(config, stream, addr.port()));
        shared.replication.start_from(saved);
        Ok(Server { shared, listener, addr })
    }

    /// The address it listens on; with port 0, the one the system chose.
    pub fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    /// The replication stream, to look at or to read along. A server that copies another one gets a new one.
    pub fn buffer(&self) -> ReplicationBuffer {
        self.shared.replication.stream().buffer.clone()
    }

    /// To end it from elsewhere.
    pub fn stopper(&self) -> Stopper {
        Stopper(Arc::clone(&self.shared))
    }

    /// Serves until `shutdown` resolves, a [`Stopper`] is used, or a client sends `SHUTDOWN`. Then writes are
    /// paused until the replicas have acknowledged everything, for at most `shutdown-timeout` seconds, in
    /// which `SHUTDOWN ABORT` makes it go on. After that no more connections are accepted, clients are
    /// closed, and replicas get what is left of the stream. If the data is to be saved, that is done when
    /// writes are paused; if it fails, the server goes on, unless the end was forced.
    ///
    /// Saved data is loaded first. Until it is there, most commands are answered with `-LOADING`.
    ///
    /// # Errors
    /// [`LoadFailed`] when the saved data cannot be loaded.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<(), LoadFailed> {
        let Server { shared, listener, addr } = self;
        let mut cron = JoinSet::new();
        let mut loading = begin_loading(&shared);
        if loading.is_none() {
            begin_serving(&shared, addr, &mut cron);
        }
        let mut connections = JoinSet::new();
        let mut refused = false;
        tokio::pin!(shutdown);
        let mut was_asked = false;
        let until_ms = loop {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((socket, peer)) => {
                        refused = false;
                        accept(&shared, socket, peer, &mut connections).await;
                    }
                    Err(error) => {
                        // Once, until it works again: it is tried ten times a second.
                        if !std::mem::replace(&mut refused, true) {
                            tracing::warn!(%error, "cannot accept connections");
                        }
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
                Some(ended) = connections.join_next(), if !connections.is_empty() => note_panic(ended),
                loaded = loaded(&mut loading), if loading.is_some() => {
                    loading = None;
                    // What failed because it is the end is no failure.
                    if shared.is_running() {
                        loaded?;
                        begin_serving(&shared, addr, &mut cron);
                    }
                }
                () = &mut shutdown, if !was_asked => {
                    was_asked = true;
                    shared.stop(true, shared.usual_ending());
                }
                until_ms = shared.draining_until_ms() => break until_ms,
            }
        };
        drop(listener);
        shared.clients.close_ordinary();
        drain(&shared, connections, until_ms).await;
        cron.shutdown().await;
        shared.save_the_rest().await;
        tracing::info!(end_offset = shared.replication.end_offset(), "bye");
        Ok(())
    }
}

/// Begins to load what is saved, if there may be something.
fn begin_loading(shared: &Arc<Shared>) -> Option<JoinHandle<Result<(), LoadFailed>>> {
    if shared.config.load().dir.is_empty() {
        return None;
    }
    shared.persistence.loading.set(true);
    let shared = Arc::clone(shared);
    Some(tokio::task::spawn_blocking(move || persistence::load(&shared)))
}

/// The end of loading; cancelling this loses nothing.
async fn loaded(loading: &mut Option<JoinHandle<Result<(), LoadFailed>>>) -> Result<(), LoadFailed> {
    match loading {
        None => std::future::pending().await,
        Some(loading) => loading.await.unwrap_or_else(|panic| {
            let path = std::path::PathBuf::new();
            Err(LoadFailed { path, reason: panic.to_string() })
        }),
    }
}

/// The data is there.
fn begin_serving(shared: &Arc<Shared>, addr: SocketAddr, cron: &mut JoinSet<()>) {
    tracing::info!(%addr, replid = %shared.replication.stream().history.load().replid, "ready to accept connections");
    shared.follow_from_the_start();
    // A replica is one before the first client is served.
    shared.persistence.loading.set(false);
    cron.spawn(cron::run(Arc::clone(shared)));
}

async fn listen(config: &Config) -> io::Result<(TcpListener, SocketAddr)> {
    let addr = tokio::net::lookup_host((config.bind.as_str(), config.port))
        .await?
        .next()
        .ok_or_else(|| io::Error::new(io::ErrorKind::AddrNotAvailable, "the name has no address"))?;
    let socket = socket2::Socket::new(socket2::Domain::for_address(addr), socket2::Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    socket.listen(LISTEN_BACKLOG)?;
    let listener = TcpListener::from_std(socket.into())?;
    let addr = listener.local_addr()?;
    Ok((listener, addr))
}

async fn accept(
    shared: &Arc<Shared>,
    mut socket: TcpStream,
    peer: SocketAddr,
    connections: &mut JoinSet<()>,
) {
    let config = shared.config.load();
    if let Err(error) = set_up(&socket, &config) {
        // The peer is gone already, or an option is not supported; the former shows at the first read.
        tracing::debug!(%peer, %error, "cannot set a socket option");
    }
    let laddr = socket.local_addr().unwrap_or(peer);
    let Some(registration) = shared.clients.register(peer, laddr, shared.mono_ms(), config.maxclients) else {
        shared.stats.connections_rejected.add(1);
        drop(config);
        connections.spawn(async move {
            // Best effort: whether the peer reads it or not, the connection is closed.
            let _ = socket.write_all(b"-ERR max number of clients reached\r\n").await;
            let _ = socket.shutdown().await;
        });
        return;
    };
    shared.stats.connections.add(1);
    connections.spawn(connection::serve(Arc::clone(shared), socket, registration));
}

fn set_up(socket: &TcpStream, config: &Config) -> io::Result<()> {
    socket.set_nodelay(true)?;
    if config.tcp_keepalive_s > 0 {
        let idle = Duration::from_secs(config.tcp_keepalive_s);
        let interval = Duration::from_secs((config.tcp_keepalive_s / 3).max(1));
        let keepalive = socket2::TcpKeepalive::new().with_time(idle).with_interval(interval);
        socket2::SockRef::from(socket).set_tcp_keepalive(&keepalive)?;
    }
    Ok(())
}

/// Ends a server, as often as needed: an end that waits for replicas may be aborted.
#[derive(Clone)]
pub struct Stopper(Arc<Shared>);

impl Stopper {
    /// Begins the end as `SHUTDOWN` does. While replicas are being waited for, ends the wait.
    pub fn stop(&self) {
        self.0.stop_or_insist();
    }
}

/// Lets the connections end by themselves, until then.
async fn drain(shared: &Shared, mut connections: JoinSet<()>, until_ms: u64) {
    let timeout = Duration::from_millis(until_ms.saturating_sub(shared.mono_ms()));
    let all_ended = async {
        while let Some(ended) = connections.join_next().await {
            note_panic(ended);
        }
    };
    if tokio::time::timeout(timeout, all_ended).await.is_err() {
        tracing::warn!(
            left = connections.len(),
            timeout_ms = timeout.as_millis(),
            "connections did not end in time, closing them"
        );
        connections.shutdown().await;
    }
}

/// A connection that panicked ended alone; it is still worth a line.
fn note_panic(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "a connection's task panicked");
    }
}
