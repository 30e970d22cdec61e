//! MULTI, EXEC, DISCARD, WATCH, UNWATCH.

use bytes::Bytes;

use super::super::dispatch::{Flow, error};
use super::super::session::{Session, Transaction, keep};
use super::super::state::unix_ms;
use crate::resp::Reply;

pub(super) fn multi(session: &mut Session, _: &[Bytes]) -> Flow {
    session.transaction = Some(Transaction::default());
    Reply::Simple("OK").into()
}

pub(super) fn exec(session: &mut Session, argv: &[Bytes]) -> Flow {
    session.exec(argv)
}

pub(super) fn discard(session: &mut Session, _: &[Bytes]) -> Flow {
    if session.transaction.take().is_none() {
        return error("ERR DISCARD without MULTI").into();
    }
    session.unwatch();
    Reply::Simple("OK").into()
}

pub(super) fn watch(session: &mut Session, argv: &[Bytes]) -> Flow {
    let keys: Vec<Bytes> = argv.iter().skip(1).cloned().map(keep).collect();
    session.shared.keyspace.watch(&mut session.watch, session.db, &keys, unix_ms());
    session.watching = session.watch.len();
    Reply::Simple("OK").into()
}

pub(super) fn unwatch(session: &mut Session, _: &[Bytes]) -> Flow {
    session.unwatch();
    Reply::Simple("OK").into()
}
