//! `PSYNC` and `REPLCONF`: what a replica asks for, and what it is granted.
//!
//! * **Reading.** Arguments are read by the rules stated here once more; an error is one line.
//! * **Order.** A `REPLCONF` of many options is its options, one after another, up to the first that fails or
//!   answers.
//! * **Decision.** [`decide`] grants what the two rules of `resync` grant, in numbers that cannot overflow.
//! * **Truth.** What is granted, a buffer that holds that range can send, from the very byte that was asked
//!   for; what is refused for the range's sake, it cannot.

use arbitrary::{Result, Unstructured};
use bytes::{Buf as _, Bytes, BytesMut};
use replcore::buffer::{MAX_OFFSET, ReplicationBuffer};
use replcore::resp::{CommandParser, Limits};
use replcore::resync::{
    Decision, FullReason, HandshakeError, History, Previous, PsyncRequest, ReplconfOutcome, ReplicaFacts,
    ReplicationId, RequestedId, Retained, SnapshotFormat, SnapshotScope, decide, parse_psync, parse_replconf,
};

use super::input::{Steering, integer, several, text};

/// The target.
pub fn psync(data: &[u8]) {
    let Some((steering, bytes)) = Steering::split(data) else { return };
    if steering.form.is_multiple_of(2) {
        // Commands as they come from a socket, to a server in some situation.
        let situation = Situation::from_steering(steering);
        let mut input = BytesMut::from(bytes);
        let mut parser = CommandParser::new(Limits::default());
        let mut facts = ReplicaFacts::default();
        while let Ok(Some(argv)) = parser.next(&mut input) {
            if argv[0].eq_ignore_ascii_case(b"replconf") {
                facts = check_replconf(&argv[1..], facts);
            } else {
                check_psync(&argv[1..], &situation);
            }
        }
    } else {
        // Choices run out before they fail.
        let _ = asked(&mut Unstructured::new(bytes));
    }
}

/// A server: its history, and its stream.
#[derive(Clone, Copy, Debug)]
struct Situation {
    history: History,
    /// The offset of the stream's first byte, less one.
    base: u64,
    /// So many bytes were written, of which the last `kept` can still be sent at least.
    written: u64,
    kept: u64,
}

const CURRENT: [u8; 20] = [0xab; 20];
const PREVIOUS: [u8; 20] = [0xcd; 20];
/// Bytes of a stream: enough for many segments of the smallest size.
const MAX_WRITTEN: u64 = 400;

impl Situation {
    fn from_steering(steering: Steering) -> Situation {
        let mut history = History::new(ReplicationId::from_random(CURRENT));
        let written = u64::from(steering.at) % MAX_WRITTEN;
        if steering.limits & 1 == 1 {
            let second_offset = u64::from(steering.limits >> 1);
            history.previous = Some(Previous { replid: ReplicationId::from_random(PREVIOUS), second_offset });
        }
        Situation { history, base: 0, written, kept: u64::from(steering.form >> 1) }
    }

    fn choose(u: &mut Unstructured<'_>) -> Result<Situation> {
        let base = match u.int_in_range(0..=3)? {
            0 => 0,
            1 => u.int_in_range(0..=1000)?,
            2 => u.int_in_range(0..=MAX_OFFSET - MAX_WRITTEN)?,
            _ => MAX_OFFSET - MAX_WRITTEN,
        };
        let (written, kept) = (u.int_in_range(0..=MAX_WRITTEN)?, u.int_in_range(0..=MAX_WRITTEN)?);
        let mut history = History::new(ReplicationId::from_random(CURRENT));
        if u.arbitrary()? {
            let ended = base.saturating_add(u.int_in_range(0..=MAX_WRITTEN + 3)?);
            history = History::new(ReplicationId::from_random(PREVIOUS)).shifted(history.replid, ended);
            let previous = history.previous.expect("a promotion leaves a past");
            assert_eq!(i128::from(previous.second_offset), i128::from(ended) + 1);
        }
        Ok(Situation { history, base, written, kept })
    }

