//! The commands of the server itself, one file per subject.

mod client;
mod client_filter;
mod commandlog;
mod config;
mod connection;
mod help;
mod info;
mod introspection;
mod persistence;
mod pubsub;
mod replication;
mod scripting;
mod transaction;

use bytes::Bytes;

use super::dispatch::{Flow, Rules, Run, ServerCommand, arity_fits, error, shown, wrong_arity};
use super::session::Session;
use crate::keyspace::batch::Batch;
use crate::resp::Reply;

pub(super) use connection::COMPATIBLE_VERSION;
pub(super) use replication::SyncRequest;

type Script = fn(&mut Session, &[Bytes], &mut Batch<'_, '_>) -> Reply;
type Plain = fn(&mut Session, &[Bytes]) -> Flow;

const QUEUED: Rules = Rules { no_auth: false, no_multi: false, immediate: false, unlogged: false };
const NO_MULTI: Rules = Rules { no_multi: true, ..QUEUED };
const IMMEDIATE: Rules = Rules { immediate: true, ..QUEUED };
const NO_AUTH: Rules = Rules { no_auth: true, ..QUEUED };
const ALWAYS: Rules = Rules { no_auth: true, immediate: true, ..QUEUED };

const fn command(name: &'static str, arity: i32, rules: Rules, run: Plain) -> ServerCommand {
    ServerCommand { name, arity, rules, run: Run::Plain(run) }
}

/// Queued in a transaction like any other.
const fn overview(name: &'static str, arity: i32, run: Run) -> ServerCommand {
    ServerCommand { name, arity, rules: QUEUED, run }
}

/// Runs a script.
const fn scripted(name: &'static str, run: Script) -> ServerCommand {
    ServerCommand { name, arity: -3, rules: QUEUED, run: Run::Script(run) }
}

/// Every server command.
pub(super) static TABLE: &[ServerCommand] = &[
    command("auth", -2, NO_AUTH, connection::auth),
    command("bgsave", -1, QUEUED, persistence::bgsave),
    overview("client", -2, client::RUN),
    command("command", -1, QUEUED, introspection::command),
    command("commandlog", -2, QUEUED, commandlog::commandlog),
    overview("config", -2, config::RUN),
    command("debug", -2, QUEUED, introspection::debug),
    command("discard", 1, IMMEDIATE, transaction::discard),
    command("echo", 2, QUEUED, connection::echo),
    scripted("eval", scripting::eval),
    scripted("eval_ro", scripting::eval_ro),
    scripted("evalsha", scripting::evalsha),
    scripted("evalsha_ro", scripting::evalsha_ro),
    command("exec", 1, Rules { unlogged: true, ..IMMEDIATE }, transaction::exec),
    command("failover", -1, NO_MULTI, replication::failover),
    command("function", -2, QUEUED, introspection::function),
    command("hello", -1, NO_AUTH, connection::hello),
    overview("info", -1, info::RUN),
    command("lastsave", 1, QUEUED, persistence::lastsave),
    command("monitor", 1, QUEUED, pubsub::monitor),
    command("multi", 1, NO_MULTI, transaction::multi),
    command("ping", -1, QUEUED, connection::ping),
    command("psync", -3, NO_MULTI, replication::psync),
    command("psubscribe", -2, QUEUED, pubsub::psubscribe),
    command("pubsub", -2, QUEUED, pubsub::pubsub),
    command("punsubscribe", -1, QUEUED, pubsub::punsubscribe),
    command("quit", -1, ALWAYS, connection::quit),
    command("readonly", 1, QUEUED, connection::cluster_mode),
    command("readwrite", 1, QUEUED, connection::cluster_mode),
    command("replconf", -1, QUEUED, replication::replconf),
    command("replicaof", 3, QUEUED, replication::replicaof),
    command("reset", 1, ALWAYS, connection::reset),
    command("role", 1, QUEUED, replication::role),
    command("save", 1, NO_MULTI, persistence::save),
    command("script", -2, QUEUED, scripting::script),
    command("select", 2, QUEUED, connection::select),
    command("shutdown", -1, NO_MULTI, persistence::shutdown),
    command("slaveof", 3, QUEUED, replication::replicaof),
    command("slowlog", -2, QUEUED, commandlog::slowlog),
    command("ssubscribe", -2, QUEUED, pubsub::ssubscribe),
    command("subscribe", -2, QUEUED, pubsub::subscribe),
    command("sunsubscribe", -1, QUEUED, pubsub::sunsubscribe),
    command("sync", 1, NO_MULTI, replication::sync),
    command("time", 1, QUEUED, introspection::time),
    command("unsubscribe", -1, QUEUED, pubsub::unsubscribe),
    command("unwatch", 1, QUEUED, transaction::unwatch),
    command("wait", 3, QUEUED, replication::wait),
    command("watch", -2, NO_MULTI, transaction::watch),
];

