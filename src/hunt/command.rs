//! What a sequence is made of: commands whose deadlines are relative to when they run, and what happens to
//! the servers between them.
//!
//! A sequence has to mean the same each time it is replayed. So a deadline is kept as a distance and becomes
//! an absolute time (by the primary's clock) when the command is sent; and the fields of a command are kept
//! apart from its other words, so that a field can be left out and the count still be right.

use std::fmt;

use bytes::Bytes;

use super::target::Side;

/// Deadlines up to this far away are let pass by [`Step::Outlive`], in ms.
pub(super) const SHORT_MS: i64 = 2_000;

/// A deadline that is this far away, in ms, does not pass before the next step unless that waits for it.
const ROOM_MS: i64 = 60;

/// A word of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// As it is.
    Text(Bytes),
    /// A time to live in ms.
    ForMs(i64),
    /// A time to live in s.
    ForS(i64),
    /// An absolute time, so many ms from now.
    AtMs(i64),
    /// An absolute time in whole seconds, so many s from now.
    AtS(i64),
}

impl Word {
    /// The same, with room between setting and passing if the deadline is short.
    fn with_room(&self) -> Word {
        match self {
            Word::ForMs(ms) if (1..ROOM_MS).contains(ms) => Word::ForMs(ROOM_MS),
            Word::AtMs(ms) if (1..ROOM_MS).contains(ms) => Word::AtMs(ROOM_MS),
            word => word.clone(),
        }
    }

    /// How far away the deadline is, in ms.
    fn distance_ms(&self) -> Option<i64> {
        match self {
            Word::Text(_) => None,
            Word::ForMs(ms) | Word::AtMs(ms) => Some(*ms),
            Word::ForS(s) | Word::AtS(s) => Some(s * 1_000),
        }
    }

    fn render(&self, now_ms: u64) -> Bytes {
        let now_ms = i64::try_from(now_ms).unwrap_or(i64::MAX);
        let number = match self {
            Word::Text(text) => return text.clone(),
            Word::ForMs(number) | Word::ForS(number) => *number,
            Word::AtMs(ms) => now_ms.saturating_add(*ms),
            Word::AtS(s) => (now_ms / 1_000).saturating_add(*s),
        };
        Bytes::from(number.max(0).to_string())
    }
}

/// A command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Command {
    /// Name and arguments, up to the fields.
    pub words: Vec<Word>,
    /// Whether `FIELDS count` stands before the fields.
    pub counted: bool,
    /// Fields, with values where the command takes them.
    pub fields: Vec<(Bytes, Option<Bytes>)>,
}

impl Command {
    /// A command without fields.
    pub fn plain(words: Vec<Word>) -> Command {
        Command { words, counted: false, fields: Vec::new() }
    }

    /// The name.
    pub fn name(&self) -> &str {
        match self.words.first() {
            Some(Word::Text(name)) => std::str::from_utf8(name).unwrap_or_default(),
            _ => "",
        }
    }

    /// What is sent when the clock says `now_ms`.
    pub fn render(&self, now_ms: u64) -> Vec<Bytes> {
        let mut argv: Vec<Bytes> = self.words.iter().map(|word| word.render(now_ms)).collect();
        if self.counted {
            argv.extend([Bytes::from_static(b"FIELDS"), Bytes::from(self.fields.len().to_string())]);
        }
        for (field, value) in &self.fields {
            argv.push(field.clone());
            argv.extend(value.clone());
        }
        argv
    }

    /// The latest deadline that it sets, if [`Step::Outlive`] is to wait for it: how far away it is, in ms.
    pub fn short_ms(&self) -> Option<i64> {
        self.words.iter().filter_map(Word::distance_ms).filter(|ms| (1..=SHORT_MS).contains(ms)).max()
    }

    /// Whether it needs the clock to be sent.
    pub fn needs_clock(&self) -> bool {
        self.words.iter().any(|word| matches!(word, Word::AtMs(_) | Word::AtS(_)))
    }

    /// The same with one field less, for each field that can go.
    fn with_fewer_fields(&self) -> impl Iterator<Item = Command> + '_ {
        let removable = if self.fields.len() > 1 { self.fields.len() } else { 0 };
        (0..removable).map(|at| {
            let mut smaller = self.clone();
            smaller.fields.remove(at);
            smaller
        })
    }
}

