//! Replicas: played by the test, byte by byte.

use super::super::replication::MAX_SNAPSHOTS;
use super::*;
use crate::rdb::{Event, Limits, Reader};

/// The stream's form of a command.
pub(super) fn wire(line: &str) -> Vec<u8> {
    let argv: Vec<&str> = line.split(' ').collect();
    let mut out = BytesMut::new();
    encode_command(&argv, &mut out);
    out.to_vec()
}

fn ping() -> Vec<u8> {
    wire("ping")
}

/// A connection that has said what a modern replica says.
pub(super) async fn greeted(server: &Running, eof: bool) -> TestClient {
    let mut replica = server.client().await;
    assert_eq!(replica.says("REPLCONF listening-port 7000").await, "OK");
    let capa = if eof { "REPLCONF capa eof capa psync2" } else { "REPLCONF capa psync2" };
    assert_eq!(replica.says(capa).await, "OK");
    replica
}

/// What a full resync delivered.
pub(super) struct Full {
    pub replid: String,
    pub offset: u64,
    pub rdb: Bytes,
}

/// Receives a full resync up to the end of its snapshot.
pub(super) async fn full(replica: &mut TestClient) -> Full {
    let line = replica.line().await;
    let words: Vec<&str> = line.split(' ').collect();
    let ["+FULLRESYNC", replid, offset] = words[..] else { panic!("{line}") };
    let (replid, offset) = (replid.to_owned(), offset.parse().expect("an offset"));
    let rdb = snapshot(replica).await;
    Full { replid, offset, rdb }
}

async fn snapshot(replica: &mut TestClient) -> Bytes {
    let mut header = replica.line().await;
    while header.is_empty() {
        header = replica.line().await;
    }
    if let Some(mark) = header.strip_prefix("$EOF:") {
        assert_eq!(mark.len(), 40);
        let mut rdb = BytesMut::new();
        while !rdb.ends_with(mark.as_bytes()) {
            let byte = replica.bytes(1).await;
            rdb.extend_from_slice(&byte);
        }
        rdb.truncate(rdb.len() - mark.len());
        return rdb.freeze();
    }
    let len = header.strip_prefix('$').and_then(|len| len.parse().ok()).unwrap_or_else(|| panic!("{header}"));
    replica.bytes(len).await
}

/// The entries of a snapshot, one line each.
pub(super) fn entries(rdb: &[u8]) -> Vec<String> {
    let mut reader = Reader::new(rdb, Limits::default()).expect("a header");
    let (mut db, mut entries) = (0, Vec::new());
    while let Some(event) = reader.next_event().expect("a snapshot") {
        match event {
            Event::SelectDb(number) => db = number,
            Event::Entry(entry) => {
                entries.push(format!("{db} {} {:?}", entry.key.escape_ascii(), entry.value))
            }
            _ => {}
        }
    }
    entries.sort();
    entries
}

