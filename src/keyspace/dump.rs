//! `DUMP` and `RESTORE`: one value as bytes.
//!
//! `DUMP` writes plain encodings in RDB version 10, so that its payloads are taken by Redis 7.0 and every
//! Valkey. A hash with field deadlines goes out as Valkey writes it, in version 80, with every field that is
//! stored: dead ones too. `RESTORE` takes what Valkey 9.1.2 takes. A field's deadline is never judged, on a
//! primary neither: a field that is dead already is stored, and the active cycle reclaims it. These are the
//! exceptions:
//!
//! * A hash that names a field twice is refused, also where the first of the two is dead: Valkey 9.1.2 then
//!   keeps both.
//! * A string that claims one or two bytes more than there are is refused. Valkey takes the footer's version
//!   for them.
//! * Streams and values of modules are refused, by an error that names the key and the type: this keyspace
//!   keeps none.
//!
//! What a replica gets is the client's payload if every replica that can hold the value reads it, and the
//! same value encoded anew otherwise: see [`rewrite::generic`](crate::rewrite::generic). As no deadline is
//! judged, the replica stores the same fields with the same deadlines, whatever has passed meanwhile.

use bytes::Bytes;

use super::command::{CommandSpec, ONE, R, WM, keyed};
use super::events::EventClass;
use super::number::integer;
use super::strings::OK;
use super::unit::{CommandResult, Unit};
use super::value::Collection;
use super::{CommandError, ExpiryPolicy, Hash, List, Set, Value, ZSet};
use crate::rdb::{self, Kind, Limits, PayloadError, PayloadWriter, ReadError, WriteError, read_payload};
use crate::resp::Reply;
use crate::rewrite::generic::{self, RestoreOutcome, RestorePayload};

/// The commands of this file.
pub(super) static COMMANDS: &[CommandSpec] =
    &[keyed("dump", 2, R, ONE, dump), keyed("restore", -4, WM, ONE, restore)];

pub(super) fn dump<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    let Some(value) = unit.read(&argv[1]).map(|entry| entry.value.clone()) else { return Ok(Reply::Null) };
    // Invariant: no collection in the keyspace is empty, no score is NaN, and no deadline is beyond
    // `i64::MAX`.
    let payload = payload_of(&value).map_err(|_| CommandError::DumpFormat)?;
    Ok(Reply::Bulk(payload))
}

fn payload_of(value: &Value) -> Result<Bytes, WriteError> {
    let writer = match value {
        Value::String(value) => PayloadWriter::string(value),
        Value::List(list) => {
            let mut writer = PayloadWriter::collection(Kind::List, list.len() as u64)?;
            list.iter().try_for_each(|element| writer.element(element))?;
            writer
        }
        Value::Set(set) => {
            let mut writer = PayloadWriter::collection(Kind::Set, set.len() as u64)?;
            set.iter().try_for_each(|member| writer.element(&member))?;
            writer
        }
        Value::ZSet(zset) => {
            let mut writer = PayloadWriter::collection(Kind::SortedSet, zset.len() as u64)?;
            zset.iter().try_for_each(|(member, score)| writer.member(&member, score))?;
            writer
        }
        Value::Hash(hash) => {
            let mut writer = PayloadWriter::collection(Kind::hash(hash.is_volatile()), hash.len() as u64)?;
            hash.iter().try_for_each(|it| writer.field(&it.name, &it.value, it.deadline_ms))?;
            writer
        }
    };
    writer.finish()
}

/// What `RESTORE` was asked to do besides.
#[derive(Default)]
struct Options {
    replace: bool,
    absolute: bool,
    /// For how long the key was idle, and how often it was used: they concern eviction alone.
    idle_s: Option<u64>,
    frequency: Option<u8>,
}

fn parse_options(args: &[Bytes]) -> Result<Options, CommandError> {
    let mut options = Options::default();
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let is = |name: &str| arg.eq_ignore_ascii_case(name.as_bytes());
        if is("REPLACE") {
            options.replace = true;
        } else if is("ABSTTL") {
            options.absolute = true;
        } else if is("IDLETIME")
            && options.frequency.is_none()
            && let Some(seconds) = args.next()
        {
            options.idle_s =
                Some(u64::try_from(integer(seconds)?).map_err(|_| CommandError::RestoreIdleTime)?);
        } else if is("FREQ")
            && options.idle_s.is_none()
            && let Some(count) = args.next()
        {
            options.frequency =
                Some(u8::try_from(integer(count)?).map_err(|_| CommandError::RestoreFrequency)?);
        } else {
            return Err(CommandError::Syntax);
        }
    }
    Ok(options)
}

