//! Replies from the wire: the client's side.
//!
//! Every type of RESP2 and RESP3 is read into a [`Reply`]. What `Reply` has no variant for is mapped:
//!
//! | on the wire | becomes |
//! |---|---|
//! | `+…` | [`Reply::Status`] |
//! | `!n` (blob error) | [`Reply::Error`] |
//! | `(…` (big number) | [`Reply::Bulk`] with its digits |
//! | `\|n` (attributes) | nothing: read and dropped |
//!
//! Streamed aggregates (`$?`, `*?`), which no server sends, are refused. Nesting is kept on a stack of its
//! own, so that depth costs no call stack, and is bounded.

use bytes::{Buf, Bytes, BytesMut};

use super::Reply;
use super::number::parse_integer;
use super::text;

/// What a server may answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplyLimits {
    /// The largest bulk string: 512 MiB.
    pub max_bulk_bytes: usize,
    /// The most elements in one aggregate (two per pair of a map): 2^31 - 1. Nothing is allocated for
    /// elements that have not arrived.
    pub max_elements: usize,
    /// The longest line: 64 KiB.
    pub max_line_bytes: usize,
    /// How deep aggregates may nest: 32.
    pub max_depth: usize,
}

impl Default for ReplyLimits {
    fn default() -> Self {
        ReplyLimits {
            max_bulk_bytes: 512 << 20,
            max_elements: i32::MAX as usize,
            max_line_bytes: 64 << 10,
            max_depth: 32,
        }
    }
}

/// Why a server's bytes are no reply. The connection cannot be resynchronised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReplyError {
    /// A reply does not start with the mark of any type.
    #[error("no reply starts with byte {got:#04x}")]
    UnknownType {
        /// The byte in its place.
        got: u8,
    },
    /// The text of an integer, length, double or boolean is none.
    #[error("malformed value of a reply of type '{}'", char::from(*kind))]
    Malformed {
        /// The mark of the type.
        kind: u8,
    },
    /// CR LF is missing where it must be.
    #[error("CR LF missing in a reply of type '{}'", char::from(*kind))]
    InvalidCrlf {
        /// The mark of the type.
        kind: u8,
    },
    /// A line exceeds [`ReplyLimits::max_line_bytes`].
    #[error("reply line longer than {limit} bytes")]
    LineTooBig {
        /// The limit.
        limit: usize,
    },
    /// A length exceeds [`ReplyLimits::max_bulk_bytes`] or [`ReplyLimits::max_elements`].
    #[error("reply claims a length of {claimed}, the limit is {limit}")]
    LengthTooBig {
        /// The length claimed.
        claimed: u64,
        /// The limit.
        limit: usize,
    },
    /// Aggregates nest deeper than [`ReplyLimits::max_depth`].
    #[error("reply nested deeper than {limit}")]
    TooDeep {
        /// The limit.
        limit: usize,
    },
}

/// Room for elements made in advance, whatever count is claimed.
const MAX_PREALLOCATED_ELEMENTS: usize = 64;

/// An aggregate whose elements are not all there.
#[derive(Debug)]
struct Aggregate {
    /// `*`, `~`, `>`, `%` or `|`.
    kind: u8,
    /// Elements that are missing; two per pair.
    missing: usize,
    items: Vec<Reply>,
}

impl Aggregate {
    fn finish(self) -> Option<Reply> {
        match self.kind {
            b'|' => None,
            b'~' => Some(Reply::Set(self.items)),
            b'>' => Some(Reply::Push(self.items)),
            b'%' => {
                let mut pairs = Vec::with_capacity(self.items.len() / 2);
                let mut items = self.items.into_iter();
                while let (Some(key), Some(value)) = (items.next(), items.next()) {
                    pairs.push((key, value));
                }
                Some(Reply::Map(pairs))
            }
            _ => Some(Reply::Array(self.items)),
        }
    }
}

