//! The litmus programs.

use std::sync::atomic::Ordering::{self, AcqRel, Acquire, Relaxed, Release, SeqCst};
use std::sync::{Mutex, PoisonError};

use replcore_checkers::sync::Marks;
use replcore_checkers::weak::atomics::{AtomicUsize, fence};
use replcore_checkers::weak::{Arc, UnsafeCell, spawn};

use super::{Litmus, RACE};
use crate::schedules::strategy::Bounds;

/// Two words, 0 at first.
#[derive(Debug)]
struct Two {
    x: AtomicUsize,
    y: AtomicUsize,
}

fn two() -> Arc<Two> {
    Arc::new(Two { x: AtomicUsize::new(0), y: AtomicUsize::new(0) })
}

fn fence_if(order: Option<Ordering>) {
    if let Some(order) = order {
        fence(order);
    }
}

const BASE: Litmus =
    Litmus { name: "", outcomes: &[], body: String::new, preemptions: Bounds::NONE.preemptions };

pub(super) static ALL: &[Litmus] = &[
    Litmus {
        name: "message passing, release and acquire",
        outcomes: &["flag and data", "no flag"],
        body: || message_passing(Release, Acquire, None),
        ..BASE
    },
    Litmus {
        name: "message passing, the store relaxed",
        outcomes: &["flag and data", "flag without data", "no flag"],
        body: || message_passing(Relaxed, Acquire, None),
        ..BASE
    },
    Litmus {
        name: "message passing, the load relaxed",
        outcomes: &["flag and data", "flag without data", "no flag"],
        body: || message_passing(Release, Relaxed, None),
        ..BASE
    },
    Litmus {
        name: "message passing, fences",
        outcomes: &["flag and data", "no flag"],
        body: || message_passing(Relaxed, Relaxed, Some((Release, Acquire))),
        ..BASE
    },
    Litmus {
        name: "message passing, the wrong fences",
        outcomes: &["flag and data", "flag without data", "no flag"],
        body: || message_passing(Relaxed, Relaxed, Some((Acquire, Acquire))),
        ..BASE
    },
    Litmus {
        name: "message passing into plain memory",
        outcomes: &["flag and data", "no flag"],
        body: || plain_message(Release),
        ..BASE
    },
    Litmus {
        name: "message passing into plain memory, the store relaxed",
        outcomes: &["no flag", RACE],
        body: || plain_message(Relaxed),
        ..BASE
    },
    Litmus {
        name: "store buffering, release and acquire",
        outcomes: &["00", "01", "10", "11"],
        body: || store_buffering(None),
        ..BASE
    },
    Litmus {
        name: "store buffering, acquire-release fences",
        outcomes: &["00", "01", "10", "11"],
        body: || store_buffering(Some(AcqRel)),
        ..BASE
    },
    Litmus {
        name: "store buffering, sequentially consistent fences",
        outcomes: &["01", "10", "11"],
        body: || store_buffering(Some(SeqCst)),
        ..BASE
    },
    Litmus {
        name: "independent reads of independent writes, acquire",
        outcomes: &["agree", "disagree"],
        body: || independent_reads(None),
        preemptions: 2,
    },
    Litmus {
        name: "independent reads of independent writes, sequentially consistent fences",
        outcomes: &["agree"],
        body: || independent_reads(Some(SeqCst)),
        preemptions: 2,
    },
    Litmus { name: "load hiding", outcomes: &["after", "before"], body: load_hiding, ..BASE },
    Litmus {
        name: "coherence of reads",
        outcomes: &["00", "01", "02", "11", "12", "22"],
        body: reads_agree,
        ..BASE
    },
    Litmus { name: "coherence of a write and a read", outcomes: &["1", "2"], body: write_then_read, ..BASE },
    Litmus {
        name: "release sequence through a read-modify-write",
        outcomes: &["data", "not yet"],
        body: || release_sequence(true),
        ..BASE
    },
    Litmus {
        name: "release sequence broken by a store",
        outcomes: &["data", "no data", "not yet"],
        body: || release_sequence(false),
        ..BASE
    },
    Litmus { name: "load buffering", outcomes: &["00", "01", "10"], body: load_buffering, ..BASE },
    Litmus { name: "read-modify-writes of two threads", outcomes: &["2"], body: counting, ..BASE },
    Litmus {
        name: "compare-exchange",
        outcomes: &["0 fails at 1", "0 succeeds"],
        body: compare_exchange,
        ..BASE
    },
    Litmus {
        name: "publication of an atomic, release",
        outcomes: &["7", "null"],
        body: || publication(Release),
        ..BASE
    },
    Litmus {
        name: "publication of an atomic, relaxed",
        outcomes: &["null", RACE],
        body: || publication(Relaxed),
        ..BASE
    },
    Litmus {
        name: "marks, the bytes beside are written meanwhile",
        outcomes: &["flag and data", "no flag"],
        body: || marked_message(Release, 8),
        ..BASE
    },
    Litmus {
        name: "marks, the last byte is written again",
        outcomes: &["no flag", RACE],
        body: || marked_message(Release, 7),
        ..BASE
    },
    Litmus {
        name: "marks, the store relaxed",
        outcomes: &["no flag", RACE],
        body: || marked_message(Relaxed, 8),
        ..BASE
    },
];

