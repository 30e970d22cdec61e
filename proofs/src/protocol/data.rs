//! What a server of the model stores, and how it executes and applies commands.
//!
//! Only the bookkeeping is the model's: what a command does to a hash, when something is dead and what is
//! propagated are the shipped [`hash_ttl`] and [`rewrite`].

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;
use replcore::hash_ttl::arguments::{self, HExpire, HSetEx, Named, NewDeadline, TimeForm};
use replcore::hash_ttl::{Hash, Moment, commands};
use replcore::rewrite::generic::{self, ExpireOutcome};
use replcore::rewrite::hash::{self, HSetExOutcome};
use replcore::rewrite::string::{self, SetOutcome};
use replcore::rewrite::{Argv, DeletionVerb, Effects, Mismatch, Propagation, Rewritten};

use super::museum::Bug;

type Fields = BTreeMap<Bytes, (Bytes, Option<u64>)>;

/// What a key holds.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Value {
    Text(Bytes, Option<u64>),
    Fields(Fields),
}

/// Everything that is stored, dead or not, by database and key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Data(BTreeMap<(u16, Bytes), Value>);

/// A command on the way through a server.
struct Call<'a> {
    db: u16,
    argv: &'a [Bytes],
    moment: Moment,
    /// The true clock of the server, for those who judge when they must not.
    now_ms: u64,
    bug: Option<Bug>,
}

impl Data {
    /// Executes a unit as a primary; what it propagates.
    pub fn execute<'c>(&mut self, unit: &'c [(u16, Argv)], moment: Moment, bug: Option<Bug>) -> Effects<'c> {
        let mut effects = Effects::new();
        for (db, argv) in unit {
            let call = Call { db: *db, argv, moment, now_ms: moment.now_ms, bug };
            if self.expire_key(&call) && bug != Some(Bug::LazyExpirySilent) {
                effects.push_command(*db, DeletionVerb::Unlink.command(&argv[1]));
            }
            let rewritten = self.run(&call);
            effects.push_rewritten(*db, argv, rewritten);
        }
        effects
    }

    /// Applies a command of the stream.
    pub fn apply(&mut self, db: u16, argv: &[Bytes], now_ms: u64, bug: Option<Bug>) {
        // Who applies a stream judges nothing.
        let judges = bug == Some(Bug::KeepTtlJudged) && argv[0].eq_ignore_ascii_case(b"HSETEX");
        let moment = if judges { Moment::reader(now_ms) } else { Moment::STORED };
        let call = Call { db, argv, moment, now_ms, bug };
        let _ = self.run(&call);
    }

    /// Removes the key of a call if it is dead.
    fn expire_key(&mut self, call: &Call<'_>) -> bool {
        let at = (call.db, call.argv[1].clone());
        let dead =
            matches!(self.0.get(&at), Some(Value::Text(_, deadline_ms)) if call.moment.hides(*deadline_ms));
        if dead {
            self.0.remove(&at);
        }
        dead
    }

    fn run(&mut self, call: &Call<'_>) -> Rewritten {
        match call.argv[0].to_ascii_uppercase().as_slice() {
            b"SET" => self.set(call),
            b"PEXPIRE" | b"PEXPIREAT" => self.pexpire(call),
            b"DEL" | b"UNLINK" => {
                let deleted = self.0.remove(&(call.db, call.argv[1].clone())).is_some();
                generic::del(call.argv, usize::from(deleted))
            }
            _ => self.run_on_fields(call),
        }
    }

    /// `SET key value [PX ms|PXAT ms]`.
    fn set(&mut self, call: &Call<'_>) -> Rewritten {
        let argv = call.argv;
        let deadline_ms = argv.get(4).map(|time| deadline_of(&argv[3], time, call.now_ms));
        self.0.insert((call.db, argv[1].clone()), Value::Text(argv[2].clone(), deadline_ms));
        if call.bug == Some(Bug::SetRelative) {
            return Ok(Propagation::Verbatim);
        }
        string::set(argv, SetOutcome::Stored { deadline_ms }, DeletionVerb::Unlink)
    }

    /// `PEXPIRE key ms`, `PEXPIREAT key ms` on a string.
    fn pexpire(&mut self, call: &Call<'_>) -> Rewritten {
        let Some(Value::Text(_, deadline_ms)) = self.0.get_mut(&(call.db, call.argv[1].clone())) else {
            return generic::expire(call.argv, ExpireOutcome::Unchanged, DeletionVerb::Unlink);
        };
        let form: &[u8] = if call.argv[0].eq_ignore_ascii_case(b"PEXPIRE") { b"PX" } else { b"PXAT" };
        let new_ms = deadline_of(form, &call.argv[2], call.now_ms);
        *deadline_ms = Some(new_ms);
        generic::expire(call.argv, ExpireOutcome::Deadline(new_ms), DeletionVerb::Unlink)
    }

    fn run_on_fields(&mut self, call: &Call<'_>) -> Rewritten {
        let at = (call.db, call.argv[1].clone());
        let mut fields = match self.0.remove(&at) {
            Some(Value::Fields(fields)) => hash_of(&fields),
            _ => Hash::new(),
        };
        let rewritten = field_command(&mut fields, call);
        if !fields.is_empty() {
            self.0.insert(at, Value::Fields(fields_of(&fields)));
        }
        rewritten
    }

    /// Whether something dead is stored.
    pub fn has_dead(&self, now_ms: u64) -> bool {
        let moment = Moment::primary(now_ms);
        self.0.values().any(|value| match value {
            Value::Text(_, deadline_ms) => moment.hides(*deadline_ms),
            Value::Fields(fields) => fields.values().any(|(_, deadline_ms)| moment.hides(*deadline_ms)),
        })
    }

    /// Reclaims everything dead as a primary: a unit for each key.
    pub fn reclaim(&mut self, now_ms: u64, bug: Option<Bug>) -> Vec<Effects<'static>> {
        let moment = Moment::primary(now_ms);
        let mut units = Vec::new();
        for ((db, key), value) in std::mem::take(&mut self.0) {
            match value {
                Value::Text(_, deadline_ms) if moment.hides(deadline_ms) => {
                    units.push(Effects::single(db, DeletionVerb::Unlink.command(&key)));
                }
                Value::Fields(fields) => {
                    let (mut kept, mut reclaimed) = (hash_of(&fields), Vec::new());
                    kept.reclaim(now_ms, &mut usize::MAX.clone(), &mut reclaimed);
                    let mut effects = Effects::new();
                    effects.push(
                        db,
                        &[],
                        hash::reclaim(&key, &reclaimed, kept.is_empty(), DeletionVerb::Unlink),
                    );
                    units.push(effects);
                    if !kept.is_empty() {
                        self.0.insert((db, key), Value::Fields(fields_of(&kept)));
                    }
                }
                value => {
                    self.0.insert((db, key), value);
                }
            }
        }
        units.retain(|unit| !unit.is_empty() && bug != Some(Bug::ReclaimSilent));
        units
    }

    /// Removes what has expired and tells nobody.
    pub fn drop_expired(&mut self, now_ms: u64) {
        self.reclaim(now_ms, None);
    }

    /// What a full copy transfers.
    pub fn copied(&self, bug: Option<Bug>) -> Data {
        let mut copy = self.clone();
        if bug == Some(Bug::CopyWithoutFieldDeadlines) {
            for value in copy.0.values_mut() {
                if let Value::Fields(fields) = value {
                    fields.values_mut().for_each(|(_, deadline_ms)| *deadline_ms = None);
                }
            }
        }
        copy
    }
}

