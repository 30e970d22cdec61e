//! The two ways through a snapshot take the same bytes; what is skipped or raw is exactly the value; pieces
//! change nothing.

use super::*;

const FILES: [(&str, &[u8]); 5] = [
    ("valkey-9.1.2", include_bytes!("../../../tests/fixtures/rdb/valkey-9.1.2.rdb")),
    ("valkey-9.1.2-lfu", include_bytes!("../../../tests/fixtures/rdb/valkey-9.1.2-lfu.rdb")),
    ("valkey-9.1.2-streams", include_bytes!("../../../tests/fixtures/rdb/valkey-9.1.2-streams.rdb")),
    ("redis-7.0.15", include_bytes!("../../../tests/fixtures/rdb/redis-7.0.15.rdb")),
    ("redis-7.0.15-streams", include_bytes!("../../../tests/fixtures/rdb/redis-7.0.15-streams.rdb")),
];
const HANDLINGS: [Handling; 3] = [Handling::Decode, Handling::Raw, Handling::Skip];

fn options(values: Handling, others: Handling) -> Options {
    Options { values, others, ..Options::default() }
}

/// What reading comes to: events, where each ends, and how it failed.
#[derive(Debug, PartialEq)]
struct Read {
    events: Vec<(Event, u64)>,
    error: Option<String>,
}

fn pull(file: &[u8], options: Options) -> Read {
    let mut read = Read { events: Vec::new(), error: None };
    let reader = Reader::new(BufReader::with_capacity(7, file), options);
    let outcome = reader.and_then(|mut reader| {
        while let Some(event) = reader.next_event()? {
            read.events.push((event, reader.position()));
        }
        Ok(())
    });
    read.error = outcome.err().map(|error| error.to_string());
    read
}

/// The same from pieces of so many bytes, in turn.
fn push(file: &[u8], options: Options, pieces: &[usize]) -> Read {
    let mut read = Read { events: Vec::new(), error: None };
    let mut decoder = Decoder::new(options);
    let mut rest = file;
    let outcome = (|| {
        for len in pieces.iter().cycle() {
            while let Some(event) = decoder.next_event()? {
                read.events.push((event, decoder.position()));
            }
            if rest.is_empty() {
                break;
            }
            let piece = rest.split_off(..(*len).clamp(1, rest.len())).unwrap_or_default();
            decoder.feed(piece);
        }
        decoder.finish()
    })();
    read.error = outcome.err().map(|error| error.to_string());
    read
}

/// Checks that every way through a file ends its events at the same bytes; returns the raw ones.
fn check_all_ways(name: &str, file: &[u8]) -> Vec<Entry<RawValue>> {
    let raw = pull(file, options(Handling::Raw, Handling::Raw));
    assert_eq!(raw.error, None, "{name}");
    for (values, others) in HANDLINGS.into_iter().flat_map(|v| [(v, Handling::Raw), (v, Handling::Skip)]) {
        let options = options(values, others);
        let read = pull(file, options);
        assert_eq!(read.error, None, "{name}, {options:?}");
        let ends = |read: &Read| read.events.iter().map(|(_, end)| *end).collect::<Vec<_>>();
        assert_eq!(ends(&read), ends(&raw), "{name}, {options:?}");
        for pieces in [&[usize::MAX][..], &[1], &[3, 11, 2], &[64]] {
            assert_eq!(push(file, options, pieces), read, "{name}, {options:?}, pieces of {pieces:?}");
        }
    }
    let typed = pull(file, options(Handling::Decode, Handling::Raw));
    let mut entries = Vec::new();
    for ((typed, _), (raw, end)) in typed.events.into_iter().zip(raw.events) {
        match (typed, raw) {
            (Event::Entry(typed), Event::Raw(raw)) => {
                assert_eq!(raw.value.decode(Limits::default()).unwrap(), typed.value, "{name} {typed:?}");
                entries.push(raw);
            }
            (typed, Event::Raw(raw)) => {
                assert_eq!(typed, Event::Raw(raw.clone()), "{name}");
                assert!(file[..end as usize].ends_with(&raw.value.body()[1..]), "{name} {raw:?}");
                entries.push(raw);
            }
            (typed, raw) => assert_eq!(typed, raw, "{name}"),
        }
    }
    entries
}

