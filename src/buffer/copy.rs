//! Copying bytes: short frames without a call, and no long ones that take ten times as long.
//!
//! # Short ones
//! Most frames have a few dozen bytes. To call the system's `memcpy` takes as long as to copy them.
//!
//! # Long ones
//! Where the target lies 1 to 63 bytes behind the source, counted modulo a page, `rep movsb` of some
//! processors falls from 30 GB/s to 2 (measured; glibc's bug 30994), and the system's `memcpy` uses it from
//! a few KiB on. Writers copy into blocks that are used again and again, and readers into one buffer: a pair
//! that is unlucky stays so. In short pieces the system copies with vectors, and as fast as ever.

use std::mem::MaybeUninit;
use std::ops::RangeInclusive;

/// What is copied without a call.
const SHORT_BYTES: RangeInclusive<usize> = VECTOR_BYTES..=4 * VECTOR_BYTES;
const VECTOR_BYTES: usize = size_of::<u128>();

/// Bytes that every system copies with vectors.
const PIECE_BYTES: usize = 2 << 10;

const PAGE_BYTES: usize = 4 << 10;
const LINE_BYTES: usize = 64;

/// Copies `n` bytes.
///
/// # Safety
/// As for [`copy_nonoverlapping`](std::ptr::copy_nonoverlapping).
#[inline]
pub(crate) unsafe fn copy(from: *const u8, to: *mut u8, n: usize) {
    if SHORT_BYTES.contains(&n) {
        // SAFETY: the caller's promise.
        unsafe { copy_short(from, to, n) }
    } else if n > PIECE_BYTES && is_unlucky(from.addr(), to.addr()) {
        // SAFETY: the caller's promise.
        unsafe { copy_in_pieces(from, to, n) }
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
    // SAFETY: the same bytes, borrowed for as long; this module and those that copy by it write initialised ones alone.
    unsafe { std::slice::from_raw_parts_mut(start, len) }
}

fn is_unlucky(from: usize, to: usize) -> bool {
    (1..LINE_BYTES).contains(&(to.wrapping_sub(from) % PAGE_BYTES))
}

/// # Safety
/// As for [`copy`].
#[cold]
#[inline(never)]
unsafe fn copy_in_pieces(from: *const u8, to: *mut u8, n: usize) {
    for at in (0..n).step_by(PIECE_BYTES) {
        // SAFETY: the caller's promise, for a part of it.
        unsafe { from.add(at).copy_to_nonoverlapping(to.add(at), PIECE_BYTES.min(n - at)) }
    }
}

#[cfg(all(test, not(any(replcore_loom, replcore_fuzz))))]
mod tests {
    use super::*;

    #[test]
    fn copies_whatever_the_distance_and_the_length() {
        let bytes: Vec<u8> = (0..3 * PAGE_BYTES).map(|n| (n % 251) as u8).collect();
        let mut target = vec![0; 5 * PAGE_BYTES];
        for distance in [0, 1, 16, 63, 64, 65, PAGE_BYTES - 1] {
            let start = (bytes.as_ptr().addr() + distance).wrapping_sub(target.as_ptr().addr()) % PAGE_BYTES;
            for n in (0..70).chain([PIECE_BYTES, PIECE_BYTES + 1, 2 * PIECE_BYTES, bytes.len()]) {
                target.fill(0);
                copy_slice(&bytes[..n], as_uninit(&mut target[start..start + n]));
                assert_eq!(target[start..start + n], bytes[..n], "{n} bytes at a distance of {distance}");
                assert!(target[..start].iter().chain(&target[start + n..]).all(|byte| *byte == 0));
            }
        }
    }

    #[test]
    fn a_line_behind_in_any_page_is_unlucky() {
        assert!(
            [1, 16, 63]
                .iter()
                .all(|n| is_unlucky(100, 100 + n) && is_unlucky(9 * PAGE_BYTES, n + PAGE_BYTES))
        );
        assert!(![0, 64, PAGE_BYTES - 1].iter().any(|n| is_unlucky(100, 100 + n)));
    }
}
