//! `SORT` and `SORT_RO`.
//!
//! `ALPHA` compares bytes. (Valkey compares by its locale if the result is not stored; in the `C` locale that
//! is the same.)

use std::cmp::Ordering;
use std::ops::Range;

use bytes::Bytes;

use super::command::{CommandSpec, MoreKeys, ONE, R, Scope, WM, keyed};
use super::events::EventClass;
use super::number::{integer, parse_double};
use super::unit::{CommandResult, Unit, owned};
use super::value::Collection;
use super::{CommandError, List, Value};
use crate::resp::Reply;
use crate::rewrite::sort::{self as rewrite, SortOutcome};

/// The commands of this file.
pub(super) static COMMANDS: &[CommandSpec] = &[
    keyed("sort", -2, WM, ONE, sort)
        .with_more_keys(MoreKeys::After("store"))
        .with_scope(Scope::Depends(needs_all_shards)),
    keyed("sort_ro", -2, R, ONE, sort_ro).with_scope(Scope::Depends(needs_all_shards)),
];

/// What is to be done.
#[derive(Default)]
struct Options<'a> {
    descending: bool,
    alpha: bool,
    limit: Option<(i64, i64)>,
    /// The last `BY`.
    by: Option<&'a Bytes>,
    /// A `BY` without a `*`: the order stays as it is.
    unsorted: bool,
    get: Vec<&'a Bytes>,
    store: Option<&'a Bytes>,
}

fn parse_options(args: &[Bytes], may_store: bool) -> Result<Options<'_>, CommandError> {
    let mut options = Options::default();
    let mut args = args;
    while let [word, rest @ ..] = args {
        let is = |name: &str| word.eq_ignore_ascii_case(name.as_bytes());
        args = match rest {
            rest if is("ASC") || is("DESC") => {
                options.descending = is("DESC");
                rest
            }
            rest if is("ALPHA") => {
                options.alpha = true;
                rest
            }
            [start, count, rest @ ..] if is("LIMIT") => {
                options.limit = Some((integer(start)?, integer(count)?));
                rest
            }
            [destination, rest @ ..] if is("STORE") && may_store => {
                options.store = Some(destination);
                rest
            }
            [pattern, rest @ ..] if is("BY") => {
                options.by = Some(pattern);
                options.unsorted |= !pattern.contains(&b'*');
                rest
            }
            [pattern, rest @ ..] if is("GET") => {
                options.get.push(pattern);
                rest
            }
            _ => return Err(CommandError::Syntax),
        };
    }
    Ok(options)
}

/// Whether the command touches other keys than those at known places: what patterns name, and a destination
/// that is not the one that [`MoreKeys::After`] finds.
fn needs_all_shards(argv: &[Bytes]) -> bool {
    parse_options(argv.get(2..).unwrap_or_default(), true).is_ok_and(|options| {
        let mut patterns = options.by.iter().chain(&options.get);
        let stores = argv.iter().filter(|arg| arg.eq_ignore_ascii_case(b"STORE")).count();
        patterns.any(|pattern| pattern.contains(&b'*')) || stores > 1
    })
}

/// What `pattern` names for `element`: itself for `#`, or the string under a key, or a field's value.
fn look_up(unit: &mut Unit<'_, '_>, pattern: &Bytes, element: &Bytes) -> Option<Bytes> {
    if pattern == "#" {
        return Some(element.clone());
    }
    // A pattern without a place for the element names nothing.
    let star = pattern.iter().position(|byte| *byte == b'*')?;
    let arrow = pattern[star + 1..].windows(2).position(|pair| pair == b"->").map(|at| star + 1 + at);
    let field_at = arrow.map(|at| at + 2).filter(|at| *at < pattern.len());
    let suffix_end = field_at.map_or(pattern.len(), |at| at - 2);
    let key = [&pattern[..star], element, &pattern[star + 1..suffix_end]].concat();
    let moment = unit.moment();
    match (&unit.read(&key)?.value, field_at) {
        (Value::String(value), None) => Some(value.clone()),
        (Value::Hash(hash), Some(at)) => hash.get(&pattern[at..], moment).map(|field| field.value.to_bytes()),
        _ => None,
    }
}

/// What an element is sorted by.
enum Weight {
    Number(f64),
    Text(Option<Bytes>),
}

fn compare(a: &(Weight, Bytes), b: &(Weight, Bytes)) -> Ordering {
    match (&a.0, &b.0) {
        // Equal numbers are told apart by the elements. No weight is NaN.
        (Weight::Number(x), Weight::Number(y)) => {
            x.partial_cmp(y).unwrap_or(Ordering::Equal).then(a.1.cmp(&b.1))
        }
        // An absent text comes first.
        (Weight::Text(x), Weight::Text(y)) => x.cmp(y),
        _ => Ordering::Equal,
    }
}

/// The elements from `LIMIT`'s start on, as many as it says.
fn limited(limit: Option<(i64, i64)>, len: usize) -> Range<usize> {
    let (start, count) = limit.unwrap_or((0, -1));
    let start = usize::try_from(start.max(0)).unwrap_or(len).min(len);
    let count = usize::try_from(count).unwrap_or(len);
    start..start.saturating_add(count).min(len)
}

