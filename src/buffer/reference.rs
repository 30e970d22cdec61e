//! The sequential reference model: what a replication buffer does, in the most obvious code.
//!
//! It keeps every frame for ever, knows one thread, and has no optimisation to be wrong about.
//! The product, or a buffer of your own, is driven beside it and has to agree.
//!
//! ```
//! use replcore::buffer::reference::{ReferenceBuffer, ReferenceFrame};
//!
//! let mut reference = ReferenceBuffer::new(0, 1 << 20);
//! let frame = ReferenceFrame::new(b"SET k v\r\n").select(0, b"SELECT 0\r\n");
//! assert_eq!(reference.append(1, &[frame.clone()]), Ok(0..19));
//! assert_eq!(reference.append(1, &[frame]), Ok(19..28));
//! assert_eq!(reference.bytes(10, 19).unwrap(), b"SET k v\r\n");
//! ```

use std::ops::Range;

/// A frame to append: bytes, perhaps with a context and a part that depends on it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReferenceFrame {
    /// What stands before the conditional part.
    pub before: Vec<u8>,
    /// The context asked for there, and the bytes that are published if it is not in force.
    pub select: Option<(u64, Vec<u8>)>,
    /// The rest.
    pub bytes: Vec<u8>,
    /// The context after the frame: left as it is, unknown, or given.
    pub leaves: Option<Option<u64>>,
}

impl ReferenceFrame {
    /// A frame of these bytes.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        Self { bytes: bytes.to_vec(), ..Self::default() }
    }

    /// With a conditional part at its front.
    #[must_use]
    pub fn select(self, context: u64, bytes: &[u8]) -> Self {
        Self { select: Some((context, bytes.to_vec())), ..self }
    }

    /// The context after the frame; `None` makes it unknown.
    #[must_use]
    pub fn leaves(self, context: Option<u64>) -> Self {
        Self { leaves: Some(context), ..self }
    }
}

/// Why the reference refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The term is sealed.
    Fenced,
    /// The offset is before the first one that has to be attachable, or after the end.
    NotRetained,
}

/// The context that such a number puts in force: `u64::MAX` stands for none.
fn in_force(context: u64) -> Option<u64> {
    (context != u64::MAX).then_some(context)
}

/// The stream as a list of frames.
#[derive(Clone, Debug)]
pub struct ReferenceBuffer {
    base: u64,
    backlog_bytes: u64,
    bytes: Vec<u8>,
    frames: Vec<Range<u64>>,
    context: Option<u64>,
    sealed_term: u64,
}

impl ReferenceBuffer {
    /// An empty stream at offset `base`.
    #[must_use]
    pub fn new(base: u64, backlog_bytes: u64) -> Self {
        Self { base, backlog_bytes, bytes: Vec::new(), frames: Vec::new(), context: None, sealed_term: 0 }
    }

    /// Appends frames together, as a writer of `term`. Returns their offsets.
    ///
    /// # Errors
    /// [`Refusal::Fenced`].
    pub fn append(&mut self, term: u64, frames: &[ReferenceFrame]) -> Result<Range<u64>, Refusal> {
        if term <= self.sealed_term {
            return Err(Refusal::Fenced);
        }
        let start = self.end();
        for frame in frames {
            let frame_start = self.end();
            self.bytes.extend(&frame.before);
            if let Some((context, select)) = &frame.select {
                let context = in_force(*context);
                if context.is_none() || self.context != context {
                    self.bytes.extend(select);
                }
                self.context = context;
            }
            self.bytes.extend(&frame.bytes);
            if let Some(context) = frame.leaves {
                self.context = context.and_then(in_force);
            }
            if self.end() > frame_start {
                self.frames.push(frame_start..self.end());
            }
        }
        Ok(start..self.end())
    }

    /// Seals a term. Returns the offset of the seal.
    ///
    /// # Errors
    /// [`Refusal::Fenced`] if it, or a later one, is sealed.
    pub fn seal(&mut self, term: u64) -> Result<u64, Refusal> {
        if term <= self.sealed_term {
            return Err(Refusal::Fenced);
        }
        self.sealed_term = term;
        Ok(self.end())
    }

    /// The end of the stream.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.base + self.bytes.len() as u64
    }

    /// The frames so far, by their offsets.
    #[must_use]
    pub fn frames(&self) -> &[Range<u64>] {
        &self.frames
    }

    /// Changes the backlog size.
    pub fn set_backlog_bytes(&mut self, bytes: u64) {
        self.backlog_bytes = bytes;
    }

    /// An offset at or after this one, up to the end, has to be attachable, if the backlog has
    /// been at least as large since.
    #[must_use]
    pub fn must_retain_from(&self) -> u64 {
        self.end().saturating_sub(self.backlog_bytes).max(self.base)
    }

    /// The bytes from offset `start` to `end`.
    ///
    /// # Errors
    /// [`Refusal::NotRetained`] if there are none such.
    pub fn bytes(&self, start: u64, end: u64) -> Result<&[u8], Refusal> {
        let within = |offset: u64| {
            let at = offset.checked_sub(self.base).ok_or(Refusal::NotRetained)?;
            usize::try_from(at).map_err(|_| Refusal::NotRetained)
        };
        self.bytes.get(within(start)?..within(end)?).ok_or(Refusal::NotRetained)
    }

    /// The frame that holds the byte after offset `offset`.
    #[must_use]
    pub fn frame_at(&self, offset: u64) -> Option<Range<u64>> {
        let at = self.frames.partition_point(|frame| frame.end <= offset);
        self.frames.get(at).filter(|frame| frame.start <= offset).cloned()
    }
}
