//! The tables of a segment, and who counts on what of it: blocks and contexts that several writers enter at once,
//! tables that are full, writers that hold the cells of a segment which is gone, debts that cross its end.

use std::sync::Arc;

use bytes::Bytes;
use replcore::buffer::model::evict_all;
use replcore::buffer::{AppendError, ReplicationBuffer, Writer};

use super::wake::{Flag, poll};
use super::{drain, keeping, read_visible, small};
use crate::check::{Crew, Gives, Pass};
use crate::model::{BASE, Bound, Model, Seen};

/// The models.
pub static MODELS: &[Model] = &[
    Model {
        name: "table-registrants",
        invariants: "I1 I4 I5 I6",
        about: "two writers enter their blocks in one segment at once",
        quick: Bound::Preemptions(3),
        full: Bound::Preemptions(4),
        outcomes: &["first wins", "second wins"],
        controls: &["StaleStart", "LeakBlock"],
        body: registrants,
        ..BASE
    },
    Model {
        name: "table-full",
        invariants: "I1 I2 I5 I6 I9",
        about: "the table of blocks has one entry: the second writer ends the segment, where a cursor waits",
        quick: Bound::Preemptions(1),
        full: Bound::Preemptions(2),
        outcomes: &["first wins", "second wins"],
        controls: &["ForgetWake", "LeakBlock"],
        body: full,
        ..BASE
    },
    Model {
        name: "table-full-awaited",
        invariants: "I2 I5 I9",
        about: "a writer that finds the table of blocks full closes the cell at which a cursor leaves its waker",
        quick: Bound::Preemptions(1),
        full: Bound::Preemptions(2),
        outcomes: &["found it", "woken"],
        controls: &["ForgetWake", "ForgetOwedByHeader"],
        body: full_awaited,
        ..BASE
    },
    Model {
        name: "table-released",
        invariants: "I6",
        about: "a writer enters a block in a segment that another closes, trims and releases meanwhile",
        quick: Bound::Preemptions(1),
        full: Bound::Preemptions(2),
        outcomes: &["before", "after"],
        controls: &["FillBySwap", "ReleaseByLoad", "BLOCK_FILL=Relaxed", "BLOCK_RELEASE=Relaxed"],
        body: released,
        ..BASE
    },
    Model {
        name: "table-contexts",
        invariants: "I1 I4 I5",
        about: "the table of contexts has one entry: two writers of other contexts end segments early",
        quick: Bound::Preemptions(1),
        full: Bound::Preemptions(2),
        outcomes: &["[2]a[3]b", "[3]b[2]a"],
        controls: &["StaleStart"],
        body: |seen| contexts(seen, None, [2, 3]),
        ..BASE
    },
    Model {
        name: "table-contexts-in-force",
        invariants: "I1 I4 I5",
        about: "the table's one context is in force: one writer asks for it, another for one that ends the segment",
        quick: Bound::Preemptions(1),
        full: Bound::Preemptions(2),
        outcomes: &["a[2]b", "[2]b[1]a"],
        controls: &["StaleContext"],
        body: |seen| contexts(seen, Some(1), [1, 2]),
        ..BASE
    },
    Model {
        name: "seat-retired",
        invariants: "I1 I6 I11",
        about: "a writer stands in a segment that another closes, trims and retires, and appends",
        quick: Bound::Preemptions(1),
        full: Bound::Preemptions(1),
        outcomes: &["first wins", "second wins"],
        controls: &["UncountedSeat"],
        body: retired,
        ..BASE
    },
    Model {
        name: "seat-idle",
        invariants: "I1 I6 I8 I11",
        about: "a writer idles in a segment that is trimmed: it keeps the cells and its own block, and nobody else's",
        quick: Bound::Preemptions(1),
        full: Bound::Preemptions(2),
        controls: &["LeakBlock", "LeaveUntrimmed"],
        body: idle,
        ..BASE
    },
    Model {
        name: "large-reused",
        invariants: "I5 I6",
        about: "a long frame's block comes back from the pool to a writer while a cursor that was evicted still reads it",
        quick: Bound::Preemptions(1),
        full: Bound::Preemptions(2),
        outcomes: &["read"],
        controls: &["UncountedReference", "POOL_TAKE=Relaxed"],
        body: large_reused,
        ..BASE
    },
    Model {
        name: "large-not-staged",
        invariants: "I5 I6",
        about: "a long frame's block, shorter than others, is given back while a writer takes one to stage in",
        quick: Bound::Preemptions(1),
        full: Bound::Preemptions(2),
        outcomes: &["read"],
        controls: &["UncountedReference"],
        body: large_not_staged,
        ..BASE
    },
    Model {
        name: "settle-read",
        invariants: "I2 I5 I9",
        about: "a writer pays what it owes for an awaited cell, and a reader reads the word as it was or as it is",
        quick: Bound::Preemptions(2),
        full: Bound::Preemptions(4),
        outcomes: &["saw it", "saw nothing"],
        controls: &["CELL_SETTLE=Relaxed", "CELL_PUBLISH_AWAITED=Acquire"],
        body: settle_read,
        ..BASE
    },
    Model {
        name: "owed-across",
        invariants: "I8 I9",
        about: "a writer fills the awaited last cell of a segment and stops before it wakes; the next one's append wakes",
        quick: Bound::Preemptions(0),
        full: Bound::Preemptions(1),
        stalls: true,
        outcomes: &["stopped before publishing", "stopped after publishing"],
        controls: &["ForgetOwedByHeader"],
        body: owed_across,
        ..BASE
    },
    Model {
        name: "composite-refused",
        invariants: "I6 I10",
        about: "a batch of shared bytes against a seal: published or refused, what it shares is let go once",
        quick: Bound::Preemptions(2),
        full: Bound::Preemptions(3),
        outcomes: &["published", "refused"],
        controls: &["LeakComposite", "LeakRefused"],
        body: composite_refused,
        ..BASE
    },
    Model {
        name: "append-counts",
        invariants: "-",
        about: "an append that wins at once where its writer stands is one exchange, and nothing else that is shared",
        threads: 1,
        no_stalls: Some("it has one thread"),
        quick: Bound::None,
        full: Bound::None,
        controls: &["HintAsWell"],
        body: counts,
        ..BASE
    },
];

