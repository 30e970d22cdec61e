//! Keys of any type, whole databases, and what concerns no key.
//!
//! | client | happened | propagated |
//! |---|---|---|
//! | `EXPIRE`, `PEXPIRE`, `EXPIREAT` | applied | `PEXPIREAT k ms`, with the client's condition (`NX`, `XX`, `GT`, `LT`) kept |
//! | `PEXPIREAT` | applied | verbatim |
//! | any of them | the time had passed: deleted | a deletion |
//! | `PERSIST` | a deadline was removed | verbatim |
//! | `DEL`, `UNLINK` | at least one deleted | verbatim, the whole list |
//! | `RENAME`, `RENAMENX`, `MOVE` | changed | verbatim |
//! | `COPY` | copied; a hash with dead fields, of which only the live ones were copied | verbatim / the same, then `HDEL to` the dead |
//! | `COPY` of a hash whose fields are all dead | there was a destination / there was none | a deletion of it / nothing |
//! | `SWAPDB`, `FLUSHDB`, `FLUSHALL` | always, even when empty | verbatim |
//! | `RESTORE k ttl …` | stored, relative `ttl` | `RESTORE k ms … ABSTTL` |
//! | `RESTORE k 0 …`, `RESTORE … ABSTTL` | stored | verbatim |
//! | `RESTORE` | the time had passed; `REPLACE` removed a key / there was none | a deletion / nothing |
//! | `MIGRATE` | keys moved / `COPY` | `DEL` those that the target acknowledged / nothing |
//! | lazy expiry, active expiry, eviction of a key | | a deletion, a unit of its own ([`DeletionVerb::command`]) |
//! | `FUNCTION LOAD`, `DELETE`, `FLUSH`, `RESTORE` | changed | verbatim |
//! | `EVAL`, `EVALSHA`, `FCALL` | | what the commands that they ran propagate, as one unit; never themselves |
//! | `SCRIPT …`, `FUNCTION` with other words | | nothing |
//! | `CLUSTER SETSLOT` | applied on a primary | verbatim |
//! | `TOUCH`, and all of [`NEVER_PROPAGATED`] | | nothing |
//!
//! `PUBLISH` is in [`pubsub`](super::pubsub).
//!
//! A kept condition does not read a clock: it compares the new deadline with the old one, and the
//! replica has the same old one.
//!
//! A `DEL` that goes out with its whole list names keys that were absent, or that had expired: those were
//! deleted ahead of it, in the stream. A `RESTORE` keeps `IDLETIME` and `FREQ`, which are no state that
//! replicas agree on.
//!
//! # Exceptions
//!
//! Where Valkey 9.1.2's form can diverge.
//!
//! | sequence | Valkey sends | what diverges | sent here |
//! |---|---|---|---|
//! | `COPY h c`, where a field `dead` of the hash `h` has expired and is still stored | verbatim | `c` has no `dead` on the primary; the replica, which judges no field, copies it, and no reclaim will ever tell it to remove it | `COPY h c`, `HDEL c dead`, the latter in the database of `c` ([`CopyOutcome::LiveFields`]) |
//! | `COPY h c`, where every field of `h` has expired | verbatim | an empty hash `c` on the primary, the dead fields on the replica | the deletion of what `c` was, if it was ([`CopyOutcome::NothingLive`]) |
//! | `RESTORE k 0 payload`, the payload of a version or with an encoding that not every replica reads (Valkey 9's own version 80) | verbatim | Redis and Valkey 8 answer an error to nobody and have no `k` | `RESTORE k 0` with the same value in RDB version 10 ([`RestorePayload::Encoded`]) |

use bytes::Bytes;

use super::{Argv, DeletionVerb, Mismatch, Propagation, Rewritten, decimal, hash, identify, word};

