//! Models that are about a stopped thread and nothing else.
//!
//! Every model can be run with its threads stopped in turn; these always are. What they see, and
//! what they have to catch, is about the stopping itself, so they say whether it can be believed.

use super::wake::{Flag, poll};
use super::{begin_eras, keeping, read_visible, small};
use crate::check::{Crew, Pass};
use crate::model::{BASE, Bound, Model, Seen};

/// The models.
pub static MODELS: &[Model] = &[
    Model {
        name: "stall-append",
        invariants: "I2 I8",
        about: "a writer is stopped in an append; another appends, and all that is published is read",
        quick: Bound::Preemptions(1),
        full: Bound::Preemptions(2),
        stalls: true,
        outcomes: &["stopped before publishing", "stopped after publishing"],
        controls: &["CELL_LOAD=Relaxed"],
        body: append,
        ..BASE
    },
    Model {
        name: "stall-turn-over",
        invariants: "I2 I7 I8 I11",
        about: "a writer is stopped while it links a segment, trims and retires; others go on and memory stays bounded",
        quick: Bound::Preemptions(0),
        full: Bound::Preemptions(0),
        stalls: true,
        outcomes: &["stopped before publishing", "stopped after publishing"],
        controls: &["ForgetRetire"],
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

/// Says where the stopped thread had got to.
fn mark_published(seen: &'static Seen, published: bool) {
    seen.mark(if published { "stopped after publishing" } else { "stopped before publishing" });
}

fn append(seen: &'static Seen) {
    let buffer = keeping(2);
    let mut crew = Crew::new();
    let mut stopping = buffer.writer();
    crew.spawn("writer", move || {
        stopping.append(b"abc").expect("not fenced");
    });
    let mut writer = buffer.writer();
    let mut cursor = buffer.attach(0).expect("base");
    let others = crew.spawn("writing reader", move || {
        let range = writer.append(b"xyz").expect("not fenced");
        let stream = read_visible(&mut cursor);
        assert!(stream.len() as u64 >= range.end, "I2, I8: what is published is readable");
        assert_eq!(&stream[range.start as usize..range.end as usize], b"xyz", "I5");
        (cursor, stream)
    });
    let looked = buffer.clone();
    if !crew.finish_looking(&buffer, |pass| {
        if pass == Pass::Looking {
            mark_published(seen, looked.end_offset() == 6);
        }
    }) {
        return;
    }
    let (mut cursor, mut stream) = others.get();
    stream.extend(read_visible(&mut cursor));
    assert_eq!(stream.len(), 6, "I1: nothing is lost in the end");
}

fn turn_over(seen: &'static Seen) {
    begin_eras(8);
    let buffer = small(1).max_unreclaimed_bytes(0).build().expect("valid settings");
    buffer.append(b"000").expect("not fenced");
    let mut crew = Crew::new();
    let mut stopping = buffer.writer();
    crew.spawn("writer", move || {
        stopping.append(b"abc").expect("not fenced");
    });
    let others = buffer.clone();
    crew.spawn("writing reader", move || {
        let mut writer = others.writer();
        for id in 1..4_u8 {
            let range = writer.append(&[id; 3]).expect("not fenced");
            match others.attach(range.start) {
                Ok(mut cursor) => assert!(read_visible(&mut cursor).starts_with(&[id; 3]), "I2, I8"),
                Err(error) => assert!(others.first_offset() > range.start, "I7: {error}"),
            }
        }
    });
    let looked = buffer.clone();
    if !crew.finish_looking(&buffer, |pass| {
        if pass == Pass::Appending {
            return;
        }
        let stats = looked.stats();
        // A writer stopped at its turn-over keeps others from nothing: the next turn-over trims.
        // What its pin holds back is what was alive when the era after its own began.
        assert!(stats.retained_bytes <= 6, "I11: {stats:?}");
        assert!(stats.retired <= 4, "I8: {stats:?}");
        mark_published(seen, stats.end_offset == 15);
    }) {
        return;
    }
    assert_eq!(buffer.end_offset(), 15, "I1");
}

fn wake(seen: &'static Seen) {
    let buffer = keeping(2);
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
    let woken = std::sync::Arc::clone(&flag);
    if !crew.finish_looking(&buffer, |_| {
        assert!(woken.is_set(), "I9, I8: the wake-up is not the stopped writer's alone");
    }) {
        return;
    }
    assert!(flag.is_set(), "I9");
    seen.mark(if first.get() == 0 { "stopped after publishing" } else { "stopped before publishing" });
}
