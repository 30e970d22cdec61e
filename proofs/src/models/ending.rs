//! Handles that go: the end of the stream, and what a writer leaves to the next one.

use std::task::{Context, Poll, Waker};

use replcore::buffer::{Cursor, CursorError};

use super::wake::Flag;
use super::{keeping, read_visible, small};
use crate::check::{Crew, Gives};
use crate::model::{BASE, Bound, Model, Seen};

/// The models.
pub static MODELS: &[Model] = &[
    Model {
        name: "end-park",
        invariants: "I9",
        about: "the last handle goes while a cursor looks and leaves its waker",
        quick: Bound::None,
        full: Bound::None,
        no_stalls: Some("nothing can be appended behind the end"),
        outcomes: &["found it", "woken"],
        controls: &["EndSilently", "ForgetWake", "ParkSilently", "SkipSecondLook"],
        body: |seen| park(seen, false),
        ..BASE
    },
    Model {
        name: "end-2-handles",
        invariants: "I2 I9",
        about: "a writer appends and goes, another handle goes, and a cursor waits for more",
        threads: 4,
        quick: Bound::Preemptions(1),
        full: Bound::Preemptions(2),
        no_stalls: Some("nothing can be appended behind the end"),
        outcomes: &["found it", "woken"],
        controls: &["EndSilently", "ForgetWake", "PARK=Relaxed"],
        body: |seen| park(seen, true),
        ..BASE
    },
    Model {
        name: "remainder-passed",
        invariants: "I5 I6",
        about: "a writer goes and leaves half a block, in which another goes on",
        quick: Bound::Preemptions(2),
        full: Bound::Preemptions(3),
        outcomes: &["its own block", "the same block"],
        controls: &["ReuseBytes"],
        body: remainder,
        ..BASE
    },
];

/// Polls once.
fn poll(cursor: &mut Cursor, flag: &std::sync::Arc<Flag>) -> Poll<Result<(), CursorError>> {
    cursor.poll_readable(&mut Context::from_waker(&Waker::from(flag.clone())))
}

fn park(seen: &'static Seen, appends: bool) {
    let buffer = keeping(2);
    // Nobody reads it: what a crew wants to look at.
    let other = keeping(1);
    let mut cursor = buffer.attach(0).expect("base");
    let mut crew = Crew::new();
    let waiting = crew.spawn("polling replica", move || {
        let flag = Flag::new();
        let found = poll(&mut cursor, &flag);
        (cursor, flag, found)
    });
    if appends {
        let mut writer = buffer.writer();
        crew.spawn("writer", move || {
            writer.append(b"abc").expect("not fenced");
        });
    }
    crew.spawn("handle", move || drop(buffer));
    crew.finish(&other);
    let (mut cursor, flag, found) = waiting.get();
    match found {
        Poll::Pending => {
            assert!(flag.is_set(), "I9: it waits for ever");
            seen.mark("woken");
        }
        Poll::Ready(Err(ref error)) => assert!(matches!(error, CursorError::Ended { .. }), "{error}"),
        Poll::Ready(Ok(())) => assert!(appends, "there is nothing to read"),
    }
    if found.is_ready() {
        seen.mark("found it");
    }
    let mut bytes = Vec::new();
    let ended = loop {
        match cursor.refresh() {
            Ok(0) => panic!("I9: there is nothing, and it may wait for more"),
            Ok(_) => bytes.extend(super::drain(&mut cursor)),
            Err(error) => break error,
        }
    };
    let stream: &[u8] = if appends { b"abc" } else { b"" };
    assert_eq!(bytes, stream, "I2: all that was appended stands before the end");
    assert_eq!(ended, CursorError::Ended { offset: stream.len() as u64 });
}

fn remainder(seen: &'static Seen) {
    // One writer is kept when it goes, and takes the place.
    let settings = small(8).backlog_bytes(1 << 20).pooled_writers(1);
    let buffer = settings.build().expect("valid settings");
    buffer.append(b"--").expect("not fenced");
    let mut crew = Crew::new();
    let mut gone = buffer.writer();
    let mut second = buffer.writer();
    gone.append(b"ab").expect("not fenced");
    second.append(b"cd").expect("not fenced");
    drop(gone);
    let blocks = buffer.stats().blocks_live;
    crew.spawn("leaving writer", move || drop(second));
    let coming = buffer.clone();
    let came: Gives<u64> = crew.spawn("coming writer", move || {
        // The first is the one that was kept.
        let (_kept, mut writer) = (coming.writer(), coming.writer());
        writer.append(b"ef").expect("not fenced");
        coming.stats().blocks_live
    });
    if !crew.finish(&buffer) {
        return;
    }
    seen.mark(if came.get() == blocks { "the same block" } else { "its own block" });
    let mut cursor = buffer.attach(0).expect("everything is kept");
    assert_eq!(read_visible(&mut cursor), b"--abcdef", "I5");
}
