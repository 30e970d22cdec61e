//! What the proofs' programs, tests and fuzz targets share.

#[cfg(replcore_fuzz)]
pub mod schedules;
