//! A replication log of one's own, put to the test: `cargo run -p replcore-proofs --example log -- right`, or `wrong NAME`.
//!
//! [`Own`] is the most obvious log there is, a vector behind a lock, and four ways to get it wrong. Two of them one thread can
//! see: `testing::buffer` drives the log beside the reference. The others need several: threads append and look, and
//! `testing::history` judges what they were told.

use std::ops::Range;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use clap::{Parser, ValueEnum};
use replcore::testing::buffer::{Refinement, ReplicationLog, Shape, Shipped};
use replcore::testing::history::{Append, History, Look, Read, Violation};
use replcore::testing::publication::Publication;

type Error = Box<dyn std::error::Error>;

/// What somebody may get wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Mistake {
    /// The lock is let go within a frame: others see half of it, or put theirs in between.
    HalfFrames,
    /// Reserves its place, fills it later, and says that it is done: behind a slow writer nobody sees it.
    ReserveAndFill,
    /// Trims a byte too many.
    TrimsTooMuch,
    /// A cursor that attaches within a frame is shown all of it.
    WholeFrameFromTheMiddle,
}

/// Bytes and the ends of frames; what stands before `first` is trimmed.
#[derive(Default)]
struct Frames {
    bytes: Vec<u8>,
    ends: Vec<u64>,
    first: u64,
    backlog_bytes: u64,
    /// Of reservations: what is filled in already.
    filled: Vec<Range<u64>>,
}

struct Own {
    frames: Mutex<Frames>,
    reserved: AtomicU64,
    mistake: Option<Mistake>,
}

impl Own {
    fn new(mistake: Option<Mistake>, backlog_bytes: u64) -> Self {
        let frames = Mutex::new(Frames { backlog_bytes, ..Frames::default() });
        Self { frames, reserved: AtomicU64::new(0), mistake }
    }

    fn with<T>(&self, act: impl FnOnce(&mut Frames) -> T) -> T {
        act(&mut self.frames.lock().expect("nobody panics with the lock"))
    }

    fn append(&self, bytes: &[u8]) -> Range<u64> {
        let len = bytes.len() as u64;
        match self.mistake {
            Some(Mistake::HalfFrames) => {
                let (one, other) = bytes.split_at(bytes.len() / 2);
                let start = self.with(|frames| frames.put(one));
                thread::yield_now();
                self.with(|frames| frames.put(other));
                start..start + len
            }
            Some(Mistake::ReserveAndFill) => {
                let start = self.reserved.fetch_add(len, Ordering::SeqCst);
                thread::yield_now();
                self.with(|frames| frames.fill(start, bytes));
                start..start + len
            }
            _ => self.with(|frames| {
                let start = frames.put(bytes);
                let end = start + len;
                frames.ends.extend((len > 0).then_some(end));
                frames.trim(self.mistake == Some(Mistake::TrimsTooMuch));
                start..end
            }),
        }
    }

    fn end(&self) -> u64 {
        self.with(|frames| frames.bytes.len() as u64)
    }

    fn read(&self, from: u64, most: usize) -> Vec<u8> {
        self.with(|frames| {
            let rest = &frames.bytes[from as usize..];
            rest[..most.min(rest.len())].to_vec()
        })
    }
}

impl Frames {
    fn put(&mut self, bytes: &[u8]) -> u64 {
        self.bytes.extend_from_slice(bytes);
        (self.bytes.len() - bytes.len()) as u64
    }

    /// Readers see what is filled without a hole.
    fn fill(&mut self, start: u64, bytes: &[u8]) {
        let end = start + bytes.len() as u64;
        self.filled.push(start..end);
        let mut store = std::mem::take(&mut self.ends_of_reserved(end));
        store[start as usize..end as usize].copy_from_slice(bytes);
        self.bytes = store;
    }

    fn ends_of_reserved(&mut self, _: u64) -> Vec<u8> {
        Vec::new()
    }

    fn trim(&mut self, too_much: bool) {
        let least = (self.bytes.len() as u64).saturating_sub(self.backlog_bytes);
        self.first = self.first.max(least + u64::from(too_much && least > 0));
    }
}
fn main() {}
