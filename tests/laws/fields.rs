//! The laws on hashes whose fields expire: a small server that follows Valkey's rules executes, and hands what happened
//! to the shipped rewriting.
//!
//! On a primary a *dead* field (its deadline has passed) is absent for every command and stays stored until something
//! reclaims it; that a deadline has passed already when it is set is for the primary alone to judge. A replica that
//! applies the stream judges nothing: for it what is stored is there.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use proptest::prelude::*;
use proptest::sample::Index;
use replcore::rewrite::hash::{
    self, DeadlineBefore, FieldEffect, HSetExOutcome, HSetNxOutcome, Leftovers, Touched,
};
use replcore::rewrite::{Argv, DeletionVerb, Effects, Propagation, Rewritten};

use super::commands::any_of;
use super::museum::Exhibit;
use super::stream::{Apply, Primary, Stream};
use super::{Law, Sent, argv};

/// Commands on the hashes. A key and a field are called like a condition.
pub const FORMS: &[&str] = &[
    "HSET {hk} {f} {v}",
    "HSET {hk} {f} {v} {f} {v}",
    "HMSET {hk} {f} {v}",
    "HSETNX {hk} {f} {v}",
    "HINCRBY {hk} {f} {n}",
    "HINCRBYFLOAT {hk} {f} {float}",
    "HDEL {hk} {f} {f} {f}",
    "HGETDEL {hk} FIELDS 2 {f} {f}",
    "HEXPIRE {hk} {ex} FIELDS 3 {f} {f} {f}",
    "HPEXPIRE {hk} {px} {condition} FIELDS 2 {f} {f}",
    "HEXPIREAT {hk} {exat} FIELDS 2 {f} {f}",
    "HPEXPIREAT {hk} {pxat} FIELDS 2 {f} {f}",
    "HPEXPIREAT {hk} {pxat} {condition} FIELDS 2 {f} {f}",
    "HPERSIST {hk} FIELDS 3 {f} {f} {f}",
    "HGETEX {hk} {time} FIELDS 2 {f} {f}",
    "HGETEX {hk} PERSIST FIELDS 2 {f} {f}",
    "HGETEX {hk} FIELDS 1 {f}",
    "HSETEX {hk} FIELDS 1 {f} {v}",
    "HSETEX {hk} {time} FIELDS 2 {f} {v} {f} {v}",
    "HSETEX {hk} FNX {time} FIELDS 1 {f} {v}",
    "HSETEX {hk} FXX FIELDS 2 {f} {v} {f} {v}",
    "HSETEX {hk} XX KEEPTTL FIELDS 2 {f} {v} {f} {v}",
    "HSETEX {hk} KEEPTTL FIELDS 3 {f} {v} {f} {v} {f} {v}",
    "HSETEX {hk} NX PXAT {pxat} FIELDS 1 {f} {v}",
    "DEL {hk}",
];

/// Any of them.
pub fn any() -> BoxedStrategy<Argv> {
    any_of(FORMS)
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    value: Bytes,
    deadline_ms: Option<u64>,
}

type Hash = BTreeMap<Bytes, Field>;
type Hashes = BTreeMap<(u16, Bytes), Hash>;

/// Who executes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Primary,
    Replica,
    /// A replica that judges by its own clock whether there is a deadline to keep, as those of Valkey 9.0.0 and 9.0.1.
    JudgingReplica,
}

/// A command while it runs.
struct Run<'a> {
    hash: &'a mut Hash,
    argv: &'a [Bytes],
    now_ms: u64,
    role: Role,
    leftovers: Leftovers,
    exhibit: Option<Exhibit>,
}

/// A command was refused; nothing happened.
type Refused = String;

/// The fields that a command names, each once, by their positions.
struct Named {
    live: Vec<usize>,
    dead: Vec<usize>,
    absent: Vec<usize>,
}

