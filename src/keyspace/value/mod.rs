//! What a key holds: one file per type.

mod list;
mod packed;
mod set;
mod zset;

use std::sync::Arc;

use bytes::Bytes;

use super::memory::{StringForm, size_class};
use super::number::parse_i64;

pub use self::list::{List, ListEnd};
pub use self::set::{
    SET_COMPACT_MAX_MEMBER_BYTES, SET_COMPACT_MAX_MEMBERS, SET_INTEGERS_MAX_MEMBERS, Set, SetEncoding,
};
pub use self::zset::{
    LexBound, LexRange, ScoreRange, ZSET_COMPACT_MAX_MEMBER_BYTES, ZSET_COMPACT_MAX_MEMBERS, ZSet,
    ZSetEncoding,
};
pub use crate::hash_ttl::{HASH_COMPACT_MAX_FIELDS, HASH_COMPACT_MAX_ITEM_BYTES, Hash};

/// A value. Cloning one is O(1): the contents are shared, and copied when one of the holders changes
/// them.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A string.
    String(Bytes),
    /// A list, never empty.
    List(Arc<List>),
    /// A set, never empty.
    Set(Arc<Set>),
    /// A sorted set, never empty.
    ZSet(Arc<ZSet>),
    /// A hash, never empty.
    Hash(Arc<Hash>),
}

impl Value {
    /// The name `TYPE` answers.
    pub fn type_name(&self) -> &'static str {
        match self {
            Value::String(_) => "string",
            Value::List(_) => "list",
            Value::Set(_) => "set",
            Value::ZSet(_) => "zset",
            Value::Hash(_) => "hash",
        }
    }
}

impl Value {
    /// About how much memory the value takes beside its place in the entry; O(1).
    pub(super) fn heap_bytes(&self) -> usize {
        match self {
            Value::String(bytes) => size_class(bytes.len()),
            Value::List(list) => list.allocated_bytes(),
            Value::Set(set) => set.allocated_bytes(),
            Value::ZSet(zset) => zset.allocated_bytes(),
            Value::Hash(hash) => hash.allocated_bytes(),
        }
    }

    /// The encoding that Valkey would have chosen for what is under `key`, as `OBJECT ENCODING` names it.
    pub(super) fn encoding(&self, key: &[u8], form: StringForm) -> &'static str {
        match self {
            Value::String(bytes) => string_encoding(key.len(), bytes, form),
            Value::List(list) => Collection::encoding(&**list),
            Value::Set(set) => Collection::encoding(&**set),
            Value::ZSet(zset) => Collection::encoding(&**zset),
            Value::Hash(hash) => Collection::encoding(&**hash),
        }
    }
}

/// Valkey keeps a number as a number, and puts a string into one allocation with its key if both are short:
/// together this much, or less by the longer header of a long key. But a string that was changed in place has
/// a buffer of its own.
fn string_encoding(key_len: usize, value: &[u8], form: StringForm) -> &'static str {
    const EMBEDDED_MAX_BYTES: usize = 113;
    const LONG_KEY_MIN_BYTES: usize = 32;
    const LONG_KEY_HEADER_BYTES: usize = 2;
    let header_bytes = if key_len < LONG_KEY_MIN_BYTES { 0 } else { LONG_KEY_HEADER_BYTES };
    let is_short = key_len + value.len() + header_bytes <= EMBEDDED_MAX_BYTES;
    match form {
        StringForm::Stored if parse_i64(value).is_some() => "int",
        StringForm::Stored | StringForm::Text if is_short => "embstr",
        _ => "raw",
    }
}

/// A type of value that is made of elements: created by the first, removed with the last.
pub(super) trait Collection: Clone + Default {
    /// The collection in `value`, if it is of this type.
    fn of(value: &Value) -> Option<&Self>;
    /// The same, to be changed; shared contents are copied first.
    fn of_mut(value: &mut Value) -> Option<&mut Self>;
    /// As a value.
    fn into_value(self) -> Value;
    /// Whether there is no element.
    fn has_no_elements(&self) -> bool;
    /// About how much memory the elements take; O(1).
    fn heap_bytes(&self) -> usize;
    /// The encoding that Valkey would have chosen.
    fn encoding(&self) -> &'static str;

    /// With what is allocated for the collection itself and its two counts of references.
    fn allocated_bytes(&self) -> usize {
        size_class(2 * size_of::<usize>() + size_of::<Self>()) + self.heap_bytes()
    }
}

macro_rules! collection {
    ($type:ident, $heap_bytes:expr, $encoding:expr) => {
        impl Collection for $type {
            fn of(value: &Value) -> Option<&Self> {
                match value {
                    Value::$type(it) => Some(it),
                    _ => None,
                }
            }

            fn of_mut(value: &mut Value) -> Option<&mut Self> {
                match value {
                    Value::$type(it) => Some(Arc::make_mut(it)),
                    _ => None,
                }
            }

            fn into_value(self) -> Value {
                Value::$type(Arc::new(self))
            }

            fn has_no_elements(&self) -> bool {
                self.is_empty()
            }

            fn heap_bytes(&self) -> usize {
                let heap_bytes: fn(&$type) -> usize = $heap_bytes;
                heap_bytes(self)
            }

            fn encoding(&self) -> &'static str {
                let encoding: fn(&$type) -> &'static str = $encoding;
                encoding(self)
            }
        }
    };
}

collection!(List, List::heap_bytes, List::encoding);
collection!(Set, Set::heap_bytes, |set| set.encoding().name());
collection!(ZSet, ZSet::heap_bytes, |zset| zset.encoding().name());
collection!(Hash, Hash::heap_bytes, Hash::encoding);
