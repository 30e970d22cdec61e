//! The buffer does what the sequential reference does: both are driven by the same random
//! operations, and have to agree after each of them.
//!
//! What has to agree: end, frame count and seal (I1, I10), which offsets can be attached (I7), every
//! byte and every frame boundary that a cursor shows, in whatever portions it is read (I3, I5),
//! which cursors may and which have to be evicted, that a waiting cursor is woken (I9), how much is
//! retained (I11), and that everything is released in the end (I6).
//!
//! The publications, the model and what it compares are the library's ([`replcore::testing::buffer`]); what
//! is here is what only this buffer has: limits, evictions, wake-ups, ways to read, refusals, memory.
//!
//! One thread, so every answer is determined. Capacities are so small that a few frames cross
//! blocks and segments. `PROPTEST_CASES` sets the number of sequences.
#![cfg(not(replcore_loom))]

use std::io::IoSlice;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use bytes::{Buf, Bytes};
use proptest::prelude::*;
use proptest::test_runner::{Config, FileFailurePersistence, TestCaseError};
use replcore::buffer::reference::{ReferenceFrame, Refusal};
use replcore::buffer::{
    AppendError, AttachError, Cursor, CursorError, CursorLimits, MAX_OFFSET, ReplicationBuffer, SealError,
    Writer,
};
use replcore::testing::buffer::{Element, Model, Payloads, Shape, elements};
use replcore::testing::publication::{Part, Publication};

/// Sequences by default: about 20 s in a debug build.
const DEFAULT_CASES: u32 = 1200;
const MAX_OPS: usize = 150;
const WRITERS: usize = 4;
/// Offsets attached and read to the end when a sequence is over, beside first and end.
const FINAL_ATTACHES: u64 = 24;

type Checked<T = ()> = Result<T, TestCaseError>;

#[derive(Clone, Debug)]
struct Setup {
    base_offset: u64,
    offsets: u64,
    block_bytes: usize,
    segment_blocks: usize,
    segment_frames: usize,
    segment_bytes: u64,
    pooled: usize,
    backlog_bytes: u64,
    max_frame_bytes: u64,
    max_cursors: usize,
    max_unreclaimed_bytes: u64,
    limits: CursorLimits,
}

#[derive(Clone, Copy, Debug)]
enum Portion {
    Chunk,
    Vectored { slices: usize },
    Frame,
    PeekFrame,
    Copy,
    Refresh,
}

#[derive(Clone, Debug)]
enum Op {
    Publish {
        writer: usize,
        elements: Vec<Element>,
    },
    PublishPooled {
        elements: Vec<Element>,
    },
    Markers {
        writer: usize,
        count: usize,
    },
    Abandon {
        writer: usize,
        elements: Vec<Element>,
    },
    NewWriter {
        writer: usize,
        term: Option<u64>,
    },
    DropWriter {
        writer: usize,
    },
    /// At so many 65,536ths of the retained range.
    Attach {
        part: u16,
    },
    /// So many bytes before the first offset, or behind the end.
    AttachOutside {
        before: bool,
        by: u64,
    },
    AttachAtEnd,
    Read {
        cursor: usize,
        portion: Portion,
        amount: usize,
    },
    Poll {
        cursor: usize,
    },
    DropCursor {
        cursor: usize,
    },
    SetBacklog(u64),
    SetLimits(CursorLimits),
    Enforce,
    Seal {
        term: u64,
    },
    BeginTerm {
        term: u64,
    },
}

/// Everything that this buffer takes.
const SHAPE: Shape = Shape { batches: true, contexts: true };

fn limits() -> impl Strategy<Value = CursorLimits> {
    let soft_ms = prop_oneof![Just(0_u64), Just(3_600_000)];
    (prop_oneof![Just(0_u64), 1..1500_u64], prop_oneof![3 => Just(0_u64), 1 => 1..800_u64], soft_ms)
        .prop_map(|(hard_bytes, soft_bytes, soft_ms)| CursorLimits { hard_bytes, soft_bytes, soft_ms })
}

