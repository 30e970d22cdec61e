//! One client's connection: read, parse, execute, write.
//!
//! A batch is everything the client has pipelined: all complete commands of the input are executed,
//! their replies are collected and written together, then more input is read.
//!
//! What others have for the client (its [outbox](super::outbox)) is taken between two replies, and whenever
//! nothing else is to be done.
//!
//! # Bounds
//!
//! * A client that does not read its replies is not read from: replies are written before the next
//!   input is taken, and in the middle of a batch, or of a reply, as soon as [`FLUSH_BYTES`] have come
//!   together. If the socket takes no more, a batch goes on until [`BLOCK_BYTES`] wait, or more than
//!   `client-output-buffer-limit` allows if that is more: who is over a limit has to be seen to be. So at
//!   most that much plus one string waits per client. What fits into [`OWN_BUFFER_BYTES`] counts for no
//!   limit, as in Valkey.
//! * A client that has nothing to say holds no buffers: large ones are given back at once, small ones when it
//!   has been idle for a while (see [`Client::rest`]).
//! * Input grows with the command that is arriving, up to its announced length, which the parser
//!   bounds; never by more than [`MAX_READ_BYTES`] ahead of what has arrived. All arguments of one
//!   command together are bounded by `client-query-buffer-limit`, and so is what a client that waits has sent
//!   behind the command.
//!
//! # Ends
//!
//! * End of input: commands that arrived completely have been executed and answered; then the
//!   connection closes. So a peer that shuts down its sending side still gets its replies.
//! * A protocol error is answered and the connection closes.
//! * A panic or error here ends this connection only.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::ready;
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::clients::{Client, Registration, Unblock, UnblockAs, deposed_error, unblocked_error};
use super::commandlog;
use super::commands::SyncRequest;
use super::config::OutputLimit;
use super::dispatch::Flow;
use super::monitor;
use super::persistence::{Saving, Stage};
use super::replication;
use super::session::{ReplyMode, Session};
use super::state::Shared;
use super::transaction::Executed;
use crate::keyspace::blocking::Waiting;
use crate::resp::{CommandParser, Limits, Protocol, ProtocolError, Reply, encode_array_header};

/// Replies are written at the latest when so many bytes have come together.
const FLUSH_BYTES: usize = 256 * 1024;
/// A batch waits for a client that does not read at the latest when so many bytes wait for it.
const BLOCK_BYTES: usize = 2 * FLUSH_BYTES;
/// Replies up to here count for no limit: Valkey has such a buffer for each client.
const OWN_BUFFER_BYTES: u64 = 16 * 1024;
/// Commands of one batch that are executed before the thread's other tasks get their turn.
const COMMANDS_PER_TURN: u64 = 1024;
/// Room made for a read when nothing is known about what comes.
const READ_BYTES: usize = 16 * 1024;
/// Most room made at once for an argument that was announced.
const MAX_READ_BYTES: usize = 1 << 20;
/// Output space that is kept between batches; more is given back.
const KEEP_OUTPUT_BYTES: usize = 64 * 1024;
/// An input buffer up to this size is kept while the client is busy: a pipeline fills it again and again.
const KEEP_INPUT_BYTES: usize = 8 * READ_BYTES;
/// How long a client that is being closed may take to receive its last replies.
const LINGER: Duration = Duration::from_millis(500);

/// Why a connection ended; only for the log.
#[derive(Debug, thiserror::Error)]
enum End {
    #[error("the client closed the connection")]
    Closed,
    #[error("closed as the client asked")]
    Asked,
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error("{0}")]
    Protocol(ProtocolError),
    #[error("killed")]
    Killed,
    #[error("idle for {0} s")]
    Idle(u64),
    #[error("{waiting_bytes} bytes of replies are over the hard output limit of {limit_bytes}")]
    OutputLimit { waiting_bytes: u64, limit_bytes: u64 },
    #[error("a command of {received_bytes} bytes is over the query buffer limit of {limit_bytes}")]
    QueryLimit { received_bytes: u64, limit_bytes: u64 },
    #[error("the server shuts down")]
    ShuttingDown,
}

