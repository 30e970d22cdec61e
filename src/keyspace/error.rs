//! Why a command failed, worded as Valkey words it.

/// A failed command. `Display` is the whole error line after the dash, code first.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// The key holds another type.
    #[error("WRONGTYPE Operation against a key holding the wrong kind of value")]
    WrongType,
    /// Not a 64-bit integer.
    #[error("ERR value is not an integer or out of range")]
    NotInteger,
    /// A count outside of what can be answered.
    #[error("ERR value is out of range")]
    OutOfRange,
    /// A count whose magnitude cannot be represented.
    #[error("ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807")]
    CountOutOfRange,
    /// A count that is no number, or negative.
    #[error("ERR value is out of range, must be positive")]
    NotPositive,
    /// A number of keys that is none, or not positive.
    #[error("ERR numkeys should be greater than 0")]
    NumkeysNotPositive,
    /// More keys announced than there are arguments.
    #[error("ERR Number of keys can't be greater than number of args")]
    NumkeysTooLarge,
    /// A sum of scores that is none.
    #[error("ERR resulting score is not a number (NaN)")]
    ScoreNan,
    /// A score that bounds a range and is none.
    #[error("ERR min or max is not a float")]
    BoundNotFloat,
    /// Bytes that do not bound a range.
    #[error("ERR min or max not valid string range item")]
    BoundNotLex,
    /// Contradicting conditions.
    #[error("ERR XX and NX options at the same time are not compatible")]
    XxWithNx,
    /// Contradicting conditions.
    #[error("ERR GT, LT, and/or NX options at the same time are not compatible")]
    GtLtOrNx,
    /// More than one member to increment.
    #[error("ERR INCR option supports a single increment-element pair")]
    IncrOfSeveral,
    /// A weight that is no number.
    #[error("ERR weight value is not a float")]
    WeightNotFloat,
    /// No keys to combine.
    #[error("ERR at least 1 input key is needed for '{0}' command")]
    NoInputKeys(&'static str),
    /// `LIMIT` with a range of ranks.
    #[error("ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX")]
    LimitOfRanks,
    /// `WITHSCORES` with a range of bytes.
    #[error("ERR syntax error, WITHSCORES not supported in combination with BYLEX")]
    ScoresOfLexRange,
    /// `NOSCORES` where there are no scores.
    #[error("ERR NOSCORES option can only be used in ZSCAN")]
    NoScores,
    /// A limit that is no number, or negative.
    #[error("ERR LIMIT can't be negative")]
    LimitNegative,
    /// Not a float.
    #[error("ERR value is not a valid float")]
    NotFloat,
    /// Options that do not parse.
    #[error("ERR syntax error")]
    Syntax,
    /// A deadline that cannot be represented.
    #[error("ERR invalid expire time in '{0}' command")]
    InvalidExpire(&'static str),
    /// Integer overflow.
    #[error("ERR increment or decrement would overflow")]
    Overflow,
    /// `DECRBY` of the smallest integer.
    #[error("ERR decrement would overflow")]
    DecrementOverflow,
    /// Float overflow.
    #[error("ERR increment would produce NaN or Infinity")]
    NanOrInfinity,
    /// A float increment that is not finite.
    #[error("ERR value is NaN or Infinity")]
    IncrementNotFinite,
    /// A field's value is not an integer.
    #[error("ERR hash value is not an integer")]
    HashNotInteger,
    /// A field's value is not a float.
    #[error("ERR hash value is not a float")]
    HashNotFloat,
    /// The source key is absent.
    #[error("ERR no such key")]
    NoSuchKey,
    /// A string would become too long.
    #[error("ERR string exceeds maximum allowed size (proto-max-bulk-len)")]
    StringTooLong,
    /// A negative offset.
    #[error("ERR offset is out of range")]
    OffsetOutOfRange,
    /// An option that `EXPIRE` does not know.
    #[error("ERR Unsupported option {0}")]
    UnsupportedOption(String),
    /// Contradicting conditions.
    #[error("ERR NX and XX, GT or LT options at the same time are not compatible")]
    NxWithOthers,
    /// Contradicting conditions.
    #[error("ERR GT and LT options at the same time are not compatible")]
    GtWithLt,
    /// Not a cursor.
    #[error("ERR invalid cursor")]
    InvalidCursor,
    /// `NOVALUES` where there are no values.
    #[error("ERR NOVALUES option can only be used in HSCAN")]
    NoValues,
    /// A type that does not exist.
    #[error("ERR unknown type name '{0}'")]
    UnknownType(String),
    /// No such database.
    #[error("ERR DB index is out of range")]
    DbOutOfRange,
    /// `SWAPDB` with a first argument that is no number.
    #[error("ERR invalid first DB index")]
    InvalidFirstDb,
    /// `SWAPDB` with a second argument that is no number.
    #[error("ERR invalid second DB index")]
    InvalidSecondDb,
    /// A key moved or copied onto itself.
    #[error("ERR source and destination objects are the same")]
    SameObject,
    /// Too few or too many arguments.
    #[error("ERR wrong number of arguments for '{0}' command")]
    Arity(&'static str),
    /// Not a data command.
    #[error("ERR unknown command '{name}', with args beginning with: {args}")]
    UnknownCommand {
        /// The name.
        name: String,
        /// The first arguments, quoted.
        args: String,
    },
}
