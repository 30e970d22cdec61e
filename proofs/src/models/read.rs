//! Readers against writers.

use super::{keeping, read_visible, small, without_probes};
use crate::check::Crew;
use crate::model::{BASE, Bound, Model, Seen};

/// The models.
pub static MODELS: &[Model] = &[
    Model {
        name: "read-2-writers",
        invariants: "I1 I2 I3 I5",
        about: "a cursor looks twice while two writers append; what it sees is a prefix",
        threads: 4,
        quick: Bound::Preemptions(1),
        full: Bound::Preemptions(2),
        outcomes: &["saw 0", "saw 1", "saw 2"],
        controls: &["CELL_PUBLISH=Relaxed", "CELL_LOAD=Relaxed"],
        body: |seen| reader(seen, 2, 1, 4),
        ..BASE
    },
    Model {
        name: "read-across-segments",
        invariants: "I1 I2 I3 I5 I6",
        about: "a cursor follows a writer over segments of one cell",
        quick: Bound::Preemptions(2),
        full: Bound::Preemptions(3),
        outcomes: &["saw 0", "saw 1", "saw 2"],
        controls: &["NEXT_LINK=Relaxed", "NEXT_LOAD=Relaxed", "ScanBeforeNext"],
        body: |seen| reader(seen, 1, 2, 1),
        ..BASE
    },
    Model {
        name: "read-indexed",
        invariants: "I3 I5 I6 I7",
        about: "a cursor attaches through an index that a writer replaces",
        quick: Bound::Preemptions(1),
        full: Bound::Preemptions(2),
        outcomes: &["attached"],
        controls: &["INDEX_LOAD=Relaxed", "INDEX_SWAP=Relaxed", "FreeAtOnce"],
        body: indexed,
        ..BASE
    },
    Model {
        name: "read-indexed-trimmed",
        invariants: "I3 I5 I6 I7",
        about: "a cursor attaches at the end while the only segment that the index lists is trimmed",
        quick: Bound::Preemptions(1),
        full: Bound::Preemptions(2),
        outcomes: &["before", "after"],
        controls: &["IndexUnlooked"],
        body: |seen| indexed_trimmed(seen, false),
        ..BASE
    },
    Model {
        name: "read-indexed-sealed",
        invariants: "I3 I5 I6 I7",
        about: "as read-indexed-trimmed, but a seal closed that segment without bytes: the next one has its base",
        quick: Bound::Preemptions(1),
        full: Bound::Preemptions(2),
        outcomes: &["before", "after"],
        controls: &["IndexUnlooked"],
        body: |seen| indexed_trimmed(seen, true),
        ..BASE
    },
    Model {
        name: "read-copies",
        invariants: "I3 I5 I8",
        about: "two cursors that share copies, with one place for them, follow a writer",
        threads: 4,
        quick: Bound::Preemptions(1),
        full: Bound::Preemptions(2),
        outcomes: &["one copy for both", "a copy for each"],
        controls: &["CopyOfAnyStretch"],
        body: copies,
        ..BASE
    },
];

/// Writers append, with more than two cells to a segment where they stand already; a cursor looks, looks again, and has to find more of the same stream.
fn reader(seen: &'static Seen, writers: u8, times: usize, cells: usize) {
    let buffer = keeping(cells);
    let mut standing: Vec<_> = (0..writers).map(|_| buffer.writer()).collect();
    let mut before = 0;
    if cells > 2 {
        for writer in &mut standing {
            before = writer.append(b"---").expect("not fenced").end;
        }
    }
    let mut cursor = buffer.attach(before).expect("everything is kept");
    let mut crew = Crew::new();
    for (id, mut writer) in (0..writers).zip(standing) {
        crew.spawn("writer", move || {
            for _ in 0..times {
                writer.append(&[id; 3]).expect("not fenced");
            }
        });
    }
    let reader = crew.spawn("reader", move || {
        let mut stream = read_visible(&mut cursor);
        seen.mark(["saw 0", "saw 1", "saw 2"][without_probes(&stream).len() / 3]);
        assert_eq!(stream.len() % 3, 0, "I2: whole frames");
        stream.extend(read_visible(&mut cursor));
        assert_eq!(cursor.offset(), before + stream.len() as u64, "I3");
        (cursor, stream)
    });
    if !crew.finish(&buffer) {
        return;
    }
    let (mut cursor, mut stream) = reader.get();
    stream.extend(read_visible(&mut cursor));
    let mut whole = buffer.attach(before).expect("everything is kept");
    assert_eq!(stream, read_visible(&mut whole), "I3: every cursor reads the same stream");
    assert!(stream.chunks(3).all(|frame| frame.iter().all(|byte| *byte == frame[0])), "I5");
}

