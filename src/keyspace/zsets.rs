//! Sorted sets: reading, changing and popping members. [`zstores`](super::zstores) combines several.

use bytes::Bytes;

use super::blocking::timeout_ms;
use super::command::{CommandSpec, Flag, MoreKeys, ONE, R, RF, TWO, W, WB, WF, WM, WMF, keyed};
use super::events::EventClass;
use super::hashes::{RANDOM_ELEMENTS_MAX, draw};
use super::multi_pop::MultiPop;
use super::number::{integer, parse_double};
use super::sets::{notify_if_gone, positive, store_collection};
use super::strings::copied_bulks;
use super::unit::{CommandResult, Unit};
use super::{CommandError, LexBound, LexRange, ScoreRange, ZSet};
use crate::hash_ttl::Item;
use crate::resp::Reply;
use crate::rewrite::Propagation;
use crate::rewrite::zset::{self, LexRemovalOutcome, ZPopOutcome, ZSetEnd, ZStoreOutcome};

/// The commands of this file.
pub(super) static COMMANDS: &[CommandSpec] = &[
    keyed("bzmpop", -5, WB, (0, 0, 0), bzmpop).with_more_keys(MoreKeys::Counted(2)),
    keyed("bzpopmax", -3, WFB, (1, -2, 1), bzpopmax),
    keyed("bzpopmin", -3, WFB, (1, -2, 1), bzpopmin),
    keyed("zadd", -4, WMF, ONE, zadd),
    keyed("zcard", 2, RF, ONE, zcard),
    keyed("zcount", 4, RF, ONE, zcount),
    keyed("zincrby", 4, WMF, ONE, zincrby),
    keyed("zlexcount", 4, RF, ONE, zlexcount),
    keyed("zmpop", -4, W, (0, 0, 0), zmpop).with_more_keys(MoreKeys::Counted(1)),
    keyed("zmscore", -3, RF, ONE, zmscore),
    keyed("zpopmax", -2, WF, ONE, zpopmax),
    keyed("zpopmin", -2, WF, ONE, zpopmin),
    keyed("zrandmember", -2, R, ONE, zrandmember),
    keyed("zrange", -4, R, ONE, zrange),
    keyed("zrangebylex", -4, R, ONE, zrangebylex),
    keyed("zrangebyscore", -4, R, ONE, zrangebyscore),
    keyed("zrangestore", -5, WM, TWO, zrangestore),
    keyed("zrank", -3, RF, ONE, zrank),
    keyed("zrem", -3, WF, ONE, zrem),
    keyed("zremrangebylex", 4, W, ONE, zremrangebylex),
    keyed("zremrangebyrank", 4, W, ONE, zremrangebyrank),
    keyed("zremrangebyscore", 4, W, ONE, zremrangebyscore),
    keyed("zrevrange", -4, R, ONE, zrevrange),
    keyed("zrevrangebylex", -4, R, ONE, zrevrangebylex),
    keyed("zrevrangebyscore", -4, R, ONE, zrevrangebyscore),
    keyed("zrevrank", -3, RF, ONE, zrevrank),
    keyed("zscore", 3, RF, ONE, zscore),
];

const WFB: &[Flag] = &[Flag::Write, Flag::Fast, Flag::Blocking];

/// The type's name, for those who wait for one.
const TYPE: &str = "zset";

fn score_or_null(score: Option<f64>) -> Reply {
    score.map_or(Reply::Null, Reply::Double)
}

fn score(arg: &[u8]) -> Result<f64, CommandError> {
    parse_double(arg).ok_or(CommandError::NotFloat)
}

/// Conditions and forms of `ZADD`.
#[derive(Clone, Copy, Default)]
struct Adding {
    only_new: bool,
    only_present: bool,
    only_greater: bool,
    only_less: bool,
    counts_changes: bool,
    increments: bool,
}

/// What `ZADD` does to one member.
enum Added {
    /// A condition is not met.
    NotMet,
    /// The score, which is the present one.
    Same(f64),
    /// The new score.
    Score(f64),
}

