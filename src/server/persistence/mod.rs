//! The snapshot on disk: `SAVE`, `BGSAVE`, save points, the end and the start.
//!
//! # Promise
//!
//! * The file is the whole data at one offset of the stream, and says which: it carries the replication ID and
//!   the offset of its cut. It is made as a full resync is, from a copy-on-write snapshot: nobody waits but who
//!   asked for it, and nothing is forked.
//! * There is always one whole file: the new one is written beside it, synced, renamed over it, and the
//!   directory is synced. Whatever fails before that leaves the previous one.
//! * An orderly end saves what is there when the last client is gone: a write that was answered is in the file,
//!   and in the stream of every replica that was waited for. So replicas stand exactly at the saved offset, and
//!   continue from there when the server is back.
//! * Without a directory (`dir`) nothing is written, and who asks for it is told so.
//!
//! | file | subject |
//! |---|---|
//! | this one | what runs, what was, when to save by itself |
//! | `file` | the file, whole or not at all |
//! | `start` | the saved stream and data |
//!
//! # One at a time
//!
//! `Persistence` has one place for a save that runs. Whoever takes it starts a blocking thread, which takes the
//! cut and writes; a flag ends it between two pieces. At the end of the server a save that runs is cancelled:
//! it is older than what is to be saved.
//!
//! # Differences from Valkey, on purpose
//!
//! * `SAVE` makes its own client wait, not the others. It is no command of a transaction, as there.
//! * `rdb_changes_since_last_save` counts commands of the stream, not keys: `DEL` of three keys is one change.
//! * `PING` is answered while writes are refused because a save has failed; in Valkey it is not.
//! * `dir` and `dbfilename` are fixed at the start, whatever `enable-protected-configs` would say.
//! * Keys that have expired are loaded by a primary too. Its first cycles reclaim them, and that is in the
//!   stream: replicas that continue have them as well.

mod file;
mod start;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::{oneshot, watch};
use tokio::time::{MissedTickBehavior, interval};

use super::state::{Phase, Shared, unix_ms};

pub use self::start::LoadFailed;
pub(super) use self::start::{SavedAt, load, saved_stream};

/// After a save that failed, the next one by itself comes so much later.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// What there is to say where there is no directory.
pub(super) const NO_DIRECTORY: &str = "there is no directory to save in: start with --dir";

/// Why a save failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum SaveError {
    #[error("{NO_DIRECTORY}")]
    NoDirectory,
    #[error("another save runs")]
    Busy,
    #[error("it was cancelled")]
    Cancelled,
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

/// What was saved.
#[derive(Clone, Copy, Debug)]
struct Saved {
    offset: u64,
    /// Commands that had been published.
    commands: u64,
    bytes: u64,
}

/// A save that has begun, for who waits for it.
#[derive(Debug)]
pub(super) struct Saving {
    waits_for: Stage,
    done: oneshot::Receiver<bool>,
}

/// How far a save has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// The data of this moment will be saved.
    Cut,
    /// It has been, or not.
    End,
}

impl Saving {
    /// Waits for the stage; whether it is reached as it should be.
    pub async fn done(self) -> (Stage, bool) {
        // A sender that is gone has reached nothing.
        (self.waits_for, self.done.await.unwrap_or(false))
    }
}

struct Running {
    cancelled: Arc<AtomicBool>,
    since: Instant,
}

struct State {
    running: Option<Running>,
    last_save_s: u64,
    last_failed: bool,
    last_try: Option<Instant>,
    last_took: Option<Duration>,
    /// Commands that had been published when the last file was cut.
    saved_commands: u64,
    /// The offset of the last file.
    saved_offset: Option<u64>,
    /// It was saved because the server ends.
    saved_the_end: bool,
    saves: u64,
    failures: u64,
}

/// What is loaded, for `INFO`.
#[derive(Debug, Default)]
pub(super) struct Loading {
    active: AtomicBool,
    pub since_s: AtomicU64,
    pub total_bytes: AtomicU64,
    pub loaded_bytes: AtomicU64,
    pub keys_loaded: AtomicU64,
    pub keys_expired: AtomicU64,
}

