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

use super::{Argv, DeletionVerb, Propagation, decimal, word};

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

/// The propagation of `SET key value [options]`. `argv` must be one that the command accepted.
pub fn set(argv: &[Bytes], outcome: SetOutcome, verb: DeletionVerb) -> Propagation {
    match outcome {
        SetOutcome::NotMet | SetOutcome::Past { existed: false } => Propagation::Nothing,
        SetOutcome::Past { existed: true } => Propagation::Command(verb.command(&argv[1])),
        SetOutcome::Stored { deadline_ms: Some(deadline_ms) } => match scan_options(argv) {
            SetOptions { absolute_ms: true, ifeq: false, .. } => Propagation::Verbatim,
            _ if argv.len() == 5 => {
                let [name, key, value] = [&argv[0], &argv[1], &argv[2]].map(Bytes::clone);
                Propagation::Command(vec![name, key, value, word("PXAT"), decimal(deadline_ms)])
            }
            _ => set_with_deadline(&argv[1], &argv[2], deadline_ms),
        },
        SetOutcome::Stored { deadline_ms: None } => {
            let SetOptions { get, ifeq, .. } = scan_options(argv);
            if get || ifeq { Propagation::Command(without_get_and_ifeq(argv)) } else { Propagation::Verbatim }
        }
    }
}

/// `SET key value PXAT deadline`: what `SETEX` and `PSETEX` propagate.
pub fn set_with_deadline(key: &Bytes, value: &Bytes, deadline_ms: u64) -> Propagation {
    Propagation::Command(vec![word("SET"), key.clone(), value.clone(), word("PXAT"), decimal(deadline_ms)])
}

/// `SET key value`: what `GETSET` propagates.
pub fn set_plain(key: &Bytes, value: &Bytes) -> Propagation {
    Propagation::Command(vec![word("SET"), key.clone(), value.clone()])
}

/// `SET key result KEEPTTL`: what `INCRBYFLOAT` propagates.
pub fn incrbyfloat(key: &Bytes, result: &Bytes) -> Propagation {
    Propagation::Command(vec![word("SET"), key.clone(), result.clone(), word("KEEPTTL")])
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

/// The propagation of `GETEX key …`.
pub fn getex(key: &Bytes, outcome: GetExOutcome, verb: DeletionVerb) -> Propagation {
    match outcome {
        GetExOutcome::Unchanged => Propagation::Nothing,
        GetExOutcome::Deadline(ms) => Propagation::Command(vec![word("PEXPIREAT"), key.clone(), decimal(ms)]),
        GetExOutcome::Deleted => Propagation::Command(verb.command(key)),
        GetExOutcome::Persisted => Propagation::Command(vec![word("PERSIST"), key.clone()]),
    }
}

/// The propagation of a `GETDEL` that found its key: always `DEL`, whatever the deletion verb.
pub fn getdel(key: &Bytes) -> Propagation {
    Propagation::Command(DeletionVerb::Del.command(key))
}

#[derive(Default)]
struct SetOptions {
    absolute_ms: bool,
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
            i += 1;
        } else if is("EX") || is("PX") || is("EXAT") {
            i += 1;
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
