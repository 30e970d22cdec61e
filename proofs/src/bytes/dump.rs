//! Payloads: what `DUMP` answers and `RESTORE` takes.
//!
//! * **Footer.** A payload is read exactly if its version is one that is taken and its checksum is right: no
//!   flipped bit, no missing and no added byte goes unnoticed.
//! * **One answer.** The value in a payload is what the snapshot's reader makes of the same bytes, errors
//!   included.
//! * **Inverse.** What is read can be written, and read back as the same; what is written, in every encoding
//!   of [`encode`](super::encode), is read as what it means.
//! * **Portable.** A payload that says so is the value and nothing else, in a form that every server takes.
//! * **Limits.** As for snapshots.

use arbitrary::{Result, Unstructured};
use bytes::{BufMut as _, Bytes};
use replcore::rdb::{
    Event, Kind, Limits, Payload, PayloadError, PayloadWriter, RawValue, ReadError, Reader, Value,
    WriteError, payload_has_field_deadlines, read_payload,
};

use super::damage::edits;
use super::encode;
use super::input::Steering;
use super::memory::bounded;
use super::rdb::{READER_BYTES, READER_FACTOR, check_value, is_empty, limits, position_of};
use super::snapshot::CRC;

const FOOTER_BYTES: usize = 10;
/// Type numbers lie below: a snapshot's reader takes what lies above for an opcode.
const FIRST_OPCODE: u8 = 240;

/// The target.
pub fn dump(data: &[u8]) {
    let Some((steering, bytes)) = Steering::split(data) else { return };
    let limits = limits(steering.limits);
    // Every version that is known, and some that are not.
    let version = [10, 10, 80, 11, 9, 1, 0, 12, 79, 81][usize::from(steering.limits >> 2) % 10];
    match steering.form % 4 {
        0 => check_sealed(bytes, version, limits, steering),
        1 => drop(check(bytes, limits)),
        // Choices run out before they fail.
        2 => drop(written(&mut Unstructured::new(bytes), version, limits, steering)),
        _ => drop(damaged(&mut Unstructured::new(bytes), version, limits, steering)),
    }
}

fn sealed(body: &[u8], version: u16) -> Vec<u8> {
    let mut payload = body.to_vec();
    payload.put_u16_le(version);
    let sum = CRC.checksum(&payload);
    payload.put_u64_le(sum);
    payload
}

fn is_known(version: u16) -> bool {
    matches!(version, 1..=11 | 80)
}

/// Reads a payload; it is refused for its footer if the footer is wrong, and only then.
fn check(payload: &[u8], limits: Limits) -> std::result::Result<Payload, PayloadError> {
    let read = bounded(payload.len(), READER_BYTES, READER_FACTOR, || read_payload(payload, limits));
    let body_len = payload.len().checked_sub(FOOTER_BYTES);
    let is_whole = body_len.is_some_and(|body_len| {
        let version = u16::from_le_bytes([payload[body_len], payload[body_len + 1]]);
        is_known(version) && CRC.checksum(&payload[..body_len + 2]).to_le_bytes() == payload[body_len + 2..]
    });
    assert_eq!(matches!(read, Err(PayloadError::Footer)), !is_whole, "{read:?}");
    if let Err(PayloadError::Value(error)) = &read {
        assert!(position_of(error).is_some_and(|at| at <= body_len.unwrap_or(0) as u64), "{error}");
    }
    read
}

fn check_sealed(body: &[u8], version: u16, limits: Limits, steering: Steering) {
    let payload = sealed(body, version);
    let read = check(&payload, limits);
    let bit = usize::from(steering.at) % (8 * payload.len());
    let mut damaged = payload.clone();
    damaged[bit / 8] ^= 1 << (bit % 8);
    assert!(check(&damaged, limits).is_err(), "bit {bit} went unnoticed");
    // What is missing is noticed, unless the bytes happened to be a payload before they became one.
    let _ = check(&payload[..bit / 8], limits);
    if !is_known(version) {
        return;
    }
    if body.first().is_some_and(|first| *first < FIRST_OPCODE) {
        agree_with_reader(body, &read, limits);
    }
    let Ok(Payload { value, is_portable }) = read else { return };
    check_value(&value, &limits);
    let longer = check(&sealed(&[body, &[0]].concat(), version), limits).expect("what is behind is ignored");
    assert_eq!(longer.value, value);
    assert!(!longer.is_portable, "every server would have to ignore what is behind");
    if is_portable {
        let shorter = check(&sealed(&body[..body.len() - 1], version), limits);
        assert!(matches!(shorter, Err(PayloadError::Value(ReadError::Truncated { .. }))), "{shorter:?}");
        let plain = [0, 1, 2, 4, 5].contains(&body[0]) && version <= 10;
        assert!(plain || (body[0] == 22 && value.has_field_deadlines()));
    }
    check_raw(&payload, body, limits, &value);
    rewrite(&value);
}

