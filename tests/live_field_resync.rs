//! Full resyncs of hashes whose fields have deadlines: to real replicas that can hold them, and to one that
//! cannot.
//!
//! `REPLCORE_TEST_FIELDS` sets how many fields the largest transfer has.
#![cfg(feature = "server")]

mod support;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use replcore::rdb::{Event, Kind, Limits, PayloadWriter, Reader, Value};
use replcore::resp::Reply;

use support::client::{Argv, argv};
use support::stored::{Fields, fields};
use support::stream::{Answer, RawReplica};
use support::{Client, Link, Program, Scratch, Server, note, seed, wait_caught_up, wait_link_up, wait_until};

const RESYNC: Duration = Duration::from_secs(60);
/// Fields that one command of the tests names.
const FIELDS_PER_COMMAND: usize = 500;
/// In the year 2255: never due.
const FAR_MS: u64 = 9_000_000_000_000;

/// What a server has stored in its hashes, what it hides included.
type Stored = BTreeMap<Bytes, Fields>;

fn stored(client: &mut Client) -> Stored {
    let Reply::Array(keys) = client.call(argv!["KEYS", "*"]) else { panic!("KEYS answers an array") };
    let keys: Vec<Bytes> = keys.iter().map(support::stored::text).collect();
    let dumps: Vec<Argv> = keys.iter().map(|key| argv!["DUMP", key]).collect();
    let dumps = client.pipeline(&dumps).expect("the server answers");
    keys.into_iter().zip(dumps.iter().map(fields)).collect()
}

/// Waits until `replica` has everything and compares all that both have stored. Returns how many fields that
/// is.
#[track_caller]
fn assert_same_fields(primary: &Server, replica: &Server) -> usize {
    wait_caught_up(primary, replica, RESYNC);
    let (expected, got) = (stored(&mut primary.client()), stored(&mut replica.client()));
    for (key, fields) in &expected {
        let empty = Fields::new();
        let other = got.get(key).unwrap_or(&empty);
        let wrong = fields.iter().find(|(name, field)| other.get(*name) != Some(*field));
        if let Some((name, field)) = wrong {
            panic!("{key:?} {name:?} is {:?} on {}, should be {field:?}", other.get(name), replica.name());
        }
        let surplus = other.keys().find(|name| !fields.contains_key(*name));
        assert_eq!(surplus, None, "{key:?} on {}", replica.name());
    }
    let surplus = got.keys().find(|key| !expected.contains_key(*key));
    assert_eq!(surplus, None, "a key of {}", replica.name());
    expected.values().map(Fields::len).sum()
}

/// A primary that reclaims nothing by itself.
fn frozen_primary(scratch: &Scratch) -> Server {
    let primary = Server::start(Program::Replcore, "primary", scratch);
    primary.client().call(argv!["DEBUG", "SET-ACTIVE-EXPIRE", 0]);
    primary
}

/// `RESTORE` of a hash with these fields.
fn restore(key: &str, fields: &[(&str, Option<u64>)]) -> Argv {
    let len = fields.len() as u64;
    let mut payload = PayloadWriter::collection(Kind::HashWithDeadlines, len).expect("some fields");
    for (name, deadline_ms) in fields {
        payload.field(name.as_bytes(), b"restored", *deadline_ms).expect("a field");
    }
    argv!["RESTORE", key, 0, payload.finish().expect("all fields"), "REPLACE"]
}

/// Fields `from..to` of a hash, each with a value and a deadline of its own.
fn hsetex(key: &str, numbers: std::ops::Range<usize>) -> Vec<Argv> {
    let set = |n: usize| {
        argv![
            "HSETEX",
            key,
            "PXAT",
            FAR_MS + (n as u64 * 7_919) % 1_000_000,
            "FIELDS",
            1,
            format!("field:{n}"),
            n
        ]
    };
    numbers.map(set).collect()
}

