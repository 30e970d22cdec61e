//! From argv to what happens: authentication, lookup, arity, transactions, and the two kinds of
//! commands.
//!
//! *Data commands* belong to the keyspace, which executes them atomically and gives their effects
//! to be published. *Server commands* are this module's own table. The order of the checks is
//! Valkey's: authentication, existence, arity, whether it may stand in a transaction, memory, good
//! replicas.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::Bytes;
use tokio::runtime::{Handle, RuntimeFlavor};

use super::commandlog::{self, Stopwatch};
use super::commands;
use super::monitor::Ran;
use super::pause::Level;
use super::persistence::Saving;
use super::scripting;
use super::session::{Queued, Session};
use super::state::{Shared, unix_ms};
use super::transaction::Executed;
use crate::keyspace::batch::{Batch, Overview, Reach};
use crate::keyspace::blocking::{self, Waiting};
use crate::keyspace::memory::untouched;
use crate::keyspace::{self, Call, CommandSpec, Flag, Room, WatchSet};
use crate::resp::{Protocol, Reply, text};
use crate::rewrite::Effects;

/// A command that was found.
#[derive(Clone, Copy, Debug)]
pub(super) enum Command {
    Data(&'static CommandSpec),
    Server(&'static ServerCommand),
}

impl Command {
    pub fn name(self) -> &'static str {
        match self {
            Command::Data(spec) => spec.name,
            Command::Server(command) => command.name,
        }
    }

    pub fn arity(self) -> i32 {
        match self {
            Command::Data(spec) => spec.arity,
            Command::Server(command) => command.arity,
        }
    }

    /// Whether it may write to the stream.
    pub fn may_replicate(self) -> bool {
        self.is_write()
            || match self {
                Command::Data(spec) => spec.flags.contains(&Flag::Pubsub),
                Command::Server(command) => matches!(command.name, "eval" | "evalsha"),
            }
    }

    /// Refuses a subcommand that does not exist or takes other arguments.
    pub fn check_subcommand(self, argv: &[Bytes]) -> Result<(), Reply> {
        match self {
            Command::Data(spec) => spec.check_subcommand(argv).map_err(|refusal| error(refusal.to_string())),
            Command::Server(command) => commands::check_subcommand(command.name, argv),
        }
    }

    /// Whether a replica without a link to its primary answers it though its data may be old.
    pub fn may_be_stale(self) -> bool {
        matches!(self, Command::Data(spec) if spec.flags.contains(&Flag::Stale))
    }

    /// Whether it is refused when memory is short.
    pub fn needs_memory(self) -> bool {
        matches!(self, Command::Data(spec) if spec.flags.contains(&Flag::Denyoom))
    }

    pub fn is_write(self) -> bool {
        matches!(self, Command::Data(spec) if spec.is_write())
    }
}

/// What a connection has to do after a command.
#[derive(Debug)]
pub(super) enum Flow {
    Reply(Reply),
    /// No reply: some commands are never answered.
    Silent,
    /// Confirmations of subscriptions: sent whatever `CLIENT REPLY` says, unlike the `reply` before them.
    Confirm {
        reply: Option<Reply>,
        confirmations: Vec<Reply>,
        /// What others have pushed until now goes first.
        after_pushes: bool,
    },
    /// `EXEC`: what its commands answer, each in the protocol that was spoken when it ran, and what follows
    /// the array.
    Executed(Executed),
    /// `WAIT`: answer with the number of replicas that have `offset`.
    Wait {
        offset: u64,
        replicas: i64,
        timeout: Option<Duration>,
    },
    /// The command waits for a key: answer with the end of that.
    Block(Waiting),
    /// The command has to wait for others: it runs when it is released.
    Postponed {
        hold: Hold,
        argv: Vec<Bytes>,
    },
    /// `SHUTDOWN` that waits for replicas or a save: an answer only if it is aborted.
    Stopping,
    /// `SAVE`, `BGSAVE`: answer when that has come so far.
    Saving(Saving),
    /// `DEBUG SLEEP`: answer `+OK` after a while.
    Sleep {
        duration: Duration,
        argv: Vec<Bytes>,
    },
    /// `PSYNC` or `SYNC`: the connection becomes a replica's.
    Sync(commands::SyncRequest),
}

/// What puts a command off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hold {
    /// The client is paused: until less than this is paused.
    Pause(Level),
    /// A script runs: until it ends, or is late enough for others to be told.
    Script,
}