pub(super) async fn online(server: &Running) -> (TestClient, Full) {
    let mut replica = greeted(server, false).await;
    replica.send("PSYNC ? -1").await;
    let full = full(&mut replica).await;
    (replica, full)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_resync_is_a_snapshot_and_then_the_stream_from_its_offset() {
    let server = Running::start(&[]).await;
    let mut client = server.client().await;
    for line in ["SET before 1", "HSET h f v", "SELECT 2", "SET other 2"] {
        client.call(line).await;
    }
    let (mut replica, full) = online(&server).await;
    assert_eq!(full.offset, client.info("master_repl_offset").await.expect("an offset"));
    let found = entries(&full.rdb);
    assert_eq!(found.len(), 3, "{found:?}");
    assert!(
        found[0].starts_with("0 before") && found[1].starts_with("0 h") && found[2].starts_with("2 other"),
        "{found:?}"
    );

    // The database is forgotten at the cut: the next command is preceded by SELECT, although it was selected
    // before.
    client.call("SET after 3").await;
    let expected = [wire("SELECT 2"), wire("SET after 3")].concat();
    assert_eq!(replica.bytes(expected.len()).await, expected);
    let end = full.offset + expected.len() as u64;
    assert_eq!(client.info("master_repl_offset").await, Some(end));

    // And only then.
    client.call("SET again 4").await;
    assert_eq!(replica.bytes(wire("SET again 4").len()).await, wire("SET again 4"));
    assert_eq!(client.info("sync_full").await, Some(1));
    assert_eq!(client.info("sync_partial_err").await, Some(0));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_an_end_mark_the_stream_waits_for_the_first_acknowledgement() {
    let server = Running::start(&[]).await;
    let mut client = server.client().await;
    let mut replica = greeted(&server, true).await;
    replica.send("PSYNC ? -1").await;
    let full = full(&mut replica).await;
    client.call("SET k v").await;
    client.until_info("connected_slaves", |replicas| replicas == 1).await;
    // Many round trips of another client, and not a byte for the replica.
    for _ in 0..100 {
        client.call("PING").await;
    }
    assert!(replica.socket.try_read(&mut [0; 1]).is_err_and(|e| e.kind() == std::io::ErrorKind::WouldBlock));
    assert_eq!(client.says("WAIT 1 1").await, "0", "a replica that is still loading has nothing");
    replica.send(&format!("REPLCONF ACK {}", full.offset)).await;
    let expected = [wire("SELECT 0"), wire("SET k v")].concat();
    assert_eq!(replica.bytes(expected.len()).await, expected);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_sync_gets_a_length_and_no_resync_line() {
    let server = Running::start(&[]).await;
    let mut client = server.client().await;
    client.call("SET k v").await;
    let mut replica = server.client().await;
    replica.write(b"SYNC\r\n").await;
    let rdb = snapshot(&mut replica).await;
    assert_eq!(entries(&rdb).len(), 1);
    client.call("SET k w").await;
    let expected = [wire("SELECT 0"), wire("SET k w")].concat();
    assert_eq!(replica.bytes(expected.len()).await, expected);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_alone_ends_the_connection() {
    let server = Running::start(&[]).await;
    let mut client = server.client().await;
    client.call("SET k v").await;
    let mut tool = server.client().await;
    assert_eq!(tool.says("REPLCONF rdb-only 1 rdb-filter-only functions").await, "OK");
    tool.write(b"SYNC\r\n").await;
    let rdb = snapshot(&mut tool).await;
    assert_eq!(entries(&rdb), Vec::<String>::new(), "the filter leaves the keys out");
    client.call("SET k w").await;
    assert_eq!(tool.rest().await, "");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_comes_back_continues_with_the_byte_it_wants() {
    let server = Running::start(&[]).await;
    let mut client = server.client().await;
    let (replica, full) = online(&server).await;
    drop(replica);
    client.call("SET k v").await;
    let missed = [wire("SELECT 0"), wire("SET k v")].concat();
    for already in [0, 1, missed.len() / 2, missed.len()] {
        let mut replica = greeted(&server, true).await;
        let wanted = full.offset + already as u64 + 1;
        replica.send(&format!("PSYNC {} {wanted}", full.replid.to_uppercase())).await;
        assert_eq!(replica.line().await, format!("+CONTINUE {}", full.replid));
        let rest = &missed[already..];
        assert_eq!(replica.bytes(rest.len()).await, rest);
    }
    assert_eq!(client.info("sync_partial_ok").await, Some(4));
    // One byte too far.
    let mut ahead = greeted(&server, true).await;
    ahead.send(&format!("PSYNC {} {}", full.replid, full.offset + missed.len() as u64 + 2)).await;
    assert!(ahead.line().await.starts_with("+FULLRESYNC"));
    // Without psync2 the id is not repeated.
    let mut old = server.client().await;
    old.send(&format!("PSYNC {} {}", full.replid, full.offset + 1)).await;
    assert_eq!(old.line().await, "+CONTINUE");
    assert_eq!(client.info("sync_partial_err").await, Some(1));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_backlog_no_longer_has_needs_a_full_resync() {
    let server = Running::start(&[("repl-backlog-size", "16kb")]).await;
    let mut client = server.client().await;
    let (replica, full) = online(&server).await;
    drop(replica);
    client.until_info("connected_slaves", |replicas| replicas == 0).await;
    let value = "x".repeat(100_000);
    for _ in 0..5 {
        client.call(&format!("SET k {value}")).await;
    }
    client.until_info("repl_backlog_first_byte_offset", |first| first > full.offset + 1).await;
    let mut replica = greeted(&server, false).await;
    replica.send(&format!("PSYNC {} {}", full.replid, full.offset + 1)).await;
    assert!(replica.line().await.starts_with("+FULLRESYNC"));
    // The first byte that INFO promises is there.
    let first = client.info("repl_backlog_first_byte_offset").await.expect("an offset");
    let mut lucky = greeted(&server, false).await;
    lucky.send(&format!("PSYNC {} {first}", full.replid)).await;
    assert!(lucky.line().await.starts_with("+CONTINUE"));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wait_counts_replicas_that_have_the_write() {
    let server = Running::start(&[]).await;
    let mut client = server.client().await;
    assert_eq!(client.says("WAIT 0 0").await, "0");
    let (mut replica, full) = online(&server).await;
    client.call("SET k v").await;
    let write = [wire("SELECT 0"), wire("SET k v")].concat();
    let end = full.offset + write.len() as u64;
    client.send("WAIT 1 0").await;
    // The replica is asked at once, after the write.
    let expected = [write, wire("REPLCONF GETACK *")].concat();
    assert_eq!(replica.bytes(expected.len()).await, expected);
    // One byte short is not enough: the next answer is the one to the whole.
    replica.send(&format!("REPLCONF ACK {}", end - 1)).await;
    let mut other = server.client().await;
    other.until_info("blocked_clients", |blocked| blocked == 1).await;
    replica.send(&format!("REPLCONF ACK {end}")).await;
    assert_eq!(client.reply().await, Reply::Integer(1));
    assert_eq!(client.says("WAIT 2 1").await, "1", "the timeout answers with what there is");
    // In a transaction it does not wait; what the transaction writes is not in the stream yet, and does not
    // count.
    for line in ["MULTI", "SET k w", "WAIT 1 0"] {
        client.call(line).await;
    }
    assert_eq!(client.says("EXEC").await, "[OK, 1]");
    assert_eq!(client.says("WAIT 1 1").await, "0");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_are_refused_without_enough_good_replicas() {
    let server = Running::start(&[("min-replicas-to-write", "1")]).await;
    let mut client = server.client().await;
    let refused = "-NOREPLICAS Not enough good replicas to write.";
    assert_eq!(client.says("SET k v").await, refused);
    assert_eq!(client.says("GET k").await, "nil");
    assert_eq!(client.says("MULTI").await, "OK");
    assert_eq!(client.says("SET k v").await, refused);
    assert_eq!(client.says("EXEC").await, "-EXECABORT Transaction discarded because of previous errors.");
    let (replica, _) = online(&server).await;
    client.until_info("min_slaves_good_slaves", |good| good == 1).await;
    assert_eq!(client.says("SET k v").await, "OK");
    drop(replica);
    client.until_info("connected_slaves", |replicas| replicas == 0).await;
    assert_eq!(client.says("SET k w").await, refused);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unit_of_several_effects_is_one_transaction_in_the_stream() {
    let server = Running::start(&[]).await;
    let mut client = server.client().await;
    let (mut replica, _) = online(&server).await;
    for line in ["MULTI", "SET a 1", "SELECT 1", "SET b 2", "GET b", "EXEC"] {
        client.call(line).await;
    }
    client.call("SET c 3").await;
    let lines = ["MULTI", "SELECT 0", "SET a 1", "SELECT 1", "SET b 2", "EXEC", "SET c 3"];
    let expected = lines.map(wire).concat();
    assert_eq!(replica.bytes(expected.len()).await, expected);
    // A transaction with one write is bare; one with none leaves no trace.
    for line in ["MULTI", "GET a", "EXEC", "MULTI", "GET a", "SET d 4", "EXEC"] {
        client.call(line).await;
    }
    assert_eq!(replica.bytes(wire("SET d 4").len()).await, wire("SET d 4"));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_is_too_slow_is_dropped_and_the_others_are_not() {
    // The hard limit counts as at least the backlog.
    let server =
        Running::start(&[("client-output-buffer-limit", "replica 1mb 0 0"), ("repl-backlog-size", "16kb")])
            .await;
    let mut client = server.client().await;
    let (mut slow, _) = online(&server).await;
    let (mut good, _) = online(&server).await;
    let (progress, mut seen) = tokio::sync::watch::channel(0_usize);
    let reading = tokio::spawn(async move {
        while let Ok(len @ 1..) = good.socket.read_buf(&mut good.input).await {
            progress.send_modify(|seen| *seen += len);
            good.input.clear();
        }
    });
    // More than the sockets on both sides hold. The good replica has read each before the next is written.
    let value = "x".repeat(1 << 19);
    for round in 1..=100 {
        assert_eq!(client.says(&format!("SET k {value}")).await, "OK");
        let caught_up = seen.wait_for(|seen| *seen >= round * value.len());
        soon("the good replica to read on", caught_up).await.expect("the good replica is attached");
    }
    client.until_info("replicas_evicted", |evicted| evicted == 1).await;
    client.until_info("connected_slaves", |replicas| replicas == 1).await;
    slow.rest().await;
    assert_eq!(client.says("PING").await, "PONG");
    server.stop().await;
    reading.await.expect("the reader");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_loads_for_too_long_is_dropped_before_it_has_loaded_in_vain() {
    let server =
        Running::start(&[("client-output-buffer-limit", "replica 1mb 0 0"), ("repl-backlog-size", "16kb")])
            .await;
    let mut client = server.client().await;
    let mut loading = greeted(&server, true).await;
    loading.send("PSYNC ? -1").await;
    full(&mut loading).await;
    // It never acknowledges, so nothing of this is sent.
    let value = "x".repeat(1 << 19);
    for _ in 0..10 {
        assert_eq!(client.says(&format!("SET k {value}")).await, "OK");
    }
    client.until_info("replicas_evicted", |evicted| evicted == 1).await;
    client.until_info("connected_slaves", |replicas| replicas == 0).await;
    assert_eq!(loading.rest().await, "");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_says_nothing_is_dropped_after_the_timeout() {
    let server = Running::start(&[("repl-timeout", "1")]).await;
    let mut client = server.client().await;
    let (mut silent, _) = online(&server).await;
    client.until_info("replicas_timed_out", |replicas| replicas == 1).await;
    silent.rest().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_leaves_in_the_middle_of_its_snapshot_leaves_nothing_behind() {
    let server = Running::start(&[]).await;
    let mut client = server.client().await;
    let value = "x".repeat(1 << 20);
    for number in 0..32 {
        client.call(&format!("SET k{number} {value}")).await;
    }
    for eof in [true, false] {
        let mut replica = greeted(&server, eof).await;
        replica.send("PSYNC ? -1").await;
        assert!(replica.line().await.starts_with("+FULLRESYNC"));
        replica.bytes(1000).await;
        drop(replica);
    }
    client.until_info("connected_slaves", |replicas| replicas == 0).await;
    client.until_info("snapshots_running", |snapshots| snapshots == 0).await;
    client.until_info("buffer_cursors", |cursors| cursors == 0).await;
    assert_eq!(client.says("STRLEN k0").await, (1 << 20).to_string());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_that_do_not_read_keep_only_other_full_resyncs_waiting() {
    let server = Running::start(&[]).await;
    let mut client = server.client().await;
    let value = "x".repeat(1 << 20);
    for number in 0..16 {
        client.call(&format!("SET k{number} {value}")).await;
    }
    let mut idle = Vec::new();
    for _ in 0..MAX_SNAPSHOTS {
        let mut replica = greeted(&server, true).await;
        replica.send("PSYNC ? -1").await;
        assert!(replica.line().await.starts_with("+FULLRESYNC"));
        idle.push(replica);
    }
    let mut waiting = greeted(&server, true).await;
    waiting.send("PSYNC ? -1").await;
    assert_eq!(waiting.line().await, "", "patience");
    // Expiry goes on.
    client.call("SET short 1 PX 1").await;
    client.until_info("expired_keys", |expired| expired == 1).await;
    idle.pop();
    let mut line = waiting.line().await;
    while line.is_empty() {
        line = waiting.line().await;
    }
    assert!(line.starts_with("+FULLRESYNC"), "{line}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nonsense_from_a_replica_is_ignored_or_ends_its_link_only() {
    let server = Running::start(&[]).await;
    let mut client = server.client().await;
    client.call("SET before 1").await;
    let (mut replica, full) = online(&server).await;
    replica.write(b"\n\n").await;
    for line in [
        "REPLCONF ACK x",
        "REPLCONF ACK -5",
        "REPLCONF ACK",
        "GET k",
        "PSYNC ? -1",
        "REPLCONF ACK 99999999999",
    ] {
        replica.send(line).await;
    }
    let heard = format!("[[127.0.0.1, 7000, {}]]", full.offset);
    let hearing = async {
        loop {
            let Reply::Array(role) = client.call("ROLE").await else { panic!("an array") };
            if shown(&role[2]) == heard {
                return;
            }
        }
    };
    soon("the acknowledgement", hearing).await;
    client.call("SET k v").await;
    let expected = [wire("SELECT 0"), wire("SET k v")].concat();
    assert_eq!(replica.bytes(expected.len()).await, expected, "no answers among the stream");
    // The acknowledgement from beyond the end was taken for the end as it was then.
    assert_eq!(client.says("WAIT 1 1").await, "0");
    replica.write(b"*nonsense\r\n").await;
    replica.rest().await;
    client.until_info("connected_slaves", |replicas| replicas == 0).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_are_pinged_and_silence_is_not_filled_without_them() {
    let server = Running::start(&[("repl-ping-replica-period", "1")]).await;
    let before = server.info("master_repl_offset").await;
    let (mut replica, full) = online(&server).await;
    assert_eq!(full.offset, before, "nobody listened, nothing was written");
    assert_eq!(replica.bytes(14).await, ping());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn at_shutdown_replicas_get_what_is_left() {
    let server = Running::start(&[("shutdown-timeout", "20")]).await;
    let mut client = server.client().await;
    let (mut replica, full) = online(&server).await;
    let mut sent = BytesMut::new();
    let mut expected = wire("SELECT 0");
    for number in 0..20_000 {
        let command = wire(&format!("SET key{number} value"));
        sent.extend_from_slice(&command);
        expected.extend_from_slice(&command);
    }
    sent.extend_from_slice(b"SHUTDOWN\r\n");
    client.write(&sent).await;
    assert_eq!(replica.bytes(expected.len()).await, expected);
    // The clients are there until it has said so.
    let mut other = server.client().await;
    assert_eq!(other.says("GET key19999").await, "value");
    replica.send(&format!("REPLCONF ACK {}", full.offset + expected.len() as u64)).await;
    client.rest().await;
    other.rest().await;
    assert_eq!(replica.rest().await, "");
    drop(replica);
    server.ended().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_history_refuses_to_continue() {
    let server = Running::start(&[]).await;
    let mut client = server.client().await;
    let (replica, full) = online(&server).await;
    drop(replica);
    assert_eq!(client.says("DEBUG CHANGE-REPL-ID").await, "OK");
    let mut replica = greeted(&server, false).await;
    replica.send(&format!("PSYNC {} {}", full.replid, full.offset + 1)).await;
    let line = replica.line().await;
    assert!(line.starts_with("+FULLRESYNC") && !line.contains(&full.replid), "{line}");
    assert_eq!(client.info("sync_partial_err").await, Some(1));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_cannot_be_published_breaks_the_history_in_the_open() {
    let server = Running::start(&[]).await;
    let mut client = server.client().await;
    client.call("SET k v").await;
    let (mut replica, before) = online(&server).await;
    server.buffer.seal(server.buffer.term()).expect("sealed");
    assert_eq!(client.says("SET k lost").await, "OK");
    // The replica, which misses the write, is dropped without another byte.
    assert_eq!(replica.rest().await, "");
    assert!(client.info("history_breaks").await.is_some_and(|breaks| breaks >= 1));
    server.buffer.begin_term(server.buffer.term() + 1);
    // It cannot continue, and the full copy has what the stream has not.
    let mut replica = greeted(&server, false).await;
    replica.send(&format!("PSYNC {} {}", before.replid, before.offset + 1)).await;
    let after = full(&mut replica).await;
    assert_ne!(after.replid, before.replid);
    assert!(entries(&after.rdb)[0].contains("lost"));
    client.call("SET k again").await;
    let expected = [wire("SELECT 0"), wire("SET k again")].concat();
    assert_eq!(replica.bytes(expected.len()).await, expected);
    server.stop().await;
}

/// Writers never stop while replicas attach; each replica's snapshot and what follows it has to
/// give the counters' final values, which a cut at the wrong offset would miss or count twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn snapshot_and_stream_meet_without_gap_or_overlap() {
    const WRITERS: usize = 3;
    const REPLICAS: usize = 6;
    let server = Running::start(&[]).await;
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let (stop, addr) = (stop.clone(), server.addr);
            tokio::spawn(async move {
                let mut client = TestClient::connect(addr).await;
                let mut total = 0_i64;
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    let mut batch = BytesMut::new();
                    for key in 0..8 {
                        encode_command(&["INCR", &format!("w{writer}k{key}")], &mut batch);
                    }
                    client.write(&batch).await;
                    for _ in 0..8 {
                        client.reply().await;
                    }
                    total += 8;
                }
                total
            })
        })
        .collect();
    let mut replicas = Vec::new();
    for _ in 0..REPLICAS {
        let mut client = server.client().await;
        let seen = client.info("total_commands_processed").await.expect("a number");
        client.until_info("total_commands_processed", |commands| commands > seen + 200).await;
        let (mut replica, full) = online(&server).await;
        replicas.push(tokio::spawn(async move {
            let mut sum: i64 = 0;
            for entry in entries(&full.rdb) {
                let digits: String = entry
                    .split("String(b\"")
                    .nth(1)
                    .unwrap_or("")
                    .chars()
                    .take_while(char::is_ascii_digit)
                    .collect();
                sum += digits.parse::<i64>().expect("a counter");
            }
            let stream = replica.rest().await;
            sum + i64::try_from(stream.matches("INCR").count()).expect("few")
        }));
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    let mut total = 0;
    for writer in writers {
        total += writer.await.expect("a writer");
    }
    server.stop().await;
    for replica in replicas {
        assert_eq!(replica.await.expect("a replica"), total);
    }
}
