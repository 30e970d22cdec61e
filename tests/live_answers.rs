//! What clients are answered, byte by byte: the same scripts to this server and to a real Valkey 9.1.2.
//!
//! A script is a table of lines; each begins with the name of a connection, which is made when it is first named:
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
use replcore::resp::{Reply, ReplyLimits, ReplyParser, encode_command};

use support::client::{Argv, argv};
use support::{Client, Program, Scratch, Server, wait_until};

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
                    if text.contains("flags=b") { Ok(()) } else { Err(text) }
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
