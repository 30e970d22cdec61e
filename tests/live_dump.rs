//! `DUMP` and `RESTORE` between this server, Valkey and Redis, and what `RESTORE` and `SORT … STORE` make of
//! real replicas.
#![cfg(feature = "server")]

mod support;

use std::time::Duration;

use bytes::Bytes;
use replcore::resp::Reply;

use support::client::{Argv, argv};
use support::stored::fields;
use support::{Client, Program, Scratch, Server, attach_replicas, wait_caught_up, wait_until};

const CATCH_UP: Duration = Duration::from_secs(30);

/// Commands that make a key of every encoding that Valkey and Redis keep and dump; the key comes first in
/// each.
fn values() -> Vec<Argv> {
    let long = "long and longer ".repeat(40);
    let many = |command: &str, key: &str, item: &dyn Fn(u32) -> Vec<String>| {
        let mut argv = argv![command, key];
        argv.extend((0..700).flat_map(item).map(Bytes::from));
        argv
    };
    let mut values = vec![
        argv!["SET", "string", "hello"],
        argv!["SET", "empty", ""],
        argv!["SET", "integer8", "-7"],
        argv!["SET", "integer16", "1234"],
        argv!["SET", "integer32", "-123456789"],
        argv!["SET", "integer64", "1234567890123456789"],
        argv!["SET", "not integer", "007"],
        argv!["SET", "compressed", &long],
        argv!["RPUSH", "list", "a", "", "1", "-70000", "a", &long],
        argv!["RPUSH", "large element", "x".repeat(100_000), "y"],
        argv!["SADD", "integers16", "1", "-5", "300"],
        argv!["SADD", "integers32", "1", "-70000"],
        argv!["SADD", "integers64", "1", "1234567890123"],
        argv!["SADD", "set", "a", "", "17", &long],
        argv!["ZADD", "zset", "1.5", "a", "-inf", "b", "inf", "c", "0", "", "3.0000000000000004", "17"],
        argv!["HSET", "hash", "f", "v", "", "17", "g", &long],
    ];
    values.push(many("RPUSH", "long list", &|n| vec![format!("element {n}")]));
    values.push(many("SADD", "integer table", &|n| vec![(n * n).to_string()]));
    values.push(many("SADD", "table", &|n| vec![format!("member {n}")]));
    values.push(many("ZADD", "skip list", &|n| vec![(f64::from(n % 9) / 7.0).to_string(), format!("m{n}")]));
    values.push(many("HSET", "large hash", &|n| vec![format!("f{n}"), n.to_string()]));
    values
}

/// What is under a key, in an order of its own if it has none.
fn read(client: &mut Client, key: &Bytes) -> (String, Vec<Bytes>) {
    let kind = match client.call(argv!["TYPE", key]) {
        Reply::Status(kind) => kind,
        other => panic!("TYPE {key:?}: {other:?}"),
    };
    let reply = match kind.as_str() {
        "string" => client.call(argv!["GET", key]),
        "list" => client.call(argv!["LRANGE", key, 0, -1]),
        "set" => client.call(argv!["SMEMBERS", key]),
        "zset" => client.call(argv!["ZRANGE", key, 0, -1, "WITHSCORES"]),
        "hash" => client.call(argv!["HGETALL", key]),
        other => panic!("{key:?} has type {other}"),
    };
    let mut items: Vec<Bytes> = match reply {
        Reply::Bulk(value) => vec![value],
        Reply::Array(items) => items.into_iter().map(bulk).collect(),
        other => panic!("{key:?}: {other:?}"),
    };
    match kind.as_str() {
        "set" => items.sort(),
        "hash" => {
            let mut pairs: Vec<&[Bytes]> = items.chunks(2).collect();
            pairs.sort();
            items = pairs.concat();
        }
        _ => {}
    }
    (kind, items)
}

fn bulk(reply: Reply) -> Bytes {
    match reply {
        Reply::Bulk(bytes) => bytes,
        other => panic!("expected a bulk string, got {other:?}"),
    }
}

fn dump(client: &mut Client, key: &Bytes) -> Bytes {
    bulk(client.call(argv!["DUMP", key]))
}

#[test]
fn payloads_of_valkey_and_redis_come_back_and_reach_every_replica() {
    let scratch = Scratch::new("dump");
    let primary = Server::start(Program::Replcore, "primary", &scratch);
    let (replicas, _links) = attach_replicas(&primary, &scratch);
    let mut ours = primary.client();
    for program in [Program::Valkey, Program::Redis] {
        let source = Server::start(program, "source", &scratch);
        let mut theirs = source.client();
        for command in values() {
            theirs.call(command.clone());
            let key = &command[1];
            let expected = read(&mut theirs, key);
            ours.call(argv!["RESTORE", key, 0, dump(&mut theirs, key), "REPLACE"]);
            theirs.call(argv!["RESTORE", "back", 0, dump(&mut ours, key), "REPLACE"]);
            assert_eq!(
                read(&mut theirs, &Bytes::from("back")),
                expected,
                "{program:?}'s {key:?}, dumped here"
            );
        }
        // What Valkey made is encoded in ways that the Redis replica does not read.
        for replica in &replicas {
            wait_caught_up(&primary, replica, CATCH_UP);
            let mut client = replica.client();
            for command in values() {
                let expected = read(&mut theirs, &command[1]);
                let got = read(&mut client, &command[1]);
                assert_eq!(got, expected, "{program:?}'s {:?} on {}", command[1], replica.name());
            }
        }
        ours.call(argv!["FLUSHALL"]);
    }
}

