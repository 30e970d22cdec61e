//! The protocol, explored: primaries, replicas, links, clocks, clients.
//!
//! # What is explored
//!
//! Every order of what may happen to a few servers: clients write, time passes, deadlines come, active expiry reclaims, commands
//! travel (or do not, for any while: a link that stands still is a link nothing is delivered on), links break between any
//! two commands or half-way through a copy, replicas come back and are continued or copied, backlogs lose their oldest command, replicas acknowledge, one
//! is promoted, the old primary goes on writing and is told later. Clocks differ by as much as the scenario says. Each of
//! these may happen as often as the scenario's [`Budget`](system::Budget) has it; within that the search is breadth-first and
//! whole, so what it finds is found with the fewest steps.
//!
//! # What is the product's
//!
//! [`decide`](replcore::resync::decide), [`History::shifted`](replcore::resync::History::shifted) and
//! [`AckTable`](replcore::resync::AckTable) decide here; what a command does to fields is
//! [`hash_ttl::commands`](replcore::hash_ttl::commands), what is propagated is [`rewrite`](replcore::rewrite), and what is in a
//! frame, `SELECT` and `MULTI` included, is [`rewrite::frame`](replcore::rewrite::frame). The model's own are the servers
//! around them: maps of keys, a log of commands, the replica's side of a resync.
//!
//! # Properties
//!
//! * A replica that has a link has a prefix of its primary's stream, and stores what the primary stored there, dead
//!   fields included: converged when it has come to the end, and one step behind at every other moment.
//! * A partial resync is granted only to who has a prefix of the stream and finds the next command, and always to who has one
//!   and asks by an ID that the primary knows.
//! * What a primary was told that a replica has is not lost by promoting that replica.
//!
//! Each scenario lists outcomes that must occur somewhere; without them it is vacuous.
//!
//! # Museum
//!
//! [`museum`] has the bugs, a switch each. With the switch on, the search has to find a state in which a property is broken.

mod data;
mod museum;
mod node;
mod scenarios;
mod stream;
mod system;

use std::fmt::Write as _;
use std::time::Instant;

use serde::Serialize;
use stateright::{Checker, Expectation, HasDiscoveries, Model, Path};

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

/// What a search showed.
#[derive(Debug, Serialize)]
pub struct Searched {
    /// The scenario.
    pub scenario: &'static str,
    /// The bug that was put in.
    pub bug: Option<&'static str>,
    /// Different states.
    pub states: usize,
    /// The most steps from the beginning.
    pub depth: usize,
    /// Seconds it took.
    pub seconds: f64,
    /// Outcomes that have to occur and did not; of a search that came to its end.
    pub unseen: Vec<&'static str>,
    /// The property that is broken.
    pub broken: Option<&'static str>,
    /// The shortest way to where it is broken.
    pub trace: String,
}

impl Searched {
    /// Whether it showed what it has to: nothing without a bug, the bug with one.
    pub fn is_good(&self) -> bool {
        match self.bug {
            None => self.broken.is_none() && self.unseen.is_empty(),
            Some(_) => self.broken.is_some(),
        }
    }

    /// In a word.
    pub fn word(&self) -> &'static str {
        match (self.bug, self.broken) {
            (Some(_), Some(_)) => "caught",
            (Some(_), None) => "MISSED",
            (None, Some(_)) => "FAILED",
            (None, None) if !self.unseen.is_empty() => "VACUOUS",
            (None, None) => "bounded",
        }
    }
}

/// The scenarios whose name contains one of these; all without any.
pub fn scenarios(filter: &[String]) -> Vec<&'static Scenario> {
    SCENARIOS.iter().copied().filter(|scenario| chosen(scenario.name, filter)).collect()
}

/// The exhibits whose name contains one of these; all without any.
pub fn exhibits(filter: &[String]) -> Vec<&'static Exhibit> {
    EXHIBITS.iter().filter(|exhibit| chosen(exhibit.name, filter)).collect()
}

