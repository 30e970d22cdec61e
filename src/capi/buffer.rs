//! The buffer: made of settings, shared by threads, sealed, looked at.

use std::ffi::c_void;

use super::error::{Failure, Outcome, guard, replcore_error, replcore_status};
use super::handle::{borrow, bytes, free, give, place, put, slice};
use super::replcore_range;
use crate::buffer::{Builder, CursorLimits, ReplicationBuffer};

/// A term that can be sealed last: with it the stream ends.
pub const REPLCORE_LAST_TERM: u64 = u64::MAX;

/// A replication stream in memory: see `replcore_buffer_new`. Used by any number of threads at a time.
pub struct replcore_buffer(pub(super) ReplicationBuffer);

/// What can be set when a buffer is made. Settings may be added; their numbers stay.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum replcore_setting {
    /// The offset at which the stream starts. Default 0.
    BaseOffset = 0,
    /// So many bytes behind the end stay attachable. Default 10 MiB.
    BacklogBytes = 1,
    /// Staging memory that a writer takes at once, 64 to 65,536 bytes. Default 64 KiB.
    BlockBytes = 2,
    /// Publications that a segment has room for, 1 to 2^24. Default 1024.
    SegmentFrames = 3,
    /// A segment that holds so many bytes takes no more, 1 to 2^30. Default 512 KiB.
    SegmentBytes = 4,
    /// Blocks that a segment's publications can lie in, 1 to 128. Default 128.
    SegmentBlocks = 5,
    /// Contexts that can follow each other in a segment, 1 to 62. Default 62.
    SegmentContexts = 6,
    /// The longest publication, in bytes, at most 3 GiB. Default 512 MiB.
    MaxFrameBytes = 7,
    /// The offset that the stream may not pass. Default, and greatest: 2^63 - 1.
    MaxOffset = 8,
    /// Cursors attached at the same time, 1 to 2^24. Default 10,000.
    MaxCursors = 9,
    /// So many retired bytes may wait for a stalled thread before it is passed by. Default 4 MiB.
    MaxUnreclaimedBytes = 10,
    /// A cursor that lags by more is evicted at once; 0: never. Default 256 MiB.
    CursorHardBytes = 11,
    /// A cursor that lags by more for CURSOR_SOFT_MS milliseconds is evicted; 0: never. Default 64 MiB.
    CursorSoftBytes = 12,
    /// In milliseconds. Default 60,000.
    CursorSoftMs = 13,
    /// Spare blocks kept for reuse. Default 64.
    PooledBlocks = 14,
    /// Spare segments kept for reuse. Default 64.
    PooledSegments = 15,
    /// Writers kept for `replcore_buffer_append`. Default 64.
    PooledWriters = 16,
    /// Memory of long frames kept for reuse, in bytes. Default 8 MiB.
    PooledFrameBytes = 17,
    /// Copies of the stream that cursors make for each other. Default 16.
    SharedCopies = 18,
    /// The longest of them, in bytes, 1 to 16 MiB. Default 64 KiB.
    SharedCopyBytes = 19,
}

/// A setting.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct replcore_setting_value {
    /// A `replcore_setting`.
    pub name: i32,
    /// Its value.
    pub value: u64,
}

/// Greatest of the names above.
const LAST_SETTING: u64 = replcore_setting::SharedCopyBytes as u64;

fn build(settings: &[replcore_setting_value]) -> Outcome<ReplicationBuffer> {
    let (mut builder, mut limits) = (ReplicationBuffer::builder(), CursorLimits::default());
    for setting in settings {
        builder = set(builder, &mut limits, *setting)?;
    }
    Ok(builder.cursor_limits(limits).build()?)
}

fn set(builder: Builder, limits: &mut CursorLimits, setting: replcore_setting_value) -> Outcome<Builder> {
    let value = setting.value;
    // What does not fit is far beyond every bound, and refused as that.
    let size = usize::try_from(value).unwrap_or(usize::MAX);
    Ok(match setting.name {
        0 => builder.base_offset(value),
        1 => builder.backlog_bytes(value),
        2 => builder.block_bytes(size),
        3 => builder.segment_frames(size),
        4 => builder.segment_bytes(value),
        5 => builder.segment_blocks(size),
        6 => builder.segment_contexts(size),
        7 => builder.max_frame_bytes(value),
        8 => builder.max_offset(value),
        9 => builder.max_cursors(size),
        10 => builder.max_unreclaimed_bytes(value),
        11 => {
            limits.hard_bytes = value;
            builder
        }
        12 => {
            limits.soft_bytes = value;
            builder
        }
        13 => {
            limits.soft_ms = value;
            builder
        }
        14 => builder.pooled_blocks(size),
        15 => builder.pooled_segments(size),
        16 => builder.pooled_writers(size),
        17 => builder.pooled_frame_bytes(value),
        18 => builder.shared_copies(size),
        19 => builder.shared_copy_bytes(size),
        name => {
            let given = u64::try_from(name).unwrap_or(u64::MAX);
            return Err(Failure::out_of_bounds("the name of a setting", given, 0, LAST_SETTING));
        }
    })
}

