//! `FAILOVER`: the primary hands over to one of its replicas, and loses nothing.
//!
//! # Promise
//! The role passes on only when the replica has acknowledged the last byte of the stream, and then no write is
//! accepted any more; until it has passed on, and if it cannot, this server stays the primary it was. (With
//! `FORCE`, when the time is over, it passes on without.)
//!
//! # Algorithm
//!
//! ```text
//! FAILOVER ─► WaitingForSync ── a replica has everything ─► InProgress ── granted ─► done
//!                    │                                          │
//!                    └─ time over, ABORT ─► as before ◄─────────┘ refused, ABORT
//! ```
//!
//! While it waits, clients that write are [paused](crate::server::pause), pings rest, and what has expired is
//! hidden rather than deleted ([`Reign::HandingOver`]): the stream stands still. That the replica has
//! everything is looked at once more under the locks under which the role changes: a write that was on its way
//! when the pause began makes it wait on. Then this server follows the other, and asks for the stream with the
//! word `FAILOVER`, upon which the other becomes a primary and grants it. The pause ends after that: those who
//! waited find a replica.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::watch;

use super::role::Origin;
use crate::keyspace::Reign;
use crate::server::state::Shared;

/// How often is looked whether a replica has everything.
const TICK: Duration = Duration::from_millis(10);

/// What a client asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::server) struct FailoverRequest {
    /// The replica to hand over to, by what it announced; any that has everything otherwise.
    pub target: Option<(String, u16)>,
    /// Hand over when the time is over, though the target has not everything.
    pub force: bool,
    /// How long to wait for the replica, in milliseconds.
    pub timeout_ms: Option<u64>,
}

/// How far it has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum State {
    #[default]
    None,
    WaitingForSync {
        /// Which of all.
        number: u64,
        request: FailoverRequest,
        until_ms: Option<u64>,
    },
    InProgress,
}

/// Why there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::server) enum FailoverError {
    #[error("ERR FAILOVER already in progress.")]
    Already,
    #[error("ERR FAILOVER is not valid when server is a replica.")]
    Replica,
    #[error("ERR FAILOVER requires connected replicas.")]
    NoReplicas,
    #[error("ERR FAILOVER target HOST and PORT is not a replica.")]
    Unknown,
    #[error("ERR FAILOVER target replica is not online.")]
    Offline,
    #[error("ERR No failover in progress.")]
    None,
}

/// A failover, if there is one.
pub(super) struct Failover(watch::Sender<State>);

impl Default for Failover {
    fn default() -> Self {
        Failover(watch::Sender::new(State::None))
    }
}

impl Failover {
    /// As `INFO` names it.
    pub fn name(&self) -> &'static str {
        match *self.0.borrow() {
            State::None => "no-failover",
            State::WaitingForSync { .. } => "waiting-for-sync",
            State::InProgress => "failover-in-progress",
        }
    }

    pub fn is_running(&self) -> bool {
        *self.0.borrow() != State::None
    }

    pub fn is_in_progress(&self) -> bool {
        *self.0.borrow() == State::InProgress
    }
}

impl Shared {
    /// `FAILOVER`. It goes on by itself.
    pub fn begin_failover(self: &Arc<Self>, request: FailoverRequest) -> Result<(), FailoverError> {
        let replication = &self.replication;
        let _change = replication.role_change.lock();
        if replication.failover.is_running() {
            return Err(FailoverError::Already);
        }
        if replication.is_replica() {
            return Err(FailoverError::Replica);
        }
        let replicas = replication.replicas();
        if replicas.is_empty() {
            return Err(FailoverError::NoReplicas);
        }
        if let Some((host, port)) = &request.target {
            let target = replicas.iter().find(|replica| replica.is_at(host, *port));
            if !target.ok_or(FailoverError::Unknown)?.is_online() {
                return Err(FailoverError::Offline);
            }
        }
        let until_ms = request.timeout_ms.map(|timeout_ms| self.mono_ms().saturating_add(timeout_ms));
        tracing::info!(target = ?request.target, force = request.force, timeout_ms = ?request.timeout_ms, "failover requested");
        let number = replication.failovers.fetch_add(1, Ordering::Relaxed);
        // In this order: who asks for the locks after the change of the reign has seen the pause.
        self.pause.failover(true);
        self.keyspace.change_reign(Reign::HandingOver, || ());
        replication.failover.0.send_replace(State::WaitingForSync { number, request, until_ms });
        replication.getack_wanted.notify_one();
        tokio::spawn(hand_over(Arc::clone(self)));
        Ok(())
    }

