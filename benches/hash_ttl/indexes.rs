//! The index of deadlines and what a user would pick instead, behind one face.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, VecDeque};
use std::fmt::Debug;
use std::hash::Hash;
use std::rc::Rc;
use std::time::Duration;

use hierarchical_hash_wheel_timer::wheels::Skip;
use hierarchical_hash_wheel_timer::wheels::cancellable::{CancellableTimerEntry, QuadWheelWithOverflow};
use replcore::hash_ttl::{DeadlineIndex, Slot};

/// Things numbered from 0 on, by deadline: the bare index.
pub trait Things {
    const NAME: &'static str;
    fn new(now_ms: u64) -> Self;
    /// Adds the thing of the next number.
    fn push(&mut self, deadline_ms: u64);
    fn set(&mut self, thing: u32, deadline_ms: u64);
    fn remove(&mut self, thing: u32);
    /// Takes out what has a deadline before `now_ms`.
    fn reclaim(&mut self, now_ms: u64, reclaimed: &mut Vec<u32>);
}

/// The product, with the place of every thing, which a hash keeps in the field.
pub struct Product {
    index: DeadlineIndex<u32>,
    slots: Vec<Slot>,
}

impl Things for Product {
    const NAME: &'static str = "replcore";

    fn new(_: u64) -> Self {
        Product { index: DeadlineIndex::new(), slots: Vec::new() }
    }

    fn push(&mut self, deadline_ms: u64) {
        self.slots.push(self.index.insert(deadline_ms, self.slots.len() as u32));
    }

    fn set(&mut self, thing: u32, deadline_ms: u64) {
        self.index.set(self.slots[thing as usize], deadline_ms);
    }

    fn remove(&mut self, thing: u32) {
        self.index.remove(self.slots[thing as usize]);
    }

    fn reclaim(&mut self, now_ms: u64, reclaimed: &mut Vec<u32>) {
        let mut steps = usize::MAX;
        while let Some((slot, thing)) = self.index.first_due(now_ms, &mut steps) {
            reclaimed.push(*thing);
            self.index.remove(slot);
        }
    }
}

/// A peer's index of keys by deadline. It may give out what is no longer there: who holds it knows each key's
/// deadline.
pub trait Order<K> {
    const NAME: &'static str;
    fn new(now_ms: u64) -> Self;
    fn insert(&mut self, key: K, deadline_ms: u64);
    fn remove(&mut self, key: &K, deadline_ms: u64);
    /// Takes out one with a deadline before `now_ms`.
    fn pop_due(&mut self, now_ms: u64) -> Option<(u64, K)>;
    /// Drops what is no longer there, when that is much.
    fn tidy(&mut self, _deadline_ms: impl Fn(&K) -> Option<u64>) {}
}

/// An ordered set of the standard library: `BTreeMap<(deadline, key), ()>`.
pub struct Tree<K>(BTreeSet<(u64, K)>);

impl<K: Clone + Ord> Order<K> for Tree<K> {
    const NAME: &'static str = "BTreeSet";

    fn new(_: u64) -> Self {
        Tree(BTreeSet::new())
    }

    fn insert(&mut self, key: K, deadline_ms: u64) {
        self.0.insert((deadline_ms, key));
    }

    fn remove(&mut self, key: &K, deadline_ms: u64) {
        self.0.remove(&(deadline_ms, key.clone()));
    }

    fn pop_due(&mut self, now_ms: u64) -> Option<(u64, K)> {
        (self.0.first()?.0 < now_ms).then(|| self.0.pop_first())?
    }
}

/// A binary heap of the standard library. What was removed or moved stays in it until it is due, or until it
/// is more than half of all.
pub struct Heap<K> {
    heap: BinaryHeap<Reverse<(u64, K)>>,
    stale: usize,
}

impl<K> Heap<K> {
    const MIN_STALE: usize = 64;
}

impl<K: Ord> Order<K> for Heap<K> {
    const NAME: &'static str = "BinaryHeap, lazy";

    fn new(_: u64) -> Self {
        Heap { heap: BinaryHeap::new(), stale: 0 }
    }

    fn insert(&mut self, key: K, deadline_ms: u64) {
        self.heap.push(Reverse((deadline_ms, key)));
    }

    fn remove(&mut self, _: &K, _: u64) {
        self.stale += 1;
    }

