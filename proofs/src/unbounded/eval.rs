//! Terms evaluated: on a state of a few segments, cells and actors.

use std::ops::Range;

use super::state::{FUNCTIONS, Function};
use super::step::{Step, Update};
use super::term::{Kind, Node, Term, Var};

/// How many there are of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Segments.
    pub segments: i64,
    /// Cells of each.
    pub cells: i64,
    /// Entries of each table.
    pub entries: i64,
    /// Writers.
    pub writers: i64,
    /// Cursors.
    pub cursors: i64,
    /// Trimmers.
    pub trimmers: i64,
}

impl Sizes {
    /// How many there are of a kind.
    #[must_use]
    pub fn of(&self, kind: Kind) -> i64 {
        match kind {
            Kind::Segment => self.segments,
            Kind::Cell => self.cells,
            Kind::Entry => self.entries,
            Kind::Writer => self.writers,
            Kind::Cursor => self.cursors,
            Kind::Trimmer => self.trimmers,
            Kind::Amount => 5,
        }
    }

    /// The values over which a quantifier goes: all, and one more at each side, where a state is as at the
    /// beginning.
    #[must_use]
    pub fn quantified(&self, kind: Kind) -> Range<i64> {
        match kind {
            Kind::Writer | Kind::Cursor | Kind::Trimmer => 0..self.of(kind) + 1,
            _ => -1..self.of(kind) + 1,
        }
    }

    /// The values of a step's variable; none if it may have any.
    #[must_use]
    pub fn range(&self, kind: Kind) -> Option<Range<i64>> {
        (kind != Kind::Amount).then(|| 0..self.of(kind))
    }

    /// The arguments of a function at which a state keeps a value.
    #[must_use]
    pub fn places(&self, function: &Function) -> Vec<Vec<i64>> {
        function.kinds.iter().fold(vec![Vec::new()], |places, kind| {
            places
                .into_iter()
                .flat_map(|place| (0..self.of(*kind)).map(move |last| [&place[..], &[last]].concat()))
                .collect()
        })
    }

    fn index(&self, function: &Function, arguments: &[i64]) -> Option<usize> {
        function.kinds.iter().zip(arguments).try_fold(0, |index, (kind, &argument)| {
            let inside = (0..self.of(*kind)).contains(&argument);
            inside.then(|| index * self.of(*kind) as usize + argument as usize)
        })
    }
}

/// A state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    sizes: Sizes,
    values: Vec<Vec<i64>>,
}

/// What variables stand for.
pub type Values = Vec<(&'static str, i64)>;

impl State {
    /// How things stand at the beginning.
    #[must_use]
    pub fn beginning(sizes: Sizes) -> Self {
        let values = FUNCTIONS.iter().map(|function| vec![function.initial; sizes.places(function).len()]);
        Self { sizes, values: values.collect() }
    }

    /// A state of given values, in the order of the functions; and the values that are left.
    #[must_use]
    pub fn from_values(sizes: Sizes, mut given: Vec<i64>) -> Option<(Self, Vec<i64>)> {
        let mut values = Vec::new();
        for function in FUNCTIONS {
            let places = sizes.places(function).len();
            if given.len() < places {
                return None;
            }
            let rest = given.split_off(places);
            values.push(std::mem::replace(&mut given, rest));
        }
        Some((Self { sizes, values }, given))
    }

    fn get(&self, function: usize, arguments: &[i64]) -> i64 {
        let known = &FUNCTIONS[function];
        self.sizes.index(known, arguments).map_or(known.initial, |index| self.values[function][index])
    }

    /// The value of a term.
    pub fn eval(&self, term: &Term, bound: &mut Values) -> i64 {
        match &**term {
            Node::Number(number) => *number,
            Node::Truth(truth) => i64::from(*truth),
            Node::Variable(variable) => value_of(bound, *variable),
            Node::Get(function, arguments) => match &arguments[..] {
                [] => self.get(*function, &[]),
                [a] => self.get(*function, &[self.eval(a, bound)]),
                all => {
                    let all: Vec<_> = all.iter().map(|argument| self.eval(argument, bound)).collect();
                    self.get(*function, &all)
                }
            },
            Node::Sum(a, b) => self.eval(a, bound).saturating_add(self.eval(b, bound)),
            Node::Difference(a, b) => self.eval(a, bound).saturating_sub(self.eval(b, bound)),
            Node::Equal(a, b) => i64::from(self.eval(a, bound) == self.eval(b, bound)),
            Node::Less(a, b) => i64::from(self.eval(a, bound) < self.eval(b, bound)),
            Node::AtMost(a, b) => i64::from(self.eval(a, bound) <= self.eval(b, bound)),
            Node::Both(a, b) => i64::from(self.holds(a, bound) && self.holds(b, bound)),
            Node::Either(a, b) => i64::from(self.holds(a, bound) || self.holds(b, bound)),
            Node::Implies(a, b) => i64::from(!self.holds(a, bound) || self.holds(b, bound)),
            Node::Contrary(a) => i64::from(!self.holds(a, bound)),
            Node::Pick(a, b, c) => self.eval(if self.holds(a, bound) { b } else { c }, bound),
            Node::All(variables, body) => i64::from(self.all(variables, body, bound)),
        }
    }

    /// Whether a term is true.
    pub fn holds(&self, term: &Term, bound: &mut Values) -> bool {
        self.eval(term, bound) != 0
    }

    fn all(&self, variables: &[Var], body: &Term, bound: &mut Values) -> bool {
        let Some((first, rest)) = variables.split_first() else { return self.holds(body, bound) };
        for value in self.sizes.quantified(first.kind) {
            bound.push((first.name, value));
            let holds = self.all(rest, body, bound);
            bound.pop();
            if !holds {
                return false;
            }
        }
        true
    }

    /// Whether a step can be taken.
    pub fn allows(&self, step: &Step, values: &mut Values) -> bool {
        step.guards.iter().all(|guard| self.holds(&guard.holds.0, values))
    }

    /// The state after a step; none if that is outside of what a state keeps.
    #[must_use]
    pub fn after(&self, step: &Step, values: &mut Values) -> Option<Self> {
        let mut after = self.clone();
        for update in &step.updates {
            self.apply(update, values, &mut after)?;
        }
        Some(after)
    }

    fn apply(&self, update: &Update, values: &mut Values, after: &mut Self) -> Option<()> {
        let function = &FUNCTIONS[update.function];
        let mut places = vec![Vec::new()];
        for (argument, kind) in update.arguments.iter().zip(function.kinds) {
            let choices: Vec<i64> = match &**argument {
                Node::Variable(variable) if update.each.contains(variable) => {
                    (0..self.sizes.of(*kind)).collect()
                }
                _ => vec![self.eval(argument, values)],
            };
            places = places
                .into_iter()
                .flat_map(|place| choices.iter().map(move |&last| [&place[..], &[last]].concat()))
                .collect();
        }
        for place in places {
            let known = values.len();
            for (argument, &number) in update.arguments.iter().zip(&place) {
                if let Node::Variable(variable) = &**argument
                    && update.each.contains(variable)
                {
                    values.push((variable.name, number));
                }
            }
            let value = self.eval(&update.value, values);
            values.truncate(known);
            match self.sizes.index(function, &place) {
                Some(index) => after.values[update.function][index] = value,
                // It is as at the beginning there, and stays so.
                None if value == function.initial => {}
                None => return None,
            }
        }
        Some(())
    }
}

fn value_of(bound: &Values, variable: Var) -> i64 {
    bound.iter().rev().find(|(name, _)| *name == variable.name).map_or(0, |(_, value)| *value)
}
