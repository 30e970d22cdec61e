//! Snapshots of choice: every opcode, in every version, with every kind of end.

use arbitrary::{Result, Unstructured};
use bytes::{BufMut as _, Bytes};
use crc::{CRC_64_REDIS, Crc};
use replcore::rdb::{Entry, Event, FileVersion, Limits, RawValue};

use super::encode;
use super::input::text;

/// The checksum of snapshots and payloads.
pub const CRC: Crc<u64> = Crc::<u64>::new(&CRC_64_REDIS);

/// A file that is written, and what it says.
pub struct File {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// What a reader has to find, the end included, that decodes what it can and takes the rest as it is.
    pub events: Vec<Event>,
    /// Whether its checksum is another one's.
    pub is_wrong: bool,
}

impl File {
    /// A file of choice.
    pub fn choose(u: &mut Unstructured<'_>) -> Result<File> {
        let valkey = u.arbitrary()?;
        let version: u16 = if valkey { u.int_in_range(80..=81)? } else { u.int_in_range(1..=13)? };
        let mut bytes =
            if valkey { format!("VALKEY{version:03}") } else { format!("REDIS{version:04}") }.into_bytes();
        let mut events = Vec::new();
        // Entries end with their bytes: what ends the file is chosen before.
        let ending: u8 = u.int_in_range(0..=3)?;
        for _ in 0..u.int_in_range(0..=12)? {
            if u.is_empty() {
                break;
            }
            let version = if valkey { FileVersion::Valkey(version) } else { FileVersion::Redis(version) };
            events.push(event(u, &mut bytes, version)?);
        }
        bytes.put_u8(255);
        let has_checksum = valkey || version >= 5;
        let sum = CRC.checksum(&bytes);
        let is_wrong = has_checksum && ending == 0;
        let checked = has_checksum && ending > 1;
        if has_checksum {
            bytes.put_u64_le([sum ^ 1 << 63, 0, sum, sum][usize::from(ending)]);
        }
        events.push(Event::End { checked });
        Ok(File { bytes, events, is_wrong })
    }
}

fn event(u: &mut Unstructured<'_>, out: &mut Vec<u8>, version: FileVersion) -> Result<Event> {
    Ok(match u.int_in_range(0..=13)? {
        0 => {
            let (key, value) = (text(u)?, text(u)?);
            out.put_u8(250);
            encode::string(u, out, &key)?;
            encode::string(u, out, &value)?;
            Event::Aux { key, value }
        }
        1 => {
            let db: u16 = u.arbitrary()?;
            out.put_u8(254);
            encode::length(u, out, db.into())?;
            Event::SelectDb(db)
        }
        2 => {
            out.put_u8(251);
            let [keys, keys_with_deadline] = numbers(u, out)?;
            Event::ResizeDb { keys, keys_with_deadline }
        }
        3 => {
            out.put_u8(244);
            let [slot, keys, keys_with_deadline] = numbers(u, out)?;
            Event::SlotInfo { slot, keys, keys_with_deadline }
        }
        4 => {
            let source = text(u)?;
            out.put_u8(245);
            encode::string(u, out, &source)?;
            Event::Function(source)
        }
        5 => {
            out.put_u8(247);
            let [module_id] = numbers(u, out)?;
            let start = out.len();
            encode::length(u, out, 2)?;
            encode::some_length(u, out)?;
            encode::module_values(u, out)?;
            Event::ModuleAux { module_id, data: Some(Bytes::copy_from_slice(&out[start..])) }
        }
        6 if matches!(version, FileVersion::Valkey(_)) => slot_import(u, out)?,
        7..=8 => {
            let body = encode::opaque(u)?;
            let value = RawValue::parse(&body, version, Limits::default()).expect("what is written is read");
            assert_eq!(value.body()[..], body, "a value is taken whole");
            Event::Raw(entry(u, out, value, &body)?)
        }
        _ => {
            let value = encode::value(u, matches!(version, FileVersion::Valkey(_)))?;
            let body = [&[value.value_type], &value.bytes[..]].concat();
            Event::Entry(entry(u, out, value.value, &body)?)
        }
    })
}

fn numbers<const N: usize>(u: &mut Unstructured<'_>, out: &mut Vec<u8>) -> Result<[u64; N]> {
    let mut numbers = [0; N];
    for number in &mut numbers {
        *number = encode::some_length(u, out)?;
    }
    Ok(numbers)
}

fn slot_import(u: &mut Unstructured<'_>, out: &mut Vec<u8>) -> Result<Event> {
    let job = text(u)?;
    out.put_u8(243);
    encode::string(u, out, &job)?;
    let count = u.int_in_range(0..=3)?;
    encode::length(u, out, count)?;
    let mut ranges = Vec::new();
    for _ in 0..count {
        let [first, last] = numbers(u, out)?;
        ranges.push((first, last));
    }
    Ok(Event::SlotImport { job, ranges })
}

/// A key with attributes of choice, a value and its encoding: the type, and what follows the key.
fn entry<V>(u: &mut Unstructured<'_>, out: &mut Vec<u8>, value: V, body: &[u8]) -> Result<Entry<V>> {
    let (mut deadline_ms, mut idle_s, mut frequency) = (None, None, None);
    match u.int_in_range(0..=7)? {
        0 => {
            let deadline = encode::deadline(u)?;
            out.put_u8(252);
            out.put_u64_le(deadline);
            deadline_ms = Some(deadline);
        }
        1 => {
            let seconds: i32 = u.arbitrary()?;
            out.put_u8(253);
            out.put_i32_le(seconds);
            deadline_ms = Some(seconds.max(0) as u64 * 1000);
        }
        2 => {
            out.put_u8(248);
            let [idle] = numbers(u, out)?;
            idle_s = Some(idle);
        }
        3 => {
            let counter = u.arbitrary()?;
            out.put_slice(&[249, counter]);
            frequency = Some(counter);
        }
        _ => {}
    }
    let key = text(u)?;
    out.put_u8(body[0]);
    encode::string(u, out, &key)?;
    out.put_slice(&body[1..]);
    Ok(Entry { key, value, deadline_ms, idle_s, frequency })
}
