//! Cursors: attaching, reading, moving on, waiting, being evicted, going.

use super::super::state::*;
use super::super::step::Step;
use super::super::term::{Bool, Int, Kind, Var, pick};
use super::{C, I, S, closed_at, end_before, link, linked, move_tail, owes_before, seals_before, v};

/// Not there yet.
pub const OUT: i64 = 0;
/// It has a slot, and asks for an offset.
pub const RESERVED: i64 = 1;
/// It has an offset that stood before the end.
pub const ASKED: i64 = 2;
/// Pinned; before it loads the backlog pointer.
pub const BACKLOG: i64 = 3;
/// Before it looks into the index.
pub const INDEX: i64 = 4;
/// Before it loads the link of the segment at which it is.
pub const WALK: i64 = 5;
/// Before it moves the tail along.
pub const MOVE: i64 = 6;
/// Before it compares the offset with where the next segment starts.
pub const COMPARE: i64 = 7;
/// Before it enters the segment into its slot.
pub const ENTER: i64 = 8;
/// Before it looks at the floor.
pub const FLOOR: i64 = 9;
/// Before it counts on the payload.
pub const TAKE: i64 = 10;
/// Before it takes its slot back, to look again.
pub const WITHDRAW: i64 = 11;
/// Attached, and doing nothing.
pub const IDLE: i64 = 12;
/// Looking how far its last segment is filled.
pub const SCAN: i64 = 13;
/// Before it pins, to follow the link.
pub const PIN: i64 = 14;
/// Pinned; before it looks whether it was evicted.
pub const CHECK: i64 = 15;
/// Before it loads the link.
pub const FOLLOW: i64 = 16;
/// Before it moves the tail along.
pub const FOLLOW_MOVE: i64 = 17;
/// Before it counts on the next segment's payload.
pub const FOLLOW_TAKE: i64 = 18;
/// It has left its first segment in its slot, and still counts on it.
pub const DROP: i64 = 19;
/// It has left its waker.
pub const PARK: i64 = 20;
/// It has marked the cell.
pub const CONFIRM: i64 = 21;
/// It sleeps.
pub const ASLEEP: i64 = 22;
/// Before it links a successor.
pub const LINK: i64 = 23;
/// It lets go of its window, and then of its slot.
pub const GOING: i64 = 24;
/// It is gone.
pub const GONE: i64 = 25;

/// An offset.
const OFFSET: Var = Var { name: "offset", kind: Kind::Amount };

/// The steps of cursors.
#[must_use]
pub fn steps() -> Vec<Step> {
    [attaches(), reads(), moves_on(), waits(), ends()].into_iter().flatten().collect()
}

fn at(name: &'static str, place: i64, more: &[Var]) -> Step {
    let variables: Vec<_> = std::iter::once(C).chain(more.iter().copied()).collect();
    Step::new(name, &variables).when("the program is there", c_at(C).is(place))
}

fn pinned(step: Step) -> Step {
    step.set(c_pinned(C), true).set(c_head(C), head())
}

fn unpinned(step: Step) -> Step {
    step.set(c_pinned(C), false).set_each(&[S], c_blocks(C, S), false)
}

fn attaches() -> Vec<Step> {
    let walk = || c_walk(C);
    vec![
        at("c has a slot", OUT, &[]).set(listed(C), true).set(c_at(C), RESERVED),
        at("c asks", RESERVED, &[OFFSET, S, I])
            .when("the segment is there", v(S).at_least(0) & v(S).at_most(newest()))
            .when("the cells before are full", v(I).at_least(0) & v(I).at_most(count(S)))
            .when("the end was not before it", v(OFFSET).at_most(end_before(S, I)))
            .set(c_asked(C), v(OFFSET))
            .set(c_at(C), ASKED),
        pinned(at("c pins, to attach", ASKED, &[])).set(c_at(C), BACKLOG),
        at("c loads the backlog", BACKLOG, &[]).set(c_walk(C), backlog()).set(c_at(C), INDEX),
        unpinned(at("c asks for too much", INDEX, &[])).set(c_at(C), RESERVED),
        at("c finds a segment", INDEX, &[S])
            .when("it holds the offset, or one before it", base(S).at_most(c_asked(C)))
            .when("it is no older", walk().at_most(v(S)))
            .when("it was found before", v(S).at_most(tail()))
            .set(c_walk(C), v(S))
            .set(c_at(C), WALK),
        at("c sees a next segment", WALK, &[]).when("it is linked", linked(walk())).set(c_at(C), MOVE),
        at("c sees no next segment", WALK, &[]).when("it is not linked", !linked(walk())).set(c_at(C), ENTER),
        move_tail(at("c moves the tail", MOVE, &[]), &walk()).set(c_at(C), COMPARE),
        at("c goes on", COMPARE, &[])
            .when("the next starts no later", base(walk() + 1).at_most(c_asked(C)))
            .set(c_walk(C), walk() + 1)
            .set(c_at(C), WALK),
        at("c stops", COMPARE, &[])
            .when("the next starts later", c_asked(C).below(base(walk() + 1)))
            .set(c_at(C), ENTER),
        at("c enters its slot", ENTER, &[]).set(slot(C), walk()).set(c_at(C), FLOOR),
        at("c passes the floor", FLOOR, &[])
            .when("the floor is not above it", floor().at_most(walk()))
            .set(c_at(C), TAKE),
        at("c is below the floor", FLOOR, &[]).set(c_at(C), WITHDRAW),
        unpinned(at("c withdraws", WITHDRAW, &[])).set(slot(C), NONE).set(c_at(C), RESERVED),
        unpinned(at("c is attached", TAKE, &[]))
            .set(holds(C, walk()), true)
            .set(c_front(C), walk())
            .set(c_segment(C), walk())
            .set(c_seen(C), 0)
            .set(c_end(C), base(walk()))
            .set(c_at(C), IDLE),
    ]
}

