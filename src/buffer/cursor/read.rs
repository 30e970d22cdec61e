//! A cursor as a [`Buf`]: bytes where they were staged, neighbours in memory as one piece.

use std::io::IoSlice;
use std::mem;

use bytes::{Buf, Bytes, BytesMut};

use super::handle::Cursor;
use crate::buffer::block::Run;
use crate::buffer::copy::as_uninit;
use crate::buffer::memory::OwnBlock;
use crate::buffer::payload::Place;
use crate::buffer::stats::Counters;
use crate::buffer::sync::Arc;

/// A chunk of so many bytes is long enough: to find a longer one would take longer at each call.
const LONG_CHUNK_BYTES: usize = 16 << 10;
/// Copies of so many bytes are made in blocks, which are used again.
const POOLED_COPY_BYTES: usize = 16 << 10;

/// The runs of bytes from a place to the end of what is visible. Plain publications that are neighbours in
/// memory are one.
pub(super) struct Pieces<'c> {
    cursor: &'c Cursor,
    /// Bytes behind which it does not look for neighbours.
    enough: usize,
    /// The segment of the window, the publication in it, and the next of its runs.
    view: usize,
    place: Place,
    run: usize,
}

impl<'c> Pieces<'c> {
    fn of(cursor: &'c Cursor, enough: usize) -> Self {
        Self { cursor, enough, view: 0, place: cursor.place, run: 0 }
    }

    /// The next run of a publication that has several, without what was skipped.
    #[cold]
    fn next_of_composite(&mut self) -> Option<Run<'c>> {
        let seen = self.cursor.window[self.view].seen();
        let publication = seen.publication(self.place.index, self.place.start)?;
        if self.place.skip > 0 {
            let (run, skip) = publication.run_at(mem::take(&mut self.place.skip));
            self.run = run + 1;
            return publication.run(run).map(|run| run.skip(skip));
        }
        self.run += 1;
        publication.run(self.run - 1)
    }
}

impl<'c> Iterator for Pieces<'c> {
    type Item = Run<'c>;

    #[inline]
    fn next(&mut self) -> Option<Run<'c>> {
        loop {
            let view = self.cursor.window.get(self.view)?;
            let seen = view.seen();
            if let Some(run) = seen.run(&mut self.place, self.enough) {
                return Some(run);
            }
            let Some(publication) = seen.publication(self.place.index, self.place.start) else {
                (self.view, self.place) = (self.view + 1, Place::default());
                continue;
            };
            if publication.len() > 0
                && let Some(run) = self.next_of_composite()
            {
                return Some(run);
            }
            (self.place, self.run) = (self.place.after(&publication), 0);
        }
    }
}

/// As [`Pieces`], all neighbours in memory joined: those in the next segment too, and pieces of composites.
struct Runs<'c> {
    pieces: Pieces<'c>,
    ahead: Option<Run<'c>>,
}

impl<'c> Iterator for Runs<'c> {
    type Item = &'c [u8];

    fn next(&mut self) -> Option<&'c [u8]> {
        let mut run = self.ahead.take().or_else(|| self.pieces.next())?;
        self.ahead = self.pieces.find(|next| !run.join(next));
        Some(run.bytes())
    }
}

impl Cursor {
    /// Reads visible bytes as one piece of memory: what many cursors that send the same stream should do
    /// where [`chunk`](Buf::chunk) is short beside what is visible, for the copy is made once for all of
    /// them. It goes as far as what is visible, or as
    /// [`shared_copy_bytes`](crate::buffer::Builder::shared_copy_bytes), or less, where another cursor's copy
    /// ends. Empty if nothing is visible.
    ///
    /// The bytes stay as long as they are used, even if the cursor is evicted; in `lag_bytes` they count as
    /// read.
    pub fn next_copy(&mut self) -> Bytes {
        let (start, visible) = (self.offset, self.visible());
        if visible == 0 {
            return Bytes::new();
        }
        let log = Arc::clone(&self.log);
        let cursors = Counters::get(&log.memory.counters.cursors);
        if let Some(mut copy) = log.copies.find(start, cursors) {
            copy.truncate(visible);
            self.pass(copy.len());
            return copy;
        }
        let room = usize::try_from(log.copies.room(start)).unwrap_or(usize::MAX);
        let len = visible.min(room);
        let copy = if len < POOLED_COPY_BYTES {
            self.copy_to_bytes(len)
        } else {
            Bytes::from_owner(OwnBlock::new(len, &log.memory, |spare| self.fill(spare)))
        };
        log.copies.keep(start, &copy, cursors);
        copy
    }

    /// The runs of bytes from the cursor on, not joined beyond `enough` bytes.
    pub(super) fn pieces(&self, enough: usize) -> Pieces<'_> {
        Pieces::of(self, enough)
    }

    /// The runs of bytes from the cursor to the end of what is visible.
    fn runs(&self) -> Runs<'_> {
        Runs { pieces: self.pieces(usize::MAX), ahead: None }
    }
}

impl Buf for Cursor {
    fn remaining(&self) -> usize {
        self.visible()
    }

    /// As many bytes as lie together, but not looked for beyond 16 KiB.
    fn chunk(&self) -> &[u8] {
        self.pieces(LONG_CHUNK_BYTES).next().map(|run| run.bytes()).unwrap_or_default()
    }

    fn chunks_vectored<'a>(&'a self, dst: &mut [IoSlice<'a>]) -> usize {
        dst.iter_mut().zip(self.runs()).map(|(slot, run)| *slot = IoSlice::new(run)).count()
    }

    /// # Panics
    /// If `n` is more than [`remaining`](Buf::remaining), as `Buf` demands.
    fn advance(&mut self, n: usize) {
        assert!(n <= self.visible(), "cannot advance {n} bytes: {} are visible", self.visible());
        self.pass(n);
    }

    /// # Panics
    /// If `target` is longer than what [remains](Buf::remaining), as `Buf` demands.
    fn copy_to_slice(&mut self, target: &mut [u8]) {
        let n = target.len();
        assert!(n <= self.visible(), "cannot copy {n} bytes: {} are visible", self.visible());
        self.fill(as_uninit(target));
    }

    /// # Panics
    /// If `n` is more than [`remaining`](Buf::remaining), as `Buf` demands.
    fn copy_to_bytes(&mut self, n: usize) -> Bytes {
        assert!(n <= self.visible(), "cannot copy {n} bytes: {} are visible", self.visible());
        let mut copy = BytesMut::with_capacity(n);
        let filled = self.fill(&mut copy.spare_capacity_mut()[..n]);
        assert_eq!(filled, n, "what is visible is there");
        // SAFETY: so many were filled.
        unsafe { copy.set_len(n) };
        copy.freeze()
    }
}
