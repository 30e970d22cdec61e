//! What can go wrong, with the numbers a person needs to act.

use thiserror::Error;

/// A buffer cannot be built with these settings.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum BuildError {
    /// A setting is out of its bounds.
    #[error("{setting} is {given}, but has to be between {least} and {most}")]
    OutOfBounds {
        /// The builder's method.
        setting: &'static str,
        /// What was asked for.
        given: u64,
        /// The least allowed.
        least: u64,
        /// The most allowed.
        most: u64,
    },
}

/// A frame was not published. Nothing of it is in the stream.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum AppendError {
    /// The writer's term was sealed (I10).
    #[error("the writer's term {term} is fenced: term {sealed_term} is sealed")]
    Fenced {
        /// The writer's term.
        term: u64,
        /// The highest term sealed.
        sealed_term: u64,
    },
    /// The publication is longer than the limit.
    #[error("a frame of {bytes} bytes is over the limit of {limit_bytes}")]
    FrameTooLarge {
        /// Its length.
        bytes: u64,
        /// `max_frame_bytes`.
        limit_bytes: u64,
    },
    /// The stream would pass the end of the offset space.
    #[error("a frame of {bytes} bytes at offset {offset} passes the last offset, {max_offset}")]
    OffsetsExhausted {
        /// Where it would have started.
        offset: u64,
        /// Its length.
        bytes: u64,
        /// `max_offset`.
        max_offset: u64,
    },
}

/// A term was not sealed.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum SealError {
    /// That term, or a later one, is sealed already.
    #[error("term {term} is sealed already (up to term {sealed_term})")]
    AlreadySealed {
        /// The term asked for.
        term: u64,
        /// The highest term sealed.
        sealed_term: u64,
    },
}

/// A cursor was not attached.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum AttachError {
    /// The stream does not hold that offset (I7): a full resync is needed.
    #[error("offset {requested} is not retained: the backlog holds {first} to {end}")]
    OffsetNotRetained {
        /// The offset asked for.
        requested: u64,
        /// The first that can be attached.
        first: u64,
        /// The end of the stream, which can be attached too.
        end: u64,
    },
    /// There are as many cursors as allowed.
    #[error("{limit} cursors are attached already")]
    TooManyCursors {
        /// `max_cursors`.
        limit: usize,
    },
}

/// A cursor cannot go on.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum CursorError {
    /// It was too slow and was evicted: what it has not read may be gone. Attach anew, or resync.
    #[error("the cursor was evicted at offset {offset}, {lag_bytes} bytes behind the end")]
    Evicted {
        /// Where it stood.
        offset: u64,
        /// How far behind it is now.
        lag_bytes: u64,
    },
    /// It has read everything, and nothing can follow: every handle on the stream is gone, or its
    /// [last term](super::LAST_TERM) is sealed.
    #[error("the stream ended at offset {offset}")]
    Ended {
        /// Where it ended.
        offset: u64,
    },
}