impl Named {
    /// Those that are stored, in the order they were named.
    fn stored(&self) -> Vec<usize> {
        let mut stored = [&self.live[..], &self.dead].concat();
        stored.sort_unstable();
        stored
    }
}

impl Run<'_> {
    fn is_dead(&self, field: &Field) -> bool {
        self.role == Role::Primary && field.deadline_ms.is_some_and(|ms| ms < self.now_ms)
    }

    fn is_past(&self, deadline_ms: u64) -> bool {
        self.role == Role::Primary && deadline_ms <= self.now_ms
    }

    fn live(&self, name: &Bytes) -> Option<&Field> {
        self.hash.get(name).filter(|field| !self.is_dead(field))
    }

    fn is_volatile(&self) -> bool {
        self.hash.values().any(|field| field.deadline_ms.is_some())
    }

    fn named(&self, first: usize, step: usize) -> Named {
        let mut named = Named { live: Vec::new(), dead: Vec::new(), absent: Vec::new() };
        let mut met = BTreeSet::new();
        for at in (first..self.argv.len()).step_by(step) {
            if met.insert(&self.argv[at]) {
                match self.hash.get(&self.argv[at]) {
                    None => named.absent.push(at),
                    Some(field) if self.is_dead(field) => named.dead.push(at),
                    Some(_) => named.live.push(at),
                }
            }
        }
        named
    }

    fn store(&mut self, name: &Bytes, value: &Bytes, deadline_ms: Option<u64>) {
        self.hash.insert(name.clone(), Field { value: value.clone(), deadline_ms });
    }

    fn remove(&mut self, positions: &[usize]) {
        positions.iter().for_each(|&at| drop(self.hash.remove(&self.argv[at])));
    }

    /// Says what was touched, after reclaiming the dead if this server does that.
    fn touched<'o>(&mut self, changed: &'o [usize], dead: &'o [usize]) -> Touched<'o> {
        if self.leftovers == Leftovers::Reclaimed {
            self.remove(dead);
        }
        Touched { changed, dead, leftovers: self.leftovers }
    }

    /// The position of the first name after `FIELDS n`, and the options before.
    fn fields_after(&self, from: usize, per_field: usize) -> Result<usize, Refused> {
        let tail = self.argv.get(from..).unwrap_or_default();
        let at = tail.iter().position(|arg| arg.eq_ignore_ascii_case(b"FIELDS")).ok_or("no FIELDS")?;
        let count = number(self.argv.get(from + at + 1).ok_or("no number of fields")?)?;
        let first = from + at + 2;
        let right = count > 0 && self.argv.len() as i64 == first as i64 + count * per_field as i64;
        right.then_some(first).ok_or_else(|| "the number of fields does not match".to_owned())
    }

    fn is(&self, exhibit: Exhibit) -> bool {
        self.exhibit == Some(exhibit)
    }

    fn run(&mut self) -> Result<Rewritten, Refused> {
        let name = self.argv[0].to_ascii_lowercase();
        match &name[..] {
            b"hset" | b"hmset" => Ok(self.hset()),
            b"hsetnx" => Ok(self.hsetnx()),
            b"hincrby" => self.hincrby(),
            b"hincrbyfloat" => self.hincrbyfloat(),
            b"hdel" => Ok(self.hdel()),
            b"hgetdel" => self.hgetdel(),
            b"hexpire" | b"hpexpire" | b"hexpireat" | b"hpexpireat" => self.hexpire(&name),
            b"hpersist" => self.hpersist(),
            b"hgetex" => self.hgetex(),
            b"hsetex" => self.hsetex(),
            b"del" | b"unlink" => {
                let existed = !self.hash.is_empty();
                self.hash.clear();
                Ok(Ok(Propagation::verbatim_if(existed)))
            }
            _ => Err("unknown command".to_owned()),
        }
    }

    fn hset(&mut self) -> Rewritten {
        for pair in self.argv[2..].chunks_exact(2) {
            self.store(&pair[0], &pair[1], None);
        }
        hash::hset(self.argv)
    }

    fn hsetnx(&mut self) -> Rewritten {
        let volatile = self.is_volatile();
        if self.live(&self.argv[2]).is_some() {
            return hash::hsetnx(self.argv, HSetNxOutcome::Unchanged);
        }
        self.store(&self.argv[2], &self.argv[3], None);
        if self.is(Exhibit::HsetnxVerbatim) {
            return Ok(Propagation::Verbatim);
        }
        hash::hsetnx(self.argv, HSetNxOutcome::Set { volatile })
    }

    fn before(&self) -> DeadlineBefore {
        match self.live(&self.argv[2]).and_then(|field| field.deadline_ms) {
            Some(ms) => DeadlineBefore::Live(ms),
            None if self.is_volatile() => DeadlineBefore::Volatile,
            None => DeadlineBefore::NotVolatile,
        }
    }

    /// Stores a sum; the deadline of a live field stays.
    fn store_sum(&mut self, sum: &Bytes, before: DeadlineBefore) {
        let deadline_ms = if let DeadlineBefore::Live(ms) = before { Some(ms) } else { None };
        self.store(&self.argv[2], sum, deadline_ms);
    }

    fn hincrby(&mut self) -> Result<Rewritten, Refused> {
        let old = self.live(&self.argv[2]).map_or(Ok(0), |field| number(&field.value))?;
        let sum = old.checked_add(number(&self.argv[3])?).ok_or("overflow")?;
        let before = self.before();
        self.store_sum(&Bytes::from(sum.to_string()), before);
        if self.is(Exhibit::HincrbyVerbatim) {
            return Ok(Ok(Propagation::Verbatim));
        }
        Ok(hash::hincrby(self.argv, sum, before))
    }

    fn hincrbyfloat(&mut self) -> Result<Rewritten, Refused> {
        let float = |text: &Bytes| text_of(text)?.parse::<f64>().map_err(|_| "not a float".to_owned());
        let old = self.live(&self.argv[2]).map_or(Ok(0.0), |field| float(&field.value))?;
        let sum = Bytes::from((old + float(&self.argv[3])?).to_string());
        let before = self.before();
        self.store_sum(&sum, before);
        if self.is(Exhibit::HincrbyfloatPlainHset) {
            let plain = argv([b"HSET", &self.argv[1][..], &self.argv[2], &sum]);
            return Ok(Ok(Propagation::Command(plain)));
        }
        Ok(hash::hincrbyfloat(self.argv, &sum, before))
    }

    fn hdel(&mut self) -> Rewritten {
        let named = self.named(2, 1);
        self.remove(&named.live);
        if self.is(Exhibit::HdelFullList) {
            return Ok(Propagation::verbatim_if(!named.live.is_empty()));
        }
        let touched = self.touched(&named.live, &named.dead);
        hash::hdel(self.argv, touched)
    }

    fn hgetdel(&mut self) -> Result<Rewritten, Refused> {
        let named = self.named(self.fields_after(2, 1)?, 1);
        self.remove(&named.live);
        if self.is(Exhibit::HgetdelFullList) {
            return Ok(Ok(Propagation::verbatim_if(!named.live.is_empty())));
        }
        let touched = self.touched(&named.live, &named.dead);
        Ok(hash::hgetdel(self.argv, touched))
    }

    /// Sets a deadline, or deletes if it has passed.
    fn set_deadlines(&mut self, fields: &[usize], deadline_ms: u64) -> FieldEffect {
        if self.is_past(deadline_ms) {
            self.remove(fields);
            return FieldEffect::Deleted;
        }
        for &at in fields {
            self.hash.entry(self.argv[at].clone()).and_modify(|field| field.deadline_ms = Some(deadline_ms));
        }
        FieldEffect::Deadline(deadline_ms)
    }

    fn hexpire(&mut self, name: &[u8]) -> Result<Rewritten, Refused> {
        let first = self.fields_after(3, 1)?;
        let option = name.strip_prefix(b"h").unwrap_or(name);
        let deadline_ms = self.deadline(
            match option {
                b"expire" => "EX",
                b"pexpire" => "PX",
                b"expireat" => "EXAT",
                _ => "PXAT",
            },
            &self.argv[2],
        )?;
        let condition = (first > 5).then(|| self.argv[3].to_ascii_uppercase());
        let named = self.named(first, 1);
        let met = |at: &usize| {
            let old_ms = self.hash[&self.argv[*at]].deadline_ms;
            match condition.as_deref() {
                Some(b"NX") => old_ms.is_none(),
                Some(b"XX") => old_ms.is_some(),
                Some(b"GT") => old_ms.is_some_and(|old_ms| deadline_ms > old_ms),
                Some(b"LT") => old_ms.is_none_or(|old_ms| deadline_ms < old_ms),
                _ => true,
            }
        };
        let changed: Vec<usize> = named.live.iter().copied().filter(met).collect();
        let effect = self.set_deadlines(&changed, deadline_ms);
        if !changed.is_empty() && effect != FieldEffect::Deleted {
            if self.is(Exhibit::HexpireRelative) {
                return Ok(Ok(Propagation::Verbatim));
            }
            if self.is(Exhibit::HexpireFullList) {
                let all =
                    [&argv(["HPEXPIREAT"])[..], &self.argv[1..2], &argv([deadline_ms.to_string()])].concat();
                return Ok(Ok(Propagation::Command([&all[..], &self.argv[3..]].concat())));
            }
        }
        let touched = self.touched(&changed, &named.dead);
        Ok(hash::hexpire(self.argv, touched, effect))
    }

    fn persist(&mut self, named: &Named) -> Vec<usize> {
        let has_one = |at: &usize| self.hash[&self.argv[*at]].deadline_ms.is_some();
        let changed: Vec<usize> = named.live.iter().copied().filter(has_one).collect();
        for &at in &changed {
            self.hash.entry(self.argv[at].clone()).and_modify(|field| field.deadline_ms = None);
        }
        changed
    }

    fn hpersist(&mut self) -> Result<Rewritten, Refused> {
        let named = self.named(self.fields_after(2, 1)?, 1);
        let changed = self.persist(&named);
        if self.is(Exhibit::HpersistFullList) {
            return Ok(Ok(Propagation::verbatim_if(!changed.is_empty())));
        }
        let touched = self.touched(&changed, &named.dead);
        Ok(hash::hpersist(self.argv, touched))
    }

    fn hgetex(&mut self) -> Result<Rewritten, Refused> {
        let first = self.fields_after(2, 1)?;
        let named = self.named(first, 1);
        let (changed, effect) = match first {
            4 => (Vec::new(), FieldEffect::Persisted),
            5 => (self.persist(&named), FieldEffect::Persisted),
            _ => {
                let deadline_ms = self.deadline(text_of(&self.argv[2])?, &self.argv[3])?;
                (named.live.clone(), self.set_deadlines(&named.live, deadline_ms))
            }
        };
        let touched = self.touched(&changed, &named.dead);
        Ok(hash::hgetex(self.argv, touched, effect))
    }

    /// The absolute deadline that an option names.
    fn deadline(&self, option: &str, time: &Bytes) -> Result<u64, Refused> {
        let time = u64::try_from(number(time)?).map_err(|_| "a negative time")?;
        match option.to_ascii_uppercase().as_str() {
            "EX" => Ok(self.now_ms + time * 1000),
            "PX" => Ok(self.now_ms + time),
            "EXAT" => Ok(time * 1000),
            "PXAT" => Ok(time),
            other => Err(format!("{other} is no option that names a time")),
        }
    }

    fn hsetex(&mut self) -> Result<Rewritten, Refused> {
        let (mut deadline_ms, mut keep, mut at) = (None, false, 2);
        let first = self.fields_after(2, 2)?;
        let names = self.named(first, 2);
        let mut met = true;
        while at < first - 2 {
            let option = text_of(&self.argv[at])?.to_ascii_uppercase();
            match option.as_str() {
                "KEEPTTL" => keep = true,
                "FNX" => met &= names.live.is_empty(),
                "FXX" => met &= names.dead.is_empty() && names.absent.is_empty(),
                "NX" => met &= self.hash.is_empty(),
                "XX" => met &= !self.hash.is_empty(),
                _ => {
                    deadline_ms = Some(self.deadline(&option, &self.argv[at + 1])?);
                    at += 1;
                }
            }
            at += 1;
        }
        if !met {
            return Ok(hash::hsetex(self.argv, HSetExOutcome::NotMet));
        }
        if let Some(ms) = deadline_ms
            && self.is_past(ms)
        {
            let stored = names.stored();
            self.remove(&stored);
            if self.is(Exhibit::HsetexPastVerbatim) {
                return Ok(Ok(Propagation::verbatim_if(!stored.is_empty())));
            }
            return Ok(hash::hsetex(self.argv, HSetExOutcome::Past { stored: &stored }));
        }
        let pairs = self.argv[first..].chunks_exact(2);
        let kept = |name: &Bytes| {
            let field = self.live(name)?;
            let judged =
                self.role == Role::JudgingReplica && field.deadline_ms.is_some_and(|ms| ms < self.now_ms);
            if judged { None } else { field.deadline_ms }
        };
        let deadlines_ms: Vec<Option<u64>> =
            pairs.clone().map(|pair| if keep { kept(&pair[0]) } else { deadline_ms }).collect();
        for (pair, deadline_ms) in pairs.zip(&deadlines_ms) {
            self.store(&pair[0], &pair[1], *deadline_ms);
        }
        if keep {
            let outcome = HSetExOutcome::Kept { deadlines_ms: &deadlines_ms, dead: &names.dead };
            return Ok(self.keepttl(outcome, &names));
        }
        if self.is(Exhibit::HsetexRelative) {
            return Ok(Ok(Propagation::Verbatim));
        }
        let shipped = hash::hsetex(self.argv, HSetExOutcome::Stored { deadline_ms });
        if self.is(Exhibit::ConditionDroppedByName)
            && let Ok(Propagation::Command(finished)) = &shipped
        {
            return Ok(Ok(Propagation::Command(Exhibit::without_condition_words(finished))));
        }
        Ok(shipped)
    }

    fn keepttl(&self, outcome: HSetExOutcome<'_>, names: &Named) -> Rewritten {
        let conditionless = || {
            [&self.argv[..2], &argv(["KEEPTTL"]), &self.argv[self.argv.len() - 2 - self.pairs()..]].concat()
        };
        if self.is(Exhibit::KeepttlOverLeftover) {
            return Ok(Propagation::Command(conditionless()));
        }
        if self.is(Exhibit::KeepttlVerbatim) {
            let leftovers = names.dead.iter().map(|&at| self.argv[at].clone()).collect::<Vec<_>>();
            let Propagation::Command(deletion) =
                hash::reclaim(&self.argv[1], &leftovers, false, DeletionVerb::Unlink)
            else {
                return Ok(Propagation::Command(conditionless()));
            };
            return Ok(Propagation::Commands(vec![deletion, conditionless()]));
        }
        hash::hsetex(self.argv, outcome)
    }

    /// How many arguments an `HSETEX`'s fields and values are.
    fn pairs(&self) -> usize {
        self.fields_after(2, 2).map_or(0, |first| self.argv.len() - first)
    }
}

