//! The laws on the shipped keyspace: it executes as a primary, and other keyspaces apply the stream.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use proptest::sample::Index;
use replcore::hash_ttl::Field;
use replcore::keyspace::{Call, ExpiryPolicy, Keyspace, Options, Snapshot, SnapshotEntry, Value};
use replcore::resp::Reply;
use replcore::rewrite::Effects;

use super::museum::Exhibit;
use super::stream::{Answers, Apply, Primary, Stream};
use super::{DATABASES, History, Law, START_MS, Sent, Step, Timed, argv};

/// What is stored under a key, whatever order the tables have it in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stored {
    String(Bytes),
    List(Vec<Bytes>),
    Set(BTreeSet<Bytes>),
    /// Scores by their bits.
    ZSet(BTreeMap<Bytes, u64>),
    /// Values and deadlines.
    Hash(BTreeMap<Bytes, (Bytes, Option<u64>)>),
}

/// Everything that a keyspace stores, expired keys included: what replicas have to agree on.
pub type State = BTreeMap<(u16, Bytes), (Stored, Option<u64>)>;

fn stored(value: &Value) -> Stored {
    fn owned(bytes: impl AsRef<[u8]>) -> Bytes {
        Bytes::copy_from_slice(bytes.as_ref())
    }
    match value {
        Value::String(bytes) => Stored::String(owned(bytes)),
        Value::List(list) => Stored::List(list.iter().map(owned).collect()),
        Value::Set(set) => Stored::Set(set.iter().map(owned).collect()),
        Value::ZSet(zset) => {
            Stored::ZSet(zset.iter().map(|(member, score)| (owned(member), score.to_bits())).collect())
        }
        Value::Hash(hash) => {
            let field =
                |field: Field<'_>| (field.name.to_bytes(), (field.value.to_bytes(), field.deadline_ms));
            Stored::Hash(hash.iter().map(field).collect())
        }
    }
}

/// The state at this moment.
fn state(keyspace: &Arc<Keyspace>) -> State {
    let ((), snapshot) = keyspace.cut(|| ());
    let entry = |entry: SnapshotEntry| ((entry.db, entry.key), (stored(&entry.value), entry.deadline_ms));
    snapshot.flatten().map(entry).collect()
}

fn keyspace() -> Arc<Keyspace> {
    Arc::new(Keyspace::new(Options { shards: 3, databases: DATABASES, ..Options::default() }))
}

fn calls(unit: &[Sent]) -> Vec<Call> {
    unit.iter().map(|sent| Call { db: sent.db, argv: sent.argv.clone() }).collect()
}

/// How the replica's machine computes in floating point, which is the replica's own affair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Platform {
    /// Like the primary's.
    Same,
    /// `long double` is no longer than `double`, as on some.
    ShortLongDouble,
}

/// Units that have been read and not applied, each with the clock at which it was read.
type Queued = Vec<(Vec<Sent>, u64)>;

/// A keyspace that applies a stream.
pub struct Follower {
    keyspace: Arc<Keyspace>,
    platform: Platform,
    /// The snapshot it is still loading, and what came on the stream meanwhile.
    loading: Option<(Snapshot, Queued)>,
}

impl Follower {
    /// The command as this machine carries it out: the keyspace always computes like x86-64, so what another
    /// machine computes is put in its place.
    fn computed_here(&self, call: Call, now_ms: u64) -> Call {
        if self.platform == Platform::Same || !call.argv[0].eq_ignore_ascii_case(b"incrbyfloat") {
            return call;
        }
        let get = Call { db: call.db, argv: argv([b"GET", &call.argv[1][..]]) };
        let old = self.keyspace.execute_under(ExpiryPolicy::Ignore, &[get], now_ms, &mut |_| ());
        let float = |text: &[u8]| std::str::from_utf8(text).ok().and_then(|text| text.parse::<f64>().ok());
        let old = match &old[0] {
            Reply::Bulk(old) => float(old),
            _ => Some(0.0),
        };
        let (Some(old), Some(by)) = (old, float(&call.argv[2])) else { return call };
        let sum = (old + by).to_string();
        Call { db: call.db, argv: argv([b"SET", &call.argv[1][..], sum.as_bytes(), b"KEEPTTL"]) }
    }