impl Flow {
    /// The reply, if that is all.
    pub fn reply(&self) -> Option<&Reply> {
        match self {
            Flow::Reply(reply) => Some(reply),
            _ => None,
        }
    }
}

impl From<Reply> for Flow {
    fn from(reply: Reply) -> Self {
        Flow::Reply(reply)
    }
}

/// A command of the server itself.
#[derive(Debug)]
pub(super) struct ServerCommand {
    pub name: &'static str,
    /// As in Valkey: exact when positive, a minimum when negative, the name included.
    pub arity: i32,
    pub rules: Rules,
    pub run: Run,
}

/// How a server command runs.
#[derive(Clone, Copy, Debug)]
pub(super) enum Run {
    /// Without a lock of the keyspace, so that it may run between the data commands of a transaction.
    Plain(fn(&mut Session, &[Bytes]) -> Flow),
    /// With the keyspace as a whole, if its arguments ask for that: from outside, or from within a
    /// transaction.
    Overview { asks: fn(&[Bytes]) -> bool, run: fn(&mut Session, &[Bytes], &mut dyn Overview) -> Flow },
    /// As one unit that has locked everything, its own or that of a transaction.
    Script(fn(&mut Session, &[Bytes], &mut Batch<'_, '_>) -> Reply),
}

impl ServerCommand {
    /// Whether it needs the keyspace as a whole.
    pub fn asks_for_everything(&self, argv: &[Bytes]) -> bool {
        match self.run {
            Run::Plain(_) => false,
            Run::Overview { asks, .. } => asks(argv),
            Run::Script(_) => true,
        }
    }

    /// Whether it runs a script.
    pub fn is_script(&self) -> bool {
        matches!(self.run, Run::Script(_))
    }

    /// Runs it.
    pub fn run(&self, session: &mut Session, argv: &[Bytes], keyspace: &mut dyn Overview) -> Flow {
        match self.run {
            Run::Plain(run) => run(session, argv),
            Run::Overview { run, .. } => run(session, argv, keyspace),
            Run::Script(run) => session.run_alone(run, argv).into(),
        }
    }
}

/// What is special about a server command.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Rules {
    /// Allowed before authentication.
    pub no_auth: bool,
    /// Refused inside a transaction.
    pub no_multi: bool,
    /// Executed, not queued, inside a transaction.
    pub immediate: bool,
    /// Not in the command log: the commands of a transaction are there, not its `EXEC`.
    pub unlogged: bool,
}

static SERVER_COMMANDS: LazyLock<HashMap<&'static [u8], &'static ServerCommand>> =
    LazyLock::new(|| commands::TABLE.iter().map(|command| (command.name.as_bytes(), command)).collect());

/// Longest name that is looked up; no command is longer.
const MAX_NAME_BYTES: usize = 32;

/// Finds a command by its name, in any case.
pub(super) fn find(name: &[u8]) -> Option<Command> {
    if let Some(spec) = keyspace::lookup(name) {
        return Some(Command::Data(spec));
    }
    let mut lower = [0; MAX_NAME_BYTES];
    let lower = lower.get_mut(..name.len())?;
    lower.copy_from_slice(name);
    lower.make_ascii_lowercase();
    SERVER_COMMANDS.get(&*lower).map(|command| Command::Server(command))
}

pub(super) fn error(line: impl Into<String>) -> Reply {
    Reply::Error(line.into())
}

pub(super) fn wrong_arity(name: &str) -> Reply {
    error(format!("ERR wrong number of arguments for '{name}' command"))
}

pub(super) const OUT_OF_MEMORY: &str = "OOM command not allowed when used memory > 'maxmemory'.";
const LOADING: &str = "LOADING Valkey is loading the dataset in memory";
/// Worded as Valkey words it.
const MISCONFIGURED: &str = "MISCONF Valkey is configured to save RDB snapshots, but it's currently unable to persist to disk. \
     Commands that may modify the data set are disabled, because this instance is configured to report errors \
     during writes if RDB snapshotting fails (stop-writes-on-bgsave-error option). Please check the Valkey logs \
     for details about the RDB error.";