#[test]
fn every_way_through_a_real_snapshot_ends_at_the_same_bytes() {
    for (name, file) in FILES {
        let entries = check_all_ways(name, file);
        let streams = entries.iter().filter(|entry| entry.value.value_type().name() == "stream");
        assert_eq!(streams.count(), if name.ends_with("streams") { 3 } else { 0 }, "{name}");
    }
}

#[test]
fn a_stream_is_refused_by_name_skipped_or_raw() {
    let (_, file) = FILES[2];
    let error = pull(file, Options::default()).error.unwrap();
    assert!(error.starts_with("RDB value type 21 (stream) of key '"), "{error}");
    let skipped = pull(file, options(Handling::Decode, Handling::Skip));
    let keys: Vec<_> = skipped
        .events
        .iter()
        .filter_map(|(event, _)| match event {
            Event::Skipped(entry) => Some((&entry.key[..], entry.value, entry.deadline_ms)),
            Event::Function(_) => panic!("the library is skipped too"),
            _ => None,
        })
        .collect();
    assert_eq!(keys.len(), 3);
    assert!(keys.contains(&(b"long", ValueType(21), Some(33_333_333_333_333))));
    assert!(skipped.events.iter().any(|(event, _)| *event == Event::SkippedFunction));
    assert!(
        skipped.events.iter().any(|(event, _)| matches!(event, Event::Entry(entry) if entry.key == "string"))
    );
}

#[test]
fn every_truncation_is_the_same_error_for_all() {
    for (name, file) in FILES.into_iter().filter(|(name, _)| name.ends_with("streams")) {
        for len in 0..file.len() {
            for handling in [Handling::Raw, Handling::Skip] {
                let options = options(handling, handling);
                let read = pull(&file[..len], options);
                assert_eq!(
                    read.error,
                    Some(ReadError::Truncated { position: len as u64 }.to_string()),
                    "{name} {len}"
                );
                assert_eq!(push(&file[..len], options, &[5, 1]), read, "{name} {len}");
            }
        }
    }
}

/// A number of a stream, in a length of nine bytes.
fn n(number: u64) -> Vec<u8> {
    long_length(number)
}

/// A stream of one node, one group and one consumer with one pending entry, in each of the three forms.
fn stream(value_type: u8) -> Vec<u8> {
    let id = [7; 16];
    let mut out = [n(1), string(&id), string(b"any listpack"), n(1), n(u64::MAX), n(2)].concat();
    if value_type >= code::STREAM_2 {
        out.extend([n(3), n(4), n(5), n(6), n(1 << 40)].concat());
    }
    out.extend([n(1), string(b"group"), n(8), n(9)].concat());
    if value_type >= code::STREAM_2 {
        out.extend(n(u64::MAX));
    }
    out.extend([n(1), id.to_vec(), vec![1; 8], n(3)].concat());
    out.extend([n(1), string(b"consumer"), vec![2; 8]].concat());
    if value_type == code::STREAM_3 {
        out.extend([3; 8]);
    }
    out.extend([n(1), id.to_vec()].concat());
    out
}

/// A value of a module with marked values of every kind.
fn module() -> Vec<u8> {
    let mut out = n(0x1234_5678_9abc_def0);
    out.extend([n(1), n(u64::MAX), n(2), n(7), n(3), vec![0; 4], n(4), vec![0xFF; 8]].concat());
    out.extend([n(5), string(&[0; 300]), n(5), vec![0xC1, 1, 2], n(0)].concat());
    out
}

#[test]
fn streams_and_modules_of_every_form_are_passed_exactly() {
    let bodies = [15, 19, 21].map(|value_type| (value_type, stream(value_type)));
    for (value_type, body) in bodies.into_iter().chain([(code::MODULE, module())]) {
        for magic in ["REDIS0011", "VALKEY080"] {
            let file = file_with(magic, value_type, &body);
            let entries = check_all_ways(magic, &file);
            assert_eq!(entries[0].value.body()[1..], body);
            let error = entries[0].value.decode(Limits::default()).unwrap_err();
            assert!(matches!(error, ReadError::UnsupportedType { key: None, .. }), "{error}");
        }
        // Every number and length counts: no shorter piece is a value.
        for len in 0..body.len() {
            let raw = RawValue::from_payload(
                &RawValue::new([&[value_type], &body[..len]].concat().into(), FileVersion::Redis(10))
                    .payload(),
                Limits::default(),
            );
            let truncated = matches!(raw, Err(PayloadError::Value(ReadError::Truncated { .. })));
            assert!(truncated, "{value_type} {len}: {raw:?}");
        }
    }
}

