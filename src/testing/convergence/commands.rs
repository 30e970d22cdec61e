//! Commands about things that expire, few names and short times: so that they meet.
//!
//! A strategy of one's own is as good: it makes command lines, the name first. [`START_MS`] is the time at
//! which every run begins.

use bytes::Bytes;
use proptest::prelude::*;
use proptest::sample::select;

use super::START_MS;
use crate::rewrite::Argv;

/// A command from words.
///
/// ```
/// use replcore::testing::convergence::commands::argv;
/// assert_eq!(argv("SET k v"), ["SET", "k", "v"]);
/// ```
#[must_use]
pub fn argv(line: &str) -> Argv {
    line.split_whitespace().map(|word| Bytes::copy_from_slice(word.as_bytes())).collect()
}

/// A number of milliseconds that may well pass within a run.
fn short_ms() -> impl Strategy<Value = u64> {
    prop_oneof![3 => 1..10_u64, 1 => 10..60_u64]
}

/// `PX ms` or `PXAT ms`, or nothing.
fn deadline(keep: &'static str) -> impl Strategy<Value = String> {
    prop_oneof![
        3 => short_ms().prop_map(|ms| format!("PX {ms}")),
        1 => short_ms().prop_map(|ms| format!("PXAT {}", START_MS + ms)),
        1 => Just(keep.to_owned()),
        1 => Just(String::new()),
    ]
}

fn value() -> impl Strategy<Value = u8> {
    1..10_u8
}

/// `SET` with and without deadlines, `PEXPIRE`, `PEXPIREAT`, `PERSIST`, `DEL`, on two keys.
pub fn strings() -> impl Strategy<Value = Argv> + Clone {
    let key = || select(vec!["s", "t"]);
    prop_oneof![
        4 => (key(), value(), deadline("KEEPTTL")).prop_map(|(key, value, until)| format!("SET {key} {value} {until}")),
        2 => (key(), short_ms()).prop_map(|(key, ms)| format!("PEXPIRE {key} {ms}")),
        1 => (key(), short_ms()).prop_map(|(key, ms)| format!("PEXPIREAT {key} {}", START_MS + ms)),
        1 => key().prop_map(|key| format!("PERSIST {key}")),
        1 => key().prop_map(|key| format!("DEL {key}")),
    ]
    .prop_map(|line| argv(&line))
    .boxed()
}

/// One to three different fields.
fn fields() -> impl Strategy<Value = Vec<&'static str>> {
    proptest::sample::subsequence(vec!["f", "g", "j"], 1..=3)
}

/// `HSET`, `HSETEX`, `HPEXPIRE`, `HPEXPIREAT`, `HPERSIST`, `HDEL`, on one hash of three fields.
pub fn fields_with_deadlines() -> impl Strategy<Value = Argv> + Clone {
    let named = || fields().prop_map(|fields| format!("FIELDS {} {}", fields.len(), fields.join(" ")));
    let condition = || prop_oneof![4 => Just(""), 1 => Just("FNX"), 1 => Just("FXX")];
    let pairs = || (fields(), value());
    let setex = move |(condition, until, (fields, value)): (&str, String, (Vec<&str>, u8))| {
        let pairs: String = fields.iter().map(|name| format!(" {name} {value}")).collect();
        format!("HSETEX h {condition} {until} FIELDS {}{pairs}", fields.len())
    };
    prop_oneof![
        4 => (condition(), deadline("KEEPTTL"), pairs()).prop_map(setex),
        2 => pairs().prop_map(|(fields, value)| {
            let pairs: String = fields.iter().map(|name| format!(" {name} {value}")).collect();
            format!("HSET h{pairs}")
        }),
        3 => (short_ms(), named()).prop_map(|(ms, fields)| format!("HPEXPIRE h {ms} {fields}")),
        1 => (short_ms(), named()).prop_map(|(ms, fields)| format!("HPEXPIREAT h {} {fields}", START_MS + ms)),
        2 => named().prop_map(|fields| format!("HPERSIST h {fields}")),
        2 => fields().prop_map(|fields| format!("HDEL h {}", fields.join(" "))),
    ]
    .prop_map(|line| argv(&line))
    .boxed()
}

/// Both.
pub fn all() -> impl Strategy<Value = Argv> + Clone {
    prop_oneof![strings(), fields_with_deadlines()].boxed()
}
