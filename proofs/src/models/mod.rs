//! The models of the buffer, by what races in them.
//!
//! Every model runs the shipped code with capacities of one or two, readers in threads of their
//! own (one on loom's main thread can see nothing and pass), counts what it saw, and names the
//! mutations under which it fails.

mod append;
mod eras;
mod evict;
mod fence;
mod litmus;
mod read;
mod stall;
mod trim;
mod wake;

use replcore::buffer::{Builder, Cursor, CursorLimits, ReplicationBuffer};

use bytes::Buf;

use crate::model::Model;

/// All models, the checker's self-test first.
pub fn all() -> Vec<&'static Model> {
    [
        litmus::MODELS,
        append::MODELS,
        read::MODELS,
        trim::MODELS,
        evict::MODELS,
        fence::MODELS,
        wake::MODELS,
        eras::MODELS,
        stall::MODELS,
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// A buffer of segments with `cells` cells, that keeps nothing it need not.
fn small(cells: usize) -> Builder {
    ReplicationBuffer::builder()
        .block_bytes(64)
        .block_records(4)
        .segment_frames(cells)
        .backlog_bytes(0)
        .cursor_limits(CursorLimits::UNLIMITED)
        .pooled_blocks(0)
        .pooled_segments(0)
        .pooled_writers(0)
}

/// A buffer that keeps everything.
fn keeping(cells: usize) -> ReplicationBuffer {
    small(cells).backlog_bytes(1 << 20).build().expect("valid settings")
}

/// Reads what is published; the cursor must not have been evicted.
fn read_visible(cursor: &mut Cursor) -> Vec<u8> {
    let mut bytes = Vec::new();
    while cursor.refresh().expect("not evicted") > 0 {
        bytes.extend(drain(cursor));
    }
    bytes
}

/// Reads what the last refresh made visible.
fn drain(cursor: &mut Cursor) -> Vec<u8> {
    let mut bytes = Vec::new();
    while cursor.has_remaining() {
        let chunk = cursor.chunk();
        assert!(!chunk.is_empty(), "remaining() counts bytes that chunk() has not");
        bytes.extend_from_slice(chunk);
        let len = chunk.len();
        // Touches the record again: had it been freed since, the canary would say so.
        cursor.advance(len);
    }
    bytes
}
