//! The buffer against what a user would pick instead, in one run.
//!
//! `cargo bench --bench buffer` prints, for every load, the median of several rounds and how far
//! they spread, for the product and for each peer, and the ratio of product to peer: above 1 the
//! product is better, below 1 it is worse, and that is marked. The peers run in turn within each
//! round, and the turn shifts from round to round, so that what else the machine does hits all.
//!
//! Read the numbers with the machine in mind: on few cores threads seldom meet, and a lock is rarely
//! found taken. What the tables of latencies show of the log that fills in place does not go away
//! with more cores, only with fewer threads.
//!
//! `--quick` and `--test` run all of it once with very little to do; so does `cargo test --benches`.
#![allow(missing_docs)]

mod peers;
mod rounds;

use std::fmt::Write as _;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use peers::{Append, Broadcast, ChannelEach, LockedDeque, Product, Read, ReserveAndFill, Shape, Stream};
use rounds::median;

/// Rounds of each load; the median of so many is reported.
const ROUNDS: usize = 7;
const WRITERS: [usize; 4] = [1, 2, 4, 8];
const READERS: [usize; 3] = [1, 4, 16];
/// Writers of the loads that vary readers.
const WRITERS_BESIDE_READERS: usize = 2;
/// The lengths of frames, and how many of them make a round.
const FRAMES: [(usize, usize); 3] = [(60, 160_000), (1 << 10, 32_000), (64 << 10, 800)];
/// Frames of a round when 4 readers or more read each of them: so many times fewer.
const FEWER_FRAMES_BESIDE_READERS: usize = 2;
/// What is kept behind the end, and what readers may lag before the writers wait for them.
const BACKLOG_BYTES: usize = 4 << 20;
/// What a reader takes at once.
const READ_BYTES: usize = 64 << 10;
/// Writers of the latency load, on however few cores.
const LATENCY_WRITERS: usize = 8;
const LATENCY_FRAMES: [(usize, usize); 2] = [(1 << 10, 48_000), (64 << 10, 1600)];
/// A writer of the latency load does something else so long between two appends.
const THINKING: Duration = Duration::from_micros(5);

struct Plan {
    rounds: usize,
    /// Frames are divided by this.
    divisor: usize,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |wanted: &str| arguments.iter().any(|argument| argument == wanted);
    // Cargo passes `--bench` to a benchmark, and nothing to a test.
    let quick = has("--quick") || has("--test") || !has("--bench");
    let plan = if quick { Plan { rounds: 1, divisor: 100 } } else { Plan { rounds: ROUNDS, divisor: 1 } };
    let begun = Instant::now();
    let cores = thread::available_parallelism().map_or(1, usize::from);
    println!("{} rounds on {cores} cores; median (least to most) of the rounds", plan.rounds);
    append_by_writers(&plan);
    append_beside_readers(&plan);
    read_alone(&plan);
    latency(&plan);
    println!("\n{:.0} s in all", begun.elapsed().as_secs_f64());
}

// --- Rounds and tables ------------------------------------------------------------------------

/// One load on one peer: what it measured.
type Measure = fn(&Shape, usize) -> f64;

/// Runs the peers in turn, `rounds` times; returns what each measured, sorted.
fn in_turn<R>(peers: &[(&str, R)], rounds: usize, mut run: impl FnMut(&R) -> f64) -> Vec<Vec<f64>> {
    let mut measured = rounds::in_turn(peers, rounds, |(_, measure)| run(measure));
    for values in &mut measured {
        values.sort_by(f64::total_cmp);
    }
    measured
}

/// Prints a load's line for each peer: the first is the product.
fn print_rates(load: &str, unit: &str, peers: &[(&str, Measure)], measured: &[Vec<f64>]) {
    println!("\n{load}, {unit}");
    let product = median(&measured[0]);
    for ((name, _), values) in peers.iter().zip(measured) {
        let (least, most) = (values[0], values[values.len() - 1]);
        let ratio = product / median(values);
        let mut line = format!("  {name:<24}{:>9.2} ({least:.2} to {most:.2})", median(values));
        if *name != peers[0].0 {
            let verdict = if ratio < 1.0 { "  <- the product loses" } else { "" };
            let _ = write!(
                line,
                "{:>width$}x{ratio:.2}{verdict}",
                "",
                width = 52_usize.saturating_sub(line.len())
            );
        }
        println!("{line}");
    }
}

