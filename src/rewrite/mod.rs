//! What a command *did*, as the commands to propagate.
//!
//! # Promise
//!
//! A replica that applies what this module produces, in order, ends in the primary's state,
//! whatever its clock says and however late it reads. So no relative time, no random choice and no
//! computation that another server may round or order otherwise leaves here: deadlines are absolute,
//! increments of `long double`s and sums of several doubles are final values (one sum of two doubles
//! is the same everywhere: see [`zset`]), and a key that the primary found expired is deleted by a
//! command of its own.
//!
//! Where Valkey's form has that property it is produced byte for byte (measured against Valkey
//! 9.1.2): a command that needs no rewriting goes out with the bytes the client sent, letter case
//! included; the words this module adds are upper-case.
//!
//! # Shape
//!
//! ```text
//! argv + typed outcome ──(one file per command family)──▶ Propagation ──▶ Effects ──(frame)──▶ sink
//! ```
//!
//! The command's executor decides what happened and says so with the family's outcome type
//! (`string::SetOutcome`, …); the function of the family turns it into a
//! [`Propagation`]. [`Effects`] collects the propagations of one *unit*: a command, or all commands
//! of an `EXEC`. [`frame`] encodes a unit. Nothing here reads a clock, takes a lock or knows the
//! buffer; the original argv is borrowed and never changed, so that MONITOR and the slow log can
//! still show it.
//!
//! # Units (Valkey's rules)
//!
//! * Side operations (the deletion of an expired key that a command met) come before the command's
//!   own operation.
//! * A unit of one operation is sent bare, a unit of more inside `MULTI` … `EXEC`, except for a
//!   top-level `SCAN` or `RANDOMKEY`, which may delete arbitrary expired keys and is never wrapped
//!   ([`Wrap::Never`]).
//! * A user's `MULTI`/`EXEC` is not itself propagated: the `EXEC` is a unit, and the rule above
//!   decides.
//! * A script or function (`EVAL`, `EVALSHA`, `FCALL`) is not itself propagated either, nor is `SCRIPT LOAD`:
//!   what its commands did is pushed into the unit that it runs in, its own or that of the `EXEC` around it,
//!   each rewritten like a client's. What was done before an error is done, and is sent. The time stands
//!   still for the whole of it.
//!
//! # How a server uses it
//!
//! 1. It executes a command on a frozen clock, and deletes the expired keys that the command met
//!    ([`DeletionVerb::command`], pushed with [`Effects::push_command`] ahead of the command).
//! 2. It tells the family's function what happened: `hash::hexpire(argv, fields, effect)`. A
//!    [`Mismatch`] says that executor and outcome disagree, which is a defect of the executor.
//! 3. [`Effects::push_rewritten`] adds the result to the unit that the command belongs to. After a mismatch
//!    the unit has a [`failure`](Effects::failure): it does not tell all that was done, and its publisher has
//!    to break with the history.
//! 4. When the unit is over (after the command, the `EXEC` or the script), [`frame::write`] encodes it and
//!    the bytes are published, before what it locked is released: then the stream's order is that of the
//!    keys.
//!
//! A replica applies the stream in order, never judges an expiry, and takes from its primary what a client
//! may not say: `LIMIT` beside `=` in `XADD`, which it ignores.
//!
//! # Exceptions
//!
//! Where Valkey 9.1.2's form can diverge, and what is sent instead. In `HEXPIRE k 100 FIELDS 2 live dead` the
//! deadline of `dead` has passed and the field is still stored (a primary hides it, a replica's stream does
//! not judge it). "Older" replicas are those that lack a command or an option of the primary: Redis 7.0,
//! Valkey before 9.1. The families say more.
//!
//! | sequence | Valkey sends | what diverges | sent here |
//! |---|---|---|---|
//! | [`hash`]: `HEXPIRE k 100 FIELDS 2 live dead`, `HPEXPIRE`, `HEXPIREAT`, `HPEXPIREAT` | `HPEXPIREAT k ms FIELDS 2 live dead` | the replica revives `dead` | `HPEXPIREAT k ms FIELDS 1 live` |
//! | `HPERSIST k FIELDS 2 live dead` | verbatim | the replica revives `dead` | `HPERSIST k FIELDS 1 live` |
//! | `HDEL k live dead`, `HGETDEL k FIELDS 2 live dead` | verbatim | the replica loses `dead` and the key, which the primary counts | `HDEL k live` |
//! | `HGETDEL k FIELDS 1 f` | verbatim | older replicas keep `f` | `HDEL k f` |
//! | `HSETEX k FIELDS 1 f v`, `HSETEX k KEEPTTL FIELDS 1 f v` where nothing is kept | verbatim | older replicas keep the old value | `HSET k f v` |
//! | `HSETEX k KEEPTTL FIELDS 1 f v`, a deadline kept | verbatim | Valkey 9.0.0 and 9.0.1 judge `f` by their clock and drop the deadline | `HSETEX k PXAT ms FIELDS 1 f v` |
//! | `HSETEX fnx EX 100 FIELDS 1 f v` (keys `fxx`, `nx`, `xx`) | `HSETEX PXAT ms FIELDS 1 f v` | every replica refuses it | `HSETEX fnx PXAT ms FIELDS 1 f v` |
//! | `HSETEX k EX 9 EX 10 FIELDS 1 f v` | `HSETEX k EX 9 PXAT ms FIELDS 1 f v` | every replica refuses it | `HSETEX k PXAT ms FIELDS 1 f v` |
//! | [`stream`]: `XREADGROUP GROUP g new STREAMS k >`, `XCLAIM k g new …`, `XAUTOCLAIM k g new …` that get nothing | nothing | the replica has no consumer `new` | `XGROUP CREATECONSUMER k g new` |
//! | `XREADGROUP GROUP g c STREAMS k 0` | nothing | the replica counts fewer deliveries | `XCLAIM k g c 0 id TIME ms RETRYCOUNT n FORCE JUSTID LASTID id` |
//! | [`geo`]: `GEOSEARCHSTORE … STOREDIST`, `GEORADIUS … STOREDIST d` | verbatim | distances have the last digits of the replica's C library | `UNLINK d`, `ZADD d distance m …` |
//! | `GEOSEARCHSTORE d s BYPOLYGON …` | verbatim | older replicas keep the old `d` | `UNLINK d`, `ZADD d score m …` |
//! | [`string`]: `SET k v IFEQ w` | verbatim | older replicas keep the old value | `SET k v` |
//! | `SET k v IFEQ get GET` | `SET k v IFEQ` | every replica refuses it | `SET k v` |
//! | `BITFIELD k OVERFLOW FAIL INCRBY u2 0 9` and the like, which only make room | nothing | the primary has created or extended `k` | verbatim |
//! | `MSETEX 1 k v EX 9 EX 10` | `MSETEX 1 k v EX 9 PXAT ms` | every replica refuses it | `MSETEX 1 k v PXAT ms` |
//! | `MSETEX 1 k v …`, `INCREX k …` | verbatim, or with `PXAT` | older replicas keep the old value | `MSET`, `SET` |
//! | [`generic`]: `COPY h c`, a field of `h` dead | verbatim | the replica copies the dead field, for good | `COPY h c`, `HDEL c dead` |
//! | `RESTORE k 0 payload` | verbatim | older replicas refuse the payload of a newer version | the same value in RDB version 10 |
//! | [`sort`]: `SORT s BY w_* ALPHA STORE d`, equal weights | verbatim | their order is that of the set's table, which every server has its own of | `RPUSH d …` |
//! | `SORT l BY nosort GET h_*->f STORE d`, `f` dead | verbatim | the replica stores the dead value | `RPUSH d …` |
//! | `RPUSH l 5 1e-310`, `SORT l STORE d` | verbatim | older replicas refuse the number and keep the old `d` | `RPUSH d 1e-310 5` |
//! | [`zset`]: `ZUNIONSTORE d 3 a b c`, `WEIGHTS 0.1 0.7` and the like, where sums round | verbatim | the order of the sum, or its rounding, is the C library's or the compiler's | `UNLINK d`, `ZADD d score m …` |
//! | `ZREMRANGEBYLEX k [m [o`, `ZRANGESTORE … BYLEX` over several scores | verbatim | the range depends on the form of the set, and on chance | `ZREM k m …`, `ZADD d score m …` |
//! | `ZRANGESTORE d k 0 9 BYSCORE LIMIT -1 1` | verbatim | a skiplist gives the last member, a listpack none | `ZADD d score m …` |
//!
//! Not an exception, and not to be had from any form: when a pending entry of a stream was delivered last is
//! at most the time of the replica that hears of it (see [`stream`]).
//!
//! # A server of one's own
//!
//! Strings with deadlines, and a replica of them. The server executes a command, says what happened,
//! and appends the unit; the replica reads a cursor and applies what comes, without a clock.
//!
//! ```
//! use std::collections::HashMap;
//!
//! use bytes::{Buf, Bytes, BytesMut};
//! use replcore::buffer::ReplicationBuffer;
//! use replcore::resp::{CommandParser, Limits, parse_integer};
//! use replcore::rewrite::string::{self, SetOutcome};
//! use replcore::rewrite::{DeletionVerb, Effects, Propagation, frame};
//!
//! type Error = Box<dyn std::error::Error>;
//! /// Values, and when they expire.
//! type Store = HashMap<Bytes, (Bytes, Option<u64>)>;
//!
//! fn number(text: &[u8]) -> Result<u64, Error> {
//!     Ok(parse_integer(text).ok_or("not an integer")?.try_into()?)
//! }
//!
//! /// The primary: `GET k`, `SET k v [EX s]`, `INCRBYFLOAT k by`, `DEL k`. Returns the value of `k`.
//! fn execute(
//!     store: &mut Store, argv: &[Bytes], now_ms: u64, stream: &ReplicationBuffer,
//! ) -> Result<Option<Bytes>, Error> {
//!     let (key, mut effects) = (&argv[1], Effects::new());
//!     if store.get(key).is_some_and(|(_, deadline)| deadline.is_some_and(|ms| ms < now_ms)) {
//!         store.remove(key);
//!         effects.push_command(0, DeletionVerb::Unlink.command(key));
//!     }
//!     let propagation = match &argv[0][..] {
//!         b"SET" => {
//!             let seconds = argv.get(4).map(|seconds| number(seconds)).transpose()?;
//!             let deadline_ms = seconds.map(|seconds| now_ms + 1000 * seconds);
//!             store.insert(key.clone(), (argv[2].clone(), deadline_ms));
//!             string::set(argv, SetOutcome::Stored { deadline_ms }, DeletionVerb::Unlink)?
//!         }
//!         b"INCRBYFLOAT" => {
//!             let (value, _) = store.entry(key.clone()).or_insert(("0".into(), None));
//!             let terms = (std::str::from_utf8(value)?, std::str::from_utf8(&argv[2])?);
//!             *value = (terms.0.parse::<f64>()? + terms.1.parse::<f64>()?).to_string().into();
//!             string::incrbyfloat(argv, value)?
//!         }
//!         b"DEL" => Propagation::verbatim_if(store.remove(key).is_some()),
//!         _ => Propagation::Nothing,
//!     };
//!     effects.push(0, argv, propagation);
//!     stream.append_with(|staged| frame::write(&effects, staged))?;
//!     Ok(store.get(key).map(|(value, _)| value.clone()))
//! }
//!
//! /// The replica: whatever time it is, however late it reads.
//! fn apply(store: &mut Store, argv: &[Bytes]) -> Result<(), Error> {
//!     match &argv[0][..] {
//!         b"SET" => {
//!             let deadline_ms = match argv.get(3) {
//!                 Some(option) if option == "PXAT" => Some(number(&argv[4])?),
//!                 Some(_) => store.get(&argv[1]).and_then(|(_, deadline)| *deadline), // KEEPTTL
//!                 None => None,
//!             };
//!             store.insert(argv[1].clone(), (argv[2].clone(), deadline_ms));
//!         }
//!         b"DEL" | b"UNLINK" => drop(store.remove(&argv[1])),
//!         _ => {} // SELECT, MULTI and EXEC: one database, and nobody reads in between
//!     }
//!     Ok(())
//! }
//!
//! let stream = ReplicationBuffer::builder().build()?;
//! let mut cursor = stream.attach_at_end()?;
//! let mut primary = Store::new();
//! let mut run = |now_ms, command: &str| {
//!     let argv: Vec<Bytes> = command.split(' ').map(|arg| Bytes::copy_from_slice(arg.as_bytes())).collect();
//!     execute(&mut primary, &argv, now_ms, &stream)
//! };
//! run(1_000, "SET price 10.5 EX 100")?;
//! run(2_000, "INCRBYFLOAT price 0.1")?;
//! run(3_000, "SET soon gone EX 1")?;
//! assert_eq!(run(9_000, "GET soon")?, None); // the first look deletes it
//! assert_eq!(run(9_000, "DEL nothing")?, None); // no effect: nothing is sent
//!
//! cursor.refresh()?;
//! let mut sent = BytesMut::from(&cursor.copy_to_bytes(cursor.remaining())[..]);
//! let (mut parser, mut replica, mut seen) = (CommandParser::new(Limits::default()), Store::new(), vec![]);
//! while let Some(argv) = parser.next(&mut sent)? {
//!     apply(&mut replica, &argv)?;
//!     seen.push(argv.iter().map(|arg| String::from_utf8_lossy(arg)).collect::<Vec<_>>().join(" "));
//! }
//! assert_eq!(replica, primary);
//! assert_eq!(replica["price".as_bytes()], ("10.6".into(), Some(101_000)));
//! assert_eq!(seen, [
//!     "SELECT 0", "SET price 10.5 PXAT 101000", "SET price 10.6 KEEPTTL", "SET soon gone PXAT 4000", "UNLINK soon",
//! ]);
//! # Ok::<(), Error>(())
//! ```

