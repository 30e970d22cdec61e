//! What it costs a sender to put the stream on its sockets.
//!
//! `cargo bench --bench sending` fills a buffer with 60 B frames of four writers in turn, the least
//! favourable layout for a reader, and sends it to 1, 4 and 16 replicas over TCP on the loopback, a thread
//! for each. It prints the time that the senders had a core, per gigabyte, for each way to send and for the
//! same bytes sent from one contiguous piece of memory; ratios are to that. *Following*, the stream grows by
//! 256 KiB when all have sent what there was, as it does for replicas that keep up with their primary.
//! *Catching up*, all of it is there, and each sends as fast as it can, wherever the others are. Other
//! threads receive and throw away; on the loopback a sender does a part of the receiver's work, and that is
//! in all figures alike. The ways take turns within each round.
//!
//! `--rounds N`, `--markdown FILE`; `--quick` and `--test` run all of it once with very little to do; so does
//! `cargo test --benches`.
#![allow(missing_docs)]

#[path = "markers/mod.rs"]
mod markers;
mod rounds;

use std::fmt::Write as _;
use std::io::{self, IoSlice, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Barrier;
use std::thread;

use bytes::Buf;
use clap::Parser;
use replcore::buffer::{Cursor, CursorLimits, ReplicationBuffer};
use rustix::time::{ClockId, clock_gettime};

use rounds::{Spread, in_turn};

const ROUNDS: usize = 7;
const FRAME_BYTES: usize = 60;
const WRITERS: usize = 4;
/// Replicas, and what each of them is sent in a round.
const REPLICAS: [(usize, usize); 3] = [(1, 64 << 20), (4, 24 << 20), (16, 8 << 20)];
/// By how much the stream grows, where replicas follow it.
const STEP_BYTES: usize = 256 << 10;
/// What a sender gives to the system at once, where it is free to choose.
const WRITE_BYTES: usize = 64 << 10;
/// Pieces of one vectored write: what Linux takes at most.
const PIECES: usize = 1024;

/// A stream to send: in the buffer, and the same bytes in one piece.
struct Source {
    buffer: ReplicationBuffer,
    contiguous: Vec<u8>,
}

/// Sends the next so many bytes.
type Send<'s> = Box<dyn FnMut(&mut TcpStream, usize) -> io::Result<()> + 's>;
/// Makes ready to send the stream from its beginning.
type Way = fn(&Source) -> Send<'_>;

/// The ways to send. The first is what the others are compared with.
const WAYS: [(&str, Way); 4] = [
    ("contiguous", send_contiguous),
    ("pieces by writev", send_pieces),
    ("copied to scratch", send_copied),
    ("copied once for all", send_shared),
];

#[derive(Parser)]
struct Options {
    #[arg(long)]
    rounds: Option<usize>,
    /// The table, between the markers in that file
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
    let options = Options::parse();
    let quick = options.quick || options.test || !options.bench;
    let rounds = options.rounds.unwrap_or(if quick { 1 } else { ROUNDS });
    let mut table = "| | 1 replica | 4 replicas | 16 replicas |\n|---|---|---|---|\n".to_owned();
    for (load, step_bytes) in [("following", STEP_BYTES), ("catching up", usize::MAX)] {
        let mut rows: Vec<String> = WAYS.iter().map(|(name, _)| format!("| {load}, {name}")).collect();
        for (replicas, bytes) in REPLICAS {
            let bytes = if quick { bytes / 64 } else { bytes };
            println!(
                "\n{FRAME_BYTES} B frames of {WRITERS} writers to {replicas} replicas, {load}, CPU seconds per GB"
            );
            let measured = in_turn(&WAYS, rounds, |(_, way)| {
                cpu_per_gb(&source(bytes), *way, (replicas, bytes, step_bytes)).expect("sent")
            });
            let spreads: Vec<Spread> = measured.into_iter().map(Spread::of).collect();
            for (((name, _), spread), row) in WAYS.iter().zip(&spreads).zip(&mut rows) {
                let ratio = spread.median / spreads[0].median;
                let Spread { median, least, most } = spread;
                println!("  {name:<20}{median:>8.3} ({least:.3} to {most:.3})   x{ratio:.2} of contiguous");
                let _ = write!(row, " | {median:.3} s, x{ratio:.2}");
            }
        }
        rows.iter().for_each(|row| table += &format!("{row} |\n"));
    }
    if let Some(file) = &options.markdown {
        markers::replace(file, "sending", &table)?;
    }
    Ok(())
}

fn source(bytes: usize) -> Source {
    let buffer = ReplicationBuffer::builder()
        .backlog_bytes(bytes as u64)
        .cursor_limits(CursorLimits::UNLIMITED)
        .build()
        .expect("valid");
    let mut writers: Vec<_> = (0..WRITERS).map(|_| buffer.writer()).collect();
    let mut contiguous = Vec::with_capacity(bytes + FRAME_BYTES);
    for turn in 0..bytes.div_ceil(FRAME_BYTES) {
        let frame = [turn as u8; FRAME_BYTES];
        writers[turn % WRITERS].append(&frame).expect("within the limits");
        contiguous.extend_from_slice(&frame);
    }
    Source { buffer, contiguous }
}

/// Sends to all replicas at once. Returns what the senders' time on a core is for a gigabyte sent.
fn cpu_per_gb(
    source: &Source,
    way: Way,
    (replicas, bytes, step_bytes): (usize, usize, usize),
) -> io::Result<f64> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    let barrier = Barrier::new(replicas);
    thread::scope(|scope| {
        let (barrier, mut senders) = (&barrier, Vec::new());
        for _ in 0..replicas {
            let mut stream = TcpStream::connect(address)?;
            let (receiver, _) = listener.accept()?;
            stream.set_nodelay(true)?;
            scope.spawn(move || drain(receiver));
            senders.push(scope.spawn(move || {
                let mut send = way(source);
                let before = thread_seconds();
                for sent in (0..bytes).step_by(step_bytes) {
                    barrier.wait();
                    send(&mut stream, step_bytes.min(bytes - sent))?;
                }
                io::Result::Ok(thread_seconds() - before)
            }));
        }
        let mut seconds = 0.0;
        for sender in senders {
            seconds += sender.join().expect("a sender failed")?;
        }
        Ok(seconds / ((replicas * bytes) as f64 / 1e9))
    })
}

