//! The `replcore` program.

use std::io::IsTerminal as _;
use std::num::NonZeroUsize;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};
use replcore::server::{Config, ConfigError, Server};

/// Exit code of a configuration that cannot work.
const EXIT_USAGE: u8 = 2;
/// Exit code of a server that could not start.
const EXIT_FAILURE: u8 = 1;
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
    /// Run a primary that clients and Valkey or Redis replicas can connect to.
    ///
    /// Point a replica at it with `valkey-server --replicaof 127.0.0.1 6379`. Ctrl-C and SIGTERM end it: clients are
    /// closed, replicas get what is left of the stream, and the exit code is 0. Exit code 1: it could not start (the
    /// port is taken, for instance). Exit code 2: the command line or a setting is wrong.
    Serve(Serve),
}

#[derive(Args)]
struct Serve {
    /// Address to listen on
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1", env = "REPLCORE_BIND")]
    bind: String,

    /// Port to listen on; 0 lets the system choose
    #[arg(long, value_name = "PORT", default_value_t = 6379, env = "REPLCORE_PORT")]
    port: u16,

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

    /// What goes when the data takes more: noeviction, or allkeys- or volatile- with lru, lfu or random, or volatile-ttl
    /// [default: noeviction]
    #[arg(long, value_name = "POLICY")]
    maxmemory_policy: Option<String>,

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
    #[error("{0}")]
    Setting(#[from] ConfigError),
    #[error("REPLCORE_LOG is no tracing filter: {0}")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
}

impl Serve {
    fn to_config(&self) -> Result<Config, UsageError> {
        let mut config = Config { bind: self.bind.clone(), port: self.port, ..Config::default() };
        if let Some(threads) = self.threads {
            config.set("threads", &threads.to_string())?;
        }
        if let Some(shards) = self.shards {
            config.set("shards", &shards.to_string())?;
        }
        if let Some(password) = &self.requirepass {
            config.set("requirepass", password)?;
        }
        if let Some(size) = &self.backlog_size {
            config.set("repl-backlog-size", size)?;
        }
        if let Some(size) = &self.maxmemory {
            config.set("maxmemory", size)?;
        }
        if let Some(policy) = &self.maxmemory_policy {
            config.set("maxmemory-policy", policy)?;
        }
        for setting in &self.settings {
            let (name, value) = setting.split_once('=').ok_or_else(|| UsageError::Form(setting.clone()))?;
            config.set(name.trim(), value.trim())?;
        }
        Ok(config)
    }
}

fn main() -> ExitCode {
    let Cli { command: Command::Serve(serve) } = Cli::parse();
    let config = match set_up_log(&serve).and_then(|()| serve.to_config()) {
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
    server.run(interrupted()).await;
    ExitCode::SUCCESS
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
