//! How soon an appended frame can be read, with more writers than cores.

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::BACKLOG_BYTES;
use super::cells::{Cell, Line, Metric, Percentiles};
use super::options::Options;
use super::peers::{Append, Read, Shape, Stream};
use super::roster;
use super::rounds::{Spread, in_turn};
use super::stops::{self, Gate};
use super::tables;
use super::throughput::keep_pace;

/// Writers of the latency load, on however few cores.
const WRITERS: usize = 8;
/// The lengths of frames, and how many of them make a round.
const FRAMES: [(usize, usize); 2] = [(1 << 10, 48_000), (64 << 10, 1600)];
/// The same where a writer is stopped. A round ends with the stops, seldom with the frames.
const FRAMES_STOPPED: [(usize, usize); 2] = [(60, 200_000), (1 << 10, 160_000)];
/// Stops of a round.
const STOPS: usize = 24;
/// A writer does something else so long between two appends.
const THINKING: Duration = Duration::from_micros(5);
/// Where one is stopped, the others sleep so long instead: what they wait for is the stopped one and not a
/// core, and one that goes on unhindered does not outnumber, with thousands of appends, those that wait.
const SLEEPING: Duration = Duration::from_micros(50);

/// What writers do beside appending.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// They leave the core when it is taken from them: in the midst of an append, now and then.
    Busy,
    /// They leave the core between two appends, as tasks do: so the reader's turn comes soon, and
    /// what it waits for is the stream more than the scheduler.
    Yielding,
    /// They sleep between two appends, and one after the other is stopped in the midst of an append. The
    /// appends that are stopped do not count.
    Stopped,
}

/// Frames of each writer: those before the clock starts, and those that are measured.
pub struct Load {
    warm: usize,
    measured: usize,
    stops: usize,
}

/// Nanoseconds of each append of a round.
#[derive(Default)]
pub struct Delays {
    hidden: Vec<u64>,
    readable: Vec<u64>,
    read_back: Vec<u64>,
}

type Select = fn(&Delays) -> &Vec<u64>;

pub fn undisturbed(options: &Options) -> Vec<Cell> {
    let mut cells = measure(
        options,
        &FRAMES,
        Manner::Busy,
        &[(Metric::Readable, |delays| &delays.readable), (Metric::Hidden, |delays| &delays.hidden)],
    );
    let read_back: [(Metric, Select); 1] = [(Metric::ReadBack, |delays| &delays.read_back)];
    cells.extend(measure(options, &FRAMES, Manner::Yielding, &read_back));
    cells
}

pub fn with_a_stopped_writer(options: &Options) -> Vec<Cell> {
    measure(
        options,
        &FRAMES_STOPPED,
        Manner::Stopped,
        &[
            (Metric::ReadableStopped, |delays| &delays.readable),
            (Metric::HiddenStopped, |delays| &delays.hidden),
        ],
    )
}

fn measure(
    options: &Options,
    lengths: &[(usize, usize)],
    manner: Manner,
    metrics: &[(Metric, Select)],
) -> Vec<Cell> {
    let (peers, mut cells) = (roster::all(), Vec::new());
    for (frame_bytes, frames) in lengths.iter().copied().filter(|(bytes, _)| options.wants_bytes(*bytes)) {
        let load = Load {
            warm: options.reduced(2 * BACKLOG_BYTES / frame_bytes).div_ceil(WRITERS),
            measured: options.reduced(frames).div_ceil(WRITERS),
            stops: options.reduced(STOPS),
        };
        let shape = Shape {
            frames: (load.warm + load.measured) * WRITERS,
            frame_bytes,
            readers: 1,
            backlog_bytes: BACKLOG_BYTES,
            // What yielding writers append is seen by the reader.
            watching_writers: if manner == Manner::Yielding { 0 } else { WRITERS },
        };
        let measured = in_turn(&peers, options.rounds(), |peer| (peer.delays)(&shape, &load, manner));
        for (metric, select) in metrics {
            let line = |(peer, rounds): (&&roster::Peer, &Vec<Delays>)| line(peer, rounds, *select);
            let lines = peers.iter().zip(&measured).map(line).collect();
            let cell = Cell { metric: *metric, frame_bytes, writers: WRITERS, readers: 1, lines };
            tables::print(&cell);
            cells.push(cell);
        }
    }
    cells
}

fn line(peer: &roster::Peer, rounds: &[Delays], select: Select) -> Line {
    let sorted = |mut delays: Vec<u64>| {
        delays.sort_unstable();
        delays
    };
    let at = |delays: &[u64], part: f64| {
        let index = ((delays.len() as f64 * part) as usize).min(delays.len().saturating_sub(1));
        delays.get(index).map_or(f64::NAN, |ns| *ns as f64 / 1e3)
    };
    let of_rounds = rounds.iter().map(|round| at(&sorted(select(round).clone()), 0.999));
    let all = sorted(rounds.iter().flat_map(|round| select(round).iter().copied()).collect());
    Line {
        peer: peer.name,
        kind: peer.kind,
        spread: Spread::of(of_rounds),
        percentiles: Some(Percentiles { p50: at(&all, 0.5), p99: at(&all, 0.99), most: at(&all, 1.0) }),
    }
}

/// What the threads of a round share.
struct Round<'a> {
    shape: &'a Shape,
    load: &'a Load,
    manner: Manner,
    begun: Instant,
    barrier: Barrier,
    progress: [AtomicU64; 1],
    gates: [Gate; WRITERS],
    /// When the append of each frame returned, by the frame's number; 0 for those that warm up.
    returned: Vec<AtomicU64>,
    /// Frames of all writers, and how many writers are done.
    appended: AtomicUsize,
    done: AtomicUsize,
    /// There were stops enough.
    enough: AtomicBool,
}

