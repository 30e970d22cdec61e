//! Frames and bytes a second: appended, delivered, read.

use std::hint::black_box;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, ScopedJoinHandle};
use std::time::Instant;

use super::BACKLOG_BYTES;
use super::cells::{Cell, Metric};
use super::options::Options;
use super::peers::{Append, Read, Shape, Stream};
use super::roster::{self, Peer};
use super::rounds::in_turn;
use super::tables;

const WRITERS: [usize; 4] = [1, 2, 4, 8];
const READERS: [usize; 3] = [1, 4, 16];
/// Writers of the loads that vary readers.
const WRITERS_BESIDE_READERS: usize = 2;
/// The lengths of frames, and how many of them make a round.
const FRAMES: [(usize, usize); 3] = [(60, 2_400_000), (1 << 10, 400_000), (64 << 10, 4800)];
/// The lengths of the curve over lengths, and the bytes of a round there.
const LENGTHS: [usize; 7] = [16, 64, 256, 1 << 10, 4 << 10, 16 << 10, 64 << 10];
const LENGTHS_BYTES: usize = 24 << 20;
/// How often what was written is read: first to warm up, then to count. Once is half a millisecond.
const WARM_PASSES: usize = 2;
const PASSES: usize = 14;
/// What a reader takes at once.
const READ_BYTES: usize = 64 << 10;

/// Frames of each writer: those before the clock starts, and those that are measured.
pub struct Work {
    writers: usize,
    warm: usize,
    measured: usize,
}

pub struct Rates {
    /// Frames a second, until the last append.
    frames: f64,
    /// Bytes a second that all readers together have read, until the last of them is done.
    delivered: f64,
}

fn shape_and_work(
    options: &Options,
    frame_bytes: usize,
    frames: usize,
    (writers, readers): (usize, usize),
) -> (Shape, Work) {
    // The backlog twice over: every pool, ring and allocator has by then what it will have.
    let warm = options.reduced(2 * BACKLOG_BYTES / frame_bytes).div_ceil(writers);
    let measured = options.reduced(frames).div_ceil(writers);
    let frames = (warm + measured) * writers;
    let shape = Shape { frames, frame_bytes, readers, backlog_bytes: BACKLOG_BYTES, watching_writers: 0 };
    (shape, Work { writers, warm, measured })
}

fn measure(options: &Options, peers: &[&Peer], shape: &Shape, work: &Work) -> Vec<Vec<Rates>> {
    in_turn(peers, options.rounds(), |peer| (peer.run)(shape, work))
}

fn select(measured: &[Vec<Rates>], select: fn(&Rates) -> f64) -> Vec<Vec<f64>> {
    measured.iter().map(|rounds| rounds.iter().map(select).collect()).collect()
}

pub fn append_by_writers(options: &Options) -> Vec<Cell> {
    println!(
        "\nLoads without readers leave out what keeps nothing then: channels, rings that wait for readers."
    );
    let (peers, mut cells) = (roster::without_readers(), Vec::new());
    for (frame_bytes, frames) in FRAMES.into_iter().filter(|(bytes, _)| options.wants_bytes(*bytes)) {
        for writers in WRITERS {
            let (shape, work) = shape_and_work(options, frame_bytes, frames, (writers, 0));
            let rates = select(&measure(options, &peers, &shape, &work), |rates| rates.frames / 1e6);
            let cell = Cell::of_rates(Metric::Append, (frame_bytes, writers, 0), &peers, rates);
            tables::print(&cell);
            cells.push(cell);
        }
    }
    cells
}

