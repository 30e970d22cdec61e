//! For other people's servers and logs: the judges, strategies and harnesses that this crate is tested with.
//!
//! | module | tests | by |
//! |---|---|---|
//! | [`history`] | a log with many threads in it | judging what everybody was told, and when, afterwards |
//! | [`buffer`] | a log in one thread | random operations on it and on the reference |
//! | [`convergence`] | a server and its replicas | random commands, clocks, links and failovers, against what was really written |
//! | [`publication`] | | what writers publish, as the shipped buffer and the reference take it |
//!
//! Each finds fault by the name of the property that broke, with both sides of it and the shortest way there.
//! The names are those of the crate's [`buffer`](crate::buffer): I1 gapless, I2 prefix, I3 one order, I4
//! linearizable, I5 integrity, I7 retention, I10 fence; and those of [`convergence`].
//!
//! The feature `testing` is for tests: it brings `proptest` along.
//!
//! ```toml
//! [dev-dependencies]
//! replcore = { version = "0.1", features = ["testing"] }
//! ```

pub mod buffer;
pub mod convergence;
pub mod history;
pub mod publication;
