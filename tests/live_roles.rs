//! replcore as a replica of real servers and of itself, in chains, promoted and demoted.
#![cfg(feature = "server")]

mod support;

use std::thread;
use std::time::Duration;

use bytes::Bytes;
use replcore::resp::Reply;

use support::client::{Client, argv};
use support::keyspace::{assert_converged, read};
use support::load::Load;
use support::{Launch, Link, Program, Scratch, Server, note, seed, wait_caught_up, wait_link_up, wait_until};

const SOON: Duration = Duration::from_secs(30);
const WRITERS: u64 = 2;
/// Cuts of a link under load.
const CUTS: usize = 3;
/// So many bytes pass a link before it is cut.
const CUT_AFTER_BYTES: u64 = 300_000;

/// `REPLICAOF` the other, without waiting for anything.
fn follow(replica: &Server, primary: &Server) {
    let port = primary.address().port().to_string();
    assert_eq!(replica.client().call(argv!["REPLICAOF", "127.0.0.1", port]), Reply::Status("OK".into()));
}

fn lead(server: &Server) {
    assert_eq!(server.client().call(argv!["REPLICAOF", "NO", "ONE"]), Reply::Status("OK".into()));
}

/// An answer, which may be an error.
fn answer(client: &mut Client, argv: &[Bytes]) -> Reply {
    client.try_call(argv).expect("an answer")
}

/// Waits until a server has this role. Whoever changes it may end clients' connections with it.
#[track_caller]
fn wait_role(server: &Server, role: &str) {
    wait_until(&format!("{} is a {role}", server.name()), SOON, || {
        let asked = Client::connect(server.address()).and_then(|mut client| client.try_call(&argv!["ROLE"]));
        match asked {
            Ok(Reply::Array(answer))
                if answer.first() == Some(&Reply::Bulk(Bytes::from(role.to_owned()))) =>
            {
                Ok(())
            }
            other => Err(format!("{other:?}")),
        }
    });
}

