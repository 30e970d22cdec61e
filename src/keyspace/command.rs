//! The table of data commands: names, arities, flags, key positions.

use bytes::Bytes;
use smallvec::SmallVec;

use super::unit::{CommandResult, Unit};
use super::{Call, CommandError, Keyspace};
use super::{counters, expire, generic, hashes, scan, strings};

/// The shards that a unit locks.
pub(super) type Shards = SmallVec<[usize; 8]>;

/// What a handler looks like.
pub(super) type Handler = for<'k, 'c> fn(&mut Unit<'k, 'c>, &'c [Bytes]) -> CommandResult;

/// A property of a command, named as `COMMAND` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flag {
    /// May change data.
    Write,
    /// Only reads.
    Readonly,
    /// Refused when memory is short.
    Denyoom,
    /// Takes constant or logarithmic time.
    Fast,
}

impl Flag {
    /// The name in `COMMAND`'s reply.
    pub fn name(self) -> &'static str {
        match self {
            Flag::Write => "write",
            Flag::Readonly => "readonly",
            Flag::Denyoom => "denyoom",
            Flag::Fast => "fast",
        }
    }
}

/// Which locks a command needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scope {
    /// The shards of its keys.
    Keys,
    /// All shards.
    All,
    /// All shards inside a unit with other commands, one at a time on its own.
    Sweep,
}

/// One data command.
#[derive(Debug)]
pub struct CommandSpec {
    /// The name, in lower case.
    pub name: &'static str,
    /// The number of arguments, the name included; negative means at least that many.
    pub arity: i32,
    /// Its properties.
    pub flags: &'static [Flag],
    /// The position of the first key; 0 if there is none.
    pub first_key: i32,
    /// The position of the last key; negative counts from the end.
    pub last_key: i32,
    /// The distance from one key to the next.
    pub step: i32,
    scope: Scope,
    pub(super) handler: Handler,
}

impl CommandSpec {
    /// Whether the command may change data.
    pub fn is_write(&self) -> bool {
        self.flags.contains(&Flag::Write)
    }

    /// Whether `argc` arguments, the name included, are acceptable.
    pub fn accepts(&self, argc: usize) -> bool {
        let wanted = self.arity.unsigned_abs() as usize;
        if self.arity < 0 { argc >= wanted } else { argc == wanted }
    }

    /// The error for a wrong number of arguments.
    pub fn arity_error(&self) -> CommandError {
        CommandError::Arity(self.name)
    }

    /// The keys among `argv`.
    pub fn keys<'a>(&self, argv: &'a [Bytes]) -> impl Iterator<Item = &'a Bytes> {
        let first = self.first_key.unsigned_abs() as usize;
        let last = match usize::try_from(self.last_key) {
            Ok(last) => last,
            Err(_) => argv.len().saturating_sub(self.last_key.unsigned_abs() as usize),
        };
        let present = if first == 0 {
            &[]
        } else {
            argv.get(first..=last.min(argv.len().saturating_sub(1))).unwrap_or(&[])
        };
        present.iter().step_by(self.step.max(1) as usize)
    }
}

/// The longest name in the table, in bytes.
const MAX_NAME_BYTES: usize = 12;

/// The data command called `name`, whatever the letter case.
pub fn lookup(name: &[u8]) -> Option<&'static CommandSpec> {
    let mut lower = [0; MAX_NAME_BYTES];
    let lower = lower.get_mut(..name.len())?;
    lower.copy_from_slice(name);
    lower.make_ascii_lowercase();
    let position = COMMANDS.binary_search_by(|spec| spec.name.as_bytes().cmp(lower));
    position.ok().map(|position| &COMMANDS[position])
}

/// Every data command, sorted by name.
pub fn commands() -> &'static [CommandSpec] {
    COMMANDS
}

/// The command of a call, or why it cannot run.
pub(super) type Resolved = Result<&'static CommandSpec, CommandError>;

/// The command in `argv`, if it exists and has as many arguments as it needs.
fn resolve(argv: &[Bytes]) -> Resolved {
    let spec = argv.first().and_then(|name| lookup(name)).ok_or_else(|| unknown_command(argv))?;
    if spec.accepts(argv.len()) { Ok(spec) } else { Err(spec.arity_error()) }
}

