//! What a session does with what was received, and with time that passed.

use bytes::BytesMut;

use super::super::{History, ReplicationId};
use super::event::is_word;
use super::greeting::{Granted, Greeting, take_line};
use super::payload::{Payload, Piece};
use super::stream::StreamReader;
use super::{Event, LinkDown, LinkError, Position, ReplicaSession, Step};

#[derive(Debug)]
pub(super) enum State {
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
pub(super) struct Announced {
    pub id: ReplicationId,
    pub offset: u64,
}

/// What a step over the input came to.
pub(super) enum Progress {
    Event(Event),
    /// Something was understood that is no event.
    Silent,
    NeedsMore,
}

impl ReplicaSession {
    pub(super) fn is_connected(&self) -> bool {
        match self.state {
            State::Waiting { .. } | State::Connecting | State::Stopped => false,
            State::Loading { is_connected, .. } => is_connected,
            _ => true,
        }
    }

    pub(super) fn has_link(&self) -> bool {
        self.is_connected() || matches!(self.state, State::Connecting)
    }

    /// One step over what was received.
    pub(super) fn step(&mut self, now_ms: u64) -> Result<Progress, LinkError> {
        match &mut self.state {
            State::Waiting { .. } | State::Connecting | State::Loading { .. } | State::Stopped => {
                Ok(Progress::NeedsMore)
            }
            State::Handshake(_) => self.greet(now_ms),
            State::AwaitingSnapshot(_) => self.read_header(now_ms),
            State::Snapshot(..) => Ok(self.read_snapshot()),
            State::Streaming { .. } => self.read_command(),
        }
    }

    fn greet(&mut self, now_ms: u64) -> Result<Progress, LinkError> {
        let State::Handshake(greeting) = &mut self.state else { return Ok(Progress::NeedsMore) };
        let limit = self.settings.max_line_bytes;
        let Some(line) = take_line(&mut self.input, greeting.step(), limit)? else {
            return Ok(Progress::NeedsMore);
        };
        let granted = greeting.answer(&line, &self.settings, &mut self.output)?;
        // What was asked for once has been done.
        self.settings.failover &= granted.is_none();
        Ok(match granted {
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

    fn read_header(&mut self, now_ms: u64) -> Result<Progress, LinkError> {
        let State::AwaitingSnapshot(announced) = self.state else { return Ok(Progress::NeedsMore) };
        let limit = self.settings.max_line_bytes;
        let Some(line) = take_line(&mut self.input, Step::Snapshot, limit)? else {
            return Ok(Progress::NeedsMore);
        };
        let payload = Payload::parse(&line)?;
        let begin = Event::SnapshotBegin { framing: payload.framing(), length: payload.missing() };
        (self.position, self.history) = (None, None);
        self.state = State::Snapshot(payload, announced);
        self.speak_at_ms = now_ms.saturating_add(self.interval_ms());
        Ok(Progress::Event(begin))
    }

    fn read_snapshot(&mut self) -> Progress {
        let State::Snapshot(payload, announced) = &mut self.state else { return Progress::NeedsMore };
        match payload.next(&mut self.input) {
            None => Progress::NeedsMore,
            Some(Piece::Bytes(bytes)) => Progress::Event(Event::Snapshot(bytes)),
            Some(Piece::End) => {
                self.state = State::Loading { loaded: *announced, is_connected: true };
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

    pub(super) fn begin_stream(&mut self, position: Position, now_ms: u64) {
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

    /// Whether the primary expects to hear something from time to time. An embedder that applies a snapshot
    /// as it comes may take long for it, and the primary may have sent all of it already.
    pub(super) fn speaks(&self) -> bool {
        match self.state {
            State::Snapshot(..) | State::Streaming { .. } => true,
            State::Loading { is_connected, .. } => is_connected,
            _ => false,
        }
    }

    pub(super) fn speak_if_due(&mut self, now_ms: u64) {
        if self.speaks() && now_ms >= self.speak_at_ms {
            self.must_speak = true;
            self.speak_at_ms = now_ms.saturating_add(self.interval_ms());
        }
    }

    /// When the primary has been silent for too long. Only time in which there was nothing left to do counts.
    pub(super) fn timeout_at_ms(&self) -> Option<u64> {
        let limit_ms = self.settings.timeout_ms;
        let waits = self.has_link() && !matches!(self.state, State::Loading { .. });
        self.idle_since_ms.filter(|_| waits && limit_ms > 0).map(|since_ms| since_ms.saturating_add(limit_ms))
    }

    /// Does what is due by the clock when there is nothing else to do. Returns whether there was anything.
    pub(super) fn act_on_time(&mut self, now_ms: u64) -> bool {
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
    pub(super) fn fail(&mut self, error: LinkError, now_ms: u64) {
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
