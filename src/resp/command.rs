//! Commands from the wire.
//!
//! A command is a multibulk (`*2\r\n$4\r\nECHO\r\n$2\r\nhi\r\n`) or, if its first byte is not `*`, an inline
//! line (`ECHO hi\r\n`, see `inline`). The parser takes a multibulk apart argument by argument: what is
//! finished leaves the input and is kept as a slice of it, so a command of a million arguments that arrives
//! in small reads costs one look at each byte (plus the copies by which the caller's buffer grows).
//!
//! Rules of Valkey 9.1.2, tried against it:
//! * a multibulk of zero or fewer arguments, and an empty line, are no command: skipped;
//! * lengths are canonical decimal integers (`parse_integer`);
//! * CR must be followed by LF, after a length (checked before the length itself) and after an argument;
//! * a header line without its CR is refused once it exceeds [`Limits::max_inline_bytes`];
//! * before authentication 10 arguments of 16 KiB are the limit, in multibulk form.
//!
//! An inline line longer than the limit is refused also when it arrives whole. (Valkey refuses it unless it
//! fits into what one read brought, so that the answer depends on timing; here it does not.)

use bytes::{Buf, Bytes, BytesMut};

use super::inline;
use super::number::parse_integer;
use super::text;

/// Why a client's bytes are no command. The connection cannot be resynchronised: answer `-ERR ` and this
/// error's text, then close.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// A quote in an inline command is not closed.
    #[error("Protocol error: unbalanced quotes in request")]
    UnbalancedQuotes,
    /// An inline command exceeds [`Limits::max_inline_bytes`].
    #[error("Protocol error: too big inline request")]
    InlineTooBig,
    /// The line of an argument count exceeds [`Limits::max_inline_bytes`].
    #[error("Protocol error: too big mbulk count string")]
    MultibulkLineTooBig,
    /// The line of an argument's length exceeds [`Limits::max_inline_bytes`].
    #[error("Protocol error: too big bulk count string")]
    BulkLineTooBig,
    /// The argument count is no integer or exceeds [`Limits::max_multibulk_args`].
    #[error("Protocol error: invalid multibulk length")]
    InvalidMultibulkLength,
    /// An argument's length is no integer, negative, or exceeds [`Limits::max_bulk_bytes`].
    #[error("Protocol error: invalid bulk length")]
    InvalidBulkLength,
    /// An argument does not start with `$`.
    #[error("Protocol error: expected '$', got '{}'", printable(*got))]
    ExpectedBulk {
        /// The byte in its place.
        got: u8,
    },
    /// A line of words where only multibulk commands are taken ([`CommandParser::set_multibulk_only`]).
    #[error("Protocol error: expected '*', got '{}'", printable(*got))]
    ExpectedMultibulk {
        /// The byte in its place.
        got: u8,
    },
    /// CR LF is missing where it must be.
    #[error("Protocol error: invalid CRLF in request")]
    InvalidCrlf,
    /// More than [`Limits::unauthenticated_max_args`] arguments before authentication.
    #[error("Protocol error: unauthenticated multibulk length")]
    UnauthenticatedMultibulkLength,
    /// An argument above [`Limits::unauthenticated_max_bulk_bytes`] before authentication.
    #[error("Protocol error: unauthenticated bulk length")]
    UnauthenticatedBulkLength,
}

/// The byte as it may stand in an error line: a line end becomes a blank, as in Valkey.
fn printable(byte: u8) -> String {
    text::from_bytes(&[if matches!(byte, b'\r' | b'\n') { b' ' } else { byte }])
}

/// What a client may send. The defaults are Valkey's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The largest argument (Valkey's `proto-max-bulk-len`): 512 MiB.
    pub max_bulk_bytes: u64,
    /// The most arguments in a command: 2^31 - 1. Nothing is allocated for arguments that have not arrived.
    pub max_multibulk_args: usize,
    /// The longest inline command or header line, without its line end: 64 KiB.
    pub max_inline_bytes: usize,
    /// The most arguments before authentication: 10.
    pub unauthenticated_max_args: usize,
    /// The largest argument before authentication: 16 KiB.
    pub unauthenticated_max_bulk_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            max_bulk_bytes: 512 << 20,
            max_multibulk_args: i32::MAX as usize,
            max_inline_bytes: 64 << 10,
            unauthenticated_max_args: 10,
            unauthenticated_max_bulk_bytes: 16 << 10,
        }
    }
}

/// Room for arguments made in advance, whatever count is claimed.
const MAX_PREALLOCATED_ARGS: usize = 64;

/// What the next bytes of the input are.
#[derive(Debug)]
enum State {
    /// The start of a command. `scanned` bytes of it are known to hold no line end.
    Start { scanned: usize },
    /// The header of an argument. `scanned` bytes of it are known to hold no CR.
    BulkHeader { scanned: usize },
    /// An argument's bytes and CR LF.
    BulkBody { len: usize },
    /// Nothing that can be understood: the error is repeated.
    Failed(ProtocolError),
}

