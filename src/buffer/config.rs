//! Settings of a buffer: every limit by name, with its default and its bounds.

use super::error::BuildError;
use super::sync::AtomicU64;
use super::sync::table::ord;
use super::word::{MAX_BLOCKS, MAX_NUMBERS, MAX_PLACES};

/// The greatest offset a stream may reach: Valkey's offsets are signed 64-bit.
pub const MAX_OFFSET: u64 = i64::MAX as u64;
/// The last term there is. To seal it ends the stream: no writer has a term beyond it.
pub const LAST_TERM: u64 = u64::MAX;
/// Default of [`Builder::backlog_bytes`]: Valkey's `repl-backlog-size`.
pub const DEFAULT_BACKLOG_BYTES: u64 = 10 << 20;
/// Default of [`Builder::block_bytes`].
pub const DEFAULT_BLOCK_BYTES: usize = 64 << 10;
/// Default of [`Builder::segment_frames`].
pub const DEFAULT_SEGMENT_FRAMES: usize = 1024;
/// Default of [`Builder::segment_bytes`].
pub const DEFAULT_SEGMENT_BYTES: u64 = 512 << 10;
/// Default, and greatest, of [`Builder::segment_blocks`].
pub const DEFAULT_SEGMENT_BLOCKS: usize = MAX_BLOCKS;
/// Default, and greatest, of [`Builder::segment_contexts`].
pub const DEFAULT_SEGMENT_CONTEXTS: usize = MAX_NUMBERS;
/// Default of [`Builder::pooled_frame_bytes`].
pub const DEFAULT_POOLED_FRAME_BYTES: u64 = 8 << 20;
/// Default of [`Builder::max_frame_bytes`]: Valkey's `proto-max-bulk-len`.
pub const DEFAULT_MAX_FRAME_BYTES: u64 = 512 << 20;
/// Default of [`Builder::max_cursors`].
pub const DEFAULT_MAX_CURSORS: usize = 10_000;
/// Default of [`Builder::max_unreclaimed_bytes`].
pub const DEFAULT_MAX_UNRECLAIMED_BYTES: u64 = 4 << 20;
/// The greatest [`Builder::max_frame_bytes`]. The end of a publication is 32 bits, counted from the base of
/// its segment, and one that starts below the greatest limit of a segment has to fit.
pub const MAX_FRAME_BYTES: u64 = 3 << 30;
/// The greatest [`Builder::segment_bytes`].
const MAX_SEGMENT_BYTES: u64 = 1 << 30;
/// Smallest block: a small frame has to fit.
const MIN_BLOCK_BYTES: usize = 64;

/// When a cursor that lags is evicted, as Valkey's `client-output-buffer-limit replica`.
///
/// Lag is the number of payload bytes published and not yet read. Zero switches a limit off. A hard
/// limit below what the backlog retains counts as that, for a partial resync may need that much.
///
/// In memory a publication takes about 10 bytes beside its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CursorLimits {
    /// Evicted as soon as it lags by more.
    pub hard_bytes: u64,
    /// Evicted when it lags by more during `soft_ms`.
    pub soft_bytes: u64,
    /// How long a lag above `soft_bytes` is tolerated, in milliseconds.
    pub soft_ms: u64,
}

impl CursorLimits {
    /// No limit: a cursor may pin any amount of memory.
    pub const UNLIMITED: Self = Self { hard_bytes: 0, soft_bytes: 0, soft_ms: 0 };

    pub(crate) fn is_unlimited(&self) -> bool {
        self.hard_bytes == 0 && self.soft_bytes == 0
    }

    /// With a hard limit of at least what the backlog retains.
    pub(crate) fn at_least(self, retained_bytes: u64) -> Self {
        let hard_bytes = if self.hard_bytes == 0 { 0 } else { self.hard_bytes.max(retained_bytes) };
        Self { hard_bytes, ..self }
    }
}

impl Default for CursorLimits {
    /// 256 MiB at once, 64 MiB for 60 seconds.
    fn default() -> Self {
        Self { hard_bytes: 256 << 20, soft_bytes: 64 << 20, soft_ms: 60_000 }
    }
}

