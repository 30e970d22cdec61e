//! Every data command against a real Valkey 9.1.2: the same replies, the same replication stream. See
//! [`differential`].
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
use differential::commands::{Check, Commands, Family};
use differential::compare::{Slack, same_reply};
use differential::counts::Counts;
use differential::pair::{Difference, Pair, show};
use differential::replicas::{Disturbance, Replicas};
use differential::sequence::{Step, generate};
use differential::shrink::shrink;
use differential::stream::{Exceptions, Op, same_stream};
use support::client::{Argv, argv};
use support::{Client, Scratch, note};

/// Compares this server with a real Valkey; also takes what `cargo test` passes to every test program.
#[derive(Clone, Debug, Parser)]
struct Options {
    /// Where the random choices begin.
    #[arg(long, default_value_t = 20_260_101)]
    seed: u64,
    /// How many commands of each family to run.
    #[arg(long)]
    iterations: Option<usize>,
    /// How many commands to a sequence: each begins with empty keyspaces.
    #[arg(long, default_value_t = 400)]
    length: usize,
    /// How many differences to report before giving up.
    #[arg(long, default_value_t = 5)]
    differences: usize,
    #[command(flatten)]
    libtest: TestArguments,
}

/// For each command with active expiry off, one in this many is run with it on.
const ACTIVE_SHARE: usize = 7;
/// Makes other sequences of the same seed.
const ACTIVE_SEED: u64 = 1 << 40;

fn main() -> ExitCode {
    let options = Options::parse();
    let mut libtest = options.libtest.clone();
    // The runs share two cores and report as they go.
    libtest.test_threads = Some(1);
    let of = |run: fn(&Options, Family) -> Result<(), Failed>, family, name| {
        let options = options.clone();
        Trial::test(name, move || run(&options, family))
    };
    let trials = vec![
        of(replies_and_streams, Family::Timeless, "replies_and_streams_are_those_of_valkey"),
        of(
            replies_and_streams,
            Family::Volatile,
            "replies_and_streams_over_fields_that_expire_are_those_of_valkey",
        ),
        of(values, Family::Timeless, "values_are_those_of_valkey_whenever_keys_expire"),
        of(values, Family::Volatile, "values_are_those_of_valkey_whenever_fields_expire"),
        Trial::test("shrinking_leaves_what_is_needed", shrinking),
        Trial::test("comparisons_see_every_kind_of_difference", comparisons),
    ];
    libtest_mimic::run(&libtest, trials).exit_code()
}

/// What `RESTORE` is tried with: values of every type as Valkey serialises them, whole and broken.
fn payloads(pair: &mut Pair, commands: &Commands, family: Family) -> Payloads {
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
    if family == Family::Volatile {
        payloads.extend(volatile_payloads(client));
    }
    let mut broken = payloads[0].to_vec();
    broken[1] ^= 1;
    payloads.extend([Bytes::from(broken), payloads[1].slice(..5), Bytes::new()]);
    Payloads(payloads)
}

/// Hashes with deadlines: to come, past, and of some fields only.
fn volatile_payloads(client: &mut Client) -> Vec<Bytes> {
    let setups: [&[Argv]; 4] = [
        &[
            argv!["HSETEX", "p", "PXAT", "4000000000123", "FIELDS", 1, "f1", "v"],
            argv!["HSET", "p", "f2", "w"],
        ],
        &[argv!["HSETEX", "p", "PX", 1, "FIELDS", 2, "f1", "v", "n1", 7], argv!["HSET", "p", "f2", "w"]],
        &[argv!["HSETEX", "p", "PX", 1, "FIELDS", 1, "f3", "v"]],
        &[
            argv!["HSETEX", "p", "PXAT", "4000000000123", "FIELDS", 1, "f1", "v"],
            argv!["HPERSIST", "p", "FIELDS", 1, "f1"],
        ],
    ];
    let mut payloads = Vec::new();
    for setup in setups {
        setup.iter().for_each(|command| drop(client.call(command.clone())));
        let Reply::Bulk(payload) = client.call(argv!["DUMP", "p"]) else { panic!("DUMP answers a payload") };
        client.call(argv!["DEL", "p"]);
        payloads.push(payload);
    }
    payloads
}

