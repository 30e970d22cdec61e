//! Hashes.

use bytes::Bytes;

use super::command::{CommandSpec, ONE, R, RF, WF, WMF, keyed};
use super::events::EventClass;
use super::long_double::LongDouble;
use super::number::{decimal, integer, parse_i64};
use super::strings::OK;
use super::unit::{CommandResult, Unit};
use super::{CommandError, Hash};
use crate::hash_ttl::arguments::{Named, NewDeadline};
use crate::hash_ttl::commands::Met;
use crate::hash_ttl::{Field, Moment, commands};
use crate::resp::Reply;
use crate::rewrite::hash::{self, HSetNxOutcome};

/// The commands of this file.
pub(super) static COMMANDS: &[CommandSpec] = &[
    keyed("hdel", -3, WF, ONE, hdel),
    keyed("hexists", 3, RF, ONE, hexists),
    keyed("hget", 3, RF, ONE, hget),
    keyed("hgetall", 2, R, ONE, hgetall),
    keyed("hincrby", 4, WMF, ONE, hincrby),
    keyed("hincrbyfloat", 4, WMF, ONE, hincrbyfloat),
    keyed("hkeys", 2, R, ONE, hkeys),
    keyed("hlen", 2, RF, ONE, hlen),
    keyed("hmget", -3, RF, ONE, hmget),
    keyed("hmset", -4, WMF, ONE, hmset),
    keyed("hrandfield", -2, R, ONE, hrandfield),
    keyed("hset", -4, WMF, ONE, hset),
    keyed("hsetnx", 4, WMF, ONE, hsetnx),
    keyed("hstrlen", 3, RF, ONE, hstrlen),
    keyed("hvals", 2, R, ONE, hvals),
];

/// The most elements that `HRANDFIELD` and its like answer to a negative count: elements may repeat, so
/// nothing else would bound the memory of the reply.
pub(super) const RANDOM_ELEMENTS_MAX: u64 = 1 << 20;

pub(super) fn hset<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    Ok(Reply::Integer(set_pairs(unit, argv, "hset")?))
}

pub(super) fn hmset<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    set_pairs(unit, argv, "hmset")?;
    Ok(OK)
}

/// Returns how many fields were created.
fn set_pairs<'c>(
    unit: &mut Unit<'_, 'c>,
    argv: &'c [Bytes],
    name: &'static str,
) -> Result<i64, CommandError> {
    if argv.len() % 2 == 1 {
        return Err(CommandError::Arity(name));
    }
    let (key, pairs, moment) = (&argv[1], Named::pairs(argv, 2), unit.moment());
    commands::room(unit.find_as::<Hash>(key)?, pairs)?;
    let stored = unit.edit(key, |hash: &mut Hash| commands::set(hash, pairs, NewDeadline::None, moment));
    expired(unit, key, stored.dead.len());
    unit.notify(EventClass::Hash, "hset", key);
    unit.propagate(argv, hash::hset(argv));
    Ok(stored.created as i64)
}

/// Runs what may change the hash under `key`, and says with what it did whether the hash is empty, and with
/// that gone.
pub(super) fn edit_fields<T>(
    unit: &mut Unit<'_, '_>,
    key: &[u8],
    act: impl FnOnce(&mut Hash) -> T,
    has_changed: impl FnOnce(&T) -> bool,
) -> (T, bool) {
    unit.edit_if(key, |hash: &mut Hash| {
        let done = act(hash);
        let has_changed = has_changed(&done);
        ((done, hash.is_empty()), has_changed)
    })
}

/// Counts fields of `key` that had expired and are gone, and tells of them; nothing if there are none.
pub(super) fn expired(unit: &mut Unit<'_, '_>, key: &[u8], fields: usize) {
    if fields > 0 {
        unit.home(key).stats.expired_fields += fields as u64;
        unit.notify(EventClass::Hash, "hexpired", key);
    }
}

/// Tells that a hash went with its last field, if it did.
pub(super) fn notify_emptied(unit: &mut Unit<'_, '_>, key: &[u8], emptied: bool) {
    if emptied {
        unit.notify(EventClass::Generic, "del", key);
    }
}

pub(super) fn hsetnx<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    let (key, moment) = (&argv[1], unit.moment());
    let hash = unit.find_as::<Hash>(key)?;
    if hash.is_some_and(|hash| hash.get(&argv[2], moment).is_some()) {
        // Most often the answer to who tries again and again: a hash that a snapshot shares is not copied for
        // it.
        unit.propagate(argv, hash::hsetnx(argv, HSetNxOutcome::Unchanged));
        return Ok(Reply::Integer(0));
    }
    commands::room(hash, Named::pairs(argv, 2))?;
    let done = unit.edit(key, |hash: &mut Hash| commands::set_absent(hash, &argv[2], &argv[3], moment));
    expired(unit, key, done.overwrote_dead.into());
    unit.notify(EventClass::Hash, "hset", key);
    unit.propagate(argv, hash::hsetnx(argv, done.outcome));
    Ok(Reply::Integer(1))
}

