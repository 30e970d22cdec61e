//! A replication log of one's own, put to the test: `cargo run -p replcore-proofs --example log -- right`, or
//! `wrong NAME`.
//!
//! [`Own`] is the most obvious log there is, a vector behind a lock, and some ways to get it wrong. Some of
//! them one thread can see: `testing::buffer` drives the log beside the reference. The others take several:
//! threads append and look, and `testing::history` judges what they were told.

use std::collections::BTreeMap;
use std::ops::Range;
use std::process::ExitCode;
use std::sync::Mutex;
use std::thread;

use clap::{Parser, ValueEnum};
use replcore::testing::buffer::{Refinement, ReplicationLog, Shape};
use replcore::testing::history::{Load, Read, record};
use replcore::testing::publication::Publication;

type Error = Box<dyn std::error::Error>;

/// How often threads try to meet in the wrong moment.
const ROUNDS: usize = 50;
const LOAD: Load = Load { writers: 4, appends: 200 };

/// What somebody may get wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Mistake {
    /// The lock is let go within a frame.
    HalfFrames,
    /// Reserves a place, fills it in later, and returns though what stands before it is not filled in yet.
    ReserveAndFill,
    /// Trims a byte too many.
    TrimsTooMuch,
    /// Several frames that are published together are one for the reader.
    OneFrameForAll,
}

#[derive(Default)]
struct Inner {
    bytes: Vec<u8>,
    /// The frames' ends.
    ends: Vec<u64>,
    first: u64,
    backlog_bytes: u64,
    /// What is given away, as far as readers may go, and what is filled in beyond.
    reserved: u64,
    readable: u64,
    filled: BTreeMap<u64, u64>,
}

impl Inner {
    fn put(&mut self, bytes: &[u8]) -> Range<u64> {
        let start = self.reserve(bytes.len());
        self.fill(start, bytes);
        start..self.reserved
    }

    fn reserve(&mut self, len: usize) -> u64 {
        let start = self.reserved;
        self.reserved += len as u64;
        start
    }

    fn fill(&mut self, start: u64, bytes: &[u8]) {
        let (from, end) = (start as usize, start + bytes.len() as u64);
        self.bytes.resize(self.bytes.len().max(end as usize), 0);
        self.bytes[from..end as usize].copy_from_slice(bytes);
        self.filled.insert(start, end);
        while let Some(end) = self.filled.remove(&self.readable) {
            self.readable = end;
        }
    }
}

/// A vector behind a lock.
struct Own {
    inner: Mutex<Inner>,
    mistake: Option<Mistake>,
}

impl Own {
    fn new(mistake: Option<Mistake>, backlog_bytes: u64) -> Self {
        Self { inner: Mutex::new(Inner { backlog_bytes, ..Inner::default() }), mistake }
    }

    fn with<T>(&self, act: impl FnOnce(&mut Inner) -> T) -> T {
        act(&mut self.inner.lock().expect("nobody panics with the lock"))
    }

    /// Appends a frame, as many threads may.
    fn append(&self, frame: &[u8]) -> Range<u64> {
        match self.mistake {
            Some(Mistake::HalfFrames) => {
                let (one, other) = frame.split_at(frame.len() / 2);
                let start = self.with(|inner| inner.put(one).start);
                thread::yield_now();
                self.with(|inner| inner.put(other));
                start..start + frame.len() as u64
            }
            Some(Mistake::ReserveAndFill) => {
                let start = self.with(|inner| inner.reserve(frame.len()));
                thread::yield_now();
                self.with(|inner| inner.fill(start, frame));
                start..start + frame.len() as u64
            }
            _ => self.with(|inner| inner.put(frame)),
        }
    }

    fn end(&self) -> u64 {
        self.with(|inner| inner.readable)
    }
}

/// As one thread uses it.
impl ReplicationLog for Own {
    type Cursor = u64;

