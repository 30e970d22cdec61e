//! A bound on what an input may make its reader ask for.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// Runs `work`, which reads `input_bytes`, and checks that the memory it held at once is at most
/// `constant_bytes` and `factor` for each byte of the input. A length that is only claimed is a few bytes,
/// whatever it says.
///
/// # Panics
///
/// If it held more, and if `work` does.
pub fn bounded<T>(input_bytes: usize, constant_bytes: u64, factor: u64, work: impl FnOnce() -> T) -> T {
    let mut result = None;
    // The counters are a stack, which a panic that passes by would leave as it is.
    let measured = allocation_counter::measure(|| result = Some(catch_unwind(AssertUnwindSafe(work))));
    let result = result.expect("the work was done").unwrap_or_else(|panic| resume_unwind(panic));
    let bound = constant_bytes + factor * input_bytes as u64;
    assert!(
        measured.bytes_max <= bound,
        "{input_bytes} bytes of input made {} bytes of memory, the bound is {bound}",
        measured.bytes_max
    );
    result
}
