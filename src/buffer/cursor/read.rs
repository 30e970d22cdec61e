//! A cursor as a [`Buf`]: bytes where they were staged, neighbours in memory as one piece.

use std::io::IoSlice;

use bytes::Buf;

use super::handle::{Cursor, Place};
use crate::buffer::block::Run;

/// The runs of bytes from a place to the end of what is visible.
pub(super) struct Pieces<'c> {
    cursor: &'c Cursor,
    /// The segment of the window, the publication in it, and the next of its runs.
    view: usize,
    place: Place,
    run: usize,
}

impl<'c> Pieces<'c> {
    fn of(cursor: &'c Cursor) -> Self {
        Self { cursor, view: 0, place: cursor.place, run: 0 }
    }

    /// The next run of a publication that has several, without what was skipped.
    #[cold]
    fn next_of_composite(&mut self) -> Option<Run<'c>> {
        let publication =
            self.cursor.window[self.view].payload.publication(self.place.index, self.place.start);
        while let Some(run) = publication.run(self.run) {
            self.run += 1;
            let skipped = (self.place.skip as usize).min(run.len());
            self.place.skip -= skipped as u32;
            if skipped < run.len() {
                return Some(run.skip(skipped));
            }
        }
        None
    }

    /// Takes in the frames that lie right behind a run in the same block, one after the other.
    #[inline]
    fn extend(&mut self, run: &mut Run<'c>) {
        let Run::Staged { block, range } = run else { return };
        let Some(view) = self.cursor.window.get(self.view) else { return };
        while self.place.index < view.visible {
            let publication = view.payload.publication(self.place.index, self.place.start);
            let len = publication.len() as usize;
            if len > 0 && !publication.starts_at(block, range.end) {
                return;
            }
            range.end += len;
            self.place = self.place.after(&publication);
        }
    }
}

impl<'c> Iterator for Pieces<'c> {
    type Item = Run<'c>;

    #[inline]
    fn next(&mut self) -> Option<Run<'c>> {
        loop {
            let view = self.cursor.window.get(self.view)?;
            if self.place.index == view.visible {
                (self.view, self.place) = (self.view + 1, Place::default());
                continue;
            }
            let publication = view.payload.publication(self.place.index, self.place.start);
            if let Some(run) = publication.single_run() {
                let run = run.skip(self.place.skip as usize);
                self.place = self.place.after(&publication);
                return Some(run);
            }
            if publication.len() > 0
                && let Some(run) = self.next_of_composite()
            {
                return Some(run);
            }
            (self.place, self.run) = (self.place.after(&publication), 0);
        }
    }
}

/// As [`Pieces`], neighbours in memory joined.
struct Runs<'c> {
    pieces: Pieces<'c>,
    ahead: Option<Run<'c>>,
}

impl<'c> Iterator for Runs<'c> {
    type Item = &'c [u8];

    fn next(&mut self) -> Option<&'c [u8]> {
        let mut run = self.ahead.take().or_else(|| self.pieces.next())?;
        loop {
            if self.pieces.run == 0 {
                self.pieces.extend(&mut run);
            }
            match self.pieces.next() {
                Some(next) if run.join(&next) => {}
                ahead => {
                    self.ahead = ahead;
                    return Some(run.bytes());
                }
            }
        }
    }
}

impl Cursor {
    /// The runs of bytes from the cursor to the end of what is visible, publication by publication.
    pub(super) fn pieces(&self) -> Pieces<'_> {
        Pieces::of(self)
    }

    /// The same, neighbours in memory joined.
    fn runs(&self) -> Runs<'_> {
        Runs { pieces: self.pieces(), ahead: None }
    }
}

impl Buf for Cursor {
    fn remaining(&self) -> usize {
        self.visible()
    }

    fn chunk(&self) -> &[u8] {
        self.runs().next().unwrap_or_default()
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
        let mut left = target;
        self.take(n, |piece| {
            let (to, rest) = std::mem::take(&mut left).split_at_mut(piece.len());
            to.copy_from_slice(piece);
            left = rest;
        });
    }
}
