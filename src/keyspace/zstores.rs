//! Sorted sets: unions, intersections and differences, of sets as well.
//!
//! Scores of a member are combined from the smallest source to the largest, as in Valkey, those of the same
//! size in the order of the arguments; that is part of what a client sees, because a sum of doubles depends
//! on it. [`Scored`] notices when it did, or when it may have on another server: then the result is
//! propagated instead of the command.

use std::sync::Arc;

use bytes::Bytes;
use indexmap::IndexMap;
use indexmap::map::Entry;

use super::command::{CommandSpec, MoreKeys, ONE, R, WM, keyed};
use super::number::{integer, parse_double};
use super::sets::cardinality_limit;
use super::unit::{CommandResult, Unit};
use super::zsets::{members_reply, store_zset};
use super::{CommandError, Hasher, Set, Value, ZSet};
use crate::hash_ttl::Item;
use crate::resp::Reply;

/// The commands of this file.
pub(super) static COMMANDS: &[CommandSpec] = &[
    keyed("zdiff", -3, R, (0, 0, 0), zdiff).with_more_keys(MoreKeys::Counted(1)),
    keyed("zdiffstore", -4, WM, ONE, zdiffstore).with_more_keys(MoreKeys::Counted(2)),
    keyed("zinter", -3, R, (0, 0, 0), zinter).with_more_keys(MoreKeys::Counted(1)),
    keyed("zintercard", -3, R, (0, 0, 0), zintercard).with_more_keys(MoreKeys::Counted(1)),
    keyed("zinterstore", -4, WM, ONE, zinterstore).with_more_keys(MoreKeys::Counted(2)),
    keyed("zunion", -3, R, (0, 0, 0), zunion).with_more_keys(MoreKeys::Counted(1)),
    keyed("zunionstore", -4, WM, ONE, zunionstore).with_more_keys(MoreKeys::Counted(2)),
];

/// Sums of whole numbers are exact in any order while their magnitudes sum to less than this: 2^53.
const INEXACT_SUMS_FROM: f64 = 9_007_199_254_740_992.0;

/// The score of every member of a plain set.
const SCORE_IN_SET: f64 = 1.0;

/// A sorted set, or a set, that is combined with others.
#[derive(Clone)]
enum Members {
    None,
    Set(Arc<Set>),
    ZSet(Arc<ZSet>),
}

impl Members {
    fn len(&self) -> usize {
        match self {
            Members::None => 0,
            Members::Set(set) => set.len(),
            Members::ZSet(zset) => zset.len(),
        }
    }

    fn score(&self, member: &[u8]) -> Option<f64> {
        match self {
            Members::None => None,
            Members::Set(set) => set.contains(member).then_some(SCORE_IN_SET),
            Members::ZSet(zset) => zset.score(member),
        }
    }

    fn iter(&self) -> impl Iterator<Item = (Bytes, f64)> + '_ {
        let (set, zset) = match self {
            Members::None => (None, None),
            Members::Set(set) => (Some(set.iter()), None),
            Members::ZSet(zset) => (None, Some(zset.iter())),
        };
        let of_set = set.into_iter().flatten().map(|member| (member, SCORE_IN_SET));
        of_set.chain(zset.into_iter().flatten().map(|(member, score)| (member.to_bytes(), score)))
    }
}

struct Source {
    members: Members,
    weight: f64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Aggregate {
    #[default]
    Sum,
    Min,
    Max,
}

/// Which options a command has besides its keys.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Has {
    /// `WEIGHTS`, `AGGREGATE` and, unless it stores, `WITHSCORES`.
    Scores,
    /// `WITHSCORES`, unless it stores.
    Difference,
}

/// The arguments of a command that combines sorted sets.
struct Combination {
    sources: Vec<Source>,
    aggregate: Aggregate,
    with_scores: bool,
}

/// The sources of a command whose number of keys stands at `argv[at]`, and the arguments after them.
fn sources<'c>(
    unit: &mut Unit<'_, 'c>,
    argv: &'c [Bytes],
    at: usize,
    name: &'static str,
) -> Result<(Vec<Source>, &'c [Bytes]), CommandError> {
    let count = integer(&argv[at])?;
    let count = usize::try_from(count).ok().filter(|&count| count > 0);
    let count = count.ok_or(CommandError::NoInputKeys(name))?;
    let (keys, options) = argv[at + 1..].split_at_checked(count).ok_or(CommandError::Syntax)?;
    let source = |key: &Bytes| {
        let members = match unit.read(key).map(|entry| &entry.value) {
            None => Members::None,
            Some(Value::Set(set)) => Members::Set(Arc::clone(set)),
            Some(Value::ZSet(zset)) => Members::ZSet(Arc::clone(zset)),
            Some(_) => return Err(CommandError::WrongType),
        };
        Ok(Source { members, weight: 1.0 })
    };
    Ok((keys.iter().map(source).collect::<Result<_, _>>()?, options))
}

