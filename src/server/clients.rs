//! The registry of connections: what `CLIENT LIST` shows and `CLIENT KILL` reaches.
//!
//! Each connection owns a [`Client`]; the registry holds another reference. The registry's lock is
//! taken when a connection begins or ends and by the `CLIENT` commands, never per command.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

use super::config::OutputLimit;
use super::dispatch::shown;
use super::outbox::Outbox;
use crate::keyspace::Keyspace;
use crate::keyspace::batch::Overview;
use crate::keyspace::blocking::Place;
use crate::resp::{Protocol, Reply};

/// What a connection takes beside its buffers: its task, its session and its place in the registry; about.
const CONNECTION_BYTES: u64 = 2048;

/// What a connection is used for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Role {
    #[default]
    Normal,
    Replica,
}

/// What a connection tells about itself; kept up to date once a batch.
#[derive(Clone, Debug, Default)]
pub(super) struct Profile {
    pub name: Bytes,
    pub lib_name: Bytes,
    pub lib_version: Bytes,
    pub command: &'static str,
    pub db: u16,
    pub protocol: Protocol,
    /// Commands queued, inside a transaction.
    pub queued: Option<usize>,
    /// What they take.
    pub queued_bytes: u64,
    pub watching: usize,
    pub role: Role,
    pub blocked: bool,
    pub no_evict: bool,
    pub no_touch: bool,
    /// Subscriptions to channels, patterns and shard channels.
    pub subscriptions: (usize, usize, usize),
    pub monitoring: bool,
}

impl Profile {
    /// Its flags as `CLIENT LIST` shows them.
    pub fn flags(&self) -> String {
        let flags = [
            (self.monitoring, 'O'),
            (self.role == Role::Replica, 'S'),
            (self.is_subscriber(), 'P'),
            (self.queued.is_some(), 'x'),
            (self.blocked, 'b'),
            (self.no_evict, 'e'),
            (self.no_touch, 'T'),
        ];
        let set: String = flags.iter().filter(|(set, _)| *set).map(|(_, flag)| *flag).collect();
        if set.is_empty() { "N".to_owned() } else { set }
    }

    /// Whether it has subscribed to anything.
    pub fn is_subscriber(&self) -> bool {
        self.subscriptions != (0, 0, 0)
    }
}

/// One connection.
#[derive(Debug)]
pub(super) struct Client {
    pub id: u64,
    pub addr: SocketAddr,
    pub laddr: SocketAddr,
    pub created_ms: u64,
    pub last_active_ms: AtomicU64,
    pub commands: AtomicU64,
    pub net_input_bytes: AtomicU64,
    pub net_output_bytes: AtomicU64,
    pub profile: Mutex<Profile>,
    /// What its connection holds; for `CLIENT LIST`.
    pub held: Held,
    /// What others have for it.
    pub outbox: Outbox,
    /// It is to give its buffers back.
    resting: AtomicBool,
    /// What it waits for, if that can be ended from elsewhere.
    unblock: Mutex<Option<Unblock>>,
    /// Shared with what it waits for: who was killed is not served.
    killed: Arc<AtomicBool>,
    kill: Notify,
}

/// Bytes that a connection holds, as of when it last waited for input. Relaxed: they are shown, and order
/// nothing.
#[derive(Debug, Default)]
pub(super) struct Held {
    pub input_bytes: AtomicU64,
    pub input_free_bytes: AtomicU64,
    /// Arguments of a command that is arriving, is waiting or is running.
    pub argv_bytes: AtomicU64,
    pub output_bytes: AtomicU64,
}

/// How to end a client's wait.
#[derive(Debug)]
pub(super) enum Unblock {
    /// It waits for a key.
    Key(Place),
    /// It waits for replicas.
    Replicas(oneshot::Sender<UnblockAs>),
}

/// What an unblocked client is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UnblockAs {
    /// What it would be told if its time were over.
    Timeout,
    /// That it was unblocked.
    Error,
    /// That the server is a primary no more.
    Deposed,
}

/// What a client is told that was unblocked with an error.
pub(super) fn unblocked_error() -> Reply {
    Reply::Error("UNBLOCKED client unblocked via CLIENT UNBLOCK".into())
}

/// What a client is told that waited for what only a primary can give.
pub(super) fn deposed_error() -> Reply {
    Reply::Error(
        "UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)".into(),
    )
}

