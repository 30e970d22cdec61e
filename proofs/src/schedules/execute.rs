//! Runs a program: one thread of the execution for each of its threads, every call taken down.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use bytes::{Buf, Bytes};
use replcore::buffer::{
    AppendError, AttachError, BufferStats, Cursor, CursorError, CursorLimits, ReplicationBuffer, SealError,
    Writer,
};
use replcore_checkers::weak::{self, Stamp};

use super::program::{Frame, From, Operation, Program, payload, select};

/// A call, and what came of it.
#[derive(Clone, Debug)]
pub struct Event {
    /// Who.
    pub thread: usize,
    /// Which of its operations.
    pub operation: usize,
    /// When it began, and when it was done.
    pub began: Stamp,
    /// See `began`.
    pub ended: Stamp,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of a call.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// Frames, or a marker, of a term.
    Appended(u64, Result<Range<u64>, AppendError>),
    /// A seal of a term.
    Sealed(u64, Result<u64, SealError>),
    /// The cursor of that number, or none; and the offset asked for, unless it was the end.
    Attached(Option<u64>, Result<usize, AttachError>),
    /// A cursor looked and read.
    Looked(Look),
    /// The limits were enforced.
    Enforced(usize),
    /// The numbers.
    Numbers(BufferStats),
    /// Something that answers nothing.
    Done,
}

/// What a cursor saw.
#[derive(Clone, Debug)]
pub struct Look {
    /// Which cursor.
    pub cursor: usize,
    /// Where it stood after.
    pub offset: u64,
    /// It saw nothing to read.
    pub nothing: bool,
    /// It was evicted.
    pub evicted: bool,
}

/// A cursor, as the judge sees it.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    /// Where it began.
    pub start: u64,
    /// What it has read from there.
    pub bytes: Vec<u8>,
    /// The frames it was told of.
    pub frames: Vec<Range<u64>>,
    /// It said that it was evicted.
    pub evicted: bool,
    /// It waits since it stood at this offset, and nobody has woken it.
    pub asleep_at: Option<u64>,
}

/// What happened in an execution.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// The calls, in the order in which they were done.
    pub events: Vec<Event>,
    /// The cursors, in the order in which they were attached.
    pub readings: Vec<Reading>,
    /// The numbers when all was quiet, cursors and writers gone; and then without a backlog.
    pub quiet: Option<(BufferStats, BufferStats)>,
}

/// A history being written. A plain lock: the checker does not see it.
pub type Shared = Arc<Mutex<History>>;

fn write<R>(history: &Shared, with: impl FnOnce(&mut History) -> R) -> R {
    with(&mut history.lock().unwrap_or_else(PoisonError::into_inner))
}

/// The mark that the begin, or the end, of an operation leaves in the trace.
#[must_use]
pub fn mark(operation: usize, ends: bool) -> u32 {
    (operation as u32) << 1 | u32::from(ends)
}

/// Runs `program` in this execution.
pub fn run(program: &Program, history: &Shared) {
    let buffer = program.settings.builder().build().expect("settings within bounds");
    let clock_ms = Arc::new(AtomicU64::new(0));
    let threads: Vec<_> = program
        .threads
        .iter()
        .enumerate()
        .map(|(thread, operations)| {
            let (buffer, clock_ms) = (buffer.clone(), Arc::clone(&clock_ms));
            let (operations, history) = (operations.clone(), Arc::clone(history));
            weak::spawn(move || {
                let mut actor = Actor { thread, buffer, clock_ms, writer: None, reader: None, history };
                for (index, operation) in operations.iter().enumerate() {
                    actor.act(index, operation);
                }
                (actor.writer, actor.reader)
            })
        })
        .collect();
    let left: Vec<_> = threads.into_iter().map(weak::JoinHandle::join).collect();
    for (writer, reader) in left {
        drop(writer);
        if let Some(reader) = reader {
            reader.finish(history);
        }
    }
    let settled = buffer.stats();
    buffer.set_backlog_bytes(0);
    let quiet = (settled, buffer.stats());
    write(history, |history| history.quiet = Some(quiet));
}

