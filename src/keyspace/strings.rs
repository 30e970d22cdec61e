//! Strings: reading and storing them.

use bytes::Bytes;

use super::command::{ALL, CommandSpec, MoreKeys, ONE, PAIRS, R, RF, WF, WM, WMF, keyed};
use super::events::EventClass;
use super::memory::StringForm;
use super::number::{TimeForm, integer, parse_i64};
use super::unit::{CommandResult, Unit};
use super::{CommandError, Value};
use crate::resp::Reply;
use crate::rewrite::string::{self, GetExOutcome, MSetExForm, MSetExOutcome, SetOutcome};

/// The commands of this file.
pub(super) static COMMANDS: &[CommandSpec] = &[
    keyed("append", 3, WMF, ONE, append),
    keyed("delifeq", 3, WF, ONE, delifeq),
    keyed("get", 2, RF, ONE, get),
    keyed("getdel", 2, WF, ONE, getdel),
    keyed("getex", -2, WF, ONE, getex),
    keyed("getrange", 4, R, ONE, getrange),
    keyed("getset", 3, WMF, ONE, getset),
    keyed("mget", -2, RF, ALL, mget),
    keyed("mset", -3, WM, PAIRS, mset),
    keyed("msetex", -4, WM, (0, 0, 0), msetex).with_more_keys(MoreKeys::CountedPairs(1)),
    keyed("msetnx", -3, WM, PAIRS, msetnx),
    keyed("psetex", 4, WM, ONE, psetex),
    keyed("set", -3, WM, ONE, set),
    keyed("setex", 4, WM, ONE, setex),
    keyed("setnx", 3, WMF, ONE, setnx),
    keyed("setrange", 4, WM, ONE, setrange),
    keyed("strlen", 2, RF, ONE, strlen),
    keyed("substr", 4, R, ONE, getrange),
];

pub(super) const OK: Reply = Reply::Simple("OK");

pub(super) fn bulk_or_null(value: Option<&Bytes>) -> Reply {
    value.map_or(Reply::Null, |value| Reply::Bulk(value.clone()))
}

/// Copies of elements that are short and many: slices of one piece of memory.
pub(super) fn copied_bulks<'a>(elements: impl Iterator<Item = &'a [u8]>) -> Vec<Reply> {
    let (mut bytes, mut lengths) = (Vec::new(), Vec::with_capacity(elements.size_hint().0));
    for element in elements {
        bytes.extend_from_slice(element);
        lengths.push(element.len());
    }
    let mut bytes = Bytes::from(bytes);
    lengths.into_iter().map(|len| Reply::Bulk(bytes.split_to(len))).collect()
}

pub(super) fn get<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    Ok(bulk_or_null(unit.read_string(&argv[1])?))
}

pub(super) fn mget<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    // A key of another type answers as if it were absent.
    let value = |key: &Bytes| bulk_or_null(unit.read_string(key).unwrap_or_default());
    Ok(Reply::Array(argv[1..].iter().map(value).collect()))
}

pub(super) fn strlen<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    let len = unit.read_string(&argv[1])?.map_or(0, |value| value.len());
    Ok(Reply::Integer(len as i64))
}

pub(super) fn getrange<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    let (start, end) = (integer(&argv[2])?, integer(&argv[3])?);
    let value = unit.read_string(&argv[1])?.cloned().unwrap_or_default();
    let len = value.len() as i64;
    let from_start = |at: i64| if at < 0 { at.saturating_add(len).max(0) } else { at };
    let (first, last) = (from_start(start), from_start(end).min(len - 1));
    if (start < 0 && end < 0 && start > end) || first > last {
        return Ok(Reply::Bulk(Bytes::new()));
    }
    // 0 <= first <= last < len.
    Ok(Reply::Bulk(value.slice(first as usize..=last as usize)))
}

/// What `SET` was asked to do.
#[derive(Default)]
struct SetOptions<'a> {
    condition: Option<Condition<'a>>,
    get: bool,
    keep_deadline: bool,
    time: Option<(TimeForm, &'a Bytes)>,
}

enum Condition<'a> {
    Absent,
    Present,
    Equal(&'a Bytes),
}

