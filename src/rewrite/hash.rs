//! Hashes, with and without field deadlines.
//!
//! A hash is *volatile* if, before the command, one of its fields had a deadline. A field is *dead* (an
//! expired leftover) if its deadline has passed and it is still stored: absent for every reader, and there
//! all the same, on the replica too, which never judges expiry when it applies the stream.
//!
//! | client | happened | propagated |
//! |---|---|---|
//! | `HSET`, `HMSET` | always, even with the same values | verbatim: drops the fields' deadlines on both sides, a dead field's too |
//! | `HSETNX` | set; the hash not volatile / volatile | verbatim / `HSET k f v` |
//! | `HINCRBY` | the hash not volatile | verbatim: integer addition is the same everywhere |
//! | `HINCRBY` | the hash volatile; the field without a live deadline / with one | `HSET k f result` / `HSETEX k PXAT ms FIELDS 1 f result` |
//! | `HINCRBYFLOAT` | the field without a live deadline / with one | the same two |
//! | `HDEL` | at least one deleted; no dead field named / some | verbatim / `HDEL k` the deleted |
//! | `HGETDEL` | at least one deleted | `HDEL k` the deleted |
//! | `HEXPIRE`, `HPEXPIRE`, `HEXPIREAT` | a deadline set; no dead field named / some | `HPEXPIREAT k ms [condition] FIELDS n …` as named / `HPEXPIREAT k ms FIELDS n` the changed |
//! | `HPEXPIREAT` | the same | verbatim / the same |
//! | any of them | the time had passed | `HDEL k` the deleted |
//! | `HPERSIST` | a deadline removed; no dead field named / some | verbatim / `HPERSIST k FIELDS n` the changed |
//! | `HGETEX` with a time | future / past | `HPEXPIREAT k ms FIELDS n` the changed / `HDEL k` the deleted |
//! | `HGETEX PERSIST` | a deadline removed | `HPERSIST k FIELDS n` the changed |
//! | `HSETEX` with `PXAT` and nothing else | stored | verbatim |
//! | `HSETEX` with another time or a condition besides | stored | the client's bytes without conditions, `PXAT ms` in place |
//! | `HSETEX` with a time already past | | `HDEL k` those that were stored; nothing if none was |
//! | `HSETEX` without a time, `HSETEX KEEPTTL` where no field has a deadline to keep | stored | `HSET k f v …`, which drops the deadlines of dead fields too |
//! | `HSETEX KEEPTTL` where one has | stored | the same for those without, `HSETEX k PXAT ms FIELDS n f v …` per deadline for the others |
//! | active reclaim | | `HDEL k f …`, at most 1024 each, and a deletion of the key if it was emptied, in one unit |
//!
//! A hash that becomes empty is deleted by the same command on both sides; but for the active reclaim nothing
//! is added.
//!
//! # Conditions and absent fields that stay in
//!
//! `HPEXPIREAT k ms NX FIELDS 2 f absent` goes out as Valkey sends it when no dead field was named. `NX`,
//! `XX`, `GT` and `LT` read no clock: they compare with the deadline that the field has, and the replica has
//! the same one. A field that was absent on the primary is absent on the replica, unless it is a dead one:
//! with a single one of those among the named ([`Touched::dead`]) the condition and the unchanged fields are
//! left out.
//!
//! # Exceptions
//!
//! Where Valkey 9.1.2's form can diverge. `live` has no deadline or a future one, `dead` a past one and is
//! still stored.
//!
//! | sequence | Valkey sends | what diverges | sent here |
//! |---|---|---|---|
//! | `HEXPIRE k 100 FIELDS 2 live dead` (its relatives too) | `HPEXPIREAT k ms FIELDS 2 live dead` | the replica revives `dead` | `HPEXPIREAT k ms FIELDS 1 live` |
//! | `HPERSIST k FIELDS 2 live dead` | verbatim | the replica revives `dead`, for good | `HPERSIST k FIELDS 1 live` |
//! | `HDEL k live dead` | verbatim | the replica deletes `dead` too, and with it the key that the primary still has | `HDEL k live` |
//! | `HGETDEL k FIELDS 2 live dead` | verbatim | the same | `HDEL k live` |
//! | `HGETDEL k FIELDS 1 f` | verbatim | a replica without the command (Redis 7, Valkey 9.0) keeps `f` | `HDEL k f` |
//! | `HSETEX k FIELDS 1 f v`, `HSETEX k KEEPTTL FIELDS 1 f v` | verbatim | a replica without the command (Redis 7) keeps the old value | `HSET k f v` |
//! | `HSETEX k KEEPTTL FIELDS 1 f v`, `f` with a live deadline | verbatim | a replica that judges `f` by its own clock (Valkey 9.0.0, 9.0.1) and late drops the deadline | `HSETEX k PXAT ms FIELDS 1 f v` |
//! | `HSETEX fnx EX 100 FIELDS 1 f v` (or a key `fxx`, `nx`, `xx`) | `HSETEX PXAT ms FIELDS 1 f v` | the key is lost: the replica answers an error to nobody | `HSETEX fnx PXAT ms FIELDS 1 f v` |
//! | `HSETEX k EX 9 EX 10 FIELDS 1 f v` | `HSETEX k EX 9 PXAT ms FIELDS 1 f v` | two different options are a syntax error: every replica refuses it | `HSETEX k PXAT ms FIELDS 1 f v` |
//! | `HSETEX k KEEPTTL FIELDS 1 dead v`, `k` with a deadline of its own and nothing but dead fields | `HDEL k dead`, `HSETEX k KEEPTTL FIELDS 1 dead v` | the `HDEL` empties `k` on the replica and deletes it: its deadline is lost | `HSET k dead v` |
//! | `HINCRBY fields f 1` (the key called like the word, in any case), `f` with a live deadline; `HINCRBYFLOAT` too, and an `HSETEX`, which Valkey refuses to execute | `HSETEX fields PXAT ms FIELDS 1 f n` | the old value stays: the replica answers an error to nobody | `HSET fields f n`, `HPEXPIREAT fields ms FIELDS 1 f`, as one unit |
//!
//! A `COPY` of a hash with dead fields is in [`generic`](super::generic), a `SORT` that reads one in
//! [`sort`](super::sort).
//!
//! In the first four the leftover may also be reclaimed by the command itself ([`Leftovers::Reclaimed`]):
//! then its `HDEL` is sent.

