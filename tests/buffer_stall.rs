//! A thread that stops for ever, wherever it is, stops nobody else (I8).
//!
//! Real threads append, batch, read, wait and trim in loops. Again and again some of them are
//! stopped by a signal, at whatever instruction they happen to be, and stay stopped while the others
//! are held to the promise: their operations return, all that was published can be read, a waiting
//! cursor is woken, a new one attached, a term sealed, and memory stays within a bound. Then they
//! go on, and the next ones are stopped.
//!
//! # What is excluded, and how
//! A thread may be stopped while it holds a lock of the *allocator*. Others could then block in
//! `malloc` for a reason that the buffer promises nothing about. So this program's allocator notes,
//! per thread, that it is being called; the signal handler looks at the note, and lets such a
//! thread run on, to be stopped a little later. The samples let go are counted and reported. Nothing
//! else is excluded: not pins, not turning a segment over, not retiring, not beginning an era, not
//! the releases that an epoch runs. (Those that allocate are stopped between their allocations.)
//! Between them the threads share nothing else that blocks: what the test itself shares is atomic.
#![cfg(all(target_os = "linux", not(replcore_loom)))]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::HashSet;
use std::os::unix::thread::JoinHandleExt;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, Once};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use replcore::buffer::{CursorLimits, ReplicationBuffer};

/// Rounds; in each, one to `WORKERS - 1` threads stand still.
const ROUNDS: usize = 250;
const WORKERS: usize = 5;
/// The thread of the control experiment.
const CONTROL: usize = WORKERS;
/// Stops that the control experiment makes at most.
const CONTROL_STOPS: usize = 5000;
/// What the test itself appends in a round while the others stand still: enough to turn over many
/// segments and, by what it retires, to make a stalled pin a matter of more than one era.
const APPENDS: usize = 1200;
const FRAME_BYTES: usize = 60;
/// Operations that each thread that runs has to finish in a round.
const OPERATIONS: u64 = 3;
/// Not a measure: when it passes, something hangs.
const PATIENCE: Duration = Duration::from_secs(60);

const SEGMENT_BYTES: u64 = 1 << 10;
const BACKLOG_BYTES: u64 = 8 << 10;
const HARD_BYTES: u64 = 32 << 10;
const UNRECLAIMED_BYTES: u64 = 16 << 10;
/// In the chain: the hard limit and its segments; the same again, from when it was longest, for each
/// of the eras that the stalled threads can stand in, which are no more than they; and what waits for
/// its turn in each. That a segment weighs more than its payload is in the factor.
const MEMORY_BOUND_BYTES: u64 =
    2 * (WORKERS as u64 + 1) * (HARD_BYTES + UNRECLAIMED_BYTES + 4 * SEGMENT_BYTES);

// --- Stopping threads -------------------------------------------------------------------------

thread_local! {
    /// Calls of the allocator that this thread is in. No destructor, no lazy initialisation: a
    /// signal handler may read it at any time.
    static ALLOCATING: Cell<u32> = const { Cell::new(0) };
    /// Which worker this thread is.
    static WORKER: Cell<usize> = const { Cell::new(usize::MAX) };
}

/// The system's allocator, with a note for the signal handler.
struct NotingAllocator;

#[global_allocator]
static ALLOCATOR: NotingAllocator = NotingAllocator;

fn noting<R>(call: impl FnOnce() -> R) -> R {
    let noted = |by: i32| ALLOCATING.with(|calls| calls.set(calls.get().wrapping_add_signed(by)));
    noted(1);
    std::sync::atomic::compiler_fence(SeqCst);
    let result = call();
    std::sync::atomic::compiler_fence(SeqCst);
    noted(-1);
    result
}

// SAFETY: all of it is the system's allocator.
unsafe impl GlobalAlloc for NotingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise.
        noting(|| unsafe { System.alloc(layout) })
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        noting(|| unsafe { System.dealloc(pointer, layout) });
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller's promise.
        noting(|| unsafe { System.realloc(pointer, layout, size) })
    }
}

/// How a worker answered the last signal.
const RUNNING: usize = 0;
const ASKED: usize = 1;
const STOPPED: usize = 2;
const ALLOCATES: usize = 3;

/// A worker as the signal handler and the test see it.
struct Station {
    state: AtomicUsize,
    /// The pipe that the handler reads from to stand still, and the end that lets it go on.
    gate: [AtomicI32; 2],
    /// Where it was stopped, if the handler could tell.
    instruction: AtomicUsize,
    /// Whether that was within an operation on the buffer.
    operating: AtomicBool,
    operations: AtomicU64,
}

