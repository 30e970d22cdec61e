//! Locations, their messages, and what each thread knows of them: the memory model itself.

use std::collections::VecDeque;
use std::panic::Location as Place;
use std::sync::atomic::Ordering;

pub use super::view::MAX_THREADS;

use super::view::{Clock, Known, Moment, View};

/// Stores of a location that can still be read.
pub const KEPT_MESSAGES: usize = 16;

/// A store.
#[derive(Debug)]
pub(super) struct Message {
    stamp: u32,
    pub(super) value: u64,
    pub(super) thread: usize,
    pub(super) place: &'static Place<'static>,
    releases: Option<Known>,
}

#[derive(Debug)]
struct Location {
    /// Who made it, unless it was there from the start.
    made: Option<Moment>,
    made_at: &'static Place<'static>,
    /// Oldest first, never empty.
    messages: VecDeque<Message>,
}

impl Location {
    /// The message so many stores behind the newest.
    fn message(&self, age: usize) -> &Message {
        &self.messages[self.messages.len() - 1 - age]
    }
}

/// What a thread knows.
#[derive(Debug, Default)]
struct Thread {
    now: Known,
    /// What an acquire fence would add.
    pending: Known,
    /// What its last release fence knew.
    released: Option<Known>,
}

/// The memory of an execution.
#[derive(Debug, Default)]
pub(super) struct Memory {
    threads: Vec<Thread>,
    locations: Vec<Location>,
    /// What `SeqCst` fences exchange views with.
    fenced: View,
    /// Room for the messages of locations to come, from executions before.
    spare: Vec<VecDeque<Message>>,
}

fn acquires(order: Ordering) -> bool {
    matches!(order, Ordering::Acquire | Ordering::AcqRel | Ordering::SeqCst)
}

fn releases(order: Ordering) -> bool {
    matches!(order, Ordering::Release | Ordering::AcqRel | Ordering::SeqCst)
}

impl Memory {
    pub(super) fn new() -> Self {
        let mut memory = Self::default();
        memory.begin();
        memory
    }

    /// The memory of another execution: one thread, and no location.
    pub(super) fn begin(&mut self) {
        self.threads.clear();
        self.fenced = View::default();
        for mut location in self.locations.drain(..) {
            location.messages.clear();
            self.spare.push(location.messages);
        }
        self.threads.push(Thread::default());
        self.step(0);
    }

    /// A thread more, which knows what `parent` knows.
    pub(super) fn fork(&mut self, parent: usize) -> usize {
        let child = self.threads.len();
        assert!(child < MAX_THREADS, "an execution has {MAX_THREADS} threads at most");
        let now = self.threads[parent].now.clone();
        self.threads.push(Thread { now, ..Thread::default() });
        self.step(parent);
        self.step(child);
        child
    }

    /// `thread` is after all that `other` has done.
    pub(super) fn join(&mut self, thread: usize, other: usize) {
        let known = self.threads[other].now.clone();
        self.learn(thread, &known);
    }

    pub(super) fn known(&self, thread: usize) -> &Known {
        &self.threads[thread].now
    }

    pub(super) fn learn(&mut self, thread: usize, known: &Known) {
        self.threads[thread].now.join(known);
    }

    /// What `thread` does from here on is another step.
    pub(super) fn step(&mut self, thread: usize) {
        let clock = &mut self.threads[thread].now.clock;
        clock.set(thread, clock.of(thread) + 1);
    }

    pub(super) fn moment(&self, thread: usize) -> Moment {
        Moment { thread, step: self.threads[thread].now.clock.of(thread) }
    }

    pub(super) fn clock(&self, thread: usize) -> &Clock {
        &self.threads[thread].now.clock
    }

    pub(super) fn make(
        &mut self,
        thread: Option<usize>,
        value: u64,
        place: &'static Place<'static>,
    ) -> usize {
        let made = thread.map(|thread| self.moment(thread));
        let message = Message { stamp: 1, value, thread: thread.unwrap_or(0), place, releases: None };
        let mut messages = self.spare.pop().unwrap_or_default();
        messages.push_back(message);
        self.locations.push(Location { made, made_at: place, messages });
        self.locations.len() - 1
    }

    /// Where the location was made.
    pub(super) fn made_at(&self, location: usize) -> &'static Place<'static> {
        self.locations[location].made_at
    }

    /// Where the location was made, if `thread` is not after that.
    pub(super) fn too_early(&self, thread: usize, location: usize) -> Option<&'static Place<'static>> {
        let location = &self.locations[location];
        let late = location.made.is_none_or(|made| made.is_before(self.clock(thread)));
        (!late).then_some(location.made_at)
    }

    /// How many messages `thread` may read, the newest first.
    pub(super) fn readable(&self, thread: usize, location: usize) -> usize {
        let least = self.threads[thread].now.view.get(location);
        let messages = &self.locations[location].messages;
        messages.iter().rev().take_while(|message| message.stamp >= least).count()
    }

    /// The message so many stores behind the newest.
    pub(super) fn message(&self, location: usize, age: usize) -> &Message {
        self.locations[location].message(age)
    }

    /// Reads a message that `thread` may read.
    pub(super) fn load(&mut self, thread: usize, location: usize, age: usize, order: Ordering) -> u64 {
        let message = self.locations[location].message(age);
        let knowledge = &mut self.threads[thread];
        knowledge.now.view.raise(location, message.stamp);
        if let Some(known) = &message.releases {
            if acquires(order) {
                knowledge.now.join(known);
            } else {
                knowledge.pending.join(known);
            }
        }
        message.value
    }

    /// Appends a store.
    pub(super) fn store(
        &mut self,
        thread: usize,
        location: usize,
        value: u64,
        order: Ordering,
        place: &'static Place<'static>,
    ) {
        self.append(thread, location, value, order, place, None);
    }

    /// Reads the newest message and appends a store that hands on what it released.
    pub(super) fn exchange(
        &mut self,
        thread: usize,
        location: usize,
        value: u64,
        order: Ordering,
        place: &'static Place<'static>,
    ) -> u64 {
        let read = self.load(thread, location, 0, order);
        let handed_on = self.locations[location].message(0).releases.clone();
        self.append(thread, location, value, order, place, handed_on);
        read
    }

    fn append(
        &mut self,
        thread: usize,
        location: usize,
        value: u64,
        order: Ordering,
        place: &'static Place<'static>,
        handed_on: Option<Known>,
    ) {
        let messages = &mut self.locations[location].messages;
        let stamp = messages.back().map_or(1, |newest| newest.stamp + 1);
        let knowledge = &mut self.threads[thread];
        knowledge.now.view.raise(location, stamp);
        let own = if releases(order) { Some(knowledge.now.clone()) } else { knowledge.released.clone() };
        let releases = match (own, handed_on) {
            (Some(mut own), Some(handed_on)) => {
                own.join(&handed_on);
                Some(own)
            }
            (own, handed_on) => own.or(handed_on),
        };
        if messages.len() == KEPT_MESSAGES {
            messages.pop_front();
        }
        messages.push_back(Message { stamp, value, thread, place, releases });
    }

    pub(super) fn fence(&mut self, thread: usize, order: Ordering) {
        let knowledge = &mut self.threads[thread];
        if acquires(order) {
            knowledge.now.join(&knowledge.pending);
        }
        if order == Ordering::SeqCst {
            knowledge.now.view.join(&self.fenced);
            self.fenced = knowledge.now.view.clone();
        }
        if releases(order) {
            knowledge.released = Some(knowledge.now.clone());
        }
    }
}