#[derive(Debug)]
enum State {
    /// A line: the first `scanned` bytes hold no CR.
    Line {
        scanned: usize,
    },
    /// The bytes of a bulk string, verbatim string or blob error, and CR LF.
    Blob {
        kind: u8,
        len: usize,
    },
    Failed(ReplyError),
}

/// What a step of the parser came to.
enum Step {
    NeedsMore,
    /// A header was read; go on.
    Continue,
    Value(Reply),
}

/// Parses one connection's replies, incrementally: work and memory are linear in the bytes that arrived. The
/// same [`BytesMut`] must be passed from call to call, and only be appended to.
///
/// ```
/// use bytes::BytesMut;
/// use replcore::resp::{Reply, ReplyLimits, ReplyParser};
///
/// let mut parser = ReplyParser::new(ReplyLimits::default());
/// let mut input = BytesMut::from("*2\r\n:1\r\n$2\r\nh");
/// assert_eq!(parser.next(&mut input)?, None);
/// input.extend_from_slice(b"i\r\n");
/// assert_eq!(parser.next(&mut input)?, Some(Reply::Array(vec![Reply::Integer(1), Reply::Bulk("hi".into())])));
/// # Ok::<(), replcore::resp::ReplyError>(())
/// ```
#[derive(Debug)]
pub struct ReplyParser {
    limits: ReplyLimits,
    state: State,
    stack: Vec<Aggregate>,
}

impl ReplyParser {
    /// A parser at the start of a connection.
    pub fn new(limits: ReplyLimits) -> Self {
        ReplyParser { limits, state: State::Line { scanned: 0 }, stack: Vec::new() }
    }

    /// The next whole reply of `input`, or `None` if it has not arrived completely.
    ///
    /// # Errors
    ///
    /// [`ReplyError`]; it is final, and repeated by every later call.
    pub fn next(&mut self, input: &mut BytesMut) -> Result<Option<Reply>, ReplyError> {
        self.advance(input).inspect_err(|error| {
            self.stack = Vec::new();
            self.state = State::Failed(*error);
        })
    }

    fn advance(&mut self, input: &mut BytesMut) -> Result<Option<Reply>, ReplyError> {
        loop {
            let step = match self.state {
                State::Line { scanned } => self.line(input, scanned)?,
                State::Blob { kind, len } => self.blob(input, kind, len)?,
                State::Failed(error) => return Err(error),
            };
            let value = match step {
                Step::NeedsMore => return Ok(None),
                Step::Continue => None,
                Step::Value(value) => Some(value),
            };
            if let Some(reply) = self.attach(value) {
                return Ok(Some(reply));
            }
        }
    }

    /// Puts `value` into the innermost open aggregate and closes what is full; returns what closed outermost.
    fn attach(&mut self, mut value: Option<Reply>) -> Option<Reply> {
        loop {
            let Some(top) = self.stack.last_mut() else { return value };
            if let Some(value) = value.take() {
                top.items.push(value);
                top.missing -= 1;
            }
            if top.missing > 0 {
                return None;
            }
            // An attribute closes to nothing: the element it belongs to is still to come.
            value = self.stack.pop().and_then(Aggregate::finish);
            value.as_ref()?;
        }
    }

    fn line(&mut self, input: &mut BytesMut, scanned: usize) -> Result<Step, ReplyError> {
        let Some(&kind) = input.first() else { return Ok(Step::NeedsMore) };
        if !b"+-:$*_,#!=%~>(|".contains(&kind) {
            return Err(ReplyError::UnknownType { got: kind });
        }
        let limit = self.limits.max_line_bytes;
        let found = memchr::memchr(b'\r', &input[scanned..]).map(|at| scanned + at);
        let end = found.unwrap_or(input.len());
        if end > limit {
            return Err(ReplyError::LineTooBig { limit });
        }
        match input.get(end + 1) {
            None => {
                self.state = State::Line { scanned: end };
                return Ok(Step::NeedsMore);
            }
            Some(b'\n') => {}
            Some(_) => return Err(ReplyError::InvalidCrlf { kind }),
        }
        let mut line = input.split_to(end + 2).freeze();
        line.truncate(end);
        line.advance(1);
        self.state = State::Line { scanned: 0 };
        self.understand(kind, line)
    }