/// What follows a connection's life as a client.
enum Next {
    Close,
    /// It becomes a replica's link.
    Sync(SyncRequest),
}

struct Connection {
    socket: TcpStream,
    session: Session,
    parser: CommandParser,
    limits: Limits,
    input: BytesMut,
    output: BytesMut,
    /// Bytes of the last read.
    last_read_bytes: u64,
    /// Bytes received for the command that is arriving; at most one read too many.
    unfinished_bytes: u64,
    /// The size of the memory that the input is a piece of, which may be much more than the piece; about.
    input_peak_bytes: usize,
    /// The client sends no more.
    input_ended: bool,
    /// Bytes of the reply that is being sent that are not encoded yet; about.
    unencoded_bytes: u64,
    /// The outbox counts bytes that were taken from it or could not be written at once.
    counted: bool,
}

/// Serves a connection to its end.
pub(super) async fn serve(shared: Arc<Shared>, socket: TcpStream, registration: Registration) {
    let client = Arc::clone(&registration.client);
    let mut connection = Connection::new(&shared, socket, &client);
    match connection.run().await {
        Ok(Next::Sync(request)) => {
            let Connection { socket, session, input, .. } = connection;
            drop(session);
            replication::serve(shared, client, socket, input, request).await;
        }
        Ok(Next::Close) => tracing::debug!(client = client.id, "connection ended: {}", End::Asked),
        Err(end) => tracing::debug!(client = client.id, addr = %client.addr, "connection ended: {end}"),
    }
}

fn limits(shared: &Shared) -> Limits {
    Limits { max_bulk_bytes: shared.config.load().max_bulk_bytes, ..Limits::default() }
}

/// Resolves when nothing went in or out for as long as `timeout` allows; 0 allows any time.
async fn idle(timeout_s: u64) {
    match timeout_s {
        0 => std::future::pending().await,
        timeout_s => tokio::time::sleep(Duration::from_secs(timeout_s)).await,
    }
}

impl Connection {
    fn new(shared: &Arc<Shared>, socket: TcpStream, client: &Arc<Client>) -> Connection {
        let limits = limits(shared);
        Connection {
            socket,
            session: Session::new(Arc::clone(shared), Arc::clone(client)),
            parser: CommandParser::new(limits),
            limits,
            input: BytesMut::new(),
            output: BytesMut::new(),
            last_read_bytes: 0,
            unfinished_bytes: 0,
            input_peak_bytes: 0,
            input_ended: false,
            unencoded_bytes: 0,
            counted: false,
        }
    }

    async fn run(&mut self) -> Result<Next, End> {
        loop {
            if let Some(next) = self.run_batch().await? {
                return Ok(next);
            }
            if self.input_ended {
                return Err(End::Closed);
            }
            // Looked at as well as waited for: a client that floods is always ready to be read from.
            if self.session.client.is_killed() {
                return Err(self.killed());
            }
            if !self.session.shared.is_running() {
                return Err(End::ShuttingDown);
            }
            self.check_unfinished()?;
            self.receive().await?;
        }
    }

