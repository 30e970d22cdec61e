//! A global allocator that counts, per thread, what is asked of it and what is held.

// Every program uses its part of this.
#![allow(dead_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    // Neither needs a destructor, so reading them allocates nothing, not even on a thread's first use.
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
    static BYTES: Cell<u64> = const { Cell::new(0) };
    // Signed: a thread may free what another one has allocated.
    static HELD_BLOCKS: Cell<i64> = const { Cell::new(0) };
    static HELD_BYTES: Cell<i64> = const { Cell::new(0) };
}

/// The system's allocator, with counters.
pub struct Counting;

fn count(bytes: usize) {
    ALLOCATIONS.set(ALLOCATIONS.get() + 1);
    BYTES.set(BYTES.get() + bytes as u64);
    hold(1, bytes as i64);
}

fn hold(blocks: i64, bytes: i64) {
    HELD_BLOCKS.set(HELD_BLOCKS.get() + blocks);
    HELD_BYTES.set(HELD_BYTES.get() + bytes);
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
        hold(-1, -(layout.size() as i64));
        count(new_size);
        // SAFETY: the caller's promise.
        unsafe { System.realloc(block, layout, new_size) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        hold(-1, -(layout.size() as i64));
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(block, layout) }
    }
}

/// Allocations and bytes allocated by this thread while `work` ran; reallocations count as allocations.
pub fn during(work: impl FnOnce()) -> (u64, u64) {
    let before = (ALLOCATIONS.get(), BYTES.get());
    work();
    (ALLOCATIONS.get() - before.0, BYTES.get() - before.1)
}

/// What `make` made, and the blocks and bytes that this thread holds since.
pub fn held_by<T>(make: impl FnOnce() -> T) -> (T, (i64, i64)) {
    let before = (HELD_BLOCKS.get(), HELD_BYTES.get());
    let made = make();
    (made, (HELD_BLOCKS.get() - before.0, HELD_BYTES.get() - before.1))
}
