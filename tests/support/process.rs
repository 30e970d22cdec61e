//! Server processes: `replcore serve`, `valkey-server`, `redis-server`.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use replcore::resp::Reply;
use rustix::process::{Pid, Signal, kill_process};

use super::client::{Client, Info, argv};
use super::{Link, note, peers, wait_until};

/// Time for a server to start and answer.
const START: Duration = Duration::from_secs(30);
/// Another process may take a port between its choice and its use; then another one is chosen, this often.
const PORT_ATTEMPTS: usize = 10;
/// How much of a log is shown when a test fails.
const LOG_TAIL_LINES: usize = 30;

/// What can be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// The program under test.
    Replcore,
    /// Valkey 9.1.2.
    Valkey,
    /// Valkey 9.0.0: the oldest that has field deadlines.
    Valkey90,
    /// Redis 7.0.15.
    Redis,
}

impl Program {
    /// The primary under test: replcore, unless `REPLCORE_TEST_PRIMARY` names one of the real servers.
    pub fn primary() -> Program {
        match std::env::var("REPLCORE_TEST_PRIMARY").as_deref() {
            Err(_) | Ok("replcore") => Program::Replcore,
            Ok("valkey") => Program::Valkey,
            Ok("redis") => Program::Redis,
            Ok(other) => panic!("REPLCORE_TEST_PRIMARY={other}: replcore, valkey or redis"),
        }
    }

    /// The replicas of a test: one Valkey and one Redis. (A Valkey 9.1.2 primary itself cannot feed a Redis
    /// 7.0: its snapshots are too new for it. So with that stand-in both are Valkey.)
    pub fn replicas() -> [Program; 2] {
        match Program::primary() {
            Program::Valkey | Program::Valkey90 => [Program::Valkey, Program::Valkey],
            Program::Replcore | Program::Redis => [Program::Valkey, Program::Redis],
        }
    }

    fn binary(self) -> &'static Path {
        match self {
            Program::Replcore => Path::new(env!("CARGO_BIN_EXE_replcore")),
            Program::Valkey => peers::valkey(),
            Program::Valkey90 => peers::valkey90(),
            Program::Redis => peers::redis(),
        }
    }

    fn command(self, port: u16, dir: &Path) -> Command {
        let mut command = Command::new(self.binary());
        if self == Program::Replcore {
            command.args(["serve", "--port", &port.to_string()]);
            return command;
        }
        command.args([
            "--port",
            &port.to_string(),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--appendonly",
            "no",
        ]);
        // For DEBUG SET-ACTIVE-EXPIRE: what has expired is to stay until a test says otherwise.
        command.args(["--enable-debug-command", "yes"]);
        command.args(["--repl-diskless-sync-delay", "0", "--dir"]).arg(dir);
        command
    }
}

/// A directory for what the servers of one test leave behind; kept if the test fails.
pub struct Scratch {
    dir: PathBuf,
}

impl Scratch {
    /// A new directory, named after the test.
    pub fn new(test: &str) -> Scratch {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let unique = format!("{test}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("live").join(unique);
        fs::create_dir_all(&dir).expect("the target directory can be written");
        Scratch { dir }
    }

    /// A directory in it, made if it is not there.
    pub fn directory(&self, name: &str) -> PathBuf {
        let dir = self.dir.join(name);
        fs::create_dir_all(&dir).expect("the scratch directory can be written");
        dir
    }
}

/// How a server is started that is not started for the first time, or in another way than others.
#[derive(Clone, Debug)]
pub struct Launch {
    /// What it is.
    pub program: Program,
    /// Where it keeps its data; the same for the next start.
    pub dir: PathBuf,
    /// More arguments.
    pub args: Vec<String>,
    /// No file that it writes may be longer than this.
    pub max_file_kib: Option<u64>,
}

impl Launch {
    /// A server that keeps its data there.
    pub fn new(program: Program, dir: PathBuf) -> Launch {
        let args = match program {
            Program::Replcore => vec!["--dir".to_owned(), dir.display().to_string()],
            // They have one already.
            Program::Valkey | Program::Valkey90 | Program::Redis => Vec::new(),
        };
        Launch { program, dir, args, max_file_kib: None }
    }

    /// With these arguments.
    pub fn with(mut self, args: &[&str]) -> Launch {
        self.args.extend(args.iter().map(|arg| (*arg).to_owned()));
        self
    }

    /// Starts it at a port that was free a moment ago, without waiting for it to answer. `name` is what logs
    /// and failures call it.
    pub fn spawn(&self, name: &str) -> Server {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free loopback port");
        let port = listener.local_addr().expect("a bound socket has an address").port();
        drop(listener);
        self.spawn_at(name, port)
    }

