//! The checker's self-test: small programs whose outcomes are known. If loom, with the shim's
//! shadow words, does not find exactly these, nothing else it says can be believed.

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};

use std::sync::Arc;

use replcore_checkers::sync::Marks;

use crate::check::atomic::{Word, fence};
use crate::check::thread;
use crate::model::{BASE, Model, Seen};

const LITMUS: Model =
    Model { no_stalls: Some("a self-test of the checker: none of the shipped code"), ..BASE };

fn two() -> (Arc<Word>, Arc<Word>) {
    (Arc::new(Word::new()), Arc::new(Word::new()))
}

/// The self-test.
pub static MODELS: &[Model] = &[
    Model {
        name: "litmus-message-passing",
        about: "release/acquire hands data over; the reader sees both or not yet the flag",
        outcomes: &["flag unset", "flag and data"],
        body: message_passing,
        ..LITMUS
    },
    Model {
        name: "litmus-message-passing-relaxed",
        about: "without release/acquire the flag can come without the data",
        outcomes: &["flag unset", "flag and data", "flag without data"],
        body: message_passing_relaxed,
        ..LITMUS
    },
    Model {
        name: "litmus-store-buffering",
        about: "two threads store and load crosswise: both may miss the other's store",
        outcomes: &["00", "01", "10", "11"],
        body: |seen| store_buffering(seen, false),
        ..LITMUS
    },
    Model {
        name: "litmus-store-buffering-fenced",
        about: "with SeqCst fences between, not both can miss it",
        outcomes: &["01", "10", "11"],
        body: |seen| store_buffering(seen, true),
        ..LITMUS
    },
    Model {
        name: "litmus-load-hiding",
        about: "tokio-rs/loom#166, #392: a thread that loads before it stores hides another's load",
        threads: 2,
        outcomes: &["before", "after"],
        body: load_hiding,
        ..LITMUS
    },
    Model {
        name: "litmus-coherence",
        about: "two reads of one place never go back in its modification order",
        outcomes: &["00", "01", "11"],
        body: coherence,
        ..LITMUS
    },
    Model {
        name: "litmus-marks",
        about: "bytes that are handed over are read while those beside them are written",
        outcomes: &["flag unset", "flag and data"],
        body: marks,
        ..LITMUS
    },
];

fn message_passing(seen: &'static Seen) {
    pass_message(seen, Release, Acquire);
}

fn message_passing_relaxed(seen: &'static Seen) {
    pass_message(seen, Relaxed, Relaxed);
}

fn pass_message(seen: &'static Seen, store: std::sync::atomic::Ordering, load: std::sync::atomic::Ordering) {
    let (data, flag) = two();
    let writer = {
        let (data, flag) = (data.clone(), flag.clone());
        thread::spawn(move || {
            data.store(1, Relaxed);
            flag.store(1, store);
        })
    };
    let reader = thread::spawn(move || match (flag.load(load), data.load(Relaxed)) {
        (0, _) => seen.mark("flag unset"),
        (_, 1) => seen.mark("flag and data"),
        _ => seen.mark("flag without data"),
    });
    writer.join().expect("no panic");
    reader.join().expect("no panic");
}

fn store_buffering(seen: &'static Seen, fenced: bool) {
    let (x, y) = two();
    let cross = |mine: Arc<Word>, other: Arc<Word>| {
        thread::spawn(move || {
            mine.store(1, Relaxed);
            if fenced {
                fence(SeqCst);
            }
            other.load(Relaxed)
        })
    };
    let (a, b) = (cross(x.clone(), y.clone()), cross(y, x));
    let (a, b) = (a.join().expect("no panic"), b.join().expect("no panic"));
    seen.mark(["00", "01", "10", "11"][a * 2 + b]);
}

fn load_hiding(seen: &'static Seen) {
    let x = Arc::new(Word::new());
    let other = {
        let x = x.clone();
        thread::spawn(move || {
            x.load(Relaxed);
            x.store(1, Relaxed);
        })
    };
    seen.mark(["before", "after"][x.load(Relaxed)]);
    other.join().expect("no panic");
}

fn marks(seen: &'static Seen) {
    let (bytes, flag) = (Arc::new(Marks::new(4)), Arc::new(Word::new()));
    let writer = {
        let (bytes, flag) = (bytes.clone(), flag.clone());
        thread::spawn(move || {
            bytes.write(0..2);
            flag.store(1, Release);
            bytes.write(2..4);
        })
    };
    let reader = thread::spawn(move || {
        let handed_over = flag.load(Acquire) == 1;
        if handed_over {
            bytes.read(0..2);
        }
        seen.mark(if handed_over { "flag and data" } else { "flag unset" });
    });
    writer.join().expect("no panic");
    reader.join().expect("no panic");
}

fn coherence(seen: &'static Seen) {
    let x = Arc::new(Word::new());
    let writer = {
        let x = x.clone();
        thread::spawn(move || x.store(1, Relaxed))
    };
    // Acquire: Relaxed loads of one thread may go backwards in loom (tokio-rs/loom#282).
    let reader = thread::spawn(move || (x.load(Acquire), x.load(Acquire)));
    writer.join().expect("no panic");
    let (first, second) = reader.join().expect("no panic");
    assert!(first <= second, "coherence");
    seen.mark(["00", "01", "", "11"][first * 2 + second]);
}
