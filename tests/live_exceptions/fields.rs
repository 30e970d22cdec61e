//! Hashes: expired fields that are still stored, and commands that not every replica has.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use replcore::rdb::{Kind, SnapshotFormat};
use replcore::resp::Reply;
use replcore::rewrite::hash::{self, FieldEffect, Leftovers, Touched};
use rustix::process::Signal;

use crate::stage::{Exception, Ours, contents, words};
use crate::support::client::argv;
use crate::support::feed::{Feed, snapshot};
use crate::support::{Client, Program, Scratch, Server, attach, wait_caught_up, wait_link_up, wait_until};

const SETUP: &[&str] =
    &["HSET k live 1 timed 1", "HEXPIRE k 5000 FIELDS 1 timed", "HSETEX k PX 1 FIELDS 1 dead 1"];

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
fn over_a_dead_field(command: &str) {
    let (expired, command) = (Some(("k", "dead")), words(command));
    Exception {
        setup: SETUP,
        expired,
        chance: None,
        command,
        replica: Program::Valkey,
        ours: Ours::Embedded,
    }
    .show();
}

#[test]
fn hexpire_over_a_dead_field_revives_it_on_valkeys_replica() {
    over_a_dead_field("HEXPIRE k 5000 FIELDS 2 live dead");
}

#[test]
fn hpexpire_over_a_dead_field_revives_it_on_valkeys_replica() {
    over_a_dead_field("HPEXPIRE k 5000000 FIELDS 2 live dead");
}

#[test]
fn hexpireat_over_a_dead_field_revives_it_on_valkeys_replica() {
    over_a_dead_field("HEXPIREAT k 9999999999 FIELDS 2 live dead");
}

#[test]
fn hpexpireat_over_a_dead_field_revives_it_on_valkeys_replica() {
    over_a_dead_field("HPEXPIREAT k 9999999999999 FIELDS 2 live dead");
}

#[test]
fn hpersist_over_a_dead_field_revives_it_on_valkeys_replica() {
    over_a_dead_field("HPERSIST k FIELDS 2 timed dead");
}

#[test]
fn hdel_over_a_dead_field_deletes_the_key_on_valkeys_replica() {
    over_a_dead_field("HDEL k live timed dead");
}

#[test]
fn hgetdel_over_a_dead_field_deletes_the_key_on_valkeys_replica() {
    over_a_dead_field("HGETDEL k FIELDS 3 live timed dead");
}

#[test]
fn a_copy_has_the_dead_fields_on_valkeys_replica() {
    over_a_dead_field("COPY k copy");
}

#[test]
fn a_copy_of_dead_fields_only_is_empty_in_valkey_and_full_on_its_replica() {
    for (setup, command) in [
        (&["HSETEX k PX 1 FIELDS 1 dead 1"][..], "COPY k copy"),
        (&["SET copy 1", "HSETEX k PX 1 FIELDS 1 dead 1"], "COPY k copy REPLACE"),
    ] {
        let (expired, command) = (Some(("k", "dead")), words(command));
        Exception { setup, expired, chance: None, command, replica: Program::Valkey, ours: Ours::Embedded }
            .show();
    }
}

