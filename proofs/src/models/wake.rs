//! Waiting cursors against appends.
//!
//! One model waits for real (a lost wake-up is then a deadlock, which loom reports). The others
//! poll once and look, when all is done, whether the waker was used: the same question in fewer
//! steps.

use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use replcore::buffer::{Cursor, Writer};

use super::{drain, keeping, small};
use crate::check::{Crew, Gives, PROBE, block_on};
use crate::model::{BASE, Bound, Model, Seen};

/// The models.
pub static MODELS: &[Model] = &[
    Model {
        name: "wake-blocking",
        invariants: "I9 I6",
        about: "a cursor waits, blocking, while a writer appends",
        quick: Bound::Preemptions(2),
        full: Bound::Preemptions(3),
        outcomes: &["read"],
        controls: &["ParkSilently", "SkipSecondLook", "ForgetWake", "WakeEarly"],
        body: blocking,
        ..BASE
    },
    Model {
        name: "wake-append",
        invariants: "I9 I6",
        about: "a cursor looks and leaves its waker while a writer appends",
        quick: Bound::None,
        full: Bound::None,
        outcomes: &["found it", "woken"],
        controls: &["PARK=Relaxed", "ParkSilently", "SkipSecondLook", "ForgetWake"],
        body: |seen| wait(seen, 1, 2),
        ..BASE
    },
    Model {
        name: "wake-across-segments",
        invariants: "I9 I6",
        about: "a cursor looks and leaves its waker at the end of a full segment",
        quick: Bound::Preemptions(2),
        full: Bound::Preemptions(3),
        outcomes: &["found it", "woken"],
        controls: &["ParkSilently", "SkipSecondLook", "ForgetWake", "ParkAtFull"],
        body: |seen| wait(seen, 1, 1),
        ..BASE
    },
    Model {
        name: "wake-2-cursors",
        invariants: "I9",
        about: "two cursors leave their wakers at the same cell",
        threads: 4,
        quick: Bound::Preemptions(1),
        full: Bound::Preemptions(2),
        outcomes: &["found it", "woken"],
        controls: &["PARK=Relaxed", "CELL_PUBLISH_AWAITED=Release", "ForgetWake"],
        body: |seen| wait(seen, 2, 2),
        ..BASE
    },
    Model {
        name: "wake-changing",
        invariants: "I6 I9",
        about: "a cursor changes its waker while a writer uses the one before",
        quick: Bound::Preemptions(2),
        full: Bound::Preemptions(3),
        outcomes: &["found it", "woken"],
        controls: &["FreeAtOnce", "WAKER_SWAP=Relaxed", "WAKER_LOAD=Relaxed"],
        body: changing_waker,
        ..BASE
    },
    Model {
        name: "wake-reused-slot",
        invariants: "I6 I9",
        about: "a cursor goes while another attaches, perhaps in its slot, and leaves a waker there",
        quick: Bound::Preemptions(2),
        full: Bound::None,
        outcomes: &["woken"],
        controls: &["FreeSlotEarly"],
        body: reused_slot,
        ..BASE
    },
];

/// A waker that says whether it was used. Plain atomics: what it hands over is not the question.
#[derive(Debug)]
pub(super) struct Flag(AtomicBool);

impl Flag {
    pub(super) fn new() -> std::sync::Arc<Self> {
        std::sync::Arc::new(Self(AtomicBool::new(false)))
    }

    pub(super) fn is_set(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

impl Wake for Flag {
    fn wake(self: std::sync::Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Polls once; true if there was something to read.
pub(super) fn poll(cursor: &mut Cursor, flag: &std::sync::Arc<Flag>) -> bool {
    let waker = Waker::from(flag.clone());
    match cursor.poll_readable(&mut Context::from_waker(&waker)) {
        Poll::Ready(ready) => ready.is_ok(),
        Poll::Pending => false,
    }
}

/// Appends a frame, so that the writer stands at the end and its next append there is one exchange. Returns the end.
fn standing(writer: &mut Writer) -> u64 {
    writer.append(b"--").expect("not fenced").end
}

fn blocking(seen: &'static Seen) {
    let buffer = keeping(2);
    let mut writer = buffer.writer();
    let before = standing(&mut writer);
    let mut cursor = buffer.attach(before).expect("the end");
    let mut crew = Crew::new();
    crew.spawn_waiter("waiting replica", move || {
        block_on(cursor.readable()).expect("not evicted");
        let stream = drain(&mut cursor);
        assert!(stream.starts_with(b"abc") || stream.starts_with(&[PROBE; 3]), "I5: {stream:?}");
        seen.mark("read");
    });
    crew.spawn("writer", move || {
        writer.append(b"abc").expect("not fenced");
    });
    crew.finish(&buffer);
}

fn wait(seen: &'static Seen, cursors: usize, cells: usize) {
    let buffer = keeping(cells);
    let mut writer = buffer.writer();
    // With segments of one cell, the first is full then.
    let before = standing(&mut writer);
    let mut crew = Crew::new();
    let waiting: Vec<_> = (0..cursors)
        .map(|_| {
            let mut cursor = buffer.attach(before).expect("the end");
            crew.spawn("polling replica", move || {
                let flag = Flag::new();
                let found = poll(&mut cursor, &flag);
                (cursor, flag, found)
            })
        })
        .collect();
    crew.spawn("writer", move || {
        writer.append(b"abc").expect("not fenced");
    });
    let alone = crew.finish(&buffer);
    for (mut cursor, flag, found) in waiting.into_iter().map(Gives::get) {
        seen.mark(if found { "found it" } else { "woken" });
        assert!(found || flag.is_set(), "I9: it waits for ever");
        if !alone {
            continue;
        }
        cursor.refresh().expect("not evicted");
        assert_eq!(drain(&mut cursor), b"abc", "I5");
    }
}

fn changing_waker(seen: &'static Seen) {
    let buffer = small(2).build().expect("valid settings");
    let mut writer = buffer.writer();
    let before = standing(&mut writer);
    let mut cursor = buffer.attach(before).expect("the end");
    let mut crew = Crew::new();
    let waiting = crew.spawn("polling replica", move || {
        // As a task that another executor takes over.
        let (first, second) = (Flag::new(), Flag::new());
        let found = poll(&mut cursor, &first) || poll(&mut cursor, &second);
        (cursor, second, found)
    });
    crew.spawn("writer", move || {
        writer.append(b"abc").expect("not fenced");
    });
    crew.finish(&buffer);
    let (cursor, flag, found) = waiting.get();
    seen.mark(if found { "found it" } else { "woken" });
    assert!(found || flag.is_set(), "I9: it waits for ever");
    drop(cursor);
}

fn reused_slot(seen: &'static Seen) {
    let buffer = keeping(2);
    let gone = buffer.attach(0).expect("base");
    let mut crew = Crew::new();
    crew.spawn("leaving replica", move || drop(gone));
    let attaching = buffer.clone();
    let waiting = crew.spawn("polling replica", move || {
        let mut cursor = attaching.attach(0).expect("base");
        let flag = Flag::new();
        let found = poll(&mut cursor, &flag);
        (cursor, flag, found)
    });
    if !crew.finish(&buffer) {
        return;
    }
    let (cursor, flag, found) = waiting.get();
    assert!(!found, "nothing is appended yet");
    buffer.append(b"abc").expect("not fenced");
    assert!(flag.is_set(), "I9: it waits for ever");
    seen.mark("woken");
    drop(cursor);
}
