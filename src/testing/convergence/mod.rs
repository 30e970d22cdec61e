//! Do replicas of your server end in the primary's state, whatever the clocks say and however late they read?
//!
//! # What is asked of a server
//!
//! [`Server`]: execute a command at a given time, say what the stream holds, apply it, say what is *stored*
//! (what is dead and not reclaimed included), copy, continue, promote. There are no sockets and no threads:
//! time and the network are the harness's. A server that follows the advice "time is a parameter" needs a
//! page of code for it.
//!
//! # What happens to it
//!
//! [`Convergence::check`] has three servers, clocks that differ, and random sequences: clients send commands
//! and transactions about things that expire, time passes, clocks are set, active expiry reclaims, commands
//! arrive or stay on their way, links break between any two commands, replicas come back and are continued or
//! copied as [`decide`] says (or what the server has in its place), they follow each other in chains,
//! backlogs shrink, a replica is promoted, the old primary goes on writing for a while and then comes back.
//! In the end the links are mended, all is delivered and active expiry has its turn.
//!
//! # What has to hold, after every step
//!
//! | property | says |
//! |---|---|
//! | convergence | a server stores at its offset what was stored at that offset where the stream was written; so it is independent of the reader's clock and of the delay, and right at every prefix |
//! | silence | a primary that changes what it stores says so in its stream |
//! | acknowledgement | a server's offset is that of the last whole unit it has: what it acknowledges is not lost by promoting it |
//! | resync | a continuation is granted only where it is safe, and always where it is possible |
//! | one order | a server, a replica of a replica too, sends the bytes that were written |
//! | prefix | what is written ends with a whole command and a whole transaction, and a client's transaction is one unit |
//!
//! The ground truth is kept beside the servers: which unit was written by whom, and what was stored then. It
//! does not come from what servers say about themselves.
//!
//! A sequence that breaks a property is made as short as can be and told step by step: [`Counterexample`].
//!
//! # Example
//!
//! One database, no transactions, strings that expire. What it writes says when, not how long: that is the
//! switch.
//!
//! ```
//! use std::collections::BTreeMap;
//!
//! use bytes::{Bytes, BytesMut};
//! use proptest::prelude::*;
//! use replcore::resp::{CommandParser, Limits, encode_command, parse_integer};
//! use replcore::resync::{History, ReplicationId, Retained};
//! use replcore::testing::convergence::commands::argv;
//! use replcore::testing::convergence::{Command, Convergence, Server, Stored, StoredValue};
//!
//! #[derive(Clone)]
//! struct Small {
//!     relative: bool,
//!     keys: BTreeMap<Bytes, (Bytes, Option<u64>)>,
//!     /// The stream, from offset `first` on.
//!     stream: Vec<u8>,
//!     first: u64,
//!     history: History,
//! }
//!
//! impl Small {
//!     /// `SET k v [PX ms|PXAT ms]`, `DEL k`. Returns what is to be propagated.
//!     fn run(&mut self, argv: &[Bytes], now_ms: u64) -> Vec<Bytes> {
//!         let mut propagated = argv.to_vec();
//!         if argv[0] == "DEL" {
//!             self.keys.remove(&argv[1]);
//!             return propagated;
//!         }
//!         let time = argv.get(4).map(|ms| parse_integer(ms).unwrap_or(0).unsigned_abs());
//!         let until = time.map(|ms| if argv[3] == "PX" { now_ms + ms } else { ms });
//!         if let Some(until) = until.filter(|_| !self.relative) {
//!             (propagated[3], propagated[4]) = ("PXAT".into(), until.to_string().into());
//!         }
//!         self.keys.insert(argv[1].clone(), (argv[2].clone(), until));
//!         propagated
//!     }
//! }
//!
//! impl Server for Small {
//!     type Snapshot = Small;
//!
//!     fn execute(&mut self, unit: &[Command], now_ms: u64) {
//!         let propagated = self.run(&unit[0].argv, now_ms);
//!         encode_command(&propagated, &mut self.stream);
//!     }
//!     fn reclaim(&mut self, now_ms: u64) {
//!         let dead = |(_, (_, until)): &(&Bytes, &(Bytes, Option<u64>))| until.is_some_and(|ms| now_ms > ms);
//!         let dead: Vec<_> = self.keys.iter().filter(dead).map(|(key, _)| key.clone()).collect();
//!         for key in dead {
//!             self.keys.remove(&key);
//!             encode_command(&["DEL".into(), key], &mut self.stream);
//!         }
//!     }
//!     fn apply(&mut self, command: &[u8], now_ms: u64) -> Result<(), Box<dyn std::error::Error>> {
//!         let argv = CommandParser::new(Limits::default()).next(&mut BytesMut::from(command))?;
//!         self.run(&argv.ok_or("half a command")?, now_ms);
//!         self.stream.extend(command);
//!         Ok(())
//!     }
//!     fn stored(&self) -> Stored {
//!         let mut stored = Stored::default();
//!         for (key, (value, until)) in &self.keys {
//!             stored.put(0, key.clone(), StoredValue::Text(value.clone(), *until));
//!         }
//!         stored
//!     }
//!     fn retained(&self) -> Retained {
//!         Retained { first: self.first, end: self.first + self.stream.len() as u64 }
//!     }
//!     fn read(&self, from: u64) -> Vec<u8> {
//!         self.stream[(from - self.first) as usize..].to_vec()
//!     }
//!     fn set_backlog_bytes(&mut self, _: u64) {}
//!     fn history(&self) -> History {
//!         self.history
//!     }
//!     fn snapshot(&mut self) -> Small {
//!         self.clone()
//!     }
//!     fn load(&mut self, copy: Small) {
//!         let (first, history) = (copy.retained().end, History::new(copy.history.replid));
//!         *self = Small { first, history, stream: Vec::new(), ..copy };
//!     }
//!     fn resume(&mut self, replid: ReplicationId) {
//!         if replid != self.history.replid {
//!             self.promote(replid);
//!         }
//!     }
//!     fn promote(&mut self, replid: ReplicationId) {
//!         self.history = self.history.shifted(replid, self.retained().end);
//!     }
//! }
//!
//! let commands = prop::sample::select(vec!["SET s 1 PX 5", "SET s 2", "SET t 3 PX 9", "DEL s"]);
//! let convergence = Convergence::of(commands.prop_map(argv)).databases(1).transactions(false).sequences(200);
//! let small = |relative| {
//!     move |replid| {
//!         let (keys, stream, history) = (BTreeMap::new(), Vec::new(), History::new(replid));
//!         Small { relative, keys, stream, first: 0, history }
//!     }
//! };
//! let seen = convergence.check(small(false))?;
//! assert!(seen.partial_resyncs > 0 && seen.promotions > 0);
//!
//! let wrong = convergence.check(small(true)).unwrap_err().to_string();
//! assert!(wrong.starts_with("BROKEN  convergence: "), "{wrong}");
//! assert!(wrong.contains(" PX "), "{wrong}");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! `proofs/examples/convergence.rs` has a larger one, with replcore's own parts, and more ways to be wrong:
//! `cargo run -p replcore-proofs --example convergence -- wrong`.
//!
//! # Limits
//!
//! It samples. Reordering within a link does not happen (TCP has none), and a copy is one step.

