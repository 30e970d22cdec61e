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

use super::{Propagation, word};

/// The propagation of `HINCRBYFLOAT key field increment` that resulted in `result`.
pub fn hincrbyfloat(key: &Bytes, field: &Bytes, result: &Bytes) -> Propagation {
    Propagation::Command(vec![word("HSET"), key.clone(), field.clone(), result.clone()])
}