const NO_REPLICAS: &str = "NOREPLICAS Not enough good replicas to write.";
pub(super) const READ_ONLY: &str = "READONLY You can't write against a read only replica.";
const PRIMARY_DOWN: &str = "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.";

impl Shared {
    /// Why no client may write now, if none may.
    pub fn write_refusal(&self) -> Option<&'static str> {
        if self.is_misconfigured() {
            Some(MISCONFIGURED)
        } else if !self.enough_good_replicas() {
            Some(NO_REPLICAS)
        } else if self.refuses_writes() {
            Some(READ_ONLY)
        } else {
            None
        }
    }
}

impl Session {
    /// Executes one command, or queues it.
    pub fn execute(&mut self, argv: Vec<Bytes>) -> Flow {
        if self.no_touch { untouched(|| self.dispatch(argv)) } else { self.dispatch(argv) }
    }

    fn dispatch(&mut self, argv: Vec<Bytes>) -> Flow {
        let Some(name) = argv.first() else { return Flow::Silent };
        let found = find(name);
        if found.is_none() && speaks_http(name) {
            return self.refuse_http();
        }
        if !self.authenticated && !matches!(found, Some(Command::Server(command)) if command.rules.no_auth) {
            return self.refuse(found, error("NOAUTH Authentication required."));
        }
        let Some(command) = found else {
            let reply = error(keyspace::unknown_command(&argv).to_string());
            return self.refuse(found, reply);
        };
        self.last_command = command.name();
        if !arity_fits(command.arity(), argv.len()) {
            return self.refuse(found, wrong_arity(command.name()));
        }
        if let Err(refusal) = command.check_subcommand(&argv) {
            return self.refuse(found, refusal);
        }
        if self.is_restricted() && !ALLOWED_TO_SUBSCRIBERS.contains(&command.name()) {
            let name = command_with_subcommand(command, &argv);
            let refusal = error(format!(
                "ERR Can't execute '{name}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context"
            ));
            return self.refuse(found, refusal);
        }
        if self.shared.persistence.loading.is_active() && !ALLOWED_WHILE_LOADING.contains(&command.name()) {
            return self.refuse(found, error(LOADING));
        }
        if let Some(level) = self.is_paused(command) {
            return Flow::Postponed { hold: Hold::Pause(level), argv };
        }
        match self.is_held_by_script(command, &argv) {
            None => {}
            Some(Ok(hold)) => return Flow::Postponed { hold, argv },
            Some(Err(busy)) => return self.refuse(found, busy),
        }
        if self.monitoring && matches!(command, Command::Data(_)) {
            return self.refuse(found, error("ERR Replica can't interact with the keyspace"));
        }
        let rules = match command {
            Command::Data(_) => Rules::default(),
            Command::Server(command) => command.rules,
        };
        if self.transaction.is_some() {
            if rules.no_multi || self.is_refused_subcommand(command, &argv) {
                let name = command_with_subcommand(command, &argv);
                let refusal = error(format!("ERR Command '{name}' not allowed inside a transaction"));
                return self.refuse(found, refusal);
            }
            if !rules.immediate {
                return self.queue(command, argv);
            }
        }
        match command {
            Command::Data(spec) => {
                if let Some(refusal) = self.refusal(command) {
                    return error(refusal).into();
                }
                let heavy = argv.len() >= HEAVY_PARTS || HEAVY.contains(&command.name());
                let call = [Call { db: self.db, argv }];
                let stopwatch = Stopwatch::start(&self.shared.config.load());
                if spec.may_wait() {
                    return match beside_the_runtime(heavy, || self.run_or_wait(&call[0])) {
                        blocking::Executed::Done(reply) => {
                            commandlog::note(self, &call[0].argv, stopwatch.elapsed(), Some(&reply));
                            Flow::Reply(reply)
                        }
                        // Logged when it is served.
                        blocking::Executed::Waiting(waiting) => Flow::Block(waiting),
                    };
                }
                let reply = beside_the_runtime(heavy, || self.run_data(&call)).into_iter().next();
                commandlog::note(self, &call[0].argv, stopwatch.elapsed(), reply.as_ref());
                reply.map_or(Flow::Silent, Flow::Reply)
            }
            Command::Server(command) => {
                let stopwatch = Stopwatch::start(&self.shared.config.load());
                let shared = Arc::clone(&self.shared);
                let run = || command.run(self, &argv, &mut &*shared.keyspace);
                let flow = beside_the_runtime(argv.len() >= HEAVY_PARTS, run);
                self.settle();
                // What sleeps is logged when it wakes.
                if !command.rules.unlogged && !matches!(flow, Flow::Sleep { .. }) {
                    commandlog::note(self, &argv, stopwatch.elapsed(), flow.reply());
                }
                // The line of an `EXEC` belongs to those of its commands; a script has shown itself before its own.
                if command.name != "exec" && !command.is_script() {
                    self.record(&argv);
                }
                flow
            }
        }
    }

