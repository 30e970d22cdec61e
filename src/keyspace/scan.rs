//! Walking the keyspace: `SCAN`, `HSCAN`, `SSCAN`, `ZSCAN`, `KEYS`.
//!
//! # Cursors
//!
//! A cursor of `SCAN` is `index × shards + shard`: in that shard, the entries below `index` are still
//! to be visited, from the end towards the start. Index 0 means the shard has not been begun, so
//! cursor 0 is the first shard's beginning, and no other position has that number. The number of
//! shards does not change while a process lives.
//!
//! # Guarantee
//!
//! *A key that is present from the first call to the last is returned at least once.* Say the walk of its
//! shard begins with `n` entries: the key is at an index below `n`. Afterwards the walk is at `index`,
//! everything at or above has been visited, and the key, if it has not been returned, is below. A new
//! entry is appended at the end and moves nobody. A removal moves only the last entry, to a *lower*
//! index: if that is our key, it was below `index` and still is. So the key never gets from the
//! unvisited to the visited part except by being visited. (A walk from the start to the end would
//! lose keys: the last entry, unvisited, would move into the visited part.) A key that was returned may be
//! moved below `index` and returned again; Valkey's `SCAN` repeats keys too.
//!
//! `HSCAN`, `SSCAN` and `ZSCAN` do the same within a hash, a set and a sorted set; a compact one is returned
//! whole, as Valkey's listpacks are. One that grows from compact to table keeps no cursor, because a compact
//! one never gave one out.

use std::ops::Range;

use bytes::Bytes;

use super::command::printable;
use super::command::{CommandSpec, ONE, R, Scope, keyed, whole};
use super::number::integer;
use super::unit::{CommandResult, Unit};
use super::{Call, CommandError, ExpiryPolicy, Hash, Keyspace, Set, ZSet, glob};
use crate::hash_ttl::{Field, Item};
use crate::resp::Reply;
use crate::rewrite::zset::score_text;
use crate::rewrite::{Effects, Wrap};

/// The commands of this file.
pub(super) static COMMANDS: &[CommandSpec] = &[
    keyed("hscan", -3, R, ONE, hscan),
    whole("keys", 2, R, Scope::All, keys),
    whole("scan", -2, R, Scope::Sweep, scan),
    keyed("sscan", -3, R, ONE, sscan),
    keyed("zscan", -3, R, ONE, zscan),
];

/// How many elements a call visits when the client does not say.
const DEFAULT_COUNT: usize = 10;

/// The types that `SCAN … TYPE` knows, whether or not this keyspace stores them.
const TYPE_NAMES: &[&str] = &["string", "list", "set", "zset", "hash", "stream"];

/// A cursor argument: decimal digits, with blanks and a plus sign before them as in Valkey.
fn cursor(arg: &[u8]) -> Result<u64, CommandError> {
    let digits = arg.trim_ascii_start();
    // Rust's parser takes the plus sign, and no minus sign.
    let text = std::str::from_utf8(digits).ok();
    text.and_then(|text| text.parse().ok()).ok_or(CommandError::InvalidCursor)
}

/// What is walked: not every option makes sense for each.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Walked {
    Keys,
    Fields,
    Members,
    Scores,
}

#[derive(Default)]
struct ScanOptions<'a> {
    pattern: Option<&'a [u8]>,
    count: Option<usize>,
    type_name: Option<&'static str>,
    without_values: bool,
    without_scores: bool,
}

impl<'a> ScanOptions<'a> {
    fn parse(args: &'a [Bytes], walked: Walked) -> Result<ScanOptions<'a>, CommandError> {
        let mut options = ScanOptions::default();
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            match arg.to_ascii_uppercase().as_slice() {
                b"NOVALUES" if walked == Walked::Fields => options.without_values = true,
                b"NOVALUES" => return Err(CommandError::NoValues),
                b"NOSCORES" if walked == Walked::Scores => options.without_scores = true,
                b"NOSCORES" => return Err(CommandError::NoScores),
                b"COUNT" => {
                    let count = integer(args.next().ok_or(CommandError::Syntax)?)?;
                    let count = usize::try_from(count).ok().filter(|&count| count > 0);
                    options.count = Some(count.ok_or(CommandError::Syntax)?);
                }
                b"MATCH" => {
                    let pattern = args.next().ok_or(CommandError::Syntax)?;
                    // The pattern that matches everything, the empty key included.
                    options.pattern = Some(&**pattern).filter(|pattern| *pattern != b"*");
                }
                b"TYPE" if walked == Walked::Keys => {
                    let name = args.next().ok_or(CommandError::Syntax)?;
                    let known = TYPE_NAMES.iter().find(|known| name.eq_ignore_ascii_case(known.as_bytes()));
                    options.type_name =
                        Some(known.ok_or_else(|| CommandError::UnknownType(printable(name)))?);
                }
                _ => return Err(CommandError::Syntax),
            }
        }
        Ok(options)
    }