/// Parses one connection's commands, incrementally. See the [module](super).
///
/// ```
/// use bytes::BytesMut;
/// use replcore::resp::{CommandParser, Limits};
///
/// let mut parser = CommandParser::new(Limits::default());
/// let mut input = BytesMut::from("*2\r\n$4\r\nECHO\r\n$2\r\nh");
/// assert_eq!(parser.next(&mut input)?, None);
/// input.extend_from_slice(b"i\r\nPING\r\n");
/// assert_eq!(parser.next(&mut input)?.unwrap(), ["ECHO", "hi"]);
/// assert_eq!(parser.next(&mut input)?.unwrap(), ["PING"]);
/// # Ok::<(), replcore::resp::ProtocolError>(())
/// ```
#[derive(Debug)]
pub struct CommandParser {
    limits: Limits,
    authenticated: bool,
    multibulk_only: bool,
    state: State,
    /// Arguments of the command that are still missing.
    missing_args: usize,
    args: Vec<Bytes>,
    /// Bytes of the current command that have left the input already.
    consumed_bytes: u64,
    /// Bytes of the command returned last.
    last_command_bytes: u64,
}

impl CommandParser {
    /// A parser at the start of a connection, authenticated until told otherwise.
    pub fn new(limits: Limits) -> Self {
        CommandParser {
            limits,
            authenticated: true,
            multibulk_only: false,
            state: State::Start { scanned: 0 },
            missing_args: 0,
            args: Vec::new(),
            consumed_bytes: 0,
            last_command_bytes: 0,
        }
    }

    /// Whether the peer may use the full limits. A server that asks for a password says `false` until it got
    /// it.
    pub fn set_authenticated(&mut self, authenticated: bool) {
        self.authenticated = authenticated;
    }

    /// Whether inline commands are refused; empty lines are skipped all the same. A replica says `true`: a
    /// primary sends nothing but multibulk commands and line feeds, and a line of words means that the two
    /// are out of step.
    pub fn set_multibulk_only(&mut self, multibulk_only: bool) {
        self.multibulk_only = multibulk_only;
    }

    /// The next command of `input`, or `None` if it has not arrived completely. Empty commands are skipped.
    ///
    /// A command has at least one argument. What is returned has left `input`; a partial command may have
    /// left it in part, so `input` alone does not say whether a command is under way
    /// ([`is_idle`](Self::is_idle) does).
    ///
    /// # Errors
    ///
    /// [`ProtocolError`]; it is final, and repeated by every later call.
    pub fn next(&mut self, input: &mut BytesMut) -> Result<Option<Vec<Bytes>>, ProtocolError> {
        self.advance(input).inspect_err(|error| {
            self.args = Vec::new();
            self.state = State::Failed(*error);
        })
    }

    /// Whether the parser stands between two commands (`input` may still hold the beginning of one).
    pub fn is_idle(&self) -> bool {
        matches!(self.state, State::Start { .. })
    }

    /// How many bytes beyond `input` the argument under way needs: a hint for the size of the next read. It
    /// is the peer's claim; cap it before allocating.
    pub fn missing_bytes(&self, input: &BytesMut) -> usize {
        match self.state {
            State::BulkBody { len } => (len + 2).saturating_sub(input.len()),
            _ => 0,
        }
    }

    /// How many bytes of input the command returned last took, empty commands before it included: by so much
    /// a replica's offset moves when it has applied it.
    pub fn last_command_bytes(&self) -> u64 {
        self.last_command_bytes
    }

    /// Bytes of the command under way that have left the input.
    pub fn consumed_bytes(&self) -> u64 {
        self.consumed_bytes
    }

    #[cfg(test)]
    pub(super) fn args_capacity(&self) -> usize {
        self.args.capacity()
    }

    fn advance(&mut self, input: &mut BytesMut) -> Result<Option<Vec<Bytes>>, ProtocolError> {
        loop {
            let complete = match self.state {
                State::Start { scanned } => match input.first() {
                    None => return Ok(None),
                    Some(b'*') => self.multibulk_header(input, scanned)?,
                    Some(_) => self.inline_command(input, scanned)?,
                },
                State::BulkHeader { scanned } => self.bulk_header(input, scanned)?,
                State::BulkBody { len } => self.bulk_body(input, len)?,
                State::Failed(error) => return Err(error),
            };
            if !complete {
                return Ok(None);
            }
            if matches!(self.state, State::Start { .. }) && !self.args.is_empty() {
                self.last_command_bytes = std::mem::take(&mut self.consumed_bytes);
                return Ok(Some(std::mem::take(&mut self.args)));
            }
        }
    }

