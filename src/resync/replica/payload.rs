//! A snapshot on its way: where it ends.
//!
//! ```text
//! $1234\r\n            1234 bytes, then the stream at once
//! $EOF:<mark>\r\n      bytes, then the same 40 of the mark; the stream begins after the first acknowledgement
//! ```
//!
//! Nothing is collected: what has arrived is handed on. Only the last 39 bytes before the end of what has
//! arrived are held back where a mark is awaited, for they may be the beginning of it.

use bytes::{Buf as _, Bytes, BytesMut};
use memchr::memmem::Finder;

use super::super::Framing;
use super::super::handshake::shown;
use super::position::parse_offset;
use super::{LinkError, Step};

const MARK_BYTES: usize = 40;

/// The rest of a snapshot.
#[derive(Debug)]
pub(super) enum Payload {
    Length { missing: u64 },
    Mark { finder: Box<Finder<'static>> },
}

/// What comes next in a snapshot.
pub(super) enum Piece {
    Bytes(Bytes),
    End,
}

impl Payload {
    /// Reads the header's line.
    pub(super) fn parse(line: &[u8]) -> Result<Payload, LinkError> {
        let unexpected = || LinkError::UnexpectedReply { step: Step::Snapshot, reply: shown(line) };
        if line.starts_with(b"-") {
            return Err(LinkError::NotNow { step: Step::Snapshot, reply: shown(line) });
        }
        let framing = line.strip_prefix(b"$").ok_or_else(unexpected)?;
        let Some(mark) = framing.strip_prefix(b"EOF:") else {
            let missing = parse_offset(framing).ok_or_else(unexpected)?;
            return Ok(Payload::Length { missing });
        };
        if mark.len() != MARK_BYTES {
            return Err(unexpected());
        }
        Ok(Payload::Mark { finder: Box::new(Finder::new(mark).into_owned()) })
    }

    pub(super) fn framing(&self) -> Framing {
        match self {
            Payload::Length { .. } => Framing::Length,
            Payload::Mark { .. } => Framing::EndMark,
        }
    }

    /// How many bytes are still to come, if that is known.
    pub(super) fn missing(&self) -> Option<u64> {
        match self {
            Payload::Length { missing } => Some(*missing),
            Payload::Mark { .. } => None,
        }
    }

    /// What of `input` belongs to the snapshot; `None` if more has to come.
    pub(super) fn next(&mut self, input: &mut BytesMut) -> Option<Piece> {
        let len = match self {
            Payload::Length { missing: 0 } => return Some(Piece::End),
            Payload::Length { missing } => {
                let len = usize::try_from(*missing).unwrap_or(usize::MAX).min(input.len());
                *missing -= len as u64;
                len
            }
            Payload::Mark { finder } => match finder.find(input) {
                Some(0) => {
                    input.advance(MARK_BYTES);
                    return Some(Piece::End);
                }
                Some(at) => at,
                None => input.len().saturating_sub(MARK_BYTES - 1),
            },
        };
        (len > 0).then(|| Piece::Bytes(input.split_to(len).freeze()))
    }
}
