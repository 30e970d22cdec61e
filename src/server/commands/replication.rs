//! REPLCONF, PSYNC, SYNC, WAIT, ROLE, REPLICAOF.

use std::time::Duration;

use bytes::Bytes;

use super::super::dispatch::{Flow, error};
use super::super::session::Session;
use super::super::state::unix_ms;
use super::connection::integer;
use crate::resp::Reply;
use crate::resync::{PsyncRequest, ReplconfOutcome, ReplicaFacts, parse_psync, parse_replconf};

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
        Ok(request) if request.failover => error("ERR PSYNC FAILOVER can't be sent to a master.").into(),
        Ok(request) => Flow::Sync(SyncRequest { psync: Some(request), facts: session.facts.clone() }),
        Err(refusal) => error(refusal.to_string()).into(),
    }
}

pub(super) fn sync(session: &mut Session, _: &[Bytes]) -> Flow {
    Flow::Sync(SyncRequest { psync: None, facts: session.facts.clone() })
}

/// `WAIT numreplicas timeout`; a timeout of 0 waits for ever.
pub(super) fn wait(session: &mut Session, argv: &[Bytes]) -> Flow {
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
    let offset = i64::try_from(replication.buffer.end_offset()).unwrap_or(i64::MAX);
    let bulk = |text: String| Reply::Bulk(Bytes::from(text));
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

/// This server is a primary and stays one.
pub(super) fn replicaof(_: &mut Session, argv: &[Bytes]) -> Flow {
    match argv {
        [_, host, port] if host.eq_ignore_ascii_case(b"no") && port.eq_ignore_ascii_case(b"one") => {
            Reply::Simple("OK").into()
        }
        _ => error("ERR this server is a primary only and cannot replicate from another").into(),
    }
}
