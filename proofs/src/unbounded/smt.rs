//! Terms as SMT-LIB text: with quantifiers, or as an instance of a few segments, cells and actors without
//! any.
//!
//! After a step, a function that it changed is a macro over those before, so nothing has to be said of what
//! stays.

use std::fmt::Write;

use super::eval::Sizes;
use super::state::{FUNCTIONS, Function};
use super::step::{Step, Update};
use super::term::{Kind, Node, Sort, Term, Var};

/// How terms are printed.
#[derive(Clone, Copy, Debug)]
pub enum Scope<'a> {
    /// For any number of everything.
    Unbounded,
    /// For so many.
    Finite(&'a Sizes),
}

/// Prints terms of the state before a step, or after it.
struct Printer<'a> {
    scope: Scope<'a>,
    /// Functions that are printed as they are after the step.
    changed: &'a [usize],
    text: String,
    /// What variables stand for.
    bound: Vec<(&'static str, String)>,
}

fn sort(sort: Sort) -> &'static str {
    match sort {
        Sort::Int => "Int",
        Sort::Bool => "Bool",
    }
}

fn literal(number: i64, of: Sort) -> String {
    match of {
        Sort::Bool => (number != 0).to_string(),
        Sort::Int if number < 0 => format!("(- {})", number.unsigned_abs()),
        Sort::Int => number.to_string(),
    }
}

impl Printer<'_> {
    fn call(&mut self, operator: &str, arguments: &[&Term]) {
        self.text.push('(');
        self.text.push_str(operator);
        for argument in arguments {
            self.text.push(' ');
            self.print(argument);
        }
        self.text.push(')');
    }

    fn print(&mut self, term: &Term) {
        match &**term {
            Node::Number(number) => self.text.push_str(&literal(*number, Sort::Int)),
            Node::Truth(truth) => self.text.push_str(&truth.to_string()),
            Node::Variable(variable) => {
                let known = self.bound.iter().rev().find(|(name, _)| *name == variable.name);
                let text = known.map_or_else(|| variable.name.to_owned(), |(_, text)| text.clone());
                self.text.push_str(&text);
            }
            Node::Get(function, arguments) => {
                let mark = if self.changed.contains(function) { "!" } else { "" };
                let name = format!("b.{}{mark}", FUNCTIONS[*function].name);
                if arguments.is_empty() {
                    self.text.push_str(&name);
                } else {
                    self.call(&name, &arguments.iter().collect::<Vec<_>>());
                }
            }
            Node::Sum(a, b) => self.call("+", &[a, b]),
            Node::Difference(a, b) => self.call("-", &[a, b]),
            Node::Equal(a, b) => self.call("=", &[a, b]),
            Node::Less(a, b) => self.call("<", &[a, b]),
            Node::AtMost(a, b) => self.call("<=", &[a, b]),
            Node::Both(a, b) => self.call("and", &[a, b]),
            Node::Either(a, b) => self.call("or", &[a, b]),
            Node::Implies(a, b) => self.call("=>", &[a, b]),
            Node::Contrary(a) => self.call("not", &[a]),
            Node::Pick(a, b, c) => self.call("ite", &[a, b, c]),
            Node::All(variables, body) => self.print_all(variables, body),
        }
    }

    fn print_all(&mut self, variables: &[Var], body: &Term) {
        let Scope::Finite(sizes) = self.scope else {
            self.text.push_str("(forall (");
            for variable in variables {
                let _ = write!(self.text, "({} Int)", variable.name);
                self.bound.push((variable.name, variable.name.to_owned()));
            }
            self.text.push_str(") ");
            self.print(body);
            self.text.push(')');
            self.bound.truncate(self.bound.len() - variables.len());
            return;
        };
        let Some((first, rest)) = variables.split_first() else { return self.print(body) };
        self.text.push_str("(and true");
        for value in sizes.quantified(first.kind) {
            self.text.push(' ');
            self.bound.push((first.name, literal(value, Sort::Int)));
            self.print_all(rest, body);
            self.bound.pop();
        }
        self.text.push(')');
    }
}

/// A term as text. `changed` are functions to be taken as they are after a step.
#[must_use]
pub fn text(term: &Term, scope: Scope<'_>, changed: &[usize]) -> String {
    let mut printer = Printer { scope, changed, text: String::new(), bound: Vec::new() };
    printer.print(term);
    printer.text
}

