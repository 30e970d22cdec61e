//! The program: picks the proofs, runs each in a process of its own, and reports.

use std::collections::VecDeque;
use std::io::{IsTerminal, Read, Write};
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use clap::{Parser, Subcommand, ValueEnum};
use serde::Serialize;

use crate::explore::{self, Explored, Request};
use crate::model::{Bound, Model};
use crate::models;
use crate::protocol::{self, Reach, Searched};

/// Lines of a failed worker's report that are shown.
const REPORT_LINES: usize = 40;

/// What a worker may take beyond its seconds, for the execution it is in.
const GRACE: Duration = Duration::from_secs(20);

/// Proves the replication core: runs its models and shows what they saw.
#[derive(Debug, Parser)]
#[command(name = "prove", bin_name = "cargo prove", args_conflicts_with_subcommands = true)]
struct Options {
    #[command(subcommand)]
    command: Option<Part>,
    /// Only models and scenarios whose name contains this.
    filter: Vec<String>,
    /// How far to explore: quick takes minutes, full about an hour.
    #[arg(long, value_enum, default_value_t = Tier::Quick)]
    tier: Tier,
    /// Proofs that run at the same time [default: one for each core].
    #[arg(long, short)]
    jobs: Option<usize>,
    /// Lists the models, their bounds and their controls, and runs none.
    #[arg(long)]
    list: bool,
    /// Skips the negative controls.
    #[arg(long)]
    no_controls: bool,
    /// Runs the chosen models with this mutation (ORDERING=Weaker, or a fault) and expects nothing.
    #[arg(long, value_name = "MUTATION")]
    mutate: Option<String>,
    /// Seconds for each proof.
    #[arg(long, value_name = "SECONDS")]
    max_seconds: Option<u64>,
    /// Preemption bound for all, instead of each model's own; `none` explores everything.
    #[arg(long, value_name = "N")]
    bound: Option<String>,
    /// Stops each thread at each of its steps in turn.
    #[arg(long, hide = true)]
    stall: bool,
    /// Writes the results as JSON to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<std::path::PathBuf>,
    /// Explores one model in this process: how the program calls itself.
    #[arg(long, hide = true)]
    worker: Option<String>,
}

