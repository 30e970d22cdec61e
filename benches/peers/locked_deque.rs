//! `Mutex<VecDeque<Bytes>>`, with an offset for each reader: what one writes first.
//!
//! The lock is the standard library's: on Linux a futex that spins for a moment. As little as possible is
//! done while it is held: frames are allocated and freed outside, readers take 128 at a time, and the deque
//! has all its room from the start.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use bytes::Bytes;

use super::{Append, Read, Shape, Stream, fill, lock};

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

/// The deque, shared.
pub struct LockedDeque {
    deque: Arc<Mutex<Deque>>,
    backlog_bytes: usize,
}

impl Stream for LockedDeque {
    const NAME: &'static str = "Mutex<VecDeque<Bytes>>";
    const KEEPS_UNREAD: bool = true;
    type Writer<'s> = &'s LockedDeque;
    type Reader = DequeReader;

    fn open(shape: &Shape) -> (Self, Vec<DequeReader>) {
        let frames = VecDeque::with_capacity(2 * shape.backlog_bytes / shape.frame_bytes);
        let deque = Deque { frames, readers: vec![0; shape.readers], ..Deque::default() };
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
