//! Writers: the race for a cell, tables, turning over, paying a wake-up, standing somewhere.

use super::super::state::*;
use super::super::step::Step;
use super::super::term::{Bool, Int, Kind, Var, all, pick};
use super::{C, I, S, W, closed, link, linked, move_tail, v};

/// Between two appends.
pub const OUT: i64 = 0;
/// At the head of the loop.
pub const HEAD: i64 = 1;
/// Before the exchange of empty for its word.
pub const TRY: i64 = 2;
/// Before the exchange of awaited for its word, which owes.
pub const TRY_AWAITED: i64 = 3;
/// Before the exchange that links a successor.
pub const LINK: i64 = 4;
/// Before it pins, to stand where the stream ends.
pub const PIN: i64 = 5;
/// Before it loads the tail.
pub const TAIL: i64 = 6;
/// Before it loads the link of the segment at which it is.
pub const WALK: i64 = 7;
/// Before it moves the tail along.
pub const MOVE: i64 = 8;
/// It has found the last segment, and looks for the end there.
pub const SCAN: i64 = 9;
/// It counts on the cells there, and lets go of the ones before.
pub const LEAVE: i64 = 10;
/// Before it fills an entry of the table of blocks.
pub const FILL: i64 = 11;
/// Before it stores a number.
pub const STORE: i64 = 12;
/// Before it looks at the list of slots, to wake whoever waits.
pub const PAY: i64 = 13;
/// Going through the slots.
pub const VISIT: i64 = 14;

/// A length.
const LENGTH: Var = Var { name: "length", kind: Kind::Amount };
/// A term.
const TERM: Var = Var { name: "newterm", kind: Kind::Amount };

/// The steps of writers.
#[must_use]
pub fn steps() -> Vec<Step> {
    [begin_and_end(), offers(), exchanges(), tables(), turns(), pays()].into_iter().flatten().collect()
}

fn at(name: &'static str, place: i64, more: &[Var]) -> Step {
    let variables: Vec<_> = std::iter::once(W).chain(more.iter().copied()).collect();
    Step::new(name, &variables).when("the program is there", w_at(W).is(place))
}

/// Whether the segment is closed where the writer is.
#[must_use]
pub fn is_closed() -> Bool {
    closed(w_segment(W), w_index(W), w_end(W), w_closes(W))
}

fn begin_and_end() -> Vec<Step> {
    vec![
        at("w begins", OUT, &[TERM])
            .when("the term is one", v(TERM).at_least(1))
            .set(w_term(W), v(TERM))
            .set(w_at(W), pick(w_segment(W).is(NONE), PIN, HEAD)),
        at("w gives up", HEAD, &[]).set(w_at(W), OUT),
        at("w is dropped", OUT, &[])
            .set(w_holds(W, w_segment(W)), false)
            .set(w_segment(W), NONE)
            .set(w_block(W), NONE)
            .set(w_number(W), NONE),
    ]
}

/// Sets what a writer knows of the word before its cell to what stands in a cell.
fn stand_behind(step: Step, segment: &Int, cell: &Int) -> Step {
    step.set(w_index(W), cell.clone() + 1)
        .set(w_end(W), end(segment, cell))
        .set(w_closes(W), closes(segment, cell))
        .set(w_seals(W), seals(segment, cell))
        .set(w_owes(W), owes(segment, cell))
}

fn offers() -> Vec<Step> {
    let look = |name, place| {
        let step = at(name, place, &[I]).when("the cell is full", full(w_segment(W), I));
        stand_behind(step, &w_segment(W), &v(I))
    };
    let offer = |name, more: &[Var]| {
        at(name, HEAD, more)
            .when("the segment is open", !is_closed())
            .when("the term is not sealed", w_sealed(W).below(w_term(W)))
            .set(w_at(W), TRY)
    };
    vec![
        look("w looks", HEAD),
        look("w looks under its pin", SCAN),
        offer("w offers a frame", &[LENGTH])
            .when("no length is negative", v(LENGTH).at_least(0))
            .when("its block has an entry", v(LENGTH).is(0) | w_block(W).at_least(0))
            .set(o_end(W), w_end(W) + v(LENGTH))
            .set(o_closes(W), false)
            .set(o_seals(W), NONE)
            .set(o_entry(W), pick(v(LENGTH).is(0), NONE, w_block(W))),
        offer("w offers to close", &[])
            .set(o_end(W), w_end(W))
            .set(o_closes(W), true)
            .set(o_seals(W), NONE)
            .set(o_entry(W), NONE),
        offer("w offers a seal", &[])
            .when("the term is in the table", w_number(W).at_least(0) & w_numbered(W).is(w_term(W)))
            .set(o_end(W), w_end(W))
            .set(o_closes(W), true)
            .set(o_seals(W), w_number(W))
            .set(o_entry(W), NONE),
        at("w finds it closed", HEAD, &[]).when("the segment is closed", is_closed()).set(w_at(W), LINK),
    ]
}

