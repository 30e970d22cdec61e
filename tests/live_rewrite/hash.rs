//! Hashes: what is stored before and after a command, dead fields included, is read with DUMP.

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use replcore::resp::Reply;
use replcore::rewrite::hash::{
    self, DeadlineBefore, FieldEffect, HSetExOutcome, HSetNxOutcome, Leftovers, Touched,
};
use replcore::rewrite::{Argv, Propagation};

use crate::lab::{Judged, Lab, Mode, Seen, Step};
use crate::support::client::argv;
use crate::support::stored::{self, Fields};

const ROWS: &[&str] = &[
    "refused",
    "HSET, HMSET",
    "HSETNX, the field exists",
    "HSETNX, not volatile",
    "HSETNX, volatile",
    "HINCRBY, not volatile",
    "HINCRBY, volatile",
    "HINCRBY, a live deadline",
    "HINCRBYFLOAT, no live deadline",
    "HINCRBYFLOAT, a live deadline",
    "HDEL, none deleted",
    "HDEL",
    "HGETDEL, none deleted",
    "HGETDEL",
    "HEXPIRE, HPEXPIRE, HEXPIREAT",
    "HPEXPIREAT",
    "HEXPIRE family, none changed",
    "HEXPIRE family, past",
    "HPERSIST",
    "HPERSIST, none changed",
    "HGETEX, none changed",
    "HGETEX, a time",
    "HGETEX, past",
    "HGETEX PERSIST",
    "HSETEX, condition not met",
    "HSETEX PXAT",
    "HSETEX, a time or a condition",
    "HSETEX, past, some stored",
    "HSETEX, past, none stored",
    "HSETEX, no time",
    "HSETEX KEEPTTL, nothing to keep",
    "HSETEX KEEPTTL, a deadline to keep",
    "HSETEX with a key called like a condition",
];

/// Rows about dead fields: sure to be met if nothing is reclaimed.
const STILL_ROWS: &[&str] = &[
    "HDEL, a dead field named",
    "HGETDEL, a dead field named",
    "HEXPIRE family, a dead field named",
    "HPERSIST, a dead field named",
    "HGETEX, a dead field named",
    "HSETEX KEEPTTL, dead fields overwritten",
    "HSETEX KEEPTTL, more dead fields than a batch",
];

pub fn rows(mode: Mode) -> Vec<&'static str> {
    match mode {
        Mode::Still => [ROWS, STILL_ROWS].concat(),
        Mode::Reclaiming => [ROWS, &["active reclaim", "active reclaim, hash emptied"]].concat(),
    }
}

/// The positions of the fields that a command names.
fn named(argv: &[Bytes]) -> Vec<usize> {
    let after_fields = |from: usize| {
        let at = argv[from..].iter().position(|arg| arg.eq_ignore_ascii_case(b"FIELDS"));
        from + at.expect("the command says FIELDS") + 2
    };
    match &argv[0].to_ascii_uppercase()[..] {
        b"HSET" | b"HMSET" => (2..argv.len()).step_by(2).collect(),
        b"HSETNX" | b"HINCRBY" | b"HINCRBYFLOAT" => vec![2],
        b"HDEL" => (2..argv.len()).collect(),
        b"HSETEX" => (after_fields(2)..argv.len()).step_by(2).collect(),
        b"HGETDEL" | b"HPERSIST" | b"HGETEX" => (after_fields(2)..argv.len()).collect(),
        _ => (after_fields(3)..argv.len()).collect(),
    }
}

/// A command of this family.
fn step(argv: Argv) -> Step {
    let dump = argv!["DUMP", &argv[1]];
    Step { before: vec![dump.clone()], after: vec![dump], judge, argv }
}

fn judge(seen: &Seen) -> Judged {
    let view = View::new(seen);
    let mut judged = if matches!(seen.reply, Reply::Error(_)) {
        assert_eq!(view.before, view.after, "a refused command changes nothing");
        Judged::new("refused", Ok(Propagation::Nothing))
    } else {
        match &seen.argv[0].to_ascii_uppercase()[..] {
            b"HSET" | b"HMSET" => Judged::new("HSET, HMSET", hash::hset(&seen.argv)),
            b"HSETNX" => view.hsetnx(),
            b"HINCRBY" => view.hincrby(),
            b"HINCRBYFLOAT" => view.hincrbyfloat(),
            b"HDEL" => view.hdel(),
            b"HGETDEL" => view.hgetdel(),
            b"HPERSIST" => view.hpersist(),
            b"HGETEX" => view.hgetex(),
            b"HSETEX" => view.hsetex(),
            _ => view.hexpire(),
        }
    };
    judged.hash = Some((seen.argv[1].clone(), view.after));
    judged
}