fn portion() -> impl Strategy<Value = Portion> {
    prop_oneof![
        Just(Portion::Chunk),
        (1..40_usize).prop_map(|slices| Portion::Vectored { slices }),
        Just(Portion::Frame),
        Just(Portion::PeekFrame),
        Just(Portion::Copy),
        Just(Portion::Refresh),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let writer = 0..WRITERS;
    let cursor = any::<usize>();
    prop_oneof![
        20 => (writer.clone(), elements(SHAPE)).prop_map(|(writer, elements)| Op::Publish { writer, elements }),
        6 => elements(SHAPE).prop_map(|elements| Op::PublishPooled { elements }),
        1 => (writer.clone(), 1..60_usize).prop_map(|(writer, count)| Op::Markers { writer, count }),
        1 => (writer.clone(), elements(SHAPE)).prop_map(|(writer, elements)| Op::Abandon { writer, elements }),
        2 => (writer.clone(), proptest::option::of(1..6_u64))
            .prop_map(|(writer, term)| Op::NewWriter { writer, term }),
        1 => writer.prop_map(|writer| Op::DropWriter { writer }),
        4 => any::<u16>().prop_map(|part| Op::Attach { part }),
        1 => (any::<bool>(), prop_oneof![1..3_u64, 1..2000_u64, Just(u64::MAX)])
            .prop_map(|(before, by)| Op::AttachOutside { before, by }),
        2 => Just(Op::AttachAtEnd),
        16 => (cursor, portion(), 0..700_usize)
            .prop_map(|(cursor, portion, amount)| Op::Read { cursor, portion, amount }),
        4 => any::<usize>().prop_map(|cursor| Op::Poll { cursor }),
        2 => any::<usize>().prop_map(|cursor| Op::DropCursor { cursor }),
        2 => (0..1200_u64).prop_map(Op::SetBacklog),
        1 => limits().prop_map(Op::SetLimits),
        2 => Just(Op::Enforce),
        1 => (0..6_u64).prop_map(|term| Op::Seal { term }),
        1 => (0..6_u64).prop_map(|term| Op::BeginTerm { term }),
    ]
}

fn setup() -> impl Strategy<Value = Setup> {
    let stream = (
        prop_oneof![Just(0_u64), 1..5000_u64, Just(MAX_OFFSET - 20_000)],
        prop_oneof![9 => Just(20_000_u64), 1 => 0..2000_u64],
        prop_oneof![3 => Just(1_u64 << 20), 1 => 100..900_u64],
    );
    let memory = (64..=256_usize, 1..=8_usize, 1..=5_usize, 50..=300_u64, 0..=2_usize);
    let limits = (0..900_u64, 1..=8_usize, 0..3000_u64, limits());
    (stream, memory, limits).prop_map(|(stream, memory, limits)| Setup {
        base_offset: stream.0,
        offsets: stream.1,
        max_frame_bytes: stream.2,
        block_bytes: memory.0,
        segment_blocks: memory.1,
        segment_frames: memory.2,
        segment_bytes: memory.3,
        pooled: memory.4,
        backlog_bytes: limits.0,
        max_cursors: limits.1,
        max_unreclaimed_bytes: limits.2,
        limits: limits.3,
    })
}

#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// A cursor, and what the reference knows of it.
struct Reader {
    cursor: Cursor,
    offset: u64,
    /// It has been over a limit at some time, so it may be evicted.
    may_evict: bool,
    evicted: bool,
    wakes: Arc<Wakes>,
    /// The wake-ups it had seen when it began to wait.
    waiting: Option<usize>,
}

/// What a deliberate difference between buffer and reference does, to see it noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sabotage {
    FlipByte,
    LoseBoundary,
    ForgetContext,
    ExpectMoreRetained,
}

struct Harness {
    buffer: ReplicationBuffer,
    model: Model,
    setup: Setup,
    max_offset: u64,
    writers: Vec<Option<Writer>>,
    readers: Vec<Reader>,
    payloads: Payloads,
    term: u64,
    sealed_term: u64,
    backlog_bytes: u64,
    limits: CursorLimits,
    longest_record: u64,
    sabotage: Option<Sabotage>,
}