/// What an append does with shared memory: loads, stores, exchanges and refused exchanges. Only loom's atomics are
/// counted; under the other explorer there is nothing to say.
fn accesses(append: impl FnOnce()) -> Option<[usize; 4]> {
    #[cfg(replcore_loom)]
    {
        use replcore_checkers::count::{count_accesses, counted};
        count_accesses();
        append();
        let did = counted();
        Some([did.loads, did.stores, did.exchanges, did.refused])
    }
    #[cfg(not(replcore_loom))]
    {
        append();
        None
    }
}

fn counts(seen: &'static Seen) {
    let buffer = keeping(8);
    let mut writer = buffer.writer();
    let selecting = |writer: &mut Writer| {
        let mut frame = writer.frame();
        frame.select_context(1, b"[1]");
        frame.put_slice(b"abc");
        frame.publish().expect("not fenced");
    };
    // These take a place in the stream and a block, and put the context in force.
    writer.append(b"abc").expect("not fenced");
    selecting(&mut writer);
    let plain = accesses(|| {
        writer.append(b"def").expect("not fenced");
    });
    assert!(plain.is_none_or(|plain| plain == [0, 0, 1, 0]), "an append of a frame: {plain:?}");
    let context = accesses(|| selecting(&mut writer));
    // It looks whether there is more behind it, and reads the number of the context, twice.
    let [loads, rest @ ..] = context.unwrap_or([3, 0, 1, 0]);
    assert_eq!(loads, 3, "an append in the context that is in force: {context:?}");
    assert_eq!(rest, [0, 1, 0], "an append in the context that is in force: {context:?}");
    seen.mark("done");
}

fn ordered(seen: &'static Seen, starts: [u64; 2]) {
    seen.mark(if starts[0] < starts[1] { "first wins" } else { "second wins" });
}

/// Two writers append a frame of their own byte each; the starts of these.
fn race(crew: &mut Crew, buffer: &ReplicationBuffer) -> [Gives<u64>; 2] {
    [b'x', b'y'].map(|byte| {
        let mut writer = buffer.writer();
        crew.spawn("writer", move || writer.append(&[byte; 3]).expect("not fenced").start)
    })
}

