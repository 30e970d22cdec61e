//! Everything a server holds, database by database, and the differences between two servers.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use replcore::resp::Reply;

use super::client::{Argv, Client, argv};
use super::process::{Server, wait_caught_up};
use super::stored::{self, Fields};
use super::{note, wait_until};

const DATABASES: u16 = 16;
/// A deadline nearer than this is waited for rather than compared: no key is judged while its deadline
/// passes.
const QUIET: Duration = Duration::from_secs(120);
/// Short deadlines of the load, plus what active expiry takes to come round.
const EXPIRED: Duration = Duration::from_secs(30);
/// How many differences a failure shows.
const SHOWN_DIFFERENCES: usize = 10;
/// How much of a value a failure shows.
const SHOWN_BYTES: usize = 120;

/// What is under one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A string.
    Text(Bytes),
    /// A hash: the fields that clients see, and those that are stored, with their deadlines.
    Hash {
        /// As `HGETALL` answers.
        visible: BTreeMap<Bytes, Bytes>,
        /// Dead ones included.
        stored: Fields,
    },
    /// A list.
    List(Vec<Bytes>),
    /// A set.
    Set(BTreeSet<Bytes>),
    /// A sorted set, in its order; a score as the bits of its double, because servers print it in different
    /// lengths.
    SortedSet(Vec<(Bytes, u64)>),
}

/// One key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its value.
    pub value: Value,
    /// Its deadline in ms since the Unix epoch; -1 for none.
    pub deadline_ms: i64,
}

/// All keys of all databases.
pub type Contents = BTreeMap<(u16, Bytes), Entry>;

/// Waits until all that is due soon is gone and the replicas have caught up, reads all servers and compares
/// them. Returns how many keys they hold.
#[track_caller]
pub fn assert_converged(primary: &Server, replicas: &[Server]) -> usize {
    wait_reclaimed(primary);
    let (expected, replicas_differences) = differences(primary, replicas);
    for (replica, (got, differences)) in replicas.iter().zip(replicas_differences) {
        for difference in differences.iter().take(SHOWN_DIFFERENCES) {
            note!("{} differs from {}: {difference}", replica.name(), primary.name());
        }
        assert!(
            differences.is_empty(),
            "{} holds {} keys, {} holds {}; {} differ",
            primary.name(),
            expected.len(),
            replica.name(),
            got.len(),
            differences.len()
        );
    }
    expected.len()
}

/// Waits until all that is due soon is gone.
#[track_caller]
pub fn wait_reclaimed(server: &Server) {
    wait_until("keys with near deadlines are reclaimed", EXPIRED, || match due(server) {
        0 => Ok(()),
        due => Err(format!("{due} keys are due")),
    });
}

/// Waits until the replicas have caught up; what the primary holds, and what each replica holds and how it
/// differs.
#[track_caller]
pub fn differences(primary: &Server, replicas: &[Server]) -> (Contents, Vec<(Contents, Vec<String>)>) {
    for replica in replicas {
        wait_caught_up(primary, replica, EXPIRED);
    }
    let expected = read(primary);
    let of = |replica| {
        let got = read(replica);
        let differences = compare(&expected, &got);
        (got, differences)
    };
    let differences = replicas.iter().map(of).collect();
    (expected, differences)
}

fn now_ms() -> u128 {
    std::time::UNIX_EPOCH.elapsed().expect("the clock is past 1970").as_millis()
}

