//! The compact encodings: listpack, ziplist, zipmap and intset, each one blob that holds a whole small
//! collection.
//!
//! Each is unpacked into its elements as text (integers in decimal). Strings are slices of the blob. The
//! structure is checked as far as reading depends on it: sizes, counts and terminators; the links that only
//! serve walking backwards are skipped.

use bytes::{Buf, Bytes};

use super::Fault;

const END: u8 = 0xFF;
/// The element count of a listpack or ziplist that has too many to count.
const COUNT_UNKNOWN: u16 = u16::MAX;
/// The least count of a zipmap that says only that there are too many to count.
const ZIPMAP_COUNT_UNKNOWN: u8 = 254;

/// The decimal text of an integer.
pub(super) fn integer_text(value: i64) -> Bytes {
    Bytes::copy_from_slice(itoa::Buffer::new().format(value).as_bytes())
}

/// Unpacks a listpack: u32 size, u16 count, elements, 0xFF.
pub(super) fn listpack(blob: Bytes) -> Result<Vec<Bytes>, Fault> {
    unpack(blob, 0, listpack_element).ok_or(Fault::Listpack)
}

/// Unpacks a ziplist: u32 size, u32 offset of the last element, u16 count, elements, 0xFF.
pub(super) fn ziplist(blob: Bytes) -> Result<Vec<Bytes>, Fault> {
    unpack(blob, 4, ziplist_element).ok_or(Fault::Ziplist)
}

/// Unpacks an intset: u32 bytes per integer, u32 count, ascending integers; all little-endian.
pub(super) fn intset(mut blob: Bytes) -> Result<Vec<Bytes>, Fault> {
    let (Ok(width), Ok(count)) = (blob.try_get_u32_le(), blob.try_get_u32_le()) else {
        return Err(Fault::Intset);
    };
    if !matches!(width, 2 | 4 | 8) || blob.len() as u64 != u64::from(width) * u64::from(count) {
        return Err(Fault::Intset);
    }
    // Exactly what the check above saw arrive.
    let mut elements = Vec::with_capacity(blob.len() / width as usize);
    let mut last = None;
    while blob.has_remaining() {
        let integer = blob.get_int_le(width as usize);
        if last.is_some_and(|last| last >= integer) {
            return Err(Fault::Intset);
        }
        last = Some(integer);
        elements.push(integer_text(integer));
    }
    Ok(elements)
}

/// Unpacks a zipmap, as Redis wrote small hashes before 2.6: u8 count, pairs of a field and a value, 0xFF.
/// Returns fields and values in turn.
///
/// Each begins with its length, one byte or 254 and four; behind the length of a value stands how many bytes
/// behind it are free.
pub(super) fn zipmap(blob: Bytes) -> Result<Vec<Bytes>, Fault> {
    zipmap_elements(blob).ok_or(Fault::Zipmap)
}

fn zipmap_elements(mut blob: Bytes) -> Option<Vec<Bytes>> {
    let count = blob.try_get_u8().ok()?;
    let mut elements = Vec::new();
    loop {
        match *blob.first()? {
            END if blob.len() == 1 => break,
            END => return None,
            _ => {}
        }
        let len = zipmap_length(&mut blob)?;
        elements.push(take(&mut blob, len)?);
        let len = zipmap_length(&mut blob)?;
        let free = blob.try_get_u8().ok()?;
        elements.push(take(&mut blob, len)?);
        take(&mut blob, free.into())?;
    }
    (count >= ZIPMAP_COUNT_UNKNOWN || usize::from(count) == elements.len() / 2).then_some(elements)
}

fn zipmap_length(blob: &mut Bytes) -> Option<usize> {
    match blob.try_get_u8().ok()? {
        len @ 0..254 => Some(len.into()),
        254 => blob.try_get_u32_le().ok().map(|len| len as usize),
        END => None,
    }
}

