//! EVAL, EVALSHA, their read-only forms, SCRIPT.

use bytes::Bytes;

use super::super::dispatch::{Flow, error};
use super::super::scripting::control::NotKilled;
use super::super::scripting::{Form, Scripting};
use super::super::session::Session;
use super::{help, is_sub, subcommand_error};
use crate::keyspace::batch::Batch;
use crate::resp::Reply;

pub(super) fn eval(session: &mut Session, argv: &[Bytes], batch: &mut Batch<'_, '_>) -> Reply {
    session.run_script(Form { by_digest: false, read_only: false }, argv, batch)
}

pub(super) fn eval_ro(session: &mut Session, argv: &[Bytes], batch: &mut Batch<'_, '_>) -> Reply {
    session.run_script(Form { by_digest: false, read_only: true }, argv, batch)
}

pub(super) fn evalsha(session: &mut Session, argv: &[Bytes], batch: &mut Batch<'_, '_>) -> Reply {
    session.run_script(Form { by_digest: true, read_only: false }, argv, batch)
}

pub(super) fn evalsha_ro(session: &mut Session, argv: &[Bytes], batch: &mut Batch<'_, '_>) -> Reply {
    session.run_script(Form { by_digest: true, read_only: true }, argv, batch)
}

pub(super) fn script(session: &mut Session, argv: &[Bytes]) -> Flow {
    let scripting = &session.shared.scripting;
    let args = argv.get(2..).unwrap_or_default();
    let reply = if is_sub(argv, b"help") {
        help::reply(help::SCRIPT)
    } else if is_sub(argv, b"kill") {
        match scripting.control.kill() {
            Ok(()) => Reply::Simple("OK"),
            Err(NotKilled::NoneRuns) => error("NOTBUSY No scripts in execution right now."),
            Err(NotKilled::HasWritten) => error(
                "UNKILLABLE Sorry the script already executed write commands against the dataset. You can either wait the script termination or kill the server in a hard way using the SHUTDOWN NOSAVE command.",
            ),
        }
    } else if is_sub(argv, b"flush") {
        match args {
            [] => flushed(scripting),
            [mode] if mode.eq_ignore_ascii_case(b"sync") || mode.eq_ignore_ascii_case(b"async") => {
                flushed(scripting)
            }
            _ => error("ERR SCRIPT FLUSH only support SYNC|ASYNC option"),
        }
    } else if is_sub(argv, b"exists") {
        let engine = scripting.engine.lock();
        let exists = |digest: &Bytes| Reply::Integer(i64::from(engine.body(digest).is_some()));
        Reply::Array(args.iter().map(exists).collect())
    } else if let (true, [digest]) = (is_sub(argv, b"show"), args) {
        match scripting.engine.lock().body(digest) {
            Some(body) => Reply::Bulk(body),
            None => error("NOSCRIPT No matching script."),
        }
    } else if let (true, [body]) = (is_sub(argv, b"load"), args) {
        let loaded = session.shared.load_script(body);
        loaded.map_or_else(error, |digest| Reply::Bulk(digest.into()))
    } else {
        subcommand_error("script", argv)
    };
    reply.into()
}

fn flushed(scripting: &Scripting) -> Reply {
    scripting.flush();
    Reply::Simple("OK")
}