impl Harness {
    fn new(setup: &Setup, sabotage: Option<Sabotage>) -> Self {
        let max_offset = setup.base_offset.saturating_add(setup.offsets).min(MAX_OFFSET);
        let buffer = ReplicationBuffer::builder()
            .base_offset(setup.base_offset)
            .max_offset(max_offset)
            .block_bytes(setup.block_bytes)
            .segment_frames(setup.segment_frames)
            .segment_bytes(setup.segment_bytes)
            .segment_blocks(setup.segment_blocks)
            .segment_contexts(setup.segment_blocks)
            .pooled_frame_bytes(setup.pooled as u64 * 1000)
            .pooled_blocks(setup.pooled)
            .pooled_segments(setup.pooled)
            .pooled_writers(setup.pooled)
            .backlog_bytes(setup.backlog_bytes)
            .max_frame_bytes(setup.max_frame_bytes)
            .max_cursors(setup.max_cursors)
            .max_unreclaimed_bytes(setup.max_unreclaimed_bytes)
            .cursor_limits(setup.limits)
            .build()
            .expect("the strategy keeps to the bounds");
        Self {
            writers: (0..WRITERS).map(|_| Some(buffer.writer())).collect(),
            buffer,
            model: Model::new(setup.base_offset, setup.backlog_bytes),
            max_offset,
            readers: Vec::new(),
            payloads: Payloads::default(),
            term: 1,
            sealed_term: 0,
            backlog_bytes: setup.backlog_bytes,
            limits: setup.limits,
            longest_record: 0,
            setup: setup.clone(),
            sabotage,
        }
    }

    /// The publication as the reference takes it, but for a sabotage.
    fn frames(&self, publication: &Publication) -> Vec<ReferenceFrame> {
        let mut publication = publication.clone();
        if self.sabotage == Some(Sabotage::LoseBoundary) {
            publication.parts.retain(|part| *part != Part::EndFrame);
        }
        let mut frames = publication.frames();
        if let Some(frame) = frames.last_mut() {
            match (self.sabotage, frame.before.last_mut()) {
                (Some(Sabotage::FlipByte), Some(byte)) => *byte ^= 1,
                (Some(Sabotage::ForgetContext), _) => frame.leaves = Some(None),
                _ => {}
            }
        }
        frames
    }

    /// What the reference says to a publication of a writer of `term`.
    fn expected(&mut self, term: u64, publication: &Publication) -> Result<Range<u64>, AppendError> {
        let counted = publication.counted_bytes();
        let limit_bytes = self.setup.max_frame_bytes;
        if counted > limit_bytes {
            return Err(AppendError::FrameTooLarge { bytes: counted, limit_bytes });
        }
        let frames = self.frames(publication);
        let before = self.model.clone();
        match self.model.append(term, &frames) {
            Ok(range) if range.end <= self.max_offset => {
                self.longest_record = self.longest_record.max(range.end - range.start);
                Ok(range)
            }
            Ok(range) => {
                self.model = before;
                Err(AppendError::OffsetsExhausted {
                    offset: range.start,
                    bytes: range.end - range.start,
                    max_offset: self.max_offset,
                })
            }
            Err(Refusal::Fenced | Refusal::NotRetained) => {
                Err(AppendError::Fenced { term, sealed_term: self.sealed_term })
            }
        }
    }

    fn publish(&mut self, writer: Option<usize>, elements: &[Element]) -> Checked {
        let publication = self.payloads.publication(elements);
        let (term, published) = match writer {
            None => {
                let published = match &publication.parts[..] {
                    [Part::Copied(bytes)] => self.buffer.append(bytes),
                    _ => self.buffer.append_with(|frame| publication.stage(frame)),
                };
                (self.term, published)
            }
            Some(writer) => {
                let Some(writer) = &mut self.writers[writer] else { return Ok(()) };
                (writer.term(), publish_by(writer, &publication))
            }
        };
        let expected = self.expected(term, &publication);
        prop_assert_eq!(&published, &expected);
        // A marker shows nothing, so it wakes nobody for sure.
        if published.is_ok_and(|range| !range.is_empty()) {
            self.expect_wakes()?;
        }
        Ok(())
    }

