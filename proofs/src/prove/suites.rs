//! Proofs of the normal build: its tests against reference models, and programs of their own.
//!
//! They are built in the ordinary target directory, without this program's flags, and before any is run: a
//! suite that does not compile says nothing about the code, so it is no finding but a reason to stop.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use replcore_proofs::report::{Outcome, Row, Unit, Verdict};

use super::process::{self, Ended};

/// What a suite may take when nobody says otherwise; it is bounded by its cases.
const LIMIT: Duration = Duration::from_secs(1_200);

/// Variables through which flags reach cargo. This program's own would make another build of the product.
const FLAGS: [&str; 3] = ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_BUILD_RUSTFLAGS"];

/// A proof that is a program.
#[derive(Debug)]
pub struct Suite {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it does, in a sentence.
    pub about: &'static str,
    /// The invariants it checks.
    pub invariants: &'static str,
    /// What it counts.
    pub unit: Unit,
    /// How it is run.
    pub runs: Runs,
}

/// How a suite is run.
#[derive(Debug)]
pub enum Runs {
    /// Tests of the library's package: the target (`lib` is the unit tests), and the part of the names to
    /// run.
    Tests { target: &'static str, named: &'static str },
    /// `cargo` with these arguments; the last line begins with how many of how many were as they should be:
    /// `3 of 3`. Then what that proves.
    Cargo(&'static [&'static str], Verdict),
}

const fn tests(
    name: &'static str,
    target: &'static str,
    named: &'static str,
    invariants: &'static str,
    about: &'static str,
) -> Suite {
    Suite { name, about, invariants, unit: Unit::Tests, runs: Runs::Tests { target, named } }
}

/// All of them.
pub static SUITES: &[Suite] = &[
    tests(
        "buffer-refinement",
        "buffer_refinement",
        "",
        "I1 I2 I3 I5 I7 I9 I10 I11",
        "random operations on the buffer and on its sequential reference agree at every step",
    ),
    tests(
        "buffer-stress",
        "buffer_stress",
        "",
        "I1 I2 I3 I4 I5 I6",
        "many threads; their merged history is judged",
    ),
    tests(
        "hash-ttl",
        "hash_ttl",
        "",
        "",
        "random operations on hashes with deadlines agree with a reference",
    ),
    tests(
        "rewrite-laws",
        "rewrite_laws",
        "",
        "",
        "what is propagated means the same at any time and on any clock",
    ),
    tests("unit-buffer", "lib", "buffer::", "I1 I5 I6 I7 I9 I10 I11", "unit tests of the buffer"),
    tests("unit-hash-ttl", "lib", "hash_ttl::", "", "unit and model tests of field expiry"),
    tests("unit-keyspace", "lib", "keyspace::", "", "unit and model tests of the keyspace"),
    tests("unit-rdb", "lib", "rdb::", "", "unit and property tests of snapshots"),
    tests("unit-resp", "lib", "resp::", "", "unit and property tests of the wire"),
    tests("unit-resync", "lib", "resync::", "I7 I10", "unit and property tests of histories and decisions"),
    tests("unit-rewrite", "lib", "rewrite::", "", "unit and property tests of what is propagated"),
    Suite {
        name: "crossbeam-epoch",
        about: "small models of the retire path on the real collector, which is explored with them, and their mutations",
        invariants: "I6 I11",
        unit: Unit::Models,
        runs: Runs::Cargo(&["prove-epoch"], Verdict::Bounded),
    },
    Suite {
        name: "schedules",
        about: "random and guided schedules under weak memory find every mutation of a list",
        invariants: "I1 I2 I3 I4 I5 I9 I10",
        unit: Unit::Mutations,
        runs: Runs::Cargo(&["fuzz-schedules", "--self-check"], Verdict::Sampled),
    },
    Suite {
        name: "cross-check",
        about: "the models under a second explorer: each comes to the outcomes that loom's exploration has to see, and to no other",
        invariants: "I1 I2 I3 I4 I5 I6 I7 I9 I10 I11",
        unit: Unit::Models,
        runs: Runs::Cargo(&["fuzz-schedules", "cross-check"], Verdict::Bounded),
    },
];

/// Programs of the test targets, by target.
#[derive(Debug, Default)]
pub struct Built(BTreeMap<String, PathBuf>);

/// The root of the workspace.
fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for name in FLAGS {
        if std::env::var(name).is_ok_and(|flags| flags.contains("replcore_loom")) {
            command.env_remove(name);
        }
    }
    command.current_dir(root());
    command
}

/// Builds the programs that these suites run.
///
/// # Errors
/// If one does not compile.
pub fn build(suites: &[&Suite]) -> Result<Built, String> {
    let mut targets: Vec<_> = suites
        .iter()
        .filter_map(|suite| match suite.runs {
            Runs::Tests { target, .. } => Some(target),
            Runs::Cargo(..) => None,
        })
        .collect();
    targets.sort_unstable();
    targets.dedup();
    if targets.is_empty() {
        return Ok(Built::default());
    }
    let mut command = cargo();
    command.args([
        "test",
        "--package",
        "replcore",
        "--no-run",
        "--message-format",
        "json-render-diagnostics",
    ]);
    for target in targets {
        match target {
            "lib" => command.arg("--lib"),
            target => command.args(["--test", target]),
        };
    }
    let ended = process::run(command, None, &AtomicBool::new(false))?;
    if !ended.status.success() {
        return Err(format!("the tests of the normal build do not compile:\n{}", ended.err.trim_end()));
    }
    let programs = ended.out.lines().filter_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        let program = message.get("executable")?.as_str()?;
        let target = message.get("target")?;
        let is_library = target.get("kind")?.as_array()?.iter().any(|kind| kind == "lib");
        let name = if is_library { "lib" } else { target.get("name")?.as_str()? };
        Some((name.to_owned(), PathBuf::from(program)))
    });
    Ok(Built(programs.collect()))
}

