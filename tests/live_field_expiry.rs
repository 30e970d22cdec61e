//! Fields whose deadline has passed leave the storage soon and in the stream: timed beside a real Valkey, and
//! seen by a real Valkey replica that judges no deadline itself.
#![cfg(feature = "server")]

mod support;

use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use replcore::resp::Reply;

use support::client::{Argv, Info, argv};
use support::keyspace::assert_converged;
use support::{Client, Link, Program, Scratch, Server, note, wait_caught_up, wait_link_up, wait_until};

/// Far more than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);
/// A deadline that does not come.
const FAR_MS: u64 = 3_600_000;
/// The deadlines come after so many times as long as a rehearsal took to set them, and at least so many
/// milliseconds.
const AHEAD_FACTOR: u64 = 4;
const AHEAD_MIN_MS: u64 = 1_000;
/// Fields of one command.
const BATCH: usize = 500;

fn now_ms() -> u64 {
    let since = UNIX_EPOCH.elapsed().expect("the clock is past 1970");
    u64::try_from(since.as_millis()).expect("the clock is not that far")
}

/// Hashes of so many fields.
fn shapes() -> impl Iterator<Item = (String, usize)> {
    let small = (0..200).map(|n| (format!("small{n}"), 25));
    std::iter::once(("large".to_owned(), 10_000)).chain(small)
}

fn field_count() -> u64 {
    shapes().map(|(_, fields)| fields as u64).sum()
}

/// `command key [options] FIELDS n`, as often as the fields of the shapes need; `item` is what stands for a
/// field.
fn by_batches(command: &str, options: &[String], item: impl Fn(usize) -> Vec<Bytes>) -> Vec<Argv> {
    let mut commands = Vec::new();
    for (key, fields) in shapes() {
        for from in (0..fields).step_by(BATCH) {
            let batch = from..fields.min(from + BATCH);
            let mut argv = argv![command, &key];
            argv.extend(options.iter().map(|option| Bytes::from(option.clone())));
            argv.extend(argv!["FIELDS", batch.len()]);
            argv.extend(batch.flat_map(&item));
            commands.push(argv);
        }
    }
    commands
}

fn name(n: usize) -> Bytes {
    Bytes::from(format!("field{n}"))
}

/// Stores the shapes, the fields without deadlines.
fn store(client: &mut Client) {
    let commands = by_batches("HSETEX", &[], |n| vec![name(n), Bytes::from_static(b"value")]);
    for reply in client.pipeline(&commands).expect("replies") {
        assert_eq!(reply, Reply::Integer(1));
    }
}

/// Gives every field of the shapes one deadline.
fn set_deadlines(client: &mut Client, at_ms: u64) {
    let commands = by_batches("HPEXPIREAT", &[at_ms.to_string()], |n| vec![name(n)]);
    for reply in client.pipeline(&commands).expect("replies") {
        let Reply::Array(codes) = reply else { panic!("{reply:?}") };
        assert!(
            codes.iter().all(|code| *code == Reply::Integer(1)),
            "the deadline came too early: {codes:?}"
        );
    }
}

/// Gives every field of the shapes one deadline that comes soon after; returns it.
fn let_expire(client: &mut Client) -> u64 {
    let began_ms = now_ms();
    set_deadlines(client, began_ms + FAR_MS);
    let took_ms = now_ms().saturating_sub(began_ms);
    let due_ms = now_ms() + AHEAD_MIN_MS.max(AHEAD_FACTOR * took_ms);
    set_deadlines(client, due_ms);
    due_ms
}

fn stored_fields(client: &mut Client) -> u64 {
    let commands: Vec<_> = shapes().map(|(key, _)| argv!["HLEN", &key]).collect();
    let replies = client.pipeline(&commands).expect("replies");
    let count = |reply| match reply {
        Reply::Integer(count) => u64::try_from(count).expect("a count"),
        other => panic!("{other:?}"),
    };
    replies.into_iter().map(count).sum()
}

fn wait_for_time(at_ms: u64) {
    wait_until("the deadline passes", PATIENCE, || match now_ms() {
        now_ms if now_ms > at_ms => Ok(()),
        now_ms => Err(format!("{} ms to go", at_ms - now_ms)),
    });
}

/// Waits until no field of the shapes is stored; returns how long after `due_ms` that was.
fn wait_gone(client: &mut Client, due_ms: u64) -> u64 {
    wait_until("the last due field is gone", PATIENCE, || match stored_fields(client) {
        0 => Ok(()),
        fields => Err(format!("{fields} fields")),
    });
    now_ms().saturating_sub(due_ms)
}

