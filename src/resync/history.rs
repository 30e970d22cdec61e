//! Which history a server's stream continues, replaced in one step.
//!
//! A promotion changes three facts at once: the id, the previous id and the offset up to which the
//! previous one may still be used. A reader that saw the new id beside the old bound could let a
//! replica continue from a point that the two histories do not share. So the three live in one
//! immutable [`History`], and [`SharedHistory`] swaps the whole (`arc-swap`).

use std::sync::Arc;

use super::ReplicationId;
use crate::buffer::sync::ArcSwap;
use crate::buffer::sync::table::{Fault, fault};

/// The replication history a server's stream continues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct History {
    /// The current id (`master_replid`).
    pub replid: ReplicationId,
    /// The history this one grew out of, if it may still be continued from (`master_replid2`).
    pub previous: Option<Previous>,
}

/// A history that ended, and the point up to which it is shared with the current one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Previous {
    /// The id it had (`master_replid2`).
    pub replid: ReplicationId,
    /// The last shared offset **plus one** (`second_repl_offset`): the greatest "first byte
    /// wanted" with which a replica of that history may continue.
    pub second_offset: u64,
}

impl History {
    /// A history without a past, as a process begins one.
    pub fn new(replid: ReplicationId) -> Self {
        History { replid, previous: None }
    }

    /// The history after a promotion at `end_offset`: what was current becomes the previous one,
    /// shared up to and including `end_offset`.
    ///
    /// `end_offset` is the end of the stream at which no frame of the old history can follow any
    /// more: the offset that sealing the buffer returned.
    #[must_use]
    pub fn shifted(&self, replid: ReplicationId, end_offset: u64) -> Self {
        let second_offset = end_offset.saturating_add(1);
        History { replid, previous: Some(Previous { replid: self.replid, second_offset }) }
    }
}

/// A [`History`] that many threads read while one replaces it.
#[derive(Debug)]
pub struct SharedHistory(ArcSwap<History>);

impl SharedHistory {
    /// Begins with `history`.
    pub fn new(history: History) -> Self {
        SharedHistory(ArcSwap::from_pointee(history))
    }

    /// The history as of now. All of its fields belong together.
    pub fn load(&self) -> Arc<History> {
        self.0.load_full()
    }

    /// Replaces the history by one without a past (a full resync, a backlog that was dropped).
    pub fn reset(&self, replid: ReplicationId) {
        self.0.store(Arc::new(History::new(replid)));
    }

    /// Replaces the history by that of the primary, which has told of a change.
    pub fn replace(&self, history: History) {
        self.0.store(Arc::new(history));
    }

    /// Promotes: [`History::shifted`], in one step even against other writers. Returns the new history.
    pub fn shift(&self, replid: ReplicationId, end_offset: u64) -> Arc<History> {
        if fault(Fault::ShiftInTwoSteps) {
            self.0.store(Arc::new(self.load().shifted(replid, end_offset)));
            return self.load();
        }
        self.0.rcu(|current| current.shifted(replid, end_offset));
        self.load()
    }
}
