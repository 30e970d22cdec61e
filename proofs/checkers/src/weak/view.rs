//! What a thread knows: how new a store it has to read, and what happened before.

use std::rc::Rc;

/// Threads of an execution, at most; the first is the one that sets up and checks.
pub const MAX_THREADS: usize = 12;

/// The least time stamp that may be read, by location. Shared until it differs.
#[derive(Clone, Debug, Default)]
pub(super) struct View(Rc<Vec<u32>>);

impl View {
    pub(super) fn get(&self, location: usize) -> u32 {
        self.0.get(location).copied().unwrap_or(0)
    }

    pub(super) fn raise(&mut self, location: usize, stamp: u32) {
        if self.get(location) < stamp {
            let stamps = Rc::make_mut(&mut self.0);
            if stamps.len() <= location {
                stamps.resize(location + 1, 0);
            }
            stamps[location] = stamp;
        }
    }

    pub(super) fn join(&mut self, other: &Self) {
        if Rc::ptr_eq(&self.0, &other.0) {
            return;
        }
        // Most joins bring nothing new, and a copy costs more than a look.
        let news = other.0.iter().enumerate().position(|(location, stamp)| self.get(location) < *stamp);
        let Some(first) = news else { return };
        if self.0.is_empty() {
            self.0 = Rc::clone(&other.0);
            return;
        }
        let stamps = Rc::make_mut(&mut self.0);
        if stamps.len() < other.0.len() {
            stamps.resize(other.0.len(), 0);
        }
        for (mine, theirs) in stamps[first..].iter_mut().zip(&other.0[first..]) {
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
