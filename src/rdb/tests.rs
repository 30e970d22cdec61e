use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read};

use bytes::{BufMut, Bytes};
use proptest::prelude::*;

use super::*;

mod structure;

fn read(file: &[u8]) -> Result<Vec<Event>, ReadError> {
    read_from(file)
}

fn read_from(file: impl BufRead) -> Result<Vec<Event>, ReadError> {
    let mut reader = Reader::new(file, Limits::default())?;
    let mut events = Vec::new();
    while let Some(event) = reader.next_event()? {
        events.push(event);
    }
    Ok(events)
}

fn entries(file: &[u8]) -> BTreeMap<String, Entry> {
    let entries = read(file).unwrap().into_iter().filter_map(|event| match event {
        Event::Entry(entry) => Some((String::from_utf8_lossy(&entry.key).into_owned(), entry)),
        _ => None,
    });
    entries.collect()
}

/// A file that holds one key `k` of the given type and payload, without a checksum.
fn file_with(magic: &str, value_type: u8, payload: &[u8]) -> Vec<u8> {
    let mut file = magic.as_bytes().to_vec();
    file.put_slice(&[value_type, 1, b'k']);
    file.put_slice(payload);
    file.put_u8(code::END);
    file.put_u64_le(0);
    file
}

fn value_of(magic: &str, value_type: u8, payload: &[u8]) -> Result<Value, ReadError> {
    match read(&file_with(magic, value_type, payload))?.swap_remove(0) {
        Event::Entry(entry) => Ok(entry.value),
        other => panic!("no entry but {other:?}"),
    }
}

fn string(payload: &[u8]) -> Vec<u8> {
    let mut string = vec![0x80];
    string.put_u32(payload.len() as u32);
    string.put_slice(payload);
    string
}

fn texts(items: &[&str]) -> Vec<Bytes> {
    items.iter().map(|item| Bytes::copy_from_slice(item.as_bytes())).collect()
}

fn plain_fields(pairs: &[(&str, &str)]) -> Value {
    Value::Hash(pairs.iter().map(|(field, value)| field_of(field, value, None)).collect())
}

fn field_of(field: &str, value: &str, deadline_ms: Option<u64>) -> HashField {
    let bytes = |text: &str| Bytes::copy_from_slice(text.as_bytes());
    HashField { field: bytes(field), value: bytes(value), deadline_ms }
}

fn numbered(prefix: &str, count: usize) -> Vec<String> {
    (1..=count).map(|n| format!("{prefix}{n}")).collect()
}

/// What both servers were filled with before they saved.
fn check_common_content(file: &[u8]) {
    let entries = entries(file);
    let value = |key: &str| entries[key].value.clone();
    let sorted = |key: &str| match value(key) {
        Value::Set(mut items) => {
            items.sort();
            items
        }
        other => panic!("{key} is {other:?}"),
    };
    for (key, text) in [
        ("int8", "-5"),
        ("int16", "-3000"),
        ("int32", "100000"),
        ("int64", "123456789012"),
        ("notint", "007"),
        ("raw", "hello"),
        ("empty", ""),
        ("lzf", &"a".repeat(600)),
        ("ttl", "x"),
        ("other", "db"),
    ] {
        assert_eq!(value(key), Value::String(Bytes::copy_from_slice(text.as_bytes())), "{key}");
        assert_eq!(entries[key].deadline_ms, (key == "ttl").then_some(33_333_333_333_333), "{key}");
    }
    assert_eq!(value("binary"), Value::String(Bytes::from_static(b"a\0b\xff\r\n")));
    assert_eq!(
        value("list:small"),
        Value::List(texts(&[
            "a",
            "1",
            "-2",
            "300",
            "70000",
            "5000000000",
            "-123456789012345",
            &"b".repeat(100),
            "8000000",
            "4095"
        ]))
    );
    let big: Vec<_> = (1..=300).flat_map(|n| [format!("element-{n}"), n.to_string()]).collect();
    assert_eq!(value("list:big"), Value::List(big.into_iter().map(Bytes::from).collect()));
    assert_eq!(value("list:plain"), Value::List(texts(&[&"c".repeat(9000), "tail"])));
    assert_eq!(sorted("set:int"), texts(&["-3", "1", "2"]));
    assert_eq!(sorted("set:int32"), texts(&["-5", "100000"]));
    assert_eq!(sorted("set:int64"), texts(&["10000000000", "3"]));
    assert_eq!(sorted("set:lp"), texts(&["3", "a", "b"]));
    let mut members = numbered("m", 200);
    members.sort();
    assert_eq!(sorted("set:ht"), members);
    assert_eq!(
        value("z:lp"),
        Value::SortedSet(vec![
            ("c".into(), f64::NEG_INFINITY),
            ("a".into(), 1.0),
            ("b".into(), 2.5),
            ("e".into(), 1e30),
            ("d".into(), f64::INFINITY),
        ])
    );
    let Value::SortedSet(scored) = value("z:sl") else { panic!("z:sl") };
    assert_eq!(scored.len(), 202);
    for (member, score) in scored {
        let expected = match &member[..] {
            b"top" => f64::INFINITY,
            b"bottom" => f64::NEG_INFINITY,
            member => std::str::from_utf8(&member[1..]).unwrap().parse::<f64>().unwrap() + 0.5,
        };
        assert_eq!(score, expected, "{member:?}");
    }
    assert_eq!(value("h:lp"), plain_fields(&[("f", "1"), ("g", "two"), ("", "e")]));
    let Value::Hash(mut fields) = value("h:ht") else { panic!("h:ht") };
    fields.sort_by_key(|field| field.field.clone());
    let mut expected: Vec<_> =
        (1..=200).map(|n| field_of(&format!("f{n}"), &format!("v{n}"), None)).collect();
    expected.sort_by_key(|field| field.field.clone());
    assert_eq!(fields, expected);
}