/// A waker that says whether it was used. Plain: what it hands over is not the question.
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// A thread's cursor.
struct Reader {
    number: usize,
    cursor: Cursor,
    /// Its waker, and where it stood when it left that.
    waits: Option<(Arc<Flag>, u64)>,
}

impl Reader {
    /// Takes what is visible, so many bytes at most.
    fn take(&mut self, history: &Shared, mut most: usize) {
        while most > 0 && self.cursor.has_remaining() {
            let chunk = self.cursor.chunk();
            assert!(!chunk.is_empty(), "I3: remaining() counts bytes that chunk() has not");
            let taken = &chunk[..chunk.len().min(most)];
            write(history, |history| history.readings[self.number].bytes.extend_from_slice(taken));
            let taken = taken.len();
            most -= taken;
            self.cursor.advance(taken);
        }
    }

    fn take_frames(&mut self, history: &Shared, frames: usize) {
        for _ in 0..frames {
            let Some((range, bytes)) = self.cursor.next_frame() else { return };
            write(history, |history| {
                let reading = &mut history.readings[self.number];
                reading.bytes.extend_from_slice(&bytes);
                reading.frames.push(range);
            });
        }
    }

    fn look(
        &mut self,
        history: &Shared,
        seen: Result<usize, CursorError>,
        read: impl FnOnce(&mut Self),
    ) -> Look {
        if let Err(CursorError::Evicted { offset, .. }) = &seen {
            assert_eq!(*offset, self.cursor.offset(), "the offset of the eviction");
        }
        let nothing = matches!(seen, Ok(0));
        read(self);
        let offset = self.cursor.offset();
        write(history, |history| history.readings[self.number].evicted |= seen.is_err());
        Look { cursor: self.number, offset, nothing, evicted: seen.is_err() }
    }

    fn poll(&mut self, history: &Shared) -> Look {
        let flag = Arc::new(Flag(AtomicBool::new(false)));
        let waker = Waker::from(Arc::clone(&flag));
        let polled = self.cursor.poll_readable(&mut Context::from_waker(&waker));
        let offset = self.cursor.offset();
        self.waits = polled.is_pending().then_some((flag, offset));
        let seen = match polled {
            Poll::Ready(Ok(())) | Poll::Pending => Ok(self.cursor.remaining()),
            Poll::Ready(Err(error)) => Err(error),
        };
        self.look(history, seen, |reader| reader.take(history, usize::MAX))
    }

    /// When all is quiet: says whether it still waits, then reads the rest.
    fn finish(mut self, history: &Shared) {
        let asleep = self.waits.take().filter(|(flag, _)| !flag.0.load(Ordering::SeqCst));
        write(history, |history| history.readings[self.number].asleep_at = asleep.map(|(_, offset)| offset));
        loop {
            let seen = self.cursor.refresh();
            let done = !matches!(seen, Ok(1..));
            self.look(history, seen, |reader| reader.take(history, usize::MAX));
            if done {
                return;
            }
        }
    }
}

/// A thread of the program.
struct Actor {
    thread: usize,
    buffer: ReplicationBuffer,
    clock_ms: Arc<AtomicU64>,
    writer: Option<Writer>,
    reader: Option<Reader>,
    history: Shared,
}

impl Actor {
    fn act(&mut self, index: usize, operation: &Operation) {
        let began = weak::stamp(mark(index, false));
        let outcome = self.outcome(index, operation);
        let ended = weak::stamp(mark(index, true));
        let event = Event { thread: self.thread, operation: index, began, ended, outcome };
        write(&self.history, |history| history.events.push(event));
    }

