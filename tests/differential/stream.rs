//! When two pieces of a replication stream are the same, and where they may differ.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use bytes::Bytes;

use super::compare::Slack;
use super::pair::show;
use crate::support::client::{Argv, argv};

/// One command of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Op {
    /// The database it applies to. `MULTI` and `EXEC` belong to none.
    pub db: Option<Bytes>,
    pub argv: Argv,
}

impl Op {
    /// The commands of a piece, each with the database that `SELECT` chose, and without what keeps the link
    /// alive. `db` goes from piece to piece.
    pub fn sequence(commands: Vec<Argv>, db: &mut Option<Bytes>) -> Vec<Op> {
        let mut ops = Vec::new();
        for argv in commands {
            match &argv[0][..] {
                b"ping" | b"PING" | b"REPLCONF" => {}
                b"SELECT" => *db = argv.get(1).cloned(),
                b"MULTI" | b"EXEC" => ops.push(Op { db: None, argv }),
                _ => ops.push(Op { db: db.clone(), argv }),
            }
        }
        ops
    }

    /// In an order that does not depend on the order they were in.
    pub fn sorted(mut ops: Vec<Op>) -> Vec<Op> {
        ops.sort_by(|a, b| a.argv.partial_cmp(&b.argv).unwrap_or(Ordering::Equal));
        ops
    }
}

/// A form in which this server's stream differs from Valkey's, on purpose. Reason and sequence are in
/// `src/rewrite`.
struct Exception {
    what: &'static str,
    form: Form,
}

