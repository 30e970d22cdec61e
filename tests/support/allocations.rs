//! A global allocator that counts, per thread, what is asked of it.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    // None needs a destructor, so reading them allocates nothing, not even on a thread's first use.
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
    static BYTES: Cell<u64> = const { Cell::new(0) };
    static FREED_BYTES: Cell<u64> = const { Cell::new(0) };
}

/// The system's allocator, with counters.
pub struct Counting;

fn count_freed(bytes: usize) {
    FREED_BYTES.set(FREED_BYTES.get() + bytes as u64);
}

fn count(bytes: usize) {
    ALLOCATIONS.set(ALLOCATIONS.get() + 1);
    BYTES.set(BYTES.get() + bytes as u64);
}

// SAFETY: everything is handed to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller's promise.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count(new_size);
        count_freed(layout.size());
        // SAFETY: the caller's promise.
        unsafe { System.realloc(block, layout, new_size) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        count_freed(layout.size());
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(block, layout) }
    }
}

/// The bytes that this thread allocated while `work` ran, less those that it freed.
#[allow(dead_code, reason = "not every test that counts allocations asks what is kept")]
pub fn kept(work: impl FnOnce()) -> i64 {
    let kept = || BYTES.get() as i64 - FREED_BYTES.get() as i64;
    let before = kept();
    work();
    kept() - before
}

/// Allocations and bytes allocated by this thread while `work` ran; reallocations count as allocations.
#[allow(dead_code, reason = "not every test that counts allocations asks how many there are")]
pub fn during(work: impl FnOnce()) -> (u64, u64) {
    let before = (ALLOCATIONS.get(), BYTES.get());
    work();
    (ALLOCATIONS.get() - before.0, BYTES.get() - before.1)
}
