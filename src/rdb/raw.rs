//! Values as they are encoded: what a snapshot's reader hands over unread, and what `RESTORE` takes.

use bytes::{BufMut as _, Bytes, BytesMut};

use super::checksum::checksum;
use super::source::Source;
use super::{FileVersion, Limits, PayloadError, ReadError, Value, ValueType, payload};

/// A value in the encoding of the snapshot or payload that it comes from: its type, and everything behind the
/// key.
///
/// Where it ends is known from its structure, lengths and numbers of parts, which has been checked. What its
/// strings say, compact collections among them, has not: a server that takes it may still refuse it.
/// (Measured: Valkey 9.1.2 answers `Bad data format` to a listpack of Redis 7.0.15 with an element of exactly
/// 16,383 bytes, head included, for it expects two bytes behind it and not three. A [`Value`] that is
/// [decoded](Self::decode) and written anew has no such difference.)
///
/// ```
/// use replcore::rdb::{Event, Handling, Limits, Options, RawValue, Reader};
///
/// // The key `s`: a stream without entries, as Redis 5 writes it.
/// let file = b"REDIS0009\x0f\x01s\x00\x00\x00\x00\x00\xff\0\0\0\0\0\0\0\0";
/// let mut reader = Reader::new(&file[..], Options { others: Handling::Raw, ..Options::default() })?;
/// let Some(Event::Raw(entry)) = reader.next_event()? else { panic!() };
/// assert_eq!(entry.value.value_type().name(), "stream");
/// let payload = entry.value.payload(); // for RESTORE
/// assert_eq!(RawValue::from_payload(&payload, Limits::default())?.body(), &b"\x0f\0\0\0\0\0"[..]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawValue {
    body: Bytes,
    version: FileVersion,
}

impl RawValue {
    /// Of a body that has at least its type, and ends where its structure does.
    pub(super) fn new(body: Bytes, version: FileVersion) -> RawValue {
        RawValue { body, version }
    }

    /// Takes the value out of a payload of `DUMP`, in the versions that [`read_payload`](super::read_payload)
    /// takes. Bytes behind the value are left out.
    ///
    /// # Errors
    ///
    /// [`PayloadError`], with [`ReadError::UnsupportedType`] for a type that is not known.
    pub fn from_payload(payload: &[u8], limits: Limits) -> Result<RawValue, PayloadError> {
        let (body, _) = payload::body_of(payload)?;
        Ok(RawValue::parse(body, payload::FILE_VERSION, limits)?)
    }

    /// Takes the value at the front of `body`: the byte of its type, and what follows the key in a snapshot
    /// of that version. Bytes behind the value are left out.
    ///
    /// # Errors
    ///
    /// [`ReadError`], with [`ReadError::UnsupportedType`] for a type that is not known. Positions count from
    /// the type on.
    pub fn parse(body: &[u8], version: FileVersion, limits: Limits) -> Result<RawValue, ReadError> {
        let mut source = Source::new(body, limits);
        let value_type = ValueType(source.byte()?);
        source.raw(value_type, version, None)
    }

    /// What it is.
    pub fn value_type(&self) -> ValueType {
        ValueType(self.body.first().copied().unwrap_or_default())
    }

    /// The version of the format it was read in.
    pub fn version(&self) -> FileVersion {
        self.version
    }

    /// The byte of its type, and everything that follows the key in a snapshot.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// A payload for `RESTORE`, in the lowest version that has the type: every server takes it that knows the
    /// type.
    #[must_use = "a payload does nothing before it is sent"]
    pub fn payload(&self) -> Bytes {
        self.payload_in(self.value_type().first_version())
    }

    /// A payload for `RESTORE` that claims another version of the format: for servers that ask for it.
    #[must_use = "a payload does nothing before it is sent"]
    pub fn payload_in(&self, version: u16) -> Bytes {
        let mut payload = BytesMut::with_capacity(self.body.len() + payload::FOOTER_BYTES);
        payload.put_slice(&self.body);
        payload.put_u16_le(version);
        let mut computed = checksum();
        computed.update(&payload);
        payload.put_u64_le(computed.finalize());
        payload.freeze()
    }

    /// Reads it.
    ///
    /// # Errors
    ///
    /// [`ReadError::UnsupportedType`] for what a [`Value`] cannot hold; what its strings contradict.
    /// Positions count from its type on.
    pub fn decode(&self, limits: Limits) -> Result<Value, ReadError> {
        let mut source = Source::new(&self.body[..], limits);
        let value_type = ValueType(source.byte()?);
        source.value(value_type, self.version, None)
    }
}
