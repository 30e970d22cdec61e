//! Snapshots in the RDB format: what a full resync transfers and what `SAVE` leaves on disk.
//!
//! Promise: what [`Writer`] writes, every server of the chosen [`SnapshotFormat`] loads; what the listed
//! servers write, [`Reader`] reads. Any other bytes are a typed error that names a position; a length that a
//! file merely claims allocates nothing. What no [`Value`] can hold is refused, skipped or handed over as it
//! is encoded, as the user chooses.
//!
//! # The format
//!
//! ```text
//! magic and version         "REDIS0010" or "VALKEY080", 9 bytes
//! aux fields                250 key value
//! function libraries        245 source
//! per database              254 number, 251 keys deadlines
//!   per key                 [252 deadline] [248 idle] [249 frequency] type key value
//! end                       255, CRC-64 of everything before it (0 = not computed)
//! ```
//!
//! Numbers in it are *lengths* of 1 to 9 bytes (big-endian, two marker bits); strings are a length and the
//! bytes, or a small integer, or LZF-compressed. **Nothing says where a value ends but its own structure**:
//! who does not know a type can read nothing behind it. The number 22 means a Valkey hash with field
//! deadlines in a `VALKEY` file and an unreleased hash of Redis 7.4 in a `REDIS` file: types are judged by
//! the magic.
//!
//! # What is read and written
//!
//! | type | written | read besides |
//! |---|---|---|
//! | string | raw, integer | LZF |
//! | list | plain | quicklist, quicklist 2, ziplist |
//! | set | plain | intset, listpack |
//! | sorted set | binary scores | text scores, ziplist, listpack |
//! | hash | plain; with field deadlines (Valkey 9.0 and later) | zipmap, ziplist, listpack; Redis 7.4's two with field deadlines |
//! | stream (three forms), module value | raw | raw, or skipped |
//! | module's value of before Redis 4.0.0, Redis 8.6's streams | no | no: [`ReadError::UnsupportedType`] |
//!
//! Besides keys: aux fields, hints of sizes, function libraries, slot imports, and what modules keep beside
//! the keys (raw, or skipped).
//!
//! One value on its own is a *payload*: see [`PayloadWriter`], [`read_payload`] and [`RawValue`].
//!
//! # Two ways through the same bytes
//!
//! * **Typed** (`values`, `compact`): one function for each encoding takes it apart into a [`Value`].
//! * **By structure** (`grammar`, `scan`): a table for each type lists its parts, and a machine of few states
//!   walks through them. It reads lengths alone, may be interrupted at any byte and allocates nothing, so it
//!   serves to skip, to hand over raw, and to tell a [`Decoder`], which is fed bytes as they come, when an
//!   event is complete.
//!
//! **Invariant: both take the same bytes.** Wherever the typed reader reads a value, the scan passes exactly
//! as many bytes; where the scan stops, the typed reader has failed there or before. Neither uses the other,
//! so each checks the other: the unit tests over real snapshots and over every encoding, the fuzz target over
//! any bytes.
//!
//! | user | source | memory |
//! |---|---|---|
//! | [`Reader`] | a [`BufRead`](std::io::BufRead), pulled | one event; none for what is skipped |
//! | [`Decoder`] | pieces, pushed | one event and what was fed behind it |
//!
//! # Sources
//!
//! Facts measured on Valkey 9.1.2 and Redis 7.0.15 (both load what the writer writes, and wrote the files
//! under `tests/fixtures/rdb`; raw streams of both were restored and compared); zipmaps, ziplists and Redis
//! 7.4's hashes by description only.

mod checksum;
mod compact;
mod decoder;
mod error;
mod grammar;
mod lzf;
mod options;
mod payload;
mod raw;
mod reader;
mod scan;
mod source;
mod value_type;
mod values;
mod writer;

#[cfg(test)]
mod tests;

use bytes::Bytes;

pub use crate::resync::SnapshotFormat;
pub use decoder::Decoder;
pub use error::{Fault, ReadError, WriteError};
pub use options::{Handling, Limits, Options};
pub use payload::{
    PAYLOAD_VERSION, Payload, PayloadError, PayloadWriter, payload_has_field_deadlines, read_payload,
};
pub use raw::RawValue;
pub use reader::{Entry, Event, Reader};
pub use value_type::ValueType;
pub use writer::{Header, Kind, ReplicationAux, Writer};