fn parse_set_options(args: &[Bytes]) -> Result<SetOptions<'_>, CommandError> {
    let mut options = SetOptions::default();
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let is = |name: &str| arg.eq_ignore_ascii_case(name.as_bytes());
        let time_form = TimeForm::of_option(arg);
        if is("NX") && matches!(options.condition, None | Some(Condition::Absent)) {
            options.condition = Some(Condition::Absent);
        } else if is("XX") && matches!(options.condition, None | Some(Condition::Present)) {
            options.condition = Some(Condition::Present);
        } else if is("IFEQ")
            && options.condition.is_none()
            && let Some(comparison) = args.next()
        {
            options.condition = Some(Condition::Equal(comparison));
        } else if is("GET") {
            options.get = true;
        } else if is("KEEPTTL") && options.time.is_none() {
            options.keep_deadline = true;
        } else if let Some(form) = time_form
            && !options.keep_deadline
            && options.time.is_none_or(|(earlier, _)| earlier == form)
            && let Some(time) = args.next()
        {
            options.time = Some((form, time));
        } else {
            return Err(CommandError::Syntax);
        }
    }
    Ok(options)
}

pub(super) fn set<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    let options = parse_set_options(&argv[3..])?;
    let deadline = |(form, time): (TimeForm, &Bytes)| form.positive_deadline_ms(time, unit.now_ms, "set");
    let deadline_ms = options.time.map(deadline).transpose()?;
    let (key, value) = (&argv[1], &argv[2]);
    let compares = matches!(options.condition, Some(Condition::Equal(_)));
    let (existed, old) = match unit.find(key) {
        None => {
            if options.get {
                unit.notify(EventClass::Miss, "keymiss", key);
            }
            (false, None)
        }
        Some(entry) => match &entry.value {
            Value::String(old) if options.get || compares => (true, Some(old.clone())),
            _ if options.get || compares => return Err(CommandError::WrongType),
            _ => (true, None),
        },
    };
    let met = match options.condition {
        None => true,
        Some(Condition::Absent) => !existed,
        Some(Condition::Present) => existed,
        Some(Condition::Equal(comparison)) => old.as_ref() == Some(comparison),
    };
    let outcome = if !met {
        SetOutcome::NotMet
    } else if let Some(deadline_ms) = deadline_ms
        && unit.is_past(deadline_ms)
    {
        SetOutcome::Past { existed: unit.expire(key) }
    } else {
        let kept_ms = if options.keep_deadline { unit.deadline_ms(key) } else { None };
        unit.store_string(key, value, deadline_ms.or(kept_ms));
        unit.notify(EventClass::String, "set", key);
        if deadline_ms.is_some() {
            unit.notify(EventClass::Generic, "expire", key);
        }
        SetOutcome::Stored { deadline_ms }
    };
    let propagation = string::set(argv, outcome, unit.verb());
    unit.propagate(argv, propagation);
    if options.get {
        return Ok(bulk_or_null(old.as_ref()));
    }
    Ok(if met { OK } else { Reply::Null })
}

pub(super) fn setex<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    set_with_time(unit, argv, TimeForm::Seconds, "setex")
}

pub(super) fn psetex<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    set_with_time(unit, argv, TimeForm::Milliseconds, "psetex")
}

fn set_with_time<'c>(
    unit: &mut Unit<'_, 'c>,
    argv: &'c [Bytes],
    form: TimeForm,
    name: &'static str,
) -> CommandResult {
    let deadline_ms = form.positive_deadline_ms(&argv[2], unit.now_ms, name)?;
    unit.find(&argv[1]);
    unit.store_string(&argv[1], &argv[3], Some(deadline_ms));
    unit.notify(EventClass::String, "set", &argv[1]);
    unit.notify(EventClass::Generic, "expire", &argv[1]);
    unit.propagate(argv, string::setex(argv, deadline_ms));
    Ok(OK)
}

pub(super) fn setnx<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    let absent = unit.find(&argv[1]).is_none();
    if absent {
        unit.store_string(&argv[1], &argv[2], None);
        unit.notify(EventClass::String, "set", &argv[1]);
    }
    unit.propagate(argv, string::setnx(argv, absent));
    Ok(Reply::Integer(absent.into()))
}

pub(super) fn mset<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    if argv.len().is_multiple_of(2) {
        return Err(CommandError::Arity("mset"));
    }
    store_pairs(unit, argv);
    unit.propagate(argv, string::mset(argv));
    Ok(OK)
}