    /// Executes everything that has arrived, and writes the replies.
    async fn run_batch(&mut self) -> Result<Option<Next>, End> {
        let (mut commands, mut errors) = (0, 0);
        let outcome = loop {
            self.parser.set_authenticated(self.session.authenticated);
            let argv = match self.parser.next(&mut self.input) {
                Ok(Some(argv)) => argv,
                Ok(None) => break Ok(None),
                Err(error) => break Err(error),
            };
            commands += 1;
            // What was pushed before a command is executed reaches the client before its reply.
            if self.session.client.outbox.has_some() {
                self.take_all_pushes().await?;
            }
            match self.execute(argv).await? {
                Flow::Reply(reply) => {
                    errors += u64::from(matches!(reply, Reply::Error(_)));
                    self.answer(&reply).await?;
                }
                Flow::Silent => self.skip_reply(),
                Flow::Confirm { reply, confirmations, after_pushes } => {
                    self.confirm(reply, &confirmations, after_pushes).await?;
                }
                Flow::Wait { offset, replicas, timeout } => {
                    self.flush().await?;
                    let reply = self.wait_for_replicas(offset, replicas, timeout).await?;
                    self.session.closing |= reply == deposed_error();
                    self.push(&reply)?;
                }
                Flow::Block(waiting) => {
                    let reply = self.wait_for_key(waiting).await?;
                    self.session.closing |= reply == deposed_error();
                    errors += u64::from(matches!(reply, Reply::Error(_)));
                    self.answer(&reply).await?;
                }
                Flow::Stopping => {
                    self.flush().await?;
                    let reply = self.wait_for_shutdown().await?;
                    self.push(&reply)?;
                }
                Flow::Saving(saving) => {
                    self.flush().await?;
                    let reply = self.wait_for_save(saving).await?;
                    errors += u64::from(matches!(reply, Reply::Error(_)));
                    self.push(&reply)?;
                }
                // `execute` has waited for it.
                Flow::Postponed { .. } => {}
                Flow::Executed(executed) => {
                    errors += executed.errors();
                    self.answer_transaction(executed).await?;
                }
                Flow::Sleep { duration, argv } => {
                    self.flush().await?;
                    self.sleep(duration).await?;
                    let reply = Reply::Simple("OK");
                    commandlog::note(&self.session, &argv, duration, Some(&reply));
                    self.push(&reply)?;
                }
                Flow::Sync(request) => break Ok(Some(Next::Sync(request))),
            }
            if self.session.closing {
                break Ok(Some(Next::Close));
            }
            if self.output.len() >= FLUSH_BYTES {
                self.relieve().await?;
            }
            if commands % COMMANDS_PER_TURN == 0 {
                tokio::task::yield_now().await;
            }
        };
        if commands > 0 {
            // What is left began within the last read.
            self.unfinished_bytes = self.unfinished_bytes.min(self.last_read_bytes);
        }
        self.account(commands, errors);
        match outcome {
            Ok(Some(Next::Close)) => {
                self.flush_and_close().await?;
                Ok(Some(Next::Close))
            }
            Ok(next) => {
                self.take_pushes();
                self.flush().await?;
                Ok(next)
            }
            Err(error) => {
                self.session.shared.stats.protocol_errors.add(1);
                Reply::Error(format!("ERR {error}")).encode(self.session.protocol, &mut self.output);
                self.flush_and_close().await?;
                Err(End::Protocol(error))
            }
        }
    }

    /// Executes a command, after the pause if there is one.
    async fn execute(&mut self, argv: Vec<Bytes>) -> Result<Flow, End> {
        let mut flow = self.session.execute(argv);
        while let Flow::Postponed { hold, argv } = flow {
            self.session.publish_profile(self.session.last_command);
            self.flush().await?;
            self.publish_buffers(argv.iter().map(|arg| arg.len() as u64).sum());
            let shared = Arc::clone(&self.session.shared);
            if self.blocked(shared.released(hold)).await?.is_none() {
                return Err(End::Closed);
            }
            flow = self.session.execute(argv);
        }
        Ok(flow)
    }

    /// `SHUTDOWN` that waits for replicas: the end of the connection, or an error if it is aborted.
    async fn wait_for_shutdown(&mut self) -> Result<Reply, End> {
        self.session.publish_profile(self.session.last_command);
        let shared = Arc::clone(&self.session.shared);
        match self.blocked(shared.stop_aborted()).await? {
            Some(()) => Ok(Reply::Error("ERR Errors trying to SHUTDOWN. Check logs.".into())),
            None => Err(End::Closed),
        }
    }

    /// `SAVE`: its end. `BGSAVE`: the moment as of which the data is saved.
    async fn wait_for_save(&mut self, saving: Saving) -> Result<Reply, End> {
        self.session.publish_profile(self.session.last_command);
        match self.blocked(saving.done()).await? {
            Some((Stage::Cut, true)) => Ok(Reply::Simple("Background saving started")),
            Some((Stage::End, true)) => Ok(Reply::Simple("OK")),
            Some((_, false)) => Ok(Reply::Error("ERR the data could not be saved, see the log".into())),
            None => Err(End::Closed),
        }
    }

