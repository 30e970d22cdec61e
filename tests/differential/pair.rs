//! Two servers in step: the one under test and a Valkey get the same commands, and their replies and streams
//! are compared.
//!
//! Consecutive commands of one connection go out as a batch, to both servers at once. When all replies are
//! there, each server says how long its stream is, and a recorder attached to it as a replica has exactly
//! those bytes: so a piece of the stream belongs to a batch. A command about which more has to be done than
//! compare (SCAN, SPOP, DUMP …) is a batch by itself. After a command that set a near deadline both servers'
//! clocks are let past it.

use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use replcore::resp::{CommandParser, Limits, Reply};

use super::arguments::NEAR_MS;
use super::commands::{Check, Commands};
use super::compare::{Slack, same_reply};
use super::counts::Counts;
use super::sequence::{CONNECTIONS, Step};
use super::stream::{Exceptions, Op, Reclaimed, same_stream};
use crate::support::client::{Argv, argv};
use crate::support::keyspace::{compare_within, read};
use crate::support::stored::{self, Fields};
use crate::support::stream::{Answer, RawReplica};
use crate::support::{Client, Program, Scratch, Server, wait_until};

/// How many databases the servers have.
const DATABASES: u16 = 16;
/// The most commands sent before their replies are read.
const BATCH: usize = 32;
/// No clock is behind another for longer.
const CLOCKS: Duration = Duration::from_secs(30);
/// No active cycle takes longer to find what is dead.
const RECLAIMED: Duration = Duration::from_secs(30);
/// Cycles per second.
const HZ: &str = "500";
/// The types of a hash in a snapshot: as a table, packed, and with deadlines.
const HASH_TYPES: &[u8] = &[4, 16, 22];
/// A replica that acknowledges nothing for long is dropped.
const ACKNOWLEDGE_EVERY: Duration = Duration::from_secs(5);

/// One server with everything that is attached to it.
pub struct Side {
    pub server: Server,
    pub control: Client,
    clients: Vec<Client>,
    recorder: RawReplica,
    offset: u64,
    /// The database that the stream is in.
    db: Option<Bytes>,
    acknowledged: Instant,
}

impl Side {
    pub fn start(program: Program, name: &str, scratch: &Scratch) -> Side {
        let server = Server::start(program, name, scratch);
        server.configure(&[("repl-ping-replica-period", "3600"), ("repl-timeout", "7200")]);
        let mut control = server.client();
        control.call(argv!["DEBUG", "SET-ACTIVE-EXPIRE", "0"]);
        control.call(argv!["CONFIG", "SET", "hz", HZ]);
        let mut recorder = RawReplica::introduce(server.address());
        recorder.holds_field_deadlines();
        let Answer::FullResync { offset, .. } = recorder.psync("?", -1) else {
            panic!("{name} does not let a recorder attach")
        };
        recorder.snapshot();
        recorder.acknowledge(offset);
        let clients = (0..CONNECTIONS).map(|_| server.client()).collect();
        Side { server, control, clients, recorder, offset, db: None, acknowledged: Instant::now() }
    }

    /// An empty keyspace, and connections as new: the last one speaks RESP3.
    fn reset(&mut self) {
        for (index, client) in self.clients.iter_mut().enumerate() {
            client.call(argv!["RESET"]);
            if index + 1 == CONNECTIONS {
                client.call(argv!["HELLO", "3"]);
            }
        }
        self.control.call(argv!["FLUSHALL"]);
        self.drain();
    }

    /// What the stream got since the last call.
    fn drain(&mut self) -> Vec<Op> {
        let end = self.control.info_section("replication").number("master_repl_offset");
        let len = end.checked_sub(self.offset).expect("an offset does not go back");
        let mut bytes = BytesMut::from(&self.recorder.bytes(len as usize)[..]);
        self.offset = end;
        if self.acknowledged.elapsed() > ACKNOWLEDGE_EVERY {
            self.recorder.acknowledge(end);
            self.acknowledged = Instant::now();
        }
        let mut parser = CommandParser::new(Limits::default());
        let mut commands = Vec::new();
        while let Some(command) = parser.next(&mut bytes).expect("the stream is made of commands") {
            commands.push(command);
        }
        assert!(
            bytes.is_empty(),
            "{}: a reply came before its effects were whole: {bytes:?}",
            self.server.name()
        );
        Op::sequence(commands, &mut self.db)
    }

