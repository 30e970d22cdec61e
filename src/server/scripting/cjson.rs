//! `cjson`: JSON, as the library of this name version 2.1.0 has it, with its limits and errors.
//!
//! Own code and no parser from elsewhere, because what scripts depend on is this library's: which tables are
//! arrays, how numbers are printed, what it says where. Nesting is kept on a stack of its own, so that depth costs
//! no call stack.
//!
//! Different: `encode_keep_buffer` changes nothing but its own answer.

use std::sync::Arc;

use bytes::Bytes;
use mlua::{Lua, LuaString, MultiValue, Table, Value};
use parking_lot::Mutex;

use super::arguments::{bytes, general, get, integer, set, string, truncated};
use super::raised::{bad_argument, text};

/// The settings of an instance: scripts change them for all that come after them, as in Valkey.
#[derive(Clone, Debug)]
struct Settings {
    sparse_convert: bool,
    sparse_ratio: i64,
    sparse_safe: i64,
    encode_max_depth: i64,
    decode_max_depth: i64,
    precision: usize,
    keep_buffer: bool,
    encode_invalid: Invalid,
    decode_invalid: bool,
}

/// One of the settings.
type Field<T> = fn(&mut Settings) -> &mut T;

/// What becomes of a number that JSON does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Invalid {
    Refused,
    Written,
    Null,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            sparse_convert: false,
            sparse_ratio: 2,
            sparse_safe: 10,
            encode_max_depth: 1000,
            decode_max_depth: 1000,
            precision: 14,
            keep_buffer: true,
            encode_invalid: Invalid::Refused,
            decode_invalid: true,
        }
    }
}

/// A new instance of the library.
pub(super) fn library(lua: &Lua) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    let settings = Arc::new(Mutex::new(Settings::default()));
    table.raw_set("_NAME", "cjson")?;
    table.raw_set("_VERSION", "2.1.0")?;
    table.raw_set("null", Value::NULL)?;
    let own = Arc::clone(&settings);
    set(lua, &table, "encode", move |lua, args| {
        only_one(lua, &args, "encode")?;
        let settings = own.lock().clone();
        string(lua, encode(lua, &settings, args.front().cloned().unwrap_or(Value::Nil))?)
    })?;
    let own = Arc::clone(&settings);
    set(lua, &table, "decode", move |lua, args| {
        only_one(lua, &args, "decode")?;
        let json = bytes(lua, &args, 1, "decode")?;
        let settings = own.lock().clone();
        decode(lua, &settings, &json)
    })?;
    set(lua, &table, "new", |lua, _| library(lua).map(Value::Table))?;
    configure(lua, &table, &settings)?;
    Ok(table)
}

fn only_one(lua: &Lua, args: &MultiValue, name: &str) -> mlua::Result<()> {
    if args.len() == 1 { Ok(()) } else { Err(bad_argument(lua, 1, name, "expected 1 argument")) }
}