    fn account(&self, commands: u64, errors: u64) {
        if commands == 0 {
            return;
        }
        let (stats, client) = (&self.session.shared.stats, &self.session.client);
        stats.commands.add(commands);
        if errors > 0 {
            stats.error_replies.add(errors);
        }
        client.commands.fetch_add(commands, Ordering::Relaxed);
        self.session.publish_profile(self.session.last_command);
    }

    /// Answers a command: a large reply is written piece by piece, so that at most [`FLUSH_BYTES`] and
    /// one string of it are held encoded. The values themselves are shared with the keyspace.
    async fn answer(&mut self, reply: &Reply) -> Result<(), End> {
        self.answer_in(self.session.protocol, reply).await
    }

    /// Answers an `EXEC`: the array, then what follows it.
    async fn answer_transaction(&mut self, executed: Executed) -> Result<(), End> {
        self.take_pushes_until(executed.pushes_before).await?;
        if self.session.reply_mode == ReplyMode::On {
            encode_array_header(executed.replies.len(), &mut self.output);
            for (protocol, reply) in &executed.replies {
                self.answer_in(*protocol, reply).await?;
            }
        } else {
            self.use_up_skip();
        }
        for confirmation in &executed.confirmations {
            confirmation.encode(self.session.protocol, &mut self.output);
        }
        self.check_output_limit(0)
    }

    async fn answer_in(&mut self, protocol: Protocol, reply: &Reply) -> Result<(), End> {
        let payload_bytes = reply.payload_bytes();
        if self.session.reply_mode != ReplyMode::On || payload_bytes < FLUSH_BYTES as u64 {
            return self.push_in(protocol, reply);
        }
        self.check_output_limit(payload_bytes)?;
        let mut open: Vec<Box<dyn Iterator<Item = &Reply> + Send>> = vec![Box::new(std::iter::once(reply))];
        let mut encoded_bytes = 0;
        while let Some(last) = open.last_mut() {
            let Some(part) = last.next() else {
                open.pop();
                continue;
            };
            let before = self.output.len();
            part.encode_head(protocol, &mut self.output);
            encoded_bytes += (self.output.len() - before) as u64;
            open.push(part.children(protocol));
            if self.output.len() >= FLUSH_BYTES {
                self.unencoded_bytes = payload_bytes.saturating_sub(encoded_bytes);
                self.flush().await?;
            }
        }
        self.unencoded_bytes = 0;
        Ok(())
    }

    /// Takes what others have for the client, as much as is written at once.
    fn take_pushes(&mut self) {
        let outbox = &self.session.client.outbox;
        if outbox.has_some() {
            outbox.take(&mut self.output, usize::MAX, FLUSH_BYTES);
            self.counted = true;
        }
    }

    /// Takes all that others had for the client when this was called.
    async fn take_all_pushes(&mut self) -> Result<(), End> {
        let (pieces, _) = self.session.client.outbox.waiting();
        self.take_pushes_until(pieces).await
    }

    /// Takes so many of the pushes that wait.
    async fn take_pushes_until(&mut self, mut pieces: usize) -> Result<(), End> {
        let client = Arc::clone(&self.session.client);
        while pieces > 0 {
            self.counted = true;
            match client.outbox.take(&mut self.output, pieces, FLUSH_BYTES) {
                // There is enough to write already, or the client has been given up.
                0 if client.is_killed() => return Err(self.killed()),
                0 => self.flush().await?,
                taken => pieces -= taken,
            }
        }
        Ok(())
    }

    /// Confirms subscriptions, and answers.
    async fn confirm(
        &mut self,
        reply: Option<Reply>,
        confirmations: &[Reply],
        after_pushes: bool,
    ) -> Result<(), End> {
        if after_pushes {
            self.take_all_pushes().await?;
        }
        match reply {
            Some(reply) => self.answer(&reply).await?,
            None => self.use_up_skip(),
        }
        for confirmation in confirmations {
            confirmation.encode(self.session.protocol, &mut self.output);
        }
        self.check_output_limit(0)
    }

    /// Why a client that was ended by others was.
    fn killed(&self) -> End {
        let Some(overflow) = self.session.client.outbox.overflow() else { return End::Killed };
        self.output_limit_reached(overflow.waiting_bytes, overflow.limit_bytes)
    }

