//! The invariant: what holds at the beginning, and after each step if it did before it.

use super::state::*;
use super::step::Clause;
use super::system::{C, C2, E, I, I2, S, S2, T, T2, W, W2};
use super::system::{closed_at, closes_before, cursor, end_before, seals_before, trimmer, v, writer};
use super::term::{Bool, Int, Var, all, every};

/// All clauses.
#[must_use]
pub fn clauses() -> Vec<Clause> {
    [
        stream(),
        terms(),
        writers(),
        blocks_of_segments(),
        chain_of_segments(),
        pins(),
        trims(),
        cursors(),
        waits(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// What is fixed for ever.
#[must_use]
pub fn constants() -> Bool {
    every([
        cells().at_least(1),
        blocks().at_least(1),
        backlog_bytes().at_least(0),
        all(&[S], limit(S).at_least(1)),
    ])
}

fn is_there(segment: Var) -> Bool {
    v(segment).at_least(0) & v(segment).at_most(newest())
}

/// A cell comes before another.
fn before(s: impl Into<Int>, i: impl Into<Int>, s2: impl Into<Int>, i2: impl Into<Int>) -> Bool {
    let (s, s2) = (s.into(), s2.into());
    s.clone().below(&s2) | (s.is(s2) & i.into().below(i2))
}

fn stream() -> Vec<Clause> {
    let end_of_stream = |segment: Var| end_before(segment, count(segment));
    vec![
        Clause::helps("counted", all(&[S], count(S).at_least(0) & count(S).at_most(cells()))),
        Clause::promises(
            "full cells are a prefix",
            "I2",
            all(&[S, I], full(S, I).same_as(v(I).at_least(0) & v(I).below(count(S)))),
        ),
        Clause::helps("the newest is there", newest().at_least(0)),
        Clause::helps("what is not there is empty", all(&[S], is_there(S) | count(S).is(0))),
        Clause::promises(
            "a frame starts where the one before it ends",
            "I1",
            all(
                &[S, I],
                full(S, I).implies(start(S, I).is(end_before(S, I)) & start(S, I).at_most(end(S, I))),
            ),
        ),
        Clause::promises(
            "a segment starts where the one before it ends",
            "I1",
            all(&[S], (v(S).at_least(0) & v(S).below(newest())).implies(base(v(S) + 1).is(end_of_stream(S)))),
        ),
        Clause::helps(
            "nothing ends before its base",
            all(&[S, I], full(S, I).implies(base(S).at_most(end(S, I)))),
        ),
        Clause::helps("nothing follows what closes", all(&[S, I], full(S, I).implies(!closed_at(S, I)))),
        Clause::helps(
            "what closes is the last",
            all(&[S, I], (full(S, I) & closes(S, I)).implies(count(S).is(v(I) + 1))),
        ),
        Clause::helps(
            "nothing ends behind its segment",
            all(
                &[S, I],
                (v(I).at_least(0) & v(I).at_most(count(S)))
                    .implies(end_before(S, I).at_most(end_of_stream(S))),
            ),
        ),
        Clause::promises(
            "what has a successor is closed",
            "I2",
            all(&[S], (v(S).at_least(0) & v(S).below(newest())).implies(closed_at(S, count(S)))),
        ),
        Clause::helps(
            "bases grow",
            all(
                &[S, S2],
                (is_there(S) & is_there(S2) & v(S).at_most(v(S2))).implies(base(S).at_most(base(S2))),
            ),
        ),
        Clause::helps("moments are past", all(&[S, I], full(S, I).implies(moment(S, I).below(now())))),
        Clause::promises(
            "the order of the stream is that of publications",
            "I4",
            all(
                &[S, I, S2, I2],
                (full(S, I) & full(S2, I2) & before(S, I, S2, I2))
                    .implies(moment(S, I).below(moment(S2, I2))),
            ),
        ),
    ]
}

fn terms() -> Vec<Clause> {
    let has_seal = |s: Var, i: Var| full(s, i) & seals(s, i).at_least(0);
    vec![
        Clause::promises(
            "no frame has a term sealed before its segment",
            "I10",
            all(&[S, I], full(S, I).implies(sealed(S).below(term(S, I)))),
        ),
        Clause::helps("a seal closes", all(&[S, I], has_seal(S, I).implies(closes(S, I)))),
        Clause::helps(
            "a seal's term is in the table",
            all(&[S, I], has_seal(S, I).implies(number(S, seals(S, I)).is(term(S, I)))),
        ),
        Clause::helps(
            "a seal's entry was taken",
            all(&[S, I], has_seal(S, I).implies(seals(S, I).below(numbers_taken(S)))),
        ),
        Clause::helps("an entry was taken", all(&[W], w_number(W).below(numbers_taken(w_segment(W))))),
        Clause::helps("entries are counted", all(&[S], numbers_taken(S).at_least(0))),
        Clause::helps(
            "an entry is one writer's",
            all(
                &[W, W2],
                (!v(W).is(v(W2)) & w_segment(W).is(w_segment(W2)) & w_number(W).at_least(0))
                    .implies(!w_number(W).is(w_number(W2))),
            ),
        ),
        Clause::helps(
            "who stores has an entry",
            all(&[W], w_at(W).is(writer::STORE).implies(w_number(W).at_least(0))),
        ),
        Clause::helps(
            "an entry that is not stored is in no word",
            all(
                &[W, I],
                (w_at(W).is(writer::STORE) & full(w_segment(W), I))
                    .implies(!seals(w_segment(W), I).is(w_number(W))),
            ),
        ),
        Clause::helps(
            "an entry that was stored stays",
            all(
                &[W],
                (w_number(W).at_least(0) & w_numbered(W).at_least(0) & !w_at(W).is(writer::STORE))
                    .implies(number(w_segment(W), w_number(W)).is(w_numbered(W))),
            ),
        ),
        Clause::helps(
            "a seal is passed on",
            all(
                &[S, I, S2],
                (has_seal(S, I) & v(S).below(v(S2)) & is_there(S2)).implies(term(S, I).at_most(sealed(S2))),
            ),
        ),
        Clause::promises(
            "nothing of a sealed term follows its seal",
            "I10",
            all(
                &[S, I, S2, I2],
                (has_seal(S, I) & full(S2, I2) & before(S, I, S2, I2))
                    .implies(term(S, I).below(term(S2, I2))),
            ),
        ),
    ]
}

/// Where a writer stands somewhere as it has to: everywhere but on its way.
fn stands() -> Bool {
    !w_at(W).one_of(&[writer::SCAN]) & w_segment(W).at_least(0)
}

fn writers() -> Vec<Clause> {
    let (segment, index) = (|| w_segment(W), || w_index(W));
    let seated = !w_at(W).one_of(&[writer::OUT, writer::PIN, writer::TAIL, writer::WALK, writer::MOVE]);
    let trying = || w_at(W).one_of(&[writer::TRY, writer::TRY_AWAITED]);
    vec![
        Clause::helps("who appends stands", all(&[W], seated.implies(segment().at_least(0)))),
        Clause::helps("a segment or none", all(&[W], segment().at_least(NONE) & segment().at_most(newest()))),
        Clause::helps(
            "a writer's cell stands behind full ones",
            all(&[W], segment().at_least(0).implies(index().at_least(0) & index().at_most(count(segment())))),
        ),
        Clause::helps(
            "a writer knows where the word before ends",
            all(&[W], segment().at_least(0).implies(w_end(W).is(end_before(segment(), index())))),
        ),
        Clause::helps(
            "a writer knows whether the word before closes",
            all(&[W], segment().at_least(0).implies(w_closes(W).same_as(closes_before(segment(), index())))),
        ),
        Clause::helps(
            "a writer knows what the word before seals",
            all(&[W], segment().at_least(0).implies(w_seals(W).is(seals_before(segment(), index())))),
        ),
        Clause::helps(
            "a writer knows the term sealed before",
            all(&[W], segment().at_least(0).implies(w_sealed(W).is(sealed(segment())))),
        ),
        Clause::helps("who tries has an open segment", all(&[W], trying().implies(!writer::is_closed()))),
        Clause::helps(
            "a word ends no earlier than it starts",
            all(&[W], trying().implies(w_end(W).at_most(o_end(W)))),
        ),
        Clause::helps(
            "who tries is within its term",
            all(&[W], trying().implies(w_sealed(W).below(w_term(W)))),
        ),
        Clause::helps(
            "a seal that is offered stands in the table",
            all(
                &[W],
                (trying() & o_seals(W).at_least(0))
                    .implies(o_closes(W) & o_seals(W).is(w_number(W)) & w_numbered(W).is(w_term(W))),
            ),
        ),
        Clause::helps(
            "who links has a closed segment",
            all(&[W], w_at(W).is(writer::LINK).implies(writer::is_closed())),
        ),
        Clause::helps(
            "who links stands at the end",
            all(&[W], w_at(W).is(writer::LINK).implies(index().is(count(segment())))),
        ),
        Clause::helps(
            "who pays stands behind what it published",
            all(
                &[W],
                w_at(W).one_of(&[writer::PAY, writer::VISIT]).implies(every([
                    index().at_least(1),
                    writer(segment(), index() - 1).is(v(W)),
                    !passes(segment(), index() - 1),
                ])),
            ),
        ),
        Clause::helps("terms are positive", all(&[W], w_at(W).is(writer::OUT) | w_term(W).at_least(1))),
    ]
}

fn blocks_of_segments() -> Vec<Clause> {
    let named = |s: Var, i: Var| full(s, i) & entry(s, i).at_least(0);
    let tries = || w_at(W).one_of(&[writer::TRY, writer::TRY_AWAITED]);
    vec![
        Clause::helps("entries of blocks are counted", all(&[S], blocks_taken(S).at_least(0))),
        Clause::promises(
            "a word's block is there as long as the payload",
            "I5 I6",
            all(&[S, I], (named(S, I) & !payload_gone(S)).implies(block(S, entry(S, I)).at_least(1))),
        ),
        Clause::promises(
            "a frame with bytes names a block",
            "I5",
            all(&[S, I], (full(S, I) & start(S, I).below(end(S, I))).implies(entry(S, I).at_least(0))),
        ),
        Clause::helps(
            "a frame that is offered names a block",
            all(&[W], (tries() & w_end(W).below(o_end(W))).implies(o_entry(W).at_least(0))),
        ),
        Clause::helps(
            "the block that is offered is the writer's",
            all(&[W], (tries() & o_entry(W).at_least(0)).implies(o_entry(W).is(w_block(W)))),
        ),
        Clause::helps(
            "a writer's block is in the table",
            all(
                &[W],
                (w_segment(W).at_least(0)
                    & w_block(W).at_least(0)
                    & !w_at(W).is(writer::FILL)
                    & !payload_gone(w_segment(W)))
                .implies(block(w_segment(W), w_block(W)).at_least(1)),
            ),
        ),
        Clause::helps(
            "a writer's entry was taken",
            all(
                &[W],
                (w_segment(W).at_least(0))
                    .implies(w_block(W).below(blocks_taken(w_segment(W))) & w_block(W).below(blocks())),
            ),
        ),
        Clause::helps(
            "an entry of the table is within it",
            all(
                &[S, E],
                (v(E).at_least(blocks()) | v(E).at_least(blocks_taken(S))).implies(block(S, E).at_most(0)),
            ),
        ),
        Clause::helps(
            "what is to be emptied is all there is",
            all(
                &[S],
                payload_gone(S).implies(blocks().at_most(blocks_taken(S)) & to_empty(S).at_most(blocks())),
            ),
        ),
        Clause::helps(
            "nothing is filled behind it",
            all(&[S, E], (payload_gone(S) & to_empty(S).at_most(v(E))).implies(block(S, E).at_most(0))),
        ),
        Clause::helps(
            "a writer that fills has an entry to be emptied",
            all(
                &[W],
                (w_at(W).is(writer::FILL) & payload_gone(w_segment(W)))
                    .implies(w_block(W).below(to_empty(w_segment(W)))),
            ),
        ),
        Clause::helps(
            "what was emptied is a tombstone",
            all(&[S, E], (v(E).at_least(0) & v(E).below(emptied(S))).implies(block(S, E).is(TOMBSTONE))),
        ),
        Clause::promises(
            "cells that are gone leave no block",
            "I6",
            all(&[S, E], (gone(S) & v(E).at_least(0)).implies(block(S, E).at_most(0))),
        ),
    ]
}

fn chain_of_segments() -> Vec<Clause> {
    vec![
        Clause::helps(
            "head, floor, backlog, tail, newest",
            every([
                head().at_least(0),
                head().at_most(floor()),
                floor().at_most(backlog()),
                backlog().at_most(tail()),
                tail().at_most(newest()),
            ]),
        ),
        Clause::helps(
            "what is retired is before the head",
            all(&[S], retired(S).implies(v(S).at_least(0) & v(S).below(head()))),
        ),
        Clause::helps("what is not retired is in the chain", all(&[S], retired(S) | chain(S))),
        Clause::promises("the chain's payload is there", "I6", all(&[S], chain(S).implies(!payload_gone(S)))),
        Clause::helps(
            "cells outlive the payload",
            all(&[S], gone(S).implies(payload_gone(S) & to_empty(S).at_most(emptied(S)))),
        ),
        Clause::promises(
            "a cursor's payload is there",
            "I6",
            all(&[C, S], holds(C, S).implies(!payload_gone(S))),
        ),
        Clause::promises("a writer's cells are there", "I6", all(&[W, S], w_holds(W, S).implies(!gone(S)))),
        Clause::helps("a writer counts on its cells", all(&[W], stands().implies(w_holds(W, w_segment(W))))),
        Clause::promises(
            "the backlog keeps enough",
            "I7",
            all(
                &[S],
                (v(S).at_least(0) & v(S).below(backlog()) & !base(v(S) + 1).is(base(S)))
                    .implies(backlog_bytes().at_most(base(newest()) - base(v(S) + 1))),
            ),
        ),
    ]
}

/// What a pin gives.
fn pin(names: [&'static str; 3], who: Var, pinned: Bool, head_then: Int, blocks: Bool) -> Vec<Clause> {
    vec![
        Clause::helps(
            names[0],
            all(
                &[who],
                pinned.clone().implies(head_then.clone().at_least(0) & head_then.clone().at_most(head())),
            ),
        ),
        Clause::helps(
            names[1],
            all(&[who, S], (pinned & v(S).at_least(head_then) & retired(S)).implies(blocks.clone())),
        ),
        Clause::helps(names[2], all(&[who, S], blocks.implies(chain(S)))),
    ]
}

fn pins() -> Vec<Clause> {
    let mut clauses = pin(
        [
            "a writer pinned at a head",
            "a writer's pin keeps what it can find",
            "what a writer's pin keeps is in the chain",
        ],
        W,
        w_pinned(W),
        w_head(W),
        w_blocks(W, S),
    );
    clauses.extend(pin(
        [
            "a cursor pinned at a head",
            "a cursor's pin keeps what it can find",
            "what a cursor's pin keeps is in the chain",
        ],
        C,
        c_pinned(C),
        c_head(C),
        c_blocks(C, S),
    ));
    clauses.extend(pin(
        [
            "a trimmer pinned at a head",
            "a trimmer's pin keeps what it can find",
            "what a trimmer's pin keeps is in the chain",
        ],
        T,
        t_pinned(T),
        t_head(T),
        t_blocks(T, S),
    ));
    let walks = || w_at(W).one_of(&[writer::WALK, writer::MOVE, writer::SCAN]);
    clauses.extend([
        Clause::helps(
            "a writer that searches is pinned",
            all(
                &[W],
                w_at(W)
                    .one_of(&[writer::TAIL, writer::WALK, writer::MOVE, writer::SCAN])
                    .implies(w_pinned(W)),
            ),
        ),
        Clause::helps(
            "a writer finds what its pin keeps",
            all(&[W], walks().implies(w_head(W).at_most(w_walk(W)) & w_walk(W).at_most(tail()))),
        ),
        Clause::helps(
            "a writer moves the tail where there is a link",
            all(&[W], w_at(W).is(writer::MOVE).implies(w_walk(W).below(newest()))),
        ),
        Clause::helps(
            "a writer stands where it searched",
            all(&[W], w_at(W).is(writer::SCAN).implies(w_segment(W).is(w_walk(W)))),
        ),
        Clause::promises(
            "where a writer searches, the chain is",
            "I6",
            all(&[W], walks().implies(!payload_gone(w_walk(W)) & !gone(w_walk(W)))),
        ),
    ]);
    clauses
}

/// Where a trimmer knows the backlog's first segment.
fn knows_first() -> Bool {
    t_at(T).at_least(trimmer::RAISE) & t_at(T).at_most(trimmer::ADVANCE)
}

fn trims() -> Vec<Clause> {
    let scans = |t: Var| t_at(t).at_least(trimmer::LIST) & t_at(t).at_most(trimmer::UNPIN);
    let at_head = |t: Var| t_at(t).at_least(trimmer::HEAD_NEXT) & t_at(t).at_most(trimmer::UNLINK);
    let sees_next = t_at(T).at_least(trimmer::MOVE) & t_at(T).at_most(trimmer::ADVANCE);
    let past_next = || t_at(T).at_least(trimmer::TAIL) & t_at(T).at_most(trimmer::ADVANCE);
    let walks = || t_at(T).at_least(trimmer::WALK) & t_at(T).at_most(trimmer::ADVANCE);
    let pinned = t_at(T).at_least(trimmer::BACKLOG) & t_at(T).at_most(trimmer::ADVANCE)
        | t_at(T).at_least(trimmer::HEAD);
    let first = || t_backlog(T);
    vec![
        Clause::helps("a trimmer that looks is pinned", all(&[T], pinned.implies(t_pinned(T)))),
        Clause::helps(
            "a trimmer finds the backlog",
            all(&[T], knows_first().implies(t_head(T).at_most(first()) & first().at_most(backlog()))),
        ),
        Clause::helps(
            "the floor is raised",
            all(
                &[T],
                (t_at(T).at_least(trimmer::NEXT) & t_at(T).at_most(trimmer::ADVANCE))
                    .implies(first().at_most(floor())),
            ),
        ),
        Clause::helps("a trimmer saw a next segment", all(&[T], sees_next.implies(first().below(newest())))),
        Clause::helps("a trimmer moved the tail", all(&[T], past_next().implies(first().below(tail())))),
        Clause::helps(
            "a trimmer finds a later one",
            all(&[T], walks().implies(first().below(t_walk(T)) & t_walk(T).at_most(tail()))),
        ),
        Clause::helps(
            "there is one behind that",
            all(&[T], t_at(T).is(trimmer::WALK_MOVE).implies(t_walk(T).below(newest()))),
        ),
        Clause::promises(
            "where a trimmer finds the backlog, the chain is",
            "I6",
            all(&[T], knows_first().implies(!payload_gone(first()) & !gone(first()))),
        ),
        Clause::promises(
            "where a trimmer searches, the chain is",
            "I6",
            all(&[T], walks().implies(!payload_gone(t_walk(T)) & !gone(t_walk(T)))),
        ),
        Clause::promises(
            "where a trimmer measures, the chain is",
            "I6",
            all(&[T], walks().implies(!payload_gone(first() + 1) & !gone(first() + 1))),
        ),
        Clause::promises(
            "where a trimmer finds the head, the chain is",
            "I6",
            all(&[T], at_head(T).implies(!payload_gone(t_from(T)) & !gone(t_from(T)))),
        ),
        Clause::promises(
            "what the head has left is retired, or about to be",
            "I6",
            all(
                &[S, T],
                (v(S).at_least(0) & v(S).below(head()) & !retired(S) & retirer(S).is(v(T)))
                    .implies(t_at(T).is(trimmer::RETIRE) & t_from(T).is(v(S))),
            ),
        ),
        Clause::helps(
            "the head may go as far as the floor",
            all(&[T], scans(T).implies(t_least(T).at_most(floor()))),
        ),
        Clause::promises(
            "the head may go as far as each cursor's slot",
            "I7",
            all(
                &[T, C],
                (t_at(T).at_least(trimmer::VISIT)
                    & t_at(T).at_most(trimmer::UNPIN)
                    & is_entered()
                    & slot(C).at_least(0))
                .implies(t_must(T, C) | t_least(T).at_most(slot(C))),
            ),
        ),
        Clause::helps(
            "nobody is left to be looked at",
            all(&[T, C], t_at(T).at_least(trimmer::HEAD).implies(!t_must(T, C))),
        ),
        Clause::promises(
            "no cursor that may read is before the head",
            "I7",
            all(&[C], (is_entered() & slot(C).at_least(0)).implies(head().at_most(slot(C)))),
        ),
        Clause::helps(
            "a trimmer found the head",
            all(&[T], at_head(T).implies(t_head(T).at_most(t_from(T)) & t_from(T).at_most(head()))),
        ),
        Clause::helps(
            "the head may go on",
            all(
                &[T],
                (t_at(T).at_least(trimmer::HEAD_MOVE) & t_at(T).at_most(trimmer::UNLINK))
                    .implies(t_from(T).below(t_least(T))),
            ),
        ),
        Clause::promises(
            "a segment is retired once",
            "I6",
            all(
                &[T],
                t_at(T)
                    .is(trimmer::RETIRE)
                    .implies(!retired(t_from(T)) & t_from(T).below(head()) & t_from(T).at_least(0)),
            ),
        ),
        Clause::helps(
            "one trimmer retires a segment",
            all(
                &[T, T2],
                (t_at(T).is(trimmer::RETIRE) & t_at(T2).is(trimmer::RETIRE) & t_from(T).is(t_from(T2)))
                    .implies(v(T).is(v(T2))),
            ),
        ),
    ]
}

/// The cursor has passed the floor, and is not gone.
fn is_entered() -> Bool {
    c_at(C).is(cursor::TAKE) | is_attached()
}

/// The cursor has a window.
fn is_attached() -> Bool {
    c_at(C).at_least(cursor::IDLE) & c_at(C).below(cursor::GOING)
}

fn cursors() -> Vec<Clause> {
    let attaching = || c_at(C).at_least(cursor::INDEX) & c_at(C).at_most(cursor::WITHDRAW);
    let following = || c_at(C).at_least(cursor::FOLLOW) & c_at(C).at_most(cursor::FOLLOW_TAKE);
    let found = || c_at(C).at_least(cursor::WALK) & c_at(C).at_most(cursor::WITHDRAW);
    let goes_on = || c_at(C).at_least(cursor::PIN) & c_at(C).at_most(cursor::FOLLOW_TAKE);
    let holds_offset = c_at(C).at_least(cursor::ENTER) & c_at(C).at_most(cursor::TAKE);
    let (walk, segment) = (|| c_walk(C), || c_segment(C));
    let pinned = c_at(C).at_least(cursor::BACKLOG) & c_at(C).at_most(cursor::WITHDRAW)
        | c_at(C).at_least(cursor::CHECK) & c_at(C).at_most(cursor::FOLLOW_TAKE);
    vec![
        Clause::helps("a cursor that looks is pinned", all(&[C], pinned.implies(c_pinned(C)))),
        Clause::helps(
            "a cursor finds what its pin keeps",
            all(&[C], attaching().implies(c_head(C).at_most(walk()) & walk().at_most(tail()))),
        ),
        Clause::helps(
            "there is one behind it",
            all(&[C], c_at(C).is(cursor::MOVE).implies(walk().below(newest()))),
        ),
        Clause::helps(
            "a cursor moved the tail",
            all(&[C], c_at(C).is(cursor::COMPARE).implies(walk().below(tail()))),
        ),
        Clause::promises(
            "where a cursor searches, the chain is",
            "I6",
            all(
                &[C],
                every([
                    attaching().implies(!payload_gone(walk()) & !gone(walk())),
                    following().implies(!payload_gone(segment() + 1) & !gone(segment() + 1)),
                ]),
            ),
        ),
        Clause::helps(
            "its segment starts no later than what it asked for",
            all(&[C], found().implies(base(walk()).at_most(c_asked(C)))),
        ),
        Clause::helps(
            "what it asked for is not behind the end",
            all(
                &[C],
                (c_at(C).at_least(cursor::ASKED) & c_at(C).at_most(cursor::TAKE))
                    .implies(c_asked(C).at_most(end_before(newest(), count(newest())))),
            ),
        ),
        Clause::promises(
            "it attaches to the segment that holds what it asked for",
            "I7",
            all(
                &[C],
                holds_offset.implies(
                    base(walk()).at_most(c_asked(C)) & c_asked(C).at_most(end_before(walk(), count(walk()))),
                ),
            ),
        ),
        Clause::helps(
            "its slot is what it entered, or revoked",
            all(
                &[C],
                c_at(C)
                    .one_of(&[cursor::FLOOR, cursor::TAKE])
                    .implies(slot(C).is(walk()) | slot(C).is(EVICTED)),
            ),
        ),
        Clause::helps("its slot is in the list", all(&[C], listed(C) | c_at(C).is(cursor::OUT))),
        Clause::promises(
            "a cursor counts on its window",
            "I6",
            all(
                &[C, S],
                (is_attached() & c_front(C).at_most(v(S)) & v(S).at_most(segment())).implies(holds(C, S)),
            ),
        ),
        Clause::promises(
            "a cursor counts on nothing else",
            "I6",
            all(
                &[C, S],
                holds(C, S).implies(
                    c_at(C).at_least(cursor::IDLE)
                        & c_at(C).at_most(cursor::GOING)
                        & c_front(C).at_most(v(S))
                        & v(S).at_most(segment()),
                ),
            ),
        ),
        Clause::helps(
            "a cursor's window was found",
            all(
                &[C],
                is_attached().implies(
                    c_front(C).at_least(0) & c_front(C).at_most(segment()) & segment().at_most(tail()),
                ),
            ),
        ),
        Clause::helps(
            "a cursor's slot is its first segment, or revoked",
            all(
                &[C],
                (is_attached() & !slot(C).is(EVICTED)).implies(slot(C).is(super::term::pick(
                    c_at(C).is(cursor::DROP),
                    c_front(C) + 1,
                    c_front(C),
                ))),
            ),
        ),
        Clause::helps(
            "what it leaves is not its last",
            all(&[C], c_at(C).is(cursor::DROP).implies(c_front(C).below(segment()))),
        ),
        Clause::promises(
            "a cursor sees full cells alone",
            "I2 I3",
            all(&[C], is_attached().implies(c_seen(C).at_least(0) & c_seen(C).at_most(count(segment())))),
        ),
        Clause::promises(
            "what a cursor has seen ends where its last segment says",
            "I3",
            all(&[C], is_attached().implies(c_end(C).is(end_before(segment(), c_seen(C))))),
        ),
        Clause::helps(
            "a next segment that it saw is there",
            all(&[C], (c_at(C).is(cursor::SCAN) & c_next(C)).implies(segment().below(newest()))),
        ),
        Clause::helps(
            "a cell that it saw not full is behind the last",
            all(
                &[C],
                (c_at(C).is(cursor::SCAN) & c_next(C) & c_bar(C).at_least(0))
                    .implies(count(segment()).at_most(c_bar(C))),
            ),
        ),
        Clause::promises(
            "who goes on has seen a whole segment",
            "I3",
            all(&[C], goes_on().implies(segment().below(newest()) & c_seen(C).is(count(segment())))),
        ),
        Clause::helps(
            "who follows was not evicted when it pinned",
            all(&[C], following().implies(c_head(C).at_most(segment()))),
        ),
        Clause::helps(
            "who follows moved the tail",
            all(&[C], c_at(C).is(cursor::FOLLOW_TAKE).implies(segment().below(tail()))),
        ),
        Clause::helps(
            "a cursor that links stands at the end of a closed segment",
            all(&[C], c_at(C).is(cursor::LINK).implies(cursor::is_closed() & c_seen(C).is(count(segment())))),
        ),
    ]
}

/// The cursor sleeps or is about to, and nobody woke it.
fn sleeps() -> Bool {
    c_at(C).one_of(&[cursor::CONFIRM, cursor::ASLEEP]) & !woken(C)
}

fn waits() -> Vec<Clause> {
    let at_or_after = |s: Var, i: Var| !before(s, i, c_segment(C), c_seen(C));
    let pays = || w_at(W).is(writer::PAY) | (w_at(W).is(writer::VISIT) & w_must(W, C));
    vec![
        Clause::helps(
            "who sleeps says so",
            all(&[C], (c_at(C).is(cursor::PARK) | sleeps()).implies(waiting(C))),
        ),
        Clause::promises(
            "who sleeps waits where the stream goes on",
            "I9",
            all(
                &[C],
                sleeps().implies(
                    full(c_segment(C), c_seen(C)) | (awaited(c_segment(C), c_seen(C)) & !cursor::is_closed()),
                ),
            ),
        ),
        Clause::promises(
            "who sleeps is owed a wake-up by each publication since",
            "I9",
            all(&[C, S, I], (sleeps() & full(S, I) & at_or_after(S, I)).implies(owes(S, I))),
        ),
        Clause::promises(
            "whoever published since is about to wake it",
            "I9",
            all(
                &[C, S, I, W],
                (sleeps() & full(S, I) & at_or_after(S, I) & writer(S, I).is(v(W)))
                    .implies(passes(S, I) | (pays() & w_segment(W).is(v(S)) & w_index(W).is(v(I) + 1))),
            ),
        ),
        Clause::helps(
            "a debt goes on to the next segment",
            all(&[C, S], (sleeps() & c_segment(C).below(v(S)) & is_there(S)).implies(opens_owing(S))),
        ),
        Clause::helps(
            "a writer knows of a debt",
            all(
                &[C, W],
                (sleeps()
                    & w_segment(W).at_least(0)
                    & before(c_segment(C), c_seen(C), w_segment(W), w_index(W)))
                .implies(w_owes(W)),
            ),
        ),
        Clause::helps(
            "a cursor that links knows of a debt",
            all(
                &[C, C2],
                (sleeps()
                    & c_at(C2).is(cursor::LINK)
                    & before(c_segment(C), c_seen(C), c_segment(C2), c_seen(C2)))
                .implies(c_owes(C2)),
            ),
        ),
        Clause::promises(
            "who is evicted while it sleeps is about to be told",
            "I9",
            all(&[C], (c_at(C).is(cursor::ASLEEP) & !woken(C)).implies(slot(C).at_least(0) | to_be_told(C))),
        ),
    ]
}
