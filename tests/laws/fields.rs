//! The laws on hashes whose fields expire, with a small server that follows Valkey's rules and shares with
//! the shipped keyspace nothing but the rewriting, to which it hands what happened. It is the reference for
//! the shipped keyspace too ([`lockstep`](super::lockstep)).
//!
//! On a primary a *dead* field (its deadline has passed) is absent for every command and stays stored until
//! something reclaims it; that a deadline has passed already when it is set is for the primary alone to
//! judge. A replica that applies the stream judges nothing: for it what is stored is there.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use proptest::prelude::*;
use proptest::sample::Index;
use replcore::resp::Reply;
use replcore::rewrite::hash::{
    self, DeadlineBefore, FieldEffect, HSetExOutcome, HSetNxOutcome, Leftovers, Touched,
};
use replcore::rewrite::{Argv, DeletionVerb, Effects, Propagation, Rewritten};

use super::commands::any_of;
use super::museum::Exhibit;
use super::stream::{Apply, Primary, Stream};
use super::{Law, Sent};

/// Commands on the hashes. A key and a field are called like a condition.
pub const FORMS: &[&str] = &[
    "HSET {hk} {f} {v}",
    "HSET {hk} {f} {v} {f} {v}",
    "HMSET {hk} {f} {v}",
    "HSETNX {hk} {f} {v}",
    "HINCRBY {hk} {f} {n}",
    "HINCRBYFLOAT {hk} {f} {exact}",
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

/// Commands that read them.
pub const READING_FORMS: &[&str] = &[
    "HGET {hk} {f}",
    "HMGET {hk} {f} {f} {f}",
    "HEXISTS {hk} {f}",
    "HSTRLEN {hk} {f}",
    "HLEN {hk}",
    "HTTL {hk} FIELDS 2 {f} {f}",
    "HPTTL {hk} FIELDS 2 {f} {f}",
    "HEXPIRETIME {hk} FIELDS 2 {f} {f}",
    "HPEXPIRETIME {hk} FIELDS 2 {f} {f}",
];

/// Any of those that change something.
pub fn any() -> BoxedStrategy<Argv> {
    any_of(FORMS)
}

/// Any command at all.
pub fn any_or_reading() -> BoxedStrategy<Argv> {
    prop_oneof![3 => any_of(FORMS), 1 => any_of(READING_FORMS)].boxed()
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    pub value: Bytes,
    pub deadline_ms: Option<u64>,
}

type Hash = BTreeMap<Bytes, Field>;
pub type Hashes = BTreeMap<(u16, Bytes), Hash>;

/// Who executes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Primary,
    Replica,
    /// A replica that judges by its own clock whether there is a deadline to keep, as those of Valkey 9.0.0
    /// and 9.0.1.
    JudgingReplica,
}

/// A command while it runs.
struct Run<'a> {
    hash: &'a mut Hash,
    argv: &'a [Bytes],
    now_ms: u64,
    role: Role,
    leftovers: Leftovers,
}

/// A command was refused; nothing happened.
pub type Refused = String;

/// What the client is answered, and what is propagated.
type Done = Result<(Reply, Rewritten), Refused>;

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

/// What is answered for a field: there is none; it has no deadline; a condition was not met; done; deleted.
const NO_FIELD: i64 = -2;
const NO_DEADLINE: i64 = -1;
const NOT_MET: i64 = 0;
const DONE: i64 = 1;
const DELETED: i64 = 2;

fn integers(codes: impl IntoIterator<Item = i64>) -> Reply {
    Reply::Array(codes.into_iter().map(Reply::Integer).collect())
}

