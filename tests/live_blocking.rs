//! Clients that wait for keys, as a real Valkey serves them: the same conversations of several clients run
//! against it and against us, and everybody is answered the same, the streams are the same, and so are the
//! keyspace events.
#![cfg(feature = "server")]

mod support;

use std::time::Duration;

use bytes::Bytes;
use replcore::resp::Reply;

use support::client::{Argv, Client, argv};
use support::stream::{Answer, RawReplica};
use support::{Program, Scratch, Server, wait_until};

/// How long a client may take to begin or end waiting.
const PATIENCE: Duration = Duration::from_secs(30);

/// One line a step: the client's number, then its command. A command after `~` has to wait.
const CONVERSATIONS: &[(&str, &str)] = &[
    (
        "two clients and one push of three elements",
        "1 ~blpop k 0; 2 ~brpop k 0; 3 rpush k a b c; 3 lrange k 0 -1",
    ),
    ("a pop of several", "1 ~blmpop 0 2 x k left count 2; 2 ~blmpop 0 1 k right count 9; 3 rpush k a b c d"),
    ("a client that waits for several keys", "1 ~blpop a b c 0; 2 ~blpop b 0; 3 rpush b 1 2; 3 rpush a 3"),
    (
        "several keys in one transaction",
        "1 ~blpop a 0; 2 ~blpop b 0; 3 multi; 3 rpush b 1; 3 rpush a 1; 3 exec",
    ),
    (
        "the keys' order in the command wins",
        "1 ~blpop a b 0; 3 multi; 3 rpush b 1; 3 rpush a 1; 3 exec; 3 keys *",
    ),
    ("a chain of moves", "1 ~blpop c 0; 2 ~blmove b c left right 0; 4 ~brpoplpush a b 0; 3 rpush a x y"),
    (
        "a circle of moves",
        "1 ~blmove a b left left 0; 2 ~blmove b a left left 0; 3 rpush a x; 3 lrange a 0 -1",
    ),
    ("a move onto itself", "1 ~blmove a a left right 0; 2 ~blpop a 0; 3 rpush a x y; 3 lrange a 0 -1"),
    ("a move that cannot be", "3 set s v; 1 ~blmove a s left left 0; 2 ~blpop a 0; 3 rpush a x"),
    ("another type first", "1 ~blpop a b 0; 3 set a v; 3 rpush b x; 3 del a; 3 lrange b 0 -1"),
    ("a key of another type", "1 ~blpop k 0; 3 set k v; 3 sadd s m; 3 rename s k; 3 del k; 3 rpush k x y"),
    (
        "pushed and popped in a transaction",
        "1 ~blpop k 0; 3 multi; 3 rpush k a b; 3 lpop k; 3 exec; 3 exists k",
    ),
    (
        "pushed and taken back in a transaction",
        "1 ~blpop k 0; 3 multi; 3 rpush k a; 3 del k; 3 exec; 3 rpush k b",
    ),
    (
        "blocking in a transaction",
        "3 multi; 3 blpop k 0; 3 blmove k d left left 0; 3 rpush k a; 3 brpop k 0; 3 exec",
    ),
    ("a list that is renamed", "1 ~blpop k 0; 3 rpush l a b; 3 rename l k; 3 lrange k 0 -1"),
    ("a list that is copied", "1 ~blpop k 0; 3 rpush l a b; 3 copy l k; 3 lrange k 0 -1"),
    (
        "a list that is moved here",
        "1 ~blpop k 0; 3 select 1; 3 rpush k a b; 3 move k 0; 3 select 0; 3 lrange k 0 -1",
    ),
    (
        "databases that are exchanged",
        "1 ~blpop k 0; 3 select 1; 3 rpush k a b; 3 swapdb 0 1; 3 select 0; 3 lrange k 0 -1",
    ),
    (
        "somebody in another database",
        "2 select 1; 2 ~blpop k 0; 1 ~blpop k 0; 3 rpush k a b; 3 lrange k 0 -1",
    ),
    (
        "a list that is moved to there",
        "1 ~blpop d 0; 3 rpush l a b; 3 lmove l d left left; 3 rpoplpush l d; 3 lrange d 0 -1",
    ),
    (
        "whoever waited gets what the next waits for",
        "1 ~brpoplpush a b 0; 2 ~blpop b 0; 3 lpush a 1 2 3; 1 ping",
    ),
    ("a deadline that goes", "3 rpush k a; 3 pexpire k 1; 3 blpop n 0.02; 1 ~blpop k 0; 3 rpush k b"),
    (
        "sorted sets",
        "1 ~bzpopmin z y 0; 2 ~bzmpop 0 1 z max count 2; 3 zadd z 1 a 2 b 3 c 4 d; 3 zrange z 0 -1",
    ),
    ("both types for one key", "1 ~blpop k 0; 2 ~bzpopmax k 0; 3 zadd k 1 a; 3 rpush k x"),
];

