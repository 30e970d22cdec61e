//! A field as it is seen from outside.

use std::cmp::Ordering;
use std::ops::Deref;

use bytes::Bytes;

/// A field's name or value where the hash keeps it.
#[derive(Clone, Copy)]
pub struct Item<'a>(Place<'a>);

#[derive(Clone, Copy)]
enum Place<'a> {
    /// Among others.
    Packed(&'a [u8]),
    /// In memory of its own.
    Own(&'a Bytes),
}

impl<'a> Item<'a> {
    pub(crate) fn packed(bytes: &'a [u8]) -> Self {
        Item(Place::Packed(bytes))
    }

    pub(crate) fn own(bytes: &'a Bytes) -> Self {
        Item(Place::Own(bytes))
    }

    /// The bytes in memory that does not depend on the hash: shared with it if they are many, copied if they
    /// are few.
    pub fn to_bytes(self) -> Bytes {
        match self.0 {
            Place::Packed(bytes) => Bytes::copy_from_slice(bytes),
            Place::Own(bytes) => bytes.clone(),
        }
    }
}

impl Deref for Item<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self.0 {
            Place::Packed(bytes) => bytes,
            Place::Own(bytes) => bytes,
        }
    }
}

impl AsRef<[u8]> for Item<'_> {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl PartialEq for Item<'_> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Item<'_> {}

impl PartialOrd for Item<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Item<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        (**self).cmp(&**other)
    }
}

impl std::fmt::Debug for Item<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "b\"{}\"", self.escape_ascii())
    }
}

/// A field that is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// Its name.
    pub name: Item<'a>,
    /// Its value.
    pub value: Item<'a>,
    /// When it ceases to exist, in milliseconds since the Unix epoch.
    pub deadline_ms: Option<u64>,
}
