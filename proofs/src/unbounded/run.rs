//! The parts of the proof, each run on so many threads.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use super::check::{Proof, Theory};
use super::controls::{self, Control};
use super::eval::Sizes;
use super::solver::{SOLVERS, Solver};
use super::walk;

/// Milliseconds for a question about the beginning.
const MILLISECONDS: u64 = 10_000;

/// What is walked through: so many of each, walks, and steps in each.
const WALKED: (Sizes, u64, usize) =
    (Sizes { segments: 6, cells: 2, entries: 6, writers: 2, cursors: 2, trimmers: 2 }, 48, 1_500);

/// A part of the proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The invariant is inductive, says this solver.
    Proof(Solver),
    /// It holds on random walks.
    Walks,
    /// A step without one of its guards breaks it.
    Guards,
    /// Without one of its clauses it is not inductive.
    Clauses,
}

/// All of them.
pub static PARTS: [Part; 5] =
    [Part::Proof(SOLVERS[0]), Part::Proof(SOLVERS[1]), Part::Walks, Part::Guards, Part::Clauses];

/// What a part came to.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// What was asked, walked or left out.
    pub explored: u64,
    /// What is not as it should be, a line each: nothing if all is.
    pub wrong: Vec<String>,
    /// What was seen, and how often.
    pub seen: BTreeMap<String, u64>,
    /// It came to its end.
    pub is_complete: bool,
}

/// When a part has to stop.
#[derive(Clone, Copy, Debug)]
pub struct Until<'a> {
    /// At this time; none is never.
    pub deadline: Option<Instant>,
    /// When this is set.
    pub stop: &'a AtomicBool,
}

impl Until<'_> {
    fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed) || self.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }
}

impl Part {
    /// Its name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Proof(Solver::Z3) => "unbounded-z3",
            Self::Proof(Solver::Cvc5) => "unbounded-cvc5",
            Self::Walks => "unbounded-walks",
            Self::Guards => "unbounded-guards",
            Self::Clauses => "unbounded-clauses",
        }
    }

    /// What it shows, in a sentence.
    #[must_use]
    pub fn about(self) -> &'static str {
        match self {
            Self::Proof(Solver::Z3) => "each step of the buffer keeps each clause of the invariant, says z3",
            Self::Proof(Solver::Cvc5) => {
                "each step of the buffer keeps each clause of the invariant, says cvc5"
            }
            Self::Walks => "random walks, most steps taken, find the invariant true wherever they come",
            Self::Guards => {
                "each step without one of its guards breaks the invariant, in a state that is shown"
            }
            Self::Clauses => {
                "each clause that only helps is needed, or a lemma: without it a step breaks another, or it follows from them"
            }
        }
    }

    /// How far it goes.
    ///
    /// # Errors
    /// If a solver is not there.
    pub fn bound(self) -> Result<String, String> {
        Ok(match self {
            Self::Proof(solver) => format!("none; {} {}", solver.name(), solver.version()?),
            Self::Walks => format!("{} walks of {} steps", WALKED.1, WALKED.2),
            Self::Guards | Self::Clauses => format!("2 or 3 segments; z3 {}", Solver::Z3.version()?),
        })
    }

    /// Runs it.
    ///
    /// # Errors
    /// If a solver is not there, or complains.
    pub fn run(self, threads: usize, until: Until<'_>) -> Result<Found, String> {
        match self {
            Self::Proof(solver) => proof(solver, threads, until),
            Self::Walks => walks(threads, until),
            Self::Guards => tried(threads, until, |control| matches!(control, Control::Guard(..))),
            Self::Clauses => tried(threads, until, |control| matches!(control, Control::Clause(_))),
        }
    }
}

fn proof(solver: Solver, threads: usize, until: Until<'_>) -> Result<Found, String> {
    let steps = Theory::new().steps.len();
    let (proofs, is_complete) =
        side_by_side(steps + 1, threads, until, |theory, index| match index.checked_sub(1) {
            None => theory.begins(solver, MILLISECONDS),
            Some(step) => theory.keeps(&theory.steps[step], solver),
        })?;
    let mut found = Found { is_complete, ..Found::default() };
    for Proof { asked, open } in proofs {
        found.explored += asked as u64;
        for open in open {
            let after =
                open.step.map_or_else(|| "at the beginning".to_owned(), |step| format!("after `{step}`"));
            found.wrong.push(format!("`{}` {after}: {:?}", open.clause, open.answer));
        }
    }
    Ok(found)
}

fn walks(threads: usize, until: Until<'_>) -> Result<Found, String> {
    let (sizes, walks, steps) = WALKED;
    let (walked, is_complete) = side_by_side(walks as usize, threads, until, |theory, seed| {
        Ok(walk::walk(theory, sizes, seed as u64, steps))
    })?;
    let mut found = Found { is_complete, ..Found::default() };
    // All of them, so that one which is never taken is seen.
    found.seen = Theory::new().steps.iter().map(|step| (step.name.to_owned(), 0)).collect();
    for walked in walked {
        for (step, times) in walked.taken {
            *found.seen.entry(step.to_owned()).or_default() += times;
            found.explored += times;
        }
        if let Some((clause, path)) = walked.broken {
            found.wrong.push(format!("`{clause}` does not hold after {}", path.join(", ")));
        }
    }
    Ok(found)
}

fn tried(threads: usize, until: Until<'_>, chosen: impl Fn(&Control) -> bool) -> Result<Found, String> {
    let chosen: Vec<_> = controls::all(&Theory::new()).into_iter().filter(chosen).collect();
    let (outcomes, is_complete) =
        side_by_side(chosen.len(), threads, until, |theory, index| controls::run(theory, chosen[index]))?;
    let mut found = Found { explored: outcomes.len() as u64, is_complete, ..Found::default() };
    for outcome in outcomes {
        match outcome.caught_by {
            _ if outcome.follows => *found.seen.entry("follows from the others".to_owned()).or_default() += 1,
            Some((_, clause)) => *found.seen.entry(clause.to_owned()).or_default() += 1,
            None if outcome.is_unknown => found.wrong.push(format!("{}: not known", outcome.left_out)),
            None => found.wrong.push(format!("{}: nothing breaks", outcome.left_out)),
        }
    }
    Ok(found)
}

/// Does `count` pieces of work on so many threads; says whether all of them were done.
fn side_by_side<R: Send>(
    count: usize,
    threads: usize,
    until: Until<'_>,
    work: impl Fn(&Theory, usize) -> Result<R, String> + Sync,
) -> Result<(Vec<R>, bool), String> {
    let (next, done) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    let worker = || -> Result<(), String> {
        // Terms are not shared between threads.
        let theory = Theory::new();
        while !until.is_over() {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= count {
                break;
            }
            let result = work(&theory, index)?;
            done.lock().unwrap_or_else(PoisonError::into_inner).insert(index, result);
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(worker)).collect();
        workers
            .into_iter()
            .map(|worker| worker.join().unwrap_or_else(|_| Err("a worker panicked".to_owned())))
            .collect::<Result<Vec<()>, String>>()
    })?;
    let done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    let is_complete = done.len() == count;
    Ok((done.into_values().collect(), is_complete))
}
