//! Mutations of the shipped code: a weaker ordering in a row of the table, or a fault.

use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};

use replcore::buffer::model;

/// Switches `ROW=Weaker`, or a fault, on for the whole process.
///
/// # Errors
/// If there is none of that name.
pub fn mutate(mutation: &str) -> Result<(), String> {
    let known = match mutation.split_once('=') {
        Some((row, weaker)) => {
            let weaker = match weaker {
                "Relaxed" => Relaxed,
                "Acquire" => Acquire,
                "Release" => Release,
                "AcqRel" => AcqRel,
                _ => return Err(format!("{weaker} is not an ordering to weaken to")),
            };
            model::weaken(row, weaker)
        }
        None => model::inject(mutation),
    };
    if known { Ok(()) } else { Err(format!("there is no ordering or fault named {mutation}")) }
}
