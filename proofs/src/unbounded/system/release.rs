//! Release: what was retired goes when no pin can reach it, and its memory when nobody counts on it.
//!
//! The first step is what `crossbeam-epoch` promises: a retirement runs when every pin that there was at it
//! is gone.

use super::super::state::*;
use super::super::step::Step;
use super::super::term::{all, pick};
use super::{C, S, T, W, v};

/// The steps of release.
#[must_use]
pub fn steps() -> Vec<Step> {
    vec![
        Step::new("s leaves the chain", &[S])
            .when("it was retired", retired(S))
            .when("no writer's pin keeps it", all(&[W], !w_blocks(W, S)))
            .when("no cursor's pin keeps it", all(&[C], !c_blocks(C, S)))
            .when("no trimmer's pin keeps it", all(&[T], !t_blocks(T, S)))
            .set(chain(S), false),
        Step::new("s's payload goes", &[S])
            .when("the chain does not count on it", !chain(S))
            .when("no cursor counts on it", all(&[C], !holds(C, S)))
            .when("it was not gone", !payload_gone(S))
            .set(payload_gone(S), true)
            .set(to_empty(S), pick(blocks_taken(S).below(blocks()), blocks_taken(S), blocks()))
            .set(blocks_taken(S), blocks_taken(S) + blocks()),
        Step::new("s's table is emptied", &[S])
            .when("the payload is gone", payload_gone(S))
            .set(block(S, emptied(S)), TOMBSTONE)
            .set(emptied(S), emptied(S) + 1),
        Step::new("s's cells go", &[S])
            .when("the payload is gone", payload_gone(S))
            .when("the table is empty", to_empty(S).at_most(emptied(S)))
            .when("no writer counts on them", all(&[W], !w_holds(W, v(S))))
            .set(gone(S), true),
    ]
}