impl Adding {
    /// Reads the options and returns the arguments after them.
    fn parse(&mut self, args: &'_ [Bytes]) -> usize {
        let is_option = |arg: &&Bytes| {
            let option = match arg.to_ascii_uppercase().as_slice() {
                b"NX" => &mut self.only_new,
                b"XX" => &mut self.only_present,
                b"GT" => &mut self.only_greater,
                b"LT" => &mut self.only_less,
                b"CH" => &mut self.counts_changes,
                b"INCR" => &mut self.increments,
                _ => return false,
            };
            *option = true;
            true
        };
        args.iter().take_while(is_option).count()
    }

    /// Contradictions, in the order in which Valkey finds them.
    fn check(self, members: usize) -> Result<(), CommandError> {
        if self.only_new && self.only_present {
            return Err(CommandError::XxWithNx);
        }
        if [self.only_new, self.only_greater, self.only_less].into_iter().filter(|&it| it).count() > 1 {
            return Err(CommandError::GtLtOrNx);
        }
        if self.increments && members > 1 {
            return Err(CommandError::IncrOfSeveral);
        }
        Ok(())
    }

    fn decide(self, present: Option<f64>, score: f64) -> Result<Added, CommandError> {
        let Some(present) = present else {
            return Ok(if self.only_present { Added::NotMet } else { Added::Score(score) });
        };
        if self.only_new {
            return Ok(Added::NotMet);
        }
        let score = if self.increments { present + score } else { score };
        if score.is_nan() {
            return Err(CommandError::ScoreNan);
        }
        let too_low = self.only_greater && score <= present;
        let too_high = self.only_less && score >= present;
        Ok(match score {
            _ if too_low || too_high => Added::NotMet,
            score if score == present => Added::Same(score),
            score => Added::Score(score),
        })
    }
}

/// `ZADD key [NX|XX] [GT|LT] [CH] [INCR] score member [score member …]`.
pub(super) fn zadd<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    add(unit, argv, Adding::default())
}

pub(super) fn zincrby<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    add(unit, argv, Adding { increments: true, ..Adding::default() })
}

fn add<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes], mut adding: Adding) -> CommandResult {
    let key = &argv[1];
    let pairs = &argv[2 + adding.parse(&argv[2..])..];
    if pairs.is_empty() || pairs.len() % 2 == 1 {
        return Err(CommandError::Syntax);
    }
    adding.check(pairs.len() / 2)?;
    let pairs: Vec<(f64, &Bytes)> = pairs
        .chunks_exact(2)
        .map(|pair| Ok((score(&pair[0])?, &pair[1])))
        .collect::<Result<_, CommandError>>()?;

    let zset = unit.find_as::<ZSet>(key)?;
    // A sorted set in which nothing changes must not count as modified: look for the first change.
    let (mut first_change, mut incremented) = (None, None);
    for (at, &(score, member)) in pairs.iter().enumerate() {
        match adding.decide(zset.and_then(|zset| zset.score(member)), score)? {
            Added::NotMet => {}
            Added::Same(score) => incremented = Some(score),
            Added::Score(score) => {
                (first_change, incremented) = (Some(at), Some(score));
                break;
            }
        }
    }
    let (mut added, mut updated) = (0, 0);
    if let Some(first_change) = first_change {
        let longest_bytes = pairs.iter().map(|(_, member)| member.len()).max().unwrap_or(0);
        unit.edit(key, |zset: &mut ZSet| {
            zset.expect(pairs.len(), longest_bytes);
            for &(score, member) in &pairs[first_change..] {
                // Only an increment can fail, and that of the only member has not.
                if let Ok(Added::Score(score)) = adding.decide(zset.score(member), score) {
                    match zset.insert_copy(member, score) {
                        None => added += 1,
                        Some(_) => updated += 1,
                    }
                }
            }
        });
        unit.notify(EventClass::ZSet, if adding.increments { "zincr" } else { "zadd" }, key);
    }
    unit.propagate(argv, Propagation::verbatim_if(added + updated > 0));
    Ok(match adding {
        Adding { increments: true, .. } => score_or_null(incremented),
        Adding { counts_changes: true, .. } => Reply::Integer(added + updated),
        _ => Reply::Integer(added),
    })
}

