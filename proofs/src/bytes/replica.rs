//! A primary, and the replica's session that listens to it.
//!
//! * **Cuts.** The same bytes are the same events, however they are cut; only a snapshot may be divided
//!   otherwise.
//! * **Tiling.** A command starts where the one before it ended; its bytes are empty commands and its
//!   arguments' encoding; all of them, one after another, are what came.
//! * **Position.** It is never inside a transaction, and is what the next link asks to be continued.
//! * **Memory.** What is held is within the limits, whatever is claimed.
//! * **Once.** Over links that break at any byte, a primary that continues what it is asked for, or gives a
//!   snapshot, brings every command once, in order.

use arbitrary::{Result, Unstructured};
use bytes::BytesMut;
use replcore::resp::{CommandParser, Limits, encode_command};
use replcore::resync::ReplicationId;
use replcore::resync::replica::{
    Builder, Command, Event, LinkDown, LinkError, Phase, Position, ReplicaSession, TransactionPart,
};

use super::input::{Cuts, Steering, several, text};
use super::memory::bounded;

/// The mark of seeds; it does not end as it begins.
pub(super) const MARK: &str = "0123456789abcdef0123456789abcdef0123456z";

/// The target.
pub fn replica(data: &[u8]) {
    let Some((steering, bytes)) = Steering::split(data) else { return };
    if steering.form.is_multiple_of(2) {
        any_bytes(bytes, steering);
    } else {
        // Choices run out before they fail.
        let _ = scripted(&mut Unstructured::new(bytes), steering);
    }
}

fn id(byte: u8) -> ReplicationId {
    ReplicationId::from_random([byte; 20])
}

fn origin(steering: Steering) -> Position {
    Position { id: id(0xab), offset: u64::from(steering.at), db: Some(1) }
}

/// What one link came to.
#[derive(Debug, Default, PartialEq)]
struct Link {
    events: Vec<Event>,
    down: Option<LinkDown>,
    position: Option<Position>,
    phase: Option<Phase>,
}

fn any_bytes(bytes: &[u8], steering: Steering) {
    let max_line_bytes = 40 + usize::from(steering.limits);
    let max_command_bytes = 16 + 4 * u64::from(steering.limits);
    let builder = ReplicaSession::builder()
        .max_line_bytes(max_line_bytes)
        .max_command_bytes(max_command_bytes)
        .max_argument_bytes(8 + 2 * u64::from(steering.limits))
        .max_arguments(2 + usize::from(steering.limits >> 3))
        .resume(origin(steering));
    // The bytes are all of what a primary says, or what follows one of its answers.
    let before = match steering.form >> 1 & 3 {
        0 => String::new(),
        1 => "+PONG\r\n+OK\r\n+CONTINUE\r\n".to_owned(),
        2 => format!("+PONG\r\n+OK\r\n+FULLRESYNC {} {}\r\n", id(0xcd), steering.at),
        _ => format!("+PONG\r\n+OK\r\n+FULLRESYNC {} {}\r\n$EOF:{MARK}\r\n", id(0xcd), steering.at),
    };
    let all = [before.as_bytes(), bytes].concat();
    let held = (max_line_bytes as u64).max(2 * max_command_bytes);
    let whole = listen(builder.clone(), &all, Cuts::NONE, held);
    // An argument of no bytes takes 6 on the wire and 32 as a slice; events are kept here.
    let cut = bounded(all.len(), 64 << 10, 200, || listen(builder, &all, steering.cuts, held));
    assert_eq!(cut, whole);
    check_tiling(&whole, max_command_bytes);
}

