//! `cmsgpack`: MessagePack, as the library of this name version 0.4.0 has it.

use bytes::Bytes;
use mlua::{Lua, MultiValue, Table, Value};

use super::arguments::{bytes, get, integer, set, string, truncated};
use super::raised::{bad_argument, text};

/// Tables that nest deeper than this are written as nil.
const MAX_NESTING: usize = 16;

/// The library.
pub(super) fn library(lua: &Lua) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    for (name, value) in [
        ("_NAME", "cmsgpack"),
        ("_VERSION", "lua-cmsgpack 0.4.0"),
        ("_COPYRIGHT", "Copyright (C) 2012, Redis Ltd."),
        ("_DESCRIPTION", "MessagePack C implementation for Lua"),
    ] {
        table.raw_set(name, value)?;
    }
    set(lua, &table, "pack", |lua, args| {
        if args.is_empty() {
            return Err(bad_argument(lua, 0, "pack", "MessagePack pack needs input."));
        }
        let mut out = Vec::new();
        for value in &args {
            pack(&mut out, value, 0)?;
        }
        string(lua, out)
    })?;
    type Unpack = fn(&Lua, &MultiValue) -> mlua::Result<MultiValue>;
    let functions: [(&str, Unpack); 3] = [
        ("unpack", |lua, args| {
            let data = bytes(lua, args, 1, "unpack")?;
            unpack(lua, &data, None, 0)
        }),
        ("unpack_one", |lua, args| {
            let data = bytes(lua, args, 1, "unpack_one")?;
            let offset = optional(lua, args, 2, "unpack_one")?;
            unpack(lua, &data, Some(1), offset)
        }),
        ("unpack_limit", |lua, args| {
            let data = bytes(lua, args, 1, "unpack_limit")?;
            let limit = integer(lua, args, 2, "unpack_limit")?;
            let offset = optional(lua, args, 3, "unpack_limit")?;
            unpack(lua, &data, Some(limit), offset)
        }),
    ];
    for (name, run) in functions {
        table.raw_set(name, lua.create_function(move |lua, args: MultiValue| run(lua, &args))?)?;
    }
    Ok(table)
}

fn optional(lua: &Lua, args: &MultiValue, at: usize, name: &str) -> mlua::Result<i64> {
    match get(args, at) {
        None | Some(Value::Nil) => Ok(0),
        Some(_) => integer(lua, args, at, name),
    }
}

fn pack(out: &mut Vec<u8>, value: &Value, depth: usize) -> mlua::Result<()> {
    match value {
        Value::Boolean(yes) => out.push(if *yes { 0xc3 } else { 0xc2 }),
        Value::Integer(n) => pack_integer(out, *n),
        Value::Number(n) => pack_number(out, *n),
        Value::String(text) => pack_string(out, &text.as_bytes()),
        Value::Table(table) if depth < MAX_NESTING => pack_table(out, table, depth)?,
        _ => out.push(0xc0),
    }
    Ok(())
}

fn pack_integer(out: &mut Vec<u8>, n: i64) {
    // The narrowest form; a cast to it loses nothing.
    match n {
        0..=0x7f => out.push(n as u8),
        0x80..=0xff => out.extend([0xcc, n as u8]),
        0x100..=0xffff => put(out, 0xcd, &(n as u16).to_be_bytes()),
        0x1_0000..=0xffff_ffff => put(out, 0xce, &(n as u32).to_be_bytes()),
        0x1_0000_0000.. => put(out, 0xcf, &n.to_be_bytes()),
        -32..=-1 => out.push((n as i8).cast_unsigned()),
        -0x80..=-33 => out.extend([0xd0, (n as i8).cast_unsigned()]),
        -0x8000..=-0x81 => put(out, 0xd1, &(n as i16).to_be_bytes()),
        -0x8000_0000..=-0x8001 => put(out, 0xd2, &(n as i32).to_be_bytes()),
        _ => put(out, 0xd3, &n.to_be_bytes()),
    }
}

fn put(out: &mut Vec<u8>, kind: u8, bytes: &[u8]) {
    out.push(kind);
    out.extend_from_slice(bytes);
}

