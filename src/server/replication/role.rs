//! Primary or replica, and the change from one to the other.
//!
//! # Promise
//! A change of role happens at one offset of the stream. Every write that a client was told of lies before it
//! or, after a promotion, behind it; none is accepted by a replica. What was followed is not applied any more
//! once the change has been made.
//!
//! # Algorithm
//! A change is made [under all locks](crate::keyspace::Keyspace::change_reign), while no unit is running: the
//! stream passes from one side to the other ([`stream`](super::stream)), the data gets another
//! [reign](crate::keyspace::Reign), and the primary that is followed is set. So a unit of clients that asks
//! for its locks later finds that it may not write, and one of the primary before is not applied, for the
//! change takes the applier's lock first and ends it.
//!
//! The links of replicas end with each change, as in Valkey: they have to learn of the history, and come back
//! with what they have.
//!
//! # Locks
//! `role_change`, then the applier of what is followed, then the shards, then the place in the stream.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::watch;

use super::follower::{self, Start};
use super::link::LinkEnd;
use super::{Replication, Stream};
use crate::buffer::Writer;
use crate::keyspace::Reign;
use crate::resync::replica::{Phase, Position};
use crate::resync::{PsyncRequest, RequestedId};
use crate::server::state::Shared;

/// Held by who changes the role.
pub(super) type RoleChanging<'a> = MutexGuard<'a, ()>;

/// A change of role that a client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::server) enum RoleChange {
    /// `REPLICAOF NO ONE`.
    Lead,
    /// `REPLICAOF host port`.
    Follow { host: String, port: u16 },
}

/// Whether the data may be an earlier state of the primary's that is to be followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::server) enum Origin {
    /// It may: the primary is asked to go on from here, and knows by the history.
    Shared,
    /// The same, from a file that says which database is selected in the stream.
    Saved { db: Option<u32> },
    /// It is new: a copy is asked for.
    Unknown,
}

/// What `INFO` and `ROLE` show of the link to the primary.
#[derive(Clone, Debug)]
pub(in crate::server) struct FollowView {
    pub phase: Phase,
    /// When something was last received.
    pub last_io_ms: Option<u64>,
    /// Since when there has been no stream.
    pub down_since_ms: u64,
    /// Bytes of the stream received.
    pub read_offset: u64,
    /// Bytes of the snapshot received.
    pub snapshot_bytes: u64,
    /// Its length, if it was announced.
    pub snapshot_length: Option<u64>,
    /// Why the link ended for good, or last.
    pub error: Option<String>,
}

impl FollowView {
    pub fn is_up(&self) -> bool {
        self.phase == Phase::Streaming
    }
}

/// Where what is passed on has come to.
#[derive(Debug, Default)]
pub(super) struct Place {
    /// The database that the next command belongs to, if it is known.
    pub db: Option<u32>,
}

/// Applies what the primary sends.
#[derive(Default)]
pub(super) struct Applier {
    /// Passes the stream on. Gone once the role has changed.
    pub writer: Option<Writer>,
}

/// The primary that is followed.
pub(in crate::server) struct Following {
    pub host: String,
    pub port: u16,
    /// Held while something of it is applied.
    pub(super) applier: Mutex<Applier>,
    /// Held while something is appended: with the shards locked, both belong together.
    pub(super) place: Mutex<Place>,
    pub(super) view: Mutex<FollowView>,
    /// Set when the role has changed.
    pub(super) over: watch::Sender<bool>,
}

impl Following {
    pub fn view(&self) -> FollowView {
        self.view.lock().clone()
    }

    /// The end of the stream and the database selected there. To be called with all shards locked, when no
    /// unit is being passed on.
    pub(super) fn passed_on(&self, stream: &Stream) -> (u64, Option<u32>) {
        let place = self.place.lock();
        (stream.buffer.end_offset(), place.db)
    }

    /// Nothing of it is applied any more.
    fn end(&self) {
        self.applier.lock().writer = None;
        self.over.send_replace(true);
    }
}

impl Replication {
    /// The primary that is followed.
    pub fn following(&self) -> Option<Arc<Following>> {
        self.following.load_full()
    }

    pub fn is_replica(&self) -> bool {
        self.following.load().is_some()
    }

    /// A replica that has no link to its primary.
    pub fn is_cut_off(&self) -> bool {
        self.following.load().as_ref().is_some_and(|following| !following.view.lock().is_up())
    }

    /// The offset of a cut in `stream`, and the database that is selected there if a command may follow without
    /// a `SELECT`. To be called with all shards locked, under which role and stream change.
    pub(super) fn place_of_cut(&self, stream: &Arc<Stream>) -> Result<(u64, Option<u32>), LinkEnd> {
        if !Arc::ptr_eq(stream, &self.stream()) {
            return Err(LinkEnd::HistoryBroken);
        }
        match self.following() {
            None => {
                // Who embeds the server may have sealed a term, and begun another.
                stream.publisher.begin_term(stream.buffer.term());
                Ok((stream.publisher.mark()?, None))
            }
            Some(following) => Ok(following.passed_on(stream)),
        }
    }

    /// From now on `stream` is the one that the data belongs to; the links that read the one before end. To
    /// be called with all shards locked.
    pub(super) fn replace_stream(&self, stream: Arc<Stream>) {
        let before = self.stream.swap(stream);
        // That everything is another is a change, too.
        self.other_commands.fetch_add(before.publisher.commands() + 1, Ordering::Relaxed);
        // Sealed already only if it has ended.
        let _ = before.buffer.seal(crate::buffer::LAST_TERM);
        self.forget_questions();
        self.drop_links();
    }
}

