//! The sending half of a replica's link: the answer, the snapshot, the stream.
//!
//! # The cut
//!
//! Data and stream have to agree on one offset. [`Keyspace::cut`](crate::keyspace::Keyspace::cut)
//! locks every shard, which no unit holds then; inside, a marker frame of no bytes is published
//! whose context is unknown (the next command is preceded by `SELECT`), and the cursor is attached
//! at its offset before the locks are released, so that nothing after it can be trimmed away. A replica, whose
//! stream is its primary's, adds no marker: it says in the snapshot which database is selected there.
//!
//! # A refusal
//!
//! A replica that cannot hold what is in the data ([`deadlines`](super::deadlines)) gets an error before
//! anything else. Redis 7.0 takes an error to `PSYNC` for a primary that knows only `SYNC`, asks for that,
//! and after another error comes back **at once**, some thousand times a second. So the second error comes
//! after a pause, and the connection ends with it.
//!
//! # Small pieces
//!
//! The commands of several threads lie in as many places. Sent from where they lie, pieces of 60 B cost three
//! times as much as copied first (`cargo bench --bench sending`), so short pieces are copied into one first,
//! once for all replicas; what lies together is sent from where it is.
//!
//! # A replica that takes nothing
//!
//! While a write waits for the socket, the buffer may have evicted the cursor. So a waiting write is
//! interrupted once a second for a look; nothing is looked at while bytes flow. The same look is
//! taken while a snapshot is spooled and while a replica loads: a replica without a place in the
//! stream is told at once, not after it has loaded in vain.

use std::time::Duration;

use bytes::{Buf, Bytes};
use rand::distr::{Alphanumeric, SampleString};
use tokio::io::AsyncWriteExt;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::SemaphorePermit;
use tokio::time::timeout;

use super::deadlines::CannotHold;
use super::link::{Ended, LinkEnd, ReplicaLink, TICK};
use super::snapshot::{self, Chunks};
use crate::buffer::{AttachError, Cursor};
use crate::keyspace::Snapshot;
use crate::resync::{
    Decision, Framing, FullReason, LinkAction, LinkEvent, ReplicationId, Retained, SnapshotScope, decide,
};
use crate::server::commands::SyncRequest;

/// Length of the mark that ends an `$EOF:` transfer.
const END_MARK_BYTES: usize = 40;
/// How long a connection that got everything may take to close its side.
const LINGER: Duration = Duration::from_secs(2);
/// How long a replica is kept that was refused: it comes back at once.
const REFUSAL_PAUSE: Duration = Duration::from_secs(1);

/// A piece of so many bytes is worth a call of its own.
const LONG_PIECE_BYTES: usize = 16 << 10;

/// Where data and stream agree.
struct Cut {
    replid: ReplicationId,
    offset: u64,
    stream_db: Option<u32>,
    /// At the offset.
    cursor: Cursor,
}

/// Whether what is visible, or much of it, is one piece of memory.
fn lies_together(cursor: &Cursor) -> bool {
    cursor.chunk().len() >= cursor.remaining().min(LONG_PIECE_BYTES)
}

impl ReplicaLink {
    pub async fn send(&self, write: &mut OwnedWriteHalf, request: &SyncRequest) -> Ended {
        let reason = match self.continue_at(request) {
            Ok((cursor, replid)) => return self.send_partial(write, cursor, replid).await,
            Err(reason) => reason,
        };
        let stats = &self.shared.stats;
        if reason.is_failed_attempt() {
            stats.sync_partial_err.add(1);
        }
        tracing::info!(replica = %self.client.addr, "full resync: {reason}");
        let is_psync = request.psync.is_some();
        let end = self.send_full(write, is_psync).await;
        if let Err(LinkEnd::CannotHold(reason @ CannotHold::Snapshot { .. })) = &end {
            self.refuse(write, reason, is_psync).await?;
        }
        end
    }

    /// Tells the replica that it gets no snapshot.
    async fn refuse(
        &self,
        write: &mut OwnedWriteHalf,
        reason: &CannotHold,
        is_psync: bool,
    ) -> Result<(), LinkEnd> {
        self.note_refusal(reason);
        let answer = format!("-ERR {reason}\r\n");
        if is_psync {
            write.write_all(answer.as_bytes()).await?;
        }
        tokio::time::sleep(REFUSAL_PAUSE).await;
        // The one to SYNC.
        write.write_all(answer.as_bytes()).await?;
        write.shutdown().await?;
        tokio::time::sleep(LINGER).await;
        Ok(())
    }

