//! An execution that broke an invariant: what is kept of it, and how it is shown.
//!
//! [`naming`] turns addresses into names that a person can follow, [`words`] a checker's message into a
//! sentence, [`columns`] the steps into a drawing with a column for each thread.

pub mod columns;
pub mod naming;
pub mod words;

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// The version of the file.
pub const SCHEMA: u32 = 1;

/// An execution that broke something, as it is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    /// The version of this value: [`SCHEMA`].
    pub schema: u32,
    /// The model, or the scenario of the protocol.
    pub proof: String,
    /// What happens in it, in a sentence.
    pub about: String,
    /// The invariants it is about.
    pub invariants: Vec<String>,
    /// The ordering that was weakened, the fault or the bug that was switched on.
    pub mutation: Option<String>,
    /// What that is, in a sentence.
    pub mutation_about: Option<String>,
    /// Names the build that found it.
    pub build: String,
    /// The compiler and the checkers.
    pub tools: Vec<String>,
    /// The execution.
    pub execution: Execution,
}

/// An execution: how to run it again, and what was seen of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Execution {
    /// Of a model.
    Model {
        /// The preemption bound, or `none`.
        bound: String,
        /// The member of the crew that stopped, at which of its steps, and what the others did then.
        stall: Option<(usize, usize, usize)>,
        /// loom's path.
        path: serde_json::Value,
        /// What was seen.
        recorded: Recorded,
    },
    /// Of the protocol.
    Protocol {
        /// How far the search went: `quick` or `full`.
        reach: String,
        /// The steps, each as its number among those that were possible.
        path: Vec<usize>,
        /// The property that is broken.
        broken: String,
        /// The way, in words.
        trace: String,
    },
}

/// What was seen of an execution.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Recorded {
    /// The message it ended with, as it was.
    pub message: String,
    /// Where that came from.
    pub place: Option<String>,
    /// The thread that ran then.
    pub thread: Option<usize>,
    /// What threads are called, by their number.
    pub threads: BTreeMap<usize, String>,
    /// The steps, in the order in which they happened.
    pub steps: Vec<Step>,
}

/// A step of a thread.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// The thread; 0 is the one that the model begins on.
    pub thread: usize,
    /// The named ordering.
    pub name: Option<String>,
    /// What it did, in words.
    pub did: String,
    /// What it touched, by its name.
    pub touches: Option<String>,
    /// How it touched it.
    pub touch: Touch,
    /// The place in the source.
    pub place: Option<String>,
}

/// How a step touches what it touches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Touch {
    /// Reads an atomic, or tries to change it in vain.
    Read,
    /// Changes an atomic.
    Write,
    /// Reads plain memory.
    PlainRead,
    /// Writes plain memory.
    PlainWrite,
    /// Uses an object that must be alive.
    Use,
    /// Frees an object.
    Free,
    /// A fence, or something is retired.
    Order,
    /// A guard begins or ends.
    Guard,
}

impl Failure {
    /// Reads a file.
    ///
    /// # Errors
    /// If it cannot be read, is no such file, or is of a later version.
    pub fn read(file: &Path) -> Result<Self, String> {
        let name = file.display();
        let text = std::fs::read_to_string(file).map_err(|error| format!("{name}: {error}"))?;
        let json: serde_json::Value =
            serde_json::from_str(&text).map_err(|error| format!("{name}: {error}"))?;
        match json.get("schema").and_then(serde_json::Value::as_u64) {
            Some(version) if version == u64::from(SCHEMA) && json.get("execution").is_some() => {}
            Some(version) if json.get("execution").is_some() => {
                return Err(format!("{name}: version {version} of a failure; this reads {SCHEMA}"));
            }
            _ => return Err(format!("{name}: not a failure that `cargo prove` saved")),
        }
        serde_json::from_value(json).map_err(|error| format!("{name}: {error}"))
    }

    /// What broke it and where, without its steps.
    pub fn title(&self) -> String {
        match &self.mutation {
            Some(mutation) => format!("{} with {mutation}", self.proof),
            None => self.proof.clone(),
        }
    }

    /// What is run, and what is wrong with it on purpose.
    fn head(&self) -> String {
        let mut text = format!("{}: {}\n", self.proof, self.about);
        if let Some(mutation) = &self.mutation {
            let about = self.mutation_about.as_deref().unwrap_or_default();
            let what = if mutation.contains('=') { "weakened on purpose" } else { "broken on purpose" };
            text += &format!("{what}: {mutation}. {about}\n");
        }
        text.push('\n');
        text
    }

    /// The whole of it, for a terminal of so many columns. With `all_steps`, also those that matter little.
    pub fn draw(&self, width: usize, all_steps: bool) -> String {
        match &self.execution {
            Execution::Model { recorded, stall, .. } => {
                let mut text = self.head();
                text += &words::explained(recorded).render();
                if let Some((member, step, _)) = stall {
                    let (member, step) = (member + 1, step + 1);
                    text +=
                        &format!("\n  Thread {member} of the crew stops for good before its step {step}.\n");
                }
                text.push('\n');
                text += &columns::draw(recorded, self.mutation.as_deref(), width, all_steps);
                text
            }
            Execution::Protocol { broken, trace, .. } => {
                format!("{}  broken: {broken}\n\n{trace}\n", self.head())
            }
        }
    }
}
