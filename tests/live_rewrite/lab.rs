//! A Valkey that executes, a recorder of what it propagates, and the replica that is fed what `rewrite` says
//! instead.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use replcore::rdb::SnapshotFormat;
use replcore::resp::Reply;
use replcore::rewrite::{DeletionVerb, Effects, Propagation, Rewritten, hash};

use crate::support::client::{Argv, argv};
use crate::support::feed::{Feed, Wire, snapshot};
use crate::support::stored::{self, Fields};
use crate::support::stream::Recorder;
use crate::support::{Client, Program, Scratch, Server, note, wait_until};

/// How long what is due may stay stored.
const RECLAIMED: Duration = Duration::from_secs(60);

/// A deadline that is nearer is waited for before anything is compared.
const NEAR: Duration = Duration::from_secs(5);

/// Runs the commands of a list, and answers a list of their replies. Each is its length and its words.
const SCRIPT: &str = "local replies, at = {}, 1
while ARGV[at] do
  local len = tonumber(ARGV[at])
  replies[#replies + 1] = redis.pcall(unpack(ARGV, at + 1, at + len))
  at = at + len + 1
end
return replies";

/// Whether expired fields are reclaimed meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// They stay stored.
    Still,
    /// Active expiry is on.
    Reclaiming,
}

/// What was seen around a command, at one moment.
pub struct Seen {
    pub argv: Argv,
    pub before: Vec<Reply>,
    pub reply: Reply,
    pub after: Vec<Reply>,
}

/// What that comes to.
pub struct Judged {
    /// The row of the table that it belongs to.
    pub row: &'static str,
    /// What `rewrite` says.
    pub ours: Rewritten,
    /// What Valkey propagates, where that is a listed exception.
    pub valkeys: Option<Propagation>,
    /// A hash, and what it stores now.
    pub hash: Option<(Bytes, Fields)>,
}

impl Judged {
    pub fn new(row: &'static str, ours: Rewritten) -> Judged {
        Judged { row, ours, valkeys: None, hash: None }
    }

    /// A listed exception, if Valkey's form is another one.
    pub fn but_valkey(mut self, valkeys: Propagation) -> Judged {
        self.valkeys = self.ours.as_ref().is_ok_and(|ours| *ours != valkeys).then_some(valkeys);
        self
    }
}

/// A command, what to ask around it, and how to judge it.
pub struct Step {
    pub argv: Argv,
    pub before: Vec<Argv>,
    pub after: Vec<Argv>,
    pub judge: fn(&Seen) -> Judged,
}

/// The whole arrangement.
pub struct Lab {
    mode: Mode,
    client: Client,
    recorder: Recorder,
    /// What `rewrite` says goes to this replica.
    replica: Client,
    feed: Feed,
    counts: BTreeMap<&'static str, u64>,
    exceptions: u64,
    /// What is stored in the hashes, as far as it was read.
    hashes: BTreeMap<Bytes, Fields>,
    _servers: (Server, Server, Scratch),
}

impl Lab {
    pub fn new(name: &str, mode: Mode) -> Lab {
        let scratch = Scratch::new(&format!("rewrite-{name}-{mode:?}"));
        let executing = Server::start(Program::Valkey, "the executing Valkey", &scratch);
        executing.configure(&[("repl-ping-replica-period", "3600"), ("stream-node-max-entries", "5")]);
        let mut client = executing.client();
        let active = if mode == Mode::Still { "0" } else { "1" };
        client.call(argv!["DEBUG", "SET-ACTIVE-EXPIRE", active]);
        let recorder = Recorder::attach(executing.address());
        let replica = Server::start(Program::Valkey, "the fed replica", &scratch);
        replica.configure(&[("stream-node-max-entries", "5")]);
        let feed = Feed::attach(&replica, &snapshot(SnapshotFormat::Valkey80, |_| {}));
        Lab {
            mode,
            client,
            recorder,
            replica: replica.client(),
            feed,
            counts: BTreeMap::new(),
            exceptions: 0,
            hashes: BTreeMap::new(),
            _servers: (executing, replica, scratch),
        }
    }

