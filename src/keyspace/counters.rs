//! Strings that are numbers.

use bytes::Bytes;

use super::command::{CommandSpec, ONE, WMF, keyed};
use super::events::EventClass;
use super::long_double::LongDouble;
use super::memory::StringForm;
use super::number::{decimal, integer};
use super::unit::{CommandResult, Unit};
use super::{CommandError, Value};
use crate::resp::Reply;
use crate::rewrite::string;

/// The commands of this file.
pub(super) static COMMANDS: &[CommandSpec] = &[
    keyed("decr", 2, WMF, ONE, decr),
    keyed("decrby", 3, WMF, ONE, decrby),
    keyed("incr", 2, WMF, ONE, incr),
    keyed("incrby", 3, WMF, ONE, incrby),
    keyed("incrbyfloat", 3, WMF, ONE, incrbyfloat),
];

pub(super) fn incr<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    add(unit, argv, 1)
}

pub(super) fn decr<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    add(unit, argv, -1)
}

pub(super) fn incrby<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    add(unit, argv, integer(&argv[2])?)
}

pub(super) fn decrby<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    let decrement = integer(&argv[2])?;
    add(unit, argv, decrement.checked_neg().ok_or(CommandError::DecrementOverflow)?)
}

fn add<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes], increment: i64) -> CommandResult {
    let old = unit.find_string(&argv[1])?.map_or(Ok(0), |value| integer(value))?;
    let new = old.checked_add(increment).ok_or(CommandError::Overflow)?;
    replace(unit, &argv[1], decimal(new));
    unit.notify(EventClass::String, "incrby", &argv[1]);
    unit.propagate(argv, string::incr(argv));
    Ok(Reply::Integer(new))
}

pub(super) fn incrbyfloat<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    let float = |text: &[u8]| LongDouble::parse(text).ok_or(CommandError::NotFloat);
    let old = unit.find_string(&argv[1])?.map_or(Ok(LongDouble::ZERO), |value| float(value))?;
    let new = old.plus(float(&argv[2])?);
    if !new.is_finite() {
        return Err(CommandError::NanOrInfinity);
    }
    let new = Bytes::from(new.to_decimal());
    replace(unit, &argv[1], new.clone());
    unit.set_string_form(&argv[1], StringForm::Text);
    unit.notify(EventClass::String, "incrbyfloat", &argv[1]);
    unit.propagate(argv, string::incrbyfloat(argv, &new));
    Ok(Reply::Bulk(new))
}

/// Replaces the value and keeps the deadline.
fn replace(unit: &mut Unit<'_, '_>, key: &[u8], value: Bytes) {
    let (db, deadline_ms) = (unit.db, unit.deadline_ms(key));
    unit.home(key).insert(db, key, Value::String(value), deadline_ms);
}
