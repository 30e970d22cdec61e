//! What is explored.

use super::system::{Budget, Scenario, Wanted};

const NOTHING: Budget = Budget { units: 0, ticks: 0, reclaims: 0, cuts: 0, trims: 0, acks: 0, promotions: 0 };

/// Histories: promotions, an old primary that comes back, a chain.
pub const FAILOVER: Scenario = Scenario {
    name: "failover",
    about: "three servers; writes, broken links, a trimmed backlog, a promotion, the old primary coming back, chains",
    clocks: &[0, 0, 0],
    units: &[&[(0, "SET k v")]],
    quick: Budget { units: 2, cuts: 1, trims: 1, promotions: 1, ..NOTHING },
    full: Budget { units: 3, cuts: 1, trims: 1, promotions: 1, ..NOTHING },
    wanted: &[Wanted::Partial, Wanted::Full, Wanted::PartialAcrossHistories, Wanted::CutInCopy],
};

/// What belongs together in the stream, and the database it is for.
pub const TRANSACTIONS: Scenario = Scenario {
    name: "transactions",
    about: "two servers; transactions over two databases, links that break inside them, acknowledgements, a promotion",
    clocks: &[0, 0],
    units: &[&[(1, "SET k v"), (0, "SET k v")], &[(1, "SET k w")]],
    quick: Budget { units: 2, cuts: 1, acks: 1, promotions: 1, ..NOTHING },
    full: Budget { units: 3, cuts: 2, acks: 2, promotions: 2, ..NOTHING },
    wanted: &[
        Wanted::Partial,
        Wanted::PartialAcrossHistories,
        Wanted::Acknowledged,
        Wanted::CutInTransaction,
    ],
};

/// Deadlines of keys.
pub const KEYS: Scenario = Scenario {
    name: "keys",
    about: "two servers whose clocks differ; keys with deadlines, active expiry, a promotion",
    clocks: &[0, 3],
    units: &[&[(0, "SET k v PX 3")], &[(0, "PEXPIRE k 5")], &[(0, "SET k w")]],
    quick: Budget { units: 3, ticks: 2, reclaims: 1, cuts: 1, promotions: 1, ..NOTHING },
    full: Budget { units: 4, ticks: 2, reclaims: 2, cuts: 1, promotions: 1, ..NOTHING },
    wanted: &[Wanted::Partial, Wanted::Full, Wanted::Dead],
};

/// Deadlines of fields.
pub const FIELDS: Scenario = Scenario {
    name: "fields",
    about: "two servers whose clocks differ; fields with deadlines, dead ones under every command, active expiry, a promotion",
    clocks: &[0, 3],
    units: &[
        &[(0, "HSETEX h PX 1 FIELDS 1 f 1")],
        &[(0, "HSETEX h PX 9 FIELDS 1 g 1")],
        &[(0, "HSETEX h KEEPTTL FIELDS 1 f 2")],
        &[(0, "HPEXPIRE h 9 FIELDS 2 f g")],
        &[(0, "HPERSIST h FIELDS 2 f g")],
        &[(0, "HDEL h f g")],
        &[(0, "HINCRBY h f 1")],
    ],
    quick: Budget { units: 3, ticks: 1, reclaims: 1, cuts: 1, promotions: 1, ..NOTHING },
    full: Budget { units: 3, ticks: 3, reclaims: 1, cuts: 1, promotions: 1, ..NOTHING },
    wanted: &[Wanted::Partial, Wanted::Full, Wanted::Dead],
};

/// All of them.
pub const SCENARIOS: &[&Scenario] = &[&FAILOVER, &TRANSACTIONS, &KEYS, &FIELDS];
