//! What is wrong, and the shortest way there that was found.

use std::fmt;
use std::sync::Arc;

use thiserror::Error;

use super::stored::Stored;
use crate::resync::FullReason;

/// The property that a server broke.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Violation {
    /// A server stores something else than what was stored at the same offset where the stream was written.
    #[error(
        "convergence: server {server} stores something else at offset {offset} than was stored there where it was written"
    )]
    Diverged {
        /// The server.
        server: usize,
        /// The end of its stream.
        offset: u64,
        /// What it should store.
        expected: Arc<Stored>,
        /// What it stores.
        stored: Box<Stored>,
    },
    /// What a primary stores changed and its stream did not.
    #[error("silence: server {server} changed what it stores and wrote nothing about it")]
    Silent {
        /// The primary.
        server: usize,
        /// What it stored.
        before: Arc<Stored>,
        /// What it stores.
        stored: Box<Stored>,
    },
    /// A server claims another offset than it has come to, or one within a transaction.
    #[error(
        "acknowledgement: server {server} claims to have everything up to offset {claimed}, and has whole units up to {expected}"
    )]
    Claim {
        /// The server.
        server: usize,
        /// The end of its stream, as it says.
        claimed: u64,
        /// As far as it was given whole units.
        expected: u64,
    },
    /// A server sends other bytes than were written at those offsets.
    #[error("one order: server {server} sends other bytes from offset {from} on than were written there")]
    OtherBytes {
        /// The server.
        server: usize,
        /// Where they begin.
        from: u64,
    },
    /// What a server wrote is no whole command, or no whole transaction.
    #[error("prefix: what server {server} wrote from offset {from} on does not end with a whole unit")]
    Torn {
        /// The server.
        server: usize,
        /// Where it begins.
        from: u64,
    },
    /// A client's transaction can be had in part.
    #[error(
        "prefix: server {server} wrote a transaction from offset {from} on as {pieces} units, without MULTI and EXEC"
    )]
    NotAtomic {
        /// The server.
        server: usize,
        /// Where it begins.
        from: u64,
        /// So many units.
        pieces: usize,
    },
    /// A partial resync was granted to a server that cannot continue there.
    #[error(
        "resync: server {server} grants server {replica} a continuation from {attach_offset} that is not safe: {reason}"
    )]
    PartialUnsafe {
        /// Who granted it.
        server: usize,
        /// Who asked.
        replica: usize,
        /// Where the bytes would begin.
        attach_offset: u64,
        /// Why it is not.
        reason: &'static str,
    },
    /// A partial resync was possible and was refused.
    #[error(
        "resync: server {server} refuses server {replica} a continuation from {offset} that is possible: {reason}"
    )]
    PartialRefused {
        /// Who refused.
        server: usize,
        /// Who asked.
        replica: usize,
        /// What it has.
        offset: u64,
        /// What the refusal says.
        reason: FullReason,
    },
    /// A replica could not apply a command of the stream.
    #[error("stream: server {server} cannot apply '{command}': {error}")]
    Refused {
        /// The replica.
        server: usize,
        /// The command.
        command: String,
        /// What it says.
        error: String,
    },
    /// The code panicked.
    #[error("a server panicked: {message}")]
    Panicked {
        /// With this message.
        message: String,
    },
}

/// A sequence of steps that breaks a property, with what each did.
#[derive(Clone, Debug, Error)]
pub struct Counterexample {
    /// What is broken.
    pub violation: Violation,
    /// The steps, each as a few lines.
    pub steps: Vec<String>,
    /// The servers at the end, a line each.
    pub servers: Vec<String>,
}

impl fmt::Display for Counterexample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "BROKEN  {}", self.violation)?;
        writeln!(f, "  shortest sequence found:")?;
        for (number, step) in self.steps.iter().enumerate() {
            let mut lines = step.lines();
            writeln!(f, "  {:>3}. {}", number + 1, lines.next().unwrap_or_default())?;
            lines.try_for_each(|line| writeln!(f, "         {line}"))?;
        }
        match &self.violation {
            Violation::Diverged { server, expected, stored, .. } => {
                writeln!(f, "  where it was written  {expected}")?;
                writeln!(f, "  server {server}              {stored}")?;
            }
            Violation::Silent { before, stored, .. } => {
                writeln!(f, "  before  {before}")?;
                writeln!(f, "  after   {stored}")?;
            }
            _ => {}
        }
        self.servers.iter().try_for_each(|server| writeln!(f, "  {server}"))
    }
}
