//! What a log has to answer: the reference, and what follows from it.

use std::ops::Range;

use thiserror::Error;

use crate::buffer::reference::{ReferenceBuffer, ReferenceFrame, Refusal};

/// Log and reference differ.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Difference {
    /// I1: an append was told other offsets, or its refusal differs.
    #[error(
        "I1 gapless, or I10 fence: an append of term {term} was answered {told:?}, the reference says {expected:?}"
    )]
    Append {
        /// The writer's term.
        term: u64,
        /// The offsets that it was told; none if it was refused.
        told: Option<Range<u64>>,
        /// What it should have been told.
        expected: Option<Range<u64>>,
    },
    /// I1: the stream ends elsewhere.
    #[error("I1 gapless: the stream ends at {end}, the reference at {expected}")]
    End {
        /// As the log has it.
        end: u64,
        /// As the reference has it.
        expected: u64,
    },
    /// I5: other bytes are read than were appended.
    #[error("I5 integrity: at offset {offset} byte {byte:#04x} is read, {expected:#04x} was appended")]
    Byte {
        /// Where.
        offset: u64,
        /// What was read.
        byte: u8,
        /// What was appended.
        expected: u8,
    },
    /// I2: more is read than was appended.
    #[error("I2 prefix: bytes are read up to {read}, the stream ends at {end}")]
    BehindEnd {
        /// As far as the cursor came.
        read: u64,
        /// Where the stream ends.
        end: u64,
    },
    /// I2: something is there, and a cursor does not show it.
    #[error("I2 prefix: nothing is to be read at {offset}, but the stream ends at {end}")]
    Hidden {
        /// Where the cursor stands.
        offset: u64,
        /// Where the stream ends.
        end: u64,
    },
    /// I3: a frame is bounded otherwise than it was published.
    #[error("I3 one order: a frame from {read:?} is read, {published:?} was published")]
    Frame {
        /// The frame that was read.
        read: Range<u64>,
        /// The frame that is there.
        published: Option<Range<u64>>,
    },
    /// I7: an offset that has to be retained is not.
    #[error("I7 retention: {first} is the first offset retained, {needed} has to be")]
    NotRetained {
        /// The log's first offset.
        first: u64,
        /// What the backlog size asks for.
        needed: u64,
    },
    /// I7: what was trimmed is retained again.
    #[error("I7 retention: {first} is the first offset retained, but {before} was before")]
    CameBack {
        /// The log's first offset.
        first: u64,
        /// What it was.
        before: u64,
    },
    /// I7: an attach was answered otherwise than the retained range says.
    #[error("I7 retention: offset {offset} was {}, with {first} to {end} retained", if *attached { "attached" } else { "refused" })]
    Attach {
        /// The offset asked for.
        offset: u64,
        /// Whether it was granted.
        attached: bool,
        /// The log's first offset.
        first: u64,
        /// The end.
        end: u64,
    },
    /// I10: a seal was answered otherwise.
    #[error("I10 fence: the seal of term {term} was answered {told:?}, the reference says {expected:?}")]
    Seal {
        /// The term.
        term: u64,
        /// The offset that was told; none if it was refused.
        told: Option<u64>,
        /// What should have been told.
        expected: Option<u64>,
    },
}

/// The reference beside a log, and what has to be retained.
#[derive(Clone, Debug)]
pub struct Model {
    reference: ReferenceBuffer,
    /// Everything from here on has to be attachable.
    must_retain_from: u64,
    first_before: u64,
}

impl Model {
    /// Of an empty stream.
    #[must_use]
    pub fn new(base_offset: u64, backlog_bytes: u64) -> Self {
        Self {
            reference: ReferenceBuffer::new(base_offset, backlog_bytes),
            must_retain_from: base_offset,
            first_before: base_offset,
        }
    }

    /// The reference, as it is.
    #[must_use]
    pub fn reference(&self) -> &ReferenceBuffer {
        &self.reference
    }

    /// The end of the stream.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.reference.end()
    }

    /// What an append has to be told.
    ///
    /// # Errors
    /// [`Refusal::Fenced`].
    pub fn append(&mut self, term: u64, frames: &[ReferenceFrame]) -> Result<Range<u64>, Refusal> {
        self.reference.append(term, frames)
    }

    /// What a seal has to be told.
    ///
    /// # Errors
    /// [`Refusal::Fenced`].
    pub fn seal(&mut self, term: u64) -> Result<u64, Refusal> {
        self.reference.seal(term)
    }

    /// Changes the backlog size.
    pub fn set_backlog_bytes(&mut self, bytes: u64) {
        self.reference.set_backlog_bytes(bytes);
    }

    /// I1, I7: where the log begins and ends. To be asked after every operation: what has to be retained is
    /// what had to be at any time.
    ///
    /// # Errors
    /// What differs.
    pub fn expect_bounds(&mut self, first: u64, end: u64) -> Result<(), Difference> {
        if end != self.end() {
            return Err(Difference::End { end, expected: self.end() });
        }
        self.must_retain_from = self.must_retain_from.max(self.reference.must_retain_from());
        if first > self.must_retain_from {
            return Err(Difference::NotRetained { first, needed: self.must_retain_from });
        }
        let before = std::mem::replace(&mut self.first_before, first);
        if first < before { Err(Difference::CameBack { first, before }) } else { Ok(()) }
    }

    /// I7: whether an attach has to be granted.
    ///
    /// # Errors
    /// It was answered otherwise.
    pub fn expect_attach(&self, offset: u64, first: u64, attached: bool) -> Result<(), Difference> {
        let end = self.end();
        if (first..=end).contains(&offset) == attached {
            Ok(())
        } else {
            Err(Difference::Attach { offset, attached, first, end })
        }
    }

    /// I2, I5: what is read from `offset` on.
    ///
    /// # Errors
    /// It is something else.
    pub fn expect_bytes(&self, offset: u64, bytes: &[u8]) -> Result<(), Difference> {
        let (read, end) = (offset.saturating_add(bytes.len() as u64), self.end());
        let Ok(expected) = self.reference.bytes(offset, read) else {
            return Err(Difference::BehindEnd { read, end });
        };
        match bytes.iter().zip(expected).position(|(byte, expected)| byte != expected) {
            Some(at) => {
                let offset = offset + at as u64;
                Err(Difference::Byte { offset, byte: bytes[at], expected: expected[at] })
            }
            None => Ok(()),
        }
    }

    /// I3, I5: the frame that is read by a cursor at `offset`: from there, or from its beginning, to its end.
    ///
    /// # Errors
    /// It is another.
    pub fn expect_frame(&self, offset: u64, read: &Range<u64>, rest: &[u8]) -> Result<(), Difference> {
        let published = self.reference.frame_at(offset);
        if published.as_ref() != Some(read) {
            return Err(Difference::Frame { read: read.clone(), published });
        }
        self.expect_bytes(offset, rest)
    }
}
