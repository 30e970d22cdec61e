//! What a key holds: one file per type.

mod hash;
mod list;
mod set;
mod zset;

use std::sync::Arc;

use bytes::Bytes;

pub use self::hash::{HASH_COMPACT_MAX_FIELDS, HASH_COMPACT_MAX_ITEM_BYTES, Hash};
pub use self::list::{List, ListEnd};
pub use self::set::{
    SET_COMPACT_MAX_MEMBER_BYTES, SET_COMPACT_MAX_MEMBERS, SET_INTEGERS_MAX_MEMBERS, Set, SetEncoding,
};
pub use self::zset::ZSet;

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
}

macro_rules! collection {
    ($type:ident) => {
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
        }
    };
}

collection!(List);
collection!(Set);
collection!(ZSet);
collection!(Hash);
