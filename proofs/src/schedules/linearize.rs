//! One order for all publications (I4): by offset, and where no bytes tell, by search.
//!
//! Publications that have bytes are ordered by their offsets. Markers and seals have none, so several may
//! stand at one offset in an order that nobody was told; the search tries the orders that agree with the
//! calls, until the reference, asked in that order, gives every caller the answer it got.
//!
//! A call that was done before another began has to stand before it. Of a marker that may have changed
//! nothing, and so published nothing, that is asked only if memory orders the two: it was answered by
//! what its thread knew.

use replcore::buffer::reference::{ReferenceBuffer, ReferenceFrame};

use super::execute::{Event, History, Outcome, POOLED_TERM};
use super::program::{Frame, Operation, Program, reference_frames};

/// Steps of a search, at most.
const MAX_STEPS: usize = 200_000;

/// The stream as all calls saw it.
#[derive(Debug)]
pub struct Order {
    /// The reference after all publications.
    pub reference: ReferenceBuffer,
    /// Events in their order, and the highest sealed term after each.
    pub events: Vec<(usize, u64)>,
}

/// A publication that was made.
struct Publication {
    event: usize,
    start: u64,
    end: u64,
    /// It certainly changed something shared, so real time orders it.
    surely: bool,
    kind: Kind,
}

enum Kind {
    Frames(u64, Vec<ReferenceFrame>),
    Seal(u64),
}

/// Orders the publications of `history`.
///
/// # Errors
/// If there is no order in which the reference gives the same answers.
pub fn order(program: &Program, history: &History) -> Result<Order, String> {
    let mut publications: Vec<_> = history
        .events
        .iter()
        .enumerate()
        .filter_map(|(index, event)| publication(program, history, index, event))
        .collect();
    publications.sort_by_key(|publication| (publication.start, publication.end));
    gapless(program.settings.base_offset, &publications, history)?;
    let mut search = Search { history, publications, placed: Vec::new(), order: Vec::new(), steps: 0 };
    search.placed = vec![false; search.publications.len()];
    let reference = ReferenceBuffer::new(program.settings.base_offset, u64::MAX);
    match search.go_on(reference, 0) {
        Some(reference) => Ok(Order { reference, events: search.order }),
        None if search.steps > MAX_STEPS => Err("the search for an order of the markers gave up".to_owned()),
        None => Err(search.complaint()),
    }
}

fn publication(program: &Program, history: &History, index: usize, event: &Event) -> Option<Publication> {
    let operation = &program.threads[event.thread][event.operation];
    match &event.outcome {
        Outcome::Sealed(term, Ok(at)) => {
            Some(Publication { event: index, start: *at, end: *at, surely: true, kind: Kind::Seal(*term) })
        }
        Outcome::Appended(term, Ok(range)) => {
            let frames = match operation {
                Operation::Append(frames) => reference_frames(frames, event.thread, event.operation),
                Operation::AppendPooled(bytes) => {
                    let frame = Frame { bytes: *bytes, select: None, shared: false };
                    reference_frames(&[frame], event.thread, event.operation)
                }
                Operation::Marker(context) => vec![ReferenceFrame::default().leaves(context.map(u64::from))],
                _ => return None,
            };
            let term = if *term == POOLED_TERM { latest_term(history, event) } else { *term };
            let surely = !range.is_empty();
            let kind = Kind::Frames(term, frames);
            Some(Publication { event: index, start: range.start, end: range.end, surely, kind })
        }
        _ => None,
    }
}

/// The latest term that an append of an unknown one can have been of.
fn latest_term(history: &History, append: &Event) -> u64 {
    let terms = history.events.iter().filter(|event| event.began.at() < append.ended.at());
    terms
        .map(|event| if let Outcome::Sealed(term, _) = event.outcome { term + 1 } else { 1 })
        .max()
        .unwrap_or(1)
}

