//! Trimming against everyone who reads.

use replcore::buffer::model::evict_all;
use replcore::buffer::{AttachError, Builder};

use super::{drain, read_visible, small, without_probes};
use crate::check::Crew;
use crate::model::{BASE, Bound, Model, Seen};

/// The models.
pub static MODELS: &[Model] = &[
    Model {
        name: "trim-attach",
        invariants: "I3 I5 I6 I7",
        about: "a replica attaches while a writer's appends trim what it asks for",
        quick: Bound::Preemptions(1),
        full: Bound::Preemptions(1),
        outcomes: &["attached", "not retained"],
        controls: &[
            "TRIM_FENCE=AcqRel",
            "SLOTS_PUSH=Relaxed",
            "SLOTS_LOAD=Relaxed",
            "ATTACH_FENCE=AcqRel",
            "AttachUnlooked",
            "TrimUnlooked",
            "FreeAtOnce",
            "BACKLOG_MOVE=Relaxed",
            "BACKLOG_LOAD=Relaxed",
            "FloorUnraised",
            "FloorBeforeSlot",
        ],
        body: |seen| attach_while_trimming(seen, 0),
        ..BASE
    },
    Model {
        name: "trim-backlog",
        invariants: "I3 I5 I6 I7",
        about: "as trim-attach, with a backlog that stays behind the tail",
        quick: Bound::Preemptions(1),
        full: Bound::Preemptions(1),
        outcomes: &["attached", "not retained"],
        controls: &["TrimTooFar"],
        body: |seen| attach_while_trimming(seen, 3),
        ..BASE
    },
    Model {
        name: "trim-look",
        invariants: "I6 I7",
        about: "someone asks for the numbers while a writer trims",
        quick: Bound::Preemptions(2),
        full: Bound::Preemptions(2),
        outcomes: &["before", "after"],
        controls: &["HEAD_LOAD=Relaxed", "FreeAtOnce", "RetireBeforeUnlink"],
        body: look,
        ..BASE
    },
    Model {
        name: "trim-2-cursors",
        invariants: "I3 I5 I6 I11",
        about: "a fast and a slow cursor read while a writer trims behind them",
        threads: 4,
        quick: Bound::Preemptions(1),
        full: Bound::Preemptions(1),
        outcomes: &["fast ahead", "fast level"],
        controls: &["TrimUnlooked", "FreeAtOnce", "REF_DROP=Relaxed", "REF_LAST=Relaxed"],
        body: two_cursors,
        ..BASE
    },
    Model {
        name: "trim-2-trimmers",
        invariants: "I6 I7",
        about: "two writers turn segments over and trim at once",
        quick: Bound::Preemptions(1),
        full: Bound::Preemptions(1),
        controls: &["FreeAtOnce"],
        body: two_trimmers,
        ..BASE
    },
    Model {
        name: "trim-pooled",
        invariants: "I5 I6",
        about: "two writers trim, and take segments and blocks from pools of one place",
        quick: Bound::Preemptions(1),
        full: Bound::Preemptions(1),
        controls: &["FreeAtOnce"],
        body: pooled,
        ..BASE
    },
    Model {
        name: "trim-pool-reader",
        invariants: "I5 I6",
        about: "an evicted cursor, which alone keeps a segment, reads and goes; a writer takes the block from the pool",
        quick: Bound::Preemptions(1),
        full: Bound::Preemptions(2),
        outcomes: &["read"],
        controls: &["POOL_PUT=Relaxed", "POOL_TAKE=Relaxed", "UncountedReference"],
        body: pool_reader,
        ..BASE
    },
    Model {
        name: "trim-keeps",
        invariants: "I7",
        about: "the backlog is enlarged while a writer links a segment: nothing is trimmed",
        quick: Bound::Preemptions(2),
        full: Bound::Preemptions(3),
        controls: &["LastBeforeNext", "TrimTooFar"],
        body: keeps,
        ..BASE
    },
    Model {
        name: "trim-drop",
        invariants: "I6 I11",
        about: "a cursor that pinned the backlog is dropped while a writer trims",
        quick: Bound::Preemptions(1),
        full: Bound::Preemptions(2),
        controls: &["FreeAtOnce", "HOP_FENCE=AcqRel", "TurnOverUntrimmed", "LeaveUntrimmed"],
        body: drop_cursor,
        ..BASE
    },
];

