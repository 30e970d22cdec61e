//! Snapshots, from a source that hands them out in pieces.
//!
//! * **Cutting.** Events, errors and positions are the same however the source is cut, and whether it is
//!   pulled or pushed; a source that is interrupted is asked again.
//! * **One structure.** What skipping passes is what is handed over raw, and is what typed reading takes:
//!   every event ends at the same byte in each of the ways, a raw value decodes to the typed one, and where
//!   structure alone fails, so does the typed reader, there or before. What no value holds is refused by
//!   name, or taken as it is.
//! * **Place.** The position is the number of bytes taken: never beyond the input, behind a snapshot exactly
//!   at its end. A snapshot cut short ends in [`ReadError::Truncated`] at the cut.
//! * **Inverse.** What is loaded can be written, and read back as the same. What is written, in every
//!   encoding of [`encode`](super::encode), is read as what it means.
//! * **Damage.** A flipped bit in a snapshot with a checksum is an error.
//! * **Limits.** No string and no collection exceeds its limit; memory is bounded by what arrived.

use std::io::{self, BufRead, BufReader, ErrorKind, Read};

use arbitrary::{Result, Unstructured};
use bytes::Bytes;
use replcore::rdb::{
    Decoder, Entry, Event, Fault, Handling, Limits, Options, RawValue, ReadError, Reader, SnapshotFormat,
    Value, WriteError, Writer,
};

use super::damage::edits;
use super::input::Steering;
use super::memory::bounded;
use super::snapshot::{CRC, File};

/// Memory that reading may hold: in all, and for each byte of the input. A byte of LZF stands for up to 88
/// bytes, of which a compact collection makes 44 elements, each a slice, its text and the room that vectors
/// grow by.
pub(super) const READER_BYTES: u64 = 512 << 10;
pub(super) const READER_FACTOR: u64 = 12 << 10;

/// An integer is stored as one and has no length to be limited; this is its longest text.
const INTEGER_TEXT_BYTES: u64 = 20;

/// The target.
pub fn rdb(data: &[u8]) {
    let Some((steering, bytes)) = Steering::split(data) else { return };
    let limits = limits(steering.limits);
    match steering.form % 3 {
        0 => {
            check(bytes, limits, steering);
        }
        // Choices run out before they fail.
        1 => drop(written(&mut Unstructured::new(bytes), limits, steering)),
        _ => drop(damaged(&mut Unstructured::new(bytes), limits, steering)),
    }
}

pub(super) fn limits(choice: u8) -> Limits {
    match choice & 3 {
        0 | 1 => Limits::default(),
        2 => Limits { max_string_bytes: 40, max_elements: 3, max_raw_bytes: 100 },
        _ => Limits { max_string_bytes: 300, max_elements: u64::from(choice >> 2), ..Limits::default() },
    }
}

/// Values decoded, what no value holds raw: nothing is lost.
fn whole(limits: Limits) -> Options {
    Options { limits, values: Handling::Decode, others: Handling::Raw }
}

/// What reading came to.
#[derive(Debug)]
struct Loaded {
    events: Vec<Event>,
    /// Where each ended.
    ends: Vec<u64>,
    error: Option<ReadError>,
    /// Bytes taken from the source; nothing if the magic was refused.
    position: Option<u64>,
}

/// Reads `bytes` from `source`, and checks what can be checked on the way.
fn read(bytes: &[u8], source: impl BufRead, options: Options) -> Loaded {
    let mut loaded = Loaded { events: Vec::new(), ends: Vec::new(), error: None, position: None };
    let mut reader = match Reader::new(source, options) {
        Ok(reader) => reader,
        Err(error) => return Loaded { error: Some(error), ..loaded },
    };
    let mut before = 0;
    loop {
        let next = reader.next_event();
        let position = reader.position();
        assert!(before <= position && position <= bytes.len() as u64, "{before} {position}");
        before = position;
        loaded.position = Some(position);
        match next {
            Ok(Some(event)) => {
                loaded.events.push(event);
                loaded.ends.push(position);
            }
            Ok(None) => panic!("an event is missing: nothing ends without Event::End"),
            Err(error) => {
                assert!(position_of(&error).is_none_or(|at| at == position), "{error}");
                let again = reader.next_event();
                assert!(matches!(again, Err(ReadError::AlreadyFailed { position: at }) if at == position));
                loaded.error = Some(error);
                return loaded;
            }
        }
        if matches!(loaded.events.last(), Some(Event::End { .. })) {
            assert!(matches!(reader.next_event(), Ok(None)));
            assert_eq!(reader.position(), position);
            let mut rest = Vec::new();
            reader.into_inner().read_to_end(&mut rest).expect("the source does not fail");
            assert_eq!(rest, bytes[position as usize..], "what stands behind a snapshot stays");
            return loaded;
        }
    }
}

