//! The `replcore` program.

use std::io::IsTerminal as _;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use rand::RngExt as _;
use replcore::hunt::{self, Reporter, Target};
use replcore::server::{Config, ConfigError, Server};

/// The allocator, which is Valkey's, too: its narrow size classes keep small values small.
#[cfg(not(target_env = "msvc"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// What is unused goes back to the system soon, by a thread of the allocator's own: a table that grows leaves its old
/// memory behind, and a mass delete much more. jemalloc's default is ten seconds, in which a fill may double.
// SAFETY: jemalloc looks for a symbol of this name and reads the C string that it points to; nobody else has it.
#[cfg(not(target_env = "msvc"))]
#[unsafe(export_name = "_rjem_malloc_conf")]
static ALLOCATOR_SETTINGS: &[u8; 42] = b"background_thread:true,dirty_decay_ms:100\0";

/// Exit code of a configuration that cannot work.
const EXIT_USAGE: u8 = 2;
/// Exit code of a server that could not start.
const EXIT_FAILURE: u8 = 1;
/// Exit code of a hunt that found something.
const EXIT_FOUND: u8 = 1;
/// Descriptors beside those of the clients: the listener, the runtime's, the files of snapshots.
#[cfg(unix)]
const SPARE_DESCRIPTORS: u64 = 128;

/// A formally checked replication core for Redis- and Valkey-compatible servers.
#[derive(Parser)]
#[command(version, about, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run a server that clients and Valkey or Redis replicas can connect to, or that follows one of them.
    ///
    /// Point a replica at it with `valkey-server --replicaof 127.0.0.1 6379`. Ctrl-C and SIGTERM end it:
    /// writes are paused until the replicas have everything (a second signal ends the wait, SHUTDOWN ABORT
    /// calls it off), the data is saved if there are save points, clients are closed, and the exit code is 0.
    /// Exit code 1: it could not start (the port is taken, or the saved data cannot be loaded, for instance).
    /// Exit code 2: the command line or a setting is wrong.
    Serve(Serve),
    /// Look for ways in which a replica comes to disagree with its primary about things that expire.
    ///
    /// Random commands about keys and hash fields with deadlines go to the primary, while the link between
    /// the two is held back, delayed and cut, the replica is stopped and promoted, and clocks are wrong. When
    /// all is quiet, both have to have stored the same, dead fields included. A difference is shrunk to a
    /// minimal sequence of steps, replayed, and printed with the replies, what the primary propagated, and
    /// both sides' states.
    ///
    /// Targets: HOST:PORT is a server that runs already; valkey:PATH and redis:PATH start one on a free port
    /// of the loopback interface; self starts `replcore serve`. Servers that the hunt starts
    /// can be stopped, may keep dead fields (DEBUG SET-ACTIVE-EXPIRE), and get wrong clocks if libfaketime is
    /// installed (apt install faketime). What cannot be tried is said at the start. Restarts are not tried.
    ///
    /// ALL DATA OF BOTH SERVERS IS DESTROYED: the primary is flushed at the start and before every sequence,
    /// and the replica is attached to it through the hunt (REPLICAOF), and left without a primary. Running
    /// servers that hold keys are refused without --flush. Never point it at a server that somebody needs.
    ///
    /// Examples:
    ///
    ///   replcore hunt --primary valkey:/usr/bin/valkey-server --replica valkey:/usr/bin/valkey-server
    ///
    ///   replcore hunt --primary self --replica valkey:/usr/bin/valkey-server --duration 1h --classes
    ///
    ///   replcore hunt --primary 127.0.0.1:6379 --replica 127.0.0.1:6380 --replica-pid 4711 --seed 7 --json
    ///
    /// Exit code 0: nothing was found. 1: a divergence was found. 2: the command line is wrong, or a target
    /// cannot be hunted.
    Hunt(HuntArgs),
}

#[derive(Args)]
struct HuntArgs {
    /// The server that is written to: HOST:PORT, valkey:PATH, redis:PATH or self
    #[arg(long, value_name = "TARGET")]
    primary: Target,

    /// The server that follows it: HOST:PORT, valkey:PATH or redis:PATH
    #[arg(long, value_name = "TARGET")]
    replica: Target,