    fn outcome(&mut self, index: usize, operation: &Operation) -> Outcome {
        match operation {
            Operation::Append(frames) => self.append(index, frames),
            Operation::AppendPooled(bytes) => {
                // The term is read before; a seal between the two is as one before both.
                let result = self.buffer.append(&payload(self.thread, index, 0, *bytes));
                Outcome::Appended(POOLED_TERM, result)
            }
            Operation::Marker(context) => {
                let writer = self.writer.get_or_insert_with(|| self.buffer.writer());
                let mut frame = writer.frame();
                frame.set_context(context.map(u64::from));
                let result = frame.publish();
                Outcome::Appended(writer.term(), result)
            }
            Operation::DropWriter => {
                self.writer = None;
                Outcome::Done
            }
            Operation::Attach(from) => self.attach(*from),
            Operation::DropCursor => {
                self.reader = None;
                Outcome::Done
            }
            Operation::Read(_) | Operation::ReadFrames(_) | Operation::Poll => self.read(operation),
            Operation::SetBacklog(bytes) => {
                self.buffer.set_backlog_bytes(u64::from(*bytes));
                Outcome::Done
            }
            Operation::SetLimits(hard, soft, soft_ms) => {
                let [hard_bytes, soft_bytes, soft_ms] = [*hard, *soft, *soft_ms].map(u64::from);
                self.buffer.set_cursor_limits(CursorLimits { hard_bytes, soft_bytes, soft_ms });
                Outcome::Done
            }
            Operation::Enforce(ms) => {
                let now_ms = self.clock_ms.fetch_add(u64::from(*ms), Ordering::SeqCst) + u64::from(*ms);
                weak::set_clock_ms(now_ms);
                Outcome::Enforced(self.buffer.enforce_limits())
            }
            Operation::Seal => {
                let term = self.buffer.term();
                let result = self.buffer.seal(term);
                self.buffer.begin_term(term + 1);
                Outcome::Sealed(term, result)
            }
            Operation::Stats => Outcome::Numbers(self.buffer.stats()),
        }
    }

    fn append(&mut self, index: usize, frames: &[Frame]) -> Outcome {
        let writer = self.writer.get_or_insert_with(|| self.buffer.writer());
        let term = writer.term();
        let mut staged = writer.frame();
        for (number, frame) in frames.iter().enumerate() {
            if let Some(context) = frame.select {
                staged.select_context(u64::from(context), &select(context));
            }
            let bytes = payload(self.thread, index, number, frame.bytes);
            if frame.shared {
                staged.put_bytes(Bytes::from(bytes));
            } else {
                staged.put_slice(&bytes);
            }
            if frames.len() > 1 {
                staged.end_frame();
            }
        }
        Outcome::Appended(term, staged.publish())
    }

    fn attach(&mut self, from: From) -> Outcome {
        self.reader = None;
        let asked = match from {
            From::End => None,
            From::First => Some(self.buffer.first_offset()),
            From::Behind(bytes) => Some(self.buffer.end_offset().saturating_sub(u64::from(bytes))),
            From::Beyond(bytes) => Some(self.buffer.end_offset() + u64::from(bytes)),
        };
        let attached = match asked {
            Some(offset) => self.buffer.attach(offset),
            None => self.buffer.attach_at_end(),
        };
        let attached = attached.map(|cursor| {
            let start = cursor.offset();
            let number = write(&self.history, |history| {
                history.readings.push(Reading { start, ..Reading::default() });
                history.readings.len() - 1
            });
            self.reader = Some(Reader { number, cursor, waits: None });
            number
        });
        Outcome::Attached(asked, attached)
    }

    fn read(&mut self, operation: &Operation) -> Outcome {
        let history = &self.history;
        let Some(reader) = &mut self.reader else { return Outcome::Done };
        let look = match operation {
            Operation::Poll => reader.poll(history),
            Operation::ReadFrames(frames) => {
                let seen = reader.cursor.refresh();
                reader.look(history, seen, |reader| reader.take_frames(history, usize::from(*frames)))
            }
            Operation::Read(bytes) => {
                let seen = reader.cursor.refresh();
                let most = bytes.map_or(usize::MAX, usize::from);
                reader.look(history, seen, |reader| reader.take(history, most))
            }
            _ => return Outcome::Done,
        };
        Outcome::Looked(look)
    }
}

/// The term of an append by a writer from the pool: whichever was current.
pub const POOLED_TERM: u64 = u64::MAX;