    /// Runs a unit, as an `EXEC` or as a script, and compares what it propagates.
    #[track_caller]
    pub fn run(&mut self, script: bool, steps: Vec<Step>) {
        let all: Vec<Argv> = steps
            .iter()
            .flat_map(|step| step.before.iter().chain([&step.argv]).chain(&step.after))
            .cloned()
            .collect();
        let mut replies = if script { self.eval(&all) } else { self.exec(&all) }.into_iter();
        let mut seen = Vec::new();
        for step in &steps {
            let before = replies.by_ref().take(step.before.len()).collect();
            let reply = replies.next().expect("a reply for each command");
            let after = replies.by_ref().take(step.after.len()).collect();
            seen.push(Seen { argv: step.argv.clone(), before, reply, after });
        }
        let recorded = self.recorder.take();
        let (mut ours, mut valkeys) = (Effects::new(), Effects::new());
        let mut hashes = Vec::new();
        for (step, seen) in steps.iter().zip(&seen) {
            let judged = (step.judge)(seen);
            let propagation = judged.ours.unwrap_or_else(|error| panic!("{:?}: {error}", seen.argv));
            *self.counts.entry(judged.row).or_default() += 1;
            match judged.valkeys {
                None => valkeys.push(0, &seen.argv, propagation.clone()),
                Some(other) => {
                    self.exceptions += 1;
                    valkeys.push(0, &seen.argv, other);
                }
            }
            ours.push(0, &seen.argv, propagation);
            hashes.extend(judged.hash);
        }
        let mut wire = Wire::default();
        wire.unit(&valkeys);
        let expected = wire.commands();
        let shown = || {
            let steps = steps.iter().zip(&seen).map(|(step, seen)| {
                format!(
                    "{:?} => {:?}\n  before {:?}\n  after {:?}",
                    step.argv, seen.reply, seen.before, seen.after
                )
            });
            steps.collect::<Vec<_>>().join("\n")
        };
        let at = (0..=recorded.len().saturating_sub(expected.len()))
            .find(|&at| recorded[at..].starts_with(&expected))
            .unwrap_or_else(|| {
                panic!("{}\nValkey propagated {recorded:#?}\nexpected was {expected:#?}", shown())
            });
        // What is left is the reclaiming of others. A unit that propagates nothing has changed nothing:
        // whether a reclaim came before or after it makes no difference.
        self.reclaimed(&recorded[..at]);
        self.feed.unit(&ours);
        if !expected.is_empty() || recorded.is_empty() {
            self.hashes.extend(hashes);
            self.same_after(&steps, &seen, &shown);
        }
        self.reclaimed(&recorded[at + expected.len()..]);
    }

    /// What was asked after the commands of a unit, the replica answers alike now.
    #[track_caller]
    fn same_after(&mut self, steps: &[Step], seen: &[Seen], shown: &dyn Fn() -> String) {
        let mut last: BTreeMap<&Argv, &Reply> = BTreeMap::new();
        for (step, seen) in steps.iter().zip(seen) {
            last.extend(step.after.iter().zip(&seen.after));
        }
        for (question, answer) in last {
            let replicas = self.replica.try_call(question).expect("the replica answers");
            let [one, other] = [answer, &replicas].map(|answer| comparable(question, answer));
            assert_eq!(one, other, "{question:?} on the fed replica, after\n{}", shown());
        }
    }

    fn exec(&mut self, commands: &[Argv]) -> Vec<Reply> {
        let mut pipeline = vec![argv!["MULTI"]];
        pipeline.extend_from_slice(commands);
        pipeline.push(argv!["EXEC"]);
        match self.client.pipeline(&pipeline).expect("Valkey answers").pop() {
            Some(Reply::Array(replies)) => replies,
            other => panic!("EXEC answered {other:?}"),
        }
    }

