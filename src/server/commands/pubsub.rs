//! SUBSCRIBE and its kin, PUBSUB, MONITOR.

use bytes::Bytes;

use super::super::dispatch::{Flow, error, shown};
use super::super::pubsub::Kind;
use super::super::session::Session;
use super::{help, subcommand_error};
use crate::resp::Reply;

fn confirmation(word: &'static str, name: Option<&Bytes>, count: usize) -> Reply {
    Reply::Push(vec![
        Reply::Bulk(Bytes::from_static(word.as_bytes())),
        name.map_or(Reply::Null, |name| Reply::Bulk(name.clone())),
        Reply::Integer(i64::try_from(count).unwrap_or(i64::MAX)),
    ])
}

pub(super) fn subscribe(session: &mut Session, argv: &[Bytes]) -> Flow {
    subscribe_to(session, Kind::Channel, &argv[1..])
}

pub(super) fn psubscribe(session: &mut Session, argv: &[Bytes]) -> Flow {
    subscribe_to(session, Kind::Pattern, &argv[1..])
}

pub(super) fn ssubscribe(session: &mut Session, argv: &[Bytes]) -> Flow {
    subscribe_to(session, Kind::ShardChannel, &argv[1..])
}

pub(super) fn unsubscribe(session: &mut Session, argv: &[Bytes]) -> Flow {
    unsubscribe_from(session, Kind::Channel, &argv[1..])
}

pub(super) fn punsubscribe(session: &mut Session, argv: &[Bytes]) -> Flow {
    unsubscribe_from(session, Kind::Pattern, &argv[1..])
}

pub(super) fn sunsubscribe(session: &mut Session, argv: &[Bytes]) -> Flow {
    unsubscribe_from(session, Kind::ShardChannel, &argv[1..])
}

fn subscribe_to(session: &mut Session, kind: Kind, names: &[Bytes]) -> Flow {
    let mut confirmations = Vec::with_capacity(names.len());
    for name in names {
        let own = &mut session.subscriptions;
        session.shared.pubsub.subscribe(&session.client, own, kind, name);
        confirmations.push(confirmation(kind.words().0, Some(name), own.count_with(kind)));
    }
    Flow::Confirm { reply: None, confirmations, after_pushes: false }
}

/// Without names, from all; that is confirmed also when there are none.
fn unsubscribe_from(session: &mut Session, kind: Kind, names: &[Bytes]) -> Flow {
    let own = &mut session.subscriptions;
    let names = if names.is_empty() { own.of(kind).iter().cloned().collect() } else { names.to_vec() };
    let mut confirmations = Vec::with_capacity(names.len().max(1));
    for name in &names {
        session.shared.pubsub.unsubscribe(&session.client, own, kind, name);
        confirmations.push(confirmation(kind.words().1, Some(name), own.count_with(kind)));
    }
    if names.is_empty() {
        confirmations.push(confirmation(kind.words().1, None, own.count_with(kind)));
    }
    Flow::Confirm { reply: None, confirmations, after_pushes: true }
}

pub(super) fn pubsub(session: &mut Session, argv: &[Bytes]) -> Flow {
    let registry = &session.shared.pubsub;
    let number = |number: usize| Reply::Integer(i64::try_from(number).unwrap_or(i64::MAX));
    let active = |kind, pattern: Option<&Bytes>| {
        let names = registry.active(kind, pattern.map(|pattern| &pattern[..]));
        Reply::Array(names.into_iter().map(Reply::Bulk).collect())
    };
    let counts = |kind, names: &[Bytes]| {
        let pair = |name: &Bytes| [Reply::Bulk(name.clone()), number(registry.count(kind, name))];
        Reply::Array(names.iter().flat_map(pair).collect())
    };
    let sub = argv.get(1).map_or(&[][..], |sub| sub).to_ascii_lowercase();
    let reply = match (sub.as_slice(), argv.get(2..).unwrap_or_default()) {
        (b"channels", []) => active(Kind::Channel, None),
        (b"channels", [pattern]) => active(Kind::Channel, Some(pattern)),
        (b"shardchannels", []) => active(Kind::ShardChannel, None),
        (b"shardchannels", [pattern]) => active(Kind::ShardChannel, Some(pattern)),
        (b"channels" | b"shardchannels", _) => error(format!(
            "ERR unknown subcommand or wrong number of arguments for '{}'. Try PUBSUB HELP.",
            shown(&argv[1])
        )),
        (b"numsub", names) => counts(Kind::Channel, names),
        (b"shardnumsub", names) => counts(Kind::ShardChannel, names),
        (b"numpat", []) => number(registry.count_active(Kind::Pattern)),
        (b"help", []) => help::reply(help::PUBSUB),
        _ => subcommand_error("pubsub", argv),
    };
    reply.into()
}

/// From the reply on, the client is shown what all clients run. A second `MONITOR` is not answered, as in
/// Valkey.
pub(super) fn monitor(session: &mut Session, _: &[Bytes]) -> Flow {
    if session.monitoring {
        return Flow::Silent;
    }
    session.monitoring = true;
    session.shared.monitors.add(&session.client);
    Reply::Simple("OK").into()
}
