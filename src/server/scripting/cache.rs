//! The scripts that have been seen, by the digest of their text.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use mlua::Function;

use super::api::sha1hex;
use super::interpreter::Interpreter;
use super::raised;
use crate::resp::text;
use crate::server::state::Shared;

/// The most scripts that are kept which came with `EVAL`; then the one that was not used for longest goes.
/// Valkey's number.
pub(in crate::server) const MAX_EVALUATED: usize = 500;

/// The digest of a script: 40 hexadecimal digits in lower case.
pub(in crate::server) type Digest = String;

/// What a script's first line, `#!lua flags=…`, says of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::server) struct Flags {
    /// There is such a line.
    pub declared: bool,
    pub no_writes: bool,
    pub allow_oom: bool,
}

/// A script in the cache.
#[derive(Clone, Debug)]
pub(super) struct Script {
    pub function: Function,
    pub flags: Flags,
    body: Bytes,
    /// When it was last used, if it may go.
    used: Option<u64>,
}

/// The interpreter and the scripts that it has compiled.
#[derive(Debug, Default)]
pub(in crate::server) struct Engine {
    pub(super) interpreter: Option<Interpreter>,
    scripts: HashMap<Digest, Script>,
    /// Those that may go, by when they were last used.
    by_use: BTreeMap<u64, Digest>,
    uses: u64,
    script_bytes: u64,
    evicted: u64,
}

impl Engine {
    pub fn len(&self) -> u64 {
        self.scripts.len() as u64
    }

    /// Bytes of the scripts' texts and digests.
    pub fn script_bytes(&self) -> u64 {
        self.script_bytes
    }

    pub fn evicted(&self) -> u64 {
        self.evicted
    }

    pub fn interpreter_bytes(&self) -> u64 {
        self.interpreter.as_ref().map_or(0, Interpreter::used_bytes)
    }

    /// The text of a script.
    pub fn body(&self, digest: &[u8]) -> Option<Bytes> {
        self.scripts.get(&normal(digest)?).map(|script| script.body.clone())
    }

    /// `SCRIPT FLUSH`: forgets everything, the interpreter included.
    pub fn flush(&mut self) {
        *self = Engine { uses: self.uses, evicted: self.evicted, ..Engine::default() };
    }

    /// The script of this digest, which counts as a use.
    pub(super) fn find(&mut self, digest: &[u8]) -> Option<Script> {
        let digest = normal(digest)?;
        let script = self.scripts.get_mut(&digest)?;
        if let Some(used) = &mut script.used {
            self.uses += 1;
            self.by_use.remove(used);
            *used = self.uses;
            self.by_use.insert(self.uses, digest);
        }
        Some(script.clone())
    }

    /// The script with this text, compiled if it is new. With `stays` it is never dropped for another one.
    ///
    /// # Errors
    /// The line of an error.
    pub(super) fn load(
        &mut self,
        body: &Bytes,
        stays: bool,
        shared: &Shared,
    ) -> Result<(Digest, Script), String> {
        let digest = sha1hex(body);
        if let Some(script) = self.find(digest.as_bytes()) {
            if stays && let Some(used) = script.used {
                self.by_use.remove(&used);
                if let Some(script) = self.scripts.get_mut(&digest) {
                    script.used = None;
                }
            }
            return Ok((digest, script));
        }
        let (flags, code) = read_first_line(body)?;
        let interpreter = match &mut self.interpreter {
            Some(interpreter) => interpreter,
            none => none.insert(Interpreter::new(shared).map_err(|error| {
                let why = raised::first_line(&error);
                format!("ERR {}", text::from_bytes(why.as_bytes()))
            })?),
        };
        interpreter.limit(shared.lua_memory_bytes());
        let function = interpreter.compile(code).map_err(|why| {
            text::from_bytes(format!("ERR Error compiling script (new function): {why}").as_bytes())
                .replace(['\r', '\n'], " ")
        })?;
        let used = (!stays).then(|| self.make_room());
        let script = Script { function, flags, body: Bytes::copy_from_slice(body), used };
        if let Some(used) = used {
            self.by_use.insert(used, digest.clone());
        }
        self.script_bytes += (digest.len() + body.len()) as u64;
        self.scripts.insert(digest.clone(), script.clone());
        Ok((digest, script))
    }

    /// Drops what was not used for longest if there are too many; returns the time of the new use.
    fn make_room(&mut self) -> u64 {
        while self.by_use.len() >= MAX_EVALUATED {
            let Some((_, digest)) = self.by_use.pop_first() else { break };
            if let Some(script) = self.scripts.remove(&digest) {
                self.script_bytes -= (digest.len() + script.body.len()) as u64;
                self.evicted += 1;
            }
        }
        self.uses += 1;
        self.uses
    }
}

/// A digest in lower case; `None` if it is none.
fn normal(digest: &[u8]) -> Option<Digest> {
    if digest.len() != 40 {
        return None;
    }
    std::str::from_utf8(digest).ok().map(str::to_ascii_lowercase)
}

/// What the first line of a script says of it, and its code, with that line left empty.
fn read_first_line(body: &[u8]) -> Result<(Flags, &[u8]), String> {
    if !body.starts_with(b"#!") {
        return Ok((Flags::default(), body));
    }
    let end = memchr::memchr(b'\n', body).ok_or("ERR Invalid script shebang")?;
    let line = text::from_bytes(&body[2..end]);
    let mut words =
        line.split([' ', '\t', '\r']).enumerate().filter(|(at, word)| *at == 0 || !word.is_empty());
    let engine = words.next().map_or("", |(_, engine)| engine);
    let mut flags = Flags { declared: true, ..Flags::default() };
    for (_, word) in words {
        let given =
            word.strip_prefix("flags=").ok_or_else(|| format!("ERR Unknown lua shebang option: {word}"))?;
        for flag in given.split(',').filter(|_| !given.is_empty()) {
            match flag {
                "no-writes" => flags.no_writes = true,
                "allow-oom" => flags.allow_oom = true,
                // About clusters, and replicas that lost their primary: there are none here.
                "allow-stale" | "no-cluster" | "allow-cross-slot-keys" => {}
                other => return Err(format!("ERR Unexpected flag in script shebang: {other}")),
            }
        }
    }
    if !engine.eq_ignore_ascii_case("lua") {
        return Err(format!("ERR Could not find scripting engine '{engine}'"));
    }
    Ok((flags, &body[end..]))
}
