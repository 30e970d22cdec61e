//! The arguments of commands that pop several elements from the first of several keys.

use bytes::Bytes;

use super::CommandError;
use super::number::parse_i64;

/// `numkeys key [key …] end [COUNT count]`, as `LMPOP`, `BLMPOP`, `ZMPOP` and `BZMPOP` have it.
pub(super) struct MultiPop<'c, E> {
    pub keys: &'c [Bytes],
    pub end: E,
    pub count: usize,
}

impl<'c, E> MultiPop<'c, E> {
    /// `parse_end` reads from which end to pop. The order of the checks is Valkey's.
    pub fn parse(
        args: &'c [Bytes],
        parse_end: impl FnOnce(&[u8]) -> Result<E, CommandError>,
    ) -> Result<Self, CommandError> {
        let positive = |arg: &[u8]| parse_i64(arg).and_then(|n| usize::try_from(n).ok()).filter(|&n| n > 0);
        let numkeys = positive(&args[0]).ok_or(CommandError::NumkeysNotPositive)?;
        let (keys, rest) = args[1..].split_at_checked(numkeys).ok_or(CommandError::Syntax)?;
        let (end, options) = rest.split_first().ok_or(CommandError::Syntax)?;
        let end = parse_end(end)?;
        let count = match options {
            [] => 1,
            [name, count, rest @ ..] if name.eq_ignore_ascii_case(b"COUNT") => {
                let count = positive(count).ok_or(CommandError::CountNotPositive)?;
                if !rest.is_empty() {
                    return Err(CommandError::Syntax);
                }
                count
            }
            _ => return Err(CommandError::Syntax),
        };
        Ok(MultiPop { keys, end, count })
    }
}
