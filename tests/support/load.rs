//! Writers: each sends random pipelines over one connection, to keys that all writers share.
//!
//! Sharing is the point. Appends, increments and overwrites of one key by several connections converge on a
//! replica only if the stream has them in the order in which the primary applied them.
//!
//! Much of what is written is overwritten or deleted later, and with it what may have gone wrong. So each
//! pipeline also appends its number to one journal that all writers share and nobody deletes: there, whatever
//! is lost, repeated or out of order stays visible to the end.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{Rng as _, RngExt as _, SeedableRng as _};
use replcore::resp::Reply;

use super::client::{Argv, Client, argv};

/// The databases written to, among them the first and the last.
const DATABASES: [u16; 5] = [0, 1, 2, 9, 15];
/// The journal's, which is never emptied or swapped.
const JOURNAL_DATABASE: u16 = 3;
const TEXT_KEYS: u32 = 300;
const COUNTER_KEYS: u32 = 40;
const HASH_KEYS: u32 = 80;
const FIELDS: u32 = 24;
const MAX_BATCH: u32 = 24;
/// One batch in this many empties a database or swaps two.
const RARE: u32 = 2_500;
/// One value in this many is large.
const LARGE_VALUE: u32 = 2_000;
const LARGE_BYTES: usize = 300_000;
/// Deadlines are either so near that they pass during the test, or so far that they do not.
const NEAR_MS: std::ops::Range<u64> = 1..2_500;
const FAR_MS: std::ops::Range<u64> = 3_600_000..7_200_000;

const HUGE_HASH_FIELDS: usize = 40_000;
const FIELDS_PER_COMMAND: usize = 500;
const HUGE_TEXT_BYTES: usize = 4 << 20;

/// What COPY and MOVE answer when source and destination are one.
const ONTO_ITSELF: &str = "ERR source and destination objects are the same";

/// Holds the writers while the stream runs too far ahead of a replica that is off.
#[derive(Default)]
pub struct Brake {
    on: Mutex<bool>,
    released: Condvar,
}

impl Brake {
    /// Holds or releases.
    pub fn set(&self, on: bool) {
        *self.on.lock().expect("no user of the lock panics") = on;
        if !on {
            self.released.notify_all();
        }
    }

    /// Whether the writers are held.
    pub fn is_on(&self) -> bool {
        *self.on.lock().expect("no user of the lock panics")
    }

    fn pass(&self) {
        let on = self.on.lock().expect("no user of the lock panics");
        drop(self.released.wait_while(on, |on| *on).expect("no user of the lock panics"));
    }
}

/// Writers at work. Stops them when dropped.
pub struct Load {
    stop: Arc<AtomicBool>,
    /// Held by whoever wants the writers to pause.
    pub brake: Arc<Brake>,
    commands: Arc<AtomicU64>,
    writers: Vec<JoinHandle<Duration>>,
}

impl Load {
    /// Starts `writers` connections. Half of what they do to strings they do to the `population` keys of
    /// [`populate`].
    pub fn start(primary: SocketAddr, writers: u64, seed: u64, population: u32) -> Load {
        let stop = Arc::new(AtomicBool::new(false));
        let brake = Arc::new(Brake::default());
        let commands = Arc::new(AtomicU64::new(0));
        let writers = (0..writers)
            .map(|index| {
                let (stop, brake, commands) = (Arc::clone(&stop), Arc::clone(&brake), Arc::clone(&commands));
                let mut writer = Writer::new(primary, seed, index, population);
                thread::spawn(move || {
                    let mut longest = Duration::ZERO;
                    while !stop.load(Ordering::Relaxed) {
                        brake.pass();
                        let start = Instant::now();
                        commands.fetch_add(writer.batch(), Ordering::Relaxed);
                        longest = longest.max(start.elapsed());
                    }
                    longest
                })
            })
            .collect();
        Load { stop, brake, commands, writers }
    }

    /// Commands executed so far.
    pub fn commands(&self) -> u64 {
        self.commands.load(Ordering::Relaxed)
    }

    /// Stops the writers. Returns the longest time that one waited for a pipeline.
    pub fn stop(mut self) -> Duration {
        self.halt();
        let longest = self.writers.drain(..).map(|writer| writer.join().expect("no writer got an error"));
        longest.max().unwrap_or_default()
    }

    fn halt(&self) {
        self.stop.store(true, Ordering::Relaxed);
        self.brake.set(false);
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.halt();
        for writer in self.writers.drain(..) {
            // The test is failing already if this is not empty.
            let _ = writer.join();
        }
    }
}

