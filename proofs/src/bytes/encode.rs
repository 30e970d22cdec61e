//! Values in every encoding that a snapshot may have them in: the inverse of the reader, written from the
//! formats.
//!
//! The product writes plain encodings only, and raw values. The compact ones, streams and values of modules
//! are what other servers write, so their inverse is here. Each takes its choices (widths, lengths in a
//! longer form than needed, nodes) from an input.

use arbitrary::{Result, Unstructured};
use bytes::{BufMut as _, Bytes};
use replcore::rdb::{HashField, Value};

use super::compact::{listpack, number, ziplist, zipmap};
use super::input::{integer, several, text};

/// A value as it stands in a snapshot.
#[derive(Clone, Debug)]
pub struct Encoded {
    /// The number of its type.
    pub value_type: u8,
    /// What follows the key.
    pub bytes: Vec<u8>,
    /// What it means.
    pub value: Value,
}

/// A value of any type, in any of its encodings, for a file with the magic `VALKEY` or `REDIS`.
pub fn value(u: &mut Unstructured<'_>, valkey: bool) -> Result<Encoded> {
    let mut out = Vec::new();
    let (value_type, value) = match u.int_in_range(0..=9)? {
        0..=1 => {
            let text = text(u)?;
            string(u, &mut out, &text)?;
            (0, Value::String(text))
        }
        2..=3 => list(u, &mut out)?,
        4..=5 => set(u, &mut out)?,
        6..=7 => sorted_set(u, &mut out)?,
        8 => hash(u, &mut out)?,
        _ => hash_with_deadlines(u, &mut out, valkey)?,
    };
    Ok(Encoded { value_type, bytes: out, value })
}

/// A length, in the shortest form or a longer one.
pub fn length(u: &mut Unstructured<'_>, out: &mut Vec<u8>, length: u64) -> Result<()> {
    let shortest = match length {
        0..=0x3F => 0,
        0x40..=0x3FFF => 1,
        0x4000..=0xFFFF_FFFF => 2,
        _ => 3,
    };
    let longer = if u.ratio(1, 8)? { u.int_in_range(0..=3)? } else { 0 };
    match shortest.max(longer) {
        0 => out.put_u8(length as u8),
        1 => out.put_u16(length as u16 | 0x4000),
        2 => {
            out.put_u8(0x80);
            out.put_u32(length as u32);
        }
        _ => {
            out.put_u8(0x81);
            out.put_u64(length);
        }
    }
    Ok(())
}

/// A string: as an integer if it is one, compressed, or as it is.
pub fn string(u: &mut Unstructured<'_>, out: &mut Vec<u8>, text: &[u8]) -> Result<()> {
    let number = number(text).and_then(|number| i32::try_from(number).ok());
    match u.int_in_range(0..=2)? {
        0 if number.is_some() => {
            let number = number.unwrap_or_default();
            let widest = u.int_in_range(0..=2)?;
            match (i8::try_from(number), i16::try_from(number)) {
                (Ok(number), _) if widest == 0 => out.put_slice(&[0xC0, number as u8]),
                (_, Ok(number)) if widest <= 1 => {
                    out.put_u8(0xC1);
                    out.put_i16_le(number);
                }
                _ => {
                    out.put_u8(0xC2);
                    out.put_i32_le(number);
                }
            }
        }
        1 if !text.is_empty() => {
            let packed = lzf(text);
            out.put_u8(0xC3);
            length(u, out, packed.len() as u64)?;
            length(u, out, text.len() as u64)?;
            out.put_slice(&packed);
        }
        _ => {
            length(u, out, text.len() as u64)?;
            out.put_slice(text);
        }
    }
    Ok(())
}

/// Distances that a copy is tried from; one of them needs more than a byte.
const DISTANCES: [usize; 5] = [1, 2, 3, 4, 300];
/// The longest copy.
const MAX_COPY_BYTES: usize = 264;

/// Compresses what repeats, and takes the rest as it is.
fn lzf(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut literals: &[u8] = &[];
    let mut at = 0;
    while at < text.len() {
        let repeats = |distance: usize| {
            let earlier = text[at - distance..].iter().take(MAX_COPY_BYTES);
            text[at..].iter().zip(earlier).take_while(|(byte, earlier)| byte == earlier).count()
        };
        let copies = DISTANCES.into_iter().filter(|distance| *distance <= at).map(|d| (repeats(d), d));
        match copies.max() {
            Some((run, distance)) if run >= 3 => {
                put_literals(&mut out, literals);
                literals = &[];
                let (more, back) = (run - 2, distance - 1);
                out.put_u8((more.min(7) << 5 | back >> 8) as u8);
                if more >= 7 {
                    out.put_u8((more - 7) as u8);
                }
                out.put_u8(back as u8);
                at += run;
            }
            _ => {
                literals = &text[at - literals.len()..=at];
                at += 1;
            }
        }
    }
    put_literals(&mut out, literals);
    out
}

