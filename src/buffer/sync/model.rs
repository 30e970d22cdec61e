//! The shim of a model build: loom's types, each atomic with a shadow word.

use std::any::Any;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool as StdAtomicBool, AtomicU64 as StdAtomicU64, Ordering};

use loom::sync::atomic as loomed;

use super::trace::{self, Action, Birth};

pub(crate) use loom::sync::Arc;

static SHADOW: StdAtomicBool = StdAtomicBool::new(false);
static CLOCK_MS: StdAtomicU64 = StdAtomicU64::new(0);
static QUARANTINE: Mutex<Vec<Freed>> = Mutex::new(Vec::new());

/// What a model can set.
pub mod model_control {
    use super::{CLOCK_MS, Ordering, QUARANTINE, SHADOW};

    /// Gives every atomic a shadow word from the next execution on: each access touches it first,
    /// so that loom's reduction misses no interleaving, at three to five times the executions.
    pub fn shadow_words(on: bool) {
        SHADOW.store(on, Ordering::Relaxed);
    }

    /// Whether atomics have shadow words.
    pub fn has_shadow_words() -> bool {
        SHADOW.load(Ordering::Relaxed)
    }

    /// Begins an execution: what the last one freed goes, and the clock stands at 0.
    pub fn begin_execution() {
        if let Ok(mut quarantine) = QUARANTINE.lock() {
            quarantine.clear();
        }
        set_clock_ms(0);
        super::trace::begin();
        super::stall::forget();
        provide_eras(0);
    }

    /// Makes what so many eras to come need; for models in which eras change.
    pub fn provide_eras(eras: usize) {
        crate::buffer::sync::adversary::provide(eras);
    }

    /// Sets the buffer's clock.
    pub fn set_clock_ms(now_ms: u64) {
        CLOCK_MS.store(now_ms, Ordering::Relaxed);
    }
}

/// Stopping a thread at one of its steps, while the others go on.
pub mod stall {
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    use std::sync::{Arc, Mutex, PoisonError};

    use loom::sync::Notify;
    use loom::thread::ThreadId;

    /// The step at which to stop, for the whole process.
    static AT: AtomicUsize = AtomicUsize::new(usize::MAX);
    static EVER_REACHED: AtomicBool = AtomicBool::new(false);
    static CANDIDATE: Mutex<Option<Candidate>> = Mutex::new(None);

    struct Candidate {
        thread: ThreadId,
        steps: usize,
        reached: bool,
        released: bool,
        notify: Option<Arc<Notify>>,
    }

