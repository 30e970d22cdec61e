//! PSYNC against a running primary, to the byte; and what becomes of replicas that cannot keep up.
#![cfg(feature = "server")]

mod support;

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{Rng as _, RngExt as _, SeedableRng as _};
use replcore::rdb::{Entry, Event, Limits, Reader, Value};
use replcore::resp::Reply;
use rustix::process::Signal;

use support::client::{Client, argv};
use support::keyspace::assert_converged;
use support::stream::{Answer, RawReplica};
use support::{Program, Scratch, Server, attach_replicas, note, seed, wait_link_up, wait_until};

const RESYNC: Duration = Duration::from_secs(30);
const MIB: u64 = 1 << 20;

/// Writes about `bytes` of stream in values of random bytes.
fn write(client: &mut Client, bytes: u64, rng: &mut StdRng) {
    let mut written = 0;
    while written < bytes {
        let mut value = vec![0; rng.random_range(1..2_000)];
        rng.fill_bytes(&mut value);
        written += value.len() as u64;
        client.call(argv!["SET", format!("key:{}", rng.random_range(0..500)), Bytes::from(value)]);
    }
}

/// A primary with a backlog of 1 MiB, 3 MiB of stream behind it and no ping in it, and a replica that
/// recorded all of it from its first byte, which has offset `base + 1`.
struct Recorded {
    primary: Server,
    replid: String,
    base: u64,
    stream: Vec<u8>,
    recorder: RawReplica,
}

impl Recorded {
    fn new(scratch: &Scratch, rng: &mut StdRng) -> Recorded {
        let primary = Server::primary(scratch);
        primary.configure(&[("repl-ping-replica-period", "3600"), ("repl-backlog-size", "1048576")]);
        let mut recorder = RawReplica::introduce(primary.address());
        let Answer::FullResync { replid, offset: base } = recorder.psync("?", -1) else {
            panic!("a replica without a history gets a snapshot");
        };
        recorder.snapshot();
        recorder.acknowledge(base);
        let mut recorded = Recorded { primary, replid, base, stream: Vec::new(), recorder };
        write(&mut recorded.primary.client(), 3 * MIB, rng);
        recorded.record();
        recorded
    }

    /// Reads up to the end of the stream. Returns its offset.
    fn record(&mut self) -> u64 {
        let end = self.primary.info().number("master_repl_offset");
        let missing = end - self.base - self.stream.len() as u64;
        self.stream.extend(self.recorder.bytes(missing as usize));
        end
    }

    /// The recorded bytes from the one at offset `wanted` on.
    fn from(&self, wanted: u64) -> &[u8] {
        &self.stream[(wanted - self.base - 1) as usize..]
    }
}

