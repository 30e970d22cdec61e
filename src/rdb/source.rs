//! The bytes under the reader: position, checksum, and the format's primitives.

use std::io::{BufRead, ErrorKind};

use bytes::Bytes;

use super::checksum::{Checksum, checksum};
use super::compact::integer_text;
use super::grammar::{self, Step};
use super::scan::{Scan, Stop};
use super::{Fault, FileVersion, Limits, RawValue, ReadError, ValueType, lzf};

/// How much room is made in advance for a string of whatever length is claimed.
const MAX_PREALLOCATED_BYTES: usize = 64 << 10;

/// A length, or what stands in its place before a specially encoded string.
enum Length {
    Plain(u64),
    Special(u8),
}

pub(super) struct Source<R> {
    read: R,
    position: u64,
    checksum: Checksum,
    pub(super) limits: Limits,
}

impl<R: BufRead> Source<R> {
    pub(super) fn new(read: R, limits: Limits) -> Self {
        Source { read, position: 0, checksum: checksum(), limits }
    }

    pub(super) fn position(&self) -> u64 {
        self.position
    }

    pub(super) fn into_inner(self) -> R {
        self.read
    }

    pub(super) fn inner(&self) -> &R {
        &self.read
    }

    pub(super) fn inner_mut(&mut self) -> &mut R {
        &mut self.read
    }

    /// The checksum of the bytes read so far.
    pub(super) fn checksum_so_far(&self) -> u64 {
        self.checksum.clone().finalize()
    }

    pub(super) fn malformed(&self, fault: Fault) -> ReadError {
        ReadError::Malformed { position: self.position, fault }
    }

    /// Hands the next 1 to `most` bytes, those that are there, to `use_piece`; takes as many as that says,
    /// and returns how many.
    fn piece(&mut self, most: usize, use_piece: impl FnOnce(&[u8]) -> usize) -> Result<usize, ReadError> {
        let available = loop {
            match self.read.fill_buf() {
                // The borrow of a returned buffer cannot leave the loop: ask again outside it.
                Ok(buffer) => break buffer.len(),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(source) => return Err(ReadError::Io { position: self.position, source }),
            }
        };
        if available == 0 {
            return Err(ReadError::Truncated { position: self.position });
        }
        let buffer =
            self.read.fill_buf().map_err(|source| ReadError::Io { position: self.position, source })?;
        let piece = &buffer[..buffer.len().min(most)];
        let taken = use_piece(piece);
        self.checksum.update(&piece[..taken]);
        self.read.consume(taken);
        self.position += taken as u64;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], ReadError> {
        let mut array = [0; N];
        let mut filled = 0;
        while filled < N {
            filled += self.piece(N - filled, |piece| {
                array[filled..][..piece.len()].copy_from_slice(piece);
                piece.len()
            })?;
        }
        Ok(array)
    }

    pub(super) fn byte(&mut self) -> Result<u8, ReadError> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// `len` bytes. Memory grows with what arrives.
    pub(super) fn bytes(&mut self, len: u64) -> Result<Vec<u8>, ReadError> {
        let len = self.within(len, self.limits.max_string_bytes)?;
        let mut bytes = Vec::with_capacity(len.min(MAX_PREALLOCATED_BYTES));
        while bytes.len() < len {
            self.piece(len - bytes.len(), |piece| {
                bytes.extend_from_slice(piece);
                piece.len()
            })?;
        }
        Ok(bytes)
    }

    /// Reads past `len` bytes.
    pub(super) fn skip(&mut self, len: u64) -> Result<(), ReadError> {
        let mut left = len;
        while left > 0 {
            left -= self.piece(usize::try_from(left).unwrap_or(usize::MAX), <[u8]>::len)? as u64;
        }
        Ok(())
    }

    /// Reads past those parts.
    pub(super) fn skip_parts(
        &mut self,
        steps: &'static [Step],
        version: FileVersion,
    ) -> Result<(), ReadError> {
        self.pass(Scan::new(steps, version, self.limits), None)
    }

    /// Reads past those parts, and appends them to `kept`.
    pub(super) fn keep_parts(
        &mut self,
        steps: &'static [Step],
        version: FileVersion,
        kept: &mut Vec<u8>,
    ) -> Result<(), ReadError> {
        self.pass(Scan::new(steps, version, self.limits), Some(kept))
    }

    /// The value of type `value_type` as it is encoded.
    pub(super) fn raw(
        &mut self,
        value_type: ValueType,
        version: FileVersion,
        key: Option<&Bytes>,
    ) -> Result<RawValue, ReadError> {
        let steps = grammar::value(value_type, version);
        let steps = steps.ok_or_else(|| self.unsupported(value_type, key))?;
        let mut body = vec![value_type.0];
        self.keep_parts(steps, version, &mut body)?;
        Ok(RawValue::new(body.into(), version))
    }

