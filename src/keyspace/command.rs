//! The table of data commands: names, arities, flags, key positions.

use std::collections::HashMap;
use std::sync::LazyLock;

use bytes::Bytes;
use smallvec::SmallVec;

use super::number::parse_i64;
use super::unit::{CommandResult, Unit};
use super::{Call, CommandError, Hasher, Keyspace};
use super::{
    bits, counters, dump, expire, generic, hash_expiry, hashes, lcs, lists, object, pubsub, scan, sets, sort,
    strings, zsets, zstores,
};
use crate::hash_ttl::arguments::MAX_SHOWN_BYTES;
pub(super) use crate::hash_ttl::arguments::printable;

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
    /// May wait for a key.
    Blocking,
    /// Belongs to publishing and subscribing.
    Pubsub,
    /// Allowed while the data is being loaded.
    Loading,
    /// Allowed on a replica whose data is stale.
    Stale,
}

impl Flag {
    /// The name in `COMMAND`'s reply.
    pub fn name(self) -> &'static str {
        match self {
            Flag::Write => "write",
            Flag::Readonly => "readonly",
            Flag::Denyoom => "denyoom",
            Flag::Fast => "fast",
            Flag::Blocking => "blocking",
            Flag::Pubsub => "pubsub",
            Flag::Loading => "loading",
            Flag::Stale => "stale",
        }
    }
}

/// Which locks a command needs.
#[derive(Clone, Copy, Debug)]
pub(super) enum Scope {
    /// The shards of its keys.
    Keys,
    /// All shards.
    All,
    /// The shards of its keys, or all shards if the arguments say so.
    Depends(fn(&[Bytes]) -> bool),
    /// The shard to which its first argument, the name of a channel, would belong as a key.
    Channel,
    /// All shards inside a unit with other commands, one at a time on its own.
    Sweep,
}

/// Keys of a command besides those at fixed positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MoreKeys {
    /// There are none.
    None,
    /// Their number is the argument at this position, and they follow it (`ZUNIONSTORE`, `LMPOP`).
    Counted(usize),
    /// Their number is the argument at this position, and they follow it, each with its value (`MSETEX`).
    CountedPairs(usize),
    /// The last argument that follows this word, in any case (`SORT … STORE`).
    After(&'static str),
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
    pub(super) more_keys: MoreKeys,
    scope: Scope,
    subcommands: SubcommandCheck,
    pub(super) handler: Handler,
}

/// Refuses arguments without a subcommand that exists and can take them.
type SubcommandCheck = fn(&[Bytes]) -> Result<(), CommandError>;

impl CommandSpec {
    /// Whether the command may change data.
    pub fn is_write(&self) -> bool {
        self.flags.contains(&Flag::Write)
    }

    /// Whether the command may wait for a key.
    pub fn may_wait(&self) -> bool {
        self.flags.contains(&Flag::Blocking)
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

    /// The same command with keys at places that depend on its arguments.
    pub(super) const fn with_more_keys(mut self, more_keys: MoreKeys) -> Self {
        self.more_keys = more_keys;
        self
    }

    /// The same command with subcommands, which are looked up as early as the command itself.
    pub(super) const fn with_subcommands(mut self, check: SubcommandCheck) -> Self {
        self.subcommands = check;
        self
    }

    /// Whether `argv` names a subcommand, if there are any, with as many arguments as it takes.
    pub fn check_subcommand(&self, argv: &[Bytes]) -> Result<(), CommandError> {
        (self.subcommands)(argv)
    }

    /// The same command with locks that depend on its arguments.
    pub(super) const fn with_scope(mut self, scope: Scope) -> Self {
        self.scope = scope;
        self
    }

    /// Whether keys stand at places that depend on the arguments.
    pub fn has_movable_keys(&self) -> bool {
        self.more_keys != MoreKeys::None
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
        let (found, distance) = self.found_keys(argv);
        present.iter().step_by(self.step.max(1) as usize).chain(found.iter().step_by(distance))
    }
}

impl CommandSpec {
    /// The keys at places that depend on the arguments, and the distance from one to the next. Arguments that
    /// do not make sense name no keys: the handler refuses them before it touches any.
    fn found_keys<'a>(&self, argv: &'a [Bytes]) -> (&'a [Bytes], usize) {
        let counted = |at: usize, distance: usize| {
            let count = usize::try_from(parse_i64(argv.get(at)?)?).ok()?;
            argv.get(at + 1..count.checked_mul(distance)?.checked_add(at + 1)?)
        };
        match self.more_keys {
            MoreKeys::None => (&[], 1),
            MoreKeys::Counted(at) => (counted(at, 1).unwrap_or_default(), 1),
            MoreKeys::CountedPairs(at) => (counted(at, 2).unwrap_or_default(), 2),
            MoreKeys::After(word) => {
                let at = argv.iter().rposition(|arg| arg.eq_ignore_ascii_case(word.as_bytes()));
                (at.and_then(|at| argv.get(at + 1..at + 2)).unwrap_or_default(), 1)
            }
        }
    }
}

