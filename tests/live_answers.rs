//! What clients are answered, byte by byte: the same scripts to this server and to a real Valkey 9.1.2.
//!
//! A script is a table of lines; each begins with the name of a connection, which is made when it is first
//! named:
//!
//! | line | what happens |
//! |---|---|
//! | `a> GET k` | sends a command and compares the reply |
//! | `a> INFO stats => f g` | compares only these fields of the reply, which is a text of `name=value` or `name:value` |
//! | `a>> BLPOP l 0` | sends a command and goes on |
//! | `a<` | compares the next thing that comes |
//! | `a~` | waits until the connection is blocked |
//! | `a!` | waits until the server closes the connection |
//! | `+20` | waits until the servers' clocks are 20 ms further |
//!
//! `{a}` is the number of a connection, `{a.addr}` its address. Words are quoted as in an inline command
//! (`"a b\r\n\xff"`).
#![cfg(feature = "server")]

mod support;

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use replcore::resp::{Reply, ReplyLimits, ReplyParser, encode_command};
use rustix::process::Signal;

use support::client::{Argv, argv};
use support::stream::{Answer, RawReplica};
use support::{Client, Program, Scratch, Server, note, seed, wait_until};

/// No reply, end of a connection or block takes longer.
const SOON: Duration = Duration::from_secs(20);

/// A connection whose replies are bytes.
struct Wire {
    socket: TcpStream,
    input: BytesMut,
    id: i64,
}

impl Wire {
    fn connect(server: &Server) -> Wire {
        let socket = TcpStream::connect(server.address()).expect("the server accepts");
        socket.set_nodelay(true).expect("a socket");
        socket.set_read_timeout(Some(SOON)).expect("a socket");
        let mut wire = Wire { socket, input: BytesMut::new(), id: 0 };
        wire.send(&argv!["CLIENT", "ID"]);
        let (_, Reply::Integer(id)) = wire.receive().expect("an answer") else { panic!("a number") };
        wire.id = id;
        wire
    }

    fn send(&mut self, argv: &Argv) {
        let mut output = BytesMut::new();
        encode_command(argv, &mut output);
        self.socket.write_all(&output).expect("the server reads");
    }

    /// The next reply and its bytes; an error if the connection ends or stays silent.
    fn receive(&mut self) -> Result<(Bytes, Reply), String> {
        loop {
            // From the start each time: how far a reply reaches is not known before it is whole.
            let mut rest = self.input.clone();
            if let Some(reply) = ReplyParser::new(ReplyLimits::default()).next(&mut rest).expect("RESP") {
                let bytes = self.input.split_to(self.input.len() - rest.len()).freeze();
                return Ok((bytes, reply));
            }
            let mut chunk = [0; 16 << 10];
            match self.socket.read(&mut chunk) {
                Ok(0) => return Err("closed".into()),
                Ok(len) => self.input.extend_from_slice(&chunk[..len]),
                Err(error) => return Err(error.kind().to_string()),
            }
        }
    }

    /// Waits for the end; whatever comes before is thrown away.
    fn wait_closed(&mut self) -> String {
        let mut chunk = [0; 16 << 10];
        loop {
            match self.socket.read(&mut chunk) {
                Ok(0) => return "closed".into(),
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return "closed".into(),
                Err(error) => return error.kind().to_string(),
            }
        }
    }
}

/// One server, and what a script has there.
struct Side {
    server: Server,
    control: Client,
    wires: BTreeMap<String, Wire>,
}

impl Side {
    fn start(program: Program, scratch: &Scratch) -> Side {
        let server = Server::start(program, &format!("{program:?}"), scratch);
        let control = server.client();
        Side { server, control, wires: BTreeMap::new() }
    }

    /// Runs a script; one line of text for each of its lines.
    fn run(&mut self, script: &str) -> Vec<String> {
        self.control.call(argv!["FLUSHALL"]);
        self.control.call(argv!["CONFIG", "RESETSTAT"]);
        let lines = script.lines().map(str::trim).filter(|line| !line.is_empty());
        let seen = lines.map(|line| format!("{line}\n        {}", self.line(line))).collect();
        self.wires.clear();
        seen
    }

    fn line(&mut self, line: &str) -> String {
        if let Some(ms) = line.strip_prefix('+') {
            self.pass(ms.parse().expect("milliseconds"));
            return "passed".into();
        }
        let (name, rest) = line.split_at(line.find(['>', '<', '~', '!']).expect("a connection"));
        if !self.wires.contains_key(name) {
            self.wires.insert(name.to_owned(), Wire::connect(&self.server));
        }
        match rest {
            "<" => show(&self.wire(name).receive(), None),
            "~" => self.wait_blocked(name),
            "!" => self.wire(name).wait_closed(),
            _ => {
                let (command, fields) = match rest.split_once(" => ") {
                    Some((command, fields)) => (command, Some(fields)),
                    None => (rest, None),
                };
                let only_send = command.starts_with(">>");
                let argv = self.argv(command.trim_start_matches('>').trim());
                let wire = self.wire(name);
                wire.send(&argv);
                if only_send { "sent".into() } else { without_names(&show(&wire.receive(), fields), wire.id) }
            }
        }
    }

