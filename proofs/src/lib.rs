//! What the proofs' programs, tests and fuzz targets share.

#[cfg(feature = "bytes")]
pub mod bytes;
