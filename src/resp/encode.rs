//! Replies and commands to bytes.

use bytes::{BufMut, BytesMut};

use super::{Protocol, Reply, text, write_double};

/// The longest double as text, with room to spare: what a RESP2 double is staged in to learn its length.
const DOUBLE_STAGING_BYTES: usize = 40;

/// Appends `argv` as a RESP array of bulk strings: a request, and what the replication stream is made of.
///
/// ```
/// let mut out = Vec::new();
/// replcore::resp::encode_command(&["SET", "k", ""], &mut out);
/// assert_eq!(out, b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$0\r\n\r\n");
/// ```
pub fn encode_command(argv: &[impl AsRef<[u8]>], out: &mut impl BufMut) {
    put_header(b'*', argv.len(), out);
    for arg in argv {
        put_bulk(arg.as_ref(), out);
    }
}

/// Appends the head of an array of `len` replies, which are to follow it.
#[cfg(feature = "server")]
pub(crate) fn encode_array_header(len: usize, out: &mut impl BufMut) {
    put_header(b'*', len, out);
}

/// How many bytes [`encode_command`] writes for `argv`.
pub fn encoded_len(argv: &[impl AsRef<[u8]>]) -> usize {
    let bulk_bytes = |len: usize| header_len(len) + len + 2;
    header_len(argv.len()) + argv.iter().map(|arg| bulk_bytes(arg.as_ref().len())).sum::<usize>()
}

/// A type byte, the decimal digits, CR LF.
fn header_len(count: usize) -> usize {
    1 + count.checked_ilog10().map_or(1, |log| log as usize + 1) + 2
}

fn put_header(kind: u8, count: usize, out: &mut impl BufMut) {
    out.put_u8(kind);
    out.put_slice(itoa::Buffer::new().format(count).as_bytes());
    out.put_slice(b"\r\n");
}

fn put_bulk(bytes: &[u8], out: &mut impl BufMut) {
    put_header(b'$', bytes.len(), out);
    out.put_slice(bytes);
    out.put_slice(b"\r\n");
}

/// A line of text; a line end inside it becomes a space, so that it stays one line.
fn put_line(kind: u8, text: &str, out: &mut BytesMut) {
    out.put_u8(kind);
    let start = out.len();
    text::put(text, out);
    if memchr::memchr2(b'\r', b'\n', &out[start..]).is_some() {
        out[start..].iter_mut().filter(|b| matches!(**b, b'\r' | b'\n')).for_each(|b| *b = b' ');
    }
    out.put_slice(b"\r\n");
}

/// [`Reply::payload_bytes`].
pub(super) fn payload_bytes(reply: &Reply) -> u64 {
    match reply {
        Reply::Bulk(bytes) | Reply::Verbatim(bytes) => bytes.len() as u64,
        Reply::Array(items) | Reply::Set(items) | Reply::Push(items) | Reply::Rows(items) => {
            items.iter().map(payload_bytes).fold(0, u64::saturating_add)
        }
        Reply::Map(pairs) => {
            let pair =
                |(key, value): &(Reply, Reply)| payload_bytes(key).saturating_add(payload_bytes(value));
            pairs.iter().map(pair).fold(0, u64::saturating_add)
        }
        _ => 0,
    }
}

/// [`Reply::encode`].
pub(super) fn encode_reply(reply: &Reply, protocol: Protocol, out: &mut BytesMut) {
    encode_head(reply, protocol, out);
    match reply {
        Reply::Array(items) | Reply::Set(items) | Reply::Push(items) => {
            items.iter().for_each(|item| encode_reply(item, protocol, out));
        }
        Reply::Rows(_) => reply.children(protocol).for_each(|child| encode_reply(child, protocol, out)),
        Reply::Map(pairs) => {
            for (key, value) in pairs {
                encode_reply(key, protocol, out);
                encode_reply(value, protocol, out);
            }
        }
        _ => {}
    }
}

/// [`Reply::encode_head`].
pub(super) fn encode_head(reply: &Reply, protocol: Protocol, out: &mut BytesMut) {
    let resp3 = protocol == Protocol::Resp3;
    match reply {
        Reply::Simple(text) => put_line(b'+', text, out),
        Reply::Status(text) => put_line(b'+', text, out),
        Reply::Error(text) => put_line(b'-', text, out),
        Reply::Integer(value) => {
            out.put_u8(b':');
            out.put_slice(itoa::Buffer::new().format(*value).as_bytes());
            out.put_slice(b"\r\n");
        }
        Reply::Bulk(bytes) => put_bulk(bytes, out),
        Reply::Null | Reply::NullArray if resp3 => out.put_slice(b"_\r\n"),
        Reply::Null => out.put_slice(b"$-1\r\n"),
        Reply::NullArray => out.put_slice(b"*-1\r\n"),
        Reply::Array(items) => put_header(b'*', items.len(), out),
        Reply::Set(items) => put_header(if resp3 { b'~' } else { b'*' }, items.len(), out),
        Reply::Push(items) => put_header(if resp3 { b'>' } else { b'*' }, items.len(), out),
        Reply::Rows(_) => put_header(b'*', reply.children(protocol).count(), out),
        Reply::Map(pairs) if resp3 => put_header(b'%', pairs.len(), out),
        Reply::Map(pairs) => put_header(b'*', pairs.len() * 2, out),
        Reply::Double(value) => put_double(*value, resp3, out),
        Reply::Boolean(value) => out.put_slice(match (resp3, value) {
            (true, true) => b"#t\r\n",
            (true, false) => b"#f\r\n",
            (false, true) => b":1\r\n",
            (false, false) => b":0\r\n",
        }),
        Reply::Verbatim(bytes) if resp3 => {
            put_header(b'=', bytes.len() + 4, out);
            out.put_slice(b"txt:");
            out.put_slice(bytes);
            out.put_slice(b"\r\n");
        }
        Reply::Verbatim(bytes) => put_bulk(bytes, out),
    }
}

fn put_double(value: f64, resp3: bool, out: &mut BytesMut) {
    if resp3 {
        out.put_u8(b',');
        write_double(value, out);
        out.put_slice(b"\r\n");
    } else {
        let mut staging = [0u8; DOUBLE_STAGING_BYTES];
        let mut rest = &mut staging[..];
        write_double(value, &mut rest);
        let used = DOUBLE_STAGING_BYTES - rest.len();
        put_bulk(&staging[..used], out);
    }
}
