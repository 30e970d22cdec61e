//! Waiting for more of the stream, without polling and whatever the runtime (I9).
//!
//! A cursor that finds nothing leaves its waker in its slot, marks the empty cell at which the stream
//! ends for it, and makes sure that it was not evicted. If the cell is full by then, it looks again.
//! At the end of a full segment it makes sure that there is a next one, whose first cell it marks.

use std::future::poll_fn;
use std::task::{Context, Poll, Wake};
use std::time::{Duration, Instant};

use super::handle::Cursor;
use crate::buffer::error::CursorError;
use crate::buffer::segment::{Frontier, Parked};
use crate::buffer::sync::table::{Fault, fault};

impl Cursor {
    /// Is ready when there is something to read, and has refreshed the cursor then.
    ///
    /// # Errors
    /// [`CursorError::Evicted`], [`CursorError::Ended`].
    pub fn poll_readable(&mut self, context: &mut Context<'_>) -> Poll<Result<(), CursorError>> {
        loop {
            if self.refresh()? > 0 {
                self.slot().awake();
                return Poll::Ready(Ok(()));
            }
            self.slot().await_with(context.waker(), &self.log.domain);
            if fault(Fault::ParkSilently) {
                return Poll::Pending;
            }
            let parked = self.park();
            if parked == Parked::Ready && !fault(Fault::SkipSecondLook) {
                continue;
            }
            if !fault(Fault::ConfirmUnlooked) && !self.slot().confirm(self.ordinal) {
                return Poll::Ready(Err(self.evicted()));
            }
            return Poll::Pending;
        }
    }

    /// Marks the cell at which the stream ends for this cursor.
    fn park(&self) -> Parked {
        let Some(last) = self.window.back() else { return Parked::Ready };
        let segment = last.payload.segment();
        let frontier = Frontier { index: last.visible, before: segment.word_before(last.visible) };
        if !segment.is_closed_at(&frontier) {
            return segment.park(last.visible);
        }
        if fault(Fault::ParkAtFull) {
            return Parked::Waiting;
        }
        // The next publication goes into the next segment: make sure that there is one, and look there. A
        // segment without a successor is the last of the chain, whether the cursor was evicted or not.
        self.log.link_successor(segment, &frontier);
        Parked::Ready
    }

    /// Waits until there is something to read, whatever the runtime, without polling (I9).
    ///
    /// # Errors
    /// [`CursorError::Evicted`], [`CursorError::Ended`].
    pub async fn readable(&mut self) -> Result<(), CursorError> {
        poll_fn(|context| self.poll_readable(context)).await
    }

    /// Blocks the thread until there is something to read.
    ///
    /// # Errors
    /// [`CursorError::Evicted`], [`CursorError::Ended`].
    pub fn wait(&mut self) -> Result<(), CursorError> {
        self.wait_until(None).map(|_| ())
    }

    /// Blocks the thread until there is something to read, `timeout` at most; `false` if that
    /// passed.
    ///
    /// # Errors
    /// [`CursorError::Evicted`], [`CursorError::Ended`].
    pub fn wait_timeout(&mut self, timeout: Duration) -> Result<bool, CursorError> {
        self.wait_until(Instant::now().checked_add(timeout))
    }

    fn wait_until(&mut self, deadline: Option<Instant>) -> Result<bool, CursorError> {
        let waker = std::sync::Arc::new(Unpark(std::thread::current())).into();
        loop {
            if let Poll::Ready(ready) = self.poll_readable(&mut Context::from_waker(&waker)) {
                return ready.map(|()| true);
            }
            match deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())) {
                None => std::thread::park(),
                Some(Duration::ZERO) => return Ok(false),
                Some(left) => std::thread::park_timeout(left),
            }
        }
    }
}

/// Wakes a thread that waits for a cursor.
struct Unpark(std::thread::Thread);

impl Wake for Unpark {
    fn wake(self: std::sync::Arc<Self>) {
        self.0.unpark();
    }
}
