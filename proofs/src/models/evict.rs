//! Eviction against the reader it hits.

use bytes::Buf;
use replcore::buffer::{CursorError, CursorLimits};

use super::{drain, small};
use crate::check::{Crew, PROBE, block_on};
use crate::model::{BASE, Bound, Model, Seen};

/// The models.
pub static MODELS: &[Model] = &[
    Model {
        name: "evict-read",
        invariants: "I5 I6 I8 I11",
        about: "a slow cursor is evicted, and what it pinned freed, while it reads",
        quick: Bound::Preemptions(1),
        full: Bound::Preemptions(1),
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
        controls: &["SLOT_EVICT=Relaxed", "SLOT_CONFIRM=Relaxed", "EvictSilently", "ConfirmUnlooked"],
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
    Model {
        name: "evict-next",
        invariants: "I7",
        about: "a cursor above the soft limit goes and another attaches in its segment and slot: it has a time of its own",
        quick: Bound::Preemptions(1),
        full: Bound::Preemptions(2),
        outcomes: &["evicted", "gone before"],
        controls: &["KeepSlot"],
        body: evict_next,
        ..BASE
    },
];

fn evict_read(seen: &'static Seen) {
    let limits = CursorLimits { hard_bytes: 4, soft_bytes: 0, soft_ms: 0 };
    let buffer = small(1).cursor_limits(limits).build().expect("valid settings");
    let mut cursor = buffer.attach(0).expect("base");
    let mut writer = buffer.writer();
    writer.append(b"abc").expect("not fenced");
    let mut crew = Crew::new();
    crew.spawn("evicting writer", move || {
        writer.append(b"def").expect("not fenced");
        writer.append(b"ghi").expect("not fenced");
    });
    crew.spawn("reader", move || {
        let mut stream = Vec::new();
        for _ in 0..2 {
            match cursor.refresh() {
                Ok(_) => stream.extend(drain(&mut cursor)),
                Err(CursorError::Evicted { .. }) => {
                    stream.extend(drain(&mut cursor));
                    seen.mark("evicted");
                    break;
                }
                Err(error) => panic!("{error}"),
            }
        }
        if stream.len() > 3 {
            seen.mark("read on");
        }
        assert!(b"abcdefghi".starts_with(&stream), "I3, I5: {stream:?}");
    });
    if !crew.finish(&buffer) {
        return;
    }
    assert!(buffer.stats().retained_bytes <= 3 + 4, "I11: {:?}", buffer.stats());
}

fn evict_wait(seen: &'static Seen) {
    let buffer = small(2).build().expect("valid settings");
    let mut cursor = buffer.attach(0).expect("base");
    let mut crew = Crew::new();
    crew.spawn_waiter("waiting replica", move || {
        // Nobody appends, if nobody is stopped: only the eviction can end this.
        match block_on(cursor.readable()) {
            Err(CursorError::Evicted { .. }) => seen.mark("evicted"),
            Ok(()) => assert_eq!(cursor.chunk().first(), Some(&PROBE), "I9"),
            Err(error) => panic!("{error}"),
        }
    });
    let evicting = buffer.clone();
    crew.spawn("evictor", move || replcore::buffer::model::evict_all(&evicting));
    crew.finish(&buffer);
}

fn evict_reuse(seen: &'static Seen) {
    let limits = CursorLimits { hard_bytes: 4, soft_bytes: 0, soft_ms: 0 };
    let buffer = small(1).cursor_limits(limits).build().expect("valid settings");
    let old = buffer.attach(0).expect("base");
    buffer.append(b"abc").expect("not fenced");
    buffer.append(b"def").expect("not fenced");
    // Limits are looked at when a segment is linked.
    buffer.append(b"ghi").expect("not fenced");
    assert_eq!(buffer.stats().evictions, 1, "it lags by more than the limit and what is retained");
    // Here, not in the race: loom orders a plain store after an exchange of another thread only if
    // the storing thread saw that (tokio-rs/loom#389), and lets the eviction of the old cursor
    // come back to the new one.
    drop(old);
    let mut crew = Crew::new();
    let attaching = {
        let buffer = buffer.clone();
        crew.spawn("attaching replica", move || buffer.attach_at_end().expect("a slot is free"))
    };
    {
        let buffer = buffer.clone();
        crew.spawn("evictor", move || {
            seen.mark(if buffer.slowest_cursor_offset().is_some() { "saw the new" } else { "saw none" });
            assert_eq!(buffer.enforce_limits(), 0, "I7: the new one does not lag");
        });
    }
    if !crew.finish(&buffer) {
        return;
    }
    let mut fresh = attaching.get();
    assert_eq!(fresh.refresh(), Ok(0), "I7: it does not lag: it is no one's to evict");
}

fn evict_next(seen: &'static Seen) {
    let limits = CursorLimits { hard_bytes: 0, soft_bytes: 1, soft_ms: 0 };
    let buffer = small(4).cursor_limits(limits).build().expect("valid settings");
    let old = buffer.attach(0).expect("base");
    let mut writer = buffer.writer();
    writer.append(b"abc").expect("not fenced");
    assert_eq!(buffer.enforce_limits(), 0, "its time begins");
    let mut crew = Crew::new();
    let following = {
        let buffer = buffer.clone();
        crew.spawn("replica after replica", move || {
            drop(old);
            let evictions = buffer.stats().evictions;
            (buffer.attach_at_end().expect("a slot is free"), evictions)
        })
    };
    let evicting = buffer.clone();
    let evictor = crew.spawn("evictor", move || evicting.enforce_limits());
    if !crew.finish(&buffer) {
        return;
    }
    let (next, evictions) = following.get();
    // Counted in one step with the exchange that evicts.
    assert_eq!(buffer.stats().evictions, evictions, "I7: whoever was evicted, it was not the next one");
    if evictor.get() == 1 {
        // loom lets the eviction come back to the next one, as above.
        return seen.mark("evicted");
    }
    writer.append(b"def").expect("not fenced");
    assert_eq!(buffer.enforce_limits(), 0, "I7: the time of the next one begins");
    assert_eq!(buffer.enforce_limits(), 1, "I11: its time is up");
    drop(next);
    seen.mark("gone before");
}
