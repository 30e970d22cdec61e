//! Messages and keyspace events.

use std::collections::HashMap;

use super::*;

/// A client that speaks RESP3, so that messages are told from replies.
async fn modern(server: &Running) -> TestClient {
    let mut client = server.client().await;
    client.call("HELLO 3").await;
    client
}

/// The payload of a message on a channel.
fn payload(message: &Reply) -> Bytes {
    match message {
        Reply::Array(items) | Reply::Push(items) => match items.last() {
            Some(Reply::Bulk(payload)) => payload.clone(),
            other => panic!("{other:?} is no payload"),
        },
        other => panic!("{other:?} is no message"),
    }
}

/// Sends commands without waiting, and reads the replies.
async fn pipeline(client: &mut TestClient, lines: impl IntoIterator<Item = String>) {
    let mut sent = BytesMut::new();
    let mut count = 0;
    for line in lines {
        encode_command(&line.split(' ').collect::<Vec<_>>(), &mut sent);
        count += 1;
    }
    client.write(&sent).await;
    for _ in 0..count {
        let reply = client.reply().await;
        assert!(!matches!(reply, Reply::Error(_)), "{reply:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn subscriptions_are_confirmed_counted_and_served_in_both_protocols() {
    let server = Running::start(&[]).await;
    let mut publisher = server.client().await;
    for (hello, mark) in [("HELLO 2", ""), ("HELLO 3", ">")] {
        let mut client = server.client().await;
        client.call(hello).await;
        let say = |text: &str| format!("{mark}[{text}]");
        assert_eq!(client.says("SUBSCRIBE a b a").await, say("subscribe, a, 1"));
        assert_eq!(shown(&client.reply().await), say("subscribe, b, 2"));
        assert_eq!(shown(&client.reply().await), say("subscribe, a, 2"));
        assert_eq!(client.says("PSUBSCRIBE h[ae]llo").await, say("psubscribe, h[ae]llo, 3"));
        assert_eq!(client.says("SSUBSCRIBE a").await, say("ssubscribe, a, 1"));
        for (publish, receivers, message) in [
            ("PUBLISH a 1", "1", "message, a, 1"),
            ("SPUBLISH a 2", "1", "smessage, a, 2"),
            ("PUBLISH hello 3", "1", "pmessage, h[ae]llo, hello, 3"),
        ] {
            assert_eq!(publisher.says(publish).await, receivers);
            assert_eq!(shown(&client.reply().await), say(message));
        }
        assert_eq!(publisher.says("PUBLISH hillo x").await, "0");
        assert_eq!(publisher.says("SPUBLISH hello x").await, "0");
        assert_eq!(client.says("UNSUBSCRIBE a nope").await, say("unsubscribe, a, 2"));
        assert_eq!(shown(&client.reply().await), say("unsubscribe, nope, 2"));
        assert_eq!(publisher.says("PUBLISH a x").await, "0");
        assert_eq!(client.says("UNSUBSCRIBE").await, say("unsubscribe, b, 1"));
        assert_eq!(client.says("UNSUBSCRIBE").await, say("unsubscribe, nil, 1"));
        assert_eq!(client.says("PUNSUBSCRIBE").await, say("punsubscribe, h[ae]llo, 0"));
        assert_eq!(client.says("SUNSUBSCRIBE").await, say("sunsubscribe, a, 0"));
        assert_eq!(client.says("GET k").await, "nil");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscriber_of_the_old_protocol_may_do_little_else() {
    let server = Running::start(&[]).await;
    let mut client = server.client().await;
    assert_eq!(client.says("SUBSCRIBE a").await, "[subscribe, a, 1]");
    for (line, name) in
        [("GET k", "get"), ("Client LIST", "client|list"), ("multi", "multi"), ("config get x", "config|get")]
    {
        let expected = format!(
            "-ERR Can't execute '{name}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context"
        );
        assert_eq!(client.says(line).await, expected);
    }
    assert_eq!(client.says("PING").await, "[pong, ]");
    assert_eq!(client.says("PING hi").await, "[pong, hi]");
    assert_eq!(client.says("RESET").await, "RESET");
    assert_eq!(client.says("PING").await, "PONG");
    assert_eq!(client.says("PUBLISH a x").await, "0", "RESET ends subscriptions");
    assert_eq!(client.says("SUBSCRIBE a").await, "[subscribe, a, 1]");
    client.send("QUIT").await;
    assert_eq!(client.rest().await, "+OK\r\n");
    let mut other = server.client().await;
    other.until_info("pubsub_clients", |clients| clients == 0).await;
    assert_eq!(other.says("PUBLISH a x").await, "0", "who is gone is no subscriber");
    // With the new protocol everything is allowed.
    let mut client = modern(&server).await;
    assert_eq!(client.says("SUBSCRIBE a").await, ">[subscribe, a, 1]");
    assert_eq!(client.says("PING").await, "PONG");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_subscribed_to_what_can_be_asked() {
    let server = Running::start(&[]).await;
    let mut client = server.client().await;
    let mut asking = server.client().await;
    for line in ["SUBSCRIBE news", "PSUBSCRIBE n*", "SSUBSCRIBE part"] {
        client.call(line).await;
    }
    for (line, expected) in [
        ("PUBSUB CHANNELS", "[news]"),
        ("PUBSUB CHANNELS x*", "[]"),
        ("PUBSUB NUMSUB news part", "[news, 1, part, 0]"),
        ("PUBSUB NUMPAT", "1"),
        ("PUBSUB SHARDCHANNELS p*", "[part]"),
        ("PUBSUB SHARDNUMSUB part news", "[part, 1, news, 0]"),
        ("PUBSUB", "-ERR wrong number of arguments for 'pubsub' command"),
        ("PUBSUB NUMPAT x", "-ERR wrong number of arguments for 'pubsub|numpat' command"),
        (
            "PUBSUB CHANNELS a b",
            "-ERR unknown subcommand or wrong number of arguments for 'CHANNELS'. Try PUBSUB HELP.",
        ),
        ("PUBSUB foo", "-ERR unknown subcommand 'foo'. Try PUBSUB HELP."),
    ] {
        assert_eq!(asking.says(line).await, expected, "{line}");
    }
    let list = asking.says("CLIENT LIST TYPE pubsub").await;
    assert!(list.contains(" flags=P ") && list.contains(" sub=1 psub=1 ssub=1 "), "{list}");
    assert_eq!(list.lines().count(), 1);
    assert_eq!(asking.info("pubsub_channels").await, Some(1));
    assert_eq!(asking.info("pubsub_patterns").await, Some(1));
    assert_eq!(asking.info("pubsubshard_channels").await, Some(1));
    assert_eq!(asking.says("CLIENT KILL TYPE pubsub").await, "1");
    asking.until_info("pubsub_channels", |channels| channels == 0).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_gets_its_own_message_after_the_reply() {
    let server = Running::start(&[]).await;
    let mut client = modern(&server).await;
    assert_eq!(client.says("SUBSCRIBE a").await, ">[subscribe, a, 1]");
    assert_eq!(client.says("PUBLISH a 1").await, "1");
    assert_eq!(shown(&client.reply().await), ">[message, a, 1]");
    for line in ["MULTI", "PUBLISH a 2", "GET k"] {
        client.call(line).await;
    }
    assert_eq!(client.says("EXEC").await, "[1, nil]");
    assert_eq!(shown(&client.reply().await), ">[message, a, 2]");
    // Messages do not depend on whether replies are wanted.
    client.send("CLIENT REPLY OFF").await;
    client.send("PUBLISH a 3").await;
    assert_eq!(shown(&client.reply().await), ">[message, a, 3]");
    assert_eq!(client.says("SUBSCRIBE b").await, ">[subscribe, b, 2]");
    assert_eq!(client.says("CLIENT REPLY ON").await, "OK");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn subscriptions_in_a_transaction_are_confirmed_in_its_reply() {
    let server = Running::start(&[]).await;
    let mut client = server.client().await;
    for line in ["MULTI", "SET k v", "SUBSCRIBE a b", "PING", "UNSUBSCRIBE a"] {
        client.call(line).await;
    }
    assert_eq!(client.says("EXEC").await, "[OK, [subscribe, a, 1], [pong, ], [unsubscribe, a, 1]]");
    assert_eq!(shown(&client.reply().await), "[subscribe, b, 2]");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waiting_client_gets_its_messages_meanwhile() {
    let server = Running::start(&[]).await;
    let (mut client, mut publisher) = (modern(&server).await, server.client().await);
    client.call("SUBSCRIBE a").await;
    client.send("WAIT 1 0").await;
    publisher.until_info("blocked_clients", |blocked| blocked == 1).await;
    assert_eq!(publisher.says("PUBLISH a 1").await, "1");
    assert_eq!(shown(&client.reply().await), ">[message, a, 1]");
    server.stop().await;
}

/// The commands of the stream from `from` on, in one line each.
fn stream_from(server: &Running, from: u64) -> Vec<String> {
    use crate::resp::{CommandParser, Limits};
    let mut bytes = BytesMut::new();
    let mut cursor = server.buffer.attach(from).expect("it is still there");
    while cursor.refresh().expect("it is not evicted") > 0 {
        let chunk = Bytes::copy_from_slice(bytes::Buf::chunk(&cursor));
        bytes::Buf::advance(&mut cursor, chunk.len());
        bytes.extend_from_slice(&chunk);
    }
    let mut parser = CommandParser::new(Limits::default());
    std::iter::from_fn(|| parser.next(&mut bytes).expect("commands"))
        .map(|argv| argv.iter().map(|arg| String::from_utf8_lossy(arg)).collect::<Vec<_>>().join(" "))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_are_propagated_where_they_were_published() {
    let server = Running::start(&[]).await;
    let from = server.buffer.end_offset();
    let mut client = server.client().await;
    for line in [
        "publish a b",
        "SELECT 3",
        "publish a c",
        "set k v",
        "SPublish s x",
        "MULTI",
        "publish a e",
        "EXEC",
        "MULTI",
        "set k v",
        "PuBlish a f",
        "incr n",
        "EXEC",
        "MULTI",
        "GET k",
        "EXEC",
    ] {
        client.call(line).await;
    }
    let expected = [
        "SELECT 0",
        "publish a b",
        "SELECT 3",
        "publish a c",
        "set k v",
        "SPublish s x",
        "publish a e",
        "MULTI",
        "set k v",
        "PuBlish a f",
        "incr n",
        "EXEC",
    ];
    assert_eq!(stream_from(&server, from), expected);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_subscriber_and_the_stream_see_a_channel_in_one_order() {
    const PUBLISHERS: usize = 4;
    const MESSAGES: usize = 500;
    let server = Running::start(&[]).await;
    let from = server.buffer.end_offset();
    let mut subscribers = Vec::new();
    for subscribe in ["SUBSCRIBE c", "SUBSCRIBE c", "PSUBSCRIBE c*"] {
        let mut client = server.client().await;
        client.call(subscribe).await;
        subscribers.push(client);
    }
    let mut publishers = Vec::new();
    for publisher in 0..PUBLISHERS {
        let mut client = server.client().await;
        publishers.push(tokio::spawn(async move {
            pipeline(&mut client, (0..MESSAGES).map(|number| format!("PUBLISH c {publisher}:{number}")))
                .await;
        }));
    }
    let mut seen: Vec<Vec<String>> = Vec::new();
    for client in &mut subscribers {
        let mut messages = Vec::new();
        while messages.len() < PUBLISHERS * MESSAGES {
            messages.push(String::from_utf8_lossy(&payload(&client.reply().await)).into_owned());
        }
        seen.push(messages);
    }
    for publisher in publishers {
        publisher.await.expect("no panic");
    }
    let published = stream_from(&server, from);
    let in_stream: Vec<&str> = published.iter().filter_map(|line| line.strip_prefix("PUBLISH c ")).collect();
    for messages in &seen {
        assert_eq!(*messages, in_stream);
    }
    let mut next = HashMap::new();
    for message in in_stream {
        let (publisher, number) = message.split_once(':').expect("two numbers");
        let next = next.entry(publisher).or_insert(0);
        assert_eq!(number.parse(), Ok(*next), "of publisher {publisher}");
        *next += 1;
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_message_comes_before_its_subscription_is_confirmed_or_after_its_end_is() {
    const ROUNDS: usize = 300;
    let server = Running::start(&[]).await;
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let mut publishers = Vec::new();
    for _ in 0..2 {
        let (mut client, stopped) = (server.client().await, stopped.clone());
        publishers.push(tokio::spawn(async move {
            while !*stopped.borrow() {
                pipeline(&mut client, (0..50).map(|number| format!("PUBLISH c {number}"))).await;
            }
        }));
    }
    let mut client = modern(&server).await;
    let mut round = BytesMut::new();
    for line in ["SUBSCRIBE c", "PING", "UNSUBSCRIBE c", "PING"] {
        encode_command(&line.split(' ').collect::<Vec<_>>(), &mut round);
    }
    let (mut subscribed, mut begun, mut ended, mut messages) = (false, 0, 0, 0);
    // Until the publishers have met the subscriber often enough.
    while ended < ROUNDS || messages < ROUNDS {
        while begun < ended + 20 {
            client.write(&round).await;
            begun += 1;
        }
        let reply = shown(&client.reply().await);
        match reply.as_str() {
            ">[subscribe, c, 1]" => subscribed = true,
            ">[unsubscribe, c, 0]" => {
                subscribed = false;
                ended += 1;
            }
            "PONG" => {}
            message => {
                assert!(message.starts_with(">[message, c, "), "{message}");
                assert!(subscribed, "a message for one who is not subscribed");
                messages += 1;
            }
        }
    }
    stop.send_replace(true);
    for publisher in publishers {
        publisher.await.expect("no panic");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscriber_that_does_not_read_is_dropped_and_holds_nobody_up() {
    const MESSAGES: usize = 400;
    let server = Running::start(&[("client-output-buffer-limit", "pubsub 1mb 0 0")]).await;
    let mut slow = server.client().await;
    slow.call("SUBSCRIBE c").await;
    let mut fast = server.client().await;
    fast.call("SUBSCRIBE c").await;
    let mut publisher = server.client().await;
    let text = "x".repeat(1 << 16);
    let mut receivers = Vec::new();
    for _ in 0..MESSAGES {
        receivers.push(publisher.says(&format!("PUBLISH c {text}")).await);
        assert_eq!(payload(&fast.reply().await).len(), text.len());
    }
    assert_eq!(receivers.first().map(String::as_str), Some("2"));
    assert_eq!(receivers.last().map(String::as_str), Some("1"), "the slow one is gone");
    assert_eq!(publisher.info("client_output_buffer_limit_disconnections").await, Some(1));
    // What it can still read is what the sockets hold: less than was published.
    assert!(slow.rest().await.len() < MESSAGES << 16);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_soft_limit_ends_a_subscriber_that_stays_behind_though_nothing_new_comes() {
    let server = Running::start(&[("client-output-buffer-limit", "pubsub 0 1mb 1")]).await;
    let mut slow = server.client().await;
    slow.call("SUBSCRIBE c").await;
    let mut publisher = server.client().await;
    let text = "x".repeat(1 << 16);
    for _ in 0..400 {
        assert_eq!(publisher.says(&format!("PUBLISH c {text}")).await, "1");
    }
    publisher.until_info("client_output_buffer_limit_disconnections", |dropped| dropped == 1).await;
    assert_eq!(publisher.says("PUBLISH c x").await, "0");
    server.stop().await;
}

/// What a subscriber of `__key*` is told, as `channel payload`, up to the message `end`.
async fn events_until_end(client: &mut TestClient) -> Vec<String> {
    let mut events = Vec::new();
    loop {
        let Reply::Array(parts) = client.reply().await else { panic!("messages are arrays") };
        let parts: Vec<String> = parts.iter().map(shown).collect();
        if parts[2] == "__key_end" {
            return events;
        }
        events.push(format!("{} {}", parts[2], parts[3]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_events_that_were_asked_for_are_published() {
    let server = Running::start(&[]).await;
    let (mut listener, mut client) = (server.client().await, server.client().await);
    listener.call("PSUBSCRIBE __key*").await;
    for (letters, expected) in [
        ("", &[][..]),
        ("A", &[]),
        ("K$", &["__keyspace@3__:k set", "__keyspace@3__:k append"][..]),
        ("Eg", &["__keyevent@3__:del k"]),
        ("KEn", &["__keyspace@3__:k new", "__keyevent@3__:new k"]),
        ("Em", &["__keyevent@3__:keymiss nope"]),
        ("Eh", &[]),
        ("EA", &["__keyevent@3__:set k", "__keyevent@3__:append k", "__keyevent@3__:del k"]),
    ] {
        assert_eq!(client.says(&format!("CONFIG SET notify-keyspace-events {letters}")).await, "OK");
        for line in ["SELECT 3", "SET k v", "APPEND k w", "GET nope", "DEL k", "PUBLISH __key_end x"] {
            client.call(line).await;
        }
        assert_eq!(events_until_end(&mut listener).await, expected, "{letters:?}");
    }
    assert_eq!(
        client.says("CONFIG SET notify-keyspace-events q").await,
        "-ERR CONFIG SET failed (possibly related to argument 'notify-keyspace-events') - Invalid event class character. \
         Use 'Ag$lshzxeKEtmdn'."
    );
    assert_eq!(client.says("CONFIG GET notify-keyspace-events").await, "[notify-keyspace-events, AE]");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_nobody_asks_for_expires_with_an_event() {
    let server = Running::start(&[("notify-keyspace-events", "Ex")]).await;
    let (mut listener, mut client) = (server.client().await, server.client().await);
    listener.call("PSUBSCRIBE __key*").await;
    client.call("SET k v PX 1").await;
    assert_eq!(shown(&listener.reply().await), "[pmessage, __key*, __keyevent@0__:expired, k]");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_a_key_come_in_the_order_of_its_changes() {
    const WRITERS: usize = 4;
    let server = Running::start(&[("notify-keyspace-events", "K$g")]).await;
    let mut listener = server.client().await;
    listener.call("SUBSCRIBE __keyspace@0__:k end").await;
    listener.reply().await;
    let mut writers = Vec::new();
    for _ in 0..WRITERS {
        let mut client = server.client().await;
        writers.push(tokio::spawn(async move {
            pipeline(&mut client, (0..1000).flat_map(|_| ["SETNX k v".to_owned(), "DEL k".to_owned()])).await;
        }));
    }
    for writer in writers {
        writer.await.expect("no panic");
    }
    server.client().await.call("PUBLISH end x").await;
    // A key that is set only while it is absent is set and deleted in turn.
    let mut expected = ["set", "del"].into_iter().cycle();
    let mut events = 0;
    loop {
        let event = payload(&listener.reply().await);
        if &event[..] == b"x" {
            break;
        }
        assert_eq!(&event[..], expected.next().expect("endless").as_bytes(), "after {events} events");
        events += 1;
    }
    assert!(events >= 2000, "{events}");
    server.stop().await;
}

/// Were each as expensive as those that are left, this would take minutes.
#[tokio::test(flavor = "multi_thread")]
async fn many_subscriptions_end_as_fast_as_they_began() {
    const PATTERNS: usize = 50_000;
    let server = Running::start(&[]).await;
    let mut client = server.client().await;
    let patterns: Vec<String> = (0..PATTERNS).map(|n| format!("p{n}")).collect();
    client.send(&format!("PSUBSCRIBE {}", patterns.join(" "))).await;
    for n in 1..=PATTERNS {
        assert_eq!(shown(&client.reply().await), format!("[psubscribe, p{}, {n}]", n - 1));
    }
    let started = std::time::Instant::now();
    client.send("PUNSUBSCRIBE").await;
    for left in (0..PATTERNS).rev() {
        let reply = shown(&client.reply().await);
        assert!(reply.starts_with("[punsubscribe, p") && reply.ends_with(&format!(", {left}]")), "{reply}");
    }
    assert!(started.elapsed() < PATIENCE, "{:?}", started.elapsed());
    assert_eq!(client.says("PUBSUB NUMPAT").await, "0");
    server.stop().await;
}
