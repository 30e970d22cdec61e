//! What a server has stored under a key: expired fields that it hides, and what it knows of the consumers of
//! a stream.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use replcore::rdb::{Event, Limits, Reader, Value};
use replcore::resp::Reply;
use replcore::rewrite::stream::{Extent, GroupPosition, Pending, StreamId};

/// The fields of a hash: value and deadline.
pub type Fields = BTreeMap<Bytes, (Bytes, Option<u64>)>;

/// Version and checksum, at the end of what DUMP answers.
const DUMP_TRAILER_BYTES: usize = 10;

/// The fields of a hash, out of the reply to DUMP: expired ones are among them. None if there is no key.
pub fn fields(dump: &Reply) -> Fields {
    let Reply::Bulk(dump) = dump else {
        assert_eq!(*dump, Reply::Null, "DUMP answers a string or nothing");
        return Fields::new();
    };
    // A snapshot of one key, without a name and without a checksum.
    let mut file = b"VALKEY080\xfe\x00".to_vec();
    let (kind, value) = dump[..dump.len() - DUMP_TRAILER_BYTES].split_first().expect("a value has a type");
    file.extend([*kind, 0]);
    file.extend_from_slice(value);
    file.push(0xff);
    file.extend([0; 8]);
    let mut reader = Reader::new(&file[..], Limits::default()).expect("the magic was written here");
    loop {
        match reader.next_event().expect("a value as in a snapshot") {
            Some(Event::Entry(entry)) => {
                let Value::Hash(fields) = entry.value else { panic!("not a hash: {entry:?}") };
                return fields
                    .into_iter()
                    .map(|field| (field.field, (field.value, field.deadline_ms)))
                    .collect();
            }
            Some(_) => {}
            None => panic!("the dump has no value"),
        }
    }
}

/// A stream, without what is not replicated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stream {
    /// The entries.
    pub entries: Vec<(StreamId, Content)>,
    /// Length, last ID and the like.
    pub counters: BTreeMap<String, String>,
    /// Its groups, by name.
    pub groups: BTreeMap<Bytes, Group>,
}

/// What an entry says, as text.
pub type Content = String;

/// A consumer group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Its place.
    pub position: GroupPosition,
    /// What is pending, and for whom.
    pub pending: BTreeMap<StreamId, (Bytes, Pending)>,
    /// Its consumers.
    pub consumers: BTreeSet<Bytes>,
}

impl Stream {
    /// Out of the reply to `XINFO STREAM key FULL COUNT 0`. None if there is no key.
    pub fn read(info: &Reply) -> Option<Stream> {
        if matches!(info, Reply::Error(_)) {
            return None;
        }
        let mut stream = Stream { entries: Vec::new(), counters: BTreeMap::new(), groups: BTreeMap::new() };
        for (name, value) in pairs(info) {
            match &name[..] {
                "entries" => {
                    stream.entries = items(value)
                        .iter()
                        .map(|entry| (id_of(&items(entry)[0]), format!("{entry:?}")))
                        .collect();
                }
                "groups" => stream.groups = items(value).iter().map(group).collect(),
                "radix-tree-keys" | "radix-tree-nodes" => {}
                _ => drop(stream.counters.insert(name, format!("{value:?}"))),
            }
        }
        Some(stream)
    }

    /// How much it holds.
    pub fn extent(&self) -> Extent {
        Extent { entries: self.entries.len() as u64, first: self.entries.first().map(|(id, _)| *id) }
    }
}

fn group(info: &Reply) -> (Bytes, Group) {
    let mut name = Bytes::new();
    let position = GroupPosition { last_id: StreamId { ms: 0, seq: 0 }, entries_read: None };
    let mut group = Group { position, pending: BTreeMap::new(), consumers: BTreeSet::new() };
    for (field, value) in pairs(info) {
        match &field[..] {
            "name" => name = text(value),
            "last-delivered-id" => group.position.last_id = id_of(value),
            "entries-read" => {
                group.position.entries_read =
                    if let Reply::Integer(read) = value { u64::try_from(*read).ok() } else { None };
            }
            "pending" | "pel" => {
                group.pending = items(value).iter().map(pending).collect();
            }
            "consumers" => {
                group.consumers = items(value).iter().map(|consumer| text(&items(consumer)[1])).collect();
            }
            _ => {}
        }
    }
    (name, group)
}

fn pending(item: &Reply) -> (StreamId, (Bytes, Pending)) {
    let [id, consumer, Reply::Integer(delivered_ms), Reply::Integer(deliveries)] = items(item) else {
        panic!("a pending entry is {item:?}");
    };
    let id = id_of(id);
    let of = |number: &i64| u64::try_from(*number).expect("times and counts are not negative");
    (id, (text(consumer), Pending { id, delivered_ms: of(delivered_ms), deliveries: of(deliveries) }))
}

/// An ID, as servers write it.
pub fn id_of(reply: &Reply) -> StreamId {
    let id = text(reply);
    let id = String::from_utf8_lossy(&id);
    let (ms, seq) = id.split_once('-').unwrap_or_else(|| panic!("{id:?} is no ID"));
    let number = |digits: &str| digits.parse().unwrap_or_else(|_| panic!("{id:?} is no ID"));
    StreamId { ms: number(ms), seq: number(seq) }
}

/// The items of an array; none for an absent one.
pub fn items(reply: &Reply) -> &[Reply] {
    match reply {
        Reply::Array(items) => items,
        Reply::Null | Reply::NullArray => &[],
        other => panic!("expected an array, got {other:?}"),
    }
}

/// A string.
pub fn text(reply: &Reply) -> Bytes {
    match reply {
        Reply::Bulk(text) => text.clone(),
        Reply::Status(text) => Bytes::from(text.clone()),
        other => panic!("expected a string, got {other:?}"),
    }
}

fn pairs(reply: &Reply) -> Vec<(String, &Reply)> {
    let name = |name| String::from_utf8_lossy(&text(name)).into_owned();
    items(reply).chunks_exact(2).map(|pair| (name(&pair[0]), &pair[1])).collect()
}