    /// How long to hunt: a number of seconds, or with a unit (90s, 30m, 1h)
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = parse_duration)]
    duration: Duration,

    /// End after so many random sequences
    #[arg(long, value_name = "N")]
    iterations: Option<u64>,

    /// Repeat the random choices of another hunt [default: a new one]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,

    /// Go on after the first finding, leave the commands that were found guilty out, and list all classes
    #[arg(long)]
    classes: bool,

    /// One JSON object per line: started, suspected, found, progress, ended
    #[arg(long)]
    json: bool,

    /// Use these commands only (HSETEX,HSET,HDEL) [default: all that both servers know]
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    commands: Vec<String>,

    /// Use keys named fnx, nx, fields and keepttl as well (some versions of Valkey take them for options)
    #[arg(long)]
    odd_keys: bool,

    /// Running servers may be emptied though they hold keys
    #[arg(long)]
    flush: bool,

    /// Password of running servers; the replica has to have its own primaryauth
    #[arg(long, value_name = "PASSWORD", env = "REPLCORE_HUNT_PASSWORD", hide_env_values = true)]
    password: Option<String>,

    /// Process of a running replica on this machine, to stop and continue it
    #[arg(long, value_name = "PID")]
    replica_pid: Option<i32>,

    /// Address of this machine at which the replica reaches the link
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    link_address: String,

    /// libfaketime.so.1, if it is not where it usually is
    #[arg(long, value_name = "PATH", env = "REPLCORE_HUNT_FAKETIME")]
    faketime: Option<PathBuf>,
}

impl HuntArgs {
    fn to_config(&self) -> hunt::Config {
        hunt::Config {
            primary: self.primary.clone(),
            replica: self.replica.clone(),
            flush: self.flush,
            password: self.password.clone(),
            replica_pid: self.replica_pid,
            link_host: self.link_address.clone(),
            faketime: self.faketime.clone(),
            itself: None,
            seed: self.seed.unwrap_or_else(|| rand::rng().random_range(0..1_000_000)),
            duration: self.duration,
            iterations: self.iterations,
            all_classes: self.classes,
            commands: self.commands.clone(),
            odd_keys: self.odd_keys,
        }
    }
}

/// A number of seconds, or one with a unit.
fn parse_duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|unit: char| unit.is_ascii_alphabetic());
    let seconds = match &text[digits.len()..] {
        "" | "s" => 1,
        "m" | "min" => 60,
        "h" => 3_600,
        unit => return Err(format!("'{unit}' is no unit: s, m or h")),
    };
    let number: u64 = digits.parse().map_err(|_| format!("'{digits}' is no number"))?;
    number.checked_mul(seconds).map(Duration::from_secs).ok_or_else(|| "too long".to_owned())
}

#[derive(Args)]
struct Serve {
    /// Address to listen on [default: 127.0.0.1]
    #[arg(long, value_name = "ADDRESS", env = "REPLCORE_BIND")]
    bind: Option<String>,

    /// Port to listen on; 0 lets the system choose [default: 6379]
    #[arg(long, value_name = "PORT", env = "REPLCORE_PORT")]
    port: Option<u16>,

    /// Worker threads [default: one per CPU]
    #[arg(long, value_name = "N")]
    threads: Option<NonZeroUsize>,

    /// Shards of the keyspace [default: 64]
    #[arg(long, value_name = "N")]
    shards: Option<NonZeroUsize>,

    /// Password that clients and replicas have to give
    #[arg(long, value_name = "PASSWORD", env = "REPLCORE_REQUIREPASS", hide_env_values = true)]
    requirepass: Option<String>,

    /// Stream kept for replicas that come back, in bytes or with a unit (64mb, 1gb) [default: 10mb]
    #[arg(long, value_name = "SIZE")]
    backlog_size: Option<String>,

    /// Memory that the data may take, in bytes or with a unit (512mb, 4gb); 0 for any [default: 0]
    #[arg(long, value_name = "SIZE")]
    maxmemory: Option<String>,

    /// What goes when the data takes more: noeviction, or allkeys- or volatile- with lru, lfu or random, or
    /// volatile-ttl [default: noeviction]
    #[arg(long, value_name = "POLICY")]
    maxmemory_policy: Option<String>,

