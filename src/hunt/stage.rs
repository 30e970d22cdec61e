//! The two servers with the link between them, and what happens there: steps, catching up, comparison,
//! promotion.
//!
//! A comparison is of one offset: the replica has caught up, both states are read, and both offsets are still
//! what they were. If they are not (an expired key was deleted by the reading itself, active expiry removed a
//! field), the reading is repeated. Before the comparison that ends a sequence everything is calm again: the
//! link delivers, the replica runs, the clocks are right.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rustix::process::Signal;

use super::client::argv;
use super::command::Step;
use super::error::HuntError;
use super::link::Link;
use super::state::{Difference, State, compare, compare_promoted};
use super::target::{Node, info_field};
use crate::resp::Reply;

/// How long a replica may take to catch up; a full resync is within it.
const CATCH_UP: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_micros(500);
/// How much later than a deadline it has certainly passed.
const PAST_MS: u64 = 3;
/// Servers do not look at the system's clock for each command: how long one that was changed takes to be
/// noticed.
const NOTICE_CLOCK: Duration = Duration::from_millis(10);
/// After a wrong clock a difference counts if it is there still so much later.
const DOUBT: Duration = Duration::from_millis(250);

/// What a hunt did so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Sequences, replays included.
    pub sequences: u64,
    /// Commands.
    pub commands: u64,
    /// Comparisons of both servers' states.
    pub comparisons: u64,
    /// Times the link was held back.
    pub holds: u64,
    /// Times the link was cut.
    pub cuts: u64,
    /// Times the link became slow.
    pub delays: u64,
    /// Times the replica was stopped.
    pub stops: u64,
    /// Times a clock was made wrong.
    pub skews: u64,
    /// Promotions of the replica, each followed by a full resync.
    pub promotions: u64,
}

/// What a step did.
#[derive(Debug, Default)]
pub(super) struct Played {
    /// What was sent to the primary and what it answered.
    pub calls: Vec<(Vec<Bytes>, Reply)>,
    /// What a promotion showed.
    pub difference: Option<Difference>,
}

/// The two servers and the link.
pub(super) struct Stage {
    pub primary: Node,
    pub replica: Node,
    pub counts: Counts,
    /// Whether active expiry can be switched.
    pub can_switch_expiry: bool,
    link: Link,
    link_host: String,
    keys: Vec<Bytes>,
    stop: Arc<AtomicBool>,
    now: Now,
}

/// What is out of order at the moment.
#[derive(Default)]
struct Now {
    /// What the primary had at the offset at which the link was held.
    held: Option<State>,
    stopped: bool,
    skewed: bool,
    /// When all short deadlines have passed.
    outlived: Option<Instant>,
}

impl Stage {
    /// Attaches the replica through a link of its own, and switches active expiry off.
    pub fn set(
        mut primary: Node,
        replica: Node,
        link_host: &str,
        keys: Vec<Bytes>,
        stop: Arc<AtomicBool>,
    ) -> Result<Stage, HuntError> {
        let link = Link::to(primary.address, link_host)?;
        let switched = primary.client.call(&argv!["DEBUG", "SET-ACTIVE-EXPIRE", 0])?;
        let mut stage = Stage {
            primary,
            replica,
            counts: Counts::default(),
            can_switch_expiry: !matches!(switched, Reply::Error(_)),
            link,
            link_host: link_host.to_owned(),
            keys,
            stop,
            now: Now::default(),
        };
        stage.attach()?;
        Ok(stage)
    }