fn put_literals(out: &mut Vec<u8>, literals: &[u8]) {
    for piece in literals.chunks(32) {
        out.put_u8(piece.len() as u8 - 1);
        out.put_slice(piece);
    }
}

fn list(u: &mut Unstructured<'_>, out: &mut Vec<u8>) -> Result<(u8, Value)> {
    let form = u.int_in_range(0..=3)?;
    if form < 2 {
        let items = several(u, 12, text)?;
        if form == 0 {
            plain(u, out, &items)?;
            return Ok((1, Value::List(items)));
        }
        let blob = ziplist(u, &items)?;
        string(u, out, &blob)?;
        return Ok((10, Value::List(items)));
    }
    let nodes = several(u, 4, |u| several(u, 5, text))?;
    length(u, out, nodes.len() as u64)?;
    let mut items = Vec::new();
    for mut node in nodes {
        if form == 2 {
            let blob = ziplist(u, &node)?;
            string(u, out, &blob)?;
        } else if node.len() == 1 {
            length(u, out, 1)?;
            string(u, out, &node[0])?;
        } else {
            length(u, out, 2)?;
            let blob = listpack(u, &node)?;
            string(u, out, &blob)?;
        }
        items.append(&mut node);
    }
    Ok((if form == 2 { 14 } else { 18 }, Value::List(items)))
}

fn plain(u: &mut Unstructured<'_>, out: &mut Vec<u8>, items: &[Bytes]) -> Result<()> {
    length(u, out, items.len() as u64)?;
    items.iter().try_for_each(|item| string(u, out, item))
}

fn set(u: &mut Unstructured<'_>, out: &mut Vec<u8>) -> Result<(u8, Value)> {
    match u.int_in_range(0..=2)? {
        0 => {
            let items = several(u, 12, text)?;
            plain(u, out, &items)?;
            Ok((2, Value::Set(items)))
        }
        1 => {
            let items = several(u, 12, text)?;
            let blob = listpack(u, &items)?;
            string(u, out, &blob)?;
            Ok((20, Value::Set(items)))
        }
        _ => {
            let mut numbers = several(u, 12, integer)?;
            numbers.sort_unstable();
            numbers.dedup();
            let fits = |bits: u32| numbers.iter().all(|number| i128::from(*number).abs() < 1 << (bits - 1));
            let width = [2, 4, 8].into_iter().find(|width| fits(8 * width)).unwrap_or(8);
            let mut blob = Vec::new();
            blob.put_u32_le(width);
            blob.put_u32_le(numbers.len() as u32);
            numbers.iter().for_each(|number| blob.put_int_le(*number, width as usize));
            string(u, out, &blob)?;
            Ok((11, Value::Set(numbers.iter().map(|number| number.to_string().into()).collect())))
        }
    }
}

fn score(u: &mut Unstructured<'_>) -> Result<f64> {
    let score = match u.int_in_range(0..=3)? {
        0 => integer(u)? as f64,
        1 => f64::from_bits(u.arbitrary()?),
        2 => f64::INFINITY,
        _ => f64::from(u.arbitrary::<i16>()?) / 8.0,
    };
    Ok(if score.is_nan() { 0.0 } else { score })
}

fn sorted_set(u: &mut Unstructured<'_>, out: &mut Vec<u8>) -> Result<(u8, Value)> {
    let members = several(u, 10, |u| Ok((text(u)?, score(u)?)))?;
    let form = u.int_in_range(0..=3)?;
    if form < 2 {
        length(u, out, members.len() as u64)?;
        for (member, score) in &members {
            string(u, out, member)?;
            if form == 0 {
                out.put_f64_le(*score);
            } else if score.is_infinite() {
                out.put_u8(if *score > 0.0 { 254 } else { 255 });
            } else {
                let text = format!("{score:e}");
                out.put_u8(text.len() as u8);
                out.put_slice(text.as_bytes());
            }
        }
        return Ok((if form == 0 { 5 } else { 3 }, Value::SortedSet(members)));
    }
    let text = |score: f64| Bytes::from(format!("{score:e}"));
    let flat: Vec<_> = members.iter().flat_map(|(member, score)| [member.clone(), text(*score)]).collect();
    let blob = if form == 2 { ziplist(u, &flat)? } else { listpack(u, &flat)? };
    string(u, out, &blob)?;
    Ok((if form == 2 { 12 } else { 17 }, Value::SortedSet(members)))
}

fn hash(u: &mut Unstructured<'_>, out: &mut Vec<u8>) -> Result<(u8, Value)> {
    let field =
        |u: &mut Unstructured<'_>| Ok(HashField { field: text(u)?, value: text(u)?, deadline_ms: None });
    let fields = several(u, 10, field)?;
    let flat: Vec<_> = fields.iter().flat_map(|field| [field.field.clone(), field.value.clone()]).collect();
    let value_type = match u.int_in_range(0..=3)? {
        0 => {
            length(u, out, fields.len() as u64)?;
            flat.iter().try_for_each(|text| string(u, out, text))?;
            4
        }
        form => {
            let blob = match form {
                1 => ziplist(u, &flat)?,
                2 => zipmap(u, &flat)?,
                _ => listpack(u, &flat)?,
            };
            string(u, out, &blob)?;
            [13, 9, 16][form - 1]
        }
    };
    Ok((value_type, Value::Hash(fields)))
}

