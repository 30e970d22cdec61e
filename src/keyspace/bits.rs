//! Strings as arrays of bits, the most significant bit of a byte first.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::command::{CommandSpec, ONE, R, RF, WM, keyed};
use super::events::EventClass;
use super::memory::StringForm;
use super::number::{integer, parse_i64};
use super::strings::edit;
use super::unit::{CommandResult, Unit};
use super::{CommandError, Value};
use crate::resp::Reply;
use crate::rewrite::store::{StoreOutcome, store};
use crate::rewrite::string::{self, BitsOutcome};

/// The commands of this file.
pub(super) static COMMANDS: &[CommandSpec] = &[
    keyed("bitcount", -2, R, ONE, bitcount),
    keyed("bitfield", -2, WM, ONE, bitfield),
    keyed("bitfield_ro", -2, RF, ONE, bitfield_ro),
    keyed("bitop", -4, WM, (2, -1, 1), bitop),
    keyed("bitpos", -3, R, ONE, bitpos),
    keyed("getbit", 3, RF, ONE, getbit),
    keyed("setbit", 4, WM, ONE, setbit),
];

/// A bit's offset, which lies within the longest string.
fn bit_offset(unit: &Unit<'_, '_>, text: &[u8]) -> Result<usize, CommandError> {
    bit_offset_of(unit, parse_i64(text))
}

fn bit_offset_of(unit: &Unit<'_, '_>, offset: Option<i64>) -> Result<usize, CommandError> {
    let offset = offset.and_then(|offset| usize::try_from(offset).ok());
    offset
        .filter(|offset| offset / 8 < unit.keyspace.options().max_string_bytes)
        .ok_or(CommandError::BitOffset)
}

fn bit_of(bytes: &[u8], offset: usize) -> bool {
    bytes.get(offset / 8).is_some_and(|byte| byte << (offset % 8) & 0x80 != 0)
}

pub(super) fn getbit<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    let offset = bit_offset(unit, &argv[2])?;
    let bit = unit.read_string(&argv[1])?.is_some_and(|value| bit_of(value, offset));
    Ok(Reply::Integer(bit.into()))
}

pub(super) fn setbit<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    let key = &argv[1];
    let offset = bit_offset(unit, &argv[2])?;
    let bit = match &argv[3][..] {
        b"0" => false,
        b"1" => true,
        _ => return Err(CommandError::BitValue),
    };
    let mut patch = Patch::of(unit.find_string(key)?);
    let old = bit_of(&patch.base, offset);
    patch.cover(offset, 1);
    patch.write(offset, 1, bit.into());
    let outcome = patch.apply(unit, key);
    if outcome != BitsOutcome::Unchanged {
        unit.notify(EventClass::String, "setbit", key);
    }
    unit.propagate(argv, string::bits(argv, outcome));
    Ok(Reply::Integer(old.into()))
}

/// Changes to a string that are made when all of them are known: a string in which nothing changes must not
/// count as modified.
struct Patch {
    base: Bytes,
    absent: bool,
    /// As long as the string has to be.
    len: usize,
    written: BTreeMap<usize, u8>,
}

impl Patch {
    fn of(value: Option<&Bytes>) -> Patch {
        let base = value.cloned().unwrap_or_default();
        Patch { len: base.len(), base, absent: value.is_none(), written: BTreeMap::new() }
    }

    /// Makes room for `width` bits at `offset`.
    fn cover(&mut self, offset: usize, width: usize) {
        self.len = self.len.max((offset + width - 1) / 8 + 1);
    }

    fn grows(&self) -> bool {
        self.absent || self.len > self.base.len()
    }

    fn byte(&self, at: usize) -> u8 {
        self.written.get(&at).or_else(|| self.base.get(at)).copied().unwrap_or(0)
    }

    /// At most 64 bits from `offset` on; bits beyond the end are 0.
    fn read(&self, offset: usize, width: usize) -> u64 {
        let (first, last) = (offset / 8, (offset + width - 1) / 8);
        let window = (first..=last).fold(0u128, |window, at| window << 8 | u128::from(self.byte(at)));
        let below = (last + 1) * 8 - offset - width;
        (window >> below) as u64 & mask(width)
    }

    /// Writes the lowest `width` bits of `value`, at most 64.
    fn write(&mut self, offset: usize, width: usize, value: u64) {
        let (first, last) = (offset / 8, (offset + width - 1) / 8);
        let below = (last + 1) * 8 - offset - width;
        let ones = u128::from(mask(width)) << below;
        let new = u128::from(value & mask(width)) << below;
        for (at, shift) in (first..=last).rev().zip((0..).step_by(8)) {
            let kept = self.byte(at) & !((ones >> shift) as u8);
            self.written.insert(at, kept | (new >> shift) as u8);
        }
    }

