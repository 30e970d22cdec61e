//! Snapshots in the RDB format: what a full resync transfers and what `SAVE` leaves on disk.
//!
//! Promise: what [`Writer`] writes, every server of the chosen [`SnapshotFormat`] loads; what the listed servers write,
//! [`Reader`] reads, for the types below. Any other bytes are a typed error that names a position; a length
//! that a file merely claims allocates nothing.
//!
//! # The format
//!
//! ```text
//! magic and version         "REDIS0010" or "VALKEY080", 9 bytes
//! aux fields                250 key value
//! per database              254 number, 251 keys deadlines
//!   per key                 [252 deadline] [248 idle] [249 frequency] type key value
//! end                       255, CRC-64 of everything before it (0 = not computed)
//! ```
//!
//! Numbers in it are *lengths* of 1 to 9 bytes (big-endian, two marker bits); strings are a length and the bytes, or a small
//! integer, or LZF-compressed. The number 22 means a Valkey hash with field deadlines in a `VALKEY` file and an unreleased hash of
//! Redis 7.4 in a `REDIS` file: types are judged by the magic.
//!
//! # What is read and written
//!
//! | type | written | read besides |
//! |---|---|---|
//! | string | raw, integer | LZF |
//! | list | plain | quicklist, quicklist 2, ziplist |
//! | set | plain | intset, listpack |
//! | sorted set | binary scores | text scores, ziplist, listpack |
//! | hash | plain; with field deadlines (Valkey 9.0 and later) | ziplist, listpack; Redis 7.4's two with field deadlines |
//! | streams, modules, zipmap | no | no: [`ReadError::UnsupportedType`] |
//!
//! One value on its own is a *payload*: see [`PayloadWriter`] and [`read_payload`].
//!
//! Sources: facts measured on Valkey 9.1.2 and Redis 7.0.15 (both load what the writer writes, and wrote the files under
//! `tests/fixtures/rdb`); Redis 7.4's hashes by description only.

mod checksum;
mod compact;
mod error;
mod lzf;
mod payload;
mod reader;
mod source;
mod values;
mod writer;

#[cfg(test)]
mod tests;

use bytes::Bytes;

pub use crate::resync::SnapshotFormat;
pub use error::{Fault, ReadError, WriteError};
pub use payload::{
    PAYLOAD_VERSION, Payload, PayloadError, PayloadWriter, payload_has_field_deadlines, read_payload,
};
pub use reader::{Entry, Event, Limits, Reader};
pub use writer::{Header, Kind, ReplicationAux, Writer};

/// Who defined the format of a snapshot that is read, and in which version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileVersion {
    /// `REDISnnnn`.
    Redis(u16),
    /// `VALKEYnnn`.
    Valkey(u16),
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
    pub const LIST_ZIPLIST: u8 = 10;
    pub const SET_INTSET: u8 = 11;
    pub const ZSET_ZIPLIST: u8 = 12;
    pub const HASH_ZIPLIST: u8 = 13;
    pub const LIST_QUICKLIST: u8 = 14;
    pub const HASH_LISTPACK: u8 = 16;
    pub const ZSET_LISTPACK: u8 = 17;
    pub const LIST_QUICKLIST_2: u8 = 18;
    pub const SET_LISTPACK: u8 = 20;
    /// In a `VALKEY` file: a hash with field deadlines.
    pub const VALKEY_HASH_DEADLINES: u8 = 22;
    /// In a `REDIS` file: the same, deadlines relative to the earliest.
    pub const REDIS_HASH_DEADLINES: u8 = 24;
    /// In a `REDIS` file: the same as a listpack of triplets.
    pub const REDIS_HASH_LISTPACK_DEADLINES: u8 = 25;
}