impl Combination {
    fn parse<'c>(
        unit: &mut Unit<'_, 'c>,
        argv: &'c [Bytes],
        name: &'static str,
        has: Has,
        stores: bool,
    ) -> Result<Combination, CommandError> {
        let at = if stores { 2 } else { 1 };
        let (mut sources, mut rest) = sources(unit, argv, at, name)?;
        let (mut aggregate, mut with_scores) = (Aggregate::Sum, false);
        while let Some((option, args)) = rest.split_first() {
            let is = |name: &str| option.eq_ignore_ascii_case(name.as_bytes());
            if has == Has::Scores && is("WEIGHTS") && args.len() >= sources.len() {
                let (weights, after) = args.split_at(sources.len());
                for (source, weight) in sources.iter_mut().zip(weights) {
                    source.weight = parse_double(weight).ok_or(CommandError::WeightNotFloat)?;
                }
                rest = after;
            } else if let (Has::Scores, true, [name, after @ ..]) = (has, is("AGGREGATE"), args) {
                aggregate = match name.to_ascii_uppercase().as_slice() {
                    b"SUM" => Aggregate::Sum,
                    b"MIN" => Aggregate::Min,
                    b"MAX" => Aggregate::Max,
                    _ => return Err(CommandError::Syntax),
                };
                rest = after;
            } else if !stores && is("WITHSCORES") {
                with_scores = true;
                rest = args;
            } else {
                return Err(CommandError::Syntax);
            }
        }
        if has == Has::Scores {
            sources.sort_by_key(|source| source.members.len());
        }
        Ok(Combination { sources, aggregate, with_scores })
    }

    fn union(&self) -> Combined {
        let mut scores: IndexMap<Bytes, Scored, Hasher> = IndexMap::default();
        for source in &self.sources {
            for (member, score) in source.members.iter() {
                let term = Term::new(source.weight, score);
                match scores.entry(member) {
                    Entry::Vacant(vacant) => {
                        vacant.insert(Scored::first(term));
                    }
                    // Not a number counts as 0 wherever it stands.
                    Entry::Occupied(mut present) => present.get_mut().add(term.or_zero(), self.aggregate),
                }
            }
        }
        self.combined(scores.into_iter())
    }

    fn intersection(&self) -> Combined {
        let Some((first, others)) = self.sources.split_first() else { return Combined::default() };
        let scored = |(member, score): (Bytes, f64)| {
            let mut scored = Scored::first(Term::new(first.weight, score));
            for other in others {
                scored.add(Term::new(other.weight, other.members.score(&member)?), self.aggregate);
            }
            Some((member, scored))
        };
        self.combined(first.members.iter().filter_map(scored))
    }

    fn combined(&self, members: impl Iterator<Item = (Bytes, Scored)>) -> Combined {
        // Sources of different sizes are combined in one order everywhere.
        let sizes = self.sources.iter().map(|source| source.members.len()).filter(|&len| len > 0);
        let sizes: Vec<usize> = sizes.collect();
        let has_ties = sizes.windows(2).any(|pair| pair[0] == pair[1]);
        let mut combined = Combined::default();
        for (member, scored) in members {
            let may_differ = scored.rounds || (has_ties && scored.depends_on_order(self.aggregate));
            combined.determined &= !may_differ;
            combined.members.push((member, scored.score));
        }
        combined
    }

    fn difference(&self) -> Combined {
        let Some((first, others)) = self.sources.split_first() else { return Combined::default() };
        let kept =
            |(member, _): &(Bytes, f64)| others.iter().all(|source| source.members.score(member).is_none());
        Combined { members: first.members.iter().filter(kept).collect(), determined: true }
    }
}

/// A result: members with their scores, in no order.
struct Combined {
    members: Vec<(Bytes, f64)>,
    /// Whether every server computes the same.
    determined: bool,
}

impl Default for Combined {
    fn default() -> Self {
        Combined { members: Vec::new(), determined: true }
    }
}

impl Combined {
    fn reply(mut self, with_scores: bool) -> Reply {
        // No score is NaN.
        self.members.sort_unstable_by(|(a_member, a), (b_member, b)| {
            a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal).then_with(|| a_member.cmp(b_member))
        });
        members_reply(self.members.iter().map(|(member, score)| (Item::own(member), *score)), with_scores)
    }

    fn store<'c>(self, unit: &mut Unit<'_, 'c>, argv: &'c [Bytes], event: &'static str) -> CommandResult {
        let mut result = ZSet::new();
        let longest_bytes = self.members.iter().map(|(member, _)| member.len()).max().unwrap_or(0);
        result.expect(self.members.len(), longest_bytes);
        for (member, score) in self.members {
            result.insert(member, score);
        }
        store_zset(unit, argv, result, self.determined, event)
    }
}

