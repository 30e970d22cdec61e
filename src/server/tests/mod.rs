//! The server on real sockets, in process: each test starts one and talks to it.

mod blocking;
mod commandlog;
mod commands;
mod eviction;
mod expiry;
mod field_deadlines;
mod monitor;
mod pubsub;
mod replication;
mod scripting;

use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::{Config, Server};
use crate::resp::{Reply, ReplyLimits, ReplyParser, encode_command};

/// A test that waits longer than this for anything has failed.
const PATIENCE: Duration = Duration::from_secs(20);

/// Waits with [`PATIENCE`].
async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("waited in vain for {what}"),
    }
}

/// A server that runs until it is stopped or dropped.
struct Running {
    addr: SocketAddr,
    buffer: crate::buffer::ReplicationBuffer,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<Result<(), super::LoadFailed>>,
}

impl Running {
    async fn start(settings: &[(&str, &str)]) -> Running {
        // Tests keep connections open on purpose; the end need not wait long for them.
        let mut config = Config { port: 0, shutdown_timeout_s: 1, ..Config::default() };
        for (name, value) in settings {
            config.set(name, value).expect("a setting");
        }
        let server = Server::bind(config).await.expect("a free port");
        let (stop, stopped) = oneshot::channel::<()>();
        let (addr, buffer) = (server.local_addr(), server.buffer().clone());
        let task = tokio::spawn(server.run(async {
            // A dropped sender stops it as well.
            let _ = stopped.await;
        }));
        Running { addr, buffer, stop: Some(stop), task }
    }

    async fn client(&self) -> TestClient {
        TestClient::connect(self.addr).await
    }

    /// Stops the server and waits for its end.
    async fn stop(mut self) {
        self.stop.take();
        self.ended().await;
    }

    async fn ended(self) {
        soon("the end of the server", self.task).await.expect("no panic").expect("loaded");
    }

    /// A field of INFO, as a number.
    async fn info(&self, field: &str) -> u64 {
        let mut client = self.client().await;
        client.info(field).await.unwrap_or_else(|| panic!("INFO has no {field}"))
    }
}

struct TestClient {
    socket: TcpStream,
    input: BytesMut,
    parser: ReplyParser,
}

impl TestClient {
    async fn connect(addr: SocketAddr) -> TestClient {
        let socket = TcpStream::connect(addr).await.expect("a connection");
        TestClient { socket, input: BytesMut::new(), parser: ReplyParser::new(ReplyLimits::default()) }
    }

    async fn send(&mut self, line: &str) {
        let argv: Vec<&str> = line.split(' ').collect();
        let mut out = BytesMut::new();
        encode_command(&argv, &mut out);
        self.write(&out).await;
    }

    async fn write(&mut self, bytes: &[u8]) {
        soon("the server to take input", self.socket.write_all(bytes)).await.expect("written");
    }

    async fn reply(&mut self) -> Reply {
        loop {
            if let Some(reply) = self.parser.next(&mut self.input).expect("a reply") {
                return reply;
            }
            assert!(self.more().await > 0, "the connection was closed instead of a reply");
        }
    }

    async fn more(&mut self) -> usize {
        soon("bytes", self.socket.read_buf(&mut self.input)).await.expect("read")
    }

    async fn call(&mut self, line: &str) -> Reply {
        self.send(line).await;
        self.reply().await
    }

    /// The reply in one line, as a person would write it.
    async fn says(&mut self, line: &str) -> String {
        shown(&self.call(line).await)
    }

    /// Exactly so many raw bytes.
    async fn bytes(&mut self, len: usize) -> Bytes {
        while self.input.len() < len {
            assert!(self.more().await > 0, "the connection was closed after {:?}", self.input);
        }
        self.input.split_to(len).freeze()
    }

    /// A raw line, without its line end.
    async fn line(&mut self) -> String {
        loop {
            if let Some(end) = self.input.iter().position(|byte| *byte == b'\n') {
                let line = self.input.split_to(end + 1);
                return String::from_utf8_lossy(&line).trim_end().to_owned();
            }
            assert!(self.more().await > 0, "the connection was closed after {:?}", self.input);
        }
    }

    /// Everything up to the end of the connection. A reset counts as an end.
    async fn rest(&mut self) -> String {
        while let Ok(1..) = soon("the end", self.socket.read_buf(&mut self.input)).await {}
        String::from_utf8_lossy(&self.input).into_owned()
    }

    async fn info(&mut self, field: &str) -> Option<u64> {
        let Reply::Bulk(text) = self.call("INFO everything").await else { panic!("INFO is a string") };
        let text = String::from_utf8_lossy(&text).into_owned();
        text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':')?.parse().ok())
    }

    /// Asks until `field` is as wanted: each answer is a round trip, not a pause.
    async fn until_info(&mut self, field: &str, wanted: impl Fn(u64) -> bool) -> u64 {
        let mut last = 0;
        let asking = async {
            loop {
                last = self.info(field).await.unwrap_or(0);
                if wanted(last) {
                    return;
                }
                tokio::task::yield_now().await;
            }
        };
        if tokio::time::timeout(PATIENCE, asking).await.is_err() {
            panic!("{field} stayed {last}");
        }
        last
    }
}

fn shown(reply: &Reply) -> String {
    let list = |items: &[Reply]| items.iter().map(shown).collect::<Vec<_>>().join(", ");
    match reply {
        Reply::Simple(text) => (*text).to_owned(),
        Reply::Status(text) => text.clone(),
        Reply::Error(text) => format!("-{text}"),
        Reply::Integer(number) => number.to_string(),
        Reply::Bulk(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Reply::Null | Reply::NullArray => "nil".to_owned(),
        Reply::Array(items) => format!("[{}]", list(items)),
        Reply::Push(items) => format!(">[{}]", list(items)),
        Reply::Verbatim(text) => String::from_utf8_lossy(text).into_owned(),
        other => format!("{other:?}"),
    }
}
