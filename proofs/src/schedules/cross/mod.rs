//! The models of `cargo prove` under a second explorer.
//!
//! loom explores each of them, and so does this program's engine, which shares no line with loom: another
//! memory model, another scheduler, another search. A fault in one of the two that hides an execution, or
//! invents one, shows as a difference.
//!
//! # What is compared
//! A model lists the outcomes that it has to see, and panics at one that it does not list. The explorers
//! agree on a model if nothing breaks and each listed outcome is seen. They need not see an outcome equally
//! often, for they count other executions: this one has no reduction.
//!
//! # How far
//! A model is explored whole within a bound of preemptions and of stale reads. If an outcome was not seen by
//! then, the bounds are raised until it is; nothing is agreed before.
//!
//! A mutation that a model has to catch under loom, it has to catch here as well (`--controls`).
//!
//! # Limits
//! Models that are about stopped threads are loom's alone, for this engine stops nobody.

pub mod command;

use std::time::{Duration, Instant};

use replcore_checkers::weak::{self, Choice, Driver, Ended, Failure};

use super::strategy::{Bounds, Exhaustive};
use crate::model::{Model, Seen};

/// Steps of an execution, at most; more would be a loop.
const MAX_STEPS: usize = 100_000;
/// By how much the bounds are raised, one after the other: stale reads first, for preemptions cost more.
const RAISES: [Bounds; 6] = [
    Bounds { preemptions: 0, stale_reads: 0 },
    Bounds { preemptions: 0, stale_reads: 1 },
    Bounds { preemptions: 0, stale_reads: 2 },
    Bounds { preemptions: 1, stale_reads: 0 },
    Bounds { preemptions: 1, stale_reads: 1 },
    Bounds { preemptions: 2, stale_reads: 1 },
];

/// Why this explorer cannot run a model, if so.
fn unfit(model: &Model) -> Option<&'static str> {
    match model {
        Model { stalls: true, .. } => Some("is about stopped threads; this explorer stops none"),
        Model { threads: 1, .. } => Some("counts the accesses of loom's atomics; this explorer has others"),
        _ => None,
    }
}

/// What came of a model.
#[derive(Debug)]
enum Verdict {
    /// Nothing broke, and each outcome was seen.
    Agrees,
    /// An execution broke, this one.
    Breaks(Box<Broken>),
    /// These outcomes were never seen.
    Unseen(Vec<&'static str>),
    /// The time was up.
    Unfinished,
}

/// An execution that broke.
#[derive(Debug)]
struct Broken {
    failure: Failure,
    trace: Vec<weak::Step>,
}

/// A model that was explored.
#[derive(Debug)]
struct Explored {
    verdict: Verdict,
    /// The last bounds.
    bounds: Bounds,
    executions: u64,
    time: Duration,
    outcomes: Vec<(String, u64)>,
}

/// What has to be found before the bounds are no longer raised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Goal {
    /// Every outcome.
    Outcomes,
    /// An execution that breaks: the code is mutated.
    Break,
}

/// Explores a model within `bounds`, and further for a goal that is not reached there.
fn explore(model: &'static Model, bounds: Bounds, time: Duration, goal: Goal) -> Explored {
    let (start, seen): (_, &'static Seen) = (Instant::now(), Box::leak(Box::new(Seen::new(model.outcomes))));
    let mut explored = Explored {
        verdict: Verdict::Unfinished,
        bounds,
        executions: 0,
        time: Duration::ZERO,
        outcomes: Vec::new(),
    };
    for (times, by) in RAISES.into_iter().enumerate() {
        explored.bounds = Bounds {
            preemptions: bounds.preemptions.saturating_add(by.preemptions),
            stale_reads: bounds.stale_reads.saturating_add(by.stale_reads),
        };
        let search = Search {
            tree: Exhaustive::new(explored.bounds, 1),
            for_outcomes: (times > 0 && goal == Goal::Outcomes).then_some(seen),
            deadline: start + time,
            executions: 0,
            ended: Ending::Whole,
        };
        let body = model.body;
        let search = weak::explore(search, move || {
            weak::step_limit(MAX_STEPS);
            seen.begin_execution();
            body(seen);
        });
        explored.executions += search.executions;
        let unseen = seen.unseen();
        explored.verdict = match search.ended {
            Ending::Broke(broken) => Verdict::Breaks(broken),
            Ending::TimeUp => Verdict::Unfinished,
            Ending::Whole if unseen.is_empty() => Verdict::Agrees,
            Ending::Whole => Verdict::Unseen(unseen),
        };
        let go_on = match explored.verdict {
            Verdict::Agrees => goal == Goal::Break,
            Verdict::Unseen(_) => true,
            Verdict::Breaks(_) | Verdict::Unfinished => false,
        };
        if !go_on {
            break;
        }
    }
    explored.time = start.elapsed();
    explored.outcomes = seen.outcomes();
    explored
}

/// How a search ended.
#[derive(Debug)]
enum Ending {
    /// Every execution was run, or what was looked for is found.
    Whole,
    TimeUp,
    Broke(Box<Broken>),
}

/// Every execution within bounds, until one breaks.
struct Search {
    tree: Exhaustive,
    /// It is over as soon as every outcome is seen.
    for_outcomes: Option<&'static Seen>,
    deadline: Instant,
    executions: u64,
    ended: Ending,
}

impl Driver for Search {
    fn begin(&mut self) -> bool {
        if !matches!(self.ended, Ending::Whole) || self.executions > 0 && !self.tree.advance() {
            return false;
        }
        if self.for_outcomes.is_some_and(|seen| seen.unseen().is_empty()) {
            return false;
        }
        if Instant::now() >= self.deadline {
            self.ended = Ending::TimeUp;
            return false;
        }
        true
    }

    fn choose(&mut self, choice: Choice<'_>) -> usize {
        self.tree.follow(&choice)
    }

    /// What it sees twice are outcomes of an execution that broke, after which nothing is compared.
    fn again(&mut self) -> bool {
        true
    }

    fn end(&mut self, ended: Ended<'_>) {
        self.executions += 1;
        let failure = ended.failure.cloned().or_else(|| {
            ended.cut_off.then(|| Failure {
                message: format!("I8: {MAX_STEPS} steps, and no end"),
                thread: 0,
                place: "-".to_owned(),
                step: ended.trace.len(),
            })
        });
        if let Some(failure) = failure {
            self.ended = Ending::Broke(Box::new(Broken { failure, trace: ended.trace.to_vec() }));
        }
    }
}
