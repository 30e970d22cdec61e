//! Why a hunt cannot go on.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use super::target::Side;
use crate::rdb::PayloadError;
use crate::resp::ReplyError;

/// Why a hunt cannot begin or go on: the targets, never what they were found to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HuntError {
    /// A target in no known form.
    #[error("'{0}' is no target: HOST:PORT, valkey:PATH, redis:PATH, or self for the primary")]
    Target(String),
    /// A host that is none.
    #[error("{host}: {source}")]
    Resolve {
        /// As given.
        host: String,
        /// Why not.
        source: io::Error,
    },
    /// A server that could not be started, or ended.
    #[error("the {side} ({program}) does not run: {reason}")]
    Start {
        /// Which one.
        side: Side,
        /// What was started.
        program: PathBuf,
        /// The end of its log, or why it could not be started.
        reason: String,
    },
    /// The connection fails or breaks, or the answer does not come.
    #[error("the {side} at {address}: {source}")]
    Connection {
        /// Which one.
        side: Side,
        /// Where.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// What answers does not speak the protocol.
    #[error("the {side} at {address} is no Valkey or Redis: {source}")]
    NotAServer {
        /// Which one.
        side: Side,
        /// Where.
        address: SocketAddr,
        /// What it sent.
        source: ReplyError,
    },
    /// A command that the hunt cannot do without is refused.
    #[error("the {side} at {address} refuses {command}: {error}{}", advice(error))]
    Refused {
        /// Which one.
        side: Side,
        /// Where.
        address: SocketAddr,
        /// What was sent.
        command: String,
        /// The answer.
        error: String,
    },
    /// An answer of another shape than the command has.
    #[error("the {side} at {address} answers {command} with {reply}")]
    Unexpected {
        /// Which one.
        side: Side,
        /// Where.
        address: SocketAddr,
        /// What was sent.
        command: String,
        /// The answer.
        reply: String,
    },
    /// The server has data, and nobody said that it may go.
    #[error(
        "the {side} at {address} holds {keys} keys; a hunt destroys all data of both servers: --flush permits it"
    )]
    NotEmpty {
        /// Which one.
        side: Side,
        /// Where.
        address: SocketAddr,
        /// How many.
        keys: u64,
    },
    /// The primary is a replica itself.
    #[error("the primary at {address} is a replica itself")]
    NotAPrimary {
        /// Where.
        address: SocketAddr,
    },
    /// One server cannot be both sides.
    #[error("{address} cannot be both the primary and the replica")]
    SameServer {
        /// Where.
        address: SocketAddr,
    },
    /// A command that hunts do not use.
    #[error("'{0}' is none of the commands that a hunt uses: {names}", names = super::generate::command_names().join(" "))]
    UnknownCommand(String),
    /// None of the commands is known to both servers.
    #[error("the two servers have no command to hunt with in common")]
    NoCommands,
    /// The replica does not reach the primary's offset.
    #[error("the replica did not catch up within {waited_s} s: {last}")]
    NotCaughtUp {
        /// How long was waited, in s.
        waited_s: u64,
        /// What INFO said last.
        last: String,
    },
    /// What DUMP answers is of a type or version that is not read.
    #[error("the {side}'s DUMP of {key} cannot be read: {source}")]
    Dump {
        /// Which one.
        side: Side,
        /// Of which key.
        key: String,
        /// Why not.
        source: PayloadError,
    },
    /// The link between the servers cannot listen.
    #[error("the link cannot listen on {host}: {source}")]
    Link {
        /// Where.
        host: String,
        /// Why not.
        source: io::Error,
    },
    /// A file of the hunt's own, or a signal, failed.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: String,
        /// Why it failed.
        source: io::Error,
    },
}

fn advice(error: &str) -> &'static str {
    match error.split(' ').next() {
        Some("NOAUTH" | "WRONGPASS") => " (--password gives one)",
        Some("READONLY") => " (is it a replica?)",
        _ => "",
    }
}
