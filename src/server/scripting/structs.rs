//! `struct`: values as the bytes of C structures, as the library of this name version 0.2 has it.

use mlua::{Lua, MultiValue, Table, Value};

use super::arguments::{bytes, get, integer, number, set, string, truncated};
use super::raised::{bad_argument, text};

/// The widest integer, in bytes.
const MAX_INTEGER_BYTES: usize = 32;
const MAX_ALIGN: usize = 8;

/// The library.
pub(super) fn library(lua: &Lua) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    set(lua, &table, "pack", |lua, args| string(lua, pack(lua, &args)?))?;
    set(lua, &table, "size", |lua, args| Ok(Value::Integer(size(lua, &args)? as i64)))?;
    table.raw_set("unpack", lua.create_function(|lua, args: MultiValue| unpack(lua, &args))?)?;
    Ok(table)
}

/// A format that is being read.
struct Format<'a> {
    lua: &'a Lua,
    function: &'static str,
    rest: &'a [u8],
    big_endian: bool,
    align: usize,
}

impl<'a> Format<'a> {
    fn new(lua: &'a Lua, function: &'static str, format: &'a [u8]) -> Self {
        // A C string ends at its first zero.
        let rest = format.split(|byte| *byte == 0).next().unwrap_or_default();
        Format { lua, function, rest, big_endian: false, align: 1 }
    }

    fn number_or(&mut self, default: usize) -> mlua::Result<usize> {
        let digits = self.rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (digits, rest) = self.rest.split_at(digits);
        self.rest = rest;
        if digits.is_empty() {
            return Ok(default);
        }
        let number = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse::<i32>().ok());
        let number = number.ok_or_else(|| text(self.lua, "integral size overflow"))?;
        Ok(usize::try_from(number).unwrap_or_default())
    }

    /// The next option, its size in bytes, and how many bytes align it at `at`.
    fn next(&mut self, at: usize) -> mlua::Result<Option<(u8, usize, usize)>> {
        let Some((&option, rest)) = self.rest.split_first() else { return Ok(None) };
        self.rest = rest;
        let size = match option {
            b'b' | b'B' | b'x' => 1,
            b'h' | b'H' => 2,
            b'f' => 4,
            b'd' | b'l' | b'L' | b'T' => 8,
            b'c' => self.number_or(1)?,
            b'i' | b'I' => {
                let size = self.number_or(4)?;
                if size > MAX_INTEGER_BYTES {
                    return Err(text(
                        self.lua,
                        format!("integral size {size} is larger than limit of {MAX_INTEGER_BYTES}"),
                    ));
                }
                size
            }
            _ => 0,
        };
        let padding = if size == 0 || option == b'c' {
            0
        } else {
            let align = size.min(self.align);
            // A power of two, unless the size itself is none: then as the library computes it.
            align.wrapping_sub(at & (align - 1)) & (align - 1)
        };
        Ok(Some((option, size, padding)))
    }

    fn control(&mut self, option: u8) -> mlua::Result<()> {
        match option {
            b' ' => {}
            b'<' => self.big_endian = false,
            b'>' => self.big_endian = true,
            b'!' => {
                let align = self.number_or(MAX_ALIGN)?;
                if align == 0 || !align.is_power_of_two() {
                    return Err(text(self.lua, format!("alignment {align} is not a power of 2")));
                }
                self.align = align;
            }
            other => {
                let why = format!("invalid format option '{}'", char::from(other));
                return Err(bad_argument(self.lua, 1, self.function, &why));
            }
        }
        Ok(())
    }

    fn ordered(&self, mut little_endian: Vec<u8>) -> Vec<u8> {
        if self.big_endian {
            little_endian.reverse();
        }
        little_endian
    }
}

fn pack(lua: &Lua, args: &MultiValue) -> mlua::Result<Vec<u8>> {
    let format = bytes(lua, args, 1, "pack")?;
    let mut format = Format::new(lua, "pack", &format);
    let (mut out, mut at) = (Vec::new(), 1);
    while let Some((option, size, padding)) = format.next(out.len())? {
        out.resize(out.len() + padding, 0);
        match option {
            b'b' | b'B' | b'h' | b'H' | b'l' | b'L' | b'T' | b'i' | b'I' => {
                at += 1;
                let value = number(lua, args, at, "pack")?;
                let value = if value < 0.0 { truncated(value).cast_unsigned() } else { value as u64 };
                let mut bytes = value.to_le_bytes().to_vec();
                bytes.resize(size, 0);
                out.extend(format.ordered(bytes));
            }
            b'x' => out.push(0),
            b'f' => {
                at += 1;
                let value = number(lua, args, at, "pack")? as f32;
                out.extend(format.ordered(value.to_le_bytes().to_vec()));
            }
            b'd' => {
                at += 1;
                let value = number(lua, args, at, "pack")?;
                out.extend(format.ordered(value.to_le_bytes().to_vec()));
            }
            b'c' | b's' => {
                at += 1;
                let value = bytes(lua, args, at, "pack")?;
                let size = if size == 0 { value.len() } else { size };
                let value =
                    value.get(..size).ok_or_else(|| bad_argument(lua, at, "pack", "string too short"))?;
                out.extend_from_slice(value);
                if option == b's' {
                    out.push(0);
                }
            }
            other => format.control(other)?,
        }
    }
    Ok(out)
}

