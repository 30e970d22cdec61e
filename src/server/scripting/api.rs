//! The table `redis`, which is `server` as well, and `math.random`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use bytes::Bytes;
use mlua::{Lua, MultiValue, Table, Value};
use parking_lot::Mutex;

use super::arguments::{bytes, function, integer, set, string};
use super::convert::argument;
use super::raised::{bad_argument, line, table, text};
use super::random::Random;
use crate::resp::Protocol;
use crate::server::commands::COMPATIBLE_VERSION;
use crate::server::dispatch;

/// The version of Valkey whose behaviour scripts find.
const VALKEY_VERSION: &str = "9.1.2";

const LOG_LEVELS: [&str; 4] = ["LOG_DEBUG", "LOG_VERBOSE", "LOG_NOTICE", "LOG_WARNING"];

/// What a script has chosen for itself.
#[derive(Debug, Default)]
pub(super) struct Choices {
    resp3: AtomicU8,
}

impl Choices {
    /// As a script finds them.
    pub fn reset(&self) {
        self.resp3.store(0, Ordering::Relaxed);
    }

    /// `redis.setresp`.
    pub fn protocol(&self) -> Protocol {
        if self.resp3.load(Ordering::Relaxed) == 1 { Protocol::Resp3 } else { Protocol::Resp2 }
    }
}

/// A version as a number: a byte for each part.
fn version_number(version: &str) -> u32 {
    version.split('.').take(3).fold(0, |number, part| number << 8 | (part.parse::<u32>().unwrap_or(0) & 0xff))
}

/// The arguments of `redis.call` as those of a command.
pub(super) fn arguments_of(args: &MultiValue) -> Result<Vec<Bytes>, &'static str> {
    if args.is_empty() {
        return Err("ERR Please specify at least one argument for this call");
    }
    let argument = |value: &Value| match value {
        Value::Integer(n) => Ok(argument(*n as f64)),
        Value::Number(n) => Ok(argument(*n)),
        Value::String(text) => Ok(Bytes::copy_from_slice(&text.as_bytes())),
        _ => Err("ERR Command arguments must be strings or integers"),
    };
    args.iter().map(argument).collect()
}

/// The table `redis`, without `call` and `pcall`, which belong to a run.
pub(super) fn server(lua: &Lua, choices: &Arc<Choices>) -> mlua::Result<Table> {
    let api = lua.create_table()?;
    constants(&api)?;
    set(lua, &api, "sha1hex", |lua, args| {
        if args.len() != 1 {
            return Err(line("ERR wrong number of arguments"));
        }
        string(lua, sha1hex(&bytes(lua, &args, 1, "sha1hex").unwrap_or_default()))
    })?;
    set(lua, &api, "error_reply", |lua, args| reply_table(lua, &args, error_line))?;
    set(lua, &api, "status_reply", |lua, args| {
        let Some(Value::String(status)) = only(&args) else { return wrong_type(lua) };
        let table = lua.create_table_with_capacity(0, 1)?;
        table.raw_set("ok", status)?;
        Ok(Value::Table(table))
    })?;
    let choices = Arc::clone(choices);
    set(lua, &api, "setresp", move |lua, args| {
        if args.len() != 1 {
            return Err(line("ERR server.setresp() requires one argument."));
        }
        match integer(lua, &args, 1, "setresp").unwrap_or(0) {
            2 => choices.resp3.store(0, Ordering::Relaxed),
            3 => choices.resp3.store(1, Ordering::Relaxed),
            _ => return Err(line("ERR RESP version must be 2 or 3.")),
        }
        Ok(Value::Nil)
    })?;
    set(lua, &api, "set_repl", |lua, args| {
        if args.len() != 1 {
            return Err(line("ERR server.set_repl() requires one argument."));
        }
        if integer(lua, &args, 1, "set_repl").unwrap_or(0) & !3 != 0 {
            let message = "ERR Invalid replication flags. Use REPL_AOF, REPL_REPLICA, REPL_ALL or REPL_NONE.";
            return Err(line(message));
        }
        Ok(Value::Nil)
    })?;
    set(lua, &api, "replicate_commands", |_, _| Ok(Value::Boolean(true)))?;
    set(lua, &api, "breakpoint", |_, _| Ok(Value::Boolean(false)))?;
    set(lua, &api, "debug", |_, _| Ok(Value::Nil))?;
    set(lua, &api, "acl_check_cmd", |_, args| {
        let argv = arguments_of(&args).map_err(line)?;
        match dispatch::find(&argv[0]) {
            Some(_) => Ok(Value::Boolean(true)),
            None => Err(line("ERR Invalid command passed to server.acl_check_cmd()")),
        }
    })?;
    set(lua, &api, "log", |lua, args| log(lua, &args))?;
    Ok(api)
}

