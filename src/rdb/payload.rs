//! One value on its own: what `DUMP` answers and `RESTORE` takes.
//!
//! ```text
//! type value            as in a snapshot, without the key
//! version               u16, little-endian
//! CRC-64                u64, little-endian, of everything before it
//! ```
//!
//! [`PayloadWriter`] writes plain encodings in version 10, which Redis 7.0 and every Valkey take; only a hash
//! with field deadlines is written in version 80, which the servers take that can hold one: Valkey 9.0 and
//! later. [`read_payload`] reads every encoding that [`Reader`](super::Reader) reads, in the versions that
//! Valkey 9.1 takes: 1 to 11, and 80. Redis 7.4's own hashes with field deadlines come in version 12 and are
//! therefore refused, as by Valkey.

use bytes::{BufMut, Bytes, BytesMut};

use super::checksum::checksum;
use super::source::Source;
use super::writer::{Kind, Writer};
use super::{FileVersion, Limits, ReadError, SnapshotFormat, Value, ValueType, WriteError, code};

/// The version that is written, but for hashes with field deadlines.
pub const PAYLOAD_VERSION: u16 = 10;

const VERSION_BYTES: usize = 2;
pub(super) const FOOTER_BYTES: usize = VERSION_BYTES + 8;

/// The newest version of Redis, and the one of Valkey, that Valkey 9.1 takes.
const MAX_REDIS_VERSION: u16 = 11;
const VALKEY_VERSION: u16 = 80;

/// As what a payload's types are read: where their meaning depends on the kind of server, it is Valkey's, in
/// any version.
pub(super) const FILE_VERSION: FileVersion = FileVersion::Valkey(VALKEY_VERSION);

/// A value that was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Payload {
    /// The value.
    pub value: Value,
    /// Whether every server that can hold the value reads it out of these bytes: a plain encoding, in at most
    /// version 10, or a hash with field deadlines as Valkey 9.0 writes it; and nothing behind the value.
    pub is_portable: bool,
}

/// Why a payload cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PayloadError {
    /// Too short, of another version or with a wrong checksum.
    #[error("payload version or checksum are wrong")]
    Footer,
    /// The value contradicts the format, or is of a type that is not read.
    #[error("payload: {0}")]
    Value(#[from] ReadError),
}

/// Reads a payload. Bytes behind the value are ignored, as Valkey does; unlike there, the footer is never
/// taken for a part of the value.
///
/// # Errors
///
/// [`PayloadError`].
pub fn read_payload(payload: &[u8], limits: Limits) -> Result<Payload, PayloadError> {
    let (body, version) = body_of(payload)?;
    let mut source = Source::new(body, limits);
    let value_type = ValueType(source.byte()?);
    let value = source.value(value_type, FILE_VERSION, None)?;
    let plain = [code::STRING, code::LIST, code::SET, code::HASH, code::ZSET_BINARY].contains(&value_type.0);
    let fits = value.has_field_deadlines() || (plain && version <= PAYLOAD_VERSION);
    let whole = source.position() == body.len() as u64;
    Ok(Payload { value, is_portable: fits && whole })
}

/// What stands before the footer, and the version; the footer is checked.
pub(super) fn body_of(payload: &[u8]) -> Result<(&[u8], u16), PayloadError> {
    let body_len = payload.len().checked_sub(FOOTER_BYTES).ok_or(PayloadError::Footer)?;
    let (body, footer) = payload.split_at(body_len);
    let (version, stored) = footer.split_at(VERSION_BYTES);
    let version = u16::from_le_bytes(version.try_into().map_err(|_| PayloadError::Footer)?);
    let stored = u64::from_le_bytes(stored.try_into().map_err(|_| PayloadError::Footer)?);
    let mut computed = checksum();
    computed.update(&payload[..body_len + VERSION_BYTES]);
    let known = (1..=MAX_REDIS_VERSION).contains(&version) || version == VALKEY_VERSION;
    if !known || stored != computed.finalize() {
        return Err(PayloadError::Footer);
    }
    Ok((body, version))
}

/// Whether a payload is a hash with field deadlines, by its type alone: as [`PayloadWriter`] writes one.
pub fn payload_has_field_deadlines(payload: &[u8]) -> bool {
    payload.first() == Some(&code::VALKEY_HASH_DEADLINES)
}

/// Writes one payload: either a string or a collection, element by element.
///
/// ```
/// use replcore::rdb::{Kind, Limits, PayloadWriter, Value, read_payload};
///
/// let mut writer = PayloadWriter::collection(Kind::List, 2)?;
/// writer.element(b"a")?;
/// writer.element(b"b")?;
/// let payload = read_payload(&writer.finish()?, Limits::default())?;
/// assert_eq!(payload.value, Value::List(vec!["a".into(), "b".into()]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct PayloadWriter {
    writer: Writer,
    version: u16,
}

impl PayloadWriter {
    /// The payload of a string.
    pub fn string(value: &[u8]) -> PayloadWriter {
        let mut writer = Writer::without_magic(SnapshotFormat::Redis10);
        writer.put_type(code::STRING);
        writer.put_string(value);
        PayloadWriter { writer, version: PAYLOAD_VERSION }
    }

    /// The payload of a collection of exactly `len` elements, to be written next.
    ///
    /// # Errors
    ///
    /// [`WriteError::EmptyCollection`].
    pub fn collection(kind: Kind, len: u64) -> Result<PayloadWriter, WriteError> {
        let (file_version, version) = match kind {
            Kind::HashWithDeadlines => (SnapshotFormat::Valkey80, VALKEY_VERSION),
            _ => (SnapshotFormat::Redis10, PAYLOAD_VERSION),
        };
        let mut writer = Writer::without_magic(file_version);
        let value_type = writer.type_of(kind, len)?;
        writer.put_type(value_type);
        writer.open(kind, len);
        Ok(PayloadWriter { writer, version })
    }

    /// Writes the next element of a list or set.
    ///
    /// # Errors
    ///
    /// [`WriteError::UnexpectedElement`].
    pub fn element(&mut self, element: &[u8]) -> Result<(), WriteError> {
        self.writer.element(element)
    }

    /// Writes the next member of a sorted set.
    ///
    /// # Errors
    ///
    /// [`WriteError::UnexpectedElement`], [`WriteError::NanScore`].
    pub fn member(&mut self, member: &[u8], score: f64) -> Result<(), WriteError> {
        self.writer.member(member, score)
    }

    /// Writes the next field of a hash. `deadline_ms` is in ms since the Unix epoch.
    ///
    /// # Errors
    ///
    /// Those of [`Writer::field`].
    pub fn field(&mut self, field: &[u8], value: &[u8], deadline_ms: Option<u64>) -> Result<(), WriteError> {
        self.writer.field(field, value, deadline_ms)
    }

    /// The payload.
    ///
    /// # Errors
    ///
    /// [`WriteError::ElementsMissing`].
    pub fn finish(self) -> Result<Bytes, WriteError> {
        let mut payload: BytesMut = self.writer.into_bytes()?;
        payload.put_u16_le(self.version);
        let mut computed = checksum();
        computed.update(&payload);
        payload.put_u64_le(computed.finalize());
        Ok(payload.freeze())
    }
}
