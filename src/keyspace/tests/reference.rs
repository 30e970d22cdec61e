//! The keyspace against a naive reference, and a replica that applies the stream against both.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

/// What a key is, spelled out: one map, no shards, no index, no laziness.
#[derive(Clone, Debug, PartialEq)]
enum Thing {
    Text(String),
    Fields(BTreeMap<String, String>),
}

#[derive(Clone, Debug, Default)]
struct Reference {
    keys: BTreeMap<String, (Thing, Option<u64>)>,
    now_ms: u64,
}

const WRONG_TYPE: &str = "-WRONGTYPE Operation against a key holding the wrong kind of value";

impl Reference {
    fn text(&self, key: &str) -> Result<Option<&String>, String> {
        match self.keys.get(key) {
            None => Ok(None),
            Some((Thing::Text(text), _)) => Ok(Some(text)),
            Some(_) => Err(WRONG_TYPE.to_owned()),
        }
    }

    fn fields(&mut self, key: &str) -> Result<&mut BTreeMap<String, String>, String> {
        let (thing, _) = self.keys.entry(key.to_owned()).or_insert((Thing::Fields(BTreeMap::new()), None));
        match thing {
            Thing::Fields(fields) => Ok(fields),
            Thing::Text(_) => Err(WRONG_TYPE.to_owned()),
        }
    }

    /// Empty hashes and expired keys are no keys.
    fn tidy(&mut self) {
        let now_ms = self.now_ms;
        self.keys.retain(|_, (thing, deadline_ms)| {
            *thing != Thing::Fields(BTreeMap::new())
                && deadline_ms.is_none_or(|deadline_ms| now_ms <= deadline_ms)
        });
    }

    fn run(&mut self, command: &str) -> String {
        self.tidy();
        let words: Vec<&str> = command.split_whitespace().collect();
        let reply = self.answer(&words).unwrap_or_else(|error| error);
        self.tidy();
        reply
    }

    fn answer(&mut self, words: &[&str]) -> Result<String, String> {
        let deadline_of =
            |this: &Self, key: &str| this.keys.get(key).and_then(|(_, deadline_ms)| *deadline_ms);
        Ok(match *words {
            ["get", key] => self.text(key)?.cloned().unwrap_or("nil".into()),
            ["set", key, value, ref options @ ..] => {
                let exists = self.keys.contains_key(key);
                let deadline_ms = match *options {
                    ["nx"] if exists => return Ok("nil".into()),
                    ["xx"] if !exists => return Ok("nil".into()),
                    ["px", ms] => Some(self.now_ms + ms.parse::<u64>().expect("ms")),
                    ["keepttl"] => deadline_of(self, key),
                    _ => None,
                };
                self.keys.insert(key.into(), (Thing::Text(value.into()), deadline_ms));
                "OK".into()
            }
            ["append", key, tail] => {
                let text = self.text(key)?.cloned().unwrap_or_default() + tail;
                let (len, deadline_ms) = (text.len(), deadline_of(self, key));
                self.keys.insert(key.into(), (Thing::Text(text), deadline_ms));
                format!(":{len}")
            }
            ["incrby", key, n] => {
                let old = self.text(key)?.map_or(Ok(0), |text| text.parse::<i64>());
                let old = old.map_err(|_| "-ERR value is not an integer or out of range".to_owned())?;
                let (new, deadline_ms) = (old + n.parse::<i64>().expect("n"), deadline_of(self, key));
                self.keys.insert(key.into(), (Thing::Text(new.to_string()), deadline_ms));
                format!(":{new}")
            }
            ["getdel", key] => {
                let text = self.text(key)?.cloned();
                self.keys.remove(key);
                text.unwrap_or("nil".into())
            }
            ["del", a, b] => {
                let found = [a, b].iter().filter(|key| self.keys.remove(**key).is_some()).count();
                format!(":{found}")
            }
            ["rename", from, to] => {
                let found = self.keys.remove(from).ok_or("-ERR no such key")?;
                self.keys.insert(to.into(), found);
                "OK".into()
            }
            ["pexpireat", key, at, ref condition @ ..] => {
                let at: u64 = at.parse().expect("a time");
                let now_ms = self.now_ms;
                let Some((_, deadline_ms)) = self.keys.get_mut(key) else { return Ok(":0".into()) };
                let met = match *condition {
                    ["nx"] => deadline_ms.is_none(),
                    ["gt"] => deadline_ms.is_some_and(|old| at > old),
                    ["lt"] => deadline_ms.is_none_or(|old| at < old),
                    _ => true,
                };
                if met {
                    *deadline_ms = Some(at);
                    if at <= now_ms {
                        self.keys.remove(key);
                    }
                }
                format!(":{}", i32::from(met))
            }
            ["pexpiretime", key] => match self.keys.get(key) {
                None => ":-2".into(),
                Some((_, deadline_ms)) => format!(":{}", deadline_ms.map_or(-1, |ms| ms as i64)),
            },
            ["persist", key] => {
                let old = self.keys.get_mut(key).and_then(|(_, deadline_ms)| deadline_ms.take());
                format!(":{}", i32::from(old.is_some()))
            }
            ["hset", key, field, value] => {
                let old = self.fields(key)?.insert(field.into(), value.into());
                format!(":{}", i32::from(old.is_none()))
            }
            ["hdel", key, field] => {
                let old = self.fields(key)?.remove(field);
                format!(":{}", i32::from(old.is_some()))
            }
            ["hget", key, field] => self.fields(key)?.get(field).cloned().unwrap_or("nil".into()),
            ["hlen", key] => format!(":{}", self.fields(key)?.len()),
            ["flushall"] => {
                self.keys.clear();
                "OK".into()
            }
            _ => panic!("no reference for {words:?}"),
        })
    }
}

