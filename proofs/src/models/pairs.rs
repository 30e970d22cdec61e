//! Every two operations that can meet on a buffer, and the threes that matter.
//!
//! Nine small actors share one buffer of segments of two cells that holds five frames. Each says
//! what it came to; when all have finished, the same questions are put to every group of them: is
//! the stream what was acknowledged, without a gap (I1, I4)? Is what each reader read a piece of it
//! (I3, I5)? Is as much attachable as the backlog says (I7)? Was everyone who waits woken (I9)? Does
//! no frame of a sealed term follow the seal (I10)? Once nobody reads any more, is everything given
//! back but the last segment (I6, I11)?

use std::ops::Range;
use std::sync::Arc;

use replcore::buffer::model::evict_all;
use replcore::buffer::{AppendError, AttachError, Cursor, ReplicationBuffer};

use super::wake::{Flag, poll};
use super::{drain, read_visible, small};
use crate::check::{Crew, Gives};
use crate::model::{BASE, Bound, Model, Seen};

use Actor::{Append, Attach, Drop, Evict, Park, Read, Seal, Trim, TurnOver};

/// Bytes of a frame.
const FRAME: u64 = 3;
/// The end of the stream before the actors start.
const BEFORE: u64 = 5 * FRAME;
/// Bytes that stay attachable, unless [`Trim`] changes that: a turn-over trims the first segment.
const BACKLOG: u64 = 4 * FRAME;

/// Somebody who does one thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Actor {
    /// Appends a frame for which the segment has room.
    Append,
    /// Appends two, and so links a segment, trims and retires.
    TurnOver,
    /// Reads, twice, with a cursor that pins all there is.
    Read,
    /// Gives the backlog up.
    Trim,
    /// Attaches at the first offset, and reads.
    Attach,
    /// Evicts every cursor.
    Evict,
    /// Seals the term.
    Seal,
    /// Leaves a waker where the stream ends.
    Park,
    /// Drops a cursor that pins all there is.
    Drop,
}

/// What an actor came to.
#[derive(Debug)]
enum Came {
    Appended(Vec<(Range<u64>, u8)>),
    Fenced,
    ReadTo { stream: Vec<u8>, evicted: bool, cursor: Cursor },
    NotRetained,
    SealedAt(u64),
    Parked { found: bool, flag: Arc<Flag>, cursor: Cursor },
    Done,
}

macro_rules! bound {
    (all) => {
        Bound::None
    };
    ($preemptions:literal) => {
        Bound::Preemptions($preemptions)
    };
}

macro_rules! groups {
    ($($name:literal [$($actor:ident),*] $quick:tt $full:tt sees [$($outcome:literal),*] catches [$($control:literal),*];)*) => {
        /// The models.
        pub static MODELS: &[Model] = &[$(Model {
            name: $name,
            invariants: "I1 I2 I3 I4 I5 I6 I7 I9 I10 I11",
            about: concat!("at once:" $(, " ", stringify!($actor))*),
            threads: 1 + [$($actor),*].len(),
            quick: bound!($quick),
            full: bound!($full),
            outcomes: &[$($outcome),*],
            controls: &[$($control),*],
            body: |seen| meet(seen, &[$($actor),*]),
            ..BASE
        }),*];
    };
}

