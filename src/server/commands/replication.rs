//! REPLCONF, PSYNC, SYNC, WAIT, ROLE, REPLICAOF.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::super::dispatch::{Flow, beside_the_runtime, error, shown};
use super::super::replication::{FailoverRequest, RoleChange};
use super::super::session::Session;
use super::super::state::unix_ms;
use super::connection::integer;
use crate::resp::Reply;
use crate::resync::replica::Phase;
use crate::resync::{PsyncRequest, ReplconfOutcome, ReplicaFacts, parse_psync, parse_replconf};

/// A replica without a link has no stream to pass on.
const NO_PRIMARY_LINK: &str = "NOMASTERLINK Can't SYNC while not connected with my master";

/// A connection that asked to become a replica's.
#[derive(Debug)]
pub(in crate::server) struct SyncRequest {
    /// `None` for plain `SYNC`.
    pub psync: Option<PsyncRequest>,
    pub facts: ReplicaFacts,
}

pub(super) fn replconf(session: &mut Session, argv: &[Bytes]) -> Flow {
    match parse_replconf(argv.get(1..).unwrap_or_default(), &mut session.facts) {
        Ok(ReplconfOutcome::Ok) => Reply::Simple("OK").into(),
        // From a connection that is no replica's: not answered, as in Valkey.
        Ok(ReplconfOutcome::Ack { .. } | ReplconfOutcome::GetAck) => Flow::Silent,
        Err(refusal) => error(refusal.to_string()).into(),
    }
}

pub(super) fn psync(session: &mut Session, argv: &[Bytes]) -> Flow {
    match parse_psync(argv.get(1..).unwrap_or_default()) {
        Ok(request) if request.failover => {
            let shared = Arc::clone(&session.shared);
            match beside_the_runtime(true, || shared.lead_as_asked(&request)) {
                Ok(()) => Flow::Sync(SyncRequest { psync: Some(request), facts: session.facts.clone() }),
                Err(refusal) => error(refusal).into(),
            }
        }
        Ok(_) if session.shared.replication.is_cut_off() => error(NO_PRIMARY_LINK).into(),
        Ok(request) => Flow::Sync(SyncRequest { psync: Some(request), facts: session.facts.clone() }),
        Err(refusal) => error(refusal.to_string()).into(),
    }
}

pub(super) fn sync(session: &mut Session, _: &[Bytes]) -> Flow {
    if session.shared.replication.is_cut_off() {
        return error(NO_PRIMARY_LINK).into();
    }
    Flow::Sync(SyncRequest { psync: None, facts: session.facts.clone() })
}

/// `WAIT numreplicas timeout`; a timeout of 0 waits for ever.
pub(super) fn wait(session: &mut Session, argv: &[Bytes]) -> Flow {
    if session.shared.replication.is_replica() {
        return error(
            "ERR WAIT cannot be used with replica instances. Please also note that writes to replicas are just local \
             and are not propagated.",
        )
        .into();
    }
    let Some(replicas) = argv.get(1).and_then(|arg| integer(arg)) else {
        return error("ERR value is not an integer or out of range").into();
    };
    let timeout = match timeout_ms(argv.get(2).map_or(&[][..], |arg| arg)) {
        Ok(timeout_ms) => (timeout_ms > 0).then(|| Duration::from_millis(timeout_ms)),
        Err(refusal) => return refusal.into(),
    };
    Flow::Wait { offset: session.last_write_offset, replicas, timeout }
}

/// A timeout in milliseconds; its end has to be a time that can be written.
pub(super) fn timeout_ms(text: &[u8]) -> Result<u64, Reply> {
    let given = integer(text).ok_or_else(|| error("ERR timeout is not an integer or out of range"))?;
    let timeout_ms = u64::try_from(given).map_err(|_| error("ERR timeout is negative"))?;
    match timeout_ms > (i64::MAX as u64).saturating_sub(unix_ms()) {
        true => Err(error("ERR timeout is out of range")),
        false => Ok(timeout_ms),
    }
}