#[test]
fn a_snapshot_of_redis_7_0_15_is_read() {
    let file = include_bytes!("../../tests/fixtures/rdb/redis-7.0.15.rdb");
    assert_eq!(Reader::new(&file[..], Limits::default()).unwrap().version(), FileVersion::Redis(10));
    check_common_content(file);
    let events = read(file).unwrap();
    assert_eq!(events[0], Event::Aux { key: "redis-ver".into(), value: "7.0.15".into() });
    assert_eq!(events.last(), Some(&Event::End { checked: true }));
    let databases: Vec<_> =
        events.iter().filter(|event| matches!(event, Event::SelectDb(_) | Event::ResizeDb { .. })).collect();
    assert_eq!(
        databases,
        [
            &Event::SelectDb(0),
            &Event::ResizeDb { keys: 22, keys_with_deadline: 1 },
            &Event::SelectDb(3),
            &Event::ResizeDb { keys: 2, keys_with_deadline: 0 },
        ]
    );
}

#[test]
fn snapshots_of_valkey_9_1_2_are_read() {
    let lru = include_bytes!("../../tests/fixtures/rdb/valkey-9.1.2.rdb");
    let lfu = include_bytes!("../../tests/fixtures/rdb/valkey-9.1.2-lfu.rdb");
    for file in [&lru[..], &lfu[..]] {
        check_common_content(file);
        let Value::Hash(mut fields) = entries(file)["h:ttl"].value.clone() else { panic!("h:ttl") };
        fields.sort_by_key(|field| field.field.clone());
        let due = Some(33_333_333_333_333);
        assert_eq!(fields, [field_of("a", "1", due), field_of("b", "2", due), field_of("c", "3", None)]);
        let events = read(file).unwrap();
        assert!(events.iter().any(
            |event| matches!(event, Event::Function(source) if source.starts_with(b"#!lua name=l\nredis.reg"))
        ));
        assert_eq!(Reader::new(file, Limits::default()).unwrap().version(), FileVersion::Valkey(80));
    }
    assert!(entries(lru).values().all(|entry| entry.idle_s.is_some() && entry.frequency.is_none()));
    assert!(entries(lfu).values().all(|entry| entry.idle_s.is_none() && entry.frequency.is_some()));
}

#[test]
fn every_truncation_of_a_real_snapshot_is_an_error() {
    let file = include_bytes!("../../tests/fixtures/rdb/valkey-9.1.2.rdb");
    for len in 0..file.len() {
        let error = read(&file[..len]).unwrap_err();
        assert!(
            matches!(error, ReadError::Truncated { position } if position == len as u64),
            "{len}: {error}"
        );
    }
}

#[test]
fn flipped_bits_of_a_real_snapshot_are_noticed() {
    let file = include_bytes!("../../tests/fixtures/rdb/redis-7.0.15.rdb");
    for at in (9..file.len() - 8).step_by(5) {
        let mut broken = file.to_vec();
        broken[at] ^= 1 << (at % 8);
        assert!(read(&broken).is_err(), "byte {at}");
    }
}

#[test]
fn the_checksum_is_redis_s() {
    let mut sum = checksum::checksum();
    sum.update(b"123456789");
    assert_eq!(sum.finalize(), 0xe9c6_d914_c4b8_d9ca);
}

#[test]
fn a_zero_checksum_is_not_checked_and_a_wrong_one_is_refused() {
    let mut file = file_with("REDIS0010", code::STRING, b"\x01v");
    assert_eq!(read(&file).unwrap().last(), Some(&Event::End { checked: false }));
    *file.last_mut().unwrap() = 1;
    assert!(matches!(read(&file), Err(ReadError::ChecksumMismatch { stored: 0x0100_0000_0000_0000, .. })));
}

