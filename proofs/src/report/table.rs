//! The report as a table on a terminal.

use std::fmt::Write as _;

use super::{Kind, Report, Row, Verdict};

/// Lines of a bad row's own text that are shown.
const REPORT_LINES: usize = 40;

/// The whole report: a table for each kind, what is not as it should be, and the sum.
pub fn render(report: &Report, width: usize) -> String {
    let mut text = String::new();
    for kind in Kind::ALL {
        let rows: Vec<_> = report.of(kind).collect();
        if rows.is_empty() {
            continue;
        }
        let _ = writeln!(text, "{}", section(kind, &rows, width));
    }
    for row in report.bad() {
        text += &details(row);
        text.push('\n');
    }
    let _ = writeln!(text, "{}", report.summary());
    text
}

/// What a part of the proofs sums up to: `N of N caught`.
pub fn sum(report: &Report, kind: Kind) -> String {
    let rows: Vec<_> = report.of(kind).collect();
    let with = |verdict| rows.iter().filter(|row| row.verdict == verdict).count();
    let word = match kind {
        Kind::Mutation | Kind::Ordering | Kind::Fault => Verdict::Caught,
        Kind::Stall => Verdict::Tolerated,
        Kind::Museum => return format!("{} of {} found", with(Verdict::Caught), rows.len()),
        _ => {
            let good = rows.iter().filter(|row| row.is_good()).count();
            return format!("{good} of {} as it should be", rows.len());
        }
    };
    let mut text = format!("{} of {} {}", with(word), rows.len() - with(Verdict::Excused), word.word());
    if kind == Kind::Stall {
        let points: u64 = rows.iter().map(|row| row.explored).sum();
        text += &format!(", {} points in all", grouped(points));
    }
    match with(Verdict::Excused) {
        0 => text,
        excused => format!("{text}; {excused} excused, which the checker cannot see"),
    }
}

fn section(kind: Kind, rows: &[&Row], width: usize) -> String {
    let good = rows.iter().filter(|row| row.is_good()).count();
    let mut text = format!("{} ({good} of {})\n", kind.heading(), rows.len());
    let names: Vec<_> = rows.iter().map(|row| name(row)).collect();
    let whats: Vec<_> = rows.iter().map(|row| what(row)).collect();
    let longest =
        |texts: &[String], least| texts.iter().map(|text| text.chars().count()).fold(least, usize::max);
    let (name_width, what_width) = (longest(&names, 12), longest(&whats, 6));
    let bounds: Vec<_> = rows.iter().map(|row| row.bound.clone()).collect();
    let bound_width = longest(&bounds, 5);
    for (at, row) in rows.iter().enumerate() {
        let mut line = format!(
            "  {:<name_width$}  {:<what_width$}  {:<bound_width$}  {:>10}  {:>7.1} s  {:<10}  ",
            names[at],
            whats[at],
            bounds[at],
            grouped(row.explored),
            row.seconds,
            row.verdict.word(),
        );
        let left = width.saturating_sub(line.chars().count()).max(24);
        line += &shortened(&row.remark(), left);
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

fn name(row: &Row) -> String {
    match (&row.mutation, row.kind) {
        (Some(_), Kind::Model | Kind::Mutation | Kind::Museum) => row.subject.clone(),
        _ => row.name.clone(),
    }
}

fn what(row: &Row) -> String {
    match (&row.mutation, row.kind) {
        (Some(mutation), Kind::Mutation | Kind::Model | Kind::Museum) => format!("with {mutation}"),
        _ => row.invariants.join(" "),
    }
}

/// A row that is not as it should be, in full: the drawing if there is one, its text else.
pub fn details(row: &Row) -> String {
    let mut text = format!("{} {}: {}\n", row.kind.word(), row.name, row.verdict.word());
    let remark = row.remark();
    if !remark.is_empty() && row.drawing.is_none() {
        let _ = writeln!(text, "  {remark}");
    }
    let beside = row.drawing.as_deref().unwrap_or(&row.report);
    let lines: Vec<_> = beside.lines().collect();
    let shown = if row.drawing.is_some() { lines.len() } else { REPORT_LINES };
    for line in lines.iter().take(shown) {
        let _ = writeln!(text, "  {line}");
    }
    if lines.len() > shown {
        let _ = writeln!(text, "  … {} lines more; --json has them all", lines.len() - shown);
    }
    if let Some(file) = &row.failure_file {
        let _ = writeln!(text, "  To run exactly this again: cargo prove --replay {file}");
    }
    text
}

/// 1234567 as 1,234,567.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The first line of a text, cut to a width.
pub(super) fn shortened(text: &str, width: usize) -> String {
    let line = text.lines().next().unwrap_or_default();
    if line.chars().count() <= width {
        return line.to_owned();
    }
    line.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        let grouped: Vec<_> = [0, 999, 1_000, 1_234_567].map(grouped).to_vec();
        assert_eq!(grouped, ["0", "999", "1,000", "1,234,567"]);
    }

    #[test]
    fn a_long_remark_is_cut_and_says_so() {
        assert_eq!(shortened("as it is", 8), "as it is");
        assert_eq!(shortened("longer than that", 8), "longer …");
        assert_eq!(shortened("first\nsecond", 80), "first");
    }
}
