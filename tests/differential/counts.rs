//! How often each command was run, and to what effect.

use std::collections::BTreeMap;
use std::fmt;

use replcore::resp::Reply;

/// What one command came to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Count {
    pub succeeded: u64,
    pub refused: u64,
}

/// All commands' counts.
#[derive(Clone, Debug, Default)]
pub struct Counts(BTreeMap<&'static str, Count>);

impl Counts {
    /// Notes one reply to `command`.
    pub fn add(&mut self, command: Option<&'static str>, reply: &Reply) {
        let Some(command) = command else { return };
        let count = self.0.entry(command).or_default();
        match reply {
            Reply::Error(_) => count.refused += 1,
            _ => count.succeeded += 1,
        }
    }

    /// All replies noted.
    pub fn total(&self) -> u64 {
        self.0.values().map(|count| count.succeeded + count.refused).sum()
    }

    /// Which of `commands` never succeeded, or were never refused.
    pub fn lacking(&self, commands: impl Iterator<Item = &'static str>) -> Vec<String> {
        let lacks = |name: &'static str| match self.0.get(name).copied().unwrap_or_default() {
            Count { succeeded: 0, .. } if name != NEVER_SUCCEEDS => Some(format!("{name} never succeeded")),
            Count { refused: 0, .. } => Some(format!("{name} was never refused")),
            _ => None,
        };
        commands.filter_map(lacks).collect()
    }
}

/// The command that does not exist.
const NEVER_SUCCEEDS: &str = "nosuchcommand";

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (name, count)) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            write!(f, "{separator}{name} {}+{}", count.succeeded, count.refused)?;
        }
        Ok(())
    }
}