#[test]
fn what_modules_keep_beside_the_keys_is_skipped_or_raw() {
    let data = [&[2, 1][..], &module()[9..]].concat();
    let file = [b"VALKEY080\xf7", &n(99)[..], &data, b"\xff\0\0\0\0\0\0\0\0"].concat();
    check_all_ways("aux", &file);
    let event = |handling| pull(&file, options(handling, handling)).events.swap_remove(0).0;
    assert_eq!(event(Handling::Raw), Event::ModuleAux { module_id: 99, data: Some(data.into()) });
    assert_eq!(event(Handling::Skip), Event::ModuleAux { module_id: 99, data: None });
    assert_eq!(event(Handling::Decode), event(Handling::Skip));
    let mut broken = file;
    broken[19] = 1;
    let error = pull(&broken, Options::default()).error.unwrap();
    assert_eq!(error, "malformed RDB at byte 20: invalid module data", "when it was saved is marked 2");
}

#[test]
fn an_import_of_slots_is_read_in_files_of_valkey_alone() {
    let body = b"\xf3\x03job\x02\x00\x40\x64\x4f\xff\x7f\xff\xff\0\0\0\0\0\0\0\0";
    let file = [b"VALKEY080", &body[..]].concat();
    check_all_ways("import", &file);
    let ranges = vec![(0, 100), (4095, 16383)];
    assert_eq!(pull(&file, Options::default()).events[0].0, Event::SlotImport { job: "job".into(), ranges });
    let file = [b"REDIS0012", &body[..]].concat();
    let error = pull(&file, Options::default()).error.unwrap();
    assert_eq!(error, "RDB opcode 243 at byte 10 is not supported");
    assert_eq!(push(&file, Options::default(), &[1]).error, Some(error));
}

/// A zipmap, as Redis 2.4 wrote it: (field, value, free bytes behind it).
fn zipmap(pairs: &[(&[u8], &[u8], u8)], count: u8) -> Vec<u8> {
    let mut blob = vec![count];
    let length = |blob: &mut Vec<u8>, len: usize| match u8::try_from(len) {
        Ok(len @ ..254) => blob.put_u8(len),
        _ => {
            blob.put_u8(254);
            blob.put_u32_le(len as u32);
        }
    };
    for (field, value, free) in pairs {
        length(&mut blob, field.len());
        blob.put_slice(field);
        length(&mut blob, value.len());
        blob.put_u8(*free);
        blob.put_slice(value);
        blob.put_bytes(0xFF, usize::from(*free));
    }
    blob.put_u8(0xFF);
    blob
}

#[test]
fn zipmaps_of_the_oldest_servers_are_read() {
    let long = [b'x'; 300];
    let pairs: [(&[u8], &[u8], u8); 5] = [
        (b"f", b"v", 0),
        (b"", b"", 0),
        (b"g", b"shorter now", 4),
        (&long[..253], &long[..254], 0),
        (&long, b"1", 9),
    ];
    let expected = Value::Hash(
        pairs
            .iter()
            .map(|(field, value, _)| {
                let [field, value] = [field, value].map(|text| Bytes::copy_from_slice(text));
                HashField { field, value, deadline_ms: None }
            })
            .collect(),
    );
    for count in [5, 254, 255] {
        let payload = string(&zipmap(&pairs, count));
        assert_eq!(value_of("REDIS0002", code::HASH_ZIPMAP, &payload).unwrap(), expected, "{count}");
        // Without a checksum, which came with version 5.
        let file = file_with("REDIS0002", code::HASH_ZIPMAP, &payload);
        check_all_ways("zipmap", &file[..file.len() - 8]);
    }
    let blob = zipmap(&pairs, 5);
    let refused = |blob: &[u8]| {
        let error = value_of("REDIS0002", code::HASH_ZIPMAP, &string(blob)).unwrap_err();
        assert!(matches!(error, ReadError::Malformed { fault: Fault::Zipmap, .. }), "{error}");
    };
    refused(&zipmap(&pairs, 4));
    refused(&zipmap(&pairs[..1], 1)[..3]);
    refused(&[&blob[..], &[0xFF]].concat());
    for len in 0..blob.len() {
        refused(&blob[..len]);
    }
}

