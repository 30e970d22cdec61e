//! A primary's snapshot, loaded as it comes by a thread of its own.
//!
//! Decoding is heavy, so it runs on one of the runtime's blocking threads; the pieces come through a bounded
//! channel, so that the primary waits when it sends faster than they are loaded.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::keyspace::{Draft, ExpiryPolicy};
use crate::server::config::{Config, UnsupportedDataPolicy};
use crate::server::loading::{Expired, LoadError, LoadPolicy, LoadReport, Loader, Unheld};
use crate::server::state::{Shared, unix_ms};

/// Pieces that may wait to be loaded.
const PIECES_AHEAD: usize = 16;

/// Why a snapshot was not loaded.
#[derive(Debug, thiserror::Error)]
pub(super) enum CannotLoad {
    #[error(transparent)]
    Snapshot(#[from] LoadError),
    #[error("the loading thread failed: {0}")]
    Thread(#[from] tokio::task::JoinError),
}

impl CannotLoad {
    /// Whether another copy would have the same fault.
    pub fn is_for_good(&self) -> bool {
        matches!(self, CannotLoad::Snapshot(LoadError::LeftOut(_) | LoadError::Key { .. }))
    }
}

/// A snapshot that is loaded while it comes. Dropped, it is given up.
pub(super) struct Load {
    pieces: Option<mpsc::Sender<Bytes>>,
    thread: JoinHandle<Result<Loaded, LoadError>>,
}

/// A snapshot that is whole, and not yet in place.
pub(super) struct Loaded {
    draft: Draft,
    report: LoadReport,
}

fn policy(config: &Config) -> LoadPolicy {
    LoadPolicy {
        // Only the primary deletes.
        expired: Expired::Keep,
        unheld: match config.unsupported_data_policy {
            UnsupportedDataPolicy::Refuse => Unheld::Refuse,
            UnsupportedDataPolicy::Skip => Unheld::LeaveOut,
        },
        max_string_bytes: config.max_bulk_bytes,
    }
}

impl Load {
    pub fn begin(shared: &Arc<Shared>) -> Load {
        let (pieces, mut arriving) = mpsc::channel::<Bytes>(PIECES_AHEAD);
        let mut loader = Loader::new(&shared.keyspace, policy(&shared.config.load()));
        let thread = tokio::task::spawn_blocking(move || {
            while let Some(piece) = arriving.blocking_recv() {
                loader.feed(&piece)?;
            }
            let (draft, report) = loader.finish()?;
            Ok(Loaded { draft, report })
        });
        Load { pieces: Some(pieces), thread }
    }

    /// Hands on the next bytes.
    pub async fn feed(&self, piece: Bytes) {
        if let Some(pieces) = &self.pieces {
            // A thread that has ended says why in `loaded`.
            let _ = pieces.send(piece).await;
        }
    }

    /// Nothing more comes.
    pub fn end(&mut self) {
        self.pieces = None;
    }

    /// Resolves when everything is loaded, or it has failed.
    pub async fn loaded(&mut self) -> Result<Loaded, CannotLoad> {
        Ok((&mut self.thread).await??)
    }
}

impl Loaded {
    pub fn report(&self) -> &LoadReport {
        &self.report
    }

    /// The database selected in the stream where the snapshot was taken, if it says so.
    pub fn stream_db(&self) -> Option<u32> {
        self.report.stream.db.and_then(|db| u32::try_from(db).ok())
    }

    /// Puts it in the place of the data; `settled` is called while every lock is held.
    pub fn put_in_place(self, settled: &mut dyn FnMut()) {
        // What the data is now is the primary's affair: nobody is served, nothing is published.
        self.draft.put_in_place(ExpiryPolicy::Ignore, unix_ms(), &mut |_| {}, settled);
    }
}
