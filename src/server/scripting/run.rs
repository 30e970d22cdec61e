//! One run of a script: what it may call, and how.

use std::sync::Arc;

use bytes::Bytes;

use super::cache::{Flags, Script};
use super::control::Control;
use super::interpreter::Host;
use crate::keyspace::batch::Batch;
use crate::keyspace::unknown_command;
use crate::resp::{Reply, parse_integer};
use crate::server::commands;
use crate::server::dispatch::{self, Command, OUT_OF_MEMORY, arity_fits, error};
use crate::server::monitor::Ran;
use crate::server::session::Session;
use crate::server::state::Shared;

const NO_SCRIPT: &str = "NOSCRIPT No matching script.";
const NOT_ALLOWED: &str = "ERR This Valkey command is not allowed from script";

/// Server commands that a script may call. `PUBLISH` and its like are data commands.
const ALLOWED: &[&str] = &[
    "command",
    "commandlog",
    "echo",
    "info",
    "lastsave",
    "ping",
    "pubsub",
    "select",
    "slowlog",
    "time",
    "wait",
];

/// Which of the four commands it is.
#[derive(Clone, Copy, Debug)]
pub(in crate::server) struct Form {
    pub by_digest: bool,
    pub read_only: bool,
}

impl Session {
    /// `EVAL` and its like, in a batch that has locked everything.
    pub fn run_script(&mut self, form: Form, argv: &[Bytes], batch: &mut Batch<'_, '_>) -> Reply {
        // Those who watch see the script before its commands.
        self.record(argv);
        if form.by_digest && argv[1].len() != 40 {
            return error(NO_SCRIPT);
        }
        let (keys, args) = match split(argv) {
            Ok(parts) => parts,
            Err(refusal) => return error(refusal),
        };
        let shared = Arc::clone(&self.shared);
        let mut engine = shared.scripting.engine.lock();
        let script = if form.by_digest {
            engine.find(&argv[1]).ok_or_else(|| NO_SCRIPT.to_owned())
        } else {
            let loaded = engine.load(&argv[1], false, &shared);
            loaded.map(|(_, script)| script)
        };
        let script = match script.and_then(|script| self.admit(form, script.flags).map(|()| script)) {
            Ok(script) => script,
            Err(refusal) => return error(refusal),
        };
        let reply = match &mut engine.interpreter {
            Some(interpreter) => {
                interpreter.limit(shared.lua_memory_bytes());
                let _running = shared.scripting.control.begin();
                let mut caller = Caller::new(self, &shared, batch, form, &script);
                let reply = interpreter.run(&script.function, (keys, args), &mut caller);
                caller.end();
                reply
            }
            // A script in the cache was compiled by an interpreter.
            None => error(NO_SCRIPT),
        };
        shared.scripting.note(&engine);
        reply
    }

    /// Refuses a script that says of itself what it may do, if it may not.
    fn admit(&self, form: Form, flags: Flags) -> Result<(), String> {
        if !flags.declared || flags.no_writes {
            return Ok(());
        }
        if form.read_only {
            return Err("ERR Can not execute a script with write flag using *_ro command.".to_owned());
        }
        if let Some(refusal) = self.shared.write_refusal() {
            return Err(refusal.to_owned());
        }
        if self.out_of_memory && !flags.allow_oom {
            return Err(OUT_OF_MEMORY.to_owned());
        }
        Ok(())
    }
}

/// The keys and the other arguments.
fn split(argv: &[Bytes]) -> Result<(&[Bytes], &[Bytes]), &'static str> {
    let count = parse_integer(&argv[2]).ok_or("ERR value is not an integer or out of range")?;
    let count = usize::try_from(count).map_err(|_| "ERR Number of keys can't be negative")?;
    argv[3..].split_at_checked(count).ok_or("ERR Number of keys can't be greater than number of args")
}

/// Runs a script's commands.
struct Caller<'s, 'b, 'k, 'c> {
    session: &'s mut Session,
    shared: &'s Shared,
    batch: &'b mut Batch<'k, 'c>,
    read_only: bool,
    allow_oom: bool,
    /// The database of the session, which a script does not change.
    db: u16,
    /// What `TIME` shows: the clock stands still.
    now_us: u64,
}

impl<'s, 'b, 'k, 'c> Caller<'s, 'b, 'k, 'c> {
    fn new(
        session: &'s mut Session,
        shared: &'s Shared,
        batch: &'b mut Batch<'k, 'c>,
        form: Form,
        script: &Script,
    ) -> Self {
        let micros = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Caller {
            db: session.db,
            now_us: batch.now_ms().saturating_mul(1000) + u64::from(micros.subsec_micros() % 1000),
            read_only: form.read_only || script.flags.no_writes,
            allow_oom: script.flags.allow_oom,
            session,
            shared,
            batch,
        }
    }

    fn end(self) {
        self.session.db = self.db;
    }

    fn control(&self) -> &Control {
        &self.shared.scripting.control
    }

    /// Finds a command and says whether this script may run it now.
    fn admit(&self, argv: &[Bytes]) -> Result<Command, String> {
        let Some(command) = dispatch::find(&argv[0]) else {
            return Err("ERR Unknown command called from script".to_owned());
        };
        let wrong_arity = || "ERR Wrong number of args calling command from script".to_owned();
        if !arity_fits(command.arity(), argv.len()) {
            return Err(wrong_arity());
        }
        if let Err(Reply::Error(refusal)) = command.check_subcommand(argv) {
            let is_arity = refusal.starts_with("ERR wrong number of arguments");
            return Err(if is_arity { wrong_arity() } else { refusal });
        }
        if let Command::Server(command) = command
            && !ALLOWED.contains(&command.name)
            && !commands::is_help(argv)
        {
            return Err(NOT_ALLOWED.to_owned());
        }
        if command.may_replicate() && self.read_only {
            return Err("ERR Write commands are not allowed from read-only scripts.".to_owned());
        }
        if command.is_write()
            && let Some(refusal) = self.shared.write_refusal()
        {
            return Err(refusal.to_owned());
        }
        let is_short = self.session.out_of_memory && !self.allow_oom && !self.control().has_written();
        if is_short && command.needs_memory() {
            return Err(OUT_OF_MEMORY.to_owned());
        }
        Ok(command)
    }
}

impl Host for Caller<'_, '_, '_, '_> {
    fn call(&mut self, argv: Vec<Bytes>) -> Reply {
        let command = match self.admit(&argv) {
            Ok(command) => command,
            Err(refusal) => return error(refusal),
        };
        if command.may_replicate() {
            self.control().note_write();
        }
        let reply = match command {
            Command::Data(spec) => self.batch.call(&argv, self.session.db, spec),
            Command::Server(command) if command.name == "time" => time(self.now_us),
            Command::Server(command) => match self.session.run_queued(command, &argv, self.batch) {
                dispatch::Flow::Reply(reply) => reply,
                _ => error(unknown_command(&argv).to_string()),
            },
        };
        let monitors = &self.shared.monitors;
        if monitors.any() {
            monitors.record("lua", [Ran { db: self.session.db, argv: &argv }]);
        }
        reply
    }
}

fn time(now_us: u64) -> Reply {
    let part = |number: u64| Reply::Bulk(Bytes::from(number.to_string()));
    Reply::Array(vec![part(now_us / 1_000_000), part(now_us % 1_000_000)])
}
