//! When two pieces of a replication stream are the same, and where they may differ.

use std::cmp::Ordering;

use bytes::Bytes;

use super::compare::Slack;
use super::pair::show;
use crate::support::client::Argv;

/// One command of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Op {
    /// The database it applies to. `MULTI` and `EXEC` belong to none.
    pub db: Option<Bytes>,
    pub argv: Argv,
}

impl Op {
    /// The commands of a piece, each with the database that `SELECT` chose, and without what keeps the link alive. `db` goes
    /// from piece to piece.
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

/// A form in which this server's stream differs from Valkey's, on purpose. Reason and sequence are in `src/rewrite`.
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
];

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

/// The same commands, one exception or the other applied; as the number of commands may be another, so may `MULTI` and
/// `EXEC` around them.
fn same_but_for_exceptions(ours: &[Op], theirs: &[Op], slack: Slack, exceptions: &mut Exceptions) -> bool {
    let bare = |ops: &[Op]| -> Vec<Op> {
        ops.iter().filter(|op| op.argv[0] != "MULTI" && op.argv[0] != "EXEC").cloned().collect()
    };
    let (ours, theirs) = (bare(ours), bare(theirs));
    let (mut ours, mut theirs) = (&ours[..], &theirs[..]);
    let mut met = vec![0; EXCEPTIONS.len()];
    while let Some((op, rest)) = ours.split_first() {
        if let Some((other, others)) = theirs.split_first()
            && other.db == op.db
            && same_argv(&op.argv, &other.argv, slack)
        {
            (ours, theirs) = (rest, others);
            continue;
        }
        let applied = EXCEPTIONS.iter().position(|exception| match (&exception.form, theirs.split_first()) {
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
        b"PEXPIREAT" => at == 2,
        b"RESTORE" => at == 2 && argv.last().is_some_and(|word| word == "ABSTTL"),
        _ => at > 0 && argv[at - 1] == "PXAT",
    }
}

fn number(arg: &Bytes) -> Option<i64> {
    std::str::from_utf8(arg).ok()?.parse().ok()
}
