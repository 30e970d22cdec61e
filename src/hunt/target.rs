//! The two servers: given ones, or ones that the hunt starts, stops and gives wrong clocks.

use std::fmt;
use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, ToSocketAddrs as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::str::FromStr;
use std::thread;
use std::time::{Duration, Instant, UNIX_EPOCH};

use bytes::Bytes;
use rustix::process::{Pid, Signal, kill_process};

use super::client::{Client, argv};
use super::error::HuntError;
use crate::resp::Reply;

/// How long a server may take to start.
const START: Duration = Duration::from_secs(20);
/// The same for one that is to have a wrong clock; some hang then, and are started without.
const START_WITH_CLOCK: Duration = Duration::from_secs(5);
/// How wrong a clock is made to see whether it can be.
const PROBE_SKEW_MS: i64 = 3_600_000;
/// How long that may take to show.
const PROBE: Duration = Duration::from_secs(1);
/// How long a server may take to end before it is killed.
const END: Duration = Duration::from_secs(3);
/// Another process may take a port between its choice and its use; then another one is chosen, this often.
const PORT_ATTEMPTS: usize = 5;
const POLL: Duration = Duration::from_millis(10);
/// How much of a log an error shows, in bytes.
const LOG_TAIL_BYTES: usize = 600;

/// Where libfaketime is looked for.
const FAKETIME_PLACES: [&str; 7] = [
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketime.so.1",
    "/usr/lib64/faketime/libfaketime.so.1",
    "/usr/lib/faketime/libfaketime.so.1",
    "/usr/local/lib/faketime/libfaketime.so.1",
    "/usr/lib/libfaketime.so.1",
    "/usr/lib64/libfaketime.so.1",
];

/// One of the two servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The one that is written to.
    Primary,
    /// The one that follows.
    Replica,
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Side::Primary => "primary",
            Side::Replica => "replica",
        })
    }
}

/// What a side of the hunt is.
///
/// ```
/// use replcore::hunt::Target;
///
/// assert_eq!("localhost:6379".parse::<Target>()?, Target::Running("localhost:6379".into()));
/// assert_eq!("valkey:/usr/bin/valkey-server".parse::<Target>()?, Target::Program("/usr/bin/valkey-server".into()));
/// assert_eq!("self".parse::<Target>()?, Target::Itself);
/// # Ok::<(), replcore::hunt::HuntError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A running server, as `HOST:PORT`.
    Running(String),
    /// A `valkey-server` or `redis-server` to start: `valkey:PATH`, `redis:PATH`.
    Program(PathBuf),
    /// This program's own `serve`: `self`.
    Itself,
}

impl FromStr for Target {
    type Err = HuntError;

    fn from_str(text: &str) -> Result<Target, HuntError> {
        let (head, tail) = text.rsplit_once(':').unwrap_or((text, ""));
        if tail.parse::<u16>().is_ok() && !head.is_empty() {
            return Ok(Target::Running(text.to_owned()));
        }
        match text.split_once(':') {
            None if text == "self" => Ok(Target::Itself),
            Some(("valkey" | "redis", path)) if !path.is_empty() => Ok(Target::Program(path.into())),
            _ => Err(HuntError::Target(text.to_owned())),
        }
    }
}

/// libfaketime, if it is where it usually is.
pub(super) fn find_faketime() -> Option<PathBuf> {
    FAKETIME_PLACES.iter().map(PathBuf::from).find(|path| path.exists())
}

/// What is needed to start servers.
pub(super) struct Setup<'a> {
    /// Where servers that are started keep their files.
    pub dir: &'a Path,
    /// The library that makes clocks wrong.
    pub faketime: Option<&'a Path>,
    /// For servers that run already.
    pub password: Option<&'a str>,
    /// The executable of this program.
    pub itself: Option<&'a Path>,
}

/// One of the two servers, with a connection to it.
pub(super) struct Node {
    pub side: Side,
    pub address: SocketAddr,
    pub client: Client,
    /// What can be stopped.
    pub pid: Option<Pid>,
    /// If its clock can be made wrong.
    clock: Option<Clock>,
    /// Why it cannot, though there is a library for it.
    pub clock_refusal: Option<String>,
    process: Option<Process>,
}

