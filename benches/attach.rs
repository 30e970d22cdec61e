//! How long it takes to find an offset in the backlog, and what the buffer takes beside payload.
//!
//! `cargo bench --bench attach` attaches cursors at random offsets in backlogs of 1 MiB to 1 GiB, of 60 B and
//! of 1 KiB frames, and prints nanoseconds of an attach, and how many times those of the smallest backlog
//! that is. Then it prints the bytes that the buffer asked of the allocator less the payload in its backlog,
//! for each frame of 60 B: *cold*, when the backlog has been filled once, and *hot*, when it has been turned
//! over several times and every pool holds what it will hold. What waits to be reclaimed counts.
//!
//! `--rounds N`, `--most-mib N` for the largest backlog, `--markdown FILE`; `--quick` and `--test` run all of
//! it once with very little to do; so does `cargo test --benches`.
#![allow(missing_docs)]

#[path = "../tests/support/allocations.rs"]
mod allocations;
#[path = "markers/mod.rs"]
mod markers;
mod rounds;

use std::hint::black_box;
use std::io;
use std::path::PathBuf;
use std::time::Instant;

use clap::Parser;
use replcore::buffer::ReplicationBuffer;

use rounds::Spread;

#[global_allocator]
static ALLOCATOR: allocations::Counting = allocations::Counting;

const ROUNDS: usize = 7;
const BACKLOGS_MIB: [usize; 6] = [1, 4, 16, 64, 256, 1024];
const FRAMES_BYTES: [usize; 2] = [60, 1 << 10];
const ATTACHES: usize = 2000;
/// The backlogs whose memory is weighed, and how often the hot ones are turned over.
const WEIGHED_MIB: [usize; 3] = [1, 10, 64];
const TURNS: usize = 5;
const WEIGHED_FRAME_BYTES: usize = 60;

#[derive(Parser)]
struct Options {
    #[arg(long)]
    rounds: Option<usize>,
    /// The largest backlog
    #[arg(long, default_value_t = 1024)]
    most_mib: usize,
    /// The tables, between the markers in that file
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// All of it once, with very little to do
    #[arg(long)]
    quick: bool,
    #[arg(long, hide = true)]
    test: bool,
    // Cargo passes it to a benchmark, and nothing to a test.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> io::Result<()> {
    let mut options = Options::parse();
    let quick = options.quick || options.test || !options.bench;
    if quick {
        options.most_mib = options.most_mib.min(4);
    }
    let rounds = options.rounds.unwrap_or(if quick { 1 } else { ROUNDS });
    let mut text = attach_times(&options, rounds);
    text += "\n";
    text += &memory(&options);
    if let Some(file) = &options.markdown {
        markers::replace(file, "attach", &text)?;
    }
    Ok(())
}

fn filled(backlog_bytes: usize, frame_bytes: usize) -> ReplicationBuffer {
    let buffer = ReplicationBuffer::builder().backlog_bytes(backlog_bytes as u64).build().expect("valid");
    append(&buffer, backlog_bytes, frame_bytes);
    buffer
}

fn append(buffer: &ReplicationBuffer, bytes: usize, frame_bytes: usize) {
    let (mut writer, frame) = (buffer.writer(), vec![b'x'; frame_bytes]);
    for _ in 0..bytes.div_ceil(frame_bytes) {
        writer.append(&frame).expect("within the limits");
    }
}

fn attach_times(options: &Options, rounds: usize) -> String {
    let mut table = "| backlog | frames | ns of an attach | growth |\n|---|---|---|---|\n".to_owned();
    for frame_bytes in FRAMES_BYTES {
        println!("\nattach at a random offset, frames of {frame_bytes} B, nanoseconds");
        let mut smallest = None;
        for mib in BACKLOGS_MIB.into_iter().filter(|mib| *mib <= options.most_mib) {
            let buffer = filled(mib << 20, frame_bytes);
            let mut random = 0x9e37_79b9_7f4a_7c15_u64;
            let spread = Spread::of((0..rounds).map(|_| attach_ns(&buffer, &mut random)));
            let Spread { median, least, most } = spread;
            let growth = median / *smallest.get_or_insert(median);
            println!("  {mib:>5} MiB{median:>12.0} ({least:.0} to {most:.0})   x{growth:.2}");
            table += &format!(
                "| {mib} MiB | {frame_bytes} B | {median:.0} ({least:.0} to {most:.0}) | x{growth:.2} |\n"
            );
        }
    }
    table
}

/// Nanoseconds of an attach, the mean of a round; the cursor's end is not counted.
fn attach_ns(buffer: &ReplicationBuffer, random: &mut u64) -> f64 {
    let (first, end) = (buffer.first_offset(), buffer.end_offset());
    let mut elapsed = 0;
    for _ in 0..ATTACHES {
        *random ^= *random << 13;
        *random ^= *random >> 7;
        *random ^= *random << 17;
        let offset = first + *random % (end - first);
        let begun = Instant::now();
        let cursor = black_box(buffer.attach(offset));
        elapsed += begun.elapsed().as_nanos();
        assert!(cursor.is_ok(), "the offset is retained");
    }
    elapsed as f64 / ATTACHES as f64
}

fn memory(options: &Options) -> String {
    let mut table =
        "| backlog of 60 B frames | cold, bytes a frame | hot, bytes a frame |\n|---|---|---|\n".to_owned();
    println!("\nbytes beside the payload, for each frame of {WEIGHED_FRAME_BYTES} B in the backlog");
    for mib in WEIGHED_MIB.into_iter().filter(|mib| *mib <= options.most_mib) {
        let mut buffer = None;
        let cold_bytes = allocations::kept(|| buffer = Some(filled(mib << 20, WEIGHED_FRAME_BYTES)));
        let Some(buffer) = buffer else { continue };
        let cold = beside_payload(&buffer, cold_bytes);
        let more_bytes = allocations::kept(|| append(&buffer, (mib << 20) * TURNS, WEIGHED_FRAME_BYTES));
        let hot = beside_payload(&buffer, cold_bytes + more_bytes);
        println!("  {mib:>5} MiB   cold {cold:>7.1}   hot, turned over {TURNS} times {hot:>7.1}");
        table += &format!("| {mib} MiB | {cold:.1} | {hot:.1} |\n");
    }
    table
}

fn beside_payload(buffer: &ReplicationBuffer, kept_bytes: i64) -> f64 {
    let payload = (buffer.end_offset() - buffer.first_offset()) as f64;
    (kept_bytes as f64 - payload) / (payload / WEIGHED_FRAME_BYTES as f64)
}
