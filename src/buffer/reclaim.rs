//! Reclamation: epochs that a stalled thread cannot hold back for ever.
//!
//! # Promise
//! *Safety (I6).* A pointer that was loaded under a pin, and [validated](Pin::validate) after, stays valid
//! until the pin is dropped. [`link`](super::link) makes that a type. What is [retired](Pin::retire) is
//! released exactly once, after the last pin that could have loaded it.
//!
//! *Bound (I8, I11).* A thread that stops for ever while pinned keeps from release only what was
//! alive, or already retired, when the era after its own began.
//!
//! # Why not plain epochs
//! Epoch reclamation frees nothing while one thread stays pinned, however much is retired after.
//! A replication buffer retires memory as fast as it appends, so one thread stopped by a debugger
//! inside the few instructions of a pin would cost the machine's memory.
//!
//! # Algorithm
//! Time is cut into *eras*, each with a `crossbeam-epoch` collector of its own. In the ordinary
//! course there is one era. When more than `limit_bytes` wait in the current one, the next retirer
//! begins another.
//!
//! * An object is stamped with the era in which it was made, before it is published (`birth`).
//! * A thread reads the era, pins in that era's collector, loads the pointer, and reads the era
//!   again: if it moved, the pin is stale and the thread starts over. So a valid pointer was born
//!   no later than the era of the pin that protects it: its publisher read `birth` before
//!   publishing, and coherence forbids reading an older era afterwards.
//! * An object unlinked in era `r` is deferred in the collector of every era `birth..=r` that may
//!   still have a pinned thread, and released when all of them have let it go. A thread pinned in
//!   a later era read that era's number, which was written after the unlinking (a retirer reads
//!   the era by a read-modify-write, so the rotation that follows it passes the unlinking on).
//! * Each era that ends gets a sentinel in its own collector. Once that has run, no thread is
//!   validly pinned there, and the era is dropped from the list.
//!
//! A release drops what callers own: the `Bytes` of a record, the waker of a cursor. So it may run
//! their code, on whichever thread happens to pin or retire, and that code may use buffers, this
//! one too. It must not wait for anything that a thread which appends may hold.

use std::sync::atomic::{AtomicU64 as StdAtomicU64, Ordering};

use arc_swap::ArcSwap;

use super::sync::epoch::{Collector, Guard, Participation, pin_known, pin_new};
use super::sync::table::{Fault, fault, ord};
use super::sync::{AtomicU64, Countdown, Signal};

/// What a collector takes to hold one object back, about: a bag of its own, for each retirement
/// is flushed. A waker is small beside that, and still has to count.
const HELD_BACK_BYTES: u64 = 2 << 10;

/// Rounds of a drain that release nothing, in a row, before it gives up.
const MAX_DRAIN_ROUNDS_WITHOUT_PROGRESS: u32 = 64;

/// A pointer was loaded after the pin's era had ended: pin anew and start over.
#[derive(Debug)]
pub(crate) struct Stale;

/// One era: a collector, and what waits in it. The garbage refers to the `Tally` alone, for a
/// collector kept alive by its own garbage would never go.
#[derive(Debug)]
struct Era {
    id: u64,
    participation: Participation,
    collector: Collector,
    alive: std::sync::Arc<()>,
    tally: std::sync::Arc<Tally>,
}

#[derive(Debug, Default)]
struct Tally {
    /// Bytes retired whose latest era is this one and that are not yet released, and for each
    /// object [`HELD_BACK_BYTES`].
    waiting_bytes: StdAtomicU64,
    /// Set by the sentinel: no thread is validly pinned in this era any more.
    drained: Signal,
}

impl Era {
    fn new(domain: u64, id: u64) -> Self {
        Self {
            id,
            participation: (domain, id),
            collector: Collector::new(),
            alive: std::sync::Arc::default(),
            tally: std::sync::Arc::default(),
        }
    }

    fn pin(&self) -> Guard {
        pin_known(self.participation)
            .unwrap_or_else(|| pin_new(&self.collector, self.participation, &self.alive))
    }
}

