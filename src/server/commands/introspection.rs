//! COMMAND, DEBUG, TIME, LASTSAVE, SHUTDOWN, and what is left of functions.

use std::time::Duration;

use bytes::Bytes;

use super::super::dispatch::{self, Command, Flow, error, shown};
use super::super::glob;
use super::super::session::Session;
use super::super::state::random_id;
use super::{TABLE, help, is_sub, subcommand_error};
use crate::keyspace;
use crate::resp::Reply;

fn text(text: &'static str) -> Reply {
    Reply::Bulk(Bytes::from_static(text.as_bytes()))
}

fn all_commands() -> impl Iterator<Item = Command> {
    keyspace::commands().map(Command::Data).chain(TABLE.iter().map(Command::Server))
}

pub(super) fn command(_: &mut Session, argv: &[Bytes]) -> Flow {
    let sub = argv.get(1).map(|sub| sub.to_ascii_lowercase());
    let args = argv.get(2..).unwrap_or_default();
    let reply = match (sub.as_deref(), args) {
        (None, _) => Reply::Array(all_commands().map(describe).collect()),
        (Some(b"count"), []) => Reply::Integer(i64::try_from(all_commands().count()).unwrap_or(i64::MAX)),
        (Some(b"info"), []) => Reply::Array(all_commands().map(describe).collect()),
        (Some(b"info"), names) => Reply::Array(
            names.iter().map(|name| dispatch::find(name).map_or(Reply::Null, describe)).collect(),
        ),
        // No DOCS: told that it does not exist, redis-cli and valkey-cli show the help they bring along.
        (Some(b"list"), []) => Reply::Array(all_commands().map(|command| text(command.name())).collect()),
        (Some(b"list"), [by, what, pattern]) if by.eq_ignore_ascii_case(b"filterby") => {
            if !what.eq_ignore_ascii_case(b"pattern") {
                return error("ERR syntax error").into();
            }
            let named = all_commands().filter(|command| glob::matches(pattern, command.name().as_bytes()));
            Reply::Array(named.map(|command| text(command.name())).collect())
        }
        (Some(b"list"), _) => error("ERR syntax error"),
        (Some(b"help"), []) => help::reply(help::COMMAND),
        _ => subcommand_error("command", argv),
    };
    reply.into()
}

/// Name, arity, flags, first key, last key, step; then the categories, tips, key specifications
/// and subcommands that newer clients look for.
fn describe(command: Command) -> Reply {
    let mut flags = Vec::new();
    let (first, last, step) = match command {
        Command::Data(spec) => {
            flags.extend(spec.flags.iter().map(|flag| Reply::Simple(flag.name())));
            (spec.first_key, spec.last_key, spec.step)
        }
        Command::Server(command) => {
            if command.rules.no_auth {
                flags.push(Reply::Simple("no_auth"));
            }
            if command.rules.no_multi {
                flags.push(Reply::Simple("no_multi"));
            }
            (0, 0, 0)
        }
    };
    Reply::Array(vec![
        text(command.name()),
        Reply::Integer(i64::from(command.arity())),
        Reply::Set(flags),
        Reply::Integer(i64::from(first)),
        Reply::Integer(i64::from(last)),
        Reply::Integer(i64::from(step)),
        Reply::Set(Vec::new()),
        Reply::Array(Vec::new()),
        Reply::Array(Vec::new()),
        Reply::Array(Vec::new()),
    ])
}

pub(super) fn debug(session: &mut Session, argv: &[Bytes]) -> Flow {
    let sub = argv.get(1).map_or(&[][..], |sub| sub).to_ascii_lowercase();
    match (sub.as_slice(), argv.get(2..).unwrap_or_default()) {
        (b"sleep", [seconds]) => {
            let seconds =
                std::str::from_utf8(seconds).ok().and_then(|text| text.parse::<f64>().ok()).unwrap_or(0.0);
            let duration = Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or_default();
            Flow::Sleep { duration, argv: argv.to_vec() }
        }
        (b"set-active-expire", [flag]) => {
            // As in Valkey, what is not a number is as good as zero.
            let flag = std::str::from_utf8(flag).ok().and_then(|flag| flag.parse::<i64>().ok());
            session.shared.active_expiry.set(flag.unwrap_or(0) != 0);
            session.expiry_changed = true;
            Reply::Simple("OK").into()
        }
        (b"help", []) => help::reply(help::DEBUG).into(),
        (b"change-repl-id", []) => {
            session.shared.replication.stream().history.reset(random_id());
            Reply::Simple("OK").into()
        }
        _ => error(format!(
            "ERR unknown subcommand or wrong number of arguments for '{}'. Try DEBUG HELP.",
            shown(argv.get(1).map_or(&[][..], |sub| sub))
        ))
        .into(),
    }
}

pub(super) fn time(_: &mut Session, _: &[Bytes]) -> Flow {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let part = |number: u64| Reply::Bulk(Bytes::from(number.to_string()));
    Reply::Array(vec![part(since.as_secs()), part(u64::from(since.subsec_micros()))]).into()
}

/// There are no functions: flushing them succeeds, everything else is refused.
pub(super) fn function(_: &mut Session, argv: &[Bytes]) -> Flow {
    if is_sub(argv, b"help") {
        return help::reply(help::FUNCTION).into();
    }
    if !is_sub(argv, b"flush") {
        return subcommand_error("function", argv).into();
    }
    match argv.get(2..).unwrap_or_default() {
        [] => Reply::Simple("OK").into(),
        [mode] if mode.eq_ignore_ascii_case(b"sync") || mode.eq_ignore_ascii_case(b"async") => {
            Reply::Simple("OK").into()
        }
        _ => error("ERR FUNCTION FLUSH only supports SYNC|ASYNC option").into(),
    }
}
