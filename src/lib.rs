//! A formally checked replication core for Redis- and Valkey-compatible servers.
//!
//! Data flows one way:
//!
//! ```text
//! client bytes → resp → keyspace → effects (rewrite) → buffer → cursor → replica's socket
//! ```
//!
//! | module | job |
//! |---|---|
//! | [`buffer`] | one totally ordered byte stream: lock-free append by many threads, zero-copy cursors, backlog, reclamation |
//! | [`rewrite`] | what a command *did*, as the commands to propagate |
//! | [`hash_ttl`] | hashes whose fields expire: visibility, deadlines, reclaim |
//! | [`resync`] | replication IDs, offsets, PSYNC decisions, acknowledgements; a replica's side of the link |
//! | [`resp`] | the wire: parsing commands, encoding replies and commands |
//! | `rdb` | snapshots and `DUMP` payloads, read and written (feature `rdb`, on with `server`) |
//! | `keyspace`, `server` | the embedded default (feature `server`): a sharded store, a runnable primary |
//! | `capi` | the same for servers in C (feature `capi`): `include/replcore.h` |
//! | `testing` | judges, strategies and harnesses for logs and servers of your own (feature `testing`) |
//! | `capi` | the C interface (feature `capi`) |
//! | `hunt` | a search for divergences of any primary and replica (feature `server`) |
//! | [`guide`] | how to drop the core in, operate the server, read the proofs, hunt for divergences, test servers of your own |
//!
//! Nothing lower knows anything higher: `buffer` has never heard of commands (`rewrite::staged` puts them
//! into its frames), and nobody below `server` of sockets or clocks: time is a parameter. Threads meet in
//! `buffer`, in `resync::SharedAcks` and in `keyspace`, nowhere else.

pub mod buffer;
pub mod hash_ttl;
pub mod resp;
pub mod resync;
pub mod rewrite;

#[cfg(all(feature = "capi", unix))]
pub mod capi;
#[cfg(any(doc, doctest))]
pub mod guide;

/// The README's example, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;

#[cfg(feature = "server")]
pub mod hunt;
#[cfg(feature = "server")]
pub mod keyspace;
#[cfg(feature = "rdb")]
pub mod rdb;
#[cfg(feature = "server")]
pub mod server;
#[cfg(feature = "testing")]
pub mod testing;
