//! A snapshot becomes data: from a file at the start, from a primary in a full resync.
//!
//! # Promise
//!
//! * What Valkey up to 9.1 and Redis up to 7.4 write is taken, in every encoding ([`crate::rdb`]), as it comes:
//!   no more than one value is held besides the data.
//! * It goes into a [`Draft`]: the live data is untouched until the caller puts the whole in place. What is
//!   torn, garbled or contradicts itself ends as a typed error that says at which byte, never as a part of the
//!   data.
//! * **Nothing is left out in silence.** What a keyspace cannot hold (streams, values of modules, function
//!   libraries) is counted, the first keys are named, and loading fails at the end unless the caller wants to
//!   go on without.
//! * No deadline is judged, but if the caller says so: those of keys under [`Expired::Drop`].
//!
//! # Two sources
//!
//! [`Loader`] is fed with pieces, as a socket delivers them; [`load`] pulls from a file, which costs about a third
//! less. Both hand the same events to `Filling`, which does all the rest.

use std::io::BufRead;
use std::sync::Arc;

use bytes::Bytes;

use super::state::unix_ms;
use crate::keyspace::{Draft, DraftError, Keyspace};
use crate::rdb::{
    Decoder, Entry, Event, FileVersion, Handling, Options, ReadError, Reader, Value, ValueType,
};

/// So many keys that cannot be held are named.
pub(super) const NAMED_UNHELD_KEYS: usize = 8;
/// So many aux fields are kept; servers write about ten.
const MAX_AUX: usize = 64;

/// What becomes of keys whose deadline has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expired {
    /// They are loaded: only a primary deletes, and says so in its stream.
    Keep,
    /// They are dropped and counted, where no stream needs to know.
    Drop,
}

/// What becomes of what a keyspace cannot hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unheld {
    /// Loading fails, at the end, so that all of it is known.
    Refuse,
    /// It is left out, and reported.
    LeaveOut,
}

/// How a snapshot is loaded.
#[derive(Clone, Copy, Debug)]
pub(super) struct LoadPolicy {
    pub expired: Expired,
    pub unheld: Unheld,
    /// The longest string, in bytes.
    pub max_string_bytes: u64,
}

/// What a snapshot has that a keyspace cannot hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct LeftOut {
    /// Keys with streams or values of modules.
    pub keys: u64,
    /// The first of them.
    pub first: Vec<(u16, Bytes, ValueType)>,
    /// Function libraries.
    pub functions: u64,
    /// What modules keep beside the keys.
    pub module_data: u64,
}

impl LeftOut {
    pub fn is_empty(&self) -> bool {
        self.keys + self.functions + self.module_data == 0
    }
}

impl std::fmt::Display for LeftOut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} keys", self.keys)?;
        let mut before = " (";
        for (db, key, value_type) in &self.first {
            write!(f, "{before}'{}' of type {value_type} in database {db}", Draft::shown_key(key))?;
            before = ", ";
        }
        if !self.first.is_empty() {
            let rest = self.keys.saturating_sub(self.first.len() as u64);
            f.write_str(if rest > 0 { ", …)" } else { ")" })?;
        }
        write!(f, ", {} function libraries, {} of modules", self.functions, self.module_data)
    }
}

/// What the stream was when the snapshot was taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct SavedStream {
    /// `repl-id`
    pub replid: Option<String>,
    /// `repl-offset`
    pub offset: Option<u64>,
    /// `repl-stream-db`; -1 is none.
    pub db: Option<i64>,
}

/// What was loaded.
#[derive(Clone, Debug, Default)]
pub(super) struct LoadReport {
    pub version: Option<FileVersion>,
    /// Bytes of the snapshot.
    pub bytes: u64,
    pub keys: u64,
    /// Keys that were dropped because their deadline had passed.
    pub expired: u64,
    /// Keys without elements, as some old servers wrote them: there are none any more.
    pub empty: u64,
    pub left_out: LeftOut,
    /// The first aux fields.
    pub aux: Vec<(Bytes, Bytes)>,
    pub stream: SavedStream,
}

/// Why a snapshot cannot be loaded. Positions count bytes from the magic on: where reading stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(super) enum LoadError {
    #[error("{0}")]
    Read(#[from] ReadError),
    #[error("key '{}' before byte {position}, in database {db}: {reason}", Draft::shown_key(key))]
    Key { position: u64, db: u16, key: Bytes, reason: DraftError },
    #[error("the snapshot has what cannot be held here: {0}")]
    LeftOut(LeftOut),
}

/// Data that comes together.
struct Filling {
    draft: Draft,
    policy: LoadPolicy,
    now_ms: u64,
    db: u16,
    report: LoadReport,
}

impl Filling {
    fn new(keyspace: &Arc<Keyspace>, policy: LoadPolicy) -> Filling {
        let report = LoadReport::default();
        Filling { draft: keyspace.draft(), policy, now_ms: unix_ms(), db: 0, report }
    }