    /// A buffer in this situation. Its segments are as small as can be, so that it keeps hardly more than it
    /// must.
    fn buffer(&self) -> ReplicationBuffer {
        let buffer = ReplicationBuffer::builder()
            .base_offset(self.base)
            .backlog_bytes(self.kept)
            .block_bytes(64)
            .segment_frames(2)
            .segment_bytes(16)
            .build()
            .expect("the settings are within their bounds");
        let all: Vec<u8> = (0..self.written).map(|index| byte_at(self.base + index)).collect();
        for frame in all.chunks(7) {
            buffer.append(frame).expect("the stream is not sealed and not at its end");
        }
        buffer
    }
}

/// The byte behind the first `offset` ones, so that a byte tells where it belongs.
fn byte_at(offset: u64) -> u8 {
    (offset % 251) as u8
}

/// A `PSYNC` of choice: all of its forms, near the bounds of the situation.
fn asked(u: &mut Unstructured<'_>) -> Result<()> {
    let situation = Situation::choose(u)?;
    let hex = |bits: [u8; 20]| ReplicationId::from_random(bits).to_string();
    let mut args: Vec<Bytes> = Vec::new();
    args.push(match u.int_in_range(0..=7)? {
        0 => "?".into(),
        1..=2 => hex(CURRENT).into(),
        3..=4 => hex(PREVIOUS).into(),
        5 => hex(*u.choose(&[CURRENT, PREVIOUS])?).to_uppercase().into(),
        6 => hex(u.arbitrary()?).into(),
        _ => text(u)?,
    });
    let ends = [situation.base, situation.base + situation.written, situation.base + situation.written / 2];
    args.push(match u.int_in_range(0..=5)? {
        0 => "-1".into(),
        1 => text(u)?,
        2 => integer(u)?.to_string().into(),
        _ => {
            let second = situation.history.previous.map_or(0, |previous| previous.second_offset);
            let near =
                *u.choose(&[ends[0], ends[1], ends[2], second, ends[1].saturating_sub(situation.kept)])?;
            (i128::from(near) + u.int_in_range::<i8>(-3..=3).map(i128::from)?).to_string().into()
        }
    });
    for _ in 0..u.int_in_range(0..=2)? {
        args.push(match u.int_in_range(0..=2)? {
            0 => "FAILOVER".into(),
            1 => "failover".into(),
            _ => text(u)?,
        });
    }
    if u.ratio(1, 16)? {
        args.truncate(u.int_in_range(0..=1)?);
    }
    check_psync(&args, &situation);
    let mut facts = ReplicaFacts::default();
    for _ in 0..u.int_in_range(0..=3)? {
        let options = several(u, 8, |u| {
            Ok(match u.int_in_range(0..=3)? {
                0 => text(u)?,
                1..=2 => Bytes::from_static(u.choose(super::seeds::PSYNC_WORDS)?),
                _ => integer(u)?.to_string().into(),
            })
        })?;
        facts = check_replconf(&options, facts);
    }
    Ok(())
}

/// A canonical 64-bit integer: the text that the number is printed as.
fn canonical(text: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(text).ok()?;
    let number: i128 = text.parse().ok()?;
    (number.to_string() == text).then(|| i64::try_from(number).ok()).flatten()
}

fn check_psync(args: &[Bytes], situation: &Situation) {
    let parsed = parse_psync(args);
    let (Some(id), Some(wanted)) = (args.first(), args.get(1)) else {
        assert_eq!(parsed, Err(HandshakeError::Syntax));
        return;
    };
    let Some(wanted) = canonical(wanted) else {
        assert_eq!(parsed, Err(HandshakeError::NotAnInteger));
        return;
    };
    let request = parsed.expect("an id and an integer are a request");
    assert_eq!(request.wanted, wanted);
    assert_eq!(request.failover, args.get(2).is_some_and(|flag| flag.to_ascii_lowercase() == b"failover"));
    match &request.id {
        RequestedId::Any => assert!(id.starts_with(b"?")),
        RequestedId::Known(known) => assert_eq!(known.as_str().as_bytes(), id.to_ascii_lowercase()),
        RequestedId::Malformed(shown) => {
            assert!(id.len() != 40 || !id.iter().all(u8::is_ascii_hexdigit));
            assert!(!id.starts_with(b"?") && shown.chars().all(|c| matches!(c, ' '..='~')));
        }
    }
    check_decision(&request, id, situation);
}