fn message_passing(store: Ordering, load: Ordering, fences: Option<(Ordering, Ordering)>) -> String {
    let shared = two();
    let writer = Arc::clone(&shared);
    let writing = spawn(move || {
        writer.x.store(1, Relaxed);
        fence_if(fences.map(|fences| fences.0));
        writer.y.store(1, store);
    });
    let flag = shared.y.load(load);
    fence_if(fences.map(|fences| fences.1));
    let data = shared.x.load(Relaxed);
    writing.join();
    match (flag, data) {
        (0, _) => "no flag",
        (_, 1) => "flag and data",
        _ => "flag without data",
    }
    .to_owned()
}

#[derive(Debug)]
struct Plain {
    data: UnsafeCell<usize>,
    flag: AtomicUsize,
}

fn plain_message(store: Ordering) -> String {
    let shared = Arc::new(Plain { data: UnsafeCell::new(0), flag: AtomicUsize::new(0) });
    let writer = Arc::clone(&shared);
    let writing = spawn(move || {
        // SAFETY: the checker reports an access that is not ordered with this one.
        writer.data.with_mut(|data| unsafe { *data = 1 });
        writer.flag.store(1, store);
    });
    let outcome = if shared.flag.load(Acquire) == 0 {
        "no flag"
    } else {
        // SAFETY: as above.
        match shared.data.with(|data| unsafe { *data }) {
            1 => "flag and data",
            _ => "flag without data",
        }
    };
    writing.join();
    outcome.to_owned()
}

#[derive(Debug)]
struct Marked {
    bytes: Marks,
    flag: AtomicUsize,
}

/// The first eight bytes are handed over; then some from `beyond` on are written.
fn marked_message(store: Ordering, beyond: usize) -> String {
    let shared = Arc::new(Marked { bytes: Marks::new(16), flag: AtomicUsize::new(0) });
    let writer = Arc::clone(&shared);
    let writing = spawn(move || {
        writer.bytes.write(0..8);
        writer.flag.store(1, store);
        writer.bytes.write(beyond..16);
    });
    let flag = shared.flag.load(Acquire);
    if flag == 1 {
        shared.bytes.read(0..8);
    }
    writing.join();
    if flag == 1 { "flag and data" } else { "no flag" }.to_owned()
}

fn store_buffering(between: Option<Ordering>) -> String {
    let shared = two();
    let other = Arc::clone(&shared);
    let crossing = spawn(move || {
        other.y.store(1, Release);
        fence_if(between);
        other.x.load(Acquire)
    });
    shared.x.store(1, Release);
    fence_if(between);
    let first = shared.y.load(Acquire);
    let second = crossing.join();
    format!("{first}{second}")
}

fn independent_reads(between: Option<Ordering>) -> String {
    let shared = two();
    let start = |run: fn(&Two, Option<Ordering>) -> (usize, usize)| {
        let shared = Arc::clone(&shared);
        spawn(move || run(&shared, between))
    };
    let write_x = start(|shared, _| {
        shared.x.store(1, Release);
        (0, 0)
    });
    let write_y = start(|shared, _| {
        shared.y.store(1, Release);
        (0, 0)
    });
    let x_first = start(|shared, between| {
        let first = shared.x.load(Acquire);
        fence_if(between);
        (first, shared.y.load(Acquire))
    });
    let y_first = {
        let first = shared.y.load(Acquire);
        fence_if(between);
        (first, shared.x.load(Acquire))
    };
    let x_first = x_first.join();
    write_x.join();
    write_y.join();
    // One has seen x and not y, the other y and not x.
    if x_first == (1, 0) && y_first == (1, 0) { "disagree" } else { "agree" }.to_owned()
}

