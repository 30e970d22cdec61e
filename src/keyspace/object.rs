//! What is known about a key besides its value: `OBJECT`, `MEMORY USAGE`, `TOUCH`.
//!
//! The other subcommands of `MEMORY` report on Valkey's allocator and do not exist.

use bytes::Bytes;

use super::CommandError;
use super::command::{ALL, CommandSpec, R, RF, keyed, printable};
use super::number::integer;
use super::unit::{CommandResult, Unit};
use crate::resp::Reply;

/// The commands of this file.
pub(super) static COMMANDS: &[CommandSpec] = &[
    keyed("memory", -2, R, SECOND, memory).with_subcommands(|argv| memory_subcommand(argv).map(|_| ())),
    keyed("object", -2, R, SECOND, object).with_subcommands(|argv| object_subcommand(argv).map(|_| ())),
    keyed("touch", -2, RF, ALL, touch),
];

/// The key follows the subcommand.
const SECOND: (i32, i32, i32) = (2, 2, 1);

const OBJECT_HELP: &[&str] = &[
    "OBJECT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "ENCODING <key>",
    "    Return the kind of internal representation used in order to store the value",
    "    associated with a <key>.",
    "FREQ <key>",
    "    Return the access frequency index of the <key>. The returned integer is",
    "    proportional to the logarithm of the recent access frequency of the key.",
    "IDLETIME <key>",
    "    Return the idle time of the <key>, that is the approximated number of",
    "    seconds elapsed since the last access to the key.",
    "REFCOUNT <key>",
    "    Return the number of references of the value associated with the specified",
    "    <key>.",
    "HELP",
    "    Print this help.",
];

const MEMORY_HELP: &[&str] = &[
    "MEMORY <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "USAGE <key> [SAMPLES <count>]",
    "    Return memory in bytes used by <key> and its value. Nested values are",
    "    sampled up to <count> times (default: 5, 0 means sample all).",
    "HELP",
    "    Print this help.",
];

fn help(lines: &[&'static str]) -> Reply {
    Reply::Array(lines.iter().map(|line| Reply::Simple(line)).collect())
}

/// The subcommand of a container, whose arguments have to be as many as it takes.
fn subcommand(
    argv: &[Bytes],
    container: &'static str,
    known: &[(&'static str, &'static str, usize)],
) -> Result<&'static str, CommandError> {
    let given = argv.get(1).map_or(&[][..], |given| given);
    let Some((name, full_name, args_min)) =
        known.iter().find(|(name, ..)| given.eq_ignore_ascii_case(name.as_bytes()))
    else {
        return Err(CommandError::UnknownSubcommand { given: printable(given), container });
    };
    // Only `MEMORY USAGE` has options.
    let fits = if *name == "usage" { argv.len() - 2 >= *args_min } else { argv.len() - 2 == *args_min };
    if fits { Ok(name) } else { Err(CommandError::Arity(full_name)) }
}

fn object_subcommand(argv: &[Bytes]) -> Result<&'static str, CommandError> {
    let known = [
        ("encoding", "object|encoding", 1),
        ("freq", "object|freq", 1),
        ("help", "object|help", 0),
        ("idletime", "object|idletime", 1),
        ("refcount", "object|refcount", 1),
    ];
    subcommand(argv, "OBJECT", &known)
}

fn memory_subcommand(argv: &[Bytes]) -> Result<&'static str, CommandError> {
    subcommand(argv, "MEMORY", &[("help", "memory|help", 0), ("usage", "memory|usage", 1)])
}

/// `OBJECT ENCODING|FREQ|IDLETIME|REFCOUNT key`. Asking is no access.
pub(super) fn object<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    let name = object_subcommand(argv)?;
    if name == "help" {
        return Ok(help(OBJECT_HELP));
    }
    let (now_s, rule) = (unit.now_s(), unit.keyspace.memory.frequency_rule());
    let key = &argv[2];
    let Some(entry) = unit.read_unnoticed(key) else { return Ok(Reply::Null) };
    Ok(match (name, rule) {
        ("encoding", _) => {
            Reply::Bulk(Bytes::from_static(entry.value.encoding(key, entry.access.form).as_bytes()))
        }
        // Whether a value is shared is nobody's business; Valkey shares only small integers, and then not
        // under a key.
        ("refcount", _) => Reply::Integer(1),
        ("freq", Some(rule)) => Reply::Integer(entry.access.frequency(now_s, rule).into()),
        ("freq", None) => return Err(CommandError::FrequencyNotTracked),
        (_, Some(_)) => return Err(CommandError::IdleTimeNotTracked),
        (_, None) => Reply::Integer(entry.access.idle_s(now_s).into()),
    })
}

/// `MEMORY USAGE key [SAMPLES count]`: what the entry counts for. Nothing has to be sampled, the size is
/// known.
pub(super) fn memory<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    if memory_subcommand(argv)? == "help" {
        return Ok(help(MEMORY_HELP));
    }
    for option in argv[3..].chunks(2) {
        match option {
            [name, count] if name.eq_ignore_ascii_case(b"SAMPLES") => {
                if integer(count)? < 0 {
                    return Err(CommandError::Syntax);
                }
            }
            _ => return Err(CommandError::Syntax),
        }
    }
    let key = &argv[2];
    // As in Valkey, a key that has expired and is still stored uses memory, and is left where it is.
    let db = unit.db;
    let bytes = unit.home(key).get(db, key).map(|entry| entry.bytes(key.len()));
    Ok(bytes.map_or(Reply::Null, |bytes| Reply::Integer(i64::try_from(bytes).unwrap_or(i64::MAX))))
}

/// An access to each key, also by a client that asked for its lookups not to count.
pub(super) fn touch<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    let notes_access = std::mem::replace(&mut unit.notes_access, true);
    let touched = argv[1..].iter().filter(|key| unit.read(key).is_some()).count();
    unit.notes_access = notes_access;
    Ok(Reply::Integer(touched as i64))
}
