//! Everything a server holds, database by database, and the differences between two servers.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use replcore::resp::Reply;

use super::client::{Argv, Client, argv};
use super::process::{Server, wait_caught_up};
use super::{note, wait_until};

const DATABASES: u16 = 16;
/// A deadline nearer than this is waited for rather than compared: no key is judged while its deadline passes.
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
    /// A hash.
    Hash(BTreeMap<Bytes, Bytes>),
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

/// Waits until all that is due soon is gone and the replicas have caught up, reads all servers and compares them.
/// Returns how many keys they hold.
#[track_caller]
pub fn assert_converged(primary: &Server, replicas: &[Server]) -> usize {
    wait_until("keys with near deadlines are reclaimed", EXPIRED, || match due(primary) {
        0 => Ok(()),
        due => Err(format!("{due} keys are due")),
    });
    for replica in replicas {
        wait_caught_up(primary, replica, EXPIRED);
    }
    let expected = read(primary);
    for replica in replicas {
        let got = read(replica);
        let differences = compare(&expected, &got);
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
                other => panic!("{}: {key:?} has type {other:?}", server.name()),
            }),
        );
        for ((key, value), deadline) in keys.into_iter().zip(values).zip(deadlines) {
            let deadline_ms = match deadline {
                Reply::Integer(deadline_ms) => deadline_ms,
                other => panic!("PEXPIRETIME {key:?}: {other:?}"),
            };
            contents.insert((db, key), Entry { value: value_of(value), deadline_ms });
        }
    }
    contents
}

/// How many keys are due soon, or are due already and not reclaimed yet (DBSIZE counts those, KEYS hides them).
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

fn value_of(reply: Reply) -> Value {
    match reply {
        Reply::Array(items) => {
            let mut items = items.into_iter().map(bulk);
            let mut fields = BTreeMap::new();
            while let (Some(field), Some(value)) = (items.next(), items.next()) {
                fields.insert(field, value);
            }
            Value::Hash(fields)
        }
        text => Value::Text(bulk(text)),
    }
}

/// One line for each key that is not the same on both sides.
pub fn compare(expected: &Contents, got: &Contents) -> Vec<String> {
    let mut differences = Vec::new();
    for ((db, key), entry) in expected {
        match got.get(&(*db, key.clone())) {
            None => differences.push(format!("db{db} {key:?} is missing, should be {}", show(entry))),
            Some(other) if other != entry => {
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
        (Value::Hash(expected), Value::Hash(got)) => {
            let mut fields = expected.keys().chain(got.keys());
            let field = fields.find(|field| expected.get(*field) != got.get(*field));
            let of = |hash: &BTreeMap<Bytes, Bytes>| field.and_then(|field| hash.get(field)).map(show);
            format!("field {field:?} is {:?}, should be {:?}", of(got), of(expected))
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
