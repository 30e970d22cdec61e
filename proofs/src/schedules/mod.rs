//! Schedule fuzzing: random programs on the shipped buffer, under weak memory, judged by the reference.
//!
//! # How
//! A [`program`] says what each thread does with one buffer. Its execution is a sequence of bounded choices
//! (`replcore_checkers::weak`): which thread goes on, and which store a load reads. A [`strategy`] makes
//! them. [`execute`] takes every call and its answer down; [`linearize`] finds one order that explains the
//! publications, and [`judge`] checks all else against it. A [`campaign`](mod@campaign) does so many times; a
//! finding is made small by [`minimise`], drawn by [`show`] and saved in a [file](mod@file).
//!
//! [`cross`] runs the models of `cargo prove` in place of random programs, each whole: they are proofs of
//! loom's, and this is a second explorer.
//!
//! [`litmus`] shows first that the memory model is right, and [`teeth`] that faults are found.

pub mod campaign;
pub mod command;
pub mod cross;
pub mod execute;
pub mod file;
pub mod generate;
pub mod judge;
pub mod linearize;
pub mod litmus;
pub mod minimise;
pub mod program;
pub mod show;
pub mod strategy;
pub mod teeth;

use std::sync::{Arc, Once};

use self::campaign::{Board, Limits, campaign};
use self::generate::Size;
use self::strategy::{Bytes, decode};

/// Size of the programs of a byte-level fuzzer.
const BYTES_SIZE: Size = Size { threads: 4, operations: 40 };

/// Runs the one execution that `bytes` describe, operations first, then choices.
///
/// # Panics
/// If it breaks, with the finding as a person would draw it; and if the memory model is not right.
pub fn run_bytes(bytes: &[u8]) {
    static TESTED: Once = Once::new();
    TESTED.call_once(|| {
        let wrong = litmus::self_test().into_iter().find(|shown| !shown.is_right());
        assert!(wrong.is_none(), "the memory model is wrong: {wrong:?}");
    });
    let (program, choices) = decode(bytes, BYTES_SIZE);
    let strategy = Box::new(Bytes::new(Arc::new(program), choices));
    let outcome = campaign(strategy, BYTES_SIZE, 0, Limits::default(), &Arc::new(Board::default()));
    if let Some(finding) = outcome.finding {
        panic!("{}", show::show(&finding, None, 150, false));
    }
}
