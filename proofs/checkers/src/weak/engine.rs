//! Threads: shuttle's coroutines, driven by the choices of a [`Driver`].

use std::any::Any;
use std::cell::Cell;
use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Once};
use std::time::Duration;

use shuttle::scheduler::{Schedule, Scheduler, Task, TaskId};
use shuttle::{Config, FailurePersistence, MaxSteps, Runner};

use super::cell::empty_quarantine;
use super::execution::{Driver, State, Turn, replace, try_with, with};
use super::trace::{Access, At};

/// Stack of a thread, in bytes: unoptimised code with assertions in it needs some.
const STACK_BYTES: usize = 256 << 10;

/// Runs `body` as often as `driver` asks for, and gives the driver back.
///
/// # Panics
/// If it is called inside an execution.
pub fn explore<D: Driver>(driver: D, body: impl Fn() + Send + Sync + 'static) -> D {
    assert!(try_with(|_| ()).is_none(), "executions do not nest");
    hush();
    replace(Some(State::new(Box::new(driver))));
    let body = Arc::new(body);
    let mut under_way = false;
    loop {
        let body = Arc::clone(&body);
        let runner = Runner::new(Turns { under_way }, config());
        let ran = catch_unwind(AssertUnwindSafe(|| runner.run(move || run_main(&*body))));
        let Err(payload) = ran else { break };
        // shuttle itself found that nobody can go on.
        with(|state| state.fail(format!("I8, I9: {}", text(&*payload)), String::from("-")));
        under_way = true;
    }
    empty_quarantine();
    let state = replace(None).expect("put there above");
    let driver: Box<dyn Any> = state.driver;
    *driver.downcast().expect("as it was put there")
}

fn config() -> Config {
    let mut config = Config::new();
    config.stack_size = STACK_BYTES;
    config.failure_persistence = FailurePersistence::None;
    config.max_steps = MaxSteps::None;
    config.silence_warnings = true;
    config
}

thread_local! {
    /// What the last panic of an execution said, and where.
    static PANICKED: Cell<Option<(String, String)>> = const { Cell::new(None) };
}

/// Keeps panics inside executions to ourselves: they are findings, and are reported as such.
fn hush() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        // shuttle puts its own hook before this one when it first runs; so let it do so now.
        std::panic::set_hook(Box::new(|_| {}));
        Runner::new(OneEmpty(false), config()).run(|| {});
        drop(std::panic::take_hook());
        std::panic::set_hook(Box::new(move |info: &PanicHookInfo<'_>| {
            if try_with(|_| ()).is_none() {
                return usual(info);
            }
            let place = info.location().map_or_else(String::new, |at| format!("{}:{}", at.file(), at.line()));
            PANICKED.set(Some((text(info.payload()).to_owned(), place)));
        }));
    });
}

fn text(payload: &(dyn Any + Send)) -> &str {
    payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("a panic without a message")
}

fn run_main(body: &dyn Fn()) {
    run_guarded(body);
    with(|state| {
        if let Some(place) = state.leaked() {
            let made_at = format!("{}:{}", place.file(), place.line());
            state.fail(format!("I6: what was made at {made_at} is never freed"), made_at);
        }
    });
}

/// Runs a thread's function; a panic in it ends the execution.
fn run_guarded<T>(run: impl FnOnce() -> T) -> T {
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(result) => result,
        Err(payload) => {
            let (message, place) =
                PANICKED.take().unwrap_or_else(|| (text(&*payload).to_owned(), String::from("-")));
            with(|state| state.fail(message, place));
            stop()
        }
    }
}

/// Ends the execution. Its threads stay where they are for ever; what they own is leaked.
pub(super) fn stop() -> ! {
    with(|state| state.stopping = true);
    loop {
        shuttle::thread::sleep(Duration::ZERO);
    }
}

/// Where another thread may go on: before each access.
pub(super) fn scheduling_point() {
    if super::unwinding() {
        return;
    }
    match with(State::turn) {
        Turn::Stay => {}
        // shuttle has no other name for "someone else may go on".
        Turn::AskShuttle => shuttle::thread::sleep(Duration::ZERO),
        Turn::Stop => stop(),
    }
}

/// A thread of the execution.
#[derive(Debug)]
pub struct JoinHandle<T> {
    thread: usize,
    handle: shuttle::thread::JoinHandle<T>,
}

/// Starts a thread, which knows all that the calling one knows.
#[track_caller]
pub fn spawn<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    let at = At::here("", Ordering::Relaxed);
    let thread = with(|state| {
        let thread = state.memory.fork(state.current);
        state.running += 1;
        state.observe_thread(Access::Spawn(thread), &at);
        thread
    });
    // shuttle drops what never started when the execution is over, and a drop of ours may be a step: leak it.
    let run = ManuallyDrop::new(run);
    let handle = shuttle::thread::spawn(move || {
        let result = run_guarded(ManuallyDrop::into_inner(run));
        with(|state| state.running -= 1);
        result
    });
    with(|state| state.can_run.forget());
    JoinHandle { thread, handle }
}

impl<T> JoinHandle<T> {
    /// Waits for the thread's result. A panic in it has ended the execution.
    ///
    /// # Panics
    /// Never: see above.
    #[track_caller]
    pub fn join(self) -> T {
        let at = At::here("", Ordering::Relaxed);
        let result = self.handle.join();
        with(|state| {
            state.memory.join(state.current, self.thread);
            state.observe_thread(Access::Join(self.thread), &at);
        });
        result.expect("a thread that panics ends the execution")
    }
}

/// shuttle's scheduler: asks the driver.
#[derive(Debug)]
struct Turns {
    /// An execution has to be ended first.
    under_way: bool,
}

impl Scheduler for Turns {
    fn new_execution(&mut self) -> Option<Schedule> {
        empty_quarantine();
        with(|state| {
            let again = std::mem::replace(&mut self.under_way, true) && state.end();
            let another = again || state.begin();
            self.under_way = another;
            another.then(|| Schedule::new(0))
        })
    }

    fn next_task(&mut self, runnable: &[&Task], current: Option<TaskId>, yields: bool) -> Option<TaskId> {
        with(|state| {
            if state.stopping {
                return None;
            }
            state.can_run.learn(runnable.iter().map(|task| usize::from(task.id())));
            let next = match state.next.take() {
                Some(chosen) => chosen,
                None => state.choose_thread(current.map(usize::from), yields),
            };
            state.current = next;
            Some(TaskId::from(next))
        })
    }

    fn next_u64(&mut self) -> u64 {
        0
    }
}

/// One empty execution.
#[derive(Debug)]
struct OneEmpty(bool);

impl Scheduler for OneEmpty {
    fn new_execution(&mut self) -> Option<Schedule> {
        (!std::mem::replace(&mut self.0, true)).then(|| Schedule::new(0))
    }

    fn next_task(&mut self, runnable: &[&Task], _: Option<TaskId>, _: bool) -> Option<TaskId> {
        runnable.first().map(|task| task.id())
    }

    fn next_u64(&mut self) -> u64 {
        0
    }
}
