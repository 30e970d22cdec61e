//! `LCS`: the longest common subsequence of two strings.

use bytes::Bytes;

use super::command::{CommandSpec, R, TWO, keyed};
use super::number::integer;
use super::unit::{CommandResult, Unit};
use super::{CommandError, Value};
use crate::resp::Reply;

/// The commands of this file.
pub(super) static COMMANDS: &[CommandSpec] = &[keyed("lcs", -3, R, TWO, lcs)];

/// What `LCS` was asked for.
#[derive(Default)]
struct Options {
    len: bool,
    index: bool,
    with_match_len: bool,
    min_match_len: usize,
}

fn parse_options(args: &[Bytes]) -> Result<Options, CommandError> {
    let mut options = Options::default();
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let is = |name: &str| arg.eq_ignore_ascii_case(name.as_bytes());
        if is("IDX") {
            options.index = true;
        } else if is("LEN") {
            options.len = true;
        } else if is("WITHMATCHLEN") {
            options.with_match_len = true;
        } else if is("MINMATCHLEN")
            && let Some(least) = args.next()
        {
            options.min_match_len = usize::try_from(integer(least)?).unwrap_or(0);
        } else {
            return Err(CommandError::Syntax);
        }
    }
    if options.len && options.index { Err(CommandError::LcsLenAndIdx) } else { Ok(options) }
}

pub(super) fn lcs<'c>(unit: &mut Unit<'_, 'c>, argv: &'c [Bytes]) -> CommandResult {
    let mut string = |key: &[u8]| match unit.read(key).map(|entry| &entry.value) {
        None => Ok(Bytes::new()),
        Some(Value::String(value)) => Ok(value.clone()),
        Some(_) => Err(CommandError::LcsNotStrings),
    };
    let (a, b) = (string(&argv[1]), string(&argv[2]));
    let (a, b) = (a?, b?);
    let options = parse_options(&argv[3..])?;
    let cells = (a.len() + 1).checked_mul(b.len() + 1);
    let bytes = cells.and_then(|cells| cells.checked_mul(size_of::<u32>()));
    if bytes.is_none_or(|bytes| bytes > unit.keyspace.options().max_string_bytes) {
        return Err(CommandError::LcsMemory);
    }
    let table = Table::new(&a, &b);
    let len = Reply::Integer(table.at(a.len(), b.len()).into());
    if options.len {
        return Ok(len);
    }
    let (subsequence, matches) = table.trace(&a, &b);
    if !options.index {
        return Ok(Reply::Bulk(subsequence.into()));
    }
    let matches = matches.into_iter().filter(|found| found.len >= options.min_match_len).map(|found| {
        let range = |first: usize| {
            Reply::Array(vec![Reply::Integer(first as i64), Reply::Integer((first + found.len - 1) as i64)])
        };
        let mut reply = vec![range(found.in_a), range(found.in_b)];
        reply.extend(options.with_match_len.then_some(Reply::Integer(found.len as i64)));
        Reply::Array(reply)
    });
    let matches = Reply::Array(matches.collect());
    let name = |name: &'static str| Reply::Bulk(Bytes::from_static(name.as_bytes()));
    Ok(Reply::Map(vec![(name("matches"), matches), (name("len"), len)]))
}

/// A run of bytes that both strings have.
struct Match {
    in_a: usize,
    in_b: usize,
    len: usize,
}

/// How long the longest common subsequence of each two prefixes is.
struct Table {
    cells: Vec<u32>,
    columns: usize,
}

impl Table {
    fn new(a: &[u8], b: &[u8]) -> Table {
        let columns = b.len() + 1;
        let mut table = Table { cells: vec![0; (a.len() + 1) * columns], columns };
        for i in 1..=a.len() {
            for j in 1..=b.len() {
                table.cells[i * columns + j] = if a[i - 1] == b[j - 1] {
                    table.at(i - 1, j - 1) + 1
                } else {
                    table.at(i - 1, j).max(table.at(i, j - 1))
                };
            }
        }
        table
    }

    fn at(&self, i: usize, j: usize) -> u32 {
        self.cells[i * self.columns + j]
    }

    /// The subsequence, and the runs it is made of, the last one first.
    fn trace(&self, a: &[u8], b: &[u8]) -> (Vec<u8>, Vec<Match>) {
        let (mut subsequence, mut matches) = (Vec::new(), Vec::<Match>::new());
        let (mut i, mut j) = (a.len(), b.len());
        while i > 0 && j > 0 {
            if a[i - 1] == b[j - 1] {
                (i, j) = (i - 1, j - 1);
                subsequence.push(a[i]);
                match matches.last_mut() {
                    Some(last) if (last.in_a, last.in_b) == (i + 1, j + 1) => {
                        *last = Match { in_a: i, in_b: j, len: last.len + 1 };
                    }
                    _ => matches.push(Match { in_a: i, in_b: j, len: 1 }),
                }
            } else if self.at(i - 1, j) > self.at(i, j - 1) {
                i -= 1;
            } else {
                j -= 1;
            }
        }
        subsequence.reverse();
        (subsequence, matches)
    }
}