fn text_of(bytes: &Bytes) -> Result<&str, Refused> {
    std::str::from_utf8(bytes).map_err(|_| "not a text".to_owned())
}

fn number(bytes: &Bytes) -> Result<i64, Refused> {
    text_of(bytes)?.parse().map_err(|_| "not an integer".to_owned())
}

/// Hashes, and who holds them.
pub struct Server {
    hashes: Hashes,
    role: Role,
    leftovers: Leftovers,
    exhibit: Option<Exhibit>,
}

impl Server {
    /// An empty primary that treats the dead fields it meets in one way or the other.
    pub fn primary(leftovers: Leftovers, exhibit: Option<Exhibit>) -> Server {
        Server { hashes: Hashes::new(), role: Role::Primary, leftovers, exhibit }
    }

    fn replica(role: Role, hashes: Hashes) -> Server {
        Server { hashes, role, leftovers: Leftovers::Kept, exhibit: None }
    }

    fn execute(&mut self, sent: &Sent, now_ms: u64) -> Result<Rewritten, Refused> {
        let at = (sent.db, sent.argv.get(1).cloned().unwrap_or_default());
        let mut hash = self.hashes.remove(&at).unwrap_or_default();
        let (role, leftovers, exhibit) = (self.role, self.leftovers, self.exhibit);
        let done = Run { hash: &mut hash, argv: &sent.argv, now_ms, role, leftovers, exhibit }.run();
        if !hash.is_empty() {
            self.hashes.insert(at, hash);
        }
        done
    }
}

