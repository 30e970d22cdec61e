//! Writing a snapshot, piece by piece.
//!
//! The writer appends to a buffer of its own; the caller takes it out ([`Writer::take`]) as often as it
//! likes, between two keys or two elements of one collection, so that neither a large keyspace nor a large
//! key is ever held as a whole. The checksum is computed over what is taken, in one pass. A collection is
//! announced with its length; the writer counts, and refuses what would make a file that cannot be loaded.

use bytes::{BufMut, Bytes, BytesMut};

use super::checksum::{Checksum, checksum};
use super::{RawValue, SnapshotFormat, Value, WriteError, code, grammar};
use crate::resp::parse_integer;

/// The longest text that can be an integer of 32 bits: `-2147483648`.
const INTEGER_TEXT_BYTES: usize = 11;

/// What a snapshot says about itself. Aux fields a server does not know it skips.
#[derive(Clone, Copy, Debug)]
pub struct Header<'a> {
    /// `valkey-ver` or `redis-ver`, by the [`SnapshotFormat`].
    pub server_version: &'a str,
    /// `ctime`, in s since the Unix epoch.
    pub created_s: u64,
    /// `used-mem`.
    pub used_memory_bytes: u64,
    /// Where in the replication stream the snapshot stands.
    pub replication: Option<ReplicationAux<'a>>,
}

/// `repl-stream-db`, `repl-id`, `repl-offset`: what lets the loading server ask for the rest of the stream.
#[derive(Clone, Copy, Debug)]
pub struct ReplicationAux<'a> {
    /// The database selected in the stream at this offset.
    pub stream_db: u16,
    /// The replication ID.
    pub replication_id: &'a str,
    /// The stream's offset.
    pub offset: u64,
}

/// A kind of collection, for [`Writer::begin`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Takes [`element`](Writer::element)s, head first.
    List,
    /// Takes [`element`](Writer::element)s.
    Set,
    /// Takes [`member`](Writer::member)s.
    SortedSet,
    /// Takes [`field`](Writer::field)s without deadlines.
    Hash,
    /// Takes [`field`](Writer::field)s. Not in [`SnapshotFormat::Redis10`].
    HashWithDeadlines,
}

impl Kind {
    /// The kind of a hash, by whether one of its fields has a deadline.
    pub fn hash(has_deadlines: bool) -> Kind {
        if has_deadlines { Kind::HashWithDeadlines } else { Kind::Hash }
    }
}

/// Writes one snapshot. See the [module](super) for the format.
///
/// ```
/// use replcore::rdb::{Header, Kind, SnapshotFormat, Writer};
///
/// let mut writer = Writer::new(SnapshotFormat::Redis10);
/// let header = Header { server_version: "7.0.0", created_s: 0, used_memory_bytes: 0, replication: None };
/// writer.header(&header)?;
/// writer.select_db(0)?;
/// writer.resize_db(2, 0)?;
/// writer.string(b"greeting", None, b"hello")?;
/// writer.begin(b"colours", None, Kind::Set, 2)?;
/// for colour in ["red", "blue"] {
///     writer.element(colour.as_bytes())?;
///     let chunk = writer.take(); // send it
/// }
/// let rest = writer.finish()?;
/// # Ok::<(), replcore::rdb::WriteError>(())
/// ```
#[derive(Clone)]
pub struct Writer {
    version: SnapshotFormat,
    out: BytesMut,
    checksum: Checksum,
    /// The collection that is being written, and how many elements it misses (never 0).
    open: Option<(Kind, u64)>,
}

impl Writer {
    /// A snapshot that has only its magic yet.
    pub fn new(version: SnapshotFormat) -> Writer {
        let mut out = BytesMut::new();
        out.put_slice(match version {
            SnapshotFormat::Redis10 => b"REDIS0010",
            SnapshotFormat::Valkey80 => b"VALKEY080",
        });
        Writer { version, out, checksum: checksum(), open: None }
    }

    /// A writer of a value alone.
    pub(super) fn without_magic(version: SnapshotFormat) -> Writer {
        Writer { version, out: BytesMut::new(), checksum: checksum(), open: None }
    }