    /// I9: whoever waited when something was published has been woken.
    fn expect_wakes(&mut self) -> Checked {
        for reader in &mut self.readers {
            if let Some(seen) = reader.waiting.take() {
                prop_assert!(
                    reader.wakes.0.load(Ordering::SeqCst) > seen,
                    "I9: a waiting cursor was not woken"
                );
            }
        }
        Ok(())
    }

    fn attach(&mut self, offset: Option<u64>) -> Checked {
        let (first, end) = (self.buffer.first_offset(), self.model.end());
        let attached = match offset {
            Some(offset) => self.buffer.attach(offset),
            None => self.buffer.attach_at_end(),
        };
        let offset = offset.unwrap_or(end);
        match attached {
            _ if self.readers.len() == self.setup.max_cursors => {
                let limit = self.setup.max_cursors;
                prop_assert_eq!(attached.map(|_| ()), Err(AttachError::TooManyCursors { limit }));
            }
            Ok(cursor) => {
                prop_assert!(
                    (first..=end).contains(&offset),
                    "I7: attached {offset} outside {first}..={end}"
                );
                prop_assert_eq!(cursor.offset(), offset);
                self.readers.push(Reader {
                    cursor,
                    offset,
                    may_evict: false,
                    evicted: false,
                    wakes: Arc::default(),
                    waiting: None,
                });
            }
            Err(error) => {
                prop_assert!(!(first..=end).contains(&offset), "I7: refused {offset} within {first}..={end}");
                prop_assert_eq!(error, AttachError::OffsetNotRetained { requested: offset, first, end });
            }
        }
        Ok(())
    }

    fn read(&mut self, cursor: usize, portion: Portion, amount: usize) -> Checked {
        let Some(at) = cursor.checked_rem(self.readers.len()) else { return Ok(()) };
        let (reader, model) = (&mut self.readers[at], &self.model);
        reader.refresh(model)?;
        match portion {
            Portion::Refresh => Ok(()),
            Portion::Chunk => {
                let chunk = reader.cursor.chunk();
                prop_assert_eq!(chunk.is_empty(), !reader.cursor.has_remaining());
                model.expect_bytes(reader.offset, chunk)?;
                let taken = chunk.len().min(amount);
                reader.advance(taken)
            }
            Portion::Vectored { slices } => {
                let mut filled = vec![IoSlice::new(&[]); slices];
                let count = reader.cursor.chunks_vectored(&mut filled);
                let bytes: Vec<u8> = filled[..count].iter().flat_map(|slice| slice.to_vec()).collect();
                prop_assert!(count == slices || bytes.len() == reader.cursor.remaining());
                prop_assert!(filled[..count].iter().all(|slice| !slice.is_empty()));
                model.expect_bytes(reader.offset, &bytes)?;
                reader.advance(bytes.len().min(amount))
            }
            Portion::Copy => {
                let mut bytes = vec![0; amount.min(reader.cursor.remaining())];
                reader.cursor.copy_to_slice(&mut bytes);
                model.expect_bytes(reader.offset, &bytes)?;
                reader.offset += bytes.len() as u64;
                Ok(())
            }
            Portion::PeekFrame => {
                let Some(frame) = reader.cursor.peek_frame() else {
                    prop_assert!(!reader.cursor.has_remaining());
                    return Ok(());
                };
                let range = frame.range();
                let bytes = frame.chunks().collect::<Vec<_>>().concat();
                prop_assert_eq!(frame.len() as u64, frame.range().end - reader.offset);
                prop_assert_eq!(bytes.len(), frame.len());
                model.expect_frame(reader.offset, &range, &bytes)?;
                // Into the middle of the frame.
                reader.advance(bytes.len().min(amount))
            }
            Portion::Frame => {
                let visible = reader.cursor.has_remaining();
                let Some((range, bytes)) = reader.cursor.next_frame() else {
                    prop_assert!(!visible);
                    return Ok(());
                };
                model.expect_frame(reader.offset, &range, &bytes)?;
                prop_assert_eq!(reader.offset + bytes.len() as u64, range.end);
                reader.offset = range.end;
                Ok(())
            }
        }
    }

