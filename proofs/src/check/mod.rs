//! What a model needs of its explorer, and nothing that says which one it is.
//!
//! A model's body spawns threads, waits for futures and, where it is about the explorer, has atomics of its
//! own. It takes them from here, so the same body runs under whichever explorer the
//! program was built for: loom, or the weak-memory engine of the schedule fuzzer
//! (`weak`), which shares no line with it. The buffer takes its atomics from its own shim, in the
//! same build.
//!
//! The threads of a model are a [`Crew`], so that each of them can be stopped (`crew`).

mod crew;
#[cfg(replcore_loom)]
mod loom;
#[cfg(replcore_fuzz)]
mod weak;

#[cfg(replcore_loom)]
use self::loom as explorer;
#[cfg(replcore_fuzz)]
use self::weak as explorer;

pub use self::crew::{Crew, Gives, PROBE, Pass, stops};
#[cfg(replcore_loom)]
pub use self::crew::{members, set_pass};
#[cfg(replcore_loom)]
pub use self::explorer::exploration;
pub use self::explorer::{atomic, block_on, provide_eras, thread};
