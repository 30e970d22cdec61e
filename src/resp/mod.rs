//! The wire: RESP2 and RESP3.

use bytes::{Bytes, BytesMut};

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
    /// `-ERR …`: the whole line after the dash, code first.
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
    /// Appends the encoding in `protocol` to `out`.
    pub fn encode(&self, protocol: Protocol, out: &mut BytesMut) {
        let _ = (protocol, out);
        todo!()
    }
}
