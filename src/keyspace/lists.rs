//! Lists.
//!
//! A command that may wait for an element answers through [`Unit::block`] when there is none; what
//! happens then is told in `blocking`.

use bytes::Bytes;

use super::blocking::timeout_ms;
use super::command::{CommandSpec, MoreKeys, ONE, R, RF, TWO, W, WB, WF, WM, WMB, WMF, keyed};
use super::events::EventClass;
use super::multi_pop::MultiPop;
use super::number::{integer, parse_i64};
use super::strings::{OK, bulk_or_null, copied_bulks};
use super::unit::{CommandResult, Unit, owned};
use super::{CommandError, List, ListEnd};
use crate::resp::Reply;
use crate::rewrite::list::{self, EditOutcome, PopOutcome};

/// The commands of this file.
pub(super) static COMMANDS: &[CommandSpec] = &[
    keyed("blmove", 6, WMB, TWO, blmove),
    keyed("blmpop", -5, WB, NONE, blmpop).with_more_keys(MoreKeys::Counted(2)),
    keyed("blpop", -3, WB, ALL_BUT_LAST, bpop),
    keyed("brpop", -3, WB, ALL_BUT_LAST, bpop),
    keyed("brpoplpush", 4, WMB, TWO, brpoplpush),
    keyed("lindex", 3, R, ONE, lindex),
    keyed("linsert", 5, WM, ONE, linsert),
    keyed("llen", 2, RF, ONE, llen),
    keyed("lmove", 5, WM, TWO, lmove),
    keyed("lmpop", -4, W, NONE, lmpop).with_more_keys(MoreKeys::Counted(1)),
    keyed("lpop", -2, WF, ONE, lpop),
    keyed("lpos", -3, R, ONE, lpos),
    keyed("lpush", -3, WMF, ONE, lpush),
    keyed("lpushx", -3, WMF, ONE, lpushx),
    keyed("lrange", 4, R, ONE, lrange),
    keyed("lrem", 4, W, ONE, lrem),
    keyed("lset", 4, WM, ONE, lset),
    keyed("ltrim", 4, W, ONE, ltrim),
    keyed("rpop", -2, WF, ONE, rpop),
    keyed("rpoplpush", 3, WM, TWO, rpoplpush),
    keyed("rpush", -3, WMF, ONE, rpush),
    keyed("rpushx", -3, WMF, ONE, rpushx),
];

const ALL_BUT_LAST: (i32, i32, i32) = (1, -2, 1);
const NONE: (i32, i32, i32) = (0, 0, 0);

const TYPE: &str = "list";

/// `LEFT` or `RIGHT`.
fn parse_end(arg: &[u8]) -> Result<ListEnd, CommandError> {
    match arg {
        _ if arg.eq_ignore_ascii_case(b"LEFT") => Ok(ListEnd::Head),
        _ if arg.eq_ignore_ascii_case(b"RIGHT") => Ok(ListEnd::Tail),
        _ => Err(CommandError::Syntax),
    }
}

fn outcome(changed: bool) -> EditOutcome {
    if changed { EditOutcome::Changed } else { EditOutcome::Unchanged }
}

fn pop_event(end: ListEnd) -> &'static str {
    if end == ListEnd::Head { "lpop" } else { "rpop" }
}

fn push_event(end: ListEnd) -> &'static str {
    if end == ListEnd::Head { "lpush" } else { "rpush" }
}

/// An index as clients give it, negative from the tail, as an index from the head; possibly outside.
fn from_head(index: i64, len: usize) -> i64 {
    if index < 0 { index.saturating_add(len as i64) } else { index }
}

/// The part of a list of `len` elements from `start` to `stop` inclusive, as clients give them.
fn range_within(start: i64, stop: i64, len: usize) -> std::ops::Range<usize> {
    let start = from_head(start, len).max(0) as usize;
    let end = from_head(stop, len).saturating_add(1).clamp(0, len as i64) as usize;
    if start < end { start..end } else { 0..0 }
}

