//! A finding as a person would draw it, by the means of [`drawing`](crate::drawing): a column for each
//! thread, time from top to bottom, and in it also where the operations of the program begin and end.

use std::fmt::Write;

use replcore_checkers::weak;
use replcore_checkers::weak::{Access, MAX_THREADS};

use super::campaign::Finding;
use super::execute::Outcome;
use crate::drawing::naming::{Raw, Thing, Value, name};
use crate::drawing::{Recorded, Step, Touch, columns, words};

/// The finding as text, for a page of so many columns. With `all_steps`, also those that matter little.
#[must_use]
pub fn show(finding: &Finding, mutation: Option<&str>, page: usize, all_steps: bool) -> String {
    let recorded = recorded(finding);
    let mut text = program(finding);
    let _ = writeln!(text, "\n{}", words::explained(&recorded).render().trim_end());
    for more in finding.failure.message.lines().skip(1) {
        let _ = writeln!(text, "{more}");
    }
    text.push('\n');
    text += &columns::draw(&recorded, mutation, page, all_steps);
    text
}

/// What was run.
fn program(finding: &Finding) -> String {
    let settings = &finding.program.settings;
    let mut text = format!(
        "segments of {} frames and {} bytes, {} blocks and contexts, a backlog of {} bytes, {} spare of each, from offset {}{}\n",
        settings.segment_frames,
        settings.segment_bytes,
        settings.segment_blocks,
        settings.backlog_bytes,
        settings.pooled,
        settings.base_offset,
        if settings.eras { ", an era for each retirement" } else { "" }
    );
    for (number, operations) in finding.program.threads.iter().enumerate() {
        let operations: Vec<_> = operations.iter().map(ToString::to_string).collect();
        let _ = writeln!(text, "  {}: {}", thread(number + 1), operations.join("; "));
    }
    let others = finding.choices.iter().filter(|choice| **choice != 0).count();
    let choices = finding.choices.len();
    let _ = writeln!(
        text,
        "{others} of its choices leave a thread or read an older store; after {choices} all are plain"
    );
    text
}

/// What a thread is called, here and in what the judge says.
fn thread(number: usize) -> String {
    if number == 0 { "main".to_owned() } else { format!("thread {number}") }
}

/// The execution as drawings know it.
#[must_use]
pub fn recorded(finding: &Finding) -> Recorded {
    record(told(finding), &finding.failure, |step, mark| operation(finding, step.thread, mark))
}

/// An execution as drawings know it; `told` says what a mark in it means.
pub(super) fn record(
    trace: &[weak::Step],
    failure: &weak::Failure,
    told: impl Fn(&weak::Step, u32) -> Option<String>,
) -> Recorded {
    let shown: Vec<_> = trace.iter().filter(|step| !is_bookkeeping(step)).collect();
    let raw: Vec<_> = shown.iter().filter_map(|step| raw(step)).collect();
    let mut named = name(&raw).into_iter();
    let steps = shown.into_iter().filter_map(|step| match step.access {
        Access::Mark(mark) => said(step, told(step, mark)?),
        Access::Spawn(started) => said(step, format!("start {}", thread(started))),
        Access::Join(ended) => said(step, format!("wait for {}", thread(ended))),
        _ => named.next(),
    });
    Recorded {
        message: failure.message.lines().next().unwrap_or_default().to_owned(),
        place: Some(failure.place.clone()),
        thread: Some(failure.thread),
        threads: (0..MAX_THREADS).map(|number| (number, thread(number))).collect(),
        steps: steps.collect(),
    }
}

/// The steps that can have to do with it. What is wrong in a history was judged by main in the end, and what
/// main did to take down the buffer before that is no part of it.
fn told(finding: &Finding) -> &[weak::Step] {
    let trace = &finding.trace[..];
    let judged = finding.failure.place.contains("schedules/campaign.rs");
    let last = trace.iter().rposition(|step| step.thread != 0).map_or(trace.len(), |last| last + 1);
    if judged { &trace[..last] } else { trace }
}