/// What a conversation comes to.
#[derive(Debug, PartialEq)]
struct Outcome {
    /// Each client's replies.
    replies: Vec<Vec<String>>,
    stream: Vec<String>,
    events: Vec<String>,
}

struct Stage {
    server: Server,
    replica: RawReplica,
    events: Client,
}

impl Stage {
    fn on(program: Program, scratch: &Scratch) -> Stage {
        let server = Server::start(program, &format!("{program:?}"), scratch);
        server.configure(&[("notify-keyspace-events", "KEA")]);
        let mut replica = RawReplica::introduce(server.address());
        let Answer::FullResync { offset, .. } = replica.psync("?", -1) else { panic!("a full resync") };
        replica.snapshot();
        replica.acknowledge(offset);
        let mut events = server.client();
        events.call(argv!["PSUBSCRIBE", "__keyevent*"]);
        Stage { server, replica, events }
    }

    fn play(&mut self, conversation: &str) -> Outcome {
        let mut other = self.server.client();
        let mut clients: Vec<Client> = (0..4).map(|_| self.server.client()).collect();
        let ids: Vec<i64> =
            clients.iter_mut().map(|client| client.call_integer(argv!["CLIENT", "ID"])).collect();
        let mut replies = vec![Vec::new(); clients.len()];
        for step in conversation.split("; ") {
            let (number, line) = step.split_once(' ').expect("a client's number");
            let number: usize = number.parse().expect("a number");
            let client = &mut clients[number - 1];
            let waiting = blocked(&mut other);
            client.send(&words(line.trim_start_matches('~'))).expect("sent");
            if line.starts_with('~') {
                wait_until("the client to wait", PATIENCE, || match blocked(&mut other) {
                    now if now == waiting + 1 => Ok(()),
                    now => Err(format!("{step}: {now} wait")),
                });
            } else {
                let reply = client.receive().expect("a reply");
                replies[number - 1].push(shown(&reply));
            }
        }
        for id in ids {
            other.call(argv!["CLIENT", "UNBLOCK", id, "ERROR"]);
        }
        clients.iter_mut().zip(&mut replies).for_each(|(client, replies)| replies.extend(rest(client)));
        other.call(argv!["FLUSHALL"]);
        other.call(argv!["SET", "end", "of it"]);
        let mut stream = Vec::new();
        loop {
            let mut command = self.replica.command();
            if command[0].as_ref() == b"PEXPIREAT" {
                // The two servers read their clocks one after the other.
                command.truncate(2);
            }
            let command = text(&command);
            match command.as_str() {
                "SET end of it" => break,
                command if command.eq_ignore_ascii_case("ping") || command.starts_with("REPLCONF") => {}
                command => stream.push(command.to_owned()),
            }
        }
        let mut events = Vec::new();
        loop {
            let event = shown(&self.events.receive().expect("an event"));
            if event.ends_with(":set, end]") {
                break;
            }
            events.push(event);
        }
        other.call(argv!["DEL", "end"]);
        assert_eq!(text(&next_but_pings(&mut self.replica)), "DEL end");
        let last = shown(&self.events.receive().expect("an event"));
        assert!(last.ends_with(":del, end]"), "{last}");
        Outcome { replies, stream, events }
    }
}

fn next_but_pings(replica: &mut RawReplica) -> Argv {
    loop {
        let command = replica.command();
        if !text(&command).eq_ignore_ascii_case("ping") {
            return command;
        }
    }
}

fn blocked(other: &mut Client) -> u64 {
    other.info_section("clients").number("blocked_clients")
}

fn words(line: &str) -> Argv {
    line.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect()
}

fn text(argv: &[Bytes]) -> String {
    argv.iter().map(|arg| String::from_utf8_lossy(arg)).collect::<Vec<_>>().join(" ")
}

/// All replies up to the end that is asked for.
fn rest(client: &mut Client) -> Vec<String> {
    client.send(&argv!["ECHO", "that is all"]).expect("sent");
    let mut replies = Vec::new();
    loop {
        match client.receive().expect("a reply") {
            Reply::Bulk(end) if end.as_ref() == b"that is all" => return replies,
            reply => replies.push(shown(&reply)),
        }
    }
}

fn shown(reply: &Reply) -> String {
    match reply {
        Reply::Bulk(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Reply::Array(items) => format!("[{}]", items.iter().map(shown).collect::<Vec<_>>().join(", ")),
        other => format!("{other:?}"),
    }
}

#[test]
fn those_who_wait_are_served_as_in_valkey() {
    let scratch = Scratch::new("blocking");
    let [mut ours, mut theirs] =
        [Program::primary(), Program::Valkey].map(|program| Stage::on(program, &scratch));
    for (title, conversation) in CONVERSATIONS {
        let (got, expected) = (ours.play(conversation), theirs.play(conversation));
        assert_eq!(got, expected, "{title}: {conversation}");
        // The comparison means something: there were replies and a stream.
        assert!(got.replies.iter().flatten().count() > 0 && !got.stream.is_empty(), "{title}");
    }
}
