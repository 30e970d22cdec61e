//! The stream as the model has it: whole commands instead of bytes.
//!
//! An offset counts commands. That is coarser than bytes and fine enough: a link may break between any two
//! commands of a transaction, and every rule about offsets is about *which* command comes next.

use std::fmt;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use replcore::resp::{CommandParser, Limits};
use replcore::rewrite::frame::{self, FrameSink};
use replcore::rewrite::{Argv, Effects};

/// A command in a stream, and which history it was written in: what two histories write at one offset is
/// never the same command, also if it reads the same.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token {
    /// The number of the history.
    pub origin: u8,
    /// The command.
    pub argv: Arc<[Bytes]>,
}

impl Token {
    /// Whether it is the command `name`.
    pub fn is(&self, name: &str) -> bool {
        self.argv.first().is_some_and(|word| word.eq_ignore_ascii_case(name.as_bytes()))
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&text(&self.argv))
    }
}

/// A command as text.
pub fn text(argv: &[Bytes]) -> String {
    argv.iter().map(|arg| String::from_utf8_lossy(arg)).collect::<Vec<_>>().join(" ")
}

/// A command from text.
pub fn argv(line: &str) -> Argv {
    line.split_whitespace().map(|word| Bytes::copy_from_slice(word.as_bytes())).collect()
}

/// Takes a frame as the buffer does: with the `SELECT` if another database was selected before it.
struct Published<'c> {
    context: &'c mut Option<u16>,
    bytes: BytesMut,
}

impl FrameSink for Published<'_> {
    fn put_slice(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    fn put_bytes(&mut self, bytes: &Bytes) {
        self.bytes.extend_from_slice(bytes);
    }

    fn select(&mut self, db: u16, select: &[u8]) {
        if *self.context != Some(db) {
            self.bytes.extend_from_slice(select);
        }
        *self.context = Some(db);
    }

    fn set_context(&mut self, db: u16) {
        *self.context = Some(db);
    }
}

/// The commands of a unit's frame, after a frame that left `context` selected.
pub fn publish(effects: &Effects<'_>, origin: u8, context: &mut Option<u16>) -> Vec<Token> {
    assert_eq!(effects.failure, None, "an outcome belongs to its command");
    let mut sink = Published { context, bytes: BytesMut::new() };
    if !effects.is_empty() {
        frame::write(effects, &mut sink);
    }
    let mut bytes = sink.bytes;
    let mut parser = CommandParser::new(Limits::default());
    let mut tokens = Vec::new();
    while let Some(argv) = parser.next(&mut bytes).expect("a frame is well formed") {
        tokens.push(Token { origin, argv: argv.into() });
    }
    tokens
}
