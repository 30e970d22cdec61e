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
//! | `INCREX` (Valkey 9.2) | with an expiry / without | `SET k result PXAT ms` / `SET k result KEEPTTL` |
//! | `INCR`, `DECR`, `INCRBY`, `DECRBY`, `MSET`, `APPEND` | always, an empty `APPEND` included | verbatim |
//! | `SETNX`, `MSETNX` | stored | verbatim |
//! | `SETRANGE` | a patch that is not empty, even if it changes no byte | verbatim |
//! | `SETBIT` | the bit was another, or the string was created or grew | verbatim |
//! | `BITFIELD` | a field was another, or the string was created or grew, even if nothing else was done | verbatim |
//! | `DELIFEQ`, `DELEX` (Valkey 9.2) | deleted | `DEL k`, never `UNLINK` |
//! | `MSETEX` | stored, the deadline past or future | the client's bytes with `PXAT ms` in place; or as `MSET` or several `SET` ([`MSetExForm`]) |
//!
//! `BITOP` is in [`store`](super::store). What reads a string (`GET`, `MGET`, `BITCOUNT`, `LCS` …) propagates
//! nothing.
//!
//! # Exceptions
//!
//! Where Valkey 9.1.2's form can diverge.
//!
//! | sequence | Valkey sends | what diverges | sent here |
//! |---|---|---|---|
//! | `SET k v IFEQ w` | verbatim | a replica without the option (Redis, Valkey 8.0) answers a syntax error to nobody and keeps the old value | `SET k v` |
//! | `SET k v IFEQ get GET` | `SET k v IFEQ` | every replica refuses it | `SET k v` |
//! | `BITFIELD k OVERFLOW FAIL INCRBY u2 0 9`, `k` absent | nothing | the primary has created `k` (one zero byte), the replica has no `k` | verbatim |
//! | `BITFIELD k OVERFLOW FAIL SET u8 1000 256`, `k` shorter | nothing | the primary has extended `k` with zeros | verbatim |
//! | `MSETEX 1 k v EX 9 EX 10` | `MSETEX 1 k v EX 9 PXAT ms` | every replica refuses it: two kinds of expiry | `MSETEX 1 k v PXAT ms` |
//! | `MSETEX 1 k v` | verbatim | a replica without the command (Redis, Valkey 9.0) keeps the old value | `MSET k v` ([`MSetExForm::AsSets`]) |
//! | `INCREX k` (any form) | verbatim where it adds an integer | the same | `SET k result …` |
//!
//! `IFEQ` held on the primary, so the store alone says the same to everyone.
//!
//! An `MSETEX` whose time has passed is *not* turned into a deletion, because Valkey does not: the keys are
//! stored with that deadline on both sides, nobody sees them, and the primary's reclaim is in the stream as
//! for any other key. That cannot diverge: the replica never judges a deadline, and if the link breaks in
//! between, a primary that is promoted holds the keys with their deadline and reclaims them itself. The
//! conditions of an `MSETEX` may stay in: a key that was absent for `NX` because it had expired was deleted
//! ahead of it, in the stream.
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
    let persists = argv.get(2).map(|option| option.eq_ignore_ascii_case(b"PERSIST"));
    match (outcome, persists) {
        (GetExOutcome::Unchanged, _) | (GetExOutcome::Persisted, Some(true)) => {}
        (GetExOutcome::Deadline(_) | GetExOutcome::Deleted, Some(false)) => {}
        (_, None) => return Err(Mismatch::outcome(command, "it has no options")),
        (GetExOutcome::Persisted, _) => return Err(Mismatch::outcome(command, "its options name a time")),
        (_, _) => return Err(Mismatch::outcome(command, "its options name no time")),
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

/// The propagation of `INCR|DECR key` and `INCRBY|DECRBY key n` that succeeded: integer addition is the same
/// everywhere.
pub fn incr(argv: &[Bytes]) -> Rewritten {
    const COMMANDS: &[(&str, usize)] = &[("incr", 2), ("decr", 2), ("incrby", 3), ("decrby", 3)];
    identify(argv, COMMANDS, "INCR, DECR, INCRBY, DECRBY")?;
    Ok(Propagation::Verbatim)
}

/// What an `INCREX` did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IncrExOutcome<'o> {
    /// A bound was met: nothing happened.
    Unchanged,
    /// Stored.
    Stored {
        /// The value that the key has now.
        result: &'o Bytes,
        /// The absolute deadline that the options named, if they named one, in milliseconds since the Unix
        /// epoch. Without one the key keeps what it had.
        deadline_ms: Option<u64>,
    },
}