#[test]
fn psync_is_decided_to_the_byte() {
    let seed = seed();
    note!("REPLCORE_TEST_SEED={seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let scratch = Scratch::new("psync");
    let mut recorded = Recorded::new(&scratch, &mut rng);
    let address = recorded.primary.address();
    let before = recorded.primary.info();
    let end = before.number("master_repl_offset");
    let first = before.number("repl_backlog_first_byte_offset");
    let held = end + 1 - first;
    assert_eq!(before.number("repl_backlog_histlen"), held);
    assert!((MIB..2 * MIB).contains(&held), "the backlog holds {held} bytes");
    let replid = recorded.replid.clone();
    let other_id = replid.bytes().map(|digit| if digit == b'0' { '1' } else { '0' }).collect::<String>();

    // From the backlog: every byte wanted and held is sent again, and it is what was sent before.
    let mut continued = 0;
    let mut wanted = vec![first, first + 1, end, end + 1];
    wanted.extend((0..30).map(|_| rng.random_range(first..=end + 1)));
    for wanted in wanted {
        let mut replica = RawReplica::introduce(address);
        let id = if rng.random_ratio(1, 2) { replid.clone() } else { replid.to_uppercase() };
        let answer = replica.psync(&id, wanted);
        assert_eq!(answer, Answer::Continue(replid.clone()), "byte {wanted} of [{first}, {end}]");
        let expected = recorded.from(wanted);
        assert!(replica.bytes(expected.len()) == expected, "the stream from byte {wanted} on is another one");
        continued += 1;
    }

    // Outside of it, or of another history: a snapshot at the end of the stream.
    let mut refused = 0;
    for (id, wanted) in [
        (&replid, (first - 1).to_string()),
        (&replid, (end + 2).to_string()),
        (&replid, "1".to_owned()),
        (&replid, "0".to_owned()),
        (&replid, "-1".to_owned()),
        (&replid, i64::MAX.to_string()),
        (&replid, i64::MIN.to_string()),
        (&other_id, first.to_string()),
        (&other_id, (end + 1).to_string()),
    ] {
        let mut replica = RawReplica::introduce(address);
        let answer = replica.psync(id, &wanted);
        let full = Answer::FullResync { replid: replid.clone(), offset: end };
        assert_eq!(answer, full, "PSYNC {id} {wanted} with [{first}, {end}]");
        refused += 1;
    }
    let mut replica = RawReplica::introduce(address);
    let answer = replica.psync(&replid, "one");
    assert_eq!(answer, Answer::Other("-ERR value is not an integer or out of range".to_owned()));

    let after = recorded.primary.info();
    let since = |field: &str| after.number(field) - before.number(field);
    assert_eq!(since("sync_partial_ok"), continued);
    assert_eq!(since("sync_partial_err"), refused);
    assert_eq!(after.number("master_repl_offset"), end, "none of this is in the stream");
    assert_eq!(after.text("master_replid"), replid);

    // A replica that wanted what was not there yet gets it when it comes, as the recorder does.
    let mut replica = RawReplica::introduce(address);
    assert_eq!(replica.psync(&replid, end + 1), Answer::Continue(replid));
    write(&mut recorded.primary.client(), MIB / 4, &mut rng);
    recorded.record();
    let expected = recorded.from(end + 1);
    assert!(replica.bytes(expected.len()) == expected, "two replicas read two streams");
}

#[test]
fn sync_on_a_bare_socket_gives_a_snapshot_of_known_length_and_the_stream() {
    let scratch = Scratch::new("sync");
    let primary = Server::primary(&scratch);
    primary.configure(&[("repl-ping-replica-period", "3600")]);
    let mut client = primary.client();
    client.call(argv!["SET", "before", "1"]);
    let mut replica = RawReplica::connect(primary.address());
    replica.send_raw(b"SYNC\r\n");
    let header = replica.line();
    let len = header.strip_prefix('$').and_then(|len| len.parse::<usize>().ok());
    let snapshot = replica.bytes(len.unwrap_or_else(|| panic!("{header:?} has no length")));
    assert!(snapshot.starts_with(b"REDIS00") || snapshot.starts_with(b"VALKEY0"), "{snapshot:?}");
    assert_eq!(snapshot[snapshot.len() - 9], 0xff, "the end of the snapshot and its checksum");
    let name = b"before";
    assert!(snapshot.windows(name.len()).any(|window| window == name));

    client.call(argv!["SET", "after", "2"]);
    let mut next = || loop {
        let argv = replica.command();
        // A primary may ping whenever it likes.
        if argv != argv!["ping"] {
            return argv;
        }
    };
    assert_eq!(next(), argv!["SELECT", 0]);
    assert_eq!(next(), argv!["SET", "after", 2]);
}

/// The strings of a snapshot, of all databases.
fn strings(snapshot: &[u8]) -> HashMap<Bytes, Bytes> {
    let mut reader = Reader::new(snapshot, Limits::default()).expect("a snapshot");
    let mut strings = HashMap::new();
    while let Some(event) = reader.next_event().expect("an intact snapshot") {
        if let Event::Entry(Entry { key, value: Value::String(value), .. }) = event {
            strings.insert(key, value);
        }
    }
    strings
}

#[test]
fn every_snapshot_is_one_instant_of_the_stream() {
    const WRITERS: usize = 4;
    let number =
        |text: &Bytes| String::from_utf8_lossy(text).parse::<u64>().expect("the writers write numbers");
    let scratch = Scratch::new("instant");
    let primary = Server::primary(&scratch);
    // Those that fork for each are slower.
    let snapshots = if primary.program == Program::Replcore { 300 } else { 30 };
    write(&mut primary.client(), MIB, &mut StdRng::seed_from_u64(seed()));
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        // Each writer counts in two keys at once, in a database of its own.
        for writer in 0..WRITERS {
            let (mut client, stop) = (primary.client(), &stop);
            scope.spawn(move || {
                client.call(argv!["SELECT", writer]);
                for n in 1_u64.. {
                    let pair = [
                        argv!["MULTI"],
                        argv!["SET", format!("left:{writer}"), n],
                        argv!["SET", format!("right:{writer}"), n],
                        argv!["EXEC"],
                    ];
                    client.pipeline(&pair).expect("the primary answers");
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                }
            });
        }
        let check = scope.spawn(|| {
            for round in 0..snapshots {
                let mut replica = RawReplica::introduce(primary.address());
                let Answer::FullResync { offset, .. } = replica.psync("?", -1) else { panic!("no snapshot") };
                let held = strings(&replica.snapshot());
                let counted = |side: &str, writer: usize| {
                    held.get(format!("{side}:{writer}").as_bytes()).map_or(0, number)
                };
                // No transaction is torn by the cut ...
                for writer in 0..WRITERS {
                    assert_eq!(counted("left", writer), counted("right", writer), "snapshot {round}");
                }
                // ... and the stream goes on with the very next write of each, in its database.
                replica.acknowledge(offset);
                let mut db = None;
                let mut unseen: BTreeSet<usize> = (0..WRITERS).collect();
                while !unseen.is_empty() {
                    let argv = replica.command();
                    match &argv[0][..] {
                        b"SELECT" => db = Some(argv[1].clone()),
                        b"SET" if argv[1].starts_with(b"left:") => {
                            let writer = number(&argv[1].slice(b"left:".len()..)) as usize;
                            assert_eq!(
                                db,
                                Some(Bytes::from(writer.to_string())),
                                "snapshot {round}: {argv:?}"
                            );
                            if unseen.remove(&writer) {
                                let last = counted("left", writer);
                                assert_eq!(number(&argv[2]), last + 1, "snapshot {round}, writer {writer}");
                            }
                        }
                        _ => {}
                    }
                }
            }
        });
        let checked = check.join();
        stop.store(true, Ordering::Relaxed);
        assert!(checked.is_ok(), "a snapshot and its stream do not fit");
    });
}

