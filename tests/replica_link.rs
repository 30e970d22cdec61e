//! A replica's session against a scripted primary: whatever is cut wherever, each command once and in order.
//!
//! The reference is the script itself. It knows by construction, not by parsing, where each command starts
//! and ends, up to where a replica has applied the stream once it has seen it, and in which database it
//! belongs.

use std::collections::{BTreeSet, VecDeque};

use bytes::{Buf as _, Bytes, BytesMut};
use proptest::prelude::*;
use proptest::sample::Index;
use replcore::buffer::ReplicationBuffer;
use replcore::resp::{CommandParser, Limits, encode_command};
use replcore::resync::replica::{Command, Event, LinkError, Phase, Position, ReplicaSession};
use replcore::resync::{Decision, History, PsyncRequest, ReplicationId, RequestedId, Retained, decide};

/// It repeats itself as far as it can without ending as it begins: then it could end too early, as no random
/// one will.
const MARK: &[u8; 40] = b"0123456789abcdef0123456789abcdef0123456f";
/// Longer than any command of a script.
const MAX_COMMAND_BYTES: u64 = 1 << 10;

/// One command of the stream, and what a replica has to make of it.
#[derive(Clone, Debug, PartialEq)]
struct Frame {
    argv: Vec<Bytes>,
    raw: Bytes,
    start: u64,
    end: u64,
    applied: u64,
    db: Option<u32>,
}

/// What a primary does.
#[derive(Clone, Debug)]
enum Op {
    Write(Vec<u8>),
    Select(u32),
    Ping,
    AskForAck,
    Unit(Vec<Op>),
}

/// A stream: its first byte follows `base`.
#[derive(Clone, Debug)]
struct Script {
    base: u64,
    frames: Vec<Frame>,
    bytes: Vec<u8>,
    /// The places outside of transactions, in order.
    resting: Vec<Position>,
}

impl Script {
    fn new(base: u64, ops: &[(Op, &'static [u8])]) -> Script {
        let mut script = Script { base, frames: Vec::new(), bytes: Vec::new(), resting: Vec::new() };
        script.rest(None);
        let mut db = None;
        for (op, blank) in ops {
            script.bytes.extend_from_slice(blank);
            match op {
                Op::Unit(inner) => {
                    let begin = script.end();
                    script.frame(&[b"MULTI"], db);
                    inner.iter().for_each(|op| script.plain(op, &mut db));
                    script.frame(&[b"exec"], db);
                    let count = inner.len() + 2;
                    let first = script.frames.len() - count;
                    script.frames[first..first + count - 1]
                        .iter_mut()
                        .for_each(|frame| frame.applied = begin);
                }
                op => script.plain(op, &mut db),
            }
            script.rest(db);
        }
        script
    }

    /// The end of the last frame; blanks behind it belong to the next.
    fn end(&self) -> u64 {
        self.frames.last().map_or(self.base, |frame| frame.end)
    }

    fn rest(&mut self, db: Option<u32>) {
        self.resting.push(Position { id: id(0), offset: self.end(), db });
    }

    fn plain(&mut self, op: &Op, db: &mut Option<u32>) {
        match op {
            Op::Write(value) => self.frame(&[b"SET", b"key", value], *db),
            Op::Select(to) => {
                *db = Some(*to);
                self.frame(&[b"SELECT", to.to_string().as_bytes()], *db);
            }
            Op::Ping => self.frame(&[b"ping"], *db),
            Op::AskForAck => self.frame(&[b"REPLCONF", b"GETACK", b"*"], *db),
            Op::Unit(_) => {}
        }
    }

    fn frame(&mut self, argv: &[&[u8]], db: Option<u32>) {
        let start = self.end();
        encode_command(argv, &mut self.bytes);
        let end = self.base + self.bytes.len() as u64;
        let raw = Bytes::copy_from_slice(&self.bytes[(start - self.base) as usize..]);
        let argv = argv.iter().map(|arg| Bytes::copy_from_slice(arg)).collect();
        self.frames.push(Frame { argv, raw, start, end, applied: end, db });
    }

    fn from(&self, offset: u64) -> &[u8] {
        &self.bytes[(offset - self.base) as usize..]
    }
}

fn id(byte: u8) -> ReplicationId {
    ReplicationId::from_random([byte; 20])
}

/// One connection, as it is meant to go.
#[derive(Clone, Debug)]
struct Plan {
    /// Bytes towards the replica after which it is cut.
    cut_after: usize,
    /// What was not taken at the cut is lost.
    is_rude: bool,
    /// The primary's id has changed before it.
    is_promoted: bool,
    /// The primary has forgotten what was asked for.
    refuses: bool,
    /// Where the snapshot is taken, among the places outside of transactions.
    taken_at: Index,
    has_mark: bool,
    /// The embedder loads the snapshot after the link was lost.
    loads_late: bool,
}

/// The primary's end of one connection.
struct Conversation<'a> {
    script: &'a Script,
    snapshot: &'a [u8],
    plan: &'a Plan,
    current: u8,
    parser: CommandParser,
    input: BytesMut,
    output: VecDeque<u8>,
    awaits_ack: Option<u64>,
    asked: Option<(String, String)>,
    acks: Vec<u64>,
}

impl Conversation<'_> {
    fn hear(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
        while let Some(argv) = self.parser.next(&mut self.input).expect("a replica sends commands") {
            let words: Vec<&str> = argv.iter().map(|arg| std::str::from_utf8(arg).unwrap()).collect();
            match words[..] {
                ["PING"] => self.say("\n+PONG\r\n"),
                ["AUTH", "user", "password"] => self.say("+OK\r\n"),
                ["REPLCONF", "ACK", offset] => {
                    self.acks.push(offset.parse().unwrap());
                    if let Some(offset) = self.awaits_ack.take() {
                        self.output.extend(self.script.from(offset));
                    }
                }
                ["REPLCONF", "version", _] => self.say("-ERR Unrecognized REPLCONF option: version\r\n"),
                ["REPLCONF", ..] => self.say("+OK\r\n"),
                ["PSYNC", id, wanted] => self.sync(id, wanted),
                _ => panic!("{words:?}"),
            }
        }
    }

