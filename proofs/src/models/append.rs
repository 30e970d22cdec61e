//! Writers race each other: one cell, one segment boundary, one context.

use replcore::buffer::{ReplicationBuffer, Writer};

use super::{keeping, read_visible, small};
use crate::check::{Crew, Gives};
use crate::model::{BASE, Bound, Model, Seen};

/// The models.
pub static MODELS: &[Model] = &[
    Model {
        name: "append-2",
        invariants: "I1 I2 I4 I5 I6",
        about: "two writers that stand in a segment race for one cell",
        quick: Bound::None,
        full: Bound::None,
        outcomes: &["first wins", "second wins"],
        controls: &["StaleStart", "LeakBlock"],
        body: |seen| race(seen, 2, 4),
        ..BASE
    },
    Model {
        name: "append-3",
        invariants: "I1 I2 I4 I5 I6",
        about: "three writers race for two cells and the next segment",
        threads: 4,
        quick: Bound::Preemptions(1),
        full: Bound::Preemptions(2),
        outcomes: &["first wins", "second wins", "third wins"],
        controls: &["StaleStart", "LeakBlock"],
        body: |seen| race(seen, 3, 2),
        ..BASE
    },
    Model {
        name: "append-across-segments",
        invariants: "I1 I2 I4 I5 I6",
        about: "two writers race to link a segment, and the loser links another",
        quick: Bound::Preemptions(2),
        full: Bound::Preemptions(2),
        outcomes: &["first wins", "second wins"],
        controls: &[
            "NEXT_LINK=Relaxed",
            "NEXT_LOAD=Relaxed",
            "TAIL_MOVE=Relaxed",
            "TAIL_LOAD=Relaxed",
            "LeakLoser",
        ],
        body: |seen| race(seen, 2, 1),
        ..BASE
    },
    Model {
        name: "append-context",
        invariants: "I1 I4 I5",
        about: "two writers of different contexts and one without: each selects just when it must",
        threads: 4,
        quick: Bound::Preemptions(1),
        full: Bound::Preemptions(1),
        outcomes: &["a[2]b", "[2]b[1]a", "[2]bc[1]a", "ac[2]b"],
        controls: &["StaleContext"],
        body: context,
        ..BASE
    },
    Model {
        name: "append-same-context",
        invariants: "I1 I4 I5",
        about: "two writers ask for the same context: the second leaves its part out",
        quick: Bound::Preemptions(2),
        full: Bound::Preemptions(4),
        outcomes: &["[2]ab", "[2]ba"],
        controls: &["StaleContext"],
        body: same_context,
        ..BASE
    },
    Model {
        name: "append-batch",
        invariants: "I1 I2 I5",
        about: "a batch of several parts and a frame of shared bytes race; neither is torn",
        quick: Bound::Preemptions(2),
        full: Bound::Preemptions(4),
        outcomes: &["batch first", "shared first"],
        controls: &["StaleStart", "LeakComposite"],
        body: batch,
        ..BASE
    },
    Model {
        name: "append-pieces",
        invariants: "I1 I2 I5",
        about: "a batch outgrows its block, and a frame of shared bytes follows a copied one: each piece is read where it is",
        quick: Bound::Preemptions(2),
        full: Bound::Preemptions(4),
        outcomes: &["batch first", "frames first"],
        controls: &["StaleStart", "LeakComposite"],
        body: pieces,
        ..BASE
    },
    Model {
        name: "append-pooled",
        invariants: "I5 I6",
        about: "writers lent from a pool of one place; the loser of a link pools its segment",
        quick: Bound::Preemptions(1),
        full: Bound::Preemptions(2),
        outcomes: &["first wins", "second wins"],
        controls: &["StaleStart"],
        body: pooled,
        ..BASE
    },
];

