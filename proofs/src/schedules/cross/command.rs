//! `cargo fuzz-schedules cross-check`: picks models, explores them on several threads of the system, and
//! reports.

use std::collections::BTreeSet;
use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use replcore::buffer::model::restore;

use super::{Broken, Explored, Goal, Verdict, explore, unfit};
use crate::drawing::{columns, words};
use crate::model::Model;
use crate::model::mutate;
use crate::models;
use crate::schedules::command::page;
use crate::schedules::show::record;
use crate::schedules::strategy::Bounds;

/// Runs the models of `cargo prove` under this explorer too, and compares.
///
/// Each model is explored whole within the bounds. If an outcome that it lists was not seen there, they are
/// raised until it is, or the time is up.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// The model of this name, or the models whose names contain it [default: all].
    filter: Option<String>,
    /// Preemptions of an execution.
    #[arg(long, default_value_t = 1, value_name = "N")]
    preemptions: usize,
    /// Stale reads of an execution.
    #[arg(long, default_value_t = 1, value_name = "N")]
    stale_reads: usize,
    /// Time for one model.
    #[arg(long, default_value_t = 60, value_name = "S")]
    max_seconds: u64,
    /// Threads of the system [default: one for each core].
    #[arg(long, short)]
    jobs: Option<usize>,
    /// Switches a weaker ordering (ROW=Weaker) or a fault on: now a model has to break.
    #[arg(long, value_name = "MUTATION")]
    mutate: Option<String>,
    /// Then switches on each mutation that a model has to catch, one at a time, and fails unless it does.
    #[arg(long, conflicts_with = "mutate")]
    controls: bool,
}

impl Options {
    fn bounds(&self) -> Bounds {
        Bounds { preemptions: self.preemptions, stale_reads: self.stale_reads }
    }

    fn jobs(&self) -> usize {
        self.jobs.unwrap_or_else(|| thread::available_parallelism().map_or(2, usize::from)).max(1)
    }
}

/// Prints a line; whoever reads it may have seen enough.
macro_rules! say {
    ($($text:tt)*) => {
        let _ = writeln!(std::io::stdout(), $($text)*);
    };
}

/// Compares. Whether all agree.
///
/// # Errors
/// If there is no such model or mutation.
pub fn run(options: &Options) -> Result<bool, String> {
    let wanted = options.filter.as_deref().unwrap_or("");
    let mut chosen = models::all();
    // A whole name means that model, though it be a part of another's.
    let is_name = chosen.iter().any(|model| model.name == wanted);
    chosen.retain(|model| if is_name { model.name == wanted } else { model.name.contains(wanted) });
    if chosen.is_empty() {
        return Err(format!("no model's name contains {wanted:?}"));
    }
    if let Some(mutation) = &options.mutate {
        mutate(mutation)?;
    }
    let (unfitting, models): (Vec<_>, Vec<_>) = chosen.into_iter().partition(|model| unfit(model).is_some());
    for model in &unfitting {
        say!("{:<30} not run     {}", model.name, unfit(model).unwrap_or_default());
    }
    let explored = explore_all(options, &models, Goal::Outcomes, row);
    if let [(_, Explored { verdict: Verdict::Breaks(broken), .. })] = &explored[..] {
        say!("\n{}", draw(broken, options.mutate.as_deref()));
    }
    let (caught, controls) = if options.controls { catch(options, &models)? } else { (0, 0) };
    let count = |which: fn(&Verdict) -> bool| explored.iter().filter(|(_, one)| which(&one.verdict)).count();
    let agree = count(|verdict| matches!(verdict, Verdict::Agrees));
    let unfinished = count(|verdict| matches!(verdict, Verdict::Unfinished));
    let executions: u64 = explored.iter().map(|(_, one)| one.executions).sum();
    if options.controls {
        say!("{caught} of {controls} mutations caught");
    }
    say!(
        "{agree} of {} models agree under the second explorer, {} differ, {unfinished} unfinished, {} not run; {executions} executions",
        models.len(),
        explored.len() - agree - unfinished,
        unfitting.len()
    );
    Ok(agree == models.len() && caught == controls)
}