#[test]
fn real_replicas_get_every_field_value_and_deadline() {
    let count: usize = std::env::var("REPLCORE_TEST_FIELDS")
        .map_or(20_000, |count| count.parse().expect("a number of fields"));
    let scratch = Scratch::new("field-snapshot");
    let primary = frozen_primary(&scratch);
    let mut client = primary.client();
    // One large hash, many small ones, and the extremes, most of them dead.
    for from in (0..count).step_by(FIELDS_PER_COMMAND) {
        let to = (from + FIELDS_PER_COMMAND).min(count);
        client.pipeline(&hsetex("large", from..to)).expect("the primary answers");
    }
    for key in 0..1_000 {
        let key = format!("small:{key}");
        let mut commands = hsetex(&key, 0..3);
        commands.push(argv!["HSET", &key, "none", "v"]);
        client.pipeline(&commands).expect("the primary answers");
    }
    let extremes = [("zero", Some(0)), ("one", Some(1)), ("last", Some(i64::MAX as u64)), ("none", None)];
    client.call(restore("extremes", &extremes));
    client.call(restore("dead", &extremes[..2]));
    client.call(argv!["HSET", "plain", "f", "v"]);

    for program in [Program::Valkey, Program::Valkey90] {
        let replica = Server::start(program, "replica", &scratch);
        let link = Link::to(primary.address());
        replica.replicate(&link);
        wait_link_up(&replica, RESYNC);
        assert_eq!(assert_same_fields(&primary, &replica), count + 4_000 + 4 + 2 + 1, "{program:?}");
        let mut reader = replica.client();
        let asked = argv!["HPEXPIRETIME", "extremes", "FIELDS", 5, "zero", "one", "last", "none", "missing"];
        let times = [-2, -2, i64::MAX, -1, -2].map(Reply::Integer).to_vec();
        assert_eq!(reader.call(asked.clone()), Reply::Array(times), "{program:?}");
        assert_eq!(reader.call(asked.clone()), client.call(asked));
        // What follows applies to dead fields as well: they are there.
        client.call(argv!["HSETEX", "dead", "PXAT", FAR_MS, "FIELDS", 1, "one", "alive"]);
        client.call(argv!["HDEL", "extremes", "none"]);
        assert_same_fields(&primary, &replica);
        client.call(restore("extremes", &extremes));
        client.call(restore("dead", &extremes[..2]));
        assert_same_fields(&primary, &replica);
    }
}

/// One command of a writer: any that touches fields, near deadlines among them.
fn command(rng: &mut StdRng) -> Argv {
    let key = format!("hash:{}", rng.random_range(0..40));
    let field = format!("f{}", rng.random_range(0..30));
    let value = rng.random_range(0..1_000_u64);
    let near = rng.random_range(1..400_u64);
    match rng.random_range(0..12) {
        0 => argv!["HSET", key, field, value],
        1 | 2 => argv!["HSETEX", key, "PX", near, "FIELDS", 1, field, value],
        3 => argv!["HSETEX", key, "PXAT", FAR_MS + value, "FIELDS", 1, field, value],
        4 => argv!["HSETEX", key, "KEEPTTL", "FIELDS", 1, field, value],
        5 => argv!["HPEXPIRE", key, near, "FIELDS", 2, field, "f1"],
        6 => argv!["HPEXPIREAT", key, FAR_MS + value, "FIELDS", 2, field, "f2"],
        7 => argv!["HPERSIST", key, "FIELDS", 2, field, "f3"],
        8 => argv!["HDEL", key, field, "f4"],
        9 => argv!["HGETEX", key, "PX", near, "FIELDS", 1, field],
        10 => argv!["HINCRBY", key, format!("n{}", value % 5), value],
        _ => argv!["UNLINK", key],
    }
}