/// The functions that read and change the settings.
fn configure(lua: &Lua, table: &Table, settings: &Arc<Mutex<Settings>>) -> mlua::Result<()> {
    let numbers: [(&'static str, Field<i64>); 2] = [
        ("encode_max_depth", |it| &mut it.encode_max_depth),
        ("decode_max_depth", |it| &mut it.decode_max_depth),
    ];
    for (name, field) in numbers {
        let own = Arc::clone(settings);
        set(lua, table, name, move |lua, args| {
            let given = option(lua, &args, 1, name, 1, i64::from(i32::MAX))?;
            let mut own = own.lock();
            let field = field(&mut own);
            *field = given.unwrap_or(*field);
            Ok(Value::Integer(*field))
        })?;
    }
    let own = Arc::clone(settings);
    set(lua, table, "encode_number_precision", move |lua, args| {
        let given = option(lua, &args, 1, "encode_number_precision", 1, 14)?;
        let mut own = own.lock();
        own.precision = given.and_then(|n| usize::try_from(n).ok()).unwrap_or(own.precision);
        Ok(Value::Integer(own.precision as i64))
    })?;
    let flags: [(&'static str, Field<bool>); 2] = [
        ("encode_keep_buffer", |it| &mut it.keep_buffer),
        ("decode_invalid_numbers", |it| &mut it.decode_invalid),
    ];
    for (name, field) in flags {
        let own = Arc::clone(settings);
        set(lua, table, name, move |_, args| {
            let mut own = own.lock();
            let field = field(&mut own);
            if let Some(Value::Boolean(given)) = get(&args, 1) {
                *field = *given;
            }
            Ok(Value::Boolean(*field))
        })?;
    }
    let own = Arc::clone(settings);
    set(lua, table, "encode_invalid_numbers", move |lua, args| {
        let mut own = own.lock();
        match get(&args, 1) {
            Some(Value::Boolean(true)) => own.encode_invalid = Invalid::Written,
            Some(Value::Boolean(false)) => own.encode_invalid = Invalid::Refused,
            Some(Value::String(word)) if *word.as_bytes() == *b"null" => own.encode_invalid = Invalid::Null,
            _ => {}
        }
        match own.encode_invalid {
            Invalid::Refused => Ok(Value::Boolean(false)),
            Invalid::Written => Ok(Value::Boolean(true)),
            Invalid::Null => string(lua, "null"),
        }
    })?;
    let own = Arc::clone(settings);
    let sparse = lua.create_function(move |lua, args: MultiValue| {
        let name = "encode_sparse_array";
        let ratio = option(lua, &args, 2, name, 0, i64::from(i32::MAX))?;
        let safe = option(lua, &args, 3, name, 0, i64::from(i32::MAX))?;
        let mut own = own.lock();
        if let Some(Value::Boolean(convert)) = get(&args, 1) {
            own.sparse_convert = *convert;
        }
        own.sparse_ratio = ratio.unwrap_or(own.sparse_ratio);
        own.sparse_safe = safe.unwrap_or(own.sparse_safe);
        Ok((own.sparse_convert, own.sparse_ratio, own.sparse_safe))
    })?;
    table.raw_set("encode_sparse_array", sparse)
}

/// An integer within bounds, if one is given.
fn option(
    lua: &Lua,
    args: &MultiValue,
    at: usize,
    name: &str,
    min: i64,
    max: i64,
) -> mlua::Result<Option<i64>> {
    if matches!(get(args, at), None | Some(Value::Nil)) {
        return Ok(None);
    }
    let given = integer(lua, args, at, name)?;
    if (min..=max).contains(&given) {
        return Ok(Some(given));
    }
    Err(bad_argument(lua, at, name, &format!("expected integer between {min} and {max}")))
}

/// A table that is being written.
enum Written {
    Array { table: Table, next: i64, len: i64 },
    Object { pairs: std::vec::IntoIter<(Value, Value)>, is_first: bool },
}

struct Encoder<'a> {
    lua: &'a Lua,
    settings: &'a Settings,
    out: Vec<u8>,
}

fn encode(lua: &Lua, settings: &Settings, value: Value) -> mlua::Result<Vec<u8>> {
    let mut encoder = Encoder { lua, settings, out: Vec::new() };
    let mut open: Vec<Written> = Vec::new();
    let mut value = Some(value);
    loop {
        if let Some(value) = value.take() {
            match value {
                Value::Table(table) => {
                    let depth = open.len() as i64 + 1;
                    if depth > settings.encode_max_depth {
                        return Err(text(lua, format!("Cannot serialise, excessive nesting ({depth})")));
                    }
                    open.push(encoder.open(table)?);
                }
                other => encoder.put(&other)?,
            }
        }
        let Some(top) = open.last_mut() else { return Ok(encoder.out) };
        value = encoder.next_of(top)?;
        if value.is_none() {
            encoder.out.push(if matches!(top, Written::Array { .. }) { b']' } else { b'}' });
            open.pop();
        }
    }
}

impl Encoder<'_> {
    fn refuse(&self, what: &str, why: &str) -> mlua::Error {
        text(self.lua, format!("Cannot serialise {what}: {why}"))
    }

    fn open(&mut self, table: Table) -> mlua::Result<Written> {
        let len = self.array_len(&table)?;
        if len > 0 {
            self.out.push(b'[');
            return Ok(Written::Array { table, next: 1, len });
        }
        self.out.push(b'{');
        let pairs: Vec<(Value, Value)> = table.pairs().collect::<mlua::Result<_>>()?;
        Ok(Written::Object { pairs: pairs.into_iter(), is_first: true })
    }

    /// The next value of a table; `None` at its end.
    fn next_of(&mut self, written: &mut Written) -> mlua::Result<Option<Value>> {
        match written {
            Written::Array { table, next, len } => {
                if next > len {
                    return Ok(None);
                }
                if *next > 1 {
                    self.out.push(b',');
                }
                *next += 1;
                table.raw_get(*next - 1).map(Some)
            }
            Written::Object { pairs, is_first } => {
                let Some((key, value)) = pairs.next() else { return Ok(None) };
                if !std::mem::take(is_first) {
                    self.out.push(b',');
                }
                match &key {
                    Value::String(_) => self.put(&key)?,
                    Value::Integer(_) | Value::Number(_) => {
                        self.out.push(b'"');
                        self.put(&key)?;
                        self.out.push(b'"');
                    }
                    _ => {
                        let what = super::arguments::type_name(Some(&key));
                        return Err(self.refuse(what, "table key must be a number or string"));
                    }
                }
                self.out.push(b':');
                Ok(Some(value))
            }
        }
    }

    /// The length of a table that is an array; 0 if it is none.
    fn array_len(&self, table: &Table) -> mlua::Result<i64> {
        let (mut max, mut count) = (0, 0);
        for pair in table.pairs::<Value, Value>() {
            let key = match pair?.0 {
                Value::Integer(key) if key > 0 => key,
                Value::Number(key) if key > 0.0 && key.fract() == 0.0 => truncated(key),
                _ => return Ok(0),
            };
            max = max.max(key);
            count += 1;
        }
        let Settings { sparse_convert, sparse_ratio, sparse_safe, .. } = *self.settings;
        if sparse_ratio > 0 && max > sparse_ratio.saturating_mul(count) && max > sparse_safe {
            if !sparse_convert {
                return Err(self.refuse("table", "excessively sparse array"));
            }
            return Ok(0);
        }
        Ok(max)
    }

    fn put(&mut self, value: &Value) -> mlua::Result<()> {
        match value {
            Value::Nil => self.out.extend(b"null"),
            value if *value == Value::NULL => self.out.extend(b"null"),
            Value::Boolean(yes) => self.out.extend(if *yes { &b"true"[..] } else { b"false" }),
            Value::Integer(n) => self.put_number(*n as f64)?,
            Value::Number(n) => self.put_number(*n)?,
            Value::String(text) => self.put_string(text),
            other => {
                return Err(self.refuse(super::arguments::type_name(Some(other)), "type not supported"));
            }
        }
        Ok(())
    }

    fn put_number(&mut self, number: f64) -> mlua::Result<()> {
        if !number.is_finite() {
            match self.settings.encode_invalid {
                Invalid::Refused => return Err(self.refuse("number", "must not be NaN or Inf")),
                Invalid::Null => {
                    self.out.extend(b"null");
                    return Ok(());
                }
                Invalid::Written => {}
            }
        }
        self.out.extend(general(number, self.settings.precision).bytes());
        Ok(())
    }

    fn put_string(&mut self, text: &LuaString) {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        self.out.push(b'"');
        for &byte in &*text.as_bytes() {
            match byte {
                b'"' | b'\\' | b'/' => self.out.extend([b'\\', byte]),
                0x08 => self.out.extend(b"\\b"),
                0x0c => self.out.extend(b"\\f"),
                b'\n' => self.out.extend(b"\\n"),
                b'\r' => self.out.extend(b"\\r"),
                b'\t' => self.out.extend(b"\\t"),
                0..=0x1f | 0x7f => {
                    let digits = [HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]];
                    self.out.extend(b"\\u00");
                    self.out.extend(digits);
                }
                _ => self.out.push(byte),
            }
        }
        self.out.push(b'"');
    }
}