    fn say(&mut self, line: &str) {
        self.output.extend(line.as_bytes());
    }

    fn sync(&mut self, asked: &str, wanted: &str) {
        self.asked = Some((asked.to_owned(), wanted.to_owned()));
        let known = (0..=self.current).any(|byte| id(byte).as_str() == asked);
        if known && !self.plan.refuses {
            self.say(&format!("\n+CONTINUE {}\r\n", id(self.current)));
            self.output.extend(self.script.from(wanted.parse::<u64>().unwrap() - 1));
            return;
        }
        let offset = self.plan.taken_at.get(&self.script.resting).offset;
        self.say(&format!("+FULLRESYNC {} {offset}\r\n\n\n", id(self.current)));
        if self.plan.has_mark {
            self.output.extend([b"$EOF:", &MARK[..], b"\r\n", self.snapshot, MARK].concat());
            self.awaits_ack = Some(offset);
        } else {
            self.say(&format!("${}\r\n", self.snapshot.len()));
            self.output.extend(self.snapshot);
            self.output.extend(self.script.from(offset));
        }
    }
}

/// What an embedder keeps: a copy, and what it applied to it.
#[derive(Default)]
struct Copy {
    announced: Option<(ReplicationId, u64)>,
    snapshot: Vec<u8>,
    /// The place from which `commands` go on; none while data is being replaced.
    base: Option<(ReplicationId, u64)>,
    commands: Vec<Command>,
    trace: Vec<Event>,
    history: Option<History>,
}

impl Copy {
    /// Where it would have to be resumed, by the script.
    fn resume(&self, script: &Script) -> Option<u64> {
        let (_, base) = self.base?;
        let applied =
            |last: &Command| script.frames.iter().find(|frame| frame.end == last.end).unwrap().applied;
        Some(self.commands.last().map_or(base, applied))
    }

    fn take(&mut self, event: Event, snapshot: &[u8]) {
        match &event {
            Event::FullResync { id, offset } => self.announced = Some((*id, *offset)),
            Event::SnapshotBegin { .. } => {
                self.base = None;
                (self.commands, self.snapshot) = (Vec::new(), Vec::new());
            }
            Event::Snapshot(bytes) => {
                assert!(!bytes.is_empty());
                self.snapshot.extend_from_slice(bytes);
                // How it is divided is not a promise.
                if let Some(Event::Snapshot(last)) = self.trace.last_mut() {
                    *last = [&last[..], bytes].concat().into();
                    return;
                }
            }
            Event::SnapshotEnd => assert_eq!(self.snapshot, snapshot),
            Event::Continue { position, .. } => {
                let (id, _) = self.base.as_mut().expect("what is continued is there");
                *id = position.id;
            }
            Event::Command(command) => self.commands.push(command.clone()),
            Event::LinkDown(down) => {
                if let Some(to) = down.rolled_back_to {
                    assert!(self.commands.last().is_some_and(|last| last.end > to));
                    self.commands.retain(|command| command.end <= to);
                }
            }
            _ => {}
        }
        self.trace.push(event);
    }
}

