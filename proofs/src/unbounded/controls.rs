//! Negative controls: what is left out, and whether that is noticed.

use super::check::{Broken, LeftOut, Theory};
use super::eval::Sizes;
use super::needs::NEEDS;
use super::solver::Answer;
use super::step::{Clause, Step};

/// Finite instances in which a control is looked for, the small ones first.
pub const INSTANCES: [Sizes; 3] = [
    Sizes { segments: 2, cells: 2, entries: 2, writers: 1, cursors: 1, trimmers: 1 },
    Sizes { segments: 3, cells: 2, entries: 2, writers: 2, cursors: 1, trimmers: 2 },
    Sizes { segments: 3, cells: 2, entries: 2, writers: 2, cursors: 2, trimmers: 2 },
];

/// Milliseconds for one question about an instance.
const MILLISECONDS: u64 = 30_000;

/// A clause whose lack no finite instance shows: a writer that stands nowhere would write outside of every
/// segment, and an instance has no such place.
const NOT_SHOWN: &str = "who appends stands";

/// A negative control.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    /// A step without one of its guards, by their places.
    Guard(usize, usize),
    /// The invariant without a clause, by its place.
    Clause(usize),
}

/// What came of a control.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What was left out.
    pub left_out: String,
    /// The step that breaks the invariant then, and the clause that it breaks; nothing if none was found.
    pub caught_by: Option<(&'static str, &'static str)>,
    /// A solver did not know.
    pub is_unknown: bool,
    /// It is a clause that follows from the others: a lemma for the solvers' sake.
    pub follows: bool,
}

/// All controls: each guard of each step, and each clause that is there for the others.
#[must_use]
pub fn all(theory: &Theory) -> Vec<Control> {
    let steps = theory.steps.iter().enumerate();
    let guards =
        steps.flat_map(|(step, known)| (0..known.guards.len()).map(move |guard| Control::Guard(step, guard)));
    let clauses = theory
        .clauses
        .iter()
        .enumerate()
        .filter(|(_, clause)| clause.promises.is_empty() && clause.name != NOT_SHOWN);
    guards.chain(clauses.map(|(clause, _)| Control::Clause(clause))).collect()
}

/// Tries one.
///
/// # Errors
/// If a solver cannot be asked, or finds a state that is none.
pub fn run(theory: &Theory, control: Control) -> Result<Outcome, String> {
    match control {
        Control::Guard(step, guard) => {
            let step = &theory.steps[step];
            let guard = step.guards[guard].name;
            try_all(theory, &[step], LeftOut::Guard(guard), format!("`{}` without `{guard}`", step.name))
        }
        Control::Clause(clause) => {
            let clause = &theory.clauses[clause];
            let left_out = format!("the invariant without `{}`", clause.name);
            if theory.follows(clause, INSTANCES[2], MILLISECONDS)? == Answer::Unsat {
                return Ok(Outcome { left_out, caught_by: None, is_unknown: false, follows: true });
            }
            try_all(theory, &candidates(theory, clause), LeftOut::Clause(clause.name), left_out)
        }
    }
}

fn try_all(theory: &Theory, steps: &[&Step], left_out: LeftOut, named: String) -> Result<Outcome, String> {
    let mut outcome = Outcome { left_out: named, caught_by: None, is_unknown: false, follows: false };
    for sizes in INSTANCES {
        for step in steps {
            match theory.breaks(step, left_out, sizes, MILLISECONDS)? {
                Broken::Yes(clause) => {
                    return Ok(Outcome { caught_by: Some((step.name, clause)), ..outcome });
                }
                Broken::No => {}
                Broken::Unknown => outcome.is_unknown = true,
            }
        }
    }
    Ok(outcome)
}

/// The steps that may need a clause: those that are known to, or all if none is known.
fn candidates<'a>(theory: &'a Theory, clause: &Clause) -> Vec<&'a Step> {
    let known = NEEDS.iter().find(|(name, _)| *name == clause.name).map_or(&[][..], |(_, steps)| steps);
    let is_known = |step: &&Step| known.is_empty() || known.contains(&step.name);
    theory.steps.iter().filter(is_known).collect()
}
