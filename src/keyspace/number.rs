//! Numbers in arguments and values, as strictly as Valkey reads them.

use bytes::Bytes;

use super::CommandError;
pub(super) use crate::hash_ttl::arguments::TimeForm;

/// A 64-bit integer in its one canonical form: no plus sign, no leading zero, no space, no `-0`.
pub(super) fn parse_i64(bytes: &[u8]) -> Option<i64> {
    let n: i64 = std::str::from_utf8(bytes).ok()?.parse().ok()?;
    (itoa::Buffer::new().format(n).as_bytes() == bytes).then_some(n)
}

/// An integer argument.
pub(super) fn integer(bytes: &[u8]) -> Result<i64, CommandError> {
    parse_i64(bytes).ok_or(CommandError::NotInteger)
}

/// A decimal double argument, or an infinity: not NaN, and neither too large nor, unless it is zero, too
/// small for one.
pub(super) fn parse_double(bytes: &[u8]) -> Option<f64> {
    let value: f64 = std::str::from_utf8(bytes).ok()?.parse().ok()?;
    let significand = || bytes.iter().take_while(|byte| !byte.eq_ignore_ascii_case(&b'e'));
    let lost = if value.is_infinite() {
        bytes.iter().any(u8::is_ascii_digit)
    } else {
        value == 0.0 && significand().any(|byte| (b'1'..=b'9').contains(byte))
    };
    (!lost && !value.is_nan()).then_some(value)
}

/// A decimal integer as a string value.
pub(super) fn decimal(n: i64) -> Bytes {
    Bytes::copy_from_slice(itoa::Buffer::new().format(n).as_bytes())
}

impl TimeForm {
    /// The deadline that `SET`, `SETEX`, `GETEX` … name: the time must be positive.
    pub(super) fn positive_deadline_ms(
        self,
        time: &[u8],
        now_ms: u64,
        command: &'static str,
    ) -> Result<u64, CommandError> {
        let time = integer(time)?;
        let ms = (time > 0).then(|| self.absolute_ms(time, now_ms)).flatten();
        ms.and_then(|ms| u64::try_from(ms).ok()).ok_or(CommandError::InvalidExpire(command))
    }
}