pub mod frame;
pub mod generic;
pub mod geo;
pub mod hash;
pub mod hyperloglog;
pub mod list;
pub mod pubsub;
pub mod set;
pub mod sort;
pub mod staged;
pub mod store;
pub mod stream;
pub mod string;
pub mod zset;

use std::borrow::Cow;

use bytes::Bytes;
use smallvec::SmallVec;

/// A command as a list of arguments, the name first.
pub type Argv = Vec<Bytes>;

/// One command to propagate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Op<'a> {
    /// The database it applies to.
    pub db: u16,
    /// The command: borrowed when it goes out as the client sent it.
    pub argv: Cow<'a, [Bytes]>,
}

/// Whether the operations of a unit are enclosed in `MULTI` … `EXEC`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wrap {
    /// Enclosed when there is more than one: a replica applies all or none.
    #[default]
    IfSeveral,
    /// Never enclosed: the operations are unrelated to each other (`SCAN`, `RANDOMKEY`).
    Never,
}

/// The operations of a unit. One or two are kept in place: a command that goes out as the client sent it
/// allocates nothing.
pub type Ops<'a> = SmallVec<[Op<'a>; 2]>;

/// What one atomic unit propagates, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use = "what is not published reaches no replica"]
pub struct Effects<'a> {
    /// The operations, in the order a replica is to apply them.
    pub ops: Ops<'a>,
    /// How they are enclosed.
    pub wrap: Wrap,
    /// Why the operations do not describe everything that the unit did, if they do not: an executor and its
    /// report of what it did disagreed. Whoever publishes the unit must then break with the history, so that
    /// every replica comes back for a full copy.
    pub failure: Option<Mismatch>,
}

