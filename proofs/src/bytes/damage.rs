//! Changes to bytes that were well formed.

use arbitrary::{Result, Unstructured};

use super::input::several;

/// A change to some bytes. Places are parts of 65536 of the length, so that they do not move with it.
#[derive(Clone, Copy, Debug, arbitrary::Arbitrary)]
pub enum Edit {
    /// Another byte.
    Set(u16, u8),
    /// A byte that is some more or less.
    Add(u16, i8),
    /// A bit.
    Flip(u16, u8),
    /// One byte more.
    Insert(u16, u8),
    /// Some bytes less.
    Remove(u16, u8),
    /// Some bytes twice.
    Repeat(u16, u8),
}

/// A few changes.
pub fn edits(u: &mut Unstructured<'_>) -> Result<Vec<Edit>> {
    several(u, 4, |u| u.arbitrary())
}

impl Edit {
    /// Makes the change.
    pub fn apply(self, bytes: &mut Vec<u8>) {
        let len = bytes.len();
        if len == 0 {
            return;
        }
        let place = |part: u16| (usize::from(part) * len) >> 16;
        match self {
            Edit::Set(at, byte) => bytes[place(at)] = byte,
            Edit::Add(at, number) => {
                let at = place(at);
                bytes[at] = bytes[at].wrapping_add_signed(number);
            }
            Edit::Flip(at, bit) => bytes[place(at)] ^= 1 << (bit % 8),
            Edit::Insert(at, byte) => bytes.insert(place(at), byte),
            Edit::Remove(at, count) => {
                let at = place(at);
                drop(bytes.drain(at..len.min(at + usize::from(count))));
            }
            Edit::Repeat(at, count) => {
                let at = place(at);
                let piece = bytes[at..len.min(at + usize::from(count))].to_vec();
                drop(bytes.splice(at..at, piece));
            }
        }
    }
}