fn attach_while_trimming(seen: &'static Seen, backlog_bytes: u64) {
    let buffer = small(1).backlog_bytes(backlog_bytes).build().expect("valid settings");
    let mut writer = buffer.writer();
    writer.append(b"abc").expect("not fenced");
    let mut crew = Crew::new();
    crew.spawn("trimming writer", move || {
        writer.append(b"def").expect("not fenced");
        writer.append(b"ghi").expect("not fenced");
    });
    let attaching = {
        let buffer = buffer.clone();
        crew.spawn("attaching replica", move || match buffer.attach(0) {
            Ok(mut cursor) => {
                let mut stream = read_visible(&mut cursor);
                stream.extend(read_visible(&mut cursor));
                seen.mark("attached");
                Some((cursor, stream))
            }
            Err(AttachError::OffsetNotRetained { requested: 0, first, end }) => {
                assert!(first > 0 && first <= end, "I7");
                seen.mark("not retained");
                None
            }
            Err(error) => panic!("{error}"),
        })
    };
    if !crew.finish(&buffer) {
        return;
    }
    if let Some((mut cursor, mut stream)) = attaching.get() {
        stream.extend(read_visible(&mut cursor));
        assert_eq!(stream, b"abcdefghi", "I3, I5");
    }
    let end = buffer.end_offset();
    assert!(buffer.attach(end).is_ok(), "I7: the end can always be attached");
}

fn look(seen: &'static Seen) {
    let buffer = small(1).build().expect("valid settings");
    let mut writer = buffer.writer();
    writer.append(b"abc").expect("not fenced");
    let mut crew = Crew::new();
    crew.spawn("trimming writer", move || {
        writer.append(b"def").expect("not fenced");
    });
    let looking = {
        let buffer = buffer.clone();
        crew.spawn("looker", move || buffer.stats())
    };
    if !crew.finish(&buffer) {
        return;
    }
    let stats = looking.get();
    seen.mark(if stats.first_offset == 0 { "before" } else { "after" });
    assert!(stats.first_offset <= stats.end_offset && stats.retained_bytes <= 6, "I7, I11: {stats:?}");
}

fn two_cursors(seen: &'static Seen) {
    let buffer = small(1).build().expect("valid settings");
    let (mut fast, mut slow) = (buffer.attach(0).expect("base"), buffer.attach(0).expect("base"));
    let mut writer = buffer.writer();
    writer.append(b"abc").expect("not fenced");
    writer.append(b"def").expect("not fenced");
    let mut crew = Crew::new();
    crew.spawn("trimming writer", move || {
        writer.append(b"ghi").expect("not fenced");
    });
    let reading_fast = crew.spawn("fast reader", move || {
        let stream = read_visible(&mut fast);
        assert!(b"abcdefghi".starts_with(without_probes(&stream)), "I3, I5");
        (fast, stream)
    });
    let reading_slow = crew.spawn("slow reader", move || {
        slow.refresh().expect("not evicted");
        let first = slow.next_frame().expect("appended before").1;
        assert_eq!(&first[..], b"abc", "I5");
        slow
    });
    if !crew.finish(&buffer) {
        return;
    }
    let (mut fast, mut stream) = reading_fast.get();
    let mut slow = reading_slow.get();
    seen.mark(if stream.len() > 6 { "fast ahead" } else { "fast level" });
    stream.extend(read_visible(&mut fast));
    assert_eq!(stream, b"abcdefghi", "I3, I5");
    assert_eq!(read_visible(&mut slow), b"defghi", "I3, I5");
    drop((fast, slow));
    assert!(buffer.stats().retained_bytes <= 3, "I11: {:?}", buffer.stats());
}

