//! Errors that the host's functions throw into a script, and what a script sees of them.
//!
//! An error of a Rust function arrives in Lua as an object of the binding. The sandbox hands it to [`unwrap`]
//! before a script can look at it: what a script catches is a string or a table with a field `err`, as in Valkey.
//! [`Raised::End`] is caught by nobody.

use bytes::Bytes;
use mlua::{Error, Lua, Table, Value};

/// An error that a function of the host throws.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum Raised {
    /// A string, as the functions of the libraries throw it.
    #[error("{}", .0.escape_ascii())]
    Text(Bytes),
    /// A table whose `err` is the line of an error, code first, as `redis.call` throws it.
    #[error("{}", .0.escape_ascii())]
    Line(Bytes),
    /// The end of the script.
    #[error("{0}")]
    End(&'static str),
}

/// Why a script is ended when somebody asked for it.
pub(super) const KILLED: &str = "ERR Script killed by user with SCRIPT KILL.";

/// A string with the place in the script that called the running function, as Lua's own functions throw it.
pub(super) fn text(lua: &Lua, message: impl AsRef<str>) -> Error {
    let mut whole = place(lua);
    whole.push_str(message.as_ref());
    Error::external(Raised::Text(whole.into()))
}

/// What Lua says about an argument that does not fit.
pub(super) fn bad_argument(lua: &Lua, at: usize, function: &str, why: &str) -> Error {
    text(lua, format!("bad argument #{at} to '{function}' ({why})"))
}

/// A table whose `err` is this line.
pub(super) fn line(line: impl Into<Bytes>) -> Error {
    Error::external(Raised::Line(line.into()))
}

/// `name:line: ` of what called the running function; empty if that was no Lua code.
fn place(lua: &Lua) -> String {
    let place = lua.inspect_stack(1, |debug| {
        let line = debug.current_line()?;
        Some(format!("{}:{line}: ", debug.source().short_src?))
    });
    place.flatten().unwrap_or_default()
}

/// What was thrown by the host, if that is what the error is.
pub(super) fn find(error: &Error) -> Option<&Raised> {
    let mut error = error;
    loop {
        match error {
            Error::CallbackError { cause, .. } | Error::WithContext { cause, .. } => error = cause,
            Error::ExternalError(inner) => return inner.downcast_ref(),
            _ => return None,
        }
    }
}

/// A table with a field `err`.
pub(super) fn table(lua: &Lua, line: &[u8]) -> mlua::Result<Table> {
    let table = lua.create_table_with_capacity(0, 3)?;
    table.raw_set("err", lua.create_string(line)?)?;
    Ok(table)
}

/// What a script sees of an error; the end of the script is thrown again.
pub(super) fn unwrap(lua: &Lua, thrown: Value) -> mlua::Result<Value> {
    let Value::Error(error) = thrown else { return Ok(thrown) };
    match find(&error) {
        Some(Raised::Text(text)) => lua.create_string(text).map(Value::String),
        Some(Raised::Line(line)) => table(lua, line).map(Value::Table),
        Some(Raised::End(_)) => Err(*error),
        None => lua.create_string(first_line(&error)).map(Value::String),
    }
}

pub(super) fn is_end(thrown: &Value) -> bool {
    matches!(thrown, Value::Error(error) if matches!(find(error), Some(Raised::End(_))))
}

/// An error of the binding itself, without its traceback.
pub(super) fn first_line(error: &Error) -> String {
    let mut error = error;
    while let Error::CallbackError { cause, .. } = error {
        error = cause;
    }
    error.to_string().lines().next().unwrap_or_default().to_owned()
}

/// Makes a table of any error of a script, with the place where it happened: Valkey's error handler. What
/// happened in a function of the host, or of Lua itself, happened in the script that called it.
pub(super) fn handle(lua: &Lua, thrown: Value) -> mlua::Result<Table> {
    let table = match &thrown {
        Value::Table(table) => table.clone(),
        Value::Error(error) => match find(error) {
            Some(Raised::Line(line)) => table(lua, line)?,
            Some(Raised::Text(text)) => table(lua, &[b"ERR ", &text[..]].concat())?,
            Some(Raised::End(line)) => table(lua, line.as_bytes())?,
            None => table(lua, format!("ERR {}", first_line(error)).as_bytes())?,
        },
        Value::String(text) => table(lua, &[b"ERR ", &*text.as_bytes()].concat())?,
        other => table(lua, format!("ERR {}", other.to_string()?).as_bytes())?,
    };
    if let Some((source, line)) = origin(lua) {
        table.raw_set("source", source)?;
        table.raw_set("line", line)?;
    }
    Ok(table)
}

/// The sandbox's own functions are passed over, and one function that is not Lua's.
fn origin(lua: &Lua) -> Option<(String, i64)> {
    let (mut native, mut was_sandbox) = (0, false);
    for level in 1.. {
        let found = lua.inspect_stack(level, |debug| {
            let line = debug.current_line().and_then(|line| i64::try_from(line).ok());
            let source = debug.source();
            (
                source.source.map(|source| source.into_owned()).unwrap_or_default(),
                source.what,
                line.unwrap_or(-1),
            )
        });
        let (source, what, line) = found?;
        let is_sandbox = source == super::interpreter::SANDBOX;
        // What stands for a function of the sandbox that was left by a tail call.
        if is_sandbox || (was_sandbox && what == "tail") {
            (native, was_sandbox) = (0, true);
        } else if what == "C" && native == 0 {
            native += 1;
        } else {
            return Some((source, line));
        }
    }
    None
}
