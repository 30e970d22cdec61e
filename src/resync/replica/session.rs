//! The session as the embedder sees it. What it does by itself is in `steps`.

use std::fmt;

use bytes::{Bytes, BytesMut};

use super::super::History;
use super::backoff::Backoff;
use super::greeting::Greeting;
use super::settings::{Builder, Settings};
use super::steps::{Progress, State};
use super::{Event, LinkError, Phase, Position};
use crate::resp::encode_command;

/// A replica's side of the replication link, over any number of connections. See the [module](super).
#[must_use]
pub struct ReplicaSession {
    pub(super) settings: Settings,
    pub(super) backoff: Backoff,
    pub(super) state: State,
    /// What the next link asks to be continued.
    pub(super) position: Option<Position>,
    pub(super) history: Option<History>,
    /// What was received and not understood yet.
    pub(super) input: BytesMut,
    /// What is to be sent, acknowledgements aside: these are written when the output is taken.
    pub(super) output: BytesMut,
    /// An event that does not come from the input. It is taken before the session moves on.
    pub(super) pending: Option<Event>,
    /// Since when there is nothing left to do with what the primary sent.
    pub(super) idle_since_ms: Option<u64>,
    /// When to speak next without being asked.
    pub(super) speak_at_ms: u64,
    /// Whether an acknowledgement, or a line feed while loading, is due.
    pub(super) must_speak: bool,
    /// What the embedder confirmed.
    pub(super) confirmed: u64,
    /// The primary asked for an acknowledgement of so much, which is not confirmed yet.
    pub(super) asked_for: Option<u64>,
}

impl ReplicaSession {
    /// Begins to set one up.
    pub fn builder() -> Builder {
        Builder::default()
    }

    pub(super) fn new(settings: Settings) -> Self {
        let position = settings.resume;
        ReplicaSession {
            backoff: Backoff::new(settings.seed),
            state: State::Waiting { until_ms: 0 },
            position,
            history: position.map(|position| History::new(position.id)),
            input: BytesMut::new(),
            output: BytesMut::new(),
            pending: None,
            idle_since_ms: None,
            speak_at_ms: 0,
            must_speak: false,
            confirmed: position.map_or(0, |position| position.offset),
            asked_for: None,
            settings,
        }
    }

    /// The connection asked for by [`Event::Connect`] is there. Without effect in another phase.
    pub fn connected(&mut self) {
        if matches!(self.state, State::Connecting) {
            self.state = State::Handshake(Greeting::begin(self.position, &mut self.output));
            self.idle_since_ms = None;
        }
    }

    /// The connection was lost, closed by the primary, or could not be made. What was received and not yet
    /// taken as an event is dropped: it will come again. Without effect while there is no connection.
    pub fn disconnected(&mut self, now_ms: u64) {
        if self.has_link() {
            self.fail(LinkError::Disconnected, now_ms);
        }
    }

    /// Takes bytes that the primary sent. Take all events after each call: what is held beyond one unfinished
    /// command is what was given and not taken.
    pub fn receive(&mut self, bytes: &[u8]) {
        if !self.is_connected() {
            return;
        }
        self.input.extend_from_slice(bytes);
        if let State::Streaming { reader, .. } = &mut self.state {
            reader.received(bytes);
        }
        self.idle_since_ms = None;
    }

    /// The next event; `None` when there is nothing to do before more bytes come or
    /// [`next_deadline_ms`](Self::next_deadline_ms) has passed. `now_ms` is the time on any monotonic clock.
    #[must_use]
    pub fn next_event(&mut self, now_ms: u64) -> Option<Event> {
        self.speak_if_due(now_ms);
        loop {
            if let Some(event) = self.pending.take() {
                return Some(event);
            }
            match self.step(now_ms) {
                Ok(Progress::Event(event)) => return Some(event),
                Ok(Progress::Silent) => {}
                Ok(Progress::NeedsMore) if self.act_on_time(now_ms) => {}
                Ok(Progress::NeedsMore) => return None,
                Err(error) => self.fail(error, now_ms),
            }
        }
    }

    /// The bytes to send now, in this order: an answer of the handshake, an acknowledgement, a sign of life.
    /// Take them after the events.
    #[must_use]
    pub fn take_output(&mut self) -> Bytes {
        if std::mem::take(&mut self.must_speak) {
            match self.state {
                State::Snapshot(..) | State::Loading { .. } => self.output.extend_from_slice(b"\n"),
                State::Streaming { .. } => {
                    let offset = itoa::Buffer::new().format(self.acknowledged_offset()).to_owned();
                    encode_command(&["REPLCONF", "ACK", &offset], &mut self.output);
                }
                _ => {}
            }
        }
        self.output.split().freeze()
    }