    /// Takes an event that ends before `position`.
    fn take(&mut self, event: Event, position: u64) -> Result<(), LoadError> {
        match event {
            Event::Entry(entry) => return self.entry(entry, position),
            Event::SelectDb(db) => self.db = db,
            Event::Aux { key, value } => self.aux(key, value),
            Event::Skipped(Entry { key, value, .. }) => {
                let left_out = &mut self.report.left_out;
                left_out.keys += 1;
                if left_out.first.len() < NAMED_UNHELD_KEYS {
                    left_out.first.push((self.db, key, value));
                }
            }
            Event::SkippedFunction | Event::Function(_) => self.report.left_out.functions += 1,
            Event::ModuleAux { .. } => self.report.left_out.module_data += 1,
            // Hints, and those about slots of a cluster; values are not asked for raw.
            _ => {}
        }
        Ok(())
    }

    fn entry(&mut self, entry: Entry, position: u64) -> Result<(), LoadError> {
        let has_expired = entry.deadline_ms.is_some_and(|deadline_ms| self.now_ms > deadline_ms);
        if has_expired && self.policy.expired == Expired::Drop {
            self.report.expired += 1;
            return Ok(());
        }
        if has_no_elements(&entry.value) {
            self.report.empty += 1;
            return Ok(());
        }
        let (db, key) = (self.db, entry.key.clone());
        self.draft.insert(db, entry, self.now_ms).map_err(|reason| LoadError::Key {
            position,
            db,
            key,
            reason,
        })
    }

    fn aux(&mut self, key: Bytes, value: Bytes) {
        let text = std::str::from_utf8(&value).ok();
        let stream = &mut self.report.stream;
        match &key[..] {
            b"repl-id" => stream.replid = text.map(str::to_owned),
            b"repl-offset" => stream.offset = text.and_then(|text| text.parse().ok()),
            b"repl-stream-db" => stream.db = text.and_then(|text| text.parse().ok()),
            _ => {}
        }
        if self.report.aux.len() < MAX_AUX {
            self.report.aux.push((key, value));
        }
    }

    fn finish(mut self, version: Option<FileVersion>, bytes: u64) -> Result<(Draft, LoadReport), LoadError> {
        if self.policy.unheld == Unheld::Refuse && !self.report.left_out.is_empty() {
            return Err(LoadError::LeftOut(self.report.left_out));
        }
        self.report.version = version;
        self.report.bytes = bytes;
        self.report.keys = self.draft.len();
        Ok((self.draft, self.report))
    }
}

fn has_no_elements(value: &Value) -> bool {
    match value {
        Value::String(_) => false,
        Value::List(elements) | Value::Set(elements) => elements.is_empty(),
        Value::SortedSet(members) => members.is_empty(),
        Value::Hash(fields) => fields.is_empty(),
    }
}

fn reading(policy: LoadPolicy) -> Options {
    let mut options = Options { others: Handling::Skip, ..Options::default() };
    options.limits.max_string_bytes = policy.max_string_bytes;
    options
}

/// Loads a snapshot that comes in pieces. It does no I/O and never waits; dropping it drops what came so far.
pub(super) struct Loader {
    decoder: Decoder,
    filling: Filling,
}

impl Loader {
    /// For contents of `keyspace`.
    pub fn new(keyspace: &Arc<Keyspace>, policy: LoadPolicy) -> Loader {
        Loader { decoder: Decoder::new(reading(policy)), filling: Filling::new(keyspace, policy) }
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// [`LoadError`]; it is final.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(), LoadError> {
        self.decoder.feed(bytes);
        while let Some(event) = self.decoder.next_event()? {
            self.filling.take(event, self.decoder.position())?;
        }
        Ok(())
    }

    /// Keys so far.
    pub fn keys(&self) -> u64 {
        self.filling.draft.len()
    }

    /// Says that nothing more comes. Bytes behind the end of the snapshot are ignored.
    ///
    /// # Errors
    /// [`LoadError`], also if the snapshot has not ended.
    pub fn finish(self) -> Result<(Draft, LoadReport), LoadError> {
        let (version, bytes) = (self.decoder.version(), self.decoder.position());
        self.decoder.finish()?;
        self.filling.finish(version, bytes)
    }
}

/// Loads a snapshot from `read`; `progress` is told the position now and then.
///
/// # Errors
/// [`LoadError`].
pub(super) fn load(
    keyspace: &Arc<Keyspace>,
    policy: LoadPolicy,
    read: impl BufRead,
    progress: &mut dyn FnMut(u64),
) -> Result<(Draft, LoadReport), LoadError> {
    /// Events between two reports of progress.
    const PROGRESS_EVENTS: u64 = 1024;
    let mut filling = Filling::new(keyspace, policy);
    let mut reader = Reader::new(read, reading(policy))?;
    let mut events = 0;
    while let Some(event) = reader.next_event()? {
        filling.take(event, reader.position())?;
        events += 1;
        if events % PROGRESS_EVENTS == 0 {
            progress(reader.position());
        }
    }
    filling.finish(Some(reader.version()), reader.position())
}

#[cfg(test)]
mod tests;
