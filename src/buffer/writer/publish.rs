//! Publication: what is staged becomes a word, the word wins a cell, and what it owes is paid.
//!
//! All that depends on the order of the stream is decided in the offer, while the word is private:
//! offset, conditional part, context, fence. It is asked for again after each lost race.

use std::ops::Range;
use std::ptr;

use super::desk::Desk;
use super::seat::{NoWord, Published, Seat, at};
use super::stage::Stage;
use crate::buffer::block::{COMPOSITE_BYTES, Composite};
use crate::buffer::error::AppendError;
use crate::buffer::log::Log;
use crate::buffer::segment::NO_CONTEXT;
use crate::buffer::sync::table::{Fault, fault};
use crate::buffer::word::Word;

impl Desk {
    /// Appends `bytes` as one frame in one run, if that takes nothing but the copy and the exchange.
    #[inline]
    pub(super) fn append(&mut self, bytes: &[u8], term: u64, log: &Log) -> Result<Range<u64>, AppendError> {
        let Self { seat, stage, quick } = self;
        let (len, place) = (bytes.len(), stage.used);
        // An empty frame wraps round, and is none of the quick ones.
        if len.wrapping_sub(1) >= *quick || place + len > stage.capacity {
            return self.append_slowly(bytes, term, log);
        }
        // SAFETY: there is a capacity, so there is a block, which the stage owns as its writer.
        let block = unsafe { &*stage.block };
        // SAFETY: the stage is the block's writer, what is published ends before `used`, and there is
        // room.
        unsafe { block.write(place, bytes) };
        let published = seat.race(log, |seat| {
            seat.within_term(term)?;
            let end = seat.end_of(len as u64)?;
            Ok(Word::plain(end, at(seat.entry_of(block)?, place), seat.context_entry()))
        });
        let Ok(published) = published else {
            // Refused by a seat that may be old: ask again where the stream ends now.
            return self.append_slowly(bytes, term, log);
        };
        stage.publish_up_to(place + len);
        if published.owes_wake {
            self.pay(log);
        }
        Ok(published.range)
    }

    #[cold]
    #[inline(never)]
    fn append_slowly(&mut self, bytes: &[u8], term: u64, log: &Log) -> Result<Range<u64>, AppendError> {
        self.begin();
        if bytes.len() as u64 > log.settings.max_frame_bytes {
            self.stage.len = bytes.len() as u64;
        } else {
            self.stage.put_slice(bytes, log);
        }
        self.publish(term, log)
    }

    /// Publishes what is staged, as a writer of `term`: one frame, a batch, or a marker.
    pub(super) fn publish(&mut self, term: u64, log: &Log) -> Result<Range<u64>, AppendError> {
        let limit_bytes = log.settings.max_frame_bytes;
        let bytes = self.stage.len.saturating_add(self.stage.conditional_len());
        if bytes > limit_bytes {
            self.end();
            return Err(AppendError::FrameTooLarge { bytes, limit_bytes });
        }
        let mut offer = Offer::of(&mut self.stage, term, log);
        self.seat.stand_or_look(log);
        let published = self.seat.race(log, |seat| offer.word(seat));
        offer.finish(published.is_ok());
        self.end();
        let published = published.or_else(|ended| ended.map(nothing))?;
        if published.owes_wake {
            self.pay(log);
        }
        Ok(published.range)
    }

    /// Publishes the seal of `term`. Returns its offset.
    pub(super) fn seal(&mut self, term: u64, log: &Log) -> Result<u64, AppendError> {
        self.seat.stand_or_look(log);
        let published = self.seat.race(log, |seat| {
            seat.within_term(term)?;
            let entry = seat.entry_of_term(term)?;
            Ok(Word::closing(seat.end(), Some(entry), seat.context_entry()))
        });
        let published = published.or_else(|ended| ended.map(nothing))?;
        if published.owes_wake {
            self.pay(log);
        }
        Ok(published.range.start)
    }

    /// Delivers the wake-up that the publication just made owes.
    #[cold]
    fn pay(&mut self, log: &Log) {
        if !fault(Fault::WakeEarly) {
            log.slots.wake_all(&log.domain);
        }
        self.seat.settle();
    }
}

/// An append that succeeded without a publication.
fn nothing(range: Range<u64>) -> Published {
    Published { range, owes_wake: false }
}

/// What is staged, as it is offered to one cell after the other.
struct Offer<'s> {
    stage: &'s mut Stage,
    term: u64,
    form: Form,
    /// The form holds for this: with the conditional part, or without.
    with_conditional: Option<bool>,
    /// The context when this was first offered.
    first_context: Option<u64>,
    /// Where the block ends for what is published, if the present form is.
    end: usize,
}

