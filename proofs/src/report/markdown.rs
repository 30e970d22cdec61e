//! The report as Markdown, for a repository.

use std::fmt::Write as _;

use super::table::{grouped, shortened};
use super::{Kind, Report, Row, Verdict, matrix};

/// A remark's longest part in a table.
const REMARK: usize = 110;

/// Renders it.
pub fn render(report: &Report) -> String {
    let mut text = String::from("# What the proofs showed\n\n");
    facts(&mut text, report);
    invariants(&mut text, report);
    for kind in Kind::ALL {
        let rows: Vec<_> = report.of(kind).collect();
        if !rows.is_empty() {
            section(&mut text, kind, &rows);
        }
    }
    let mut bad = report.bad().peekable();
    if bad.peek().is_some() {
        text += "## What is not as it should be\n\n";
    }
    for row in bad {
        let _ = writeln!(text, "### {} ({})\n\n{}\n", row.name, row.verdict.word(), escaped(&row.remark()));
        let beside = row.drawing.as_deref().unwrap_or(&row.report).trim_end();
        if !beside.is_empty() {
            let _ = writeln!(text, "```text\n{beside}\n```\n");
        }
    }
    text += "## What is trusted\n\n";
    for trusted in &report.facts.trusted {
        let _ = writeln!(text, "* {trusted}");
    }
    text += "\n## The words\n\n";
    for verdict in Verdict::ALL {
        if report.rows.iter().any(|row| row.verdict == verdict) {
            let _ = writeln!(text, "* **{}**: {}", verdict.word(), verdict.meaning());
        }
    }
    text
}

fn facts(text: &mut String, report: &Report) {
    let facts = &report.facts;
    let tools: Vec<_> = facts.tools.iter().map(|tool| format!("{} {}", tool.name, tool.version)).collect();
    let _ = writeln!(text, "**{}.**\n", report.summary());
    let _ = writeln!(text, "| | |\n|---|---|");
    let command = format!("`cargo prove {}`", facts.arguments.join(" "));
    let _ = writeln!(text, "| command | {} |", escaped(command.trim_end()));
    let _ = writeln!(text, "| tier | {} |", facts.tier);
    let _ = writeln!(text, "| date | {} |", facts.date);
    let _ = writeln!(text, "| machine | {}, {} cores |", facts.system, facts.cores);
    let _ = writeln!(text, "| compiler | {} |", facts.rustc);
    let _ = writeln!(text, "| checkers, and what is trusted | {} |\n", tools.join(", "));
}

fn invariants(text: &mut String, report: &Report) {
    text.push_str("## Invariants and their proofs\n\n| | proofs | executions or states |\n|---|---|---:|\n");
    let proofs = matrix::proofs(report);
    for name in matrix::invariants(report) {
        let of_it: Vec<_> = proofs.iter().filter(|row| row.invariants.contains(&name)).collect();
        let words: Vec<_> =
            of_it.iter().map(|row| format!("`{}` ({})", row.name, row.verdict.word())).collect();
        let explored = of_it.iter().map(|row| row.explored).sum();
        let _ = writeln!(text, "| {name} | {} | {} |", words.join(", "), grouped(explored));
    }
    text.push('\n');
}

fn section(text: &mut String, kind: Kind, rows: &[&Row]) {
    let good = rows.iter().filter(|row| row.is_good()).count();
    let _ = writeln!(text, "## {}\n\n{good} of {} as it should be.\n", kind.heading(), rows.len());
    let _ =
        writeln!(text, "| proof | proves, or with | bound | {} | seconds | result | |", rows[0].unit.word());
    let _ = writeln!(text, "|---|---|---|---:|---:|---|---|");
    for row in rows {
        let what = match (&row.mutation, kind) {
            (Some(mutation), Kind::Mutation | Kind::Model) => format!("`{mutation}`"),
            _ => row.invariants.join(" "),
        };
        let name = if kind == Kind::Mutation { &row.subject } else { &row.name };
        let remark = match row.verdict {
            Verdict::Excused => row.remark(),
            _ => shortened(&row.remark(), REMARK),
        };
        let _ = writeln!(
            text,
            "| `{}` | {what} | {} | {} | {:.1} | {} | {} |",
            escaped(name),
            row.bound,
            grouped(row.explored),
            row.seconds,
            row.verdict.word(),
            escaped(&remark)
        );
    }
    text.push('\n');
}

/// Text that breaks no table.
fn escaped(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}