    fn output_limit_reached(&self, waiting_bytes: u64, limit_bytes: u64) -> End {
        self.session.shared.stats.output_limit_disconnections.add(1);
        tracing::warn!(client = self.session.client.id, waiting_bytes, limit_bytes, "output limit reached");
        End::OutputLimit { waiting_bytes, limit_bytes }
    }

    /// How long the client may be idle: subscribers and those who watch as long as they like, as in Valkey.
    fn idle_timeout_s(&self) -> u64 {
        if self.session.subscriptions.is_empty() && !self.session.monitoring {
            self.session.shared.config.load().timeout_s
        } else {
            0
        }
    }

    /// Adds a reply to the output, if the client wants it.
    fn push(&mut self, reply: &Reply) -> Result<(), End> {
        self.push_in(self.session.protocol, reply)
    }

    fn push_in(&mut self, protocol: Protocol, reply: &Reply) -> Result<(), End> {
        let mode = &mut self.session.reply_mode;
        match *mode {
            ReplyMode::On => reply.encode(protocol, &mut self.output),
            ReplyMode::Off => {}
            ReplyMode::SkipNext | ReplyMode::Skip => *mode = ReplyMode::On,
        }
        self.check_output_limit(0)
    }

    /// Drops a client for which too much waits, `more_bytes` that are still to be encoded included.
    fn check_output_limit(&self, more_bytes: u64) -> Result<(), End> {
        let limit_bytes = self.output_limit().hard_bytes;
        let waiting_bytes = counted(more_bytes.saturating_add(self.output.len() as u64));
        if limit_bytes == 0 || waiting_bytes <= limit_bytes {
            return Ok(());
        }
        Err(self.output_limit_reached(waiting_bytes, limit_bytes))
    }

    /// The limit of the class that the client belongs to.
    fn output_limit(&self) -> OutputLimit {
        let config = self.session.shared.config.load();
        if !self.session.subscriptions.is_empty() {
            config.pubsub_output
        } else if self.session.monitoring {
            monitor::output_limit(&config)
        } else {
            config.normal_output
        }
    }

