//! A log that reserves, then fills in place: one `fetch_add`, a copy, one release store.
//!
//! This is the cheapest append there is, and it is given every advantage: memory for the whole run
//! is there and touched beforehand, nothing is ever trimmed, reused or bounded. What it cannot do
//! is the reason why the product is built differently: a reader stops at the first frame that is
//! reserved and not yet filled, whoever filled the ones behind it.

use std::cell::UnsafeCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::{Append, Kind, Read, Shape, Stream};

/// The memory: words, so that the frames' headers are aligned.
struct Memory {
    words: Box<[UnsafeCell<u64>]>,
    /// The first word not reserved.
    reserved: AtomicUsize,
}

// SAFETY: a word is written by the one thread that reserved it, before the release store to the
// header of its frame, and read by others after an acquire load of that.
unsafe impl Sync for Memory {}

impl Memory {
    /// The header of the frame at `word`: its length in bytes plus one, or 0 if it is not filled.
    fn header(&self, word: usize) -> &AtomicU64 {
        // SAFETY: a header's word is in bounds and accessed as an atomic only.
        unsafe { AtomicU64::from_ptr(self.words[word].get()) }
    }

    fn payload(&self, word: usize) -> *mut u8 {
        self.words[word + 1].get().cast()
    }
}

fn words(frame_bytes: usize) -> usize {
    1 + frame_bytes.div_ceil(size_of::<u64>())
}

/// The log.
pub struct ReserveAndFill(Arc<Memory>);

impl Stream for ReserveAndFill {
    const NAME: &'static str = "reserve-and-fill";
    const KIND: Kind = Kind::Floor;
    const KEEPS_UNREAD: bool = true;
    type Writer<'s> = FillWriter;
    type Reader = FillReader;

    fn open(shape: &Shape) -> (Self, Vec<FillReader>) {
        let count = shape.frames * words(shape.frame_bytes) + 1;
        let mut zeroed = vec![1_u64; count];
        // Touched by the ones, and now as it has to be.
        zeroed.fill(0);
        let words = zeroed.into_iter().map(UnsafeCell::new).collect();
        let memory = Arc::new(Memory { words, reserved: AtomicUsize::new(0) });
        let reader = |_| FillReader { memory: Arc::clone(&memory), word: 0, skip: 0 };
        let readers = (0..shape.readers).map(reader).collect();
        (Self(memory), readers)
    }

    fn writer(&self) -> FillWriter {
        FillWriter { memory: Arc::clone(&self.0), watermark: 0 }
    }
}

pub struct FillWriter {
    memory: Arc<Memory>,
    /// Everything before this word is filled, as far as this writer has looked.
    watermark: usize,
}

impl Append for FillWriter {
    fn append(&mut self, frame: &[u8]) -> u64 {
        let len = words(frame.len());
        // Reserves nothing but the place; the header's store below publishes.
        let word = self.memory.reserved.fetch_add(len, Ordering::Relaxed);
        assert!(word + len < self.memory.words.len(), "the log is as large as the run");
        // SAFETY: these words are reserved by this call, and in bounds.
        unsafe { self.memory.payload(word).copy_from_nonoverlapping(frame.as_ptr(), frame.len()) };
        // Release: the payload, for a reader's acquire load.
        self.memory.header(word).store(frame.len() as u64 + 1, Ordering::Release);
        (word + len) as u64
    }

    fn is_readable(&mut self, position: u64) -> bool {
        while (self.watermark as u64) < position {
            match self.memory.header(self.watermark).load(Ordering::Acquire) {
                0 => return false,
                len => self.watermark += words(len as usize - 1),
            }
        }
        true
    }
}

pub struct FillReader {
    memory: Arc<Memory>,
    word: usize,
    skip: usize,
}

impl Read for FillReader {
    fn read(&mut self, target: &mut [u8]) -> usize {
        let mut filled = 0;
        while filled < target.len() {
            // Acquire: the payload, from the writer's release store.
            let frame_bytes = match self.memory.header(self.word).load(Ordering::Acquire) {
                0 => break,
                len => len as usize - 1,
            };
            let len = (frame_bytes - self.skip).min(target.len() - filled);
            // SAFETY: the header says that these bytes are filled; they are never written again.
            let from =
                unsafe { std::slice::from_raw_parts(self.memory.payload(self.word).add(self.skip), len) };
            target[filled..filled + len].copy_from_slice(from);
            filled += len;
            self.skip += len;
            if self.skip == frame_bytes {
                self.word += words(frame_bytes);
                self.skip = 0;
            }
        }
        filled
    }
}
