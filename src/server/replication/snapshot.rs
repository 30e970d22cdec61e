//! The snapshot's bytes.
//!
//! Serialising a large keyspace is heavy and may block on a temporary file, so it runs on the
//! runtime's blocking threads. The bytes come in chunks through a bounded channel: a slow replica
//! slows its serialisation and never makes it buffer the whole; a replica that is gone closes the
//! channel, the next chunk cannot be sent, and the snapshot is dropped with its pre-images.
//!
//! Deadlines, of keys and of fields, are written as they are stored, past ones too. A replica that cannot
//! hold those of fields comes here only if there are none, or if the operator wants them stripped: see
//! [`deadlines`](super::deadlines).

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::keyspace::{Snapshot, SnapshotEntry, Value};
use crate::rdb::{Header, Kind, ReplicationAux, SnapshotFormat, Writer};
use crate::resync::ReplicationId;
use crate::server::commands::COMPATIBLE_VERSION;
use crate::server::state::{Shared, unix_ms};

/// The Valkey version named in snapshots of its format.
const VALKEY_VERSION: &str = "9.0.0";
/// Size of the pieces in which a snapshot is handed to the socket.
const CHUNK_BYTES: usize = 64 * 1024;
/// Pieces that may be ready before the socket takes them.
const CHUNKS_AHEAD: usize = 16;

/// A snapshot's bytes, in order; an error ends them.
pub(super) type Chunks = mpsc::Receiver<io::Result<Bytes>>;

/// What is to be serialised.
pub(super) struct Source {
    /// `None` for a snapshot without keys.
    pub snapshot: Option<Snapshot>,
    pub format: SnapshotFormat,
    pub replid: ReplicationId,
    pub offset: u64,
    /// The database selected there, if a command may follow without a `SELECT`.
    pub stream_db: Option<u32>,
}

/// A snapshot in an anonymous file.
pub(super) struct Spooled {
    file: File,
    pub len_bytes: u64,
}

/// Counts a running snapshot for `INFO`.
struct Running(Arc<Shared>);

