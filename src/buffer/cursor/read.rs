//! A cursor as a [`Buf`]: bytes where they were staged, neighbours in memory as one piece.

use std::io::IoSlice;

use bytes::Buf;

use super::handle::{Cursor, Place, View};
use crate::buffer::block::Run;
use crate::buffer::payload::Publication;

impl Cursor {
    /// The runs of bytes from the cursor to the end of what is visible, publication by publication.
    pub(super) fn pieces(&self) -> impl Iterator<Item = Run<'_>> {
        let mut skip = self.place.skip as usize;
        let mut from = self.place;
        self.window
            .iter()
            .flat_map(move |view| Publications::of(view, std::mem::take(&mut from)))
            .flat_map(Publication::runs)
            .filter_map(move |run| {
                let skipped = skip.min(run.len());
                skip -= skipped;
                (skipped < run.len()).then(|| run.skip(skipped))
            })
    }

    /// As [`pieces`](Self::pieces), neighbours in memory joined.
    fn runs(&self) -> impl Iterator<Item = &[u8]> {
        let mut pieces = self.pieces();
        let mut ahead = pieces.next();
        std::iter::from_fn(move || {
            let mut run = ahead.take()?;
            for next in pieces.by_ref() {
                if !run.join(&next) {
                    ahead = Some(next);
                    break;
                }
            }
            Some(run.bytes())
        })
    }
}

/// The visible publications of a view, from a place on.
struct Publications<'c> {
    view: &'c View,
    index: usize,
    start: u32,
}

impl<'c> Publications<'c> {
    fn of(view: &'c View, from: Place) -> Self {
        Self { view, index: from.index, start: from.start }
    }
}

impl<'c> Iterator for Publications<'c> {
    type Item = Publication<'c>;

    #[inline]
    fn next(&mut self) -> Option<Publication<'c>> {
        if self.index >= self.view.visible {
            return None;
        }
        let publication = self.view.payload.publication(self.index, self.start);
        (self.index, self.start) = (self.index + 1, publication.end());
        Some(publication)
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
        self.take(n, |_| {});
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
