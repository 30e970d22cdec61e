//! One execution: its memory, the choices that made it, and the trace of its steps.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::panic::Location as Place;
use std::sync::atomic::Ordering;

use foldhash::fast::FixedState;

use super::memory::Memory;
use super::view::{Clock, Known, Moment};
use crate::buffer::sync::table::ORDERINGS;

/// A place where an execution could go on in several ways. The first is always the plain one: stay
/// on the thread, read the newest store.
#[derive(Clone, Copy, Debug)]
pub enum Choice<'a> {
    /// Which thread goes on.
    Thread {
        /// The threads that can.
        candidates: &'a [usize],
        /// The first of them is the one that ran last, so another one preempts it.
        stays: bool,
        /// The last of them is the one that ran last, and wants others to go on.
        yields: bool,
    },
    /// Which store is read, or, of a compare-exchange, whether it fails.
    Read {
        /// How many ways there are.
        options: usize,
    },
}

impl Choice<'_> {
    /// How many ways there are, at least two.
    #[must_use]
    pub fn options(&self) -> usize {
        match self {
            Self::Thread { candidates, .. } => candidates.len(),
            Self::Read { options } => *options,
        }
    }
}

/// Who decides which executions there are, and what happens in each.
pub trait Driver: Any {
    /// Whether there is to be another execution.
    fn begin(&mut self) -> bool;
    /// Chooses a way; one that there is not counts as the last.
    fn choose(&mut self, choice: Choice<'_>) -> usize;
    /// An execution is over.
    fn end(&mut self, ended: Ended<'_>);
}

/// An execution that is over.
#[derive(Debug)]
pub struct Ended<'a> {
    /// What broke, if something did.
    pub failure: Option<&'a Failure>,
    /// It took too many steps and was given up.
    pub cut_off: bool,
    /// Accesses of atomics.
    pub steps: usize,
    /// All that happened.
    pub trace: &'a [Step],
    /// The choices, in order.
    pub choices: &'a [u8],
    /// Pairs of places seen by this execution and by none before.
    pub fresh: &'a [Pair],
}

/// How an execution broke.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What broke, the invariant first.
    pub message: String,
    /// The thread in which it was noticed.
    pub thread: usize,
    /// Where, as `file:line`.
    pub place: String,
    /// How many steps were in the trace then.
    pub step: usize,
}

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
}

/// A step of an execution.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// Who.
    pub thread: usize,
    /// What.
    pub access: Access,
    /// The row of the table of orderings that the site names.
    pub row: Option<&'static str>,
    /// The ordering in force.
    pub order: Ordering,
    /// Where in memory.
    pub location: usize,
    /// The value read.
    pub read: Option<u64>,
    /// How many newer stores there were.
    pub age: usize,
    /// The value written.
    pub wrote: Option<u64>,
    /// Where in the code.
    pub place: &'static Place<'static>,
}

/// A place in the code. Two are the same if they are one object: file, line and column.
#[derive(Clone, Copy, Debug)]
pub struct Site(&'static Place<'static>);

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

/// The state of all executions that a driver asks for.
pub(super) struct State {
    pub(super) driver: Box<dyn Driver>,
    pub(super) memory: Memory,
    pub(super) failure: Option<Failure>,
    pub(super) cut_off: bool,
    /// The execution is given up: nobody goes on.
    pub(super) stopping: bool,
    pub(super) current: usize,
    /// Threads that have not finished.
    pub(super) running: usize,
    step_limit: usize,
    steps: usize,
    trace: Vec<Step>,
    choices: Vec<u8>,
    clock_ms: u64,
    /// Canaries made and not dead yet: where each was made.
    alive: Vec<Option<&'static Place<'static>>>,
    /// Who touched each location last, and where.
    touched: Vec<Option<(usize, Site)>>,
    seen: HashSet<Pair, FixedState>,
    fresh: Vec<Pair>,
}

thread_local! {
    static STATE: RefCell<Option<State>> = const { RefCell::new(None) };
    /// The rows that sites have looked up since the last access.
    static ROWS: Cell<[Option<usize>; 2]> = const { Cell::new([None; 2]) };
}

/// A site has looked the ordering of a row up, to use it in the access that comes next.
pub(in crate::buffer::sync) fn note_row(row: usize) {
    ROWS.set([ROWS.get()[1], Some(row)]);
}

/// The row of the access that comes now; of two, the one for success or the one for failure.
fn take_row(refused: bool) -> Option<&'static str> {
    let row = match ROWS.replace([None; 2]) {
        [Some(success), Some(_)] if !refused => Some(success),
        [_, last] => last,
    };
    row.map(|row| ORDERINGS[row].name)
}

impl State {
    pub(super) fn new(driver: Box<dyn Driver>) -> Self {
        Self {
            driver,
            memory: Memory::new(),
            failure: None,
            cut_off: false,
            stopping: false,
            current: 0,
            running: 1,
            step_limit: usize::MAX,
            steps: 0,
            trace: Vec::new(),
            choices: Vec::new(),
            clock_ms: 0,
            alive: Vec::new(),
            touched: Vec::new(),
            seen: HashSet::default(),
            fresh: Vec::new(),
        }
    }

    pub(super) fn begin(&mut self) -> bool {
        (self.memory, self.failure, self.cut_off, self.stopping) = (Memory::new(), None, false, false);
        (self.current, self.running, self.steps, self.clock_ms) = (0, 1, 0, 0);
        self.trace.clear();
        self.choices.clear();
        self.alive.clear();
        self.touched.clear();
        self.fresh.clear();
        ROWS.set([None; 2]);
        self.driver.begin()
    }