fn bytes_name(bytes: usize) -> String {
    if bytes < 1024 { format!("{bytes} B") } else { format!("{} KiB", bytes / 1024) }
}

// --- Throughput -------------------------------------------------------------------------------

fn append_by_writers(plan: &Plan) {
    // A channel for each of no readers keeps nothing: it is no peer here.
    let peers: [(&str, Measure); 4] = [
        (Product::NAME, append_rate::<Product>),
        (LockedDeque::NAME, append_rate::<LockedDeque>),
        (Broadcast::NAME, append_rate::<Broadcast>),
        (ReserveAndFill::NAME, append_rate::<ReserveAndFill>),
    ];
    for (frame_bytes, frames) in FRAMES {
        for writers in WRITERS {
            let shape = Shape {
                frames: frames / plan.divisor,
                frame_bytes,
                readers: 0,
                backlog_bytes: BACKLOG_BYTES,
            };
            let measured = in_turn(&peers, plan.rounds, |run| run(&shape, writers) / 1e6);
            let load = format!("append of {} by {writers} writers, no reader", bytes_name(frame_bytes));
            print_rates(&load, "million frames/s", &peers, &measured);
        }
    }
}

/// Frames a second, by `writers` writers and the readers of the shape, until the last append.
fn append_rate<S: Stream>(shape: &Shape, writers: usize) -> f64 {
    run::<S>(shape, writers).0
}

/// Bytes a second that all readers together have read, until the last of them is done.
fn delivery_rate<S: Stream>(shape: &Shape, writers: usize) -> f64 {
    run::<S>(shape, writers).1
}

fn append_beside_readers(plan: &Plan) {
    macro_rules! peers {
        ($rate:ident) => {{
            let peers: [(&str, Measure); 5] = [
                (Product::NAME, $rate::<Product>),
                (LockedDeque::NAME, $rate::<LockedDeque>),
                (Broadcast::NAME, $rate::<Broadcast>),
                (ChannelEach::NAME, $rate::<ChannelEach>),
                (ReserveAndFill::NAME, $rate::<ReserveAndFill>),
            ];
            peers
        }};
    }
    for (frame_bytes, frames) in FRAMES {
        for readers in READERS {
            let fewer = if readers < 4 { 1 } else { FEWER_FRAMES_BESIDE_READERS };
            let frames = frames / plan.divisor / fewer;
            let shape = Shape { frames, frame_bytes, readers, backlog_bytes: BACKLOG_BYTES };
            let load = format!(
                "{} by {WRITERS_BESIDE_READERS} writers beside {readers} readers",
                bytes_name(frame_bytes)
            );
            let peers = peers!(append_rate);
            let measured = in_turn(&peers, plan.rounds, |run| run(&shape, WRITERS_BESIDE_READERS) / 1e6);
            print_rates(&format!("append of {load}"), "million frames/s", &peers, &measured);
            let peers = peers!(delivery_rate);
            let measured = in_turn(&peers, plan.rounds, |run| run(&shape, WRITERS_BESIDE_READERS) / 1e9);
            print_rates(&format!("delivery of {load}"), "GB/s to all readers", &peers, &measured);
        }
    }
}