    fn time_ms(&mut self) -> u64 {
        let Reply::Array(parts) = self.control.call(argv!["TIME"]) else {
            panic!("TIME answers two numbers")
        };
        let part = |at: usize| match &parts[at] {
            Reply::Bulk(text) => String::from_utf8_lossy(text).parse::<u64>().expect("a number"),
            other => panic!("TIME answers two numbers, not {other:?}"),
        };
        part(0) * 1_000 + part(1) / 1_000
    }
}

/// How two servers differed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Index of the step that showed it (the last of its batch).
    pub step: usize,
    /// Whether it was found in the values that the servers held in the end.
    pub values: bool,
    /// What differed, with both sides.
    pub text: String,
}

/// The two servers.
pub struct Pair {
    pub ours: Side,
    pub theirs: Side,
    pub exceptions: Exceptions,
    /// By how much deadlines of the last sequence may differ.
    slack_ms: u64,
}

/// What a connection has queued between MULTI and EXEC.
#[derive(Clone, Debug, Default)]
struct Transaction {
    queued: Option<Vec<Argv>>,
    /// Whether something in it sets a near deadline.
    near: bool,
}

impl Pair {
    /// Starts both.
    pub fn start(scratch: &Scratch) -> Pair {
        Pair {
            ours: Side::start(Program::primary(), "primary", scratch),
            theirs: Side::start(Program::Valkey, "model", scratch),
            exceptions: Exceptions::default(),
            slack_ms: 0,
        }
    }

    /// Deletes every dead key of both, as active expiry would. Dead fields stay.
    pub fn delete_dead_keys(&mut self) {
        for side in [&mut self.ours, &mut self.theirs] {
            for db in 0..DATABASES {
                side.control.call(argv!["SELECT", db]);
                side.control.call(argv!["SCAN", 0, "COUNT", 1_000_000]);
            }
            side.control.call(argv!["SELECT", 0]);
            side.drain();
        }
    }

    /// Waits until nothing dead is stored on either: their active expiry is on.
    pub fn wait_reclaimed(&mut self) {
        for side in [&mut self.ours, &mut self.theirs] {
            let what = format!("{} reclaims what is dead", side.server.name());
            wait_until(&what, RECLAIMED, || match dead(&mut side.control) {
                0 => Ok(()),
                dead => Err(format!("{dead} keys and fields")),
            });
        }
    }

    /// Where the values of both differ, if they do.
    pub fn different_contents(&mut self) -> Vec<String> {
        compare_within(&read(&self.theirs.server), &read(&self.ours.server), self.slack_ms)
    }

    /// Lets both reclaim what is dead as time goes by, or not.
    pub fn set_active_expiry(&mut self, on: bool) {
        for side in [&mut self.ours, &mut self.theirs] {
            side.control.call(argv!["DEBUG", "SET-ACTIVE-EXPIRE", u32::from(on)]);
        }
    }

    /// Runs a sequence on empty keyspaces without a look at replies and streams; what is a matter of chance
    /// is left out.
    pub fn apply(&mut self, commands: &Commands, steps: &[Step], counts: &mut Counts) {
        let certain =
            |step: &&Step| !commands.check(&step.argv).is_alone() && !commands.is_by_chance(&step.argv);
        let steps: Vec<Step> = steps.iter().filter(certain).cloned().collect();
        let mut run = self.begin(commands, counts);
        let mut at = 0;
        while at < steps.len() {
            let end = run.end_of_batch(&steps, at, BATCH);
            run.apply(&steps[at..end]);
            at = end;
        }
        let slack_ms = run.slack.ms.unsigned_abs();
        self.slack_ms = slack_ms;
    }

    fn begin<'a>(&'a mut self, commands: &'a Commands, counts: &'a mut Counts) -> Run<'a> {
        self.ours.reset();
        self.theirs.reset();
        let transactions = vec![Transaction::default(); CONNECTIONS];
        Run { commands, transactions, slack: Slack::default(), counts, pair: self }
    }

    /// Runs a sequence on empty keyspaces, in batches of at most `batch` commands, up to the first
    /// difference.
    pub fn run(
        &mut self,
        commands: &Commands,
        steps: &[Step],
        batch: usize,
        counts: &mut Counts,
    ) -> Result<(), Difference> {
        let mut run = self.begin(commands, counts);
        let mut at = 0;
        while at < steps.len() {
            let end = run.end_of_batch(steps, at, batch.min(BATCH));
            run.batch(&steps[at..end]).map_err(|text| Difference { step: end - 1, values: false, text })?;
            at = end;
        }
        let slack_ms = run.slack.ms.unsigned_abs();
        self.slack_ms = slack_ms;
        Ok(())
    }
}