pub mod commands;
mod finding;
mod step;
mod stored;
mod truth;
mod world;

use std::fmt;
use std::panic::{self, AssertUnwindSafe};

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

pub use self::finding::{Counterexample, Violation};
use self::step::{Ingredients, Step};
pub use self::stored::{Stored, StoredValue};
use self::world::World;
use crate::resync::{Decision, History, PsyncRequest, ReplicationId, Retained, decide};
use crate::rewrite::Argv;

/// The time at which a run begins, in milliseconds since the Unix epoch.
pub const START_MS: u64 = 1_000_000;

/// A command and the database it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// The database that the client has selected.
    pub db: u16,
    /// The words, the command's name first.
    pub argv: Argv,
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}]", self.db)?;
        self.argv.iter().try_for_each(|word| write!(f, " {}", word.escape_ascii()))
    }
}

/// A server, as the harness drives it.
pub trait Server {
    /// What a full resync transfers, the offset included.
    type Snapshot;

    /// Executes a unit as a primary: one command, or several that are one transaction. What it writes into
    /// its stream is read from there. A command that it does not take is answered with an error by a real
    /// server: here it does nothing.
    fn execute(&mut self, unit: &[Command], now_ms: u64);

    /// Active expiry, as a primary, until nothing dead is left.
    fn reclaim(&mut self, now_ms: u64);

    /// Applies one whole command of the stream it follows, as it came; `MULTI` and `EXEC` are commands.
    /// `now_ms` is what its own clock says.
    ///
    /// # Errors
    /// What it cannot apply.
    fn apply(&mut self, command: &[u8], now_ms: u64) -> Result<(), Box<dyn std::error::Error>>;

    /// All that it stores, what is dead included.
    fn stored(&self) -> Stored;

    /// The offsets from which it can send. The end is what a replica acknowledges: whole units.
    fn retained(&self) -> Retained;

    /// The bytes of its stream from an offset that is retained to the end.
    fn read(&self, from: u64) -> Vec<u8>;

    /// Says how many bytes behind the end it has to retain at least.
    fn set_backlog_bytes(&mut self, bytes: u64);

    /// The history that its stream continues.
    fn history(&self) -> History;

    /// Its answer to a replica. Unless it has a better one, [`decide`].
    fn psync(&self, request: &PsyncRequest) -> Decision {
        decide(&self.history(), self.retained(), request)
    }

    /// A copy for a replica, which reads on at [`retained`](Self::retained)`().end`.
    fn snapshot(&mut self) -> Self::Snapshot;

    /// Becomes a replica with this copy: what it had is gone, its history is that of the copy.
    fn load(&mut self, snapshot: Self::Snapshot);

    /// Becomes, or stays, a replica that continues its stream where it ends, under this ID. A transaction of
    /// which not all has come will come again.
    fn resume(&mut self, replid: ReplicationId);

    /// Becomes a primary with a new history. A transaction of which not all has come has not happened.
    fn promote(&mut self, replid: ReplicationId);
}

