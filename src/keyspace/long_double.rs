//! `INCRBYFLOAT`'s arithmetic: the 80-bit extended precision of x86.
//!
//! Valkey computes float increments in C's `long double` and prints the result with 17 decimals. On
//! x86-64 that type has 64 bits of mantissa, and the printed digits show it: `1000.1` is answered as
//! `1000.09999999999999998`. A primary sends the *result* to its replicas, so they agree with it in
//! any case; but for clients to see the same digits from this server as from Valkey on x86-64, the
//! arithmetic is done in software with the same format and rounding (to nearest, ties to even).
//!
//! Differences: a Valkey built where `long double` is wider or narrower (AArch64: 128 bits, some
//! platforms: 64) prints other last digits than both.

use rustc_apfloat::ieee::X87DoubleExtended;
use rustc_apfloat::{Float, Round, Status};

/// The longest text that is read as a float, in bytes; Valkey's limit.
pub const MAX_TEXT_BYTES: usize = 5 * 1024 - 1;

/// The decimals that a result is rounded to before trailing zeros are dropped.
const DECIMALS: u32 = 17;

/// Exponent bias of the format, plus the 63 fractional bits of its mantissa.
const EXPONENT_OF_LAST_BIT: i32 = 16383 + 63;

/// A finite or infinite 80-bit float.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LongDouble(X87DoubleExtended);

impl LongDouble {
    /// Zero.
    pub const ZERO: LongDouble = LongDouble(X87DoubleExtended::ZERO);

    /// Reads what C's `strtold` reads, all of it: a decimal or hexadecimal float or an infinity,
    /// without surrounding space. `None` also for NaN and for what is too large or too small.
    pub fn parse(text: &[u8]) -> Option<LongDouble> {
        if text.is_empty() || text.len() > MAX_TEXT_BYTES {
            return None;
        }
        let text = std::str::from_utf8(text).ok()?;
        let (negative, magnitude) = match text.as_bytes()[0] {
            b'-' => (true, &text[1..]),
            b'+' => (false, &text[1..]),
            _ => (false, text),
        };
        let value = if ["inf", "infinity"].iter().any(|name| magnitude.eq_ignore_ascii_case(name)) {
            X87DoubleExtended::INFINITY
        } else {
            parse_magnitude(magnitude)?
        };
        Some(LongDouble(if negative { -value } else { value }))
    }

    /// The sum, rounded.
    pub fn plus(self, other: LongDouble) -> LongDouble {
        LongDouble((self.0 + other.0).value)
    }

    /// Whether it is neither infinite nor NaN.
    pub fn is_finite(self) -> bool {
        self.0.is_finite()
    }

    /// A thousandfold, rounded up to an integer; `None` if that is too large. What is too small becomes
    /// the smallest integer, as on x86.
    pub fn thousandfold(self) -> Option<i64> {
        const THOUSAND: u128 = 1000;
        let product = (self.0 * X87DoubleExtended::from_u128(THOUSAND).value).value;
        let rounded = product.to_i128_r(64, Round::TowardPositive, &mut false);
        if rounded.status.contains(Status::INVALID_OP) {
            return product.is_negative().then_some(i64::MIN);
        }
        i64::try_from(rounded.value).ok()
    }

    /// The number in positional notation with at most 17 decimals, as C's `%.17Lf` without trailing
    /// zeros; never `-0`. The number must be finite.
    pub fn to_decimal(self) -> String {
        let bits = self.0.to_bits();
        let mantissa = bits as u64;
        let exponent = ((bits >> 64) & 0x7fff) as i32 - EXPONENT_OF_LAST_BIT;
        let mut text = match u32::try_from(exponent) {
            Ok(shift) => integer_text(mantissa, shift),
            Err(_) => fraction_text(mantissa, exponent.unsigned_abs()),
        };
        if self.0.is_negative() && text != "0" {
            text.insert(0, '-');
        }
        text
    }
}

/// A float without a sign: checks the grammar, then rounds correctly.
fn parse_magnitude(text: &str) -> Option<X87DoubleExtended> {
    let hexadecimal = text.len() > 2 && text.as_bytes()[..2].eq_ignore_ascii_case(b"0x");
    let (digits, marker) = if hexadecimal { (&text[2..], ['p', 'P']) } else { (text, ['e', 'E']) };
    let (significand, exponent) = match digits.split_once(marker) {
        Some((significand, exponent)) => (significand, Some(exponent)),
        None => (digits, None),
    };
    let is_digit = |c: u8| if hexadecimal { c.is_ascii_hexdigit() } else { c.is_ascii_digit() };
    let (whole, fraction) = significand.split_once('.').unwrap_or((significand, ""));
    let has_digits = whole.len() + fraction.len() > 0;
    if !has_digits || !whole.bytes().chain(fraction.bytes()).all(is_digit) {
        return None;
    }
    let exponent = exponent.unwrap_or("0");
    let exponent_digits = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
    if exponent_digits.is_empty() || !exponent_digits.bytes().all(|c| c.is_ascii_digit()) {
        return None;
    }
    // One canonical spelling for the library: digits on both sides of the point.
    let (prefix, marker) = if hexadecimal { ("0x", 'p') } else { ("", 'e') };
    let text = format!("{prefix}0{whole}.{fraction}0{marker}{exponent}");
    let parsed = X87DoubleExtended::from_str_r(&text, Round::NearestTiesToEven).ok()?;
    let lost = parsed.status.contains(Status::OVERFLOW)
        || (parsed.status.contains(Status::UNDERFLOW) && parsed.value.is_zero());
    (!lost).then_some(parsed.value)
}

/// `mantissa / 2^shift` with 17 decimals, correctly rounded.
fn fraction_text(mantissa: u64, shift: u32) -> String {
    let unit = 10u128.pow(DECIMALS);
    // Below 2^64 × 2^57: fits.
    let scaled = u128::from(mantissa) * unit;
    let rounded = if shift >= u128::BITS {
        0
    } else {
        let quotient = scaled >> shift;
        let rest = scaled & ((1 << shift) - 1);
        let half = 1u128 << (shift - 1);
        quotient + u128::from(rest > half || (rest == half && quotient & 1 == 1))
    };
    let text = format!("{}.{:017}", rounded / unit, rounded % unit);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// `mantissa × 2^shift`, exactly.
fn integer_text(mantissa: u64, shift: u32) -> String {
    const LIMB: u64 = 1_000_000_000;
    const STEP: u32 = 32;
    // Limbs in base 10^9, the lowest first.
    let mut limbs = vec![mantissa % LIMB, mantissa / LIMB % LIMB, mantissa / LIMB / LIMB];
    let mut left = shift;
    while left > 0 {
        let step = left.min(STEP);
        let mut carry = 0;
        for limb in &mut limbs {
            // Below 10^9 × 2^32 + 2^32: fits.
            let product = (*limb << step) + carry;
            *limb = product % LIMB;
            carry = product / LIMB;
        }
        while carry > 0 {
            limbs.push(carry % LIMB);
            carry /= LIMB;
        }
        left -= step;
    }
    let text: String = limbs.iter().rev().map(|limb| format!("{limb:09}")).collect();
    let trimmed = text.trim_start_matches('0');
    if trimmed.is_empty() { "0".to_owned() } else { trimmed.to_owned() }
}
