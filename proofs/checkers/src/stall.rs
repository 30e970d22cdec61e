//! Stopping a thread for good at one of its steps, while the others go on (I8).
//!
//! A step is an access of one of the shim's atomics. A proof aims at the `n`-th step of one member
//! of a model's crew; the thread stops before that access and stands there until it is released,
//! which the model does only when it has seen that nobody needed it. What is kept here stands in
//! plain memory, which the explorer does not see; the stopped thread waits in a way it does see.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use loom::sync::Notify;
use loom::sync::atomic::AtomicUsize as LoomedUsize;
use loom::thread::ThreadId;

const NOBODY: usize = usize::MAX;

static MEMBER: AtomicUsize = AtomicUsize::new(NOBODY);
static STEP: AtomicUsize = AtomicUsize::new(0);
static EVER_REACHED: AtomicBool = AtomicBool::new(false);
static STOPPED: Mutex<Stopped> = Mutex::new(Stopped::nowhere());

/// The member aimed at, in this execution.
struct Stopped {
    place: Option<Arc<Place>>,
    /// Its thread, while its steps count.
    thread: Option<ThreadId>,
    steps: usize,
    reached: bool,
    left: bool,
    released: bool,
}

impl Stopped {
    const fn nowhere() -> Self {
        Self { place: None, thread: None, steps: 0, reached: false, left: false, released: false }
    }
}

/// Where it stands.
struct Place {
    /// Tells the member that it may go on.
    released: Notify,
    /// Tells who looks for it that it stands, or has finished.
    settled: Notify,
    /// Written before it waits, read by who finds that it stands.
    arrived: LoomedUsize,
}

fn stopped<R>(with: impl FnOnce(&mut Stopped) -> R) -> R {
    with(&mut STOPPED.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Aims at a member and the step before which it is to stop, from the next execution on; or at
/// nobody.
pub fn aim(at: Option<(usize, usize)>) {
    let (member, step) = at.unwrap_or((NOBODY, 0));
    MEMBER.store(member, Ordering::Relaxed);
    STEP.store(step, Ordering::Relaxed);
    EVER_REACHED.store(false, Ordering::Relaxed);
}

/// The member aimed at.
pub fn aimed() -> Option<usize> {
    Some(MEMBER.load(Ordering::Relaxed)).filter(|member| *member != NOBODY)
}

/// Whether it got to the step, in some execution since [`aim`].
pub fn ever_reached() -> bool {
    EVER_REACHED.load(Ordering::Relaxed)
}

/// Begins an execution.
pub(crate) fn forget() {
    let before = stopped(|stopped| std::mem::replace(stopped, Stopped::nowhere()));
    drop(before);
}

/// Makes the place at which a member will stand; in the thread that will look for it.
pub fn prepare() {
    let place =
        Arc::new(Place { released: Notify::new(), settled: Notify::new(), arrived: LoomedUsize::new(0) });
    stopped(|stopped| stopped.place = Some(place));
}

/// From here on the calling thread's accesses are the steps of `member`.
pub fn enter(member: usize) {
    if aimed() == Some(member) {
        let thread = Some(loom::thread::current().id());
        stopped(|stopped| (stopped.thread, stopped.steps) = (thread, 0));
    }
}

/// The steps of `member` are over.
pub fn leave(member: usize) {
    if aimed() == Some(member) {
        let place = stopped(|stopped| {
            stopped.thread = None;
            stopped.left = true;
            stopped.place.clone()
        });
        if let Some(place) = place {
            place.settled.notify();
        }
    }
}

/// Waits until the member stands, or has finished without coming to its step.
pub fn settle() {
    let place = stopped(|stopped| stopped.place.clone());
    if let Some(place) = place {
        while !stopped(|stopped| stopped.reached || stopped.left) {
            place.settled.wait();
        }
    }
}

/// Whether the member stands stopped, or stood. It did so long ago, to the one who asks: what it
/// had stored has arrived.
pub fn reached() -> bool {
    let place = stopped(|stopped| stopped.place.clone().filter(|_| stopped.reached));
    place.map(|place| place.arrived.fetch_add(0, Ordering::Acquire)).is_some()
}

/// Lets the member go on. One that has not come to its step will not stop there.
pub fn release() {
    let place = stopped(|stopped| {
        stopped.released = true;
        stopped.place.clone().filter(|_| stopped.reached)
    });
    if let Some(place) = place {
        place.released.notify();
    }
}

/// A step of some thread.
pub(crate) fn step() {
    if aimed().is_none() || crate::sync::unwinding() {
        return;
    }
    let current = loom::thread::current().id();
    let waits = stopped(|stopped| {
        stopped.thread.filter(|thread| *thread == current)?;
        let here = stopped.steps == STEP.load(Ordering::Relaxed) && !stopped.released;
        stopped.steps += 1;
        stopped.reached |= here;
        stopped.place.clone().filter(|_| here)
    });
    if let Some(place) = waits {
        place.arrived.fetch_add(1, Ordering::Release);
        place.settled.notify();
        EVER_REACHED.store(true, Ordering::Relaxed);
        // loom wakes waiters without cause at times.
        while !stopped(|stopped| stopped.released) {
            place.released.wait();
        }
    }
}
