//! What the proofs of the replication core say, and how: the part of `cargo prove` that needs no checker.
//!
//! `cargo prove` (this package's program, built with `--cfg replcore_loom`) runs the proofs. What it saw is
//! one value, a [`Report`](report::Report); the table on the terminal, JSON, JUnit, HTML and Markdown are
//! made from it. An execution that broke an invariant is another, a [`Failure`](drawing::Failure); it is
//! drawn with a column for each thread.
//!
//! Both are plain data and text, so they stand here, with what can be asked of the program ([`options`]),
//! where any build compiles and tests them. With the feature `bytes`, so do the byte-level fuzz targets. In
//! the build of the schedule fuzzer (`--cfg replcore_fuzz`) the models do too: it explores them a second
//! time.

#[cfg(feature = "bytes")]
pub mod bytes;
#[cfg(any(replcore_fuzz, all(replcore_loom, crossbeam_loom)))]
pub mod check;
pub mod drawing;
#[cfg(any(replcore_fuzz, all(replcore_loom, crossbeam_loom)))]
pub mod model;
#[cfg(any(replcore_fuzz, all(replcore_loom, crossbeam_loom)))]
pub mod models;
pub mod options;
#[cfg(all(replcore_loom, crossbeam_loom))]
pub mod real_epoch;
pub mod report;
#[cfg(replcore_fuzz)]
pub mod schedules;
pub mod unbounded;
