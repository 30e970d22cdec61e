//! Every two operations that can meet on a buffer, and the threes that matter.
//!
//! Nine small actors share one buffer of segments of two cells that holds three frames, or five if somebody trims what
//! another reads: then more than one segment can go. Each says what it came to; when all have finished, the same questions are put to every group of them: is
//! the stream what was acknowledged, without a gap (I1, I4)? Is what each reader read a piece of it
//! (I3, I5)? Is as much attachable as the backlog says (I7)? Was everyone who waits woken (I9)? Does
//! no frame of a sealed term follow the seal (I10)? Once nobody reads any more, is everything given
//! back but the last segment (I6, I11)?

use std::ops::Range;
use std::sync::Arc;

use replcore::buffer::model::evict_all;
use replcore::buffer::{AppendError, AttachError, Cursor, ReplicationBuffer, Writer};

use super::wake::{Flag, poll};
use super::{drain, read_visible, small};
use crate::check::{Crew, Gives};
use crate::model::{BASE, Bound, Model, Seen};

use Actor::{Append, Attach, Drop, Evict, Park, Read, Seal, Trim, TurnOver};

/// Bytes of a frame.
const FRAME: u64 = 3;

/// Frames in the buffer before the actors start. The last segment has one, and room for one more.
fn frames_before(actors: &[Actor]) -> u64 {
    let reads = actors.iter().any(|actor| matches!(actor, Read | Attach));
    let trims = actors.iter().any(|actor| matches!(actor, TurnOver | Trim));
    if reads && trims || turns_over_what_is_left(actors) { 5 } else { 3 }
}

/// One of these groups runs on the real collector too, where it is known to come to its end with three segments and a
/// writer that looks for the end first.
fn turns_over_what_is_left(actors: &[Actor]) -> bool {
    actors.contains(&TurnOver) && actors.contains(&Drop)
}

/// Writers that are kept for others. Where nobody appends, a sealer goes on with the one of what was there before.
fn idle_writers(actors: &[Actor]) -> usize {
    let appends = actors.iter().any(|actor| matches!(actor, Append | TurnOver));
    usize::from(actors.contains(&Seal) && !appends)
}

/// Bytes that stay attachable, unless [`Trim`] changes that: a turn-over trims the first segment.
fn backlog_before(frames: u64) -> u64 {
    (frames - 1) * FRAME
}

