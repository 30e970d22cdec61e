//! Random walks of the system: the invariant holds where they come.

use std::collections::BTreeMap;

use super::check::{Theory, touches};
use super::eval::{Sizes, State, Values};
use super::smt;
use super::term::Kind;

/// Where a walk came.
#[derive(Clone, Debug, Default)]
pub struct Walked {
    /// How often each step was taken.
    pub taken: BTreeMap<&'static str, u64>,
    /// A clause that did not hold, and the steps that led there.
    pub broken: Option<(&'static str, Vec<&'static str>)>,
}

/// A generator of numbers that need not be good: each walk can be had again from its seed.
#[derive(Debug)]
pub struct Numbers(pub u64);

impl Numbers {
    /// A number below `limit`.
    pub fn below(&mut self, limit: usize) -> usize {
        // splitmix64
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((mixed ^ (mixed >> 31)) % limit.max(1) as u64) as usize
    }
}

/// Tries for a step before a walk is over.
const TRIES: usize = 3_000;

/// Walks up to `steps` steps, as a seed says.
#[must_use]
pub fn walk(theory: &Theory, sizes: Sizes, seed: u64, steps: usize) -> Walked {
    let touched: Vec<Vec<usize>> = theory
        .steps
        .iter()
        .map(|step| {
            let changed = smt::changed(step);
            let clauses = theory.clauses.iter().enumerate();
            clauses.filter(|(_, clause)| touches(clause, &changed)).map(|(index, _)| index).collect()
        })
        .collect();
    let mut walked = Walked::default();
    let (mut numbers, mut state, mut path) = (Numbers(seed), State::beginning(sizes), Vec::new());
    while path.len() < steps
        && let Some((index, after)) = next(theory, &state, sizes, &mut numbers, &walked.taken)
    {
        let step = &theory.steps[index];
        *walked.taken.entry(step.name).or_default() += 1;
        path.push(step.name);
        state = after;
        let broken = touched[index].iter().find(|&&clause| {
            let clause = &theory.clauses[clause];
            !state.holds(&clause.holds.0, &mut Vec::new())
        });
        if let Some(&clause) = broken {
            walked.broken = Some((theory.clauses[clause].name, path));
            break;
        }
    }
    walked
}

/// Steps that can be taken, of which the one that was taken least is.
const CHOICES: usize = 10;

fn next(
    theory: &Theory,
    state: &State,
    sizes: Sizes,
    numbers: &mut Numbers,
    taken: &BTreeMap<&'static str, u64>,
) -> Option<(usize, State)> {
    let mut best: Option<(u64, usize, State)> = None;
    let mut choices = 0;
    for _ in 0..TRIES {
        let index = numbers.below(theory.steps.len());
        let step = &theory.steps[index];
        // A cell behind the last is looked at as well.
        let limit = |kind| sizes.of(kind) as usize + usize::from(kind == Kind::Cell);
        let chosen = step.variables.iter().map(|known| (known.name, numbers.below(limit(known.kind)) as i64));
        let mut values: Values = chosen.collect();
        if !state.allows(step, &mut values) {
            continue;
        }
        let times = taken.get(step.name).copied().unwrap_or(0);
        if best.as_ref().is_none_or(|(least, ..)| times < *least)
            && let Some(after) = state.after(step, &mut values)
            && after != *state
        {
            best = Some((times, index, after));
        }
        choices += 1;
        if choices >= CHOICES && best.is_some() {
            break;
        }
    }
    best.map(|(_, index, after)| (index, after))
}