/// One run of one sequence.
struct Run<'a> {
    pair: &'a mut Pair,
    commands: &'a Commands,
    transactions: Vec<Transaction>,
    slack: Slack,
    counts: &'a mut Counts,
}

impl Run<'_> {
    fn is_alone(&self, step: &Step) -> bool {
        self.transactions[step.connection].queued.is_none() && self.commands.check(&step.argv).is_alone()
    }

    /// One past the last step of the batch that begins at `from`.
    fn end_of_batch(&self, steps: &[Step], from: usize, most: usize) -> usize {
        let connection = steps[from].connection;
        if self.is_alone(&steps[from]) {
            return from + 1;
        }
        for (at, step) in steps.iter().enumerate().take(from + most).skip(from) {
            // What ends a transaction decides how the next commands are sent.
            let ends =
                ["EXEC", "DISCARD"].iter().any(|name| step.argv[0].eq_ignore_ascii_case(name.as_bytes()));
            if ends || self.commands.is_near(&step.argv) {
                return at + 1;
            }
            if let Some(next) = steps.get(at + 1) {
                let queueing = next.argv[0].eq_ignore_ascii_case(b"MULTI");
                if next.connection != connection || self.commands.check(&next.argv).is_alone() || queueing {
                    return at + 1;
                }
            }
        }
        steps.len().min(from + most)
    }

    fn batch(&mut self, steps: &[Step]) -> Result<(), String> {
        let connection = steps[0].connection;
        if self.is_alone(&steps[0]) {
            return self.alone(connection, &steps[0].argv);
        }
        let batch: Vec<Argv> = steps
            .iter()
            .filter(|step| !self.commands.is_by_chance(&step.argv))
            .map(|step| step.argv.clone())
            .collect();
        let start = Instant::now();
        let [ours, theirs] = self.send(connection, &batch);
        self.slack.widen(start.elapsed());
        let mut near = false;
        for (index, argv) in batch.iter().enumerate() {
            self.replies(connection, argv, &ours[index], &theirs[index])?;
            near |= self.follow(connection, argv, &theirs[index]);
        }
        let streams = self.streams();
        let sent = || batch.iter().map(|argv| show(argv)).collect::<Vec<_>>().join("; ");
        same_stream(&streams, self.slack, &mut self.pair.exceptions)
            .map_err(|text| format!("after {}\n{text}", sent()))?;
        if near {
            self.wait_past_near_deadlines();
        }
        Ok(())
    }

    /// A batch that is not judged.
    fn apply(&mut self, steps: &[Step]) {
        let connection = steps[0].connection;
        let batch: Vec<Argv> = steps.iter().map(|step| step.argv.clone()).collect();
        let start = Instant::now();
        let [_, theirs] = self.send(connection, &batch);
        self.slack.widen(start.elapsed());
        let mut near = false;
        for (argv, reply) in batch.iter().zip(&theirs) {
            self.counts.add(self.commands.name(argv), reply);
            near |= self.follow(connection, argv, reply);
        }
        self.forget_streams();
        if near {
            self.wait_past_near_deadlines();
            // A hash that has nothing but dead fields exists as long as they are stored.
            self.pair.wait_reclaimed();
        }
    }

    /// Sends a batch to both servers at once and returns both servers' replies.
    fn send(&mut self, connection: usize, batch: &[Argv]) -> [Vec<Reply>; 2] {
        let Pair { ours, theirs, .. } = self.pair;
        for side in [&mut *ours, &mut *theirs] {
            side.clients[connection].send_all(batch).expect("the server reads");
        }
        [ours, theirs].map(|side| {
            let name = side.server.name().to_owned();
            let client = &mut side.clients[connection];
            let receive = |argv: &Argv| {
                client.receive().unwrap_or_else(|error| panic!("{name}: no reply to {}: {error}", show(argv)))
            };
            batch.iter().map(receive).collect()
        })
    }

    fn streams(&mut self) -> [Vec<Op>; 2] {
        [&mut self.pair.ours, &mut self.pair.theirs].map(Side::drain)
    }

    /// Compares the replies to one command; the reply of `EXEC` piece by piece.
    fn replies(
        &mut self,
        connection: usize,
        argv: &Argv,
        ours: &Reply,
        theirs: &Reply,
    ) -> Result<(), String> {
        let different = |argv: &Argv, ours: &Reply, theirs: &Reply| {
            format!("{}\n  replies  {}\n  Valkey   {}", show(argv), show_reply(ours), show_reply(theirs))
        };
        let queued = self.transactions[connection].queued.as_deref();
        if argv[0].eq_ignore_ascii_case(b"EXEC")
            && let (Some(queued), Reply::Array(ours), Reply::Array(theirs)) = (queued, ours, theirs)
            && ours.len() == theirs.len()
            && theirs.len() == queued.len()
        {
            for ((argv, ours), theirs) in queued.iter().zip(ours).zip(theirs) {
                self.counts.add(self.commands.name(argv), theirs);
                if !same_reply(self.commands.check(argv), ours, theirs, self.slack) {
                    return Err(format!("in a transaction: {}", different(argv, ours, theirs)));
                }
            }
            return Ok(());
        }
        if queued.is_none() || matches!(theirs, Reply::Error(_)) {
            self.counts.add(self.commands.name(argv), theirs);
        }
        match same_reply(self.commands.check(argv), ours, theirs, self.slack) {
            true => Ok(()),
            false => Err(different(argv, ours, theirs)),
        }
    }

    /// Keeps track of transactions; returns whether a near deadline was set.
    fn follow(&mut self, connection: usize, argv: &Argv, reply: &Reply) -> bool {
        let transaction = &mut self.transactions[connection];
        let near = self.commands.is_near(argv);
        match (&mut transaction.queued, reply) {
            (queued @ None, Reply::Status(ok)) if argv[0].eq_ignore_ascii_case(b"MULTI") && ok == "OK" => {
                *queued = Some(Vec::new());
                false
            }
            (None, _) => near,
            (Some(queued), Reply::Status(status)) if status == "QUEUED" => {
                queued.push(argv.clone());
                transaction.near |= near;
                false
            }
            (Some(_), reply) => {
                let ends = match reply {
                    Reply::Error(error) => error.starts_with("EXECABORT"),
                    _ => ["EXEC", "DISCARD"].iter().any(|name| argv[0].eq_ignore_ascii_case(name.as_bytes())),
                };
                ends && std::mem::take(transaction).near
            }
        }
    }

    /// Lets both servers' clocks past every near deadline that was set by now.
    fn wait_past_near_deadlines(&mut self) {
        let Pair { ours, theirs, .. } = self.pair;
        for side in [ours, theirs] {
            // Whatever was set before this reply was set for at most this later.
            let past_ms = side.time_ms() + NEAR_MS.end() + 1;
            let start = Instant::now();
            while side.time_ms() <= past_ms {
                assert!(start.elapsed() < CLOCKS, "{}'s clock stands still", side.server.name());
                std::thread::yield_now();
            }
        }
    }

    fn alone(&mut self, connection: usize, argv: &Argv) -> Result<(), String> {
        match self.commands.check(argv) {
            Check::Sweep => self.sweep(connection, argv),
            Check::Draw => self.draw(connection, argv),
            Check::Pop => self.pop(connection, argv),
            Check::RandomKey => self.random_key(connection, argv),
            Check::Reclaim => self.reclaim(),
            Check::Copy => self.copy(connection, argv),
            _ => self.dump(connection, argv),
        }
    }

    /// One command to both; `Ok(None)` if both refuse it in the same words.
    fn one(&mut self, connection: usize, argv: &Argv) -> Result<Option<[Reply; 2]>, String> {
        let start = Instant::now();
        let replies = self.send(connection, std::slice::from_ref(argv)).map(|mut replies| replies.remove(0));
        self.slack.widen(start.elapsed());
        self.counts.add(self.commands.name(argv), &replies[1]);
        match &replies {
            [Reply::Error(ours), Reply::Error(theirs)] if ours == theirs => {
                self.quiet_stream(argv)?;
                Ok(None)
            }
            [ours, theirs] if matches!(ours, Reply::Error(_)) || matches!(theirs, Reply::Error(_)) => Err(
                format!("{}\n  replies  {}\n  Valkey   {}", show(argv), show_reply(ours), show_reply(theirs)),
            ),
            _ => Ok(Some(replies)),
        }
    }

    /// The streams, which have to be equal.
    fn quiet_stream(&mut self, argv: &Argv) -> Result<(), String> {
        let streams = self.streams();
        same_stream(&streams, self.slack, &mut self.pair.exceptions)
            .map_err(|text| format!("after {}\n{text}", show(argv)))
    }

    /// A scan from the beginning to the end on both.
    fn sweep(&mut self, connection: usize, argv: &Argv) -> Result<(), String> {
        let Some(first) = self.one(connection, argv)? else { return Ok(()) };
        let at = if argv[0].eq_ignore_ascii_case(b"SCAN") { 1 } else { 2 };
        if argv[at] != "0" {
            // Another place of each server's own.
            self.meet_all_keys(connection);
            return Ok(());
        }
        let mut found: [Vec<Reply>; 2] = [Vec::new(), Vec::new()];
        let Pair { ours, theirs, .. } = self.pair;
        for ((side, page), found) in [ours, theirs].into_iter().zip(first).zip(&mut found) {
            let mut page = page;
            loop {
                let Reply::Array(parts) = page else { return Err(format!("{}: {page:?}", show(argv))) };
                let [Reply::Bulk(cursor), Reply::Array(elements)] = &parts[..] else {
                    return Err(format!("{}: {} answers {parts:?}", show(argv), side.server.name()));
                };
                found.extend(elements.iter().cloned());
                if &cursor[..] == b"0" {
                    break;
                }
                let mut next = argv.clone();
                next[at] = cursor.clone();
                page = side.clients[connection].call(next);
            }
        }
        let has = |word: &str| argv.iter().any(|arg| arg.eq_ignore_ascii_case(word.as_bytes()));
        let is = |name: &str| argv[0].eq_ignore_ascii_case(name.as_bytes());
        let (in_pairs, scored) = match () {
            () if is("HSCAN") => (!has("NOVALUES"), false),
            () if is("ZSCAN") => (!has("NOSCORES"), !has("NOSCORES")),
            () => (false, false),
        };
        if scored {
            // By value: once SORT has turned a small set into a skiplist, Valkey writes its scores with 17
            // digits.
            found.iter_mut().for_each(|rows| rows.iter_mut().skip(1).step_by(2).for_each(as_number));
        }
        let [ours, theirs] = found.map(Reply::Array);
        if !same_reply(if in_pairs { Check::Pairs } else { Check::Multiset }, &ours, &theirs, self.slack) {
            let (ours, theirs) = (show_reply(&ours), show_reply(&theirs));
            return Err(format!("{}, to its end\n  finds    {ours}\n  Valkey   {theirs}", show(argv)));
        }
        // Dead keys are met in whatever order the keys are in.
        let streams = self.streams().map(Op::sorted);
        same_stream(&streams, self.slack, &mut self.pair.exceptions)
            .map_err(|text| format!("after {}\n{text}", show(argv)))
    }

    /// Random elements that stay where they are.
    fn draw(&mut self, connection: usize, argv: &Argv) -> Result<(), String> {
        let Some([ours, theirs]) = self.one(connection, argv)? else { return Ok(()) };
        self.quiet_stream(argv)?;
        let all = self.members(connection, argv);
        let valued = argv.get(3).is_some();
        let distinct = argv.get(2).is_some_and(|count| !count.starts_with(b"-"));
        let [ours_drawn, theirs_drawn] = [&ours, &theirs].map(|reply| drawn(reply, valued));
        let possible = |drawn: &[Vec<Reply>]| {
            drawn
                .iter()
                .all(|row| all.contains(row) || (!valued && all.iter().any(|known| known[0] == row[0])))
        };
        let repeated = |drawn: &[Vec<Reply>]| (1..drawn.len()).any(|at| drawn[..at].contains(&drawn[at]));
        let alike = same_reply(Check::Shape, &ours, &theirs, self.slack)
            && ours_drawn.len() == theirs_drawn.len()
            && possible(&ours_drawn)
            && !(distinct && repeated(&ours_drawn));
        match alike {
            true => Ok(()),
            false => Err(format!(
                "{} of {all:?}\n  replies  {}\n  Valkey   {}",
                show(argv),
                show_reply(&ours),
                show_reply(&theirs)
            )),
        }
    }

    /// Everything that may be drawn by `argv`, each with its value if it has one, as the model has it.
    fn members(&mut self, connection: usize, argv: &Argv) -> Vec<Vec<Reply>> {
        let key = &argv[1];
        let (query, valued) = match &argv[0].to_ascii_uppercase()[..] {
            b"HRANDFIELD" => (argv!["HGETALL", key], true),
            b"ZRANDMEMBER" => (argv!["ZRANGE", key, 0, -1, "WITHSCORES"], true),
            _ => (argv!["SMEMBERS", key], false),
        };
        let reply = self.pair.theirs.clients[connection].call(query);
        drawn(&reply, valued)
    }

    /// SPOP: each server takes what it likes; then the other gives it up too.
    fn pop(&mut self, connection: usize, argv: &Argv) -> Result<(), String> {
        // Asked of both: whoever looks at a dead key deletes it.
        let query = argv!["SMEMBERS", argv.get(1).unwrap_or(&argv[0])];
        let [_, before] = self.send(connection, &[query]);
        let before = drawn(&before[0], false);
        self.forget_streams();
        let Some([ours, theirs]) = self.one(connection, argv)? else { return Ok(()) };
        let popped = [&ours, &theirs].map(|reply| drawn(reply, false));
        let different = |why: &str| {
            let (ours, theirs) = (show_reply(&ours), show_reply(&theirs));
            Err(format!("{} of {before:?}: {why}\n  replies  {ours}\n  Valkey   {theirs}", show(argv)))
        };
        if !same_reply(Check::Shape, &ours, &theirs, self.slack) || popped[0].len() != popped[1].len() {
            return different("unlike");
        }
        if popped[0].iter().any(|member| !before.contains(member))
            || (1..popped[0].len()).any(|at| popped[0][..at].contains(&popped[0][at]))
        {
            return different("not members, or some of them twice");
        }
        let streams = self.streams();
        let whole = popped[0].len() == before.len();
        for (stream, popped) in streams.iter().zip(&popped) {
            let taken: Vec<&Op> =
                stream.iter().filter(|op| op.argv[0] != "MULTI" && op.argv[0] != "EXEC").collect();
            let mut named: Vec<&Bytes> =
                taken.iter().flat_map(|op| &op.argv[2.min(op.argv.len())..]).collect();
            let mut expected: Vec<&Bytes> = popped.iter().filter_map(|row| text_of(&row[0])).collect();
            named.sort_unstable();
            expected.sort_unstable();
            let counted = argv.len() > 2;
            let right = match (popped.is_empty(), whole && counted) {
                (true, _) => true,
                (false, true) => taken.iter().all(|op| op.argv[0] == "UNLINK" || op.argv[0] == "DEL"),
                (false, false) => named == expected && taken.iter().all(|op| op.argv[0] == "SREM"),
            };
            if !right {
                return different(&format!("propagated as {streams:?}"));
            }
        }
        // Names differ; the verbs and their number may not.
        let forms = |stream: &[Op]| {
            stream.iter().map(|op| (op.db.clone(), op.argv[0].clone(), op.argv.len())).collect::<Vec<_>>()
        };
        if forms(&streams[0]) != forms(&streams[1]) {
            return different(&format!("propagated as {streams:?}"));
        }
        let removal = |popped: &[Vec<Reply>]| {
            let mut removal = argv!["SREM", &argv[1]];
            removal.extend(popped.iter().filter_map(|row| text_of(&row[0]).cloned()));
            removal
        };
        for (side, popped) in
            [&mut self.pair.ours, &mut self.pair.theirs].into_iter().zip([&popped[1], &popped[0]])
        {
            if !popped.is_empty() {
                side.clients[connection].call(removal(popped));
            }
        }
        self.forget_streams();
        Ok(())
    }

    /// A random key; then every dead key is met on both, whichever ones it met.
    fn random_key(&mut self, connection: usize, argv: &Argv) -> Result<(), String> {
        let Some([ours, theirs]) = self.one(connection, argv)? else { return Ok(()) };
        let exists = |side: &mut Side, reply: &Reply| match reply {
            Reply::Bulk(key) => side.clients[connection].call_integer(argv!["EXISTS", key]) == 1,
            other => *other == Reply::Null && side.clients[connection].call_integer(argv!["DBSIZE"]) == 0,
        };
        let alike = exists(&mut self.pair.ours, &ours) && exists(&mut self.pair.theirs, &theirs);
        if !alike || !same_reply(Check::Shape, &ours, &theirs, self.slack) {
            let (ours, theirs) = (show_reply(&ours), show_reply(&theirs));
            return Err(format!("RANDOMKEY\n  replies  {ours}\n  Valkey   {theirs}"));
        }
        self.meet_all_keys(connection);
        Ok(())
    }

    /// Every dead key of a connection's database is met on both, whichever ones were met by chance.
    fn meet_all_keys(&mut self, connection: usize) {
        for side in [&mut self.pair.ours, &mut self.pair.theirs] {
            let mut cursor = Bytes::from_static(b"0");
            loop {
                let page = side.clients[connection].call(argv!["SCAN", &cursor, "COUNT", 1000]);
                let Reply::Array(parts) = page else { panic!("SCAN answers a cursor and keys") };
                cursor = text_of(&parts[0]).cloned().expect("a cursor");
                if &cursor[..] == b"0" {
                    break;
                }
            }
        }
        self.forget_streams();
    }

    /// Active expiry is on until both have reclaimed all that is dead: both say so in the same deletions, in
    /// any order.
    fn reclaim(&mut self) -> Result<(), String> {
        self.pair.set_active_expiry(true);
        self.pair.wait_reclaimed();
        self.pair.set_active_expiry(false);
        let [ours, theirs] = self.streams();
        match (Reclaimed::of(&ours), Reclaimed::of(&theirs)) {
            (Ok(reclaimed), Ok(expected)) if reclaimed == expected => Ok(()),
            (reclaimed, expected) => {
                Err(format!("active expiry\n  reclaims {reclaimed:?}\n  Valkey   {expected:?}"))
            }
        }
    }

    /// COPY. Of a hash whose fields are all dead Valkey makes an empty hash, a key without anything: that is
    /// deleted, and what this server says is that there is no copy.
    fn copy(&mut self, connection: usize, argv: &Argv) -> Result<(), String> {
        let Some([ours, theirs]) = self.one(connection, argv)? else { return Ok(()) };
        if ours != theirs {
            let (ours, theirs) = (show_reply(&ours), show_reply(&theirs));
            return Err(format!("{}\n  replies  {ours}\n  Valkey   {theirs}", show(argv)));
        }
        let streams = self.streams();
        if theirs == Reply::Integer(1) && delete_empty_hashes(&mut self.pair.theirs.control, &argv[2]) {
            self.forget_streams();
            self.pair.exceptions.copied_nothing();
            let said: Vec<&[Bytes]> = streams[0].iter().map(|op| &op.argv[..]).collect();
            return match said[..] {
                [] => Ok(()),
                [[verb, key]] if (verb == "UNLINK" || verb == "DEL") && *key == argv[2] => Ok(()),
                _ => Err(format!("after {} of nothing alive: {said:?}", show(argv))),
            };
        }
        same_stream(&streams, self.slack, &mut self.pair.exceptions)
            .map_err(|text| format!("after {}\n{text}", show(argv)))
    }

    /// Each server restores the other's payload; then both hold the same.
    fn dump(&mut self, connection: usize, argv: &Argv) -> Result<(), String> {
        let Some([ours, theirs]) = self.one(connection, argv)? else { return Ok(()) };
        self.quiet_stream(argv)?;
        let (Reply::Bulk(our_payload), Reply::Bulk(their_payload)) = (&ours, &theirs) else {
            return match ours == theirs {
                true => Ok(()),
                false => Err(format!("{}\n  replies  {ours:?}\n  Valkey   {theirs:?}", show(argv))),
            };
        };
        let fields = [&ours, &theirs].map(|dump| is_hash(dump).then(|| stored::fields(dump)));
        if let [Some(ours), Some(theirs)] = &fields
            && !same_fields(ours, theirs, self.slack)
        {
            return Err(format!("{}\n  stored   {ours:?}\n  Valkey   {theirs:?}", show(argv)));
        }
        let restore = |payload: &Bytes| argv!["RESTORE", "restored", 0, payload, "REPLACE"];
        let restored = [
            self.pair.ours.clients[connection].try_call(&restore(their_payload)),
            self.pair.theirs.clients[connection].try_call(&restore(our_payload)),
        ];
        if !restored.iter().all(|reply| matches!(reply, Ok(Reply::Status(_)))) {
            return Err(format!(
                "{}: the other's payload: {restored:?}\n  {ours:?}\n  {theirs:?}",
                show(argv)
            ));
        }
        let Reply::Status(kind) = self.pair.theirs.clients[connection].call(argv!["TYPE", "restored"]) else {
            panic!("TYPE answers a word")
        };
        let (query, check) = match &*kind {
            "string" => (argv!["GET", "restored"], Check::Exact),
            "list" => (argv!["LRANGE", "restored", 0, -1], Check::Exact),
            "set" => (argv!["SMEMBERS", "restored"], Check::Multiset),
            "zset" => (argv!["ZRANGE", "restored", 0, -1, "WITHSCORES"], Check::Exact),
            _ => (argv!["HGETALL", "restored"], Check::Pairs),
        };
        let values = [&mut self.pair.ours, &mut self.pair.theirs].map(|side| {
            let value = side.clients[connection].call(query.clone());
            let dump = side.clients[connection].call(argv!["DUMP", "restored"]);
            side.clients[connection].call(argv!["DEL", "restored"]);
            (value, dump)
        });
        self.forget_streams();
        let [(our_value, our_dump), (their_value, their_dump)] = &values;
        let same_stored = !is_hash(our_dump)
            || same_fields(&stored::fields(our_dump), &stored::fields(their_dump), self.slack);
        match same_stored && same_reply(check, our_value, their_value, self.slack) {
            true => Ok(()),
            false => Err(format!(
                "{}: restored from the other\n  ours     {}\n  Valkey   {}",
                show(argv),
                show_reply(our_value),
                show_reply(their_value)
            )),
        }
    }

    /// What the test wrote by itself is not compared.
    fn forget_streams(&mut self) {
        self.pair.ours.drain();
        self.pair.theirs.drain();
    }
}

