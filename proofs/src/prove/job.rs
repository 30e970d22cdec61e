//! A proof that is to be run, and which there are.

use replcore::buffer::model::FAULTS;
use replcore_proofs::report::{Kind, Row, Unit};

use super::suites::{self, Suite};
use super::weaker;
use crate::model::{Bound, Model};
use crate::models;
use crate::protocol::{self, Exhibit, Reach, Scenario};
use replcore_proofs::options::{Options, Preemptions, Tier};
use replcore_proofs::unbounded::run::{PARTS, Part};

/// A proof that is to be run.
#[derive(Clone, Debug)]
pub struct Job {
    /// Its row, as far as it is known before.
    pub row: Row,
    /// How to run it.
    pub work: Work,
}

/// How a proof is run.
#[derive(Clone, Debug)]
pub enum Work {
    /// One model, explored by a process of its own.
    Explore(Exploration),
    /// Models that ought to catch a mutation, until one does.
    Catch { candidates: Vec<Exploration>, excuse: Option<String> },
    /// A search of the protocol.
    Search { scenario: &'static Scenario, exhibit: Option<&'static Exhibit> },
    /// A part of the proof without bounds.
    Unbounded(Part),
    /// Tests of the normal build, through cargo.
    Suite { suite: &'static Suite, cases: u32 },
}

/// An exploration of a model.
#[derive(Clone, Debug)]
pub struct Exploration {
    /// The model.
    pub model: &'static Model,
    /// How far.
    pub bound: Bound,
    /// The mutation of the shipped code.
    pub mutation: Option<String>,
    /// Whether the mutation has to be caught.
    pub expects_failure: bool,
    /// Whether each thread is stopped at each of its steps.
    pub stall: bool,
}

impl Exploration {
    fn job(self, kind: Kind) -> Job {
        let mut row = Row::new(kind, self.model.name);
        if let Some(mutation) = &self.mutation {
            row.name = format!("{} with {mutation}", self.model.name);
        }
        row.mutation = self.mutation.clone();
        row.invariants = invariants(self.model.invariants);
        row.about = self.model.about.to_owned();
        row.threads = Some(self.model.threads);
        row.bound = bound_in_words(self.bound);
        Job { row, work: Work::Explore(self) }
    }
}

/// `I1 I2`, apart.
fn invariants(text: &str) -> Vec<String> {
    text.split_whitespace().filter(|name| *name != "-").map(str::to_owned).collect()
}

/// A bound, for a table.
pub fn bound_in_words(bound: Bound) -> String {
    match bound {
        Bound::None => "all".to_owned(),
        Bound::Preemptions(1) => "1 preemption".to_owned(),
        Bound::Preemptions(n) => format!("{n} preemptions"),
    }
}

/// How far a model is explored: as asked, or as the tier has it.
pub fn bound(asked: Option<Preemptions>, tier: Tier, model: &Model) -> Bound {
    match (asked, tier) {
        (Some(Preemptions::Any), _) | (None, Tier::Deep) => Bound::None,
        (Some(Preemptions::AtMost(n)), _) => Bound::Preemptions(n),
        (None, Tier::Quick) => model.quick,
        (None, Tier::Full) => model.full,
    }
}

/// How far the protocol is searched.
pub fn reach(tier: Tier) -> Reach {
    if tier == Tier::Quick { Reach::Quick } else { Reach::Full }
}

/// Picks by a part of the name, or by the whole one if there is such a name; everything without a filter.
pub fn chosen(name: &str, filter: &[String]) -> bool {
    let picks = |part: &String| part == name || (name.contains(part) && !is_a_name(part));
    filter.is_empty() || filter.iter().any(picks)
}

fn is_a_name(name: &str) -> bool {
    models::all().iter().any(|model| model.name == name)
        || protocol::scenarios().iter().any(|scenario| scenario.name == name)
        || protocol::exhibits().iter().any(|exhibit| exhibit.name == name)
        || suites::SUITES.iter().any(|suite| suite.name == name)
        || PARTS.iter().any(|part| part.name() == name)
}

/// The jobs of a run, in the order in which they are run and shown.
#[derive(Debug, Default)]
pub struct Jobs {
    /// Programs with known outcomes. If one is not exact, nothing else is run.
    pub self_tests: Vec<Job>,
    /// What runs in processes of one core each.
    pub parallel: Vec<Job>,
    /// What uses all cores by itself.
    pub alone: Vec<Job>,
}

impl Jobs {
    /// How many.
    pub fn len(&self) -> usize {
        self.self_tests.len() + self.parallel.len() + self.alone.len()
    }

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = &Job> {
        self.self_tests.iter().chain(&self.parallel).chain(&self.alone)
    }

