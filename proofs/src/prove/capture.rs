//! Finds the execution that broke a model, runs it once more with every step recorded, and saves it.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use replcore::buffer::model::{FAULTS, ORDERINGS};
use replcore_checkers::trace;
use replcore_proofs::drawing::naming::{self, Raw, Thing, Value};
use replcore_proofs::drawing::{Execution, Failure, Recorded, SCHEMA};
use replcore_proofs::options::Purpose;
use replcore_proofs::report::{Facts, Row};

use super::explorer::{Explorer, file_name};
use super::job::Exploration;
use super::keep::{self, PATH};
use super::output;

/// What is recorded of an execution as it breaks.
const RECORDED: &str = "recorded.json";

/// Stands before the number of executions in which a worker broke.
const BROKE_IN: &str = "broke in execution ";

/// Seconds for finding it: no more than the executions between two looks at the clock take.
const FIND_SECONDS: u64 = 300;

/// Finds what broke, draws it into the row, and saves it. `directory` holds what the exploration kept.
///
/// # Errors
/// If a process cannot be run, or the disk fails.
pub fn capture(
    explorer: &Explorer<'_>,
    exploration: &Exploration,
    row: &mut Row,
    directory: &Path,
) -> Result<(), String> {
    let found = explorer.explore(exploration, directory, Purpose::Find, Some(FIND_SECONDS))?;
    if found.ended.stopped {
        return Ok(());
    }
    let path = directory.join(PATH);
    if found.explored.is_some() || !path.exists() {
        row.report += "\nIt did not break when it was run again.\n";
        return Ok(());
    }
    let saved = read_json(&path)?;
    let recorded = match record(explorer, exploration, directory) {
        Ok(alone) => alone.broke(),
        // What broke may take the process down with it (a heap that is damaged, say): a failure all the same.
        Err(error) => {
            row.report += &format!("\nIt cannot be drawn: {error}\n");
            return Ok(());
        }
    };
    let Some(recorded) = recorded else {
        row.report += "\nThe execution did not break when it was run alone.\n";
        return Ok(());
    };
    let stall = keep::Keep::new(directory.to_path_buf(), Purpose::Draw).point();
    let facts = Facts::gather("")?;
    let tools = facts.tools.iter().map(|tool| format!("{} {}", tool.name, tool.version));
    let failure = Failure {
        schema: SCHEMA,
        proof: exploration.model.name.to_owned(),
        about: exploration.model.about.to_owned(),
        invariants: row.invariants.clone(),
        mutation: exploration.mutation.clone(),
        mutation_about: exploration.mutation.as_deref().and_then(about),
        build: facts.build,
        tools: std::iter::once(facts.rustc).chain(tools).collect(),
        execution: Execution::Model {
            bound: exploration.bound.to_string(),
            stall: stall.filter(|_| exploration.stall || exploration.model.stalls),
            path: saved,
            recorded,
        },
    };
    save(&explorer.kept, &failure, row)
}

/// What a mutation takes away, from the tables of the product.
fn about(mutation: &str) -> Option<String> {
    let row = mutation.split('=').next();
    let ordering = ORDERINGS.iter().find(|known| Some(known.name) == row);
    let ordering = ordering.map(|known| format!("It is {:?}. {}", known.ordering, known.reason.trim()));
    let fault =
        FAULTS.iter().find(|(_, name, _)| *name == mutation).map(|(_, _, about)| about.trim().to_owned());
    ordering.or(fault)
}

/// Writes a failure where the report says that it is.
///
/// # Errors
/// If the disk fails.
pub fn save(kept: &Path, failure: &Failure, row: &mut Row) -> Result<(), String> {
    let directory = kept.join("failures");
    std::fs::create_dir_all(&directory).map_err(|error| format!("{}: {error}", directory.display()))?;
    let file = directory.join(file_name(&row.name)).with_extension("json");
    keep::write(&file, failure)?;
    row.drawing = Some(failure.draw(output::width(), false));
    row.failure_file = Some(shortened(&file).display().to_string());
    Ok(())
}

/// A file as seen from where the program was started, if it is below.
fn shortened(file: &Path) -> PathBuf {
    let here = std::env::current_dir().ok();
    let below = here.and_then(|here| file.strip_prefix(here).ok().map(Path::to_path_buf));
    below.unwrap_or_else(|| file.to_path_buf())
}

/// How an execution went that was run alone.
#[derive(Debug)]
pub enum Alone {
    /// It broke.
    Broke(Recorded),
    /// It did not.
    Held,
    /// This program takes another path.
    Another,
}

impl Alone {
    fn broke(self) -> Option<Recorded> {
        match self {
            Self::Broke(recorded) => Some(recorded),
            Self::Held | Self::Another => None,
        }
    }
}

