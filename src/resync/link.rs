//! The life of one replica's connection, seen from the primary, as pure transitions.
//!
//! ```text
//!                    partial                                          ┌───────────► Finished
//!   Handshake ────────────────────────────────────────────────┐       │ rdb-only
//!       │ full                                                 ▼       │
//!       └────► WaitSnapshot ──ready──► SendingRdb ──sent──┬─ $len ──► Online
//!                                                         │            ▲
//!                                                         └─ $EOF ► AwaitingFirstAck
//!                                                                      first REPLCONF ACK
//! ```
//!
//! The one subtle edge is the last: a replica finds the end of an `$EOF:` transfer by comparing the
//! last 40 bytes of *each read* with the mark. Stream bytes that arrived in the same read would hide
//! it, so the primary keeps the stream back until the replica has said its first word. With `$len`
//! the replica counts, and the stream follows at once.
//!
//! Timeouts (`repl-timeout`): an online replica that says nothing for that long is gone; so is one
//! that takes nothing during its transfer. A connection that asked with plain `SYNC` never
//! acknowledges and is not held to it.

use super::ReplicaFacts;

/// How a snapshot is framed on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// `$<length>\r\n`, then that many bytes.
    Length,
    /// `$EOF:<40 bytes>\r\n`, the snapshot, the same 40 bytes.
    EndMark,
}

/// Where a link stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkState {
    /// Before `PSYNC` or `SYNC`.
    Handshake,
    /// A full resync was decided, its bytes are not ready to be sent yet.
    WaitSnapshot,
    /// The snapshot is being sent.
    SendingRdb,
    /// The snapshot was sent with an end mark; the stream waits for the first acknowledgement.
    AwaitingFirstAck,
    /// The stream is being sent.
    Online,
    /// A snapshot without a stream was delivered (`rdb-only`).
    Finished,
}

impl LinkState {
    /// The name in `INFO replication` (`slaveN:…,state=`). A replica that still loads its snapshot
    /// is shown as receiving it, not as online.
    pub fn info_name(self) -> &'static str {
        match self {
            LinkState::Handshake => "handshake",
            LinkState::WaitSnapshot => "wait_bgsave",
            LinkState::SendingRdb | LinkState::AwaitingFirstAck => "send_bulk",
            LinkState::Online => "online",
            LinkState::Finished => "rdb_transmitted",
        }
    }
}

/// What happened on a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkEvent {
    /// The decision was to continue the stream.
    PartialAccepted,
    /// The decision was a full resync.
    FullAccepted,
    /// The snapshot's first bytes can be sent.
    SnapshotReady,
    /// The snapshot's last byte was handed to the socket.
    RdbSent,
    /// The replica acknowledged.
    Acked,
}

/// What the embedder has to do after a transition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkAction {
    /// Nothing.
    None,
    /// Keep the replica's patience with a newline a second until the snapshot is ready.
    KeepAlive,
    /// Send the snapshot, framed so.
    SendSnapshot(Framing),
    /// Send the stream from the attached cursor.
    StartStream,
    /// Close once everything is delivered.
    Close,
}

/// An event that cannot happen in this state: a defect of the embedder, reported instead of obeyed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{event:?} cannot happen to a replica link in state {state:?}")]
pub struct IllegalTransition {
    /// Where the link stood.
    pub state: LinkState,
    /// What was reported.
    pub event: LinkEvent,
}

/// A replica that has to be dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LinkTimeout {
    /// Nothing was heard of it.
    #[error("nothing was heard from the replica for {silent_ms} ms (repl-timeout is {timeout_ms} ms)")]
    Silent {
        /// Milliseconds since it last said something.
        silent_ms: u64,
        /// The limit.
        timeout_ms: u64,
    },
    /// It takes no bytes.
    #[error("the replica took no snapshot bytes for {stalled_ms} ms (repl-timeout is {timeout_ms} ms)")]
    Stalled {
        /// Milliseconds since it last took some.
        stalled_ms: u64,
        /// The limit.
        timeout_ms: u64,
    },
}

/// One replica's link.
#[derive(Clone, Debug)]
pub struct Link {
    state: LinkState,
    framing: Framing,
    rdb_only: bool,
    acknowledges: bool,
    last_heard_ms: u64,
    last_progress_ms: u64,
}