fn chosen(name: &str, filter: &[String]) -> bool {
    filter.is_empty() || filter.iter().any(|part| name.contains(part))
}

fn system(scenario: &'static Scenario, exhibit: Option<&Exhibit>, reach: Reach) -> System {
    let budget = if reach == Reach::Quick { scenario.quick } else { scenario.full };
    System { scenario, budget, bug: exhibit.map(|exhibit| exhibit.bug) }
}

/// Searches a scenario within its budget, or until a property is broken.
pub fn search(
    scenario: &'static Scenario,
    exhibit: Option<&Exhibit>,
    reach: Reach,
    threads: usize,
) -> Searched {
    let system = system(scenario, exhibit, reach);
    let started = Instant::now();
    // One thread finds the shortest way; several may find one that is a little longer.
    let threads = if exhibit.is_some() { 1 } else { threads };
    let checker = system.clone().checker().threads(threads).finish_when(HasDiscoveries::AnyFailures);
    let checker = checker.spawn_bfs().join();
    let mut discoveries = checker.discoveries();
    let mut searched = Searched {
        scenario: scenario.name,
        bug: exhibit.map(|exhibit| exhibit.name),
        states: checker.unique_state_count(),
        depth: checker.max_depth(),
        seconds: started.elapsed().as_secs_f64(),
        unseen: Vec::new(),
        broken: None,
        trace: String::new(),
    };
    for property in system.properties() {
        match (property.expectation, discoveries.remove(property.name)) {
            (Expectation::Always, Some(path)) if searched.broken.is_none() => {
                searched.broken = Some(property.name);
                searched.trace = trace(&system, path);
            }
            (Expectation::Always, _) => {}
            (_, None) => searched.unseen.push(property.name),
            (_, Some(_)) => {}
        }
    }
    searched
}

/// A way to a state, step by step, with what was written and what is stored at its end.
fn trace(system: &System, path: Path<State, Action>) -> String {
    let mut text = String::new();
    let steps = path.into_vec();
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

/// Prints what scenarios and exhibits showed, with the traces of those that are not as they should be, or of all.
pub fn report(searched: &[Searched], all_traces: bool) {
    println!(
        "{:<32} {:<14} {:>10} {:>6} {:>8}  {:<10}",
        "protocol", "scenario", "states", "depth", "seconds", "result"
    );
    for it in searched {
        let name = it.bug.map_or_else(|| it.scenario.to_owned(), |bug| format!("  with {bug}"));
        let what = it.broken.map_or_else(|| it.unseen.join(", "), str::to_owned);
        println!(
            "{name:<32} {:<14} {:>10} {:>6} {:>8.1}  {:<10} {what}",
            it.scenario,
            it.states,
            it.depth,
            it.seconds,
            it.word()
        );
    }
    for it in searched.iter().filter(|it| all_traces || !it.is_good()) {
        if it.trace.is_empty() {
            continue;
        }
        let name = it.bug.unwrap_or(it.scenario);
        println!("\n{name}: {}", it.broken.unwrap_or_default());
        for line in it.trace.lines() {
            println!("    {line}");
        }
    }
}

/// Says what the scenarios and the exhibits are.
pub fn list(scenarios: &[&Scenario], exhibits: &[&Exhibit]) {
    for scenario in scenarios {
        println!("{:<32} {}", scenario.name, scenario.about);
        println!("{:32} quick {:?}", "", scenario.quick);
        println!("{:32} full  {:?}", "", scenario.full);
    }
    for exhibit in exhibits {
        println!("{:<32} {} (in {})", exhibit.name, exhibit.about, exhibit.scenario.name);
    }
}

/// Serves a scenario to a browser, until the program is ended.
pub fn explore(scenario: &'static Scenario, exhibit: Option<&Exhibit>, address: &str) {
    let _ = system(scenario, exhibit, Reach::Quick).checker().serve(address);
}