pub(super) fn hdel<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    let (key, moment) = (&argv[1], unit.moment());
    unit.find_as::<Hash>(key)?;
    let delete = |hash: &mut Hash| commands::delete(hash, Named::fields(argv, 2), moment);
    let (met, emptied) = edit_fields(unit, key, delete, Met::has_changed);
    if met.has_changed() {
        unit.notify(EventClass::Hash, "hdel", key);
        notify_emptied(unit, key, emptied);
    }
    unit.propagate(argv, hash::hdel(argv, met.touched()));
    Ok(Reply::Integer(met.changed.len() as i64))
}

pub(super) fn hget<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    let moment = unit.moment();
    let field = unit.read_as::<Hash>(&argv[1])?.and_then(|hash| hash.get(&argv[2], moment));
    Ok(value_or_null(field))
}

/// The value of a field, or that there is none.
fn value_or_null(field: Option<Field<'_>>) -> Reply {
    field.map_or(Reply::Null, |field| Reply::Bulk(field.value.to_bytes()))
}

pub(super) fn hmget<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    let moment = unit.moment();
    let hash = unit.read_as::<Hash>(&argv[1])?;
    let value = |field: &Bytes| value_or_null(hash.and_then(|hash| hash.get(field, moment)));
    Ok(Reply::Array(argv[2..].iter().map(value).collect()))
}

pub(super) fn hexists<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    let moment = unit.moment();
    let exists = unit.read_as::<Hash>(&argv[1])?.is_some_and(|hash| hash.get(&argv[2], moment).is_some());
    Ok(Reply::Integer(exists.into()))
}

pub(super) fn hstrlen<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    let moment = unit.moment();
    let field = unit.read_as::<Hash>(&argv[1])?.and_then(|hash| hash.get(&argv[2], moment));
    Ok(Reply::Integer(field.map_or(0, |field| field.value.len() as i64)))
}

pub(super) fn hlen<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    Ok(Reply::Integer(unit.read_as::<Hash>(&argv[1])?.map_or(0, |hash| hash.len() as i64)))
}

pub(super) fn hgetall<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    let moment = unit.moment();
    let pair = |field: Field<'_>| (Reply::Bulk(field.name.to_bytes()), Reply::Bulk(field.value.to_bytes()));
    let hash = unit.read_as::<Hash>(&argv[1])?;
    Ok(Reply::Map(hash.map_or_else(Vec::new, |hash| hash.alive(moment).map(pair).collect())))
}

pub(super) fn hkeys<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    let moment = unit.moment();
    let hash = unit.read_as::<Hash>(&argv[1])?;
    let alive = hash.into_iter().flat_map(|hash| hash.alive(moment));
    let fields = alive.map(|field| Reply::Bulk(field.name.to_bytes()));
    Ok(Reply::Array(fields.collect()))
}

pub(super) fn hvals<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    let moment = unit.moment();
    let hash = unit.read_as::<Hash>(&argv[1])?;
    let alive = hash.into_iter().flat_map(|hash| hash.alive(moment));
    let values = alive.map(|field| Reply::Bulk(field.value.to_bytes()));
    Ok(Reply::Array(values.collect()))
}

pub(super) fn hincrby<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    let (key, field) = (&argv[1], &argv[2]);
    let increment = integer(&argv[3])?;
    let moment = unit.moment();
    let hash = unit.find_as::<Hash>(key)?;
    commands::room(hash, Named::fields(&argv[..3], 2))?;
    let base = commands::base(hash, field, moment);
    let old = base.field.map_or(Some(0), |field| parse_i64(&field.value));
    let new =
        old.ok_or(CommandError::HashNotInteger)?.checked_add(increment).ok_or(CommandError::Overflow)?;
    let (before, is_dead) = (base.before, base.is_dead);
    unit.edit(key, |hash: &mut Hash| commands::store_sum(hash, field, &decimal(new), before));
    expired(unit, key, is_dead.into());
    unit.notify(EventClass::Hash, "hincrby", key);
    unit.propagate(argv, hash::hincrby(argv, new, before));
    Ok(Reply::Integer(new))
}

