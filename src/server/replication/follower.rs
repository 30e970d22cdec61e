//! The replica's side: the link to the primary, and what it brings.
//!
//! # Promise
//! The data is at any time that of the primary at one offset of its stream, which this server's own stream
//! ends at; every byte up to there is passed on to the replicas of this one unchanged. What the data cannot
//! hold is not left out silently: the link ends before it, and `INFO` and the log say why.
//!
//! # Algorithm
//! One task leads a [`ReplicaSession`], which knows the protocol and owns no socket. Each command that stands
//! alone, and each transaction as a whole, is one unit of the keyspace that
//! [judges nothing](crate::hash_ttl::ExpiryPolicy::Ignore); its bytes are appended to the stream before the
//! unit's locks are released. So a copy for a replica of this server, which takes all locks, finds data and
//! stream at one offset.
//!
//! A snapshot is loaded by a thread of its own into a keyspace of its own, as it comes, while clients read
//! the old data; when it is whole, data and stream are replaced under all locks.
//! `repl-diskless-load flush-before-load` empties the data first, for who has no memory for both.
//!
//! # Ends
//! The task ends when the role changes, and when the server ends. It checks before each unit, under the
//! [applier's lock](super::role), so that nothing is applied afterwards.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rand::Rng as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use super::deadlines::needs_field_deadlines;
use super::failover::State;
use super::load::{CannotLoad, Load, Loaded};
use super::role::{Applier, FollowView, Following, Place};
use super::stream::Stream;
use crate::buffer::{AppendError, BuildError, Writer};
use crate::keyspace::{self, Call};
use crate::resp::Reply;
use crate::resync::replica::{
    Command, Event, LinkDown, LinkError, Phase, Position, ReplicaSession, Step, TransactionPart,
};
use crate::resync::{History, ReplicationId, ServerVersion};
use crate::rewrite::Effects;
use crate::server::config::{LoadPolicy, UnsupportedDataPolicy};
use crate::server::dispatch::{self, beside_the_runtime};
use crate::server::state::{Shared, unix_ms};

/// What is announced to primaries: they may send whatever this one knows.
const VERSION: ServerVersion = ServerVersion { major: 9, minor: 1, patch: 0 };
/// Room made for a read.
const READ_BYTES: usize = 64 * 1024;
/// Events that are handled before the thread's other tasks get their turn.
const EVENTS_PER_TURN: usize = 256;
/// How long a link that ended for no passing reason stays down.
const REFUSED_PAUSE: Duration = Duration::from_secs(1);
/// Delays between attempts: failovers are to be short.
const BACKOFF_MS: (u64, u64) = (100, 1_000);
/// A transaction of so many commands is applied beside the runtime.
const HEAVY_CALLS: usize = dispatch::HEAVY_PARTS;

/// What to ask the primary for first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// To go on from here.
    Resume(Position),
    /// For a copy.
    Anew,
}

/// Why nothing more is taken from a primary.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("the stream has '{name}' at offset {offset}, which this server does not know")]
    Command { name: String, offset: u64 },
    #[error("the primary's '{name}' at offset {offset} failed here: {error}")]
    Failed { name: String, offset: u64, error: String },
    #[error(
        "a transaction at offset {offset} has {bytes} bytes, over the limit of {limit} (client-query-buffer-limit)"
    )]
    Transaction { bytes: u64, limit: u64, offset: u64 },
    #[error(transparent)]
    Snapshot(CannotLoad),
    #[error("no stream can be begun at offset {offset}: {reason}")]
    Offset { offset: u64, reason: BuildError },
}

/// Why the task has nothing to do any more, or not for now.
enum Stop {
    /// The role has changed, or the server ends.
    Over,
    Refused(Refusal),
}

/// What of the configuration a session is made of.
#[derive(Clone, PartialEq, Eq)]
struct LinkSettings {
    timeout_s: u64,
    user: String,
    password: String,
    address: String,
    port: u16,
    /// Ask the other end to become a primary.
    failover: bool,
    max_argument_bytes: u64,
    max_command_bytes: u64,
}

