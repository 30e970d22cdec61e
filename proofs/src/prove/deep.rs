//! Explorations without end: each has its turn, keeps where it stands, and goes on there the next time.
//!
//! What is kept belongs to a build. Another build begins anew: its executions are others.

use std::path::Path;

use replcore_proofs::options::Purpose;
use replcore_proofs::report::{Row, Verdict, facts};
use serde::{Deserialize, Serialize};

use super::explorer::Explorer;
use super::job::{Exploration, Job};
use super::keep;
use super::runner::Turn;

/// Seconds of a turn. Long enough that taking up where it stood costs nothing.
const TURN_SECONDS: u64 = 120;

/// What is kept beside the path: whose it is, how long it took, and the row when it is over.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Kept {
    build: String,
    seconds: f64,
    over: Option<Row>,
}

/// A turn of an exploration; none if it was stopped. `seconds` is for all its turns together.
///
/// # Errors
/// If it cannot be run.
pub fn turn(
    explorer: &Explorer<'_>,
    exploration: Exploration,
    mut job: Job,
    seconds: Option<u64>,
) -> Result<Option<Turn>, String> {
    let directory = explorer.directory("deep", &job.row.name)?;
    let file = directory.join("kept.json");
    let build = facts::build_of_this_program()?;
    let mut kept = read(&file).unwrap_or_default();
    if kept.build != build {
        std::fs::remove_dir_all(&directory).map_err(|error| format!("{}: {error}", directory.display()))?;
        explorer.directory("deep", &job.row.name)?;
        kept = Kept { build, ..Kept::default() };
        // Now: the program may be stopped before the turn is over.
        keep::write(&file, &kept)?;
    }
    if let Some(row) = kept.over {
        return Ok(Some(Turn::Over(Box::new(row))));
    }
    let left = seconds.map_or(TURN_SECONDS, |seconds| seconds.saturating_sub(kept_seconds(&job)));
    let explanation =
        explorer.explore(&exploration, &directory, Purpose::Resume, Some(left.min(TURN_SECONDS)))?;
    if explanation.ended.stopped {
        return Ok(None);
    }
    // The turns of this run count for the limit, those of all for the row.
    let of_this_run = job.row.seconds + explanation.seconds;
    kept.seconds += explanation.seconds;
    explorer.fill(&exploration, &mut job.row, &explanation);
    job.row.seconds = of_this_run;
    let goes_on = job.row.verdict == Verdict::Unfinished && explanation.explored.is_some();
    let in_time = seconds.is_none_or(|seconds| kept_seconds(&job) < seconds);
    if goes_on && in_time {
        keep::write(&file, &kept)?;
        return Ok(Some(Turn::Again(Box::new(job))));
    }
    job.row.seconds = kept.seconds;
    if explanation.explored.is_none() && !explanation.ended.overran {
        // What broke is found from the last state, as in any run.
        super::capture::capture(explorer, &exploration, &mut job.row, &directory)?;
    } else if !goes_on {
        kept.over = Some(job.row.clone());
    }
    keep::write(&file, &kept)?;
    Ok(Some(Turn::Over(Box::new(job.row))))
}

fn kept_seconds(job: &Job) -> u64 {
    job.row.seconds as u64
}

fn read(file: &Path) -> Option<Kept> {
    serde_json::from_str(&std::fs::read_to_string(file).ok()?).ok()
}
