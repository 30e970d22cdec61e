//! Terms: the language in which the transition system is written, once.
//!
//! There are whole numbers and truth values, functions of numbers that make up the state, and quantifiers.
//! A term is printed as SMT-LIB text ([`super::smt`]), or evaluated on a concrete state ([`super::eval`]).
//! The two types keep numbers and truth values apart; what ranges over what is the business of a variable's
//! [`Kind`].

use std::ops::{Add, BitAnd, BitOr, Not, Sub};
use std::rc::Rc;

/// What a variable ranges over: all whole numbers in the proof, some of them in a finite instance and in a
/// walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// The ordinal of a segment.
    Segment,
    /// A cell of a segment.
    Cell,
    /// An entry of one of a segment's tables.
    Entry,
    /// A writer.
    Writer,
    /// A cursor: one incarnation of a slot.
    Cursor,
    /// One call of trim.
    Trimmer,
    /// A length, an offset or a term: nothing is counted by it.
    Amount,
}

/// A variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Var {
    /// Its name in SMT-LIB.
    pub name: &'static str,
    /// What it ranges over.
    pub kind: Kind,
}

/// Numbers or truth values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    /// Whole numbers.
    Int,
    /// Truth values, 0 and 1 when evaluated.
    Bool,
}

/// A term, whatever its sort.
#[derive(Debug)]
pub enum Node {
    /// A number.
    Number(i64),
    /// A truth value.
    Truth(bool),
    /// A variable that is bound by a quantifier, a step or an update.
    Variable(Var),
    /// A function of the state, by its place in [`super::state::FUNCTIONS`].
    Get(usize, Vec<Term>),
    /// The sum.
    Sum(Term, Term),
    /// The difference.
    Difference(Term, Term),
    /// Equal, at either sort.
    Equal(Term, Term),
    /// Less.
    Less(Term, Term),
    /// Less or equal.
    AtMost(Term, Term),
    /// Both.
    Both(Term, Term),
    /// One at least.
    Either(Term, Term),
    /// The second, if the first.
    Implies(Term, Term),
    /// The contrary.
    Contrary(Term),
    /// The second if the first, the third otherwise.
    Pick(Term, Term, Term),
    /// For all.
    All(Vec<Var>, Term),
}

/// A term, shared.
pub type Term = Rc<Node>;

/// A term that is a number.
#[derive(Clone, Debug)]
pub struct Int(pub Term);

/// A term that is a truth value.
#[derive(Clone, Debug)]
pub struct Bool(pub Term);

/// Either kind of term.
pub trait Value {
    /// The term itself.
    fn term(&self) -> Term;
}

impl Value for Int {
    fn term(&self) -> Term {
        Rc::clone(&self.0)
    }
}

impl Value for Bool {
    fn term(&self) -> Term {
        Rc::clone(&self.0)
    }
}

impl From<i64> for Int {
    fn from(number: i64) -> Self {
        Self(Rc::new(Node::Number(number)))
    }
}

impl From<&Int> for Int {
    fn from(term: &Int) -> Self {
        term.clone()
    }
}

impl From<Var> for Int {
    fn from(variable: Var) -> Self {
        Self(Rc::new(Node::Variable(variable)))
    }
}

impl From<bool> for Bool {
    fn from(truth: bool) -> Self {
        Self(Rc::new(Node::Truth(truth)))
    }
}

impl<R: Into<Int>> Add<R> for Int {
    type Output = Self;

    fn add(self, other: R) -> Self {
        Self(Rc::new(Node::Sum(self.0, other.into().0)))
    }
}

impl<R: Into<Int>> Sub<R> for Int {
    type Output = Self;

    fn sub(self, other: R) -> Self {
        Self(Rc::new(Node::Difference(self.0, other.into().0)))
    }
}

impl BitAnd for Bool {
    type Output = Self;

    fn bitand(self, other: Self) -> Self {
        Self(Rc::new(Node::Both(self.0, other.0)))
    }
}