/// One step of a sequence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// A command on the primary, or several in a transaction.
    Run(Vec<Command>),
    /// Waits until every deadline of at most [`SHORT_MS`] that was set so far has passed.
    Outlive,
    /// Waits, in ms.
    Pause(u16),
    /// The link delivers nothing to the replica any more.
    Hold,
    /// It does again.
    Release,
    /// The link's connections break; the replica may connect again at once.
    Cut,
    /// From now on the link delivers everything up to this many ms late.
    Delay(u16),
    /// The replica's process is stopped.
    Stop,
    /// It goes on.
    Continue,
    /// A server's clock goes wrong by so many ms.
    Skew(Side, i64),
    /// The primary removes by itself what has expired, or not.
    ActiveExpiry(bool),
    /// The replica becomes a primary at the place of the stream that it has reached, is compared with what
    /// the primary had there, and is attached again.
    Promote,
}

impl Step {
    /// The commands of the step.
    pub fn commands(&self) -> &[Command] {
        match self {
            Step::Run(commands) => commands,
            _ => &[],
        }
    }

    /// The same with short deadlines that do not pass before the next step, so that it plays the same each
    /// time.
    pub fn with_room(&self) -> Step {
        let Step::Run(commands) = self else { return self.clone() };
        let spaced = commands.iter().map(|command| Command {
            words: command.words.iter().map(Word::with_room).collect(),
            ..command.clone()
        });
        Step::Run(spaced.collect())
    }

    /// What may do as well in its place, the simplest first.
    pub fn simpler(&self) -> Vec<Vec<Step>> {
        let Step::Run(commands) = self else { return Vec::new() };
        let mut simpler = Vec::new();
        let with_room = self.with_room();
        if with_room != *self {
            simpler.push(vec![with_room]);
        }
        if commands.len() > 1 {
            let alone = |command: &Command| Step::Run(vec![command.clone()]);
            simpler.extend(commands.iter().map(|command| vec![alone(command)]));
            simpler.push(commands.iter().map(alone).collect());
        }
        for (at, command) in commands.iter().enumerate() {
            if commands.len() > 2 {
                let mut fewer = commands.clone();
                fewer.remove(at);
                simpler.push(vec![Step::Run(fewer)]);
            }
            for smaller in command.with_fewer_fields() {
                let mut smaller_commands = commands.clone();
                smaller_commands[at] = smaller;
                simpler.push(vec![Step::Run(smaller_commands)]);
            }
        }
        simpler
    }
}

/// An argument as one would type it.
pub(super) fn show_word(word: &[u8]) -> String {
    let plain = !word.is_empty()
        && word.iter().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\' | b'\''));
    if plain { String::from_utf8_lossy(word).into_owned() } else { format!("\"{}\"", word.escape_ascii()) }
}

/// A command as one would type it.
pub(super) fn show(argv: &[Bytes]) -> String {
    argv.iter().map(|word| show_word(word)).collect::<Vec<_>>().join(" ")
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, word) in self.words.iter().enumerate() {
            if at > 0 {
                f.write_str(" ")?;
            }
            match word {
                Word::Text(text) => f.write_str(&show_word(text))?,
                Word::ForMs(number) | Word::ForS(number) => write!(f, "{number}")?,
                Word::AtMs(ms) => write!(f, "<now{ms:+} ms>")?,
                Word::AtS(s) => write!(f, "<now{s:+} s>")?,
            }
        }
        if self.counted {
            write!(f, " FIELDS {}", self.fields.len())?;
        }
        for (field, value) in &self.fields {
            write!(f, " {}", show_word(field))?;
            if let Some(value) = value {
                write!(f, " {}", show_word(value))?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Run(commands) => match &commands[..] {
                [command] => write!(f, "{command}"),
                commands => {
                    f.write_str("MULTI; ")?;
                    commands.iter().try_for_each(|command| write!(f, "{command}; "))?;
                    f.write_str("EXEC")
                }
            },
            Step::Outlive => f.write_str("(wait until the short deadlines set so far have passed)"),
            Step::Pause(ms) => write!(f, "(wait {ms} ms)"),
            Step::Hold => f.write_str("(the link holds back everything from here on)"),
            Step::Release => f.write_str("(the link delivers again)"),
            Step::Cut => f.write_str("(the link is cut, the replica reconnects)"),
            Step::Delay(ms) => write!(f, "(the link is up to {ms} ms late from here on)"),
            Step::Stop => f.write_str("(the replica is stopped, SIGSTOP)"),
            Step::Continue => f.write_str("(the replica goes on, SIGCONT)"),
            Step::Skew(side, ms) => write!(f, "(the {side}'s clock is wrong by {ms:+} ms)"),
            Step::ActiveExpiry(true) => f.write_str("(active expiry on)"),
            Step::ActiveExpiry(false) => f.write_str("(active expiry off)"),
            Step::Promote => f.write_str("(the replica is promoted, REPLICAOF NO ONE)"),
        }
    }
}