impl Node {
    /// Connects to a running server, or starts one.
    pub fn open(side: Side, target: &Target, setup: &Setup<'_>) -> Result<Node, HuntError> {
        let address = match target {
            Target::Running(address) => address,
            Target::Program(_) | Target::Itself => return Node::start(side, target, setup),
        };
        let address = resolve(address)?;
        let client = Client::connect(side, address, setup.password)?;
        let mut node =
            Node { side, address, client, pid: None, clock: None, clock_refusal: None, process: None };
        node.client.demand(&argv!["PING"])?;
        Ok(node)
    }

    /// Starts a server; with a clock that can be made wrong, if that does what it should.
    fn start(side: Side, target: &Target, setup: &Setup<'_>) -> Result<Node, HuntError> {
        let Some(library) = setup.faketime else { return Node::start_as_asked(side, target, setup) };
        let refusal = match Node::start_as_asked(side, target, setup).map(Node::with_wrong_clock) {
            Ok(Ok(node)) => return Ok(node),
            Ok(Err(refusal)) => refusal,
            Err(error) => error.to_string(),
        };
        let without = Setup { faketime: None, ..*setup };
        let mut node = Node::start_as_asked(side, target, &without)?;
        node.clock_refusal = Some(format!("{}: {refusal}", library.display()));
        Ok(node)
    }

