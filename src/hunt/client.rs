//! A blocking connection to one of the two servers; what goes wrong names the server.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use super::command::show;
use super::error::HuntError;
use super::target::Side;
use crate::resp::{Reply, ReplyLimits, ReplyParser, encode_command};

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(5);
/// How long a reply may take.
const REPLY: Duration = Duration::from_secs(20);

/// A command out of words.
macro_rules! argv {
    ($($word:expr),+ $(,)?) => { [$(::bytes::Bytes::from($word.to_string())),+] };
}
pub(super) use argv;

/// One connection.
pub(super) struct Client {
    side: Side,
    address: SocketAddr,
    socket: TcpStream,
    parser: ReplyParser,
    input: BytesMut,
}

impl Client {
    /// Connects, and gives the password if there is one.
    pub fn connect(side: Side, address: SocketAddr, password: Option<&str>) -> Result<Client, HuntError> {
        let failed = |source| HuntError::Connection { side, address, source };
        let socket = TcpStream::connect_timeout(&address, CONNECT).map_err(failed)?;
        socket.set_nodelay(true).map_err(failed)?;
        socket.set_read_timeout(Some(REPLY)).map_err(failed)?;
        socket.set_write_timeout(Some(REPLY)).map_err(failed)?;
        let parser = ReplyParser::new(ReplyLimits::default());
        let mut client = Client { side, address, socket, parser, input: BytesMut::new() };
        if let Some(password) = password
            && let Reply::Error(error) = client.call(&argv!["AUTH", password])?
        {
            return Err(client.refused("AUTH", error));
        }
        Ok(client)
    }

    /// Sends one command and waits for the reply, which may be an error.
    pub fn call(&mut self, argv: &[Bytes]) -> Result<Reply, HuntError> {
        self.send(std::slice::from_ref(&argv))?;
        self.receive()
    }

    /// Like [`call`](Self::call); an error reply is an error.
    pub fn demand(&mut self, argv: &[Bytes]) -> Result<Reply, HuntError> {
        match self.call(argv)? {
            Reply::Error(error) => Err(self.refused(&show(argv), error)),
            reply => Ok(reply),
        }
    }

    /// Sends commands at once; one reply each.
    pub fn calls(&mut self, commands: &[Vec<Bytes>]) -> Result<Vec<Reply>, HuntError> {
        self.send(commands)?;
        commands.iter().map(|_| self.receive()).collect()
    }

    fn send(&mut self, commands: &[impl AsRef<[Bytes]>]) -> Result<(), HuntError> {
        let mut out = Vec::new();
        commands.iter().for_each(|argv| encode_command(argv.as_ref(), &mut out));
        self.socket.write_all(&out).map_err(|source| self.broken(source))
    }

    fn receive(&mut self) -> Result<Reply, HuntError> {
        let Client { side, address, .. } = *self;
        loop {
            match self.parser.next(&mut self.input) {
                Ok(Some(reply)) => return Ok(reply),
                Ok(None) => {}
                Err(source) => return Err(HuntError::NotAServer { side, address, source }),
            }
            let mut chunk = [0; 16 << 10];
            match self.socket.read(&mut chunk) {
                Ok(0) => return Err(self.broken(io::ErrorKind::UnexpectedEof.into())),
                Ok(len) => self.input.extend_from_slice(&chunk[..len]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Err(self.broken(io::Error::new(
                        io::ErrorKind::TimedOut,
                        format!("no reply within {} s", REPLY.as_secs()),
                    )));
                }
                Err(source) => return Err(self.broken(source)),
            }
        }
    }

    /// The error for a reply that says no.
    pub fn refused(&self, command: &str, error: String) -> HuntError {
        HuntError::Refused { side: self.side, address: self.address, command: command.to_owned(), error }
    }

    /// The error for a reply of a wrong shape.
    pub fn unexpected(&self, command: &str, reply: &Reply) -> HuntError {
        let (side, address) = (self.side, self.address);
        HuntError::Unexpected { side, address, command: command.to_owned(), reply: show_reply(reply) }
    }

    fn broken(&self, source: io::Error) -> HuntError {
        HuntError::Connection { side: self.side, address: self.address, source }
    }
}

/// A reply in one line, as `redis-cli` would say it.
pub(super) fn show_reply(reply: &Reply) -> String {
    let list = |items: &[Reply]| format!("[{}]", items.iter().map(show_reply).collect::<Vec<_>>().join(", "));
    match reply {
        Reply::Simple(text) => (*text).to_owned(),
        Reply::Status(text) | Reply::Error(text) => text.clone(),
        Reply::Integer(number) => format!("(integer) {number}"),
        Reply::Bulk(text) | Reply::Verbatim(text) => format!("\"{}\"", text.escape_ascii()),
        Reply::Null | Reply::NullArray => "(nil)".to_owned(),
        Reply::Array(items) | Reply::Set(items) | Reply::Push(items) | Reply::Rows(items) => list(items),
        Reply::Map(pairs) => {
            let pair = |(key, value): &(Reply, Reply)| format!("{}: {}", show_reply(key), show_reply(value));
            format!("{{{}}}", pairs.iter().map(pair).collect::<Vec<_>>().join(", "))
        }
        Reply::Double(number) => number.to_string(),
        Reply::Boolean(value) => value.to_string(),
    }
}