/// How many bytes the length of an element takes behind it, as measured: Valkey 9.1.2 takes the fewest, Redis
/// 7.0.15 one more for the greatest length of each size.
fn back_length_bytes(len: usize, redis: bool) -> usize {
    let len = if redis { len + 1 } else { len };
    match len {
        0..128 => 1,
        128 if redis => 1,
        128..16_384 => 2,
        16_384..2_097_152 => 3,
        2_097_152..268_435_456 => 4,
        _ => 5,
    }
}

/// A listpack of texts, with true back lengths.
fn listpack_of(items: &[Vec<u8>], redis: bool) -> Vec<u8> {
    let mut elements = Vec::new();
    for item in items {
        let start = elements.len();
        match item.len() {
            len @ 0..64 => elements.put_u8(0x80 | len as u8),
            len @ 64..4096 => elements.put_u16(0xE000 | len as u16),
            len => {
                elements.put_u8(0xF0);
                elements.put_u32_le(len as u32);
            }
        }
        elements.put_slice(item);
        let len = elements.len() - start;
        for at in (0..back_length_bytes(len, redis)).rev() {
            // The mark says that more bytes follow to the left.
            let is_leftmost = at + 1 == back_length_bytes(len, redis);
            elements.put_u8((len >> (7 * at) & 0x7F) as u8 | if is_leftmost { 0 } else { 0x80 });
        }
    }
    let mut blob = Vec::new();
    blob.put_u32_le(7 + elements.len() as u32);
    blob.put_u16_le(items.len() as u16);
    blob.put_slice(&elements);
    blob.put_u8(0xFF);
    blob
}

#[test]
fn listpacks_are_read_about_every_edge_of_their_lengths() {
    // About the ends of the forms of lengths, and, less the bytes of those, of back lengths.
    for edge in [0, 63, 126, 4096, 16_383, 1 << 21] {
        for len in edge.max(8) - 8..edge + 4 {
            let items = [vec![b'x'; len], b"behind".to_vec()];
            for redis in [true, false] {
                let payload = string(&listpack_of(&items, redis));
                let expected = Value::Set(items.clone().map(Bytes::from).to_vec());
                let value = value_of("REDIS0011", code::SET_LISTPACK, &payload);
                assert!(value.unwrap() == expected, "{len}, {redis}");
            }
        }
    }
}

#[test]
fn limits_hold_for_what_is_skipped_and_raw() {
    let refusal = |value_type: u8, payload: &[u8], limits: Limits, handling: Handling| {
        let file = file_with("VALKEY080", value_type, payload);
        let options = Options { limits, ..options(handling, handling) };
        let read = pull(&file, options);
        assert_eq!(push(&file, options, &[2]), read);
        read.error
    };
    let body = stream(code::STREAM_3);
    let raw_bytes = 1 + body.len() as u64;
    for handling in [Handling::Raw, Handling::Skip] {
        let with = |limits| refusal(code::STREAM_3, &body, limits, handling);
        let limits = Limits { max_string_bytes: 16, max_elements: 1, max_raw_bytes: raw_bytes };
        assert_eq!(with(limits), None);
        let error = with(Limits { max_string_bytes: 15, ..limits }).unwrap();
        assert!(error.ends_with("claims a length of 16, the limit is 15"), "{error}");
        let error = with(Limits { max_elements: 0, ..limits }).unwrap();
        assert!(error.ends_with("claims a length of 1, the limit is 0"), "{error}");
        let short = with(Limits { max_raw_bytes: raw_bytes - 1, ..limits });
        assert_eq!(short.is_some(), handling == Handling::Raw, "{short:?}");
        // What is only claimed is never waited for beyond the limit, and takes no room.
        let claim = [n(1), string(&[7; 16]), n(u64::MAX / 2)].concat();
        let unlimited =
            Limits { max_string_bytes: u64::MAX, max_elements: u64::MAX, max_raw_bytes: u64::MAX };
        let error = refusal(code::STREAM, &claim, unlimited, handling).unwrap();
        assert!(error.starts_with("the RDB ends too early"), "{error}");
        let packed = b"\xc3\x03\x05abc";
        let limits = Limits { max_string_bytes: 4, ..Limits::default() };
        let error = refusal(code::STRING, packed, limits, handling).unwrap();
        assert!(error.ends_with("claims a length of 5, the limit is 4"), "{error}");
    }
}

