//! Partial or full: the decision about one `PSYNC`.
//!
//! ```text
//! 1. the history      id = replid                              (without case)
//!                     or id = replid2 and wanted <= second_offset
//! 2. the bytes        first + 1 <= wanted <= end + 1           (both bounds inclusive)
//! ```
//!
//! `first..=end` are the offsets at which the buffer can attach a cursor: `first` bytes are gone,
//! `first + 1` is the first byte held. `wanted = end + 1` asks for nothing that exists yet: a
//! replica that is up to date. Both rules and both bounds are Valkey's
//! (`backlog.offset <= off <= backlog.offset + histlen`).

use super::{History, PsyncRequest, ReplicationId, RequestedId};

/// What a buffer can still send: a cursor can be attached at every offset of `first..=end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retained {
    /// The smallest attachable offset: bytes before it were trimmed.
    pub first: u64,
    /// The end of the stream.
    pub end: u64,
}

/// The answer to a `PSYNC`.
///
/// There are two and no more: who handles both has handled everything. Whoever drops it leaves a replica
/// waiting, so it is a warning:
///
/// ```compile_fail
/// #![deny(unused_must_use)]
/// # use replcore::resync::{History, PsyncRequest, Retained, decide};
/// fn answer(history: &History, retained: Retained, request: &PsyncRequest) {
///     decide(history, retained, request);
/// }
/// ```
///
/// ```
/// #![deny(unused_must_use)]
/// # use replcore::resync::{Decision, History, PsyncRequest, Retained, decide};
/// fn continues(history: &History, retained: Retained, request: &PsyncRequest) -> bool {
///     matches!(decide(history, retained, request), Decision::Partial { .. })
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "the replica waits for one of the two answers"]
pub enum Decision {
    /// Continue: attach a cursor at this offset and send what it reads.
    Partial {
        /// The bytes the replica already has: the wanted byte minus one.
        attach_offset: u64,
    },
    /// Send a snapshot first.
    Full {
        /// Why the stream cannot be continued.
        reason: FullReason,
    },
}

/// Why a replica has to take a full copy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FullReason {
    /// The replica asked for one (`PSYNC ? -1`, or `SYNC`).
    #[error("the replica asked for a full resync")]
    Requested,
    /// The id is neither the current nor the previous one.
    #[error("the replica's history {requested} is unknown here (ours is {replid})")]
    UnknownHistory {
        /// What it asked for.
        requested: RequestedId,
        /// The current id.
        replid: ReplicationId,
    },
    /// The previous history was left before the byte asked for.
    #[error(
        "the replica wants byte {wanted} of the previous history {replid2}, which is shared only up to {second_offset}"
    )]
    Diverged {
        /// First byte wanted.
        wanted: i64,
        /// The previous id.
        replid2: ReplicationId,
        /// Greatest first byte that could be continued from.
        second_offset: u64,
    },
    /// The byte was trimmed already (or never existed: zero and below).
    #[error("the replica wants byte {wanted}, the backlog begins with byte {first_byte}")]
    BeforeBacklog {
        /// First byte wanted.
        wanted: i64,
        /// First byte held.
        first_byte: u64,
    },
    /// The byte lies beyond the next one to be written: the replica is ahead of this server.
    #[error("the replica wants byte {wanted}, the stream ends with byte {end}")]
    AfterEnd {
        /// First byte wanted.
        wanted: i64,
        /// Last byte written.
        end: u64,
    },
    /// What follows has field deadlines, which the replica cannot hold.
    #[error("the stream may have field deadlines after byte {offset}, which the replica cannot hold")]
    FieldDeadlines {
        /// The bytes the replica already has.
        offset: u64,
    },
}

impl FullReason {
    /// Whether this counts as a failed attempt at a partial resync (`sync_partial_err`): a replica
    /// that asked for a full one did not try.
    pub fn is_failed_attempt(&self) -> bool {
        !matches!(self, FullReason::Requested)
    }
}

/// Decides a `PSYNC`: a pure function of the history, the range the buffer holds, and the request.
///
/// The range may move on before the cursor is attached: an attach that fails afterwards means
/// [`FullReason::BeforeBacklog`]. Where histories change while replicas ask, read the range *before* the
/// history: an end that is read after it may be one of a later history, into which a replica that is ahead
/// must not be continued.
///
/// ```
/// use replcore::resync::{Decision, History, PsyncRequest, ReplicationId, RequestedId, Retained, decide};
/// let history = History::new(ReplicationId::from_random([7; 20]));
/// let retained = Retained { first: 100, end: 200 };
/// let request = PsyncRequest { id: RequestedId::Known(history.replid), wanted: 201, failover: false };
/// assert_eq!(decide(&history, retained, &request), Decision::Partial { attach_offset: 200 });
/// ```
pub fn decide(history: &History, retained: Retained, request: &PsyncRequest) -> Decision {
    match continues_from(history, retained, request) {
        Ok(attach_offset) => Decision::Partial { attach_offset },
        Err(reason) => Decision::Full { reason },
    }
}

fn continues_from(history: &History, retained: Retained, request: &PsyncRequest) -> Result<u64, FullReason> {
    let wanted = request.wanted;
    let id = match &request.id {
        RequestedId::Any => return Err(FullReason::Requested),
        RequestedId::Known(id) => Some(id),
        RequestedId::Malformed(_) => None,
    };
    match (id, history.previous) {
        (Some(id), _) if *id == history.replid => {}
        (Some(id), Some(previous)) if *id == previous.replid => {
            if i128::from(wanted) > i128::from(previous.second_offset) {
                let second_offset = previous.second_offset;
                return Err(FullReason::Diverged { wanted, replid2: previous.replid, second_offset });
            }
        }
        _ => {
            return Err(FullReason::UnknownHistory { requested: request.id.clone(), replid: history.replid });
        }
    }

    // The wanted byte minus one; negative when the request is nonsense, which is before everything.
    let attach = i128::from(wanted) - 1;
    if attach < i128::from(retained.first) {
        return Err(FullReason::BeforeBacklog { wanted, first_byte: retained.first.saturating_add(1) });
    }
    if attach > i128::from(retained.end) {
        return Err(FullReason::AfterEnd { wanted, end: retained.end });
    }
    // first <= attach <= end, and both are u64.
    u64::try_from(attach).map_err(|_| FullReason::AfterEnd { wanted, end: retained.end })
}
