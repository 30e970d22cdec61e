//! Tests of the keyspace.
//!
//! [`session`] plays a conversation written as a table: one line a command, with the expected reply
//! after `=>` and the expected propagation after `|`. `@n` sets the clock to n milliseconds.

mod bits;
mod blocking;
mod commands;
mod concurrency;
mod draft;
mod dump;
mod expiry;
mod expiry_cycle;
mod fields;
mod lists;
mod memory;
mod numbers;
mod reference;
mod scanning;
mod sets;
mod snapshots;
mod sorting;
mod volatile;
mod watching;
mod zsets;

use std::time::Duration;

use bytes::BytesMut;

use super::*;

/// A keyspace with a clock and a record of what it published.
pub(super) struct Server {
    pub keyspace: Arc<Keyspace>,
    pub now_ms: u64,
    pub db: u16,
    pub published: Vec<String>,
}

impl Server {
    pub fn new() -> Server {
        Server::with_shards(4)
    }

    pub fn with_shards(shards: usize) -> Server {
        let options = Options { shards, databases: 4, max_string_bytes: 1 << 20, ..Options::default() };
        Server { keyspace: Arc::new(Keyspace::new(options)), now_ms: 1000, db: 0, published: Vec::new() }
    }

    pub fn call(&self, words: &str) -> Call {
        Call { db: self.db, argv: argv(words) }
    }

    pub fn run(&mut self, words: &str) -> Reply {
        self.run_all(&[words]).remove(0)
    }

    /// Runs the commands as one unit.
    pub fn run_all(&mut self, commands: &[&str]) -> Vec<Reply> {
        let calls: Vec<Call> = commands.iter().map(|words| self.call(words)).collect();
        let published = &mut self.published;
        self.keyspace.execute(&calls, self.now_ms, &mut |effects| published.push(unit_text(effects)))
    }

    pub fn expire_cycle(&mut self, budget: Duration) -> ExpireReport {
        let published = &mut self.published;
        self.keyspace.expire_cycle(self.now_ms, budget, &mut |effects| published.push(unit_text(effects)))
    }

    pub fn take_published(&mut self) -> String {
        std::mem::take(&mut self.published).join(" || ")
    }
}

/// Words; `""` is the empty argument.
pub(super) fn argv(words: &str) -> Vec<Bytes> {
    let word = |word: &str| Bytes::copy_from_slice(if word == "\"\"" { b"" } else { word.as_bytes() });
    words.split_whitespace().map(word).collect()
}

/// The operations of a unit, `; ` between them, in braces if they are wrapped.
pub(super) fn unit_text(effects: &Effects<'_>) -> String {
    let op_text = |op: &crate::rewrite::Op<'_>| {
        let word = |arg: &Bytes| text(&Reply::Bulk(arg.clone()));
        let words: Vec<_> = op.argv.iter().map(word).collect();
        let db = if op.db == 0 { String::new() } else { format!("{}:", op.db) };
        db + &words.join(" ")
    };
    let ops = effects.ops.iter().map(op_text).collect::<Vec<_>>().join("; ");
    let wrapped = effects.ops.len() > 1 && effects.wrap == crate::rewrite::Wrap::IfSeveral;
    if wrapped { format!("{{{ops}}}") } else { ops }
}

pub(super) fn text(reply: &Reply) -> String {
    match reply {
        Reply::Simple(text) => (*text).to_owned(),
        Reply::Error(error) => format!("-{error}"),
        Reply::Integer(n) => format!(":{n}"),
        Reply::Bulk(bytes) if bytes.is_empty() => "\"\"".to_owned(),
        Reply::Bulk(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Reply::Null => "nil".to_owned(),
        Reply::Array(items) => format!("[{}]", items.iter().map(text).collect::<Vec<_>>().join(" ")),
        Reply::Rows(rows) => {
            let row = |row: &Reply| text(row).trim_matches(['[', ']']).to_owned();
            format!("[{}]", rows.iter().map(row).collect::<Vec<_>>().join(" "))
        }
        Reply::Map(pairs) => {
            let pair = |(k, v): &(Reply, Reply)| format!("{}={}", text(k), text(v));
            format!("{{{}}}", pairs.iter().map(pair).collect::<Vec<_>>().join(" "))
        }
        Reply::Double(value) => {
            let mut text = BytesMut::new();
            crate::resp::write_double(*value, &mut text);
            format!(",{}", String::from_utf8_lossy(&text))
        }
        Reply::NullArray => "nothing".to_owned(),
        Reply::Set(items) => format!("<{}>", items.iter().map(text).collect::<Vec<_>>().join(" ")),
        other => format!("{other:?}"),
    }
}

pub(super) fn session(script: &str) {
    let mut server = Server::new();
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if let Some(now_ms) = line.strip_prefix('@') {
            server.now_ms = now_ms.parse().expect("a clock");
            continue;
        }
        if let Some(db) = line.strip_prefix("select ") {
            server.db = db.parse().expect("a database");
            continue;
        }
        let (command, expected) = line.split_once("=>").expect("a reply");
        let (reply, published) = expected.split_once('|').unwrap_or((expected, ""));
        let actual = text(&server.run(command));
        assert_eq!(actual, reply.trim(), "the reply to {command}");
        assert_eq!(server.take_published(), published.trim(), "the propagation of {command}");
    }
}

/// A keyspace that records its events, except for the classes `m` and `n`.
pub(super) struct Recorder {
    server: Server,
    events: Arc<Recorded>,
}

#[derive(Default)]
struct Recorded(Mutex<Vec<String>>);

impl events::EventSink for Recorded {
    fn key_event(&self, event: &events::KeyEvent<'_>) {
        self.0.lock().push(format!("{} {}", event.name, String::from_utf8_lossy(event.key)));
    }

    fn message(&self, _: events::MessageKind, _: &Bytes, _: &Bytes) -> u64 {
        0
    }
}

impl Recorder {
    pub fn new() -> Recorder {
        let mut server = Server::new();
        let events = Arc::new(Recorded::default());
        let options = server.keyspace.options().clone();
        server.keyspace = Arc::new(Keyspace::with_events(options, Some(events.clone())));
        let silent = events::EventClass::Miss as u32 | events::EventClass::New as u32;
        server.keyspace.set_event_classes(!silent);
        Recorder { server, events }
    }

    /// Runs a command and returns what it told: the event and the key, for each.
    pub fn run(&mut self, words: &str) -> String {
        self.server.run(words);
        std::mem::take(&mut *self.events.0.lock()).join(", ")
    }
}
