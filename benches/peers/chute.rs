//! `chute`, many producers: a linked list of blocks of slots, freed behind the slowest reader.
//!
//! Its documentation promises the order of each writer alone. As it is built, a slot is a writer's by one
//! `fetch_add` and readers take slots from left to right, so all see one order, and that is why it is here.
//! It has no bound: the benchmark holds writers back. Without a reader it keeps nothing.

use std::sync::{Arc, Mutex};

use bytes::{Buf, Bytes};
use chute::LendingReader;
use chute::mpmc::{Queue, Reader, Writer};

use super::{Append, Kind, Read, Shape, Stream, lock, number};

pub struct Chute {
    queue: Arc<Queue<Bytes>>,
    watches: Mutex<Vec<Reader<Bytes>>>,
}

impl Stream for Chute {
    const NAME: &'static str = "chute";
    const KIND: Kind = Kind::Released;
    type Writer<'s> = ChuteWriter;
    type Reader = ChuteReader;

    fn open(shape: &Shape) -> (Self, Vec<ChuteReader>) {
        let queue = Queue::new();
        let watches = (0..shape.watching_writers).map(|_| queue.reader()).collect();
        let reader = |_| ChuteReader { reader: queue.reader(), taken: Bytes::new() };
        let readers = (0..shape.readers).map(reader).collect();
        (Self { queue, watches: Mutex::new(watches) }, readers)
    }

    fn writer(&self) -> ChuteWriter {
        ChuteWriter { writer: self.queue.writer(), watch: lock(&self.watches).pop() }
    }
}

pub struct ChuteWriter {
    writer: Writer<Bytes>,
    watch: Option<Reader<Bytes>>,
}

impl Append for ChuteWriter {
    fn append(&mut self, frame: &[u8]) -> u64 {
        self.writer.push(Bytes::copy_from_slice(frame));
        number(frame)
    }

    /// Looks for the frame of that number, which is this writer's own.
    fn is_readable(&mut self, position: u64) -> bool {
        let Some(watch) = &mut self.watch else { return true };
        while let Some(frame) = watch.next() {
            if number(frame) == position {
                return true;
            }
        }
        false
    }

    fn rest(&mut self) {
        if let Some(watch) = &mut self.watch {
            while watch.next().is_some() {}
        }
        self.writer.update();
    }
}

pub struct ChuteReader {
    reader: Reader<Bytes>,
    /// What is left of a frame that did not fit.
    taken: Bytes,
}

impl Read for ChuteReader {
    fn read(&mut self, target: &mut [u8]) -> usize {
        let mut filled = self.taken.len().min(target.len());
        self.taken.copy_to_slice(&mut target[..filled]);
        while filled < target.len() {
            let Some(frame) = self.reader.next() else { break };
            let len = frame.len().min(target.len() - filled);
            target[filled..filled + len].copy_from_slice(&frame[..len]);
            filled += len;
            if len < frame.len() {
                self.taken = frame.slice(len..);
            }
        }
        filled
    }
}
