//! Which of many things is due.
//!
//! Things are numbered, and a [timing wheel](super::wheel) sorts their numbers: its essay says why adding, moving and removing are O(1)
//! amortised and finding something due is exact. A number is given out again after its thing was removed; the memory of the numbers
//! is given back when nothing is left.

use super::wheel::{Link, Links, THINGS_MAX, Wheel};

/// The most things that an index holds. One more is not kept: it is never due.
pub const INDEX_MAX_THINGS: usize = THINGS_MAX as usize;

/// A place in a [`DeadlineIndex`]: stays the same until it is removed, and is given out again then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(u32);

/// Things of type `T` by a deadline: a shard's hashes, by the first moment at which one of their fields may be due.
#[derive(Clone, Debug)]
pub struct DeadlineIndex<T> {
    places: Places<T>,
    free: Vec<u32>,
    wheel: Wheel,
}

#[derive(Clone, Debug)]
struct Places<T>(Vec<(Link, Option<T>)>);

impl<T> Places<T> {
    fn has(&self, slot: Slot) -> bool {
        self.0.get(slot.0 as usize).is_some_and(|(link, _)| link.is_linked())
    }
}

impl<T> Links for Places<T> {
    fn link(&self, thing: u32) -> &Link {
        &self.0[thing as usize].0
    }

    fn link_mut(&mut self, thing: u32) -> &mut Link {
        &mut self.0[thing as usize].0
    }
}

impl<T> Default for DeadlineIndex<T> {
    fn default() -> Self {
        DeadlineIndex { places: Places(Vec::new()), free: Vec::new(), wheel: Wheel::default() }
    }
}

impl<T> DeadlineIndex<T> {
    /// About how much memory one thing takes.
    pub const THING_BYTES: usize = size_of::<(Link, Option<T>)>() + size_of::<u64>();

    /// An empty index.
    pub fn new() -> Self {
        DeadlineIndex::default()
    }

    /// How many things there are.
    pub fn len(&self) -> usize {
        self.wheel.len()
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds a thing; O(1) amortised.
    pub fn insert(&mut self, deadline_ms: u64, thing: T) -> Slot {
        let place = (Link::UNLINKED, Some(thing));
        let number = match self.free.pop() {
            Some(number) => {
                self.places.0[number as usize] = place;
                number
            }
            None if self.places.0.len() < INDEX_MAX_THINGS => {
                self.places.0.push(place);
                (self.places.0.len() - 1) as u32
            }
            None => return Slot(THINGS_MAX),
        };
        self.wheel.insert(&mut self.places, number, deadline_ms);
        Slot(number)
    }

    /// Moves the thing in `slot`; if it is due and remains so, behind the others that are. O(1) amortised.
    pub fn set(&mut self, slot: Slot, deadline_ms: u64) {
        if self.places.has(slot) {
            self.wheel.set(&mut self.places, slot.0, deadline_ms);
        }
    }

    /// Removes the thing in `slot`; O(1) amortised.
    pub fn remove(&mut self, slot: Slot) -> Option<T> {
        if !self.places.has(slot) {
            return None;
        }
        self.wheel.remove(&mut self.places, slot.0);
        let thing = self.places.0[slot.0 as usize].1.take();
        if self.wheel.len() == 0 {
            *self = DeadlineIndex::default();
        } else {
            self.free.push(slot.0);
        }
        thing
    }

    /// Something that is due: its deadline is before `now_ms`. Does at most `steps` steps of sorting to find it, counts `steps`
    /// down, and returns nothing with none left if that was not enough. Steps that are left mean that nothing is due.
    pub fn first_due(&mut self, now_ms: u64, steps: &mut usize) -> Option<(Slot, &T)> {
        let number = self.wheel.first_due(&mut self.places, now_ms, steps)?;
        let thing = self.places.0[number as usize].1.as_ref()?;
        Some((Slot(number), thing))
    }

    /// Nothing is due at or before this moment; `None` if there is nothing. O(1).
    ///
    /// It may be earlier than the earliest deadline; then [`first_due`](Self::first_due) at a later moment moves it on.
    pub fn earliest_ms(&self) -> Option<u64> {
        self.wheel.earliest_ms()
    }
}