pub(super) fn zrem<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    let (key, members) = (&argv[1], &argv[2..]);
    let present = |zset: &ZSet| members.iter().any(|member| zset.score(member).is_some());
    let mut removed = 0;
    if unit.find_as::<ZSet>(key)?.is_some_and(present) {
        removed = unit.edit(key, |zset: &mut ZSet| {
            members.iter().filter(|member| zset.remove(member).is_some()).count()
        });
        unit.notify(EventClass::ZSet, "zrem", key);
        notify_if_gone(unit, key);
    }
    unit.propagate(argv, Propagation::verbatim_if(removed > 0));
    Ok(Reply::Integer(removed as i64))
}

pub(super) fn zcard<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    Ok(Reply::Integer(unit.read_as::<ZSet>(&argv[1])?.map_or(0, |zset| zset.len() as i64)))
}

pub(super) fn zscore<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    Ok(score_or_null(unit.read_as::<ZSet>(&argv[1])?.and_then(|zset| zset.score(&argv[2]))))
}

pub(super) fn zmscore<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    let zset = unit.read_as::<ZSet>(&argv[1])?;
    let score = |member: &Bytes| score_or_null(zset.and_then(|zset| zset.score(member)));
    Ok(Reply::Array(argv[2..].iter().map(score).collect()))
}

pub(super) fn zrank<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    rank(unit, argv, "zrank", |rank, _| rank)
}

pub(super) fn zrevrank<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    rank(unit, argv, "zrevrank", |rank, len| len - 1 - rank)
}

/// `ZRANK|ZREVRANK key member [WITHSCORE]`; `count` makes the rank, and the length, the answer.
fn rank<'c>(
    unit: &mut Unit<'_, 'c>,
    argv: &'c [Bytes],
    name: &'static str,
    count: fn(usize, usize) -> usize,
) -> CommandResult {
    let with_score = match &argv[3..] {
        [] => false,
        [option] if option.eq_ignore_ascii_case(b"WITHSCORE") => true,
        [_] => return Err(CommandError::Syntax),
        _ => return Err(CommandError::Arity(name)),
    };
    let member = &argv[2];
    let found = unit.read_as::<ZSet>(&argv[1])?.and_then(|zset| {
        let rank = count(zset.rank(member)?, zset.len());
        Some((Reply::Integer(rank as i64), score_or_null(zset.score(member))))
    });
    Ok(match found {
        Some((rank, score)) if with_score => Reply::Array(vec![rank, score]),
        Some((rank, _)) => rank,
        None if with_score => Reply::NullArray,
        None => Reply::Null,
    })
}

/// A score that bounds a range, and whether it is left out: looser than [`score`], as C's `strtod` is.
fn score_bound(arg: &[u8]) -> Result<(f64, bool), CommandError> {
    let (text, excluded) = arg.strip_prefix(b"(").map_or((arg, false), |rest| (rest, true));
    let text = if text.is_empty() { &b"0"[..] } else { text };
    let score: Option<f64> = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
    let score = score.filter(|score| !score.is_nan()).ok_or(CommandError::BoundNotFloat)?;
    Ok((score, excluded))
}

fn score_range(min: &[u8], max: &[u8]) -> Result<ScoreRange, CommandError> {
    let ((min, min_excluded), (max, max_excluded)) = (score_bound(min)?, score_bound(max)?);
    Ok(ScoreRange { min, min_excluded, max, max_excluded })
}

fn lex_bound(arg: &Bytes) -> Result<LexBound, CommandError> {
    match arg.first() {
        Some(b'-') if arg.len() == 1 => Ok(LexBound::Lowest),
        Some(b'+') if arg.len() == 1 => Ok(LexBound::Highest),
        Some(b'[') => Ok(LexBound::Included(arg.slice(1..))),
        Some(b'(') => Ok(LexBound::Excluded(arg.slice(1..))),
        _ => Err(CommandError::BoundNotLex),
    }
}

fn lex_range(min: &Bytes, max: &Bytes) -> Result<LexRange, CommandError> {
    Ok(LexRange { min: lex_bound(min)?, max: lex_bound(max)? })
}

/// Ranks, where negative ones count from the end.
fn rank_range(start: i64, stop: i64, len: usize) -> std::ops::Range<usize> {
    let len = len as i64;
    let from_start = |rank: i64| if rank < 0 { rank.saturating_add(len) } else { rank };
    let (start, stop) = (from_start(start).max(0), from_start(stop).min(len - 1));
    if start > stop { 0..0 } else { start as usize..stop as usize + 1 }
}

