//! A server's replies: the half of [`resp()`](super::resp()) that a client reads.

use arbitrary::{Result, Unstructured};
use bytes::{BufMut as _, BytesMut};
use replcore::resp::{Protocol, Reply, ReplyError, ReplyLimits, ReplyParser};

use super::input::{Cuts, Steering, integer, several, text};
use super::memory::bounded;
use super::resp::{PARSER_BYTES, PARSER_FACTOR};

/// Replies, and the error they end with.
type Replies = (Vec<Reply>, Option<ReplyError>);

fn parse(bytes: &[u8], limits: ReplyLimits, cuts: Cuts) -> Replies {
    let mut parser = ReplyParser::new(limits);
    let (mut input, mut replies) = (BytesMut::new(), Vec::new());
    for piece in cuts.pieces(bytes) {
        input.extend_from_slice(piece);
        loop {
            match parser.next(&mut input) {
                Ok(Some(reply)) => replies.push(reply),
                Ok(None) => break,
                Err(error) => {
                    assert_eq!(parser.next(&mut input), Err(error), "an error is final");
                    return (replies, Some(error));
                }
            }
        }
    }
    (replies, None)
}

/// Any bytes: one answer within limits, which can be written and read again.
pub fn any(bytes: &[u8], steering: Steering) {
    let limits = match steering.limits & 1 {
        0 => ReplyLimits::default(),
        _ => ReplyLimits { max_bulk_bytes: 20, max_elements: 6, max_line_bytes: 12, max_depth: 3 },
    };
    let whole = parse(bytes, limits, Cuts::NONE);
    let cut = bounded(bytes.len(), PARSER_BYTES, PARSER_FACTOR, || parse(bytes, limits, steering.cuts));
    // As text, in which nan equals nan.
    assert_eq!(format!("{cut:?}"), format!("{whole:?}"), "the answer depends on the cutting");
    for reply in whole.0 {
        check_limits(&reply, &limits, 0);
        let mut encoded = BytesMut::new();
        reply.encode(Protocol::Resp3, &mut encoded);
        let again = parse(&encoded, ReplyLimits::default(), steering.cuts);
        assert_eq!(format!("{again:?}"), format!("{:?}", (vec![in_resp3(reply)], None::<ReplyError>)));
    }
}

fn check_limits(reply: &Reply, limits: &ReplyLimits, depth: usize) {
    let below = |items: &[Reply]| {
        assert!(depth < limits.max_depth && items.len() <= limits.max_elements);
        items.iter().for_each(|item| check_limits(item, limits, depth + 1));
    };
    match reply {
        // A big number is a line and becomes a bulk string.
        Reply::Bulk(text) | Reply::Verbatim(text) => {
            assert!(text.len() <= limits.max_bulk_bytes.max(limits.max_line_bytes));
        }
        Reply::Array(items) | Reply::Set(items) | Reply::Push(items) => below(items),
        Reply::Map(pairs) => {
            assert!(depth < limits.max_depth && pairs.len() <= limits.max_elements / 2);
            pairs.iter().for_each(|(key, value)| {
                check_limits(key, limits, depth + 1);
                check_limits(value, limits, depth + 1);
            });
        }
        _ => {}
    }
}

/// What is left of a reply that is written in RESP3: lines have no line ends in them, and what is absent has
/// one form.
fn in_resp3(reply: Reply) -> Reply {
    let all = |items: Vec<Reply>| items.into_iter().map(in_resp3).collect();
    let line = |text: String| text.replace(['\r', '\n'], " ");
    match reply {
        Reply::Status(text) => Reply::Status(line(text)),
        Reply::Error(text) => Reply::Error(line(text)),
        Reply::NullArray => Reply::Null,
        Reply::Array(items) => Reply::Array(all(items)),
        Reply::Set(items) => Reply::Set(all(items)),
        Reply::Push(items) => Reply::Push(all(items)),
        Reply::Map(pairs) => Reply::Map(pairs.into_iter().map(|(k, v)| (in_resp3(k), in_resp3(v))).collect()),
        other => other,
    }
}

