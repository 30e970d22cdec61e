//! A timing wheel: which of many deadlines have passed.
//!
//! # Promise
//!
//! * *Exact.* A deadline is due if it is before the `now_ms` that the caller gives, to the millisecond. No
//!   due thing is hidden by the width of a bucket.
//! * *Incremental.* A call does at most the steps it is given, whatever the jump of the clock.
//! * *Any clock.* Time may stand, jump ahead or jump back, and deadlines may be any `u64`.
//!
//! # Structure
//!
//! Things are numbers; their deadlines and links live with the owner ([`Links`]). Everything is in one of
//! these doubly linked lists:
//!
//! * The *wheel* is seen from a moment, the *base*. Deadlines are written in digits of 6 bits. A deadline at
//!   or after the base is at the *level* of the highest digit in which it differs from the base (0 if it does
//!   not), in the *slot* that this digit names. So there are 11 levels of 64 slots, at level 0 a slot is one
//!   millisecond, and a list at level `l` is wholly before every list of a higher level and of a higher slot.
//! * The *due* list: deadlines that were before the base when they came there.
//! * The *pending* list: anything. What is in it waits to be sorted.
//!
//! The first link of the first and the last of the last thing name the list, by a number that no thing has.
//! So a thing is unlinked without knowing where it is.
//!
//! # Moving the base
//!
//! Let the base go from `b` ahead to `n`, and let `M` be the highest digit in which they differ;
//! `b[M] < n[M]`.
//!
//! * A deadline below level `M` has `b`'s digits from `M` on. So it is before `n`: its list is appended to
//!   the due list.
//! * At level `M`, a slot before `n[M]` is before `n`: due. A slot after `n[M]` differs from `n` first in
//!   digit `M`: it stays. The slot `n[M]` may hold both: it is appended to the pending list; at level 0 it
//!   holds `n` alone and stays.
//! * Above `M`, `b` and `n` have the same digits, so every list stays.
//!
//! Back, from `b` to `n`, `b[M] > n[M]`: below level `M` all deadlines have `b`'s digits from `M` on, so seen
//! from `n` they differ first in digit `M`, and all belong into the slot `b[M]` of level `M`. Slots of level
//! `M` are after `b[M]` and stay, as does what is above. What was due may not be due any more: the due list
//! is appended to the pending one.
//!
//! Lists are appended whole, in O(1). No thing is touched.
//!
//! # Cost
//!
//! *Linking and unlinking* touch two neighbours: O(1). *Moving the base* looks at 11 levels and appends
//! occupied lists; each was made occupied by a thing that was linked since, or is one of the 64 × 11: O(1)
//! amortised. *Sorting a pending thing* is one step. While the clock does not jump back, a thing from level
//! `M` is seen from a base with the same digit `M`, so it goes to a lower level or is due: it is sorted at
//! most 11 times in its life, whatever the number of things, and two or three times with deadlines of minutes
//! to days. So linking, moving and unlinking are O(1) amortised, and finding `k` due things is O(k) plus the
//! sorting that was paid for when they were linked. Each jump back by more than what has been reclaimed can
//! add as many steps as there are things that had become due and are still linked, or were near the base.
//!
//! Memory: 32 bytes per level in use and 8 per slot in use, beside the links.
//!
//! # The base before a clock is known
//!
//! Linking tells no time. Until the clock has been past the base once, the base is the earliest deadline, and
//! an earlier one moves it back. Otherwise the first look would have to sort everything. After that, a
//! deadline before the base is taken for due, and a clock that is behind the base and finds something in the
//! due list moves the base back to itself.
//!
//! # The lower bound
//!
//! [`Wheel::earliest_ms`] is the greater of two bounds. One is the earliest deadline linked since the last
//! look. The other is the beginning of the first occupied slot, or for the due and pending lists the
//! beginning of the earliest slot that came there. A look raises the first to the second, and sorting the
//! pending list gets rid of its bound; so who looks again whenever the bound has passed either finds
//! something, or sees the bound grow by a level's slot, at most 11 times until it is exact.

/// How the things of a wheel are linked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Link {
    /// The thing's deadline.
    pub deadline_ms: u64,
    prev: u32,
    next: u32,
}