fn pack_number(out: &mut Vec<u8>, n: f64) {
    let integer = truncated(n);
    if integer as f64 == n && integer != i64::MAX {
        return pack_integer(out, integer);
    }
    if f64::from(n as f32) == n {
        put(out, 0xca, &(n as f32).to_be_bytes());
    } else {
        put(out, 0xcb, &n.to_be_bytes());
    }
}

/// The head of what has a length: the short form if there is one, or that of one, two or four bytes.
fn pack_head(out: &mut Vec<u8>, len: usize, short: (usize, u8), [one, two, four]: [Option<u8>; 3]) {
    let (short_max, short_kind) = short;
    match (len, one, two) {
        (len, ..) if len <= short_max => out.push(short_kind | len as u8),
        (0..=0xff, Some(one), _) => out.extend([one, len as u8]),
        (0..=0xffff, _, Some(two)) => put(out, two, &(len as u16).to_be_bytes()),
        _ => put(out, four.unwrap_or_default(), &(len as u32).to_be_bytes()),
    }
}

fn pack_string(out: &mut Vec<u8>, text: &[u8]) {
    pack_head(out, text.len(), (31, 0xa0), [Some(0xd9), Some(0xda), Some(0xdb)]);
    out.extend_from_slice(text);
}

fn pack_table(out: &mut Vec<u8>, table: &Table, depth: usize) -> mlua::Result<()> {
    let pairs: Vec<(Value, Value)> = table.pairs().collect::<mlua::Result<_>>()?;
    let index = |key: &Value| match key {
        Value::Integer(key) if *key > 0 => usize::try_from(*key).ok(),
        _ => None,
    };
    let greatest = pairs.iter().map(|(key, _)| index(key)).try_fold(0, |max, key| Some(key?.max(max)));
    if greatest == Some(pairs.len()) {
        pack_head(out, pairs.len(), (15, 0x90), [None, Some(0xdc), Some(0xdd)]);
        for at in 1..=pairs.len() {
            pack(out, &table.raw_get(at)?, depth + 1)?;
        }
        return Ok(());
    }
    pack_head(out, pairs.len(), (15, 0x80), [None, Some(0xde), Some(0xdf)]);
    for (key, value) in &pairs {
        pack(out, key, depth + 1)?;
        pack(out, value, depth + 1)?;
    }
    Ok(())
}

/// Why bytes are no MessagePack.
enum Failure {
    Missing,
    Bad,
}

/// What a value begins with.
enum Head {
    Value(Value),
    Text(usize),
    Array(usize),
    Map(usize),
}

/// A table that is being read, with how many values are missing.
enum Open {
    Array(Table, i64, usize),
    Map(Table, Option<Value>, usize),
}

struct Reader<'a> {
    data: &'a [u8],
}

impl Reader<'_> {
    fn take(&mut self, len: usize) -> Result<&[u8], Failure> {
        let (taken, rest) = self.data.split_at_checked(len).ok_or(Failure::Missing)?;
        self.data = rest;
        Ok(taken)
    }

    fn unsigned(&mut self, len: usize) -> Result<u64, Failure> {
        Ok(self.take(len)?.iter().fold(0, |n, byte| n << 8 | u64::from(*byte)))
    }

    fn len(&mut self, bytes: usize) -> Result<usize, Failure> {
        self.unsigned(bytes).map(|len| usize::try_from(len).unwrap_or(usize::MAX))
    }

    fn head(&mut self) -> Result<Head, Failure> {
        let kind = self.take(1)?[0];
        let number = |n: f64| Head::Value(Value::Number(n));
        Ok(match kind {
            0..=0x7f => number(f64::from(kind)),
            0xe0.. => number(f64::from(kind.cast_signed())),
            0xc0 => Head::Value(Value::Nil),
            0xc2 | 0xc3 => Head::Value(Value::Boolean(kind == 0xc3)),
            0xcc => number(self.unsigned(1)? as f64),
            0xcd => number(self.unsigned(2)? as f64),
            0xce => number(self.unsigned(4)? as f64),
            0xcf => number(self.unsigned(8)? as f64),
            0xd0 => number(f64::from(self.unsigned(1)? as i8)),
            0xd1 => number(f64::from(self.unsigned(2)? as i16)),
            0xd2 => number(f64::from(self.unsigned(4)? as i32)),
            0xd3 => number(self.unsigned(8)?.cast_signed() as f64),
            0xca => number(f64::from(f32::from_bits(self.unsigned(4)? as u32))),
            0xcb => number(f64::from_bits(self.unsigned(8)?)),
            0xa0..=0xbf => Head::Text(usize::from(kind & 31)),
            0xc4 | 0xd9 => Head::Text(self.len(1)?),
            0xc5 | 0xda => Head::Text(self.len(2)?),
            0xc6 | 0xdb => Head::Text(self.len(4)?),
            0x90..=0x9f => Head::Array(usize::from(kind & 15)),
            0xdc => Head::Array(self.len(2)?),
            0xdd => Head::Array(self.len(4)?),
            0x80..=0x8f => Head::Map(usize::from(kind & 15)),
            0xde => Head::Map(self.len(2)?),
            0xdf => Head::Map(self.len(4)?),
            _ => return Err(Failure::Bad),
        })
    }
}

