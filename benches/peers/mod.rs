//! The buffer and what a user would pick instead, behind one face.
//!
//! Every peer keeps one order for all readers and loses nothing, as the product does; where a
//! library alone does not give that, the least that gives it is added and said.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Buf, Bytes};
use replcore::buffer::{Cursor, CursorLimits, ReplicationBuffer};

mod reserve_and_fill;

pub use reserve_and_fill::ReserveAndFill;

/// What a stream has to hold in a run.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub frames: usize,
    pub frame_bytes: usize,
    pub readers: usize,
    /// So much behind the end, or behind the slowest reader, is kept.
    pub backlog_bytes: usize,
}

/// A stream that many append to and many read.
pub trait Stream: Send + Sync + Sized {
    const NAME: &'static str;
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
}

pub trait Read {
    /// Copies what there is, as a socket would; returns how much, 0 if nothing.
    fn read(&mut self, target: &mut [u8]) -> usize;
}

// --- The product ------------------------------------------------------------------------------

pub struct Product(ReplicationBuffer);

impl Stream for Product {
    const NAME: &'static str = "replcore";
    type Writer<'s> = ProductWriter;
    type Reader = Cursor;

    fn open(shape: &Shape) -> (Self, Vec<Cursor>) {
        let buffer = ReplicationBuffer::builder()
            .backlog_bytes(shape.backlog_bytes as u64)
            .cursor_limits(CursorLimits::UNLIMITED)
            .build()
            .expect("valid");
        let readers = (0..shape.readers).map(|_| buffer.attach(0).expect("at the base")).collect();
        (Self(buffer), readers)
    }

    fn writer(&self) -> ProductWriter {
        ProductWriter { writer: self.0.writer(), buffer: self.0.clone() }
    }
}

pub struct ProductWriter {
    writer: replcore::buffer::Writer,
    buffer: ReplicationBuffer,
}

impl Append for ProductWriter {
    fn append(&mut self, frame: &[u8]) -> u64 {
        self.writer.append(frame).expect("within the limits").end
    }

    fn is_readable(&mut self, position: u64) -> bool {
        self.buffer.end_offset() >= position
    }
}

impl Read for Cursor {
    fn read(&mut self, target: &mut [u8]) -> usize {
        let visible = self.refresh().expect("without limits there is no eviction");
        let mut filled = 0;
        while filled < visible.min(target.len()) {
            let chunk = self.chunk();
            let taken = chunk.len().min(target.len() - filled);
            target[filled..filled + taken].copy_from_slice(&chunk[..taken]);
            self.advance(taken);
            filled += taken;
        }
        filled
    }
}

// --- A deque behind a lock --------------------------------------------------------------------

#[derive(Default)]
struct Deque {
    frames: VecDeque<Bytes>,
    /// The number of the first frame kept, and the bytes of those kept.
    first: u64,
    bytes: usize,
    /// How many bytes were ever appended.
    end: u64,
    /// The number of the next frame of each reader.
    readers: Vec<u64>,
}

/// `Mutex<VecDeque<Bytes>>`, with an offset for each reader.
pub struct LockedDeque {
    deque: Arc<Mutex<Deque>>,
    backlog_bytes: usize,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Stream for LockedDeque {
    const NAME: &'static str = "Mutex<VecDeque<Bytes>>";
    type Writer<'s> = &'s LockedDeque;
    type Reader = DequeReader;

    fn open(shape: &Shape) -> (Self, Vec<DequeReader>) {
        let deque = Deque { readers: vec![0; shape.readers], ..Deque::default() };
        let deque = Arc::new(Mutex::new(deque));
        let reader = |number| DequeReader { deque: Arc::clone(&deque), number, taken: VecDeque::new() };
        let readers = (0..shape.readers).map(reader).collect();
        (Self { deque, backlog_bytes: shape.backlog_bytes }, readers)
    }

    fn writer(&self) -> &LockedDeque {
        self
    }
}

impl Append for &LockedDeque {
    fn append(&mut self, frame: &[u8]) -> u64 {
        let frame = Bytes::copy_from_slice(frame);
        let mut gone = None;
        let mut deque = lock(&self.deque);
        deque.end += frame.len() as u64;
        deque.bytes += frame.len();
        deque.frames.push_back(frame);
        if deque.bytes > self.backlog_bytes && deque.readers.iter().all(|next| *next > deque.first) {
            gone = deque.frames.pop_front();
            deque.first += 1;
            deque.bytes -= gone.as_ref().map_or(0, Bytes::len);
        }
        let end = deque.end;
        drop(deque);
        // Freed outside the lock.
        drop(gone);
        end
    }

