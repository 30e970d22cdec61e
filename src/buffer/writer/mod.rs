//! Writers: frames finished in private, then published by one compare-and-swap.
//!
//! # Promise
//! Staging touches no shared memory. [`StagedFrame::publish`] makes the whole frame visible at
//! once, or nothing of it. A writer that stops for ever, at any step, delays nobody (I8).
//!
//! # Algorithm
//! A writer has a *desk*: a [`stage`], private memory in which it finishes a frame, and a [`seat`], its
//! place in the stream. Publishing is the race for a cell ([`seat`]) with what is offered after each
//! predecessor ([`publish`]): where the bytes start, whether the conditional part is needed, which context
//! comes of it, and whether the writer's term is sealed are decided while the word is private.
//!
//! A cell for which a cursor waits is marked. The writer that fills it owes a wake-up and says so
//! in its word; the next writer that finds the debt unpaid takes it over, across segments too, so
//! a writer stopped between publishing and waking does not leave a cursor asleep.
//!
//! The face of a frame is in [`frame`], that of a writer in [`handle`].

mod desk;
mod frame;
mod handle;
mod publish;
mod seat;
mod stage;

pub(crate) use desk::Desks;
pub use frame::StagedFrame;
pub use handle::Writer;
pub(crate) use handle::{seal, with_lent};