/// Where reading stopped, as an error says.
pub(super) fn position_of(error: &ReadError) -> Option<u64> {
    match error {
        ReadError::Io { position, .. }
        | ReadError::Truncated { position }
        | ReadError::UnsupportedType { position, .. }
        | ReadError::UnsupportedOpcode { position, .. }
        | ReadError::Malformed { position, .. }
        | ReadError::LimitExceeded { position, .. }
        | ReadError::AlreadyFailed { position } => Some(*position),
        ReadError::NotRdb { .. }
        | ReadError::UnsupportedVersion { .. }
        | ReadError::ChecksumMismatch { .. } => None,
        error => panic!("a new error: {error}"),
    }
}

/// A source that hands out pieces, and is interrupted between them.
struct Pieces<'b, L> {
    rest: &'b [u8],
    lengths: L,
    interrupted: bool,
}

impl<L: Iterator<Item = usize>> Read for Pieces<'_, L> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.interrupted = !self.interrupted;
        if self.interrupted {
            return Err(ErrorKind::Interrupted.into());
        }
        let most = self.lengths.next().unwrap_or(usize::MAX).min(buffer.len());
        self.rest.read(&mut buffer[..most])
    }
}

/// Checks one file; returns what it holds.
fn check(bytes: &[u8], limits: Limits, steering: Steering) -> Loaded {
    let options = whole(limits);
    let loaded = bounded(bytes.len(), READER_BYTES, READER_FACTOR, || read(bytes, bytes, options));
    let pieces = Pieces { rest: bytes, lengths: steering.cuts.lengths(), interrupted: false };
    let cut = read(bytes, BufReader::with_capacity(1 + usize::from(steering.limits), pieces), options);
    assert_same(&cut, &loaded, "the source is cut");
    check_pushed(bytes, options, steering, &loaded);
    check_ways(bytes, limits, steering, &loaded);
    if let Some(ReadError::LimitExceeded { claimed, limit, .. }) = loaded.error {
        let Limits { max_string_bytes, max_elements, max_raw_bytes, .. } = limits;
        assert!(claimed > limit && [max_string_bytes, max_elements, max_raw_bytes].contains(&limit));
    }
    loaded.events.iter().for_each(|event| check_limits(event, &limits));
    if let Some(Event::End { checked }) = loaded.events.last() {
        let end = loaded.position.unwrap_or_default() as usize;
        truncate(&bytes[..end], &loaded.events, limits, usize::from(steering.at) % end);
        if *checked {
            flip(&bytes[..end], limits, usize::from(steering.at));
        }
        rewrite(&loaded.events, steering);
    }
    loaded
}

fn assert_same_end(one: &Loaded, other: &Loaded) {
    assert_eq!(one.ends, other.ends);
    assert_eq!(format!("{:?}", one.error), format!("{:?}", other.error));
}

fn assert_same(one: &Loaded, other: &Loaded, why: &str) {
    assert_eq!(one.events, other.events, "the events are others if {why}");
    assert_eq!(one.ends, other.ends, "{why}");
    assert_eq!(format!("{:?}", one.error), format!("{:?}", other.error), "the error is another one if {why}");
}

/// A decoder that is fed pieces finds what a reader finds.
fn check_pushed(bytes: &[u8], options: Options, steering: Steering, expected: &Loaded) {
    let mut pushed = Loaded { events: Vec::new(), ends: Vec::new(), error: None, position: None };
    let mut decoder = Decoder::new(options);
    let mut push = |pushed: &mut Loaded| {
        for piece in steering.cuts.pieces(bytes) {
            decoder.feed(piece);
            while let Some(event) = decoder.next_event()? {
                pushed.events.push(event);
                pushed.ends.push(decoder.position());
            }
        }
        std::mem::replace(&mut decoder, Decoder::new(options)).finish()
    };
    match push(&mut pushed) {
        Ok(rest) => {
            let end = expected.position.unwrap_or_default() as usize;
            assert_eq!(rest, bytes[end..], "what stands behind a snapshot stays");
        }
        Err(error) => pushed.error = Some(error),
    }
    assert_same(&pushed, expected, "pieces are pushed");
}