/// Whether `argv` names this subcommand.
fn is_sub(argv: &[Bytes], name: &[u8]) -> bool {
    argv.get(1).is_some_and(|sub| sub.eq_ignore_ascii_case(name))
}

/// Whether a container is asked for its help.
pub(super) fn is_help(argv: &[Bytes]) -> bool {
    let is = |(container, _): &(&str, Subcommands)| {
        argv.first().is_some_and(|name| name.eq_ignore_ascii_case(container.as_bytes()))
    };
    is_sub(argv, b"help") && CONTAINERS.iter().any(is)
}

/// The subcommands of a container and the arguments that each takes, as [`ServerCommand::arity`] counts them.
type Subcommands = &'static [(&'static str, i32)];

/// The containers: commands whose subcommands are commands of their own.
static CONTAINERS: &[(&str, Subcommands)] = &[
    (
        "client",
        &[
            ("getname", 2),
            ("help", 2),
            ("id", 2),
            ("info", 2),
            ("kill", -3),
            ("list", -2),
            ("no-evict", 3),
            ("no-touch", 3),
            ("pause", -3),
            ("reply", 3),
            ("setinfo", 4),
            ("setname", 3),
            ("unblock", -3),
            ("unpause", 2),
        ],
    ),
    ("command", &[("count", 2), ("help", 2), ("info", -2), ("list", -2)]),
    ("commandlog", &[("get", 4), ("help", 2), ("len", 3), ("reset", 3)]),
    ("config", &[("get", -3), ("help", 2), ("resetstat", 2), ("rewrite", 2), ("set", -4)]),
    ("function", &[("flush", -2), ("help", 2)]),
    (
        "pubsub",
        &[
            ("channels", -2),
            ("help", 2),
            ("numpat", 2),
            ("numsub", -2),
            ("shardchannels", -2),
            ("shardnumsub", -2),
        ],
    ),
    ("script", &[("exists", -3), ("flush", -2), ("help", 2), ("kill", 2), ("load", 3), ("show", 3)]),
    ("slowlog", &[("get", -2), ("help", 2), ("len", 2), ("reset", 2)]),
];

/// Refuses arguments that name no subcommand of a container, or one that takes others. It is looked up as
/// early as the command itself.
pub(super) fn check_subcommand(name: &'static str, argv: &[Bytes]) -> Result<(), Reply> {
    let Some((_, known)) = CONTAINERS.iter().find(|(container, _)| *container == name) else { return Ok(()) };
    let Some(given) = argv.get(1) else { return Ok(()) };
    match known.iter().find(|(sub, _)| given.eq_ignore_ascii_case(sub.as_bytes())) {
        Some((_, arity)) if arity_fits(*arity, argv.len()) => Ok(()),
        Some((sub, _)) => Err(wrong_arity(&format!("{name}|{sub}"))),
        None => Err(subcommand_error(name, argv)),
    }
}

/// What a container command answers when there is no such subcommand.
fn subcommand_error(container: &'static str, argv: &[Bytes]) -> Reply {
    let given = argv.get(1).map_or(&[][..], |sub| sub);
    error(format!(
        "ERR unknown subcommand '{}'. Try {} HELP.",
        shown(&given[..given.len().min(128)]),
        container.to_uppercase()
    ))
}
