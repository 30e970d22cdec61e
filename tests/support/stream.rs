//! A replica that is only a socket: it asks for the stream and keeps the bytes as they come.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use replcore::resp::{CommandParser, Limits, encode_command};

use super::client::{Argv, Client, argv};
use super::feed::selects_0;

/// How long a primary may be silent when there is something to come.
const SILENCE: Duration = Duration::from_secs(30);
/// Replicas acknowledge once a second. A primary that misses the first acknowledgement waits for the next.
const ACKNOWLEDGE_EVERY: Duration = Duration::from_secs(1);
const EOF_MARK_BYTES: usize = 40;

/// What a primary answers to PSYNC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The stream goes on from the byte that was asked for, under this replication ID.
    Continue(String),
    /// A snapshot follows, taken at this offset of this history.
    FullResync {
        /// The replication ID.
        replid: String,
        /// Bytes of the stream that the snapshot includes.
        offset: u64,
    },
    /// Anything else.
    Other(String),
}

/// The socket.
pub struct RawReplica {
    socket: TcpStream,
    input: BytesMut,
    parser: CommandParser,
    acknowledged: Option<u64>,
}

impl RawReplica {
    /// Connects, without a word.
    pub fn connect(primary: SocketAddr) -> RawReplica {
        let socket = TcpStream::connect(primary).expect("the primary accepts connections");
        socket.set_nodelay(true).expect("TCP has the option");
        socket.set_read_timeout(Some(ACKNOWLEDGE_EVERY)).expect("the timeout is not zero");
        let parser = CommandParser::new(Limits::default());
        RawReplica { socket, input: BytesMut::new(), parser, acknowledged: None }
    }

    /// Connects and introduces itself as replicas do, without a version.
    pub fn introduce(primary: SocketAddr) -> RawReplica {
        let mut replica = RawReplica::connect(primary);
        replica.send(&["PING"]);
        replica.send(&["REPLCONF", "listening-port", "1"]);
        replica.send(&["REPLCONF", "capa", "eof", "capa", "psync2"]);
        assert_eq!(replica.line(), "+PONG");
        assert_eq!(replica.line(), "+OK");
        assert_eq!(replica.line(), "+OK");
        replica
    }

    /// Announces the version of a replica that holds deadlines of fields.
    pub fn holds_field_deadlines(&mut self) {
        self.send(&["REPLCONF", "version", "9.1.2"]);
        assert_eq!(self.line(), "+OK");
    }

    /// Asks for the stream from the byte `wanted` on.
    pub fn psync(&mut self, replid: &str, wanted: impl ToString) -> Answer {
        self.send(&["PSYNC", replid, &wanted.to_string()]);
        let line = self.line();
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["+CONTINUE", replid] => Answer::Continue(replid.to_owned()),
            ["+FULLRESYNC", replid, offset] => Answer::FullResync {
                replid: replid.to_owned(),
                offset: offset.parse().unwrap_or_else(|_| panic!("{line:?} has no offset")),
            },
            _ => Answer::Other(line),
        }
    }

    /// Sends one command.
    pub fn send(&mut self, argv: &[&str]) {
        let mut command = Vec::new();
        encode_command(argv, &mut command);
        self.send_raw(&command);
    }

    /// Sends bytes as they are.
    pub fn send_raw(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).expect("the primary reads");
    }

    /// The next line. Keepalives before it (bare line feeds) are skipped.
    pub fn line(&mut self) -> String {
        loop {
            if let Some(at) = self.input.iter().position(|&byte| byte == b'\n') {
                let line = self.input.split_to(at + 1);
                let line = String::from_utf8_lossy(&line).trim_end().to_owned();
                if !line.is_empty() {
                    return line;
                }
            } else {
                self.fill();
            }
        }
    }

    /// The snapshot that follows `+FULLRESYNC` or SYNC, in either framing.
    pub fn snapshot(&mut self) -> Vec<u8> {
        let header = self.line();
        let framing = header.strip_prefix('$').unwrap_or_else(|| panic!("{header:?} announces no snapshot"));
        let Some(mark) = framing.strip_prefix("EOF:") else {
            let len = framing.parse().unwrap_or_else(|_| panic!("{header:?} has no length"));
            return self.bytes(len);
        };
        assert_eq!(mark.len(), EOF_MARK_BYTES, "{header:?}");
        // The stream does not start before an acknowledgement: the mark is the last that comes.
        while !self.input.ends_with(mark.as_bytes()) {
            self.fill();
        }
        self.input.truncate(self.input.len() - mark.len());
        std::mem::take(&mut self.input).into()
    }

    /// Exactly `len` bytes.
    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        while self.input.len() < len {
            self.fill();
        }
        self.input.split_to(len).into()
    }

    /// The next command of the stream.
    pub fn command(&mut self) -> Argv {
        loop {
            let parsed =
                self.parser.next(&mut self.input).unwrap_or_else(|error| panic!("in the stream: {error}"));
            match parsed {
                Some(argv) => return argv,
                None => self.fill(),
            }
        }
    }

    /// Acknowledges the stream up to `offset`, now and while it waits for more.
    pub fn acknowledge(&mut self, offset: u64) {
        self.acknowledged = Some(offset);
        self.send(&["REPLCONF", "ACK", &offset.to_string()]);
    }

    fn fill(&mut self) {
        let start = Instant::now();
        let mut chunk = [0; 64 << 10];
        let len = loop {
            match self.socket.read(&mut chunk) {
                Ok(len) => break len,
                Err(error) if error.kind() == ErrorKind::WouldBlock && start.elapsed() < SILENCE => {
                    if let Some(offset) = self.acknowledged {
                        self.acknowledge(offset);
                    }
                }
                Err(error) => {
                    panic!(
                        "the primary sends nothing: {error}; unread: {:?}",
                        String::from_utf8_lossy(&self.input)
                    )
                }
            }
        };
        assert!(len > 0, "the primary closed; unread: {:?}", String::from_utf8_lossy(&self.input));
        self.input.extend_from_slice(&chunk[..len]);
    }
}

/// A replica that writes down what a real Valkey propagates, and knows where the effects of a command end.
pub struct Recorder {
    client: Client,
    replica: RawReplica,
    markers: u64,
}

impl Recorder {
    /// Attaches to `primary`.
    pub fn attach(primary: SocketAddr) -> Recorder {
        let mut replica = RawReplica::introduce(primary);
        replica.send(&["REPLCONF", "version", "9.1.2"]);
        assert_eq!(replica.line(), "+OK");
        let Answer::FullResync { offset, .. } = replica.psync("?", -1) else {
            panic!("a replica without a history gets a snapshot");
        };
        replica.snapshot();
        replica.acknowledge(offset);
        let client = Client::connect(primary).expect("the primary accepts connections");
        let mut recorder = Recorder { client, replica, markers: 0 };
        assert_eq!(recorder.take(), [] as [Argv; 0]);
        recorder
    }

    /// What was propagated since the last call; without pings, and without what selects database 0.
    pub fn take(&mut self) -> Vec<Argv> {
        self.markers += 1;
        let marker = argv!["PUBLISH", "marker", self.markers];
        self.client.call(marker.clone());
        let mut taken = Vec::new();
        loop {
            let command = self.replica.command();
            if command == marker {
                return taken;
            }
            if !selects_0(&command) && command != argv!["ping"] {
                taken.push(command);
            }
        }
    }
}
