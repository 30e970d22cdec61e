//! CLIENT: who is connected, and who shall not be.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::super::clients::{Client, UnblockAs};
use super::super::dispatch::{Flow, Run, error, shown, until_zero};
use super::super::pause::Level;
use super::super::session::{ReplyMode, Session, keep};
use super::client_filter::{ClientFilter, signed};
use super::connection::integer;
use super::replication::timeout_ms;
use super::{help, is_sub, subcommand_error};
use crate::keyspace::batch::Overview;
use crate::resp::Reply;

pub(super) const RUN: Run = Run::Overview { asks: |argv| is_sub(argv, b"unblock"), run: client };

fn client(session: &mut Session, argv: &[Bytes], keyspace: &mut dyn Overview) -> Flow {
    let sub = argv.get(1).map_or(&[][..], |sub| sub).to_ascii_lowercase();
    let args = argv.get(2..).unwrap_or_default();
    let reply = match (sub.as_slice(), args) {
        (b"id", []) => Reply::Integer(signed(session.client.id)),
        (b"getname", []) => match &session.client.profile.lock().name {
            name if name.is_empty() => Reply::Null,
            name => Reply::Bulk(name.clone()),
        },
        (b"setname", [name]) => set_name(session, name),
        (b"setinfo", [option, value]) => set_info(session, option, value),
        (b"info", []) => {
            note_own(session, "client|info", argv);
            listing(&[Arc::clone(&session.client)], session)
        }
        (b"list", _) => {
            note_own(session, "client|list", argv);
            list(session, args)
        }
        (b"kill", [_, ..]) => kill(session, args),
        (b"no-evict", [flag]) => set_flag(session, flag, |profile| &mut profile.no_evict),
        (b"no-touch", [flag]) => {
            let reply = set_flag(session, flag, |profile| &mut profile.no_touch);
            session.no_touch = session.client.profile.lock().no_touch;
            reply
        }
        (b"reply", [mode]) => return reply_mode(session, mode),
        (b"unblock", [id, reason @ ..]) => unblock(session, id, reason, keyspace),
        (b"pause", [timeout, mode @ ..]) => pause(session, timeout, mode),
        (b"unpause", []) => {
            session.shared.pause.unpause_clients();
            Reply::Simple("OK")
        }
        (b"help", []) => help::reply(help::CLIENT),
        _ => subcommand_error("client", argv),
    };
    reply.into()
}

/// Printable ASCII without blanks: what a name may consist of. As in Valkey, what follows a zero byte is not
/// looked at.
pub(super) fn is_plain_word(text: &[u8]) -> bool {
    until_zero(text).iter().all(|byte| (b'!'..=b'~').contains(byte))
}

fn set_name(session: &Session, name: &Bytes) -> Reply {
    if !is_plain_word(name) {
        return error("ERR Client names cannot contain spaces, newlines or special characters.");
    }
    session.client.profile.lock().name = keep(name.clone());
    Reply::Simple("OK")
}

fn set_info(session: &Session, option: &Bytes, value: &Bytes) -> Reply {
    let mut profile = session.client.profile.lock();
    let (name, place) = if option.eq_ignore_ascii_case(b"lib-name") {
        ("lib-name", &mut profile.lib_name)
    } else if option.eq_ignore_ascii_case(b"lib-ver") {
        ("lib-ver", &mut profile.lib_version)
    } else {
        return error(format!("ERR Unrecognized option '{}'", shown(option)));
    };
    if !is_plain_word(value) {
        return error(format!("ERR {name} cannot contain spaces, newlines or special characters."));
    }
    *place = keep(value.clone());
    Reply::Simple("OK")
}

fn set_flag(
    session: &Session,
    flag: &[u8],
    place: impl FnOnce(&mut super::super::clients::Profile) -> &mut bool,
) -> Reply {
    let value = match flag {
        _ if flag.eq_ignore_ascii_case(b"on") => true,
        _ if flag.eq_ignore_ascii_case(b"off") => false,
        _ => return error("ERR syntax error"),
    };
    *place(&mut session.client.profile.lock()) = value;
    Reply::Simple("OK")
}

