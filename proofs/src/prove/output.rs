//! Shows a report, and writes it in the forms that were asked for.

use std::path::Path;

use replcore_proofs::report::{Kind, Report, html, junit, markdown, table};

use replcore_proofs::options::Outputs;

/// Columns of a report that goes into a pipe.
const WIDTH: usize = 140;

/// Shows a report; true if everything is as it should be.
///
/// # Errors
/// If a file cannot be written.
pub fn show(report: &Report, outputs: &Outputs) -> Result<bool, String> {
    print!("{}", table::render(report, width()));
    write_all(report, outputs)?;
    Ok(report.is_good())
}

/// Shows the rows of a part, with what it sums up to.
///
/// # Errors
/// If a file cannot be written.
pub fn show_part(report: &Report, kind: Kind, outputs: &Outputs) -> Result<bool, String> {
    if kind == Kind::Museum {
        // The traces are what a museum is for.
        for row in report.rows.iter().filter(|row| row.is_good()) {
            println!("{}", table::details(row));
        }
    }
    print!("{}", table::render(report, width()));
    println!("{}", table::sum(report, kind));
    write_all(report, outputs)?;
    Ok(report.is_good())
}

fn write_all(report: &Report, outputs: &Outputs) -> Result<(), String> {
    if let Some(file) = &outputs.json {
        write(file, &report.to_json()?)?;
    }
    if let Some(file) = &outputs.junit {
        write(file, &junit::render(report)?)?;
    }
    if let Some(file) = &outputs.html {
        write(file, &html::render(report))?;
    }
    if let Some(file) = &outputs.markdown {
        write(file, &markdown::render(report))?;
    }
    Ok(())
}

fn write(file: &Path, text: &str) -> Result<(), String> {
    std::fs::write(file, text).map_err(|error| format!("{}: {error}", file.display()))
}

/// Columns of the terminal.
pub fn width() -> usize {
    terminal_size::terminal_size().map_or(WIDTH, |(width, _)| usize::from(width.0)).max(80)
}
