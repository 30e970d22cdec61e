//! A proof without bounds: any number of writers, cursors, segments, cells and appends.
//!
//! # Promise
//! The buffer's algorithm is written as a transition system ([`system`]), one atomic access a step, and
//! with it an invariant ([`invariant`]) that implies I1 to I4, I7, the safety half of I9, I10, and that
//! nothing which can be reached is released. Two solvers, z3 and cvc5, say of each clause that it holds at
//! the beginning, and after each step if all did before it: so it holds always. The text is written once
//! ([`term`]), exported as SMT-LIB ([`smt`]) and executed ([`eval`]).
//!
//! # Teeth
//! A proof of a system that cannot fail says nothing. So each guard of each step is dropped, and each
//! clause that is there for the others is left out; a control is caught if a finite instance, a few
//! segments, cells and actors, has a state from which a step breaks the invariant, and evaluating that
//! state says so too. An answer of `unknown` catches nothing. And random walks of the system find
//! the invariant true in each state; they do not come to every step.
//!
//! # What is trusted
//! The solvers; that memory is sequentially consistent (weak memory is loom's and the fuzzer's business);
//! that the steps are those of the shipped code; the contract of `crossbeam-epoch`, with one era; and these
//! simplifications: who counts on a segment is a set, not a number; the index is any segment that was found
//! before; a slot is used once, by one cursor; contexts, composites and copies are not there, nor are
//! wakers as objects that are reclaimed.

pub mod check;
pub mod controls;
pub mod eval;
pub mod invariant;
pub mod needs;
pub mod run;
pub mod smt;
pub mod solver;
pub mod state;
pub mod step;
pub mod system;
pub mod term;
#[cfg(test)]
mod tests;
pub mod walk;
