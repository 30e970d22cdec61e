//! The models of the buffer, by what races in them.
//!
//! Every model runs the shipped code with capacities of one or two, readers in threads of their
//! own (one on loom's main thread can see nothing and pass), counts what it saw, and names the
//! mutations under which it fails.

mod append;
mod ending;
mod eras;
mod evict;
mod fence;
mod histories;
mod litmus;
mod pairs;
mod read;
mod stall;
mod tables;
mod trim;
mod wake;

use replcore::buffer::{Builder, Cursor, CursorLimits, DEFAULT_MAX_UNRECLAIMED_BYTES, ReplicationBuffer};

use bytes::Buf;

use crate::check::{PROBE, provide_eras, stops};
use crate::model::Model;

/// What may wait for a stopped thread before it is passed by: two objects and the collector's share
/// of each.
const STALL_UNRECLAIMED_BYTES: u64 = 6 << 10;

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
        ending::MODELS,
        eras::MODELS,
        stall::MODELS,
        tables::MODELS,
        pairs::MODELS,
        histories::MODELS,
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// A buffer of segments with `cells` cells, that keeps nothing it need not.
fn small(cells: usize) -> Builder {
    ReplicationBuffer::builder()
        .block_bytes(64)
        .segment_frames(cells)
        .backlog_bytes(0)
        .cursor_limits(CursorLimits::UNLIMITED)
        .pooled_blocks(0)
        .pooled_segments(0)
        .pooled_writers(0)
        .pooled_frame_bytes(0)
        .segment_blocks(4)
        .segment_contexts(4)
        .max_unreclaimed_bytes(if stops() { STALL_UNRECLAIMED_BYTES } else { DEFAULT_MAX_UNRECLAIMED_BYTES })
}

/// Provides for so many eras to come. If a thread is to be stopped, enough are provided already,
/// and every retirement begins one: what a stopped thread holds back is bounded by that.
fn begin_eras(eras: usize) {
    if !stops() {
        provide_eras(eras);
    }
}

/// A buffer that keeps everything.
fn keeping(cells: usize) -> ReplicationBuffer {
    small(cells).backlog_bytes(1 << 20).build().expect("valid settings")
}

/// What the model itself appended: a stall run appends more behind it.
fn without_probes(stream: &[u8]) -> &[u8] {
    let probes = stream.iter().rev().take_while(|byte| **byte == PROBE).count();
    &stream[..stream.len() - probes]
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
        // Touches the segment again: had it been freed since, the canary would say so.
        cursor.advance(len);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering::{self, AcqRel, Acquire, Relaxed, Release, SeqCst};

    use replcore::buffer::model::{FAULTS, ORDERINGS};

    fn weaker(ordering: Ordering) -> &'static [Ordering] {
        match ordering {
            SeqCst => &[AcqRel],
            AcqRel => &[Acquire, Release],
            Acquire | Release => &[Relaxed],
            _ => &[],
        }
    }

    #[test]
    fn every_mutation_has_a_model_that_has_to_catch_it() {
        let models = super::all();
        let caught = |mutation: &str| models.iter().any(|model| model.controls.contains(&mutation));
        let weakened = ORDERINGS
            .iter()
            .filter(|row| row.excuse.is_none())
            .flat_map(|row| weaker(row.ordering).iter().map(|weaker| format!("{}={weaker:?}", row.name)));
        let faults = FAULTS.iter().map(|(_, name, _)| (*name).to_owned());
        let missed: Vec<_> = weakened.chain(faults).filter(|mutation| !caught(mutation)).collect();
        assert!(missed.is_empty(), "no model has to catch {missed:?}");
    }

    #[test]
    fn every_model_of_the_buffer_has_a_control_and_outcomes() {
        for model in super::all().iter().filter(|model| !model.name.starts_with("litmus")) {
            assert!(!model.controls.is_empty() && !model.outcomes.is_empty(), "{}", model.name);
        }
    }
}