/// The frame that listpack and ziplist share; `skip` bytes lie between the size and the count.
fn unpack(mut blob: Bytes, skip: usize, element: fn(&mut Bytes) -> Option<Bytes>) -> Option<Vec<Bytes>> {
    let size = blob.len();
    if blob.try_get_u32_le().ok()? as usize != size || blob.last() != Some(&END) {
        return None;
    }
    take(&mut blob, skip)?;
    let count = blob.try_get_u16_le().ok()?;
    let mut elements = Vec::new();
    loop {
        match *blob.first()? {
            END if blob.len() == 1 => break,
            END => return None,
            _ => elements.push(element(&mut blob)?),
        }
    }
    (count == COUNT_UNKNOWN || usize::from(count) == elements.len()).then_some(elements)
}

fn take(blob: &mut Bytes, len: usize) -> Option<Bytes> {
    (blob.len() >= len).then(|| blob.split_to(len))
}

/// A little-endian signed integer of `width` bytes, as text.
fn take_integer(blob: &mut Bytes, width: usize) -> Option<Bytes> {
    (blob.len() >= width).then(|| integer_text(blob.get_int_le(width)))
}

fn listpack_element(blob: &mut Bytes) -> Option<Bytes> {
    let before = blob.len();
    let first = blob.try_get_u8().ok()?;
    let element = match first {
        0x00..=0x7F => integer_text(i64::from(first)),
        0x80..=0xBF => take(blob, usize::from(first & 0x3F))?,
        0xC0..=0xDF => {
            let raw = i64::from(first & 0x1F) << 8 | i64::from(blob.try_get_u8().ok()?);
            integer_text(if raw < 1 << 12 { raw } else { raw - (1 << 13) })
        }
        0xE0..=0xEF => {
            let len = usize::from(first & 0x0F) << 8 | usize::from(blob.try_get_u8().ok()?);
            take(blob, len)?
        }
        0xF0 => {
            let len = blob.try_get_u32_le().ok()?;
            take(blob, len as usize)?
        }
        0xF1 => take_integer(blob, 2)?,
        0xF2 => take_integer(blob, 3)?,
        0xF3 => take_integer(blob, 4)?,
        0xF4 => take_integer(blob, 8)?,
        _ => return None,
    };
    let back_bytes = back_length_bytes(before - blob.len(), *blob.first()?);
    take(blob, back_bytes)?;
    Some(element)
}

/// How many bytes the length takes that stands behind an element, for walking backwards: big-endian, seven
/// bits a byte.
///
/// Valkey 9.1 writes as few as it can. Redis, at least up to 7.0, writes one more for the greatest length of
/// 2, 3 and 4 bytes: then the first one is 0, which it otherwise never is.
fn back_length_bytes(len: usize, first: u8) -> usize {
    match len {
        0..=127 => 1,
        16_383 | 2_097_151 | 268_435_455 if first == 0 => back_length_bytes(len + 1, first),
        128..=16_383 => 2,
        16_384..=2_097_151 => 3,
        2_097_152..=268_435_455 => 4,
        _ => 5,
    }
}

fn ziplist_element(blob: &mut Bytes) -> Option<Bytes> {
    // The length of the element before: one byte, or 254 and four.
    match blob.try_get_u8().ok()? {
        254 => take(blob, 4).map(drop)?,
        END => return None,
        _ => {}
    }
    let first = blob.try_get_u8().ok()?;
    match first {
        0x00..=0x3F => take(blob, usize::from(first)),
        0x40..=0x7F => {
            let len = usize::from(first & 0x3F) << 8 | usize::from(blob.try_get_u8().ok()?);
            take(blob, len)
        }
        0x80..=0xBF => {
            let len = blob.try_get_u32().ok()?;
            take(blob, len as usize)
        }
        0xC0 => take_integer(blob, 2),
        0xD0 => take_integer(blob, 4),
        0xE0 => take_integer(blob, 8),
        0xF0 => take_integer(blob, 3),
        0xFE => take_integer(blob, 1),
        0xF1..=0xFD => Some(integer_text(i64::from(first & 0x0F) - 1)),
        _ => None,
    }
}
