//! Random sequences, over few keys and few fields, so that commands meet what others left: alive, dead but
//! stored, missing.
//!
//! A deadline is short (it passes within the sequence, at the next [`Step::Outlive`]), far away, or past
//! already. The options of a command are drawn from the combinations that Valkey accepts.

use std::collections::BTreeSet;

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::command::{Command, Step, Word};
use super::target::Side;

/// Commands, how often each is drawn, and the name under which a finding reports it.
const COMMANDS: [(&str, u32); 53] = [
    ("HSETEX", 16),
    ("HSET", 6),
    ("HMSET", 1),
    ("HSETNX", 3),
    ("HDEL", 6),
    ("HGETDEL", 5),
    ("HINCRBY", 4),
    ("HINCRBYFLOAT", 4),
    ("HEXPIRE", 3),
    ("HPEXPIRE", 6),
    ("HEXPIREAT", 2),
    ("HPEXPIREAT", 3),
    ("HPERSIST", 8),
    ("HGETEX", 6),
    ("HGET", 1),
    ("HMGET", 1),
    ("HGETALL", 1),
    ("HLEN", 1),
    ("HEXISTS", 1),
    ("HSTRLEN", 1),
    ("HTTL", 1),
    ("HPEXPIRETIME", 1),
    ("HRANDFIELD", 1),
    ("HSCAN", 1),
    ("EXPIRE", 1),
    ("PEXPIRE", 3),
    ("EXPIREAT", 1),
    ("PEXPIREAT", 2),
    ("PERSIST", 2),
    ("DEL", 1),
    ("UNLINK", 1),
    ("RENAME", 2),
    ("COPY", 3),
    ("SET", 5),
    ("SETEX", 1),
    ("PSETEX", 1),
    ("SETNX", 1),
    ("GETEX", 3),
    ("GETDEL", 1),
    ("GETSET", 1),
    ("APPEND", 2),
    ("INCRBY", 2),
    ("INCRBYFLOAT", 2),
    ("SETRANGE", 1),
    ("RPUSH", 2),
    ("LPOP", 1),
    ("LMOVE", 1),
    ("SADD", 2),
    ("SPOP", 1),
    ("SREM", 1),
    ("SUNIONSTORE", 1),
    ("TOUCH", 1),
    ("GET", 1),
];

/// Names of keys that are also words of a command's syntax.
const ODD_KEYS: [&str; 4] = ["fnx", "nx", "fields", "keepttl"];
/// The key of most commands about hashes, and of most others.
const HASH: &str = "h1";
const STRING: &str = "s";
const KEYS: [&str; 3] = [HASH, "h2", STRING];
const FIELDS: [&str; 4] = ["a", "b", "c", "d"];

/// How many commands a sequence has.
const LENGTH: std::ops::Range<usize> = 8..28;

/// The names of all commands that are tried.
pub(super) fn command_names() -> Vec<&'static str> {
    COMMANDS.iter().map(|(name, _)| *name).collect()
}

/// The name under which a command is found guilty: `HEXPIRE` for all four of its forms, and so on.
fn family(name: &str) -> &str {
    match name {
        "HPEXPIRE" | "HEXPIREAT" | "HPEXPIREAT" => "HEXPIRE",
        "PEXPIRE" | "EXPIREAT" | "PEXPIREAT" => "EXPIRE",
        "HMSET" => "HSET",
        "UNLINK" => "DEL",
        "PSETEX" => "SETEX",
        name => name,
    }
}

/// What a last command is found guilty as: its family, and the key if its name is odd.
pub(super) fn culprit(command: &Command) -> String {
    let name = family(command.name());
    match command.words.get(1) {
        Some(Word::Text(key)) => match odd_name(key) {
            Some(odd) => format!("{name}{}", on_key(odd)),
            None => name.to_owned(),
        },
        _ => name.to_owned(),
    }
}

fn odd_name(key: &[u8]) -> Option<&'static str> {
    ODD_KEYS.into_iter().find(|odd| odd.as_bytes() == key)
}

fn on_key(name: &str) -> String {
    format!(" on a key named {name}")
}

/// What can be done to the servers.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Means {
    pub stop: bool,
    pub skew_primary: bool,
    pub skew_replica: bool,
    pub switch_expiry: bool,
}

