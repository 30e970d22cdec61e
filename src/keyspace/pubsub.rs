//! `PUBLISH` and `SPUBLISH`: commands without a key that change nothing and are propagated all the same.
//!
//! A message locks the shard of its *channel*, as if that were a key: so the messages of a channel reach
//! the subscribers of the primary in the order in which the replicas will see them. Inside an `EXEC` it has
//! its place among the other commands' effects and events.

use bytes::Bytes;

use super::command::{CommandSpec, Flag, Scope, whole};
use super::events::MessageKind;
use super::unit::{CommandResult, Unit};
use crate::resp::Reply;
use crate::rewrite::pubsub;

const FLAGS: &[Flag] = &[Flag::Pubsub, Flag::Loading, Flag::Stale, Flag::Fast];

/// The commands of this file.
pub(super) static COMMANDS: &[CommandSpec] = &[
    whole("publish", 3, FLAGS, Scope::Channel, publish),
    whole("spublish", 3, FLAGS, Scope::Channel, spublish),
];

pub(super) fn publish<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    deliver(unit, argv, MessageKind::Channel)
}

pub(super) fn spublish<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    deliver(unit, argv, MessageKind::ShardChannel)
}

fn deliver<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes], kind: MessageKind) -> CommandResult {
    let receivers = unit.keyspace.events.message(kind, &argv[1], &argv[2]);
    unit.propagate(argv, pubsub::publish(argv));
    Ok(Reply::Integer(receivers as i64))
}
