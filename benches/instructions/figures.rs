//! The committed figures: a file that people read in a diff, written by `--update` alone.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write as _};
use std::io;
use std::process::Command;

use thiserror::Error;

use crate::callgrind::{self, CallgrindError};

pub const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/instructions/figures.toml");
const HEAD: &str = "\
# Instructions per operation, by callgrind. What each name means: benches/instructions/operations.rs.
# Written by: cargo bench --bench instructions --no-default-features -- --update
";
const SECTION: &str = "[instructions]";

#[derive(Debug, Error)]
pub enum FiguresError {
    #[error("{PATH} cannot be read: {0}")]
    Unreadable(#[source] io::Error),
    #[error("{PATH} cannot be written: {0}")]
    Unwritable(#[source] io::Error),
    #[error("{PATH}, line {line}: not `name = number` or `name = \"text\"`, where that belongs: {text}")]
    Malformed { line: usize, text: String },
    #[error("{PATH} does not say its {0}")]
    Missing(&'static str),
    #[error("the figures are those of {committed}, this machine is {here}: they cannot be compared")]
    OtherArchitecture { committed: String, here: String },
    #[error("rustc does not say its version: {0}")]
    NoRustc(#[source] io::Error),
    #[error(transparent)]
    Valgrind(#[from] CallgrindError),
}

/// Instructions of each operation, and with what they were counted.
#[derive(Debug)]
pub struct Figures {
    architecture: String,
    rustc: String,
    valgrind: String,
    pub counts: BTreeMap<String, f64>,
}

impl Figures {
    /// None yet, of the tools found here.
    pub fn of_this_machine() -> Result<Self, FiguresError> {
        let rustc = Command::new("rustc").arg("--version").output().map_err(FiguresError::NoRustc)?;
        Ok(Self {
            architecture: std::env::consts::ARCH.to_owned(),
            rustc: String::from_utf8_lossy(&rustc.stdout).trim().to_owned(),
            valgrind: callgrind::version()?,
            counts: BTreeMap::new(),
        })
    }

    pub fn read() -> Result<Self, FiguresError> {
        Self::parse(&std::fs::read_to_string(PATH).map_err(FiguresError::Unreadable)?)
    }

    fn parse(text: &str) -> Result<Self, FiguresError> {
        let mut tools = BTreeMap::new();
        let mut counts = BTreeMap::new();
        let mut within = false;
        for (index, line) in text.lines().enumerate() {
            let malformed = || FiguresError::Malformed { line: index + 1, text: line.to_owned() };
            if line == SECTION {
                within = true;
            } else if !line.is_empty() && !line.starts_with('#') {
                let (name, value) = line.split_once(" = ").ok_or_else(malformed)?;
                if within {
                    let count = value.parse().ok().filter(|count: &f64| count.is_finite() && *count > 0.0);
                    counts.insert(name.to_owned(), count.ok_or_else(malformed)?);
                } else {
                    let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
                    tools.insert(name, value.ok_or_else(malformed)?.to_owned());
                }
            }
        }
        let mut tool = |name| tools.remove(name).ok_or(FiguresError::Missing(name));
        Ok(Self {
            architecture: tool("architecture")?,
            rustc: tool("rustc")?,
            valgrind: tool("valgrind")?,
            counts,
        })
    }

    pub fn write(&self) -> Result<(), FiguresError> {
        let mut text = format!(
            "{HEAD}\narchitecture = \"{}\"\nrustc = \"{}\"\nvalgrind = \"{}\"\n\n{SECTION}\n",
            self.architecture, self.rustc, self.valgrind
        );
        for (name, count) in &self.counts {
            let _ = writeln!(text, "{name} = {count:.2}");
        }
        std::fs::write(PATH, text).map_err(FiguresError::Unwritable)
    }

    pub fn check_architecture(&self, here: &Self) -> Result<(), FiguresError> {
        if self.architecture == here.architecture {
            return Ok(());
        }
        let (committed, here) = (self.architecture.clone(), here.architecture.clone());
        Err(FiguresError::OtherArchitecture { committed, here })
    }

    /// The tools that are not those of the committed figures.
    pub fn other_tools<'a>(&'a self, here: &'a Self) -> impl Iterator<Item = String> + 'a {
        [(&self.rustc, &here.rustc), (&self.valgrind, &here.valgrind)]
            .into_iter()
            .filter(|(committed, here)| committed != here)
            .map(|(committed, here)| format!("the committed figures are of {committed}, here is {here}"))
    }

    /// Every operation that either knows.
    pub fn compare(&self, measured: &Self, tolerance: f64) -> Vec<Row> {
        let names: BTreeSet<&String> = self.counts.keys().chain(measured.counts.keys()).collect();
        let row = |name: &String| {
            let (committed, now) = (self.counts.get(name).copied(), measured.counts.get(name).copied());
            let verdict = match (committed, now) {
                (Some(committed), Some(now)) if now > committed * (1.0 + tolerance) => Verdict::More,
                (Some(committed), Some(now)) if now < committed * (1.0 - tolerance) => Verdict::Less,
                (Some(_), Some(_)) => Verdict::Within,
                (None, _) => Verdict::NotCommitted,
                (_, None) => Verdict::NotMeasured,
            };
            Row { name: name.clone(), committed, now, verdict }
        };
        names.into_iter().map(row).collect()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Within,
    More,
    Less,
    NotCommitted,
    NotMeasured,
}

/// A line of the table.
#[derive(Debug)]
pub struct Row {
    name: String,
    committed: Option<f64>,
    now: Option<f64>,
    pub verdict: Verdict,
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = |number: Option<f64>| number.map_or("-".to_owned(), |number| format!("{number:.2}"));
        let change = self.committed.zip(self.now).map(|(committed, now)| (now / committed - 1.0) * 100.0);
        let change = change.map_or("-".to_owned(), |change| format!("{change:+.2} %"));
        let said = match self.verdict {
            Verdict::Within => "",
            Verdict::More => "  <- more than committed",
            Verdict::Less => "  <- less than committed: renew the figures",
            Verdict::NotCommitted => "  <- not in the file",
            Verdict::NotMeasured => "  <- no such operation any more",
        };
        write!(
            f,
            "  {:<26}{:>12}{:>12}{change:>10}{said}",
            self.name,
            number(self.committed),
            number(self.now)
        )
    }
}
