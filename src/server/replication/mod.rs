//! Replication: the stream, the replicas that read it, `WAIT`, and the primary that is followed.
//!
//! | file | subject |
//! |---|---|
//! | this one | what is shared: stream, history, acknowledgements; publishing; `WAIT` |
//! | `stream` | the stream that the data belongs to, and who may write it |
//! | `role` | primary or replica, and the change from one to the other |
//! | `follower` | the replica's side: the link to the primary, and what it brings |
//! | `failover` | `FAILOVER`: handing over to a replica |
//! | `link` | one replica's connection: its two halves, its end, its acknowledgements |
//! | `sender` | the sending half: the decision, the cut, the snapshot, the stream |
//! | `snapshot` | the snapshot's bytes, made beside the runtime's threads |
//! | `deadlines` | what becomes of replicas that cannot hold field deadlines |
//!
//! `WAIT` sleeps until an acknowledgement rises or a replica comes ([`SharedAcks`]): nothing polls.
//! Waiters ask for acknowledgements through one notified task, which writes one `REPLCONF GETACK *`
//! however many waiters asked since its last turn.

mod deadlines;
mod failover;
mod follower;
mod link;
mod load;
mod role;
mod sender;
mod snapshot;
mod stream;

use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption, Guard};
use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore};
use tokio::time::Instant;

use super::persistence::SavedAt;
use super::state::{Shared, random_id};
use crate::buffer::AppendError;
use crate::resync::{LinkState, ReplicaFacts, ReplicaKey, SharedAcks};
use crate::rewrite::Effects;

use failover::Failover;

use deadlines::{Generation, Refusal, needs_field_deadlines};
pub(super) use failover::FailoverRequest;
pub(super) use link::serve;
pub(super) use role::{Following, RoleChange};
pub(super) use stream::Stream;

/// Snapshots that are made or sent at a time; more replicas wait for their turn, with a newline a
/// second. Each holds one of the runtime's blocking threads while its replica reads, of which there
/// are 512 by default: without a bound, replicas that do not read would stop active expiry and every
/// other full resync.
pub(super) const MAX_SNAPSHOTS: usize = 64;

/// What `INFO` and `ROLE` show of a replica.
#[derive(Clone, Debug)]
pub(super) struct ReplicaView {
    pub address: String,
    pub port: i64,
    pub state: LinkState,
    pub acked_offset: u64,
    pub last_ack_ms: u64,
}

impl ReplicaView {
    pub fn is_online(&self) -> bool {
        self.state == LinkState::Online
    }

    /// Whether it says that it is there.
    fn is_at(&self, host: &str, port: u16) -> bool {
        self.address == host && self.port == i64::from(port)
    }
}

/// A number of replicas as clients are told it.
fn as_count(replicas: usize) -> i64 {
    i64::try_from(replicas).unwrap_or(i64::MAX)
}

#[derive(Debug)]
struct Registered {
    address: String,
    port: i64,
    state: LinkState,
    /// Ends the link when the history breaks.
    broken: Arc<Notify>,
}

/// What is known of the last time that acknowledgements were asked for.
#[derive(Debug, Default)]
struct Asked {
    /// The end of the stream then: a write before it needs no new question, for all replicas were asked that
    /// are there.
    offset: u64,
    /// How often somebody came who may not have been asked.
    newcomers: u64,
}

impl Asked {
    /// A question ends at `offset`; so many had come when it was put.
    fn note(&mut self, offset: u64, newcomers: u64) {
        if self.newcomers == newcomers {
            self.offset = self.offset.max(offset);
        }
    }
}

/// The replication state of a server.
pub(super) struct Replication {
    stream: ArcSwap<Stream>,
    /// The primary that is followed; none if this server is one.
    following: ArcSwapOption<Following>,
    /// Serialises changes of the two above, and the begin and the end of a failover.
    role_change: Mutex<()>,
    failover: Failover,
    /// How many have begun.
    failovers: AtomicU64,
    /// What the data came from at the start.
    saved: Mutex<Option<SavedAt>>,
    /// Commands published to streams before, and applied of the stream of others.
    other_commands: AtomicU64,
    /// Taken alone, or before `acks`.
    links: Mutex<BTreeMap<ReplicaKey, Registered>>,
    acks: SharedAcks,
    getack_wanted: Notify,
    asked: Mutex<Asked>,
    snapshots_running: AtomicUsize,
    /// A permit for each of [`MAX_SNAPSHOTS`].
    snapshot_places: Semaphore,
    field_deadlines: Generation,
    last_refusal: Mutex<Option<Refusal>>,
}