fn size(lua: &Lua, args: &MultiValue) -> mlua::Result<usize> {
    let format = bytes(lua, args, 1, "size")?;
    let mut format = Format::new(lua, "size", &format);
    let mut total = 0;
    while let Some((option, size, padding)) = format.next(total)? {
        if option == b's' || (option == b'c' && size == 0) {
            let name = if option == b's' { "s" } else { "c0" };
            return Err(bad_argument(lua, 1, "size", &format!("option '{name}' has no fixed size")));
        }
        if !option.is_ascii_alphanumeric() {
            format.control(option)?;
        }
        total += padding + size;
    }
    Ok(total)
}

fn unpack(lua: &Lua, args: &MultiValue) -> mlua::Result<MultiValue> {
    let format = bytes(lua, args, 1, "unpack")?;
    let data = bytes(lua, args, 2, "unpack")?;
    let from =
        if matches!(get(args, 3), None | Some(Value::Nil)) { 1 } else { integer(lua, args, 3, "unpack")? };
    let mut at = match usize::try_from(from) {
        Ok(from) if from > 0 => from - 1,
        _ => return Err(bad_argument(lua, 3, "unpack", "offset must be 1 or greater")),
    };
    let mut format = Format::new(lua, "unpack", &format);
    let mut values: Vec<Value> = Vec::new();
    let short = || bad_argument(lua, 2, "unpack", "data string too short");
    while let Some((option, size, padding)) = format.next(at)? {
        at = at.saturating_add(padding);
        let piece = at.checked_add(size).and_then(|end| data.get(at..end)).ok_or_else(short)?;
        let mut taken = size;
        match option {
            b'b' | b'B' | b'h' | b'H' | b'l' | b'L' | b'T' | b'i' | b'I' => {
                let ordered = format.ordered(piece.to_vec());
                values.push(Value::Number(to_number(&ordered, option.is_ascii_lowercase())));
            }
            b'x' => {}
            b'f' | b'd' => {
                let ordered = format.ordered(piece.to_vec());
                let value = match <[u8; 8]>::try_from(&ordered[..]) {
                    Ok(eight) => f64::from_le_bytes(eight),
                    Err(_) => {
                        <[u8; 4]>::try_from(&ordered[..]).map_or(0.0, |four| f32::from_le_bytes(four).into())
                    }
                };
                values.push(Value::Number(value));
            }
            b'c' if size == 0 => {
                let len = match values.pop() {
                    Some(Value::Number(len)) => usize::try_from(truncated(len)).unwrap_or(usize::MAX),
                    _ => return Err(text(lua, "format 'c0' needs a previous size")),
                };
                let piece = at.checked_add(len).and_then(|end| data.get(at..end)).ok_or_else(short)?;
                values.push(string(lua, piece)?);
                taken = len;
            }
            b'c' => values.push(string(lua, piece)?),
            b's' => {
                let rest = &data[at..];
                let len = rest.iter().position(|byte| *byte == 0);
                let len = len.ok_or_else(|| text(lua, "unfinished string in data"))?;
                values.push(string(lua, &rest[..len])?);
                taken = len + 1;
            }
            other => format.control(other)?,
        }
        at += taken;
    }
    values.push(Value::Integer(at as i64 + 1));
    Ok(MultiValue::from_vec(values))
}

/// An integer of any width, little-endian; only its low 64 bits count.
fn to_number(bytes: &[u8], is_signed: bool) -> f64 {
    let low = bytes.iter().take(8).rev().fold(0_u64, |value, byte| value << 8 | u64::from(*byte));
    if !is_signed {
        return low as f64;
    }
    let width = bytes.len().clamp(1, 8) * 8;
    let shift = 64 - width;
    ((low << shift).cast_signed() >> shift) as f64
}
