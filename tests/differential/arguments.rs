//! Random arguments: few keys, so that commands collide; small values, numbers at every edge, and times that
//! are either over at once or far away.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

/// A time that passes right after the command: the run waits for it.
pub const NEAR_MS: std::ops::RangeInclusive<u64> = 1..=3;
/// Far deadlines are this many seconds apart, so that no order among them depends on the moment of a command.
const FAR_STEP_S: u64 = 10;
/// How many different far deadlines there are: a prime, of which [`FAR_GENERATOR`] is a primitive root.
const FAR_STEPS: u64 = 100_003;
const FAR_GENERATOR: u64 = 2;
/// The nearest of the far deadlines.
const FAR_MIN_S: u64 = 1_000;

/// How many keys are remembered.
const RECENT_KEYS: usize = 6;
/// Keys per type; a key of the right type is taken mostly.
const TYPED_KEYS: &[(&str, &[&str])] = &[
    ("string", &["s1", "s2", "s3"]),
    ("number", &["n1", "n2"]),
    ("conditional", &["c1", "c2"]),
    ("bits", &["b1", "b2", "s1"]),
    ("hash", &["h1", "h2", "h3"]),
    ("list", &["l1", "l2", "l3"]),
    ("set", &["t1", "t2", "t3"]),
    ("zset", &["z1", "z2", "z3"]),
    // The last, and never mixed with others: ranges of bytes have a meaning where all scores are the same.
    ("lexset", &["y1", "y2"]),
];
/// Keys that no command prefers.
const OTHER_KEYS: &[&[u8]] = &[b"", b"\x00\xff\r\nkey", b"fnx", b"fields"];
/// Keys called like options of commands on fields.
const ODD_KEYS: &[&str] = &["fnx", "nx", "fields"];

const FIELDS: &[&str] = &["f1", "f2", "f3", "f4", "n1", "n2", ""];
// No two members or values are equal up to a zero byte, where Valkey's SORT ALPHA stops comparing.
const MEMBERS: &[&str] = &["a", "b", "c", "d", "e", "1", "2", "-7", "10", "x\u{0}x"];
const VALUES: &[&[u8]] = &[
    b"a", b"b", b"hello world", b"", b"0", b"1", b"10", b"-3", b"1.5", b"3.0e3", b"q\x00\xff\r\n", b"01", b" 1", b"abcabcabc",
    b"9223372036854775807", b"-9223372036854775808",
    b"a value that is longer than sixty-four bytes, which no compact encoding keeps in place, whatever the type",
];
const INTEGERS: &[&str] = &[
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775808",
    "-9223372036854775809",
    "18446744073709551616",
    "abc",
    "",
    " 1",
    "+1",
    "01",
    "1.0",
    "-0",
    "4294967296",
    "2147483648",
];
const FLOATS: &[&str] = &[
    "nan",
    "inf",
    "-inf",
    "+inf",
    "infinity",
    "1e400",
    "-1e400",
    "1e308",
    "1.7e308",
    "1e-400",
    "abc",
    "",
    " 1",
    "1 ",
    "0x10",
    "1e5",
    "5.0e3",
    "3.14159265358979",
    "0.1",
    "0.2",
    "1e17",
    "123456789012345678",
    "1.",
];
/// What an argument is replaced by, or what is inserted.
const JUNK: &[&[u8]] = &[
    b"",
    b"abc",
    b"-1",
    b"0",
    b"NX",
    b"XX",
    b"GET",
    b"COUNT",
    b"LIMIT",
    b"WITHSCORES",
    b"STORE",
    b"REPLACE",
    b"nan",
    b"inf",
    b"\xff\x00",
    b"9223372036854775807",
    b"9223372036854775808",
    b"1e400",
    b" 1",
    b"*",
    b"s1",
    b"h1",
    b"l1",
    b"t1",
    b"z1",
    b"EX",
    b"KEEPTTL",
    b"MATCH",
    b"FIELDS",
    b"FNX",
];

/// The dump of a value, and a broken one: what `RESTORE` gets.
#[derive(Debug, Default)]
pub struct Payloads(pub Vec<Bytes>);

/// The source of arguments of one sequence.
#[derive(Debug)]
pub struct Arguments {
    rng: StdRng,
    /// Position in the row of far deadlines, no two of which are the same.
    far: u64,
    /// The second in which the sequence was made.
    now_s: u64,
    payloads: Arc<Payloads>,
    /// The keys named last, any of which may be named again soon.
    recent: VecDeque<Bytes>,
}

