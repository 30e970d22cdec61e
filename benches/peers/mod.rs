//! The buffer and what a user would pick instead, behind one face.
//!
//! Every peer keeps one order for all readers and loses nothing, as the product does; where a library alone
//! does not give that, the least that gives it is added and said. Each is a file of its own, which says how
//! it is set up and why.
//!
//! All but the product and the log that fills in place carry frames as [`Bytes`] or in slots of their own;
//! none is spared the copy of the frame into memory that it owns, nor the copy out to the reader.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::{Buf, Bytes};

mod async_broadcast;
mod channel_each;
mod chute;
mod disruptor;
mod locked_deque;
mod multiqueue;
mod product;
mod reserve_and_fill;
mod tokio_broadcast;

pub use async_broadcast::AsyncBroadcast;
pub use channel_each::ChannelEach;
pub use chute::Chute;
pub use disruptor::Disruptor;
pub use locked_deque::LockedDeque;
pub use multiqueue::Multiqueue;
pub use product::Product;
pub use reserve_and_fill::ReserveAndFill;
pub use tokio_broadcast::TokioBroadcast;

/// A peer from outside this repository, to compare a sketch without keeping it: a file with a `Sketch` in it
/// that is a [`Stream`], named by `REPLCORE_SKETCH`.
/// `cargo rustc --profile bench --bench buffer -- --cfg replcore_sketch` compiles it in.
#[cfg(replcore_sketch)]
#[allow(warnings, clippy::all)]
mod sketch {
    pub use std::sync::Arc;
    pub use std::sync::atomic::Ordering;

    pub use super::{Append, Read, Shape, Stream};

    mod outside {
        include!(env!("REPLCORE_SKETCH"));
    }
    pub use outside::Sketch;
}
#[cfg(replcore_sketch)]
pub use sketch::Sketch;

/// What a stream has to hold in a run.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub frames: usize,
    pub frame_bytes: usize,
    pub readers: usize,
    /// So much behind the end, or behind the slowest reader, is kept.
    pub backlog_bytes: usize,
    /// So many writers ask [`Append::is_readable`]: where that takes a reader, each gets one of its own.
    pub watching_writers: usize,
}

/// How a peer treats memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Product,
    /// It keeps within a bound by itself: by a backlog, or by making writers wait.
    Bounded,
    /// It frees what all readers have read, and grows without bound when one of them stops: here the
    /// benchmark holds the writers back.
    Released,
    /// It frees nothing: no peer, but the floor.
    Floor,
    /// From outside the repository.
    #[cfg_attr(not(replcore_sketch), allow(dead_code))]
    Sketch,
}

/// A stream that many append to and many read.
pub trait Stream: Send + Sync + Sized {
    const NAME: &'static str;
    const KIND: Kind = Kind::Bounded;
    /// Whether it keeps frames when there is no reader; if not, it has no part in loads without readers.
    const KEEPS_UNREAD: bool = false;
    type Writer<'s>: Append + Send
    where
        Self: 's;
    type Reader: Read + Send;

    /// A stream, and its readers, attached at its beginning.
    fn open(shape: &Shape) -> (Self, Vec<Self::Reader>);
    fn writer(&self) -> Self::Writer<'_>;
}

pub trait Append {
    /// Appends a frame. Returns a position that [`is_readable`](Self::is_readable) understands.
    fn append(&mut self, frame: &[u8]) -> u64;

    /// Whether a reader that looked now could read up to `position`, which was returned.
    fn is_readable(&mut self, position: u64) -> bool;

    /// Called now and then by a writer that has nothing to append any more, so that a reader of its own holds
    /// up nobody.
    fn rest(&mut self) {}
}

pub trait Read {
    /// Copies what there is, as a socket would; returns how much, 0 if nothing.
    fn read(&mut self, target: &mut [u8]) -> usize;
}

/// The slots of a bounded peer: the backlog's worth, as a power of two.
fn slots(shape: &Shape) -> usize {
    (shape.backlog_bytes / shape.frame_bytes).next_power_of_two().max(64)
}

/// The first eight bytes of a frame: its number, in loads that ask for it.
fn number(frame: &[u8]) -> u64 {
    frame.first_chunk().map_or(u64::MAX, |first| u64::from_le_bytes(*first))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Copies from frames in hand, then from those that `next` gives.
fn fill(target: &mut [u8], taken: &mut VecDeque<Bytes>, mut next: impl FnMut() -> Option<Bytes>) -> usize {
    let mut filled = 0;
    while filled < target.len() {
        let Some(mut frame) = taken.pop_front().or_else(&mut next) else { break };
        let len = frame.len().min(target.len() - filled);
        frame.copy_to_slice(&mut target[filled..filled + len]);
        filled += len;
        if frame.has_remaining() {
            taken.push_front(frame);
        }
    }
    filled
}
