//! Where a replica stands in a history: what it saves, and asks to be continued from.

use std::fmt;
use std::str::FromStr;

use super::super::{ParseReplicationIdError, ReplicationId};
use crate::resp::parse_integer;

/// A place in a history at which a replica may resume: never inside a transaction.
///
/// It is written as text (`<id> <offset> <database>`, `-` for no database), so that a tool can keep it in a
/// file:
///
/// ```
/// use replcore::resync::replica::Position;
/// let text = "abababababababababababababababababababab 1234 0";
/// let position: Position = text.parse()?;
/// assert_eq!((position.offset, position.db), (1234, Some(0)));
/// assert_eq!(position.to_string(), text);
/// # Ok::<(), replcore::resync::replica::ParsePositionError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Position {
    /// The history.
    pub id: ReplicationId,
    /// Bytes of it that were applied. The first byte wanted is the one after them.
    pub offset: u64,
    /// The database that the stream has selected there. A primary that continues a stream does not select it
    /// again, so whoever resumes without it does not know where the next commands belong.
    pub db: Option<u32>,
}

/// Text that is no [`Position`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParsePositionError {
    /// Not three words.
    #[error("a position has three words (an id, an offset, a database), not {words}")]
    Words {
        /// Words given.
        words: usize,
    },
    /// The first word is no replication ID.
    #[error(transparent)]
    Id(#[from] ParseReplicationIdError),
    /// The second word is no offset.
    #[error("an offset is a decimal number from 0 to 2^63 - 1")]
    Offset,
    /// The third word is neither a database's number nor `-`.
    #[error("a database is a decimal number from 0 to 2^32 - 1, or '-'")]
    Database,
}

impl FromStr for Position {
    type Err = ParsePositionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let words: Vec<&str> = text.split_ascii_whitespace().collect();
        let [id, offset, db] = words[..] else {
            return Err(ParsePositionError::Words { words: words.len() });
        };
        let offset = parse_offset(offset.as_bytes()).ok_or(ParsePositionError::Offset)?;
        let db = match db {
            "-" => None,
            db => Some(parse_db(db.as_bytes()).ok_or(ParsePositionError::Database)?),
        };
        Ok(Position { id: id.parse()?, offset, db })
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} ", self.id, self.offset)?;
        match self.db {
            Some(db) => db.fmt(f),
            None => f.write_str("-"),
        }
    }
}

/// Offsets on the wire are signed 64-bit, and not negative.
pub(super) fn parse_offset(text: &[u8]) -> Option<u64> {
    parse_integer(text).and_then(|offset| u64::try_from(offset).ok())
}

/// The number of a database.
pub(super) fn parse_db(text: &[u8]) -> Option<u32> {
    parse_integer(text).and_then(|db| u32::try_from(db).ok())
}