    /// When to ask for the next event at the latest. `None`: there is nothing to wait for but bytes, or the
    /// embedder.
    pub fn next_deadline_ms(&self) -> Option<u64> {
        if let State::Waiting { until_ms } = self.state {
            return Some(until_ms);
        }
        let speaks_at = self.speaks().then_some(self.speak_at_ms);
        [self.timeout_at_ms(), speaks_at].into_iter().flatten().min()
    }

    /// Whether to read from the connection. While a snapshot is loaded the primary has to wait.
    pub fn wants_input(&self) -> bool {
        self.is_connected() && !matches!(self.state, State::Loading { .. })
    }

    /// The embedder has applied the snapshot that ended with [`Event::SnapshotEnd`]: from here on there is a
    /// position, and the stream follows. `stream_db` is what the snapshot says about the selected database
    /// (its field `repl-stream-db`), if it says anything: a primary that is itself a replica does not select
    /// it again. Without effect in another phase.
    pub fn snapshot_applied(&mut self, stream_db: Option<u32>, now_ms: u64) {
        let State::Loading { loaded, is_connected } = self.state else { return };
        let position = Position { id: loaded.id, offset: loaded.offset, db: stream_db };
        self.position = Some(position);
        self.history = Some(History::new(loaded.id));
        self.confirmed = loaded.offset;
        if is_connected {
            self.begin_stream(position, now_ms);
        } else {
            self.state = State::Waiting { until_ms: now_ms };
        }
    }

    /// The embedder has done its part for everything up to `offset`
    /// ([`Builder::acknowledge_confirmed`](super::Builder::acknowledge_confirmed)). What was not applied is
    /// not confirmed.
    pub fn confirm(&mut self, offset: u64) {
        let applied = self.position.map_or(0, |position| position.offset);
        self.confirmed = self.confirmed.max(offset.min(applied));
        if self.asked_for.is_some_and(|asked_for| self.confirmed >= asked_for) {
            self.asked_for = None;
            self.must_speak = true;
        }
    }

    /// The embedder's copy is worth nothing, or its snapshot could not be applied: ask for a full one.
    pub fn start_over(&mut self, now_ms: u64) {
        let was_linked = self.has_link();
        (self.position, self.history) = (None, None);
        if was_linked {
            self.fail(LinkError::StartedOver, now_ms);
        } else if matches!(self.state, State::Loading { .. }) {
            self.state = State::Waiting { until_ms: now_ms };
        }
    }

    /// Connects again after the session stopped. Without effect in another phase.
    pub fn restart(&mut self, now_ms: u64) {
        if matches!(self.state, State::Stopped) {
            self.state = State::Waiting { until_ms: now_ms };
        }
    }

    /// Where the session stands.
    pub fn phase(&self) -> Phase {
        match self.state {
            State::Waiting { .. } => Phase::Waiting,
            State::Connecting => Phase::Connecting,
            State::Handshake(_) => Phase::Handshake,
            State::AwaitingSnapshot(_) => Phase::AwaitingSnapshot,
            State::Snapshot(..) => Phase::Snapshot,
            State::Loading { .. } => Phase::Loading,
            State::Streaming { .. } => Phase::Streaming,
            State::Stopped => Phase::Stopped,
        }
    }

    /// Where to resume, now or in another process: what was delivered up to there is applied. `None` before
    /// the first snapshot was applied, and while another one replaces the data.
    pub fn position(&self) -> Option<Position> {
        self.position
    }

    /// The history that is followed, and the one before it: what sub-replicas are decided by.
    pub fn history(&self) -> Option<History> {
        self.history
    }

    /// Bytes of the stream received on this link, or `None` while there is no stream.
    pub fn read_offset(&self) -> Option<u64> {
        match &self.state {
            State::Streaming { reader, .. } => Some(reader.read_offset()),
            _ => None,
        }
    }

    /// What the next acknowledgement says.
    pub fn acknowledged_offset(&self) -> u64 {
        let applied = self.position.map_or(0, |position| position.offset);
        if self.settings.acknowledge_confirmed { self.confirmed.min(applied) } else { applied }
    }

    /// Bytes held of what was received: an unfinished line or command, and what was not taken yet.
    pub fn held_bytes(&self) -> u64 {
        match &self.state {
            State::Streaming { reader, .. } => reader.held_bytes(),
            _ => self.input.len() as u64,
        }
    }
}

/// Without what is to be sent, which may be a password.
impl fmt::Debug for ReplicaSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplicaSession")
            .field("phase", &self.phase())
            .field("position", &self.position)
            .field("history", &self.history)
            .field("held_bytes", &self.held_bytes())
            .finish_non_exhaustive()
    }
}
