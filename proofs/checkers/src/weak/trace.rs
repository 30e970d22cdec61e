//! The trace of an execution: its steps, and the places in the code that met in memory.

use std::cell::Cell;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::panic::Location as Place;
use std::sync::atomic::Ordering;

use super::execution::try_with;
use super::view::{Clock, Moment};

/// What a step was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// A load.
    Load,
    /// A store.
    Store,
    /// A read-modify-write, or a compare-exchange that succeeded.
    Exchange,
    /// A compare-exchange that failed.
    Refused,
    /// A fence.
    Fence,
    /// A thread was started.
    Spawn(usize),
    /// A thread was waited for.
    Join(usize),
    /// What the program said of itself.
    Mark(u32),
    /// The collector did something.
    Collector(Action),
    /// A freed object was used.
    Use,
    /// An object was freed.
    Free,
}

/// What the collector does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// A guard: what is retired from now on is not freed.
    Pin,
    /// The guard is gone.
    Unpin,
    /// Something is retired.
    Defer {
        /// Guards that have to go before it is freed.
        waits_for: usize,
    },
    /// Something retired is freed now.
    RunDeferred,
}

/// The orderings that a step of the collector names: none.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Names(());

/// The collector tells of a step.
#[track_caller]
pub(crate) fn step(_: Names, action: impl FnOnce() -> Action) {
    let at = At::here("", Ordering::Relaxed);
    try_with(|state| state.observe_thread(Access::Collector(action()), &at));
}

/// What a pointer in memory points to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pointee {
    /// The type.
    pub type_name: &'static str,
    /// Its size.
    pub size_bytes: usize,
}

/// Something in memory.
#[derive(Clone, Copy, Debug)]
pub struct Thing {
    /// Where it is.
    pub address: usize,
    /// Counts what was made in the execution, atomics and objects apart.
    pub birth: usize,
    /// Where it was made.
    pub made: &'static Place<'static>,
    /// What its values point to, if they are pointers.
    pub points_to: Option<Pointee>,
}

/// A step of an execution.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// Who.
    pub thread: usize,
    /// What.
    pub access: Access,
    /// The ordering's name at the site.
    pub row: Option<&'static str>,
    /// The ordering in force.
    pub order: Ordering,
    /// The method of the atomic.
    pub method: &'static str,
    /// Where in memory.
    pub thing: Option<Thing>,
    /// The value read.
    pub read: Option<u64>,
    /// How many newer stores there were.
    pub age: usize,
    /// The value that a compare-exchange expected.
    pub expected: Option<u64>,
    /// The value written; of a compare-exchange that failed, the one it would have.
    pub wrote: Option<u64>,
    /// Where in the code.
    pub place: &'static Place<'static>,
}

/// A place in the code. Two are the same if they are one object: file, line and column.
#[derive(Clone, Copy, Debug)]
pub struct Site(pub(super) &'static Place<'static>);

impl Site {
    fn address(self) -> usize {
        std::ptr::from_ref(self.0).addr()
    }
}

impl PartialEq for Site {
    fn eq(&self, other: &Self) -> bool {
        self.address() == other.address()
    }
}

impl Eq for Site {}

impl Hash for Site {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.address().hash(state);
    }
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.0.file(), self.0.line())
    }
}

/// Two accesses of one location that met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Pair {
    /// A load read a store, by the same thread or another one's.
    ReadsFrom {
        /// Where it was stored.
        store: Site,
        /// Where it was read.
        load: Site,
        /// By one thread.
        by_one_thread: bool,
    },
    /// Two threads accessed it, one right after the other.
    Interleaving {
        /// The one.
        first: Site,
        /// The other.
        second: Site,
    },
}

impl Pair {
    /// A number that no other pair has, and that is not 0: a place is data of the program, which is far
    /// smaller than 4 GiB, at an address that is a multiple of eight.
    pub(super) fn key(self) -> u64 {
        let (one, other, kind) = match self {
            Self::ReadsFrom { store, load, by_one_thread } => (store, load, 1 + u64::from(by_one_thread)),
            Self::Interleaving { first, second } => (first, second, 3),
        };
        let low = |site: Site| u64::from(site.address() as u32 >> 3);
        low(one) << 32 | low(other) << 2 | kind
    }
}

const _: () =
    assert!(align_of::<Place<'static>>() == 8, "the key of a pair leaves out three bits of an address");

/// A moment of a thread: when it was, and what the thread knew.
#[derive(Clone, Copy, Debug)]
pub struct Stamp {
    pub(super) at: usize,
    pub(super) moment: Moment,
    pub(super) clock: Clock,
}

impl Stamp {
    /// The number of the step: an order that all threads agree on.
    #[must_use]
    pub fn at(&self) -> usize {
        self.at
    }

    /// Whether all that was done until this moment happens before `later`. More than having been
    /// earlier: memory orders it.
    #[must_use]
    pub fn happens_before(&self, later: &Self) -> bool {
        self.moment.is_before(&later.clock)
    }
}

thread_local! {
    /// The orderings that the running thread has looked up since its last access.
    static NAMES: Cell<[Option<&'static str>; 2]> = const { Cell::new([None; 2]) };
}

/// The name of the ordering that the next access uses: of two, the first is for success.
#[inline]
pub fn name_next(name: &'static str) {
    NAMES.set([NAMES.get()[1], Some(name)]);
}

/// The orderings that an access names, for success and for failure: to be taken before anyone else goes on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Named([Option<&'static str>; 2]);

impl Named {
    pub(super) fn take() -> Self {
        Self(NAMES.replace([None; 2]))
    }

    /// The name of the one that was in force.
    fn name(self, refused: bool) -> Option<&'static str> {
        match self.0 {
            [Some(success), Some(_)] if !refused => Some(success),
            [_, last] => last,
        }
    }
}

/// An access under way: where in the code, and how ordered.
#[derive(Clone, Copy, Debug)]
pub(super) struct At {
    pub(super) method: &'static str,
    pub(super) order: Ordering,
    pub(super) names: Named,
    /// The value that a compare-exchange expects.
    pub(super) expected: Option<u64>,
    pub(super) place: &'static Place<'static>,
}

impl At {
    /// Called by whom `#[track_caller]` leads to, before any other thread goes on.
    #[track_caller]
    pub(super) fn here(method: &'static str, order: Ordering) -> Self {
        Self { method, order, names: Named::take(), expected: None, place: Place::caller() }
    }

    /// As a step of `thread`, which reads and writes nothing yet.
    pub(super) fn step(&self, thread: usize, access: Access, thing: Option<Thing>) -> Step {
        let &Self { method, order, names, place, .. } = self;
        let row = names.name(access == Access::Refused);
        Step {
            thread,
            access,
            row,
            order,
            method,
            thing,
            read: None,
            age: 0,
            expected: None,
            wrote: None,
            place,
        }
    }
}
