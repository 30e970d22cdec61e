//! Reading a snapshot that is pushed, piece by piece.

use std::io::{self, BufRead, Read};

use bytes::{Buf as _, Bytes, BytesMut};

use super::scan::{Scan, Stop};
use super::{Entry, Event, FileVersion, Handling, Options, ReadError, Reader, ValueType, code, grammar};

/// The magic and the version.
const MAGIC_BYTES: usize = 9;
const MAX_LENGTH_BYTES: usize = 9;

/// Reads one snapshot from pieces, as a socket delivers them: it does no I/O and never waits.
///
/// It gives the events, errors and positions that a [`Reader`] gives for the same bytes, however they are
/// cut. An event is handed out as soon as its last byte has been fed; what is fed is kept until then, but for
/// values that are skipped.
///
/// ```
/// use replcore::rdb::{Decoder, Event, Limits, SnapshotFormat, Writer};
///
/// let mut writer = Writer::new(SnapshotFormat::Redis10);
/// writer.string(b"k", None, b"v")?;
/// let mut decoder = Decoder::new(Limits::default());
/// let mut keys = Vec::new();
/// for piece in writer.finish()?.chunks(5) {
///     decoder.feed(piece);
///     while let Some(event) = decoder.next_event()? {
///         if let Event::Entry(entry) = event {
///             keys.push(entry.key);
///         }
///     }
/// }
/// assert_eq!(keys, ["k"]);
/// assert!(decoder.finish()?.is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Decoder {
    options: Options,
    state: State,
}

enum State {
    /// The magic is not complete.
    Magic(Queue),
    Events(Box<Events>),
    /// The magic was refused.
    Refused(u64),
}

/// Behind the magic.
struct Events {
    reader: Reader<Queue>,
    stage: Stage,
}

/// How far the next event has come. Scans begin at the front of the queue.
enum Stage {
    /// An event, or a key up to its value; so many bytes of it have been scanned.
    Head { scan: Scan, scanned: usize },
    /// A value that is wanted, from byte `begin` on, behind a head that stays in the queue; so many bytes of
    /// both have been scanned.
    Value { scan: Scan, scanned: usize, begin: usize, raw: bool },
    /// A value that is not: scanned bytes leave the queue.
    Skipped { scan: Scan, head: Entry<ValueType> },
    /// The end has been handed out, or an error.
    Over,
}

/// What was fed and is not read.
#[derive(Default)]
struct Queue {
    bytes: BytesMut,
}

impl Read for Queue {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = buffer.len().min(self.bytes.len());
        self.bytes.copy_to_slice(&mut buffer[..len]);
        Ok(len)
    }
}

impl BufRead for Queue {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        Ok(&self.bytes)
    }

    fn consume(&mut self, len: usize) {
        self.bytes.advance(len);
    }
}

impl Decoder {
    /// A decoder that was fed nothing yet. `options` may be [`Limits`](super::Limits) alone.
    pub fn new(options: impl Into<Options>) -> Decoder {
        Decoder { options: options.into(), state: State::Magic(Queue::default()) }
    }

    /// Appends the next bytes, which are copied. After the end they are what stands behind the snapshot.
    pub fn feed(&mut self, bytes: &[u8]) {
        match &mut self.state {
            State::Magic(queue) => queue.bytes.extend_from_slice(bytes),
            State::Events(events) => events.reader.source().inner_mut().bytes.extend_from_slice(bytes),
            State::Refused(_) => {}
        }
    }

    /// The next event, if it is complete. `None` asks for more bytes, or says that the snapshot [has
    /// ended](Self::is_ended).
    ///
    /// # Errors
    ///
    /// [`ReadError`]; it is final.
    pub fn next_event(&mut self) -> Result<Option<Event>, ReadError> {
        if matches!(&self.state, State::Magic(queue) if queue.bytes.len() >= MAGIC_BYTES) {
            self.begin()?;
        }
        match &mut self.state {
            State::Magic(_) => Ok(None),
            State::Events(events) => events.next_event(),
            State::Refused(position) => Err(ReadError::AlreadyFailed { position: *position }),
        }
    }

