//! How a unit becomes bytes.
//!
//! A replica applies each command to the database that the last `SELECT` in the stream named. So a
//! unit is preceded by a `SELECT` when the frame before it in the stream left another database
//! selected, and which frame that is nobody knows before the unit is published. The sink is told to
//! decide: [`FrameSink::select`] marks bytes that are published only if the context differs. That
//! happens at most once in a frame, because after it the database is known: a later change *inside*
//! the unit is an ordinary `SELECT`.
//!
//! ```text
//! one operation      [SELECT db]? op
//! several            MULTI [SELECT db]? op SELECT db' op … EXEC
//! ```
//!
//! The conditional `SELECT` lands after `MULTI`, as in Valkey, where `MULTI` and `EXEC` have no
//! database of their own. The frame ends in the database of its last operation.
//!
//! Nothing is allocated: lengths are formatted on the stack, short arguments are copied into the
//! sink, arguments of at least [`ZERO_COPY_MIN_BYTES`] are handed over as they are.

use bytes::Bytes;

use super::{Effects, Wrap};

/// The shortest argument that is handed to the sink as a shared [`Bytes`] instead of being copied.
///
/// Sharing costs a reference and a separate piece to send; copying costs one pass over the bytes.
/// At 4 KiB (a page) the copy costs more.
pub const ZERO_COPY_MIN_BYTES: usize = 4 * 1024;

const MULTI: &[u8] = b"*1\r\n$5\r\nMULTI\r\n";
const EXEC: &[u8] = b"*1\r\n$4\r\nEXEC\r\n";
const SELECT_HEAD: &[u8] = b"*2\r\n$6\r\nSELECT\r\n$";

/// `SELECT_HEAD`, one digit of length, CRLF, at most five digits of a `u16`, CRLF.
const SELECT_MAX_BYTES: usize = SELECT_HEAD.len() + 1 + 2 + 5 + 2;

/// What receives the pieces of one frame, in order.
pub trait FrameSink {
    /// Bytes to be copied.
    fn put_slice(&mut self, bytes: &[u8]);

    /// Bytes that can be shared: at least [`ZERO_COPY_MIN_BYTES`] of them.
    fn put_bytes(&mut self, bytes: &Bytes);

    /// `select` is to be published at this place only if the stream before this frame left another
    /// database than `db` selected, or an unknown one. Called at most once a frame. Afterwards the
    /// context is `db`.
    fn select(&mut self, db: u16, select: &[u8]);

    /// From here on the stream has `db` selected; no bytes.
    fn set_context(&mut self, db: u16);
}

/// As many bytes are put together before the sink gets them: a command is many short pieces, and a sink pays
/// for each. Longer than most commands, short enough to be cheap on the stack.
const GATHERED_BYTES: usize = 256;

/// Hands short pieces on together.
struct Gather<'s, S: FrameSink> {
    sink: &'s mut S,
    held: [u8; GATHERED_BYTES],
    len: usize,
}

impl<'s, S: FrameSink> Gather<'s, S> {
    fn new(sink: &'s mut S) -> Self {
        Gather { sink, held: [0; GATHERED_BYTES], len: 0 }
    }

    fn flush(&mut self) {
        if self.len > 0 {
            self.sink.put_slice(&self.held[..self.len]);
            self.len = 0;
        }
    }
}

impl<S: FrameSink> FrameSink for Gather<'_, S> {
    fn put_slice(&mut self, bytes: &[u8]) {
        if self.len + bytes.len() > GATHERED_BYTES {
            self.flush();
            if bytes.len() > GATHERED_BYTES / 2 {
                return self.sink.put_slice(bytes);
            }
        }
        self.held[self.len..self.len + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }

    fn put_bytes(&mut self, bytes: &Bytes) {
        self.flush();
        self.sink.put_bytes(bytes);
    }

    fn select(&mut self, db: u16, select: &[u8]) {
        self.flush();
        self.sink.select(db, select);
    }

    fn set_context(&mut self, db: u16) {
        self.flush();
        self.sink.set_context(db);
    }
}

/// Writes the frame of a unit; an empty unit writes nothing.
pub fn write(effects: &Effects<'_>, sink: &mut impl FrameSink) {
    let mut gather = Gather::new(sink);
    write_pieces(effects, &mut gather);
    gather.flush();
}

fn write_pieces(effects: &Effects<'_>, sink: &mut impl FrameSink) {
    let wrapped = is_wrapped(effects);
    if wrapped {
        sink.put_slice(MULTI);
    }
    let mut selected = None;
    for op in &effects.ops {
        if selected != Some(op.db) {
            let mut storage = [0; SELECT_MAX_BYTES];
            let select = select_command(op.db, &mut storage);
            match selected {
                None => sink.select(op.db, select),
                Some(_) => {
                    sink.put_slice(select);
                    sink.set_context(op.db);
                }
            }
            selected = Some(op.db);
        }
        write_command(&op.argv, sink);
    }
    if wrapped {
        sink.put_slice(EXEC);
    }
}

/// The longest that the frame of a unit can be, in bytes: its length if the conditional `SELECT` is
/// published.
pub fn max_len(effects: &Effects<'_>) -> u64 {
    #[derive(Default)]
    struct Count(u64);
    impl FrameSink for Count {
        fn put_slice(&mut self, bytes: &[u8]) {
            self.0 += bytes.len() as u64;
        }
        fn put_bytes(&mut self, bytes: &Bytes) {
            self.0 += bytes.len() as u64;
        }
        fn select(&mut self, _: u16, select: &[u8]) {
            self.0 += select.len() as u64;
        }
        fn set_context(&mut self, _: u16) {}
    }
    let mut count = Count::default();
    write_pieces(effects, &mut count);
    count.0
}

fn is_wrapped(effects: &Effects<'_>) -> bool {
    effects.wrap == Wrap::IfSeveral && effects.ops.len() > 1
}

/// One command as an array of bulk strings.
fn write_command(argv: &[Bytes], sink: &mut impl FrameSink) {
    write_header(b'*', argv.len(), sink);
    for arg in argv {
        write_header(b'$', arg.len(), sink);
        if arg.len() >= ZERO_COPY_MIN_BYTES {
            sink.put_bytes(arg);
        } else {
            sink.put_slice(arg);
        }
        sink.put_slice(b"\r\n");
    }
}

fn write_header(kind: u8, n: usize, sink: &mut impl FrameSink) {
    // Kind, at most 20 digits of a `usize`, CRLF.
    let mut header = [kind; 23];
    let mut digits = itoa::Buffer::new();
    let digits = digits.format(n).as_bytes();
    let end = 1 + digits.len();
    header[1..end].copy_from_slice(digits);
    header[end..end + 2].copy_from_slice(b"\r\n");
    sink.put_slice(&header[..end + 2]);
}

fn select_command(db: u16, storage: &mut [u8; SELECT_MAX_BYTES]) -> &[u8] {
    let mut digits = itoa::Buffer::new();
    let digits = digits.format(db).as_bytes();
    let mut len = 0;
    // At most five digits, so the length is one digit.
    for piece in [SELECT_HEAD, &[b'0' + digits.len() as u8], b"\r\n", digits, b"\r\n"] {
        storage[len..len + piece.len()].copy_from_slice(piece);
        len += piece.len();
    }
    &storage[..len]
}