/// The error for a command that nobody knows, which shows the beginning of its arguments.
pub fn unknown_command(argv: &[Bytes]) -> CommandError {
    let name = argv.first().map_or_else(String::new, |name| printable(name));
    let mut args = String::new();
    for arg in argv.iter().skip(1) {
        if args.len() >= MAX_SHOWN_BYTES {
            break;
        }
        let shown = &arg[..arg.len().min(MAX_SHOWN_BYTES - args.len())];
        args.push_str(&format!("'{}' ", printable(shown)));
    }
    CommandError::UnknownCommand { name, args }
}

/// The most bytes of a client's argument that an error line shows, as in Valkey.
const MAX_SHOWN_BYTES: usize = 128;

/// Bytes as text for an error line: at most [`MAX_SHOWN_BYTES`] of them, without line breaks.
pub(super) fn printable(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(MAX_SHOWN_BYTES)]);
    text.replace(['\r', '\n'], " ")
}

/// What a unit is going to do: the command of each call, and the shards that they need.
pub(super) struct Plan {
    pub specs: SmallVec<[Resolved; 1]>,
    /// Unsorted, with repetitions.
    pub shards: Shards,
}

impl Plan {
    pub fn new(keyspace: &Keyspace, calls: &[Call]) -> Plan {
        let specs: SmallVec<[Resolved; 1]> = calls.iter().map(|call| resolve(&call.argv)).collect();
        let mut shards = Shards::new();
        for (call, spec) in calls.iter().zip(&specs) {
            let Ok(spec) = spec else { continue };
            if spec.scope != Scope::Keys {
                shards = (0..keyspace.options().shards).collect();
                break;
            }
            shards.extend(spec.keys(&call.argv).map(|key| keyspace.shard_of(key)));
        }
        Plan { specs, shards }
    }

    /// The only command of a unit of one.
    fn only(&self) -> Option<&'static CommandSpec> {
        match self.specs[..] {
            [Ok(spec)] => Some(spec),
            _ => None,
        }
    }

    /// Whether the unit is one command that takes one shard at a time when it runs on its own.
    pub fn sweeps(&self) -> bool {
        self.only().is_some_and(|spec| spec.scope == Scope::Sweep)
    }

    /// Whether the unit is one command that may meet and delete unrelated expired keys, which are then
    /// not to be wrapped.
    pub fn deletes_unrelated_keys(&self) -> bool {
        self.only().is_some_and(|spec| spec.name == "randomkey")
    }
}

const W: &[Flag] = &[Flag::Write];
const WF: &[Flag] = &[Flag::Write, Flag::Fast];
const WM: &[Flag] = &[Flag::Write, Flag::Denyoom];
const WMF: &[Flag] = &[Flag::Write, Flag::Denyoom, Flag::Fast];
const R: &[Flag] = &[Flag::Readonly];
const RF: &[Flag] = &[Flag::Readonly, Flag::Fast];

const fn keyed(
    name: &'static str,
    arity: i32,
    flags: &'static [Flag],
    (first_key, last_key, step): (i32, i32, i32),
    handler: Handler,
) -> CommandSpec {
    CommandSpec { name, arity, flags, first_key, last_key, step, scope: Scope::Keys, handler }
}

const fn whole(
    name: &'static str,
    arity: i32,
    flags: &'static [Flag],
    scope: Scope,
    handler: Handler,
) -> CommandSpec {
    CommandSpec { name, arity, flags, first_key: 0, last_key: 0, step: 0, scope, handler }
}

const ONE: (i32, i32, i32) = (1, 1, 1);
const TWO: (i32, i32, i32) = (1, 2, 1);
const ALL: (i32, i32, i32) = (1, -1, 1);
const PAIRS: (i32, i32, i32) = (1, -1, 2);