groups! {
    "pair-append-turn-over" [Append, TurnOver] 1 2 sees ["first first", "second first"] catches ["StaleStart", "ReuseBytes"];
    "pair-append-read" [Append, Read] 2 4 sees ["read more", "read no more"] catches ["CELL_PUBLISH=Relaxed"];
    "pair-append-trim" [Append, Trim] 1 3 sees ["done"] catches ["LeakBlock", "ForgetRetire", "TrimTooFar"];
    "pair-append-attach" [Append, Attach] 1 3 sees ["read more", "read no more"] catches ["CELL_PUBLISH=Relaxed"];
    "pair-append-evict" [Append, Evict] all all sees ["done"] catches ["LeakBlock", "ForgetRetire", "TrimTooFar"];
    "pair-append-seal" [Append, Seal] 2 4 sees ["appended", "fenced"] catches ["StaleFence"];
    "pair-append-park" [Append, Park] 3 all sees ["found it", "woken"] catches ["ForgetWake"];
    "pair-append-drop" [Append, Drop] all all sees ["done"] catches ["KeepSlot"];
    "pair-turn-over-read" [TurnOver, Read] 1 2 sees ["read more", "read no more"] catches ["UncountedReference"];
    "pair-turn-over-trim" [TurnOver, Trim] 1 1 sees ["done"] catches ["ForgetRetire", "RetireTwice", "FreeAtOnce"];
    "pair-turn-over-attach" [TurnOver, Attach] 1 2 sees ["read more", "read no more", "not retained"] catches ["FreeAtOnce"];
    "pair-turn-over-evict" [TurnOver, Evict] all all sees ["done"] catches ["LeakBlock", "ForgetRetire", "TrimTooFar"];
    "pair-turn-over-seal" [TurnOver, Seal] 1 2 sees ["appended", "fenced"] catches ["StaleFence"];
    "pair-turn-over-park" [TurnOver, Park] 1 3 sees ["found it", "woken"] catches ["ForgetWake"];
    "pair-turn-over-drop" [TurnOver, Drop] 1 3 sees ["done"] catches ["LeaveUntrimmed", "HOP_FENCE=AcqRel"];
    "pair-read-trim" [Read, Trim] 1 2 sees ["read no more"] catches ["TrimUnlooked"];
    "pair-read-attach" [Read, Attach] 2 2 sees ["read no more"] catches ["LeakBlock", "ForgetRetire", "TrimTooFar"];
    "pair-read-evict" [Read, Evict] 2 4 sees ["read no more", "evicted"] catches ["LeakBlock", "ForgetRetire", "TrimTooFar"];
    "pair-read-seal" [Read, Seal] 2 4 sees ["read no more"] catches ["LeakBlock", "ForgetRetire", "TrimTooFar"];
    "pair-read-park" [Read, Park] 2 4 sees ["read no more"] catches ["LeakBlock", "ForgetRetire", "TrimTooFar"];
    "pair-read-drop" [Read, Drop] all all sees ["read no more"] catches ["LeakBlock", "ForgetRetire", "TrimTooFar"];
    "pair-trim-attach" [Trim, Attach] 1 2 sees ["read no more", "not retained"] catches ["AttachUnlooked", "FLOOR_LOAD=Relaxed", "FLOOR_RAISE=Relaxed"];
    "pair-trim-evict" [Trim, Evict] all all sees ["done"] catches ["LeakBlock", "ForgetRetire", "TrimTooFar"];
    "pair-trim-seal" [Trim, Seal] 1 3 sees ["done"] catches ["LeakBlock", "ForgetRetire", "TrimTooFar"];
    "pair-trim-park" [Trim, Park] 1 3 sees ["done"] catches ["LeakBlock", "ForgetRetire", "TrimTooFar"];
    "pair-trim-drop" [Trim, Drop] 1 2 sees ["done"] catches ["FreeAtOnce"];
    "pair-attach-evict" [Attach, Evict] 1 3 sees ["read no more", "evicted"] catches ["LeakBlock", "ForgetRetire", "TrimTooFar"];
    "pair-attach-seal" [Attach, Seal] 1 3 sees ["read no more"] catches ["LeakBlock", "ForgetRetire", "TrimTooFar"];
    "pair-attach-park" [Attach, Park] 1 3 sees ["read no more"] catches ["LeakBlock", "ForgetRetire", "TrimTooFar"];
    "pair-attach-drop" [Attach, Drop] all all sees ["read no more"] catches ["LeakBlock", "ForgetRetire", "TrimTooFar"];
    "pair-evict-seal" [Evict, Seal] all all sees ["done"] catches ["LeakBlock", "ForgetRetire", "TrimTooFar"];
    "pair-evict-park" [Evict, Park] 2 4 sees ["evicted", "woken"] catches ["LeakBlock", "ForgetRetire", "TrimTooFar"];
    "pair-evict-drop" [Evict, Drop] all all sees ["done"] catches ["LeakBlock", "ForgetRetire", "TrimTooFar"];
    "pair-seal-park" [Seal, Park] 2 4 sees ["done"] catches ["LeakBlock", "ForgetRetire", "TrimTooFar"];
    "pair-seal-drop" [Seal, Drop] all all sees ["done"] catches ["LeakBlock", "ForgetRetire", "TrimTooFar"];
    "pair-park-drop" [Park, Drop] all all sees ["done"] catches ["LeakBlock", "ForgetRetire", "TrimTooFar"];
    "three-append-append-park" [Append, Append, Park] 1 1 sees ["found it", "woken"] catches ["ForgetWake"];
    "three-append-read-trim" [Append, Read, Trim] 1 1 sees ["read more", "read no more"] catches ["TrimUnlooked"];
    "three-append-seal-read" [Append, Seal, Read] 1 2 sees ["appended", "fenced", "read more"] catches ["StaleFence"];
    "three-append-seal-park" [Append, Seal, Park] 1 1 sees ["appended", "fenced", "woken"] catches ["ForgetWake"];
    "three-append-park-evict" [Append, Park, Evict] 1 2 sees ["found it", "evicted", "woken"] catches ["LeakBlock", "ForgetRetire", "TrimTooFar"];
    "three-turn-over-read-drop" [TurnOver, Read, Drop] 1 2 sees ["read more", "read no more"] catches ["LeaveUntrimmed"];
    "three-trim-read-evict" [Trim, Read, Evict] 1 1 sees ["read no more", "evicted"] catches ["HopUnlooked"];
    "three-turn-over-park-drop" [TurnOver, Park, Drop] 1 2 sees ["found it", "woken"] catches ["ForgetWake"];
    "three-trim-attach-drop" [Trim, Attach, Drop] 1 1 sees ["read no more", "not retained"] catches ["AttachUnlooked"];
    "three-trim-read-drop" [Trim, Read, Drop] 1 1 sees ["read no more"] catches ["TrimUnlooked"];
    "three-evict-read-park" [Evict, Read, Park] 1 2 sees ["read no more", "evicted", "woken"] catches ["LeakBlock", "ForgetRetire", "TrimTooFar"];
    "three-trim-read-attach" [Trim, Read, Attach] 1 1 sees ["read no more", "not retained"] catches ["TrimUnlooked"];
}