/// A primary that reclaims what it meets says so: the replica stores the leftover no longer.
#[test]
fn a_leftover_that_the_command_reclaims_is_gone_on_the_replica() {
    let scratch = Scratch::new("exception-reclaimed");
    let replica = Server::start(Program::Valkey, "the replica", &scratch);
    let start = snapshot(SnapshotFormat::Valkey80, |writer| {
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
fn refused_by(replica: Program, setup: &[&str], command: &str) {
    let command = words(command);
    Exception { setup, expired: None, chance: None, command, replica, ours: Ours::Embedded }.show();
}

#[test]
fn hgetdel_is_unknown_to_older_replicas() {
    for program in [Program::Redis, Program::Valkey90] {
        refused_by(program, &["HSET k f 1 g 2"], "HGETDEL k FIELDS 1 f");
    }
}

#[test]
fn hsetex_without_a_time_is_unknown_to_redis() {
    refused_by(Program::Redis, &["HSET k f 1"], "HSETEX k FXX FIELDS 1 f 2");
    refused_by(Program::Redis, &["HSET k f 1"], "HSETEX k KEEPTTL FIELDS 1 f 2");
}

#[test]
fn a_key_called_like_a_condition_is_lost_by_valkey() {
    for key in ["fnx", "FXX", "nx", "XX"] {
        refused_by(Program::Valkey, &["HSET other f 1"], &format!("HSETEX {key} EX 5000 FIELDS 1 f v"));
    }
}

#[test]
fn a_key_whose_fields_are_all_dead_loses_its_deadline_on_valkeys_replica() {
    let setup = &["HSETEX k PX 1 FIELDS 1 dead 1", "EXPIREAT k 9999999999"];
    let (expired, command) = (Some(("k", "dead")), words("HSETEX k KEEPTTL FIELDS 1 dead 2"));
    Exception { setup, expired, chance: None, command, replica: Program::Valkey, ours: Ours::Embedded }
        .show();
}

#[test]
fn a_key_called_fields_is_misread_by_valkeys_replica() {
    let setup = ["HSET Fields f 1", "HEXPIRE Fields 5000 FIELDS 1 f"];
    refused_by(Program::Valkey, &setup, "HINCRBY Fields f 1");
    refused_by(Program::Valkey, &setup, "HINCRBYFLOAT Fields f 1.5");
}

/// Valkey executes neither of a key called so.
#[test]
fn hsetex_and_hgetex_of_a_key_called_fields_reach_the_replica() {
    let scratch = Scratch::new("exception-fields");
    let primary = Server::start(Program::Replcore, "the embedded primary", &scratch);
    let (replicas, _links) = attach(&[Program::Valkey], &primary, &scratch);
    let (mut client, mut replicas_client) = (primary.client(), replicas[0].client());
    for command in [
        "HSETEX fields EX 5000 FIELDS 2 f 1 g 1",
        "HSETEX fields FXX KEEPTTL FIELDS 2 f 2 g 2",
        "HSETEX fields PXAT 9999999999999 FIELDS 1 f 3",
        "HGETEX fields EX 6000 FIELDS 1 f",
        "HGETEX fields PERSIST FIELDS 1 g",
        "HSETEX fields FIELDS 1 g 3",
        "HGETDEL fields FIELDS 1 g",
    ] {
        client.call(words(command));
        wait_caught_up(&primary, &replicas[0], Duration::from_secs(30));
        assert_eq!(contents(&mut client), contents(&mut replicas_client), "{command}");
    }
}

#[test]
fn a_time_that_is_named_twice_is_broken_by_valkey() {
    for times in ["EX 5000 EX 6000", "PX 5000000 PX 6000000", "EXAT 9999999998 EXAT 9999999999"] {
        refused_by(Program::Valkey, &["HSET k f 1"], &format!("HSETEX k {times} FIELDS 1 f 2"));
    }
}

/// Valkey 9.0.0 judges a kept deadline by its clock even in what comes from its primary. It is stopped until
/// the deadline has passed. Returns what the primary then has, and what the replica has.
fn late_replica(program: Program, scratch: &Scratch) -> [BTreeMap<Bytes, String>; 2] {
    const STEP: Duration = Duration::from_secs(30);
    let primary = Server::start(program, "the primary", scratch);
    let replica = Server::start(Program::Valkey90, "the replica", scratch);
    let mut client = primary.client();
    client.call(argv!["DEBUG", "SET-ACTIVE-EXPIRE", "0"]);
    client.call(argv!["HSET", "k", "other", "1"]);
    replica.client().call(argv!["REPLICAOF", "127.0.0.1", primary.address().port()]);
    wait_link_up(&replica, STEP);
    client.call(argv!["HSETEX", "k", "PX", "1500", "FIELDS", "1", "f", "v1"]);
    wait_caught_up(&primary, &replica, STEP);
    let deadline_ms = deadline(&mut client, "f");
    replica.signal(Signal::STOP);
    client.call(words("HSETEX k KEEPTTL FIELDS 1 f v2"));
    assert_eq!(deadline(&mut client, "f"), deadline_ms, "it was written in time");
    wait_until("the field expires", STEP, || match client.call(argv!["HEXISTS", "k", "f"]) {
        Reply::Integer(0) => Ok(()),
        other => Err(format!("{other:?}")),
    });
    replica.signal(Signal::CONT);
    wait_caught_up(&primary, &replica, STEP);
    [contents(&mut client), contents(&mut replica.client())]
}

#[test]
fn a_kept_deadline_is_dropped_by_a_late_replica_that_judges_it() {
    let scratch = Scratch::new("exception-keepttl");
    let [expected, diverged] = late_replica(Program::Valkey, &scratch);
    assert_ne!(expected, diverged, "Valkey's form diverges");
    let [expected, got] = late_replica(Program::Replcore, &scratch);
    assert_eq!(expected, got);
}
