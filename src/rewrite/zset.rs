//! Sorted sets.
//!
//! | client | happened | propagated |
//! |---|---|---|
//! | `ZADD`, `ZINCRBY` | a member added or its score changed | verbatim, `INCR` included |
//! | `ZREM` | at least one member removed | verbatim, the whole list |
//! | `ZPOPMIN`, `ZPOPMAX` | at least one member popped | verbatim |
//! | `BZPOPMIN`, `BZPOPMAX` | a member of `k` popped | `ZPOPMIN k`, `ZPOPMAX k` |
//! | `ZMPOP`, `BZMPOP` | `n` members of `k` popped | `ZPOPMIN k n`, `ZPOPMAX k n` |
//! | `ZREMRANGEBYRANK`, `ZREMRANGEBYSCORE` | at least one member removed | verbatim |
//! | `ZREMRANGEBYLEX` | members removed, all members had one score | verbatim |
//! | `ZREMRANGEBYLEX` | members removed, there were several scores | `ZREM k m…`, as many commands as 1024 members each need |
//! | `ZRANGESTORE`, `ZUNIONSTORE`, `ZINTERSTORE`, `ZDIFFSTORE` | the result is the same wherever it is computed | as [`store`](mod@super::store) |
//! | `ZRANGESTORE`, `ZUNIONSTORE`, `ZINTERSTORE` | another server may compute another result | a deletion of the destination if it existed, then `ZADD d s m…`, as many commands as 1024 members each need |
//!
//! # Arithmetic
//!
//! `ZINCRBY` and `ZADD … INCR` go out as the client sent them although they add in floating point: it is
//! *one* addition of two doubles, which IEEE 754 defines to the last bit, and both sides have the same
//! operands: the stored score, and the decimal text of the increment, of which both read the nearest double.
//! (A server built for the x87 unit, without SSE2, rounds twice and is no such replica.)
//!
//! # Exceptions
//!
//! Where Valkey's own form can diverge, the result is sent. In each case a replica that executes the command
//! itself has been allowed by Valkey's rules to come to another result:
//!
//! * **The order of a sum.** `ZUNIONSTORE` and `ZINTERSTORE` add the scores of a member from the smallest
//!   source to the largest, and the order of sources *of the same size* is whatever the C library's `qsort`
//!   makes of it. Addition of three or more doubles depends on the order: `0.1 + 0.2 + 0.3` is
//!   `0.6000000000000001` or `0.6`. `ZADD a 0.1 m`, `ZADD b 0.2 m`, `ZADD c 0.3 m`, `ZUNIONSTORE d 3 a b c`.
//!   The same with `AGGREGATE MIN` of `0` and `-0`. Whole numbers whose magnitudes sum to less than 2^53 are
//!   exact in any order, and go out verbatim.
//! * **Weights that round.** If the product of a score and its weight is not exact and is then added to, a
//!   compiler may do both in one rounding: GCC does for AArch64, and cannot for plain x86-64. `ZADD a 0.1 m`,
//!   `ZADD b 0.1 m`, `ZUNIONSTORE d 2 a b WEIGHTS 0.1 0.7` is `0.07999999999999999` or `0.08`. A weight that
//!   makes an infinity NaN is read as 0 at one place and not at another, which makes the order of the sources
//!   count as well.
//! * **Ranges of bytes over several scores.** `ZREMRANGEBYLEX` and `ZRANGESTORE … BYLEX` on members that do
//!   not have one score take a run that depends on the form of the set, and in a skiplist on the random
//!   heights of its nodes. `ZADD k 1 c 2 a 3 b`, `ZREMRANGEBYLEX k [a [b`.
//! * **Negative offsets.** `ZRANGESTORE d s 0 9 BYSCORE LIMIT -1 1` takes the last member from a skiplist and
//!   nothing from a listpack, in Valkey 9; Redis 7.0 takes nothing from either.

use bytes::{Bytes, BytesMut};

use super::store::{self, StoreOutcome};
use super::{Argv, DeletionVerb, Mismatch, Propagation, Rewritten, decimal, identify, list, word};
use crate::resp::write_double;

/// The most members in one `ZREM` or `ZADD` that a command becomes.
pub const MEMBERS_PER_COMMAND: usize = 1024;

/// Which end of a sorted set is popped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ZSetEnd {
    /// The lowest score.
    Min,
    /// The highest score.
    Max,
}

/// What a popping command did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ZPopOutcome<'a> {
    /// All keys were absent, or the count was zero.
    Nothing,
    /// Members were popped.
    Popped {
        /// The key that was used.
        key: &'a Bytes,
        /// The end they were popped from.
        end: ZSetEnd,
        /// How many there were.
        count: u64,
    },
}