/// Each writer appends a frame of its own byte. With more than two cells to a segment each stands there already, and
/// its append is an exchange or a few.
fn race(seen: &'static Seen, writers: u8, cells: usize) {
    let buffer = keeping(cells);
    // A segment of one cell is full from the start, so that the race is for the link.
    let mut before = if cells == 1 { buffer.append(b"before").expect("not fenced").end } else { 0 };
    let mut standing: Vec<_> = (0..writers).map(|_| buffer.writer()).collect();
    if cells > 2 {
        before = stand(&buffer, &mut standing);
    }
    let mut crew = Crew::new();
    let writers: Vec<_> = (0..writers)
        .zip(standing)
        .map(|(id, mut writer)| {
            crew.spawn("writer", move || (id, writer.append(&[id; 3]).expect("not fenced")))
        })
        .collect();
    if !crew.finish(&buffer) {
        return;
    }
    let mut ranges: Vec<_> = writers.into_iter().map(Gives::get).collect();
    ranges.sort_by_key(|(_, range)| range.start);
    let mut offset = before;
    for (_, range) in &ranges {
        assert_eq!(range.start, offset, "I1: gapless");
        offset = range.end;
    }
    assert_eq!(buffer.end_offset(), offset, "I1");
    seen.mark(["first wins", "second wins", "third wins"][ranges[0].0 as usize]);
    let expected: Vec<u8> = ranges.iter().flat_map(|(id, _)| [*id; 3]).collect();
    let mut cursor = buffer.attach(before).expect("everything is kept");
    assert_eq!(read_visible(&mut cursor), expected, "I5");
}

/// Each appends a frame, so that it stands in the last segment and its block is entered there: its next append is an
/// exchange or a few. Returns the end.
fn stand(buffer: &ReplicationBuffer, writers: &mut [Writer]) -> u64 {
    for writer in writers {
        writer.append(b"--").expect("not fenced");
    }
    buffer.end_offset()
}

fn context(seen: &'static Seen) {
    let buffer = keeping(2);
    // Context 1 is in force.
    buffer.append_with(|marker| marker.set_context(Some(1))).expect("not fenced");
    let mut crew = Crew::new();
    let mut selecting = |context: u64, text: &'static str| {
        let mut writer = buffer.writer();
        crew.spawn("selecting writer", move || {
            let mut frame = writer.frame();
            frame.select_context(context, format!("[{context}]").as_bytes());
            frame.put_slice(text.as_bytes());
            frame.publish().expect("not fenced");
        });
    };
    selecting(1, "a");
    selecting(2, "b");
    let mut plain = buffer.writer();
    crew.spawn("plain writer", move || {
        plain.append(b"c").expect("not fenced");
    });
    if !crew.finish(&buffer) {
        return;
    }
    let mut cursor = buffer.attach(0).expect("everything is kept");
    let text = String::from_utf8(read_visible(&mut cursor)).expect("text");
    let allowed = ["ca[2]b", "ac[2]b", "a[2]bc", "c[2]b[1]a", "[2]bc[1]a", "[2]b[1]ac"];
    assert!(allowed.contains(&text.as_str()), "I4, I5: {text}");
    let plain = text.trim_matches('c');
    seen.mark(plain);
}

fn same_context(seen: &'static Seen) {
    let buffer = keeping(5);
    // Context 1 is in force.
    buffer.append_with(|marker| marker.set_context(Some(1))).expect("not fenced");
    let mut standing = [buffer.writer(), buffer.writer()];
    let before = stand(&buffer, &mut standing);
    let mut crew = Crew::new();
    for (text, mut writer) in ["a", "b"].into_iter().zip(standing) {
        crew.spawn("selecting writer", move || {
            let mut frame = writer.frame();
            frame.select_context(2, b"[2]");
            frame.put_slice(text.as_bytes());
            frame.publish().expect("not fenced");
        });
    }
    if !crew.finish(&buffer) {
        return;
    }
    let mut cursor = buffer.attach(before).expect("everything is kept");
    let text = String::from_utf8(read_visible(&mut cursor)).expect("text");
    assert!(["[2]ab", "[2]ba"].contains(&text.as_str()), "I4, I5: {text}");
    seen.mark(&text);
}