fn meet(seen: &'static Seen, actors: &[Actor]) {
    let buffer = small(2).backlog_bytes(BACKLOG).build().expect("valid settings");
    let mut crew = Crew::new();
    let cursors: Vec<_> = actors
        .iter()
        .map(|actor| matches!(actor, Read | Drop).then(|| buffer.attach(0).expect("base")))
        .collect();
    // One writer for all three, and no pool: nobody's block is shared with an actor's.
    let mut writer = buffer.writer();
    for byte in *b"12345" {
        writer.append(&[byte; FRAME as usize]).expect("not fenced");
    }
    drop(writer);
    let gives: Vec<_> = actors
        .iter()
        .zip(cursors)
        .zip(b'A'..)
        .map(|((actor, cursor), byte)| act(&mut crew, *actor, byte, cursor, &buffer))
        .collect();
    if !crew.finish(&buffer) {
        return;
    }
    let came: Vec<_> = gives.into_iter().map(Gives::get).collect();
    settle(seen, actors, came, &buffer);
}

/// Sends an actor off.
fn act(
    crew: &mut Crew,
    actor: Actor,
    byte: u8,
    cursor: Option<Cursor>,
    buffer: &ReplicationBuffer,
) -> Gives<Came> {
    let buffer = buffer.clone();
    match actor {
        Append | TurnOver => {
            let times = if actor == TurnOver { 2 } else { 1 };
            let mut writer = buffer.writer();
            let name = if actor == TurnOver { "turning writer" } else { "writer" };
            crew.spawn(name, move || {
                let mut frames = Vec::new();
                for byte in [byte, byte.to_ascii_lowercase()].into_iter().take(times) {
                    match writer.append(&[byte; FRAME as usize]) {
                        Ok(range) => frames.push((range, byte)),
                        Err(AppendError::Fenced { .. }) => break,
                        Err(error) => panic!("{error}"),
                    }
                }
                if frames.is_empty() { Came::Fenced } else { Came::Appended(frames) }
            })
        }
        Read => {
            let mut cursor = cursor.expect("made for it");
            crew.spawn("reader", move || {
                let (stream, evicted) = look_twice(&mut cursor);
                Came::ReadTo { stream, evicted, cursor }
            })
        }
        Trim => crew.spawn("trimmer", move || {
            buffer.set_backlog_bytes(0);
            Came::Done
        }),
        Attach => crew.spawn("attaching replica", move || match buffer.attach(0) {
            Ok(mut cursor) => {
                let (stream, evicted) = look_twice(&mut cursor);
                Came::ReadTo { stream, evicted, cursor }
            }
            Err(AttachError::OffsetNotRetained { first, end, .. }) => {
                assert!(0 < first && first <= end, "I7: {first} to {end}");
                Came::NotRetained
            }
            Err(error) => panic!("{error}"),
        }),
        Evict => crew.spawn("evictor", move || {
            evict_all(&buffer);
            Came::Done
        }),
        Seal => crew.spawn("sealer", move || Came::SealedAt(buffer.seal(1).expect("nobody else seals"))),
        Park => {
            let mut cursor = buffer.attach(BEFORE).expect("the end");
            crew.spawn("waiting replica", move || {
                let flag = Flag::new();
                let found = poll(&mut cursor, &flag);
                Came::Parked { found, flag, cursor }
            })
        }
        Drop => crew.spawn("leaving replica", move || {
            drop(cursor);
            Came::Done
        }),
    }
}