impl Loading {
    /// Whether the data is not there yet.
    pub fn is_active(&self) -> bool {
        // Acquire: pairs with `set`, so that who sees that it is over sees the data; its locks would do too.
        self.active.load(Ordering::Acquire)
    }

    pub fn set(&self, active: bool) {
        self.active.store(active, Ordering::Release);
    }
}

/// What `INFO` shows of saving.
#[derive(Clone, Debug)]
pub(super) struct SaveView {
    pub is_running: bool,
    pub running_s: Option<u64>,
    pub last_save_s: u64,
    pub last_failed: bool,
    pub last_took_s: Option<u64>,
    pub changes: u64,
    pub saves: u64,
    pub failures: u64,
}

/// Saving and loading.
pub(super) struct Persistence {
    state: Mutex<State>,
    /// Sent whenever a save ends.
    ended: watch::Sender<()>,
    /// The last save has failed: beside the state, for every write looks at it.
    has_failed: AtomicBool,
    pub loading: Loading,
}

impl Default for Persistence {
    fn default() -> Self {
        let state = State {
            running: None,
            last_save_s: unix_ms() / 1000,
            last_failed: false,
            last_try: None,
            last_took: None,
            saved_commands: 0,
            saved_offset: None,
            saved_the_end: false,
            saves: 0,
            failures: 0,
        };
        Persistence {
            state: Mutex::new(state),
            ended: watch::Sender::new(()),
            has_failed: AtomicBool::new(false),
            loading: Loading::default(),
        }
    }
}

impl Persistence {
    /// When the last file was saved, in seconds since the Unix epoch; at first, the start.
    pub fn last_save_s(&self) -> u64 {
        self.state.lock().last_save_s
    }

    /// Ends the save that runs; false if none does.
    pub fn cancel(&self) -> bool {
        let state = self.state.lock();
        // Relaxed: it is looked at again and again.
        state.running.as_ref().inspect(|running| running.cancelled.store(true, Ordering::Relaxed)).is_some()
    }

    fn begin(&self) -> Option<Arc<AtomicBool>> {
        let mut state = self.state.lock();
        if state.running.is_some() {
            return None;
        }
        let cancelled = Arc::new(AtomicBool::new(false));
        let now = Instant::now();
        state.running = Some(Running { cancelled: Arc::clone(&cancelled), since: now });
        state.last_try = Some(now);
        Some(cancelled)
    }

    fn end(&self, outcome: &Result<Saved, SaveError>) {
        let mut state = self.state.lock();
        let took = state.running.take().map(|running| running.since.elapsed());
        match outcome {
            Ok(saved) => {
                state.last_save_s = unix_ms() / 1000;
                state.last_failed = false;
                state.last_took = took;
                state.saved_commands = saved.commands;
                state.saved_offset = Some(saved.offset);
                state.saves += 1;
            }
            // As in Valkey: it says nothing about the disk.
            Err(SaveError::Cancelled) => {}
            Err(_) => {
                state.last_failed = true;
                state.last_took = took;
                state.failures += 1;
            }
        }
        self.has_failed.store(state.last_failed, Ordering::Relaxed);
        drop(state);
        self.ended.send_replace(());
    }

    /// Resolves when no save runs.
    async fn idle(&self) {
        let mut ended = self.ended.subscribe();
        while self.state.lock().running.is_some() {
            // The sender lives as long as `self`, so waiting cannot fail.
            let _ = ended.changed().await;
        }
    }
}

impl Shared {
    /// Whether writes are refused because the last save has failed.
    pub fn is_misconfigured(&self) -> bool {
        if !self.persistence.has_failed.load(Ordering::Relaxed) {
            return false;
        }
        let config = self.config.load();
        config.stop_writes_on_save_error && !config.save_points().is_empty()
    }

    /// What `INFO` shows.
    pub fn save_view(&self) -> SaveView {
        let published = self.published_commands();
        let state = self.persistence.state.lock();
        let running_s = state.running.as_ref().map(|running| running.since.elapsed().as_secs());
        SaveView {
            is_running: state.running.is_some(),
            running_s,
            last_save_s: state.last_save_s,
            last_failed: state.last_failed,
            last_took_s: state.last_took.map(|took| took.as_secs()),
            changes: published.saturating_sub(state.saved_commands),
            saves: state.saves,
            failures: state.failures,
        }
    }