/// Writes `population` strings over all of the load's databases, and a few values of several megabytes.
pub fn populate(primary: SocketAddr, population: u32, seed: u64) {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut client = Client::connect(primary).expect("the primary accepts connections");
    let mut commands = Vec::new();
    for (index, db) in DATABASES.iter().enumerate() {
        commands.push(argv!["SELECT", *db]);
        for key in (0..population).filter(|key| *key as usize % DATABASES.len() == index) {
            let mut value = vec![0; rng.random_range(0..120)];
            rng.fill_bytes(&mut value);
            let mut command = argv!["SET", format!("key:{key}"), Bytes::from(value)];
            if key % 8 == 0 {
                command.extend(argv!["PX", rng.random_range(FAR_MS)]);
            }
            commands.push(command);
        }
        for chunk in 0..HUGE_HASH_FIELDS / FIELDS_PER_COMMAND {
            let mut command = argv!["HSET", "huge:hash"];
            for field in 0..FIELDS_PER_COMMAND {
                command
                    .extend(argv![format!("field:{}", chunk * FIELDS_PER_COMMAND + field), "v".repeat(100)]);
            }
            commands.push(command);
        }
        commands.push(argv!["SET", "huge:text", "t".repeat(HUGE_TEXT_BYTES)]);
    }
    for (command, reply) in commands.iter().zip(client.pipeline(&commands).expect("the primary answers")) {
        assert_no_error(command, &reply);
    }
}

struct Writer {
    client: Client,
    rng: StdRng,
    population: u32,
    index: u64,
    batches: u64,
}

impl Writer {
    fn new(primary: SocketAddr, seed: u64, index: u64, population: u32) -> Writer {
        let client = Client::connect(primary).expect("the primary accepts connections");
        let rng = StdRng::seed_from_u64(seed.wrapping_add(index));
        Writer { client, rng, population, index, batches: 0 }
    }

    /// Sends one pipeline in one database. Returns how many commands it had.
    fn batch(&mut self) -> u64 {
        let db = self.pick(&DATABASES);
        let mut commands = vec![argv!["SELECT", db]];
        if self.one_in(RARE) {
            let other = self.pick(&DATABASES);
            commands.push(match self.rng.random_range(0..3) {
                // A population is there to be transferred, not to be flushed.
                _ if self.population > 0 => argv!["SWAPDB", db, other],
                0 => argv!["SWAPDB", db, other],
                1 => argv!["FLUSHDB", "ASYNC"],
                _ => argv!["FLUSHDB"],
            });
        }
        for _ in 0..self.rng.random_range(1..=MAX_BATCH) {
            if self.one_in(12) {
                self.transaction(&mut commands);
            } else {
                let command = self.command();
                commands.push(command);
            }
        }
        commands.push(argv!["SELECT", JOURNAL_DATABASE]);
        commands.push(argv!["APPEND", "journal", format!("{}:{},", self.index, self.batches)]);
        self.batches += 1;
        let replies = self.client.pipeline(&commands).expect("the primary answers every command");
        for (command, reply) in commands.iter().zip(&replies) {
            assert_no_error(command, reply);
        }
        commands.len() as u64
    }

    fn transaction(&mut self, commands: &mut Vec<Argv>) {
        commands.push(argv!["MULTI"]);
        for _ in 0..self.rng.random_range(1..8) {
            let command = self.command();
            commands.push(command);
        }
        // A transaction may change database; what follows it stays there until the next batch.
        if self.one_in(4) {
            commands.push(argv!["SELECT", self.pick(&DATABASES)]);
            let command = self.command();
            commands.push(command);
        }
        commands.push(if self.one_in(8) { argv!["DISCARD"] } else { argv!["EXEC"] });
    }

    fn command(&mut self) -> Argv {
        match self.rng.random_range(0..100) {
            0..35 => self.text_command(),
            35..55 => self.counter_command(),
            55..80 => self.hash_command(),
            80..94 => self.deadline_command(),
            _ => self.delete_command(),
        }
    }

    fn text_command(&mut self) -> Argv {
        let (key, value) = (self.text_key(), self.value());
        match self.rng.random_range(0..18) {
            0..3 => argv!["SET", key, value],
            3 => argv!["set", key, value, "px", self.near_ms()],
            4 => argv!["SET", key, value, "EX", self.far_ms() / 1_000],
            5 => argv!["SET", key, value, "PXAT", now_ms() + self.near_ms(), "NX"],
            6 => argv!["SET", key, value, "XX", "GET"],
            7 => argv!["SET", key, value, "KEEPTTL"],
            8 => argv!["SET", key, value, "EXAT", 1],
            9 => argv!["SETEX", key, self.far_ms() / 1_000, value],
            10 => argv!["PSETEX", key, self.near_ms(), value],
            11 => argv!["SETNX", key, value],
            12 => argv!["GETSET", key, value],
            13 => argv!["SETRANGE", key, self.rng.random_range(0..600), self.short_value()],
            14 => argv!["MSET", key, value, self.text_key(), self.value()],
            15 => argv!["MSETNX", key, value, self.text_key(), self.value()],
            _ => argv!["APPEND", key, self.short_value()],
        }
    }

    fn counter_command(&mut self) -> Argv {
        let key = format!("counter:{}", self.rng.random_range(0..COUNTER_KEYS));
        match self.rng.random_range(0..8) {
            0..3 => argv!["INCR", key],
            3 => argv!["DECR", key],
            4 => argv!["INCRBY", key, self.rng.random_range(-1_000_000..1_000_000)],
            5 => argv!["DECRBY", key, self.rng.random_range(-1_000..1_000)],
            6 => argv!["SET", key, self.rng.random_range(-1_000..1_000), "PX", self.far_ms()],
            _ => {
                let key = format!("float:{}", self.rng.random_range(0..COUNTER_KEYS));
                argv!["INCRBYFLOAT", key, f64::from(self.rng.random_range(-10_000..10_000)) / 64.0]
            }
        }
    }

