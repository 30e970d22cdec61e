//! Waiting cursors against appends. A lost wake-up is a deadlock, which loom reports.

use loom::thread;

use super::{drain, keeping, small};
use crate::model::{Bound, Model, Seen};

/// The models.
pub static MODELS: &[Model] = &[
    Model {
        name: "wake-append",
        invariants: "I9 I6",
        about: "a cursor waits while a writer appends",
        threads: 3,
        quick: Bound::Preemptions(3),
        full: Bound::None,
        shadow: true,
        stalls: false,
        outcomes: &["read"],
        controls: &["PARK=Relaxed", "CELL_PUBLISH=Release", "ParkSilently", "SkipSecondLook", "ForgetWake"],
        body: |seen| wait(seen, 1, 1, 2),
    },
    Model {
        name: "wake-across-segments",
        invariants: "I9 I6",
        about: "a cursor waits at the end of a full segment",
        threads: 3,
        quick: Bound::Preemptions(2),
        full: Bound::Preemptions(3),
        shadow: true,
        stalls: false,
        outcomes: &["read"],
        controls: &["ParkSilently", "SkipSecondLook", "ForgetWake"],
        body: |seen| wait(seen, 1, 2, 1),
    },
    Model {
        name: "wake-2-cursors",
        invariants: "I9",
        about: "two cursors wait at the same cell",
        threads: 4,
        quick: Bound::Preemptions(1),
        full: Bound::Preemptions(2),
        shadow: true,
        stalls: false,
        outcomes: &["read"],
        controls: &["PARK=Relaxed", "ForgetWake"],
        body: |seen| wait(seen, 2, 1, 2),
    },
    Model {
        name: "wake-changing",
        invariants: "I6 I9",
        about: "a cursor changes its waker while a writer uses the one before",
        threads: 3,
        quick: Bound::Preemptions(2),
        full: Bound::Preemptions(3),
        shadow: true,
        stalls: false,
        outcomes: &["read"],
        controls: &["FreeAtOnce", "WAKER_SWAP=Relaxed", "WAKER_LOAD=Relaxed"],
        body: changing_waker,
    },
];

fn wait(seen: &'static Seen, cursors: usize, frames: usize, cells: usize) {
    let buffer = keeping(cells);
    let waiting: Vec<_> = (0..cursors)
        .map(|_| {
            let mut cursor = buffer.attach(0).expect("base");
            thread::spawn(move || {
                let mut read = 0;
                while read < 3 * frames {
                    loom::future::block_on(cursor.readable()).expect("not evicted");
                    read += drain(&mut cursor).len();
                }
                seen.mark("read");
            })
        })
        .collect();
    let mut writer = buffer.writer();
    let appending = thread::spawn(move || {
        (0..frames).for_each(|_| drop(writer.append(b"abc").expect("not fenced")));
    });
    appending.join().expect("no panic");
    for waiting in waiting {
        waiting.join().expect("no panic");
    }
}

fn changing_waker(seen: &'static Seen) {
    let buffer = small(2).build().expect("valid settings");
    let mut cursor = buffer.attach(0).expect("base");
    let waiting = thread::spawn(move || {
        // As a task that another executor took over: a first waker that leads nowhere.
        let nowhere = std::task::Waker::noop();
        let _ = cursor.poll_readable(&mut std::task::Context::from_waker(nowhere));
        loom::future::block_on(cursor.readable()).expect("not evicted");
        assert_eq!(drain(&mut cursor), b"abc", "I5");
        seen.mark("read");
    });
    let mut writer = buffer.writer();
    let appending = thread::spawn(move || {
        writer.append(b"abc").expect("not fenced");
    });
    appending.join().expect("no panic");
    waiting.join().expect("no panic");
}
