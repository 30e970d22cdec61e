//! A replica's session attached to real primaries: Valkey 9.1.2, Redis 7.0.15, and replcore itself.
#![cfg(feature = "server")]

mod support;

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use replcore::resp::Reply;
use replcore::resync::replica::{
    Builder, Command, Event, LinkError, Phase, Position, ReplicaSession, Step, TransactionPart,
};
use replcore::resync::{Framing, Previous, ServerVersion};

use support::client::{Argv, Client, argv};
use support::{Link, Program, Scratch, Server, note, seed, wait_until};

const PRIMARIES: [Program; 3] = [Program::Valkey, Program::Redis, Program::Replcore];
const SOON: Duration = Duration::from_secs(30);
/// How long the follower sleeps in a read: it also has to look at what the test wants of it.
const READ_MS: u64 = 20;

/// What a follower has seen so far.
#[derive(Default)]
struct Seen {
    snapshots: Vec<(Framing, Vec<u8>)>,
    continued: Vec<(Position, Option<Previous>)>,
    /// Without those that were rolled back.
    commands: Vec<Command>,
    rolled_back: usize,
    errors: Vec<LinkError>,
    position: Option<Position>,
    phase: Option<Phase>,
    /// What is to be confirmed.
    confirm: Option<u64>,
}

impl Seen {
    fn take(&mut self, event: Event) {
        match event {
            Event::SnapshotBegin { framing, .. } => {
                self.snapshots.push((framing, Vec::new()));
                self.commands.clear();
            }
            Event::Snapshot(bytes) => self.snapshots.last_mut().expect("it has begun").1.extend(bytes),
            Event::Continue { position, previous } => self.continued.push((position, previous)),
            Event::Command(command) => {
                if let Some(last) = self.commands.last() {
                    assert_eq!(command.start, last.end, "no byte is missing and none comes twice");
                }
                self.commands.push(command);
            }
            Event::LinkDown(down) => {
                if let Some(to) = down.rolled_back_to {
                    let before = self.commands.len();
                    self.commands.retain(|command| command.end <= to);
                    self.rolled_back += before - self.commands.len();
                }
                self.errors.push(down.error);
            }
            _ => {}
        }
    }

    /// The commands that carry data, each with its database.
    fn data(&self) -> Vec<(u32, Argv)> {
        let data = self.commands.iter().filter(|command| !command.is_administrative());
        data.map(|command| (command.db.expect("a primary selects"), command.argv.clone())).collect()
    }

    fn offset(&self) -> u64 {
        self.position.map_or(0, |position| position.offset)
    }
}

/// A session on a socket and a thread of its own.
struct Follower {
    seen: Arc<Mutex<Seen>>,
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Follower {
    fn start(port: u16, builder: Builder) -> Follower {
        let session = builder
            .listening_port(1)
            .version(ServerVersion { major: 9, minor: 1, patch: 2 })
            .backoff_base_ms(20)
            .backoff_max_ms(100)
            .build();
        let (seen, ends) = (Arc::new(Mutex::new(Seen::default())), Arc::new(AtomicBool::new(false)));
        let thread = {
            let (seen, ends) = (Arc::clone(&seen), Arc::clone(&ends));
            thread::spawn(move || follow(session, port, &seen, &ends))
        };
        Follower { seen, ends, thread: Some(thread) }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().expect("the follower has not failed")
    }

    #[track_caller]
    fn wait(&self, what: &str, condition: impl Fn(&Seen) -> bool) {
        wait_until(what, SOON, || {
            let seen = self.seen();
            let show = || format!("{:?} at {:?}, {:?}", seen.phase, seen.position, seen.errors);
            if condition(&seen) { Ok(()) } else { Err(show()) }
        });
    }

    /// Waits until it is where the primary is.
    #[track_caller]
    fn wait_caught_up(&self, primary: &mut Client) {
        wait_until("the follower has caught up", SOON, || {
            let end = primary.info_section("replication").number("master_repl_offset");
            let seen = self.seen();
            let at_end = seen.offset() == end && seen.phase == Some(Phase::Streaming);
            if at_end { Ok(()) } else { Err(format!("{:?} of {end}, {:?}", seen.position, seen.errors)) }
        });
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        let outcome = self.thread.take().map(JoinHandle::join);
        if !thread::panicking() {
            assert!(!matches!(outcome, Some(Err(_))), "the follower failed");
        }
    }
}

fn follow(mut session: ReplicaSession, port: u16, seen: &Mutex<Seen>, ends: &AtomicBool) {
    let start = Instant::now();
    let now_ms = || start.elapsed().as_millis() as u64;
    let mut socket: Option<TcpStream> = None;
    let mut chunk = vec![0; 64 << 10];
    while !ends.load(Ordering::Relaxed) {
        while let Some(event) = session.next_event(now_ms()) {
            match event {
                Event::Connect => match TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port))) {
                    Ok(connection) => {
                        socket = Some(connection);
                        session.connected();
                    }
                    Err(_) => session.disconnected(now_ms()),
                },
                Event::SnapshotEnd => session.snapshot_applied(None, now_ms()),
                Event::LinkDown(_) => {
                    socket = None;
                    seen.lock().expect("the test has not failed").take(event);
                }
                event => seen.lock().expect("the test has not failed").take(event),
            }
        }
        let mut seen = seen.lock().expect("the test has not failed");
        if let Some(offset) = seen.confirm.take() {
            session.confirm(offset);
        }
        (seen.position, seen.phase) = (session.position(), Some(session.phase()));
        drop(seen);
        let wait_ms = session.next_deadline_ms().map_or(READ_MS, |at_ms| at_ms.saturating_sub(now_ms()));
        let wait = Duration::from_millis(wait_ms.clamp(1, READ_MS));
        let Some(connection) = &mut socket else {
            thread::sleep(wait);
            continue;
        };
        connection.set_read_timeout(Some(wait)).expect("the timeout is not zero");
        match connection.write_all(&session.take_output()).and_then(|()| connection.read(&mut chunk)) {
            Ok(0) => session.disconnected(now_ms()),
            Ok(len) => session.receive(&chunk[..len]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => session.disconnected(now_ms()),
        }
    }
}