impl Link {
    /// A link in [`LinkState::Handshake`]. `psync` is false for the plain `SYNC` command, whose
    /// senders need not acknowledge. `diskless` allows [`Framing::EndMark`], which a replica gets
    /// if it announced that it can read it.
    pub fn new(facts: &ReplicaFacts, psync: bool, diskless: bool, now_ms: u64) -> Self {
        let end_mark = diskless && facts.capabilities.eof;
        Link {
            state: LinkState::Handshake,
            framing: if end_mark { Framing::EndMark } else { Framing::Length },
            rdb_only: facts.rdb_only,
            acknowledges: psync,
            last_heard_ms: now_ms,
            last_progress_ms: now_ms,
        }
    }

    /// Where the link stands.
    pub fn state(&self) -> LinkState {
        self.state
    }

    /// How its snapshot is framed.
    pub fn framing(&self) -> Framing {
        self.framing
    }

    /// Moves on.
    ///
    /// # Errors
    /// [`IllegalTransition`] when `event` cannot happen now; the state is unchanged.
    pub fn on(&mut self, event: LinkEvent, now_ms: u64) -> Result<LinkAction, IllegalTransition> {
        use LinkEvent as E;
        use LinkState as S;
        let (next, action) = match (self.state, event) {
            (S::Handshake, E::PartialAccepted) => (S::Online, LinkAction::StartStream),
            (S::Handshake, E::FullAccepted) => (S::WaitSnapshot, LinkAction::KeepAlive),
            (S::WaitSnapshot, E::SnapshotReady) => (S::SendingRdb, LinkAction::SendSnapshot(self.framing)),
            (S::SendingRdb, E::RdbSent) if self.rdb_only => (S::Finished, LinkAction::Close),
            (S::SendingRdb, E::RdbSent) if self.framing == Framing::Length => {
                (S::Online, LinkAction::StartStream)
            }
            (S::SendingRdb, E::RdbSent) => (S::AwaitingFirstAck, LinkAction::None),
            (S::AwaitingFirstAck, E::Acked) => (S::Online, LinkAction::StartStream),
            // Before the snapshot is complete an acknowledgement speaks of the replica's old data; later ones
            // only report progress.
            (state @ (S::WaitSnapshot | S::SendingRdb | S::Online | S::Finished), E::Acked) => {
                (state, LinkAction::None)
            }
            (state, event) => return Err(IllegalTransition { state, event }),
        };
        if event == E::Acked {
            self.last_heard_ms = self.last_heard_ms.max(now_ms);
        } else {
            self.last_progress_ms = now_ms;
        }
        if next == S::Online && self.state != S::Online {
            // The silence before the stream began is not held against the replica.
            self.last_heard_ms = now_ms;
        }
        self.state = next;
        Ok(action)
    }

    /// Whether an acknowledgement speaks of the data this link delivers. Before the snapshot is
    /// complete it speaks of what the replica had before, and its number means nothing here.
    pub fn takes_acks(&self) -> bool {
        matches!(self.state, LinkState::AwaitingFirstAck | LinkState::Online)
    }

    /// The replica said something, be it a bare newline while it loads.
    pub fn heard(&mut self, now_ms: u64) {
        self.last_heard_ms = self.last_heard_ms.max(now_ms);
    }

    /// The replica's socket took bytes.
    pub fn progressed(&mut self, now_ms: u64) {
        self.last_progress_ms = self.last_progress_ms.max(now_ms);
    }

    /// Whether the replica has to be dropped, and why.
    pub fn check_timeout(&self, now_ms: u64, timeout_ms: u64) -> Option<LinkTimeout> {
        let silent_ms = now_ms.saturating_sub(self.last_heard_ms);
        let stalled_ms = now_ms.saturating_sub(self.last_progress_ms);
        match self.state {
            LinkState::Online | LinkState::AwaitingFirstAck => {
                // While it loads its snapshot a replica speaks at most once a second; what counts is the
                // later of its last word and the last byte it took.
                let quiet_ms = if self.state == LinkState::AwaitingFirstAck {
                    silent_ms.min(stalled_ms)
                } else {
                    silent_ms
                };
                let expired = self.acknowledges && quiet_ms > timeout_ms;
                expired.then_some(LinkTimeout::Silent { silent_ms: quiet_ms, timeout_ms })
            }
            LinkState::SendingRdb | LinkState::Finished => {
                (stalled_ms > timeout_ms).then_some(LinkTimeout::Stalled { stalled_ms, timeout_ms })
            }
            LinkState::Handshake | LinkState::WaitSnapshot => None,
        }
    }
}
