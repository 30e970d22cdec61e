//! A blocking client connection, and INFO as a table.

use std::collections::HashMap;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use replcore::resp::{Reply, ReplyLimits, ReplyParser, encode_command};

/// No server under test takes longer for a reply, even in a debug build on a busy machine.
const REPLY_TIMEOUT: Duration = Duration::from_secs(60);
/// A pipeline is sent in parts of at most this much, so that client and server never both wait for the other
/// to read.
const PIPELINE_BYTES: usize = 64 << 10;

/// A command: its name and arguments.
pub type Argv = Vec<Bytes>;

/// What can stand in [`argv!`].
pub trait Argument {
    fn into_bytes(self) -> Bytes;
}

impl Argument for Bytes {
    fn into_bytes(self) -> Bytes {
        self
    }
}

impl Argument for &Bytes {
    fn into_bytes(self) -> Bytes {
        self.clone()
    }
}

macro_rules! argument_by_text {
    ($($kind:ty),+) => {
        $(impl Argument for $kind {
            fn into_bytes(self) -> Bytes {
                Bytes::from(self.to_string())
            }
        })+
    };
}
argument_by_text!(&str, &String, String, u16, u32, i32, u64, i64, usize, f64);

/// A command out of texts, numbers and bytes.
macro_rules! argv {
    ($($arg:expr),+ $(,)?) => { Vec::from([$($crate::support::client::Argument::into_bytes($arg)),+]) };
}
pub(crate) use argv;

/// One connection.
pub struct Client {
    socket: TcpStream,
    parser: ReplyParser,
    input: BytesMut,
    output: BytesMut,
}

impl Client {
    /// Connects.
    pub fn connect(address: SocketAddr) -> io::Result<Client> {
        let socket = TcpStream::connect(address)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(REPLY_TIMEOUT))?;
        let parser = ReplyParser::new(ReplyLimits::default());
        Ok(Client { socket, parser, input: BytesMut::new(), output: BytesMut::new() })
    }

    /// Sends one command and waits for its reply.
    pub fn try_call(&mut self, argv: &[Bytes]) -> io::Result<Reply> {
        self.send(argv)?;
        self.receive()
    }

    /// Like [`Client::try_call`]; an error reply or a broken connection fails the test.
    #[track_caller]
    pub fn call(&mut self, argv: Argv) -> Reply {
        match self.try_call(&argv) {
            Ok(Reply::Error(error)) => panic!("{argv:?}: {error}"),
            Ok(reply) => reply,
            Err(error) => panic!("{argv:?}: {error}"),
        }
    }

    /// Like [`Client::call`] for a reply that is a number.
    #[track_caller]
    pub fn call_integer(&mut self, argv: Argv) -> i64 {
        match self.call(argv) {
            Reply::Integer(number) => number,
            other => panic!("expected a number, got {other:?}"),
        }
    }

    /// Sends commands without waiting for each; one reply per command.
    pub fn pipeline(&mut self, commands: &[Argv]) -> io::Result<Vec<Reply>> {
        let mut replies = Vec::with_capacity(commands.len());
        for (index, argv) in commands.iter().enumerate() {
            encode_command(argv, &mut self.output);
            let last = index + 1 == commands.len();
            if last || self.output.len() > PIPELINE_BYTES {
                self.flush()?;
                while replies.len() <= index {
                    replies.push(self.receive()?);
                }
            }
        }
        Ok(replies)
    }

    /// Sends commands, few enough that nobody has to read meanwhile; their replies are still to be received.
    pub fn send_all(&mut self, commands: &[Argv]) -> io::Result<()> {
        commands.iter().for_each(|argv| encode_command(argv, &mut self.output));
        self.flush()
    }

    /// Sends one command; its reply is still to be received.
    pub fn send(&mut self, argv: &[Bytes]) -> io::Result<()> {
        encode_command(argv, &mut self.output);
        self.flush()
    }

    fn flush(&mut self) -> io::Result<()> {
        self.socket.write_all(&self.output)?;
        self.output.clear();
        Ok(())
    }

    /// The next reply.
    pub fn receive(&mut self) -> io::Result<Reply> {
        loop {
            let parsed = self.parser.next(&mut self.input);
            if let Some(reply) = parsed.map_err(io::Error::other)? {
                return Ok(reply);
            }
            let mut chunk = [0; 16 << 10];
            match self.socket.read(&mut chunk)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                len => self.input.extend_from_slice(&chunk[..len]),
            }
        }
    }

    /// INFO, every section.
    #[track_caller]
    pub fn info(&mut self) -> Info {
        self.info_section("everything")
    }

    /// INFO, one section: cheaper to poll.
    #[track_caller]
    pub fn info_section(&mut self, section: &str) -> Info {
        match self.call(argv!["INFO", section]) {
            Reply::Bulk(text) | Reply::Verbatim(text) => Info::parse(&String::from_utf8_lossy(&text)),
            other => panic!("INFO answered {other:?}"),
        }
    }
}

/// The fields of INFO.
#[derive(Debug)]
pub struct Info(HashMap<String, String>);

impl Info {
    fn parse(text: &str) -> Info {
        let fields = text.lines().filter_map(|line| line.split_once(':'));
        Info(fields.map(|(name, value)| (name.to_owned(), value.trim_end().to_owned())).collect())
    }

    /// A field, if it is there.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// A field's text.
    #[track_caller]
    pub fn text(&self, name: &str) -> &str {
        self.get(name).unwrap_or_else(|| panic!("INFO has no {name}"))
    }

    /// A field's number.
    #[track_caller]
    pub fn number(&self, name: &str) -> u64 {
        let text = self.text(name);
        text.parse().unwrap_or_else(|_| panic!("INFO {name} is {text:?}"))
    }
}