fn batch(seen: &'static Seen) {
    let buffer = keeping(4);
    let mut standing = [buffer.writer(), buffer.writer()];
    let before = stand(&buffer, &mut standing);
    let [mut batching, mut sharing] = standing;
    let mut crew = Crew::new();
    crew.spawn("batching writer", move || {
        let mut batch = batching.frame();
        batch.put_slice(b"ab");
        batch.end_frame();
        batch.put_bytes(bytes::Bytes::from_static(b"cd"));
        batch.put_slice(b"e");
        batch.publish().expect("not fenced");
    });
    crew.spawn("sharing writer", move || {
        sharing.append_bytes(bytes::Bytes::from_static(b"xyz")).expect("not fenced");
    });
    if !crew.finish(&buffer) {
        return;
    }
    let mut cursor = buffer.attach(before).expect("everything is kept");
    cursor.refresh().expect("not evicted");
    let frames: Vec<_> = std::iter::from_fn(|| cursor.next_frame().map(|(_, bytes)| bytes)).collect();
    match frames.iter().map(|bytes| &bytes[..]).collect::<Vec<_>>()[..] {
        [b"ab", b"cde", b"xyz"] => seen.mark("batch first"),
        [b"xyz", b"ab", b"cde"] => seen.mark("shared first"),
        _ => panic!("I2, I5: {frames:?}"),
    }
}

fn pieces(seen: &'static Seen) {
    let buffer = keeping(5);
    let mut standing = [buffer.writer(), buffer.writer()];
    let before = stand(&buffer, &mut standing);
    let [mut batching, mut sharing] = standing;
    let mut crew = Crew::new();
    crew.spawn("batching writer", move || {
        let mut batch = batching.frame();
        // A block has 64 bytes.
        for byte in *b"abc" {
            batch.put_slice(&[byte; 30]);
        }
        batch.publish().expect("not fenced");
    });
    crew.spawn("sharing writer", move || {
        sharing.append(b"x").expect("not fenced");
        sharing.append_bytes(bytes::Bytes::from_static(b"yz")).expect("not fenced");
    });
    if !crew.finish(&buffer) {
        return;
    }
    let mut cursor = buffer.attach(before).expect("everything is kept");
    let stream = read_visible(&mut cursor);
    let batch = [[b'a'; 30], [b'b'; 30], [b'c'; 30]].concat();
    let at = stream.iter().position(|byte| *byte == b'a').expect("I1: the batch is there");
    assert_eq!(stream[at..at + batch.len()], batch, "I2, I5");
    assert_eq!([&stream[..at], &stream[at + batch.len()..]].concat(), b"xyz", "I2, I5");
    assert!([0, 1, 3].contains(&at), "I2: a frame is whole");
    seen.mark(if at == 0 { "batch first" } else { "frames first" });
}

fn pooled(seen: &'static Seen) {
    let settings = small(1).backlog_bytes(1 << 20).pooled_segments(1).pooled_writers(1);
    let buffer = settings.build().expect("valid settings");
    // Puts a writer into the pool; the loser of the race for the link puts a segment there.
    let before = buffer.append(b"--").expect("not fenced").end;
    let mut crew = Crew::new();
    let mut append = |id: u8| {
        let buffer = buffer.clone();
        crew.spawn("writer", move || buffer.append(&[id; 2]).expect("not fenced").start)
    };
    let (first, second) = (append(0), append(1));
    if !crew.finish(&buffer) {
        return;
    }
    let (first, second) = (first.get(), second.get());
    seen.mark(if first < second { "first wins" } else { "second wins" });
    assert_eq!(first.abs_diff(second), 2, "I1");
    assert_eq!(buffer.end_offset(), before + 4, "I1");
}
