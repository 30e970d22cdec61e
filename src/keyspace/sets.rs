//! Sets.

use std::sync::Arc;

use bytes::Bytes;

use super::command::{ALL, CommandSpec, MoreKeys, ONE, R, RF, TWO, WF, WM, WMF, keyed};
use super::events::EventClass;
use super::hashes::{RANDOM_ELEMENTS_MAX, draw};
use super::number::{integer, parse_i64};
use super::unit::{CommandResult, Unit};
use super::value::{Collection, Set, Value};
use super::{CommandError, SetEncoding};
use crate::resp::Reply;
use crate::rewrite::Propagation;
use crate::rewrite::set::{self, SpopOutcome};
use crate::rewrite::store::{self, StoreOutcome};

/// The commands of this file.
pub(super) static COMMANDS: &[CommandSpec] = &[
    keyed("sadd", -3, WMF, ONE, sadd),
    keyed("scard", 2, RF, ONE, scard),
    keyed("sdiff", -2, R, ALL, sdiff),
    keyed("sdiffstore", -3, WM, ALL, sdiffstore),
    keyed("sinter", -2, R, ALL, sinter),
    keyed("sintercard", -3, R, (0, 0, 0), sintercard).with_more_keys(MoreKeys::Counted(1)),
    keyed("sinterstore", -3, WM, ALL, sinterstore),
    keyed("sismember", 3, RF, ONE, sismember),
    keyed("smembers", 2, R, ONE, sinter),
    keyed("smismember", -3, RF, ONE, smismember),
    keyed("smove", 4, WF, TWO, smove),
    keyed("spop", -2, WF, ONE, spop),
    keyed("srandmember", -2, R, ONE, srandmember),
    keyed("srem", -3, WF, ONE, srem),
    keyed("sunion", -2, R, ALL, sunion),
    keyed("sunionstore", -3, WM, ALL, sunionstore),
];

pub(super) fn sadd<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    let (key, members) = (&argv[1], &argv[2..]);
    let changes =
        unit.find_as::<Set>(key)?.is_none_or(|set| members.iter().any(|member| !set.contains(member)));
    let mut added = 0;
    // A set in which nothing changes must not count as modified.
    if changes {
        added = unit.edit(key, |set: &mut Set| {
            set.expect(&members[0], members.len());
            members.iter().filter(|member| set.insert(member)).count()
        });
        unit.notify(EventClass::Set, "sadd", key);
    }
    unit.propagate(argv, Propagation::verbatim_if(added > 0));
    Ok(Reply::Integer(added as i64))
}

pub(super) fn srem<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    let (key, members) = (&argv[1], &argv[2..]);
    let present = |set: &Set| members.iter().any(|member| set.contains(member));
    let mut removed = 0;
    if unit.find_as::<Set>(key)?.is_some_and(present) {
        removed = unit.edit(key, |set: &mut Set| members.iter().filter(|member| set.remove(member)).count());
        unit.notify(EventClass::Set, "srem", key);
        notify_if_gone(unit, key);
    }
    unit.propagate(argv, Propagation::verbatim_if(removed > 0));
    Ok(Reply::Integer(removed as i64))
}

/// The event of a collection that lost its last element.
pub(super) fn notify_if_gone(unit: &mut Unit<'_, '_>, key: &[u8]) {
    if unit.find(key).is_none() {
        unit.notify(EventClass::Generic, "del", key);
    }
}

pub(super) fn smove<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    let (source, destination, member) = (&argv[1], &argv[2], &argv[3]);
    let destination_error = unit.find_as::<Set>(destination).err();
    let Some(set) = unit.find_as::<Set>(source)? else { return Ok(Reply::Integer(0)) };
    let present = set.contains(member);
    if let Some(error) = destination_error {
        return Err(error);
    }
    if present && source != destination {
        unit.edit(source, |set: &mut Set| set.remove(member));
        unit.notify(EventClass::Set, "srem", source);
        notify_if_gone(unit, source);
        if unit.find_as::<Set>(destination)?.is_none_or(|set| !set.contains(member)) {
            unit.edit(destination, |set: &mut Set| {
                set.expect(member, 1);
                set.insert(member);
            });
            unit.notify(EventClass::Set, "sadd", destination);
        }
        unit.propagate(argv, Propagation::Verbatim);
    }
    Ok(Reply::Integer(present.into()))
}

pub(super) fn scard<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    Ok(Reply::Integer(unit.read_as::<Set>(&argv[1])?.map_or(0, |set| set.len() as i64)))
}

pub(super) fn sismember<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    let is_member = unit.read_as::<Set>(&argv[1])?.is_some_and(|set| set.contains(&argv[2]));
    Ok(Reply::Integer(is_member.into()))
}