    fn understand(&mut self, kind: u8, line: Bytes) -> Result<Step, ReplyError> {
        let malformed = ReplyError::Malformed { kind };
        let value = match kind {
            b'+' => Reply::Status(lossy(&line)),
            b'-' => Reply::Error(error_text(&line)),
            b':' => Reply::Integer(parse_integer(&line).ok_or(malformed)?),
            b'(' => Reply::Bulk(line),
            b'_' if line.is_empty() => Reply::Null,
            b'#' if &line[..] == b"t" => Reply::Boolean(true),
            b'#' if &line[..] == b"f" => Reply::Boolean(false),
            b',' => Reply::Double(parse_double(&line).ok_or(malformed)?),
            b'$' if &line[..] == b"-1" => Reply::Null,
            b'*' if &line[..] == b"-1" => Reply::NullArray,
            b'$' | b'=' | b'!' => return self.open_blob(kind, &line),
            b'*' | b'~' | b'>' | b'%' | b'|' => return self.open_aggregate(kind, &line),
            _ => return Err(malformed),
        };
        Ok(Step::Value(value))
    }

    fn open_blob(&mut self, kind: u8, line: &[u8]) -> Result<Step, ReplyError> {
        let limit = self.limits.max_bulk_bytes.min(isize::MAX as usize - 2);
        let len = length(kind, line, limit)?;
        self.state = State::Blob { kind, len };
        Ok(Step::Continue)
    }

    fn open_aggregate(&mut self, kind: u8, line: &[u8]) -> Result<Step, ReplyError> {
        let pairs = matches!(kind, b'%' | b'|');
        let limit = self.limits.max_elements;
        let missing = length(kind, line, if pairs { limit / 2 } else { limit })? * if pairs { 2 } else { 1 };
        if self.stack.len() >= self.limits.max_depth {
            return Err(ReplyError::TooDeep { limit: self.limits.max_depth });
        }
        let items = Vec::with_capacity(missing.min(MAX_PREALLOCATED_ELEMENTS));
        self.stack.push(Aggregate { kind, missing, items });
        Ok(Step::Continue)
    }

    fn blob(&mut self, input: &mut BytesMut, kind: u8, len: usize) -> Result<Step, ReplyError> {
        if input.len() < len + 2 {
            return Ok(Step::NeedsMore);
        }
        if &input[len..len + 2] != b"\r\n" {
            return Err(ReplyError::InvalidCrlf { kind });
        }
        let mut blob = input.split_to(len).freeze();
        input.advance(2);
        self.state = State::Line { scanned: 0 };
        Ok(Step::Value(match kind {
            b'!' => Reply::Error(error_text(&blob)),
            b'=' => {
                // Three letters of format and a colon.
                if blob.get(3) != Some(&b':') {
                    return Err(ReplyError::Malformed { kind });
                }
                blob.advance(4);
                Reply::Verbatim(blob)
            }
            _ => Reply::Bulk(blob),
        }))
    }
}

/// The text of an error. Characters that stand for bytes in it here were none where it comes from.
fn error_text(bytes: &[u8]) -> String {
    lossy(bytes).replace(text::stands_for_a_byte, "\u{FFFD}")
}

fn lossy(text: &[u8]) -> String {
    String::from_utf8_lossy(text).into_owned()
}

fn length(kind: u8, line: &[u8], limit: usize) -> Result<usize, ReplyError> {
    let claimed = parse_integer(line).and_then(|len| u64::try_from(len).ok());
    let claimed = claimed.ok_or(ReplyError::Malformed { kind })?;
    match usize::try_from(claimed) {
        Ok(len) if len <= limit => Ok(len),
        _ => Err(ReplyError::LengthTooBig { claimed, limit }),
    }
}

/// A RESP3 double: what Rust reads, which includes `inf`, `-inf` and `nan`.
fn parse_double(text: &[u8]) -> Option<f64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}
