//! Schedule files: a program, the choices of one execution, and what broke in it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use replcore_checkers::weak::MAX_THREADS;
use serde::{Deserialize, Serialize};

use super::campaign::Finding;
use super::program::Program;

/// Version of the format.
const VERSION: u32 = 1;

/// What is written: all that it takes to run exactly that execution again.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ScheduleFile {
    version: u32,
    /// What broke, the invariant first.
    pub failure: String,
    /// The mutation that was on, if one was.
    pub mutation: Option<String>,
    /// What the threads do.
    pub program: Program,
    /// The choices; plain ones follow.
    pub choices: Vec<u8>,
}

impl ScheduleFile {
    /// Of a finding.
    #[must_use]
    pub fn new(finding: &Finding, mutation: Option<&str>) -> Self {
        Self {
            version: VERSION,
            failure: finding.failure.message.clone(),
            mutation: mutation.map(str::to_owned),
            program: (*finding.program).clone(),
            choices: finding.choices.clone(),
        }
    }

    /// Reads a file.
    ///
    /// # Errors
    /// What is wrong with it, in a line.
    pub fn read(path: &Path) -> Result<Self, String> {
        let named = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
        let bytes = std::fs::read(path).map_err(|error| named(&error))?;
        let file: Self = serde_json::from_slice(&bytes).map_err(|error| named(&error))?;
        if file.version != VERSION {
            return Err(named(&format_args!(
                "version {} of the format, and this reads {VERSION}",
                file.version
            )));
        }
        file.check().map_err(|error| named(&error))?;
        Ok(file)
    }

    /// Whether it can be run: a file may have been written by hand.
    fn check(&self) -> Result<(), String> {
        let most = MAX_THREADS - 1;
        if self.program.threads.len() > most {
            return Err(format!("{} threads, and there are {most} at most", self.program.threads.len()));
        }
        self.program.settings.check()
    }

    /// Writes it into `directory`, under a name that says what broke. Returns where.
    ///
    /// # Errors
    /// In a line.
    pub fn write(&self, directory: &Path) -> Result<PathBuf, String> {
        let named = |path: &Path, error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
        std::fs::create_dir_all(directory).map_err(|error| named(directory, &error))?;
        let label: String =
            self.failure.chars().take_while(|c| c.is_ascii_alphanumeric()).collect::<String>().to_lowercase();
        let mut number = 1;
        let path = loop {
            let path = directory.join(format!("{label}-{number}.json"));
            if !path.exists() {
                break path;
            }
            number += 1;
        };
        let json = serde_json::to_vec(self).map_err(|error| error.to_string())?;
        std::fs::write(&path, json).map_err(|error| named(&path, &error))?;
        Ok(path)
    }

    /// The program, shared.
    #[must_use]
    pub fn shared_program(&self) -> Arc<Program> {
        Arc::new(self.program.clone())
    }
}
