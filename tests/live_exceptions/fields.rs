//! Hashes: expired fields that are still stored, and commands that not every replica has.

use bytes::Bytes;
use replcore::rdb::{Kind, RdbVersion};
use replcore::resp::Reply;
use replcore::rewrite::Rewritten;
use replcore::rewrite::hash::{self, FieldEffect, HSetExOutcome, Leftovers, Touched};
use rustix::process::Signal;

use crate::stage::{Exception, Ours, contents, words};
use crate::support::client::argv;
use crate::support::feed::{Feed, snapshot};
use crate::support::{Client, Program, Scratch, Server, wait_caught_up, wait_link_up, wait_until};

const SETUP: &[&str] =
    &["HSET k live 1 timed 1", "HEXPIRE k 5000 FIELDS 1 timed", "HSETEX k PX 1 FIELDS 1 dead 1"];

fn kept<'o>(changed: &'o [usize], dead: &'o [usize]) -> Touched<'o> {
    Touched { changed, dead, leftovers: Leftovers::Kept }
}

fn deadline(client: &mut Client, field: &str) -> u64 {
    match client.call(argv!["HPEXPIRETIME", "k", "FIELDS", "1", field]) {
        Reply::Array(times) => match times[..] {
            [Reply::Integer(ms)] => u64::try_from(ms).expect("the field has a deadline"),
            _ => panic!("one field has one deadline"),
        },
        other => panic!("HPEXPIRETIME answered {other:?}"),
    }
}

#[track_caller]
fn over_a_dead_field(command: &str, tell: fn(&[Bytes], &mut Client) -> Rewritten) {
    Exception {
        setup: SETUP,
        expired: Some(("k", "dead")),
        chance: None,
        command: words(command),
        replica: Program::Valkey,
        ours: Ours::Told(tell),
    }
    .show();
}

fn expire(argv: &[Bytes], client: &mut Client) -> Rewritten {
    hash::hexpire(argv, kept(&[5], &[6]), FieldEffect::Deadline(deadline(client, "live")))
}

#[test]
fn hexpire_over_a_dead_field_revives_it_on_valkeys_replica() {
    over_a_dead_field("HEXPIRE k 5000 FIELDS 2 live dead", expire);
}

#[test]
fn hpexpire_over_a_dead_field_revives_it_on_valkeys_replica() {
    over_a_dead_field("HPEXPIRE k 5000000 FIELDS 2 live dead", expire);
}

#[test]
fn hexpireat_over_a_dead_field_revives_it_on_valkeys_replica() {
    over_a_dead_field("HEXPIREAT k 9999999999 FIELDS 2 live dead", expire);
}

#[test]
fn hpexpireat_over_a_dead_field_revives_it_on_valkeys_replica() {
    over_a_dead_field("HPEXPIREAT k 9999999999999 FIELDS 2 live dead", expire);
}

#[test]
fn hpersist_over_a_dead_field_revives_it_on_valkeys_replica() {
    over_a_dead_field("HPERSIST k FIELDS 2 timed dead", |argv, _| hash::hpersist(argv, kept(&[4], &[5])));
}

#[test]
fn hdel_over_a_dead_field_deletes_the_key_on_valkeys_replica() {
    over_a_dead_field("HDEL k live timed dead", |argv, _| hash::hdel(argv, kept(&[2, 3], &[4])));
}

#[test]
fn hgetdel_over_a_dead_field_deletes_the_key_on_valkeys_replica() {
    over_a_dead_field("HGETDEL k FIELDS 3 live timed dead", |argv, _| {
        hash::hgetdel(argv, kept(&[4, 5], &[6]))
    });
}

/// A primary that reclaims what it meets says so: the replica stores the leftover no longer.
#[test]
fn a_leftover_that_the_command_reclaims_is_gone_on_the_replica() {
    let scratch = Scratch::new("exception-reclaimed");
    let replica = Server::start(Program::Valkey, "the replica", &scratch);
    let start = snapshot(RdbVersion::Valkey80, |writer| {
        for key in [&b"k"[..], b"emptied"] {
            writer.begin(key, None, Kind::HashWithDeadlines, 2).expect("a snapshot has room");
            writer.field(b"live", b"1", None).expect("two fields");
            writer.field(b"dead", b"1", Some(1)).expect("two fields");
        }
    });
    let mut feed = Feed::attach(&replica, &start);
    let mut client = replica.client();
    assert_eq!(client.call(argv!["HLEN", "k"]), Reply::Integer(2), "the leftover is stored");
    let reclaimed =
        |at_live, at_dead| Touched { changed: at_live, dead: at_dead, leftovers: Leftovers::Reclaimed };
    let command = words("HPEXPIREAT k 9999999999999 FIELDS 2 live dead");
    let outcome = hash::hexpire(&command, reclaimed(&[5], &[6]), FieldEffect::Deadline(9_999_999_999_999));
    feed.propagation(&command, outcome.expect("an outcome of it"));
    assert_eq!(client.call(argv!["HLEN", "k"]), Reply::Integer(1));
    assert_eq!(deadline(&mut client, "live"), 9_999_999_999_999);
    let command = words("HDEL emptied live dead");
    feed.propagation(&command, hash::hdel(&command, reclaimed(&[2], &[3])).expect("an outcome of it"));
    assert_eq!(client.call(argv!["EXISTS", "emptied"]), Reply::Integer(0));
}