/// Reads every key with its value and deadline.
#[track_caller]
pub fn read(server: &Server) -> Contents {
    let mut client = server.client();
    let mut contents = Contents::new();
    for db in 0..DATABASES {
        client.call(argv!["SELECT", db]);
        let keys = keys(&mut client);
        // DBSIZE counts dead keys that KEYS hides: one that was not deleted in time shows here.
        let size = client.call_integer(argv!["DBSIZE"]);
        assert_eq!(size, keys.len() as i64, "{}: DBSIZE and KEYS of database {db}", server.name());
        let kinds = ask(&mut client, keys.iter().map(|key| argv!["TYPE", key]));
        let deadlines = ask(&mut client, keys.iter().map(|key| argv!["PEXPIRETIME", key]));
        let values = ask(
            &mut client,
            keys.iter().zip(&kinds).map(|(key, kind)| match kind {
                Reply::Status(kind) if kind == "string" => argv!["GET", key],
                Reply::Status(kind) if kind == "hash" => argv!["HGETALL", key],
                Reply::Status(kind) if kind == "list" => argv!["LRANGE", key, 0, -1],
                Reply::Status(kind) if kind == "set" => argv!["SMEMBERS", key],
                Reply::Status(kind) if kind == "zset" => argv!["ZRANGE", key, 0, -1, "WITHSCORES"],
                other => panic!("{}: {key:?} has type {other:?}", server.name()),
            }),
        );
        let volatile = has_field_deadlines(&mut client, db);
        let dumps = ask(
            &mut client,
            keys.iter().zip(&kinds).map(|(key, kind)| match kind {
                Reply::Status(kind) if kind == "hash" && volatile => argv!["DUMP", key],
                _ => argv!["PING"],
            }),
        );
        for ((((key, value), deadline), kind), dump) in
            keys.into_iter().zip(values).zip(deadlines).zip(kinds).zip(dumps)
        {
            let deadline_ms = match deadline {
                Reply::Integer(deadline_ms) => deadline_ms,
                other => panic!("PEXPIRETIME {key:?}: {other:?}"),
            };
            contents.insert((db, key), Entry { value: value_of(&kind, value, &dump), deadline_ms });
        }
    }
    contents
}

/// How many keys are due soon, or are due already and not reclaimed yet (DBSIZE counts those, KEYS hides
/// them).
fn due(server: &Server) -> usize {
    let horizon_ms = i64::try_from(now_ms() + QUIET.as_millis()).expect("a date in the near future");
    let mut client = server.client();
    let mut due = 0;
    for db in 0..DATABASES {
        client.call(argv!["SELECT", db]);
        let stored = client.call_integer(argv!["DBSIZE"]);
        let keys = keys(&mut client);
        due += usize::try_from(stored).expect("DBSIZE is not negative").saturating_sub(keys.len());
        let deadlines = ask(&mut client, keys.iter().map(|key| argv!["PEXPIRETIME", key]));
        let soon = |reply: &&Reply| matches!(reply, Reply::Integer(at_ms) if (0..horizon_ms).contains(at_ms));
        due += deadlines.iter().filter(soon).count();
    }
    due
}

/// Whether a hash of a database has a field with a deadline.
fn has_field_deadlines(client: &mut Client, db: u16) -> bool {
    let keyspace = client.info_section("keyspace");
    let volatile =
        keyspace.get(&format!("db{db}")).and_then(|counts| counts.split("keys_with_volatile_items=").nth(1));
    volatile.is_some_and(|count| count != "0")
}

fn keys(client: &mut Client) -> Vec<Bytes> {
    match client.call(argv!["KEYS", "*"]) {
        Reply::Array(keys) => keys.into_iter().map(bulk).collect(),
        other => panic!("KEYS answered {other:?}"),
    }
}

fn ask(client: &mut Client, commands: impl Iterator<Item = Argv>) -> Vec<Reply> {
    client.pipeline(&commands.collect::<Vec<_>>()).expect("the server answers")
}

fn bulk(reply: Reply) -> Bytes {
    match reply {
        Reply::Bulk(bytes) => bytes,
        other => panic!("expected a bulk string, got {other:?}"),
    }
}

/// What is under a key of this type, by the reply to the command that reads it and, of a hash that may have
/// deadlines, to `DUMP`.
fn value_of(kind: &Reply, reply: Reply, dump: &Reply) -> Value {
    let Reply::Array(items) = reply else { return Value::Text(bulk(reply)) };
    let mut items = items.into_iter().map(bulk);
    let mut pairs = Vec::new();
    match kind {
        Reply::Status(kind) if kind == "list" => return Value::List(items.collect()),
        Reply::Status(kind) if kind == "set" => return Value::Set(items.collect()),
        _ => {}
    }
    while let (Some(first), Some(second)) = (items.next(), items.next()) {
        pairs.push((first, second));
    }
    match kind {
        Reply::Status(kind) if kind == "zset" => {
            let bits = |score: &[u8]| {
                let text = String::from_utf8_lossy(score);
                text.parse::<f64>().unwrap_or_else(|_| panic!("a score {text:?}")).to_bits()
            };
            Value::SortedSet(pairs.into_iter().map(|(member, score)| (member, bits(&score))).collect())
        }
        _ => {
            let stored = match dump {
                Reply::Bulk(_) => stored::fields(dump),
                _ => pairs.iter().map(|(field, value)| (field.clone(), (value.clone(), None))).collect(),
            };
            Value::Hash { visible: pairs.into_iter().collect(), stored }
        }
    }
}