pub(super) fn msetnx<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    if argv.len().is_multiple_of(2) {
        return Err(CommandError::Arity("msetnx"));
    }
    let stored = !argv[1..].iter().step_by(2).any(|key| unit.find(key).is_some());
    if stored {
        store_pairs(unit, argv);
    }
    unit.propagate(argv, string::setnx(argv, stored));
    Ok(Reply::Integer(stored.into()))
}

fn store_pairs<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) {
    for pair in argv[1..].chunks_exact(2) {
        unit.find(&pair[0]);
        unit.store_string(&pair[0], &pair[1], None);
        unit.notify(EventClass::String, "set", &pair[0]);
    }
}

/// `MSETEX numkeys key value [key value …] [NX|XX] [EX s|PX ms|EXAT s|PXAT ms|KEEPTTL]`. A time that has
/// passed is stored like any other: the next one who looks at the key reclaims it.
pub(super) fn msetex<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    let count = parse_i64(&argv[1]).filter(|count| (1..=i64::from(i32::MAX)).contains(count));
    let pairs_end = 2 * count.ok_or(CommandError::NumKeys)? as usize + 2;
    let pairs = argv.get(2..pairs_end).ok_or(CommandError::Syntax)?;
    let options = parse_set_options(&argv[pairs_end..])?;
    if options.get || matches!(options.condition, Some(Condition::Equal(_))) {
        return Err(CommandError::Syntax);
    }
    let deadline = |(form, time): (TimeForm, &Bytes)| form.positive_deadline_ms(time, unit.now_ms, "msetex");
    let deadline_ms = options.time.map(deadline).transpose()?;
    let wanted = options.condition.map(|condition| matches!(condition, Condition::Present));
    let met =
        wanted.is_none_or(|present| pairs.iter().step_by(2).all(|key| unit.find(key).is_some() == present));
    let outcome = if met { MSetExOutcome::Stored { deadline_ms } } else { MSetExOutcome::NotMet };
    if met {
        for pair in pairs.chunks_exact(2) {
            unit.find(&pair[0]);
            let kept_ms = if options.keep_deadline { unit.deadline_ms(&pair[0]) } else { None };
            unit.store_string(&pair[0], &pair[1], deadline_ms.or(kept_ms));
            unit.notify(EventClass::String, "set", &pair[0]);
            if deadline_ms.is_some() {
                unit.notify(EventClass::Generic, "expire", &pair[0]);
            }
        }
    }
    // Replicas may be older than the command.
    unit.propagate(argv, string::msetex(argv, outcome, MSetExForm::AsSets));
    Ok(Reply::Integer(met.into()))
}

pub(super) fn delifeq<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    let key = &argv[1];
    let equal = unit.find_string(key)?.is_some_and(|value| *value == argv[2]);
    if equal {
        unit.remove(key);
        unit.notify(EventClass::Generic, "del", key);
    }
    unit.propagate(argv, string::delifeq(argv, equal));
    Ok(Reply::Integer(equal.into()))
}

pub(super) fn getset<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    let old = unit.read_string(&argv[1])?.cloned();
    unit.store_string(&argv[1], &argv[2], None);
    unit.notify(EventClass::String, "set", &argv[1]);
    unit.propagate(argv, string::getset(argv));
    Ok(bulk_or_null(old.as_ref()))
}

pub(super) fn getdel<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    let old = unit.read_string(&argv[1])?.cloned();
    if old.is_some() {
        unit.remove(&argv[1]);
        unit.notify(EventClass::Generic, "del", &argv[1]);
        unit.propagate(argv, string::getdel(argv, true));
    }
    Ok(bulk_or_null(old.as_ref()))
}

/// What `GETEX` was asked to do with the deadline.
enum DeadlineChange<'a> {
    None,
    Remove,
    Set(TimeForm, &'a Bytes),
}

fn parse_getex_options(args: &[Bytes]) -> Result<DeadlineChange<'_>, CommandError> {
    use DeadlineChange::{None as Unchanged, Remove, Set};
    let mut change = Unchanged;
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        change = match (change, TimeForm::of_option(arg)) {
            (Unchanged | Remove, None) if arg.eq_ignore_ascii_case(b"PERSIST") => Remove,
            (Unchanged, Some(form)) => Set(form, args.next().ok_or(CommandError::Syntax)?),
            (Set(earlier, _), Some(form)) if earlier == form => {
                Set(form, args.next().ok_or(CommandError::Syntax)?)
            }
            _ => return Err(CommandError::Syntax),
        };
    }
    Ok(change)
}