#[track_caller]
fn on_a_replica_without_it(
    program: Program,
    setup: &[&str],
    command: &str,
    ours: fn(&[Bytes], &mut Client) -> Rewritten,
) {
    Exception {
        setup,
        expired: None,
        chance: None,
        command: words(command),
        replica: program,
        ours: Ours::Told(ours),
    }
    .show();
}

#[test]
fn hgetdel_is_unknown_to_older_replicas() {
    for program in [Program::Redis, Program::Valkey90] {
        on_a_replica_without_it(program, &["HSET k f 1 g 2"], "HGETDEL k FIELDS 1 f", |argv, _| {
            hash::hgetdel(argv, Touched::live(&[4]))
        });
    }
}

#[test]
fn hsetex_without_a_time_is_unknown_to_redis() {
    on_a_replica_without_it(Program::Redis, &["HSET k f 1"], "HSETEX k FXX FIELDS 1 f 2", |argv, _| {
        hash::hsetex(argv, HSetExOutcome::Stored { deadline_ms: None })
    });
    on_a_replica_without_it(Program::Redis, &["HSET k f 1"], "HSETEX k KEEPTTL FIELDS 1 f 2", |argv, _| {
        hash::hsetex(argv, HSetExOutcome::Kept { deadlines_ms: &[None], dead: &[] })
    });
}

#[test]
fn a_key_called_like_a_condition_is_lost_by_valkey() {
    for key in ["fnx", "FXX", "nx", "XX"] {
        on_a_replica_without_it(
            Program::Valkey,
            &["HSET other f 1"],
            &format!("HSETEX {key} EX 5000 FIELDS 1 f v"),
            |argv, client| {
                let time = client.call(argv!["HPEXPIRETIME", &argv[1], "FIELDS", "1", "f"]);
                let Reply::Array(times) = time else { panic!("HPEXPIRETIME answered {time:?}") };
                let [Reply::Integer(ms)] = times[..] else { panic!("one field has one deadline") };
                hash::hsetex(argv, HSetExOutcome::Stored { deadline_ms: u64::try_from(ms).ok() })
            },
        );
    }
}

/// Valkey 9.0.0 judges a kept deadline by its clock even in what comes from its primary. It is stopped until the deadline
/// has passed.
#[test]
fn a_kept_deadline_is_dropped_by_a_late_replica_that_judges_it() {
    const STEP: std::time::Duration = std::time::Duration::from_secs(30);
    let scratch = Scratch::new("exception-keepttl");
    let primary = Server::start(Program::Valkey, "the Valkey primary", &scratch);
    let replica = Server::start(Program::Valkey90, "the replica", &scratch);
    let mut client = primary.client();
    client.call(argv!["DEBUG", "SET-ACTIVE-EXPIRE", "0"]);
    client.call(argv!["HSET", "k", "other", "1"]);
    replica.client().call(argv!["REPLICAOF", "127.0.0.1", primary.address().port()]);
    wait_link_up(&replica, STEP);
    client.call(argv!["HSETEX", "k", "PX", "1500", "FIELDS", "1", "f", "v1"]);
    wait_caught_up(&primary, &replica, STEP);
    let deadline_ms = deadline(&mut client, "f");
    replica.signal(Signal::STOP);
    let command = words("HSETEX k KEEPTTL FIELDS 1 f v2");
    client.call(command.clone());
    assert_eq!(deadline(&mut client, "f"), deadline_ms, "it was written in time");
    wait_until("the field expires", STEP, || match client.call(argv!["HEXISTS", "k", "f"]) {
        Reply::Integer(0) => Ok(()),
        other => Err(format!("{other:?}")),
    });
    replica.signal(Signal::CONT);
    wait_caught_up(&primary, &replica, STEP);
    let get = argv!["HGET", "k", "f"];
    assert_eq!(client.call(get.clone()), Reply::Null);
    assert_eq!(replica.client().call(get.clone()), Reply::Bulk("v2".into()), "Valkey's form diverges");

    let start = snapshot(RdbVersion::Valkey80, |writer| {
        writer.begin(b"k", None, Kind::HashWithDeadlines, 2).expect("a snapshot has room");
        writer.field(b"other", b"1", None).expect("two fields");
        writer.field(b"f", b"v1", Some(deadline_ms)).expect("two fields");
    });
    let mut feed = Feed::attach(&replica, &start);
    let outcome = HSetExOutcome::Kept { deadlines_ms: &[Some(deadline_ms)], dead: &[] };
    feed.propagation(&command, hash::hsetex(&command, outcome).expect("an outcome of it"));
    assert_eq!(replica.client().call(get), Reply::Null);
    assert_eq!(contents(&mut client), contents(&mut replica.client()));
}
