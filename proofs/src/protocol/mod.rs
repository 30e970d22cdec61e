//! The protocol, explored: primaries, replicas, links, clocks, clients.
//!
//! # What is explored
//!
//! Every order of what may happen to a few servers: clients write, time passes, deadlines come, active expiry
//! reclaims, commands travel (or do not, for any while: a link that stands still is a link nothing is
//! delivered on), links break between any two commands or half-way through a copy, replicas come back and are
//! continued or copied, backlogs lose their oldest command, replicas acknowledge, one is promoted, the old
//! primary goes on writing and is told later. Clocks differ by as much as the scenario says. Each of these
//! may happen as often as the scenario's [`Budget`](system::Budget) has it; within that the search is
//! breadth-first and whole, so what it finds is found with the fewest steps.
//!
//! # What is the product's
//!
//! [`decide`](replcore::resync::decide), [`History::shifted`](replcore::resync::History::shifted) and
//! [`AckTable`](replcore::resync::AckTable) decide here; what a command does to fields is
//! [`hash_ttl::commands`](replcore::hash_ttl::commands), what is propagated is
//! [`rewrite`](replcore::rewrite), and what is in a frame, `SELECT` and `MULTI` included, is
//! [`rewrite::frame`](replcore::rewrite::frame). The model's own are the servers around them: maps of keys, a
//! log of commands, the replica's side of a resync.
//!
//! # Properties
//!
//! * A replica that has a link has a prefix of its primary's stream, and stores what the primary stored
//!   there, dead fields included: converged when it has come to the end, and one step behind at every other
//!   moment.
//! * A partial resync is granted only to who has a prefix of the stream and finds the next command, and
//!   always to who has one and asks by an ID that the primary knows.
//! * What a primary was told that a replica has is not lost by promoting that replica.
//!
//! Each scenario lists outcomes that must occur somewhere; without them it is vacuous.
//!
//! # Museum
//!
//! [`museum`] has the bugs, a switch each. With the switch on, the search has to find a state in which a
//! property is broken.

mod data;
mod museum;
mod node;
mod scenarios;
mod stream;
mod system;

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use stateright::{Checker, Expectation, HasDiscoveries, Model};

use museum::EXHIBITS;
pub use museum::Exhibit;
use scenarios::SCENARIOS;
pub use system::Scenario;
use system::{Action, State, System, written};

/// How far to search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Seconds a scenario.
    Quick,
    /// Minutes to an hour.
    Full,
}

/// The properties, in a word each, as the module describes them.
pub const PROPERTIES: [&str; 4] = ["prefix", "resync", "promises", "units"];

/// Which of them a property of the search is.
pub fn properties_of(broken: &str) -> &'static [&'static str] {
    match broken {
        "no step does what it may not" => &["resync", "promises"],
        "whoever executes has whole transactions" => &["units"],
        _ => &["prefix"],
    }
}

/// What a search showed.
#[derive(Debug)]
pub struct Searched {
    /// Different states.
    pub states: usize,
    /// Whether it came to its end.
    pub complete: bool,
    /// Seconds it took.
    pub seconds: f64,
    /// Outcomes that have to occur, and whether they did.
    pub outcomes: Vec<(&'static str, bool)>,
    /// The property that is broken.
    pub broken: Option<&'static str>,
    /// The shortest way to where it is broken.
    pub trace: String,
    /// The same, as the numbers of the steps among those that were possible.
    pub path: Vec<usize>,
}

/// How far a search goes, in words.
pub fn budget_in_words(scenario: &Scenario, reach: Reach) -> String {
    let budget = if reach == Reach::Quick { scenario.quick } else { scenario.full };
    let parts = [
        (budget.units, "units"),
        (budget.ticks, "ticks"),
        (budget.reclaims, "reclaims"),
        (budget.cuts, "cuts"),
        (budget.trims, "trims"),
        (budget.acks, "acks"),
        (budget.promotions, "promotions"),
    ];
    let parts = parts.iter().filter(|(number, _)| *number > 0);
    parts.map(|(number, what)| format!("{number} {what}")).collect::<Vec<_>>().join(", ")
}

/// The scenarios.
pub fn scenarios() -> Vec<&'static Scenario> {
    SCENARIOS.to_vec()
}

/// The exhibits.
pub fn exhibits() -> Vec<&'static Exhibit> {
    EXHIBITS.iter().collect()
}

