//! Waiting for a condition.

use std::thread;
use std::time::{Duration, Instant};

const POLL: Duration = Duration::from_millis(10);

/// Polls until `attempt` is `Ok` and returns it.
///
/// # Panics
///
/// After `within`, with what was waited for and what the last attempt saw instead.
#[track_caller]
pub fn wait_until<T>(what: &str, within: Duration, mut attempt: impl FnMut() -> Result<T, String>) -> T {
    let start = Instant::now();
    loop {
        match attempt() {
            Ok(value) => return value,
            Err(seen) if start.elapsed() > within => {
                panic!("{what}: not within {within:?}; last seen: {seen}")
            }
            Err(_) => thread::sleep(POLL),
        }
    }
}
