//! Hashes whose fields expire.
//!
//! # Promise
//!
//! * A field may carry a *deadline*, absolute, in milliseconds since the Unix epoch. **Visible means alive**:
//!   a field whose deadline has passed is *dead*, which is absent for every reader, and it stays stored until
//!   something reclaims it.
//! * **Only a primary reclaims**, and judges whether a deadline has passed when it is set. What a replica or
//!   a loader applies is stored as it comes; a replica hides what is dead from its own readers. A [`Moment`]
//!   says who asks, and by which clock.
//! * Whoever changes a hash learns what happened in the form that [`rewrite::hash`](crate::rewrite::hash)
//!   takes, so that what was reclaimed, overwritten or skipped is always known.
//! * Time is a parameter. There is no I/O and no clock here.
//! * **Due means due**: a field is found by the first look after its deadline, to the millisecond. No
//!   bucket's width delays it.
//!
//! # Who may do what with a dead field
//!
//! | who | reads it | overwrites it | deletes it for being dead |
//! |---|---|---|---|
//! | a primary's client | no | yes, as a new field | no: it stays where a command merely names it |
//! | a primary's active expiry | | | yes, and says so in the stream |
//! | a replica's own reader | no | | no |
//! | a replica that applies the stream, a loader | yes: it is a field like any other | yes | no: only by the `HDEL` of its primary |
//!
//! So a replica stores what its primary stores, at every offset and whatever its clock shows. A promotion
//! changes the [`ExpiryPolicy`] and nothing else: what was hidden is reclaimed from then on, in the new
//! history, and what was visible stays.
//!
//! # How due fields are found
//!
//! Two levels of the same index. In a [hash](struct@Hash) a timing wheel sorts the fields that have a
//! deadline; [`Hash::earliest_ms`] is a moment before which nothing in it is due. A server keeps one
//! [`DeadlineIndex`] a shard, of the hashes that have a deadline, by that moment, and moves a hash there when
//! it changes. To reclaim, it asks the index for a hash that is due, has the hash [reclaim](Hash::reclaim)
//! for a bounded number of steps, propagates their names
//! ([`rewrite::hash::reclaim`](crate::rewrite::hash::reclaim)) and puts the hash back by its new moment,
//! behind the others that are due.
//!
//! # Cost
//!
//! Setting, moving and removing a deadline are O(1) amortised, finding `k` due fields is O(k), and no call
//! takes more steps than it was given. Beside its bytes a field with a deadline takes 10 in a hash of up to
//! [`HASH_COMPACT_MAX_FIELDS`] short ones, and 33 to 40 in a larger one.
//!
//! # Parts
//!
//! | part | subject |
//! |---|---|
//! | [`struct@Hash`] | fields, values, deadlines, and which of them are due |
//! | [`DeadlineIndex`] | which of many things is due: the hashes of a shard that have a deadline |
//! | [`Moment`] | what counts as there, for whom |
//! | [`arguments`] | what the commands on fields are told |
//! | [`commands`] | what they do to a hash, and what is to be said about it |
#![forbid(unsafe_code)]

mod arena;
pub mod arguments;
pub mod commands;
mod compact;
mod field;
mod hash;
mod index;
mod table;
mod wheel;

pub use self::field::{Field, Item};
pub use self::hash::{HASH_COMPACT_MAX_FIELDS, HASH_COMPACT_MAX_ITEM_BYTES, HASH_MAX_FIELDS, Hash, HashFull};
pub use self::index::{DeadlineIndex, INDEX_MAX_THINGS, Slot};

/// What happens to a thing whose deadline has passed, by role.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ExpiryPolicy {
    /// A primary. A dead field is absent and stays until it is reclaimed or overwritten; the first access to
    /// a dead key deletes it and propagates the deletion. A deadline that has passed when it is set deletes
    /// at once.
    #[default]
    Reclaim,
    /// A replica's own readers: what is dead is absent for them and stays stored until the primary's deletion
    /// arrives. A deadline that they set is stored, however long past.
    Hide,
    /// Applying a replication stream or loading a snapshot: what is stored is there. Whether it has expired
    /// is for the primary alone to judge.
    Ignore,
}

/// Who asks, and when: what decides whether a deadline has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The role of who asks.
    pub policy: ExpiryPolicy,
    /// Milliseconds since the Unix epoch.
    pub now_ms: u64,
}

impl Moment {
    /// A primary's.
    pub fn primary(now_ms: u64) -> Moment {
        Moment { policy: ExpiryPolicy::Reclaim, now_ms }
    }

    /// A replica's own reader's.
    pub fn reader(now_ms: u64) -> Moment {
        Moment { policy: ExpiryPolicy::Hide, now_ms }
    }

    /// For whom everything that is stored is there.
    pub const STORED: Moment = Moment { policy: ExpiryPolicy::Ignore, now_ms: 0 };

    /// Whether something with this deadline is dead: Valkey's "now is later than the deadline". It lives
    /// through the millisecond of its deadline.
    pub fn hides(&self, deadline_ms: Option<u64>) -> bool {
        self.policy != ExpiryPolicy::Ignore
            && deadline_ms.is_some_and(|deadline_ms| self.now_ms > deadline_ms)
    }

    /// Whether a deadline that a command is about to set has passed already, so that it deletes instead. Only
    /// a primary judges that; Valkey's "the deadline is not later than now".
    pub fn is_past(&self, deadline_ms: u64) -> bool {
        self.policy == ExpiryPolicy::Reclaim && deadline_ms <= self.now_ms
    }
}
