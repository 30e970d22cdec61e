//! Seals against appends.

use replcore::buffer::{AppendError, SealError};

use super::{keeping, read_visible};
use crate::check::Crew;
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
        full: Bound::Preemptions(5),
        outcomes: &["first seals", "second seals"],
        controls: &["StaleFence"],
        body: seal_seal,
        ..BASE
    },
];

fn seal_append(seen: &'static Seen) {
    let buffer = keeping(2);
    let mut old = buffer.writer();
    let mut crew = Crew::new();
    let appending = crew.spawn("old writer", move || old.append(b"old"));
    let sealing = {
        let buffer = buffer.clone();
        crew.spawn("sealer", move || {
            let sealed_at = buffer.seal(1).expect("sealed once");
            buffer.writer_of_term(2).append(b"new").expect("a later term");
            sealed_at
        })
    };
    if !crew.finish(&buffer) {
        return;
    }
    let appended = appending.get();
    let sealed_at = sealing.get();
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
    let mut crew = Crew::new();
    let mut seal = || {
        let buffer = buffer.clone();
        crew.spawn("sealer", move || buffer.seal(1))
    };
    let (first, second) = (seal(), seal());
    if !crew.finish(&buffer) {
        return;
    }
    let refused = Err(SealError::AlreadySealed { term: 1, sealed_term: 1 });
    match (first.get(), second.get()) {
        (Ok(0), second) if second == refused => seen.mark("first seals"),
        (first, Ok(0)) if first == refused => seen.mark("second seals"),
        other => panic!("I10: {other:?}"),
    }
}
