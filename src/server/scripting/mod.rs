//! Lua scripts: `EVAL`, `EVALSHA`, their read-only forms, and `SCRIPT`.
//!
//! # Promise
//!
//! * A script is one unit: nothing of another client comes between its commands, the clock stands still for it,
//!   and what its commands did, each rewritten like a client's, is one unit of the stream. The script itself never
//!   is in the stream. What was done before an error, or before the script was ended, is done, and is sent.
//! * A script reaches nothing but its arguments, the data, and the libraries of Valkey: no files, no processes, no
//!   compiled code. It leaves nothing behind but data, the seed of `math.random`, and the settings of `cjson`.
//! * A script that does not end stops nobody else's connection: clients wait, then are told `BUSY`
//!   (`busy-reply-threshold`), and `SCRIPT KILL` ends one that has not written. A server that ends ends it too.
//! * The interpreter takes at most `lua-memory-limit` bytes; a script that needs more fails.
//!
//! # How
//!
//! ```text
//! EVAL ─► commands::scripting ─► Engine (cache) ─► Interpreter ─► script
//!                                                                   │ redis.call
//!                          keyspace::batch  ◄──── run::Caller ◄─────┘
//! ```
//!
//! **All shards are locked.** A script may touch keys that it does not declare, and a lock that is taken in the
//! middle of a unit would break the order of locks; running a script anew with more locks is out of the question
//! once it has had effects. So a script runs in a batch that has locked everything, whatever it declares: see
//! [`keyspace::batch`](crate::keyspace::batch), which is what `EXEC` runs in, and inside an `EXEC` it runs in that
//! one. One script at a time therefore, as in Valkey.
//!
//! **One interpreter, behind a lock.** More could never run at once. It is made when it is first needed. The order
//! of locks is shards, then interpreter; who holds the interpreter without the shards (`SCRIPT LOAD`, `FLUSH`,
//! `EXISTS`, `SHOW`) takes no others.
//!
//! **The sandbox** (`sandbox.lua`) gives scripts proxies for what they must not change. Lua 5.1 itself has no
//! read-only tables.
//!
//! **Who waits.** Every 100,000 instructions the interpreter asks whether the script is to end. When it has run for
//! [`PATIENCE`] it leaves its worker thread to the other tasks, and from then on whatever needs
//! the data is put off before it takes a lock ([`control`]). What is waiting for a lock already moves out of the way
//! by itself (see [`Keyspace`](crate::keyspace::Keyspace)).
//!
//! # Limits
//!
//! | limit | |
//! |---|---|
//! | `lua-memory-limit` | bytes of the interpreter, its garbage included; 256 MiB |
//! | `busy-reply-threshold` | milliseconds until others are told `BUSY`; 0 lets them wait |
//! | [`MAX_EVALUATED`] | scripts in the cache that came with `EVAL`; those of `SCRIPT LOAD` stay |
//! | [`patterns::MAX_STEPS`] | repetitions and captures of a pattern: the matcher has no limit of its own |
//! | [`convert::MAX_REPLY_DEPTH`] | how deep tables nest in a reply |
//!
//! # Differences from Valkey, on purpose
//!
//! * `redis.set_repl` is checked and changes nothing: a stream that leaves out writes is no copy of the data.
//! * `table.insert` and its like on a table of the host (`table.insert(math, 1)`) do nothing instead of failing,
//!   and `next` finds nothing in one; `pairs` does. `getmetatable` of one answers `false`.
//! * `setmetatable`, `rawset`, `pairs`, `load` and `loadstring` that fail in a tail call do not say where.
//! * A `big_number` is answered as a string, and a `verbatim_string` always as text.
//! * No debugger: `SCRIPT DEBUG`, `redis.debug` and `redis.breakpoint` do not exist, or do nothing.
//! * There are no functions (`FCALL`), and `acl_check_cmd` allows every command that exists.

mod api;
mod arguments;
mod bit;
mod cache;
mod cjson;
mod cmsgpack;
pub(super) mod control;
mod convert;
mod interpreter;
mod patterns;
mod raised;
mod random;
mod run;
mod structs;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;

use self::cache::Engine;
#[cfg(doc)]
use self::cache::MAX_EVALUATED;
use self::control::Control;
pub(super) use self::run::Form;
use super::dispatch::Hold;
use super::state::Shared;

/// How long a script runs before anything makes way for it.
pub(super) const PATIENCE: Duration = Duration::from_millis(5);

/// What all scripts of a server share.
#[derive(Debug, Default)]
pub(super) struct Scripting {
    pub engine: Mutex<Engine>,
    pub control: Arc<Control>,
    pub figures: Figures,
}

/// What `INFO` shows; kept apart because the engine is locked while a script runs.
#[derive(Debug, Default)]
pub(super) struct Figures {
    cached: AtomicU64,
    cached_bytes: AtomicU64,
    evicted: AtomicU64,
    interpreter_bytes: AtomicU64,
}

impl Figures {
    /// Scripts in the cache.
    pub fn cached(&self) -> u64 {
        self.cached.load(Ordering::Relaxed)
    }

    /// Bytes of the scripts in the cache.
    pub fn cached_bytes(&self) -> u64 {
        self.cached_bytes.load(Ordering::Relaxed)
    }

    /// Scripts that made way for others.
    pub fn evicted(&self) -> u64 {
        self.evicted.load(Ordering::Relaxed)
    }

    /// Bytes of the interpreter when it was last used.
    pub fn interpreter_bytes(&self) -> u64 {
        self.interpreter_bytes.load(Ordering::Relaxed)
    }
}

impl Scripting {
    /// `SCRIPT FLUSH`.
    pub fn flush(&self) {
        let mut engine = self.engine.lock();
        engine.flush();
        self.note(&engine);
    }

    /// Brings the figures up to date.
    pub fn note(&self, engine: &Engine) {
        // Relaxed: independent figures.
        self.figures.cached.store(engine.len(), Ordering::Relaxed);
        self.figures.cached_bytes.store(engine.script_bytes(), Ordering::Relaxed);
        self.figures.evicted.store(engine.evicted(), Ordering::Relaxed);
        self.figures.interpreter_bytes.store(engine.interpreter_bytes(), Ordering::Relaxed);
    }
}

impl Shared {
    /// `SCRIPT LOAD`: the digest of the script.
    ///
    /// # Errors
    /// The line of an error.
    pub fn load_script(&self, body: &Bytes) -> Result<String, String> {
        let mut engine = self.scripting.engine.lock();
        let loaded = engine.load(body, true, self);
        self.scripting.note(&engine);
        loaded.map(|(digest, _)| digest)
    }

    /// Most bytes of the interpreter.
    fn lua_memory_bytes(&self) -> usize {
        usize::try_from(self.config.load().lua_memory_bytes).unwrap_or(usize::MAX)
    }

    /// For how long a script may run until others are told; zero means for ever.
    pub fn busy_reply_threshold(&self) -> Duration {
        Duration::from_millis(self.config.load().busy_reply_threshold_ms)
    }

    /// Resolves when what puts a command off does not any more, or when its client is to be told.
    pub async fn released(&self, hold: Hold) {
        match hold {
            Hold::Pause(level) => self.resumed(level).await,
            Hold::Script => self.scripting.control.ended_or_late(self.busy_reply_threshold()).await,
        }
    }
}