/// Says that a clause does not hold after a step, for some values of its variables; and that it did before
/// it, for the same: a solver would have to find that out.
#[must_use]
pub fn contrary(clause: &Term, changed: &[usize]) -> String {
    let mut text = String::new();
    let (variables, body) = match &**clause {
        Node::All(variables, body) => (&variables[..], body),
        _ => (&[][..], clause),
    };
    let mut bound = Vec::new();
    for variable in variables {
        let name = format!("n.{}", variable.name);
        let _ = writeln!(text, "(declare-const {name} Int)");
        bound.push((variable.name, name));
    }
    let mut printer = Printer { scope: Scope::Unbounded, changed: &[], text: String::new(), bound };
    printer.print(body);
    let _ = writeln!(text, "(assert {})", printer.text);
    (printer.text, printer.changed) = (String::new(), changed);
    printer.print(body);
    let _ = writeln!(text, "(assert (not {}))", printer.text);
    text
}

/// Terms that a question is about, by what they range over: an instance of each clause with them saves a
/// solver the search.
#[derive(Clone, Debug, Default)]
pub struct Pool {
    terms: Vec<(Kind, String)>,
    /// Values of functions too, not only what is in the place of an argument.
    values: bool,
}

impl Pool {
    fn add(&mut self, kind: Kind, text: String) {
        if !self.terms.iter().any(|known| known.0 == kind && known.1 == text) {
            self.terms.push((kind, text));
        }
    }

    fn of(&self, kind: Kind) -> Vec<&str> {
        self.terms.iter().filter(|known| known.0 == kind).map(|known| &known.1[..]).collect()
    }

    /// The variables of a step, and the arguments in it.
    #[must_use]
    pub fn of_step(step: &Step, values: bool) -> Self {
        let mut pool = Self { terms: Vec::new(), values };
        let bound: Vec<_> =
            step.variables.iter().map(|variable| (variable.name, constant(*variable))).collect();
        for variable in &step.variables {
            pool.add(variable.kind, constant(*variable));
        }
        for guard in &step.guards {
            pool.collect(&guard.holds.0, &bound);
        }
        for update in &step.updates {
            pool.collect(&update.value, &bound);
            // What a register becomes is what clauses are about after the step.
            if let Some(kind) = FUNCTIONS[update.function].gives {
                pool.argument(&update.value, kind, &bound);
            }
            for (argument, kind) in update.arguments.iter().zip(FUNCTIONS[update.function].kinds) {
                pool.argument(argument, *kind, &bound);
            }
        }
        pool
    }

