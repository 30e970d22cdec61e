//! Why a command failed, worded as Valkey words it.

use crate::hash_ttl::HashFull;
use crate::hash_ttl::arguments::ArgumentError;
use crate::rdb::ValueType;

/// A failed command. `Display` is the whole error line after the dash, code first.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// The key holds another type.
    #[error("WRONGTYPE Operation against a key holding the wrong kind of value")]
    WrongType,
    /// Arguments of a command on deadlines.
    #[error(transparent)]
    Arguments(#[from] ArgumentError),
    /// Not a 64-bit integer.
    #[error("ERR value is not an integer or out of range")]
    NotInteger,
    /// A count outside of what can be answered.
    #[error("ERR value is out of range")]
    OutOfRange,
    /// A number outside of 32 bits.
    #[error("ERR value is out of range, value must between -2147483648 and 2147483647")]
    IntOutOfRange,
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
    /// A count below 1.
    #[error("ERR count should be greater than 0")]
    CountNotPositive,
    /// An option that has to be 0 or more.
    #[error("ERR {0} can't be negative")]
    Negative(&'static str),
    /// `LPOS` from the zeroth match on.
    #[error(
        "ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... or use negative to start from the end of the list"
    )]
    RankZero,
    /// No element at that index.
    #[error("ERR index out of range")]
    IndexOutOfRange,
    /// A timeout that is no number.
    #[error("ERR timeout is not a float or out of range")]
    TimeoutNotFloat,
    /// A timeout that cannot be represented.
    #[error("ERR timeout is out of range")]
    TimeoutOutOfRange,
    /// A timeout below 0.
    #[error("ERR timeout is negative")]
    TimeoutNegative,
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
    /// More fields than a hash can have.
    #[error("ERR {0}")]
    HashFull(#[from] HashFull),
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
    /// A write where the data [follows](super::Reign::Followed) another server.
    #[error("READONLY You can't write against a read only replica.")]
    ReadOnly,
    /// `SWAPDB` with a first argument that is no number.
    #[error("ERR invalid first DB index")]
    InvalidFirstDb,
    /// `SWAPDB` with a second argument that is no number.
    #[error("ERR invalid second DB index")]
    InvalidSecondDb,
    /// A key moved or copied onto itself.
    #[error("ERR source and destination objects are the same")]
    SameObject,
    /// A bit's offset that is no number or beyond the longest string.
    #[error("ERR bit offset is not an integer or out of range")]
    BitOffset,
    /// A bit that is neither 0 nor 1.
    #[error("ERR bit is not an integer or out of range")]
    BitValue,
    /// `BITPOS` of a bit that is neither 0 nor 1.
    #[error("ERR The bit argument must be 1 or 0.")]
    BitArgument,
    /// `BITOP NOT` of more than one key.
    #[error("ERR BITOP NOT must be called with a single source key.")]
    BitOpNot,
    /// A bit field wider than 64 bits, or no type at all.
    #[error(
        "ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is."
    )]
    BitFieldType,
    /// An `OVERFLOW` that is unknown.
    #[error("ERR Invalid OVERFLOW type specified")]
    BitFieldOverflow,
    /// A writing operation in `BITFIELD_RO`.
    #[error("ERR BITFIELD_RO only supports the GET subcommand")]
    BitFieldReadonly,
    /// `LCS` of something else.
    #[error("ERR The specified keys must contain string values")]
    LcsNotStrings,
    /// `LCS` with `LEN` and `IDX`.
    #[error("ERR If you want both the length and indexes, please just use IDX.")]
    LcsLenAndIdx,
    /// `LCS` of strings whose table would be too large.
    #[error("ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len")]
    LcsMemory,
    /// A number of keys that is none.
    #[error("ERR invalid numkeys value or out of range")]
    NumKeys,
    /// `RESTORE` onto a key that exists.
    #[error("BUSYKEY Target key name already exists.")]
    BusyKey,
    /// A payload that is no payload, or of an unknown version.
    #[error("ERR DUMP payload version or checksum are wrong")]
    DumpFooter,
    /// A payload that contradicts its format.
    #[error("ERR Bad data format")]
    DumpFormat,
    /// A payload of a type that is not kept here, or not known.
    #[error("ERR Bad data format: {key} would be of type {value_type}, which is not kept here")]
    RestoreType {
        /// The key, quoted.
        key: String,
        /// What the payload says.
        value_type: ValueType,
    },
    /// A negative time to live.
    #[error("ERR Invalid TTL value, must be >= 0")]
    RestoreTtl,
    /// A negative idle time.
    #[error("ERR Invalid IDLETIME value, must be >= 0")]
    RestoreIdleTime,
    /// A frequency that is no byte.
    #[error("ERR Invalid FREQ value, must be >= 0 and <= 255")]
    RestoreFrequency,
    /// A numeric `SORT` of something else.
    #[error("ERR One or more scores can't be converted into double")]
    SortNotNumbers,
    /// Too few or too many arguments.
    #[error("ERR wrong number of arguments for '{0}' command")]
    Arity(&'static str),
    /// No such subcommand.
    #[error("ERR unknown subcommand '{given}'. Try {container} HELP.")]
    UnknownSubcommand {
        /// What was given.
        given: String,
        /// The command, in upper case.
        container: &'static str,
    },
    /// `OBJECT FREQ` while accesses are not counted.
    #[error(
        "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when switching \
         between policies at runtime LRU and LFU data will take some time to adjust."
    )]
    FrequencyNotTracked,
    /// `OBJECT IDLETIME` while accesses are counted.
    #[error(
        "ERR An LFU maxmemory policy is selected, idle time not tracked. Please note that when switching between \
         policies at runtime LRU and LFU data will take some time to adjust."
    )]
    IdleTimeNotTracked,
    /// Not a data command.
    #[error("ERR unknown command '{name}', with args beginning with: {args}")]
    UnknownCommand {
        /// The name.
        name: String,
        /// The first arguments, quoted.
        args: String,
    },
}