    /// Does what a command has asked for and what must not be done, or waited for, under the locks of a
    /// transaction.
    pub fn settle(&mut self) {
        if std::mem::take(&mut self.expiry_changed) {
            self.shared.active_expiry.wait_for_cycle();
        }
        if let Some(change) = self.role_change.take() {
            let shared = Arc::clone(&self.shared);
            beside_the_runtime(true, || shared.change_role(&change));
        }
    }

    /// What has to be paused no more for the command to run, if it is.
    fn is_paused(&self, command: Command) -> Option<Level> {
        let paused = self.shared.paused();
        let queued = || self.transaction.iter().flat_map(|transaction| &transaction.queue);
        match paused {
            Level::Nothing => None,
            Level::Everything => Some(Level::Everything),
            Level::Writes if command.may_replicate() => Some(Level::Writes),
            Level::Writes
                if command.name() == "exec" && queued().any(|queued| queued.command.may_replicate()) =>
            {
                Some(Level::Writes)
            }
            Level::Writes => None,
        }
    }

    /// Whether it is a subscriber that can only tell messages from replies if there are few kinds of these.
    pub fn is_restricted(&self) -> bool {
        self.protocol == Protocol::Resp2 && !self.subscriptions.is_empty()
    }

    /// Shows a command that ran to those who watch.
    pub fn record(&self, argv: &[Bytes]) {
        let monitors = &self.shared.monitors;
        if monitors.any() {
            monitors.record(self.client.addr, [Ran { db: self.db, argv }]);
        }
    }

    /// Ends a connection on which a browser was made to send commands in the body of a request.
    fn refuse_http(&mut self) -> Flow {
        tracing::warn!(client = self.client.id, addr = %self.client.addr, "closed a connection that speaks HTTP, possibly an attack through a browser");
        self.closing = true;
        Flow::Silent
    }

    /// Refuses a command; a transaction that is being queued will not be executed, and is gone if it was its
    /// `EXEC`.
    fn refuse(&mut self, command: Option<Command>, reply: Reply) -> Flow {
        if command.is_some_and(|command| command.name() == "exec") {
            return self.abort(reply).into();
        }
        if let Some(transaction) = &mut self.transaction {
            transaction.refused = true;
        }
        reply.into()
    }

    fn is_refused_subcommand(&self, command: Command, argv: &[Bytes]) -> bool {
        command.name() == "client" && argv.get(1).is_some_and(|sub| sub.eq_ignore_ascii_case(b"reply"))
    }

