//! What a server takes for the data it holds, against Valkey, in one run.
//!
//! `cargo bench --bench memory` starts `replcore serve` and Valkey 9.1.2 (which it fetches itself), a fresh
//! process for each shape and server, fills it over one connection and prints a line for each:
//!
//! | column | |
//! |---|---|
//! | `peak` | MB of memory that the system counted for the process at the most while it was filled |
//! | `resident` | the same two seconds later: what growing tables left behind has gone back |
//! | `ratio` | how many times Valkey's that is |
//! | `a key` | what it has grown by for each key, in bytes |
//! | `used` | `used_memory`, as a part of `resident` |
//! | `emptied` | MB that are resident two seconds after all keys have been deleted |
//! | `CPU` | server time a command while it was filled, in microseconds |
//!
//! Elements are added one command each where the shape says so, as a server meets them, not all at once; so
//! what a collection keeps in reserve is in the figure. Both servers run with default settings, without
//! persistence and replicas, but with a small backlog: what the product keeps of its stream is no data.
//!
//! The last table is the limit: `maxmemory`, then three times as much data as fits, and how much was resident at the most,
//! as it was seen after every hundredth batch.
//!
//! `--only NAME` runs the shapes whose name contains it. `--quick` and `--test` run everything with very
//! little to do; so does `cargo test --benches`.
#![allow(missing_docs)]

#[path = "../process/mod.rs"]
mod process;
mod shapes;
#[path = "../../tests/support/mod.rs"]
mod support;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use bytes::BytesMut;
use clap::Parser;
use replcore::resp::encode_command;

use process::Process;
use shapes::{SHAPES, Shape};
use support::client::{Argv, argv};
use support::{Program, Scratch, Server};

const PEERS: [(&str, Program); 2] = [("Valkey 9.1.2", Program::Valkey), ("replcore", Program::Replcore)];
const BACKLOG: &str = "1mb";
/// Commands that are sent before replies are waited for.
const PIPELINE: usize = 100;
/// How long a server may take to give back what is unused.
const SETTLE: Duration = Duration::from_secs(2);
const MAXMEMORY_MB: usize = 50;

/// Measures the memory that data takes.
#[derive(Parser)]
struct Options {
    /// Run everything with very little to do
    #[arg(long)]
    quick: bool,
    /// Run only the shapes whose name contains this
    #[arg(long, default_value = "")]
    only: String,
    /// Cargo passes it to a benchmark
    #[arg(long, hide = true)]
    bench: bool,
    /// As `--quick`
    #[arg(long, hide = true)]
    test: bool,
}

fn main() {
    let options = Options::parse();
    // Cargo passes `--bench` to a benchmark, and nothing to a test.
    let divisor = if options.quick || options.test || !options.bench { 1000 } else { 1 };
    println!(
        "\n{:<34}{:>14}{:>8}{:>10}{:>8}{:>8}{:>7}{:>9}{:>7}",
        "", "", "peak", "resident", "ratio", "a key", "used", "emptied", "CPU"
    );
    for shape in SHAPES.iter().filter(|shape| shape.name.contains(&options.only)) {
        let measured = PEERS.map(|(_, program)| fill(program, shape, divisor));
        for ((name, _), ours) in PEERS.iter().zip(&measured) {
            println!(
                "{:<34}{:>14}{:>8.1}{:>10.1}{:>8}{:>8.1}{:>7.2}{:>9.1}{:>7.2}",
                shape.name,
                name,
                mb(ours.peak),
                mb(ours.resident),
                format!("x{:.2}", ours.resident as f64 / measured[0].resident as f64),
                ours.key_bytes,
                ours.used as f64 / ours.resident as f64,
                mb(ours.emptied),
                ours.command_us,
            );
        }
    }
    if "maxmemory".contains(&options.only) {
        println!("\nmaxmemory {MAXMEMORY_MB} MB, MB resident: at the most, and how many times the limit");
        for (name, program) in PEERS {
            let peak = evict(program, divisor);
            println!("{name:>48}{:>10.1}{:>8.2}", mb(peak), mb(peak) / MAXMEMORY_MB as f64);
        }
    }
}