    /// Whether the user wants to end.
    pub fn is_ending(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Runs a sequence on empty servers. What it shows, if anything.
    pub fn run(&mut self, steps: &[Step]) -> Result<Option<Difference>, HuntError> {
        self.begin()?;
        for step in steps {
            let played = self.step(step)?;
            if played.difference.is_some() {
                return Ok(played.difference);
            }
        }
        self.end()
    }

    /// Empties both servers.
    pub fn begin(&mut self) -> Result<(), HuntError> {
        self.calm()?;
        self.now.outlived = None;
        self.counts.sequences += 1;
        self.switch_expiry(false)?;
        self.primary.client.demand(&argv!["FLUSHDB"])?;
        Ok(())
    }

    /// One step.
    pub fn step(&mut self, step: &Step) -> Result<Played, HuntError> {
        let mut played = Played::default();
        match step {
            Step::Run(_) => played.calls = self.send(step)?,
            Step::Outlive => {
                if let Some(outlived) = self.now.outlived {
                    thread::sleep(outlived.saturating_duration_since(Instant::now()));
                }
            }
            Step::Pause(ms) => thread::sleep(Duration::from_millis((*ms).into())),
            Step::Hold => self.hold()?,
            Step::Release => self.release(),
            Step::Cut => {
                self.link.cut();
                self.counts.cuts += 1;
            }
            Step::Delay(ms) => {
                self.link.delay(*ms);
                self.counts.delays += 1;
            }
            Step::Stop if self.replica.pid.is_some() && !self.now.stopped => {
                self.replica.signal(Signal::STOP)?;
                self.now.stopped = true;
                self.counts.stops += 1;
            }
            Step::Stop => {}
            Step::Continue => self.go_on()?,
            Step::Skew(side, ms) => {
                match side {
                    super::Side::Primary => self.primary.skew(*ms)?,
                    super::Side::Replica => self.replica.skew(*ms)?,
                }
                thread::sleep(NOTICE_CLOCK);
                self.now.skewed = true;
                self.counts.skews += 1;
            }
            Step::ActiveExpiry(on) => self.switch_expiry(*on)?,
            Step::Promote => played.difference = self.promote()?,
        }
        Ok(played)
    }

    /// Lets the replica catch up and compares.
    pub fn end(&mut self) -> Result<Option<Difference>, HuntError> {
        let was_skewed = self.now.skewed;
        self.calm()?;
        self.counts.comparisons += 1;
        let (_, primary, replica) = self.settled()?;
        let difference = compare(primary, replica);
        if difference.is_none() || !was_skewed {
            return Ok(difference);
        }
        thread::sleep(DOUBT);
        let (_, primary, replica) = self.settled()?;
        Ok(compare(primary, replica))
    }

    /// Whether the replica can follow at the moment.
    pub fn is_flowing(&self) -> bool {
        self.now.held.is_none() && !self.now.stopped
    }

    /// Both states at one offset, and the offset.
    pub fn settled(&mut self) -> Result<(u64, State, State), HuntError> {
        let start = Instant::now();
        loop {
            let offset = self.catch_up()?;
            let primary = State::read(&mut self.primary, &self.keys)?;
            let replica = State::read(&mut self.replica, &self.keys)?;
            if self.offsets()? == (offset, Some(offset)) {
                return Ok((offset, primary, replica));
            }
            if start.elapsed() > CATCH_UP {
                return Err(self.not_caught_up("the stream does not come to rest".to_owned()));
            }
        }
    }

    /// The end of the primary's stream.
    pub fn primary_offset(&mut self) -> Result<u64, HuntError> {
        let info = self.primary.info("replication")?;
        let offset = info_field(&info, "master_repl_offset").and_then(|text| text.parse().ok());
        offset.ok_or_else(|| self.primary.client.unexpected("INFO replication", &Reply::Status(info)))
    }

    /// Leaves running servers as they can be used: the replica without a primary, active expiry on.
    pub fn leave(&mut self) -> Result<(), HuntError> {
        self.calm()?;
        self.switch_expiry(true)?;
        self.replica.client.demand(&argv!["REPLICAOF", "NO", "ONE"])?;
        Ok(())
    }

    fn send(&mut self, step: &Step) -> Result<Vec<(Vec<Bytes>, Reply)>, HuntError> {
        let commands = step.commands();
        let needs_clock = commands.iter().any(|command| command.needs_clock());
        let now_ms = if needs_clock { self.primary.time_ms()? } else { 0 };
        let mut sent: Vec<Vec<Bytes>> = commands.iter().map(|command| command.render(now_ms)).collect();
        self.counts.commands += sent.len() as u64;
        if sent.len() > 1 {
            sent.insert(0, argv!["MULTI"].to_vec());
            sent.push(argv!["EXEC"].to_vec());
        }
        let replies = self.primary.client.calls(&sent)?;
        if let Some(short_ms) = commands.iter().filter_map(|command| command.short_ms()).max() {
            let passed = Duration::from_millis(short_ms.unsigned_abs() + PAST_MS);
            self.now.outlived = self.now.outlived.max(Some(Instant::now() + passed));
        }
        Ok(sent.into_iter().zip(replies).collect())
    }

    fn switch_expiry(&mut self, on: bool) -> Result<(), HuntError> {
        if self.can_switch_expiry {
            self.primary.client.demand(&argv!["DEBUG", "SET-ACTIVE-EXPIRE", u8::from(on)])?;
        }
        Ok(())
    }

    /// Ends every disturbance.
    fn calm(&mut self) -> Result<(), HuntError> {
        self.go_on()?;
        self.release();
        self.link.delay(0);
        if self.now.skewed {
            self.primary.skew(0)?;
            self.replica.skew(0)?;
            thread::sleep(NOTICE_CLOCK);
            self.now.skewed = false;
        }
        Ok(())
    }

    fn go_on(&mut self) -> Result<(), HuntError> {
        if self.now.stopped {
            self.replica.signal(Signal::CONT)?;
            self.now.stopped = false;
        }
        Ok(())
    }

    fn release(&mut self) {
        self.link.hold(false);
        self.now.held = None;
    }

    /// Holds the link at an offset that both have reached, and keeps what the primary has there.
    fn hold(&mut self) -> Result<(), HuntError> {
        if !self.is_flowing() {
            return Ok(());
        }
        let start = Instant::now();
        loop {
            let offset = self.catch_up()?;
            self.link.hold(true);
            let state = State::read(&mut self.primary, &self.keys)?;
            if self.offsets()? == (offset, Some(offset)) {
                self.now.held = Some(state);
                self.counts.holds += 1;
                return Ok(());
            }
            self.link.hold(false);
            if start.elapsed() > CATCH_UP {
                return Err(self.not_caught_up("the stream does not come to rest".to_owned()));
            }
        }
    }

    fn promote(&mut self) -> Result<Option<Difference>, HuntError> {
        self.go_on()?;
        let before = match self.now.held.take() {
            Some(state) => state,
            None => self.settled()?.1,
        };
        self.counts.promotions += 1;
        self.counts.comparisons += 1;
        self.replica.client.demand(&argv!["REPLICAOF", "NO", "ONE"])?;
        let promoted = State::read(&mut self.replica, &self.keys)?;
        self.release();
        self.attach()?;
        Ok(compare_promoted(before, promoted))
    }

    fn attach(&mut self) -> Result<(), HuntError> {
        self.link.delay(0);
        self.replica.client.demand(&argv!["REPLICAOF", self.link_host, self.link.port()])?;
        self.catch_up().map(drop)
    }

    /// Waits until the replica has applied the primary's whole stream. The offset at which it was so.
    fn catch_up(&mut self) -> Result<u64, HuntError> {
        let start = Instant::now();
        loop {
            let (offset, applied) = self.offsets()?;
            if applied == Some(offset) {
                return Ok(offset);
            }
            if start.elapsed() > CATCH_UP {
                return Err(self.not_caught_up(format!("it has applied {applied:?} of {offset}")));
            }
            thread::sleep(POLL);
        }
    }

    /// The end of the primary's stream, and how far the replica is if it is attached.
    fn offsets(&mut self) -> Result<(u64, Option<u64>), HuntError> {
        if let Some(error) = self.primary.ended().or_else(|| self.replica.ended()) {
            return Err(error);
        }
        let offset = self.primary_offset()?;
        let info = self.replica.info("replication")?;
        let attached = info_field(&info, "master_link_status") == Some("up");
        let applied = info_field(&info, "slave_repl_offset").and_then(|text| text.parse().ok());
        Ok((offset, applied.filter(|_| attached)))
    }

    fn not_caught_up(&self, last: String) -> HuntError {
        HuntError::NotCaughtUp { waited_s: CATCH_UP.as_secs(), last }
    }
}
