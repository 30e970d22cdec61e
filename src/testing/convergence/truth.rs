//! The streams as they were really written: what no server can be wrong about.
//!
//! Each unit that a primary writes is taken apart into *pieces*, between which a stream may be cut: a
//! transaction is one piece, any other command is one. A piece is the same for all who have it (it is shared,
//! not copied), so two servers have the same stream up to a place exactly if they have the same piece there.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::stored::Stored;
use crate::resp::{CommandParser, Limits};

/// A part of a stream that comes whole or not at all.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) bytes: Bytes,
    /// The offset behind it.
    pub(super) end: u64,
    /// What was stored behind it where it was written; unknown within a unit that is not a transaction.
    pub(super) stored: Option<Arc<Stored>>,
}

/// The stream of one server, from its beginning.
#[derive(Clone, Debug)]
pub(super) struct Log {
    start: u64,
    empty: Arc<Stored>,
    pieces: Vec<Arc<Piece>>,
}

/// The length of the first command, and its words. A line without a frame of its own is for people, not for a
/// stream.
pub(super) fn first_command(bytes: &[u8]) -> Option<(usize, String)> {
    if bytes.first() != Some(&b'*') {
        return None;
    }
    let mut input = BytesMut::from(bytes);
    let argv = CommandParser::new(Limits::default()).next(&mut input).ok()??;
    let words: Vec<_> = argv.iter().map(|arg| arg.escape_ascii().to_string()).collect();
    Some((bytes.len() - input.len(), words.join(" ")))
}

/// The commands in `bytes`.
pub(super) fn text(mut bytes: &[u8]) -> String {
    let mut commands = Vec::new();
    while let Some((len, command)) = first_command(bytes) {
        commands.push(command);
        bytes = &bytes[len..];
    }
    if !bytes.is_empty() {
        commands.push(format!("{:?}", bytes.escape_ascii().to_string()));
    }
    if commands.is_empty() { "nothing".into() } else { commands.join("; ") }
}

impl Log {
    pub(super) fn new(start: u64, stored: Stored) -> Self {
        Self { start, empty: Arc::new(stored), pieces: Vec::new() }
    }

    pub(super) fn end(&self) -> u64 {
        self.pieces.last().map_or(self.start, |piece| piece.end)
    }

    /// What is stored at the end, if that is known.
    pub(super) fn stored(&self) -> Option<&Arc<Stored>> {
        self.pieces.last().map_or(Some(&self.empty), |piece| piece.stored.as_ref())
    }

    /// Whether this one is a prefix of the other.
    pub(super) fn is_prefix_of(&self, other: &Log) -> bool {
        match self.pieces.len().checked_sub(1) {
            None => self.start == other.start && self.empty == other.empty,
            Some(last) => other.pieces.get(last).is_some_and(|piece| Arc::ptr_eq(piece, &self.pieces[last])),
        }
    }

    /// The piece that ends at `end`.
    pub(super) fn piece_to(&self, end: u64) -> Option<&Arc<Piece>> {
        self.pieces.binary_search_by_key(&end, |piece| piece.end).ok().map(|at| &self.pieces[at])
    }

    pub(super) fn push(&mut self, piece: Arc<Piece>) {
        self.pieces.push(piece);
    }

    /// Whether the stream has `bytes` from offset `from` on.
    pub(super) fn holds(&self, from: u64, bytes: &[u8]) -> bool {
        let first = self.pieces.partition_point(|piece| piece.end <= from);
        let written = self.pieces[first..].iter().flat_map(|piece| {
            let skipped = from.saturating_sub(piece.end - piece.bytes.len() as u64) as usize;
            piece.bytes[skipped..].iter()
        });
        let end = from + bytes.len() as u64;
        end <= self.end() && written.take(bytes.len()).eq(bytes)
    }

    /// Adds what was written in one go, with what is stored after it. Says how many pieces that are, but for
    /// a `SELECT` before them; nothing if it does not end with a whole unit.
    pub(super) fn write(&mut self, bytes: &[u8], stored: Stored) -> Option<usize> {
        let before = self.stored().cloned();
        let (mut rest, mut unit_bytes, mut in_transaction) = (bytes, 0, false);
        let mut at = 0;
        let mut pieces = Vec::new();
        while !rest.is_empty() {
            let (len, command) = first_command(rest)?;
            rest = &rest[len..];
            unit_bytes += len;
            match command.to_ascii_uppercase().as_str() {
                "MULTI" => in_transaction = true,
                "EXEC" => in_transaction = false,
                _ => {}
            }
            if !in_transaction {
                let is_select = pieces.is_empty() && command.to_ascii_uppercase().starts_with("SELECT ");
                pieces.push((at..at + unit_bytes, is_select));
                at += unit_bytes;
                unit_bytes = 0;
            }
        }
        if in_transaction {
            return None;
        }
        let (stored, last) = (Arc::new(stored), pieces.len().saturating_sub(1));
        let start = self.end();
        let effective = pieces.iter().filter(|(_, is_select)| !is_select).count();
        for (number, (range, is_select)) in pieces.into_iter().enumerate() {
            let known =
                if number == last { Some(Arc::clone(&stored)) } else { before.clone().filter(|_| is_select) };
            let bytes = Bytes::copy_from_slice(&bytes[range.clone()]);
            self.pieces.push(Arc::new(Piece { bytes, end: start + range.end as u64, stored: known }));
        }
        Some(effective)
    }
}