/// Commands that propagate nothing for themselves, in lower case and sorted: those of Valkey 9.1.2 that read,
/// that concern the connection or the server, and that run others (`EVAL`, `EXEC`: what these did is
/// propagated). Expired keys that a reading command deletes are operations of their own.
///
/// Not among them, although Valkey calls them readers: `PFCOUNT`, which stores the cardinality it computed;
/// `PUBLISH` and `SPUBLISH`; and `FUNCTION`, `CLUSTER` and `XGROUP`, of which some words are propagated.
pub const NEVER_PROPAGATED: &[&str] = &[
    "acl",
    "asking",
    "auth",
    "bgrewriteaof",
    "bgsave",
    "bitcount",
    "bitfield_ro",
    "bitpos",
    "client",
    "clusterscan",
    "command",
    "commandlog",
    "config",
    "dbsize",
    "debug",
    "discard",
    "dump",
    "echo",
    "eval",
    "eval_ro",
    "evalsha",
    "evalsha_ro",
    "exec",
    "exists",
    "expiretime",
    "failover",
    "fcall",
    "fcall_ro",
    "geodist",
    "geohash",
    "geopos",
    "georadius_ro",
    "georadiusbymember_ro",
    "geosearch",
    "get",
    "getbit",
    "getrange",
    "hello",
    "hexists",
    "hexpiretime",
    "hget",
    "hgetall",
    "hkeys",
    "hlen",
    "hmget",
    "hpexpiretime",
    "hpttl",
    "hrandfield",
    "hscan",
    "hstrlen",
    "httl",
    "hvals",
    "info",
    "keys",
    "lastsave",
    "latency",
    "lcs",
    "lindex",
    "llen",
    "lolwut",
    "lpos",
    "lrange",
    "memory",
    "mget",
    "module",
    "monitor",
    "multi",
    "object",
    "pexpiretime",
    "pfselftest",
    "ping",
    "psubscribe",
    "psync",
    "pttl",
    "pubsub",
    "punsubscribe",
    "quit",
    "randomkey",
    "readonly",
    "readwrite",
    "replconf",
    "replicaof",
    "reset",
    "role",
    "save",
    "scan",
    "scard",
    "script",
    "sdiff",
    "select",
    "shutdown",
    "sinter",
    "sintercard",
    "sismember",
    "slaveof",
    "slowlog",
    "smembers",
    "smismember",
    "sort_ro",
    "srandmember",
    "sscan",
    "ssubscribe",
    "strlen",
    "subscribe",
    "substr",
    "sunion",
    "sunsubscribe",
    "sync",
    "time",
    "touch",
    "ttl",
    "type",
    "unsubscribe",
    "unwatch",
    "wait",
    "waitaof",
    "watch",
    "xinfo",
    "xlen",
    "xpending",
    "xrange",
    "xread",
    "xrevrange",
    "zcard",
    "zcount",
    "zdiff",
    "zinter",
    "zintercard",
    "zlexcount",
    "zmscore",
    "zrandmember",
    "zrange",
    "zrangebylex",
    "zrangebyscore",
    "zrank",
    "zrevrange",
    "zrevrangebylex",
    "zrevrangebyscore",
    "zrevrank",
    "zscan",
    "zscore",
    "zunion",
];

/// Whether the command `name`, in any letter case, propagates nothing whatever it did: see
/// [`NEVER_PROPAGATED`].
pub fn is_never_propagated(name: &[u8]) -> bool {
    let lower = name.to_ascii_lowercase();
    NEVER_PROPAGATED.binary_search_by(|known| known.as_bytes().cmp(&lower)).is_ok()
}

/// What a command of the `EXPIRE` family did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExpireOutcome {
    /// No such key, or the condition was not met.
    Unchanged,
    /// A new deadline, in milliseconds since the Unix epoch.
    Deadline(u64),
    /// The time had passed already: the key was deleted.
    Deleted,
}

/// The propagation of `EXPIRE|PEXPIRE|EXPIREAT|PEXPIREAT key time [conditions]`.
pub fn expire(argv: &[Bytes], outcome: ExpireOutcome, verb: DeletionVerb) -> Rewritten {
    const COMMANDS: &[(&str, usize)] = &[("expire", 3), ("pexpire", 3), ("expireat", 3), ("pexpireat", 3)];
    let command = identify(argv, COMMANDS, "EXPIRE, PEXPIRE, EXPIREAT, PEXPIREAT")?;
    Ok(match outcome {
        ExpireOutcome::Unchanged => Propagation::Nothing,
        ExpireOutcome::Deleted => Propagation::Command(verb.command(&argv[1])),
        ExpireOutcome::Deadline(_) if command == "pexpireat" => Propagation::Verbatim,
        ExpireOutcome::Deadline(ms) => {
            let mut rewritten = vec![word("PEXPIREAT"), argv[1].clone(), decimal(ms)];
            rewritten.extend(argv[3..].iter().cloned());
            Propagation::Command(rewritten)
        }
    })
}

/// The propagation of `PERSIST key` that removed a deadline or not.
pub fn persist(argv: &[Bytes], removed: bool) -> Rewritten {
    identify(argv, &[("persist", 2)], "PERSIST")?;
    Ok(Propagation::verbatim_if(removed))
}