/// The rules of `resync`, once more: which bytes of which history can be had.
fn check_decision(request: &PsyncRequest, id: &[u8], situation: &Situation) {
    let buffer = situation.buffer();
    let retained = Retained { first: buffer.first_offset(), end: buffer.end_offset() };
    assert_eq!(retained.end, situation.base + situation.written);
    let decision = decide(&situation.history, retained, request);

    let history = &situation.history;
    let named = |replid: ReplicationId| id.to_ascii_lowercase() == replid.as_str().as_bytes();
    let wanted = i128::from(request.wanted);
    let is_current = named(history.replid);
    let is_previous = history.previous.is_some_and(|previous| named(previous.replid));
    let is_shared = history.previous.is_some_and(|previous| wanted <= i128::from(previous.second_offset));
    let first_byte = i128::from(retained.first) + 1;
    let next_byte = i128::from(retained.end) + 1;
    let is_held = (first_byte..=next_byte).contains(&wanted);
    let granted = (is_current || (is_previous && is_shared)) && is_held;

    match decision {
        Decision::Partial { attach_offset } => {
            assert!(granted, "{request:?} is granted, {situation:?}");
            assert_eq!(i128::from(attach_offset), wanted - 1);
            let mut cursor = buffer.attach(attach_offset).expect("what is granted can be sent");
            let mut offset = attach_offset;
            while cursor.refresh().expect("a cursor within the backlog stays") > 0 {
                assert_eq!(cursor.get_u8(), byte_at(offset));
                offset += 1;
            }
            assert_eq!(offset, retained.end);
        }
        Decision::Full { reason } => {
            assert!(!granted, "{request:?} is refused: {reason}, {situation:?}");
            assert!(!reason.to_string().contains(['\r', '\n']));
            let requested = request.id == RequestedId::Any;
            assert_eq!(reason.is_failed_attempt(), !requested);
            match reason {
                FullReason::Requested => assert!(requested),
                FullReason::UnknownHistory { .. } => assert!(!is_current && !is_previous),
                FullReason::Diverged { .. } => assert!(is_previous && !is_current && !is_shared),
                FullReason::BeforeBacklog { .. } => assert!(wanted < first_byte),
                FullReason::AfterEnd { .. } => assert!(wanted > next_byte),
                reason => panic!("nobody asked for what leads to {reason:?}"),
            }
            // A range that cannot be had from the buffer either, if that was the reason.
            if is_current && let Ok(offset) = u64::try_from(wanted - 1) {
                assert!(buffer.attach(offset).is_err(), "{request:?} could be served, {situation:?}");
            }
        }
    }
}

/// Checks a `REPLCONF` against its options one by one; returns what is known of the replica afterwards.
fn check_replconf(args: &[Bytes], before: ReplicaFacts) -> ReplicaFacts {
    let mut facts = before.clone();
    let outcome = parse_replconf(args, &mut facts);
    if !args.len().is_multiple_of(2) {
        assert_eq!((outcome, &facts), (Err(HandshakeError::Syntax), &before));
        return facts;
    }
    let mut stepwise = before;
    let mut expected = Ok(ReplconfOutcome::Ok);
    for (index, pair) in args.chunks(2).enumerate() {
        let unchanged = stepwise.clone();
        expected = replconf_option(&pair[0].to_ascii_lowercase(), &pair[1], &mut stepwise);
        if expected == Ok(ReplconfOutcome::GetAck) || expected.is_err() {
            assert_eq!(stepwise, unchanged);
        }
        if let Ok(ReplconfOutcome::Ack { fsynced, .. }) = &mut expected {
            let follows = args.get(2 * index + 2).is_some_and(|name| name.eq_ignore_ascii_case(b"fack"));
            *fsynced = args.get(2 * index + 3).filter(|_| follows).and_then(|offset| canonical(offset));
        }
        if expected != Ok(ReplconfOutcome::Ok) {
            break;
        }
    }
    match (&outcome, &expected) {
        (Ok(outcome), Ok(expected)) => assert_eq!(outcome, expected, "{args:?}"),
        (Err(error), Err(kind)) => {
            let line = error.to_string();
            assert!(line.starts_with("ERR ") && !line.chars().any(char::is_control), "{line:?}");
            assert_eq!(std::mem::discriminant(error), std::mem::discriminant(kind), "{args:?}");
        }
        _ => panic!("{outcome:?}, not {expected:?}, for {args:?}"),
    }
    assert_eq!(facts, stepwise, "{args:?}");
    let announced_9 = facts.version.is_some_and(|version| version.major >= 9);
    assert_eq!(facts.holds_field_deadlines(), announced_9);
    assert_eq!(facts.snapshot_format() == SnapshotFormat::Valkey80, announced_9);
    facts
}

