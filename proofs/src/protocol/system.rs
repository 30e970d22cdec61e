//! Servers, clients, clocks and links, as a transition system.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use replcore::hash_ttl::Moment;
use replcore::resync::{AckTable, Decision, PsyncRequest, RequestedId, decide};
use stateright::{Model, Property};

use super::museum::Bug;
use super::node::{HistoryNumber, Link, Node, Role, replication_id};
use super::stream::publish;

/// The first moment, in ms. Not zero, so that there is a past.
const START_MS: u64 = 100;

/// What may happen, and how often.
#[derive(Debug)]
pub struct Scenario {
    /// Its name on the command line.
    pub name: &'static str,
    /// What happens in it, in a sentence.
    pub about: &'static str,
    /// How far each server's clock is off, in ms; as many as there are servers. The first one begins as the
    /// primary.
    pub clocks: &'static [i64],
    /// What a client may send: a unit of commands, each after the number of its database.
    pub units: &'static [&'static [(u16, &'static str)]],
    /// How often anything may happen in a quick search.
    pub quick: Budget,
    /// How often in a full one.
    pub full: Budget,
    /// What has to happen in some execution, beside the invariants.
    pub wanted: &'static [Wanted],
}

/// How often things may happen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Budget {
    /// Units of clients.
    pub units: u8,
    /// Steps of time, of [`TICK_MS`](Self::TICK_MS).
    pub ticks: u8,
    /// Rounds of active expiry.
    pub reclaims: u8,
    /// Links that break.
    pub cuts: u8,
    /// Commands that leave a backlog.
    pub trims: u8,
    /// Acknowledgements.
    pub acks: u8,
    /// Promotions of a replica.
    pub promotions: u8,
}

impl Budget {
    /// How far time moves on.
    pub const TICK_MS: u64 = 2;
}

/// An outcome without which a run shows nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// A replica continued where it was.
    Partial,
    /// A replica that had something was copied anew.
    Full,
    /// A replica of a former history continued.
    PartialAcrossHistories,
    /// A dead field or key was stored on a server that had a link.
    Dead,
    /// A primary knew a replica to have all of its stream.
    Acknowledged,
    /// A link broke inside a transaction.
    CutInTransaction,
    /// A link broke while a full copy was on its way over it.
    CutInCopy,
}

impl Wanted {
    fn property(self) -> Property<System> {
        match self {
            Wanted::Partial => {
                Property::sometimes("a replica continues", |_, state: &State| state.seen.partial)
            }
            Wanted::Full => {
                Property::sometimes("a replica is copied anew", |_, state: &State| state.seen.full)
            }
            Wanted::PartialAcrossHistories => {
                Property::sometimes("a replica continues into the next history", |_, state: &State| {
                    state.seen.across
                })
            }
            Wanted::Dead => {
                Property::sometimes("something dead is stored", |system: &System, state: &State| {
                    let linked = |at: usize| {
                        state.nodes.iter().any(|node| node.link().is_some_and(|link| link.to == at))
                    };
                    let dead = |at: usize| state.nodes[at].data.has_dead(system.now_ms(state, at));
                    (0..state.nodes.len()).any(|at| linked(at) && dead(at))
                })
            }
            Wanted::Acknowledged => Property::sometimes("everything is acknowledged", |_, state: &State| {
                state.nodes.iter().any(|node| {
                    node.is_primary()
                        && node.end() > 0
                        && node.acked.values().any(|offset| *offset == node.end())
                })
            }),
            Wanted::CutInTransaction => {
                Property::sometimes("a link breaks inside a transaction", |_, state: &State| state.seen.torn)
            }
            Wanted::CutInCopy => {
                Property::sometimes("a link breaks during a copy", |_, state: &State| state.seen.half_copied)
            }
        }
    }
}

/// A scenario, with a bug put in or none.
#[derive(Clone, Debug)]
pub struct System {
    /// What may happen.
    pub scenario: &'static Scenario,
    /// How often anything may happen.
    pub budget: Budget,
    /// What is wrong.
    pub bug: Option<Bug>,
}