/// The eras of one buffer.
#[derive(Debug)]
pub(crate) struct Domain {
    /// Process-wide number, for the threads' own tables of participations.
    number: u64,
    current: AtomicU64,
    /// Oldest first; the last is the current one or, during a rotation, the one to come.
    eras: ArcSwap<Vec<std::sync::Arc<Era>>>,
    limit_bytes: u64,
    totals: std::sync::Arc<Totals>,
}

/// What a person wants to know about reclamation.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    pub(crate) waiting: StdAtomicU64,
    pub(crate) waiting_bytes: StdAtomicU64,
    pub(crate) eras: StdAtomicU64,
}

impl Domain {
    /// A domain that begins a new era when more than `limit_bytes` wait for release.
    pub(crate) fn new(limit_bytes: u64) -> Self {
        static NUMBER: StdAtomicU64 = StdAtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        Self {
            number,
            current: AtomicU64::new(1),
            eras: ArcSwap::from_pointee(vec![std::sync::Arc::new(Era::new(number, 1))]),
            limit_bytes,
            totals: std::sync::Arc::default(),
        }
    }

    pub(crate) fn totals(&self) -> &Totals {
        &self.totals
    }

    /// The stamp for an object about to be made.
    pub(crate) fn birth(&self) -> u64 {
        self.current.load(ord::ERA_LOAD())
    }

    /// Pins the calling thread. Short, never across I/O, `.await` or a user's code.
    pub(crate) fn pin(&self) -> Pin<'_> {
        let mut id = self.current.load(ord::ERA_LOAD());
        loop {
            if let Some(guard) = pin_known((self.number, id)) {
                return Pin { _guard: guard, era: id, domain: self };
            }
            // An era is listed before it becomes current, and leaves the list only after another
            // has: if it is gone, the number was an old one. The latest is had by an exchange.
            if let Some(era) = self.eras.load().iter().rev().find(|era| era.id == id) {
                return Pin { _guard: era.pin(), era: id, domain: self };
            }
            id = self.current.fetch_add(0, ord::ERA_RETIRE());
        }
    }

    /// Runs `step` under a pin, again under a fresh one whenever it finds its pin stale.
    pub(crate) fn pinned<R>(&self, mut step: impl FnMut(&Pin<'_>) -> Result<R, Stale>) -> R {
        loop {
            if let Ok(result) = step(&self.pin()) {
                return result;
            }
        }
    }

    /// Begins an era, unless another thread just did.
    fn rotate(&self, ended: u64) {
        let listed = self.eras.load_full();
        let mut eras: Vec<_> = listed.iter().filter(|era| !era.tally.drained.is_raised()).cloned().collect();
        if eras.iter().any(|era| era.id > ended) || !eras.iter().any(|era| era.id == ended) {
            return self.finish_rotation(ended);
        }
        eras.push(std::sync::Arc::new(Era::new(self.number, ended + 1)));
        let before = self.eras.compare_and_swap(&listed, std::sync::Arc::new(eras));
        if std::sync::Arc::ptr_eq(&before, &listed) {
            self.totals.eras.fetch_add(1, Ordering::Relaxed);
        }
        self.finish_rotation(ended);
    }

    /// Makes the listed era current. Any thread may: the one that listed it may have stalled.
    fn finish_rotation(&self, ended: u64) {
        let moved =
            self.current.compare_exchange(ended, ended + 1, ord::ERA_ROTATE(), ord::ERA_LOAD()).is_ok();
        if moved && let Some(era) = self.eras.load().iter().find(|era| era.id == ended) {
            let tally = std::sync::Arc::clone(&era.tally);
            let guard = era.pin();
            // SAFETY: the closure owns what it touches.
            unsafe { guard.defer_unchecked(move || tally.drained.raise()) };
            guard.flush();
        }
    }

    /// As [`pump`](Self::pump), if anything is retired and not yet released.
    pub(crate) fn pump_if_waiting(&self) {
        if self.totals.waiting.load(Ordering::Relaxed) > 0 {
            self.pump();
        }
    }

    /// Lets every era that still has garbage look whether some of it can go.
    pub(crate) fn pump(&self) {
        // The one to come too: what outlived all others was deferred in it.
        for era in self.eras.load().iter() {
            era.pin().flush();
        }
    }

    /// Releases everything. Only when no thread can pin any more.
    pub(crate) fn drain(&mut self) {
        // Each round advances each epoch once, garbage is two epochs behind, and a collector
        // releases only a handful in a round: go on as long as it gets less.
        let (mut least, mut rounds_without_progress) = (u64::MAX, 0);
        while rounds_without_progress < MAX_DRAIN_ROUNDS_WITHOUT_PROGRESS {
            let waiting = self.totals.waiting.load(Ordering::Acquire);
            if waiting == 0 {
                break;
            }
            rounds_without_progress = if waiting < least { 0 } else { rounds_without_progress + 1 };
            least = least.min(waiting);
            self.pump();
        }
    }
}

