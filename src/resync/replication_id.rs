//! The name of one history of writes.

use std::fmt;
use std::str::FromStr;

/// Characters in a replication ID.
pub const REPLICATION_ID_LEN: usize = 40;

const HEX: &[u8; 16] = b"0123456789abcdef";

/// The name of one history of writes: 40 lower-case hexadecimal digits, unique to the process and
/// the promotion that began it.
///
/// Two servers with the same id have, up to the smaller of their offsets, the same bytes.
/// Parsing accepts either case, as Valkey compares ids without case; the value is kept in lower
/// case, so that equality is equality of bytes.
///
/// ```
/// use replcore::resync::ReplicationId;
/// let id = ReplicationId::from_random([0xab; 20]);
/// assert_eq!(id.as_str(), "abababababababababababababababababababab");
/// assert_eq!("ABABABABABABABABABABABABABABABABABABABAB".parse(), Ok(id));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ReplicationId([u8; REPLICATION_ID_LEN]);

/// Text that is not a replication ID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseReplicationIdError {
    /// The text has another length than 40.
    #[error("a replication ID has {REPLICATION_ID_LEN} characters, not {length}")]
    Length {
        /// Bytes given.
        length: usize,
    },
    /// A character is not a hexadecimal digit.
    #[error("byte {position} of a replication ID is not a hexadecimal digit")]
    Digit {
        /// Zero-based index of the first such byte.
        position: usize,
    },
}

impl ReplicationId {
    /// The id written with these 160 random bits. The caller supplies them: this module owns no
    /// source of randomness.
    pub fn from_random(bits: [u8; REPLICATION_ID_LEN / 2]) -> Self {
        let mut digits = [0; REPLICATION_ID_LEN];
        for (pair, byte) in digits.chunks_exact_mut(2).zip(bits) {
            pair[0] = HEX[usize::from(byte >> 4)];
            pair[1] = HEX[usize::from(byte & 0xf)];
        }
        ReplicationId(digits)
    }

    /// Reads an id in either case.
    ///
    /// # Errors
    /// When `text` is not exactly 40 hexadecimal digits.
    pub fn parse(text: &[u8]) -> Result<Self, ParseReplicationIdError> {
        let mut digits: [u8; REPLICATION_ID_LEN] =
            text.try_into().map_err(|_| ParseReplicationIdError::Length { length: text.len() })?;
        if let Some(position) = digits.iter().position(|digit| !digit.is_ascii_hexdigit()) {
            return Err(ParseReplicationIdError::Digit { position });
        }
        digits.make_ascii_lowercase();
        Ok(ReplicationId(digits))
    }

    /// The 40 digits.
    pub fn as_str(&self) -> &str {
        // Both constructors admit only ASCII digits; the fallback is never taken.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl FromStr for ReplicationId {
    type Err = ParseReplicationIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        ReplicationId::parse(text.as_bytes())
    }
}

impl fmt::Display for ReplicationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for ReplicationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReplicationId({})", self.as_str())
    }
}