static STATIONS: [Station; WORKERS + 1] = [const {
    Station {
        state: AtomicUsize::new(RUNNING),
        gate: [AtomicI32::new(-1), AtomicI32::new(-1)],
        instruction: AtomicUsize::new(0),
        operating: AtomicBool::new(false),
        operations: AtomicU64::new(0),
    }
}; WORKERS + 1];

/// Stands still until the gate is opened. Calls nothing that is not async-signal-safe.
extern "C" fn stand_still(_signal: libc::c_int, _info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let Some(station) = STATIONS.get(WORKER.with(Cell::get)) else { return };
    if ALLOCATING.with(Cell::get) > 0 {
        station.state.store(ALLOCATES, SeqCst);
        return;
    }
    station.instruction.store(instruction_of(context), SeqCst);
    // SAFETY: errno is this thread's own.
    let errno = unsafe { *libc::__errno_location() };
    station.state.store(STOPPED, SeqCst);
    let mut byte = 0_u8;
    // SAFETY: the gate stays open as long as the workers live; `byte` outlives the call.
    while unsafe { libc::read(station.gate[0].load(SeqCst), (&raw mut byte).cast(), 1) } < 1 {}
    // SAFETY: as above.
    unsafe { *libc::__errno_location() = errno };
}

#[cfg(target_arch = "x86_64")]
fn instruction_of(context: *mut libc::c_void) -> usize {
    // SAFETY: the kernel passes a `ucontext_t` to a handler with SA_SIGINFO.
    let context = unsafe { &*context.cast::<libc::ucontext_t>() };
    context.uc_mcontext.gregs[libc::REG_RIP as usize] as usize
}

#[cfg(not(target_arch = "x86_64"))]
fn instruction_of(_context: *mut libc::c_void) -> usize {
    0
}

fn prepare_to_stop() {
    static PREPARED: Once = Once::new();
    PREPARED.call_once(|| {
        for station in &STATIONS {
            let mut ends = [0; 2];
            // SAFETY: room for the two ends.
            assert_eq!(unsafe { libc::pipe(ends.as_mut_ptr()) }, 0);
            station.gate[0].store(ends[0], SeqCst);
            station.gate[1].store(ends[1], SeqCst);
        }
        // SAFETY: the handler is async-signal-safe; an empty mask and these flags are valid.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = stand_still as *const () as usize;
            action.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART;
            assert_eq!(libc::sigaction(libc::SIGUSR1, &action, std::ptr::null_mut()), 0);
        }
    });
}

/// Stops a worker, wherever it is. Returns how often it had to be let go because it allocated.
fn stop(worker: usize, handle: &JoinHandle<()>) -> usize {
    let station = &STATIONS[worker];
    let mut let_go = 0;
    loop {
        station.state.store(ASKED, SeqCst);
        // SAFETY: the thread lives: its handle is not joined yet.
        assert_eq!(unsafe { libc::pthread_kill(handle.as_pthread_t(), libc::SIGUSR1) }, 0);
        await_that("the signal is answered", || station.state.load(SeqCst) != ASKED);
        if station.state.load(SeqCst) == STOPPED {
            return let_go;
        }
        let_go += 1;
    }
}

fn release(worker: usize) {
    STATIONS[worker].state.store(RUNNING, SeqCst);
    // SAFETY: the gate is open, and one byte is there.
    assert_eq!(unsafe { libc::write(STATIONS[worker].gate[1].load(SeqCst), (&raw const GO).cast(), 1) }, 1);
}

static GO: u8 = 1;

fn await_that(what: &str, condition: impl Fn() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < PATIENCE, "I8: it never came to pass that {what}");
        thread::yield_now();
    }
}

// --- The workers ------------------------------------------------------------------------------

static OVER: AtomicBool = AtomicBool::new(false);

/// Does `operation` on the buffer until the test is over, and keeps count.
fn work(worker: usize, over: &AtomicBool, mut operation: impl FnMut()) {
    WORKER.with(|number| number.set(worker));
    let station = &STATIONS[worker];
    while !over.load(SeqCst) {
        station.operating.store(true, SeqCst);
        operation();
        station.operating.store(false, SeqCst);
        station.operations.fetch_add(1, SeqCst);
    }
}