/// A client can be unblocked while this lives.
#[derive(Debug)]
pub(super) struct Unblockable<'a>(&'a Client);

impl Drop for Unblockable<'_> {
    fn drop(&mut self) {
        self.0.unblock.lock().take();
    }
}

impl Client {
    /// Lets others end its wait.
    pub fn unblockable(&self, how: Unblock) -> Unblockable<'_> {
        *self.unblock.lock() = Some(how);
        Unblockable(self)
    }

    /// Ends its wait, if it waits; returns whether it did.
    pub fn unblock(&self, what: UnblockAs, keyspace: &mut dyn Overview) -> bool {
        // The lock is released before those of the keyspace are taken, if they are.
        let unblock = self.unblock.lock().take();
        match (unblock, what) {
            (None, _) => false,
            (Some(Unblock::Key(place)), UnblockAs::Timeout) => keyspace.end_wait(&place, Reply::NullArray),
            (Some(Unblock::Key(place)), UnblockAs::Error) => keyspace.end_wait(&place, unblocked_error()),
            (Some(Unblock::Key(place)), UnblockAs::Deposed) => keyspace.end_wait(&place, deposed_error()),
            (Some(Unblock::Replicas(waiting)), what) => waiting.send(what).is_ok(),
        }
    }

    /// Ends its wait, if it waits, because the server is a primary no more.
    pub fn depose(&self, mut keyspace: &Keyspace) {
        self.unblock(UnblockAs::Deposed, &mut keyspace);
    }

    /// Asks the connection to end; it does at its next await. Nothing that it waits for is given to it any
    /// more.
    pub fn kill(&self) {
        self.killed.store(true, Ordering::Release);
        self.kill.notify_waiters();
    }

    /// Hands it something to send; ends it if too much waits then.
    pub fn push(&self, piece: Bytes, limit: OutputLimit) {
        if self.outbox.push(piece, limit) {
            self.kill();
        }
    }

    /// Ends it if too much has waited for too long.
    pub fn check_output(&self, limit: OutputLimit) {
        if self.outbox.judge(limit) {
            self.kill();
        }
    }

    /// Whether the connection was asked to end.
    pub fn is_killed(&self) -> bool {
        self.killed.load(Ordering::Acquire)
    }

    /// Set when the connection is asked to end.
    pub fn gone(&self) -> &Arc<AtomicBool> {
        &self.killed
    }

    /// Asks a connection that has been idle for `idle_ms` to give its buffers back, which it does if it waits
    /// for input.
    pub fn rest(&self, now_ms: u64, idle_ms: u64) {
        let is_idle = now_ms.saturating_sub(self.last_active_ms.load(Ordering::Relaxed)) >= idle_ms;
        let held = &self.held;
        let holds = [&held.input_free_bytes, &held.output_bytes];
        if is_idle && holds.iter().any(|bytes| bytes.load(Ordering::Relaxed) > 0) {
            self.resting.store(true, Ordering::Release);
            self.kill.notify_waiters();
        }
    }

    /// Resolves when the connection was asked to end.
    pub async fn killed(&self) {
        self.until(|| self.is_killed()).await;
    }

    /// Resolves when the connection was asked to end or to give its buffers back, which is asked once.
    pub async fn attention(&self) {
        self.until(|| self.is_killed() || self.resting.swap(false, Ordering::AcqRel)).await;
    }

    async fn until(&self, condition: impl Fn() -> bool) {
        loop {
            let notified = self.kill.notified();
            tokio::pin!(notified);
            // Registered before the look: a kill after the look wakes it.
            notified.as_mut().enable();
            if condition() {
                return;
            }
            notified.await;
        }
    }

    /// One line of `CLIENT LIST`, without its line end.
    pub fn describe(&self, now_ms: u64) -> String {
        let profile = self.profile.lock().clone();
        let (waiting_pieces, waiting_bytes) = self.outbox.waiting();
        let flags = profile.flags();
        let age_s = now_ms.saturating_sub(self.created_ms) / 1000;
        let idle_s = now_ms.saturating_sub(self.last_active_ms.load(Ordering::Relaxed)) / 1000;
        let multi = profile.queued.map_or_else(|| "-1".to_owned(), |queued| queued.to_string());
        let resp = if profile.protocol == Protocol::Resp3 { 3 } else { 2 };
        let bytes = |place: &AtomicU64| place.load(Ordering::Relaxed);
        let (input, input_free) = (bytes(&self.held.input_bytes), bytes(&self.held.input_free_bytes));
        let (argv, output) = (bytes(&self.held.argv_bytes), bytes(&self.held.output_bytes));
        let total = [input, input_free, argv, profile.queued_bytes, output, waiting_bytes];
        let total = total.iter().sum::<u64>() + CONNECTION_BYTES;
        let mut line = String::with_capacity(256);
        // Writing to a String cannot fail.
        let _ = write!(
            line,
            "id={} addr={} laddr={} fd=-1 name={} age={age_s} idle={idle_s} flags={flags} capa= db={} sub={} psub={} ssub={} \
             multi={multi} watch={} qbuf={input} qbuf-free={input_free} argv-mem={argv} multi-mem={} rbs={output} rbp={output} obl=0 \
             oll={} omem={} tot-mem={total} \
             events=r cmd={} user=default redir=-1 resp={resp} lib-name={} lib-ver={} tot-net-in={} tot-net-out={} tot-cmds={}",
            self.id,
            self.addr,
            self.laddr,
            shown(&profile.name),
            profile.db,
            profile.subscriptions.0,
            profile.subscriptions.1,
            profile.subscriptions.2,
            profile.watching,
            profile.queued_bytes,
            waiting_pieces,
            waiting_bytes,
            if profile.command.is_empty() { "NULL" } else { profile.command },
            shown(&profile.lib_name),
            shown(&profile.lib_version),
            self.net_input_bytes.load(Ordering::Relaxed),
            self.net_output_bytes.load(Ordering::Relaxed),
            self.commands.load(Ordering::Relaxed),
        );
        line
    }
}