/// The longest name in the table, in bytes.
const MAX_NAME_BYTES: usize = 32;

/// The tables of all families.
static FAMILIES: &[&[CommandSpec]] = &[
    bits::COMMANDS,
    counters::COMMANDS,
    dump::COMMANDS,
    expire::COMMANDS,
    generic::COMMANDS,
    hash_expiry::COMMANDS,
    hashes::COMMANDS,
    lcs::COMMANDS,
    lists::COMMANDS,
    object::COMMANDS,
    pubsub::COMMANDS,
    scan::COMMANDS,
    sets::COMMANDS,
    sort::COMMANDS,
    strings::COMMANDS,
    zsets::COMMANDS,
    zstores::COMMANDS,
];

static BY_NAME: LazyLock<HashMap<&'static [u8], &'static CommandSpec, Hasher>> =
    LazyLock::new(|| commands().map(|spec| (spec.name.as_bytes(), spec)).collect());

/// The data command called `name`, whatever the letter case.
pub fn lookup(name: &[u8]) -> Option<&'static CommandSpec> {
    let mut lower = [0; MAX_NAME_BYTES];
    let lower = lower.get_mut(..name.len())?;
    lower.copy_from_slice(name);
    lower.make_ascii_lowercase();
    BY_NAME.get(&*lower).copied()
}

/// Every data command, in no particular order.
pub fn commands() -> impl Iterator<Item = &'static CommandSpec> {
    FAMILIES.iter().copied().flatten()
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
            let whole = match spec.scope {
                Scope::Keys => false,
                Scope::Depends(whole) => whole(&call.argv),
                Scope::Channel => {
                    shards.push(keyspace.shard_of(&call.argv[1]));
                    continue;
                }
                Scope::All | Scope::Sweep => true,
            };
            if whole {
                shards = (0..keyspace.options().shards).collect();
                break;
            }
            shards.extend(spec.keys(&call.argv).map(|key| keyspace.shard_of(key)));
        }
        Plan { specs, shards }
    }

    /// The only command of a unit of one.
    pub fn only(&self) -> Option<&'static CommandSpec> {
        match self.specs[..] {
            [Ok(spec)] => Some(spec),
            _ => None,
        }
    }

    /// Whether the unit is one command that takes one shard at a time when it runs on its own.
    pub fn sweeps(&self) -> bool {
        self.only().is_some_and(|spec| matches!(spec.scope, Scope::Sweep))
    }

    /// Whether the unit is one command that may meet and delete unrelated expired keys, which are then
    /// not to be wrapped.
    pub fn deletes_unrelated_keys(&self) -> bool {
        self.only().is_some_and(|spec| spec.name == "randomkey")
    }
}

pub(super) const W: &[Flag] = &[Flag::Write];
pub(super) const WF: &[Flag] = &[Flag::Write, Flag::Fast];
pub(super) const WM: &[Flag] = &[Flag::Write, Flag::Denyoom];
pub(super) const WMF: &[Flag] = &[Flag::Write, Flag::Denyoom, Flag::Fast];
pub(super) const WB: &[Flag] = &[Flag::Write, Flag::Blocking];
pub(super) const WMB: &[Flag] = &[Flag::Write, Flag::Denyoom, Flag::Blocking];
pub(super) const R: &[Flag] = &[Flag::Readonly];
pub(super) const RF: &[Flag] = &[Flag::Readonly, Flag::Fast];

pub(super) const fn keyed(
    name: &'static str,
    arity: i32,
    flags: &'static [Flag],
    (first_key, last_key, step): (i32, i32, i32),
    handler: Handler,
) -> CommandSpec {
    CommandSpec {
        name,
        arity,
        flags,
        first_key,
        last_key,
        step,
        more_keys: MoreKeys::None,
        scope: Scope::Keys,
        subcommands: |_| Ok(()),
        handler,
    }
}

pub(super) const fn whole(
    name: &'static str,
    arity: i32,
    flags: &'static [Flag],
    scope: Scope,
    handler: Handler,
) -> CommandSpec {
    CommandSpec {
        name,
        arity,
        flags,
        first_key: 0,
        last_key: 0,
        step: 0,
        more_keys: MoreKeys::None,
        scope,
        subcommands: |_| Ok(()),
        handler,
    }
}

pub(super) const ONE: (i32, i32, i32) = (1, 1, 1);
pub(super) const TWO: (i32, i32, i32) = (1, 2, 1);
pub(super) const ALL: (i32, i32, i32) = (1, -1, 1);
pub(super) const PAIRS: (i32, i32, i32) = (1, -1, 2);