/// One value.
fn read(lua: &Lua, reader: &mut Reader<'_>) -> mlua::Result<Value> {
    let fail = |failure| match failure {
        Failure::Missing => text(lua, "Missing bytes in input."),
        Failure::Bad => text(lua, "Bad data format in input."),
    };
    let mut open: Vec<Open> = Vec::new();
    loop {
        let mut value = match reader.head().map_err(fail)? {
            Head::Value(value) => value,
            Head::Text(len) => string(lua, reader.take(len).map_err(fail)?)?,
            Head::Array(0) | Head::Map(0) => Value::Table(lua.create_table()?),
            Head::Array(len) => {
                open.push(Open::Array(lua.create_table()?, 0, len));
                continue;
            }
            Head::Map(len) => {
                open.push(Open::Map(lua.create_table()?, None, len));
                continue;
            }
        };
        // The value is complete, and maybe what it stands in as well.
        loop {
            let Some(top) = open.last_mut() else { return Ok(value) };
            let missing = match top {
                Open::Array(table, at, missing) => {
                    *at += 1;
                    table.raw_set(*at, value)?;
                    *missing -= 1;
                    *missing
                }
                Open::Map(table, key, missing) => match key.take() {
                    None => {
                        *key = Some(value);
                        break;
                    }
                    Some(key) => {
                        let is_number = matches!(key, Value::Number(n) if n.is_nan());
                        if key.is_nil() || is_number {
                            return Err(fail(Failure::Bad));
                        }
                        table.raw_set(key, value)?;
                        *missing -= 1;
                        *missing
                    }
                },
            };
            if missing > 0 {
                break;
            }
            let Some(Open::Array(table, ..) | Open::Map(table, ..)) = open.pop() else {
                return Err(fail(Failure::Bad));
            };
            value = Value::Table(table);
        }
    }
}

/// All values from `offset` on, or at most `limit`; then the offset behind them goes first, -1 at the end.
fn unpack(lua: &Lua, data: &Bytes, limit: Option<i64>, offset: i64) -> mlua::Result<MultiValue> {
    let len = data.len() as i64;
    if offset < 0 || limit.is_some_and(|limit| limit < 0) {
        return Err(text(
            lua,
            format!("Invalid request to unpack with offset of {offset} and limit of {len}."),
        ));
    }
    if offset > len {
        return Err(text(lua, format!("Start offset {offset} greater than input length {len}.")));
    }
    let decode_all = limit.is_none_or(|limit| limit == 0) && offset == 0;
    let most = match limit {
        None | Some(0) => usize::MAX,
        Some(limit) => usize::try_from(limit).unwrap_or(usize::MAX),
    };
    let mut reader = Reader { data: &data[usize::try_from(offset).unwrap_or(usize::MAX)..] };
    let mut values = Vec::new();
    while !reader.data.is_empty() && values.len() < most {
        values.push(read(lua, &mut reader)?);
    }
    if !decode_all {
        let left = reader.data.len() as i64;
        values.insert(0, Value::Integer(if left == 0 { -1 } else { len - left }));
    }
    Ok(MultiValue::from_vec(values))
}