    /// A cursor from which the stream can be continued, with the history it belongs to; or why it cannot.
    fn continue_at(&self, request: &SyncRequest) -> Result<(Cursor, ReplicationId), FullReason> {
        let Some(psync) = &request.psync else { return Err(FullReason::Requested) };
        let (replication, stream) = (&self.shared.replication, &self.stream);
        // Before the history: an end that is read after it may be one of a later history, which the
        // replica does not share.
        let (first, end) = (stream.buffer.first_offset(), stream.buffer.end_offset());
        let history = stream.history.load();
        let attach_offset = match decide(&history, Retained { first, end }, psync) {
            Decision::Partial { attach_offset } => attach_offset,
            Decision::Full { reason } => return Err(reason),
        };
        // Before the cursor: what it shows later is compared with the number of now.
        let clean = replication.field_deadlines.clean_since(attach_offset);
        self.begin_generation(clean);
        if self.check_can_hold().is_err() {
            return Err(FullReason::FieldDeadlines { offset: attach_offset });
        }
        match stream.buffer.attach(attach_offset) {
            Ok(cursor) => Ok((cursor, history.replid)),
            // It was trimmed between the decision and here.
            Err(AttachError::OffsetNotRetained { first, .. }) => {
                Err(FullReason::BeforeBacklog { wanted: psync.wanted, first_byte: first.saturating_add(1) })
            }
            // The full resync needs a cursor as well: it will say so.
            Err(AttachError::TooManyCursors { .. }) => Err(FullReason::Requested),
        }
    }

    async fn send_partial(&self, write: &mut OwnedWriteHalf, cursor: Cursor, replid: ReplicationId) -> Ended {
        self.shared.stats.sync_partial_ok.add(1);
        self.begin_history(replid);
        tracing::info!(replica = %self.client.addr, offset = cursor.offset(), lag_bytes = cursor.lag_bytes(), "partial resync");
        let answer = if self.facts.capabilities.psync2 {
            format!("+CONTINUE {replid}\r\n")
        } else {
            "+CONTINUE\r\n".to_owned()
        };
        write.write_all(answer.as_bytes()).await?;
        self.on(LinkEvent::PartialAccepted)?;
        self.stream(write, cursor).await
    }

    /// Takes the cut: the offset, a cursor at it, and the data as of it. Refuses data that the replica cannot
    /// hold.
    fn cut(&self) -> Result<(Cut, Snapshot), LinkEnd> {
        let replication = &self.shared.replication;
        let takes_deadlines = self.facts.holds_field_deadlines()
            || self.facts.scope == SnapshotScope::WithoutKeys
            || self.strips_field_deadlines();
        let mark = |hashes: usize| -> Result<Cut, LinkEnd> {
            if hashes > 0 && !takes_deadlines {
                return Err(CannotHold::Snapshot { hashes, version: self.facts.version }.into());
            }
            let (offset, stream_db) = replication.place_of_cut(&self.stream)?;
            self.begin_generation((hashes == 0).then(|| replication.field_deadlines.clean(offset)));
            // Under the locks too: a promotion shifts it.
            let replid = self.stream.history.load().replid;
            Ok(Cut { replid, offset, stream_db, cursor: self.stream.buffer.attach(offset)? })
        };
        let (cut, snapshot) = self.shared.keyspace.try_cut(mark)?;
        self.shared.stats.sync_full.add(1);
        Ok((cut, snapshot))
    }

    /// What is sent from now on belongs to this history.
    fn begin_history(&self, replid: ReplicationId) {
        *self.replid.lock() = Some(replid);
    }

    /// Whether what the cursor has been seen to show belongs to the history that the replica was told: a
    /// promotion changes it before the first byte of the next.
    fn check_history(&self) -> Result<(), LinkEnd> {
        match *self.replid.lock() {
            Some(replid) if replid == self.stream.history.load().replid => Ok(()),
            _ => Err(LinkEnd::HistoryBroken),
        }
    }

    /// Looks what there is to send, and whether this replica may have it.
    fn look(&self, cursor: &mut Cursor) -> Result<usize, LinkEnd> {
        let visible = cursor.refresh()?;
        self.check_history()?;
        self.check_can_hold()?;
        Ok(visible)
    }

    async fn send_full(&self, write: &mut OwnedWriteHalf, psync: bool) -> Ended {
        self.on(LinkEvent::FullAccepted)?;
        let place = self.snapshot_place(write).await?;
        let (Cut { replid, offset, stream_db, mut cursor }, snapshot) = self.cut()?;
        self.begin_history(replid);
        if psync {
            write.write_all(format!("+FULLRESYNC {replid} {offset}\r\n").as_bytes()).await?;
        }
        let framing = self.link.lock().framing();
        let snapshot = (self.facts.scope == SnapshotScope::Everything).then_some(snapshot);
        let source =
            snapshot::Source { snapshot, format: self.facts.snapshot_format(), replid, offset, stream_db };
        let action = match framing {
            Framing::Length => self.spooled(write, source, &mut cursor).await?,
            Framing::EndMark => self.direct(write, source, &mut cursor).await?,
        };
        drop(place);
        match action {
            LinkAction::StartStream => {}
            LinkAction::Close => return self.finish(write).await,
            _ => self.first_acknowledgement(&mut cursor).await?,
        }
        self.stream(write, cursor).await
    }

