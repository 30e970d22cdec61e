//! What others have for a client: messages, events, lines of `MONITOR`.
//!
//! Anybody may [push](Outbox::push) at any time, locks held or not: a push takes one short lock and never
//! waits for the client. The connection's task takes what is there between two replies and writes it out. So
//! a slow subscriber holds nobody up; what waits for it is bounded by `client-output-buffer-limit`, and when
//! the bound is passed the client is given up and what waited is freed.
//!
//! # Order
//!
//! Pushes leave in the order in which they were made. The connection takes them before it executes a command
//! and after the last that has arrived: what was published before a command is seen before its reply, and a
//! client that publishes to itself gets its reply first, as in Valkey.
//!
//! # Wake-ups
//!
//! `has_some` is set under the lock, before the waiting task is notified, and cleared under the lock when
//! everything has been taken. The notification is stored when nobody waits yet: none is lost.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::config::OutputLimit;
use crate::resp::Protocol;

/// What a waiting piece costs besides its bytes.
const PIECE_BYTES: u64 = size_of::<Bytes>() as u64;

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Bytes>,
    /// Bytes in the queue, [`PIECE_BYTES`] for each piece included.
    queued_bytes: u64,
    /// Bytes that were taken, or are replies, and that the socket has not accepted.
    writing_bytes: u64,
    over_soft_since: Option<Instant>,
    /// What waited when the limit was passed: the client is given up.
    overflow: Option<Overflow>,
}

/// A client for which too much waited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Overflow {
    pub waiting_bytes: u64,
    pub limit_bytes: u64,
}

impl State {
    fn waiting_bytes(&self) -> u64 {
        self.queued_bytes + self.writing_bytes
    }

    /// Returns whether the limit has just been passed.
    fn judge(&mut self, limit: OutputLimit) -> bool {
        let waiting_bytes = self.waiting_bytes();
        let over = |limit_bytes| limit_bytes > 0 && waiting_bytes > limit_bytes;
        let passed = if over(limit.hard_bytes) {
            Some(limit.hard_bytes)
        } else if over(limit.soft_bytes) {
            let since = *self.over_soft_since.get_or_insert_with(Instant::now);
            (since.elapsed() > Duration::from_secs(limit.soft_s)).then_some(limit.soft_bytes)
        } else {
            self.over_soft_since = None;
            None
        };
        let Some(limit_bytes) = passed.filter(|_| self.overflow.is_none()) else { return false };
        self.overflow = Some(Overflow { waiting_bytes, limit_bytes });
        self.queue = VecDeque::new();
        self.queued_bytes = 0;
        true
    }
}

/// The pushes that wait for one client.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    state: Mutex<State>,
    has_some: AtomicBool,
    filled: Notify,
    /// The protocol in which pushes are to be encoded.
    resp3: AtomicBool,
    /// `CLIENT REPLY OFF`: concerns the lines of `MONITOR`, not messages.
    muted: AtomicBool,
}

impl Outbox {
    /// Adds a push. Returns whether the limit was passed by it: the client is then to be ended. Whatever
    /// comes after that is dropped.
    #[must_use]
    pub fn push(&self, piece: Bytes, limit: OutputLimit) -> bool {
        let mut state = self.state.lock();
        if state.overflow.is_some() {
            return false;
        }
        state.queued_bytes += piece.len() as u64 + PIECE_BYTES;
        state.queue.push_back(piece);
        if state.judge(limit) {
            return true;
        }
        // Looked at without the lock by the connection, and cleared with it.
        if !self.has_some.swap(true, Ordering::AcqRel) {
            drop(state);
            self.filled.notify_one();
        }
        false
    }

    /// Looks at the limit again; as [`push`](Self::push) returns.
    #[must_use]
    pub fn judge(&self, limit: OutputLimit) -> bool {
        self.state.lock().judge(limit)
    }

    /// Whether something waits to be taken.
    pub fn has_some(&self) -> bool {
        self.has_some.load(Ordering::Acquire)
    }

    /// Resolves when something waits to be taken. For the connection's task alone.
    pub async fn filled(&self) {
        while !self.has_some() {
            self.filled.notified().await;
        }
    }

    /// Moves the oldest pushes, at most `pieces` of them, to `out` until that holds `enough_bytes`; returns
    /// how many. They count as waiting until [`set_writing`](Self::set_writing) says otherwise.
    pub fn take(&self, out: &mut BytesMut, pieces: usize, enough_bytes: usize) -> usize {
        let mut state = self.state.lock();
        let mut taken = 0;
        while taken < pieces
            && out.len() < enough_bytes
            && let Some(piece) = state.queue.pop_front()
        {
            out.put_slice(&piece);
            state.queued_bytes -= piece.len() as u64 + PIECE_BYTES;
            state.writing_bytes += piece.len() as u64;
            taken += 1;
        }
        if state.queue.is_empty() {
            self.has_some.store(false, Ordering::Release);
        }
        taken
    }