/// The propagation of `DEL|UNLINK key [key …]` that deleted so many keys. Keys that had expired are not
/// counted: their deletion is an operation of its own, ahead of this one.
pub fn del(argv: &[Bytes], deleted: usize) -> Rewritten {
    let command = identify(argv, &[("del", 2), ("unlink", 2)], "DEL, UNLINK")?;
    if deleted >= argv.len() {
        return Err(Mismatch::outcome(command, "more keys were deleted than it names"));
    }
    Ok(Propagation::verbatim_if(deleted > 0))
}

/// Whether a command moved or copied its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RelocateOutcome {
    /// There was nothing to move, the target exists, or both are the same.
    Unchanged,
    /// The target is what the source was.
    Done,
}

impl RelocateOutcome {
    /// [`RelocateOutcome::Done`] if it was done.
    pub fn of(done: bool) -> Self {
        if done { RelocateOutcome::Done } else { RelocateOutcome::Unchanged }
    }
}

/// The propagation of `RENAME|RENAMENX from to` and `MOVE key db`. A hash takes its dead fields with it, on
/// both sides.
pub fn relocate(argv: &[Bytes], outcome: RelocateOutcome) -> Rewritten {
    const COMMANDS: &[(&str, usize)] = &[("rename", 3), ("renamenx", 3), ("move", 3)];
    identify(argv, COMMANDS, "RENAME, RENAMENX, MOVE")?;
    Ok(Propagation::verbatim_if(outcome == RelocateOutcome::Done))
}

/// What a `COPY` did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyOutcome<'o> {
    /// There is no source, or the destination exists.
    Unchanged,
    /// The destination is what the source is.
    Done,
    /// The destination is what the source, a hash, is without its dead fields.
    LiveFields {
        /// The names of the fields that are stored in the source and were left out, each once.
        dead: &'o [Bytes],
    },
    /// The source is a hash whose fields are all dead: now there is no destination.
    NothingLive {
        /// Whether there was one before.
        existed: bool,
    },
}

/// What a `COPY` propagates: the destination may be in another database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copied {
    /// In the database of the source, first.
    pub at_source: Propagation,
    /// In the database of the destination.
    pub at_destination: Propagation,
}

/// The propagation of `COPY from to [DB db] [REPLACE]`.
pub fn copy(argv: &[Bytes], outcome: CopyOutcome<'_>, verb: DeletionVerb) -> Result<Copied, Mismatch> {
    let command = identify(argv, &[("copy", 3)], "COPY")?;
    let replaces = argv[3..].iter().any(|option| option.eq_ignore_ascii_case(b"REPLACE"));
    let (done, at_destination) = match outcome {
        CopyOutcome::NothingLive { existed: true } if !replaces => {
            return Err(Mismatch::outcome(command, "it does not replace"));
        }
        CopyOutcome::Unchanged | CopyOutcome::NothingLive { existed: false } => (false, Propagation::Nothing),
        CopyOutcome::Done => (true, Propagation::Nothing),
        CopyOutcome::LiveFields { dead } => (true, hash::reclaim(&argv[2], dead, false, verb)),
        CopyOutcome::NothingLive { existed: true } => (false, Propagation::Command(verb.command(&argv[2]))),
    };
    Ok(Copied { at_source: Propagation::verbatim_if(done), at_destination })
}

/// The propagation of `SWAPDB`, `FLUSHDB` and `FLUSHALL` that succeeded: always, whatever there was.
pub fn databases(argv: &[Bytes]) -> Rewritten {
    identify(argv, &[("swapdb", 3), ("flushdb", 1), ("flushall", 1)], "SWAPDB, FLUSHDB, FLUSHALL")?;
    Ok(Propagation::Verbatim)
}

/// How the value of a `RESTORE` goes out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RestorePayload {
    /// As the client sent it: every replica that can hold the value reads it.
    AsSent,
    /// The same value in an encoding that every replica reads that can hold it.
    Encoded(Bytes),
}

/// What a `RESTORE` did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RestoreOutcome {
    /// Stored.
    Stored {
        /// The key's deadline, in milliseconds since the Unix epoch.
        deadline_ms: Option<u64>,
        /// How the value goes out.
        payload: RestorePayload,
    },
    /// The deadline had passed already: nothing was stored.
    Past {
        /// Whether `REPLACE` removed a key.
        existed: bool,
    },
}

