//! Why a link to a primary ended.

use std::fmt;

use crate::resp::ProtocolError;

/// What a replica says to its primary before the stream, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Step {
    /// `PING`.
    Ping,
    /// `AUTH`.
    Auth,
    /// `REPLCONF listening-port`.
    ListeningPort,
    /// `REPLCONF ip-address`.
    Address,
    /// `REPLCONF capa`.
    Capabilities,
    /// `REPLCONF version`.
    Version,
    /// `PSYNC`.
    Psync,
    /// Nothing: the header of the snapshot is awaited.
    Snapshot,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Step::Ping => "PING",
            Step::Auth => "AUTH",
            Step::ListeningPort => "REPLCONF listening-port",
            Step::Address => "REPLCONF ip-address",
            Step::Capabilities => "REPLCONF capa",
            Step::Version => "REPLCONF version",
            Step::Psync => "PSYNC",
            Step::Snapshot => "the wait for a snapshot",
        })
    }
}

/// Why a link to a primary ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// The connection failed or was closed: the embedder said so.
    #[error("the connection was lost")]
    Disconnected,
    /// Nothing came for too long ([`Builder::timeout_ms`](super::Builder::timeout_ms)).
    #[error("the primary said nothing for {silent_ms} ms, the limit is {limit_ms} ms")]
    Timeout {
        /// Milliseconds since its last byte, or since it was to be connected to.
        silent_ms: u64,
        /// The limit.
        limit_ms: u64,
    },
    /// The primary cannot serve a replica now, and will be able to later: `-LOADING`, `-NOMASTERLINK`,
    /// `-BUSY` and the like; any error in answer to `PING`, or in the place of a snapshot.
    #[error("the primary puts the replica off after {step}: {reply}")]
    NotNow {
        /// What it answered.
        step: Step,
        /// The line.
        reply: String,
    },
    /// The primary refuses the password or the synchronisation. Trying again changes nothing: the session
    /// stops.
    #[error("the primary refuses {step}: {reply}")]
    Refused {
        /// What it answered.
        step: Step,
        /// The line.
        reply: String,
    },
    /// An answer that none knows, or that does not fit the question: this may be no primary at all.
    #[error("the primary answers {step} with {reply:?}")]
    UnexpectedReply {
        /// What it answered.
        step: Step,
        /// The line.
        reply: String,
    },
    /// A line is longer than [`Builder::max_line_bytes`](super::Builder::max_line_bytes).
    #[error("the answer to {step} is longer than {limit} bytes")]
    LineTooLong {
        /// What it answered.
        step: Step,
        /// The limit.
        limit: usize,
    },
    /// The stream is no sequence of commands. Nothing tells since when the two are out of step, so the
    /// history is given up: the next resync is a full one, as Valkey does it.
    #[error("in the stream, in the command behind byte {offset}: {source}")]
    Stream {
        /// Where the command starts: bytes of the stream before it.
        offset: u64,
        /// What is wrong with it.
        source: ProtocolError,
    },
    /// A command is longer than [`Builder::max_command_bytes`](super::Builder::max_command_bytes). It would
    /// come again and again: the session stops, at the position before it.
    #[error("the command behind byte {offset} of the stream is longer than {limit} bytes")]
    CommandTooLong {
        /// Where the command starts: bytes of the stream before it.
        offset: u64,
        /// The limit.
        limit: u64,
    },
    /// The embedder gave up the copy ([`ReplicaSession::start_over`](super::ReplicaSession::start_over)).
    #[error("the copy was given up, a full one is asked for")]
    StartedOver,
}

impl LinkError {
    /// Whether the session connects again by itself.
    pub fn is_retryable(&self) -> bool {
        !matches!(self, LinkError::Refused { .. } | LinkError::CommandTooLong { .. })
    }

    /// Whether what was received of the history can be trusted no longer.
    pub(super) fn gives_up_history(&self) -> bool {
        matches!(self, LinkError::Stream { .. } | LinkError::StartedOver)
    }
}
