//! Schedule fuzzing.
pub mod litmus;
pub mod program;
pub mod strategy;