impl Arguments {
    pub fn new(seed: u64, payloads: Arc<Payloads>) -> Arguments {
        let mut rng = StdRng::seed_from_u64(seed);
        let far = rng.random_range(1..FAR_STEPS);
        let now_s = std::time::UNIX_EPOCH.elapsed().expect("the clock is past 1970").as_secs();
        Arguments { rng, far, now_s, payloads, recent: VecDeque::new() }
    }

    pub fn one_in(&mut self, n: u32) -> bool {
        self.rng.random_ratio(1, n)
    }

    /// A number below `n`.
    pub fn below(&mut self, n: usize) -> usize {
        self.rng.random_range(0..n)
    }

    fn pick<T: AsRef<[u8]>>(&mut self, from: &[T]) -> Bytes {
        Bytes::copy_from_slice(from[self.below(from.len())].as_ref())
    }

    /// Something that has no business where it stands.
    pub fn junk(&mut self) -> Bytes {
        self.pick(JUNK)
    }

    /// A duration in seconds that no other command of the sequence names.
    fn far_s(&mut self) -> u64 {
        self.far = self.far * FAR_GENERATOR % FAR_STEPS;
        FAR_MIN_S + self.far * FAR_STEP_S
    }

    fn any_key(&mut self) -> Bytes {
        if self.one_in(2) && !self.recent.is_empty() {
            let at = self.below(self.recent.len());
            return self.recent[at].clone();
        }
        if self.one_in(12) {
            return self.pick(OTHER_KEYS);
        }
        let (_, keys) = TYPED_KEYS[self.below(TYPED_KEYS.len() - 1)];
        self.pick(keys)
    }

    fn key(&mut self, kind: &str) -> Option<Bytes> {
        let (_, keys) = TYPED_KEYS.iter().find(|(name, _)| *name == kind)?;
        Some(if kind != "lexset" && self.one_in(20) { self.any_key() } else { self.pick(keys) })
    }

    fn small(&mut self, from: i64, to: i64) -> Bytes {
        self.rng.random_range(from..=to).to_string().into()
    }

    fn mostly(&mut self, usual: impl FnOnce(&mut Self) -> Bytes, odd: &[&str]) -> Bytes {
        if self.one_in(14) { self.pick(odd) } else { usual(self) }
    }