fn registrants(seen: &'static Seen) {
    let buffer = keeping(4);
    // They stand where they append, and each frame is long enough for a block of its own.
    let mut standing = [buffer.writer(), buffer.writer()];
    for writer in &mut standing {
        writer.append(b"--").expect("not fenced");
    }
    let before = buffer.end_offset();
    let mut crew = Crew::new();
    let mut bytes = [b'x', b'y'].into_iter();
    let starts = standing.map(|mut writer| {
        let byte = bytes.next().unwrap_or_default();
        crew.spawn("writer", move || writer.append(&[byte; 40]).expect("not fenced").start)
    });
    if !crew.finish(&buffer) {
        return;
    }
    ordered(seen, starts.map(Gives::get));
    let mut cursor = buffer.attach(before).expect("everything is kept");
    let stream = read_visible(&mut cursor);
    let (x, y) = ([b'x'; 40], [b'y'; 40]);
    assert!([[x, y].concat(), [y, x].concat()].contains(&stream), "I1, I5: {stream:?}");
}

fn full(seen: &'static Seen) {
    let buffer = small(2).segment_blocks(1).backlog_bytes(1 << 20).build().expect("valid settings");
    let mut cursor = buffer.attach(0).expect("base");
    let flag = Flag::new();
    assert!(!poll(&mut cursor, &flag), "nothing is appended yet");
    let mut crew = Crew::new();
    let starts = race(&mut crew, &buffer);
    if !crew.finish(&buffer) {
        return;
    }
    ordered(seen, starts.map(Gives::get));
    assert!(flag.is_set(), "I9: it waits for ever");
    assert_eq!(read_visible(&mut cursor).len(), 6, "I1, I2");
    // Each of the two has a segment of its own: the table of the first was full.
    let mut second = Flag::new();
    assert!(!poll(&mut cursor, &second), "all is read");
    buffer.append(b"z").expect("not fenced");
    assert!(Arc::get_mut(&mut second).is_none() && second.is_set(), "I9: across the end of a segment");
    assert_eq!(read_visible(&mut cursor), b"z", "I5");
}

fn full_awaited(seen: &'static Seen) {
    let buffer = small(2).segment_blocks(1).backlog_bytes(1 << 20).build().expect("valid settings");
    let mut cursor = buffer.attach(0).expect("base");
    // The table's one entry: whoever comes next closes the segment in its second cell.
    let mut entered = buffer.writer();
    entered.append(b"abc").expect("not fenced");
    assert_eq!(read_visible(&mut cursor), b"abc", "I2, I5");
    let mut crew = Crew::new();
    let mut writer = buffer.writer();
    crew.spawn("closing writer", move || {
        writer.append(b"xyz").expect("not fenced");
    });
    let waiting = crew.spawn("waiting replica", move || {
        let flag = Flag::new();
        let found = poll(&mut cursor, &flag);
        (cursor, flag, found)
    });
    if !crew.finish(&buffer) {
        return;
    }
    let (mut cursor, flag, found) = waiting.get();
    seen.mark(if found { "found it" } else { "woken" });
    assert!(found || flag.is_set(), "I9: it waits for ever");
    let mut stream = drain(&mut cursor);
    stream.extend(read_visible(&mut cursor));
    assert_eq!(stream, b"xyz", "I2, I5");
}

fn released(seen: &'static Seen) {
    let buffer = small(2).build().expect("valid settings");
    let mut late = buffer.writer();
    late.append(b"abc").expect("not fenced");
    let mut crew = Crew::new();
    let appending = crew.spawn("late registrant", move || {
        // Longer than half a block: it enters a block of its own, made here.
        late.append(&[b'l'; 40]).expect("not fenced").start
    });
    let other = buffer.clone();
    crew.spawn("trimming writer", move || {
        let mut writer = other.writer();
        writer.append(b"def").expect("not fenced");
        writer.append(b"ghi").expect("not fenced");
    });
    if !crew.finish(&buffer) {
        return;
    }
    seen.mark(if appending.get() < 6 { "before" } else { "after" });
    assert_eq!(buffer.end_offset(), 3 + 40 + 6, "I1");
}

