//! A server in the model: what it stores, the stream it has, its part in replication.

use std::collections::BTreeMap;
use std::sync::Arc;

use replcore::resync::{History, Previous, ReplicationId, Retained};

use super::data::Data;
use super::museum::Bug;
use super::stream::Token;

/// The number of a history, for a replication ID.
pub type HistoryNumber = u8;

/// The replication ID with a number.
pub fn replication_id(number: HistoryNumber) -> ReplicationId {
    ReplicationId::from_random([number; 20])
}

/// What a replica's link is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Link {
    /// The server it follows.
    pub to: usize,
    /// Commands of that server's stream that have come over it, those before the link included.
    pub received: u64,
    /// A full copy that is under way: until it has come whole, the replica has what it had before.
    pub copy: Option<Arc<Copy>>,
}

/// A server at one moment, on its way to another.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Copy {
    data: Data,
    log: Arc<Vec<Token>>,
    history: HistoryNumber,
    selected: Option<u16>,
}

/// Primary, or replica.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// It executes commands and judges deadlines.
    Primary,
    /// It applies a stream, while it has a link.
    Replica(Option<Link>),
}

/// One server.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Node {
    /// Its part.
    pub role: Role,
    /// The number of its history, and of the one before it with the greatest command that may be asked for
    /// there.
    pub history: (HistoryNumber, Option<(HistoryNumber, u64)>),
    /// The history before, and the first command that the two do not share, as it is: no bug changes this.
    pub ancestor: Option<(HistoryNumber, u64)>,
    /// What it stores.
    pub data: Data,
    /// All that it has written or applied since the beginning: its data is what these commands make. The
    /// backlog is the part from `first` on.
    pub log: Arc<Vec<Token>>,
    /// Commands before this one are trimmed.
    pub first: u64,
    /// How much it believes to have: what it asks for, and acknowledges.
    pub offset: u64,
    /// The database that its stream has selected.
    pub selected: Option<u16>,
    /// A transaction that is not at its end yet.
    pub pending: Option<Vec<Token>>,
    /// What each replica has acknowledged.
    pub acked: BTreeMap<usize, u64>,
}

impl Node {
    /// An empty server of a history.
    pub fn new(role: Role, history: HistoryNumber) -> Node {
        Node {
            role,
            history: (history, None),
            ancestor: None,
            data: Data::default(),
            log: Arc::new(Vec::new()),
            first: 0,
            offset: 0,
            selected: None,
            pending: None,
            acked: BTreeMap::new(),
        }
    }

    /// Whether it is a primary.
    pub fn is_primary(&self) -> bool {
        self.role == Role::Primary
    }

    /// Its link, if it is a replica that has one.
    pub fn link(&self) -> Option<&Link> {
        match &self.role {
            Role::Replica(link) => link.as_ref(),
            Role::Primary => None,
        }
    }

    /// Whether a full copy is on its way to it.
    pub fn is_copying(&self) -> bool {
        self.link().is_some_and(|link| link.copy.is_some())
    }

    /// The end of its stream.
    pub fn end(&self) -> u64 {
        self.log.len() as u64
    }

    /// What its backlog serves.
    pub fn retained(&self) -> Retained {
        Retained { first: self.first, end: self.end() }
    }

    /// Its history as the product has it.
    pub fn shipped_history(&self) -> History {
        let previous = self.history.1;
        History {
            replid: replication_id(self.history.0),
            previous: previous
                .map(|(id, second_offset)| Previous { replid: replication_id(id), second_offset }),
        }
    }

    /// Appends what it executed.
    pub fn write(&mut self, tokens: Vec<Token>) {
        Arc::make_mut(&mut self.log).extend(tokens);
        self.offset = self.end();
    }

    /// Ends the present history: from here on it writes another one.
    pub fn shift(&mut self, to: HistoryNumber, bug: Option<Bug>) {
        // A transaction whose end has not come has not happened.
        if bug == Some(Bug::HalfTransactionApplied) {
            self.apply_pending(0, bug);
        }
        self.pending = None;
        self.ancestor = Some((self.history.0, self.end()));
        match bug {
            Some(Bug::IdNotShifted) => {}
            Some(Bug::PreviousIdForgotten) => self.history = (to, None),
            _ => {
                let shifted = self.shipped_history().shifted(replication_id(to), self.end());
                let late = u64::from(bug == Some(Bug::SecondOffsetTooHigh));
                let previous = shifted.previous.map(|previous| previous.second_offset + late);
                self.history = (to, previous.map(|second_offset| (self.history.0, second_offset)));
            }
        }
        self.offset = self.end();
    }

