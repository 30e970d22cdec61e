//! Finding the end of a value, or of anything else in a snapshot, from bytes as they come.
//!
//! A [`Scan`] walks through the parts that [`grammar`] lists. It reads the lengths, keeps none of the rest,
//! and may be interrupted at any byte. Parts are nested at most four deep, whatever the bytes say, so its own
//! memory is bounded; how long it goes on is bounded by the bytes that arrive, for every part has at least
//! one.

use smallvec::SmallVec;

use super::grammar::{self, Step};
use super::{Fault, FileVersion, Limits, ValueType, code};

/// Why a scan cannot go on. Where: behind the bytes that it has taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    Fault(Fault),
    Limit {
        claimed: u64,
        limit: u64,
    },
    /// No opcode that is known, or none that may stand here.
    Opcode,
}

/// Parts that are walked through so many times more, the present one included.
#[derive(Clone, Copy, Debug)]
struct Frame {
    steps: &'static [Step],
    next: usize,
    rounds: u64,
}

/// What a length is for.
#[derive(Clone, Copy, Debug)]
enum Purpose {
    Number,
    Text,
    /// Of the compressed bytes; the length of the text follows.
    Packed,
    /// Of the text that so many bytes unpack to.
    Unpacked(u64),
    Rounds(&'static [Step]),
    Node,
    ModuleInteger,
    ModuleMark,
}

/// What is under way.
#[derive(Clone, Copy, Debug)]
enum State {
    /// Nothing: the next part.
    Step,
    /// The first byte of a length.
    Length(Purpose),
    /// So many more bytes of a length, and what is known of it.
    Rest(Purpose, u8, u64),
    /// So many bytes to be passed.
    Pass(u64),
    /// The length of a text score.
    Score,
    /// An opcode or a type.
    Event,
    /// An attribute's opcode or a type.
    Key,
}

/// A length, or what stands in its place before a specially encoded string.
#[derive(Clone, Copy)]
enum Length {
    Plain(u64),
    Special(u8),
}

/// See the [module](self).
#[derive(Clone, Debug)]
pub(super) struct Scan {
    version: FileVersion,
    limits: Limits,
    frames: SmallVec<[Frame; 4]>,
    state: State,
    value_type: Option<ValueType>,
}

impl Scan {
    /// A scan of those parts.
    pub fn new(steps: &'static [Step], version: FileVersion, limits: Limits) -> Scan {
        let mut scan =
            Scan { version, limits, frames: SmallVec::new(), state: State::Step, value_type: None };
        scan.enter(steps, 1);
        scan
    }

    /// Whether all parts have been passed.
    pub fn is_done(&mut self) -> bool {
        while matches!(self.state, State::Step) {
            if !self.step() {
                return true;
            }
        }
        false
    }

    /// The type of the value that follows, if what was scanned is a key.
    pub fn value_type(&self) -> Option<ValueType> {
        self.value_type
    }

    /// Takes as many of `bytes` as belong to the parts; returns how many, up to where it stopped.
    pub fn advance(&mut self, bytes: &[u8]) -> (usize, Result<(), Stop>) {
        let mut taken = 0;
        while taken < bytes.len() && !self.is_done() {
            if let State::Pass(left) = self.state {
                let len = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len() - taken);
                taken += len;
                self.pass(left - len as u64);
                continue;
            }
            taken += 1;
            if let Err(stop) = self.byte(bytes[taken - 1]) {
                return (taken, Err(stop));
            }
        }
        (taken, Ok(()))
    }

    /// Begins the next part; `false` if there is none.
    fn step(&mut self) -> bool {
        let Some(frame) = self.frames.last_mut() else { return false };
        let Some(step) = frame.steps.get(frame.next) else {
            frame.next = 0;
            frame.rounds -= 1;
            if frame.rounds == 0 {
                self.frames.pop();
            }
            return true;
        };
        frame.next += 1;
        self.state = match step {
            Step::Number => State::Length(Purpose::Number),
            Step::Text => State::Length(Purpose::Text),
            Step::Bytes(len) => State::Pass(*len),
            Step::Score => State::Score,
            Step::Repeat(steps) => State::Length(Purpose::Rounds(steps)),
            Step::Node => State::Length(Purpose::Node),
            Step::ModuleInteger => State::Length(Purpose::ModuleInteger),
            Step::Module => State::Length(Purpose::ModuleMark),
            Step::Event => State::Event,
            Step::Key => State::Key,
        };
        true
    }

