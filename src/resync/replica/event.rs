//! What a session tells its embedder.

use bytes::Bytes;

use super::super::{Framing, Previous, ReplicationId};
use super::{LinkError, Position};

/// Where a session stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Phase {
    /// Between two connections, until the next attempt is due.
    Waiting,
    /// A connection was asked for ([`Event::Connect`]).
    Connecting,
    /// Introducing itself, up to the answer to `PSYNC`.
    Handshake,
    /// A full resync was announced; its snapshot is being made.
    AwaitingSnapshot,
    /// The snapshot is coming.
    Snapshot,
    /// The snapshot is whole, and the embedder has not said yet that it is applied.
    Loading,
    /// The stream is coming.
    Streaming,
    /// Nothing happens before [`ReplicaSession::restart`](super::ReplicaSession::restart).
    Stopped,
}

/// What happened, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// Open a connection to the primary; then call [`connected`](super::ReplicaSession::connected), or
    /// [`disconnected`](super::ReplicaSession::disconnected) if that fails.
    Connect,
    /// The link is down: close the connection if it is open, and report it no more.
    LinkDown(LinkDown),
    /// The primary announces a snapshot. What is there already stays valid until [`Event::SnapshotBegin`].
    FullResync {
        /// The history that the snapshot is of.
        id: ReplicationId,
        /// The bytes of the stream that it includes.
        offset: u64,
    },
    /// Data is being replaced: what was there before belongs to no position any more.
    SnapshotBegin {
        /// How it is framed.
        framing: Framing,
        /// Its length in bytes, if it is known beforehand: with [`Framing::Length`].
        length: Option<u64>,
    },
    /// The next bytes of the snapshot (RDB). How many they are depends on how they arrived.
    Snapshot(Bytes),
    /// The snapshot is whole. Nothing more comes before
    /// [`snapshot_applied`](super::ReplicaSession::snapshot_applied).
    SnapshotEnd,
    /// The stream goes on where it was left.
    Continue {
        /// Where, and under which id.
        position: Position,
        /// The history that was followed before, if the primary has changed its id: sub-replicas have to
        /// learn of it.
        previous: Option<Previous>,
    },
    /// The next command of the stream.
    Command(Command),
}

/// A link that ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkDown {
    /// Why.
    pub error: LinkError,
    /// What the next link will ask to be continued; `None`: it will ask for a full copy.
    pub resume: Option<Position>,
    /// The link ended inside a transaction: commands after this offset were delivered and are void. They come
    /// again, or are in the next snapshot.
    pub rolled_back_to: Option<u64>,
    /// When the next [`Event::Connect`] is due; `None`: not before the embedder says so.
    pub retry_at_ms: Option<u64>,
}

/// Where a command stands in a transaction of the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TransactionPart {
    /// In none.
    Outside,
    /// `MULTI`: opens one.
    Begin,
    /// In one, which a lost link makes void.
    Inside,
    /// `EXEC` (or `DISCARD`): closes it.
    End,
}

/// A command of the stream, pings and questions of the primary included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// Its name and arguments.
    pub argv: Vec<Bytes>,
    /// Its bytes as they came, empty lines before it included: what a sub-replica gets. Empty if the session
    /// was told to keep none ([`Builder::raw_bytes`](super::Builder::raw_bytes)).
    pub raw: Bytes,
    /// Bytes of the stream before it. It is where the command before it ended.
    pub start: u64,
    /// Bytes of the stream up to its end.
    pub end: u64,
    /// Bytes of the stream that are applied once this command is: [`end`](Self::end), or the start of the
    /// transaction that is open.
    pub applied: u64,
    /// The database it belongs to, if that is known.
    pub db: Option<u32>,
    /// Where it stands in a transaction.
    pub part: TransactionPart,
}

impl Command {
    /// Whether this is the command `name`, in whatever case.
    pub fn is(&self, name: &str) -> bool {
        is_word(self.argv.first(), name)
    }

    /// Whether it concerns the link alone and no data: `PING`, `REPLCONF`, `SELECT`, and what frames a
    /// transaction.
    pub fn is_administrative(&self) -> bool {
        let framing = matches!(self.part, TransactionPart::Begin | TransactionPart::End);
        framing || self.is("PING") || self.is("REPLCONF") || self.is("SELECT")
    }
}

/// Whether `argument` is there and is `word`, in whatever case.
pub(super) fn is_word(argument: Option<&Bytes>, word: &str) -> bool {
    argument.is_some_and(|given| given.eq_ignore_ascii_case(word.as_bytes()))
}