fn drain(mut receiver: TcpStream) {
    let mut scratch = vec![0; 256 << 10];
    while receiver.read(&mut scratch).is_ok_and(|read| read > 0) {}
}

/// How long this thread has had a core.
fn thread_seconds() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

fn send_contiguous(source: &Source) -> Send<'_> {
    let mut rest = &source.contiguous[..];
    Box::new(move |stream, bytes| {
        let (step, behind) = rest.split_at(bytes);
        rest = behind;
        step.chunks(WRITE_BYTES).try_for_each(|chunk| stream.write_all(chunk))
    })
}

fn cursor(source: &Source) -> Cursor {
    source.buffer.attach(0).expect("all of it is in the backlog")
}

/// Where the frames lie: as many pieces as a call takes.
fn send_pieces(source: &Source) -> Send<'_> {
    let (mut cursor, mut end) = (cursor(source), 0);
    Box::new(move |stream, bytes| {
        end += bytes as u64;
        while cursor.offset() < end {
            cursor.refresh().map_err(io::Error::other)?;
            let mut pieces = [IoSlice::new(&[]); PIECES];
            let count = cursor.chunks_vectored(&mut pieces);
            // Hardly beyond the step: the next is the shorter by as much.
            let (mut taken, mut room) = (0, (end - cursor.offset()) as usize);
            while taken < count && room > 0 {
                room = room.saturating_sub(pieces[taken].len());
                taken += 1;
            }
            let written = stream.write_vectored(&pieces[..taken])?;
            cursor.advance(written);
        }
        Ok(())
    })
}

/// Copied by each sender into memory of its own, then sent as one piece.
fn send_copied(source: &Source) -> Send<'_> {
    let mut cursor = cursor(source);
    let mut scratch = vec![0; WRITE_BYTES];
    Box::new(move |stream, bytes| {
        let mut left = bytes;
        while left > 0 {
            let len = cursor.refresh().map_err(io::Error::other)?.min(WRITE_BYTES).min(left);
            cursor.copy_to_slice(&mut scratch[..len]);
            stream.write_all(&scratch[..len])?;
            left -= len;
        }
        Ok(())
    })
}

/// Copied by the first sender that comes there, then sent by all.
fn send_shared(source: &Source) -> Send<'_> {
    let (mut cursor, mut end) = (cursor(source), 0);
    // A step is a whole number of copies.
    Box::new(move |stream, bytes| {
        end += bytes as u64;
        while cursor.offset() < end {
            cursor.refresh().map_err(io::Error::other)?;
            let copy = cursor.next_copy();
            stream.write_all(&copy)?;
        }
        Ok(())
    })
}
