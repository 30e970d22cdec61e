//! Keyspace events: what happened to which key, and the messages of `PUBLISH`, for those who subscribe.
//!
//! A command says what it did with `Unit::notify`, in Valkey's words and order; `PUBLISH` is a command as
//! any other, so that its message takes its place among them. Everything is handed to the sink at once,
//! while the unit's locks are held: the events of a key come in the order in which it was changed, the
//! messages of a channel in the order in which they stand in the replication stream.
//!
//! An event of a class that nobody wants costs one relaxed load.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;

/// A class of events, as `notify-keyspace-events` names it with a letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum EventClass {
    /// `g`: commands on keys of any type.
    Generic = 1 << 0,
    /// `$`: strings.
    String = 1 << 1,
    /// `l`: lists.
    List = 1 << 2,
    /// `s`: sets.
    Set = 1 << 3,
    /// `h`: hashes.
    Hash = 1 << 4,
    /// `z`: sorted sets.
    ZSet = 1 << 5,
    /// `x`: a key's deadline has passed.
    Expired = 1 << 6,
    /// `e`: a key was evicted.
    Evicted = 1 << 7,
    /// `m`: a key was looked for in vain.
    Miss = 1 << 8,
    /// `n`: a key came into being.
    New = 1 << 9,
}

/// One event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyEvent<'a> {
    /// The database of the key.
    pub db: u16,
    /// The class.
    pub class: EventClass,
    /// What happened, in Valkey's word.
    pub name: &'static str,
    /// The key.
    pub key: &'a [u8],
}

/// To whom a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageKind {
    /// `PUBLISH`: subscribers of the channel, and of patterns that match it.
    Channel,
    /// `SPUBLISH`: subscribers of the shard channel.
    ShardChannel,
}

/// Who receives events and messages. Called while locks are held, so it must be quick, must not wait for
/// anybody and must not use the keyspace.
pub trait EventSink: Send + Sync {
    /// Something happened to a key.
    fn key_event(&self, event: &KeyEvent<'_>);

    /// A client published a message. Returns how many receive it.
    fn message(&self, kind: MessageKind, channel: &Bytes, payload: &Bytes) -> u64;
}

/// Which events are wanted, and by whom.
#[derive(Default)]
pub(super) struct Events {
    /// Wanted classes. Relaxed: a change takes effect soon, and orders nothing.
    classes: AtomicU32,
    sink: Option<Arc<dyn EventSink>>,
}

impl Events {
    pub fn new(sink: Option<Arc<dyn EventSink>>) -> Events {
        Events { classes: AtomicU32::new(0), sink }
    }

    pub fn set_classes(&self, classes: u32) {
        self.classes.store(classes, Ordering::Relaxed);
    }

    /// Tells the sink, if it wants to know.
    #[inline]
    pub fn notify(&self, db: u16, class: EventClass, name: &'static str, key: &[u8]) {
        if self.classes.load(Ordering::Relaxed) & class as u32 != 0
            && let Some(sink) = &self.sink
        {
            sink.key_event(&KeyEvent { db, class, name, key });
        }
    }

    /// Hands a message to the sink; returns how many receive it.
    pub fn message(&self, kind: MessageKind, channel: &Bytes, payload: &Bytes) -> u64 {
        self.sink.as_ref().map_or(0, |sink| sink.message(kind, channel, payload))
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").field("classes", &self.classes).finish_non_exhaustive()
    }
}
