//! Random operations on a log and the reference, and the shortest that tell them apart.

use std::fmt;

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};
use thiserror::Error;

use super::ReplicationLog;
use super::model::{Difference, Model};
use super::recipe::{Element, Payloads, Shape, elements};

/// The backlog that a log begins with.
const BACKLOG_BYTES: u64 = 300;

/// One operation.
#[derive(Clone, Debug)]
pub enum Operation {
    /// A writer of a term appends.
    Append {
        /// Its term.
        term: u64,
        /// What.
        elements: Vec<Element>,
    },
    /// A cursor attaches, at so many 65,536ths of the retained range.
    Attach {
        /// So many.
        part: u16,
    },
    /// A cursor attaches that far outside of the retained range.
    AttachOutside {
        /// Before it, or behind.
        before: bool,
        /// So many bytes.
        by: u64,
    },
    /// One of the cursors reads.
    Read {
        /// Which one, of those there are.
        cursor: usize,
        /// At most so many bytes.
        most: usize,
    },
    /// One of the cursors reads a frame.
    ReadFrame {
        /// Which one.
        cursor: usize,
    },
    /// One of the cursors goes.
    Drop {
        /// Which one.
        cursor: usize,
    },
    /// The backlog has another size.
    SetBacklog {
        /// So many bytes.
        bytes: u64,
    },
    /// A term is sealed.
    Seal {
        /// Which one.
        term: u64,
    },
}

/// What is random in a check, and how much of it.
#[derive(Clone, Copy, Debug)]
pub struct Refinement {
    shape: Shape,
    frames: bool,
    seals: bool,
    sequences: u32,
    longest: usize,
    base_offset: u64,
    seed: u64,
}

impl Refinement {
    /// Sequences with publications of this shape.
    #[must_use]
    pub fn new(shape: Shape) -> Self {
        Self { shape, frames: true, seals: true, sequences: 500, longest: 80, base_offset: 0, seed: 0 }
    }

    /// Whether cursors read frame by frame at times; they do if not said.
    #[must_use]
    pub fn frames(self, frames: bool) -> Self {
        Self { frames, ..self }
    }

    /// Whether terms are sealed; they are if not said.
    #[must_use]
    pub fn seals(self, seals: bool) -> Self {
        Self { seals, ..self }
    }

    /// So many sequences; 500 if not said.
    #[must_use]
    pub fn sequences(self, sequences: u32) -> Self {
        Self { sequences, ..self }
    }

    /// Of at most so many operations; 80 if not said.
    #[must_use]
    pub fn longest(self, longest: usize) -> Self {
        Self { longest: longest.max(1), ..self }
    }

    /// Where the stream begins; at 0 if not said.
    #[must_use]
    pub fn base_offset(self, base_offset: u64) -> Self {
        Self { base_offset, ..self }
    }

    /// Other random choices. The same seed makes the same ones.
    #[must_use]
    pub fn seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    fn operation(&self) -> impl Strategy<Value = Operation> + use<> {
        let cursor = any::<usize>;
        let mut kinds = vec![
            (
                20,
                (1..4_u64, elements(self.shape))
                    .prop_map(|(term, elements)| Operation::Append { term, elements })
                    .boxed(),
            ),
            (4, any::<u16>().prop_map(|part| Operation::Attach { part }).boxed()),
            (
                1,
                (any::<bool>(), prop_oneof![1..3_u64, 1..2000_u64])
                    .prop_map(|(before, by)| Operation::AttachOutside { before, by })
                    .boxed(),
            ),
            (
                12,
                (cursor(), 1..700_usize).prop_map(|(cursor, most)| Operation::Read { cursor, most }).boxed(),
            ),
            (1, cursor().prop_map(|cursor| Operation::Drop { cursor }).boxed()),
            (2, (0..1200_u64).prop_map(|bytes| Operation::SetBacklog { bytes }).boxed()),
        ];
        if self.frames {
            kinds.push((8, cursor().prop_map(|cursor| Operation::ReadFrame { cursor }).boxed()));
        }
        if self.seals {
            kinds.push((1, (0..4_u64).prop_map(|term| Operation::Seal { term }).boxed()));
        }
        proptest::strategy::Union::new_weighted(kinds)
    }

    /// Runs the sequences. `new` makes an empty log that begins at the base offset, with a backlog size.
    ///
    /// # Errors
    /// The first difference, with a short sequence that shows it.
    ///
    /// # Panics
    /// If the log panics.
    pub fn check<L: ReplicationLog>(
        &self,
        new: impl Fn(u64, u64) -> L,
    ) -> Result<(), Box<LogCounterexample>> {
        let config = Config {
            cases: self.sequences,
            failure_persistence: None,
            max_shrink_iters: 50_000,
            ..Config::default()
        };
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&self.seed.to_le_bytes());
        let random = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);
        let operations = prop::collection::vec(self.operation(), 1..=self.longest);
        let run = |operations: &[Operation]| {
            let mut pair = Pair::new(new(self.base_offset, BACKLOG_BYTES), self.base_offset);
            let result = operations.iter().try_for_each(|operation| pair.apply(operation));
            (result.and_then(|()| pair.read_all()), pair.told)
        };
        let result = TestRunner::new_with_rng(config, random)
            .run(&operations, |operations| run(&operations).0.map_err(TestCaseError::from));
        match result {
            Ok(()) => Ok(()),
            Err(TestError::Fail(reason, operations)) => match run(&operations) {
                (Err(difference), told) => Err(Box::new(LogCounterexample { difference, operations: told })),
                (Ok(()), told) => panic!("not deterministic, or it panicked: {reason}; {told:#?}"),
            },
            Err(TestError::Abort(reason)) => unreachable!("nothing is rejected: {reason}"),
        }
    }
}

