//! Staging: a writer's private memory.
//!
//! Nothing here is shared. What is staged lies behind what is published in the writer's block, so a frame
//! that was staged in one piece is published where it is.

use std::mem;
use std::ops::Range;
use std::ptr;

use bytes::Bytes;

use crate::buffer::block::{Block, Composite, Piece};
use crate::buffer::log::Log;
use crate::buffer::memory::{Memory, OwnBlock};
use crate::buffer::segment::NO_CONTEXT;
use crate::buffer::sync::table::{Fault, fault};

/// What a stage keeps room for between two frames.
const KEPT_PIECES: usize = 1024;
const KEPT_CONDITIONAL_BYTES: usize = 4 << 10;
/// The longest run that is staged once more behind its conditional part; a longer one is two pieces.
const MAX_JOINED_BYTES: usize = 4 << 10;

/// A part that is published only if the predecessor's context differs.
#[derive(Debug)]
pub(super) struct Conditional {
    pub(super) context: u64,
    /// How many staged pieces stand before it.
    at_piece: usize,
    /// How many frames of the publication end before it.
    at_frame: usize,
}

/// A writer's block, and the frame it is staging.
///
/// What is staged is, in this order: `pieces`, then the bytes in the block from `open` on, or `own`.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(super) block: *mut Block,
    /// What the block has room for; 0 without one.
    pub(super) capacity: usize,
    /// Bytes of the block that are taken by published frames.
    pub(super) used: usize,
    /// The longest frame that is staged in the block and not in one of its own; 0 without a block.
    pub(super) quick: usize,
    /// A frame is being staged, or was forgotten.
    pub(super) busy: bool,
    pub(super) pieces: Vec<Piece>,
    /// Bytes staged in the block, and where the run that is still growing starts; relative to `used`.
    pub(super) staged: usize,
    open: usize,
    /// The only piece, if it is long.
    pub(super) own: Option<OwnBlock>,
    pub(super) frame_ends: Vec<u64>,
    /// Bytes altogether, the conditional part apart.
    pub(super) len: u64,
    pub(super) conditional: Option<Conditional>,
    pub(super) conditional_bytes: Vec<u8>,
    /// The context after the staged bytes, once something has set it.
    pub(super) context: Option<u64>,
}

// SAFETY: a stage owns its block as the block's only writer, wherever it is moved.
unsafe impl Send for Stage {}

impl Default for Stage {
    fn default() -> Self {
        Self {
            block: ptr::null_mut(),
            capacity: 0,
            used: 0,
            quick: 0,
            busy: false,
            pieces: Vec::new(),
            staged: 0,
            open: 0,
            own: None,
            frame_ends: Vec::new(),
            len: 0,
            conditional: None,
            conditional_bytes: Vec::new(),
            context: None,
        }
    }
}

impl Stage {
    pub(super) fn block(&self) -> Option<&Block> {
        // SAFETY: the stage owns its block as its writer.
        unsafe { self.block.as_ref() }
    }

    /// Forgets what is staged.
    #[inline]
    pub(super) fn discard(&mut self) {
        if mem::take(&mut self.busy) {
            self.forget();
        }
    }

    #[inline]
    fn forget(&mut self) {
        self.pieces.clear();
        self.frame_ends.clear();
        self.conditional_bytes.clear();
        // What a large batch took is not kept for small ones.
        self.pieces.shrink_to(KEPT_PIECES);
        self.frame_ends.shrink_to(KEPT_PIECES);
        self.conditional_bytes.shrink_to(KEPT_CONDITIONAL_BYTES);
        (self.staged, self.open, self.len, self.own) = (0, 0, 0, None);
        (self.conditional, self.context) = (None, None);
    }

    /// Leaves the block to what is published of it. To be called before a stage is dropped.
    pub(super) fn leave_block(&mut self, memory: &Memory) {
        let block = mem::replace(&mut self.block, ptr::null_mut());
        if !block.is_null() {
            // SAFETY: the writer's reference, given up once by the block's writer.
            unsafe { memory.leave_block(block, self.used) }
        }
        (self.used, self.capacity, self.quick) = (0, 0, 0);
    }

