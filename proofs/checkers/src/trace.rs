//! What an execution did, step by step: recorded for people, when a proof asks for it.
//!
//! The shim tells of each access when it is done, so the order of the steps is the order of the execution. A
//! cell is told of before it is accessed: if loom finds the access wrong, that step is the last one. The name
//! of an ordering is looked up just before the access that uses it ([`name_next`]), and taken by that access.
//!
//! Nothing here is loom's or visible to loom, and nothing is kept unless [`record`] was called: an execution
//! that is recorded is the one that was not.

use std::cell::RefCell;
use std::panic::Location;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// A step of a thread.
#[derive(Clone, Debug)]
pub struct Step {
    /// Which thread; 0 is the one that the model begins on.
    pub thread: usize,
    /// The named orderings of the access, the successful one first.
    pub names: Vec<&'static str>,
    /// The place in the source, where one is known.
    pub place: Option<&'static Location<'static>>,
    /// What was done.
    pub action: Action,
}

/// What a step did.
#[derive(Clone, Debug)]
pub enum Action {
    /// An access to an atomic.
    Atomic {
        /// The method.
        method: &'static str,
        /// The atomic.
        word: Thing,
        /// What it was called with.
        arguments: Vec<Value>,
        /// What it returned.
        result: Value,
    },
    /// A fence; Relaxed is none.
    Fence {
        /// Its ordering.
        order: Ordering,
    },
    /// A plain cell, read or written.
    Cell {
        /// The cell.
        cell: Thing,
        /// Whether it is written.
        write: bool,
    },
    /// An object is used, which it must not be when it has been freed.
    Use {
        /// A part of the object.
        part: Thing,
    },
    /// An object is freed.
    Free {
        /// A part of the object.
        part: Thing,
    },
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

/// Something in memory.
#[derive(Clone, Copy, Debug)]
pub struct Thing {
    /// Where it is.
    pub address: usize,
    /// Counts what was made in the execution.
    pub birth: usize,
    /// Where it was made.
    pub made: &'static Location<'static>,
}

/// A value that was read or written.
#[derive(Clone, Debug)]
pub enum Value {
    /// A number.
    Number(u64),
    /// A flag.
    Flag(bool),
    /// A pointer.
    Pointer {
        /// Where to.
        address: usize,
        /// To what.
        type_name: &'static str,
        /// How large that is.
        size: usize,
    },
    /// A memory ordering.
    Order(Ordering),
    /// An exchange that was done, and what it found.
    Done(Box<Value>),
    /// An exchange that found something else.
    Refused(Box<Value>),
    /// None.
    Nothing,
}

/// When and where something was made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Birth {
    number: usize,
    place: &'static Location<'static>,
}

/// Names of orderings that the next access takes.
pub(crate) type Names = Vec<&'static str>;

static RECORDING: AtomicBool = AtomicBool::new(false);
static BIRTHS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    // All threads of a model are one thread of the system.
    static STEPS: RefCell<Vec<Step>> = const { RefCell::new(Vec::new()) };
    static NAMES: RefCell<Names> = const { RefCell::new(Vec::new()) };
    static THREADS: RefCell<Vec<(usize, &'static str)>> = const { RefCell::new(Vec::new()) };
}

/// Records the execution that begins.
pub fn record() {
    STEPS.take();
    NAMES.take();
    THREADS.take();
    RECORDING.store(true, Ordering::Relaxed);
}

/// The steps so far.
pub fn steps() -> Vec<Step> {
    STEPS.with_borrow(Vec::clone)
}

/// Gives the running thread a name.
pub fn name_thread(name: &'static str) {
    if recording() {
        let thread = this_thread();
        THREADS.with_borrow_mut(|threads| threads.push((thread, name)));
    }
}

/// The names of threads.
pub fn threads() -> Vec<(usize, &'static str)> {
    THREADS.with_borrow(Vec::clone)
}

