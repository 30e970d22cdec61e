//! A replication stream on its way from a buffer to a replica.
//!
//! Units are written as the product writes them (`frame::write` into a [`ReplicationBuffer`]), read by a
//! cursor in portions of any length, and parsed as a replica parses them; now and then the link breaks, and
//! the replica comes back by `PSYNC` with what it has applied.
//!
//! * **Once.** The replica applies every operation once, in order, in the database it was written for.
//! * **Whole.** What was written as one unit is applied as one: no offset inside it is ever acknowledged.
//! * **Offsets.** A replica that adds up the bytes of its commands is where the primary says it is; a unit
//!   moves the offset by the encoded length of its commands, by `SELECT`, `MULTI` and `EXEC` where they have
//!   to be and nothing else.
//! * **Any bytes.** A stream that nobody wrote is parsed as in one piece, with the same offsets.

use std::ops::Range;

use arbitrary::{Result, Unstructured};
use bytes::{Buf as _, Bytes, BytesMut};
use replcore::buffer::{Cursor, CursorLimits, MAX_OFFSET, ReplicationBuffer};
use replcore::resp::{CommandParser, Limits, ProtocolError, encode_command, encoded_len};
use replcore::resync::{
    Decision, History, PsyncRequest, ReplicationId, RequestedId, Retained, decide, parse_psync,
};
use replcore::rewrite::{Effects, Wrap, frame};

use super::input::{Cuts, Steering, several, text};
use super::resp::parse;

/// The target.
pub fn stream(data: &[u8]) {
    let Some((steering, bytes)) = Steering::split(data) else { return };
    if steering.form.is_multiple_of(2) {
        any_bytes(bytes, steering);
    } else {
        // Choices run out before they fail.
        let _ = units(&mut Unstructured::new(bytes), steering);
    }
}

/// A buffer whose blocks and segments are so small that a few frames cross them.
fn buffer(steering: Steering) -> ReplicationBuffer {
    let base_offset = match steering.limits & 3 {
        0 => 0,
        1 => u64::from(steering.at),
        2 => u64::from(u32::MAX) - 100,
        _ => MAX_OFFSET - (1 << 40),
    };
    ReplicationBuffer::builder()
        .base_offset(base_offset)
        .block_bytes(64 << (steering.limits >> 2 & 3))
        .segment_frames(1 + usize::from(steering.limits >> 4 & 7))
        .segment_bytes(64)
        .cursor_limits(CursorLimits::UNLIMITED)
        .build()
        .expect("the settings are within their bounds")
}

/// An operation that a replica has applied.
#[derive(Clone, Debug, PartialEq)]
struct Applied {
    db: u16,
    argv: Vec<Bytes>,
}

/// A replica as simple as can be: it applies by writing down.
struct Replica {
    parser: CommandParser,
    input: BytesMut,
    /// Bytes of the stream that have come, since the beginning of its history.
    received: u64,
    /// Bytes of the commands that were understood.
    understood: u64,
    /// Where it stands: what it would acknowledge, and ask to be continued from. Between two units always.
    offset: u64,
    /// The database selected at `offset`, and the one selected inside the transaction under way.
    db: Option<u16>,
    db_inside: Option<u16>,
    transaction: Option<Vec<Applied>>,
    applied: Vec<Applied>,
    /// Every offset it stood at after a command, in order.
    stood_at: Vec<u64>,
}

impl Replica {
    fn new(offset: u64) -> Replica {
        Replica {
            parser: CommandParser::new(Limits::default()),
            input: BytesMut::new(),
            received: offset,
            understood: offset,
            offset,
            db: None,
            db_inside: None,
            transaction: None,
            applied: Vec::new(),
            stood_at: Vec::new(),
        }
    }

    /// Takes bytes of the stream; returns the commands in them, each with the offset behind it.
    fn take(&mut self, bytes: &[u8]) -> std::result::Result<Vec<(Vec<Bytes>, u64)>, ProtocolError> {
        self.input.extend_from_slice(bytes);
        self.received += bytes.len() as u64;
        let mut commands = Vec::new();
        while let Some(argv) = self.parser.next(&mut self.input)? {
            self.understood += self.parser.last_command_bytes();
            let consumed = self.received - self.input.len() as u64;
            assert_eq!(self.understood, consumed, "the offset is the bytes consumed, after {argv:?}");
            commands.push((argv.clone(), self.understood));
            self.apply(argv);
        }
        Ok(commands)
    }

