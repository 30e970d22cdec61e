//! Eviction against the reader it hits.

use replcore::buffer::{CursorError, CursorLimits};

use super::{drain, small};
use crate::check::{block_on, thread};
use crate::model::{BASE, Bound, Model, Seen};

/// The models.
pub static MODELS: &[Model] = &[
    Model {
        name: "evict-read",
        invariants: "I5 I6 I8 I11",
        about: "a slow cursor is evicted, and what it pinned freed, while it reads",
        quick: Bound::Preemptions(1),
        full: Bound::Preemptions(2),
        outcomes: &["evicted", "read on"],
        controls: &["HopUnlooked", "FreeAtOnce"],
        body: evict_read,
        ..BASE
    },
    Model {
        name: "evict-wait",
        invariants: "I8 I9",
        about: "a cursor that waits is evicted; it is woken, and learns of it",
        quick: Bound::Preemptions(2),
        full: Bound::Preemptions(3),
        outcomes: &["evicted"],
        controls: &["SLOT_EVICT=Relaxed", "SLOT_CONFIRM=Relaxed"],
        body: evict_wait,
        ..BASE
    },
    Model {
        name: "evict-reuse",
        invariants: "I7",
        about: "a new cursor takes the slot of one that lagged; an evictor does not judge it by that one",
        quick: Bound::Preemptions(2),
        full: Bound::Preemptions(3),
        outcomes: &["saw the new", "saw none"],
        controls: &["SLOT_LOAD=Relaxed", "SLOT_RELEASE_STORE=Relaxed"],
        body: evict_reuse,
        ..BASE
    },
];

fn evict_read(seen: &'static Seen) {
    let limits = CursorLimits { hard_bytes: 4, soft_bytes: 0, soft_ms: 0 };
    let buffer = small(1).cursor_limits(limits).build().expect("valid settings");
    let mut cursor = buffer.attach(0).expect("base");
    let mut writer = buffer.writer();
    writer.append(b"abc").expect("not fenced");
    let appending = thread::spawn(move || {
        writer.append(b"def").expect("not fenced");
        writer.append(b"ghi").expect("not fenced");
    });
    let reading = thread::spawn(move || {
        let mut stream = Vec::new();
        for _ in 0..2 {
            match cursor.refresh() {
                Ok(_) => stream.extend(drain(&mut cursor)),
                Err(CursorError::Evicted { .. }) => {
                    stream.extend(drain(&mut cursor));
                    seen.mark("evicted");
                    break;
                }
            }
        }
        if stream.len() > 3 {
            seen.mark("read on");
        }
        assert!(b"abcdefghi".starts_with(&stream), "I3, I5: {stream:?}");
    });
    appending.join().expect("no panic");
    reading.join().expect("no panic");
    assert!(buffer.stats().retained_bytes <= 3 + 4, "I11: {:?}", buffer.stats());
}

fn evict_wait(seen: &'static Seen) {
    let buffer = small(2).build().expect("valid settings");
    let mut cursor = buffer.attach(0).expect("base");
    let waiting = thread::spawn(move || {
        // Nobody appends: only the eviction can end this.
        let waited = block_on(cursor.readable());
        assert!(matches!(waited, Err(CursorError::Evicted { .. })), "I9: {waited:?}");
        seen.mark("evicted");
    });
    let evicting = {
        let buffer = buffer.clone();
        thread::spawn(move || replcore::buffer::model::evict_all(&buffer))
    };
    evicting.join().expect("no panic");
    waiting.join().expect("no panic");
}

fn evict_reuse(seen: &'static Seen) {
    let limits = CursorLimits { hard_bytes: 4, soft_bytes: 0, soft_ms: 0 };
    let buffer = small(1).cursor_limits(limits).build().expect("valid settings");
    let old = buffer.attach(0).expect("base");
    buffer.append(b"abc").expect("not fenced");
    buffer.append(b"def").expect("not fenced");
    assert_eq!(buffer.stats().evictions, 1, "it lags by more than the limit and what is retained");
    // Here, not in the race: loom orders a plain store after an exchange of another thread only if
    // the storing thread saw that (tokio-rs/loom#389), and lets the eviction of the old cursor
    // come back to the new one.
    drop(old);
    let attaching = {
        let buffer = buffer.clone();
        thread::spawn(move || buffer.attach_at_end().expect("a slot is free"))
    };
    let evicting = {
        let buffer = buffer.clone();
        thread::spawn(move || {
            seen.mark(if buffer.slowest_cursor_offset().is_some() { "saw the new" } else { "saw none" });
            assert_eq!(buffer.enforce_limits(), 0, "I7: the new one does not lag");
        })
    };
    let mut fresh = attaching.join().expect("no panic");
    evicting.join().expect("no panic");
    assert_eq!(fresh.refresh(), Ok(0), "I7: it does not lag: it is no one's to evict");
}
