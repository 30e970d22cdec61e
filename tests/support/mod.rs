//! What the live tests stand on: real servers, links that can be cut, clients, and a comparison of whole
//! keyspaces.
//!
//! | module | job |
//! |---|---|
//! | [`peers`] | has Valkey 9.1.2 and Redis 7.0.15 ready, or fails saying what to install |
//! | [`process`] | starts a server on a free loopback port, reads its INFO and its log, ends it with the test |
//! | [`client`] | a blocking connection |
//! | [`link`] | a TCP proxy: cuts at an exact byte, stays closed, counts |
//! | [`wait`] | polls for a condition, with a deadline and with what was seen last |
//! | [`load`] | writers: a random mix of commands over several databases |
//! | [`encodings`] | keys with every encoding that a real server has |
//! | [`keyspace`] | reads everything a server holds and compares |
//! | [`stream`] | a replica that is only a socket: handshake, snapshot, raw stream bytes |
//! | [`feed`] | a primary that is only a socket: any stream for a real replica |
//! | [`stored`] | what a server has stored under a key, what it hides included |
//!
//! A test never sleeps to wait for a server, and is never skipped: what it needs it fetches.
//!
//! `REPLCORE_TEST_PRIMARY=valkey` or `redis` runs the tests against that server as the primary, which shows
//! that the tests ask only what the real ones do. `REPLCORE_TEST_SEED` repeats a run's random choices.

// Every test program uses its part of this.
#![allow(dead_code, unused_imports)]

pub mod client;
pub mod encodings;
pub mod feed;
pub mod keyspace;
pub mod link;
pub mod load;
pub mod peers;
pub mod process;
pub mod stored;
pub mod stream;
pub mod wait;

pub use client::Client;
pub use link::Link;
pub use process::{Launch, Program, Scratch, Server, attach, attach_replicas, wait_caught_up, wait_link_up};
pub use wait::wait_until;

/// Writes a line to standard error past the capture of the test harness, so that the report of a run shows
/// it.
macro_rules! note {
    ($($text:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), "    {}", format_args!($($text)*));
    }};
}
pub(crate) use note;

/// The seed of this run's random choices: `REPLCORE_TEST_SEED`, or the clock.
pub fn seed() -> u64 {
    match std::env::var("REPLCORE_TEST_SEED") {
        Ok(seed) => seed.parse().expect("REPLCORE_TEST_SEED is a number"),
        Err(_) => u64::from(std::time::UNIX_EPOCH.elapsed().expect("the clock is past 1970").subsec_nanos()),
    }
}