/// [`CursorLimits`] that can be changed while they are used. A reader that falls between two
/// stores uses old and new for one look.
#[derive(Debug)]
pub(crate) struct SharedLimits {
    hard_bytes: AtomicU64,
    soft_bytes: AtomicU64,
    soft_ms: AtomicU64,
}

impl SharedLimits {
    pub(crate) fn new(limits: CursorLimits) -> Self {
        Self {
            hard_bytes: AtomicU64::new(limits.hard_bytes),
            soft_bytes: AtomicU64::new(limits.soft_bytes),
            soft_ms: AtomicU64::new(limits.soft_ms),
        }
    }

    pub(crate) fn load(&self) -> CursorLimits {
        CursorLimits {
            hard_bytes: self.hard_bytes.load(ord::FIELD_LOAD()),
            soft_bytes: self.soft_bytes.load(ord::FIELD_LOAD()),
            soft_ms: self.soft_ms.load(ord::FIELD_LOAD()),
        }
    }

    pub(crate) fn store(&self, limits: CursorLimits) {
        self.hard_bytes.store(limits.hard_bytes, ord::FIELD_STORE());
        self.soft_bytes.store(limits.soft_bytes, ord::FIELD_STORE());
        self.soft_ms.store(limits.soft_ms, ord::FIELD_STORE());
    }
}

/// What a buffer is built with.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) base_offset: u64,
    pub(crate) backlog_bytes: u64,
    pub(crate) block_bytes: usize,
    pub(crate) segment_frames: usize,
    pub(crate) segment_bytes: u64,
    pub(crate) segment_blocks: usize,
    pub(crate) segment_contexts: usize,
    pub(crate) max_frame_bytes: u64,
    pub(crate) max_offset: u64,
    pub(crate) max_cursors: usize,
    pub(crate) max_unreclaimed_bytes: u64,
    pub(crate) cursor_limits: CursorLimits,
    pub(crate) pooled_blocks: usize,
    pub(crate) pooled_segments: usize,
    pub(crate) pooled_writers: usize,
    pub(crate) pooled_frame_bytes: u64,
    pub(crate) shared_copies: usize,
    pub(crate) shared_copy_bytes: usize,
}

/// Builds a [`ReplicationBuffer`](super::ReplicationBuffer).
///
/// ```
/// use replcore::buffer::ReplicationBuffer;
///
/// let buffer = ReplicationBuffer::builder().backlog_bytes(1 << 20).build()?;
/// assert_eq!(buffer.append(b"PING\r\n")?, 0..6);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Builder(Settings);

impl Default for Builder {
    fn default() -> Self {
        Self(Settings {
            base_offset: 0,
            backlog_bytes: DEFAULT_BACKLOG_BYTES,
            block_bytes: DEFAULT_BLOCK_BYTES,
            segment_frames: DEFAULT_SEGMENT_FRAMES,
            segment_bytes: DEFAULT_SEGMENT_BYTES,
            segment_blocks: DEFAULT_SEGMENT_BLOCKS,
            segment_contexts: DEFAULT_SEGMENT_CONTEXTS,
            max_frame_bytes: DEFAULT_MAX_FRAME_BYTES,
            max_offset: MAX_OFFSET,
            max_cursors: DEFAULT_MAX_CURSORS,
            max_unreclaimed_bytes: DEFAULT_MAX_UNRECLAIMED_BYTES,
            cursor_limits: CursorLimits::default(),
            pooled_blocks: 64,
            pooled_segments: 64,
            pooled_writers: 64,
            pooled_frame_bytes: DEFAULT_POOLED_FRAME_BYTES,
            shared_copies: 16,
            shared_copy_bytes: 64 << 10,
        })
    }
}