#[test]
fn a_replica_that_missed_more_than_the_backlog_gets_a_full_resync() {
    let seed = seed();
    let scratch = Scratch::new("missed");
    let primary = Server::primary(&scratch);
    primary.configure(&[("repl-backlog-size", "1048576")]);
    let (replicas, links) = attach_replicas(&primary, &scratch);
    let before = primary.info();
    for link in &links {
        link.close();
    }
    write(&mut primary.client(), 3 * MIB, &mut StdRng::seed_from_u64(seed));
    for link in &links {
        link.open();
    }
    for replica in &replicas {
        wait_until(&format!("{} is given a snapshot", replica.name()), RESYNC, || {
            match replica.full_resyncs_logged() {
                2 => Ok(()),
                resyncs => Err(format!("{resyncs} full resyncs")),
            }
        });
        wait_link_up(replica, RESYNC);
        assert_eq!(replica.partial_resyncs_logged(), 0, "{}", replica.name());
    }
    assert_converged(&primary, &replicas);
    let after = primary.info();
    assert_eq!(after.number("sync_full") - before.number("sync_full"), 2);
    assert_eq!(after.number("sync_partial_err") - before.number("sync_partial_err"), 2);
    assert_eq!(after.number("sync_partial_ok"), before.number("sync_partial_ok"));
}

