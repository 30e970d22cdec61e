//! What can happen to a few servers.

use proptest::prelude::*;
use proptest::strategy::BoxedStrategy;

use super::Command;
use crate::rewrite::Argv;

/// One thing that happens. What cannot happen at its moment does not: a sequence stays one when steps are
/// left out.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// A client has a unit executed, by one of those who think that they are the primary.
    Execute { primary: usize, unit: Vec<Command> },
    /// Active expiry.
    Reclaim { primary: usize },
    /// Time passes.
    Pass { ms: u64 },
    /// A clock is set.
    Skew { server: usize, ms: i64 },
    /// So many commands arrive.
    Deliver { server: usize, commands: usize },
    /// A link breaks; what is on its way is lost.
    Cut { server: usize },
    /// A server asks another to be its replica.
    Follow { server: usize, of: usize },
    /// The backlog shrinks to so many bytes, for a moment.
    Trim { server: usize, bytes: u64 },
    /// A replica becomes a primary.
    Promote { server: usize },
}

/// What the steps are made of.
#[derive(Clone, Debug)]
pub(super) struct Ingredients {
    pub(super) commands: BoxedStrategy<Argv>,
    pub(super) databases: u16,
    pub(super) transactions: bool,
    pub(super) failover: bool,
    pub(super) servers: usize,
}

impl Ingredients {
    pub(super) fn step(&self) -> BoxedStrategy<Step> {
        let servers = self.servers;
        let command = (0..self.databases, self.commands.clone()).prop_map(|(db, argv)| Command { db, argv });
        let longest = if self.transactions { 3 } else { 1 };
        let unit = prop_oneof![
            4 => command.clone().prop_map(|command| vec![command]),
            1 => prop::collection::vec(command, 1..=longest),
        ];
        let execute = (0..2_usize, unit).prop_map(|(primary, unit)| Step::Execute { primary, unit });
        let common = prop_oneof![
            8 => execute,
            2 => (0..2_usize).prop_map(|primary| Step::Reclaim { primary }),
            5 => prop_oneof![4 => 1..12_u64, 1 => 12..80_u64].prop_map(|ms| Step::Pass { ms }),
            1 => (0..servers, -2000..2000_i64).prop_map(|(server, ms)| Step::Skew { server, ms }),
            8 => (0..servers, 1..6_usize).prop_map(|(server, commands)| Step::Deliver { server, commands }),
            2 => (0..servers).prop_map(|server| Step::Cut { server }),
            6 => (0..servers, 0..servers).prop_map(|(server, of)| Step::Follow { server, of }),
            1 => (0..servers, 0..200_u64).prop_map(|(server, bytes)| Step::Trim { server, bytes }),
        ];
        if self.failover {
            let promote = (0..servers).prop_map(|server| Step::Promote { server });
            prop_oneof![32 => common, 2 => promote].boxed()
        } else {
            common.boxed()
        }
    }
}