pub fn append_beside_readers(options: &Options) -> Vec<Cell> {
    let (peers, mut cells) = (roster::all(), Vec::new());
    for (frame_bytes, frames) in FRAMES.into_iter().filter(|(bytes, _)| options.wants_bytes(*bytes)) {
        for readers in READERS {
            // So many copies more: fewer of them.
            let frames = frames / readers.isqrt();
            let threads = (WRITERS_BESIDE_READERS, readers);
            let (shape, work) = shape_and_work(options, frame_bytes, frames, threads);
            let measured = measure(options, &peers, &shape, &work);
            let load = (frame_bytes, WRITERS_BESIDE_READERS, readers);
            let appended = select(&measured, |rates| rates.frames / 1e6);
            let delivered = select(&measured, |rates| rates.delivered / 1e9);
            for (metric, values) in [(Metric::AppendBeside, appended), (Metric::Delivery, delivered)] {
                let cell = Cell::of_rates(metric, load, &peers, values);
                tables::print(&cell);
                cells.push(cell);
            }
        }
    }
    cells
}

pub fn over_lengths(options: &Options) -> Vec<Cell> {
    let (peers, mut cells) = (roster::all(), Vec::new());
    for frame_bytes in LENGTHS {
        let frames = (LENGTHS_BYTES / frame_bytes).min(400_000);
        let (shape, work) = shape_and_work(options, frame_bytes, frames, (WRITERS_BESIDE_READERS, 1));
        let measured = measure(options, &peers, &shape, &work);
        let values = measured
            .iter()
            .map(|rounds| rounds.iter().map(|rates| rates.frames * frame_bytes as f64 / 1e9).collect());
        let load = (frame_bytes, WRITERS_BESIDE_READERS, 1);
        let cell = Cell::of_rates(Metric::Lengths, load, &peers, values.collect());
        tables::print(&cell);
        cells.push(cell);
    }
    cells
}

/// Appends and reads all of it, first what warms up, then what counts.
pub fn run<S: Stream>(shape: &Shape, work: &Work) -> Rates {
    let (stream, readers) = S::open(shape);
    let progress: Vec<AtomicU64> = readers.iter().map(|_| AtomicU64::new(0)).collect();
    let barrier = Barrier::new(work.writers + readers.len());
    let (appended, delivered) = thread::scope(|scope| {
        let (barrier, progress, stream) = (&barrier, &progress, &stream);
        let reading: Vec<_> = readers
            .into_iter()
            .zip(progress)
            .map(|(reader, progress)| scope.spawn(move || read_all(reader, progress, barrier, shape, work)))
            .collect();
        let writing: Vec<_> = (0..work.writers)
            .map(|_| scope.spawn(move || write_all(stream, progress, barrier, shape, work)))
            .collect();
        (span(writing), span(reading))
    });
    let frames = (work.measured * work.writers) as f64;
    let bytes = frames * shape.frame_bytes as f64;
    Rates { frames: frames / appended, delivered: bytes * shape.readers as f64 / delivered }
}

/// From the first that begins to the last that ends, in seconds.
fn span(threads: Vec<ScopedJoinHandle<'_, (Instant, Instant)>>) -> f64 {
    let times: Vec<_> = threads.into_iter().filter_map(|thread| thread.join().ok()).collect();
    let begun = times.iter().map(|(begun, _)| *begun).min();
    let ended = times.iter().map(|(_, ended)| *ended).max();
    begun.zip(ended).map_or(f64::NAN, |(begun, ended)| (ended - begun).as_secs_f64())
}

fn read_all<R: Read>(
    mut reader: R,
    progress: &AtomicU64,
    barrier: &Barrier,
    shape: &Shape,
    work: &Work,
) -> (Instant, Instant) {
    let mut target = vec![0; READ_BYTES];
    let mut read_bytes = 0;
    let mut read_up_to = |frames: usize| {
        let end = (frames * work.writers * shape.frame_bytes) as u64;
        while read_bytes < end {
            // Not beyond, for a reader waits there.
            let room = (end - read_bytes).min(READ_BYTES as u64) as usize;
            let some = reader.read(&mut target[..room]);
            // For a copy that nobody looks at could be left out.
            black_box(&mut target);
            match some {
                0 => thread::yield_now(),
                some => {
                    read_bytes += some as u64;
                    progress.store(read_bytes, Ordering::Release);
                }
            }
        }
    };
    barrier.wait();
    read_up_to(work.warm);
    barrier.wait();
    let begun = Instant::now();
    read_up_to(work.warm + work.measured);
    (begun, Instant::now())
}