    /// The node, if its clock can be made wrong; otherwise why it cannot.
    fn with_wrong_clock(mut self) -> Result<Node, String> {
        let start = Instant::now();
        let wrong = self.skew(PROBE_SKEW_MS).and_then(|()| {
            loop {
                let ahead_ms = self.time_ms()?.saturating_sub(unix_ms());
                if ahead_ms > PROBE_SKEW_MS.unsigned_abs() / 2 || start.elapsed() > PROBE {
                    break Ok(ahead_ms);
                }
                thread::sleep(POLL);
            }
        });
        match wrong.and_then(|ahead_ms| self.skew(0).map(|()| ahead_ms)) {
            Ok(ahead_ms) if ahead_ms > PROBE_SKEW_MS.unsigned_abs() / 2 => Ok(self),
            Ok(_) => Err("the clock stays right with it".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }

    fn start_as_asked(side: Side, target: &Target, setup: &Setup<'_>) -> Result<Node, HuntError> {
        let mut last = None;
        for attempt in 0..PORT_ATTEMPTS {
            match Node::try_start(side, target, setup, attempt) {
                Err(HuntError::Start { reason, side, program })
                    if reason.contains("Address already in use") =>
                {
                    last = Some(HuntError::Start { reason, side, program });
                }
                other => return other,
            }
        }
        Err(last.unwrap_or_else(|| HuntError::Target(format!("{target:?}"))))
    }

    fn try_start(side: Side, target: &Target, setup: &Setup<'_>, attempt: usize) -> Result<Node, HuntError> {
        let dir = setup.dir.join(format!("{side}-{attempt}"));
        fs::create_dir_all(&dir).map_err(system(&dir))?;
        let port = free_port()?;
        let (program, mut command) = match target {
            Target::Program(path) => (path.clone(), server_command(path, port, &dir)),
            _ => {
                let program = setup.itself.map(PathBuf::from).map_or_else(std::env::current_exe, Ok);
                let program = program.map_err(system("the name of this program"))?;
                let mut command = Command::new(&program);
                command.args(["serve", "--port", &port.to_string(), "--log-level", "warn"]);
                (program, command)
            }
        };
        let clock = setup.faketime.map(|library| Clock::new(library, &dir, &mut command)).transpose()?;
        let log = dir.join("log");
        let output = File::create(&log).map_err(system(&log))?;
        let errors = output.try_clone().map_err(system(&log))?;
        command.current_dir(&dir).stdin(Stdio::null()).stdout(output).stderr(errors);
        let child = command.spawn().map_err(|error| HuntError::Start {
            side,
            program: program.clone(),
            reason: error.to_string(),
        })?;
        let mut process = Process { child, log, program };
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let patience = if clock.is_some() { START_WITH_CLOCK } else { START };
        let client = process.wait_ready(side, address, patience)?;
        let pid = process.pid();
        Ok(Node { side, address, client, pid, clock, clock_refusal: None, process: Some(process) })
    }

    /// The clock of the server, in ms since the Unix epoch.
    pub fn time_ms(&mut self) -> Result<u64, HuntError> {
        let reply = self.client.demand(&argv!["TIME"])?;
        let part = |item: &Reply| match item {
            Reply::Bulk(text) => std::str::from_utf8(text).ok()?.parse::<u64>().ok(),
            _ => None,
        };
        match &reply {
            Reply::Array(parts) if parts.len() == 2 => part(&parts[0]).zip(part(&parts[1])),
            _ => None,
        }
        .map(|(s, us)| s.saturating_mul(1_000).saturating_add(us / 1_000))
        .ok_or_else(|| self.client.unexpected("TIME", &reply))
    }

    /// A section of INFO, as text.
    pub fn info(&mut self, section: &str) -> Result<String, HuntError> {
        let reply = self.client.demand(&argv!["INFO", section])?;
        match &reply {
            Reply::Bulk(text) | Reply::Verbatim(text) => Ok(String::from_utf8_lossy(text).into_owned()),
            other => Err(self.client.unexpected("INFO", other)),
        }
    }

    /// The name and version of the server.
    pub fn version(&mut self) -> Result<String, HuntError> {
        let info = self.info("server")?;
        let names =
            [("replcore_version", "replcore"), ("valkey_version", "Valkey"), ("redis_version", "Redis")];
        let known =
            names.iter().find_map(|(key, name)| info_field(&info, key).map(|v| format!("{name} {v}")));
        Ok(known.unwrap_or_else(|| "unknown version".to_owned()))
    }

    /// How many keys it holds.
    pub fn key_count(&mut self) -> Result<i64, HuntError> {
        match self.client.demand(&argv!["DBSIZE"])? {
            Reply::Integer(keys) => Ok(keys),
            other => Err(self.client.unexpected("DBSIZE", &other)),
        }
    }

    /// Whether its clock can be made wrong.
    pub fn has_clock(&self) -> bool {
        self.clock.is_some()
    }

    /// Whether the hunt started it.
    pub fn is_own(&self) -> bool {
        self.process.is_some()
    }

    /// Makes its clock wrong by `ms`; does nothing if that is impossible.
    pub fn skew(&mut self, ms: i64) -> Result<(), HuntError> {
        self.clock.as_mut().map_or(Ok(()), |clock| clock.set(ms))
    }

    /// Sends a signal to its process, if it is known.
    pub fn signal(&self, signal: Signal) -> Result<(), HuntError> {
        let Some(pid) = self.pid else { return Ok(()) };
        kill_process(pid, signal).map_err(|error| HuntError::System {
            what: format!("a signal to the {}", self.side),
            source: error.into(),
        })
    }

    /// If it was started and has ended: the error that says so.
    pub fn ended(&mut self) -> Option<HuntError> {
        let side = self.side;
        self.process.as_mut().and_then(|process| process.ended(side))
    }
}

/// Milliseconds since the Unix epoch, by the hunt's own clock.
fn unix_ms() -> u64 {
    let since = UNIX_EPOCH.elapsed().unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn resolve(address: &str) -> Result<SocketAddr, HuntError> {
    let failed = |source| HuntError::Resolve { host: address.to_owned(), source };
    let mut found = address.to_socket_addrs().map_err(failed)?;
    found.next().ok_or_else(|| failed(io::Error::new(io::ErrorKind::NotFound, "no address")))
}

fn free_port() -> Result<u16, HuntError> {
    let failed = system("a free port");
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(&failed)?;
    Ok(listener.local_addr().map_err(&failed)?.port())
}

fn server_command(path: &Path, port: u16, dir: &Path) -> Command {
    let mut command = Command::new(path);
    let port = port.to_string();
    command.args(["--port", &port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
    command.args(["--enable-debug-command", "yes", "--repl-diskless-sync-delay", "0", "--dir"]).arg(dir);
    command
}

fn system(what: impl AsRef<Path>) -> impl Fn(io::Error) -> HuntError {
    let what = what.as_ref().display().to_string();
    move |source| HuntError::System { what: what.clone(), source }
}

/// The value of a field of INFO.
pub(super) fn info_field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines()
        .find_map(|line| line.trim_end().split_once(':').filter(|(key, _)| *key == name))
        .map(|pair| pair.1)
}

/// A process that the hunt started. Ended when dropped.
struct Process {
    child: Child,
    log: PathBuf,
    program: PathBuf,
}

impl Process {
    fn pid(&self) -> Option<Pid> {
        i32::try_from(self.child.id()).ok().and_then(Pid::from_raw)
    }

    fn wait_ready(
        &mut self,
        side: Side,
        address: SocketAddr,
        patience: Duration,
    ) -> Result<Client, HuntError> {
        let start = Instant::now();
        loop {
            if let Some(error) = self.ended(side) {
                return Err(error);
            }
            let answer = Client::connect(side, address, None)
                .and_then(|mut client| client.demand(&argv!["PING"]).map(|_| client));
            match answer {
                Ok(client) => return Ok(client),
                Err(error) if start.elapsed() > patience => {
                    let reason = format!("{error}; {}", self.log_tail());
                    return Err(HuntError::Start { side, program: self.program.clone(), reason });
                }
                Err(_) => thread::sleep(POLL),
            }
        }
    }

    fn ended(&mut self, side: Side) -> Option<HuntError> {
        let status = self.child.try_wait().ok().flatten()?;
        let reason = format!("{status}: {}", self.log_tail());
        Some(HuntError::Start { side, program: self.program.clone(), reason })
    }

    fn log_tail(&self) -> String {
        let log = fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&log[log.len().saturating_sub(LOG_TAIL_BYTES)..]).trim().to_owned()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // SIGTERM lets libfaketime remove what it shares; a stopped process has to go on to see it.
        if let Some(pid) = self.pid() {
            let _ = kill_process(pid, Signal::TERM);
            let _ = kill_process(pid, Signal::CONT);
        }
        let start = Instant::now();
        while start.elapsed() < END {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            thread::sleep(POLL);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A clock that libfaketime reads from a file.
struct Clock {
    file: PathBuf,
    staged: PathBuf,
    skew_ms: i64,
}

impl Clock {
    /// A clock that is right, for the process that `command` will start.
    fn new(library: &Path, dir: &Path, command: &mut Command) -> Result<Clock, HuntError> {
        let mut clock = Clock { file: dir.join("clock"), staged: dir.join("clock.new"), skew_ms: i64::MIN };
        clock.set(0)?;
        command.env("LD_PRELOAD", library).env("FAKETIME_TIMESTAMP_FILE", &clock.file);
        command.env("FAKETIME_NO_CACHE", "1");
        // Timeouts go on as usual. Older versions know the second name.
        command.env("FAKETIME_DONT_FAKE_MONOTONIC", "1").env("DONT_FAKE_MONOTONIC", "1");
        Ok(clock)
    }

    fn set(&mut self, ms: i64) -> Result<(), HuntError> {
        if self.skew_ms == ms {
            return Ok(());
        }
        let sign = if ms < 0 { '-' } else { '+' };
        let (s, rest) = (ms.unsigned_abs() / 1_000, ms.unsigned_abs() % 1_000);
        // By a rename: the file is read at any time.
        fs::write(&self.staged, format!("{sign}{s}.{rest:03}s\n")).map_err(system(&self.staged))?;
        fs::rename(&self.staged, &self.file).map_err(system(&self.file))?;
        self.skew_ms = ms;
        Ok(())
    }
}

/// The process whose id the user gave.
pub(super) fn pid_of(raw: i32) -> Option<Pid> {
    Pid::from_raw(raw)
}

/// Commands that a server knows, of those named: asked without arguments, which no server executes.
pub(super) fn known_commands(
    node: &mut Node,
    names: &[&'static str],
) -> Result<Vec<&'static str>, HuntError> {
    let asked: Vec<Vec<Bytes>> = names.iter().map(|name| vec![Bytes::from_static(name.as_bytes())]).collect();
    let replies = node.client.calls(&asked)?;
    let unknown = |reply: &Reply| matches!(reply, Reply::Error(error) if error.to_lowercase().contains("unknown command"));
    Ok(names.iter().zip(&replies).filter(|(_, reply)| !unknown(reply)).map(|(name, _)| *name).collect())
}