/// Leads one session through all plans and, at last, to the end of the stream. `sizes` are how the bytes are
/// cut.
fn lead(script: &Script, snapshot: &[u8], plans: &[Plan], sizes: &[usize]) -> Copy {
    let mut session = ReplicaSession::builder()
        .user("user", "password")
        .listening_port(1)
        .version(replcore::resync::ServerVersion { major: 9, minor: 1, patch: 2 })
        .max_command_bytes(MAX_COMMAND_BYTES)
        .build();
    let mut copy = Copy::default();
    let (mut now_ms, mut current, mut turn) = (0, 0, 0);
    let last = Plan {
        cut_after: usize::MAX,
        is_rude: false,
        is_promoted: false,
        refuses: false,
        loads_late: false,
        ..plans[0].clone()
    };
    for plan in plans.iter().chain([&last]) {
        current += u8::from(plan.is_promoted);
        let resting: BTreeSet<u64> = script.resting.iter().map(|position| position.offset).collect();
        let mut talk = Conversation {
            script,
            snapshot,
            plan,
            current,
            parser: CommandParser::new(Limits::default()),
            input: BytesMut::new(),
            output: VecDeque::new(),
            awaits_ack: None,
            asked: None,
            acks: Vec::new(),
        };
        let expected = copy.resume(script).zip(copy.base);
        let (mut is_connected, mut left) = (false, plan.cut_after);
        'link: loop {
            while let Some(event) = session.next_event(now_ms) {
                match event {
                    Event::Connect => {
                        session.connected();
                        is_connected = true;
                    }
                    Event::SnapshotEnd if !plan.loads_late => {
                        copy.take(event, snapshot);
                        copy.base = copy.announced;
                        session.snapshot_applied(None, now_ms);
                    }
                    event => copy.take(event, snapshot),
                }
                if let Some(Event::Continue { position, .. }) = copy.trace.last() {
                    assert_eq!(position.id, id(current), "the primary's id is taken over");
                }
                copy.history = session.history();
                if let Some(position) = session.position() {
                    assert!(resting.contains(&position.offset), "{position} is inside a transaction");
                }
            }
            assert!(
                session.held_bytes() <= 2 * MAX_COMMAND_BYTES + 40,
                "{} bytes held",
                session.held_bytes()
            );
            if !is_connected {
                now_ms = session.next_deadline_ms().expect("a session that waits knows for what").max(now_ms);
                continue;
            }
            talk.hear(&session.take_output());
            if talk.output.is_empty() || left == 0 || !session.wants_input() {
                session.disconnected(now_ms);
                break 'link;
            }
            turn += 1;
            let len = sizes[turn % sizes.len()].min(left).min(talk.output.len());
            left -= len;
            session.receive(&talk.output.drain(..len).collect::<Vec<_>>());
            if left == 0 && plan.is_rude {
                session.disconnected(now_ms);
                break 'link;
            }
        }
        // The link is down; what it asked for and acknowledged was right.
        if let Some((asked, wanted)) = talk.asked {
            let expected = expected.map_or(("?".to_owned(), "-1".to_owned()), |(offset, (id, _))| {
                (id.to_string(), (offset + 1).to_string())
            });
            assert_eq!((asked, wanted), expected);
        }
        assert!(talk.acks.is_sorted());
        assert!(talk.acks.iter().all(|offset| resting.contains(offset)), "{:?} of {resting:?}", talk.acks);
        let is_loading = session.phase() == Phase::Loading;
        let Some(Event::LinkDown(down)) = session.next_event(now_ms) else { panic!("the link is down") };
        assert_eq!(down.error, LinkError::Disconnected);
        copy.take(Event::LinkDown(down), snapshot);
        if is_loading {
            copy.base = copy.announced;
            session.snapshot_applied(None, now_ms);
        }
    }
    copy
}

fn plain() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => prop::collection::vec(any::<u8>(), 0..40).prop_map(Op::Write),
        1 => (0..20_u32).prop_map(Op::Select),
        1 => Just(Op::Ping),
        1 => Just(Op::AskForAck),
    ]
}