    fn apply(&mut self, argv: Vec<Bytes>) {
        match (&argv[0].to_ascii_uppercase()[..], argv.get(1)) {
            (b"SELECT", Some(db)) => {
                self.db_inside = std::str::from_utf8(db).ok().and_then(|db| db.parse().ok());
            }
            (b"MULTI", None) => self.transaction = Some(Vec::new()),
            (b"EXEC", None) => self.applied.extend(self.transaction.take().unwrap_or_default()),
            (b"PING", None) => {}
            _ => {
                let op = Applied { db: self.db_inside.unwrap_or(u16::MAX), argv };
                self.transaction.as_mut().unwrap_or(&mut self.applied).push(op);
            }
        }
        if self.transaction.is_none() {
            self.offset = self.understood;
            self.db = self.db_inside;
            self.stood_at.push(self.offset);
        }
    }

    /// Loses its link, and with it all that was not applied.
    fn disconnect(&mut self) {
        self.parser = CommandParser::new(Limits::default());
        self.input.clear();
        (self.received, self.understood) = (self.offset, self.offset);
        self.db_inside = self.db;
        self.transaction = None;
    }
}

fn any_bytes(bytes: &[u8], steering: Steering) {
    let buffer = buffer(steering);
    let base = buffer.end_offset();
    let mut cursor = buffer.attach_at_end().expect("there is room for a cursor");
    // What is written in one piece is not what is read in one.
    for piece in Cuts(steering.cuts.0.rotate_left(5)).pieces(bytes) {
        buffer.append(piece).expect("the stream is not sealed and not at its end");
    }
    assert_eq!(buffer.end_offset() - base, bytes.len() as u64);
    let whole = parse(bytes, Limits::default(), true, Cuts::NONE);
    let mut replica = Replica::new(base);
    let (mut commands, mut error) = (Vec::new(), None);
    for length in steering.cuts.lengths() {
        let piece = read(&mut cursor, length);
        if piece.is_empty() {
            break;
        }
        match replica.take(&piece) {
            Ok(mut taken) => commands.append(&mut taken),
            Err(failure) => {
                error = Some(failure);
                break;
            }
        }
    }
    assert_eq!(error, whole.error);
    if error.is_none() {
        assert_eq!(replica.received, buffer.end_offset());
        let expected: Vec<_> =
            whole.commands.into_iter().map(|(argv, range)| (argv, base + range.end as u64)).collect();
        assert_eq!(commands, expected);
    }
}

/// The next bytes, at most `length` of them, in whatever runs the cursor has them.
fn read(cursor: &mut Cursor, length: usize) -> Vec<u8> {
    cursor.refresh().expect("a cursor without limits stays");
    let mut bytes = Vec::new();
    while bytes.len() < length && cursor.has_remaining() {
        let run = cursor.chunk();
        let taken = run.len().min(length - bytes.len());
        bytes.extend_from_slice(&run[..taken]);
        cursor.advance(taken);
    }
    bytes
}

/// A primary that writes down what it does.
struct Primary {
    stream: ReplicationBuffer,
    history: History,
    /// The database that the stream has selected.
    db: Option<u16>,
    done: Vec<Applied>,
    /// The offsets of the units that a replica applies as one.
    atomic: Vec<Range<u64>>,
    /// The end of the last command.
    end: u64,
}

impl Primary {
    /// Writes a unit, and checks how far the stream moves.
    fn write(&mut self, ops: Vec<Applied>, wrap: Wrap) {
        let mut effects = Effects { wrap, ..Effects::new() };
        let mut len = 0;
        let is_wrapped = wrap == Wrap::IfSeveral && ops.len() > 1;
        if is_wrapped {
            len += encoded_len(&["MULTI"]) + encoded_len(&["EXEC"]);
        }
        for op in &ops {
            if self.db != Some(op.db) {
                len += encoded_len(&["SELECT", &op.db.to_string()]);
                self.db = Some(op.db);
            }
            len += encoded_len(&op.argv);
            effects.push_command(op.db, op.argv.clone());
        }
        let range = self.stream.append_with(|staged| frame::write(&effects, staged)).expect("not sealed");
        assert_eq!(range.end - range.start, len as u64, "{effects:?}");
        assert!(len as u64 <= frame::max_len(&effects));
        if is_wrapped {
            self.atomic.push(range.clone());
        }
        if len > 0 {
            self.end = range.end;
        }
        self.done.extend(ops);
    }

