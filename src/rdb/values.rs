//! The values of a snapshot, from every encoding that is read.

use std::io::BufRead;

use bytes::Bytes;

use super::source::Source;
use super::{Fault, FileVersion, HashField, ReadError, Value, ValueType, code, compact};

/// Room for elements made in advance, whatever count is claimed.
const MAX_PREALLOCATED_ELEMENTS: usize = 64;

/// Quicklist 2: a node that is one element, and one that is a listpack.
const NODE_PLAIN: u64 = 1;
const NODE_PACKED: u64 = 2;

/// Takes a compact encoding apart.
type Unpack = fn(Bytes) -> Result<Vec<Bytes>, Fault>;

impl<R: BufRead> Source<R> {
    /// The value of type `value_type`; `key` is for the error.
    pub(super) fn value(
        &mut self,
        value_type: ValueType,
        version: FileVersion,
        key: Option<&Bytes>,
    ) -> Result<Value, ReadError> {
        if !value_type.is_value(version) {
            return Err(self.unsupported(value_type, key));
        }
        Ok(match value_type.0 {
            code::STRING => Value::String(self.string()?),
            code::LIST => Value::List(self.elements(Source::string)?),
            code::LIST_ZIPLIST => Value::List(self.blob(compact::ziplist)?),
            code::LIST_QUICKLIST => Value::List(self.quicklist(|source| source.blob(compact::ziplist))?),
            code::LIST_QUICKLIST_2 => Value::List(self.quicklist(Source::quicklist_2_node)?),
            code::SET => Value::Set(self.elements(Source::string)?),
            code::SET_INTSET => Value::Set(self.blob(compact::intset)?),
            code::SET_LISTPACK => Value::Set(self.blob(compact::listpack)?),
            code::ZSET_TEXT => Value::SortedSet(self.elements(|s| Ok((s.string()?, s.text_score()?)))?),
            code::ZSET_BINARY => Value::SortedSet(self.elements(|s| Ok((s.string()?, s.binary_score()?)))?),
            code::ZSET_ZIPLIST => self.flat(compact::ziplist).and_then(|flat| self.scored(flat))?,
            code::ZSET_LISTPACK => self.flat(compact::listpack).and_then(|flat| self.scored(flat))?,
            code::HASH => Value::Hash(self.elements(|s| s.field(None))?),
            code::HASH_ZIPLIST => self.flat(compact::ziplist).and_then(|flat| self.fields(flat))?,
            code::HASH_LISTPACK => self.flat(compact::listpack).and_then(|flat| self.fields(flat))?,
            code::HASH_ZIPMAP => self.flat(compact::zipmap).and_then(|flat| self.fields(flat))?,
            code::VALKEY_HASH_DEADLINES => Value::Hash(self.elements(Source::valkey_field)?),
            code::REDIS_HASH_DEADLINES => self.redis_hash()?,
            code::REDIS_HASH_LISTPACK_DEADLINES => self.redis_listpack_hash()?,
            _ => return Err(self.unsupported(value_type, key)),
        })
    }

    /// A count and that many elements.
    pub(super) fn elements<T>(
        &mut self,
        mut element: impl FnMut(&mut Self) -> Result<T, ReadError>,
    ) -> Result<Vec<T>, ReadError> {
        let count = self.count()?;
        let mut elements =
            Vec::with_capacity(usize::try_from(count).unwrap_or(usize::MAX).min(MAX_PREALLOCATED_ELEMENTS));
        for _ in 0..count {
            elements.push(element(self)?);
        }
        Ok(elements)
    }

    /// A string that is a compact encoding of elements.
    fn blob(&mut self, unpack: Unpack) -> Result<Vec<Bytes>, ReadError> {
        let elements = self.flat(unpack)?;
        self.check_count(elements.len())?;
        Ok(elements)
    }

    /// A string that is a compact encoding of the parts of elements.
    fn flat(&mut self, unpack: Unpack) -> Result<Vec<Bytes>, ReadError> {
        let blob = self.string()?;
        unpack(blob).map_err(|fault| self.malformed(fault))
    }

    fn quicklist(
        &mut self,
        node: impl Fn(&mut Self) -> Result<Vec<Bytes>, ReadError>,
    ) -> Result<Vec<Bytes>, ReadError> {
        let mut elements = Vec::new();
        for _ in 0..self.count()? {
            elements.append(&mut node(self)?);
            self.check_count(elements.len())?;
        }
        Ok(elements)
    }

