//! The replica's side of the replication link.
//!
//! # Promise
//!
//! Whatever a primary sends and however it is cut into reads, the embedder sees the same events: a snapshot,
//! piece by piece, or the place where the stream goes on; then every command of the stream once and in order,
//! with the offsets between which it stands, across any number of lost connections. What a link leaves
//! unfinished is void and said to be ([`LinkDown::rolled_back_to`]); what cannot be continued begins again
//! with a snapshot.
//!
//! A [`ReplicaSession`] owns no socket, thread or clock. Bytes go in ([`receive`](ReplicaSession::receive)),
//! events ([`next_event`](ReplicaSession::next_event)) and bytes
//! ([`take_output`](ReplicaSession::take_output)) come out, and time is a number (`now_ms`, milliseconds of
//! any monotonic clock). It fits any runtime, and a test can lead it through a minute of silence in no time.
//!
//! # Phases
//!
//! ```text
//!            due            connected                +FULLRESYNC
//!  Waiting ──────► Connecting ──────► Handshake ──┬──────────────► AwaitingSnapshot
//!     ▲                                           │                       │ $len, $EOF:mark
//!     │ any error                       +CONTINUE │                       ▼
//!     │                                           │                   Snapshot
//!     │                                           ▼                       │ whole
//!     └────────────────────────────────────── Streaming ◄───────────── Loading
//!                                                       snapshot_applied
//! ```
//!
//! # Invariants
//!
//! * **Cuts.** Events and answers do not depend on how the bytes are cut, but for how a snapshot is divided.
//! * **Tiling.** A command starts where the one before it ended. Every byte of the stream belongs to one
//!   command: pings, questions of the primary, `SELECT`, line feeds between commands. Offsets therefore are
//!   those of the primary, and [`Command::raw`] of all commands, one after another, is its stream: what
//!   sub-replicas get.
//! * **Position.** [`position`](ReplicaSession::position) is the place between two commands, outside of any
//!   transaction, up to which everything was delivered. It is what is acknowledged, and what is asked for
//!   after a cut; a transaction that was cut comes again from its `MULTI`. While a snapshot replaces the data
//!   there is none: after a cut in its midst the next one is asked for (`PSYNC ? -1`).
//! * **Memory.** Held are one unfinished line or command, each with a limit by name ([`Builder`]), and what
//!   the embedder gave and did not take. A length that a primary claims allocates nothing.
//!
//! # Offsets
//!
//! A position of *n* bytes asks for byte *n + 1* (see [`resync`](super)). The number is that of Valkey's
//! `reploff`, which does not move while a transaction is open. A `REPLCONF GETACK` is answered when the
//! output is taken, by one acknowledgement however many there were; it counts the question itself, where
//! Valkey's answer stops before it and its next one counts it.
//!
//! # Sub-replicas
//!
//! What a replica passes on is [`Command::raw`], byte for byte, under the id and offsets of its primary, as
//! Valkey does: a [`ReplicationBuffer`](crate::buffer::ReplicationBuffer) whose base is the position, and
//! [`decide`](super::decide) over [`history`](ReplicaSession::history). It passes on what is applied: the
//! commands of a transaction together, at its end, for one that is cut comes again.
//!
//! # Losing a link
//!
//! | lost | next | |
//! |---|---|---|
//! | before the header of a snapshot | what was asked for | the old data is still whole |
//! | within a snapshot | a full copy | the embedder's data is neither the old nor the new |
//! | while it is loaded | nothing before [`snapshot_applied`](ReplicaSession::snapshot_applied), then its offset | |
//! | in the stream | the position | commands of an open transaction are void |
//! | because the stream is no sequence of commands | a full copy | as Valkey does, which discards the cached primary then |
//!
//! A link that was stable is followed by the next one at once, others after a delay that doubles
//! ([`Builder::backoff_base_ms`]). A primary that puts a replica off is asked again; one that refuses it
//! stops the session ([`LinkError::is_retryable`]).
//!
//! # Not offered
//!
//! Dual-channel resync, compression, snapshots without data (`rdb-only`), and `SYNC`, which has no offsets. What a primary is not told of it does not do.
//!
//! # A loop over a blocking socket
//!
//! ```no_run
//! use std::io::{Read, Write};
//! use std::net::TcpStream;
//! use std::time::{Duration, Instant};
//!
//! use replcore::resync::replica::{Event, ReplicaSession};
//!
//! let mut session = ReplicaSession::builder().listening_port(6380).build();
//! let mut socket: Option<TcpStream> = None;
//! let (start, mut chunk) = (Instant::now(), [0; 16 << 10]);
//! let now_ms = || start.elapsed().as_millis() as u64;
//! loop {
//!     while let Some(event) = session.next_event(now_ms()) {
//!         match event {
//!             Event::Connect => match TcpStream::connect("127.0.0.1:6379") {
//!                 Ok(connection) => {
//!                     socket = Some(connection);
//!                     session.connected();
//!                 }
//!                 Err(_) => session.disconnected(now_ms()),
//!             },
//!             Event::LinkDown(_) => socket = None,
//!             Event::SnapshotEnd => session.snapshot_applied(None, now_ms()),
//!             Event::Command(command) => println!("{} {:?}", command.start, command.argv),
//!             _ => {}
//!         }
//!     }
//!     let wait_ms = session.next_deadline_ms().map_or(1_000, |at_ms| at_ms.saturating_sub(now_ms()).max(1));
//!     let wait = Duration::from_millis(wait_ms);
//!     let Some(connection) = &mut socket else {
//!         std::thread::sleep(wait);
//!         continue;
//!     };
//!     let output = session.take_output();
//!     connection.set_read_timeout(Some(wait))?;
//!     match connection.write_all(&output).and_then(|()| connection.read(&mut chunk)) {
//!         Ok(0) => session.disconnected(now_ms()),
//!         Ok(len) => session.receive(&chunk[..len]),
//!         Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {}
//!         Err(_) => session.disconnected(now_ms()),
//!     }
//! }
//! # #[allow(unreachable_code)]
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! # Sources
//!
//! Valkey's `syncWithPrimary`, `replicaTryPartialResynchronization`, `readSyncBulkPayload` and
//! `commandProcessed`; tried against Valkey 9.1.2 and Redis 7.0.15.

mod backoff;
mod error;
mod event;
mod greeting;
mod payload;
mod position;
mod session;
mod settings;
mod steps;
mod stream;

#[cfg(test)]
mod tests;

pub use error::{LinkError, Step};
pub use event::{Command, Event, LinkDown, Phase, TransactionPart};
pub use position::{ParsePositionError, Position};
pub use session::ReplicaSession;
pub use settings::{
    Builder, DEFAULT_ACK_INTERVAL_MS, DEFAULT_BACKOFF_BASE_MS, DEFAULT_BACKOFF_JITTER_PERCENT,
    DEFAULT_BACKOFF_MAX_MS, DEFAULT_MAX_ARGUMENT_BYTES, DEFAULT_MAX_ARGUMENTS, DEFAULT_MAX_COMMAND_BYTES,
    DEFAULT_MAX_LINE_BYTES, DEFAULT_STABLE_MS, DEFAULT_TIMEOUT_MS,
};
