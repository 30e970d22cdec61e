//! When two pieces of a replication stream are the same, and where they may differ.

use std::cmp::Ordering;

use bytes::Bytes;

use super::compare::Slack;
use super::pair::show;
use crate::support::client::Argv;

/// One command of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Op {
    /// The database it applies to, if the piece names one before it. `MULTI` and `EXEC` belong to none.
    pub db: Option<Bytes>,
    pub argv: Argv,
}

impl Op {
    /// The commands of a piece, each with the database that `SELECT` chose, and without what keeps the link alive.
    pub fn sequence(commands: Vec<Argv>) -> Vec<Op> {
        let mut db = None;
        let mut ops = Vec::new();
        for argv in commands {
            match &argv[0][..] {
                b"ping" | b"PING" | b"REPLCONF" => {}
                b"SELECT" => db = argv.get(1).cloned(),
                b"MULTI" | b"EXEC" => ops.push(Op { db: None, argv }),
                _ => ops.push(Op { db: db.clone(), argv }),
            }
        }
        ops
    }

    /// In an order that does not depend on the order they were in.
    pub fn sorted(mut ops: Vec<Op>) -> Vec<Op> {
        // A database that was chosen for the first may have been needed by all.
        let db = ops.iter().find_map(|op| op.db.clone());
        ops.iter_mut().for_each(|op| op.db.clone_from(&db));
        ops.sort_by(|a, b| a.argv.partial_cmp(&b.argv).unwrap_or(Ordering::Equal));
        ops
    }
}

/// A form in which this server's stream differs from Valkey's, on purpose.
struct Exception {
    /// What is different, and where the reason is written down.
    what: &'static str,
    /// Ours for Valkey's command; `None` if it does not apply.
    ours: fn(&Argv) -> Option<Argv>,
}

/// Documented in `src/rewrite`.
static EXCEPTIONS: &[Exception] = &[Exception {
    what: "SET … IFEQ goes out without the condition (rewrite::string: other replicas do not know it)",
    ours: |argv| {
        let at = argv.iter().skip(3).position(|arg| arg.eq_ignore_ascii_case(b"IFEQ"))? + 3;
        if !argv[0].eq_ignore_ascii_case(b"SET") {
            return None;
        }
        let mut ours = argv.clone();
        ours.drain(at..(at + 2).min(argv.len()));
        Some(ours)
    },
}];

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
    let same = ours.len() == theirs.len()
        && ours.iter().zip(theirs).all(|(ours, theirs)| same_op(ours, theirs, slack, exceptions));
    match same {
        true => Ok(()),
        false => Err(format!("  stream\n{}  Valkey's\n{}", show_ops(ours), show_ops(theirs))),
    }
}

fn show_ops(ops: &[Op]) -> String {
    let db = |op: &Op| op.db.as_ref().map_or_else(String::new, |db| format!("db{} ", String::from_utf8_lossy(db)));
    match ops {
        [] => "    (nothing)\n".to_owned(),
        ops => ops.iter().map(|op| format!("    {}{}\n", db(op), show(&op.argv))).collect(),
    }
}

fn same_op(ours: &Op, theirs: &Op, slack: Slack, exceptions: &mut Exceptions) -> bool {
    if ours.db != theirs.db {
        return false;
    }
    if same_argv(&ours.argv, &theirs.argv, slack) {
        return true;
    }
    let met = EXCEPTIONS.iter().position(|exception| {
        (exception.ours)(&theirs.argv).is_some_and(|expected| same_argv(&ours.argv, &expected, slack))
    });
    if let Some(met) = met {
        exceptions.0[met] += 1;
    }
    met.is_some()
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
