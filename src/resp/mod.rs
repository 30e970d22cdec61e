//! The wire: RESP2 and RESP3.
//!
//! Promise: whatever bytes a peer sends, however they are cut into reads, the answer is a command,
//! a wish for more bytes, or a typed error; the work is linear in the bytes that arrived, and so is
//! the memory. A length that a peer merely *claims* allocates nothing.
//!
//! | part | direction |
//! |---|---|
//! | [`CommandParser`] | bytes from a client or a primary → commands: multibulk and inline |
//! | [`Reply`] | what a server answers → RESP2 or RESP3 bytes ([`Reply::encode`]) |
//! | [`encode_command`], [`encoded_len`] | commands → the bytes of the replication stream |
//! | [`ReplyParser`] | bytes from a server → [`Reply`] |
//! | [`write_double`] | doubles as Valkey prints them |
//!
//! Both parsers are state machines over a caller-owned [`BytesMut`]. What is understood is split off its
//! front at once (so it is never looked at again) and handed out as zero-copy slices of it. The state
//! between two calls is the elements finished so far and, inside an unfinished line, how far the search
//! for its end has come. The `BytesMut` must therefore be the same one from call to call, and only be
//! appended to.
//!
//! Wording and limits of the errors are those that a running Valkey 9.1.2 answers with.
//!
//! **Zero-copy has a price**: a slice keeps the read buffer it was cut from alive. Who stores an argument for
//! long (a keyspace) copies the small ones.

mod command;
mod encode;
mod grisu;
mod inline;
mod number;
mod reply;
#[cfg(test)]
mod tests;
pub(crate) mod text;

use bytes::{Bytes, BytesMut};

pub use command::{CommandParser, Limits, ProtocolError};
#[cfg(feature = "server")]
pub(crate) use encode::encode_array_header;
pub use encode::{encode_command, encoded_len};
pub use number::{parse_integer, write_double};
pub use reply::{ReplyError, ReplyLimits, ReplyParser};

/// The protocol version a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Protocol {
    /// RESP2, the default.
    #[default]
    Resp2,
    /// RESP3, chosen by `HELLO 3`.
    Resp3,
}

/// What a server answers.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// `+OK`
    Simple(&'static str),
    /// `+…` with text made at run time (no CR or LF in it).
    Status(String),
    /// `-ERR …`: the whole line after the dash, code first. Bytes of a client that are no UTF-8 stand in it
    /// as private characters, U+10FF00 plus the byte, and are sent as they were; in an error that was received
    /// such a character is replaced.
    Error(String),
    /// `:n`
    Integer(i64),
    /// `$n`
    Bulk(Bytes),
    /// The absent bulk string: `$-1` or `_`.
    Null,
    /// The absent array: `*-1` or `_`.
    NullArray,
    /// `*n`
    Array(Vec<Reply>),
    /// `%n` in RESP3, a flat array in RESP2.
    Map(Vec<(Reply, Reply)>),
    /// Rows, each a [`Reply::Array`] (see [`Reply::pairs`]): an array of arrays in RESP3, their elements one
    /// after another in a flat array in RESP2.
    Rows(Vec<Reply>),
    /// `~n` in RESP3, an array in RESP2.
    Set(Vec<Reply>),
    /// `,d` in RESP3, a bulk string in RESP2.
    Double(f64),
    /// `#t`/`#f` in RESP3, `:1`/`:0` in RESP2.
    Boolean(bool),
    /// `=n txt:` in RESP3, a bulk string in RESP2.
    Verbatim(Bytes),
    /// `>n` in RESP3, an array in RESP2.
    Push(Vec<Reply>),
}

impl Reply {
    /// Rows of two: members with scores, fields with values, where their order matters or they may repeat.
    pub fn pairs(pairs: impl IntoIterator<Item = (Reply, Reply)>) -> Reply {
        Reply::Rows(pairs.into_iter().map(|(first, second)| Reply::Array(vec![first, second])).collect())
    }

    /// The bytes of all strings in it: about its encoded size, at little cost.
    pub fn payload_bytes(&self) -> u64 {
        encode::payload_bytes(self)
    }

    /// Writes an aggregate's header only, and anything else whole. What is missing are the
    /// [`children`](Self::children): so a large reply can be written in pieces.
    pub fn encode_head(&self, protocol: Protocol, out: &mut BytesMut) {
        encode::encode_head(self, protocol, out);
    }

    /// What stands in an aggregate in `protocol`, in order.
    pub fn children(&self, protocol: Protocol) -> Box<dyn Iterator<Item = &Reply> + Send + '_> {
        match self {
            Reply::Array(items) | Reply::Set(items) | Reply::Push(items) => Box::new(items.iter()),
            Reply::Rows(rows) if protocol == Protocol::Resp3 => Box::new(rows.iter()),
            Reply::Rows(rows) => Box::new(rows.iter().flat_map(move |row| row.children(protocol))),
            Reply::Map(pairs) => Box::new(pairs.iter().flat_map(|(key, value)| [key, value])),
            _ => Box::new(std::iter::empty()),
        }
    }

    /// Appends the encoding in `protocol` to `out`.
    ///
    /// CR and LF in [`Status`](Reply::Status) and [`Error`](Reply::Error) text become spaces, as in Valkey: a
    /// line can never be torn by what a client put into it. Nesting is walked recursively: its depth is the
    /// caller's choice ([`ReplyParser`] makes none deeper than [`ReplyLimits::max_depth`]).
    pub fn encode(&self, protocol: Protocol, out: &mut BytesMut) {
        encode::encode_reply(self, protocol, out);
    }
}
