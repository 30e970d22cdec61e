//! MONITOR.

use super::*;

/// A line without its time and address: the database and the arguments.
fn without_origin(line: &str) -> String {
    let (time, rest) = line.split_once(' ').expect("a time");
    let (seconds, micros) = time.strip_prefix('+').expect("a status").split_once('.').expect("a fraction");
    assert!(seconds.parse::<u64>().is_ok() && micros.len() == 6 && micros.parse::<u64>().is_ok(), "{time}");
    let (origin, command) = rest.split_once("] ").expect("an origin");
    let (db, addr) = origin.strip_prefix('[').and_then(|origin| origin.split_once(' ')).expect("two parts");
    assert!(addr.parse::<SocketAddr>().is_ok(), "{addr}");
    format!("{db} {command}")
}

async fn next(monitor: &mut TestClient) -> String {
    without_origin(&monitor.line().await)
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_are_shown_as_they_were_sent_when_they_have_run() {
    let server = Running::start(&[]).await;
    let (mut monitor, mut client) = (server.client().await, server.client().await);
    assert_eq!(monitor.says("MONITOR").await, "OK");
    for line in [
        "SET k v EX 100",
        "incrbyfloat f 1.5",
        "foo",
        "GET",
        "CONFIG GET hz",
        "client list",
        "client id",
        "AUTH user secret",
        "select 3",
        "hset k f v",
        "HSET k f",
        "incr k",
    ] {
        client.call(line).await;
    }
    for expected in [
        r#"0 "SET" "k" "v" "EX" "100""#,
        r#"0 "incrbyfloat" "f" "1.5""#,
        r#"0 "client" "id""#,
        r#"0 "AUTH" "(redacted)" "(redacted)""#,
        r#"3 "select" "3""#,
        r#"3 "hset" "k" "f" "v""#,
        r#"3 "incr" "k""#,
    ] {
        assert_eq!(next(&mut monitor).await, expected);
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_of_a_transaction_are_shown_before_its_exec() {
    let server = Running::start(&[]).await;
    let (mut monitor, mut client) = (server.client().await, server.client().await);
    monitor.call("MONITOR").await;
    for line in [
        "MULTI",
        "SET k 1",
        "SELECT 2",
        "PUBLISH c hi",
        "GET k",
        "PING",
        "Exec",
        "EXEC",
        "MULTI",
        "foo",
        "EXEC",
    ] {
        client.call(line).await;
    }
    for expected in [
        r#"0 "MULTI""#,
        r#"0 "SET" "k" "1""#,
        r#"2 "SELECT" "2""#,
        r#"2 "PUBLISH" "c" "hi""#,
        r#"2 "GET" "k""#,
        r#"2 "PING""#,
        r#"2 "Exec""#,
        r#"2 "EXEC""#,
        r#"2 "MULTI""#,
        r#"2 "EXEC""#,
    ] {
        assert_eq!(next(&mut monitor).await, expected);
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_who_watches_is_shown_as_such_and_kept_from_the_data_until_reset() {
    let server = Running::start(&[]).await;
    let (mut monitor, mut client) = (server.client().await, server.client().await);
    monitor.call("MONITOR").await;
    let list = client.says("CLIENT LIST").await;
    assert!(list.lines().any(|line| line.contains(" flags=O ") && line.contains(" cmd=monitor ")), "{list}");
    assert_eq!(monitor.says("GET k").await, "-ERR Replica can't interact with the keyspace");
    assert_eq!(monitor.says("PING").await, "PONG");
    assert_eq!(next(&mut monitor).await, r#"0 "PING""#);
    assert_eq!(monitor.says("RESET").await, "RESET");
    client.call("PING again").await;
    assert_eq!(monitor.says("GET k").await, "nil", "nothing is shown any more");
    for line in ["MULTI", "MONITOR"] {
        monitor.call(line).await;
    }
    assert_eq!(monitor.says("EXEC").await, "[-ERR MONITOR isn't allowed for DENY BLOCKING client]");
    server.stop().await;
}

/// Lets clients run `commands(client, round)` at the same time, each its rounds in one pipeline; returns the
/// replies of each client.
async fn run_at_once(
    server: &Running,
    rounds: usize,
    commands: impl Fn(usize, usize) -> Vec<Vec<String>>,
) -> Vec<Vec<Reply>> {
    const CLIENTS: usize = 4;
    let mut clients = Vec::new();
    for number in 0..CLIENTS {
        let mut client = server.client().await;
        let mut sent = BytesMut::new();
        let all: Vec<Vec<String>> = (0..rounds).flat_map(|round| commands(number, round)).collect();
        all.iter().for_each(|argv| encode_command(argv, &mut sent));
        clients.push(tokio::spawn(async move {
            client.write(&sent).await;
            let mut replies = Vec::new();
            for _ in all {
                replies.push(client.reply().await);
            }
            replies
        }));
    }
    let mut replies = Vec::new();
    for client in clients {
        replies.push(client.await.expect("no panic"));
    }
    replies
}

fn argv(line: &str) -> Vec<String> {
    line.split(' ').map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn lines_are_in_the_order_of_execution() {
    const ROUNDS: usize = 5000;
    let server = Running::start(&[]).await;
    let mut monitor = server.client().await;
    monitor.call("MONITOR").await;
    let value = |number, round| format!("{number}:{round}");
    let replies = run_at_once(&server, ROUNDS, |number, round| {
        vec![argv(&format!("GETSET k {}", value(number, round)))]
    })
    .await;
    let mut replaced = std::collections::HashMap::new();
    for (number, replies) in replies.iter().enumerate() {
        for (round, reply) in replies.iter().enumerate() {
            replaced.insert(value(number, round), shown(reply));
        }
    }
    let mut last = "nil".to_owned();
    for _ in 0..replaced.len() {
        let line = next(&mut monitor).await;
        let value = line.strip_prefix(r#"0 "GETSET" "k" ""#).expect("the command").trim_end_matches('"');
        assert_eq!(replaced[value], last, "what {value} replaced");
        value.clone_into(&mut last);
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_is_shown_between_the_commands_of_a_transaction() {
    const ROUNDS: usize = 500;
    let server = Running::start(&[]).await;
    let mut monitor = server.client().await;
    monitor.call("MONITOR").await;
    let replies = run_at_once(&server, ROUNDS, |number, _| {
        vec![argv("MULTI"), argv(&format!("INCR n{number}")), argv("PING"), argv("EXEC")]
    })
    .await;
    let mut transactions = 0;
    while transactions < replies.len() * ROUNDS {
        let line = next(&mut monitor).await;
        if line.starts_with(r#"0 "INCR""#) {
            assert_eq!(next(&mut monitor).await, r#"0 "PING""#);
            assert_eq!(next(&mut monitor).await, r#"0 "EXEC""#);
            transactions += 1;
        } else {
            assert_eq!(line, r#"0 "MULTI""#);
        }
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_who_watches_and_does_not_read_is_dropped() {
    let server = Running::start(&[("client-output-buffer-limit", "pubsub 1mb 0 0")]).await;
    let (mut monitor, mut client) = (server.client().await, server.client().await);
    monitor.call("MONITOR").await;
    let text = "x".repeat(1 << 16);
    let mut sent = 0;
    while client.info("client_output_buffer_limit_disconnections").await == Some(0) {
        client.call(&format!("ECHO {text}")).await;
        sent += 1;
        assert!(sent < 1000, "64 MiB wait for one who does not read");
    }
    client.until_info("connected_clients", |clients| clients == 1).await;
    server.stop().await;
}