/// The propagation of `INCREX key [BYINT n|BYFLOAT x] … [EX s|PX ms|EXAT s|PXAT ms] …`.
pub fn increx(argv: &[Bytes], outcome: IncrExOutcome<'_>) -> Rewritten {
    identify(argv, &[("increx", 2)], "INCREX")?;
    Ok(match outcome {
        IncrExOutcome::Unchanged => Propagation::Nothing,
        IncrExOutcome::Stored { result, deadline_ms: Some(deadline_ms) } => {
            Propagation::Command(set_pxat(&argv[1], result, deadline_ms))
        }
        IncrExOutcome::Stored { result, deadline_ms: None } => {
            Propagation::Command(vec![word("SET"), argv[1].clone(), result.clone(), word("KEEPTTL")])
        }
    })
}

/// The propagation of `SETNX key value` and `MSETNX key value [key value …]`, which stored everything or
/// nothing.
pub fn setnx(argv: &[Bytes], stored: bool) -> Rewritten {
    let command = identify(argv, &[("setnx", 3), ("msetnx", 3)], "SETNX, MSETNX")?;
    if argv.len().is_multiple_of(2) {
        return Err(Mismatch::outcome(command, "a key has no value"));
    }
    Ok(Propagation::verbatim_if(stored))
}

/// The propagation of `MSET key value [key value …]`, which always stores.
pub fn mset(argv: &[Bytes]) -> Rewritten {
    let command = identify(argv, &[("mset", 3)], "MSET")?;
    if argv.len().is_multiple_of(2) {
        return Err(Mismatch::outcome(command, "a key has no value"));
    }
    Ok(Propagation::Verbatim)
}

/// The propagation of `APPEND key tail`, which always counts as a change: an empty tail creates the key.
pub fn append(argv: &[Bytes]) -> Rewritten {
    identify(argv, &[("append", 3)], "APPEND")?;
    Ok(Propagation::Verbatim)
}

/// The propagation of `SETRANGE key offset patch`. Nothing is written for an empty patch, and every other is
/// written.
pub fn setrange(argv: &[Bytes], written: bool) -> Rewritten {
    let command = identify(argv, &[("setrange", 4)], "SETRANGE")?;
    if written == argv[3].is_empty() {
        return Err(Mismatch::outcome(command, "it writes exactly if the patch is not empty"));
    }
    Ok(Propagation::verbatim_if(written))
}

/// What a command on bits did to the string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BitsOutcome {
    /// Nothing.
    Unchanged,
    /// No bit is another, but the string was created or became longer, filled with zeros.
    Grown,
    /// A bit is another.
    Changed,
}

/// The propagation of `SETBIT key offset bit` and `BITFIELD key operations`.
pub fn bits(argv: &[Bytes], outcome: BitsOutcome) -> Rewritten {
    identify(argv, &[("setbit", 4), ("bitfield", 2)], "SETBIT, BITFIELD")?;
    Ok(Propagation::verbatim_if(outcome != BitsOutcome::Unchanged))
}

/// The propagation of `DELIFEQ key value` and `DELEX key [condition]`: always `DEL`, whatever the deletion
/// verb.
pub fn delifeq(argv: &[Bytes], deleted: bool) -> Rewritten {
    identify(argv, &[("delifeq", 3), ("delex", 2)], "DELIFEQ, DELEX")?;
    Ok(if deleted { Propagation::Command(DeletionVerb::Del.command(&argv[1])) } else { Propagation::Nothing })
}

/// What an `MSETEX` did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MSetExOutcome {
    /// A condition was not met: nothing happened.
    NotMet,
    /// Stored, with the absolute deadline that the options named, if they named one.
    Stored {
        /// Milliseconds since the Unix epoch; it may have passed.
        deadline_ms: Option<u64>,
    },
}

/// How an `MSETEX` is spelled in the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MSetExForm {
    /// As Valkey 9.1 does, for replicas that all know the command.
    InPlace,
    /// As commands that every replica knows: one `MSET`, or a `SET` with `PXAT` or `KEEPTTL` per key.
    AsSets,
}