/// tokio-rs/loom#166, #392: a thread that loads before it stores hides another's load there.
fn load_hiding() -> String {
    let shared = two();
    let other = Arc::clone(&shared);
    let storing = spawn(move || {
        other.x.load(Relaxed);
        other.x.store(1, Relaxed);
    });
    let seen = shared.x.load(Relaxed);
    storing.join();
    ["before", "after"][seen].to_owned()
}

fn reads_agree() -> String {
    let shared = two();
    let other = Arc::clone(&shared);
    let writing = spawn(move || {
        other.x.store(1, Relaxed);
        other.x.store(2, Relaxed);
    });
    let (first, second) = (shared.x.load(Relaxed), shared.x.load(Relaxed));
    writing.join();
    format!("{first}{second}")
}

fn write_then_read() -> String {
    let shared = two();
    let other = Arc::clone(&shared);
    let writing = spawn(move || other.x.store(2, Relaxed));
    shared.x.store(1, Relaxed);
    let read = shared.x.load(Relaxed);
    writing.join();
    read.to_string()
}

fn release_sequence(by_exchange: bool) -> String {
    let shared = two();
    let (releasing, going_on) = (Arc::clone(&shared), Arc::clone(&shared));
    let releasing = spawn(move || {
        releasing.x.store(1, Relaxed);
        releasing.y.store(1, Release);
    });
    let going_on = spawn(move || {
        if by_exchange {
            going_on.y.compare_exchange(1, 2, Relaxed, Relaxed).is_ok()
        } else {
            let seen = going_on.y.load(Relaxed) == 1;
            if seen {
                going_on.y.store(2, Relaxed);
            }
            seen
        }
    });
    let outcome = if shared.y.load(Acquire) != 2 {
        "not yet"
    } else if shared.x.load(Relaxed) == 1 {
        "data"
    } else {
        "no data"
    };
    releasing.join();
    going_on.join();
    outcome.to_owned()
}

fn load_buffering() -> String {
    let shared = two();
    let other = Arc::clone(&shared);
    let crossing = spawn(move || {
        let read = other.x.load(Relaxed);
        other.y.store(1, Relaxed);
        read
    });
    let first = shared.y.load(Relaxed);
    shared.x.store(1, Relaxed);
    let second = crossing.join();
    format!("{first}{second}")
}

fn counting() -> String {
    let shared = two();
    let other = Arc::clone(&shared);
    let counting = spawn(move || {
        other.x.fetch_add(1, Relaxed);
    });
    shared.x.fetch_add(1, Relaxed);
    counting.join();
    shared.x.load(Relaxed).to_string()
}

fn compare_exchange() -> String {
    let shared = two();
    let other = Arc::clone(&shared);
    let storing = spawn(move || other.x.store(1, Relaxed));
    // It succeeds on the newest store alone: once 1 is there, it cannot read an older 0.
    let outcome = match shared.x.compare_exchange(0, 2, Relaxed, Relaxed) {
        Ok(_) => String::from("0 succeeds"),
        Err(seen) => format!("0 fails at {seen}"),
    };
    storing.join();
    outcome
}

#[derive(Debug)]
struct Published {
    flag: AtomicUsize,
    /// Stands for memory that a pointer leads to; the checker does not see the lock.
    object: Mutex<Option<AtomicUsize>>,
}

fn publication(store: Ordering) -> String {
    let slot = Arc::new(Published { flag: AtomicUsize::new(0), object: Mutex::new(None) });
    let publisher = Arc::clone(&slot);
    let publishing = spawn(move || {
        let made = AtomicUsize::new(7);
        publisher.object.lock().unwrap_or_else(PoisonError::into_inner).replace(made);
        publisher.flag.store(1, store);
    });
    let outcome = if slot.flag.load(Acquire) == 0 {
        String::from("null")
    } else {
        let made = slot.object.lock().unwrap_or_else(PoisonError::into_inner).take();
        made.map_or_else(|| String::from("nothing"), |made| made.load(Relaxed).to_string())
    };
    publishing.join();
    outcome
}
