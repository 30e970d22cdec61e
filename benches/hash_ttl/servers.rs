//! The server against Valkey, both as child processes on the loopback, both without persistence and replicas.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use bytes::{Bytes, BytesMut};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use replcore::resp::{Reply, encode_command};

use crate::Plan;
use crate::micro::{name_of, value_of};
use crate::process::Process;
use crate::report::{Column, Report};
use crate::rounds::in_turn;
use crate::support::client::{Argv, argv};
use crate::support::{Client, Program, Scratch, Server};

const PEERS: [(&str, Program); 2] = [("replcore", Program::Replcore), ("Valkey 9.1.2", Program::Valkey)];
/// Fields that a load makes in all, in however many hashes.
const FIELDS: usize = 1_000_000;
/// Commands that are sent at once when a hash is filled.
const FILL_PIPELINE: usize = 100;
/// What the product keeps behind the end of the stream is not memory of fields: it is made small, and
/// Valkey's too.
const BACKLOG: &str = "1mb";

fn start((_, program): &(&str, Program), scratch: &Scratch) -> Server {
    let server = Server::start(*program, "bench", scratch);
    server.configure(&[("repl-backlog-size", BACKLOG)]);
    server
}

fn now_ms() -> u64 {
    let elapsed = SystemTime::UNIX_EPOCH.elapsed().expect("the clock is past 1970");
    elapsed.as_millis() as u64
}

// --- Throughput -------------------------------------------------------------------------------

/// A load on a server: what is sent, many times over.
struct Load {
    name: &'static str,
    /// Commands that are sent before a reply is waited for.
    depth: usize,
    commands: usize,
    fields: usize,
    has_deadlines: bool,
}

const LOADS: [Load; 4] = [
    Load { name: "HSETEX of 1 field", depth: 1, commands: 20_000, fields: 1, has_deadlines: true },
    Load { name: "HSETEX of 1 field", depth: 100, commands: 400_000, fields: 1, has_deadlines: true },
    Load { name: "HSETEX of 10 fields", depth: 100, commands: 100_000, fields: 10, has_deadlines: true },
    Load { name: "HSET of 1 field", depth: 100, commands: 400_000, fields: 1, has_deadlines: false },
];

const THROUGHPUT: [Column; 2] =
    [Column::more("thousand commands a second"), Column::less("server CPU, us per command")];

/// Commands are made before the clock runs, sent as they are, and their replies are only counted: the client
/// is the same for both, and cheap.
struct Sender(TcpStream);

/// `:1\r\n`
const SHORT_REPLY_BYTES: usize = 4;

impl Sender {
    fn connect(address: SocketAddr) -> Sender {
        let socket = TcpStream::connect(address).expect("the server accepts connections");
        socket.set_nodelay(true).expect("a connected socket");
        Sender(socket)
    }

    fn send(&mut self, batch: &[u8], commands: usize) {
        self.0.write_all(batch).expect("the server reads");
        let mut replies = vec![0; commands * SHORT_REPLY_BYTES];
        self.0.read_exact(&mut replies).expect("the server answers");
        let is_good = replies.chunks(SHORT_REPLY_BYTES).all(|reply| matches!(reply, b":0\r\n" | b":1\r\n"));
        assert!(is_good, "unexpected replies: {}", replies.escape_ascii());
    }
}

/// A command that stores `fields` fields, named from `first` on.
fn store(key: &str, first: usize, fields: usize, deadline: Option<(&str, u64)>) -> Argv {
    let mut command = match deadline {
        Some((form, time)) => argv!["HSETEX", key, form, time, "FIELDS", fields],
        None => argv!["HSET", key],
    };
    for field in first..first + fields {
        command.extend(argv![name_of(field), value_of(field)]);
    }
    command
}