pub(super) fn getex<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    let key = &argv[1];
    // As in Valkey, a wrong time is an error whether or not there is a key.
    let (removes, deadline_ms) = match parse_getex_options(&argv[2..])? {
        DeadlineChange::None => (false, None),
        DeadlineChange::Remove => (true, None),
        DeadlineChange::Set(form, time) => {
            (false, Some(form.positive_deadline_ms(time, unit.now_ms, "getex")?))
        }
    };
    let Some(value) = unit.read_string(key)?.cloned() else { return Ok(Reply::Null) };
    let outcome = match deadline_ms {
        Some(deadline_ms) if unit.is_past(deadline_ms) => {
            unit.expire(key);
            GetExOutcome::Deleted
        }
        Some(deadline_ms) => {
            unit.set_deadline(key, Some(deadline_ms));
            unit.notify(EventClass::Generic, "expire", key);
            GetExOutcome::Deadline(deadline_ms)
        }
        None if removes && unit.deadline_ms(key).is_some() => {
            unit.set_deadline(key, None);
            unit.notify(EventClass::Generic, "persist", key);
            GetExOutcome::Persisted
        }
        None => GetExOutcome::Unchanged,
    };
    let propagation = string::getex(argv, outcome, unit.verb());
    unit.propagate(argv, propagation);
    Ok(Reply::Bulk(value))
}

/// Changes the string under `key` in place, amortised in the length of the change: the bytes are
/// taken over if nobody shares them and copied otherwise. Creates the key if it is absent, in the form `new`.
pub(super) fn edit(
    unit: &mut Unit<'_, '_>,
    key: &[u8],
    new: StringForm,
    change: impl FnOnce(&mut bytes::BytesMut),
) -> usize {
    let mut change = Some(change);
    let mut edited = |value: Bytes| {
        let mut bytes = value.try_into_mut().unwrap_or_else(|shared| (&*shared).into());
        if let Some(change) = change.take() {
            change(&mut bytes);
        }
        bytes.freeze()
    };
    let db = unit.db;
    let shard = unit.home(key);
    let updated = shard.update(db, key, |value| {
        if let Value::String(bytes) = value {
            *bytes = edited(std::mem::take(bytes));
            return bytes.len();
        }
        0
    });
    if let Some(len) = updated {
        unit.set_string_form(key, StringForm::Built);
        return len;
    }
    let value = edited(Bytes::new());
    let len = value.len();
    shard.insert(db, key, Value::String(value), None);
    unit.set_string_form(key, new);
    len
}

pub(super) fn append<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    let (key, tail) = (&argv[1], &argv[2]);
    let old_len = unit.find_string(key)?.map_or(0, |value| value.len());
    if old_len + tail.len() > unit.keyspace.options().max_string_bytes {
        return Err(CommandError::StringTooLong);
    }
    let len = edit(unit, key, StringForm::Stored, |bytes| bytes.extend_from_slice(tail));
    unit.notify(EventClass::String, "append", key);
    unit.propagate(argv, string::append(argv));
    Ok(Reply::Integer(len as i64))
}

pub(super) fn setrange<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    let (key, patch) = (&argv[1], &argv[3]);
    let offset = usize::try_from(integer(&argv[2])?).map_err(|_| CommandError::OffsetOutOfRange)?;
    let old_len = unit.find_string(key)?.map_or(0, |value| value.len());
    if patch.is_empty() {
        unit.propagate(argv, string::setrange(argv, false));
        return Ok(Reply::Integer(old_len as i64));
    }
    let end = offset.checked_add(patch.len()).ok_or(CommandError::StringTooLong)?;
    if end > unit.keyspace.options().max_string_bytes {
        return Err(CommandError::StringTooLong);
    }
    let len = edit(unit, key, StringForm::Built, |bytes| {
        if bytes.len() < end {
            bytes.resize(end, 0);
        }
        bytes[offset..end].copy_from_slice(patch);
    });
    unit.notify(EventClass::String, "setrange", key);
    unit.propagate(argv, string::setrange(argv, true));
    Ok(Reply::Integer(len as i64))
}
