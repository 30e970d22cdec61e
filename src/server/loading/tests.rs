use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::keyspace::{Call, ExpiryPolicy, Options, SnapshotEntry};
use crate::rdb::{Kind, Limits, SnapshotFormat, Writer};

const TAKE_ALL: LoadPolicy =
    LoadPolicy { expired: Expired::Keep, unheld: Unheld::LeaveOut, max_string_bytes: 1 << 20 };

/// Every file of a real server that is kept for tests.
const FILES: [(&str, &[u8]); 5] = [
    ("redis-7.0.15", include_bytes!("../../../tests/fixtures/rdb/redis-7.0.15.rdb")),
    ("redis-7.0.15-streams", include_bytes!("../../../tests/fixtures/rdb/redis-7.0.15-streams.rdb")),
    ("valkey-9.1.2", include_bytes!("../../../tests/fixtures/rdb/valkey-9.1.2.rdb")),
    ("valkey-9.1.2-lfu", include_bytes!("../../../tests/fixtures/rdb/valkey-9.1.2-lfu.rdb")),
    ("valkey-9.1.2-streams", include_bytes!("../../../tests/fixtures/rdb/valkey-9.1.2-streams.rdb")),
];

fn keyspace() -> Arc<Keyspace> {
    Arc::new(Keyspace::new(Options { shards: 3, ..Options::default() }))
}

fn pulled(file: &[u8], policy: LoadPolicy) -> Result<(Arc<Keyspace>, LoadReport), LoadError> {
    let keyspace = keyspace();
    let (draft, report) = load(&keyspace, policy, file, &mut |_| ())?;
    draft.put_in_place(ExpiryPolicy::Ignore, 0, &mut |_| (), &mut || ());
    Ok((keyspace, report))
}

fn fed<'f>(
    pieces: impl IntoIterator<Item = &'f [u8]>,
    policy: LoadPolicy,
) -> Result<(Arc<Keyspace>, LoadReport), LoadError> {
    let keyspace = keyspace();
    let mut loader = Loader::new(&keyspace, policy);
    pieces.into_iter().try_for_each(|piece| loader.feed(piece))?;
    let (draft, report) = loader.finish()?;
    draft.put_in_place(ExpiryPolicy::Ignore, 0, &mut |_| (), &mut || ());
    Ok((keyspace, report))
}

/// Everything that is stored, as `DUMP` encodes it, which for sets and hashes depends on their order: so these
/// by their elements.
fn contents(keyspace: &Arc<Keyspace>) -> BTreeMap<(u16, Bytes), (String, Option<u64>)> {
    let ((), snapshot) = keyspace.cut(|| ());
    let shown = |entry: SnapshotEntry| {
        let value = match &entry.value {
            crate::keyspace::Value::Hash(hash) => {
                let mut fields: Vec<_> = hash.iter().map(|field| format!("{field:?}")).collect();
                fields.sort_unstable();
                fields.join(" ")
            }
            crate::keyspace::Value::Set(set) => {
                let mut members: Vec<_> = set.iter().map(|member| format!("{member:?}")).collect();
                members.sort_unstable();
                members.join(" ")
            }
            crate::keyspace::Value::ZSet(zset) => format!("{:?}", zset.iter().collect::<Vec<_>>()),
            crate::keyspace::Value::List(list) => format!("{:?}", list.iter().collect::<Vec<_>>()),
            crate::keyspace::Value::String(bytes) => format!("{bytes:?}"),
        };
        ((entry.db, entry.key), (value, entry.deadline_ms))
    };
    snapshot.flatten().map(shown).collect()
}

/// A file with these keys in each of these databases.
fn file(keys: &[(u16, &str, Option<u64>)]) -> Vec<u8> {
    let mut writer = Writer::new(SnapshotFormat::Valkey80);
    for (db, key, deadline_ms) in keys {
        writer.select_db(*db).expect("a database");
        writer.string(key.as_bytes(), *deadline_ms, b"v").expect("a key");
    }
    writer.finish().expect("complete").to_vec()
}

#[test]
fn files_of_real_servers_are_loaded_whole_and_what_is_left_out_is_named() {
    for (name, file) in FILES {
        let options = crate::rdb::Options { others: Handling::Skip, ..Limits::default().into() };
        let mut reader = Reader::new(file, options).expect("a snapshot");
        let (mut keys, mut streams, mut functions) = (0, 0, 0);
        while let Some(event) = reader.next_event().expect("an intact snapshot") {
            match event {
                Event::Entry(_) => keys += 1,
                Event::Skipped(_) => streams += 1,
                Event::SkippedFunction => functions += 1,
                _ => {}
            }
        }
        let (keyspace, report) = pulled(file, TAKE_ALL).expect(name);
        assert_eq!((report.keys, contents(&keyspace).len() as u64), (keys, keys), "{name}");
        assert_eq!(report.bytes, file.len() as u64, "{name}");
        let left_out = report.left_out;
        assert_eq!((left_out.keys, left_out.functions), (streams, functions), "{name}");
        assert_eq!(left_out.first.len() as u64, streams.min(NAMED_UNHELD_KEYS as u64), "{name}");
        let refusing = LoadPolicy { unheld: Unheld::Refuse, ..TAKE_ALL };
        match pulled(file, refusing) {
            Ok(_) => assert_eq!(streams + functions, 0, "{name}"),
            Err(LoadError::LeftOut(all)) => assert_eq!(all, left_out, "{name}"),
            Err(error) => panic!("{name}: {error}"),
        }
    }
}

