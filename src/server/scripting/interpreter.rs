//! The interpreter: made with its sandbox, runs one script after the other.

use std::cell::RefCell;
use std::sync::Arc;

use bytes::Bytes;
use mlua::chunk::ChunkMode;
use mlua::debug::Debug;
use mlua::state::{GcIncParams, GcMode};
use mlua::{Function, HookTriggers, Lua, LuaOptions, MultiValue, StdLib, Table, Value, VmState};
use tokio::sync::watch;

use super::api::{self, Choices};
use super::control::Control;
use super::raised::{self, KILLED, Raised};
use super::{bit, cjson, cmsgpack, convert, patterns, structs};
use crate::resp::{Protocol, Reply, text};
use crate::server::state::{Phase, Shared};

/// The name of the sandbox's code, by which its functions are passed over where an error is located.
pub(super) const SANDBOX: &str = "=sandbox";
/// The name of a script's code.
const SCRIPT: &str = "@user_script";

/// The interpreter asks so often whether the script is to end.
const INSTRUCTIONS_PER_LOOK: u32 = 100_000;
/// A new cycle of garbage collection begins when memory has grown by half: garbage counts for the limit.
const GC_PAUSE_PERCENT: i32 = 150;

/// Where a script's commands go.
pub(super) trait Host {
    /// Runs a command; an error is a reply too.
    fn call(&mut self, argv: Vec<Bytes>) -> Reply;
}

pub(super) struct Interpreter {
    lua: Lua,
    /// What scripts see as globals.
    globals: Table,
    /// The table `redis`.
    server: Table,
    run: Function,
    choices: Arc<Choices>,
    control: Arc<Control>,
    phase: watch::Receiver<Phase>,
    limit_bytes: usize,
}

impl std::fmt::Debug for Interpreter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Interpreter").field("used_bytes", &self.lua.used_memory()).finish_non_exhaustive()
    }
}

impl Interpreter {
    /// # Errors
    /// The binding's; only for want of memory.
    pub fn new(shared: &Shared) -> mlua::Result<Interpreter> {
        let libraries = StdLib::TABLE | StdLib::STRING | StdLib::MATH | StdLib::OS;
        let lua = Lua::new_with(libraries, LuaOptions::default())?;
        lua.gc_set_mode(GcMode::Incremental(GcIncParams::default().pause(GC_PAUSE_PERCENT)));
        let choices = Arc::new(Choices::default());
        let server = api::server(&lua, &choices)?;
        let native = lua.create_table()?;
        native.raw_set("unwrap", lua.create_function(raised::unwrap)?)?;
        native.raw_set("is_end", lua.create_function(|_, thrown: Value| Ok(raised::is_end(&thrown)))?)?;
        native.raw_set("handler", lua.create_function(raised::handle)?)?;
        let extensions = lua.create_table()?;
        extensions.raw_set("redis", &server)?;
        extensions.raw_set("math", api::math(&lua)?)?;
        extensions.raw_set("string", patterns::library(&lua)?)?;
        extensions.raw_set("bit", bit::library(&lua)?)?;
        extensions.raw_set("cjson", cjson::library(&lua)?)?;
        extensions.raw_set("cmsgpack", cmsgpack::library(&lua)?)?;
        extensions.raw_set("struct", structs::library(&lua)?)?;
        native.raw_set("libraries", extensions)?;
        let sandbox = lua.load(include_str!("sandbox.lua")).set_name(SANDBOX);
        let (seen, globals, run): (Table, Table, Function) = sandbox.call(native)?;
        lua.set_globals(seen)?;
        let interpreter = Interpreter {
            lua,
            globals,
            server,
            run,
            choices,
            control: Arc::clone(&shared.scripting.control),
            phase: shared.phase.subscribe(),
            limit_bytes: 0,
        };
        interpreter.watch()?;
        Ok(interpreter)
    }

    /// Has the interpreter look every now and then whether the script is to end.
    fn watch(&self) -> mlua::Result<()> {
        let (control, phase) = (Arc::clone(&self.control), self.phase.clone());
        let triggers = HookTriggers::new().every_nth_instruction(INSTRUCTIONS_PER_LOOK);
        self.lua.set_global_hook(triggers, move |lua, _| {
            control.step_aside();
            if control.is_killed() || matches!(*phase.borrow(), Phase::Draining { .. }) {
                lua.set_global_hook(HookTriggers::EVERY_LINE, end_at_line)?;
                return Err(ended());
            }
            Ok(VmState::Continue)
        })
    }