    fn eval(&mut self, commands: &[Argv]) -> Vec<Reply> {
        let mut eval = argv!["EVAL", SCRIPT, "0"];
        for command in commands {
            eval.extend(argv![command.len()]);
            eval.extend(command.iter().cloned());
        }
        match self.client.call(eval) {
            Reply::Array(replies) => replies,
            other => panic!("EVAL answered {other:?}"),
        }
    }

    /// Runs one command as a unit.
    #[track_caller]
    pub fn one(&mut self, step: Step) {
        self.run(false, vec![step]);
    }

    /// Waits until the deadline of a field has passed: the server hides it.
    #[track_caller]
    pub fn wait_hidden(&mut self, key: &str, field: &str) {
        wait_until("a field expires", RECLAIMED, || match self.client.call(argv!["HEXISTS", key, field]) {
            Reply::Integer(0) => Ok(()),
            other => Err(format!("{other:?}")),
        });
    }

    /// Checks units of active expiry: each is what `rewrite` says about expired fields that were stored.
    #[track_caller]
    fn reclaimed(&mut self, mut recorded: &[Argv]) {
        while !recorded.is_empty() {
            assert_eq!(self.mode, Mode::Reclaiming, "nobody asked for {recorded:?}");
            let hdel = if recorded[0] == argv!["MULTI"] { &recorded[1] } else { &recorded[0] };
            assert_eq!(&hdel[0][..], b"HDEL", "a reclaim starts with HDEL: {recorded:?}");
            let (key, gone) = (&hdel[1], &hdel[2..]);
            assert!(gone.len() <= hash::RECLAIM_BATCH_FIELDS);
            let now_ms = std::time::UNIX_EPOCH.elapsed().expect("the clock is past 1970").as_millis();
            let stored = self.hashes.get_mut(key).expect("a hash that was written");
            for field in gone {
                let (_, deadline) = stored.remove(field).expect("a field that was stored");
                assert!(deadline.is_some_and(|ms| u128::from(ms) <= now_ms), "{field:?} was not due");
            }
            let propagation = hash::reclaim(key, gone, stored.is_empty(), DeletionVerb::Unlink);
            let row = if stored.is_empty() { "active reclaim, hash emptied" } else { "active reclaim" };
            *self.counts.entry(row).or_default() += 1;
            let mut wire = Wire::default();
            wire.propagation(&[], propagation.clone());
            let expected = wire.commands();
            assert!(
                recorded.starts_with(&expected),
                "Valkey reclaimed by {recorded:?}, expected {expected:?}"
            );
            recorded = &recorded[expected.len()..];
            self.feed.propagation(&[], propagation);
        }
    }

    /// Compares the fed replica with the Valkey that executed, and checks that every row was exercised.
    #[track_caller]
    pub fn finish(mut self, rows: &[&str]) {
        if self.mode == Mode::Reclaiming {
            let due = |fields: &Fields| fields.values().filter(|(_, at)| at.is_some_and(is_due)).count();
            wait_until("what is due is reclaimed", RECLAIMED, || {
                let recorded = self.recorder.take();
                self.reclaimed(&recorded);
                match self.hashes.values().map(due).sum::<usize>() {
                    0 => Ok(()),
                    left => Err(format!("{left} fields are left")),
                }
            });
        }
        let keys = same_state(&mut self.client, &mut self.replica);
        let total: u64 = self.counts.values().sum();
        note!("{total} commands, {} of them exceptions, {keys} keys left", self.exceptions);
        for (row, count) in &self.counts {
            note!("{count:6}  {row}");
        }
        let missed: Vec<&&str> = rows.iter().filter(|row| !self.counts.contains_key(**row)).collect();
        assert!(missed.is_empty(), "rows that nothing exercised: {missed:?}");
    }
}

/// Whether a deadline has passed or is about to.
fn is_due(deadline_ms: u64) -> bool {
    let soon = std::time::UNIX_EPOCH.elapsed().expect("the clock is past 1970") + NEAR;
    u128::from(deadline_ms) < soon.as_millis()
}