    fn hash_command(&mut self) -> Argv {
        let key = self.hash_key();
        let field = self.rng.random_range(0..FIELDS);
        match self.rng.random_range(0..10) {
            0..2 => argv!["HSET", key, format!("f{field}"), self.value()],
            2 => {
                argv!["HSET", key, format!("f{field}"), self.value(), format!("f{}", field + 1), self.value()]
            }
            3 => argv!["HMSET", key, format!("f{field}"), self.short_value()],
            4 if self.population > 0 => {
                argv!["HSET", "huge:hash", format!("field:{field}"), self.short_value()]
            }
            4 => argv!["HSETNX", key, format!("f{field}"), self.short_value()],
            5 => argv!["HDEL", key, format!("f{field}"), format!("f{}", field / 2), format!("n{field}")],
            6 => argv![
                "HINCRBYFLOAT",
                key,
                format!("d{field}"),
                f64::from(self.rng.random_range(-999..999)) / 8.0
            ],
            7 => argv!["HGETALL", key],
            _ => argv!["HINCRBY", key, format!("n{field}"), self.rng.random_range(-1_000..1_000)],
        }
    }

    fn deadline_command(&mut self) -> Argv {
        let key = self.any_key();
        match self.rng.random_range(0..12) {
            0 => argv!["PEXPIRE", key, self.near_ms()],
            1 => argv!["EXPIRE", key, self.far_ms() / 1_000],
            2 => argv!["PEXPIREAT", key, now_ms() + self.near_ms()],
            3 => argv!["EXPIREAT", key, (now_ms() + self.far_ms()) / 1_000],
            4 => argv!["PEXPIRE", key, self.far_ms(), "NX"],
            5 => argv!["PEXPIRE", key, self.far_ms(), "GT"],
            6 => argv!["EXPIRE", key, -1],
            7 => argv!["GETEX", self.text_key(), "PX", self.near_ms()],
            8 => argv!["GETEX", self.text_key(), "PERSIST"],
            9 => argv!["GET", self.text_key()],
            _ => argv!["PERSIST", key],
        }
    }

    fn delete_command(&mut self) -> Argv {
        match self.rng.random_range(0..8) {
            0 => argv!["DEL", self.any_key(), self.any_key()],
            1 => argv!["UNLINK", self.any_key()],
            2 => argv!["GETDEL", self.text_key()],
            3 => argv!["COPY", self.text_key(), self.text_key(), "REPLACE"],
            4 => argv!["MOVE", self.text_key(), 9],
            5 => argv!["COPY", self.hash_key(), self.hash_key(), "REPLACE"],
            _ => argv!["DEL", self.any_key()],
        }
    }

    fn text_key(&mut self) -> String {
        if self.population > 0 && self.one_in(2) {
            return format!("key:{}", self.rng.random_range(0..self.population));
        }
        format!("text:{}", self.rng.random_range(0..TEXT_KEYS))
    }

    fn hash_key(&mut self) -> String {
        format!("hash:{}", self.rng.random_range(0..HASH_KEYS))
    }

    fn any_key(&mut self) -> String {
        if self.one_in(3) { self.hash_key() } else { self.text_key() }
    }

    /// Any bytes, so that lengths and not delimiters must be believed.
    fn value(&mut self) -> Bytes {
        let len = match self.one_in(LARGE_VALUE) {
            true => LARGE_BYTES,
            false => self.rng.random_range(0..200),
        };
        let mut value = vec![0; len];
        self.rng.fill_bytes(&mut value);
        value.into()
    }

    fn short_value(&mut self) -> Bytes {
        let mut value = self.value();
        value.truncate(12);
        value
    }

    fn near_ms(&mut self) -> u64 {
        self.rng.random_range(NEAR_MS)
    }

    fn far_ms(&mut self) -> u64 {
        self.rng.random_range(FAR_MS)
    }

    fn one_in(&mut self, n: u32) -> bool {
        self.rng.random_ratio(1, n)
    }

    fn pick(&mut self, from: &[u16]) -> u16 {
        from[self.rng.random_range(0..from.len())]
    }
}

fn now_ms() -> u64 {
    let elapsed = std::time::UNIX_EPOCH.elapsed().expect("the clock is past 1970");
    u64::try_from(elapsed.as_millis()).expect("the clock is in this era")
}

/// Every command of the mix succeeds, also those inside a transaction; only COPY and MOVE may meet
/// themselves.
fn assert_no_error(command: &Argv, reply: &Reply) {
    match reply {
        Reply::Error(error) => assert_eq!(error, ONTO_ITSELF, "{command:?}"),
        Reply::Array(replies) if command[0] == "EXEC" => {
            for reply in replies {
                if let Reply::Error(error) = reply {
                    assert_eq!(error, ONTO_ITSELF, "in a transaction");
                }
            }
        }
        _ => {}
    }
}
