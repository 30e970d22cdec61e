//! The threads of a model, any of which may be stopped for good.
//!
//! A model spawns its threads through a [`Crew`] and then lets it [`finish`](Crew::finish). In an
//! ordinary run that joins them. In a stall run the worker aims at one step of one member after the
//! other: that member stops there, the others are joined first (if one of them needs it, they never
//! finish, which the explorer reports as a deadlock), and then the buffer has to be as good as
//! ever: all that is published can be read, appends and attaching go on, a cursor that waits is
//! woken, and neither what is retained nor what waits for release grows (I8, I11). After that the
//! member is let go and joined.
//!
//! Each step is visited twice. In the first pass nothing is appended while the member stands, and
//! the model's own assertions run at the end. In the second the checks append too; the model's own
//! assertions, which do not expect that, are left out, and the whole stream is read instead.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Buf;
use replcore::buffer::{AttachError, BufferStats, Cursor, ReplicationBuffer};

use super::explorer::{stall, trace};
use super::thread;

/// Names of the members that the model's last execution had, if one of them was to be stopped.
static MEMBERS: Mutex<Vec<&'static str>> = Mutex::new(Vec::new());
static PASS: AtomicUsize = AtomicUsize::new(0);

/// The byte of which frames consist that are appended while a member stands stopped.
pub const PROBE: u8 = b'#';
/// Appends between two looks at what is retained.
const PROBES: usize = 4;
/// Looks at which what waits for release may still be more than before.
const PROBES_OF_GROWTH: usize = 6;

/// What happens while a member stands stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    /// The stream is read; then the model's own assertions run.
    Looking,
    /// Appends go on, and are read.
    Appending,
}

/// Sets the pass, from the next execution on.
#[cfg(replcore_loom)]
pub fn set_pass(pass: Pass) {
    PASS.store(usize::from(pass == Pass::Appending), Ordering::Relaxed);
}

/// Whether a member is to be stopped in this execution.
pub fn stops() -> bool {
    stall::aimed().is_some()
}

/// The members that the model's last execution had.
#[cfg(replcore_loom)]
pub fn members() -> Vec<&'static str> {
    MEMBERS.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// The threads of a model. They start when it [finishes](Self::finish).
#[derive(Default)]
pub struct Crew(Vec<Member>);

struct Member {
    number: usize,
    /// It finishes only when another appends.
    waits: bool,
    run: Box<dyn FnOnce() + Send>,
}

type Running = thread::JoinHandle<()>;

fn join(running: Running) {
    running.join().expect("no panic");
}

/// What a member comes to.
#[derive(Debug)]
pub struct Gives<T>(Arc<Mutex<Option<T>>>);

impl<T> Gives<T> {
    /// What it came to; the crew has finished.
    pub fn get(self) -> T {
        let given = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        given.expect("the crew has finished")
    }
}

impl Crew {
    /// Nobody yet.
    pub fn new() -> Self {
        if stops() {
            MEMBERS.lock().unwrap_or_else(PoisonError::into_inner).clear();
            stall::prepare();
        }
        Self::default()
    }

