//! Desks: all that a writer has, and the pool of those that nobody uses.

use super::seat::Seat;
use super::stage::Stage;
use crate::buffer::config::LAST_TERM;
use crate::buffer::log::Log;
use crate::buffer::memory::Memory;
use crate::buffer::pool::Pool;
use crate::buffer::stats::Counters;
use crate::buffer::sync::table::{Fault, fault};
use crate::buffer::sync::{Arc, unwinding};
use std::mem::ManuallyDrop;

/// Where a writer stands, and what it stages.
#[derive(Debug)]
pub(crate) struct Desk {
    pub(super) seat: Seat,
    pub(super) stage: Stage,
    /// The longest frame that is appended without a look at anything else: 0 unless the seat stands
    /// somewhere, the stage has a block, and nothing is staged.
    pub(super) quick: usize,
}

impl Desk {
    fn new() -> Box<Self> {
        Box::new(Self { seat: Seat::nowhere(), stage: Stage::default(), quick: 0 })
    }

    /// Begins to stage.
    pub(super) fn begin(&mut self) {
        self.quick = 0;
        // A frame that was forgotten leaves what it staged.
        self.stage.discard();
        self.stage.busy = true;
    }

    /// Nothing is staged any more.
    pub(super) fn end(&mut self) {
        self.stage.discard();
        self.quick = if self.seat.is_nowhere() { 0 } else { self.stage.quick };
    }

    /// Gives everything back. To be called before a desk is dropped.
    fn clear(&mut self, memory: &Memory) {
        self.stage.discard();
        self.stage.leave_block(memory);
        self.seat.leave(memory);
    }
}

/// Desks of writers that are gone, for those to come. A desk keeps what is left of its block, so that
/// writers which come and go do not each pin a block for the few bytes they appended (I11).
///
/// Every handle that can append counts on them. So when they go, nothing follows in the stream.
#[derive(Debug)]
pub(crate) struct Desks {
    pool: Pool<Desk>,
    log: Arc<Log>,
}

impl Desks {
    pub(crate) fn new(desks: usize, log: &Arc<Log>) -> Self {
        Self { pool: Pool::new(desks), log: Arc::clone(log) }
    }

    /// A desk: a used one, or an empty one.
    pub(super) fn take(&self) -> Box<Desk> {
        self.pool.take().unwrap_or_else(Desk::new)
    }

    /// Takes a desk back.
    pub(super) fn put(&self, mut desk: Box<Desk>) {
        desk.stage.discard();
        if desk.seat.is_nowhere() && desk.stage.block().is_none() {
            return;
        }
        if let Err(mut desk) = self.pool.put(desk) {
            desk.clear(&self.log.memory);
        }
    }

    /// A desk on loan. It goes back even if the caller's code panics: it counts on memory.
    pub(super) fn lend(&self) -> Lent<'_> {
        Lent { desk: ManuallyDrop::new(self.take()), desks: self }
    }
}

impl Drop for Desks {
    fn drop(&mut self) {
        if unwinding() {
            return;
        }
        // If there is a cursor, it learns that it waits for nothing: no handle is left to attach another.
        if Counters::get(&self.log.memory.counters.cursors) > 0 && !fault(Fault::EndSilently) {
            // One that is sealed already has told them.
            let _ = self.lend().desk.seal(LAST_TERM, &self.log);
        }
        while let Some(mut desk) = self.pool.take() {
            desk.clear(&self.log.memory);
        }
    }
}

/// A desk on loan.
pub(super) struct Lent<'d> {
    /// Given back when the loan ends.
    pub(super) desk: ManuallyDrop<Box<Desk>>,
    desks: &'d Desks,
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        if unwinding() {
            return;
        }
        // SAFETY: taken once, here.
        self.desks.put(unsafe { ManuallyDrop::take(&mut self.desk) });
    }
}
