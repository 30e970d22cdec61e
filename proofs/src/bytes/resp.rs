//! RESP: commands from clients and primaries, replies from servers.
//!
//! * **Cutting.** Commands, errors, what is consumed and what is waited for are the same however the bytes
//!   are cut.
//! * **Inverse.** The bytes of a multibulk are the encoding of what it was understood as. What is encoded is
//!   understood as what it was; at the limits, exactly what exceeds one is refused, with its own error.
//! * **Waiting.** [`CommandParser::missing_bytes`] is exact: one byte less changes nothing but the number.
//! * **Counting.** The bytes of the commands returned are the bytes consumed.
//! * **Memory.** What is held is bounded by what arrived, not by what it claims.

use std::ops::Range;

use arbitrary::{Result, Unstructured};
use bytes::{Bytes, BytesMut};
use replcore::resp::{CommandParser, Limits, ProtocolError, encode_command, encoded_len};

use super::input::{Cuts, Steering, several, text};
use super::memory::bounded;
use super::replies;

/// Memory that parsing may hold: in all, and for each byte of the input. A word of one byte is a slice (32
/// bytes), a vector's room for eight and a count.
pub(super) const PARSER_BYTES: u64 = 256 << 10;
pub(super) const PARSER_FACTOR: u64 = 256;

/// The target.
pub fn resp(data: &[u8]) {
    let Some((steering, bytes)) = Steering::split(data) else { return };
    let (limits, authenticated) = limits(steering.limits);
    let u = &mut Unstructured::new(bytes);
    match steering.form % 4 {
        0 => commands(bytes, limits, authenticated, steering.cuts),
        1 => replies::any(bytes, steering),
        // Choices run out before they fail.
        2 => drop(written(u, limits, authenticated, steering.cuts)),
        _ => drop(replies::written(u, steering.cuts)),
    }
}

fn limits(choice: u8) -> (Limits, bool) {
    let authenticated = choice & 1 == 0;
    let limits = match choice >> 1 & 1 {
        0 => Limits::default(),
        _ => Limits {
            max_bulk_bytes: [0, 1, 20, 300][usize::from(choice >> 2 & 3)],
            max_multibulk_args: [1, 2, 9, 100][usize::from(choice >> 4 & 3)],
            max_inline_bytes: [2, 3, 10, 64][usize::from(choice >> 6 & 3)],
            unauthenticated_max_args: 2,
            unauthenticated_max_bulk_bytes: 10,
        },
    };
    (limits, authenticated)
}

/// What a parser made of some bytes.
#[derive(Debug, PartialEq)]
pub(super) struct Parsed {
    /// The commands, each with the bytes it was made of (empty commands before it included).
    pub commands: Vec<(Vec<Bytes>, Range<usize>)>,
    pub error: Option<ProtocolError>,
    /// Bytes that have left the input, if there was no error.
    consumed: usize,
    /// What the parser waits for in the end.
    missing_bytes: usize,
    is_idle: bool,
}