/// The events of a removal.
fn notify_removed(unit: &mut Unit<'_, '_>, event: &'static str, key: &[u8], is_empty: bool) {
    unit.notify(EventClass::List, event, key);
    if is_empty {
        unit.notify(EventClass::Generic, "del", key);
    }
}

pub(super) fn lpush<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    push(unit, argv, ListEnd::Head, false)
}

pub(super) fn rpush<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    push(unit, argv, ListEnd::Tail, false)
}

pub(super) fn lpushx<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    push(unit, argv, ListEnd::Head, true)
}

pub(super) fn rpushx<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    push(unit, argv, ListEnd::Tail, true)
}

fn push<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes], end: ListEnd, only_existing: bool) -> CommandResult {
    let key = &argv[1];
    let exists = unit.find_as::<List>(key)?.is_some();
    if only_existing && !exists {
        unit.propagate(argv, list::edit(argv, EditOutcome::Unchanged));
        return Ok(Reply::Integer(0));
    }
    let len = unit.edit(key, |list: &mut List| {
        argv[2..].iter().for_each(|element| list.push(end, element));
        list.len()
    });
    unit.notify(EventClass::List, push_event(end), key);
    unit.propagate(argv, list::edit(argv, EditOutcome::Changed));
    Ok(Reply::Integer(len as i64))
}

pub(super) fn lpop<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    pop(unit, argv, ListEnd::Head, "lpop")
}

pub(super) fn rpop<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    pop(unit, argv, ListEnd::Tail, "rpop")
}

/// `LPOP|RPOP key [count]`.
fn pop<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes], end: ListEnd, name: &'static str) -> CommandResult {
    if argv.len() > 3 {
        return Err(CommandError::Arity(name));
    }
    let parse_count = |count| parse_i64(count).and_then(|count| usize::try_from(count).ok());
    let count = match argv.get(2) {
        Some(count) => Some(parse_count(count).ok_or(CommandError::NotPositive)?),
        None => None,
    };
    let key = &argv[1];
    let exists = unit.find_as::<List>(key)?.is_some();
    let changes = exists && count != Some(0);
    let reply = match count {
        _ if !exists => {
            if count.is_some() {
                Reply::NullArray
            } else {
                Reply::Null
            }
        }
        Some(0) => Reply::Array(Vec::new()),
        Some(count) => Reply::Array(pop_several(unit, key, end, count)),
        None => bulk_or_null(pop_one(unit, key, end).as_ref()),
    };
    unit.propagate(argv, list::edit(argv, outcome(changes)));
    Ok(reply)
}

/// Pops from a list that exists.
fn pop_one(unit: &mut Unit<'_, '_>, key: &[u8], end: ListEnd) -> Option<Bytes> {
    let (popped, is_empty) = unit.edit(key, |list: &mut List| (list.pop(end), list.is_empty()));
    notify_removed(unit, pop_event(end), key, is_empty);
    popped
}

/// Pops up to `count` elements, at least one, from a list that exists.
fn pop_several(unit: &mut Unit<'_, '_>, key: &[u8], end: ListEnd, count: usize) -> Vec<Reply> {
    let (popped, is_empty) =
        unit.edit(key, |list: &mut List| (list.pop_several(end, count), list.is_empty()));
    notify_removed(unit, pop_event(end), key, is_empty);
    popped.into_iter().map(Reply::Bulk).collect()
}

pub(super) fn llen<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    Ok(Reply::Integer(unit.read_as::<List>(&argv[1])?.map_or(0, |list| list.len() as i64)))
}

pub(super) fn lindex<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    // An absent key is answered before the index is read.
    let Some(list) = unit.read_as::<List>(&argv[1])? else { return Ok(Reply::Null) };
    let index = from_head(integer(&argv[2])?, list.len());
    let element = usize::try_from(index).ok().and_then(|index| list.get(index));
    Ok(element.map_or(Reply::Null, |element| Reply::Bulk(owned(element))))
}

