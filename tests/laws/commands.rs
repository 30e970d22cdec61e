//! Random commands of the keyspace: at least one template for each that writes.
//!
//! A word in braces stands for something random ([`placeholder`]). Keys, members and fields are few, so that
//! commands meet what others left; a key is now and then one of another type.

use std::sync::LazyLock;

use bytes::Bytes;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use proptest::strategy::Union;
use replcore::keyspace::{commands, lookup};
use replcore::rewrite::Argv;

use super::{DATABASES, START_MS, argv, keyspace::dumped};

/// A command's name and its forms. One that the keyspace does not have is left out.
pub const TEMPLATES: &[(&str, &[&str])] = &[
    // Reading commands delete what has expired.
    ("exists", &["EXISTS {key} {key}"]),
    ("get", &["GET {s}"]),
    ("hgetall", &["HGETALL {h}"]),
    ("keys", &["KEYS *"]),
    ("randomkey", &["RANDOMKEY"]),
    ("scan", &["SCAN 0 COUNT 100"]),
    ("ttl", &["TTL {key}"]),
    // Strings.
    ("append", &["APPEND {s} {v}"]),
    ("decr", &["DECR {s}"]),
    ("decrby", &["DECRBY {s} {n}"]),
    ("delifeq", &["DELIFEQ {s} {v}"]),
    ("getdel", &["GETDEL {s}"]),
    (
        "getex",
        &["GETEX {s}", "GETEX {s} {time}", "getex {s} ex {ex}", "GETEX {s} PERSIST", "GETEX {s} EXAT {exat}"],
    ),
    ("getset", &["GETSET {s} {v}"]),
    ("incr", &["INCR {s}"]),
    ("incrby", &["INCRBY {s} {n}"]),
    ("incrbyfloat", &["INCRBYFLOAT {s} {float}"]),
    ("mset", &["MSET {s} {v}", "MSET {s} {v} {s} {v}"]),
    (
        "msetex",
        &["MSETEX 1 {s} {v} {time}", "MSETEX 2 {s} {v} {s} {v} NX {time}", "MSETEX 1 {s} {v} KEEPTTL"],
    ),
    ("msetnx", &["MSETNX {s} {v} {s} {v}"]),
    ("psetex", &["PSETEX {s} {px} {v}"]),
    (
        "set",
        &[
            "SET {key} {v}",
            "set {s} {v}",
            "SET {s} {v} {time}",
            "SET {s} {v} {time}",
            "set {s} {v} ex {ex}",
            "SET {s} {v} NX {time}",
            "SET {s} {v} XX GET",
            "SET {s} {v} GET {time}",
            "SET {s} {v} KEEPTTL",
            "SET {s} {v} IFEQ {v}",
            "SET {s} {v} IFEQ {v} {time}",
            "SET {s} {v} NX PXAT {pxat}",
        ],
    ),
    ("setex", &["SETEX {s} {ex} {v}"]),
    ("setnx", &["SETNX {s} {v}"]),
    ("setrange", &["SETRANGE {s} {count} {v}"]),
    // Bits.
    ("bitfield", &["BITFIELD {s} SET u8 {count} {n}", "BITFIELD {s} INCRBY i5 {count} 1 GET u4 0"]),
    ("bitop", &["BITOP AND {s} {s} {s}", "BITOP NOT {s} {s}", "BITOP XOR {s} {s} {s}"]),
    ("setbit", &["SETBIT {s} {count} 1", "SETBIT {s} {count} 0"]),
    // Keys of any type.
    ("copy", &["COPY {key} {key}", "COPY {key} {key} REPLACE", "COPY {key} {key} DB {db} REPLACE"]),
    ("del", &["DEL {key}", "DEL {key} {key}"]),
    ("expire", &["EXPIRE {key} {ex}", "EXPIRE {key} {ex} {condition}", "expire {key} -1"]),
    ("expireat", &["EXPIREAT {key} {exat}", "EXPIREAT {key} {exat} {condition}"]),
    ("flushall", &["FLUSHALL"]),
    ("flushdb", &["FLUSHDB", "FLUSHDB ASYNC"]),
    ("move", &["MOVE {key} {db}"]),
    ("persist", &["PERSIST {key}"]),
    ("pexpire", &["PEXPIRE {key} {px}", "PEXPIRE {key} {px} {condition}"]),
    ("pexpireat", &["PEXPIREAT {key} {pxat}", "PEXPIREAT {key} {pxat} {condition}"]),
    ("rename", &["RENAME {key} {key}"]),
    ("renamenx", &["RENAMENX {key} {key}"]),
    (
        "restore",
        &[
            "RESTORE {key} 0 {payload} REPLACE",
            "RESTORE {key} {px} {payload} REPLACE",
            "RESTORE {key} {px} {payload}",
            "RESTORE {key} {pxat} {payload} ABSTTL REPLACE",
        ],
    ),
    (
        "sort",
        &[
            "SORT {l} ALPHA STORE {l}",
            "SORT {t} ALPHA DESC LIMIT 0 2 STORE {l}",
            "SORT {z} BY nosort STORE {l}",
        ],
    ),
    ("swapdb", &["SWAPDB {db} {db}"]),
    ("unlink", &["UNLINK {key}", "UNLINK {key} {key}"]),
    // Hashes.
    ("hdel", &["HDEL {h} {field}", "HDEL {h} {field} {field}"]),
    ("hincrby", &["HINCRBY {h} {field} {n}"]),
    ("hincrbyfloat", &["HINCRBYFLOAT {h} {field} {float}"]),
    ("hmset", &["HMSET {h} {field} {v}"]),
    ("hset", &["HSET {h} {field} {v}", "HSET {h} {field} {v} {field} {v}"]),
    ("hsetnx", &["HSETNX {h} {field} {v}"]),
    // Hashes whose fields expire.
    (
        "hexpire",
        &["HEXPIRE {h} {ex} FIELDS 2 {field} {field}", "HEXPIRE {h} {ex} {condition} FIELDS 1 {field}"],
    ),
    ("hexpireat", &["HEXPIREAT {h} {exat} FIELDS 2 {field} {field}"]),
    ("hgetdel", &["HGETDEL {h} FIELDS 2 {field} {field}"]),
    ("hgetex", &["HGETEX {h} {time} FIELDS 2 {field} {field}", "HGETEX {h} PERSIST FIELDS 1 {field}"]),
    ("hpersist", &["HPERSIST {h} FIELDS 2 {field} {field}"]),
    ("hpexpire", &["HPEXPIRE {h} {px} FIELDS 2 {field} {field}"]),
    ("hpexpireat", &["HPEXPIREAT {h} {pxat} FIELDS 2 {field} {field}"]),
    (
        "hsetex",
        &[
            "HSETEX {h} {time} FIELDS 2 {field} {v} {field} {v}",
            "HSETEX {h} KEEPTTL FIELDS 2 {field} {v} {field} {v}",
            "HSETEX {h} FNX {time} FIELDS 1 {field} {v}",
        ],
    ),
    // Lists.
    ("blmove", &["BLMOVE {l} {l} {side} {side} 0.01"]),
    ("blmpop", &["BLMPOP 0.01 2 {l} {l} {side} COUNT 2"]),
    ("blpop", &["BLPOP {l} {l} 0.01"]),
    ("brpop", &["BRPOP {l} {l} 0.01"]),
    ("brpoplpush", &["BRPOPLPUSH {l} {l} 0.01"]),
    ("linsert", &["LINSERT {l} BEFORE {m} {m}", "LINSERT {l} AFTER {m} {m}"]),
    ("lmove", &["LMOVE {l} {l} {side} {side}"]),
    ("lmpop", &["LMPOP 2 {l} {l} {side}", "LMPOP 1 {l} {side} COUNT 2"]),
    ("lpop", &["LPOP {l}", "LPOP {l} {count}"]),
    ("lpush", &["LPUSH {l} {m}", "LPUSH {l} {m} {m} {m}"]),
    ("lpushx", &["LPUSHX {l} {m}"]),
    ("lrem", &["LREM {l} {index} {m}"]),
    ("lset", &["LSET {l} {index} {m}"]),
    ("ltrim", &["LTRIM {l} {index} {index}"]),
    ("rpop", &["RPOP {l}", "RPOP {l} {count}"]),
    ("rpoplpush", &["RPOPLPUSH {l} {l}"]),
    ("rpush", &["RPUSH {l} {m}", "RPUSH {l} {m} {m} {m}"]),
    ("rpushx", &["RPUSHX {l} {m}"]),
    // Sets.
    ("sadd", &["SADD {t} {m}", "SADD {t} {m} {m} {m}"]),
    ("sdiffstore", &["SDIFFSTORE {t} {t} {t}"]),
    ("sinterstore", &["SINTERSTORE {t} {t} {t}"]),
    ("smove", &["SMOVE {t} {t} {m}"]),
    ("spop", &["SPOP {t}", "SPOP {t} {count}"]),
    ("srem", &["SREM {t} {m}", "SREM {t} {m} {m}"]),
    ("sunionstore", &["SUNIONSTORE {t} {t} {t}"]),
    // Sorted sets.
    ("bzmpop", &["BZMPOP 0.01 2 {z} {z} {end} COUNT 2"]),
    ("bzpopmax", &["BZPOPMAX {z} {z} 0.01"]),
    ("bzpopmin", &["BZPOPMIN {z} {z} 0.01"]),
    (
        "zadd",
        &[
            "ZADD {z} {score} {m}",
            "ZADD {z} NX {score} {m} {score} {m}",
            "ZADD {z} GT CH {score} {m}",
            "ZADD {z} INCR {score} {m}",
        ],
    ),
    ("zdiffstore", &["ZDIFFSTORE {z} 2 {z} {z}"]),
    ("zincrby", &["ZINCRBY {z} {float} {m}"]),
    ("zinterstore", &["ZINTERSTORE {z} 2 {z} {z}", "ZINTERSTORE {z} 2 {z} {t} WEIGHTS 2 1"]),
    ("zmpop", &["ZMPOP 2 {z} {z} {end}", "ZMPOP 1 {z} {end} COUNT 2"]),
    ("zpopmax", &["ZPOPMAX {z}", "ZPOPMAX {z} {count}"]),
    ("zpopmin", &["ZPOPMIN {z}", "ZPOPMIN {z} {count}"]),
    ("zrangestore", &["ZRANGESTORE {z} {z} 0 1", "ZRANGESTORE {z} {z} -inf 3 BYSCORE"]),
    ("zrem", &["ZREM {z} {m}", "ZREM {z} {m} {m}"]),
    ("zremrangebylex", &["ZREMRANGEBYLEX {z} - [{m}", "ZREMRANGEBYLEX {z} - +"]),
    ("zremrangebyrank", &["ZREMRANGEBYRANK {z} {index} {index}", "ZREMRANGEBYRANK {z} 0 0"]),
    ("zremrangebyscore", &["ZREMRANGEBYSCORE {z} -inf {score}"]),
    ("zunionstore", &["ZUNIONSTORE {z} 2 {z} {z}", "ZUNIONSTORE {z} 2 {z} {t} AGGREGATE MAX"]),
];

