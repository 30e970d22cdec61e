//! Whether what happened may happen: the invariants, over the history of an execution.
//!
//! Memory safety (I6) is judged during the execution, by canaries and race detection; a lost wake-up that
//! leaves nobody to go on (I9) by shuttle. Everything else is here, against the sequential reference
//! asked in the order that `linearize` finds.
//!
//! Where an answer may be old, because no ordering forbids it, what has to be seen is what *happens
//! before* the call, and what may be seen is what began before it was done.

use replcore::buffer::{AppendError, AttachError};

use super::execute::{Event, History, Look, Outcome, Reading};
use super::linearize::{Order, order};
use super::program::{Operation, Program};

/// Judges a history that is over.
///
/// # Errors
/// What is wrong, the invariant first, and both sides.
pub fn judge(program: &Program, history: &History) -> Result<(), String> {
    let order = order(program, history)?;
    let judge = Judge { program, history, order };
    for event in &history.events {
        judge.event(event)?;
    }
    for (number, reading) in history.readings.iter().enumerate() {
        judge.reading(number, reading)?;
    }
    judge.quiet()
}

struct Judge<'h> {
    program: &'h Program,
    history: &'h History,
    order: Order,
}

impl Judge<'_> {
    fn event(&self, event: &Event) -> Result<(), String> {
        match &event.outcome {
            Outcome::Appended(_, Err(AppendError::Fenced { term, sealed_term })) => {
                self.refusal(event, *term, *sealed_term)
            }
            Outcome::Appended(_, Err(error)) => {
                Err(format!("I4: an append is refused without cause: {error}"))
            }
            Outcome::Sealed(_, Err(replcore::buffer::SealError::AlreadySealed { term, sealed_term })) => {
                self.refusal(event, *term, *sealed_term)
            }
            Outcome::Attached(asked, Ok(cursor)) => self.attached(event, *asked, *cursor),
            Outcome::Attached(asked, Err(error)) => self.not_attached(event, *asked, error),
            Outcome::Looked(look) => self.looked(event, look),
            Outcome::Numbers(stats) => self.plausible_end(event, stats.end_offset, "the end of the numbers"),
            _ => Ok(()),
        }
    }

    /// The end that a call has to know of: of all that happens before it.
    fn known_end(&self, event: &Event) -> u64 {
        let known = |other: &&Event| other.ended.happens_before(&event.began);
        self.ends().filter(|(other, _)| known(other)).map(|(_, end)| end).max().unwrap_or(self.base())
    }

    /// The greatest end that a call can know of: of all that began before it was done.
    fn possible_end(&self, event: &Event) -> u64 {
        let possible = |other: &&Event| other.began.at() < event.ended.at();
        self.ends().filter(|(other, _)| possible(other)).map(|(_, end)| end).max().unwrap_or(self.base())
    }

    fn base(&self) -> u64 {
        self.program.settings.base_offset
    }

    fn ends(&self) -> impl Iterator<Item = (&Event, u64)> {
        self.history.events.iter().filter_map(|event| match &event.outcome {
            Outcome::Appended(_, Ok(range)) => Some((event, range.end)),
            _ => None,
        })
    }

    fn operation(&self, event: &Event) -> &Operation {
        &self.program.threads[event.thread][event.operation]
    }

    /// What was set before the end of `event`, by operations that `pick` picks.
    fn set_before<'s, T: 's>(
        &'s self,
        event: &'s Event,
        pick: impl Fn(&Operation) -> Option<T> + 's,
    ) -> impl Iterator<Item = T> + 's {
        let began = move |other: &&Event| other.began.at() < event.ended.at();
        self.history.events.iter().filter(began).filter_map(move |other| pick(self.operation(other)))
    }

    fn plausible_end(&self, event: &Event, end: u64, what: &str) -> Result<(), String> {
        let (known, possible) = (self.known_end(event), self.possible_end(event));
        if end < known || end > possible {
            return Err(format!("I2: {what} is {end}, and has to be between {known} and {possible}"));
        }
        Ok(())
    }

    /// I10: the refusal has to stand after a seal that explains it, and before none that it follows.
    fn refusal(&self, event: &Event, term: u64, reported: u64) -> Result<(), String> {
        if reported < term {
            return Err(format!("I10: term {term} is refused, for term {reported} is sealed"));
        }
        let events = &self.history.events;
        let after = |other: &&(usize, u64)| events[other.0].ended.happens_before(&event.began);
        let not_before = |other: &&(usize, u64)| events[other.0].began.at() < event.ended.at();
        let least = self.order.events.iter().filter(after).map(|(_, sealed)| *sealed).max().unwrap_or(0);
        let possible = self.order.events.iter().filter(not_before).map(|(_, sealed)| *sealed);
        if reported < least || !possible.into_iter().any(|sealed| sealed == reported) {
            return Err(format!(
                "I10: term {term} is refused for the seal of term {reported}, which nobody has made by then (the least is {least})"
            ));
        }
        Ok(())
    }

    fn attached(&self, event: &Event, asked: Option<u64>, cursor: usize) -> Result<(), String> {
        let start = self.history.readings[cursor].start;
        // One that is evicted while it is being attached stands short of its offset: it sees nothing,
        // and its next look says so.
        let reading = &self.history.readings[cursor];
        let looked = |other: &Event| matches!(&other.outcome, Outcome::Looked(look) if look.cursor == cursor);
        let evicted = reading.evicted || !self.history.events.iter().any(looked);
        if evicted && reading.bytes.is_empty() && asked.is_none_or(|offset| start < offset) {
            return Ok(());
        }
        match asked {
            Some(offset) if start != offset => Err(format!("I7: attached at {start} instead of {offset}")),
            Some(offset) if offset > self.possible_end(event) => {
                Err(format!("I7: attached at {offset}, beyond the end {}", self.possible_end(event)))
            }
            Some(_) => Ok(()),
            None => self.plausible_end(event, start, "the end at which a cursor is attached"),
        }
    }

    /// I7: only what is trimmed, or not there yet, may be refused.
    fn not_attached(&self, event: &Event, asked: Option<u64>, error: &AttachError) -> Result<(), String> {
        let AttachError::OffsetNotRetained { requested, first, end } = error else {
            return Err(format!("I7: a cursor is refused: {error}"));
        };
        let Some(asked) = asked.filter(|asked| asked == requested) else {
            return Err(format!("I7: {requested} is refused, and {asked:?} was asked for"));
        };
        if first > end {
            return Err(format!("I7: the first offset {first} is beyond the end {end}"));
        }
        let sizes = self.set_before(event, |operation| match operation {
            Operation::SetBacklog(bytes) => Some(u64::from(*bytes)),
            _ => None,
        });
        let least_backlog = sizes.chain([self.program.settings.backlog_bytes]).min().unwrap_or(0);
        let (known, possible) = (self.known_end(event), self.possible_end(event));
        let may_be_trimmed = asked < possible.saturating_sub(least_backlog).max(self.base());
        if asked <= known && !may_be_trimmed {
            return Err(format!(
                "I7: {asked} is refused; the stream reaches to {known}, and at most {possible}, with a backlog of at least \
                 {least_backlog}"
            ));
        }
        Ok(())
    }

    fn looked(&self, event: &Event, look: &Look) -> Result<(), String> {
        if look.evicted {
            return self.eviction(event, look);
        }
        let known = self.known_end(event);
        if look.nothing && look.offset < known {
            return Err(format!(
                "I2: cursor {} finds nothing behind {}, and the stream reaches to {known}",
                look.cursor, look.offset
            ));
        }
        Ok(())
    }

    /// A cursor may be evicted if some limit that was set was passed at some time.
    fn eviction(&self, event: &Event, look: &Look) -> Result<(), String> {
        let start = self.history.readings[look.cursor].start;
        let lag = self.possible_end(event).saturating_sub(start);
        let time: u64 = self
            .set_before(event, |operation| match operation {
                Operation::Enforce(ms) => Some(u64::from(*ms)),
                _ => None,
            })
            .sum();
        // A look between two of the three stores combines old and new, so each may be another's.
        let limits: Vec<_> = self
            .set_before(event, |operation| match operation {
                Operation::SetLimits(hard, soft, ms) => Some([*hard, *soft, *ms].map(u64::from)),
                _ => None,
            })
            .collect();
        let hard = limits.iter().any(|[hard, _, _]| *hard > 0 && lag > *hard);
        let soft = limits.iter().any(|[_, soft, _]| *soft > 0 && lag > *soft);
        if hard || soft && limits.iter().any(|[_, _, ms]| time >= *ms) {
            return Ok(());
        }
        Err(format!(
            "I8: cursor {} is evicted {lag} bytes behind the end at most, and no limit says so",
            look.cursor
        ))
    }

    /// I3, I5: a cursor reads a contiguous piece of the one stream; I9: it does not sleep for ever.
    fn reading(&self, number: usize, reading: &Reading) -> Result<(), String> {
        let reference = &self.order.reference;
        let end = reading.start + reading.bytes.len() as u64;
        let expected = reference.bytes(reading.start, end);
        if expected != Ok(&reading.bytes[..]) {
            return Err(format!(
                "I3, I5: cursor {number} reads, from {} on, {:?}, and the stream is {:?}",
                reading.start,
                String::from_utf8_lossy(&reading.bytes),
                expected.map(String::from_utf8_lossy)
            ));
        }
        for frame in &reading.frames {
            if reference.frame_at(frame.start).as_ref() != Some(frame) {
                return Err(format!(
                    "I5: cursor {number} is told of a frame {frame:?}, which is {:?}",
                    reference.frame_at(frame.start)
                ));
            }
        }
        match reading.asleep_at {
            Some(offset) if offset < reference.end() => Err(format!(
                "I9: cursor {number} sleeps for ever at {offset}; the stream has come to {}",
                reference.end()
            )),
            Some(offset) if reading.evicted => {
                Err(format!("I9: cursor {number} sleeps for ever at {offset}, and is evicted"))
            }
            _ => Ok(()),
        }
    }

    /// When all is quiet: I1, I11, and that nothing waits for release.
    fn quiet(&self) -> Result<(), String> {
        let Some((settled, quiet)) = &self.history.quiet else { return Ok(()) };
        let reference = &self.order.reference;
        if quiet.end_offset != reference.end() {
            let (end, expected) = (quiet.end_offset, reference.end());
            return Err(format!("I1: the stream ends at {end}, and has to at {expected}"));
        }
        let bound = 2 * self.largest_segment();
        // Whoever changes the backlog while another trims may be missed by it, until the next turn-over.
        let changes = |operation: &Operation| matches!(operation, Operation::SetBacklog(_));
        let backlog_bytes = self.program.settings.backlog_bytes;
        if settled.retained_bytes > bound.saturating_add(backlog_bytes)
            && !self.program.threads.iter().flatten().any(changes)
        {
            return Err(format!(
                "I11: {} bytes are kept for a backlog of {backlog_bytes}; at most {bound} more may be",
                settled.retained_bytes
            ));
        }
        if quiet.retained_bytes > bound {
            return Err(format!(
                "I11: {} bytes are kept for nobody; at most {bound} may be",
                quiet.retained_bytes
            ));
        }
        if quiet.retired != 0 || quiet.cursors != 0 {
            return Err(format!(
                "I6: {} objects wait for release, of {} cursors",
                quiet.retired, quiet.cursors
            ));
        }
        Ok(())
    }

    fn largest_segment(&self) -> u64 {
        let lengths = self.ends().filter_map(|(event, end)| match &event.outcome {
            Outcome::Appended(_, Ok(range)) => Some(end - range.start),
            _ => None,
        });
        lengths.max().unwrap_or(0) * self.program.settings.segment_frames as u64
    }
}