    fn wire(&mut self, name: &str) -> &mut Wire {
        self.wires.get_mut(name).expect("connected")
    }

    /// The words of a line, with the numbers and addresses of this side's connections.
    fn argv(&mut self, line: &str) -> Argv {
        let mut line = line.to_owned();
        for (name, wire) in &self.wires {
            let addr = wire.socket.local_addr().expect("connected").to_string();
            line = line.replace(&format!("{{{name}}}"), &wire.id.to_string());
            line = line.replace(&format!("{{{name}.addr}}"), &addr);
        }
        words(&line)
    }

    fn wait_blocked(&mut self, name: &str) -> String {
        let id = self.wire(name).id;
        let control = &mut self.control;
        wait_until(&format!("{name} is blocked"), SOON, || {
            match control.call(argv!["CLIENT", "LIST", "ID", id]) {
                Reply::Bulk(text) | Reply::Verbatim(text) => {
                    let text = String::from_utf8_lossy(&text).into_owned();
                    let flags = text.split(' ').find_map(|field| field.strip_prefix("flags="));
                    if flags.is_some_and(|flags| flags.contains('b')) { Ok(()) } else { Err(text) }
                }
                other => Err(format!("{other:?}")),
            }
        });
        "blocked".into()
    }

    fn pass(&mut self, ms: u64) {
        let control = &mut self.control;
        let mut now_us = || {
            let Reply::Array(parts) = control.call(argv!["TIME"]) else { panic!("TIME answers two numbers") };
            let parts: Vec<u64> = parts
                .iter()
                .map(|part| match part {
                    Reply::Bulk(text) => String::from_utf8_lossy(text).parse().expect("a number"),
                    other => panic!("TIME answers two numbers, not {other:?}"),
                })
                .collect();
            parts[0] * 1_000_000 + parts[1]
        };
        let until_us = now_us() + ms * 1000;
        wait_until("time passes", SOON, || match now_us() {
            now_us if now_us > until_us => Ok(()),
            now_us => Err(format!("{now_us}")),
        });
    }
}

/// The words of a line, with quotes and escapes.
fn words(line: &str) -> Argv {
    let (mut words, mut word, mut quoted, mut open) = (Argv::new(), Vec::new(), false, false);
    let mut rest = line.chars();
    while let Some(c) = rest.next() {
        match c {
            '"' => {
                quoted = !quoted;
                open = true;
            }
            '\\' if quoted => match rest.next().expect("an escape") {
                'r' => word.push(b'\r'),
                'n' => word.push(b'\n'),
                'x' => {
                    let digits: String = rest.by_ref().take(2).collect();
                    word.push(u8::from_str_radix(&digits, 16).expect("hexadecimal digits"));
                }
                other => word.extend(other.to_string().bytes()),
            },
            ' ' if !quoted => {
                if open {
                    words.push(Bytes::from(std::mem::take(&mut word)));
                }
                open = false;
            }
            other => {
                word.extend(other.to_string().bytes());
                open = true;
            }
        }
    }
    if open {
        words.push(Bytes::from(word));
    }
    words
}

/// What came, as text; only the fields of it, if there are some to look at.
fn show(received: &Result<(Bytes, Reply), String>, fields: Option<&str>) -> String {
    let bytes = match received {
        Ok((bytes, _)) => bytes,
        Err(error) => return format!("({error})"),
    };
    let Some(fields) = fields else { return bytes.escape_ascii().to_string() };
    let text = String::from_utf8_lossy(bytes);
    let of = |field: &str| {
        let values: Vec<&str> = text
            .split_ascii_whitespace()
            .filter_map(|part| {
                part.split_once(['=', ':']).filter(|(name, _)| *name == field).map(|(_, value)| value)
            })
            .collect();
        format!("{field} {}", values.join(","))
    };
    fields.split(' ').map(of).collect::<Vec<_>>().join("; ")
}

/// What `HELLO` says about the server and the connection is not compared.
fn without_names(text: &str, id: i64) -> String {
    if !text.contains(r"$4\r\nmode") {
        return text.to_owned();
    }
    let own = text.replace(r"$8\r\nreplcore", r"$6\r\nvalkey").replace(r"$5\r\n7.2.4", r"$5\r\n9.1.2");
    // A Valkey has a module for scripts.
    let lua = r"%4\r\n$4\r\nname\r\n$3\r\nlua\r\n$3\r\nver\r\n:1\r\n$4\r\npath\r\n$3\r\nlua\r\n$4\r\nargs\r\n*0\r\n";
    let own = own.replace(&format!(r"*1\r\n{lua}"), r"*0\r\n");
    own.replace(&format!(":{id}\\r\\n"), ":id\\r\\n")
}