/// A piece of JSON, and where it begins.
struct Token {
    kind: Kind,
    at: usize,
}

#[derive(Debug, PartialEq)]
enum Kind {
    ObjectBegin,
    ObjectEnd,
    ArrayBegin,
    ArrayEnd,
    String(Vec<u8>),
    Number(f64),
    Boolean(bool),
    Null,
    Colon,
    Comma,
    End,
    Error(&'static str),
}

impl Kind {
    fn name(&self) -> &'static str {
        match self {
            Kind::ObjectBegin => "T_OBJ_BEGIN",
            Kind::ObjectEnd => "T_OBJ_END",
            Kind::ArrayBegin => "T_ARR_BEGIN",
            Kind::ArrayEnd => "T_ARR_END",
            Kind::String(_) => "T_STRING",
            Kind::Number(_) => "T_NUMBER",
            Kind::Boolean(_) => "T_BOOLEAN",
            Kind::Null => "T_NULL",
            Kind::Colon => "T_COLON",
            Kind::Comma => "T_COMMA",
            Kind::End => "T_END",
            Kind::Error(what) => what,
        }
    }
}

/// A table that is being read.
enum Open {
    Array(Table, i64),
    Object(Table, LuaString),
}

fn decode(lua: &Lua, settings: &Settings, json: &Bytes) -> mlua::Result<Value> {
    if json.len() >= 2 && (json[0] == 0 || json[1] == 0) {
        return Err(text(lua, "JSON parser does not support UTF-16 or UTF-32"));
    }
    let mut scanner = Scanner { json, at: 0, decode_invalid: settings.decode_invalid };
    let fail = |expected: &str, token: &Token| {
        let found = token.kind.name();
        text(lua, format!("Expected {expected} but found {found} at character {}", token.at + 1))
    };
    let key_of = |scanner: &mut Scanner<'_>, token: Token| {
        let Kind::String(key) = &token.kind else { return Err(fail("object key string", &token)) };
        let key = lua.create_string(key)?;
        let colon = scanner.next();
        if colon.kind == Kind::Colon { Ok(key) } else { Err(fail("colon", &colon)) }
    };
    let mut open: Vec<Open> = Vec::new();
    let mut token = scanner.next();
    loop {
        if matches!(token.kind, Kind::ObjectBegin | Kind::ArrayBegin) {
            let depth = open.len() as i64 + 1;
            if depth > settings.decode_max_depth {
                let at = scanner.at;
                return Err(text(
                    lua,
                    format!("Found too many nested data structures ({depth}) at character {at}"),
                ));
            }
        }
        let mut value = match token.kind {
            Kind::String(ref bytes) => string(lua, bytes)?,
            Kind::Number(number) => Value::Number(number),
            Kind::Boolean(yes) => Value::Boolean(yes),
            Kind::Null => Value::NULL,
            Kind::ArrayBegin => {
                let table = lua.create_table()?;
                token = scanner.next();
                if token.kind != Kind::ArrayEnd {
                    open.push(Open::Array(table, 0));
                    continue;
                }
                Value::Table(table)
            }
            Kind::ObjectBegin => {
                let table = lua.create_table()?;
                token = scanner.next();
                if token.kind != Kind::ObjectEnd {
                    let key = key_of(&mut scanner, token)?;
                    open.push(Open::Object(table, key));
                    token = scanner.next();
                    continue;
                }
                Value::Table(table)
            }
            _ => return Err(fail("value", &token)),
        };
        // The value is complete, and maybe what it stands in as well.
        loop {
            let Some(mut top) = open.pop() else {
                token = scanner.next();
                return if token.kind == Kind::End { Ok(value) } else { Err(fail("the end", &token)) };
            };
            token = scanner.next();
            let (is_end, expected) = match &mut top {
                Open::Array(table, len) => {
                    *len += 1;
                    table.raw_set(*len, value)?;
                    (token.kind == Kind::ArrayEnd, "comma or array end")
                }
                Open::Object(table, key) => {
                    table.raw_set(&*key, value)?;
                    (token.kind == Kind::ObjectEnd, "comma or object end")
                }
            };
            if is_end {
                let (Open::Array(table, _) | Open::Object(table, _)) = top;
                value = Value::Table(table);
                continue;
            }
            if token.kind != Kind::Comma {
                return Err(fail(expected, &token));
            }
            token = scanner.next();
            if let Open::Object(_, key) = &mut top {
                *key = key_of(&mut scanner, token)?;
                token = scanner.next();
            }
            open.push(top);
            break;
        }
    }
}