pub(super) fn zcount<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    let range = score_range(&argv[2], &argv[3])?;
    let count = unit.read_as::<ZSet>(&argv[1])?.map_or(0, |zset| zset.ranks_of_scores(&range).len());
    Ok(Reply::Integer(count as i64))
}

pub(super) fn zlexcount<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    let range = lex_range(&argv[2], &argv[3])?;
    let count = unit.read_as::<ZSet>(&argv[1])?.map_or(0, |zset| zset.ranks_of_members(&range).len());
    Ok(Reply::Integer(count as i64))
}

/// What a range is given by.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    Rank,
    Score,
    Lex,
}

/// A range of ranks, scores or bytes.
enum Bounds {
    Ranks(i64, i64),
    Scores(ScoreRange),
    Lex(LexRange),
}

impl Bounds {
    fn ranks(&self, zset: &ZSet) -> std::ops::Range<usize> {
        match self {
            Bounds::Ranks(start, stop) => rank_range(*start, *stop, zset.len()),
            Bounds::Scores(range) => zset.ranks_of_scores(range),
            Bounds::Lex(range) => zset.ranks_of_members(range),
        }
    }
}

/// `min max [BYSCORE|BYLEX] [REV] [LIMIT offset count] [WITHSCORES]` after the source of a range.
struct RangeQuery {
    bounds: Bounds,
    reverse: bool,
    with_scores: bool,
    offset: i64,
    /// At most as many; negative for all.
    count: i64,
}

impl RangeQuery {
    /// Reads the arguments; `by` and `reverse` are given if the command's name says them.
    fn parse(
        args: &[Bytes],
        by: Option<By>,
        reverse: Option<bool>,
        stores: bool,
    ) -> Result<RangeQuery, CommandError> {
        let (mut given_by, mut given_reverse, mut with_scores) = (by, reverse, false);
        let (mut offset, mut count) = (0, -1);
        let mut options = args[2..].iter();
        while let Some(option) = options.next() {
            match option.to_ascii_uppercase().as_slice() {
                b"WITHSCORES" if !stores => with_scores = true,
                b"LIMIT" if options.len() >= 2 => {
                    let mut number = || integer(options.next().ok_or(CommandError::Syntax)?);
                    (offset, count) = (number()?, number()?);
                }
                b"REV" if given_reverse.is_none() => given_reverse = Some(true),
                b"BYLEX" if by.is_none() && given_by.is_none() => given_by = Some(By::Lex),
                b"BYSCORE" if by.is_none() && given_by.is_none() => given_by = Some(By::Score),
                _ => return Err(CommandError::Syntax),
            }
        }
        let (by, reverse) = (given_by.unwrap_or(By::Rank), given_reverse.unwrap_or(false));
        if count != -1 && by == By::Rank {
            return Err(CommandError::LimitOfRanks);
        }
        if with_scores && by == By::Lex {
            return Err(CommandError::ScoresOfLexRange);
        }
        let (min, max) = if reverse { (&args[1], &args[0]) } else { (&args[0], &args[1]) };
        let bounds = match by {
            By::Rank => Bounds::Ranks(integer(&args[0])?, integer(&args[1])?),
            By::Score => Bounds::Scores(score_range(min, max)?),
            By::Lex => Bounds::Lex(lex_range(min, max)?),
        };
        Ok(RangeQuery { bounds, reverse, with_scores, offset, count })
    }