/// Runs the execution that `directory` holds the path of, recorded.
///
/// # Errors
/// If its process cannot be run.
pub fn record(explorer: &Explorer<'_>, exploration: &Exploration, directory: &Path) -> Result<Alone, String> {
    let drawn = explorer.explore(exploration, directory, Purpose::Draw, Some(FIND_SECONDS))?;
    if drawn.explored.is_some() {
        return Ok(Alone::Held);
    }
    let file = directory.join(RECORDED);
    if !file.exists() {
        return Err(format!("the process that was to draw it ended early:\n{}", drawn.ended.err.trim_end()));
    }
    let recorded: Recorded =
        serde_json::from_value(read_json(&file)?).map_err(|error| format!("{}: {error}", file.display()))?;
    let another = ["unexpected exploration state", "loom internal bug"];
    if another.iter().any(|part| recorded.message.contains(part)) {
        return Ok(Alone::Another);
    }
    Ok(Alone::Broke(recorded))
}

fn read_json(file: &Path) -> Result<serde_json::Value, String> {
    let text = std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    serde_json::from_str(&text).map_err(|error| format!("{}: {error}", file.display()))
}

/// In the process that runs one execution: writes the steps down when it breaks.
pub fn write_when_it_breaks(directory: &Path) {
    let file = directory.join(RECORDED);
    let before = std::panic::take_hook();
    let broken = AtomicBool::new(false);
    std::panic::set_hook(Box::new(move |panic| {
        // What panics later does so because of the first.
        if !broken.swap(true, Ordering::Relaxed) {
            let place = panic.location();
            // Where loom itself panics, it cannot be asked.
            let is_looms = place.is_some_and(|place| place.file().contains("/loom-"));
            let raw: Vec<_> = trace::steps().into_iter().map(raw).collect();
            let thread = if is_looms { raw.last().map(|raw| raw.thread) } else { Some(trace::this_thread()) };
            let message = panic.payload_as_str().unwrap_or_default().to_owned();
            let place = place.map(|place| format!("{}:{}", file_of(place.file()), place.line()));
            let threads =
                trace::threads().into_iter().map(|(thread, name)| (thread, name.to_owned())).collect();
            let recorded = Recorded { message, place, thread, threads, steps: naming::name(&raw) };
            if let Err(error) = keep::write(&file, &recorded) {
                eprintln!("prove: {error}");
            }
        }
        before(panic);
    }));
}

/// In a worker: says in how many executions it broke.
pub fn count_when_it_breaks() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        println!("{BROKE_IN}{}", keep::executions());
        before(panic);
    }));
}

/// In how many executions a worker broke, from what it printed.
pub fn broke_in(out: &str) -> u64 {
    let said = out.lines().find_map(|line| line.strip_prefix(BROKE_IN));
    said.and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// The last part of a path; of what is called as many others are, the last two.
fn file_of(path: &str) -> &str {
    let parts = if path.ends_with("/mod.rs") { 2 } else { 1 };
    let slashes = path.rmatch_indices('/').map(|(at, _)| at + 1);
    slashes.take(parts).last().map_or(path, |at| &path[at..])
}

fn raw(step: trace::Step) -> Raw {
    use trace::Action;
    let thing = |thing: trace::Thing| {
        let made_in = file_of(thing.made.file()).trim_end_matches(".rs").to_owned();
        Some(Thing { address: thing.address, birth: thing.birth, made_in })
    };
    let (verb, thing, arguments, result) = match step.action {
        Action::Atomic { method, word, arguments, result } => {
            (method, thing(word), arguments.into_iter().map(value).collect(), value(result))
        }
        Action::Fence { order } => ("fence", None, vec![Value::Order(format!("{order:?}"))], Value::Nothing),
        Action::Cell { cell, write: false } => ("read", thing(cell), Vec::new(), Value::Nothing),
        Action::Cell { cell, write: true } => ("write", thing(cell), Vec::new(), Value::Nothing),
        Action::Use { part } => ("use", thing(part), Vec::new(), Value::Nothing),
        Action::Free { part } => ("free", thing(part), Vec::new(), Value::Nothing),
        Action::Pin => ("pin", None, Vec::new(), Value::Nothing),
        Action::Unpin => ("unpin", None, Vec::new(), Value::Nothing),
        Action::Defer { waits_for } => {
            ("retire", None, vec![Value::Number(waits_for as u64)], Value::Nothing)
        }
        Action::RunDeferred => ("run retired", None, Vec::new(), Value::Nothing),
    };
    let place = step.place.filter(|place| !place.file().contains("/checkers/src/"));
    let place = place.filter(|place| !place.file().contains("/library/"));
    Raw {
        thread: step.thread,
        names: step.names.iter().map(ToString::to_string).collect(),
        place: place.map(|place| format!("{}:{}", file_of(place.file()), place.line())),
        verb: verb.to_owned(),
        thing,
        arguments,
        result,
    }
}

fn value(value_: trace::Value) -> Value {
    match value_ {
        trace::Value::Number(number) => Value::Number(number),
        trace::Value::Flag(flag) => Value::Flag(flag),
        trace::Value::Pointer { address, type_name, size } => {
            Value::Pointer { address, type_name: type_name.to_owned(), size }
        }
        trace::Value::Order(order) => Value::Order(format!("{order:?}")),
        trace::Value::Done(found) => Value::Done(Box::new(value(*found))),
        trace::Value::Refused(found) => Value::Refused(Box::new(value(*found))),
        trace::Value::Nothing => Value::Nothing,
    }
}
