//! Cells as a person reads them, on a terminal and in a document, and as a machine does.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::cells::{Cell, Line, Metric, bytes_name};
use super::peers::Kind;

/// Prints a cell: the first line is the product's.
pub fn print(cell: &Cell) {
    println!("\n{}, {}", cell.load(), cell.metric.unit());
    for line in &cell.lines {
        let spread = line.spread;
        let mut text = format!("  {:<24}{:>9}", line.peer, short(spread.median));
        let _ = write!(text, " ({} to {})", short(spread.least), short(spread.most));
        if let Some(percentiles) = line.percentiles {
            let (p50, p99, most) = (percentiles.p50, percentiles.p99, percentiles.most);
            let _ = write!(text, "  p50 {}, p99 {}, most {}", short(p50), short(p99), short(most));
        }
        if line.kind != Kind::Product {
            let width = if line.percentiles.is_some() { 92 } else { 56 };
            let padding = width - text.len().min(width);
            let _ = write!(text, "{:padding$}{}{}", "", ratio(cell, line), remark(cell, line));
        }
        println!("{text}");
    }
}

/// A value with three digits that mean something.
fn short(value: f64) -> String {
    match value {
        value if value >= 100.0 => format!("{value:.0}"),
        value if value >= 10.0 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    }
}

fn ratio(cell: &Cell, line: &Line) -> String {
    let ratio = cell.ratio(line);
    if ratio.is_infinite() { "the product: never".to_owned() } else { format!("x{}", short(ratio)) }
}

fn remark(cell: &Cell, line: &Line) -> &'static str {
    match line.kind {
        Kind::Floor if cell.ratio(line) < 1.0 => "  (the floor, unbounded memory)",
        _ if cell.ratio(line) < 1.0 => "  <- the product loses",
        _ => "",
    }
}

/// A table for each metric and length of frames, a column for each number of threads.
pub fn markdown(cells: &[Cell]) -> String {
    let mut text = String::new();
    for metric in Metric::ALL {
        let mut of_metric: Vec<&Cell> = cells.iter().filter(|cell| cell.metric == metric).collect();
        // What varies is the columns: where it is the length, one table holds all.
        let one_table = !metric.is_rate() || metric == Metric::Lengths;
        while !of_metric.is_empty() {
            let bytes = of_metric[0].frame_bytes;
            let (columns, rest): (Vec<&Cell>, Vec<&Cell>) =
                of_metric.into_iter().partition(|cell| one_table || cell.frame_bytes == bytes);
            let length = if one_table { String::new() } else { format!(", {}", bytes_name(bytes)) };
            let _ = writeln!(text, "\n**{}{length}**, {}\n", metric.title(), metric.unit());
            table(&mut text, &columns, one_table);
            of_metric = rest;
        }
    }
    text
}

fn table(text: &mut String, columns: &[&Cell], by_length: bool) {
    text.push('|');
    for cell in columns {
        let head = match (by_length, cell.readers) {
            (true, _) => bytes_name(cell.frame_bytes),
            (false, 0) => format!("{} writers", cell.writers),
            (false, readers) => format!("{} writers, {readers} readers", cell.writers),
        };
        let _ = write!(text, " | {head}");
    }
    let _ = writeln!(text, " |\n|---{}|", "|---".repeat(columns.len()));
    for (index, line) in columns[0].lines.iter().enumerate() {
        let _ = write!(text, "| {}", line.peer);
        for cell in columns {
            let line = &cell.lines[index];
            let spread = line.spread;
            if line.kind == Kind::Product {
                let (least, most) = (short(spread.least), short(spread.most));
                let _ = write!(text, " | {} ({least} to {most})", short(spread.median));
            } else {
                let loss = if cell.ratio(line) < 1.0 { "**" } else { "" };
                let _ = write!(text, " | {}, {loss}{}{loss}", short(spread.median), ratio(cell, line));
            }
        }
        text.push_str(" |\n");
    }
}

pub fn json(cells: &[Cell], rounds: usize, cores: usize) -> Value {
    let line = |cell: &Cell, line: &Line| {
        let percentiles = line.percentiles.map(
            |percentiles| json!({ "p50": percentiles.p50, "p99": percentiles.p99, "most": percentiles.most }),
        );
        json!({
            "peer": line.peer,
            "kind": format!("{:?}", line.kind).to_lowercase(),
            "median": line.spread.median,
            "least": line.spread.least,
            "most": line.spread.most,
            "percentiles_of_all_rounds": percentiles,
            // Not a number in JSON where the product's is nought.
            "product_better_by": Some(cell.ratio(line)).filter(|ratio| ratio.is_finite()),
        })
    };
    let cell = |cell: &Cell| {
        json!({
            "metric": cell.metric.title(),
            "unit": cell.metric.unit(),
            "frame_bytes": cell.frame_bytes,
            "writers": cell.writers,
            "readers": cell.readers,
            "lines": cell.lines.iter().map(|of| line(cell, of)).collect::<Vec<_>>(),
        })
    };
    json!({ "rounds": rounds, "cores": cores, "cells": cells.iter().map(cell).collect::<Vec<_>>() })
}