fn text_of(reply: &Reply) -> Option<&Bytes> {
    match reply {
        Reply::Bulk(text) => Some(text),
        _ => None,
    }
}

/// The elements of a reply with members, or with members and values in any form.
fn drawn(reply: &Reply, valued: bool) -> Vec<Vec<Reply>> {
    match reply {
        Reply::Map(pairs) => pairs.iter().map(|(field, value)| vec![field.clone(), value.clone()]).collect(),
        Reply::Array(items) | Reply::Set(items) => match items.first() {
            Some(Reply::Array(_)) => items
                .iter()
                .map(|item| match item {
                    Reply::Array(row) => row.clone(),
                    other => vec![other.clone()],
                })
                .collect(),
            _ if valued => items.chunks(2).map(<[Reply]>::to_vec).collect(),
            _ => items.iter().map(|item| vec![item.clone()]).collect(),
        },
        Reply::Null | Reply::NullArray | Reply::Error(_) => Vec::new(),
        single => vec![vec![single.clone()]],
    }
}

/// Whether a payload of `DUMP` is that of a hash.
fn is_hash(dump: &Reply) -> bool {
    matches!(dump, Reply::Bulk(payload) if payload.first().is_some_and(|kind| HASH_TYPES.contains(kind)))
}

/// The same fields with the same values and deadlines.
fn same_fields(ours: &Fields, theirs: &Fields, slack: Slack) -> bool {
    ours.len() == theirs.len()
        && ours.iter().zip(theirs).all(|((field, (value, at)), (their_field, (their_value, their_at)))| {
            field == their_field
                && value == their_value
                && match (at, their_at) {
                    (Some(ours), Some(theirs)) => slack.covers(ours.cast_signed(), theirs.cast_signed()),
                    (ours, theirs) => ours == theirs,
                }
        })
}

