//! The buffer against what a user would pick instead, in one run.
//!
//! `cargo bench --bench buffer` prints, for every load, the median of several rounds and how far
//! they spread, for the product and for each peer, and the ratio of product to peer: above 1 the
//! product is better, below 1 it is worse, and that is marked. The peers run in turn within each
//! round, and the turn shifts from round to round, so that what else the machine does hits all. At the end it
//! says which of the requirements on the product hold, each with its worst cell.
//!
//! Memory is warm before a clock starts: the same threads have put the backlog through twice over, and
//! readers have read it.
//!
//! Read the numbers with the machine in mind: on few cores threads seldom meet, and a lock is rarely
//! found taken. What the tables of latencies show of the log that fills in place does not go away
//! with more cores, only with fewer threads.
//!
//! | option | |
//! |---|---|
//! | `--only PART,PART` | some of the loads |
//! | `--bytes N,N` | some of the lengths of frames |
//! | `--rounds N` | more or fewer rounds |
//! | `--json FILE` | everything that was measured, for machines |
//! | `--markdown FILE` | the tables, between the markers in that file |
//! | `--svg DIR` | curves over writers, readers and lengths of frames |
//!
//! `--quick` and `--test` run all of it once with very little to do; so does `cargo test --benches`.
#![allow(missing_docs)]

mod cells;
mod figures;
mod latency;
#[path = "../markers/mod.rs"]
mod markers;
mod options;
#[path = "../peers/mod.rs"]
mod peers;
mod roster;
#[path = "../rounds/mod.rs"]
mod rounds;
mod stops;
mod tables;
mod throughput;
mod verdict;

use std::thread;
use std::time::Instant;

use cells::Cell;
use options::{Options, Part};

/// What is kept behind the end, and what readers may lag before the writers wait for them.
const BACKLOG_BYTES: usize = 4 << 20;

/// A part of the benchmark: it returns what it measured, having printed it.
type Run = fn(&Options) -> Vec<Cell>;

const PARTS: [(Part, Run); 6] = [
    (Part::Append, throughput::append_by_writers),
    (Part::Beside, throughput::append_beside_readers),
    (Part::Read, throughput::read_alone),
    (Part::Lengths, throughput::over_lengths),
    (Part::Latency, latency::undisturbed),
    (Part::Stopped, latency::with_a_stopped_writer),
];

fn main() -> std::io::Result<()> {
    abort_on_panic();
    let options = Options::from_command_line();
    let begun = Instant::now();
    let cores = thread::available_parallelism().map_or(1, usize::from);
    println!("{} rounds on {cores} cores; median (least to most) of the rounds", options.rounds());
    let mut cells = Vec::new();
    for (part, run) in PARTS {
        if options.wants(part) {
            cells.extend(run(&options));
        }
    }
    println!();
    let verdict = verdict::lines(&cells);
    verdict.iter().for_each(|line| println!("{line}"));
    println!("\n{:.0} s in all", begun.elapsed().as_secs_f64());
    if let Some(file) = &options.json {
        std::fs::write(file, format!("{:#}\n", tables::json(&cells, options.rounds(), cores)))?;
    }
    if let Some(file) = &options.markdown {
        let head = format!("{} rounds on {cores} cores.\n", options.rounds());
        markers::replace(file, "buffer", &(head + &tables::markdown(&cells)))?;
        markers::replace(file, "verdict", &format!("```text\n{}\n```\n", verdict.join("\n")))?;
    }
    if let Some(directory) = &options.svg {
        figures::draw(directory, &cells)?;
    }
    Ok(())
}

/// The others would wait at a barrier for a thread that is gone.
fn abort_on_panic() {
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        print(panic);
        std::process::abort();
    }));
}
