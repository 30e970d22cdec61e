//! Guides: how to use, run and question all of this. They exist in the documentation only.

#[doc = include_str!("drop_in.md")]
pub mod drop_in {}
#[doc = include_str!("operate.md")]
pub mod operate {}
#[doc = include_str!("proofs.md")]
pub mod proofs {}
#[doc = include_str!("streams.md")]
pub mod streams {}
#[doc = include_str!("hunt.md")]
pub mod hunt {}
#[doc = include_str!("testing.md")]
pub mod testing {}
