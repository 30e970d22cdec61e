//! A worker: explores one model, perhaps with one mutation, in a process of its own.

use std::io::Write;
use std::time::{Duration, Instant};

use replcore::buffer::model::{self, stall};
use serde::{Deserialize, Serialize};

use crate::model::{Model, Seen};
use crate::prove::keep::{Keep, Point};

/// Steps a loom execution may have.
const MAX_BRANCHES: usize = 100_000;
/// Executions between two looks at the clock.
const CHECK_EVERY: usize = 1_000;
/// A thread's steps that are stopped at in turn, at most; more would be a loop.
const MAX_STALL_STEPS: usize = 10_000;

/// What a worker prints as one line of JSON.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Explored {
    /// Executions in all.
    pub executions: u64,
    /// Seconds it took.
    pub seconds: f64,
    /// False if the time was up before the bound was reached.
    pub complete: bool,
    /// Steps at which a thread was stopped, for models that stop one.
    pub stall_steps: usize,
    /// The outcomes and how often each occurred.
    pub outcomes: Vec<(String, u64)>,
}

/// What a worker is asked for.
#[derive(Clone, Debug)]
pub struct Request {
    /// Preemptions, if bounded.
    pub bound: Option<usize>,
    /// Seconds.
    pub max_seconds: u64,
    /// `ORDERING=Weaker`, or a fault's name.
    pub mutation: Option<String>,
    /// Stops each thread at each of its steps in turn.
    pub stall: bool,
    /// Where the exploration stands, on disk.
    pub keep: Keep,
}

/// Switches a mutation of the shipped code on.
///
/// # Errors
/// If there is none of that name.
pub fn mutate(mutation: &str) -> Result<(), String> {
    use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
    let known = match mutation.split_once('=') {
        Some((row, weaker)) => {
            let weaker = match weaker {
                "Relaxed" => Relaxed,
                "Acquire" => Acquire,
                "Release" => Release,
                "AcqRel" => AcqRel,
                _ => return Err(format!("{weaker} is not an ordering to weaken to")),
            };
            model::weaken(row, weaker)
        }
        None => model::inject(mutation),
    };
    if known { Ok(()) } else { Err(format!("there is no ordering or fault named {mutation}")) }
}

/// Explores `model`, printing the result to standard output. A failure is a panic: the process
/// ends with loom's report on standard error.
///
/// # Errors
/// If the mutation does not exist.
pub fn work(model: &'static Model, request: &Request) -> Result<(), String> {
    if let Some(mutation) = &request.mutation {
        mutate(mutation)?;
    }
    model::shadow_words(model.shadow);
    let seen: &'static Seen = Box::leak(Box::new(Seen::new(model.outcomes)));
    let start = Instant::now();
    let deadline = Duration::from_secs(request.max_seconds);
    let mut complete = true;
    let mut stall_steps = request.keep.point().map_or(0, |(_, step)| step);
    loop {
        if model.stalls {
            stall::set_step(stall_steps);
        }
        let Some(left) = deadline.checked_sub(start.elapsed()) else {
            complete = false;
            break;
        };
        let point = model.stalls.then_some((0, stall_steps));
        check(model, seen, request, point, left)?;
        if start.elapsed() >= deadline {
            complete = false;
            request.keep.end(point, false, seen)?;
            break;
        }
        if !model.stalls || !stall::ever_reached() || stall_steps >= MAX_STALL_STEPS {
            break;
        }
        stall_steps += 1;
    }
    let explored = Explored {
        executions: seen.executions(),
        seconds: start.elapsed().as_secs_f64(),
        complete,
        stall_steps,
        outcomes: seen.outcomes(),
    };
    let line = serde_json::to_string(&explored).map_err(|error| error.to_string())?;
    writeln!(std::io::stdout(), "{line}").map_err(|error| error.to_string())
}

fn check(
    model: &'static Model,
    seen: &'static Seen,
    request: &Request,
    point: Option<Point>,
    left: Duration,
) -> Result<(), String> {
    let mut loom = loom::model::Builder::new();
    loom.preemption_bound = request.bound;
    loom.max_branches = MAX_BRANCHES;
    loom.max_duration = Some(left);
    loom.max_permutations = None;
    loom.checkpoint_file = None;
    loom.checkpoint_interval = CHECK_EVERY;
    let mark = request.keep.begin(&mut loom, point, seen)?;
    loom.check(move || {
        model::begin_execution();
        mark.execution(seen);
        seen.begin_execution();
        (model.body)(seen);
    });
    Ok(())
}
