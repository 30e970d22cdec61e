//! Sequences of commands: which connection sends what, in which order.

use std::sync::Arc;

use super::arguments::{Arguments, Payloads};
use super::commands::{Commands, Entry};
use super::stream::is_failing_bitfield;
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

/// A sequence of at least `len` commands, the same for the same seed (but for absolute times, which count
/// from now).
pub fn generate(commands: &Commands, seed: u64, len: usize, payloads: Arc<Payloads>) -> Vec<Step> {
    let mut arguments = Arguments::new(seed, payloads);
    let mut sequence = Sequence::default();
    // A command that would wait answers at once in a transaction.
    let suits = |entry: &Entry, in_transaction| in_transaction || !entry.waits;
    while sequence.steps.len() < len {
        let connection = arguments.below(CONNECTIONS);
        let transaction = arguments.one_in(TRANSACTION);
        if transaction {
            if arguments.one_in(4) {
                sequence.push(connection, argv!["WATCH", arguments.of_kind("key")]);
            }
            // Another connection, or this one, may touch what is watched.
            if arguments.one_in(4) {
                sequence.push(connection, commands.random(&mut arguments, |entry| suits(entry, false)));
            }
            sequence.push(connection, argv!["MULTI"]);
        }
        for _ in 0..=arguments.below(if transaction { 8 } else { 24 }) {
            let argv = loop {
                let argv = commands.random(&mut arguments, |entry| suits(entry, transaction));
                // What was taken at random could not be told from the rest of a transaction, nor which dead
                // keys were met.
                if !transaction || !commands.is_by_chance(&argv) {
                    break argv;
                }
            };
            sequence.push(connection, argv);
        }
        if transaction {
            let end = match arguments.below(12) {
                0 => argv!["DISCARD"],
                1 => argv!["EXEC", "now"],
                _ => argv!["EXEC"],
            };
            sequence.push(connection, end);
            if arguments.one_in(12) {
                sequence.push(connection, argv!["EXEC"]);
            }
        }
    }
    sequence.steps
}

#[derive(Default)]
struct Sequence {
    steps: Vec<Step>,
    /// Who may be watching keys.
    watching: [bool; CONNECTIONS],
}

impl Sequence {
    /// Adds a command, unless it would tell the servers apart in a known way: a `BITFIELD` that only makes
    /// room changes the key, and those who watch it are told here, but not in Valkey.
    fn push(&mut self, connection: usize, argv: Argv) {
        if is_failing_bitfield(&argv) && self.watching.contains(&true) {
            return;
        }
        let is = |name: &str| argv[0].eq_ignore_ascii_case(name.as_bytes());
        if is("WATCH") {
            self.watching[connection] = true;
        } else if is("UNWATCH") || is("EXEC") || is("DISCARD") {
            // Refused ones end no watch.
            self.watching[connection] &= argv.len() > 1;
        }
        self.steps.push(Step { connection, argv });
    }
}