#[test]
fn replicas_that_are_cut_off_while_fields_come_and_go_end_up_equal() {
    const ROUNDS: u32 = 8;
    let seed = seed();
    note!("REPLCORE_TEST_SEED={seed}");
    let scratch = Scratch::new("field-cuts");
    let primary = Server::start(Program::Replcore, "primary", &scratch);
    // Whoever was away has missed more than this.
    primary.configure(&[("repl-backlog-size", "16384")]);
    let mut client = primary.client();
    for from in (0..20_000).step_by(FIELDS_PER_COMMAND) {
        client.pipeline(&hsetex("large", from..from + FIELDS_PER_COMMAND)).expect("the primary answers");
    }
    let programs = [Program::Valkey, Program::Valkey90];
    let replicas = programs.map(|program| Server::start(program, &format!("{program:?}"), &scratch));
    let links = programs.map(|_| Link::to(primary.address()));
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for writer in 0..3 {
            let (mut client, stop) = (primary.client(), &stop);
            let mut rng = StdRng::seed_from_u64(seed ^ writer);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let batch: Vec<Argv> = (0..20).map(|_| command(&mut rng)).collect();
                    client.pipeline(&batch).expect("the primary answers");
                }
            });
        }
        let rounds = scope.spawn(|| {
            let mut rng = StdRng::seed_from_u64(seed ^ 77);
            for (replica, link) in replicas.iter().zip(&links) {
                replica.replicate(link);
            }
            for round in 0..ROUNDS {
                for link in &links {
                    // In the snapshot, which has about 600 kB, or behind it.
                    link.close_after(rng.random_range(1..900_000));
                }
                for link in &links {
                    link.wait_closed(RESYNC);
                    link.open();
                }
                if round % 2 == 1 {
                    replicas.iter().for_each(|replica| wait_link_up(replica, RESYNC));
                }
            }
            replicas.iter().for_each(|replica| wait_link_up(replica, RESYNC));
        });
        let rounds = rounds.join();
        stop.store(true, Ordering::Relaxed);
        assert!(rounds.is_ok(), "a replica did not come back");
    });
    // What is due now stays on both sides.
    client.call(argv!["DEBUG", "SET-ACTIVE-EXPIRE", 0]);
    let info = client.info();
    assert!(info.number("sync_full") > 4, "{} full resyncs", info.number("sync_full"));
    assert!(info.number("expired_fields") > 0, "fields expired meanwhile");
    for replica in &replicas {
        note!("{} fields are equal on {}", assert_same_fields(&primary, replica), replica.name());
    }
}

/// Waits for the counter of refusals to pass `before`; what INFO says then.
#[track_caller]
fn wait_refused(client: &mut Client, before: u64) -> support::client::Info {
    wait_until("the replica is refused", RESYNC, || {
        let info = client.info();
        if info.number("replicas_refused") > before { Ok(info) } else { Err("it is not".to_owned()) }
    })
}

#[test]
fn a_redis_replica_is_refused_in_the_open_and_gets_plain_data() {
    let scratch = Scratch::new("field-refusal");
    let primary = frozen_primary(&scratch);
    let mut client = primary.client();
    client.call(argv!["HSET", "plain", "f", "v"]);
    let redis = Server::start(Program::Redis, "redis", &scratch);
    let link = Link::to(primary.address());
    redis.replicate(&link);
    wait_link_up(&redis, RESYNC);
    client.call(argv!["HSET", "plain", "g", "w"]);
    // These two are HSET and HDEL for a replica.
    client.call(argv!["HSETEX", "plain", "FIELDS", 1, "h", "x"]);
    client.call(argv!["HGETDEL", "plain", "FIELDS", 1, "f"]);
    assert_eq!(assert_same_fields(&primary, &redis), 2);
    assert_eq!(client.info().number("replicas_refused"), 0);

    // The first deadline parts them, before the command: nothing that Redis does not know arrives there.
    client.call(argv!["HSETEX", "h", "PXAT", FAR_MS, "FIELDS", 1, "f", "v"]);
    let info = wait_refused(&mut client, 0);
    let port = redis.address().port();
    assert_eq!(info.text("last_refused_replica"), format!("127.0.0.1:{port}"));
    let info = wait_refused(&mut client, 1);
    let reason = info.text("last_refusal_reason");
    assert!(
        reason.starts_with("hashes with field deadlines: 1; the replica announced no version"),
        "{reason}"
    );
    assert!(primary.log_count("replica refused: hashes with field deadlines: 1") > 0, "the log says it");
    wait_until("the replica's log says why", RESYNC, || {
        match redis.log_count("error state (reply: -ERR hashes with field deadlines: 1") {
            0 => Err(redis.log()),
            _ => Ok(()),
        }
    });
    assert_eq!(redis.log_count("unknown command"), 0);
    let mut reader = redis.client();
    assert_eq!(reader.call_integer(argv!["EXISTS", "h"]), 0);
    assert_eq!(
        reader.call(argv!["HGET", "plain", "g"]),
        Reply::Bulk(Bytes::from("w")),
        "it keeps what it had"
    );

    // Who comes new is refused as well, and without the deadline both are welcome.
    let second = Server::start(Program::Redis, "second", &scratch);
    let second_link = Link::to(primary.address());
    second.replicate(&second_link);
    let port = second.address().port().to_string();
    wait_until("the second is refused", RESYNC, || {
        let info = client.info();
        let last = info.text("last_refused_replica");
        if last.ends_with(&port) { Ok(()) } else { Err(format!("the last was {last}")) }
    });
    client.call(argv!["HPERSIST", "h", "FIELDS", 1, "f"]);
    for replica in [&redis, &second] {
        wait_link_up(replica, RESYNC);
        assert_eq!(assert_same_fields(&primary, replica), 3);
        assert_eq!(replica.log_count("unknown command"), 0);
    }
}