impl Running {
    fn new(shared: &Arc<Shared>) -> Self {
        shared.replication.snapshots_running.fetch_add(1, Ordering::Relaxed);
        Running(Arc::clone(shared))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.replication.snapshots_running.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What is to be saved: the data at one offset of the stream.
pub(in crate::server) struct Saveable {
    source: Source,
    /// Commands that had been published.
    pub commands: u64,
}

impl Saveable {
    /// The offset of the cut.
    pub fn offset(&self) -> u64 {
        self.source.offset
    }

    /// Writes the snapshot, chunk by chunk.
    ///
    /// # Errors
    /// `sink`'s.
    pub fn write(self, sink: &mut dyn FnMut(Bytes) -> io::Result<()>) -> io::Result<()> {
        write(self.source, sink)
    }
}

impl Shared {
    /// Takes the cut of a save. What follows in the stream is preceded by a `SELECT`, so that the saved
    /// database is the first.
    ///
    /// # Errors
    /// The stream takes no more.
    pub fn cut_to_save(&self) -> io::Result<Saveable> {
        let replication = &self.replication;
        let mark = |_| -> io::Result<_> {
            let stream = replication.stream();
            let (offset, stream_db) = replication.place_of_cut(&stream).map_err(io::Error::other)?;
            Ok((offset, stream_db, replication.commands(), stream.history.load().replid))
        };
        let ((offset, stream_db, commands, replid), snapshot) = self.keyspace.try_cut(mark)?;
        let source =
            Source { snapshot: Some(snapshot), format: SnapshotFormat::Valkey80, replid, offset, stream_db };
        Ok(Saveable { source, commands })
    }

    /// Commands that have been published since the start.
    pub fn published_commands(&self) -> u64 {
        self.replication.commands()
    }
}

/// Serialises `source`, chunk by chunk.
pub(super) fn stream(shared: &Arc<Shared>, source: Source) -> Chunks {
    let (sender, chunks) = mpsc::channel(CHUNKS_AHEAD);
    let running = Running::new(shared);
    tokio::task::spawn_blocking(move || {
        let _running = running;
        let mut send = |chunk| sender.blocking_send(Ok(chunk)).map_err(|_| io::ErrorKind::BrokenPipe.into());
        if let Err(error) = write(source, &mut send) {
            // If the receiver is gone nobody needs to know.
            let _ = sender.blocking_send(Err(error));
        }
    });
    chunks
}

/// Serialises `source` into an anonymous temporary file. When the future is dropped, so are the
/// snapshot and the file: replicas that come and go must not leave work behind.
pub(super) async fn spool(shared: &Arc<Shared>, source: Source) -> io::Result<Spooled> {
    let running = Running::new(shared);
    // Lives as long as this future.
    let wanted = Arc::new(());
    let still_wanted = Arc::downgrade(&wanted);
    let spooling = tokio::task::spawn_blocking(move || {
        let _running = running;
        let mut file = tempfile::tempfile()?;
        write(source, &mut |chunk| {
            if still_wanted.strong_count() == 0 {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            file.write_all(&chunk)
        })?;
        let len_bytes = file.stream_position()?;
        file.rewind()?;
        Ok(Spooled { file, len_bytes })
    });
    spooling.await.map_err(io::Error::other)?
}

impl Spooled {
    /// Reads it back, exactly its length.
    pub fn into_chunks(self) -> Chunks {
        let (sender, chunks) = mpsc::channel(CHUNKS_AHEAD);
        tokio::task::spawn_blocking(move || {
            let mut rest = self.file.take(self.len_bytes);
            loop {
                let mut piece = vec![0; CHUNK_BYTES];
                let chunk = rest.read(&mut piece).map(|len| {
                    piece.truncate(len);
                    Bytes::from(piece)
                });
                let done = chunk.as_ref().map_or(true, Bytes::is_empty);
                let missing = done && chunk.is_ok() && rest.limit() > 0;
                let item = if missing { Err(io::ErrorKind::UnexpectedEof.into()) } else { chunk };
                if sender.blocking_send(item).is_err() || done {
                    return;
                }
            }
        });
        chunks
    }
}

/// Takes a snapshot's bytes, piece by piece.
type Sink<'a> = &'a mut dyn FnMut(Bytes) -> io::Result<()>;

/// Writes the snapshot. A collection is handed on as it grows, so that a large one is never held whole.
fn write(source: Source, sink: Sink<'_>) -> io::Result<()> {
    let mut writer = Writer::new(source.format);
    let header = Header {
        server_version: match source.format {
            SnapshotFormat::Redis10 => COMPATIBLE_VERSION,
            SnapshotFormat::Valkey80 => VALKEY_VERSION,
        },
        created_s: unix_ms() / 1000,
        used_memory_bytes: 0,
        replication: Some(ReplicationAux {
            stream_db: source.stream_db.and_then(|db| u16::try_from(db).ok()).unwrap_or(0),
            replication_id: source.replid.as_str(),
            offset: source.offset,
        }),
    };
    writer.header(&header).map_err(io::Error::other)?;
    if let Some(snapshot) = source.snapshot {
        write_keys(snapshot, &mut writer, sink)?;
    }
    let rest = writer.finish().map_err(io::Error::other)?;
    sink(rest)
}

fn write_keys(mut snapshot: Snapshot, writer: &mut Writer, sink: Sink<'_>) -> io::Result<()> {
    let sizes = snapshot.db_sizes();
    let mut selected = None;
    while let Some(batch) = snapshot.next_batch() {
        for entry in batch {
            if selected != Some(entry.db) {
                selected = Some(entry.db);
                writer.select_db(entry.db).map_err(io::Error::other)?;
                let (keys, with_deadline) = sizes
                    .iter()
                    .find(|(db, ..)| *db == entry.db)
                    .map_or((0, 0), |(_, keys, with_deadline)| (*keys, *with_deadline));
                writer.resize_db(keys, with_deadline).map_err(io::Error::other)?;
            }
            write_entry(&entry, writer, sink)?;
            hand_on(writer, sink)?;
        }
    }
    Ok(())
}

fn write_entry(entry: &SnapshotEntry, writer: &mut Writer, sink: Sink<'_>) -> io::Result<()> {
    match &entry.value {
        Value::String(value) => writer.string(&entry.key, entry.deadline_ms, value).map_err(io::Error::other),
        Value::List(list) => {
            let len = list.len() as u64;
            writer.begin(&entry.key, entry.deadline_ms, Kind::List, len).map_err(io::Error::other)?;
            for element in list.iter() {
                writer.element(element).map_err(io::Error::other)?;
                hand_on(writer, sink)?;
            }
            Ok(())
        }
        Value::Set(set) => {
            let len = set.len() as u64;
            writer.begin(&entry.key, entry.deadline_ms, Kind::Set, len).map_err(io::Error::other)?;
            for member in set.iter() {
                writer.element(&member).map_err(io::Error::other)?;
                hand_on(writer, sink)?;
            }
            Ok(())
        }
        Value::ZSet(zset) => {
            let len = zset.len() as u64;
            writer.begin(&entry.key, entry.deadline_ms, Kind::SortedSet, len).map_err(io::Error::other)?;
            for (member, score) in zset.iter() {
                writer.member(&member, score).map_err(io::Error::other)?;
                hand_on(writer, sink)?;
            }
            Ok(())
        }
        Value::Hash(hash) => {
            // All that is stored: a deletion of a dead field may follow in the stream.
            let len = hash.len() as u64;
            let kind = Kind::hash(hash.is_volatile() && writer.holds_field_deadlines());
            writer.begin(&entry.key, entry.deadline_ms, kind, len).map_err(io::Error::other)?;
            for field in hash.iter() {
                let deadline_ms = field.deadline_ms.filter(|_| kind == Kind::HashWithDeadlines);
                writer.field(&field.name, &field.value, deadline_ms).map_err(io::Error::other)?;
                hand_on(writer, sink)?;
            }
            Ok(())
        }
    }
}

/// Passes on what has come together, if it is worth it.
fn hand_on(writer: &mut Writer, sink: Sink<'_>) -> io::Result<()> {
    if writer.buffered_bytes() < CHUNK_BYTES {
        return Ok(());
    }
    sink(writer.take())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::keyspace::{Call, Keyspace, Options};
    use crate::rdb::{self, Event, Limits, PayloadWriter, Reader};

    type Fields = BTreeMap<u8, (Vec<u8>, Option<u64>)>;

    fn fields() -> impl Strategy<Value = Fields> {
        let last = i64::MAX as u64;
        let deadline = prop_oneof![
            Just(None),
            prop::sample::select(vec![Some(0), Some(1), Some(last)]),
            (0..last).prop_map(Some)
        ];
        prop::collection::btree_map(
            any::<u8>(),
            (prop::collection::vec(any::<u8>(), 0..100), deadline),
            1..40,
        )
    }

    fn run(keyspace: &Keyspace, argv: &[&[u8]]) {
        let argv = argv.iter().map(|arg| Bytes::copy_from_slice(arg)).collect();
        // Long after most deadlines.
        keyspace.execute(&[Call { db: 0, argv }], 1 << 50, &mut |_| {});
    }

    fn restore(keyspace: &Keyspace, key: u8, fields: &Fields) {
        let deadlines = fields.values().any(|(_, deadline_ms)| deadline_ms.is_some());
        let mut payload =
            PayloadWriter::collection(Kind::hash(deadlines), fields.len() as u64).expect("fields");
        for (name, (value, deadline_ms)) in fields {
            payload.field(&[*name], value, *deadline_ms).expect("a field");
        }
        run(keyspace, &[b"RESTORE", &[key], b"0", &payload.finish().expect("all fields")]);
    }

    fn hashes(file: &[u8]) -> BTreeMap<u8, Fields> {
        let mut reader = Reader::new(file, Limits::default()).expect("a snapshot");
        let mut hashes = BTreeMap::new();
        while let Some(event) = reader.next_event().expect("an intact snapshot") {
            let Event::Entry(entry) = event else { continue };
            let rdb::Value::Hash(fields) = entry.value else { panic!("no hash: {entry:?}") };
            let fields = fields.into_iter().map(|it| (it.field[0], (it.value.to_vec(), it.deadline_ms)));
            assert!(hashes.insert(entry.key[0], fields.collect()).is_none(), "a key comes once");
        }
        hashes
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Every stored field is there with its deadline, however dead, also of hashes that were changed
        /// after the cut; and without its deadline where the format has none.
        #[test]
        fn a_snapshot_has_every_field_of_the_cut(
            expected in prop::collection::btree_map(any::<u8>(), fields(), 0..20),
            removed in prop::collection::vec(any::<u8>(), 0..20),
            format in prop::sample::select(vec![SnapshotFormat::Redis10, SnapshotFormat::Valkey80]),
        ) {
            let keyspace = Arc::new(Keyspace::new(Options { shards: 3, ..Options::default() }));
            expected.iter().for_each(|(key, fields)| restore(&keyspace, *key, fields));
            let volatile = expected.values().filter(|fields| fields.values().any(|(_, at)| at.is_some())).count();
            let cut = keyspace.try_cut(|hashes| if hashes == volatile { Ok(()) } else { Err(hashes) });
            let ((), snapshot) = cut.expect("the hashes with deadlines are counted");
            for key in removed {
                run(&keyspace, &[b"UNLINK", &[key]]);
                run(&keyspace, &[b"HSET", &[key.wrapping_add(1)], b"later", b"v"]);
            }
            let source =
                Source { snapshot: Some(snapshot), format, replid: ReplicationId::from_random([7; 20]), offset: 0, stream_db: None };
            let mut file = Vec::new();
            write(source, &mut |chunk| {
                file.extend_from_slice(&chunk);
                Ok(())
            }).expect("it can be written");
            let mut expected = expected;
            if format == SnapshotFormat::Redis10 {
                expected.values_mut().flat_map(Fields::values_mut).for_each(|field| field.1 = None);
            }
            prop_assert_eq!(hashes(&file), expected);
        }
    }
}