fn command() -> impl Strategy<Value = String> {
    let key = || (0u8..6).prop_map(|n| format!("k{n}"));
    let field = || 0u8..3;
    let options = prop_oneof![
        4 => Just(String::new()),
        1 => Just("nx".to_owned()),
        1 => Just("xx".to_owned()),
        1 => Just("keepttl".to_owned()),
        2 => (1u64..40).prop_map(|ms| format!("px {ms}")),
    ];
    let condition = prop::sample::select(vec!["", "nx", "gt", "lt"]);
    prop_oneof![
        3 => key().prop_map(|k| format!("get {k}")),
        5 => (key(), 0u8..9, options).prop_map(|(k, v, o)| format!("set {k} {v} {o}")),
        2 => (key(), 0u8..9).prop_map(|(k, v)| format!("append {k} {v}x")),
        2 => (key(), -9i64..9).prop_map(|(k, n)| format!("incrby {k} {n}")),
        1 => key().prop_map(|k| format!("getdel {k}")),
        1 => (key(), key()).prop_map(|(a, b)| format!("del {a} {b}")),
        2 => (key(), key()).prop_map(|(a, b)| format!("rename {a} {b}")),
        3 => (key(), 1000u64..1200, condition).prop_map(|(k, at, c)| format!("pexpireat {k} {at} {c}")),
        2 => key().prop_map(|k| format!("pexpiretime {k}")),
        1 => key().prop_map(|k| format!("persist {k}")),
        3 => (key(), field(), 0u8..9).prop_map(|(k, f, v)| format!("hset {k} f{f} {v}")),
        2 => (key(), field()).prop_map(|(k, f)| format!("hdel {k} f{f}")),
        1 => (key(), field()).prop_map(|(k, f)| format!("hget {k} f{f}")),
        1 => key().prop_map(|k| format!("hlen {k}")),
        1 => Just("flushall".to_owned()),
    ]
}

/// Everything that is stored and has not expired at `now_ms`.
fn visible(keyspace: &Arc<Keyspace>, now_ms: u64) -> BTreeMap<String, (Thing, Option<u64>)> {
    let string = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
    let ((), snapshot) = keyspace.cut(|| ());
    let alive = snapshot.flatten().filter(|entry| entry.deadline_ms.is_none_or(|ms| now_ms <= ms));
    alive
        .map(|entry| {
            let thing = match &entry.value {
                Value::String(text) => Thing::Text(string(text)),
                Value::Hash(hash) => Thing::Fields(
                    hash.iter().map(|f| (string(&f.name.to_bytes()), string(&f.value.to_bytes()))).collect(),
                ),
                other => unreachable!("no command of this test makes a {}", other.type_name()),
            };
            (string(&entry.key), (thing, entry.deadline_ms))
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Replies and state are the reference's; and a replica whose clock is wrong, which applies what was
    /// published, stores exactly what the primary stores.
    #[test]
    fn replies_state_and_stream_agree(steps in prop::collection::vec((command(), 0u64..12, 0u8..20), 1..120)) {
        let mut reference = Reference { now_ms: 1000, ..Reference::default() };
        let primary = Arc::new(Keyspace::new(Options { shards: 3, ..Options::default() }));
        let replica = Arc::new(Keyspace::new(Options { shards: 2, ..Options::default() }));
        for (command, ms, cycle) in steps {
            reference.now_ms += ms;
            let now_ms = reference.now_ms;
            let mut apply = |effects: &Effects<'_>| {
                let call = |op: &crate::rewrite::Op<'_>| Call { db: op.db, argv: op.argv.to_vec() };
                let calls: Vec<Call> = effects.ops.iter().map(call).collect();
                let far_future_ms = 9_000_000;
                for reply in replica.execute_under(ExpiryPolicy::Ignore, &calls, far_future_ms, &mut |_| {}) {
                    assert!(!matches!(reply, Reply::Error(_)), "{reply:?} to {effects:?}");
                }
            };
            if cycle == 0 {
                primary.expire_cycle(now_ms, Duration::from_secs(60), &mut apply);
            }
            let call = Call { db: 0, argv: argv(&command) };
            let reply = primary.execute(&[call], now_ms, &mut apply).remove(0);
            prop_assert_eq!(text(&reply), reference.run(&command), "the reply to {} at {}", command, now_ms);
            prop_assert_eq!(&visible(&primary, now_ms), &reference.keys);
            prop_assert_eq!(visible(&replica, 0), visible(&primary, 0), "the replica after {}", command);
        }
    }

    /// The index of deadlines holds exactly the keys that have one.
    #[test]
    fn every_deadline_is_indexed(commands in prop::collection::vec(command(), 1..80)) {
        let mut server = Server::new();
        for command in commands {
            server.run(&command);
            for number in 0..server.keyspace.options.shards {
                let shard = server.keyspace.lock_shard(number);
                for table in shard.tables() {
                    let with_deadline =
                        table.map.iter().filter_map(|(key, entry)| Some((entry.deadline_ms?, key.clone())));
                    let indexed = table.deadlines.iter().map(|due| {
                        let (key, _) = table.at_due(due).expect("a place is that of a key");
                        (due.deadline_ms, key.clone())
                    });
                    prop_assert_eq!(
                        with_deadline.collect::<BTreeSet<_>>(),
                        indexed.collect::<BTreeSet<_>>()
                    );
                    let count = table.map.values().filter(|entry| entry.deadline_ms.is_some()).count();
                    prop_assert_eq!(table.deadlines.len(), count);
                }
            }
        }
    }
}
