//! Reclamation when eras change at every turn.

use replcore::buffer::model::provide_eras;

use super::{read_visible, small};
use crate::check::thread;
use crate::model::{BASE, Bound, Model, Seen};

/// The models.
pub static MODELS: &[Model] = &[
    Model {
        name: "era-attach",
        invariants: "I3 I5 I6 I8",
        about: "every retirement begins an era while a replica attaches",
        quick: Bound::Preemptions(1),
        full: Bound::Preemptions(2),
        outcomes: &["attached", "not retained"],
        controls: &["EraUnlooked", "ERA_LOAD=Relaxed", "RetireInOneEra", "ERA_RETIRE=Relaxed", "FreeAtOnce"],
        body: attach,
        ..BASE
    },
    Model {
        name: "era-append",
        invariants: "I1 I5 I6 I8",
        about: "two writers append and retire while eras change under them",
        quick: Bound::Preemptions(2),
        full: Bound::Preemptions(3),
        controls: &["FreeAtOnce"],
        body: append,
        ..BASE
    },
];

fn attach(seen: &'static Seen) {
    provide_eras(4);
    let buffer = small(1).max_unreclaimed_bytes(0).build().expect("valid settings");
    let mut writer = buffer.writer();
    writer.append(b"abc").expect("not fenced");
    let appending = thread::spawn(move || {
        for text in [b"def", b"ghi", b"jkl"] {
            writer.append(text).expect("not fenced");
        }
    });
    let attaching = {
        let buffer = buffer.clone();
        thread::spawn(move || match buffer.attach(0) {
            Ok(mut cursor) => {
                seen.mark("attached");
                assert!(b"abcdefghijkl".starts_with(&read_visible(&mut cursor)), "I3, I5");
            }
            Err(_) => seen.mark("not retained"),
        })
    };
    appending.join().expect("no panic");
    attaching.join().expect("no panic");
}

fn append(seen: &'static Seen) {
    provide_eras(4);
    let buffer = small(2).max_unreclaimed_bytes(0).build().expect("valid settings");
    buffer.append(b"abc").expect("not fenced");
    buffer.append(b"def").expect("not fenced");
    // One of them links, trims, retires and begins an era under the other.
    let append = |id: u8| {
        let mut writer = buffer.writer();
        thread::spawn(move || writer.append(&[id; 3]).expect("not fenced").start)
    };
    let (first, second) = (append(b'x'), append(b'y'));
    let mut starts = [first.join().expect("no panic"), second.join().expect("no panic")];
    starts.sort_unstable();
    assert_eq!(starts, [6, 9], "I1");
    assert_eq!(buffer.end_offset(), 12, "I1");
    seen.mark("done");
}