    /// A random argument.
    pub fn of_kind(&mut self, kind: &str) -> Bytes {
        if let Some(key) = self.key(kind) {
            if kind != "lexset" {
                self.recent.push_back(key.clone());
                if self.recent.len() > RECENT_KEYS {
                    self.recent.pop_front();
                }
            }
            return key;
        }
        match kind {
            "key" => self.any_key(),
            "value" if self.one_in(3) => self.small(-100, 100),
            "value" => self.pick(VALUES),
            // So few that a condition on the present one holds now and then.
            "few" => self.pick(&["a", "b"]),
            "field" => self.pick(FIELDS),
            "numeric" => self.pick(&["n1", "n2"]),
            "odd" => self.pick(ODD_KEYS),
            "member" => self.pick(MEMBERS),
            "lexbound" => {
                let member = self.pick(MEMBERS);
                match self.below(6) {
                    0 => Bytes::from_static(b"-"),
                    1 => Bytes::from_static(b"+"),
                    2 if self.one_in(4) => member,
                    2 | 3 => [b"(", &member[..]].concat().into(),
                    _ => [b"[", &member[..]].concat().into(),
                }
            }
            "score" => {
                self.mostly(|this| if this.one_in(4) { this.small(-4, 4) } else { this.half() }, FLOATS)
            }
            "scorebound" => match self.below(8) {
                0 => Bytes::from_static(b"-inf"),
                1 => Bytes::from_static(b"+inf"),
                2 => [b"(", &self.half()[..]].concat().into(),
                _ => self.of_kind("score"),
            },
            "float" => {
                self.mostly(|this| if this.one_in(2) { this.half() } else { this.pick(FLOATS) }, FLOATS)
            }
            "int" => self.mostly(|this| this.small(-20, 20), INTEGERS),
            "index" => self.mostly(|this| this.small(-6, 6), INTEGERS),
            // Below zero, Valkey's answer depends on how the sorted set is stored, which SORT changes.
            "skip" => self.mostly(|this| this.small(0, 4), &["abc", "", "9223372036854775807", "1.0"]),
            "place" => self.mostly(|this| this.small(-6, 6), &["abc", "", "2147483647", "1.0"]),
            "count" => self.mostly(
                |this| this.small(0, 5),
                &["-1", "-3", "abc", "9223372036854775807", "", "-9223372036854775808"],
            ),
            "draw" => self.mostly(
                |this| this.small(-7, 7),
                &["abc", "-9223372036854775808", "9223372036854775807", ""],
            ),
            "positive" => {
                self.mostly(|this| this.small(1, 6), &["0", "-1", "abc", "9223372036854775807", ""])
            }
            "offset" => {
                self.mostly(|this| this.small(0, 30), &["-1", "abc", "600000000", "9223372036854775807"])
            }
            "timeout" => {
                self.mostly(|this| this.pick(&["0.01", "0.002", ".003"]), &["-1", "abc", "nan", "1e400", ""])
            }
            "bit" => self.mostly(|this| this.small(0, 1), &["2", "-1", "abc"]),
            "bitoffset" => self
                .mostly(|this| this.small(0, 90), &["-1", "abc", "4294967296", "9223372036854775807", "#1"]),
            "bitfieldoffset" if self.one_in(3) => [b"#", &self.small(0, 5)[..]].concat().into(),
            "bitfieldoffset" => self.of_kind("bitoffset"),
            "bittype" => {
                let bits = self.small(1, 20);
                match self.below(12) {
                    0 => Bytes::from_static(b"u64"),
                    1 => Bytes::from_static(b"i64"),
                    2 => Bytes::from_static(b"u63"),
                    3 => Bytes::from_static(b"x8"),
                    4 => Bytes::from_static(b"i65"),
                    5..8 => [b"i", &bits[..]].concat().into(),
                    _ => [b"u", &bits[..]].concat().into(),
                }
            }
            "narrow" => self.pick(&["u2", "i3"]),
            "db" => self.mostly(
                |this| this.pick(&["0", "0", "1", "9"]),
                &["15", "16", "-1", "abc", "4294967296", ""],
            ),
            "ms" => match self.below(12) {
                0..3 => self.rng.random_range(NEAR_MS).to_string().into(),
                3 => self.pick(&["0", "-1", "-5", "abc", "9223372036854775807", "9223372036854775", ""]),
                _ => (self.far_s() * 1_000 + 137).to_string().into(),
            },
            // Mostly to be dead soon.
            "fieldms" if self.one_in(2) => self.rng.random_range(NEAR_MS).to_string().into(),
            "fieldms" => self.of_kind("ms"),
            "secs" => match self.below(12) {
                0 => self.pick(&[
                    "0",
                    "-1",
                    "abc",
                    "9223372036854775807",
                    "9223372036854775",
                    "-9223372036854775808",
                    "",
                ]),
                _ => self.far_s().to_string().into(),
            },
            "unixsecs" => match self.below(8) {
                0 => self.pick(&["0", "-1", "abc", "9223372036854775807", "9223372036854775", ""]),
                1 => (self.now_s - 1_000).to_string().into(),
                _ => (self.now_s + self.far_s() + FAR_STEP_S / 2).to_string().into(),
            },
            "unixms" => match self.below(8) {
                0 => self.pick(&["0", "-1", "abc", "9223372036854775807", ""]),
                1 => ((self.now_s - 1_000) * 1_000).to_string().into(),
                _ => ((self.now_s + self.far_s() + FAR_STEP_S / 2) * 1_000 + 41).to_string().into(),
            },
            "pattern" => self
                .pick(&["*", "?1", "[ab]*", "f*", "s?", "*1", "", "\\*", "a", "[^a]", "h[1-2]", "**", "[a-"]),
            "type" => self.pick(&["string", "list", "set", "zset", "hash", "stream", "LIST", "none", ""]),
            "sortby" => self.pick(&["*", "s*", "n*", "nosort", "h1->f*", "h1->*", "h*->n1", "z*", ""]),
            "sortget" => self.pick(&["#", "s*", "n*", "h1->f1", "h1->*", "h*->f1", "nokey", "*"]),
            "fieldpattern" => self.pick(&["h*->f1", "h*->n1", "h*->n2"]),
            "payload" => {
                let payloads = Arc::clone(&self.payloads);
                self.pick(&payloads.0)
            }
            other => panic!("no kind of argument is called {other:?}"),
        }
    }

    fn half(&mut self) -> Bytes {
        (f64::from(self.rng.random_range(-8..=8)) / 2.0).to_string().into()
    }
}
