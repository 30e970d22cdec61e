//! Hashes without field deadlines.
//!
//! | client | happened | propagated |
//! |---|---|---|
//! | `HSET`, `HMSET` | always, even with the same values | verbatim |
//! | `HSETNX` | set | verbatim |
//! | `HINCRBY` | always | verbatim: integer addition is the same everywhere |
//! | `HINCRBYFLOAT` | always | `HSET k f result` |
//! | `HDEL` | at least one field deleted | verbatim |
//!
//! A hash that becomes empty is deleted by the same command on both sides; nothing is added.

use bytes::Bytes;

use super::{Propagation, Rewritten, identify, word};

/// The propagation of `HINCRBYFLOAT key field increment` that resulted in `result`.
pub fn hincrbyfloat(argv: &[Bytes], result: &Bytes) -> Rewritten {
    identify(argv, &[("hincrbyfloat", 4)], "HINCRBYFLOAT")?;
    Ok(Propagation::Command(vec![word("HSET"), argv[1].clone(), argv[2].clone(), result.clone()]))
}
