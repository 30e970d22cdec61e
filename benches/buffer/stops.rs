//! Stops a writer in the midst of an append, wherever in it that is: inside a lock, or between reserving and
//! filling.
//!
//! A signal's handler sleeps, if the thread it interrupts is in an append. So that it is soon found there,
//! the writer that is chosen appends without a pause until it is stopped; what it appends then does not
//! count.

use std::cell::Cell;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, compiler_fence};
use std::thread;
use std::time::{Duration, Instant};

/// A stopped writer stands still for so long.
const STOP: Duration = Duration::from_millis(10);
/// Between two signals, for some find their writer elsewhere, and how many one writer gets.
const BETWEEN_SIGNALS: Duration = Duration::from_micros(50);
const SIGNALS: usize = 20;
/// Between a stop and the search for the next.
const BETWEEN_STOPS: Duration = Duration::from_millis(1);
/// If stops do not come about: as long as this at most.
const PATIENCE: Duration = Duration::from_secs(5);

/// A writer's, for its signal handler.
#[derive(Default)]
pub struct Gate {
    thread: AtomicU64,
    appending: AtomicBool,
    chosen: AtomicBool,
    stops: AtomicU64,
}

thread_local! {
    // Initialised without a call and without a destructor: a signal handler may read it.
    static GATE: Cell<*const Gate> = const { Cell::new(ptr::null()) };
}

/// Whether the next handler that finds its thread in an append is to sleep.
static WANTED: AtomicBool = AtomicBool::new(false);
/// Stops that are over.
static STOPS: AtomicUsize = AtomicUsize::new(0);

impl Gate {
    /// Makes this the calling thread's. It has to outlive the thread's work, which ends with [`leave`].
    pub fn enter(&self) {
        GATE.set(self);
        // SAFETY: it has no precondition.
        self.thread.store(unsafe { libc::pthread_self() } as u64, Ordering::Release);
    }

    /// Whether this writer is to be stopped next: it appends without a pause.
    pub fn is_chosen(&self) -> bool {
        self.chosen.load(Ordering::Relaxed)
    }

    /// Runs an append. Says also whether it was stopped.
    pub fn append<R>(&self, append: impl FnOnce() -> R) -> (R, bool) {
        let before = self.stops.load(Ordering::Relaxed);
        self.appending.store(true, Ordering::Relaxed);
        // The handler runs on this thread: it is enough that the compiler keeps the order.
        compiler_fence(Ordering::SeqCst);
        let result = append();
        compiler_fence(Ordering::SeqCst);
        self.appending.store(false, Ordering::Relaxed);
        (result, self.stops.load(Ordering::Relaxed) != before)
    }
}

/// Ends what [`Gate::enter`] began.
pub fn leave() {
    GATE.set(ptr::null());
}

extern "C" fn stand_still(_signal: libc::c_int) {
    let gate = GATE.get();
    // SAFETY: it is null or the gate that this thread entered and has not left.
    let Some(gate) = (unsafe { gate.as_ref() }) else { return };
    if !gate.appending.load(Ordering::Relaxed) || !WANTED.swap(false, Ordering::Relaxed) {
        return;
    }
    let time = libc::timespec { tv_sec: 0, tv_nsec: STOP.as_nanos() as libc::c_long };
    // SAFETY: both are async-signal-safe, and the time is valid; the error number, which the interrupted code
    // may be about to read, is put back.
    unsafe {
        let error = *libc::__errno_location();
        libc::nanosleep(&time, ptr::null_mut());
        *libc::__errno_location() = error;
    }
    gate.stops.fetch_add(1, Ordering::Relaxed);
    STOPS.fetch_add(1, Ordering::Release);
}

fn install_handler() {
    // SAFETY: all zeroes is a valid action without flags and with an empty mask; the handler does only what a
    // handler may.
    let failed = unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = stand_still as extern "C" fn(libc::c_int) as libc::sighandler_t;
        action.sa_flags = libc::SA_RESTART;
        libc::sigaction(libc::SIGUSR1, &action, ptr::null_mut())
    };
    assert_eq!(failed, 0, "a handler can be installed");
}

/// Stops one after the other of the writers, `stops` times or until `over`. The writers leave their gates
/// only after this returned.
pub fn stop_at_random(gates: &[Gate], stops: usize, over: impl Fn() -> bool) {
    install_handler();
    while gates.iter().any(|gate| gate.thread.load(Ordering::Acquire) == 0) {
        thread::sleep(BETWEEN_STOPS);
    }
    let begun = Instant::now();
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..stops {
        let before = STOPS.load(Ordering::Acquire);
        WANTED.store(true, Ordering::Relaxed);
        while WANTED.load(Ordering::Relaxed) && !over() && begun.elapsed() < PATIENCE {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            aim_at(&gates[random as usize % gates.len()]);
        }
        // Taken back, unless a handler sleeps by now: then it is waited for.
        if WANTED.swap(false, Ordering::Relaxed) {
            return;
        }
        while STOPS.load(Ordering::Acquire) == before {
            thread::sleep(BETWEEN_STOPS);
        }
        thread::sleep(BETWEEN_STOPS);
    }
}

/// Interrupts a writer until a handler sleeps; for a while, for the writer may be done already.
fn aim_at(gate: &Gate) {
    gate.chosen.store(true, Ordering::Relaxed);
    for _ in 0..SIGNALS {
        thread::sleep(BETWEEN_SIGNALS);
        if !WANTED.load(Ordering::Relaxed) {
            break;
        }
        let writer = gate.thread.load(Ordering::Acquire) as libc::pthread_t;
        // SAFETY: the thread has entered its gate, and leaves only after who stops it returned.
        unsafe { libc::pthread_kill(writer, libc::SIGUSR1) };
    }
    gate.chosen.store(false, Ordering::Relaxed);
}
