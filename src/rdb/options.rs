//! What a reader permits, and what becomes of what it finds.

/// What a snapshot may contain. Memory never exceeds what has arrived times a constant (LZF unpacks to at
/// most 88 times its size); these limits bound it further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The longest string, and the largest compact collection, in bytes; skipped and raw ones too. 4 GiB - 1.
    pub max_string_bytes: u64,
    /// The most elements of one collection, and of each part of a stream. 2^32 - 1.
    pub max_elements: u64,
    /// The longest value that is handed over raw, in bytes, its type included. 4 GiB - 1.
    pub max_raw_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        let most = u32::MAX.into();
        Limits { max_string_bytes: most, max_elements: most, max_raw_bytes: most }
    }
}

/// What becomes of a value, or of anything else of which that can be chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Handling {
    /// It is taken apart: a value becomes a [`Value`](super::Value). What cannot be is an error.
    #[default]
    Decode,
    /// It is handed over as it is encoded, once its structure has shown where it ends.
    Raw,
    /// It is read past, and reported without what it holds. Takes no memory, however long it is.
    Skip,
}

/// How a snapshot is read.
///
/// ```
/// use replcore::rdb::{Handling, Options};
///
/// let everything_to_restore = Options { values: Handling::Raw, others: Handling::Raw, ..Options::default() };
/// let without_streams = Options { others: Handling::Skip, ..Options::default() };
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// What is permitted.
    pub limits: Limits,
    /// What becomes of strings, lists, sets, sorted sets and hashes.
    pub values: Handling,
    /// What becomes of what is no [`Value`](super::Value): streams and values of modules, by default an
    /// error; function libraries, whose source is both the decoded and the raw form; what modules keep beside
    /// the keys, which is skipped unless it is to be raw.
    pub others: Handling,
}

impl From<Limits> for Options {
    fn from(limits: Limits) -> Options {
        Options { limits, ..Options::default() }
    }
}