/// A part of the proofs on its own.
#[derive(Debug, Subcommand)]
enum Part {
    /// Searches the protocol: every order of writes, deadlines, broken links, resyncs and promotions, within a budget.
    Protocol {
        /// Only scenarios whose name contains this.
        filter: Vec<String>,
        /// How far to search.
        #[arg(long, value_enum, default_value_t = Tier::Quick)]
        tier: Tier,
        /// Threads [default: one for each core].
        #[arg(long, short)]
        jobs: Option<usize>,
    },
    /// Puts each known bug into the protocol and shows the shortest way to what it breaks.
    Museum {
        /// Only bugs whose name contains this.
        filter: Vec<String>,
        /// Lists the bugs and searches for none.
        #[arg(long)]
        list: bool,
    },
    /// Serves a scenario of the protocol to a browser, state by state.
    Explore {
        /// The scenario.
        scenario: String,
        /// A bug of the museum to put in.
        #[arg(long)]
        bug: Option<String>,
        /// Where to listen.
        #[arg(long, default_value = "127.0.0.1:3000")]
        address: String,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Tier {
    Quick,
    Full,
}

impl Tier {
    fn bound(self, model: &Model) -> Bound {
        match self {
            Self::Quick => model.quick,
            Self::Full => model.full,
        }
    }

    fn reach(self) -> Reach {
        match self {
            Self::Quick => Reach::Quick,
            Self::Full => Reach::Full,
        }
    }

    fn max_seconds(self) -> u64 {
        match self {
            Self::Quick => 120,
            Self::Full => 1800,
        }
    }
}

/// One run of one model.
#[derive(Clone, Debug)]
struct Job {
    model: &'static Model,
    mutation: Option<&'static str>,
    bound: Bound,
    max_seconds: u64,
}

/// How a run ended.
#[derive(Clone, Debug, Serialize)]
struct Outcome {
    model: &'static str,
    invariants: &'static str,
    threads: usize,
    shadow_words: bool,
    bound: String,
    mutation: Option<&'static str>,
    explored: Option<Explored>,
    verdict: Verdict,
    seconds: f64,
    report: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Verdict {
    /// Every interleaving was run.
    Exhausted,
    /// Every interleaving within the preemption bound was run.
    Bounded,
    /// The time was up: what was run passed.
    Unfinished,
    /// A mutation was found, as it has to be.
    Caught,
    /// A mutation was not found.
    Missed,
    /// An outcome that has to occur never did.
    Vacuous,
    /// An invariant broke.
    Failed,
}

impl Verdict {
    fn is_good(self) -> bool {
        matches!(self, Self::Exhausted | Self::Bounded | Self::Caught)
    }

    fn word(self) -> &'static str {
        match self {
            Self::Exhausted => "exhausted",
            Self::Bounded => "bounded",
            Self::Unfinished => "UNFINISHED",
            Self::Caught => "caught",
            Self::Missed => "MISSED",
            Self::Vacuous => "VACUOUS",
            Self::Failed => "FAILED",
        }
    }
}

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
    if let Some(part) = &options.command {
        return run_part(part);
    }
    let chosen: Vec<_> = models::all()
        .into_iter()
        .filter(|model| {
            options.filter.is_empty() || options.filter.iter().any(|part| model.name.contains(part))
        })
        .collect();
    if let Some(name) = &options.worker {
        return work(name, options);
    }
    // A mutation of the buffer, or a bound for it, says nothing about the protocol.
    let with_protocol = options.mutate.is_none() && options.bound.is_none();
    let scenarios = if with_protocol { protocol::scenarios(&options.filter) } else { Vec::new() };
    let exhibits =
        if with_protocol && !options.no_controls { protocol::exhibits(&options.filter) } else { Vec::new() };
    if chosen.is_empty() && scenarios.is_empty() && exhibits.is_empty() {
        return Err(format!("nothing is named like {:?}; --list shows what there is", options.filter));
    }
    if options.list {
        list(&chosen);
        protocol::list(&scenarios, &exhibits);
        return Ok(true);
    }
    let jobs = jobs(&chosen, options)?;
    let start = Instant::now();
    let models = run_jobs(jobs, options)?;
    report(&models);
    let threads = threads(options.jobs);
    let reach = options.tier.reach();
    let mut searched: Vec<_> =
        scenarios.iter().map(|scenario| protocol::search(scenario, None, reach, threads)).collect();
    searched.extend(
        exhibits
            .iter()
            .map(|exhibit| protocol::search(exhibit.scenario, Some(exhibit), Reach::Quick, threads)),
    );
    if !searched.is_empty() {
        if !models.is_empty() {
            println!();
        }
        protocol::report(&searched, false);
    }
    let good = models.iter().filter(|outcome| outcome.verdict.is_good()).count()
        + searched.iter().filter(|searched| searched.is_good()).count();
    let bad = models.len() + searched.len() - good;
    println!("\n{good} as it should be, {bad} not; {:.0} s", start.elapsed().as_secs_f64());
    if let Some(file) = &options.json {
        let json = serde_json::to_vec_pretty(&Everything { models, protocol: searched });
        let json = json.map_err(|error| error.to_string())?;
        std::fs::write(file, json).map_err(|error| format!("{}: {error}", file.display()))?;
    }
    Ok(bad == 0)
}

/// What is written for machines.
#[derive(Serialize)]
struct Everything {
    models: Vec<Outcome>,
    protocol: Vec<Searched>,
}

fn threads(wanted: Option<usize>) -> usize {
    wanted.unwrap_or_else(|| std::thread::available_parallelism().map_or(2, usize::from)).max(1)
}

fn run_part(part: &Part) -> Result<bool, String> {
    let searched: Vec<_> = match part {
        Part::Protocol { filter, tier, jobs } => protocol::scenarios(filter)
            .into_iter()
            .map(|scenario| protocol::search(scenario, None, tier.reach(), threads(*jobs)))
            .collect(),
        Part::Museum { filter, list: true } => {
            protocol::list(&[], &protocol::exhibits(filter));
            return Ok(true);
        }
        Part::Museum { filter, list: false } => protocol::exhibits(filter)
            .into_iter()
            .map(|exhibit| protocol::search(exhibit.scenario, Some(exhibit), Reach::Quick, 1))
            .collect(),
        Part::Explore { scenario, bug, address } => return explore(scenario, bug.as_deref(), address),
    };
    if searched.is_empty() {
        return Err("nothing is named like that; `cargo prove --list` shows what there is".to_owned());
    }
    protocol::report(&searched, matches!(part, Part::Museum { .. }));
    Ok(searched.iter().all(Searched::is_good))
}

fn explore(scenario: &str, bug: Option<&str>, address: &str) -> Result<bool, String> {
    let named = protocol::scenarios(&[]).into_iter().find(|known| known.name == scenario);
    let named = named.ok_or_else(|| format!("no scenario is named {scenario}"))?;
    let exhibit = match bug {
        None => None,
        Some(bug) => {
            let exhibit = protocol::exhibits(&[]).into_iter().find(|known| known.name == bug);
            Some(exhibit.ok_or_else(|| format!("no bug is named {bug}"))?)
        }
    };
    println!("The states of {scenario} at http://{address}/; Ctrl-C ends it.");
    protocol::explore(named, exhibit, address);
    Ok(true)
}

fn work(name: &str, options: &Options) -> Result<bool, String> {
    let model = models::all().into_iter().find(|model| model.name == name);
    let model = model.ok_or_else(|| format!("no model is named {name}"))?;
    let bound = bound_of(options)?.unwrap_or(options.tier.bound(model));
    let request = Request {
        bound: bound.preemptions(),
        max_seconds: options.max_seconds.unwrap_or(options.tier.max_seconds()),
        mutation: options.mutate.clone(),
        stall: options.stall,
    };
    explore::work(model, &request).map(|()| true)
}

fn bound_of(options: &Options) -> Result<Option<Bound>, String> {
    match options.bound.as_deref() {
        None => Ok(None),
        Some("none") => Ok(Some(Bound::None)),
        Some(n) => n
            .parse()
            .map(|n| Some(Bound::Preemptions(n)))
            .map_err(|_| format!("{n} is not a preemption bound")),
    }
}

fn list(models: &[&'static Model]) {
    for model in models {
        println!("{:<32} {}", model.name, model.about);
        println!(
            "{:32} proves {}; {} threads; preemptions: quick {}, full {}",
            "", model.invariants, model.threads, model.quick, model.full
        );
        if !model.controls.is_empty() {
            println!("{:32} must catch: {}", "", model.controls.join(", "));
        }
    }
}

fn jobs(chosen: &[&'static Model], options: &Options) -> Result<VecDeque<Job>, String> {
    let bound = bound_of(options)?;
    let mut jobs = VecDeque::new();
    let job = |model: &'static Model, mutation| Job {
        model,
        mutation,
        bound: bound.unwrap_or(options.tier.bound(model)),
        max_seconds: options.max_seconds.unwrap_or(options.tier.max_seconds()),
    };
    if let Some(mutation) = &options.mutate {
        let mutation: &'static str = Box::leak(mutation.clone().into_boxed_str());
        return Ok(chosen.iter().map(|model| job(model, Some(mutation))).collect());
    }
    for model in chosen {
        jobs.push_back(job(model, None));
        let controls = if options.no_controls { &[] } else { model.controls };
        jobs.extend(controls.iter().map(|control| job(model, Some(control))));
    }
    Ok(jobs)
}

fn run_jobs(jobs: VecDeque<Job>, options: &Options) -> Result<Vec<Outcome>, String> {
    let workers = threads(options.jobs);
    let total = jobs.len();
    let jobs = Mutex::new(jobs.into_iter().enumerate().collect::<VecDeque<_>>());
    let done = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        let worker = || -> Result<(), String> {
            loop {
                let next = jobs.lock().map_err(|error| error.to_string())?.pop_front();
                let Some((index, job)) = next else { return Ok(()) };
                let outcome = run_job(&job, options.mutate.is_some())?;
                let mut done = done.lock().map_err(|error| error.to_string())?;
                done.push((index, outcome));
                progress(done.len(), total, &job);
            }
        };
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(worker)).collect();
        workers
            .into_iter()
            .try_for_each(|worker| worker.join().map_err(|_| "a worker panicked".to_owned())?)
    })?;
    let mut done = done.into_inner().map_err(|error| error.to_string())?;
    done.sort_by_key(|(index, _)| *index);
    Ok(done.into_iter().map(|(_, outcome)| outcome).collect())
}

