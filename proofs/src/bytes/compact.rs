//! Listpacks, ziplists and zipmaps, the inverse of their readers: collections in one string.

use arbitrary::{Result, Unstructured};
use bytes::{BufMut as _, Bytes};

/// The number of which `text` is the decimal text.
pub fn number(text: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(text).ok()?;
    text.parse().ok().filter(|number: &i64| number.to_string() == text)
}

/// A listpack: u32 size, u16 count, elements, 0xFF.
pub fn listpack(u: &mut Unstructured<'_>, items: &[Bytes]) -> Result<Vec<u8>> {
    let mut blob = vec![0; 6];
    for item in items {
        let start = blob.len();
        listpack_element(u, &mut blob, item)?;
        // The length once more, seven bits a byte, to walk backwards by: read by nobody here, so only its
        // size counts, and at one length, for which there are two sizes, the first byte.
        let (first, back) = match blob.len() - start {
            0..=127 => (0, 1),
            16_383 if u.arbitrary()? => (0, 3),
            128..=16_383 => (0x7F, 2),
            _ => (1, 3),
        };
        blob.put_u8(first);
        blob.put_bytes(0xFF, back - 1);
    }
    blob.put_u8(0xFF);
    close(u, &mut blob, 4, items.len())
}

fn listpack_element(u: &mut Unstructured<'_>, blob: &mut Vec<u8>, item: &[u8]) -> Result<()> {
    let as_number = u.ratio(3, 4)?;
    let Some(number) = number(item).filter(|_| as_number) else {
        let longer = if u.ratio(1, 8)? { u.int_in_range(0..=2)? } else { 0 };
        match item.len() {
            len @ 0..64 if longer == 0 => blob.put_u8(0x80 | len as u8),
            len @ 0..4096 if longer <= 1 => blob.put_u16(0xE000 | len as u16),
            len => {
                blob.put_u8(0xF0);
                blob.put_u32_le(len as u32);
            }
        }
        blob.put_slice(item);
        return Ok(());
    };
    let longer = if u.ratio(1, 8)? { u.int_in_range(0..=5)? } else { 0 };
    match (number, longer) {
        (0..=127, 0) => blob.put_u8(number as u8),
        (-4096..=4095, 0..=1) => blob.put_u16(0xC000 | (number & 0x1FFF) as u16),
        (-0x8000..=0x7FFF, 0..=2) => {
            blob.put_u8(0xF1);
            blob.put_i16_le(number as i16);
        }
        (-0x80_0000..=0x7F_FFFF, 0..=3) => {
            blob.put_u8(0xF2);
            blob.put_int_le(number, 3);
        }
        (-0x8000_0000..=0x7FFF_FFFF, 0..=4) => {
            blob.put_u8(0xF3);
            blob.put_i32_le(number as i32);
        }
        _ => {
            blob.put_u8(0xF4);
            blob.put_i64_le(number);
        }
    }
    Ok(())
}

/// A ziplist: u32 size, u32 offset of the last element, u16 count, elements, 0xFF.
pub fn ziplist(u: &mut Unstructured<'_>, items: &[Bytes]) -> Result<Vec<u8>> {
    let mut blob = vec![0; 10];
    let mut previous = 0;
    for item in items {
        let start = blob.len();
        match previous {
            0..254 => blob.put_u8(previous as u8),
            _ => {
                blob.put_u8(254);
                blob.put_u32_le(previous as u32);
            }
        }
        ziplist_element(u, &mut blob, item)?;
        previous = blob.len() - start;
    }
    blob.put_u8(0xFF);
    close(u, &mut blob, 8, items.len())
}

fn ziplist_element(u: &mut Unstructured<'_>, blob: &mut Vec<u8>, item: &[u8]) -> Result<()> {
    let as_number = u.ratio(3, 4)?;
    let Some(number) = number(item).filter(|_| as_number) else {
        match item.len() {
            len @ 0..64 => blob.put_u8(len as u8),
            len @ 64..16384 => blob.put_u16(0x4000 | len as u16),
            len => {
                blob.put_u8(0x80);
                blob.put_u32(len as u32);
            }
        }
        blob.put_slice(item);
        return Ok(());
    };
    let longer = if u.ratio(1, 8)? { u.int_in_range(0..=5)? } else { 0 };
    match (number, longer) {
        (0..=12, 0) => blob.put_u8(0xF1 + number as u8),
        (-0x80..=0x7F, 0..=1) => blob.put_slice(&[0xFE, number as u8]),
        (-0x8000..=0x7FFF, 0..=2) => {
            blob.put_u8(0xC0);
            blob.put_i16_le(number as i16);
        }
        (-0x80_0000..=0x7F_FFFF, 0..=3) => {
            blob.put_u8(0xF0);
            blob.put_int_le(number, 3);
        }
        (-0x8000_0000..=0x7FFF_FFFF, 0..=4) => {
            blob.put_u8(0xD0);
            blob.put_i32_le(number as i32);
        }
        _ => {
            blob.put_u8(0xE0);
            blob.put_i64_le(number);
        }
    }
    Ok(())
}

/// A zipmap of fields and values in turn: u8 count, pairs, 0xFF.
pub fn zipmap(u: &mut Unstructured<'_>, flat: &[Bytes]) -> Result<Vec<u8>> {
    let count = flat.len() / 2;
    let mut blob = vec![if u.ratio(1, 16)? { 254 } else { count as u8 }];
    for pair in flat.chunks_exact(2) {
        zipmap_length(&mut blob, pair[0].len());
        blob.put_slice(&pair[0]);
        zipmap_length(&mut blob, pair[1].len());
        let free = if u.ratio(1, 8)? { u.int_in_range(0..=9)? } else { 0 };
        blob.put_u8(free);
        blob.put_slice(&pair[1]);
        blob.put_bytes(0xFF, free.into());
    }
    blob.put_u8(0xFF);
    Ok(blob)
}

fn zipmap_length(blob: &mut Vec<u8>, len: usize) {
    match len {
        0..254 => blob.put_u8(len as u8),
        _ => {
            blob.put_u8(254);
            blob.put_u32_le(len as u32);
        }
    }
}

/// Fills in the size, and the count at `count_at`: known, or "too many to say".
fn close(u: &mut Unstructured<'_>, blob: &mut Vec<u8>, count_at: usize, count: usize) -> Result<Vec<u8>> {
    let size = blob.len() as u32;
    blob[..4].copy_from_slice(&size.to_le_bytes());
    let count = if u.ratio(1, 16)? { u16::MAX } else { count as u16 };
    blob[count_at..][..2].copy_from_slice(&count.to_le_bytes());
    Ok(std::mem::take(blob))
}