/// I1, and that nothing is published twice at one place.
fn gapless(base: u64, publications: &[Publication], history: &History) -> Result<(), String> {
    let mut end = base;
    for publication in publications {
        if publication.start != end {
            let event = &history.events[publication.event];
            return Err(format!(
                "I1: thread {} was told {}..{} for its operation {}, and the stream before ends at {end}",
                event.thread + 1,
                publication.start,
                publication.end,
                event.operation
            ));
        }
        end = publication.end;
    }
    Ok(())
}

struct Search<'h> {
    history: &'h History,
    publications: Vec<Publication>,
    placed: Vec<bool>,
    order: Vec<(usize, u64)>,
    steps: usize,
}

impl Search<'_> {
    /// Places what is left; gives the reference back if all of it found a place.
    fn go_on(&mut self, reference: ReferenceBuffer, sealed: u64) -> Option<ReferenceBuffer> {
        let (mut reference, mut sealed) = (reference, sealed);
        loop {
            self.steps += 1;
            if self.steps > MAX_STEPS {
                return None;
            }
            let candidates = self.candidates(reference.end());
            match candidates[..] {
                [] => return (self.order.len() == self.publications.len()).then_some(reference),
                [only] => {
                    sealed = self.apply(only, &mut reference, sealed)?;
                    self.place(only, sealed);
                }
                _ => {
                    for candidate in candidates {
                        let mut next = reference.clone();
                        let Some(sealed) = self.apply(candidate, &mut next, sealed) else { continue };
                        let depth = self.order.len();
                        self.place(candidate, sealed);
                        if let Some(done) = self.go_on(next, sealed) {
                            return Some(done);
                        }
                        for (event, _) in self.order.drain(depth..) {
                            let back =
                                self.publications.iter().position(|publication| publication.event == event);
                            back.into_iter().for_each(|back| self.placed[back] = false);
                        }
                    }
                    return None;
                }
            }
        }
    }

    fn place(&mut self, index: usize, sealed: u64) {
        self.placed[index] = true;
        self.order.push((self.publications[index].event, sealed));
    }

    /// What can come next: told this offset, and after nothing that is not placed yet.
    fn candidates(&self, end: u64) -> Vec<usize> {
        let open = |index: &usize| !self.placed[*index];
        let here = self.publications.partition_point(|publication| publication.start < end);
        let here = (here..self.publications.len()).filter(open);
        let here = here.take_while(|index| self.publications[*index].start == end);
        let all: Vec<_> = (0..self.publications.len()).filter(open).collect();
        here.filter(|index| !all.iter().any(|other| self.precedes(*other, *index))).collect()
    }

    fn precedes(&self, first: usize, second: usize) -> bool {
        let [before, after] =
            [first, second].map(|index| &self.history.events[self.publications[index].event]);
        before.ended.at() < after.began.at()
            && (self.publications[first].surely && self.publications[second].surely
                || before.ended.happens_before(&after.began))
    }

    /// Asks the reference; the highest sealed term after, if the answer is the one that was given.
    fn apply(&self, index: usize, reference: &mut ReferenceBuffer, sealed: u64) -> Option<u64> {
        let publication = &self.publications[index];
        match &publication.kind {
            Kind::Seal(term) => (reference.seal(*term) == Ok(publication.start)).then_some(sealed.max(*term)),
            Kind::Frames(term, frames) => {
                let range = publication.start..publication.end;
                (reference.append(*term, frames) == Ok(range)).then_some(sealed)
            }
        }
    }

    /// What could not be placed.
    fn complaint(&self) -> String {
        let mut calls = String::new();
        for publication in &self.publications {
            let event = &self.history.events[publication.event];
            let what = match &publication.kind {
                Kind::Seal(term) => format!("seal of term {term}"),
                Kind::Frames(term, _) => format!("append of term {term}"),
            };
            calls += &format!(
                "\n    thread {} operation {}: {what} at {}..{}, steps {} to {}",
                event.thread + 1,
                event.operation,
                publication.start,
                publication.end,
                event.began.at(),
                event.ended.at()
            );
        }
        format!("I4, I10: no order of these calls explains their answers:{calls}")
    }
}