#[test]
fn a_skipped_value_takes_no_memory() {
    let mut decoder = Decoder::new(options(Handling::Skip, Handling::Skip));
    decoder.feed(b"REDIS0011\x15\x01s");
    decoder.feed(&n(1 << 20));
    for _ in 0..1 << 10 {
        decoder.feed(&[string(&[1; 16]), string(&[2; 1 << 10])].concat());
        assert_eq!(decoder.next_event().unwrap(), None);
        assert_eq!(decoder.buffered_bytes(), 0);
    }
    let position = decoder.position();
    assert!(position > 1 << 20);
    assert!(matches!(decoder.finish(), Err(ReadError::Truncated { position: at }) if at == position));
}

#[test]
fn what_is_too_long_to_be_raw_is_refused_before_it_is_complete() {
    let stream = [b"REDIS0011\x15\x01s", &n(1 << 20)[..]].concat();
    let node = [string(&[1; 16]), string(&[2; 16])].concat();
    let data = [b"REDIS0011\xf7", &n(9)[..], &[2, 1]].concat();
    let marked = [&[5][..], &string(&[3; 16])].concat();
    for (head, part) in [(stream, node), (data, marked)] {
        let limits = Limits { max_raw_bytes: 1000, ..Limits::default() };
        let mut decoder = Decoder::new(Options { limits, ..options(Handling::Raw, Handling::Raw) });
        decoder.feed(&head);
        let error = (0..100).find_map(|_| {
            decoder.feed(&part);
            decoder.next_event().err()
        });
        let is_limit = matches!(error, Some(ReadError::LimitExceeded { claimed: 1001, limit: 1000, .. }));
        assert!(is_limit, "{error:?}");
    }
}

#[test]
fn a_decoder_hands_out_what_is_complete_and_keeps_what_follows_the_end() {
    let (_, file) = FILES[0];
    let mut decoder = Decoder::new(Limits::default());
    assert_eq!((decoder.next_event().unwrap(), decoder.version()), (None, None));
    let read = pull(file, Options::default());
    let mut events = read.events.into_iter();
    let mut next = events.next();
    for (at, byte) in (1..).zip(file) {
        decoder.feed(&[*byte]);
        let event = decoder.next_event().unwrap();
        let due = next.as_ref().is_some_and(|(_, end)| *end == at);
        assert_eq!(event, due.then(|| std::mem::replace(&mut next, events.next()).unwrap().0), "byte {at}");
    }
    assert_eq!((next, decoder.is_ended()), (None, true));
    decoder.feed(b"*1\r\n");
    decoder.feed(b"$4\r\n");
    assert_eq!(decoder.next_event().unwrap(), None);
    assert_eq!(decoder.finish().unwrap(), "*1\r\n$4\r\n");
    for (bytes, error) in [
        (&b"REDIS"[..], "the RDB ends too early, at byte 5"),
        (b"REDIS0010", "the RDB ends too early, at byte 9"),
        (b"SAUSAGE00 and more", "not an RDB file: it starts with SAUSAGE00"),
    ] {
        let mut decoder = Decoder::new(Limits::default());
        decoder.feed(bytes);
        assert_eq!(decoder.finish().unwrap_err().to_string(), error);
    }
    let mut decoder = Decoder::new(Limits::default());
    decoder.feed(b"REDIS0010\xf0");
    assert!(matches!(decoder.next_event(), Err(ReadError::UnsupportedOpcode { position: 10, opcode: 240 })));
    assert!(matches!(decoder.next_event(), Err(ReadError::AlreadyFailed { position: 10 })));
}