    fn poll(&mut self, cursor: usize) -> Checked {
        let Some(at) = cursor.checked_rem(self.readers.len()) else { return Ok(()) };
        let end = self.model.end();
        let reader = &mut self.readers[at];
        let waker = Waker::from(Arc::clone(&reader.wakes));
        let seen = reader.wakes.0.load(Ordering::SeqCst);
        match reader.cursor.poll_readable(&mut Context::from_waker(&waker)) {
            Poll::Ready(Ok(())) => prop_assert!(reader.cursor.has_remaining()),
            Poll::Ready(Err(error)) => reader.is_evicted(&error, end)?,
            Poll::Pending => {
                prop_assert_eq!(reader.offset, end, "it waits although there is something to read");
                reader.waiting = Some(seen);
            }
        }
        Ok(())
    }

    fn enforce(&mut self) -> Checked {
        let before = self.buffer.stats();
        let evicted = self.buffer.enforce_limits() as u64;
        let stats = self.buffer.stats();
        prop_assert_eq!(stats.evictions - before.evictions, evicted);
        prop_assert_eq!(before.cursors - stats.cursors, evicted);
        let hard_bytes = self.hard_bytes();
        let end = self.model.end();
        for reader in &mut self.readers {
            if hard_bytes.is_some_and(|hard_bytes| end - reader.offset > hard_bytes) {
                reader.may_evict = true;
                reader.refresh(&self.model)?;
                prop_assert!(reader.evicted, "I11: over the hard limit and not evicted");
            }
        }
        // A soft limit without time is due at the second look.
        if self.limits.soft_bytes > 0 && self.limits.soft_ms == 0 {
            for reader in &mut self.readers {
                reader.may_evict |= end - reader.offset > self.limits.soft_bytes;
            }
            self.buffer.enforce_limits();
            for reader in &mut self.readers {
                if end - reader.offset > self.limits.soft_bytes {
                    reader.refresh(&self.model)?;
                    prop_assert!(reader.evicted, "I11: over the soft limit, twice, and not evicted");
                }
            }
        }
        Ok(())
    }

    /// The hard limit in force: at least what the backlog retains.
    fn hard_bytes(&self) -> Option<u64> {
        let retained = self.model.end().saturating_sub(self.buffer.first_offset());
        (self.limits.hard_bytes > 0).then(|| self.limits.hard_bytes.max(retained))
    }

    fn seal(&mut self, term: u64) -> Checked {
        let sealed = self.buffer.seal(term);
        match self.model.seal(term) {
            Ok(offset) => {
                prop_assert_eq!(sealed, Ok(offset));
                self.sealed_term = term;
                self.expect_wakes()?;
            }
            Err(_) => {
                let sealed_term = self.sealed_term;
                prop_assert_eq!(sealed, Err(SealError::AlreadySealed { term, sealed_term }));
            }
        }
        Ok(())
    }

