//! Counts what a thread does with the shim's atomics, for proofs of how little that is.
//!
//! Counted are the accesses that the code under test wrote: not those of shadow words, of the collector, of
//! locks and reference counts. An access of an [`ArcSwap`](crate::sync::ArcSwap) is one read-modify-write,
//! for that is how an explorer sees it. What is kept here stands in plain memory, which loom does not see, so
//! an execution that is counted is the one that was not.

use std::cell::RefCell;

use loom::thread::ThreadId;

/// What a thread did since it began to count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Accesses {
    /// Loads.
    pub loads: usize,
    /// Plain stores.
    pub stores: usize,
    /// Read-modify-writes, and compare-exchanges that were done.
    pub exchanges: usize,
    /// Compare-exchanges that found another value, and stored nothing.
    pub refused: usize,
}

/// A kind of access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Load,
    Store,
    Exchange,
    Refused,
}

thread_local! {
    // All threads of a model are one thread of the system.
    static COUNTING: RefCell<Vec<(ThreadId, Accesses)>> = const { RefCell::new(Vec::new()) };
}

/// Counts the calling thread's accesses from here on, from zero.
pub fn count_accesses() {
    let current = loom::thread::current().id();
    COUNTING.with_borrow_mut(|counting| {
        counting.retain(|(thread, _)| *thread != current);
        counting.push((current, Accesses::default()));
    });
}

/// What the calling thread did since [`count_accesses`]; it is no longer counted then.
///
/// # Panics
/// If it was not counted.
pub fn counted() -> Accesses {
    let current = loom::thread::current().id();
    COUNTING.with_borrow_mut(|counting| {
        let at = counting.iter().position(|(thread, _)| *thread == current);
        counting.swap_remove(at.expect("count_accesses() begins to count")).1
    })
}

/// Begins an execution: who counted in the last one has gone.
pub(crate) fn forget() {
    COUNTING.take();
}

/// An access was done.
pub(crate) fn note(kind: Kind) {
    COUNTING.with_borrow_mut(|counting| {
        if counting.is_empty() || crate::sync::unwinding() {
            return;
        }
        let current = loom::thread::current().id();
        if let Some((_, accesses)) = counting.iter_mut().find(|(thread, _)| *thread == current) {
            *match kind {
                Kind::Load => &mut accesses.loads,
                Kind::Store => &mut accesses.stores,
                Kind::Exchange => &mut accesses.exchanges,
                Kind::Refused => &mut accesses.refused,
            } += 1;
        }
    });
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};

    use super::{Accesses, count_accesses, counted};
    use crate::sync::AtomicU64;

    #[test]
    fn each_thread_counts_its_own() {
        loom::model(|| {
            crate::model::begin_execution();
            let word = Arc::new(AtomicU64::new(0));
            word.store(1, Release);
            count_accesses();
            let other = {
                let word = Arc::clone(&word);
                loom::thread::spawn(move || word.fetch_or(4, Relaxed))
            };
            word.load(Acquire);
            word.fetch_and(!2, Relaxed);
            let _ = word.compare_exchange(9, 8, AcqRel, Acquire);
            other.join().expect("no panic");
            assert_eq!(counted(), Accesses { loads: 1, stores: 0, exchanges: 1, refused: 1 });
        });
    }
}
