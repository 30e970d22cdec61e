//! The harness itself: what is taken down as written, and what a server's panic is. That it finds wrong
//! servers is shown by `proofs/examples/convergence.rs`, mistake by mistake.

use bytes::Bytes;

use super::commands::{argv, fields_with_deadlines};
use super::truth::{Log, first_command, text};
use super::{Command, Convergence, Server, Stored, StoredValue, Violation};
use crate::resp::encode_command;
use crate::resync::{History, ReplicationId, Retained};

fn wire(lines: &[&str]) -> Vec<u8> {
    let mut bytes = Vec::new();
    lines.iter().for_each(|line| encode_command(&argv(line), &mut bytes));
    bytes
}

fn stored(value: &'static str) -> Stored {
    let mut stored = Stored::default();
    stored.put(0, "k", StoredValue::Text(Bytes::from(value), None));
    stored
}

#[test]
fn a_stream_may_be_cut_between_units_and_not_within() {
    let mut log = Log::new(100, Stored::default());
    let written = wire(&["SELECT 0", "MULTI", "SET k 1", "SET k 2", "EXEC"]);
    assert_eq!(log.write(&written, stored("2")), Some(1));
    let select = 100 + wire(&["SELECT 0"]).len() as u64;
    let end = 100 + written.len() as u64;
    assert_eq!(log.end(), end);
    assert!(log.piece_to(select).is_some_and(|piece| piece.stored.as_deref() == Some(&Stored::default())));
    assert!(log.piece_to(end).is_some_and(|piece| piece.stored.as_deref() == Some(&stored("2"))));
    assert!(log.piece_to(select + wire(&["MULTI"]).len() as u64).is_none());
    assert_eq!(log.write(&wire(&["DEL k", "DEL j"]), Stored::default()), Some(2));
    assert!(log.holds(110, &written[10..]) && !log.holds(111, &written[10..]));
    assert!(!log.holds(end, &wire(&["DEL k", "DEL j", "DEL i"])), "what was not written yet");
}

#[test]
fn half_a_unit_is_none() {
    for torn in [wire(&["MULTI", "SET k 1"]), wire(&["SET k 1"])[..5].to_vec(), b"+OK\r\n".to_vec()] {
        assert_eq!(Log::new(0, Stored::default()).write(&torn, Stored::default()), None);
    }
    assert_eq!(first_command(&wire(&["SET k 1"])[..5]), None);
    assert_eq!(text(&wire(&["SET k 1", "DEL k"])), "SET k 1; DEL k");
}

#[test]
fn the_same_commands_by_another_are_not_the_same_stream() {
    let mut shared = Log::new(0, Stored::default());
    shared.write(&wire(&["SET k 1"]), stored("1"));
    let (mut one, mut other) = (shared.clone(), shared.clone());
    assert!(shared.is_prefix_of(&one));
    one.write(&wire(&["SET k 2"]), stored("2"));
    other.write(&wire(&["SET k 2"]), stored("2"));
    assert!(shared.is_prefix_of(&one) && !one.is_prefix_of(&shared));
    assert!(!one.is_prefix_of(&other) && one.is_prefix_of(&one));
}

/// Keeps nothing, and does not live long.
struct Fragile {
    history: History,
    executed: u32,
}

impl Server for Fragile {
    type Snapshot = ReplicationId;

    fn execute(&mut self, _: &[Command], _: u64) {
        self.executed += 1;
        assert!(self.executed < 3, "three were too many");
    }
    fn reclaim(&mut self, _: u64) {}
    fn apply(&mut self, _: &[u8], _: u64) -> Result<(), Box<dyn std::error::Error>> {
        Ok(())
    }
    fn stored(&self) -> Stored {
        Stored::default()
    }
    fn retained(&self) -> Retained {
        Retained { first: 0, end: 0 }
    }
    fn read(&self, _: u64) -> Vec<u8> {
        Vec::new()
    }
    fn set_backlog_bytes(&mut self, _: u64) {}
    fn history(&self) -> History {
        self.history
    }
    fn snapshot(&mut self) -> ReplicationId {
        self.history.replid
    }
    fn load(&mut self, replid: ReplicationId) {
        self.history = History::new(replid);
    }
    fn resume(&mut self, replid: ReplicationId) {
        self.load(replid);
    }
    fn promote(&mut self, replid: ReplicationId) {
        self.history = self.history.shifted(replid, 0);
    }
}

#[test]
fn a_panic_is_a_finding_with_the_shortest_way_there() {
    let convergence = Convergence::of(fields_with_deadlines()).sequences(50);
    let fragile = |replid| Fragile { history: History::new(replid), executed: 0 };
    let found = convergence.check(fragile).expect_err("it panics");
    assert_eq!(found.violation, Violation::Panicked { message: "three were too many".into() });
    assert_eq!(found.steps.len(), 3, "{found}");
    let again = convergence.check(fragile).expect_err("it panics again");
    assert_eq!(found.to_string(), again.to_string(), "the seed decides");
}