impl Round<'_> {
    fn now_ns(&self) -> u64 {
        self.begun.elapsed().as_nanos() as u64
    }

    fn is_written(&self) -> bool {
        self.done.load(Ordering::Acquire) == WRITERS
    }
}

/// More writers than cores, each with something else to do in between; one thread reads. A frame
/// begins with its number.
pub fn delays<S: Stream>(shape: &Shape, load: &Load, manner: Manner) -> Delays {
    let (stream, mut readers) = S::open(shape);
    let stopper = usize::from(manner == Manner::Stopped);
    let round = Round {
        shape,
        load,
        manner,
        begun: Instant::now(),
        barrier: Barrier::new(WRITERS + 1 + stopper),
        progress: [AtomicU64::new(0)],
        gates: Default::default(),
        returned: (0..shape.frames).map(|_| AtomicU64::new(0)).collect(),
        appended: AtomicUsize::new(0),
        done: AtomicUsize::new(0),
        enough: AtomicBool::new(manner != Manner::Stopped),
    };
    thread::scope(|scope| {
        let (round, stream) = (&round, &stream);
        let reader = readers.remove(0);
        let reading = scope.spawn(move || read_back(reader, round));
        let writing: Vec<_> =
            (0..WRITERS).map(|number| scope.spawn(move || write(stream, number, round))).collect();
        if manner == Manner::Stopped {
            round.barrier.wait();
            stops::stop_at_random(&round.gates, round.load.stops, || round.is_written());
            round.enough.store(true, Ordering::Release);
        }
        let mut delays = Delays::default();
        for writer in writing {
            let of_writer = writer.join().expect("a writer failed");
            delays.hidden.extend(of_writer.hidden);
            delays.readable.extend(of_writer.readable);
        }
        delays.read_back = reading.join().expect("the reader failed");
        delays
    })
}

/// Returns how long after its append's return each frame was read.
fn read_back<R: Read>(mut reader: R, round: &Round<'_>) -> Vec<u64> {
    let mut target = vec![0; round.shape.frame_bytes];
    let mut read_at = Vec::with_capacity(round.returned.len());
    round.barrier.wait();
    loop {
        let mut filled = 0;
        while filled < target.len() {
            match reader.read(&mut target[filled..]) {
                0 if round.is_written() && read_at.len() == round.appended.load(Ordering::Acquire) => {
                    let delay = |(number, at): (u64, u64)| {
                        let returned = round.returned[number as usize].load(Ordering::Relaxed);
                        (returned != 0).then(|| at.saturating_sub(returned))
                    };
                    return read_at.into_iter().filter_map(delay).collect();
                }
                0 => thread::yield_now(),
                some => filled += some,
            }
        }
        let number = u64::from_le_bytes(target[..8].try_into().expect("a frame is longer"));
        read_at.push((number, round.now_ns()));
        let read_bytes = read_at.len() * round.shape.frame_bytes;
        round.progress[0].store(read_bytes as u64, Ordering::Release);
    }
}

fn write<S: Stream>(stream: &S, number: usize, round: &Round<'_>) -> Delays {
    let (load, gate) = (round.load, &round.gates[number]);
    let mut writer = stream.writer();
    let mut frame = vec![b'x'; round.shape.frame_bytes];
    let mut delays = Delays::default();
    delays.hidden.reserve(load.measured);
    delays.readable.reserve(load.measured);
    round.barrier.wait();
    let is_over = || round.manner == Manner::Stopped && round.enough.load(Ordering::Acquire);
    let mut count = 0;
    while count < load.warm + load.measured {
        if count == load.warm {
            // From here on it can be stopped.
            gate.enter();
        }
        if is_over() {
            break;
        }
        let index = number * (load.warm + load.measured) + count;
        frame[..8].copy_from_slice(&(index as u64).to_le_bytes());
        let called_ns = round.now_ns();
        let (position, was_stopped) = gate.append(|| writer.append(&frame));
        let returned_ns = round.now_ns();
        let mut readable_ns = returned_ns;
        if round.manner != Manner::Yielding {
            while !writer.is_readable(position) {
                thread::yield_now();
                readable_ns = round.now_ns();
            }
        }
        let is_chosen = gate.is_chosen();
        if count >= load.warm && !was_stopped && !is_chosen {
            round.returned[index].store(returned_ns, Ordering::Relaxed);
            delays.hidden.push(readable_ns - returned_ns);
            delays.readable.push(readable_ns - called_ns);
        }
        count += 1;
        let appended = 1 + round.appended.fetch_add(1, Ordering::AcqRel);
        if !is_chosen && count >= load.warm {
            think(round.manner);
        }
        keep_pace(&round.progress, appended, 1, round.shape.frame_bytes, is_over);
    }
    round.done.fetch_add(1, Ordering::AcqRel);
    // The others may need its reader to move on, and who stops threads needs it to be there.
    while !round.is_written() || !round.enough.load(Ordering::Acquire) {
        writer.rest();
        thread::sleep(Duration::from_micros(100));
    }
    stops::leave();
    delays
}

fn think(manner: Manner) {
    if manner == Manner::Stopped {
        return thread::sleep(SLEEPING);
    }
    let thinking = Instant::now();
    while thinking.elapsed() < THINKING {
        std::hint::spin_loop();
    }
    if manner == Manner::Yielding {
        thread::yield_now();
    }
}
