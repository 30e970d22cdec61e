//! CONFIG GET, SET, RESETSTAT, HELP.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::super::config::ConfigError;
use super::super::dispatch::{Flow, Run, error, shown};
use super::super::glob;
use super::super::parameters::{self, PARAMETERS, Parameter};
use super::super::session::Session;
use super::{help, is_sub, subcommand_error};
use crate::keyspace::batch::Overview;
use crate::resp::{Reply, text};

pub(super) const RUN: Run = Run::Overview { asks: |argv| is_sub(argv, b"resetstat"), run: config };

fn config(session: &mut Session, argv: &[Bytes], keyspace: &mut dyn Overview) -> Flow {
    let sub = argv.get(1).map_or(&[][..], |sub| sub).to_ascii_lowercase();
    let args = argv.get(2..).unwrap_or_default();
    let reply = match (sub.as_slice(), args) {
        (b"get", [_, ..]) => get(session, args),
        (b"set", args) if args.len().is_multiple_of(2) => set(session, args),
        (b"set", _) => error("ERR syntax error"),
        (b"help", []) => help::reply(help::CONFIG),
        (b"resetstat", []) => {
            session.shared.stats.reset();
            keyspace.reset_stats();
            Reply::Simple("OK")
        }
        (b"rewrite", []) => error("ERR The server is running without a config file"),
        _ => subcommand_error("config", argv),
    };
    reply.into()
}

/// What matches, each once and sorted by name; one that is named without a pattern is called as it was asked
/// for, as in Valkey.
fn get(session: &Session, patterns: &[Bytes]) -> Reply {
    let config = session.shared.config.load();
    let mut found = BTreeMap::new();
    for pattern in patterns {
        for parameter in PARAMETERS {
            for name in parameter.names().filter(|name| glob::matches(pattern, name.as_bytes())) {
                let called =
                    if is_pattern(pattern) { Bytes::from_static(name.as_bytes()) } else { pattern.clone() };
                found.entry(name).or_insert((called, parameter));
            }
        }
    }
    let shown = |(called, parameter): (Bytes, &Parameter)| {
        let port = || session.shared.port.to_string();
        let value = if parameter.name == "port" { port() } else { parameter.get(&config) };
        (Reply::Bulk(called), Reply::Bulk(Bytes::from(value)))
    };
    let mut found: Vec<(Bytes, &Parameter)> = found.into_values().collect();
    found.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
    Reply::Map(found.into_iter().map(shown).collect())
}

fn is_pattern(text: &[u8]) -> bool {
    text.iter().any(|byte| b"[*?".contains(byte))
}

/// All or nothing: the new values are collected in a copy, which replaces the old when every one fits.
fn set(session: &Session, pairs: &[Bytes]) -> Reply {
    let shared = &session.shared;
    let _one_at_a_time = shared.config_change.lock();
    let mut changed = (**shared.config.load()).clone();
    let mut seen: Vec<&'static str> = Vec::new();
    let failed = |name: &str, reason: &str| {
        error(format!("ERR CONFIG SET failed (possibly related to argument '{name}') - {reason}"))
    };
    for pair in pairs.chunks_exact(2) {
        let given = shown(&pair[0]);
        let Some(parameter) = parameters::find(&given) else {
            return error(format!("ERR Unknown option or number of arguments for CONFIG SET - '{given}'"));
        };
        // Called as the table calls it, whatever the case in which it was given.
        let given =
            parameter.names().find(|name| name.eq_ignore_ascii_case(&given)).unwrap_or(parameter.name);
        if !parameter.live {
            return failed(given, "can't set immutable config");
        }
        if seen.contains(&parameter.name) {
            return failed(given, "duplicate parameter");
        }
        seen.push(parameter.name);
        match parameter.set(&mut changed, &text::from_bytes(&pair[1])) {
            Ok(()) if std::str::from_utf8(&pair[1]).is_err() => {
                return failed(given, "argument is not valid UTF-8");
            }
            Ok(()) => {}
            Err(ConfigError::Value { reason, .. }) => return failed(given, &reason),
            Err(unknown @ ConfigError::Unknown { .. }) => return failed(given, &unknown.to_string()),
        }
    }
    shared.apply_config(changed);
    Reply::Simple("OK")
}