pub(super) fn lrange<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    let (start, stop) = (integer(&argv[2])?, integer(&argv[3])?);
    let Some(list) = unit.read_as::<List>(&argv[1])? else { return Ok(Reply::Array(Vec::new())) };
    let elements = list.range(range_within(start, stop, list.len()));
    Ok(Reply::Array(copied_bulks(elements)))
}

pub(super) fn lset<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    let key = &argv[1];
    let len = unit.find_as::<List>(key)?.ok_or(CommandError::NoSuchKey)?.len();
    let index = from_head(integer(&argv[2])?, len);
    let index = usize::try_from(index).ok().filter(|&index| index < len);
    let index = index.ok_or(CommandError::IndexOutOfRange)?;
    unit.edit(key, |list: &mut List| list.set(index, &argv[3]));
    unit.notify(EventClass::List, "lset", key);
    unit.propagate(argv, list::edit(argv, EditOutcome::Changed));
    Ok(OK)
}

/// `LINSERT key BEFORE|AFTER pivot element`.
pub(super) fn linsert<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    let (key, place, pivot) = (&argv[1], &argv[2], &argv[3]);
    let offset = match place {
        _ if place.eq_ignore_ascii_case(b"AFTER") => 1,
        _ if place.eq_ignore_ascii_case(b"BEFORE") => 0,
        _ => return Err(CommandError::Syntax),
    };
    let list = unit.find_as::<List>(key)?;
    let exists = list.is_some();
    let Some(index) = list.and_then(|list| list.iter().position(|element| element == pivot)) else {
        unit.propagate(argv, list::edit(argv, EditOutcome::Unchanged));
        return Ok(Reply::Integer(if exists { -1 } else { 0 }));
    };
    let len = unit.edit(key, |list: &mut List| {
        list.insert(index + offset, &argv[4]);
        list.len()
    });
    unit.notify(EventClass::List, "linsert", key);
    unit.propagate(argv, list::edit(argv, EditOutcome::Changed));
    Ok(Reply::Integer(len as i64))
}

/// `LREM key count element`: a negative count goes from the tail, 0 removes all.
pub(super) fn lrem<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    let (key, element) = (&argv[1], &argv[3]);
    let count = integer(&argv[2])?;
    if count == i64::MIN {
        return Err(CommandError::CountOutOfRange);
    }
    let end = if count < 0 { ListEnd::Tail } else { ListEnd::Head };
    let most =
        if count == 0 { usize::MAX } else { usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX) };
    let mut removed = 0;
    // A list in which nothing changes must not count as modified.
    if unit.find_as::<List>(key)?.is_some_and(|list| list.iter().any(|it| it == element)) {
        let (count, is_empty) =
            unit.edit(key, |list: &mut List| (list.remove_equal(end, most, element), list.is_empty()));
        removed = count;
        notify_removed(unit, "lrem", key, is_empty);
    }
    unit.propagate(argv, list::edit(argv, outcome(removed > 0)));
    Ok(Reply::Integer(removed as i64))
}

/// `LTRIM key start stop`: counts as a modification, for `WATCH` too, even if everything stays, but then
/// propagates nothing.
pub(super) fn ltrim<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    let (start, stop) = (integer(&argv[2])?, integer(&argv[3])?);
    let key = &argv[1];
    let mut changed = false;
    if let Some(len) = unit.find_as::<List>(key)?.map(List::len) {
        let kept = range_within(start, stop, len);
        changed = kept.len() < len;
        let is_empty = kept.is_empty();
        unit.edit(key, |list: &mut List| list.trim(kept));
        notify_removed(unit, "ltrim", key, is_empty);
    }
    unit.propagate(argv, list::edit(argv, outcome(changed)));
    Ok(OK)
}

/// The options of `LPOS`.
struct Search {
    /// Which match is the first to be answered; negative from the tail.
    rank: i64,
    /// The most matches to answer, 0 for all; without it one is answered, not in an array.
    count: Option<u64>,
    /// The most elements to compare, 0 for all.
    max_len: u64,
}