fn contexts(seen: &'static Seen, in_force: Option<u64>, selected: [u64; 2]) {
    let buffer = small(3).segment_contexts(1).backlog_bytes(1 << 20).build().expect("valid settings");
    if in_force.is_some() {
        buffer.append_with(|marker| marker.set_context(in_force)).expect("not fenced");
    }
    let mut crew = Crew::new();
    for (context, text) in selected.into_iter().zip(["a", "b"]) {
        let mut writer = buffer.writer();
        crew.spawn("selecting writer", move || {
            let mut frame = writer.frame();
            frame.select_context(context, format!("[{context}]").as_bytes());
            frame.put_slice(text.as_bytes());
            frame.publish().expect("not fenced");
        });
    }
    if !crew.finish(&buffer) {
        return;
    }
    let mut cursor = buffer.attach(0).expect("everything is kept");
    let text = String::from_utf8(read_visible(&mut cursor)).expect("text");
    seen.mark(&text);
    // Beside the frames, and the marker, there is the closing publication of the segment whose table was full.
    let others = 2 + u64::from(in_force.is_some());
    assert!(buffer.stats().publications > others, "the table was full: {:?}", buffer.stats());
}

fn retired(seen: &'static Seen) {
    let buffer = small(1).pooled_segments(1).build().expect("valid settings");
    let mut standing = buffer.writer();
    standing.append(b"abc").expect("not fenced");
    let mut crew = Crew::new();
    let first = crew.spawn("standing writer", move || standing.append(b"xxx").expect("not fenced").start);
    let other = buffer.clone();
    // It links the next segment, and so trims the one in which the other stands.
    let second = crew.spawn("trimming writer", move || other.append(b"def").expect("not fenced").start);
    if !crew.finish(&buffer) {
        return;
    }
    ordered(seen, [first.get(), second.get()]);
    assert_eq!(buffer.end_offset(), 9, "I1");
    assert!(buffer.stats().retained_bytes <= 6, "I11: {:?}", buffer.stats());
    assert_eq!(buffer.stats().segments_live, 1, "I6, I11: {:?}", buffer.stats());
}

fn idle(seen: &'static Seen) {
    let buffer = small(2).build().expect("valid settings");
    let cursor = buffer.attach(0).expect("base");
    let mut idle = buffer.writer();
    idle.append(b"abc").expect("not fenced");
    // By a writer that is gone, whose block is its segment's alone.
    buffer.append(b"def").expect("not fenced");
    let mut crew = Crew::new();
    crew.spawn("leaving replica", move || drop(cursor));
    let other = buffer.clone();
    crew.spawn("trimming writer", move || {
        other.append(b"ghi").expect("not fenced");
    });
    if !crew.finish(&buffer) {
        return;
    }
    let stats = buffer.stats();
    assert_eq!(stats.blocks_live, 2, "I8, I11: its own block, and that of the last segment: {stats:?}");
    assert_eq!(stats.segments_live, 2, "I8, I11: the cells, and the last segment: {stats:?}");
    idle.append(b"xyz").expect("not fenced");
    assert_eq!(buffer.stats().segments_live, 1, "I6, I11: {:?}", buffer.stats());
    assert_eq!(buffer.end_offset(), 12, "I1");
    seen.mark("done");
}

fn large_reused(seen: &'static Seen) {
    let buffer = small(1).pooled_frame_bytes(48).build().expect("valid settings");
    let mut cursor = buffer.attach(0).expect("base");
    buffer.append(&[b'l'; 40]).expect("not fenced");
    buffer.append(b"abc").expect("not fenced");
    cursor.refresh().expect("not evicted");
    evict_all(&buffer);
    buffer.set_backlog_bytes(0);
    let mut crew = Crew::new();
    crew.spawn("leaving reader", move || {
        assert_eq!(drain(&mut cursor)[..40], [b'l'; 40], "I5: what was visible stays");
    });
    let mut writer = buffer.writer();
    crew.spawn("writer", move || {
        writer.append(&[b'm'; 40]).expect("not fenced");
    });
    if !crew.finish(&buffer) {
        return;
    }
    let mut fresh = buffer.attach(43).expect("I7");
    assert_eq!(read_visible(&mut fresh), [b'm'; 40], "I5");
    seen.mark("read");
}

