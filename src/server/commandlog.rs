//! The log of commands that were slow or large: `SLOWLOG` and `COMMANDLOG`.
//!
//! Each kind has its own threshold and its own length; the oldest entries go first. What is logged is the
//! command **as the client sent it**, whatever was propagated for it: at most [`MAX_ARGS`] arguments of at
//! most [`MAX_ARG_BYTES`] bytes, passwords blanked, in Valkey's form. The time is that of the execution,
//! without waiting for a blocked client's turn, a socket or an acknowledgement. Commands of a transaction
//! are logged one by one and `EXEC` itself is not, as in Valkey. The size of a request is that on the wire;
//! the size of a reply is that of the strings in it, a little less than Valkey counts.
//!
//! A command below every threshold costs two readings of the monotonic clock and no lock; with all
//! thresholds at -1 it costs neither.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;

use super::config::Config;
use super::session::Session;
use super::state::unix_ms;
use crate::resp::Reply;

/// The most arguments of a command that an entry keeps, the last of them a remark if there were more.
const MAX_ARGS: usize = 32;
/// The most bytes of an argument that an entry keeps.
const MAX_ARG_BYTES: usize = 128;

/// Why a command is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// It took long.
    Slow,
    /// Its arguments were large.
    LargeRequest,
    /// Its reply was large.
    LargeReply,
}

impl Kind {
    const ALL: [Kind; 3] = [Kind::Slow, Kind::LargeRequest, Kind::LargeReply];

    /// The kind that `COMMANDLOG` calls `name`.
    pub fn parse(name: &[u8]) -> Option<Kind> {
        let names = ["slow", "large-request", "large-reply"];
        names
            .iter()
            .zip(Kind::ALL)
            .find(|(own, _)| name.eq_ignore_ascii_case(own.as_bytes()))
            .map(|(_, kind)| kind)
    }
}

/// When to log one kind, and how much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommandLogLimit {
    /// Log from this on, in microseconds or bytes; `None` logs nothing.
    pub threshold: Option<u64>,
    /// The most entries; older ones are dropped.
    pub max_len: u64,
}

/// One logged command.
#[derive(Clone, Debug)]
struct Entry {
    id: u64,
    unix_s: u64,
    /// Microseconds or bytes.
    value: u64,
    argv: Vec<Bytes>,
    addr: String,
    name: Bytes,
}

#[derive(Debug, Default)]
struct Log {
    next_id: u64,
    /// The newest first.
    entries: VecDeque<Entry>,
}

/// The logs of all kinds.
#[derive(Debug, Default)]
pub(super) struct CommandLog {
    logs: [Mutex<Log>; 3],
}

impl CommandLog {
    fn log(&self, kind: Kind) -> &Mutex<Log> {
        &self.logs[kind as usize]
    }

    pub fn len(&self, kind: Kind) -> usize {
        self.log(kind).lock().entries.len()
    }

    pub fn reset(&self, kind: Kind) {
        self.log(kind).lock().entries.clear();
    }

    /// The newest `count` entries, or all, as the commands answer them.
    pub fn get(&self, kind: Kind, count: Option<u64>) -> Reply {
        let log = self.log(kind).lock();
        let count = count.map_or(usize::MAX, |count| usize::try_from(count).unwrap_or(usize::MAX));
        let number = |n: u64| Reply::Integer(i64::try_from(n).unwrap_or(i64::MAX));
        let show = |entry: &Entry| {
            Reply::Array(vec![
                number(entry.id),
                number(entry.unix_s),
                number(entry.value),
                Reply::Array(entry.argv.iter().cloned().map(Reply::Bulk).collect()),
                Reply::Bulk(Bytes::from(entry.addr.clone())),
                Reply::Bulk(entry.name.clone()),
            ])
        };
        Reply::Array(log.entries.iter().take(count).map(show).collect())
    }

    fn add(&self, kind: Kind, max_len: u64, mut entry: Entry) {
        let mut log = self.log(kind).lock();
        entry.id = log.next_id;
        log.next_id += 1;
        log.entries.push_front(entry);
        log.entries.truncate(usize::try_from(max_len).unwrap_or(usize::MAX));
    }
}

/// Measures one command, if a log may want it.
pub(super) struct Stopwatch(Option<Instant>);