/// Somebody who does one thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Actor {
    /// Appends a frame for which the segment has room.
    Append,
    /// Appends two, and so links a segment, trims and retires.
    TurnOver,
    /// Reads, with a cursor that pins all there is.
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
    "pair-append-read" [Append, Read] all all sees ["read more", "read no more"] catches ["CELL_PUBLISH=Relaxed"];
    "pair-append-trim" [Append, Trim] all all sees ["done"] catches ["LeakBlock", "ForgetRetire", "TrimTooFar"];
    "pair-append-attach" [Append, Attach] all all sees ["read more", "read no more"] catches ["CELL_PUBLISH=Relaxed"];
    "pair-append-evict" [Append, Evict] all all sees ["done"] catches ["LeakBlock", "ForgetRetire", "TrimTooFar"];
    "pair-append-seal" [Append, Seal] 2 4 sees ["appended", "fenced"] catches ["StaleFence"];
    "pair-append-park" [Append, Park] all all sees ["found it", "woken"] catches ["ForgetWake"];
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
    "pair-read-evict" [Read, Evict] all all sees ["read no more", "evicted"] catches ["LeakBlock", "ForgetRetire", "TrimTooFar"];
    "pair-read-seal" [Read, Seal] all all sees ["read no more"] catches ["LeakBlock", "ForgetRetire", "TrimTooFar"];
    "pair-read-park" [Read, Park] all all sees ["read no more"] catches ["LeakBlock", "ForgetRetire", "TrimTooFar"];
    "pair-read-drop" [Read, Drop] all all sees ["read no more"] catches ["LeakBlock", "ForgetRetire", "TrimTooFar"];
    "pair-trim-attach" [Trim, Attach] 1 2 sees ["read no more", "not retained"] catches ["AttachUnlooked", "FLOOR_LOAD=Relaxed", "FLOOR_RAISE=Relaxed"];
    "pair-trim-evict" [Trim, Evict] all all sees ["done"] catches ["LeakBlock", "ForgetRetire", "TrimTooFar"];
    "pair-trim-seal" [Trim, Seal] all all sees ["done"] catches ["LeakBlock", "ForgetRetire", "TrimTooFar"];
    "pair-trim-park" [Trim, Park] 1 3 sees ["done"] catches ["LeakBlock", "ForgetRetire", "TrimTooFar"];
    "pair-trim-drop" [Trim, Drop] 1 2 sees ["done"] catches ["FreeAtOnce"];
    "pair-attach-evict" [Attach, Evict] 1 3 sees ["read no more", "evicted"] catches ["LeakBlock", "ForgetRetire", "TrimTooFar"];
    "pair-attach-seal" [Attach, Seal] all all sees ["read no more"] catches ["LeakBlock", "ForgetRetire", "TrimTooFar"];
    "pair-attach-park" [Attach, Park] 1 3 sees ["read no more"] catches ["LeakBlock", "ForgetRetire", "TrimTooFar"];
    "pair-attach-drop" [Attach, Drop] all all sees ["read no more"] catches ["LeakBlock", "ForgetRetire", "TrimTooFar"];
    "pair-evict-seal" [Evict, Seal] all all sees ["done"] catches ["LeakBlock", "ForgetRetire", "TrimTooFar"];
    "pair-evict-park" [Evict, Park] 2 4 sees ["evicted", "woken"] catches ["LeakBlock", "ForgetRetire", "TrimTooFar"];
    "pair-evict-drop" [Evict, Drop] all all sees ["done"] catches ["LeakBlock", "ForgetRetire", "TrimTooFar"];
    "pair-seal-park" [Seal, Park] all all sees ["done"] catches ["LeakBlock", "ForgetRetire", "TrimTooFar"];
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
    let frames = frames_before(actors);
    let settings = small(2).backlog_bytes(backlog_before(frames)).pooled_writers(idle_writers(actors));
    let buffer = settings.build().expect("valid settings");
    let mut crew = Crew::new();
    let cursors: Vec<_> = actors
        .iter()
        .map(|actor| matches!(actor, Read | Drop).then(|| buffer.attach(0).expect("base")))
        .collect();
    // The first actor that appends goes on with the writer of these, which stands at the end.
    let mut writer = buffer.writer();
    let before: Vec<u8> = (b'1'..).take(frames as usize).flat_map(|byte| [byte; FRAME as usize]).collect();
    for frame in before.chunks(FRAME as usize) {
        writer.append(frame).expect("not fenced");
    }
    let standing = Some(writer).filter(|_| !turns_over_what_is_left(actors));
    let mut setting = Setting { buffer, before, standing };
    let gives: Vec<_> = actors
        .iter()
        .zip(cursors)
        .zip(b'A'..)
        .map(|((actor, cursor), byte)| setting.act(&mut crew, *actor, byte, cursor))
        .collect();
    setting.standing = None;
    if !crew.finish(&setting.buffer) {
        return;
    }
    let came: Vec<_> = gives.into_iter().map(Gives::get).collect();
    setting.settle(seen, actors, came);
}

/// What the actors share.
struct Setting {
    buffer: ReplicationBuffer,
    /// The stream before they start.
    before: Vec<u8>,
    /// A writer that stands at its end.
    standing: Option<Writer>,
}