fn set(client: &mut Client, key: &str, value: impl ToString) -> Argv {
    let command = argv!["SET", key, value.to_string()];
    client.call(command.clone());
    command
}

#[test]
fn every_primary_is_followed_from_a_snapshot_in_either_framing() {
    let scratch = Scratch::new("framings");
    for program in PRIMARIES {
        let primary = Server::start(program, &format!("primary {program:?}"), &scratch);
        let mut client = primary.client();
        set(&mut client, "before", "1");
        for (diskless, framing) in [("yes", Framing::EndMark), ("no", Framing::Length)] {
            primary.configure(&[("repl-diskless-sync", diskless)]);
            let follower = Follower::start(primary.address().port(), ReplicaSession::builder());
            follower.wait("it is attached", |seen| seen.phase == Some(Phase::Streaming));
            let mut expected = vec![(0, set(&mut client, "plain", "2"))];
            client.call(argv!["SELECT", 3]);
            expected.push((3, set(&mut client, "selected", "3")));
            client.call(argv!["MULTI"]);
            expected.push((3, set(&mut client, "first", "4")));
            expected.push((3, set(&mut client, "second", Bytes::from(vec![b'x'; 200_000]).escape_ascii())));
            client.call(argv!["EXEC"]);
            client.call(argv!["SELECT", 0]);
            follower.wait_caught_up(&mut client);

            let seen = follower.seen();
            assert_eq!(seen.data(), expected, "{program:?}, diskless: {diskless}");
            let [(given, snapshot)] = &seen.snapshots[..] else { panic!("one snapshot is enough") };
            assert_eq!(*given, framing, "{program:?}");
            assert!(snapshot.starts_with(b"REDIS00") || snapshot.starts_with(b"VALKEY0"));
            assert_eq!(snapshot[snapshot.len() - 9], 0xff, "the end of the snapshot and its checksum");
            assert!(snapshot.windows(6).any(|window| window == b"before"));
            assert_eq!(
                seen.position.map(|at| at.id.to_string()),
                client.info().get("master_replid").map(Into::into)
            );
            assert_eq!(seen.errors, []);
        }
    }
}

