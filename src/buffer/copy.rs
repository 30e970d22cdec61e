//! Copying bytes: short frames without a call, and no long ones that take ten times as long.
//!
//! # Short ones
//! Most frames have a few dozen bytes. To call the system's `memcpy` takes as long as to copy them.
//!
//! # Long ones
//! From a few KiB on the system's `memcpy` may use `rep movsb`. Where the target lies 1 to 63 bytes behind
//! the source, counted modulo a page, that falls from 30 GB/s to 2 on some processors (measured; glibc's bug
//! 30994). Writers copy into blocks that are used again and again, and readers into one buffer: a pair that
//! is unlucky stays so. And what a reader copies was often written by another core, so that each line is
//! waited for. A loop of vectors that asks for lines some way ahead is never unlucky, and is as fast as the
//! system's best where the bytes are near, and faster where they are far.

use std::mem::MaybeUninit;
use std::ops::RangeInclusive;

/// What is copied without a call.
const SHORT_BYTES: RangeInclusive<usize> = VECTOR_BYTES..=4 * VECTOR_BYTES;
const VECTOR_BYTES: usize = size_of::<u128>();

/// From so many bytes on a copy is long.
const LONG_BYTES: usize = 2 << 10;

/// Copies `n` bytes.
///
/// # Safety
/// As for [`copy_nonoverlapping`](std::ptr::copy_nonoverlapping).
#[inline]
pub(crate) unsafe fn copy(from: *const u8, to: *mut u8, n: usize) {
    if SHORT_BYTES.contains(&n) {
        // SAFETY: the caller's promise.
        unsafe { copy_short(from, to, n) }
    } else if n > LONG_BYTES {
        // SAFETY: the caller's promise.
        unsafe { copy_long(from, to, n) }
    } else {
        // SAFETY: the caller's promise.
        unsafe { from.copy_to_nonoverlapping(to, n) }
    }
}

/// Copies the first and the last two vectors, which overlap as far as there are fewer than four.
///
/// # Safety
/// As for [`copy`], and `n` is one of [`SHORT_BYTES`].
#[inline]
unsafe fn copy_short(from: *const u8, to: *mut u8, n: usize) {
    let last = n - VECTOR_BYTES;
    let second = last.min(VECTOR_BYTES);
    for at in [0, second, last - second, last] {
        // SAFETY: `at` is `last` at most, so all of it lies within `n` bytes.
        unsafe { to.add(at).cast::<u128>().write_unaligned(from.add(at).cast::<u128>().read_unaligned()) }
    }
}

/// Copies all of `from` to a place of the same length.
///
/// # Panics
/// If the lengths differ.
#[inline]
pub(crate) fn copy_slice(from: &[u8], to: &mut [MaybeUninit<u8>]) {
    assert_eq!(from.len(), to.len(), "a copy is as long as what it is of");
    // SAFETY: both are as long as that, and the exclusive borrow overlaps with nothing.
    unsafe { copy(from.as_ptr(), to.as_mut_ptr().cast(), from.len()) }
}

/// The same memory, for who writes bytes to it and nothing else.
pub(crate) fn as_uninit(bytes: &mut [u8]) -> &mut [MaybeUninit<u8>] {
    let (start, len) = (bytes.as_mut_ptr().cast(), bytes.len());
    // SAFETY: the same bytes, borrowed for as long; this module and those that copy by it write initialised
    // ones alone.
    unsafe { std::slice::from_raw_parts_mut(start, len) }
}

/// # Safety
/// As for [`copy`], and there are [`LONG_BYTES`] or more.
#[inline(never)]
unsafe fn copy_long(from: *const u8, to: *mut u8, n: usize) {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx") {
        // SAFETY: the caller's promise, and the processor has the instructions.
        return unsafe { avx::copy(from, to, n) };
    }
    // SAFETY: the caller's promise.
    unsafe { from.copy_to_nonoverlapping(to, n) }
}

/// Long copies by vectors of 32 bytes.
#[cfg(target_arch = "x86_64")]
mod avx {
    use std::arch::x86_64::{__m256i, _MM_HINT_T0, _mm_prefetch, _mm256_loadu_si256, _mm256_storeu_si256};

    const ROUND_BYTES: usize = 256;
    const LINE_BYTES: usize = 64;
    /// So far ahead of what it copies it asks for lines: about as many as can be under way at a time.
    const AHEAD_BYTES: usize = 1 << 10;

    type Round = [__m256i; ROUND_BYTES / size_of::<__m256i>()];

    /// Copies in rounds: the first, then from the target's next line on, then the last, which overlap.
    ///
    /// # Safety
    /// As for [`copy`](super::copy), and there are bytes for a round.
    #[target_feature(enable = "avx")]
    pub(super) unsafe fn copy(from: *const u8, to: *mut u8, n: usize) {
        let last = n - ROUND_BYTES;
        // SAFETY: there are bytes for a round.
        unsafe { copy_round(from, to) }
        let mut at = LINE_BYTES - to.addr() % LINE_BYTES;
        while at < last {
            if at + AHEAD_BYTES < n {
                ask_for(from.wrapping_add(at + AHEAD_BYTES));
            }
            // SAFETY: a round from `at` on ends within `n` bytes.
            unsafe { copy_round(from.add(at), to.add(at)) }
            at += ROUND_BYTES;
        }
        // SAFETY: the last round ends with the last byte.
        unsafe { copy_round(from.add(last), to.add(last)) }
    }

    /// # Safety
    /// As for [`copy`](super::copy) of [`ROUND_BYTES`].
    #[inline]
    #[target_feature(enable = "avx")]
    unsafe fn copy_round(from: *const u8, to: *mut u8) {
        let (from, to) = (from.cast::<__m256i>(), to.cast::<__m256i>());
        // All are loaded before the first is stored.
        // SAFETY: the caller's promise; these take any alignment.
        let round: Round = std::array::from_fn(|n| unsafe { _mm256_loadu_si256(from.add(n)) });
        for (n, vector) in round.into_iter().enumerate() {
            // SAFETY: as above.
            unsafe { _mm256_storeu_si256(to.add(n), vector) }
        }
    }

    /// Asks for the lines of a round, wherever that is: nothing is read.
    #[inline]
    fn ask_for(round: *const u8) {
        for at in (0..ROUND_BYTES).step_by(LINE_BYTES) {
            // SAFETY: a hint, which has no effect but on time, whatever the address.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(round.wrapping_add(at).cast()) }
        }
    }
}

#[cfg(all(test, not(any(replcore_loom, replcore_fuzz))))]
mod tests {
    use super::*;

    const PAGE_BYTES: usize = 4 << 10;

    #[test]
    fn copies_whatever_the_distance_and_the_length() {
        let bytes: Vec<u8> = (0..3 * PAGE_BYTES).map(|n| (n % 251) as u8).collect();
        let mut target = vec![0; 5 * PAGE_BYTES];
        for distance in [0, 1, 16, 63, 64, 65, PAGE_BYTES - 1] {
            let start = (bytes.as_ptr().addr() + distance).wrapping_sub(target.as_ptr().addr()) % PAGE_BYTES;
            for n in (0..70).chain(LONG_BYTES - 1..LONG_BYTES + 600).chain([bytes.len()]) {
                target.fill(0);
                copy_slice(&bytes[..n], as_uninit(&mut target[start..start + n]));
                assert_eq!(target[start..start + n], bytes[..n], "{n} bytes at a distance of {distance}");
                assert!(target[..start].iter().chain(&target[start + n..]).all(|byte| *byte == 0));
            }
        }
    }
}
