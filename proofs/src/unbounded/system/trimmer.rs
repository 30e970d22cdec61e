//! Trimming: the backlog pointer and the floor, a look at every slot, then the head.

use super::super::state::*;
use super::super::step::Step;
use super::super::term::{Var, all, pick};
use super::{C, S, T, T2, W, linked, move_tail, v};

/// Not called.
pub const OUT: i64 = 0;
/// Pinned; before it loads the backlog pointer.
pub const BACKLOG: i64 = 1;
/// Before it raises the floor.
pub const RAISE: i64 = 2;
/// Before it loads the link of the backlog's first segment.
pub const NEXT: i64 = 3;
/// Before it moves the tail along.
pub const MOVE: i64 = 4;
/// Before it loads the tail.
pub const TAIL: i64 = 5;
/// Looking for the last segment.
pub const WALK: i64 = 6;
/// Before it moves the tail along, there.
pub const WALK_MOVE: i64 = 7;
/// Before it moves the backlog pointer.
pub const ADVANCE: i64 = 8;
/// Before it looks at the list of slots.
pub const LIST: i64 = 9;
/// Going through the slots.
pub const VISIT: i64 = 10;
/// Pinned; before it loads the head.
pub const HEAD: i64 = 11;
/// Before it loads the head's link.
pub const HEAD_NEXT: i64 = 12;
/// Before it moves the tail along, there.
pub const HEAD_MOVE: i64 = 13;
/// Before it moves the head.
pub const UNLINK: i64 = 14;
/// Before it retires what the head has left.
pub const RETIRE: i64 = 15;
/// Before it unpins, and pins again.
pub const UNPIN: i64 = 16;

/// The steps of trimming.
#[must_use]
pub fn steps() -> Vec<Step> {
    [keeps_the_backlog(), looks_at_slots(), moves_the_head()].into_iter().flatten().collect()
}

fn at(name: &'static str, place: i64, more: &[Var]) -> Step {
    let variables: Vec<_> = std::iter::once(T).chain(more.iter().copied()).collect();
    Step::new(name, &variables).when("the program is there", t_at(T).is(place))
}

fn pinned(step: Step) -> Step {
    step.set(t_pinned(T), true).set(t_head(T), head())
}

fn unpinned(step: Step) -> Step {
    step.set(t_pinned(T), false).set_each(&[S], t_blocks(T, S), false)
}

fn keeps_the_backlog() -> Vec<Step> {
    let first = || t_backlog(T);
    let kept = base(t_walk(T)) - base(first() + 1);
    vec![
        pinned(at("t pins", OUT, &[])).set(t_at(T), BACKLOG),
        at("t loads the backlog", BACKLOG, &[]).set(t_backlog(T), backlog()).set(t_at(T), RAISE),
        at("t raises the floor", RAISE, &[])
            .set(floor(), pick(floor().below(first()), first(), floor()))
            .set(t_at(T), NEXT),
        at("t sees a next segment", NEXT, &[]).when("it is linked", linked(first())).set(t_at(T), MOVE),
        move_tail(at("t moves the tail", MOVE, &[]), &first()).set(t_at(T), TAIL),
        at("t loads the tail", TAIL, &[]).set(t_walk(T), tail()).set(t_at(T), WALK),
        at("t sees a later one", WALK, &[]).when("it is linked", linked(t_walk(T))).set(t_at(T), WALK_MOVE),
        move_tail(at("t moves the tail, later", WALK_MOVE, &[]), &t_walk(T))
            .set(t_walk(T), t_walk(T) + 1)
            .set(t_at(T), WALK),
        at("t sees the last one", WALK, &[]).set(t_at(T), ADVANCE),
        at("t moves the backlog", ADVANCE, &[])
            .when("enough stays", base(first() + 1).is(base(first())) | backlog_bytes().at_most(kept))
            .when("it is where it was", backlog().is(first()))
            .set(backlog(), first() + 1)
            .set(t_at(T), BACKLOG),
        at("t finds the backlog moved", ADVANCE, &[]).set(t_at(T), BACKLOG),
    ]
}

fn looks_at_slots() -> Vec<Step> {
    let position = || slot(C);
    let stop = |name, place| unpinned(at(name, place, &[])).set(t_least(T), t_backlog(T)).set(t_at(T), LIST);
    vec![
        stop("t sees no next segment", NEXT),
        stop("t keeps the rest", ADVANCE),
        at("t looks at the slots", LIST, &[]).set_each(&[C], t_must(T, C), listed(C)).set(t_at(T), VISIT),
        at("t looks at a slot", VISIT, &[C])
            .set(
                t_least(T),
                pick(position().at_least(0) & position().below(t_least(T)), position(), t_least(T)),
            )
            .set(t_must(T, C), false),
        pinned(at("t has looked at all slots", VISIT, &[]))
            .when("it has", all(&[C], !t_must(T, C)))
            .set(t_at(T), HEAD),
    ]
}

fn moves_the_head() -> Vec<Step> {
    let from = || t_from(T);
    vec![
        at("t loads the head", HEAD, &[]).set(t_from(T), head()).set(t_at(T), HEAD_NEXT),
        at("t sees the head's next", HEAD_NEXT, &[])
            .when("it may go on", from().below(t_least(T)))
            .set(t_at(T), HEAD_MOVE),
        unpinned(at("t is done", HEAD_NEXT, &[])).set(t_at(T), OUT),
        move_tail(at("t moves the tail at the head", HEAD_MOVE, &[]), &from()).set(t_at(T), UNLINK),
        at("t moves the head", UNLINK, &[])
            .when("it is where it was", head().is(from()))
            .set(head(), from() + 1)
            .set(retirer(from()), v(T))
            .set(t_at(T), RETIRE),
        unpinned(at("t finds the head moved", UNLINK, &[])).set(t_at(T), VISIT),
        retires(),
        unpinned(at("t unpins", UNPIN, &[])).set(t_at(T), VISIT),
    ]
}

/// Retirement: the pins that there are now keep it from being released.
fn retires() -> Step {
    at("t retires", RETIRE, &[])
        .set(retired(t_from(T)), true)
        .set_each(&[W], w_blocks(W, t_from(T)), w_pinned(W))
        .set_each(&[C], c_blocks(C, t_from(T)), c_pinned(C))
        .set_each(&[T2], t_blocks(T2, t_from(T)), t_pinned(T2))
        .set(t_at(T), UNPIN)
}
