//! A sound history of two writers, one seal and three readers, and one corruption for each violation.

use super::{Append, History, Look, Read, Seal};
use crate::testing::publication::{Part, Publication};

const BASE: u64 = 10;

fn select(context: u64) -> Part {
    Part::Select { context, bytes: format!("<{context}>").into() }
}

fn copied(text: &'static str) -> Part {
    Part::Copied(text.into())
}

fn append(writer: u64, number: u64, at: u64, len: u64, time: u64, parts: &[Part]) -> Append<u64> {
    let publication = Publication { parts: parts.to_vec() };
    let (range, started, returned) = (at..at + len, time, time + 5);
    Append { writer, number, term: Some(1), range, publication, started, returned }
}

/// `<1>aa bb|<2>cc dd` at 10, a seal behind `bb`, an append without bytes before `cc`.
fn sound() -> History<u64> {
    let mut history = History::new(BASE);
    let both = [select(1), copied("aa"), Part::EndFrame, copied("bb")];
    let late = [select(2), copied("cc"), select(2), copied("dd")];
    history.appends = vec![
        append(2, 7, 20, 0, 12, &[]),
        append(2, 8, 20, 7, 20, &late),
        append(1, 1, 10, 7, 0, &both),
        append(1, 2, 17, 3, 6, &[copied("ee!")]),
    ];
    history.appends[1].term = Some(2);
    history.seals.push(Seal { term: 1, offset: 20, started: 12, returned: 19 });
    let whole = |reader| Read {
        reader,
        from: BASE,
        bytes: b"<1>aabbee!<2>ccdd".to_vec(),
        frames: Some(vec![10..15, 15..17, 17..20, 20..27]),
        to_end: true,
    };
    let piece = Read { reader: 3, from: 14, bytes: b"abbee!<2>".to_vec(), frames: None, to_end: false };
    history.reads = vec![whole(1), whole(2), piece];
    history.looks = [(10, 0, 1), (17, 3, 7), (20, 11, 18), (27, 26, 30)]
        .map(|(end, started, returned)| Look { reader: 1, end, started, returned })
        .to_vec();
    history
}

#[test]
fn a_sound_history_is_sound() {
    assert_eq!(sound().judge(), Ok(()));
    assert_eq!(History::<u64>::new(3).judge(), Ok(()));
}

/// Invariant, what the text has to hold, and how to corrupt.
type Corruption = (&'static str, &'static str, fn(&mut History<u64>));

const CORRUPTIONS: [Corruption; 20] = [
    ("I1", "append 1 of writer 1 (at 10 to 17) should start at 9, where the stream begins", |history| {
        history.base_offset = 9;
    }),
    ("I1", "append 7 of writer 2 (at 20 to 20) should start at 17, where append 1 of writer 1", |history| {
        history.appends.remove(3);
    }),
    ("I2", "saw the log end at 16, within the frame 15 to 17 of append 1", |history| {
        history.looks[1].end = 16;
    }),
    ("I2", "saw the log end at 17, and at 15 later", |history| {
        history.looks[2].end = 15;
    }),
    ("I2", "has it up to 26, but the stream ends at 27", |history| {
        history.reads[0].bytes.pop();
    }),
    ("I3", "at offset 14 reader 1 has byte 0x62 and reader 2 has 0x61", |history| {
        history.reads[0].bytes[4] += 1;
    }),
    ("I3", "reader 3 has 26 to 35, but the stream is 10 to 27", |history| history.reads[2].from = 26),
    ("I3", "reader 1 has 28 to 28", |history| history.looks[3].end = 28),
    ("I3", "was shown a frame from 15 to 20 where a frame from 15 to 17", |history| {
        history.reads[1].frames = Some(vec![10..15, 15..20, 20..27]);
    }),
    ("I3", "was shown no frame where a frame from 20 to 27", |history| {
        history.reads[1].frames.as_mut().map(Vec::pop);
    }),
    ("I4", "program order: append 1 of writer 1", |history| history.appends[3].number = 0),
    ("I4", "real time: append 2 of writer 1 (at 17 to 20) stands before append 7 of writer 2", |history| {
        history.appends[3].started = 26;
        history.appends[3].returned = 27;
    }),
    ("I4", "append 2 of writer 1 (at 17 to 20) had returned, and reader 1, who looked later", |history| {
        history.looks[2] = Look { end: 17, started: 12, returned: 13, reader: 1 };
    }),
    ("I4", "saw the log end at 27 before append 8 of writer 2 (at 20 to 27) was begun", |history| {
        history.looks[2].end = 27;
    }),
    ("I5", "append 8 of writer 2 (at 20 to 27) takes 7 bytes, but 4 were appended", |history| {
        history.appends[1].publication.parts[0] = Part::SetContext(Some(2));
    }),
    (
        "I5",
        "reader 1 has byte 0x62 at offset 14, where append 1 of writer 1 (at 10 to 17) has 0x61",
        |history| {
            history.reads.truncate(1);
            history.reads[0].bytes[4] += 1;
        },
    ),
    ("I10", "append 8 of writer 2 (at 20 to 27), of term 1, stands behind the seal of term 1", |history| {
        history.appends[1].term = Some(1);
    }),
    ("I10", "the seal of term 1 (at 19) stands within append 2", |history| history.seals[0].offset = 19),
    ("I10", "real time: append 2 of writer 1 (at 17 to 20) stands behind the seal of term 1", |history| {
        history.seals[0].offset = 17;
    }),
    ("I10", "the seal of term 1 (at 27) does not stand behind the seal of term 1 (at 20)", |history| {
        history.seals.push(Seal { term: 1, offset: 27, started: 40, returned: 41 });
    }),
];

#[test]
fn every_violation_is_found_and_told_with_both_sides() {
    for (invariant, text, corrupt) in CORRUPTIONS {
        let mut history = sound();
        corrupt(&mut history);
        let violation = history.judge().expect_err(text);
        assert_eq!(violation.invariant(), invariant, "{violation}");
        let told = violation.to_string();
        assert!(told.starts_with(invariant) && told.contains(text), "{told}\nshould say {text}");
    }
}

#[test]
fn a_seal_that_comes_too_late_is_found() {
    let mut history = sound();
    history.appends[1].term = None;
    history.seals[0].offset = 27;
    let violation = history.judge().unwrap_err();
    assert!(violation.to_string().contains("was begun when that had returned"), "{violation}");
}