impl Replication {
    pub fn new(stream: Arc<Stream>) -> Self {
        Replication {
            stream: ArcSwap::new(stream),
            following: ArcSwapOption::empty(),
            role_change: Mutex::default(),
            failover: Failover::default(),
            failovers: AtomicU64::new(0),
            saved: Mutex::default(),
            other_commands: AtomicU64::new(0),
            links: Mutex::default(),
            acks: SharedAcks::default(),
            getack_wanted: Notify::new(),
            asked: Mutex::default(),
            snapshots_running: AtomicUsize::new(0),
            snapshot_places: Semaphore::new(MAX_SNAPSHOTS),
            field_deadlines: Generation::default(),
            last_refusal: Mutex::default(),
        }
    }

    /// The stream that the data belongs to now.
    pub fn stream(&self) -> Guard<Arc<Stream>> {
        self.stream.load()
    }

    /// The data is loaded from a file that was saved there.
    pub fn start_from(&self, saved: Option<SavedAt>) {
        *self.saved.lock() = saved;
    }

    /// Commands that have come into the data since the start, by clients or from a primary.
    pub fn commands(&self) -> u64 {
        self.stream().publisher.commands() + self.other_commands.load(Ordering::Relaxed)
    }

    /// The end of the stream.
    pub fn end_offset(&self) -> u64 {
        self.stream().buffer.end_offset()
    }

    fn register(&self, key: ReplicaKey, facts: &ReplicaFacts, peer_ip: String, now_ms: u64) -> Arc<Notify> {
        let broken = Arc::new(Notify::new());
        let address = facts.announced_address.clone().unwrap_or(peer_ip);
        let registered = Registered {
            address,
            port: facts.listening_port,
            state: LinkState::Handshake,
            broken: Arc::clone(&broken),
        };
        let mut links = self.links.lock();
        self.acks.insert(key, now_ms);
        links.insert(key, registered);
        broken
    }

    fn unregister(&self, key: ReplicaKey) {
        let mut links = self.links.lock();
        self.acks.remove(key);
        links.remove(&key);
    }

    fn set_state(&self, key: ReplicaKey, state: LinkState, now_ms: u64) {
        // First, so that who is shown as online counts; and not under the lock, for it wakes.
        if state == LinkState::Online {
            // Before those who wait are woken: it has to be asked too.
            self.forget_questions();
            self.acks.set_online(key, now_ms);
        }
        if let Some(registered) = self.links.lock().get_mut(&key) {
            registered.state = state;
        }
    }

    fn acknowledge(&self, key: ReplicaKey, applied: u64, fsynced: Option<u64>, now_ms: u64) {
        let end = self.end_offset();
        self.acks.acknowledge(key, applied, fsynced, end, now_ms);
    }

    /// Where a replica says that it is.
    fn announced_address(&self, key: ReplicaKey) -> String {
        let links = self.links.lock();
        links.get(&key).map(|link| format!("{}:{}", link.address, link.port)).unwrap_or_default()
    }

    /// The last replica that was refused.
    pub fn last_refusal(&self) -> Option<Refusal> {
        self.last_refusal.lock().clone()
    }

    /// All replicas, in the order in which they came.
    pub fn replicas(&self) -> Vec<ReplicaView> {
        let links = self.links.lock();
        let view = |(key, registered): (&ReplicaKey, &Registered)| {
            let entry = self.acks.look(|table| table.get(*key).copied());
            ReplicaView {
                address: registered.address.clone(),
                port: registered.port,
                state: registered.state,
                acked_offset: entry.map_or(0, |entry| entry.acked_offset),
                last_ack_ms: entry.map_or(0, |entry| entry.last_ack_ms),
            }
        };
        links.iter().map(view).collect()
    }

    /// Whether every replica has acknowledged the whole stream.
    pub fn all_have_everything(&self) -> bool {
        let end = self.end_offset();
        self.replicas().iter().all(|replica| replica.acked_offset >= end)
    }