    /// The version of the format, once the magic has been read.
    pub fn version(&self) -> Option<FileVersion> {
        match &self.state {
            State::Events(events) => Some(events.reader.version()),
            State::Magic(_) | State::Refused(_) => None,
        }
    }

    /// How many bytes have been taken for events that were handed out, and for values that are being skipped.
    pub fn position(&self) -> u64 {
        match &self.state {
            State::Magic(_) => 0,
            State::Events(events) => events.reader.position(),
            State::Refused(position) => *position,
        }
    }

    /// How many bytes wait for the rest of their event.
    pub fn buffered_bytes(&self) -> usize {
        match &self.state {
            State::Magic(queue) => queue.bytes.len(),
            State::Events(events) => events.reader.inner().bytes.len(),
            State::Refused(_) => 0,
        }
    }

    /// Whether [`Event::End`] has been handed out.
    pub fn is_ended(&self) -> bool {
        matches!(&self.state, State::Events(events) if events.reader.is_ended())
    }

    /// Says that nothing more comes. Returns what was fed behind the end of the snapshot. Events that were
    /// not asked for are read past.
    ///
    /// # Errors
    ///
    /// If the snapshot has not ended: what a [`Reader`] says of the bytes that are left,
    /// [`ReadError::Truncated`] if nothing else is wrong with them.
    pub fn finish(mut self) -> Result<Bytes, ReadError> {
        while self.next_event()?.is_some() {}
        match self.state {
            State::Events(events) => events.finish(),
            State::Magic(queue) => match Reader::new(queue, self.options) {
                Ok(reader) => Err(ReadError::Truncated { position: reader.position() }),
                Err(error) => Err(error),
            },
            State::Refused(position) => Err(ReadError::AlreadyFailed { position }),
        }
    }

    fn begin(&mut self) -> Result<(), ReadError> {
        let state = std::mem::replace(&mut self.state, State::Refused(MAGIC_BYTES as u64));
        let State::Magic(queue) = state else {
            self.state = state;
            return Ok(());
        };
        let reader = Reader::new(queue, self.options)?;
        let stage = Stage::head(&reader);
        self.state = State::Events(Box::new(Events { reader, stage }));
        Ok(())
    }
}

impl Stage {
    fn head(reader: &Reader<Queue>) -> Stage {
        let scan = Scan::new(grammar::EVENT, reader.version(), reader.options().limits);
        Stage::Head { scan, scanned: 0 }
    }
}

impl Events {
    fn next_event(&mut self) -> Result<Option<Event>, ReadError> {
        loop {
            // Until something else is known, nothing follows.
            match std::mem::replace(&mut self.stage, Stage::Over) {
                Stage::Head { scan, scanned } => {
                    if let Some(event) = self.head(scan, scanned)? {
                        return Ok(event);
                    }
                }
                Stage::Value { scan, scanned, begin, raw } => {
                    return self.value(scan, scanned, begin, raw);
                }
                Stage::Skipped { scan, head } => return self.skipped(scan, head),
                // As the reader is: it knows whether that was the end.
                Stage::Over => return self.reader.next_event(),
            }
        }
    }