    /// Why the server cannot run a data command now, if it cannot.
    fn refusal(&self, command: Command) -> Option<&'static str> {
        let shared = &self.shared;
        if shared.make_room() == Room::None && command.needs_memory() {
            return Some(OUT_OF_MEMORY);
        }
        if command.is_write() {
            let refusal = shared.write_refusal();
            if refusal.is_some() {
                return refusal;
            }
        }
        if matches!(command, Command::Data(_)) && shared.hides_stale_data() && !command.may_be_stale() {
            return Some(PRIMARY_DOWN);
        }
        None
    }

    fn queue(&mut self, command: Command, argv: Vec<Bytes>) -> Flow {
        if let Some(refusal) = self.refusal(command) {
            return self.refuse(Some(command), error(refusal));
        }
        let limit = self.shared.config.load().query_buffer_bytes;
        let Some(transaction) = &mut self.transaction else { return Flow::Silent };
        transaction.push(command, argv);
        if transaction.queued_bytes > limit {
            tracing::warn!(
                client = self.client.id,
                queued_bytes = transaction.queued_bytes,
                limit,
                "transaction too large"
            );
            self.shared.stats.query_limit_disconnections.add(1);
            self.closing = true;
            return Flow::Silent;
        }
        Reply::Simple("QUEUED").into()
    }

    /// Runs data commands as one unit and remembers the end of what it published.
    fn run_data(&mut self, calls: &[Call]) -> Vec<Reply> {
        let shared = &self.shared;
        let mut end = self.last_write_offset;
        let mut publish = |effects: &Effects<'_>| end = shared.publish(effects).unwrap_or(end);
        let replies = if shared.monitors.any() {
            let ran = || calls.iter().map(|call| Ran { db: call.db, argv: &call.argv });
            let mut settled = || shared.monitors.record(self.client.addr, ran());
            shared.keyspace.execute_observed(calls, unix_ms(), &mut publish, &mut settled)
        } else {
            shared.keyspace.execute(calls, unix_ms(), &mut publish)
        };
        self.last_write_offset = end;
        replies
    }

    /// An `EXEC` that cannot be: the transaction is gone.
    fn abort(&mut self, refusal: Reply) -> Reply {
        self.transaction = None;
        self.unwatch();
        let Reply::Error(reason) = refusal else { return refusal };
        let reason = reason.strip_prefix("ERR ").unwrap_or(&reason);
        error(format!("EXECABORT Transaction discarded because of: {reason}"))
    }

    /// Runs a script as a unit of its own and remembers the end of what it published.
    fn run_alone(
        &mut self,
        run: fn(&mut Session, &[Bytes], &mut Batch<'_, '_>) -> Reply,
        argv: &[Bytes],
    ) -> Reply {
        let shared = Arc::clone(&self.shared);
        self.out_of_memory = shared.make_room() == Room::None;
        let mut end = self.last_write_offset;
        let mut publish = |effects: &Effects<'_>| end = shared.publish(effects).unwrap_or(end);
        let body = |batch: &mut Batch<'_, '_>| run(self, argv, batch);
        let watch = WatchSet::new();
        let reply =
            shared.keyspace.execute_batch(&watch, &[], Reach::Everything, unix_ms(), &mut publish, body);
        self.last_write_offset = end;
        // Without watched keys it runs in any case.
        reply.unwrap_or(Reply::Null)
    }

    /// Whether a script runs that the command has to wait for, or that has run for so long that nobody is to wait
    /// any more: then what to answer.
    fn is_held_by_script(&self, command: Command, argv: &[Bytes]) -> Option<Result<Hold, Reply>> {
        let ran = self.shared.scripting.control.running()?;
        if ran < scripting::PATIENCE {
            return None;
        }
        let is_sub = |names: &[&str]| {
            argv.get(1).is_some_and(|sub| names.iter().any(|name| sub.eq_ignore_ascii_case(name.as_bytes())))
        };
        let is_kill = command.name() == "script" && is_sub(&["kill"]);
        let threshold = self.shared.busy_reply_threshold();
        if !threshold.is_zero() && ran >= threshold {
            let is_allowed = is_kill
                || ALLOWED_WHILE_BUSY.contains(&command.name())
                || (command.name() == "client" && is_sub(CLIENT_WHILE_BUSY));
            if !is_allowed {
                return Some(Err(error(BUSY)));
            }
        }
        let needs_data = match command {
            Command::Data(_) => true,
            Command::Server(command) => {
                command.asks_for_everything(argv) || NEEDS_DATA.contains(&command.name)
            }
        };
        (needs_data && !is_kill && self.may_run_now(command)).then_some(Ok(Hold::Script))
    }

    /// Whether the command runs now, and is not only queued.
    fn may_run_now(&self, command: Command) -> bool {
        let is_immediate = matches!(command, Command::Server(command) if command.rules.immediate);
        self.transaction.is_none() || is_immediate
    }

    /// Runs a data command that may wait and remembers the end of what it published.
    fn run_or_wait(&mut self, call: &Call) -> blocking::Executed {
        let shared = &self.shared;
        let mut end = self.last_write_offset;
        let mut publish = |effects: &Effects<'_>| end = shared.publish(effects).unwrap_or(end);
        let mut settled =
            || shared.monitors.record(self.client.addr, [Ran { db: call.db, argv: &call.argv }]);
        let settled: Option<&mut dyn FnMut()> = if shared.monitors.any() { Some(&mut settled) } else { None };
        let executed =
            shared.keyspace.execute_or_wait(call, unix_ms(), &mut publish, settled, self.client.gone());
        self.last_write_offset = end;
        executed
    }

    /// Remembers that a command that waited was served: what it published is in the stream.
    pub fn note_served(&mut self, argv: &[Bytes], took: Duration, reply: &Reply) {
        self.last_write_offset = self.shared.replication.end_offset();
        commandlog::note(self, argv, took, Some(reply));
    }
}

