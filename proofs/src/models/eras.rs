//! Reclamation when eras change at every turn.

use super::wake::{Flag, poll};
use super::{begin_eras, read_visible, small, without_probes};
use crate::check::Crew;
use crate::model::{BASE, Bound, Model, Seen};

/// The models.
pub static MODELS: &[Model] = &[
    Model {
        name: "era-attach",
        invariants: "I3 I5 I6 I8",
        about: "every retirement begins an era while a replica attaches",
        quick: Bound::Preemptions(1),
        full: Bound::Preemptions(1),
        outcomes: &["attached", "not retained"],
        controls: &[
            "EraUnlooked",
            "ERA_LOAD=Relaxed",
            "RetireInOneEra",
            "ERA_RETIRE=Relaxed",
            "ERA_RETIRE=Release",
            "FreeAtOnce",
        ],
        body: attach,
        ..BASE
    },
    Model {
        name: "era-append",
        invariants: "I1 I5 I6 I8",
        about: "two writers append and retire while eras change under them",
        quick: Bound::Preemptions(2),
        full: Bound::Preemptions(2),
        controls: &["FreeAtOnce"],
        body: append,
        ..BASE
    },
    Model {
        name: "era-passed-on",
        invariants: "I6 I8 I9",
        about: "a cursor goes and retires its waker, a trimmer begins the next era, a writer pins in it and wakes",
        threads: 4,
        quick: Bound::Preemptions(1),
        full: Bound::Preemptions(2),
        outcomes: &["gone before", "woken"],
        controls: &["ERA_RETIRE=Acquire"],
        body: passed_on,
        ..BASE
    },
    Model {
        name: "era-kept",
        invariants: "I6 I8",
        about: "segments turn over while someone looks: what is released counts no more, and no era begins",
        quick: Bound::Preemptions(1),
        full: Bound::Preemptions(2),
        controls: &["ForgetRetire"],
        body: kept,
        ..BASE
    },
];

fn attach(seen: &'static Seen) {
    begin_eras(4);
    let buffer = small(1).max_unreclaimed_bytes(0).build().expect("valid settings");
    let mut writer = buffer.writer();
    writer.append(b"abc").expect("not fenced");
    let mut crew = Crew::new();
    crew.spawn("writer", move || {
        for text in [b"def", b"ghi", b"jkl"] {
            writer.append(text).expect("not fenced");
        }
    });
    {
        let buffer = buffer.clone();
        crew.spawn("attaching replica", move || match buffer.attach(0) {
            Ok(mut cursor) => {
                seen.mark("attached");
                let stream = read_visible(&mut cursor);
                assert!(b"abcdefghijkl".starts_with(without_probes(&stream)), "I3, I5");
            }
            Err(_) => seen.mark("not retained"),
        });
    }
    crew.finish(&buffer);
}

fn append(seen: &'static Seen) {
    begin_eras(4);
    let buffer = small(2).max_unreclaimed_bytes(0).build().expect("valid settings");
    buffer.append(b"abc").expect("not fenced");
    buffer.append(b"def").expect("not fenced");
    // One of them links, trims, retires and begins an era under the other.
    let mut crew = Crew::new();
    let mut append = |id: u8| {
        let mut writer = buffer.writer();
        crew.spawn("writer", move || writer.append(&[id; 3]).expect("not fenced").start)
    };
    let (first, second) = (append(b'x'), append(b'y'));
    if !crew.finish(&buffer) {
        return;
    }
    let mut starts = [first.get(), second.get()];
    starts.sort_unstable();
    assert_eq!(starts, [6, 9], "I1");
    assert_eq!(buffer.end_offset(), 12, "I1");
    seen.mark("done");
}

/// What may wait for release before an era ends here: the segment that the looker holds back, and another.
const TWO_SEGMENTS_BYTES: u64 = 6 << 10;
/// Segments turned over before: more than may wait.
const TURNED_OVER: u8 = 5;

fn kept(seen: &'static Seen) {
    begin_eras(2);
    let buffer = small(1).max_unreclaimed_bytes(TWO_SEGMENTS_BYTES).build().expect("valid settings");
    let mut writer = buffer.writer();
    for id in 0..TURNED_OVER {
        writer.append(&[id; 3]).expect("not fenced");
    }
    let mut crew = Crew::new();
    crew.spawn("writer", move || {
        writer.append(b"abc").expect("not fenced");
    });
    let looked = buffer.clone();
    crew.spawn("looker", move || looked.first_offset());
    if !crew.finish(&buffer) {
        return;
    }
    let stats = buffer.stats();
    assert_eq!(stats.retired, 0, "I6: nothing waits when nobody is pinned: {stats:?}");
    assert_eq!(stats.eras_begun, 0, "I8: nobody held back more than the limit: {stats:?}");
    seen.mark("done");
}

/// What may wait for release before an era ends here: a waker, but no segment with a large frame.
const WAKER_BUT_NO_SEGMENT_BYTES: u64 = (2 << 10) + 300;

fn passed_on(seen: &'static Seen) {
    begin_eras(3);
    let settings = small(2).backlog_bytes(1 << 20).max_unreclaimed_bytes(WAKER_BUT_NO_SEGMENT_BYTES);
    let buffer = settings.build().expect("valid settings");
    // Not by the writer of the race: its leaving the segment would tell it what the trimmer knows.
    buffer.append(&[b'-'; 400]).expect("not fenced");
    buffer.append(b"abc").expect("not fenced");
    let mut writer = buffer.writer();
    let mut cursor = buffer.attach_at_end().expect("the end");
    let flag = Flag::new();
    assert!(!poll(&mut cursor, &flag), "nothing is appended yet");
    let mut crew = Crew::new();
    let trimmed = buffer.clone();
    crew.spawn("trimmer", move || trimmed.set_backlog_bytes(0));
    crew.spawn("leaving replica", move || drop(cursor));
    crew.spawn("writer", move || {
        writer.append(b"def").expect("not fenced");
    });
    crew.finish(&buffer);
    seen.mark(if flag.is_set() { "woken" } else { "gone before" });
}
