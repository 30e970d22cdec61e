//! Clients.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn pipelined_commands_are_answered_in_order() {
    let server = Running::start(&[]).await;
    let mut client = server.client().await;
    let mut sent = BytesMut::new();
    for number in 0..5_000 {
        encode_command(&["ECHO", &number.to_string()], &mut sent);
        encode_command(&["INCR", "n"], &mut sent);
    }
    client.write(&sent).await;
    for number in 0..5_000 {
        assert_eq!(shown(&client.reply().await), number.to_string());
        assert_eq!(client.reply().await, Reply::Integer(number + 1));
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_are_worded_as_valkey_words_them() {
    let server = Running::start(&[]).await;
    let mut client = server.client().await;
    let long = "a".repeat(200);
    let cases = [
        ("foo bar b", "-ERR unknown command 'foo', with args beginning with: 'bar' 'b' ".to_owned()),
        ("foo", "-ERR unknown command 'foo', with args beginning with: ".to_owned()),
        ("get", "-ERR wrong number of arguments for 'get' command".to_owned()),
        ("config", "-ERR wrong number of arguments for 'config' command".to_owned()),
        ("config get", "-ERR wrong number of arguments for 'config|get' command".to_owned()),
        ("config foo", "-ERR unknown subcommand 'foo'. Try CONFIG HELP.".to_owned()),
        ("client kill", "-ERR wrong number of arguments for 'client|kill' command".to_owned()),
        ("client kill type x", "-ERR Unknown client type 'x'".to_owned()),
        ("client kill 1.2.3.4:5", "-ERR No such client".to_owned()),
        ("client setinfo a b", "-ERR Unrecognized option 'a'".to_owned()),
        ("select x", "-ERR value is not an integer or out of range".to_owned()),
        ("select 16", "-ERR DB index is out of range".to_owned()),
        ("select -1", "-ERR DB index is out of range".to_owned()),
        ("hello 4", "-NOPROTO unsupported protocol version".to_owned()),
        ("hello 2 foo", "-ERR Syntax error in HELLO option 'foo'".to_owned()),
        ("wait 1 -1", "-ERR timeout is negative".to_owned()),
        ("wait 1 x", "-ERR timeout is not an integer or out of range".to_owned()),
        ("shutdown foo", "-ERR syntax error".to_owned()),
        ("psync ? x", "-ERR value is not an integer or out of range".to_owned()),
        ("psync ? -1 failover", "-ERR PSYNC FAILOVER can't be sent to a master.".to_owned()),
        ("replconf foo bar", "-ERR Unrecognized REPLCONF option: foo".to_owned()),
        ("ping a b", "-ERR wrong number of arguments for 'ping' command".to_owned()),
    ];
    for (line, expected) in cases {
        assert_eq!(client.says(line).await, expected, "{line}");
    }
    // As many bytes of the arguments as fit into 128, quotes and blanks included.
    let expected = format!("-ERR unknown command 'foo', with args beginning with: 'ab' '{}' ", &long[..123]);
    assert_eq!(client.says(&format!("foo ab {long} c")).await, expected);
    assert_eq!(client.says("replicaof no one").await, "OK");
    assert_eq!(client.says("replicaof 127.0.0.1 0").await, "-ERR Invalid master port");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_protocol_error_is_answered_and_closes_only_that_connection() {
    let server = Running::start(&[]).await;
    let mut good = server.client().await;
    for (bytes, error) in [
        ("*a\r\n", "-ERR Protocol error: invalid multibulk length\r\n"),
        ("*1\r\n$a\r\n", "-ERR Protocol error: invalid bulk length\r\n"),
        ("\"a\r\n", "-ERR Protocol error: unbalanced quotes in request\r\n"),
    ] {
        let mut bad = server.client().await;
        bad.write(b"PING\r\n").await;
        bad.write(bytes.as_bytes()).await;
        assert_eq!(bad.rest().await, format!("+PONG\r\n{error}"));
    }
    assert_eq!(good.says("PING").await, "PONG");
    assert_eq!(good.info("protocol_errors").await, Some(3));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_cannot_be_made_to_send_commands() {
    let server = Running::start(&[]).await;
    let mut client = server.client().await;
    for request in ["POST / HTTP/1.1\r\nSET k v\r\n", "GET / HTTP/1.1\r\nhost: here\r\nSET k v\r\n"] {
        let mut browser = server.client().await;
        browser.write(request.as_bytes()).await;
        assert!(!browser.rest().await.contains("OK"));
    }
    assert_eq!(client.says("EXISTS k").await, "0");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_stops_sending_still_gets_its_replies() {
    let server = Running::start(&[]).await;
    let mut client = server.client().await;
    client.write(b"SET k v\r\nGET k\r\nPING\r\nunfinished").await;
    client.socket.shutdown().await.expect("half closed");
    assert_eq!(client.rest().await, "+OK\r\n$1\r\nv\r\n+PONG\r\n");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_is_not_read_from() {
    const VALUE_BYTES: usize = 1 << 20;
    const REQUESTS: u64 = 5_000;
    let server = Running::start(&[]).await;
    let mut other = server.client().await;
    let value = "x".repeat(VALUE_BYTES);
    assert_eq!(other.says(&format!("SET k {value}")).await, "OK");
    let mut greedy = server.client().await;
    let mut sent = BytesMut::new();
    for _ in 0..REQUESTS {
        encode_command(&["GET", "k"], &mut sent);
    }
    greedy.write(&sent).await;
    other.until_info("keyspace_hits", |hits| hits > 0).await;
    // Others are served, and the greedy one's replies stay bounded: its sockets' buffers and one reply.
    let mut hits = 0;
    for _ in 0..200 {
        hits = other.info("keyspace_hits").await.expect("a number");
    }
    assert!(hits < 100, "{hits} replies of 1 MiB were made for a client that reads none");
    // It is only held back, not given up.
    for _ in 0..150 {
        assert_eq!(greedy.reply().await, Reply::Bulk(Bytes::from(value.clone())));
    }
    drop(greedy);
    assert_eq!(other.says("PING").await, "PONG");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_is_idle_as_well() {
    let server = Running::start(&[("timeout", "1")]).await;
    let mut client = server.client().await;
    client.call(&format!("SET k {}", "x".repeat(1 << 20))).await;
    let mut rude = server.client().await;
    rude.write(&b"GET k\r\n".repeat(64)).await;
    client.until_info("connected_clients", |clients| clients == 2).await;
    client.until_info("connected_clients", |clients| clients == 1).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_command_may_not_be_larger_than_the_query_buffer() {
    let server = Running::start(&[("client-query-buffer-limit", "1mb")]).await;
    let mut other = server.client().await;
    // Many commands may: they are executed as they come.
    let mut sent = BytesMut::new();
    for _ in 0..40 {
        encode_command(&["SET", "k", &"x".repeat(100_000)], &mut sent);
    }
    other.write(&sent).await;
    for _ in 0..40 {
        assert_eq!(shown(&other.reply().await), "OK");
    }
    let mut greedy = server.client().await;
    let mut sent = BytesMut::from("*1000000\r\n");
    for _ in 0..200 {
        sent.extend_from_slice(b"$10000\r\n");
        sent.extend_from_slice(&[b'x'; 10_000]);
        sent.extend_from_slice(b"\r\n");
    }
    // The server closes in the middle of it: the write may fail, the read has to end.
    let _ = soon("the server", greedy.socket.write_all(&sent)).await;
    assert_eq!(greedy.rest().await, "");
    assert_eq!(other.info("client_query_buffer_limit_disconnections").await, Some(1));
    // So may a transaction's queue not.
    assert_eq!(other.says("MULTI").await, "OK");
    for _ in 0..10 {
        assert_eq!(other.says(&format!("SET k {}", "x".repeat(100_000))).await, "QUEUED");
    }
    other.send(&format!("SET k {}", "x".repeat(100_000))).await;
    assert_eq!(other.rest().await, "");
    assert_eq!(server.info("client_query_buffer_limit_disconnections").await, 2);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stream_stands_still_until_a_transaction_has_run() {
    let server = Running::start(&[]).await;
    let mut client = server.client().await;
    client.call("SET k v").await;
    let before = client.says("ROLE").await;
    for line in ["MULTI", "ROLE", "SET k w", "ROLE", "INFO keyspace"] {
        client.call(line).await;
    }
    let replies = client.says("EXEC").await;
    let expected = format!("[{before}, OK, {before}, # Keyspace\r\ndb0:keys=1");
    assert!(replies.starts_with(&expected), "{replies}");
    assert_ne!(client.says("ROLE").await, before);
    server.stop().await;
}

/// A transaction that changes what active expiry and eviction look at holds the locks that these need.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_transaction_waits_for_nothing_that_waits_for_its_keys() {
    let server = Running::start(&[("hz", "500"), ("maxmemory-policy", "allkeys-random")]).await;
    let rounds = (0..4).map(|own| {
        let addr = server.addr;
        tokio::spawn(async move {
            let mut client = TestClient::connect(addr).await;
            for round in 0..200 {
                client.call("MULTI").await;
                for line in [
                    format!("PSETEX key:{own}:{round} 1 v"),
                    "DEBUG SET-ACTIVE-EXPIRE 0".to_owned(),
                    // So little that whoever comes next has to evict.
                    format!("CONFIG SET maxmemory {}", 1 + round % 2),
                    "INFO keyspace".to_owned(),
                    "DEBUG SET-ACTIVE-EXPIRE 1".to_owned(),
                    "CONFIG RESETSTAT".to_owned(),
                    "CONFIG SET maxmemory 0".to_owned(),
                ] {
                    client.call(&line).await;
                }
                // Refused if another client's limit holds and nothing is left to evict.
                let reply = client.call("EXEC").await;
                let refused = matches!(&reply, Reply::Error(line) if line.starts_with("EXECABORT"));
                assert!(refused || matches!(reply, Reply::Array(_)), "{reply:?}");
            }
        })
    });
    for round in rounds.collect::<Vec<_>>() {
        soon("the end of a client", round).await.expect("no panic");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn transactions_run_whole_or_not_at_all() {
    let server = Running::start(&[]).await;
    let (mut a, mut b) = (server.client().await, server.client().await);
    for (line, expected) in [
        ("EXEC", "-ERR EXEC without MULTI"),
        ("DISCARD", "-ERR DISCARD without MULTI"),
        ("MULTI", "OK"),
        ("SET k 1", "QUEUED"),
        ("INCR k", "QUEUED"),
        ("PING", "QUEUED"),
        ("SELECT 3", "QUEUED"),
        ("SET k 7", "QUEUED"),
        ("GET k", "QUEUED"),
        ("EXEC", "[OK, 2, PONG, OK, OK, 7]"),
        ("GET k", "7"),
        ("SELECT 0", "OK"),
        ("GET k", "2"),
        ("MULTI", "OK"),
        ("SET k never", "QUEUED"),
        ("MULTI", "-ERR Command 'multi' not allowed inside a transaction"),
        ("EXEC", "-EXECABORT Transaction discarded because of previous errors."),
        ("MULTI", "OK"),
        ("SET k never", "QUEUED"),
        ("nonsense", "-ERR unknown command 'nonsense', with args beginning with: "),
        ("EXEC", "-EXECABORT Transaction discarded because of previous errors."),
        ("MULTI", "OK"),
        ("SET k never", "QUEUED"),
        ("DISCARD", "OK"),
        ("GET k", "2"),
        ("MULTI", "OK"),
        ("PING", "QUEUED"),
        ("EXEC", "[PONG]"),
        ("MULTI", "OK"),
        ("EXEC", "[]"),
    ] {
        assert_eq!(a.says(line).await, expected, "{line}");
    }

    // WATCH: a change by another connection between WATCH and EXEC.
    assert_eq!(a.says("WATCH k").await, "OK");
    assert_eq!(b.says("SET k b").await, "OK");
    assert_eq!(a.says("MULTI").await, "OK");
    assert_eq!(a.says("SET k a").await, "QUEUED");
    assert_eq!(a.says("EXEC").await, "nil");
    assert_eq!(a.says("GET k").await, "b");
    // The failed EXEC ended the watch.
    assert_eq!(a.says("MULTI").await, "OK");
    assert_eq!(a.says("SET k a").await, "QUEUED");
    assert_eq!(a.says("EXEC").await, "[OK]");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_password_nothing_works_but_giving_it() {
    let server = Running::start(&[("requirepass", "secret")]).await;
    let mut client = server.client().await;
    for (line, expected) in [
        ("GET k", "-NOAUTH Authentication required."),
        ("nonsense", "-NOAUTH Authentication required."),
        ("PSYNC ? -1", "-NOAUTH Authentication required."),
        ("AUTH wrong", "-WRONGPASS invalid username-password pair or user is disabled."),
        ("AUTH secre", "-WRONGPASS invalid username-password pair or user is disabled."),
        ("AUTH secrets", "-WRONGPASS invalid username-password pair or user is disabled."),
        ("AUTH other secret", "-WRONGPASS invalid username-password pair or user is disabled."),
        ("GET k", "-NOAUTH Authentication required."),
        ("AUTH default secret", "OK"),
        ("GET k", "nil"),
        ("RESET", "RESET"),
        ("GET k", "-NOAUTH Authentication required."),
    ] {
        assert_eq!(client.says(line).await, expected, "{line}");
    }
    assert!(client.says("HELLO 3").await.starts_with("-NOAUTH HELLO must be called"));
    assert!(matches!(client.call("HELLO 3 AUTH default secret").await, Reply::Map(_)));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_setting_changes_with_all_others_of_its_command_or_not_at_all() {
    let server = Running::start(&[]).await;
    let mut client = server.client().await;
    let failed = |name: &str, why: &str| {
        format!("-ERR CONFIG SET failed (possibly related to argument '{name}') - {why}")
    };
    for (line, expected) in [
        (
            "CONFIG SET repl-timeout 7 maxclients x",
            failed("maxclients", "argument couldn't be parsed into an integer"),
        ),
        ("CONFIG SET repl-timeout 7 port 1", failed("port", "can't set immutable config")),
        ("CONFIG SET repl-timeout 7 REPL-TIMEOUT 8", failed("repl-timeout", "duplicate parameter")),
        (
            "CONFIG SET repl-timeout 0",
            failed("repl-timeout", "argument must be between 1 and 2147483647 inclusive"),
        ),
        ("CONFIG SET foo 1", "-ERR Unknown option or number of arguments for CONFIG SET - 'foo'".to_owned()),
        ("CONFIG SET foo", "-ERR wrong number of arguments for 'config|set' command".to_owned()),
        ("CONFIG GET repl-timeout", "[repl-timeout, 60]".to_owned()),
        ("CONFIG SET repl-timeout 7 min-slaves-max-lag 3", "OK".to_owned()),
        (
            "CONFIG GET repl-timeout min-replicas-max-lag",
            "[min-replicas-max-lag, 3, repl-timeout, 7]".to_owned(),
        ),
        ("CONFIG SET repl-backlog-size 1", "OK".to_owned()),
        ("CONFIG GET repl-backlog-*", "[repl-backlog-size, 16384]".to_owned()),
        ("CONFIG SET repl-backlog-size 2gb", "OK".to_owned()),
        ("CONFIG GET repl-backlog-size", "[repl-backlog-size, 2147483648]".to_owned()),
    ] {
        assert_eq!(client.says(line).await, expected, "{line}");
    }
    let mut command = BytesMut::new();
    encode_command(&["CONFIG", "SET", "client-output-buffer-limit", "replica 1mb 2k 3"], &mut command);
    client.write(&command).await;
    assert_eq!(shown(&client.reply().await), "OK");
    let limits = client.says("CONFIG GET client-output-buffer-limit").await;
    assert!(limits.contains("slave 1048576 2000 3") && limits.contains("normal 0 0 0"), "{limits}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_clients_than_allowed_are_turned_away() {
    let server = Running::start(&[("maxclients", "2")]).await;
    let (mut a, mut b) = (server.client().await, server.client().await);
    assert_eq!((a.says("PING").await, b.says("PING").await), ("PONG".to_owned(), "PONG".to_owned()));
    assert_eq!(server.client().await.rest().await, "-ERR max number of clients reached\r\n");
    drop(b);
    // The place is free as soon as the server has noticed.
    let retry = async {
        loop {
            let mut client = server.client().await;
            client.write(b"PING\r\n").await;
            client.socket.shutdown().await.ok();
            if client.rest().await.starts_with("+PONG") {
                return;
            }
        }
    };
    soon("a free place", retry).await;
    drop(a);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_reply_comes_in_pieces_and_whole() {
    let server = Running::start(&[]).await;
    let mut client = server.client().await;
    let value = "x".repeat(100_000);
    client.call(&format!("SET k {value}")).await;
    client.call(&format!("HSET h f {value} g 1")).await;
    let bulk = Reply::Bulk(Bytes::from(value));
    let many = Reply::Array(vec![bulk.clone(); 20]);
    let mget = format!("MGET{}", " k".repeat(20));
    assert_eq!(client.call(&mget).await, many);
    client.write(format!("MULTI\r\n{mget}\r\nHGETALL h\r\nGET none\r\nEXEC\r\nPING\r\n").as_bytes()).await;
    for queued in ["OK", "QUEUED", "QUEUED", "QUEUED"] {
        assert_eq!(shown(&client.reply().await), queued);
    }
    let text = |text: &'static str| Reply::Bulk(Bytes::from_static(text.as_bytes()));
    let Reply::Array(replies) = client.reply().await else { panic!("an array") };
    let hash = Reply::Array(vec![text("f"), bulk.clone(), text("g"), text("1")]);
    assert_eq!(replies, [many, hash, Reply::Null]);
    assert_eq!(shown(&client.reply().await), "PONG");

    client.call("HELLO 3").await;
    let pairs = vec![(text("f"), bulk.clone()), (text("g"), text("1"))];
    client.write(b"MULTI\r\nHGETALL h\r\nHGETALL h\r\nHGETALL h\r\nEXEC\r\nPING\r\n").await;
    for _ in 0..4 {
        client.reply().await;
    }
    assert_eq!(client.reply().await, Reply::Array(vec![Reply::Map(pairs); 3]));
    assert_eq!(shown(&client.reply().await), "PONG");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_over_the_output_limit_ends_the_client_before_it_is_encoded() {
    let server = Running::start(&[("client-output-buffer-limit", "normal 1mb 0 0")]).await;
    let mut client = server.client().await;
    client.call(&format!("SET k {}", "x".repeat(1 << 19))).await;
    // As a whole it would not fit into any machine.
    let mut other = server.client().await;
    other.send(&format!("MGET{}", " k".repeat(1 << 20))).await;
    assert_eq!(other.rest().await, "");
    client.until_info("client_output_buffer_limit_disconnections", |closed| closed == 1).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replies_can_be_switched_off_and_skipped() {
    let server = Running::start(&[]).await;
    let mut client = server.client().await;
    client.write(b"CLIENT REPLY SKIP\r\nPING\r\nECHO a\r\n").await;
    assert_eq!(shown(&client.reply().await), "a");
    client.write(b"CLIENT REPLY SKIP\r\nRESET\r\nECHO r\r\n").await;
    assert_eq!(shown(&client.reply().await), "r");
    client.write(b"CLIENT REPLY OFF\r\nRESET\r\n").await;
    assert_eq!(shown(&client.reply().await), "RESET");
    client.write(b"CLIENT REPLY OFF\r\nPING\r\nPING\r\nCLIENT REPLY ON\r\nECHO b\r\n").await;
    assert_eq!(shown(&client.reply().await), "OK");
    assert_eq!(shown(&client.reply().await), "b");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_can_be_listed_and_killed() {
    let server = Running::start(&[]).await;
    let (mut a, mut b) = (server.client().await, server.client().await);
    assert_eq!(a.says("CLIENT SETNAME alice").await, "OK");
    let Reply::Integer(id) = b.call("CLIENT ID").await else { panic!("an id") };
    let list = a.says("CLIENT LIST").await;
    assert!(list.contains(" name=alice ") && list.contains(&format!("id={id} ")), "{list}");
    assert_eq!(a.says(&format!("CLIENT KILL ID {id}")).await, "1");
    assert_eq!(b.rest().await, "");
    // Killing oneself is still answered.
    assert_eq!(a.says("CLIENT KILL TYPE normal SKIPME no").await, "1");
    assert_eq!(a.rest().await, "");
    assert_eq!(server.client().await.says("PING").await, "PONG");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_floods_can_be_killed() {
    let server = Running::start(&[]).await;
    let (mut other, mut flooding) = (server.client().await, server.client().await);
    let Reply::Integer(id) = flooding.call("CLIENT ID").await else { panic!("an id") };
    flooding.write(b"CLIENT REPLY OFF\r\n").await;
    // It never stops, and takes no reply that could block it.
    let flood = tokio::spawn(async move {
        let commands = b"SET k v\r\n".repeat(1 << 16);
        while flooding.socket.write_all(&commands).await.is_ok() {}
    });
    other.until_info("total_commands_processed", |commands| commands > 1 << 16).await;
    assert_eq!(other.says(&format!("CLIENT KILL ID {id}")).await, "1");
    soon("the end of the flood", flood).await.expect("no panic");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blocked_client_that_goes_away_is_let_go() {
    let server = Running::start(&[]).await;
    let mut other = server.client().await;
    let mut waiting = server.client().await;
    waiting.write(b"WAIT 1 0\r\n").await;
    other.until_info("blocked_clients", |blocked| blocked == 1).await;
    drop(waiting);
    other.until_info("blocked_clients", |blocked| blocked == 0).await;
    other.until_info("connected_clients", |clients| clients == 1).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn shutdown_ends_the_server_and_its_clients() {
    let server = Running::start(&[]).await;
    let (mut a, mut b) = (server.client().await, server.client().await);
    assert_eq!(b.says("PING").await, "PONG");
    a.send("SHUTDOWN NOSAVE").await;
    assert_eq!(a.rest().await, "");
    assert_eq!(b.rest().await, "");
    let addr = server.addr;
    server.ended().await;
    assert!(TcpStream::connect(addr).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_is_described_with_its_arity() {
    let server = Running::start(&[]).await;
    let mut client = server.client().await;
    let Reply::Array(all) = client.call("COMMAND").await else { panic!("an array") };
    let count = i64::try_from(all.len()).expect("few");
    assert_eq!(client.call("COMMAND COUNT").await, Reply::Integer(count));
    let Reply::Array(names) = client.call("COMMAND LIST").await else { panic!("an array") };
    for name in names {
        let name = shown(&name);
        let Reply::Array(info) = client.call(&format!("COMMAND INFO {name}")).await else {
            panic!("an array")
        };
        let Some(Reply::Array(info)) = info.first() else { panic!("{name} is not described") };
        assert_eq!(shown(&info[0]), name);
        let Reply::Integer(arity) = info[1] else { panic!("{name} has no arity") };
        // One argument too many is refused exactly when the arity is exact.
        if arity > 0 && name != "exec" {
            let extra = vec!["x"; usize::try_from(arity).expect("small")].join(" ");
            let expected = format!("-ERR wrong number of arguments for '{name}' command");
            assert_eq!(client.says(&format!("{name} {extra}")).await, expected);
        }
    }
    server.stop().await;
}