fn system(scenario: &'static Scenario, exhibit: Option<&Exhibit>, reach: Reach) -> System {
    let budget = if reach == Reach::Quick { scenario.quick } else { scenario.full };
    System { scenario, budget, bug: exhibit.map(|exhibit| exhibit.bug) }
}

/// Searches a scenario within its budget, or until a property is broken, or for so many seconds.
pub fn search(
    scenario: &'static Scenario,
    exhibit: Option<&Exhibit>,
    reach: Reach,
    threads: usize,
    seconds: Option<u64>,
) -> Searched {
    let system = system(scenario, exhibit, reach);
    let started = Instant::now();
    let limit = seconds.map(Duration::from_secs);
    // One thread finds the shortest way; several may find one that is a little longer.
    let threads = if exhibit.is_some() { 1 } else { threads };
    let mut builder = system.clone().checker().threads(threads).finish_when(HasDiscoveries::AnyFailures);
    if let Some(limit) = limit {
        builder = builder.timeout(limit);
    }
    let checker = builder.spawn_bfs().join();
    let mut discoveries = checker.discoveries();
    let mut searched = Searched {
        states: checker.unique_state_count(),
        complete: limit.is_none_or(|limit| started.elapsed() < limit),
        seconds: started.elapsed().as_secs_f64(),
        outcomes: Vec::new(),
        broken: None,
        trace: String::new(),
        path: Vec::new(),
    };
    for property in system.properties() {
        let found = discoveries.remove(property.name);
        match property.expectation {
            Expectation::Always => {
                if let Some(path) = found.filter(|_| searched.broken.is_none()) {
                    searched.broken = Some(property.name);
                    let steps = path.into_vec();
                    searched.path = numbers(&system, &steps);
                    searched.trace = trace(&system, &steps);
                }
            }
            _ => searched.outcomes.push((property.name, found.is_some())),
        }
    }
    searched
}

/// The steps of a path, each as its number among those that were possible.
fn numbers(system: &System, steps: &[(State, Option<Action>)]) -> Vec<usize> {
    let number = |(state, action): &(State, Option<Action>)| {
        let mut possible = Vec::new();
        system.actions(state, &mut possible);
        possible.iter().position(|known| Some(known) == action.as_ref())
    };
    steps.iter().filter_map(number).collect()
}

/// Goes a way again, and says which property is broken at its end, if one is; with the way in words.
///
/// # Errors
/// If there is no such way.
pub fn follow(
    scenario: &'static Scenario,
    exhibit: Option<&Exhibit>,
    reach: Reach,
    path: &[usize],
) -> Result<(Option<&'static str>, String), String> {
    let system = system(scenario, exhibit, reach);
    let mut state = system.init_states().pop().ok_or("the scenario has no beginning")?;
    let mut steps = Vec::new();
    for (at, number) in path.iter().enumerate() {
        let mut possible = Vec::new();
        system.actions(&state, &mut possible);
        let action = possible.get(*number).ok_or_else(|| format!("step {} is not possible", at + 1))?;
        let next = system.next_state(&state, action.clone());
        let next = next.ok_or_else(|| format!("step {} changes nothing", at + 1))?;
        steps.push((std::mem::replace(&mut state, next), Some(action.clone())));
    }
    steps.push((state, None));
    let last = &steps[steps.len() - 1].0;
    let properties = system.properties().into_iter();
    let broken = properties
        .filter(|property| property.expectation == Expectation::Always)
        .find(|property| !(property.condition)(&system, last))
        .map(|property| property.name);
    Ok((broken, trace(&system, &steps)))
}

/// A way to a state, step by step, with what was written and what is stored at its end.
fn trace(system: &System, steps: &[(State, Option<Action>)]) -> String {
    let mut text = String::new();
    for (number, pair) in steps.windows(2).enumerate() {
        let [(before, Some(action)), (after, _)] = pair else { continue };
        let _ = writeln!(text, "{:>3}. {}", number + 1, system.describe(action));
        for (node, commands) in written(before, after) {
            let _ = writeln!(text, "       {} writes {commands}", system::letter(node));
        }
    }
    if let Some((last, _)) = steps.last() {
        let _ = write!(text, "{last}");
    }
    text
}

/// Serves a scenario to a browser, until the program is ended.
pub fn explore(scenario: &'static Scenario, exhibit: Option<&Exhibit>, address: &str) {
    let _ = system(scenario, exhibit, Reach::Quick).checker().serve(address);
}