enum Form {
    /// Commands for Valkey's one; `None` if it does not apply.
    Instead(fn(&Argv) -> Option<Vec<Argv>>),
    /// What became of this key, as a deletion, an addition or a removal.
    Result(fn(&Argv) -> Option<&Bytes>),
    /// The same command with another argument at this place, if it is acceptable.
    Argument(&'static [u8], usize, fn(&Bytes) -> bool),
    /// A command that Valkey does not send.
    Besides(fn(&Argv) -> bool),
    /// A command that Valkey does not send after one that both send.
    After(fn(&Argv, &Argv) -> bool),
    /// A command that is not sent here, before the next of Valkey's.
    Ahead(fn(&Argv, &Argv) -> bool),
    /// Several for one: how many of these commands stand for Valkey's.
    Several(fn(&[Op], &Argv, Slack) -> Option<usize>),
}

static EXCEPTIONS: &[Exception] = &[
    Exception {
        what: "SET … IFEQ goes out without the condition (rewrite::string)",
        form: Form::Instead(set_without_ifeq),
    },
    Exception {
        what: "MSETEX goes out as SETs or an MSET (rewrite::string)",
        form: Form::Instead(msetex_as_sets),
    },
    Exception {
        what: "BITFIELD goes out if it only made room (rewrite::string)",
        form: Form::Besides(is_failing_bitfield),
    },
    Exception {
        what: "RESTORE goes out with a payload that every replica reads (rewrite::generic)",
        form: Form::Argument(b"RESTORE", 3, is_old_payload),
    },
    Exception {
        what: "Z…STORE and ZREMRANGEBYLEX go out as their result where replicas may come to another (rewrite::zset)",
        form: Form::Result(uncertain_zset),
    },
    Exception {
        what: "SORT … STORE goes out as its result where ties or hash fields decide (rewrite::sort)",
        form: Form::Result(uncertain_sort),
    },
    Exception {
        what: "HDEL, HPERSIST and HEXPIRE go out without dead fields (rewrite::hash)",
        form: Form::Several(without_dead_fields),
    },
    Exception { what: "HGETDEL goes out as HDEL (rewrite::hash)", form: Form::Several(hgetdel_as_hdel) },
    Exception {
        what: "HSETEX without a new deadline goes out as HSET and HSETEX PXAT (rewrite::hash)",
        form: Form::Several(hsetex_as_results),
    },
    Exception {
        what: "HSETEX goes out with its key, whatever that is called, and with one time (rewrite::hash)",
        form: Form::Several(hsetex_made_whole),
    },
    Exception {
        what: "HSETEX KEEPTTL goes out without an HDEL of the dead fields that it overwrites (rewrite::hash)",
        form: Form::Ahead(is_deletion_before_keepttl),
    },
    Exception {
        what: "HINCRBY of a key called fields goes out as HSET and HPEXPIREAT (rewrite::hash)",
        form: Form::Several(store_of_misread_key),
    },
    Exception {
        what: "COPY is followed by an HDEL of the dead fields that were not copied (rewrite::generic)",
        form: Form::After(is_rest_of_copy),
    },
    Exception { what: COPY_OF_NOTHING, form: Form::After(|_, _| false) },
];

/// Its commands are compared where they are sent: Valkey is left with a key that nobody has here.
const COPY_OF_NOTHING: &str =
    "COPY of a hash whose fields are all dead goes out as a deletion or not at all (rewrite::generic)";

/// More than 1024 fields in one command are not made here.
fn is_deletion_before_keepttl(argv: &Argv, next: &Argv) -> bool {
    let keyless = is_condition(&argv[1]) && is(&next[1], "KEEPTTL");
    argv[0] == "HDEL"
        && is(&next[0], "HSETEX")
        && (argv[1] == next[1] || keyless)
        && next.iter().any(|arg| is(arg, "KEEPTTL"))
        && argv[2..].iter().all(|field| next.contains(field))
}

fn is_rest_of_copy(before: &Argv, argv: &Argv) -> bool {
    is(&before[0], "COPY") && argv[0] == "HDEL" && before.get(2) == argv.get(1)
}

/// `HPEXPIREAT k ms [condition] FIELDS n f …` and the like, for some of the fields and without the condition.
fn without_dead_fields(ours: &[Op], theirs: &Argv, slack: Slack) -> Option<usize> {
    let ours = &ours.first()?.argv;
    let (head, fields) = named_fields(ours)?;
    let (their_head, their_fields) = named_fields(theirs)?;
    let (len, their_len) = match &ours[0][..] {
        b"HPEXPIREAT" => (3, 3),
        b"HDEL" | b"HPERSIST" => (2, 2),
        _ => return None,
    };
    let same_head = ours[0].eq_ignore_ascii_case(&theirs[0])
        && head.len() == len
        && ours[1] == theirs[1]
        && (len == 2 || same_deadline(&ours[2], &theirs[2], slack))
        && their_head.len() >= their_len;
    let mut left = their_fields.iter();
    let some = fields.len() < their_fields.len() && fields.iter().all(|field| left.any(|it| it == field));
    (same_head && some).then_some(1)
}

fn hgetdel_as_hdel(ours: &[Op], theirs: &Argv, _: Slack) -> Option<usize> {
    let ours = &ours.first()?.argv;
    let (_, their_fields) = named_fields(theirs).filter(|_| is(&theirs[0], "HGETDEL"))?;
    let (_, fields) = named_fields(ours).filter(|_| ours[0] == "HDEL" && ours[1] == theirs[1])?;
    let mut left = their_fields.iter();
    fields.iter().all(|field| left.any(|it| it == field)).then_some(1)
}

/// The fields that a command names, and what comes before them and before `FIELDS`.
fn named_fields(argv: &Argv) -> Option<(&[Bytes], &[Bytes])> {
    if is(&argv[0], "HDEL") {
        return argv.split_at_checked(2);
    }
    let at = argv.iter().skip(2).position(|arg| is(arg, "FIELDS"))? + 2;
    Some((&argv[..at], argv.get(at + 2..)?))
}

fn same_deadline(ours: &Bytes, theirs: &Bytes, slack: Slack) -> bool {
    matches!((number(ours), number(theirs)), (Some(ours), Some(theirs)) if slack.covers(ours, theirs))
}

/// `HSETEX k [KEEPTTL] FIELDS …`, whose pairs are stored by an `HSET` and by an `HSETEX` for each deadline.
fn hsetex_as_results(ours: &[Op], theirs: &Argv, _: Slack) -> Option<usize> {
    // A key that is called like a condition is lost.
    let lost = is(&theirs[0], "HSETEX") && (is(&theirs[1], "KEEPTTL") || is(&theirs[1], "FIELDS"));
    let at = theirs.iter().skip(1).position(|arg| is(arg, "FIELDS"))? + 1;
    if !is(&theirs[0], "HSETEX") || theirs[..at].iter().any(|arg| is(arg, "PXAT")) {
        return None;
    }
    let key = ours.first()?.argv.get(1)?;
    if *key != theirs[1] && !(lost && is_condition(key)) {
        return None;
    }
    let mut wanted = by_field(&theirs[at + 2..]);
    let mut count = 0;
    for op in ours {
        let pairs = match &op.argv[0][..] {
            b"HSET" if op.argv[1] == *key => &op.argv[2..],
            b"HSETEX" if op.argv[1] == *key && op.argv.get(2).is_some_and(|arg| arg == "PXAT") => {
                op.argv.get(6..)?
            }
            _ => break,
        };
        let stored = by_field(pairs);
        if !stored.iter().all(|(field, values)| wanted.get(field) == Some(values)) {
            break;
        }
        stored.keys().for_each(|field| drop(wanted.remove(field)));
        count += 1;
        if wanted.is_empty() {
            return Some(count);
        }
    }
    None
}

/// Fields and values in turn, as the values of each field.
fn by_field(pairs: &[Bytes]) -> BTreeMap<&Bytes, Vec<&Bytes>> {
    let mut by_field: BTreeMap<&Bytes, Vec<&Bytes>> = BTreeMap::new();
    for pair in pairs.chunks_exact(2) {
        by_field.entry(&pair[0]).or_default().push(&pair[1]);
    }
    by_field
}

fn is_condition(arg: &Bytes) -> bool {
    ["NX", "XX", "FNX", "FXX"].iter().any(|word| is(arg, word))
}

/// `HSETEX` that lost its key, or that has a time too many: the same with both, and with the last time only.
fn hsetex_made_whole(ours: &[Op], theirs: &Argv, slack: Slack) -> Option<usize> {
    let ours = &ours.first()?.argv;
    let at = theirs.iter().skip(1).position(|arg| is(arg, "FIELDS"))? + 1;
    let last = theirs[..at].iter().rposition(|arg| is(arg, "PXAT"))?;
    let first = theirs[..at].iter().skip(1).position(is_time)? + 1;
    let mut whole = [&theirs[..first], &theirs[last..]].concat();
    if first == 1 && ours.get(1).is_some_and(is_condition) {
        whole.insert(1, ours[1].clone());
    }
    (is(&theirs[0], "HSETEX") && same_argv(ours, &whole, slack)).then_some(1)
}

/// `HSETEX fields PXAT ms FIELDS 1 f v`, which Valkey's own replica refuses.
fn store_of_misread_key(ours: &[Op], theirs: &Argv, slack: Slack) -> Option<usize> {
    let [hset, hpexpireat, ..] = ours else { return None };
    if !is(&theirs[0], "HSETEX") || !is(&theirs[1], "fields") || theirs.len() != 8 {
        return None;
    }
    let [_, key, _, ms, _, one, field, value] = &theirs[..] else { return None };
    let expected = [argv!["HSET", key, field, value], argv!["HPEXPIREAT", key, ms, "FIELDS", one, field]];
    let same = same_argv(&hset.argv, &expected[0], slack) && same_argv(&hpexpireat.argv, &expected[1], slack);
    same.then_some(2)
}

fn is_time(arg: &Bytes) -> bool {
    ["EX", "PX", "EXAT", "PXAT"].iter().any(|word| is(arg, word))
}

/// What an active cycle reclaimed: of each key of each database the fields, in order, and whether it was
/// deleted. A key that was deleted has no fields: where its own deadline had passed too, either may have been
/// met first.
#[derive(Debug, PartialEq, Eq)]
pub struct Reclaimed(BTreeMap<(Option<Bytes>, Bytes), (Vec<Bytes>, bool)>);

impl Reclaimed {
    /// Out of a stream that has to be made of nothing else.
    pub fn of(ops: &[Op]) -> Result<Reclaimed, String> {
        if !is_well_wrapped(ops) {
            return Err(format!("badly wrapped:\n{}", show_ops(ops)));
        }
        let mut reclaimed = BTreeMap::new();
        for op in ops {
            let (fields, deleted): &mut (Vec<Bytes>, bool) = match &op.argv[0][..] {
                b"MULTI" | b"EXEC" => continue,
                b"HDEL" | b"UNLINK" | b"DEL" => {
                    reclaimed.entry((op.db.clone(), op.argv[1].clone())).or_default()
                }
                _ => return Err(format!("no deletion:\n{}", show_ops(ops))),
            };
            match &op.argv[0][..] {
                b"HDEL" => fields.extend_from_slice(&op.argv[2..]),
                _ => *deleted = true,
            }
            fields.sort_unstable();
            if *deleted {
                fields.clear();
            }
        }
        Ok(Reclaimed(reclaimed))
    }
}

fn is(arg: &Bytes, word: &str) -> bool {
    arg.eq_ignore_ascii_case(word.as_bytes())
}

fn set_without_ifeq(argv: &Argv) -> Option<Vec<Argv>> {
    if !is(&argv[0], "SET") {
        return None;
    }
    let at = argv.iter().skip(3).position(|arg| is(arg, "IFEQ"))? + 3;
    let mut ours = argv.clone();
    ours.drain(at..(at + 2).min(argv.len()));
    // With a time and a condition the command is made anew.
    if argv.len() > 5 && argv.iter().any(|arg| is(arg, "PXAT")) {
        ours[0] = Bytes::from_static(b"SET");
        let at = ours.iter().position(|arg| is(arg, "PXAT"))?;
        ours[at] = Bytes::from_static(b"PXAT");
        ours = [&ours[..3], &ours[at..(at + 2).min(ours.len())]].concat();
    }
    Some(vec![ours])
}

fn msetex_as_sets(argv: &Argv) -> Option<Vec<Argv>> {
    if !is(&argv[0], "MSETEX") {
        return None;
    }
    let pairs = usize::try_from(number(&argv[1])?).ok()?;
    let (pairs, options) = argv[2..].split_at_checked(pairs * 2)?;
    let last = |word| options.iter().rposition(|arg| is(arg, word));
    let tail = match (last("PXAT"), last("KEEPTTL")) {
        (Some(at), _) => vec![Bytes::from_static(b"PXAT"), options.get(at + 1)?.clone()],
        (None, Some(_)) => vec![Bytes::from_static(b"KEEPTTL")],
        (None, None) => {
            let mut mset = vec![Bytes::from_static(b"MSET")];
            mset.extend_from_slice(pairs);
            return Some(vec![mset]);
        }
    };
    let set = |pair: &[Bytes]| [&[Bytes::from_static(b"SET")], pair, &tail].concat();
    Some(pairs.chunks(2).map(set).collect())
}

/// The key that a command on sorted sets writes, if its result may depend on the server.
fn uncertain_zset(argv: &Argv) -> Option<&Bytes> {
    let has = |word: &str| argv.iter().any(|arg| is(arg, word));
    let limit = argv.iter().rposition(|arg| is(arg, "LIMIT"));
    let negative_offset =
        limit.and_then(|at| argv.get(at + 1)).is_some_and(|offset| offset.starts_with(b"-"));
    let uncertain = match &argv[0].to_ascii_uppercase()[..] {
        b"ZUNIONSTORE" | b"ZINTERSTORE" | b"ZREMRANGEBYLEX" => true,
        b"ZRANGESTORE" => has("BYLEX") || negative_offset,
        _ => false,
    };
    argv.get(1).filter(|_| uncertain)
}

/// Where `SORT` stores, if its result may depend on the server.
fn uncertain_sort(argv: &Argv) -> Option<&Bytes> {
    let has = |word: &str| argv.iter().any(|arg| is(arg, word));
    let uncertain =
        (has("ALPHA") && has("BY")) || argv.iter().any(|arg| arg.windows(2).any(|two| two == b"->"));
    let at = argv.iter().rposition(|arg| is(arg, "STORE"))?;
    argv.get(at + 1).filter(|_| uncertain && is(&argv[0], "SORT"))
}

pub fn is_failing_bitfield(argv: &Argv) -> bool {
    is(&argv[0], "BITFIELD") && argv.iter().any(|arg| is(arg, "FAIL"))
}

/// RDB version 10 before the checksum.
fn is_old_payload(payload: &Bytes) -> bool {
    payload.len() > 10 && payload[payload.len() - 10..payload.len() - 8] == [10, 0]
}

/// How often each exception was met.
#[derive(Clone, Debug)]
pub struct Exceptions(Vec<u64>);

impl Default for Exceptions {
    fn default() -> Self {
        Exceptions(vec![0; EXCEPTIONS.len()])
    }
}

impl Exceptions {
    /// A copy of nothing was met.
    pub fn copied_nothing(&mut self) {
        let at = EXCEPTIONS.iter().position(|exception| exception.what == COPY_OF_NOTHING);
        self.0[at.expect("it is in the table")] += 1;
    }

