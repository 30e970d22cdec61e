//! Reading a snapshot, event by event.

use std::io::BufRead;

use bytes::Bytes;

use super::source::Source;
use super::{Fault, FileVersion, ReadError, Value, code};

/// What a snapshot may contain. Memory never exceeds what has arrived times a constant (LZF unpacks to at most
/// 88 times its size); these limits bound it further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The longest string, and the largest compact collection: 4 GiB - 1.
    pub max_string_bytes: u64,
    /// The most elements of one collection: 2^32 - 1.
    pub max_elements: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { max_string_bytes: u32::MAX.into(), max_elements: u32::MAX.into() }
    }
}

/// The newest versions whose types this reader was made for.
const MAX_REDIS_VERSION: u16 = 13;
const MAX_VALKEY_VERSION: u16 = 81;

/// The first version that ends with a checksum.
const FIRST_CHECKED_VERSION: u16 = 5;

/// A key and its value.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The key.
    pub key: Bytes,
    /// The value.
    pub value: Value,
    /// When the key ceases to exist, in ms since the Unix epoch. Not judged: it may have passed.
    pub deadline_ms: Option<u64>,
    /// For how long the key was not used, in s (under an LRU policy).
    pub idle_s: Option<u64>,
    /// The key's LFU counter (under an LFU policy).
    pub frequency: Option<u8>,
}

/// What a snapshot consists of.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// What the snapshot says about itself. Unknown keys are to be ignored.
    Aux {
        /// The key, such as `repl-offset`.
        key: Bytes,
        /// The value, as text.
        value: Bytes,
    },
    /// The entries that follow are in this database.
    SelectDb(u16),
    /// How many keys, and keys with a deadline, the database has. A hint, and a claim.
    ResizeDb {
        /// Keys.
        keys: u64,
        /// Keys with a deadline.
        keys_with_deadline: u64,
    },
    /// How many keys a cluster slot has. A hint, and a claim.
    SlotInfo {
        /// The slot.
        slot: u64,
        /// Keys.
        keys: u64,
        /// Keys with a deadline.
        keys_with_deadline: u64,
    },
    /// The source text of a function library.
    Function(Bytes),
    /// A module's own data, which was skipped.
    ModuleAux {
        /// The module's number, which spells its name and version.
        module_id: u64,
    },
    /// A key.
    Entry(Entry),
    /// The end. The checksum has been verified, unless the file has none.
    End {
        /// Whether it has one.
        checked: bool,
    },
}

/// Reads one snapshot from a [`BufRead`], and not a byte beyond its end.
///
/// An entry is an event of its own, complete. What it holds may share memory with its neighbours in a compact encoding.
///
/// ```
/// use replcore::rdb::{Event, Limits, SnapshotFormat, Reader, Writer};
///
/// let file = Writer::new(SnapshotFormat::Redis10).finish()?;
/// let mut reader = Reader::new(&file[..], Limits::default())?;
/// assert_eq!(reader.next_event()?, Some(Event::End { checked: true }));
/// assert_eq!(reader.next_event()?, None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Reader<R> {
    source: Source<R>,
    version: FileVersion,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Reading,
    Ended,
    Failed,
}

impl<R: BufRead> Reader<R> {
    /// Reads the magic and version.
    ///
    /// # Errors
    ///
    /// [`ReadError::NotRdb`], [`ReadError::UnsupportedVersion`], or what happens to the source.
    pub fn new(read: R, limits: Limits) -> Result<Self, ReadError> {
        let mut source = Source::new(read, limits);
        let found = source.array()?;
        let number = |digits: &[u8]| {
            let all_digits = digits.iter().all(u8::is_ascii_digit);
            all_digits.then(|| digits.iter().fold(0u16, |value, digit| value * 10 + u16::from(digit - b'0')))
        };
        let unsupported = ReadError::UnsupportedVersion { found };
        let version = match found {
            [b'R', b'E', b'D', b'I', b'S', ref digits @ ..] => {
                number(digits).filter(|n| (1..=MAX_REDIS_VERSION).contains(n)).map(FileVersion::Redis)
            }
            [b'V', b'A', b'L', b'K', b'E', b'Y', ref digits @ ..] => {
                number(digits).filter(|n| (80..=MAX_VALKEY_VERSION).contains(n)).map(FileVersion::Valkey)
            }
            _ => return Err(ReadError::NotRdb { found }),
        };
        Ok(Reader { source, version: version.ok_or(unsupported)?, state: State::Reading })
    }