/// What a command met and left.
struct View<'s> {
    argv: &'s [Bytes],
    reply: &'s Reply,
    before: Fields,
    after: Fields,
    /// The fields it names, each at its first position.
    first: Vec<usize>,
    /// Those of them that were stored and hidden.
    dead: Vec<usize>,
}

impl<'s> View<'s> {
    fn new(seen: &'s Seen) -> Self {
        let (before, after) = (stored::fields(&seen.before[0]), stored::fields(&seen.after[0]));
        let (mut first, mut dead): (Vec<usize>, Vec<usize>) = Default::default();
        let keeps = seen.argv[2..].iter().any(|arg| arg.eq_ignore_ascii_case(b"KEEPTTL"));
        let is_without_deadline = |field| after.get(field).is_some_and(|(_, deadline)| deadline.is_none());
        for (nth, at) in named(&seen.argv).into_iter().enumerate() {
            let field = &seen.argv[at];
            if first.iter().any(|&at| seen.argv[at] == *field) {
                continue;
            }
            first.push(at);
            // Stored, and the command took it for absent. To ask for its deadline would not do: in the very
            // millisecond of the deadline some commands see the field and some do not.
            let Some((_, Some(deadline_ms))) = before.get(field) else { continue };
            let taken_for_absent = match &seen.argv[0].to_ascii_uppercase()[..] {
                b"HDEL" => after.contains_key(field),
                b"HGETDEL" | b"HGETEX" => stored::items(&seen.reply).get(nth) == Some(&Reply::Null),
                b"HINCRBY" | b"HINCRBYFLOAT" => is_without_deadline(field),
                b"HSETEX" => keeps && is_without_deadline(field),
                b"HSET" | b"HMSET" | b"HSETNX" => false,
                _ => stored::items(&seen.reply).get(nth) == Some(&Reply::Integer(-2)),
            };
            if taken_for_absent {
                assert!(is_past(*deadline_ms), "{field:?} is alive");
                dead.push(at);
            }
        }
        View { argv: &seen.argv, reply: &seen.reply, before, after, first, dead }
    }

    fn volatile(&self) -> bool {
        self.before.values().any(|(_, deadline)| deadline.is_some())
    }

    fn is_dead(&self, at: usize) -> bool {
        self.dead.contains(&at)
    }

    fn says(&self, option: &str) -> bool {
        self.argv[2..named(self.argv)[0] - 2].iter().any(|arg| arg.eq_ignore_ascii_case(option.as_bytes()))
    }

    fn touched<'o>(&'o self, changed: &'o [usize]) -> Touched<'o> {
        let kept = self.dead.iter().all(|&at| self.after.contains_key(&self.argv[at]));
        assert!(kept, "Valkey leaves dead fields that it does not overwrite where they are");
        Touched { changed, dead: &self.dead, leftovers: Leftovers::Kept }
    }

    /// Those that were there, not dead, and are gone.
    fn deleted(&self) -> Vec<usize> {
        let gone = |at: &usize| {
            let field = &self.argv[*at];
            self.before.contains_key(field) && !self.is_dead(*at) && !self.after.contains_key(field)
        };
        self.first.iter().copied().filter(gone).collect()
    }

    /// Those whose reply says so, each where it first does.
    fn replied(&self, number: i64) -> Vec<usize> {
        let mut changed: Vec<usize> = Vec::new();
        for (at, reply) in named(self.argv).into_iter().zip(stored::items(self.reply)) {
            if *reply == Reply::Integer(number) && !changed.iter().any(|&it| self.argv[it] == self.argv[at]) {
                changed.push(at);
            }
        }
        changed
    }

    fn deadline_after(&self, at: usize) -> Option<u64> {
        self.after[&self.argv[at]].1
    }

    fn hsetnx(&self) -> Judged {
        let volatile = self.volatile();
        let (row, outcome) = match self.reply {
            Reply::Integer(0) => ("HSETNX, the field exists", HSetNxOutcome::Unchanged),
            _ if volatile => ("HSETNX, volatile", HSetNxOutcome::Set { volatile }),
            _ => ("HSETNX, not volatile", HSetNxOutcome::Set { volatile }),
        };
        Judged::new(row, hash::hsetnx(self.argv, outcome))
    }

