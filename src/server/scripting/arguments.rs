//! Arguments of functions as Lua's own functions take them, errors included.

use bytes::Bytes;
use mlua::{Function, Lua, MultiValue, Table, Value};

use super::raised::bad_argument;

/// A function of the host: all arguments in, one value out.
pub(super) fn function(
    lua: &Lua,
    run: impl Fn(&Lua, MultiValue) -> mlua::Result<Value> + Send + 'static,
) -> mlua::Result<Function> {
    lua.create_function(run)
}

/// Puts such a function into a library.
pub(super) fn set(
    lua: &Lua,
    library: &Table,
    name: &str,
    run: impl Fn(&Lua, MultiValue) -> mlua::Result<Value> + Send + 'static,
) -> mlua::Result<()> {
    library.raw_set(name, function(lua, run)?)
}

/// A string as Lua's value.
pub(super) fn string(lua: &Lua, bytes: impl AsRef<[u8]>) -> mlua::Result<Value> {
    lua.create_string(bytes).map(Value::String)
}

/// The name of a value's type, as Lua says it.
pub(super) fn type_name(value: Option<&Value>) -> &'static str {
    match value {
        None => "no value",
        Some(Value::Integer(_) | Value::Number(_)) => "number",
        Some(Value::LightUserData(_) | Value::Error(_)) => "userdata",
        Some(other) => other.type_name(),
    }
}

/// The argument `at`, counted from 1.
pub(super) fn get(args: &MultiValue, at: usize) -> Option<&Value> {
    args.get(at - 1)
}

fn expected(lua: &Lua, args: &MultiValue, at: usize, function: &str, what: &str) -> mlua::Error {
    bad_argument(lua, at, function, &format!("{what} expected, got {}", type_name(get(args, at))))
}

/// The argument `at` as a number; a string that spells one is one.
pub(super) fn number(lua: &Lua, args: &MultiValue, at: usize, function: &str) -> mlua::Result<f64> {
    let value = match get(args, at) {
        Some(Value::Integer(n)) => Some(*n as f64),
        Some(Value::Number(n)) => Some(*n),
        Some(text @ Value::String(_)) => lua.coerce_number(text.clone())?,
        _ => None,
    };
    value.ok_or_else(|| expected(lua, args, at, function, "number"))
}

/// The argument `at` as an integer: its fraction is cut off.
pub(super) fn integer(lua: &Lua, args: &MultiValue, at: usize, function: &str) -> mlua::Result<i64> {
    number(lua, args, at, function).map(truncated)
}

/// The bytes of the argument `at`, which may be a number.
pub(super) fn bytes(lua: &Lua, args: &MultiValue, at: usize, function: &str) -> mlua::Result<Bytes> {
    let text = match get(args, at) {
        Some(Value::String(text)) => Some(text.clone()),
        Some(number @ (Value::Integer(_) | Value::Number(_))) => lua.coerce_string(number.clone())?,
        _ => None,
    };
    let text = text.ok_or_else(|| expected(lua, args, at, function, "string"))?;
    Ok(Bytes::copy_from_slice(&text.as_bytes()))
}

/// The integer that C makes of a number on the usual machines: what cannot be represented is the least.
pub(super) fn truncated(number: f64) -> i64 {
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    if (-LIMIT..LIMIT).contains(&number) { number as i64 } else { i64::MIN }
}

/// A number as C's `%.{precision}g` prints it.
pub(super) fn general(number: f64, precision: usize) -> String {
    if number.is_nan() {
        return if number.is_sign_negative() { "-nan" } else { "nan" }.to_owned();
    }
    if number.is_infinite() {
        return if number < 0.0 { "-inf" } else { "inf" }.to_owned();
    }
    let precision = precision.max(1);
    let scientific = format!("{number:.*e}", precision - 1);
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let trimmed = |text: &str| -> String {
        if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { text }.to_owned()
    };
    if exponent < -4 || exponent >= i32::try_from(precision).unwrap_or(i32::MAX) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{}e{sign}{:02}", trimmed(mantissa), exponent.unsigned_abs());
    }
    let places = usize::try_from(i32::try_from(precision).unwrap_or(i32::MAX) - 1 - exponent).unwrap_or(0);
    trimmed(&format!("{number:.places$}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_printed_as_c_prints_them() {
        for (number, expected) in [
            (0.1, "0.1"),
            (1e15, "1e+15"),
            (1e13, "10000000000000"),
            (-1.5e-7, "-1.5e-07"),
            (0.0001, "0.0001"),
            (123_456_789_012_345_678.0, "1.2345678901235e+17"),
            (99_999_999_999_999.9, "1e+14"),
            (0.0, "0"),
            (-0.0, "-0"),
            (1e300, "1e+300"),
        ] {
            assert_eq!(general(number, 14), expected);
        }
        assert_eq!(general(1.23456, 3), "1.23");
    }

    #[test]
    fn what_no_integer_can_hold_is_the_least() {
        assert_eq!(truncated(3.9), 3);
        assert_eq!(truncated(-1.5), -1);
        for number in [1e300, -1e300, f64::NAN] {
            assert_eq!(truncated(number), i64::MIN);
        }
    }
}