    /// Waits until there is room for one more snapshot.
    async fn snapshot_place(&self, write: &mut OwnedWriteHalf) -> Result<SemaphorePermit<'_>, LinkEnd> {
        let place = self.shared.replication.snapshot_places.acquire();
        tokio::pin!(place);
        let mut tick = tokio::time::interval(TICK);
        loop {
            tokio::select! {
                biased;
                // It is never closed.
                place = &mut place => return place.map_err(|_| LinkEnd::ShuttingDown),
                _ = tick.tick() => write.write_all(b"\n").await?,
            }
        }
    }

    /// Waits for the acknowledgement that allows the stream, while the replica's place in it is kept.
    async fn first_acknowledgement(&self, cursor: &mut Cursor) -> Result<(), LinkEnd> {
        while timeout(TICK, self.start_stream.notified()).await.is_err() {
            self.look(cursor)?;
        }
        Ok(())
    }

    /// The snapshot as it is made, between two marks.
    async fn direct(
        &self,
        write: &mut OwnedWriteHalf,
        source: snapshot::Source,
        cursor: &mut Cursor,
    ) -> Result<LinkAction, LinkEnd> {
        self.on(LinkEvent::SnapshotReady)?;
        let mark = Alphanumeric.sample_string(&mut rand::rng(), END_MARK_BYTES);
        write.write_all(format!("$EOF:{mark}\r\n").as_bytes()).await?;
        let chunks = snapshot::stream(&self.shared, source);
        self.send_chunks(write, chunks, cursor).await?;
        write.write_all(mark.as_bytes()).await?;
        Ok(self.on(LinkEvent::RdbSent)?)
    }

    /// The snapshot from a temporary file, after its length. Newlines meanwhile: the replica
    /// would give up on a silent primary.
    async fn spooled(
        &self,
        write: &mut OwnedWriteHalf,
        source: snapshot::Source,
        cursor: &mut Cursor,
    ) -> Result<LinkAction, LinkEnd> {
        let spooling = snapshot::spool(&self.shared, source);
        tokio::pin!(spooling);
        let mut tick = tokio::time::interval(TICK);
        let spooled = loop {
            tokio::select! {
                spooled = &mut spooling => break spooled.map_err(LinkEnd::Snapshot)?,
                _ = tick.tick() => {
                    self.look(cursor)?;
                    write.write_all(b"\n").await?;
                }
            }
        };
        self.on(LinkEvent::SnapshotReady)?;
        write.write_all(format!("${}\r\n", spooled.len_bytes).as_bytes()).await?;
        self.send_chunks(write, spooled.into_chunks(), cursor).await?;
        Ok(self.on(LinkEvent::RdbSent)?)
    }

    async fn send_chunks(
        &self,
        write: &mut OwnedWriteHalf,
        mut chunks: Chunks,
        cursor: &mut Cursor,
    ) -> Result<(), LinkEnd> {
        while let Some(chunk) = chunks.recv().await {
            let mut chunk: Bytes = chunk.map_err(LinkEnd::Snapshot)?;
            while chunk.has_remaining() {
                // A replica whose place in the stream was given up meanwhile cannot use the rest.
                self.look(cursor)?;
                if let Ok(written) = timeout(TICK, write.write_buf(&mut chunk)).await {
                    self.progressed(written?);
                }
            }
        }
        Ok(())
    }

    /// The stream, for ever; at shutdown, to its end.
    async fn stream(&self, write: &mut OwnedWriteHalf, mut cursor: Cursor) -> Ended {
        loop {
            tokio::select! {
                biased;
                readable = cursor.readable() => readable?,
                () = self.shared.draining() => {
                    if cursor.refresh()? == 0 {
                        return self.part(write).await;
                    }
                }
            }
            while cursor.has_remaining() {
                if lies_together(&cursor) {
                    if !self.send_some(write, &mut cursor).await? {
                        cursor.refresh()?;
                    }
                    continue;
                }
                let mut copy = cursor.next_copy();
                while copy.has_remaining() {
                    if !self.send_some(write, &mut copy).await? {
                        cursor.refresh()?;
                    }
                }
            }
        }
    }

    /// Sends some of what is visible. False if the replica takes nothing: is its place in the stream still
    /// kept?
    async fn send_some(&self, write: &mut OwnedWriteHalf, bytes: &mut impl Buf) -> Result<bool, LinkEnd> {
        // After the look that made them visible.
        self.check_history()?;
        self.check_can_hold()?;
        match timeout(TICK, write.write_buf(bytes)).await {
            Ok(Ok(0)) => Err(LinkEnd::Closed),
            Ok(written) => {
                self.progressed(written?);
                Ok(true)
            }
            Err(_) => Ok(false),
        }
    }

    /// Everything is sent: lets the replica close its side, so that nothing under way is lost.
    async fn part(&self, write: &mut OwnedWriteHalf) -> Ended {
        write.shutdown().await?;
        tokio::time::sleep(LINGER).await;
        Err(LinkEnd::ShuttingDown)
    }

    async fn finish(&self, write: &mut OwnedWriteHalf) -> Ended {
        write.shutdown().await?;
        tokio::time::sleep(LINGER).await;
        Err(LinkEnd::Delivered)
    }
}