fn deadline_of(option: &[u8], time: &Bytes, now_ms: u64) -> u64 {
    let time: u64 = std::str::from_utf8(time).ok().and_then(|time| time.parse().ok()).unwrap_or(0);
    if option.eq_ignore_ascii_case(b"PXAT") { time } else { now_ms + time }
}

fn hash_of(fields: &Fields) -> Hash {
    let mut hash = Hash::new();
    for (name, (value, deadline_ms)) in fields {
        hash.insert(name, value, *deadline_ms);
    }
    hash
}

fn fields_of(hash: &Hash) -> Fields {
    let field = |field: replcore::hash_ttl::Field<'_>| {
        let copy = Bytes::copy_from_slice;
        (copy(&field.name), (copy(&field.value), field.deadline_ms))
    };
    hash.iter().map(field).collect()
}

/// The client's whole list of fields, as `name key [time] FIELDS n field …`.
fn full_list(name: &str, argv: &[Bytes], time_ms: Option<u64>, fields: Named<'_>) -> Rewritten {
    let mut command = vec![Bytes::copy_from_slice(name.as_bytes()), argv[1].clone()];
    command.extend(time_ms.map(|ms| Bytes::from(ms.to_string())));
    command.extend([Bytes::from_static(b"FIELDS"), Bytes::from(fields.len().to_string())]);
    command.extend(fields.iter().map(|(_, name)| name.clone()));
    Ok(Propagation::Command(command))
}