/// Runs every script on both servers; all differences together.
#[track_caller]
fn compare(scripts: &[&str]) {
    let scratch = Scratch::new("answers");
    let mut ours = Side::start(Program::primary(), &scratch);
    let mut theirs = Side::start(Program::Valkey, &scratch);
    let mut differences = String::new();
    for script in scripts {
        let (ours, theirs) = (ours.run(script), theirs.run(script));
        if ours == theirs {
            continue;
        }
        differences.push_str("\n---\n");
        for (ours, theirs) in ours.iter().zip(&theirs) {
            if ours == theirs {
                differences.push_str(&format!("  {ours}\n"));
            } else {
                let valkey = theirs.lines().last().unwrap_or_default().trim();
                differences.push_str(&format!("! {ours}\n        {valkey}   <- Valkey\n"));
            }
        }
    }
    assert!(differences.is_empty(), "{differences}");
}

/// Every command sees what those before it did, server commands among data commands.
#[test]
fn a_transaction_runs_in_the_clients_order() {
    compare(&[
        "b>> BLPOP l 0
         b~
         a> MULTI
         a> CLIENT UNBLOCK {b}
         a> RPUSH l v
         a> EXEC
         a> LRANGE l 0 -1
         b<",
        "b>> BLPOP l 0
         b~
         a> MULTI
         a> CLIENT UNBLOCK {b} ERROR
         a> CLIENT UNBLOCK {b}
         a> RPUSH l v
         a> LLEN l
         a> EXEC
         b<
         a> LLEN l",
        "b>> BLPOP l 0
         b~
         a> MULTI
         a> RPUSH l v
         a> CLIENT UNBLOCK {b}
         a> EXEC
         b<",
        "b>> BLPOP l 0
         b~
         a> MULTI
         a> CLIENT KILL ID {b}
         a> RPUSH l v
         a> EXEC
         a> LRANGE l 0 -1
         b!",
        "a> MULTI
         a> SUBSCRIBE ch
         a> PUBLISH ch x
         a> PING
         a> EXEC
         a<
         a> UNSUBSCRIBE ch
         a> PING",
        "a> MULTI
         a> PUBLISH ch before
         a> SUBSCRIBE ch
         a> SET k v
         a> PUBLISH ch after
         a> UNSUBSCRIBE ch
         a> PUBLISH ch gone
         a> GET k
         a> EXEC
         a<
         a> PING",
        "b> PSUBSCRIBE __key*__:*
         a> MULTI
         a> SET a 0
         a> CONFIG SET notify-keyspace-events KEA
         a> SET a 1
         a> CONFIG SET notify-keyspace-events \"\"
         a> SET a 2
         a> EXEC
         b<
         b<
         a> PUBLISH __key__:end x
         b<",
        "a> MULTI
         a> INFO keyspace
         a> SET a 1
         a> SELECT 3
         a> SET b 1
         a> SELECT 99
         a> SET c 1
         a> DBSIZE
         a> EXEC
         a> DBSIZE
         a> SELECT 0
         a> DBSIZE",
        "a> MULTI
         a> GET a
         a> GET b
         a> CONFIG RESETSTAT
         a> GET c
         a> EXEC
         a> INFO stats => keyspace_misses",
        "a> HSET h f v
         a> ZADD z 1.5 m
         a> MULTI
         a> HGETALL h
         a> GET nokey
         a> ZSCORE z m
         a> HELLO 4
         a> HELLO 3 SETNAME me
         a> HGETALL h
         a> GET nokey
         a> ZSCORE z m
         a> CLIENT GETNAME
         a> SUBSCRIBE ch
         a> EXEC
         a> PING
         a> HGETALL h",
        "b> SUBSCRIBE one two
         b<
         a> PUBLISH one 1
         b>> MULTI
         b<
         b<
         b> PUBLISH one x
         b> EXEC",
        "a> CONFIG SET slowlog-log-slower-than 0
         a> MULTI
         a> SET a 1
         a> SLOWLOG RESET
         a> SLOWLOG LEN
         a> SET b 2
         a> SLOWLOG LEN
         a> EXEC
         a> CONFIG SET slowlog-log-slower-than 10000
         a> SLOWLOG RESET",
        "a> WATCH w
         a> MULTI
         a> CLIENT INFO
         a> UNWATCH
         a> SET w 1
         a> EXEC => watch multi flags cmd",
        "b> WATCH w
         a> MULTI
         a> UNWATCH
         a> SET w 1
         a> WAIT 1 0
         a> EXEC
         b> MULTI
         b> GET w
         b> EXEC
         b> GET w",
        "a> CONFIG SET maxmemory-policy allkeys-lru
         a> MULTI
         a> SET a 1
         a> CONFIG SET maxmemory-policy allkeys-lfu
         a> OBJECT FREQ nokey
         a> CONFIG SET maxmemory-policy noeviction
         a> OBJECT FREQ a
         a> ECHO x
         a> EXEC",
        "a> MULTI
         a> DEBUG SET-ACTIVE-EXPIRE 0
         a> SET a 1
         a> DEBUG SET-ACTIVE-EXPIRE 1
         a> TIME x
         a> EXEC",
        "a> MULTI
         a> REPLICAOF NO ONE
         a> SLAVEOF NO ONE
         a> EXEC",
        "a> MULTI
         a> BLPOP l 0
         a> WAIT 3 0
         a> EXEC",
    ]);
}