/// A word of the collector, which no site of the buffer names; what it does is in the trace beside it.
fn is_bookkeeping(step: &weak::Step) -> bool {
    step.thing.is_some_and(|thing| thing.made.file().ends_with("checkers/src/weak/mod.rs"))
}

fn said(step: &weak::Step, did: String) -> Option<Step> {
    let thread = step.thread;
    Some(Step { thread, name: None, did, touches: None, touch: Touch::Order, place: None })
}

/// The begin or the end of an operation of the program.
fn operation(finding: &Finding, thread: usize, mark: u32) -> Option<String> {
    let (operation, ends) = ((mark >> 1) as usize, mark & 1 == 1);
    let program = thread.checked_sub(1)?;
    let what = finding.program.threads.get(program)?.get(operation)?;
    if !ends {
        return Some(format!("» {what}"));
    }
    let done = finding
        .history
        .events
        .iter()
        .find(|event| (event.thread, event.operation) == (program, operation))?;
    Some(format!("« {}", answer(&done.outcome)))
}

/// A step as namings know it; nothing if it touches nothing.
fn raw(step: &weak::Step) -> Option<Raw> {
    let value = |number: u64| match step.thing.and_then(|thing| thing.points_to) {
        Some(pointee) => Value::Pointer {
            address: number as usize,
            type_name: pointee.type_name.to_owned(),
            size: pointee.size_bytes,
        },
        None => Value::Number(number),
    };
    let (read, wrote) = (step.read.unwrap_or_default(), step.wrote.unwrap_or_default());
    let (verb, arguments, result) = match step.access {
        Access::Load => ("load", vec![], value(read)),
        Access::Store => ("store", vec![value(wrote)], Value::Nothing),
        Access::Exchange => match step.method {
            "fetch_add" => (step.method, vec![Value::Number(wrote.wrapping_sub(read))], value(read)),
            "fetch_sub" => (step.method, vec![Value::Number(read.wrapping_sub(wrote))], value(read)),
            "compare_exchange" => {
                (step.method, vec![value(read), value(wrote)], Value::Done(Box::new(value(read))))
            }
            method => (method, vec![value(wrote)], value(read)),
        },
        Access::Refused => {
            let expected = step.expected.unwrap_or_default();
            ("compare_exchange", vec![value(expected), value(wrote)], Value::Refused(Box::new(value(read))))
        }
        Access::Fence => ("fence", vec![Value::Order(format!("{:?}", step.order))], Value::Nothing),
        Access::Use => ("use", vec![], Value::Nothing),
        Access::Free => ("free", vec![], Value::Nothing),
        Access::Collector(weak::Action::Pin) => ("pin", vec![], Value::Nothing),
        Access::Collector(weak::Action::Unpin) => ("unpin", vec![], Value::Nothing),
        Access::Collector(weak::Action::Defer { waits_for }) => {
            ("retire", vec![Value::Number(waits_for as u64)], Value::Nothing)
        }
        Access::Collector(weak::Action::RunDeferred) => ("run retired", vec![], Value::Nothing),
        Access::Mark(_) | Access::Spawn(_) | Access::Join(_) => return None,
    };
    Some(Raw {
        thread: step.thread,
        names: step.row.iter().map(ToString::to_string).collect(),
        place: Some(format!("{}:{}", file_of(step.place.file()), step.place.line())),
        verb: verb.to_owned(),
        thing: step.thing.map(|thing| Thing {
            address: thing.address,
            birth: thing.birth,
            made_in: file_of(thing.made.file()).trim_end_matches(".rs").to_owned(),
        }),
        arguments,
        result,
    })
}

/// The last part of a path; of what is called as many others are, the last two.
fn file_of(path: &str) -> &str {
    let parts = if path.ends_with("/mod.rs") { 2 } else { 1 };
    let slashes = path.rmatch_indices('/').map(|(at, _)| at + 1);
    slashes.take(parts).last().map_or(path, |at| &path[at..])
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