/// Parses `bytes` as they arrive in pieces, and checks what can be checked on the way.
pub(super) fn parse(bytes: &[u8], limits: Limits, authenticated: bool, cuts: Cuts) -> Parsed {
    let mut parser = CommandParser::new(limits);
    parser.set_authenticated(authenticated);
    let mut input = BytesMut::new();
    let mut parsed =
        Parsed { commands: Vec::new(), error: None, consumed: 0, missing_bytes: 0, is_idle: true };
    let (mut arrived, mut start) = (0, 0);
    for piece in cuts.pieces(bytes) {
        input.extend_from_slice(piece);
        arrived += piece.len();
        let missing_before = parsed.missing_bytes;
        if piece.len() < missing_before {
            let before = input.len();
            assert_eq!(parser.next(&mut input), Ok(None), "{missing_before} bytes were missing");
            assert_eq!(input.len(), before, "an argument leaves the input whole");
            parsed.missing_bytes = parser.missing_bytes(&input);
            assert_eq!(parsed.missing_bytes, missing_before - piece.len());
            continue;
        }
        loop {
            match parser.next(&mut input) {
                Ok(Some(argv)) => {
                    let end = arrived - input.len();
                    assert_eq!(parser.last_command_bytes(), (end - start) as u64, "{argv:?}");
                    assert!(parser.is_idle());
                    parsed.commands.push((argv, start..end));
                    start = end;
                }
                Ok(None) => break,
                Err(error) => {
                    assert_eq!(parser.next(&mut input), Err(error), "an error is final");
                    assert!(!parser.is_idle() && parser.missing_bytes(&input) == 0);
                    (parsed.consumed, parsed.missing_bytes, parsed.is_idle) = (0, 0, false);
                    parsed.error = Some(error);
                    return parsed;
                }
            }
        }
        parsed.missing_bytes = parser.missing_bytes(&input);
        parsed.is_idle = parser.is_idle();
        parsed.consumed = arrived - input.len();
        assert!(!parsed.is_idle || parsed.missing_bytes == 0);
        assert!(parsed.missing_bytes as u64 <= limits.max_bulk_bytes + 2);
    }
    parsed
}

fn commands(bytes: &[u8], limits: Limits, authenticated: bool, cuts: Cuts) {
    let whole = parse(bytes, limits, authenticated, Cuts::NONE);
    let cut = bounded(bytes.len(), PARSER_BYTES, PARSER_FACTOR, || parse(bytes, limits, authenticated, cuts));
    assert_eq!(cut, whole, "the answer depends on the cutting");
    for (argv, range) in &whole.commands {
        assert!(!argv.is_empty());
        let bytes = skip_empty(&bytes[range.clone()]);
        if bytes.first() == Some(&b'*') {
            assert_eq!(bytes, encoded(argv), "a multibulk is the encoding of its arguments");
            assert_eq!(bytes.len(), encoded_len(argv));
            assert!(argv.len() <= limits.max_multibulk_args);
            assert!(argv.iter().all(|arg| arg.len() as u64 <= limits.max_bulk_bytes));
            if !authenticated {
                assert!(argv.len() <= limits.unauthenticated_max_args);
                let most = limits.unauthenticated_max_bulk_bytes;
                assert!(argv.iter().all(|arg| arg.len() as u64 <= most));
            }
        } else {
            assert!(line_len(bytes) <= limits.max_inline_bytes);
            reparse_inline(argv);
        }
        let again = parse(&encoded(argv), Limits::default(), true, cuts);
        assert_eq!(again.commands.iter().map(|(argv, _)| argv).collect::<Vec<_>>(), [argv]);
    }
}

fn encoded(argv: &[Bytes]) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_command(argv, &mut bytes);
    bytes
}

/// The bytes of a command without the empty ones before it: blank lines, and multibulks of nothing or less.
fn skip_empty(bytes: &[u8]) -> &[u8] {
    let Some(newline) = bytes.iter().position(|byte| *byte == b'\n') else { return bytes };
    let (line, rest) = bytes.split_at(newline + 1);
    let is_empty = match line {
        [b'*', digits @ .., b'\r', b'\n'] => digits == b"0" || digits.starts_with(b"-"),
        blank => blank.iter().all(|byte| matches!(byte, b' ' | b'\t'..=b'\r')),
    };
    if is_empty { skip_empty(rest) } else { bytes }
}

/// The length of an inline command without its line end.
fn line_len(bytes: &[u8]) -> usize {
    match bytes {
        [line @ .., b'\r', b'\n'] | [line @ .., b'\n'] => line.len(),
        line => line.len(),
    }
}

/// Words are words again when each of their bytes is quoted.
fn reparse_inline(argv: &[Bytes]) {
    let line = inline_line(argv);
    let again = parse(&line, Limits { max_inline_bytes: line.len(), ..Limits::default() }, true, Cuts::NONE);
    assert_eq!(again.commands, [(argv.to_vec(), 0..line.len())]);
}