impl Value {
    /// Whether it is the same, deadlines of fields up to `slack_ms` apart.
    fn is(&self, other: &Value, slack_ms: u64) -> bool {
        match (self, other) {
            (
                Value::Hash { visible, stored },
                Value::Hash { visible: others_visible, stored: others_stored },
            ) => {
                visible == others_visible
                    && stored.len() == others_stored.len()
                    && stored.iter().zip(others_stored).all(|((name, field), (other_name, other))| {
                        name == other_name && is_field(field, other, slack_ms)
                    })
            }
            (value, other) => value == other,
        }
    }
}

/// Whether a field is the same.
fn is_field(
    (value, deadline): &(Bytes, Option<u64>),
    (other, others_deadline): &(Bytes, Option<u64>),
    slack_ms: u64,
) -> bool {
    let near = matches!((deadline, others_deadline), (Some(a), Some(b)) if a.abs_diff(*b) <= slack_ms);
    value == other && (deadline == others_deadline || near)
}

/// One line for each key that is not the same on both sides.
pub fn compare(expected: &Contents, got: &Contents) -> Vec<String> {
    compare_within(expected, got, 0)
}

/// Like [`compare`] for servers that made their deadlines by themselves: those may be `slack_ms` apart.
pub fn compare_within(expected: &Contents, got: &Contents, slack_ms: u64) -> Vec<String> {
    let same = |a: &Entry, b: &Entry| {
        let both_set = a.deadline_ms >= 0 && b.deadline_ms >= 0;
        let near = both_set && a.deadline_ms.abs_diff(b.deadline_ms) <= slack_ms;
        a.value.is(&b.value, slack_ms) && (a.deadline_ms == b.deadline_ms || near)
    };
    let mut differences = Vec::new();
    for ((db, key), entry) in expected {
        match got.get(&(*db, key.clone())) {
            None => differences.push(format!("db{db} {key:?} is missing, should be {}", show(entry))),
            Some(other) if !same(entry, other) => {
                differences.push(format!("db{db} {key:?} {}", difference(entry, other)));
            }
            Some(_) => {}
        }
    }
    let surplus = got.iter().filter(|(key, _)| !expected.contains_key(key));
    differences.extend(
        surplus.map(|((db, key), entry)| format!("db{db} {key:?} should not be there: {}", show(entry))),
    );
    differences
}

/// Where two values under one key part.
fn difference(expected: &Entry, got: &Entry) -> String {
    if expected.deadline_ms != got.deadline_ms {
        return format!("has deadline {}, should have {}", got.deadline_ms, expected.deadline_ms);
    }
    match (&expected.value, &got.value) {
        (Value::Text(expected), Value::Text(got)) => {
            let at = expected.iter().zip(got).take_while(|(a, b)| a == b).count();
            let (got_len, expected_len) = (got.len(), expected.len());
            let (got, expected) = (show(&got.slice(at..)), show(&expected.slice(at..)));
            format!(
                "has {got_len} bytes, should have {expected_len}; from byte {at} on {got}, should be {expected}"
            )
        }
        (
            Value::Hash { stored: expected, visible: expected_visible },
            Value::Hash { stored: got, visible: got_visible },
        ) => {
            let mut fields = expected.keys().chain(got.keys());
            let field = fields.find(|field| {
                expected.get(*field) != got.get(*field)
                    || expected_visible.get(*field) != got_visible.get(*field)
            });
            let of = |hash: &Fields, visible: &BTreeMap<Bytes, Bytes>| {
                let stored = field.and_then(|field| hash.get(field));
                let seen = field.is_some_and(|field| visible.contains_key(field));
                stored.map(|stored| format!("{} ({})", show(stored), if seen { "seen" } else { "hidden" }))
            };
            let (expected, got) = (of(expected, expected_visible), of(got, got_visible));
            format!("field {field:?} is {got:?}, should be {expected:?}")
        }
        _ => format!("is {}, should be {}", show(got), show(expected)),
    }
}

fn show(value: &impl std::fmt::Debug) -> String {
    let mut text = format!("{value:?}");
    let len = text.len();
    if len > SHOWN_BYTES {
        text.truncate((0..=SHOWN_BYTES).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0));
        text.push_str(&format!("… ({len} characters)"));
    }
    text
}
