//! The small models of the retire path, on the real `crossbeam-epoch`.
//!
//! # Promise
//! `cargo prove` runs the models on an adversary that frees at the first moment at which the contract of
//! epochs allows it ([`replcore_checkers`]). That the collector which ships keeps this contract is trusted
//! there. Here it is looked at: the same models run on `crossbeam-epoch` itself, compiled for loom, so that
//! its own atomics are explored too.
//!
//! # Limits
//! Its steps swamp a model, so each is explored within few preemptions, and only models without a change of
//! era are here: a collector that is made meanwhile reaches others through a list that loom does not see. The
//! collector frees late, so it hides most of what frees too early: mutations that it still shows are the
//! controls. Its atomics have no shadow words, so loom's reduction may leave interleavings out
//! (tokio-rs/loom#166).
//!
//! # How
//! loom runs on one thread of the system, and a mutation holds for a whole process. So each row is a process
//! of this program's own: it explores one model and says how often it ran and what it saw, or panics.

use std::alloc::{GlobalAlloc, Layout, System};
use std::collections::VecDeque;
use std::process::{Command, ExitCode, Stdio};
use std::ptr;
use std::sync::atomic::AtomicPtr;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use clap::Parser;
use replcore_checkers::model as checker;

use crate::check::exploration;
use crate::model::{Model, Seen, mutate};
use crate::models;

#[global_allocator]
static ALLOCATOR: Fresh = Fresh(AtomicPtr::new(ptr::null_mut()));

/// An allocator that gives no address twice in an execution. The collector exchanges pointers, so whether an
/// exchange succeeds would depend on which address a freed object's successor gets, and no execution could be
/// run again.
struct Fresh(AtomicPtr<Returned>);

/// Memory that was given back, as the next in a list of its like.
struct Returned {
    layout: Layout,
    next: *mut Returned,
}

impl Fresh {
    /// Every block has room for the note that it was given back.
    fn room(layout: Layout) -> Layout {
        let least = Layout::new::<Returned>();
        Layout::from_size_align(layout.size().max(least.size()), layout.align().max(least.align()))
            .unwrap_or(layout)
    }

    /// Lets go what the last execution gave back.
    fn begin_execution(&self) {
        let mut next = self.0.swap(ptr::null_mut(), Acquire);
        while !next.is_null() {
            // SAFETY: `dealloc` wrote it, and the list is this thread's alone since the exchange.
            let returned = unsafe { next.read() };
            // SAFETY: from `alloc`, of this layout; nobody uses it any more.
            unsafe { System.dealloc(next.cast(), returned.layout) };
            next = returned.next;
        }
    }
}

// SAFETY: the system's allocator, which gives back later. A block is as large and as aligned as was asked, or
// more.
unsafe impl GlobalAlloc for Fresh {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as the caller's, and of more than no bytes.
        unsafe { System.alloc(Self::room(layout)) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let returned = block.cast::<Returned>();
        let mut next = self.0.load(Relaxed);
        loop {
            // SAFETY: the caller gives the block up, and it has room for this.
            unsafe { returned.write(Returned { layout: Self::room(layout), next }) };
            match self.0.compare_exchange_weak(next, returned, Release, Relaxed) {
                Ok(_) => return,
                Err(found) => next = found,
            }
        }
    }
}

/// The exit status of a program that panicked.
const PANICKED: i32 = 101;

/// What loom panics with when an execution has more steps than it may.
const TOO_MANY_BRANCHES: &str = "maximum number of branches";

/// A model, how far it goes on the real collector, and mutations under which it has to fail.
struct Row {
    model: &'static str,
    preemptions: usize,
    controls: &'static [&'static str],
}

const ROWS: &[Row] = &[
    Row { model: "pair-trim-drop", preemptions: 1, controls: &["FreeAtOnce", "RetireTwice", "ForgetRetire"] },
    Row {
        model: "pair-turn-over-drop",
        preemptions: 1,
        controls: &["FreeAtOnce", "RetireTwice", "HOP_FENCE=AcqRel"],
    },
    Row { model: "evict-reuse", preemptions: 1, controls: &["RetireTwice", "ForgetRetire"] },
];

/// Proves the retire path on the real `crossbeam-epoch`.
///
/// Exit status: 0 if everything is as it should be, 1 if something is not, 2 if the program could not do what
/// was asked.
#[derive(Debug, Parser)]
#[command(name = "cargo prove-epoch", bin_name = "cargo prove-epoch")]
struct Options {
    /// Only models whose name contains this
    filter: Option<String>,

    /// Explores the one model of this name, in this process, and runs no other
    #[arg(long)]
    worker: Option<String>,

    /// Switches a mutation on in it
    #[arg(long, requires = "worker")]
    mutate: Option<String>,

    /// Preemptions, instead of each model's own
    #[arg(long)]
    bound: Option<usize>,

    /// Seconds for each exploration, at most
    #[arg(long, default_value_t = 240)]
    max_seconds: u64,

    /// Explorations that run at the same time [default: one for each core]
    #[arg(short, long)]
    jobs: Option<usize>,
}