    /// The indices to visit, from the last, of a collection of `len` elements that the walk stands in at
    /// `cursor`.
    fn visited(&self, cursor: u64, len: usize) -> Range<usize> {
        let end = match usize::try_from(cursor).unwrap_or(usize::MAX) {
            0 => len,
            index => index.min(len),
        };
        end.saturating_sub(self.count.unwrap_or(DEFAULT_COUNT))..end
    }

    fn wants(&self, name: &[u8]) -> bool {
        self.pattern.is_none_or(|pattern| glob::matches(pattern, name))
    }
}

/// One call of `SCAN` while it goes from shard to shard.
struct Scan<'a> {
    options: ScanOptions<'a>,
    shard: usize,
    shards: usize,
    /// Entries below this index are to be visited; 0 for all.
    index: usize,
    budget: usize,
    found: Vec<Reply>,
}

impl<'a> Scan<'a> {
    fn parse(keyspace: &Keyspace, argv: &'a [Bytes]) -> Result<Scan<'a>, CommandError> {
        let cursor = cursor(&argv[1])?;
        let options = ScanOptions::parse(&argv[2..], Walked::Keys)?;
        let shards = keyspace.options().shards;
        Ok(Scan {
            budget: options.count.unwrap_or(DEFAULT_COUNT),
            options,
            // Less than the number of shards, so it fits.
            shard: (cursor % shards as u64) as usize,
            shards,
            index: usize::try_from(cursor / shards as u64).unwrap_or(usize::MAX),
            found: Vec::new(),
        })
    }

    fn is_done(&self) -> bool {
        self.shard == self.shards || self.budget == 0
    }

    /// Visits the present shard, which `unit` has locked, until the budget is used or it ends.
    fn visit(&mut self, unit: &mut Unit<'_, '_>) {
        let db = unit.db;
        let len = unit.shard(self.shard).table(db).map.len();
        let mut index = if self.index == 0 { len } else { self.index.min(len) };
        while index > 0 && self.budget > 0 {
            index -= 1;
            self.budget -= 1;
            self.visit_entry(unit, db, index);
        }
        self.index = index;
        if index == 0 {
            self.shard += 1;
        }
    }

    fn visit_entry(&mut self, unit: &mut Unit<'_, '_>, db: u16, index: usize) {
        let now_ms = unit.now_ms;
        let Some((key, entry)) = unit.shard(self.shard).table(db).map.get_index(index) else { return };
        if !self.options.wants(key)
            || self.options.type_name.is_some_and(|name| name != entry.value.type_name())
        {
            return;
        }
        let key = key.clone();
        // Reclaiming it moves at most the last entry here, which has been visited or is this one.
        if !entry.is_expired(now_ms) || unit.find(&key).is_some() {
            self.found.push(Reply::Bulk(key));
        }
    }

    fn reply(self) -> Reply {
        let cursor = if self.shard == self.shards {
            0
        } else {
            self.index as u64 * self.shards as u64 + self.shard as u64
        };
        page(cursor, self.found)
    }
}

fn page(cursor: u64, found: Vec<Reply>) -> Reply {
    let cursor = Bytes::copy_from_slice(itoa::Buffer::new().format(cursor).as_bytes());
    Reply::Array(vec![Reply::Bulk(cursor), Reply::Array(found)])
}

/// `SCAN` inside a unit with other commands: all shards are locked.
pub(super) fn scan<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    let mut scan = Scan::parse(unit.keyspace, argv)?;
    while !scan.is_done() {
        scan.visit(unit);
    }
    Ok(scan.reply())
}

