//! Clients that wait for a key.

use super::replication::{online, wire};
use super::*;

impl TestClient {
    /// Sends a command that has to wait, and waits until it does; `waiting` clients do already.
    async fn waits(&mut self, line: &str, other: &mut TestClient, waiting: u64) {
        self.send(line).await;
        other.until_info("blocked_clients", |blocked| blocked == waiting + 1).await;
    }

    async fn id(&mut self) -> i64 {
        let Reply::Integer(id) = self.call("CLIENT ID").await else { panic!("an id") };
        id
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_serves_those_who_wait_in_their_order() {
    let server = Running::start(&[]).await;
    let mut other = server.client().await;
    let (mut first, mut second, mut third) =
        (server.client().await, server.client().await, server.client().await);
    first.waits("BLPOP k 0", &mut other, 0).await;
    second.waits("BLMPOP 0 2 no k RIGHT", &mut other, 1).await;
    third.waits("BLMOVE k d LEFT LEFT 0", &mut other, 2).await;
    assert_eq!(other.info("total_blocking_keys").await, Some(2));
    assert_eq!(other.says("RPUSH k 1 2 3 4").await, "4");
    assert_eq!(shown(&first.reply().await), "[k, 1]");
    assert_eq!(shown(&second.reply().await), "[k, [4]]");
    assert_eq!(shown(&third.reply().await), "2");
    assert_eq!(other.says("LRANGE k 0 -1").await, "[3]");
    other.until_info("blocked_clients", |blocked| blocked == 0).await;
    assert_eq!(other.info("total_blocking_keys").await, Some(0));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_timeout_is_answered_with_nothing_and_takes_nothing() {
    let server = Running::start(&[]).await;
    let mut client = server.client().await;
    for line in
        ["BLPOP k 0.001", "BLMOVE k d LEFT LEFT 0.001", "BRPOPLPUSH k d 0.001", "BLMPOP 0.001 1 k LEFT"]
    {
        client.send(line).await;
        assert_eq!(client.line().await, "*-1", "{line}");
    }
    assert_eq!(client.says("RPUSH k x").await, "1");
    client.call("HELLO 3").await;
    client.send("BLPOP no 0.001").await;
    assert_eq!(client.line().await, "_");
    assert_eq!(client.says("BRPOP k 0.001").await, "[k, x]");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_sent_behind_a_waiting_command_is_executed_after_it() {
    let server = Running::start(&[]).await;
    let (mut client, mut other) = (server.client().await, server.client().await);
    client.write(&[wire("SET before 1"), wire("BLPOP k 0"), wire("LLEN k"), wire("PING")].concat()).await;
    other.until_info("blocked_clients", |blocked| blocked == 1).await;
    assert_eq!(client.line().await, "+OK", "replies before it are not held back");
    other.call("RPUSH k a b").await;
    assert_eq!(shown(&client.reply().await), "[k, a]");
    assert_eq!(shown(&client.reply().await), "1");
    assert_eq!(shown(&client.reply().await), "PONG");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_never_waits() {
    let server = Running::start(&[]).await;
    let mut client = server.client().await;
    for line in ["MULTI", "BLPOP k 0", "BLMOVE k d LEFT LEFT 0", "BLMPOP 0 1 k LEFT", "BRPOPLPUSH k d 0"] {
        client.call(line).await;
    }
    client.send("EXEC").await;
    for line in ["*4", "*-1", "$-1", "*-1", "$-1"] {
        assert_eq!(client.line().await, line);
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_serves_after_its_last_command() {
    let server = Running::start(&[]).await;
    let (mut client, mut other) = (server.client().await, server.client().await);
    client.waits("BLPOP k 0", &mut other, 0).await;
    for line in ["MULTI", "RPUSH k a b c", "LPOP k"] {
        other.call(line).await;
    }
    assert_eq!(other.says("EXEC").await, "[3, a]");
    assert_eq!(shown(&client.reply().await), "[k, b]");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_or_is_killed_takes_nothing() {
    let server = Running::start(&[]).await;
    let (mut gone, mut killed, mut other) =
        (server.client().await, server.client().await, server.client().await);
    let id = killed.id().await;
    gone.waits("BLPOP k 0", &mut other, 0).await;
    killed.waits("BLPOP k 0", &mut other, 1).await;
    drop(gone);
    other.until_info("blocked_clients", |blocked| blocked == 1).await;
    assert_eq!(other.says(&format!("CLIENT KILL ID {id}")).await, "1");
    assert_eq!(killed.rest().await, "");
    other.until_info("total_blocking_keys", |keys| keys == 0).await;
    assert_eq!(other.says("RPUSH k x").await, "1");
    assert_eq!(other.says("LRANGE k 0 -1").await, "[x]");
    server.stop().await;
}

/// The killer's next command comes before the killed connection's task has run.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_pushed_after_a_kill_is_not_given_to_the_killed() {
    let server = Running::start(&[]).await;
    let mut other = server.client().await;
    for _ in 0..20 {
        let mut killed = server.client().await;
        let id = killed.id().await;
        killed.waits("BLPOP k 0", &mut other, 0).await;
        let lines = [format!("CLIENT KILL ID {id}"), "RPUSH k x".into(), "LLEN k".into(), "DEL k".into()];
        other.write(&lines.map(|line| wire(&line)).concat()).await;
        for reply in [1, 1, 1, 1] {
            assert_eq!(other.reply().await, Reply::Integer(reply));
        }
        assert_eq!(killed.rest().await, "");
        other.until_info("blocked_clients", |blocked| blocked == 0).await;
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_has_gone_does_not_begin_to_wait() {
    let server = Running::start(&[]).await;
    let (mut client, mut other) = (server.client().await, server.client().await);
    client.write(&[wire("WAIT 1 0"), wire("BLPOP k 0")].concat()).await;
    other.until_info("blocked_clients", |blocked| blocked == 1).await;
    drop(client);
    other.until_info("blocked_clients", |blocked| blocked == 0).await;
    assert_eq!(other.says("RPUSH k x").await, "1");
    assert_eq!(other.says("LRANGE k 0 -1").await, "[x]");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_goes_whatever_it_has_sent_behind_a_waiting_command() {
    let server = Running::start(&[]).await;
    let (mut client, mut other) = (server.client().await, server.client().await);
    client.waits("BLPOP k 0", &mut other, 0).await;
    client.write(&wire("PING").repeat(200_000)).await;
    drop(client);
    other.until_info("blocked_clients", |blocked| blocked == 0).await;
    assert_eq!(other.says("CONFIG SET client-query-buffer-limit 2000000").await, "OK");
    let mut greedy = server.client().await;
    greedy.waits("BLPOP k 0", &mut other, 0).await;
    greedy.write(&wire("PING").repeat(200_000)).await;
    assert_eq!(greedy.rest().await, "");
    assert_eq!(other.says("RPUSH k x").await, "1");
    assert_eq!(other.says("LRANGE k 0 -1").await, "[x]");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waiting_client_can_be_unblocked() {
    let server = Running::start(&[]).await;
    let (mut client, mut other) = (server.client().await, server.client().await);
    let id = client.id().await;
    let unblocked = "-UNBLOCKED client unblocked via CLIENT UNBLOCK";
    assert_eq!(other.says(&format!("CLIENT UNBLOCK {id}")).await, "0");
    for (how, reply) in [("", "nil"), (" TIMEOUT", "nil"), (" error", unblocked)] {
        client.waits("BLPOP k 0", &mut other, 0).await;
        let listed = other.says(&format!("CLIENT LIST ID {id}")).await;
        assert!(listed.contains(" flags=b ") && listed.contains(" cmd=blpop "), "{listed}");
        assert_eq!(other.says(&format!("CLIENT UNBLOCK {id}{how}")).await, "1");
        assert_eq!(shown(&client.reply().await), reply);
        other.until_info("blocked_clients", |blocked| blocked == 0).await;
        assert_eq!(other.says(&format!("CLIENT UNBLOCK {id}{how}")).await, "0");
    }
    assert_eq!(other.says("RPUSH k x").await, "1");
    assert_eq!(other.says("LLEN k").await, "1");
    for (how, reply) in [("TIMEOUT", "0"), ("ERROR", unblocked)] {
        client.waits("WAIT 1 0", &mut other, 0).await;
        assert_eq!(other.says(&format!("CLIENT UNBLOCK {id} {how}")).await, "1");
        assert_eq!(shown(&client.reply().await), reply);
        other.until_info("blocked_clients", |blocked| blocked == 0).await;
    }
    for (line, reply) in [
        ("CLIENT UNBLOCK", "-ERR wrong number of arguments for 'client|unblock' command"),
        ("CLIENT UNBLOCK x", "-ERR value is not an integer or out of range"),
        ("CLIENT UNBLOCK x foo", "-ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR"),
        ("CLIENT UNBLOCK -1", "0"),
        ("CLIENT UNBLOCK 99999 ERROR more", "0"),
    ] {
        assert_eq!(other.says(line).await, reply, "{line}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stream_has_the_push_and_then_what_was_served() {
    let server = Running::start(&[]).await;
    let (mut client, mut mover, mut other) =
        (server.client().await, server.client().await, server.client().await);
    let (mut replica, full) = online(&server).await;
    client.waits("BLPOP d 0", &mut other, 0).await;
    mover.waits("BLMOVE k d LEFT RIGHT 0", &mut other, 1).await;
    other.call("RPUSH k x y").await;
    let pushed = [wire("SELECT 0"), wire("RPUSH k x y")].concat();
    let served = [wire("LMOVE k d LEFT RIGHT"), wire("LPOP d")].concat();
    let expected = [pushed.clone(), served.clone()].concat();
    assert_eq!(replica.bytes(expected.len()).await, expected);
    assert_eq!(shown(&client.reply().await), "[d, x]");
    // What the served client waits for covers what was popped for it: the push alone is not enough.
    client.send("WAIT 1 0").await;
    let getack = wire("REPLCONF GETACK *");
    assert_eq!(replica.bytes(getack.len()).await, getack);
    replica.send(&format!("REPLCONF ACK {}", full.offset + pushed.len() as u64)).await;
    other.until_info("blocked_clients", |blocked| blocked == 1).await;
    replica.send(&format!("REPLCONF ACK {}", full.offset + expected.len() as u64)).await;
    assert_eq!(client.reply().await, Reply::Integer(1));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_served_and_cannot_be_published_breaks_the_history() {
    let server = Running::start(&[]).await;
    let (mut client, mut other) = (server.client().await, server.client().await);
    other.call("RPUSH l x").await;
    let (mut replica, _) = online(&server).await;
    client.waits("BLPOP k 0", &mut other, 0).await;
    server.buffer.seal(server.buffer.term()).expect("sealed");
    other.call("RENAME l k").await;
    assert_eq!(shown(&client.reply().await), "[k, x]");
    assert_eq!(replica.rest().await, "");
    assert_eq!(other.info("history_breaks").await, Some(2), "one for the rename, one for the pop");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_ends_does_not_wait_for_those_who_wait() {
    let server = Running::start(&[]).await;
    let (mut client, mut other) = (server.client().await, server.client().await);
    client.waits("BLPOP k 0", &mut other, 0).await;
    other.send("SHUTDOWN NOSAVE").await;
    assert_eq!(client.rest().await, "");
    server.ended().await;
}

/// Many takers, some of which leave, and many pushers: every element comes out once.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_element_is_received_once_over_sockets() {
    const PUSHERS: usize = 3;
    const TAKERS: usize = 6;
    const ELEMENTS: usize = 200;
    let server = Running::start(&[]).await;
    let addr = server.addr;
    let takers: Vec<_> = (0..TAKERS)
        .map(|taker| {
            tokio::spawn(async move {
                let mut client = TestClient::connect(addr).await;
                let mut taken = Vec::new();
                loop {
                    let timeout = if taker % 2 == 0 { "0.002" } else { "0" };
                    match client.says(&format!("BLPOP a b end {timeout}")).await {
                        nothing if nothing == "nil" => {}
                        end if end.starts_with("[end") => return taken,
                        element => {
                            taken.push(element[1..element.len() - 1].split(", ").nth(1).unwrap().to_owned())
                        }
                    }
                }
            })
        })
        .collect();
    let pushers: Vec<_> = (0..PUSHERS)
        .map(|pusher| {
            tokio::spawn(async move {
                let mut client = TestClient::connect(addr).await;
                for n in 0..ELEMENTS {
                    let key = ["a", "b", "c"][n % 3];
                    client.call(&format!("RPUSH {key} {pusher}.{n}")).await;
                    client.call("RPOPLPUSH c b").await;
                }
            })
        })
        .collect();
    for pusher in pushers {
        soon("a pusher", pusher).await.expect("no panic");
    }
    let mut other = server.client().await;
    // What is left in `a` and `b` goes before `end` to everyone.
    let ends = ["x"; TAKERS].join(" ");
    other.call(&format!("RPUSH end {ends}")).await;
    let mut taken = Vec::new();
    for taker in takers {
        taken.extend(soon("a taker", taker).await.expect("no panic"));
    }
    let mut pushed: Vec<String> =
        (0..PUSHERS).flat_map(|pusher| (0..ELEMENTS).map(move |n| format!("{pusher}.{n}"))).collect();
    taken.sort_unstable();
    pushed.sort_unstable();
    assert_eq!(taken, pushed);
    assert_eq!(other.says("DBSIZE").await, "0");
    server.stop().await;
}