fn batches(load: &Load, commands: usize) -> Vec<BytesMut> {
    const HASHES: usize = 1_000;
    const FIELDS_OF_EACH: usize = 1_000;
    let mut rng = StdRng::seed_from_u64(1);
    let mut batches = Vec::new();
    for _ in 0..commands / load.depth {
        let mut batch = BytesMut::new();
        for _ in 0..load.depth {
            let key = format!("hash:{}", rng.random_range(0..HASHES));
            let deadline = load.has_deadlines.then(|| ("PX", rng.random_range(3_600_000..7_200_000)));
            encode_command(
                &store(&key, rng.random_range(0..FIELDS_OF_EACH), load.fields, deadline),
                &mut batch,
            );
        }
        batches.push(batch);
    }
    batches
}

/// Commands a second, and what they cost the server.
pub fn throughput(plan: &Plan, report: &mut Report) {
    let scratch = Scratch::new("bench-throughput");
    let servers = PEERS.map(|peer| start(&peer, &scratch));
    for load in LOADS {
        let commands = (load.commands / plan.divisor()).max(load.depth);
        let batches = batches(&load, commands);
        let measured = in_turn(&servers, plan.rounds, |server| {
            server.client().call(argv!["FLUSHALL"]);
            let process = Process::of(server);
            let mut sender = Sender::connect(server.address());
            let (begun, cpu_before) = (Instant::now(), process.cpu());
            batches.iter().for_each(|batch| sender.send(batch, load.depth));
            let (elapsed, cpu) = (begun.elapsed().as_secs_f64(), process.cpu() - cpu_before);
            [commands as f64 / elapsed / 1e3, cpu.as_secs_f64() * 1e6 / commands as f64]
        });
        let title = format!("{}, {} commands at once, one connection", load.name, load.depth);
        report.table(&title, &THROUGHPUT, &PEERS.map(|(name, _)| name), &measured);
    }
}

// --- Memory -----------------------------------------------------------------------------------

const MEMORY: [Column; 2] = [Column::less("MEMORY USAGE, bytes"), Column::less("resident, bytes")];

