//! Seals against appends.

use replcore::buffer::{AppendError, SealError};

use super::{keeping, read_visible};
use crate::check::thread;
use crate::model::{BASE, Bound, Model, Seen};

/// The models.
pub static MODELS: &[Model] = &[
    Model {
        name: "seal-append",
        invariants: "I10",
        about: "an append either precedes the seal of its term or reports it",
        quick: Bound::Preemptions(2),
        full: Bound::Preemptions(3),
        outcomes: &["before the seal", "fenced"],
        controls: &["StaleFence"],
        body: seal_append,
        ..BASE
    },
    Model {
        name: "seal-seal",
        invariants: "I10",
        about: "two seals of one term: one of them finds it sealed",
        quick: Bound::Preemptions(3),
        full: Bound::None,
        outcomes: &["first seals", "second seals"],
        controls: &["StaleFence"],
        body: seal_seal,
        ..BASE
    },
];

fn seal_append(seen: &'static Seen) {
    let buffer = keeping(2);
    let mut old = buffer.writer();
    let appending = thread::spawn(move || old.append(b"old"));
    let sealing = {
        let buffer = buffer.clone();
        thread::spawn(move || {
            let sealed_at = buffer.seal(1).expect("sealed once");
            buffer.writer_of_term(2).append(b"new").expect("a later term");
            sealed_at
        })
    };
    let appended = appending.join().expect("no panic");
    let sealed_at = sealing.join().expect("no panic");
    let mut cursor = buffer.attach(0).expect("everything is kept");
    let stream = read_visible(&mut cursor);
    match appended {
        Ok(range) => {
            seen.mark("before the seal");
            assert!(range.end <= sealed_at, "I10");
            assert_eq!(stream, b"oldnew", "I10");
        }
        Err(error) => {
            seen.mark("fenced");
            assert_eq!(error, AppendError::Fenced { term: 1, sealed_term: 1 });
            assert_eq!(stream, b"new", "I10");
        }
    }
}

fn seal_seal(seen: &'static Seen) {
    let buffer = keeping(2);
    let seal = || {
        let buffer = buffer.clone();
        thread::spawn(move || buffer.seal(1))
    };
    let (first, second) = (seal(), seal());
    let refused = Err(SealError::AlreadySealed { term: 1, sealed_term: 1 });
    match (first.join().expect("no panic"), second.join().expect("no panic")) {
        (Ok(0), second) if second == refused => seen.mark("first seals"),
        (first, Ok(0)) if first == refused => seen.mark("second seals"),
        other => panic!("I10: {other:?}"),
    }
}
