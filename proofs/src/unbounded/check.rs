//! The proof itself: the questions put to the solvers, and their negative controls.

use std::fmt::Write;

use super::eval::{Sizes, State, Values};
use super::invariant;
use super::smt::{self, Pool, Scope};
use super::solver::{self, Answer, Solver};
use super::step::{Clause, Step};

/// The system and its invariant.
#[derive(Debug)]
pub struct Theory {
    /// Its steps.
    pub steps: Vec<Step>,
    /// The clauses of the invariant.
    pub clauses: Vec<Clause>,
}

/// What is spelt out for a solver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Help {
    /// That the clause held before, where it is said not to hold after.
    Itself,
    /// Instances of all clauses with the arguments that occur.
    Arguments,
    /// With the values of functions that occur, too.
    Values,
}

/// How often something is asked, with what help, and the milliseconds for each answer.
const ASKED: [(Help, u64); 3] = [(Help::Itself, 1_000), (Help::Arguments, 6_000), (Help::Values, 20_000)];

/// A clause that a step, or the beginning, could not be shown to keep.
#[derive(Clone, Debug)]
pub struct Open {
    /// The step; none for the beginning.
    pub step: Option<&'static str>,
    /// The clause.
    pub clause: &'static str,
    /// What the solver said.
    pub answer: Answer,
}

/// What was asked, and what stayed open.
#[derive(Clone, Debug, Default)]
pub struct Proof {
    /// Questions asked.
    pub asked: usize,
    /// Those not answered by `unsat`.
    pub open: Vec<Open>,
}

impl Theory {
    /// The whole of it.
    #[must_use]
    pub fn new() -> Self {
        Self { steps: super::system::steps(), clauses: invariant::clauses() }
    }