    /// Everything that was not taken, if no element is missing.
    pub(super) fn into_bytes(self) -> Result<BytesMut, WriteError> {
        self.between_keys()?;
        Ok(self.out)
    }

    pub(super) fn put_type(&mut self, value_type: u8) {
        self.out.put_u8(value_type);
    }

    /// Whether [`Kind::HashWithDeadlines`] can be written.
    pub fn holds_field_deadlines(&self) -> bool {
        self.version != SnapshotFormat::Redis10
    }

    /// How many bytes wait to be taken.
    pub fn buffered_bytes(&self) -> usize {
        self.out.len()
    }

    /// Takes the bytes written since the last call.
    pub fn take(&mut self) -> Bytes {
        let chunk = self.out.split().freeze();
        self.checksum.update(&chunk);
        chunk
    }

    /// Ends the file. Returns its last bytes: those not taken yet, and the checksum.
    ///
    /// # Errors
    ///
    /// [`WriteError::ElementsMissing`].
    pub fn finish(mut self) -> Result<Bytes, WriteError> {
        self.between_keys()?;
        self.out.put_u8(code::END);
        self.checksum.update(&self.out);
        self.out.put_u64_le(self.checksum.finalize());
        Ok(self.out.freeze())
    }

    /// Writes the aux fields of `header`, `redis-bits` and `aof-base` among them.
    ///
    /// # Errors
    ///
    /// [`WriteError::ElementsMissing`].
    pub fn header(&mut self, header: &Header<'_>) -> Result<(), WriteError> {
        let version_key: &[u8] = match self.version {
            SnapshotFormat::Redis10 => b"redis-ver",
            SnapshotFormat::Valkey80 => b"valkey-ver",
        };
        let mut number = itoa::Buffer::new();
        self.aux(version_key, header.server_version.as_bytes())?;
        self.aux(b"redis-bits", b"64")?;
        self.aux(b"ctime", number.format(header.created_s).as_bytes())?;
        self.aux(b"used-mem", number.format(header.used_memory_bytes).as_bytes())?;
        if let Some(replication) = &header.replication {
            self.aux(b"repl-stream-db", number.format(replication.stream_db).as_bytes())?;
            self.aux(b"repl-id", replication.replication_id.as_bytes())?;
            self.aux(b"repl-offset", number.format(replication.offset).as_bytes())?;
        }
        self.aux(b"aof-base", b"0")
    }

    /// Writes one aux field.
    ///
    /// # Errors
    ///
    /// [`WriteError::ElementsMissing`].
    pub fn aux(&mut self, key: &[u8], value: &[u8]) -> Result<(), WriteError> {
        self.between_keys()?;
        self.out.put_u8(code::AUX);
        self.put_string(key);
        self.put_string(value);
        Ok(())
    }

    /// The keys that follow are in database `db`.
    ///
    /// # Errors
    ///
    /// [`WriteError::ElementsMissing`].
    pub fn select_db(&mut self, db: u16) -> Result<(), WriteError> {
        self.between_keys()?;
        self.out.put_u8(code::SELECT_DB);
        self.put_length(u64::from(db));
        Ok(())
    }

    /// How many keys, and keys with a deadline, the database has: a hint for the loader's tables.
    ///
    /// # Errors
    ///
    /// [`WriteError::ElementsMissing`].
    pub fn resize_db(&mut self, keys: u64, keys_with_deadline: u64) -> Result<(), WriteError> {
        self.between_keys()?;
        self.out.put_u8(code::RESIZE_DB);
        self.put_length(keys);
        self.put_length(keys_with_deadline);
        Ok(())
    }

    /// Writes a key that holds a string. `deadline_ms` is in ms since the Unix epoch.
    ///
    /// # Errors
    ///
    /// [`WriteError::ElementsMissing`], [`WriteError::DeadlineOutOfRange`].
    pub fn string(&mut self, key: &[u8], deadline_ms: Option<u64>, value: &[u8]) -> Result<(), WriteError> {
        self.put_key(key, deadline_ms, code::STRING)?;
        self.put_string(value);
        Ok(())
    }

