//! The atomics. Each access is a scheduling point, then a step of the memory model.

use std::marker::PhantomData;
use std::panic::Location as Place;
use std::ptr;
use std::sync::atomic::Ordering;

use super::engine::scheduling_point;
use super::execution::{Choice, State, fail_at, with};
use super::trace::{Access, At, Pointee, Thing};

/// A location, as the types below know it.
#[derive(Debug)]
pub(super) struct Word {
    location: usize,
    points_to: Option<Pointee>,
}

impl Word {
    #[track_caller]
    fn new(value: u64, points_to: Option<Pointee>) -> Self {
        let place = Place::caller();
        Self { location: with(|state| state.memory.make(Some(state.current), value, place)), points_to }
    }

    #[track_caller]
    fn ageless(value: u64) -> Self {
        let place = Place::caller();
        Self { location: with(|state| state.memory.make(None, value, place)), points_to: None }
    }

    pub(super) fn location(&self) -> usize {
        self.location
    }

    /// As the trace knows it.
    pub(super) fn thing(&self, made: &'static Place<'static>) -> Thing {
        let address = ptr::from_ref(self).addr();
        Thing { address, birth: self.location, made, points_to: self.points_to }
    }

    /// A scheduling point; then one step, by a thread that is after the making of the location.
    #[inline]
    fn step<R>(&self, place: &'static Place<'static>, step: impl FnOnce(&mut State) -> R) -> R {
        scheduling_point();
        let done = with(|state| {
            if let Some(made) = state.memory.too_early(state.current, self.location)
                && !super::unwinding()
            {
                return Err(made);
            }
            let result = step(state);
            state.memory.step(state.current);
            Ok(result)
        });
        done.unwrap_or_else(|made| {
            let made = format!("{}:{}", made.file(), made.line());
            fail_at(
                format!("I6: a data race: the atomic made at {made} is used by who has not seen it made"),
                place,
            )
        })
    }

    fn load(&self, at: &At) -> u64 {
        self.step(at.place, |state| {
            let options = state.memory.readable(state.current, self.location);
            let age = choose_read(state, options);
            state.observe(Access::Load, self, at, Some(age), None);
            state.memory.load(state.current, self.location, age, at.order)
        })
    }

    fn store(&self, value: u64, at: &At) {
        self.step(at.place, |state| {
            state.observe(Access::Store, self, at, None, Some(value));
            state.memory.store(state.current, self.location, value, at.order, at.place);
        });
    }

    fn exchange(&self, change: impl FnOnce(u64) -> u64, at: &At) -> u64 {
        self.step(at.place, |state| {
            let value = change(state.memory.message(self.location, 0).value);
            state.observe(Access::Exchange, self, at, Some(0), Some(value));
            state.memory.exchange(state.current, self.location, value, at.order, at.place)
        })
    }

    fn compare_exchange(&self, now: u64, then: u64, at: &At, failure: Ordering) -> Result<u64, u64> {
        let at = &At { expected: Some(now), ..*at };
        self.step(at.place, |state| {
            let memory = &state.memory;
            let can_succeed = memory.message(self.location, 0).value == now;
            // Where it can fail: at what the thread may read and did not expect.
            let readable = memory.readable(state.current, self.location);
            let refusals = (0..readable).filter(|age| memory.message(self.location, *age).value != now);
            let refusals: smallvec::SmallVec<[usize; 16]> = refusals.collect();
            let chosen = choose_read(state, refusals.len() + usize::from(can_succeed));
            if can_succeed && chosen == 0 {
                state.observe(Access::Exchange, self, at, Some(0), Some(then));
                return Ok(state.memory.exchange(state.current, self.location, then, at.order, at.place));
            }
            let age = refusals[chosen - usize::from(can_succeed)];
            state.observe(Access::Refused, self, &At { order: failure, ..*at }, Some(age), Some(then));
            Err(state.memory.load(state.current, self.location, age, failure))
        })
    }
}

fn choose_read(state: &mut State, options: usize) -> usize {
    if options < 2 || super::unwinding() {
        return 0;
    }
    state.choose(Choice::Read { options })
}

/// A fence; one weakened to Relaxed is none.
#[track_caller]
pub fn fence(order: Ordering) {
    let at = At::here("fence", order);
    scheduling_point();
    with(|state| {
        state.observe_thread(Access::Fence, &at);
        state.memory.fence(state.current, order);
        state.memory.step(state.current);
    });
}

