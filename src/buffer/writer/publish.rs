//! Publication: what the record has to be after its predecessor, and the exchange that makes it so.

use std::ops::Range;

use super::stage::Stage;
use crate::buffer::block::{Block, NO_CONTEXT, Prior};
use crate::buffer::error::AppendError;
use crate::buffer::log::Log;
use crate::buffer::segment::Attempt;
use crate::buffer::sync::table::{Fault, fault};

impl Stage {
    /// Publishes what is staged: as a frame or a batch of a writer of `term`, or as the seal of
    /// `term`.
    pub(super) fn publish(&mut self, log: &Log, kind: Kind) -> Result<Range<u64>, AppendError> {
        let conditional = self.conditional.as_ref().map_or(0, |_| self.conditional_bytes.len() as u64);
        let limit_bytes = log.settings.max_frame_bytes;
        let bytes = self.len.saturating_add(conditional);
        if bytes > limit_bytes {
            self.discard();
            return Err(AppendError::FrameTooLarge { bytes, limit_bytes });
        }
        self.ready_block(log);
        // SAFETY: just made ready; the stage owns it as its writer.
        let slot = unsafe { Block::slot(self.block, self.published) };
        // The loop below may run many times; it builds a variant only when that changes.
        let mut with_conditional = false;
        match self.single_run() {
            // SAFETY: the slot is this writer's, and not published.
            Some(run) => unsafe { (*slot).write_run(self.in_block(run)) },
            // SAFETY: as above.
            None => unsafe { (*slot).write(self.record(false)) },
        }
        let mut turned = None;
        let mut first_prior = None;
        let mut retries = 0;
        let result = log.domain.pinned(|pin| {
            let mut segment = log.tail(pin)?;
            let mut awaited = false;
            loop {
                let frontier = segment.frontier();
                if segment.is_closed_at(&frontier) {
                    segment = log.successor(segment, &frontier, pin, &mut turned)?;
                    continue;
                }
                let now = frontier.prior;
                let first = *first_prior.get_or_insert(now);
                let after = match self.decide(&now, &first, kind, log) {
                    Ok(decided) => decided,
                    Err(error) => return Ok(Ended::Unpublished(Err(error))),
                };
                if after.says_nothing_after(&now) {
                    return Ok(Ended::Unpublished(Ok(now.end..now.end)));
                }
                if after.takes_conditional != with_conditional {
                    with_conditional = after.takes_conditional;
                    // SAFETY: the slot is this writer's, and not published.
                    unsafe { (*slot).write(self.record(with_conditional)) };
                }
                let start = if fault(Fault::StaleStart) { first.end } else { now.end };
                let end = start + after.bytes;
                let owed = now.owes_wake && !fault(Fault::ForgetOwed);
                let after = Prior { end, owes_wake: awaited || owed, ..after.prior };
                // SAFETY: as above.
                unsafe {
                    (*slot).update(|record| {
                        (record.start, record.after) = (start, after);
                    });
                }
                if after.owes_wake && fault(Fault::WakeEarly) {
                    log.wake_all();
                }
                match segment.publish(frontier.index, slot, awaited) {
                    Attempt::Done => return Ok(Ended::Published(start..end, after.owes_wake)),
                    Attempt::Empty { awaited: is_awaited } => awaited = is_awaited,
                    Attempt::Lost => {
                        retries += 1;
                        awaited = false;
                    }
                }
            }
        });
        self.retries += retries;
        let (range, owes_wake) = match result {
            Ended::Published(range, owes_wake) => (range, owes_wake),
            Ended::Unpublished(outcome) => {
                // SAFETY: the slot is this writer's, and not published. What it shares goes now, not
                // with the next publication.
                unsafe { (*slot).write_run(0..0) };
                self.discard();
                // Nothing is published, but it linked a segment: nobody else keeps house for that.
                turned.into_iter().for_each(|ordinal| log.turn_over(ordinal));
                return outcome;
            }
        };
        self.used += if fault(Fault::ReuseBytes) { 0 } else { self.staged };
        self.published += usize::from(!fault(Fault::ReuseRecord));
        self.discard();
        if owes_wake && !fault(Fault::WakeEarly) {
            log.wake_all();
            // SAFETY: this stage has not left its block, so the slot is there.
            unsafe { (*slot).woke() };
        }
        if let Some(ordinal) = turned {
            log.turn_over(ordinal);
        }
        Ok(range)
    }

    /// What the record is to be, if it follows `now`.
    fn decide(&self, now: &Prior, first: &Prior, kind: Kind, log: &Log) -> Result<Decided, AppendError> {
        let sealed = if fault(Fault::StaleFence) { first.sealed_term } else { now.sealed_term };
        let sealed_term = match kind {
            Kind::Frame { term } | Kind::Seal { term } if term <= sealed => {
                return Err(AppendError::Fenced { term, sealed_term: sealed });
            }
            Kind::Frame { .. } => now.sealed_term,
            Kind::Seal { term } => term,
        };
        let before = if fault(Fault::StaleContext) { first.context } else { now.context };
        let conditional = self
            .conditional
            .as_ref()
            .filter(|conditional| before == NO_CONTEXT || conditional.context != before);
        let bytes = self.len + conditional.map_or(0, |_| self.conditional_bytes.len() as u64);
        let max_offset = log.settings.max_offset;
        if max_offset - now.end < bytes {
            return Err(AppendError::OffsetsExhausted { offset: now.end, bytes, max_offset });
        }
        let frames = match self.frame_ends.len() {
            0 => u64::from(bytes > 0),
            // A conditional part behind the last frame is one of its own.
            ends => ends as u64 + u64::from(conditional.is_some_and(|part| part.at_frame == ends)),
        };
        let prior = Prior {
            end: now.end + bytes,
            frames: now.frames + frames,
            context: self.context.unwrap_or(now.context),
            sealed_term,
            owes_wake: false,
        };
        Ok(Decided { prior, bytes, takes_conditional: conditional.is_some() })
    }
}

/// What is published.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Frame { term: u64 },
    Seal { term: u64 },
}

/// A record as it has to be after a given predecessor.
#[derive(Debug)]
struct Decided {
    prior: Prior,
    bytes: u64,
    takes_conditional: bool,
}

impl Decided {
    /// Whether the stream would be the same without it: no bytes, and neither context nor seal
    /// changes. Such a marker is not published, for nothing ever would trim it.
    fn says_nothing_after(&self, now: &Prior) -> bool {
        self.bytes == 0 && self.prior.context == now.context && self.prior.sealed_term == now.sealed_term
    }
}

/// How an attempt to publish what is staged ended.
#[derive(Debug)]
enum Ended {
    /// At these offsets; true if a wake-up is owed.
    Published(Range<u64>, bool),
    /// It was refused, or there was nothing to say.
    Unpublished(Result<Range<u64>, AppendError>),
}
