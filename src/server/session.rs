//! What one connection has set up: its database, protocol, transaction and last write.

use std::sync::Arc;

use bytes::Bytes;

use super::clients::Client;
use super::dispatch::Command;
use super::pubsub::{Kind, Subscriptions};
use super::replication::RoleChange;
use super::state::Shared;
use crate::keyspace::WatchSet;
use crate::resp::Protocol;
use crate::resync::ReplicaFacts;

/// Arguments up to this size are copied when they are kept beyond their command: a slice keeps the
/// whole piece of input alive that it was read in.
const COPY_MAX_BYTES: usize = 16 * 1024;

/// Which replies are sent (`CLIENT REPLY`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum ReplyMode {
    #[default]
    On,
    Off,
    /// Skip the answer to the next command.
    SkipNext,
    /// Skip this one.
    Skip,
}

/// A command waiting for its `EXEC`.
#[derive(Debug)]
pub(super) struct Queued {
    pub command: Command,
    pub argv: Vec<Bytes>,
}

/// A transaction being queued.
#[derive(Debug, Default)]
pub(super) struct Transaction {
    pub queue: Vec<Queued>,
    /// Payload bytes of the queue.
    pub queued_bytes: u64,
    /// A command was refused: `EXEC` will discard.
    pub refused: bool,
}

impl Transaction {
    pub fn push(&mut self, command: Command, argv: Vec<Bytes>) {
        self.queued_bytes += argv.iter().map(|arg| arg.len() as u64 + 32).sum::<u64>();
        self.queue.push(Queued { command, argv: argv.into_iter().map(keep).collect() });
    }
}

/// An argument as it can be kept: short ones no longer hold on to the input they came in.
pub(super) fn keep(arg: Bytes) -> Bytes {
    if arg.len() <= COPY_MAX_BYTES { Bytes::copy_from_slice(&arg) } else { arg }
}

/// The state of one connection.
pub(super) struct Session {
    pub shared: Arc<Shared>,
    pub client: Arc<Client>,
    pub db: u16,
    pub protocol: Protocol,
    pub authenticated: bool,
    pub transaction: Option<Transaction>,
    /// How many commands the transaction has that is being executed.
    pub executing: Option<usize>,
    pub watch: WatchSet,
    /// Keys watched, for `CLIENT LIST`.
    pub watching: usize,
    /// The end of this connection's last write in the stream: what `WAIT` waits for.
    pub last_write_offset: u64,
    pub reply_mode: ReplyMode,
    /// Its lookups are no accesses to the keys (`CLIENT NO-TOUCH`).
    pub no_touch: bool,
    pub subscriptions: Subscriptions,
    /// Whether it is shown what all clients run.
    pub monitoring: bool,
    /// What it said with `REPLCONF`.
    pub facts: ReplicaFacts,
    /// The last command's name, for `CLIENT LIST`.
    pub last_command: &'static str,
    /// The change of role that it asked for.
    pub role_change: Option<RoleChange>,
    /// Active expiry was turned on or off, and a cycle may still be running.
    pub expiry_changed: bool,
    /// Memory was short, and could not be had, when the command began: for the commands of a script.
    pub out_of_memory: bool,
    /// Close after the replies so far are sent.
    pub closing: bool,
}

impl Session {
    pub fn new(shared: Arc<Shared>, client: Arc<Client>) -> Self {
        let authenticated = shared.config.load().requirepass.is_empty();
        Session {
            shared,
            client,
            db: 0,
            protocol: Protocol::Resp2,
            authenticated,
            transaction: None,
            executing: None,
            watch: WatchSet::new(),
            watching: 0,
            last_write_offset: 0,
            reply_mode: ReplyMode::On,
            no_touch: false,
            subscriptions: Subscriptions::default(),
            monitoring: false,
            facts: ReplicaFacts::default(),
            last_command: "",
            role_change: None,
            expiry_changed: false,
            out_of_memory: false,
            closing: false,
        }
    }

    /// Forgets the watched keys.
    pub fn unwatch(&mut self) {
        if self.watching > 0 {
            self.shared.keyspace.unwatch(&mut self.watch);
            self.watching = 0;
        }
    }

    /// Ends all that makes others push to it.
    pub fn leave(&mut self) {
        self.shared.pubsub.leave(&self.client, &mut self.subscriptions);
        if std::mem::take(&mut self.monitoring) {
            self.shared.monitors.remove(&self.client);
        }
    }

    /// The protocol of replies and pushes.
    pub fn set_protocol(&mut self, protocol: Protocol) {
        self.protocol = protocol;
        self.client.outbox.set_protocol(protocol);
    }

    /// Which replies are sent.
    pub fn set_reply_mode(&mut self, mode: ReplyMode) {
        self.reply_mode = mode;
        self.client.outbox.set_muted(mode == ReplyMode::Off);
    }

    /// `RESET`: as a new connection, except for what the server remembers of it.
    pub fn reset(&mut self) {
        self.transaction = None;
        self.unwatch();
        self.db = 0;
        self.leave();
        self.set_protocol(Protocol::Resp2);
        // The answer to this command may be one that is skipped.
        if self.reply_mode == ReplyMode::Off {
            self.set_reply_mode(ReplyMode::On);
        }
        self.authenticated = self.shared.config.load().requirepass.is_empty();
        let mut profile = self.client.profile.lock();
        profile.name = Bytes::new();
        profile.no_evict = false;
        profile.no_touch = false;
        drop(profile);
        self.no_touch = false;
    }

    /// Brings what `CLIENT LIST` shows up to date.
    pub fn publish_profile(&self, command: &'static str) {
        let mut profile = self.client.profile.lock();
        profile.command = if self.executing.is_some() { "exec" } else { command };
        profile.db = self.db;
        profile.protocol = self.protocol;
        profile.queued =
            self.transaction.as_ref().map(|transaction| transaction.queue.len()).or(self.executing);
        profile.queued_bytes = self.transaction.as_ref().map_or(0, |transaction| transaction.queued_bytes);
        profile.watching = self.watching;
        let count = |kind| self.subscriptions.of(kind).len();
        profile.subscriptions = (count(Kind::Channel), count(Kind::Pattern), count(Kind::ShardChannel));
        profile.monitoring = self.monitoring;
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.leave();
        self.unwatch();
    }
}