    /// Begins a save on a thread of its own. Needs a runtime.
    ///
    /// # Errors
    /// [`SaveError::NoDirectory`], [`SaveError::Busy`].
    pub fn begin_save(self: &Arc<Self>, waits_for: Stage) -> Result<Saving, SaveError> {
        if self.config.load().dir.is_empty() {
            return Err(SaveError::NoDirectory);
        }
        let cancelled = self.persistence.begin().ok_or(SaveError::Busy)?;
        let (sender, done) = oneshot::channel();
        let shared = Arc::clone(self);
        tokio::task::spawn_blocking(move || {
            let mut sender = Some(sender);
            let mut reached = |stage, well| {
                if stage == waits_for
                    && let Some(sender) = sender.take()
                {
                    // Nobody to receive it: the client has gone.
                    let _ = sender.send(well);
                }
            };
            let outcome = shared.save(&cancelled, &mut || reached(Stage::Cut, true));
            shared.persistence.end(&outcome);
            reached(Stage::End, outcome.is_ok());
        });
        Ok(Saving { waits_for, done })
    }

    /// Takes the cut and writes the file.
    fn save(&self, cancelled: &AtomicBool, at_cut: &mut dyn FnMut()) -> Result<Saved, SaveError> {
        let path = file::path(&self.config.load()).ok_or(SaveError::NoDirectory)?;
        let started = Instant::now();
        let outcome = self.cut_to_save().map_err(SaveError::Io).and_then(|saveable| {
            at_cut();
            let (offset, commands) = (saveable.offset(), saveable.commands);
            let bytes = file::replace(&path, |write| {
                saveable.write(&mut |chunk| {
                    // Relaxed: it is looked at again.
                    if cancelled.load(Ordering::Relaxed) {
                        return Err(std::io::ErrorKind::Interrupted.into());
                    }
                    write(&chunk)
                })
            });
            match bytes {
                Err(_) if cancelled.load(Ordering::Relaxed) => Err(SaveError::Cancelled),
                bytes => Ok(Saved { offset, commands, bytes: bytes? }),
            }
        });
        let took_ms = started.elapsed().as_millis();
        match &outcome {
            Ok(Saved { offset, bytes, .. }) => {
                tracing::info!(path = %path.display(), offset, bytes, took_ms, "saved");
            }
            Err(SaveError::Cancelled) => tracing::info!(path = %path.display(), "saving was cancelled"),
            Err(error) => {
                tracing::error!(path = %path.display(), %error, "cannot save, the previous file is kept");
            }
        }
        outcome
    }

    /// Saves now, in place of a save that runs.
    async fn save_instead(self: &Arc<Self>) -> Result<(), SaveError> {
        loop {
            self.persistence.cancel();
            self.persistence.idle().await;
            match self.begin_save(Stage::End) {
                // Somebody else was faster.
                Err(SaveError::Busy) => {}
                Err(error) => return Err(error),
                Ok(saving) => {
                    let (_, well) = saving.done().await;
                    return if well { Ok(()) } else { Err(SaveError::Cancelled) };
                }
            }
        }
    }

    /// If the end was saved and anything has come into the stream since, from a command that had passed the
    /// pause before: saves once more. All connections have ended.
    pub async fn save_the_rest(self: &Arc<Self>) {
        let end = self.replication.end_offset();
        {
            let state = self.persistence.state.lock();
            if !state.saved_the_end || state.saved_offset == Some(end) {
                return;
            }
        }
        if self.save_instead().await.is_err() {
            tracing::error!(end, "the last writes are not in the saved file");
        }
    }

    fn is_save_due(&self) -> bool {
        let config = self.config.load();
        let points = config.save_points();
        if points.is_empty() {
            return false;
        }
        let view = self.save_view();
        let elapsed_s = (unix_ms() / 1000).saturating_sub(view.last_save_s);
        let may_retry = || {
            let state = self.persistence.state.lock();
            !state.last_failed || state.last_try.is_none_or(|at| at.elapsed() > RETRY_AFTER)
        };
        !view.is_running
            && points.iter().any(|point| view.changes >= point.changes && elapsed_s > point.seconds)
            && may_retry()
    }
}

