//! One replica: from its `PSYNC` to its end.
//!
//! Two halves run side by side in the connection's task and end together. The *sender* owns the
//! cursor and the write half: it answers, sends the snapshot if one is needed, then the stream,
//! straight from the buffer's memory (`write_buf` over the cursor's slices); when the replica has
//! everything it sleeps in `readable()`. The *listener* owns the read half and takes
//! acknowledgements. A watchdog drops a link that is silent or stuck.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedReadHalf;
use tokio::sync::Notify;
use tokio::time::MissedTickBehavior;

use super::deadlines::CannotHold;
use super::stream::Stream;
use crate::buffer::{AppendError, AttachError, CursorError};
use crate::resp::{CommandParser, Limits, ProtocolError};
use crate::resync::{
    IllegalTransition, Link, LinkAction, LinkEvent, LinkTimeout, ReplconfOutcome, ReplicaFacts, ReplicaKey,
    ReplicationId, parse_replconf,
};
use crate::server::clients::{Client, Role};
use crate::server::commands::SyncRequest;
use crate::server::state::Shared;

/// How often a waiting replica is told to be patient, and how often the watchdog looks.
pub(super) const TICK: Duration = Duration::from_secs(1);
/// Most input a replica may leave unparsed: it only ever sends short commands.
const MAX_INPUT_BYTES: usize = 64 * 1024;
/// Most arguments of a replica's command.
const MAX_ARGS: usize = 64;