    /// As `INFO` names it.
    pub fn failover_state(&self) -> &'static str {
        self.failover.name()
    }

    pub fn is_failing_over(&self) -> bool {
        self.failover.is_running()
    }

    pub fn has_replicas(&self) -> bool {
        !self.links.lock().is_empty()
    }

    pub fn snapshots_running(&self) -> usize {
        self.snapshots_running.load(Ordering::Relaxed)
    }

    /// Online replicas that have `offset`.
    pub fn count_acked(&self, offset: u64) -> i64 {
        as_count(self.acks.count_acked(offset))
    }

    /// Online replicas that reported within `max_lag_ms`.
    pub fn count_good(&self, now_ms: u64, max_lag_ms: u64) -> usize {
        self.acks.look(|table| table.count_good(now_ms, max_lag_ms))
    }

    /// Waits until `wanted` replicas have `offset`, or until the timeout. Returns how many have it.
    pub async fn wait_for_replicas(&self, offset: u64, wanted: i64, timeout: Option<Duration>) -> i64 {
        // A timeout beyond what a clock can show is none.
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        // Fewer than none is none; more than can be counted is never reached.
        let wanted = usize::try_from(wanted.max(0)).unwrap_or(usize::MAX);
        let mut reached = pin!(self.acks.reached(offset, wanted));
        let asking = poll_fn(|context| {
            let count = reached.as_mut().poll(context);
            // At each turn: a replica that has come meanwhile is asked too.
            if count.is_pending() && self.asked.lock().offset < offset {
                self.getack_wanted.notify_one();
            }
            count
        });
        match deadline {
            None => as_count(asking.await),
            Some(deadline) => match tokio::time::timeout_at(deadline, asking).await {
                Ok(count) => as_count(count),
                Err(_) => self.count_acked(offset),
            },
        }
    }

    /// Writes `REPLCONF GETACK *` whenever waiters asked. Never returns.
    pub async fn ask_for_acks(&self, shared: &Shared) {
        loop {
            self.getack_wanted.notified().await;
            if !self.has_replicas() || shared.has_settled() {
                continue;
            }
            let newcomers = self.asked.lock().newcomers;
            match self.stream().publisher.getack() {
                Ok(end) => self.asked.lock().note(end, newcomers),
                // Another side writes the stream now, and its acknowledgements are another primary's concern.
                Err(AppendError::Fenced { .. }) => {}
                Err(error) => shared.break_history(&error.to_string()),
            }
        }
    }

    /// Somebody is to be asked who may not have been, or offsets are others than before.
    fn forget_questions(&self) {
        let mut asked = self.asked.lock();
        asked.offset = 0;
        asked.newcomers += 1;
    }

    /// Ends the links of all replicas; they may come back and continue.
    fn drop_links(&self) {
        for registered in self.links.lock().values() {
            registered.broken.notify_one();
        }
    }
}

impl Shared {
    /// Publishes a unit whose effects are in the data already. Returns its end in the stream, or
    /// `None` when the history was broken instead.
    pub fn publish(&self, effects: &Effects<'_>) -> Option<u64> {
        if let Some(mismatch) = &effects.failure {
            self.break_history(&mismatch.to_string());
            return None;
        }
        if needs_field_deadlines(effects) {
            self.replication.field_deadlines.soil();
        }
        self.replication
            .stream()
            .publisher
            .publish(effects)
            .map_err(|error| self.break_history(&error.to_string()))
            .ok()
    }

    /// Writes the periodic ping, if anyone listens.
    pub fn ping_replicas(&self) {
        // During a failover the replica is to catch up.
        let replication = &self.replication;
        let is_still = replication.is_replica() || replication.failover.is_running() || self.has_settled();
        if replication.has_replicas() && !is_still {
            match self.replication.stream().publisher.ping() {
                // It has become a replica meanwhile.
                Ok(_) | Err(AppendError::Fenced { .. }) => {}
                Err(error) => self.break_history(&error.to_string()),
            }
        }
    }

    /// The stream misses something that the data has: nobody may continue from it. A new history
    /// begins, and every replica has to come back for a full copy.
    fn break_history(&self, reason: &str) {
        let replid = random_id();
        self.stats.history_breaks.add(1);
        self.replication.stream().history.reset(replid);
        let replicas = self.replication.links.lock().len();
        tracing::error!(reason, %replid, replicas, "the stream cannot describe the data any more: new history");
        self.replication.drop_links();
    }

    /// Whether `min-replicas-to-write` is satisfied.
    pub fn enough_good_replicas(&self) -> bool {
        let config = self.config.load();
        let needed = config.min_replicas_to_write;
        if needed == 0 || config.min_replicas_max_lag_s == 0 {
            return true;
        }
        let max_lag_ms = config.min_replicas_max_lag_s.saturating_mul(1000);
        self.replication.count_good(self.mono_ms(), max_lag_ms) as u64 >= needed
    }
}
