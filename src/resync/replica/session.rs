//! The session: links one after another, and what survives them.

use bytes::{Bytes, BytesMut};

use super::super::{History, ReplicationId};
use super::backoff::Backoff;
use super::event::is_word;
use super::greeting::{Granted, Greeting, take_line};
use super::payload::{Payload, Piece};
use super::settings::{Builder, Settings};
use super::stream::StreamReader;
use super::{Event, LinkDown, LinkError, Phase, Position, Step};
use crate::resp::encode_command;

/// A replica's side of the replication link, over any number of connections. See the [module](super).
#[derive(Debug)]
#[must_use]
pub struct ReplicaSession {
    settings: Settings,
    backoff: Backoff,
    state: State,
    /// What the next link asks to be continued.
    position: Option<Position>,
    history: Option<History>,
    /// What was received and not understood yet.
    input: BytesMut,
    /// What is to be sent, acknowledgements aside: these are written when the output is taken.
    output: BytesMut,
    /// An event that does not come from the input. It is taken before the session moves on.
    pending: Option<Event>,
    /// Since when there is nothing left to do with what the primary sent.
    idle_since_ms: Option<u64>,
    /// When to speak next without being asked.
    speak_at_ms: u64,
    /// Whether an acknowledgement, or a line feed while loading, is due.
    must_speak: bool,
    /// What the embedder confirmed.
    confirmed: u64,
    /// The primary asked for an acknowledgement of so much, which is not confirmed yet.
    asked_for: Option<u64>,
}

#[derive(Debug)]
enum State {
    Waiting { until_ms: u64 },
    Connecting,
    Handshake(Greeting),
    AwaitingSnapshot(Announced),
    Snapshot(Payload, Announced),
    Loading { loaded: Announced, is_connected: bool },
    Streaming { reader: StreamReader, since_ms: u64 },
    Stopped,
}

/// What `+FULLRESYNC` said.
#[derive(Clone, Copy, Debug)]
struct Announced {
    id: ReplicationId,
    offset: u64,
}

/// What a step over the input came to.
enum Progress {
    Event(Event),
    /// Something was understood that is no event.
    Silent,
    NeedsMore,
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

    /// The connection was lost, closed by the primary, or could not be made. What was received and not yet taken as an
    /// event is dropped: it will come again. Without effect while there is no connection.
    pub fn disconnected(&mut self, now_ms: u64) {
        if self.has_link() {
            self.fail(LinkError::Disconnected, now_ms);
        }
    }

    /// Takes bytes that the primary sent. Take all events after each call: what is held beyond one unfinished command is
    /// what was given and not taken.
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

    /// The bytes to send now, in this order: an answer of the handshake, an acknowledgement, a sign of life. Take them
    /// after the events.
    #[must_use]
    pub fn take_output(&mut self) -> Bytes {
        if std::mem::take(&mut self.must_speak) {
            match self.state {
                State::Loading { .. } => self.output.extend_from_slice(b"\n"),
                State::Streaming { .. } => {
                    let offset = itoa::Buffer::new().format(self.acknowledged_offset()).to_owned();
                    encode_command(&["REPLCONF", "ACK", &offset], &mut self.output);
                }
                _ => {}
            }
        }
        self.output.split().freeze()
    }

    /// When to ask for the next event at the latest. `None`: there is nothing to wait for but bytes, or the embedder.
    pub fn next_deadline_ms(&self) -> Option<u64> {
        let timeout = self.timeout_at_ms();
        match self.state {
            State::Waiting { until_ms } => Some(until_ms),
            State::Loading { is_connected: true, .. } => Some(self.speak_at_ms),
            State::Streaming { .. } => Some(timeout.map_or(self.speak_at_ms, |at| at.min(self.speak_at_ms))),
            _ => timeout,
        }
    }

    /// Whether to read from the connection. While a snapshot is loaded the primary has to wait.
    pub fn wants_input(&self) -> bool {
        self.is_connected() && !matches!(self.state, State::Loading { .. })
    }