    /// The version of the format.
    pub fn version(&self) -> FileVersion {
        self.version
    }

    /// How many bytes have been read.
    pub fn position(&self) -> u64 {
        self.source.position()
    }

    /// The source, at the first byte that was not read: after [`Event::End`], the first one behind the snapshot.
    pub fn into_inner(self) -> R {
        self.source.into_inner()
    }

    /// The next event; `None` after [`Event::End`].
    ///
    /// # Errors
    ///
    /// [`ReadError`]; it is final.
    pub fn next_event(&mut self) -> Result<Option<Event>, ReadError> {
        match self.state {
            State::Reading => {}
            State::Ended => return Ok(None),
            State::Failed => return Err(ReadError::AlreadyFailed { position: self.position() }),
        }
        // Until the event is complete.
        self.state = State::Failed;
        let event = self.event()?;
        self.state = if matches!(event, Event::End { .. }) { State::Ended } else { State::Reading };
        Ok(Some(event))
    }

    fn event(&mut self) -> Result<Event, ReadError> {
        let source = &mut self.source;
        Ok(match source.byte()? {
            code::AUX => Event::Aux { key: source.string()?, value: source.string()? },
            code::SELECT_DB => {
                let db = source.length()?;
                Event::SelectDb(u16::try_from(db).map_err(|_| source.malformed(Fault::Database))?)
            }
            code::RESIZE_DB => {
                Event::ResizeDb { keys: source.length()?, keys_with_deadline: source.length()? }
            }
            code::SLOT_INFO => Event::SlotInfo {
                slot: source.length()?,
                keys: source.length()?,
                keys_with_deadline: source.length()?,
            },
            code::FUNCTION => Event::Function(source.string()?),
            code::MODULE_AUX => Event::ModuleAux { module_id: self.skip_module()? },
            code::END => self.end()?,
            first => Event::Entry(self.entry(first)?),
        })
    }

    /// A key, from the first byte of its attributes or its type on.
    fn entry(&mut self, first: u8) -> Result<Entry, ReadError> {
        let source = &mut self.source;
        let (mut deadline_ms, mut idle_s, mut frequency) = (None, None, None);
        let mut opcode = first;
        let value_type = loop {
            match opcode {
                code::DEADLINE_MS => deadline_ms = Some(i64::from_le_bytes(source.array()?)),
                code::DEADLINE_S => {
                    deadline_ms = Some(i64::from(i32::from_le_bytes(source.array()?)) * 1000);
                }
                code::IDLE => idle_s = Some(source.length()?),
                code::FREQUENCY => frequency = Some(source.byte()?),
                code::AUX
                | code::SELECT_DB
                | code::RESIZE_DB
                | code::SLOT_INFO
                | code::FUNCTION
                | code::MODULE_AUX
                | code::END => return Err(source.malformed(Fault::DanglingAttributes)),
                opcode @ code::FIRST_OPCODE.. => {
                    return Err(ReadError::UnsupportedOpcode { position: source.position(), opcode });
                }
                value_type => break value_type,
            }
            opcode = source.byte()?;
        };
        let key = source.string()?;
        let value = source.value(value_type, self.version)?;
        // Before the epoch is as due as at the epoch.
        let deadline_ms = deadline_ms.map(|deadline| u64::try_from(deadline).unwrap_or(0));
        Ok(Entry { key, value, deadline_ms, idle_s, frequency })
    }

    /// A module's data: its number, when it was saved (an integer), then marked values up to an end mark.
    fn skip_module(&mut self) -> Result<u64, ReadError> {
        let source = &mut self.source;
        let module_id = source.length()?;
        loop {
            match source.length()? {
                0 => return Ok(module_id),
                1 | 2 => source.length().map(drop)?,
                3 => source.skip(4)?,
                4 => source.skip(8)?,
                5 => source.string().map(drop)?,
                _ => return Err(source.malformed(Fault::Module)),
            }
        }
    }

    fn end(&mut self) -> Result<Event, ReadError> {
        if matches!(self.version, FileVersion::Redis(number) if number < FIRST_CHECKED_VERSION) {
            return Ok(Event::End { checked: false });
        }
        let computed = self.source.checksum_so_far();
        let stored = u64::from_le_bytes(self.source.array()?);
        if stored != 0 && stored != computed {
            return Err(ReadError::ChecksumMismatch { stored, computed });
        }
        Ok(Event::End { checked: stored != 0 })
    }
}
