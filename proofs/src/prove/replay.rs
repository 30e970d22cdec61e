//! Runs a saved execution again, exactly, and draws it.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use replcore_proofs::drawing::{Execution, Failure};
use replcore_proofs::report::facts;

use super::capture::{self, Alone};
use super::explorer::Explorer;
use super::job::Exploration;
use super::keep::{self, PATH};
use super::output;
use crate::model::Bound;
use crate::models;
use crate::protocol::{self, Reach};
use replcore_proofs::options::{Common, Outputs, Purpose, Tier};

/// Replays a file; true if nothing breaks any more.
///
/// # Errors
/// If the file is none, or this program does not take that path.
pub fn replay(file: &Path, all_steps: bool) -> Result<bool, String> {
    let mut failure = Failure::read(file)?;
    let here = facts::build_of_this_program()?;
    if failure.build != here {
        eprintln!("prove: {} was saved by another build of this program", file.display());
    }
    let held = match &mut failure.execution {
        Execution::Model { .. } => !replay_model(file, &mut failure)?,
        Execution::Protocol { .. } => !replay_protocol(file, &mut failure)?,
    };
    if held {
        println!("{}: it does not break any more.", failure.title());
    } else {
        print!("{}", failure.draw(output::width(), all_steps));
    }
    Ok(held)
}

/// True if it breaks; what it did then is in `failure`.
fn replay_model(file: &Path, failure: &mut Failure) -> Result<bool, String> {
    let Execution::Model { bound, stall, path, recorded } = &mut failure.execution else { return Ok(false) };
    let fits_nothing = |what: &str| format!("{}: {what}", file.display());
    let model = models::all().into_iter().find(|model| model.name == failure.proof);
    let model = model.ok_or_else(|| fits_nothing(&format!("there is no model {}", failure.proof)))?;
    let bound = match bound.as_str() {
        "none" => Bound::None,
        n => Bound::Preemptions(n.parse().map_err(|_| fits_nothing("its bound is no number"))?),
    };
    let exploration = Exploration {
        model,
        bound,
        mutation: failure.mutation.clone(),
        expects_failure: false,
        stall: stall.is_some() && !model.stalls,
    };
    let outputs = Outputs { json: None, junit: None, html: None, markdown: None };
    let common = Common { tier: Tier::Quick, jobs: Some(1), max_seconds: None, fail_fast: false, outputs };
    let stop = AtomicBool::new(false);
    let explorer = Explorer::new(&common, &stop)?;
    let directory = explorer.directory("work", &format!("replay-{}", std::process::id()))?;
    keep::write(&directory.join(PATH), path)?;
    keep::Keep::new(directory.clone(), Purpose::Draw).set_point(*stall)?;
    let alone = capture::record(&explorer, &exploration, &directory);
    std::fs::remove_dir_all(&directory).map_err(|error| format!("{}: {error}", directory.display()))?;
    match alone? {
        Alone::Broke(again) => {
            *recorded = again;
            Ok(true)
        }
        Alone::Held => Ok(false),
        Alone::Another => Err(fits_nothing("this build does not take that path: the code has changed since")),
    }
}

fn replay_protocol(file: &Path, failure: &mut Failure) -> Result<bool, String> {
    let Execution::Protocol { reach, path, broken, trace } = &mut failure.execution else { return Ok(false) };
    let fits_nothing = |what: &str| format!("{}: {what}", file.display());
    let scenario = protocol::scenarios().into_iter().find(|known| known.name == failure.proof);
    let scenario =
        scenario.ok_or_else(|| fits_nothing(&format!("there is no scenario {}", failure.proof)))?;
    let exhibit = match &failure.mutation {
        None => None,
        Some(bug) => {
            let exhibit = protocol::exhibits().into_iter().find(|known| known.name == bug);
            Some(exhibit.ok_or_else(|| fits_nothing(&format!("there is no bug {bug}")))?)
        }
    };
    let reach = if reach == "full" { Reach::Full } else { Reach::Quick };
    let (property, way) =
        protocol::follow(scenario, exhibit, reach, path).map_err(|error| fits_nothing(&error))?;
    *trace = way;
    match property {
        Some(property) => {
            property.clone_into(broken);
            Ok(true)
        }
        None => Ok(false),
    }
}