fn bulk(value: Option<&Bytes>) -> Reply {
    value.map_or(Reply::Null, |value| Reply::Bulk(value.clone()))
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

    /// What is answered for each field that is named from `first` on, the second mention of one being
    /// answered `again` if the first changed it.
    fn answers<T: Clone>(
        &self,
        first: usize,
        changed: &[usize],
        mut answer: impl FnMut(usize, &Field) -> T,
        absent: &T,
        again: impl Fn(&T) -> T,
    ) -> Vec<T> {
        let mut given: BTreeMap<&Bytes, T> = BTreeMap::new();
        let mut answers = Vec::new();
        for at in first..self.argv.len() {
            let name = &self.argv[at];
            answers.push(match (given.get(name), self.live(name)) {
                (Some(before), _) => before.clone(),
                (None, Some(field)) => answer(at, field),
                (None, None) => absent.clone(),
            });
            let last = answers.last().unwrap_or(absent);
            let next = if changed.contains(&at) { again(last) } else { last.clone() };
            given.insert(name, next);
        }
        answers
    }

    fn run(&mut self) -> Done {
        let name = self.argv[0].to_ascii_lowercase();
        match &name[..] {
            b"hset" => Ok(self.hset()),
            b"hmset" => Ok((Reply::Simple("OK"), self.hset().1)),
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
                Ok((Reply::Integer(existed.into()), Ok(Propagation::verbatim_if(existed))))
            }
            _ => Ok((self.read(&name)?, Ok(Propagation::Nothing))),
        }
    }

    fn read(&self, name: &[u8]) -> Result<Reply, Refused> {
        let value = |name: &Bytes| self.live(name).map(|field| &field.value);
        let times = |time: &dyn Fn(u64) -> u64| {
            let code = |name: &Bytes| match self.live(name) {
                None => NO_FIELD,
                Some(field) => field.deadline_ms.map_or(NO_DEADLINE, |ms| time(ms) as i64),
            };
            Ok::<_, Refused>(integers(self.argv[self.fields_after(2, 1)?..].iter().map(code)))
        };
        let (left_ms, rounded) = (|ms: u64| ms - self.now_ms, |ms: u64| (ms + 500) / 1000);
        match name {
            b"hget" => Ok(bulk(value(&self.argv[2]))),
            b"hmget" => Ok(Reply::Array(self.argv[2..].iter().map(|name| bulk(value(name))).collect())),
            b"hexists" => Ok(Reply::Integer(value(&self.argv[2]).is_some().into())),
            b"hstrlen" => Ok(Reply::Integer(value(&self.argv[2]).map_or(0, |value| value.len() as i64))),
            b"hlen" => Ok(Reply::Integer(self.hash.len() as i64)),
            b"httl" => times(&|ms| rounded(left_ms(ms))),
            b"hpttl" => times(&left_ms),
            b"hexpiretime" => times(&rounded),
            b"hpexpiretime" => times(&|ms| ms),
            _ => Err("unknown command".to_owned()),
        }
    }

    fn hset(&mut self) -> (Reply, Rewritten) {
        let mut created = 0;
        for pair in self.argv[2..].chunks_exact(2) {
            created += i64::from(self.live(&pair[0]).is_none());
            self.store(&pair[0], &pair[1], None);
        }
        (Reply::Integer(created), hash::hset(self.argv))
    }

    fn hsetnx(&mut self) -> (Reply, Rewritten) {
        let volatile = self.is_volatile();
        if self.live(&self.argv[2]).is_some() {
            return (Reply::Integer(0), hash::hsetnx(self.argv, HSetNxOutcome::Unchanged));
        }
        self.store(&self.argv[2], &self.argv[3], None);
        (Reply::Integer(1), hash::hsetnx(self.argv, HSetNxOutcome::Set { volatile }))
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

    fn hincrby(&mut self) -> Done {
        let old = self.live(&self.argv[2]).map_or(Ok(0), |field| number(&field.value))?;
        let sum = old.checked_add(number(&self.argv[3])?).ok_or("overflow")?;
        let before = self.before();
        self.store_sum(&Bytes::from(sum.to_string()), before);
        Ok((Reply::Integer(sum), hash::hincrby(self.argv, sum, before)))
    }

    fn hincrbyfloat(&mut self) -> Done {
        let float = |text: &Bytes| text_of(text)?.parse::<f64>().map_err(|_| "not a float".to_owned());
        let old = self.live(&self.argv[2]).map_or(Ok(0.0), |field| float(&field.value))?;
        let sum = Bytes::from((old + float(&self.argv[3])?).to_string());
        let before = self.before();
        self.store_sum(&sum, before);
        Ok((Reply::Bulk(sum.clone()), hash::hincrbyfloat(self.argv, &sum, before)))
    }

    fn hdel(&mut self) -> (Reply, Rewritten) {
        let named = self.named(2, 1);
        self.remove(&named.live);
        let touched = self.touched(&named.live, &named.dead);
        (Reply::Integer(named.live.len() as i64), hash::hdel(self.argv, touched))
    }

    /// The values of the fields from `first` on, of which some are `deleted` now.
    fn values(&self, first: usize, deleted: &[usize]) -> Reply {
        let value = |_, field: &Field| Reply::Bulk(field.value.clone());
        Reply::Array(self.answers(first, deleted, value, &Reply::Null, |_| Reply::Null))
    }

    fn hgetdel(&mut self) -> Done {
        let first = self.fields_after(2, 1)?;
        let named = self.named(first, 1);
        let values = self.values(first, &named.live);
        self.remove(&named.live);
        let touched = self.touched(&named.live, &named.dead);
        Ok((values, hash::hgetdel(self.argv, touched)))
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

    fn hexpire(&mut self, name: &[u8]) -> Done {
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
        let met = |old_ms: Option<u64>| match condition.as_deref() {
            Some(b"NX") => old_ms.is_none(),
            Some(b"XX") => old_ms.is_some(),
            Some(b"GT") => old_ms.is_some_and(|old_ms| deadline_ms > old_ms),
            Some(b"LT") => old_ms.is_none_or(|old_ms| deadline_ms < old_ms),
            _ => true,
        };
        let named = self.named(first, 1);
        let is_met = |at: &usize| met(self.hash[&self.argv[*at]].deadline_ms);
        let changed: Vec<usize> = named.live.iter().copied().filter(is_met).collect();
        let past = self.is_past(deadline_ms);
        let done = if past { DELETED } else { DONE };
        let again = |_: &i64| match (past, met(Some(deadline_ms))) {
            (true, _) => NO_FIELD,
            (false, true) => DONE,
            (false, false) => NOT_MET,
        };
        let code = |_, field: &Field| if met(field.deadline_ms) { done } else { NOT_MET };
        let codes = self.answers(first, &changed, code, &NO_FIELD, again);
        let effect = self.set_deadlines(&changed, deadline_ms);
        let touched = self.touched(&changed, &named.dead);
        Ok((integers(codes), hash::hexpire(self.argv, touched, effect)))
    }

    fn persist(&mut self, named: &Named) -> Vec<usize> {
        let has_one = |at: &usize| self.hash[&self.argv[*at]].deadline_ms.is_some();
        let changed: Vec<usize> = named.live.iter().copied().filter(has_one).collect();
        for &at in &changed {
            self.hash.entry(self.argv[at].clone()).and_modify(|field| field.deadline_ms = None);
        }
        changed
    }

    fn hpersist(&mut self) -> Done {
        let first = self.fields_after(2, 1)?;
        let named = self.named(first, 1);
        let code = |_, field: &Field| field.deadline_ms.map_or(NO_DEADLINE, |_| DONE);
        let codes = self.answers(first, &named.live, code, &NO_FIELD, |_| NO_DEADLINE);
        let changed = self.persist(&named);
        let touched = self.touched(&changed, &named.dead);
        Ok((integers(codes), hash::hpersist(self.argv, touched)))
    }

    fn hgetex(&mut self) -> Done {
        let first = self.fields_after(2, 1)?;
        let named = self.named(first, 1);
        let deadline_ms = match first {
            4 | 5 => None,
            _ => Some(self.deadline(text_of(&self.argv[2])?, &self.argv[3])?),
        };
        let deletes = deadline_ms.is_some_and(|ms| self.is_past(ms));
        let values = self.values(first, if deletes { &named.live } else { &[] });
        let (changed, effect) = match deadline_ms {
            Some(deadline_ms) => (named.live.clone(), self.set_deadlines(&named.live, deadline_ms)),
            None if first == 5 => (self.persist(&named), FieldEffect::Persisted),
            None => (Vec::new(), FieldEffect::Persisted),
        };
        let touched = self.touched(&changed, &named.dead);
        Ok((values, hash::hgetex(self.argv, touched, effect)))
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

    fn hsetex(&mut self) -> Done {
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
            return Ok((Reply::Integer(NOT_MET), hash::hsetex(self.argv, HSetExOutcome::NotMet)));
        }
        if let Some(ms) = deadline_ms
            && self.is_past(ms)
        {
            let stored = names.stored();
            self.remove(&stored);
            let past = HSetExOutcome::Past { stored: &stored };
            return Ok((Reply::Integer(DONE), hash::hsetex(self.argv, past)));
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
        let outcome = match keep {
            true => HSetExOutcome::Kept { deadlines_ms: &deadlines_ms, dead: &names.dead },
            false => HSetExOutcome::Stored { deadline_ms },
        };
        Ok((Reply::Integer(DONE), hash::hsetex(self.argv, outcome)))
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
    pub hashes: Hashes,
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

    /// Executes a command: what the client is answered, and what is propagated.
    pub fn run(&mut self, sent: &Sent, now_ms: u64) -> Done {
        let at = (sent.db, sent.argv.get(1).cloned().unwrap_or_default());
        let mut hash = self.hashes.remove(&at).unwrap_or_default();
        let (role, leftovers) = (self.role, self.leftovers);
        let done = Run { hash: &mut hash, argv: &sent.argv, now_ms, role, leftovers }.run();
        if !hash.is_empty() {
            self.hashes.insert(at, hash);
        }
        done
    }
}

/// All that is dead goes.
pub fn reclaim_all(hashes: &mut Hashes, now_ms: u64) {
    let is_alive = |field: &Field| field.deadline_ms.is_none_or(|ms| now_ms <= ms);
    hashes.values_mut().for_each(|hash| hash.retain(|_, field| is_alive(field)));
    hashes.retain(|_, hash| !hash.is_empty());
}

impl Apply for Server {
    type State = Hashes;

    fn apply(&mut self, unit: &[Sent], now_ms: u64) -> Law {
        for sent in unit {
            // What it would propagate itself is of no interest.
            drop(self.run(sent, now_ms).map_err(|error| format!("{sent:?} was refused: {error}"))?);
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
            if let Ok((_, rewritten)) = self.run(sent, now_ms) {
                effects.push(sent.db, &sent.argv, rewritten.map_err(|mismatch| mismatch.to_string())?);
            }
        }
        match self.exhibit {
            None => stream.publish(&effects),
            Some(exhibit) => stream.publish(&exhibit.in_place_of(&effects, unit)),
        }
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