/// Lets the models catch what they have to. Says how many mutations they caught, of how many.
fn catch(options: &Options, models: &[&'static Model]) -> Result<(usize, usize), String> {
    let mutations: BTreeSet<_> = models.iter().flat_map(|model| model.controls).collect();
    let (mut caught, mut all) = (0, 0);
    for mutation in mutations {
        let has_to = |model: &&&'static Model| model.controls.contains(mutation);
        let catching: Vec<_> = models.iter().filter(has_to).copied().collect();
        mutate(mutation)?;
        let explored = explore_all(options, &catching, Goal::Break, |model, explored| {
            control_row(model, mutation, explored)
        });
        restore();
        all += explored.len();
        caught += explored.iter().filter(|(_, one)| matches!(one.verdict, Verdict::Breaks(_))).count();
    }
    Ok((caught, all))
}

/// Explores every model, and prints each when it is done.
fn explore_all(
    options: &Options,
    models: &[&'static Model],
    goal: Goal,
    row: impl Fn(&Model, &Explored) -> String + Sync,
) -> Vec<(&'static Model, Explored)> {
    let time = Duration::from_secs(options.max_seconds);
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..options.jobs().min(models.len()) {
            scope.spawn(|| {
                while let Some(model) = models.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let explored = explore(model, options.bounds(), time, goal);
                    say!("{}", row(model, &explored));
                    done.lock().unwrap_or_else(PoisonError::into_inner).push((*model, explored));
                }
            });
        }
    });
    done.into_inner().unwrap_or_else(PoisonError::into_inner)
}

fn row(model: &Model, explored: &Explored) -> String {
    let (verdict, why) = match &explored.verdict {
        Verdict::Agrees => ("agrees", String::new()),
        Verdict::Breaks(broken) => ("differs", says(broken)),
        Verdict::Unseen(unseen) => ("differs", format!("never seen: {}", unseen.join(", "))),
        Verdict::Unfinished => ("UNFINISHED", "the time was up".to_owned()),
    };
    let outcomes: Vec<_> = explored.outcomes.iter().map(|(name, count)| format!("{name} {count}")).collect();
    format!("{}  [{}] {why}", figures(model, verdict, explored), outcomes.join(", "))
}

/// What every row begins with.
fn figures(model: &Model, verdict: &str, explored: &Explored) -> String {
    format!(
        "{:<30} {verdict:<10} {:>8} executions {:>6.1} s  {} preemptions, {} stale reads",
        model.name,
        explored.executions,
        explored.time.as_secs_f64(),
        explored.bounds.preemptions,
        explored.bounds.stale_reads,
    )
}

/// What broke, in a line.
fn says(broken: &Broken) -> String {
    let failure = &broken.failure;
    format!(
        "breaks in thread {} at {}: {}",
        failure.thread,
        failure.place,
        failure.message.lines().next().unwrap_or_default()
    )
}

fn control_row(model: &Model, mutation: &str, explored: &Explored) -> String {
    let (verdict, why) = match &explored.verdict {
        Verdict::Breaks(broken) => ("caught", says(broken)),
        Verdict::Unfinished => ("UNFINISHED", "the time was up".to_owned()),
        Verdict::Agrees | Verdict::Unseen(_) => ("MISSED", String::new()),
    };
    format!("{}  {mutation}: {why}", figures(model, verdict, explored))
}

/// The execution that broke, a column for each thread.
fn draw(broken: &Broken, mutation: Option<&str>) -> String {
    let recorded = record(&broken.trace, &broken.failure, |_, _| None);
    let explained = words::explained(&recorded).render();
    format!("{}\n\n{}", explained.trim_end(), columns::draw(&recorded, mutation, page(), false))
}
