//! The shim of a normal build: the standard library and `crossbeam-epoch`, nothing added.

use std::cell::RefCell;
use std::ops::Range;
use std::rc::Rc;

use crossbeam_epoch::{Collector, Guard, LocalHandle};

pub(crate) use arc_swap::ArcSwap;
pub(crate) use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, fence};
pub(crate) use std::sync::{Arc, Mutex};

/// `std::cell::UnsafeCell` with loom's closure interface.
#[derive(Debug)]
#[repr(transparent)]
pub(crate) struct UnsafeCell<T>(std::cell::UnsafeCell<T>);

impl<T> UnsafeCell<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(std::cell::UnsafeCell::new(value))
    }

    #[inline(always)]
    pub(crate) fn with<R>(&self, read: impl FnOnce(*const T) -> R) -> R {
        read(self.0.get())
    }
}

/// Says whether the object that contains it is still alive; costs nothing outside models.
#[derive(Debug)]
pub(crate) struct Canary;

impl Canary {
    #[inline(always)]
    pub(crate) fn new() -> Self {
        Self
    }

    #[inline(always)]
    pub(crate) fn check(&self) {}

    #[inline(always)]
    pub(crate) fn kill(&self) {}
}

/// Lets a checker judge races on raw bytes: it is told which of them are about to be read or written. Costs
/// nothing outside models.
#[derive(Debug)]
pub(crate) struct Marks;

impl Marks {
    /// Marks on so many bytes.
    #[inline(always)]
    pub(crate) fn new(_bytes: usize) -> Self {
        Self
    }

    /// The bytes are about to be written.
    #[inline(always)]
    pub(crate) fn write(&self, _range: Range<usize>) {}

    /// The bytes are about to be read.
    #[inline(always)]
    pub(crate) fn read(&self, _range: Range<usize>) {}
}

/// Frees what `Box::into_raw` gave.
///
/// # Safety
/// `object` came from `Box::into_raw`, and nobody uses it any more.
pub(crate) unsafe fn free<T: 'static>(object: *mut T) {
    // SAFETY: the caller's promise.
    drop(unsafe { Box::from_raw(object) });
}

/// Names a collector among all of the process: its domain and its era.
pub(crate) type Participation = (u64, u64);

/// A thread's participation in a collector, and whether that is still there.
type Entry = (Participation, std::sync::Weak<()>, Rc<LocalHandle>);

thread_local! {
    /// This thread's participation in the collectors it has pinned. Searched from the front: a
    /// thread rarely serves more than a few buffers.
    static HANDLES: RefCell<Vec<Entry>> = const { RefCell::new(Vec::new()) };
}

/// Pins the calling thread in a collector that it has pinned before.
#[inline]
pub(crate) fn pin_known(participation: Participation) -> Option<Guard> {
    let handle = HANDLES.try_with(|handles| {
        let handles = handles.borrow();
        handles.iter().find(|(known, _, _)| *known == participation).map(|(_, _, handle)| Rc::clone(handle))
    });
    // Outside the borrow: now and then pinning runs releases, and those drop what callers own
    // (`Bytes`, wakers), which may come back here.
    handle.ok().flatten().map(|handle| handle.pin())
}

/// Pins the calling thread in a collector that is new to it; its owner keeps `alive` as long as it
/// lives.
pub(crate) fn pin_new(
    collector: &Collector,
    participation: Participation,
    alive: &std::sync::Arc<()>,
) -> Guard {
    let handle = Rc::new(collector.register());
    let guard = handle.pin();
    // A thread that appends while its thread-locals are being destroyed goes without an entry.
    let _ = HANDLES.try_with(|handles| {
        // Participations in collectors that are gone would keep their last garbage alive. They are
        // dropped outside the borrow: dropping may run releases.
        let (kept, gone): (Vec<_>, Vec<_>) =
            handles.take().into_iter().partition(|(_, alive, _)| alive.strong_count() > 0);
        let mut kept = kept;
        kept.push((participation, std::sync::Arc::downgrade(alive), handle));
        handles.replace(kept);
        drop(gone);
    });
    guard
}

/// Whether a failed model is being taken down: there is none.
#[inline(always)]
pub(crate) const fn unwinding() -> bool {
    false
}

/// Milliseconds of a monotonic clock with an arbitrary start.
pub(crate) fn monotonic_ms() -> u64 {
    use std::sync::OnceLock;
    use std::time::Instant;
    static START: OnceLock<Instant> = OnceLock::new();
    u64::try_from(START.get_or_init(Instant::now).elapsed().as_millis()).unwrap_or(u64::MAX)
}