/// What is answered before the data is there, as in Valkey.
const ALLOWED_WHILE_LOADING: &[&str] = &[
    "auth",
    "client",
    "command",
    "commandlog",
    "config",
    "debug",
    "discard",
    "echo",
    "exec",
    "hello",
    "info",
    "lastsave",
    "monitor",
    "multi",
    "psubscribe",
    "publish",
    "pubsub",
    "punsubscribe",
    "quit",
    "readonly",
    "readwrite",
    "replconf",
    "reset",
    "role",
    "select",
    "shutdown",
    "slowlog",
    "ssubscribe",
    "subscribe",
    "sunsubscribe",
    "time",
    "unsubscribe",
    "unwatch",
    "watch",
];

/// What a subscriber may send in RESP2.
const ALLOWED_TO_SUBSCRIBERS: &[&str] = &[
    "ping",
    "psubscribe",
    "punsubscribe",
    "quit",
    "reset",
    "ssubscribe",
    "subscribe",
    "sunsubscribe",
    "unsubscribe",
];

/// What a client is answered while a script does not end.
const BUSY: &str = "BUSY Valkey is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.";

/// What is not answered that, as in Valkey.
const ALLOWED_WHILE_BUSY: &[&str] = &[
    "auth", "discard", "hello", "multi", "quit", "replconf", "reset", "select", "shutdown", "unwatch",
    "watch",
];
const CLIENT_WHILE_BUSY: &[&str] = &["getname", "id", "no-evict", "no-touch", "reply", "setinfo", "setname"];

/// Server commands that take locks of the keyspace, or wait for the interpreter.
const NEEDS_DATA: &[&str] = &["exec", "reset", "script", "unwatch", "watch"];

/// Commands whose subcommands are commands of their own.
const CONTAINERS: &[&str] = &[
    "client",
    "command",
    "commandlog",
    "config",
    "function",
    "memory",
    "object",
    "pubsub",
    "script",
    "slowlog",
];

/// Whether a line begins as the lines of an HTTP request do that can carry commands, as in Valkey.
fn speaks_http(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"post") || name.eq_ignore_ascii_case(b"host:")
}

/// Commands that take time in proportion to the whole keyspace, or as long as they are told to.
const HEAVY: &[&str] = &["debug", "flushall", "flushdb", "keys", "swapdb"];

/// A command of so many arguments, or a transaction of so many commands, is heavy whatever it is.
pub(super) const HEAVY_PARTS: usize = 1024;

impl Queued {
    pub fn is_heavy(&self) -> bool {
        self.argv.len() >= HEAVY_PARTS || HEAVY.contains(&self.command.name())
    }
}

/// Runs `work`; if it is heavy, so that the runtime's other tasks move to another thread meanwhile
/// (where the runtime can do that).
pub(super) fn beside_the_runtime<T>(heavy: bool, work: impl FnOnce() -> T) -> T {
    let multi_threaded =
        || Handle::try_current().is_ok_and(|it| it.runtime_flavor() == RuntimeFlavor::MultiThread);
    if heavy && multi_threaded() { tokio::task::block_in_place(work) } else { work() }
}

pub(super) fn arity_fits(arity: i32, argc: usize) -> bool {
    let bound = usize::try_from(arity.unsigned_abs()).unwrap_or(usize::MAX);
    if arity >= 0 { argc == bound } else { argc >= bound }
}

fn command_with_subcommand(command: Command, argv: &[Bytes]) -> String {
    match (command.name(), argv.get(1)) {
        (name, Some(sub)) if CONTAINERS.contains(&name) => format!("{name}|{}", shown(sub).to_lowercase()),
        (name, _) => name.to_owned(),
    }
}

/// What Valkey sees of bytes where it reads them as text.
pub(super) fn until_zero(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// Bytes as they may stand in an error line: up to the first zero byte, as in Valkey.
pub(super) fn shown(bytes: &[u8]) -> String {
    let bytes = until_zero(bytes);
    text::from_bytes(bytes).replace(['\r', '\n'], " ")
}