#[test]
fn ziplists_of_old_servers_are_read() {
    // A ziplist of: "a", 12, -1, 300, 70000, 5000000000, -5 000 000, and 70 bytes.
    let mut elements: Vec<u8> = vec![0, 1, b'a', 3, 0xFD, 2, 0xFE, 0xFF, 3, 0xC0, 0x2C, 0x01];
    elements.put_slice(&[4, 0xD0, 0x70, 0x11, 0x01, 0x00, 6, 0xE0]);
    elements.put_i64_le(5_000_000_000);
    elements.put_slice(&[10, 0xF0, 0xC0, 0xB4, 0xB3, 254, 5, 0, 0, 0, 0x40, 70]);
    elements.put_bytes(b'x', 70);
    let ziplist = |count: u16, elements: &[u8]| {
        let mut blob = Vec::new();
        blob.put_u32_le(11 + elements.len() as u32);
        blob.put_u32_le(0);
        blob.put_u16_le(count);
        blob.put_slice(elements);
        blob.put_u8(0xFF);
        string(&blob)
    };
    let long = "x".repeat(70);
    let expected = texts(&["a", "12", "-1", "300", "70000", "5000000000", "-5000000", &long]);
    let blob = ziplist(8, &elements);
    assert_eq!(value_of("REDIS0009", code::LIST_ZIPLIST, &blob).unwrap(), Value::List(expected.clone()));
    let quicklist = [&[2][..], &blob, &blob].concat();
    let twice = [expected.clone(), expected.clone()].concat();
    assert_eq!(value_of("REDIS0009", code::LIST_QUICKLIST, &quicklist).unwrap(), Value::List(twice));
    let Value::Hash(fields) = value_of("REDIS0009", code::HASH_ZIPLIST, &blob).unwrap() else { panic!() };
    assert_eq!(fields[3], field_of("-5000000", &long, None));
    let pairs = ziplist(4, &[0, 1, b'a', 3, 0xFD, 3, 1, b'b', 3, 3, b'1', b'.', b'5']);
    assert_eq!(
        value_of("REDIS0009", code::ZSET_ZIPLIST, &pairs).unwrap(),
        Value::SortedSet(vec![("a".into(), 12.0), ("b".into(), 1.5)])
    );
    assert!(value_of("REDIS0009", code::LIST_ZIPLIST, &ziplist(7, &elements)).is_err(), "wrong count");
    assert!(value_of("REDIS0009", code::HASH_ZIPLIST, &ziplist(1, &[0, 1, b'a'])).is_err(), "half a pair");
}

#[test]
fn listpack_elements_of_every_width_are_read() {
    let mut elements: Vec<u8> = vec![0x7F, 1, 0xC8, 0x00, 2, 0xDF, 0xFF, 2];
    elements.put_slice(&[0xF1, 0x00, 0x80, 3, 0xF2, 0xFF, 0xFF, 0x7F, 4, 0xF3, 0, 0, 0, 0x80, 5, 0xF4]);
    elements.put_i64_le(i64::MIN);
    elements.put_slice(&[9, 0x81, b'z', 2, 0xE1, 0x00]);
    elements.put_bytes(b'y', 256);
    elements.put_slice(&[2, 0x82, 0xF0]);
    elements.put_u32_le(5000);
    elements.put_bytes(b'w', 5000);
    elements.put_slice(&[0x27, 0x8D]);
    let mut blob = Vec::new();
    blob.put_u32_le(7 + elements.len() as u32);
    blob.put_u16_le(u16::MAX);
    blob.put_slice(&elements);
    blob.put_u8(0xFF);
    let (y, w) = ("y".repeat(256), "w".repeat(5000));
    assert_eq!(
        value_of("REDIS0011", code::SET_LISTPACK, &string(&blob)).unwrap(),
        Value::Set(texts(&[
            "127",
            "2048",
            "-1",
            "-32768",
            "8388607",
            "-2147483648",
            "-9223372036854775808",
            "z",
            &y,
            &w
        ]))
    );
}

/// Measured: with 16,383 bytes in front of it, Valkey 9.1.2 writes two bytes, Redis 7.0.15 three.
#[test]
fn the_length_behind_an_element_has_one_of_two_sizes() {
    let text = "x".repeat(16_383 - 5);
    for back in [&b"\x7f\xff"[..], b"\x00\xff\xff"] {
        let elements = [b"\xf0\xfa\x3f\0\0", text.as_bytes(), back, b"\x81v\x02\xff"].concat();
        let mut blob = Vec::new();
        blob.put_u32_le(6 + elements.len() as u32);
        blob.put_u16_le(2);
        blob.put_slice(&elements);
        let value = value_of("REDIS0011", code::SET_LISTPACK, &string(&blob));
        assert!(value.unwrap() == Value::Set(texts(&[&text, "v"])), "{back:?}");
    }
}

#[test]
fn text_scores_are_read() {
    let payload = b"\x04\x01a\x031.5\x01b\xfe\x01c\xff\x01d\x06-1e-05";
    assert_eq!(
        value_of("REDIS0007", code::ZSET_TEXT, payload).unwrap(),
        Value::SortedSet(vec![
            ("a".into(), 1.5),
            ("b".into(), f64::INFINITY),
            ("c".into(), f64::NEG_INFINITY),
            ("d".into(), -1e-5),
        ])
    );
    for nan in [&b"\x01\x01a\xfd"[..], b"\x01\x01a\x03nan", b"\x01\x01a\x01x"] {
        let error = value_of("REDIS0007", code::ZSET_TEXT, nan).unwrap_err();
        assert!(matches!(error, ReadError::Malformed { fault: Fault::Score, .. }), "{error}");
    }
}

