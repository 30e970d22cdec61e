//! Sequences of commands: which connection sends what, in which order.

use std::sync::Arc;

use super::arguments::{Arguments, Payloads};
use super::commands::{Commands, Entry};
use crate::support::client::{Argv, argv};

/// How many connections send commands, to each server. The last one speaks RESP3.
pub const CONNECTIONS: usize = 3;
/// One run of commands of a connection in this many is a transaction.
const TRANSACTION: u32 = 3;

/// One command of a sequence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Which connection sends it.
    pub connection: usize,
    pub argv: Argv,
}

/// A sequence of at least `len` commands, the same for the same seed (but for absolute times, which count from now).
pub fn generate(commands: &Commands, seed: u64, len: usize, payloads: Arc<Payloads>) -> Vec<Step> {
    let mut arguments = Arguments::new(seed, payloads);
    let mut steps = Vec::with_capacity(len + 32);
    // A command that would wait answers at once in a transaction.
    let suits = |entry: &Entry, in_transaction| in_transaction || !entry.waits;
    while steps.len() < len {
        let connection = arguments.below(CONNECTIONS);
        let mut push = |argv| steps.push(Step { connection, argv });
        let transaction = arguments.one_in(TRANSACTION);
        if transaction {
            if arguments.one_in(4) {
                push(argv!["WATCH", arguments.of_kind("key")]);
            }
            // Another connection, or this one, may touch what is watched.
            if arguments.one_in(4) {
                push(commands.random(&mut arguments, |entry| suits(entry, false)));
            }
            push(argv!["MULTI"]);
        }
        for _ in 0..=arguments.below(if transaction { 8 } else { 24 }) {
            let argv = loop {
                let argv = commands.random(&mut arguments, |entry| suits(entry, transaction));
                // What was taken at random could not be told from the rest of a transaction, nor which dead keys were met.
                if !transaction || !commands.is_by_chance(&argv) {
                    break argv;
                }
            };
            push(argv);
        }
        if transaction {
            push(match arguments.below(12) {
                0 => argv!["DISCARD"],
                1 => argv!["EXEC", "now"],
                _ => argv!["EXEC"],
            });
            if arguments.one_in(12) {
                push(argv!["EXEC"]);
            }
        }
    }
    steps
}
