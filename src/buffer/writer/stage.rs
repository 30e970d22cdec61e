//! Staging: a writer's private memory, and the record that comes of it.

use std::ops::Range;
use std::ptr;

use bytes::Bytes;

use crate::buffer::block::{Block, Composite, NO_CONTEXT, Piece, Prior, Record};
use crate::buffer::log::{Log, Pools};
use crate::buffer::stats::Counters;

/// A part that is published only if the predecessor's context differs.
#[derive(Debug)]
pub(super) struct Conditional {
    pub(super) context: u64,
    /// How many staged pieces stand before it.
    pub(super) at_piece: usize,
    /// How many frames of the publication end before it.
    pub(super) at_frame: usize,
}

/// A writer's private state: its block and the frame it is staging.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(super) block: *mut Block,
    /// Payload bytes of the block that are taken by published frames.
    pub(super) used: usize,
    /// Records of the block that are published.
    pub(super) published: usize,
    /// Lost races not yet added to the shared counter.
    pub(super) retries: u64,
    /// The pieces of the frame being staged; staged ranges are relative to `used`.
    pub(super) pieces: Vec<Piece>,
    pub(super) frame_ends: Vec<u64>,
    /// Staged bytes in the block, and bytes altogether.
    pub(super) staged: usize,
    pub(super) len: u64,
    pub(super) conditional: Option<Conditional>,
    pub(super) conditional_bytes: Vec<u8>,
    /// The context after the staged bytes, once something has set it.
    pub(super) context: Option<u64>,
    /// The next bytes may not join the piece before them.
    pub(super) split: bool,
}

// SAFETY: a stage owns its block as the block's only writer, wherever it is moved.
unsafe impl Send for Stage {}

impl Default for Stage {
    fn default() -> Self {
        Self {
            block: ptr::null_mut(),
            used: 0,
            published: 0,
            retries: 0,
            pieces: Vec::new(),
            frame_ends: Vec::new(),
            staged: 0,
            len: 0,
            conditional: None,
            conditional_bytes: Vec::new(),
            context: None,
            split: false,
        }
    }
}

impl Stage {
    pub(super) fn block(&self) -> Option<&Block> {
        // SAFETY: the stage owns its block as its writer.
        unsafe { self.block.as_ref() }
    }

    /// Forgets what is staged.
    pub(super) fn discard(&mut self) {
        self.pieces.clear();
        self.frame_ends.clear();
        self.conditional_bytes.clear();
        (self.staged, self.len, self.conditional, self.context, self.split) = (0, 0, None, None, false);
    }

    /// Leaves the block to its published records. To be called before a stage is dropped.
    pub(crate) fn leave_block(&mut self, pools: &Pools) {
        let block = std::mem::replace(&mut self.block, ptr::null_mut());
        // SAFETY: the stage owned it as its writer until here.
        if let Some(left) = unsafe { block.as_ref() }
            && left.leave(self.published as u64)
        {
            // SAFETY: no record is left in it: it is ours.
            unsafe { pools.release_block(block) };
        }
        Counters::more(&pools.counters.publish_retries, std::mem::take(&mut self.retries));
        (self.used, self.published) = (0, 0);
    }

    /// Takes a fresh block and carries over what is staged: moved if it is short, otherwise made
    /// a shared piece of its own.
    fn change_block(&mut self, log: &Log) {
        let settings = &log.settings;
        let fresh = match log.pools.blocks.take() {
            Some(spare) => {
                // SAFETY: taking it from the pool made it ours alone.
                unsafe { (*spare).reset() };
                spare
            }
            // `build` checked that the size fits.
            None => Block::allocate(settings.block_bytes as u32, settings.block_records),
        };
        Counters::more(&log.pools.counters.blocks_live, 1);
        if let Some(old) = self.block()
            && self.staged > 0
        {
            let from = self.used as u32;
            // SAFETY: these bytes were staged, and are not written while the slice lives.
            let staged = unsafe { old.read(from..from + self.staged as u32) };
            if self.staged <= old.capacity() / 4 {
                // SAFETY: the fresh block is ours and empty.
                unsafe { (*fresh).write(0, staged) };
            } else {
                let shared = Bytes::copy_from_slice(staged);
                for piece in &mut self.pieces {
                    if let Piece::Staged(range) = piece {
                        *piece = Piece::Shared(shared.slice(range.start as usize..range.end as usize));
                    }
                }
                self.staged = 0;
            }
        }
        self.leave_block(&log.pools);
        self.block = fresh;
    }

