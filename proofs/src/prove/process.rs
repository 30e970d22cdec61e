//! Runs a program to its end, or ends it.

use std::io::Read;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How often a running program is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// How a program ended.
#[derive(Debug)]
pub struct Ended {
    /// What it printed.
    pub out: String,
    /// What it printed as errors.
    pub err: String,
    /// Its status.
    pub status: ExitStatus,
    /// It took too long.
    pub overran: bool,
    /// It was not wanted any more.
    pub stopped: bool,
}

/// Runs a program; ends it if it takes longer than `limit`, or if `stop` is set.
///
/// # Errors
/// If it cannot be started.
pub fn run(mut command: Command, limit: Option<Duration>, stop: &AtomicBool) -> Result<Ended, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let failed = |error: std::io::Error| format!("{name}: {error}");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let start = Instant::now();
    let mut child = command.spawn().map_err(failed)?;
    let (mut stdout, mut stderr) = (child.stdout.take(), child.stderr.take());
    let read = |pipe: &mut dyn Read| {
        let mut text = Vec::new();
        let _ = pipe.read_to_end(&mut text);
        String::from_utf8_lossy(&text).into_owned()
    };
    std::thread::scope(|scope| {
        let err = scope.spawn(move || stderr.as_mut().map_or_else(String::new, |pipe| read(pipe)));
        let out = scope.spawn(move || stdout.as_mut().map_or_else(String::new, |pipe| read(pipe)));
        let (mut overran, mut stopped) = (false, false);
        let status = loop {
            if let Some(status) = child.try_wait().map_err(failed)? {
                break status;
            }
            overran |= limit.is_some_and(|limit| start.elapsed() > limit);
            stopped |= stop.load(Ordering::Relaxed);
            if overran || stopped {
                // It may have ended by itself in between.
                let _ = child.kill();
            }
            std::thread::sleep(LOOK_EVERY);
        };
        let (out, err) = (out.join().unwrap_or_default(), err.join().unwrap_or_default());
        Ok(Ended { out, err, status, overran, stopped })
    })
}