/// Counts what is made from one again.
pub(crate) fn begin() {
    BIRTHS.store(0, Ordering::Relaxed);
}

fn recording() -> bool {
    RECORDING.load(Ordering::Relaxed) && !crate::sync::unwinding()
}

/// The ordering that the next access uses.
pub fn name_next(name: &'static str) {
    if recording() {
        NAMES.with_borrow_mut(|names| names.push(name));
    }
}

/// The names for the access that is about to happen.
pub(crate) fn take_names() -> Names {
    if recording() { NAMES.take() } else { Vec::new() }
}

/// Tells of a step.
#[track_caller]
pub(crate) fn step(names: Names, action: impl FnOnce() -> Action) {
    if recording() {
        push(names, Some(Location::caller()), action());
    }
}

/// Tells of an access to an atomic.
#[track_caller]
pub(crate) fn atomic<T>(
    names: Names,
    method: &'static str,
    word: &T,
    birth: Birth,
    arguments: &[&dyn Show],
    result: &dyn Show,
) {
    if !recording() {
        return;
    }
    let arguments: Vec<_> = arguments.iter().map(|argument| argument.show()).collect();
    let orders = arguments.iter().filter(|argument| matches!(argument, Value::Order(_))).count();
    // What was looked up and not used belongs to no access.
    let names = names[names.len().saturating_sub(orders)..].to_vec();
    let action = Action::Atomic { method, word: birth.of(word), arguments, result: result.show() };
    push(names, Some(Location::caller()), action);
}

/// Tells that a cell is about to be accessed.
#[track_caller]
pub(crate) fn cell<T>(cell: &T, birth: Birth, write: bool) {
    step(Vec::new(), || Action::Cell { cell: birth.of(cell), write });
}

/// Tells that the object with this part is about to be used, or freed.
#[track_caller]
pub(crate) fn object<T>(part: &T, birth: Birth, freed: bool) {
    let part = birth.of(part);
    step(Vec::new(), || if freed { Action::Free { part } } else { Action::Use { part } });
}

fn push(names: Names, place: Option<&'static Location<'static>>, action: Action) {
    let step = Step { thread: this_thread(), names, place, action };
    STEPS.with_borrow_mut(|steps| steps.push(step));
}

/// The number of the running thread.
///
/// # Panics
/// Outside an execution.
pub fn this_thread() -> usize {
    // loom shows it in no other way.
    let id = format!("{:?}", loom::thread::current().id());
    id.chars().filter(char::is_ascii_digit).collect::<String>().parse().unwrap_or(0)
}

impl Birth {
    #[track_caller]
    pub(crate) fn now() -> Self {
        Self { number: BIRTHS.fetch_add(1, Ordering::Relaxed) + 1, place: Location::caller() }
    }

    fn of<T>(self, thing: &T) -> Thing {
        Thing { address: std::ptr::from_ref(thing).addr(), birth: self.number, made: self.place }
    }
}

/// What can be read from, or written to, an atomic.
pub(crate) trait Show {
    fn show(&self) -> Value;
}

impl Show for u64 {
    fn show(&self) -> Value {
        Value::Number(*self)
    }
}

impl Show for usize {
    fn show(&self) -> Value {
        Value::Number(*self as u64)
    }
}

impl Show for bool {
    fn show(&self) -> Value {
        Value::Flag(*self)
    }
}

impl Show for () {
    fn show(&self) -> Value {
        Value::Nothing
    }
}

impl Show for Ordering {
    fn show(&self) -> Value {
        Value::Order(*self)
    }
}

impl<T> Show for *mut T {
    fn show(&self) -> Value {
        Value::Pointer { address: self.addr(), type_name: std::any::type_name::<T>(), size: size_of::<T>() }
    }
}

impl<T: Show> Show for Result<T, T> {
    fn show(&self) -> Value {
        match self {
            Ok(value) => Value::Done(Box::new(value.show())),
            Err(value) => Value::Refused(Box::new(value.show())),
        }
    }
}
