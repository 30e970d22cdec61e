//! The start: where the saved stream ended, and the saved data.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::super::config::{Config, UnsupportedDataPolicy};
use super::super::loading::{self, Expired, LoadError, LoadPolicy, Unheld};
use super::super::state::{Shared, random_id, unix_ms};
use super::file;
use crate::keyspace::ExpiryPolicy;
use crate::rdb::{Event, Handling, Limits, Options, Reader};
use crate::resync::ReplicationId;

/// How often progress is logged.
const PROGRESS_PERIOD: Duration = Duration::from_secs(2);
/// How much is read at once.
const READ_BYTES: usize = 256 * 1024;

/// A saved file that cannot be loaded. It is left as it is.
#[derive(Debug, thiserror::Error)]
#[error("cannot load {}: {reason}. The file is left as it is", path.display())]
pub struct LoadFailed {
    /// The file.
    pub path: PathBuf,
    /// What is wrong, and at which byte.
    pub reason: String,
}

/// Where the stream ended that a file belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::server) struct SavedAt {
    pub replid: ReplicationId,
    pub offset: u64,
    /// The database selected there, if a command may follow without a `SELECT`.
    pub db: Option<u32>,
}

/// Looks into the saved file, if there is one, for the stream that it belongs to.
///
/// # Errors
/// [`LoadFailed`] if there is no such directory, or what is there is no snapshot.
pub(in crate::server) fn saved_stream(config: &Config) -> Result<Option<SavedAt>, LoadFailed> {
    let Some(path) = file::path(config) else { return Ok(None) };
    let failed = |reason: String| LoadFailed { path: path.clone(), reason };
    if !Path::new(&config.dir).is_dir() {
        return Err(failed("there is no such directory".to_owned()));
    }
    let Some(file) = open(&path).map_err(|error| failed(error.to_string()))? else { return Ok(None) };
    read_stream(BufReader::new(file)).map_err(|error| failed(error.to_string()))
}

fn open(path: &Path) -> io::Result<Option<File>> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Reads the aux fields, which come first.
fn read_stream(file: impl io::BufRead) -> Result<Option<SavedAt>, LoadError> {
    let options = Options { values: Handling::Skip, others: Handling::Skip, ..Options::default() };
    let mut reader = Reader::new(file, options)?;
    let (mut replid, mut offset, mut db) = (None, None, None);
    while let Some(Event::Aux { key, value }) = reader.next_event()? {
        let text = std::str::from_utf8(&value).ok();
        match &key[..] {
            b"repl-id" => replid = text.and_then(|text| text.parse::<ReplicationId>().ok()),
            // An offset goes one beyond what it counts.
            b"repl-offset" => {
                offset =
                    text.and_then(|text| text.parse::<u64>().ok()).filter(|offset| *offset < i64::MAX as u64);
            }
            b"repl-stream-db" => db = text.and_then(|text| text.parse::<u32>().ok()),
            _ => {}
        }
    }
    Ok(replid.zip(offset).map(|(replid, offset)| SavedAt { replid, offset, db }))
}

/// A file that is being read: fails when the server ends meanwhile.
struct Watched<'s> {
    file: File,
    shared: &'s Shared,
}

impl Read for Watched<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.shared.is_running() {
            return Err(io::Error::other("the server ends"));
        }
        self.file.read(buffer)
    }
}

/// Loads the saved file, if there is one, and puts it in place. Blocks.
///
/// # Errors
/// [`LoadFailed`]; the keyspace is as it was.
pub(in crate::server) fn load(shared: &Arc<Shared>) -> Result<(), LoadFailed> {
    let config = shared.config.load();
    let Some(path) = file::path(&config) else { return Ok(()) };
    let failed = |reason: String| LoadFailed { path: path.clone(), reason };
    let io_failed = |error: io::Error| failed(error.to_string());
    let Some(file) = open(&path).map_err(io_failed)? else {
        tracing::info!(path = %path.display(), "no saved file, starting empty");
        return Ok(());
    };
    let total_bytes = file.metadata().map_err(io_failed)?.len();
    let progress = &shared.persistence.loading;
    progress.since_s.store(unix_ms() / 1000, Ordering::Relaxed);
    progress.total_bytes.store(total_bytes, Ordering::Relaxed);
    tracing::info!(path = %path.display(), bytes = total_bytes, "loading");
    let policy = LoadPolicy {
        expired: Expired::Keep,
        unheld: match config.unsupported_data_policy {
            UnsupportedDataPolicy::Refuse => Unheld::Refuse,
            UnsupportedDataPolicy::Skip => Unheld::LeaveOut,
        },
        max_string_bytes: Limits::default().max_string_bytes,
    };
    let started = Instant::now();
    let mut told = started;
    let mut tell = |bytes: u64| {
        progress.loaded_bytes.store(bytes, Ordering::Relaxed);
        if told.elapsed() >= PROGRESS_PERIOD {
            told = Instant::now();
            let percent = bytes.saturating_mul(100) / total_bytes.max(1);
            tracing::info!(bytes, percent, "loading");
        }
    };
    let read = BufReader::with_capacity(READ_BYTES, Watched { file, shared });
    let (draft, report) =
        loading::load(&shared.keyspace, policy, read, &mut tell).map_err(|error| failed(explain(&error)))?;
    if report.bytes < total_bytes {
        let behind = total_bytes - report.bytes;
        return Err(failed(format!("{behind} bytes stand behind its end, at byte {}", report.bytes)));
    }
    // Nobody waits for a key before there is one.
    draft.put_in_place(ExpiryPolicy::Ignore, unix_ms(), &mut |_| (), &mut || ());
    progress.keys_loaded.store(report.keys, Ordering::Relaxed);
    progress.keys_expired.store(report.expired, Ordering::Relaxed);
    if !report.left_out.is_empty() {
        // Replicas may have it: none continues from data that lacks it.
        shared.replication.stream().history.reset(random_id());
        tracing::warn!(left_out = %report.left_out, "loaded without what cannot be held here");
    }
    let took_ms = started.elapsed().as_millis();
    tracing::info!(keys = report.keys, empty = report.empty, took_ms, "loaded");
    Ok(())
}

fn explain(error: &LoadError) -> String {
    match error {
        LoadError::LeftOut(_) => format!("{error}; --config unsupported-data-policy=skip loads the rest"),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALKEY: &[u8] = include_bytes!("../../../tests/fixtures/rdb/valkey-9.1.2.rdb");

    #[test]
    fn a_file_without_a_stream_belongs_to_none() {
        assert_eq!(read_stream(VALKEY).expect("a snapshot"), None);
    }

    #[test]
    fn what_is_no_snapshot_is_refused_before_anything_else() {
        let directory = tempfile::tempdir().expect("a directory");
        let dir = directory.path().to_str().expect("text").to_owned();
        let config = Config { dir, ..Config::default() };
        assert_eq!(saved_stream(&config).expect("nothing there"), None);
        std::fs::write(directory.path().join("dump.rdb"), b"#!/bin/sh\nexit\n").expect("written");
        let refusal = saved_stream(&config).expect_err("no snapshot").to_string();
        assert!(refusal.contains("not an RDB file"), "{refusal}");
        let nowhere = Config { dir: format!("{}/nowhere", config.dir), ..config };
        let refusal = saved_stream(&nowhere).expect_err("no directory").to_string();
        assert!(refusal.contains("no such directory"), "{refusal}");
    }
}