    /// Makes the changes, if there are any.
    fn apply(self, unit: &mut Unit<'_, '_>, key: &[u8]) -> BitsOutcome {
        let grows = self.grows();
        let Patch { base, len, written, .. } = self;
        let writes = !written.is_empty();
        let changes: Vec<(usize, u8)> =
            written.into_iter().filter(|(at, byte)| base.get(*at).copied().unwrap_or(0) != *byte).collect();
        if changes.is_empty() && !grows {
            if writes {
                unit.set_string_form(key, StringForm::Built);
            }
            return BitsOutcome::Unchanged;
        }
        // The value is changed in place if nobody else holds it.
        drop(base);
        edit(unit, key, StringForm::Built, |bytes| {
            if bytes.len() < len {
                bytes.resize(len, 0);
            }
            for (at, byte) in &changes {
                bytes[*at] = *byte;
            }
        });
        if changes.is_empty() { BitsOutcome::Grown } else { BitsOutcome::Changed }
    }
}

fn mask(width: usize) -> u64 {
    u64::MAX >> (64 - width)
}

/// The range of a `BITCOUNT` or `BITPOS`.
struct Range<'a> {
    start: i64,
    end: Option<i64>,
    /// `BIT` or `BYTE`, if it was given.
    unit: Option<&'a Bytes>,
}

/// Whether a range counts bits rather than bytes.
fn counts_bits(unit: Option<&Bytes>) -> Result<bool, CommandError> {
    match unit {
        None => Ok(false),
        Some(unit) if unit.eq_ignore_ascii_case(b"BIT") => Ok(true),
        Some(unit) if unit.eq_ignore_ascii_case(b"BYTE") => Ok(false),
        Some(_) => Err(CommandError::Syntax),
    }
}

/// The first and the last bit of a range in a string of `len` bytes; `None` if it is empty. Negative numbers
/// count from the end.
fn bits_in(start: i64, end: Option<i64>, in_bits: bool, len: usize) -> Option<(usize, usize)> {
    let total = if in_bits { len as i64 * 8 } else { len as i64 };
    let from_start = |at: i64| if at < 0 { at.saturating_add(total).max(0) } else { at };
    let (start, end) = (from_start(start), end.map_or(total - 1, from_start).min(total - 1));
    if start > end {
        return None;
    }
    // 0 <= start <= end < total.
    let (start, end) = (start as usize, end as usize);
    Some(if in_bits { (start, end) } else { (start * 8, end * 8 + 7) })
}

/// Ones for the bits of the byte `at` that lie from the bit `first` to the bit `last`.
fn inside(at: usize, first: usize, last: usize) -> u8 {
    let from = if at == first / 8 { 0xFF >> (first % 8) } else { 0xFF };
    let to = if at == last / 8 { 0xFFu8 << (7 - last % 8) } else { 0xFF };
    from & to
}

pub(super) fn bitcount<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    let range = match &argv[2..] {
        [] => Range { start: 0, end: None, unit: None },
        [start] => Range { start: integer(start)?, end: None, unit: None },
        [start, end, unit @ ..] if unit.len() <= 1 => {
            let start = integer(start)?;
            counts_bits(unit.first())?;
            Range { start, end: Some(integer(end)?), unit: unit.first() }
        }
        _ => return Err(CommandError::Syntax),
    };
    let in_bits = counts_bits(range.unit)?;
    let value = unit.read_string(&argv[1])?.cloned().unwrap_or_default();
    let reversed = range.start < 0 && range.end.is_some_and(|end| end < 0 && range.start > end);
    let Some((first, last)) = bits_in(range.start, range.end, in_bits, value.len()).filter(|_| !reversed)
    else {
        return Ok(Reply::Integer(0));
    };
    let (head, tail) = (first / 8, last / 8);
    let outside = |at: usize| u64::from((value[at] & !inside(at, first, last)).count_ones());
    let ones = count_ones(&value[head..=tail]);
    let ones = ones - outside(head) - if tail > head { outside(tail) } else { 0 };
    Ok(Reply::Integer(ones as i64))
}

/// Eight bytes at a time.
fn count_ones(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks();
    let in_words: u64 = words.iter().map(|word| u64::from(u64::from_ne_bytes(*word).count_ones())).sum();
    in_words + rest.iter().map(|byte| u64::from(byte.count_ones())).sum::<u64>()
}