    /// Each exception with how often it was met.
    pub fn met(&self) -> impl Iterator<Item = (&'static str, u64)> {
        EXCEPTIONS.iter().map(|exception| exception.what).zip(self.0.iter().copied())
    }
}

/// Compares two pieces of stream, ours first.
pub fn same_stream(streams: &[Vec<Op>; 2], slack: Slack, exceptions: &mut Exceptions) -> Result<(), String> {
    let [ours, theirs] = streams;
    let equal = ours.len() == theirs.len()
        && ours
            .iter()
            .zip(theirs)
            .all(|(ours, theirs)| ours.db == theirs.db && same_argv(&ours.argv, &theirs.argv, slack));
    if equal || (is_well_wrapped(ours) && same_but_for_exceptions(ours, theirs, slack, exceptions)) {
        return Ok(());
    }
    Err(format!("  stream\n{}  Valkey's\n{}", show_ops(ours), show_ops(theirs)))
}

/// Whether everything between `MULTI` and `EXEC` is more than one command.
fn is_well_wrapped(ops: &[Op]) -> bool {
    let mut begun = None;
    for (at, op) in ops.iter().enumerate() {
        match (&op.argv[0][..], begun) {
            (b"MULTI", None) => begun = Some(at),
            (b"EXEC", Some(from)) if at > from + 2 => begun = None,
            (b"MULTI" | b"EXEC", _) => return false,
            _ => {}
        }
    }
    begun.is_none()
}

/// The same commands, one exception or the other applied; as the number of commands may be another, so may
/// `MULTI` and `EXEC` around them.
fn same_but_for_exceptions(ours: &[Op], theirs: &[Op], slack: Slack, exceptions: &mut Exceptions) -> bool {
    let bare = |ops: &[Op]| -> Vec<Op> {
        ops.iter().filter(|op| op.argv[0] != "MULTI" && op.argv[0] != "EXEC").cloned().collect()
    };
    let (ours, theirs) = (bare(ours), bare(theirs));
    let (mut ours, mut theirs) = (&ours[..], &theirs[..]);
    let mut met = vec![0; EXCEPTIONS.len()];
    let mut before: Option<&Op> = None;
    while let Some((op, rest)) = ours.split_first() {
        let previous = before.replace(op);
        if let Some((other, others)) = theirs.split_first()
            && other.db == op.db
            && same_argv(&op.argv, &other.argv, slack)
        {
            (ours, theirs) = (rest, others);
            continue;
        }
        let applied = EXCEPTIONS.iter().position(|exception| match (&exception.form, theirs.split_first()) {
            (Form::After(applies), _) if previous.is_some_and(|before| applies(&before.argv, &op.argv)) => {
                ours = rest;
                true
            }
            (Form::Besides(applies), _) if applies(&op.argv) => {
                ours = rest;
                true
            }
            (Form::Instead(instead), Some((other, others))) => {
                let expected = instead(&other.argv).unwrap_or_default();
                let there = ours.get(..expected.len()).unwrap_or_default();
                let same = |(op, argv): (&Op, &Argv)| op.db == other.db && same_argv(&op.argv, argv, slack);
                let applies = !there.is_empty() && there.iter().zip(&expected).all(same);
                if applies {
                    (ours, theirs) = (&ours[expected.len()..], others);
                }
                applies
            }
            (Form::Result(key_of), Some((other, others))) => {
                let Some(key) = key_of(&other.argv) else { return false };
                let is_result = |op: &Op, verbs: &[&str]| {
                    op.db == other.db
                        && op.argv.get(1) == Some(key)
                        && verbs.iter().any(|verb| op.argv[0] == verb)
                };
                if !is_result(op, &["UNLINK", "DEL", "ZREM", "ZADD", "RPUSH"]) {
                    return false;
                }
                // What is added follows the deletion of what was there.
                let is_next =
                    |add: &Op| others.first().is_some_and(|other| same_argv(&add.argv, &other.argv, slack));
                ours = match rest.split_first() {
                    Some((add, rest))
                        if is_result(op, &["UNLINK", "DEL"])
                            && is_result(add, &["ZADD", "RPUSH"])
                            && !is_next(add) =>
                    {
                        rest
                    }
                    _ => rest,
                };
                theirs = others;
                true
            }
            (Form::Ahead(applies), Some((other, others))) => {
                let is_ahead = others.first().is_some_and(|next| applies(&other.argv, &next.argv));
                if is_ahead {
                    theirs = others;
                }
                is_ahead
            }
            (Form::Several(stand_for), Some((other, others))) => {
                let of_db = ours.iter().take_while(|op| op.db == other.db).count();
                let count = stand_for(&ours[..of_db], &other.argv, slack);
                if let Some(count) = count {
                    (ours, theirs) = (&ours[count..], others);
                }
                count.is_some()
            }
            (Form::Argument(name, at, acceptable), Some((other, others))) => {
                let mut expected = other.argv.clone();
                let applies = other.argv[0].eq_ignore_ascii_case(name)
                    && op.argv.get(*at).is_some_and(acceptable)
                    && expected.get_mut(*at).is_some_and(|arg| {
                        arg.clone_from(&op.argv[*at]);
                        true
                    })
                    && op.db == other.db
                    && same_argv(&op.argv, &expected, slack);
                if applies {
                    (ours, theirs) = (rest, others);
                }
                applies
            }
            _ => false,
        });
        match applied {
            Some(index) => met[index] += 1,
            None => return false,
        }
    }
    let same = theirs.is_empty() && met.iter().any(|times| *times > 0);
    if same {
        exceptions.0.iter_mut().zip(met).for_each(|(all, met)| *all += met);
    }
    same
}

fn show_ops(ops: &[Op]) -> String {
    let db =
        |op: &Op| op.db.as_ref().map_or_else(String::new, |db| format!("db{} ", String::from_utf8_lossy(db)));
    match ops {
        [] => "    (nothing)\n".to_owned(),
        ops => ops.iter().map(|op| format!("    {}{}\n", db(op), show(&op.argv))).collect(),
    }
}

/// Equal, but for deadlines that both made from the time of day.
fn same_argv(ours: &Argv, theirs: &Argv, slack: Slack) -> bool {
    ours.len() == theirs.len()
        && ours
            .iter()
            .zip(theirs)
            .enumerate()
            .all(|(at, (ours_arg, theirs_arg))| {
                ours_arg == theirs_arg
                    || (is_deadline(theirs, at)
                        && matches!((number(ours_arg), number(theirs_arg)), (Some(ours), Some(theirs)) if slack.covers(ours, theirs)))
            })
}

/// Whether the argument at `at` is an absolute deadline that the server wrote.
fn is_deadline(argv: &Argv, at: usize) -> bool {
    match &argv[0].to_ascii_uppercase()[..] {
        b"PEXPIREAT" | b"HPEXPIREAT" => at == 2,
        b"RESTORE" => at == 2 && argv.last().is_some_and(|word| word == "ABSTTL"),
        _ => at > 0 && argv[at - 1] == "PXAT",
    }
}

fn number(arg: &Bytes) -> Option<i64> {
    std::str::from_utf8(arg).ok()?.parse().ok()
}
