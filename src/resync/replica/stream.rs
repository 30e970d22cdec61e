//! The stream of one link: commands, and the offsets between them.
//!
//! ```text
//!             start                end
//!   ... EXEC │ SET k v │ MULTI │ SET a 1 │ SET b 2 │ EXEC │ GET...
//!            │         │       │         │         │      │    └ read: every byte that came
//!   applied: ├────────►│◄ ─ ─ ─ ─ stays here ─ ─ ─►├─────►│
//! ```
//!
//! Commands tile the stream: each starts where the one before it ended, so that every byte belongs to one,
//! line feeds between them included. What is *applied* does not move inside a transaction: who lost the link
//! there would resume in the midst of it. The selected database goes back with it.

use bytes::{Bytes, BytesMut};

use super::event::is_word;
use super::position::parse_db;
use super::settings::Settings;
use super::{Command, LinkError, Position, TransactionPart};
use crate::resp::CommandParser;

/// Reads commands of the stream.
#[derive(Debug)]
pub(super) struct StreamReader {
    parser: CommandParser,
    /// What was received and belongs to no finished command; `None` if nobody wants it.
    raw: Option<BytesMut>,
    max_command_bytes: u64,
    /// Bytes of the stream received.
    read: u64,
    /// Where the last finished command ended.
    end: u64,
    /// Where to resume.
    applied: Position,
    /// The database selected at `end`.
    db: Option<u32>,
    /// Whether a transaction is open.
    is_open: bool,
}

impl StreamReader {
    /// The stream behind `position`, whose first bytes are already in `input`.
    pub(super) fn new(position: Position, input: &[u8], settings: &Settings) -> Self {
        let mut parser = CommandParser::new(settings.stream_limits());
        parser.set_multibulk_only(true);
        let mut reader = StreamReader {
            parser,
            raw: settings.raw_bytes.then(BytesMut::new),
            max_command_bytes: settings.max_command_bytes,
            read: position.offset,
            end: position.offset,
            applied: position,
            db: position.db,
            is_open: false,
        };
        reader.received(input);
        reader
    }

    /// Notes bytes that were appended to the input.
    pub(super) fn received(&mut self, bytes: &[u8]) {
        self.read = self.read.saturating_add(bytes.len() as u64);
        if let Some(raw) = &mut self.raw {
            raw.extend_from_slice(bytes);
        }
    }

    pub(super) fn read_offset(&self) -> u64 {
        self.read
    }

    pub(super) fn applied(&self) -> Position {
        self.applied
    }

    /// Whether commands were delivered that are not applied yet.
    pub(super) fn is_inside_transaction(&self) -> bool {
        self.is_open
    }

    /// Bytes held for commands that are not finished.
    pub(super) fn held_bytes(&self) -> u64 {
        let raw = self.raw.as_ref().map_or(0, |raw| raw.len() as u64);
        (self.read - self.end).saturating_add(raw)
    }

    /// The next command in `input`; `None` if it has not arrived completely.
    pub(super) fn next(&mut self, input: &mut BytesMut) -> Result<Option<Command>, LinkError> {
        let start = self.end;
        let behind = self.split_behind_limit(input);
        let parsed = self.parser.next(input);
        let is_too_long = behind.is_some();
        if let Some(behind) = behind {
            input.unsplit(behind);
        }
        let Some(argv) = parsed.map_err(|source| LinkError::Stream { offset: start, source })? else {
            let limit = self.max_command_bytes;
            return if is_too_long {
                Err(LinkError::CommandTooLong { offset: start, limit })
            } else {
                Ok(None)
            };
        };
        let len = self.parser.last_command_bytes();
        self.end = start.saturating_add(len);
        let raw = self.take_raw(len);
        let part = self.take_part(&argv);
        if is_word(argv.first(), "SELECT") {
            self.db = argv.get(1).and_then(|db| parse_db(db)).or(self.db);
        }
        if !self.is_open {
            self.applied = Position { offset: self.end, db: self.db, ..self.applied };
        }
        let applied = self.applied.offset;
        Ok(Some(Command { argv, raw, start, end: self.end, applied, db: self.db, part }))
    }

    /// Takes off `input` what the next command may not reach. So the parser never sees it, and whether a
    /// command is too long or malformed does not depend on how much of it has come.
    fn split_behind_limit(&self, input: &mut BytesMut) -> Option<BytesMut> {
        let seen = self.read.saturating_sub(self.end).saturating_sub(input.len() as u64);
        let visible = usize::try_from(self.max_command_bytes.saturating_sub(seen)).unwrap_or(usize::MAX);
        (input.len() > visible).then(|| input.split_off(visible))
    }

    fn take_raw(&mut self, len: u64) -> Bytes {
        let Some(raw) = &mut self.raw else { return Bytes::new() };
        let len = usize::try_from(len).unwrap_or(usize::MAX).min(raw.len());
        raw.split_to(len).freeze()
    }

    /// A `MULTI` in a transaction and an `EXEC` outside of one are errors, which change nothing.
    fn take_part(&mut self, argv: &[Bytes]) -> TransactionPart {
        let is = |word| argv.len() == 1 && is_word(argv.first(), word);
        let (part, is_open) = match self.is_open {
            false if is("MULTI") => (TransactionPart::Begin, true),
            false => (TransactionPart::Outside, false),
            true if is("EXEC") || is("DISCARD") => (TransactionPart::End, false),
            true => (TransactionPart::Inside, true),
        };
        self.is_open = is_open;
        part
    }
}