fn two_trimmers(seen: &'static Seen) {
    trimming(seen, small(1));
}

fn pooled(seen: &'static Seen) {
    trimming(seen, small(1).pooled_blocks(1).pooled_segments(1));
}

fn pool_reader(seen: &'static Seen) {
    let buffer = small(1).pooled_blocks(1).build().expect("valid settings");
    let mut cursor = buffer.attach(0).expect("base");
    // Each by a writer that is gone, whose block is its segment's alone.
    buffer.append(b"abc").expect("not fenced");
    buffer.append(b"def").expect("not fenced");
    cursor.refresh().expect("not evicted");
    evict_all(&buffer);
    buffer.set_backlog_bytes(0);
    let mut crew = Crew::new();
    crew.spawn("leaving reader", move || {
        assert_eq!(drain(&mut cursor), b"abcdef", "I5: what was visible stays");
    });
    let mut writer = buffer.writer();
    crew.spawn("writer", move || {
        writer.append(b"ghi").expect("not fenced");
    });
    if !crew.finish(&buffer) {
        return;
    }
    let mut fresh = buffer.attach(6).expect("I7");
    assert_eq!(read_visible(&mut fresh), b"ghi", "I5");
    seen.mark("read");
}

fn keeps(seen: &'static Seen) {
    let buffer = small(1).backlog_bytes(20).build().expect("valid settings");
    buffer.append(b"abc").expect("not fenced");
    let mut writer = buffer.writer();
    let mut crew = Crew::new();
    crew.spawn("writer", move || {
        writer.append(b"def").expect("not fenced");
    });
    let enlarged = buffer.clone();
    crew.spawn("trimmer", move || enlarged.set_backlog_bytes(200));
    if !crew.finish(&buffer) {
        return;
    }
    assert_eq!(buffer.first_offset(), 0, "I7: 6 bytes are less than the backlog");
    let mut cursor = buffer.attach(0).expect("I7");
    assert_eq!(read_visible(&mut cursor), b"abcdef", "I5");
    seen.mark("done");
}

fn trimming(seen: &'static Seen, settings: Builder) {
    let buffer = settings.build().expect("valid settings");
    buffer.append(b"abc").expect("not fenced");
    let mut crew = Crew::new();
    for id in [b'x', b'y'] {
        let mut writer = buffer.writer();
        crew.spawn("trimming writer", move || {
            writer.append(&[id; 3]).expect("not fenced");
        });
    }
    if !crew.finish(&buffer) {
        return;
    }
    let mut cursor = buffer.attach(buffer.first_offset()).expect("I7");
    let stream = read_visible(&mut cursor);
    assert!([&b"xxx"[..], b"yyy", b"xxxyyy", b"yyyxxx"].contains(&&stream[..]), "I5: {stream:?}");
    seen.mark("done");
}

fn drop_cursor(seen: &'static Seen) {
    let buffer = small(1).build().expect("valid settings");
    let cursor = buffer.attach(0).expect("base");
    let mut writer = buffer.writer();
    writer.append(b"abc").expect("not fenced");
    writer.append(b"def").expect("not fenced");
    let mut crew = Crew::new();
    crew.spawn("leaving replica", move || drop(cursor));
    crew.spawn("trimming writer", move || {
        writer.append(b"ghi").expect("not fenced");
    });
    if !crew.finish(&buffer) {
        return;
    }
    let stats = buffer.stats();
    assert!(stats.retained_bytes <= 3, "I11: {stats:?}");
    assert_eq!(stats.retired, 0, "I6: nothing waits when nobody is pinned");
    seen.mark("done");
}
