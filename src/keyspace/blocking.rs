//! Commands that wait for a key.

use super::CommandError;
use super::long_double::LongDouble;

/// The timeout of a blocking command, in seconds, as milliseconds; `None` waits for ever.
pub(super) fn timeout_ms(seconds: &[u8], now_ms: u64) -> Result<Option<u64>, CommandError> {
    let seconds = LongDouble::parse(seconds).ok_or(CommandError::TimeoutNotFloat)?;
    let ms = seconds.thousandfold().ok_or(CommandError::TimeoutOutOfRange)?;
    let ms = u64::try_from(ms).map_err(|_| CommandError::TimeoutNegative)?;
    if ms > (i64::MAX as u64).saturating_sub(now_ms) {
        return Err(CommandError::TimeoutOutOfRange);
    }
    Ok((ms > 0).then_some(ms))
}