    /// Passes what `scan` covers; appends it to `kept`.
    fn pass(&mut self, mut scan: Scan, mut kept: Option<&mut Vec<u8>>) -> Result<(), ReadError> {
        while !scan.is_done() {
            self.advance(&mut scan, kept.as_deref_mut())?;
        }
        Ok(())
    }

    /// Passes the next piece of what `scan` covers; appends it to `kept`, which stays within the limit of
    /// what is handed over as it is.
    pub(super) fn advance(
        &mut self,
        scan: &mut Scan,
        mut kept: Option<&mut Vec<u8>>,
    ) -> Result<(), ReadError> {
        let limit = self.limits.max_raw_bytes;
        let room = kept.as_ref().map_or(u64::MAX, |kept| limit.saturating_sub(kept.len() as u64));
        if room == 0 {
            let claimed = limit.saturating_add(1);
            return Err(ReadError::LimitExceeded { position: self.position, claimed, limit });
        }
        let mut outcome = Ok(());
        self.piece(usize::try_from(room).unwrap_or(usize::MAX), |piece| {
            let (taken, result) = scan.advance(piece);
            outcome = result;
            if let Some(kept) = &mut kept {
                kept.extend_from_slice(&piece[..taken]);
            }
            taken
        })?;
        outcome.map_err(|stop| self.stopped(stop))
    }

    pub(super) fn stopped(&self, stop: Stop) -> ReadError {
        match stop {
            Stop::Fault(fault) => self.malformed(fault),
            Stop::Limit { claimed, limit } => {
                ReadError::LimitExceeded { position: self.position, claimed, limit }
            }
            Stop::Opcode => self.malformed(Fault::DanglingAttributes),
        }
    }

    pub(super) fn unsupported(&self, value_type: ValueType, key: Option<&Bytes>) -> ReadError {
        ReadError::UnsupportedType { position: self.position, value_type, key: key.cloned() }
    }

    /// A length that must be a plain number.
    pub(super) fn length(&mut self) -> Result<u64, ReadError> {
        match self.any_length()? {
            Length::Plain(length) => Ok(length),
            Length::Special(_) => Err(self.malformed(Fault::Length)),
        }
    }

    /// The number of elements of a collection.
    pub(super) fn count(&mut self) -> Result<u64, ReadError> {
        let count = self.length()?;
        self.within(count, self.limits.max_elements).map(|count| count as u64)
    }

    /// Checks the number of elements of a collection that did not announce it, or only that of its parts.
    pub(super) fn check_count(&self, count: usize) -> Result<(), ReadError> {
        self.within(count as u64, self.limits.max_elements).map(drop)
    }

    pub(super) fn string(&mut self) -> Result<Bytes, ReadError> {
        match self.any_length()? {
            Length::Plain(len) => self.bytes(len).map(Bytes::from),
            Length::Special(0) => self.array::<1>().map(|raw| integer_text(i8::from_le_bytes(raw).into())),
            Length::Special(1) => self.array::<2>().map(|raw| integer_text(i16::from_le_bytes(raw).into())),
            Length::Special(2) => self.array::<4>().map(|raw| integer_text(i32::from_le_bytes(raw).into())),
            Length::Special(3) => {
                let packed = self.length()?;
                let len = self.length()?;
                let len = self.within(len, self.limits.max_string_bytes)?;
                let packed = self.bytes(packed)?;
                lzf::decompress(&packed, len).map(Bytes::from).ok_or_else(|| self.malformed(Fault::Lzf))
            }
            Length::Special(_) => Err(self.malformed(Fault::Length)),
        }
    }

    fn any_length(&mut self) -> Result<Length, ReadError> {
        let first = self.byte()?;
        Ok(match (first >> 6, first) {
            (0, _) => Length::Plain(u64::from(first)),
            (1, _) => Length::Plain(u64::from(first & 0x3F) << 8 | u64::from(self.byte()?)),
            (3, _) => Length::Special(first & 0x3F),
            (_, 0x80) => Length::Plain(u32::from_be_bytes(self.array()?).into()),
            (_, 0x81) => Length::Plain(u64::from_be_bytes(self.array()?)),
            _ => return Err(self.malformed(Fault::Length)),
        })
    }

    fn within(&self, claimed: u64, limit: u64) -> Result<usize, ReadError> {
        let exceeded = ReadError::LimitExceeded { position: self.position, claimed, limit };
        if claimed > limit { Err(exceeded) } else { usize::try_from(claimed).map_err(|_| exceeded) }
    }
}
