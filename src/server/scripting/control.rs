//! The script that runs: for how long, whether it may be ended, and who waits for it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::Notify;

use super::PATIENCE;

/// The longest that a script waits for somebody to take its worker thread's tasks over.
const HANDOVER: Duration = Duration::from_secs(1);

/// What may be asked about the script that runs, by anybody.
#[derive(Debug)]
pub(in crate::server) struct Control {
    epoch: Instant,
    /// When it began, in milliseconds since `epoch`, plus 1; 0 while none runs. Relaxed: who misses that one has
    /// begun waits for a lock instead.
    since: AtomicU64,
    written: AtomicBool,
    killed: AtomicBool,
    stepped_aside: AtomicBool,
    ended: Notify,
}

impl Default for Control {
    fn default() -> Self {
        Control {
            epoch: Instant::now(),
            since: AtomicU64::new(0),
            written: AtomicBool::new(false),
            killed: AtomicBool::new(false),
            stepped_aside: AtomicBool::new(false),
            ended: Notify::new(),
        }
    }
}

/// Why a script is not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::server) enum NotKilled {
    NoneRuns,
    HasWritten,
}

impl Control {
    fn now(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_millis()).unwrap_or(u64::MAX).saturating_add(1)
    }

    /// For how long a script has been running; `None` if none does.
    #[inline]
    pub fn running(&self) -> Option<Duration> {
        let since = self.since.load(Ordering::Relaxed);
        (since > 0).then(|| Duration::from_millis(self.now().saturating_sub(since)))
    }

    /// A script begins; it ends when the result is dropped. The locks of all shards are held.
    pub fn begin(&self) -> Running<'_> {
        self.written.store(false, Ordering::Relaxed);
        self.killed.store(false, Ordering::Relaxed);
        self.stepped_aside.store(false, Ordering::Relaxed);
        self.since.store(self.now(), Ordering::Relaxed);
        Running(self)
    }

    /// The script is about to write.
    pub fn note_write(&self) {
        self.written.store(true, Ordering::Relaxed);
    }

    pub fn has_written(&self) -> bool {
        self.written.load(Ordering::Relaxed)
    }

    /// `SCRIPT KILL`.
    pub fn kill(&self) -> Result<(), NotKilled> {
        if self.running().is_none() {
            return Err(NotKilled::NoneRuns);
        }
        if self.has_written() {
            return Err(NotKilled::HasWritten);
        }
        self.killed.store(true, Ordering::Relaxed);
        Ok(())
    }

    pub fn is_killed(&self) -> bool {
        self.killed.load(Ordering::Relaxed)
    }

    /// A script that has run for a while leaves its worker's tasks to another thread, once, and goes on when
    /// somebody has them: it sees a task of its own run.
    pub fn step_aside(&self) {
        if self.running().is_none_or(|ran| ran < PATIENCE) || self.stepped_aside.swap(true, Ordering::Relaxed)
        {
            return;
        }
        let Ok(handle) = Handle::try_current() else { return };
        if handle.runtime_flavor() != RuntimeFlavor::MultiThread {
            return;
        }
        tokio::task::block_in_place(|| {
            let (sender, ran) = mpsc::channel();
            handle.spawn(async move {
                // Nobody waits any more if it took too long.
                let _ = sender.send(());
            });
            if ran.recv_timeout(HANDOVER).is_err() {
                tracing::warn!("nobody takes over the tasks of a thread that runs a long script");
            }
        });
    }

    /// Resolves when no script runs, or when the one that does has run for this long; zero means never.
    pub async fn ended_or_late(&self, threshold: Duration) {
        loop {
            let ended = self.ended.notified();
            let mut ended = std::pin::pin!(ended);
            ended.as_mut().enable();
            let Some(ran) = self.running() else { return };
            if threshold.is_zero() {
                ended.await;
                continue;
            }
            let left = threshold.saturating_sub(ran);
            if left.is_zero() {
                return;
            }
            // Whichever it is, the next look tells.
            let _ = tokio::time::timeout(left, ended).await;
        }
    }
}

/// A script that runs.
#[must_use = "it runs until this is dropped"]
pub(in crate::server) struct Running<'a>(&'a Control);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.since.store(0, Ordering::Relaxed);
        self.0.ended.notify_waiters();
    }
}
