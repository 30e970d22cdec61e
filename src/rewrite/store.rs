//! Commands that compute a value and store it under another key.
//!
//! | client | happened | propagated |
//! |---|---|---|
//! | `SINTERSTORE`, `SUNIONSTORE`, `SDIFFSTORE`, `ZRANGESTORE`, `ZINTERSTORE`, `ZUNIONSTORE`, `ZDIFFSTORE`, `BITOP` | the result is not empty | verbatim |
//! | the same | the result is empty, and the destination was deleted | verbatim |
//! | the same | the result is empty, and there was no destination | nothing |
//!
//! Sorted sets that another server may compute otherwise are in [`zset`](super::zset), `SORT … STORE` is in
//! [`sort`](super::sort), and positions are stored by [`geo`](super::geo).
//!
//! The replica has the same sources, because the primary deletes an expired source, with a command
//! in the stream, before it looks at it; so it computes the same result.

use bytes::Bytes;

use super::{Propagation, Rewritten, identify};

/// What a storing command did to its destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreOutcome {
    /// The result was not empty: it is the destination's value now.
    Stored,
    /// The result was empty, and the destination, which existed, was deleted.
    Deleted,
    /// The result was empty, and there was no destination.
    Unchanged,
}

impl StoreOutcome {
    /// The outcome of a result that was empty or not, for a destination that existed or not.
    pub fn of(result_is_empty: bool, destination_existed: bool) -> Self {
        match (result_is_empty, destination_existed) {
            (false, _) => StoreOutcome::Stored,
            (true, true) => StoreOutcome::Deleted,
            (true, false) => StoreOutcome::Unchanged,
        }
    }

    /// What a command that goes out as the client sent it propagates.
    pub(crate) fn verbatim(self) -> Propagation {
        Propagation::verbatim_if(self != StoreOutcome::Unchanged)
    }
}

/// The propagation of a command that stores the value it computed.
pub fn store(argv: &[Bytes], outcome: StoreOutcome) -> Rewritten {
    const COMMANDS: &[(&str, usize)] = &[
        ("sinterstore", 3),
        ("sunionstore", 3),
        ("sdiffstore", 3),
        ("zrangestore", 5),
        ("zinterstore", 4),
        ("zunionstore", 4),
        ("zdiffstore", 4),
        ("bitop", 4),
    ];
    identify(argv, COMMANDS, "SINTERSTORE … BITOP, the commands that store a result")?;
    Ok(outcome.verbatim())
}