    /// Begins a key that holds a collection of exactly `len` elements, to be written next.
    ///
    /// # Errors
    ///
    /// [`WriteError::EmptyCollection`], [`WriteError::FieldDeadlinesUnsupported`],
    /// [`WriteError::ElementsMissing`], [`WriteError::DeadlineOutOfRange`].
    pub fn begin(
        &mut self,
        key: &[u8],
        deadline_ms: Option<u64>,
        kind: Kind,
        len: u64,
    ) -> Result<(), WriteError> {
        let value_type = self.type_of(kind, len)?;
        self.put_key(key, deadline_ms, value_type)?;
        self.open(kind, len);
        Ok(())
    }

    /// The number of a collection's type.
    pub(super) fn type_of(&self, kind: Kind, len: u64) -> Result<u8, WriteError> {
        match kind {
            _ if len == 0 => Err(WriteError::EmptyCollection),
            Kind::List => Ok(code::LIST),
            Kind::Set => Ok(code::SET),
            Kind::SortedSet => Ok(code::ZSET_BINARY),
            Kind::Hash => Ok(code::HASH),
            Kind::HashWithDeadlines if !self.holds_field_deadlines() => {
                Err(WriteError::FieldDeadlinesUnsupported)
            }
            Kind::HashWithDeadlines => Ok(code::VALKEY_HASH_DEADLINES),
        }
    }

    /// Writes the length of a collection; its elements follow.
    pub(super) fn open(&mut self, kind: Kind, len: u64) {
        self.put_length(len);
        self.open = Some((kind, len));
    }

    /// Writes the next element of a list or set.
    ///
    /// # Errors
    ///
    /// [`WriteError::UnexpectedElement`].
    pub fn element(&mut self, element: &[u8]) -> Result<(), WriteError> {
        self.expect(|kind| matches!(kind, Kind::List | Kind::Set))?;
        self.put_string(element);
        self.count_element();
        Ok(())
    }

    /// Writes the next member of a sorted set.
    ///
    /// # Errors
    ///
    /// [`WriteError::UnexpectedElement`], [`WriteError::NanScore`].
    pub fn member(&mut self, member: &[u8], score: f64) -> Result<(), WriteError> {
        self.expect(|kind| kind == Kind::SortedSet)?;
        if score.is_nan() {
            return Err(WriteError::NanScore);
        }
        self.put_string(member);
        self.out.put_f64_le(score);
        self.count_element();
        Ok(())
    }

    /// Writes the next field of a hash. `deadline_ms` is in ms since the Unix epoch.
    ///
    /// # Errors
    ///
    /// [`WriteError::UnexpectedElement`], [`WriteError::FieldDeadlinesUnsupported`] for a deadline in a
    /// [`Kind::Hash`], [`WriteError::DeadlineOutOfRange`].
    pub fn field(&mut self, field: &[u8], value: &[u8], deadline_ms: Option<u64>) -> Result<(), WriteError> {
        let kind = self.expect(|kind| matches!(kind, Kind::Hash | Kind::HashWithDeadlines))?;
        if kind == Kind::Hash && deadline_ms.is_some() {
            return Err(WriteError::FieldDeadlinesUnsupported);
        }
        let deadline = signed_deadline(deadline_ms)?;
        self.put_string(field);
        self.put_string(value);
        if kind == Kind::HashWithDeadlines {
            self.out.put_i64_le(deadline.unwrap_or(-1));
        }
        self.count_element();
        Ok(())
    }

    /// Writes a key and its whole value. A hash is written with deadlines if one of its fields has one.
    ///
    /// # Errors
    ///
    /// Those of [`string`](Self::string), [`begin`](Self::begin) and the element's method. If an *element* is
    /// refused the collection stays open, so that the file cannot be finished.
    pub fn entry(&mut self, key: &[u8], deadline_ms: Option<u64>, value: &Value) -> Result<(), WriteError> {
        match value {
            Value::String(value) => self.string(key, deadline_ms, value),
            Value::List(items) => {
                self.begin(key, deadline_ms, Kind::List, items.len() as u64)?;
                items.iter().try_for_each(|item| self.element(item))
            }
            Value::Set(items) => {
                self.begin(key, deadline_ms, Kind::Set, items.len() as u64)?;
                items.iter().try_for_each(|item| self.element(item))
            }
            Value::SortedSet(items) => {
                self.begin(key, deadline_ms, Kind::SortedSet, items.len() as u64)?;
                items.iter().try_for_each(|(member, score)| self.member(member, *score))
            }
            Value::Hash(fields) => {
                let kind = Kind::hash(value.has_field_deadlines());
                self.begin(key, deadline_ms, kind, fields.len() as u64)?;
                fields.iter().try_for_each(|f| self.field(&f.field, &f.value, f.deadline_ms))
            }
        }
    }