/// The propagation of `ZPOPMIN|ZPOPMAX key [count]`, `BZPOPMIN|BZPOPMAX key [key …] timeout`,
/// `ZMPOP numkeys key [key …] MIN|MAX [COUNT count]` and
/// `BZMPOP timeout numkeys key [key …] MIN|MAX [COUNT count]`.
pub fn zpop(argv: &[Bytes], outcome: ZPopOutcome<'_>) -> Rewritten {
    const COMMANDS: &[(&str, usize)] =
        &[("zpopmin", 2), ("zpopmax", 2), ("bzpopmin", 3), ("bzpopmax", 3), ("zmpop", 4), ("bzmpop", 5)];
    let command = identify(argv, COMMANDS, "ZPOPMIN, ZPOPMAX, BZPOPMIN, BZPOPMAX, ZMPOP, BZMPOP")?;
    let ZPopOutcome::Popped { key, end, count } = outcome else { return Ok(Propagation::Nothing) };
    let mismatch = |reason| Err(Mismatch::outcome(command, reason));
    let Some((keys, named_end, most)) = read_pop(command, argv) else {
        return mismatch("its arguments answer an error");
    };
    if !keys.contains(key) {
        return mismatch("the key is not one of its keys");
    }
    let other_end = match end {
        ZSetEnd::Min => "zpopmax",
        ZSetEnd::Max => "zpopmin",
    };
    if command.ends_with(other_end) || named_end.is_some_and(|named| named != end) {
        return mismatch("it pops from the other end");
    }
    let verb = word(match end {
        ZSetEnd::Min => "ZPOPMIN",
        ZSetEnd::Max => "ZPOPMAX",
    });
    match command {
        _ if count == 0 => mismatch("no member was popped"),
        _ if count > most => mismatch("it pops at most as many as its count, one without"),
        "zpopmin" | "zpopmax" => Ok(Propagation::Verbatim),
        "bzpopmin" | "bzpopmax" => Ok(Propagation::Command(vec![verb, key.clone()])),
        _ => Ok(Propagation::Command(vec![verb, key.clone(), decimal(count)])),
    }
}

/// The keys of a popping command, the end that it names in an argument, and how many members it pops at most.
fn read_pop<'a>(command: &str, argv: &'a [Bytes]) -> Option<(&'a [Bytes], Option<ZSetEnd>, u64)> {
    const ENDS: [(&str, ZSetEnd); 2] = [("MIN", ZSetEnd::Min), ("MAX", ZSetEnd::Max)];
    let multi = |arguments| {
        let (keys, end, most) = list::read_multi_pop(arguments, ENDS)?;
        Some((keys, Some(end), most))
    };
    match command {
        "zmpop" => multi(&argv[1..]),
        "bzmpop" => multi(&argv[2..]),
        "bzpopmin" | "bzpopmax" => Some((&argv[1..argv.len() - 1], None, 1)),
        _ => match &argv[2..] {
            [] => Some((&argv[1..2], None, 1)),
            [count] => Some((&argv[1..2], None, std::str::from_utf8(count).ok()?.parse().ok()?)),
            _ => None,
        },
    }
}

/// What a `ZREMRANGEBYLEX` did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LexRemovalOutcome {
    /// No member was in the range.
    Unchanged,
    /// Members were removed from a sorted set in which all had one score.
    OneScore,
    /// These members were removed from one in which there were several scores.
    SeveralScores(Vec<Bytes>),
}

/// The propagation of `ZREMRANGEBYLEX key min max`.
pub fn zremrangebylex(argv: &[Bytes], outcome: LexRemovalOutcome) -> Rewritten {
    let command = identify(argv, &[("zremrangebylex", 4)], "ZREMRANGEBYLEX")?;
    match outcome {
        LexRemovalOutcome::Unchanged => Ok(Propagation::Nothing),
        LexRemovalOutcome::OneScore => Ok(Propagation::Verbatim),
        LexRemovalOutcome::SeveralScores(members) if members.is_empty() => {
            Err(Mismatch::outcome(command, "no member was removed"))
        }
        LexRemovalOutcome::SeveralScores(members) => {
            let zrem = |members: &[Bytes]| [&[word("ZREM"), argv[1].clone()], members].concat();
            Ok(Propagation::of(members.chunks(MEMBERS_PER_COMMAND).map(zrem).collect()))
        }
    }
}

/// What a command that stores a sorted set did to its destination.
#[derive(Clone, Debug, PartialEq)]
pub enum ZStoreOutcome {
    /// The result is the same wherever it is computed.
    Determined(StoreOutcome),
    /// The result is one that another server may compute otherwise.
    Computed {
        /// The members and scores that were stored; if there are none, the destination was deleted.
        members: Vec<(Bytes, f64)>,
        /// Whether there was a destination before.
        existed: bool,
    },
}

/// The propagation of `ZUNIONSTORE|ZINTERSTORE|ZDIFFSTORE destination numkeys key [key …] …` and
/// `ZRANGESTORE destination source min max …`.
pub fn zstore(argv: &[Bytes], outcome: ZStoreOutcome, verb: DeletionVerb) -> Rewritten {
    const COMMANDS: &[(&str, usize)] =
        &[("zunionstore", 4), ("zinterstore", 4), ("zdiffstore", 4), ("zrangestore", 5)];
    let command = identify(argv, COMMANDS, "ZUNIONSTORE, ZINTERSTORE, ZDIFFSTORE, ZRANGESTORE")?;
    let (members, existed) = match outcome {
        ZStoreOutcome::Determined(outcome) => return store::store(argv, outcome),
        ZStoreOutcome::Computed { .. } if command == "zdiffstore" => {
            return Err(Mismatch::outcome(command, "a difference is the same wherever it is computed"));
        }
        ZStoreOutcome::Computed { members, existed } => (members, existed),
    };
    let destination = &argv[1];
    let mut commands: Vec<Argv> = Vec::new();
    if existed {
        commands.push(verb.command(destination));
    }
    for members in members.chunks(MEMBERS_PER_COMMAND) {
        let mut zadd = Vec::with_capacity(2 + 2 * members.len());
        zadd.extend([word("ZADD"), destination.clone()]);
        for (member, score) in members {
            zadd.extend([score_text(*score), member.clone()]);
        }
        commands.push(zadd);
    }
    Ok(Propagation::of(commands))
}

/// A text that every server reads as this score, and as short as can be.
pub(crate) fn score_text(score: f64) -> Bytes {
    let mut text = BytesMut::new();
    write_double(score, &mut text);
    text.freeze()
}
