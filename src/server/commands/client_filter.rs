//! Which clients `CLIENT LIST` and `CLIENT KILL` are about.
//!
//! All filters that are given have to fit. `ID` and `NOT-ID` collect numbers; of every other filter the last
//! one counts, as in Valkey. Each text filter has its opposite, `NOT-…`.

use std::net::SocketAddr;

use bytes::Bytes;

use super::super::clients::{Client, Role};
use super::super::dispatch::{error, shown};
use super::super::state::Shared;
use super::connection::integer;
use crate::resp::Reply;

/// The letters that `flags=` of `CLIENT LIST` knows.
const KNOWN_FLAGS: &[u8] = b"ABEIMNOPRSTUbcdeirtux";
/// The letters of capabilities: `r` is `REDIRECT`, which nobody has here.
const KNOWN_CAPABILITIES: &[u8] = b"r";

/// A class of clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

    fn of(client: &Client) -> Class {
        let profile = client.profile.lock();
        match profile.role {
            Role::Normal if profile.is_subscriber() => Class::PubSub,
            Role::Normal => Class::Normal,
            Role::Replica => Class::Replica,
        }
    }
}

/// What a client has to be, or not to be.
#[derive(Clone, Debug)]
enum Term {
    Class(Class),
    Address(Bytes),
    LocalAddress(Bytes),
    Ip(Bytes),
    /// Whether it is the one user that there is.
    DefaultUser(bool),
    Name(Bytes),
    LibraryName(Bytes),
    LibraryVersion(Bytes),
    Flags(Bytes),
    Capabilities(Bytes),
    Database(i64),
}

impl Term {
    /// Reads a filter's value; `None` if there is no such filter.
    fn parse(name: &[u8], value: &Bytes, shared: &Shared) -> Result<Option<Term>, Reply> {
        let value = value.clone();
        Ok(Some(match name {
            b"type" => {
                let unknown = || error(format!("ERR Unknown client type '{}'", shown(&value)));
                Term::Class(Class::parse(&value).ok_or_else(unknown)?)
            }
            b"addr" => Term::Address(value),
            b"laddr" => Term::LocalAddress(value),
            b"ip" => Term::Ip(value),
            b"user" if value.as_ref() == b"default" => Term::DefaultUser(true),
            b"user" => return Err(error(format!("ERR No such user '{}'", shown(&value)))),
            b"name" => Term::Name(value),
            b"lib-name" => Term::LibraryName(value),
            b"lib-ver" => Term::LibraryVersion(value),
            b"flags" => Term::Flags(letters(value, KNOWN_FLAGS, "flags")?),
            b"capa" => Term::Capabilities(letters(value, KNOWN_CAPABILITIES, "capa")?),
            b"db" => Term::Database(database(&value, shared)?),
            _ => return Ok(None),
        }))
    }

    fn fits(&self, client: &Client) -> bool {
        let is_addr = |given: &Bytes, addr: SocketAddr| given.as_ref() == addr.to_string().as_bytes();
        // What a client has not set equals nothing.
        let is_text = |given: &Bytes, own: &Bytes| !own.is_empty() && given == own;
        match self {
            Term::Class(class) => *class == Class::of(client),
            Term::Address(addr) => is_addr(addr, client.addr),
            Term::LocalAddress(addr) => is_addr(addr, client.laddr),
            Term::Ip(ip) => ip.as_ref() == client.addr.ip().to_string().as_bytes(),
            Term::DefaultUser(is) => *is,
            Term::Name(name) => is_text(name, &client.profile.lock().name),
            Term::LibraryName(name) => is_text(name, &client.profile.lock().lib_name),
            Term::LibraryVersion(version) => is_text(version, &client.profile.lock().lib_version),
            Term::Flags(flags) => {
                let own = client.profile.lock().flags();
                flags.iter().all(|flag| own.contains(char::from(*flag)))
            }
            Term::Capabilities(letters) => letters.is_empty(),
            Term::Database(db) => *db == i64::from(client.profile.lock().db),
        }
    }
}

fn letters(value: Bytes, known: &[u8], what: &str) -> Result<Bytes, Reply> {
    match value.iter().all(|letter| known.contains(letter)) {
        true => Ok(value),
        false => Err(error(format!("ERR Unknown {what} found in the provided filter: {}", shown(&value)))),
    }
}

