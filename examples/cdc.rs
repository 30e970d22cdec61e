//! Change data capture: prints what a primary propagates, each command once, and goes on where it stopped.
//!
//! `cargo run --no-default-features --example cdc -- 127.0.0.1:6379 position.txt [password]`
//!
//! Who is killed between printing and writing the position prints some again. Snapshots are skipped, for now.

use std::io::{ErrorKind, Read, Result, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};
use std::{env, fs, io, thread};

use replcore::resync::ServerVersion;
use replcore::resync::replica::{Command, Event, ReplicaSession, TransactionPart};

fn line(command: &Command) -> String {
    let words: Vec<String> = command.argv.iter().map(|word| word.escape_ascii().to_string()).collect();
    format!("{} db{} {}", command.start, command.db.map_or("?".into(), |db| db.to_string()), words.join(" "))
}

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [address, file, password @ ..] = &arguments[..] else {
        return Err(io::Error::other("usage: cdc HOST:PORT POSITION-FILE [PASSWORD]"));
    };
    let mut builder = ReplicaSession::builder().version(ServerVersion { major: 9, minor: 1, patch: 0 });
    if let [password, ..] = password {
        builder = builder.password(password);
    }
    if let Ok(text) = fs::read_to_string(file) {
        builder = builder.resume(text.parse().map_err(io::Error::other)?);
    }
    let (mut session, mut socket) = (builder.build(), None::<TcpStream>);
    let (start, mut chunk, mut unit, mut saved) = (Instant::now(), vec![0; 64 << 10], Vec::new(), None);
    let now_ms = || start.elapsed().as_millis() as u64;
    loop {
        while let Some(event) = session.next_event(now_ms()) {
            match event {
                Event::Connect => match TcpStream::connect(address) {
                    Ok(connection) => {
                        socket = Some(connection);
                        session.connected();
                    }
                    Err(_) => session.disconnected(now_ms()),
                },
                Event::LinkDown(down) => {
                    eprintln!("link down: {}", down.error);
                    // An unfinished transaction comes again.
                    (socket, unit) = (None, Vec::new());
                    down.retry_at_ms.ok_or_else(|| io::Error::other(down.error))?;
                }
                Event::Continue { position, .. } => eprintln!("continued at {position}"),
                Event::FullResync { id, offset } => eprintln!("a snapshot of {id} at {offset} is skipped"),
                Event::SnapshotEnd => session.snapshot_applied(None, now_ms()),
                Event::Command(command) => {
                    unit.extend((!command.is_administrative()).then(|| line(&command)));
                    if matches!(command.part, TransactionPart::Outside | TransactionPart::End) {
                        unit.drain(..).for_each(|line| println!("{line}"));
                    }
                }
                _ => {}
            }
        }
        if let Some(position) = session.position().filter(|position| saved != Some(*position)) {
            let new = format!("{file}.new");
            fs::write(&new, position.to_string()).and_then(|()| fs::rename(&new, file))?;
            saved = Some(position);
        }
        let wait_ms = session.next_deadline_ms().map_or(1_000, |at_ms| at_ms.saturating_sub(now_ms()).max(1));
        let Some(connection) = &mut socket else {
            thread::sleep(Duration::from_millis(wait_ms));
            continue;
        };
        connection.set_read_timeout(Some(Duration::from_millis(wait_ms)))?;
        match connection.write_all(&session.take_output()).and_then(|()| connection.read(&mut chunk)) {
            Ok(len) if len > 0 => session.receive(&chunk[..len]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            _ => session.disconnected(now_ms()),
        }
    }
}
