//! Resynchronisation: who a replication stream belongs to, where a replica may enter it, and how
//! far each replica has come.
//!
//! # Promise
//!
//! A replica that is told to continue receives exactly the byte it asked for next, of the history
//! it asked for; in every other case it is told to take a full copy. No third answer exists, and
//! each refusal says why, with the numbers a person needs to act on.
//!
//! Everything here is pure: no socket, thread or clock ([`SharedHistory`] and [`SharedAcks`] are what threads
//! share of it). Time is a parameter (`now_ms`, milliseconds of any monotonic clock), bytes come in as
//! slices, and what should happen next is a return value. The embedding server owns the input and output.
//!
//! # Parts
//!
//! | file | subject |
//! |---|---|
//! | `replication_id` | [`ReplicationId`]: 40 lower-case hexadecimal digits |
//! | `history` | [`History`], [`SharedHistory`]: the current id, the one before it and where that ended; replaced in one step |
//! | `decide` | [`decide`]: (history, retained range, request) → partial or full, with the reason |
//! | `handshake` | the arguments of `PSYNC` and `REPLCONF`, the snapshot format a replica can read |
//! | `acks` | [`AckTable`]: acknowledged offsets, good replicas, the count for `WAIT` |
//! | `shared_acks` | [`SharedAcks`]: the same for many threads, and those who wait |
//! | `link` | [`Link`]: the life of one replica's connection on the primary, as transitions |
//! | [`replica`] | the other end: a session that follows a primary over any number of connections |
//!
//! # Offsets, and where the ±1 lives
//!
//! An offset is a `u64` count of stream bytes. Byte *k* of the stream (1-based) has offset *k*; a
//! stream of *n* bytes ends at offset *n*. A replica that has applied *n* bytes asks for byte
//! *n + 1*: the number in `PSYNC` is the *first byte wanted*. A buffer's cursor is attached at the
//! number of bytes *already consumed*. So the wanted byte *w* is served by a cursor attached at
//! *w − 1*, and this conversion happens in [`decide`] and nowhere else.
//!
//! # Sources
//!
//! The rules are Valkey's (`masterTryPartialResync`, `replconfCommand`, `refreshGoodReplicasCount`),
//! their wording as a running Valkey 9.1.2 answers.

mod acks;
mod decide;
mod handshake;
mod history;
mod link;
pub mod replica;
mod replication_id;
mod shared_acks;

#[cfg(test)]
mod tests;

pub use acks::{AckEntry, AckTable, ReplicaKey};
pub use decide::{Decision, FullReason, Retained, decide};
pub use handshake::{
    Capabilities, HandshakeError, MAX_ADDRESS_BYTES, PsyncRequest, ReplconfOutcome, ReplicaFacts,
    RequestedId, ServerVersion, SnapshotFormat, SnapshotScope, parse_psync, parse_replconf,
};
pub use history::{History, Previous, SharedHistory};
pub use link::{Framing, IllegalTransition, Link, LinkAction, LinkEvent, LinkState, LinkTimeout};
pub use replication_id::{ParseReplicationIdError, REPLICATION_ID_LEN, ReplicationId};
pub use shared_acks::{Reached, SharedAcks};