/// What has occurred, and may not be seen in the servers any more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Seen {
    partial: bool,
    full: bool,
    across: bool,
    torn: bool,
    half_copied: bool,
}

/// Everything there is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    /// The servers.
    pub nodes: Vec<Node>,
    /// Ticks so far.
    pub ticks: u8,
    /// What may still happen.
    pub left: Budget,
    /// The number of the next history.
    pub next_history: HistoryNumber,
    /// What has occurred.
    pub seen: Seen,
    /// What a step has done that no step may do.
    pub wrong: Option<&'static str>,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// A client of a primary sends a unit of the scenario.
    Unit(usize, usize),
    /// Time passes.
    Tick,
    /// A primary reclaims what is dead.
    Reclaim(usize),
    /// A replica receives the next command.
    Deliver(usize),
    /// A replica's link breaks.
    Cut(usize),
    /// A replica connects to a server.
    Connect(usize, usize),
    /// A full copy has come whole.
    Load(usize),
    /// A replica acknowledges what it has.
    Acknowledge(usize),
    /// The oldest command leaves a backlog.
    Trim(usize),
    /// A replica becomes a primary.
    Promote(usize),
    /// A primary becomes a replica; what it has stays.
    Demote(usize),
}

/// Servers by their letters.
pub fn letter(node: usize) -> char {
    (b'A' + node as u8) as char
}

impl System {
    /// The time on a server's clock.
    pub fn now_ms(&self, state: &State, node: usize) -> u64 {
        let passed = i64::from(state.ticks) * Budget::TICK_MS as i64;
        (START_MS as i64 + self.scenario.clocks[node] + passed).max(0) as u64
    }

    /// A step in words.
    pub fn describe(&self, action: &Action) -> String {
        match action {
            Action::Unit(node, unit) => {
                let commands = self.scenario.units[*unit].iter();
                let commands: Vec<_> = commands.map(|(db, line)| format!("[{db}] {line}")).collect();
                format!("{}: client sends {}", letter(*node), commands.join(", "))
            }
            Action::Tick => format!("{} ms pass", Budget::TICK_MS),
            Action::Reclaim(node) => format!("{}: reclaims what is dead", letter(*node)),
            Action::Deliver(node) => format!("{}: receives the next command", letter(*node)),
            Action::Cut(node) => format!("{}: its link breaks", letter(*node)),
            Action::Connect(node, to) => format!("{}: connects to {}", letter(*node), letter(*to)),
            Action::Load(node) => format!("{}: has the whole copy", letter(*node)),
            Action::Acknowledge(node) => format!("{}: acknowledges", letter(*node)),
            Action::Trim(node) => format!("{}: the oldest command leaves its backlog", letter(*node)),
            Action::Promote(node) => format!("{}: is promoted", letter(*node)),
            Action::Demote(node) => format!("{}: is told to be a replica", letter(*node)),
        }
    }

    fn unit(&self, state: &mut State, at: usize, unit: usize) {
        let now_ms = self.now_ms(state, at);
        let node = &mut state.nodes[at];
        let commands: Vec<_> =
            self.scenario.units[unit].iter().map(|(db, line)| (*db, super::stream::argv(line))).collect();
        let effects = node.data.execute(&commands, Moment::primary(now_ms), self.bug);
        let tokens = publish(&effects, node.history.0, &mut node.selected);
        node.write(tokens);
    }

    fn reclaim(&self, state: &mut State, at: usize) {
        let now_ms = self.now_ms(state, at);
        let node = &mut state.nodes[at];
        for effects in node.data.reclaim(now_ms, self.bug) {
            let tokens = publish(&effects, node.history.0, &mut node.selected);
            node.write(tokens);
        }
    }