    fn deadline_before(&self) -> DeadlineBefore {
        match self.before.get(&self.argv[2]) {
            Some((_, Some(ms))) if self.dead.is_empty() => DeadlineBefore::Live(*ms),
            _ if self.volatile() => DeadlineBefore::Volatile,
            _ => DeadlineBefore::NotVolatile,
        }
    }

    fn hincrby(&self) -> Judged {
        let Reply::Integer(result) = self.reply else { panic!("HINCRBY answers a number") };
        let before = self.deadline_before();
        let row = match before {
            DeadlineBefore::NotVolatile => "HINCRBY, not volatile",
            DeadlineBefore::Volatile => "HINCRBY, volatile",
            DeadlineBefore::Live(_) => "HINCRBY, a live deadline",
        };
        Judged::new(row, hash::hincrby(self.argv, *result, before))
    }

    fn hincrbyfloat(&self) -> Judged {
        let before = self.deadline_before();
        let row = match before {
            DeadlineBefore::Live(_) => "HINCRBYFLOAT, a live deadline",
            _ => "HINCRBYFLOAT, no live deadline",
        };
        Judged::new(row, hash::hincrbyfloat(self.argv, &stored::text(self.reply), before))
    }

    fn hdel(&self) -> Judged {
        let changed = self.deleted();
        let row = match (changed.is_empty(), self.dead.is_empty()) {
            (true, _) => "HDEL, none deleted",
            (_, true) => "HDEL",
            (_, false) => "HDEL, a dead field named",
        };
        Judged::new(row, hash::hdel(self.argv, self.touched(&changed)))
            .but_valkey(Propagation::verbatim_if(!changed.is_empty()))
    }

    fn hgetdel(&self) -> Judged {
        let changed = self.deleted();
        let row = match (changed.is_empty(), self.dead.is_empty()) {
            (true, _) => "HGETDEL, none deleted",
            (_, true) => "HGETDEL",
            (_, false) => "HGETDEL, a dead field named",
        };
        Judged::new(row, hash::hgetdel(self.argv, self.touched(&changed)))
            .but_valkey(Propagation::verbatim_if(!changed.is_empty()))
    }

    fn hexpire(&self) -> Judged {
        let (set, deleted) = (self.replied(1), self.replied(2));
        let (row, changed, effect) = match (set.first(), deleted.is_empty(), self.dead.is_empty()) {
            (_, false, _) => ("HEXPIRE family, past", deleted, FieldEffect::Deleted),
            (None, ..) => ("HEXPIRE family, none changed", set, FieldEffect::Deadline(0)),
            (Some(&at), _, live) => {
                let deadline = self.deadline_after(at).expect("a deadline was set");
                let row = match live {
                    false => "HEXPIRE family, a dead field named",
                    true if self.argv[0].eq_ignore_ascii_case(b"HPEXPIREAT") => "HPEXPIREAT",
                    true => "HEXPIRE, HPEXPIRE, HEXPIREAT",
                };
                (row, set, FieldEffect::Deadline(deadline))
            }
        };
        let valkeys = hash::hexpire(self.argv, Touched::live(&changed), effect).expect("an outcome of it");
        Judged::new(row, hash::hexpire(self.argv, self.touched(&changed), effect)).but_valkey(valkeys)
    }

    fn hpersist(&self) -> Judged {
        let changed = self.replied(1);
        let row = match (changed.is_empty(), self.dead.is_empty()) {
            (true, _) => "HPERSIST, none changed",
            (_, true) => "HPERSIST",
            (_, false) => "HPERSIST, a dead field named",
        };
        Judged::new(row, hash::hpersist(self.argv, self.touched(&changed)))
            .but_valkey(Propagation::verbatim_if(!changed.is_empty()))
    }

    fn hgetex(&self) -> Judged {
        let is_dead = |field: &Bytes| self.dead.iter().any(|&at| self.argv[at] == *field);
        let is_live = |at: &usize| {
            let field = &self.argv[*at];
            self.before.contains_key(field) && !is_dead(field)
        };
        // A field that is named twice is given its deadline twice.
        let live: Vec<usize> = named(self.argv).into_iter().filter(is_live).collect();
        let had_deadline = |at: &usize| self.before[&self.argv[*at]].1.is_some();
        let deleted = self.deleted();
        let (row, changed, effect) = if named(self.argv)[0] == 4 {
            ("HGETEX, none changed", Vec::new(), FieldEffect::Persisted)
        } else if self.says("PERSIST") {
            let changed = live.into_iter().filter(|at| self.first.contains(at) && had_deadline(at)).collect();
            ("HGETEX PERSIST", changed, FieldEffect::Persisted)
        } else if !deleted.is_empty() {
            ("HGETEX, past", deleted, FieldEffect::Deleted)
        } else if let Some(&at) = live.first() {
            let deadline = self.deadline_after(at).expect("a deadline was set");
            ("HGETEX, a time", live, FieldEffect::Deadline(deadline))
        } else {
            ("HGETEX, none changed", live, FieldEffect::Deadline(0))
        };
        let row = if self.dead.is_empty() { row } else { "HGETEX, a dead field named" };
        Judged::new(row, hash::hgetex(self.argv, self.touched(&changed), effect))
    }

