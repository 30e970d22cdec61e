//! The operations, each with what it counts.
//!
//! One thread, fixed inputs, default settings where nothing else is said. The loop around an
//! operation is counted with it: a few instructions. What the kernel does is not counted, and under
//! valgrind the clock is the kernel's: its cost, once a segment, is left out.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::iter::repeat_with;

use bytes::Buf;
use replcore::buffer::{Builder, Cursor, DEFAULT_SEGMENT_FRAMES, ReplicationBuffer, Writer};

/// The symbol of [`counted`].
pub const COUNTED: &str = "replcore_counted";

/// Bytes of a short frame, and of a long one.
const SHORT: usize = 60;
const LONG: usize = 1 << 10;
const SELECT: &[u8] = b"*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n";
/// So much is kept where the buffer is to be in its steady state: what has been trimmed is used again.
const STEADY_BACKLOG_BYTES: u64 = 1 << 20;
/// A backlog from which nothing is trimmed.
const WHOLE_BACKLOG_BYTES: u64 = 1 << 30;
/// Segments of the backlog in which cursors are attached.
const ATTACH_SEGMENTS: usize = 2048;

pub struct Operation {
    pub name: &'static str,
    pub what: &'static str,
    /// How many are counted. Enough that segments, blocks and rounds of the collector average out.
    pub times: u64,
    /// Makes ready, and runs the operation so many times within [`counted`].
    pub run: fn(u64),
}

pub const OPERATIONS: &[Operation] = &[
    Operation {
        name: "append_60",
        what: "append of 60 B by one writer in the steady state; turn-over of segments and blocks, trimming included",
        times: 1 << 16,
        run: |times| append_steadily(times, SHORT),
    },
    Operation {
        name: "append_60_in_segment",
        what: "append of 60 B, none of which begins a segment or a block",
        // Twice as many fit into a block.
        times: 512,
        run: append_in_segment,
    },
    Operation {
        name: "append_60_in_context",
        what: "append of 60 B after select_context, with that context in force; otherwise as append_60",
        times: 1 << 16,
        run: append_in_context,
    },
    Operation {
        name: "append_1024",
        what: "append of 1 KiB; otherwise as append_60",
        times: 1 << 14,
        run: |times| append_steadily(times, LONG),
    },
    Operation {
        name: "read_60_as_chunks",
        what: "a frame of 60 B of one writer, in its share of refresh, chunk and advance by a cursor that has a backlog to read",
        times: 1 << 15,
        run: read_as_chunks,
    },
    Operation {
        name: "read_60_at_once",
        what: "a frame of 60 B, each by a refresh, chunk and advance of its own, by a cursor that keeps up",
        times: 1 << 15,
        run: read_at_once,
    },
    Operation {
        name: "read_60_copied_of_four",
        what: "copy_to_slice of a frame of 60 B, of four writers that appended in turn, refresh included",
        times: 1 << 15,
        run: read_copied_of_four,
    },
    Operation {
        name: "attach_and_let_go",
        what: "a cursor attached at an offset within 2048 segments of 1024 frames of 60 B, and dropped",
        times: 512,
        run: attach,
    },
];

/// Figures that are differences of others.
///
/// `segment_turn_over` is what a segment of 1024 frames of 60 B costs beside its appends: linking it,
/// trimming, retirement, release and reuse of another, and the same of a block.
pub fn derived(counts: &BTreeMap<String, f64>) -> Option<(String, f64)> {
    let steady = counts.get("append_60")?;
    let in_segment = counts.get("append_60_in_segment")?;
    Some(("segment_turn_over".to_owned(), (steady - in_segment) * DEFAULT_SEGMENT_FRAMES as f64))
}

/// Runs `body` with callgrind counting. The symbol is how callgrind knows it, so it is not mangled.
// SAFETY: nothing else has this name.
#[unsafe(export_name = "replcore_counted")]
#[inline(never)]
pub fn counted(body: &mut dyn FnMut()) {
    body();
    // Something is left to do: were the call a jump, callgrind could miss the function's end.
    black_box(&body);
}

fn build(builder: Builder) -> ReplicationBuffer {
    builder.build().expect("the settings are within bounds")
}

fn append(writer: &mut Writer, frame: &[u8]) {
    black_box(writer.append(black_box(frame))).expect("an append of an unfenced writer succeeds");
}

/// A buffer in its steady state, and its writer: the backlog has gone through twice.
fn steady(frame: &[u8]) -> (ReplicationBuffer, Writer) {
    let buffer = build(ReplicationBuffer::builder().backlog_bytes(STEADY_BACKLOG_BYTES));
    let mut writer = buffer.writer();
    while buffer.end_offset() < 2 * STEADY_BACKLOG_BYTES {
        append(&mut writer, frame);
    }
    assert!(buffer.first_offset() > 0, "nothing was trimmed: this is not the steady state");
    (buffer, writer)
}