#[test]
fn links_cut_anywhere_are_continued_with_each_write_once() {
    const WRITES: u64 = 2_000;
    // Of so many writes each link is cut, before so many bytes: less than they are.
    const ROUND: u64 = 100;
    const ROUND_BYTES: u64 = 4_000;
    let seed = seed();
    note!("REPLCORE_TEST_SEED={seed}");
    let scratch = Scratch::new("cut-anywhere");
    for program in PRIMARIES {
        let mut rng = StdRng::seed_from_u64(seed);
        let primary = Server::start(program, &format!("primary {program:?}"), &scratch);
        let link = Link::to(primary.address());
        let mut client = primary.client();
        let follower = Follower::start(link.port(), ReplicaSession::builder().stable_ms(0));
        follower.wait("it is attached", |seen| seen.phase == Some(Phase::Streaming));
        let mut expected = Vec::new();
        for number in 0..WRITES {
            if number % ROUND == 0 {
                follower.wait_caught_up(&mut client);
                link.close_after(rng.random_range(1..ROUND_BYTES));
            }
            if number % 3 == 0 {
                client.call(argv!["MULTI"]);
                expected.push((0, set(&mut client, "in-a-unit", number)));
                expected.push((0, set(&mut client, "in-it-too", number)));
                client.call(argv!["EXEC"]);
            } else {
                expected.push((0, set(&mut client, "alone", number)));
            }
            if number % ROUND == ROUND - 1 {
                link.wait_closed(SOON);
                link.open();
            }
        }
        // In the midst of a transaction for sure.
        follower.wait_caught_up(&mut client);
        link.close_after(5_000);
        client.call(argv!["MULTI"]);
        expected.extend((0..100).map(|number| (0, set(&mut client, "large", format!("{number:0100}")))));
        client.call(argv!["EXEC"]);
        link.wait_closed(SOON);
        link.open();
        follower.wait_caught_up(&mut client);

        let seen = follower.seen();
        assert_eq!(seen.snapshots.len(), 1, "{program:?}: {:?}", seen.errors);
        assert!(seen.data() == expected, "{program:?}: {} and {}", seen.data().len(), expected.len());
        assert!(seen.continued.len() as u64 > WRITES / ROUND, "{:?}", seen.continued);
        assert!(seen.rolled_back > 10, "{} commands", seen.rolled_back);
        assert!(seen.commands.iter().any(|command| command.part == TransactionPart::Begin));
        note!(
            "{program:?}: {} continued, {} commands rolled back, {} cuts",
            seen.continued.len(),
            seen.rolled_back,
            link.cuts()
        );
    }
}

#[test]
fn acknowledgements_satisfy_those_who_wait_on_the_primary() {
    let scratch = Scratch::new("wait");
    for program in PRIMARIES {
        let primary = Server::start(program, &format!("primary {program:?}"), &scratch);
        // With an end mark the stream would begin at an acknowledgement that the clock has to send.
        primary.configure(&[("repl-diskless-sync", "no")]);
        let mut client = primary.client();
        let port = primary.address().port();
        {
            let follower = Follower::start(port, ReplicaSession::builder().ack_interval_ms(30_000));
            follower.wait("it is attached", |seen| seen.phase == Some(Phase::Streaming));
            set(&mut client, "key", 1);
            // The primary asks; nothing is acknowledged by the clock in this time.
            assert_eq!(client.call_integer(argv!["WAIT", 1, 10_000]), 1, "{program:?}");
        }
        let builder = ReplicaSession::builder().ack_interval_ms(30_000).acknowledge_confirmed(true);
        let follower = Follower::start(port, builder);
        follower.wait("it is attached", |seen| seen.phase == Some(Phase::Streaming));
        wait_until("the first one is gone", SOON, || {
            let replicas = client.info_section("replication").number("connected_slaves");
            if replicas == 1 { Ok(()) } else { Err(format!("{replicas} replicas")) }
        });
        set(&mut client, "key", 2);
        assert_eq!(client.call_integer(argv!["WAIT", 1, 200]), 0, "{program:?}: nothing is confirmed");
        follower.wait_caught_up(&mut client);
        let offset = follower.seen().offset();
        follower.seen().confirm = Some(offset);
        assert_eq!(client.call_integer(argv!["WAIT", 1, 10_000]), 1, "{program:?}: it was confirmed");
    }
}