    fn append(&mut self, _: u64, publication: &Publication) -> Option<Range<u64>> {
        let start = self.end();
        let mut frames = publication.frames();
        frames.retain(|frame| !frame.before.is_empty());
        for (number, frame) in frames.iter().enumerate() {
            let end = Own::append(self, &frame.before).end;
            let is_bound = self.mistake != Some(Mistake::OneFrameForAll) || number + 1 == frames.len();
            self.with(|inner| inner.ends.extend(is_bound.then_some(end)));
        }
        self.set_backlog_bytes(self.with(|inner| inner.backlog_bytes));
        Some(start..self.end())
    }

    fn attach(&mut self, offset: u64) -> Option<u64> {
        (self.first_offset()..=self.end_offset()).contains(&offset).then_some(offset)
    }

    fn read(&mut self, cursor: &mut u64, most: usize) -> Vec<u8> {
        let read = self.with(|inner| {
            let rest = &inner.bytes[*cursor as usize..inner.readable as usize];
            rest[..most.min(rest.len())].to_vec()
        });
        *cursor += read.len() as u64;
        read
    }

    fn read_frame(&mut self, cursor: &mut u64) -> Option<(Range<u64>, Vec<u8>)> {
        let (start, end) = self.with(|inner| {
            let next = inner.ends.partition_point(|end| end <= cursor);
            let start = next.checked_sub(1).map_or(0, |before| inner.ends[before]);
            Some((start, *inner.ends.get(next)?))
        })?;
        let rest = self.read(cursor, (end - *cursor) as usize);
        Some((start..end, rest))
    }

    fn set_backlog_bytes(&mut self, bytes: u64) {
        let too_many = u64::from(self.mistake == Some(Mistake::TrimsTooMuch));
        self.with(|inner| {
            inner.backlog_bytes = bytes;
            let least = inner.readable.saturating_sub(bytes);
            inner.first = inner.first.max(if least > 0 { least + too_many } else { 0 });
        });
    }

    fn first_offset(&self) -> u64 {
        self.with(|inner| inner.first)
    }

    fn end_offset(&self) -> u64 {
        self.end()
    }
}

/// In one thread, beside the reference; then in several, judged afterwards.
fn check(mistake: Option<Mistake>) -> Result<(), Error> {
    let shape = Shape { batches: true, contexts: false };
    Refinement::new(shape).seals(false).check(|_, backlog_bytes| Own::new(mistake, backlog_bytes))?;
    for _ in 0..ROUNDS {
        let mut log = Own::new(mistake, u64::MAX);
        let mut history = record(0, LOAD, |_, frame| log.append(frame), || log.end());
        let bytes = log.read(&mut 0, usize::MAX);
        history.reads.push(Read { reader: 0, from: 0, bytes, frames: None, to_end: true });
        history.judge()?;
    }
    Ok(())
}

/// Puts a small log to the test.
#[derive(Parser)]
enum Arguments {
    /// The log as it should be.
    Right,
    /// The log with a mistake in it.
    Wrong {
        /// Which one.
        #[arg(default_value = "half-frames")]
        mistake: Mistake,
    },
}

fn main() -> ExitCode {
    let mistake = match Arguments::parse() {
        Arguments::Right => None,
        Arguments::Wrong { mistake } => Some(mistake),
    };
    match check(mistake) {
        Ok(()) => {
            println!("nothing found");
            ExitCode::SUCCESS
        }
        Err(fault) => {
            println!("{}", fault.to_string().trim_end());
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Mistake, ValueEnum, check};

    #[test]
    fn the_right_log_is_right() {
        check(None).unwrap_or_else(|fault| panic!("{fault}"));
    }

    #[test]
    fn every_mistake_is_found_by_the_name_of_what_it_breaks() {
        for mistake in Mistake::value_variants() {
            let names: &[&str] = match mistake {
                Mistake::HalfFrames => &["I1 gapless", "I2 prefix", "I5 integrity"],
                Mistake::ReserveAndFill => &["I4 linearizable"],
                Mistake::TrimsTooMuch => &["I7 retention"],
                Mistake::OneFrameForAll => &["I3 one order"],
            };
            let fault = check(Some(*mistake)).expect_err("it is wrong").to_string();
            assert!(
                names.iter().any(|name| fault.contains(name)),
                "{mistake:?} should break {names:?}: {fault}"
            );
        }
    }
}