    fn quicklist_2_node(&mut self) -> Result<Vec<Bytes>, ReadError> {
        match self.length()? {
            NODE_PLAIN => Ok(vec![self.string()?]),
            NODE_PACKED => self.blob(compact::listpack),
            _ => Err(self.malformed(Fault::QuicklistNode)),
        }
    }

    fn binary_score(&mut self) -> Result<f64, ReadError> {
        let score = f64::from_le_bytes(self.array()?);
        if score.is_nan() { Err(self.malformed(Fault::Score)) } else { Ok(score) }
    }

    /// A score as text of up to 252 bytes; the lengths above stand for NaN and the infinities.
    fn text_score(&mut self) -> Result<f64, ReadError> {
        match self.byte()? {
            255 => Ok(f64::NEG_INFINITY),
            254 => Ok(f64::INFINITY),
            253 => Err(self.malformed(Fault::Score)),
            len => {
                let text = self.bytes(u64::from(len))?;
                parse_score(&text).ok_or_else(|| self.malformed(Fault::Score))
            }
        }
    }

    fn scored(&mut self, flat: Vec<Bytes>) -> Result<Value, ReadError> {
        let mut members = Vec::with_capacity(flat.len() / 2);
        for [member, score] in self.groups(flat)? {
            members.push((member, parse_score(&score).ok_or_else(|| self.malformed(Fault::Score))?));
        }
        Ok(Value::SortedSet(members))
    }

    fn fields(&mut self, flat: Vec<Bytes>) -> Result<Value, ReadError> {
        let field = |[field, value]: [Bytes; 2]| HashField { field, value, deadline_ms: None };
        Ok(Value::Hash(self.groups(flat)?.map(field).collect()))
    }

    /// Elements that belong together in groups of `N`; a rest is a fault.
    fn groups<const N: usize>(
        &self,
        flat: Vec<Bytes>,
    ) -> Result<impl Iterator<Item = [Bytes; N]> + use<R, N>, ReadError> {
        if !flat.len().is_multiple_of(N) {
            return Err(self.malformed(Fault::ElementCount));
        }
        self.check_count(flat.len() / N)?;
        let mut flat = flat.into_iter();
        Ok(std::iter::from_fn(move || {
            let group: [Option<Bytes>; N] = std::array::from_fn(|_| flat.next());
            group.iter().all(Option::is_some).then(|| group.map(Option::unwrap_or_default))
        }))
    }

    fn field(&mut self, deadline_ms: Option<u64>) -> Result<HashField, ReadError> {
        Ok(HashField { field: self.string()?, value: self.string()?, deadline_ms })
    }

    /// Valkey: the deadline follows the value, -1 is none.
    fn valkey_field(&mut self) -> Result<HashField, ReadError> {
        let mut field = self.field(None)?;
        field.deadline_ms = match i64::from_le_bytes(self.array()?) {
            -1 => None,
            deadline => Some(u64::try_from(deadline).map_err(|_| self.malformed(Fault::Deadline))?),
        };
        Ok(field)
    }

    /// Redis: the earliest deadline, then per field 0 (none) or the distance to it plus one, before the
    /// field.
    fn redis_hash(&mut self) -> Result<Value, ReadError> {
        let earliest = u64::from_le_bytes(self.array()?);
        let fields = self.elements(|source| {
            let deadline_ms = match source.length()? {
                0 => None,
                distance => {
                    let deadline = earliest.checked_add(distance - 1).filter(|d| i64::try_from(*d).is_ok());
                    Some(deadline.ok_or_else(|| source.malformed(Fault::Deadline))?)
                }
            };
            source.field(deadline_ms)
        })?;
        Ok(Value::Hash(fields))
    }

    /// Redis: the earliest deadline, then a listpack of field, value and deadline (0: none).
    fn redis_listpack_hash(&mut self) -> Result<Value, ReadError> {
        self.skip(8)?;
        let flat = self.flat(compact::listpack)?;
        let mut fields = Vec::with_capacity(flat.len() / 3);
        for [field, value, deadline] in self.groups(flat)? {
            let deadline = crate::resp::parse_integer(&deadline).and_then(|d| u64::try_from(d).ok());
            let deadline = deadline.ok_or_else(|| self.malformed(Fault::Deadline))?;
            fields.push(HashField { field, value, deadline_ms: (deadline != 0).then_some(deadline) });
        }
        Ok(Value::Hash(fields))
    }
}

fn parse_score(text: &[u8]) -> Option<f64> {
    let score: f64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    (!score.is_nan()).then_some(score)
}