/// The propagation of `RESTORE key ttl payload [REPLACE] [ABSTTL] [IDLETIME s] [FREQ n]`, and of
/// `RESTORE-ASKING`.
pub fn restore(argv: &[Bytes], outcome: RestoreOutcome, verb: DeletionVerb) -> Rewritten {
    let command = identify(argv, &[("restore", 4), ("restore-asking", 4)], "RESTORE, RESTORE-ASKING")?;
    let mut options = argv[4..].iter();
    let (mut absolute, mut replaces) = (false, false);
    while let Some(option) = options.next() {
        absolute |= option.eq_ignore_ascii_case(b"ABSTTL");
        replaces |= option.eq_ignore_ascii_case(b"REPLACE");
        if option.eq_ignore_ascii_case(b"IDLETIME") || option.eq_ignore_ascii_case(b"FREQ") {
            options.next();
        }
    }
    let for_ever = &argv[2][..] == b"0";
    let (deadline_ms, payload) = match outcome {
        RestoreOutcome::Past { .. } if for_ever => {
            return Err(Mismatch::outcome(command, "it names no time"));
        }
        RestoreOutcome::Past { existed: true } if !replaces => {
            return Err(Mismatch::outcome(command, "it does not replace"));
        }
        RestoreOutcome::Past { existed: true } => return Ok(Propagation::Command(verb.command(&argv[1]))),
        RestoreOutcome::Past { existed: false } => return Ok(Propagation::Nothing),
        RestoreOutcome::Stored { deadline_ms, .. } if deadline_ms.is_none() != for_ever => {
            return Err(Mismatch::outcome(command, "it sets a deadline exactly if it names a time"));
        }
        RestoreOutcome::Stored { deadline_ms, payload } => (deadline_ms.filter(|_| !absolute), payload),
    };
    if (deadline_ms, &payload) == (None, &RestorePayload::AsSent) {
        return Ok(Propagation::Verbatim);
    }
    let mut sent: Argv = argv.to_vec();
    if let RestorePayload::Encoded(payload) = payload {
        sent[3] = payload;
    }
    if let Some(deadline_ms) = deadline_ms {
        sent[2] = decimal(deadline_ms);
        sent.push(word("ABSTTL"));
    }
    Ok(Propagation::Command(sent))
}

/// The propagation of `MIGRATE …`: `moved` are the keys that the target acknowledged and that were therefore
/// deleted here; none with `COPY`.
pub fn migrate(argv: &[Bytes], moved: &[Bytes]) -> Rewritten {
    let command = identify(argv, &[("migrate", 6)], "MIGRATE")?;
    if moved.is_empty() {
        return Ok(Propagation::Nothing);
    }
    // Before `KEYS` stand options only, and the values of `AUTH` and `AUTH2`, which may spell anything.
    let mut options = argv[6..].iter();
    while let Some(option) = options.next() {
        let skipped = [("AUTH", 1), ("AUTH2", 2), ("KEYS", usize::MAX)];
        let skip = skipped.iter().find(|(name, _)| option.eq_ignore_ascii_case(name.as_bytes()));
        if let Some((_, count)) = skip {
            options.by_ref().take(*count).for_each(drop);
        } else if option.eq_ignore_ascii_case(b"COPY") {
            return Err(Mismatch::outcome(command, "a copy deletes nothing"));
        }
    }
    let mut sent = vec![word("DEL")];
    sent.extend(moved.iter().cloned());
    Ok(Propagation::Command(sent))
}

/// The propagation of `FUNCTION LOAD|DELETE|FLUSH|RESTORE …`, which changed the libraries or not; other words
/// change nothing.
pub fn function(argv: &[Bytes], changed: bool) -> Rewritten {
    let command = identify(argv, &[("function", 2)], "FUNCTION")?;
    let writes = ["LOAD", "DELETE", "FLUSH", "RESTORE"];
    if changed && !writes.iter().any(|word| argv[1].eq_ignore_ascii_case(word.as_bytes())) {
        return Err(Mismatch::outcome(command, "this word of it changes nothing"));
    }
    Ok(Propagation::verbatim_if(changed))
}

/// The propagation of `CLUSTER SETSLOT slot …` that a primary applied or not.
pub fn cluster_setslot(argv: &[Bytes], applied: bool) -> Rewritten {
    let command = identify(argv, &[("cluster", 4)], "CLUSTER")?;
    if !argv[1].eq_ignore_ascii_case(b"SETSLOT") {
        return Err(Mismatch::outcome(command, "only its word SETSLOT is propagated"));
    }
    Ok(Propagation::verbatim_if(applied))
}
