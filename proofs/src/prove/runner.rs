//! Runs jobs: some side by side, some alone, and the self-test before anything.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use replcore_proofs::report::{Kind, Row, Verdict};

use super::deep;
use super::explorer::Explorer;
use super::job::{Job, Jobs, Work, reach};
use super::search::{self, Limit};
use super::suites::{self, Built, Suite};
use super::unbounded;
use replcore_proofs::options::{Common, Tier};

/// What was run, and how many were not.
#[derive(Debug, Default)]
pub struct Ran {
    /// The rows, in the order of the jobs.
    pub rows: Vec<Row>,
    /// Jobs that were left out.
    pub not_run: usize,
}

/// Runs jobs, and shows on a terminal which.
#[derive(Debug)]
pub struct Runner<'a> {
    common: &'a Common,
    explorer: Explorer<'a>,
    stop: &'a AtomicBool,
    shown: Shown,
}

impl<'a> Runner<'a> {
    /// A runner of `total` jobs. `stop` ends what runs when it is set.
    ///
    /// # Errors
    /// If this program cannot tell where it is.
    pub fn new(common: &'a Common, total: usize, stop: &'a AtomicBool) -> Result<Self, String> {
        Ok(Self { common, explorer: Explorer::new(common, stop)?, stop, shown: Shown::new(total) })
    }

    /// Runs all of them.
    ///
    /// # Errors
    /// If one cannot be run. That says nothing about what it would have shown.
    pub fn run(&self, jobs: Jobs) -> Result<Ran, String> {
        let mut ran = Ran::default();
        let exact = self.side_by_side(jobs.self_tests, &mut ran)?;
        if !exact || ran.rows.iter().any(|row| row.verdict == Verdict::Inexact) {
            ran.not_run += jobs.parallel.len() + jobs.alone.len();
            return Ok(ran);
        }
        if !self.side_by_side(jobs.parallel, &mut ran)? {
            ran.not_run += jobs.alone.len();
            return Ok(ran);
        }
        self.alone(jobs.alone, &mut ran)?;
        Ok(ran)
    }

    /// Runs jobs of a core each; false if it stopped before the end.
    fn side_by_side(&self, jobs: Vec<Job>, ran: &mut Ran) -> Result<bool, String> {
        let total = jobs.len();
        let queue = Mutex::new(jobs.into_iter().enumerate().collect::<VecDeque<_>>());
        let done = Mutex::new(BTreeMap::new());
        let worker = || -> Result<(), String> {
            while !self.stop.load(Ordering::Relaxed) {
                let next = lock(&queue).pop_front();
                let Some((index, job)) = next else { break };
                let Some(row) = self.run_one(job, 1, &Built::default()).inspect_err(|_| self.halt())? else {
                    continue;
                };
                match row {
                    Turn::Over(row) => {
                        self.judge(&row);
                        lock(&done).insert(index, *row);
                    }
                    Turn::Again(job) => lock(&queue).push_back((index, *job)),
                }
            }
            Ok(())
        };
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..self.common.threads()).map(|_| scope.spawn(worker)).collect();
            workers
                .into_iter()
                .map(|worker| worker.join().unwrap_or_else(|_| Err("a worker panicked".to_owned())))
                .collect::<Result<Vec<()>, String>>()
        })?;
        let done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
        ran.not_run += total - done.len();
        ran.rows.extend(done.into_values());
        Ok(!self.stop.load(Ordering::Relaxed))
    }

    /// Runs jobs that use all cores.
    fn alone(&self, jobs: Vec<Job>, ran: &mut Ran) -> Result<(), String> {
        let suites: Vec<_> = jobs.iter().filter_map(suite).collect();
        let mut built = None;
        for job in jobs {
            if self.stop.load(Ordering::Relaxed) {
                ran.not_run += 1;
                continue;
            }
            if suite(&job).is_some() && built.is_none() {
                self.shown.begin("building the tests of the normal build");
                built = Some(suites::build(&suites)?);
                self.shown.end("building the tests of the normal build", false);
            }
            let nothing = Built::default();
            match self.run_one(job, self.common.threads(), built.as_ref().unwrap_or(&nothing))? {
                Some(Turn::Over(row)) => {
                    self.judge(&row);
                    ran.rows.push(*row);
                }
                _ => ran.not_run += 1,
            }
        }
        Ok(())
    }

    fn judge(&self, row: &Row) {
        if self.common.fail_fast && !row.is_good() {
            self.halt();
        }
    }

    fn halt(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Runs a job; none if it was stopped.
    fn run_one(&self, job: Job, threads: usize, built: &Built) -> Result<Option<Turn>, String> {
        let name = job.row.name.clone();
        self.shown.begin(&name);
        let turn = self.turn(job, threads, built);
        let over = matches!(turn, Ok(Some(Turn::Over(_))));
        self.shown.end(&name, over);
        turn
    }

    fn turn(&self, job: Job, threads: usize, built: &Built) -> Result<Option<Turn>, String> {
        let seconds = self.common.seconds();
        let row = match &job.work {
            Work::Explore(exploration) if self.common.tier == Tier::Deep && job.row.kind == Kind::Model => {
                return deep::turn(&self.explorer, exploration.clone(), job, seconds);
            }
            Work::Explore(exploration) => self.explorer.row(exploration, job.row)?,
            Work::Catch { candidates, excuse } => {
                self.explorer.catch(candidates, excuse.as_deref(), job.row)?
            }
            Work::Search { scenario, exhibit } => {
                let limit = Limit { seconds, kept: &self.explorer.kept };
                Some(search::run(job.row, scenario, *exhibit, reach(self.common.tier), threads, limit)?)
            }
            Work::Unbounded(part) => unbounded::run(*part, job.row, threads, seconds, self.stop)?,
            Work::Suite { suite, cases } => {
                // A suite is bounded by its cases.
                let row = suites::run(suite, job.row, *cases, self.common.max_seconds, built, self.stop)?;
                (!self.stop.load(Ordering::Relaxed)).then_some(row)
            }
        };
        Ok(row.map(|row| Turn::Over(Box::new(row))))
    }
}

fn suite(job: &Job) -> Option<&'static Suite> {
    match job.work {
        Work::Suite { suite, .. } => Some(suite),
        _ => None,
    }
}

/// What a turn of a job came to.
#[derive(Debug)]
pub enum Turn {
    /// Its row.
    Over(Box<Row>),
    /// It goes on when the others have had theirs.
    Again(Box<Job>),
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What runs now, on a terminal. In a pipe it says nothing.
#[derive(Debug)]
struct Shown {
    bar: ProgressBar,
    running: Mutex<Vec<String>>,
    done: AtomicUsize,
}

impl Shown {
    fn new(total: usize) -> Self {
        let bar = ProgressBar::new(total as u64);
        if let Ok(style) = ProgressStyle::with_template("{pos}/{len} [{elapsed_precise}] {bar:20} {wide_msg}")
        {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(250));
        Self { bar, running: Mutex::default(), done: AtomicUsize::new(0) }
    }

    fn begin(&self, name: &str) {
        lock(&self.running).push(name.to_owned());
        self.show();
    }

    fn end(&self, name: &str, over: bool) {
        let mut running = lock(&self.running);
        if let Some(at) = running.iter().position(|known| known == name) {
            running.remove(at);
        }
        drop(running);
        if over {
            self.done.fetch_add(1, Ordering::Relaxed);
        }
        self.show();
    }

    fn show(&self) {
        self.bar.set_position(self.done.load(Ordering::Relaxed) as u64);
        self.bar.set_message(lock(&self.running).join(", "));
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
