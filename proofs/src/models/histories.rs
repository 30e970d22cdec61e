//! What stands beside the buffer: the history at a failover, and who waits for acknowledgements.
//!
//! [`SharedHistory`] is an `arc-swap`, which the explorer does not see: the models give the others a
//! turn at each use of it, so that it is met in every order all the same.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

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
        about: "a term is sealed and the history shifted while both terms append and a replica asks to continue",
        threads: 4,
        quick: Bound::Preemptions(1),
        full: Bound::Preemptions(2),
        outcomes: &["fenced", "appended", "old history continued", "refused"],
        controls: &["StaleFence"],
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
        controls: &["LeakRecord"],
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

/// A replica of the old history that has `applied` bytes asks to continue. What is retained is read
/// before the history: read after it, the end may be one of a later history, which the replica does
/// not share.
fn psync(buffer: &ReplicationBuffer, history: &Visible, applied: i64) -> Option<Vec<u8>> {
    let retained = Retained { first: buffer.first_offset(), end: buffer.end_offset() };
    let current = history.load();
    let request = PsyncRequest { id: RequestedId::Known(id(b'a')), wanted: applied + 1, failover: false };
    match decide(&current, retained, &request) {
        Decision::Partial { attach_offset } => {
            let mut cursor = buffer.attach(attach_offset).expect("I7: retained");
            Some(read_visible(&mut cursor))
        }
        Decision::Full { .. } => None,
    }
}

fn failover(seen: &'static Seen) {
    let buffer = keeping(2);
    let history = SharedHistory::new(History::new(id(b'a')));
    let history = Arc::new(Visible { history, word: Word::new() });
    let mut crew = Crew::new();
    let mut old = buffer.writer();
    let appending = crew.spawn("old writer", move || old.append(b"old"));
    let (sealed, shifted) = (buffer.clone(), Arc::clone(&history));
    let promoting = crew.spawn("promoter", move || {
        let end = sealed.seal(1).expect("sealed once");
        shifted.shift(id(b'b'), end);
        sealed.writer_of_term(2).append(b"new").expect("a later term");
        end
    });
    let (asked, known) = (buffer.clone(), Arc::clone(&history));
    let asking = crew.spawn("returning replica", move || {
        // It has three bytes of the old history, from here or, if they are fenced here, from a
        // replica that got them from elsewhere.
        psync(&asked, &known, 3)
    });
    if !crew.finish(&buffer) {
        return;
    }
    let (appended, end) = (appending.get(), promoting.get());
    let whole: &[u8] = match appended {
        Ok(range) => {
            assert!(range.end <= end, "I10");
            seen.mark("appended");
            b"oldnew"
        }
        Err(AppendError::Fenced { .. }) => {
            seen.mark("fenced");
            b"new"
        }
        Err(error) => panic!("{error}"),
    };
    match asking.get() {
        // Three bytes of the old history are in the stream only if its writer came before the seal.
        Some(stream) => {
            seen.mark("old history continued");
            assert!(
                end >= 3,
                "a replica ahead of the seal is continued with {stream:?}: histories are mixed"
            );
            assert!(whole[3..].starts_with(&stream), "I3, I5");
        }
        None => seen.mark("refused"),
    }
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