#[test]
fn hashes_with_deadlines_are_judged_by_the_magic() {
    let mut redis = 5000u64.to_le_bytes().to_vec();
    redis.put_slice(b"\x03\x01\x01a\x011\x00\x01b\x012\x0b\x01c\x013");
    let expected = Value::Hash(vec![
        field_of("a", "1", Some(5000)),
        field_of("b", "2", None),
        field_of("c", "3", Some(5010)),
    ]);
    assert_eq!(value_of("REDIS0012", 24, &redis).unwrap(), expected);

    let elements = b"\x81a\x02\x81v\x02\x00\x01\x81b\x02\x81w\x02\xf1\x88\x13\x03";
    let mut blob = Vec::new();
    blob.put_u32_le(7 + elements.len() as u32);
    blob.put_u16_le(6);
    blob.put_slice(elements);
    blob.put_u8(0xFF);
    let listpack = [&5000u64.to_le_bytes()[..], &string(&blob)].concat();
    assert_eq!(
        value_of("REDIS0012", 25, &listpack).unwrap(),
        Value::Hash(vec![field_of("a", "v", None), field_of("b", "w", Some(5000))])
    );

    let mut valkey = b"\x02\x01a\x011".to_vec();
    valkey.put_i64_le(-1);
    valkey.put_slice(b"\x01b\x012");
    valkey.put_i64_le(0);
    assert_eq!(
        value_of("VALKEY080", 22, &valkey).unwrap(),
        Value::Hash(vec![field_of("a", "1", None), field_of("b", "2", Some(0))])
    );

    for (magic, value_type) in [
        ("REDIS0012", 22),
        ("VALKEY080", 24),
        ("VALKEY080", 25),
        ("REDIS0010", 21),
        ("REDIS0010", 6),
        ("VALKEY080", 26),
    ] {
        let error = value_of(magic, value_type, &valkey).unwrap_err();
        assert!(
            matches!(
                &error,
                ReadError::UnsupportedType { position: 12, value_type: t, key: Some(key) }
                    if t.0 == value_type && key == "k"
            ),
            "{error}"
        );
    }
}

#[test]
fn foreign_headers_are_refused() {
    let refused = |bytes: &[u8]| Reader::new(bytes, Limits::default()).err().unwrap();
    assert!(matches!(refused(b"SAUSAGE00"), ReadError::NotRdb { .. }));
    assert!(matches!(refused(b"REDIS0099"), ReadError::UnsupportedVersion { .. }));
    assert!(matches!(refused(b"REDIS00x1"), ReadError::UnsupportedVersion { .. }));
    assert!(matches!(refused(b"VALKEY079"), ReadError::UnsupportedVersion { .. }));
    assert!(matches!(refused(b"REDIS"), ReadError::Truncated { position: 5 }));
}

#[test]
fn opcodes_are_skipped_or_refused() {
    let file = |body: &[u8]| [&b"REDIS0012"[..], body, b"\xff\0\0\0\0\0\0\0\0"].concat();
    // A module's data: integer 2 (when), then a string, a double, a float, the end mark.
    let module = file(b"\xf7\x05\x02\x01\x05\x01x\x04AAAAAAAA\x03BBBB\x00\xf4\x01\x02\x03");
    assert_eq!(
        read(&module).unwrap()[..2],
        [
            Event::ModuleAux { module_id: 5, data: None },
            Event::SlotInfo { slot: 1, keys: 2, keys_with_deadline: 3 }
        ]
    );
    assert!(matches!(read(&file(b"\xf6")), Err(ReadError::UnsupportedOpcode { position: 10, opcode: 246 })));
    assert!(matches!(
        read(&file(b"\xf9\x01")),
        Err(ReadError::Malformed { position: 12, fault: Fault::DanglingAttributes })
    ));
    let seconds = file(b"\xfd\x05\0\0\0\x00\x01k\x01v");
    assert_eq!(entries(&seconds)["k"].deadline_ms, Some(5000));
}

#[test]
fn claimed_lengths_are_limited_and_allocate_nothing() {
    let huge = |limits: Limits, value_type: u8, payload: &[u8]| {
        let file = file_with("REDIS0010", value_type, payload);
        let mut reader = Reader::new(&file[..], limits).unwrap();
        let error = reader.next_event().unwrap_err();
        assert!(matches!(reader.next_event(), Err(ReadError::AlreadyFailed { .. })), "an error is final");
        error
    };
    // These would not return if they allocated, or read on, what they claim.
    let unlimited = Limits { max_string_bytes: u64::MAX, max_elements: u64::MAX, max_raw_bytes: u64::MAX };
    let claim = b"\x81\x00\xff\xff\xff\xff\xff\xff\xff";
    assert!(matches!(huge(unlimited, code::STRING, claim), ReadError::Truncated { .. }));
    let one_element = [&claim[..], b"\x01a"].concat();
    // The end mark stands where the second element's length should.
    let error = huge(unlimited, code::SET, &one_element);
    assert!(matches!(error, ReadError::Malformed { fault: Fault::Length, .. }), "{error}");
    let lzf = b"\xc3\x03\x81\x00\xff\xff\xff\xff\xff\xff\xff\xe0\x00\x00";
    assert!(matches!(huge(unlimited, code::STRING, lzf), ReadError::Malformed { fault: Fault::Lzf, .. }));

    let small = Limits { max_string_bytes: 4, max_elements: 2, ..Limits::default() };
    let exceeded = |error, at, of| {
        assert!(
            matches!(error, ReadError::LimitExceeded { claimed, limit, .. } if claimed == at && limit == of),
            "{error}"
        );
    };
    exceeded(huge(small, code::STRING, b"\x05abcde"), 5, 4);
    exceeded(huge(small, code::LIST, b"\x03\x01a\x01b\x01c"), 3, 2);
    exceeded(huge(small, code::STRING, b"\xc3\x04\x05\x04abcde"), 5, 4);
}

