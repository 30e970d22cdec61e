//! Hashes.

use bytes::Bytes;

use super::command::{CommandSpec, ONE, R, RF, WF, WMF, keyed};
use super::events::EventClass;
use super::long_double::LongDouble;
use super::number::{decimal, integer, parse_i64};
use super::strings::OK;
use super::unit::{CommandResult, Unit};
use super::{CommandError, Hash};
use crate::hash_ttl::Field;
use crate::resp::Reply;
use crate::rewrite::Propagation;
use crate::rewrite::hash::{self, DeadlineBefore};

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
    unit.find_as::<Hash>(&argv[1])?;
    let created = unit.edit(&argv[1], |hash: &mut Hash| {
        let mut created = 0;
        for pair in argv[2..].chunks_exact(2) {
            created += i64::from(hash.insert(&pair[0], &pair[1], None).is_none());
        }
        created
    });
    unit.notify(EventClass::Hash, "hset", &argv[1]);
    unit.propagate(argv, Propagation::Verbatim);
    Ok(created)
}

pub(super) fn hsetnx<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    let field = &argv[2];
    let moment = unit.moment();
    let absent = unit.find_as::<Hash>(&argv[1])?.is_none_or(|hash| hash.get(field, moment).is_none());
    if absent {
        unit.edit(&argv[1], |hash: &mut Hash| hash.insert(field, &argv[3], None));
        unit.notify(EventClass::Hash, "hset", &argv[1]);
    }
    unit.propagate(argv, Propagation::verbatim_if(absent));
    Ok(Reply::Integer(absent.into()))
}

pub(super) fn hdel<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    let present = |hash: &Hash| argv[2..].iter().any(|field| hash.stored(field).is_some());
    let (mut deleted, mut emptied) = (0, false);
    // A hash in which nothing changes must not count as modified.
    if unit.find_as::<Hash>(&argv[1])?.is_some_and(present) {
        unit.edit(&argv[1], |hash: &mut Hash| {
            deleted = argv[2..].iter().filter(|field| hash.remove(field).is_some()).count();
            emptied = hash.is_empty();
        });
        unit.notify(EventClass::Hash, "hdel", &argv[1]);
        if emptied {
            unit.notify(EventClass::Generic, "del", &argv[1]);
        }
    }
    unit.propagate(argv, Propagation::verbatim_if(deleted > 0));
    Ok(Reply::Integer(deleted as i64))
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
    let old = match unit.find_as::<Hash>(key)?.and_then(|hash| hash.get(field, moment)) {
        Some(field) => parse_i64(&field.value).ok_or(CommandError::HashNotInteger)?,
        None => 0,
    };
    let new = old.checked_add(increment).ok_or(CommandError::Overflow)?;
    unit.edit(key, |hash: &mut Hash| hash.insert(field, &decimal(new), None));
    unit.notify(EventClass::Hash, "hincrby", key);
    unit.propagate(argv, Propagation::Verbatim);
    Ok(Reply::Integer(new))
}

pub(super) fn hincrbyfloat<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    let (key, field) = (&argv[1], &argv[2]);
    let increment = LongDouble::parse(&argv[3]).ok_or(CommandError::NotFloat)?;
    if !increment.is_finite() {
        return Err(CommandError::IncrementNotFinite);
    }
    let moment = unit.moment();
    let old = match unit.find_as::<Hash>(key)?.and_then(|hash| hash.get(field, moment)) {
        Some(field) => LongDouble::parse(&field.value).ok_or(CommandError::HashNotFloat)?,
        None => LongDouble::ZERO,
    };
    let new = old.plus(increment);
    if !new.is_finite() {
        return Err(CommandError::NanOrInfinity);
    }
    let new = Bytes::from(new.to_decimal());
    unit.edit(key, |hash: &mut Hash| hash.insert(field, &new, None));
    unit.notify(EventClass::Hash, "hincrbyfloat", key);
    unit.propagate(argv, hash::hincrbyfloat(argv, &new, DeadlineBefore::NotVolatile));
    Ok(Reply::Bulk(new))
}

/// `HRANDFIELD key [count [WITHVALUES]]`.
pub(super) fn hrandfield<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    let Some(count) = argv.get(2) else {
        let hash = unit.read_as::<Hash>(&argv[1])?;
        let drawn = hash.and_then(|hash| hash.get_index(rand::random_range(0..hash.len().max(1))));
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
    if (with_values && wanted > i64::MAX as u64 / 2) || (count < 0 && wanted > RANDOM_ELEMENTS_MAX) {
        return Err(CommandError::OutOfRange);
    }
    let Some(hash) = unit.read_as::<Hash>(&argv[1])? else { return Ok(Reply::Array(Vec::new())) };
    let drawn = draw(hash.len(), count < 0, wanted).into_iter().filter_map(|index| hash.get_index(index));
    let drawn = drawn.map(|field| (Reply::Bulk(field.name.to_bytes()), Reply::Bulk(field.value.to_bytes())));
    Ok(if with_values { Reply::pairs(drawn) } else { Reply::Array(drawn.map(|(field, _)| field).collect()) })
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