macro_rules! integer {
    ($(#[$doc:meta])* $vis:vis $name:ident, $value:ty) => {
        $(#[$doc])*
        #[derive(Debug)]
        $vis struct $name(Word);

        impl $name {
            /// Makes a location.
            #[track_caller]
            pub fn new(value: $value) -> Self {
                Self(Word::new(value as u64, None))
            }

            /// Reads a store that the thread may read.
            #[track_caller]
            pub fn load(&self, order: Ordering) -> $value {
                self.0.load(&At::here("load", order)) as $value
            }

            /// Appends a store.
            #[track_caller]
            pub fn store(&self, value: $value, order: Ordering) {
                self.0.store(value as u64, &At::here("store", order));
            }

            /// Reads the newest store and appends another.
            #[track_caller]
            pub fn swap(&self, value: $value, order: Ordering) -> $value {
                self.0.exchange(|_| value as u64, &At::here("swap", order)) as $value
            }

            /// As [`swap`](Self::swap), adding.
            #[track_caller]
            pub fn fetch_add(&self, value: $value, order: Ordering) -> $value {
                self.0.exchange(|now| (now as $value).wrapping_add(value) as u64, &At::here("fetch_add", order)) as $value
            }

            /// As [`swap`](Self::swap), subtracting.
            #[track_caller]
            pub fn fetch_sub(&self, value: $value, order: Ordering) -> $value {
                self.0.exchange(|now| (now as $value).wrapping_sub(value) as u64, &At::here("fetch_sub", order)) as $value
            }

            /// As [`swap`](Self::swap), taking the greater.
            #[track_caller]
            pub fn fetch_max(&self, value: $value, order: Ordering) -> $value {
                self.0.exchange(|now| (now as $value).max(value) as u64, &At::here("fetch_max", order)) as $value
            }

            /// As [`swap`](Self::swap), setting bits.
            #[track_caller]
            pub fn fetch_or(&self, value: $value, order: Ordering) -> $value {
                self.0.exchange(|now| (now as $value | value) as u64, &At::here("fetch_or", order)) as $value
            }

            /// As [`swap`](Self::swap), keeping bits.
            #[track_caller]
            pub fn fetch_and(&self, value: $value, order: Ordering) -> $value {
                self.0.exchange(|now| (now as $value & value) as u64, &At::here("fetch_and", order)) as $value
            }

            /// Succeeds on the newest store alone; may fail on any that the thread may read.
            ///
            /// # Errors
            /// The value read.
            #[track_caller]
            pub fn compare_exchange(
                &self,
                now: $value,
                then: $value,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$value, $value> {
                let at = At::here("compare_exchange", success);
                let result = self.0.compare_exchange(now as u64, then as u64, &at, failure);
                result.map(|value| value as $value).map_err(|value| value as $value)
            }
        }
    };
}

integer! {
    /// As `std::sync::atomic::AtomicU64`.
    pub AtomicU64, u64
}
integer! {
    /// As `std::sync::atomic::AtomicUsize`.
    pub AtomicUsize, usize
}

impl AtomicUsize {
    /// Makes a location that was there from the start.
    #[track_caller]
    pub(crate) fn ageless(value: usize) -> Self {
        Self(Word::ageless(value as u64))
    }
}

/// As `std::sync::atomic::AtomicBool`.
#[derive(Debug)]
pub struct AtomicBool(Word);

impl AtomicBool {
    /// Makes a location.
    #[track_caller]
    pub fn new(value: bool) -> Self {
        Self(Word::new(u64::from(value), None))
    }

    /// Reads a store that the thread may read.
    #[track_caller]
    pub fn load(&self, order: Ordering) -> bool {
        self.0.load(&At::here("load", order)) != 0
    }

    /// Appends a store.
    #[track_caller]
    pub fn store(&self, value: bool, order: Ordering) {
        self.0.store(u64::from(value), &At::here("store", order));
    }
}

/// As `std::sync::atomic::AtomicPtr`.
#[derive(Debug)]
pub struct AtomicPtr<T>(Word, PhantomData<*mut T>);

// SAFETY: it holds a number; what that points to is its users' concern, as with the standard one.
unsafe impl<T> Send for AtomicPtr<T> {}
// SAFETY: as above; all threads of an execution are one thread of the system.
unsafe impl<T> Sync for AtomicPtr<T> {}

fn number<T>(pointer: *mut T) -> u64 {
    pointer.expose_provenance() as u64
}

fn pointer<T>(number: u64) -> *mut T {
    ptr::with_exposed_provenance_mut(number as usize)
}

impl<T> AtomicPtr<T> {
    /// Makes a location.
    #[track_caller]
    pub fn new(value: *mut T) -> Self {
        Self(
            Word::new(
                number(value),
                Some(Pointee { type_name: std::any::type_name::<T>(), size_bytes: size_of::<T>() }),
            ),
            PhantomData,
        )
    }

    /// Reads a store that the thread may read.
    #[track_caller]
    pub fn load(&self, order: Ordering) -> *mut T {
        pointer(self.0.load(&At::here("load", order)))
    }

    /// Reads the newest store and appends another.
    #[track_caller]
    pub fn swap(&self, value: *mut T, order: Ordering) -> *mut T {
        pointer(self.0.exchange(|_| number(value), &At::here("swap", order)))
    }

    /// Succeeds on the newest store alone; may fail on any that the thread may read.
    ///
    /// # Errors
    /// The value read.
    #[track_caller]
    pub fn compare_exchange(
        &self,
        now: *mut T,
        then: *mut T,
        success: Ordering,
        failure: Ordering,
    ) -> Result<*mut T, *mut T> {
        let at = At::here("compare_exchange", success);
        let result = self.0.compare_exchange(number(now), number(then), &at, failure);
        result.map(pointer).map_err(pointer)
    }
}
