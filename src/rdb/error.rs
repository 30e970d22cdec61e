//! What can be wrong with a snapshot.

use std::fmt;
use std::io;

use bytes::Bytes;

use super::ValueType;

/// Why a snapshot cannot be written. Nothing was written by the refused call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// Field deadlines exist in `VALKEY080` and later only.
    #[error("hash field deadlines cannot be written in this RDB version")]
    FieldDeadlinesUnsupported,
    /// The snapshot's version does not have the type of a raw value.
    #[error("a value of type {value_type} cannot be written in this RDB version")]
    TypeUnsupported {
        /// The type.
        value_type: ValueType,
    },
    /// A collection without elements does not exist as a key.
    #[error("an empty collection cannot be written")]
    EmptyCollection,
    /// A score is NaN: no server would load it.
    #[error("a score is not a number")]
    NanScore,
    /// A deadline beyond `i64::MAX` ms.
    #[error("deadline {deadline_ms} ms is out of range")]
    DeadlineOutOfRange {
        /// The deadline.
        deadline_ms: u64,
    },
    /// The collection begun before still misses elements.
    #[error("{missing} elements of the collection are missing")]
    ElementsMissing {
        /// How many.
        missing: u64,
    },
    /// No collection that takes such an element is open.
    #[error("no collection that takes this element is open")]
    UnexpectedElement,
}

/// Why a snapshot cannot be read. Positions count bytes from the magic on: where reading stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The source failed.
    #[error("reading the RDB failed at byte {position}: {source}")]
    Io {
        /// Bytes read so far.
        position: u64,
        /// The failure.
        source: io::Error,
    },
    /// The source ended too early.
    #[error("the RDB ends too early, at byte {position}")]
    Truncated {
        /// Bytes read so far.
        position: u64,
    },
    /// The file starts with no known magic.
    #[error("not an RDB file: it starts with {}", found.escape_ascii())]
    NotRdb {
        /// Its first bytes.
        found: [u8; 9],
    },
    /// A version of the format that this reader does not know.
    #[error("RDB version {} is not supported", found.escape_ascii())]
    UnsupportedVersion {
        /// The magic and version.
        found: [u8; 9],
    },
    /// A value that is to be decoded and that a [`Value`](super::Value) cannot hold; or one of a type that
    /// this reader does not know or that does not belong into a file with this magic, of which it cannot tell
    /// where it ends.
    #[error("RDB value type {value_type}{} at byte {position} is not supported", OfKey(key.as_deref()))]
    UnsupportedType {
        /// Bytes read so far.
        position: u64,
        /// The type.
        value_type: ValueType,
        /// The key, unless the value is one on its own.
        key: Option<Bytes>,
    },
    /// An opcode that this reader does not know.
    #[error("RDB opcode {opcode} at byte {position} is not supported")]
    UnsupportedOpcode {
        /// Bytes read so far.
        position: u64,
        /// The opcode.
        opcode: u8,
    },
    /// The bytes contradict the format.
    #[error("malformed RDB at byte {position}: {fault}")]
    Malformed {
        /// Bytes read so far.
        position: u64,
        /// What is wrong.
        fault: Fault,
    },
    /// A length exceeds one of the [`Limits`](super::Limits).
    #[error("RDB at byte {position} claims a length of {claimed}, the limit is {limit}")]
    LimitExceeded {
        /// Bytes read so far.
        position: u64,
        /// The length claimed.
        claimed: u64,
        /// The limit.
        limit: u64,
    },
    /// The file's checksum is not the checksum of its bytes.
    #[error("RDB checksum is {computed:016x}, the file says {stored:016x}")]
    ChecksumMismatch {
        /// What the file says.
        stored: u64,
        /// What its bytes have.
        computed: u64,
    },
    /// An earlier call failed: there is nothing to continue with.
    #[error("reading the RDB has failed before, at byte {position}")]
    AlreadyFailed {
        /// Bytes read so far.
        position: u64,
    },
}

/// So much of a key is shown.
const SHOWN_KEY_BYTES: usize = 64;

/// Which key it is, in an error's text.
struct OfKey<'k>(Option<&'k [u8]>);

impl fmt::Display for OfKey<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(key) = self.0 else { return Ok(()) };
        let shown = &key[..key.len().min(SHOWN_KEY_BYTES)];
        let rest = if shown.len() < key.len() { "…" } else { "" };
        write!(f, " of key '{}{rest}'", shown.escape_ascii())
    }
}

/// What contradicts the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// A length has unknown marker bits, or is a special string where a number must be.
    #[error("invalid length")]
    Length,
    /// A database number beyond 65535.
    #[error("invalid database number")]
    Database,
    /// Compressed bytes do not unpack to the length claimed.
    #[error("invalid LZF data")]
    Lzf,
    /// A listpack's structure.
    #[error("invalid listpack")]
    Listpack,
    /// A ziplist's structure.
    #[error("invalid ziplist")]
    Ziplist,
    /// A zipmap's structure.
    #[error("invalid zipmap")]
    Zipmap,
    /// An intset's structure.
    #[error("invalid intset")]
    Intset,
    /// The number of elements does not fit their meaning (pairs, triplets).
    #[error("wrong number of elements")]
    ElementCount,
    /// A quicklist's node is neither plain nor packed.
    #[error("invalid quicklist node")]
    QuicklistNode,
    /// A score that is no number.
    #[error("invalid score")]
    Score,
    /// A deadline that is no number or out of range.
    #[error("invalid deadline")]
    Deadline,
    /// A deadline, idle time or frequency that is not followed by a key.
    #[error("key attributes without a key")]
    DanglingAttributes,
    /// A module's data.
    #[error("invalid module data")]
    Module,
}