    /// The embedder has applied the snapshot that ended with [`Event::SnapshotEnd`]: from here on there is a position, and
    /// the stream follows. `stream_db` is what the snapshot says about the selected database (its field
    /// `repl-stream-db`), if it says anything: a primary that is itself a replica does not select it again. Without effect
    /// in another phase.
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
    /// ([`Builder::acknowledge_confirmed`](super::Builder::acknowledge_confirmed)). What was not applied is not confirmed.
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

    /// Where to resume, now or in another process: what was delivered up to there is applied. `None` before the first
    /// snapshot was applied, and while another one replaces the data.
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

    fn is_connected(&self) -> bool {
        match self.state {
            State::Waiting { .. } | State::Connecting | State::Stopped => false,
            State::Loading { is_connected, .. } => is_connected,
            _ => true,
        }
    }

    fn has_link(&self) -> bool {
        self.is_connected() || matches!(self.state, State::Connecting)
    }

    /// One step over what was received.
    fn step(&mut self, now_ms: u64) -> Result<Progress, LinkError> {
        match &mut self.state {
            State::Waiting { .. } | State::Connecting | State::Loading { .. } | State::Stopped => {
                Ok(Progress::NeedsMore)
            }
            State::Handshake(_) => self.greet(now_ms),
            State::AwaitingSnapshot(_) => self.read_header(),
            State::Snapshot(..) => Ok(self.read_snapshot(now_ms)),
            State::Streaming { .. } => self.read_command(),
        }
    }

    fn greet(&mut self, now_ms: u64) -> Result<Progress, LinkError> {
        let State::Handshake(greeting) = &mut self.state else { return Ok(Progress::NeedsMore) };
        let limit = self.settings.max_line_bytes;
        let Some(line) = take_line(&mut self.input, greeting.step(), limit)? else {
            return Ok(Progress::NeedsMore);
        };
        Ok(match greeting.answer(&line, &self.settings, &mut self.output)? {
            None => Progress::Silent,
            Some(Granted::Full { id, offset }) => {
                self.state = State::AwaitingSnapshot(Announced { id, offset });
                Progress::Event(Event::FullResync { id, offset })
            }
            Some(Granted::Continue { position, new_id }) => {
                let known = self.history.unwrap_or(History::new(position.id));
                let history = new_id.map_or(known, |id| known.shifted(id, position.offset));
                let position = Position { id: history.replid, ..position };
                (self.position, self.history) = (Some(position), Some(history));
                self.begin_stream(position, now_ms);
                let previous = history.previous.filter(|_| new_id.is_some());
                Progress::Event(Event::Continue { position, previous })
            }
        })
    }

    fn read_header(&mut self) -> Result<Progress, LinkError> {
        let State::AwaitingSnapshot(announced) = self.state else { return Ok(Progress::NeedsMore) };
        let limit = self.settings.max_line_bytes;
        let Some(line) = take_line(&mut self.input, Step::Snapshot, limit)? else {
            return Ok(Progress::NeedsMore);
        };
        let payload = Payload::parse(&line)?;
        let begin = Event::SnapshotBegin { framing: payload.framing(), length: payload.missing() };
        (self.position, self.history) = (None, None);
        self.state = State::Snapshot(payload, announced);
        Ok(Progress::Event(begin))
    }

    fn read_snapshot(&mut self, now_ms: u64) -> Progress {
        let State::Snapshot(payload, announced) = &mut self.state else { return Progress::NeedsMore };
        match payload.next(&mut self.input) {
            None => Progress::NeedsMore,
            Some(Piece::Bytes(bytes)) => Progress::Event(Event::Snapshot(bytes)),
            Some(Piece::End) => {
                self.state = State::Loading { loaded: *announced, is_connected: true };
                self.speak_at_ms = now_ms.saturating_add(self.interval_ms());
                Progress::Event(Event::SnapshotEnd)
            }
        }
    }