/// What publishing does: the cell is the writer's word, and the writer stands behind it.
fn publish(step: Step, owing: Bool) -> Step {
    let (segment, index) = (w_segment(W), w_index(W));
    let merely_closes = o_closes(W) & o_seals(W).is(NONE);
    step.set(full(&segment, &index), true)
        .set(end(&segment, &index), o_end(W))
        .set(closes(&segment, &index), o_closes(W))
        .set(seals(&segment, &index), o_seals(W))
        .set(entry(&segment, &index), o_entry(W))
        .set(owes(&segment, &index), owing.clone())
        .set(start(&segment, &index), w_end(W))
        .set(term(&segment, &index), w_term(W))
        .set(writer(&segment, &index), v(W))
        .set(passes(&segment, &index), merely_closes.clone())
        .set(moment(&segment, &index), now())
        .set(now(), now() + 1)
        .set(count(&segment), count(&segment) + 1)
        .set(w_index(W), index + 1)
        .set(w_end(W), o_end(W))
        .set(w_closes(W), o_closes(W))
        .set(w_seals(W), o_seals(W))
        .set(w_owes(W), owing.clone())
        .set(w_at(W), pick(merely_closes, HEAD, pick(owing, PAY, OUT)))
}

fn exchanges() -> Vec<Step> {
    let cell = || full(w_segment(W), w_index(W));
    let awaited = || awaited(w_segment(W), w_index(W));
    let lose = |name, place| {
        let step = at(name, place, &[]).when("the cell is full", cell()).set(w_at(W), HEAD);
        stand_behind(step, &w_segment(W), &w_index(W))
    };
    vec![
        publish(
            at("w publishes", TRY, &[])
                .when("the cell is not full", !cell())
                .when("nobody waits for it", !awaited()),
            w_owes(W),
        ),
        lose("w loses", TRY),
        at("w finds it awaited", TRY, &[]).set(w_at(W), TRY_AWAITED),
        publish(
            at("w publishes, owing", TRY_AWAITED, &[]).when("the cell is not full", !cell()),
            true.into(),
        ),
        lose("w loses, late", TRY_AWAITED),
    ]
}

fn tables() -> Vec<Step> {
    const BLOCK: Var = Var { name: "fresh", kind: Kind::Amount };
    let segment = || w_segment(W);
    let entry_is_null = || block(segment(), w_block(W)).is(0);
    vec![
        at("w takes an entry for its block", HEAD, &[])
            .when("the table is not full", blocks_taken(segment()).below(blocks()))
            .set(w_block(W), blocks_taken(segment()))
            .set(blocks_taken(segment()), blocks_taken(segment()) + 1)
            .set(w_at(W), FILL),
        Step::new("w finds the table of blocks full", &[W])
            .set(blocks_taken(segment()), blocks_taken(segment()) + 1),
        at("w fills the entry", FILL, &[BLOCK])
            .when("the entry is empty", entry_is_null())
            .when("there is a block", v(BLOCK).at_least(1))
            .set(block(segment(), w_block(W)), v(BLOCK))
            .set(w_at(W), HEAD),
        at("w finds the payload released", FILL, &[]).set(w_block(W), NONE).set(w_at(W), HEAD),
        at("w takes an entry for a term", HEAD, &[])
            .set(w_number(W), numbers_taken(segment()))
            .set(w_numbered(W), NONE)
            .set(numbers_taken(segment()), numbers_taken(segment()) + 1)
            .set(w_at(W), STORE),
        at("w stores the term", STORE, &[])
            .set(number(segment(), w_number(W)), w_term(W))
            .set(w_numbered(W), w_term(W))
            .set(w_at(W), HEAD),
    ]
}

fn turns() -> Vec<Step> {
    let links = at("w links", LINK, &[]);
    vec![
        link(links, &w_segment(W), &w_end(W), w_seals(W), w_owes(W)).set(w_at(W), PIN),
        at("w finds it linked", LINK, &[]).set(w_at(W), PIN),
        at("w pins", PIN, &[]).set(w_pinned(W), true).set(w_head(W), head()).set(w_at(W), TAIL),
        at("w loads the tail", TAIL, &[]).set(w_walk(W), tail()).set(w_at(W), WALK),
        at("w sees a next segment", WALK, &[]).when("it is linked", linked(w_walk(W))).set(w_at(W), MOVE),
        move_tail(at("w moves the tail", MOVE, &[]), &w_walk(W))
            .set(w_walk(W), w_walk(W) + 1)
            .set(w_at(W), WALK),
        at("w stands at the last segment", WALK, &[])
            .set(w_segment(W), w_walk(W))
            .set(w_index(W), 0)
            .set(w_end(W), base(w_walk(W)))
            .set(w_closes(W), false)
            .set(w_seals(W), NONE)
            .set(w_owes(W), opens_owing(w_walk(W)))
            .set(w_sealed(W), sealed(w_walk(W)))
            .set(w_block(W), NONE)
            .set(w_number(W), NONE)
            .set(w_at(W), SCAN),
        at("w counts on the cells", SCAN, &[])
            .set(w_holds(W, w_segment(W)), true)
            .set_each(&[S], w_blocks(W, S), false)
            .set(w_pinned(W), false)
            .set(w_at(W), LEAVE),
        at("w lets go of the old ones", LEAVE, &[])
            .set_each(&[S], w_holds(W, S), v(S).is(w_segment(W)))
            .set(w_at(W), HEAD),
    ]
}

fn pays() -> Vec<Step> {
    let before = || w_index(W) - 1;
    vec![
        at("w begins to wake", PAY, &[]).set_each(&[C], w_must(W, C), listed(C)).set(w_at(W), VISIT),
        Step::new("w passes a slot", &[W, C]).when("it does not wait", !waiting(C)).set(w_must(W, C), false),
        Step::new("w wakes", &[W, C]).set(woken(C), true).set(w_must(W, C), false),
        at("w settles", VISIT, &[])
            .when("it has been everywhere", all(&[C], !w_must(W, C)))
            .set(owes(w_segment(W), before()), false)
            .set(w_owes(W), false)
            .set(w_at(W), OUT),
    ]
}
