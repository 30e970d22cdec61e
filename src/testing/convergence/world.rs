//! The servers, their clocks, the links between them, and what has to hold of them.

use std::sync::Arc;

use super::finding::Violation;
use super::step::Step;
use super::truth::{self, Log};
use super::{Command, START_MS, Seen, Server};
use crate::resync::{Decision, FullReason, PsyncRequest, ReplicationId, RequestedId};

type Checked = Result<(), Violation>;

/// Clocks differ from the beginning, more than any deadline is away.
const SKEWS_MS: [i64; 3] = [0, 500, -500];
/// What backlogs retain, but for the moment of a [`Step::Trim`].
const BACKLOG_BYTES: u64 = 1 << 20;

/// What is on its way from one server to another.
struct Link {
    to: usize,
    /// As far as it was taken from there.
    sent: u64,
    /// As far as it has arrived.
    received: u64,
    way: Vec<u8>,
}

struct Node<S> {
    server: S,
    skew_ms: i64,
    is_primary: bool,
    link: Option<Link>,
    /// What it has of the streams that were written.
    log: Log,
    /// The ID of its history, and the one before, if it has a right to know that.
    ids: (ReplicationId, Option<ReplicationId>),
}

/// Some servers.
pub(super) struct World<S> {
    nodes: Vec<Node<S>>,
    now_ms: u64,
    /// The server that was promoted last.
    primary: usize,
    next_id: u64,
    pub(super) seen: Seen,
    /// What was done, step by step.
    pub(super) told: Vec<String>,
}

impl<S: Server> World<S> {
    pub(super) fn new(new: &impl Fn(ReplicationId) -> S, servers: usize) -> Self {
        let mut world = Self {
            nodes: Vec::new(),
            now_ms: START_MS,
            primary: 0,
            next_id: 1,
            seen: Seen::default(),
            told: Vec::new(),
        };
        for number in 0..servers {
            let id = world.new_id();
            let mut server = new(id);
            server.set_backlog_bytes(BACKLOG_BYTES);
            let log = Log::new(server.retained().end, server.stored());
            let skew_ms = SKEWS_MS[number % SKEWS_MS.len()];
            let ids = (id, None);
            world.nodes.push(Node { server, skew_ms, is_primary: number == 0, link: None, log, ids });
        }
        world
    }

    fn new_id(&mut self) -> ReplicationId {
        let mut bits = [0; 20];
        bits[12..].copy_from_slice(&self.next_id.to_be_bytes());
        self.next_id += 1;
        ReplicationId::from_random(bits)
    }

    /// Runs the steps, then lets all become quiet.
    pub(super) fn run(&mut self, steps: &[Step]) -> Checked {
        for step in steps {
            self.step(step)?;
        }
        self.settle()
    }

    fn tell(&mut self, line: String) {
        self.seen.steps += 1;
        self.told.push(line);
    }

    /// Adds a line to the step told last.
    fn add(&mut self, line: &str) {
        if let Some(step) = self.told.last_mut() {
            step.push('\n');
            step.push_str(line);
        }
    }

    fn clock_ms(&self, server: usize) -> u64 {
        self.now_ms.saturating_add_signed(self.nodes[server].skew_ms)
    }

    /// One of those who believe to be primaries.
    fn primary(&self, choice: usize) -> usize {
        let stale = self.nodes.iter().enumerate().filter(|(at, node)| node.is_primary && *at != self.primary);
        stale.map(|(at, _)| at).cycle().take(choice).last().unwrap_or(self.primary)
    }