    fn read_command(&mut self) -> Result<Progress, LinkError> {
        let State::Streaming { reader, .. } = &mut self.state else { return Ok(Progress::NeedsMore) };
        let Some(command) = reader.next(&mut self.input)? else { return Ok(Progress::NeedsMore) };
        self.position = Some(reader.applied());
        if is_word(command.argv.first(), "REPLCONF") && is_word(command.argv.get(1), "GETACK") {
            self.must_speak = true;
            if self.settings.acknowledge_confirmed && self.confirmed < command.start {
                self.asked_for = Some(command.start);
            }
        }
        Ok(Progress::Event(Event::Command(command)))
    }

    fn begin_stream(&mut self, position: Position, now_ms: u64) {
        let reader = StreamReader::new(position, &self.input, &self.settings);
        self.state = State::Streaming { reader, since_ms: now_ms };
        // The first acknowledgement: after a snapshot with an end mark the primary waits for it.
        self.must_speak = true;
        self.speak_at_ms = now_ms.saturating_add(self.interval_ms());
        self.idle_since_ms = None;
    }

    fn interval_ms(&self) -> u64 {
        self.settings.ack_interval_ms.max(1)
    }

    fn speak_if_due(&mut self, now_ms: u64) {
        let speaks =
            matches!(self.state, State::Loading { is_connected: true, .. } | State::Streaming { .. });
        if speaks && now_ms >= self.speak_at_ms {
            self.must_speak = true;
            self.speak_at_ms = now_ms.saturating_add(self.interval_ms());
        }
    }

    /// When the primary has been silent for too long. Only time in which there was nothing left to do counts.
    fn timeout_at_ms(&self) -> Option<u64> {
        let limit_ms = self.settings.timeout_ms;
        let waits = self.has_link() && !matches!(self.state, State::Loading { .. });
        self.idle_since_ms.filter(|_| waits && limit_ms > 0).map(|since_ms| since_ms.saturating_add(limit_ms))
    }

    /// Does what is due by the clock when there is nothing else to do. Returns whether there was anything.
    fn act_on_time(&mut self, now_ms: u64) -> bool {
        if let State::Waiting { until_ms } = self.state {
            let is_due = now_ms >= until_ms;
            if is_due {
                self.state = State::Connecting;
                self.idle_since_ms = None;
                self.pending = Some(Event::Connect);
            }
            return is_due;
        }
        let since_ms = *self.idle_since_ms.get_or_insert(now_ms);
        let is_over = self.timeout_at_ms().is_some_and(|at_ms| now_ms >= at_ms);
        if is_over {
            let limit_ms = self.settings.timeout_ms;
            self.fail(LinkError::Timeout { silent_ms: now_ms.saturating_sub(since_ms), limit_ms }, now_ms);
        }
        is_over
    }

    /// Ends the link: what survives it, what is void, and when the next one is due.
    fn fail(&mut self, error: LinkError, now_ms: u64) {
        if error.gives_up_history() {
            (self.position, self.history) = (None, None);
        }
        let mut resume = self.position;
        let mut rolled_back_to = None;
        let mut is_stable = false;
        let mut next = None;
        match &self.state {
            State::Streaming { reader, since_ms } => {
                is_stable = now_ms.saturating_sub(*since_ms) >= self.settings.stable_ms;
                rolled_back_to = reader.is_inside_transaction().then_some(reader.applied().offset);
            }
            State::Loading { loaded, .. } if error == LinkError::Disconnected => {
                resume = Some(Position { id: loaded.id, offset: loaded.offset, db: None });
                next = Some(State::Loading { loaded: *loaded, is_connected: false });
            }
            _ => {}
        }
        let (state, retry_at_ms) = match next {
            Some(loading) => (loading, None),
            None if error.is_retryable() => {
                let is_stable = is_stable && !error.gives_up_history();
                let until_ms = now_ms.saturating_add(self.backoff.next_delay_ms(is_stable, &self.settings));
                (State::Waiting { until_ms }, Some(until_ms))
            }
            None => (State::Stopped, None),
        };
        self.state = state;
        (self.input, self.output) = (BytesMut::new(), BytesMut::new());
        (self.must_speak, self.asked_for, self.idle_since_ms) = (false, None, None);
        self.pending = Some(Event::LinkDown(LinkDown { error, resume, rolled_back_to, retry_at_ms }));
    }
}