use bytes::Bytes;

use super::{Argv, DeletionVerb, Mismatch, Propagation, Rewritten, decimal, identify, word};

/// The most fields that one `HDEL` for expired leftovers names, as in Valkey.
pub const RECLAIM_BATCH_FIELDS: usize = 1024;

/// What became of the dead fields that a command named and did not overwrite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leftovers {
    /// They stay stored until they are reclaimed, as in Valkey: nothing is said about them.
    Kept,
    /// The command removed them: an `HDEL` says so.
    Reclaimed,
}

/// What a command that names fields did to them. Fields are positions in the command's argv, in ascending
/// order: those where it had an effect, so that a field which is named several times is listed once if it was
/// deleted, and each time if it was given a deadline each time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Touched<'o> {
    /// The fields that it really changed or deleted; none of them was dead.
    pub changed: &'o [usize],
    /// The fields that were dead before it.
    pub dead: &'o [usize],
    /// What became of the dead ones.
    pub leftovers: Leftovers,
}

impl<'o> Touched<'o> {
    /// Only live fields were met.
    pub fn live(changed: &'o [usize]) -> Self {
        Touched { changed, dead: &[], leftovers: Leftovers::Kept }
    }

    /// Checks that the positions are among `named`.
    fn check(&self, command: &'static str, named: std::ops::Range<usize>) -> Result<(), Mismatch> {
        check_positions(command, self.changed, &named)?;
        check_positions(command, self.dead, &named)?;
        if self.changed.iter().any(|at| self.dead.binary_search(at).is_ok()) {
            return Err(Mismatch::outcome(command, "a field was both changed and dead"));
        }
        Ok(())
    }