/// `SCAN` on its own: one shard is locked at a time, and each is a unit.
pub(super) fn sweep(
    keyspace: &Keyspace,
    policy: ExpiryPolicy,
    call: &Call,
    now_ms: u64,
    publish: &mut dyn FnMut(&Effects<'_>),
) -> Reply {
    let mut scan = match Scan::parse(keyspace, &call.argv) {
        _ if call.db >= keyspace.options().databases => {
            return Reply::Error(CommandError::DbOutOfRange.to_string());
        }
        Ok(scan) => scan,
        Err(error) => return Reply::Error(error.to_string()),
    };
    while !scan.is_done() {
        let mut unit = Unit::lock(keyspace, policy, now_ms, [scan.shard].into_iter().collect());
        unit.db = call.db;
        unit.effects.wrap = Wrap::Never;
        scan.visit(&mut unit);
        unit.finish(publish, None);
    }
    scan.reply()
}

pub(super) fn hscan<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    let cursor = cursor(&argv[2])?;
    let moment = unit.moment();
    let Some(hash) = unit.read_as::<Hash>(&argv[1])? else { return Ok(page(0, Vec::new())) };
    let options = ScanOptions::parse(&argv[3..], Walked::Fields)?;
    let mut found = Vec::new();
    let mut emit = |field: Field<'_>| {
        if !moment.hides(field.deadline_ms) && options.wants(&field.name) {
            found.push(Reply::Bulk(field.name.to_bytes()));
            found.extend((!options.without_values).then(|| Reply::Bulk(field.value.to_bytes())));
        }
    };
    if hash.is_compact() {
        hash.iter().for_each(emit);
        return Ok(page(0, found));
    }
    let visited = options.visited(cursor, hash.len());
    let next = visited.start as u64;
    visited.rev().filter_map(|index| hash.get_index(index)).for_each(&mut emit);
    Ok(page(next, found))
}

pub(super) fn sscan<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    let cursor = cursor(&argv[2])?;
    let Some(set) = unit.read_as::<Set>(&argv[1])? else { return Ok(page(0, Vec::new())) };
    let options = ScanOptions::parse(&argv[3..], Walked::Members)?;
    let wanted = |member: &Bytes| options.wants(member);
    if set.is_compact() {
        return Ok(page(0, set.iter().filter(wanted).map(Reply::Bulk).collect()));
    }
    let visited = options.visited(cursor, set.len());
    let next = visited.start as u64;
    let members = visited.rev().filter_map(|index| set.get_index(index));
    Ok(page(next, members.filter(wanted).map(Reply::Bulk).collect()))
}

pub(super) fn zscan<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    let cursor = cursor(&argv[2])?;
    let Some(zset) = unit.read_as::<ZSet>(&argv[1])? else { return Ok(page(0, Vec::new())) };
    let options = ScanOptions::parse(&argv[3..], Walked::Scores)?;
    let (compact, mut found) = (zset.is_compact(), Vec::new());
    let mut emit = |(member, score): (Item<'_>, f64)| {
        if options.wants(&member) {
            found.push(Reply::Bulk(member.to_bytes()));
            // A string in RESP3 as well; its form is that of Valkey's encodings.
            let text = if compact { score_text(score) } else { text_of_17_digits(score) };
            found.extend((!options.without_scores).then_some(Reply::Bulk(text)));
        }
    };
    if compact {
        zset.iter().for_each(emit);
        return Ok(page(0, found));
    }
    let visited = options.visited(cursor, zset.len());
    let next = visited.start as u64;
    visited.rev().filter_map(|index| zset.get_index(index)).for_each(&mut emit);
    Ok(page(next, found))
}

/// A score as C's `%.17g` prints it.
fn text_of_17_digits(score: f64) -> Bytes {
    const DIGITS: i32 = 17;
    if !score.is_finite() {
        return score_text(score);
    }
    let scientific = format!("{score:.0$e}", DIGITS as usize - 1);
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let text = if (-4..DIGITS).contains(&exponent) {
        // As many places as make 17 digits in all; never negative.
        format!("{score:.0$}", (DIGITS - 1 - exponent) as usize)
    } else {
        digits.to_owned()
    };
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    if (-4..DIGITS).contains(&exponent) {
        return Bytes::copy_from_slice(text.as_bytes());
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    Bytes::from(format!("{text}e{sign}{:02}", exponent.abs()))
}

/// `KEYS`: hides expired keys and leaves them where they are.
pub(super) fn keys<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    let (db, now_ms, policy) = (unit.db, unit.now_ms, unit.policy);
    let everything = &argv[1][..] == b"*";
    let mut found = Vec::new();
    for shard in unit.shards() {
        for (key, entry) in &shard.table(db).map {
            let alive = policy == ExpiryPolicy::Ignore || !entry.is_expired(now_ms);
            if alive && (everything || glob::matches(&argv[1], key)) {
                found.push(Reply::Bulk(key.clone()));
            }
        }
    }
    Ok(Reply::Array(found))
}