fn words(words: &[&'static str]) -> BoxedStrategy<Argv> {
    select(words.to_vec()).prop_map(|word| argv([word])).boxed()
}

fn number<N: ToString + Clone + std::fmt::Debug>(
    strategy: impl Strategy<Value = N> + 'static,
) -> BoxedStrategy<Argv> {
    strategy.prop_map(|number| argv([number.to_string()])).boxed()
}

/// A key of a type, or now and then of any.
fn key(of_type: char) -> BoxedStrategy<Argv> {
    let named = move |of_type: char| (1..4_u8).prop_map(move |n| argv([format!("{of_type}{n}")]));
    let any = select(vec!['s', 'l', 't', 'z', 'h']);
    prop_oneof![14 => named(of_type), 1 => any.prop_flat_map(named)].boxed()
}

fn payloads() -> Vec<Bytes> {
    static PAYLOADS: LazyLock<Vec<Bytes>> = LazyLock::new(dump_some);
    PAYLOADS.clone()
}

fn dump_some() -> Vec<Bytes> {
    let volatile = format!("HSETEX k PXAT {} FIELDS 2 f1 restored f2 10", START_MS + 1500);
    let mut payloads = vec![dumped("SET k restored"), dumped("HSET k f1 restored f2 10"), dumped(&volatile)];
    for (name, command) in
        [("rpush", "RPUSH k m1 m2"), ("sadd", "SADD k m1 m2"), ("zadd", "ZADD k 1 m1 2.5 m2")]
    {
        payloads.extend(lookup(name.as_bytes()).map(|_| dumped(command)));
    }
    payloads
}

/// What a word of a template stands for.
fn placeholder(word: &'static str) -> BoxedStrategy<Argv> {
    let second = START_MS / 1000;
    match word {
        "{key}" => select(vec!['s', 'l', 't', 'z', 'h']).prop_flat_map(key).boxed(),
        "{s}" => key('s'),
        "{l}" => key('l'),
        "{t}" => key('t'),
        "{z}" => key('z'),
        "{h}" => key('h'),
        "{hk}" => words(&["h1", "h1", "h1", "fnx"]),
        "{f}" => words(&["f1", "f2", "f3", "nx"]),
        "{v}" => words(&["a", "10", "7.5", "-3", "xyz"]),
        "{m}" => words(&["m1", "m2", "m3", "m4"]),
        "[{m}" => words(&["[m1", "[m2", "(m3"]),
        "{field}" => words(&["f1", "f2", "f3", "f4"]),
        "{n}" => number(-3..20_i64),
        "{float}" => words(&["0.1", "1000.1", "-2.5", "3", "1e3"]),
        // No sum of these depends on the precision.
        "{exact}" => words(&["0.5", "-2.5", "3", "1000.25", "1e3"]),
        "{score}" => words(&["0.1", "1000.1", "-2.5", "3", "1e300", "-inf"]),
        "{index}" => number(-4..5_i64),
        "{count}" => number(0..4_u8),
        "{db}" => number(0..DATABASES),
        "{side}" => words(&["LEFT", "RIGHT"]),
        "{end}" => words(&["MIN", "MAX"]),
        "{condition}" => words(&["NX", "XX", "GT", "LT"]),
        "{ex}" => number(1..5_u64),
        "{px}" => number(1..3000_u64),
        "{exat}" => number(second - 3..second + 8),
        "{pxat}" => number(START_MS - 3000..START_MS + 8000),
        "{time}" => {
            let option = |name: &'static str, time: &'static str| {
                placeholder(time).prop_map(move |time| [argv([name]), time].concat())
            };
            let (ex, px) = (option("EX", "{ex}"), option("PX", "{px}"));
            prop_oneof![ex, px, option("EXAT", "{exat}"), option("PXAT", "{pxat}")].boxed()
        }
        "{payload}" => select(payloads()).prop_map(|payload| vec![payload]).boxed(),
        _ => {
            assert!(!word.contains('{'), "nothing stands for {word}");
            Just(argv([word])).boxed()
        }
    }
}

/// Commands of one form.
pub fn template(form: &'static str) -> BoxedStrategy<Argv> {
    let arguments: Vec<BoxedStrategy<Argv>> = form.split(' ').map(placeholder).collect();
    arguments.prop_map(|arguments| arguments.concat()).boxed()
}

/// Commands of some of these forms.
pub fn any_of(forms: &[&'static str]) -> BoxedStrategy<Argv> {
    Union::new(forms.iter().map(|form| template(form))).boxed()
}

/// Commands called `name`; `None` if nobody has written down how they look.
pub fn named(name: &str) -> Option<BoxedStrategy<Argv>> {
    TEMPLATES.iter().find(|(listed, _)| *listed == name).map(|(_, forms)| any_of(forms))
}

/// Any command that the keyspace has.
pub fn any() -> BoxedStrategy<Argv> {
    // One that empties a database would leave too little to the others.
    let weight = |name: &str| if name.starts_with("flush") { 1 } else { 8 };
    let known = commands().filter_map(|spec| Some((weight(spec.name), named(spec.name)?)));
    Union::new_weighted(known.collect()).boxed()
}

/// A value of each type.
const SOMETHING: &[&str] =
    &["SET {s} {v}", "RPUSH {l} {m} {m}", "SADD {t} {m} {m}", "ZADD {z} 1 {m} 2 {m}", "HSET {h} {field} {v}"];
const DEADLINES: &[&str] = &["PEXPIRE {key} {px}", "EXPIRE {key} {ex}", "PEXPIREAT {key} {pxat}"];

/// Commands that leave something for others to work on.
pub fn preparing() -> BoxedStrategy<Argv> {
    prop_oneof![6 => any_of(SOMETHING), 1 => any_of(DEADLINES)].boxed()
}

/// Few commands at a time, which so meet each other more often, and deadlines on what they make.
pub fn few_at_a_time() -> impl Strategy<Value = BoxedStrategy<Argv>> {
    let mut names: Vec<&'static str> = commands().map(|spec| spec.name).collect();
    names.retain(|name| TEMPLATES.iter().any(|(listed, _)| listed == name));
    names.sort_unstable();
    subsequence(names, 3..12).prop_map(|names| {
        let mut of: Vec<(u32, BoxedStrategy<Argv>)> =
            names.iter().filter_map(|name| Some((3, named(name)?))).collect();
        of.push((4, any_of(DEADLINES)));
        of.push((4, any_of(SOMETHING)));
        Union::new_weighted(of).boxed()
    })
}