/// Reads as far as two looks show: all that was there before, for a window has room for two segments.
/// Says also whether the cursor was evicted.
fn look_twice(cursor: &mut Cursor) -> (Vec<u8>, bool) {
    let mut stream = Vec::new();
    let mut evicted = false;
    for _ in 0..2 {
        evicted |= cursor.refresh().is_err();
        stream.extend(drain(cursor));
    }
    (stream, evicted)
}

/// Puts the questions that every group has to answer.
fn settle(seen: &'static Seen, actors: &[Actor], came: Vec<Came>, buffer: &ReplicationBuffer) {
    let has = |actor| actors.contains(&actor);
    // The segment has room for one publication more: two turn it over.
    let publications = actors.iter().filter(|actor| matches!(actor, Append | Seal)).count();
    let may_trim = has(TurnOver) || has(Trim) || publications > 1;
    let whole = acknowledged(seen, &came);
    let end = whole.len() as u64;
    assert_eq!(buffer.end_offset(), end, "I1");
    for came in came {
        match came {
            Came::ReadTo { mut stream, evicted, mut cursor } => {
                assert!(whole.starts_with(&stream), "I3, I5: {stream:?} of {whole:?}");
                assert!(evicted || stream.len() as u64 >= BEFORE, "I2: {stream:?}");
                assert!(!evicted || has(Evict), "I7: nobody evicts");
                seen.note(if stream.len() as u64 > BEFORE { "read more" } else { "read no more" });
                if cursor.refresh().is_ok() {
                    stream.extend(read_visible(&mut cursor));
                    assert_eq!(stream, whole, "I3, I5: a reader comes to the end");
                } else {
                    assert!(has(Evict), "I7: nobody evicts");
                    seen.note("evicted");
                }
            }
            Came::NotRetained => {
                assert!(may_trim, "I7: nobody trims");
                seen.note("not retained");
            }
            Came::Parked { found, flag, mut cursor } => {
                let woken = found || flag.is_set();
                seen.note(if found { "found it" } else { "woken" });
                match cursor.refresh() {
                    Ok(bytes) => assert!(woken || bytes == 0, "I9: {bytes} bytes, and it waits for ever"),
                    Err(_) => {
                        assert!(has(Evict), "I7: nobody evicts");
                        seen.note("evicted");
                    }
                }
            }
            Came::Fenced => seen.note("fenced"),
            Came::Appended(..) => seen.note("appended"),
            Came::SealedAt(_) | Came::Done => {}
        }
    }
    seen.note("done");
    let first = buffer.first_offset();
    let backlog = buffer.backlog_bytes();
    assert!(first <= end.saturating_sub(backlog), "I7: {first} with {backlog} of {end}");
    assert!(first == 0 || may_trim, "I7: nobody trims");
    let mut fresh = buffer.attach(first).expect("I7");
    assert_eq!(read_visible(&mut fresh), whole[first as usize..], "I1, I2, I5");
    drop(fresh);
    // What a cursor kept beyond the backlog went when it left, not at the next append.
    assert_eq!(buffer.stats().retained_bytes, end - first, "I11: {:?}", buffer.stats());
    give_back(buffer);
}

/// The stream as it was acknowledged.
fn acknowledged(seen: &'static Seen, came: &[Came]) -> Vec<u8> {
    let mut frames: Vec<_> = came
        .iter()
        .filter_map(|came| match came {
            Came::Appended(frames) => Some(frames.iter().cloned()),
            _ => None,
        })
        .flatten()
        .collect();
    frames.sort_by_key(|(range, _)| range.start);
    let mut whole: Vec<u8> = b"111222333444555".to_vec();
    for (range, byte) in &frames {
        assert_eq!(*range, whole.len() as u64..whole.len() as u64 + FRAME, "I1, I4");
        whole.extend([*byte; FRAME as usize]);
    }
    if let Some((_, byte)) = frames.first() {
        seen.note(if *byte == b'A' { "first first" } else { "second first" });
    }
    let sealed_at = came.iter().find_map(|came| match came {
        Came::SealedAt(offset) => Some(*offset),
        _ => None,
    });
    if let Some(sealed_at) = sealed_at {
        assert!(frames.iter().all(|(range, _)| range.end <= sealed_at), "I10");
        assert_eq!(sealed_at, whole.len() as u64, "I10: the seal is the last");
    }
    whole
}

/// Nobody reads any more: only the last segment stays.
fn give_back(buffer: &ReplicationBuffer) {
    buffer.set_backlog_bytes(0);
    let stats = buffer.stats();
    assert_eq!(stats.retired, 0, "I6: nothing waits when nobody is pinned: {stats:?}");
    assert!(stats.retained_bytes <= 2 * FRAME, "I11: {stats:?}");
    assert_eq!(stats.segments_live, 1, "I6, I11: {stats:?}");
    assert_eq!(stats.cursors, 0, "I6: {stats:?}");
}