/// A pinned thread.
pub(crate) struct Pin<'a> {
    /// Held, not used: dropping it is what ends the pin.
    _guard: Guard,
    era: u64,
    domain: &'a Domain,
}

impl Pin<'_> {
    /// Says whether pointers loaded under this pin so far are protected by it.
    #[track_caller]
    pub(crate) fn validate(&self) -> Result<(), Stale> {
        if fault(Fault::EraUnlooked) || self.domain.current.load(ord::ERA_LOAD()) == self.era {
            return Ok(());
        }
        Err(Stale)
    }

    /// Releases an object of so many bytes that was unlinked, by running `release` once no pin can
    /// reach it.
    ///
    /// # Safety
    /// The object was made in era `birth`, is unlinked from every shared location that is loaded under
    /// pins, is retired once, and `release` frees nothing else.
    pub(crate) unsafe fn retire<F>(&self, birth: u64, bytes: u64, release: F)
    where
        F: FnOnce() + Send + 'static,
    {
        if fault(Fault::FreeAtOnce) {
            return release();
        }
        let domain = self.domain;
        let now = domain.current.fetch_add(0, ord::ERA_RETIRE());
        let eras = domain.eras.load();
        let oldest = if fault(Fault::RetireInOneEra) { now } else { birth };
        let mut targets: Vec<_> = eras
            .iter()
            .filter(|era| (oldest..=now).contains(&era.id) && !era.tally.drained.is_raised())
            .collect();
        if targets.is_empty() {
            // All of them drained since: nobody can hold it. The newest era will do.
            targets.extend(eras.last());
        }
        let latest =
            targets.last().map_or_else(std::sync::Arc::default, |era| std::sync::Arc::clone(&era.tally));
        domain.totals.waiting.fetch_add(1, Ordering::Relaxed);
        domain.totals.waiting_bytes.fetch_add(bytes, Ordering::Relaxed);
        let weight = bytes + HELD_BACK_BYTES;
        let waiting_bytes = latest.waiting_bytes.fetch_add(weight, Ordering::Relaxed) + weight;
        let totals = std::sync::Arc::clone(&domain.totals);
        let release = move || {
            latest.waiting_bytes.fetch_sub(weight, Ordering::Relaxed);
            totals.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
            release();
            totals.waiting.fetch_sub(1, Ordering::Release);
        };
        // SAFETY: the caller's promise; each closure owns what it touches.
        unsafe { defer_in_each(&targets, release) };
        domain.pump();
        if waiting_bytes > domain.limit_bytes {
            domain.rotate(now);
        }
    }
}

/// Defers `release` until the pins of each of `eras` at this moment are gone.
///
/// # Safety
/// As [`Pin::retire`].
unsafe fn defer_in_each<F>(eras: &[&std::sync::Arc<Era>], release: F)
where
    F: FnOnce() + Send + 'static,
{
    if let [only] = eras {
        // SAFETY: the caller's promise.
        return unsafe { only.pin().defer_unchecked(release) };
    }
    // The last of the eras to let go runs it; a mutex that only closures of collectors take, each
    // once, and never while another waits for it.
    let shared =
        std::sync::Arc::new((Countdown::new(eras.len() as u64), std::sync::Mutex::new(Some(release))));
    for era in eras {
        let shared = std::sync::Arc::clone(&shared);
        let let_go = move || {
            if shared.0.is_last() {
                let release = shared.1.lock().map_or(None, |mut release| release.take());
                if let Some(release) = release {
                    release();
                }
            }
        };
        // SAFETY: the caller's promise.
        unsafe { era.pin().defer_unchecked(let_go) };
    }
}

impl std::fmt::Debug for Pin<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pin").field("era", &self.era).finish_non_exhaustive()
    }
}