    fn hsetex(&self) -> Judged {
        if *self.reply == Reply::Integer(0) {
            return Judged::new("HSETEX, condition not met", hash::hsetex(self.argv, HSetExOutcome::NotMet));
        }
        let pairs = named(self.argv);
        let is_there = |at: &usize| self.before.contains_key(&self.argv[*at]);
        let stored: Vec<usize> = self.first.iter().copied().filter(is_there).collect();
        if pairs.iter().any(|&at| !self.after.contains_key(&self.argv[at])) {
            let row = match stored.is_empty() {
                true => "HSETEX, past, none stored",
                false => "HSETEX, past, some stored",
            };
            return Judged::new(row, hash::hsetex(self.argv, HSetExOutcome::Past { stored: &stored }));
        }
        if self.says("KEEPTTL") {
            return self.hsetex_keepttl(&pairs);
        }
        let deadline_ms = self.deadline_after(pairs[0]);
        let ours = hash::hsetex(self.argv, HSetExOutcome::Stored { deadline_ms });
        let is_condition =
            |arg: &Bytes| ["NX", "XX", "FNX", "FXX"].iter().any(|c| arg.eq_ignore_ascii_case(c.as_bytes()));
        if is_condition(&self.argv[1]) {
            let Ok(Propagation::Command(mut keyless)) = ours.clone() else { panic!("a time is rewritten") };
            keyless.remove(1);
            return Judged::new("HSETEX with a key called like a condition", ours)
                .but_valkey(Propagation::Command(keyless));
        }
        match deadline_ms {
            None => Judged::new("HSETEX, no time", ours).but_valkey(self.without_conditions()),
            Some(_) if self.says("PXAT") && pairs[0] == 6 => Judged::new("HSETEX PXAT", ours),
            Some(_) => Judged::new("HSETEX, a time or a condition", ours),
        }
    }

    fn hsetex_keepttl(&self, pairs: &[usize]) -> Judged {
        let deadlines_ms: Vec<Option<u64>> = pairs.iter().map(|&at| self.deadline_after(at)).collect();
        let row = match (self.dead.len(), deadlines_ms.iter().any(Option::is_some)) {
            (1025.., _) => "HSETEX KEEPTTL, more dead fields than a batch",
            (1.., _) => "HSETEX KEEPTTL, dead fields overwritten",
            (_, true) => "HSETEX KEEPTTL, a deadline to keep",
            (_, false) => "HSETEX KEEPTTL, nothing to keep",
        };
        let outcome = HSetExOutcome::Kept { deadlines_ms: &deadlines_ms, dead: &self.dead };
        let mut valkeys: Vec<Argv> = Vec::new();
        for batch in self.dead.chunks(1024) {
            let mut hdel = argv!["HDEL", &self.argv[1]];
            hdel.extend(batch.iter().map(|&at| self.argv[at].clone()));
            valkeys.push(hdel);
        }
        match self.without_conditions() {
            Propagation::Command(command) => valkeys.push(command),
            _ => valkeys.push(self.argv.to_vec()),
        }
        let ours = hash::hsetex(self.argv, outcome);
        Judged::new(row, ours).but_valkey(Propagation::of(valkeys))
    }

    /// How Valkey sends an `HSETEX` that names no time.
    fn without_conditions(&self) -> Propagation {
        let options = &self.argv[2..named(self.argv)[0] - 2];
        let kept: Vec<Bytes> =
            options.iter().filter(|arg| arg.eq_ignore_ascii_case(b"KEEPTTL")).cloned().collect();
        if kept.len() == options.len() {
            return Propagation::Verbatim;
        }
        let fields = &self.argv[named(self.argv)[0] - 2..];
        Propagation::Command([&self.argv[..2], &kept, fields].concat())
    }
}