    /// Goes on in a block that another writer left. Without a block nothing is staged in one.
    #[cold]
    #[inline(never)]
    fn take_remainder(&mut self, log: &Log) {
        if let Some((block, used)) = log.memory.remainder() {
            self.stand_in(block, used, log);
        }
    }

    /// Stages in this block from now on.
    fn stand_in(&mut self, block: *mut Block, used: usize, log: &Log) {
        (self.block, self.used, self.capacity) = (block, used, log.settings.block_bytes);
        self.quick = (log.settings.block_bytes / 2)
            .min(usize::try_from(log.settings.max_frame_bytes).unwrap_or(usize::MAX));
    }

    /// Takes a fresh block and carries over what is staged: moved if it is short, otherwise made
    /// a shared piece of its own.
    #[cold]
    #[inline(never)]
    fn change_block(&mut self, log: &Log) {
        let fresh = log.memory.block();
        if self.staged > 0
            && let Some(old) = self.block()
        {
            // SAFETY: these bytes were staged, and are not written while the slice lives.
            let staged = unsafe { old.read(self.used..self.used + self.staged) };
            if self.staged <= old.capacity() / 4 {
                // SAFETY: the fresh block is ours and empty.
                unsafe { (*fresh).write(0, staged) };
            } else {
                let shared = Bytes::from_owner(OwnBlock::copy_of(staged, &log.memory));
                self.close_run();
                for piece in &mut self.pieces {
                    if let Piece::Staged(range) = piece {
                        *piece = Piece::Shared(shared.slice(range.start as usize..range.end as usize));
                    }
                }
                (self.staged, self.open) = (0, 0);
            }
        }
        let old = mem::replace(&mut self.block, ptr::null_mut());
        if !old.is_null() {
            // SAFETY: the writer's reference, given up once.
            unsafe { log.memory.drop_block(old) }
        }
        self.stand_in(fresh, 0, log);
    }

    /// Makes sure of a block with room for so many bytes more, at most half a block.
    #[inline]
    pub(super) fn make_room(&mut self, more: usize, log: &Log) {
        if self.block.is_null() {
            self.take_remainder(log);
        }
        if !self.has_room(more) {
            self.change_block(log);
        }
    }

    /// Whether there is room for so many bytes more, as things stand.
    pub(super) fn has_room(&self, more: usize) -> bool {
        let needed = self.used + self.staged + more;
        self.block().is_some_and(|block| needed <= block.capacity())
    }

    /// Ends the run that is growing: what is staged next is another piece.
    #[inline]
    fn close_run(&mut self) {
        if self.staged > self.open {
            self.pieces.push(Piece::Staged(self.open as u32..self.staged as u32));
            self.open = self.staged;
        }
        if let Some(own) = self.own.take() {
            self.pieces.push(Piece::Shared(Bytes::from_owner(own)));
        }
    }

    pub(super) fn put_slice(&mut self, bytes: &[u8], log: &Log) {
        if bytes.is_empty() {
            return;
        }
        if bytes.len() > log.settings.block_bytes / 2 {
            let first = self.len == 0;
            let own = OwnBlock::copy_of(bytes, &log.memory);
            if first {
                self.own = Some(own);
                self.len += bytes.len() as u64;
            } else {
                self.put_bytes(Bytes::from_owner(own));
            }
            return;
        }
        if self.own.is_some() {
            self.close_run();
        }
        self.make_room(bytes.len(), log);
        let Some(block) = self.block() else { return };
        // SAFETY: the stage is the block's writer; what is published ends before `used`, and there
        // is room.
        unsafe { block.write(self.used + self.staged, bytes) };
        self.staged += bytes.len();
        self.len += bytes.len() as u64;
    }