    pub(super) fn put_slice(&mut self, bytes: &[u8], log: &Log) {
        if bytes.len() > log.settings.block_bytes / 2 {
            return self.put_bytes(Bytes::copy_from_slice(bytes));
        }
        if bytes.is_empty() {
            return;
        }
        if self.block().is_none_or(|block| self.used + self.staged + bytes.len() > block.capacity()) {
            self.change_block(log);
        }
        let Some(block) = self.block() else { return };
        // SAFETY: the stage is the block's writer; published records end before `used`, and there
        // is room.
        unsafe { block.write(self.used + self.staged, bytes) };
        let (start, end) = (self.staged as u32, (self.staged + bytes.len()) as u32);
        match self.pieces.last_mut() {
            Some(Piece::Staged(range)) if !self.split && range.end == start => range.end = end,
            _ => self.pieces.push(Piece::Staged(start..end)),
        }
        self.split = false;
        self.staged += bytes.len();
        self.len += bytes.len() as u64;
    }

    pub(super) fn put_bytes(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            self.len += bytes.len() as u64;
            self.pieces.push(Piece::Shared(bytes));
        }
    }

    pub(super) fn select_context(&mut self, context: u64, bytes: &[u8], log: &Log) {
        match self.context.replace(context) {
            None => {
                self.conditional = Some(Conditional {
                    context,
                    at_piece: self.pieces.len(),
                    at_frame: self.frame_ends.len(),
                });
                self.conditional_bytes.extend_from_slice(bytes);
                self.split = true;
            }
            Some(known) if known == context && context != NO_CONTEXT => {}
            Some(_) => self.put_slice(bytes, log),
        }
    }

    /// The staged bytes as one run, if they are: the common case, which allocates nothing.
    pub(super) fn single_run(&self) -> Option<Range<u32>> {
        let mut run = 0..0;
        for piece in &self.pieces {
            match piece {
                Piece::Staged(range) if range.start == run.end => run.end = range.end,
                _ => return None,
            }
        }
        (self.frame_ends.len() < 2).then_some(run)
    }

    /// A staged range as it lies in the block.
    pub(super) fn in_block(&self, range: Range<u32>) -> Range<u32> {
        let base = self.used as u32;
        base + range.start..base + range.end
    }

    /// The record of what is staged, with or without the conditional part.
    pub(super) fn record(&self, with_conditional: bool) -> Record {
        let after = Prior { end: 0, frames: 0, context: NO_CONTEXT, sealed_term: 0, owes_wake: false };
        let record = Record { start: 0, after, staged: 0..0, composite: None };
        if !with_conditional && let Some(run) = self.single_run() {
            return Record { staged: self.in_block(run), ..record };
        }
        let mut pieces: Vec<Piece> = self
            .pieces
            .iter()
            .map(|piece| match piece {
                Piece::Staged(range) => Piece::Staged(self.in_block(range.clone())),
                Piece::Shared(bytes) => Piece::Shared(bytes.clone()),
            })
            .collect();
        let mut frame_ends = self.frame_ends.clone();
        if with_conditional && let Some(conditional) = &self.conditional {
            let bytes = Bytes::copy_from_slice(&self.conditional_bytes);
            for end in &mut frame_ends[conditional.at_frame..] {
                *end += bytes.len() as u64;
            }
            pieces.insert(conditional.at_piece, Piece::Shared(bytes));
        }
        Record { composite: Some(Box::new(Composite { pieces, frame_ends })), ..record }
    }

    /// Makes sure of a block with room for one more record.
    pub(super) fn ready_block(&mut self, log: &Log) {
        if self.block().is_none_or(|block| self.published == block.records()) {
            self.change_block(log);
        }
    }
}