impl LinkSettings {
    fn of(shared: &Shared) -> LinkSettings {
        let config = shared.config.load();
        LinkSettings {
            timeout_s: config.repl_timeout_s,
            user: config.primary_user.clone(),
            password: config.primary_auth.clone(),
            address: config.replica_announce_ip.clone(),
            port: match config.replica_announce_port {
                0 => shared.port,
                port => port,
            },
            failover: shared.replication.failover.is_in_progress(),
            max_argument_bytes: config.max_bulk_bytes,
            max_command_bytes: config.query_buffer_bytes.max(config.max_bulk_bytes.saturating_mul(2)),
        }
    }

    fn session(&self, resume: Option<Position>) -> ReplicaSession {
        let mut builder = ReplicaSession::builder()
            .timeout_ms(self.timeout_s.saturating_mul(1000))
            .listening_port(self.port)
            .version(VERSION)
            .failover(self.failover)
            .max_argument_bytes(self.max_argument_bytes)
            .max_command_bytes(self.max_command_bytes)
            .backoff_base_ms(BACKOFF_MS.0)
            .backoff_max_ms(BACKOFF_MS.1)
            .seed(rand::rng().next_u64());
        if !self.address.is_empty() {
            builder = builder.announced_address(self.address.as_str());
        }
        if !self.password.is_empty() {
            builder = match self.user.is_empty() {
                true => builder.password(self.password.as_str()),
                false => builder.user(self.user.as_str(), self.password.as_str()),
            };
        }
        if let Some(position) = resume {
            builder = builder.resume(position);
        }
        builder.build()
    }
}

impl Following {
    pub(super) fn new(host: &str, port: u16, now_ms: u64) -> Following {
        Following {
            host: host.to_owned(),
            port,
            applier: parking_lot::Mutex::new(Applier::default()),
            place: parking_lot::Mutex::new(Place::default()),
            view: parking_lot::Mutex::new(FollowView {
                phase: Phase::Waiting,
                last_io_ms: None,
                down_since_ms: now_ms,
                read_offset: 0,
                snapshot_bytes: 0,
                snapshot_length: None,
                error: None,
            }),
            over: tokio::sync::watch::Sender::new(false),
        }
    }

    /// Appends what the primary sent. To be called with the locks of the unit that it is.
    fn pass_on(&self, writer: &mut Writer, raw: &[Bytes], db: Option<u32>) -> Result<(), AppendError> {
        let mut place = self.place.lock();
        for piece in raw {
            let mut frame = writer.frame();
            frame.put_slice(piece);
            frame.publish()?;
        }
        place.db = db;
        Ok(())
    }
}

/// Commands of the stream that are applied together.
#[derive(Default)]
struct Unit {
    calls: Vec<Call>,
    raw: Vec<Bytes>,
    bytes: u64,
}

struct Follower {
    shared: Arc<Shared>,
    following: Arc<Following>,
    settings: LinkSettings,
    session: ReplicaSession,
    socket: Option<TcpStream>,
    input: BytesMut,
    /// The transaction that is arriving.
    transaction: Option<Unit>,
    load: Option<Load>,
    /// The full copy that was announced.
    announced: Option<(ReplicationId, u64)>,
    /// When a session that stopped begins again.
    restart_at: Option<Instant>,
    /// A link was lost on which the other may have become a primary.
    may_be_granted: bool,
    /// It is asked for the stream as a primary is.
    asks_plainly: bool,
}

