//! Where an exploration stands, on disk: to find the execution that broke, to run it again, to go on
//! tomorrow.
//!
//! loom writes the path of an execution to a file before it runs it, every so many executions. From the last
//! such file the execution that broke an invariant is found by running those after it once more, each written
//! down before it runs; what the file holds when one breaks is that one. A third process runs it alone, with
//! every step recorded.
//!
//! An exploration without end keeps its file, and the counts of what it saw, between runs of the program.
//! Both go into one file, written beside and renamed, so that it is whole whenever the program is stopped.

use std::cell::Cell;
use std::path::PathBuf;
use std::rc::Rc;

use replcore_proofs::options::Purpose;
use serde::{Deserialize, Serialize};

use crate::model::Seen;

/// A member of the crew, the step at which it stops, and what the others do then.
pub type Point = (usize, usize, usize);

/// Where an exploration stands, if anybody wants to know.
#[derive(Clone, Debug, Default)]
pub struct Keep(Option<Kept>);

#[derive(Clone, Debug)]
struct Kept {
    directory: PathBuf,
    purpose: Purpose,
    /// Whether what is on disk has been taken up.
    begun: Rc<Cell<bool>>,
}

/// What an exploration without end keeps.
#[derive(Debug, Serialize, Deserialize)]
struct State {
    executions: u64,
    outcomes: Vec<(String, u64)>,
    point: Option<Point>,
    path: serde_json::Value,
}

/// Counts executions, and keeps when it is time.
#[derive(Debug)]
pub struct Mark {
    keep: Option<(PathBuf, Purpose)>,
    point: Option<Point>,
    interval: u64,
    executions: std::sync::atomic::AtomicU64,
}

/// Executions that this process has begun.
static EXECUTIONS: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);

/// Executions that this process has begun.
pub fn executions() -> u64 {
    EXECUTIONS.load(std::sync::atomic::Ordering::Relaxed)
}

/// The path of an execution, in loom's own form.
pub const PATH: &str = "path.json";
const POINT: &str = "point.json";
const STATE: &str = "state.json";

impl Keep {
    /// Keeps in a directory, which is there.
    pub fn new(directory: PathBuf, purpose: Purpose) -> Self {
        Self(Some(Kept { directory, purpose, begun: Rc::default() }))
    }

    /// The point at which an enumeration of stall points goes on, if it does not begin at the first.
    pub fn point(&self) -> Option<Point> {
        let kept = self.0.as_ref()?;
        match kept.purpose {
            Purpose::Explore => None,
            Purpose::Find | Purpose::Draw => {
                let text = std::fs::read_to_string(kept.directory.join(POINT)).ok()?;
                serde_json::from_str(&text).ok()?
            }
            Purpose::Resume => kept.state()?.point,
        }
    }

    /// Says at which point the execution is that is to be run.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn set_point(&self, point: Option<Point>) -> Result<(), String> {
        match &self.0 {
            Some(kept) => write(&kept.directory.join(POINT), &point),
            None => Ok(()),
        }
    }

    /// Sets an exploration up: of one stall point, or of a model without. To be called before each `check`.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn begin(
        &self,
        loom: &mut loom::model::Builder,
        point: Option<Point>,
        seen: &Seen,
    ) -> Result<Mark, String> {
        let interval = loom.checkpoint_interval as u64;
        let Some(kept) = &self.0 else {
            return Ok(Mark { keep: None, point, interval, executions: 0.into() });
        };
        let path = kept.directory.join(PATH);
        let first = !kept.begun.replace(true);
        if !(first && kept.take_up(seen)?) {
            remove(&path)?;
        }
        loom.checkpoint_file = Some(path.clone());
        match kept.purpose {
            Purpose::Explore | Purpose::Resume => write(&kept.directory.join(POINT), &point)?,
            Purpose::Find => {
                write(&kept.directory.join(POINT), &point)?;
                loom.checkpoint_interval = 1;
            }
            Purpose::Draw => {
                // loom writes the next path over the one it was given.
                let copy = kept.directory.join("drawn.json");
                std::fs::copy(&path, &copy).map_err(|error| format!("{}: {error}", path.display()))?;
                loom.checkpoint_file = Some(copy);
                loom.checkpoint_interval = 1;
                // It stops before the second.
                loom.max_permutations = Some(2);
                loom.max_duration = None;
                loom.location = true;
            }
        }
        let keep = Some((kept.directory.clone(), kept.purpose));
        Ok(Mark { keep, point, interval, executions: 0.into() })
    }

    /// An exploration has ended without breaking anything; `complete` if it came to its end.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn end(&self, mark_point: Option<Point>, complete: bool, seen: &Seen) -> Result<(), String> {
        match &self.0 {
            Some(kept) if kept.purpose == Purpose::Resume && !complete => {
                save(&kept.directory, mark_point, seen.executions(), seen.outcomes())
            }
            _ => Ok(()),
        }
    }
}

impl Kept {
    /// Takes up what is on disk; false if there is nothing.
    fn take_up(&self, seen: &Seen) -> Result<bool, String> {
        let path = self.directory.join(PATH);
        match self.purpose {
            Purpose::Explore => Ok(false),
            Purpose::Find | Purpose::Draw => Ok(path.exists()),
            Purpose::Resume => match self.state() {
                None => Ok(false),
                Some(state) => {
                    seen.restore(state.executions, &state.outcomes);
                    write(&path, &state.path).map(|()| true)
                }
            },
        }
    }

    fn state(&self) -> Option<State> {
        let text = std::fs::read_to_string(self.directory.join(STATE)).ok()?;
        serde_json::from_str(&text).ok()
    }
}

impl Mark {
    /// An execution begins. To be called before it is counted.
    pub fn execution(&self, seen: &Seen) {
        use std::sync::atomic::Ordering::Relaxed;
        let number = self.executions.fetch_add(1, Relaxed) + 1;
        EXECUTIONS.fetch_add(1, Relaxed);
        match &self.keep {
            Some((_, Purpose::Draw)) => replcore_checkers::trace::record(),
            // loom has just written the path of this one.
            Some((directory, Purpose::Resume)) if number.is_multiple_of(self.interval) => {
                let saved = save(directory, self.point, seen.executions(), seen.outcomes());
                if let Err(error) = saved {
                    eprintln!("prove: {error}");
                    std::process::exit(2);
                }
            }
            _ => {}
        }
    }
}

fn save(
    directory: &std::path::Path,
    point: Option<Point>,
    executions: u64,
    outcomes: Vec<(String, u64)>,
) -> Result<(), String> {
    let path = directory.join(PATH);
    let text = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let path = serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?;
    write(&directory.join(STATE), &State { executions, outcomes, point, path })
}

/// Writes a file whole or not at all.
pub fn write(file: &std::path::Path, value: &impl Serialize) -> Result<(), String> {
    let text = serde_json::to_string(value).map_err(|error| error.to_string())?;
    let beside = file.with_extension("new");
    let written = std::fs::write(&beside, text).and_then(|()| std::fs::rename(&beside, file));
    written.map_err(|error| format!("{}: {error}", file.display()))
}

fn remove(file: &std::path::Path) -> Result<(), String> {
    match std::fs::remove_file(file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(format!("{}: {error}", file.display()))
        }
        _ => Ok(()),
    }
}
