//! For other people's servers and logs: the judges, strategies and harnesses that this crate is tested with.
//!
//! | module | tests | by |
//! |---|---|---|
//! | [`history`] | a replication log with many threads in it | judging what everybody was told, and when, afterwards |
//! | [`publication`] | | what writers publish, as the shipped buffer and the reference take it |
//!
//! Each finds fault by the name of the invariant that broke, with both sides of it. The names are those of
//! [`buffer`](crate::buffer): I1 gapless, I2 prefix, I3 one order, I4 linearizable, I5 integrity, I7 retention, I10 fence.

pub mod convergence;
pub mod history;
pub mod publication;