    /// Writes what the socket takes at once, and waits for it if too much is left then to go on.
    async fn relieve(&mut self) -> Result<(), End> {
        match self.socket.try_write(&self.output) {
            Ok(written) => {
                self.note_sent(written as u64);
                self.output.advance(written);
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
        let limit = self.output_limit();
        let most_bytes = limit.hard_bytes.max(limit.soft_bytes).saturating_add(OWN_BUFFER_BYTES);
        if self.output.len() as u64 > most_bytes.max(BLOCK_BYTES as u64) {
            return self.flush().await;
        }
        self.check_output_limit(0)
    }

    fn note_sent(&self, bytes: u64) {
        let (stats, client) = (&self.session.shared.stats, &self.session.client);
        stats.writes.add(1);
        stats.net_output_bytes.add(bytes);
        client.net_output_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// What is sent although no reply was asked for ends a skip all the same.
    fn use_up_skip(&mut self) {
        let mode = &mut self.session.reply_mode;
        if matches!(mode, ReplyMode::SkipNext | ReplyMode::Skip) {
            *mode = ReplyMode::On;
        }
    }

    /// A command without a reply; `CLIENT REPLY SKIP` itself does not use up the skip it asks for.
    fn skip_reply(&mut self) {
        let mode = &mut self.session.reply_mode;
        *mode = match *mode {
            ReplyMode::SkipNext => ReplyMode::Skip,
            ReplyMode::Skip => ReplyMode::On,
            other => other,
        };
    }

    async fn flush(&mut self) -> Result<(), End> {
        if self.output.is_empty() {
            return Ok(());
        }
        let timeout_s = self.idle_timeout_s();
        let client = &self.session.client;
        self.note_sent(self.output.len() as u64);
        let mut rest = match self.socket.try_write(&self.output) {
            Ok(written) => &self.output[written..],
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => &self.output[..],
            Err(error) => return Err(error.into()),
        };
        while !rest.is_empty() {
            // It may take long: what waits here counts.
            client.outbox.set_writing(counted(self.unencoded_bytes.saturating_add(rest.len() as u64)));
            self.counted = true;
            let written = tokio::select! {
                biased;
                written = self.socket.write(rest) => written?,
                () = client.killed() => return Err(self.killed()),
                () = idle(timeout_s) => return Err(End::Idle(timeout_s)),
            };
            if written == 0 {
                return Err(std::io::Error::from(std::io::ErrorKind::WriteZero).into());
            }
            rest = &rest[written..];
        }
        if std::mem::take(&mut self.counted) {
            client.outbox.set_writing(0);
        }
        self.output.clear();
        if self.output.capacity() > KEEP_OUTPUT_BYTES {
            self.output = BytesMut::new();
        }
        Ok(())
    }

    /// Sends what is left and closes so that the client receives it: closing a socket with unread
    /// input would reset the connection, replies under way included.
    async fn flush_and_close(&mut self) -> Result<(), End> {
        self.flush().await?;
        self.socket.shutdown().await?;
        let drain = async {
            let mut rest = [0; 4096];
            while matches!(self.socket.read(&mut rest).await, Ok(len) if len > 0) {}
        };
        // Whether the client closes in time or not, the connection ends here.
        let _ = tokio::time::timeout(LINGER, drain).await;
        Ok(())
    }

    /// Waits for more input, or for something that others have for the client. Notes when there is no more
    /// input.
    async fn receive(&mut self) -> Result<(), End> {
        self.adopt_limits();
        if self.input_peak_bytes > KEEP_INPUT_BYTES {
            self.give_back_input();
        }
        self.publish_buffers(self.parser.consumed_bytes());
        let wanted = self.parser.missing_bytes(&self.input).clamp(READ_BYTES, MAX_READ_BYTES);
        let client = Arc::clone(&self.session.client);
        let timeout_s = self.idle_timeout_s();
        let received = tokio::select! {
            biased;
            received = read(&mut self.socket, &mut self.input, wanted) => received?,
            () = client.attention() => {
                if client.is_killed() {
                    return Err(self.killed());
                }
                self.rest();
                return Ok(());
            }
            () = client.outbox.filled() => {
                // Neither the wait nor the write need let other tasks run.
                tokio::task::consume_budget().await;
                return Ok(());
            }
            () = idle(timeout_s) => return Err(End::Idle(timeout_s)),
        };
        self.note_received(received);
        Ok(())
    }

    /// Gives all buffers back: the client has been idle for a while.
    fn rest(&mut self) {
        self.give_back_input();
        if self.output.is_empty() {
            self.output = BytesMut::new();
        }
        self.session.client.outbox.shrink();
    }

    /// Gives the input buffer back, unless a large argument is arriving in it. The few bytes in it move to a
    /// new one.
    fn give_back_input(&mut self) {
        if self.input.len() < READ_BYTES && self.parser.missing_bytes(&self.input) <= READ_BYTES {
            let rest = std::mem::take(&mut self.input);
            self.input.extend_from_slice(&rest);
            self.input_peak_bytes = self.input.capacity();
        }
    }

    /// Tells `CLIENT LIST` what the connection holds, `argv_bytes` of arguments included.
    fn publish_buffers(&self, argv_bytes: u64) {
        let held = &self.session.client.held;
        let set = |place: &AtomicU64, bytes: usize| place.store(bytes as u64, Ordering::Relaxed);
        set(&held.input_bytes, self.input.len());
        set(&held.input_free_bytes, self.input_peak_bytes.saturating_sub(self.input.len()));
        set(&held.output_bytes, self.output.capacity());
        held.argv_bytes.store(argv_bytes, Ordering::Relaxed);
    }

    fn note_received(&mut self, received: usize) {
        self.input_ended |= received == 0;
        self.input_peak_bytes = self.input_peak_bytes.max(self.input.capacity());
        self.last_read_bytes = received as u64;
        self.unfinished_bytes += received as u64;
        let (shared, client) = (&self.session.shared, &self.session.client);
        shared.stats.reads.add(1);
        shared.stats.net_input_bytes.add(received as u64);
        client.net_input_bytes.fetch_add(received as u64, Ordering::Relaxed);
        client.last_active_ms.store(shared.mono_ms(), Ordering::Relaxed);
    }

    /// Drops a client whose command is too large as a whole, however small its arguments are.
    fn check_unfinished(&self) -> Result<(), End> {
        let limit_bytes = self.session.shared.config.load().query_buffer_bytes;
        let received_bytes = self.unfinished_bytes;
        if received_bytes <= limit_bytes {
            return Ok(());
        }
        self.session.shared.stats.query_limit_disconnections.add(1);
        tracing::warn!(
            client = self.session.client.id,
            received_bytes,
            limit_bytes,
            "query buffer limit reached"
        );
        Err(End::QueryLimit { received_bytes, limit_bytes })
    }

    /// A changed `proto-max-bulk-len` holds from the next command on.
    fn adopt_limits(&mut self) {
        let limits = limits(&self.session.shared);
        if limits != self.limits && self.parser.is_idle() {
            self.limits = limits;
            self.parser = CommandParser::new(limits);
        }
    }

    /// `WAIT`. A client that goes away meanwhile ends it.
    async fn wait_for_replicas(
        &mut self,
        offset: u64,
        replicas: i64,
        timeout: Option<Duration>,
    ) -> Result<Reply, End> {
        let shared = Arc::clone(&self.session.shared);
        let client = Arc::clone(&self.session.client);
        let (sender, unblocked) = oneshot::channel();
        let _unblockable = client.unblockable(Unblock::Replicas(sender));
        self.wait_as_a_primary();
        let count = async {
            tokio::select! {
                count = shared.replication.wait_for_replicas(offset, replicas, timeout) => Ok(count),
                Ok(how) = unblocked => Err(how),
            }
        };
        Ok(match self.blocked(count).await? {
            Some(Ok(count)) => Reply::Integer(count),
            Some(Err(UnblockAs::Error)) => unblocked_error(),
            Some(Err(UnblockAs::Deposed)) => deposed_error(),
            // Cut short: as many as have it now.
            Some(Err(UnblockAs::Timeout)) | None => Reply::Integer(shared.replication.count_acked(offset)),
        })
    }

    /// Waits until a command is served, its time is over, or it is unblocked; returns what to answer.
    async fn wait_for_key(&mut self, mut waiting: Waiting) -> Result<Reply, End> {
        let client = Arc::clone(&self.session.client);
        if self.input_ended {
            // Not while the replies before it are sent either.
            drop(waiting);
            self.flush().await?;
            return Err(End::Closed);
        }
        // A timeout beyond what a clock can show is none.
        let deadline = waiting.timeout().and_then(|timeout| Instant::now().checked_add(timeout));
        let _unblockable = client.unblockable(Unblock::Key(waiting.place()));
        self.wait_as_a_primary();
        self.session.publish_profile(self.session.last_command);
        self.flush().await?;
        self.rest();
        self.publish_buffers(waiting.argv().iter().map(|arg| arg.len() as u64).sum());
        let end = async {
            match deadline {
                None => Some(waiting.end().await),
                Some(deadline) => tokio::time::timeout_at(deadline, waiting.end()).await.ok(),
            }
        };
        let served = match self.blocked(end).await? {
            Some(Some(served)) => served,
            Some(None) => waiting.time_out(),
            // As in Valkey, the client goes at once, and what it has sent after this with it.
            None => return Err(End::Closed),
        };
        if let Some(took) = served.took {
            self.session.note_served(waiting.argv(), took, &served.reply);
        }
        Ok(served.reply)
    }

    /// Ends a wait that has begun if the server is a primary no more: who changed the role may have come before
    /// the wait could be ended.
    fn wait_as_a_primary(&self) {
        let shared = &self.session.shared;
        if shared.replication.is_replica() {
            self.session.client.depose(&shared.keyspace);
        }
    }

    async fn sleep(&mut self, duration: Duration) -> Result<(), End> {
        self.blocked(tokio::time::sleep(duration)).await.map(|_| ())
    }

    /// Waits for something other than the client, with an eye on it: `None` when it stopped sending.
    async fn blocked<T>(&mut self, wait: impl Future<Output = T>) -> Result<Option<T>, End> {
        let shared = Arc::clone(&self.session.shared);
        let client = Arc::clone(&self.session.client);
        let _blocked = Blocked::new(&shared, &client);
        tokio::pin!(wait);
        if self.input_ended {
            // It went while it waited for something else.
            return tokio::select! {
                biased;
                done = &mut wait => Ok(Some(done)),
                () = std::future::ready(()) => Ok(None),
            };
        }
        loop {
            // All that is pipelined is taken, within the query buffer limit: that the client has gone is
            // behind it.
            self.check_unfinished()?;
            tokio::select! {
            biased;
            done = &mut wait => return Ok(Some(done)),
            received = read(&mut self.socket, &mut self.input, READ_BYTES) => {
                let received = received?;
                self.note_received(received);
                if received == 0 {
                    return Ok(None);
                }
            }
            () = client.killed() => return Err(self.killed()),
            () = client.outbox.filled() => {
                self.take_pushes();
                self.flush().await?;
            }
            }
        }
    }
}

/// What of so many bytes that wait counts for a limit.
fn counted(bytes: u64) -> u64 {
    bytes.saturating_sub(OWN_BUFFER_BYTES)
}

/// Reads what there is. Room for `wanted_bytes` is made when something can be read: who waits holds none.
async fn read(socket: &mut TcpStream, input: &mut BytesMut, wanted_bytes: usize) -> std::io::Result<usize> {
    std::future::poll_fn(|context| {
        if input.capacity() - input.len() < wanted_bytes {
            ready!(socket.poll_read_ready(context))?;
            input.reserve(wanted_bytes);
        }
        // It keeps nothing between two polls.
        pin!(socket.read_buf(input)).poll(context)
    })
    .await
}

/// Marks a client as blocked while it lives.
struct Blocked<'a> {
    shared: &'a Shared,
    client: &'a Client,
}

impl<'a> Blocked<'a> {
    fn new(shared: &'a Shared, client: &'a Client) -> Self {
        shared.blocked_clients.fetch_add(1, Ordering::Relaxed);
        client.profile.lock().blocked = true;
        Blocked { shared, client }
    }
}

impl Drop for Blocked<'_> {
    fn drop(&mut self) {
        self.shared.blocked_clients.fetch_sub(1, Ordering::Relaxed);
        self.client.profile.lock().blocked = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::{Config, Server};

    const PATIENCE: Duration = Duration::from_secs(20);
    const UNLIMITED: OutputLimit = OutputLimit { hard_bytes: 0, soft_bytes: 0, soft_s: 0 };

    #[tokio::test]
    async fn a_push_comes_before_the_reply_to_a_command_that_arrived_with_it() {
        let server = Server::bind(Config { port: 0, ..Config::default() }).await.expect("a free port");
        let shared = &server.shared;
        let mut peer = TcpStream::connect(server.addr).await.expect("a connection");
        let (socket, addr) = server.listener.accept().await.expect("a connection");
        let registration = shared.clients.register(addr, server.addr, 0, 1).expect("room for one");
        let mut connection = Connection::new(shared, socket, &registration.client);
        for (command, reply) in [("PING\r\n", "+PONG\r\n"), ("MULTI\r\nEXEC\r\n", "+OK\r\n*0\r\n")] {
            // More than is written at once, and more than one piece.
            let pushes = [vec![b'1'; FLUSH_BYTES + 1], vec![b'2'; 10]].map(Bytes::from);
            for push in &pushes {
                registration.client.push(push.clone(), UNLIMITED);
            }
            connection.input.extend_from_slice(command.as_bytes());
            let expected = [&pushes[0][..], &pushes[1][..], reply.as_bytes()].concat();
            let mut seen = vec![0; expected.len()];
            let both = async { tokio::join!(connection.run_batch(), peer.read_exact(&mut seen)) };
            let (next, read) = tokio::time::timeout(PATIENCE, both).await.expect("nothing is held back");
            assert!(next.expect("no error").is_none());
            read.expect("everything");
            assert!(seen == expected, "{}", seen.escape_ascii());
        }
    }
}