    fn keep_kinds(mut self, kinds: &[Kind]) -> Self {
        if !kinds.is_empty() {
            for jobs in [&mut self.self_tests, &mut self.parallel, &mut self.alone] {
                jobs.retain(|job| kinds.contains(&job.row.kind));
            }
        }
        self
    }
}

fn is_self_test(model: &Model) -> bool {
    model.name.starts_with("litmus-")
}

/// What `cargo prove` runs.
pub fn everything(options: &Options) -> Jobs {
    let tier = options.common.tier;
    let mut jobs = Jobs::default();
    let explore = |model: &'static Model, mutation: Option<&str>| Exploration {
        model,
        bound: bound(options.bound, tier, model),
        mutation: mutation.map(str::to_owned),
        expects_failure: mutation.is_some() && options.mutate.is_none(),
        stall: false,
    };
    let models = models::all().into_iter().filter(|model| chosen(model.name, &options.filter));
    for model in models {
        if is_self_test(model) {
            jobs.self_tests.push(explore(model, options.mutate.as_deref()).job(Kind::SelfTest));
            continue;
        }
        jobs.parallel.push(explore(model, options.mutate.as_deref()).job(Kind::Model));
        if !options.no_controls && options.mutate.is_none() && tier != Tier::Deep {
            for control in model.controls {
                jobs.parallel.push(explore(model, Some(control)).job(Kind::Mutation));
            }
        }
    }
    // A mutation of the buffer, or a bound for it, says nothing about the rest.
    if options.mutate.is_none() && options.bound.is_none() {
        if tier != Tier::Deep {
            jobs.parallel.extend(stalls(&options.filter, tier));
        }
        if tier == Tier::Full && !options.no_controls {
            jobs.parallel.extend(orderings(&options.filter, tier));
        }
        if !options.no_controls {
            jobs.parallel.extend(museum(&options.filter));
        }
        if tier != Tier::Deep {
            jobs.alone.extend(unbounded(&options.filter));
        }
        jobs.alone.extend(scenarios(&options.filter, tier));
        jobs.alone.extend(refinement(&options.filter, tier));
    }
    jobs.parallel.sort_by_key(|job| job.row.kind);
    jobs.keep_kinds(&options.kind)
}

/// What a run shows of orderings and faults without running them again: its mutations say it.
pub fn summed_up(options: &Options) -> bool {
    let all = options.filter.is_empty() && options.kind.is_empty() && !options.no_controls;
    all && options.mutate.is_none() && options.common.tier != Tier::Deep
}

/// Every scenario of the protocol.
pub fn scenarios(filter: &[String], tier: Tier) -> Vec<Job> {
    let job = |scenario: &'static Scenario| {
        let mut row = Row::new(Kind::Protocol, scenario.name);
        row.unit = Unit::States;
        row.about = scenario.about.to_owned();
        row.threads = Some(scenario.clocks.len());
        row.bound = protocol::budget_in_words(scenario, reach(tier));
        row.invariants = protocol::PROPERTIES.iter().map(ToString::to_string).collect();
        Job { row, work: Work::Search { scenario, exhibit: None } }
    };
    let scenarios = protocol::scenarios().into_iter().filter(|scenario| chosen(scenario.name, filter));
    scenarios.map(job).collect()
}

/// Every known bug.
pub fn museum(filter: &[String]) -> Vec<Job> {
    let job = |exhibit: &'static Exhibit| {
        let mut row = Row::new(Kind::Museum, exhibit.scenario.name);
        row.name = exhibit.name.to_owned();
        row.mutation = Some(exhibit.name.to_owned());
        row.unit = Unit::States;
        row.about = exhibit.about.to_owned();
        row.threads = Some(exhibit.scenario.clocks.len());
        Job { row, work: Work::Search { scenario: exhibit.scenario, exhibit: Some(exhibit) } }
    };
    let exhibits = protocol::exhibits().into_iter().filter(|exhibit| chosen(exhibit.name, filter));
    exhibits.map(job).collect()
}

