//! The program: picks strategies, runs campaigns on several threads of the system, and reports.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use clap::{Parser, Subcommand, ValueEnum};
use replcore_checkers::weak::MAX_THREADS;
use serde::Serialize;

use super::campaign::{Board, Counts, Finding, Limits, Outcome, campaign};
use super::file::ScheduleFile;
use super::generate::Size;
use super::minimise::minimise;
use super::show::show;
use super::strategy::{Bounds, Exhaustive, Guided, Mixed, Pct, Random, RandomBytes, Replay, Strategy};
use super::{cross, litmus, teeth};
use crate::model::mutate;

/// Prints a line; whoever reads it may have seen enough.
macro_rules! say {
    ($($text:tt)*) => {
        let _ = writeln!(std::io::stdout(), $($text)*);
    };
}

/// Columns of the page when the terminal does not say.
const PAGE: usize = 150;
/// Time to make a finding small.
const MINIMISE: Duration = Duration::from_secs(20);
/// A pipe gets a line of progress so often.
const LINE_EVERY: Duration = Duration::from_secs(60);
/// A terminal gets one so often.
const SHOW_EVERY: Duration = Duration::from_millis(250);

/// Fuzzes the schedules of the replication buffer under weak memory.
///
/// Random programs of several threads run on the shipped code. Which thread goes on, and which store a load
/// reads, is chosen by a strategy. Every history is judged against the sequential reference. A finding is
/// made small, saved, and shown with one column for each thread.
#[derive(Debug, Parser)]
#[command(name = "fuzz-schedules", bin_name = "cargo fuzz-schedules", args_conflicts_with_subcommands = true)]
struct Options {
    #[command(subcommand)]
    command: Option<Command>,
    /// Who makes the choices.
    #[arg(long, value_enum, default_value_t = Kind::Mixed)]
    strategy: Kind,
    /// Threads of a program, at most.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u8).range(2..MAX_THREADS as i64))]
    threads: u8,
    /// Operations of a program, at most.
    #[arg(long, default_value_t = 120, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    ops: u16,
    /// Where the numbers begin; the same ones give the same executions [default: the time].
    #[arg(long)]
    seed: Option<u64>,
    /// How long [default: one minute, if there is no other limit].
    #[arg(long, value_parser = humantime::parse_duration, value_name = "TIME")]
    duration: Option<Duration>,
    /// Executions, at most.
    #[arg(long, value_name = "N")]
    iterations: Option<u64>,
    /// Threads of the system [default: one for each core].
    #[arg(long, short)]
    jobs: Option<usize>,
    /// Switches a weaker ordering (ROW=Weaker) or a fault on.
    #[arg(long, value_name = "MUTATION")]
    mutate: Option<String>,
    /// Preemptions of an execution, for the exhaustive strategy.
    #[arg(long, default_value_t = 2, value_name = "N")]
    preemptions: usize,
    /// Stale reads of an execution, for the exhaustive strategy.
    #[arg(long, default_value_t = 2, value_name = "N")]
    stale_reads: usize,
    /// Programs, for the exhaustive strategy [default: until the time is up].
    #[arg(long, value_name = "N")]
    programs: Option<u64>,
    /// Writes the results as JSON to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Leaves a finding as it was found.
    #[arg(long)]
    no_minimise: bool,
    /// Where a finding is saved.
    #[arg(long, value_name = "DIRECTORY", default_value = "target/schedules")]
    save: PathBuf,
    /// Runs exactly the execution of this schedule file, and shows it.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["strategy", "mutate", "self_check", "programs"])]
    replay: Option<PathBuf>,
    /// Shows every step of a finding, not only those that matter to another thread.
    #[arg(long)]
    all_steps: bool,
    /// Switches faults and weaker orderings on, one at a time, and fails unless each is found.
    #[arg(long)]
    self_check: bool,
}

/// What else there is to do.
#[derive(Debug, Subcommand)]
enum Command {
    CrossCheck(cross::command::Options),
}

/// The strategies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    /// Random, PCT and guided by turns.
    Mixed,
    /// At random, calm and wild.
    Random,
    /// Priorities that change at a few steps.
    Pct,
    /// Changes what showed a new pair of places.
    Guided,
    /// Random bytes as schedule and operations, as a byte-level fuzzer gives them.
    Bytes,
    /// Every execution of a program within bounds, then the next program.
    Exhaustive,
}

impl Options {
    fn size(&self) -> Size {
        Size { threads: usize::from(self.threads), operations: usize::from(self.ops) }
    }

    fn bounds(&self) -> Bounds {
        Bounds { preemptions: self.preemptions, stale_reads: self.stale_reads }
    }

    fn programs_of_a_job(&self) -> u64 {
        self.programs.map_or(u64::MAX, |programs| programs.div_ceil(self.jobs() as u64).max(1))
    }

    fn jobs(&self) -> usize {
        self.jobs.unwrap_or_else(|| thread::available_parallelism().map_or(2, usize::from)).max(1)
    }

