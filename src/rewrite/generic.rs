//! Keys of any type: deadlines and deletions.
//!
//! | client | happened | propagated |
//! |---|---|---|
//! | `EXPIRE`, `PEXPIRE`, `EXPIREAT` | applied | `PEXPIREAT k ms`, with the client's condition (`NX`, `XX`, `GT`, `LT`) kept |
//! | `PEXPIREAT` | applied | verbatim |
//! | any of them | the time had passed: deleted | a deletion |
//! | `PERSIST` | a deadline was removed | verbatim |
//! | `DEL`, `UNLINK` | at least one deleted | verbatim, the whole list |
//! | `RENAME`, `MOVE`, `COPY`, `SWAPDB` | changed | verbatim |
//! | `FLUSHDB`, `FLUSHALL` | always, even when empty | verbatim |
//! | lazy or active expiry of a key | | a deletion |
//!
//! A kept condition does not read a clock: it compares the new deadline with the old one, and the
//! replica has the same old one.

use bytes::Bytes;

use super::{DeletionVerb, Propagation, Rewritten, decimal, identify, word};

/// What a command of the `EXPIRE` family did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExpireOutcome {
    /// No such key, or the condition was not met.
    Unchanged,
    /// A new deadline, in milliseconds since the Unix epoch.
    Deadline(u64),
    /// The time had passed already: the key was deleted.
    Deleted,
}

/// The propagation of `EXPIRE|PEXPIRE|EXPIREAT|PEXPIREAT key time [conditions]`.
pub fn expire(argv: &[Bytes], outcome: ExpireOutcome, verb: DeletionVerb) -> Rewritten {
    const COMMANDS: &[(&str, usize)] = &[("expire", 3), ("pexpire", 3), ("expireat", 3), ("pexpireat", 3)];
    let command = identify(argv, COMMANDS, "EXPIRE, PEXPIRE, EXPIREAT, PEXPIREAT")?;
    Ok(match outcome {
        ExpireOutcome::Unchanged => Propagation::Nothing,
        ExpireOutcome::Deleted => Propagation::Command(verb.command(&argv[1])),
        ExpireOutcome::Deadline(_) if command == "pexpireat" => Propagation::Verbatim,
        ExpireOutcome::Deadline(ms) => {
            let mut rewritten = vec![word("PEXPIREAT"), argv[1].clone(), decimal(ms)];
            rewritten.extend(argv[3..].iter().cloned());
            Propagation::Command(rewritten)
        }
    })
}