fn reads() -> Vec<Step> {
    vec![
        at("c looks for a next segment", IDLE, &[])
            .set(c_next(C), linked(c_segment(C)))
            .set(c_bar(C), NONE)
            .set(c_at(C), SCAN),
        at("c sees a publication", SCAN, &[I])
            .when("the cell is full", full(c_segment(C), I))
            .set(c_seen(C), v(I) + 1)
            .set(c_end(C), end(c_segment(C), I)),
        Step::new("c sees a cell that is not full", &[C, I])
            .when("the cell is not full", !full(c_segment(C), I))
            .set(c_bar(C), v(I)),
        at("c has seen all there is", SCAN, &[]).set(c_at(C), IDLE),
        at("c has seen a whole segment", SCAN, &[])
            .when("it saw that cell not full", c_seen(C).is(c_bar(C)))
            .when("it saw a next segment", c_next(C))
            .set(c_at(C), PIN),
    ]
}

fn moves_on() -> Vec<Step> {
    let next = || c_segment(C) + 1;
    vec![
        pinned(at("c pins, to follow", PIN, &[])).set(c_at(C), CHECK),
        at("c has room for no more", PIN, &[]).set(c_at(C), IDLE),
        at("c is not evicted", CHECK, &[])
            .when("it was not evicted", slot(C).at_least(0))
            .set(c_at(C), FOLLOW),
        unpinned(at("c is evicted", CHECK, &[])).set(c_at(C), IDLE),
        at("c loads the link", FOLLOW, &[]).set(c_at(C), FOLLOW_MOVE),
        move_tail(at("c moves the tail, following", FOLLOW_MOVE, &[]), &c_segment(C))
            .set(c_at(C), FOLLOW_TAKE),
        unpinned(at("c counts on the next segment", FOLLOW_TAKE, &[]))
            .set(holds(C, next()), true)
            .set(c_segment(C), next())
            .set(c_seen(C), 0)
            .set(c_at(C), IDLE),
        at("c leaves its first segment", IDLE, &[])
            .when("it has another", c_front(C).below(c_segment(C)))
            .set(slot(C), pick(slot(C).is(EVICTED), EVICTED, c_front(C) + 1))
            .set(c_at(C), DROP),
        at("c lets go of its first segment", DROP, &[])
            .set(holds(C, c_front(C)), false)
            .set(c_front(C), c_front(C) + 1)
            .set(c_at(C), IDLE),
    ]
}

/// Whether the cursor's last segment is closed where it stands.
#[must_use]
pub fn is_closed() -> Bool {
    closed_at(c_segment(C), c_seen(C))
}

fn waits() -> Vec<Step> {
    let cell = || full(c_segment(C), c_seen(C));
    let sealing: Int = seals_before(c_segment(C), c_seen(C));
    vec![
        at("c leaves its waker", IDLE, &[]).set(woken(C), false).set(waiting(C), true).set(c_at(C), PARK),
        at("c marks the cell", PARK, &[])
            .when("the segment is open", !is_closed())
            .when("the cell is not full", !cell())
            .set(awaited(c_segment(C), c_seen(C)), true)
            .set(c_at(C), CONFIRM),
        at("c finds more", PARK, &[]).set(c_at(C), IDLE),
        at("c finds the end of the segment", PARK, &[])
            .when("the segment is closed", is_closed())
            .set(c_owes(C), owes_before(c_segment(C), c_seen(C)))
            .set(c_at(C), LINK),
        link(at("c links", LINK, &[]), &c_segment(C), &c_end(C), sealing, c_owes(C)).set(c_at(C), IDLE),
        at("c finds it linked", LINK, &[]).set(c_at(C), IDLE),
        at("c sleeps", CONFIRM, &[]).when("it was not evicted", slot(C).is(c_front(C))).set(c_at(C), ASLEEP),
        at("c learns that it is evicted", CONFIRM, &[]).set(c_at(C), IDLE),
        at("c is polled again", ASLEEP, &[]).set(c_at(C), IDLE),
        at("c does not wait any more", IDLE, &[]).set(waiting(C), false),
    ]
}

fn ends() -> Vec<Step> {
    vec![
        Step::new("c's slot is revoked", &[C]).set(slot(C), EVICTED).set(to_be_told(C), true),
        Step::new("c is told", &[C]).set(woken(C), true).set(to_be_told(C), false),
        at("c goes", IDLE, &[]).set(waiting(C), false).set(c_at(C), GOING),
        at("c lets go of a segment", GOING, &[])
            .set(holds(C, c_front(C)), false)
            .set(c_front(C), c_front(C) + 1),
        at("c is gone", GOING, &[])
            .when("it has none", c_segment(C).below(c_front(C)))
            .set(slot(C), NONE)
            .set(c_at(C), GONE),
    ]
}
