//! Replicas that cannot hold field deadlines: Redis 7, Valkey 8, and whoever announced no version.
//!
//! # Promise
//!
//! Under [`FieldDeadlinesPolicy::Refuse`] such a replica never differs from the primary without knowing:
//!
//! * It gets a snapshot only if no hash had a field with a deadline at the cut.
//! * It gets no byte of a frame whose commands need field deadlines, which it would answer with errors to
//!   nobody: its link ends before.
//! * It may continue a stream only from an offset after which there is no such frame.
//!
//! In each case it is told, or disconnected, and `INFO` and the log say why.
//!
//! # Algorithm
//!
//! [`Generation`] is a number. While it is even, there was no such frame since an offset that is kept beside
//! it, the last *clean cut*; at that cut there was no field deadline in the data. Whoever is about to publish
//! such a frame makes it odd first; the next cut that finds no field deadline in the data makes it even
//! again. A link remembers the even number that it began with and compares **after** it has looked what there
//! is to send and **before** it sends any of it.
//!
//! **Why that is enough.** A unit publishes while it holds its locks, a cut holds all locks. So a frame after
//! the clean cut was announced after it too, when the link's number was reached already: the number has left
//! it, for good, before the frame can be seen. A frame from before the cut lies before the link's place in
//! the stream.
//!
//! # Cost
//!
//! A publisher of such a frame reads one number, which changes as often as replicas that hold no deadlines
//! and deadlines alternate; other frames cost a look at each command's first letter.

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use crate::rdb::payload_has_field_deadlines;
use crate::resync::ServerVersion;
use crate::rewrite::Effects;
use crate::server::config::FieldDeadlinesPolicy;

use super::link::ReplicaLink;

/// Why a replica that cannot hold field deadlines gets nothing, or nothing more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::server) enum CannotHold {
    #[error("hashes with field deadlines: {hashes}; {}", need(*version))]
    Snapshot { hashes: usize, version: Option<ServerVersion> },
    #[error("a command in the stream needs field deadlines; {}", need(*version))]
    Stream { version: Option<ServerVersion> },
}

fn need(version: Option<ServerVersion>) -> String {
    let announced = version.map_or_else(|| "no version".to_owned(), |version| version.to_string());
    format!(
        "the replica announced {announced} and has to be Valkey 9.0.0 or later to hold them (repl-field-deadlines-policy)"
    )
}

/// Whether the stream needs field deadlines: see the [module](self).
#[derive(Debug, Default)]
pub(super) struct Generation {
    number: AtomicU64,
    /// The offset of the last clean cut.
    clean_from: AtomicU64,
}

impl Generation {
    /// Commands that need field deadlines are about to be published, by who holds the lock of a key.
    pub fn soil(&self) {
        let number = self.number.load(Ordering::Acquire);
        if number.is_multiple_of(2) {
            // If this fails, somebody else has made it odd.
            let _ = self.number.compare_exchange(number, number + 1, Ordering::AcqRel, Ordering::Acquire);
        }
    }

    /// A cut at `offset`, under all locks, that found no field deadlines in the data. Returns what a link
    /// that begins there has to remember.
    pub fn clean(&self, offset: u64) -> u64 {
        let number = self.number.load(Ordering::Acquire);
        if number.is_multiple_of(2) {
            return number;
        }
        self.clean_from.store(offset, Ordering::Release);
        self.number.store(number + 1, Ordering::Release);
        number + 1
    }

    /// What a link has to remember that continues at `offset`; nothing if something from there on may need
    /// field deadlines.
    pub fn clean_since(&self, offset: u64) -> Option<u64> {
        // In this order: whoever sees a number sees at least its clean cut.
        let number = self.number.load(Ordering::Acquire);
        let is_clean = number.is_multiple_of(2) && self.clean_from.load(Ordering::Acquire) <= offset;
        is_clean.then_some(number)
    }

    fn number(&self) -> u64 {
        self.number.load(Ordering::Acquire)
    }
}

/// Whether a command of the unit needs field deadlines where it is applied.
pub(super) fn needs_field_deadlines(effects: &Effects<'_>) -> bool {
    effects.ops.iter().any(|op| command_needs_field_deadlines(&op.argv))
}