impl Search {
    fn parse(options: &[Bytes]) -> Result<Search, CommandError> {
        let mut search = Search { rank: 1, count: None, max_len: 0 };
        let not_negative = |arg: &[u8], name| {
            parse_i64(arg).and_then(|n| u64::try_from(n).ok()).ok_or(CommandError::Negative(name))
        };
        for pair in options.chunks(2) {
            let [name, value] = pair else { return Err(CommandError::Syntax) };
            if name.eq_ignore_ascii_case(b"RANK") {
                search.rank = match integer(value)? {
                    i64::MIN => return Err(CommandError::CountOutOfRange),
                    0 => return Err(CommandError::RankZero),
                    rank => rank,
                };
            } else if name.eq_ignore_ascii_case(b"COUNT") {
                search.count = Some(not_negative(value, "COUNT")?);
            } else if name.eq_ignore_ascii_case(b"MAXLEN") {
                search.max_len = not_negative(value, "MAXLEN")?;
            } else {
                return Err(CommandError::Syntax);
            }
        }
        Ok(search)
    }

    /// The indices of the matches, in the order in which they are met.
    fn matches<'a>(&self, list: &'a List, wanted: &'a [u8]) -> impl Iterator<Item = usize> + 'a {
        let last = list.len().saturating_sub(1);
        let from_tail = self.rank < 0;
        let compared = match self.max_len {
            0 => list.len(),
            max_len => usize::try_from(max_len).unwrap_or(usize::MAX).min(list.len()),
        };
        let skipped = usize::try_from(self.rank.unsigned_abs() - 1).unwrap_or(usize::MAX);
        let mut elements = list.iter();
        let mut next = move || if from_tail { elements.next_back() } else { elements.next() };
        let met = (0..compared).map_while(move |step| Some((step, next()?)));
        let is_match = move |(step, element): (usize, &[u8])| (element == wanted).then_some(step);
        let at = move |step| if from_tail { last - step } else { step };
        met.filter_map(is_match).map(at).skip(skipped)
    }
}

pub(super) fn lpos<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    let search = Search::parse(&argv[3..])?;
    let list = unit.read_as::<List>(&argv[1])?;
    let mut matches = list.into_iter().flat_map(|list| search.matches(list, &argv[2]));
    let reply = |index: usize| Reply::Integer(index as i64);
    Ok(match search.count {
        None => matches.next().map_or(Reply::Null, reply),
        Some(0) => Reply::Array(matches.map(reply).collect()),
        Some(count) => {
            Reply::Array(matches.take(usize::try_from(count).unwrap_or(usize::MAX)).map(reply).collect())
        }
    })
}

/// Moves an element from one list to another or within one; `None` if there is none.
fn move_element(
    unit: &mut Unit<'_, '_>,
    (source, from): (&[u8], ListEnd),
    (destination, to): (&[u8], ListEnd),
) -> Result<Option<Bytes>, CommandError> {
    if unit.find_as::<List>(source)?.is_none() {
        return Ok(None);
    }
    unit.find_as::<List>(destination)?;
    if source == destination {
        // Popping first would remove a list of one element, deadline and all.
        let moved = unit.edit(source, |list: &mut List| {
            let element = list.pop(from);
            element.iter().for_each(|element| list.push(to, element));
            element
        });
        unit.notify(EventClass::List, push_event(to), destination);
        unit.notify(EventClass::List, pop_event(from), source);
        return Ok(moved);
    }
    let (element, is_empty) = unit.edit(source, |list: &mut List| (list.pop(from), list.is_empty()));
    if let Some(element) = &element {
        unit.edit(destination, |list: &mut List| list.push(to, element));
    }
    unit.notify(EventClass::List, push_event(to), destination);
    notify_removed(unit, pop_event(from), source, is_empty);
    Ok(element)
}

/// `LMOVE source destination LEFT|RIGHT LEFT|RIGHT`.
pub(super) fn lmove<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    let (from, to) = (parse_end(&argv[3])?, parse_end(&argv[4])?);
    plain_move(unit, argv, from, to)
}