/// Frames, and batches with a conditional part and shared bytes.
fn append(buffer: &ReplicationBuffer, worker: usize) {
    let mut writer = buffer.writer();
    let shared = Bytes::from(vec![b's'; FRAME_BYTES]);
    let mut turn = worker as u64;
    work(worker, &OVER, || {
        turn += 1;
        if turn.is_multiple_of(8) {
            let mut batch = writer.frame();
            batch.select_context(turn % 3, b"select");
            batch.put_slice(&[b'b'; FRAME_BYTES]);
            batch.end_frame();
            batch.put_bytes(shared.clone());
            batch.publish().expect("appended");
        } else {
            writer.append(&[b'a'; FRAME_BYTES]).expect("appended");
        }
    });
}

/// Reads, waits when there is nothing, and attaches anew when it was evicted.
fn read(buffer: &ReplicationBuffer, worker: usize) {
    let mut cursor = buffer.attach_at_end().expect("there is room");
    work(worker, &OVER, || match cursor.wait_timeout(Duration::from_millis(1)) {
        Ok(_) => {
            // Anything that was not written is a fault that this would read.
            assert!(cursor.chunk().iter().all(|byte| b"abselctr".contains(byte)));
            let len = cursor.chunk().len();
            cursor.advance(len);
        }
        Err(_) => cursor = buffer.attach_at_end().expect("there is room"),
    });
}

/// Resizes, trims, evicts, and uses the pooled writers.
fn keep_house(buffer: &ReplicationBuffer, worker: usize) {
    let mut turn = 0;
    work(worker, &OVER, || {
        turn += 1;
        buffer.set_backlog_bytes(BACKLOG_BYTES / (1 + turn % 3));
        buffer.enforce_limits();
        buffer.append(&[b'c'; FRAME_BYTES]).expect("appended");
        drop(buffer.attach(buffer.end_offset()));
    });
}

fn spawn_workers(buffer: &ReplicationBuffer) -> Vec<JoinHandle<()>> {
    let jobs: [fn(&ReplicationBuffer, usize); WORKERS] = [append, append, append, read, keep_house];
    let spawn = |(worker, job): (usize, fn(&ReplicationBuffer, usize))| {
        let buffer = buffer.clone();
        thread::spawn(move || job(&buffer, worker))
    };
    jobs.into_iter().enumerate().map(spawn).collect()
}

// --- The test ---------------------------------------------------------------------------------

/// What came of all rounds.
#[derive(Debug, Default)]
struct Seen {
    stops: usize,
    stops_in_operations: usize,
    let_go: usize,
    instructions: HashSet<usize>,
    most_retired_bytes: u64,
    most_retained_bytes: u64,
}

/// While some stand still, everything works for everybody else.
fn hold_to_the_promise(buffer: &ReplicationBuffer, running: &[usize], seen: &mut Seen) {
    let done: Vec<u64> = running.iter().map(|worker| STATIONS[*worker].operations.load(SeqCst)).collect();
    let mut writer = buffer.writer();
    let mut cursor = buffer.attach_at_end().expect("a cursor is attached");
    for turn in 0..APPENDS {
        let range = writer.append(&[b't'; FRAME_BYTES]).expect("an append returns");
        // Everything that is published is readable, at once: this frame, and all before it.
        let mut last = cursor.offset();
        while cursor.offset() < range.end {
            match cursor.refresh() {
                Ok(visible) => assert!(visible > 0, "I8: a published frame is hidden at {last}"),
                // The workers outran it. The end that it is attached at is behind this frame.
                Err(_) => cursor = buffer.attach_at_end().expect("a cursor is attached"),
            }
            while let Some((frame, _)) = cursor.next_frame() {
                last = frame.end;
            }
        }
        if turn % 100 == 0 {
            let stats = buffer.stats();
            seen.most_retired_bytes = seen.most_retired_bytes.max(stats.retired_bytes);
            seen.most_retained_bytes = seen.most_retained_bytes.max(stats.retained_bytes);
        }
    }
    // A cursor that waits is woken, by whoever appends next.
    let mut waiting = buffer.attach_at_end().expect("a cursor is attached");
    let waiter = thread::spawn(move || waiting.wait());
    let begun = Instant::now();
    while !waiter.is_finished() {
        assert!(begun.elapsed() < PATIENCE, "I8, I9: a waiting cursor was not woken");
        writer.append(&[b't'; FRAME_BYTES]).expect("an append returns");
        thread::yield_now();
    }
    // An eviction is an answer too.
    let _ = waiter.join().expect("no panic");
    for (worker, before) in running.iter().zip(done) {
        let operations = &STATIONS[*worker].operations;
        await_that("the others finish their operations", || operations.load(SeqCst) >= before + OPERATIONS);
    }
}