    fn apply_now(&self, unit: &[Sent], now_ms: u64) -> Law {
        let calls: Vec<Call> = calls(unit).into_iter().map(|call| self.computed_here(call, now_ms)).collect();
        let replies = self.keyspace.execute_under(ExpiryPolicy::Ignore, &calls, now_ms, &mut |_| ());
        for (sent, reply) in unit.iter().zip(replies) {
            if let Reply::Error(error) = reply {
                return Err(format!("{sent:?} was answered {error:?}"));
            }
        }
        Ok(())
    }

    /// Loads one more part of the snapshot, which the primary has gone on changing; after the last one, applies what
    /// came meanwhile.
    fn load_more(&mut self) -> Law {
        let Some((snapshot, _)) = &mut self.loading else { return Ok(()) };
        if let Some(entries) = snapshot.next_batch() {
            load(&self.keyspace, &entries);
        } else if let Some((_, queued)) = self.loading.take() {
            for (unit, now_ms) in queued {
                self.apply_now(&unit, now_ms)?;
            }
        }
        Ok(())
    }
}

impl Apply for Follower {
    type State = State;

    fn apply(&mut self, unit: &[Sent], now_ms: u64) -> Law {
        match &mut self.loading {
            None => self.apply_now(unit, now_ms),
            Some((_, queued)) => {
                queued.push((unit.to_vec(), now_ms));
                self.load_more()
            }
        }
    }

    fn settle(&mut self) -> Law {
        while self.loading.is_some() {
            self.load_more()?;
        }
        Ok(())
    }

    fn state(&self) -> Option<State> {
        self.loading.is_none().then(|| state(&self.keyspace))
    }

    fn answers(&self) -> Answers {
        answers(&self.keyspace)
    }
}

/// What a client reads: by key, the answers of the commands that show all there is.
fn answers(keyspace: &Keyspace) -> Answers {
    let ask = |db: u16, words: &[&[u8]]| {
        let call = Call { db, argv: argv(words) };
        let mut replies = keyspace.execute_under(ExpiryPolicy::Ignore, &[call], 0, &mut |_| ());
        replies.pop().unwrap_or(Reply::Null)
    };
    let mut answers = Answers::new();
    for db in 0..DATABASES {
        let Reply::Array(keys) = ask(db, &[b"KEYS", b"*"]) else { panic!("KEYS answers an array") };
        for key in keys {
            let Reply::Bulk(key) = key else { panic!("a key is a bulk string") };
            let kind = ask(db, &[b"TYPE", &key]);
            let value = match &kind {
                Reply::Simple(kind) if *kind == "string" => ask(db, &[b"GET", &key]),
                Reply::Simple(kind) if *kind == "list" => ask(db, &[b"LRANGE", &key, b"0", b"-1"]),
                Reply::Simple(kind) if *kind == "set" => ask(db, &[b"SMEMBERS", &key]),
                Reply::Simple(kind) if *kind == "zset" => {
                    ask(db, &[b"ZRANGE", &key, b"0", b"-1", b"WITHSCORES"])
                }
                Reply::Simple(kind) if *kind == "hash" => ask(db, &[b"HGETALL", &key]),
                other => panic!("TYPE {key:?} answers {other:?}"),
            };
            assert!(!matches!(value, Reply::Error(_)), "{key:?}: {value:?}");
            // Sets and hashes have no order.
            let value = match value {
                Reply::Map(pairs) => sorted(pairs.iter().map(|pair| format!("{pair:?}"))),
                Reply::Set(members) => sorted(members.iter().map(|member| format!("{member:?}"))),
                value => format!("{value:?}"),
            };
            let deadline_ms = ask(db, &[b"PEXPIRETIME", &key]);
            answers.insert((db, key), format!("{kind:?} {value} {deadline_ms:?}"));
        }
    }
    answers
}

fn sorted(items: impl Iterator<Item = String>) -> String {
    let mut items: Vec<String> = items.collect();
    items.sort();
    items.join(", ")
}

