//! Files that Valkey and Redis save, with every encoding that they write and with streams: typed, skipped,
//! raw, in pieces; and what other servers make of the raw values.
#![cfg(feature = "server")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use bytes::Bytes;
use replcore::rdb::{
    Decoder, Entry, Event, Handling, Limits, Options, RawValue, Reader, SnapshotFormat, Value, read_payload,
};
use replcore::resp::Reply;

use support::client::{Argv, argv};
use support::encodings::{FAR_MS, Kept, fill, set_thresholds};
use support::feed::{Feed, snapshot};
use support::stored::{items, text};
use support::{Client, Program, Scratch, Server};

/// Has the server save, and reads the file.
fn save(server: &Server) -> Vec<u8> {
    let mut client = server.client();
    client.call(argv!["SAVE"]);
    let dir = client.call(argv!["CONFIG", "GET", "dir"]);
    let dir = text(&items(&dir)[1]);
    let path = PathBuf::from(String::from_utf8(dir.to_vec()).expect("a path that was made here"));
    std::fs::read(path.join("dump.rdb")).expect("the server has saved")
}

/// Reads a file to its end: the events, and where each ends.
fn read(file: &[u8], values: Handling, others: Handling) -> Vec<(Event, u64)> {
    let mut reader = Reader::new(file, Options { values, others, ..Options::default() }).expect("a snapshot");
    let mut events = Vec::new();
    while let Some(event) = reader.next_event().expect("an intact snapshot") {
        events.push((event, reader.position()));
    }
    events
}

fn read_in_pieces(file: &[u8], piece_bytes: usize) -> Vec<Event> {
    let raw = Options { values: Handling::Raw, others: Handling::Raw, ..Options::default() };
    let mut decoder = Decoder::new(raw);
    let mut events = Vec::new();
    for piece in file.chunks(piece_bytes) {
        decoder.feed(piece);
        while let Some(event) = decoder.next_event().expect("an intact snapshot") {
            events.push(event);
        }
    }
    assert!(decoder.is_ended());
    events
}

/// The raw values of a file.
fn raw_values(file: &[u8]) -> BTreeMap<Bytes, Entry<RawValue>> {
    let raw = read(file, Handling::Raw, Handling::Raw).into_iter().filter_map(|(event, _)| match event {
        Event::Raw(entry) => Some((entry.key.clone(), entry)),
        _ => None,
    });
    raw.collect()
}

fn restore(key: &str, entry: &Entry<RawValue>) -> Argv {
    argv!["RESTORE", key, entry.deadline_ms.unwrap_or(0), entry.value.payload(), "REPLACE", "ABSTTL"]
}

fn dump(client: &mut Client, key: &str) -> Bytes {
    text(&client.call(argv!["DUMP", key]))
}

/// What the server makes of a value, whatever the order that a table has.
fn digest(client: &mut Client, key: &str) -> String {
    format!("{:?}", client.call(argv!["DEBUG", "DIGEST-VALUE", key]))
}

/// Everything about a stream: consumers' times and what is pending for whom too.
fn stream_info(client: &mut Client, key: &str) -> Reply {
    client.call(argv!["XINFO", "STREAM", key, "FULL", "COUNT", 0])
}

#[test]
fn every_encoding_is_typed_skipped_or_raw_and_ends_at_the_same_byte() {
    let scratch = Scratch::new("rdb-ways");
    for program in [Program::Valkey, Program::Redis] {
        let server = Server::start(program, &format!("{program:?} source"), &scratch);
        let all = fill(&server);
        let mut client = server.client();
        let file = save(&server);
        let typed = read(&file, Handling::Decode, Handling::Skip);
        let raw = read(&file, Handling::Raw, Handling::Raw);
        let skipped = read(&file, Handling::Skip, Handling::Skip);
        let ends = |events: &[(Event, u64)]| events.iter().map(|(_, end)| *end).collect::<Vec<_>>();
        assert_eq!(ends(&typed), ends(&raw), "{program:?}");
        assert_eq!(ends(&skipped), ends(&raw), "{program:?}");
        assert_eq!(raw.last().map(|(_, end)| *end), Some(file.len() as u64));
        for piece_bytes in [1, 100, file.len()] {
            let events: Vec<Event> = raw.iter().map(|(event, _)| event.clone()).collect();
            assert!(read_in_pieces(&file, piece_bytes) == events, "{program:?} {piece_bytes}");
        }
        let types: BTreeMap<&str, u8> = all.iter().map(|it| (it.key, it.value_type)).collect();
        let found = raw_values(&file);
        let found_types: BTreeMap<&str, u8> = found
            .iter()
            .map(|(key, entry)| (std::str::from_utf8(key).expect("text"), entry.value.value_type().0))
            .collect();
        assert_eq!(found_types, types, "{program:?}");
        let mut functions = typed.iter().filter(|(event, _)| *event == Event::SkippedFunction);
        assert!(functions.next().is_some() && functions.next().is_none(), "{program:?}");
        for (event, _) in typed {
            let Event::Entry(entry) = event else { continue };
            let key = String::from_utf8(entry.key.to_vec()).expect("text");
            // The server's own DUMP has the same value in the same encoding.
            let payload = dump(&mut client, &key);
            let of_dump = RawValue::from_payload(&payload, Limits::default()).expect("a payload of a server");
            assert_eq!(of_dump.body(), found[&entry.key].value.body(), "{program:?} {key}");
            assert_eq!(entry.value, of_dump.decode(Limits::default()).expect("a value"), "{program:?} {key}");
            let deadline_ms = (key == "with a deadline").then_some(FAR_MS);
            assert_eq!(entry.deadline_ms, deadline_ms, "{program:?} {key}");
        }
    }
}

