//! loom's types, each atomic with a shadow word, and what a model can set.

use std::any::Any;
use std::sync::Mutex as StdMutex;
use std::sync::atomic::{AtomicBool as StdAtomicBool, AtomicU64 as StdAtomicU64, Ordering};

use loom::sync::atomic as loomed;

use crate::count::{self, Kind};
use crate::stall;
use crate::trace::{self, Action, Birth};

pub use loom::sync::{Arc, Mutex};

static SHADOW: StdAtomicBool = StdAtomicBool::new(false);
static NEWEST: StdAtomicBool = StdAtomicBool::new(false);
static CLOCK_MS: StdAtomicU64 = StdAtomicU64::new(0);
static QUARANTINE: StdMutex<Vec<Freed>> = StdMutex::new(Vec::new());

/// Gives every atomic a shadow word from the next execution on: each access touches it first,
/// so that loom's reduction misses no interleaving, at three to five times the executions.
pub fn shadow_words(on: bool) {
    SHADOW.store(on, Ordering::Relaxed);
}

/// Whether atomics have shadow words.
pub fn has_shadow_words() -> bool {
    SHADOW.load(Ordering::Relaxed)
}

/// Lets every load read the newest store, from the next execution on: each is made a
/// read-modify-write that changes nothing, and each store an exchange. For runs that are about
/// what threads wait for, and not about what they may see; each pair of accesses is visible to
/// the reduction then.
pub fn read_newest(on: bool) {
    NEWEST.store(on, Ordering::Relaxed);
}

/// Begins an execution: what the last one freed goes, and the clock stands at 0.
pub fn begin_execution() {
    if let Ok(mut quarantine) = QUARANTINE.lock() {
        quarantine.clear();
    }
    set_clock_ms(0);
    trace::begin();
    stall::forget();
    count::forget();
    provide_eras(0);
}

/// Makes what so many eras to come need; for models in which eras change.
pub fn provide_eras(eras: usize) {
    #[cfg(not(crossbeam_loom))]
    crate::adversary::provide(eras);
    #[cfg(crossbeam_loom)]
    let _ = eras;
}

/// Sets the buffer's clock.
pub fn set_clock_ms(now_ms: u64) {
    CLOCK_MS.store(now_ms, Ordering::Relaxed);
}

/// The model's clock.
pub fn monotonic_ms() -> u64 {
    CLOCK_MS.load(Ordering::Relaxed)
}

/// Whether a failed model is being taken down: destructors leave everything alone then.
pub fn unwinding() -> bool {
    std::thread::panicking()
}

/// A word beside an atomic. A read-modify-write of it is dependent on every other, and, Relaxed
/// and at a place of its own, orders no memory.
#[derive(Debug)]
struct Shadow(Option<loomed::AtomicUsize>);

impl Shadow {
    fn new() -> Self {
        Self(has_shadow_words().then(|| loomed::AtomicUsize::new(0)))
    }

    fn touch(&self) {
        stall::step();
        if let Some(word) = &self.0 {
            word.fetch_add(0, Ordering::Relaxed);
        }
    }
}

/// How an access of this kind counts.
trait Counted {
    fn kind(&self) -> Kind;
}

macro_rules! counted {
    ($($value:ty $(, $generic:ident)?;)*) => {$(
        impl$(<$generic>)? Counted for $value {
            fn kind(&self) -> Kind {
                Kind::Exchange
            }
        }
    )*};
}

counted! {
    u64;
    usize;
    *mut T, T;
}

impl<T> Counted for Result<T, T> {
    fn kind(&self) -> Kind {
        if self.is_ok() { Kind::Exchange } else { Kind::Refused }
    }
}

macro_rules! atomic {
    (@store $value:ty) => {
        /// Writes it.
        #[track_caller]
        pub fn store(&self, value: $value, order: Ordering) {
            let names = trace::take_names();
            self.shadow.touch();
            if NEWEST.load(Ordering::Relaxed) {
                // loom orders a plain store after another thread's exchange only if the storing
                // thread saw that (tokio-rs/loom#389).
                self.inner.swap(value, order);
            } else {
                self.inner.store(value, order);
            }
            count::note(Kind::Store);
            trace::atomic(names, "store", self, self.birth, &[&value, &order], &());
        }
    };
    ($name:ident $(<$generic:ident>)?, $value:ty, |$inner:ident, $order:ident| $newest:expr, { $($method:ident($($arg:ident: $type:ty),*) -> $result:ty;)* }) => {
        #[doc = concat!("As `std::sync::atomic::", stringify!($name), "`.")]
        #[derive(Debug)]
        pub struct $name $(<$generic>)? {
            inner: loomed::$name $(<$generic>)?,
            shadow: Shadow,
            birth: Birth,
        }

        impl $(<$generic>)? $name $(<$generic>)? {
            /// Makes one.
            pub fn new(value: $value) -> Self {
                Self { inner: loomed::$name::new(value), shadow: Shadow::new(), birth: Birth::now() }
            }

            /// Reads it.
            #[track_caller]
            pub fn load(&self, $order: Ordering) -> $value {
                let names = trace::take_names();
                self.shadow.touch();
                let $inner = &self.inner;
                let result = if NEWEST.load(Ordering::Relaxed) { $newest } else { $inner.load($order) };
                count::note(Kind::Load);
                trace::atomic(names, "load", self, self.birth, &[&$order], &result);
                result
            }

            $(
            #[doc = concat!("As the standard one's `", stringify!($method), "`.")]
            #[allow(clippy::missing_errors_doc, reason = "as the standard one")]
            #[track_caller]
            pub fn $method(&self, $($arg: $type),*) -> $result {
                // Before the others get a turn: they take names too.
                let names = trace::take_names();
                self.shadow.touch();
                let result = self.inner.$method($($arg),*);
                count::note(result.kind());
                trace::atomic(names, stringify!($method), self, self.birth, &[$(&$arg),*], &result);
                result
            })*
        }
    };
}