fn now_ms() -> u64 {
    let now = std::time::UNIX_EPOCH.elapsed().expect("the clock is past 1970");
    u64::try_from(now.as_millis()).expect("a date in the near future")
}

fn is_past(deadline_ms: u64) -> bool {
    deadline_ms <= now_ms()
}

/// Every row once, as far as chance is not to decide.
pub fn scripted(lab: &mut Lab) {
    let mut one =
        |words: &str| lab.one(step(words.split(' ').map(|word| Bytes::from(word.to_owned())).collect()));
    one("HSETEX fnx EX 100 FIELDS 1 a b");
    one("hset nx a 1");
    one("HSETEX nx FXX PX 100000 FIELDS 2 a b nx nx");
    one("hset p a 1 b 2");
    one("hincrby p a 1");
    one("hincrby p a x");
    one("hsetnx p c 1");
    one("hexpire p 100 FIELDS 3 a a nope");
    one("hsetnx p d 1");
    one("hsetnx p d 1");
    one("hincrby p a 1");
    one("hincrby p b 1");
    one("hincrbyfloat p a 1.5");
    one("hincrbyfloat p b 1.5");
    one("hexpire p 200 NX FIELDS 2 a b");
    one("hexpire p 300 GT FIELDS 3 a c nope");
    one("hpexpireat p 1 LT FIELDS 2 a nope");
    one("hgetex p EX 100 FIELDS 3 b c nope");
    one("hgetex p FIELDS 1 b");
    one("hgetex p PERSIST FIELDS 2 b nope");
    one("hgetex p EXAT 1 FIELDS 3 b b nope");
    one("hpersist p FIELDS 3 c c nope");
    one("hpersist p FIELDS 1 c");
    one("hgetdel p FIELDS 3 c c nope");
    one("hgetdel p FIELDS 1 nope");
    one("hdel p d d nope");
    one("hdel p nope");
    one("hsetex p XX EX 100 FIELDS 1 a b");
    one("hsetex p NX EX 100 FIELDS 1 a b");
    one("hsetex p pXAt 9999999999999 fields 1 a b");
    one("hsetex p KEEPTTL FIELDS 2 a c z z");
    one("hsetex p FXX KEEPTTL FIELDS 1 z y");
    one("hsetex p EXAT 1 FIELDS 2 z y nope x");
    one("hsetex p EXAT 1 FIELDS 1 nope x");
    one("hsetex p FNX FIELDS 1 z y");
    one("hexpire p 0 FIELDS 3 a z nope");
    let rng = &mut StdRng::seed_from_u64(1);
    let many: Vec<String> = (0..1500).map(|n| format!("f{n}")).collect();
    for keep_one in [false, true] {
        let mut hset = argv!["HSET", "many"];
        many.iter().for_each(|field| hset.extend(argv![field, "v"]));
        let mut hpexpire = argv!["HPEXPIRE", "many", "1", "FIELDS", many.len() - usize::from(keep_one)];
        many[usize::from(keep_one)..].iter().for_each(|field| hpexpire.extend(argv![field]));
        let mut keep = argv!["HSETEX", "many", "KEEPTTL", "FIELDS", many.len()];
        many.iter().for_each(|field| keep.extend(argv![field, rng.random_range(0..9)]));
        lab.one(step(hset));
        lab.one(step(hpexpire));
        lab.wait_hidden("many", "f700");
        lab.one(step(keep));
    }
    dead_fields(lab);
}

/// Each command over a live field and dead ones.
fn dead_fields(lab: &mut Lab) {
    for words in [
        "hdel d live x",
        "hdel d x y x",
        "hdel d live x y",
        "hgetdel d FIELDS 2 x live",
        "hexpire d 100 FIELDS 3 x live y",
        "hpexpireat d 9999999999999 NX FIELDS 2 live x",
        "hexpire d 0 FIELDS 3 x live y",
        "hexpire d 100 GT FIELDS 2 x live",
        "hpersist d FIELDS 2 timed x",
        "hpersist d FIELDS 3 x y live",
        "hgetex d EX 100 FIELDS 2 live x",
        "hgetex d EXAT 1 FIELDS 2 live x",
        "hgetex d PERSIST FIELDS 2 timed x",
        "hsetex d KEEPTTL FIELDS 3 x 1 live 2 timed 3",
        "hsetex d FNX KEEPTTL FIELDS 2 x 1 x 2",
        "hsetex d FXX KEEPTTL FIELDS 1 x 1",
        "hsetex d EXAT 1 FIELDS 2 x 1 live 2",
        "hsetex d FNX EX 100 FIELDS 1 x 1",
        "hset d x 1",
        "hsetnx d x 1",
        "hincrby d x 1",
        "hincrbyfloat d x 1",
    ] {
        let mut one =
            |words: &str| lab.one(step(words.split(' ').map(|word| Bytes::from(word.to_owned())).collect()));
        one("hset d live 1 timed 1 x 1 y 1");
        one("hexpire d 100 FIELDS 1 timed");
        one("hpexpire d 1 FIELDS 2 x y");
        lab.wait_hidden("d", "y");
        let mut one =
            |words: &str| lab.one(step(words.split(' ').map(|word| Bytes::from(word.to_owned())).collect()));
        one(words);
        one("hdel d live timed x y");
    }
}