    /// Takes over a limit that may have changed.
    pub fn limit(&mut self, limit_bytes: usize) {
        if self.limit_bytes != limit_bytes {
            self.limit_bytes = limit_bytes;
            // An error says that the interpreter has an allocator of somebody else; it has not.
            let _ = self.lua.set_memory_limit(limit_bytes);
        }
    }

    pub fn used_bytes(&self) -> u64 {
        self.lua.used_memory() as u64
    }

    /// # Errors
    /// Why the code is none, as Lua says it.
    pub fn compile(&self, code: &[u8]) -> Result<Function, String> {
        let chunk = self.lua.load(code).set_name(SCRIPT).set_mode(ChunkMode::Text);
        chunk.into_function().map_err(|error| match error {
            mlua::Error::SyntaxError { message, .. } => message,
            other => raised::first_line(&other),
        })
    }

    /// Runs a script that was compiled here; what it returns or why it failed.
    pub fn run(
        &mut self,
        script: &Function,
        (keys, args): (&[Bytes], &[Bytes]),
        host: &mut dyn Host,
    ) -> Reply {
        self.choices.reset();
        let result = self.run_in_scope(script, keys, args, host);
        if self.control.is_killed() {
            // What was set to end the script. It fails for want of memory at most, as the next script will.
            let _ = self.watch();
        }
        let failed = |error: mlua::Error| {
            Reply::Error(convert::one_line(
                format!("ERR Error running script, {}", raised::first_line(&error)).as_bytes(),
            ))
        };
        if self.lua.used_memory() > self.limit_bytes / 2 {
            // So that what one script left does not make the next one fail.
            let _ = self.lua.gc_collect();
        }
        result.unwrap_or_else(failed)
    }

    fn run_in_scope(
        &self,
        script: &Function,
        keys: &[Bytes],
        args: &[Bytes],
        host: &mut dyn Host,
    ) -> mlua::Result<Reply> {
        self.globals.raw_set("KEYS", self.array(keys)?)?;
        self.globals.raw_set("ARGV", self.array(args)?)?;
        let host = RefCell::new(host);
        self.lua.scope(|scope| {
            let call = scope.create_function(|lua, args| self.call(lua, &host, &args, true))?;
            let pcall = scope.create_function(|lua, args| self.call(lua, &host, &args, false))?;
            self.server.raw_set("call", call)?;
            self.server.raw_set("pcall", pcall)?;
            let (ok, value): (bool, Value) = self.run.call(script)?;
            match value {
                value if ok => convert::to_reply(&value, self.choices.protocol()),
                Value::Table(error) => convert::failure(&error).map(Reply::Error),
                other => Ok(Reply::Error(format!("ERR Error running script, {}", shown(&other)?))),
            }
        })
    }

    fn array(&self, items: &[Bytes]) -> mlua::Result<Table> {
        let table = self.lua.create_table_with_capacity(items.len(), 0)?;
        for (at, item) in items.iter().enumerate() {
            table.raw_set(at + 1, self.lua.create_string(item)?)?;
        }
        Ok(table)
    }

    /// `redis.call`, or `redis.pcall`, which returns errors instead of throwing them.
    fn call(
        &self,
        lua: &Lua,
        host: &RefCell<&mut dyn Host>,
        args: &MultiValue,
        throws: bool,
    ) -> mlua::Result<Value> {
        let reply = match api::arguments_of(args) {
            Ok(argv) => host.borrow_mut().call(argv),
            Err(refusal) => Reply::Error(refusal.to_owned()),
        };
        match reply {
            Reply::Error(line) if throws => Err(raised::line(text::to_bytes(&line))),
            reply => convert::to_lua(lua, &reply, self.protocol()),
        }
    }

    fn protocol(&self) -> Protocol {
        self.choices.protocol()
    }
}

/// Ends a script that is to end at each of its lines: whatever it does to go on, it gets no further. The sandbox
/// has to clean up.
fn end_at_line(_: &Lua, debug: &Debug<'_>) -> mlua::Result<VmState> {
    match debug.source().source.as_deref() {
        Some(SANDBOX) => Ok(VmState::Continue),
        _ => Err(ended()),
    }
}

fn ended() -> mlua::Error {
    mlua::Error::external(Raised::End(KILLED))
}

/// An error that is no table: there was no memory to make one.
fn shown(error: &Value) -> mlua::Result<String> {
    match error {
        Value::Error(error) => Ok(raised::first_line(error)),
        other => other.to_string(),
    }
}
