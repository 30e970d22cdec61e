//! Which of many things is due.
//!
//! Things are numbered, and a [timing wheel](super::wheel) sorts their numbers: its essay says why adding,
//! moving and removing are O(1) amortised and finding something due is exact.
//!
//! # Memory
//!
//! Things are kept in pages of [`PAGE_THINGS`], by their number. A number is given out again after its thing
//! was removed, the latest first, and a page is given back when nothing is left in it. Until the index is
//! empty, what is left of a number that was once in use is 4 bytes and its share of the pages' array.

use super::wheel::{Link, Links, THINGS_MAX, Wheel};

/// The most things that an index holds. One more is not kept: it is never due.
pub const INDEX_MAX_THINGS: usize = THINGS_MAX as usize;

/// A place in a [`DeadlineIndex`]: stays the same until it is removed, and is given out again then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(u32);

/// Things of type `T` by a deadline: a shard's hashes, by the first moment at which one of their fields may
/// be due.
#[derive(Clone, Debug)]
pub struct DeadlineIndex<T> {
    places: Places<T>,
    free: Vec<u32>,
    wheel: Wheel,
}

const PAGE_THINGS: usize = 16;

type Place<T> = (Link, Option<T>);

#[derive(Clone, Debug)]
struct Page<T> {
    things: u32,
    places: [Place<T>; PAGE_THINGS],
}

#[derive(Clone, Debug)]
struct Places<T> {
    pages: Vec<Option<Box<Page<T>>>>,
    /// Every lower number has been given out.
    numbers: usize,
}

impl<T> Places<T> {
    fn at(number: u32) -> (usize, usize) {
        (number as usize / PAGE_THINGS, number as usize % PAGE_THINGS)
    }

    fn get(&self, number: u32) -> Option<&Place<T>> {
        let (page, at) = Self::at(number);
        Some(&self.pages.get(page)?.as_ref()?.places[at])
    }

    fn has(&self, slot: Slot) -> bool {
        self.get(slot.0).is_some_and(|(link, _)| link.is_linked())
    }

    /// Puts a thing where none is.
    fn put(&mut self, number: u32, thing: T) {
        let (page, at) = Self::at(number);
        if self.pages.len() <= page {
            self.pages.resize_with(page + 1, || None);
        }
        let page = self.pages[page].get_or_insert_with(|| {
            Box::new(Page { things: 0, places: std::array::from_fn(|_| (Link::UNLINKED, None)) })
        });
        page.things += 1;
        page.places[at] = (Link::UNLINKED, Some(thing));
    }

    /// Takes out a thing that is in no list any more.
    fn take(&mut self, number: u32) -> Option<T> {
        let (at, in_page) = Self::at(number);
        let page = self.pages.get_mut(at)?.as_mut()?;
        let thing = page.places[in_page].1.take()?;
        page.things -= 1;
        if page.things == 0 {
            self.pages[at] = None;
        }
        Some(thing)
    }
}

impl<T> Links for Places<T> {
    fn link(&self, thing: u32) -> &Link {
        let (page, at) = Self::at(thing);
        // The wheel asks only for what is there, and its page is too.
        &self.pages[page].as_ref().expect("a page with things").places[at].0
    }

    fn link_mut(&mut self, thing: u32) -> &mut Link {
        let (page, at) = Self::at(thing);
        // As above.
        &mut self.pages[page].as_mut().expect("a page with things").places[at].0
    }
}

impl<T> Default for DeadlineIndex<T> {
    fn default() -> Self {
        let places = Places { pages: Vec::new(), numbers: 0 };
        DeadlineIndex { places, free: Vec::new(), wheel: Wheel::default() }
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

    /// Adds a thing; O(1) amortised. Beyond [`INDEX_MAX_THINGS`] it is dropped, and the slot names nothing.
    pub fn insert(&mut self, deadline_ms: u64, thing: T) -> Slot {
        let number = match self.free.pop() {
            Some(number) => number,
            None if self.places.numbers < INDEX_MAX_THINGS => {
                self.places.numbers += 1;
                (self.places.numbers - 1) as u32
            }
            None => return Slot(THINGS_MAX),
        };
        self.places.put(number, thing);
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
        let thing = self.places.take(slot.0);
        if self.wheel.len() == 0 {
            *self = DeadlineIndex::default();
        } else {
            self.free.push(slot.0);
        }
        thing
    }

    /// Something that is due: its deadline is before `now_ms`. Does at most `steps` steps of sorting to find
    /// it, counts `steps` down, and returns nothing with none left if that was not enough. Steps that are
    /// left mean that nothing is due.
    pub fn first_due(&mut self, now_ms: u64, steps: &mut usize) -> Option<(Slot, &T)> {
        let number = self.wheel.first_due(&mut self.places, now_ms, steps)?;
        let thing = self.places.get(number)?.1.as_ref()?;
        Some((Slot(number), thing))
    }

    /// Nothing is due at or before this moment; `None` if there is nothing. O(1).
    ///
    /// It may be earlier than the earliest deadline; then [`first_due`](Self::first_due) at a later moment
    /// moves it on.
    pub fn earliest_ms(&self) -> Option<u64> {
        self.wheel.earliest_ms()
    }
}
