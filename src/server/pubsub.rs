//! Who has subscribed to what, and the delivery of messages.
//!
//! [`PubSub`] is the keyspace's [`EventSink`]: messages and events arrive while the locks of their channel or
//! key are held, in the order of the replication stream, and are put into the [outboxes](super::outbox) of
//! the subscribers before the call returns. The registry is read-locked meanwhile; subscribing takes the
//! write lock. Under either lock nothing waits.
//!
//! # A subscription's first and last message
//!
//! The confirmation of `SUBSCRIBE` is a reply, and what is published afterwards is taken from the outbox
//! after it. `UNSUBSCRIBE` removes the subscription first; then the connection sends what the outbox holds,
//! then the confirmation. So a client is never sent a message of a channel that it is not, by what it has
//! been told, subscribed to.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arc_swap::ArcSwap;
use bytes::{Bytes, BytesMut};
use indexmap::{IndexMap, IndexSet};
use parking_lot::RwLock;

use super::clients::Client;
use super::config::{Config, OutputLimit};
use super::notifications::Notifications;
use crate::keyspace::events::{EventSink, KeyEvent, MessageKind};
use crate::keyspace::glob;
use crate::resp::{Protocol, encode_command, encoded_len};

/// What can be subscribed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Channel,
    Pattern,
    ShardChannel,
}

impl Kind {
    /// The word that confirms a subscription, and the one that confirms its end.
    pub fn words(self) -> (&'static str, &'static str) {
        match self {
            Kind::Channel => ("subscribe", "unsubscribe"),
            Kind::Pattern => ("psubscribe", "punsubscribe"),
            Kind::ShardChannel => ("ssubscribe", "sunsubscribe"),
        }
    }
}

/// The subscriptions of one connection.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    channels: IndexSet<Bytes>,
    patterns: IndexSet<Bytes>,
    shard_channels: IndexSet<Bytes>,
}

impl Subscriptions {
    pub fn of(&self, kind: Kind) -> &IndexSet<Bytes> {
        match kind {
            Kind::Channel => &self.channels,
            Kind::Pattern => &self.patterns,
            Kind::ShardChannel => &self.shard_channels,
        }
    }

    fn of_mut(&mut self, kind: Kind) -> &mut IndexSet<Bytes> {
        match kind {
            Kind::Channel => &mut self.channels,
            Kind::Pattern => &mut self.patterns,
            Kind::ShardChannel => &mut self.shard_channels,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.channels.is_empty() && self.patterns.is_empty() && self.shard_channels.is_empty()
    }

    /// The number that a confirmation names: shard channels are counted on their own.
    pub fn count_with(&self, kind: Kind) -> usize {
        match kind {
            Kind::Channel | Kind::Pattern => self.channels.len() + self.patterns.len(),
            Kind::ShardChannel => self.shard_channels.len(),
        }
    }
}

/// The subscribers of one name, by client ID.
type Subscribers = IndexMap<u64, Arc<Client>>;

#[derive(Debug, Default)]
struct Tables {
    channels: HashMap<Bytes, Subscribers>,
    patterns: HashMap<Bytes, Subscribers>,
    shard_channels: HashMap<Bytes, Subscribers>,
}

impl Tables {
    fn of(&self, kind: Kind) -> &HashMap<Bytes, Subscribers> {
        match kind {
            Kind::Channel => &self.channels,
            Kind::Pattern => &self.patterns,
            Kind::ShardChannel => &self.shard_channels,
        }
    }

    fn of_mut(&mut self, kind: Kind) -> &mut HashMap<Bytes, Subscribers> {
        match kind {
            Kind::Channel => &mut self.channels,
            Kind::Pattern => &mut self.patterns,
            Kind::ShardChannel => &mut self.shard_channels,
        }
    }
}

/// What delivery has to know of the configuration.
#[derive(Clone, Copy, Debug)]
struct Settings {
    notifications: Notifications,
    limit: OutputLimit,
}

/// All subscriptions.
#[derive(Debug)]
pub(super) struct PubSub {
    /// Subscriptions in all: while there are none, a message costs one load.
    subscriptions: AtomicUsize,
    tables: RwLock<Tables>,
    settings: ArcSwap<Settings>,
}

impl PubSub {
    pub fn new(config: &Config) -> PubSub {
        PubSub {
            subscriptions: AtomicUsize::new(0),
            tables: RwLock::default(),
            settings: ArcSwap::from_pointee(settings(config)),
        }
    }

    /// Takes over what concerns it from a changed configuration.
    pub fn configure(&self, config: &Config) {
        self.settings.store(Arc::new(settings(config)));
    }

    /// Adds a subscription; returns whether it is new.
    pub fn subscribe(&self, client: &Arc<Client>, own: &mut Subscriptions, kind: Kind, name: &Bytes) -> bool {
        // Kept for long, so it must not hold on to the input that it came in.
        let name = Bytes::copy_from_slice(name);
        if !own.of_mut(kind).insert(name.clone()) {
            return false;
        }
        let mut tables = self.tables.write();
        tables.of_mut(kind).entry(name).or_default().insert(client.id, Arc::clone(client));
        // Release: who sees the number finds the subscription in the table.
        self.subscriptions.fetch_add(1, Ordering::Release);
        true
    }

