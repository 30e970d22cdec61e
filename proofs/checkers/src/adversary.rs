//! An epoch collector that is the adversary of whoever relies on it: it frees at the first moment
//! the contract allows, and gives no ordering beyond the contract's.
//!
//! The contract: what is deferred runs after every guard that was pinned at that moment is gone; a
//! guard pinned later sees what happened before the deferral; what a guard's thread did before it
//! let go happens before the deferred function.
//!
//! The bookkeeping stands in plain mutexes that the checker does not see, never held across an
//! operation that it does, so it orders nothing. What the checker sees is one word for each
//! participant: pinning is an Acquire read-modify-write of one's own word, unpinning a Release one,
//! deferring a Release one of every participant's word, freeing an Acquire one of every word. Whether
//! a guard was pinned before or after a deferral is therefore explored both ways.

use std::sync::atomic::Ordering;
use std::sync::{Arc as StdArc, Mutex, MutexGuard, PoisonError};

use self::checker::{AtomicUsize, PARTICIPANTS, ThreadId, current_thread, word};

/// loom's words and threads.
#[cfg(replcore_loom)]
mod checker {
    pub(super) use loom::sync::atomic::AtomicUsize;
    pub(super) use loom::thread::ThreadId;

    /// Threads of a model, at most: as many as loom has.
    pub(super) const PARTICIPANTS: usize = 5;

    pub(super) fn current_thread() -> ThreadId {
        loom::thread::current().id()
    }

    pub(super) fn word() -> AtomicUsize {
        AtomicUsize::new(0)
    }
}

#[cfg(replcore_fuzz)]
use crate::weak::adversary_needs as checker;

#[cfg(replcore_loom)]
use crate::trace::{self, Action};
#[cfg(replcore_fuzz)]
use checker::trace::{self, Action};

/// Names a collector in a normal build; here each collector keeps its own list of threads.
pub type Participation = (u64, u64);

/// Never knows: the adversary finds the thread itself.
pub fn pin_known(_: Participation) -> Option<Guard> {
    None
}

/// Pins the calling thread in `collector`.
#[track_caller]
pub fn pin_new(collector: &Collector, _: Participation, _: &StdArc<()>) -> Guard {
    collector.pin()
}

/// Collectors made beforehand. loom counts making an atomic as a write of it, and those of an era
/// reach other threads through a list that loom does not see.
#[cfg(replcore_loom)]
static SPARES: Mutex<Vec<Spare>> = Mutex::new(Vec::new());

#[cfg(replcore_loom)]
struct Spare(Collector);

// SAFETY: loom runs all threads of a model on one thread of the system.
#[cfg(replcore_loom)]
unsafe impl Send for Spare {}

/// Makes the collectors of so many eras to come. To be called where an execution begins.
#[cfg(replcore_loom)]
pub(crate) fn provide(eras: usize) {
    *lock(&SPARES) = Vec::new();
    let made = (0..eras).map(|_| Spare(Collector::make())).collect();
    *lock(&SPARES) = made;
}

#[derive(Debug)]
struct Participant {
    thread: ThreadId,
    /// Guards alive, and the number of the pin they belong to.
    guards: usize,
    pin: usize,
}

struct Garbage {
    /// Pins that have to end first: participant and pin number.
    waits_for: Vec<(usize, usize)>,
    run: Box<dyn FnOnce()>,
}

impl std::fmt::Debug for Garbage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Garbage").field("waits_for", &self.waits_for).finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct State {
    registry: AtomicUsize,
    words: [AtomicUsize; PARTICIPANTS],
    participants: Mutex<Vec<Participant>>,
    garbage: Mutex<Vec<Garbage>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// As `crossbeam_epoch::Collector`.
#[derive(Debug)]
pub struct Collector(StdArc<State>);

// SAFETY: the checker runs all threads of a model on one thread of the system.
unsafe impl Send for Collector {}
// SAFETY: as above.
unsafe impl Sync for Collector {}

impl Collector {
    /// One that was made beforehand, if there is one left.
    #[expect(clippy::new_without_default, reason = "as the real one")]
    #[cfg(replcore_loom)]
    pub fn new() -> Self {
        let spare = lock(&SPARES).pop();
        spare.map_or_else(Self::make, |spare| spare.0)
    }