pub(super) fn smismember<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    let set = unit.read_as::<Set>(&argv[1])?;
    let is_member = |member: &Bytes| Reply::Integer(set.is_some_and(|set| set.contains(member)).into());
    Ok(Reply::Array(argv[2..].iter().map(is_member).collect()))
}

/// `SPOP key [count]`.
pub(super) fn spop<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    let (key, count) = match argv {
        [_, key] => (key, None),
        [_, key, count] => (key, Some(positive(count)?)),
        _ => return Err(CommandError::Syntax),
    };
    let verb = unit.verb();
    let Some(len) = unit.find_as::<Set>(key)?.map(Set::len) else {
        return Ok(if count.is_some() { Reply::Set(Vec::new()) } else { Reply::Null });
    };
    if count == Some(0) {
        return Ok(Reply::Set(Vec::new()));
    }
    let whole = count.is_some_and(|count| count >= len as u64);
    let popped = unit.edit(key, |set: &mut Set| set.take(draw(len, false, count.unwrap_or(1))));
    unit.notify(EventClass::Set, "spop", key);
    notify_if_gone(unit, key);
    let reply = match (count, &popped[..]) {
        (None, [member]) => Reply::Bulk(member.clone()),
        _ => Reply::Set(popped.iter().cloned().map(Reply::Bulk).collect()),
    };
    let outcome = if whole { SpopOutcome::Whole } else { SpopOutcome::Popped(popped) };
    unit.propagate(argv, set::spop(argv, outcome, verb));
    Ok(reply)
}

/// A count that must not be negative.
pub(super) fn positive(arg: &[u8]) -> Result<u64, CommandError> {
    parse_i64(arg).and_then(|count| u64::try_from(count).ok()).ok_or(CommandError::NotPositive)
}

/// `SRANDMEMBER key [count]`.
pub(super) fn srandmember<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    let (key, count) = match argv {
        [_, key] => (key, None),
        [_, key, count] => (key, Some(integer(count)?)),
        _ => return Err(CommandError::Syntax),
    };
    let Some(count) = count else {
        let set = unit.read_as::<Set>(key)?;
        let drawn = set.and_then(|set| set.get_index(rand::random_range(0..set.len().max(1))));
        return Ok(drawn.map_or(Reply::Null, Reply::Bulk));
    };
    if count == i64::MIN {
        return Err(CommandError::CountOutOfRange);
    }
    let wanted = count.unsigned_abs();
    let Some(set) = unit.read_as::<Set>(key)? else { return Ok(Reply::Array(Vec::new())) };
    if count < 0 && wanted > RANDOM_ELEMENTS_MAX {
        return Err(CommandError::OutOfRange);
    }
    let drawn = draw(set.len(), count < 0, wanted);
    Ok(Reply::Array(drawn.into_iter().filter_map(|at| set.get_index(at)).map(Reply::Bulk).collect()))
}

/// The sets under `keys`, shared; `None` for a key that is absent.
fn sources(unit: &mut Unit<'_, '_>, keys: &[Bytes]) -> Result<Vec<Option<Arc<Set>>>, CommandError> {
    let source = |key: &Bytes| match unit.read(key).map(|entry| &entry.value) {
        None => Ok(None),
        Some(Value::Set(set)) => Ok(Some(Arc::clone(set))),
        Some(_) => Err(CommandError::WrongType),
    };
    keys.iter().map(source).collect()
}

/// The sets to intersect, the smallest first; empty if one is absent, so that nothing is common.
fn smallest_first(unit: &mut Unit<'_, '_>, keys: &[Bytes]) -> Result<Vec<Arc<Set>>, CommandError> {
    let sets: Option<Vec<Arc<Set>>> = sources(unit, keys)?.into_iter().collect();
    let mut sets = sets.unwrap_or_default();
    sets.sort_by_key(|set| set.len());
    Ok(sets)
}

/// What all of `sets` have in common, in the order of the first.
fn common(sets: &[Arc<Set>]) -> impl Iterator<Item = Bytes> + '_ {
    let (first, others) = sets.split_first().map_or((None, sets), |(first, others)| (Some(first), others));
    let members = first.into_iter().flat_map(|set| set.iter());
    members.filter(move |member| others.iter().all(|set| set.contains(member)))
}

fn union(sets: &[Option<Arc<Set>>]) -> Set {
    let mut union = Set::new();
    for set in sets.iter().flatten() {
        set.iter().for_each(|member| {
            union.insert(&member);
        });
    }
    union
}