    /// Starts it at this port, without waiting for it to answer.
    pub fn spawn_at(&self, name: &str, port: u16) -> Server {
        let mut command = self.program.command(port, &self.dir);
        command.args(&self.args);
        if let Some(kib) = self.max_file_kib {
            // The shell's unit is 512 bytes; a write beyond is an error, not a signal.
            let script = format!("trap '' XFSZ; ulimit -f {}; exec \"$@\"", kib * 2);
            let mut limited = Command::new("sh");
            limited.args(["-c", &script, "sh"]).arg(command.get_program()).args(command.get_args());
            command = limited;
        }
        Server::run(self.program, name, port, command, &self.dir)
    }

    /// Starts it and waits until it answers.
    pub fn start(&self, name: &str) -> Server {
        for _ in 0..PORT_ATTEMPTS {
            let mut server = self.spawn(name);
            if server.wait_ready() {
                return server;
            }
        }
        panic!("{:?} found no free port in {PORT_ATTEMPTS} attempts", self.program);
    }

    /// Starts it at this port, which nobody else has, and waits until it answers.
    pub fn start_at(&self, name: &str, port: u16) -> Server {
        let mut server = self.spawn_at(name, port);
        assert!(server.wait_ready(), "port {port} of {name} was taken meanwhile");
        server
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if thread::panicking() {
            note!("logs: {}", self.dir.display());
        } else {
            let _ = fs::remove_dir_all(&self.dir);
        }
    }
}

/// A running server. Killed when dropped.
pub struct Server {
    /// What it is.
    pub program: Program,
    name: String,
    port: u16,
    child: Child,
    log: PathBuf,
}

impl Server {
    /// Starts a sentinel that monitors the primary at `port` by this name, and waits until it answers. It is alone,
    /// and quick to judge.
    pub fn sentinel(program: Program, primary: &str, port: u16, scratch: &Scratch) -> Server {
        let dir = scratch.directory("sentinel");
        for _ in 0..PORT_ATTEMPTS {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free loopback port");
            let own = listener.local_addr().expect("a bound socket has an address").port();
            drop(listener);
            let file = dir.join("sentinel.conf");
            let text = format!(
                "port {own}\nbind 127.0.0.1\ndir {}\nsentinel monitor {primary} 127.0.0.1 {port} 1\n\
                 sentinel down-after-milliseconds {primary} 1000\nsentinel failover-timeout {primary} 3000\n",
                dir.display()
            );
            fs::write(&file, text).expect("the scratch directory can be written");
            let mut command = Command::new(program.binary());
            command.arg(&file).arg("--sentinel");
            let mut server = Server::run(program, "sentinel", own, command, &dir);
            if server.wait_ready() {
                return server;
            }
        }
        panic!("the sentinel found no free port in {PORT_ATTEMPTS} attempts");
    }

    /// Starts the primary under test.
    pub fn primary(scratch: &Scratch) -> Server {
        Server::start(Program::primary(), "primary", scratch)
    }

    /// Starts a server and waits until it answers. `name` is what logs and failures call it.
    pub fn start(program: Program, name: &str, scratch: &Scratch) -> Server {
        for attempt in 0..PORT_ATTEMPTS {
            let mut server = Server::spawn(program, name, scratch, attempt);
            if server.wait_ready() {
                let info = server.info();
                let version = ["valkey_version", "replcore_version", "redis_version"];
                let version =
                    version.iter().find_map(|field| info.get(field)).unwrap_or("of unknown version");
                note!("{name}: {program:?} {version}, port {}", server.port);
                return server;
            }
        }
        panic!("{program:?} found no free port in {PORT_ATTEMPTS} attempts");
    }

    fn spawn(program: Program, name: &str, scratch: &Scratch, attempt: usize) -> Server {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free loopback port");
        let port = listener.local_addr().expect("a bound socket has an address").port();
        drop(listener);
        let dir = scratch.dir.join(format!("{}-{attempt}", name.replace(' ', "-")));
        fs::create_dir_all(&dir).expect("the scratch directory can be written");
        Server::run(program, name, port, program.command(port, &dir), &dir)
    }

    fn run(program: Program, name: &str, port: u16, mut command: Command, dir: &Path) -> Server {
        let log = dir.join("log");
        let output = File::create(&log).expect("the scratch directory can be written");
        let errors = output.try_clone().expect("a file handle can be cloned");
        command.current_dir(dir).stdin(std::process::Stdio::null()).stdout(output).stderr(errors);
        let child = command.spawn().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        Server { program, name: name.to_owned(), port, child, log }
    }

    /// Whether the server came up; `false` if its port was taken.
    fn wait_ready(&mut self) -> bool {
        let start = Instant::now();
        let what = format!("{} answers", self.name);
        wait_until(&what, START, || {
            if let Ok(Some(status)) = self.child.try_wait() {
                let log = self.log();
                let taken =
                    ["Address already in use", "bind:", "EADDRINUSE"].iter().any(|text| log.contains(text));
                assert!(taken, "{:?} exited with {status} after {:?}:\n{log}", self.program, start.elapsed());
                return Ok(false);
            }
            let mut client = Client::connect(self.address()).map_err(|error| error.to_string())?;
            match client.try_call(&argv!["PING"]) {
                // Somebody else may have the port.
                Ok(Reply::Status(_)) if client.info().number("process_id") == u64::from(self.child.id()) => {
                    Ok(true)
                }
                Ok(other) => Err(format!("{other:?}")),
                Err(error) => Err(error.to_string()),
            }
        })
    }

