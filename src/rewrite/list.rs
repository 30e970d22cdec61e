//! Lists.
//!
//! | client | happened | propagated |
//! |---|---|---|
//! | `LPUSH`, `RPUSH` | always | verbatim |
//! | `LPUSHX`, `RPUSHX`, `LSET`, `LINSERT`, `LREM`, `LTRIM` | changed | verbatim |
//! | `LPOP`, `RPOP`, with a count or without | popped | verbatim: a count beyond the length empties the list on both sides |
//! | `LMOVE`, `RPOPLPUSH` | moved | verbatim |
//! | `BLPOP`, `BRPOP` | popped from the key `k` | `LPOP k`, `RPOP k` |
//! | `LMPOP`, `BLMPOP` | popped `n` from the key `k` | `LPOP k n`, `RPOP k n`, `n` being how many there were to pop |
//! | `BLMOVE`, `BRPOPLPUSH` | moved | `LMOVE s d from to`, `RPOPLPUSH s d` |
//! | any of them | nothing changed | nothing |
//!
//! A command that had to wait propagates the same when it is served, in a unit of its own that follows the
//! unit of whoever pushed. No timeout is in the stream, so no clock is. A list that becomes empty is deleted
//! by the same command on both sides; nothing is added.

use bytes::Bytes;

use super::{Mismatch, Propagation, Rewritten, decimal, identify, word};

/// Whether a command changed a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EditOutcome {
    /// It left everything as it was.
    Unchanged,
    /// It changed the list.
    Changed,
}

/// The commands that go out as the client sent them.
const EDITS: &[(&str, usize)] = &[
    ("lpush", 3),
    ("rpush", 3),
    ("lpushx", 3),
    ("rpushx", 3),
    ("lpop", 2),
    ("rpop", 2),
    ("lset", 4),
    ("linsert", 5),
    ("lrem", 4),
    ("ltrim", 4),
    ("lmove", 5),
    ("rpoplpush", 3),
];

/// The propagation of `LPUSH`, `RPUSH`, `LPUSHX`, `RPUSHX`, `LPOP`, `RPOP`, `LSET`, `LINSERT`, `LREM`,
/// `LTRIM`, `LMOVE` and `RPOPLPUSH`.
pub fn edit(argv: &[Bytes], outcome: EditOutcome) -> Rewritten {
    const EXPECTED: &str =
        "LPUSH, RPUSH, LPUSHX, RPUSHX, LPOP, RPOP, LSET, LINSERT, LREM, LTRIM, LMOVE, RPOPLPUSH";
    let command = identify(argv, EDITS, EXPECTED)?;
    let changed = outcome == EditOutcome::Changed;
    if !changed && matches!(command, "lpush" | "rpush" | "lset") {
        return Err(Mismatch::outcome(command, "it changes the list or answers an error"));
    }
    if changed && matches!(command, "lpop" | "rpop") && argv.get(2).is_some_and(|count| **count == *b"0") {
        return Err(Mismatch::outcome(command, "a count of 0 pops nothing"));
    }
    Ok(Propagation::verbatim_if(changed))
}

/// What a pop from the first of several keys that holds something did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PopOutcome<'a> {
    /// There was nothing in any key.
    Nothing,
    /// It popped `count` elements from `key`.
    Popped {
        /// One of the command's keys.
        key: &'a Bytes,
        /// How many there were to pop, at least one.
        count: u64,
    },
}

/// The propagation of `BLPOP|BRPOP key [key …] timeout`, served at once or later.
pub fn blocking_pop(argv: &[Bytes], outcome: PopOutcome<'_>) -> Rewritten {
    let command = identify(argv, &[("blpop", 3), ("brpop", 3)], "BLPOP, BRPOP")?;
    let PopOutcome::Popped { key, count } = outcome else { return Ok(Propagation::Nothing) };
    if !argv[1..argv.len() - 1].contains(key) {
        return Err(Mismatch::outcome(command, "the key is none of its keys"));
    }
    if count != 1 {
        return Err(Mismatch::outcome(command, "it pops one element"));
    }
    let pop = if command == "blpop" { "LPOP" } else { "RPOP" };
    Ok(Propagation::Command(vec![word(pop), key.clone()]))
}

/// The propagation of `LMPOP numkeys key [key …] LEFT|RIGHT [COUNT n]` and of `BLMPOP timeout` with the same
/// arguments, served at once or later.
pub fn multi_pop(argv: &[Bytes], outcome: PopOutcome<'_>) -> Rewritten {
    const ENDS: [(&str, &str); 2] = [("LEFT", "LPOP"), ("RIGHT", "RPOP")];
    let command = identify(argv, &[("lmpop", 4), ("blmpop", 5)], "LMPOP, BLMPOP")?;
    let arguments = if command == "lmpop" { &argv[1..] } else { &argv[2..] };
    let malformed = || Mismatch::outcome(command, "its arguments answer a syntax error");
    let (keys, pop, most) = read_multi_pop(arguments, ENDS).ok_or_else(malformed)?;
    let PopOutcome::Popped { key, count } = outcome else { return Ok(Propagation::Nothing) };
    if !keys.contains(key) {
        return Err(Mismatch::outcome(command, "the key is none of its keys"));
    }
    if count == 0 || count > most {
        return Err(Mismatch::outcome(command, "it pops at least one element and at most COUNT"));
    }
    Ok(Propagation::Command(vec![word(pop), key.clone(), decimal(count)]))
}

/// The keys, what the word after them stands for, and the count of `numkeys key [key …] END [COUNT n]`.
pub(super) fn read_multi_pop<'a, E: Copy>(
    arguments: &'a [Bytes],
    ends: [(&str, E); 2],
) -> Option<(&'a [Bytes], E, u64)> {
    let number = |arg: &Bytes| std::str::from_utf8(arg).ok()?.parse::<u64>().ok();
    let (numkeys, rest) = arguments.split_first()?;
    let (keys, rest) = rest.split_at_checked(usize::try_from(number(numkeys)?).ok()?)?;
    let (end, options) = rest.split_first()?;
    let (_, end) = ends.into_iter().find(|(name, _)| end.eq_ignore_ascii_case(name.as_bytes()))?;
    match options {
        [] => Some((keys, end, 1)),
        [name, count] if name.eq_ignore_ascii_case(b"COUNT") => Some((keys, end, number(count)?)),
        _ => None,
    }
}

/// The propagation of `BLMOVE source destination from to timeout` and
/// `BRPOPLPUSH source destination timeout`, served at once or later.
pub fn blocking_move(argv: &[Bytes], outcome: EditOutcome) -> Rewritten {
    let command = identify(argv, &[("blmove", 6), ("brpoplpush", 4)], "BLMOVE, BRPOPLPUSH")?;
    if outcome == EditOutcome::Unchanged {
        return Ok(Propagation::Nothing);
    }
    let plain = if command == "blmove" { "LMOVE" } else { "RPOPLPUSH" };
    let mut rewritten = Vec::with_capacity(argv.len() - 1);
    rewritten.push(word(plain));
    rewritten.extend_from_slice(&argv[1..argv.len() - 1]);
    Ok(Propagation::Command(rewritten))
}