    /// One step: `true` if it was completed, `false` if it needs more input.
    fn inline_command(&mut self, input: &mut BytesMut, scanned: usize) -> Result<bool, ProtocolError> {
        if self.multibulk_only {
            // An empty line is CR LF or LF.
            let word = match input[..] {
                [b'\r', next, ..] if next != b'\n' => Some(b'\r'),
                [b'\r' | b'\n', ..] | [] => None,
                [got, ..] => Some(got),
            };
            if let Some(got) = word {
                return Err(ProtocolError::ExpectedMultibulk { got });
            }
        }
        let Some(newline) = memchr::memchr(b'\n', &input[scanned..]).map(|at| scanned + at) else {
            // A CR at the end may be the first half of the line's end.
            let line = input.strip_suffix(b"\r").unwrap_or(input);
            if line.len() > self.limits.max_inline_bytes {
                return Err(ProtocolError::InlineTooBig);
            }
            self.state = State::Start { scanned: input.len() };
            return Ok(false);
        };
        let line = match &input[..newline] {
            [line @ .., b'\r'] => line,
            line => line,
        };
        if line.len() > self.limits.max_inline_bytes {
            return Err(ProtocolError::InlineTooBig);
        }
        self.args = inline::split_words(line).map_err(|_| ProtocolError::UnbalancedQuotes)?;
        self.consume(input, newline + 1);
        self.state = State::Start { scanned: 0 };
        Ok(true)
    }

    fn multibulk_header(&mut self, input: &mut BytesMut, scanned: usize) -> Result<bool, ProtocolError> {
        let line = match self.header_line(input, scanned, ProtocolError::MultibulkLineTooBig)? {
            Header::Partial { scanned } => {
                self.state = State::Start { scanned };
                return Ok(false);
            }
            Header::Line { end } => &input[1..end],
        };
        let bytes = line.len() + 3;
        let count = parse_integer(line).ok_or(ProtocolError::InvalidMultibulkLength)?;
        let count = usize::try_from(count.max(0)).map_err(|_| ProtocolError::InvalidMultibulkLength)?;
        if count > self.limits.max_multibulk_args {
            return Err(ProtocolError::InvalidMultibulkLength);
        }
        if !self.authenticated && count > self.limits.unauthenticated_max_args {
            return Err(ProtocolError::UnauthenticatedMultibulkLength);
        }
        self.consume(input, bytes);
        if count == 0 {
            self.state = State::Start { scanned: 0 };
        } else {
            self.missing_args = count;
            self.args.reserve(count.min(MAX_PREALLOCATED_ARGS));
            self.state = State::BulkHeader { scanned: 0 };
        }
        Ok(true)
    }

    fn bulk_header(&mut self, input: &mut BytesMut, scanned: usize) -> Result<bool, ProtocolError> {
        let end = match self.header_line(input, scanned, ProtocolError::BulkLineTooBig)? {
            Header::Partial { scanned } => {
                self.state = State::BulkHeader { scanned };
                return Ok(false);
            }
            Header::Line { end } => end,
        };
        // The line is ended by a CR, so there is a first byte, if only that.
        if input[0] != b'$' {
            return Err(ProtocolError::ExpectedBulk { got: input[0] });
        }
        let len = parse_integer(&input[1..end]).and_then(|len| u64::try_from(len).ok());
        let len =
            len.filter(|len| *len <= self.limits.max_bulk_bytes).ok_or(ProtocolError::InvalidBulkLength)?;
        if !self.authenticated && len > self.limits.unauthenticated_max_bulk_bytes {
            return Err(ProtocolError::UnauthenticatedBulkLength);
        }
        // Two bytes more than the length must still be countable.
        let len = usize::try_from(len).ok().filter(|len| *len <= isize::MAX as usize - 2);
        let len = len.ok_or(ProtocolError::InvalidBulkLength)?;
        self.consume(input, end + 2);
        self.state = State::BulkBody { len };
        Ok(true)
    }

    fn bulk_body(&mut self, input: &mut BytesMut, len: usize) -> Result<bool, ProtocolError> {
        if input.len() < len + 2 {
            return Ok(false);
        }
        if &input[len..len + 2] != b"\r\n" {
            return Err(ProtocolError::InvalidCrlf);
        }
        self.args.push(input.split_to(len).freeze());
        self.consumed_bytes += len as u64;
        self.consume(input, 2);
        self.missing_args -= 1;
        self.state = if self.missing_args == 0 {
            State::Start { scanned: 0 }
        } else {
            State::BulkHeader { scanned: 0 }
        };
        Ok(true)
    }

    /// Finds the CR LF that ends the header line at the front of `input`.
    fn header_line(
        &self,
        input: &BytesMut,
        scanned: usize,
        too_big: ProtocolError,
    ) -> Result<Header, ProtocolError> {
        let Some(end) = memchr::memchr(b'\r', &input[scanned..]).map(|at| scanned + at) else {
            if input.len() > self.limits.max_inline_bytes {
                return Err(too_big);
            }
            return Ok(Header::Partial { scanned: input.len() });
        };
        if end > self.limits.max_inline_bytes {
            return Err(too_big);
        }
        match input.get(end + 1) {
            None => Ok(Header::Partial { scanned: end }),
            Some(b'\n') => Ok(Header::Line { end }),
            Some(_) => Err(ProtocolError::InvalidCrlf),
        }
    }

    fn consume(&mut self, input: &mut BytesMut, bytes: usize) {
        input.advance(bytes);
        self.consumed_bytes += bytes as u64;
    }
}

enum Header {
    /// No CR among the first `scanned` bytes.
    Partial { scanned: usize },
    /// The CR is at `end`, the LF behind it.
    Line { end: usize },
}
