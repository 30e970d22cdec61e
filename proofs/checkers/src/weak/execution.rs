//! One execution: its memory, the choices that made it, and the trace of its steps.

use std::any::Any;
use std::cell::RefCell;
use std::collections::HashSet;
use std::panic::Location as Place;
use std::sync::atomic::Ordering;

use foldhash::fast::FixedState;

use super::atomic::Word;
use super::memory::{MAX_THREADS, Memory};
use super::trace::{Access, At, Named, Pair, Site, Stamp, Step, Thing};
use super::view::Known;

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
    /// An execution broke, or was given up. Whether it may be run once more, by the same choices, so that its
    /// steps are recorded: what it left behind outside must not be there twice. Steps cost too much to record
    /// them always.
    fn again(&mut self) -> bool {
        false
    }
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
    /// All that happened, if it broke and was run again.
    pub trace: &'a [Step],
    /// The choices, in order.
    pub choices: &'a [u8],
    /// Pairs of places seen by this execution and by none before.
    pub fresh: &'a [Pair],
}

/// What is known of an execution that is run once more.
#[derive(Debug)]
struct Again {
    choices: Vec<u8>,
    next: usize,
    failure: Option<Failure>,
    cut_off: bool,
}

impl Again {
    fn choose(&mut self) -> usize {
        let chosen = self.choices.get(self.next).copied().unwrap_or(0);
        self.next += 1;
        usize::from(chosen)
    }
}

/// What becomes of a thread at a scheduling point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// It goes on.
    Stay,
    /// shuttle has to switch to another, or to say who could go on.
    AskShuttle,
    /// The execution is over.
    Stop,
}

/// The threads that can go on, as shuttle said last. To choose among them here, and to stay, costs little
/// beside a switch to shuttle's scheduler and back.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct CanRun {
    known: bool,
    threads: [usize; MAX_THREADS],
    count: usize,
}

impl CanRun {
    pub(super) fn learn(&mut self, threads: impl ExactSizeIterator<Item = usize>) {
        (self.known, self.count) = (true, threads.len());
        for (place, thread) in self.threads.iter_mut().zip(threads) {
            *place = thread;
        }
    }

    /// Someone may have been started or woken.
    pub(super) fn forget(&mut self) {
        self.known = false;
    }
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
    /// How many steps there were until then.
    pub step: usize,
}

/// Pairs that are found again without a look at the set of them all.
const RECENT: usize = 1024;

/// The state of all executions that a driver asks for.
pub(super) struct State {
    pub(super) driver: Box<dyn Driver>,
    pub(super) memory: Memory,
    pub(super) failure: Option<Failure>,
    pub(super) cut_off: bool,
    /// The execution is given up: nobody goes on.
    pub(super) stopping: bool,
    pub(super) current: usize,
    /// Who goes on next, if that is chosen already.
    pub(super) next: Option<usize>,
    pub(super) can_run: CanRun,
    /// Threads that have not finished.
    pub(super) running: usize,
    step_limit: usize,
    steps: usize,
    /// All steps, atomics or not: they number what is in the trace, recorded or not.
    observed: usize,
    trace: Vec<Step>,
    choices: Vec<u8>,
    /// The execution is one that broke, run again.
    again: Option<Again>,
    clock_ms: u64,
    /// Canaries made and not dead yet: where each was made.
    alive: Vec<Option<&'static Place<'static>>>,
    /// Who touched each location last, and where.
    touched: Vec<Option<(usize, Site)>>,
    seen: HashSet<Pair, FixedState>,
    /// Some of those seen.
    recent: Box<[u64; RECENT]>,
    fresh: Vec<Pair>,
}