fn write_all<S: Stream>(
    stream: &S,
    progress: &[AtomicU64],
    barrier: &Barrier,
    shape: &Shape,
    work: &Work,
) -> (Instant, Instant) {
    let mut writer = stream.writer();
    let frame = vec![b'x'; shape.frame_bytes];
    barrier.wait();
    for count in 0..work.warm {
        writer.append(&frame);
        keep_pace(progress, count + 1, work.writers, shape.frame_bytes, || false);
    }
    barrier.wait();
    let begun = Instant::now();
    for count in work.warm..work.warm + work.measured {
        writer.append(&frame);
        keep_pace(progress, count + 1, work.writers, shape.frame_bytes, || false);
    }
    (begun, Instant::now())
}

/// Holds a writer back when the slowest reader is a backlog behind: the same for all peers, for
/// some would lose frames and others take any amount of memory. It takes all writers to be as far as this
/// one, and gives up once the round is over, when they are not.
pub fn keep_pace(
    progress: &[AtomicU64],
    frames: usize,
    writers: usize,
    frame_bytes: usize,
    is_over: impl Fn() -> bool,
) {
    const LOOK_EVERY_BYTES: usize = 16 << 10;
    if progress.is_empty() || !frames.is_multiple_of(LOOK_EVERY_BYTES.div_ceil(frame_bytes)) {
        return;
    }
    let appended = frames * writers * frame_bytes;
    loop {
        let slowest = progress.iter().map(|read| read.load(Ordering::Acquire)).min().unwrap_or(0);
        if appended.saturating_sub(slowest as usize) <= BACKLOG_BYTES || is_over() {
            return;
        }
        thread::yield_now();
    }
}

pub fn read_alone(options: &Options) -> Vec<Cell> {
    let (peers, mut cells) = (roster::all(), Vec::new());
    for (frame_bytes, _) in FRAMES.into_iter().filter(|(bytes, _)| options.wants_bytes(*bytes)) {
        for writers in [1, 4] {
            // Three quarters of the backlog, which everything holds, again and again.
            let frames = (WARM_PASSES + PASSES) * options.reduced(BACKLOG_BYTES / 4 * 3 / frame_bytes);
            let shape =
                Shape { frames, frame_bytes, readers: 1, backlog_bytes: BACKLOG_BYTES, watching_writers: 0 };
            let measured = in_turn(&peers, options.rounds(), |peer| (peer.read)(&shape, writers) / 1e9);
            let cell = Cell::of_rates(Metric::Read, (frame_bytes, writers, 1), &peers, measured);
            tables::print(&cell);
            cells.push(cell);
        }
    }
    cells
}

/// Bytes a second of one reader, of frames that `writers` writers have appended in turn before.
pub fn read_rate<S: Stream>(shape: &Shape, writers: usize) -> f64 {
    let (stream, mut readers) = S::open(shape);
    let frame = vec![b'x'; shape.frame_bytes];
    let mut writers: Vec<_> = (0..writers).map(|_| stream.writer()).collect();
    let turns = writers.len();
    let mut target = vec![0; READ_BYTES];
    let frames = shape.frames / (WARM_PASSES + PASSES);
    let bytes = frames * shape.frame_bytes;
    let mut elapsed = 0.0;
    for pass in 0..WARM_PASSES + PASSES {
        for turn in 0..frames {
            writers[turn % turns].append(&frame);
        }
        let (begun, mut read_bytes) = (Instant::now(), 0);
        while read_bytes < bytes {
            read_bytes += readers[0].read(&mut target);
            black_box(&mut target);
        }
        if pass >= WARM_PASSES {
            elapsed += begun.elapsed().as_secs_f64();
        }
    }
    (PASSES * bytes) as f64 / elapsed
}