    fn reclaimed(&self) -> &'o [usize] {
        match self.leftovers {
            Leftovers::Kept => &[],
            Leftovers::Reclaimed => self.dead,
        }
    }

    /// The deletion of what was changed, and of what was reclaimed with it, in the order they were named.
    fn deletion(&self, argv: &[Bytes]) -> Propagation {
        let mut deleted = [self.changed, self.reclaimed()].concat();
        deleted.sort_unstable();
        if deleted.is_empty() { Propagation::Nothing } else { Propagation::Command(hdel_of(argv, &deleted)) }
    }

    /// `command`, if anything was changed, after the deletion of what was reclaimed.
    fn after_reclaim(&self, argv: &[Bytes], command: impl FnOnce() -> Argv) -> Propagation {
        let mut commands = batches(&argv[1], self.reclaimed().iter().map(|&at| argv[at].clone()));
        if !self.changed.is_empty() {
            commands.push(command());
        }
        Propagation::of(commands)
    }
}

/// The deadlines that an incremented field and its hash had before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeadlineBefore {
    /// No field of the hash had one, or there was no hash.
    NotVolatile,
    /// Some field of the hash had one, this one had none, was absent or was dead.
    Volatile,
    /// This field had one that is still to come, in milliseconds since the Unix epoch: it stays.
    Live(u64),
}

/// What an `HSETNX` did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HSetNxOutcome {
    /// The field exists.
    Unchanged,
    /// Set.
    Set {
        /// Whether a field of the hash had a deadline before.
        volatile: bool,
    },
}

/// What a command did to the deadlines of the fields it changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldEffect {
    /// A new deadline, in milliseconds since the Unix epoch.
    Deadline(u64),
    /// The time had passed already: they were deleted.
    Deleted,
    /// They have none any more.
    Persisted,
}

/// What an `HSETEX` did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HSetExOutcome<'o> {
    /// A condition was not met.
    NotMet,
    /// Stored, with the absolute deadline that the options named, if they named one.
    Stored {
        /// Milliseconds since the Unix epoch.
        deadline_ms: Option<u64>,
    },
    /// Stored with `KEEPTTL`.
    Kept {
        /// The deadline that each pair's field now has, in milliseconds since the Unix epoch; as many as
        /// there are pairs.
        deadlines_ms: &'o [Option<u64>],
        /// The positions (in argv, ascending, each field once) of the fields that were dead before: they are
        /// new ones now.
        dead: &'o [usize],
    },
    /// The deadline had passed already: the fields are gone.
    Past {
        /// The positions (in argv, ascending, each field once) of those that were stored, dead ones included.
        stored: &'o [usize],
    },
}

/// The propagation of `HSET|HMSET key field value [field value …]`, which always stores.
pub fn hset(argv: &[Bytes]) -> Rewritten {
    identify(argv, &[("hset", 4), ("hmset", 4)], "HSET, HMSET")?;
    Ok(Propagation::Verbatim)
}

/// The propagation of `HSETNX key field value`.
pub fn hsetnx(argv: &[Bytes], outcome: HSetNxOutcome) -> Rewritten {
    identify(argv, &[("hsetnx", 4)], "HSETNX")?;
    Ok(match outcome {
        HSetNxOutcome::Unchanged => Propagation::Nothing,
        HSetNxOutcome::Set { volatile: false } => Propagation::Verbatim,
        HSetNxOutcome::Set { volatile: true } => Propagation::Command(hset_one(argv, argv[3].clone())),
    })
}

/// The propagation of `HINCRBY key field increment` that resulted in `result`.
pub fn hincrby(argv: &[Bytes], result: i64, before: DeadlineBefore) -> Rewritten {
    identify(argv, &[("hincrby", 4)], "HINCRBY")?;
    if before == DeadlineBefore::NotVolatile {
        return Ok(Propagation::Verbatim);
    }
    let result = Bytes::copy_from_slice(itoa::Buffer::new().format(result).as_bytes());
    Ok(incremented(argv, result, before))
}