#[test]
fn a_replica_that_stops_reading_is_dropped_at_its_limit_and_gets_a_full_resync_when_it_wakes() {
    const LIMIT_BYTES: u64 = 8 * MIB;
    /// What the sockets on the way may hold in addition.
    const SOCKETS_BYTES: u64 = 64 * MIB;
    let mut rng = StdRng::seed_from_u64(seed());
    let scratch = Scratch::new("stopped");
    let primary = Server::primary(&scratch);
    let limit = format!("replica {LIMIT_BYTES} 0 0");
    primary.configure(&[("repl-backlog-size", "1048576"), ("client-output-buffer-limit", &limit)]);
    let (replicas, _links) = attach_replicas(&primary, &scratch);
    let before = primary.info();
    let mut client = primary.client();

    replicas[0].signal(Signal::STOP);
    let mut written = 0;
    let evicted = loop {
        write(&mut client, MIB / 2, &mut rng);
        written += MIB / 2;
        // The other one keeps up: writing waits for it.
        assert!(client.call_integer(argv!["WAIT", 1, 10_000]) >= 1, "the replica that reads acknowledges");
        let info = client.info();
        if info.number("connected_slaves") == 1 {
            break info;
        }
        assert!(
            written < LIMIT_BYTES + SOCKETS_BYTES,
            "{written} bytes are pinned by a replica that does not read"
        );
    };
    note!("dropped after {written} bytes");
    assert!(written >= LIMIT_BYTES, "dropped {written} bytes behind, the limit is {LIMIT_BYTES}");
    // Redis 7.0 does not count them.
    if primary.program != Program::Redis {
        let limit_hits = "client_output_buffer_limit_disconnections";
        assert_eq!(evicted.number(limit_hits) - before.number(limit_hits), 1);
    }
    let reason = match primary.program {
        Program::Replcore => "the replica is too slow",
        Program::Valkey | Program::Valkey90 | Program::Redis => "output buffer limits",
    };
    assert_eq!(primary.log_count(reason), 1, "the log says why");
    wait_until("what it pinned is given back", RESYNC, || {
        match client.info_section("memory").number("mem_total_replication_buffers") {
            bytes if bytes < 3 * MIB => Ok(()),
            bytes => Err(format!("{bytes} bytes held for a backlog of {MIB}")),
        }
    });

    replicas[0].signal(Signal::CONT);
    wait_until("the replica is given a snapshot", RESYNC, || match replicas[0].full_resyncs_logged() {
        2 => Ok(()),
        resyncs => Err(format!("{resyncs} full resyncs")),
    });
    wait_link_up(&replicas[0], RESYNC);
    assert_converged(&primary, &replicas);
    assert_eq!(primary.info().number("sync_full") - before.number("sync_full"), 1);
    assert_eq!(replicas[1].full_resyncs_logged(), 1, "the other one never noticed");
}

#[test]
fn wait_counts_the_replicas_that_have_the_write() {
    const NEVER_MS: u64 = 600;
    let scratch = Scratch::new("wait");
    let primary = Server::primary(&scratch);
    let (replicas, _links) = attach_replicas(&primary, &scratch);
    let mut client = primary.client();
    let mut readers: Vec<Client> = replicas.iter().map(Server::client).collect();

    for round in 0..50 {
        client.call(argv!["SET", "round", round]);
        assert_eq!(client.call_integer(argv!["WAIT", 2, 0]), 2);
        for reader in &mut readers {
            assert_eq!(reader.call(argv!["GET", "round"]), Reply::Bulk(Bytes::from(round.to_string())));
        }
    }

    replicas[1].signal(Signal::STOP);
    client.call(argv!["SET", "round", "stopped"]);
    let asked = Instant::now();
    assert_eq!(client.call_integer(argv!["WAIT", 2, NEVER_MS]), 1);
    assert!(asked.elapsed() >= Duration::from_millis(NEVER_MS), "gave up after {:?}", asked.elapsed());
    let asked = Instant::now();
    assert_eq!(client.call_integer(argv!["WAIT", 1, 0]), 1);
    assert!(
        asked.elapsed() < Duration::from_millis(NEVER_MS),
        "one had it, and WAIT took {:?}",
        asked.elapsed()
    );

    replicas[1].signal(Signal::CONT);
    assert_eq!(client.call_integer(argv!["WAIT", 2, 0]), 2);
    assert_eq!(readers[1].call(argv!["GET", "round"]), Reply::Bulk(Bytes::from("stopped")));
}
