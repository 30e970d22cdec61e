//! Threads that append and look, each keeping its own book.

use std::ops::Range;
use std::thread;
use std::time::Instant;

use bytes::Bytes;

use super::{Append, History, Look};
use crate::testing::publication::Publication;

/// What [`record`] has threads do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// So many threads.
    pub writers: u64,
    /// Each appends so many frames, of one to a few hundred bytes, each of which says whose it is.
    pub appends: u64,
}

/// A frame that says whose it is, of a length that differs from its neighbours'.
fn frame(writer: u64, number: u64) -> Bytes {
    let mut text = format!("<frame {number} of writer {writer}");
    let longer = number.wrapping_mul(31).wrapping_add(writer * 17) % 200;
    text.extend((0..longer).map(|at| char::from(b'a' + (at % 26) as u8)));
    text.push('>');
    text.into()
}

/// Has threads append to a log that begins at `base_offset`, and look after each append how far it reaches.
/// `append` takes a writer and a frame and returns the offsets told; `end` is how far a reader could read.
///
/// What was read is for the caller to add.
pub fn record(
    base_offset: u64,
    load: Load,
    append: impl Fn(u64, &Bytes) -> Range<u64> + Sync,
    end: impl Fn() -> u64 + Sync,
) -> History<Instant> {
    let (append, end) = (&append, &end);
    let write = move |writer| {
        let (mut appends, mut looks) = (Vec::new(), Vec::new());
        for number in 0..load.appends {
            let bytes = frame(writer, number);
            let started = Instant::now();
            let range = append(writer, &bytes);
            let returned = Instant::now();
            let publication = Publication::of(bytes);
            appends.push(Append { writer, number, term: None, range, publication, started, returned });
            let started = Instant::now();
            let end = end();
            looks.push(Look { reader: writer, end, started, returned: Instant::now() });
        }
        (appends, looks)
    };
    let mut history = History::new(base_offset);
    thread::scope(|scope| {
        let writers: Vec<_> = (0..load.writers).map(|writer| scope.spawn(move || write(writer))).collect();
        for writer in writers {
            match writer.join() {
                Ok((appends, looks)) => {
                    history.appends.extend(appends);
                    history.looks.extend(looks);
                }
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
    });
    history
}