    fn apply(&mut self, op: &Op) -> Checked {
        match op {
            Op::Publish { writer, elements } => self.publish(Some(*writer), elements)?,
            Op::PublishPooled { elements } => self.publish(None, elements)?,
            Op::Markers { writer, count } => {
                for _ in 0..*count {
                    self.publish(Some(*writer), &[])?;
                }
            }
            Op::Abandon { writer, elements } => {
                let publication = self.payloads.publication(elements);
                if let Some(writer) = &mut self.writers[*writer] {
                    publication.stage(&mut writer.frame());
                }
            }
            Op::NewWriter { writer, term } => {
                let term = term.unwrap_or(self.term);
                let fresh =
                    if term == self.term { self.buffer.writer() } else { self.buffer.writer_of_term(term) };
                prop_assert_eq!(fresh.term(), term);
                self.writers[*writer] = Some(fresh);
            }
            Op::DropWriter { writer } => self.writers[*writer] = None,
            Op::Attach { part } => {
                let first = self.buffer.first_offset();
                let span = self.model.end() - first;
                self.attach(Some(first + span * u64::from(*part) / u64::from(u16::MAX)))?;
            }
            Op::AttachOutside { before, by } => {
                let first = self.buffer.first_offset();
                let offset =
                    if *before { first.saturating_sub(*by) } else { self.model.end().saturating_add(*by) };
                self.attach(Some(offset))?;
            }
            Op::AttachAtEnd => self.attach(None)?,
            Op::Read { cursor, portion, amount } => self.read(*cursor, *portion, *amount)?,
            Op::Poll { cursor } => self.poll(*cursor)?,
            Op::DropCursor { cursor } => {
                if let Some(at) = cursor.checked_rem(self.readers.len()) {
                    self.readers.swap_remove(at);
                }
            }
            Op::SetBacklog(bytes) => {
                self.backlog_bytes = *bytes;
                self.buffer.set_backlog_bytes(*bytes);
                self.model.set_backlog_bytes(*bytes);
            }
            Op::SetLimits(limits) => {
                self.limits = *limits;
                self.buffer.set_cursor_limits(*limits);
            }
            Op::Enforce => self.enforce()?,
            Op::Seal { term } => self.seal(*term)?,
            Op::BeginTerm { term } => {
                self.buffer.begin_term(*term);
                self.term = self.term.max(*term);
            }
        }
        self.check()
    }

    /// What holds after every operation.
    fn check(&mut self) -> Checked {
        let stats = self.buffer.stats();
        let (first, end) = (stats.first_offset, self.model.end());
        prop_assert!(stats.publications > 0 || self.model.reference().frames().is_empty());
        prop_assert_eq!(stats.sealed_term, self.sealed_term, "I10");
        prop_assert_eq!(self.buffer.term(), self.term);
        prop_assert_eq!(self.buffer.backlog_bytes(), self.backlog_bytes);
        let (hard_bytes, soft) = (self.hard_bytes(), self.limits);
        for reader in &mut self.readers {
            let lag_bytes = end - reader.offset;
            prop_assert_eq!(reader.cursor.offset(), reader.offset, "I3");
            prop_assert_eq!(reader.cursor.lag_bytes(), lag_bytes);
            reader.may_evict |= hard_bytes.is_some_and(|hard_bytes| lag_bytes > hard_bytes);
            reader.may_evict |= soft.soft_bytes > 0 && soft.soft_ms == 0 && lag_bytes > soft.soft_bytes;
        }
        let sabotaged = u64::from(self.sabotage == Some(Sabotage::ExpectMoreRetained)) << 20;
        self.model.expect_bounds(first + sabotaged, stats.end_offset)?;
        // I11: a segment more at either end than what has to be kept.
        let segment_bytes = self.setup.segment_bytes - 1 + self.longest_record;
        let backlog = self.backlog_bytes + 2 * segment_bytes;
        prop_assert!(end - first <= backlog, "I11: {} bytes for a backlog of {backlog}", end - first);
        let live = self.readers.iter().filter(|reader| !reader.evicted);
        let slowest = live.map(|reader| end - reader.offset + segment_bytes).max().unwrap_or(0);
        let bound = backlog.max(slowest);
        prop_assert!(
            stats.retained_bytes <= bound,
            "I11: {} retained, {bound} allowed",
            stats.retained_bytes
        );
        Ok(())
    }