pub(super) fn role(session: &mut Session, _: &[Bytes]) -> Flow {
    let replication = &session.shared.replication;
    let offset = i64::try_from(replication.end_offset()).unwrap_or(i64::MAX);
    let bulk = |text: String| Reply::Bulk(Bytes::from(text));
    if let Some(following) = replication.following() {
        let view = following.view();
        let offset = if view.is_up() { offset } else { -1 };
        return Reply::Array(vec![
            Reply::Bulk(Bytes::from_static(b"slave")),
            bulk(following.host.clone()),
            Reply::Integer(following.port.into()),
            Reply::Bulk(Bytes::from_static(link_name(view.phase).as_bytes())),
            Reply::Integer(offset),
        ])
        .into();
    }
    let online = replication.replicas().into_iter().filter(|replica| replica.is_online());
    let replicas = online.map(|replica| {
        Reply::Array(vec![
            bulk(replica.address),
            bulk(replica.port.to_string()),
            bulk(replica.acked_offset.to_string()),
        ])
    });
    Reply::Array(vec![
        Reply::Bulk(Bytes::from_static(b"master")),
        Reply::Integer(offset),
        Reply::Array(replicas.collect()),
    ])
    .into()
}

/// The state of the link to the primary, as `ROLE` calls it.
fn link_name(phase: Phase) -> &'static str {
    match phase {
        Phase::Connecting => "connecting",
        Phase::Handshake => "handshake",
        Phase::AwaitingSnapshot | Phase::Snapshot | Phase::Loading => "sync",
        Phase::Streaming => "connected",
        _ => "connect",
    }
}

/// `REPLICAOF host port` and `REPLICAOF NO ONE`. The role changes when the command, or the transaction that it
/// is in, has run.
pub(super) fn replicaof(session: &mut Session, argv: &[Bytes]) -> Flow {
    let (Some(host), Some(port)) = (argv.get(1), argv.get(2)) else { return Flow::Silent };
    let change = if host.eq_ignore_ascii_case(b"no") && port.eq_ignore_ascii_case(b"one") {
        RoleChange::Lead
    } else {
        let Some(port) = integer(port).and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0)
        else {
            return error("ERR Invalid master port").into();
        };
        RoleChange::Follow { host: shown(host), port }
    };
    if session.shared.replication.is_failing_over() {
        return error("ERR REPLICAOF not allowed while failing over.").into();
    }
    let already = match &change {
        RoleChange::Lead => false,
        RoleChange::Follow { host, port } => {
            let following = session.shared.replication.following();
            following.is_some_and(|following| following.host == *host && following.port == *port)
        }
    };
    if already {
        return Reply::Simple("OK Already connected to specified master").into();
    }
    session.role_change = Some(change);
    Reply::Simple("OK").into()
}

/// `FAILOVER [TO host port [FORCE]] [TIMEOUT milliseconds]` and `FAILOVER ABORT`. It goes on beside the
/// commands.
pub(super) fn failover(session: &mut Session, argv: &[Bytes]) -> Flow {
    let is = |arg: &Bytes, word: &str| arg.eq_ignore_ascii_case(word.as_bytes());
    let shared = Arc::clone(&session.shared);
    if let [_, abort] = argv
        && is(abort, "abort")
    {
        let aborted = beside_the_runtime(true, || shared.abort_failover());
        return aborted.map_or_else(|reason| error(reason.to_string()), |()| Reply::Simple("OK")).into();
    }
    let request = match parse_failover(argv.get(1..).unwrap_or_default()) {
        Ok(request) => request,
        Err(refusal) => return error(refusal).into(),
    };
    let begun = beside_the_runtime(true, || shared.begin_failover(request));
    begun.map_or_else(|reason| error(reason.to_string()), |()| Reply::Simple("OK")).into()
}

fn parse_failover(mut args: &[Bytes]) -> Result<FailoverRequest, &'static str> {
    let is = |arg: &Bytes, word: &str| arg.eq_ignore_ascii_case(word.as_bytes());
    let mut request = FailoverRequest::default();
    while let Some((word, rest)) = args.split_first() {
        args = match rest {
            [host, port, rest @ ..] if is(word, "to") && request.target.is_none() => {
                let port = integer(port).ok_or("ERR value is not an integer or out of range")?;
                // What is no port is no replica's.
                request.target = Some((shown(host), u16::try_from(port).unwrap_or(0)));
                rest
            }
            [timeout, rest @ ..] if is(word, "timeout") && request.timeout_ms.is_none() => {
                let timeout = integer(timeout).ok_or("ERR value is not an integer or out of range")?;
                let timeout_ms = u64::try_from(timeout).ok().filter(|timeout_ms| *timeout_ms > 0);
                request.timeout_ms = Some(timeout_ms.ok_or("ERR FAILOVER timeout must be greater than 0")?);
                rest
            }
            rest if is(word, "force") && !request.force => {
                request.force = true;
                rest
            }
            _ => return Err("ERR syntax error"),
        };
    }
    if request.force && (request.target.is_none() || request.timeout_ms.is_none()) {
        return Err("ERR FAILOVER with force option requires both a timeout and target HOST and IP.");
    }
    Ok(request)
}