/// How many commands of a family are enough to run each with success and to see it refused.
fn enough(family: Family) -> usize {
    match family {
        Family::Timeless => 28_000,
        Family::Volatile => 12_000,
    }
}

/// With active expiry off, unless a sequence turns it on: everything is compared.
fn replies_and_streams(options: &Options, family: Family) -> Result<(), Failed> {
    let started = Instant::now();
    let scratch = Scratch::new("differential");
    let mut pair = Pair::start(&scratch);
    let commands = Commands::of(family)?;
    let payloads = Arc::new(payloads(&mut pair, &commands, family));
    let replicas = Replicas::attach(family, &pair.ours.server, &scratch);
    let iterations = options.iterations.unwrap_or(enough(family));
    let mut counts = Counts::default();
    let mut reports: Vec<Report> = Vec::new();
    let sequences = iterations.div_ceil(options.length);
    for index in 0..sequences {
        let seed = options.seed.wrapping_add(index as u64);
        let steps = generate(&commands, seed, options.length, Arc::clone(&payloads));
        let disturbance = Disturbance::of(index);
        replicas.disturb(disturbance);
        let outcome = pair.run(&commands, &steps, usize::MAX, &mut counts);
        replicas.recover(disturbance);
        let outcome = outcome.and_then(|()| same_values(&mut pair, &replicas, steps.len() - 1));
        if let Err(difference) = outcome {
            let report = explain(&mut pair, &commands, &replicas, seed, &steps, &difference);
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
    let lacking = counts.lacking(commands.usual());
    if !lacking.is_empty() {
        note!("{}", lacking.join(", "));
    }
    match reports.len() {
        0 if iterations >= enough(family) && !lacking.is_empty() => Err(lacking.join(", ").into()),
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

/// With active expiry on, nobody knows when something dead goes: only what is left in the end is compared.
fn values(options: &Options, family: Family) -> Result<(), Failed> {
    let started = Instant::now();
    let scratch = Scratch::new("differential-expiry");
    let mut pair = Pair::start(&scratch);
    let commands = Commands::of(family)?;
    let payloads = Arc::new(payloads(&mut pair, &commands, family));
    let replicas = Replicas::attach(family, &pair.ours.server, &scratch);
    let iterations = options.iterations.unwrap_or(enough(family));
    let mut counts = Counts::default();
    let sequences = (iterations / ACTIVE_SHARE).div_ceil(options.length);
    for index in 0..sequences {
        let seed = options.seed.wrapping_add(index as u64) ^ ACTIVE_SEED;
        let steps = generate(&commands, seed, options.length, Arc::clone(&payloads));
        let disturbance = Disturbance::of(index);
        replicas.disturb(disturbance);
        pair.set_active_expiry(true);
        pair.apply(&commands, &steps, &mut counts);
        pair.wait_reclaimed();
        pair.set_active_expiry(false);
        replicas.recover(disturbance);
        let mut differences = pair.different_contents();
        differences.extend(replicas.differences(&pair.ours.server));
        if !differences.is_empty() {
            return Err(
                format!("seed {} (sequence {index}):\n{}", options.seed, differences.join("\n")).into()
            );
        }
    }
    note!("{} commands in {:?}, {sequences} keyspaces equal", counts.total(), started.elapsed());
    Ok(())
}

/// Delta debugging finds the two of a thousand that matter, and their order.
fn shrinking() -> Result<(), Failed> {
    let items: Vec<u32> = (0..1000).collect();
    let needs = |items: &[u32]| {
        let at = |wanted| items.iter().position(|item| *item == wanted);
        matches!((at(77), at(901)), (Some(first), Some(second)) if first < second)
    };
    match &shrink(&items, needs)[..] {
        [77, 901] => Ok(()),
        other => Err(format!("left {other:?}").into()),
    }
}

/// What is not the same is not taken for the same: values, types, order, deadlines, databases, what is
/// missing or too much.
fn comparisons() -> Result<(), Failed> {
    let slack = Slack { ms: 5 };
    let bulk = |text: &'static str| Reply::Bulk(Bytes::from(text));
    let array = |items: &[&'static str]| Reply::Array(items.iter().map(|item| bulk(item)).collect());
    let replies = [
        (Check::Exact, bulk("a"), bulk("a"), true),
        (Check::Exact, bulk("a"), bulk("b"), false),
        (Check::Exact, bulk("1"), Reply::Integer(1), false),
        (Check::Exact, Reply::Null, Reply::NullArray, false),
        (Check::Exact, array(&["a", "b"]), array(&["b", "a"]), false),
        (Check::Multiset, array(&["a", "b"]), array(&["b", "a"]), true),
        (Check::Multiset, array(&["a", "a"]), array(&["a"]), false),
        (Check::Multiset, Reply::Set(vec![]), array(&[]), false),
        (Check::Pairs, array(&["a", "1", "b", "2"]), array(&["b", "2", "a", "1"]), true),
        (Check::Pairs, array(&["a", "1", "b", "2"]), array(&["a", "2", "b", "1"]), false),
        (Check::Milliseconds, Reply::Integer(1_000), Reply::Integer(1_010), true),
        (Check::Milliseconds, Reply::Integer(1_000), Reply::Integer(1_011), false),
        (Check::Milliseconds, Reply::Integer(-1), Reply::Integer(-2), false),
        (Check::Shape, Reply::Integer(1), bulk("1"), false),
        (Check::Shape, Reply::Error("ERR a".into()), Reply::Error("ERR b".into()), false),
    ];
    for (check, ours, theirs, same) in replies {
        if same_reply(check, &ours, &theirs, slack) != same {
            return Err(format!("{check:?} of {ours:?} and {theirs:?}: not {same}").into());
        }
    }
    let stream = |text: &str| {
        let command = |line: &str| line.split(' ').map(|word| Bytes::from(word.to_owned())).collect();
        Op::sequence(text.split("; ").map(command).collect(), &mut None)
    };
    let streams = [
        ("SELECT 0; SET k v", "SELECT 0; SET k v", true),
        ("SELECT 0; SET k v", "SELECT 1; SET k v", false),
        ("SET k v", "set k v", false),
        ("SET k v", "SET k v; PERSIST k", false),
        ("PERSIST k; SET k v", "SET k v; PERSIST k", false),
        ("MULTI; SET k v; SET l v; EXEC", "SET k v; SET l v", false),
        ("SET k v PXAT 1000", "SET k v PXAT 1005", true),
        ("SET k v PXAT 1000", "SET k v PXAT 1006", false),
        ("SET k 1000", "SET k 1005", false),
        ("SET k v", "SET k v IFEQ w", true),
        ("SET k w", "SET k v IFEQ w", false),
        ("MULTI; SET a 1 KEEPTTL; SET b 2 KEEPTTL; EXEC", "MSETEX 2 a 1 b 2 KEEPTTL", true),
        ("SET a 1 KEEPTTL; SET b 2 KEEPTTL", "MSETEX 2 a 1 b 2 KEEPTTL; SET c 3", false),
        ("MULTI; SET a 1; EXEC", "SET a 1 IFEQ 0", false),
    ];
    for (ours, theirs, same) in streams {
        let judged = same_stream(&[stream(ours), stream(theirs)], slack, &mut Exceptions::default());
        if judged.is_ok() != same {
            return Err(format!("{ours} and {theirs}: not {same}").into());
        }
    }
    Ok(())
}

/// After a sequence the model holds the same values, and the replicas hold what their primary holds.
fn same_values(pair: &mut Pair, replicas: &Replicas, step: usize) -> Result<(), Difference> {
    pair.delete_dead_keys();
    let mut differences = pair.different_contents();
    differences.extend(replicas.differences(&pair.ours.server));
    match differences.is_empty() {
        true => Ok(()),
        false => Err(Difference { step, values: true, text: differences.join("\n") }),
    }
}

/// A difference with the shortest sequence that shows one.
fn explain(
    pair: &mut Pair,
    commands: &Commands,
    replicas: &Replicas,
    seed: u64,
    steps: &[Step],
    found: &Difference,
) -> Report {
    let mut last = None;
    let mut unused = Counts::default();
    let of_values = found.values;
    let mut run = |steps: &[Step]| {
        pair.run(commands, steps, 1, &mut unused)?;
        if of_values { same_values(pair, replicas, steps.len() - 1) } else { Ok(()) }
    };
    let mut fails = |steps: &[Step]| match run(steps) {
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