/// Names in the stream that a server without field deadlines does not know.
const FIELD_DEADLINE_COMMANDS: &[&str] =
    &["hsetex", "hpexpireat", "hpersist", "hexpire", "hpexpire", "hexpireat", "hgetex"];

fn command_needs_field_deadlines(argv: &[Bytes]) -> bool {
    let Some(name) = argv.first() else { return false };
    let is = |other: &&str| name.eq_ignore_ascii_case(other.as_bytes());
    match name.first() {
        Some(b'h' | b'H') => FIELD_DEADLINE_COMMANDS.iter().any(is),
        Some(b'r' | b'R') if is(&"restore") || is(&"restore-asking") => {
            argv.get(3).is_some_and(|payload| payload_has_field_deadlines(payload))
        }
        _ => false,
    }
}

/// The last replica that was refused, for `INFO`.
#[derive(Clone, Debug)]
pub(in crate::server) struct Refusal {
    /// Address and port, as announced.
    pub replica: String,
    pub reason: CannotHold,
}

impl ReplicaLink {
    /// Whether the replica gets what it cannot hold rather than nothing.
    pub fn strips_field_deadlines(&self) -> bool {
        self.shared.config.load().field_deadlines_policy == FieldDeadlinesPolicy::Strip
    }

    /// Whether this replica may get what its cursor has been seen to show.
    pub fn check_can_hold(&self) -> Result<(), CannotHold> {
        let generation = &self.shared.replication.field_deadlines;
        // Relaxed: only the link's own task touches it.
        let holds = self.facts.holds_field_deadlines()
            || self.facts.rdb_only
            || self.clean_generation.load(Ordering::Relaxed) == generation.number()
            || self.strips_field_deadlines();
        if holds { Ok(()) } else { Err(CannotHold::Stream { version: self.facts.version }) }
    }

    /// The number to compare with; `None` if nothing is clean.
    pub fn begin_generation(&self, clean: Option<u64>) {
        // Odd numbers are never clean.
        self.clean_generation.store(clean.unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Counts, logs and keeps a refusal.
    pub fn note_refusal(&self, reason: &CannotHold) {
        self.shared.stats.replicas_refused.add(1);
        let replica = self.shared.replication.announced_address(self.key);
        tracing::warn!(%replica, socket = %self.client.addr, "replica refused: {reason}");
        *self.shared.replication.last_refusal.lock() = Some(Refusal { replica, reason: reason.clone() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn argv(line: &str) -> Vec<Bytes> {
        line.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect()
    }

    #[test]
    fn commands_that_old_replicas_know_need_nothing() {
        for line in
            ["HSET k f v", "HDEL k f", "hincrby k f 1", "UNLINK k", "SET hsetex v", "RESTORE k 0 x", "ping"]
        {
            assert!(!command_needs_field_deadlines(&argv(line)), "{line}");
        }
        for line in ["HSETEX k PXAT 5 FIELDS 1 f v", "hpexpireat k 5 FIELDS 1 f", "HPersist k FIELDS 1 f"] {
            assert!(command_needs_field_deadlines(&argv(line)), "{line}");
        }
        assert!(command_needs_field_deadlines(&argv("restore k 0 \u{16}payload")));
        assert!(!command_needs_field_deadlines(&[]));
    }

    #[test]
    fn a_link_is_clean_until_a_command_needs_field_deadlines_and_from_the_next_clean_cut_on() {
        let generation = Generation::default();
        let early = generation.clean_since(0).expect("clean from the start");
        assert_eq!(generation.clean(10), early, "a cut of what is clean changes nothing");
        assert_eq!(generation.number(), early);
        generation.soil();
        assert_ne!(generation.number(), early);
        assert_eq!(generation.clean_since(1000), None);
        let soiled = generation.number();
        generation.soil();
        assert_eq!(generation.number(), soiled, "once is enough");
        let late = generation.clean(500);
        assert_eq!(generation.number(), late);
        assert_ne!(late, early, "who began earlier has missed nothing of it");
        assert_eq!(generation.clean_since(499), None);
        assert_eq!(generation.clean_since(500), Some(late));
    }
}