/// Saves when a save point is reached. Never returns.
pub(super) async fn save_by_points(shared: &Arc<Shared>) {
    let mut tick = interval(Duration::from_secs(1));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let is_running = *shared.phase.borrow() == Phase::Running;
        if is_running && shared.is_save_due() {
            // One that has just begun will do.
            let _ = shared.begin_save(Stage::End);
        }
    }
}

/// Saves when the server is to end with a save, and lets it end or go on. Never returns.
pub(super) async fn save_at_end(shared: &Arc<Shared>) {
    let mut phase = shared.phase.subscribe();
    loop {
        // The sender lives as long as `shared`, so waiting cannot fail.
        let _ = phase.wait_for(|phase| matches!(phase, Phase::Saving { .. })).await;
        let outcome = shared.save_instead().await;
        shared.persistence.state.lock().saved_the_end = outcome.is_ok();
        shared.end_saving(outcome.is_ok());
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::keyspace::Call;
    use crate::resync::History;
    use crate::server::Config;
    use crate::server::replication::Stream;
    use crate::server::state::random_id;

    fn shared(dir: &tempfile::TempDir) -> Arc<Shared> {
        let dir = dir.path().to_str().expect("text").to_owned();
        let config = Config { dir, ..Config::default() };
        let stream = Stream::new(&config, History::new(random_id()), 0).expect("a stream");
        Arc::new(Shared::new(config, stream, 0))
    }

    fn set(shared: &Shared, key: &'static str) {
        let argv = ["SET", key, "v"].map(Bytes::from).to_vec();
        shared.keyspace.execute(&[Call { db: 0, argv }], unix_ms(), &mut |effects| {
            shared.publish(effects).expect("it is published");
        });
    }

    async fn saved(shared: &Arc<Shared>) {
        let saving = shared.begin_save(Stage::End).expect("nothing else runs");
        assert_eq!(saving.done().await, (Stage::End, true));
    }

    /// A command that had passed the pause is executed when the end has been saved: nobody waits for it then.
    #[tokio::test]
    async fn what_comes_after_the_end_was_saved_is_saved_as_well() {
        let dir = tempfile::tempdir().expect("a directory");
        let shared = shared(&dir);
        set(&shared, "a");
        saved(&shared).await;
        shared.save_the_rest().await;
        assert_eq!(shared.save_view().saves, 1, "the server does not end with a save");
        shared.persistence.state.lock().saved_the_end = true;
        shared.save_the_rest().await;
        assert_eq!(shared.save_view().saves, 1, "there is no rest");
        set(&shared, "b");
        shared.save_the_rest().await;
        let view = shared.save_view();
        assert_eq!((view.saves, view.changes), (2, 0));
        let at = saved_stream(&shared.config.load()).expect("a file").expect("a stream");
        assert_eq!(at.offset, shared.replication.end_offset());
        assert_eq!(at.replid, shared.replication.stream().history.load().replid);
    }

    #[tokio::test]
    async fn save_points_need_their_changes_their_time_and_a_directory() {
        let dir = tempfile::tempdir().expect("a directory");
        let shared = shared(&dir);
        let with = |save: &str| {
            let mut config = (**shared.config.load()).clone();
            config.set("save", save).expect("save points");
            shared.config.store(Arc::new(config));
        };
        set(&shared, "a");
        let long_ago = |shared: &Shared, seconds| {
            shared.persistence.state.lock().last_save_s = unix_ms() / 1000 - seconds;
        };
        long_ago(&shared, 100);
        for (points, due) in
            [("", false), ("90 1", true), ("90 2", false), ("200 1", false), ("200 1 90 1", true)]
        {
            with(points);
            assert_eq!(shared.is_save_due(), due, "{points:?}");
        }
        with("90 1");
        saved(&shared).await;
        long_ago(&shared, 100);
        assert!(!shared.is_save_due(), "nothing has changed");
        set(&shared, "b");
        assert!(shared.is_save_due());
        {
            let mut state = shared.persistence.state.lock();
            state.last_failed = true;
        }
        assert!(!shared.is_save_due(), "a failure is not repeated at once");
    }
}