impl Apply for Server {
    type State = Hashes;

    fn apply(&mut self, unit: &[Sent], now_ms: u64) -> Law {
        for sent in unit {
            // What it would propagate itself is of no interest.
            drop(self.execute(sent, now_ms).map_err(|error| format!("{sent:?} was refused: {error}"))?);
        }
        Ok(())
    }

    fn state(&self) -> Option<Hashes> {
        Some(self.hashes.clone())
    }
}

impl Primary for Server {
    type Replica = Server;

    fn execute(&mut self, unit: &[Sent], now_ms: u64, stream: &Stream) -> Law {
        let mut effects = Effects::new();
        for sent in unit {
            // A refused command propagates nothing.
            if let Ok(rewritten) = Server::execute(self, sent, now_ms) {
                effects.push(sent.db, &sent.argv, rewritten.map_err(|mismatch| mismatch.to_string())?);
            }
        }
        stream.publish(&effects);
        Ok(())
    }

    /// Some of the due fields, each hash in a unit of its own.
    fn reclaim(&mut self, share: &Index, now_ms: u64, stream: &Stream) {
        let mut emptied = Vec::new();
        for ((db, key), hash) in &mut self.hashes {
            let due = |(name, field): (&Bytes, &Field)| {
                field.deadline_ms.is_some_and(|ms| ms <= now_ms).then(|| name.clone())
            };
            let mut due: Vec<Bytes> = hash.iter().filter_map(due).collect();
            due.truncate(share.index(due.len() + 1));
            due.iter().for_each(|name| drop(hash.remove(name)));
            let mut effects = Effects::new();
            effects.push(*db, &[], hash::reclaim(key, &due, hash.is_empty(), DeletionVerb::Unlink));
            if self.exhibit != Some(Exhibit::FieldReclaimSilent) {
                stream.publish(&effects);
            }
            if hash.is_empty() {
                emptied.push((*db, key.clone()));
            }
        }
        emptied.iter().for_each(|at| drop(self.hashes.remove(at)));
    }

    fn snapshot(&mut self, stream: &Stream) -> Server {
        stream.mark();
        Server::replica(Role::Replica, self.hashes.clone())
    }

    fn state(&self) -> Hashes {
        self.hashes.clone()
    }

    fn replicas(&self) -> Vec<(&'static str, Server)> {
        vec![
            ("a replica", Server::replica(Role::Replica, Hashes::new())),
            ("a replica that judges deadlines to keep", Server::replica(Role::JudgingReplica, Hashes::new())),
        ]
    }
}