/// Follows a primary until the role changes or the server ends.
pub(super) async fn run(shared: Arc<Shared>, following: Arc<Following>, start: Start) {
    let settings = LinkSettings::of(&shared);
    let resume = match start {
        Start::Resume(position) => Some(position),
        Start::Anew => None,
    };
    let session = settings.session(resume);
    let (mut over, primary) = (following.over.subscribe(), format!("{}:{}", following.host, following.port));
    let ended = Arc::clone(&shared);
    let mut follower = Follower {
        shared,
        following,
        settings,
        session,
        socket: None,
        input: BytesMut::new(),
        transaction: None,
        load: None,
        announced: None,
        restart_at: None,
        may_be_granted: false,
        asks_plainly: false,
    };
    tokio::select! {
        // The sender lives as long as `following`, so waiting cannot fail.
        _ = over.wait_for(|over| *over) => {}
        () = ended.draining() => {}
        stop = follower.follow() => if let Stop::Refused(refusal) = stop {
            tracing::error!(%primary, "stopped following: {refusal}; see unsupported-data-policy");
            follower.note_down(Some(refusal.to_string()));
        }
    }
}

impl Follower {
    async fn follow(&mut self) -> Stop {
        loop {
            let step = self.step().await;
            self.show();
            if let Err(stop) = step {
                return stop;
            }
        }
    }

    /// Handles what there is, then waits for more.
    async fn step(&mut self) -> Result<(), Stop> {
        for _ in 0..EVENTS_PER_TURN {
            let Some(event) = self.session.next_event(self.shared.mono_ms()) else {
                self.send().await;
                return self.wait().await;
            };
            self.handle(event).await?;
        }
        self.send().await;
        tokio::task::yield_now().await;
        Ok(())
    }

    async fn handle(&mut self, event: Event) -> Result<(), Stop> {
        match event {
            Event::Connect => self.connect().await,
            Event::LinkDown(down) => self.link_down(&down),
            Event::FullResync { id, offset } => {
                tracing::info!(primary = %self.primary(), %id, offset, "full resync");
                if self.asks_plainly {
                    // A primary of other data, which has not taken over.
                    self.abort_hand_over();
                    return Err(Stop::Over);
                }
                self.shared.end_failover();
                self.announced = Some((id, offset));
            }
            Event::SnapshotBegin { length, .. } => self.begin_load(length)?,
            Event::Snapshot(bytes) => {
                self.following.view.lock().snapshot_bytes += bytes.len() as u64;
                if let Some(load) = &self.load {
                    load.feed(bytes).await;
                }
            }
            Event::SnapshotEnd => {
                if let Some(load) = &mut self.load {
                    load.end();
                }
            }
            Event::Continue { position, previous } => self.resume(position, previous.is_some())?,
            Event::Command(command) => self.take(command)?,
        }
        Ok(())
    }

    fn primary(&self) -> String {
        format!("{}:{}", self.following.host, self.following.port)
    }

    async fn connect(&mut self) {
        let mut settings = LinkSettings::of(&self.shared);
        settings.failover &= !self.asks_plainly;
        if settings != self.settings {
            self.session = settings.session(self.session.position());
            self.settings = settings;
            // Its first event asks for a connection again, which is being made.
            let _ = self.session.next_event(self.shared.mono_ms());
        }
        let patience = Duration::from_secs(self.settings.timeout_s.max(1));
        let address = (self.following.host.as_str(), self.following.port);
        match timeout(patience, TcpStream::connect(address)).await {
            Ok(Ok(socket)) => {
                // Only that acknowledgements go out at once depends on it.
                let _ = socket.set_nodelay(true);
                self.socket = Some(socket);
                self.session.connected();
            }
            Ok(Err(error)) => {
                tracing::debug!(primary = %self.primary(), %error, "cannot connect");
                self.following.view.lock().error = Some(error.to_string());
                self.session.disconnected(self.shared.mono_ms());
            }
            Err(_) => self.session.disconnected(self.shared.mono_ms()),
        }
    }

    fn link_down(&mut self, down: &LinkDown) {
        let was_connected = self.socket.take().is_some();
        self.input = BytesMut::new();
        self.transaction = None;
        // What has arrived whole is loaded on.
        let loads_on = self.session.phase() == Phase::Loading;
        if !loads_on {
            self.load = None;
        }
        if self.following.view.lock().error.as_deref() != Some(down.error.to_string().as_str()) {
            tracing::warn!(primary = %self.primary(), resume = ?down.resume, "the link to the primary is down: {}", down.error);
        }
        self.note_down(Some(down.error.to_string()));
        if self.settings.failover || self.asks_plainly {
            self.hand_over_failed(&down.error, was_connected);
        }
        let waits = down.retry_at_ms.is_none() && !loads_on;
        self.restart_at = waits.then(|| Instant::now() + REFUSED_PAUSE);
    }

