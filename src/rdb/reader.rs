//! Reading a snapshot, event by event.

use std::io::BufRead;

use bytes::Bytes;

use super::source::Source;
use super::{Fault, FileVersion, Handling, Options, RawValue, ReadError, Value, ValueType, code, grammar};

/// The newest versions whose types this reader was made for.
const MAX_REDIS_VERSION: u16 = 13;
const MAX_VALKEY_VERSION: u16 = 81;

/// A key and its value: decoded, or a [`RawValue`], or only its [`ValueType`].
#[derive(Clone, Debug, PartialEq)]
pub struct Entry<V = Value> {
    /// The key.
    pub key: Bytes,
    /// The value.
    pub value: V,
    /// When the key ceases to exist, in ms since the Unix epoch. Not judged: it may have passed.
    pub deadline_ms: Option<u64>,
    /// For how long the key was not used, in s (under an LRU policy).
    pub idle_s: Option<u64>,
    /// The key's LFU counter (under an LFU policy).
    pub frequency: Option<u8>,
}

impl<V> Entry<V> {
    /// The same key with another form of its value.
    pub(super) fn with<W>(self, value: W) -> Entry<W> {
        let Entry { key, deadline_ms, idle_s, frequency, .. } = self;
        Entry { key, value, deadline_ms, idle_s, frequency }
    }
}

/// What a snapshot consists of.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
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
    /// The slots that a node of a cluster is about to take over (Valkey 9.0 and later).
    SlotImport {
        /// The name of the job.
        job: Bytes,
        /// First and last slots.
        ranges: Vec<(u64, u64)>,
    },
    /// The source text of a function library: what `FUNCTION LOAD` takes.
    Function(Bytes),
    /// A function library, which was skipped.
    SkippedFunction,
    /// What a module keeps beside the keys.
    ModuleAux {
        /// The module's number, which spells its name and version.
        module_id: u64,
        /// What follows the number, under [`Handling::Raw`]; otherwise it was skipped.
        data: Option<Bytes>,
    },
    /// A key.
    Entry(Entry),
    /// A key whose value is left as it is encoded.
    Raw(Entry<RawValue>),
    /// A key whose value was skipped.
    Skipped(Entry<ValueType>),
    /// The end. The checksum has been verified, unless the file has none.
    End {
        /// Whether it has one.
        checked: bool,
    },
}

/// Reads one snapshot from a [`BufRead`], and not a byte beyond its end.
///
/// An entry is an event of its own, complete. What it holds may share memory with its neighbours in a compact
/// encoding.
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
    options: Options,
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
    /// Reads the magic and version. `options` may be [`Limits`](super::Limits) alone.
    ///
    /// # Errors
    ///
    /// [`ReadError::NotRdb`], [`ReadError::UnsupportedVersion`], or what happens to the source.
    pub fn new(read: R, options: impl Into<Options>) -> Result<Self, ReadError> {
        let options = options.into();
        let mut source = Source::new(read, options.limits);
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
        Ok(Reader { source, options, version: version.ok_or(unsupported)?, state: State::Reading })
    }

    /// The version of the format.
    pub fn version(&self) -> FileVersion {
        self.version
    }

    /// How many bytes have been read.
    pub fn position(&self) -> u64 {
        self.source.position()
    }

    /// The source, at the first byte that was not read: after [`Event::End`], the first one behind the
    /// snapshot.
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

    pub(super) fn source(&mut self) -> &mut Source<R> {
        &mut self.source
    }

    pub(super) fn inner(&self) -> &R {
        self.source.inner()
    }

    pub(super) fn options(&self) -> Options {
        self.options
    }

    pub(super) fn is_ended(&self) -> bool {
        self.state == State::Ended
    }

    /// Reads a key up to its value, which the caller passes. Until it says so, reading has failed.
    pub(super) fn begin_skipped(&mut self) -> Result<Entry<ValueType>, ReadError> {
        self.state = State::Failed;
        let first = self.source.byte()?;
        self.head(first)
    }

    /// The value has been passed.
    pub(super) fn end_skipped(&mut self) {
        self.state = State::Reading;
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
            code::SLOT_IMPORT if matches!(self.version, FileVersion::Valkey(_)) => {
                let job = source.string()?;
                let ranges = source.elements(|source| Ok((source.length()?, source.length()?)))?;
                Event::SlotImport { job, ranges }
            }
            code::FUNCTION => self.function()?,
            code::MODULE_AUX => self.module_aux()?,
            code::END => self.end()?,
            first => self.entry(first)?,
        })
    }

    fn function(&mut self) -> Result<Event, ReadError> {
        if self.options.others == Handling::Skip {
            self.source.skip_parts(grammar::FUNCTION, self.version)?;
            return Ok(Event::SkippedFunction);
        }
        Ok(Event::Function(self.source.string()?))
    }

    fn module_aux(&mut self) -> Result<Event, ReadError> {
        let module_id = self.source.length()?;
        if self.options.others == Handling::Raw {
            let mut data = Vec::new();
            self.source.keep_parts(grammar::MODULE_AUX, self.version, &mut data)?;
            return Ok(Event::ModuleAux { module_id, data: Some(data.into()) });
        }
        self.source.skip_parts(grammar::MODULE_AUX, self.version)?;
        Ok(Event::ModuleAux { module_id, data: None })
    }

    /// A key with its value, from the first byte of its attributes or its type on.
    fn entry(&mut self, first: u8) -> Result<Event, ReadError> {
        let head = self.head(first)?;
        let value_type = head.value;
        Ok(match self.handling_of(value_type) {
            Handling::Decode => {
                let value = self.source.value(value_type, self.version, Some(&head.key))?;
                Event::Entry(head.with(value))
            }
            Handling::Raw => {
                let value = self.source.raw(value_type, self.version, Some(&head.key))?;
                Event::Raw(head.with(value))
            }
            Handling::Skip => {
                let steps = grammar::value(value_type, self.version);
                let steps = steps.ok_or_else(|| self.source.unsupported(value_type, Some(&head.key)))?;
                self.source.skip_parts(steps, self.version)?;
                Event::Skipped(head)
            }
        })
    }

    pub(super) fn handling_of(&self, value_type: ValueType) -> Handling {
        if value_type.is_value(self.version) { self.options.values } else { self.options.others }
    }

    /// A key and the type of its value, from the first byte of its attributes or its type on, which has been
    /// read.
    fn head(&mut self, first: u8) -> Result<Entry<ValueType>, ReadError> {
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
                opcode if grammar::opcode(opcode, self.version).is_some() => {
                    return Err(source.malformed(Fault::DanglingAttributes));
                }
                opcode @ code::FIRST_OPCODE.. => {
                    return Err(ReadError::UnsupportedOpcode { position: source.position(), opcode });
                }
                value_type => break ValueType(value_type),
            }
            opcode = source.byte()?;
        };
        let key = source.string()?;
        // Before the epoch is as due as at the epoch.
        let deadline_ms = deadline_ms.map(|deadline| u64::try_from(deadline).unwrap_or(0));
        Ok(Entry { key, value: value_type, deadline_ms, idle_s, frequency })
    }

    fn end(&mut self) -> Result<Event, ReadError> {
        if !self.version.has_checksum() {
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
