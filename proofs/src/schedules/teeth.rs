//! Whether the fuzzer bites: faults and weaker orderings, switched on one at a time, have to be found.
//!
//! The list is of those that a random program shows within seconds, of every kind: a missing Release, a
//! missing Acquire, fences against store buffering, memory freed too early, decisions made before a race,
//! wake-ups forgotten, cursors overlooked.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use replcore::buffer::model;

use super::campaign::{Board, Limits, campaign};
use super::generate::Size;
use super::strategy::Mixed;
use crate::model::mutate;

/// What has to be found.
pub const MUTATIONS: &[&str] = &[
    "CELL_PUBLISH=Relaxed",
    "CELL_LOAD=Relaxed",
    "CELL_SETTLE=Relaxed",
    "NEXT_LINK=Relaxed",
    "TRIM_FENCE=AcqRel",
    "ATTACH_FENCE=AcqRel",
    "POOL_PUT=Relaxed",
    "REF_DROP=Relaxed",
    "WAKER_SWAP=Relaxed",
    "FreeAtOnce",
    "TrimUnlooked",
    "StaleStart",
    "StaleFence",
    "StaleContext",
    "ForgetWake",
    "SkipSecondLook",
    "ScanBeforeNext",
    "RetireInOneEra",
    "LeakBlock",
];

/// Time for one of them.
const TIME: Duration = Duration::from_secs(20);

/// How one was found, or not.
#[derive(Debug)]
pub struct Bite {
    /// The mutation.
    pub mutation: &'static str,
    /// Executions it took.
    pub executions: u64,
    /// Time it took.
    pub time: Duration,
    /// What broke; nothing if it was not found.
    pub found: Option<String>,
}

/// Switches each mutation on in turn and looks for it with so many threads of the system.
///
/// # Errors
/// If a mutation does not exist.
pub fn bite(jobs: usize, size: Size, seed: u64, mut tell: impl FnMut(&Bite)) -> Result<Vec<Bite>, String> {
    let mut bites = Vec::new();
    for mutation in MUTATIONS {
        mutate(mutation)?;
        let start = Instant::now();
        let board = Arc::new(Board::default());
        let found = hunt(jobs, size, seed, &board);
        model::restore();
        let bite = Bite { mutation, executions: board.counts().executions, time: start.elapsed(), found };
        tell(&bite);
        bites.push(bite);
    }
    Ok(bites)
}

fn hunt(jobs: usize, size: Size, seed: u64, board: &Arc<Board>) -> Option<String> {
    let limits = Limits { executions: None, duration: Some(TIME) };
    thread::scope(|scope| {
        let hunters: Vec<_> = (0..jobs as u64)
            .map(|job| {
                scope.spawn(move || {
                    let seed = seed.wrapping_add(job);
                    let outcome = campaign(Box::new(Mixed::new(seed)), size, seed, limits, board);
                    let found = outcome.finding.map(|finding| finding.failure.message);
                    if found.is_some() {
                        board.stop();
                    }
                    found
                })
            })
            .collect();
        let found: Vec<_> = hunters.into_iter().filter_map(|hunter| hunter.join().ok().flatten()).collect();
        found.into_iter().next()
    })
}