/// What the proof without bounds promises.
const UNBOUNDED: &str = "I1 I2 I3 I4 I5 I6 I7 I9 I10";

/// Every part of the proof without bounds.
pub fn unbounded(filter: &[String]) -> Vec<Job> {
    let job = |part: Part| {
        let mut row = Row::new(Kind::Unbounded, part.name());
        row.about = part.about().to_owned();
        row.unit = match part {
            Part::Proof(_) => Unit::Questions,
            Part::Walks => Unit::Steps,
            Part::Guards | Part::Clauses => Unit::LeftOut,
        };
        if matches!(part, Part::Proof(_)) {
            row.invariants = invariants(UNBOUNDED);
        }
        Job { row, work: Work::Unbounded(part) }
    };
    PARTS.into_iter().filter(|part| chosen(part.name(), filter)).map(job).collect()
}

/// Every test suite of the normal build.
pub fn refinement(filter: &[String], tier: Tier) -> Vec<Job> {
    let job = |suite: &'static Suite| {
        let mut row = Row::new(Kind::Refinement, suite.name);
        row.unit = suite.unit;
        row.about = suite.about.to_owned();
        row.invariants = invariants(suite.invariants);
        row.bound = format!("{} cases", tier.cases());
        Job { row, work: Work::Suite { suite, cases: tier.cases() } }
    };
    suites::SUITES.iter().filter(|suite| chosen(suite.name, filter)).map(job).collect()
}

/// Every model with a thread that stops.
pub fn stalls(filter: &[String], tier: Tier) -> Vec<Job> {
    let models = models::all().into_iter().filter(|model| !is_self_test(model) && chosen(model.name, filter));
    let job = |model: &'static Model| {
        // A stop is a preemption by itself, and there are as many explorations as there are points.
        let bound = Bound::Preemptions(usize::from(tier == Tier::Deep));
        let exploration = Exploration { model, bound, mutation: None, expects_failure: false, stall: true };
        let mut job = exploration.job(Kind::Stall);
        job.row.unit = Unit::Points;
        if let Some(reason) = model.no_stalls {
            job.work = Work::Catch { candidates: Vec::new(), excuse: Some(reason.to_owned()) };
        }
        job
    };
    models.map(job).collect()
}

/// Every named ordering with each weaker one in its place.
pub fn orderings(filter: &[String], tier: Tier) -> Vec<Job> {
    let weaker = weaker::all().into_iter().filter(|weaker| chosen(&weaker.mutation(), filter));
    let job = |weaker: weaker::Weaker| {
        let mut job = catch(Kind::Ordering, weaker.mutation(), weaker.catchers(), tier);
        job.row.about = weaker.row.reason.trim().to_owned();
        job.row.bound = format!("{:?}", weaker.row.ordering);
        if let Work::Catch { excuse, .. } = &mut job.work {
            *excuse = weaker.excuse();
        }
        job
    };
    weaker.map(job).collect()
}

/// Every structural fault.
pub fn faults(filter: &[String], tier: Tier) -> Vec<Job> {
    let faults = FAULTS.iter().filter(|(_, name, _)| chosen(name, filter));
    let job = |(_, name, about): &(_, &'static str, &'static str)| {
        let catchers = models::all().into_iter().filter(|model| model.controls.contains(name));
        let mut job = catch(Kind::Fault, (*name).to_owned(), catchers.collect(), tier);
        job.row.about = about.trim().to_owned();
        job
    };
    faults.map(job).collect()
}

fn catch(kind: Kind, mutation: String, models: Vec<&'static Model>, tier: Tier) -> Job {
    let mut row = Row::new(kind, &mutation);
    row.mutation = Some(mutation.clone());
    let candidates = models.into_iter().map(|model| Exploration {
        model,
        bound: bound(None, tier, model),
        mutation: Some(mutation.clone()),
        expects_failure: true,
        stall: false,
    });
    Job { row, work: Work::Catch { candidates: candidates.collect(), excuse: None } }
}
