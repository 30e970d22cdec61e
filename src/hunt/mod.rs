//! The divergence hunt: does a replica agree with its primary, whatever happens to the link, the clocks and
//! the processes?
//!
//! # Promise
//!
//! Two servers, a primary and its replica, are given random commands about things that expire, while the link
//! between them is slow, held or cut, the replica is stopped or promoted, and clocks are wrong. When all is
//! quiet, what both have *stored* has to be equal: hidden, dead fields included. If it is not, the sequence
//! is shrunk to the few steps that it takes, replayed to be sure, and told step by step: what was sent, what
//! was answered, what the primary propagated, what both sides have. It needs only the wire protocol, so the
//! servers can be anybody's.
//!
//! A hunt that finds nothing has shown nothing but that: it searches, it does not prove. A finding is a fact.
//!
//! # How
//!
//! ```text
//! generate ─► stage ─► state: equal? ──yes──► next sequence
//!               │         │no
//!               │         └─► shrink (replays on the stage) ─► finding ─► report
//!           primary ── link ── replica
//! ```
//!
//! | part | subject |
//! |---|---|
//! | `target`, `client` | servers that are given or started; their processes and clocks; a connection |
//! | `link` | the proxy between them |
//! | `command`, `generate` | sequences: replayable steps, and how they are drawn |
//! | `stage` | playing a sequence; offsets, promotion |
//! | `state` | what is stored, and how it differs |
//! | `shrink` | the minimal sequence |
//! | `finding`, `recorder` | the account of it |
//! | `report` | text and JSON |
//!
//! # What makes a difference
//!
//! * **At rest**: at one offset of the stream, type, deadline and content of each key, fields with values and
//!   deadlines, and the number of keys. What is compared is what `DUMP` answers, for it contains what readers
//!   do not see.
//! * **At a promotion**: the promoted replica against what the primary had at the offset that the replica had
//!   reached. What was alive has to be there as it was; what was dead may be gone; there is nothing else.
//!
//! # What is not seen
//!
//! The content of a *key* that is dead by the replica's clock (only that it is there, by `DBSIZE`). What is
//! in other databases than 0: nothing is written there. Disturbances that the hunt has no means for, which it
//! says at the start: `SIGSTOP` without a process id, wrong clocks without libfaketime, dead fields that stay
//! without `DEBUG SET-ACTIVE-EXPIRE`.
//!
//! # Cost
//!
//! A sequence takes about 0.1 s, most of it waiting for deadlines of 10 ms; a promotion costs a full resync,
//! about a second.

mod client;
mod command;
mod error;
mod finding;
mod generate;
mod link;
mod recorder;
mod report;
mod shrink;
mod stage;
mod state;
mod target;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use self::client::argv;
use self::command::Step;
use self::generate::{Generator, Means, command_names};
use self::shrink::shrink;
use self::stage::Stage;
use self::state::Difference;
use self::target::{Node, Setup, find_faketime, info_field, known_commands, pid_of};

pub use self::error::HuntError;
pub use self::finding::{Finding, KeyStates, PlayedStep};
pub use self::report::Reporter;
pub use self::stage::Counts;
pub use self::state::Kind;
pub use self::target::{Side, Target};

/// How long a sequence may be shrunk.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often a sequence is replayed to see whether it shows the difference each time.
const REPLAYS: usize = 3;
/// Between two reports of progress.
const PROGRESS: Duration = Duration::from_secs(5);

/// What to hunt, where and for how long.
#[derive(Clone, Debug)]
pub struct Config {
    /// The server that is written to.
    pub primary: Target,
    /// The server that follows it; it is told so by `REPLICAOF`.
    pub replica: Target,
    /// Whether running servers that hold data may be emptied.
    pub flush: bool,
    /// The password of running servers.
    pub password: Option<String>,
    /// The process of a running replica, to stop and continue it.
    pub replica_pid: Option<i32>,
    /// The address at which the replica reaches the link, that is, this machine.
    pub link_host: String,
    /// The library that makes clocks wrong, if it is not where it usually is.
    pub faketime: Option<PathBuf>,
    /// What `self` starts; this program if `None`.
    pub itself: Option<PathBuf>,
    /// The seed of all random choices.
    pub seed: u64,
    /// When to end.
    pub duration: Duration,
    /// After how many sequences to end.
    pub iterations: Option<u64>,
    /// Whether to go on after the first finding. A command that was found guilty is left out from then on, so
    /// that others come to light.
    pub all_classes: bool,
    /// Commands to hunt with, by name; all if empty.
    pub commands: Vec<String>,
    /// Whether keys have names like `fnx` and `fields`, too.
    pub odd_keys: bool,
}

