//! Records of bytes, packed into chunks.
//!
//! # Promise
//!
//! A record keeps its [`Address`] until its owner moves it. Records are only appended, to the *open* chunk;
//! what is released is garbage until its chunk goes. A clone shares the chunks, and a shared chunk is copied
//! when its bytes change.
//!
//! # Garbage
//!
//! Each chunk counts its live bytes. One with none goes at once. When [`Arena::release`] leaves a chunk with
//! more garbage than live bytes it says so, and the owner, who knows which records live, takes the chunk out
//! and appends those again. So there is at most as much garbage as there are live bytes, and
//! [`GARBAGE_MIN_BYTES`] a chunk. Taking out a chunk costs its size, and at least half of that was released
//! since it was filled: O(1) amortised for each released byte, and never more than one chunk at once.

use std::sync::Arc;

/// What a chunk holds at most. To take out a larger one would take longer than a command should.
pub(super) const CHUNK_BYTES: usize = 1 << 14;

/// Less garbage than this is left where it is.
pub(super) const GARBAGE_MIN_BYTES: usize = 256;

/// The open chunk grows by a part of what all have.
const GROWTH_DIVISOR: usize = 8;
const CHUNK_MIN_BYTES: usize = 256;

/// Where a record begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Address {
    pub chunk: u32,
    pub offset: u16,
}

#[derive(Clone, Debug, Default)]
struct Chunk {
    bytes: Arc<Vec<u8>>,
    live_bytes: u32,
}

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Arena {
    chunks: Vec<Chunk>,
    open: u32,
    /// Chunks that are empty and not open.
    free: Vec<u32>,
    /// The capacity of all chunks.
    chunk_bytes: usize,
}

impl Default for Arena {
    fn default() -> Self {
        Arena { chunks: vec![Chunk::default()], open: 0, free: Vec::new(), chunk_bytes: 0 }
    }
}

impl Arena {
    pub fn heap_bytes(&self) -> usize {
        // An `Arc` has two counts.
        let chunk_overhead_bytes = size_of::<Chunk>() + size_of::<Vec<u8>>() + 2 * size_of::<usize>();
        self.chunk_bytes
            + self.chunks.len() * chunk_overhead_bytes
            + (self.chunks.capacity() - self.chunks.len()) * size_of::<Chunk>()
            + self.free.capacity() * size_of::<u32>()
    }

    /// The record at `address` and whatever is behind it.
    #[inline]
    pub fn from(&self, address: Address) -> &[u8] {
        &self.chunks[address.chunk as usize].bytes[address.offset.into()..]
    }

    /// The bytes of a chunk, to be changed.
    fn bytes_mut(&mut self, chunk: u32) -> &mut Vec<u8> {
        let bytes = &mut self.chunks[chunk as usize].bytes;
        let before = bytes.capacity();
        // If it is copied, the copy has no room to grow.
        let bytes = Arc::make_mut(bytes);
        self.chunk_bytes = self.chunk_bytes - before + bytes.capacity();
        bytes
    }

    /// Overwrites `bytes.len()` bytes that begin `skip` bytes behind the beginning of a record.
    pub fn overwrite(&mut self, address: Address, skip: usize, bytes: &[u8]) {
        let at = usize::from(address.offset) + skip;
        self.bytes_mut(address.chunk)[at..at + bytes.len()].copy_from_slice(bytes);
    }

    /// Adds a record, of at most [`CHUNK_BYTES`].
    pub fn append(&mut self, record: &[u8]) -> Address {
        if self.chunks[self.open as usize].bytes.len() + record.len() > CHUNK_BYTES {
            self.open_another();
        }
        let reserve = (self.chunk_bytes / GROWTH_DIVISOR).max(CHUNK_MIN_BYTES);
        let open = self.open;
        let bytes = self.bytes_mut(open);
        let (offset, before) = (bytes.len(), bytes.capacity());
        if before - offset < record.len() {
            bytes.reserve_exact(reserve.max(record.len()).min(CHUNK_BYTES - offset));
        }
        bytes.extend_from_slice(record);
        self.chunk_bytes = self.chunk_bytes - before + self.chunks[open as usize].bytes.capacity();
        self.chunks[open as usize].live_bytes += record.len() as u32;
        // It ends within the chunk, so it begins within 16 bits.
        Address { chunk: open, offset: offset as u16 }
    }

    fn open_another(&mut self) {
        self.open = self.free.pop().unwrap_or_else(|| {
            self.chunks.push(Chunk::default());
            (self.chunks.len() - 1) as u32
        });
    }

    /// A record has become garbage. Returns whether its chunk should be [taken out](Self::take).
    pub fn release(&mut self, address: Address, record_bytes: usize) -> bool {
        let chunk = &mut self.chunks[address.chunk as usize];
        chunk.live_bytes -= record_bytes as u32;
        let live_bytes = chunk.live_bytes as usize;
        if live_bytes == 0 {
            self.take(address.chunk);
            return false;
        }
        let garbage_bytes = chunk.bytes.len() - live_bytes;
        garbage_bytes > live_bytes.max(GARBAGE_MIN_BYTES)
    }

    /// Takes out a chunk. What is alive in it has to be appended again.
    pub fn take(&mut self, chunk: u32) -> Arc<Vec<u8>> {
        let Chunk { bytes, .. } = std::mem::take(&mut self.chunks[chunk as usize]);
        self.chunk_bytes -= bytes.capacity();
        if chunk != self.open {
            self.free.push(chunk);
        }
        bytes
    }
}