/// How the bytes are described.
#[derive(Clone, Copy, Debug)]
enum Form {
    /// There are none.
    Marker,
    /// One run in the writer's block, from there on.
    Run(usize),
    /// One run in a block of its own.
    Own,
    /// A header, at that place.
    Composite(usize, *mut Composite),
}

impl<'s> Offer<'s> {
    fn of(stage: &'s mut Stage, term: u64, log: &Log) -> Self {
        let plain = stage.is_own() || stage.is_single_run();
        if !(plain && stage.conditional.is_none()) {
            stage.make_room(COMPOSITE_BYTES, log);
        }
        let end = stage.end();
        Self { stage, term, form: Form::Marker, with_conditional: None, first_context: None, end }
    }

    /// The word of what is staged, as it has to be at the seat's frontier.
    fn word(&mut self, seat: &mut Seat) -> Result<Word, NoWord> {
        seat.within_term(self.term)?;
        let with_conditional = self.takes_conditional(seat.context());
        let conditional = if with_conditional { self.stage.conditional_len() } else { 0 };
        let bytes = self.stage.len + conditional;
        let end = seat.end_of(bytes)?;
        let context = match self.stage.context {
            None => seat.context_entry(),
            Some(context) if bytes == 0 && context == seat.context() => {
                return Err(NoWord::Ended(Ok(seat.offset()..seat.offset())));
            }
            Some(context) => seat.entry_of_context(context)?,
        };
        if bytes == 0 && self.stage.context.is_none() {
            return Err(NoWord::Ended(Ok(seat.offset()..seat.offset())));
        }
        self.take_form(with_conditional, bytes);
        Ok(match self.form {
            Form::Marker => Word::plain(end, at(0, 0), context),
            Form::Run(place) => Word::plain(end, at(self.entry(seat)?, place), context),
            Form::Own => Word::plain(end, at(self.entry_of_own(seat)?, 0), context),
            Form::Composite(place, _) => {
                seat.expect_composite();
                Word::composite(end, at(self.entry(seat)?, place), context)
            }
        })
    }

    fn takes_conditional(&mut self, now: u64) -> bool {
        let first = *self.first_context.get_or_insert(now);
        let before = if fault(Fault::StaleContext) { first } else { now };
        self.stage
            .conditional
            .as_ref()
            .is_some_and(|conditional| before == NO_CONTEXT || conditional.context != before)
    }

    fn entry(&self, seat: &mut Seat) -> Result<u8, NoWord> {
        self.stage.block().map_or(Err(NoWord::Closed), |block| seat.entry_of(block))
    }

    fn entry_of_own(&self, seat: &mut Seat) -> Result<u8, NoWord> {
        self.stage.own.as_ref().map_or(Err(NoWord::Closed), |own| seat.entry_of(own.block()))
    }

    /// Describes the bytes, with the conditional part or without, unless they are already.
    fn take_form(&mut self, with_conditional: bool, bytes: u64) {
        if self.with_conditional == Some(with_conditional) {
            return;
        }
        self.drop_composite();
        self.with_conditional = Some(with_conditional);
        let stage = &mut *self.stage;
        (self.form, self.end) = if bytes == 0 {
            (Form::Marker, stage.used)
        } else if !with_conditional && stage.is_single_run() {
            (Form::Run(stage.used), stage.end())
        } else if !with_conditional && stage.is_own() {
            (Form::Own, stage.used)
        } else if with_conditional && stage.can_join_conditional() {
            let place = stage.join_conditional();
            (Form::Run(place), place + bytes as usize)
        } else {
            let composite = Box::into_raw(stage.composite(with_conditional));
            let place = stage.leave_composite(composite);
            (Form::Composite(place, composite), place + COMPOSITE_BYTES)
        };
    }

    /// Drops a composite that was offered and is not published.
    fn drop_composite(&mut self) {
        if let Form::Composite(_, composite) = std::mem::replace(&mut self.form, Form::Marker)
            && !fault(Fault::LeakRefused)
        {
            debug_assert!(!ptr::eq(composite, ptr::null()));
            // SAFETY: made by `Box::into_raw` in `take_form`, and never shared.
            drop(unsafe { Box::from_raw(composite) });
        }
    }

    /// The race is over.
    fn finish(mut self, published: bool) {
        if published {
            self.stage.publish_up_to(self.end);
        } else {
            self.drop_composite();
        }
    }
}
