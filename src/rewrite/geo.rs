//! Positions: sorted sets whose scores are 52-bit cells of a grid.
//!
//! | client | happened | propagated |
//! |---|---|---|
//! | `GEOADD` | at least one added or moved | `ZADD k [NX|XX] [CH] score member …` with integer scores |
//! | `GEOSEARCHSTORE`, `GEORADIUS … STORE`, `GEORADIUSBYMEMBER … STORE` | the result is not empty, or it is and the destination was deleted | verbatim: the scores are the sources' |
//! | the same | the result is empty, and there was no destination | nothing |
//! | any of them with `STOREDIST` or `BYPOLYGON` | the result is not empty | a deletion of the destination, `ZADD d score member …`, at most 1024 members each |
//! | the same | the result is empty, and the destination was deleted | a deletion of the destination |
//!
//! # Exceptions
//!
//! | sequence | Valkey sends | what diverges | sent here |
//! |---|---|---|---|
//! | `GEOSEARCHSTORE d s … STOREDIST`, `GEORADIUS s … STOREDIST d` | verbatim | the replica computes the distances with the sines of its own C library: the last digits are not the primary's | `UNLINK d`, `ZADD d distance member …` |
//! | `GEOSEARCHSTORE d s BYPOLYGON …` | verbatim | a replica without the option (Redis 7, Valkey 8) keeps the old `d` | `UNLINK d`, `ZADD d score member …` |

use bytes::Bytes;

use super::{Argv, DeletionVerb, Mismatch, Propagation, Rewritten, decimal, identify, word};

/// The most members that one `ZADD` names.
const BATCH_MEMBERS: usize = 1024;

/// What a `GEOADD` did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GeoAddOutcome<'o> {
    /// Every member was where it is, or a condition kept it there.
    Unchanged,
    /// At least one was added or moved.
    Changed {
        /// The score of each position that the command names, those without an effect included.
        scores: &'o [u64],
    },
}

/// What a command that stores the members it found did to its destination.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum GeoStoreOutcome<'o> {
    /// The result was not empty: it is the destination's value now, members and scores.
    Stored(&'o [(Bytes, f64)]),
    /// The result was empty, and the destination, which existed, was deleted.
    Deleted,
    /// The result was empty, and there was no destination.
    Unchanged,
}

/// The propagation of `GEOADD key [NX|XX] [CH] longitude latitude member [longitude latitude member …]`.
pub fn geoadd(argv: &[Bytes], outcome: GeoAddOutcome<'_>) -> Rewritten {
    let command = identify(argv, &[("geoadd", 5)], "GEOADD")?;
    let GeoAddOutcome::Changed { scores } = outcome else { return Ok(Propagation::Nothing) };
    let is_option =
        |arg: &Bytes| [&b"NX"[..], b"XX", b"CH"].iter().any(|name| arg.eq_ignore_ascii_case(name));
    let options = argv[2..].iter().take_while(|arg| is_option(arg)).count();
    let (head, positions) = argv.split_at(2 + options);
    if positions.len() != 3 * scores.len() {
        return Err(Mismatch::outcome(command, "not one score per position was reported"));
    }
    let mut rewritten = Vec::with_capacity(head.len() + 2 * scores.len());
    rewritten.push(word("ZADD"));
    rewritten.extend_from_slice(&head[1..]);
    for (position, score) in positions.chunks_exact(3).zip(scores) {
        rewritten.extend([decimal(*score), position[2].clone()]);
    }
    Ok(Propagation::Command(rewritten))
}

/// The propagation of `GEOSEARCHSTORE destination source …`, `GEORADIUS source … STORE|STOREDIST destination`
/// and `GEORADIUSBYMEMBER source … STORE|STOREDIST destination`; `verb` is that of values that a command
/// replaces.
pub fn geostore(argv: &[Bytes], outcome: GeoStoreOutcome<'_>, verb: DeletionVerb) -> Rewritten {
    const COMMANDS: &[(&str, usize)] = &[("geosearchstore", 8), ("georadius", 8), ("georadiusbymember", 7)];
    let command = identify(argv, COMMANDS, "GEOSEARCHSTORE, GEORADIUS, GEORADIUSBYMEMBER")?;
    let Some(store) = Store::read(command, argv) else {
        return Err(Mismatch::outcome(command, "its arguments name no destination"));
    };
    Ok(match outcome {
        GeoStoreOutcome::Stored([]) => return Err(Mismatch::outcome(command, "nothing was stored")),
        GeoStoreOutcome::Stored(members) if store.by_value => {
            let mut commands = vec![verb.command(store.destination)];
            commands.extend(members.chunks(BATCH_MEMBERS).map(|batch| zadd(store.destination, batch)));
            Propagation::Commands(commands)
        }
        GeoStoreOutcome::Deleted if store.by_value => Propagation::Command(verb.command(store.destination)),
        GeoStoreOutcome::Stored(_) | GeoStoreOutcome::Deleted => Propagation::Verbatim,
        GeoStoreOutcome::Unchanged => Propagation::Nothing,
    })
}

fn zadd(key: &Bytes, members: &[(Bytes, f64)]) -> Argv {
    let mut command = Vec::with_capacity(2 + 2 * members.len());
    command.extend([word("ZADD"), key.clone()]);
    for (member, score) in members {
        // The shortest digits that read back as the same number.
        command.extend([Bytes::from(score.to_string()), member.clone()]);
    }
    command
}

/// How a command stores.
struct Store<'a> {
    destination: &'a Bytes,
    /// A replica need not come to the same result.
    by_value: bool,
}

impl<'a> Store<'a> {
    /// Reads the arguments by position: members and keys may be called like options.
    fn read(command: &str, argv: &'a [Bytes]) -> Option<Self> {
        let (mut destination, mut at) = match command {
            "geosearchstore" => (Some(&argv[1]), 3),
            "georadius" => (None, 6),
            _ => (None, 5),
        };
        let mut by_value = false;
        while let Some(option) = argv.get(at) {
            let is = |name: &str| option.eq_ignore_ascii_case(name.as_bytes());
            let arguments = if is("STOREDIST") && command == "geosearchstore" {
                by_value = true;
                0
            } else if is("STORE") || is("STOREDIST") {
                by_value = is("STOREDIST");
                destination = argv.get(at + 1);
                1
            } else if is("BYPOLYGON") {
                by_value = true;
                let corners = argv.get(at + 1).and_then(|n| std::str::from_utf8(n).ok()?.parse().ok());
                1 + 2 * corners.unwrap_or(0_usize).min(argv.len())
            } else if is("BYBOX") {
                3
            } else if is("FROMLONLAT") || is("BYRADIUS") {
                2
            } else if is("FROMMEMBER") || is("COUNT") {
                1
            } else {
                0
            };
            at += 1 + arguments;
        }
        destination.map(|destination| Store { destination, by_value })
    }
}