fn constants(api: &Table) -> mlua::Result<()> {
    for (level, name) in LOG_LEVELS.iter().enumerate() {
        api.raw_set(*name, level)?;
    }
    for (name, flags) in
        [("REPL_NONE", 0), ("REPL_AOF", 1), ("REPL_SLAVE", 2), ("REPL_REPLICA", 2), ("REPL_ALL", 3)]
    {
        api.raw_set(name, flags)?;
    }
    api.raw_set("REDIS_VERSION", COMPATIBLE_VERSION)?;
    api.raw_set("REDIS_VERSION_NUM", version_number(COMPATIBLE_VERSION))?;
    api.raw_set("VALKEY_VERSION", VALKEY_VERSION)?;
    api.raw_set("VALKEY_VERSION_NUM", version_number(VALKEY_VERSION))?;
    api.raw_set("SERVER_NAME", "valkey")
}

/// The digest of bytes in hexadecimal digits.
pub(super) fn sha1hex(bytes: &[u8]) -> String {
    sha1_smol::Sha1::from(bytes).digest().to_string()
}

fn only(args: &MultiValue) -> Option<&Value> {
    args.front().filter(|_| args.len() == 1)
}

/// What a function returns, and does not throw, that wants one string.
fn wrong_type(lua: &Lua) -> mlua::Result<Value> {
    table(lua, b"ERR wrong number or type of arguments").map(Value::Table)
}

fn reply_table(lua: &Lua, args: &MultiValue, line: fn(&[u8]) -> Vec<u8>) -> mlua::Result<Value> {
    let Some(Value::String(given)) = only(args) else { return wrong_type(lua) };
    table(lua, &line(&given.as_bytes())).map(Value::Table)
}

/// The line of an error: with a code, without a dash before it or a line's end after it.
fn error_line(given: &[u8]) -> Vec<u8> {
    let given = given.strip_prefix(b"-").unwrap_or(given);
    match given.iter().position(|byte| *byte == b' ') {
        None => [b"ERR ", given].concat(),
        Some(at) => {
            let is_end = |byte: &u8| matches!(byte, b'\r' | b'\n');
            let rest = &given[at + 1..];
            let begin = rest.iter().position(|byte| !is_end(byte)).unwrap_or(rest.len());
            let end = rest.iter().rposition(|byte| !is_end(byte)).map_or(begin, |last| last + 1);
            [&given[..=at], &rest[begin..end]].concat()
        }
    }
}

/// `redis.log`.
fn log(lua: &Lua, args: &MultiValue) -> mlua::Result<Value> {
    if args.len() < 2 {
        return Err(line("ERR server.log() requires two arguments or more."));
    }
    let Ok(level) = integer(lua, args, 1, "log") else {
        return Err(line("ERR First argument must be a number (log level)."));
    };
    if !(0..=3).contains(&level) {
        return Err(line("ERR Invalid log level."));
    }
    let words = (2..=args.len()).filter_map(|at| bytes(lua, args, at, "log").ok());
    let message = words.map(|word| word.escape_ascii().to_string()).collect::<Vec<_>>().join(" ");
    match level {
        0 => tracing::debug!(script = true, "{message}"),
        1 | 2 => tracing::info!(script = true, "{message}"),
        _ => tracing::warn!(script = true, "{message}"),
    }
    Ok(Value::Nil)
}

/// `math.random` and `math.randomseed`.
pub(super) fn math(lua: &Lua) -> mlua::Result<Table> {
    let library = lua.create_table()?;
    let random = Arc::new(Mutex::new(Random::default()));
    let own = Arc::clone(&random);
    set(lua, &library, "random", move |lua, args| {
        let number = own.lock().next();
        // Lua reads a C `int` here.
        let bound = |at| integer(lua, &args, at, "random").map(|bound| f64::from(bound as i32));
        let (low, high, at) = match args.len() {
            0 => return Ok(Value::Number(number)),
            1 => (1.0, bound(1)?, 1),
            2 => (bound(1)?, bound(2)?, 2),
            _ => return Err(text(lua, "wrong number of arguments")),
        };
        if low > high {
            return Err(bad_argument(lua, at, "random", "interval is empty"));
        }
        Ok(Value::Number((number * (high - low + 1.0)).floor() + low))
    })?;
    library.raw_set(
        "randomseed",
        function(lua, move |lua, args| {
            random.lock().seed(integer(lua, &args, 1, "randomseed")? as i32);
            Ok(Value::Nil)
        })?,
    )?;
    Ok(library)
}
