//! What can be wrong with a history, with both sides of it.

use std::fmt;
use std::ops::Range;

use thiserror::Error;

/// An append, as a violation names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Who appended.
    pub writer: u64,
    /// Its place in the writer's program order.
    pub number: u64,
    /// The offsets it was told.
    pub range: Range<u64>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { writer, number, range } = self;
        write!(f, "append {number} of writer {writer} (at {} to {})", range.start, range.end)
    }
}

/// A seal, as a violation names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SealPlace {
    /// The term that it ends.
    pub term: u64,
    /// The offset that the caller was told.
    pub offset: u64,
}

impl fmt::Display for SealPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the seal of term {} (at {})", self.term, self.offset)
    }
}

/// `frame a to b`, or that there is none.
struct MaybeFrame<'a>(&'a Option<Range<u64>>);

impl fmt::Display for MaybeFrame<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(frame) => write!(f, "a frame from {} to {}", frame.start, frame.end),
            None => f.write_str("no frame"),
        }
    }
}

/// What an append should follow.
struct Before<'a>(&'a Option<Place>);

impl fmt::Display for Before<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(append) => write!(f, "where {append} ends"),
            None => f.write_str("where the stream begins"),
        }
    }
}

/// What is wrong with a history.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Violation {
    /// I1: an append does not start where the one before it ends.
    #[error("I1 gapless: {append} should start at {expected}, {}", Before(before))]
    Gap {
        /// The append before it in the stream, if there is one.
        before: Option<Place>,
        /// The append that starts elsewhere.
        append: Place,
        /// Where it should start.
        expected: u64,
    },
    /// I2: somebody saw a part of a frame.
    #[error("I2 prefix: reader {reader} saw the log end at {end}, within the frame {} to {} of {append}", frame.start, frame.end)]
    HalfFrame {
        /// Who looked.
        reader: u64,
        /// What it saw.
        end: u64,
        /// The frame's bounds.
        frame: Range<u64>,
        /// Whose it is.
        append: Place,
    },
    /// I2: what was visible to a reader is not any more.
    #[error("I2 prefix: reader {reader} saw the log end at {before}, and at {end} later")]
    Shrank {
        /// Who looked.
        reader: u64,
        /// What it saw first.
        before: u64,
        /// What it saw then.
        end: u64,
    },
    /// I2: a reader that read everything has less, or more, than was appended.
    #[error(
        "I2 prefix: reader {reader} read everything and has it up to {read}, but the stream ends at {end}"
    )]
    Incomplete {
        /// Who read.
        reader: u64,
        /// As far as it came.
        read: u64,
        /// Where the stream ends.
        end: u64,
    },
    /// I3: two readers have something else at one offset.
    #[error(
        "I3 one order: at offset {offset} reader {reader} has byte {byte:#04x} and reader {other} has {other_byte:#04x}, in {append}"
    )]
    ReadersDiffer {
        /// The offset.
        offset: u64,
        /// The one, whose byte is not what was appended.
        reader: u64,
        /// What it has.
        byte: u8,
        /// The other.
        other: u64,
        /// What that one has.
        other_byte: u8,
        /// The append that stands there.
        append: Place,
    },
    /// I3: a reader has bytes from outside the stream.
    #[error("I3 one order: reader {reader} has {from} to {to}, but the stream is {} to {}", stream.start, stream.end)]
    OutsideStream {
        /// Who read.
        reader: u64,
        /// Its first offset.
        from: u64,
        /// The offset behind its last byte.
        to: u64,
        /// The stream's bounds.
        stream: Range<u64>,
    },
    /// I3: a reader was shown other frames than were published.
    #[error(
        "I3 one order: reader {reader} was shown {} where {} was published",
        MaybeFrame(read),
        MaybeFrame(published)
    )]
    OtherFrame {
        /// Who read.
        reader: u64,
        /// The frame it was shown.
        read: Option<Range<u64>>,
        /// The frame that stands there.
        published: Option<Range<u64>>,
    },
    /// I4: two appends of a writer stand in the wrong order.
    #[error("I4 linearizable, program order: {first} stands before {second}")]
    ProgramOrder {
        /// What stands first.
        first: Place,
        /// What stands second, though its writer appended it before.
        second: Place,
    },
    /// I4: an append stands behind one that was begun after it had returned.
    #[error(
        "I4 linearizable, real time: {first} stands before {second}, which had returned before the other was begun"
    )]
    RealTime {
        /// What stands first, and was begun later.
        first: Place,
        /// What stands second, and had returned.
        second: Place,
    },
    /// I4: who looked after an append had returned did not see it.
    #[error(
        "I4 linearizable: {append} had returned, and reader {reader}, who looked later, saw the log end at {end}"
    )]
    Hidden {
        /// The append.
        append: Place,
        /// Who looked.
        reader: u64,
        /// What it saw.
        end: u64,
    },
    /// I4: somebody saw an append before it was begun.
    #[error("I4 linearizable: reader {reader} saw the log end at {end} before {append} was begun")]
    FromTheFuture {
        /// The append.
        append: Place,
        /// Who looked.
        reader: u64,
        /// What it saw.
        end: u64,
    },
    /// I5: an append was told another length than its bytes have where it stands.
    #[error("I5 integrity: {append} takes {} bytes, but {expected} were appended", append.range.end.saturating_sub(append.range.start))]
    OtherLength {
        /// The append.
        append: Place,
        /// The length of its bytes, with the conditional parts that the context asks for.
        expected: u64,
    },
    /// I5: what was read is not what was appended.
    #[error(
        "I5 integrity: reader {reader} has byte {byte:#04x} at offset {offset}, where {append} has {expected:#04x}"
    )]
    OtherByte {
        /// Who read.
        reader: u64,
        /// The offset.
        offset: u64,
        /// What it has.
        byte: u8,
        /// What was appended.
        expected: u8,
        /// The append that stands there.
        append: Place,
    },
    /// I10: an append of a sealed term stands behind the seal.
    #[error("I10 fence: {append}, of term {term}, stands behind {seal}")]
    BehindSeal {
        /// The append.
        append: Place,
        /// Its term.
        term: u64,
        /// The seal of that term, or a later one.
        seal: SealPlace,
    },
    /// I10: a seal stands within an append.
    #[error("I10 fence: {seal} stands within {append}")]
    SealWithin {
        /// The seal.
        seal: SealPlace,
        /// The append.
        append: Place,
    },
    /// I10: an append stands behind a seal that was begun when it had returned.
    #[error("I10 fence, real time: {append} stands behind {seal}, but had returned before that was begun")]
    SealTooEarly {
        /// The seal.
        seal: SealPlace,
        /// The append.
        append: Place,
    },
    /// I10: an append that was begun behind a seal stands before it.
    #[error("I10 fence, real time: {append} stands before {seal}, but was begun when that had returned")]
    SealTooLate {
        /// The seal.
        seal: SealPlace,
        /// The append.
        append: Place,
    },
    /// I10: the seal of a later term does not stand behind that of an earlier one.
    #[error("I10 fence: {later} does not stand behind {earlier}")]
    SealsOutOfOrder {
        /// The seal of the earlier term, or of the same.
        earlier: SealPlace,
        /// That of the later.
        later: SealPlace,
    },
}

impl Violation {
    /// The invariant that broke: `I1` to `I5`, or `I10`.
    #[must_use]
    pub fn invariant(&self) -> &'static str {
        match self {
            Violation::Gap { .. } => "I1",
            Violation::HalfFrame { .. } | Violation::Shrank { .. } | Violation::Incomplete { .. } => "I2",
            Violation::ReadersDiffer { .. }
            | Violation::OutsideStream { .. }
            | Violation::OtherFrame { .. } => "I3",
            Violation::ProgramOrder { .. }
            | Violation::RealTime { .. }
            | Violation::Hidden { .. }
            | Violation::FromTheFuture { .. } => "I4",
            Violation::OtherLength { .. } | Violation::OtherByte { .. } => "I5",
            Violation::BehindSeal { .. }
            | Violation::SealWithin { .. }
            | Violation::SealTooEarly { .. }
            | Violation::SealTooLate { .. }
            | Violation::SealsOutOfOrder { .. } => "I10",
        }
    }
}
