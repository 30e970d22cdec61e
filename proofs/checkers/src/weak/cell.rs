//! Memory that is not atomic: cells whose races are reported, freed memory, shared ownership.

use std::any::Any;
use std::cell::RefCell;
use std::panic::Location as Place;
use std::sync::atomic::Ordering;

use super::execution::{State, fail_at, try_with};
use super::trace::{Access, At, Thing};
use super::view::{Clock, Known, Moment};

/// Who wrote a cell last, and who has read it.
#[derive(Clone, Debug)]
pub(super) struct Accesses {
    written: Option<(Moment, &'static Place<'static>)>,
    reads: Clock,
    read_at: &'static Place<'static>,
}

impl Accesses {
    /// Of a cell that is made here, which is a write.
    pub(super) fn made_at(place: &'static Place<'static>) -> Self {
        let written = try_with(|state| (state.memory.moment(state.current), place));
        Self { written, reads: Clock::default(), read_at: place }
    }

    /// One more, by the running thread; what it is not ordered with, if so.
    pub(super) fn note(
        &mut self,
        state: &State,
        writes: bool,
        place: &'static Place<'static>,
    ) -> Option<Race> {
        let (clock, me) = (state.memory.clock(state.current), state.memory.moment(state.current));
        let race = match self.written {
            Some((moment, written_at)) if !moment.is_before(clock) => {
                Some(("write", moment.thread, written_at))
            }
            _ if !writes => None,
            _ => self.reads.beyond(clock).map(|reader| ("read", reader, self.read_at)),
        };
        if writes {
            // Who is after this is after the reads, with which it is ordered.
            (self.written, self.reads) = (Some((me, place)), Clock::default());
        } else {
            self.reads.set(me.thread, me.step);
            self.read_at = place;
        }
        race.map(|(what, thread, other)| Race { writes, place, what, thread, other })
    }
}

/// Two accesses without order: this one, and another one.
#[derive(Debug)]
pub(super) struct Race {
    writes: bool,
    place: &'static Place<'static>,
    what: &'static str,
    thread: usize,
    other: &'static Place<'static>,
}

impl Race {
    /// Ends the execution.
    pub(super) fn report(&self) -> ! {
        let Self { what, thread, .. } = self;
        let (this, file, line) =
            (if self.writes { "write" } else { "read" }, self.other.file(), self.other.line());
        fail_at(
            format!(
                "I6: a data race: this {this} is not ordered with the {what} of thread {thread} at {file}:{line}"
            ),
            self.place,
        );
    }
}

/// `std::cell::UnsafeCell` with loom's closure interface. An access that is not ordered with another,
/// one of them a write, ends the execution.
#[derive(Debug)]
pub struct UnsafeCell<T> {
    value: std::cell::UnsafeCell<T>,
    accesses: RefCell<Accesses>,
}

// SAFETY: as the standard one for its users, who say so themselves; the books are kept by one thread
// of the system, for all threads of an execution are one.
unsafe impl<T: Sync> Sync for UnsafeCell<T> {}

impl<T> UnsafeCell<T> {
    /// Makes a cell, which is a write.
    #[track_caller]
    pub fn new(value: T) -> Self {
        let accesses = RefCell::new(Accesses::made_at(Place::caller()));
        Self { value: std::cell::UnsafeCell::new(value), accesses }
    }

    /// Reads.
    #[track_caller]
    pub fn with<R>(&self, read: impl FnOnce(*const T) -> R) -> R {
        self.check(false, Place::caller());
        read(self.value.get())
    }

    /// Writes.
    #[track_caller]
    pub fn with_mut<R>(&self, write: impl FnOnce(*mut T) -> R) -> R {
        self.check(true, Place::caller());
        write(self.value.get())
    }

    fn check(&self, writes: bool, place: &'static Place<'static>) {
        if super::unwinding() {
            return;
        }
        let race = try_with(|state| self.accesses.borrow_mut().note(state, writes, place));
        if let Some(race) = race.flatten() {
            race.report();
        }
    }
}

/// Says whether the object that contains it is still alive. Each check is a read of a cell, and the
/// death a write, so a late access is a reported race or a reported use after free.
#[derive(Debug)]
pub struct Canary {
    alive: UnsafeCell<bool>,
    number: usize,
    made: &'static Place<'static>,
}

impl Canary {
    /// Makes one that is alive.
    #[expect(clippy::new_without_default, reason = "where it is made matters")]
    #[track_caller]
    pub fn new() -> Self {
        let place = Place::caller();
        let number = try_with(|state| state.birth(place)).unwrap_or(usize::MAX);
        Self { alive: UnsafeCell::new(true), number, made: place }
    }

    /// The object is used.
    #[track_caller]
    pub fn check(&self) {
        // SAFETY: a write that is not ordered with this read has ended the execution.
        let alive = self.alive.with(|alive| unsafe { *alive });
        if !alive && !super::unwinding() {
            self.observe(Access::Use);
            fail_at(String::from("I6: used after it was freed"), Place::caller());
        }
    }

