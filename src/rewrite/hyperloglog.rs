//! HyperLogLogs.
//!
//! | client | happened | propagated |
//! |---|---|---|
//! | `PFADD` | a register changed, or the key was created | verbatim |
//! | `PFMERGE` | always, even when nothing changed | verbatim |
//! | `PFCOUNT` of one key | it wrote down the cardinality that it computed | verbatim |
//! | `PFCOUNT` otherwise | | nothing |
//!
//! The registers depend on the elements alone, and the cardinality on the registers: its arithmetic has only
//! operations that are exact to the last bit on every machine.

use bytes::Bytes;

use super::{Mismatch, Propagation, Rewritten, identify};

/// The propagation of `PFADD key [element …]`; `changed` says whether a register changed or the key was
/// created.
pub fn pfadd(argv: &[Bytes], changed: bool) -> Rewritten {
    identify(argv, &[("pfadd", 2)], "PFADD")?;
    Ok(Propagation::verbatim_if(changed))
}

/// The propagation of `PFMERGE destination [source …]`, which always stores.
pub fn pfmerge(argv: &[Bytes]) -> Rewritten {
    identify(argv, &[("pfmerge", 2)], "PFMERGE")?;
    Ok(Propagation::Verbatim)
}

/// The propagation of `PFCOUNT key [key …]`; `cached` says whether the value's cached cardinality was
/// outdated and was replaced.
pub fn pfcount(argv: &[Bytes], cached: bool) -> Rewritten {
    let command = identify(argv, &[("pfcount", 2)], "PFCOUNT")?;
    if cached && argv.len() > 2 {
        return Err(Mismatch::outcome(command, "a count over several keys writes nothing down"));
    }
    Ok(Propagation::verbatim_if(cached))
}