#[test]
fn encodings_are_those_of_the_commands_that_made_a_string() {
    compare(&["a> SET a 12
         a> APPEND a 3
         a> OBJECT ENCODING a
         a> APPEND new 12
         a> OBJECT ENCODING new
         a> APPEND new2 abc
         a> OBJECT ENCODING new2
         a> SET b 12
         a> APPEND b \"\"
         a> OBJECT ENCODING b
         a> SETRANGE c 0 12
         a> OBJECT ENCODING c
         a> SETRANGE c2 0 \"\"
         a> SET d 12
         a> SETRANGE d 0 \"\"
         a> OBJECT ENCODING d
         a> SETRANGE d 0 1
         a> OBJECT ENCODING d
         a> SETBIT e 3 1
         a> OBJECT ENCODING e
         a> BITFIELD f SET u8 0 1
         a> OBJECT ENCODING f
         a> SET g 12
         a> BITFIELD g GET u8 0
         a> OBJECT ENCODING g
         a> SETBIT g 1 0
         a> OBJECT ENCODING g
         a> SET h abc
         a> INCRBYFLOAT i 1.5
         a> OBJECT ENCODING i
         a> INCRBYFLOAT i 0.5
         a> OBJECT ENCODING i
         a> BITOP AND j h h
         a> OBJECT ENCODING j
         a> SET h 12
         a> BITOP OR j h
         a> OBJECT ENCODING j
         a> COPY c k
         a> OBJECT ENCODING k
         a> RENAME c l
         a> OBJECT ENCODING l
         a> INCR a
         a> OBJECT ENCODING a
         a> GETSET a 5
         a> OBJECT ENCODING a
         a> SETRANGE m 0 5
         a> INCR m
         a> OBJECT ENCODING m
         a> SETRANGE m 0 9
         a> EXPIRE m 100
         a> OBJECT ENCODING m
         a> PERSIST m
         a> OBJECT ENCODING m
         a> GETEX m EX 100
         a> OBJECT ENCODING m
         a> SETRANGE n 0 7
         a> SETNX n 5
         a> OBJECT ENCODING n
         a> SETRANGE n 0 x
         a> MOVE n 1
         a> SELECT 1
         a> OBJECT ENCODING n"]);
}

#[test]
fn limits_do_not_depend_on_what_is_not_there() {
    compare(&["a> SRANDMEMBER nokey -999999999
         a> SRANDMEMBER nokey -9223372036854775808
         a> SRANDMEMBER nokey -9223372036854775807
         a> ZRANDMEMBER nokey -999999999
         a> ZRANDMEMBER nokey -9223372036854775808
         a> ZRANDMEMBER nokey -9223372036854775808 WITHSCORES
         a> ZRANDMEMBER nokey -4611686018427387905 WITHSCORES
         a> HRANDFIELD nokey -999999999
         a> HRANDFIELD nokey -9223372036854775808
         a> HRANDFIELD nokey -4611686018427387905 WITHVALUES
         a> HRANDFIELD nokey -4611686018427387903 WITHVALUES
         a> SPOP nokey -1
         a> SPOP nokey 9223372036854775807
         a> SRANDMEMBER nokey 9223372036854775807
         a> LPOP nokey 9223372036854775807
         a> LPOP nokey -1
         a> ZPOPMIN nokey -1
         a> ZPOPMIN nokey 9223372036854775807
         a> COMMAND INFO nosuch
         a> OBJECT ENCODING nokey
         a> OBJECT FREQ nokey"]);
}

/// Whatever its encoding, what a client sent stands in an error line as it was sent.
#[test]
fn error_lines_show_the_bytes_that_were_sent() {
    compare(&["a> \"foo\\xff\\x80\" a \"b\\xfe\"
         a> OBJECT \"\\xff\\xe4\" k
         a> SCAN 0 TYPE \"\\xff\"
         a> CLIENT \"\\xff\"
         a> CLIENT LIST TYPE \"\\xff\\xc3\\xa4\"
         a> CLIENT SETINFO \"\\xff\" x
         a> CONFIG SET \"\\xff\" x
         a> CONFIG SET hz \"\\xff\"
         a> HELLO 3 \"\\xff\"
         a> DEBUG \"\\xff\"
         a> HGETEX h \"\\xff\" FIELDS 1 a"]);
}

/// A number that makes no sense is refused in Valkey's words, and does nothing.
#[test]
fn numbers_and_filters_out_of_range_are_refused() {
    compare(&[
        "a> WAIT 2 9223372036854775807
         a> WAIT 2 -1
         a> WAIT 2 abc
         a> WAIT abc 1
         a> WAIT 99999999999999999999 1
         a> BLPOP l 9223372036854775807
         a> BLPOP l -1
         a> BLPOP l 1e400
         a> BLPOP l nan
         a> BLPOP l inf
         a> BRPOPLPUSH a b 9223372036854775
         a> BLMOVE a b LEFT LEFT 9223372036854775807
         a> BLMPOP 1e20 1 l LEFT
         a> BZPOPMIN z 9223372036854775807
         a> BZMPOP 9223372036854775807 1 z MIN
         a> SLOWLOG GET -2
         a> SLOWLOG GET 99999999999999999999
         a> SELECT 99999999999
         a> CLIENT UNBLOCK abc
         a> CLIENT UNBLOCK 99999999999999999999
         a> CLIENT UNBLOCK 1 FOO",
        "b> PING
         a> CLIENT KILL MAXAGE 0
         a> CLIENT KILL MAXAGE -5
         a> CLIENT KILL MAXAGE abc
         a> CLIENT KILL IDLE 0
         a> CLIENT KILL IDLE abc
         a> CLIENT KILL ID 0
         a> CLIENT KILL ID abc
         a> CLIENT KILL ID
         a> CLIENT KILL ID id
         a> CLIENT KILL TYPE foo
         a> CLIENT KILL NOT-TYPE foo
         a> CLIENT KILL SKIPME maybe
         a> CLIENT KILL USER nobody
         a> CLIENT KILL FLAGS Z
         a> CLIENT KILL FLAGS NX
         a> CLIENT KILL CAPA q
         a> CLIENT KILL DB abc
         a> CLIENT KILL DB 99
         a> CLIENT KILL DB -1
         a> CLIENT KILL FOO bar
         a> CLIENT KILL ADDR foo
         a> CLIENT KILL ADDR
         a> CLIENT KILL NAME foo
         a> CLIENT KILL NOT-USER default
         a> CLIENT KILL TYPE master
         a> CLIENT KILL ID 999999 SKIPME yes TYPE
         b> PING",
        "b> PING
         c> PING
         d> SUBSCRIBE ch
         a> CLIENT KILL ID {b} {c} TYPE normal
         b!
         c!
         a> CLIENT KILL NOT-ID {a} {d} ADDR {d.addr}
         a> CLIENT KILL FLAGS P ADDR {d.addr} LADDR 1.1.1.1:1
         d> PING
         a> CLIENT KILL FLAGS P ADDR {d.addr} NOT-IP 1.2.3.4
         d!
         a> CLIENT SETNAME me
         e> PING
         a> CLIENT KILL NAME me SKIPME no
         a!",
        "b> CLIENT SETNAME bee
         b> CLIENT SETINFO LIB-NAME lib
         b> CLIENT SETINFO LIB-VER 1.0
         b> SELECT 3
         c> SUBSCRIBE ch
         a> CLIENT LIST ID {b} TYPE normal => name db
         a> CLIENT LIST ID {b} {c} NOT-TYPE pubsub => name
         a> CLIENT LIST NAME bee => name
         a> CLIENT LIST LIB-NAME lib LIB-VER 1.0 => name
         a> CLIENT LIST LIB-NAME lib LIB-VER 2.0 => name
         a> CLIENT LIST DB 3 => name
         a> CLIENT LIST NOT-DB 0 => name
         a> CLIENT LIST FLAGS P => sub flags
         a> CLIENT LIST NAME \"\"
         a> CLIENT LIST TYPE normal TYPE pubsub => sub
         a> CLIENT LIST ID {b} SKIPME yes => name
         a> CLIENT LIST ID {a} SKIPME yes
         a> CLIENT LIST ID abc
         a> CLIENT LIST ID
         a> CLIENT LIST ID 0
         a> CLIENT LIST ID -1
         a> CLIENT LIST ID {b} TYPE
         a> CLIENT LIST TYPE foo
         a> CLIENT LIST MAXAGE 0
         a> CLIENT LIST FOO
         a> CLIENT LIST IDLE 100000
         a> CLIENT LIST NOT-ID {a} NAME bee => name",
    ]);
}

#[test]
fn subcommands_are_looked_up_before_anything_else() {
    compare(&["a> READONLY
         a> READWRITE
         a> CONFIG HELP
         a> CONFIG HELP x
         a> CONFIG FOO
         a> CONFIG GET
         a> CONFIG SET a
         a> CONFIG SET a b c
         a> CONFIG RESETSTAT x
         a> CONFIG GET hz HZ
         a> CONFIG GET maxmemory-s* maxclients hz [h]z
         a> CLIENT HELP x
         a> CLIENT FOO
         a> CLIENT KILL
         a> CLIENT SETNAME
         a> COMMAND FOO
         a> COMMAND COUNT x
         a> COMMAND LIST x
         a> COMMAND INFO nosuch
         a> FUNCTION FOO
         a> SCRIPT FOO
         a> SCRIPT FLUSH x
         a> FUNCTION FLUSH x
         a> PUBSUB FOO
         a> PUBSUB CHANNELS a b
         a> PUBSUB NUMPAT x
         a> SLOWLOG FOO
         a> SLOWLOG GET 1 2
         a> SLOWLOG HELP
         a> COMMANDLOG HELP
         a> PUBSUB HELP
         a> OBJECT HELP
         a> COMMANDLOG GET 1
         a> DEBUG FOO
         a> DEBUG SLEEP
         a> MULTI
         a> CONFIG FOO
         a> EXEC
         a> MULTI
         a> CLIENT KILL
         a> EXEC
         a> MULTI
         a> EXEC now
         a> EXEC"]);
}

/// Neither wins in silence: the error names both.
#[test]
fn a_setting_that_is_given_twice_is_refused() {
    for (args, first, second) in [
        (&["--port", "7000", "--config", "port=7001"][..], "--port", "--config port"),
        (&["--config", "hz=10", "--config", "HZ = 20"][..], "--config hz", "--config HZ"),
        (
            &["--backlog-size", "1mb", "--config", "repl-backlog-size=2mb"][..],
            "--backlog-size",
            "repl-backlog-size",
        ),
    ] {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_replcore"));
        let output = command.arg("serve").args(args).output().expect("the program runs");
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(text.contains(first) && text.contains(second), "{text}");
    }
}

/// Sends `SET key <bytes>` and returns once it is answered.
fn set_large(wire: &mut Wire, bytes: usize) {
    wire.send(&argv!["SET", "large", Bytes::from(vec![b'x'; bytes])]);
    let (reply, _) = wire.receive().expect("an answer");
    assert_eq!(&reply[..], b"+OK\r\n");
}

/// The value of a field in a line of `CLIENT LIST`.
fn field(client: &mut Client, id: i64, name: &str) -> Option<u64> {
    let (Reply::Bulk(text) | Reply::Verbatim(text)) = client.call(argv!["CLIENT", "LIST", "ID", id]) else {
        panic!("CLIENT LIST is a text")
    };
    let text = String::from_utf8_lossy(&text).into_owned();
    let value = |part: &str| part.strip_prefix(name)?.strip_prefix('=')?.parse().ok();
    text.split_ascii_whitespace().find_map(value)
}

/// Whatever it sent and got, a client that says nothing holds next to nothing, by its own account and by the
/// system's.
#[test]
fn an_idle_client_holds_no_buffers() {
    const CLIENTS: usize = 140;
    /// What the allocator keeps for good does not depend on how many there are.
    const WARM_UP: usize = 60;
    let scratch = Scratch::new("idle");
    for program in [Program::primary(), Program::Valkey] {
        let mut side = Side::start(program, &scratch);
        let mut wires: Vec<Wire> = (0..WARM_UP + CLIENTS).map(|_| Wire::connect(&side.server)).collect();
        let mut before = 0;
        for (number, wire) in wires.iter_mut().enumerate() {
            if number == WARM_UP {
                before = side.control.info_section("memory").number("used_memory_rss");
            }
            set_large(wire, 1 << 20);
            wire.send(&argv!["GET", "large"]);
            wire.receive().expect("an answer");
        }
        let partial = wires.last_mut().expect("there are some");
        partial.socket.write_all(b"*2\r\n$4\r\nECHO\r\n$2\r\nh").expect("the server reads");
        for wire in &wires {
            wait_until("its buffers are given back", SOON, || {
                let held = field(&mut side.control, wire.id, "tot-mem").expect("a number");
                let free = field(&mut side.control, wire.id, "qbuf-free").expect("a number");
                if held < 24_000 && free < 20_000 { Ok(()) } else { Err(format!("{held} and {free} bytes")) }
            });
        }
        wait_until("the memory is given back", SOON, || {
            let now = side.control.info_section("memory").number("used_memory_rss");
            let each = now.saturating_sub(before) / CLIENTS as u64;
            if each < 100 << 10 { Ok(()) } else { Err(format!("{each} bytes a client")) }
        });
        let partial = wires.last_mut().expect("there are some");
        partial.socket.write_all(b"i\r\n").expect("the server reads");
        assert_eq!(&partial.receive().expect("an answer").0[..], b"$2\r\nhi\r\n");
    }
}

/// A reply that fits into the client's own buffer counts for no limit; a client that is over the soft limit
/// for long is closed, whether one reply is too large for it or many are.
#[test]
fn output_limits_are_those_of_valkey() {
    let scratch = Scratch::new("output");
    for program in [Program::primary(), Program::Valkey] {
        let mut side = Side::start(program, &scratch);
        let mut wire = Wire::connect(&side.server);
        if program == Program::Valkey {
            // Otherwise it makes the buffer smaller now and then.
            side.control.call(argv!["DEBUG", "REPLYBUFFER", "RESIZING", 0]);
        }
        set_large(&mut wire, 10_000);
        // Of lists: Valkey answers large strings without a copy that would count.
        let elements = || (0..1_000).map(|_| Bytes::from("y".repeat(200)));
        side.control.call(argv!["RPUSH", "larger"].into_iter().chain(elements()).collect());
        for _ in 0..100 {
            side.control.call(argv!["RPUSH", "largest"].into_iter().chain(elements()).collect());
        }
        let limit = |side: &mut Side, limit: &str| {
            side.control.call(argv![
                "CONFIG",
                "SET",
                "client-output-buffer-limit",
                format!("normal {limit}")
            ]);
        };
        limit(&mut side, "10 0 0");
        for _ in 0..3 {
            wire.send(&argv!["GET", "large"]);
            assert!(wire.receive().is_ok(), "{program:?}: it fits into the client's own buffer");
        }
        wire.send(&argv!["LRANGE", "larger", 0, -1]);
        assert_eq!(wire.wait_closed(), "closed", "{program:?}");

        limit(&mut side, "0 150000 2");
        let [one, many, fast] = [(); 3].map(|()| Wire::connect(&side.server));
        let (mut one, mut many, mut fast) = (one, many, fast);
        one.send(&argv!["LRANGE", "largest", 0, -1]);
        for _ in 0..100 {
            many.send(&argv!["LRANGE", "larger", 0, -1]);
        }
        for wire in [&one, &many] {
            wait_until("who never reads is closed", SOON, || match field(&mut side.control, wire.id, "id") {
                None => Ok(()),
                Some(_) => Err("it is there".into()),
            });
        }
        fast.send(&argv!["LRANGE", "larger", 0, -1]);
        assert!(fast.receive().is_ok(), "{program:?}: who reads gets it all");
        limit(&mut side, "0 0 0");
    }
}

#[test]
fn what_has_expired_is_counted_and_watched_as_in_valkey() {
    compare(&[
        "a> DEBUG SET-ACTIVE-EXPIRE 0
         a> SELECT 1
         a> SET x foo PX 1
         +5
         b> WATCH x
         a> SWAPDB 0 1
         b> MULTI
         b> PING
         b> EXEC
         a> SELECT 0
         a> EXISTS x",
        "a> SET x foo PX 1
         +5
         b> WATCH x
         a> SWAPDB 0 1
         b> MULTI
         b> PING
         b> EXEC",
        "a> SET x foo PX 1
         +5
         b> WATCH x
         a> SELECT 1
         a> SET x bar PX 1
         +5
         a> SWAPDB 0 1
         b> MULTI
         b> PING
         b> EXEC",
        "a> SELECT 1
         a> SET x foo PX 1
         +5
         b> WATCH x
         a> SWAPDB 0 1
         a> SELECT 0
         a> EXISTS x
         a> SET x v
         b> MULTI
         b> PING
         b> EXEC",
        "a> SET x foo
         b> WATCH x
         a> SELECT 1
         a> SET x foo PX 1
         +5
         a> SWAPDB 0 1
         b> MULTI
         b> PING
         b> EXEC
         a> DEBUG SET-ACTIVE-EXPIRE 1",
        "a> WATCH x
         a> WATCH x x y
         a> CLIENT INFO => watch
         a> CLIENT LIST => watch
         a> UNWATCH
         a> CLIENT INFO => watch",
        "a> MSET a 1 b 1 c 1 d 1 e 1
         a> EXPIRE a -1
         a> INFO stats => expired_keys
         a> SET b v PXAT 1
         a> INFO stats => expired_keys
         a> GETEX c PXAT 1
         a> PEXPIREAT d 1
         a> INFO stats => expired_keys
         a> SET nokey v PXAT 1
         a> EXPIRE nokey -1
         a> SET e v EXAT 1 NX
         a> SET e v EXAT 1 GET
         a> MSETEX 2 a v n v PXAT 1
         a> INFO stats => expired_keys",
    ]);
}

/// The same double is the same text: sums of cents, anything, numbers without a fraction.
#[test]
fn doubles_are_the_same_text_as_in_valkey() {
    const EACH: usize = 4_000;
    let scratch = Scratch::new("doubles");
    let seed = seed();
    note!("REPLCORE_TEST_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut values: Vec<f64> =
        vec![5494.650000000001, 5e-324, f64::MAX, 2f64.powi(62), 2f64.powi(63), 1e21, 1e-7, -0.0];
    for _ in 0..EACH {
        let summands = random.random_range(2..12);
        values.push((0..summands).map(|_| f64::from(random.random_range(0..100_000)) / 100.0).sum());
        values.push((random.random_range(0.0..1.0_f64)) * 10f64.powi(random.random_range(-8..20)));
        values.extend(Some(f64::from_bits(random.random())).filter(|value| value.is_finite()));
    }
    let mut texts = [Program::primary(), Program::Valkey].map(|program| {
        let mut side = Side::start(program, &scratch);
        let mut texts = Vec::new();
        for chunk in values.chunks(500) {
            let members = || (0..chunk.len()).map(|member| Bytes::from(member.to_string()));
            let scored =
                members().zip(chunk).flat_map(|(member, score)| [Bytes::from(format!("{score:e}")), member]);
            side.control.call(argv!["ZADD", "q"].into_iter().chain(scored).collect());
            match side.control.call(argv!["ZMSCORE", "q"].into_iter().chain(members()).collect()) {
                Reply::Array(scores) => texts.extend(scores),
                other => panic!("ZMSCORE answers {other:?}"),
            }
        }
        texts
    });
    assert_eq!(texts[0].len(), values.len());
    let [ours, theirs] = texts.each_mut().map(std::mem::take);
    for ((value, ours), theirs) in values.iter().zip(ours).zip(theirs) {
        assert_eq!(ours, theirs, "{value:e}");
    }
}

#[test]
fn paused_clients_go_on_where_they_were() {
    compare(&[
        "a> CLIENT PAUSE abc
         a> CLIENT PAUSE -1
         a> CLIENT PAUSE 9223372036854775807
         a> CLIENT PAUSE 1 foo
         a> CLIENT PAUSE abc foo
         a> CLIENT PAUSE 0
         a> CLIENT PAUSE 0 WRITE
         a> CLIENT UNPAUSE
         a> INFO clients => paused_reason paused_actions paused_timeout_milliseconds",
        "a> CLIENT PAUSE 100000 WRITE
         a> INFO clients => paused_reason paused_actions
         a> GET k
         b>> SET k v
         b~
         c>> PUBLISH ch x
         c~
         d> MULTI
         d> GET k
         d>> SET l v
         d~
         e> MULTI
         e> GET k
         e> EXEC
         a> CLIENT LIST ID {b} => flags cmd
         a> CLIENT UNPAUSE
         b<
         c<
         d<
         d> EXEC
         a> GET k
         a> INFO clients => paused_reason paused_actions",
        "a> CLIENT PAUSE 300 WRITE
         b> SET k v
         a> INFO clients => paused_reason",
        "a> CLIENT PAUSE 200
         b> GET k
         a> CLIENT PAUSE 1 WRITE
         +5
         a> INFO clients => paused_actions",
    ]);
}

/// `SHUTDOWN` waits for replicas that lag: writes are paused, nobody is closed, and it can be called off.
/// `SIGTERM` likewise.
#[test]
fn a_shutdown_waits_for_replicas_and_can_be_aborted() {
    let scratch = Scratch::new("stopping");
    for program in [Program::primary(), Program::Valkey] {
        let mut side = Side::start(program, &scratch);
        let mut replica = RawReplica::introduce(side.server.address());
        let Answer::FullResync { offset, .. } = replica.psync("?", -1) else { panic!("a full resync") };
        replica.snapshot();
        replica.acknowledge(offset);
        let online = |side: &mut Side| {
            side.control.info_section("replication").text("slave0").contains("state=online")
        };
        wait_until("the replica is online", SOON, || online(&mut side).then_some(()).ok_or_else(String::new));
        assert_eq!(side.line("a> SET k v"), r"+OK\r\n");
        for end in ["SHUTDOWN", "SIGTERM"] {
            let ask = |side: &mut Side| match end {
                "SHUTDOWN" => {
                    side.line("b>> SHUTDOWN");
                    side.line("b~");
                }
                _ => side.server.signal(Signal::TERM),
            };
            ask(&mut side);
            let left_ms = wait_until("a shutdown waits", SOON, || {
                let info = side.control.info_section("server");
                info.get("shutdown_in_milliseconds").map(str::to_owned).ok_or_else(String::new)
            });
            let left_ms: u64 = left_ms.parse().expect("a number");
            assert!((1..=10_000).contains(&left_ms), "{program:?}: {left_ms}");
            assert_eq!(side.line("a> GET k"), r"$1\r\nv\r\n");
            side.line("w>> SET k w");
            side.line("w~");
            assert_eq!(side.line("n> INFO clients => paused_reason"), "paused_reason shutdown_in_progress");
            assert_eq!(side.line("a> SHUTDOWN ABORT"), r"+OK\r\n");
            assert_eq!(side.line("w<"), r"+OK\r\n");
            if end == "SHUTDOWN" {
                assert_eq!(side.line("b<"), r"-ERR Errors trying to SHUTDOWN. Check logs.\r\n");
            }
            assert_eq!(side.line("a> SHUTDOWN ABORT"), r"-ERR No shutdown in progress.\r\n");
            assert_eq!(side.line("a> SET k v"), r"+OK\r\n");
        }
        // A replica that has everything is waited for no longer.
        side.line("z>> SHUTDOWN");
        side.line("z~");
        let end = side.control.info_section("replication").number("master_repl_offset");
        replica.acknowledge(end);
        assert_eq!(side.line("z!"), "closed");
        assert_eq!(side.line("a!"), "closed");
        assert_eq!(side.server.wait_exit(SOON).code(), Some(0), "{program:?}");
    }
}