/// The members of the first set that no other has. As in Valkey, small sets to subtract are looked at
/// from the first set's side, and large ones taken out of a copy of it: the result may be in another form.
fn difference(sets: &[Option<Arc<Set>>]) -> Set {
    let mut result = Set::new();
    let Some((Some(first), others)) = sets.split_first() else { return result };
    let others: Vec<&Set> = others.iter().flatten().map(|set| &**set).collect();
    if others.iter().any(|set| std::ptr::eq(*set, &**first)) {
        return result;
    }
    let looking_up = first.len() * (1 + others.len()) / 2;
    let taking_out = first.len() + others.iter().map(|set| set.len()).sum::<usize>();
    if looking_up <= taking_out {
        let kept = first.iter().filter(|member| !others.iter().any(|set| set.contains(member)));
        kept.for_each(|member| {
            result.insert(&member);
        });
    } else {
        first.iter().for_each(|member| {
            result.insert(&member);
        });
        for set in others {
            set.iter().for_each(|member| {
                result.remove(&member);
            });
        }
    }
    result
}

fn members_reply(members: impl Iterator<Item = Bytes>) -> CommandResult {
    Ok(Reply::Set(members.map(Reply::Bulk).collect()))
}

/// `SINTER key [key …]`, and `SMEMBERS key`, which is the intersection of one set.
pub(super) fn sinter<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    let sets = smallest_first(unit, &argv[1..])?;
    members_reply(common(&sets))
}

pub(super) fn sunion<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    members_reply(union(&sources(unit, &argv[1..])?).iter())
}

pub(super) fn sdiff<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    members_reply(difference(&sources(unit, &argv[1..])?).iter())
}

/// The keys of a command that counts them in `argv[at]`, and the arguments after them.
pub(super) fn counted_keys(argv: &[Bytes], at: usize) -> Result<(&[Bytes], &[Bytes]), CommandError> {
    let count = parse_i64(&argv[at]).filter(|&count| count > 0).ok_or(CommandError::NumkeysNotPositive)?;
    let rest = &argv[at + 1..];
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    rest.split_at_checked(count).ok_or(CommandError::NumkeysTooLarge)
}

/// `SINTERCARD numkeys key [key …] [LIMIT limit]`.
pub(super) fn sintercard<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    let (keys, options) = counted_keys(argv, 1)?;
    let limit = cardinality_limit(options)?;
    let sets = smallest_first(unit, keys)?;
    Ok(Reply::Integer(common(&sets).take(limit).count() as i64))
}

/// The last `LIMIT` among the options of `SINTERCARD` or `ZINTERCARD`; 0 is no limit.
pub(super) fn cardinality_limit(options: &[Bytes]) -> Result<usize, CommandError> {
    let mut limit = 0;
    for option in options.chunks(2) {
        let [name, value] = option else { return Err(CommandError::Syntax) };
        if !name.eq_ignore_ascii_case(b"LIMIT") {
            return Err(CommandError::Syntax);
        }
        let value = parse_i64(value).and_then(|value| u64::try_from(value).ok());
        limit = value.ok_or(CommandError::LimitNegative)?;
    }
    Ok(if limit == 0 { usize::MAX } else { usize::try_from(limit).unwrap_or(usize::MAX) })
}

pub(super) fn sinterstore<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    let sets = smallest_first(unit, &argv[2..])?;
    let of_integers = sets.first().is_none_or(|set| set.encoding() == SetEncoding::Intset);
    let mut result = if of_integers { Set::new() } else { Set::compact() };
    common(&sets).for_each(|member| {
        result.insert(&member);
    });
    result.shrink_to_integers();
    store_set(unit, argv, result, "sinterstore")
}

pub(super) fn sunionstore<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    let result = union(&sources(unit, &argv[2..])?);
    store_set(unit, argv, result, "sunionstore")
}

pub(super) fn sdiffstore<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    let result = difference(&sources(unit, &argv[2..])?);
    store_set(unit, argv, result, "sdiffstore")
}

fn store_set<'c>(
    unit: &mut Unit<'_, 'c>,
    argv: &'c [Bytes],
    result: Set,
    event: &'static str,
) -> CommandResult {
    let len = result.len() as i64;
    let outcome = store_collection(unit, &argv[1], result, EventClass::Set, event);
    unit.propagate(argv, store::store(argv, outcome));
    Ok(Reply::Integer(len))
}

/// Makes `result` the value of `destination`, without a deadline; an empty one deletes it.
pub(super) fn store_collection<C: Collection>(
    unit: &mut Unit<'_, '_>,
    destination: &[u8],
    result: C,
    class: EventClass,
    event: &'static str,
) -> StoreOutcome {
    if result.has_no_elements() {
        let existed = unit.remove(destination);
        if existed {
            unit.notify(EventClass::Generic, "del", destination);
        }
        return StoreOutcome::of(true, existed);
    }
    // Deletes it, with a command in the stream, if it has expired.
    unit.find(destination);
    let db = unit.db;
    unit.home(destination).insert(db, destination, result.into_value(), None);
    unit.notify(class, event, destination);
    StoreOutcome::Stored
}