/// Makes sequences.
pub(super) struct Generator {
    rng: StdRng,
    vocabulary: Vec<(&'static str, u32)>,
    keys: Vec<Bytes>,
    means: Means,
    /// Whether the sequence is about hashes only.
    only_hashes: bool,
}

impl Generator {
    /// Sequences of the commands in `known`, the same for the same seed.
    pub fn new(seed: u64, known: &[&'static str], odd_keys: bool, means: Means) -> Generator {
        let vocabulary = COMMANDS.into_iter().filter(|(name, _)| known.contains(name)).collect();
        let odd = if odd_keys { &ODD_KEYS[..] } else { &[] };
        let keys = KEYS.iter().chain(odd).map(|key| Bytes::from_static(key.as_bytes())).collect();
        Generator { rng: StdRng::seed_from_u64(seed), vocabulary, keys, means, only_hashes: false }
    }

    /// Every key that a sequence may touch.
    pub fn keys(&self) -> &[Bytes] {
        &self.keys
    }

    /// Leaves what was found guilty out from now on: a family of commands, or a key with an odd name.
    pub fn leave_out(&mut self, culprit: &str) {
        self.keys.retain(|key| odd_name(key).is_none_or(|name| !culprit.ends_with(&on_key(name))));
        self.vocabulary.retain(|(name, _)| family(name) != culprit);
    }

    /// Whether there is something left to try.
    pub fn is_exhausted(&self) -> bool {
        self.vocabulary.is_empty()
    }

    /// The next sequence.
    pub fn sequence(&mut self) -> Vec<Step> {
        let mut steps = Vec::new();
        self.only_hashes = self.chance(60) && self.vocabulary.iter().any(is_about_hashes);
        if self.chance(15) {
            steps.push(Step::Delay(self.rng.random_range(1..8)));
        }
        for _ in 0..self.rng.random_range(LENGTH) {
            if let Some(step) = self.disturbance() {
                steps.push(step);
            }
            steps.push(self.run());
            if self.chance(12) {
                steps.push(Step::Outlive);
            }
        }
        if self.chance(2) {
            steps.push(Step::Promote);
        }
        steps
    }

    fn disturbance(&mut self) -> Option<Step> {
        let skew = |generator: &mut Self, side| {
            let far = [-3_600_000, -10_000, -500, -40, 40, 500, 10_000, 3_600_000];
            Step::Skew(side, generator.one_of(&far))
        };
        Some(match self.rng.random_range(0..1_000) {
            0..25 => Step::Hold,
            25..60 => Step::Release,
            60..66 => Step::Cut,
            66..81 if self.means.stop => Step::Stop,
            81..101 if self.means.stop => Step::Continue,
            101..116 if self.means.skew_primary => skew(self, Side::Primary),
            116..131 if self.means.skew_replica => skew(self, Side::Replica),
            131..136 if self.means.switch_expiry => Step::ActiveExpiry(true),
            136..146 if self.means.switch_expiry => Step::ActiveExpiry(false),
            146..148 => Step::Promote,
            148..168 => Step::Pause(self.rng.random_range(1..6)),
            _ => return None,
        })
    }

    fn run(&mut self) -> Step {
        let commands = if self.chance(10) { self.rng.random_range(2..5) } else { 1 };
        Step::Run((0..commands).map(|_| self.command()).collect())
    }

    fn command(&mut self) -> Command {
        let only_hashes = self.only_hashes;
        let candidates = || self.vocabulary.iter().filter(|entry| !only_hashes || is_about_hashes(entry));
        let total: u32 = candidates().map(|(_, weight)| weight).sum();
        let mut drawn = self.rng.random_range(0..total.max(1));
        let mut name = "PING";
        for (candidate, weight) in candidates() {
            name = candidate;
            if drawn < *weight {
                break;
            }
            drawn -= weight;
        }
        self.form(name)
    }

    /// A random form of one command.
    fn form(&mut self, name: &'static str) -> Command {
        match name {
            "HSETEX" => self.hsetex(),
            "HGETEX" => {
                let mut words = self.words(name);
                let option = self.one_of(&["", "EX", "PX", "EXAT", "PXAT", "PERSIST", "PX", "PXAT"]);
                self.put_expiry(option, &mut words);
                self.with_fields(words, true, false)
            }
            "HEXPIRE" | "HPEXPIRE" | "HEXPIREAT" | "HPEXPIREAT" => {
                let mut words = self.words(name);
                let time = self.time(&name[1..]);
                words.push(time);
                let condition = self.one_of(&["", "", "", "", "NX", "XX", "GT", "LT"]);
                put_option(condition, &mut words);
                self.with_fields(words, true, false)
            }
            "HPERSIST" | "HGETDEL" | "HTTL" | "HPEXPIRETIME" => {
                let words = self.words(name);
                self.with_fields(words, true, false)
            }
            "HDEL" | "HMGET" => {
                let words = self.words(name);
                self.with_fields(words, false, false)
            }
            "HSET" | "HMSET" => {
                let words = self.words(name);
                self.with_fields(words, false, true)
            }
            "HSETNX" => self.hash(name, &[], true),
            "HINCRBY" | "HINCRBYFLOAT" => {
                let by = self.one_of(&["1", "-3", "10"]);
                self.hash(name, &[by], false)
            }
            "HGET" | "HEXISTS" | "HSTRLEN" => self.hash(name, &[], false),
            "HRANDFIELD" => self.key(name, &["-3", "WITHVALUES"]),
            "HSCAN" => self.key(name, &["0", "COUNT", "100"]),
            "EXPIRE" | "PEXPIRE" | "EXPIREAT" | "PEXPIREAT" => {
                let mut words = self.words(name);
                let time = self.time(name);
                words.push(time);
                let condition = self.one_of(&["", "", "", "", "NX", "XX", "GT", "LT"]);
                put_option(condition, &mut words);
                Command::plain(words)
            }
            "RENAME" | "COPY" | "SUNIONSTORE" | "LMOVE" => self.two_keys(name),
            "SET" => self.set(),
            "GETEX" => {
                let mut words = self.words(name);
                let option = self.one_of(&["", "EX", "PX", "EXAT", "PXAT", "PERSIST"]);
                self.put_expiry(option, &mut words);
                Command::plain(words)
            }
            "SETEX" => self.set_for(name, Word::ForS(100)),
            "PSETEX" => {
                let short = Word::ForMs(self.short_ms());
                self.set_for(name, short)
            }
            "SETNX" | "GETSET" | "APPEND" => {
                let value = self.value();
                self.key(name, &[&value])
            }
            "INCRBY" => self.key(name, &["7"]),
            "INCRBYFLOAT" => self.key(name, &["0.5"]),
            "SETRANGE" => self.key(name, &["1", "x"]),
            "RPUSH" | "SADD" | "SREM" => {
                let member = self.value();
                self.key(name, &[&member])
            }
            name => self.key(name, &[]),
        }
    }

    fn hsetex(&mut self) -> Command {
        let mut words = self.words("HSETEX");
        let key_condition = self.one_of(&["", "", "", "", "", "NX", "XX"]);
        put_option(key_condition, &mut words);
        let condition = self.one_of(&["", "", "", "", "", "FNX", "FXX"]);
        put_option(condition, &mut words);
        let expiry = self.one_of(&["", "EX", "PX", "EXAT", "PXAT", "KEEPTTL", "KEEPTTL", "PX", "PX", "PXAT"]);
        self.put_expiry(expiry, &mut words);
        self.with_fields(words, true, true)
    }

    fn set(&mut self) -> Command {
        let mut words = self.words("SET");
        words.push(text(&self.value()));
        let condition = self.one_of(&["", "", "", "NX", "XX", "GET"]);
        put_option(condition, &mut words);
        let expiry = self.one_of(&["", "EX", "PX", "EXAT", "PXAT", "KEEPTTL", "PX"]);
        // Unlike a field's, a key's time to live cannot be 0 here.
        match expiry {
            "PX" => words.extend([text("PX"), Word::ForMs(self.short_ms())]),
            "EX" => words.extend([text("EX"), Word::ForS(100)]),
            other => self.put_expiry(other, &mut words),
        }
        Command::plain(words)
    }

    fn set_for(&mut self, name: &str, time: Word) -> Command {
        let mut words = self.words(name);
        words.extend([time, text(&self.value())]);
        Command::plain(words)
    }

    fn two_keys(&mut self, name: &str) -> Command {
        let mut words = self.words(name);
        words.push(Word::Text(self.any_key()));
        match name {
            "COPY" => words.push(text("REPLACE")),
            "LMOVE" => words.extend([text("LEFT"), text("RIGHT")]),
            _ => {}
        }
        Command::plain(words)
    }

    fn key(&mut self, name: &str, rest: &[&str]) -> Command {
        let mut words = self.words(name);
        words.extend(rest.iter().map(|word| text(word)));
        Command::plain(words)
    }

    /// Name, key, one field and more.
    fn hash(&mut self, name: &str, rest: &[&str], valued: bool) -> Command {
        let mut words = self.words(name);
        words.push(text(self.field()));
        if valued {
            words.push(text(&self.value()));
        }
        words.extend(rest.iter().map(|word| text(word)));
        Command::plain(words)
    }

    fn with_fields(&mut self, words: Vec<Word>, counted: bool, valued: bool) -> Command {
        let names: BTreeSet<&'static str> = (0..self.rng.random_range(1..4)).map(|_| self.field()).collect();
        let mut fields = Vec::new();
        for name in names {
            let value = valued.then(|| Bytes::from(self.value()));
            fields.push((Bytes::from_static(name.as_bytes()), value));
        }
        Command { words, counted, fields }
    }

    fn put_expiry(&mut self, option: &str, words: &mut Vec<Word>) {
        put_option(option, words);
        let time = match option {
            "EX" => self.time("EXPIRE"),
            "PX" => self.time("PEXPIRE"),
            "EXAT" => self.time("EXPIREAT"),
            "PXAT" => self.time("PEXPIREAT"),
            _ => return,
        };
        words.push(time);
    }

    /// A time for the command of that name: mostly short where ms are taken, far away, or past.
    fn time(&mut self, name: &str) -> Word {
        let drawn = self.rng.random_range(0..100);
        match name {
            "PEXPIRE" if drawn < 65 => Word::ForMs(self.short_ms()),
            "PEXPIRE" if drawn < 95 => Word::ForMs(100_000),
            "PEXPIRE" => Word::ForMs(0),
            "EXPIRE" if drawn < 95 => Word::ForS(100),
            "EXPIRE" => Word::ForS(i64::from(drawn == 99)),
            "PEXPIREAT" if drawn < 60 => Word::AtMs(self.short_ms()),
            "PEXPIREAT" if drawn < 90 => Word::AtMs(100_000),
            "PEXPIREAT" => Word::AtMs(-5),
            _ if drawn < 90 => Word::AtS(100),
            _ => Word::AtS(-5),
        }
    }

    fn short_ms(&mut self) -> i64 {
        self.one_of(&[1, 2, 10, 10, 10, 20])
    }

    /// Name and key: mostly one that has a value of the type that the command takes.
    fn words(&mut self, name: &str) -> Vec<Word> {
        let key = match name.as_bytes()[0] {
            b'H' if self.chance(70) => Bytes::from_static(HASH.as_bytes()),
            b'S' | b'G' | b'A' | b'I' | b'R' | b'L' if name != "RENAME" && self.chance(85) => {
                Bytes::from_static(STRING.as_bytes())
            }
            _ => self.any_key(),
        };
        vec![text(name), Word::Text(key)]
    }

    fn any_key(&mut self) -> Bytes {
        let at = self.rng.random_range(0..self.keys.len());
        self.keys[at].clone()
    }

    fn field(&mut self) -> &'static str {
        self.one_of(&FIELDS)
    }