/// Appends and reads all of it. Frames a second and bytes a second, as above.
fn run<S: Stream>(shape: &Shape, writers: usize) -> (f64, f64) {
    let (stream, readers) = S::open(shape);
    let frames = shape.frames / writers;
    let total_bytes = (frames * writers * shape.frame_bytes) as u64;
    let progress: Vec<AtomicU64> = readers.iter().map(|_| AtomicU64::new(0)).collect();
    let barrier = Barrier::new(writers + readers.len());
    let (appended, delivered) = thread::scope(|scope| {
        let (barrier, progress, stream) = (&barrier, &progress, &stream);
        let reading: Vec<_> = readers
            .into_iter()
            .zip(progress)
            .map(|(mut reader, progress)| {
                scope.spawn(move || {
                    let mut target = vec![0; READ_BYTES];
                    let mut read_bytes = 0;
                    barrier.wait();
                    let begun = Instant::now();
                    while read_bytes < total_bytes {
                        match reader.read(&mut target) {
                            0 => thread::yield_now(),
                            some => {
                                read_bytes += some as u64;
                                progress.store(read_bytes, Ordering::Release);
                            }
                        }
                    }
                    (begun, Instant::now())
                })
            })
            .collect();
        let writing: Vec<_> = (0..writers)
            .map(|_| {
                scope.spawn(move || {
                    let mut writer = stream.writer();
                    let frame = vec![b'x'; shape.frame_bytes];
                    barrier.wait();
                    let begun = Instant::now();
                    for count in 0..frames {
                        writer.append(&frame);
                        keep_pace(progress, count + 1, writers, shape);
                    }
                    (begun, Instant::now())
                })
            })
            .collect();
        let span = |threads: Vec<thread::ScopedJoinHandle<'_, (Instant, Instant)>>| {
            let times: Vec<_> = threads.into_iter().filter_map(|thread| thread.join().ok()).collect();
            let begun = times.iter().map(|(begun, _)| *begun).min();
            let ended = times.iter().map(|(_, ended)| *ended).max();
            begun.zip(ended).map_or(f64::NAN, |(begun, ended)| (ended - begun).as_secs_f64())
        };
        (span(writing), span(reading))
    });
    let frames = (frames * writers) as f64;
    (frames / appended, (total_bytes * progress.len() as u64) as f64 / delivered)
}

/// Holds a writer back when the slowest reader is a backlog behind: the same for all peers, for
/// some would lose frames and others take any amount of memory.
fn keep_pace(progress: &[AtomicU64], frames: usize, writers: usize, shape: &Shape) {
    const LOOK_EVERY_BYTES: usize = 16 << 10;
    if progress.is_empty() || !frames.is_multiple_of(LOOK_EVERY_BYTES.div_ceil(shape.frame_bytes)) {
        return;
    }
    let appended = frames * writers * shape.frame_bytes;
    loop {
        let slowest = progress.iter().map(|read| read.load(Ordering::Acquire)).min().unwrap_or(0);
        if appended.saturating_sub(slowest as usize) <= BACKLOG_BYTES {
            return;
        }
        thread::yield_now();
    }
}

fn read_alone(plan: &Plan) {
    let peers: [(&str, Measure); 5] = [
        (Product::NAME, read_rate::<Product>),
        (LockedDeque::NAME, read_rate::<LockedDeque>),
        (Broadcast::NAME, read_rate::<Broadcast>),
        (ChannelEach::NAME, read_rate::<ChannelEach>),
        (ReserveAndFill::NAME, read_rate::<ReserveAndFill>),
    ];
    for (frame_bytes, _) in FRAMES {
        for writers in [1, 4] {
            let frames = BACKLOG_BYTES / frame_bytes / plan.divisor.min(10);
            let shape = Shape { frames, frame_bytes, readers: 1, backlog_bytes: BACKLOG_BYTES };
            let measured = in_turn(&peers, plan.rounds, |run| run(&shape, writers) / 1e9);
            let load = format!("read by one what {writers} wrote in turn, {}", bytes_name(frame_bytes));
            print_rates(&load, "GB/s", &peers, &measured);
        }
    }
}

/// Bytes a second of one reader, of frames that `writers` writers have appended in turn before.
fn read_rate<S: Stream>(shape: &Shape, writers: usize) -> f64 {
    let (stream, mut readers) = S::open(shape);
    let frame = vec![b'x'; shape.frame_bytes];
    let mut writers: Vec<_> = (0..writers).map(|_| stream.writer()).collect();
    let turns = writers.len();
    for turn in 0..shape.frames {
        writers[turn % turns].append(&frame);
    }
    let total_bytes = shape.frames * shape.frame_bytes;
    let mut target = vec![0; READ_BYTES];
    let mut read_bytes = 0;
    let begun = Instant::now();
    while read_bytes < total_bytes {
        read_bytes += readers[0].read(&mut target);
    }
    total_bytes as f64 / begun.elapsed().as_secs_f64()
}

// --- Latency ----------------------------------------------------------------------------------