/// The structure alone says where a value ends that was read: nothing of it is missing, nothing is taken from
/// behind it.
fn check_raw(payload: &[u8], body: &[u8], limits: Limits, value: &Value) {
    let unbounded = Limits { max_raw_bytes: u64::MAX, ..limits };
    let raw = RawValue::from_payload(payload, unbounded).expect("what is a value has its structure");
    assert!(body.starts_with(raw.body()));
    assert_eq!(raw.decode(limits).expect("it was decoded"), *value);
}

/// The reader of snapshots finds the same value, or the same fault at the same place, behind a key.
fn agree_with_reader(body: &[u8], read: &std::result::Result<Payload, PayloadError>, limits: Limits) {
    let file = [b"VALKEY080", &body[..1], b"\x01k", &body[1..]].concat();
    let before = (file.len() - body.len()) as u64;
    let mut reader = Reader::new(&file[..], limits).expect("the magic is known");
    match (reader.next_event(), read) {
        (Ok(Some(Event::Entry(entry))), Ok(payload)) => assert_eq!(entry.value, payload.value),
        // The key is itself a string that a small limit may refuse.
        (Err(ReadError::LimitExceeded { position, .. }), _) if position == before + 1 => {}
        (Err(in_file), Err(PayloadError::Value(in_payload))) => {
            let kind = std::mem::discriminant::<ReadError>;
            assert_eq!(kind(&in_file), kind(in_payload));
            let at = position_of(in_payload).map(|position| position + before);
            assert_eq!(position_of(&in_file), at, "{in_file} {in_payload}");
            if let (ReadError::Malformed { fault: a, .. }, ReadError::Malformed { fault: b, .. }) =
                (&in_file, in_payload)
            {
                assert_eq!(a, b);
            }
        }
        (in_file, in_payload) => panic!("{in_file:?} in a snapshot, {in_payload:?} in a payload"),
    }
}

/// Writes what was read, and reads it again.
fn rewrite(value: &Value) {
    let payload = match write(value) {
        Ok(payload) => payload,
        Err(error) => {
            assert_eq!(error, WriteError::EmptyCollection);
            assert!(is_empty(value));
            return;
        }
    };
    let again = check(&payload, Limits::default()).expect("what is written is read");
    assert_eq!(again, Payload { value: value.clone(), is_portable: true });
    assert_eq!(payload_has_field_deadlines(&payload), value.has_field_deadlines());
}

fn write(value: &Value) -> std::result::Result<Bytes, WriteError> {
    let collection = |kind: Kind, len: usize| PayloadWriter::collection(kind, len as u64);
    let mut writer;
    match value {
        Value::String(text) => writer = PayloadWriter::string(text),
        Value::List(items) => {
            writer = collection(Kind::List, items.len())?;
            items.iter().try_for_each(|item| writer.element(item))?;
        }
        Value::Set(items) => {
            writer = collection(Kind::Set, items.len())?;
            items.iter().try_for_each(|item| writer.element(item))?;
        }
        Value::SortedSet(members) => {
            writer = collection(Kind::SortedSet, members.len())?;
            members.iter().try_for_each(|(member, score)| writer.member(member, *score))?;
        }
        Value::Hash(fields) => {
            writer = collection(Kind::hash(value.has_field_deadlines()), fields.len())?;
            fields
                .iter()
                .try_for_each(|field| writer.field(&field.field, &field.value, field.deadline_ms))?;
        }
    }
    writer.finish()
}

/// A payload that is written, so that the answer is known.
fn written(u: &mut Unstructured<'_>, version: u16, limits: Limits, steering: Steering) -> Result<()> {
    let encoded = encode::value(u, true)?;
    let body = [&[encoded.value_type], &encoded.bytes[..]].concat();
    check_sealed(&body, version, limits, steering);
    match read_payload(&sealed(&body, version), limits) {
        Ok(payload) => assert_eq!(payload.value, encoded.value),
        Err(PayloadError::Footer) => assert!(!is_known(version)),
        Err(PayloadError::Value(ReadError::LimitExceeded { .. })) => assert_ne!(limits, Limits::default()),
        Err(error) => panic!("a payload is refused: {error}"),
    }
    Ok(())
}

/// A payload that is written, then damaged before it is sealed, so that the damage is read.
fn damaged(u: &mut Unstructured<'_>, version: u16, limits: Limits, steering: Steering) -> Result<()> {
    let edits = edits(u)?;
    let encoded = encode::value(u, true)?;
    let mut body = [&[encoded.value_type], &encoded.bytes[..]].concat();
    edits.iter().for_each(|edit| edit.apply(&mut body));
    check_sealed(&body, version, limits, steering);
    Ok(())
}
