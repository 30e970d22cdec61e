//! Counts an operation's instructions by running this program under callgrind.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use thiserror::Error;

use crate::RUN;
use crate::operations::{COUNTED, Operation};

#[derive(Debug, Error)]
pub enum CallgrindError {
    #[error(
        "valgrind is needed to count instructions (Debian: apt-get install valgrind), and does not start: {0}"
    )]
    NoValgrind(#[source] io::Error),
    #[error("this program does not know where it is: {0}")]
    NoProgram(#[source] io::Error),
    #[error("{operation} under callgrind failed ({status}):\n{said}")]
    Failed { operation: &'static str, status: std::process::ExitStatus, said: String },
    #[error("callgrind's output {} cannot be read: {source}", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("callgrind's output {} has no line `totals:` with a number", path.display())]
    NoTotals { path: PathBuf },
    #[error(
        "{operation} counted {once} instructions in {times} times and {twice} in twice as many: the counted function was not found"
    )]
    NothingCounted { operation: &'static str, times: u64, once: u64, twice: u64 },
}

/// Instructions of one operation: what the second half of twice as many adds.
pub fn instructions(operation: &Operation) -> Result<f64, CallgrindError> {
    let times = operation.times;
    let (once, twice) = (total(operation, times)?, total(operation, 2 * times)?);
    if once == 0 || twice <= once {
        return Err(CallgrindError::NothingCounted { operation: operation.name, times, once, twice });
    }
    Ok((twice - once) as f64 / times as f64)
}

/// Instructions that `times` operations take, from when the counted function is entered until it is left.
fn total(operation: &Operation, times: u64) -> Result<u64, CallgrindError> {
    let program = std::env::current_exe().map_err(CallgrindError::NoProgram)?;
    // Kept, for `callgrind_annotate`.
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("callgrind.{}.{times}", operation.name));
    let mut command = Command::new("valgrind");
    command
        .args(["--tool=callgrind", "--quiet"])
        .arg(format!("--toggle-collect={COUNTED}"))
        .arg(format!("--callgrind-out-file={}", path.display()))
        .arg(program)
        .args([RUN, operation.name, &times.to_string()]);
    // The environment lies on the stack: its length moves everything there, and some of it tunes the
    // C library. Valgrind itself is found, and finds its parts, by what is kept.
    let kept = ["PATH", "VALGRIND_LIB"];
    command.env_clear().envs(std::env::vars_os().filter(|(name, _)| kept.iter().any(|kept| name == kept)));
    let output = command.output().map_err(CallgrindError::NoValgrind)?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(CallgrindError::Failed { operation: operation.name, status: output.status, said });
    }
    let written = std::fs::read_to_string(&path)
        .map_err(|source| CallgrindError::Unreadable { path: path.clone(), source })?;
    written
        .lines()
        .find_map(|line| line.strip_prefix("totals:")?.trim().parse().ok())
        .ok_or(CallgrindError::NoTotals { path })
}

/// What valgrind says its version is.
pub fn version() -> Result<String, CallgrindError> {
    let output = Command::new("valgrind").arg("--version").output().map_err(CallgrindError::NoValgrind)?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
