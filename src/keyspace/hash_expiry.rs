//! Deadlines of fields.
//!
//! What happens to the fields is [`hash_ttl::commands`](crate::hash_ttl::commands), what their arguments mean
//! is [`hash_ttl::arguments`](crate::hash_ttl::arguments). Here are the key, the events, the statistics and
//! the propagation.

use bytes::Bytes;

use super::command::{CommandSpec, ONE, RF, WF, WMF, keyed};
use super::events::EventClass;
use super::hashes::{edit_fields, expired, notify_emptied};
use super::unit::{CommandResult, Unit};
use super::{CommandError, Hash};
use crate::hash_ttl::arguments::{self, DeadlineChange, HExpire, HGetEx, HSetEx, NewDeadline, TimeForm};
use crate::hash_ttl::commands::{self, Answered, FieldCode, Met, SetEx};
use crate::resp::Reply;
use crate::rewrite::hash::{self, FieldEffect, HSetExOutcome};

/// The commands of this file.
pub(super) static COMMANDS: &[CommandSpec] = &[
    keyed("hexpire", -6, WF, ONE, hexpire),
    keyed("hexpireat", -6, WF, ONE, hexpireat),
    keyed("hexpiretime", -5, RF, ONE, hexpiretime),
    keyed("hgetdel", -5, WF, ONE, hgetdel),
    keyed("hgetex", -5, WF, ONE, hgetex),
    keyed("hpersist", -5, WF, ONE, hpersist),
    keyed("hpexpire", -6, WF, ONE, hpexpire),
    keyed("hpexpireat", -6, WF, ONE, hpexpireat),
    keyed("hpexpiretime", -5, RF, ONE, hpexpiretime),
    keyed("hpttl", -5, RF, ONE, hpttl),
    keyed("hsetex", -6, WMF, ONE, hsetex),
    keyed("httl", -5, RF, ONE, httl),
];

pub(super) fn hexpire<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    set_deadlines(unit, argv, TimeForm::Seconds)
}

pub(super) fn hpexpire<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    set_deadlines(unit, argv, TimeForm::Milliseconds)
}

pub(super) fn hexpireat<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    set_deadlines(unit, argv, TimeForm::UnixSeconds)
}

pub(super) fn hpexpireat<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    set_deadlines(unit, argv, TimeForm::UnixMilliseconds)
}

fn set_deadlines<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes], form: TimeForm) -> CommandResult {
    let moment = unit.moment();
    let HExpire { deadline_ms, conditions, fields } = HExpire::parse(argv, form, moment.now_ms)?;
    let (done, emptied) =
        change(unit, &argv[1], |hash| commands::expire(hash, fields, deadline_ms, &conditions, moment))?;
    notify_changed(unit, &argv[1], &done.met, done.effect, emptied);
    unit.propagate(argv, hash::hexpire(argv, done.met.touched(), done.effect));
    Ok(codes(done.replies))
}

pub(super) fn hpersist<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    let (fields, moment) = (arguments::fields(argv)?, unit.moment());
    let (done, emptied) = change(unit, &argv[1], |hash| commands::persist(hash, fields, moment))?;
    notify_changed(unit, &argv[1], &done.met, done.effect, emptied);
    unit.propagate(argv, hash::hpersist(argv, done.met.touched()));
    Ok(codes(done.replies))
}

pub(super) fn hgetdel<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    let (fields, moment) = (arguments::fields(argv)?, unit.moment());
    let (done, emptied) = change(unit, &argv[1], |hash| commands::take(hash, fields, moment))?;
    if done.met.has_changed() {
        unit.notify(EventClass::Hash, "hdel", &argv[1]);
        notify_emptied(unit, &argv[1], emptied);
    }
    unit.propagate(argv, hash::hgetdel(argv, done.met.touched()));
    Ok(values(done.replies))
}

/// A reading command, as far as misses are concerned.
pub(super) fn hgetex<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    let (call, moment) = (HGetEx::parse(argv)?, unit.moment());
    let hash = unit.read_as::<Hash>(&argv[1])?;
    let deadline = call.change(moment.now_ms)?;
    if deadline == DeadlineChange::None {
        let value = |(_, name): (usize, &Bytes)| {
            hash.and_then(|hash| hash.get(name, moment)).map(|field| field.value.to_bytes())
        };
        return Ok(values(call.fields.iter().map(value).collect()));
    }
    let (done, emptied) =
        change(unit, &argv[1], |hash| commands::get_ex(hash, call.fields, deadline, moment))?;
    notify_changed(unit, &argv[1], &done.met, done.effect, emptied);
    unit.propagate(argv, hash::hgetex(argv, done.met.touched(), done.effect));
    Ok(values(done.replies))
}

