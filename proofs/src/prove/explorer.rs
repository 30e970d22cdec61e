//! Explores models, each in a process of its own: a model that breaks may take its process down.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use replcore_proofs::drawing::words;
use replcore_proofs::report::{self, Kind, Outcome, Row, Verdict};

use super::capture;
use super::job::Exploration;
use super::process::{self, Ended};
use crate::explore::Explored;
use crate::model::Bound;
use replcore_proofs::options::{Common, Purpose};

/// What a worker may take beyond its seconds, for the executions it is in.
const GRACE: Duration = Duration::from_secs(20);

/// Explores models.
#[derive(Debug)]
pub struct Explorer<'a> {
    program: PathBuf,
    /// Where everything is kept that a run leaves: the target directory of this build.
    pub kept: PathBuf,
    common: &'a Common,
    stop: &'a AtomicBool,
}

/// How an exploration ended.
#[derive(Debug)]
pub struct Explanation {
    /// What it saw; none if something broke.
    pub explored: Option<Explored>,
    /// How the process ended.
    pub ended: Ended,
    /// Seconds it took.
    pub seconds: f64,
}

impl<'a> Explorer<'a> {
    /// Runs this program as its workers.
    ///
    /// # Errors
    /// If it cannot tell where it is.
    pub fn new(common: &'a Common, stop: &'a AtomicBool) -> Result<Self, String> {
        let program = std::env::current_exe().map_err(|error| format!("this program: {error}"))?;
        // The program is `TARGET/release/prove`.
        let kept = program.ancestors().nth(2).unwrap_or(Path::new(".")).to_path_buf();
        Ok(Self { program, kept, common, stop })
    }

    /// Runs an exploration, and fills its row; none if it was stopped.
    ///
    /// # Errors
    /// If it cannot be run.
    pub fn row(&self, exploration: &Exploration, mut row: Row) -> Result<Option<Row>, String> {
        // A model's exploration and its stall points have one name and may run at the same time.
        let directory = self.directory("work", &format!("{} {}", row.kind.word(), row.name))?;
        let seconds = self.common.seconds();
        let explanation = self.explore(exploration, &directory, Purpose::Explore, seconds)?;
        if explanation.ended.stopped {
            return Ok(None);
        }
        self.fill(exploration, &mut row, &explanation);
        if explanation.explored.is_none() && !exploration.expects_failure && !explanation.ended.overran {
            capture::capture(self, exploration, &mut row, &directory)?;
        }
        let removed = std::fs::remove_dir_all(&directory);
        removed.map_err(|error| format!("{}: {error}", directory.display()))?;
        Ok(Some(row))
    }

    /// Runs candidates until one catches the mutation.
    ///
    /// # Errors
    /// If one cannot be run.
    pub fn catch(
        &self,
        candidates: &[Exploration],
        excuse: Option<&str>,
        mut row: Row,
    ) -> Result<Option<Row>, String> {
        row.verdict = Verdict::Missed;
        row.found = Some("no model names it as its own to catch".to_owned());
        for candidate in candidates {
            let blank = Row::new(Kind::Mutation, &row.name);
            let Some(tried) = self.row(candidate, blank)? else { return Ok(None) };
            row.explored += tried.explored;
            row.seconds += tried.seconds;
            row.verdict = tried.verdict;
            row.found = tried.found;
            row.report = tried.report;
            row.catcher = (tried.verdict == Verdict::Caught).then(|| candidate.model.name.to_owned());
            if row.catcher.is_some() {
                row.invariants = candidate.model.invariants.split_whitespace().map(str::to_owned).collect();
                return Ok(Some(row));
            }
            row.found = Some(format!("{} does not notice", candidate.model.name));
        }
        if let Some(excuse) = excuse {
            row.verdict = Verdict::Excused;
            row.found = Some(excuse.to_owned());
        }
        Ok(Some(row))
    }