    /// The members in the range and their scores, in the order that is asked for.
    fn run<'z>(&self, zset: &'z ZSet) -> Box<dyn Iterator<Item = (Item<'z>, f64)> + 'z> {
        let len = zset.len();
        let mut ranks = self.bounds.ranks(zset);
        if let Bounds::Ranks(..) = self.bounds {
            if self.reverse {
                let reversed = zset.range(len - ranks.end..len - ranks.start).rev();
                return Box::new(reversed);
            }
            return Box::new(zset.range(ranks));
        }
        let first = match usize::try_from(self.offset) {
            Ok(offset) => offset,
            Err(_) => match self.negative_offset(zset, ranks.len()) {
                Some(first) => first,
                None => return Box::new(std::iter::empty()),
            },
        };
        let count = usize::try_from(self.count).unwrap_or(usize::MAX);
        if self.reverse {
            ranks.end -= first.min(ranks.len());
            ranks.start = ranks.start.max(ranks.end.saturating_sub(count));
            return Box::new(zset.range(ranks).rev());
        }
        ranks.start += first.min(ranks.len());
        ranks.end = ranks.end.min(ranks.start.saturating_add(count));
        Box::new(zset.range(ranks))
    }

    /// What is skipped of a range of `len` members when the offset is negative: it counts from the range's
    /// lowest or highest member, whichever is last, if the set is large, and skips everything if it is
    /// compact.
    fn negative_offset(&self, zset: &ZSet, len: usize) -> Option<usize> {
        let from_last = usize::try_from(self.offset.unsigned_abs()).ok()?;
        if zset.is_compact() { None } else { len.checked_sub(from_last) }
    }
}

fn range<'c>(
    unit: &mut Unit<'_, 'c>,
    argv: &'c [Bytes],
    by: Option<By>,
    reverse: Option<bool>,
) -> CommandResult {
    let query = RangeQuery::parse(&argv[2..], by, reverse, false)?;
    let Some(zset) = unit.read_as::<ZSet>(&argv[1])? else { return Ok(Reply::Array(Vec::new())) };
    Ok(members_reply(query.run(zset), query.with_scores))
}

/// Members, or members with their scores.
pub(super) fn members_reply<'z>(members: impl Iterator<Item = (Item<'z>, f64)>, with_scores: bool) -> Reply {
    let (members, scores): (Vec<Item<'_>>, Vec<f64>) = members.unzip();
    let replies = copied_bulks(members.iter().map(|member| &**member));
    if with_scores {
        Reply::pairs(replies.into_iter().zip(scores.into_iter().map(Reply::Double)))
    } else {
        Reply::Array(replies)
    }
}

pub(super) fn zrange<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    range(unit, argv, None, None)
}

pub(super) fn zrevrange<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    range(unit, argv, Some(By::Rank), Some(true))
}

pub(super) fn zrangebyscore<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    range(unit, argv, Some(By::Score), Some(false))
}

pub(super) fn zrevrangebyscore<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    range(unit, argv, Some(By::Score), Some(true))
}

pub(super) fn zrangebylex<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    range(unit, argv, Some(By::Lex), Some(false))
}

pub(super) fn zrevrangebylex<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    range(unit, argv, Some(By::Lex), Some(true))
}

/// `ZRANGESTORE destination source min max [BYSCORE|BYLEX] [REV] [LIMIT offset count]`.
pub(super) fn zrangestore<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    let query = RangeQuery::parse(&argv[3..], None, None, true)?;
    let (mut result, mut determined) = (ZSet::new(), true);
    if let Some(zset) = unit.read_as::<ZSet>(&argv[2])? {
        if let Bounds::Ranks(..) = query.bounds {
            result.expect(query.bounds.ranks(zset).len(), 0);
        }
        for (member, score) in query.run(zset) {
            result.insert(member.to_bytes(), score);
        }
        determined = query.offset >= 0 && (!matches!(query.bounds, Bounds::Lex(_)) || zset.has_one_score());
    }
    store_zset(unit, argv, result, determined, "zrangestore")
}

/// Makes `result` the value of the destination. `determined` says whether every server computes the same.
pub(super) fn store_zset<'c>(
    unit: &mut Unit<'_, 'c>,
    argv: &'c [Bytes],
    result: ZSet,
    determined: bool,
    event: &'static str,
) -> CommandResult {
    let (destination, len, verb) = (&argv[1], result.len(), unit.verb());
    let outcome = if determined {
        ZStoreOutcome::Determined(store_collection(unit, destination, result, EventClass::ZSet, event))
    } else {
        let members = result.iter().map(|(member, score)| (member.to_bytes(), score)).collect();
        let existed = unit.find(destination).is_some();
        store_collection(unit, destination, result, EventClass::ZSet, event);
        ZStoreOutcome::Computed { members, existed }
    };
    unit.propagate(argv, zset::zstore(argv, outcome, verb));
    Ok(Reply::Integer(len as i64))
}