/// Leads a session through one link that brings `bytes`.
fn listen(builder: Builder, bytes: &[u8], cuts: Cuts, most_held: u64) -> Link {
    let mut session = builder.build();
    assert_eq!(session.next_event(0), Some(Event::Connect));
    session.connected();
    let mut link = Link::default();
    for piece in cuts.pieces(bytes) {
        session.receive(piece);
        while link.down.is_none() {
            match session.next_event(0) {
                None => break,
                Some(Event::LinkDown(down)) => link.down = Some(down),
                Some(Event::Snapshot(bytes)) => match link.events.last_mut() {
                    Some(Event::Snapshot(last)) => *last = [&last[..], &bytes].concat().into(),
                    _ => link.events.push(Event::Snapshot(bytes)),
                },
                Some(event) => {
                    let is_whole = event == Event::SnapshotEnd;
                    link.events.push(event);
                    if is_whole {
                        session.snapshot_applied(None, 0);
                    }
                }
            }
        }
        assert!(session.held_bytes() <= most_held, "{} of {most_held} bytes are held", session.held_bytes());
        let _ = session.take_output();
        if link.down.is_some() {
            break;
        }
    }
    (link.position, link.phase) = (session.position(), Some(session.phase()));
    link
}

fn check_tiling(link: &Link, max_command_bytes: u64) {
    let mut place = None;
    let mut applied = None;
    let mut resume = None;
    for event in &link.events {
        match event {
            Event::FullResync { offset, .. } => place = Some(*offset),
            Event::SnapshotEnd => (applied, resume) = (place, place),
            Event::Continue { position, .. } => {
                (place, applied, resume) =
                    (Some(position.offset), Some(position.offset), Some(position.offset));
            }
            Event::Command(command) => {
                assert_eq!(Some(command.start), place);
                assert_eq!(command.end - command.start, command.raw.len() as u64);
                assert!(command.raw.len() as u64 <= max_command_bytes);
                check_raw(command);
                place = Some(command.end);
                match command.part {
                    TransactionPart::Begin => applied = Some(command.start),
                    TransactionPart::Inside => {}
                    TransactionPart::Outside | TransactionPart::End => applied = Some(command.end),
                }
                // What precedes a MULTI in its own bytes is applied with the command before it.
                assert_eq!(Some(command.applied), applied);
                resume = applied;
            }
            _ => {}
        }
    }
    let gives_up = |down: &LinkDown| matches!(down.error, LinkError::Stream { .. });
    let keeps =
        link.phase == Some(Phase::Streaming) || link.down.as_ref().is_some_and(|down| !gives_up(down));
    if let (true, Some(resume), Some(position)) = (keeps, resume, link.position) {
        assert_eq!(position.offset, resume);
    }
}

/// The bytes of a command are its encoding, behind nothing or empty commands.
fn check_raw(command: &Command) {
    let mut encoded = Vec::new();
    encode_command(&command.argv, &mut encoded);
    let blank = command.raw.strip_suffix(&encoded[..]).expect("an encoding is canonical");
    let mut parser = CommandParser::new(Limits::default());
    let mut blank = BytesMut::from(blank);
    assert_eq!(parser.next(&mut blank), Ok(None));
    assert!(parser.is_idle());
}

/// A stream by construction: its bytes, where its commands end, and where a replica may rest.
struct Stream {
    base: u64,
    bytes: Vec<u8>,
    commands: Vec<(Vec<bytes::Bytes>, u64)>,
    resting: Vec<u64>,
}

impl Stream {
    fn choose(u: &mut Unstructured<'_>, base: u64) -> Result<Stream> {
        let mut stream = Stream { base, bytes: Vec::new(), commands: Vec::new(), resting: vec![base] };
        for _ in 0..u.int_in_range(1..=12)? {
            if u.ratio(1, 6)? {
                stream.bytes.push(b'\n');
            }
            if u.ratio(1, 3)? {
                stream.command(vec![bytes::Bytes::from_static(b"MULTI")]);
                for argv in several(u, 4, argv)? {
                    stream.command(argv);
                }
                stream.command(vec![bytes::Bytes::from_static(b"EXEC")]);
            } else {
                stream.command(argv(u)?);
            }
            stream.resting.push(base + stream.bytes.len() as u64);
        }
        Ok(stream)
    }

    fn command(&mut self, argv: Vec<bytes::Bytes>) {
        encode_command(&argv, &mut self.bytes);
        self.commands.push((argv, self.base + self.bytes.len() as u64));
    }
}

