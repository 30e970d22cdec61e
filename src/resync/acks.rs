//! How far each replica has come, by its own word.
//!
//! A replica reports the bytes it has *applied* with `REPLCONF ACK <offset>` once a second and on
//! `GETACK`. Three questions are answered from the reports: how many replicas have a write
//! (`WAIT`), how many are fresh enough for writes to be accepted (`min-replicas-to-write`), and how
//! far behind each one is (`INFO`, `ROLE`).
//!
//! Rules: an acknowledged offset never falls, and is never beyond what was written (a report from
//! beyond the end is cut to the end: such a replica is wrong about something, and `WAIT` must not
//! count writes that do not exist yet). Only online replicas count.

use std::collections::BTreeMap;

/// The embedder's number for one replica link (the client id, in the server).
pub type ReplicaKey = u64;

/// What is known of one replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AckEntry {
    /// Stream bytes it has applied.
    pub acked_offset: u64,
    /// Stream bytes its append-only file has made durable, as far as it said.
    pub fsynced_offset: u64,
    /// When it last reported, or was put online.
    pub last_ack_ms: u64,
    /// Whether it receives the stream (after its snapshot, if it needed one).
    pub online: bool,
}

/// The acknowledgements of all replicas of one primary.
///
/// ```
/// use replcore::resync::AckTable;
/// let mut acks = AckTable::default();
/// acks.insert(7, 0);
/// acks.set_online(7, 1_000);
/// acks.acknowledge(7, 120, None, 500, 2_000);
/// assert_eq!(acks.count_acked(120), 1);
/// assert_eq!(acks.count_acked(121), 0);
/// ```
#[derive(Clone, Debug, Default)]
pub struct AckTable {
    replicas: BTreeMap<ReplicaKey, AckEntry>,
}

impl AckTable {
    /// Adds a replica that is not online yet.
    pub fn insert(&mut self, key: ReplicaKey, now_ms: u64) {
        let entry = AckEntry { acked_offset: 0, fsynced_offset: 0, last_ack_ms: now_ms, online: false };
        self.replicas.insert(key, entry);
    }

    /// Forgets a replica. Returns what was known of it.
    pub fn remove(&mut self, key: ReplicaKey) -> Option<AckEntry> {
        self.replicas.remove(&key)
    }

    /// The replica receives the stream from now on; its lag counts from here.
    pub fn set_online(&mut self, key: ReplicaKey, now_ms: u64) {
        if let Some(entry) = self.replicas.get_mut(&key) {
            entry.online = true;
            entry.last_ack_ms = entry.last_ack_ms.max(now_ms);
        }
    }

    /// Records a report, of which offsets beyond `end_offset` (the stream's end) are cut to it.
    /// Returns whether the acknowledged offset rose: the moment at which a `WAIT` may be satisfied.
    pub fn acknowledge(
        &mut self,
        key: ReplicaKey,
        applied: u64,
        fsynced: Option<u64>,
        end_offset: u64,
        now_ms: u64,
    ) -> bool {
        let Some(entry) = self.replicas.get_mut(&key) else { return false };
        let before = entry.acked_offset;
        entry.acked_offset = before.max(applied.min(end_offset));
        entry.fsynced_offset = entry.fsynced_offset.max(fsynced.unwrap_or(0).min(end_offset));
        entry.last_ack_ms = entry.last_ack_ms.max(now_ms);
        entry.acked_offset > before
    }

    /// What is known of one replica.
    pub fn get(&self, key: ReplicaKey) -> Option<&AckEntry> {
        self.replicas.get(&key)
    }

    /// All replicas, in the order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = (ReplicaKey, &AckEntry)> {
        self.replicas.iter().map(|(key, entry)| (*key, entry))
    }

    /// Replicas, online or not.
    pub fn len(&self) -> usize {
        self.replicas.len()
    }

    /// Whether there is no replica at all.
    pub fn is_empty(&self) -> bool {
        self.replicas.is_empty()
    }

    /// Online replicas that have applied at least `offset` bytes: what `WAIT` counts.
    pub fn count_acked(&self, offset: u64) -> usize {
        self.replicas.values().filter(|entry| entry.online && entry.acked_offset >= offset).count()
    }

    /// Online replicas that reported within the last `max_lag_ms`: what `min-replicas-to-write` counts.
    pub fn count_good(&self, now_ms: u64, max_lag_ms: u64) -> usize {
        let fresh =
            |entry: &&AckEntry| entry.online && now_ms.saturating_sub(entry.last_ack_ms) <= max_lag_ms;
        self.replicas.values().filter(fresh).count()
    }
}
