//! `MONITOR`: every command, as its client sent it, to those who watch.
//!
//! The commands of a unit are recorded while the unit's locks are held, all at once and with the `EXEC` that
//! they came from: for every key the lines are in the order of execution, and a transaction is never torn.
//! The line shows the client's own arguments, not what is propagated, except for passwords.
//!
//! Shown are commands that ran, also if they failed; not those that were refused before (unknown, wrong
//! number of arguments, not authenticated), and not the administration: [`is_hidden`].
//!
//! While nobody watches, a command costs one relaxed load.
//!
//! # Limit
//!
//! A client that watches cannot be slowed down by anybody, and Valkey puts it into the class `normal`, which
//! has no limit by default: a watcher that does not read would grow without a bound. Here it has `normal`'s
//! limit if there is one, and `pubsub`'s otherwise.

use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use bytes::Bytes;
use parking_lot::Mutex;

use super::clients::Client;
use super::commandlog::redacted;
use super::config::{Config, OutputLimit};

/// A command that ran.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ran<'a> {
    /// The database that was selected when it had run.
    pub db: u16,
    pub argv: &'a [Bytes],
}

/// Those who watch.
#[derive(Debug)]
pub(super) struct Monitors {
    /// How many there are. Relaxed: who has been told that it watches sees later commands.
    count: AtomicUsize,
    clients: Mutex<Vec<Arc<Client>>>,
    limit: ArcSwap<OutputLimit>,
}

impl Monitors {
    pub fn new(config: &Config) -> Monitors {
        Monitors {
            count: AtomicUsize::new(0),
            clients: Mutex::default(),
            limit: ArcSwap::from_pointee(output_limit(config)),
        }
    }

    /// Takes over what concerns it from a changed configuration.
    pub fn configure(&self, config: &Config) {
        self.limit.store(Arc::new(output_limit(config)));
    }

    /// Whether somebody watches.
    #[inline]
    pub fn any(&self) -> bool {
        self.count.load(Ordering::Relaxed) > 0
    }

    pub fn add(&self, client: &Arc<Client>) {
        let mut clients = self.clients.lock();
        clients.push(Arc::clone(client));
        self.count.store(clients.len(), Ordering::Relaxed);
    }

    pub fn remove(&self, client: &Client) {
        let mut clients = self.clients.lock();
        clients.retain(|other| other.id != client.id);
        self.count.store(clients.len(), Ordering::Relaxed);
    }

    /// Shows commands that a client, or a script, ran, one after the other with nothing between them.
    pub fn record<'a>(&self, by: impl Display, commands: impl IntoIterator<Item = Ran<'a>>) {
        let clients = self.clients.lock();
        if clients.is_empty() {
            return;
        }
        let limit = **self.limit.load();
        for Ran { db, argv } in commands {
            if is_hidden(argv) {
                continue;
            }
            let line = Bytes::from(line(&by, db, argv));
            for client in clients.iter().filter(|client| !client.outbox.is_muted()) {
                client.push(line.clone(), limit);
            }
        }
    }
}

/// The limit of clients that watch.
pub(super) fn output_limit(config: &Config) -> OutputLimit {
    let normal = config.normal_output;
    if normal.hard_bytes == 0 && normal.soft_bytes == 0 { config.pubsub_output } else { normal }
}

/// Commands that are never shown.
const HIDDEN: &[&str] = &[
    "commandlog",
    "config",
    "debug",
    "failover",
    "monitor",
    "psync",
    "replconf",
    "replicaof",
    "shutdown",
    "slaveof",
    "slowlog",
    "sync",
];
const HIDDEN_CLIENT_SUBCOMMANDS: &[&str] = &["kill", "list", "no-evict", "pause", "unblock", "unpause"];

/// Whether a command belongs to the administration, which is not shown.
fn is_hidden(argv: &[Bytes]) -> bool {
    let is_one_of = |at: usize, names: &[&str]| {
        argv.get(at).is_some_and(|given| names.iter().any(|name| given.eq_ignore_ascii_case(name.as_bytes())))
    };
    is_one_of(0, HIDDEN) || (is_one_of(0, &["client"]) && is_one_of(1, HIDDEN_CLIENT_SUBCOMMANDS))
}

fn line(by: &dyn Display, db: u16, argv: &[Bytes]) -> Vec<u8> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut line = format!("+{}.{:06} [{db} {by}]", now.as_secs(), now.subsec_micros()).into_bytes();
    for arg in redacted(argv) {
        line.push(b' ');
        quote(&arg, &mut line);
    }
    line.extend_from_slice(b"\r\n");
    line
}

/// Bytes in quotes, those that cannot be printed escaped, as Valkey does it.
fn quote(bytes: &[u8], out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.push(b'"');
    for &byte in bytes {
        match byte {
            b'"' | b'\\' => out.extend([b'\\', byte]),
            b'\n' => out.extend(b"\\n"),
            b'\r' => out.extend(b"\\r"),
            b'\t' => out.extend(b"\\t"),
            0x07 => out.extend(b"\\a"),
            0x08 => out.extend(b"\\b"),
            b' '..=b'~' => out.push(byte),
            _ => out.extend([b'\\', b'x', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]),
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    fn argv(words: &[&'static str]) -> Vec<Bytes> {
        words.iter().map(|word| Bytes::from_static(word.as_bytes())).collect()
    }

    /// The line after the time.
    fn shown(argv: &[Bytes]) -> String {
        let by = SocketAddr::from(([127, 0, 0, 1], 7));
        let line = String::from_utf8(line(&by, 3, argv)).expect("plain text");
        line.split_once(' ').expect("a time").1.to_owned()
    }

    #[test]
    fn arguments_are_quoted_as_valkey_quotes_them() {
        let args = [
            Bytes::from_static(b"set"),
            Bytes::from_static(b"a\"b\\c\n\r\t\x07\x08\x00\xff\x7f ~"),
            Bytes::new(),
        ];
        let expected = "[3 127.0.0.1:7] \"set\" \"a\\\"b\\\\c\\n\\r\\t\\a\\b\\x00\\xff\\x7f ~\" \"\"\r\n";
        assert_eq!(shown(&args), expected);
    }

    #[test]
    fn passwords_are_not_shown() {
        for (words, expected) in [
            (&["AUTH", "p"][..], "\"AUTH\" \"(redacted)\""),
            (&["auth", "u", "p"], "\"auth\" \"(redacted)\" \"(redacted)\""),
            (
                &["hello", "3", "AUTH", "u", "p", "SETNAME", "n"],
                "\"hello\" \"3\" \"AUTH\" \"(redacted)\" \"(redacted)\" \"SETNAME\" \"n\"",
            ),
            (&["set", "k", "auth", "u", "p"], "\"set\" \"k\" \"auth\" \"u\" \"p\""),
        ] {
            assert_eq!(shown(&argv(words)), format!("[3 127.0.0.1:7] {expected}\r\n"));
        }
    }

    #[test]
    fn the_administration_is_hidden() {
        for words in [&["CONFIG", "GET", "x"][..], &["monitor"], &["Client", "LIST"], &["psync", "?", "-1"]] {
            assert!(is_hidden(&argv(words)), "{words:?}");
        }
        for words in [&["client", "id"][..], &["auth", "x"], &["get", "list"], &["client"]] {
            assert!(!is_hidden(&argv(words)), "{words:?}");
        }
    }
}
