//! Programs: what the threads of an execution do with a buffer.

use std::fmt;

use replcore::buffer::reference::ReferenceFrame;
use replcore::buffer::{Builder, CursorLimits, ReplicationBuffer};
use serde::{Deserialize, Serialize};

/// A buffer's settings, and the operations of each thread.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// The buffer.
    pub settings: Settings,
    /// What each thread does, one after the other.
    pub threads: Vec<Vec<Operation>>,
}

impl Program {
    /// Operations in all.
    #[must_use]
    pub fn len(&self) -> usize {
        self.threads.iter().map(Vec::len).sum()
    }

    /// Whether nothing is done.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What the buffer is built with: capacities so small that everything turns over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// Publications of a segment.
    pub segment_frames: usize,
    /// Bytes of a segment.
    pub segment_bytes: u64,
    /// Blocks, and contexts, of a segment.
    pub segment_blocks: usize,
    /// Bytes kept behind the end, at first.
    pub backlog_bytes: u64,
    /// Spare segments, blocks and writers.
    pub pooled: usize,
    /// Every retirement begins an era, instead of none.
    pub eras: bool,
    /// Where the stream starts.
    pub base_offset: u64,
}

/// Bytes of a block: the least there can be.
const BLOCK_BYTES: usize = 64;

/// Frames of a segment, records of a block, spare objects, at most.
const MOST_OF_A_KIND: usize = 1024;
/// More than any setting needs: what is larger turns nothing over.
const MOST: u64 = 1 << 40;

/// No limit; a look between the stores of a new one must not find a soft limit of no time.
const NO_LIMITS: CursorLimits = CursorLimits { hard_bytes: 0, soft_bytes: 0, soft_ms: MOST };

impl Settings {
    /// Whether a buffer can be built with them; a file may say anything.
    ///
    /// # Errors
    /// Which one is out of its bounds.
    pub fn check(&self) -> Result<(), String> {
        let within = |name, given: u64, least| {
            let fits = (least..=MOST).contains(&given);
            if fits {
                Ok(())
            } else {
                Err(format!("{name} is {given}, but has to be between {least} and {MOST}"))
            }
        };
        within("segment_bytes", self.segment_bytes, 1)?;
        within("backlog_bytes", self.backlog_bytes, 0)?;
        within("base_offset", self.base_offset, 0)?;
        for (name, given, least) in [
            ("segment_frames", self.segment_frames, 1),
            ("segment_blocks", self.segment_blocks, 1),
            ("pooled", self.pooled, 0),
        ] {
            if !(least..=MOST_OF_A_KIND).contains(&given) {
                return Err(format!("{name} is {given}, but has to be between {least} and {MOST_OF_A_KIND}"));
            }
        }
        Ok(())
    }

    /// A builder with these settings.
    pub fn builder(&self) -> Builder {
        ReplicationBuffer::builder()
            .block_bytes(BLOCK_BYTES)
            .segment_frames(self.segment_frames)
            .segment_bytes(self.segment_bytes)
            .segment_blocks(self.segment_blocks)
            .segment_contexts(self.segment_blocks)
            .backlog_bytes(self.backlog_bytes)
            .base_offset(self.base_offset)
            .max_unreclaimed_bytes(if self.eras { 0 } else { u64::MAX })
            .cursor_limits(NO_LIMITS)
            .pooled_blocks(self.pooled)
            .pooled_segments(self.pooled)
            .pooled_writers(self.pooled)
    }
}

/// A frame of a publication.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frame {
    /// Bytes.
    pub bytes: u8,
    /// The context that it asks for, if it does.
    pub select: Option<u8>,
    /// Its bytes are handed in, not copied.
    pub shared: bool,
}

/// What a thread does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Operation {
    /// Appends frames as one publication, with the thread's own writer.
    Append(Vec<Frame>),
    /// Appends so many bytes with a writer from the pool.
    AppendPooled(u8),
    /// Publishes a marker: the context from there on, or that it is unknown.
    Marker(Option<u8>),
    /// Drops the writer; the next one is of the then current term.
    DropWriter,
    /// Drops the cursor, if there is one, and attaches another.
    Attach(From),
    /// Drops the cursor.
    DropCursor,
    /// Looks at what is published and reads so many bytes of it, or all.
    Read(Option<u8>),
    /// Looks at what is published and reads so many frames.
    ReadFrames(u8),
    /// Reads what there is; if there is nothing, leaves a waker.
    Poll,
    /// Changes the size of the backlog.
    SetBacklog(u8),
    /// Changes the limits: hard bytes, soft bytes, soft milliseconds.
    SetLimits(u8, u8, u8),
    /// So many milliseconds pass; then the limits are enforced.
    Enforce(u8),
    /// Seals the current term and begins the next.
    Seal,
    /// Looks at the numbers.
    Stats,
}

/// Where a cursor begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum From {
    /// At the end.
    End,
    /// At the first offset that can be attached.
    First,
    /// So many bytes behind the end.
    Behind(u8),
    /// So many bytes beyond the end.
    Beyond(u8),
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Append(frames) => {
                write!(f, "append")?;
                for frame in frames {
                    write!(f, " {}", frame.bytes)?;
                    if let Some(context) = frame.select {
                        write!(f, " in context {context}")?;
                    }
                    if frame.shared {
                        write!(f, " shared")?;
                    }
                }
                Ok(())
            }
            Self::AppendPooled(bytes) => write!(f, "append {bytes} pooled"),
            Self::Marker(Some(context)) => write!(f, "set context {context}"),
            Self::Marker(None) => write!(f, "forget context"),
            Self::DropWriter => write!(f, "drop writer"),
            Self::Attach(From::End) => write!(f, "attach at end"),
            Self::Attach(From::First) => write!(f, "attach at first"),
            Self::Attach(From::Behind(bytes)) => write!(f, "attach at end-{bytes}"),
            Self::Attach(From::Beyond(bytes)) => write!(f, "attach at end+{bytes}"),
            Self::DropCursor => write!(f, "drop cursor"),
            Self::Read(None) => write!(f, "read all"),
            Self::Read(Some(bytes)) => write!(f, "read {bytes}"),
            Self::ReadFrames(frames) => write!(f, "read {frames} frames"),
            Self::Poll => write!(f, "poll"),
            Self::SetBacklog(bytes) => write!(f, "set backlog {bytes}"),
            Self::SetLimits(hard, soft, ms) => write!(f, "set limits {hard} {soft} {ms} ms"),
            Self::Enforce(ms) => write!(f, "enforce after {ms} ms"),
            Self::Seal => write!(f, "seal"),
            Self::Stats => write!(f, "stats"),
        }
    }
}

/// The bytes of a frame: those of no other, as far as a byte can tell.
#[must_use]
pub fn payload(thread: usize, operation: usize, frame: usize, bytes: u8) -> Vec<u8> {
    let start = thread * 59 + operation * 7 + frame * 3;
    (0..usize::from(bytes)).map(|at| b'!' + ((start + at) % 90) as u8).collect()
}

/// The bytes that are published where a context is asked for and another is in force.
#[must_use]
pub fn select(context: u8) -> Vec<u8> {
    format!("<{context}>").into_bytes()
}

/// A publication as the reference takes it.
#[must_use]
pub fn reference_frames(frames: &[Frame], thread: usize, operation: usize) -> Vec<ReferenceFrame> {
    let frames = frames.iter().enumerate().map(|(index, frame)| {
        let reference = ReferenceFrame::new(&payload(thread, operation, index, frame.bytes));
        match frame.select {
            Some(context) => reference.select(u64::from(context), &select(context)),
            None => reference,
        }
    });
    frames.collect()
}