fn append_steadily(times: u64, frame_bytes: usize) {
    let frame = vec![b'x'; frame_bytes];
    let (_buffer, mut writer) = steady(&frame);
    counted(&mut || {
        for _ in 0..times {
            append(&mut writer, &frame);
        }
    });
}

fn append_in_segment(times: u64) {
    let builder = ReplicationBuffer::builder().backlog_bytes(WHOLE_BACKLOG_BYTES).segment_frames(1 << 16);
    let buffer = build(builder);
    let mut writer = buffer.writer();
    let frame = vec![b'x'; SHORT];
    append(&mut writer, &frame);
    let before = buffer.stats();
    counted(&mut || {
        for _ in 0..times {
            append(&mut writer, &frame);
        }
    });
    let after = buffer.stats();
    let held = |stats: replcore::buffer::BufferStats| (stats.segments_live, stats.blocks_live);
    assert_eq!(held(before), held(after), "a segment or a block was begun");
}

fn append_in_context(times: u64) {
    let frame = vec![b'x'; SHORT];
    let (buffer, mut writer) = steady(&frame);
    let mut append_selected = || {
        let mut staged = writer.frame();
        staged.select_context(black_box(0), black_box(SELECT));
        staged.put_slice(black_box(&frame));
        black_box(staged.publish()).expect("an append of an unfenced writer succeeds");
    };
    append_selected();
    let before = buffer.end_offset();
    counted(&mut || {
        for _ in 0..times {
            append_selected();
        }
    });
    assert_eq!(buffer.end_offset() - before, times * SHORT as u64, "the context was not in force");
}

/// `frames` frames of `writers` writers in turn, and a cursor before the first.
fn written(writers: usize, frames: u64) -> (ReplicationBuffer, Cursor) {
    let buffer = build(ReplicationBuffer::builder().backlog_bytes(WHOLE_BACKLOG_BYTES));
    let mut writers: Vec<Writer> = repeat_with(|| buffer.writer()).take(writers).collect();
    let frame = vec![b'x'; SHORT];
    for turn in 0..frames as usize {
        let turns = writers.len();
        append(&mut writers[turn % turns], &frame);
    }
    let cursor = buffer.attach(0).expect("the first offset is retained");
    (buffer, cursor)
}

fn refresh(cursor: &mut Cursor) -> usize {
    cursor.refresh().expect("the cursor is within its limits")
}

/// Reads all that is visible; returns how many bytes.
fn read_chunks(cursor: &mut Cursor) -> u64 {
    let mut read_bytes = 0;
    while cursor.has_remaining() {
        let len = black_box(cursor.chunk()).len();
        cursor.advance(len);
        read_bytes += len as u64;
    }
    read_bytes
}

fn read_as_chunks(times: u64) {
    let (_buffer, mut cursor) = written(1, times);
    let mut read_bytes = 0;
    counted(&mut || {
        while refresh(&mut cursor) > 0 {
            read_bytes += read_chunks(&mut cursor);
        }
    });
    assert_eq!(read_bytes, times * SHORT as u64);
}

/// Only the reading is counted, with a call of [`counted`] for each; the append before it is not.
fn read_at_once(times: u64) {
    let frame = vec![b'x'; SHORT];
    let (buffer, mut writer) = steady(&frame);
    let mut cursor = buffer.attach_at_end().expect("one cursor is allowed");
    for _ in 0..times {
        append(&mut writer, &frame);
        counted(&mut || {
            refresh(&mut cursor);
            read_chunks(&mut cursor);
        });
    }
    assert_eq!(cursor.offset(), buffer.end_offset());
}

fn read_copied_of_four(times: u64) {
    let (_buffer, mut cursor) = written(4, times);
    let mut target = [0; SHORT];
    let mut frames = 0;
    counted(&mut || {
        while refresh(&mut cursor) > 0 {
            while cursor.remaining() >= SHORT {
                cursor.copy_to_slice(black_box(&mut target));
                frames += 1;
            }
        }
    });
    assert_eq!(frames, times);
}

/// The offsets are spread over the backlog by the golden ratio: evenly, however many.
fn attach(times: u64) {
    let (buffer, cursor) = written(1, (ATTACH_SEGMENTS * DEFAULT_SEGMENT_FRAMES) as u64);
    drop(cursor);
    let end = buffer.end_offset();
    let mut place: u64 = 0;
    counted(&mut || {
        for _ in 0..times {
            place = place.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let offset = ((u128::from(place) * u128::from(end)) >> 64) as u64;
            let cursor = buffer.attach(black_box(offset)).expect("all of the stream is retained");
            drop(black_box(cursor));
        }
    });
}
