//! What the primary propagates: a replica that is only a socket.
//!
//! It introduces itself, skips the snapshot, and reads the stream byte by byte, so that the effects of a step
//! are the bytes up to the offset that the primary reports after it.
//!
//! After a snapshot framed by a mark, a primary begins the stream at the first acknowledgement that comes
//! once its child process is gone; so acknowledgements are repeated until something arrives.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};

use super::client::argv;
use crate::resp::{CommandParser, Limits, encode_command};

/// How long the primary may be silent when there is something to come.
const SILENCE: Duration = Duration::from_secs(10);
const ACKNOWLEDGE_EVERY: Duration = Duration::from_millis(20);
const EOF_MARK_BYTES: usize = 40;

/// The socket.
pub(super) struct Recorder {
    socket: BufReader<TcpStream>,
    offset: u64,
}

impl Recorder {
    /// Attaches to `primary`.
    pub fn attach(primary: SocketAddr, password: Option<&str>) -> io::Result<Recorder> {
        let socket = TcpStream::connect_timeout(&primary, SILENCE)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(SILENCE))?;
        let mut recorder = Recorder { socket: BufReader::new(socket), offset: 0 };
        if let Some(password) = password {
            recorder.ask(&argv!["AUTH", password])?;
        }
        recorder.ask(&argv!["PING"])?;
        recorder.ask(&argv!["REPLCONF", "listening-port", 1])?;
        recorder.ask(&argv!["REPLCONF", "capa", "eof", "capa", "psync2"])?;
        // Only a server that knows of versions sends field deadlines; others do not know the option.
        recorder.send(&argv!["REPLCONF", "version", "9.1.2"])?;
        recorder.line()?;
        let answer = recorder.ask(&argv!["PSYNC", "?", -1])?;
        let offset = answer.strip_prefix("+FULLRESYNC ").and_then(|rest| rest.split(' ').nth(1));
        recorder.offset = offset.and_then(|text| text.parse().ok()).ok_or_else(|| invalid(&answer))?;
        recorder.skip_snapshot()?;
        recorder.acknowledge()?;
        Ok(recorder)
    }

    /// The stream up to `end`, as commands.
    pub fn take(&mut self, end: u64) -> io::Result<Vec<Vec<Bytes>>> {
        let missing = end.saturating_sub(self.offset);
        let mut bytes = BytesMut::zeroed(usize::try_from(missing).map_err(io::Error::other)?);
        self.fill(&mut bytes)?;
        self.offset += missing;
        let mut parser = CommandParser::new(Limits::default());
        let mut commands = Vec::new();
        while let Some(command) = parser.next(&mut bytes).map_err(io::Error::other)? {
            commands.push(command);
        }
        Ok(commands)
    }

    fn fill(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        let start = Instant::now();
        let mut filled = 0;
        self.socket.get_mut().set_read_timeout(Some(ACKNOWLEDGE_EVERY))?;
        while filled < bytes.len() {
            match self.socket.read(&mut bytes[filled..]) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(len) => filled += len,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && start.elapsed() < SILENCE => {
                    self.acknowledge()?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn acknowledge(&mut self) -> io::Result<()> {
        self.send(&argv!["REPLCONF", "ACK", self.offset])
    }

    fn ask(&mut self, argv: &[Bytes]) -> io::Result<String> {
        self.send(argv)?;
        let line = self.line()?;
        if line.starts_with('+') { Ok(line) } else { Err(invalid(&line)) }
    }

    fn send(&mut self, argv: &[Bytes]) -> io::Result<()> {
        let mut command = Vec::new();
        encode_command(argv, &mut command);
        self.socket.get_mut().write_all(&command)
    }

    /// The next line that is not empty: bare line feeds keep the connection alive.
    fn line(&mut self) -> io::Result<String> {
        loop {
            let mut line = Vec::new();
            if self.socket.read_until(b'\n', &mut line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let line = String::from_utf8_lossy(&line).trim().to_owned();
            if !line.is_empty() {
                return Ok(line);
            }
        }
    }

    /// The snapshot, in either framing.
    fn skip_snapshot(&mut self) -> io::Result<()> {
        let header = self.line()?;
        if let Some(mark) = header.strip_prefix("$EOF:") {
            let mut tail = std::collections::VecDeque::with_capacity(EOF_MARK_BYTES);
            for byte in self.socket.by_ref().bytes() {
                if tail.len() == EOF_MARK_BYTES {
                    tail.pop_front();
                }
                tail.push_back(byte?);
                if tail.iter().eq(mark.as_bytes()) {
                    return Ok(());
                }
            }
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let len: u64 =
            header.strip_prefix('$').and_then(|len| len.parse().ok()).ok_or_else(|| invalid(&header))?;
        let skipped = io::copy(&mut self.socket.by_ref().take(len), &mut io::sink())?;
        if skipped == len { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }
}

fn invalid(line: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the primary says {line:?}"))
}