    /// Attaches and reads all over the retained range, then lets everything go.
    fn finish(mut self) -> Checked {
        for reader in &mut self.readers {
            reader.read_to_end(&self.model)?;
        }
        self.readers.clear();
        self.check()?;
        self.buffer.set_cursor_limits(CursorLimits::UNLIMITED);
        let (first, end) = (self.buffer.first_offset(), self.model.end());
        for step in 0..=FINAL_ATTACHES {
            self.attach(Some(first + (end - first) * step / FINAL_ATTACHES))?;
            if let Some(mut reader) = self.readers.pop() {
                reader.read_to_end(&self.model)?;
                prop_assert_eq!(reader.offset, end);
            }
        }
        // Everything moves on: with no backlog and no cursor nearly nothing is left.
        self.writers.clear();
        self.buffer.set_backlog_bytes(0);
        let mut last = self.buffer.writer_of_term(u64::MAX);
        for _ in 0..20 * self.setup.segment_frames {
            last.frame().publish().expect("a marker of the last term");
        }
        drop(last);
        let stats = self.buffer.stats();
        prop_assert!(stats.segments_live <= 12 && stats.blocks_live <= 120, "I6: {:?}", stats);
        let Self { buffer, payloads, .. } = self;
        drop(buffer);
        prop_assert!(payloads.are_released(), "I6: shared bytes are still held");
        Ok(())
    }
}

impl Reader {
    fn refresh(&mut self, model: &Model) -> Checked {
        let end = model.end();
        match self.cursor.refresh() {
            Ok(visible) => {
                prop_assert!(!self.evicted, "an eviction is final");
                prop_assert_eq!(visible, self.cursor.remaining());
                prop_assert!(self.offset + visible as u64 <= end, "I2");
                prop_assert!(
                    visible > 0 || self.offset == end,
                    "nothing visible at {}, end {end}",
                    self.offset
                );
                Ok(())
            }
            Err(error) => self.is_evicted(&error, end),
        }
    }

    fn is_evicted(&mut self, error: &CursorError, end: u64) -> Checked {
        prop_assert!(self.may_evict, "evicted although it kept to the limits");
        prop_assert_eq!(error, &CursorError::Evicted { offset: self.offset, lag_bytes: end - self.offset });
        self.evicted = true;
        Ok(())
    }

    fn advance(&mut self, by: usize) -> Checked {
        self.cursor.advance(by);
        self.offset += by as u64;
        Ok(())
    }

    /// Frame by frame as far as it goes: the end, unless it is evicted.
    fn read_to_end(&mut self, model: &Model) -> Checked {
        loop {
            self.refresh(model)?;
            let Some((range, bytes)) = self.cursor.next_frame() else { break };
            model.expect_frame(self.offset, &range, &bytes)?;
            self.offset = range.end;
        }
        prop_assert!(self.evicted || self.offset == model.end());
        Ok(())
    }
}

/// By whichever way takes such a publication.
fn publish_by(writer: &mut Writer, publication: &Publication) -> Result<Range<u64>, AppendError> {
    fn slice(part: &Part) -> Option<&[u8]> {
        match part {
            Part::Copied(bytes) => Some(bytes),
            _ => None,
        }
    }
    match &publication.parts[..] {
        [Part::Copied(bytes)] => writer.append(bytes),
        [Part::Shared(bytes)] => writer.append_bytes(bytes.clone()),
        parts => match parts.iter().map(slice).collect::<Option<Vec<_>>>() {
            Some(slices) => writer.append_parts(&slices),
            None => {
                let mut frame = writer.frame();
                publication.stage(&mut frame);
                frame.publish()
            }
        },
    }
}

fn run(setup: &Setup, ops: &[Op], sabotage: Option<Sabotage>) -> Checked {
    let mut harness = Harness::new(setup, sabotage);
    for op in ops {
        harness.apply(op)?;
    }
    harness.finish()
}