    /// Walks through `steps` next, so many times.
    fn enter(&mut self, steps: &'static [Step], rounds: u64) {
        // Where nothing is to come back to, nothing is remembered: what ends with its like does not nest.
        let is_over = |frame: &Frame| frame.rounds == 1 && frame.next == frame.steps.len();
        if self.frames.last().is_some_and(is_over) {
            self.frames.pop();
        }
        if rounds > 0 {
            self.frames.push(Frame { steps, next: 0, rounds });
        }
    }

    fn pass(&mut self, len: u64) {
        self.state = if len == 0 { State::Step } else { State::Pass(len) };
    }

    fn byte(&mut self, byte: u8) -> Result<(), Stop> {
        match self.state {
            State::Length(purpose) => match (byte >> 6, byte) {
                (0, _) => self.length(purpose, Length::Plain(byte.into())),
                (3, _) => self.length(purpose, Length::Special(byte & 0x3F)),
                (1, _) => self.rest(purpose, 1, u64::from(byte & 0x3F)),
                (_, 0x80) => self.rest(purpose, 4, 0),
                (_, 0x81) => self.rest(purpose, 8, 0),
                _ => Err(Stop::Fault(Fault::Length)),
            },
            State::Rest(purpose, left, known) => self.rest(purpose, left - 1, known << 8 | u64::from(byte)),
            State::Score => match byte {
                253 => Err(Stop::Fault(Fault::Score)),
                254 | 255 => {
                    self.pass(0);
                    Ok(())
                }
                len => {
                    self.within(len.into(), self.limits.max_string_bytes)?;
                    self.pass(len.into());
                    Ok(())
                }
            },
            State::Event => self.event(byte),
            State::Key => self.key(byte),
            // These two ask for no byte of their own.
            State::Step | State::Pass(_) => Ok(()),
        }
    }

    fn rest(&mut self, purpose: Purpose, left: u8, known: u64) -> Result<(), Stop> {
        if left == 0 {
            return self.length(purpose, Length::Plain(known));
        }
        self.state = State::Rest(purpose, left, known);
        Ok(())
    }

    fn length(&mut self, purpose: Purpose, length: Length) -> Result<(), Stop> {
        self.state = State::Step;
        match (purpose, length) {
            (Purpose::Text, Length::Plain(len)) => {
                self.within(len, self.limits.max_string_bytes)?;
                self.pass(len);
            }
            (Purpose::Text, Length::Special(form @ 0..=2)) => self.pass(1 << form),
            (Purpose::Text, Length::Special(3)) => self.state = State::Length(Purpose::Packed),
            (_, Length::Special(_)) => return Err(Stop::Fault(Fault::Length)),
            (Purpose::Packed, Length::Plain(packed)) => {
                self.state = State::Length(Purpose::Unpacked(packed));
            }
            (Purpose::Unpacked(packed), Length::Plain(len)) => {
                self.within(len, self.limits.max_string_bytes)?;
                self.within(packed, self.limits.max_string_bytes)?;
                self.pass(packed);
            }
            (Purpose::Rounds(steps), Length::Plain(rounds)) => {
                self.within(rounds, self.limits.max_elements)?;
                self.enter(steps, rounds);
            }
            (Purpose::ModuleMark, Length::Plain(mark)) => {
                self.enter(grammar::module(mark).ok_or(Stop::Fault(Fault::Module))?, 1);
            }
            (Purpose::ModuleInteger, Length::Plain(mark)) if mark != 2 => {
                return Err(Stop::Fault(Fault::Module));
            }
            (Purpose::Node, Length::Plain(packing)) if !matches!(packing, 1 | 2) => {
                return Err(Stop::Fault(Fault::QuicklistNode));
            }
            (Purpose::Number | Purpose::ModuleInteger | Purpose::Node, Length::Plain(_)) => {}
        }
        Ok(())
    }

    fn within(&self, claimed: u64, limit: u64) -> Result<(), Stop> {
        if claimed > limit { Err(Stop::Limit { claimed, limit }) } else { Ok(()) }
    }

    fn event(&mut self, first: u8) -> Result<(), Stop> {
        let Some(steps) = grammar::opcode(first, self.version) else { return self.key(first) };
        self.state = State::Step;
        self.enter(steps, 1);
        Ok(())
    }

    fn key(&mut self, first: u8) -> Result<(), Stop> {
        let steps = match grammar::attribute(first) {
            Some(steps) => steps,
            None if first >= code::FIRST_OPCODE => return Err(Stop::Opcode),
            None => {
                self.value_type = Some(ValueType(first));
                &[Step::Text]
            }
        };
        self.state = State::Step;
        self.enter(steps, 1);
        Ok(())
    }
}