impl<'a> Effects<'a> {
    /// An empty unit.
    pub fn new() -> Self {
        Effects::default()
    }

    /// A unit of one command, as active expiry makes it.
    pub fn single(db: u16, argv: Argv) -> Self {
        Effects {
            ops: smallvec::smallvec![Op { db, argv: Cow::Owned(argv) }],
            wrap: Wrap::IfSeveral,
            failure: None,
        }
    }

    /// Whether there is nothing to propagate, and nothing that could not be.
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty() && self.failure.is_none()
    }

    /// Adds what a command propagates, or notes that it cannot be told.
    pub fn push_rewritten(&mut self, db: u16, argv: &'a [Bytes], rewritten: Rewritten) {
        match rewritten {
            Ok(propagation) => self.push(db, argv, propagation),
            Err(mismatch) => self.failure = Some(mismatch),
        }
    }

    /// Adds what a command propagates; `argv` is the command as the client sent it.
    pub fn push(&mut self, db: u16, argv: &'a [Bytes], propagation: Propagation) {
        match propagation {
            Propagation::Nothing => {}
            Propagation::Verbatim => self.ops.push(Op { db, argv: Cow::Borrowed(argv) }),
            Propagation::Command(argv) => self.push_command(db, argv),
            Propagation::Commands(commands) => {
                commands.into_iter().for_each(|argv| self.push_command(db, argv));
            }
        }
    }

    /// Adds what another part of the unit propagates, whose arguments do not live as long.
    pub fn absorb(&mut self, part: Effects<'_>) {
        let owned = |op: Op<'_>| Op { db: op.db, argv: Cow::Owned(op.argv.into_owned()) };
        self.ops.extend(part.ops.into_iter().map(owned));
        self.failure = self.failure.take().or(part.failure);
    }

    /// Adds a command made by the primary (a side operation).
    pub fn push_command(&mut self, db: u16, argv: Argv) {
        self.ops.push(Op { db, argv: Cow::Owned(argv) });
    }
}

