//! The program: picks the proofs, runs each in a process of its own, and reports.
//!
//! [`options`] is what can be asked, [`job`] what there is to run, [`runner`] runs it: models through
//! [`explorer`] (and [`deep`], which has no end), the protocol through [`search`], the normal build through
//! [`suites`]. A model that broke is run again by [`capture`], recorded; [`replay`] does that from a file.
//! The rows go into a report, which the library of this package shows.

pub mod capture;
mod deep;
mod explorer;
mod job;
pub mod keep;
mod list;
mod output;
mod process;
mod replay;
mod runner;
mod search;
mod suites;
mod summed;
mod unbounded;
mod weaker;

use std::process::ExitCode;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use clap::Parser;
use replcore_proofs::report::{Facts, Kind, Report, SCHEMA};

use self::job::Jobs;
use self::runner::Runner;
use crate::explore::{self, Request};
use crate::models;
use crate::protocol;
use replcore_proofs::options::{Common, Filtered, Options, Part, Purpose};

/// The program.
pub fn main() -> ExitCode {
    let options = Options::parse();
    match run(&options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("prove: {error}");
            ExitCode::from(2)
        }
    }
}

fn run(options: &Options) -> Result<bool, String> {
    if let Some(name) = &options.worker.worker {
        return work(name, options).map(|()| true);
    }
    if let Some(file) = &options.replay {
        return replay::replay(file, options.all_steps);
    }
    if let Some(part) = &options.command {
        return run_part(part);
    }
    let jobs = job::everything(options);
    if jobs.len() == 0 {
        return Err(format!("nothing is named like {:?}; --list shows what there is", options.filter));
    }
    if options.list {
        list::list(&jobs);
        return Ok(true);
    }
    let sum_up = job::summed_up(options);
    let mut report = run_jobs(jobs, &options.common, options.common.tier.word())?;
    if sum_up && report.not_run == 0 {
        let sums = summed::up(&report.rows);
        report.rows.extend(sums);
        report.rows.sort_by_key(|row| row.kind);
    }
    output::show(&report, &options.common.outputs)
}

/// Runs jobs, and puts what they showed into a report.
fn run_jobs(jobs: Jobs, common: &Common, tier: &str) -> Result<Report, String> {
    let facts = Facts::gather(tier)?;
    let start = Instant::now();
    let stop = AtomicBool::new(false);
    let ran = Runner::new(common, jobs.len(), &stop)?.run(jobs)?;
    Ok(Report {
        schema: SCHEMA,
        facts,
        seconds: start.elapsed().as_secs_f64(),
        not_run: ran.not_run,
        rows: ran.rows,
    })
}

fn run_part(part: &Part) -> Result<bool, String> {
    let (asked, kind) = match part {
        Part::Orderings(asked) => (asked, Kind::Ordering),
        Part::Faults(asked) => (asked, Kind::Fault),
        Part::Stalls(asked) => (asked, Kind::Stall),
        Part::Unbounded(asked) => (asked, Kind::Unbounded),
        Part::Protocol(asked) => (asked, Kind::Protocol),
        Part::Museum(asked) => (asked, Kind::Museum),
        Part::Explore { scenario, bug, address } => return explore(scenario, bug.as_deref(), address),
        Part::Report { from, outputs } => return output::show(&Report::read(from)?, outputs),
    };
    run_kind(asked, kind)
}

fn run_kind(asked: &Filtered, kind: Kind) -> Result<bool, String> {
    let (filter, tier) = (&asked.filter, asked.common.tier);
    let mut jobs = Jobs::default();
    match kind {
        Kind::Ordering => jobs.parallel = job::orderings(filter, tier),
        Kind::Fault => jobs.parallel = job::faults(filter, tier),
        Kind::Stall => jobs.parallel = job::stalls(filter, tier),
        Kind::Museum => jobs.parallel = job::museum(filter),
        Kind::Unbounded => jobs.alone = job::unbounded(filter),
        _ => jobs.alone = job::scenarios(filter, tier),
    }
    if jobs.len() == 0 {
        return Err(format!("no {} is named like {filter:?}; --list shows what there is", kind.word()));
    }
    if asked.list {
        list::list(&jobs);
        return Ok(true);
    }
    let report = run_jobs(jobs, &asked.common, &format!("{}s, {}", kind.word(), tier.word()))?;
    output::show_part(&report, kind, &asked.common.outputs)
}

fn explore(scenario: &str, bug: Option<&str>, address: &str) -> Result<bool, String> {
    let named = protocol::scenarios().into_iter().find(|known| known.name == scenario);
    let named = named.ok_or_else(|| format!("no scenario is named {scenario}"))?;
    let exhibit = match bug {
        None => None,
        Some(bug) => {
            let exhibit = protocol::exhibits().into_iter().find(|known| known.name == bug);
            Some(exhibit.ok_or_else(|| format!("no bug is named {bug}"))?)
        }
    };
    println!("The states of {scenario} at http://{address}/; Ctrl-C ends it.");
    protocol::explore(named, exhibit, address);
    Ok(true)
}

/// Explores one model in this process.
fn work(name: &str, options: &Options) -> Result<(), String> {
    let model = models::all().into_iter().find(|model| model.name == name);
    let model = model.ok_or_else(|| format!("no model is named {name}"))?;
    let bound = job::bound(options.bound, options.common.tier, model);
    let worker = &options.worker;
    let keep = match (&worker.keep, worker.purpose) {
        (Some(directory), Some(purpose)) => {
            if purpose == Purpose::Draw {
                capture::write_when_it_breaks(directory);
            }
            keep::Keep::new(directory.clone(), purpose)
        }
        _ => keep::Keep::default(),
    };
    let request = Request {
        bound: bound.preemptions(),
        max_seconds: options.common.seconds().unwrap_or(u64::MAX / 2),
        mutation: options.mutate.clone(),
        stall: worker.stall,
        keep,
    };
    capture::count_when_it_breaks();
    explore::work(model, &request)
}