/// Nanoseconds of each append of a round.
#[derive(Default)]
struct Delays {
    /// From the return of the append until a reader could read the frame.
    hidden: Vec<u64>,
    /// From the call of the append until then.
    whole: Vec<u64>,
    /// From the return of the append until a reading thread had read it.
    read: Vec<u64>,
}

type MeasureDelays = fn(&Shape) -> Delays;

fn latency(plan: &Plan) {
    macro_rules! peers {
        ($delays:ident) => {{
            let peers: [(&str, MeasureDelays); 5] = [
                (Product::NAME, $delays::<Product>),
                (LockedDeque::NAME, $delays::<LockedDeque>),
                (Broadcast::NAME, $delays::<Broadcast>),
                (ChannelEach::NAME, $delays::<ChannelEach>),
                (ReserveAndFill::NAME, $delays::<ReserveAndFill>),
            ];
            peers
        }};
    }
    for (frame_bytes, frames) in LATENCY_FRAMES {
        // A backlog twice over goes through before the clock runs: memory is as in the long run.
        let frames = (frames + 2 * BACKLOG_BYTES / frame_bytes) / plan.divisor.min(20);
        let shape = Shape { frames, frame_bytes, readers: 1, backlog_bytes: BACKLOG_BYTES };
        let load = format!("{} by {LATENCY_WRITERS} writers, one reader", bytes_name(frame_bytes));
        let peers = peers!(busy_delays);
        let mut all = delays_in_turn(&peers, plan.rounds, &shape);
        print_delays(&format!("hidden after the append returned, {load}"), &peers, &mut all, |d| {
            &mut d.hidden
        });
        print_delays(&format!("call of the append to readable, {load}"), &peers, &mut all, |d| &mut d.whole);
        let peers = peers!(yielding_delays);
        let mut all = delays_in_turn(&peers, plan.rounds, &shape);
        let load = format!("append returned to read by the reader's thread, {load}, all yielding");
        print_delays(&load, &peers, &mut all, |d| &mut d.read);
    }
}

fn delays_in_turn(peers: &[(&str, MeasureDelays)], rounds: usize, shape: &Shape) -> Vec<Delays> {
    let mut all: Vec<Delays> = peers.iter().map(|_| Delays::default()).collect();
    for round in 0..rounds {
        for turn in 0..peers.len() {
            let peer = (round + turn) % peers.len();
            let delays = peers[peer].1(shape);
            all[peer].hidden.extend(delays.hidden);
            all[peer].whole.extend(delays.whole);
            all[peer].read.extend(delays.read);
        }
    }
    all
}

/// The writers leave the core when it is taken from them: in the midst of an append, now and then.
fn busy_delays<S: Stream>(shape: &Shape) -> Delays {
    delays::<S>(shape, false)
}

/// The writers leave the core between two appends, as tasks do: so the reader's turn comes soon, and
/// what it waits for is the stream more than the scheduler.
fn yielding_delays<S: Stream>(shape: &Shape) -> Delays {
    delays::<S>(shape, true)
}

fn print_delays(
    load: &str,
    peers: &[(&str, MeasureDelays)],
    all: &mut [Delays],
    select: fn(&mut Delays) -> &mut Vec<u64>,
) {
    println!("\n{load}, microseconds");
    println!("  {:<24}{:>10}{:>10}{:>10}{:>10}{:>12}", "", "p50", "p99", "p99.9", "max", "p99.9 ratio");
    let mut product = None;
    for ((name, _), delays) in peers.iter().zip(all) {
        let delays = select(delays);
        delays.sort_unstable();
        let at = |part: f64| {
            let index = ((delays.len() as f64 * part) as usize).min(delays.len().saturating_sub(1));
            delays.get(index).map_or(f64::NAN, |ns| *ns as f64 / 1e3)
        };
        let mut line = format!("  {name:<24}");
        for part in [0.5, 0.99, 0.999, 1.0] {
            let _ = write!(line, "{:>10.2}", at(part));
        }
        match product {
            None => product = Some(at(0.999)),
            Some(0.0) if at(0.999) > 0.0 => line.push_str("  the product: never"),
            Some(product) if product > 0.0 => {
                // Peer to product, for here less is better.
                let ratio = at(0.999) / product;
                let verdict = if ratio < 1.0 { "  <- the product loses" } else { "" };
                let _ = write!(line, "{:>11}x{ratio:.2}{verdict}", "");
            }
            Some(_) => {}
        }
        println!("{line}");
    }
}