fn large_not_staged(seen: &'static Seen) {
    let settings = small(3).pooled_blocks(1).pooled_frame_bytes(48);
    let buffer = settings.build().expect("valid settings");
    let mut cursor = buffer.attach(0).expect("base");
    // The long frame's block is the first that its segment gives back.
    buffer.append(&[b'l'; 40]).expect("not fenced");
    buffer.append(b"abc").expect("not fenced");
    buffer.append(b"def").expect("not fenced");
    cursor.refresh().expect("not evicted");
    evict_all(&buffer);
    let before = buffer.append(b"ghi").expect("not fenced").end;
    let mut crew = Crew::new();
    crew.spawn("leaving reader", move || {
        assert_eq!(drain(&mut cursor)[..40], [b'l'; 40], "I5: what was visible stays");
    });
    let mut writer = buffer.writer();
    crew.spawn("writer", move || {
        // More than there is room for in the long frame's block, and no more than in another.
        for _ in 0..2 {
            writer.append(&[b'm'; 30]).expect("not fenced");
        }
    });
    if !crew.finish(&buffer) {
        return;
    }
    let mut fresh = buffer.attach(before).expect("I7");
    assert_eq!(read_visible(&mut fresh), [b'm'; 60], "I5");
    seen.mark("read");
}

fn settle_read(seen: &'static Seen) {
    let buffer = keeping(2);
    let mut writer = buffer.writer();
    // It stands where it appends, so that the race is for one cell.
    let before = writer.append(b"--").expect("not fenced").end;
    let (mut waiting, mut reading) =
        (buffer.attach(before).expect("end"), buffer.attach(before).expect("end"));
    let flag = Flag::new();
    assert!(!poll(&mut waiting, &flag), "nothing is appended yet");
    let mut crew = Crew::new();
    crew.spawn("writer", move || {
        writer.append(b"abc").expect("not fenced");
    });
    let reader = crew.spawn("reader", move || {
        reading.refresh().expect("not evicted");
        let stream = drain(&mut reading);
        assert!(stream.is_empty() || stream.starts_with(b"abc"), "I2, I5: {stream:?}");
        !stream.is_empty()
    });
    if !crew.finish(&buffer) {
        return;
    }
    seen.mark(if reader.get() { "saw it" } else { "saw nothing" });
    assert!(flag.is_set(), "I9");
    assert_eq!(read_visible(&mut waiting), b"abc", "I5");
}

fn owed_across(seen: &'static Seen) {
    let buffer = keeping(1);
    let mut cursor = buffer.attach(0).expect("base");
    let flag = Flag::new();
    assert!(!poll(&mut cursor, &flag), "nothing is appended yet");
    let mut crew = Crew::new();
    let append = |text: &'static [u8]| {
        let mut writer = buffer.writer();
        move || writer.append(text).expect("not fenced").start
    };
    let first = crew.spawn("writer", append(b"abc"));
    crew.spawn("writer", append(b"xyz"));
    let woken = Arc::clone(&flag);
    if !crew.finish_looking(&buffer, |pass| {
        if pass == Pass::Looking {
            assert!(woken.is_set(), "I9, I8: the wake-up is not the stopped writer's alone");
        }
    }) {
        return;
    }
    assert!(flag.is_set(), "I9");
    seen.mark(if first.get() == 0 { "stopped after publishing" } else { "stopped before publishing" });
}

fn composite_refused(seen: &'static Seen) {
    // The sealer goes on with a writer that is gone, so both stand where they publish.
    let settings = small(5).backlog_bytes(1 << 20).pooled_writers(1);
    let buffer = settings.build().expect("valid settings");
    let mut writer = buffer.writer();
    writer.append(b"--").expect("not fenced");
    let before = buffer.append(b"--").expect("not fenced").end;
    let mut crew = Crew::new();
    let publishing = crew.spawn("batching writer", move || {
        let mut batch = writer.frame();
        batch.select_context(1, b"[1]");
        batch.put_bytes(Bytes::from_static(b"abc"));
        batch.end_frame();
        batch.put_slice(b"d");
        match batch.publish() {
            Ok(range) => Some(range),
            Err(AppendError::Fenced { .. }) => None,
            Err(error) => panic!("{error}"),
        }
    });
    let sealing = buffer.clone();
    crew.spawn("sealer", move || {
        sealing.append_with(|marker| marker.set_context(Some(1))).expect("not fenced");
        sealing.seal(1).expect("nobody else seals");
    });
    if !crew.finish(&buffer) {
        return;
    }
    let published = publishing.get();
    seen.mark(if published.is_some() { "published" } else { "refused" });
    let mut cursor = buffer.attach(before).expect("everything is kept");
    let expected: &[u8] = match published {
        Some(range) if range.end - before == 7 => b"[1]abcd",
        Some(_) => b"abcd",
        None => b"",
    };
    assert_eq!(read_visible(&mut cursor), expected, "I5, I10");
}
