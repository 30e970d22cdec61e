//! Keyspace events: what happened to which key, for those who subscribe to it.
//!
//! A command says what it did with `Unit::notify`, in Valkey's words and order. Events are collected
//! only for classes that someone wants, and handed over at the end of the unit, while its locks are
//! held: events of a key come in the order in which it was changed.

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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyEvent {
    /// The database of the key.
    pub db: u16,
    /// The class.
    pub class: EventClass,
    /// What happened, in Valkey's word.
    pub name: &'static str,
    /// The key.
    pub key: Bytes,
}

/// Who receives events; called while locks are held, so it must be quick and must not use the keyspace.
pub type EventSink = Arc<dyn Fn(&[KeyEvent]) + Send + Sync>;

/// Which events are wanted, and by whom.
#[derive(Default)]
pub(super) struct Events {
    /// Wanted classes. Relaxed: a change takes effect soon, and orders nothing.
    classes: AtomicU32,
    sink: Option<EventSink>,
}

impl Events {
    pub fn new(sink: Option<EventSink>) -> Events {
        Events { classes: AtomicU32::new(0), sink }
    }

    pub fn set_classes(&self, classes: u32) {
        self.classes.store(classes, Ordering::Relaxed);
    }

    pub fn wants(&self, class: EventClass) -> bool {
        self.classes.load(Ordering::Relaxed) & class as u32 != 0
    }

    pub fn emit(&self, events: &[KeyEvent]) {
        if let Some(sink) = &self.sink {
            sink(events);
        }
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").field("classes", &self.classes).finish_non_exhaustive()
    }
}
