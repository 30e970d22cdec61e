//! The numbers by which a snapshot tells what a key holds and how that is encoded.

use std::fmt;

use super::{FileVersion, code};

/// What a key holds, and in which encoding: the byte before the key.
///
/// The number 22 means another thing in a `VALKEY` file than in a `REDIS` file; [`name`](Self::name) is the
/// same for both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ValueType(pub u8);

impl ValueType {
    /// What the command `TYPE` answers for a key of this type; `unknown` for a number that this reader does
    /// not know.
    pub fn name(self) -> &'static str {
        match self.0 {
            code::STRING => "string",
            code::LIST | code::LIST_ZIPLIST | code::LIST_QUICKLIST | code::LIST_QUICKLIST_2 => "list",
            code::SET | code::SET_INTSET | code::SET_LISTPACK => "set",
            code::ZSET_TEXT | code::ZSET_BINARY | code::ZSET_ZIPLIST | code::ZSET_LISTPACK => "zset",
            code::HASH
            | code::HASH_ZIPMAP
            | code::HASH_ZIPLIST
            | code::HASH_LISTPACK
            | code::VALKEY_HASH_DEADLINES
            | code::REDIS_HASH_DEADLINES
            | code::REDIS_HASH_LISTPACK_DEADLINES => "hash",
            code::STREAM | code::STREAM_2 | code::STREAM_3 => "stream",
            code::MODULE_PRE_GA | code::MODULE => "module",
            _ => "unknown",
        }
    }

    /// Whether a [`Value`](super::Value) can hold it, in a file of this version.
    pub fn is_value(self, version: FileVersion) -> bool {
        let valkey = matches!(version, FileVersion::Valkey(_));
        match self.0 {
            code::VALKEY_HASH_DEADLINES => valkey,
            code::REDIS_HASH_DEADLINES | code::REDIS_HASH_LISTPACK_DEADLINES => !valkey,
            _ => !matches!(self.name(), "stream" | "module" | "unknown"),
        }
    }

    /// The first version of the format that has it: what a server has to know to load it. Versions before 6,
    /// in which there were no payloads, count as 6.
    pub(super) fn first_version(self) -> u16 {
        match self.0 {
            code::LIST_QUICKLIST => 7,
            code::ZSET_BINARY | code::MODULE => 8,
            code::STREAM => 9,
            code::HASH_LISTPACK | code::ZSET_LISTPACK | code::LIST_QUICKLIST_2 | code::STREAM_2 => 10,
            code::SET_LISTPACK | code::STREAM_3 => 11,
            code::REDIS_HASH_DEADLINES | code::REDIS_HASH_LISTPACK_DEADLINES => 12,
            code::VALKEY_HASH_DEADLINES => 80,
            _ => 6,
        }
    }
}

impl fmt::Display for ValueType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.0, self.name())
    }
}