/// Executes a command on a hash. A bug changes what is said about it, never what it does.
fn field_command(stored: &mut Hash, call: &Call<'_>) -> Rewritten {
    let &Call { argv, moment, now_ms, bug, .. } = call;
    let refused = |_| Mismatch::Outcome { command: "a command of the model", reason: "it is malformed" };
    match argv[0].to_ascii_uppercase().as_slice() {
        b"HSET" => {
            // `HSET` says the same whatever it met.
            let _ = commands::set(stored, Named::pairs(argv, 2), NewDeadline::None, moment);
            hash::hset(argv)
        }
        b"HINCRBY" => {
            let base = commands::base(Some(stored), &argv[2], moment);
            let before = base.before;
            let number =
                |text: &[u8]| std::str::from_utf8(text).ok().and_then(|text| text.parse::<i64>().ok());
            let old = base.field.and_then(|field| number(&field.value)).unwrap_or(0);
            let sum = old + number(&argv[3]).unwrap_or(0);
            commands::store_sum(stored, &argv[2], sum.to_string().as_bytes(), before);
            match bug {
                Some(Bug::HIncrByVerbatim) => Ok(Propagation::Verbatim),
                Some(Bug::HIncrByPlainHSet) => Ok(Propagation::Command(vec![
                    Bytes::from_static(b"HSET"),
                    argv[1].clone(),
                    argv[2].clone(),
                    Bytes::from(sum.to_string()),
                ])),
                _ => hash::hincrby(argv, sum, before),
            }
        }
        b"HDEL" => {
            let met = commands::delete(stored, Named::fields(argv, 2), moment);
            match bug {
                Some(Bug::HDelFullList) => Ok(Propagation::verbatim_if(met.has_changed())),
                _ => hash::hdel(argv, met.touched()),
            }
        }
        b"HPERSIST" => {
            let fields = arguments::fields(argv).map_err(refused)?;
            let done = commands::persist(stored, fields, moment);
            match bug {
                Some(Bug::HPersistFullList) => Ok(Propagation::verbatim_if(done.met.has_changed())),
                _ => hash::hpersist(argv, done.met.touched()),
            }
        }
        name @ (b"HPEXPIRE" | b"HPEXPIREAT") => {
            let form = if name == b"HPEXPIRE" { TimeForm::Milliseconds } else { TimeForm::UnixMilliseconds };
            let parsed = HExpire::parse(argv, form, now_ms).map_err(refused)?;
            let done =
                commands::expire(stored, parsed.fields, parsed.deadline_ms, &parsed.conditions, moment);
            match bug {
                Some(Bug::HExpireFullList) if done.met.has_changed() => {
                    full_list("HPEXPIREAT", argv, Some(parsed.deadline_ms), parsed.fields)
                }
                _ => hash::hexpire(argv, done.met.touched(), done.effect),
            }
        }
        b"HSETEX" => {
            let parsed = HSetEx::parse(argv).map_err(refused)?;
            let deadline = parsed.deadline(now_ms).map_err(refused)?;
            let done = commands::set_ex(stored, parsed.pairs, parsed.condition, deadline, moment);
            let keeps = matches!(done.outcome(), HSetExOutcome::Kept { .. });
            match bug {
                Some(Bug::KeepTtlJudged | Bug::KeepTtlOverLeftover) if keeps => Ok(Propagation::Verbatim),
                Some(Bug::HSetExRelative) => Ok(Propagation::Verbatim),
                _ => hash::hsetex(argv, done.outcome()),
            }
        }
        _ => Err(refused(arguments::ArgumentError::Syntax)),
    }
}

impl fmt::Display for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("nothing");
        }
        for (number, ((db, key), value)) in self.0.iter().enumerate() {
            let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
            let until =
                |deadline: &Option<u64>| deadline.map_or_else(String::new, |ms| format!(" until {ms}"));
            let comma = if number == 0 { "" } else { ", " };
            match value {
                Value::Text(value, deadline) => {
                    write!(f, "{comma}[{db}] {}={}{}", text(key), text(value), until(deadline))?;
                }
                Value::Fields(fields) => {
                    let fields: Vec<_> = fields
                        .iter()
                        .map(|(name, (value, deadline))| {
                            format!("{}={}{}", text(name), text(value), until(deadline))
                        })
                        .collect();
                    write!(f, "{comma}[{db}] {}={{{}}}", text(key), fields.join(", "))?;
                }
            }
        }
        Ok(())
    }
}
