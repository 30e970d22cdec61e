//! What a server stores, in a form in which two servers can be compared and a person can read the difference.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;

/// What a key holds, what is dead but still stored included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoredValue {
    /// A string, or anything that two servers can be compared by as bytes, and when the key expires.
    Text(Bytes, Option<u64>),
    /// The fields of a hash with values and deadlines, and when the key itself expires.
    Fields(BTreeMap<Bytes, (Bytes, Option<u64>)>, Option<u64>),
}

/// Everything that a server stores, by database and key. Deadlines are in milliseconds since the Unix epoch.
///
/// ```
/// use replcore::testing::convergence::{Stored, StoredValue};
///
/// let mut stored = Stored::default();
/// stored.put(0, "k", StoredValue::Text("v".into(), Some(1_000_005)));
/// stored.put(1, "h", StoredValue::Fields([("f".into(), ("1".into(), None))].into(), None));
/// assert_eq!(stored.to_string(), "[0] k=v until 1000005, [1] h={f=1}");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stored(BTreeMap<(u16, Bytes), StoredValue>);

impl Stored {
    /// Adds a key of a database.
    pub fn put(&mut self, db: u16, key: impl Into<Bytes>, value: StoredValue) {
        self.0.insert((db, key.into()), value);
    }
}

/// ` until ms`, if there is a deadline.
struct Until(Option<u64>);

impl fmt::Display for Until {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |ms| write!(f, " until {ms}"))
    }
}

impl fmt::Display for Stored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("nothing");
        }
        for (number, ((db, key), value)) in self.0.iter().enumerate() {
            let comma = if number == 0 { "" } else { ", " };
            write!(f, "{comma}[{db}] {}=", key.escape_ascii())?;
            match value {
                StoredValue::Text(text, until) => write!(f, "{}{}", text.escape_ascii(), Until(*until))?,
                StoredValue::Fields(fields, until) => {
                    for (number, (name, (value, until))) in fields.iter().enumerate() {
                        let start = if number == 0 { "{" } else { ", " };
                        let (name, value) = (name.escape_ascii(), value.escape_ascii());
                        write!(f, "{start}{name}={value}{}", Until(*until))?;
                    }
                    write!(f, "{}{}", if fields.is_empty() { "{}" } else { "}" }, Until(*until))?;
                }
            }
        }
        Ok(())
    }
}
