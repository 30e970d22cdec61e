//! Byte-level fuzz targets: whatever bytes arrive, what is promised about them holds.
//!
//! | target | bytes | what has to hold |
//! |---|---|---|
//! | [`resp()`] | a client's commands, a server's replies | one answer however they are cut; what is understood is what was written; limits |
//! | [`rdb()`] | a snapshot | one answer however they are cut; what is loaded can be written and loaded again; limits |
//! | [`dump()`] | a payload of `DUMP` | the same; one answer with the snapshot's reader; no damage goes unnoticed |
//! | [`psync()`] | `PSYNC` and `REPLCONF` | the decision that the rules ask for; what is granted can be read from a buffer |
//! | [`replica()`] | a primary, as its replica hears it | one sequence of events however they are cut; every command once over broken links; limits |
//! | [`stream()`] | a replication stream | every operation once, in its database, whole; offsets are counts of bytes |
//!
//! A target takes any bytes and panics if a property does not hold. It is a plain function, so that a fuzzer,
//! a test and a person with a file can call it alike.
//!
//! # How an input is used
//!
//! The first six bytes steer: which form the rest is in, under which limits, how it is cut, where it is
//! damaged (see [`input`]). The rest is either parsed as it is, or decides what is written: then the target
//! knows what has to be read (`arbitrary` turns bytes into choices). The first way reaches what no writer
//! writes, the second what no chance finds; most targets have a third, which damages what was written.
//!
//! What a target compares with is not the code under test: it is the other way of reading, the inverse, or
//! the rule stated once more in the plainest form.

pub mod compact;
pub mod damage;
pub mod encode;
pub mod input;
pub mod memory;
pub mod seeds;
pub mod snapshot;

mod dump;
mod psync;
mod rdb;
mod replica;
mod replies;
mod resp;
mod stream;

pub use dump::dump;
pub use psync::psync;
pub use rdb::rdb;
pub use replica::replica;
pub use resp::resp;
pub use stream::stream;

/// A target, and what a fuzzer starts with.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name, also in `proofs/fuzz`.
    pub name: &'static str,
    /// Runs it over one input. Panics if a property does not hold.
    pub run: fn(&[u8]),
    /// Inputs of every form, made of real encodings.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// Byte strings that are worth inserting.
    pub dictionary: &'static [&'static [u8]],
}

/// All of them.
pub const TARGETS: [Target; 6] = [
    Target { name: "resp", run: resp, seeds: seeds::resp, dictionary: seeds::RESP_WORDS },
    Target { name: "rdb", run: rdb, seeds: seeds::rdb, dictionary: seeds::RDB_WORDS },
    Target { name: "dump", run: dump, seeds: seeds::dump, dictionary: seeds::RDB_WORDS },
    Target { name: "psync", run: psync, seeds: seeds::psync, dictionary: seeds::PSYNC_WORDS },
    Target { name: "replica", run: replica, seeds: seeds::replica, dictionary: seeds::REPLICA_WORDS },
    Target { name: "stream", run: stream, seeds: seeds::stream, dictionary: seeds::RESP_WORDS },
];