fn progress(done: usize, total: usize, job: &Job) {
    let mut stderr = std::io::stderr();
    if stderr.is_terminal() {
        let with = job.mutation.map_or_else(String::new, |mutation| format!(" with {mutation}"));
        let _ = write!(stderr, "\r\x1b[2K{done}/{total}  {}{with}", job.model.name);
        let _ = if done == total { write!(stderr, "\r\x1b[2K") } else { stderr.flush() };
    }
}

/// Runs a worker. One that hangs longer than it may is ended.
fn run_job(job: &Job, mutation_is_the_point: bool) -> Result<Outcome, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut command = Command::new(program);
    command.args(["--worker", job.model.name, "--bound", &job.bound.to_string()]);
    command.args(["--max-seconds", &job.max_seconds.to_string()]);
    if let Some(mutation) = job.mutation {
        command.args(["--mutate", mutation]);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).env("RUST_BACKTRACE", "0");
    let start = Instant::now();
    let mut child = command.spawn().map_err(|error| error.to_string())?;
    let (mut stdout, mut stderr) = (child.stdout.take(), child.stderr.take());
    let read = |pipe: &mut dyn Read| {
        let mut text = Vec::new();
        let _ = pipe.read_to_end(&mut text);
        String::from_utf8_lossy(&text).into_owned()
    };
    let limit = Duration::from_secs(job.max_seconds) + GRACE;
    let (out, err, status) = std::thread::scope(|scope| {
        let err = scope.spawn(move || stderr.as_mut().map_or_else(String::new, |pipe| read(pipe)));
        let out = scope.spawn(move || stdout.as_mut().map_or_else(String::new, |pipe| read(pipe)));
        let status = wait(&mut child, limit);
        (out.join().unwrap_or_default(), err.join().unwrap_or_default(), status)
    });
    let status = status.map_err(|error| error.to_string())?;
    if status.code() == Some(2) {
        return Err(err.trim().to_owned());
    }
    let explored = out.lines().last().and_then(|line| serde_json::from_str::<Explored>(line).ok());
    let explored = explored.filter(|_| status.success());
    let verdict = verdict(job, explored.as_ref(), mutation_is_the_point);
    Ok(Outcome {
        model: job.model.name,
        invariants: job.model.invariants,
        threads: job.model.threads,
        shadow_words: job.model.shadow,
        bound: job.bound.to_string(),
        mutation: job.mutation,
        explored,
        verdict,
        seconds: start.elapsed().as_secs_f64(),
        report: err,
    })
}

