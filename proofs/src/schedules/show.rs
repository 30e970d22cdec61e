//! A finding as a person would draw it: one column for each thread, time from top to bottom.

use std::collections::HashMap;
use std::fmt::Write;

use replcore::buffer::model::weak::{Access, Step};

use super::campaign::Finding;
use super::execute::{Event, Outcome};

/// Columns are this wide at least.
const LEAST_WIDTH: usize = 34;

/// The finding as text, for a page of so many columns.
#[must_use]
pub fn show(finding: &Finding, page: usize) -> String {
    let mut text = String::new();
    let failure = &finding.failure;
    let _ = writeln!(text, "{}", failure.message);
    let _ = writeln!(text, "  noticed by {} at {}\n", name(failure.thread), failure.place);
    let settings = &finding.program.settings;
    let _ = writeln!(
        text,
        "  segments of {} frames, {} bytes; blocks of {} frames; backlog {} bytes; {} spare of each; base {}{}",
        settings.segment_frames,
        settings.segment_bytes,
        settings.block_records,
        settings.backlog_bytes,
        settings.pooled,
        settings.base_offset,
        if settings.eras { "; an era for each retirement" } else { "" }
    );
    let others = finding.choices.iter().filter(|choice| **choice != 0).count();
    let _ = writeln!(
        text,
        "  {} operations, {} steps, {others} choices that are not plain (a thread left, an older store read)\n  \
         #n is a place in memory, @n an address; the collector's own steps are left out\n",
        finding.program.len(),
        finding.trace.len()
    );
    Table::new(finding, page).write(&mut text);
    let _ = writeln!(text, "\n{}", failure.message);
    text
}

fn name(thread: usize) -> String {
    if thread == 0 { "main".to_owned() } else { format!("thread {thread}") }
}

/// A word of the collector, which no site of the buffer names.
fn is_bookkeeping(step: &Step) -> bool {
    step.place.file().ends_with("adversary.rs")
}

struct Table<'f> {
    finding: &'f Finding,
    threads: usize,
    width: usize,
    names: HashMap<u64, usize>,
}

impl<'f> Table<'f> {
    fn new(finding: &'f Finding, page: usize) -> Self {
        let threads = finding.trace.iter().map(|step| step.thread + 1).max().unwrap_or(1);
        let width = (page.saturating_sub(6) / threads).saturating_sub(2).max(LEAST_WIDTH);
        Self { finding, threads, width, names: HashMap::new() }
    }

    fn write(&mut self, text: &mut String) {
        let heads: Vec<_> = (0..self.threads).map(name).collect();
        self.row(text, "step", &heads);
        let rule = vec!["-".repeat(self.width); self.threads];
        self.row(text, "----", &rule);
        let trace = &self.finding.trace;
        // What main sets up before there is another thread, and tears down after, concerns nobody.
        let first = trace.iter().position(|step| matches!(step.access, Access::Spawn(_))).unwrap_or(0);
        let last = trace.iter().rposition(|step| step.thread != 0).map_or(trace.len(), |last| last + 1);
        let last = if self.finding.failure.thread == 0 { last } else { trace.len() };
        for (number, step) in trace.iter().enumerate().take(last).skip(first) {
            if is_bookkeeping(step) {
                continue;
            }
            let (what, place) = self.cell(step);
            let mut cells = vec![String::new(); self.threads];
            cells[step.thread] = what;
            self.row(text, &number.to_string(), &cells);
            if !place.is_empty() {
                cells[step.thread] = place;
                self.row(text, "", &cells);
            }
        }
        if last < trace.len() {
            let _ = writeln!(text, "  … main takes down and judges: {} steps", trace.len() - last);
        }
    }

    fn row(&self, text: &mut String, head: &str, cells: &[String]) {
        let mut line = format!("{head:>5}");
        for cell in cells {
            let cell: String = cell.chars().take(self.width).collect();
            let _ = write!(line, "  {cell:<width$}", width = self.width);
        }
        let _ = writeln!(text, "{}", line.trim_end());
    }

    /// What a step did, and where in the code.
    fn cell(&mut self, step: &Step) -> (String, String) {
        let row = step.row.unwrap_or("-");
        let what = match step.access {
            Access::Mark(mark) => return (self.mark(step.thread, mark), String::new()),
            Access::Spawn(thread) => return (format!("start {}", name(thread)), String::new()),
            Access::Join(thread) => return (format!("wait for {}", name(thread)), String::new()),
            Access::Fence => format!("{row} fence"),
            _ => self.values(step, row),
        };
        let file = step.place.file().rsplit("src/").next().unwrap_or_default().trim_start_matches("buffer/");
        (what, format!("  {file}:{} {:?}", step.place.line(), step.order))
    }

    fn values(&mut self, step: &Step, row: &str) -> String {
        let read = step.read.map(|value| self.value(value));
        let wrote = step.wrote.map(|value| self.value(value));
        let age = if step.age > 0 { format!(" ({} behind)", step.age) } else { String::new() };
        let values = match (read, wrote) {
            (Some(read), Some(wrote)) => format!("{read} -> {wrote}"),
            (Some(read), None) => format!("= {read}{age}"),
            (None, Some(wrote)) => format!(":= {wrote}"),
            (None, None) => String::new(),
        };
        let refused = if step.access == Access::Refused { "refused " } else { "" };
        format!("{row} #{} {refused}{values}", step.location)
    }

    /// The begin or the end of an operation of the program.
    fn mark(&self, thread: usize, mark: u32) -> String {
        let (operation, ends) = ((mark >> 1) as usize, mark & 1 == 1);
        let Some(program) = thread.checked_sub(1) else { return String::new() };
        let operations = self.finding.program.threads.get(program);
        let Some(what) = operations.and_then(|operations| operations.get(operation)) else {
            return String::new();
        };
        if !ends {
            return format!("> {what}");
        }
        let done = |event: &&Event| (event.thread, event.operation) == (program, operation);
        let outcome = self.finding.history.events.iter().find(done).map(|event| answer(&event.outcome));
        format!("< {}", outcome.unwrap_or_default())
    }

    /// Small numbers as they are; addresses by names, in the order in which they turn up; what cannot be
    /// an address, as a slot's marks, in hexadecimal.
    fn value(&mut self, value: u64) -> String {
        if value < 1 << 20 {
            return value.to_string();
        }
        if value >= 1 << 47 {
            return format!("{value:x}");
        }
        let next = self.names.len();
        format!("@{}", self.names.entry(value).or_insert(next))
    }
}

/// What came of a call, in a few words.
#[must_use]
pub fn answer(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Appended(_, Ok(range)) => format!("{}..{}", range.start, range.end),
        Outcome::Appended(_, Err(error)) => error.to_string(),
        Outcome::Sealed(term, Ok(at)) => format!("term {term} sealed at {at}"),
        Outcome::Sealed(_, Err(error)) => error.to_string(),
        Outcome::Attached(_, Ok(cursor)) => format!("cursor {cursor}"),
        Outcome::Attached(_, Err(error)) => error.to_string(),
        Outcome::Looked(look) if look.evicted => format!("evicted at {}", look.offset),
        Outcome::Looked(look) if look.nothing => format!("nothing at {}", look.offset),
        Outcome::Looked(look) => format!("at {}", look.offset),
        Outcome::Enforced(evicted) => format!("{evicted} evicted"),
        Outcome::Numbers(stats) => format!("{} to {}", stats.first_offset, stats.end_offset),
        Outcome::Done => "done".to_owned(),
    }
}