/// Deletes `key` from every database in which it is a hash of nothing; returns whether there was one.
fn delete_empty_hashes(client: &mut Client, key: &Bytes) -> bool {
    let mut deleted = false;
    for db in 0..DATABASES {
        let question = [argv!["SELECT", db], argv!["EXISTS", key], argv!["HLEN", key]];
        let replies = client.pipeline(&question).expect("the server answers");
        if let [_, Reply::Integer(1), Reply::Integer(0)] = replies[..] {
            client.call(argv!["DEL", key]);
            deleted = true;
        }
    }
    client.call(argv!["SELECT", 0]);
    deleted
}

/// How much that is dead is stored: keys that are counted and not listed, and fields.
fn dead(client: &mut Client) -> usize {
    let mut dead = 0;
    for db in 0..DATABASES {
        let listing = [argv!["SELECT", db], argv!["DBSIZE"], argv!["KEYS", "*"]];
        let replies = client.pipeline(&listing).expect("the server answers");
        let [_, Reply::Integer(size), Reply::Array(keys)] = &replies[..] else {
            panic!("DBSIZE and KEYS answer {replies:?}")
        };
        dead += usize::try_from(*size).expect("a size is not negative").saturating_sub(keys.len());
        let keys = keys.iter().filter_map(text_of);
        let counts: Vec<Argv> = keys.flat_map(|key| [argv!["HLEN", key], argv!["HKEYS", key]]).collect();
        let counts = client.pipeline(&counts).expect("the server answers");
        for count in counts.chunks_exact(2) {
            // Anything but a hash is refused.
            if let [Reply::Integer(stored), Reply::Array(alive)] = count {
                dead += usize::try_from(*stored).expect("a length is not negative") - alive.len();
            }
        }
    }
    client.call(argv!["SELECT", 0]);
    dead
}

/// A command as one would type it.
pub fn show(argv: &[Bytes]) -> String {
    let word = |arg: &Bytes| {
        let plain = !arg.is_empty()
            && arg.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'"' && *byte != b'\\');
        if plain { String::from_utf8_lossy(arg).into_owned() } else { format!("\"{}\"", arg.escape_ascii()) }
    };
    argv.iter().map(word).collect::<Vec<_>>().join(" ")
}

fn show_reply(reply: &Reply) -> String {
    format!("{reply:?}")
}

/// A number written out, as the number.
fn as_number(reply: &mut Reply) {
    if let Reply::Bulk(text) = reply
        && let Some(number) = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok())
    {
        *reply = Reply::Double(number);
    }
}