pub(super) fn zremrangebyrank<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    let bounds = Bounds::Ranks(integer(&argv[2])?, integer(&argv[3])?);
    remove_range(unit, argv, &bounds, "zremrangebyrank")
}

pub(super) fn zremrangebyscore<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    let bounds = Bounds::Scores(score_range(&argv[2], &argv[3])?);
    remove_range(unit, argv, &bounds, "zremrangebyscore")
}

pub(super) fn zremrangebylex<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    let bounds = Bounds::Lex(lex_range(&argv[2], &argv[3])?);
    remove_range(unit, argv, &bounds, "zremrangebylex")
}

fn remove_range<'c>(
    unit: &mut Unit<'_, 'c>,
    argv: &'c [Bytes],
    bounds: &Bounds,
    event: &'static str,
) -> CommandResult {
    let key = &argv[1];
    let found = unit.find_as::<ZSet>(key)?.map(|zset| (bounds.ranks(zset), zset.has_one_score()));
    let (ranks, one_score) = found.unwrap_or((0..0, true));
    if ranks.is_empty() {
        return Ok(Reply::Integer(0));
    }
    let removed = unit.edit(key, |zset: &mut ZSet| zset.remove_ranks(ranks));
    unit.notify(EventClass::ZSet, event, key);
    notify_if_gone(unit, key);
    let count = removed.len() as i64;
    if let Bounds::Lex(_) = bounds {
        let outcome = if one_score {
            LexRemovalOutcome::OneScore
        } else {
            LexRemovalOutcome::SeveralScores(removed.into_iter().map(|(member, _)| member).collect())
        };
        unit.propagate(argv, zset::zremrangebylex(argv, outcome));
    } else {
        unit.propagate(argv, Propagation::Verbatim);
    }
    Ok(Reply::Integer(count))
}

/// Pops `count` members, or all there are, of a sorted set that exists; the outermost first.
fn pop(unit: &mut Unit<'_, '_>, key: &Bytes, end: ZSetEnd, count: usize) -> Vec<(Bytes, f64)> {
    let popped = unit.edit(key, |zset: &mut ZSet| {
        let len = zset.len();
        let count = count.min(len);
        match end {
            ZSetEnd::Min => zset.remove_ranks(0..count),
            ZSetEnd::Max => zset.remove_ranks(len - count..len).into_iter().rev().collect(),
        }
    });
    let event = match end {
        ZSetEnd::Min => "zpopmin",
        ZSetEnd::Max => "zpopmax",
    };
    unit.notify(EventClass::ZSet, event, key);
    notify_if_gone(unit, key);
    popped
}

pub(super) fn zpopmin<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    zpop(unit, argv, ZSetEnd::Min)
}

pub(super) fn zpopmax<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    zpop(unit, argv, ZSetEnd::Max)
}

/// `ZPOPMIN|ZPOPMAX key [count]`: pairs if there is a count.
fn zpop<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes], end: ZSetEnd) -> CommandResult {
    let (key, count) = match argv {
        [_, key] => (key, None),
        [_, key, count] => (key, Some(positive(count)?)),
        _ => return Err(CommandError::Syntax),
    };
    if unit.find_as::<ZSet>(key)?.is_none() || count == Some(0) {
        return Ok(Reply::Array(Vec::new()));
    }
    let popped = pop(unit, key, end, usize::try_from(count.unwrap_or(1)).unwrap_or(usize::MAX));
    let outcome = ZPopOutcome::Popped { key, end, count: popped.len() as u64 };
    unit.propagate(argv, zset::zpop(argv, outcome));
    let replies = popped.into_iter().map(|(member, score)| (Reply::Bulk(member), Reply::Double(score)));
    Ok(if count.is_some() {
        Reply::pairs(replies)
    } else {
        Reply::Array(replies.flat_map(|(member, score)| [member, score]).collect())
    })
}

/// The first of `keys` under which there is a sorted set.
fn first_zset<'c>(unit: &mut Unit<'_, 'c>, keys: &'c [Bytes]) -> Result<Option<&'c Bytes>, CommandError> {
    for key in keys {
        if unit.find_as::<ZSet>(key)?.is_some() {
            return Ok(Some(key));
        }
    }
    Ok(None)
}

pub(super) fn bzpopmin<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    bzpop(unit, argv, ZSetEnd::Min)
}