macro_rules! setters {
    ($($(#[doc = $doc:literal])* $name:ident: $type:ty;)*) => {
        impl Builder {
            $($(#[doc = $doc])*
            pub fn $name(mut self, $name: $type) -> Self {
                self.0.$name = $name;
                self
            })*
        }
    };
}

setters! {
    /// The offset at which the stream starts: the number of bytes that came before. Default 0.
    base_offset: u64;
    /// So many bytes behind the end stay attachable, in bytes. Default 10 MiB.
    backlog_bytes: u64;
    /// Staging memory a writer takes at once, in bytes, 64 to 65,536. Default 64 KiB. A frame of more than
    /// half of it takes memory of its own.
    block_bytes: usize;
    /// Publications a segment has room for, at least 1. Default 1024.
    segment_frames: usize;
    /// A segment that holds so many bytes takes no more: the grain of trimming, at most 1 GiB. Default
    /// 512 KiB. Beside a small backlog it is an eighth of that, but 64 KiB at least.
    segment_bytes: u64;
    /// Blocks that the publications of a segment can lie in, 1 to 128. Default 128. A segment in which more
    /// writers, or more long frames, meet is ended early.
    segment_blocks: usize;
    /// Contexts that can follow each other in a segment beside the one with which it opens, 1 to 62. Default
    /// 62. A segment that needs more is ended early.
    segment_contexts: usize;
    /// The longest publication, in bytes: one frame, or a batch; at most 3 GiB. Default 512 MiB.
    max_frame_bytes: u64;
    /// The offset that the stream may not pass. Default, and greatest: [`MAX_OFFSET`].
    max_offset: u64;
    /// Cursors attached at the same time. Default 10 000.
    max_cursors: usize;
    /// So many retired bytes may wait for a stalled thread before it is passed by. Default 4 MiB.
    max_unreclaimed_bytes: u64;
    /// When a cursor that lags is evicted. Default 256 MiB at once, 64 MiB for 60 seconds.
    cursor_limits: CursorLimits;
    /// Spare blocks kept for reuse. Default 64.
    pooled_blocks: usize;
    /// Spare segments kept for reuse. Default 64.
    pooled_segments: usize;
    /// Writers kept for [`append`](super::ReplicationBuffer::append) of a buffer, and sixteen times as many
    /// blocks that other writers left unfinished. Default 64.
    pooled_writers: usize;
    /// Memory of long frames kept for reuse, in bytes altogether. Default 8 MiB.
    pooled_frame_bytes: u64;
    /// Copies of the stream that [`next_copy`](super::Cursor::next_copy) keeps for other cursors. Default 16;
    /// 0 keeps none.
    shared_copies: usize;
    /// The longest of them, in bytes, 1 to 16 MiB. Default 64 KiB.
    shared_copy_bytes: usize;
}

impl Builder {
    /// The settings, if each is within its bounds.
    pub(crate) fn settings(self) -> Result<Settings, BuildError> {
        let settings = self.0;
        let within = |setting, given: u64, least: u64, most: u64| {
            if (least..=most).contains(&given) {
                return Ok(());
            }
            Err(BuildError::OutOfBounds { setting, given, least, most })
        };
        within("max_offset", settings.max_offset, 0, MAX_OFFSET)?;
        within("base_offset", settings.base_offset, 0, settings.max_offset)?;
        let block_bytes = settings.block_bytes as u64;
        within("block_bytes", block_bytes, MIN_BLOCK_BYTES as u64, MAX_PLACES as u64)?;
        within("segment_frames", settings.segment_frames as u64, 1, 1 << 24)?;
        within("segment_bytes", settings.segment_bytes, 1, MAX_SEGMENT_BYTES)?;
        within("segment_blocks", settings.segment_blocks as u64, 1, MAX_BLOCKS as u64)?;
        within("segment_contexts", settings.segment_contexts as u64, 1, MAX_NUMBERS as u64)?;
        within("max_frame_bytes", settings.max_frame_bytes, 1, MAX_FRAME_BYTES)?;
        within("backlog_bytes", settings.backlog_bytes, 0, MAX_OFFSET)?;
        within("max_cursors", settings.max_cursors as u64, 1, 1 << 24)?;
        within("pooled_blocks", settings.pooled_blocks as u64, 0, 1 << 16)?;
        within("pooled_segments", settings.pooled_segments as u64, 0, 1 << 16)?;
        within("pooled_writers", settings.pooled_writers as u64, 0, 1 << 16)?;
        within("pooled_frame_bytes", settings.pooled_frame_bytes, 0, MAX_OFFSET)?;
        within("shared_copies", settings.shared_copies as u64, 0, 1 << 16)?;
        within("shared_copy_bytes", settings.shared_copy_bytes as u64, 1, 16 << 20)?;
        Ok(settings)
    }
}