/// A score times its weight.
#[derive(Clone, Copy)]
struct Term {
    value: f64,
    /// Whether the product is not exact, or is not a number.
    rounded: bool,
}

impl Term {
    fn new(weight: f64, score: f64) -> Term {
        let value = weight * score;
        // What is left when the product, unrounded, is taken from its rounded self. For an exact infinity
        // there is no such difference to take.
        let exact = if weight.is_finite() && score.is_finite() {
            weight.mul_add(score, -value) == 0.0
        } else {
            !value.is_nan()
        };
        Term { value, rounded: !exact }
    }

    /// The value, or 0 if it is not a number.
    fn or_zero(self) -> Term {
        Term { value: if self.value.is_nan() { 0.0 } else { self.value }, ..self }
    }
}

/// The combined score of a member, and what is needed to tell whether another server may combine it
/// otherwise.
#[derive(Clone, Copy)]
struct Scored {
    score: f64,
    terms: usize,
    /// The sum of magnitudes, or infinity if a term is not a whole number.
    magnitude: f64,
    has_rounded_term: bool,
    /// Whether a rounded product was combined with another: one rounding or two make a difference.
    rounds: bool,
    has_zero: bool,
    has_negative_zero: bool,
}

impl Scored {
    fn first(term: Term) -> Scored {
        let Term { value, rounded } = term.or_zero();
        let scored = Scored {
            score: value,
            terms: 0,
            magnitude: 0.0,
            has_rounded_term: false,
            rounds: false,
            has_zero: false,
            has_negative_zero: false,
        };
        scored.with(Term { value, rounded })
    }

    fn with(mut self, term: Term) -> Scored {
        self.terms += 1;
        self.magnitude += if term.value.trunc() == term.value { term.value.abs() } else { f64::INFINITY };
        self.has_rounded_term |= term.rounded;
        self.has_zero |= term.value == 0.0 && term.value.is_sign_positive();
        self.has_negative_zero |= term.value == 0.0 && term.value.is_sign_negative();
        self
    }

    fn add(&mut self, term: Term, aggregate: Aggregate) {
        *self = self.with(term);
        let value = term.value;
        match aggregate {
            Aggregate::Sum => {
                self.score += value;
                // Infinities of both signs.
                if self.score.is_nan() {
                    self.score = 0.0;
                }
                self.rounds |= self.has_rounded_term;
            }
            Aggregate::Min if value < self.score => self.score = value,
            Aggregate::Max if value > self.score => self.score = value,
            Aggregate::Min | Aggregate::Max => {}
        }
        // Not a number is not combined as 0 is, so it matters where it stands.
        self.rounds |= value.is_nan();
    }

    /// Whether another order of the terms could give another score.
    fn depends_on_order(&self, aggregate: Aggregate) -> bool {
        match aggregate {
            // Two terms commute. With infinite magnitude terms may be fractions, infinite, or not numbers.
            Aggregate::Sum => self.terms > 2 && self.magnitude >= INEXACT_SUMS_FROM,
            Aggregate::Min | Aggregate::Max => self.has_zero && self.has_negative_zero,
        }
    }
}

pub(super) fn zunion<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    let combination = Combination::parse(unit, argv, "zunion", Has::Scores, false)?;
    Ok(combination.union().reply(combination.with_scores))
}

pub(super) fn zinter<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    let combination = Combination::parse(unit, argv, "zinter", Has::Scores, false)?;
    Ok(combination.intersection().reply(combination.with_scores))
}

pub(super) fn zdiff<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    let combination = Combination::parse(unit, argv, "zdiff", Has::Difference, false)?;
    Ok(combination.difference().reply(combination.with_scores))
}

/// `ZINTERCARD numkeys key [key …] [LIMIT limit]`.
pub(super) fn zintercard<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    let (mut sources, options) = sources(unit, argv, 1, "zintercard")?;
    let limit = cardinality_limit(options)?;
    sources.sort_by_key(|source| source.members.len());
    let (first, others) = sources.split_at(1);
    let members = first.iter().flat_map(|source| source.members.iter());
    let common =
        members.filter(|(member, _)| others.iter().all(|source| source.members.score(member).is_some()));
    Ok(Reply::Integer(common.take(limit).count() as i64))
}

pub(super) fn zunionstore<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    let combination = Combination::parse(unit, argv, "zunionstore", Has::Scores, true)?;
    combination.union().store(unit, argv, "zunionstore")
}

pub(super) fn zinterstore<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    let combination = Combination::parse(unit, argv, "zinterstore", Has::Scores, true)?;
    combination.intersection().store(unit, argv, "zinterstore")
}

pub(super) fn zdiffstore<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    let combination = Combination::parse(unit, argv, "zdiffstore", Has::Difference, true)?;
    combination.difference().store(unit, argv, "zdiffstore")
}