/// The propagation of `HINCRBYFLOAT key field increment` that resulted in `result`.
pub fn hincrbyfloat(argv: &[Bytes], result: &Bytes, before: DeadlineBefore) -> Rewritten {
    identify(argv, &[("hincrbyfloat", 4)], "HINCRBYFLOAT")?;
    Ok(incremented(argv, result.clone(), before))
}

/// The propagation of `HDEL key field [field …]`.
pub fn hdel(argv: &[Bytes], fields: Touched<'_>) -> Rewritten {
    let command = identify(argv, &[("hdel", 3)], "HDEL")?;
    fields.check(command, 2..argv.len())?;
    if fields.dead.is_empty() {
        return Ok(Propagation::verbatim_if(!fields.changed.is_empty()));
    }
    Ok(fields.deletion(argv))
}

/// The propagation of `HGETDEL key FIELDS numfields field [field …]`.
pub fn hgetdel(argv: &[Bytes], fields: Touched<'_>) -> Rewritten {
    let command = identify(argv, &[("hgetdel", 5)], "HGETDEL")?;
    fields.check(command, 4..argv.len())?;
    Ok(fields.deletion(argv))
}

/// The propagation of
/// `HEXPIRE|HPEXPIRE|HEXPIREAT|HPEXPIREAT key time [conditions] FIELDS numfields field [field …]`, which does
/// not persist.
pub fn hexpire(argv: &[Bytes], fields: Touched<'_>, effect: FieldEffect) -> Rewritten {
    const COMMANDS: &[(&str, usize)] =
        &[("hexpire", 6), ("hpexpire", 6), ("hexpireat", 6), ("hpexpireat", 6)];
    let command = identify(argv, COMMANDS, "HEXPIRE, HPEXPIRE, HEXPIREAT, HPEXPIREAT")?;
    fields.check(command, after_fields(command, argv, 3)?..argv.len())?;
    Ok(match effect {
        FieldEffect::Persisted => return Err(Mismatch::outcome(command, "it does not persist")),
        FieldEffect::Deleted => fields.deletion(argv),
        FieldEffect::Deadline(ms) if !fields.dead.is_empty() => {
            fields.after_reclaim(argv, || of_fields(argv, &[word("HPEXPIREAT"), decimal(ms)], fields.changed))
        }
        FieldEffect::Deadline(_) if fields.changed.is_empty() => Propagation::Nothing,
        FieldEffect::Deadline(_) if command == "hpexpireat" => Propagation::Verbatim,
        FieldEffect::Deadline(ms) => {
            let mut rewritten = vec![word("HPEXPIREAT"), argv[1].clone(), decimal(ms)];
            rewritten.extend(argv[3..].iter().cloned());
            Propagation::Command(rewritten)
        }
    })
}

/// The propagation of `HPERSIST key FIELDS numfields field [field …]`.
pub fn hpersist(argv: &[Bytes], fields: Touched<'_>) -> Rewritten {
    let command = identify(argv, &[("hpersist", 5)], "HPERSIST")?;
    fields.check(command, 4..argv.len())?;
    if fields.dead.is_empty() {
        return Ok(Propagation::verbatim_if(!fields.changed.is_empty()));
    }
    Ok(fields.after_reclaim(argv, || of_fields(argv, &[word("HPERSIST")], fields.changed)))
}