/// The program.
pub fn main() -> ExitCode {
    let options = Options::parse();
    match options.worker.as_deref() {
        Some(name) => explore(name, &options).map_or_else(|error| fail(&error), |()| ExitCode::SUCCESS),
        None => run(&options).unwrap_or_else(|error| fail(&error)),
    }
}

fn fail(error: &str) -> ExitCode {
    eprintln!("prove-epoch: {error}");
    ExitCode::from(2)
}

/// What was come to within the time: an exploration that was cut short proves nothing.
const COMPLETE: &str = "complete";

/// Explores a model in this process; what breaks is a panic.
fn explore(name: &str, options: &Options) -> Result<(), String> {
    if let Some(mutation) = &options.mutate {
        mutate(mutation)?;
    }
    let model = find(name)?;
    let row = ROWS.iter().find(|row| row.model == name);
    let preemptions = options.bound.or(row.map(|row| row.preemptions)).ok_or("say --bound")?;
    let seen: &'static Seen = Box::leak(Box::new(Seen::new(model.outcomes)));
    // The collector's atomics have none either.
    checker::shadow_words(false);
    let begun = Instant::now();
    let limit = Duration::from_secs(options.max_seconds);
    exploration(Some(preemptions), limit).check(move || {
        ALLOCATOR.begin_execution();
        checker::begin_execution();
        seen.begin_execution();
        (model.body)(seen);
    });
    let complete = match (begun.elapsed() < limit, seen.unseen().is_empty()) {
        (false, _) => "UNFINISHED",
        (true, false) => "VACUOUS",
        (true, true) => COMPLETE,
    };
    let outcomes: Vec<_> = seen.outcomes().iter().map(|(name, count)| format!("{name}: {count}")).collect();
    println!(
        "{complete}  {preemptions} preemptions, {} executions, {:.1} s  {}",
        seen.executions(),
        begun.elapsed().as_secs_f64(),
        outcomes.join(", ")
    );
    Ok(())
}

fn find(name: &str) -> Result<&'static Model, String> {
    let model = models::all().into_iter().find(|model| model.name == name);
    model.ok_or_else(|| format!("there is no model named {name}"))
}

/// Runs every row, and its control, each in a process of its own.
fn run(options: &Options) -> Result<ExitCode, String> {
    let chosen =
        |row: &&Row| options.filter.as_ref().is_none_or(|filter| row.model.contains(filter.as_str()));
    let rows: Vec<_> = ROWS.iter().filter(chosen).collect();
    if rows.is_empty() {
        return Err("no model is called that".to_owned());
    }
    let jobs: VecDeque<_> = rows
        .iter()
        .flat_map(|row| {
            std::iter::once((row.model, None))
                .chain(row.controls.iter().map(|control| (row.model, Some(*control))))
        })
        .collect();
    let total = jobs.len();
    let (queue, right) = (Mutex::new(jobs), Mutex::new(0));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let worker = || -> Result<(), String> {
        loop {
            let next = queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            let Some((model, mutation)) = next else { return Ok(()) };
            if is_right(model, mutation, options)? {
                *right.lock().unwrap_or_else(PoisonError::into_inner) += 1;
            }
        }
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> =
            (0..options.jobs.unwrap_or(cores).max(1)).map(|_| scope.spawn(worker)).collect();
        workers
            .into_iter()
            .try_for_each(|worker| worker.join().map_err(|_| "a worker panicked".to_owned())?)
    })?;
    let right = right.into_inner().unwrap_or_else(PoisonError::into_inner);
    println!("{right} of {total} as they should be");
    Ok(if right == total { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Whether a model holds, or fails under its control, as it should.
fn is_right(model: &str, mutation: Option<&str>, options: &Options) -> Result<bool, String> {
    let this = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut command = Command::new(this);
    command.args(["--worker", model, "--max-seconds", &options.max_seconds.to_string()]);
    if let Some(bound) = options.bound {
        command.args(["--bound", &bound.to_string()]);
    }
    if let Some(mutation) = mutation {
        command.args(["--mutate", mutation]);
    }
    let begun = Instant::now();
    let ended = command.stdin(Stdio::null()).output().map_err(|error| format!("{model}: {error}"))?;
    let (said, why) = (String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
    if ended.status.code() == Some(2) {
        return Err(format!("{model}: {}", why.trim()));
    }
    let held = ended.status.success() && said.starts_with(COMPLETE);
    let broke = why.lines().find(|line| !line.trim().is_empty() && !line.contains("panicked at"));
    // A panic is what a model says no with; whatever else ends a process says nothing.
    let panicked = ended.status.code() == Some(PANICKED) && !why.contains(TOO_MANY_BRANCHES);
    let right = if mutation.is_some() { panicked } else { held };
    let with = mutation.map_or(String::new(), |mutation| format!(" with {mutation}"));
    let word = match (right, mutation) {
        (true, Some(_)) => "caught",
        (true, None) => "holds",
        (false, Some(_)) => "MISSED",
        (false, None) => "FAILED",
    };
    let text =
        if ended.status.success() { said.trim() } else { broke.unwrap_or("it ended without a word").trim() };
    println!("{:36} {word:7} {:6.1} s  {text}", format!("{model}{with}"), begun.elapsed().as_secs_f64());
    if !right && !ended.status.success() {
        println!("{why}");
    }
    Ok(right)
}