    /// A member that has something to do.
    pub fn spawn<T: Send + 'static>(
        &mut self,
        name: &'static str,
        run: impl FnOnce() -> T + Send + 'static,
    ) -> Gives<T> {
        self.add(name, false, run)
    }

    /// A member that finishes only when another has appended.
    pub fn spawn_waiter<T: Send + 'static>(
        &mut self,
        name: &'static str,
        run: impl FnOnce() -> T + Send + 'static,
    ) -> Gives<T> {
        self.add(name, true, run)
    }

    fn add<T: Send + 'static>(
        &mut self,
        name: &'static str,
        waits: bool,
        run: impl FnOnce() -> T + Send + 'static,
    ) -> Gives<T> {
        let number = self.0.len();
        if stops() {
            MEMBERS.lock().unwrap_or_else(PoisonError::into_inner).push(name);
        }
        let gives = Arc::new(Mutex::new(None));
        let place = Arc::clone(&gives);
        let run = Box::new(move || {
            trace::name_thread(name);
            stall::enter(number);
            let given = run();
            stall::leave(number);
            *place.lock().unwrap_or_else(PoisonError::into_inner) = Some(given);
        });
        self.0.push(Member { number, waits, run });
        Gives(gives)
    }

    /// Runs and joins the members, the stopped one after all others. `false` if more was appended meanwhile:
    /// the model has nothing to add then.
    pub fn finish(self, buffer: &ReplicationBuffer) -> bool {
        self.finish_looking(buffer, |_| {})
    }

    /// As [`finish`](Self::finish); `look` is called while a member stands stopped and all others
    /// have finished.
    pub fn finish_looking(self, buffer: &ReplicationBuffer, look: impl FnOnce(Pass)) -> bool {
        let aimed = stall::aimed();
        let mut members = self.0;
        // At few preemptions the explorer runs first who was spawned first.
        members.sort_by_key(|member| Some(member.number) != aimed);
        let (mut stopped, mut waiting, mut others) = (Vec::new(), Vec::new(), Vec::new());
        for member in members {
            let group = match (aimed, member.waits) {
                (Some(aimed), _) if aimed == member.number => &mut stopped,
                (Some(_), true) => &mut waiting,
                _ => &mut others,
            };
            group.push(thread::spawn(member.run));
        }
        others.into_iter().for_each(join);
        if !stopped.is_empty() {
            stall::settle();
        }
        let stands = stall::reached();
        let appends = stands && PASS.load(Ordering::Relaxed) == 1;
        if stands {
            read_all(buffer);
        }
        if appends {
            go_on(buffer);
            waiting.drain(..).for_each(join);
        }
        if stands {
            look(if appends { Pass::Appending } else { Pass::Looking });
        }
        stall::release();
        stopped.into_iter().chain(waiting).for_each(join);
        if appends {
            read_all(buffer);
        }
        !appends
    }
}

/// Reads the stream from its first offset to its end (I2, I7).
fn read_all(buffer: &ReplicationBuffer) {
    let end = buffer.end_offset();
    let mut first = buffer.first_offset();
    let mut cursor = loop {
        match buffer.attach(first) {
            Ok(cursor) => break cursor,
            // The stopped thread had trimmed, and this thread saw that only now.
            Err(AttachError::OffsetNotRetained { first: now, .. }) if now > first => first = now,
            Err(error) => panic!("I7: {error}"),
        }
    };
    let read = read(&mut cursor).len() as u64;
    assert!(first + read >= end, "I2, I8: published up to {end}, and read up to {}", first + read);
    assert_eq!(first + read, cursor.offset(), "I3");
}

fn read(cursor: &mut Cursor) -> Vec<u8> {
    let mut bytes = Vec::new();
    while cursor.refresh().expect("not evicted") > 0 {
        while cursor.has_remaining() {
            let chunk = cursor.chunk();
            bytes.extend_from_slice(chunk);
            cursor.advance(chunk.len());
        }
    }
    bytes
}

/// Appends and reads while a member stands stopped, and looks at what that keeps in memory.
fn go_on(buffer: &ReplicationBuffer) {
    let mut before = probe(buffer);
    let mut after = probe(buffer);
    // What was alive when the thread stopped waits for it, and is retired sooner or later.
    for _ in 0..PROBES_OF_GROWTH {
        if after.retired <= before.retired {
            break;
        }
        (before, after) = (after, probe(buffer));
    }
    assert!(after.retired <= before.retired, "I8: what waits for release grows: {before:?}, then {after:?}");
    // A cursor may keep what it has not read; beyond that, and the backlog, nothing is added.
    let lag = buffer.slowest_cursor_offset().map_or(0, |offset| after.end_offset.saturating_sub(offset));
    let kept = lag.max(buffer.backlog_bytes()) + (3 * PROBES) as u64;
    assert!(
        after.retained_bytes <= kept.max(before.retained_bytes),
        "I8, I11: what is retained grows: {before:?}, then {after:?}, lag {lag}"
    );
}

fn probe(buffer: &ReplicationBuffer) -> BufferStats {
    // A term that no seal has reached.
    let mut writer = buffer.writer_of_term(u64::MAX);
    let mut start = 0;
    for _ in 0..PROBES {
        start = writer.append(&[PROBE; 3]).expect("I8: nobody is in the way").start;
    }
    let mut cursor = buffer.attach(start).expect("I7: just appended");
    assert!(read(&mut cursor).starts_with(&[PROBE; 3]), "I2, I5, I8: just appended");
    drop(cursor);
    buffer.stats()
}