pub(super) fn bitpos<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    let bit = match integer(&argv[2])? {
        0 => false,
        1 => true,
        _ => return Err(CommandError::BitArgument),
    };
    let (start, end, in_bits) = match &argv[3..] {
        [] => (0, None, false),
        [start] => (integer(start)?, None, false),
        [start, end, unit @ ..] if unit.len() <= 1 => {
            let start = integer(start)?;
            let in_bits = counts_bits(unit.first())?;
            (start, Some(integer(end)?), in_bits)
        }
        _ => return Err(CommandError::Syntax),
    };
    let Some(value) = unit.read_string(&argv[1])?.cloned() else {
        // An absent key is an endless array of zeros.
        return Ok(Reply::Integer(if bit { -1 } else { 0 }));
    };
    let Some((first, last)) = bits_in(start, end, in_bits, value.len()) else {
        return Ok(Reply::Integer(-1));
    };
    // Whole words without the bit are passed over; the byte that has it, or the ends, are looked at one by
    // one.
    let without = if bit { 0 } else { u64::MAX };
    let words = value[(first / 8 + 1).min(value.len())..].as_chunks().0.iter();
    let skipped = 8 * words.take_while(|word| u64::from_ne_bytes(**word) == without).count();
    let head = first / 8..first / 8 + 1;
    let found = head.chain(first / 8 + 1 + skipped..last / 8 + 1).find_map(|at| {
        let sought = if bit { value[at] } else { !value[at] };
        let byte = sought & inside(at, first, last);
        (byte != 0).then(|| at * 8 + byte.leading_zeros() as usize)
    });
    Ok(Reply::Integer(match found {
        Some(at) => at as i64,
        // The zeros behind the string are searched as well, unless the range has an end.
        None if !bit && end.is_none() => value.len() as i64 * 8,
        None => -1,
    }))
}

pub(super) fn bitop<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    // On many bytes at a time: one call for each byte would take several times as long.
    type Combine = fn(&mut [u8], &[u8]);
    let (to, sources) = (&argv[2], &argv[3..]);
    let named = |name: &str| argv[1].eq_ignore_ascii_case(name.as_bytes());
    let combine: Option<Combine> = if named("AND") {
        Some(|to, from| to.iter_mut().zip(from).for_each(|(to, from)| *to &= from))
    } else if named("OR") {
        Some(|to, from| to.iter_mut().zip(from).for_each(|(to, from)| *to |= from))
    } else if named("XOR") {
        Some(|to, from| to.iter_mut().zip(from).for_each(|(to, from)| *to ^= from))
    } else if named("NOT") {
        None
    } else {
        return Err(CommandError::Syntax);
    };
    if combine.is_none() && sources.len() != 1 {
        return Err(CommandError::BitOpNot);
    }
    let mut values = Vec::with_capacity(sources.len());
    for key in sources {
        values.push(unit.read_string(key)?.cloned().unwrap_or_default());
    }
    let len = values.iter().map(Bytes::len).max().unwrap_or(0);
    let mut result = values[0].to_vec();
    result.resize(len, 0);
    match combine {
        None => result.iter_mut().for_each(|byte| *byte = !*byte),
        Some(combine) => {
            for value in &values[1..] {
                let (covered, beyond) = result.split_at_mut(value.len());
                combine(covered, value);
                // A shorter string is followed by zeros.
                if named("AND") {
                    beyond.fill(0);
                }
            }
        }
    }
    let outcome = if len > 0 {
        // Deletes it, with a command in the stream, if it has expired.
        unit.find(to);
        let db = unit.db;
        unit.home(to).insert(db, to, Value::String(Bytes::from(result)), None);
        unit.set_string_form(to, StringForm::Built);
        unit.notify(EventClass::String, "set", to);
        StoreOutcome::Stored
    } else {
        let existed = unit.remove(to);
        if existed {
            unit.notify(EventClass::Generic, "del", to);
        }
        StoreOutcome::of(true, existed)
    };
    unit.propagate(argv, store(argv, outcome));
    Ok(Reply::Integer(len as i64))
}

/// What becomes of a value that does not fit its field.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Overflow {
    Wrap,
    Saturate,
    Fail,
}

#[derive(Clone, Copy)]
struct Field {
    signed: bool,
    width: usize,
    offset: usize,
}

#[derive(Clone, Copy)]
enum Access {
    Get,
    Set(i64),
    Add(i64),
}

struct Operation {
    field: Field,
    access: Access,
    overflow: Overflow,
}

impl Field {
    /// `i1` to `i64` and `u1` to `u63`, at a bit or, after `#`, at a multiple of the width.
    fn parse(unit: &Unit<'_, '_>, kind: &[u8], offset: &[u8]) -> Result<Field, CommandError> {
        let (signed, digits) = match kind.split_first() {
            Some((b'i', digits)) => (true, digits),
            Some((b'u', digits)) => (false, digits),
            _ => return Err(CommandError::BitFieldType),
        };
        let widest = if signed { 64 } else { 63 };
        let width = parse_i64(digits).filter(|width| (1..=widest).contains(width));
        let width = width.ok_or(CommandError::BitFieldType)?;
        let offset = match offset.strip_prefix(b"#") {
            Some(index) => parse_i64(index).and_then(|index| index.checked_mul(width)),
            None => parse_i64(offset),
        };
        Ok(Field { signed, width: width as usize, offset: bit_offset_of(unit, offset)? })
    }