/// Who defined the format of a snapshot that is read, and in which version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileVersion {
    /// `REDISnnnn`.
    Redis(u16),
    /// `VALKEYnnn`.
    Valkey(u16),
}

/// The first version that ends with a checksum.
const FIRST_CHECKED_VERSION: u16 = 5;

impl FileVersion {
    /// Whether a snapshot ends with eight bytes for a checksum.
    fn has_checksum(self) -> bool {
        !matches!(self, FileVersion::Redis(number) if number < FIRST_CHECKED_VERSION)
    }
}

impl From<SnapshotFormat> for FileVersion {
    fn from(format: SnapshotFormat) -> FileVersion {
        match format {
            SnapshotFormat::Redis10 => FileVersion::Redis(10),
            SnapshotFormat::Valkey80 => FileVersion::Valkey(80),
        }
    }
}

/// A field of a hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HashField {
    /// Its name.
    pub field: Bytes,
    /// Its value.
    pub value: Bytes,
    /// When it ceases to exist, in ms since the Unix epoch.
    pub deadline_ms: Option<u64>,
}

/// A value, independent of how it is encoded and of who keeps it.
///
/// Elements have the order of the file. The reader does not look for duplicates among members or fields.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A string.
    String(Bytes),
    /// A list, head first.
    List(Vec<Bytes>),
    /// A set.
    Set(Vec<Bytes>),
    /// A sorted set's members and scores; no score is NaN.
    SortedSet(Vec<(Bytes, f64)>),
    /// A hash.
    Hash(Vec<HashField>),
}

impl Value {
    /// Whether it is a hash of which a field has a deadline: see [`Kind::HashWithDeadlines`].
    pub fn has_field_deadlines(&self) -> bool {
        matches!(self, Value::Hash(fields) if fields.iter().any(|field| field.deadline_ms.is_some()))
    }
}

/// Opcodes and type numbers.
mod code {
    /// In a `VALKEY` file alone.
    pub const SLOT_IMPORT: u8 = 243;
    pub const SLOT_INFO: u8 = 244;
    pub const FUNCTION: u8 = 245;
    pub const MODULE_AUX: u8 = 247;
    pub const IDLE: u8 = 248;
    pub const FREQUENCY: u8 = 249;
    pub const AUX: u8 = 250;
    pub const RESIZE_DB: u8 = 251;
    pub const DEADLINE_MS: u8 = 252;
    pub const DEADLINE_S: u8 = 253;
    pub const SELECT_DB: u8 = 254;
    pub const END: u8 = 255;
    /// Type numbers lie below, opcodes from here on.
    pub const FIRST_OPCODE: u8 = 240;

    pub const STRING: u8 = 0;
    pub const LIST: u8 = 1;
    pub const SET: u8 = 2;
    pub const ZSET_TEXT: u8 = 3;
    pub const HASH: u8 = 4;
    pub const ZSET_BINARY: u8 = 5;
    /// Says nothing of where it ends.
    pub const MODULE_PRE_GA: u8 = 6;
    pub const MODULE: u8 = 7;
    pub const HASH_ZIPMAP: u8 = 9;
    pub const LIST_ZIPLIST: u8 = 10;
    pub const SET_INTSET: u8 = 11;
    pub const ZSET_ZIPLIST: u8 = 12;
    pub const HASH_ZIPLIST: u8 = 13;
    pub const LIST_QUICKLIST: u8 = 14;
    pub const STREAM: u8 = 15;
    pub const HASH_LISTPACK: u8 = 16;
    pub const ZSET_LISTPACK: u8 = 17;
    pub const LIST_QUICKLIST_2: u8 = 18;
    pub const STREAM_2: u8 = 19;
    pub const SET_LISTPACK: u8 = 20;
    pub const STREAM_3: u8 = 21;
    /// In a `VALKEY` file: a hash with field deadlines.
    pub const VALKEY_HASH_DEADLINES: u8 = 22;
    /// In a `REDIS` file: the same, deadlines relative to the earliest.
    pub const REDIS_HASH_DEADLINES: u8 = 24;
    /// In a `REDIS` file: the same as a listpack of triplets.
    pub const REDIS_HASH_LISTPACK_DEADLINES: u8 = 25;
}