/// What one command propagates for itself.
///
/// Whoever drops it has changed data that no replica will hear of, so it is a warning:
///
/// ```compile_fail
/// #![deny(unused_must_use)]
/// # use replcore::rewrite::Propagation;
/// fn execute() -> Propagation {
///     Propagation::Verbatim
/// }
/// fn main() {
///     execute();
/// }
/// ```
///
/// ```
/// #![deny(unused_must_use)]
/// # use bytes::Bytes;
/// # use replcore::rewrite::{Effects, Propagation};
/// fn execute() -> Propagation {
///     Propagation::Verbatim
/// }
/// fn main() {
///     let argv = ["INCR", "k"].map(Bytes::from);
///     let mut effects = Effects::new();
///     effects.push(0, &argv, execute());
///     assert!(!effects.is_empty());
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "what is not added to the unit's effects reaches no replica"]
pub enum Propagation {
    /// It changed nothing.
    Nothing,
    /// The command exactly as the client sent it.
    Verbatim,
    /// Another command that has the same effect on any clock.
    Command(Argv),
    /// Several commands, in order, that together have the same effect on any clock: a unit of more than
    /// one, so a replica applies all or none.
    Commands(Vec<Argv>),
}

impl Propagation {
    /// [`Propagation::Verbatim`] if something changed.
    pub fn verbatim_if(changed: bool) -> Self {
        if changed { Propagation::Verbatim } else { Propagation::Nothing }
    }

