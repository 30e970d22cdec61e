//! `SORT … STORE`.
//!
//! | client | happened | propagated |
//! |---|---|---|
//! | `SORT k … STORE to`, what is below left out | the result is not empty | verbatim |
//! | the same, by weights (`BY` with a `*`) under `ALPHA`, by a number that is next to nothing, or with a pattern that reads a hash's field (`->`) | the result is not empty | a deletion of `to` if it existed, then `RPUSH to …` the result, at most 1024 elements each |
//! | any of them | the result is empty, and `to` was deleted | verbatim / a deletion |
//! | any of them | the result is empty, and there was no `to` | nothing |
//! | `SORT` without `STORE`, `SORT_RO` | | nothing |
//!
//! # Why verbatim is safe
//!
//! The replica has the same source and the same keys that the patterns read, because the primary deletes each
//! expired one, with a command in the stream, before it looks at it. The order is total: numbers that are
//! equal are told apart by the elements' bytes, `ALPHA` compares bytes where the result is stored, never by a
//! locale, and a set that is not to be sorted is sorted all the same where the result is stored.
//!
//! # Exceptions
//!
//! Where Valkey 9.1.2's form can diverge; the first two measured with a Valkey replica, the third with Redis
//! 7.0.
//!
//! | sequence | Valkey sends | what diverges | sent here |
//! |---|---|---|---|
//! | `SADD s` 600 members; `SORT s BY w_* ALPHA STORE d`, where weights are equal or absent | verbatim | elements of equal weight stay in the order of the set, which is another on every server: `d` is another list. With `LIMIT` it even has other elements | `RPUSH d …` |
//! | `HSETEX h_1 PX 9 FIELDS 1 f v`; after 9 ms `RPUSH l 1`, `SORT l BY nosort GET h_*->f STORE d` | verbatim | the field is dead but still stored: absent for the primary, `""` in its `d`; the replica judges no field and stores `v` | `RPUSH d ""` |
//! | `RPUSH l 5 1e-310`, `SORT l STORE d` | verbatim | a server that reads numbers with C's `strtod` (Redis, Valkey 8) takes one below 2^-1022 for an error, and keeps its old `d` | `RPUSH d 1e-310 5` ([`SortOutcome::Computed`]) |
//!
//! Lists are not left out of the first: a replica whose sort is not stable (Valkey's is not) may order equal
//! weights otherwise.

use bytes::Bytes;

use super::{Argv, DeletionVerb, Mismatch, Propagation, Rewritten, identify, word};

/// The most elements that one `RPUSH` of a result has.
pub const RESULT_BATCH_ELEMENTS: usize = 1024;

/// What a `SORT` did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SortOutcome<'o> {
    /// It answered the result.
    Answered,
    /// It stored the result.
    Stored {
        /// The destination's elements, in order. Empty: the destination does not exist any more.
        result: &'o [Bytes],
        /// Whether there was a destination before.
        existed: bool,
    },
    /// It stored the result of numbers that not every server takes: one of them, not zero, is no normal
    /// double.
    Computed {
        /// The destination's elements, in order.
        result: &'o [Bytes],
        /// Whether there was a destination before.
        existed: bool,
    },
}

/// The propagation of
/// `SORT key [BY pattern] [LIMIT offset count] [GET pattern …] [ASC|DESC] [ALPHA] [STORE destination]`.
pub fn sort(argv: &[Bytes], outcome: SortOutcome<'_>, verb: DeletionVerb) -> Rewritten {
    let command = identify(argv, &[("sort", 2)], "SORT")?;
    let options = scan_options(argv);
    let computed = matches!(outcome, SortOutcome::Computed { .. });
    let (result, existed, to) = match (outcome, options.destination) {
        (SortOutcome::Answered, None) => return Ok(Propagation::Nothing),
        (SortOutcome::Answered, Some(_)) => return Err(Mismatch::outcome(command, "it stores")),
        (_, None) => return Err(Mismatch::outcome(command, "it stores nothing")),
        (SortOutcome::Computed { .. }, _) if options.alpha => {
            return Err(Mismatch::outcome(command, "it reads no numbers"));
        }
        (SortOutcome::Stored { result, existed } | SortOutcome::Computed { result, existed }, Some(to)) => {
            (result, existed, to)
        }
    };
    if !computed && !options.ambiguous() {
        return Ok(Propagation::verbatim_if(existed || !result.is_empty()));
    }
    let mut commands: Vec<Argv> = Vec::with_capacity(1 + result.len().div_ceil(RESULT_BATCH_ELEMENTS));
    if existed {
        commands.push(verb.command(to));
    }
    for batch in result.chunks(RESULT_BATCH_ELEMENTS) {
        commands.push([&[word("RPUSH"), to.clone()], batch].concat());
    }
    Ok(Propagation::of(commands))
}

#[derive(Default)]
struct SortOptions<'a> {
    destination: Option<&'a Bytes>,
    alpha: bool,
    weights: bool,
    fields: bool,
}

impl SortOptions<'_> {
    /// Whether another server may compute another result.
    fn ambiguous(&self) -> bool {
        self.fields || (self.alpha && self.weights)
    }
}

/// Reads the options; the last of a kind counts, but for `BY`, of which one without a `*` turns sorting off
/// for good.
fn scan_options(argv: &[Bytes]) -> SortOptions<'_> {
    let mut found = SortOptions::default();
    let mut at = 2;
    while let Some(option) = argv.get(at) {
        let is = |name: &str| option.eq_ignore_ascii_case(name.as_bytes());
        let argument = argv.get(at + 1);
        let reads_field = argument.is_some_and(|pattern| pattern.windows(2).any(|pair| pair == b"->"));
        if is("ALPHA") {
            found.alpha = true;
        } else if is("LIMIT") {
            at += 2;
        } else if is("STORE") {
            found.destination = argument;
            at += 1;
        } else if is("GET") {
            found.fields |= reads_field;
            at += 1;
        } else if is("BY") {
            found.weights |= argument.is_some_and(|pattern| pattern.contains(&b'*'));
            found.fields |= reads_field;
            at += 1;
        }
        at += 1;
    }
    found
}