    /// Answers a replica that comes back. Everything is retained, so it is continued.
    fn psync(&self, offset: u64) -> Cursor {
        let args = [self.history.replid.to_string(), (offset + 1).to_string()];
        let request = parse_psync(&args).expect("the arguments are well formed");
        let id = RequestedId::Known(self.history.replid);
        assert_eq!(request, PsyncRequest { id, wanted: offset as i64 + 1, failover: false });
        let retained = Retained { first: self.stream.first_offset(), end: self.stream.end_offset() };
        match decide(&self.history, retained, &request) {
            Decision::Partial { attach_offset } => {
                assert_eq!(attach_offset, offset);
                self.stream.attach(attach_offset).expect("what is granted can be sent")
            }
            Decision::Full { reason } => panic!("a replica at {offset} is refused: {reason}"),
        }
    }
}

fn units(u: &mut Unstructured<'_>, steering: Steering) -> Result<()> {
    let stream = buffer(steering);
    let base = stream.end_offset();
    let history = History::new(ReplicationId::from_random([0xab; 20]));
    let mut primary = Primary { stream, history, db: None, done: Vec::new(), atomic: Vec::new(), end: base };
    let mut replica = Replica::new(base);
    let mut cursor = primary.psync(base);
    let mut lengths = steering.cuts.lengths();
    while !u.is_empty() {
        match u.int_in_range(0..=9)? {
            0..=4 => {
                let wrap = if u.ratio(1, 8)? { Wrap::Never } else { Wrap::IfSeveral };
                let ops = several(u, 4, operation)?;
                primary.write(ops, wrap);
            }
            5 => {
                let mut ping = Vec::new();
                encode_command(&["PING"], &mut ping);
                primary.end = primary.stream.append(&ping).expect("not sealed").end;
            }
            6 => {
                // A keepalive: no command, so its bytes count with the next one's.
                let keepalive: &[u8] = u.choose(&[&b"\n"[..], b"\r\n"])?;
                primary.stream.append(keepalive).expect("not sealed");
            }
            7..=8 => {
                let piece = read(&mut cursor, lengths.next().unwrap_or(usize::MAX));
                replica.take(&piece).expect("what the product writes is understood");
            }
            _ => {
                replica.disconnect();
                cursor = primary.psync(replica.offset);
            }
        }
    }
    for length in lengths {
        let piece = read(&mut cursor, length);
        if piece.is_empty() {
            break;
        }
        replica.take(&piece).expect("what the product writes is understood");
    }
    assert_eq!(replica.applied, primary.done);
    assert_eq!(replica.received, primary.stream.end_offset());
    assert_eq!(replica.offset, primary.end, "nothing but keepalives stands behind the last command");
    assert_eq!(replica.transaction, None);
    for unit in &primary.atomic {
        let inside = |offset: &&u64| unit.start < **offset && **offset < unit.end;
        assert_eq!(replica.stood_at.iter().find(inside), None, "the unit {unit:?} was torn");
    }
    Ok(())
}

/// An operation; its name is none of those that frame a stream.
fn operation(u: &mut Unstructured<'_>) -> Result<Applied> {
    let db = match u.int_in_range(0..=3)? {
        0..=1 => 0,
        2 => u.int_in_range(0..=20)?,
        _ => u.arbitrary()?,
    };
    let name = *u.choose(&["SET", "set", "PEXPIREAT", "X"])?;
    let mut argv = vec![Bytes::from_static(name.as_bytes())];
    argv.append(&mut several(u, 5, text)?);
    Ok(Applied { db: if db == u16::MAX { 0 } else { db }, argv })
}