struct Scanner<'a> {
    json: &'a [u8],
    at: usize,
    decode_invalid: bool,
}

impl Scanner<'_> {
    /// The byte at a distance from here; 0 behind the end.
    fn peek(&self, ahead: usize) -> u8 {
        self.json.get(self.at + ahead).copied().unwrap_or(0)
    }

    fn next(&mut self) -> Token {
        while matches!(self.peek(0), b' ' | b'\t' | b'\n' | b'\r') {
            self.at += 1;
        }
        let at = self.at;
        if at >= self.json.len() {
            return Token { kind: Kind::End, at };
        }
        let mut take = |len: usize, kind: Kind| {
            self.at += len;
            Token { kind, at }
        };
        let rest = &self.json[at..];
        match rest[0] {
            b'{' => take(1, Kind::ObjectBegin),
            b'}' => take(1, Kind::ObjectEnd),
            b'[' => take(1, Kind::ArrayBegin),
            b']' => take(1, Kind::ArrayEnd),
            b':' => take(1, Kind::Colon),
            b',' => take(1, Kind::Comma),
            b'"' => self.string(),
            b'-' | b'0'..=b'9' => {
                if !self.decode_invalid && self.is_invalid_number() {
                    return Token { kind: Kind::Error("invalid number"), at };
                }
                self.number()
            }
            _ if rest.starts_with(b"true") => take(4, Kind::Boolean(true)),
            _ if rest.starts_with(b"false") => take(5, Kind::Boolean(false)),
            _ if rest.starts_with(b"null") => take(4, Kind::Null),
            _ if self.decode_invalid && self.is_invalid_number() => self.number(),
            _ => Token { kind: Kind::Error("invalid token"), at },
        }
    }

    /// Whether a number begins here as JSON has none.
    fn is_invalid_number(&self) -> bool {
        if self.peek(0) == b'+' {
            return true;
        }
        let ahead = usize::from(self.peek(0) == b'-');
        match self.peek(ahead) {
            b'0' => matches!(self.peek(ahead + 1), b'x' | b'X' | b'0'..=b'9'),
            0..=b'9' => false,
            _ => {
                let rest = &self.json[(self.at + ahead).min(self.json.len())..];
                rest.get(..3).is_some_and(|word| {
                    word.eq_ignore_ascii_case(b"inf") || word.eq_ignore_ascii_case(b"nan")
                })
            }
        }
    }

    fn number(&mut self) -> Token {
        let at = self.at;
        match number_prefix(&self.json[at..]) {
            Some((number, len)) => {
                self.at += len;
                Token { kind: Kind::Number(number), at }
            }
            None => Token { kind: Kind::Error("invalid number"), at },
        }
    }

    fn string(&mut self) -> Token {
        let (begin, mut out) = (self.at, Vec::new());
        self.at += 1;
        loop {
            let at = self.at;
            let (plain, len) = match self.peek(0) {
                b'"' => {
                    self.at += 1;
                    return Token { kind: Kind::String(out), at: begin };
                }
                0 => return Token { kind: Kind::Error("unexpected end of string"), at },
                b'\\' => match self.peek(1) {
                    b'u' => match self.unicode(&mut out) {
                        Some(len) => {
                            self.at += len;
                            continue;
                        }
                        None => return Token { kind: Kind::Error("invalid unicode escape code"), at },
                    },
                    byte @ (b'"' | b'\\' | b'/') => (byte, 2),
                    b'b' => (0x08, 2),
                    b'f' => (0x0c, 2),
                    b'n' => (b'\n', 2),
                    b'r' => (b'\r', 2),
                    b't' => (b'\t', 2),
                    _ => return Token { kind: Kind::Error("invalid escape code"), at },
                },
                byte => (byte, 1),
            };
            out.push(plain);
            self.at += len;
        }
    }

    /// Reads `\uXXXX`, or two of them that are one character; how many bytes that were.
    fn unicode(&self, out: &mut Vec<u8>) -> Option<usize> {
        let first = self.hex4(2)?;
        let (code, len) = if first & 0xF800 == 0xD800 {
            if first & 0x400 != 0 || self.peek(6) != b'\\' || self.peek(7) != b'u' {
                return None;
            }
            let second = self.hex4(8)?;
            if second & 0xFC00 != 0xDC00 {
                return None;
            }
            (0x1_0000 + ((first & 0x3FF) << 10) + (second & 0x3FF), 12)
        } else {
            (first, 6)
        };
        let character = char::from_u32(code)?;
        out.extend(character.encode_utf8(&mut [0; 4]).bytes());
        Some(len)
    }

    fn hex4(&self, ahead: usize) -> Option<u32> {
        (ahead..ahead + 4)
            .try_fold(0, |code, ahead| Some(code * 16 + char::from(self.peek(ahead)).to_digit(16)?))
    }
}

