//! Commands on keys of any type, and on whole databases.

use std::sync::Arc;

use bytes::Bytes;

use super::command::{ALL, CommandSpec, ONE, R, RF, Scope, TWO, W, WF, WM, keyed, whole};
use super::events::EventClass;
use super::number::integer;
use super::strings::OK;
use super::unit::{CommandResult, Unit};
use super::{CommandError, ExpiryPolicy, Value};
use crate::hash_ttl::commands;
use crate::resp::Reply;
use crate::rewrite::Propagation;
use crate::rewrite::generic::{self, CopyOutcome, RelocateOutcome};

/// The commands of this file.
pub(super) static COMMANDS: &[CommandSpec] = &[
    keyed("copy", -3, WM, TWO, copy),
    whole("dbsize", 1, RF, Scope::All, dbsize),
    keyed("del", -2, W, ALL, del),
    keyed("exists", -2, RF, ALL, exists),
    whole("flushall", -1, W, Scope::All, flushall),
    whole("flushdb", -1, W, Scope::All, flushdb),
    keyed("move", 3, WF, ONE, move_key),
    whole("randomkey", 1, R, Scope::All, randomkey),
    keyed("rename", 3, W, TWO, rename),
    keyed("renamenx", 3, WF, TWO, renamenx),
    whole("swapdb", 3, WF, Scope::All, swapdb),
    keyed("type", 2, RF, ONE, type_of),
    keyed("unlink", -2, WF, ALL, del),
];

pub(super) fn del<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    let mut deleted = 0;
    for key in &argv[1..] {
        // An expired key is reclaimed by `find`, and does not count.
        if unit.find(key).is_some() && unit.remove(key) {
            unit.notify(EventClass::Generic, "del", key);
            deleted += 1;
        }
    }
    unit.propagate(argv, generic::del(argv, deleted));
    Ok(Reply::Integer(deleted as i64))
}

pub(super) fn exists<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    let found = argv[1..].iter().filter(|key| unit.read_untouched(key).is_some()).count();
    Ok(Reply::Integer(found as i64))
}

pub(super) fn type_of<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    Ok(Reply::Simple(unit.read_untouched(&argv[1]).map_or("none", |entry| entry.value.type_name())))
}

pub(super) fn rename<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    rename_to(unit, argv, true)?;
    Ok(OK)
}

pub(super) fn renamenx<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    Ok(Reply::Integer(rename_to(unit, argv, false)?.into()))
}

fn rename_to<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes], replace: bool) -> Result<bool, CommandError> {
    let (from, to) = (&argv[1], &argv[2]);
    unit.find(from).ok_or(CommandError::NoSuchKey)?;
    if from == to || (unit.find(to).is_some() && !replace) {
        return Ok(false);
    }
    let db = unit.db;
    let Some((_, entry)) = unit.home(from).remove(db, from) else { return Ok(false) };
    // Removed rather than overwritten: what takes its place is a new key.
    unit.remove(to);
    unit.home(to).insert(db, to, entry.value, entry.deadline_ms);
    if let Some(access) = unit.home(to).access_mut(db, to) {
        *access = entry.access;
    }
    unit.notify(EventClass::Generic, "rename_from", from);
    unit.notify(EventClass::Generic, "rename_to", to);
    unit.propagate(argv, generic::relocate(argv, RelocateOutcome::Done));
    Ok(true)
}

/// A database number; not a number is another error than out of range.
fn database(unit: &Unit<'_, '_>, arg: &[u8]) -> Result<u16, CommandError> {
    let number = integer(arg)?;
    let in_range = u16::try_from(number).ok().filter(|&db| db < unit.keyspace.options().databases);
    in_range.ok_or(if i32::try_from(number).is_ok() {
        CommandError::DbOutOfRange
    } else {
        CommandError::IntOutOfRange
    })
}

/// A copy holds nothing that is dead. If that leaves nothing of a hash, the copy is gone as soon as it is
/// made.
pub(super) fn copy<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    let (from, to) = (&argv[1], &argv[2]);
    let (mut to_db, mut replace) = (unit.db, false);
    let mut args = argv[3..].iter();
    while let Some(arg) = args.next() {
        if arg.eq_ignore_ascii_case(b"REPLACE") {
            replace = true;
        } else if arg.eq_ignore_ascii_case(b"DB") {
            to_db = database(unit, args.next().ok_or(CommandError::Syntax)?)?;
        } else {
            return Err(CommandError::Syntax);
        }
    }
    if to_db == unit.db && from == to {
        return Err(CommandError::SameObject);
    }
    let Some(entry) = unit.read(from) else { return Ok(Reply::Integer(0)) };
    let (mut value, deadline_ms, form) = (entry.value.clone(), entry.deadline_ms, entry.access.form);
    let existed = unit.find_in(to_db, to).is_some();
    if existed && !replace {
        return Ok(Reply::Integer(0));
    }
    let moment = unit.moment();
    let dead = match &mut value {
        Value::Hash(hash) if commands::may_have_dead(hash, moment) => {
            commands::leave_out_dead(Arc::make_mut(hash), moment)
        }
        _ => Vec::new(),
    };
    let nothing_live = matches!(&value, Value::Hash(hash) if hash.is_empty());
    // Removed rather than overwritten: what takes its place is a new key.
    unit.home(to).remove(to_db, to);
    if !nothing_live {
        unit.home(to).insert(to_db, to, value, deadline_ms);
        if let Some(access) = unit.home(to).access_mut(to_db, to) {
            access.form = form;
        }
    }
    unit.notify_in(to_db, EventClass::Generic, "copy_to", to);
    if nothing_live {
        unit.notify_in(to_db, EventClass::Generic, "del", to);
    }
    let outcome = match &dead[..] {
        _ if nothing_live => CopyOutcome::NothingLive { existed },
        [] => CopyOutcome::Done,
        dead => CopyOutcome::LiveFields { dead },
    };
    let (here, there) = match generic::copy(argv, outcome, unit.verb()) {
        Ok(copied) => (Ok(copied.at_source), copied.at_destination),
        Err(mismatch) => (Err(mismatch), Propagation::Nothing),
    };
    unit.propagate(argv, here);
    unit.propagate_in(to_db, argv, there);
    Ok(Reply::Integer(1))
}