    /// The replica that is to take over has not granted a link.
    fn hand_over_failed(&mut self, error: &LinkError, was_connected: bool) {
        match error {
            // It is a primary already, maybe because it was asked before and the answer was lost.
            LinkError::Refused { step: Step::Psync, .. } if self.may_be_granted && !self.asks_plainly => {
                self.asks_plainly = true;
            }
            LinkError::Refused { .. } => self.abort_hand_over(),
            // It is not a primary, so it has to be asked.
            LinkError::NotNow { step: Step::Psync, .. } => self.asks_plainly = false,
            _ => self.may_be_granted |= was_connected,
        }
    }

    /// The other does not take over: this server leads on.
    fn abort_hand_over(&self) {
        let following = Arc::clone(&self.following);
        let is_meant = |state: &State| *state == State::InProgress && !*following.over.borrow();
        // It may have been aborted meanwhile.
        let _ =
            beside_the_runtime(true, || self.shared.abort_if("the replica does not take over", &is_meant));
    }

    fn note_down(&self, error: Option<String>) {
        let mut view = self.following.view.lock();
        if view.is_up() {
            view.down_since_ms = self.shared.mono_ms();
        }
        view.phase = Phase::Waiting;
        view.error = error;
    }

    fn begin_load(&mut self, length: Option<u64>) -> Result<(), Stop> {
        {
            let mut view = self.following.view.lock();
            (view.snapshot_bytes, view.snapshot_length) = (0, length);
        }
        if self.shared.config.load().diskless_load == LoadPolicy::Flush {
            self.replace(None)?;
        }
        self.load = Some(Load::begin(&self.shared));
        Ok(())
    }

    /// The stream goes on where this server's ends.
    fn resume(&mut self, position: Position, new_history: bool) -> Result<(), Stop> {
        let following = Arc::clone(&self.following);
        // Held to the end: the history is the primary's only as long as it is followed.
        let applier = following.applier.lock();
        if applier.writer.is_none() {
            return Err(Stop::Over);
        }
        let stream = self.shared.replication.stream();
        let end = stream.buffer.end_offset();
        if position.offset != end {
            tracing::error!(offset = position.offset, end, "the stream does not go on where it was left");
            drop(stream);
            self.session.start_over(self.shared.mono_ms());
            return Ok(());
        }
        tracing::info!(primary = %self.primary(), offset = end, replid = %position.id, "partial resync");
        self.shared.end_failover();
        if new_history && let Some(history) = self.session.history() {
            stream.history.replace(history);
            self.shared.replication.drop_links();
        }
        self.following.view.lock().error = None;
        Ok(())
    }

    /// Takes a command, and applies what is complete with it.
    fn take(&mut self, command: Command) -> Result<(), Stop> {
        let (part, db) = (command.part, command.db);
        let call = (!command.is_administrative()).then(|| Call {
            // The keyspace refuses those that it does not have; see `check`.
            db: db.and_then(|db| u16::try_from(db).ok()).unwrap_or(u16::MAX),
            argv: command.argv.clone(),
        });
        if let Some(call) = &call {
            self.check(&call.argv, command.start)?;
        }
        let discards = command.is("DISCARD");
        let unit = match part {
            TransactionPart::Begin => self.transaction.insert(Unit::default()),
            _ => self.transaction.get_or_insert_default(),
        };
        unit.calls.extend(call);
        unit.bytes += command.raw.len() as u64;
        unit.raw.push(command.raw);
        let (bytes, limit) = (unit.bytes, self.settings.max_command_bytes.saturating_mul(2));
        if bytes > limit {
            return Err(Stop::Refused(Refusal::Transaction { bytes, limit, offset: command.start }));
        }
        if matches!(part, TransactionPart::Begin | TransactionPart::Inside) {
            return Ok(());
        }
        let mut unit = self.transaction.take().unwrap_or_default();
        if discards {
            unit.calls.clear();
        }
        self.apply(&unit, db, command.start)
    }

