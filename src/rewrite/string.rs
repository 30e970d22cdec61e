//! Strings: `SET` and its relatives.
//!
//! | client | happened | propagated |
//! |---|---|---|
//! | `SET k v` with `EX`, `PX` or `EXAT` and nothing else | stored | the client's bytes with `PXAT ms` in place |
//! | `SET k v` with `EX`, `PX` or `EXAT` and other options | stored | `SET k v PXAT ms`: conditions and `GET` have done their work |
//! | `SET k v … PXAT ms …` | stored | verbatim, but `SET k v PXAT ms` if `IFEQ` is among the options |
//! | `SET k v` with any expiry already past | the key existed | a deletion |
//! | the same | the key was absent | nothing |
//! | `SET k v …` with `GET` or `IFEQ`, without expiry | stored | the client's bytes without every `GET` and `IFEQ value` |
//! | `SET` otherwise | stored | verbatim, `NX` and `XX` included: they hold on the replica as well |
//! | `SETEX`, `PSETEX` | stored | `SET k v PXAT ms` |
//! | `GETEX` with a time | future / past | `PEXPIREAT k ms` / a deletion |
//! | `GETEX PERSIST` | a deadline was removed | `PERSIST k` |
//! | `GETDEL` | the key existed | `DEL k`, never `UNLINK` |
//! | `GETSET` | | `SET k v` |
//! | `INCRBYFLOAT` | | `SET k result KEEPTTL` |
//!
//! `IFEQ` never goes out, although Valkey sends it: a Redis replica does not know it, answers a
//! syntax error into the void and keeps its old value for good. The condition held on the primary, so
//! the store alone says the same to everyone.
//!
//! `KEEPTTL` is safe in the stream because the primary deletes an expired key, with a command in
//! the stream, before it looks at it: when the replica meets `KEEPTTL` the deadline it keeps is the
//! one the primary kept.

use bytes::Bytes;

use super::{Argv, DeletionVerb, Mismatch, Propagation, Rewritten, decimal, identify, word};

/// What a `SET` did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetOutcome {
    /// A condition was not met: nothing happened.
    NotMet,
    /// Stored, with the absolute deadline that the options named, if they named one.
    Stored {
        /// Milliseconds since the Unix epoch.
        deadline_ms: Option<u64>,
    },
    /// The deadline had passed already: the key is gone.
    Past {
        /// Whether there was a key to delete.
        existed: bool,
    },
}

/// The propagation of `SET key value [options]`.
pub fn set(argv: &[Bytes], outcome: SetOutcome, verb: DeletionVerb) -> Rewritten {
    let command = identify(argv, &[("set", 3)], "SET")?;
    let options = scan_options(argv);
    let names_a_time = options.relative || options.absolute_ms;
    let mismatch = |reason| Err(Mismatch::outcome(command, reason));
    Ok(match outcome {
        SetOutcome::Past { .. } | SetOutcome::Stored { deadline_ms: Some(_) } if !names_a_time => {
            return mismatch("its options name no time");
        }
        SetOutcome::Stored { deadline_ms: None } if names_a_time => {
            return mismatch("its options name a time, and no deadline was set");
        }
        SetOutcome::NotMet if !options.condition => return mismatch("its options name no condition"),
        SetOutcome::NotMet | SetOutcome::Past { existed: false } => Propagation::Nothing,
        SetOutcome::Past { existed: true } => Propagation::Command(verb.command(&argv[1])),
        SetOutcome::Stored { deadline_ms: Some(deadline_ms) } => match options {
            SetOptions { absolute_ms: true, ifeq: false, .. } => Propagation::Verbatim,
            _ if argv.len() == 5 => {
                let [name, key, value] = [&argv[0], &argv[1], &argv[2]].map(Bytes::clone);
                Propagation::Command(vec![name, key, value, word("PXAT"), decimal(deadline_ms)])
            }
            _ => Propagation::Command(set_pxat(&argv[1], &argv[2], deadline_ms)),
        },
        SetOutcome::Stored { deadline_ms: None } if options.get || options.ifeq => {
            Propagation::Command(without_get_and_ifeq(argv))
        }
        SetOutcome::Stored { deadline_ms: None } => Propagation::Verbatim,
    })
}

fn set_pxat(key: &Bytes, value: &Bytes, deadline_ms: u64) -> Argv {
    vec![word("SET"), key.clone(), value.clone(), word("PXAT"), decimal(deadline_ms)]
}