    fn read(self, patch: &Patch) -> i128 {
        let raw = patch.read(self.offset, self.width);
        if self.signed {
            i128::from((raw << (64 - self.width)) as i64 >> (64 - self.width))
        } else {
            raw.into()
        }
    }

    /// A value made to fit, if it does not; `None` if that is not wanted.
    fn fit(self, value: i128, overflow: Overflow) -> Option<i128> {
        let values = 1i128 << self.width;
        let smallest = if self.signed { -(values / 2) } else { 0 };
        let largest = smallest + values - 1;
        match overflow {
            _ if (smallest..=largest).contains(&value) => Some(value),
            Overflow::Wrap => Some((value - smallest).rem_euclid(values) + smallest),
            Overflow::Saturate => Some(value.clamp(smallest, largest)),
            Overflow::Fail => None,
        }
    }
}

fn parse_operations(unit: &Unit<'_, '_>, args: &[Bytes]) -> Result<Vec<Operation>, CommandError> {
    let mut operations = Vec::new();
    let mut overflow = Overflow::Wrap;
    let mut args = args;
    while let [word, rest @ ..] = args {
        let is = |name: &str| word.eq_ignore_ascii_case(name.as_bytes());
        (args, overflow) = match rest {
            [kind, offset, rest @ ..] if is("GET") => {
                let field = Field::parse(unit, kind, offset)?;
                operations.push(Operation { field, access: Access::Get, overflow });
                (rest, overflow)
            }
            [kind, offset, value, rest @ ..] if is("SET") || is("INCRBY") => {
                let field = Field::parse(unit, kind, offset)?;
                let value = integer(value)?;
                let access = if is("SET") { Access::Set(value) } else { Access::Add(value) };
                operations.push(Operation { field, access, overflow });
                (rest, overflow)
            }
            [behaviour, rest @ ..] if is("OVERFLOW") => {
                let behaviours =
                    [("WRAP", Overflow::Wrap), ("SAT", Overflow::Saturate), ("FAIL", Overflow::Fail)];
                let known = |(name, _): &&(&str, _)| behaviour.eq_ignore_ascii_case(name.as_bytes());
                let (_, overflow) = behaviours.iter().find(known).ok_or(CommandError::BitFieldOverflow)?;
                (rest, *overflow)
            }
            _ => return Err(CommandError::Syntax),
        };
    }
    Ok(operations)
}

pub(super) fn bitfield<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    let key = &argv[1];
    let operations = parse_operations(unit, &argv[2..])?;
    let writes = operations.iter().any(|operation| !matches!(operation.access, Access::Get));
    let value = if writes { unit.find_string(key)? } else { unit.read_string(key)? };
    let mut patch = Patch::of(value);
    for Operation { field, .. } in operations.iter().filter(|it| !matches!(it.access, Access::Get)) {
        patch.cover(field.offset, field.width);
    }
    // Room is made even if every operation fails; then nobody is told.
    let (mut replies, mut noteworthy) = (Vec::with_capacity(operations.len()), false);
    for Operation { field, access, overflow } in operations {
        let old = field.read(&patch);
        let (wanted, answers_old) = match access {
            Access::Get => {
                replies.push(Reply::Integer(old as i64));
                continue;
            }
            // An unsigned field takes a negative number for the bits it is made of.
            Access::Set(value) if !field.signed => (i128::from(value as u64), true),
            Access::Set(value) => (value.into(), true),
            Access::Add(value) => (old + i128::from(value), false),
        };
        let Some(new) = field.fit(wanted, overflow) else {
            replies.push(Reply::Null);
            continue;
        };
        patch.write(field.offset, field.width, new as u64);
        noteworthy |= new != old || patch.grows();
        replies.push(Reply::Integer(if answers_old { old } else { new } as i64));
    }
    if writes {
        let outcome = patch.apply(unit, key);
        // Fields that were changed back to what they were have been changed.
        let outcome =
            if noteworthy && outcome == BitsOutcome::Unchanged { BitsOutcome::Changed } else { outcome };
        if noteworthy {
            unit.notify(EventClass::String, "setbit", key);
        }
        unit.propagate(argv, string::bits(argv, outcome));
    }
    Ok(Reply::Array(replies))
}

pub(super) fn bitfield_ro<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    let operations = parse_operations(unit, &argv[2..])?;
    if operations.iter().any(|operation| !matches!(operation.access, Access::Get)) {
        return Err(CommandError::BitFieldReadonly);
    }
    let patch = Patch::of(unit.read_string(&argv[1])?);
    let reply = |operation: &Operation| Reply::Integer(operation.field.read(&patch) as i64);
    Ok(Reply::Array(operations.iter().map(reply).collect()))
}