    fn step(&mut self, step: &Step) -> Checked {
        match step {
            Step::Execute { primary, unit } => self.execute(self.primary(*primary), unit),
            Step::Reclaim { primary } => self.reclaim(self.primary(*primary)),
            Step::Pass { ms } => {
                self.now_ms += ms;
                self.tell(format!("{ms} ms pass"));
                self.check()
            }
            Step::Skew { server, ms } => {
                self.nodes[*server].skew_ms = *ms;
                self.tell(format!("the clock of server {server} is set to {}", self.clock_ms(*server)));
                self.check()
            }
            Step::Deliver { server, commands } => self.deliver(*server, *commands),
            Step::Cut { server } => {
                if self.nodes[*server].link.take().is_some() {
                    self.seen.cuts += 1;
                    self.tell(format!("the link of server {server} breaks"));
                }
                self.check()
            }
            Step::Follow { server, of } => self.follow(*server, *of),
            Step::Trim { server, bytes } => {
                let backlog = &mut self.nodes[*server].server;
                backlog.set_backlog_bytes(*bytes);
                let first = backlog.retained().first;
                backlog.set_backlog_bytes(BACKLOG_BYTES);
                self.tell(format!(
                    "server {server} trims its backlog to {bytes} bytes: it begins at {first}"
                ));
                self.check()
            }
            Step::Promote { server } => self.promote(*server),
        }
    }

    fn execute(&mut self, at: usize, unit: &[Command]) -> Checked {
        let now_ms = self.clock_ms(at);
        let lines: Vec<_> = unit.iter().map(ToString::to_string).collect();
        self.tell(format!("server {at}, at {now_ms}, executes {}", lines.join("; ")));
        self.nodes[at].server.execute(unit, now_ms);
        let is_written = self.record(at, unit.len() > 1)?;
        self.seen.units += u64::from(is_written);
        self.seen.transactions += u64::from(is_written && unit.len() > 1);
        self.check()
    }

    fn reclaim(&mut self, at: usize) -> Checked {
        let now_ms = self.clock_ms(at);
        self.tell(format!("server {at}, at {now_ms}, reclaims what is dead"));
        self.nodes[at].server.reclaim(now_ms);
        self.seen.reclaimed += u64::from(self.record(at, false)?);
        self.check()
    }

    /// Takes down what a primary has just written. Says whether it did.
    fn record(&mut self, at: usize, is_transaction: bool) -> Result<bool, Violation> {
        let node = &mut self.nodes[at];
        let (from, stored) = (node.log.end(), node.server.stored());
        let (claimed, bytes) = (node.server.retained().end, node.server.read(from));
        let expected = from + bytes.len() as u64;
        if claimed != expected {
            return Err(Violation::Claim { server: at, claimed, expected });
        }
        if bytes.is_empty() {
            let before = node.log.stored().filter(|before| ***before != stored);
            return match before.cloned() {
                Some(before) => Err(Violation::Silent { server: at, before, stored: Box::new(stored) }),
                None => {
                    self.add("  writes nothing");
                    Ok(false)
                }
            };
        }
        let now_stored = format!("  stores {stored}");
        let written = node.log.write(&bytes, stored);
        self.add(&format!("  writes {}", truth::text(&bytes)));
        self.add(&now_stored);
        match written {
            None => Err(Violation::Torn { server: at, from }),
            Some(pieces) if is_transaction && pieces > 1 => {
                Err(Violation::NotAtomic { server: at, from, pieces })
            }
            Some(_) => Ok(true),
        }
    }

    /// Puts on their way the bytes that servers have for those who follow them, and looks at everybody.
    fn check(&mut self) -> Checked {
        for at in 0..self.nodes.len() {
            let Some((to, sent)) = self.nodes[at].link.as_ref().map(|link| (link.to, link.sent)) else {
                continue;
            };
            let bytes = self.nodes[to].server.read(sent);
            if !self.nodes[to].log.holds(sent, &bytes) {
                return Err(Violation::OtherBytes { server: to, from: sent });
            }
            if let Some(link) = &mut self.nodes[at].link {
                link.sent += bytes.len() as u64;
                link.way.extend(bytes);
            }
        }
        for (at, node) in self.nodes.iter().enumerate() {
            let (claimed, expected) = (node.server.retained().end, node.log.end());
            if claimed != expected {
                return Err(Violation::Claim { server: at, claimed, expected });
            }
            let stored = node.server.stored();
            if let Some(expected) = node.log.stored().filter(|expected| ***expected != stored) {
                return Err(Violation::Diverged {
                    server: at,
                    offset: claimed,
                    expected: Arc::clone(expected),
                    stored: Box::new(stored),
                });
            }
        }
        Ok(())
    }