fn database(value: &[u8], shared: &Shared) -> Result<i64, Reply> {
    let db = integer(value).ok_or_else(|| error("ERR DB is not an integer or out of range"))?;
    let last = i64::from(shared.config.load().databases) - 1;
    match (0..=last).contains(&db) {
        true => Ok(db),
        false => Err(error(format!("ERR DB number should be between 0 and {last}"))),
    }
}

/// Seconds of which there have to be some.
fn seconds(value: &[u8], what: &str) -> Result<i64, Reply> {
    let given =
        integer(value).ok_or_else(|| error(format!("ERR {what} is not an integer or out of range")))?;
    match given > 0 {
        true => Ok(given),
        false => Err(error(format!("ERR {what} should be greater than 0"))),
    }
}

/// The filters of one command.
#[derive(Clone, Debug, Default)]
pub(super) struct ClientFilter {
    ids: Option<Vec<i64>>,
    not_ids: Option<Vec<i64>>,
    /// A filter, and whether a client must not fit it.
    terms: Vec<(bool, Term)>,
    max_age_s: Option<i64>,
    idle_s: Option<i64>,
    /// Leave out the client that asks.
    pub skip_own: bool,
}

impl ClientFilter {
    /// Clients at one address, whoever asks.
    pub fn of_address(addr: &Bytes) -> ClientFilter {
        ClientFilter { terms: vec![(false, Term::Address(addr.clone()))], ..ClientFilter::default() }
    }

    /// Reads filters; `skip_own` holds unless `SKIPME` says otherwise.
    pub fn parse(args: &[Bytes], skip_own: bool, shared: &Shared) -> Result<ClientFilter, Reply> {
        let mut filter = ClientFilter { skip_own, ..ClientFilter::default() };
        let mut rest = args;
        while let Some((name, more)) = rest.split_first() {
            let name = name.to_ascii_lowercase();
            rest = match (name.as_slice(), more) {
                (b"id", more) => take_ids(filter.ids.get_or_insert_default(), more)?,
                (b"not-id", more) => take_ids(filter.not_ids.get_or_insert_default(), more)?,
                (name, [value, more @ ..]) => {
                    filter.take(name, value, shared)?;
                    more
                }
                _ => return Err(error("ERR syntax error")),
            };
        }
        Ok(filter)
    }

    /// Takes a filter that has one value.
    fn take(&mut self, name: &[u8], value: &Bytes, shared: &Shared) -> Result<(), Reply> {
        match name {
            b"maxage" => self.max_age_s = Some(seconds(value, "maxage")?),
            b"idle" => self.idle_s = Some(seconds(value, "idle")?),
            b"skipme" if value.eq_ignore_ascii_case(b"yes") => self.skip_own = true,
            b"skipme" if value.eq_ignore_ascii_case(b"no") => self.skip_own = false,
            name => {
                let (negated, name) = name.strip_prefix(b"not-").map_or((false, name), |name| (true, name));
                let term = Term::parse(name, value, shared)?.ok_or_else(|| error("ERR syntax error"))?;
                let same = |known: &(bool, Term)| {
                    known.0 == negated && std::mem::discriminant(&known.1) == std::mem::discriminant(&term)
                };
                self.terms.retain(|known| !same(known));
                self.terms.push((negated, term));
            }
        }
        Ok(())
    }

    /// Whether a client fits all filters but `SKIPME`.
    pub fn fits(&self, client: &Client, now_ms: u64) -> bool {
        let id = signed(client.id);
        let since_s = |then_ms: u64| signed(now_ms.saturating_sub(then_ms) / 1000);
        let last_active_ms = client.last_active_ms.load(std::sync::atomic::Ordering::Relaxed);
        self.ids.as_ref().is_none_or(|ids| ids.contains(&id))
            && self.not_ids.as_ref().is_none_or(|ids| !ids.contains(&id))
            && self.max_age_s.is_none_or(|max_age_s| since_s(client.created_ms) >= max_age_s)
            && self.idle_s.is_none_or(|idle_s| since_s(last_active_ms) >= idle_s)
            && self.terms.iter().all(|(negated, term)| term.fits(client) != *negated)
    }
}

/// Takes the numbers that follow `ID`, up to what is none.
fn take_ids<'a>(ids: &mut Vec<i64>, mut rest: &'a [Bytes]) -> Result<&'a [Bytes], Reply> {
    while let Some((id, more)) = rest.split_first().and_then(|(id, more)| Some((integer(id)?, more))) {
        if id < 1 {
            return Err(error("ERR client-id should be greater than 0"));
        }
        ids.push(id);
        rest = more;
    }
    Ok(rest)
}

pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
