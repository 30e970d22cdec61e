//! What a thread knows: how new a store it has to read, and what happened before.

use std::cell::RefCell;
use std::rc::Rc;

/// Threads of an execution, at most; the first is the one that sets up and checks.
pub const MAX_THREADS: usize = 12;

/// The least time stamp that may be read, by location. Shared until it differs.
#[derive(Clone, Debug, Default)]
pub(super) struct View(Rc<Stamps>);

/// Time stamps, in memory that is used again: nearly every store makes a copy, and nearly every one that it
/// takes the place of goes.
#[derive(Debug, Default)]
struct Stamps(Vec<u32>);

/// Copies whose memory is kept, at most.
const SPARES: usize = 256;

thread_local! {
    static SPARE: RefCell<Vec<Vec<u32>>> = const { RefCell::new(Vec::new()) };
}

impl Clone for Stamps {
    fn clone(&self) -> Self {
        let spare = SPARE.with_borrow_mut(Vec::pop);
        let mut copy = spare.unwrap_or_else(|| Vec::with_capacity(self.0.len().next_power_of_two()));
        copy.extend_from_slice(&self.0);
        Self(copy)
    }
}

impl Drop for Stamps {
    fn drop(&mut self) {
        if self.0.capacity() == 0 {
            return;
        }
        let mut gone = std::mem::take(&mut self.0);
        gone.clear();
        // What is left when the thread of the system ends goes with it.
        let _ = SPARE.try_with(|spare| {
            let mut spare = spare.borrow_mut();
            if spare.len() < SPARES {
                spare.push(gone);
            }
        });
    }
}

impl View {
    pub(super) fn get(&self, location: usize) -> u32 {
        self.0.0.get(location).copied().unwrap_or(0)
    }

    pub(super) fn raise(&mut self, location: usize, stamp: u32) {
        if self.get(location) < stamp {
            let stamps = &mut Rc::make_mut(&mut self.0).0;
            if stamps.len() <= location {
                stamps.resize(location + 1, 0);
            }
            stamps[location] = stamp;
        }
    }

    fn is_within(&self, other: &Self) -> bool {
        self.0.0.iter().enumerate().all(|(location, stamp)| *stamp <= other.get(location))
    }

    pub(super) fn join(&mut self, other: &Self) {
        if Rc::ptr_eq(&self.0, &other.0) {
            return;
        }
        // Most joins bring nothing new, and a copy costs more than a look.
        let news = other.0.0.iter().enumerate().position(|(location, stamp)| self.get(location) < *stamp);
        let Some(first) = news else { return };
        if self.0.0.is_empty() {
            self.0 = Rc::clone(&other.0);
            return;
        }
        let (stamps, others) = (&mut Rc::make_mut(&mut self.0).0, &other.0.0);
        if stamps.len() < others.len() {
            stamps.resize(others.len(), 0);
        }
        for (mine, theirs) in stamps[first..].iter_mut().zip(&others[first..]) {
            *mine = (*mine).max(*theirs);
        }
    }
}

/// How many of each thread's steps happened before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Clock([u32; MAX_THREADS]);

impl Clock {
    pub(super) fn of(&self, thread: usize) -> u32 {
        self.0[thread]
    }

    pub(super) fn set(&mut self, thread: usize, step: u32) {
        self.0[thread] = step;
    }

    pub(super) fn join(&mut self, other: &Self) {
        for (mine, theirs) in self.0.iter_mut().zip(&other.0) {
            *mine = (*mine).max(*theirs);
        }
    }

    /// Whether `other` has all of these steps.
    pub(super) fn is_within(&self, other: &Self) -> bool {
        // Without a way out in between: all of them at once.
        self.0.iter().zip(&other.0).fold(true, |within, (mine, theirs)| within & (mine <= theirs))
    }

    /// The first thread of which this has steps that `other` does not know.
    pub(super) fn beyond(&self, other: &Self) -> Option<usize> {
        self.0.iter().zip(&other.0).position(|(mine, theirs)| mine > theirs)
    }
}

/// A view and a clock.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    pub(super) view: View,
    pub(super) clock: Clock,
}

impl Known {
    pub(super) fn join(&mut self, other: &Self) {
        // What a thread gives away carries its clock, and no two things that it gives away carry the same
        // step of it. So who has all of these steps has joined all of these views already.
        if other.clock.is_within(&self.clock) {
            debug_assert!(other.view.is_within(&self.view));
            return;
        }
        self.view.join(&other.view);
        self.clock.join(&other.clock);
    }
}

/// A step of a thread: what has to be known of it to be after it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    pub(super) thread: usize,
    pub(super) step: u32,
}

impl Moment {
    pub(super) fn is_before(&self, clock: &Clock) -> bool {
        clock.of(self.thread) >= self.step
    }
}