    fn deliver(&mut self, at: usize, commands: usize) -> Checked {
        let now_ms = self.clock_ms(at);
        for _ in 0..commands {
            let Some(link) = &mut self.nodes[at].link else { break };
            let Some((len, command)) = truth::first_command(&link.way) else { break };
            let bytes: Vec<u8> = link.way.drain(..len).collect();
            link.received += len as u64;
            let (to, received) = (link.to, link.received);
            let piece = self.nodes[to].log.piece_to(received).cloned();
            self.seen.applied += 1;
            self.tell(format!("server {at}, at {now_ms}, applies {command}"));
            let node = &mut self.nodes[at];
            if let Err(error) = node.server.apply(&bytes, now_ms) {
                return Err(Violation::Refused { server: at, command, error: error.to_string() });
            }
            if let Some(piece) = piece {
                node.log.push(piece);
            }
            self.check()?;
        }
        Ok(())
    }

    fn follow(&mut self, at: usize, of: usize) -> Checked {
        let follows = |from: usize| self.nodes[from].link.as_ref().map(|link| link.to);
        let in_a_circle = std::iter::successors(Some(of), |from| follows(*from)).any(|from| from == at);
        let last_primary = self.nodes[at].is_primary && at == self.primary;
        // A server that never had a primary has nothing to give.
        if in_a_circle || last_primary || !(self.nodes[of].is_primary || follows(of).is_some()) {
            return Ok(());
        }
        let (asked, offset) = (self.nodes[at].server.history().replid, self.nodes[at].server.retained().end);
        let wanted = i64::try_from(offset).unwrap_or(i64::MAX).saturating_add(1);
        let request = PsyncRequest { id: RequestedId::Known(asked), wanted, failover: false };
        self.seen.chained += u64::from(!self.nodes[of].is_primary);
        self.seen.demotions += u64::from(self.nodes[at].is_primary);
        let is_continued = self.nodes[at].ids.0 == asked && self.may_continue(at, of);
        match self.nodes[of].server.psync(&request) {
            Decision::Partial { attach_offset } => {
                self.tell(format!("server {at} follows server {of}, which continues after {attach_offset}"));
                self.seen.partial_resyncs += 1;
                self.judge_partial(at, of, attach_offset)?;
                self.resume(at, of);
            }
            Decision::Full { reason } => {
                self.tell(format!("server {at} follows server {of} and is copied: {}", why(&reason)));
                self.seen.full_resyncs += 1;
                self.seen.trimmed_away += u64::from(matches!(reason, FullReason::BeforeBacklog { .. }));
                if is_continued {
                    return Err(Violation::PartialRefused { server: of, replica: at, offset, reason });
                }
                self.copy(at, of);
            }
        }
        self.check()
    }

    /// Whether a continuation is possible: the one has a prefix of what the other has, of a history that the
    /// other knows and has bytes of.
    fn may_continue(&self, at: usize, of: usize) -> bool {
        let (node, upstream) = (&self.nodes[at], &self.nodes[of]);
        let is_known = node.ids.0 == upstream.ids.0 || Some(node.ids.0) == upstream.ids.1;
        is_known && node.log.is_prefix_of(&upstream.log) && upstream.server.retained().first <= node.log.end()
    }

