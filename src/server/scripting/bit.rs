//! `bit`: operations on 32-bit integers, as the library BitOp has them.

use mlua::{Lua, MultiValue, Table, Value};

use super::arguments::{function, integer, number, set};

/// The number of BitOp: modulo 2^32, halves to even.
fn bits(value: f64) -> i32 {
    // Adding 2^52 + 2^51 leaves the integer in the low bits of the sum, rounded as the processor rounds.
    ((value + 6_755_399_441_055_744.0).to_bits() as u32).cast_signed()
}

fn arg(lua: &Lua, args: &MultiValue, at: usize, name: &str) -> mlua::Result<i32> {
    number(lua, args, at, name).map(bits)
}

fn fold(lua: &Lua, args: &MultiValue, name: &str, with: fn(i32, i32) -> i32) -> mlua::Result<i32> {
    let mut result = arg(lua, args, 1, name)?;
    for at in 2..=args.len() {
        result = with(result, arg(lua, args, at, name)?);
    }
    Ok(result)
}

fn shift(lua: &Lua, args: &MultiValue, name: &str, with: fn(i32, u32) -> i32) -> mlua::Result<i32> {
    let value = arg(lua, args, 1, name)?;
    Ok(with(value, arg(lua, args, 2, name)?.cast_unsigned() & 31))
}

fn tohex(lua: &Lua, args: &MultiValue) -> mlua::Result<Value> {
    let value = arg(lua, args, 1, "tohex")?.cast_unsigned();
    let digits = if args.len() < 2 { 8 } else { integer(lua, args, 2, "tohex")? };
    let all = if digits < 0 { format!("{value:08X}") } else { format!("{value:08x}") };
    let shown = usize::try_from(digits.unsigned_abs().min(8)).unwrap_or(8);
    lua.create_string(&all.as_bytes()[8 - shown..]).map(Value::String)
}

/// The library.
pub(super) fn library(lua: &Lua) -> mlua::Result<Table> {
    type Op = fn(&Lua, &MultiValue) -> mlua::Result<i32>;
    let table = lua.create_table()?;
    let ops: &[(&str, Op)] = &[
        ("tobit", |lua, args| arg(lua, args, 1, "tobit")),
        ("bnot", |lua, args| Ok(!arg(lua, args, 1, "bnot")?)),
        ("bswap", |lua, args| Ok(arg(lua, args, 1, "bswap")?.swap_bytes())),
        ("band", |lua, args| fold(lua, args, "band", |a, b| a & b)),
        ("bor", |lua, args| fold(lua, args, "bor", |a, b| a | b)),
        ("bxor", |lua, args| fold(lua, args, "bxor", |a, b| a ^ b)),
        ("lshift", |lua, args| shift(lua, args, "lshift", |a, n| a << n)),
        ("rshift", |lua, args| shift(lua, args, "rshift", |a, n| (a.cast_unsigned() >> n).cast_signed())),
        ("arshift", |lua, args| shift(lua, args, "arshift", |a, n| a >> n)),
        ("rol", |lua, args| shift(lua, args, "rol", i32::rotate_left)),
        ("ror", |lua, args| shift(lua, args, "ror", i32::rotate_right)),
    ];
    for &(name, op) in ops {
        set(lua, &table, name, move |lua, args| op(lua, &args).map(|n| Value::Number(f64::from(n))))?;
    }
    table.raw_set("tohex", function(lua, |lua, args| tohex(lua, &args))?)?;
    Ok(table)
}