fn script() -> impl Strategy<Value = Script> {
    let unit = prop::collection::vec(plain(), 1..5).prop_map(Op::Unit);
    let op = prop_oneof![3 => plain(), 2 => unit];
    let blank = prop_oneof![6 => Just(&b""[..]), 1 => Just(&b"\n"[..]), 1 => Just(&b"\r\n\n*0\r\n"[..])];
    let base = prop_oneof![Just(0), 1..1_000_u64, Just(i64::MAX as u64 - (1 << 20))];
    (base, prop::collection::vec((op, blank), 1..25)).prop_map(|(base, ops)| Script::new(base, &ops))
}

/// Bytes without a pattern, and those that a mark could be mistaken for.
fn snapshot() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        prop::collection::vec(any::<u8>(), 1..50),
        (0..40_usize).prop_map(|len| MARK[..len].to_vec()),
        (1..40_usize).prop_map(|from| MARK[from..].to_vec()),
    ];
    prop::collection::vec(piece, 0..6)
        .prop_map(|pieces| pieces.concat())
        .prop_filter("the mark is not in it", |bytes| !bytes.windows(40).any(|window| window == MARK))
}

fn plan() -> impl Strategy<Value = Plan> {
    let flag = |percent: f64| prop::bool::weighted(percent);
    let cut = prop_oneof![3 => 0..400_usize, 1 => 0..2_000_usize];
    (cut, flag(0.2), flag(0.2), flag(0.2), any::<Index>(), any::<bool>(), flag(0.2)).prop_map(
        |(cut_after, is_rude, is_promoted, refuses, taken_at, has_mark, loads_late)| Plan {
            cut_after,
            is_rude,
            is_promoted,
            refuses,
            taken_at,
            has_mark,
            loads_late,
        },
    )
}