    /// Whether a continuation that was granted is safe.
    fn judge_partial(&self, at: usize, of: usize, attach_offset: u64) -> Checked {
        let (node, upstream) = (&self.nodes[at], &self.nodes[of]);
        let retained = upstream.server.retained();
        let reason = if !node.log.is_prefix_of(&upstream.log) {
            "what it has is not a prefix of the stream"
        } else if attach_offset != node.log.end() {
            "that is not where its stream ends"
        } else if !(retained.first..=retained.end).contains(&attach_offset) {
            "the backlog does not hold it"
        } else {
            return Ok(());
        };
        Err(Violation::PartialUnsafe { server: of, replica: at, attach_offset, reason })
    }

    /// A new link, from where the server stands.
    fn link(&mut self, at: usize, of: usize) {
        let from = self.nodes[at].log.end();
        self.nodes[at].is_primary = false;
        self.nodes[at].link = Some(Link { to: of, sent: from, received: from, way: Vec::new() });
    }

    /// Those who follow a server learn of its new history by coming back.
    fn hang_up_on_followers(&mut self, of: usize) {
        for node in &mut self.nodes {
            node.link.take_if(|link| link.to == of);
        }
    }

    fn resume(&mut self, at: usize, of: usize) {
        let (own, theirs) = (self.nodes[at].ids.0, self.nodes[of].ids.0);
        if own != theirs {
            self.nodes[at].ids = (theirs, Some(own));
            self.hang_up_on_followers(at);
        }
        let replid = self.nodes[of].server.history().replid;
        self.nodes[at].server.resume(replid);
        self.link(at, of);
    }

    fn copy(&mut self, at: usize, of: usize) {
        self.hang_up_on_followers(at);
        let snapshot = self.nodes[of].server.snapshot();
        self.nodes[at].server.load(snapshot);
        self.nodes[at].log = self.nodes[of].log.clone();
        self.nodes[at].ids = (self.nodes[of].ids.0, None);
        self.link(at, of);
    }

    fn promote(&mut self, at: usize) -> Checked {
        let has_followed = self.nodes[at].log.end() > 0 || self.nodes[at].link.is_some();
        if self.nodes[at].is_primary || !has_followed {
            return Ok(());
        }
        self.seen.promotions += 1;
        self.tell(format!("server {at} is promoted at offset {}", self.nodes[at].log.end()));
        let id = self.new_id();
        self.hang_up_on_followers(at);
        let node = &mut self.nodes[at];
        node.server.promote(id);
        node.ids = (id, Some(node.ids.0));
        (node.is_primary, node.link) = (true, None);
        self.primary = at;
        self.check()
    }

    /// Everybody follows the primary, everything arrives, everything dead goes.
    fn settle(&mut self) -> Checked {
        let others: Vec<_> = (0..self.nodes.len()).filter(|at| *at != self.primary).collect();
        for &at in &others {
            if self.nodes[at].link.as_ref().is_none_or(|link| link.to != self.primary) {
                self.nodes[at].link = None;
                self.follow(at, self.primary)?;
            }
            self.deliver(at, usize::MAX)?;
        }
        self.reclaim(self.primary)?;
        others.iter().try_for_each(|at| self.deliver(*at, usize::MAX))
    }

    /// A line for each server.
    pub(super) fn servers(&self) -> Vec<String> {
        let line = |(at, node): (usize, &Node<S>)| {
            let role = match &node.link {
                _ if node.is_primary => "primary".to_owned(),
                Some(link) => format!("replica of {}", link.to),
                None => "replica without a link".to_owned(),
            };
            format!(
                "server {at} ({role}, offset {}, clock {})  stores {}",
                node.server.retained().end,
                self.clock_ms(at),
                node.server.stored()
            )
        };
        self.nodes.iter().enumerate().map(line).collect()
    }
}

/// Why a copy is needed, in a few words.
fn why(reason: &FullReason) -> String {
    match reason {
        FullReason::UnknownHistory { .. } => "its history is unknown there".into(),
        FullReason::Diverged { wanted, second_offset, .. } => {
            format!("it wants byte {wanted} of a history that is shared up to {second_offset}")
        }
        reason => reason.to_string(),
    }
}
