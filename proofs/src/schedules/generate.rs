//! Programs at random, from a generator of numbers or from a fuzzer's bytes.

use rand::RngExt;
use rand::rngs::SmallRng;

use super::program::{Frame, From, Operation, Program, Settings};

/// How large programs are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Threads, at most.
    pub threads: usize,
    /// Operations in all, at most.
    pub operations: usize,
}

/// Gives numbers.
pub trait Source {
    /// A number below `limit`, which is not 0.
    fn below(&mut self, limit: usize) -> usize;
}

impl Source for SmallRng {
    fn below(&mut self, limit: usize) -> usize {
        self.random_range(0..limit)
    }
}

/// Bytes, and zeros after them.
#[derive(Debug)]
pub struct ByteSource<'a> {
    bytes: &'a [u8],
}

impl<'a> ByteSource<'a> {
    /// All of `bytes`.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// What is left.
    #[must_use]
    pub fn rest(self) -> &'a [u8] {
        self.bytes
    }
}

impl Source for ByteSource<'_> {
    fn below(&mut self, limit: usize) -> usize {
        let Some((first, rest)) = self.bytes.split_first() else { return 0 };
        self.bytes = rest;
        usize::from(*first) % limit
    }
}

/// What a thread is there for: threads that do a bit of everything rarely get far with anything.
#[derive(Clone, Copy)]
enum Role {
    Writer,
    Reader,
    Keeper,
    Anything,
}

/// A program.
pub fn program(source: &mut impl Source, size: Size) -> Program {
    let settings = settings(source);
    let threads = 2 + source.below(size.threads.max(2) - 1);
    // Small programs are run far more often, large ones reach further.
    let scale = [8, 4, 2, 1][source.below(4)];
    let each = (size.operations / threads / scale).max(1);
    let roles = [Role::Writer, Role::Reader, Role::Writer, Role::Reader, Role::Keeper, Role::Anything];
    let threads = (0..threads)
        .map(|thread| {
            // The first two make for something to see.
            let role = if thread < 2 { roles[thread] } else { roles[source.below(roles.len())] };
            let operations = 1 + source.below(each);
            (0..operations).map(|_| operation(source, role)).collect()
        })
        .collect();
    Program { settings, threads }
}

fn settings(source: &mut impl Source) -> Settings {
    Settings {
        segment_frames: 1 + source.below(3),
        segment_bytes: [1 << 20, 12][source.below(2)],
        segment_blocks: 1 + source.below(4),
        backlog_bytes: [0, 1 << 20, 5, 20][source.below(4)],
        pooled: source.below(3),
        eras: source.below(8) == 1,
        base_offset: [0, 100][source.below(2)],
    }
}

fn operation(source: &mut impl Source, role: Role) -> Operation {
    let role = match role {
        Role::Anything => [Role::Writer, Role::Reader, Role::Keeper][source.below(3)],
        role => role,
    };
    match role {
        Role::Writer | Role::Anything => match source.below(16) {
            0..8 => append(source),
            8..11 => Operation::AppendPooled(length(source)),
            11 => Operation::Marker([None, Some(0), Some(1)][source.below(3)]),
            12 | 13 => Operation::DropWriter,
            14 => Operation::Seal,
            _ => Operation::Stats,
        },
        Role::Reader => match source.below(16) {
            0..3 => Operation::Attach(place(source)),
            3..6 => Operation::Read(None),
            6 | 7 => Operation::Read(Some(1 + source.below(8) as u8)),
            8 | 9 => Operation::ReadFrames(1 + source.below(3) as u8),
            10..15 => Operation::Poll,
            _ => Operation::DropCursor,
        },
        Role::Keeper => match source.below(16) {
            0..4 => Operation::SetBacklog([0, 3, 12, 200][source.below(4)]),
            4..7 => Operation::SetLimits(
                [0, 6, 20][source.below(3)],
                [0, 3, 10][source.below(3)],
                [0, 1, 5][source.below(3)],
            ),
            7..12 => Operation::Enforce([0, 1, 6][source.below(3)]),
            12 => Operation::Seal,
            13 | 14 => Operation::Stats,
            _ => Operation::AppendPooled(length(source)),
        },
    }
}

/// Mostly short; now and then more than half a block, which is not staged.
fn length(source: &mut impl Source) -> u8 {
    match source.below(8) {
        7 => 33 + source.below(20) as u8,
        n => 1 + n as u8,
    }
}

fn append(source: &mut impl Source) -> Operation {
    let frames = 1 + source.below(4).saturating_sub(2);
    let frames = (0..frames)
        .map(|_| Frame {
            bytes: length(source),
            select: [None, None, Some(0), Some(1)][source.below(4)],
            shared: source.below(8) == 1,
        })
        .collect();
    Operation::Append(frames)
}

fn place(source: &mut impl Source) -> From {
    match source.below(8) {
        0..3 => From::First,
        3 | 4 => From::End,
        5 | 6 => From::Behind(source.below(24) as u8),
        _ => From::Beyond(1 + source.below(3) as u8),
    }
}