fn sizes() -> impl Strategy<Value = Vec<usize>> {
    prop_oneof![Just(vec![1]), Just(vec![usize::MAX]), prop::collection::vec(1..90_usize, 1..20)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn every_command_comes_once_and_in_order_wherever_links_are_cut(
        script in script(),
        snapshot in snapshot(),
        plans in prop::collection::vec(plan(), 1..8),
        sizes in sizes(),
    ) {
        let copy = lead(&script, &snapshot, &plans, &sizes);
        let (_, base) = copy.base.expect("the last link was not cut");
        let expected: Vec<Frame> = script.frames.iter().filter(|frame| frame.start >= base).cloned().collect();
        let seen: Vec<Frame> = copy.commands.into_iter().map(|command| Frame {
            argv: command.argv,
            raw: command.raw,
            start: command.start,
            end: command.end,
            applied: command.applied,
            db: command.db,
        }).collect();
        // A snapshot without a database leaves it open until one is selected.
        let selected = expected.iter().position(|frame| frame.argv[0] == "SELECT").unwrap_or(expected.len());
        for (index, (seen, expected)) in seen.iter().zip(&expected).enumerate() {
            let db = if index < selected { None } else { expected.db };
            prop_assert_eq!(seen, &Frame { db, ..expected.clone() });
        }
        prop_assert_eq!(seen.len(), expected.len());
    }

    #[test]
    fn events_do_not_depend_on_how_the_bytes_are_cut(
        script in script(),
        snapshot in snapshot(),
        plans in prop::collection::vec(plan(), 1..5),
        sizes in sizes(),
    ) {
        // What was not taken before a cut is lost, and that does depend on it.
        let plans: Vec<Plan> = plans.into_iter().map(|plan| Plan { is_rude: false, ..plan }).collect();
        let whole = lead(&script, &snapshot, &plans, &[usize::MAX]).trace;
        let cut = lead(&script, &snapshot, &plans, &sizes).trace;
        prop_assert_eq!(cut, whole);
    }

    #[test]
    fn what_is_applied_and_passed_on_serves_sub_replicas(
        script in script(),
        snapshot in snapshot(),
        plans in prop::collection::vec(plan(), 1..5),
        at in any::<Index>(),
    ) {
        let copy = lead(&script, &snapshot, &plans, &[usize::MAX]);
        let (id, base) = copy.base.expect("the last link was not cut");
        let passed_on = pass_on(base, &copy.commands);
        let resting: Vec<u64> =
            script.resting.iter().map(|position| position.offset).filter(|offset| *offset >= base).collect();
        let from = *at.get(&resting);
        let (wanted, id) = (from as i64 + 1, RequestedId::Known(id));
        let retained = Retained { first: passed_on.first_offset(), end: passed_on.end_offset() };
        let history = copy.history.expect("a replica that streams has one");
        let decision = decide(&history, retained, &PsyncRequest { id, wanted, failover: false });
        prop_assert_eq!(&decision, &Decision::Partial { attach_offset: from });
        let mut cursor = passed_on.attach(from).expect("what is granted can be sent");
        cursor.refresh().expect("a cursor without a lag stays");
        let bytes = cursor.copy_to_bytes(cursor.remaining());
        let behind = copy.commands.iter().filter(|command| command.start >= from);
        prop_assert_eq!(bytes, behind.map(|command| &command.raw[..]).collect::<Vec<_>>().concat());
    }

    #[test]
    fn any_bytes_give_the_same_events_however_they_are_cut_and_hold_no_more_than_the_limits(
        script in script(),
        snapshot in snapshot(),
        plan in plan(),
        sizes in sizes(),
        changes in prop::collection::vec((any::<Index>(), any::<u8>(), 0..4_u8), 0..12),
        garbage in prop::option::weighted(0.2, prop::collection::vec(any::<u8>(), 0..300)),
    ) {
        let offset = plan.taken_at.get(&script.resting).offset;
        let header = if plan.has_mark {
            [b"$EOF:", &MARK[..], b"\r\n", &snapshot[..], MARK].concat()
        } else {
            [format!("${}\r\n", snapshot.len()).as_bytes(), &snapshot[..]].concat()
        };
        let start = format!("+PONG\r\n+OK\r\n+FULLRESYNC {} {offset}\r\n\n", id(0));
        let mut bytes = garbage.unwrap_or([start.as_bytes(), &header, script.from(offset)].concat());
        for (at, byte, kind) in &changes {
            let at = at.index(bytes.len() + 1);
            match kind {
                0 => bytes.insert(at, *byte),
                1 if at < bytes.len() => bytes[at] = *byte,
                2 if at < bytes.len() => drop(bytes.drain(at..bytes.len().min(at + usize::from(*byte)))),
                _ => {
                    let piece = bytes[at..bytes.len().min(at + usize::from(*byte))].to_vec();
                    drop(bytes.splice(at..at, piece));
                }
            }
        }
        prop_assert_eq!(fed(&bytes, &sizes), fed(&bytes, &[usize::MAX]));
    }
}

/// The stream as a replica passes it on: whole units.
fn pass_on(base: u64, commands: &[Command]) -> ReplicationBuffer {
    let buffer =
        ReplicationBuffer::builder().base_offset(base).build().expect("the settings are within bounds");
    let mut unit = BytesMut::new();
    for command in commands {
        unit.extend_from_slice(&command.raw);
        if command.applied == command.end {
            buffer.append(&unit.split()).expect("the stream is not sealed");
        }
    }
    buffer
}

/// What one link comes to that brings these bytes, whatever the replica says.
fn fed(bytes: &[u8], sizes: &[usize]) -> Vec<Event> {
    // Some commands of a script are longer.
    const MAX_COMMAND_BYTES: u64 = 60;
    // A command is held twice: as bytes and as arguments.
    const MAX_LINE_BYTES: u64 = 2 * MAX_COMMAND_BYTES;
    let mut session = ReplicaSession::builder()
        .max_line_bytes(MAX_LINE_BYTES as usize)
        .max_command_bytes(MAX_COMMAND_BYTES)
        .max_argument_bytes(100)
        .max_arguments(8)
        .build();
    assert_eq!(session.next_event(0), Some(Event::Connect));
    session.connected();
    let (mut copy, mut rest, mut turn) = (Copy::default(), bytes, 0);
    // There is something to continue, whatever comes.
    copy.base = Some((id(0), 0));
    while !rest.is_empty() {
        turn += 1;
        let (piece, behind) = rest.split_at(sizes[turn % sizes.len()].min(rest.len()));
        rest = behind;
        session.receive(piece);
        while let Some(event) = session.next_event(0) {
            if event == Event::SnapshotEnd {
                copy.trace.push(event);
                session.snapshot_applied(None, 0);
            } else {
                let snapshot = copy.snapshot.clone();
                copy.take(event, &snapshot);
            }
        }
        let held = session.held_bytes();
        assert!(held <= MAX_LINE_BYTES, "{held} bytes are held");
        let _ = session.take_output();
    }
    copy.trace
}