#[test]
fn fields_that_are_due_at_once_are_gone_with_the_first_cycle_that_has_time() {
    let scratch = Scratch::new("field-expiry-at-once");
    let server = Server::start(Program::Replcore, "replcore", &scratch);
    let mut client = server.client();
    store(&mut client);
    client.call(argv!["DEBUG", "SET-ACTIVE-EXPIRE", 0]);
    let due_ms = let_expire(&mut client);
    wait_for_time(due_ms);
    let before = client.info();
    assert_eq!(stored_fields(&mut client), field_count(), "nothing goes while active expiry is off");
    assert_eq!(before.number("expired_fields"), 0);
    assert_eq!(client.call(argv!["HGET", "large", "field7"]), Reply::Null, "dead is absent");

    client.call(argv!["DEBUG", "SET-ACTIVE-EXPIRE", 1]);
    // Each cycle either runs out of time or leaves nothing that was due.
    let after = wait_until("a cycle has had enough time", PATIENCE, || {
        let info = client.info();
        let completed = |info: &Info| info.number("expire_cycles_completed");
        if completed(&info) > completed(&before) { Ok(info) } else { Err("none yet".to_owned()) }
    });
    assert_eq!(stored_fields(&mut client), 0);
    assert_eq!(client.info().number("expired_fields"), field_count());
    let cut_short =
        after.number("expired_time_cap_reached_count") - before.number("expired_time_cap_reached_count");
    note!("{} fields gone after {cut_short} cycles that ran out of time", field_count());
    assert_eq!(client.call(argv!["DBSIZE"]), Reply::Integer(0));
}

/// Valkey keeps the deadlines of a hash with more than 127 of them in buckets of up to 8.2 seconds, and
/// reclaims a bucket whole, when its end has passed: one that is not full is not made narrower. How late it
/// is depends on the clock, so it is only shown.
#[test]
fn the_last_due_field_is_gone_soon_where_valkey_may_keep_it_for_seconds() {
    const SPARSE: usize = 100;
    let scratch = Scratch::new("field-expiry-lateness");
    for program in [Program::Replcore, Program::Valkey] {
        let server = Server::start(program, &format!("{program:?}"), &scratch);
        let mut client = server.client();
        store(&mut client);
        let due_ms = let_expire(&mut client);
        let mut sparse = |prefix: &str, at_ms: u64| {
            let mut argv = argv!["HSETEX", "sparse", "PXAT", at_ms, "FIELDS", SPARSE];
            argv.extend((0..SPARSE).flat_map(|n| argv![format!("{prefix}{n}").as_str(), "value"]));
            assert_eq!(client.call(argv), Reply::Integer(1));
        };
        sparse("far", due_ms + FAR_MS);
        sparse("due", due_ms);
        let late_ms = wait_gone(&mut client, due_ms);
        wait_until("the due fields of the sparse hash are gone", PATIENCE, || {
            match client.call_integer(argv!["HLEN", "sparse"]) {
                stored if stored == SPARSE as i64 => Ok(()),
                stored => Err(format!("{stored} fields")),
            }
        });
        let sparse_late_ms = now_ms().saturating_sub(due_ms);
        note!(
            "{program:?}: the last of {} fields went {late_ms} ms after its deadline, of {SPARSE} in a wide bucket {sparse_late_ms} ms",
            field_count()
        );
        assert_eq!(client.info().number("expired_fields"), field_count() + SPARSE as u64);
    }
}

#[test]
fn a_replica_loses_each_field_by_the_stream_and_none_by_its_clock() {
    let scratch = Scratch::new("field-expiry-replica");
    let primary = Server::primary(&scratch);
    let replica = Server::start(Program::Valkey, "replica", &scratch);
    let link = Link::to(primary.address());
    replica.replicate(&link);
    wait_link_up(&replica, PATIENCE);
    let (mut client, mut reader) = (primary.client(), replica.client());
    store(&mut client);
    client.call(argv!["HSET", "small7", "stays", "1"]);
    client.call(argv!["DEBUG", "SET-ACTIVE-EXPIRE", 0]);
    let due_ms = let_expire(&mut client);
    wait_for_time(due_ms);
    wait_caught_up(&primary, &replica, PATIENCE);
    let stored = field_count() + 1;
    assert_eq!((stored_fields(&mut client), stored_fields(&mut reader)), (stored, stored));
    assert_eq!(reader.call(argv!["HGET", "large", "field7"]), Reply::Null, "a replica hides what is dead");

    client.call(argv!["DEBUG", "SET-ACTIVE-EXPIRE", 1]);
    wait_until("the last due field is gone", PATIENCE, || match stored_fields(&mut client) {
        1 => Ok(()),
        fields => Err(format!("{fields} fields")),
    });
    let replicas = [replica];
    assert_eq!(assert_converged(&primary, &replicas), 1);
    assert_eq!(stored_fields(&mut reader), 1);
    let (primary_info, replica_info) = (primary.info(), replicas[0].info());
    assert_eq!(primary_info.number("expired_fields"), field_count());
    assert_eq!(replica_info.number("expired_fields"), 0, "a replica reclaims nothing itself");
    let keyspace = |info: &Info| info.text("db0").to_owned();
    assert_eq!(keyspace(&primary_info), keyspace(&replica_info));
    assert!(keyspace(&primary_info).ends_with(",keys_with_volatile_items=0"), "{primary_info:?}");
}
