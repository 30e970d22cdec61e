//! Numbers on the wire: strict decimal integers in, doubles out.

use bytes::BufMut;

use super::grisu;

/// Whole doubles up to this magnitude (2^62) are printed as integers, digit by digit.
const WHOLE_MAX: f64 = 4_611_686_018_427_387_904.0;

/// Reads a decimal `i64` in its canonical form, the only one Valkey takes: an optional minus, no plus, no
/// leading zero, no `-0`, no blanks, nothing out of range.
///
/// ```
/// # use replcore::resp::parse_integer;
/// assert_eq!(parse_integer(b"-42"), Some(-42));
/// assert_eq!(parse_integer(b"042"), None);
/// ```
pub fn parse_integer(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    match digits {
        [b'0'] if !negative => return Some(0),
        [b'1'..=b'9', ..] => {}
        _ => return None,
    }
    // Accumulated below zero, where i64 reaches one further than above it.
    let below = digits.iter().try_fold(0i64, |value, &digit| {
        if !digit.is_ascii_digit() {
            return None;
        }
        value.checked_mul(10)?.checked_sub(i64::from(digit - b'0'))
    })?;
    if negative { Some(below) } else { below.checked_neg() }
}

/// Appends `value` as Valkey prints it in replies, and in commands it propagates.
///
/// Whole numbers up to 2^62 are integers (`-0` keeps its sign); everything else is about the shortest text
/// that reads back as the same double, plain while that is short (`0.00001`, `123456789012345680000`), with
/// an exponent otherwise (`1e+22`, `1e-7`); then `inf`, `-inf`, `nan`. As in Valkey 9.1.2, digits are found
/// by Grisu2, which is one digit longer than the shortest, or has another last digit than the closest, in
/// about one of a thousand random doubles and one of fifty sums of cents; the value read back is the same.
///
/// ```
/// # use replcore::resp::write_double;
/// let mut out = Vec::new();
/// write_double(0.1 + 0.2, &mut out);
/// assert_eq!(out, b"0.30000000000000004");
/// ```
pub fn write_double(value: f64, out: &mut impl BufMut) {
    if value.is_nan() {
        out.put_slice(b"nan");
    } else if value.is_infinite() {
        out.put_slice(if value < 0.0 { b"-inf" } else { b"inf" });
    } else if value == 0.0 {
        out.put_slice(if value.is_sign_negative() { b"-0" } else { b"0" });
    } else if value.abs() <= WHOLE_MAX && value.trunc() == value {
        out.put_slice(itoa::Buffer::new().format(value as i64).as_bytes());
    } else {
        write_shortest(value, out);
    }
}

/// [`write_double`] for finite, non-zero values that are not small integers.
fn write_shortest(value: f64, out: &mut impl BufMut) {
    let mut digits = [0; grisu::DIGITS_MAX];
    let (count, scale) = grisu::digits(value.abs(), &mut digits);
    if value < 0.0 {
        out.put_u8(b'-');
    }
    place_point(&digits[..count], scale + count as i32 - 1, out);
}

/// Writes `d.ddd × 10^exponent` in the notation Valkey chooses for it.
fn place_point(digits: &[u8], exponent: i32, out: &mut impl BufMut) {
    let count = digits.len() as i32;
    // The value is the digits, read as one integer, times 10^scale.
    let scale = exponent + 1 - count;
    if scale >= 0 && exponent < count + 7 {
        out.put_slice(digits);
        out.put_bytes(b'0', scale as usize);
    } else if scale < 0 && (scale > -7 || exponent.abs() < 4) {
        if exponent >= 0 {
            let (whole, fraction) = digits.split_at(exponent as usize + 1);
            out.put_slice(whole);
            out.put_u8(b'.');
            out.put_slice(fraction);
        } else {
            out.put_slice(b"0.");
            out.put_bytes(b'0', (-exponent - 1) as usize);
            out.put_slice(digits);
        }
    } else {
        out.put_u8(digits[0]);
        if digits.len() > 1 {
            out.put_u8(b'.');
            out.put_slice(&digits[1..]);
        }
        out.put_slice(if exponent < 0 { b"e-" } else { b"e+" });
        out.put_slice(itoa::Buffer::new().format(exponent.unsigned_abs()).as_bytes());
    }
}