/// The propagation of `HGETEX key [EX s|PX ms|EXAT s|PXAT ms|PERSIST] FIELDS numfields field [field …]`;
/// without an option nothing is changed, and `effect` says nothing.
pub fn hgetex(argv: &[Bytes], fields: Touched<'_>, effect: FieldEffect) -> Rewritten {
    let command = identify(argv, &[("hgetex", 5)], "HGETEX")?;
    let first = after_fields(command, argv, 2)?;
    fields.check(command, first..argv.len())?;
    if first == 4 && !fields.changed.is_empty() {
        return Err(Mismatch::outcome(command, "it has no options"));
    }
    Ok(match effect {
        FieldEffect::Deleted => fields.deletion(argv),
        FieldEffect::Deadline(ms) => {
            fields.after_reclaim(argv, || of_fields(argv, &[word("HPEXPIREAT"), decimal(ms)], fields.changed))
        }
        FieldEffect::Persisted => {
            fields.after_reclaim(argv, || of_fields(argv, &[word("HPERSIST")], fields.changed))
        }
    })
}

/// The propagation of
/// `HSETEX key [NX|XX] [FNX|FXX] [EX s|PX ms|EXAT s|PXAT ms|KEEPTTL] FIELDS numfields field value [field value …]`.
pub fn hsetex(argv: &[Bytes], outcome: HSetExOutcome<'_>) -> Rewritten {
    let command = identify(argv, &[("hsetex", 6)], "HSETEX")?;
    let options = HSetExOptions::read(command, argv)?;
    let pairs = options.pairs(argv);
    let mismatch = |reason| Err(Mismatch::outcome(command, reason));
    Ok(match outcome {
        HSetExOutcome::NotMet if !options.condition => return mismatch("its options name no condition"),
        HSetExOutcome::NotMet => Propagation::Nothing,
        HSetExOutcome::Past { .. } | HSetExOutcome::Stored { deadline_ms: Some(_) }
            if options.time.is_none() =>
        {
            return mismatch("its options name no time");
        }
        HSetExOutcome::Stored { deadline_ms: None } if options.time.is_some() || options.keep => {
            return mismatch("its options name a deadline, and none was reported");
        }
        HSetExOutcome::Kept { .. } if !options.keep => return mismatch("its options do not say KEEPTTL"),
        HSetExOutcome::Past { stored } => {
            check_names(command, stored, &options, argv)?;
            if stored.is_empty() { Propagation::Nothing } else { Propagation::Command(hdel_of(argv, stored)) }
        }
        HSetExOutcome::Stored { deadline_ms: None } => {
            Propagation::Command(hset_of(argv, pairs.iter().cloned()))
        }
        HSetExOutcome::Stored { deadline_ms: Some(ms) } if is_misread(&argv[1]) => {
            Propagation::of(stored_until(argv, ms, pairs))
        }
        HSetExOutcome::Stored { deadline_ms: Some(_) } if options.absolute_ms && !options.condition => {
            Propagation::Verbatim
        }
        HSetExOutcome::Stored { deadline_ms: Some(ms) } => Propagation::Command(options.with_pxat(argv, ms)),
        HSetExOutcome::Kept { deadlines_ms, dead } => {
            check_names(command, dead, &options, argv)?;
            if deadlines_ms.len() * 2 != pairs.len() {
                return mismatch("not one deadline per pair was reported");
            }
            Propagation::of(kept(argv, pairs, deadlines_ms))
        }
    })
}

/// The propagation of an active reclaim: `fields` of the hash `key` were dead and are gone, and if the hash
/// was `emptied` the key too. One unit; nothing if there are no fields.
pub fn reclaim<'f>(
    key: &Bytes,
    fields: impl IntoIterator<Item = &'f Bytes>,
    emptied: bool,
    verb: DeletionVerb,
) -> Propagation {
    let mut commands = batches(key, fields.into_iter().cloned());
    if emptied && !commands.is_empty() {
        commands.push(verb.command(key));
    }
    Propagation::of(commands)
}

/// `HDEL key field …`, as often as the batches need.
fn batches(key: &Bytes, fields: impl Iterator<Item = Bytes>) -> Vec<Argv> {
    let mut commands: Vec<Argv> = Vec::new();
    for field in fields {
        match commands.last_mut() {
            Some(batch) if batch.len() < 2 + RECLAIM_BATCH_FIELDS => batch.push(field),
            _ => commands.push(vec![word("HDEL"), key.clone(), field]),
        }
    }
    commands
}