    /// The object is freed.
    #[track_caller]
    pub fn kill(&self) {
        // SAFETY: an access that is not ordered with this one has ended the execution.
        let alive = self.alive.with_mut(|alive| unsafe { std::mem::replace(&mut *alive, false) });
        if !alive && !super::unwinding() {
            fail_at(String::from("I6: freed twice"), Place::caller());
        }
        self.observe(Access::Free);
        try_with(|state| state.death(self.number));
    }

    #[track_caller]
    fn observe(&self, access: Access) {
        let at = At::here("", Ordering::Relaxed);
        let thing = Thing {
            address: std::ptr::from_ref(self).addr(),
            birth: OBJECTS + self.number,
            made: self.made,
            points_to: None,
        };
        try_with(|state| state.observe_object(access, thing, &at));
    }
}

/// Objects are counted apart from atomics.
const OBJECTS: usize = 1 << 30;

thread_local! {
    /// What was freed in this execution.
    static QUARANTINE: RefCell<Vec<Box<dyn Any>>> = const { RefCell::new(Vec::new()) };
}

/// Puts what `Box::into_raw` gave into quarantine until the execution is over.
///
/// # Safety
/// `object` came from `Box::into_raw`, and nobody ought to use it any more.
pub unsafe fn free<T: 'static>(object: *mut T) {
    // SAFETY: the caller's promise.
    let object = unsafe { Box::from_raw(object) };
    QUARANTINE.with_borrow_mut(|quarantine| quarantine.push(object));
}

/// Frees for good what the execution freed.
pub(super) fn empty_quarantine() {
    drop(QUARANTINE.take());
}

/// `std::sync::Arc`, which hands on what its users know to whoever drops it last.
#[derive(Debug)]
pub struct Arc<T>(std::sync::Arc<Shared<T>>);

#[derive(Debug)]
struct Shared<T> {
    value: T,
    /// What those knew who have dropped theirs.
    known: RefCell<Option<Known>>,
}

// SAFETY: `known` is touched by one thread of the system, for all threads of an execution are one.
unsafe impl<T: Send + Sync> Send for Arc<T> {}
// SAFETY: as above.
unsafe impl<T: Send + Sync> Sync for Arc<T> {}

impl<T> Arc<T> {
    /// Makes the first handle.
    pub fn new(value: T) -> Self {
        Self(std::sync::Arc::new(Shared { value, known: RefCell::new(None) }))
    }
}

impl<T> Clone for Arc<T> {
    fn clone(&self) -> Self {
        Self(std::sync::Arc::clone(&self.0))
    }
}

impl<T> std::ops::Deref for Arc<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0.value
    }
}

impl<T> Drop for Arc<T> {
    fn drop(&mut self) {
        let last = std::sync::Arc::strong_count(&self.0) == 1;
        let before = self.0.known.take();
        let _ = try_with(|state| {
            let known = before.unwrap_or_default();
            if last {
                state.memory.learn(state.current, &known);
            } else {
                let mut known = known;
                known.join(state.known());
                self.0.known.replace(Some(known));
                state.memory.step(state.current);
            }
        });
    }
}

/// What is trusted to hand on what its users know: the counterparts of the library's `plain`.
#[derive(Debug, Default)]
pub(super) struct HandedOn(RefCell<Known>);

// SAFETY: all threads of an execution are one thread of the system.
unsafe impl Send for HandedOn {}
// SAFETY: as above.
unsafe impl Sync for HandedOn {}

impl HandedOn {
    /// The calling thread is after those who gave.
    pub(super) fn take(&self) {
        try_with(|state| state.memory.learn(state.current, &self.0.borrow()));
    }

    /// Who takes later is after the calling thread.
    pub(super) fn give(&self) {
        try_with(|state| {
            self.0.borrow_mut().join(state.known());
            state.memory.step(state.current);
        });
    }
}

/// Counts down; whoever is last is after all the others.
#[derive(Debug)]
pub struct Countdown {
    left: std::cell::Cell<u64>,
    handed_on: HandedOn,
}

// SAFETY: all threads of an execution are one thread of the system.
unsafe impl Send for Countdown {}
// SAFETY: as above.
unsafe impl Sync for Countdown {}

impl Countdown {
    /// Counts from `n`.
    pub fn new(n: u64) -> Self {
        Self { left: std::cell::Cell::new(n), handed_on: HandedOn::default() }
    }

    /// One less; true for the last.
    pub fn is_last(&self) -> bool {
        let left = self.left.get() - 1;
        self.left.set(left);
        self.handed_on.give();
        self.handed_on.take();
        left == 0
    }
}

/// Is raised once; whoever sees that is after it.
#[derive(Debug, Default)]
pub struct Signal {
    raised: std::cell::Cell<bool>,
    handed_on: HandedOn,
}

// SAFETY: all threads of an execution are one thread of the system.
unsafe impl Send for Signal {}
// SAFETY: as above.
unsafe impl Sync for Signal {}

impl Signal {
    /// Raises it.
    pub fn raise(&self) {
        self.raised.set(true);
        self.handed_on.give();
    }

    /// Whether it was raised.
    pub fn is_raised(&self) -> bool {
        if self.raised.get() {
            self.handed_on.take();
        }
        self.raised.get()
    }
}