    fn connect(&self, state: &mut State, at: usize, to: usize) {
        let [replica, primary] = state.nodes.get_disjoint_mut([at, to]).expect("two servers");
        let request = PsyncRequest {
            id: RequestedId::Known(replication_id(replica.history.0)),
            wanted: replica.offset as i64 + 1,
            failover: false,
        };
        let mut retained = primary.retained();
        match self.bug {
            Some(Bug::UpperBoundTooHigh) => retained.end += 1,
            Some(Bug::LowerBoundTooLow) => retained.first = retained.first.saturating_sub(1),
            _ => {}
        }
        let has_prefix = replica.log.len() <= primary.log.len() && primary.log.starts_with(&replica.log);
        let is_safe = has_prefix && replica.offset == replica.end() && primary.first <= replica.end();
        // An ID from before the previous history is forgotten by design, and so is what a chained replica
        // missed of it.
        let is_known = replica.history.0 == primary.history.0
            || primary.ancestor.is_some_and(|(id, end)| id == replica.history.0 && replica.end() <= end);
        match decide(&primary.shipped_history(), retained, &request) {
            Decision::Partial { attach_offset } => {
                if !is_safe {
                    state.wrong = Some("a replica continues in a stream that is not its own");
                }
                state.seen.partial |= replica.end() > 0;
                state.seen.across |= replica.history.0 != primary.history.0;
                replica.resume(primary, to, attach_offset, self.bug);
            }
            Decision::Full { .. } => {
                if is_safe && is_known {
                    state.wrong = Some("a replica is copied anew that could have continued");
                }
                state.seen.full |= replica.end() > 0;
                replica.begin_copy(primary, to, self.bug);
            }
        }
        self.break_followers(state, at);
    }

    fn load(&self, state: &mut State, at: usize) {
        let Some(to) = state.nodes[at].link().map(|link| link.to) else { return };
        let end = state.nodes[to].end();
        state.nodes[at].finish_copy(end, self.bug);
        // Who is told to copy another server keeps no promises.
        for node in &mut state.nodes {
            node.acked.remove(&at);
        }
        // The stream of a server that was copied anew begins again: whoever followed it comes back.
        self.break_followers(state, at);
    }

    /// Those who follow a server whose history has changed lose their links.
    fn break_followers(&self, state: &mut State, of: usize) {
        for node in &mut state.nodes {
            if node.link().is_some_and(|link| link.to == of) {
                node.role = Role::Replica(None);
                node.pending = None;
            }
        }
    }

    fn deliver(&self, state: &mut State, at: usize) {
        let now_ms = self.now_ms(state, at);
        let Some(&Link { to, received, .. }) = state.nodes[at].link() else { return };
        let Some(token) = state.nodes[to].log.get(received as usize).cloned() else { return };
        let node = &mut state.nodes[at];
        node.role = Role::Replica(Some(Link { to, received: received + 1, copy: None }));
        node.receive(token, now_ms, self.bug);
    }

    fn acknowledge(&self, state: &mut State, at: usize) {
        let node = &state.nodes[at];
        let Some(to) = node.link().map(|link| link.to) else { return };
        let applied = node.acknowledgement(self.bug);
        let primary = &mut state.nodes[to];
        // The product's rules: never falls, never beyond the end.
        let mut table = AckTable::default();
        table.insert(at as u64, 0);
        let known = primary.acked.get(&at).copied().unwrap_or(0);
        table.acknowledge(at as u64, known, None, primary.end(), 0);
        table.acknowledge(at as u64, applied, None, primary.end(), 0);
        if let Some(entry) = table.get(at as u64) {
            primary.acked.insert(at, entry.acked_offset);
        }
    }

