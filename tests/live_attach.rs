//! How replicas come to a primary: with a snapshot from a file or from memory, in one attempt or several,
//! with a password.
#![cfg(feature = "server")]

mod support;

use std::time::Duration;

use bytes::Bytes;
use replcore::resp::Reply;
use rustix::process::Signal;

use support::client::argv;
use support::keyspace::assert_converged;
use support::load::populate;
use support::{Link, Program, Scratch, Server, attach_replicas, note, seed, wait_link_up, wait_until};

const ATTACH: Duration = Duration::from_secs(60);
const POPULATION: u32 = 2_000;

#[test]
fn a_snapshot_that_breaks_off_is_dropped_and_begun_anew() {
    let scratch = Scratch::new("broken-snapshot");
    let primary = Server::primary(&scratch);
    populate(primary.address(), POPULATION, seed());
    let mut replicas = Vec::new();
    let mut links = Vec::new();
    for (index, program) in Program::replicas().into_iter().enumerate() {
        let replica = Server::start(program, &format!("replica {index}"), &scratch);
        let link = Link::to(primary.address());
        // In the handshake, at the beginning, in the middle of a hash of several megabytes.
        for bytes in [20, 300, 5_000_000] {
            link.close_after(bytes);
            link.open();
            replica.replicate(&link);
            link.wait_closed(ATTACH);
        }
        link.open();
        wait_link_up(&replica, ATTACH);
        replicas.push(replica);
        links.push(link);
    }
    assert_converged(&primary, &replicas);
    wait_until("nothing is left of what broke off", ATTACH, || {
        let info = primary.info();
        // Valkey and Redis have a child process instead.
        let running = info.get("snapshots_running").unwrap_or_else(|| info.text("rdb_bgsave_in_progress"));
        match (info.text("connected_slaves"), running) {
            ("2", "0") => Ok(()),
            other => Err(format!("replicas and snapshots: {other:?}")),
        }
    });
}

#[test]
fn a_snapshot_from_a_file_is_as_good() {
    let scratch = Scratch::new("file");
    let primary = Server::primary(&scratch);
    primary.configure(&[("repl-diskless-sync", "no")]);
    populate(primary.address(), POPULATION, seed());
    let (replicas, _links) = attach_replicas(&primary, &scratch);
    let keys = assert_converged(&primary, &replicas);
    note!("{keys} keys equal");
    for replica in &replicas {
        // "receiving 26000000 bytes from primary", against "receiving streamed RDB from primary".
        assert_eq!(replica.log_count("receiving streamed"), 0, "{}", replica.name());
        assert!(replica.log_count(" bytes from ") > 0, "{}", replica.name());
    }
}

#[test]
fn a_replica_needs_the_password() {
    let scratch = Scratch::new("password");
    let primary = Server::primary(&scratch);
    let mut client = primary.client();
    client.call(argv!["SET", "key", "secret"]);
    client.call(argv!["CONFIG", "SET", "requirepass", "open sesame"]);
    match primary.client().try_call(&argv!["GET", "key"]) {
        Ok(Reply::Error(error)) => assert_eq!(error, "NOAUTH Authentication required."),
        other => panic!("without a password: {other:?}"),
    }

    let link = Link::to(primary.address());
    for (index, program) in Program::replicas().into_iter().enumerate() {
        let replica = Server::start(program, &format!("replica {index}"), &scratch);
        replica.configure(&[("masterauth", "open barley")]);
        replica.replicate(&link);
        wait_until("the replica is turned away", ATTACH, || match replica.log_count("Unable to AUTH to") {
            0 => Err("nothing in its log".to_owned()),
            _ => Ok(()),
        });
        assert_eq!(replica.info().text("master_link_status"), "down");
        replica.configure(&[("masterauth", "open sesame")]);
        wait_link_up(&replica, ATTACH);
        assert_eq!(replica.client().call(argv!["GET", "key"]), Reply::Bulk(Bytes::from("secret")));
    }
}

#[test]
fn writes_are_refused_while_too_few_replicas_keep_up() {
    let scratch = Scratch::new("min-replicas");
    let primary = Server::primary(&scratch);
    primary.configure(&[("min-replicas-to-write", "2"), ("min-replicas-max-lag", "2")]);
    let mut client = primary.client();
    let refused = Reply::Error("NOREPLICAS Not enough good replicas to write.".to_owned());
    assert_eq!(client.try_call(&argv!["SET", "key", "0"]).expect("a reply"), refused);
    assert_eq!(client.call(argv!["GET", "key"]), Reply::Null, "reads are not refused");
    let (replicas, _links) = attach_replicas(&primary, &scratch);
    let mut wait_for = |what: &str, wanted: &dyn Fn(&Reply) -> bool| {
        wait_until(what, ATTACH, || match client.try_call(&argv!["SET", "key", "1"]) {
            Ok(reply) if wanted(&reply) => Ok(()),
            other => Err(format!("{other:?}")),
        });
    };
    let accepted = |reply: &Reply| matches!(reply, Reply::Status(_));
    wait_for("two good replicas", &accepted);
    replicas[0].signal(Signal::STOP);
    wait_for("one stopped", &|reply| *reply == refused);
    replicas[0].signal(Signal::CONT);
    wait_for("it is back", &accepted);
    assert_converged(&primary, &replicas);
}