/// A deadline: at the ends of what there is, or any.
pub fn deadline(u: &mut Unstructured<'_>) -> Result<u64> {
    Ok(match u.int_in_range(0..=3)? {
        0 => u.int_in_range(1..=3)?,
        1 => i64::MAX as u64 - u.int_in_range(0..=2)?,
        _ => u.int_in_range(1..=i64::MAX as u64)?,
    })
}

fn hash_with_deadlines(u: &mut Unstructured<'_>, out: &mut Vec<u8>, valkey: bool) -> Result<(u8, Value)> {
    let fields = several(u, 8, |u| {
        let deadline_ms = if u.arbitrary()? { Some(deadline(u)?) } else { None };
        Ok(HashField { field: text(u)?, value: text(u)?, deadline_ms })
    })?;
    let earliest = fields.iter().filter_map(|field| field.deadline_ms).min().unwrap_or(0);
    if valkey {
        length(u, out, fields.len() as u64)?;
        for field in &fields {
            string(u, out, &field.field)?;
            string(u, out, &field.value)?;
            out.put_i64_le(field.deadline_ms.map_or(-1, |deadline| deadline as i64));
        }
        return Ok((22, Value::Hash(fields)));
    }
    out.put_u64_le(earliest);
    if u.arbitrary()? {
        length(u, out, fields.len() as u64)?;
        for field in &fields {
            length(u, out, field.deadline_ms.map_or(0, |deadline| deadline - earliest + 1))?;
            string(u, out, &field.field)?;
            string(u, out, &field.value)?;
        }
        return Ok((24, Value::Hash(fields)));
    }
    let triplet = |field: &HashField| {
        let deadline = field.deadline_ms.unwrap_or(0).to_string().into();
        [field.field.clone(), field.value.clone(), deadline]
    };
    let flat: Vec<_> = fields.iter().flat_map(triplet).collect();
    let blob = listpack(u, &flat)?;
    string(u, out, &blob)?;
    Ok((25, Value::Hash(fields)))
}

/// What no [`Value`] holds: a stream in one of its three forms, or the value of a module. Its type and what
/// follows the key.
pub fn opaque(u: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let form = u.int_in_range(0..=3)?;
    let mut out = vec![[15, 19, 21, 7][form]];
    if form == 3 {
        some_length(u, &mut out)?;
        module_values(u, &mut out)?;
    } else {
        stream(u, &mut out, form + 1)?;
    }
    Ok(out)
}

/// A length of any number, in any form that it has.
pub fn some_length(u: &mut Unstructured<'_>, out: &mut Vec<u8>) -> Result<u64> {
    let number = u.arbitrary::<u64>()? >> u.int_in_range(0..=63)?;
    length(u, out, number)?;
    Ok(number)
}

/// A module's marked values, of every kind, and their end.
pub fn module_values(u: &mut Unstructured<'_>, out: &mut Vec<u8>) -> Result<()> {
    for _ in 0..u.int_in_range(0..=4)? {
        let kind = u.int_in_range(1..=5)?;
        length(u, out, kind)?;
        match kind {
            3 => out.put_f32_le(0.5),
            4 => out.put_f64_le(0.5),
            5 => {
                let text = text(u)?;
                string(u, out, &text)?;
            }
            _ => drop(some_length(u, out)?),
        }
    }
    length(u, out, 0)
}

fn stream(u: &mut Unstructured<'_>, out: &mut Vec<u8>, form: usize) -> Result<()> {
    let nodes = several(u, 3, text)?;
    length(u, out, nodes.len() as u64)?;
    for node in &nodes {
        string(u, out, &[7; 16])?;
        string(u, out, node)?;
    }
    // How long it is and its last ID; its first ID, the greatest deleted one, and how many were added.
    for _ in 0..if form == 1 { 3 } else { 8 } {
        some_length(u, out)?;
    }
    let groups = several(u, 3, text)?;
    length(u, out, groups.len() as u64)?;
    for group in &groups {
        string(u, out, group)?;
        for _ in 0..if form == 1 { 2 } else { 3 } {
            some_length(u, out)?;
        }
        let pending = u.int_in_range(0..=3)?;
        length(u, out, pending)?;
        for _ in 0..pending {
            out.put_slice(&[8; 16 + 8]);
            some_length(u, out)?;
        }
        let consumers = several(u, 3, text)?;
        length(u, out, consumers.len() as u64)?;
        for consumer in &consumers {
            string(u, out, consumer)?;
            out.put_slice(&[9; 16][..if form == 3 { 16 } else { 8 }]);
            let owned = u.int_in_range(0..=3)?;
            length(u, out, owned)?;
            out.put_bytes(10, 16 * owned as usize);
        }
    }
    Ok(())
}