#[test]
fn compact_collections_keep_to_the_limit_of_elements() {
    let read = |value_type: u8, payload: &[u8], max_elements: u64| {
        let file = file_with("REDIS0012", value_type, payload);
        Reader::new(&file[..], Limits { max_elements, ..Limits::default() }).unwrap().next_event()
    };
    let listpack = |numbers: &[u8]| {
        let elements: Vec<u8> = numbers.iter().flat_map(|number| [*number, 1]).collect();
        let (size, count) = (7 + elements.len() as u8, numbers.len() as u8);
        [&[size, size, 0, 0, 0, count, 0], &elements[..], &[0xFF]].concat()
    };
    let ziplist = |numbers: &[u8]| {
        let elements: Vec<u8> = numbers.iter().flat_map(|number| [2, 0xF1 + number]).collect();
        let (size, count) = (11 + elements.len() as u8, numbers.len() as u8);
        [&[size, size, 0, 0, 0, 0, 0, 0, 0, count, 0], &elements[..], &[0xFF]].concat()
    };
    let numbers = [1, 2, 3, 4, 5, 6];
    let intset = [&[20, 2, 0, 0, 0, 6, 0, 0, 0][..], &numbers.map(|number| [number, 0]).concat()].concat();
    let nodes = [&[2][..], &ziplist(&numbers[..3]), &ziplist(&numbers[3..])].concat();
    let nodes_2 = [&[2, 2][..], &listpack(&numbers[..3]), &[2], &listpack(&numbers[3..])].concat();
    let triplets = [&[0; 8][..], &listpack(&numbers)].concat();
    for (value_type, payload, count) in [
        (code::LIST_ZIPLIST, ziplist(&numbers), 6),
        (code::LIST_QUICKLIST, nodes, 6),
        (code::LIST_QUICKLIST_2, nodes_2, 6),
        (code::SET_INTSET, intset, 6),
        (code::SET_LISTPACK, listpack(&numbers), 6),
        (code::ZSET_ZIPLIST, ziplist(&numbers), 3),
        (code::ZSET_LISTPACK, listpack(&numbers), 3),
        (code::HASH_ZIPLIST, ziplist(&numbers), 3),
        (code::HASH_LISTPACK, listpack(&numbers), 3),
        (code::REDIS_HASH_LISTPACK_DEADLINES, triplets, 2),
    ] {
        assert!(matches!(read(value_type, &payload, count), Ok(Some(Event::Entry(_)))), "{value_type}");
        let refused = read(value_type, &payload, count - 1).unwrap_err();
        let is_limit = matches!(refused, ReadError::LimitExceeded { claimed, limit, .. } if claimed == count && limit == count - 1);
        assert!(is_limit, "{value_type}: {refused}");
    }
}

#[test]
fn lzf_unpacks_literals_and_overlapping_copies() {
    assert_eq!(lzf::decompress(b"\x01ab\x60\x01", 7).unwrap(), b"abababa");
    // A long copy: control 7 << 5, one more byte of length.
    assert_eq!(lzf::decompress(b"\x00a\xe0\xff\x00", 265).unwrap(), [b'a'; 265]);
    assert_eq!(lzf::decompress(b"\x01ab\x60\x02", 7), None, "before the beginning");
    assert_eq!(lzf::decompress(b"\x01ab\x60\x01", 8), None, "too short");
    assert_eq!(lzf::decompress(b"\x01ab\x60\x01", 6), None, "too long");
    assert_eq!(lzf::decompress(b"\x05ab", 6), None, "truncated literals");
    for cut in [&b"\x01ab\x60"[..], b"\x01ab\xe0", b"\x01ab\xe0\x01"] {
        assert_eq!(lzf::decompress(cut, 7), None, "truncated copy");
    }
}

#[test]
fn the_reader_stops_right_behind_the_snapshot() {
    let mut file = Writer::new(SnapshotFormat::Redis10).finish().unwrap().to_vec();
    file.extend_from_slice(b"stream");
    let mut reader = Reader::new(&file[..], Limits::default()).unwrap();
    while reader.next_event().unwrap().is_some() {}
    assert_eq!(reader.position(), file.len() as u64 - 6);
    assert_eq!(reader.into_inner(), b"stream");
}

#[test]
fn a_failing_source_is_reported_with_its_position() {
    struct Failing;
    impl Read for Failing {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("disk on fire"))
        }
    }
    let source = BufReader::new(io::Cursor::new(b"REDIS0010\xfe").chain(Failing));
    assert!(matches!(read_from(source), Err(ReadError::Io { position: 10, .. })));
}