fn argv(u: &mut Unstructured<'_>) -> Result<Vec<bytes::Bytes>> {
    let name: &[u8] = u.choose(&[&b"SET"[..], b"ping", b"SELECT", b"REPLCONF", b"X"])?;
    let mut argv = vec![bytes::Bytes::copy_from_slice(name)];
    argv.append(&mut several(u, 3, text)?);
    Ok(argv)
}

/// Links that break, and a primary that answers each.
fn scripted(u: &mut Unstructured<'_>, steering: Steering) -> Result<()> {
    let stream = Stream::choose(u, u64::from(steering.at))?;
    let mut session = ReplicaSession::builder().build();
    let (mut applied, mut base, mut now_ms) = (Vec::<Command>::new(), None, 0);
    let mut lengths = steering.cuts.lengths();
    for _ in 0..u.int_in_range(1..=6)? {
        let (refuses, at, has_mark) = (u.ratio(1, 4)?, *u.choose(&stream.resting)?, u.arbitrary()?);
        let cut = u.int_in_range(0..=stream.bytes.len() + 200)?;
        now_ms = session.next_deadline_ms().unwrap_or(now_ms).max(now_ms);
        assert_eq!(session.next_event(now_ms), Some(Event::Connect));
        session.connected();
        let asked = base.map(|base| resting(&stream, &applied, base));
        assert_eq!(session.position().map(|position| position.offset), asked);
        let answer = match asked.filter(|_| !refuses) {
            Some(offset) => {
                let tail = &stream.bytes[(offset - stream.base) as usize..];
                [b"+PONG\r\n+OK\r\n+CONTINUE\r\n", tail].concat()
            }
            None => from_snapshot(&stream, at, has_mark),
        };
        let mut rest = &answer[..cut.min(answer.len())];
        while !rest.is_empty() {
            let (piece, behind) = rest.split_at(lengths.next().unwrap_or(usize::MAX).min(rest.len()));
            rest = behind;
            session.receive(piece);
            while let Some(event) = session.next_event(now_ms) {
                match event {
                    Event::SnapshotBegin { .. } => (applied, base) = (Vec::new(), None),
                    Event::SnapshotEnd => {
                        base = Some(at);
                        session.snapshot_applied(None, now_ms);
                    }
                    Event::Command(command) => applied.push(command),
                    Event::LinkDown(down) => panic!("{down:?}"),
                    _ => {}
                }
            }
        }
        session.disconnected(now_ms);
        let Some(Event::LinkDown(down)) = session.next_event(now_ms) else { panic!("the link is down") };
        assert_eq!(down.error, LinkError::Disconnected);
        if let Some(to) = down.rolled_back_to {
            applied.retain(|command| command.end <= to);
        }
        let Some(base) = base else { continue };
        let expected = stream.commands.iter().filter(|(_, end)| *end > base).take(applied.len());
        assert!(
            applied
                .iter()
                .map(|command| (&command.argv, command.end))
                .eq(expected.map(|(argv, end)| (argv, *end)))
        );
        assert_eq!(applied.last().map_or(base, |last| last.end), resting(&stream, &applied, base));
    }
    Ok(())
}

/// Where a replica rests that has applied these.
fn resting(stream: &Stream, applied: &[Command], base: u64) -> u64 {
    let end = applied.last().map_or(base, |last| last.end);
    stream.resting.iter().rev().copied().find(|at| *at <= end).unwrap_or(base)
}

fn from_snapshot(stream: &Stream, at: u64, has_mark: bool) -> Vec<u8> {
    let (snapshot, tail) = (&MARK[..39], &stream.bytes[(at - stream.base) as usize..]);
    let begin = format!("+PONG\r\n+OK\r\n+FULLRESYNC {} {at}\r\n\n", id(0xcd));
    let snapshot = if has_mark {
        format!("$EOF:{MARK}\r\n{snapshot}{MARK}")
    } else {
        format!("${}\r\n{snapshot}", snapshot.len())
    };
    [begin.as_bytes(), snapshot.as_bytes(), tail].concat()
}
