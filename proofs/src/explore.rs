//! A worker: explores one model, perhaps with one mutation, in a process of its own.

use std::io::Write;
use std::time::{Duration, Instant};

use replcore_checkers::{model as checker, stall};
use serde::{Deserialize, Serialize};

use crate::check::{self, Pass};
use crate::model::{Model, Seen, mutate};
use crate::prove::keep::{Keep, Point};

/// Executions between two looks at the clock.
const CHECK_EVERY: usize = 1_000;
/// A thread's steps that are stopped at in turn, at most; more would be a loop.
const MAX_STALL_STEPS: usize = 10_000;
/// What the others do while a thread is stopped, in turn.
const PASSES: [Pass; 2] = [Pass::Looking, Pass::Appending];
/// Eras that are provided for when threads are stopped.
const STALL_ERAS: usize = 24;

/// What a worker prints as one line of JSON.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Explored {
    /// Executions in all.
    pub executions: u64,
    /// Seconds it took.
    pub seconds: f64,
    /// False if the time was up before the bound was reached.
    pub complete: bool,
    /// The threads that were stopped, and at how many of their steps.
    pub stalls: Vec<(String, usize)>,
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
    /// Stop each thread at each of its steps in turn, instead of an ordinary run.
    pub stall: bool,
    /// Where the exploration stands, on disk.
    pub keep: Keep,
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
    if request.stall
        && let Some(reason) = model.no_stalls
    {
        return Err(format!("{} is not run with a stopped thread: {reason}", model.name));
    }
    let stall = request.stall || model.stalls;
    checker::shadow_words(model.shadow && !stall);
    checker::read_newest(stall);
    let seen: &'static Seen = Box::leak(Box::new(Seen::new(model.outcomes)));
    let start = Instant::now();
    let deadline = Duration::from_secs(request.max_seconds);
    let mut stalls = Vec::new();
    let complete = if stall {
        stop_each(model, seen, request, start + deadline, &mut stalls)?
    } else {
        check(model, seen, request, None, start + deadline)?
    };
    let explored = Explored {
        executions: seen.executions(),
        seconds: start.elapsed().as_secs_f64(),
        complete,
        stalls,
        outcomes: seen.outcomes(),
    };
    let line = serde_json::to_string(&explored).map_err(|error| error.to_string())?;
    writeln!(std::io::stdout(), "{line}").map_err(|error| error.to_string())
}

/// Stops each member of the model's crew at each of its steps. False if the time is up.
fn stop_each(
    model: &'static Model,
    seen: &'static Seen,
    request: &Request,
    deadline: Instant,
    stalls: &mut Vec<(String, usize)>,
) -> Result<bool, String> {
    // One that goes on, or runs what was found, begins where that stood.
    let (first, mut steps, mut done) = request.keep.point().unwrap_or_default();
    for member in first.. {
        while steps < MAX_STALL_STEPS {
            stall::aim(Some((member, steps)));
            for (number, pass) in PASSES.into_iter().enumerate().skip(std::mem::take(&mut done)) {
                check::set_pass(pass);
                if !check(model, seen, request, Some((member, steps, number)), deadline)? {
                    return Ok(false);
                }
            }
            if !stall::ever_reached() {
                break;
            }
            steps += 1;
        }
        let Some(name) = check::members().get(member).copied() else { break };
        stalls.push((name.to_owned(), std::mem::take(&mut steps)));
    }
    Ok(true)
}

/// Explores the model. False if the time is up.
fn check(
    model: &'static Model,
    seen: &'static Seen,
    request: &Request,
    point: Option<Point>,
    deadline: Instant,
) -> Result<bool, String> {
    let Some(left) = deadline.checked_duration_since(Instant::now()) else { return Ok(false) };
    let mut loom = check::exploration(request.bound, left);
    loom.checkpoint_interval = CHECK_EVERY;
    let mark = request.keep.begin(&mut loom, point, seen)?;
    loom.check(move || {
        checker::begin_execution();
        mark.execution(seen);
        if stall::aimed().is_some() {
            checker::provide_eras(STALL_ERAS);
        }
        seen.begin_execution();
        (model.body)(seen);
    });
    let complete = Instant::now() < deadline;
    request.keep.end(point, complete, seen)?;
    Ok(complete)
}
