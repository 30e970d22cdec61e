//! The system and its text, without a solver.

use super::check::Theory;
use super::eval::{Sizes, State};
use super::needs::NEEDS;
use super::smt::{self, Scope};
use super::state::{count, full};
use super::step::Clause;
use super::system::{I, S, v};
use super::term::{all, pick};
use super::walk;

const FEW: Sizes = Sizes { segments: 4, cells: 2, entries: 4, writers: 2, cursors: 1, trimmers: 1 };

#[test]
fn the_invariant_holds_at_the_beginning_and_on_a_walk() {
    let theory = Theory::new();
    let beginning = State::beginning(FEW);
    for clause in &theory.clauses {
        assert!(beginning.holds(&clause.holds.0, &mut Vec::new()), "{}", clause.name);
    }
    let walked = walk::walk(&theory, FEW, 1, 300);
    assert_eq!(walked.broken, None);
    assert!(walked.taken.values().sum::<u64>() >= 100, "{:?}", walked.taken);
}

#[test]
fn a_walk_finds_a_clause_that_does_not_hold() {
    let mut theory = Theory::new();
    theory.clauses.push(Clause::helps("nothing is published", all(&[S, I], !full(S, I))));
    let broken = (0..20).find_map(|seed| walk::walk(&theory, FEW, seed, 1_000).broken);
    assert_eq!(broken.map(|(clause, _)| clause), Some("nothing is published"));
}

#[test]
fn names_are_of_one_thing_each() {
    let theory = Theory::new();
    let mut names: Vec<_> = theory.steps.iter().map(|step| step.name).collect();
    names.extend(theory.clauses.iter().map(|clause| clause.name));
    names.sort_unstable();
    let all = names.len();
    names.dedup();
    assert_eq!(names.len(), all);
}

#[test]
fn what_needs_a_clause_is_a_step() {
    let theory = Theory::new();
    for (clause, steps) in NEEDS {
        assert!(theory.clauses.iter().any(|known| known.name == *clause), "{clause}");
        for step in *steps {
            assert!(theory.steps.iter().any(|known| known.name == *step), "{step}");
        }
    }
}

#[test]
fn a_term_is_printed_as_a_quantifier_or_as_its_instances() {
    let term = all(&[S], pick(full(S, 0), 1, count(S)).below(v(S) - 2));
    assert_eq!(
        smt::text(&term.0, Scope::Unbounded, &[]),
        "(forall ((s Int)) (< (ite (b.full s 0) 1 (b.count s)) (- s 2)))"
    );
    let finite = smt::text(&term.0, Scope::Finite(&Sizes { segments: 1, ..FEW }), &[]);
    assert!(
        finite.starts_with("(and true (< (ite (b.full (- 1) 0) 1 (b.count (- 1))) (- (- 1) 2))"),
        "{finite}"
    );
    assert_eq!(finite.matches("b.full").count(), 3);
}

#[test]
fn values_are_read_as_a_solver_prints_them() {
    assert_eq!(smt::answers("((b.a 3)\n ((v.b 0 1) (- 2))\n ((v.c 0) true))"), Ok(vec![3, -2, 1]));
    assert!(smt::answers("(error \"no model\")").is_err());
}
