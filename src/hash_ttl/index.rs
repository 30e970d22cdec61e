//! Which of many things is due.

use std::collections::BTreeSet;

/// A place in a [`DeadlineIndex`]: stays the same until it is removed, and is given out again then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(u32);

/// Things of type `T` by a deadline: a shard's hashes, by the first moment at which one of their fields may be due.
#[derive(Clone, Debug)]
pub struct DeadlineIndex<T> {
    things: Vec<Option<(u64, T)>>,
    free: Vec<u32>,
    order: BTreeSet<(u64, u32)>,
}

impl<T> Default for DeadlineIndex<T> {
    fn default() -> Self {
        DeadlineIndex { things: Vec::new(), free: Vec::new(), order: BTreeSet::new() }
    }
}

impl<T> DeadlineIndex<T> {
    /// About how much memory one thing takes.
    pub const THING_BYTES: usize = size_of::<Option<(u64, T)>>() + 24;

    /// An empty index.
    pub fn new() -> Self {
        DeadlineIndex::default()
    }

    /// How many things there are.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// Adds a thing; O(1) amortised.
    pub fn insert(&mut self, deadline_ms: u64, thing: T) -> Slot {
        let number = match self.free.pop() {
            Some(number) => number,
            None => {
                self.things.push(None);
                (self.things.len() - 1) as u32
            }
        };
        self.things[number as usize] = Some((deadline_ms, thing));
        self.order.insert((deadline_ms, number));
        Slot(number)
    }

    /// Moves the thing in `slot`, behind those with the same deadline; O(1) amortised.
    pub fn set(&mut self, slot: Slot, deadline_ms: u64) {
        if let Some(Some((old_ms, _))) = self.things.get_mut(slot.0 as usize) {
            self.order.remove(&(*old_ms, slot.0));
            *old_ms = deadline_ms;
            self.order.insert((deadline_ms, slot.0));
        }
    }

    /// Removes the thing in `slot`; O(1) amortised.
    pub fn remove(&mut self, slot: Slot) -> Option<T> {
        let (deadline_ms, thing) = self.things.get_mut(slot.0 as usize)?.take()?;
        self.order.remove(&(deadline_ms, slot.0));
        self.free.push(slot.0);
        Some(thing)
    }

    /// Something that is due: its deadline is before `now_ms`. Does at most `steps` steps of sorting to find it, counts `steps`
    /// down, and returns nothing with none left if that was not enough.
    pub fn first_due(&mut self, now_ms: u64, steps: &mut usize) -> Option<(Slot, &T)> {
        let &(deadline_ms, number) = self.order.first()?;
        if now_ms <= deadline_ms || *steps == 0 {
            return None;
        }
        *steps -= 1;
        let (_, thing) = self.things[number as usize].as_ref()?;
        Some((Slot(number), thing))
    }

    /// Nothing is due at or before this moment; `None` if there is nothing.
    pub fn earliest_ms(&self) -> Option<u64> {
        self.order.first().map(|(deadline_ms, _)| *deadline_ms)
    }
}
