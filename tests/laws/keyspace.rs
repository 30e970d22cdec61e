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

/// A keyspace, whoever it serves.
#[derive(Clone)]
pub struct Store(Arc<Keyspace>);

impl Store {
    /// An empty one.
    pub fn new() -> Store {
        Store(Arc::new(Keyspace::new(Options { shards: 3, databases: DATABASES, ..Options::default() })))
    }

    /// Executes a unit as a primary.
    pub fn execute(&self, unit: &[Sent], now_ms: u64, publish: &mut dyn FnMut(&Effects<'_>)) -> Vec<Reply> {
        self.execute_under(ExpiryPolicy::Reclaim, unit, now_ms, publish)
    }

    /// Executes a unit under a policy.
    pub fn execute_under(
        &self,
        policy: ExpiryPolicy,
        unit: &[Sent],
        now_ms: u64,
        publish: &mut dyn FnMut(&Effects<'_>),
    ) -> Vec<Reply> {
        let call = |sent: &Sent| Call { db: sent.db, argv: sent.argv.clone() };
        let calls: Vec<Call> = unit.iter().map(call).collect();
        self.0.execute_under(policy, &calls, now_ms, publish)
    }

    /// What one command is answered under a policy, by whom nothing is published.
    pub fn ask(&self, policy: ExpiryPolicy, db: u16, words: &[&[u8]], now_ms: u64) -> Reply {
        let mut replies = self.execute_under(policy, &[Sent { db, argv: argv(words) }], now_ms, &mut |_| ());
        replies.pop().unwrap_or(Reply::Null)
    }

    /// Reclaims all that is dead.
    pub fn reclaim(&self, now_ms: u64, publish: &mut dyn FnMut(&Effects<'_>)) {
        self.0.expire_cycle(now_ms, Duration::MAX, publish);
    }

    /// The state at this moment.
    pub fn state(&self) -> State {
        let ((), snapshot) = self.0.cut(|| ());
        let entry = |entry: SnapshotEntry| ((entry.db, entry.key), (stored(&entry.value), entry.deadline_ms));
        snapshot.flatten().map(entry).collect()
    }
}

/// In what a replica differs from the primary's program and machine, which is the replica's own affair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Same,
    /// Its `long double` is no longer than `double`, as on some machines.
    ShortLongDouble,
    /// It judges by its own clock whether there is a deadline to keep, as those of Valkey 9.0.0 and 9.0.1.
    JudgesDeadlinesToKeep,
}

/// Units that have been read and not applied, each with the clock at which it was read.
type Queued = Vec<(Vec<Sent>, u64)>;

/// A keyspace that applies a stream.
pub struct Follower {
    pub store: Store,
    kind: Kind,
    /// The snapshot it is still loading, and what came on the stream meanwhile.
    loading: Option<(Snapshot, Queued)>,
}

impl Follower {
    /// An empty one.
    pub fn new() -> Follower {
        Follower::empty(Kind::Same)
    }

    fn empty(kind: Kind) -> Follower {
        Follower { store: Store::new(), kind, loading: None }
    }

    /// The command as this machine carries it out: the keyspace always computes like x86-64, so what another
    /// machine computes is put in its place.
    fn computed_here(&self, sent: &Sent, now_ms: u64) -> Sent {
        if self.kind != Kind::ShortLongDouble || !sent.argv[0].eq_ignore_ascii_case(b"incrbyfloat") {
            return sent.clone();
        }
        let old = self.store.ask(ExpiryPolicy::Ignore, sent.db, &[b"GET", &sent.argv[1]], now_ms);
        let float = |text: &[u8]| std::str::from_utf8(text).ok().and_then(|text| text.parse::<f64>().ok());
        let old = match &old {
            Reply::Bulk(old) => float(old),
            _ => Some(0.0),
        };
        let (Some(old), Some(by)) = (old, float(&sent.argv[2])) else { return sent.clone() };
        let sum = (old + by).to_string();
        Sent { db: sent.db, argv: argv([b"SET", &sent.argv[1][..], sum.as_bytes(), b"KEEPTTL"]) }
    }

    /// What it takes the deadlines of its own data for while it applies a command.
    fn policy(&self, sent: &Sent) -> ExpiryPolicy {
        let keeps = |arg: &Bytes| arg.eq_ignore_ascii_case(b"KEEPTTL");
        let judges = self.kind == Kind::JudgesDeadlinesToKeep
            && sent.argv[0].eq_ignore_ascii_case(b"hsetex")
            && sent.argv.iter().any(keeps);
        if judges { ExpiryPolicy::Hide } else { ExpiryPolicy::Ignore }
    }

    fn apply_now(&self, unit: &[Sent], now_ms: u64) -> Law {
        for sent in unit {
            let sent = self.computed_here(sent, now_ms);
            let policy = self.policy(&sent);
            let replies = self.store.execute_under(policy, std::slice::from_ref(&sent), now_ms, &mut |_| ());
            if let Reply::Error(error) = &replies[0] {
                return Err(format!("{sent:?} was answered {error:?}"));
            }
        }
        Ok(())
    }

    /// Loads one more part of the snapshot, which the primary has gone on changing; after the last one,
    /// applies what came meanwhile.
    fn load_more(&mut self) -> Law {
        let Some((snapshot, _)) = &mut self.loading else { return Ok(()) };
        if let Some(entries) = snapshot.next_batch() {
            load(&self.store, &entries);
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
        self.loading.is_none().then(|| self.store.state())
    }

    fn answers(&self) -> Answers {
        answers(&self.store)
    }
}

/// What a client reads: by key, the answers of the commands that show all there is.
fn answers(store: &Store) -> Answers {
    let ask = |db: u16, words: &[&[u8]]| store.ask(ExpiryPolicy::Ignore, db, words, 0);
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
fn load(loaded: &Store, entries: &[SnapshotEntry]) {
    let run = |db: u16, words: Vec<Bytes>| {
        let sent = Sent { db, argv: words };
        let replies = loaded.execute_under(ExpiryPolicy::Ignore, std::slice::from_ref(&sent), 0, &mut |_| ());
        assert!(!matches!(replies[0], Reply::Error(_)), "{sent:?}: {replies:?}");
    };
    for SnapshotEntry { db, key, value, deadline_ms } in entries {
        let head = |name: &'static str| vec![Bytes::from_static(name.as_bytes()), key.clone()];
        let with = |name, rest: Vec<Bytes>| [head(name), rest].concat();
        let value = stored(value);
        let deadlines: Vec<_> = match &value {
            Stored::Hash(fields) => {
                fields.iter().filter_map(|(f, (_, ms))| Some((f.clone(), (*ms)?))).collect()
            }
            _ => Vec::new(),
        };
        run(
            *db,
            match value {
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
                    with("HSET", fields.into_iter().flat_map(|(field, (value, _))| [field, value]).collect())
                }
            },
        );
        for (field, ms) in deadlines {
            let words = [ms.to_string(), "FIELDS".to_owned(), "1".to_owned()];
            run(*db, with("HPEXPIREAT", words.into_iter().map(Bytes::from).chain([field]).collect()));
        }
        if let Some(ms) = deadline_ms {
            run(*db, with("PEXPIREAT", vec![Bytes::from(ms.to_string())]));
        }
    }
}

/// A keyspace that executes as a primary.
pub struct Leader {
    store: Store,
    exhibit: Option<Exhibit>,
}

impl Leader {
    /// An empty one.
    pub fn new(exhibit: Option<Exhibit>) -> Leader {
        Leader::promoted(Store::new(), exhibit)
    }

    /// One that was a replica until now.
    pub fn promoted(store: Store, exhibit: Option<Exhibit>) -> Leader {
        Leader { store, exhibit }
    }

    /// What it keeps its data in.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The policy under which it executes.
    pub fn policy(&self) -> ExpiryPolicy {
        match self.exhibit {
            Some(Exhibit::PromotedStillIgnores) => ExpiryPolicy::Ignore,
            _ => ExpiryPolicy::Reclaim,
        }
    }

    /// Active expiry of all that is due.
    pub fn reclaim_all(&self, now_ms: u64, stream: &Stream) {
        if self.exhibit == Some(Exhibit::PromotedNeverReclaims) {
            return;
        }
        self.store.reclaim(now_ms, &mut |effects| {
            let is_of_fields = effects.ops[0].argv[0] == b"HDEL"[..];
            let is_silent = match self.exhibit {
                Some(Exhibit::ActiveExpirySilent) => !is_of_fields,
                Some(Exhibit::FieldReclaimSilent) => is_of_fields,
                _ => false,
            };
            if !is_silent {
                stream.publish(effects);
            }
        });
    }

    /// A replica that is loaded from a snapshot of this moment into `store`, of which nothing stays.
    pub fn copied_into(&self, store: Store, stream: &Stream) -> Follower {
        store.ask(ExpiryPolicy::Ignore, 0, &[b"FLUSHALL"], 0);
        let ((), snapshot) = self.store.0.cut(|| stream.mark());
        Follower { store, kind: Kind::Same, loading: Some((snapshot, Vec::new())) }
    }
}

impl Primary for Leader {
    type Replica = Follower;

    fn execute(&mut self, unit: &[Sent], now_ms: u64, stream: &Stream) -> Law {
        let mut publish = |effects: &Effects<'_>| match self.exhibit {
            None => stream.publish(effects),
            Some(exhibit) => stream.publish(&exhibit.in_place_of(effects, unit)),
        };
        self.store.execute_under(self.policy(), unit, now_ms, &mut publish);
        Ok(())
    }

    /// All that is due.
    fn reclaim(&mut self, _: &Index, now_ms: u64, stream: &Stream) {
        self.reclaim_all(now_ms, stream);
    }

    fn snapshot(&mut self, stream: &Stream) -> Follower {
        self.copied_into(Store::new(), stream)
    }

    fn state(&self) -> State {
        self.store.state()
    }

    fn answers(&self) -> Answers {
        answers(&self.store)
    }

    fn replicas(&self) -> Vec<(&'static str, Follower)> {
        vec![
            ("a replica", Follower::empty(Kind::Same)),
            ("a replica with a 64-bit long double", Follower::empty(Kind::ShortLongDouble)),
            ("a replica that judges deadlines to keep", Follower::empty(Kind::JudgesDeadlinesToKeep)),
        ]
    }
}

/// How many commands the last unit of `history` propagated.
pub fn propagated_by_last(history: &History) -> usize {
    let primary = Store::new();
    let (mut now_ms, mut last) = (START_MS, 0);
    for Timed { advance_ms, step } in &history.steps {
        now_ms = now_ms.saturating_add_signed(*advance_ms);
        if let Step::Unit(unit) = step {
            last = 0;
            primary.execute(unit, now_ms, &mut |effects| last += effects.ops.len());
        }
    }
    last
}

/// What `DUMP` makes of a value that `command` stores under the key `k`.
pub fn dumped(command: &str) -> Bytes {
    let scratch = Store::new();
    let sent = |words: &str| Sent { db: 0, argv: argv(words.split(' ')) };
    let replies = scratch.execute(&[sent(command), sent("DUMP k")], START_MS, &mut |_| ());
    match &replies[..] {
        [_, Reply::Bulk(payload)] => payload.clone(),
        other => panic!("{command}, DUMP k: {other:?}"),
    }
}