    /// Directory of the snapshot: loaded at the start, written by SAVE, BGSAVE, save points and at the end
    /// [default: none, nothing is written]
    #[arg(long, value_name = "PATH", env = "REPLCORE_DIR")]
    dir: Option<String>,

    /// The primary to follow [default: none, this server is a primary]
    #[arg(long, value_name = "HOST:PORT", env = "REPLCORE_REPLICAOF")]
    replicaof: Option<String>,

    /// How much to log; REPLCORE_LOG takes a tracing filter instead (replcore=debug)
    #[arg(long, value_name = "LEVEL", value_enum, default_value_t = LogLevel::Info)]
    log_level: LogLevel,

    /// How to log
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,

    /// Any other setting, by the name that CONFIG SET uses; may be repeated
    #[arg(long = "config", value_name = "NAME=VALUE")]
    settings: Vec<String>,
}

#[derive(Clone, Copy, ValueEnum)]
enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

#[derive(Clone, Copy, ValueEnum)]
enum LogFormat {
    /// Lines for people
    Text,
    /// One JSON object per line
    Json,
}

#[derive(Debug, thiserror::Error)]
enum UsageError {
    #[error("--config takes NAME=VALUE, not '{0}'")]
    Form(String),
    #[error("{first} and {second} set the same: leave one out")]
    Twice { first: String, second: String },
    #[error("{0}")]
    Setting(#[from] ConfigError),
    #[error("REPLCORE_LOG is no tracing filter: {0}")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
}

impl Serve {
    fn to_config(&self) -> Result<Config, UsageError> {
        let mut config = Config::default();
        let mut given: Vec<(&str, String)> = Vec::new();
        for (option, name, value) in self.options() {
            if let Some(value) = value {
                config.set(name, &value)?;
                given.push((name, format!("--{option}")));
            }
        }
        for setting in &self.settings {
            let (name, value) = setting.split_once('=').ok_or_else(|| UsageError::Form(setting.clone()))?;
            let name = name.trim();
            let setting = format!("--config {name}");
            if let Some((_, first)) = given.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)) {
                return Err(UsageError::Twice { first: first.clone(), second: setting });
            }
            config.set(name, value.trim())?;
            given.push((name, setting));
        }
        Ok(config)
    }

    /// The options that are settings: their names, those of the settings, and what was given.
    fn options(&self) -> [(&'static str, &'static str, Option<String>); 10] {
        let text = |number: Option<NonZeroUsize>| number.map(|number| number.to_string());
        [
            ("bind", "bind", self.bind.clone()),
            ("port", "port", self.port.map(|port| port.to_string())),
            ("threads", "threads", text(self.threads)),
            ("shards", "shards", text(self.shards)),
            ("requirepass", "requirepass", self.requirepass.clone()),
            ("backlog-size", "repl-backlog-size", self.backlog_size.clone()),
            ("dir", "dir", self.dir.clone()),
            ("maxmemory", "maxmemory", self.maxmemory.clone()),
            ("maxmemory-policy", "maxmemory-policy", self.maxmemory_policy.clone()),
            ("replicaof", "replicaof", self.replicaof.clone()),
        ]
    }
}

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Serve(serve) => main_serve(&serve),
        Command::Hunt(args) => main_hunt(&args),
    }
}

/// Hunts until the end or Ctrl-C, and says what was found.
fn main_hunt(args: &HuntArgs) -> ExitCode {
    let stop = Arc::new(AtomicBool::new(false));
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("replcore: cannot start the threads: {error}");
            return ExitCode::from(EXIT_USAGE);
        }
    };
    let stopping = Arc::clone(&stop);
    runtime.spawn(async move {
        interrupted().await;
        stopping.store(true, Ordering::Relaxed);
    });
    let mut reporter = Reporter::new(std::io::stdout(), args.json);
    let ended = hunt::run(&args.to_config(), stop, &mut |event| reporter.tell(&event));
    runtime.shutdown_background();
    match ended {
        Ok(summary) if summary.classes.is_empty() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::from(EXIT_FOUND),
        Err(error) => {
            eprintln!("replcore: {error}");
            ExitCode::from(EXIT_USAGE)
        }
    }
}