    fn is_readable(&mut self, position: u64) -> bool {
        lock(&self.deque).end >= position
    }
}

pub struct DequeReader {
    deque: Arc<Mutex<Deque>>,
    number: usize,
    taken: VecDeque<Bytes>,
}

/// Frames that a reader takes while it has the lock.
const TAKEN_AT_ONCE: usize = 128;

impl Read for DequeReader {
    fn read(&mut self, target: &mut [u8]) -> usize {
        if self.taken.is_empty() {
            let mut deque = lock(&self.deque);
            let next = (deque.readers[self.number] - deque.first) as usize;
            self.taken.extend(deque.frames.iter().skip(next).take(TAKEN_AT_ONCE).cloned());
            deque.readers[self.number] += self.taken.len() as u64;
        }
        fill(target, &mut self.taken, || None)
    }
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

// --- tokio::sync::broadcast -------------------------------------------------------------------

/// `tokio::sync::broadcast`, with room for the backlog twice over: it drops what does not fit.
pub struct Broadcast {
    sender: tokio::sync::broadcast::Sender<Bytes>,
    /// A channel without receivers refuses to send.
    _idle: tokio::sync::broadcast::Receiver<Bytes>,
}

impl Stream for Broadcast {
    const NAME: &'static str = "tokio broadcast";
    type Writer<'s> = &'s Broadcast;
    type Reader = BroadcastReader;

    fn open(shape: &Shape) -> (Self, Vec<BroadcastReader>) {
        let capacity = (2 * shape.backlog_bytes / shape.frame_bytes).clamp(16, shape.frames.max(16));
        let (sender, idle) = tokio::sync::broadcast::channel(capacity);
        let reader = |_| BroadcastReader { receiver: sender.subscribe(), taken: VecDeque::new() };
        let readers = (0..shape.readers).map(reader).collect();
        (Self { sender, _idle: idle }, readers)
    }

    fn writer(&self) -> &Broadcast {
        self
    }
}

impl Append for &Broadcast {
    fn append(&mut self, frame: &[u8]) -> u64 {
        self.sender.send(Bytes::copy_from_slice(frame)).expect("there is a receiver");
        0
    }

    /// What was sent can be received.
    fn is_readable(&mut self, _position: u64) -> bool {
        true
    }
}

pub struct BroadcastReader {
    receiver: tokio::sync::broadcast::Receiver<Bytes>,
    taken: VecDeque<Bytes>,
}

impl Read for BroadcastReader {
    fn read(&mut self, target: &mut [u8]) -> usize {
        use tokio::sync::broadcast::error::TryRecvError;
        let receiver = &mut self.receiver;
        fill(target, &mut self.taken, || match receiver.try_recv() {
            Ok(frame) => Some(frame),
            Err(TryRecvError::Lagged(lost)) => panic!("{lost} frames were lost: the capacity is too small"),
            Err(_) => None,
        })
    }
}

// --- A channel for each reader ----------------------------------------------------------------

/// One unbounded `crossbeam-channel` for each reader, and a lock around sending: without it each
/// reader would see an order of its own. It has no backlog.
pub struct ChannelEach {
    senders: Mutex<Vec<crossbeam_channel::Sender<Bytes>>>,
}

impl Stream for ChannelEach {
    const NAME: &'static str = "crossbeam channel each";
    type Writer<'s> = &'s ChannelEach;
    type Reader = ChannelReader;

    fn open(shape: &Shape) -> (Self, Vec<ChannelReader>) {
        let (senders, receivers): (Vec<_>, Vec<_>) =
            (0..shape.readers).map(|_| crossbeam_channel::unbounded()).unzip();
        let readers =
            receivers.into_iter().map(|receiver| ChannelReader { receiver, taken: VecDeque::new() });
        (Self { senders: Mutex::new(senders) }, readers.collect())
    }

    fn writer(&self) -> &ChannelEach {
        self
    }
}

impl Append for &ChannelEach {
    fn append(&mut self, frame: &[u8]) -> u64 {
        let frame = Bytes::copy_from_slice(frame);
        for sender in &*lock(&self.senders) {
            // A reader that is done does not mind.
            let _ = sender.send(frame.clone());
        }
        0
    }

    /// What was sent can be received, once the sender of the slot before it is done; the lock sees
    /// to that.
    fn is_readable(&mut self, _position: u64) -> bool {
        true
    }
}

pub struct ChannelReader {
    receiver: crossbeam_channel::Receiver<Bytes>,
    taken: VecDeque<Bytes>,
}

impl Read for ChannelReader {
    fn read(&mut self, target: &mut [u8]) -> usize {
        let receiver = &self.receiver;
        fill(target, &mut self.taken, || receiver.try_recv().ok())
    }
}