#[test]
fn a_password_opens_the_primary_and_a_wrong_one_stops_the_session() {
    let scratch = Scratch::new("password");
    for program in PRIMARIES {
        let primary = Server::start(program, &format!("primary {program:?}"), &scratch);
        let port = primary.address().port();
        let mut client = primary.client();
        client.call(argv!["CONFIG", "SET", "requirepass", "secret"]);
        client.call(argv!["AUTH", "secret"]);
        for (builder, step) in [
            (ReplicaSession::builder(), Step::Psync),
            (ReplicaSession::builder().password("wrong"), Step::Auth),
        ] {
            let follower = Follower::start(port, builder);
            follower.wait("it has stopped", |seen| seen.phase == Some(Phase::Stopped));
            let errors = std::mem::take(&mut follower.seen().errors);
            let refused =
                |error: &LinkError| matches!(error, LinkError::Refused { step: at, .. } if *at == step);
            assert!(matches!(&errors[..], [error] if refused(error)), "{program:?}: {errors:?}");
        }
        let mut builders = vec![ReplicaSession::builder().password("secret")];
        builders.push(ReplicaSession::builder().user("default", "secret"));
        if program != Program::Replcore {
            client.call(argv!["ACL", "SETUSER", "replica", "on", ">other", "+psync", "+replconf", "+ping"]);
            builders.push(ReplicaSession::builder().user("replica", "other"));
        }
        for builder in builders {
            let follower = Follower::start(port, builder);
            follower.wait("it is attached", |seen| seen.phase == Some(Phase::Streaming));
            let written = set(&mut client, "key", 1);
            follower.wait_caught_up(&mut client);
            assert_eq!(follower.seen().data(), [(0, written)], "{program:?}");
        }
    }
}

#[test]
fn a_replica_is_followed_as_a_primary_is_and_through_its_promotion() {
    let scratch = Scratch::new("chain");
    for program in [Program::Valkey, Program::Redis] {
        let primary = Server::start(program, &format!("primary {program:?}"), &scratch);
        let middle = Server::start(program, &format!("middle {program:?}"), &scratch);
        let link = Link::to(primary.address());
        let (mut client, mut middle_client) = (primary.client(), middle.client());
        link.close();
        middle.replicate(&link);
        // While it has no primary itself it puts others off, and they try again.
        let follower = Follower::start(middle.address().port(), ReplicaSession::builder());
        let put_off = |error: &LinkError| matches!(error, LinkError::NotNow { step: Step::Psync, reply } if reply.starts_with("-NOMASTERLINK"));
        follower.wait("it is put off", |seen| seen.errors.iter().any(put_off));
        link.open();
        follower.wait("it is attached", |seen| seen.phase == Some(Phase::Streaming));
        let first = (0, set(&mut client, "key", 1));
        follower.wait_caught_up(&mut client);
        let before = follower.seen().position.expect("it is attached");
        assert_eq!(Some(before.id.as_str()), client.info().get("master_replid"));

        middle_client.call(argv!["REPLICAOF", "NO", "ONE"]);
        follower.wait("it is continued", |seen| {
            seen.continued
                .iter()
                .any(|(_, previous)| previous.is_some_and(|previous| previous.replid == before.id))
        });
        let second = (0, set(&mut middle_client, "key", 2));
        follower.wait_caught_up(&mut middle_client);
        let seen = follower.seen();
        assert_eq!(seen.snapshots.len(), 1, "{:?}", seen.errors);
        assert_eq!(seen.data(), [first, second], "{program:?}");
        let after = seen.position.expect("it is attached");
        assert_eq!(Some(after.id.as_str()), middle_client.info().get("master_replid"));
    }
}

#[test]
fn a_link_cut_within_the_snapshot_begins_anew() {
    let scratch = Scratch::new("cut-snapshot");
    for program in PRIMARIES {
        let primary = Server::start(program, &format!("primary {program:?}"), &scratch);
        let mut client = primary.client();
        set(&mut client, "large", "v".repeat(1 << 20));
        if program != Program::Replcore {
            // It would make the snapshot short.
            primary.configure(&[("rdbcompression", "no")]);
        }
        let link = Link::to(primary.address());
        link.close_after(200_000);
        let follower = Follower::start(link.port(), ReplicaSession::builder());
        link.wait_closed(SOON);
        follower.wait("the cut is seen", |seen| !seen.errors.is_empty());
        {
            let seen = follower.seen();
            assert_eq!((seen.position, seen.snapshots.len()), (None, 1), "{program:?}: {:?}", seen.errors);
        }
        link.open();
        follower.wait("it is attached", |seen| seen.phase == Some(Phase::Streaming));
        let written = set(&mut client, "key", 1);
        follower.wait_caught_up(&mut client);
        let seen = follower.seen();
        assert_eq!(seen.data(), [(0, written)]);
        assert!(seen.snapshots[0].1.len() < seen.snapshots[1].1.len());
        assert!(matches!(client.call(argv!["GET", "key"]), Reply::Bulk(_)));
    }
}