pub(super) fn hsetex<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    let (call, moment, key) = (HSetEx::parse(argv)?, unit.moment(), &argv[1]);
    let hash = unit.find_as::<Hash>(key)?;
    let (exists, room) = (hash.is_some(), commands::room(hash, call.pairs));
    if !call.allows(exists) {
        unit.propagate(argv, hash::hsetex(argv, HSetExOutcome::NotMet));
        return Ok(Reply::Integer(0));
    }
    let deadline = call.deadline(moment.now_ms)?;
    room?;
    let store = |hash: &mut Hash| commands::set_ex(hash, call.pairs, call.condition, deadline, moment);
    let (done, emptied) = edit_fields(unit, key, store, SetEx::has_changed);
    match &done {
        SetEx::NotMet => {}
        SetEx::Stored(stored, deadline) => {
            expired(unit, key, stored.dead.len());
            unit.notify(EventClass::Hash, "hset", key);
            if matches!(deadline, NewDeadline::Set(_)) {
                unit.notify(EventClass::Hash, "hexpire", key);
            }
        }
        // As in Valkey, the fields have been there for a moment, those that were absent too.
        SetEx::Past(_) => {
            if !exists {
                unit.notify(EventClass::New, "new", key);
            }
            unit.notify(EventClass::Hash, "hset", key);
            unit.notify(EventClass::Hash, "hexpire", key);
            expired(unit, key, call.pairs.len());
            notify_emptied(unit, key, emptied);
        }
    }
    unit.propagate(argv, hash::hsetex(argv, done.outcome()));
    Ok(Reply::Integer((done != SetEx::NotMet).into()))
}

pub(super) fn httl<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    report(unit, argv, TimeForm::Seconds)
}

pub(super) fn hpttl<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    report(unit, argv, TimeForm::Milliseconds)
}

pub(super) fn hexpiretime<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    report(unit, argv, TimeForm::UnixSeconds)
}

pub(super) fn hpexpiretime<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    report(unit, argv, TimeForm::UnixMilliseconds)
}

fn report(unit: &mut Unit<'_, '_>, argv: &[Bytes], form: TimeForm) -> CommandResult {
    let (fields, moment) = (arguments::queried_fields(argv)?, unit.moment());
    let hash = unit.read_as::<Hash>(&argv[1])?;
    let time = |(_, name): (usize, &Bytes)| Reply::Integer(commands::time_left(hash, name, form, moment));
    Ok(Reply::Array(fields.iter().map(time).collect()))
}

/// [`edit_fields`] of a key that may hold something else.
fn change<T>(
    unit: &mut Unit<'_, '_>,
    key: &[u8],
    act: impl FnOnce(&mut Hash) -> Answered<T>,
) -> Result<(Answered<T>, bool), CommandError> {
    unit.find_as::<Hash>(key)?;
    Ok(edit_fields(unit, key, act, |done| done.met.has_changed()))
}

/// Tells what became of the fields that were changed.
fn notify_changed(unit: &mut Unit<'_, '_>, key: &[u8], met: &Met, effect: FieldEffect, emptied: bool) {
    if !met.has_changed() {
        return;
    }
    match effect {
        FieldEffect::Deadline(_) => unit.notify(EventClass::Hash, "hexpire", key),
        FieldEffect::Persisted => unit.notify(EventClass::Hash, "hpersist", key),
        FieldEffect::Deleted => {
            expired(unit, key, met.changed.len());
            notify_emptied(unit, key, emptied);
        }
    }
}

fn codes(replies: Vec<FieldCode>) -> Reply {
    Reply::Array(replies.into_iter().map(|code| Reply::Integer(code.as_i64())).collect())
}

fn values(replies: Vec<Option<Bytes>>) -> Reply {
    Reply::Array(replies.into_iter().map(|value| value.map_or(Reply::Null, Reply::Bulk)).collect())
}