impl Stopwatch {
    pub fn start(config: &Config) -> Stopwatch {
        Stopwatch(config.slow_log.threshold.map(|_| Instant::now()))
    }

    /// The time since the start; nothing if nobody wants to know.
    pub fn elapsed(&self) -> Duration {
        self.0.map_or(Duration::ZERO, |started| started.elapsed())
    }
}

/// Logs a command of `session` that took `duration`, where a threshold is reached. `argv` is what the
/// client sent.
pub(super) fn note(session: &Session, argv: &[Bytes], duration: Duration, reply: Option<&Reply>) {
    // Read after the execution, as Valkey does: a `CONFIG SET` of a threshold is under it already.
    let config = session.shared.config.load();
    let reached =
        |limit: CommandLogLimit, value: u64| limit.threshold.is_some_and(|threshold| value >= threshold);
    let log = |kind, limit: CommandLogLimit, value| {
        let entry = Entry {
            id: 0,
            unix_s: unix_ms() / 1000,
            value,
            argv: kept_argv(argv),
            addr: session.client.addr.to_string(),
            name: session.client.profile.lock().name.clone(),
        };
        session.shared.command_log.add(kind, limit.max_len, entry);
    };
    let slow = config.slow_log;
    if slow.threshold.is_some() {
        let us = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        if reached(slow, us) {
            log(Kind::Slow, slow, us);
        }
    }
    let request = config.large_request_log;
    if request.threshold.is_some() {
        let bytes = request_bytes(argv);
        if reached(request, bytes) {
            log(Kind::LargeRequest, request, bytes);
        }
    }
    let answer = config.large_reply_log;
    if answer.threshold.is_some()
        && let Some(reply) = reply
    {
        let bytes = reply.payload_bytes();
        if reached(answer, bytes) {
            log(Kind::LargeReply, answer, bytes);
        }
    }
}

/// The command's size on the wire.
fn request_bytes(argv: &[Bytes]) -> u64 {
    let digits = |n: usize| n.checked_ilog10().unwrap_or(0) as usize + 1;
    let args: usize = argv.iter().map(|arg| 1 + digits(arg.len()) + 2 + arg.len() + 2).sum();
    (1 + digits(argv.len()) + 2 + args) as u64
}

/// What an entry keeps of a command.
fn kept_argv(argv: &[Bytes]) -> Vec<Bytes> {
    let argv = redacted(argv);
    let whole = if argv.len() > MAX_ARGS { MAX_ARGS - 1 } else { argv.len() };
    let mut kept: Vec<Bytes> = argv[..whole].iter().map(|arg| kept_arg(arg)).collect();
    if argv.len() > whole {
        kept.push(Bytes::from(format!("... ({} more arguments)", argv.len() - whole)));
    }
    kept
}

/// Copied: a slice would keep the whole input alive that it was read in.
fn kept_arg(arg: &[u8]) -> Bytes {
    let Some((head, rest)) = arg.split_at_checked(MAX_ARG_BYTES).filter(|(_, rest)| !rest.is_empty()) else {
        return Bytes::copy_from_slice(arg);
    };
    let remark = format!("... ({} more bytes)", rest.len());
    Bytes::from([head, remark.as_bytes()].concat())
}

/// The command without its passwords: what may be shown to others.
pub(super) fn redacted(argv: &[Bytes]) -> Vec<Bytes> {
    const HIDDEN: Bytes = Bytes::from_static(b"(redacted)");
    let is =
        |at: usize, word: &str| argv.get(at).is_some_and(|arg| arg.eq_ignore_ascii_case(word.as_bytes()));
    let mut shown = argv.to_vec();
    if is(0, "auth") {
        shown[1..].fill(HIDDEN);
    } else if is(0, "hello") {
        for at in 1..argv.len() {
            if is(at, "auth") {
                shown.iter_mut().skip(at + 1).take(2).for_each(|arg| *arg = HIDDEN);
            }
        }
    } else if is(0, "config") && is(1, "set") {
        for at in (2..argv.len()).step_by(2) {
            if is(at, "requirepass")
                && let Some(value) = shown.get_mut(at + 1)
            {
                *value = HIDDEN;
            }
        }
    }
    shown
}