impl BitOr for Bool {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(Rc::new(Node::Either(self.0, other.0)))
    }
}

impl Not for Bool {
    type Output = Self;

    fn not(self) -> Self {
        Self(Rc::new(Node::Contrary(self.0)))
    }
}

impl Int {
    /// Whether it equals another.
    #[must_use]
    pub fn is(self, other: impl Into<Self>) -> Bool {
        Bool(Rc::new(Node::Equal(self.0, other.into().0)))
    }

    /// Whether it is less than another.
    #[must_use]
    pub fn below(self, other: impl Into<Self>) -> Bool {
        Bool(Rc::new(Node::Less(self.0, other.into().0)))
    }

    /// Whether it is no more than another.
    #[must_use]
    pub fn at_most(self, other: impl Into<Self>) -> Bool {
        Bool(Rc::new(Node::AtMost(self.0, other.into().0)))
    }

    /// Whether it is no less than another.
    #[must_use]
    pub fn at_least(self, other: impl Into<Self>) -> Bool {
        other.into().at_most(self)
    }

    /// Whether it is one of these.
    #[must_use]
    pub fn one_of(&self, these: &[i64]) -> Bool {
        these
            .iter()
            .map(|&number| self.clone().is(number))
            .reduce(BitOr::bitor)
            .unwrap_or_else(|| false.into())
    }
}

impl Bool {
    /// Whether the other holds if this does.
    #[must_use]
    pub fn implies(self, other: Self) -> Self {
        Self(Rc::new(Node::Implies(self.0, other.0)))
    }

    /// Whether both hold, or neither.
    #[must_use]
    pub fn same_as(self, other: Self) -> Self {
        Self(Rc::new(Node::Equal(self.0, other.0)))
    }
}

/// `yes` if the condition holds, `no` otherwise.
pub fn pick(condition: Bool, yes: impl Into<Int>, no: impl Into<Int>) -> Int {
    Int(Rc::new(Node::Pick(condition.0, yes.into().0, no.into().0)))
}

/// As [`pick`], of truth values.
#[must_use]
pub fn pick_truth(condition: Bool, yes: Bool, no: Bool) -> Bool {
    Bool(Rc::new(Node::Pick(condition.0, yes.0, no.0)))
}

/// Whether something holds for all values of variables.
#[must_use]
pub fn all(variables: &[Var], body: Bool) -> Bool {
    Bool(Rc::new(Node::All(variables.to_vec(), body.0)))
}

/// Whether all of these hold.
#[must_use]
pub fn every(these: impl IntoIterator<Item = Bool>) -> Bool {
    these.into_iter().reduce(BitAnd::bitand).unwrap_or_else(|| true.into())
}

impl Node {
    /// Calls `visit` with each function of the state in the term.
    pub fn functions(&self, visit: &mut impl FnMut(usize)) {
        if let Self::Get(function, _) = self {
            visit(*function);
        }
        for part in self.parts() {
            part.functions(visit);
        }
    }

    /// The variables in the term.
    #[must_use]
    pub fn variables(&self) -> Vec<Var> {
        match self {
            Self::Variable(variable) => vec![*variable],
            _ => self.parts().into_iter().flat_map(|part| part.variables()).collect(),
        }
    }

    /// The terms that it is made of.
    #[must_use]
    pub fn parts(&self) -> Vec<&Term> {
        match self {
            Self::Number(_) | Self::Truth(_) | Self::Variable(_) => Vec::new(),
            Self::Get(_, arguments) => arguments.iter().collect(),
            Self::Sum(a, b)
            | Self::Difference(a, b)
            | Self::Equal(a, b)
            | Self::Less(a, b)
            | Self::AtMost(a, b)
            | Self::Both(a, b)
            | Self::Either(a, b)
            | Self::Implies(a, b) => vec![a, b],
            Self::Contrary(a) | Self::All(_, a) => vec![a],
            Self::Pick(a, b, c) => vec![a, b, c],
        }
    }
}
