//! The exceptions of `rewrite`: where its form is not Valkey's, because Valkey's can diverge.
//!
//! Each is shown twice on the documented sequence. A real Valkey 9.1.2 executes it, and a real replica that
//! got what this Valkey propagates ends in another state. Then the same replica gets what is propagated here,
//! and ends in the primary's state: from the embedded server where it executes the command, which starts it
//! with a snapshot (expired fields included), else from a primary that is only a socket, which sends what
//! `rewrite` says.
//!
//! Where the replica is one that lacks a command, it is a Redis 7.0 or a Valkey 9.0. (Valkey 9.1.2 cannot
//! feed a Redis: what it propagates is recorded and passed on.)
#![cfg(feature = "server")]

mod computed;
mod fields;
mod plain;
mod stage;
mod streams;
#[path = "../support/mod.rs"]
mod support;