pub(super) fn hincrbyfloat<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    let (key, field) = (&argv[1], &argv[2]);
    let increment = LongDouble::parse(&argv[3]).ok_or(CommandError::NotFloat)?;
    if !increment.is_finite() {
        return Err(CommandError::IncrementNotFinite);
    }
    let moment = unit.moment();
    let hash = unit.find_as::<Hash>(key)?;
    commands::room(hash, Named::fields(&argv[..3], 2))?;
    let base = commands::base(hash, field, moment);
    let old = base.field.map_or(Some(LongDouble::ZERO), |field| LongDouble::parse(&field.value));
    let old = old.ok_or(CommandError::HashNotFloat)?;
    let (before, is_dead) = (base.before, base.is_dead);
    let new = old.plus(increment);
    if !new.is_finite() {
        return Err(CommandError::NanOrInfinity);
    }
    let new = Bytes::from(new.to_decimal());
    unit.edit(key, |hash: &mut Hash| commands::store_sum(hash, field, &new, before));
    expired(unit, key, is_dead.into());
    unit.notify(EventClass::Hash, "hincrbyfloat", key);
    unit.propagate(argv, hash::hincrbyfloat(argv, &new, before));
    Ok(Reply::Bulk(new))
}

/// `HRANDFIELD key [count [WITHVALUES]]`.
pub(super) fn hrandfield<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    let Some(count) = argv.get(2) else {
        let moment = unit.moment();
        let hash = unit.read_as::<Hash>(&argv[1])?;
        let drawn = hash.and_then(|hash| draw_alive(hash, false, 1, moment).first().copied());
        return Ok(drawn.map_or(Reply::Null, |field| Reply::Bulk(field.name.to_bytes())));
    };
    let count = integer(count)?;
    if count == i64::MIN {
        return Err(CommandError::CountOutOfRange);
    }
    let with_values = match &argv[3..] {
        [] => false,
        [option] if option.eq_ignore_ascii_case(b"WITHVALUES") => true,
        _ => return Err(CommandError::Syntax),
    };
    let wanted = count.unsigned_abs();
    if with_values && wanted > i64::MAX as u64 / 2 {
        return Err(CommandError::OutOfRange);
    }
    let moment = unit.moment();
    let Some(hash) = unit.read_as::<Hash>(&argv[1])? else { return Ok(Reply::Array(Vec::new())) };
    if count < 0 && wanted > RANDOM_ELEMENTS_MAX {
        return Err(CommandError::OutOfRange);
    }
    let drawn = draw_alive(hash, count < 0, wanted, moment).into_iter();
    let drawn = drawn.map(|field| (Reply::Bulk(field.name.to_bytes()), Reply::Bulk(field.value.to_bytes())));
    Ok(if with_values { Reply::pairs(drawn) } else { Reply::Array(drawn.map(|(field, _)| field).collect()) })
}

/// Fields that are there: `wanted` with repetitions, or at most `wanted` different ones; each is as likely as
/// the others.
///
/// Drawing among all that is stored and leaving out the dead is fair, and cheap as long as most are alive.
/// Where it is not, those alive are looked for, once. So they are for more than one of a compact hash, which
/// has no fast way to an index.
fn draw_alive(hash: &Hash, repeating: bool, wanted: u64, moment: Moment) -> Vec<Field<'_>> {
    let field = |index: usize| hash.get_index(index).filter(|field| !moment.hides(field.deadline_ms));
    if hash.is_compact() && wanted > 1 {
        return draw_among(hash.alive(moment).collect(), repeating, wanted);
    }
    if !commands::may_have_dead(hash, moment) {
        return draw(hash.len(), repeating, wanted).into_iter().filter_map(field).collect();
    }
    // Twice as many as wanted, and some: at least half are alive in most hashes.
    let tried = wanted.saturating_mul(2).saturating_add(16);
    let enough = usize::try_from(wanted).unwrap_or(usize::MAX);
    let drawn: Vec<_> = if repeating {
        let indices = (0..tried).map(|_| rand::random_range(0..hash.len()));
        indices.filter_map(field).take(enough).collect()
    } else if tried < hash.len() as u64 {
        // They come in random order, so the first are as good as any.
        draw(hash.len(), false, tried).into_iter().filter_map(field).take(enough).collect()
    } else {
        Vec::new()
    };
    if drawn.len() == enough {
        return drawn;
    }
    draw_among(hash.alive(moment).collect(), repeating, wanted)
}

fn draw_among(fields: Vec<Field<'_>>, repeating: bool, wanted: u64) -> Vec<Field<'_>> {
    if fields.is_empty() {
        return fields;
    }
    draw(fields.len(), repeating, wanted).into_iter().map(|index| fields[index]).collect()
}

/// Indices below `len`: `wanted` with repetitions, or at most `wanted` different ones.
pub(super) fn draw(len: usize, repeating: bool, wanted: u64) -> Vec<usize> {
    if repeating {
        return (0..wanted).map(|_| rand::random_range(0..len)).collect();
    }
    let wanted = usize::try_from(wanted).unwrap_or(len);
    if wanted >= len {
        return (0..len).collect();
    }
    rand::seq::index::sample(&mut rand::rng(), len, wanted).into_vec()
}