/// The propagation of `SETEX key seconds value` and `PSETEX key milliseconds value`, which always store;
/// `deadline_ms` is in milliseconds since the Unix epoch.
pub fn setex(argv: &[Bytes], deadline_ms: u64) -> Rewritten {
    identify(argv, &[("setex", 4), ("psetex", 4)], "SETEX, PSETEX")?;
    Ok(Propagation::Command(set_pxat(&argv[1], &argv[3], deadline_ms)))
}

/// The propagation of `GETSET key value`, which always stores.
pub fn getset(argv: &[Bytes]) -> Rewritten {
    identify(argv, &[("getset", 3)], "GETSET")?;
    Ok(Propagation::Command(vec![word("SET"), argv[1].clone(), argv[2].clone()]))
}

/// The propagation of `INCRBYFLOAT key increment` that resulted in `result`.
pub fn incrbyfloat(argv: &[Bytes], result: &Bytes) -> Rewritten {
    identify(argv, &[("incrbyfloat", 3)], "INCRBYFLOAT")?;
    Ok(Propagation::Command(vec![word("SET"), argv[1].clone(), result.clone(), word("KEEPTTL")]))
}

/// What a `GETEX` did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GetExOutcome {
    /// No key, no option, or `PERSIST` on a key without a deadline.
    Unchanged,
    /// A new deadline, in milliseconds since the Unix epoch.
    Deadline(u64),
    /// The deadline had passed already: the key is gone.
    Deleted,
    /// The deadline was removed.
    Persisted,
}

/// The propagation of `GETEX key [EX s|PX ms|EXAT s|PXAT ms|PERSIST]`.
pub fn getex(argv: &[Bytes], outcome: GetExOutcome, verb: DeletionVerb) -> Rewritten {
    let command = identify(argv, &[("getex", 2)], "GETEX")?;
    if argv.len() == 2 && outcome != GetExOutcome::Unchanged {
        return Err(Mismatch::outcome(command, "it has no options"));
    }
    let key = &argv[1];
    Ok(match outcome {
        GetExOutcome::Unchanged => Propagation::Nothing,
        GetExOutcome::Deadline(ms) => Propagation::Command(vec![word("PEXPIREAT"), key.clone(), decimal(ms)]),
        GetExOutcome::Deleted => Propagation::Command(verb.command(key)),
        GetExOutcome::Persisted => Propagation::Command(vec![word("PERSIST"), key.clone()]),
    })
}

/// The propagation of `GETDEL key` that found its key or not: always `DEL`, whatever the deletion verb.
pub fn getdel(argv: &[Bytes], found: bool) -> Rewritten {
    identify(argv, &[("getdel", 2)], "GETDEL")?;
    Ok(if found { Propagation::Command(DeletionVerb::Del.command(&argv[1])) } else { Propagation::Nothing })
}

#[derive(Default)]
struct SetOptions {
    absolute_ms: bool,
    relative: bool,
    condition: bool,
    get: bool,
    ifeq: bool,
}

/// Reads the options after `SET key value`, skipping the arguments of those that have one.
fn scan_options(argv: &[Bytes]) -> SetOptions {
    let mut found = SetOptions::default();
    let mut i = 3;
    while let Some(option) = argv.get(i) {
        let is = |name: &str| option.eq_ignore_ascii_case(name.as_bytes());
        if is("PXAT") {
            found.absolute_ms = true;
            i += 1;
        } else if is("GET") {
            found.get = true;
        } else if is("IFEQ") {
            found.ifeq = true;
            found.condition = true;
            i += 1;
        } else if is("EX") || is("PX") || is("EXAT") {
            found.relative = true;
            i += 1;
        } else if is("NX") || is("XX") {
            found.condition = true;
        }
        i += 1;
    }
    found
}

/// The command without every `GET` option, and without `IFEQ` and its argument.
///
/// Stricter than Valkey, which drops every later argument that spells `GET`: for `SET k v IFEQ get GET`
/// its 9.1.2 propagates `SET k v IFEQ`, which a replica cannot apply.
fn without_get_and_ifeq(argv: &[Bytes]) -> Argv {
    let mut kept = Vec::with_capacity(argv.len());
    let mut args = argv.iter();
    kept.extend(args.by_ref().take(3).cloned());
    while let Some(arg) = args.next() {
        if arg.eq_ignore_ascii_case(b"IFEQ") {
            args.next();
        } else if !arg.eq_ignore_ascii_case(b"GET") {
            kept.push(arg.clone());
        }
    }
    kept
}