/// Waits until a primary counts its replica: that comes after the replica's link is up.
#[track_caller]
fn wait_online(primary: &Server) {
    wait_until("the replica is online", SOON, || {
        let info = primary.info();
        match info.get("slave0") {
            Some(replica) if replica.contains("state=online") => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
}

/// What links a server has served: full and partial resyncs, and those refused.
fn resyncs(server: &Server) -> [u64; 3] {
    let info = server.info();
    ["sync_full", "sync_partial_ok", "sync_partial_err"].map(|field| info.number(field))
}

/// A replica by `argv`-like settings, attached to nobody.
fn start(program: Program, name: &str, scratch: &Scratch) -> Server {
    let server = Server::start(program, name, scratch);
    server.configure(&[("repl-backlog-size", "33554432")]);
    server
}

#[test]
fn it_follows_every_kind_of_primary_through_cuts() {
    let seed = seed();
    note!("REPLCORE_TEST_SEED={seed}");
    for program in [Program::Valkey, Program::Redis, Program::Replcore] {
        let scratch = Scratch::new("follows");
        let primary = start(program, "primary", &scratch);
        let replica = start(Program::Replcore, "replica", &scratch);
        // What is there already comes with the snapshot.
        let load = Load::start(primary.address(), WRITERS, seed, 0);
        wait_until("there is something to copy", SOON, || match load.commands() {
            0..5_000 => Err(load.commands().to_string()),
            _ => Ok(()),
        });
        let link = Link::to(primary.address());
        replica.replicate(&link);
        wait_link_up(&replica, SOON);
        for _ in 0..CUTS {
            let cuts = link.cuts();
            link.close_after(CUT_AFTER_BYTES);
            wait_until("the link is cut", SOON, || {
                if link.cuts() > cuts { Ok(()) } else { Err("not yet".into()) }
            });
            link.open();
            wait_link_up(&replica, SOON);
        }
        let commands = load.commands();
        load.stop();
        let keys = assert_converged(&primary, std::slice::from_ref(&replica));
        let [full, partial, refused] = resyncs(&primary);
        // It first asked to go on with a history of its own. A handshake may have been cut as well, after the
        // primary had granted it.
        assert!(
            full == 1 && partial >= CUTS as u64 && refused == 1,
            "{program:?}: {full}/{partial}/{refused}"
        );
        note!("{program:?}: {commands} commands, {partial} partial resyncs, {keys} keys equal");
    }
}

#[test]
fn chains_have_one_stream() {
    let seed = seed();
    note!("REPLCORE_TEST_SEED={seed}");
    for programs in [
        [Program::Valkey, Program::Replcore, Program::Valkey],
        [Program::Replcore, Program::Valkey, Program::Replcore],
        [Program::Redis, Program::Replcore, Program::Replcore],
    ] {
        let scratch = Scratch::new("chain");
        let [first, second, third] =
            programs.map(|program| start(program, &format!("{program:?}"), &scratch));
        let load = Load::start(first.address(), WRITERS, seed, 0);
        follow(&second, &first);
        wait_link_up(&second, SOON);
        follow(&third, &second);
        wait_link_up(&third, SOON);
        load.stop();
        let replicas = [second, third];
        let keys = assert_converged(&first, &replicas);
        let id_and_offset = |server: &Server| {
            let info = server.info();
            (info.text("master_replid").to_owned(), info.number("master_repl_offset"))
        };
        for replica in &replicas {
            wait_until("the streams are one", SOON, || {
                let (own, firsts) = (id_and_offset(replica), id_and_offset(&first));
                if own == firsts { Ok(()) } else { Err(format!("{own:?}, not {firsts:?}")) }
            });
        }

        // The one in the middle is promoted: both others go on from where they are.
        let [second, third] = replicas;
        let before = [&second, &third].map(resyncs);
        lead(&second);
        follow(&first, &second);
        for replica in [&first, &third] {
            wait_link_up(replica, SOON);
        }
        second.client().call(argv!["SET", "of the new primary", "1"]);
        assert_converged(&second, &[first, third]);
        let [full, partial, _] = resyncs(&second);
        assert_eq!(full, before[0][0], "{programs:?}: nobody needed a copy");
        assert!(partial >= before[0][1] + 2, "{programs:?}: {partial}, {before:?}");
        note!("{programs:?}: {keys} keys equal");
    }
}

#[test]
fn what_wait_promised_survives_a_promotion() {
    const WRITES: usize = 400;
    /// The promotion comes after so many.
    const ACKNOWLEDGED: usize = 20;
    for programs in
        [[Program::Replcore, Program::Valkey], [Program::Valkey, Program::Replcore], [Program::Replcore; 2]]
    {
        let scratch = Scratch::new("promoted");
        let [mut one, mut other] = programs.map(|program| start(program, &format!("{program:?}"), &scratch));
        follow(&other, &one);
        wait_link_up(&other, SOON);
        // There and back again.
        for round in 0..2 {
            let primary = one.client();
            let writer = thread::spawn(move || write_with_wait(primary, round, WRITES));
            let mut reader = one.client();
            wait_until("some writes are acknowledged", SOON, || {
                match reader.call(argv!["EXISTS", format!("{round}:{ACKNOWLEDGED}")]) {
                    Reply::Integer(1) => Ok(()),
                    other => Err(format!("{other:?}")),
                }
            });
            lead(&other);
            follow(&one, &other);
            let acknowledged = writer.join().expect("the writer ends by itself");
            assert!(acknowledged >= ACKNOWLEDGED, "{programs:?}: {acknowledged}");
            wait_link_up(&one, SOON);
            wait_caught_up(&other, &one, SOON);
            let mut client = other.client();
            for number in 0..acknowledged {
                let key = format!("{round}:{number}");
                assert_eq!(
                    client.call(argv!["GET", &key]),
                    Reply::Bulk(Bytes::from("x")),
                    "{programs:?}: {key}"
                );
            }
            assert_converged(&other, std::slice::from_ref(&one));
            note!("{programs:?}: {acknowledged} acknowledged writes are there");
            std::mem::swap(&mut one, &mut other);
        }
    }
}

/// Writes, each acknowledged by one replica, until a write is refused, the replica is gone, or all is written;
/// returns how many were acknowledged.
fn write_with_wait(mut client: Client, round: usize, writes: usize) -> usize {
    for number in 0..writes {
        let set = client.try_call(&argv!["SET", format!("{round}:{number}"), "x"]);
        let acknowledged = client.try_call(&argv!["WAIT", "1", "300"]);
        if !matches!((set, acknowledged), (Ok(Reply::Status(_)), Ok(Reply::Integer(1)))) {
            return number;
        }
    }
    writes
}

#[test]
fn a_failover_loses_no_write_that_was_answered() {
    /// The failover comes after so many writes of each writer.
    const WRITTEN: usize = 200;
    for programs in
        [[Program::Replcore, Program::Valkey], [Program::Valkey, Program::Replcore], [Program::Replcore; 2]]
    {
        let scratch = Scratch::new("failover");
        let [one, other] = programs.map(|program| start(program, &format!("{program:?}"), &scratch));
        follow(&other, &one);
        wait_link_up(&other, SOON);
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let client = one.client();
                thread::spawn(move || write_until_refused(client, writer))
            })
            .collect();
        let mut reader = one.client();
        wait_until("some is written", SOON, || match reader.call(argv!["EXISTS", format!("0:{WRITTEN}")]) {
            Reply::Integer(1) => Ok(()),
            other => Err(format!("{other:?}")),
        });
        wait_online(&one);
        let port = other.address().port().to_string();
        reader.call(argv!["FAILOVER", "TO", "127.0.0.1", port, "TIMEOUT", "20000"]);
        let written: Vec<usize> = writers.into_iter().map(|writer| writer.join().expect("it ends")).collect();
        wait_link_up(&one, SOON);
        let mut client = other.client();
        for (writer, written) in written.iter().enumerate() {
            for number in 0..*written {
                let key = format!("{writer}:{number}");
                assert_eq!(client.call(argv!["EXISTS", &key]), Reply::Integer(1), "{programs:?}: {key}");
            }
            let after = client.call(argv!["EXISTS", format!("{writer}:{written}")]);
            assert_eq!(after, Reply::Integer(0), "{programs:?}: what was refused is nowhere");
        }
        assert_eq!(one.info().text("master_failover_state"), "no-failover");
        assert_eq!(one.info().text("role"), "slave");
        assert_eq!(resyncs(&other)[..2], [0, 1], "{programs:?}: the old primary went on where it was");
        client.call(argv!["SET", "after", "1"]);
        assert_converged(&other, std::slice::from_ref(&one));
        note!("{programs:?}: {written:?} writes");
    }
}

/// Writes until that is refused; returns how many were answered.
fn write_until_refused(mut client: Client, writer: u64) -> usize {
    (0..)
        .find(|number| {
            let set = client.try_call(&argv!["SET", format!("{writer}:{number}"), "x"]);
            !matches!(set, Ok(Reply::Status(_)))
        })
        .expect("it is refused some time")
}

#[test]
fn a_failover_that_cannot_be_ends_as_it_began() {
    let scratch = Scratch::new("no-failover");
    let primary = start(Program::Replcore, "primary", &scratch);
    let mut client = primary.client();
    let mut refused = |argv: &[Bytes]| match answer(&mut client, argv) {
        Reply::Error(error) => error,
        other => panic!("{argv:?}: {other:?}"),
    };
    assert_eq!(refused(&argv!["FAILOVER"]), "ERR FAILOVER requires connected replicas.");
    assert_eq!(refused(&argv!["FAILOVER", "ABORT"]), "ERR No failover in progress.");
    assert_eq!(refused(&argv!["FAILOVER", "NOW"]), "ERR syntax error");
    assert_eq!(refused(&argv!["FAILOVER", "TIMEOUT", "0"]), "ERR FAILOVER timeout must be greater than 0");
    assert_eq!(
        refused(&argv!["FAILOVER", "TO", "127.0.0.1", "1", "FORCE"]),
        "ERR FAILOVER with force option requires both a timeout and target HOST and IP."
    );
    let replica = start(Program::Valkey, "replica", &scratch);
    let link = Link::to(primary.address());
    replica.replicate(&link);
    wait_link_up(&replica, SOON);
    wait_online(&primary);
    assert_eq!(
        refused(&argv!["FAILOVER", "TO", "127.0.0.1", "1"]),
        "ERR FAILOVER target HOST and PORT is not a replica."
    );
    // A replica that does not read on: the time is over, or it is called off.
    replica.signal(rustix::process::Signal::STOP);
    client.call(argv!["SET", "k", "1"]);
    let state = || primary.info().text("master_failover_state").to_owned();
    for (begin, end) in
        [(argv!["FAILOVER", "TIMEOUT", "50"], None), (argv!["FAILOVER"], Some(argv!["FAILOVER", "ABORT"]))]
    {
        client.call(begin);
        let mut writer = primary.client();
        writer.send(&argv!["INCR", "k"]).expect("sent");
        if let Some(end) = end {
            assert_eq!(state(), "waiting-for-sync");
            assert_eq!(
                answer(&mut client, &argv!["REPLICAOF", "127.0.0.1", "1"]),
                Reply::Error("ERR REPLICAOF not allowed while failing over.".into())
            );
            client.call(end);
        }
        assert!(matches!(writer.receive(), Ok(Reply::Integer(_))), "who waited has written");
        assert_eq!(state(), "no-failover");
    }
    replica.signal(rustix::process::Signal::CONT);
    wait_caught_up(&primary, &replica, SOON);
    assert_converged(&primary, std::slice::from_ref(&replica));
}

#[test]
fn a_replica_reads_and_does_not_write() {
    let scratch = Scratch::new("reads");
    let primary = start(Program::Valkey, "primary", &scratch);
    let replica = start(Program::Replcore, "replica", &scratch);
    let mut client = primary.client();
    client.call(argv!["SET", "k", "v"]);
    // A client that waits on a primary is told when it is one no more, and closed.
    let (mut pops, mut waits) = (replica.client(), replica.client());
    pops.send(&argv!["BLPOP", "l", "0"]).expect("sent");
    waits.call(argv!["SET", "own", "1"]);
    waits.send(&argv!["WAIT", "1", "0"]).expect("sent");
    let mut reader = replica.client();
    wait_until("both wait", SOON, || match reader.info_section("clients").number("blocked_clients") {
        2 => Ok(()),
        blocked => Err(blocked.to_string()),
    });
    follow(&replica, &primary);
    for client in [&mut pops, &mut waits] {
        let unblocked =
            "UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)";
        assert_eq!(client.receive().expect("an answer"), Reply::Error(unblocked.into()));
        assert!(client.receive().is_err(), "it is closed");
    }
    wait_link_up(&replica, SOON);
    let read_only = "READONLY You can't write against a read only replica.";
    for argv in
        [argv!["SET", "k", "w"], argv!["BLPOP", "l", "0"], argv!["FLUSHALL"], argv!["GETEX", "k", "EX", "9"]]
    {
        assert_eq!(answer(&mut reader, &argv), Reply::Error(read_only.into()));
    }
    assert_eq!(reader.call(argv!["GET", "k"]), Reply::Bulk("v".into()));
    assert_eq!(reader.call(argv!["EXISTS", "own"]), Reply::Integer(0), "the copy replaced what was there");
    reader.call(argv!["MULTI"]);
    assert_eq!(answer(&mut reader, &argv!["SET", "k", "w"]), Reply::Error(read_only.into()));
    let Reply::Error(aborted) = answer(&mut reader, &argv!["EXEC"]) else { panic!("it has a write") };
    assert!(aborted.starts_with("EXECABORT"), "{aborted}");
    let Reply::Error(refused) = answer(&mut reader, &argv!["WAIT", "0", "0"]) else {
        panic!("it has no replicas of its own")
    };
    assert!(refused.starts_with("ERR WAIT cannot be used with replica instances."), "{refused}");

    // What has expired is hidden and stays, as the primary has not deleted it.
    client.call(argv!["DEBUG", "SET-ACTIVE-EXPIRE", "0"]);
    client.call(argv!["SET", "short", "1", "PX", "1"]);
    wait_caught_up(&primary, &replica, SOON);
    wait_until("its time is over", SOON, || match reader.call(argv!["GET", "short"]) {
        Reply::Null => Ok(()),
        other => Err(format!("{other:?}")),
    });
    assert_eq!(reader.call(argv!["DBSIZE"]), Reply::Integer(2));
    assert_eq!(client.call(argv!["GET", "short"]), Reply::Null);
    wait_caught_up(&primary, &replica, SOON);
    assert_eq!(reader.call(argv!["DBSIZE"]), Reply::Integer(1));

    // Messages are passed on, and published to its own subscribers alone.
    let mut subscriber = replica.client();
    subscriber.call(argv!["SUBSCRIBE", "ch"]);
    client.call(argv!["PUBLISH", "ch", "from the primary"]);
    let message = subscriber.receive().expect("a message");
    assert!(format!("{message:?}").contains("from the primary"), "{message:?}");
    let offset = reader.info_section("replication").number("master_repl_offset");
    assert_eq!(reader.call(argv!["PUBLISH", "ch", "own"]), Reply::Integer(1));
    assert_eq!(reader.info_section("replication").number("master_repl_offset"), offset);

    // Without a link, old data is served or not, as configured.
    drop(primary);
    wait_until("the link is down", SOON, || {
        match reader.info_section("replication").text("master_link_status") {
            "down" => Ok(()),
            other => Err(other.to_owned()),
        }
    });
    assert_eq!(reader.call(argv!["GET", "k"]), Reply::Bulk("v".into()));
    replica.configure(&[("replica-serve-stale-data", "no")]);
    let Reply::Error(down) = answer(&mut reader, &argv!["GET", "k"]) else { panic!("its data may be old") };
    assert!(down.starts_with("MASTERDOWN"), "{down}");
}

#[test]
fn what_cannot_be_held_ends_the_link_and_is_named() {
    let scratch = Scratch::new("unheld");
    let primary = start(Program::Valkey, "primary", &scratch);
    let mut client = primary.client();
    client.call(argv!["SET", "k", "1"]);
    let replica = start(Program::Replcore, "replica", &scratch);
    follow(&replica, &primary);
    wait_link_up(&replica, SOON);
    wait_caught_up(&primary, &replica, SOON);
    let refused = |what: &str| {
        wait_until("the link has ended", SOON, || {
            let info = replica.info();
            match (info.text("master_link_status"), info.get("master_link_error")) {
                ("down", Some(error)) if error.contains(what) => Ok(()),
                other => Err(format!("{other:?}")),
            }
        });
    };
    // In the stream: what came before is there, what comes after is not.
    client.call(argv!["SET", "k", "2"]);
    client.call(argv!["XADD", "a stream", "*", "f", "v"]);
    client.call(argv!["SET", "k", "3"]);
    refused("'XADD'");
    assert_eq!(replica.client().call(argv!["GET", "k"]), Reply::Bulk("2".into()));
    // In a snapshot.
    lead(&replica);
    follow(&replica, &primary);
    refused("'a stream' of type 21 (stream)");
    assert_eq!(replica.client().call(argv!["GET", "k"]), Reply::Bulk("2".into()), "the old data is kept");
    // Unless told otherwise.
    replica.configure(&[("unsupported-data-policy", "skip")]);
    lead(&replica);
    follow(&replica, &primary);
    wait_link_up(&replica, SOON);
    client.call(argv!["XADD", "a stream", "*", "f", "v"]);
    client.call(argv!["SET", "k", "4"]);
    wait_caught_up(&primary, &replica, SOON);
    let held = read(&replica);
    assert_eq!(held.len(), 1, "{held:?}");
    assert_eq!(replica.client().call(argv!["GET", "k"]), Reply::Bulk("4".into()));
}

#[test]
fn a_replica_that_was_restarted_goes_on_where_it_saved() {
    for program in [Program::Valkey, Program::Replcore] {
        let scratch = Scratch::new("restarted");
        let primary = start(program, "primary", &scratch);
        // Another database than the first: the stream does not select it again.
        let mut client = primary.client();
        client.call(argv!["SELECT", "7"]);
        client.call(argv!["SET", "k", "1"]);
        let address = format!("127.0.0.1:{}", primary.address().port());
        let launch = Launch::new(Program::Replcore, scratch.directory("data"));
        let launch = launch.with(&["--replicaof", &address, "--config", "save=3600 1"]);
        let mut replica = launch.start("replica");
        wait_link_up(&replica, SOON);
        client.call(argv!["SET", "k", "2"]);
        wait_caught_up(&primary, &replica, SOON);
        let before = resyncs(&primary);
        replica.signal(rustix::process::Signal::TERM);
        assert_eq!(replica.wait_exit(SOON).code(), Some(0));
        client.call(argv!["SET", "k", "3"]);
        let replica = launch.start("replica");
        wait_link_up(&replica, SOON);
        client.call(argv!["SET", "after", "4"]);
        assert_converged(&primary, std::slice::from_ref(&replica));
        let [full, partial, refused] = resyncs(&primary);
        assert_eq!([full, partial, refused], [before[0], before[1] + 1, before[2]], "{program:?}");
    }
}

#[test]
fn sentinels_fail_over_in_each_direction() {
    // Sentinels are patient: together they need as long as one.
    thread::scope(|scope| {
        for (sentinels, programs) in [
            (Program::Valkey, [Program::Replcore, Program::Valkey]),
            (Program::Redis, [Program::Valkey, Program::Replcore]),
            (Program::Valkey, [Program::Replcore; 2]),
        ] {
            scope.spawn(move || fail_over_by_sentinel(sentinels, programs));
        }
    });
}

fn fail_over_by_sentinel(sentinels: Program, programs: [Program; 2]) {
    const NAME: &str = "the-primary";
    let scratch = Scratch::new("sentinel");
    let [mut one, mut other] =
        programs.map(|program| Some(start(program, &format!("{program:?}"), &scratch)));
    let of = |server: &Option<Server>| server.as_ref().expect("it runs").address().port();
    let ports = [of(&one), of(&other)];
    follow(other.as_ref().expect("it runs"), one.as_ref().expect("it runs"));
    wait_link_up(other.as_ref().expect("it runs"), SOON);
    let sentinel = Server::sentinel(sentinels, NAME, ports[0], &scratch);
    let mut asked = sentinel.client();
    let mut primary_is = |port: u16| {
        wait_until("the sentinel knows the primary", SOON, || {
            let Reply::Array(address) = asked.call(argv!["SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME]) else {
                return Err("no address".to_owned());
            };
            let expected = Reply::Bulk(Bytes::from(port.to_string()));
            if address.get(1) == Some(&expected) { Ok(()) } else { Err(format!("{address:?}")) }
        });
    };
    let mut asked = sentinel.client();
    wait_until("the sentinel knows the replica", SOON, || {
        match asked.call(argv!["SENTINEL", "REPLICAS", NAME]) {
            Reply::Array(replicas) if replicas.len() == 1 => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    let written = write_with_wait(one.as_ref().expect("it runs").client(), 0, 50);
    assert_eq!(written, 50);
    // The primary dies: the replica is promoted.
    let program = one.take().expect("it runs").program;
    primary_is(ports[1]);
    let promoted = other.as_ref().expect("it runs");
    wait_role(promoted, "master");
    promoted.client().call(argv!["SET", "of the new primary", "1"]);
    // The old one comes back as a primary, and is demoted.
    let old = Launch::new(program, scratch.directory("old")).start_at("old", ports[0]);
    old.client().call(argv!["SET", "of the old primary", "1"]);
    wait_role(&old, "slave");
    wait_link_up(&old, SOON);
    assert_converged(promoted, std::slice::from_ref(&old));
    let mut client = old.client();
    assert_eq!(client.call(argv!["EXISTS", "of the old primary"]), Reply::Integer(0));
    for number in 0..written {
        assert_eq!(client.call(argv!["EXISTS", format!("0:{number}")]), Reply::Integer(1));
    }
    // And on request, without a death: nothing is lost, and both keep their roles.
    wait_until("the sentinel fails over", SOON, || {
        match answer(&mut asked, &argv!["SENTINEL", "FAILOVER", NAME]) {
            Reply::Status(_) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    primary_is(ports[0]);
    wait_role(promoted, "slave");
    wait_link_up(promoted, SOON);
    old.client().call(argv!["SET", "of the old primary, again", "1"]);
    assert_converged(&old, std::slice::from_ref(promoted));
    note!("{sentinels:?} over {programs:?}");
    other.take();
}