    /// Writes a key with a value as it was encoded.
    ///
    /// # Errors
    ///
    /// [`WriteError::TypeUnsupported`] if the snapshot's version does not have the type, or means another one
    /// by its number; [`WriteError::ElementsMissing`], [`WriteError::DeadlineOutOfRange`].
    pub fn raw(&mut self, key: &[u8], deadline_ms: Option<u64>, value: &RawValue) -> Result<(), WriteError> {
        let value_type = value.value_type();
        let known = grammar::value(value_type, self.version.into()).is_some();
        if !known || value_type.first_version() > self.newest_type_version() {
            return Err(WriteError::TypeUnsupported { value_type });
        }
        self.put_key(key, deadline_ms, value_type.0)?;
        self.out.put_slice(&value.body()[1..]);
        Ok(())
    }

    /// Types that came with a later version are not known to who loads this one.
    fn newest_type_version(&self) -> u16 {
        match self.version {
            SnapshotFormat::Redis10 => 10,
            SnapshotFormat::Valkey80 => 80,
        }
    }

    fn between_keys(&self) -> Result<(), WriteError> {
        match self.open {
            Some((_, missing)) => Err(WriteError::ElementsMissing { missing }),
            None => Ok(()),
        }
    }

    fn expect(&self, takes: impl Fn(Kind) -> bool) -> Result<Kind, WriteError> {
        match self.open {
            Some((kind, _)) if takes(kind) => Ok(kind),
            _ => Err(WriteError::UnexpectedElement),
        }
    }

    fn count_element(&mut self) {
        self.open = self.open.and_then(|(kind, missing)| (missing > 1).then(|| (kind, missing - 1)));
    }

    fn put_key(&mut self, key: &[u8], deadline_ms: Option<u64>, value_type: u8) -> Result<(), WriteError> {
        self.between_keys()?;
        if let Some(deadline) = signed_deadline(deadline_ms)? {
            self.out.put_u8(code::DEADLINE_MS);
            self.out.put_i64_le(deadline);
        }
        self.out.put_u8(value_type);
        self.put_string(key);
        Ok(())
    }

    fn put_length(&mut self, length: u64) {
        if length < 1 << 6 {
            self.out.put_u8(length as u8);
        } else if length < 1 << 14 {
            self.out.put_u16(length as u16 | 0x4000);
        } else if let Ok(length) = u32::try_from(length) {
            self.out.put_u8(0x80);
            self.out.put_u32(length);
        } else {
            self.out.put_u8(0x81);
            self.out.put_u64(length);
        }
    }

    /// A string: as an integer if its text is the canonical text of one of 32 bits, else as it is.
    pub(super) fn put_string(&mut self, text: &[u8]) {
        let integer = (text.len() <= INTEGER_TEXT_BYTES).then(|| parse_integer(text)).flatten();
        match integer.and_then(|value| i32::try_from(value).ok()) {
            Some(value) => self.put_integer(value),
            None => {
                self.put_length(text.len() as u64);
                self.out.put_slice(text);
            }
        }
    }

    fn put_integer(&mut self, value: i32) {
        if let Ok(value) = i8::try_from(value) {
            self.out.put_u8(0xC0);
            self.out.put_i8(value);
        } else if let Ok(value) = i16::try_from(value) {
            self.out.put_u8(0xC1);
            self.out.put_i16_le(value);
        } else {
            self.out.put_u8(0xC2);
            self.out.put_i32_le(value);
        }
    }
}

fn signed_deadline(deadline_ms: Option<u64>) -> Result<Option<i64>, WriteError> {
    deadline_ms
        .map(|deadline_ms| {
            i64::try_from(deadline_ms).map_err(|_| WriteError::DeadlineOutOfRange { deadline_ms })
        })
        .transpose()
}
