//! Parts of a document that a benchmark writes.

use std::io::{Error, Result};
use std::path::Path;

/// Replaces what stands between `<!-- begin NAME -->` and `<!-- end NAME -->` in the file.
pub fn replace(file: &Path, name: &str, text: &str) -> Result<()> {
    let document = std::fs::read_to_string(file)?;
    let (begin, end) = (format!("<!-- begin {name} -->"), format!("<!-- end {name} -->"));
    let missing = || Error::other(format!("{} has no part named {name}", file.display()));
    let (before, rest) = document.split_once(&begin).ok_or_else(missing)?;
    let (_, after) = rest.split_once(&end).ok_or_else(missing)?;
    std::fs::write(file, format!("{before}{begin}\n{}\n{end}{after}", text.trim_end()))
}
