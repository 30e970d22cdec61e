//! What a replica says before the stream, and how it understands the answers.
//!
//! ```text
//! PING ──► AUTH, REPLCONF … (sent together, answered in order) ──► PSYNC ──► +FULLRESYNC or +CONTINUE
//! ```
//!
//! Answers are single lines. Empty ones keep the connection alive and are skipped. What an error means
//! depends on what it answers:
//!
//! | after | an error |
//! |---|---|
//! | `PING` | that a password or a permission is missing is told again later; others put the replica off |
//! | `AUTH` | refuses it, unless it says that the server is busy or loading |
//! | `REPLCONF` | means nothing: the primary is older, or another one |
//! | `PSYNC` | refuses it, or puts it off by a code that says so. Valkey then falls back to `SYNC`, which has no offsets: not done here |

use std::collections::VecDeque;

use bytes::{Buf as _, BytesMut};

use super::super::handshake::shown;
use super::super::{ReplicationId, RequestedId};
use super::position::parse_offset;
use super::settings::Settings;
use super::{LinkError, Position, Step};
use crate::resp::encode_command;

/// Codes of errors that pass.
const TRANSIENT: [&[u8]; 4] = [b"-LOADING", b"-NOMASTERLINK", b"-BUSY", b"-MASTERDOWN"];
/// Errors in answer to `PING` that the steps after it may mend.
const TOLERATED_AFTER_PING: [&[u8]; 3] = [b"-NOAUTH", b"-NOPERM", b"-ERR operation not permitted"];

/// What the primary grants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Granted {
    Full { id: ReplicationId, offset: u64 },
    Continue { position: Position, new_id: Option<ReplicationId> },
}

/// The handshake of one link.
#[derive(Debug)]
pub(super) struct Greeting {
    /// What was said and not answered.
    unanswered: VecDeque<Step>,
    /// What is asked to be continued.
    resume: Option<Position>,
}

impl Greeting {
    /// Says the first word.
    pub(super) fn begin(resume: Option<Position>, output: &mut BytesMut) -> Self {
        encode_command(&["PING"], output);
        Greeting { unanswered: VecDeque::from([Step::Ping]), resume }
    }

    /// What the next line answers.
    pub(super) fn step(&self) -> Step {
        self.unanswered.front().copied().unwrap_or(Step::Psync)
    }

    /// Takes one answer, and says what comes next.
    pub(super) fn answer(
        &mut self,
        line: &[u8],
        settings: &Settings,
        output: &mut BytesMut,
    ) -> Result<Option<Granted>, LinkError> {
        let step = self.step();
        if step == Step::Psync {
            return self.granted(line).map(Some);
        }
        check(step, line)?;
        self.unanswered.pop_front();
        if step == Step::Ping {
            self.introduce(settings, output);
        }
        if self.unanswered.is_empty() {
            self.ask(settings, output);
        }
        Ok(None)
    }

    fn introduce(&mut self, settings: &Settings, output: &mut BytesMut) {
        let mut say = |step, argv: &[&str]| {
            encode_command(argv, output);
            self.unanswered.push_back(step);
        };
        if let Some(credentials) = &settings.credentials {
            match &credentials.user {
                Some(user) => say(Step::Auth, &["AUTH", user, &credentials.password]),
                None => say(Step::Auth, &["AUTH", &credentials.password]),
            }
        }
        if let Some(port) = settings.listening_port {
            say(Step::ListeningPort, &["REPLCONF", "listening-port", &port.to_string()]);
        }
        if let Some(address) = &settings.address {
            say(Step::Address, &["REPLCONF", "ip-address", address]);
        }
        say(Step::Capabilities, &["REPLCONF", "capa", "eof", "capa", "psync2"]);
        if let Some(version) = settings.version {
            say(Step::Version, &["REPLCONF", "version", &version.to_string()]);
        }
    }

    /// The number in `PSYNC` is the first byte wanted: one more than the bytes applied.
    fn ask(&mut self, settings: &Settings, output: &mut BytesMut) {
        let (id, wanted) = match self.resume {
            Some(position) => {
                (RequestedId::Known(position.id), position.offset.saturating_add(1).to_string())
            }
            None => (RequestedId::Any, "-1".to_owned()),
        };
        match settings.failover {
            true => encode_command(&["PSYNC", &id.to_string(), &wanted, "FAILOVER"], output),
            false => encode_command(&["PSYNC", &id.to_string(), &wanted], output),
        }
        self.unanswered.push_back(Step::Psync);
    }

    fn granted(&self, line: &[u8]) -> Result<Granted, LinkError> {
        let unexpected = || LinkError::UnexpectedReply { step: Step::Psync, reply: shown(line) };
        let words: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
        match words[..] {
            [b"+FULLRESYNC", id, offset] => {
                let id = ReplicationId::parse(id).map_err(|_| unexpected())?;
                let offset = parse_offset(offset).ok_or_else(unexpected)?;
                Ok(Granted::Full { id, offset })
            }
            [b"+CONTINUE", ref id @ ..] if id.len() <= 1 => {
                let position = self.resume.ok_or_else(unexpected)?;
                let id = id.first().map(|id| ReplicationId::parse(id)).transpose();
                let new_id = id.map_err(|_| unexpected())?.filter(|id| *id != position.id);
                Ok(Granted::Continue { position, new_id })
            }
            _ if line.starts_with(b"-") => Err(refusal(Step::Psync, line)),
            _ => Err(unexpected()),
        }
    }
}

/// Whether the replica may go on after this answer to anything but `PSYNC`.
fn check(step: Step, line: &[u8]) -> Result<(), LinkError> {
    let reply = || shown(line);
    match (line.first(), step) {
        (Some(b'+'), _) => Ok(()),
        (Some(b'-'), Step::Ping) if starts_with_any(line, &TOLERATED_AFTER_PING) => Ok(()),
        (Some(b'-'), Step::Ping) => Err(LinkError::NotNow { step, reply: reply() }),
        (Some(b'-'), Step::Auth) => Err(refusal(step, line)),
        (Some(b'-'), _) => Ok(()),
        _ => Err(LinkError::UnexpectedReply { step, reply: reply() }),
    }
}

fn refusal(step: Step, line: &[u8]) -> LinkError {
    let reply = shown(line);
    if starts_with_any(line, &TRANSIENT) {
        LinkError::NotNow { step, reply }
    } else {
        LinkError::Refused { step, reply }
    }
}

fn starts_with_any(line: &[u8], prefixes: &[&[u8]]) -> bool {
    prefixes.iter().any(|prefix| line.starts_with(prefix))
}

/// Takes the next line that is not empty off `input`, without its end (LF or CR LF).
pub(super) fn take_line(
    input: &mut BytesMut,
    step: Step,
    limit: usize,
) -> Result<Option<BytesMut>, LinkError> {
    loop {
        let end = memchr::memchr(b'\n', input);
        if end.unwrap_or(input.len()) > limit {
            return Err(LinkError::LineTooLong { step, limit });
        }
        let Some(end) = end else { return Ok(None) };
        let mut line = input.split_to(end);
        input.advance(1);
        if line.last() == Some(&b'\r') {
            line.truncate(end - 1);
        }
        if !line.is_empty() {
            return Ok(Some(line));
        }
    }
}