    fn strategy(&self, seed: u64) -> Box<dyn Strategy> {
        match self.strategy {
            Kind::Mixed => Box::new(Mixed::new(seed)),
            Kind::Random => Box::new(Random::new(seed)),
            Kind::Pct => Box::new(Pct::new(seed)),
            Kind::Guided => Box::new(Guided::new(seed)),
            Kind::Bytes => Box::new(RandomBytes::new(seed, self.size())),
            Kind::Exhaustive => Box::new(Exhaustive::new(self.bounds(), self.programs_of_a_job())),
        }
    }
}

/// The program.
#[must_use]
pub fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("fuzz-schedules: {error}");
            ExitCode::from(2)
        }
    }
}

fn run(options: &Options) -> Result<bool, String> {
    if let Some(Command::CrossCheck(options)) = &options.command {
        return if self_test() { cross::command::run(options) } else { Ok(false) };
    }
    let replayed = options.replay.as_deref().map(ScheduleFile::read).transpose()?;
    if !self_test() {
        return Ok(false);
    }
    let mutation = options.mutate.as_deref().or(replayed.as_ref().and_then(|file| file.mutation.as_deref()));
    if let Some(mutation) = mutation {
        mutate(mutation)?;
    }
    match &replayed {
        Some(file) => Ok(replay(options, file)),
        None if options.self_check => self_check(options),
        None => fuzz(options),
    }
}

/// Runs the litmus programs; whoever cannot trust the memory model need not look further.
fn self_test() -> bool {
    let start = Instant::now();
    let shown = litmus::self_test();
    let wrong: Vec<_> = shown.iter().filter(|shown| !shown.is_right()).collect();
    for shown in &wrong {
        eprintln!(
            "the memory model is wrong: {} has to come to {:?}, and comes to {:?}",
            shown.name, shown.expected, shown.seen
        );
    }
    let executions: u64 = shown.iter().map(|shown| shown.executions).sum();
    say!(
        "self-test: {} litmus programs, {} right, {executions} executions, {:.1} s",
        shown.len(),
        shown.len() - wrong.len(),
        start.elapsed().as_secs_f64()
    );
    wrong.is_empty()
}

fn replay(options: &Options, file: &ScheduleFile) -> bool {
    let strategy = Replay::new(file.shared_program(), file.choices.clone());
    let size = Size { threads: 2, operations: 1 };
    let outcome = campaign(Box::new(strategy), size, 0, Limits::default(), &Arc::new(Board::default()));
    match outcome.finding {
        Some(finding) => {
            if let Some(mutation) = &file.mutation {
                say!("with {mutation}:\n");
            }
            say!("{}", show(&finding, file.mutation.as_deref(), page(), options.all_steps));
            false
        }
        None => {
            say!("nothing breaks; the file says: {}", file.failure);
            true
        }
    }
}

fn self_check(options: &Options) -> Result<bool, String> {
    let seed = options.seed.unwrap_or(1);
    let bites = teeth::bite(options.jobs(), options.size(), seed, |bite| {
        let found = bite.found.as_deref().map_or("MISSED", |found| found.lines().next().unwrap_or(found));
        say!(
            "{:<22} {:>8} executions {:>7.2} s  {}",
            bite.mutation,
            bite.executions,
            bite.time.as_secs_f64(),
            found.chars().take(90).collect::<String>()
        );
    })?;
    let found = bites.iter().filter(|bite| bite.found.is_some()).count();
    say!("{found} of {} mutations found", bites.len());
    Ok(found == bites.len())
}

/// A look at how far a campaign has come.
#[derive(Clone, Copy, Debug, Serialize)]
struct Sample {
    seconds: f64,
    counts: Counts,
}

/// What is written for machines.
#[derive(Serialize)]
struct Report {
    strategy: Kind,
    seed: u64,
    threads: usize,
    operations: usize,
    jobs: usize,
    mutation: Option<String>,
    seconds: f64,
    counts: Counts,
    /// "exhausted within bounds", "sampled", or "found".
    verdict: &'static str,
    /// Programs of which every execution within the bounds was run.
    programs_exhausted: u64,
    /// Coverage over time.
    samples: Vec<Sample>,
    finding: Option<ScheduleFile>,
    saved: Option<PathBuf>,
}

