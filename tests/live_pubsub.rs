//! Publish and subscribe, against real servers: the replies of a real Valkey, and messages through real
//! replicas.
#![cfg(feature = "server")]

mod support;

use bytes::Bytes;
use replcore::resp::Reply;

use support::client::{Argv, Client, argv};
use support::{Program, Scratch, Server, attach_replicas};

fn words(line: &str) -> Argv {
    line.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect()
}

/// What one client sends; `other ` marks what another client sends meanwhile.
const SCRIPT: &[&str] = &[
    "subscribe",
    "subscribe a b a",
    "psubscribe h*",
    "ssubscribe s1",
    "ping",
    "ping hi",
    "ping hi ho",
    "other publish a 1",
    "other publish hello 2",
    "other publish nobody 3",
    "other spublish s1 4",
    "other spublish a 5",
    "other publish a",
    "get x",
    "client list",
    "nonsense",
    "get",
    "unsubscribe a zz",
    "other publish a 6",
    "unsubscribe",
    "punsubscribe",
    "punsubscribe",
    "sunsubscribe",
    "unsubscribe",
    "ping",
    "multi",
    "subscribe a",
    "get x",
    "unsubscribe a",
    "exec",
    "multi",
    "get x",
    "subscribe a b",
    "exec",
    "ping",
    "other publish b 7",
    "reset",
    "ping",
    "other publish b 8",
    "other pubsub channels",
    "subscribe news",
    "psubscribe n*",
    "ssubscribe part",
    "other publish news 9",
    "other pubsub channels",
    "other pubsub channels x*",
    "other pubsub numsub",
    "other pubsub numsub news part",
    "other pubsub numpat",
    "other pubsub shardchannels",
    "other pubsub shardnumsub part news",
    "other pubsub numpat x",
    "other pubsub channels a b",
    "other pubsub nonsense",
    "other pubsub",
    "other pubsub help",
];

/// Runs the script; after each line, everything that its client has been sent.
fn run(server: &Server, protocol: u8) -> Vec<String> {
    let mut client = Client::connect(server.address()).expect("a connection");
    let mut other = Client::connect(server.address()).expect("a connection");
    client.call(argv!["HELLO", protocol.to_string()]);
    let mut seen = Vec::new();
    let mut queueing = false;
    for line in SCRIPT {
        let mut replies = Vec::new();
        if let Some(line) = line.strip_prefix("other ") {
            replies.push(other.try_call(&words(line)).expect("an answer"));
        } else {
            client.send(&words(line)).expect("sent");
            queueing = (queueing || *line == "multi") && *line != "exec";
        }
        if queueing {
            replies.push(client.receive().expect("an answer"));
        } else {
            client.send(&argv!["PING", "done"]).expect("sent");
            loop {
                let reply = client.receive().expect("an answer");
                let done = Reply::Bulk(Bytes::from_static(b"done"));
                if reply == done || matches!(&reply, Reply::Array(parts) if parts.last() == Some(&done)) {
                    break;
                }
                replies.push(reply);
            }
        }
        // It tells of addresses and times.
        if *line != "client list" || protocol == 2 {
            seen.push(format!("{line}: {replies:?}"));
        }
    }
    seen
}

#[test]
fn what_subscribers_are_sent_is_what_valkey_sends() {
    let scratch = Scratch::new("pubsub");
    let valkey = Server::start(Program::Valkey, "valkey", &scratch);
    let own = Server::start(Program::Replcore, "replcore", &scratch);
    for protocol in [2, 3] {
        let (expected, seen) = (run(&valkey, protocol), run(&own, protocol));
        for (seen, expected) in seen.iter().zip(&expected) {
            assert_eq!(seen, expected, "RESP{protocol}");
        }
        assert_eq!(seen.len(), expected.len());
    }
}

#[test]
fn subscribers_of_a_replica_get_the_messages_in_order_and_after_the_writes_before_them() {
    const ROUNDS: usize = 200;
    let scratch = Scratch::new("pubsub-replicas");
    let primary = Server::primary(&scratch);
    let (replicas, _links) = attach_replicas(&primary, &scratch);
    let mut subscribers: Vec<Client> = replicas.iter().map(Server::client).collect();
    for subscriber in &mut subscribers {
        subscriber.call(argv!["SUBSCRIBE", "c"]);
    }
    let mut publisher = primary.client();
    for round in 0..ROUNDS {
        publisher.call(argv!["SELECT", round % 3]);
        publisher.call(argv!["PUBLISH", "c", format!("alone {round}")]);
        publisher.call(argv!["MULTI"]);
        publisher.call(argv!["SET", "k", round]);
        publisher.call(argv!["PUBLISH", "c", format!("with a write {round}")]);
        publisher.call(argv!["EXEC"]);
    }
    for (replica, subscriber) in replicas.iter().zip(&mut subscribers) {
        for round in 0..ROUNDS {
            for text in [format!("alone {round}"), format!("with a write {round}")] {
                let expected =
                    ["message", "c", &text].map(|part| Reply::Bulk(Bytes::copy_from_slice(part.as_bytes())));
                assert_eq!(subscriber.receive().expect("a message"), Reply::Array(expected.into()));
            }
        }
        // The last message has come, so the write before it is there.
        let mut reader = replica.client();
        reader.call(argv!["SELECT", (ROUNDS - 1) % 3]);
        assert_eq!(reader.call(argv!["GET", "k"]), Reply::Bulk(Bytes::from((ROUNDS - 1).to_string())));
    }
}