#[test]
fn raw_values_are_restored_by_a_server_of_the_same_kind() {
    let scratch = Scratch::new("rdb-restore");
    for program in [Program::Valkey, Program::Redis] {
        let [source, target] =
            ["source", "target"].map(|name| Server::start(program, &format!("{program:?} {name}"), &scratch));
        let all = fill(&source);
        set_thresholds(&target);
        let (mut theirs, mut restored) = (source.client(), target.client());
        let raw = raw_values(&save(&source));
        for Kept { key, encoding, .. } in all {
            let entry = &raw[key.as_bytes()];
            restored.call(restore(key, entry));
            assert_eq!(digest(&mut restored, key), digest(&mut theirs, key), "{program:?} {key}");
            if encoding == "stream" {
                assert_eq!(
                    stream_info(&mut restored, key),
                    stream_info(&mut theirs, key),
                    "{program:?} {key}"
                );
            }
            // Tables have an order of their own.
            if !matches!(encoding, "hashtable" | "skiplist") {
                assert_eq!(dump(&mut restored, key), dump(&mut theirs, key), "{program:?} {key}");
            }
        }
    }
}

/// A payload is in the lowest version that has its type: Valkey's compact values go to Redis 7.0, which
/// refuses Valkey's own payloads whole; Redis's streams go to Valkey.
#[test]
fn raw_values_cross_between_kinds_where_the_type_is_known() {
    let scratch = Scratch::new("rdb-cross");
    let [valkey, redis] = [Program::Valkey, Program::Redis]
        .map(|program| Server::start(program, &format!("{program:?}"), &scratch));
    fill(&valkey);
    fill(&redis);
    for (source, target) in [(&valkey, &redis), (&redis, &valkey)] {
        let raw = raw_values(&save(source));
        let (mut theirs, mut restored) = (source.client(), target.client());
        let mut refused = BTreeSet::new();
        for (key, entry) in raw {
            let key = std::str::from_utf8(&key).expect("text");
            match restored.try_call(&restore(key, &entry)) {
                Ok(Reply::Error(_)) => drop(refused.insert(entry.value.value_type().0)),
                Ok(_) => assert_eq!(digest(&mut restored, key), digest(&mut theirs, key), "{key}"),
                Err(error) => panic!("{key}: {error}"),
            }
        }
        let expected: &[u8] = if source.program == Program::Valkey { &[20, 21, 22] } else { &[] };
        assert_eq!(refused.into_iter().collect::<Vec<_>>(), expected, "of {:?}", source.program);
    }
}

#[test]
fn a_snapshot_of_raw_values_is_loaded() {
    let scratch = Scratch::new("rdb-written");
    let source = Server::start(Program::Valkey, "source", &scratch);
    let replica = Server::start(Program::Valkey, "replica", &scratch);
    let all = fill(&source);
    let raw = raw_values(&save(&source));
    let _feed = Feed::attach(
        &replica,
        &snapshot(SnapshotFormat::Valkey80, |writer| {
            for entry in raw.values() {
                writer.raw(&entry.key, entry.deadline_ms, &entry.value).expect("Valkey 9 has every type");
            }
        }),
    );
    let (mut theirs, mut loaded) = (source.client(), replica.client());
    for Kept { key, .. } in all {
        assert_eq!(digest(&mut loaded, key), digest(&mut theirs, key), "{key}");
    }
}

/// Texts about every length at which the form of a length changes, in a listpack also of the length behind an
/// element.
#[test]
fn texts_about_every_edge_of_their_lengths_are_read_from_every_server() {
    let scratch = Scratch::new("rdb-edges");
    for program in [Program::Valkey, Program::Redis] {
        let server = Server::start(program, &format!("{program:?} source"), &scratch);
        server.configure(&[("hash-max-listpack-value", "4000000"), ("rdbcompression", "no")]);
        let mut client = server.client();
        for edge in [63, 127, 4095, 16_383, 1 << 21] {
            for len in edge - 8..edge + 4 {
                let long = Bytes::from(vec![b'x'; len]);
                client.call(argv!["DEL", "h"]);
                client.call(argv!["HSET", "h", &long, "v", "f", "w"]);
                assert_eq!(text(&client.call(argv!["OBJECT", "ENCODING", "h"])), "listpack");
                let payload = read_payload(&dump(&mut client, "h"), Limits::default());
                let Ok(Value::Hash(fields)) = payload.map(|payload| payload.value) else {
                    panic!("{program:?} {len}: no hash");
                };
                let fields: Vec<_> = fields.into_iter().map(|it| (it.field, it.value)).collect();
                assert!(
                    fields == [(long, Bytes::from("v")), (Bytes::from("f"), Bytes::from("w"))],
                    "{program:?} {len}"
                );
            }
        }
    }
}