impl Link {
    /// Of something that is in no wheel.
    pub const UNLINKED: Link = Link { deadline_ms: 0, prev: NOWHERE, next: NOWHERE };

    pub fn is_linked(&self) -> bool {
        self.next != NOWHERE
    }
}

/// Where the links of a wheel's things are. Only what is or is about to be linked is asked for.
pub(super) trait Links {
    fn link(&self, thing: u32) -> &Link;
    fn link_mut(&mut self, thing: u32) -> &mut Link;
}

const DIGIT_BITS: u32 = 6;
const SLOTS: u32 = 1 << DIGIT_BITS;
const LEVELS: u32 = u64::BITS.div_ceil(DIGIT_BITS);

/// Things have lower numbers than this.
pub(super) const THINGS_MAX: u32 = u32::MAX - 1024;

/// The names of lists: first those of the levels.
const DUE: u32 = THINGS_MAX + LEVELS * SLOTS;
const PENDING: u32 = DUE + 1;
const NOWHERE: u32 = u32::MAX;
const _: () = assert!(PENDING < NOWHERE);

/// The first and the last of a list; its own name twice if it is empty.
#[derive(Clone, Copy, Debug)]
struct Ends {
    first: u32,
    last: u32,
}

impl Ends {
    fn empty(list: u32) -> Ends {
        Ends { first: list, last: list }
    }
}

/// The occupied slots of a level, and their lists in the same order.
#[derive(Clone, Debug, Default)]
struct Level {
    occupied: u64,
    lists: Vec<Ends>,
}

impl Level {
    /// Where the list of a slot is, or has to be.
    fn rank(&self, slot: u32) -> usize {
        (self.occupied & ((1 << slot) - 1)).count_ones() as usize
    }

