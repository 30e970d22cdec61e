//! How many instructions the buffer's operations take: a figure that a busy machine does not change.
//!
//! `cargo bench --bench instructions --no-default-features` runs every operation under callgrind and compares
//! with the figures in `benches/instructions/figures.toml`. It fails if one of them is off by more than 3 %, up
//! or down, with a table that says which. With `-- --update` it writes the figures anew. Without the default
//! features, because what is counted is the core: how the compiler inlines it should not depend on the server.
//!
//! Each operation runs in a process of its own, N times and then 2 N times; the difference divided by
//! N is the figure, so that what happens once is not in it. Needs valgrind.
//!
//! `--quick` and `--test` run each operation once, without valgrind and uncounted; so does
//! `cargo test --benches`.
#![allow(missing_docs)]

mod callgrind;
mod figures;
mod operations;

use std::process::ExitCode;

use thiserror::Error;

use callgrind::CallgrindError;
use figures::{Figures, FiguresError, Verdict};
use operations::OPERATIONS;

/// A figure may be off by so much, up or down: compilers' whims stay below, a change of the code that
/// somebody should know of does not.
const TOLERANCE: f64 = 0.03;
/// How the program calls itself under callgrind.
const RUN: &str = "--run";

#[derive(Debug, Error)]
enum Failure {
    #[error("unknown argument {0}: there are --update, --quick and --test")]
    UnknownArgument(String),
    #[error("{RUN} takes an operation and how many times to run it")]
    NothingToRun,
    #[error("no such operation: {0}")]
    NoSuchOperation(String),
    #[error(transparent)]
    Callgrind(#[from] CallgrindError),
    #[error(transparent)]
    Figures(#[from] FiguresError),
    #[error(
        "{count} of {all} figures do not agree within {percent:.0} %. If that is meant, renew them:\n    \
         cargo bench --bench instructions --no-default-features -- --update",
        percent = TOLERANCE * 100.0
    )]
    Off { count: usize, all: usize },
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match act(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("\ninstructions: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn act(arguments: &[String]) -> Result<(), Failure> {
    if let [first, rest @ ..] = arguments
        && first == RUN
    {
        return run_one(rest);
    }
    let has = |wanted: &str| arguments.iter().any(|argument| argument == wanted);
    // Cargo passes `--bench` to a benchmark. To a test it passes nothing but what is meant for the
    // tests' own harness.
    if has("--quick") || has("--test") || !has("--bench") {
        run_all_once();
        return Ok(());
    }
    if let Some(unknown) =
        arguments.iter().find(|argument| !["--bench", "--update"].contains(&argument.as_str()))
    {
        return Err(Failure::UnknownArgument(unknown.clone()));
    }
    if has("--update") { update() } else { check() }
}

/// What runs under callgrind.
fn run_one(arguments: &[String]) -> Result<(), Failure> {
    let [name, times] = arguments else { return Err(Failure::NothingToRun) };
    let times = times.parse().map_err(|_| Failure::NothingToRun)?;
    let operation = OPERATIONS.iter().find(|operation| operation.name == name);
    let operation = operation.ok_or_else(|| Failure::NoSuchOperation(name.clone()))?;
    (operation.run)(times);
    Ok(())
}

fn run_all_once() {
    for operation in OPERATIONS {
        (operation.run)(1);
        println!("{}: ran once, not counted", operation.name);
    }
}

fn update() -> Result<(), Failure> {
    let figures = measure()?;
    figures.write()?;
    for (name, count) in &figures.counts {
        println!("  {name:<26}{count:>12.2}");
    }
    println!("written to {}", figures::PATH);
    Ok(())
}

fn check() -> Result<(), Failure> {
    let committed = Figures::read()?;
    let here = Figures::of_this_machine()?;
    // Before anything is measured: figures of another architecture say nothing about this one.
    committed.check_architecture(&here)?;
    for difference in committed.other_tools(&here) {
        println!("note: {difference}; figures can differ by that alone");
    }
    let measured = measure()?;
    let rows = committed.compare(&measured, TOLERANCE);
    println!("\n  {:<26}{:>12}{:>12}{:>10}", "instructions", "committed", "now", "change");
    for row in &rows {
        println!("{row}");
    }
    let count = rows.iter().filter(|row| row.verdict != Verdict::Within).count();
    if count > 0 { Err(Failure::Off { count, all: rows.len() }) } else { Ok(()) }
}

fn measure() -> Result<Figures, Failure> {
    let mut figures = Figures::of_this_machine()?;
    for operation in OPERATIONS {
        // As the file has it, so that equal figures show no difference.
        let count = (callgrind::instructions(operation)? * 100.0).round() / 100.0;
        figures.counts.insert(operation.name.to_owned(), count);
        println!("{}: counted ({})", operation.name, operation.what);
    }
    figures.counts.extend(operations::derived(&figures.counts));
    Ok(figures)
}
