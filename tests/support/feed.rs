//! A primary that is only a socket: it takes a real replica through the handshake, hands it a snapshot, and
//! sends it the units it is given.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use replcore::rdb::{Header, SnapshotFormat, Writer};
use replcore::resp::{CommandParser, Limits};
use replcore::rewrite::frame::{self, FrameSink};
use replcore::rewrite::{Effects, Propagation};

use super::client::{Argv, argv};
use super::process::{Server, wait_link_up};

const REPLID: &str = "feedfeedfeedfeedfeedfeedfeedfeedfeedfeed";
/// How long a replica may take for the next step of its handshake, or for a piece of the stream.
const SILENCE: Duration = Duration::from_secs(30);
const GETACK: &[u8] = b"*3\r\n$8\r\nREPLCONF\r\n$6\r\nGETACK\r\n$1\r\n*\r\n";

/// The bytes of a stream.
#[derive(Default)]
pub struct Wire {
    /// The bytes.
    pub bytes: Vec<u8>,
    db: Option<u16>,
}

impl Wire {
    /// Appends a unit.
    pub fn unit(&mut self, effects: &Effects<'_>) {
        frame::write(effects, self);
    }

    /// Appends a unit of one propagation.
    pub fn propagation(&mut self, argv: &[Bytes], propagation: Propagation) {
        let mut effects = Effects::new();
        effects.push(0, argv, propagation);
        self.unit(&effects);
    }

    /// Appends a command as it is.
    pub fn command(&mut self, argv: Argv) {
        self.unit(&Effects::single(0, argv));
    }

    /// The commands in it, without those that select database 0.
    pub fn commands(&self) -> Vec<Argv> {
        let mut input = BytesMut::from(&self.bytes[..]);
        let mut parser = CommandParser::new(Limits::default());
        let mut commands = Vec::new();
        while let Some(command) = parser.next(&mut input).expect("the frame is a stream of commands") {
            commands.push(command);
        }
        assert!(input.is_empty(), "a frame ends with a whole command");
        commands.retain(|command| !selects_0(command));
        commands
    }
}

impl FrameSink for Wire {
    fn put_slice(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    fn put_bytes(&mut self, bytes: &Bytes) {
        self.bytes.extend_from_slice(bytes);
    }

    fn select(&mut self, db: u16, select: &[u8]) {
        if self.db != Some(db) {
            self.put_slice(select);
        }
        self.db = Some(db);
    }

    fn set_context(&mut self, db: u16) {
        self.db = Some(db);
    }
}

/// Whether a command is `SELECT 0`.
pub fn selects_0(command: &Argv) -> bool {
    matches!(&command[..], [select, db] if select == "SELECT" && db == "0")
}

/// A snapshot that `fill` writes into.
pub fn snapshot(version: SnapshotFormat, fill: impl FnOnce(&mut Writer)) -> Bytes {
    let mut writer = Writer::new(version);
    let server_version = match version {
        SnapshotFormat::Redis10 => "7.0.0",
        SnapshotFormat::Valkey80 => "9.0.0",
    };
    let header = Header { server_version, created_s: 0, used_memory_bytes: 0, replication: None };
    writer.header(&header).expect("a header comes first");
    writer.select_db(0).expect("a database follows");
    fill(&mut writer);
    writer.finish().expect("the snapshot is whole")
}

/// The primary of one replica.
pub struct Feed {
    socket: TcpStream,
    input: BytesMut,
    parser: CommandParser,
    offset: u64,
    wire: Wire,
}

impl Feed {
    /// Becomes the primary of `replica`, which starts with `snapshot`.
    pub fn attach(replica: &Server, snapshot: &[u8]) -> Feed {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free loopback port");
        let port = listener.local_addr().expect("a bound socket has an address").port();
        replica.client().call(argv!["REPLICAOF", "127.0.0.1", port]);
        let (socket, _) = listener.accept().expect("the replica connects");
        socket.set_read_timeout(Some(SILENCE)).expect("the timeout is not zero");
        socket.set_nodelay(true).expect("TCP has the option");
        let parser = CommandParser::new(Limits::default());
        let mut feed = Feed { socket, input: BytesMut::new(), parser, offset: 1, wire: Wire::default() };
        loop {
            let command = feed.command();
            match &command[0].to_ascii_uppercase()[..] {
                b"PING" => feed.put(b"+PONG\r\n"),
                b"REPLCONF" => feed.put(b"+OK\r\n"),
                b"PSYNC" => break,
                _ => panic!("a replica's handshake has no {command:?}"),
            }
        }
        let head = format!("+FULLRESYNC {REPLID} {}\r\n${}\r\n", feed.offset, snapshot.len());
        feed.put(head.as_bytes());
        feed.put(snapshot);
        wait_link_up(replica, SILENCE);
        feed
    }

    /// Sends what a command propagates, and waits until it is applied.
    pub fn propagation(&mut self, argv: &[Bytes], propagation: Propagation) {
        self.wire.propagation(argv, propagation);
        self.flush();
    }

    /// Sends a unit, and waits until it is applied.
    pub fn unit(&mut self, effects: &Effects<'_>) {
        self.wire.unit(effects);
        self.flush();
    }

    /// Sends commands as they are, and waits until they are applied.
    pub fn as_they_are(&mut self, commands: &[Argv]) {
        commands.iter().for_each(|command| self.wire.command(command.clone()));
        self.flush();
    }

    fn flush(&mut self) {
        let bytes = std::mem::take(&mut self.wire.bytes);
        if bytes.is_empty() {
            return;
        }
        self.put(&bytes);
        self.offset += bytes.len() as u64;
        self.put(GETACK);
        let applied = self.offset;
        self.offset += GETACK.len() as u64;
        let start = Instant::now();
        loop {
            let command = self.command();
            let acknowledged = match &command[..] {
                [_, ack, offset, ..] if ack.eq_ignore_ascii_case(b"ACK") => offset,
                _ => panic!("a replica sends acknowledgements, not {command:?}"),
            };
            let acknowledged: Option<u64> =
                std::str::from_utf8(acknowledged).ok().and_then(|text| text.parse().ok());
            if acknowledged.is_some_and(|offset| offset >= applied) {
                return;
            }
            assert!(start.elapsed() < SILENCE, "the replica acknowledges {acknowledged:?}, not {applied}");
        }
    }

    fn put(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).expect("the replica reads");
    }

    fn command(&mut self) -> Argv {
        loop {
            if let Some(argv) = self.parser.next(&mut self.input).expect("a replica sends commands") {
                return argv;
            }
            let mut chunk = [0; 4 << 10];
            match self.socket.read(&mut chunk) {
                Ok(0) => panic!("the replica closed the link"),
                Ok(len) => self.input.extend_from_slice(&chunk[..len]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => panic!("the replica sends nothing: {error}"),
            }
        }
    }
}