/// `HDEL key` and the fields at `positions`.
fn hdel_of(argv: &[Bytes], positions: &[usize]) -> Argv {
    let mut command = Vec::with_capacity(2 + positions.len());
    command.extend([word("HDEL"), argv[1].clone()]);
    command.extend(positions.iter().map(|&at| argv[at].clone()));
    command
}

/// `name key [options] FIELDS n` and the fields at `positions`; `head` is the name and the options.
fn of_fields(argv: &[Bytes], head: &[Bytes], positions: &[usize]) -> Argv {
    let mut command = Vec::with_capacity(head.len() + 3 + positions.len());
    command.extend([head[0].clone(), argv[1].clone()]);
    command.extend(head[1..].iter().cloned());
    command.extend([word("FIELDS"), decimal(positions.len() as u64)]);
    command.extend(positions.iter().map(|&at| argv[at].clone()));
    command
}

/// `HSET key` and pairs.
fn hset_of(argv: &[Bytes], pairs: impl Iterator<Item = Bytes>) -> Argv {
    [word("HSET"), argv[1].clone()].into_iter().chain(pairs).collect()
}

fn hset_one(argv: &[Bytes], value: Bytes) -> Argv {
    vec![word("HSET"), argv[1].clone(), argv[2].clone(), value]
}

fn incremented(argv: &[Bytes], result: Bytes, before: DeadlineBefore) -> Propagation {
    match before {
        DeadlineBefore::NotVolatile | DeadlineBefore::Volatile => {
            Propagation::Command(hset_one(argv, result))
        }
        DeadlineBefore::Live(ms) => Propagation::of(stored_until(argv, ms, &[argv[2].clone(), result])),
    }
}

/// Whether Valkey, which looks for the word `FIELDS` of an `HSETEX` from the command's name on, takes this
/// key for it.
fn is_misread(key: &Bytes) -> bool {
    key.eq_ignore_ascii_case(b"FIELDS")
}

/// The store of fields and values with a deadline: an `HSETEX`, or, for a key that is misread, an `HSET` and
/// an `HPEXPIREAT`.
fn stored_until(argv: &[Bytes], ms: u64, pairs: &[Bytes]) -> Vec<Argv> {
    if !is_misread(&argv[1]) {
        return vec![hsetex_of(argv, ms, pairs.iter().cloned())];
    }
    let fields = pairs.iter().step_by(2).cloned();
    let mut hpexpireat = vec![word("HPEXPIREAT"), argv[1].clone(), decimal(ms), word("FIELDS")];
    hpexpireat.push(decimal(pairs.len() as u64 / 2));
    hpexpireat.extend(fields);
    vec![hset_of(argv, pairs.iter().cloned()), hpexpireat]
}

/// `HSETEX key PXAT ms FIELDS n` and pairs.
fn hsetex_of(argv: &[Bytes], ms: u64, pairs: impl IntoIterator<Item = Bytes>) -> Argv {
    let head = [word("HSETEX"), argv[1].clone(), word("PXAT"), decimal(ms), word("FIELDS"), word("0")];
    let mut command: Argv = head.into_iter().chain(pairs).collect();
    command[5] = decimal((command.len() as u64 - 6) / 2);
    command
}

/// The stores of a `KEEPTTL`: one command per deadline, those without one first. A field that is named twice
/// has one deadline, so its values stay in order.
fn kept(argv: &[Bytes], pairs: &[Bytes], deadlines_ms: &[Option<u64>]) -> Vec<Argv> {
    let mut distinct = deadlines_ms.to_vec();
    distinct.sort_unstable();
    distinct.dedup();
    let store = |deadline: Option<u64>| {
        let of_it = pairs.chunks_exact(2).zip(deadlines_ms).filter(|(_, of_field)| **of_field == deadline);
        let of_it: Vec<Bytes> = of_it.flat_map(|(pair, _)| pair.iter().cloned()).collect();
        match deadline {
            None => vec![hset_of(argv, of_it.into_iter())],
            Some(ms) => stored_until(argv, ms, &of_it),
        }
    };
    distinct.into_iter().flat_map(store).collect()
}