    fn candidate<R>(with: impl FnOnce(&mut Option<Candidate>) -> R) -> R {
        with(&mut CANDIDATE.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Stops the thread that calls [`begin`] at its `step`-th access, from the next execution on.
    pub fn set_step(step: usize) {
        AT.store(step, Ordering::Relaxed);
        EVER_REACHED.store(false, Ordering::Relaxed);
    }

    /// Whether some execution since [`set_step`] got to the step.
    pub fn ever_reached() -> bool {
        EVER_REACHED.load(Ordering::Relaxed)
    }

    pub(super) fn forget() {
        candidate(|candidate| *candidate = None);
    }

    /// From here on the calling thread's accesses are its steps.
    pub fn begin() {
        let thread = loom::thread::current().id();
        let notify = Some(Arc::new(Notify::new()));
        candidate(|candidate| {
            let released = candidate.as_ref().is_some_and(|candidate| candidate.released);
            *candidate = Some(Candidate { thread, steps: 0, reached: false, released, notify });
        });
    }

    /// The calling thread's steps are over.
    pub fn end() {
        let notify = candidate(|candidate| candidate.as_mut().and_then(|candidate| candidate.notify.take()));
        drop(notify);
    }

    /// Whether the thread stands stopped.
    pub fn reached() -> bool {
        candidate(|candidate| candidate.as_ref().is_some_and(|candidate| candidate.reached))
    }

    /// Lets the thread go on.
    pub fn release() {
        let notify = candidate(|candidate| match candidate {
            Some(candidate) => {
                candidate.released = true;
                candidate.notify.clone()
            }
            // It has not begun: it will not stop.
            None => {
                *candidate = Some(Candidate {
                    thread: loom::thread::current().id(),
                    steps: usize::MAX / 2,
                    reached: false,
                    released: true,
                    notify: None,
                });
                None
            }
        });
        if let Some(notify) = notify {
            notify.notify();
        }
    }

    /// A step of some thread.
    pub(super) fn step() {
        let at = AT.load(Ordering::Relaxed);
        if at == usize::MAX || super::unwinding() {
            return;
        }
        let thread = loom::thread::current().id();
        let wait = candidate(|candidate| {
            let candidate = candidate.as_mut().filter(|candidate| candidate.thread == thread)?;
            let here = candidate.steps == at && !candidate.released;
            candidate.steps += 1;
            candidate.reached |= here;
            candidate.notify.clone().filter(|_| here)
        });
        if let Some(notify) = wait {
            EVER_REACHED.store(true, Ordering::Relaxed);
            // loom wakes waiters without cause at times.
            while !candidate(|candidate| candidate.as_ref().is_none_or(|candidate| candidate.released)) {
                notify.wait();
            }
        }
    }
}

/// The model's clock.
pub(crate) fn monotonic_ms() -> u64 {
    CLOCK_MS.load(Ordering::Relaxed)
}

/// Whether a failed model is being taken down: destructors leave everything alone then.
pub(crate) fn unwinding() -> bool {
    std::thread::panicking()
}

/// A word beside an atomic. A read-modify-write of it is dependent on every other, and, Relaxed
/// and at a place of its own, orders no memory.
#[derive(Debug)]
struct Shadow(Option<loomed::AtomicUsize>);

impl Shadow {
    fn new() -> Self {
        Self(model_control::has_shadow_words().then(|| loomed::AtomicUsize::new(0)))
    }

    fn touch(&self) {
        stall::step();
        if let Some(word) = &self.0 {
            word.fetch_add(0, Ordering::Relaxed);
        }
    }
}

macro_rules! atomic {
    ($name:ident $(<$generic:ident>)?, $value:ty, { $($method:ident($($arg:ident: $type:ty),*) -> $result:ty;)* }) => {
        #[derive(Debug)]
        pub(crate) struct $name $(<$generic>)? {
            inner: loomed::$name $(<$generic>)?,
            shadow: Shadow,
            birth: Birth,
        }

        #[allow(dead_code)]
        impl $(<$generic>)? $name $(<$generic>)? {
            pub(crate) fn new(value: $value) -> Self {
                Self { inner: loomed::$name::new(value), shadow: Shadow::new(), birth: Birth::now() }
            }

            $(#[track_caller]
            pub(crate) fn $method(&self, $($arg: $type),*) -> $result {
                // Before the others get a turn: they take names too.
                let names = trace::take_names();
                self.shadow.touch();
                let result = self.inner.$method($($arg),*);
                trace::atomic(names, stringify!($method), self, self.birth, &[$(&$arg),*], &result);
                result
            })*
        }
    };
}

atomic!(AtomicU64, u64, {
    load(order: Ordering) -> u64;
    store(value: u64, order: Ordering) -> ();
    fetch_add(value: u64, order: Ordering) -> u64;
    fetch_sub(value: u64, order: Ordering) -> u64;
    fetch_max(value: u64, order: Ordering) -> u64;
    compare_exchange(now: u64, then: u64, success: Ordering, failure: Ordering) -> Result<u64, u64>;
});
atomic!(AtomicUsize, usize, {
    load(order: Ordering) -> usize;
    store(value: usize, order: Ordering) -> ();
    fetch_add(value: usize, order: Ordering) -> usize;
    fetch_sub(value: usize, order: Ordering) -> usize;
});
atomic!(AtomicBool, bool, {
    load(order: Ordering) -> bool;
    store(value: bool, order: Ordering) -> ();
});
atomic!(AtomicPtr<T>, *mut T, {
    load(order: Ordering) -> *mut T;
    swap(value: *mut T, order: Ordering) -> *mut T;
    compare_exchange(now: *mut T, then: *mut T, success: Ordering, failure: Ordering) -> Result<*mut T, *mut T>;
});

/// Gives the others a turn, in a loop that waits for them.
pub(crate) fn spin() {
    loom::thread::yield_now();
}

/// A fence; one weakened to Relaxed is none.
#[track_caller]
pub(crate) fn fence(order: Ordering) {
    let names = trace::take_names();
    if order != Ordering::Relaxed {
        loomed::fence(order);
    }
    trace::step(names, || Action::Fence { order });
}

/// loom's cell, whose accesses are recorded.
#[derive(Debug)]
pub(crate) struct UnsafeCell<T> {
    inner: loom::cell::UnsafeCell<T>,
    birth: Birth,
}

impl<T> UnsafeCell<T> {
    #[track_caller]
    pub(crate) fn new(value: T) -> Self {
        Self { inner: loom::cell::UnsafeCell::new(value), birth: Birth::now() }
    }

    #[track_caller]
    pub(crate) fn with<R>(&self, read: impl FnOnce(*const T) -> R) -> R {
        trace::cell(self, self.birth, false);
        self.inner.with(read)
    }

    #[track_caller]
    pub(crate) fn with_mut<R>(&self, write: impl FnOnce(*mut T) -> R) -> R {
        trace::cell(self, self.birth, true);
        self.inner.with_mut(write)
    }
}

/// Says whether the object that contains it is still alive. Each check is a read, and the death
/// a write, of a cell that loom tracks: one that the other does not happen before is reported.
#[derive(Debug)]
pub(crate) struct Canary {
    alive: loom::cell::UnsafeCell<bool>,
    birth: Birth,
    /// Reports the object as leaked if it never dies.
    track: Mutex<Option<loom::alloc::Track<()>>>,
}

impl Canary {
    #[track_caller]
    pub(crate) fn new() -> Self {
        Self {
            alive: loom::cell::UnsafeCell::new(true),
            birth: Birth::now(),
            track: Mutex::new(Some(loom::alloc::Track::new(()))),
        }
    }

    #[track_caller]
    pub(crate) fn check(&self) {
        if !unwinding() {
            trace::object(self, self.birth, false);
            // SAFETY: loom reports a write that is not ordered with this read.
            self.alive.with(|alive| assert!(unsafe { *alive }, "I6: used after it was freed"));
        }
    }

    #[track_caller]
    pub(crate) fn kill(&self) {
        trace::object(self, self.birth, true);
        self.alive.with_mut(|alive| {
            // SAFETY: loom reports an access that is not ordered with this one.
            assert!(unsafe { std::mem::replace(&mut *alive, false) }, "I6: freed twice");
        });
        let track = self.track.lock().map_or(None, |mut track| track.take());
        drop(track);
    }
}

struct Freed(#[allow(dead_code)] Box<dyn Any>);

// SAFETY: loom runs all threads of a model on one thread of the system.
unsafe impl Send for Freed {}

/// Puts what `Box::into_raw` gave into quarantine until the execution is over.
///
/// # Safety
/// `object` came from `Box::into_raw`, and nobody ought to use it any more.
pub(crate) unsafe fn free<T: 'static>(object: *mut T) {
    // SAFETY: the caller's promise.
    let object = unsafe { Box::from_raw(object) };
    if let Ok(mut quarantine) = QUARANTINE.lock() {
        quarantine.push(Freed(object));
    }
}