fn config() -> Config {
    let from_environment = Config::default();
    let cases =
        if std::env::var_os("PROPTEST_CASES").is_some() { from_environment.cases } else { DEFAULT_CASES };
    Config {
        cases,
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
        ..from_environment
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn the_buffer_does_what_the_reference_does(
        setup in setup(),
        ops in prop::collection::vec(op(), 1..MAX_OPS),
    ) {
        run(&setup, &ops, None)?;
    }
}

/// A sequence in which each sabotage makes a difference.
fn telling_sequence() -> (Setup, Vec<Op>) {
    let setup = Setup {
        base_offset: 0,
        offsets: 20_000,
        block_bytes: 64,
        segment_blocks: 4,
        segment_frames: 2,
        segment_bytes: 60,
        pooled: 1,
        backlog_bytes: 100,
        max_frame_bytes: 1 << 20,
        max_cursors: 4,
        max_unreclaimed_bytes: 1000,
        limits: CursorLimits::UNLIMITED,
    };
    let publish = |elements: &[Element]| Op::Publish { writer: 0, elements: elements.to_vec() };
    let mut ops = vec![
        Op::AttachAtEnd,
        publish(&[Element::Copied(10), Element::EndFrame, Element::Copied(20)]),
        Op::Read { cursor: 0, portion: Portion::Frame, amount: 0 },
        publish(&[Element::Select(1), Element::Copied(5)]),
        publish(&[Element::Select(1), Element::Copied(5)]),
        Op::Read { cursor: 0, portion: Portion::Vectored { slices: 9 }, amount: 9 },
    ];
    ops.extend(std::iter::repeat_n(publish(&[Element::Copied(50)]), 20));
    (setup, ops)
}

#[test]
fn a_difference_is_noticed() {
    let (setup, ops) = telling_sequence();
    run(&setup, &ops, None).expect("no difference");
    use Sabotage::{ExpectMoreRetained, FlipByte, ForgetContext, LoseBoundary};
    for sabotage in [FlipByte, LoseBoundary, ForgetContext, ExpectMoreRetained] {
        assert!(run(&setup, &ops, Some(sabotage)).is_err(), "{sabotage:?} went unnoticed");
    }
}

#[test]
fn sequences_that_once_differed_agree() {
    let (setup, _) = telling_sequence();
    let publish = |elements: &[Element]| Op::Publish { writer: 0, elements: elements.to_vec() };
    let sequences = [
        // u64::MAX is never in force, not even where no context is.
        vec![
            publish(&[Element::Select(u64::MAX)]),
            publish(&[Element::Select(u64::MAX), Element::Copied(1)]),
        ],
        // A conditional part behind a batch's last frame is a frame.
        vec![publish(&[Element::Copied(1), Element::EndFrame, Element::Select(0)])],
        // A window of markers, and a byte behind it.
        vec![
            Op::Attach { part: 0 },
            Op::Markers { writer: 0, count: 59 },
            publish(&[Element::Copied(1)]),
            Op::Read { cursor: 0, portion: Portion::Chunk, amount: 1 },
        ],
        // The refused seal links the segment: the backlog is trimmed all the same.
        vec![
            Op::SetBacklog(1),
            publish(&[Element::Copied(59)]),
            publish(&[Element::Copied(400)]),
            publish(&[Element::Copied(59)]),
            publish(&[Element::Copied(400)]),
            Op::Seal { term: 0 },
            publish(&[Element::Copied(59)]),
            publish(&[Element::Copied(400)]),
        ],
    ];
    for ops in sequences {
        run(&setup, &ops, None).expect("buffer and reference agree");
    }
}

#[test]
fn a_refused_frame_lets_go_of_its_bytes() {
    let buffer = ReplicationBuffer::builder().max_frame_bytes(1000).max_offset(1500).build().expect("valid");
    let mut writer = buffer.writer();
    let refused = |writer: &mut Writer, len: usize| {
        let shared = Bytes::from(vec![7; len]);
        let probe = shared.clone();
        writer.append_bytes(shared).expect_err("over a limit, or fenced");
        assert!(probe.is_unique(), "I6: a writer keeps {len} refused bytes");
    };
    refused(&mut writer, 1001);
    writer.append(&[1; 900]).expect("within the limits");
    refused(&mut writer, 601);
    buffer.seal(1).expect("not sealed before");
    refused(&mut writer, 10);
}
