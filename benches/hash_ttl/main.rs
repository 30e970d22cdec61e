//! Hashes whose fields expire, against what a user would pick instead and against Valkey, in one run.
#![allow(missing_docs)]

#[path = "../../tests/support/allocations.rs"]
mod allocations;
mod hashes;
mod indexes;
mod micro;
mod report;
#[path = "../rounds/mod.rs"]
mod rounds;
mod servers;
#[path = "../../tests/support/mod.rs"]
mod support;

use std::time::Instant;

use clap::{Parser, ValueEnum};
use report::Report;

#[global_allocator]
static ALLOCATOR: allocations::Counting = allocations::Counting;

/// Numbers of fields.
const SIZES: [usize; 5] = [10, 100, 10_000, 100_000, 1_000_000];

/// Measures hashes whose fields expire.
#[derive(Parser)]
struct Options {
    /// Run everything once with very little to do
    #[arg(long)]
    quick: bool,
    /// Run only these parts
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Part>,
    /// Rounds of each load; a third of them for a million fields
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Cargo passes it to a benchmark
    #[arg(long, hide = true)]
    bench: bool,
    /// As `--quick`
    #[arg(long, hide = true)]
    test: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// The index of deadlines by itself
    Index,
    /// The whole hash
    Hash,
    /// What hiding costs a read
    Read,
    /// How late a due thing goes
    Lateness,
    /// Memory of a field
    Memory,
    /// Commands a second of a server
    Throughput,
    /// Memory of a server, by field
    ServerMemory,
    /// A million fields due at once in a server
    Reclaim,
}

/// How much there is to do.
pub struct Plan {
    pub rounds: usize,
    pub most_things: usize,
}

impl Plan {
    /// The numbers of fields to measure at.
    pub fn sizes(&self) -> impl Iterator<Item = usize> {
        SIZES.into_iter().filter(|size| *size <= self.most_things)
    }

    /// By what the loads of servers are divided.
    pub fn divisor(&self) -> usize {
        SIZES[SIZES.len() - 1].div_ceil(self.most_things)
    }
}

fn main() {
    let options = Options::parse();
    // Cargo passes `--bench` to a benchmark, and nothing to a test.
    let quick = options.quick || options.test || !options.bench;
    let plan = if quick {
        Plan { rounds: 1, most_things: 1_000 }
    } else {
        Plan { rounds: options.rounds.max(1), most_things: usize::MAX }
    };
    let begun = Instant::now();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    println!("{} rounds on {cores} cores; median (least to most) of the rounds", plan.rounds);
    let mut report = Report::default();
    type Run = fn(&Plan, &mut Report);
    let parts: [(Part, Run); 8] = [
        (Part::Index, micro::index),
        (Part::Hash, micro::hash),
        (Part::Read, micro::read),
        (Part::Lateness, micro::lateness),
        (Part::Memory, micro::memory),
        (Part::Throughput, servers::throughput),
        (Part::ServerMemory, servers::memory),
        (Part::Reclaim, servers::reclaim),
    ];
    for (part, run) in parts {
        if options.only.is_empty() || options.only.contains(&part) {
            let begun = Instant::now();
            run(&plan, &mut report);
            println!("\n({:.0} s)", begun.elapsed().as_secs_f64());
        }
    }
    report.print_losses();
    println!("\n{:.0} s in all", begun.elapsed().as_secs_f64());
}