    /// What logs and failures call it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// A new connection.
    #[track_caller]
    pub fn client(&self) -> Client {
        Client::connect(self.address()).unwrap_or_else(|error| panic!("connecting to {}: {error}", self.name))
    }

    /// INFO, over a new connection.
    #[track_caller]
    pub fn info(&self) -> Info {
        self.client().info()
    }

    /// Changes settings, by their names in CONFIG SET.
    #[track_caller]
    pub fn configure(&self, settings: &[(&str, &str)]) {
        let mut client = self.client();
        for (name, value) in settings {
            client.call(argv!["CONFIG", "SET", *name, *value]);
        }
    }

    /// Makes it a replica of what is behind `link`.
    #[track_caller]
    pub fn replicate(&self, link: &Link) {
        self.client().call(argv!["REPLICAOF", "127.0.0.1", link.port()]);
    }

    /// Everything it printed.
    pub fn log(&self) -> String {
        fs::read(&self.log).map(|text| String::from_utf8_lossy(&text).into_owned()).unwrap_or_default()
    }

    /// How many lines of the log contain `text`.
    pub fn log_count(&self, text: &str) -> usize {
        self.log().lines().filter(|line| line.contains(text)).count()
    }

    /// Full resyncs that this replica went through.
    pub fn full_resyncs_logged(&self) -> usize {
        self.log_count("Full resync from")
    }

    /// Partial resyncs that this replica went through.
    pub fn partial_resyncs_logged(&self) -> usize {
        self.log_count("Successful partial resynchronization")
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let pid =
            i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a child has a process id");
        kill_process(pid, signal).unwrap_or_else(|error| panic!("signalling {}: {error}", self.name));
    }

    /// Waits until it has ended by itself.
    #[track_caller]
    pub fn wait_exit(&mut self, within: Duration) -> ExitStatus {
        let what = format!("{} ends", self.name);
        wait_until(&what, within, || match self.child.try_wait() {
            Ok(Some(status)) => Ok(status),
            Ok(None) => Err("it runs".to_owned()),
            Err(error) => Err(error.to_string()),
        })
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Ends stopped processes too; fails if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            note!("last lines of {}'s log:", self.name);
            for line in &lines[lines.len().saturating_sub(LOG_TAIL_LINES)..] {
                note!("  | {line}");
            }
        }
    }
}

/// Starts the replicas of a test, attached to `primary` through a link each, and waits until they are up.
#[track_caller]
pub fn attach_replicas(primary: &Server, scratch: &Scratch) -> (Vec<Server>, Vec<Link>) {
    attach(&Program::replicas(), primary, scratch)
}

/// Starts replicas, attached to `primary` through a link each, and waits until they are up.
#[track_caller]
pub fn attach(programs: &[Program], primary: &Server, scratch: &Scratch) -> (Vec<Server>, Vec<Link>) {
    let (mut replicas, mut links) = (Vec::new(), Vec::new());
    for (index, &program) in programs.iter().enumerate() {
        replicas.push(Server::start(program, &format!("replica {index}"), scratch));
        links.push(Link::to(primary.address()));
    }
    for (replica, link) in replicas.iter().zip(&links) {
        replica.replicate(link);
    }
    for replica in &replicas {
        wait_link_up(replica, START);
    }
    (replicas, links)
}

/// Waits until `replica` is attached to its primary.
#[track_caller]
pub fn wait_link_up(replica: &Server, within: Duration) {
    let mut client = replica.client();
    wait_until(&format!("{} is attached", replica.name), within, || {
        match client.info_section("replication").get("master_link_status") {
            Some("up") => Ok(()),
            other => Err(format!("link {other:?}")),
        }
    });
}

/// Waits until `replica` is attached and has applied everything that `primary` has published. Returns the
/// offset.
#[track_caller]
pub fn wait_caught_up(primary: &Server, replica: &Server, within: Duration) -> u64 {
    let (mut primary_client, mut replica_client) = (primary.client(), replica.client());
    wait_until(&format!("{} has caught up", replica.name), within, || {
        let end = primary_client.info_section("replication").number("master_repl_offset");
        let info = replica_client.info_section("replication");
        let applied = info.get("slave_repl_offset").and_then(|text| text.parse::<u64>().ok());
        match (info.get("master_link_status"), applied) {
            (Some("up"), Some(applied)) if applied == end => Ok(end),
            (link, applied) => Err(format!("link {link:?}, applied {applied:?} of {end}")),
        }
    })
}