/// Waits for a worker, and ends it if it takes longer than `limit`: one that hangs has failed.
fn wait(child: &mut Child, limit: Duration) -> std::io::Result<ExitStatus> {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if start.elapsed() > limit {
            child.kill()?;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn verdict(job: &Job, explored: Option<&Explored>, mutation_is_the_point: bool) -> Verdict {
    let expects_failure = job.mutation.is_some() && !mutation_is_the_point;
    let Some(explored) = explored else {
        return if expects_failure { Verdict::Caught } else { Verdict::Failed };
    };
    let vacuous = explored.outcomes.iter().any(|(_, count)| *count == 0);
    match (expects_failure, explored.complete, vacuous, job.bound) {
        // An outcome that vanished is a finding too; one that was not come to in time is none.
        (true, true, true, _) => Verdict::Caught,
        (true, _, _, _) => Verdict::Missed,
        (false, false, _, _) => Verdict::Unfinished,
        (false, true, true, _) => Verdict::Vacuous,
        (false, true, false, Bound::None) => Verdict::Exhausted,
        (false, true, false, Bound::Preemptions(_)) => Verdict::Bounded,
    }
}

fn report(outcomes: &[Outcome]) {
    if outcomes.is_empty() {
        return;
    }
    println!(
        "{:<32} {:<22} {:>3} {:>5} {:>10} {:>7}  {:<10} outcomes seen",
        "model", "proves / mutation", "thr", "bound", "executions", "seconds", "result"
    );
    for outcome in outcomes {
        let (name, what) = match outcome.mutation {
            None => (outcome.model.to_owned(), outcome.invariants.to_owned()),
            Some(mutation) => (format!("  {} with", outcome.model), mutation.to_owned()),
        };
        let executions =
            outcome.explored.as_ref().map_or_else(String::new, |explored| explored.executions.to_string());
        println!(
            "{name:<32} {what:<22} {:>3} {:>5} {executions:>10} {:>7.1}  {:<10} {}",
            outcome.threads,
            outcome.bound,
            outcome.seconds,
            outcome.verdict.word(),
            seen(outcome)
        );
    }
    for outcome in outcomes.iter().filter(|outcome| !outcome.verdict.is_good()) {
        let with = outcome.mutation.map_or_else(String::new, |mutation| format!(" with {mutation}"));
        println!("\n{}{with}: {}", outcome.model, outcome.verdict.word());
        let lines: Vec<_> = outcome.report.lines().collect();
        for line in lines.iter().take(REPORT_LINES) {
            println!("    {line}");
        }
        if lines.len() > REPORT_LINES {
            println!("    … {} lines more", lines.len() - REPORT_LINES);
        }
    }
}

/// The outcomes of a run; for a mutation, the first line of what broke.
fn seen(outcome: &Outcome) -> String {
    match &outcome.explored {
        Some(explored) => {
            let mut seen: Vec<_> =
                explored.outcomes.iter().map(|(name, count)| format!("{name}: {count}")).collect();
            if !explored.stalls.is_empty() {
                let stalls = explored.stalls.iter().map(|(name, steps)| format!("{name} at {steps}"));
                seen.insert(0, format!("stopped: {};", stalls.collect::<Vec<_>>().join(", ")));
            }
            seen.join(", ")
        }
        None => {
            let line = outcome.report.lines().find(|line| !line.is_empty() && !line.starts_with("thread '"));
            line.unwrap_or("ended without a report").chars().take(100).collect()
        }
    }
}