pub(super) fn bzpopmax<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    bzpop(unit, argv, ZSetEnd::Max)
}

/// `BZPOPMIN|BZPOPMAX key [key …] timeout`.
fn bzpop<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes], end: ZSetEnd) -> CommandResult {
    let (timeout, keys) = (&argv[argv.len() - 1], &argv[1..argv.len() - 1]);
    let timeout_ms = timeout_ms(timeout, unit.now_ms)?;
    let Some(key) = first_zset(unit, keys)? else {
        return unit.block(keys, TYPE, timeout_ms, Reply::NullArray);
    };
    let popped = pop(unit, key, end, 1);
    unit.propagate(argv, zset::zpop(argv, ZPopOutcome::Popped { key, end, count: 1 }));
    let replies = popped.into_iter().flat_map(|(member, score)| [Reply::Bulk(member), Reply::Double(score)]);
    Ok(Reply::Array([Reply::Bulk(key.clone())].into_iter().chain(replies).collect()))
}

fn parse_end(arg: &[u8]) -> Result<ZSetEnd, CommandError> {
    match arg {
        _ if arg.eq_ignore_ascii_case(b"MIN") => Ok(ZSetEnd::Min),
        _ if arg.eq_ignore_ascii_case(b"MAX") => Ok(ZSetEnd::Max),
        _ => Err(CommandError::Syntax),
    }
}

impl<'c> MultiPop<'c, ZSetEnd> {
    /// Pops from the first sorted set there is; `None` if there is none.
    fn run(&self, unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> Result<Option<Reply>, CommandError> {
        let Some(key) = first_zset(unit, self.keys)? else { return Ok(None) };
        let popped = pop(unit, key, self.end, self.count);
        let outcome = ZPopOutcome::Popped { key, end: self.end, count: popped.len() as u64 };
        unit.propagate(argv, zset::zpop(argv, outcome));
        let pair = |(member, score)| Reply::Array(vec![Reply::Bulk(member), Reply::Double(score)]);
        let popped = Reply::Array(popped.into_iter().map(pair).collect());
        Ok(Some(Reply::Array(vec![Reply::Bulk(key.clone()), popped])))
    }
}

pub(super) fn zmpop<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    let pop = MultiPop::parse(&argv[1..], parse_end)?;
    Ok(pop.run(unit, argv)?.unwrap_or(Reply::NullArray))
}

/// `BZMPOP timeout numkeys key [key …] MIN|MAX [COUNT count]`.
pub(super) fn bzmpop<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    let pop = MultiPop::parse(&argv[2..], parse_end)?;
    let timeout_ms = timeout_ms(&argv[1], unit.now_ms)?;
    match pop.run(unit, argv)? {
        Some(reply) => Ok(reply),
        None => unit.block(pop.keys, TYPE, timeout_ms, Reply::NullArray),
    }
}

/// `ZRANDMEMBER key [count [WITHSCORES]]`.
pub(super) fn zrandmember<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    let Some(count) = argv.get(2) else {
        let zset = unit.read_as::<ZSet>(&argv[1])?;
        let drawn = zset.and_then(|zset| zset.get_index(rand::random_range(0..zset.len().max(1))));
        return Ok(drawn.map_or(Reply::Null, |(member, _)| Reply::Bulk(member.to_bytes())));
    };
    let count = integer(count)?;
    if count == i64::MIN {
        return Err(CommandError::CountOutOfRange);
    }
    let with_scores = match &argv[3..] {
        [] => false,
        [option] if option.eq_ignore_ascii_case(b"WITHSCORES") => true,
        _ => return Err(CommandError::Syntax),
    };
    let wanted = count.unsigned_abs();
    if with_scores && wanted > i64::MAX as u64 / 2 {
        return Err(CommandError::OutOfRange);
    }
    let Some(zset) = unit.read_as::<ZSet>(&argv[1])? else { return Ok(Reply::Array(Vec::new())) };
    if count < 0 && wanted > RANDOM_ELEMENTS_MAX {
        return Err(CommandError::OutOfRange);
    }
    let drawn = draw(zset.len(), count < 0, wanted);
    Ok(members_reply(drawn.into_iter().filter_map(|at| zset.get_index(at)), with_scores))
}
