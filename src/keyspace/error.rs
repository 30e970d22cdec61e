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
