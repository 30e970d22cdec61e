//! `MONITOR`, line by line, as a real Valkey shows the same commands.
#![cfg(feature = "server")]

mod support;

use bytes::Bytes;
use replcore::resp::Reply;

use support::client::{Argv, Client, argv};
use support::{Program, Scratch, Server};

/// Commands, one a line; those that a server refuses are of interest as well.
const SCRIPT: &[&str] = &[
    "ping",
    "PING hello",
    "get k",
    "SET k v EX 100",
    "nonsense",
    "get",
    "AUTH secret",
    "auth default secret",
    "hello 2 AUTH default secret SETNAME me",
    "config get maxmemory",
    "CONFIG SET requirepass secret",
    "auth secret",
    "config set requirepass ",
    "client id",
    "client getname",
    "client list",
    "client kill 1.2.3.4:5",
    "client no-evict on",
    "client no-touch off",
    "client reply on",
    "client unpause",
    "command count",
    "echo x",
    "info server",
    "multi",
    "set a 1",
    "incr a",
    "select 2",
    "publish c m",
    "ping",
    "Exec",
    "exec",
    "multi",
    "nonsense",
    "exec",
    "multi",
    "set a 2",
    "discard",
    "watch a",
    "unwatch",
    "replconf listening-port 1",
    "replicaof no one",
    "role",
    "select 3",
    "set a 3",
    "select 0",
    "subscribe x",
    "unsubscribe x",
    "psubscribe x*",
    "get refused",
    "reset",
    "publish a b",
    "spublish a b",
    "pubsub channels",
    "time",
    "wait 0 0",
    "shutdown nonsense",
    "incrby a 3",
    "incrbyfloat a 1.5",
    "hset a f v",
    "expire a 100",
    "getex a persist",
    "dbsize",
    "keys *",
    "scan 0",
    "slowlog get",
    "blpop nobody 0.01",
    "monitor nonsense",
    "flushall",
];

/// The line without its time and the client's address.
fn without_origin(line: &Reply) -> String {
    let Reply::Status(line) = line else { panic!("{line:?} is no line") };
    let (_time, rest) = line.split_once(" [").expect("an origin");
    let (origin, command) = rest.split_once("] ").expect("a command");
    let (db, _address) = origin.split_once(' ').expect("a database");
    format!("[{db}] {command}")
}

fn watch(server: &Server, commands: &[Argv]) -> Vec<String> {
    let mut monitor = server.client();
    monitor.call(argv!["MONITOR"]);
    let mut client = Client::connect(server.address()).expect("a connection");
    for argv in commands {
        // Whatever it answers.
        client.try_call(argv).expect("an answer");
    }
    client.call(argv!["ECHO", "the end"]);
    let mut lines = Vec::new();
    loop {
        let line = without_origin(&monitor.receive().expect("a line"));
        if line == r#"[0] "ECHO" "the end""# {
            return lines;
        }
        lines.push(line);
    }
}

#[test]
fn the_lines_are_those_of_valkey() {
    let scratch = Scratch::new("monitor");
    let valkey = Server::start(Program::Valkey, "valkey", &scratch);
    let own = Server::start(Program::Replcore, "replcore", &scratch);
    let words = |line: &&str| line.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect();
    let mut commands: Vec<Argv> = SCRIPT.iter().map(words).collect();
    let every_byte: Vec<u8> = (0..=255).collect();
    commands.push(argv!["set", Bytes::from(every_byte), ""]);
    let expected = watch(&valkey, &commands);
    assert!(expected.len() > 40, "{expected:#?}");
    let lines = watch(&own, &commands);
    for (index, (line, expected)) in lines.iter().zip(&expected).enumerate() {
        assert_eq!(line, expected, "line {index}");
    }
    assert_eq!(lines.len(), expected.len());
}

#[test]
fn a_command_that_waits_is_shown_once_and_when_it_begins_to_wait() {
    let scratch = Scratch::new("monitor-waiting");
    for program in [Program::Valkey, Program::Replcore] {
        let server = Server::start(program, "server", &scratch);
        let (mut monitor, mut waiting, mut client) = (server.client(), server.client(), server.client());
        monitor.call(argv!["MONITOR"]);
        waiting.send(&argv!["BLPOP", "l", 0]).expect("sent");
        let mut next = || without_origin(&monitor.receive().expect("a line"));
        assert_eq!(next(), r#"[0] "BLPOP" "l" "0""#);
        client.call(argv!["RPUSH", "l", "a"]);
        waiting.receive().expect("an answer");
        client.call(argv!["ECHO", "the end"]);
        assert_eq!([next(), next()], [r#"[0] "RPUSH" "l" "a""#, r#"[0] "ECHO" "the end""#]);
    }
}