    /// Makes one.
    #[expect(clippy::new_without_default, reason = "as the real one")]
    #[cfg(replcore_fuzz)]
    pub fn new() -> Self {
        Self::make()
    }

    #[expect(clippy::arc_with_non_send_sync, reason = "all threads of a model are one thread of the system")]
    fn make() -> Self {
        Self(StdArc::new(State {
            registry: word(),
            words: std::array::from_fn(|_| word()),
            participants: Mutex::default(),
            garbage: Mutex::default(),
        }))
    }

    #[track_caller]
    fn pin(&self) -> Guard {
        let state = &self.0;
        let thread = current_thread();
        let known = lock(&state.participants).iter().position(|participant| participant.thread == thread);
        let index = known.unwrap_or_else(|| {
            // Either a deferral finds the participant in the list, or this sees the deferral.
            state.registry.fetch_add(1, Ordering::Acquire);
            let mut participants = lock(&state.participants);
            participants.push(Participant { thread, guards: 0, pin: 0 });
            assert!(participants.len() <= PARTICIPANTS, "more threads than the checker has");
            participants.len() - 1
        });
        let first = lock(&state.participants)[index].guards == 0;
        if first {
            state.words[index].fetch_add(1, Ordering::Acquire);
        }
        let mut participants = lock(&state.participants);
        participants[index].guards += 1;
        participants[index].pin += usize::from(first);
        if first {
            trace::step(trace::Names::default(), || Action::Pin);
        }
        Guard { state: StdArc::clone(state), index }
    }
}

impl State {
    fn known_words(&self) -> &[AtomicUsize] {
        let known = lock(&self.participants).len();
        &self.words[..known]
    }

    /// Runs what waits for nobody any more.
    fn run_ready(&self) {
        loop {
            let ready = {
                let mut garbage = lock(&self.garbage);
                let at = garbage.iter().position(|garbage| garbage.waits_for.is_empty());
                at.map(|at| garbage.remove(at))
            };
            let Some(ready) = ready else { return };
            for word in self.known_words() {
                word.fetch_add(0, Ordering::Acquire);
            }
            trace::step(trace::Names::default(), || Action::RunDeferred);
            (ready.run)();
        }
    }
}

/// As `crossbeam_epoch::Guard`.
#[derive(Debug)]
pub struct Guard {
    state: StdArc<State>,
    index: usize,
}

impl Guard {
    /// As `crossbeam_epoch::Guard::defer_unchecked`.
    ///
    /// # Safety
    /// As there.
    #[track_caller]
    pub unsafe fn defer_unchecked<F: FnOnce() + 'static>(&self, run: F) {
        let state = &self.state;
        state.registry.fetch_add(1, Ordering::Release);
        let mut waits_for = Vec::new();
        for (index, word) in state.known_words().iter().enumerate() {
            word.fetch_add(0, Ordering::Release);
            let participant = &lock(&state.participants)[index];
            if participant.guards > 0 {
                waits_for.push((index, participant.pin));
            }
        }
        // Guards that let go while the words were visited have told so only to who was listed.
        waits_for.retain(|(index, pin)| {
            let participant = &lock(&state.participants)[*index];
            participant.guards > 0 && participant.pin == *pin
        });
        trace::step(trace::Names::default(), || Action::Defer { waits_for: waits_for.len() });
        lock(&state.garbage).push(Garbage { waits_for, run: Box::new(run) });
    }

    /// There is nothing to flush: what can go has gone.
    pub fn flush(&self) {}
}

impl Drop for Guard {
    fn drop(&mut self) {
        if crate::sync::unwinding() {
            return;
        }
        let last = lock(&self.state.participants)[self.index].guards == 1;
        if last {
            self.state.words[self.index].fetch_add(1, Ordering::Release);
            trace::step(trace::Names::default(), || Action::Unpin);
        }
        let pin = {
            let mut participants = lock(&self.state.participants);
            participants[self.index].guards -= 1;
            participants[self.index].pin
        };
        if last {
            for garbage in lock(&self.state.garbage).iter_mut() {
                garbage.waits_for.retain(|waited| *waited != (self.index, pin));
            }
            self.state.run_ready();
        }
    }
}