/// A command at random.
pub fn random(rng: &mut StdRng) -> Step {
    let now_ms = now_ms();
    let key = *["h0", "h1", "h2"].choose(rng).expect("not empty");
    let field = |rng: &mut StdRng| *["a", "b", "c", "d", "e", "nx", "fields"].choose(rng).expect("not empty");
    let fields = |rng: &mut StdRng, values: bool| {
        let len = rng.random_range(1..5);
        let mut list = argv!["FIELDS", len];
        for _ in 0..len {
            list.extend(argv![field(rng)]);
            list.extend(values.then(|| argv![rng.random_range(0..100)]).into_iter().flatten());
        }
        list
    };
    let near = [1, 2, 3, 100_000];
    let condition = |rng: &mut StdRng, of: &[&'static str]| {
        let chosen = rng.random_ratio(1, 3).then(|| *of.choose(rng).expect("not empty"));
        chosen.map(|condition| argv![condition]).unwrap_or_default()
    };
    let time = |rng: &mut StdRng| match rng.random_range(0..6) {
        0 => argv!["EX", *[0, 100].choose(rng).expect("not empty")],
        1 | 2 => argv!["PX", *near.choose(rng).expect("not empty")],
        3 => argv!["EXAT", *[1, now_ms / 1000 + 100].choose(rng).expect("not empty")],
        _ => argv!["PXAT", *[1, now_ms + 2, now_ms + 100_000].choose(rng).expect("not empty")],
    };
    let argv = match rng.random_range(0..16) {
        0 | 1 => {
            let mut hset = argv![*["hset", "HMSET"].choose(rng).expect("not empty"), key];
            (0..rng.random_range(1..5))
                .for_each(|_| hset.extend(argv![field(rng), rng.random_range(0..100)]));
            hset
        }
        2 => argv!["hsetnx", key, field(rng), "7"],
        3 => argv!["hincrby", key, field(rng), rng.random_range(-5..5)],
        4 => argv!["hincrbyfloat", key, field(rng), "0.25"],
        5 => {
            let mut hdel = argv!["hdel", key];
            (0..rng.random_range(1..4)).for_each(|_| hdel.extend(argv![field(rng)]));
            hdel
        }
        6 => [argv!["hgetdel", key], fields(rng, false)].concat(),
        7..=9 => {
            let head = match rng.random_range(0..5) {
                0 => argv!["hexpire", key, *[0, 100].choose(rng).expect("not empty")],
                1 | 2 => argv!["hPexpire", key, *near.choose(rng).expect("not empty")],
                3 => argv!["hexpireat", key, *[1, now_ms / 1000 + 100].choose(rng).expect("not empty")],
                _ => argv![
                    "hpexpireat",
                    key,
                    *[1, now_ms + 2, now_ms + 90_000].choose(rng).expect("not empty")
                ],
            };
            [head, condition(rng, &["nx", "XX", "GT", "lt"]), fields(rng, false)].concat()
        }
        10 => [argv!["hpersist", key], fields(rng, false)].concat(),
        11 | 12 => {
            let option = match rng.random_range(0..4) {
                0 => argv!["PERSIST"],
                1 => Vec::new(),
                _ => time(rng),
            };
            [argv!["hgetex", key], option, fields(rng, false)].concat()
        }
        _ => {
            let option = match rng.random_range(0..5) {
                0 | 1 => argv!["KEEPTTL"],
                2 => Vec::new(),
                _ => time(rng),
            };
            let conditions = condition(rng, &["NX", "xx", "FNX", "fxx"]);
            [argv!["hsetex", key], conditions, option, fields(rng, true)].concat()
        }
    };
    step(argv)
}
