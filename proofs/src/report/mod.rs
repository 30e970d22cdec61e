//! What a run of the proofs showed, as one value.
//!
//! # The value
//!
//! A [`Report`] is a list of [`Row`]s, a proof each, and the [`Facts`] that they rest on. Everything that is
//! shown is made from it: the [`table`] of a terminal, [`junit`] for machines, [`html`] and [`markdown`] for
//! people. As JSON it is the interface to other programs: [`SCHEMA`] is its version, and grows when the
//! meaning of a member changes or one goes; a new member alone is no new version.
//!
//! # The words
//!
//! A [`Verdict`] says no more than was done. *Exhausted*, *bounded* and *sampled* are different words: all
//! executions, all within a bound, some. What came to no end is *unfinished*, what never saw an outcome that
//! it has to see is *vacuous*, and neither is a pass.

pub mod facts;
pub mod html;
pub mod junit;
pub mod markdown;
mod matrix;
pub mod table;
mod verdict;

use std::path::Path;

use serde::{Deserialize, Serialize};

pub use facts::Facts;
pub use verdict::{Explored, Kind, Verdict, judge};

/// The version of the JSON.
pub const SCHEMA: u32 = 1;

/// A run of the proofs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The version of this value: [`SCHEMA`].
    pub schema: u32,
    /// What it rests on.
    pub facts: Facts,
    /// Seconds it took.
    pub seconds: f64,
    /// Proofs that were left out, because an earlier one was not as it should be.
    pub not_run: usize,
    /// The proofs, in the order in which they are shown.
    pub rows: Vec<Row>,
}

/// A proof, and what it showed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// What it is called; no two rows of a kind have the same name.
    pub name: String,
    /// What kind of proof it is.
    pub kind: Kind,
    /// What it runs: the model, the scenario, the test suite.
    pub subject: String,
    /// The ordering that is weakened, the fault or the bug that is switched on.
    pub mutation: Option<String>,
    /// The invariants it is about: `I1` to `I11`, or properties of the protocol.
    pub invariants: Vec<String>,
    /// What happens in it, in a sentence.
    pub about: String,
    /// Threads, or servers of a protocol.
    pub threads: Option<usize>,
    /// How far it goes, in words.
    pub bound: String,
    /// How many [`unit`](Self::unit)s were explored.
    pub explored: u64,
    /// What was counted.
    pub unit: Unit,
    /// The outcomes that it has to see, and how often it saw each.
    pub outcomes: Vec<Outcome>,
    /// What it showed.
    pub verdict: Verdict,
    /// Seconds it took.
    pub seconds: f64,
    /// What broke, in a sentence; of a mutation that is caught, by what.
    pub found: Option<String>,
    /// Whoever caught the mutation: a row's name.
    pub catcher: Option<String>,
    /// What there is to read beside: a checker's own message, a test's output, a trace. Empty if there is
    /// nothing.
    pub report: String,
    /// The execution that broke, drawn.
    pub drawing: Option<String>,
    /// The file from which it can be run again.
    pub failure_file: Option<String>,
}

/// What is explored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unit {
    /// Executions of a model.
    Executions,
    /// Different states of a protocol.
    States,
    /// Tests, each of many cases where it draws them.
    Tests,
    /// Threads stopped, each at one of its steps.
    Points,
    /// Mutations of the shipped code.
    Mutations,
    /// Models, each explored whole within bounds.
    Models,
    /// Questions put to a solver.
    Questions,
    /// Steps of a walk.
    Steps,
    /// Guards of steps, or clauses of an invariant, left out in turn.
    LeftOut,
}

impl Unit {
    /// The word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Executions => "executions",
            Self::States => "states",
            Self::Tests => "tests",
            Self::Points => "points",
            Self::Mutations => "mutations",
            Self::Models => "models",
            Self::Questions => "questions",
            Self::Steps => "steps",
            Self::LeftOut => "left out",
        }
    }
}

/// An outcome that a proof has to see.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// What it is.
    pub name: String,
    /// How often it occurred.
    pub count: u64,
}

impl Row {
    /// A row about `subject` that has not been run.
    pub fn new(kind: Kind, subject: &str) -> Self {
        Self {
            name: subject.to_owned(),
            kind,
            subject: subject.to_owned(),
            mutation: None,
            invariants: Vec::new(),
            about: String::new(),
            threads: None,
            bound: String::new(),
            explored: 0,
            unit: Unit::Executions,
            outcomes: Vec::new(),
            verdict: Verdict::Unfinished,
            seconds: 0.0,
            found: None,
            catcher: None,
            report: String::new(),
            drawing: None,
            failure_file: None,
        }
    }

    /// Whether it is as it should be.
    pub fn is_good(&self) -> bool {
        self.verdict.is_good()
    }

    /// The outcomes that have to occur and did not.
    pub fn unseen(&self) -> impl Iterator<Item = &str> {
        self.outcomes.iter().filter(|outcome| outcome.count == 0).map(|outcome| outcome.name.as_str())
    }

    /// In a phrase: what broke, what is missing, or what was seen.
    pub fn remark(&self) -> String {
        if let Some(found) = &self.found {
            return match &self.catcher {
                Some(catcher) => format!("{catcher}: {found}"),
                None => found.clone(),
            };
        }
        if matches!(self.verdict, Verdict::Vacuous | Verdict::Inexact) && self.unseen().next().is_some() {
            let unseen: Vec<_> = self.unseen().collect();
            return format!("never seen: {}", unseen.join(", "));
        }
        let seen = self.outcomes.iter().map(|outcome| format!("{}: {}", outcome.name, outcome.count));
        seen.collect::<Vec<_>>().join(", ")
    }
}

impl Report {
    /// Rows that are not as they should be.
    pub fn bad(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(|row| !row.is_good())
    }

    /// Whether every row is as it should be, and all were run.
    pub fn is_good(&self) -> bool {
        self.not_run == 0 && !self.rows.is_empty() && self.bad().next().is_none()
    }

    /// The rows of a kind.
    pub fn of(&self, kind: Kind) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(move |row| row.kind == kind)
    }

    /// How the run ended, in a line.
    pub fn summary(&self) -> String {
        let bad = self.bad().count();
        let good = self.rows.len() - bad;
        let mut line = format!("{good} as it should be, {bad} not");
        if self.not_run > 0 {
            line += &format!(", {} not run", self.not_run);
        }
        line + &format!("; {:.0} s", self.seconds)
    }

    /// For machines.
    ///
    /// # Errors
    /// Never, unless a number is not one.
    pub fn to_json(&self) -> Result<String, String> {
        serde_json::to_string_pretty(self).map_err(|error| error.to_string())
    }

    /// Reads what [`to_json`](Self::to_json) wrote.
    ///
    /// # Errors
    /// If the file cannot be read, is none of these, or is of a later version.
    pub fn read(file: &Path) -> Result<Self, String> {
        let name = file.display();
        let text = std::fs::read_to_string(file).map_err(|error| format!("{name}: {error}"))?;
        let json: serde_json::Value =
            serde_json::from_str(&text).map_err(|error| format!("{name}: {error}"))?;
        match json.get("schema").and_then(serde_json::Value::as_u64) {
            Some(version) if version == u64::from(SCHEMA) => {}
            Some(version) => {
                return Err(format!("{name}: version {version} of a report; this reads {SCHEMA}"));
            }
            None => return Err(format!("{name}: not a report of `cargo prove --json`")),
        }
        serde_json::from_value(json).map_err(|error| format!("{name}: {error}"))
    }
}
