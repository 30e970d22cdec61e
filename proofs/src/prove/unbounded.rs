//! The proof without bounds, as rows of a report.

use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use replcore_proofs::report::{Outcome, Row, Verdict};
use replcore_proofs::unbounded::run::{Found, Part, Until};

/// Runs a part; nothing if it was stopped.
///
/// # Errors
/// If a solver is not there, or complains: that says nothing about the buffer.
pub fn run(
    part: Part,
    mut row: Row,
    threads: usize,
    seconds: Option<u64>,
    stop: &AtomicBool,
) -> Result<Option<Row>, String> {
    let start = Instant::now();
    let deadline = seconds.and_then(|seconds| start.checked_add(Duration::from_secs(seconds)));
    row.bound = part.bound()?;
    let found = part.run(threads, Until { deadline, stop })?;
    if stop.load(std::sync::atomic::Ordering::Relaxed) {
        return Ok(None);
    }
    row.seconds = start.elapsed().as_secs_f64();
    row.explored = found.explored;
    row.verdict = verdict(part, &found);
    row.outcomes =
        found.seen.iter().map(|(name, count)| Outcome { name: name.clone(), count: *count }).collect();
    if let Some(first) = found.wrong.first() {
        row.found = Some(first.clone());
        row.report = found.wrong.join("\n");
    }
    Ok(Some(row))
}

fn verdict(part: Part, found: &Found) -> Verdict {
    let is_right = found.wrong.is_empty();
    match part {
        Part::Guards | Part::Clauses if !is_right => Verdict::Missed,
        _ if !is_right => Verdict::Failed,
        _ if !found.is_complete => Verdict::Unfinished,
        Part::Walks => Verdict::Sampled,
        Part::Guards | Part::Clauses => Verdict::Caught,
        Part::Proof(_) => Verdict::Proven,
    }
}
