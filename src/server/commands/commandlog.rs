//! SLOWLOG, COMMANDLOG.

use bytes::Bytes;

use super::super::commandlog::Kind;
use super::super::dispatch::{Flow, error, shown};
use super::super::session::Session;
use super::{help, subcommand_error};
use crate::resp::Reply;

/// How many entries `SLOWLOG GET` answers when the client does not say.
const DEFAULT_COUNT: u64 = 10;

/// A count of entries; -1 means all.
fn count(arg: &[u8]) -> Result<Option<u64>, Reply> {
    let count = std::str::from_utf8(arg).ok().and_then(|text| text.parse::<i64>().ok()).filter(|&n| n >= -1);
    let count = count.ok_or_else(|| error("ERR count should be greater than or equal to -1"))?;
    Ok(u64::try_from(count).ok())
}

fn kind(arg: &[u8]) -> Result<Kind, Reply> {
    let wrong = || error("ERR type should be one of the following: slow, large-request, large-reply");
    Kind::parse(arg).ok_or_else(wrong)
}

fn len(session: &Session, kind: Kind) -> Reply {
    Reply::Integer(i64::try_from(session.shared.command_log.len(kind)).unwrap_or(i64::MAX))
}

fn reset(session: &Session, kind: Kind) -> Reply {
    session.shared.command_log.reset(kind);
    Reply::Simple("OK")
}

pub(super) fn slowlog(session: &mut Session, argv: &[Bytes]) -> Flow {
    let log = &session.shared.command_log;
    let sub = argv.get(1).map_or(&[][..], |sub| sub).to_ascii_lowercase();
    let reply = match (sub.as_slice(), argv.get(2..).unwrap_or_default()) {
        (b"get", []) => log.get(Kind::Slow, Some(DEFAULT_COUNT)),
        (b"get", [given]) => count(given).map_or_else(|error| error, |count| log.get(Kind::Slow, count)),
        (b"len", []) => len(session, Kind::Slow),
        (b"reset", []) => reset(session, Kind::Slow),
        (b"help", []) => help::reply(help::SLOWLOG),
        // An optional argument makes it a matter of syntax, in Valkey's words.
        (b"get", _) => {
            let given = shown(&argv[1]);
            error(format!(
                "ERR unknown subcommand or wrong number of arguments for '{given}'. Try SLOWLOG HELP."
            ))
        }
        _ => subcommand_error("slowlog", argv),
    };
    reply.into()
}

pub(super) fn commandlog(session: &mut Session, argv: &[Bytes]) -> Flow {
    let sub = argv.get(1).map_or(&[][..], |sub| sub).to_ascii_lowercase();
    let reply = match (sub.as_slice(), argv.get(2..).unwrap_or_default()) {
        (b"get", [given, name]) => count(given).and_then(|count| {
            let kind = kind(name)?;
            Ok(session.shared.command_log.get(kind, count))
        }),
        (b"len", [name]) => kind(name).map(|kind| len(session, kind)),
        (b"reset", [name]) => kind(name).map(|kind| reset(session, kind)),
        (b"help", []) => Ok(help::reply(help::COMMANDLOG)),
        _ => Err(subcommand_error("commandlog", argv)),
    };
    reply.unwrap_or_else(|error| error).into()
}