/// Compares everything that two servers have stored. Returns the number of keys.
#[track_caller]
fn same_state(one: &mut Client, other: &mut Client) -> usize {
    let keys = |client: &mut Client| match client.call(argv!["KEYS", "*"]) {
        Reply::Array(keys) => keys.iter().map(stored::text).collect::<BTreeSet<_>>(),
        other => panic!("KEYS answered {other:?}"),
    };
    let names = keys(one);
    assert_eq!(names, keys(other));
    for key in &names {
        let kind = one.call(argv!["TYPE", key]);
        let question = match &stored::text(&kind)[..] {
            b"hash" => argv!["DUMP", key],
            b"stream" => argv!["XINFO", "STREAM", key, "FULL", "COUNT", "0"],
            b"zset" => argv!["ZRANGE", key, "0", "-1", "WITHSCORES"],
            b"string" => argv!["GET", key],
            kind => panic!("{key:?} is a {kind:?}"),
        };
        let [one, other] = [one.call(question.clone()), other.call(question.clone())]
            .map(|answer| comparable(&question, &answer));
        assert_eq!(one, other, "{key:?}");
    }
    names.len()
}

/// An answer, without what differs between servers that store the same.
fn comparable(question: &Argv, answer: &Reply) -> String {
    match &question[0][..] {
        b"DUMP" => format!("{:?}", stored::fields(answer)),
        b"XINFO" => format!("{:?}", stored::Stream::read(answer)),
        _ => format!("{answer:?}"),
    }
}

/// Scripts with a fixed text, and functions: the unit, its database, its end at an error.
pub fn scripts() {
    let mut lab = Lab::new("scripts", Mode::Still);
    let unit = |commands: &[(u16, Argv)]| {
        let mut effects = Effects::new();
        commands.iter().for_each(|(db, argv)| effects.push_command(*db, argv.clone()));
        let mut wire = Wire::default();
        wire.unit(&effects);
        wire.commands()
    };
    let mut check = |command: Argv, commands: &[(u16, Argv)]| {
        let reply = lab.client.try_call(&command).expect("Valkey answers");
        assert_eq!(lab.recorder.take(), unit(commands), "{command:?} => {reply:?}");
        reply
    };
    let incr = |key: &str| argv!["incr", key];
    let body = "redis.call('incr', 'n')";
    check(argv!["EVAL", body, "0"], &[(0, incr("n"))]);
    check(argv!["EVAL", "return redis.call('get', 'n')", "0"], &[]);
    let twice = format!("{body} return {body}");
    check(argv!["EVAL", &twice, "0"], &[(0, incr("n")), (0, incr("n"))]);
    let fails = format!("{body} {body} redis.call('hset', 'n', 'f', 'v') {body}");
    let reply = check(argv!["EVAL", fails, "0"], &[(0, incr("n")), (0, incr("n"))]);
    assert!(matches!(reply, Reply::Error(_)));
    let elsewhere = format!("{body} redis.call('select', '3') {body} redis.call('select', '0') {body}");
    check(argv!["EVAL", elsewhere, "0"], &[(0, incr("n")), (3, incr("n")), (0, incr("n"))]);
    let Reply::Bulk(sha) = check(argv!["SCRIPT", "LOAD", body], &[]) else { panic!("a digest") };
    check(argv!["EVALSHA", sha, "0"], &[(0, incr("n"))]);
    let library = format!("#!lua name=lib\nredis.register_function('f', function(keys, args) {twice} end)");
    let load = argv!["function", "LOAD", library];
    check(load.clone(), &[(0, load)]);
    check(argv!["FCALL", "f", "0"], &[(0, incr("n")), (0, incr("n"))]);
    let delete = argv!["function", "delete", "lib"];
    check(delete.clone(), &[(0, delete)]);
    // Inside an EXEC it adds to that unit.
    let pipeline =
        [argv!["MULTI"], incr("m"), argv!["EVAL", &twice, "0"], argv!["GET", "n"], incr("m"), argv!["EXEC"]];
    lab.client.pipeline(&pipeline).expect("Valkey answers");
    let expected = [incr("m"), incr("n"), incr("n"), incr("m")].map(|command| (0, command));
    assert_eq!(lab.recorder.take(), unit(&expected));
}