impl Setting {
    /// Sends an actor off.
    fn act(&mut self, crew: &mut Crew, actor: Actor, byte: u8, cursor: Option<Cursor>) -> Gives<Came> {
        let buffer = self.buffer.clone();
        let looks = self.looks();
        match actor {
            Append | TurnOver => {
                let writer = self.standing.take().unwrap_or_else(|| buffer.writer());
                if actor == TurnOver {
                    crew.spawn("turning writer", move || append(writer, &[byte, byte.to_ascii_lowercase()]))
                } else {
                    crew.spawn("writer", move || append(writer, &[byte]))
                }
            }
            Read => {
                let mut cursor = cursor.expect("made for it");
                if looks == 1 {
                    // Nobody trims: what was there before is seen, and the race is about what comes.
                    cursor.refresh().expect("not evicted");
                }
                crew.spawn("reader", move || look(cursor, looks))
            }
            Trim => crew.spawn("trimmer", move || {
                buffer.set_backlog_bytes(0);
                Came::Done
            }),
            Attach => crew.spawn("attaching replica", move || match buffer.attach(0) {
                Ok(cursor) => look(cursor, looks),
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
                let mut cursor = buffer.attach(self.before.len() as u64).expect("the end");
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

    /// After so many looks a reader has seen all that was there before: a window has room for two segments.
    fn looks(&self) -> usize {
        (self.before.len() / FRAME as usize).div_ceil(4)
    }

    /// Puts the questions that every group has to answer.
    fn settle(&self, seen: &'static Seen, actors: &[Actor], came: Vec<Came>) {
        let buffer = &self.buffer;
        let has = |actor| actors.contains(&actor);
        // The segment has room for one publication more: two turn it over.
        let publications = actors.iter().filter(|actor| matches!(actor, Append | Seal)).count();
        let may_trim = has(TurnOver) || has(Trim) || publications > 1;
        let whole = self.acknowledged(seen, &came);
        let end = whole.len() as u64;
        assert_eq!(buffer.end_offset(), end, "I1");
        for came in came {
            match came {
                Came::ReadTo { stream, evicted, cursor } => {
                    assert!(!evicted || has(Evict), "I7: nobody evicts");
                    self.read(seen, &whole, stream, evicted, cursor, has(Evict));
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
        give_back(buffer, idle_writers(actors));
    }

    /// What a reader read is a piece of the stream, and what is left is the rest of it.
    fn read(
        &self,
        seen: &'static Seen,
        whole: &[u8],
        mut stream: Vec<u8>,
        evicted: bool,
        mut cursor: Cursor,
        may_evict: bool,
    ) {
        let before = self.before.len();
        assert!(whole.starts_with(&stream), "I3, I5: {stream:?} of {whole:?}");
        assert!(evicted || stream.len() >= before, "I2: {stream:?}");
        seen.note(if stream.len() > before { "read more" } else { "read no more" });
        if cursor.refresh().is_ok() {
            stream.extend(read_visible(&mut cursor));
            assert_eq!(stream, whole, "I3, I5: a reader comes to the end");
        } else {
            assert!(may_evict, "I7: nobody evicts");
            seen.note("evicted");
        }
    }

    /// The stream as it was acknowledged.
    fn acknowledged(&self, seen: &'static Seen, came: &[Came]) -> Vec<u8> {
        let mut frames: Vec<_> = came
            .iter()
            .filter_map(|came| match came {
                Came::Appended(frames) => Some(frames.iter().cloned()),
                _ => None,
            })
            .flatten()
            .collect();
        frames.sort_by_key(|(range, _)| range.start);
        let mut whole = self.before.clone();
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
}

/// Appends a frame of each byte.
fn append(mut writer: Writer, bytes: &[u8]) -> Came {
    let mut frames = Vec::new();
    for byte in bytes {
        match writer.append(&[*byte; FRAME as usize]) {
            Ok(range) => frames.push((range, *byte)),
            Err(AppendError::Fenced { .. }) => break,
            Err(error) => panic!("{error}"),
        }
    }
    if frames.is_empty() { Came::Fenced } else { Came::Appended(frames) }
}

/// Reads what so many looks show. Says also whether the cursor was evicted.
fn look(mut cursor: Cursor, looks: usize) -> Came {
    let (mut stream, mut evicted) = (Vec::new(), false);
    for _ in 0..looks {
        evicted |= cursor.refresh().is_err();
        stream.extend(drain(&mut cursor));
    }
    Came::ReadTo { stream, evicted, cursor }
}

/// Nobody reads any more: only the last segment stays, and the cells of that in which a writer idles.
fn give_back(buffer: &ReplicationBuffer, idle_writers: usize) {
    buffer.set_backlog_bytes(0);
    let stats = buffer.stats();
    assert_eq!(stats.retired, 0, "I6: nothing waits when nobody is pinned: {stats:?}");
    assert!(stats.retained_bytes <= 2 * FRAME, "I11: {stats:?}");
    assert!((1..=1 + idle_writers as u64).contains(&stats.segments_live), "I6, I11: {stats:?}");
    assert_eq!(stats.cursors, 0, "I6: {stats:?}");
}