/// A sequence that tells a log from the reference.
#[derive(Clone, Debug, Error)]
pub struct LogCounterexample {
    /// How they differ.
    pub difference: Difference,
    /// What was done, an operation a line.
    pub operations: Vec<String>,
}

impl fmt::Display for LogCounterexample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "BROKEN  {}", self.difference)?;
        writeln!(f, "  shortest sequence found:")?;
        let mut lines = self.operations.iter().enumerate();
        lines.try_for_each(|(number, line)| writeln!(f, "  {:>3}. {line}", number + 1))
    }
}

struct Reader<C> {
    cursor: C,
    offset: u64,
}

/// Log and reference, side by side.
struct Pair<L: ReplicationLog> {
    log: L,
    model: Model,
    payloads: Payloads,
    readers: Vec<Reader<L::Cursor>>,
    told: Vec<String>,
}

impl<L: ReplicationLog> Pair<L> {
    fn new(log: L, base_offset: u64) -> Self {
        let model = Model::new(base_offset, BACKLOG_BYTES);
        Self { log, model, payloads: Payloads::default(), readers: Vec::new(), told: Vec::new() }
    }

    fn apply(&mut self, operation: &Operation) -> Result<(), Difference> {
        match operation {
            Operation::Append { term, elements } => self.append(*term, elements)?,
            Operation::Attach { part } => {
                let first = self.log.first_offset();
                let span = self.model.end().saturating_sub(first);
                self.attach(first + span * u64::from(*part) / u64::from(u16::MAX))?;
            }
            Operation::AttachOutside { before, by } => {
                let first = self.log.first_offset();
                let end = self.model.end();
                self.attach(if *before { first.saturating_sub(*by) } else { end.saturating_add(*by) })?;
            }
            Operation::Read { cursor, most } => self.read(*cursor, *most)?,
            Operation::ReadFrame { cursor } => self.read_frame(*cursor)?,
            Operation::Drop { cursor } => {
                if let Some(at) = cursor.checked_rem(self.readers.len()) {
                    self.readers.swap_remove(at);
                    self.told.push(format!("cursor {at} goes"));
                }
            }
            Operation::SetBacklog { bytes } => {
                self.told.push(format!("the backlog is to be {bytes} bytes"));
                self.log.set_backlog_bytes(*bytes);
                self.model.set_backlog_bytes(*bytes);
            }
            Operation::Seal { term } => {
                let (told, expected) = (self.log.seal(*term), self.model.seal(*term).ok());
                self.told.push(format!("term {term} is sealed: {told:?}"));
                if told != expected {
                    return Err(Difference::Seal { term: *term, told, expected });
                }
            }
        }
        self.model.expect_bounds(self.log.first_offset(), self.log.end_offset())
    }

    fn append(&mut self, term: u64, elements: &[Element]) -> Result<(), Difference> {
        let publication = self.payloads.publication(elements);
        let told = self.log.append(term, &publication);
        let expected = self.model.append(term, &publication.frames()).ok();
        self.told.push(format!("a writer of term {term} appends {elements:?}: {told:?}"));
        if told == expected { Ok(()) } else { Err(Difference::Append { term, told, expected }) }
    }

    fn attach(&mut self, offset: u64) -> Result<(), Difference> {
        let cursor = self.log.attach(offset);
        let answer = if cursor.is_some() { "attaches" } else { "is refused" };
        self.told.push(format!("cursor {} {answer} at {offset}", self.readers.len()));
        self.model.expect_attach(offset, self.log.first_offset(), cursor.is_some())?;
        self.readers.extend(cursor.map(|cursor| Reader { cursor, offset }));
        Ok(())
    }

    fn read(&mut self, cursor: usize, most: usize) -> Result<(), Difference> {
        let Some(at) = cursor.checked_rem(self.readers.len()) else { return Ok(()) };
        let reader = &mut self.readers[at];
        let (bytes, offset) = (self.log.read(&mut reader.cursor, most), reader.offset);
        reader.offset += bytes.len() as u64;
        self.told.push(format!("cursor {at} reads {} of {most} bytes at {offset}", bytes.len()));
        self.model.expect_bytes(offset, &bytes)?;
        self.expect_progress(offset, !bytes.is_empty())
    }

    fn read_frame(&mut self, cursor: usize) -> Result<(), Difference> {
        let Some(at) = cursor.checked_rem(self.readers.len()) else { return Ok(()) };
        let reader = &mut self.readers[at];
        let (frame, offset) = (self.log.read_frame(&mut reader.cursor), reader.offset);
        let Some((range, rest)) = frame else {
            self.told.push(format!("cursor {at} reads no frame at {offset}"));
            return self.expect_progress(offset, false);
        };
        reader.offset = range.end;
        self.told.push(format!("cursor {at} reads the frame {} to {} at {offset}", range.start, range.end));
        self.model.expect_frame(offset, &range, &rest)
    }

    /// I2: what is appended is there to be read.
    fn expect_progress(&self, offset: u64, has_read: bool) -> Result<(), Difference> {
        let end = self.model.end();
        if has_read || offset == end { Ok(()) } else { Err(Difference::Hidden { offset, end }) }
    }

    /// Every cursor comes to the end.
    fn read_all(&mut self) -> Result<(), Difference> {
        for at in 0..self.readers.len() {
            while self.readers[at].offset < self.model.end() {
                self.read(at, usize::MAX)?;
            }
        }
        Ok(())
    }
}
