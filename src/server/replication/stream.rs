//! The stream that the data belongs to, and who may write it.
//!
//! # Promise
//! At any time one side writes the stream: the clients of a primary, or whoever passes on the stream of the
//! primary that is followed. The change from one to the other has an offset, and nothing of the side before
//! lies behind it.
//!
//! # Algorithm
//! Each side writes under a term of its own, and the change seals the one before (I10 of the
//! [buffer](crate::buffer)): a writer of it that is late, a ping say, gets an error. Units of clients cannot
//! be late, for the change is made [under all locks](crate::keyspace::Keyspace::change_reign).
//!
//! Buffer and history are one value, for a full copy of another server replaces both: links that read the old
//! one end by themselves.

use std::sync::Arc;

use crate::buffer::{AppendError, BuildError, ReplicationBuffer, Writer};
use crate::resync::{History, SharedHistory};
use crate::server::config::Config;
use crate::server::propagation::Publisher;
use crate::server::state::cursor_limits;

/// A buffer, the history that its bytes belong to, and the side that writes it.
pub(in crate::server) struct Stream {
    pub buffer: ReplicationBuffer,
    pub history: SharedHistory,
    /// What clients do.
    pub publisher: Publisher,
}

impl Stream {
    /// A stream that goes on from `offset`, written by clients.
    pub fn new(config: &Config, history: History, offset: u64) -> Result<Arc<Stream>, BuildError> {
        let buffer = ReplicationBuffer::builder()
            .base_offset(offset)
            .backlog_bytes(config.backlog_bytes)
            .cursor_limits(cursor_limits(config))
            // A transaction that sets many large values is one frame.
            .max_frame_bytes(crate::buffer::MAX_FRAME_BYTES)
            .build()?;
        let publisher = Publisher::new(buffer.clone());
        Ok(Arc::new(Stream { buffer, history: SharedHistory::new(history), publisher }))
    }

    /// Ends the side that writes now. Returns where, and the term of the next side.
    fn hand_over(&self) -> (u64, u64) {
        let term = self.buffer.term();
        // Of two who seal a term the second is told so; the end is the same.
        let end = self.buffer.seal(term).unwrap_or_else(|_| self.buffer.end_offset());
        self.buffer.begin_term(term.saturating_add(1));
        (end, term.saturating_add(1))
    }

    /// From now on the stream of another server is passed on: by the writer that is returned, from the offset
    /// beside it. To be called while no unit of clients runs.
    pub fn follow(&self) -> (Writer, u64) {
        let (end, term) = self.hand_over();
        (self.buffer.writer_of_term(term), end)
    }

    /// Clients write on, after all: what was begun by [`follow`](Self::follow) is not used.
    pub fn take_back(&self) {
        let (_, term) = self.hand_over();
        self.publisher.begin_term(term);
    }

    /// From now on clients write, under a new history that has this one up to here in common. To be called
    /// while no unit of another server is applied. Returns the offset.
    pub fn lead(&self) -> Result<u64, AppendError> {
        let (end, term) = self.hand_over();
        self.publisher.begin_term(term);
        self.history.shift(crate::server::state::random_id(), end);
        // The database that the primary before had selected is not known to the clients' writers.
        self.publisher.mark()
    }
}
