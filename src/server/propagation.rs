//! From effects to the stream.
//!
//! [`Publisher::publish`] is called by the keyspace while the locks of the unit's keys are held:
//! the unit is staged into one frame and published with one compare-and-swap, so that the order of
//! the stream agrees with the order of application for every key.
//!
//! # Writers
//!
//! A buffer's `Writer` owns staging memory, so one per connection would cost thousands of idle
//! clients real memory. Publishing is synchronous, so no more writers are in use at a time than
//! threads run: a small pool is enough, entered at a place that belongs to the thread. The lock
//! around a writer is then practically uncontended, and one thread's frames stay contiguous.
//!
//! # When a unit cannot be published
//!
//! The keyspace has applied it already, so replicas would silently miss it. A frame can be refused
//! only for its size, a term that was sealed or exhausted offsets; whichever it is, the stream no longer
//! describes the data. The history is then broken in the open: the failure is handed to the caller,
//! who begins a new replication ID and drops the replicas, and they come back for a full copy.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_utils::CachePadded;
use parking_lot::{Mutex, MutexGuard};

use crate::buffer::{AppendError, ReplicationBuffer, StagedFrame, Writer};
use crate::rewrite::{Effects, frame};

/// The keepalive that a primary writes into its stream, as Valkey spells it.
const PING: &[u8] = b"*1\r\n$4\r\nping\r\n";
const GETACK: &[u8] = b"*3\r\n$8\r\nREPLCONF\r\n$6\r\nGETACK\r\n$1\r\n*\r\n";

/// Writers per pool. More than threads run on most machines; two threads that share one only wait
/// for each other's staging.
const WRITERS: usize = 64;

thread_local! {
    /// This thread's first choice among the writers; `usize::MAX` until it has one.
    static PLACE: Cell<usize> = const { Cell::new(usize::MAX) };
}

static NEXT_PLACE: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);

fn place() -> usize {
    PLACE.with(|place| {
        if place.get() == usize::MAX {
            // Relaxed: only distinctness matters.
            place.set(NEXT_PLACE.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
        }
        place.get()
    })
}

/// Publishes units into a replication buffer, from any thread.
pub(super) struct Publisher {
    buffer: ReplicationBuffer,
    /// The term of the writers.
    term: AtomicU64,
    writers: Box<[CachePadded<Mutex<Place>>]>,
}

/// A writer's place.
#[derive(Default)]
struct Place {
    /// Filled by the first thread that comes to it.
    writer: Option<Writer>,
    /// Commands that were published from here.
    commands: u64,
}

impl Publisher {
    pub fn new(buffer: ReplicationBuffer) -> Self {
        Publisher {
            term: AtomicU64::new(buffer.term()),
            buffer,
            writers: (0..WRITERS).map(|_| CachePadded::default()).collect(),
        }
    }

    fn place(&self) -> MutexGuard<'_, Place> {
        let own = place();
        // Own place first; if it is taken, any free one; if none is free, wait for the own.
        let free = (0..WRITERS).find_map(|step| self.writers[(own.wrapping_add(step)) % WRITERS].try_lock());
        free.unwrap_or_else(|| self.writers[own % WRITERS].lock())
    }

    /// From now on, what is published belongs to `term`. Until then, once the term before has been sealed,
    /// nothing can be.
    pub fn begin_term(&self, term: u64) {
        // Release: who writes under the term sees what was done before it began.
        self.term.store(term, Ordering::Release);
    }

    fn publish_frame(&self, stage: impl FnOnce(&mut StagedFrame<'_>)) -> Result<u64, AppendError> {
        self.publish_at(&mut self.place(), stage)
    }

    fn publish_at(
        &self,
        place: &mut Place,
        stage: impl FnOnce(&mut StagedFrame<'_>),
    ) -> Result<u64, AppendError> {
        let slot = &mut place.writer;
        // A writer keeps its term for life. Acquire: pairs with the release in `begin_term`.
        let term = self.term.load(Ordering::Acquire);
        if slot.as_ref().is_some_and(|writer| writer.term() != term) {
            *slot = None;
        }
        let mut frame = slot.get_or_insert_with(|| self.buffer.writer_of_term(term)).frame();
        stage(&mut frame);
        frame.publish().map(|range| range.end)
    }

    /// Publishes one unit. Returns the offset of its end.
    pub fn publish(&self, effects: &Effects<'_>) -> Result<u64, AppendError> {
        let mut place = self.place();
        let end = self.publish_at(&mut place, |staged| frame::write(effects, staged))?;
        place.commands += effects.ops.len() as u64;
        Ok(end)
    }

    /// How many commands have been published, those of transactions one by one.
    pub fn commands(&self) -> u64 {
        self.writers.iter().map(|place| place.lock().commands).sum()
    }

    /// Publishes the periodic ping.
    pub fn ping(&self) -> Result<u64, AppendError> {
        self.publish_frame(|frame| frame.put_slice(PING))
    }

    /// Asks all replicas to acknowledge at once.
    pub fn getack(&self) -> Result<u64, AppendError> {
        self.publish_frame(|frame| frame.put_slice(GETACK))
    }

    /// Publishes a frame of no bytes after which the database is unknown, so that the next command is
    /// preceded by a `SELECT`. Returns its offset: a replica whose data is as of now reads on from there.
    pub fn mark(&self) -> Result<u64, AppendError> {
        self.publish_frame(|frame| frame.set_context(None))
    }
}