#[test]
fn a_thread_stopped_anywhere_stops_nobody_else() {
    let buffer = ReplicationBuffer::builder()
        .backlog_bytes(BACKLOG_BYTES)
        .segment_bytes(SEGMENT_BYTES)
        .segment_frames(32)
        .block_bytes(4 << 10)
        .max_unreclaimed_bytes(UNRECLAIMED_BYTES)
        .cursor_limits(CursorLimits { hard_bytes: HARD_BYTES, soft_bytes: 0, soft_ms: 0 })
        .build()
        .expect("valid");
    prepare_to_stop();
    let handles = spawn_workers(&buffer);
    for station in &STATIONS[..WORKERS] {
        await_that("everybody has begun", || station.operations.load(SeqCst) > 0);
    }
    let mut seen = Seen::default();
    let mut random = 1_u64;
    for round in 0..ROUNDS {
        // An instant, and some threads, at random.
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_nanos((random >> 40) % 200_000) {
            thread::yield_now();
        }
        let count = 1 + round % (WORKERS - 1);
        let first = (random >> 20) as usize % WORKERS;
        let stopped: Vec<usize> = (first..first + count).map(|worker| worker % WORKERS).collect();
        for worker in &stopped {
            seen.let_go += stop(*worker, &handles[*worker]);
            seen.stops += 1;
            seen.stops_in_operations += usize::from(STATIONS[*worker].operating.load(SeqCst));
            seen.instructions.insert(STATIONS[*worker].instruction.load(SeqCst));
        }
        let running: Vec<usize> = (0..WORKERS).filter(|worker| !stopped.contains(worker)).collect();
        hold_to_the_promise(&buffer, &running, &mut seen);
        stopped.iter().for_each(|worker| release(*worker));
    }
    let eras_begun = buffer.stats().eras_begun;
    println!("{seen:?}, {eras_begun} eras begun");
    assert!(seen.stops_in_operations > ROUNDS, "too few stops were within operations: {seen:?}");
    assert!(eras_begun > 0, "no stop was within a pin, which is most of an append: {seen:?}");
    assert!(seen.most_retired_bytes < MEMORY_BOUND_BYTES, "I8, I11: {seen:?}");
    assert!(seen.most_retained_bytes < MEMORY_BOUND_BYTES, "I8, I11: {seen:?}");
    if cfg!(target_arch = "x86_64") {
        assert!(seen.instructions.len() > ROUNDS / 4, "the stops were always at the same places: {seen:?}");
    }

    // All have been let go: everything goes on, and what was held back is released.
    let workers = &STATIONS[..WORKERS];
    let before: Vec<u64> = workers.iter().map(|station| station.operations.load(SeqCst)).collect();
    for (station, before) in workers.iter().zip(before) {
        await_that("everybody goes on", || station.operations.load(SeqCst) >= before + OPERATIONS);
    }
    OVER.store(true, SeqCst);
    for handle in handles {
        handle.join().expect("no worker failed");
    }
    let mut writer = buffer.writer();
    for _ in 0..APPENDS {
        writer.append(&[b't'; FRAME_BYTES]).expect("appended");
    }
    let stats = buffer.stats();
    assert!(stats.retired_bytes < UNRECLAIMED_BYTES + 4 * SEGMENT_BYTES, "I6: {stats:?}");
    assert_eq!(stats.cursors, 0);
}

/// The control: in a log behind a lock, the same stops do stop the others.
#[test]
fn the_same_stops_block_a_log_behind_a_lock() {
    prepare_to_stop();
    let log = Arc::new(Mutex::new(Vec::new()));
    let over = Arc::new(AtomicBool::new(false));
    let handle = {
        let (log, over) = (Arc::clone(&log), Arc::clone(&over));
        thread::spawn(move || {
            work(CONTROL, &over, || {
                let mut log = log.lock().expect("no thread panicked");
                log.clear();
                log.extend_from_slice(&[b'a'; FRAME_BYTES]);
            });
        })
    };
    await_that("it has begun", || STATIONS[CONTROL].operations.load(SeqCst) > 0);
    let blocked = (0..CONTROL_STOPS).any(|_| {
        stop(CONTROL, &handle);
        let blocked = log.try_lock().is_err();
        release(CONTROL);
        blocked
    });
    over.store(true, SeqCst);
    handle.join().expect("no panic");
    assert!(blocked, "no stop was within the lock: the stops find nothing");
}