/// All connections.
#[derive(Debug, Default)]
pub(super) struct Clients {
    next_id: AtomicU64,
    by_id: Mutex<BTreeMap<u64, Arc<Client>>>,
}

impl Clients {
    /// Registers a connection, unless there are `max` already.
    pub fn register(
        self: &Arc<Self>,
        addr: SocketAddr,
        laddr: SocketAddr,
        now_ms: u64,
        max: u64,
    ) -> Option<Registration> {
        let mut by_id = self.by_id.lock();
        if by_id.len() as u64 >= max {
            return None;
        }
        let client = Arc::new(Client {
            id: self.next_id.fetch_add(1, Ordering::Relaxed) + 1,
            addr,
            laddr,
            created_ms: now_ms,
            last_active_ms: AtomicU64::new(now_ms),
            commands: AtomicU64::new(0),
            net_input_bytes: AtomicU64::new(0),
            net_output_bytes: AtomicU64::new(0),
            profile: Mutex::default(),
            held: Held::default(),
            resting: AtomicBool::new(false),
            outbox: Outbox::default(),
            unblock: Mutex::default(),
            killed: Arc::default(),
            kill: Notify::new(),
        });
        by_id.insert(client.id, Arc::clone(&client));
        Some(Registration { client, clients: Arc::clone(self) })
    }

    /// A connection by its number.
    pub fn get(&self, id: u64) -> Option<Arc<Client>> {
        self.by_id.lock().get(&id).cloned()
    }

    /// All connections, oldest first.
    pub fn list(&self) -> Vec<Arc<Client>> {
        self.by_id.lock().values().cloned().collect()
    }

    /// Ends all waits, for keys and for replicas, because the server is a primary no more. The clients are told
    /// so and closed, as in Valkey: what they sent behind was meant for a primary.
    pub fn end_waits_of_a_primary(&self, keyspace: &Keyspace) {
        for client in self.list() {
            client.depose(keyspace);
        }
    }

    /// Ends all connections but the replicas'.
    pub fn close_ordinary(&self) {
        for client in self.by_id.lock().values() {
            if client.profile.lock().role == Role::Normal {
                client.kill();
            }
        }
    }
}

/// A connection's place in the registry, given up on drop.
#[derive(Debug)]
pub(super) struct Registration {
    pub client: Arc<Client>,
    clients: Arc<Clients>,
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.clients.by_id.lock().remove(&self.client.id);
    }
}