/// Reads by structure alone, and compares with `typed`, what was found by decoding.
fn check_ways(bytes: &[u8], limits: Limits, steering: Steering, typed: &Loaded) {
    let with = |handling| Options { limits, values: handling, others: handling };
    let unbounded = Limits { max_raw_bytes: u64::MAX, ..limits };
    let skipped = read(bytes, bytes, with(Handling::Skip));
    let raw = read(bytes, bytes, Options { limits: unbounded, ..with(Handling::Raw) });
    assert!(skipped.ends.starts_with(&raw.ends), "what is skipped is what is raw");
    // The source of a library is unpacked, unless it is skipped.
    if !matches!(raw.error, Some(ReadError::Malformed { fault: Fault::Lzf, .. })) {
        assert_same_end(&raw, &skipped);
    }
    check_pushed(bytes, with(Handling::Skip), steering, &skipped);
    check_pushed(bytes, with(Handling::Raw), steering, &read(bytes, bytes, with(Handling::Raw)));
    assert!(raw.ends.starts_with(&typed.ends), "{:?} {:?}", raw.ends, typed.ends);
    for (typed, raw) in typed.events.iter().zip(&raw.events) {
        match (typed, raw) {
            (Event::Entry(typed), Event::Raw(raw)) => {
                assert_eq!(raw.value.decode(limits).expect("it was decoded"), typed.value);
                check_payload(&raw.value);
            }
            _ => assert_eq!(typed, raw),
        }
    }
    if typed.error.is_none() {
        assert!(raw.error.is_none(), "{:?}", raw.error);
    } else if raw.error.is_some() {
        assert!(typed.position <= raw.position, "{:?} {:?}", typed.error, raw.error);
    }
    check_refusal(bytes, limits, typed);
}

/// A payload of a raw value holds it, whatever version it claims that is taken.
fn check_payload(value: &RawValue) {
    let again = RawValue::parse(value.body(), value.version(), Limits::default()).expect("a value is one");
    assert_eq!(again, *value);
    if let Ok(of_payload) = RawValue::from_payload(&value.payload(), Limits::default()) {
        assert_eq!(of_payload.body(), value.body());
    }
}

/// Who asks for values alone finds all up to the first that is none, and is told its key.
fn check_refusal(bytes: &[u8], limits: Limits, typed: &Loaded) {
    let refusing = read(bytes, bytes, Options::from(limits));
    let first = typed.events.iter().position(|event| matches!(event, Event::Raw(_)));
    let Some(first) = first else { return };
    let Event::Raw(entry) = &typed.events[first] else { return };
    assert_eq!(refusing.ends, typed.ends[..first]);
    match refusing.error {
        Some(ReadError::UnsupportedType { value_type, key, .. }) => {
            assert_eq!((value_type, key.as_ref()), (entry.value.value_type(), Some(&entry.key)));
        }
        error => panic!("a stream is no value: {error:?}"),
    }
}

fn check_limits(event: &Event, limits: &Limits) {
    match event {
        Event::Aux { key, value } => [key, value].into_iter().for_each(|text| check_text(text, limits)),
        Event::Function(text) => check_text(text, limits),
        Event::Entry(entry) => {
            check_text(&entry.key, limits);
            check_value(&entry.value, limits);
        }
        Event::Raw(entry) => {
            check_text(&entry.key, limits);
            assert!(entry.value.body().len() as u64 <= limits.max_raw_bytes);
        }
        _ => {}
    }
}

fn check_text(text: &Bytes, limits: &Limits) {
    assert!(text.len() as u64 <= limits.max_string_bytes.max(INTEGER_TEXT_BYTES), "{} bytes", text.len());
}

/// Checks that a value keeps to the limits it was read under, and to what every server can hold.
pub(super) fn check_value(value: &Value, limits: &Limits) {
    let count = match value {
        Value::String(text) => {
            check_text(text, limits);
            return;
        }
        Value::List(items) | Value::Set(items) => {
            items.iter().for_each(|item| check_text(item, limits));
            items.len()
        }
        Value::SortedSet(members) => {
            for (member, score) in members {
                check_text(member, limits);
                assert!(!score.is_nan());
            }
            members.len()
        }
        Value::Hash(fields) => {
            for field in fields {
                check_text(&field.field, limits);
                check_text(&field.value, limits);
                assert!(field.deadline_ms.is_none_or(|deadline| i64::try_from(deadline).is_ok()));
            }
            fields.len()
        }
    };
    assert!(count as u64 <= limits.max_elements, "{count} elements, the limit is {}", limits.max_elements);
}

/// A snapshot that ends at `end`, before its own end.
fn truncate(bytes: &[u8], events: &[Event], limits: Limits, end: usize) {
    let part = &bytes[..end];
    let loaded = read(part, part, whole(limits));
    assert!(
        matches!(loaded.error, Some(ReadError::Truncated { position }) if position == end as u64),
        "cut at {end}: {:?}",
        loaded.error
    );
    assert!(events.starts_with(&loaded.events));
}

/// A snapshot of which one bit is another one. Where it still loads, the bit was one of those that say
/// whether there is a checksum: the version, or an end that came too early with zeros behind it.
fn flip(bytes: &[u8], limits: Limits, bit: usize) {
    let mut bytes = bytes.to_vec();
    let at = bit / 8 % bytes.len();
    bytes[at] ^= 1 << (bit % 8);
    let loaded = read(&bytes, &bytes[..], whole(limits));
    assert!(
        loaded.error.is_some() || matches!(loaded.events.last(), Some(Event::End { checked: false })),
        "bit {} of byte {at} went unnoticed",
        bit % 8
    );
}