    pub(super) fn put_bytes(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            self.close_run();
            self.len += bytes.len() as u64;
            self.pieces.push(Piece::Shared(bytes));
        }
    }

    /// Whether what is staged leaves this context.
    pub(super) fn sets(&self, context: u64) -> bool {
        context != NO_CONTEXT && self.context == Some(context)
    }

    pub(super) fn select_context(&mut self, context: u64, bytes: &[u8], log: &Log) {
        if self.sets(context) {
            return;
        }
        match self.context.replace(context) {
            None => {
                self.close_run();
                let (at_piece, at_frame) = (self.pieces.len(), self.frame_ends.len());
                self.conditional = Some(Conditional { context, at_piece, at_frame });
                self.conditional_bytes.extend_from_slice(bytes);
            }
            Some(_) => self.put_slice(bytes, log),
        }
    }

    /// Whether the staged bytes are one frame in one run in the block: the common case.
    pub(super) fn is_single_run(&self) -> bool {
        self.staged as u64 == self.len && self.frame_ends.len() < 2
    }

    /// Whether the staged bytes are one long frame in a block of its own.
    pub(super) fn is_own(&self) -> bool {
        self.own.is_some() && self.frame_ends.len() < 2
    }

    /// Whether the conditional part, if it is published, is the front of a single run that there is
    /// room to stage once more.
    pub(super) fn can_join_conditional(&self) -> bool {
        let at_front = self.conditional.as_ref().is_some_and(|conditional| conditional.at_piece == 0);
        let is_short = self.staged <= MAX_JOINED_BYTES;
        at_front
            && is_short
            && self.is_single_run()
            && self.has_room(self.conditional_bytes.len() + self.staged)
    }

    /// Bytes of the conditional part.
    pub(super) fn conditional_len(&self) -> u64 {
        self.conditional.as_ref().map_or(0, |_| self.conditional_bytes.len() as u64)
    }

    /// Stages the conditional part and, once more, the single run behind it, so that both are one
    /// run; returns where it starts. There has to be room.
    pub(super) fn join_conditional(&mut self) -> usize {
        let from = self.used + self.staged;
        let Some(block) = self.block() else { return from };
        // SAFETY: the stage is the block's writer, and there is room behind what is staged. The run
        // was staged, and is not written while the slice lives.
        unsafe {
            block.write(from, &self.conditional_bytes);
            block.write(from + self.conditional_bytes.len(), block.read(self.used..from));
        }
        from
    }

    /// The composite of what is staged, with or without the conditional part.
    pub(super) fn composite(&mut self, with_conditional: bool) -> Box<Composite> {
        self.close_run();
        let in_block = |range: &Range<u32>| {
            let base = self.used as u32;
            Piece::Staged(base + range.start..base + range.end)
        };
        let copied = |piece: &Piece| match piece {
            Piece::Staged(range) => in_block(range),
            Piece::Shared(bytes) => Piece::Shared(bytes.clone()),
        };
        let mut pieces: Vec<Piece> = self.pieces.iter().map(copied).collect();
        let mut frame_ends = self.frame_ends.clone();
        if with_conditional && let Some(conditional) = &self.conditional {
            let bytes = Bytes::copy_from_slice(&self.conditional_bytes);
            for end in &mut frame_ends[conditional.at_frame..] {
                *end += bytes.len() as u64;
            }
            if !bytes.is_empty() {
                pieces.insert(conditional.at_piece, Piece::Shared(bytes));
            }
        }
        Composite::new(pieces, frame_ends)
    }

    /// Leaves the address of a composite in the block, behind what is staged; returns where.
    pub(super) fn leave_composite(&self, composite: *mut Composite) -> usize {
        let place = self.end();
        if let Some(block) = self.block() {
            // SAFETY: the stage is the block's writer, and `make_room` saw to the room.
            unsafe { block.write_composite(place, composite) };
        }
        place
    }

    /// The block up to here belongs to what is published.
    pub(super) fn publish_up_to(&mut self, place: usize) {
        self.used = if fault(Fault::ReuseBytes) { self.used } else { place };
    }

    /// Where what is staged next would start.
    pub(super) fn end(&self) -> usize {
        self.used + self.staged
    }
}
