//! Messages.
//!
//! | client | happened | propagated |
//! |---|---|---|
//! | `PUBLISH`, `SPUBLISH` | always, also when nobody has subscribed | verbatim |
//!
//! A message changes no data, but the subscribers of a replica are to receive it where it was published:
//! after the writes before it and, when it was published in an `EXEC` with writes, in one unit with them. It
//! belongs to no database; as in Valkey, a `SELECT` of the publisher's database goes ahead of it all the
//! same.

use bytes::Bytes;

use super::{Propagation, Rewritten, identify};

/// The propagation of `PUBLISH channel message` and `SPUBLISH channel message`.
pub fn publish(argv: &[Bytes]) -> Rewritten {
    identify(argv, &[("publish", 3), ("spublish", 3)], "PUBLISH, SPUBLISH")?;
    Ok(Propagation::Verbatim)
}