    fn is_occupied(&self, slot: u32) -> bool {
        self.occupied >> slot & 1 == 1
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Wheel {
    base_ms: u64,
    /// A clock has been past the base.
    has_seen_clock: bool,
    len: usize,
    /// No deadline is earlier.
    floor_ms: u64,
    /// No deadline in the due and pending lists is earlier.
    loose_floor_ms: u64,
    due: Ends,
    pending: Ends,
    levels: Vec<Level>,
}

impl Default for Wheel {
    fn default() -> Self {
        Wheel {
            base_ms: u64::MAX,
            has_seen_clock: false,
            len: 0,
            floor_ms: u64::MAX,
            loose_floor_ms: u64::MAX,
            due: Ends::empty(DUE),
            pending: Ends::empty(PENDING),
            levels: Vec::new(),
        }
    }
}

fn digit(ms: u64, level: u32) -> u32 {
    (ms >> (level * DIGIT_BITS)) as u32 & (SLOTS - 1)
}

/// The highest digit in which two moments differ.
fn level_of(a_ms: u64, b_ms: u64) -> u32 {
    // Both at least: what differs in nothing is at level 0.
    ((a_ms ^ b_ms) | 1).ilog2() / DIGIT_BITS
}

fn list_of(level: u32, slot: u32) -> u32 {
    THINGS_MAX + level * SLOTS + slot
}

/// The set bits.
fn slots(mut occupied: u64) -> impl Iterator<Item = u32> {
    std::iter::from_fn(move || {
        let slot = (occupied != 0).then(|| occupied.trailing_zeros())?;
        occupied &= occupied - 1;
        Some(slot)
    })
}

impl Wheel {
    /// How many things are linked.
    pub fn len(&self) -> usize {
        self.len
    }

    /// What is allocated for the lists.
    pub fn heap_bytes(&self) -> usize {
        let lists: usize = self.levels.iter().map(|level| level.lists.capacity()).sum();
        self.levels.capacity() * size_of::<Level>() + lists * size_of::<Ends>()
    }

    /// Links a thing that is not linked.
    pub fn insert(&mut self, links: &mut impl Links, thing: u32, deadline_ms: u64) {
        self.len += 1;
        links.link_mut(thing).deadline_ms = deadline_ms;
        self.place(links, thing, deadline_ms);
    }

    /// Gives a thing that is linked another deadline. If it is due and remains so, it goes behind the others
    /// that are.
    pub fn set(&mut self, links: &mut impl Links, thing: u32, deadline_ms: u64) {
        let link = links.link_mut(thing);
        if link.deadline_ms == deadline_ms && deadline_ms >= self.base_ms {
            return;
        }
        link.deadline_ms = deadline_ms;
        self.unlink(links, thing);
        self.place(links, thing, deadline_ms);
    }

    /// Unlinks a thing that is linked.
    pub fn remove(&mut self, links: &mut impl Links, thing: u32) {
        self.unlink(links, thing);
        self.len -= 1;
        if self.len == 0 {
            *self = Wheel::default();
        }
    }

    /// The thing `from`, which is linked, is called `to` from now on.
    pub fn rename(&mut self, links: &mut impl Links, from: u32, to: u32) {
        let link = std::mem::replace(links.link_mut(from), Link::UNLINKED);
        *links.link_mut(to) = link;
        self.set_next(links, link.prev, to);
        self.set_prev(links, link.next, to);
    }

    /// Something whose deadline is before `now_ms`. One step if there is something, and one for each thing
    /// that had to be sorted to find it; nothing, with no step left, if there were too few.
    pub fn first_due(&mut self, links: &mut impl Links, now_ms: u64, steps: &mut usize) -> Option<u32> {
        if self.len == 0 || *steps == 0 {
            return None;
        }
        if now_ms > self.base_ms {
            self.has_seen_clock = true;
            self.move_base(links, now_ms);
        } else if self.due.first != DUE || self.pending.first != PENDING {
            self.move_base(links, now_ms);
        }
        // If the base is still later than now, nothing is before the base.
        while *steps > 0 {
            *steps -= 1;
            if self.due.first != DUE {
                return Some(self.due.first);
            }
            let thing = self.pending.first;
            if thing == PENDING {
                *steps += 1;
                break;
            }
            let deadline_ms = links.link(thing).deadline_ms;
            self.unlink(links, thing);
            self.place(links, thing, deadline_ms);
        }
        self.floor_ms = self.floor_ms.max(self.sorted_floor_ms());
        None
    }

    /// No deadline is earlier; `None` if there is none.
    pub fn earliest_ms(&self) -> Option<u64> {
        (self.len > 0).then(|| self.floor_ms.max(self.sorted_floor_ms()))
    }

    /// The beginning of the earliest list.
    fn sorted_floor_ms(&self) -> u64 {
        let levels = (0..).zip(&self.levels);
        let first = levels
            .filter(|(_, level)| level.occupied != 0)
            .map(|(number, level)| self.slot_begin_ms(number, level.occupied.trailing_zeros()));
        first.take(1).fold(self.loose_floor_ms, u64::min)
    }

    /// No deadline in a slot is earlier.
    fn slot_begin_ms(&self, level: u32, slot: u32) -> u64 {
        let low_bits = level * DIGIT_BITS;
        // At the highest level no digit is above.
        let above = self.base_ms.checked_shr(low_bits + DIGIT_BITS).unwrap_or(0);
        let above = above.checked_shl(low_bits + DIGIT_BITS).unwrap_or(0);
        (above | u64::from(slot) << low_bits).max(self.base_ms)
    }

    /// Puts a thing that is in no list into the right one.
    fn place(&mut self, links: &mut impl Links, thing: u32, deadline_ms: u64) {
        self.floor_ms = self.floor_ms.min(deadline_ms);
        if deadline_ms < self.base_ms && !self.has_seen_clock {
            self.move_base(links, deadline_ms);
        }
        let list = if deadline_ms < self.base_ms {
            self.loose_floor_ms = self.loose_floor_ms.min(deadline_ms);
            DUE
        } else {
            let level = level_of(deadline_ms, self.base_ms);
            self.open(level, digit(deadline_ms, level))
        };
        let last = self.ends(list).last;
        let link = links.link_mut(thing);
        (link.prev, link.next) = (last, list);
        self.set_next(links, last, thing);
        self.ends(list).last = thing;
    }

    fn unlink(&mut self, links: &mut impl Links, thing: u32) {
        let link = links.link_mut(thing);
        let (prev, next) = (link.prev, link.next);
        (link.prev, link.next) = (NOWHERE, NOWHERE);
        self.set_next(links, prev, next);
        self.set_prev(links, next, prev);
        if prev == next {
            // Only a list is on both sides, and it is empty now.
            self.close(prev);
        }
    }

    /// `at` is a thing or a list.
    fn set_next(&mut self, links: &mut impl Links, at: u32, next: u32) {
        if at < THINGS_MAX {
            links.link_mut(at).next = next;
        } else {
            self.ends(at).first = next;
        }
    }

    /// `at` is a thing or a list.
    fn set_prev(&mut self, links: &mut impl Links, at: u32, prev: u32) {
        if at < THINGS_MAX {
            links.link_mut(at).prev = prev;
        } else {
            self.ends(at).last = prev;
        }
    }

    /// The ends of a list that is open.
    fn ends(&mut self, list: u32) -> &mut Ends {
        match list {
            DUE => &mut self.due,
            PENDING => &mut self.pending,
            _ => {
                let (level, slot) = ((list - THINGS_MAX) / SLOTS, (list - THINGS_MAX) % SLOTS);
                let level = &mut self.levels[level as usize];
                let rank = level.rank(slot);
                &mut level.lists[rank]
            }
        }
    }

    /// Makes sure that a slot has a list.
    fn open(&mut self, level: u32, slot: u32) -> u32 {
        let list = list_of(level, slot);
        if self.levels.len() <= level as usize {
            self.levels.resize_with(level as usize + 1, Level::default);
        }
        let level = &mut self.levels[level as usize];
        if !level.is_occupied(slot) {
            level.lists.insert(level.rank(slot), Ends::empty(list));
            level.occupied |= 1 << slot;
        }
        list
    }

    /// A list is empty.
    fn close(&mut self, list: u32) {
        if list < DUE {
            let (level, slot) = ((list - THINGS_MAX) / SLOTS, (list - THINGS_MAX) % SLOTS);
            let level = &mut self.levels[level as usize];
            level.lists.remove(level.rank(slot));
            level.occupied &= !(1 << slot);
        } else if self.due.first == DUE && self.pending.first == PENDING {
            self.loose_floor_ms = u64::MAX;
        }
    }

    /// Appends everything in a list that is not empty to another that is open, and closes it.
    fn append(&mut self, links: &mut impl Links, from: u32, to: u32) {
        let Ends { first, last } = *self.ends(from);
        let before = self.ends(to).last;
        self.set_next(links, before, first);
        self.set_prev(links, first, before);
        self.set_next(links, last, to);
        self.ends(to).last = last;
        *self.ends(from) = Ends::empty(from);
        self.close(from);
    }

    /// Appends what is in a slot to the due or the pending list.
    fn loosen(&mut self, links: &mut impl Links, level: u32, slot: u32, to: u32) {
        self.loose_floor_ms = self.loose_floor_ms.min(self.slot_begin_ms(level, slot));
        self.append(links, list_of(level, slot), to);
    }

    fn occupied(&self, level: u32) -> u64 {
        self.levels.get(level as usize).map_or(0, |level| level.occupied)
    }

    /// See the module.
    fn move_base(&mut self, links: &mut impl Links, to_ms: u64) {
        let from_ms = self.base_ms;
        let top = level_of(from_ms, to_ms);
        if from_ms < to_ms {
            for level in 0..top {
                for slot in slots(self.occupied(level)) {
                    self.loosen(links, level, slot, DUE);
                }
            }
            let now = digit(to_ms, top);
            let before = self.occupied(top) & ((1 << now) - 1);
            for slot in slots(before) {
                self.loosen(links, top, slot, DUE);
            }
            if top > 0 && self.occupied(top) >> now & 1 == 1 {
                self.loosen(links, top, now, PENDING);
            }
        } else if to_ms < from_ms {
            for level in 0..top {
                for slot in slots(self.occupied(level)) {
                    let to = self.open(top, digit(from_ms, top));
                    self.append(links, list_of(level, slot), to);
                }
            }
            if self.due.first != DUE {
                self.append(links, DUE, PENDING);
            }
        }
        self.base_ms = to_ms;
    }
}
