//! The real `crossbeam-epoch` in a model build (`--cfg crossbeam_loom` beside `--cfg replcore_loom`), so that
//! it runs on loom's atomics too. Its own steps swamp a model, so this is for the small ones of the retire
//! path.
//!
//! A thread takes part for one pin at a time: loom drops thread-locals at the end of an execution, so the bag
//! of a thread that has ended would stay closed until then. A collector that is made while others run cannot
//! be handed over by the list of eras, which loom does not see: no model here begins an era.

pub use crossbeam_epoch::{Collector, Guard};

/// Names a collector in a normal build; here nobody remembers one.
pub type Participation = (u64, u64);

/// Never knows.
pub fn pin_known(_: Participation) -> Option<Guard> {
    None
}

/// Pins the calling thread in `collector`.
pub fn pin_new(collector: &Collector, _: Participation, _: &std::sync::Arc<()>) -> Guard {
    // The guard keeps the participation until it goes.
    collector.register().pin()
}
