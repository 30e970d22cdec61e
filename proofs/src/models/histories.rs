//! What stands beside the buffer: the history at a failover, and who waits for acknowledgements.
//!
//! [`SharedHistory`] is an `arc-swap`, which the explorer does not see: the models give the others a
//! turn at each use of it, so that it is met in every order all the same.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use replcore::buffer::model::{Fault, fault};
use replcore::buffer::{AppendError, ReplicationBuffer};
use replcore::resync::{
    AckTable, Decision, History, PsyncRequest, ReplicaKey, ReplicationId, RequestedId, Retained,
    SharedHistory, decide,
};

use super::{keeping, read_visible};
use crate::check::Crew;
use crate::check::atomic::Word;
use crate::check::sync::{Condvar, Mutex};
use crate::model::{BASE, Bound, Model, Seen};

/// The models.
pub static MODELS: &[Model] = &[
    Model {
        name: "failover-psync",
        invariants: "I7 I10",
        about: "a term is sealed, the history shifted and the next term appends while a replica that is ahead asks to continue",
        quick: Bound::Preemptions(2),
        full: Bound::Preemptions(3),
        outcomes: &["asked the old history", "asked the new history"],
        controls: &["HistoryBeforeRange"],
        body: failover,
        ..BASE
    },
    Model {
        name: "wait-acks",
        invariants: "-",
        about: "a client waits for an acknowledgement that comes meanwhile: a lost one is a deadlock",
        quick: Bound::None,
        full: Bound::None,
        outcomes: &["counted at once", "slept"],
        controls: &["CountThenSleep"],
        no_stalls: Some("its client waits for the one acknowledgement that its other thread brings"),
        body: wait_for_acks,
        ..BASE
    },
];

fn id(digit: u8) -> ReplicationId {
    std::str::from_utf8(&[digit; 40]).expect("text").parse().expect("40 digits")
}

/// A history, and a word that the explorer sees, touched at each use of it.
struct Visible {
    history: SharedHistory,
    word: Word,
}

impl Visible {
    fn load(&self) -> Arc<History> {
        self.word.load(Relaxed);
        self.history.load()
    }

    fn shift(&self, id: ReplicationId, end: u64) {
        self.word.load(Relaxed);
        self.history.shift(id, end);
    }
}

/// A replica of the old history that has `applied` bytes asks to continue; says also whether the
/// history was still the old one. What is retained is read before the history: read after it, the
/// end may be one of a later history, which the replica does not share.
fn psync(buffer: &ReplicationBuffer, history: &Visible, applied: i64) -> (Option<Vec<u8>>, bool) {
    let retained = || Retained { first: buffer.first_offset(), end: buffer.end_offset() };
    let (retained, current) = if fault(Fault::HistoryBeforeRange) {
        let current = history.load();
        (retained(), current)
    } else {
        (retained(), history.load())
    };
    let request = PsyncRequest { id: RequestedId::Known(id(b'a')), wanted: applied + 1, failover: false };
    let continued = match decide(&current, retained, &request) {
        Decision::Partial { attach_offset } => {
            let mut cursor = buffer.attach(attach_offset).expect("I7: retained");
            Some(read_visible(&mut cursor))
        }
        Decision::Full { .. } => None,
    };
    (continued, current.previous.is_none())
}

fn failover(seen: &'static Seen) {
    let buffer = keeping(2);
    let history = SharedHistory::new(History::new(id(b'a')));
    let history = Arc::new(Visible { history, word: Word::new() });
    let mut crew = Crew::new();
    let (sealed, shifted) = (buffer.clone(), Arc::clone(&history));
    let mut old = buffer.writer();
    crew.spawn("promoter", move || {
        let end = sealed.seal(1).expect("sealed once");
        shifted.shift(id(b'b'), end);
        sealed.writer_of_term(2).append(b"new").expect("a later term");
        assert!(matches!(old.append(b"old"), Err(AppendError::Fenced { .. })), "I10");
    });
    // It has three bytes of the old history that came to it and not to the one that is promoted.
    let (asked, known) = (buffer.clone(), Arc::clone(&history));
    let ahead = crew.spawn("replica that is ahead", move || psync(&asked, &known, 3));
    if !crew.finish(&buffer) {
        return;
    }
    let (continued, under_old) = ahead.get();
    seen.mark(if under_old { "asked the old history" } else { "asked the new history" });
    assert_eq!(continued, None, "a replica of another history is continued: histories are mixed");
    let (continued, _) = psync(&buffer, &history, 0);
    assert_eq!(continued.as_deref(), Some(&b"new"[..]), "one that shares all is not continued");
}

/// As `server::replication` does it: the table under a lock, and a version that wakes.
struct Acks {
    table: Mutex<(AckTable, u64)>,
    changed: Condvar,
}

fn wait_for_acks(seen: &'static Seen) {
    let buffer = keeping(2);
    let offset = buffer.append(b"abc").expect("not fenced").end;
    let key: ReplicaKey = 1;
    let mut table = AckTable::default();
    table.insert(key, 0);
    table.set_online(key, 0);
    let acks = Arc::new(Acks { table: Mutex::new((table, 0)), changed: Condvar::new() });
    let mut crew = Crew::new();
    let (waited, end) = (Arc::clone(&acks), offset);
    crew.spawn_waiter("client in WAIT", move || {
        let mut table = waited.table.lock().expect("no panic");
        seen.mark(if table.0.count_acked(end) > 0 { "counted at once" } else { "slept" });
        while table.0.count_acked(end) == 0 {
            if fault(Fault::CountThenSleep) {
                drop(table);
                table = waited.table.lock().expect("no panic");
            }
            table = waited.changed.wait(table).expect("no panic");
        }
    });
    let acknowledged = buffer.clone();
    crew.spawn("replica's link", move || {
        let end = acknowledged.end_offset();
        let mut table = acks.table.lock().expect("no panic");
        if table.0.acknowledge(key, offset, None, end, 1) {
            table.1 += 1;
            drop(table);
            acks.changed.notify_all();
        }
    });
    crew.finish(&buffer);
}