    /// Whether the data can hold what the command does.
    fn check(&self, argv: &[Bytes], offset: u64) -> Result<(), Stop> {
        let Some(name) = argv.first() else { return Ok(()) };
        if keyspace::lookup(name).is_some() || self.skips() {
            return Ok(());
        }
        let name = dispatch::shown(name);
        Err(Stop::Refused(Refusal::Command { name, offset }))
    }

    fn skips(&self) -> bool {
        self.shared.config.load().unsupported_data_policy == UnsupportedDataPolicy::Skip
    }

    fn apply(&mut self, unit: &Unit, db: Option<u32>, offset: u64) -> Result<(), Stop> {
        let (shared, following) = (&self.shared, &self.following);
        let mut applier = following.applier.lock();
        let writer = applier.writer.as_mut().ok_or(Stop::Over)?;
        if unit.calls.is_empty() {
            return following.pass_on(writer, &unit.raw, db).map_err(|_| Stop::Over);
        }
        let deadlines = &shared.replication.field_deadlines;
        let mut publish = |effects: &Effects<'_>| {
            if needs_field_deadlines(effects) {
                deadlines.soil();
            }
        };
        let mut passed_on = Ok(());
        let mut settled = || passed_on = following.pass_on(writer, &unit.raw, db);
        let replies = beside_the_runtime(unit.calls.len() >= HEAVY_CALLS, || {
            shared.keyspace.apply(&unit.calls, unix_ms(), &mut publish, &mut settled)
        });
        drop(applier);
        shared.stats.commands.add(unit.calls.len() as u64);
        shared.replication.other_commands.fetch_add(unit.calls.len() as u64, Ordering::Relaxed);
        passed_on.map_err(|_| Stop::Over)?;
        self.check_replies(unit, &replies, offset)
    }

    /// A command that was done by the primary and fails here has found other data.
    fn check_replies(&self, unit: &Unit, replies: &[Reply], offset: u64) -> Result<(), Stop> {
        for (call, reply) in unit.calls.iter().zip(replies) {
            let Reply::Error(error) = reply else { continue };
            let name = call.argv.first().map_or_else(String::new, |name| dispatch::shown(name));
            tracing::error!(primary = %self.primary(), command = %name, offset, %error, "a command of the stream failed");
            if !self.skips() {
                self.disown_history();
                return Err(Stop::Refused(Refusal::Failed { name, offset, error: error.clone() }));
            }
        }
        Ok(())
    }

    /// The data is not what the stream says: nobody may continue from it, this server included.
    fn disown_history(&self) {
        let applier = self.following.applier.lock();
        if applier.writer.is_some() {
            self.shared.replication.stream().history.reset(crate::server::state::random_id());
            self.shared.replication.drop_links();
        }
    }

    /// The snapshot is whole: data and stream are replaced by it.
    fn loaded(&mut self, loaded: Loaded) -> Result<(), Stop> {
        let (report, stream_db) = (loaded.report(), loaded.stream_db());
        if !report.left_out.is_empty() {
            tracing::warn!(primary = %self.primary(), "left out of the copy: {}", report.left_out);
        }
        tracing::info!(primary = %self.primary(), bytes = report.bytes, keys = report.keys, "full copy loaded");
        self.replace(Some(loaded))?;
        self.session.snapshot_applied(stream_db, self.shared.mono_ms());
        self.following.view.lock().error = None;
        Ok(())
    }

    /// Replaces data and stream: by a copy that is whole, or by nothing, which belongs to no history.
    fn replace(&mut self, loaded: Option<Loaded>) -> Result<(), Stop> {
        let (shared, following) = (&self.shared, &self.following);
        let (id, offset) = match (&loaded, self.announced) {
            (Some(_), Some(announced)) => announced,
            _ => (crate::server::state::random_id(), 0),
        };
        let db = loaded.as_ref().and_then(Loaded::stream_db);
        let config = shared.config.load();
        let stream = Stream::new(&config, History::new(id), offset)
            .map_err(|reason| Stop::Refused(Refusal::Offset { offset, reason }))?;
        let mut applier = following.applier.lock();
        if applier.writer.is_none() {
            return Err(Stop::Over);
        }
        let mut writer = Some(stream.follow().0);
        let mut replace = || {
            applier.writer = writer.take();
            following.place.lock().db = db;
            // Whether the new data has field deadlines the next cut finds out.
            shared.replication.field_deadlines.soil();
            shared.replication.replace_stream(Arc::clone(&stream));
        };
        beside_the_runtime(true, || match loaded {
            Some(loaded) => loaded.put_in_place(&mut replace),
            None => shared.keyspace.clear(unix_ms(), &mut replace),
        });
        Ok(())
    }

    /// Sends what the session has to say.
    async fn send(&mut self) {
        let output = self.session.take_output();
        let Some(socket) = &mut self.socket else { return };
        if output.is_empty() {
            return;
        }
        let patience = Duration::from_secs(self.settings.timeout_s.max(1));
        if !matches!(timeout(patience, socket.write_all(&output)).await, Ok(Ok(()))) {
            self.session.disconnected(self.shared.mono_ms());
        }
    }

    /// Waits for bytes of the primary, for the snapshot to be loaded, or for the session's time.
    async fn wait(&mut self) -> Result<(), Stop> {
        if self.session.next_deadline_ms().is_some_and(|at_ms| at_ms <= self.shared.mono_ms()) {
            return Ok(());
        }
        let now = Instant::now();
        let left_ms =
            self.session.next_deadline_ms().map(|at_ms| at_ms.saturating_sub(self.shared.mono_ms()));
        let deadline = left_ms.and_then(|left_ms| now.checked_add(Duration::from_millis(left_ms)));
        let until = [deadline, self.restart_at].into_iter().flatten().min();
        let at_time = async {
            match until {
                Some(until) => tokio::time::sleep_until(until).await,
                None => std::future::pending().await,
            }
        };
        let loaded = async {
            match &mut self.load {
                Some(load) => load.loaded().await,
                None => std::future::pending().await,
            }
        };
        let wants_input = self.session.wants_input();
        let received = async {
            match &mut self.socket {
                Some(socket) if wants_input => {
                    self.input.reserve(READ_BYTES);
                    socket.read_buf(&mut self.input).await
                }
                _ => std::future::pending().await,
            }
        };
        tokio::select! {
            received = received => match received {
                Ok(0) | Err(_) => self.session.disconnected(self.shared.mono_ms()),
                Ok(_) => {
                    self.following.view.lock().last_io_ms = Some(self.shared.mono_ms());
                    self.session.receive(&self.input.split());
                }
            },
            loaded = loaded => {
                self.load = None;
                match loaded {
                    Ok(loaded) => self.loaded(loaded)?,
                    Err(error) if error.is_for_good() => {
                        return Err(Stop::Refused(Refusal::Snapshot(error)));
                    }
                    Err(error) => {
                        tracing::error!(primary = %self.primary(), "the snapshot cannot be loaded: {error}");
                        self.following.view.lock().error = Some(error.to_string());
                        self.session.start_over(self.shared.mono_ms());
                    }
                }
            }
            () = at_time => {}
        }
        if self.restart_at.is_some_and(|at| at <= Instant::now()) {
            self.restart_at = None;
            self.session.restart(self.shared.mono_ms());
        }
        Ok(())
    }

    /// Brings what `INFO` shows up to date.
    fn show(&self) {
        let mut view = self.following.view.lock();
        let phase = self.session.phase();
        if view.is_up() && phase != Phase::Streaming {
            view.down_since_ms = self.shared.mono_ms();
        }
        view.phase = phase;
        view.read_offset = self.session.read_offset().unwrap_or(view.read_offset);
    }
}