/// What a check has seen: a property that nothing could break was not checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Seen {
    /// Sequences.
    pub sequences: u64,
    /// Steps that did something.
    pub steps: u64,
    /// Units that wrote something.
    pub units: u64,
    /// Those of them that were of several commands.
    pub transactions: u64,
    /// Commands that were applied.
    pub applied: u64,
    /// Turns of active expiry that wrote something.
    pub reclaimed: u64,
    /// Links that broke.
    pub cuts: u64,
    /// Continuations.
    pub partial_resyncs: u64,
    /// Full copies.
    pub full_resyncs: u64,
    /// Full copies because the backlog was too short.
    pub trimmed_away: u64,
    /// Replicas that began to follow a replica.
    pub chained: u64,
    /// Promotions.
    pub promotions: u64,
    /// Old primaries that came back.
    pub demotions: u64,
}

/// A check to be made: what is random in it, and how much of it.
#[derive(Clone, Debug)]
pub struct Convergence {
    ingredients: Ingredients,
    sequences: u32,
    longest: usize,
    seed: u64,
}

impl Convergence {
    /// Sequences of these commands.
    pub fn of(commands: impl Strategy<Value = Argv> + 'static) -> Self {
        let ingredients = Ingredients {
            commands: commands.boxed(),
            databases: 2,
            transactions: true,
            failover: true,
            servers: 3,
        };
        Self { ingredients, sequences: 1000, longest: 60, seed: 0 }
    }

    /// So many sequences; 1000 if not said.
    #[must_use]
    pub fn sequences(self, sequences: u32) -> Self {
        Self { sequences, ..self }
    }

    /// Of at most so many steps; 60 if not said.
    #[must_use]
    pub fn longest(self, longest: usize) -> Self {
        Self { longest: longest.max(1), ..self }
    }

    /// Other random choices. The same seed makes the same ones.
    #[must_use]
    pub fn seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    /// Commands for databases 0 to below this; 2 if not said.
    #[must_use]
    pub fn databases(mut self, databases: u16) -> Self {
        self.ingredients.databases = databases.max(1);
        self
    }

    /// Whether several commands are one unit at times; they are if not said.
    #[must_use]
    pub fn transactions(mut self, transactions: bool) -> Self {
        self.ingredients.transactions = transactions;
        self
    }

    /// Whether replicas are promoted; they are if not said.
    #[must_use]
    pub fn failover(mut self, failover: bool) -> Self {
        self.ingredients.failover = failover;
        self
    }

    /// Runs the sequences. `new` makes an empty server that has a history of this ID.
    ///
    /// # Errors
    /// The first property that broke, with a short sequence that breaks it.
    pub fn check<S: Server>(&self, new: impl Fn(ReplicationId) -> S) -> Result<Seen, Box<Counterexample>> {
        let config = Config {
            cases: self.sequences,
            failure_persistence: None,
            max_shrink_iters: 50_000,
            ..Config::default()
        };
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&self.seed.to_le_bytes());
        let random = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);
        let steps = prop::collection::vec(self.ingredients.step(), 1..=self.longest);
        let seen = std::cell::Cell::new(Seen::default());
        let result = TestRunner::new_with_rng(config, random).run(&steps, |steps| {
            let mut world = World::new(&new, self.ingredients.servers);
            world.seen = seen.get();
            let result = caught(|| world.run(&steps));
            seen.set(Seen { sequences: world.seen.sequences + 1, ..world.seen });
            result.map_err(|violation| TestCaseError::fail(violation.to_string()))
        });
        match result {
            Ok(()) => Ok(seen.get()),
            Err(TestError::Fail(_, steps)) => Err(Box::new(self.tell(&new, steps))),
            Err(TestError::Abort(reason)) => unreachable!("nothing is rejected: {reason}"),
        }
    }

    /// Leaves out what can be left out, and runs the rest once more for the record.
    fn tell<S: Server>(&self, new: &impl Fn(ReplicationId) -> S, mut steps: Vec<Step>) -> Counterexample {
        let run = |steps: &[Step]| {
            let mut world = World::new(new, self.ingredients.servers);
            let result = caught(|| world.run(steps));
            (result, world)
        };
        let mut at = steps.len();
        while at > 0 {
            at -= 1;
            let mut fewer = steps.clone();
            fewer.remove(at);
            if run(&fewer).0.is_err() {
                // What stood behind it may be left out now.
                at = fewer.len();
                steps = fewer;
            }
        }
        let (result, world) = run(&steps);
        let violation = result.err().unwrap_or_else(|| Violation::Panicked {
            message: "it broke a property, and did not when the same was done again: it is not deterministic"
                .into(),
        });
        Counterexample { violation, servers: world.servers(), steps: world.told }
    }
}

/// A panic of a server is a finding, not the end.
fn caught(run: impl FnOnce() -> Result<(), Violation>) -> Result<(), Violation> {
    panic::catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let message = panic.downcast_ref::<String>().cloned();
        let message = message.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
        Err(Violation::Panicked { message: message.unwrap_or_else(|| "without a message".into()) })
    })
}

#[cfg(test)]
mod tests;
