//! CLIENT: who is connected, and who shall not be.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;

use super::super::clients::{Client, Role, UnblockAs};
use super::super::dispatch::{Flow, Run, error, shown, until_zero};
use super::super::session::{ReplyMode, Session, keep};
use super::connection::integer;
use super::{is_sub, subcommand_error};
use crate::keyspace::batch::Overview;
use crate::resp::Reply;

const KNOWN: &[&str] = &[
    "getname", "id", "info", "kill", "list", "no-evict", "no-touch", "reply", "setinfo", "setname",
    "unblock", "unpause",
];

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
            session.publish_profile("client|info");
            listing(&[Arc::clone(&session.client)], session)
        }
        (b"list", _) => list(session, args),
        (b"kill", [_, ..]) => kill(session, args),
        (b"no-evict", [flag]) => set_flag(session, flag, |profile| &mut profile.no_evict),
        (b"no-touch", [flag]) => {
            let reply = set_flag(session, flag, |profile| &mut profile.no_touch);
            session.no_touch = session.client.profile.lock().no_touch;
            reply
        }
        (b"reply", [mode]) => return reply_mode(session, mode),
        (b"unblock", [id, reason @ ..]) => unblock(session, id, reason, keyspace),
        (b"unpause", []) => Reply::Simple("OK"),
        _ => subcommand_error("client", KNOWN, argv),
    };
    reply.into()
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Printable ASCII without blanks: what a name may consist of. As in Valkey, what follows a zero byte is not looked at.
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
    session.publish_profile("client|list");
    let mut clients = session.shared.clients.list();
    match args {
        [] => {}
        [option, class] if option.eq_ignore_ascii_case(b"type") => match Class::parse(class) {
            Some(class) => clients.retain(|client| class.includes(client)),
            None => return error(format!("ERR Unknown client type '{}'", shown(class))),
        },
        [option, ids @ ..] if option.eq_ignore_ascii_case(b"id") && !ids.is_empty() => {
            let Some(ids) = ids.iter().map(|id| integer(id)).collect::<Option<Vec<i64>>>() else {
                return error("ERR Invalid client ID");
            };
            clients.retain(|client| ids.contains(&signed(client.id)));
        }
        _ => return error("ERR syntax error"),
    }
    listing(&clients, session)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Normal,
    Replica,
    PubSub,
    /// A class that exists in Valkey and is always empty here.
    Primary,
}

impl Class {
    fn parse(text: &[u8]) -> Option<Class> {
        match text.to_ascii_lowercase().as_slice() {
            b"normal" => Some(Class::Normal),
            b"replica" | b"slave" => Some(Class::Replica),
            b"pubsub" => Some(Class::PubSub),
            b"master" | b"primary" => Some(Class::Primary),
            _ => None,
        }
    }

    fn includes(self, client: &Client) -> bool {
        let profile = client.profile.lock();
        self == match profile.role {
            Role::Normal if profile.is_subscriber() => Class::PubSub,
            Role::Normal => Class::Normal,
            Role::Replica => Class::Replica,
        }
    }
}

/// The filters of `CLIENT KILL`; all given ones have to fit.
#[derive(Default)]
struct Filters {
    id: Option<i64>,
    class: Option<Class>,
    addr: Option<Bytes>,
    laddr: Option<Bytes>,
    user: Option<Bytes>,
    max_age_s: Option<i64>,
    keep_self: bool,
}

impl Filters {
    fn fit(&self, client: &Client, now_ms: u64) -> bool {
        let same = |given: &Option<Bytes>, addr: SocketAddr| {
            given.as_ref().is_none_or(|given| given.as_ref() == addr.to_string().as_bytes())
        };
        let age_s = signed(now_ms.saturating_sub(client.created_ms) / 1000);
        self.id.is_none_or(|id| id == signed(client.id))
            && self.class.is_none_or(|class| class.includes(client))
            && same(&self.addr, client.addr)
            && same(&self.laddr, client.laddr)
            && self.user.as_ref().is_none_or(|user| user.as_ref() == b"default")
            && self.max_age_s.is_none_or(|max_age_s| age_s >= max_age_s)
    }
}

fn kill(session: &mut Session, args: &[Bytes]) -> Reply {
    if let [addr] = args {
        // The old form: one address, the caller included.
        let filters = Filters { addr: Some(addr.clone()), ..Filters::default() };
        return match kill_matching(session, &filters) {
            0 => error("ERR No such client"),
            _ => Reply::Simple("OK"),
        };
    }
    match kill_filters(args) {
        Ok(filters) => Reply::Integer(kill_matching(session, &filters)),
        Err(reply) => reply,
    }
}

fn kill_filters(args: &[Bytes]) -> Result<Filters, Reply> {
    let mut filters = Filters { keep_self: true, ..Filters::default() };
    let syntax = || error("ERR syntax error");
    if !args.len().is_multiple_of(2) {
        return Err(syntax());
    }
    for pair in args.chunks_exact(2) {
        let value = &pair[1];
        match pair[0].to_ascii_lowercase().as_slice() {
            b"id" => match integer(value) {
                Some(id) if id > 0 => filters.id = Some(id),
                Some(_) => return Err(error("ERR client-id should be greater than 0")),
                None => return Err(syntax()),
            },
            b"type" => match Class::parse(value) {
                Some(class) => filters.class = Some(class),
                None => return Err(error(format!("ERR Unknown client type '{}'", shown(value)))),
            },
            b"addr" => filters.addr = Some(value.clone()),
            b"laddr" => filters.laddr = Some(value.clone()),
            b"user" if value.as_ref() == b"default" => filters.user = Some(value.clone()),
            b"user" => return Err(error(format!("ERR No such user '{}'", shown(value)))),
            b"maxage" => filters.max_age_s = Some(integer(value).ok_or_else(syntax)?),
            b"skipme" if value.eq_ignore_ascii_case(b"yes") => filters.keep_self = true,
            b"skipme" if value.eq_ignore_ascii_case(b"no") => filters.keep_self = false,
            _ => return Err(syntax()),
        }
    }
    Ok(filters)
}

fn kill_matching(session: &mut Session, filters: &Filters) -> i64 {
    let now_ms = session.shared.mono_ms();
    let mut killed = 0;
    for client in session.shared.clients.list() {
        let own = client.id == session.client.id;
        if (own && filters.keep_self) || !filters.fit(&client, now_ms) {
            continue;
        }
        killed += 1;
        if own {
            // The answer is still sent.
            session.closing = true;
        } else {
            client.kill();
        }
    }
    killed
}