/// Why a link ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum LinkEnd {
    #[error("the replica closed the connection")]
    Closed,
    #[error("the connection failed: {0}")]
    Io(#[from] std::io::Error),
    #[error("the replica is too slow: {0}")]
    Evicted(#[from] CursorError),
    #[error(transparent)]
    Timeout(#[from] LinkTimeout),
    #[error("the replica sent something else than commands: {0}")]
    Protocol(#[from] ProtocolError),
    #[error("no place to read the stream from: {0}")]
    Attach(#[from] AttachError),
    #[error("the cut could not be marked in the stream: {0}")]
    Mark(#[from] AppendError),
    #[error("the snapshot failed: {0}")]
    Snapshot(std::io::Error),
    #[error(transparent)]
    CannotHold(#[from] CannotHold),
    #[error(transparent)]
    Transition(#[from] IllegalTransition),
    #[error("killed")]
    Killed,
    #[error("a new history began, or the server's role changed")]
    HistoryBroken,
    #[error("the snapshot was delivered, as asked")]
    Delivered,
    #[error("the server shuts down")]
    ShuttingDown,
}

/// One replica's link and what it belongs to.
pub(super) struct ReplicaLink {
    pub shared: Arc<Shared>,
    pub client: Arc<Client>,
    pub key: ReplicaKey,
    /// The stream that it reads. When the server has another one the link ends.
    pub stream: Arc<Stream>,
    /// The history that the replica was told, once it was.
    pub replid: Mutex<Option<ReplicationId>>,
    pub facts: ReplicaFacts,
    pub link: Mutex<Link>,
    /// Wakes the sender when the first acknowledgement allows the stream.
    pub start_stream: Notify,
    /// See [`deadlines`](super::deadlines).
    pub clean_generation: AtomicU64,
}

/// Serves a connection that asked for synchronisation, until it ends. `input` holds what was
/// received after the request.
pub(in crate::server) async fn serve(
    shared: Arc<Shared>,
    client: Arc<Client>,
    socket: TcpStream,
    input: BytesMut,
    request: SyncRequest,
) {
    let now_ms = shared.mono_ms();
    let diskless = shared.config.load().diskless_sync;
    let link = Link::new(&request.facts, request.psync.is_some(), diskless, now_ms);
    let broken = shared.replication.register(client.id, &request.facts, client.addr.ip().to_string(), now_ms);
    client.profile.lock().role = Role::Replica;
    let replica = ReplicaLink {
        key: client.id,
        // After it was registered: who replaces the stream ends the links that are there.
        stream: Arc::clone(&shared.replication.stream()),
        replid: Mutex::default(),
        facts: request.facts.clone(),
        link: Mutex::new(link),
        start_stream: Notify::new(),
        clean_generation: AtomicU64::new(u64::MAX),
        shared: Arc::clone(&shared),
        client: Arc::clone(&client),
    };
    let (read, mut write) = socket.into_split();
    let end = {
        let sender = replica.send(&mut write, &request);
        let listener = replica.listen(read, input);
        tokio::select! {
            end = sender => end,
            end = listener => end,
            timeout = replica.watch() => Err(timeout.into()),
            () = client.killed() => Err(LinkEnd::Killed),
            () = broken.notified() => Err(LinkEnd::HistoryBroken),
        }
    };
    let Err(end) = end;
    replica.report(&end);
    shared.replication.unregister(client.id);
}

/// The futures of a link never end well: they end.
pub(super) type Ended = Result<std::convert::Infallible, LinkEnd>;

impl ReplicaLink {
    fn report(&self, end: &LinkEnd) {
        let stats = &self.shared.stats;
        let (replica, offset) = (self.client.addr, self.shared.replication.end_offset());
        let state = self.link.lock().state();
        match end {
            LinkEnd::Evicted(_) => stats.replicas_evicted.add(1),
            LinkEnd::Timeout(_) => stats.replicas_timed_out.add(1),
            // The other one was noted when the replica was told.
            LinkEnd::CannotHold(reason @ CannotHold::Stream { .. }) => return self.note_refusal(reason),
            LinkEnd::Closed
            | LinkEnd::Io(_)
            | LinkEnd::Killed
            | LinkEnd::CannotHold(_)
            | LinkEnd::Delivered
            | LinkEnd::ShuttingDown => {
                tracing::info!(%replica, ?state, end_offset = offset, "replica link ended: {end}");
                return;
            }
            _ => {}
        }
        tracing::warn!(%replica, ?state, end_offset = offset, "replica link dropped: {end}");
    }

    pub fn on(&self, event: LinkEvent) -> Result<LinkAction, IllegalTransition> {
        let now_ms = self.shared.mono_ms();
        let (action, before, after) = {
            let mut link = self.link.lock();
            let before = link.state();
            (link.on(event, now_ms)?, before, link.state())
        };
        if before != after {
            self.shared.replication.set_state(self.key, after, now_ms);
        }
        Ok(action)
    }

    pub fn progressed(&self, bytes: usize) {
        self.link.lock().progressed(self.shared.mono_ms());
        self.shared.stats.net_repl_output_bytes.add(bytes as u64);
        self.client.net_output_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Resolves when the link has to be dropped.
    async fn watch(&self) -> LinkTimeout {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            let timeout_ms = self.shared.config.load().repl_timeout_s.saturating_mul(1000);
            if let Some(timeout) = self.link.lock().check_timeout(self.shared.mono_ms(), timeout_ms) {
                return timeout;
            }
        }
    }

    async fn listen(&self, mut read: OwnedReadHalf, mut input: BytesMut) -> Ended {
        let mut parser = CommandParser::new(Limits {
            max_bulk_bytes: MAX_INPUT_BYTES as u64,
            max_multibulk_args: MAX_ARGS,
            ..Limits::default()
        });
        loop {
            while let Some(argv) = parser.next(&mut input)? {
                self.hear(&argv)?;
            }
            input.reserve(1024);
            let received = read.read_buf(&mut input).await?;
            if received == 0 {
                return Err(LinkEnd::Closed);
            }
            self.client.net_input_bytes.fetch_add(received as u64, Ordering::Relaxed);
            let now_ms = self.shared.mono_ms();
            self.client.last_active_ms.store(now_ms, Ordering::Relaxed);
            // Newlines of a replica that is loading count as well.
            self.link.lock().heard(now_ms);
        }
    }

    /// A replica's only meaningful command is `REPLCONF ACK`; others are ignored, unanswered: an
    /// answer would be taken for a part of the stream.
    fn hear(&self, argv: &[Bytes]) -> Result<(), IllegalTransition> {
        let Some((name, args)) = argv.split_first() else { return Ok(()) };
        if !name.eq_ignore_ascii_case(b"replconf") {
            tracing::debug!(replica = %self.client.addr, command = %name.escape_ascii(), "ignored a command of a replica");
            return Ok(());
        }
        let Ok(ReplconfOutcome::Ack { applied: Some(applied), fsynced }) =
            parse_replconf(args, &mut self.facts.clone())
        else {
            return Ok(());
        };
        if self.link.lock().takes_acks() {
            let fsynced = fsynced.and_then(|offset| u64::try_from(offset).ok());
            let applied = u64::try_from(applied).unwrap_or(0);
            self.shared.replication.acknowledge(self.key, applied, fsynced, self.shared.mono_ms());
        }
        if self.on(LinkEvent::Acked)? == LinkAction::StartStream {
            self.start_stream.notify_one();
        }
        Ok(())
    }
}