    fn pop_due(&mut self, now_ms: u64) -> Option<(u64, K)> {
        (self.heap.peek()?.0.0 < now_ms).then(|| self.heap.pop())?.map(|Reverse(due)| due)
    }

    fn tidy(&mut self, deadline_ms: impl Fn(&K) -> Option<u64>) {
        if self.stale > Self::MIN_STALE.max(self.heap.len() / 2) {
            self.heap.retain(|Reverse((due_ms, key))| deadline_ms(key) == Some(*due_ms));
            self.stale = 0;
        }
    }
}

#[derive(Debug)]
struct Entry<K>(K, u64);

impl<K: Debug + Hash + Clone + Eq> CancellableTimerEntry for Entry<K> {
    type Id = K;

    fn id(&self) -> &K {
        &self.0
    }
}

/// The hierarchical wheel of four levels of 256 slots, a millisecond a tick, of the crate
/// `hierarchical_hash_wheel_timer`. It has a hash table of its own for cancelling, and what is cancelled
/// stays in its slot until the wheel gets there.
pub struct Wheel<K: Debug + Hash + Clone + Eq> {
    wheel: QuadWheelWithOverflow<Entry<K>>,
    now_ms: u64,
    fired: VecDeque<Rc<Entry<K>>>,
}

impl<K: Debug + Hash + Clone + Eq> Order<K> for Wheel<K> {
    const NAME: &'static str = "hash wheel crate";

    fn new(now_ms: u64) -> Self {
        Wheel { wheel: QuadWheelWithOverflow::new(), now_ms, fired: VecDeque::new() }
    }

    fn insert(&mut self, key: K, deadline_ms: u64) {
        // Dead is who has a deadline before now.
        let delay = Duration::from_millis((deadline_ms + 1).saturating_sub(self.now_ms));
        let entry = Rc::new(Entry(key, deadline_ms));
        let late = self.wheel.insert_ref_with_delay(Rc::clone(&entry), delay).is_err();
        if late {
            self.fired.push_back(entry);
        }
    }

    fn remove(&mut self, key: &K, _: u64) {
        // It is there, or has fired.
        let _ = self.wheel.cancel(key);
    }

    fn pop_due(&mut self, now_ms: u64) -> Option<(u64, K)> {
        while self.fired.is_empty() && self.now_ms < now_ms {
            match self.wheel.can_skip() {
                Skip::Empty => self.now_ms = now_ms,
                Skip::Millis(ms) => {
                    let ms = (now_ms - self.now_ms).min(ms.into());
                    self.wheel.skip(ms as u32);
                    self.now_ms += ms;
                }
                Skip::None => {
                    self.fired.extend(self.wheel.tick());
                    self.now_ms += 1;
                }
            }
        }
        self.fired.pop_front().map(|entry| (entry.1, entry.0.clone()))
    }
}

/// A peer's order, and every thing's deadline: as much as the product's index knows.
pub struct Numbered<I> {
    order: I,
    deadlines_ms: Vec<Option<u64>>,
}

impl<I: Order<u32>> Numbered<I> {
    fn tidy(&mut self) {
        self.order.tidy(|thing| self.deadlines_ms[*thing as usize]);
    }
}

impl<I: Order<u32>> Things for Numbered<I> {
    const NAME: &'static str = I::NAME;

    fn new(now_ms: u64) -> Self {
        Numbered { order: I::new(now_ms), deadlines_ms: Vec::new() }
    }

    fn push(&mut self, deadline_ms: u64) {
        self.order.insert(self.deadlines_ms.len() as u32, deadline_ms);
        self.deadlines_ms.push(Some(deadline_ms));
    }

    fn set(&mut self, thing: u32, deadline_ms: u64) {
        if let Some(old_ms) = self.deadlines_ms[thing as usize].replace(deadline_ms) {
            self.order.remove(&thing, old_ms);
        }
        self.order.insert(thing, deadline_ms);
        self.tidy();
    }

    fn remove(&mut self, thing: u32) {
        if let Some(old_ms) = self.deadlines_ms[thing as usize].take() {
            self.order.remove(&thing, old_ms);
            self.tidy();
        }
    }

    fn reclaim(&mut self, now_ms: u64, reclaimed: &mut Vec<u32>) {
        while let Some((deadline_ms, thing)) = self.order.pop_due(now_ms) {
            let stored = &mut self.deadlines_ms[thing as usize];
            if *stored == Some(deadline_ms) {
                *stored = None;
                reclaimed.push(thing);
            }
        }
    }
}