    /// Removes a subscription: when this returns, no more of its messages are put into the client's outbox.
    pub fn unsubscribe(&self, client: &Client, own: &mut Subscriptions, kind: Kind, name: &[u8]) -> bool {
        // Keeping the order would cost a step for each of the others, here and below.
        if !own.of_mut(kind).swap_remove(name) {
            return false;
        }
        let mut tables = self.tables.write();
        let table = tables.of_mut(kind);
        if let Some(subscribers) = table.get_mut(name) {
            subscribers.swap_remove(&client.id);
            if subscribers.is_empty() {
                table.remove(name);
            }
        }
        self.subscriptions.fetch_sub(1, Ordering::Release);
        true
    }

    /// Removes all subscriptions of a client.
    pub fn leave(&self, client: &Client, own: &mut Subscriptions) {
        for kind in [Kind::Channel, Kind::Pattern, Kind::ShardChannel] {
            while let Some(name) = own.of(kind).last().cloned() {
                self.unsubscribe(client, own, kind, &name);
            }
        }
    }

    /// The names of a kind that somebody has subscribed to, if they match.
    pub fn active(&self, kind: Kind, pattern: Option<&[u8]>) -> Vec<Bytes> {
        let tables = self.tables.read();
        let names = tables.of(kind).keys();
        names.filter(|name| pattern.is_none_or(|pattern| glob::matches(pattern, name))).cloned().collect()
    }

    /// How many have subscribed to a name.
    pub fn count(&self, kind: Kind, name: &[u8]) -> usize {
        self.tables.read().of(kind).get(name).map_or(0, IndexMap::len)
    }

    /// How many names of a kind have subscribers.
    pub fn count_active(&self, kind: Kind) -> usize {
        self.tables.read().of(kind).len()
    }

    fn deliver(&self, kind: MessageKind, channel: &[u8], payload: &[u8], limit: OutputLimit) -> u64 {
        if self.subscriptions.load(Ordering::Acquire) == 0 {
            return 0;
        }
        let tables = self.tables.read();
        let (direct, word) = match kind {
            MessageKind::Channel => (&tables.channels, "message"),
            MessageKind::ShardChannel => (&tables.shard_channels, "smessage"),
        };
        let mut receivers = 0;
        if let Some(subscribers) = direct.get(channel) {
            receivers += push_to_all(subscribers, &[word.as_bytes(), channel, payload], limit);
        }
        if kind == MessageKind::Channel {
            for (pattern, subscribers) in &tables.patterns {
                if glob::matches(pattern, channel) {
                    receivers += push_to_all(subscribers, &[b"pmessage", pattern, channel, payload], limit);
                }
            }
        }
        receivers
    }
}

fn settings(config: &Config) -> Settings {
    Settings { notifications: config.notifications, limit: config.pubsub_output }
}

/// Encodes a message at most once for each protocol, and shares the bytes.
fn push_to_all(subscribers: &Subscribers, parts: &[&[u8]], limit: OutputLimit) -> u64 {
    let (mut resp2, mut resp3) = (None, None);
    for client in subscribers.values() {
        let protocol = client.outbox.protocol();
        let encoded = match protocol {
            Protocol::Resp2 => &mut resp2,
            Protocol::Resp3 => &mut resp3,
        };
        let encoded: &Bytes = encoded.get_or_insert_with(|| {
            let mut out = BytesMut::with_capacity(encoded_len(parts));
            encode_command(parts, &mut out);
            if protocol == Protocol::Resp3 {
                // A push is an array with another mark.
                out[0] = b'>';
            }
            out.freeze()
        });
        client.push(encoded.clone(), limit);
    }
    subscribers.len() as u64
}

impl EventSink for PubSub {
    fn key_event(&self, event: &KeyEvent<'_>) {
        if self.subscriptions.load(Ordering::Acquire) == 0 {
            return;
        }
        let Settings { notifications, limit } = **self.settings.load();
        let mut channel = String::with_capacity(32);
        if notifications.by_key() {
            // Writing to a String cannot fail, here and below.
            let _ = write!(channel, "__keyspace@{}__:", event.db);
            let channel = [channel.as_bytes(), event.key].concat();
            self.deliver(MessageKind::Channel, &channel, event.name.as_bytes(), limit);
        }
        if notifications.by_event() {
            channel.clear();
            let _ = write!(channel, "__keyevent@{}__:{}", event.db, event.name);
            self.deliver(MessageKind::Channel, channel.as_bytes(), event.key, limit);
        }
    }

    fn message(&self, kind: MessageKind, channel: &Bytes, payload: &Bytes) -> u64 {
        self.deliver(kind, channel, payload, self.settings.load().limit)
    }
}