fn main_serve(serve: &Serve) -> ExitCode {
    let config = match set_up_log(serve).and_then(|()| serve.to_config()) {
        Ok(config) => config,
        Err(error) => {
            eprintln!("replcore: {error}");
            return ExitCode::from(EXIT_USAGE);
        }
    };
    #[cfg(unix)]
    allow_descriptors(config.maxclients);
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if config.threads > 0 {
        runtime.worker_threads(config.threads);
    }
    let runtime = match runtime.enable_all().thread_name("replcore").build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("replcore: cannot start the threads: {error}");
            return ExitCode::from(EXIT_FAILURE);
        }
    };
    let code = runtime.block_on(run(config));
    // A blocking thread may still be serialising a snapshot nobody waits for.
    runtime.shutdown_background();
    code
}

/// Raises the limit of open files, which most systems set too low for `maxclients`, as far as it goes.
#[cfg(unix)]
fn allow_descriptors(maxclients: u64) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let wanted = maxclients.saturating_add(SPARE_DESCRIPTORS);
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let Some(current) = current.filter(|current| *current < wanted) else { return };
    let reachable = maximum.map_or(wanted, |maximum| maximum.min(wanted));
    let raised = setrlimit(Resource::Nofile, Rlimit { current: Some(reachable), maximum });
    let files = if raised.is_ok() { reachable } else { current };
    if files < wanted {
        tracing::warn!(maxclients, files, "fewer files may be open than maxclients needs, see ulimit -n");
    }
}

async fn run(config: Config) -> ExitCode {
    let server = match Server::bind(config).await {
        Ok(server) => server,
        Err(error) => {
            eprintln!("replcore: {error}");
            return ExitCode::from(EXIT_FAILURE);
        }
    };
    #[cfg(unix)]
    survive_signals();
    let stopper = server.stopper();
    // Each time: an end that waits for replicas may be aborted, and a second signal ends the wait.
    tokio::spawn(async move {
        loop {
            interrupted().await;
            stopper.stop();
        }
    });
    match server.run(std::future::pending()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("replcore: {error}");
            ExitCode::from(EXIT_FAILURE)
        }
    }
}

/// Keeps signals from ending the program that others send to servers: SIGHUP comes with the end of a terminal,
/// SIGUSR1 is what Valkey's own processes use.
#[cfg(unix)]
fn survive_signals() {
    use tokio::signal::unix::{SignalKind, signal};
    for (kind, name) in [(SignalKind::hangup(), "SIGHUP"), (SignalKind::user_defined1(), "SIGUSR1")] {
        match signal(kind) {
            Err(error) => tracing::warn!(%error, "{name} cannot be caught"),
            Ok(mut signal) => drop(tokio::spawn(async move {
                while signal.recv().await.is_some() {
                    tracing::info!("{name} is ignored");
                }
            })),
        }
    }
}

fn set_up_log(serve: &Serve) -> Result<(), UsageError> {
    let level = match serve.log_level {
        LogLevel::Error => "error",
        LogLevel::Warn => "warn",
        LogLevel::Info => "info",
        LogLevel::Debug => "debug",
        LogLevel::Trace => "trace",
    };
    let filter = match std::env::var("REPLCORE_LOG") {
        Ok(filter) if !filter.is_empty() => tracing_subscriber::EnvFilter::try_new(filter)?,
        _ => tracing_subscriber::EnvFilter::new(level),
    };
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    match serve.log_format {
        LogFormat::Text => log.with_target(false).init(),
        LogFormat::Json => log.json().init(),
    }
    Ok(())
}

/// Resolves at Ctrl-C or SIGTERM.
async fn interrupted() {
    let interrupt = async {
        if let Err(error) = tokio::signal::ctrl_c().await {
            tracing::warn!(%error, "Ctrl-C cannot be caught");
            std::future::pending::<()>().await;
        }
    };
    #[cfg(unix)]
    let terminate = async {
        match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
            Ok(mut signal) => {
                signal.recv().await;
            }
            Err(_) => std::future::pending().await,
        }
    };
    #[cfg(not(unix))]
    let terminate = std::future::pending::<()>();
    tokio::select! {
        () = interrupt => {}
        () = terminate => {}
    }
}