/// The longest number at the beginning, as C's `strtod` reads it, and its length.
fn number_prefix(text: &[u8]) -> Option<(f64, usize)> {
    let sign = usize::from(matches!(text.first(), Some(b'-' | b'+')));
    let negative = text.first() == Some(&b'-');
    let signed = |number: f64| if negative { -number } else { number };
    let rest = &text[sign..];
    for (word, number) in [("infinity", f64::INFINITY), ("inf", f64::INFINITY), ("nan", f64::NAN)] {
        if rest.get(..word.len()).is_some_and(|given| given.eq_ignore_ascii_case(word.as_bytes())) {
            return Some((signed(number), sign + word.len()));
        }
    }
    let digits = |from: usize| rest[from.min(rest.len())..].iter().take_while(|c| c.is_ascii_digit()).count();
    if rest.len() > 2 && rest[0] == b'0' && rest[1] | 0x20 == b'x' && rest[2].is_ascii_hexdigit() {
        let hex = rest[2..].iter().take_while(|c| c.is_ascii_hexdigit());
        let (number, len) = hex.fold((0.0, 2), |(number, len), &c| {
            (number * 16.0 + f64::from(char::from(c).to_digit(16).unwrap_or(0)), len + 1)
        });
        return Some((signed(number), sign + len));
    }
    let whole = digits(0);
    let mut len = whole;
    if rest.get(len) == Some(&b'.') {
        let fraction = digits(len + 1);
        if whole + fraction > 0 {
            len += 1 + fraction;
        }
    }
    if len == 0 {
        return None;
    }
    let mantissa = len;
    if matches!(rest.get(len), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(rest.get(len + 1), Some(b'-' | b'+')));
        let exponent = digits(len + 1 + sign);
        if exponent > 0 {
            len += 1 + sign + exponent;
        }
    }
    let parse = |len: usize| std::str::from_utf8(&rest[..len]).ok()?.parse::<f64>().ok();
    let number = parse(len).or_else(|| parse(mantissa))?;
    Some((signed(number), sign + len))
}
