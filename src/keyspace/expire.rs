//! Deadlines of keys.

use bytes::Bytes;

use super::CommandError;
use super::command::{CommandSpec, ONE, RF, WF, keyed};
use super::events::EventClass;
use super::number::{TimeForm, integer};
use super::unit::{CommandResult, Unit};
use crate::hash_ttl::arguments::Conditions;
use crate::resp::Reply;
use crate::rewrite::generic::{self, ExpireOutcome};

/// The commands of this file.
pub(super) static COMMANDS: &[CommandSpec] = &[
    keyed("expire", -3, WF, ONE, expire),
    keyed("expireat", -3, WF, ONE, expireat),
    keyed("expiretime", 2, RF, ONE, expiretime),
    keyed("persist", 2, WF, ONE, persist),
    keyed("pexpire", -3, WF, ONE, pexpire),
    keyed("pexpireat", -3, WF, ONE, pexpireat),
    keyed("pexpiretime", 2, RF, ONE, pexpiretime),
    keyed("pttl", 2, RF, ONE, pttl),
    keyed("ttl", 2, RF, ONE, ttl),
];

pub(super) fn expire<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    set_deadline(unit, argv, TimeForm::Seconds, "expire")
}

pub(super) fn pexpire<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    set_deadline(unit, argv, TimeForm::Milliseconds, "pexpire")
}

pub(super) fn expireat<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    set_deadline(unit, argv, TimeForm::UnixSeconds, "expireat")
}

pub(super) fn pexpireat<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    set_deadline(unit, argv, TimeForm::UnixMilliseconds, "pexpireat")
}

fn set_deadline<'c>(
    unit: &mut Unit<'_, 'c>,
    argv: &'c [Bytes],
    form: TimeForm,
    name: &'static str,
) -> CommandResult {
    let conditions = Conditions::parse(&argv[3..])?;
    let time = integer(&argv[2])?;
    let ms = form.absolute_ms(time, unit.now_ms).ok_or(CommandError::InvalidExpire(name))?;
    // A time before the epoch is as past as the epoch.
    let deadline_ms = u64::try_from(ms).unwrap_or(0);
    let key = &argv[1];
    let Some(entry) = unit.find(key) else { return Ok(Reply::Integer(0)) };
    let outcome = if !conditions.met(entry.deadline_ms, deadline_ms) {
        ExpireOutcome::Unchanged
    } else if unit.is_past(deadline_ms) {
        unit.expire(key);
        ExpireOutcome::Deleted
    } else {
        unit.set_deadline(key, Some(deadline_ms));
        unit.notify(EventClass::Generic, "expire", key);
        ExpireOutcome::Deadline(deadline_ms)
    };
    let propagation = generic::expire(argv, outcome, unit.verb());
    unit.propagate(argv, propagation);
    Ok(Reply::Integer((outcome != ExpireOutcome::Unchanged).into()))
}

pub(super) fn persist<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    let has_deadline = unit.find(&argv[1]).is_some_and(|entry| entry.deadline_ms.is_some());
    if has_deadline {
        unit.set_deadline(&argv[1], None);
        unit.notify(EventClass::Generic, "persist", &argv[1]);
    }
    unit.propagate(argv, generic::persist(argv, has_deadline));
    Ok(Reply::Integer(has_deadline.into()))
}

pub(super) fn ttl<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    Ok(report(unit, &argv[1], TimeForm::Seconds))
}

pub(super) fn pttl<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    Ok(report(unit, &argv[1], TimeForm::Milliseconds))
}

pub(super) fn expiretime<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    Ok(report(unit, &argv[1], TimeForm::UnixSeconds))
}

pub(super) fn pexpiretime<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    Ok(report(unit, &argv[1], TimeForm::UnixMilliseconds))
}

/// -2 without a key, -1 without a deadline.
fn report(unit: &mut Unit<'_, '_>, key: &[u8], form: TimeForm) -> Reply {
    let now_ms = unit.now_ms;
    Reply::Integer(match unit.read_untouched(key).map(|entry| entry.deadline_ms) {
        None => -2,
        Some(None) => -1,
        Some(Some(deadline_ms)) => form.report(deadline_ms, now_ms),
    })
}