    /// `FAILOVER ABORT`.
    pub fn abort_failover(self: &Arc<Self>) -> Result<(), FailoverError> {
        self.abort_if("asked for", &|_| true)
    }

    /// Aborts the failover, if it is the one that is meant.
    pub(super) fn abort_if(
        self: &Arc<Self>,
        reason: &str,
        is_meant: &dyn Fn(&State) -> bool,
    ) -> Result<(), FailoverError> {
        let replication = &self.replication;
        // To the end: until then nobody else begins anything.
        let changing = replication.role_change.lock();
        if !is_meant(&replication.failover.0.borrow()) {
            return Err(FailoverError::None);
        }
        match replication.failover.0.send_replace(State::None) {
            State::None => return Err(FailoverError::None),
            State::WaitingForSync { .. } => self.keyspace.change_reign(Reign::Own, || ()),
            // The other has not become a primary: this one is again.
            State::InProgress => self.lead(&changing),
        }
        tracing::warn!(reason, "failover aborted");
        self.pause.failover(false);
        drop(changing);
        self.note_role();
        Ok(())
    }

    /// The replica has become a primary, and granted the stream.
    pub(super) fn end_failover(&self) {
        let ended = self.replication.failover.0.send_if_modified(|state| {
            let was_running = *state == State::InProgress;
            if was_running {
                *state = State::None;
            }
            was_running
        });
        if ended {
            tracing::info!("failover done");
            self.pause.failover(false);
        }
    }

    /// Follows the replica that has everything, if there is one.
    fn try_hand_over(self: &Arc<Self>, request: &FailoverRequest, forced: bool) -> bool {
        let replication = &self.replication;
        let is_target = |replica: &super::ReplicaView| match &request.target {
            Some((host, port)) => replica.is_at(host, *port),
            None => true,
        };
        let has_everything = |replica: &super::ReplicaView| {
            replica.is_online() && replica.acked_offset >= replication.end_offset()
        };
        let candidates = replication.replicas().into_iter().filter(is_target);
        let mut ready = candidates.filter(|replica| has_everything(replica));
        let (host, port) = match (ready.next(), &request.target) {
            (Some(replica), _) => match u16::try_from(replica.port) {
                Ok(port) if port > 0 => (replica.address, port),
                _ => return false,
            },
            (None, Some(target)) if forced => target.clone(),
            (None, _) => return false,
        };
        let acked = |offset| {
            let mut replicas = replication.replicas().into_iter();
            forced || replicas.any(|replica| replica.is_at(&host, port) && replica.acked_offset >= offset)
        };
        let begins = || {
            replication.failover.0.send_if_modified(|state| {
                let waits = matches!(state, State::WaitingForSync { .. });
                if waits {
                    *state = State::InProgress;
                }
                waits
            })
        };
        let changing = replication.role_change.lock();
        self.follow(&changing, &host, port, Origin::Shared, &|offset| acked(offset) && begins())
    }
}

/// Waits for a replica that has everything, and hands over.
async fn hand_over(shared: Arc<Shared>) {
    let mut state = shared.replication.failover.0.subscribe();
    loop {
        let State::WaitingForSync { number, request, until_ms } = state.borrow_and_update().clone() else {
            return;
        };
        let is_over = until_ms.is_some_and(|until_ms| shared.mono_ms() >= until_ms);
        let trying = Arc::clone(&shared);
        let forced = is_over && request.force;
        let tried = tokio::task::spawn_blocking(move || {
            let handed_over = trying.try_hand_over(&request, forced);
            if handed_over {
                trying.note_role();
            }
            handed_over
        });
        let reason = match tried.await {
            Ok(true) => return,
            Ok(false) if is_over => "no replica had everything in time",
            Ok(false) => {
                // An end of the wait is seen at once.
                let _ = tokio::time::timeout(TICK, state.changed()).await;
                continue;
            }
            Err(_) => "it failed",
        };
        let aborting = Arc::clone(&shared);
        let is_meant = move |state: &State| matches!(state, State::WaitingForSync { number: other, .. } if *other == number);
        // It may have been aborted meanwhile.
        let _ = tokio::task::spawn_blocking(move || aborting.abort_if(reason, &is_meant)).await;
        return;
    }
}