thread_local! {
    static STATE: RefCell<Option<State>> = const { RefCell::new(None) };
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
            next: None,
            can_run: CanRun::default(),
            running: 1,
            step_limit: usize::MAX,
            steps: 0,
            observed: 0,
            trace: Vec::new(),
            choices: Vec::new(),
            again: None,
            clock_ms: 0,
            alive: Vec::new(),
            touched: Vec::new(),
            seen: HashSet::default(),
            recent: Box::new([0; RECENT]),
            fresh: Vec::new(),
        }
    }

    pub(super) fn begin(&mut self) -> bool {
        self.fresh.clear();
        self.reset();
        self.driver.begin()
    }

    fn reset(&mut self) {
        self.memory.begin();
        (self.failure, self.cut_off, self.stopping) = (None, false, false);
        (self.current, self.running, self.steps, self.clock_ms) = (0, 1, 0, 0);
        self.next = None;
        self.can_run.forget();
        self.trace.clear();
        self.choices.clear();
        self.alive.clear();
        self.touched.clear();
        self.observed = 0;
        Named::take();
    }

    /// An execution is over. True if it begins once more, now recorded.
    pub(super) fn end(&mut self) -> bool {
        match self.again.take() {
            None if (self.failure.is_some() || self.cut_off) && self.driver.again() => {
                let choices = std::mem::take(&mut self.choices);
                let (failure, cut_off) = (self.failure.take(), self.cut_off);
                self.again = Some(Again { choices, next: 0, failure, cut_off });
                self.reset();
                return true;
            }
            None => {}
            // It broke, whatever became of it the second time.
            Some(first) => {
                self.failure = self.failure.take().or(first.failure);
                self.cut_off |= first.cut_off;
            }
        }
        self.driver.end(Ended {
            failure: self.failure.as_ref(),
            cut_off: self.cut_off,
            steps: self.steps,
            trace: &self.trace,
            choices: &self.choices,
            fresh: &self.fresh,
        });
        false
    }

    pub(super) fn choose(&mut self, choice: Choice<'_>) -> usize {
        let last = choice.options() - 1;
        let chosen = match &mut self.again {
            Some(first) => first.choose(),
            None => self.driver.choose(choice),
        };
        let chosen = chosen.min(last).min(usize::from(u8::MAX));
        self.choices.push(chosen as u8);
        chosen
    }

    /// Chooses the thread that goes on among those that can run.
    pub(super) fn choose_thread(&mut self, current: Option<usize>, yields: bool) -> usize {
        let CanRun { threads: mut candidates, count, .. } = self.can_run;
        let candidates = &mut candidates[..count];
        // The one that runs stands first, so that the first choice is to stay; who yields, last.
        let at = candidates.iter().position(|candidate| Some(*candidate) == current);
        if let Some(at) = at {
            if yields {
                candidates[at..].rotate_left(1);
            } else {
                candidates[..=at].rotate_right(1);
            }
        }
        let (stays, yields) = (at.is_some() && !yields, at.is_some() && yields);
        let chosen =
            if candidates.len() == 1 { 0 } else { self.choose(Choice::Thread { candidates, stays, yields }) };
        candidates[chosen]
    }

    /// The running thread is about to access an atomic: who goes on?
    pub(super) fn turn(&mut self) -> Turn {
        if !self.count() || self.stopping {
            return Turn::Stop;
        }
        if self.running == 1 {
            return Turn::Stay;
        }
        if !self.can_run.known {
            return Turn::AskShuttle;
        }
        let next = self.choose_thread(Some(self.current), false);
        if next == self.current {
            return Turn::Stay;
        }
        self.next = Some(next);
        Turn::AskShuttle
    }

    /// Says what broke; the first one to say so is right.
    pub(super) fn fail(&mut self, message: String, place: String) {
        let (thread, step) = (self.current, self.observed);
        self.failure.get_or_insert(Failure { message, thread, place, step });
    }

    /// Counts a step; false if there were too many.
    pub(super) fn count(&mut self) -> bool {
        self.steps += 1;
        self.cut_off |= self.steps > self.step_limit;
        !self.cut_off
    }

    fn cover(&mut self, pair: Pair) {
        // Nearly every pair was seen a moment ago, at a place of its own among the last ones.
        let key = pair.key();
        let recent = &mut self.recent[(key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize % RECENT];
        if *recent != key {
            *recent = key;
            if self.seen.insert(pair) {
                self.fresh.push(pair);
            }
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

    /// Takes down what a step is, before it changes the memory: the message it reads is still there.
    pub(super) fn observe(
        &mut self,
        access: Access,
        word: &Word,
        at: &At,
        age: Option<usize>,
        wrote: Option<u64>,
    ) {
        let location = word.location();
        self.observed += 1;
        if self.again.is_some() {
            let made = self.memory.made_at(location);
            let mut step = at.step(self.current, access, Some(word.thing(made)));
            (step.expected, step.wrote) = (at.expected, wrote);
            if let Some(age) = age {
                (step.read, step.age) = (Some(self.memory.message(location, age).value), age);
            }
            self.trace.push(step);
        }
        if let Some(age) = age {
            let message = self.memory.message(location, age);
            let (store, by_one_thread) = (Site(message.place), message.thread == self.current);
            self.cover(Pair::ReadsFrom { store, load: Site(at.place), by_one_thread });
        }
        self.touch(location, at.place);
    }

    /// Takes down a step that touches no location.
    pub(super) fn observe_thread(&mut self, access: Access, at: &At) {
        self.record(access, at, None);
    }

    /// Takes down what happens to an object.
    pub(super) fn observe_object(&mut self, access: Access, thing: Thing, at: &At) {
        self.record(access, at, Some(thing));
    }

    fn record(&mut self, access: Access, at: &At, thing: Option<Thing>) {
        self.observed += 1;
        if self.again.is_some() {
            self.trace.push(at.step(self.current, access, thing));
        }
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

/// Leaves a mark in the trace, and says when that was.
#[track_caller]
pub fn stamp(number: u32) -> Stamp {
    let here = At::here("", Ordering::Relaxed);
    with(|state| {
        let at = state.observed;
        state.observe_thread(Access::Mark(number), &here);
        let (current, memory) = (state.current, &state.memory);
        Stamp { at, moment: memory.moment(current), clock: *memory.clock(current) }
    })
}
