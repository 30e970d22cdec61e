//! The solvers, as processes that read SMT-LIB.

use std::io::Write;
use std::process::{Command, Stdio};

/// A solver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Solver {
    /// z3.
    Z3,
    /// cvc5.
    Cvc5,
}

/// Both.
pub const SOLVERS: [Solver; 2] = [Solver::Z3, Solver::Cvc5];

/// What a solver says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// There is no such state: proven.
    Unsat,
    /// There is one.
    Sat,
    /// It does not know, or its time was up.
    Unknown,
}

impl Solver {
    /// Its name, which is that of its program.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Z3 => "z3",
            Self::Cvc5 => "cvc5",
        }
    }

    /// Its version, as it says.
    ///
    /// # Errors
    /// If it is not there.
    pub fn version(self) -> Result<String, String> {
        let said =
            Command::new(self.name()).arg("--version").output().map_err(|error| self.missing(&error))?;
        let said = String::from_utf8_lossy(&said.stdout);
        let version = said.split_whitespace().find(|word| word.starts_with(|c: char| c.is_ascii_digit()));
        version.map(str::to_owned).ok_or_else(|| format!("{} does not say its version: {said}", self.name()))
    }

    fn missing(self, error: &std::io::Error) -> String {
        format!(
            "{name} cannot be run ({error}): the proof without bounds needs both z3 and cvc5. Install them (`apt-get install z3 cvc5`).",
            name = self.name()
        )
    }

    /// Runs a script, and returns what it says. Each question gets so many milliseconds.
    ///
    /// # Errors
    /// If it cannot be run, or complains.
    pub fn run(self, script: &str, milliseconds: u64) -> Result<String, String> {
        let mut command = Command::new(self.name());
        match self {
            Self::Z3 => command.args(["-smt2", "-in", &format!("-t:{milliseconds}")]),
            Self::Cvc5 => {
                command.args(["--lang=smt2", "--incremental", &format!("--tlimit-per={milliseconds}")])
            }
        };
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| self.missing(&error))?;
        let mut input = child.stdin.take().ok_or("a solver has no input")?;
        let script = script.to_owned();
        let writing = std::thread::spawn(move || input.write_all(script.as_bytes()));
        let output = child.wait_with_output().map_err(|error| format!("{}: {error}", self.name()))?;
        // A solver that stops early closes its input: what it says is what matters.
        let _ = writing.join();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        if let Some(complaint) = said.lines().find(|line| line.contains("(error")) {
            return Err(format!("{} complains: {complaint}", self.name()));
        }
        if said.is_empty() {
            let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(format!("{} says nothing: {}", self.name(), complaint.trim()));
        }
        Ok(said)
    }
}

/// The answers in what a solver said, one for each question.
///
/// # Errors
/// If there are more or fewer than `questions`.
pub fn answers(said: &str, questions: usize) -> Result<Vec<Answer>, String> {
    let answers: Vec<_> = said
        .lines()
        .filter_map(|line| match line.trim() {
            "unsat" => Some(Answer::Unsat),
            "sat" => Some(Answer::Sat),
            "unknown" | "timeout" => Some(Answer::Unknown),
            _ => None,
        })
        .collect();
    if answers.len() == questions {
        return Ok(answers);
    }
    Err(format!(
        "{} answers to {questions} questions: {}",
        answers.len(),
        said.chars().take(300).collect::<String>()
    ))
}