    fn promote(&self, state: &mut State, at: usize) {
        let history = state.next_history;
        state.next_history += 1;
        // What the former primary was told that this one has, it has to have.
        let promised = state.nodes.iter().enumerate().filter(|(other, _)| *other != at);
        let promised = promised.filter(|(_, node)| node.history.0 == state.nodes[at].history.0);
        let promised: Vec<_> = promised
            .filter_map(|(_, node)| Some(node.log[..*node.acked.get(&at)? as usize].to_vec()))
            .collect();
        let node = &mut state.nodes[at];
        node.role = Role::Primary;
        node.selected = None;
        node.shift(history, self.bug);
        node.acked = BTreeMap::new();
        if promised.iter().any(|promised| !node.log.starts_with(promised)) {
            state.wrong = Some("a write that was acknowledged is lost by the promotion");
        }
        self.break_followers(state, at);
    }
}

impl Model for System {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let role = |at| if at == 0 { Role::Primary } else { Role::Replica(None) };
        let nodes = (0..self.scenario.clocks.len()).map(|at| Node::new(role(at), at as u8)).collect();
        vec![State {
            nodes,
            ticks: 0,
            left: self.budget,
            next_history: self.scenario.clocks.len() as u8,
            seen: Seen::default(),
            wrong: None,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        // What is wrong stays wrong.
        if state.wrong.is_some() {
            return;
        }
        let left = state.left;
        if left.ticks > 0 {
            actions.push(Action::Tick);
        }
        for (at, node) in state.nodes.iter().enumerate() {
            match &node.role {
                Role::Primary => {
                    if left.units > 0 {
                        actions.extend((0..self.scenario.units.len()).map(|unit| Action::Unit(at, unit)));
                    }
                    if left.reclaims > 0 && node.data.has_dead(self.now_ms(state, at)) {
                        actions.push(Action::Reclaim(at));
                    }
                    if state.nodes.iter().enumerate().any(|(other, node)| other != at && node.is_primary()) {
                        actions.push(Action::Demote(at));
                    }
                }
                Role::Replica(None) => {
                    // Who is being copied anew has nothing to offer (`-NOMASTERLINK`).
                    let others = (0..state.nodes.len())
                        .filter(|to| *to != at && !state.follows(*to, at) && !state.nodes[*to].is_copying());
                    actions.extend(others.map(|to| Action::Connect(at, to)));
                }
                Role::Replica(Some(link)) => {
                    if link.copy.is_some() {
                        actions.push(Action::Load(at));
                    } else if link.received < state.nodes[link.to].end() {
                        actions.push(Action::Deliver(at));
                    }
                    if left.cuts > 0 {
                        actions.push(Action::Cut(at));
                    }
                    if left.acks > 0 && link.copy.is_none() && state.nodes[link.to].is_primary() {
                        actions.push(Action::Acknowledge(at));
                    }
                }
            }
            if !node.is_primary() && left.promotions > 0 {
                actions.push(Action::Promote(at));
            }
            // A cursor holds what its replica has not read.
            let read = state.nodes.iter().filter_map(Node::link).filter(|link| link.to == at);
            let read = read.map(|link| link.received).min().unwrap_or(u64::MAX);
            if left.trims > 0 && node.first < node.end().min(read) {
                actions.push(Action::Trim(at));
            }
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        let left = &mut state.left;
        match action {
            Action::Unit(at, unit) => {
                left.units -= 1;
                self.unit(&mut state, at, unit);
            }
            Action::Tick => {
                left.ticks -= 1;
                state.ticks += 1;
            }
            Action::Reclaim(at) => {
                left.reclaims -= 1;
                self.reclaim(&mut state, at);
            }
            Action::Deliver(at) => self.deliver(&mut state, at),
            Action::Cut(at) => {
                left.cuts -= 1;
                let node = &mut state.nodes[at];
                state.seen.torn |= node.pending.is_some();
                state.seen.half_copied |= node.is_copying();
                node.role = Role::Replica(None);
                node.pending = None;
            }
            Action::Connect(at, to) => self.connect(&mut state, at, to),
            Action::Load(at) => self.load(&mut state, at),
            Action::Acknowledge(at) => {
                left.acks -= 1;
                self.acknowledge(&mut state, at);
            }
            Action::Trim(at) => {
                left.trims -= 1;
                state.nodes[at].first += 1;
            }
            Action::Promote(at) => {
                left.promotions -= 1;
                self.promote(&mut state, at);
            }
            Action::Demote(at) => {
                state.nodes[at].role = Role::Replica(None);
                state.nodes[at].acked.clear();
                self.break_followers(&mut state, at);
            }
        }
        (state != *last).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = vec![
            Property::always("no step does what it may not", |_, state: &State| state.wrong.is_none()),
            Property::always("a replica's stream is a prefix of its primary's", |_, state: &State| {
                state.links().all(|(replica, primary, _)| primary.log.starts_with(&replica.log))
            }),
            Property::always(
                "a replica stores what its primary stored at the same offset",
                |_, state: &State| {
                    let level =
                        state.links().filter(|(replica, primary, _)| replica.log.len() == primary.log.len());
                    level.into_iter().all(|(replica, primary, _)| replica.data == primary.data)
                },
            ),
            Property::always("whoever executes has whole transactions", |_, state: &State| {
                let of = |node: &Node, name: &str| node.log.iter().filter(|token| token.is(name)).count();
                state
                    .nodes
                    .iter()
                    .filter(|node| node.is_primary())
                    .all(|node| of(node, "MULTI") == of(node, "EXEC"))
            }),
        ];
        properties.extend(self.scenario.wanted.iter().map(|wanted| wanted.property()));
        properties
    }

    fn format_action(&self, action: &Action) -> String {
        self.describe(action)
    }

    fn format_step(&self, last: &State, action: Action) -> Option<String> {
        self.next_state(last, action).map(|state| state.to_string())
    }
}

impl State {
    /// Replicas that have what they follow, whom they follow, and their links.
    fn links(&self) -> impl Iterator<Item = (&Node, &Node, &Link)> {
        self.nodes.iter().filter_map(|node| {
            let link = node.link().filter(|link| link.copy.is_none())?;
            Some((node, &self.nodes[link.to], link))
        })
    }

    /// Whether `node` follows `of`, over any number of links.
    fn follows(&self, node: usize, of: usize) -> bool {
        let mut at = node;
        for _ in 0..self.nodes.len() {
            match self.nodes[at].link() {
                Some(link) if link.to == of => return true,
                Some(link) => at = link.to,
                None => return false,
            }
        }
        true
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, node) in self.nodes.iter().enumerate() {
            let role = match &node.role {
                Role::Primary => "primary".to_owned(),
                Role::Replica(None) => "replica without a link".to_owned(),
                Role::Replica(Some(Link { to, copy: Some(_), .. })) => format!("copies {}", letter(*to)),
                Role::Replica(Some(link)) => format!("replica of {}", letter(link.to)),
            };
            write!(f, "{} ({role}, history {}, offset {})", letter(at), node.history.0, node.offset)?;
            write!(f, "  stores {}", node.data)?;
            if node.first > 0 {
                write!(f, "  backlog from {}", node.first)?;
            }
            if let Some(pending) = &node.pending {
                let pending: Vec<_> = pending.iter().map(ToString::to_string).collect();
                write!(f, "  has begun {}", pending.join("; "))?;
            }
            writeln!(f)?;
        }
        if let Some(wrong) = self.wrong {
            writeln!(f, "WRONG: {wrong}")?;
        }
        Ok(())
    }
}

/// The commands that a step put into a stream.
pub fn written(before: &State, after: &State) -> Vec<(usize, String)> {
    let mut written = Vec::new();
    for (at, (old, new)) in before.nodes.iter().zip(&after.nodes).enumerate() {
        if new.is_primary() && new.log.len() > old.log.len() && !Arc::ptr_eq(&old.log, &new.log) {
            let commands: Vec<_> = new.log[old.log.len()..].iter().map(ToString::to_string).collect();
            written.push((at, commands.join("; ")));
        }
    }
    written
}