/// Makes a buffer.
///
/// `settings`: `count` of them, in any order; what is not among them has its default. Null if `count` is 0.
/// `buffer`: receives the handle, to be freed by `replcore_buffer_free`.
/// Fails with OUT_OF_BOUNDS.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn replcore_buffer_new(
    settings: *const replcore_setting_value,
    count: usize,
    buffer: *mut *mut replcore_buffer,
    error: *mut replcore_error,
) -> replcore_status {
    guard(error, || {
        let place = place(buffer, "buffer")?;
        // SAFETY: rule 1.
        let settings = unsafe { slice(settings, count, "settings") }?;
        let built = build(settings)?;
        // SAFETY: rule 1.
        unsafe { put(place, give(replcore_buffer(built))) };
        Ok(())
    })
}

/// Frees a buffer. The stream goes on as long as there are writers of it, and its cursors may read the rest; then it ends.
/// No other thread may be using the handle. `buffer`: may be null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn replcore_buffer_free(buffer: *mut replcore_buffer) -> replcore_status {
    guard(std::ptr::null_mut(), || {
        // SAFETY: rule 3.
        unsafe { free(buffer) };
        Ok(())
    })
}

/// Appends bytes, copied, as one frame of the current term. From any thread, with a writer that is borrowed for it; a thread
/// that appends often has one of its own (`replcore_writer_new`), which is faster.
///
/// `data`: `len` bytes, null if that is 0. `range`: receives the frame's offsets, may be null.
/// Fails with FENCED, FRAME_TOO_LARGE, OFFSETS_EXHAUSTED; nothing is appended then.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn replcore_buffer_append(
    buffer: *mut replcore_buffer,
    data: *const c_void,
    len: usize,
    range: *mut replcore_range,
    error: *mut replcore_error,
) -> replcore_status {
    guard(error, || {
        // SAFETY: rules 1 and 3.
        let (buffer, data) = unsafe { (borrow(buffer, "buffer")?, bytes(data, len, "data")?) };
        let appended = buffer.0.append(data)?;
        // SAFETY: rule 1.
        unsafe { put(range, appended.into()) };
        Ok(())
    })
}

/// What can be attached: from `start` to `end`, both included. `end` is the end of the stream. Where histories change while
/// replicas ask, it is read before the history (`replcore_psync`).
///
/// `range`: receives it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn replcore_buffer_range(
    buffer: *const replcore_buffer,
    range: *mut replcore_range,
    error: *mut replcore_error,
) -> replcore_status {
    guard(error, || {
        let place = place(range, "range")?;
        // SAFETY: rule 3.
        let buffer = &unsafe { borrow(buffer, "buffer") }?.0;
        // The first one first: the end does not fall below it.
        let start = buffer.first_offset();
        // SAFETY: rule 1.
        unsafe { put(place, replcore_range { start, end: buffer.end_offset() }) };
        Ok(())
    })
}

/// Changes the backlog size, at once; a larger one fills as the stream goes on.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn replcore_buffer_set_backlog_bytes(
    buffer: *mut replcore_buffer,
    bytes: u64,
    error: *mut replcore_error,
) -> replcore_status {
    guard(error, || {
        // SAFETY: rule 3.
        unsafe { borrow(buffer, "buffer") }?.0.set_backlog_bytes(bytes);
        Ok(())
    })
}

/// Changes when cursors are evicted: at once beyond `hard_bytes`, or beyond `soft_bytes` for `soft_ms` milliseconds; 0 switches
/// a limit off.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn replcore_buffer_set_cursor_limits(
    buffer: *mut replcore_buffer,
    hard_bytes: u64,
    soft_bytes: u64,
    soft_ms: u64,
    error: *mut replcore_error,
) -> replcore_status {
    guard(error, || {
        let limits = CursorLimits { hard_bytes, soft_bytes, soft_ms };
        // SAFETY: rule 3.
        unsafe { borrow(buffer, "buffer") }?.0.set_cursor_limits(limits);
        Ok(())
    })
}