    /// An event that is no key, or what there is to do with a value. Nothing if the stage is another one now.
    fn head(&mut self, mut scan: Scan, mut scanned: usize) -> Result<Option<Option<Event>>, ReadError> {
        let options = self.reader.options();
        match self.scan(&mut scan, &mut scanned) {
            Err(stop) => return self.refused(stop).map(Some),
            Ok(true) => {}
            Ok(false) if self.is_too_long_to_keep(scanned) => return self.complete().map(Some),
            Ok(false) => {
                self.stage = Stage::Head { scan, scanned };
                return Ok(Some(None));
            }
        }
        let version = self.reader.version();
        let value = scan.value_type().and_then(|value_type| {
            let steps = grammar::value(value_type, version)?;
            Some((Scan::new(steps, version, options.limits), self.reader.handling_of(value_type)))
        });
        self.stage = match value {
            // Or a type that is not known: the reader says so.
            None => return self.complete().map(Some),
            Some((scan, Handling::Skip)) => Stage::Skipped { scan, head: self.reader.begin_skipped()? },
            Some((scan, handling)) => {
                Stage::Value { scan, scanned, begin: scanned, raw: handling == Handling::Raw }
            }
        };
        Ok(None)
    }

    fn value(
        &mut self,
        mut scan: Scan,
        mut scanned: usize,
        begin: usize,
        raw: bool,
    ) -> Result<Option<Event>, ReadError> {
        match self.scan(&mut scan, &mut scanned) {
            Err(stop) => self.refused(stop),
            Ok(true) => self.complete(),
            // What the reader keeps begins with the type.
            Ok(false) if raw && self.exceeds_raw(scanned - begin + 1) => self.complete(),
            Ok(false) => {
                self.stage = Stage::Value { scan, scanned, begin, raw };
                Ok(None)
            }
        }
    }

    fn skipped(&mut self, mut scan: Scan, head: Entry<ValueType>) -> Result<Option<Event>, ReadError> {
        let source = self.reader.source();
        while !scan.is_done() {
            if source.inner().bytes.is_empty() {
                self.stage = Stage::Skipped { scan, head };
                return Ok(None);
            }
            source.advance(&mut scan, None)?;
        }
        self.reader.end_skipped();
        self.stage = Stage::head(&self.reader);
        Ok(Some(Event::Skipped(head)))
    }

    /// Scans what waits, from `scanned` on. Returns whether the parts are complete.
    fn scan(&mut self, scan: &mut Scan, scanned: &mut usize) -> Result<bool, Stop> {
        let (taken, outcome) = scan.advance(&self.reader.source().inner().bytes[*scanned..]);
        *scanned += taken;
        outcome.map(|()| scan.is_done())
    }

    /// Reads the event that is complete, or that cannot become it.
    fn complete(&mut self) -> Result<Option<Event>, ReadError> {
        let event = self.reader.next_event()?;
        if !self.reader.is_ended() {
            self.stage = Stage::head(&self.reader);
        }
        Ok(event)
    }

    /// The scan has stopped: the reader stops there too, or has stopped before.
    fn refused(&mut self, stop: Stop) -> Result<Option<Event>, ReadError> {
        match self.complete() {
            Err(ReadError::Truncated { .. }) => Err(self.reader.source().stopped(stop)),
            other => other,
        }
    }

    fn exceeds_raw(&self, kept_bytes: usize) -> bool {
        kept_bytes as u64 >= self.reader.options().limits.max_raw_bytes
    }

    /// Whether a head is the data of a module, and longer than what is handed over raw.
    fn is_too_long_to_keep(&mut self, scanned: usize) -> bool {
        let is_data = self.reader.source().inner().bytes.first() == Some(&code::MODULE_AUX);
        // What is kept begins behind the opcode and the module's number.
        let kept = scanned.saturating_sub(1 + MAX_LENGTH_BYTES);
        is_data && self.reader.options().others == Handling::Raw && self.exceeds_raw(kept)
    }

    fn finish(mut self) -> Result<Bytes, ReadError> {
        let position = self.reader.position();
        if matches!(self.stage, Stage::Skipped { .. }) {
            return Err(ReadError::Truncated { position });
        }
        match self.reader.next_event()? {
            None => Ok(self.reader.into_inner().bytes.freeze()),
            // A scan does not pass over an event.
            Some(_) => Err(ReadError::Truncated { position }),
        }
    }
}