    /// Gives back room for pushes that are gone.
    pub fn shrink(&self) {
        let mut state = self.state.lock();
        if state.queue.is_empty() {
            state.queue = VecDeque::new();
        }
    }

    /// How many pushes wait, and how many bytes are held for the client in all.
    pub fn waiting(&self) -> (usize, u64) {
        let state = self.state.lock();
        (state.queue.len(), state.waiting_bytes())
    }

    /// So many bytes have been encoded that the socket has not accepted.
    pub fn set_writing(&self, bytes: u64) {
        self.state.lock().writing_bytes = bytes;
    }

    /// Why the client was given up, if it was.
    pub fn overflow(&self) -> Option<Overflow> {
        self.state.lock().overflow
    }

    pub fn protocol(&self) -> Protocol {
        if self.resp3.load(Ordering::Relaxed) { Protocol::Resp3 } else { Protocol::Resp2 }
    }

    pub fn set_protocol(&self, protocol: Protocol) {
        self.resp3.store(protocol == Protocol::Resp3, Ordering::Relaxed);
    }

    pub fn is_muted(&self) -> bool {
        self.muted.load(Ordering::Relaxed)
    }

    pub fn set_muted(&self, muted: bool) {
        self.muted.store(muted, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: OutputLimit = OutputLimit { hard_bytes: 0, soft_bytes: 0, soft_s: 0 };

    fn piece(len: usize) -> Bytes {
        Bytes::from(vec![b'x'; len])
    }

    #[test]
    fn pushes_are_taken_in_their_order_and_in_part() {
        let outbox = Outbox::default();
        for text in ["a", "b", "c"] {
            assert!(!outbox.push(Bytes::from(text), NONE));
        }
        let mut out = BytesMut::new();
        assert_eq!(outbox.take(&mut out, 2, 100), 2);
        assert_eq!(&out[..], b"ab");
        assert!(outbox.has_some());
        assert_eq!(outbox.take(&mut out, 2, 2), 0, "there is enough already");
        assert_eq!(outbox.take(&mut out, 2, 100), 1);
        assert_eq!(&out[..], b"abc");
        assert!(!outbox.has_some());
    }

    #[test]
    fn what_is_being_written_counts_until_it_is_gone() {
        let limit = OutputLimit { hard_bytes: 1000, ..NONE };
        let outbox = Outbox::default();
        assert!(!outbox.push(piece(600), limit));
        outbox.take(&mut BytesMut::new(), 1, usize::MAX);
        outbox.set_writing(500);
        assert!(!outbox.push(piece(400), limit));
        assert!(outbox.push(piece(200), limit), "{:?}", outbox.waiting());
        assert_eq!(outbox.overflow().map(|overflow| overflow.limit_bytes), Some(1000));
        assert_eq!(outbox.waiting(), (0, 500), "what waited is freed at once");
        assert!(!outbox.push(piece(2000), limit), "it is reported once");
        assert_eq!(outbox.waiting().0, 0);
    }

    #[test]
    fn a_soft_limit_may_be_passed_for_a_while() {
        let patient = OutputLimit { hard_bytes: 0, soft_bytes: 100, soft_s: 3600 };
        let outbox = Outbox::default();
        assert!(!outbox.push(piece(500), patient));
        assert!(!outbox.judge(patient));
        let impatient = OutputLimit { soft_s: 0, ..patient };
        // Some time must have passed, however little.
        while outbox.state.lock().over_soft_since.is_some_and(|since| since.elapsed().is_zero()) {}
        assert!(outbox.judge(impatient));
    }

    #[test]
    fn a_soft_limit_that_is_no_longer_passed_begins_anew() {
        let limit = OutputLimit { hard_bytes: 0, soft_bytes: 100, soft_s: 3600 };
        let outbox = Outbox::default();
        assert!(!outbox.push(piece(500), limit));
        outbox.take(&mut BytesMut::new(), 1, usize::MAX);
        outbox.set_writing(0);
        assert!(!outbox.judge(limit));
        assert_eq!(outbox.state.lock().over_soft_since, None);
    }

    #[tokio::test]
    async fn a_push_before_the_wait_and_one_during_it_both_end_it() {
        let outbox = std::sync::Arc::new(Outbox::default());
        assert!(!outbox.push(piece(1), NONE));
        outbox.filled().await;
        outbox.take(&mut BytesMut::new(), 1, usize::MAX);
        // The stored notification is stale now: the wait must go on until there is something.
        let waiting = tokio::spawn({
            let outbox = std::sync::Arc::clone(&outbox);
            async move { outbox.filled().await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        assert!(!outbox.push(piece(1), NONE));
        tokio::time::timeout(std::time::Duration::from_secs(20), waiting)
            .await
            .expect("woken")
            .expect("no panic");
    }
}
