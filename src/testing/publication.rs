//! What a writer publishes, as data: for the shipped buffer, and for the reference.
//!
//! A log of one's own needs [`Publication::of`] alone: plain bytes. The other parts are what the shipped
//! [`StagedFrame`] can do; the [reference](crate::buffer::reference) says what comes of them.
//!
//! ```
//! use replcore::buffer::ReplicationBuffer;
//! use replcore::buffer::reference::ReferenceBuffer;
//! use replcore::testing::publication::{Part, Publication};
//!
//! let select = || Part::Select { context: 0, bytes: "SELECT 0\r\n".into() };
//! let publication =
//!     Publication::from_iter([select(), Part::Copied("SET k v\r\n".into()), Part::EndFrame, select(), Part::Copied("DEL k\r\n".into())]);
//!
//! let (buffer, mut reference) = (ReplicationBuffer::builder().build()?, ReferenceBuffer::new(0, 1 << 20));
//! let told = buffer.append_with(|frame| publication.stage(frame))?;
//! assert_eq!(reference.append(1, &publication.frames()), Ok(told));
//! assert_eq!(reference.bytes(0, 26), Ok(&b"SELECT 0\r\nSET k v\r\nDEL k\r\n"[..]));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use bytes::{Buf, Bytes};

use crate::buffer::StagedFrame;
use crate::buffer::reference::ReferenceFrame;

/// A step of staging a publication.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// Bytes, copied.
    Copied(Bytes),
    /// Bytes, copied from a [`Buf`] of two chunks.
    Chained(Bytes),
    /// Bytes, shared.
    Shared(Bytes),
    /// Bytes that are published only if another context is in force.
    Select {
        /// The context asked for; `u64::MAX` stands for none.
        context: u64,
        /// What puts it in force.
        bytes: Bytes,
    },
    /// Says what context is in force from here on.
    SetContext(Option<u64>),
    /// The end of a frame. What follows is the next one of the same publication.
    EndFrame,
}

/// One or more frames that are published together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Publication {
    /// The steps of staging it, in order.
    pub parts: Vec<Part>,
}

impl FromIterator<Part> for Publication {
    fn from_iter<I: IntoIterator<Item = Part>>(parts: I) -> Self {
        Self { parts: parts.into_iter().collect() }
    }
}

impl Publication {
    /// A frame of these bytes.
    #[must_use]
    pub fn of(bytes: impl Into<Bytes>) -> Self {
        Self { parts: vec![Part::Copied(bytes.into())] }
    }

    /// Stages it for the shipped buffer.
    pub fn stage(&self, frame: &mut StagedFrame<'_>) {
        for part in &self.parts {
            match part {
                Part::Copied(bytes) => frame.put_slice(bytes),
                Part::Chained(bytes) => {
                    let middle = bytes.len() / 2;
                    frame.put(bytes.slice(..middle).chain(bytes.slice(middle..)));
                }
                Part::Shared(bytes) => frame.put_bytes(bytes.clone()),
                Part::Select { context, bytes } => frame.select_context(*context, bytes),
                Part::SetContext(context) => frame.set_context(*context),
                Part::EndFrame => frame.end_frame(),
            }
        }
    }

    /// The same as the reference takes it.
    #[must_use]
    pub fn frames(&self) -> Vec<ReferenceFrame> {
        self.resolve().0
    }

    /// Its bytes as a limit on publications counts them: a conditional part that may be published counts.
    #[must_use]
    pub fn counted_bytes(&self) -> u64 {
        self.resolve().1
    }

    fn resolve(&self) -> (Vec<ReferenceFrame>, u64) {
        let in_force = |context: u64| (context != u64::MAX).then_some(context);
        let (mut frames, mut frame) = (Vec::new(), ReferenceFrame::default());
        let (mut plain, mut counted) = (0, 0);
        // The context where the next part stands, once the publication itself has set it.
        let mut known: Option<Option<u64>> = None;
        for part in &self.parts {
            let unconditional: &[u8] = match part {
                Part::Copied(bytes) | Part::Chained(bytes) | Part::Shared(bytes) => bytes,
                Part::SetContext(context) => {
                    known = Some(context.and_then(in_force));
                    frame.leaves = known;
                    &[]
                }
                Part::Select { context, bytes } => {
                    let before = known.replace(in_force(*context));
                    frame.leaves = known;
                    match before {
                        None => {
                            frame.select = Some((*context, bytes.to_vec()));
                            counted += bytes.len() as u64;
                            &[]
                        }
                        Some(before) if before.is_some() && before == in_force(*context) => &[],
                        Some(_) => bytes,
                    }
                }
                Part::EndFrame => {
                    // A conditional part alone is no frame: it goes to the next.
                    if plain > 0 {
                        frames.push(std::mem::take(&mut frame));
                        plain = 0;
                    }
                    &[]
                }
            };
            let target = if frame.select.is_some() { &mut frame.bytes } else { &mut frame.before };
            target.extend_from_slice(unconditional);
            plain += unconditional.len();
            counted += unconditional.len() as u64;
        }
        frames.push(frame);
        (frames, counted)
    }
}