/// `ON` is answered, `OFF` and `SKIP` are not.
fn reply_mode(session: &mut Session, mode: &[u8]) -> Flow {
    if mode.eq_ignore_ascii_case(b"on") {
        session.set_reply_mode(ReplyMode::On);
        return Reply::Simple("OK").into();
    }
    if mode.eq_ignore_ascii_case(b"off") {
        session.set_reply_mode(ReplyMode::Off);
    } else if mode.eq_ignore_ascii_case(b"skip") {
        if session.reply_mode != ReplyMode::Off {
            session.reply_mode = ReplyMode::SkipNext;
        }
    } else {
        return error("ERR syntax error").into();
    }
    Flow::Silent
}

/// `CLIENT PAUSE timeout [WRITE|ALL]`. As in Valkey, the mode is looked at if nothing follows it.
fn pause(session: &Session, timeout: &[u8], mode: &[Bytes]) -> Reply {
    let level = match mode {
        [mode] if mode.eq_ignore_ascii_case(b"write") => Level::Writes,
        [mode] if !mode.eq_ignore_ascii_case(b"all") => {
            return error("ERR CLIENT PAUSE mode must be WRITE or ALL");
        }
        _ => Level::Everything,
    };
    match timeout_ms(timeout) {
        Ok(timeout_ms) => {
            let now_ms = session.shared.mono_ms();
            session.shared.pause.clients(level, now_ms, now_ms.saturating_add(timeout_ms));
            Reply::Simple("OK")
        }
        Err(refusal) => refusal,
    }
}

/// `CLIENT UNBLOCK id [TIMEOUT|ERROR]`. As in Valkey, the reason is looked at if nothing follows it.
fn unblock(session: &Session, id: &[u8], reason: &[Bytes], keyspace: &mut dyn Overview) -> Reply {
    let what = match reason {
        [reason] if reason.eq_ignore_ascii_case(b"error") => UnblockAs::Error,
        [reason] if !reason.eq_ignore_ascii_case(b"timeout") => {
            return error("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR");
        }
        _ => UnblockAs::Timeout,
    };
    let Some(id) = integer(id) else {
        return error("ERR value is not an integer or out of range");
    };
    let client = u64::try_from(id).ok().and_then(|id| session.shared.clients.get(id));
    Reply::Integer(client.is_some_and(|client| client.unblock(what, keyspace)).into())
}

/// Brings up to date what is shown of the client that asks.
fn note_own(session: &Session, command: &'static str, argv: &[Bytes]) {
    session.publish_profile(command);
    let argv_bytes = argv.iter().map(|arg| arg.len() as u64).sum();
    session.client.held.argv_bytes.store(argv_bytes, Ordering::Relaxed);
}

fn listing(clients: &[Arc<Client>], session: &Session) -> Reply {
    let now_ms = session.shared.mono_ms();
    let mut text = String::new();
    for client in clients {
        text.push_str(&client.describe(now_ms));
        text.push('\n');
    }
    Reply::Verbatim(Bytes::from(text))
}

fn list(session: &Session, args: &[Bytes]) -> Reply {
    // Valkey counts the arguments before it looks at them.
    if matches!(args, [_]) {
        return error("ERR syntax error");
    }
    match ClientFilter::parse(args, false, &session.shared) {
        Ok(filter) => listing(&matching(session, &filter), session),
        Err(refusal) => refusal,
    }
}

/// The clients that fit.
fn matching(session: &Session, filter: &ClientFilter) -> Vec<Arc<Client>> {
    let now_ms = session.shared.mono_ms();
    let mut clients = session.shared.clients.list();
    clients.retain(|client| {
        !(filter.skip_own && client.id == session.client.id)
            && filter.fits(client, now_ms)
            && !client.is_killed()
    });
    clients
}

fn kill(session: &mut Session, args: &[Bytes]) -> Reply {
    session.publish_profile("client|kill");
    if let [addr] = args {
        // The old form: one address, the caller included.
        return match kill_matching(session, &ClientFilter::of_address(addr)) {
            0 => error("ERR No such client"),
            _ => Reply::Simple("OK"),
        };
    }
    match ClientFilter::parse(args, true, &session.shared) {
        Ok(filter) => Reply::Integer(kill_matching(session, &filter)),
        Err(refusal) => refusal,
    }
}

fn kill_matching(session: &mut Session, filter: &ClientFilter) -> i64 {
    let clients = matching(session, filter);
    for client in &clients {
        if client.id == session.client.id {
            // The answer is still sent.
            session.closing = true;
        } else {
            client.kill();
        }
    }
    i64::try_from(clients.len()).unwrap_or(i64::MAX)
}