    /// With the variables of a clause and the arguments in it; those of its actors too as if they were the
    /// step's.
    #[must_use]
    pub fn with_clause(&self, clause: &Term, step: &Step) -> Self {
        let mut pool = self.clone();
        let Node::All(variables, body) = &**clause else { return pool };
        let named: Vec<_> =
            variables.iter().map(|variable| (variable.name, format!("n.{}", variable.name))).collect();
        for (variable, (_, name)) in variables.iter().zip(&named) {
            pool.add(variable.kind, name.clone());
        }
        pool.collect(body, &named);
        let as_the_steps = |(variable, (name, text)): (&Var, &(&'static str, String))| {
            let same = step.variables.iter().find(|known| known.kind == variable.kind);
            (*name, same.map_or_else(|| text.clone(), |same| constant(*same)))
        };
        let as_the_steps: Vec<_> = variables.iter().zip(&named).map(as_the_steps).collect();
        pool.collect(body, &as_the_steps);
        pool
    }

    fn collect(&mut self, term: &Term, bound: &[(&'static str, String)]) {
        if let Node::Get(function, arguments) = &**term {
            for (argument, kind) in arguments.iter().zip(FUNCTIONS[*function].kinds) {
                self.argument(argument, *kind, bound);
            }
            if self.values
                && let Some(kind) = FUNCTIONS[*function].gives
            {
                self.argument(term, kind, bound);
            }
        }
        for part in term.parts() {
            self.collect(part, bound);
        }
    }

    fn argument(&mut self, argument: &Term, kind: Kind, bound: &[(&'static str, String)]) {
        if argument.variables().iter().all(|variable| bound.iter().any(|(name, _)| *name == variable.name)) {
            let mut printer =
                Printer { scope: Scope::Unbounded, changed: &[], text: String::new(), bound: bound.to_vec() };
            printer.print(argument);
            self.add(kind, printer.text);
        }
    }
}

/// Instances of a clause, at most so many.
const MAX_INSTANCES: usize = 48;

/// A clause, for the terms of a pool; nothing if those are too many.
#[must_use]
pub fn instances(clause: &Term, pool: &Pool) -> String {
    let Node::All(variables, body) = &**clause else { return String::new() };
    let mut choices = vec![Vec::new()];
    for variable in variables {
        let terms = pool.of(variable.kind);
        choices = choices
            .into_iter()
            .flat_map(|chosen: Vec<(&'static str, String)>| {
                terms.iter().map(move |term| [&chosen[..], &[(variable.name, (*term).to_owned())]].concat())
            })
            .collect();
        if choices.len() > MAX_INSTANCES {
            return String::new();
        }
    }
    let mut text = String::new();
    for bound in choices {
        let mut printer = Printer { scope: Scope::Unbounded, changed: &[], text: String::new(), bound };
        printer.print(body);
        let _ = writeln!(text, "(assert {})", printer.text);
    }
    text
}

fn parameters(function: &Function) -> String {
    let mut text = String::new();
    for place in 0..function.kinds.len() {
        let _ = write!(text, "(x{place} Int)");
    }
    text
}

/// Declarations of all functions of the state. In a finite instance each is as at the beginning outside of
/// it.
#[must_use]
pub fn declarations(scope: Scope<'_>) -> String {
    let mut text = String::new();
    for function in FUNCTIONS {
        let (name, of) = (function.name, sort(function.sort));
        let ints = vec!["Int"; function.kinds.len()].join(" ");
        match scope {
            Scope::Finite(sizes) if !function.kinds.is_empty() => {
                let inside: String =
                    function.kinds.iter().enumerate().fold(String::new(), |mut inside, (place, kind)| {
                        let _ = write!(inside, " (<= 0 x{place}) (< x{place} {})", sizes.of(*kind));
                        inside
                    });
                let arguments =
                    (0..function.kinds.len()).map(|place| format!(" x{place}")).collect::<String>();
                let initial = literal(function.initial, function.sort);
                let parameters = parameters(function);
                let _ = writeln!(
                    text,
                    "(declare-fun v.{name} ({ints}) {of})\n(define-fun b.{name} ({parameters}) {of} (ite (and{inside}) (v.{name}{arguments}) {initial}))"
                );
            }
            Scope::Unbounded | Scope::Finite(_) => {
                let _ = writeln!(text, "(declare-fun b.{name} ({ints}) {of})");
            }
        }
    }
    text
}

/// The functions of the state at the beginning.
#[must_use]
pub fn beginning() -> String {
    let mut text = String::new();
    for function in FUNCTIONS {
        let (name, of) = (function.name, sort(function.sort));
        if function.is_constant {
            let ints = vec!["Int"; function.kinds.len()].join(" ");
            let _ = writeln!(text, "(declare-fun b.{name} ({ints}) {of})");
        } else {
            let initial = literal(function.initial, function.sort);
            let _ = writeln!(text, "(define-fun b.{name} ({}) {of} {initial})", parameters(function));
        }
    }
    text
}

/// The functions that a step changes.
#[must_use]
pub fn changed(step: &Step) -> Vec<usize> {
    step.updates.iter().map(|update| update.function).collect()
}

/// A step: its variables, and what it changes as macros.
#[must_use]
pub fn step_text(step: &Step, scope: Scope<'_>) -> String {
    let mut text = String::new();
    for variable in &step.variables {
        let _ = writeln!(text, "(declare-const {} Int)", constant(*variable));
        if let Scope::Finite(sizes) = scope
            && let Some(range) = sizes.range(variable.kind)
        {
            let (name, from, to) = (constant(*variable), literal(range.start, Sort::Int), range.end);
            let _ = writeln!(text, "(assert (and (<= {from} {name}) (< {name} {to})))");
        }
    }
    for update in &step.updates {
        let _ = writeln!(text, "{}", update_text(step, update, scope));
    }
    text
}

/// A step's variable, told from those that clauses bind.
fn constant(variable: Var) -> String {
    format!("k.{}", variable.name)
}

fn printer<'a>(step: &Step, scope: Scope<'a>) -> Printer<'a> {
    let bound = step.variables.iter().map(|variable| (variable.name, constant(*variable))).collect();
    Printer { scope, changed: &[], text: String::new(), bound }
}

fn update_text(step: &Step, update: &Update, scope: Scope<'_>) -> String {
    let function = &FUNCTIONS[update.function];
    let mut printer = printer(step, scope);
    let mut places = String::new();
    let mut each = Vec::new();
    for (place, argument) in update.arguments.iter().enumerate() {
        match &**argument {
            Node::Variable(variable) if update.each.contains(variable) => {
                each.push((variable.name, format!("x{place}")));
            }
            _ => {
                printer.text.clear();
                printer.print(argument);
                let _ = write!(places, " (= x{place} {})", printer.text);
            }
        }
    }
    printer.bound.extend(each);
    printer.text.clear();
    printer.print(&update.value);
    let arguments = (0..function.kinds.len()).map(|place| format!(" x{place}")).collect::<String>();
    let before = if arguments.is_empty() {
        format!("b.{}", function.name)
    } else {
        format!("(b.{}{arguments})", function.name)
    };
    let (name, of) = (function.name, sort(function.sort));
    let value = &printer.text;
    format!(
        "(define-fun b.{name}! ({}) {of} (ite (and true{places}) {value} {before}))",
        parameters(function)
    )
}

/// A guard of a step.
#[must_use]
pub fn guard_text(step: &Step, guard: &Term, scope: Scope<'_>) -> String {
    let mut printer = printer(step, scope);
    printer.print(guard);
    printer.text
}

/// That a step changes nothing outside of a finite instance.
#[must_use]
pub fn stays_inside(step: &Step, sizes: &Sizes) -> String {
    let mut text = String::new();
    let mut printer = printer(step, Scope::Finite(sizes));
    for update in &step.updates {
        for (argument, kind) in update.arguments.iter().zip(FUNCTIONS[update.function].kinds) {
            if !argument.variables().iter().any(|variable| update.each.contains(variable)) {
                printer.text.clear();
                printer.print(argument);
                let _ =
                    writeln!(text, "(assert (and (<= 0 {0}) (< {0} {1})))", printer.text, sizes.of(*kind));
            }
        }
    }
    text
}

/// The values of a finite instance, in the order of [`super::eval::State`], and of a step's variables.
#[must_use]
pub fn questions(step: &Step, sizes: &Sizes) -> String {
    let mut text = String::from("(get-value (");
    for function in FUNCTIONS {
        for arguments in sizes.places(function) {
            if arguments.is_empty() {
                let _ = write!(text, "b.{} ", function.name);
            } else {
                let arguments =
                    arguments.iter().fold(String::new(), |text, number| format!("{text} {number}"));
                let _ = write!(text, "(v.{}{arguments}) ", function.name);
            }
        }
    }
    for variable in &step.variables {
        let _ = write!(text, "{} ", constant(*variable));
    }
    text.push_str("))");
    text
}

/// The values that a solver answered to [`questions`].
///
/// # Errors
/// If the answer is not a list of values.
pub fn answers(text: &str) -> Result<Vec<i64>, String> {
    let tokens = text.replace('(', " ( ").replace(')', " ) ");
    let mut tokens = tokens.split_whitespace().peekable();
    let unreadable =
        || format!("the solver's values cannot be read: {}", text.chars().take(200).collect::<String>());
    let mut values = Vec::new();
    if tokens.next() != Some("(") {
        return Err(unreadable());
    }
    loop {
        match tokens.next() {
            Some("(") => {}
            Some(")") => return Ok(values),
            _ => return Err(unreadable()),
        }
        // The term that was asked for, then its value.
        let mut depth = 0;
        loop {
            match tokens.next().ok_or_else(unreadable)? {
                "(" => depth += 1,
                ")" => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                break;
            }
        }
        let value = match tokens.next().ok_or_else(unreadable)? {
            "true" => 1,
            "false" => 0,
            "(" => {
                let number: i64 = match (tokens.next(), tokens.next(), tokens.next()) {
                    (Some("-"), Some(number), Some(")")) => number.parse().map_err(|_| unreadable())?,
                    _ => return Err(unreadable()),
                };
                -number
            }
            number => number.parse().map_err(|_| unreadable())?,
        };
        values.push(value);
        if tokens.next() != Some(")") {
            return Err(unreadable());
        }
    }
}