#[test]
fn the_report_says_which_stream_the_data_belongs_to() {
    let replid = "0123456789abcdef0123456789abcdef01234567";
    let mut writer = Writer::new(SnapshotFormat::Valkey80);
    let replication = crate::rdb::ReplicationAux { stream_db: 3, replication_id: replid, offset: 4711 };
    let header = crate::rdb::Header {
        server_version: "9.1.2",
        created_s: 1,
        used_memory_bytes: 2,
        replication: Some(replication),
    };
    writer.header(&header).expect("first");
    let file = writer.finish().expect("complete");
    let (_, report) = pulled(&file, TAKE_ALL).expect("a snapshot");
    let expected = SavedStream { replid: Some(replid.to_owned()), offset: Some(4711), db: Some(3) };
    assert_eq!((report.stream, report.version), (expected, Some(FileVersion::Valkey(80))));
    assert!(report.aux.iter().any(|(key, value)| key == "ctime" && value == "1"), "{:?}", report.aux);
}

#[test]
fn contradictions_are_errors_that_name_the_key() {
    for (keys, expected) in [
        (&[(0, "twice", None), (0, "twice", None)][..], "key 'twice' before byte "),
        (&[(0, "k", None), (16, "beyond", None)][..], "key 'beyond' before byte "),
    ] {
        let error = pulled(&file(keys), TAKE_ALL).expect_err("a contradiction").to_string();
        assert!(error.starts_with(expected), "{error}");
    }
    assert!(pulled(&file(&[(0, "k", None), (1, "k", None)]), TAKE_ALL).is_ok());
}

#[test]
fn expired_keys_are_kept_or_dropped_as_wanted() {
    let file = file(&[(0, "dead", Some(1)), (0, "alive", Some(1 << 60)), (0, "for ever", None)]);
    for (expired, keys) in [(Expired::Keep, 3), (Expired::Drop, 2)] {
        let (keyspace, report) = pulled(&file, LoadPolicy { expired, ..TAKE_ALL }).expect("a snapshot");
        assert_eq!((report.keys, report.keys + report.expired), (keys, 3));
        assert_eq!(keyspace.key_count(0).0, keys);
    }
}

#[test]
fn the_live_data_is_untouched_by_a_file_that_fails() {
    let keyspace = keyspace();
    let argv = ["SET", "k", "v"].map(Bytes::from).to_vec();
    keyspace.execute(&[Call { db: 0, argv }], 1, &mut |_| ());
    let before = contents(&keyspace);
    let mut file = file(&[(0, "a", None), (0, "b", None)]);
    *file.last_mut().expect("a checksum") ^= 1;
    assert!(matches!(
        load(&keyspace, TAKE_ALL, &file[..], &mut |_| ()),
        Err(LoadError::Read(ReadError::ChecksumMismatch { .. }))
    ));
    assert_eq!(contents(&keyspace), before);
}

/// A file with every type that is written.
fn small_file() -> Vec<u8> {
    let mut writer = Writer::new(SnapshotFormat::Valkey80);
    writer.select_db(0).expect("a database");
    writer.string(b"string", Some(1 << 50), b"value").expect("a key");
    writer.begin(b"list", None, Kind::List, 2).expect("a key");
    [b"a", b"b"].iter().for_each(|it| writer.element(*it).expect("an element"));
    writer.begin(b"set", None, Kind::Set, 2).expect("a key");
    [b"a", b"b"].iter().for_each(|it| writer.element(*it).expect("a member"));
    writer.begin(b"zset", None, Kind::SortedSet, 1).expect("a key");
    writer.member(b"m", 1.5).expect("a member");
    writer.begin(b"hash", None, Kind::HashWithDeadlines, 2).expect("a key");
    writer.field(b"f", b"v", Some(1 << 50)).expect("a field");
    writer.field(b"g", b"w", None).expect("a field");
    writer.finish().expect("complete").to_vec()
}

#[test]
fn a_changed_byte_anywhere_is_refused_or_makes_no_difference() {
    let file = small_file();
    let intact = contents(&pulled(&file, TAKE_ALL).expect("intact").0);
    let mut refused = 0;
    for position in 0..file.len() {
        for change in [1, 0x80, 0xff] {
            let mut garbled = file.clone();
            garbled[position] ^= change;
            match pulled(&garbled, TAKE_ALL) {
                Ok((keyspace, _)) => assert_eq!(contents(&keyspace), intact, "byte {position} ^ {change}"),
                Err(_) => refused += 1,
            }
        }
        let torn = pulled(&file[..position], TAKE_ALL);
        assert!(matches!(torn, Err(LoadError::Read(_))), "torn at byte {position}");
    }
    assert!(refused > file.len() * 2, "the checksum finds nearly all, not {refused}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// However a file is cut into pieces, and with whatever wrong byte: fed or pulled is the same.
    #[test]
    fn pieces_give_what_the_whole_gives(
        which in 0..FILES.len(),
        piece in 1usize..5000,
        wrong in prop::option::of((any::<prop::sample::Index>(), 1u8..)),
    ) {
        let mut file = FILES[which].1.to_vec();
        if let Some((index, change)) = wrong {
            *index.get_mut(&mut file) ^= change;
        }
        match (pulled(&file, TAKE_ALL), fed(file.chunks(piece), TAKE_ALL)) {
            (Ok((a, report)), Ok((b, other))) => {
                prop_assert_eq!(contents(&a), contents(&b));
                prop_assert_eq!(report.left_out, other.left_out);
                prop_assert_eq!((report.bytes, report.keys), (other.bytes, other.keys));
                prop_assert_eq!(report.aux, other.aux);
            }
            (Err(a), Err(b)) => prop_assert_eq!(a.to_string(), b.to_string()),
            (a, b) => prop_assert!(false, "{:?} but {:?}", a.map(|it| it.1), b.map(|it| it.1)),
        }
    }
}