/// What one option does. Errors are told apart by their kind; what they quote is left out.
fn replconf_option(
    option: &[u8],
    value: &[u8],
    facts: &mut ReplicaFacts,
) -> std::result::Result<ReplconfOutcome, HandshakeError> {
    let number = canonical(value).ok_or(HandshakeError::NotAnInteger);
    let flag = |number: i64| match number {
        0 | 1 => Ok(number == 1),
        _ => Err(HandshakeError::OutOfRange { min: 0, max: 1 }),
    };
    match option {
        b"ack" => return Ok(ReplconfOutcome::Ack { applied: number.ok(), fsynced: None }),
        b"getack" => return Ok(ReplconfOutcome::GetAck),
        b"listening-port" => facts.listening_port = number?,
        b"ip-address" if value.len() > 255 => {
            return Err(HandshakeError::AddressTooLong { length: value.len() });
        }
        b"ip-address" => {
            let text: String = String::from_utf8_lossy(value).into_owned();
            let clean = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>();
            facts.announced_address = (!clean.is_empty()).then_some(clean);
        }
        b"capa" => match &value.to_ascii_lowercase()[..] {
            b"eof" => facts.capabilities.eof = true,
            b"psync2" => facts.capabilities.psync2 = true,
            _ => {}
        },
        b"version" => {
            let version = version(value).ok_or(HandshakeError::Version { given: String::new() })?;
            facts.version = Some(version);
        }
        b"rdb-only" => facts.rdb_only = number.and_then(flag)?,
        b"rdb-channel" => return number.and_then(flag).map(|_| ReplconfOutcome::Ok),
        b"rdb-filter-only" => {
            let quotes = value.iter().filter(|byte| **byte == b'"').count();
            if quotes % 2 == 1 {
                return Err(HandshakeError::FilterValues);
            }
            let known = [&b""[..], b"\"\"", b"functions", b"\"functions\""];
            let mut words = value.split(u8::is_ascii_whitespace).map(<[u8]>::to_ascii_lowercase);
            if !words.all(|word| known.contains(&&word[..])) {
                return Err(HandshakeError::Filter { given: String::new() });
            }
            facts.scope = SnapshotScope::WithoutKeys;
        }
        b"set-rdb-client-id" => {
            return Err(number.map_or_else(|e| e, |id| HandshakeError::SnapshotClient { id }));
        }
        b"set-cluster-node-id" => return Err(HandshakeError::NoCluster),
        _ => return Err(HandshakeError::UnknownOption { option: String::new() }),
    }
    Ok(ReplconfOutcome::Ok)
}

/// `x.y.z`, each one to three digits and below 256.
fn version(text: &[u8]) -> Option<replcore::resync::ServerVersion> {
    let part = |digits: &str| {
        let plain = (1..=3).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
        plain.then(|| digits.parse::<u8>().ok()).flatten()
    };
    let text = std::str::from_utf8(text).ok()?;
    let parts: Option<Vec<u8>> = text.split('.').map(part).collect();
    let [major, minor, patch] = parts?[..] else { return None };
    Some(replcore::resync::ServerVersion { major, minor, patch })
}