/// The options of an `HSETEX`. They are read by position, so that a key or a field may be called like one of
/// them.
struct HSetExOptions {
    /// The position of the word `FIELDS`.
    fields_at: usize,
    /// The position of the option that names a time; its argument follows.
    time: Option<usize>,
    absolute_ms: bool,
    keep: bool,
    condition: bool,
}

impl HSetExOptions {
    fn read(command: &'static str, argv: &[Bytes]) -> Result<Self, Mismatch> {
        let mut options =
            HSetExOptions { fields_at: 0, time: None, absolute_ms: false, keep: false, condition: false };
        let mut at = 2;
        while let Some(option) = argv.get(at) {
            let is = |name: &str| option.eq_ignore_ascii_case(name.as_bytes());
            if is("FIELDS") {
                options.fields_at = at;
                break;
            } else if is("PXAT") || is("EX") || is("PX") || is("EXAT") {
                options.time = Some(at);
                options.absolute_ms = is("PXAT");
                at += 1;
            } else if is("KEEPTTL") {
                options.keep = true;
            } else if is("NX") || is("XX") || is("FNX") || is("FXX") {
                options.condition = true;
            }
            at += 1;
        }
        let pairs = argv.len().saturating_sub(options.fields_at + 2);
        if options.fields_at == 0 || pairs == 0 || !pairs.is_multiple_of(2) {
            return Err(Mismatch::outcome(command, "its arguments name no FIELDS with their values"));
        }
        Ok(options)
    }

    /// Fields and values in turn.
    fn pairs<'a>(&self, argv: &'a [Bytes]) -> &'a [Bytes] {
        &argv[self.fields_at + 2..]
    }

    /// The command with `PXAT ms` for its time and without its conditions.
    fn with_pxat(&self, argv: &[Bytes], ms: u64) -> Argv {
        let mut command = Vec::with_capacity(argv.len());
        command.extend_from_slice(&argv[..2]);
        // An absolute deadline in milliseconds is the client's already.
        match self.time {
            Some(at) if self.absolute_ms => command.extend_from_slice(&argv[at..at + 2]),
            _ => command.extend([word("PXAT"), decimal(ms)]),
        }
        command.extend_from_slice(&argv[self.fields_at..]);
        command
    }
}

/// The position of the first field: after the word `FIELDS`, looked for from `from` on, and the number.
fn after_fields(command: &'static str, argv: &[Bytes], from: usize) -> Result<usize, Mismatch> {
    let at = argv[from..].iter().position(|arg| arg.eq_ignore_ascii_case(b"FIELDS"));
    at.map(|at| from + at + 2)
        .filter(|&first| first < argv.len())
        .ok_or_else(|| Mismatch::outcome(command, "its arguments name no FIELDS"))
}

fn check_positions(
    command: &'static str,
    positions: &[usize],
    named: &std::ops::Range<usize>,
) -> Result<(), Mismatch> {
    if positions.iter().any(|at| !named.contains(at)) {
        return Err(Mismatch::outcome(command, "a position is not that of a field"));
    }
    if positions.windows(2).any(|two| two[0] >= two[1]) {
        return Err(Mismatch::outcome(command, "the positions are not in ascending order"));
    }
    Ok(())
}

/// Like [`check_positions`], where fields and values alternate.
fn check_names(
    command: &'static str,
    positions: &[usize],
    options: &HSetExOptions,
    argv: &[Bytes],
) -> Result<(), Mismatch> {
    let first = options.fields_at + 2;
    check_positions(command, positions, &(first..argv.len()))?;
    if positions.iter().any(|at| !(at - first).is_multiple_of(2)) {
        return Err(Mismatch::outcome(command, "a position is that of a value"));
    }
    Ok(())
}
