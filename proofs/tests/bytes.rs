//! The byte-level fuzz targets, without a fuzzer: over their seeds, over damaged seeds, and over what a
//! fuzzer found once.
//!
//! `PROPTEST_CASES` sets the number of damaged seeds for each target.

use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, TestRunner};
use replcore_proofs::bytes::input::STEERING_BYTES;
use replcore_proofs::bytes::{TARGETS, Target};

/// Damaged seeds for each target by default: a few seconds in a debug build.
const DEFAULT_CASES: u32 = 1000;

/// What a fuzzer found, by the name of the property that it broke.
const FOUND: &[(&str, &str, &[u8])] = &[
    ("resp", "an inline line at the limit, cut between CR and LF", b"\0\x02\x01\0\0\0$5\r\n"),
    (
        "rdb",
        "a listpack of four elements where three are allowed",
        b"\0\x02\0\0\0\0REDIS0011\x14\x01k\x0f\x0f\0\0\0\x04\0\x01\x01\x02\x01\x03\x01\x04\x01\xff\xff\0\0\0\0\0\0\0\0",
    ),
    (
        "rdb",
        "a function library whose source does not unpack, raw and skipped",
        b"\0\0\0\0\0\0REDIS0011\xf5\xc3\x01\x05\xff\xff\0\0\0\0\0\0\0\0",
    ),
    (
        "dump",
        "a listpack of four elements where three are allowed",
        b"\0\x02\0\0\0\0\x14\x0f\x0f\0\0\0\x04\0\x01\x01\x02\x01\x03\x01\x04\x01\xff",
    ),
];

/// A change to an input.
#[derive(Clone, Debug)]
enum Change {
    Set(Index, u8),
    Flip(Index, u8),
    /// Of the bytes that steer.
    Steer(u8, u8),
    Insert(Index, Vec<u8>),
    Word(Index, Index),
    Remove(Index, u8),
    Repeat(Index, u8),
    /// The rest of another seed.
    Splice(Index, Index),
}

fn change() -> impl Strategy<Value = Change> {
    let at = any::<Index>;
    prop_oneof![
        (at(), any::<u8>()).prop_map(|(at, byte)| Change::Set(at, byte)),
        (at(), 0..8_u8).prop_map(|(at, bit)| Change::Flip(at, bit)),
        (0..STEERING_BYTES as u8, any::<u8>()).prop_map(|(at, byte)| Change::Steer(at, byte)),
        (at(), prop::collection::vec(any::<u8>(), 1..20)).prop_map(|(at, bytes)| Change::Insert(at, bytes)),
        (at(), at()).prop_map(|(at, word)| Change::Word(at, word)),
        (at(), any::<u8>()).prop_map(|(at, count)| Change::Remove(at, count)),
        (at(), any::<u8>()).prop_map(|(at, count)| Change::Repeat(at, count)),
        (at(), at()).prop_map(|(at, seed)| Change::Splice(at, seed)),
    ]
}

impl Change {
    fn apply(&self, input: &mut Vec<u8>, target: &Target, seeds: &[Vec<u8>]) {
        let len = input.len();
        let insert = |input: &mut Vec<u8>, at: &Index, bytes: &[u8]| {
            let at = at.index(len + 1);
            drop(input.splice(at..at, bytes.iter().copied()));
        };
        match self {
            Change::Insert(at, bytes) => insert(input, at, bytes),
            Change::Word(at, word) => {
                insert(input, at, target.dictionary[word.index(target.dictionary.len())])
            }
            Change::Splice(at, seed) => {
                input.truncate(at.index(len + 1));
                let seed = seed.get(seeds);
                input.extend_from_slice(&seed[input.len().min(seed.len())..]);
            }
            _ if len == 0 => {}
            Change::Set(at, byte) => *at.get_mut(input) = *byte,
            Change::Flip(at, bit) => *at.get_mut(input) ^= 1 << bit,
            Change::Steer(at, byte) => input[usize::from(*at) % len] = *byte,
            Change::Remove(at, count) => {
                let at = at.index(len);
                drop(input.drain(at..len.min(at + usize::from(*count))));
            }
            Change::Repeat(at, count) => {
                let at = at.index(len);
                let piece = input[at..len.min(at + usize::from(*count))].to_vec();
                drop(input.splice(at..at, piece));
            }
        }
    }
}

fn target(name: &str) -> Target {
    TARGETS.into_iter().find(|target| target.name == name).expect("the target exists")
}

/// Runs a target over its seeds, then over changed ones.
fn search(name: &str) {
    let target = target(name);
    let seeds = (target.seeds)();
    seeds.iter().for_each(|seed| (target.run)(seed));
    let mut config = Config { failure_persistence: None, ..Config::default() };
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = DEFAULT_CASES;
    }
    let cases = (any::<Index>(), prop::collection::vec(change(), 0..6));
    let outcome = TestRunner::new(config).run(&cases, |(seed, changes)| {
        let mut input = seed.get(&seeds).clone();
        changes.iter().for_each(|change| change.apply(&mut input, &target, &seeds));
        let escaped = input.escape_ascii().to_string();
        // The input itself, to be kept among those found.
        let run = std::panic::catch_unwind(|| (target.run)(&input));
        run.map_err(|panic| {
            let what = panic.downcast_ref::<String>().map_or("", |text| text);
            TestCaseError::fail(format!("b\"{escaped}\": {what}"))
        })
    });
    outcome.unwrap_or_else(|failure| panic!("{name}: {failure}"));
}

#[test]
fn resp_is_one_answer_within_limits() {
    search("resp");
}

#[test]
fn rdb_is_one_answer_that_can_be_written_again() {
    search("rdb");
}

#[test]
fn dump_notices_damage_and_agrees_with_snapshots() {
    search("dump");
}

#[test]
fn psync_is_granted_by_the_two_rules() {
    search("psync");
}

#[test]
fn a_replica_hears_the_same_however_it_is_cut_and_each_command_once() {
    search("replica");
}

#[test]
fn stream_is_applied_once_and_whole() {
    search("stream");
}

#[test]
fn what_was_found_stays_mended() {
    for (name, property, input) in FOUND {
        let outcome = std::panic::catch_unwind(|| (target(name).run)(input));
        assert!(outcome.is_ok(), "{name}: {property}");
    }
}
