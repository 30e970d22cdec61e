//! What stands beside the buffer: the history when it changes, and who waits for acknowledgements.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;

use replcore::buffer::model::{Fault, fault};
use replcore::buffer::{AppendError, ReplicationBuffer};
use replcore::resync::{
    Decision, History, Previous, PsyncRequest, ReplicaKey, ReplicationId, RequestedId, Retained, SharedAcks,
    SharedHistory, decide,
};

use super::{keeping, read_visible};
use crate::check::{Crew, block_on};
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
        name: "history-two-shifts",
        invariants: "-",
        about: "two promotions at once: the history of one grows out of the other's, and neither is lost",
        quick: Bound::None,
        full: Bound::None,
        outcomes: &["the first came last", "the second came last"],
        controls: &["ShiftInTwoSteps"],
        body: two_shifts,
        ..BASE
    },
    Model {
        name: "history-shift-reset",
        invariants: "-",
        about: "a promotion while the history breaks: nothing that was before the break may be continued from",
        quick: Bound::None,
        full: Bound::None,
        outcomes: &["the break came last", "the promotion came last"],
        controls: &["ShiftInTwoSteps"],
        body: shift_and_reset,
        ..BASE
    },
    Model {
        name: "wait-acks",
        invariants: "-",
        about: "a client waits for acknowledgements of a replica that comes online meanwhile: a lost one is a deadlock",
        quick: Bound::None,
        full: Bound::None,
        outcomes: &["counted at once", "slept"],
        controls: &["CountThenSleep"],
        no_stalls: Some("its client waits for the one acknowledgement that its other thread brings"),
        body: |seen| wait_for_acks(seen, &[("client in WAIT", END)]),
        ..BASE
    },
    Model {
        name: "wait-acks-two",
        invariants: "-",
        about: "two clients wait for different acknowledgements: each is told of its own",
        quick: Bound::Preemptions(2),
        full: Bound::Preemptions(3),
        outcomes: &["counted at once", "slept"],
        controls: &["CountThenSleep"],
        no_stalls: Some("its clients wait for the acknowledgements that its other thread brings"),
        body: |seen| wait_for_acks(seen, &[("client in WAIT", FIRST), ("client in WAIT for more", END)]),
        ..BASE
    },
];

fn id(digit: u8) -> ReplicationId {
    std::str::from_utf8(&[digit; 40]).expect("text").parse().expect("40 digits")
}

/// A replica of the old history that has `applied` bytes asks to continue; says also whether the
/// history was still the old one. What is retained is read before the history: read after it, the
/// end may be one of a later history, which the replica does not share.
fn psync(buffer: &ReplicationBuffer, history: &SharedHistory, applied: i64) -> (Option<Vec<u8>>, bool) {
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
    let history = Arc::new(SharedHistory::new(History::new(id(b'a'))));
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

/// A promotion of either server's making, at the stream's end.
fn shift(crew: &mut Crew, name: &'static str, history: &Arc<SharedHistory>, digit: u8) {
    let history = Arc::clone(history);
    crew.spawn(name, move || history.shift(id(digit), END));
}

/// Where the stream ends while histories change.
const END: u64 = 3;

fn grown_out_of(digit: u8) -> Option<Previous> {
    Some(Previous { replid: id(digit), second_offset: END + 1 })
}

fn two_shifts(seen: &'static Seen) {
    let buffer = keeping(2);
    let history = Arc::new(SharedHistory::new(History::new(id(b'a'))));
    let mut crew = Crew::new();
    shift(&mut crew, "first promoter", &history, b'b');
    shift(&mut crew, "second promoter", &history, b'c');
    if !crew.finish(&buffer) {
        return;
    }
    let last = *history.load();
    if last.replid == id(b'b') {
        seen.mark("the first came last");
        assert_eq!(last.previous, grown_out_of(b'c'), "a promotion is lost");
    } else {
        seen.mark("the second came last");
        assert_eq!(last.replid, id(b'c'));
        assert_eq!(last.previous, grown_out_of(b'b'), "a promotion is lost");
    }
}

fn shift_and_reset(seen: &'static Seen) {
    let buffer = keeping(2);
    let history = Arc::new(SharedHistory::new(History::new(id(b'a'))));
    let mut crew = Crew::new();
    shift(&mut crew, "promoter", &history, b'b');
    let broken = Arc::clone(&history);
    crew.spawn("whoever finds the stream broken", move || broken.reset(id(b'c')));
    if !crew.finish(&buffer) {
        return;
    }
    let last = *history.load();
    if last.replid == id(b'c') {
        seen.mark("the break came last");
        assert_eq!(last.previous, None, "a history without a past has one");
    } else {
        seen.mark("the promotion came last");
        assert_eq!(last.replid, id(b'b'));
        assert_eq!(last.previous, grown_out_of(b'c'), "what was before the break can be continued from");
    }
}

const REPLICA: ReplicaKey = 1;
/// Where the first of two frames ends.
const FIRST: u64 = 2;

/// Waits until the replica has `offset`.
fn wait_for(acks: &SharedAcks, offset: u64, seen: &Seen) {
    let mut reached = pin!(acks.reached(offset, 1));
    let mut polls = 0;
    let count = block_on(poll_fn(|context| {
        polls += 1;
        reached.as_mut().poll(context)
    }));
    seen.mark(if polls == 1 { "counted at once" } else { "slept" });
    assert_eq!(count, 1, "fewer have it than were waited for");
    assert!(acks.count_acked(offset) == 1, "an acknowledged offset has fallen");
}

fn wait_for_acks(seen: &'static Seen, clients: &[(&'static str, u64)]) {
    let buffer = keeping(2);
    buffer.append(b"ab").expect("not fenced");
    buffer.append(b"c").expect("not fenced");
    let acks = Arc::new(SharedAcks::default());
    acks.insert(REPLICA, 0);
    let mut crew = Crew::new();
    for (name, offset) in clients.iter().copied() {
        let acks = Arc::clone(&acks);
        crew.spawn_waiter(name, move || wait_for(&acks, offset, seen));
    }
    let reported = Arc::clone(&acks);
    crew.spawn("replica's link", move || {
        // It has some of it before it is online, and the rest afterwards.
        reported.acknowledge(REPLICA, FIRST, None, END, 1);
        reported.set_online(REPLICA, 2);
        reported.acknowledge(REPLICA, END, None, END, 3);
    });
    if crew.finish(&buffer) {
        assert_eq!(acks.waiting(), 0, "somebody is counted as waiting who does not");
    }
}
