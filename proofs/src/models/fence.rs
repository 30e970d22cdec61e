//! Seals against appends.

use replcore::buffer::{AppendError, ReplicationBuffer, SealError};

use super::{read_visible, small};
use crate::check::Crew;
use crate::model::{BASE, Bound, Model, Seen};

/// The models.
pub static MODELS: &[Model] = &[
    Model {
        name: "seal-append",
        invariants: "I10",
        about: "an append either precedes the seal of its term or reports it",
        quick: Bound::Preemptions(2),
        full: Bound::Preemptions(2),
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

/// A buffer that keeps everything, in whose segment so many writers stand which are gone: those that come go on with them.
/// With the end of its stream.
fn left_by(writers: usize) -> (ReplicationBuffer, u64) {
    let settings = small(2 + writers).backlog_bytes(1 << 20).pooled_writers(writers);
    let buffer = settings.build().expect("valid settings");
    let mut gone: Vec<_> = (0..writers).map(|_| buffer.writer()).collect();
    for writer in &mut gone {
        writer.append(b"--").expect("not fenced");
    }
    drop(gone);
    let end = buffer.end_offset();
    (buffer, end)
}

fn seal_append(seen: &'static Seen) {
    let (buffer, before) = left_by(2);
    let mut old = buffer.writer();
    let mut crew = Crew::new();
    let appending = crew.spawn("old writer", move || old.append(b"old"));
    let sealing = {
        let buffer = buffer.clone();
        crew.spawn("sealer", move || buffer.seal(1).expect("sealed once"))
    };
    if !crew.finish(&buffer) {
        return;
    }
    let appended = appending.get();
    let sealed_at = sealing.get();
    buffer.writer_of_term(2).append(b"new").expect("a later term");
    let mut cursor = buffer.attach(before).expect("everything is kept");
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
    let (buffer, before) = left_by(2);
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
        (Ok(at), second) if at == before && second == refused => seen.mark("first seals"),
        (first, Ok(at)) if at == before && first == refused => seen.mark("second seals"),
        other => panic!("I10: {other:?}"),
    }
}