/// Evicts the cursors that are over a limit. Appends do so whenever a segment is full; call it once a second for a stream that pauses.
///
/// `evicted`: receives how many were, may be null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn replcore_buffer_enforce_limits(
    buffer: *mut replcore_buffer,
    evicted: *mut usize,
    error: *mut replcore_error,
) -> replcore_status {
    guard(error, || {
        // SAFETY: rule 3.
        let count = unsafe { borrow(buffer, "buffer") }?.0.enforce_limits();
        // SAFETY: rule 1.
        unsafe { put(evicted, count) };
        Ok(())
    })
}

/// Makes `term` the one of writers made from now on, unless a later one is. The first term is 1.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn replcore_buffer_begin_term(
    buffer: *mut replcore_buffer,
    term: u64,
    error: *mut replcore_error,
) -> replcore_status {
    guard(error, || {
        // SAFETY: rule 3.
        unsafe { borrow(buffer, "buffer") }?.0.begin_term(term);
        Ok(())
    })
}

/// Seals `term`: no frame of it, or of an older one, is published after this. The seal of `REPLCORE_LAST_TERM` ends the stream.
///
/// `offset`: receives where the stream stood then (the point for `replcore_history_shift`), may be null.
/// Fails with FENCED if that term, or a later one, is sealed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn replcore_buffer_seal(
    buffer: *mut replcore_buffer,
    term: u64,
    offset: *mut u64,
    error: *mut replcore_error,
) -> replcore_status {
    guard(error, || {
        // SAFETY: rule 3.
        let sealed_at = unsafe { borrow(buffer, "buffer") }?.0.seal(term)?;
        // SAFETY: rule 1.
        unsafe { put(offset, sealed_at) };
        Ok(())
    })
}

/// Numbers of a buffer; each is right for some moment of the call. Later versions may add some at the end.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct replcore_stats {
    /// The first offset that can be attached.
    pub first_offset: u64,
    /// The end of the stream.
    pub end_offset: u64,
    /// Publications so far: frames, batches, markers.
    pub publications: u64,
    /// Bytes in memory, for the backlog or for cursors.
    pub retained_bytes: u64,
    /// Segments in use.
    pub segments_live: u64,
    /// Spare segments.
    pub segments_pooled: u64,
    /// Blocks in use.
    pub blocks_live: u64,
    /// Spare blocks.
    pub blocks_pooled: u64,
    /// Objects retired and not yet released.
    pub retired: u64,
    /// Their bytes.
    pub retired_bytes: u64,
    /// Eras begun because of a stalled thread.
    pub eras_begun: u64,
    /// Cursors attached and not evicted.
    pub cursors: u64,
    /// Cursors evicted by a limit.
    pub evictions: u64,
    /// Publications that lost a race and were tried again.
    pub publish_retries: u64,
    /// The highest term sealed; 0: none.
    pub sealed_term: u64,
}

/// Looks at the numbers of a buffer.
///
/// `stats`: receives as much as fits in `size` bytes, which is `sizeof(replcore_stats)` of the header compiled against.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn replcore_buffer_stats(
    buffer: *const replcore_buffer,
    stats: *mut replcore_stats,
    size: usize,
    error: *mut replcore_error,
) -> replcore_status {
    guard(error, || {
        let place = place(stats, "stats")?;
        // SAFETY: rule 3.
        let seen = unsafe { borrow(buffer, "buffer") }?.0.stats();
        let stats = replcore_stats {
            first_offset: seen.first_offset,
            end_offset: seen.end_offset,
            publications: seen.publications,
            retained_bytes: seen.retained_bytes,
            segments_live: seen.segments_live,
            segments_pooled: seen.segments_pooled,
            blocks_live: seen.blocks_live,
            blocks_pooled: seen.blocks_pooled,
            retired: seen.retired,
            retired_bytes: seen.retired_bytes,
            eras_begun: seen.eras_begun,
            cursors: seen.cursors,
            evictions: seen.evictions,
            publish_retries: seen.publish_retries,
            sealed_term: seen.sealed_term,
        };
        let size = size.min(size_of::<replcore_stats>());
        // SAFETY: rule 1, for `size` bytes; plain numbers without padding, of which a part may be copied.
        unsafe { place.cast::<u8>().copy_from_nonoverlapping((&raw const stats).cast::<u8>(), size) };
        Ok(())
    })
}