fn indexed(seen: &'static Seen) {
    let buffer = keeping(1);
    // Segment 2 is listed, and the next append links 4, which is listed too.
    for id in 0..4_u8 {
        buffer.append(&[id; 3]).expect("not fenced");
    }
    let mut writer = buffer.writer();
    let mut crew = Crew::new();
    crew.spawn("writer", move || {
        writer.append(&[4; 3]).expect("not fenced");
    });
    let attaching = {
        let buffer = buffer.clone();
        crew.spawn("attaching replica", move || {
            let mut cursor = buffer.attach_at_end().expect("the end");
            let start = cursor.offset();
            seen.mark("attached");
            assert_eq!(start % 3, 0, "I2");
            let stream = read_visible(&mut cursor);
            assert_eq!(start + stream.len() as u64, cursor.offset(), "I3");
            (cursor, start, stream)
        })
    };
    if !crew.finish(&buffer) {
        return;
    }
    let (mut cursor, start, mut stream) = attaching.get();
    stream.extend(read_visible(&mut cursor));
    let mut whole = buffer.attach(start).expect("everything is kept");
    assert_eq!(stream, read_visible(&mut whole), "I3, I5");
    assert_eq!(cursor.offset(), 15, "I1");
}

fn indexed_trimmed(seen: &'static Seen, sealed: bool) {
    let buffer = small(1).build().expect("valid settings");
    // The third segment is listed; the next append links the fourth, and trims the third.
    for id in 0..2_u8 {
        buffer.append(&[id; 3]).expect("not fenced");
    }
    if sealed {
        buffer.seal(1).expect("nobody else seals");
    } else {
        buffer.append(&[2; 3]).expect("not fenced");
    }
    let before = buffer.end_offset();
    let mut crew = Crew::new();
    let mut writer = buffer.writer_of_term(2);
    crew.spawn("trimming writer", move || {
        writer.append(&[3; 3]).expect("not fenced");
    });
    let attached = buffer.clone();
    let attaching = crew.spawn("attaching replica", move || attached.attach_at_end().expect("the end"));
    if !crew.finish(&buffer) {
        return;
    }
    let mut cursor = attaching.get();
    seen.mark(if cursor.offset() == before { "before" } else { "after" });
    let expected: &[u8] = if cursor.offset() == before { &[3; 3] } else { &[] };
    assert_eq!(read_visible(&mut cursor), expected, "I3, I5");
    // What the index says of the segment that is gone leads nobody there.
    let mut fresh = buffer.attach(before).expect("I7");
    assert_eq!(read_visible(&mut fresh), [3; 3], "I3, I5");
}

fn copies(seen: &'static Seen) {
    // A copy is a frame, and the next takes its place.
    let builder = small(2).backlog_bytes(1 << 20).shared_copies(1).shared_copy_bytes(3);
    let buffer = builder.build().expect("valid settings");
    let cursors = [0, 1].map(|_| buffer.attach(0).expect("everything is kept"));
    buffer.append(&[0; 3]).expect("not fenced");
    let mut writer = buffer.writer();
    let mut crew = Crew::new();
    crew.spawn("writer", move || {
        writer.append(&[1; 3]).expect("not fenced");
    });
    let readers = cursors.map(|mut cursor| {
        crew.spawn("reader", move || {
            cursor.refresh().expect("not evicted");
            let copies = [cursor.next_copy(), cursor.next_copy()];
            assert_eq!(cursor.offset(), (copies[0].len() + copies[1].len()) as u64, "I3");
            copies
        })
    });
    if !crew.finish(&buffer) {
        return;
    }
    let [[one, next], [other, after]] = readers.map(|reader| reader.get());
    assert!(one == [0; 3][..] && other == [0; 3][..], "I5");
    assert!([next, after].iter().all(|copy| matches!(without_probes(copy), [] | [1, 1, 1])), "I5");
    seen.mark(if one.as_ptr() == other.as_ptr() { "one copy for both" } else { "a copy for each" });
}
