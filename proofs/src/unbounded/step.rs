//! Steps of the system, and clauses of its invariant.

use super::term::{Bool, Node, Term, Value, Var};

/// One atomic access, with what its thread does in private until the next.
#[derive(Debug)]
pub struct Step {
    /// What it does.
    pub name: &'static str,
    /// Who does it, and what it chooses. It can be taken for any values.
    pub variables: Vec<Var>,
    /// All have to hold.
    pub guards: Vec<Guard>,
    /// What changes, all at once.
    pub updates: Vec<Update>,
}

/// A condition of a step.
#[derive(Debug)]
pub struct Guard {
    /// Its name, for the negative controls.
    pub name: &'static str,
    /// The condition.
    pub holds: Bool,
}

/// What a function of the state is after a step, at some arguments.
#[derive(Debug)]
pub struct Update {
    /// The function.
    pub function: usize,
    /// Where it changes: one of `each`, for all of its values, or a term.
    pub arguments: Vec<Term>,
    /// Variables that stand for all values.
    pub each: Vec<Var>,
    /// What it is there, in terms of the state before.
    pub value: Term,
}

impl Step {
    /// A step that changes nothing yet.
    #[must_use]
    pub fn new(name: &'static str, variables: &[Var]) -> Self {
        Self { name, variables: variables.to_vec(), guards: Vec::new(), updates: Vec::new() }
    }

    /// It can be taken only if this holds.
    #[must_use]
    pub fn when(mut self, name: &'static str, holds: Bool) -> Self {
        self.guards.push(Guard { name, holds });
        self
    }

    /// `place`, a function of the state at some arguments, is `value` after it.
    #[must_use]
    pub fn set<V: Value>(self, place: V, value: impl Into<V>) -> Self {
        self.set_each(&[], place, value)
    }

    /// As [`set`](Self::set), for all values of the variables in `each`, which are arguments of `place`.
    #[must_use]
    pub fn set_each<V: Value>(mut self, each: &[Var], place: V, value: impl Into<V>) -> Self {
        let value = value.into().term();
        if let Node::Get(function, arguments) = &*place.term() {
            let (function, arguments) = (*function, arguments.clone());
            debug_assert!(
                self.updates.iter().all(|known| known.function != function),
                "one update a function: {}",
                self.name
            );
            self.updates.push(Update { function, arguments, each: each.to_vec(), value });
        } else {
            debug_assert!(false, "a place is a function of the state: {}", self.name);
        }
        self
    }
}

/// A clause of the invariant.
#[derive(Debug)]
pub struct Clause {
    /// Its name.
    pub name: &'static str,
    /// What it promises, by the names of the buffer's invariants; nothing if it only helps the others.
    pub promises: &'static str,
    /// The clause.
    pub holds: Bool,
}

impl Clause {
    /// A clause that others need.
    #[must_use]
    pub fn helps(name: &'static str, holds: Bool) -> Self {
        Self { name, promises: "", holds }
    }

    /// A clause for whose sake the proof is made.
    #[must_use]
    pub fn promises(name: &'static str, promises: &'static str, holds: Bool) -> Self {
        Self { name, promises, holds }
    }
}