#[test]
fn a_header_names_the_server_and_the_place_in_the_stream() {
    let replication =
        ReplicationAux { stream_db: 3, replication_id: &"a".repeat(40), offset: 123_456_789_012 };
    for (version, key) in [(SnapshotFormat::Redis10, "redis-ver"), (SnapshotFormat::Valkey80, "valkey-ver")] {
        let mut writer = Writer::new(version);
        writer
            .header(&Header {
                server_version: "9.1.2",
                created_s: 1_700_000_000,
                used_memory_bytes: 99,
                replication: Some(replication),
            })
            .unwrap();
        let pairs: Vec<_> = read(&writer.finish().unwrap())
            .unwrap()
            .into_iter()
            .filter_map(|event| match event {
                Event::Aux { key, value } => Some((
                    String::from_utf8(key.to_vec()).unwrap(),
                    String::from_utf8(value.to_vec()).unwrap(),
                )),
                _ => None,
            })
            .collect();
        let id = "a".repeat(40);
        let expected = [
            (key, "9.1.2"),
            ("redis-bits", "64"),
            ("ctime", "1700000000"),
            ("used-mem", "99"),
            ("repl-stream-db", "3"),
            ("repl-id", &id),
            ("repl-offset", "123456789012"),
            ("aof-base", "0"),
        ];
        assert_eq!(pairs, expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
    }
}

#[test]
fn what_could_not_be_loaded_is_not_written() {
    let mut writer = Writer::new(SnapshotFormat::Redis10);
    assert_eq!(writer.begin(b"k", None, Kind::Set, 0), Err(WriteError::EmptyCollection));
    assert_eq!(
        writer.begin(b"k", None, Kind::HashWithDeadlines, 1),
        Err(WriteError::FieldDeadlinesUnsupported)
    );
    assert_eq!(
        writer.string(b"k", Some(u64::MAX), b""),
        Err(WriteError::DeadlineOutOfRange { deadline_ms: u64::MAX })
    );
    assert_eq!(writer.element(b"a"), Err(WriteError::UnexpectedElement));
    assert_eq!(writer.buffered_bytes(), 9, "refused calls write nothing");

    writer.begin(b"z", None, Kind::SortedSet, 2).unwrap();
    assert_eq!(writer.element(b"a"), Err(WriteError::UnexpectedElement));
    assert_eq!(writer.member(b"a", f64::NAN), Err(WriteError::NanScore));
    writer.member(b"a", 1.0).unwrap();
    let missing = WriteError::ElementsMissing { missing: 1 };
    assert_eq!(writer.select_db(1), Err(missing));
    assert_eq!(writer.string(b"k", None, b""), Err(missing));
    assert_eq!(writer.clone().finish(), Err(missing));
    writer.member(b"b", -0.0).unwrap();
    assert_eq!(writer.member(b"c", 1.0), Err(WriteError::UnexpectedElement));

    writer.begin(b"h", None, Kind::Hash, 1).unwrap();
    assert_eq!(writer.field(b"f", b"v", Some(1)), Err(WriteError::FieldDeadlinesUnsupported));
    writer.field(b"f", b"v", None).unwrap();
    assert_eq!(entries(&writer.finish().unwrap()).len(), 2);
}

/// Lengths about the first and the last number of each form.
fn edge_lengths() -> impl Iterator<Item = u64> {
    [6, 14, 32, 63].into_iter().flat_map(|bits| (1u64 << bits) - 2..=(1 << bits) + 1).chain([0, u64::MAX])
}

#[test]
fn lengths_about_every_edge_read_back() {
    let mut writer = Writer::new(SnapshotFormat::Valkey80);
    let mut expected = Vec::new();
    for keys in edge_lengths() {
        writer.resize_db(keys, keys / 2).unwrap();
        expected.push(Event::ResizeDb { keys, keys_with_deadline: keys / 2 });
    }
    for len in edge_lengths().filter_map(|len| usize::try_from(len).ok().filter(|len| *len < 1 << 15)) {
        let text = Bytes::from(vec![b'x'; len]);
        let mut values = vec![Value::String(text.clone())];
        if len > 0 {
            values.push(Value::List(vec![Bytes::from_static(b"e"); len]));
        }
        for value in values {
            writer.entry(&text, None, &value).unwrap();
            let key = text.clone();
            expected.push(Event::Entry(Entry {
                key,
                value,
                deadline_ms: None,
                idle_s: None,
                frequency: None,
            }));
        }
    }
    let file = writer.finish().unwrap();
    expected.push(Event::End { checked: true });
    assert!(read(&file).unwrap() == expected);
}

fn text() -> impl Strategy<Value = Bytes> {
    prop_oneof![
        3 => prop::collection::vec(any::<u8>(), 0..20).prop_map(Bytes::from),
        2 => any::<i64>().prop_map(|n| n.to_string().into()),
        2 => any::<i16>().prop_map(|n| n.to_string().into()),
        1 => "[-+0]{0,2}[0-9]{1,12}".prop_map(Bytes::from),
        1 => (0usize..20_000).prop_map(|len| vec![b'x'; len].into()),
    ]
}

fn deadline() -> impl Strategy<Value = Option<u64>> {
    let last = i64::MAX as u64;
    prop_oneof![Just(None), (0..=last).prop_map(Some), (0u64..3).prop_map(Some), Just(Some(last))]
}

/// A number as a length of nine bytes, which every number has.
fn long_length(number: u64) -> Vec<u8> {
    [&[0x81][..], &number.to_be_bytes()].concat()
}

/// Numbers at which a sum may go wrong.
fn edgy() -> impl Strategy<Value = u64> {
    let edges =
        vec![0, 1, 2, (1 << 46) - 1, i64::MAX as u64 - 1, i64::MAX as u64, 1 << 63, u64::MAX - 1, u64::MAX];
    prop_oneof![prop::sample::select(edges), any::<u64>(), 0u64..10]
}

fn value(field_deadlines: bool) -> impl Strategy<Value = Value> {
    let field = (text(), text(), deadline()).prop_map(move |(field, value, deadline_ms)| HashField {
        field,
        value,
        deadline_ms: deadline_ms.filter(|_| field_deadlines),
    });
    let score = any::<f64>().prop_filter("no server stores NaN", |score| !score.is_nan());
    prop_oneof![
        text().prop_map(Value::String),
        prop::collection::vec(text(), 1..80).prop_map(Value::List),
        prop::collection::vec(text(), 1..80).prop_map(Value::Set),
        prop::collection::vec((text(), score), 1..20).prop_map(Value::SortedSet),
        prop::collection::vec(field, 1..20).prop_map(Value::Hash),
    ]
}

/// A file with one hash `k`, in the form of that type number, as the server would write it that defined it.
fn deadline_file(form: u8, fields: &[HashField]) -> Vec<u8> {
    if form == code::VALKEY_HASH_DEADLINES {
        let mut writer = Writer::new(SnapshotFormat::Valkey80);
        writer.begin(b"k", None, Kind::HashWithDeadlines, fields.len() as u64).unwrap();
        fields.iter().for_each(|it| writer.field(&it.field, &it.value, it.deadline_ms).unwrap());
        return writer.finish().unwrap().to_vec();
    }
    let earliest = fields.iter().filter_map(|field| field.deadline_ms).min().unwrap_or(0);
    let mut payload = earliest.to_le_bytes().to_vec();
    if form == code::REDIS_HASH_DEADLINES {
        payload.put_slice(&long_length(fields.len() as u64));
        for field in fields {
            let distance = field.deadline_ms.map_or(0, |deadline_ms| deadline_ms - earliest + 1);
            payload.put_slice(&long_length(distance));
            payload.put_slice(&string(&field.field));
            payload.put_slice(&string(&field.value));
        }
    } else {
        // Every element is a string whose length has 32 bits.
        let mut blob = Vec::new();
        let mut put = |item: &[u8]| {
            blob.put_u8(0xF0);
            blob.put_u32_le(item.len() as u32);
            blob.put_slice(item);
            // For walking backwards: only its width matters to who walks forwards.
            let width = match 5 + item.len() {
                0..128 => 1,
                128..16_384 => 2,
                _ => 3,
            };
            blob.put_bytes(0, width);
        };
        for field in fields {
            put(&field.field);
            put(&field.value);
            put(field.deadline_ms.unwrap_or(0).to_string().as_bytes());
        }
        let mut listpack = Vec::new();
        listpack.put_u32_le(7 + blob.len() as u32);
        listpack.put_u16_le(3 * fields.len() as u16);
        listpack.put_slice(&blob);
        listpack.put_u8(0xFF);
        payload.put_slice(&string(&listpack));
    }
    let mut file = file_with("REDIS0012", form, &payload);
    file.truncate(file.len() - 8);
    let mut computed = checksum::checksum();
    computed.update(&file);
    file.put_u64_le(computed.finalize());
    file
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_written_is_read(
        (version, written) in prop_oneof![Just(SnapshotFormat::Redis10), Just(SnapshotFormat::Valkey80)].prop_flat_map(|version| {
            let entry = (any::<u16>(), text(), deadline(), value(version == SnapshotFormat::Valkey80));
            (Just(version), prop::collection::vec(entry, 0..8))
        }),
        buffer in 1usize..40,
    ) {
        let mut writer = Writer::new(version);
        let (mut file, mut expected) = (Vec::new(), Vec::new());
        for (db, key, deadline_ms, value) in written {
            writer.select_db(db).unwrap();
            writer.resize_db(db.into(), 1 << 40).unwrap();
            writer.entry(&key, deadline_ms, &value).unwrap();
            file.extend_from_slice(&writer.take());
            prop_assert_eq!(writer.buffered_bytes(), 0);
            expected.push(Event::SelectDb(db));
            expected.push(Event::ResizeDb { keys: db.into(), keys_with_deadline: 1 << 40 });
            expected.push(Event::Entry(Entry { key, value, deadline_ms, idle_s: None, frequency: None }));
        }
        expected.push(Event::End { checked: true });
        file.extend_from_slice(&writer.finish().unwrap());
        prop_assert_eq!(read_from(BufReader::with_capacity(buffer, &file[..])).unwrap(), expected);
    }

    /// Redis: a distance of 0 is no deadline, any other one is one more than the distance to the earliest.
    #[test]
    fn redis_s_relative_deadlines_are_summed_exactly_or_refused(earliest in edgy(), distance in edgy()) {
        let payload = [&earliest.to_le_bytes()[..], b"\x01", &long_length(distance), b"\x01f\x01v"].concat();
        let sum = (distance > 0).then(|| i128::from(earliest) + i128::from(distance) - 1);
        match (value_of("REDIS0012", code::REDIS_HASH_DEADLINES, &payload), sum) {
            (Ok(value), None) => prop_assert_eq!(value, plain_fields(&[("f", "v")])),
            (Ok(value), Some(sum)) => {
                prop_assert!(sum <= i128::from(i64::MAX));
                let deadline_ms = Some(u64::try_from(sum).unwrap());
                prop_assert_eq!(value, Value::Hash(vec![field_of("f", "v", deadline_ms)]));
            }
            (Err(error), sum) => {
                prop_assert!(sum.is_some_and(|sum| sum > i128::from(i64::MAX)), "{error}");
                let fault = matches!(error, ReadError::Malformed { fault: Fault::Deadline, .. });
                prop_assert!(fault, "{error}");
            }
        }
    }

    /// Valkey: -1 is no deadline, nothing else is negative.
    #[test]
    fn valkey_s_deadlines_are_taken_as_they_are_or_refused(deadline in edgy()) {
        let payload = [b"\x01\x01f\x01v".as_slice(), &deadline.to_le_bytes()].concat();
        let read = value_of("VALKEY080", code::VALKEY_HASH_DEADLINES, &payload);
        match deadline {
            u64::MAX => prop_assert_eq!(read.unwrap(), plain_fields(&[("f", "v")])),
            0..=0x7fff_ffff_ffff_ffff => {
                prop_assert_eq!(read.unwrap(), Value::Hash(vec![field_of("f", "v", Some(deadline))]));
            }
            _ => {
                let fault = matches!(read, Err(ReadError::Malformed { fault: Fault::Deadline, .. }));
                prop_assert!(fault, "{read:?}");
            }
        }
    }

    /// Hashes with deadlines in each of the three forms, cut short and damaged: every cut is an error, and
    /// nothing panics.
    #[test]
    fn damaged_hashes_with_deadlines_are_errors_or_values(
        fields in prop::collection::vec((text(), text(), deadline()), 1..6),
        form in prop::sample::select(&[22u8, 24, 25][..]),
        cut in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let fields: Vec<HashField> = fields
            .into_iter()
            .map(|(field, value, deadline_ms)| {
                // Redis's listpack spells "none" 0.
                let deadline_ms = deadline_ms.filter(|at| form != code::REDIS_HASH_LISTPACK_DEADLINES || *at > 0);
                HashField { field, value, deadline_ms }
            })
            .collect();
        let file = deadline_file(form, &fields);
        let read_back = entries(&file).remove("k").expect("one key").value;
        prop_assert_eq!(read_back, Value::Hash(fields));
        let cut = cut.index(file.len());
        prop_assert!(read(&file[..cut]).is_err(), "cut at {} of {}", cut, file.len());
        let mut damaged = file;
        for (at, byte) in changes {
            let at = at.index(damaged.len());
            damaged[at] = byte;
        }
        let _ = read(&damaged);
    }

    #[test]
    fn arbitrary_bytes_never_panic(body in prop::collection::vec(any::<u8>(), 0..300), valkey: bool) {
        let magic = if valkey { b"VALKEY080" } else { b"REDIS0012" };
        let _ = read(&[&magic[..], &body].concat());
    }

    #[test]
    fn mutated_snapshots_never_panic(
        changes in prop::collection::vec((9usize..7800, any::<u8>()), 1..12),
        cut in prop::option::of((9usize..7800, 1usize..40)),
    ) {
        for file in [
            &include_bytes!("../../tests/fixtures/rdb/valkey-9.1.2.rdb")[..],
            include_bytes!("../../tests/fixtures/rdb/redis-7.0.15.rdb"),
        ] {
            let mut file = file.to_vec();
            for &(at, byte) in &changes {
                file[at] = byte;
            }
            if let Some((at, len)) = cut {
                file.drain(at..at + len);
            }
            let _ = read(&file);
        }
    }

    /// Past the outer structure, which arbitrary bytes seldom survive.
    #[test]
    fn hostile_compact_blobs_never_panic(
        value_type in prop::sample::select(&[10u8, 11, 12, 13, 14, 16, 17, 18, 20, 25][..]),
        mut elements in prop::collection::vec(any::<u8>(), 0..60),
        count: u8,
        ziplist: bool,
    ) {
        elements.push(0xFF);
        let mut blob = Vec::new();
        blob.put_u32_le(elements.len() as u32 + if ziplist { 10 } else { 6 });
        if ziplist {
            blob.put_u32_le(0);
        }
        blob.put_u16_le(if count > 20 { u16::MAX } else { count.into() });
        blob.put_slice(&elements);
        let _ = compact::listpack(blob.clone().into());
        let _ = compact::ziplist(blob.clone().into());
        let _ = compact::intset(blob.clone().into());
        let prefix: &[u8] = match value_type { 14 => &[1], 18 => &[1, 2], 25 => &[0; 8], _ => &[] };
        let _ = value_of("REDIS0012", value_type, &[prefix, &string(&blob)].concat());
    }

    #[test]
    fn hostile_lzf_never_panics(
        // Small controls and distances, so that the copies reach into what there is.
        tokens in prop::collection::vec((prop::sample::select(&[0u8, 1, 3, 0x20, 0x60, 0xC1, 0xE0][..]), 0u8..6), 0..40),
        len in 0usize..2000,
        cut in 0usize..3,
    ) {
        let mut input: Vec<u8> = tokens.iter().flat_map(|(control, byte)| [*control, *byte]).collect();
        input.truncate(input.len().saturating_sub(cut));
        if let Some(output) = lzf::decompress(&input, len) {
            prop_assert_eq!(output.len(), len);
        }
    }
}