    /// The clauses that a step may change: those with a function that it changes.
    #[must_use]
    pub fn touched<'a>(&'a self, step: &Step) -> Vec<&'a Clause> {
        let changed = smt::changed(step);
        self.clauses.iter().filter(|clause| touches(clause, &changed)).collect()
    }

    /// Asks a solver whether the invariant holds at the beginning.
    ///
    /// # Errors
    /// If the solver cannot be asked.
    pub fn begins(&self, solver: Solver, milliseconds: u64) -> Result<Proof, String> {
        let mut script = format!("(set-logic UFLIA)\n{}", smt::beginning());
        let constants = smt::text(&invariant::constants().0, Scope::Unbounded, &[]);
        let _ = writeln!(script, "(assert {constants})");
        for clause in &self.clauses {
            let holds = smt::text(&clause.holds.0, Scope::Unbounded, &[]);
            let _ = writeln!(script, "(push 1)\n(assert (not {holds}))\n(check-sat)\n(pop 1)");
        }
        let said = solver.run(&script, milliseconds)?;
        proof(None, self.clauses.iter(), solver::answers(&said, self.clauses.len())?)
    }

    /// Asks a solver whether a step keeps the invariant. What it does not know at once it is asked again,
    /// with more and more of what follows from the invariant spelt out.
    ///
    /// # Errors
    /// If the solver cannot be asked.
    pub fn keeps(&self, step: &Step, solver: Solver) -> Result<Proof, String> {
        let mut open = self.touched(step);
        let mut answers = Vec::new();
        let asked = open.len();
        for (help, milliseconds) in ASKED {
            if open.is_empty() {
                break;
            }
            let script = self.questions(step, &open, help);
            answers = solver::answers(&solver.run(&script, milliseconds)?, open.len())?;
            (open, answers) =
                open.into_iter().zip(answers).filter(|(_, answer)| *answer != Answer::Unsat).unzip();
        }
        Ok(Proof { asked, ..proof(Some(step.name), open.into_iter(), answers)? })
    }

    /// The questions whether a step keeps some clauses, as a script.
    #[must_use]
    pub fn questions(&self, step: &Step, asked: &[&Clause], help: Help) -> String {
        let mut script = self.before(step, None, None, Scope::Unbounded);
        let changed = smt::changed(step);
        let pool = Pool::of_step(step, help == Help::Values);
        for clause in asked {
            let _ = writeln!(script, "(push 1)\n{}", smt::contrary(&clause.holds.0, &changed));
            if help != Help::Itself {
                let pool = pool.with_clause(&clause.holds.0, step);
                for known in &self.clauses {
                    script.push_str(&smt::instances(&known.holds.0, &pool));
                }
            }
            script.push_str("(check-sat)\n(pop 1)\n");
        }
        script
    }

    /// What holds before a step and lets it be taken, and what it does.
    fn before(
        &self,
        step: &Step,
        no_clause: Option<&str>,
        no_guard: Option<&str>,
        scope: Scope<'_>,
    ) -> String {
        let logic = if matches!(scope, Scope::Unbounded) { "UFLIA" } else { "QF_UFLIA" };
        let mut script =
            format!("(set-option :produce-models true)\n(set-logic {logic})\n{}", smt::declarations(scope));
        script.push_str(&smt::step_text(step, scope));
        let constants = smt::text(&invariant::constants().0, scope, &[]);
        let _ = writeln!(script, "(assert {constants})");
        for clause in self.clauses.iter().filter(|clause| Some(clause.name) != no_clause) {
            let _ = writeln!(script, "(assert {})", smt::text(&clause.holds.0, scope, &[]));
        }
        for guard in step.guards.iter().filter(|guard| Some(guard.name) != no_guard) {
            let _ = writeln!(script, "(assert {})", smt::guard_text(step, &guard.holds.0, scope));
        }
        script
    }

    /// Looks in a finite instance for a state from which a step breaks the invariant, with a guard or a
    /// clause left out. Returns the clause that is broken, if the solver finds such a state and evaluating
    /// it says so too.
    ///
    /// # Errors
    /// If the solver cannot be asked, or finds a state that is none.
    pub fn breaks(
        &self,
        step: &Step,
        left_out: LeftOut,
        sizes: Sizes,
        milliseconds: u64,
    ) -> Result<Broken, String> {
        let (no_clause, no_guard) = match left_out {
            LeftOut::Clause(name) => (Some(name), None),
            LeftOut::Guard(name) => (None, Some(name)),
        };
        let scope = Scope::Finite(&sizes);
        let changed = smt::changed(step);
        let kept: Vec<_> =
            self.touched(step).into_iter().filter(|clause| Some(clause.name) != no_clause).collect();
        let mut script = self.before(step, no_clause, no_guard, scope);
        script.push_str(&smt::stays_inside(step, &sizes));
        script.push_str("(assert (not (and true");
        for clause in &kept {
            let _ = write!(script, " {}", smt::text(&clause.holds.0, scope, &changed));
        }
        let _ = writeln!(script, ")))\n(check-sat)");
        let with_values = format!("{script}{}\n", smt::questions(step, &sizes));
        let said = match Solver::Z3.run(&with_values, milliseconds) {
            Ok(said) => said,
            // There are no values if it is not `sat`: then it complains about the question.
            Err(_) => Solver::Z3.run(&script, milliseconds)?,
        };
        let (answer, values) = said.split_once('\n').unwrap_or((&said, ""));
        match solver::answers(answer, 1)?[0] {
            Answer::Unsat => Ok(Broken::No),
            Answer::Unknown => Ok(Broken::Unknown),
            Answer::Sat => {
                let broken = self.confirm(step, no_clause, no_guard, sizes, smt::answers(values)?)?;
                Ok(Broken::Yes(broken))
            }
        }
    }

    /// Whether a clause follows from the others, in a finite instance: then it is a lemma, which spares the
    /// solvers a search; and no step can need it.
    ///
    /// # Errors
    /// If the solver cannot be asked.
    pub fn follows(&self, clause: &Clause, sizes: Sizes, milliseconds: u64) -> Result<Answer, String> {
        let scope = Scope::Finite(&sizes);
        let mut script = format!("(set-logic QF_UFLIA)\n{}", smt::declarations(scope));
        let others = self.clauses.iter().filter(|known| known.name != clause.name);
        for holds in std::iter::once(&invariant::constants()).chain(others.map(|known| &known.holds)) {
            let _ = writeln!(script, "(assert {})", smt::text(&holds.0, scope, &[]));
        }
        let _ = writeln!(script, "(assert (not {}))\n(check-sat)", smt::text(&clause.holds.0, scope, &[]));
        Ok(solver::answers(&Solver::Z3.run(&script, milliseconds)?, 1)?[0])
    }

    /// Evaluates what a solver found: all that is to hold before the step does, and a clause does not after
    /// it.
    fn confirm(
        &self,
        step: &Step,
        no_clause: Option<&str>,
        no_guard: Option<&str>,
        sizes: Sizes,
        values: Vec<i64>,
    ) -> Result<&'static str, String> {
        let (state, rest) = State::from_values(sizes, values).ok_or("a solver's state is too short")?;
        let mut bound: Values = step.variables.iter().map(|variable| variable.name).zip(rest).collect();
        for clause in self.clauses.iter().filter(|clause| Some(clause.name) != no_clause) {
            if !state.holds(&clause.holds.0, &mut Vec::new()) {
                return Err(format!(
                    "{}: in the solver's state `{}` does not hold before",
                    step.name, clause.name
                ));
            }
        }
        for guard in step.guards.iter().filter(|guard| Some(guard.name) != no_guard) {
            if !state.holds(&guard.holds.0, &mut bound) {
                return Err(format!("{}: in the solver's state `{}` does not hold", step.name, guard.name));
            }
        }
        let after = state
            .after(step, &mut bound)
            .ok_or_else(|| format!("{}: a step out of the instance", step.name))?;
        let broken = self
            .touched(step)
            .into_iter()
            .filter(|clause| Some(clause.name) != no_clause)
            .find(|clause| !after.holds(&clause.holds.0, &mut Vec::new()));
        broken.map(|clause| clause.name).ok_or_else(|| format!("{}: evaluated, nothing is broken", step.name))
    }
}

impl Default for Theory {
    fn default() -> Self {
        Self::new()
    }
}

/// What a negative control leaves out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeftOut {
    /// A clause of the invariant.
    Clause(&'static str),
    /// A guard of the step.
    Guard(&'static str),
}

/// What came of a negative control.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// This clause is broken, in a state that was found and evaluated.
    Yes(&'static str),
    /// There is no such state in this instance.
    No,
    /// The solver does not know.
    Unknown,
}

/// Whether a clause has one of these functions.
#[must_use]
pub fn touches(clause: &Clause, changed: &[usize]) -> bool {
    let mut touched = false;
    clause.holds.0.functions(&mut |function| touched |= changed.contains(&function));
    touched
}

fn proof<'a>(
    step: Option<&'static str>,
    clauses: impl Iterator<Item = &'a Clause>,
    answers: Vec<Answer>,
) -> Result<Proof, String> {
    let asked = answers.len();
    let open = clauses
        .zip(answers)
        .filter(|(_, answer)| *answer != Answer::Unsat)
        .map(|(clause, answer)| Open { step, clause: clause.name, answer })
        .collect();
    Ok(Proof { asked, open })
}