    /// Runs a worker.
    ///
    /// # Errors
    /// If it cannot be run, or was asked for what is not there.
    pub fn explore(
        &self,
        exploration: &Exploration,
        directory: &Path,
        purpose: Purpose,
        seconds: Option<u64>,
    ) -> Result<Explanation, String> {
        let mut command = Command::new(&self.program);
        command.args(["--worker", exploration.model.name, "--bound", &exploration.bound.to_string()]);
        if let Some(seconds) = seconds {
            command.args(["--max-seconds", &seconds.to_string()]);
        } else {
            command.args(["--tier", "deep"]);
        }
        if let Some(mutation) = &exploration.mutation {
            command.args(["--mutate", mutation]);
        }
        if exploration.stall {
            command.arg("--stall");
        }
        command.arg("--keep").arg(directory).args(["--purpose", purpose.word()]);
        command.env("RUST_BACKTRACE", "0");
        for name in std::env::vars_os().map(|(name, _)| name) {
            // loom's own settings would change what is explored.
            if name.to_string_lossy().starts_with("LOOM_") {
                command.env_remove(name);
            }
        }
        let start = Instant::now();
        let limit = seconds.map(|seconds| Duration::from_secs(seconds) + GRACE);
        let ended = process::run(command, limit, self.stop)?;
        if ended.status.code() == Some(2) && !ended.stopped {
            return Err(ended.err.trim().to_owned());
        }
        let explored = ended.out.lines().last().and_then(|line| serde_json::from_str::<Explored>(line).ok());
        let explored = explored.filter(|_| ended.status.success());
        Ok(Explanation { explored, ended, seconds: start.elapsed().as_secs_f64() })
    }

    /// Fills a row with what an exploration showed.
    pub fn fill(&self, exploration: &Exploration, row: &mut Row, explanation: &Explanation) {
        row.seconds += explanation.seconds;
        let judged = explanation.explored.as_ref().map(|explored| report::Explored {
            complete: explored.complete,
            vacuous: explored.outcomes.iter().any(|(_, count)| *count == 0),
            bounded: exploration.bound != Bound::None,
        });
        row.verdict = report::judge(row.kind, judged, exploration.expects_failure);
        match &explanation.explored {
            Some(explored) => {
                let points = || explored.stalls.iter().map(|(_, steps)| *steps as u64).sum();
                row.explored = if exploration.stall { points() } else { explored.executions };
                let outcomes = explored.outcomes.iter();
                row.outcomes =
                    outcomes.map(|(name, count)| Outcome { name: name.clone(), count: *count }).collect();
                if exploration.stall {
                    let stalls =
                        explored.stalls.iter().map(|(name, steps)| format!("{name} at {steps} steps"));
                    row.found = Some(format!("stopped: {}", stalls.collect::<Vec<_>>().join(", ")));
                }
                let unseen: Vec<_> = row.unseen().collect();
                if row.verdict == Verdict::Caught {
                    row.found = Some(format!("never seen: {}", unseen.join(", ")));
                }
            }
            None if explanation.ended.overran => {
                row.found = Some("an execution came to no end".to_owned());
            }
            None => {
                row.explored = capture::broke_in(&explanation.ended.out);
                row.found = Some(words::what_broke(&explanation.ended.err));
                row.report.clone_from(&explanation.ended.err);
            }
        }
    }

    /// A directory under the target directory, made anew.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn directory(&self, part: &str, name: &str) -> Result<PathBuf, String> {
        let directory = self.kept.join(part).join(file_name(name));
        if part == "work" && directory.exists() {
            std::fs::remove_dir_all(&directory)
                .map_err(|error| format!("{}: {error}", directory.display()))?;
        }
        std::fs::create_dir_all(&directory).map_err(|error| format!("{}: {error}", directory.display()))?;
        Ok(directory)
    }
}

/// A name without what a file's name cannot have.
pub fn file_name(name: &str) -> String {
    name.chars().map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '-' }).collect()
}
