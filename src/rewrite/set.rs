//! Sets.
//!
//! | client | happened | propagated |
//! |---|---|---|
//! | `SADD`, `SREM` | at least one member added, removed | verbatim, the whole list |
//! | `SMOVE` | moved | verbatim |
//! | `SPOP k` | `m` was popped | `SREM k m` |
//! | `SPOP k n` | some of the members were popped | `SREM k m…`, as many commands as 1024 members each need |
//! | `SPOP k n` | all members were popped | a deletion |
//! | `SINTERSTORE`, `SUNIONSTORE`, `SDIFFSTORE` | | see [`store`](super::store) |
//!
//! Which members `SPOP` took was decided by chance, so they are named; everything else has the same
//! result on every replica. A set that becomes empty is deleted by the same command on both sides.

use bytes::Bytes;

use super::{DeletionVerb, Mismatch, Propagation, Rewritten, identify, word};

/// The most members in one `SREM` that `SPOP` becomes.
pub const MEMBERS_PER_SREM: usize = 1024;

/// What an `SPOP` did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SpopOutcome {
    /// No key, or a count of zero.
    Nothing,
    /// These members, in the order they were answered in; without a count it may have been the last.
    Popped(Vec<Bytes>),
    /// As many as there were, so that the key is gone.
    Whole,
}

/// The propagation of `SPOP key [count]`.
pub fn spop(argv: &[Bytes], outcome: SpopOutcome, verb: DeletionVerb) -> Rewritten {
    let command = identify(argv, &[("spop", 2)], "SPOP")?;
    let has_count = argv.len() > 2;
    let most = argv.get(2).map_or(Some(1), |count| std::str::from_utf8(count).ok()?.parse::<u64>().ok());
    let Some(most) = most else { return Err(Mismatch::outcome(command, "its count answers an error")) };
    let srem = |members: &[Bytes]| {
        let mut srem = Vec::with_capacity(2 + members.len());
        srem.extend([word("SREM"), argv[1].clone()]);
        srem.extend_from_slice(members);
        srem
    };
    match outcome {
        SpopOutcome::Nothing => Ok(Propagation::Nothing),
        SpopOutcome::Whole if !has_count => {
            Err(Mismatch::outcome(command, "without a count it pops one member"))
        }
        SpopOutcome::Whole if most == 0 => Err(Mismatch::outcome(command, "a count of 0 pops nothing")),
        SpopOutcome::Whole => Ok(Propagation::Command(verb.command(&argv[1]))),
        SpopOutcome::Popped(members) if members.is_empty() => {
            Err(Mismatch::outcome(command, "no member was popped"))
        }
        SpopOutcome::Popped(members) if members.len() as u64 > most => {
            Err(Mismatch::outcome(command, "it pops at most as many as its count, one without"))
        }
        SpopOutcome::Popped(members) => {
            Ok(Propagation::of(members.chunks(MEMBERS_PER_SREM).map(srem).collect()))
        }
    }
}
