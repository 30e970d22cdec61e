//! Rows of the protocol: a search, as a proof.

use std::path::Path;

use replcore_proofs::drawing::{Execution, Failure, SCHEMA};
use replcore_proofs::report::{Facts, Kind, Outcome, Row, Verdict};

use super::capture;
use crate::protocol::{self, Exhibit, Reach, Scenario, Searched};

/// Searches and says what it showed. What broke is saved under `kept`, a bug of the museum like any other.
///
/// # Errors
/// If the disk fails.
pub fn run(
    mut row: Row,
    scenario: &'static Scenario,
    exhibit: Option<&'static Exhibit>,
    reach: Reach,
    threads: usize,
    limit: Limit<'_>,
) -> Result<Row, String> {
    let reach = if exhibit.is_some() { Reach::Quick } else { reach };
    let search = || protocol::search(scenario, exhibit, reach, threads, limit.seconds);
    // The product's own functions decide in it; one that panics has failed, not this program.
    let searched = match std::panic::catch_unwind(search) {
        Ok(searched) => searched,
        Err(_) => {
            row.verdict = Verdict::Failed;
            row.found = Some("the code panicked; its message stands above".to_owned());
            return Ok(row);
        }
    };
    fill(&mut row, &searched);
    if let Some(broken) = searched.broken {
        let facts = Facts::gather("")?;
        let tools = facts.tools.iter().map(|tool| format!("{} {}", tool.name, tool.version));
        let failure = Failure {
            schema: SCHEMA,
            proof: scenario.name.to_owned(),
            about: scenario.about.to_owned(),
            invariants: row.invariants.clone(),
            mutation: exhibit.map(|exhibit| exhibit.name.to_owned()),
            mutation_about: exhibit.map(|exhibit| exhibit.about.to_owned()),
            build: facts.build,
            tools: std::iter::once(facts.rustc).chain(tools).collect(),
            execution: Execution::Protocol {
                reach: if reach == Reach::Full { "full" } else { "quick" }.to_owned(),
                path: searched.path,
                broken: broken.to_owned(),
                trace: searched.trace,
            },
        };
        capture::save(limit.kept, &failure, &mut row)?;
    }
    Ok(row)
}

/// How long a search may take, and where it may leave what it found.
#[derive(Clone, Copy, Debug)]
pub struct Limit<'a> {
    /// Seconds; none is for ever.
    pub seconds: Option<u64>,
    /// The target directory of this build.
    pub kept: &'a Path,
}

fn fill(row: &mut Row, searched: &Searched) {
    row.explored = searched.states as u64;
    row.seconds = searched.seconds;
    row.outcomes = searched
        .outcomes
        .iter()
        .map(|(name, seen)| Outcome { name: name.to_string(), count: u64::from(*seen) })
        .collect();
    row.found = searched.broken.map(str::to_owned);
    row.report.clone_from(&searched.trace);
    row.verdict = match (row.kind, searched.broken) {
        (Kind::Museum, Some(_)) => Verdict::Caught,
        (Kind::Museum, None) => Verdict::Missed,
        (_, Some(_)) => Verdict::Failed,
        (_, None) if !searched.complete => Verdict::Unfinished,
        (_, None) if searched.outcomes.iter().any(|(_, seen)| !seen) => Verdict::Vacuous,
        (_, None) => Verdict::Bounded,
    };
    if row.kind == Kind::Museum
        && let Some(broken) = searched.broken
    {
        // The bug is the mutation, the property that notices the proof.
        row.invariants = protocol::properties_of(broken).iter().map(ToString::to_string).collect();
    }
}