/// Appends frames and reads them, until memory is what it will be.
fn warm_up<S: Stream>(stream: &S, reader: &mut S::Reader, shape: &Shape, frames: usize) {
    let mut writer = stream.writer();
    let (frame, mut target) = (vec![b'x'; shape.frame_bytes], vec![0; shape.frame_bytes]);
    for _ in 0..frames {
        writer.append(&frame);
        let mut filled = 0;
        while filled < target.len() {
            filled += reader.read(&mut target[filled..]);
        }
    }
}

/// More writers than cores, each with something else to do in between; one thread reads. A frame
/// begins with the number of its writer and its own.
fn delays<S: Stream>(shape: &Shape, yielding: bool) -> Delays {
    let (stream, mut readers) = S::open(shape);
    let warming = (2 * BACKLOG_BYTES / shape.frame_bytes).min(shape.frames / 2);
    warm_up(&stream, &mut readers[0], shape, warming);
    let frames = (shape.frames - warming) / LATENCY_WRITERS;
    let progress = [AtomicU64::new(0)];
    let epoch = Instant::now();
    let now_ns = || epoch.elapsed().as_nanos() as u64;
    let returned: Vec<AtomicU64> = (0..frames * LATENCY_WRITERS).map(|_| AtomicU64::new(0)).collect();
    let barrier = Barrier::new(LATENCY_WRITERS + 1);
    thread::scope(|scope| {
        let (barrier, stream, returned, progress) = (&barrier, &stream, &returned, &progress);
        let mut reader = readers.remove(0);
        let reading = scope.spawn(move || {
            let mut target = vec![0; shape.frame_bytes];
            let mut read_at = Vec::with_capacity(returned.len());
            barrier.wait();
            while read_at.len() < returned.len() {
                let mut filled = 0;
                while filled < target.len() {
                    match reader.read(&mut target[filled..]) {
                        0 => thread::yield_now(),
                        some => filled += some,
                    }
                }
                let number = u64::from_le_bytes(target[..8].try_into().expect("a frame is longer"));
                read_at.push((number, now_ns()));
                progress[0].store((read_at.len() * shape.frame_bytes) as u64, Ordering::Release);
            }
            read_at
        });
        let writing: Vec<_> = (0..LATENCY_WRITERS)
            .map(|number| {
                scope.spawn(move || {
                    let mut writer = stream.writer();
                    let mut frame = vec![b'x'; shape.frame_bytes];
                    let (mut hidden, mut whole) = (Vec::with_capacity(frames), Vec::with_capacity(frames));
                    barrier.wait();
                    for count in 0..frames {
                        let index = number * frames + count;
                        frame[..8].copy_from_slice(&(index as u64).to_le_bytes());
                        let called_ns = now_ns();
                        let position = writer.append(&frame);
                        let returned_ns = now_ns();
                        returned[index].store(returned_ns, Ordering::Relaxed);
                        let mut readable_ns = returned_ns;
                        while !writer.is_readable(position) {
                            thread::yield_now();
                            readable_ns = now_ns();
                        }
                        hidden.push(readable_ns - returned_ns);
                        whole.push(readable_ns - called_ns);
                        let thinking = Instant::now();
                        while thinking.elapsed() < THINKING {
                            std::hint::spin_loop();
                        }
                        if yielding {
                            thread::yield_now();
                        }
                        keep_pace(progress, count + 1, LATENCY_WRITERS, shape);
                    }
                    (hidden, whole)
                })
            })
            .collect();
        let mut delays = Delays::default();
        for writer in writing {
            let (hidden, whole) = writer.join().expect("a writer failed");
            delays.hidden.extend(hidden);
            delays.whole.extend(whole);
        }
        let read_at = reading.join().expect("the reader failed");
        let delay =
            |(index, at): (u64, u64)| at.saturating_sub(returned[index as usize].load(Ordering::Relaxed));
        delays.read.extend(read_at.into_iter().map(delay));
        delays
    })
}