#[test]
fn a_redis_replica_gets_hashes_without_deadlines_if_the_operator_wants_it() {
    let scratch = Scratch::new("field-strip");
    let primary = frozen_primary(&scratch);
    primary.configure(&[("repl-field-deadlines-policy", "strip")]);
    let mut client = primary.client();
    client.pipeline(&hsetex("far", 0..100)).expect("the primary answers");
    client.call(restore("mixed", &[("dead", Some(1)), ("far", Some(FAR_MS)), ("none", None)]));
    let redis = Server::start(Program::Redis, "redis", &scratch);
    let link = Link::to(primary.address());
    redis.replicate(&link);
    wait_link_up(&redis, RESYNC);
    wait_caught_up(&primary, &redis, RESYNC);
    let bare = |fields: Stored| -> Stored {
        let strip = |(name, (value, _)): (Bytes, (Bytes, Option<u64>))| (name, (value, None));
        fields.into_iter().map(|(key, fields)| (key, fields.into_iter().map(strip).collect())).collect()
    };
    assert_eq!(stored(&mut redis.client()), bare(stored(&mut client)));

    // What the primary reclaims leaves the replica too.
    client.call(argv!["DEBUG", "SET-ACTIVE-EXPIRE", 1]);
    wait_until("the dead field is reclaimed", RESYNC, || match client.call_integer(argv!["HLEN", "mixed"]) {
        2 => Ok(()),
        len => Err(format!("{len} fields")),
    });
    wait_caught_up(&primary, &redis, RESYNC);
    assert_eq!(redis.client().call_integer(argv!["HLEN", "mixed"]), 2);
    assert_eq!(client.info().number("replicas_refused"), 0);
}

#[test]
fn a_snapshot_of_a_real_valkey_is_read_with_every_deadline() {
    let scratch = Scratch::new("field-read");
    let valkey = Server::start(Program::Valkey, "valkey", &scratch);
    let mut client = valkey.client();
    client.call(argv!["DEBUG", "SET-ACTIVE-EXPIRE", 0]);
    client.pipeline(&hsetex("many", 0..2_000)).expect("it answers");
    let extremes = [("zero", Some(0)), ("one", Some(1)), ("last", Some(i64::MAX as u64)), ("none", None)];
    client.call(restore("extremes", &extremes));
    client.call(restore("dead", &extremes[..2]));
    let expected = stored(&mut client);

    let mut replica = RawReplica::introduce(valkey.address());
    replica.send(&["REPLCONF", "version", "9.1.2"]);
    assert_eq!(replica.line(), "+OK");
    assert!(matches!(replica.psync("?", -1), Answer::FullResync { .. }));
    let snapshot = replica.snapshot();
    assert!(snapshot.starts_with(b"VALKEY080"));
    let mut reader = Reader::new(&snapshot[..], Limits::default()).expect("a snapshot");
    let mut got = Stored::new();
    while let Some(event) = reader.next_event().expect("an intact snapshot") {
        if let Event::Entry(entry) = event {
            let Value::Hash(fields) = entry.value else { panic!("no hash: {entry:?}") };
            let field = |it: replcore::rdb::HashField| (it.field, (it.value, it.deadline_ms));
            got.insert(entry.key, fields.into_iter().map(field).collect());
        }
    }
    assert_eq!(got, expected);
    assert_eq!(got["extremes".as_bytes()].len(), 4);
}
