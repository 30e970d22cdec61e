//! The live differential test: random commands to this server and to a real Valkey 9.1.2, in step.
//!
//! Promise: a reply or a piece of the replication stream that differs from Valkey's is found if a random
//! command sequence shows it, and reported as the shortest sequence that does. What may differ is listed: in
//! [`commands`], how each command's reply is compared, and in [`stream`], the exceptions that
//! `replcore::rewrite` documents.
//!
//! | module | job |
//! |---|---|
//! | [`commands`] | the table: every data command with the forms it is sent in and the way its replies are compared |
//! | [`grammar`] | those forms: lines of words |
//! | [`arguments`] | random arguments |
//! | [`sequence`] | sequences: connections, transactions |
//! | [`pair`] | runs a sequence on both servers and finds the first difference |
//! | [`compare`], [`stream`] | when replies and streams are the same |
//! | [`replicas`] | a Valkey and a Redis that replicate from this server and must equal it after each sequence |
//! | [`shrink`] | the shortest sequence that shows a difference |
//! | [`counts`] | how often each command was run and to what effect |
//!
//! Commands that wait are sent in transactions, where they do not; those that do wait are in
//! `live_blocking.rs`.
//!
//! A run is repeated by its seed. Nothing depends on the moment: deadlines are either over before the next
//! command (the run waits until both clocks are past them) or far apart and far away, and active expiry is
//! off.

pub mod arguments;
pub mod commands;
pub mod compare;
pub mod counts;
pub mod grammar;
pub mod pair;
pub mod replicas;
pub mod sequence;
pub mod shrink;
pub mod stream;
