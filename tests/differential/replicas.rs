//! Real replicas of the server under test: whatever is done to them, they end in its state.

use std::time::Duration;

use rustix::process::Signal;

use super::commands::Family;
use crate::support::keyspace::differences;
use crate::support::{Link, Program, Scratch, Server, attach, attach_replicas, wait_link_up};

/// Time for a replica to come back.
const RECONNECT: Duration = Duration::from_secs(30);

/// What happens to the replicas while a sequence runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disturbance {
    /// Nothing.
    None,
    /// Their processes stand still.
    Stopped,
    /// Their links are down.
    Cut,
}

impl Disturbance {
    /// Each in turn, mostly none.
    pub fn of(index: usize) -> Disturbance {
        match index % 8 {
            3 => Disturbance::Stopped,
            6 => Disturbance::Cut,
            _ => Disturbance::None,
        }
    }
}

/// A Valkey and, where no field has a deadline, a Redis, each behind a link of its own.
pub struct Replicas {
    servers: Vec<Server>,
    links: Vec<Link>,
    /// Whether the primary is a Valkey whose stream may lead its replica elsewhere: over dead fields.
    may_diverge: bool,
}

impl Replicas {
    /// Attaches them to `primary`.
    pub fn attach(family: Family, primary: &Server, scratch: &Scratch) -> Replicas {
        let (servers, links) = match family {
            Family::Timeless => attach_replicas(primary, scratch),
            Family::Volatile => attach(&[Program::Valkey], primary, scratch),
        };
        let may_diverge = family == Family::Volatile && primary.program != Program::Replcore;
        Replicas { servers, links, may_diverge }
    }

    /// Begins a disturbance.
    pub fn disturb(&self, disturbance: Disturbance) {
        match disturbance {
            Disturbance::None => {}
            Disturbance::Stopped => self.servers.iter().for_each(|server| server.signal(Signal::STOP)),
            Disturbance::Cut => self.links.iter().for_each(Link::close),
        }
    }

    /// Ends it.
    pub fn recover(&self, disturbance: Disturbance) {
        match disturbance {
            Disturbance::None => {}
            Disturbance::Stopped => self.servers.iter().for_each(|server| server.signal(Signal::CONT)),
            Disturbance::Cut => {
                self.links.iter().for_each(Link::open);
                self.servers.iter().for_each(|server| wait_link_up(server, RECONNECT));
            }
        }
    }

    /// Where they differ from their primary.
    pub fn differences(&self, primary: &Server) -> Vec<String> {
        if self.may_diverge {
            return Vec::new();
        }
        let (_, found) = differences(primary, &self.servers);
        let named = |(server, (_, differences)): (&Server, (_, Vec<String>))| {
            let name = format!("{} ({:?})", server.name(), server.program);
            differences.into_iter().map(move |difference| format!("{name}: {difference}")).collect::<Vec<_>>()
        };
        self.servers.iter().zip(found).flat_map(named).collect()
    }
}