pub(super) fn restore<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    let key = &argv[1];
    let options = parse_options(&argv[4..])?;
    if !options.replace && unit.find(key).is_some() {
        return Err(CommandError::BusyKey);
    }
    let ttl = integer(&argv[2])?;
    if ttl < 0 {
        return Err(CommandError::RestoreTtl);
    }
    let limits =
        Limits { max_string_bytes: unit.keyspace.options().max_string_bytes as u64, ..Limits::default() };
    let payload = read_payload(&argv[3], limits).map_err(|error| refusal(key, error))?;
    let value = value_of(payload.value)?;
    // The old value is not looked at: whether it has expired makes no difference.
    let existed = options.replace && unit.remove(key);
    // As in Valkey, a time beyond what can be represented has passed.
    let added_ms = if options.absolute { 0 } else { unit.now_ms as i64 };
    let deadline_ms = (ttl > 0).then(|| u64::try_from(ttl.wrapping_add(added_ms)).unwrap_or(0));
    let past = deadline_ms
        .is_some_and(|deadline_ms| deadline_ms <= unit.now_ms && unit.policy == ExpiryPolicy::Reclaim);
    let outcome = if past {
        if existed {
            unit.notify(EventClass::Generic, "del", key);
        }
        RestoreOutcome::Past { existed }
    } else {
        let payload = if payload.is_portable {
            RestorePayload::AsSent
        } else {
            RestorePayload::Encoded(payload_of(&value).map_err(|_| CommandError::DumpFormat)?)
        };
        let db = unit.db;
        unit.home(key).insert(db, key, value, deadline_ms);
        unit.restore_access(key, options.idle_s, options.frequency);
        unit.notify(EventClass::Generic, "restore", key);
        RestoreOutcome::Stored { deadline_ms, payload }
    };
    let propagation = generic::restore(argv, outcome, unit.verb());
    unit.propagate(argv, propagation);
    Ok(OK)
}

fn refusal(key: &[u8], error: PayloadError) -> CommandError {
    match error {
        PayloadError::Footer => CommandError::DumpFooter,
        PayloadError::Value(ReadError::UnsupportedType { value_type, .. }) => {
            CommandError::RestoreType { key: quoted(key), value_type }
        }
        PayloadError::Value(_) => CommandError::DumpFormat,
    }
}

/// So much of a key is shown.
const QUOTED_KEY_BYTES: usize = 64;

fn quoted(key: &[u8]) -> String {
    let shown = &key[..key.len().min(QUOTED_KEY_BYTES)];
    let rest = if shown.len() < key.len() { "..." } else { "" };
    format!("'{}{rest}'", shown.escape_ascii())
}

/// The value in memory of its own. Refuses what no server would have dumped: empty collections and repeated
/// members.
pub(super) fn value_of(value: rdb::Value) -> Result<Value, CommandError> {
    let value = match value {
        rdb::Value::String(value) => return Ok(Value::String(compacted(value))),
        rdb::Value::List(elements) => {
            let mut list = List::new();
            elements.into_iter().for_each(|element| list.push_back(&element));
            finish(list)?
        }
        rdb::Value::Set(members) => {
            let mut set = Set::new();
            unique(members.into_iter().all(|member| set.insert(&member)))?;
            finish(set)?
        }
        rdb::Value::SortedSet(members) => {
            let mut zset = ZSet::new();
            let mut members = members.into_iter();
            unique(members.all(|(member, score)| zset.insert(compacted(member), score).is_none()))?;
            finish(zset)?
        }
        rdb::Value::Hash(fields) => {
            let mut hash = Hash::new();
            let mut fields = fields.into_iter();
            unique(fields.all(|it| hash.try_insert(&it.field, &it.value, it.deadline_ms) == Ok(None)))?;
            finish(hash)?
        }
    };
    Ok(value)
}

fn unique(unique: bool) -> Result<(), CommandError> {
    if unique { Ok(()) } else { Err(CommandError::DumpFormat) }
}

fn finish(collection: impl Collection) -> Result<Value, CommandError> {
    if collection.has_no_elements() { Err(CommandError::DumpFormat) } else { Ok(collection.into_value()) }
}

/// Elements may be slices of one compact encoding, which a single one of them would keep in memory.
fn compacted(bytes: Bytes) -> Bytes {
    if bytes.is_unique() { bytes } else { Bytes::copy_from_slice(&bytes) }
}