/// Runs a suite.
///
/// # Errors
/// If it cannot be run.
pub fn run(
    suite: &Suite,
    mut row: Row,
    cases: u32,
    seconds: Option<u64>,
    built: &Built,
    stop: &AtomicBool,
) -> Result<Row, String> {
    let mut command = match suite.runs {
        Runs::Tests { target, named } => {
            let program =
                built.0.get(target).ok_or_else(|| format!("cargo built no program for {target}"))?;
            let mut command = Command::new(program);
            command.args(Some(named).filter(|named| !named.is_empty())).current_dir(root());
            command
        }
        Runs::Cargo(arguments, _) => {
            let mut command = cargo();
            command.args(arguments);
            command
        }
    };
    command.env("PROPTEST_CASES", cases.to_string()).env("RUST_BACKTRACE", "0");
    let start = Instant::now();
    let limit = seconds.map_or(LIMIT, Duration::from_secs);
    let ended = process::run(command, Some(limit), stop)?;
    row.seconds = start.elapsed().as_secs_f64();
    if !ended.status.success() && ended.err.contains("error: could not compile") {
        return Err(format!("{} does not compile:\n{}", suite.name, ended.err.trim_end()));
    }
    match suite.runs {
        Runs::Tests { .. } => judge_tests(&mut row, &ended),
        Runs::Cargo(_, proves) => judge_program(&mut row, &ended, proves),
    }
    Ok(row)
}

fn judge_tests(row: &mut Row, ended: &Ended) {
    let mut counts = [0; 3];
    for line in ended.out.lines().filter(|line| line.starts_with("test result:")) {
        for (count, word) in counts.iter_mut().zip(["passed", "failed", "ignored"]) {
            *count += number_before(line, word);
        }
    }
    let [passed, failed, ignored] = counts;
    row.explored = passed;
    row.outcomes = vec![Outcome { name: "passed".to_owned(), count: passed }];
    if ignored > 0 {
        row.outcomes.push(Outcome { name: "ignored".to_owned(), count: ignored });
    }
    row.verdict = match () {
        () if ended.overran => Verdict::Unfinished,
        () if !ended.status.success() || failed > 0 => Verdict::Failed,
        () if passed == 0 => Verdict::Vacuous,
        () => Verdict::Sampled,
    };
    if ended.overran {
        row.found = Some("it did not come to its end in time".to_owned());
    } else if !row.verdict.is_good() {
        row.found = Some(first_failure(&ended.out, &ended.err));
    }
    if !row.verdict.is_good() {
        row.report = format!("{}{}", ended.out, ended.err);
    }
}

fn judge_program(row: &mut Row, ended: &Ended, proves: Verdict) {
    let last = ended.out.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
    let words: Vec<_> = last.split_whitespace().collect();
    let counts = match words[..] {
        [good, "of", all, ..] => good.parse::<u64>().ok().zip(all.parse::<u64>().ok()),
        _ => None,
    };
    row.explored = counts.map_or(0, |(good, _)| good);
    row.verdict = match counts {
        _ if ended.overran => Verdict::Unfinished,
        _ if !ended.status.success() => Verdict::Failed,
        None | Some((_, 0)) => Verdict::Vacuous,
        Some((good, all)) if good < all => Verdict::Failed,
        Some(_) => proves,
    };
    if row.verdict.is_good() {
        row.found = Some(last.to_owned());
    } else {
        row.found = Some(first_failure(&ended.out, &ended.err));
        row.report = format!("{}{}", ended.out, ended.err);
    }
}

/// The number before a word: 12 in `ok. 12 passed; 0 failed`.
fn number_before(line: &str, word: &str) -> u64 {
    let words: Vec<_> = line.split([' ', ';']).filter(|word| !word.is_empty()).collect();
    let at = words.windows(2).find(|pair| pair[1] == word);
    at.and_then(|pair| pair[0].parse().ok()).unwrap_or(0)
}

/// What failed first, in a line.
fn first_failure(out: &str, err: &str) -> String {
    let mut lines = out.lines().chain(err.lines());
    let test = lines.clone().find_map(|line| line.strip_prefix("test ")?.strip_suffix(" ... FAILED"));
    let panic = lines.by_ref().any(|line| line.contains(" panicked at ")).then(|| lines.next()).flatten();
    match (test, panic) {
        (Some(test), Some(message)) => format!("{test}: {message}"),
        (Some(test), None) => test.to_owned(),
        (None, Some(message)) => message.to_owned(),
        (None, None) => out.lines().chain(err.lines()).last().unwrap_or("it said nothing").to_owned(),
    }
}