/// What makes it necessary to encode Valkey's payloads anew.
#[test]
fn redis_does_not_read_a_payload_of_valkey() {
    let scratch = Scratch::new("dump-versions");
    let [valkey, redis] =
        [Program::Valkey, Program::Redis].map(|program| Server::start(program, "peer", &scratch));
    let mut client = valkey.client();
    client.call(argv!["SADD", "set", "a", "b"]);
    let payload = dump(&mut client, &Bytes::from("set"));
    let reply = redis.client().try_call(&argv!["RESTORE", "set", 0, payload]).expect("a reply");
    assert!(matches!(&reply, Reply::Error(error) if error.contains("version or checksum")), "{reply:?}");
}

#[test]
fn a_restored_deadline_is_the_same_on_every_replica() {
    let scratch = Scratch::new("dump-deadlines");
    let primary = Server::start(Program::Replcore, "primary", &scratch);
    let (replicas, _links) = attach_replicas(&primary, &scratch);
    let mut ours = primary.client();
    ours.call(argv!["SET", "k", "v"]);
    let payload = dump(&mut ours, &Bytes::from("k"));
    ours.call(argv!["RESTORE", "relative", 1_000_000, &payload, "IDLETIME", 5]);
    ours.call(argv!["RESTORE", "absolute", 9_999_999_999_999_u64, &payload, "ABSTTL", "FREQ", 5]);
    ours.call(argv!["RESTORE", "k", 1, &payload, "ABSTTL", "REPLACE"]);
    ours.call(argv!["RESTORE", "gone", 1, &payload, "ABSTTL"]);
    for replica in &replicas {
        wait_caught_up(&primary, replica, CATCH_UP);
        let mut client = replica.client();
        for key in ["relative", "absolute"] {
            let expected = ours.call_integer(argv!["PEXPIRETIME", key]);
            assert!(expected > 0);
            assert_eq!(
                client.call_integer(argv!["PEXPIRETIME", key]),
                expected,
                "{key} on {}",
                replica.name()
            );
        }
        assert_eq!(client.call_integer(argv!["DBSIZE"]), 2, "{}", replica.name());
    }
}

/// A set of so many members has another order on every server, so equal weights do not decide.
#[test]
fn a_sorted_result_is_the_same_list_on_every_replica() {
    let scratch = Scratch::new("sort");
    let primary = Server::start(Program::Replcore, "primary", &scratch);
    let (replicas, _links) = attach_replicas(&primary, &scratch);
    let mut ours = primary.client();
    let mut members = argv!["SADD", "set"];
    members.extend((0..600).map(|n| Bytes::from(format!("member:{n}"))));
    ours.call(members);
    ours.call(argv!["MSET", "w_member:3", "a", "w_member:4", "a", "v_member:5", "7"]);
    let destinations = ["ties", "few", "nosort", "numbers", "bytes"];
    ours.call(argv!["SORT", "set", "BY", "w_*", "ALPHA", "STORE", "ties"]);
    ours.call(argv!["SORT", "set", "BY", "w_*", "ALPHA", "LIMIT", 0, 5, "STORE", "few"]);
    ours.call(argv!["SORT", "set", "BY", "nosort", "STORE", "nosort"]);
    ours.call(argv!["SORT", "set", "BY", "v_*", "GET", "#", "GET", "v_*", "DESC", "STORE", "numbers"]);
    ours.call(argv!["SORT", "set", "ALPHA", "STORE", "bytes"]);
    for replica in &replicas {
        wait_caught_up(&primary, replica, CATCH_UP);
        for destination in destinations.map(Bytes::from) {
            let expected = read(&mut ours, &destination);
            assert_eq!(read(&mut replica.client(), &destination), expected, "{}", replica.name());
        }
    }
}

#[test]
fn a_hash_with_field_deadlines_goes_to_valkey_and_back() {
    const FAR_MS: u64 = 9_000_000_000_000;
    let scratch = Scratch::new("dump-fields");
    let server = Server::start(Program::Replcore, "ours", &scratch);
    let mut ours = server.client();
    ours.call(argv!["DEBUG", "SET-ACTIVE-EXPIRE", 0]);
    for program in [Program::Valkey, Program::Valkey90] {
        let source = Server::start(program, "source", &scratch);
        let mut theirs = source.client();
        theirs.call(argv!["DEBUG", "SET-ACTIVE-EXPIRE", 0]);
        theirs.call(argv!["HSETEX", "h", "PXAT", FAR_MS, "FIELDS", 2, "a", "1", "b", "text"]);
        theirs.call(argv!["HSET", "h", "none", ""]);
        theirs.call(argv!["HSETEX", "h", "PX", 1, "FIELDS", 1, "dead", "v"]);
        wait_until("the field is dead", CATCH_UP, || match theirs.call(argv!["HGET", "h", "dead"]) {
            Reply::Null => Ok(()),
            other => Err(format!("{other:?}")),
        });
        let key = Bytes::from("h");
        let payload = dump(&mut theirs, &key);
        let expected = fields(&Reply::Bulk(payload.clone()));
        assert_eq!(expected.len(), 4, "{program:?} dumps the dead field too");
        ours.call(argv!["RESTORE", "h", 0, payload, "REPLACE"]);
        let payload = dump(&mut ours, &key);
        assert_eq!(fields(&Reply::Bulk(payload.clone())), expected, "{program:?}");
        theirs.call(argv!["RESTORE", "back", 0, payload]);
        assert_eq!(fields(&theirs.call(argv!["DUMP", "back"])), expected, "{program:?}");
        let asked = argv!["HPEXPIRETIME", "back", "FIELDS", 4, "a", "b", "none", "dead"];
        let far = Reply::Integer(FAR_MS as i64);
        let times = Reply::Array(vec![far.clone(), far, Reply::Integer(-1), Reply::Integer(-2)]);
        assert_eq!(theirs.call(asked), times, "{program:?}");
    }
}