/// What a hunt says while it goes on.
#[derive(Debug)]
pub enum Event<'a> {
    /// Who is compared, and what will not be tried, in lines.
    Started(&'a [String]),
    /// It goes on.
    Progress(&'a Counts, Duration),
    /// A sequence showed a difference; it is being shrunk.
    Suspected {
        /// Which sequence, from 1 on.
        sequence: u64,
        /// How many steps it has.
        steps: usize,
        /// What it showed.
        text: &'a str,
    },
    /// A divergence of a class of its own.
    Found(&'a Finding),
    /// The end.
    Ended(&'a Summary),
}

/// What came of a hunt.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// The seed that it had.
    pub seed: u64,
    /// Random sequences that were played.
    pub sequences: u64,
    /// How long it took.
    pub elapsed: Duration,
    /// What was done to the servers.
    pub counts: Counts,
    /// Classes of findings, and how often each was met.
    pub classes: BTreeMap<String, u64>,
}

/// Hunts, and tells `tell` what happens. Ends early when `stop` becomes true.
///
/// # Errors
/// [`HuntError`]: the targets cannot be hunted. What is found is no error.
pub fn run(
    config: &Config,
    stop: Arc<AtomicBool>,
    tell: &mut dyn FnMut(Event<'_>),
) -> Result<Summary, HuntError> {
    let dir = tempfile::Builder::new()
        .prefix("replcore-hunt-")
        .tempdir()
        .map_err(|source| HuntError::System { what: "a directory for the servers".to_owned(), source })?;
    let faketime = config.faketime.clone().or_else(find_faketime);
    let setup = Setup {
        dir: dir.path(),
        faketime: faketime.as_deref(),
        password: config.password.as_deref(),
        itself: config.itself.as_deref(),
    };
    let mut hunt = Hunt::prepare(config, &setup, stop, tell)?;
    let ended = hunt.pursue(tell);
    let left = hunt.leave();
    ended.and(left)?;
    tell(Event::Ended(&hunt.summary));
    Ok(hunt.summary)
}

struct Hunt<'a> {
    config: &'a Config,
    stage: Stage,
    generator: Generator,
    summary: Summary,
    has_running: bool,
}

impl<'a> Hunt<'a> {
    fn prepare(
        config: &'a Config,
        setup: &Setup<'_>,
        stop: Arc<AtomicBool>,
        tell: &mut dyn FnMut(Event<'_>),
    ) -> Result<Hunt<'a>, HuntError> {
        let mut primary = Node::open(Side::Primary, &config.primary, setup)?;
        let mut replica = Node::open(Side::Replica, &config.replica, setup)?;
        replica.pid = replica.pid.or_else(|| config.replica_pid.and_then(pid_of));
        refuse_to_destroy(&mut primary, &mut replica, config.flush)?;
        let mut notes = vec![format!(
            "primary {} at {}, replica {} at {}; seed {}",
            primary.version()?,
            primary.address,
            replica.version()?,
            replica.address,
            config.seed
        )];
        for node in [&primary, &replica] {
            let refusal = node.clock_refusal.as_ref();
            notes.extend(refusal.map(|refusal| format!("no wrong clock of the {}: {refusal}", node.side)));
        }
        let known = common_commands(&config.commands, &mut primary, &mut replica, &mut notes)?;
        primary.client.demand(&argv!["FLUSHALL"])?;
        let means = Means {
            stop: replica.pid.is_some(),
            skew_primary: primary.has_clock(),
            skew_replica: replica.has_clock(),
            switch_expiry: true,
        };
        let keys = Generator::new(0, &known, config.odd_keys, means).keys().to_vec();
        let has_running = !primary.is_own() || !replica.is_own();
        let stage = Stage::set(primary, replica, &config.link_host, keys, stop)?;
        let means = Means { switch_expiry: stage.can_switch_expiry, ..means };
        note_means(means, &mut notes);
        tell(Event::Started(&notes));
        let generator = Generator::new(config.seed, &known, config.odd_keys, means);
        let summary = Summary { seed: config.seed, ..Summary::default() };
        Ok(Hunt { config, stage, generator, summary, has_running })
    }

    fn pursue(&mut self, tell: &mut dyn FnMut(Event<'_>)) -> Result<(), HuntError> {
        let start = Instant::now();
        let mut told = start;
        while start.elapsed() < self.config.duration
            && self.config.iterations.is_none_or(|most| self.summary.sequences < most)
            && !self.stage.is_ending()
            && !self.generator.is_exhausted()
        {
            let steps = self.generator.sequence();
            self.summary.sequences += 1;
            if let Some(difference) = self.stage.run(&steps)? {
                let sequence = self.summary.sequences;
                tell(Event::Suspected { sequence, steps: steps.len(), text: &difference.text });
                let is_certain = self.investigate(&steps, &difference, tell)?;
                if is_certain && !self.config.all_classes {
                    break;
                }
            }
            if told.elapsed() > PROGRESS {
                told = Instant::now();
                tell(Event::Progress(&self.stage.counts, start.elapsed()));
            }
        }
        self.summary.elapsed = start.elapsed();
        self.summary.counts = self.stage.counts;
        Ok(())
    }

    /// Shrinks and tells; whether that is a new class, for certain.
    fn investigate(
        &mut self,
        steps: &[Step],
        seen: &Difference,
        tell: &mut dyn FnMut(Event<'_>),
    ) -> Result<bool, HuntError> {
        let minimal = self.shrink(steps)?;
        let password = self.config.password.as_deref();
        let finding =
            Finding::investigate(&mut self.stage, &minimal, seen, self.summary.sequences, password)?;
        let times = self.summary.classes.entry(finding.class()).or_insert(0);
        *times += 1;
        let is_new = *times == 1;
        if is_new {
            tell(Event::Found(&finding));
        }
        if finding.is_confirmed() {
            self.generator.leave_out(&finding.culprit);
        }
        Ok(is_new && finding.is_confirmed())
    }

    /// The minimal sequence; all of `steps` if they do not show the difference again.
    fn shrink(&mut self, steps: &[Step]) -> Result<Vec<Step>, HuntError> {
        let start = Instant::now();
        let stage = &mut self.stage;
        let mut failed = None;
        let mut shows = |steps: &[Step]| match stage.run(steps) {
            _ if start.elapsed() > PATIENCE || stage.is_ending() => None,
            Ok(difference) => Some(difference.is_some()),
            Err(error) => {
                failed = Some(error);
                None
            }
        };
        let times = (0..REPLAYS).filter(|_| shows(steps) == Some(true)).count();
        // What was a race may be certain once a deadline has time to pass at the right place.
        let certain = match times {
            REPLAYS => None,
            _ => unhurried(steps).find(|steps| shows(steps) == Some(true)),
        };
        let minimal = match certain {
            Some(steps) => shrink(&steps, shows),
            None if times > 0 => shrink(steps, shows),
            None => steps.to_vec(),
        };
        failed.map_or(Ok(minimal), Err)
    }

    fn leave(&mut self) -> Result<(), HuntError> {
        if self.has_running { self.stage.leave() } else { Ok(()) }
    }
}

/// The same steps with room for deadlines to be met, and a wait for them at one place, for each place.
fn unhurried(steps: &[Step]) -> impl Iterator<Item = Vec<Step>> {
    let with_room: Vec<Step> = steps.iter().map(Step::with_room).collect();
    (1..with_room.len()).rev().map(move |at| {
        let mut steps = with_room.clone();
        steps.insert(at, Step::Outlive);
        steps
    })
}

/// Running servers with data are left alone, unless that was permitted; and the primary has to be one.
fn refuse_to_destroy(primary: &mut Node, replica: &mut Node, flush: bool) -> Result<(), HuntError> {
    if primary.address == replica.address {
        return Err(HuntError::SameServer { address: primary.address });
    }
    let replication = primary.info("replication")?;
    if info_field(&replication, "role") == Some("slave") {
        return Err(HuntError::NotAPrimary { address: primary.address });
    }
    for node in [primary, replica] {
        let keys = stored_keys(&node.info("keyspace")?);
        if keys > 0 && !flush {
            return Err(HuntError::NotEmpty { side: node.side, address: node.address, keys });
        }
    }
    Ok(())
}

/// How many keys all databases have.
fn stored_keys(keyspace: &str) -> u64 {
    let keys = |line: &str| line.split_once("keys=")?.1.split(',').next()?.trim().parse::<u64>().ok();
    keyspace.lines().filter_map(keys).sum()
}

/// The commands that both servers know; others are noted.
fn common_commands(
    wanted: &[String],
    primary: &mut Node,
    replica: &mut Node,
    notes: &mut Vec<String>,
) -> Result<Vec<&'static str>, HuntError> {
    let mut known = command_names();
    if let Some(unknown) =
        wanted.iter().find(|name| !known.iter().any(|known| known.eq_ignore_ascii_case(name)))
    {
        return Err(HuntError::UnknownCommand(unknown.clone()));
    }
    known.retain(|known| wanted.is_empty() || wanted.iter().any(|name| name.eq_ignore_ascii_case(known)));
    for node in [primary, replica] {
        let of_this = known_commands(node, &known)?;
        let unknown: Vec<&str> = known.iter().filter(|name| !of_this.contains(name)).copied().collect();
        if !unknown.is_empty() {
            notes.push(format!("not tried, for the {} does not know them: {}", node.side, unknown.join(" ")));
        }
        known = of_this;
    }
    if known.is_empty() { Err(HuntError::NoCommands) } else { Ok(known) }
}

fn note_means(means: Means, notes: &mut Vec<String>) {
    let mut missing = |present: bool, note: &str| {
        if !present {
            notes.push(note.to_owned());
        }
    };
    missing(means.stop, "not tried: stopping the replica (--replica-pid names its process)");
    missing(
        means.skew_primary,
        "not tried: a wrong clock of the primary (needs libfaketime, and a server started by the hunt)",
    );
    missing(
        means.skew_replica,
        "not tried: a wrong clock of the replica (needs libfaketime, and a server started by the hunt)",
    );
    missing(
        means.switch_expiry,
        "the primary refuses DEBUG SET-ACTIVE-EXPIRE: dead fields may be gone before a command meets them",
    );
}