/// Writes what was read, and reads it again.
fn rewrite(events: &[Event], steering: Steering) {
    let has_deadlines = |event: &Event| matches!(event, Event::Entry(e) if e.value.has_field_deadlines());
    let valkey = steering.limits & 0x40 != 0 || events.iter().any(has_deadlines);
    let format = if valkey { SnapshotFormat::Valkey80 } else { SnapshotFormat::Redis10 };
    let mut writer = Writer::new(format);
    let (mut file, mut expected) = (Vec::new(), Vec::new());
    let mut lengths = steering.cuts.lengths();
    for event in events {
        let written = match event {
            Event::Aux { key, value } => writer.aux(key, value),
            Event::SelectDb(db) => writer.select_db(*db),
            Event::ResizeDb { keys, keys_with_deadline } => writer.resize_db(*keys, *keys_with_deadline),
            Event::Entry(entry) => writer.entry(&entry.key, entry.deadline_ms, &entry.value),
            Event::Raw(entry) => writer.raw(&entry.key, entry.deadline_ms, &entry.value),
            // The writer has no words for these.
            _ => continue,
        };
        match (event, written) {
            (Event::Entry(entry), Err(WriteError::EmptyCollection)) => assert!(is_empty(&entry.value)),
            (Event::Entry(entry), Ok(())) => {
                assert!(!is_empty(&entry.value));
                expected.push(Event::Entry(Entry { idle_s: None, frequency: None, ..entry.clone() }));
            }
            (Event::Raw(entry), Err(WriteError::TypeUnsupported { value_type })) => {
                assert!(!valkey && value_type == entry.value.value_type() && value_type.0 == 21);
            }
            (Event::Raw(entry), Ok(())) => {
                let value = RawValue::parse(entry.value.body(), format.into(), Limits::default());
                let value = value.expect("what is written is known there");
                let entry = Entry { idle_s: None, frequency: None, value, ..entry.clone() };
                expected.push(Event::Raw(entry));
            }
            (event, written) => {
                written.expect("what was read can be written");
                expected.push(event.clone());
            }
        }
        if lengths.next().unwrap_or(usize::MAX) < writer.buffered_bytes() {
            file.extend_from_slice(&writer.take());
        }
    }
    file.extend_from_slice(&writer.finish().expect("every collection is whole"));
    expected.push(Event::End { checked: true });
    let again = read(&file, &file[..], whole(Limits::default()));
    assert!(again.error.is_none(), "{:?}", again.error);
    assert_eq!(again.events, expected, "what was written is read back");
    assert_eq!(again.position, Some(file.len() as u64));
}

/// Whether it is a collection of nothing, which no key holds.
pub(super) fn is_empty(value: &Value) -> bool {
    match value {
        Value::String(_) => false,
        Value::List(items) | Value::Set(items) => items.is_empty(),
        Value::SortedSet(members) => members.is_empty(),
        Value::Hash(fields) => fields.is_empty(),
    }
}

fn written(u: &mut Unstructured<'_>, limits: Limits, steering: Steering) -> Result<()> {
    let File { mut bytes, events, is_wrong } = File::choose(u)?;
    let end = bytes.len() as u64;
    bytes.extend_from_slice(&[0xFF; 3][..usize::from(steering.form >> 6)]);
    let loaded = check(&bytes, limits, steering);
    match loaded.error {
        None => {
            assert!(!is_wrong);
            assert_eq!(loaded.events, events);
            assert_eq!(loaded.position, Some(end));
        }
        Some(ReadError::ChecksumMismatch { .. }) => {
            assert!(is_wrong);
            assert_eq!(loaded.events, events[..events.len() - 1]);
        }
        Some(ReadError::LimitExceeded { .. }) => {
            assert_ne!(limits, Limits::default());
            assert!(events.starts_with(&loaded.events));
        }
        Some(error) => panic!("a snapshot is refused: {error}"),
    }
    Ok(())
}

/// A file that is written, then damaged, and sealed again so that the damage is read.
fn damaged(u: &mut Unstructured<'_>, limits: Limits, steering: Steering) -> Result<()> {
    let edits = edits(u)?;
    let mut bytes = File::choose(u)?.bytes;
    edits.iter().for_each(|edit| edit.apply(&mut bytes));
    if steering.form >= 128
        && let Some(end) = bytes.len().checked_sub(8)
    {
        let sum = CRC.checksum(&bytes[..end]);
        bytes[end..].copy_from_slice(&sum.to_le_bytes());
    }
    check(&bytes, limits, steering);
    Ok(())
}