static COMMANDS: &[CommandSpec] = &[
    keyed("append", 3, WMF, ONE, strings::append),
    keyed("copy", -3, WM, TWO, generic::copy),
    whole("dbsize", 1, RF, Scope::All, generic::dbsize),
    keyed("decr", 2, WMF, ONE, counters::decr),
    keyed("decrby", 3, WMF, ONE, counters::decrby),
    keyed("del", -2, W, ALL, generic::del),
    keyed("exists", -2, RF, ALL, generic::exists),
    keyed("expire", -3, WF, ONE, expire::expire),
    keyed("expireat", -3, WF, ONE, expire::expireat),
    keyed("expiretime", 2, RF, ONE, expire::expiretime),
    whole("flushall", -1, W, Scope::All, generic::flushall),
    whole("flushdb", -1, W, Scope::All, generic::flushdb),
    keyed("get", 2, RF, ONE, strings::get),
    keyed("getdel", 2, WF, ONE, strings::getdel),
    keyed("getex", -2, WF, ONE, strings::getex),
    keyed("getrange", 4, R, ONE, strings::getrange),
    keyed("getset", 3, WMF, ONE, strings::getset),
    keyed("hdel", -3, WF, ONE, hashes::hdel),
    keyed("hexists", 3, RF, ONE, hashes::hexists),
    keyed("hget", 3, RF, ONE, hashes::hget),
    keyed("hgetall", 2, R, ONE, hashes::hgetall),
    keyed("hincrby", 4, WMF, ONE, hashes::hincrby),
    keyed("hincrbyfloat", 4, WMF, ONE, hashes::hincrbyfloat),
    keyed("hkeys", 2, R, ONE, hashes::hkeys),
    keyed("hlen", 2, RF, ONE, hashes::hlen),
    keyed("hmget", -3, RF, ONE, hashes::hmget),
    keyed("hmset", -4, WMF, ONE, hashes::hmset),
    keyed("hrandfield", -2, R, ONE, hashes::hrandfield),
    keyed("hscan", -3, R, ONE, scan::hscan),
    keyed("hset", -4, WMF, ONE, hashes::hset),
    keyed("hsetnx", 4, WMF, ONE, hashes::hsetnx),
    keyed("hstrlen", 3, RF, ONE, hashes::hstrlen),
    keyed("hvals", 2, R, ONE, hashes::hvals),
    keyed("incr", 2, WMF, ONE, counters::incr),
    keyed("incrby", 3, WMF, ONE, counters::incrby),
    keyed("incrbyfloat", 3, WMF, ONE, counters::incrbyfloat),
    whole("keys", 2, R, Scope::All, scan::keys),
    keyed("mget", -2, RF, ALL, strings::mget),
    keyed("move", 3, WF, ONE, generic::move_key),
    keyed("mset", -3, WM, PAIRS, strings::mset),
    keyed("msetnx", -3, WM, PAIRS, strings::msetnx),
    keyed("persist", 2, WF, ONE, expire::persist),
    keyed("pexpire", -3, WF, ONE, expire::pexpire),
    keyed("pexpireat", -3, WF, ONE, expire::pexpireat),
    keyed("pexpiretime", 2, RF, ONE, expire::pexpiretime),
    keyed("psetex", 4, WM, ONE, strings::psetex),
    keyed("pttl", 2, RF, ONE, expire::pttl),
    whole("randomkey", 1, R, Scope::All, generic::randomkey),
    keyed("rename", 3, W, TWO, generic::rename),
    keyed("renamenx", 3, WF, TWO, generic::renamenx),
    whole("scan", -2, R, Scope::Sweep, scan::scan),
    keyed("set", -3, WM, ONE, strings::set),
    keyed("setex", 4, WM, ONE, strings::setex),
    keyed("setnx", 3, WMF, ONE, strings::setnx),
    keyed("setrange", 4, WM, ONE, strings::setrange),
    keyed("strlen", 2, RF, ONE, strings::strlen),
    keyed("substr", 4, R, ONE, strings::getrange),
    whole("swapdb", 3, WF, Scope::All, generic::swapdb),
    keyed("touch", -2, RF, ALL, generic::exists),
    keyed("ttl", 2, RF, ONE, expire::ttl),
    keyed("type", 2, RF, ONE, generic::type_of),
    keyed("unlink", -2, WF, ALL, generic::del),
];