/// Loads a snapshot's entries through commands, as a loader does: nothing is judged by the clock.
fn load(loaded: &Keyspace, entries: &[SnapshotEntry]) {
    let run = |db: u16, words: Vec<Bytes>| {
        let command = super::shown(&words);
        let call = Call { db, argv: words };
        let replies = loaded.execute_under(ExpiryPolicy::Ignore, &[call], 0, &mut |_| ());
        assert!(!matches!(replies[0], Reply::Error(_)), "{command}: {replies:?}");
    };
    for SnapshotEntry { db, key, value, deadline_ms } in entries {
        let head = |name: &'static str| vec![Bytes::from_static(name.as_bytes()), key.clone()];
        let with = |name, rest: Vec<Bytes>| [head(name), rest].concat();
        run(
            *db,
            match stored(value) {
                Stored::String(value) => with("SET", vec![value]),
                Stored::List(elements) => with("RPUSH", elements),
                Stored::Set(members) => with("SADD", members.into_iter().collect()),
                Stored::ZSet(members) => {
                    let score = |bits| Bytes::from(f64::from_bits(bits).to_string());
                    with(
                        "ZADD",
                        members.into_iter().flat_map(|(member, bits)| [score(bits), member]).collect(),
                    )
                }
                Stored::Hash(fields) => {
                    let pairs = fields.iter().flat_map(|(field, (value, _))| [field.clone(), value.clone()]);
                    with("HSET", pairs.collect())
                }
            },
        );
        if let Stored::Hash(fields) = stored(value) {
            for (field, ms) in fields.into_iter().filter_map(|(field, (_, ms))| Some((field, ms?))) {
                let words = [ms.to_string().into(), "FIELDS".into(), "1".into(), field];
                run(*db, with("HPEXPIREAT", words.to_vec()));
            }
        }
        if let Some(ms) = deadline_ms {
            run(*db, with("PEXPIREAT", vec![Bytes::from(ms.to_string())]));
        }
    }
}

/// A keyspace that executes as a primary.
pub struct Leader {
    keyspace: Arc<Keyspace>,
    exhibit: Option<Exhibit>,
}

impl Leader {
    /// An empty one.
    pub fn new(exhibit: Option<Exhibit>) -> Leader {
        Leader { keyspace: keyspace(), exhibit }
    }
}

impl Primary for Leader {
    type Replica = Follower;

    fn execute(&mut self, unit: &[Sent], now_ms: u64, stream: &Stream) -> Law {
        let mut publish = |effects: &Effects<'_>| match self.exhibit {
            None => stream.publish(effects),
            Some(exhibit) => stream.publish(&exhibit.in_place_of(effects, unit)),
        };
        self.keyspace.execute(&calls(unit), now_ms, &mut publish);
        Ok(())
    }

    /// All that is due.
    fn reclaim(&mut self, _: &Index, now_ms: u64, stream: &Stream) {
        let mut publish = |effects: &Effects<'_>| {
            if self.exhibit != Some(Exhibit::ActiveExpirySilent) {
                stream.publish(effects);
            }
        };
        self.keyspace.expire_cycle(now_ms, Duration::MAX, &mut publish);
    }

    fn snapshot(&mut self, stream: &Stream) -> Follower {
        let ((), snapshot) = self.keyspace.cut(|| stream.mark());
        Follower { keyspace: keyspace(), platform: Platform::Same, loading: Some((snapshot, Vec::new())) }
    }

    fn state(&self) -> State {
        state(&self.keyspace)
    }

    fn answers(&self) -> Answers {
        answers(&self.keyspace)
    }

    fn replicas(&self) -> Vec<(&'static str, Follower)> {
        let follower = |platform| Follower { keyspace: keyspace(), platform, loading: None };
        vec![
            ("a replica", follower(Platform::Same)),
            ("a replica with a 64-bit long double", follower(Platform::ShortLongDouble)),
        ]
    }
}

/// How many commands the last unit of `history` propagated.
pub fn propagated_by_last(history: &History) -> usize {
    let primary = keyspace();
    let (mut now_ms, mut last) = (START_MS, 0);
    for Timed { advance_ms, step } in &history.steps {
        now_ms = now_ms.saturating_add_signed(*advance_ms);
        if let Step::Unit(unit) = step {
            last = 0;
            primary.execute(&calls(unit), now_ms, &mut |effects| last += effects.ops.len());
        }
    }
    last
}

/// What `DUMP` makes of a value that `command` stores under the key `k`.
pub fn dumped(command: &str) -> Bytes {
    let scratch = keyspace();
    let call = |words: &str| Call { db: 0, argv: argv(words.split(' ')) };
    let replies = scratch.execute(&[call(command), call("DUMP k")], START_MS, &mut |_| ());
    match &replies[..] {
        [_, Reply::Bulk(payload)] => payload.clone(),
        other => panic!("{command}, DUMP k: {other:?}"),
    }
}