    pub(super) fn end(&mut self) {
        self.driver.end(Ended {
            failure: self.failure.as_ref(),
            cut_off: self.cut_off,
            steps: self.steps,
            trace: &self.trace,
            choices: &self.choices,
            fresh: &self.fresh,
        });
    }

    pub(super) fn choose(&mut self, choice: Choice<'_>) -> usize {
        let last = choice.options() - 1;
        let chosen = self.driver.choose(choice).min(last).min(usize::from(u8::MAX));
        self.choices.push(chosen as u8);
        chosen
    }

    /// Says what broke; the first one to say so is right.
    pub(super) fn fail(&mut self, message: String, place: String) {
        let (thread, step) = (self.current, self.trace.len());
        self.failure.get_or_insert(Failure { message, thread, place, step });
    }

    /// Counts a step; false if there were too many.
    pub(super) fn count(&mut self) -> bool {
        self.steps += 1;
        self.cut_off |= self.steps > self.step_limit;
        !self.cut_off
    }

    fn record(&mut self, step: Step) {
        self.trace.push(step);
    }

    fn cover(&mut self, pair: Pair) {
        if self.seen.insert(pair) {
            self.fresh.push(pair);
        }
    }

    fn touch(&mut self, location: usize, place: &'static Place<'static>) {
        if self.touched.len() <= location {
            self.touched.resize(location + 1, None);
        }
        let now = (self.current, Site(place));
        if let Some((thread, first)) = self.touched[location].replace(now)
            && thread != self.current
        {
            self.cover(Pair::Interleaving { first, second: now.1 });
        }
    }

    /// Takes down what a step was, before it changes the memory: the message it reads is still there.
    pub(super) fn observe(
        &mut self,
        access: Access,
        location: usize,
        age: Option<usize>,
        wrote: Option<u64>,
        order: Ordering,
        place: &'static Place<'static>,
    ) {
        let read = age.map(|age| {
            let message = self.memory.message(location, age);
            let by_one_thread = message.thread == self.current;
            (Pair::ReadsFrom { store: Site(message.place), load: Site(place), by_one_thread }, message.value)
        });
        if let Some((pair, _)) = read {
            self.cover(pair);
        }
        if access != Access::Fence {
            self.touch(location, place);
        }
        let row = take_row(access == Access::Refused);
        self.record(Step {
            thread: self.current,
            access,
            row,
            order,
            location,
            read: read.map(|(_, value)| value),
            age: age.unwrap_or(0),
            wrote,
            place,
        });
    }

    /// Takes down a step that touches no location.
    pub(super) fn observe_thread(&mut self, access: Access, place: &'static Place<'static>) {
        self.record(Step {
            thread: self.current,
            access,
            row: None,
            order: Ordering::Relaxed,
            location: usize::MAX,
            read: None,
            age: 0,
            wrote: None,
            place,
        });
    }

    pub(super) fn birth(&mut self, place: &'static Place<'static>) -> usize {
        self.alive.push(Some(place));
        self.alive.len() - 1
    }

    pub(super) fn death(&mut self, canary: usize) {
        if let Some(alive) = self.alive.get_mut(canary) {
            *alive = None;
        }
    }

    /// What was made and never freed.
    pub(super) fn leaked(&self) -> Option<&'static Place<'static>> {
        self.alive.iter().find_map(|alive| *alive)
    }

    /// What the running thread knows.
    pub(super) fn known(&self) -> &Known {
        self.memory.known(self.current)
    }
}

/// Puts a state in place, or takes it out.
pub(super) fn replace(state: Option<State>) -> Option<State> {
    STATE.replace(state)
}

/// The state, if an execution is under way on this thread of the system.
pub(super) fn try_with<R>(with: impl FnOnce(&mut State) -> R) -> Option<R> {
    STATE.with_borrow_mut(|state| state.as_mut().map(with))
}

/// The state.
pub(super) fn with<R>(with: impl FnOnce(&mut State) -> R) -> R {
    try_with(with).expect("the atomics of a fuzzing build are used inside an execution")
}

pub(super) fn current_thread() -> usize {
    with(|state| state.current)
}

pub(super) fn clock_ms() -> u64 {
    try_with(|state| state.clock_ms).unwrap_or(0)
}

/// Sets the buffer's clock.
pub fn set_clock_ms(now_ms: u64) {
    with(|state| state.clock_ms = now_ms);
}

/// Steps after which an execution is given up; to be set where it begins.
pub fn step_limit(steps: usize) {
    with(|state| state.step_limit = steps);
}

/// Says what broke, and ends the execution.
#[track_caller]
pub fn fail(message: String) -> ! {
    let place = Place::caller();
    fail_at(message, place)
}

pub(super) fn fail_at(message: String, place: &'static Place<'static>) -> ! {
    with(|state| state.fail(message, format!("{}:{}", place.file(), place.line())));
    super::engine::stop()
}

/// A moment of a thread: when it was, and what the thread knew.
#[derive(Clone, Copy, Debug)]
pub struct Stamp {
    at: usize,
    moment: Moment,
    clock: Clock,
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

/// Leaves a mark in the trace, and says when that was.
#[track_caller]
pub fn stamp(number: u32) -> Stamp {
    let place = Place::caller();
    with(|state| {
        let at = state.trace.len();
        state.observe_thread(Access::Mark(number), place);
        let (current, memory) = (state.current, &state.memory);
        Stamp { at, moment: memory.moment(current), clock: *memory.clock(current) }
    })
}