macro_rules! integer {
    ($name:ident, $value:ty) => {
        atomic!($name, $value, |inner, order| inner.fetch_add(0, order), {
            swap(value: $value, order: Ordering) -> $value;
            fetch_add(value: $value, order: Ordering) -> $value;
            fetch_sub(value: $value, order: Ordering) -> $value;
            fetch_max(value: $value, order: Ordering) -> $value;
            fetch_or(value: $value, order: Ordering) -> $value;
            fetch_and(value: $value, order: Ordering) -> $value;
            compare_exchange(now: $value, then: $value, success: Ordering, failure: Ordering) -> Result<$value, $value>;
        });

        impl $name {
            atomic!(@store $value);
        }
    };
}

integer!(AtomicU64, u64);
integer!(AtomicUsize, usize);

atomic!(AtomicBool, bool, |inner, order| inner.fetch_or(false, order), {});

impl AtomicBool {
    atomic!(@store bool);
}

atomic!(AtomicPtr<T>, *mut T, |inner, order| {
    let null = std::ptr::null_mut();
    inner.compare_exchange(null, null, order, order).unwrap_or_else(|found| found)
}, {
    swap(value: *mut T, order: Ordering) -> *mut T;
    compare_exchange(now: *mut T, then: *mut T, success: Ordering, failure: Ordering) -> Result<*mut T, *mut T>;
});

/// A fence; one weakened to Relaxed is none.
#[track_caller]
pub fn fence(order: Ordering) {
    let names = trace::take_names();
    if order != Ordering::Relaxed {
        loomed::fence(order);
    }
    trace::step(names.last().copied().into_iter().collect(), || Action::Fence { order });
}

/// loom's cell, whose accesses are recorded.
#[derive(Debug)]
pub struct UnsafeCell<T> {
    inner: loom::cell::UnsafeCell<T>,
    birth: Birth,
}

impl<T> UnsafeCell<T> {
    /// Makes a cell.
    #[track_caller]
    pub fn new(value: T) -> Self {
        Self { inner: loom::cell::UnsafeCell::new(value), birth: Birth::now() }
    }

    /// Reads.
    #[track_caller]
    pub fn with<R>(&self, read: impl FnOnce(*const T) -> R) -> R {
        trace::cell(self, self.birth, false);
        self.inner.with(read)
    }

    /// Writes.
    #[track_caller]
    pub fn with_mut<R>(&self, write: impl FnOnce(*mut T) -> R) -> R {
        trace::cell(self, self.birth, true);
        self.inner.with_mut(write)
    }
}

/// Says whether the object that contains it is still alive. Each check is a read, and the death
/// a write, of a cell that loom tracks: one that the other does not happen before is reported.
#[derive(Debug)]
pub struct Canary {
    alive: loom::cell::UnsafeCell<bool>,
    birth: Birth,
    /// Reports the object as leaked if it never dies.
    track: StdMutex<Option<loom::alloc::Track<()>>>,
}

impl Canary {
    /// Makes one that is alive.
    #[expect(clippy::new_without_default, reason = "where it is made matters")]
    #[track_caller]
    pub fn new() -> Self {
        Self {
            alive: loom::cell::UnsafeCell::new(true),
            birth: Birth::now(),
            track: StdMutex::new(Some(loom::alloc::Track::new(()))),
        }
    }

    /// The object is used.
    #[track_caller]
    pub fn check(&self) {
        if !unwinding() {
            trace::object(self, self.birth, false);
            // SAFETY: loom reports a write that is not ordered with this read.
            self.alive.with(|alive| assert!(unsafe { *alive }, "I6: used after it was freed"));
        }
    }

    /// The object is freed.
    #[track_caller]
    pub fn kill(&self) {
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
pub unsafe fn free<T: 'static>(object: *mut T) {
    // SAFETY: the caller's promise.
    let object = unsafe { Box::from_raw(object) };
    if let Ok(mut quarantine) = QUARANTINE.lock() {
        quarantine.push(Freed(object));
    }
}
