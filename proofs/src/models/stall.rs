//! A thread is stopped at each of its steps in turn, while the others do all they have to do.
//!
//! A step is an atomic access of the shipped code. The stopped thread is let go only after the
//! others have finished and everything has been checked, so if one of them needed it, loom reports
//! a deadlock.

use replcore::buffer::Writer;
use replcore::buffer::model::{provide_eras, stall};

use super::wake::{Flag, poll};
use super::{keeping, read_visible, small};
use crate::check::thread;
use crate::model::{BASE, Bound, Model, Seen};

/// The models.
pub static MODELS: &[Model] = &[
    Model {
        name: "stall-append",
        invariants: "I2 I8",
        about: "a writer is stopped in an append; another appends, and all that is published is read",
        quick: Bound::Preemptions(2),
        full: Bound::Preemptions(3),
        stalls: true,
        outcomes: &["stopped before publishing", "stopped after publishing"],
        controls: &["WaitForHint"],
        body: append,
        ..BASE
    },
    Model {
        name: "stall-turn-over",
        invariants: "I2 I7 I8 I11",
        about: "a writer is stopped while it links a segment, trims and retires; others go on and memory stays bounded",
        quick: Bound::Preemptions(0),
        full: Bound::Preemptions(1),
        stalls: true,
        outcomes: &["stopped before publishing", "stopped after publishing"],
        controls: &[],
        body: turn_over,
        ..BASE
    },
    Model {
        name: "stall-wake",
        invariants: "I8 I9",
        about: "a writer is stopped before it wakes a waiting cursor; the next append wakes it",
        quick: Bound::Preemptions(1),
        full: Bound::Preemptions(2),
        stalls: true,
        outcomes: &["stopped before publishing", "stopped after publishing"],
        controls: &["ForgetOwed"],
        body: wake,
        ..BASE
    },
];

/// A thread that appends a frame, each access a step at which it may be stopped.
fn append_and_stall(mut writer: Writer) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        stall::begin();
        writer.append(b"abc").expect("not fenced");
        stall::end();
    })
}

/// Says where the stopped thread had got to.
fn mark_published(seen: &'static Seen, published: bool) {
    seen.mark(if published { "stopped after publishing" } else { "stopped before publishing" });
}

fn append(seen: &'static Seen) {
    let buffer = keeping(2);
    let stalled = append_and_stall(buffer.writer());
    let mut writer = buffer.writer();
    let mut cursor = buffer.attach(0).expect("base");
    let others = thread::spawn(move || {
        let range = writer.append(b"xyz").expect("not fenced");
        let stream = read_visible(&mut cursor);
        assert!(stream.len() as u64 >= range.end, "I2, I8: what is published is readable");
        assert_eq!(&stream[range.start as usize..range.end as usize], b"xyz", "I5");
        (cursor, stream)
    });
    let (mut cursor, mut stream) = others.join().expect("no panic");
    if stall::reached() {
        stream.extend(read_visible(&mut cursor));
        mark_published(seen, stream.len() == 6);
    }
    stall::release();
    stalled.join().expect("no panic");
    stream.extend(read_visible(&mut cursor));
    assert_eq!(stream.len(), 6, "I1: nothing is lost in the end");
}

fn turn_over(seen: &'static Seen) {
    provide_eras(8);
    let buffer = small(1).max_unreclaimed_bytes(0).build().expect("valid settings");
    buffer.append(b"000").expect("not fenced");
    let stalled = append_and_stall(buffer.writer());
    let others = {
        let buffer = buffer.clone();
        thread::spawn(move || {
            let mut writer = buffer.writer();
            for id in 1..4_u8 {
                let range = writer.append(&[id; 3]).expect("not fenced");
                let mut cursor = buffer.attach(range.start).expect("I7: just appended");
                assert!(read_visible(&mut cursor).starts_with(&[id; 3]), "I2, I8");
            }
            buffer.stats()
        })
    };
    let stats = others.join().expect("no panic");
    // A writer stopped at its turn-over keeps others from nothing: the next turn-over trims. What
    // its pin holds back is what was alive when the era after its own began.
    assert!(stats.retained_bytes <= 6, "I11: {stats:?}");
    assert!(stats.retired <= 4, "I8: {stats:?}");
    if stall::reached() {
        mark_published(seen, stats.end_offset == 15);
    }
    stall::release();
    stalled.join().expect("no panic");
    assert_eq!(buffer.end_offset(), 15, "I1");
}

fn wake(seen: &'static Seen) {
    let buffer = keeping(2);
    let mut cursor = buffer.attach(0).expect("base");
    let flag = Flag::new();
    assert!(!poll(&mut cursor, &flag), "nothing is appended yet");
    let stalled = append_and_stall(buffer.writer());
    let mut writer = buffer.writer();
    let appending = thread::spawn(move || writer.append(b"xyz").expect("not fenced").start);
    let start = appending.join().expect("no panic");
    if stall::reached() {
        assert!(flag.is_set(), "I9, I8: the wake-up is not the stopped writer's alone");
        seen.mark(if start == 0 { "stopped before publishing" } else { "stopped after publishing" });
    }
    stall::release();
    stalled.join().expect("no panic");
    assert!(flag.is_set(), "I9");
}