impl Shared {
    /// Whether clients may not write because the data follows another server.
    pub fn refuses_writes(&self) -> bool {
        self.replication.is_replica()
    }

    /// Whether clients may not read, for the data may be old.
    pub fn hides_stale_data(&self) -> bool {
        self.replication.is_cut_off() && !self.config.load().replica_serve_stale_data
    }

    /// Changes the role, unless a failover has begun meanwhile. Must be called inside the runtime.
    pub fn change_role(self: &Arc<Self>, change: &RoleChange) {
        let changing = self.replication.role_change.lock();
        if self.replication.is_failing_over() {
            tracing::warn!(?change, "the role stays as it is: a failover has begun");
            return;
        }
        match change {
            RoleChange::Lead => self.lead(&changing),
            RoleChange::Follow { host, port } => {
                self.follow(&changing, host, *port, Origin::Shared, &|_| true);
            }
        }
        drop(changing);
        self.note_role();
    }

    /// Follows the primary of the configuration, if it names one. Must be called inside the runtime.
    pub fn follow_from_the_start(self: &Arc<Self>) {
        let Some((host, port)) = self.config.load().replicaof.clone() else { return };
        let saved = self.replication.saved.lock().take();
        let origin = saved.map_or(Origin::Unknown, |saved| Origin::Saved { db: saved.db });
        let changing = self.replication.role_change.lock();
        self.follow(&changing, &host, port, origin, &|_| true);
    }

    /// Has `CONFIG GET replicaof` say what is followed.
    pub(super) fn note_role(&self) {
        let _one_at_a_time = self.config_change.lock();
        let mut config = (**self.config.load()).clone();
        config.replicaof =
            self.replication.following().map(|following| (following.host.clone(), following.port));
        self.config.store(Arc::new(config));
    }

    /// Becomes a primary, if it is none.
    pub(super) fn lead(&self, _changing: &RoleChanging<'_>) {
        let replication = &self.replication;
        let Some(following) = replication.following() else { return };
        following.end();
        let led = self.keyspace.change_reign(Reign::Own, || {
            replication.following.store(None);
            replication.stream().lead()
        });
        replication.forget_questions();
        replication.drop_links();
        match led {
            Ok(offset) => {
                let history = replication.stream().history.load();
                tracing::info!(offset, replid = %history.replid, "became a primary");
            }
            // The offsets are exhausted.
            Err(error) => self.break_history(&error.to_string()),
        }
    }

    /// Becomes a primary because its own asks for that, which hands over.
    ///
    /// # Errors
    /// The answer, if it may not.
    pub fn lead_as_asked(self: &Arc<Self>, request: &PsyncRequest) -> Result<(), &'static str> {
        let changing = self.replication.role_change.lock();
        let history = self.replication.stream().history.load();
        if !self.replication.is_replica() {
            // It was asked before, and the answer was lost.
            let asked_again = history.previous.is_some_and(|previous| {
                request.id == RequestedId::Known(previous.replid)
                    && u64::try_from(request.wanted).is_ok_and(|wanted| wanted <= previous.second_offset)
            });
            return if asked_again { Ok(()) } else { Err("ERR PSYNC FAILOVER can't be sent to a master.") };
        }
        if request.id != RequestedId::Known(history.replid) || self.replication.is_failing_over() {
            return Err("ERR PSYNC FAILOVER replid must match my replid.");
        }
        tracing::info!(replid = %history.replid, "the primary hands over");
        self.lead(&changing);
        drop(changing);
        self.note_role();
        Ok(())
    }

    /// Becomes a replica of the primary at this address, whatever it was before, if `may` says so of the end of
    /// the stream, under all locks. Returns whether it did. Must be called inside the runtime.
    pub(super) fn follow(
        self: &Arc<Self>,
        _changing: &RoleChanging<'_>,
        host: &str,
        port: u16,
        origin: Origin,
        may: &dyn Fn(u64) -> bool,
    ) -> bool {
        let replication = &self.replication;
        let before = replication.following();
        if before.as_ref().is_some_and(|before| before.port == port && before.host == host) {
            return true;
        }
        if let Some(before) = &before {
            before.end();
        }
        let following = Arc::new(Following::new(host, port, self.mono_ms()));
        let db = match origin {
            Origin::Saved { db } => db,
            _ => before.as_ref().and_then(|before| before.place.lock().db),
        };
        let changed = self.keyspace.try_change_reign(Reign::Followed, || {
            let stream = replication.stream();
            // First, so that the end is one: a ping needs no lock.
            let (writer, offset) = stream.follow();
            if !may(offset) {
                stream.take_back();
                return Err(());
            }
            following.applier.lock().writer = Some(writer);
            following.place.lock().db = db;
            replication.following.store(Some(Arc::clone(&following)));
            Ok(offset)
        });
        let Ok(offset) = changed else { return false };
        let id = replication.stream().history.load().replid;
        replication.drop_links();
        self.clients.end_waits_of_a_primary(&self.keyspace);
        tracing::info!(primary = %format_args!("{host}:{port}"), offset, replid = %id, "became a replica");
        let start = match origin {
            Origin::Shared | Origin::Saved { .. } => Start::Resume(Position { id, offset, db }),
            Origin::Unknown => Start::Anew,
        };
        tokio::spawn(follower::run(Arc::clone(self), following, start));
        true
    }
}
