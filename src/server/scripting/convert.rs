//! Replies as values of Lua, and back.

use bytes::Bytes;
use mlua::{Lua, Table, Value};

use super::arguments::{string, truncated};
use super::raised;
use crate::resp::{Protocol, Reply, text, write_double};

/// Tables of a script's reply that nest deeper than this are answered by an error in their place. Valkey's own
/// limit is the size of Lua's stack.
pub(super) const MAX_REPLY_DEPTH: usize = 256;

/// What `redis.call` returns for a reply, in the protocol that the script has chosen.
pub(super) fn to_lua(lua: &Lua, reply: &Reply, protocol: Protocol) -> mlua::Result<Value> {
    let resp3 = protocol == Protocol::Resp3;
    let field = |name: &str, value: Value| -> mlua::Result<Value> {
        let table = lua.create_table_with_capacity(0, 1)?;
        table.raw_set(name, value)?;
        Ok(Value::Table(table))
    };
    Ok(match reply {
        Reply::Simple(status) => field("ok", string(lua, status)?)?,
        Reply::Status(status) => field("ok", string(lua, status)?)?,
        Reply::Error(line) => Value::Table(raised::table(lua, &text::to_bytes(line))?),
        Reply::Integer(n) => Value::Number(*n as f64),
        Reply::Bulk(bytes) => string(lua, bytes)?,
        Reply::Null | Reply::NullArray if resp3 => Value::Nil,
        Reply::Null | Reply::NullArray => Value::Boolean(false),
        Reply::Boolean(yes) if resp3 => Value::Boolean(*yes),
        Reply::Boolean(yes) => Value::Number(f64::from(u8::from(*yes))),
        Reply::Double(number) if resp3 => field("double", Value::Number(*number))?,
        Reply::Double(number) => string(lua, number_text(*number))?,
        Reply::Verbatim(bytes) if resp3 => {
            let table = lua.create_table_with_capacity(0, 2)?;
            table.raw_set("string", lua.create_string(bytes)?)?;
            table.raw_set("format", "txt")?;
            field("verbatim_string", Value::Table(table))?
        }
        Reply::Verbatim(bytes) => string(lua, bytes)?,
        Reply::Map(pairs) if resp3 => {
            let table = lua.create_table_with_capacity(0, pairs.len())?;
            for (key, value) in pairs {
                table.raw_set(to_lua(lua, key, protocol)?, to_lua(lua, value, protocol)?)?;
            }
            field("map", Value::Table(table))?
        }
        Reply::Set(members) if resp3 => {
            let table = lua.create_table_with_capacity(0, members.len())?;
            for member in members {
                table.raw_set(to_lua(lua, member, protocol)?, true)?;
            }
            field("set", Value::Table(table))?
        }
        aggregate => {
            let table = lua.create_table()?;
            for (at, child) in aggregate.children(protocol).enumerate() {
                table.raw_set(at + 1, to_lua(lua, child, protocol)?)?;
            }
            Value::Table(table)
        }
    })
}

fn number_text(number: f64) -> Vec<u8> {
    let mut out = Vec::new();
    write_double(number, &mut out);
    out
}

/// A number as an argument of a command: an integer if it is one, or the shortest text that gives it back.
pub(super) fn argument(number: f64) -> Bytes {
    const SAFE: f64 = (i64::MAX / 2) as f64;
    if (-SAFE..=SAFE).contains(&number) && number.fract() == 0.0 {
        return Bytes::copy_from_slice(itoa::Buffer::new().format(truncated(number)).as_bytes());
    }
    number_text(number).into()
}

/// What a script's value is as a reply.
pub(super) fn to_reply(value: &Value, protocol: Protocol) -> mlua::Result<Reply> {
    to_reply_at(value, protocol, 0)
}

fn to_reply_at(value: &Value, protocol: Protocol, depth: usize) -> mlua::Result<Reply> {
    Ok(match value {
        Value::String(text) => Reply::Bulk(Bytes::copy_from_slice(&text.as_bytes())),
        Value::Boolean(yes) if protocol == Protocol::Resp3 => Reply::Boolean(*yes),
        Value::Boolean(true) => Reply::Integer(1),
        Value::Integer(n) => Reply::Integer(*n),
        Value::Number(n) => Reply::Integer(truncated(*n)),
        Value::Table(_) if depth >= MAX_REPLY_DEPTH => Reply::Error("ERR reached lua stack limit".to_owned()),
        Value::Table(table) => table_to_reply(table, protocol, depth + 1)?,
        _ => Reply::Null,
    })
}

fn table_to_reply(table: &Table, protocol: Protocol, depth: usize) -> mlua::Result<Reply> {
    if let Value::String(line) = table.raw_get("err")? {
        return Ok(Reply::Error(one_line(&line.as_bytes())));
    }
    if let Value::String(status) = table.raw_get("ok")? {
        return Ok(Reply::Status(one_line(&status.as_bytes())));
    }
    match table.raw_get("double")? {
        Value::Integer(n) => return Ok(Reply::Double(n as f64)),
        Value::Number(n) => return Ok(Reply::Double(n)),
        _ => {}
    }
    if let Value::String(digits) = table.raw_get("big_number")? {
        return Ok(Reply::Bulk(Bytes::copy_from_slice(&digits.as_bytes())));
    }
    if let Value::Table(verbatim) = table.raw_get("verbatim_string")?
        && let (Value::String(_), Value::String(text)) =
            (verbatim.raw_get("format")?, verbatim.raw_get("string")?)
    {
        return Ok(Reply::Verbatim(Bytes::copy_from_slice(&text.as_bytes())));
    }
    if let Value::Table(map) = table.raw_get("map")? {
        let pairs = map.pairs::<Value, Value>().map(|pair| {
            let (key, value) = pair?;
            Ok((to_reply_at(&key, protocol, depth)?, to_reply_at(&value, protocol, depth)?))
        });
        return pairs.collect::<mlua::Result<_>>().map(Reply::Map);
    }
    if let Value::Table(set) = table.raw_get("set")? {
        let members = set.pairs::<Value, Value>().map(|pair| to_reply_at(&pair?.0, protocol, depth));
        return members.collect::<mlua::Result<_>>().map(Reply::Set);
    }
    let mut items = Vec::new();
    loop {
        let item: Value = table.raw_get(items.len() + 1)?;
        if item.is_nil() {
            return Ok(Reply::Array(items));
        }
        items.push(to_reply_at(&item, protocol, depth)?);
    }
}

/// The line of an error or a status: up to its first zero, without what would end it.
pub(super) fn one_line(bytes: &[u8]) -> String {
    let bytes = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
    text::from_bytes(bytes).replace(['\r', '\n'], " ")
}

/// The line of a script that failed with this table: what happened, and where.
pub(super) fn failure(error: &Table) -> mlua::Result<String> {
    let text = |name: &str| -> mlua::Result<Option<String>> {
        Ok(match error.get(name)? {
            Value::String(text) => Some(one_line(&text.as_bytes())),
            number @ (Value::Integer(_) | Value::Number(_)) => Some(number.to_string()?),
            _ => None,
        })
    };
    let line = text("err")?.unwrap_or_else(|| "ERR unknown error".to_owned());
    Ok(match (text("source")?, text("line")?) {
        (Some(source), Some(number)) => format!("{line} script: on {source}:{number}."),
        _ => line,
    })
}