fn mb(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

struct Filled {
    peak: u64,
    resident: u64,
    key_bytes: f64,
    used: u64,
    emptied: u64,
    command_us: f64,
}

/// A connection that sends commands made elsewhere and takes any replies that are no errors.
struct Sender {
    socket: TcpStream,
    batch: BytesMut,
    pending: usize,
    replies: Vec<u8>,
}

impl Sender {
    fn connect(server: &Server) -> Sender {
        let socket = TcpStream::connect(server.address()).expect("the server accepts connections");
        socket.set_nodelay(true).expect("a connected socket");
        Sender { socket, batch: BytesMut::new(), pending: 0, replies: vec![0; 64 << 10] }
    }

    /// Sends once there are enough.
    fn push(&mut self, command: &Argv) {
        encode_command(command, &mut self.batch);
        self.pending += 1;
        if self.pending == PIPELINE {
            self.flush();
        }
    }

    /// Sends what there is and waits for the replies, each a line.
    fn flush(&mut self) {
        self.socket.write_all(&self.batch).expect("the server reads");
        self.batch.clear();
        while self.pending > 0 {
            let len = self.socket.read(&mut self.replies).expect("the server answers");
            assert!(len > 0, "the server closed the connection");
            let replies = &self.replies[..len];
            assert!(!replies.contains(&b'-'), "unexpected replies: {}", replies.escape_ascii());
            self.pending -= replies.iter().filter(|byte| **byte == b'\n').count();
        }
    }
}

fn start(program: Program, scratch: &Scratch) -> Server {
    let server = Server::start(program, "bench", scratch);
    server.configure(&[("repl-backlog-size", BACKLOG)]);
    server
}

fn fill(program: Program, shape: &Shape, divisor: usize) -> Filled {
    let scratch = Scratch::new("bench-memory");
    let server = start(program, &scratch);
    let process = Process::of(&server);
    let (before, cpu_before) = (process.resident_bytes(), process.cpu());
    let keys = shape.keys.div_ceil(divisor);
    let mut sender = Sender::connect(&server);
    let mut commands = 0_u32;
    shape.each_command(keys, |command| {
        sender.push(&command);
        commands += 1;
    });
    sender.flush();
    let command_us = (process.cpu() - cpu_before).as_secs_f64() * 1e6 / f64::from(commands);
    let peak = process.peak_resident_bytes();
    let settle = || std::thread::sleep(SETTLE / if divisor > 1 { 10 } else { 1 });
    settle();
    let resident = process.resident_bytes();
    let used = server.info().number("used_memory");
    assert_eq!(server.client().call_integer(argv!["DBSIZE"]), keys as i64);
    for key in 0..keys {
        sender.push(&argv!["UNLINK", shape.key(key)]);
    }
    sender.flush();
    settle();
    let key_bytes = resident.saturating_sub(before) as f64 / keys as f64;
    Filled { peak, resident, key_bytes, used, emptied: process.resident_bytes(), command_us }
}

/// The most that is resident while a server with a limit takes three times as much.
fn evict(program: Program, divisor: usize) -> u64 {
    const LOOK_EVERY: usize = 100 * PIPELINE;
    const VALUE_BYTES: usize = 64;
    let scratch = Scratch::new("bench-maxmemory");
    let server = start(program, &scratch);
    let limit = format!("{MAXMEMORY_MB}mb");
    server.configure(&[("maxmemory-policy", "allkeys-lru"), ("maxmemory", limit.as_str())]);
    let process = Process::of(&server);
    let mut sender = Sender::connect(&server);
    let mut peak = process.resident_bytes();
    for key in 0..1_500_000 / divisor {
        sender.push(&argv!["SET", format!("key:{key:08}"), "v".repeat(VALUE_BYTES)]);
        if key % LOOK_EVERY == 0 {
            peak = peak.max(process.resident_bytes());
        }
    }
    sender.flush();
    peak.max(process.resident_bytes())
}