fn fuzz(options: &Options) -> Result<bool, String> {
    let seed = options.seed.unwrap_or_else(|| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        now.map_or(1, |now| now.as_secs())
    });
    let limits = match (options.iterations, options.duration) {
        (None, None) if options.programs.is_some() => Limits::default(),
        (None, None) => Limits { executions: None, duration: Some(Duration::from_secs(60)) },
        (executions, duration) => Limits { executions, duration },
    };
    let jobs = options.jobs();
    let start = Instant::now();
    let board = Arc::new(Board::default());
    let (outcomes, samples) = campaigns(options, seed, limits, jobs, &board)?;
    let seconds = start.elapsed().as_secs_f64();
    let counts = board.counts();
    let complete = outcomes.iter().all(|outcome| outcome.complete);
    let programs_exhausted = outcomes.iter().map(|outcome| outcome.exhausted).sum();
    say!(
        "{}  seed {seed}{}",
        line(&counts, seconds),
        if counts.cut_off > 0 { format!("  {} cut off", counts.cut_off) } else { String::new() }
    );
    let finding = outcomes.into_iter().find_map(|outcome| outcome.finding);
    let mut report = Report {
        strategy: options.strategy,
        seed,
        threads: options.size().threads,
        operations: options.size().operations,
        jobs,
        mutation: options.mutate.clone(),
        seconds,
        counts,
        verdict: if complete { "exhausted within bounds" } else { "sampled" },
        programs_exhausted,
        samples,
        finding: None,
        saved: None,
    };
    let clean = finding.is_none();
    if let Some(finding) = finding {
        report.verdict = "found";
        report_finding(options, finding, &mut report)?;
    } else {
        let within = if options.strategy == Kind::Exhaustive {
            let Bounds { preemptions, stale_reads } = options.bounds();
            format!(
                "; {programs_exhausted} programs exhausted within {preemptions} preemptions and {stale_reads} stale reads"
            )
        } else {
            String::new()
        };
        say!("nothing found ({}{within})", report.verdict);
    }
    if let Some(file) = &options.json {
        let json = serde_json::to_vec_pretty(&report).map_err(|error| error.to_string())?;
        std::fs::write(file, json).map_err(|error| format!("{}: {error}", file.display()))?;
    }
    Ok(clean)
}

fn report_finding(options: &Options, finding: Finding, report: &mut Report) -> Result<(), String> {
    say!("found: {}", finding.failure.message);
    let finding = if options.no_minimise {
        finding
    } else {
        say!("making it small …");
        minimise(finding, MINIMISE)
    };
    let file = ScheduleFile::new(&finding, options.mutate.as_deref());
    let saved = file.write(&options.save)?;
    say!("\n{}", show(&finding, options.mutate.as_deref(), page(), options.all_steps));
    say!("saved as {}; again: cargo fuzz-schedules --replay {}", saved.display(), saved.display());
    (report.finding, report.saved) = (Some(file), Some(saved));
    Ok(())
}

/// One campaign on each of so many threads of the system.
fn campaigns(
    options: &Options,
    seed: u64,
    limits: Limits,
    jobs: usize,
    board: &Arc<Board>,
) -> Result<(Vec<Outcome>, Vec<Sample>), String> {
    let limits = Limits { executions: limits.executions.map(|most| most.div_ceil(jobs as u64)), ..limits };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..jobs as u64)
            .map(|job| {
                scope.spawn(move || {
                    let seed = seed.wrapping_mul(1_000_003).wrapping_add(job);
                    let outcome = campaign(options.strategy(seed), options.size(), seed, limits, board);
                    if outcome.finding.is_some() {
                        board.stop();
                    }
                    outcome
                })
            })
            .collect();
        let samples = watch(board, || workers.iter().all(thread::ScopedJoinHandle::is_finished));
        let outcomes: Result<Vec<_>, _> = workers.into_iter().map(thread::ScopedJoinHandle::join).collect();
        Ok((outcomes.map_err(|_| "a campaign panicked".to_owned())?, samples))
    })
}

/// Shows how things stand until the campaigns are over; takes samples, ever more rarely.
fn watch(board: &Board, is_over: impl Fn() -> bool) -> Vec<Sample> {
    let (start, mut samples) = (Instant::now(), Vec::<Sample>::new());
    let mut stderr = std::io::stderr();
    let terminal = stderr.is_terminal();
    let mut shown = Instant::now();
    while !is_over() {
        thread::sleep(Duration::from_millis(20));
        let (counts, seconds) = (board.counts(), start.elapsed().as_secs_f64());
        if samples.last().is_none_or(|last| counts.executions >= 2 * last.counts.executions.max(1)) {
            samples.push(Sample { seconds, counts });
        }
        let due = if terminal { SHOW_EVERY } else { LINE_EVERY };
        if shown.elapsed() >= due {
            shown = Instant::now();
            let line = line(&counts, seconds);
            let _ = if terminal { write!(stderr, "\r\x1b[2K{line}") } else { writeln!(stderr, "{line}") };
            let _ = stderr.flush();
        }
    }
    if terminal {
        let _ = write!(stderr, "\r\x1b[2K");
    }
    samples.push(Sample { seconds: start.elapsed().as_secs_f64(), counts: board.counts() });
    samples
}

fn line(counts: &Counts, seconds: f64) -> String {
    let rate = counts.executions as f64 / seconds.max(0.001);
    format!(
        "{} executions in {seconds:.0} s ({rate:.0}/s), {} operations, {} steps; {} reads-from pairs, {} interleaving pairs",
        counts.executions, counts.operations, counts.steps, counts.reads_from, counts.interleavings
    )
}

/// Columns of the page.
pub(super) fn page() -> usize {
    terminal_size::terminal_size().map_or(PAGE, |(width, _)| usize::from(width.0))
}
