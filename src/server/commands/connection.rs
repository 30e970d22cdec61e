//! PING, ECHO, AUTH, HELLO, SELECT, RESET, QUIT.

use bytes::Bytes;

use super::super::dispatch::{Flow, error, shown, wrong_arity};
use super::super::session::{Session, keep};
use super::super::state::Shared;
use super::client::is_plain_word;
use crate::keyspace::CommandError;
use crate::resp::{Protocol, Reply};

/// The Redis version whose commands and replies are spoken, for clients that look at it.
pub(in crate::server) const COMPATIBLE_VERSION: &str = "7.2.4";

const WRONG_PASSWORD: &str = "WRONGPASS invalid username-password pair or user is disabled.";

pub(super) fn ping(session: &mut Session, argv: &[Bytes]) -> Flow {
    let pong = || Reply::Bulk(Bytes::from_static(b"pong"));
    match argv {
        // A subscriber must be able to tell the answer from a message.
        [_, text @ ..] if session.is_restricted() && text.len() <= 1 => {
            Reply::Array(vec![pong(), Reply::Bulk(text.first().cloned().unwrap_or_default())]).into()
        }
        [_] => Reply::Simple("PONG").into(),
        [_, text] => Reply::Bulk(text.clone()).into(),
        _ => wrong_arity("ping").into(),
    }
}

pub(super) fn echo(_: &mut Session, argv: &[Bytes]) -> Flow {
    Reply::Bulk(argv.get(1).cloned().unwrap_or_default()).into()
}

pub(super) fn quit(session: &mut Session, _: &[Bytes]) -> Flow {
    session.closing = true;
    Reply::Simple("OK").into()
}

/// `READONLY`, `READWRITE`: what matters in a cluster only is accepted outside of one.
pub(super) fn cluster_mode(_: &mut Session, _: &[Bytes]) -> Flow {
    Reply::Simple("OK").into()
}

pub(super) fn reset(session: &mut Session, _: &[Bytes]) -> Flow {
    session.reset();
    Flow::Confirm { reply: Some(Reply::Simple("RESET")), confirmations: Vec::new(), after_pushes: true }
}

pub(super) fn select(session: &mut Session, argv: &[Bytes]) -> Flow {
    match session.shared.database(argv.get(1).map_or(&[][..], |db| db)) {
        Ok(db) => {
            session.db = db;
            Reply::Simple("OK").into()
        }
        Err(reply) => reply.into(),
    }
}

pub(super) fn auth(session: &mut Session, argv: &[Bytes]) -> Flow {
    let reply = match argv {
        [_, _] if session.shared.config.load().requirepass.is_empty() => error(
            "ERR AUTH <password> called without any password configured for the default user. \
             Are you sure your configuration is correct?",
        ),
        [_, password] => authenticate(session, b"default", password),
        [_, user, password] => authenticate(session, user, password),
        _ => error("ERR syntax error"),
    };
    reply.into()
}

fn authenticate(session: &mut Session, user: &[u8], password: &[u8]) -> Reply {
    let config = session.shared.config.load();
    let expected = config.requirepass.as_bytes();
    // The default user without a password accepts any, as in Valkey.
    if user == b"default" && (expected.is_empty() || same_bytes(expected, password)) {
        session.authenticated = true;
        return Reply::Simple("OK");
    }
    error(WRONG_PASSWORD)
}

/// Compares without stopping at the first difference, so that timing does not tell how long the
/// common prefix is.
fn same_bytes(expected: &[u8], given: &[u8]) -> bool {
    let difference = expected.iter().zip(given).fold(0, |difference, (a, b)| difference | (a ^ b));
    difference == 0 && expected.len() == given.len()
}

/// `HELLO [2|3 [AUTH user password] [SETNAME name]]`: nothing changes unless all of it is good.
pub(super) fn hello(session: &mut Session, argv: &[Bytes]) -> Flow {
    let protocol = match argv.get(1) {
        None => None,
        Some(version) => match std::str::from_utf8(version).ok().and_then(|text| text.parse::<i64>().ok()) {
            Some(2) => Some(Protocol::Resp2),
            Some(3) => Some(Protocol::Resp3),
            Some(_) => return error("NOPROTO unsupported protocol version").into(),
            None => return error("ERR Protocol version is not an integer or out of range").into(),
        },
    };
    let (mut credentials, mut name) = (None, None);
    let mut rest = argv.get(2..).unwrap_or_default();
    while let Some((option, more)) = rest.split_first() {
        rest = match more {
            [user, password, tail @ ..] if option.eq_ignore_ascii_case(b"auth") => {
                credentials = Some((user, password));
                tail
            }
            [value, tail @ ..] if option.eq_ignore_ascii_case(b"setname") => {
                if !is_plain_word(value) {
                    return error("ERR Client names cannot contain spaces, newlines or special characters.")
                        .into();
                }
                name = Some(value);
                tail
            }
            _ => return error(format!("ERR Syntax error in HELLO option '{}'", shown(option))).into(),
        };
    }
    if let Some((user, password)) = credentials {
        let reply = authenticate(session, user, password);
        if matches!(reply, Reply::Error(_)) {
            return reply.into();
        }
    }
    if !session.authenticated {
        return error(
            "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH <user> <pass> \
             option can be used to authenticate the client and select the RESP protocol version at the same time",
        )
        .into();
    }
    if let Some(name) = name {
        session.client.profile.lock().name = keep(name.clone());
    }
    session.set_protocol(protocol.unwrap_or(session.protocol));
    greeting(session).into()
}

fn greeting(session: &Session) -> Reply {
    let text = |text: &'static str| Reply::Bulk(Bytes::from_static(text.as_bytes()));
    let version = if session.protocol == Protocol::Resp3 { 3 } else { 2 };
    Reply::Map(vec![
        (text("server"), text("replcore")),
        (text("version"), text(COMPATIBLE_VERSION)),
        (text("proto"), Reply::Integer(version)),
        (text("id"), Reply::Integer(i64::try_from(session.client.id).unwrap_or(i64::MAX))),
        (text("mode"), text("standalone")),
        (text("role"), text("master")),
        (text("modules"), Reply::Array(Vec::new())),
    ])
}

impl Shared {
    /// Reads a database number.
    pub(in crate::server) fn database(&self, text: &[u8]) -> Result<u16, Reply> {
        let number = integer(text).ok_or_else(|| error("ERR value is not an integer or out of range"))?;
        let databases = self.config.load().databases;
        let db = u16::try_from(number).ok().filter(|db| *db < databases);
        db.ok_or_else(|| {
            let refusal = match i32::try_from(number) {
                Ok(_) => CommandError::DbOutOfRange,
                Err(_) => CommandError::IntOutOfRange,
            };
            error(refusal.to_string())
        })
    }
}

/// A decimal integer, written canonically.
pub(in crate::server) fn integer(text: &[u8]) -> Option<i64> {
    let number: i64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    (itoa::Buffer::new().format(number).as_bytes() == text).then_some(number)
}