pub(super) fn rpoplpush<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    plain_move(unit, argv, ListEnd::Tail, ListEnd::Head)
}

fn plain_move<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes], from: ListEnd, to: ListEnd) -> CommandResult {
    let moved = move_element(unit, (&argv[1], from), (&argv[2], to))?;
    unit.propagate(argv, list::edit(argv, outcome(moved.is_some())));
    Ok(bulk_or_null(moved.as_ref()))
}

/// `BLMOVE source destination LEFT|RIGHT LEFT|RIGHT timeout`.
pub(super) fn blmove<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    let (from, to) = (parse_end(&argv[3])?, parse_end(&argv[4])?);
    blocking_move(unit, argv, from, to)
}

/// `BRPOPLPUSH source destination timeout`.
pub(super) fn brpoplpush<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    blocking_move(unit, argv, ListEnd::Tail, ListEnd::Head)
}

fn blocking_move<'c>(
    unit: &mut Unit<'_, 'c>,
    argv: &'c [Bytes],
    from: ListEnd,
    to: ListEnd,
) -> CommandResult {
    let timeout_ms = timeout_ms(&argv[argv.len() - 1], unit.now_ms)?;
    match move_element(unit, (&argv[1], from), (&argv[2], to))? {
        Some(element) => {
            unit.propagate(argv, list::blocking_move(argv, EditOutcome::Changed));
            Ok(Reply::Bulk(element))
        }
        None => unit.block(&argv[1..2], TYPE, timeout_ms, Reply::Null),
    }
}

/// The first of `keys` that holds a list, and its length. Another type before it is an error.
fn first_list<'c>(
    unit: &mut Unit<'_, 'c>,
    keys: &'c [Bytes],
) -> Result<Option<(&'c Bytes, usize)>, CommandError> {
    for key in keys {
        if let Some(list) = unit.find_as::<List>(key)? {
            return Ok(Some((key, list.len())));
        }
    }
    Ok(None)
}

/// `BLPOP|BRPOP key [key …] timeout`.
pub(super) fn bpop<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    let end = if argv[0].eq_ignore_ascii_case(b"blpop") { ListEnd::Head } else { ListEnd::Tail };
    let (timeout, keys) = (&argv[argv.len() - 1], &argv[1..argv.len() - 1]);
    let timeout_ms = timeout_ms(timeout, unit.now_ms)?;
    let Some((key, _)) = first_list(unit, keys)? else {
        return unit.block(keys, TYPE, timeout_ms, Reply::NullArray);
    };
    let popped = pop_one(unit, key, end);
    unit.propagate(argv, list::blocking_pop(argv, PopOutcome::Popped { key, count: 1 }));
    Ok(Reply::Array(vec![Reply::Bulk(key.clone()), bulk_or_null(popped.as_ref())]))
}

impl<'c> MultiPop<'c, ListEnd> {
    /// Pops from the first list there is; `None` if there is none.
    fn run(&self, unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> Result<Option<Reply>, CommandError> {
        let Some((key, len)) = first_list(unit, self.keys)? else { return Ok(None) };
        let popped = pop_several(unit, key, self.end, self.count);
        let count = self.count.min(len) as u64;
        unit.propagate(argv, list::multi_pop(argv, PopOutcome::Popped { key, count }));
        Ok(Some(Reply::Array(vec![Reply::Bulk(key.clone()), Reply::Array(popped)])))
    }
}

pub(super) fn lmpop<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    let pop = MultiPop::parse(&argv[1..], parse_end)?;
    Ok(pop.run(unit, argv)?.unwrap_or(Reply::NullArray))
}

/// `BLMPOP timeout numkeys key [key …] LEFT|RIGHT [COUNT n]`.
pub(super) fn blmpop<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    let pop = MultiPop::parse(&argv[2..], parse_end)?;
    let timeout_ms = timeout_ms(&argv[1], unit.now_ms)?;
    match pop.run(unit, argv)? {
        Some(reply) => Ok(reply),
        None => unit.block(pop.keys, TYPE, timeout_ms, Reply::NullArray),
    }
}