/// The propagation of `MSETEX numkeys key value [key value …] [NX|XX] [EX s|PX ms|EXAT s|PXAT ms|KEEPTTL]`.
pub fn msetex(argv: &[Bytes], outcome: MSetExOutcome, form: MSetExForm) -> Rewritten {
    let command = identify(argv, &[("msetex", 4)], "MSETEX")?;
    let mismatch = |reason| Err(Mismatch::outcome(command, reason));
    let pairs_end = std::str::from_utf8(&argv[1]).ok().and_then(|n| n.parse::<usize>().ok());
    let pairs_end = pairs_end.and_then(|n| n.checked_mul(2)?.checked_add(2));
    let Some(pairs_end) = pairs_end.filter(|end| (4..=argv.len()).contains(end)) else {
        return mismatch("its number of keys is not the number of its pairs");
    };
    let options = &argv[pairs_end..];
    let is = |option: &Bytes, names: &[&str]| names.iter().any(|n| option.eq_ignore_ascii_case(n.as_bytes()));
    // Only one kind of time is allowed, and the last one holds.
    const TIMES: &[&str] = &["EX", "PX", "EXAT", "PXAT"];
    let mut time = None;
    let mut times = 0;
    let (mut conditional, mut keeps) = (false, false);
    let mut at = 0;
    while let Some(option) = options.get(at) {
        conditional |= is(option, &["NX", "XX"]);
        keeps |= is(option, &["KEEPTTL"]);
        if is(option, TIMES) {
            (time, times) = (Some(at), times + 1);
            at += 1;
        }
        at += 1;
    }
    let deadline_ms = match (outcome, time) {
        (MSetExOutcome::NotMet, _) if !conditional => return mismatch("its options name no condition"),
        (MSetExOutcome::NotMet, _) => return Ok(Propagation::Nothing),
        (MSetExOutcome::Stored { deadline_ms: Some(_) }, None) => {
            return mismatch("its options name no time");
        }
        (MSetExOutcome::Stored { deadline_ms: None }, Some(_)) => {
            return mismatch("its options name a time, and no deadline was set");
        }
        (MSetExOutcome::Stored { deadline_ms }, _) => deadline_ms,
    };
    let pairs = || argv[2..pairs_end].chunks_exact(2);
    Ok(match (form, deadline_ms, time) {
        (MSetExForm::InPlace, None, _) => Propagation::Verbatim,
        (MSetExForm::InPlace, Some(deadline_ms), time) => {
            let last = time.unwrap_or_default();
            if times == 1 && is(&options[last], &["PXAT"]) {
                return Ok(Propagation::Verbatim);
            }
            let mut sent = argv[..pairs_end].to_vec();
            let mut at = 0;
            while let Some(option) = options.get(at) {
                if at == last {
                    sent.extend([word("PXAT"), decimal(deadline_ms)]);
                }
                if is(option, TIMES) {
                    at += 1;
                } else {
                    sent.push(option.clone());
                }
                at += 1;
            }
            Propagation::Command(sent)
        }
        (MSetExForm::AsSets, None, _) if !keeps => {
            let mut sent = vec![word("MSET")];
            sent.extend(argv[2..pairs_end].iter().cloned());
            Propagation::Command(sent)
        }
        (MSetExForm::AsSets, None, _) => Propagation::of(
            pairs()
                .map(|pair| vec![word("SET"), pair[0].clone(), pair[1].clone(), word("KEEPTTL")])
                .collect(),
        ),
        (MSetExForm::AsSets, Some(deadline_ms), _) => {
            Propagation::of(pairs().map(|pair| set_pxat(&pair[0], &pair[1], deadline_ms)).collect())
        }
    })
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
        } else if is("IFEQ") || is("IFNE") {
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

/// The command without every `GET` option, and without `IFEQ` or `IFNE` and its argument.
///
/// Stricter than Valkey, which drops every later argument that spells `GET`: for `SET k v IFEQ get GET`
/// its 9.1.2 propagates `SET k v IFEQ`, which a replica cannot apply.
fn without_get_and_ifeq(argv: &[Bytes]) -> Argv {
    let mut kept = Vec::with_capacity(argv.len());
    let mut args = argv.iter();
    kept.extend(args.by_ref().take(3).cloned());
    while let Some(arg) = args.next() {
        if arg.eq_ignore_ascii_case(b"IFEQ") || arg.eq_ignore_ascii_case(b"IFNE") {
            args.next();
        } else if !arg.eq_ignore_ascii_case(b"GET") {
            kept.push(arg.clone());
        }
    }
    kept
}