    /// Applies the next command of the stream it follows.
    pub fn receive(&mut self, token: Token, now_ms: u64, bug: Option<Bug>) {
        if let Some(pending) = &mut self.pending {
            let ends = token.is("EXEC");
            pending.push(token);
            if bug == Some(Bug::OffsetInsideTransaction) {
                self.offset += 1;
            }
            if ends {
                self.apply_pending(now_ms, bug);
            }
        } else if token.is("MULTI") {
            self.pending = Some(vec![token]);
            if bug == Some(Bug::OffsetInsideTransaction) {
                self.offset += 1;
            }
        } else {
            self.apply(&token, now_ms, bug);
            Arc::make_mut(&mut self.log).push(token);
        }
        if self.pending.is_none() {
            self.offset = self.end();
        }
        if bug == Some(Bug::ReplicaExpires) {
            self.data.drop_expired(now_ms);
        }
    }

    fn apply_pending(&mut self, now_ms: u64, bug: Option<Bug>) {
        let Some(pending) = self.pending.take() else { return };
        for token in &pending {
            self.apply(token, now_ms, bug);
        }
        Arc::make_mut(&mut self.log).extend(pending);
    }

    fn apply(&mut self, token: &Token, now_ms: u64, bug: Option<Bug>) {
        if token.is("SELECT") {
            let number = std::str::from_utf8(&token.argv[1]).ok().and_then(|number| number.parse().ok());
            self.selected = number;
        } else if !token.is("MULTI") && !token.is("EXEC") {
            // A stream begins in database 0.
            self.data.apply(self.selected.unwrap_or(0), &token.argv, now_ms, bug);
        }
    }

    /// What it acknowledges: what it has applied, never what has merely come.
    pub fn acknowledgement(&self, bug: Option<Bug>) -> u64 {
        match self.link() {
            Some(link) if bug == Some(Bug::ReceivedAcknowledged) => link.received,
            _ => self.offset,
        }
    }

    /// A full copy of `primary`, as it is now, is on its way; what follows it will be sent from here on.
    pub fn begin_copy(&mut self, primary: &mut Node, to: usize, bug: Option<Bug>) {
        let copy = Copy {
            data: primary.data.copied(bug),
            log: Arc::clone(&primary.log),
            history: primary.history.0,
            // A chained replica continues a stream that it does not write: the copy says what is selected in
            // it.
            selected: primary.selected.filter(|_| !primary.is_primary()),
        };
        // What follows the cut names its database, whatever was selected before.
        if primary.is_primary() && bug != Some(Bug::SelectLostAfterCopy) {
            primary.selected = None;
        }
        self.pending = None;
        if bug == Some(Bug::CopyClaimedEarly) {
            self.history = (copy.history, None);
            self.offset = primary.end();
        }
        let (received, copy) = (primary.end(), Some(Arc::new(copy)));
        self.role = Role::Replica(Some(Link { to, received, copy }));
    }

    /// The copy has come whole: it takes the place of all that the replica had. The primary's stream ends at
    /// `end` by now.
    pub fn finish_copy(&mut self, end: u64, bug: Option<Bug>) {
        let Role::Replica(Some(link)) = &mut self.role else { return };
        let Some(copy) = link.copy.take() else { return };
        if bug == Some(Bug::StreamLostDuringCopy) {
            link.received = end;
        }
        self.data = copy.data.clone();
        self.log = Arc::clone(&copy.log);
        self.history = (copy.history, None);
        self.selected = copy.selected;
        self.first = self.end();
        self.offset = self.end();
        self.ancestor = None;
        self.acked.clear();
    }

    /// Continues after what it has.
    pub fn resume(&mut self, primary: &Node, to: usize, attach_offset: u64, bug: Option<Bug>) {
        let (own, theirs) = (self.history.0, primary.history.0);
        if own != theirs {
            self.ancestor = Some((own, self.end()));
            let shifted = self.shipped_history().shifted(replication_id(theirs), self.end());
            self.history = (theirs, shifted.previous.map(|previous| (own, previous.second_offset)));
        }
        self.pending = None;
        if bug == Some(Bug::SelectLostAfterResume) {
            self.selected = None;
        }
        self.role = Role::Replica(Some(Link { to, received: attach_offset, copy: None }));
    }
}