/// Fills `hashes` hashes of `len` fields, by so many in a command; `deadline` says what each command's has.
fn fill(
    client: &mut Client,
    hashes: usize,
    len: usize,
    at_once: usize,
    mut deadline: impl FnMut() -> Option<(&'static str, u64)>,
) {
    let mut commands = Vec::with_capacity(FILL_PIPELINE);
    for key in 0..hashes {
        let key = format!("hash:{key}");
        for first in (0..len).step_by(at_once) {
            commands.push(store(&key, first, at_once.min(len - first), deadline()));
            if commands.len() == FILL_PIPELINE {
                send(client, &mut commands);
            }
        }
    }
    send(client, &mut commands);
}

fn send(client: &mut Client, commands: &mut Vec<Argv>) {
    for reply in client.pipeline(commands).expect("the server answers") {
        assert!(matches!(reply, Reply::Integer(_)), "unexpected reply: {reply:?}");
    }
    commands.clear();
}

/// Memory of a field of 13 bytes with a value of 13.
pub fn memory(plan: &Plan, report: &mut Report) {
    const DAY_MS: u64 = 86_400_000;
    /// Fields with the same deadline.
    const FIELDS_OF_COMMAND: usize = 10;
    let total = FIELDS / plan.divisor();
    for len in [10, 100, 10_000, 1_000_000].into_iter().filter(|len| *len <= total) {
        for has_deadlines in [false, true] {
            let measured = in_turn(&PEERS, 1, |peer| {
                let scratch = Scratch::new("bench-memory");
                let server = start(peer, &scratch);
                let (process, mut client) = (Process::of(&server), server.client());
                let before = process.resident_bytes();
                let mut rng = StdRng::seed_from_u64(1);
                fill(&mut client, total / len, len, FIELDS_OF_COMMAND, || {
                    has_deadlines.then(|| ("PX", DAY_MS + rng.random_range(0..DAY_MS)))
                });
                let resident = process.resident_bytes().saturating_sub(before);
                let usage = client.call_integer(argv!["MEMORY", "USAGE", "hash:0", "SAMPLES", "0"]);
                [usage as f64 / len as f64, resident as f64 / total as f64]
            });
            let deadlines = if has_deadlines { "a deadline each" } else { "no deadlines" };
            let title = format!("memory of a field, {} hashes of {len}, {deadlines}", total / len);
            report.table(&title, &MEMORY, &PEERS.map(|(name, _)| name), &measured);
        }
    }
}

// --- Reclaim ----------------------------------------------------------------------------------

const RECLAIM: [Column; 5] = [
    Column::less("last gone after, s"),
    Column::less("server CPU, s"),
    Column::less("GET p50, us"),
    Column::less("GET p99, us"),
    Column::less("GET max, us"),
];

/// A client asks so often while fields are reclaimed.
const PROBE_EVERY: Duration = Duration::from_millis(1);
/// The server is asked so often whether anything is left.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// What is not done by then is given up.
const PATIENCE: Duration = Duration::from_secs(300);

/// A million fields due at the same moment: until the last is gone from storage, and what a client notices
/// meanwhile.
pub fn reclaim(plan: &Plan, report: &mut Report) {
    let total = FIELDS / plan.divisor();
    let rounds = plan.rounds.min(2);
    for (hashes, len) in [(1, total), (total / 10, 10)] {
        let measured = in_turn(&PEERS, rounds, |peer| {
            let lead = Duration::from_secs_f64(if plan.divisor() > 1 { 0.5 } else { 3.0 });
            reclaim_once(peer, hashes, len, lead)
        });
        let title = format!("{} fields due at once, {hashes} hashes of {len}", hashes * len);
        report.table(&title, &RECLAIM, &PEERS.map(|(name, _)| name), &measured);
    }
}

/// One round; the fields are due a `lead` after the first of them is sent, or later if storing them takes
/// longer.
fn reclaim_once(peer: &(&str, Program), hashes: usize, len: usize, lead: Duration) -> [f64; 5] {
    const FIELDS_OF_COMMAND: usize = 100;
    let scratch = Scratch::new("bench-reclaim");
    let server = start(peer, &scratch);
    let (process, mut client) = (Process::of(&server), server.client());
    let due_ms = now_ms() + lead.as_millis() as u64;
    fill(&mut client, hashes, len, FIELDS_OF_COMMAND, || Some(("PXAT", due_ms)));
    if now_ms() + 100 > due_ms {
        drop(server);
        return reclaim_once(peer, hashes, len, lead * 2);
    }
    thread::sleep(Duration::from_millis(due_ms - now_ms()));
    let (due, cpu_before) = (Instant::now(), process.cpu());
    let is_done = AtomicBool::new(false);
    let (elapsed, mut delays_us) = thread::scope(|scope| {
        let probe = scope.spawn(|| probe(server.client(), &is_done));
        let mut is_gone = false;
        while !is_gone && due.elapsed() < PATIENCE {
            thread::sleep(LOOK_EVERY);
            is_gone = client.call_integer(argv!["DBSIZE"]) == 0;
        }
        let elapsed = due.elapsed();
        is_done.store(true, Ordering::Relaxed);
        assert!(is_gone, "{}: something due is still stored after {PATIENCE:?}", peer.0);
        (elapsed, probe.join().expect("the probe runs to its end"))
    });
    let cpu = process.cpu() - cpu_before;
    delays_us.sort_by(f64::total_cmp);
    let at = |part: f64| delays_us[((delays_us.len() - 1) as f64 * part) as usize];
    [elapsed.as_secs_f64(), cpu.as_secs_f64(), at(0.5), at(0.99), at(1.0)]
}

/// Asks for a key that is not there until it `is_done`; how long each reply took, in microseconds.
fn probe(mut client: Client, is_done: &AtomicBool) -> Vec<f64> {
    let get: [Bytes; 2] = ["GET", "nothing"].map(Bytes::from);
    let mut delays_us = Vec::new();
    while delays_us.is_empty() || !is_done.load(Ordering::Relaxed) {
        let asked = Instant::now();
        client.try_call(&get).expect("the server answers");
        let delay = asked.elapsed();
        delays_us.push(delay.as_secs_f64() * 1e6);
        thread::sleep(PROBE_EVERY.saturating_sub(delay));
    }
    delays_us
}