/// The elements of what is to be sorted, in its own order, and whether it has one.
fn elements_of(value: Option<&Value>) -> Result<(Vec<Bytes>, bool), CommandError> {
    Ok(match value {
        None => (Vec::new(), true),
        Some(Value::List(list)) => (list.iter().map(owned).collect(), true),
        Some(Value::Set(set)) => (set.iter().collect(), false),
        Some(Value::ZSet(zset)) => (zset.iter().map(|(member, _)| member.to_bytes()).collect(), true),
        Some(_) => return Err(CommandError::WrongType),
    })
}

/// A number ends at a zero byte, as in C.
fn up_to_zero(text: &[u8]) -> &[u8] {
    &text[..memchr::memchr(0, text).unwrap_or(text.len())]
}

/// What was sorted.
struct Sorted<T> {
    elements: Vec<T>,
    /// Whether every server takes the numbers. C's `strtod`, which older ones use, calls what is below the
    /// smallest normal double an error.
    normal: bool,
}

/// The elements in the order that was asked for, those that `LIMIT` leaves.
fn sorted(unit: &mut Unit<'_, '_>, key: &[u8], options: &Options<'_>) -> Result<Sorted<Bytes>, CommandError> {
    let mut normal = true;
    let (mut elements, is_ordered) = elements_of(unit.read(key).map(|entry| &entry.value))?;
    let range = limited(options.limit, elements.len());
    // The order of a set is nobody's business: what is stored must not depend on it.
    let forced = options.unsorted && !is_ordered && options.store.is_some();
    if options.unsorted && !forced {
        if options.descending && is_ordered {
            elements.reverse();
        }
    } else {
        let (by, alpha) = if forced { (None, true) } else { (options.by, options.alpha) };
        let mut weighted = Vec::with_capacity(elements.len());
        let mut all_numbers = true;
        for element in elements {
            let text = match by {
                None => Some(element.clone()),
                Some(pattern) => look_up(unit, pattern, &element),
            };
            let weight = if alpha {
                Weight::Text(text)
            } else {
                let number = text.map_or(Some(0.0), |text| parse_double(up_to_zero(&text)));
                all_numbers &= number.is_some();
                let number = number.unwrap_or_default();
                normal &= number == 0.0 || number.abs() > f64::MIN_POSITIVE;
                Weight::Number(number)
            };
            weighted.push((weight, element));
        }
        if !all_numbers {
            return Err(CommandError::SortNotNumbers);
        }
        weighted.sort_by(|a, b| if options.descending { compare(b, a) } else { compare(a, b) });
        elements = weighted.into_iter().map(|(_, element)| element).collect();
    }
    Ok(Sorted { elements: elements.drain(range).collect(), normal })
}

/// The result: the elements themselves, or what each `GET` names for each.
fn result(
    unit: &mut Unit<'_, '_>,
    key: &[u8],
    options: &Options<'_>,
) -> Result<Sorted<Option<Bytes>>, CommandError> {
    let Sorted { elements, normal } = sorted(unit, key, options)?;
    if options.get.is_empty() {
        return Ok(Sorted { elements: elements.into_iter().map(Some).collect(), normal });
    }
    let mut result = Vec::with_capacity(elements.len() * options.get.len());
    for element in &elements {
        result.extend(options.get.iter().map(|pattern| look_up(unit, pattern, element)));
    }
    Ok(Sorted { elements: result, normal })
}

fn answer(result: Sorted<Option<Bytes>>) -> Reply {
    Reply::Array(
        result.elements.into_iter().map(|element| element.map_or(Reply::Null, Reply::Bulk)).collect(),
    )
}

pub(super) fn sort_ro<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    let options = parse_options(&argv[2..], false)?;
    Ok(answer(result(unit, &argv[1], &options)?))
}

pub(super) fn sort<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    let options = parse_options(&argv[2..], true)?;
    let result = result(unit, &argv[1], &options)?;
    let Some(to) = options.store else {
        let propagation = rewrite::sort(argv, SortOutcome::Answered, unit.verb());
        unit.propagate(argv, propagation);
        return Ok(answer(result));
    };
    let Sorted { elements, normal } = result;
    let result: Vec<Bytes> = elements.into_iter().map(Option::unwrap_or_default).collect();
    let existed = if result.is_empty() { unit.remove(to) } else { unit.find(to).is_some() };
    if result.is_empty() {
        if existed {
            unit.notify(EventClass::Generic, "del", to);
        }
    } else {
        let mut list = List::new();
        result.iter().for_each(|element| list.push_back(element));
        let db = unit.db;
        unit.home(to).insert(db, to, list.into_value(), None);
        unit.notify(EventClass::List, "sortstore", to);
    }
    let outcome = if normal {
        SortOutcome::Stored { result: &result, existed }
    } else {
        SortOutcome::Computed { result: &result, existed }
    };
    let propagation = rewrite::sort(argv, outcome, unit.verb());
    unit.propagate(argv, propagation);
    Ok(Reply::Integer(result.len() as i64))
}