    /// As many commands as there are.
    pub fn of(mut commands: Vec<Argv>) -> Self {
        match commands.len() {
            0 => Propagation::Nothing,
            1 => commands.pop().map_or(Propagation::Nothing, Propagation::Command),
            _ => Propagation::Commands(commands),
        }
    }
}

/// What a rewriting function returns.
pub type Rewritten = Result<Propagation, Mismatch>;

impl From<Propagation> for Rewritten {
    fn from(propagation: Propagation) -> Self {
        Ok(propagation)
    }
}

/// The outcome that was handed in cannot be one of the command that was handed in. Nothing can be
/// propagated for it; the caller's executor and its report of what it did disagree.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Mismatch {
    /// Another command than the function rewrites.
    #[error("'{given}' is not a command that this outcome belongs to (those are: {expected})")]
    Command {
        /// The command's name, as it was given; its beginning if it is long.
        given: String,
        /// The commands that the function rewrites.
        expected: &'static str,
    },
    /// Fewer arguments than the command has.
    #[error("'{command}' takes at least {needed} arguments, the name included, and {given} were given")]
    Arguments {
        /// The command.
        command: &'static str,
        /// As many there have to be, the name included.
        needed: usize,
        /// As many there are.
        given: usize,
    },
    /// An outcome that these arguments cannot have.
    #[error("'{command}' cannot have this outcome: {reason}")]
    Outcome {
        /// The command.
        command: &'static str,
        /// Why not.
        reason: &'static str,
    },
}

impl Mismatch {
    pub(crate) fn outcome(command: &'static str, reason: &'static str) -> Self {
        Mismatch::Outcome { command, reason }
    }
}

/// Checks that `argv` is one of `commands` with as many arguments as it needs (the name included) and
/// returns the command's name as `commands` spells it.
pub(crate) fn identify(
    argv: &[Bytes],
    commands: &[(&'static str, usize)],
    expected: &'static str,
) -> Result<&'static str, Mismatch> {
    const SHOWN_BYTES: usize = 64;
    let name = argv.first().map_or(&[][..], |name| name);
    let Some(&(command, needed)) =
        commands.iter().find(|(command, _)| name.eq_ignore_ascii_case(command.as_bytes()))
    else {
        let given = String::from_utf8_lossy(&name[..name.len().min(SHOWN_BYTES)]).into_owned();
        return Err(Mismatch::Command { given, expected });
    };
    if argv.len() < needed {
        return Err(Mismatch::Arguments { command, needed, given: argv.len() });
    }
    Ok(command)
}

/// The command that deletes a key on the replicas' side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeletionVerb {
    /// `UNLINK`: what Valkey 8 and later send by default (`lazyfree-lazy-expire yes`).
    #[default]
    Unlink,
    /// `DEL`: what Redis sends by default.
    Del,
}

impl DeletionVerb {
    /// The word on the wire.
    pub fn as_bytes(self) -> &'static [u8] {
        match self {
            DeletionVerb::Unlink => b"UNLINK",
            DeletionVerb::Del => b"DEL",
        }
    }

    /// The whole deletion of `key`.
    pub fn command(self, key: &Bytes) -> Argv {
        vec![Bytes::from_static(self.as_bytes()), key.clone()]
    }
}

/// A decimal argument.
pub(crate) fn decimal(n: u64) -> Bytes {
    Bytes::copy_from_slice(itoa::Buffer::new().format(n).as_bytes())
}

/// A word this crate adds to a command.
pub(crate) fn word(word: &'static str) -> Bytes {
    Bytes::from_static(word.as_bytes())
}

#[cfg(test)]
mod tests;