pub(super) fn move_key<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    let key = &argv[1];
    let (from_db, to_db) = (unit.db, database(unit, &argv[2])?);
    if from_db == to_db {
        return Err(CommandError::SameObject);
    }
    if unit.find(key).is_none() || unit.find_in(to_db, key).is_some() {
        return Ok(Reply::Integer(0));
    }
    let shard = unit.home(key);
    if let Some((_, entry)) = shard.remove(from_db, key) {
        shard.insert(to_db, key, entry.value, entry.deadline_ms);
        if let Some(access) = shard.access_mut(to_db, key) {
            *access = entry.access;
        }
        unit.notify(EventClass::Generic, "move_from", key);
        unit.notify_in(to_db, EventClass::Generic, "move_to", key);
    }
    unit.propagate(argv, generic::relocate(argv, RelocateOutcome::Done));
    Ok(Reply::Integer(1))
}

pub(super) fn swapdb<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    let named = |unit: &Unit<'_, '_>, arg: &[u8], invalid| match database(unit, arg) {
        Err(CommandError::NotInteger | CommandError::IntOutOfRange) => Err(invalid),
        other => Ok(other),
    };
    let first = named(unit, &argv[1], CommandError::InvalidFirstDb)?;
    let second = named(unit, &argv[2], CommandError::InvalidSecondDb)?;
    let (first, second) = (first?, second?);
    let now_ms = unit.now_ms;
    for shard in unit.shards() {
        shard.swap(first, second, now_ms);
    }
    unit.propagate(argv, generic::databases(argv));
    Ok(OK)
}

pub(super) fn dbsize<'c>(unit: &mut Unit<'_, 'c>, _: &'c [Bytes]) -> CommandResult {
    let db = unit.db;
    let keys: usize = unit.shards().map(|shard| shard.table(db).map.len()).sum();
    Ok(Reply::Integer(keys as i64))
}

pub(super) fn flushdb<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    let db = unit.db;
    flush(unit, argv, db..=db)
}

pub(super) fn flushall<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    let last = unit.keyspace.options().databases - 1;
    flush(unit, argv, 0..=last)
}

/// The reply does not wait for the memory to be freed, whatever the client asked for: nobody can tell.
fn flush<'c>(
    unit: &mut Unit<'_, 'c>,
    argv: &'c [Bytes],
    dbs: std::ops::RangeInclusive<u16>,
) -> CommandResult {
    match &argv[1..] {
        [] => {}
        [mode] if mode.eq_ignore_ascii_case(b"ASYNC") || mode.eq_ignore_ascii_case(b"SYNC") => {}
        _ => return Err(CommandError::Syntax),
    }
    let tables: Vec<_> =
        unit.shards().flat_map(|shard| dbs.clone().filter_map(|db| shard.flush(db))).collect();
    for table in tables {
        unit.discard(table);
    }
    unit.propagate(argv, generic::databases(argv));
    Ok(OK)
}

/// A key at random. Expired keys that it meets are reclaimed and another is drawn; where they may
/// not be reclaimed, it gives up hiding them after `RANDOM_DRAWS_MAX` draws, as Valkey does.
pub(super) fn randomkey<'c>(unit: &mut Unit<'_, 'c>, _: &'c [Bytes]) -> CommandResult {
    const RANDOM_DRAWS_MAX: usize = 100;
    let db = unit.db;
    let mut draws = 0;
    loop {
        let keys: usize = unit.shards().map(|shard| shard.table(db).map.len()).sum();
        if keys == 0 {
            return Ok(Reply::Null);
        }
        let mut index = rand::random_range(0..keys);
        let drawn = unit.shards().find_map(|shard| {
            let map = &shard.table(db).map;
            let key = map.get_index(index).map(|(key, _)| key.clone());
            index = index.wrapping_sub(map.len());
            key
        });
        let Some(key) = drawn else { return Ok(Reply::Null) };
        draws += 1;
        let hides = unit.policy == ExpiryPolicy::Hide && draws >= RANDOM_DRAWS_MAX;
        if hides || unit.find(&key).is_some() {
            return Ok(Reply::Bulk(key));
        }
    }
}