#[test]
fn raw_values_are_payloads_and_can_be_written_again() {
    for (name, file) in FILES {
        for entry in check_all_ways(name, file) {
            let value = entry.value;
            let payload = value.payload();
            assert_eq!(RawValue::from_payload(&payload, Limits::default()).unwrap().body(), value.body());
            let footer = payload.len() - 10;
            let version = u16::from_le_bytes(payload[footer..footer + 2].try_into().unwrap());
            let lowest = match value.value_type().0 {
                15 => 9,
                16..=19 => 10,
                20 | 21 => 11,
                22 => 80,
                5 => 8,
                _ => 6,
            };
            assert_eq!(version, lowest, "{name}: {}", value.value_type());
            assert_eq!(value.payload_in(80)[footer..footer + 2], [80, 0]);
            for format in [SnapshotFormat::Redis10, SnapshotFormat::Valkey80] {
                let mut writer = Writer::new(format);
                let written = writer.raw(b"key", Some(7), &value);
                if format == SnapshotFormat::Redis10 && lowest > 10 {
                    let value_type = value.value_type();
                    assert_eq!(written, Err(WriteError::TypeUnsupported { value_type }));
                    assert_eq!(writer.buffered_bytes(), 9);
                    continue;
                }
                written.unwrap();
                let again = pull(&writer.finish().unwrap(), options(Handling::Raw, Handling::Raw));
                let (Event::Raw(entry), _) = &again.events[0] else { panic!("{again:?}") };
                assert_eq!((&entry.key[..], entry.deadline_ms), (&b"key"[..], Some(7)));
                assert_eq!(entry.value.body(), value.body());
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Damaged files too, as they are and after an error: the same events, the same error, at the same place.
    #[test]
    fn pieces_and_handling_change_no_byte(
        file in 0..FILES.len(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in prop::option::of(any::<prop::sample::Index>()),
        pieces in prop::collection::vec(1usize..200, 1..6),
        handlings in prop::sample::subsequence(&HANDLINGS[..], 2),
        max_raw_bytes in prop::sample::select(&[u64::MAX, 1000, 60, 1][..]),
    ) {
        let mut file = FILES[file].1.to_vec();
        for (at, byte) in changes {
            *at.get_mut(&mut file[9..]) = byte;
        }
        if let Some(cut) = cut {
            file.truncate(cut.index(file.len()));
        }
        let limits = Limits { max_raw_bytes, ..Limits::default() };
        let options = Options { limits, values: handlings[0], others: handlings[1] };
        let read = pull(&file, options);
        prop_assert_eq!(push(&file, options, &pieces), read);
    }

    /// Lengths of every form, in the places that a scan reads: the typed reader takes the same bytes.
    #[test]
    fn scans_and_typed_reading_agree_on_lengths(
        value_type in prop::sample::select(&[0u8, 1, 2, 3, 4, 5, 14, 18, 22, 24][..]),
        lens in prop::collection::vec(
            prop::sample::select(&[0usize, 1, 62, 63, 64, 65, 127, 128, 16_382, 16_383, 16_384, 16_385][..]), 1..6),
        form in 0u8..4,
        damage in prop::option::of((any::<prop::sample::Index>(), any::<u8>())),
    ) {
        let length = |len: usize| match form {
            0 if len < 64 => vec![len as u8],
            0 | 1 if len < 1 << 14 => (len as u16 | 0x4000).to_be_bytes().to_vec(),
            3 => long_length(len as u64),
            _ => [&[0x80][..], &(len as u32).to_be_bytes()].concat(),
        };
        let text = |len: usize| [length(len), vec![b'1'; len]].concat();
        let listpack = |len: usize| {
            let blob = listpack_of(&[vec![b'x'; len]], form == 1);
            [length(blob.len()), blob].concat()
        };
        let ziplist = |len: usize| {
            let mut blob = Vec::new();
            blob.put_u32_le(11 + 6 + len as u32);
            blob.put_slice(&[0, 0, 0, 0, 1, 0, 0, 0x80]);
            blob.put_u32(len as u32);
            blob.put_bytes(b'x', len);
            blob.put_u8(0xFF);
            [length(blob.len()), blob].concat()
        };
        let mut body = match value_type {
            0 => Vec::new(),
            24 => [vec![1; 8], length(lens.len())].concat(),
            _ => length(lens.len()),
        };
        for len in &lens {
            body.extend(match value_type {
                0 if !body.is_empty() => Vec::new(),
                3 => [text(*len), b"\x031.5".to_vec()].concat(),
                4 => [text(*len), text(*len)].concat(),
                5 => [text(*len), vec![0; 8]].concat(),
                14 => ziplist(*len),
                18 => [length(2), listpack(*len), ].concat(),
                22 => [text(*len), text(*len), vec![0; 8]].concat(),
                24 => [length(*len), text(*len), text(*len)].concat(),
                _ => text(*len),
            });
        }
        let magic = if value_type == 22 { "VALKEY080" } else { "REDIS0012" };
        let mut file = file_with(magic, value_type, &body);
        if let Some((at, byte)) = damage {
            *at.get_mut(&mut file[12..]) = byte;
            let [typed, raw] = [Handling::Decode, Handling::Raw].map(|values| pull(&file, options(values, Handling::Skip)));
            if typed.error.is_none() {
                prop_assert_eq!(raw.error, None);
                prop_assert_eq!(typed.events.last().map(|event| event.1), raw.events.last().map(|event| event.1));
            }
        } else {
            prop_assert_eq!(check_all_ways("lengths", &file).len(), 1);
        }
    }
}
