//! Hashes whose fields expire, against what a user would pick instead and against Valkey, in one run.
//!
//! `cargo bench --bench hash_ttl` prints tables. The first line of each is the product; every other one is a
//! peer, with its ratio to the product: above 1 the product is better, below 1 it is worse, and that is
//! marked with `<`. All that was lost is listed once more at the end. A number is the median of the rounds,
//! with the least and the most; peers run in turn within each round, and the turn shifts from round to round.
//!
//! # The module by itself
//!
//! | part | what is compared |
//! |---|---|
//! | `index` | [`DeadlineIndex`](replcore::hash_ttl::DeadlineIndex) alone: numbers by deadline |
//! | `hash` | [`Hash`](replcore::hash_ttl::Hash): names, values and deadlines |
//! | `read` | what hiding costs a read: of a live field, a dead one, one without deadline beside some, and in a hash without any |
//! | `lateness` | a reclaim each millisecond: how long a due thing stays, and the longest reclaim |
//! | `memory` | bytes that a field takes, as asked of the allocator |
//!
//! The peers of the index are a `BTreeSet` of deadlines and keys, a `BinaryHeap` that forgets lazily, and the
//! hierarchical wheel of `hierarchical_hash_wheel_timer`: the one crate of its kind that is maintained, needs
//! no runtime or thread of its own, and lets its user drive the clock and cancel. Its tick is a millisecond,
//! the product's resolution. Where a peer needs each thing's deadline to find it again, it is given a vector
//! of them; the product, a vector of its slots. The peers of the hash are a `HashMap` with the product's
//! hasher beside the same three, which share the name by reference count. All copy names and values. All do
//! the same steps from the same script, and each step is checked: what is due is reclaimed, no more.
//!
//! Nanoseconds are those during which the thread had a core, so that what else the machine does counts
//! little. One allocator, which counts, serves all.
//!
//! The peers are unlike the product in one thing: no peer bounds the work of one reclaim.
//!
//! # The server
//!
//! | part | what is compared |
//! |---|---|
//! | `throughput` | commands a second over one connection, and time on a core that a command costs the server, in user mode and in the system |
//! | `server-memory` | `MEMORY USAGE` with all samples, and what a fresh process grows by, for each field of 13 bytes with a value of 13 |
//! | `reclaim` | a million fields due in the same millisecond: until `DBSIZE` is 0, server time until then, and what a client that asks each millisecond waits |
//!
//! Both servers are child processes on the loopback with their default settings, without persistence and
//! replicas. The product writes its replication stream in any case, and Valkey without a replica does not:
//! that favours Valkey. The product uses all cores and Valkey one: compare the time on a core rather than
//! commands a second. The backlog is the same small size in both, for it is no memory of fields. Server time
//! of a reclaim contains what the questions of the benchmark cost, a thousand a second of one kind and two
//! hundred of another.
//!
//! `--only NAME,NAME` runs some of the parts, `--rounds N` more or fewer rounds. `--quick` and `--test` run
//! all of it once with very little to do; so does `cargo test --benches`.
#![allow(missing_docs)]

#[path = "../../tests/support/allocations.rs"]
mod allocations;
mod hashes;
mod indexes;
mod micro;
#[path = "../process/mod.rs"]
mod process;
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
    /// Rounds of each load; at most two of those with a million fields
    #[arg(long, default_value_t = 3)]
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