    fn value(&mut self) -> String {
        self.rng.random_range(1..100).to_string()
    }

    fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.rng.random_range(0..choices.len())]
    }

    fn chance(&mut self, percent: u32) -> bool {
        self.rng.random_range(0..100) < percent
    }
}

fn is_about_hashes((name, _): &(&'static str, u32)) -> bool {
    name.starts_with('H')
}

fn text(word: &str) -> Word {
    Word::Text(Bytes::copy_from_slice(word.as_bytes()))
}

fn put_option(option: &str, words: &mut Vec<Word>) {
    if !option.is_empty() {
        words.push(text(option));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_makes_the_same_sequences() {
        let generate = || {
            let mut generator = Generator::new(7, &command_names(), true, Means::default());
            (0..20).map(|_| generator.sequence()).collect::<Vec<_>>()
        };
        assert_eq!(generate(), generate());
    }

    #[test]
    fn what_is_unknown_guilty_or_impossible_is_left_out() {
        let known: Vec<&str> = command_names().into_iter().filter(|name| *name != "SPOP").collect();
        let mut generator = Generator::new(1, &known, false, Means::default());
        generator.leave_out("HEXPIRE");
        for step in (0..200).flat_map(|_| generator.sequence()) {
            assert!(!matches!(step, Step::Stop | Step::Skew(..) | Step::ActiveExpiry(_)), "{step}");
            for command in step.commands() {
                assert!(command.name() != "SPOP" && family(command.name()) != "HEXPIRE", "{command}");
            }
        }
    }
}
