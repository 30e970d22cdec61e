//! What is asked for on the command line.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

/// Rounds of each load; the median of so many is reported.
const ROUNDS: usize = 7;

/// The loads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// Append without readers.
    Append,
    /// Append and delivery beside readers.
    Beside,
    /// One reader of what was written before.
    Read,
    /// Append beside a reader, over the lengths of frames: for the curves, so only when they or this are
    /// asked for.
    Lengths,
    /// Visibility with more writers than cores.
    Latency,
    /// The same while one writer after the other stands still in the midst of an append.
    Stopped,
}

#[derive(Debug, Parser)]
pub struct Options {
    /// Some of the loads
    #[arg(long, value_delimiter = ',')]
    only: Vec<Part>,
    /// Some of the lengths of frames
    #[arg(long, value_delimiter = ',')]
    bytes: Vec<usize>,
    #[arg(long)]
    rounds: Option<usize>,
    /// Everything that was measured
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// The tables, between the markers in that file
    #[arg(long, value_name = "FILE")]
    pub markdown: Option<PathBuf>,
    /// Curves over writers, readers and lengths
    #[arg(long, value_name = "DIR")]
    pub svg: Option<PathBuf>,
    /// All of it once, with very little to do
    #[arg(long)]
    quick: bool,
    #[arg(long, hide = true)]
    test: bool,
    // Cargo passes it to a benchmark, and nothing to a test.
    #[arg(long, hide = true)]
    bench: bool,
}

impl Options {
    pub fn from_command_line() -> Self {
        let mut options = Self::parse();
        options.quick |= options.test || !options.bench;
        options
    }

    pub fn rounds(&self) -> usize {
        self.rounds.unwrap_or(if self.quick { 1 } else { ROUNDS })
    }

    /// What is left of a number of frames, or of stops.
    pub fn reduced(&self, number: usize) -> usize {
        if self.quick { number.div_ceil(100) } else { number }
    }

    pub fn wants(&self, part: Part) -> bool {
        let by_default = part != Part::Lengths || self.svg.is_some() || self.quick;
        if self.only.is_empty() { by_default } else { self.only.contains(&part) }
    }

    pub fn wants_bytes(&self, frame_bytes: usize) -> bool {
        self.bytes.is_empty() || self.bytes.contains(&frame_bytes)
    }
}