/// Replies that are written, in every type there is, so that the answer is known.
pub fn written(u: &mut Unstructured<'_>, cuts: Cuts) -> Result<()> {
    let mut bytes = Vec::new();
    let expected = several(u, 6, |u| reply(u, &mut bytes, 0))?;
    let parsed = parse(&bytes, ReplyLimits::default(), cuts);
    assert_eq!(format!("{parsed:?}"), format!("{:?}", (expected, None::<ReplyError>)));
    Ok(())
}

/// Writes one reply; returns what it is to be read as.
fn reply(u: &mut Unstructured<'_>, out: &mut Vec<u8>, depth: usize) -> Result<Reply> {
    if u.ratio(1, 12)? {
        // Attributes of what follows: to be read past, wherever they stand.
        let pairs = u.int_in_range(0..=2)?;
        header(out, b'|', pairs);
        for _ in 0..2 * pairs {
            leaf(u, out)?;
        }
    }
    if depth == 4 || u.ratio(2, 3)? {
        return leaf(u, out);
    }
    let kind = *u.choose(b"*~>%")?;
    let count = u.int_in_range(0..=4)?;
    header(out, kind, count);
    let mut item = || reply(u, out, depth + 1);
    if kind == b'%' {
        return (0..count).map(|_| Ok((item()?, item()?))).collect::<Result<_>>().map(Reply::Map);
    }
    let items = (0..count).map(|_| item()).collect::<Result<_>>()?;
    Ok(match kind {
        b'*' => Reply::Array(items),
        b'~' => Reply::Set(items),
        _ => Reply::Push(items),
    })
}

fn header(out: &mut Vec<u8>, kind: u8, number: usize) {
    out.put_u8(kind);
    out.put_slice(number.to_string().as_bytes());
    out.put_slice(b"\r\n");
}

fn leaf(u: &mut Unstructured<'_>, out: &mut Vec<u8>) -> Result<Reply> {
    let mut line = |text: &str| {
        out.put_slice(text.as_bytes());
        out.put_slice(b"\r\n");
    };
    Ok(match u.int_in_range(0..=9)? {
        0 => {
            let number = integer(u)?;
            line(&format!(":{number}"));
            Reply::Integer(number)
        }
        1 => {
            let number = integer(u)? as f64 / 8.0;
            line(&format!(",{number:e}"));
            Reply::Double(number)
        }
        2 => {
            let (text, value) =
                *u.choose(&[(",inf", f64::INFINITY), (",-inf", f64::NEG_INFINITY), (",nan", f64::NAN)])?;
            line(text);
            Reply::Double(value)
        }
        3 => {
            let value = u.arbitrary()?;
            line(if value { "#t" } else { "#f" });
            Reply::Boolean(value)
        }
        4 => {
            let (text, reply) =
                u.choose(&[("_", Reply::Null), ("$-1", Reply::Null), ("*-1", Reply::NullArray)])?;
            line(text);
            reply.clone()
        }
        5 => {
            let number = format!("{}{:020}", u.int_in_range(1..=9)?, u.arbitrary::<u64>()?);
            line(&format!("({number}"));
            Reply::Bulk(number.into())
        }
        6 => {
            let words = format!("ERR {}", u.arbitrary::<u8>()?);
            if u.arbitrary()? {
                line(&format!("+{words}"));
                return Ok(Reply::Status(words));
            }
            line(&format!("-{words}"));
            Reply::Error(words)
        }
        form => {
            let text = text(u)?;
            let (kind, before): (u8, &[u8]) = match form {
                7 => (b'$', b""),
                8 => (b'=', b"txt:"),
                _ => (b'!', b""),
            };
            header(out, kind, before.len() + text.len());
            out.put_slice(before);
            out.put_slice(&text);
            out.put_slice(b"\r\n");
            match form {
                7 => Reply::Bulk(text),
                8 => Reply::Verbatim(text),
                // What would stand for a byte in an error of ours stands for nothing here.
                _ => Reply::Error(String::from_utf8_lossy(&text).replace(|c| c >= '\u{10FF00}', "\u{FFFD}")),
            }
        }
    })
}
