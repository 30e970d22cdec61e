//! The report as one page that needs nothing beside it.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::table::grouped;
use super::{Kind, Report, Row, Verdict, matrix};

/// The page's looks, light or dark as the reader has it.
const STYLE: &str = include_str!("style.css");

/// Renders it.
pub fn render(report: &Report) -> String {
    page(report).into_string()
}

fn page(report: &Report) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "cargo prove: " (report.summary()) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header {
                    h1 { "What the proofs showed" }
                    p.sum.(if report.is_good() { "good" } else { "bad" }) { (report.summary()) }
                    (kinds(report))
                }
                main {
                    (failures(report))
                    (the_matrix(report))
                    @for kind in Kind::ALL {
                        @let rows = report.of(kind).collect::<Vec<_>>();
                        @if !rows.is_empty() { (section(kind, &rows)) }
                    }
                    (base(report))
                }
            }
        }
    }
}

fn kinds(report: &Report) -> Markup {
    html! {
        nav {
            @for kind in Kind::ALL {
                @let rows = report.of(kind).collect::<Vec<_>>();
                @if !rows.is_empty() {
                    @let good = rows.iter().filter(|row| row.is_good()).count();
                    a href={ "#" (kind.word()) } .(if good == rows.len() { "good" } else { "bad" }) {
                        (kind.word()) " " b { (good) "/" (rows.len()) }
                    }
                }
            }
        }
    }
}

fn failures(report: &Report) -> Markup {
    let bad: Vec<_> = report.bad().collect();
    html! {
        @if !bad.is_empty() {
            section #failures {
                h2 { "Not as it should be" }
                @for row in bad {
                    details open {
                        summary { (word(row.verdict)) " " b { (row.name) } " " (row.remark()) }
                        @let beside = row.drawing.as_deref().unwrap_or(&row.report);
                        @if !beside.is_empty() { pre { (beside) } }
                        @if let Some(file) = &row.failure_file {
                            p { "To run exactly this again: " code { "cargo prove --replay " (file) } }
                        }
                    }
                }
            }
        }
    }
}

fn the_matrix(report: &Report) -> Markup {
    let invariants = matrix::invariants(report);
    let proofs = matrix::proofs(report);
    let caught = matrix::caught(report);
    html! {
        @if !proofs.is_empty() {
            section #matrix {
                h2 { "Invariants and their proofs" }
                div.wide {
                    table.matrix {
                        thead { tr {
                            th { "proof" }
                            @for name in &invariants { th { (name) } }
                            th { "caught" }
                        } }
                        tbody {
                            @for row in &proofs {
                                tr {
                                    th title=(row.about) { (row.name) }
                                    @for name in &invariants {
                                        @if row.invariants.contains(name) {
                                            td.(class(row.verdict)) title=(row.verdict.word()) { (sign(row.verdict)) }
                                        } @else {
                                            td {}
                                        }
                                    }
                                    td {
                                        @if let (Kind::Model, Some((good, all))) = (row.kind, caught.get(row.subject.as_str())) {
                                            (good) " of " (all)
                                        }
                                    }
                                }
                            }
                        }
                    }
                }
                p.legend {
                    span.full { "●" } " all executions  " span.part { "◐" } " all within a bound  "
                    span.some { "○" } " some, drawn at random  " span.bad { "✗" } " not as it should be"
                }
            }
        }
    }
}

fn section(kind: Kind, rows: &[&Row]) -> Markup {
    let longest = rows.iter().map(|row| row.seconds).fold(0.001, f64::max);
    html! {
        section id=(kind.word()) {
            h2 { (kind.heading()) }
            div.wide {
                table {
                    thead { tr {
                        th { "proof" } th { "proves, or with" } th { "bound" } th.number { (rows[0].unit.word()) }
                        th.number { "seconds" } th { "result" } th { "seen" }
                    } }
                    tbody {
                        @for row in rows {
                            tr {
                                th title=(row.about) { (row.name) }
                                td {
                                    @match (&row.mutation, kind) {
                                        (Some(mutation), Kind::Mutation | Kind::Model) => code { (mutation) },
                                        _ => (row.invariants.join(" ")),
                                    }
                                }
                                td { (row.bound) }
                                td.number { (grouped(row.explored)) }
                                td.number {
                                    span.bar style={ "--share:" (format!("{:.0}%", row.seconds / longest * 100.0)) } {
                                        (format!("{:.1}", row.seconds))
                                    }
                                }
                                td { (word(row.verdict)) }
                                td.seen { (row.remark()) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn base(report: &Report) -> Markup {
    let facts = &report.facts;
    html! {
        section #trusted {
            h2 { "What this rests on" }
            dl {
                dt { "command" } dd { code { "cargo prove " (facts.arguments.join(" ")) } }
                dt { "date" } dd { (facts.date) }
                dt { "machine" } dd { (facts.system) ", " (facts.cores) " cores" }
                dt { "compiler" } dd { (facts.rustc) }
                dt { "versions" } dd {
                    @for tool in &facts.tools { (tool.name) " " (tool.version) "; " }
                }
                dt { "build" } dd { code { (facts.build) } }
            }
            h3 { "Trusted, not proven" }
            ul { @for trusted in &facts.trusted { li { (trusted) } } }
            h3 { "The words" }
            dl {
                @for verdict in Verdict::ALL {
                    dt { (word(verdict)) } dd { (verdict.meaning()) }
                }
            }
        }
    }
}

fn word(verdict: Verdict) -> Markup {
    html! { span.verdict.(class(verdict)) { (verdict.word()) } }
}

fn class(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Exact | Verdict::Exhausted | Verdict::Caught | Verdict::Tolerated => "full",
        Verdict::Bounded | Verdict::Excused => "part",
        Verdict::Sampled => "some",
        _ => "bad",
    }
}

fn sign(verdict: Verdict) -> &'static str {
    match class(verdict) {
        "full" => "●",
        "part" => "◐",
        "some" => "○",
        _ => "✗",
    }
}
