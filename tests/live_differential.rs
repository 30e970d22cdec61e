//! Every data command against a real Valkey 9.1.2: the same replies, the same replication stream. See [`differential`].
//!
//! ```text
//! cargo test --test live_differential -- --seed 7 --iterations 200000
//! ```

mod differential;
mod support;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use clap::Parser;
use libtest_mimic::{Arguments as TestArguments, Failed, Trial};
use replcore::resp::Reply;

use differential::arguments::Payloads;
use differential::commands::Commands;
use differential::counts::Counts;
use differential::pair::{Difference, Pair, show};
use differential::sequence::{Limits, Step, generate};
use differential::shrink::shrink;
use support::client::argv;
use support::{Scratch, note};

/// Compares this server with a real Valkey; also takes what `cargo test` passes to every test program.
#[derive(Clone, Debug, Parser)]
struct Options {
    /// Where the random choices begin.
    #[arg(long, default_value_t = 20_260_101)]
    seed: u64,
    /// How many commands to run.
    #[arg(long, default_value_t = ENOUGH)]
    iterations: usize,
    /// How many commands to a sequence: each begins with empty keyspaces.
    #[arg(long, default_value_t = 400)]
    length: usize,
    /// How many differences to report before giving up.
    #[arg(long, default_value_t = 5)]
    differences: usize,
    #[command(flatten)]
    libtest: TestArguments,
}

/// So many commands are enough to run each with success and to see it refused.
const ENOUGH: usize = 28_000;

fn main() -> ExitCode {
    let options = Options::parse();
    let mut libtest = options.libtest.clone();
    // The runs share two cores and report as they go.
    libtest.test_threads = Some(1);
    let trials =
        vec![Trial::test("replies_and_streams_are_those_of_valkey", move || random_sequences(&options))];
    libtest_mimic::run(&libtest, trials).exit_code()
}

/// What `RESTORE` is tried with: values of every type as Valkey serialises them, whole and broken.
fn payloads(pair: &mut Pair, commands: &Commands) -> Payloads {
    let client = &mut pair.theirs.control;
    let values = [
        argv!["SET", "p", "a string"],
        argv!["SET", "p", 12345],
        argv!["HSET", "p", "f1", "v", "n1", 7],
        argv!["RPUSH", "p", "a", 1, "b"],
        argv!["SADD", "p", 1, 2, 3],
        argv!["SADD", "p", "a", "b"],
        argv!["ZADD", "p", 1, "a", 2.5, "b"],
    ];
    let mut payloads = Vec::new();
    for value in values {
        if commands.name(&value).is_none() {
            continue;
        }
        client.call(value);
        let Reply::Bulk(payload) = client.call(argv!["DUMP", "p"]) else { panic!("DUMP answers a payload") };
        client.call(argv!["DEL", "p"]);
        payloads.push(payload);
    }
    let mut broken = payloads[0].to_vec();
    broken[1] ^= 1;
    payloads.extend([Bytes::from(broken), payloads[1].slice(..5), Bytes::new()]);
    Payloads(payloads)
}

fn random_sequences(options: &Options) -> Result<(), Failed> {
    let started = Instant::now();
    let scratch = Scratch::new("differential");
    let mut pair = Pair::start(&scratch);
    let commands = Commands::of(replcore::keyspace::commands().map(|spec| spec.name))?;
    let payloads = Arc::new(payloads(&mut pair, &commands));
    let mut counts = Counts::default();
    let mut reports: Vec<Report> = Vec::new();
    let sequences = options.iterations.div_ceil(options.length);
    for index in 0..sequences {
        let seed = options.seed.wrapping_add(index as u64);
        let steps = generate(&commands, seed, options.length, Limits::default(), Arc::clone(&payloads));
        if let Err(difference) = pair.run(&commands, &steps, usize::MAX, &mut counts) {
            let report = explain(&mut pair, &commands, seed, &steps, &difference);
            match reports.iter_mut().find(|known| known.shown_by == report.shown_by) {
                Some(known) => known.times += 1,
                None => {
                    note!("{}", report.text);
                    reports.push(report);
                }
            }
            if reports.len() == options.differences {
                break;
            }
        }
    }
    note!("{} commands in {:?}; succeeded+refused: {counts}", counts.total(), started.elapsed());
    for (what, times) in pair.exceptions.met() {
        note!("exception met {times} times: {what}");
    }
    let lacking = counts.lacking(commands.names());
    if !lacking.is_empty() {
        note!("{}", lacking.join(", "));
    }
    match reports.len() {
        0 if options.iterations >= ENOUGH && !lacking.is_empty() => Err(lacking.join(", ").into()),
        0 => Ok(()),
        differences => {
            let text = reports.iter().map(|report| format!("\n{} times: {}", report.times, report.text));
            Err(format!("{differences} differences:{}", text.collect::<String>()).into())
        }
    }
}

/// A difference, explained.
struct Report {
    /// The last command of the sequence that shows it: one report of each is enough.
    shown_by: Option<&'static str>,
    times: usize,
    text: String,
}

/// A difference with the shortest sequence that shows one.
fn explain(pair: &mut Pair, commands: &Commands, seed: u64, steps: &[Step], found: &Difference) -> Report {
    let mut last = None;
    let mut unused = Counts::default();
    let mut fails = |steps: &[Step]| match pair.run(commands, steps, 1, &mut unused) {
        Ok(()) => false,
        Err(difference) => {
            last = Some(difference);
            true
        }
    };
    let shown = &steps[..=found.step];
    if !fails(shown) {
        let text = format!("seed {seed}: seen once, not when sent one by one:\n{}", found.text);
        return Report { shown_by: None, times: 1, text };
    }
    let shortest = shrink(shown, fails);
    let sequence: Vec<String> =
        shortest.iter().map(|step| format!("  {}> {}", step.connection, show(&step.argv))).collect();
    let text = last.map_or_else(|| found.text.clone(), |difference| difference.text);
    let text = format!("seed {seed}: {} commands show it\n{}\n{text}", shortest.len(), sequence.join("\n"));
    Report { shown_by: shortest.last().and_then(|step| commands.name(&step.argv)), times: 1, text }
}