fn inline_line(argv: &[Bytes]) -> Vec<u8> {
    let quoted = |word: &Bytes| {
        let escaped: String = word.iter().map(|byte| format!("\\x{byte:02x}")).collect();
        format!("\"{escaped}\"")
    };
    (argv.iter().map(quoted).collect::<Vec<_>>().join(" ") + "\n").into_bytes()
}

/// Commands that are written, so that the answer is known.
fn written(u: &mut Unstructured<'_>, limits: Limits, authenticated: bool, cuts: Cuts) -> Result<()> {
    let (mut bytes, mut expected, mut error, mut start) = (Vec::new(), Vec::new(), None, 0);
    for _ in 0..u.int_in_range(1..=12)? {
        match u.int_in_range(0..=5)? {
            0 => {
                let nothing: &[u8] = u.choose(&[&b"\r\n"[..], b"\n", b"*0\r\n", b"*-1\r\n"])?;
                bytes.extend_from_slice(nothing);
                let too_big = line_len(nothing) > limits.max_inline_bytes;
                error = too_big.then_some(ProtocolError::MultibulkLineTooBig);
            }
            1 => {
                let words = several(u, 4, text)?;
                let mut line = inline_line(&words);
                let len = line.len() - 1;
                if u.arbitrary()? {
                    line.insert(len, b'\r');
                }
                bytes.append(&mut line);
                if len > limits.max_inline_bytes {
                    error = Some(ProtocolError::InlineTooBig);
                } else if !words.is_empty() {
                    expected.push((words, start..bytes.len()));
                    start = bytes.len();
                }
            }
            _ => {
                let argv = several(u, 5, |u| argument(u, &limits))?;
                if argv.is_empty() {
                    continue;
                }
                encode_command(&argv, &mut bytes);
                error = refusal(&argv, &limits, authenticated);
                if error.is_none() {
                    expected.push((argv, start..bytes.len()));
                    start = bytes.len();
                }
            }
        }
        if error.is_some() {
            break;
        }
    }
    let parsed = parse(&bytes, limits, authenticated, cuts);
    assert_eq!(parsed.error, error);
    assert_eq!(parsed.commands, expected);
    assert!(error.is_some() || (parsed.consumed == bytes.len() && parsed.is_idle));
    Ok(())
}

/// An argument, often as long as is just allowed.
fn argument(u: &mut Unstructured<'_>, limits: &Limits) -> Result<Bytes> {
    match usize::try_from(limits.max_bulk_bytes) {
        Ok(longest @ 0..=1000) if u.ratio(1, 4)? => Ok(vec![b'x'; longest].into()),
        _ => text(u),
    }
}

/// The error that a multibulk of these arguments is answered with: the first limit in the order of its bytes.
fn refusal(argv: &[Bytes], limits: &Limits, authenticated: bool) -> Option<ProtocolError> {
    let line_len = |number: usize| 1 + number.to_string().len();
    if line_len(argv.len()) > limits.max_inline_bytes {
        return Some(ProtocolError::MultibulkLineTooBig);
    }
    if argv.len() > limits.max_multibulk_args {
        return Some(ProtocolError::InvalidMultibulkLength);
    }
    if !authenticated && argv.len() > limits.unauthenticated_max_args {
        return Some(ProtocolError::UnauthenticatedMultibulkLength);
    }
    argv.iter().find_map(|arg| {
        let len = arg.len() as u64;
        if line_len(arg.len()) > limits.max_inline_bytes {
            Some(ProtocolError::BulkLineTooBig)
        } else if len > limits.max_bulk_bytes {
            Some(ProtocolError::InvalidBulkLength)
        } else {
            (!authenticated && len > limits.unauthenticated_max_bulk_bytes)
                .then_some(ProtocolError::UnauthenticatedBulkLength)
        }
    })
}
