//! Bugs that servers have had, or would have if nobody had thought of them, one switch each.

use super::scenarios::{FAILOVER, FIELDS, KEYS, TRANSACTIONS};
use super::system::Scenario;

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Bug {
    SecondOffsetTooHigh,
    UpperBoundTooHigh,
    LowerBoundTooLow,
    IdNotShifted,
    PreviousIdForgotten,
    OffsetInsideTransaction,
    HalfTransactionApplied,
    ReceivedAcknowledged,
    CopyClaimedEarly,
    StreamLostDuringCopy,
    SelectLostAfterCopy,
    SelectLostAfterResume,
    SetRelative,
    LazyExpirySilent,
    ReclaimSilent,
    ReplicaExpires,
    KeepTtlJudged,
    KeepTtlOverLeftover,
    HSetExRelative,
    HExpireFullList,
    HPersistFullList,
    HDelFullList,
    HIncrByVerbatim,
    HIncrByPlainHSet,
    CopyWithoutFieldDeadlines,
}

/// A bug, where it is found, and whose it was.
#[derive(Debug)]
pub struct Exhibit {
    /// Its name on the command line.
    pub name: &'static str,
    /// The switch.
    pub bug: Bug,
    /// The scenario in which it has to be found.
    pub scenario: &'static Scenario,
    /// What is done wrong, and who did it.
    pub about: &'static str,
}

const fn exhibit(name: &'static str, bug: Bug, scenario: &'static Scenario, about: &'static str) -> Exhibit {
    Exhibit { name, bug, scenario, about }
}

/// All of them.
pub const EXHIBITS: &[Exhibit] = &[
    exhibit(
        "second-offset-too-high",
        Bug::SecondOffsetTooHigh,
        &FAILOVER,
        "the previous history may be continued one command past its end (an off-by-one at second_repl_offset)",
    ),
    exhibit(
        "upper-bound-too-high",
        Bug::UpperBoundTooHigh,
        &FAILOVER,
        "a replica may ask for the command after the next one (the upper bound of the backlog: redis/redis#1271)",
    ),
    exhibit(
        "lower-bound-too-low",
        Bug::LowerBoundTooLow,
        &FAILOVER,
        "a replica may ask for the newest command that was trimmed",
    ),
    exhibit(
        "id-not-shifted",
        Bug::IdNotShifted,
        &FAILOVER,
        "a promoted replica goes on under the old replication ID",
    ),
    exhibit(
        "previous-id-forgotten",
        Bug::PreviousIdForgotten,
        &FAILOVER,
        "a promoted replica forgets the old replication ID: every replica is copied anew (Redis before 4.0)",
    ),
    exhibit(
        "offset-inside-transaction",
        Bug::OffsetInsideTransaction,
        &TRANSACTIONS,
        "the offset moves on inside MULTI: after a broken link the half that came is lost",
    ),
    exhibit(
        "half-transaction-applied",
        Bug::HalfTransactionApplied,
        &TRANSACTIONS,
        "a promotion applies the part of a transaction that has come",
    ),
    exhibit(
        "received-acknowledged",
        Bug::ReceivedAcknowledged,
        &TRANSACTIONS,
        "a replica acknowledges what it has received and not applied: WAIT counts a write that a promotion loses",
    ),
    exhibit(
        "copy-claimed-early",
        Bug::CopyClaimedEarly,
        &FAILOVER,
        "a replica takes over ID and offset when a copy begins: cut off half-way, it continues without it",
    ),
    exhibit(
        "stream-lost-during-copy",
        Bug::StreamLostDuringCopy,
        &FAILOVER,
        "what is written while a copy is on its way is not sent after it",
    ),
    exhibit(
        "select-lost-after-copy",
        Bug::SelectLostAfterCopy,
        &TRANSACTIONS,
        "the stream after a full resync does not name its database",
    ),
    exhibit(
        "select-lost-after-resume",
        Bug::SelectLostAfterResume,
        &TRANSACTIONS,
        "a replica forgets the selected database over a partial resync",
    ),
    exhibit("set-relative", Bug::SetRelative, &KEYS, "SET PX as sent (Redis before 7.0)"),
    exhibit(
        "lazy-expiry-silent",
        Bug::LazyExpirySilent,
        &KEYS,
        "a key that is found dead is deleted, and nobody told",
    ),
    exhibit("reclaim-silent", Bug::ReclaimSilent, &KEYS, "active expiry deletes, and nobody is told"),
    exhibit(
        "replica-expires",
        Bug::ReplicaExpires,
        &KEYS,
        "a replica deletes by its own clock what its primary still has",
    ),
    exhibit(
        "keepttl-judged",
        Bug::KeepTtlJudged,
        &FIELDS,
        "HSETEX KEEPTTL as sent, and the replica judges the field by its clock (Valkey 9.0.0, valkey-io/valkey#3036, case A)",
    ),
    exhibit(
        "keepttl-over-leftover",
        Bug::KeepTtlOverLeftover,
        &FIELDS,
        "HSETEX KEEPTTL as sent over a dead field (Valkey 9.0.0, valkey-io/valkey#3036, case B)",
    ),
    exhibit("hsetex-relative", Bug::HSetExRelative, &FIELDS, "HSETEX PX as sent"),
    exhibit(
        "hexpire-full-list",
        Bug::HExpireFullList,
        &FIELDS,
        "HEXPIRE names dead fields to the replica, which revives them (Valkey 9.1.2, valkey-io/valkey#4732)",
    ),
    exhibit(
        "hpersist-full-list",
        Bug::HPersistFullList,
        &FIELDS,
        "HPERSIST the same (valkey-io/valkey#4732)",
    ),
    exhibit(
        "hdel-full-list",
        Bug::HDelFullList,
        &FIELDS,
        "HDEL names dead fields to the replica, which deletes them and the key (valkey-io/valkey#4732)",
    ),
    exhibit(
        "hincrby-verbatim",
        Bug::HIncrByVerbatim,
        &FIELDS,
        "HINCRBY as sent over a dead field (Valkey 9.0.0, fixed with valkey-io/valkey#3060)",
    ),
    exhibit(
        "hincrby-plain-hset",
        Bug::HIncrByPlainHSet,
        &FIELDS,
        "the result of an increment as HSET, which drops the deadline (Valkey 9.0.0, fixed with valkey-io/valkey#3060)",
    ),
    exhibit(
        "copy-without-field-deadlines",
        Bug::CopyWithoutFieldDeadlines,
        &FIELDS,
        "a full resync drops the deadlines of fields (an older RDB version chosen)",
    ),
];
